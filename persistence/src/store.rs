//! The SQL read model: everything that durable records say, in a database that people can query.
//!
//! The store is filled in the order of the journal by one writer, and answers lists, history and totals. It is never ahead of
//! what is durable in the journal and never wrong; it may be late, so each answer says which position it is of.
//!
//! **Exactly once.** A batch names the position that it continues and the one that it leads to. Applying it moves the
//! checkpoint from the one to the other in the SQL transaction that writes its rows, and writes nothing unless the
//! checkpoint stood where the batch begins: rows without their checkpoint do not exist, and no row is written twice. When
//! the answer to a commit is lost, the checkpoint tells whether it happened.
//!
//! **Durable.** An applied batch is visible at once. [`Store::sync`] makes durable what was applied and names the position;
//! journal segments are removed on its word only.
//!
//! What can be asked for ([`TransferFilter`], [`PageRequest`], …) and what comes back ([`StoredTransfer`], [`Page`], …) say
//! nothing of the database behind.

mod batch;
mod error;
mod filter;
mod page;
mod rows;
mod sqlite;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use florin_engine::{AccountId, JournalSeq, LedgerId, Metadata, TransferId};
use uuid::Uuid;

pub use self::batch::{OutOfOrder, StoreBatch};
pub use self::error::{StoreError, StoreErrorKind};
pub use self::filter::{AccountFilter, BalanceFilter, OfAccount, Side, TimeRange, TransferFilter};
pub use self::page::{AsOf, Cursor, CursorError, Order, PAGE_ROWS_MAX, Page, PageRequest};
pub use self::rows::{
    BalanceAt, Checkpoint, StoredAccount, StoredLedger, StoredTransaction, StoredTransfer,
};
use self::sqlite::{Sizes, Sqlite};

/// The store. Cheap to clone; all clones share one writer and a few readers.
///
/// Every call needs a tokio runtime with time enabled; which one does not matter, and it may differ from call to call.
#[derive(Clone)]
pub struct Store {
    sqlite: Arc<Sqlite>,
}

impl Store {
    /// Opens the SQLite file at `path`, or makes it, for the data directory `directory`.
    ///
    /// # Errors
    /// The file is of another directory, of a newer schema, or no store; or the database is away.
    pub async fn open(path: &Path, directory: Uuid) -> Result<Store, StoreError> {
        Ok(Store { sqlite: Arc::new(Sqlite::open(path, directory, Sizes::REAL).await?) })
    }

    /// Where the store stands.
    ///
    /// # Errors
    /// The database is away or damaged.
    pub async fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        self.sqlite.checkpoint().await
    }

    /// Writes all rows of `batch` and moves the checkpoint, or changes nothing. An empty batch changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotAtCheckpoint`] when the store does not stand where the batch begins; a passing error when the database
    /// is away (whether the batch was committed is then told by [`Store::checkpoint`]); another when it refuses the rows.
    pub async fn apply(&self, batch: &StoreBatch) -> Result<(), StoreError> {
        self.sqlite.apply(batch).await
    }

    /// Makes everything that was applied durable, and gives the position up to which it is.
    ///
    /// # Errors
    /// The database is away, or a sync failed: after a failed sync nothing more is called durable until the process starts anew.
    pub async fn sync(&self) -> Result<JournalSeq, StoreError> {
        self.sqlite.sync().await
    }

    /// A page of transfers, by the time of their decision.
    ///
    /// # Errors
    /// The cursor is not one of this list, or the database is away or damaged.
    pub async fn transfers(
        &self,
        filter: &TransferFilter,
        page: &PageRequest,
    ) -> Result<Page<StoredTransfer>, StoreError> {
        self.sqlite.transfers(filter, page).await
    }

    /// A page of accounts, by the time of their creation.
    ///
    /// # Errors
    /// The cursor is not one of this list, or the database is away or damaged.
    pub async fn accounts(
        &self,
        filter: &AccountFilter,
        page: &PageRequest,
    ) -> Result<Page<StoredAccount>, StoreError> {
        self.sqlite.accounts(filter, page).await
    }

    /// A page of the history of an account, by the time of the commands; empty for an account without the flag `history`.
    ///
    /// # Errors
    /// The cursor is not one of this list, or the database is away or damaged.
    pub async fn balances(
        &self,
        account: AccountId,
        filter: &BalanceFilter,
        page: &PageRequest,
    ) -> Result<Page<BalanceAt>, StoreError> {
        self.sqlite.balances(account, filter, page).await
    }

    /// A page of ledgers with their totals, by the time of their creation.
    ///
    /// # Errors
    /// The cursor is not one of this list, or the database is away or damaged.
    pub async fn ledgers(&self, page: &PageRequest) -> Result<Page<StoredLedger>, StoreError> {
        self.sqlite.ledgers(page).await
    }

    /// One ledger with its totals.
    ///
    /// # Errors
    /// The database is away or damaged.
    pub async fn ledger(&self, id: LedgerId) -> Result<AsOf<Option<StoredLedger>>, StoreError> {
        self.sqlite.ledger(id).await
    }

    /// One account with its metadata.
    ///
    /// # Errors
    /// The database is away or damaged.
    pub async fn account(&self, id: AccountId) -> Result<AsOf<Option<StoredAccount>>, StoreError> {
        self.sqlite.account(id).await
    }

    /// The metadata of an account; none for an account without, and for none.
    ///
    /// # Errors
    /// The database is away or damaged.
    pub async fn account_metadata(
        &self,
        id: AccountId,
    ) -> Result<AsOf<Option<Metadata>>, StoreError> {
        self.sqlite.account_metadata(id).await
    }

    /// One transfer.
    ///
    /// # Errors
    /// The database is away or damaged.
    pub async fn transfer(
        &self,
        id: TransferId,
    ) -> Result<AsOf<Option<StoredTransfer>>, StoreError> {
        self.sqlite.transfer(id).await
    }

    /// One transaction, without its legs.
    ///
    /// # Errors
    /// The database is away or damaged.
    pub async fn transaction(
        &self,
        id: TransferId,
    ) -> Result<AsOf<Option<StoredTransaction>>, StoreError> {
        self.sqlite.transaction(id).await
    }

    /// The legs of a transaction, in their order; none when there is no such transaction.
    ///
    /// # Errors
    /// The database is away or damaged.
    pub async fn transfers_of_transaction(
        &self,
        id: TransferId,
    ) -> Result<AsOf<Vec<StoredTransfer>>, StoreError> {
        self.sqlite.transfers_of_transaction(id).await
    }

    /// The journal record of a command that came with a key, byte for byte.
    ///
    /// # Errors
    /// The database is away or damaged.
    pub async fn keyed_record(&self, seq: JournalSeq) -> Result<AsOf<Option<Vec<u8>>>, StoreError> {
        self.sqlite.keyed_record(seq).await
    }
}
