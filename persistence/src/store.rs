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
//! journal segments are removed on its word only. In PostgreSQL a commit is durable at once.
//!
//! What can be asked for ([`TransferFilter`], [`PageRequest`], …) and what comes back ([`StoredTransfer`], [`Page`], …) say
//! nothing of the database behind.

mod batch;
mod blocks;
mod columns;
mod cursor;
mod decode;
mod entries;
mod error;
mod export;
mod filter;
mod lead;
mod leisure;
mod page;
mod postgres;
mod rows;
#[cfg(feature = "simulation")]
pub mod simulated;
mod span;
mod sqlite;
mod statement;
mod sums;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use florin_engine::{AccountId, JournalSeq, LedgerId, TransferId};
use uuid::Uuid;

pub use self::batch::{OutOfOrder, StoreBatch};
#[cfg(feature = "fuzzing")]
pub(crate) use self::cursor::write as write_cursor;
pub use self::entries::MetadataEquals;
pub use self::error::{StoreError, StoreErrorKind};
pub use self::export::Export;
use self::export::Tables;
pub use self::filter::{AccountFilter, BalanceFilter, OfAccount, Side, TimeRange, TransferFilter};
pub use self::page::{AsOf, Cursor, CursorError, Order, PAGE_ROWS_MAX, Page, PageRequest};
use self::postgres::Postgres;
pub use self::postgres::{PostgresOptions, SCHEMA};
pub use self::rows::{
    AccountWords, BalanceAt, Beyond, Checkpoint, CodeTotals, LedgerByCode, StoredAccount,
    StoredLedger, StoredTransaction, StoredTransfer,
};
use self::sqlite::{Sizes, Sqlite};
pub use self::statement::{
    MOVES_MAX, Moment, Movement, Posted, PostedAt, Statement, StatementCursor, StatementRequest,
};
pub use self::sums::TableSums;

/// Of many ids that are looked up, so many go into one statement.
const IDS_AT_ONCE: usize = 512;

/// The store. Cheap to clone; all clones share one writer and a few readers.
///
/// Every call needs a tokio runtime with time enabled, and for PostgreSQL with I/O. For SQLite it may differ from call to call;
/// the connections of PostgreSQL live on the runtime that they were made on, and are made anew when that has gone.
#[derive(Clone)]
pub struct Store {
    database: Database,
}

#[derive(Clone)]
enum Database {
    Sqlite(Arc<Sqlite>),
    Postgres(Arc<Postgres>),
}

/// What a claim does about another writer that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeOver {
    /// It is refused.
    WhenFree,
    /// It ends the other's claim: what the other has not committed by then, it never will.
    Force,
}

impl Store {
    /// Opens the SQLite file at `path`, or makes it, for the data directory `directory`.
    ///
    /// # Errors
    /// The file is of another directory, of a newer schema, or no store; or the database is away.
    pub async fn open(path: &Path, directory: Uuid) -> Result<Store, StoreError> {
        let sqlite = Sqlite::open(path, directory, Sizes::SQLITE).await?;
        Ok(Store { database: Database::Sqlite(Arc::new(sqlite)) })
    }

    /// Copies the store of the data directory `directory` in the SQLite file at `path`, which another process may be writing, to the new file `to`, as
    /// it is at one moment. Says where the copy stands; nothing where there is no store. Not durable yet.
    ///
    /// # Errors
    /// The file is of another directory or of a newer schema, is being made anew, or can not be read; or the copy can not be written.
    pub async fn copy_embedded(
        path: &Path,
        directory: Uuid,
        to: &Path,
    ) -> Result<Option<Checkpoint>, StoreError> {
        sqlite::copy(path, directory, to).await
    }

    /// The store of the data directory `directory` in PostgreSQL. Nothing is contacted yet: until [`Store::claim`] has succeeded
    /// nothing can be written, and reads find what is there.
    ///
    /// # Errors
    /// The options can not be used.
    pub fn postgres(options: PostgresOptions, directory: Uuid) -> Result<Store, StoreError> {
        let postgres = Postgres::new(options, Some(directory), Sizes::POSTGRES)?;
        Ok(Store { database: Database::Postgres(Arc::new(postgres)) })
    }

