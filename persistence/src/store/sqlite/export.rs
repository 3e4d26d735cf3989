//! The rows of an SQLite store in the order of time, all of one snapshot.

use florin_engine::JournalSeq;
use sqlx::sqlite::SqliteConnection;

use super::apply::fetch;
use super::columns::{Column, Reader, id, integer};
use super::connect;
use super::queries::{
    ACCOUNT_COLUMNS, BALANCE_COLUMNS, LEDGER_COLUMNS, TRANSACTION_COLUMNS, TRANSFER_COLUMNS,
};
use super::snapshot::{self, Sql};
use crate::store::batch::{MetadataRow, SettlementRow, TransactionRow};
use crate::store::columns::Columns;
use crate::store::decode;
use crate::store::error::StoreError;
use crate::store::export::{CHUNK_ROWS, KEYED_BYTES, KEYED_CHUNK};
use crate::store::rows::{BalanceAt, Checkpoint, StoredAccount, StoredLedger, StoredTransfer};

const EXPORTING: &str = "reading the store as a whole";

/// One connection in one read transaction, and how far each table is read.
pub(in crate::store) struct SqliteExport {
    connection: SqliteConnection,
    has_ledgers: bool,
    accounts_after: u64,
    replaced_after: u64,
    transfers_after: u64,
    transactions_after: u64,
    /// The rowid of `expiry_order` that was read last; none before that table is made.
    expired_after: Option<i64>,
    /// The run and the pending transfer of the settlement that was read last.
    settlements_after: (Column, Column),
    /// The rowid of `history_order` that was read last; none before that table is made.
    history_after: Option<i64>,
    keyed_after: u64,
}

impl SqliteExport {
    pub(super) async fn begin(
        path: &std::path::Path,
    ) -> Result<(SqliteExport, Checkpoint, u64), StoreError> {
        let (mut connection, checkpoint) = snapshot::begin(connect::reader(path).await?).await?;
        let total = "SELECT coalesce(sum(transfers), 0) FROM runs";
        let total = fetch(&mut connection, EXPORTING, Sql::new(total)).await?;
        let total = match total.first() {
            Some(row) => Reader::new(row).u64("transfers")?,
            None => 0,
        };
        let export = SqliteExport {
            connection,
            has_ledgers: false,
            accounts_after: 0,
            replaced_after: 0,
            transfers_after: 0,
            transactions_after: 0,
            expired_after: None,
            settlements_after: (Column::Integer(-1), Column::Null),
            history_after: None,
            keyed_after: 0,
        };
        Ok((export, checkpoint, total))
    }

    pub(in crate::store) async fn ledgers(&mut self) -> Result<Vec<StoredLedger>, StoreError> {
        if std::mem::replace(&mut self.has_ledgers, true) {
            return Ok(Vec::new());
        }
        let mut sql = Sql::new("SELECT ");
        sql.push(LEDGER_COLUMNS).push(" FROM ledgers l ORDER BY l.timestamp");
        self.rows(sql, |row| decode::ledger(row)).await
    }

    pub(in crate::store) async fn accounts(&mut self) -> Result<Vec<StoredAccount>, StoreError> {
        let from = " FROM accounts a CROSS JOIN balances b ON b.account_id = a.id
            WHERE a.timestamp > ? ORDER BY a.timestamp LIMIT ?";
        let sql = after(ACCOUNT_COLUMNS, from, self.accounts_after)?;
        let rows = self.rows(sql, |row| decode::account(row)).await?;
        self.accounts_after =
            rows.last().map_or(self.accounts_after, |row| row.account.timestamp.0);
        Ok(rows)
    }

    pub(in crate::store) async fn replaced_metadata(
        &mut self,
    ) -> Result<Vec<MetadataRow>, StoreError> {
        let columns = "seq, timestamp, account_id, metadata, metadata_digest";
        let from = " FROM replaced_metadata WHERE seq > ? ORDER BY seq LIMIT ?";
        let sql = after(columns, from, self.replaced_after)?;
        let rows = self.rows(sql, |row| decode::replaced_metadata(row)).await?;
        self.replaced_after = rows.last().map_or(self.replaced_after, |row| row.seq.0);
        Ok(rows)
    }

    pub(in crate::store) async fn transfers(&mut self) -> Result<Vec<StoredTransfer>, StoreError> {
        let from =
            " FROM transfers t NOT INDEXED WHERE t.timestamp > ? ORDER BY t.timestamp LIMIT ?";
        let sql = after(TRANSFER_COLUMNS, from, self.transfers_after)?;
        let rows = self.rows(sql, |row| decode::transfer(row)).await?;
        self.transfers_after =
            rows.last().map_or(self.transfers_after, |row| row.transfer.timestamp.0);
        Ok(rows)
    }

