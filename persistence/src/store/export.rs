//! All rows of a store, in batches for another one.
//!
//! Tables are read one after another, but for what fills the runs: transfers, transactions, expiries and balance history go over together in
//! the order of time, since a list asks the runs one after another and expects each to be later than the one before.

use std::collections::VecDeque;

use florin_engine::JournalSeq;

use super::batch::{MetadataRow, SettlementRow, StoreBatch, TransactionRow};
use super::error::StoreError;
use super::postgres::PostgresExport;
use super::rows::{BalanceAt, Checkpoint, StoredAccount, StoredLedger, StoredTransfer};
use super::sqlite::SqliteExport;
use super::sums::TableSums;

/// So many rows of a table are read at a time; few in tests, so that chunks end everywhere.
pub(super) const CHUNK_ROWS: i64 = if cfg!(test) { 7 } else { 8192 };
/// Of keyed records a chunk ends beyond so many bytes, since one that creates a large batch has half a million.
pub(super) const KEYED_BYTES: i64 = if cfg!(test) { 100 } else { 16 << 20 };
/// The keyed records after $1: at most $2, and none beyond the first $3 bytes.
pub(super) const KEYED_CHUNK: &str =
    "SELECT seq, record FROM keyed_records WHERE seq > $1 AND seq <= (
        SELECT max(seq) FROM (
            SELECT seq, sum(bytes) OVER (ORDER BY seq) - bytes AS ahead FROM (
                SELECT seq, length(record) AS bytes FROM keyed_records WHERE seq > $1 ORDER BY seq LIMIT $2) AS next) AS summed
        WHERE ahead < $3) ORDER BY seq";
/// A batch ends beyond so many rows.
const BATCH_ROWS_TARGET: usize = if cfg!(test) { 30 } else { 32_000 };

/// The rows of a store as of one moment, on their way to a store that is rebuilt.
pub struct Export {
    tables: Tables,
    checkpoint: Checkpoint,
    transfers_total: u64,
    stage: Stage,
    transfers: Lane<StoredTransfer>,
    transactions: Lane<TransactionRow>,
    expired: Lane<SettlementRow>,
    history: Lane<BalanceAt>,
}

/// Gives the rows of each table in chunks, in the order of time; an empty chunk is the end.
pub(super) enum Tables {
    Sqlite(SqliteExport),
    Postgres(PostgresExport),
}

enum Stage {
    Ledgers,
    Accounts,
    Replaced,
    Moves,
    Keyed,
    Checkpoint,
    Over,
}

/// What was read of a table and not given yet.
struct Lane<T> {
    rows: VecDeque<T>,
    is_over: bool,
}

impl<T> Lane<T> {
    const EMPTY: Lane<T> = Lane { rows: VecDeque::new(), is_over: false };

    fn needs_more(&self) -> bool {
        self.rows.is_empty() && !self.is_over
    }

    fn fill(&mut self, rows: Vec<T>) {
        self.is_over = rows.is_empty();
        self.rows.extend(rows);
    }

    /// No row that is still to be read comes before this time.
    fn horizon(&self, time: impl Fn(&T) -> u64) -> u64 {
        if self.is_over { u64::MAX } else { self.rows.back().map_or(0, time) }
    }

    fn take_until(&mut self, horizon: u64, time: impl Fn(&T) -> u64) -> Vec<T> {
        let count = self.rows.iter().take_while(|row| time(row) <= horizon).count();
        self.rows.drain(..count).collect()
    }

    fn has_ended(&self) -> bool {
        self.is_over && self.rows.is_empty()
    }
}

impl Export {
    pub(super) fn new(tables: Tables, checkpoint: Checkpoint, transfers_total: u64) -> Export {
        Export {
            tables,
            checkpoint,
            transfers_total,
            stage: Stage::Ledgers,
            transfers: Lane::EMPTY,
            transactions: Lane::EMPTY,
            expired: Lane::EMPTY,
            history: Lane::EMPTY,
        }
    }

