//! The rows of a store in PostgreSQL in the order of time, all of one snapshot: a cursor for each table.

use std::collections::BTreeSet;
use std::time::Duration;

use florin_engine::JournalSeq;
use sqlx::postgres::{PgConnection, PgRow};

use super::all;
use super::columns::{Reader, bigint};
use super::connect::{PATIENCE, Sessions, within_store};
use super::queries::{
    ACCOUNT_COLUMNS, BALANCE_COLUMNS, LEDGER_COLUMNS, TRANSACTION_COLUMNS, TRANSFER_COLUMNS,
};
use super::snapshot::{Snapshot, Sql};
use crate::store::batch::{MetadataRow, SettlementRow, TransactionRow};
use crate::store::columns::Columns;
use crate::store::decode;
use crate::store::error::StoreError;
use crate::store::export::{CHUNK_ROWS, KEYED_BYTES, KEYED_CHUNK};
use crate::store::rows::{BalanceAt, Checkpoint, StoredAccount, StoredLedger, StoredTransfer};

const EXPORTING: &str = "reading the store as a whole";

/// One session in one read transaction.
pub(in crate::store) struct PostgresExport {
    snapshot: Snapshot,
    /// How long the server may take for what reads no table.
    limit: Duration,
    declared: BTreeSet<&'static str>,
    keyed_after: u64,
}

impl PostgresExport {
    pub(super) async fn begin(
        sessions: &Sessions,
    ) -> Result<(PostgresExport, Checkpoint, u64), StoreError> {
        let connection = sessions.connect_reader().await?;
        let (schema, limit) = (&sessions.options.schema, sessions.options.read_timeout);
        let (snapshot, total) = within_store(limit, EXPORTING, begin(connection, schema)).await?;
        let checkpoint = snapshot.checkpoint();
        let declared = BTreeSet::new();
        let export = PostgresExport { snapshot, limit, declared, keyed_after: 0 };
        Ok((export, checkpoint, total))
    }

    pub(in crate::store) async fn ledgers(&mut self) -> Result<Vec<StoredLedger>, StoreError> {
        let query = format!("SELECT {LEDGER_COLUMNS} FROM ledgers l ORDER BY l.timestamp");
        self.chunk("ledgers_cursor", &query, |row| decode::ledger(row)).await
    }

    pub(in crate::store) async fn accounts(&mut self) -> Result<Vec<StoredAccount>, StoreError> {
        let query = format!(
            "SELECT {ACCOUNT_COLUMNS} FROM accounts a JOIN balances b ON b.account_id = a.id ORDER BY a.timestamp"
        );
        self.chunk("accounts_cursor", &query, |row| decode::account(row)).await
    }

    pub(in crate::store) async fn replaced_metadata(
        &mut self,
    ) -> Result<Vec<MetadataRow>, StoreError> {
        let query = "SELECT seq, timestamp, account_id, metadata_text, metadata_digest
            FROM replaced_metadata ORDER BY seq";
        self.chunk("replaced_cursor", query, |row| decode::replaced_metadata(row)).await
    }

    pub(in crate::store) async fn transfers(&mut self) -> Result<Vec<StoredTransfer>, StoreError> {
        let query = format!("SELECT {TRANSFER_COLUMNS} FROM transfers t ORDER BY t.timestamp");
        self.chunk("transfers_cursor", &query, |row| decode::transfer(row)).await
    }

    pub(in crate::store) async fn transactions(
        &mut self,
    ) -> Result<Vec<TransactionRow>, StoreError> {
        let query =
            format!("SELECT {TRANSACTION_COLUMNS} FROM transactions x ORDER BY x.timestamp");
        self.chunk("transactions_cursor", &query, |row| decode::transaction(row)).await
    }

    pub(in crate::store) async fn expired(&mut self) -> Result<Vec<SettlementRow>, StoreError> {
        let query = "SELECT pending_id, timestamp, seq FROM settlements WHERE kind = 3 ORDER BY run, timestamp";
        self.chunk("expired_cursor", query, |row| decode::expired(row)).await
    }

    /// Settlements of all kinds, in no order.
    pub(in crate::store) async fn settlements(&mut self) -> Result<Vec<SettlementRow>, StoreError> {
        let query = "SELECT pending_id, kind, timestamp, seq FROM settlements";
        self.chunk("settlements_cursor", query, |row| decode::settled(row)).await
    }

    pub(in crate::store) async fn history(&mut self) -> Result<Vec<BalanceAt>, StoreError> {
        let query =
            format!("SELECT {BALANCE_COLUMNS} FROM balance_history h ORDER BY h.run, h.timestamp");
        self.chunk("history_cursor", &query, |row| decode::balance_at(row)).await
    }

    pub(in crate::store) async fn keyed(
        &mut self,
    ) -> Result<Vec<(JournalSeq, Box<[u8]>)>, StoreError> {
        let mut sql = Sql::new(KEYED_CHUNK);
        sql.place(bigint(self.keyed_after, "seq")?);
        sql.place(CHUNK_ROWS);
        sql.place(KEYED_BYTES);
        let rows = all(&self.fetch(sql).await?, decode::keyed)?;
        self.keyed_after = rows.last().map_or(self.keyed_after, |(seq, _)| seq.0);
        Ok(rows)
    }

    pub(in crate::store) async fn end(&mut self) -> Result<(), StoreError> {
        within_store(self.limit, EXPORTING, self.snapshot.run("ROLLBACK")).await
    }

    async fn chunk<T>(
        &mut self,
        cursor: &'static str,
        query: &str,
        decode: impl Fn(Reader<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        if self.declared.insert(cursor) {
            self.fetch(Sql::new(&format!("DECLARE {cursor} NO SCROLL CURSOR FOR {query}"))).await?;
        }
        let rows = self.fetch(Sql::new(&format!("FETCH {CHUNK_ROWS} FROM {cursor}"))).await?;
        all(&rows, decode)
    }

    async fn fetch(&mut self, sql: Sql) -> Result<Vec<PgRow>, StoreError> {
        within_store(PATIENCE, EXPORTING, self.snapshot.fetch(sql)).await
    }
}

/// The read transaction, and how many transfers there are.
async fn begin(connection: PgConnection, schema: &str) -> Result<(Snapshot, u64), StoreError> {
    let mut snapshot = Snapshot::begin(connection, schema).await?;
    // A page follows an index, a whole table does not; and a chunk may wait for whoever takes the one before.
    for setting in [
        "SET LOCAL statement_timeout = 0",
        "SET LOCAL idle_in_transaction_session_timeout = 0",
        "SET LOCAL enable_sort = on",
        "SET LOCAL enable_seqscan = on",
    ] {
        snapshot.run(setting).await?;
    }
    let total = "SELECT coalesce(sum(transfers), 0)::bigint FROM runs";
    let total = snapshot.fetch(Sql::new(total)).await?;
    let total = total.first().map(|row| Reader::new(row).u64("transfers")).transpose()?;
    Ok((snapshot, total.unwrap_or(0)))
}
