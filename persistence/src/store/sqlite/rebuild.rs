//! Making a store anew, and taking one back to an earlier position. The caller has begun the SQL transaction.

use florin_engine::{JournalSeq, Timestamp};
use sqlx::sqlite::SqliteConnection;

use super::apply::{Claim, execute};
use super::columns::{Column, Reader, integer};
use super::connect::database_error;
use super::snapshot::Sql;
use crate::store::batch::StoreBatch;
use crate::store::columns::Columns;
use crate::store::error::StoreError;
use crate::store::rows::Beyond;

const TABLES: [&str; 14] = [
    "ledgers",
    "accounts",
    "balances",
    "transfers",
    "runs",
    "decided_ids",
    "account_transfers",
    "transfers_by_user_data_128",
    "transfers_by_user_data_64",
    "transfers_by_user_data_32",
    "amount_blocks",
    "balance_history",
    "transactions",
    "keyed_records",
];
/// What is in the order of time, or has its time beside it.
const BY_TIME: [&str; 8] = [
    "transfers",
    "transactions",
    "balance_history",
    "decided_ids",
    "account_transfers",
    "transfers_by_user_data_128",
    "transfers_by_user_data_64",
    "transfers_by_user_data_32",
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
    let sql = Sql::new("UPDATE checkpoint SET rebuilding = 0, history_from = ?")
        .with(integer(history_from.0, "history_from")?);
    let mut sql = sql;
    sql.push(" WHERE ledger_uuid = ? AND epoch = ? AND rebuilding <> 0");
    match execute(connection, "ending a rebuild", owned(sql, claim)?).await?.rows_affected() {
        1 => Ok(()),
        _ => Err(StoreError::NotClaimed),
    }
}

pub(super) async fn beyond(
    connection: &mut SqliteConnection,
    last: Timestamp,
) -> Result<Beyond, StoreError> {
    let at = integer(last.0, "timestamp")?;
    let count = |table: &str| {
        let mut sql = Sql::new("SELECT count(*) FROM ");
        sql.push(table).push(" WHERE timestamp > ?");
        sql.with(at.clone())
    };
    let newest = "SELECT coalesce((SELECT seq FROM transfers WHERE timestamp <= ? ORDER BY timestamp DESC LIMIT 1), 0)";
    let oldest = "SELECT coalesce((SELECT seq FROM transfers WHERE timestamp > ? ORDER BY timestamp LIMIT 1), 0)";
    let first = number(connection, Sql::new(oldest).with(at.clone())).await?;
    Ok(Beyond {
        transfers: number(connection, count("transfers")).await?,
        accounts: number(connection, count("accounts")).await?,
        last_seq: JournalSeq(number(connection, Sql::new(newest).with(at.clone())).await?),
        first_seq: (first > 0).then_some(JournalSeq(first)),
    })
}

/// Removes what was decided after the time of `to`.
pub(super) async fn cut(
    connection: &mut SqliteConnection,
    to: &StoreBatch,
) -> Result<(), StoreError> {
    let doing = "cutting the store";
    let at = integer(to.timestamp.0, "timestamp")?;
    for table in BY_TIME {
        let mut sql = Sql::new("DELETE FROM ");
        sql.push(table).push(" WHERE timestamp > ?").bind(at.clone());
        execute(connection, doing, sql).await?;
    }
    for text in [
        "DELETE FROM balances WHERE account_id IN (SELECT id FROM accounts WHERE timestamp > ?1)",
        "DELETE FROM accounts WHERE timestamp > ?1",
        "DELETE FROM ledgers WHERE timestamp > ?1",
        "DELETE FROM amount_blocks WHERE first_timestamp > ?1",
        "UPDATE amount_blocks SET last_timestamp = ?1, transfers = (
            SELECT count(*) FROM transfers t INDEXED BY transfers_by_ledger
            WHERE t.ledger = amount_blocks.ledger AND t.timestamp BETWEEN amount_blocks.first_timestamp AND ?1)
         WHERE last_timestamp > ?1",
        "DELETE FROM runs WHERE first_timestamp > ?1",
        "UPDATE runs SET last_timestamp = ?1, transfers = (
            SELECT count(*) FROM transfers t WHERE t.timestamp BETWEEN runs.first_timestamp AND ?1)
         WHERE last_timestamp > ?1",
    ] {
        execute(connection, doing, Sql::new(text).with(at.clone())).await?;
    }
    let keyed =
        Sql::new("DELETE FROM keyed_records WHERE seq > ?").with(integer(to.upto.0, "seq")?);
    execute(connection, doing, keyed).await.map(drop)
}

async fn number(connection: &mut SqliteConnection, sql: Sql) -> Result<u64, StoreError> {
    let (text, arguments) = sql.into_parts();
    let row = sqlx::query_with(sqlx::AssertSqlSafe(text), arguments)
        .fetch_one(connection)
        .await
        .map_err(|source| database_error("looking at the store", source))?;
    Reader::new(&row).u64("a count")
}