    /// What all the rows together are as of.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        self.checkpoint
    }

    /// How many transfers there are.
    #[must_use]
    pub fn transfers(&self) -> u64 {
        self.transfers_total
    }

    /// The next rows, for a store that stands at the journal's beginning; the last batch moves it to the checkpoint. `None` at the end.
    ///
    /// # Errors
    /// The database is away or damaged: then the export is over.
    pub async fn next(&mut self) -> Result<Option<StoreBatch>, StoreError> {
        loop {
            let mut batch = StoreBatch::new(JournalSeq::NONE);
            match self.stage {
                Stage::Ledgers => {
                    self.tables.ledgers().await?.into_iter().for_each(|row| batch.push_ledger(row));
                    self.stage = Stage::Accounts;
                }
                Stage::Accounts => {
                    let rows = self.tables.accounts().await?;
                    if rows.is_empty() {
                        self.stage = Stage::Replaced;
                    }
                    rows.into_iter().for_each(|row| batch.push_account(row));
                }
                Stage::Replaced => {
                    batch.replaced = self.tables.replaced_metadata().await?;
                    if batch.replaced.is_empty() {
                        self.stage = Stage::Moves;
                    }
                }
                Stage::Moves => {
                    self.push_moves(&mut batch).await?;
                    if batch.is_empty() {
                        self.stage = Stage::Keyed;
                    }
                }
                Stage::Keyed => {
                    batch.keyed = self.tables.keyed().await?;
                    if batch.keyed.is_empty() {
                        self.stage = Stage::Checkpoint;
                    }
                }
                Stage::Checkpoint => {
                    self.tables.end().await?;
                    batch.set_upto(self.checkpoint.seq, self.checkpoint.timestamp);
                    batch.set_frame_hash(self.checkpoint.frame_hash);
                    self.stage = Stage::Over;
                }
                Stage::Over => return Ok(None),
            }
            if !batch.is_empty() {
                return Ok(Some(batch));
            }
        }
    }

    /// Sums up the rows of the positions `first` to `last` in the tables that no list tells whole, instead of giving any.
    ///
    /// # Errors
    /// The database is away or damaged.
    pub async fn sums(
        mut self,
        first: JournalSeq,
        last: JournalSeq,
    ) -> Result<TableSums, StoreError> {
        let mut sums = TableSums::default();
        let within = |seq: JournalSeq| first <= seq && seq <= last;
        while let Some(rows) = some(self.tables.settlements().await?) {
            rows.iter().filter(|row| within(row.seq)).for_each(|row| sums.settlement(row));
        }
        while let Some(rows) = some(self.tables.transactions().await?) {
            rows.iter().filter(|row| within(row.seq)).for_each(|row| sums.transaction(row));
        }
        while let Some(rows) = some(self.tables.history().await?) {
            rows.iter().filter(|row| within(row.seq)).for_each(|row| sums.moment(row));
        }
        while let Some(rows) = some(self.tables.replaced_metadata().await?) {
            rows.iter().filter(|row| within(row.seq)).for_each(|row| sums.replaced_metadata(row));
        }
        while let Some(rows) = some(self.tables.keyed().await?) {
            let within = rows.iter().filter(|(seq, _)| within(*seq));
            within.for_each(|(seq, record)| sums.keyed(*seq, record));
        }
        self.tables.end().await?;
        Ok(sums)
    }

    async fn push_moves(&mut self, batch: &mut StoreBatch) -> Result<(), StoreError> {
        let transfer = |row: &StoredTransfer| row.transfer.timestamp.0;
        let transaction = |row: &TransactionRow| row.transaction.timestamp.0;
        let expiry = |row: &SettlementRow| row.timestamp.0;
        let moment = |row: &BalanceAt| row.timestamp.0;
        while batch.rows() < BATCH_ROWS_TARGET {
            if self.transfers.needs_more() {
                self.transfers.fill(self.tables.transfers().await?);
            }
            if self.transactions.needs_more() {
                self.transactions.fill(self.tables.transactions().await?);
            }
            if self.expired.needs_more() {
                self.expired.fill(self.tables.expired().await?);
            }
            if self.history.needs_more() {
                self.history.fill(self.tables.history().await?);
            }
            if self.transfers.has_ended()
                && self.transactions.has_ended()
                && self.expired.has_ended()
                && self.history.has_ended()
            {
                break;
            }
            let horizon = self
                .transfers
                .horizon(transfer)
                .min(self.transactions.horizon(transaction))
                .min(self.expired.horizon(expiry))
                .min(self.history.horizon(moment));
            let transfers = self.transfers.take_until(horizon, transfer);
            let transactions = self.transactions.take_until(horizon, transaction);
            let expired = self.expired.take_until(horizon, expiry);
            let history = self.history.take_until(horizon, moment);
            let newest = [
                transfers.last().map(|row| row.transfer.timestamp),
                transactions.last().map(|row| row.transaction.timestamp),
                expired.last().map(|row| row.timestamp),
                history.last().map(|row| row.timestamp),
            ];
            batch.timestamp = newest.into_iter().flatten().fold(batch.timestamp, Ord::max);
            // Posts and voids say themselves what they settled.
            transfers.into_iter().for_each(|row| batch.push_transfer(row.transfer, row.seq));
            batch.settlements.extend(expired);
            batch.transactions.extend(transactions);
            batch.history.extend(history);
        }
        Ok(())
    }
}

/// A chunk, unless it is the empty one at the end.
fn some<T>(rows: Vec<T>) -> Option<Vec<T>> {
    (!rows.is_empty()).then_some(rows)
}

/// Asks whichever database it is.
macro_rules! tables {
    ($($name:ident -> $row:ty),* $(,)?) => {
        impl Tables {
            $(async fn $name(&mut self) -> Result<$row, StoreError> {
                match self {
                    Tables::Sqlite(tables) => tables.$name().await,
                    Tables::Postgres(tables) => tables.$name().await,
                }
            })*
        }
    };
}

tables! {
    ledgers -> Vec<StoredLedger>,
    accounts -> Vec<StoredAccount>,
    replaced_metadata -> Vec<MetadataRow>,
    transfers -> Vec<StoredTransfer>,
    transactions -> Vec<TransactionRow>,
    expired -> Vec<SettlementRow>,
    settlements -> Vec<SettlementRow>,
    history -> Vec<BalanceAt>,
    keyed -> Vec<(JournalSeq, Box<[u8]>)>,
    end -> (),
}
