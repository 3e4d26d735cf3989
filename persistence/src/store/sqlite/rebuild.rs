//! Making a store anew, and taking one back to an earlier position. The caller has begun the SQL transaction.

use florin_engine::JournalSeq;
use sqlx::sqlite::SqliteConnection;

use super::apply::{Claim, execute};
use super::columns::{Column, Reader, integer};
use super::connect::database_error;
use super::index_metadata::index_restored;
use super::snapshot::Sql;
use crate::store::batch::StoreBatch;
use crate::store::columns::Columns;
use crate::store::error::StoreError;
use crate::store::rows::Beyond;

const TABLES: [&str; 19] = [
    "ledgers",
    "accounts",
    "balances",
    "transfers",
    "runs",
    "merges",
    "decided_ids",
    "account_transfers",
    "transfers_by_user_data_128",
    "transfers_by_user_data_64",
    "transfers_by_user_data_32",
    "transfers_by_metadata",
    "accounts_by_metadata",
    "amount_blocks",
    "balance_history",
    "transactions",
    "settlements",
    "replaced_metadata",
    "keyed_records",
];
/// What finds transfers by their moment.
const LOOKUPS: [&str; 5] = [
    "account_transfers",
    "transfers_by_user_data_128",
    "transfers_by_user_data_64",
    "transfers_by_user_data_32",
    "transfers_by_metadata",
];

fn owned(sql: Sql, claim: &Claim) -> Result<Sql, StoreError> {
    let directory = Column::Blob(claim.directory.as_bytes().to_vec());
    Ok(sql.with(directory).with(integer(claim.epoch, "epoch")?))
}

pub(super) async fn begin(
    connection: &mut SqliteConnection,
    claim: &Claim,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "UPDATE checkpoint SET seq = 0, frame_hash = zeroblob(16), timestamp = 0, history_from = 1, rebuilding = 1
         WHERE ledger_uuid = ? AND epoch = ? AND (seq = 0 OR rebuilding <> 0)",
    );
    if execute(connection, "beginning a rebuild", owned(sql, claim)?).await?.rows_affected() != 1 {
        let at = JournalSeq(number(connection, Sql::new("SELECT seq FROM checkpoint")).await?);
        return Err(StoreError::NotLost { at });
    }
    for table in TABLES {
        let mut sql = Sql::new("DELETE FROM ");
        sql.push(table);
        execute(connection, "emptying the store", sql).await?;
    }
    Ok(())
}

pub(super) async fn end(
    connection: &mut SqliteConnection,
    claim: &Claim,
    history_from: JournalSeq,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "UPDATE checkpoint SET rebuilding = 0, history_from = ?
         WHERE ledger_uuid = ? AND epoch = ? AND rebuilding <> 0",
    )
    .with(integer(history_from.0, "history_from")?);
    match execute(connection, "ending a rebuild", owned(sql, claim)?).await?.rows_affected() {
        1 => Ok(()),
        _ => Err(StoreError::NotClaimed),
    }
}

pub(super) async fn beyond(
    connection: &mut SqliteConnection,
    last: JournalSeq,
) -> Result<Beyond, StoreError> {
    let at = integer(last.0, "seq")?;
    let transfers = Sql::new("SELECT count(*) FROM transfers WHERE seq > ?").with(at.clone());
    let accounts = Sql::new("SELECT count(*) FROM accounts WHERE seq > ?").with(at);
    Ok(Beyond {
        transfers: number(connection, transfers).await?,
        accounts: number(connection, accounts).await?,
    })
}

const DOING: &str = "cutting the store";

/// Removes what was decided after the position of `to`.
pub(super) async fn cut(
    connection: &mut SqliteConnection,
    to: &StoreBatch,
) -> Result<(), StoreError> {
    let at = integer(to.upto.0, "seq")?;
    // By position: the moments of what was imported say nothing of when it was decided. Lookups have the moment alone.
    let lookups = LOOKUPS.map(|table| {
        format!("DELETE FROM {table} WHERE timestamp IN (SELECT timestamp FROM transfers WHERE seq > ?1)")
    });
    let statements = [
        "DELETE FROM decided_ids WHERE kind = 0 AND timestamp IN (SELECT timestamp FROM transfers WHERE seq > ?1)",
        "DELETE FROM decided_ids WHERE kind = 1 AND timestamp IN (SELECT timestamp FROM transactions WHERE seq > ?1)",
        "DELETE FROM transfers WHERE seq > ?1",
        "DELETE FROM transactions WHERE seq > ?1",
        "DELETE FROM settlements WHERE seq > ?1",
        "DELETE FROM balance_history WHERE seq > ?1",
        "DELETE FROM keyed_records WHERE seq > ?1",
        "DELETE FROM balances WHERE account_id IN (SELECT id FROM accounts WHERE seq > ?1)",
        "DELETE FROM accounts_by_metadata WHERE timestamp IN (SELECT timestamp FROM accounts WHERE seq > ?1)",
        "DELETE FROM accounts WHERE seq > ?1",
        "DELETE FROM accounts_by_metadata WHERE timestamp IN (
            SELECT timestamp FROM accounts WHERE id IN (SELECT account_id FROM replaced_metadata WHERE seq > ?1))",
        // The oldest of what was replaced after the position is what stood there at it.
        "UPDATE accounts SET (metadata, metadata_digest) = (
            SELECT r.metadata, r.metadata_digest FROM replaced_metadata r
            WHERE r.account_id = accounts.id AND r.seq > ?1 ORDER BY r.seq LIMIT 1)
         WHERE id IN (SELECT account_id FROM replaced_metadata WHERE seq > ?1)",
    ];
    for text in lookups.iter().map(String::as_str).chain(statements) {
        execute(connection, DOING, Sql::new(text).with(at.clone())).await?;
    }
    index_restored(connection, to.upto).await?;
    for text in [
        "DELETE FROM replaced_metadata WHERE seq > ?1",
        "DELETE FROM ledgers WHERE seq > ?1",
        "DELETE FROM amount_blocks WHERE ?1 >= 0 AND NOT EXISTS (
            SELECT 1 FROM transfers t INDEXED BY transfers_by_ledger WHERE t.ledger = amount_blocks.ledger
                AND t.timestamp BETWEEN amount_blocks.first_timestamp AND amount_blocks.last_timestamp)",
        "UPDATE amount_blocks SET (transfers, last_timestamp) = (
            SELECT count(*), max(t.timestamp) FROM transfers t INDEXED BY transfers_by_ledger
            WHERE t.ledger = amount_blocks.ledger
                AND t.timestamp BETWEEN amount_blocks.first_timestamp AND amount_blocks.last_timestamp)
         WHERE ?1 >= 0 AND first_timestamp = (SELECT max(o.first_timestamp) FROM amount_blocks o WHERE o.ledger = amount_blocks.ledger)",
        "UPDATE runs SET transfers = (SELECT count(*) FROM decided_ids d WHERE d.run = runs.run AND d.kind = 0) WHERE ?1 >= 0",
    ] {
        execute(connection, DOING, Sql::new(text).with(at.clone())).await?;
    }
    Ok(())
}

async fn number(connection: &mut SqliteConnection, sql: Sql) -> Result<u64, StoreError> {
    let (text, arguments) = sql.into_parts();
    let row = sqlx::query_with(sqlx::AssertSqlSafe(text), arguments)
        .fetch_one(connection)
        .await
        .map_err(|source| database_error("looking at the store", source))?;
    Reader::new(&row).u64("a count")
}