    /// A store in PostgreSQL that another process fills, whatever directory it belongs to. Never writes, claims or migrates;
    /// contacts nothing yet.
    ///
    /// # Errors
    /// The options can not be used.
    pub fn postgres_reader(options: PostgresOptions) -> Result<Store, StoreError> {
        let postgres = Postgres::new(options, None, Sizes::POSTGRES)?;
        Ok(Store { database: Database::Postgres(Arc::new(postgres)) })
    }

    /// Makes this process the store's one writer, brings the schema up to date, and says where the store stands. A claim of this
    /// process's own before it ends. An SQLite file was claimed when it was opened.
    ///
    /// # Errors
    /// [`StoreError::ClaimedByOther`] when another writer lives, after waiting for `claim_timeout`; the store is of another
    /// directory, of a newer schema, or no store; it was opened as a reader; or the database is away. Then nothing was claimed,
    /// unless only the answer was lost: claiming again is right after every passing error.
    pub async fn claim(&self, take_over: TakeOver) -> Result<Checkpoint, StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.checkpoint()).await,
            Database::Postgres(postgres) => Box::pin(postgres.claim(take_over)).await,
        }
    }

    /// The data directory that the store belongs to.
    ///
    /// # Errors
    /// The database is away or damaged, or there is no store yet.
    pub async fn directory(&self) -> Result<Uuid, StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => Ok(sqlite.directory()),
            Database::Postgres(postgres) => Box::pin(postgres.directory()).await,
        }
    }

    /// Where the store stands.
    ///
    /// # Errors
    /// The database is away or damaged.
    pub async fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.checkpoint()).await,
            Database::Postgres(postgres) => Box::pin(postgres.checkpoint()).await,
        }
    }

    /// Writes all rows of `batch` and moves the checkpoint, or changes nothing. An empty batch changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotAtCheckpoint`] when the store does not stand where the batch begins; [`StoreError::Fenced`] when another
    /// writer has taken over; a passing error when the database is away (whether the batch was committed is then told by
    /// [`Store::checkpoint`], or by applying it again); another when it refuses the rows, or the store is not claimed.
    pub async fn apply(&self, batch: &StoreBatch) -> Result<(), StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.apply(batch)).await,
            Database::Postgres(postgres) => Box::pin(postgres.apply(batch)).await,
        }
    }

    /// From now on a batch is written in steps, with a rest after each of this share (0 to 1) of the time that it took, so that who moves money has the
    /// core meanwhile. Without rests, as at first, it is written as fast as it goes. Holds also for the batch that is being written.
    pub fn rest(&self, share: f64) {
        match &self.database {
            Database::Sqlite(sqlite) => sqlite.leisure(),
            Database::Postgres(postgres) => postgres.leisure(),
        }
        .set(share);
    }

    /// Does a little of what can wait until there is nothing else to do, some milliseconds each time: what was committed to an SQLite file is copied
    /// from its WAL into the database, and small runs are merged. False: nothing is left to do.
    ///
    /// # Errors
    /// The database is away, or another process has claimed it.
    pub async fn tidy(&self) -> Result<bool, StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.tidy()).await,
            Database::Postgres(_) => Ok(false),
        }
    }

    /// Makes everything that was applied durable, and gives the position up to which it is.
    ///
    /// # Errors
    /// The database is away, or a sync failed: after a failed sync nothing more is called durable until the process starts anew.
    pub async fn sync(&self) -> Result<JournalSeq, StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.sync()).await,
            Database::Postgres(postgres) => Box::pin(postgres.sync()).await,
        }
    }

    /// Reads everything that is in the store, in batches for another one. Nothing of it may be written meanwhile that should come along.
    ///
    /// # Errors
    /// The store is itself being rebuilt, or the database is away or damaged.
    pub async fn export(&self) -> Result<Export, StoreError> {
        let (tables, checkpoint, transfers) = match &self.database {
            Database::Sqlite(sqlite) => {
                let (tables, checkpoint, transfers) = sqlite.export().await?;
                (Tables::Sqlite(tables), checkpoint, transfers)
            }
            Database::Postgres(postgres) => {
                let (tables, checkpoint, transfers) = postgres.export().await?;
                (Tables::Postgres(tables), checkpoint, transfers)
            }
        };
        if checkpoint.is_rebuilding {
            return Err(StoreError::Rebuilding);
        }
        Ok(Export::new(tables, checkpoint, transfers))
    }

    /// Begins to make the store anew: it is empty then, at the journal's beginning, and answers no read before
    /// [`Store::end_rebuild`]. What an earlier rebuild left unfinished is thrown away.
    ///
    /// # Errors
    /// [`StoreError::NotLost`] when there is something in it; otherwise those of [`Store::apply`].
    pub async fn begin_rebuild(&self) -> Result<(), StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.begin_rebuild()).await,
            Database::Postgres(postgres) => Box::pin(postgres.begin_rebuild()).await,
        }
    }

    /// Says that everything is in the store again, from `history_from` on.
    ///
    /// # Errors
    /// No rebuild was begun under this claim; otherwise those of [`Store::apply`].
    pub async fn end_rebuild(&self, history_from: JournalSeq) -> Result<(), StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.end_rebuild(history_from)).await,
            Database::Postgres(postgres) => Box::pin(postgres.end_rebuild(history_from)).await,
        }
    }

    /// What the store holds that was decided after `last`.
    ///
    /// # Errors
    /// Those of [`Store::apply`].
    pub async fn beyond(&self, last: JournalSeq) -> Result<Beyond, StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.beyond(last)).await,
            Database::Postgres(postgres) => Box::pin(postgres.beyond(last)).await,
        }
    }

    /// Takes the store back to where `to` ends: everything decided after that position is removed, and its balances and totals are written.
    ///
    /// # Errors
    /// Those of [`Store::apply`].
    pub async fn cut(&self, to: &StoreBatch) -> Result<(), StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.cut(to)).await,
            Database::Postgres(postgres) => Box::pin(postgres.cut(to)).await,
        }
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
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.transfers(filter, page)).await,
            Database::Postgres(postgres) => Box::pin(postgres.transfers(filter, page)).await,
        }
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
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.accounts(filter, page)).await,
            Database::Postgres(postgres) => Box::pin(postgres.accounts(filter, page)).await,
        }
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
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.balances(account, filter, page)).await,
            Database::Postgres(postgres) => {
                Box::pin(postgres.balances(account, filter, page)).await
            }
        }
    }

    /// A page of ledgers with their totals, by the time of their creation.
    ///
    /// # Errors
    /// The cursor is not one of this list, or the database is away or damaged.
    pub async fn ledgers(&self, page: &PageRequest) -> Result<Page<StoredLedger>, StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.ledgers(page)).await,
            Database::Postgres(postgres) => Box::pin(postgres.ledgers(page)).await,
        }
    }

    /// One ledger with its totals.
    ///
    /// # Errors
    /// The database is away or damaged.
    pub async fn ledger(&self, id: LedgerId) -> Result<AsOf<Option<StoredLedger>>, StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.ledger(id)).await,
            Database::Postgres(postgres) => Box::pin(postgres.ledger(id)).await,
        }
    }

    /// One ledger with the sums of its accounts by code. Reads every account of the ledger, so one such answer is made at a time.
    ///
    /// # Errors
    /// The database is away or damaged.
    pub async fn ledger_by_code(
        &self,
        id: LedgerId,
    ) -> Result<AsOf<Option<LedgerByCode>>, StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.ledger_by_code(id)).await,
            Database::Postgres(postgres) => Box::pin(postgres.ledger_by_code(id)).await,
        }
    }

    /// What was posted on an account at a moment; none for an account that is not there.
    ///
    /// # Errors
    /// [`StoreError::OutOfReach`] where more than [`MOVES_MAX`] transfers would have to be looked through; [`StoreError::HistoryLost`] where it rests on
    /// what was lost with an earlier store; the database is away or damaged.
    pub async fn posted_at(
        &self,
        account: AccountId,
        moment: Moment,
    ) -> Result<AsOf<Option<PostedAt>>, StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.posted_at(account, moment)).await,
            Database::Postgres(postgres) => Box::pin(postgres.posted_at(account, moment)).await,
        }
    }

    /// A page of an account's statement; none of an account that is not there.
    ///
    /// # Errors
    /// The cursor is not one of this statement, [`StoreError::OutOfReach`] or [`StoreError::HistoryLost`] where its opening or closing is, or the database is
    /// away or damaged.
    pub async fn statement(
        &self,
        request: &StatementRequest,
    ) -> Result<AsOf<Option<Statement>>, StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.statement(request)).await,
            Database::Postgres(postgres) => Box::pin(postgres.statement(request)).await,
        }
    }

    /// One account with its metadata.
    ///
    /// # Errors
    /// The database is away or damaged.
    pub async fn account(&self, id: AccountId) -> Result<AsOf<Option<StoredAccount>>, StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.account(id)).await,
            Database::Postgres(postgres) => Box::pin(postgres.account(id)).await,
        }
    }

    /// The accounts with these ids that there are, in no order, with their metadata, all of one snapshot.
    ///
    /// # Errors
    /// The database is away or damaged.
    pub async fn accounts_by_id(
        &self,
        ids: &[AccountId],
    ) -> Result<AsOf<Vec<StoredAccount>>, StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.accounts_by_id(ids)).await,
            Database::Postgres(postgres) => Box::pin(postgres.accounts_by_id(ids)).await,
        }
    }

    /// The transfers with these ids that there are, in no order, all of one snapshot.
    ///
    /// # Errors
    /// The database is away or damaged.
    pub async fn transfers_by_id(
        &self,
        ids: &[TransferId],
    ) -> Result<AsOf<Vec<StoredTransfer>>, StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.transfers_by_id(ids)).await,
            Database::Postgres(postgres) => Box::pin(postgres.transfers_by_id(ids)).await,
        }
    }

    /// What is said of an account in words, just after the command at `at`, which the store must cover; nothing for an account without, and for
    /// none.
    ///
    /// # Errors
    /// The database is away or damaged.
    pub async fn account_words(
        &self,
        id: AccountId,
        at: JournalSeq,
    ) -> Result<AsOf<AccountWords>, StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.account_words(id, at)).await,
            Database::Postgres(postgres) => Box::pin(postgres.account_words(id, at)).await,
        }
    }

    /// One transfer.
    ///
    /// # Errors
    /// The database is away or damaged.
    pub async fn transfer(
        &self,
        id: TransferId,
    ) -> Result<AsOf<Option<StoredTransfer>>, StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.transfer(id)).await,
            Database::Postgres(postgres) => Box::pin(postgres.transfer(id)).await,
        }
    }

    /// One transaction, without its legs.
    ///
    /// # Errors
    /// The database is away or damaged.
    pub async fn transaction(
        &self,
        id: TransferId,
    ) -> Result<AsOf<Option<StoredTransaction>>, StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.transaction(id)).await,
            Database::Postgres(postgres) => Box::pin(postgres.transaction(id)).await,
        }
    }

    /// The legs of a transaction, in their order; none when there is no such transaction.
    ///
    /// # Errors
    /// The database is away or damaged.
    pub async fn transfers_of_transaction(
        &self,
        id: TransferId,
    ) -> Result<AsOf<Vec<StoredTransfer>>, StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.transfers_of_transaction(id)).await,
            Database::Postgres(postgres) => Box::pin(postgres.transfers_of_transaction(id)).await,
        }
    }

    /// The journal record of a command that came with a key, byte for byte.
    ///
    /// # Errors
    /// The database is away or damaged.
    pub async fn keyed_record(&self, seq: JournalSeq) -> Result<AsOf<Option<Vec<u8>>>, StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => Box::pin(sqlite.keyed_record(seq)).await,
            Database::Postgres(postgres) => Box::pin(postgres.keyed_record(seq)).await,
        }
    }
}
