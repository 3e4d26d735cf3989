//! Tables that no list tells whole, summed up row by row, so that a store can be held against its journal whatever their size.

use florin_engine::{AccountId, Event, JournalSeq, Record, Timestamp, metadata_digest};
use xxhash_rust::xxh3::xxh3_64;

use super::batch::{MetadataRow, OutOfOrder, SettlementRow, StoreBatch, TransactionRow};
use super::decode::settlement_number;
use super::rows::BalanceAt;

/// The rows of a stretch of the journal in the tables beside ledgers, accounts and transfers: how many, and the sum of their digests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSums {
    sums: [TableSum; TABLES.len()],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct TableSum {
    rows: u64,
    digests: u64,
}

#[derive(Clone, Copy)]
enum Table {
    Settlements,
    Transactions,
    BalanceHistory,
    ReplacedMetadata,
    KeyedRecords,
}

/// Their names, in that order.
const TABLES: [&str; 5] =
    ["settlements", "transactions", "balance_history", "replaced_metadata", "keyed_records"];

/// The most fields of a row that are looked at.
const FIELDS_MAX: usize = 10;

impl TableSums {
    /// Adds the rows of the record at `seq`. `keyed` is the record as it stands in the journal, for a record with a key.
    ///
    /// # Errors
    /// `seq` is no position.
    pub fn add(
        &mut self,
        seq: JournalSeq,
        record: Record,
        keyed: Option<&[u8]>,
    ) -> Result<(), OutOfOrder> {
        let mut batch = StoreBatch::new(JournalSeq(seq.0.saturating_sub(1)));
        for event in &record.events {
            if let Event::MetadataReplaced(replaced) = event {
                let account = record.accounts[replaced.account as usize].id;
                self.replaced(seq, replaced.timestamp, account, replaced.digest_before);
            }
        }
        batch.push(seq, record, keyed)?;
        batch.settlements.iter().for_each(|row| self.settlement(row));
        batch.transactions.iter().for_each(|row| self.transaction(row));
        batch.history.iter().for_each(|row| self.moment(row));
        batch.keyed.iter().for_each(|(seq, record)| self.keyed(*seq, record));
        Ok(())
    }

    /// In which table a store with these sums differs from the journal, in a sentence.
    #[must_use]
    pub fn difference(&self, journal: &TableSums) -> Option<String> {
        let tables = TABLES.iter().zip(self.sums.iter().zip(&journal.sums));
        let (table, (stored, journal)) = tables.into_iter().find(|(_, (a, b))| a != b)?;
        Some(if stored.rows == journal.rows {
            format!(
                "of the {} rows of {table} some are not the same in the store and the journal",
                stored.rows
            )
        } else {
            let (stored, journal) = (stored.rows, journal.rows);
            format!("the store has {stored} rows in {table}, the journal makes {journal} of them")
        })
    }

    pub(super) fn settlement(&mut self, row: &SettlementRow) {
        let kind = settlement_number(row.settlement);
        let fields = [row.pending_id.0, kind.into(), row.timestamp.0.into(), row.seq.0.into()];
        self.row(Table::Settlements, &fields);
    }

    pub(super) fn transaction(&mut self, row: &TransactionRow) {
        let transaction = &row.transaction;
        let fields = [
            transaction.id.0,
            // Which text it is follows from the id.
            transaction.external_id.is_some().into(),
            transaction.transfers.into(),
            transaction.timestamp.0.into(),
            metadata_digest(transaction.metadata.as_ref()).into(),
            // Rows of an earlier schema name it only where it was imported.
            row.first_leg
                .filter(|first| *first < transaction.timestamp)
                .map_or(0, |first| first.0.into()),
            row.last_leg.0.into(),
            row.seq.0.into(),
        ];
        self.row(Table::Transactions, &fields);
    }

    pub(super) fn moment(&mut self, row: &BalanceAt) {
        let balances = &row.balances;
        let fields = [
            row.account.0,
            row.timestamp.0.into(),
            row.seq.0.into(),
            row.flags.bits().into(),
            row.overdraft_limit.minor_units(),
            row.version.into(),
            balances.debits_pending.minor_units(),
            balances.debits_posted.minor_units(),
            balances.credits_pending.minor_units(),
            balances.credits_posted.minor_units(),
        ];
        self.row(Table::BalanceHistory, &fields);
    }

    pub(super) fn replaced_metadata(&mut self, row: &MetadataRow) {
        let before = metadata_digest(row.metadata.as_ref());
        self.replaced(row.seq, row.timestamp, row.account, before);
    }

    fn replaced(
        &mut self,
        seq: JournalSeq,
        timestamp: Timestamp,
        account: AccountId,
        digest_before: u64,
    ) {
        let fields = [account.0, timestamp.0.into(), seq.0.into(), digest_before.into()];
        self.row(Table::ReplacedMetadata, &fields);
    }

    pub(super) fn keyed(&mut self, seq: JournalSeq, record: &[u8]) {
        self.row(Table::KeyedRecords, &[seq.0.into(), xxh3_64(record).into()]);
    }

    fn row(&mut self, table: Table, fields: &[u128]) {
        let mut bytes = [0; 16 * FIELDS_MAX];
        for (place, field) in bytes.chunks_exact_mut(16).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        let sum = &mut self.sums[table as usize];
        sum.rows += 1;
        sum.digests = sum.digests.wrapping_add(xxh3_64(&bytes[..16 * fields.len()]));
    }
}