    pub(in crate::store) async fn transactions(
        &mut self,
    ) -> Result<Vec<TransactionRow>, StoreError> {
        let from = " FROM transactions x WHERE x.timestamp > ? ORDER BY x.timestamp LIMIT ?";
        let sql = after(TRANSACTION_COLUMNS, from, self.transactions_after)?;
        let rows = self.rows(sql, |row| decode::transaction(row)).await?;
        self.transactions_after =
            rows.last().map_or(self.transactions_after, |row| row.transaction.timestamp.0);
        Ok(rows)
    }

    pub(in crate::store) async fn expired(&mut self) -> Result<Vec<SettlementRow>, StoreError> {
        let order = "CREATE TEMP TABLE expiry_order AS SELECT pending_id, timestamp, seq FROM settlements WHERE kind = 3 AND run IN (SELECT run FROM runs) ORDER BY run, timestamp";
        let after = self.made(self.expired_after, order).await?;
        let sql = Sql::new(
            "SELECT pending_id, timestamp, seq FROM expiry_order WHERE rowid > ? ORDER BY rowid LIMIT ?",
        );
        let rows = self.rows(sql.with(after).with(CHUNK_ROWS), |row| decode::expired(row)).await?;
        self.expired_after = Some(after + rows.len() as i64);
        Ok(rows)
    }

    /// Settlements of all kinds, in the order of their table.
    pub(in crate::store) async fn settlements(&mut self) -> Result<Vec<SettlementRow>, StoreError> {
        let mut sql = Sql::new(
            "SELECT run, pending_id, kind, timestamp, seq FROM settlements s WHERE (run, pending_id) > (?, ?) AND EXISTS (SELECT 1 FROM runs r WHERE r.run = s.run) ORDER BY run, pending_id LIMIT ?",
        );
        let (run, pending_id) = self.settlements_after.clone();
        sql.bind(run).bind(pending_id).bind(CHUNK_ROWS);
        let run_and_row = |mut columns: Reader<'_>| {
            let run = columns.column("run")?;
            Ok((run, decode::settled(columns)?))
        };
        let rows = self.rows(sql, run_and_row).await?;
        if let Some((run, last)) = rows.last() {
            self.settlements_after = (run.clone(), id(last.pending_id.0));
        }
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }

    /// How far a temporary table is read, which is made first.
    async fn made(&mut self, after: Option<i64>, order: &str) -> Result<i64, StoreError> {
        match after {
            Some(after) => Ok(after),
            None => fetch(&mut self.connection, EXPORTING, Sql::new(order)).await.map(|_| 0),
        }
    }

    /// The table is in the order of accounts, so the order of time is made first, in a temporary table.
    pub(in crate::store) async fn history(&mut self) -> Result<Vec<BalanceAt>, StoreError> {
        let order = "CREATE TEMP TABLE history_order AS
            SELECT run, account_id, timestamp FROM balance_history WHERE run IN (SELECT run FROM runs) ORDER BY run, timestamp";
        let after = self.made(self.history_after, order).await?;
        let mut sql = Sql::new("SELECT ");
        sql.push(BALANCE_COLUMNS).push(
            " FROM history_order o CROSS JOIN balance_history h
                ON h.run = o.run AND h.account_id = o.account_id AND h.timestamp = o.timestamp
              WHERE o.rowid > ? ORDER BY o.rowid LIMIT ?",
        );
        sql.bind(after).bind(CHUNK_ROWS);
        let rows = self.rows(sql, |row| decode::balance_at(row)).await?;
        self.history_after = Some(after + rows.len() as i64);
        Ok(rows)
    }

    pub(in crate::store) async fn keyed(
        &mut self,
    ) -> Result<Vec<(JournalSeq, Box<[u8]>)>, StoreError> {
        let after = integer(self.keyed_after, "seq")?;
        let sql = Sql::new(KEYED_CHUNK).with(after).with(CHUNK_ROWS).with(KEYED_BYTES);
        let rows = self.rows(sql, |row| decode::keyed(row)).await?;
        self.keyed_after = rows.last().map_or(self.keyed_after, |(seq, _)| seq.0);
        Ok(rows)
    }

    pub(in crate::store) async fn end(&mut self) -> Result<(), StoreError> {
        fetch(&mut self.connection, EXPORTING, Sql::new("ROLLBACK")).await.map(drop)
    }

    async fn rows<T>(
        &mut self,
        sql: Sql,
        decode: impl Fn(Reader<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = fetch(&mut self.connection, EXPORTING, sql).await?;
        rows.iter().map(|row| decode(Reader::new(row))).collect()
    }
}

fn after(columns: &str, from: &str, after: u64) -> Result<Sql, StoreError> {
    let mut sql = Sql::new("SELECT ");
    sql.push(columns).push(from).bind(integer(after, "timestamp")?).bind(CHUNK_ROWS);
    Ok(sql)
}
