//! Making a store anew, and taking one back to an earlier position. The caller has begun the SQL transaction.

use florin_engine::{JournalSeq, Timestamp};

use super::apply::{Claim, execute, fetch};
use super::binary::Value;
use super::columns::{Reader, bigint};
use super::copy::Writer;
use super::snapshot::Sql;
use crate::store::batch::StoreBatch;
use crate::store::columns::Columns;
use crate::store::error::StoreError;
use crate::store::rows::Beyond;

fn owned(mut sql: Sql, claim: &Claim) -> Result<Sql, StoreError> {
    sql.push(" WHERE ledger_uuid = ").bind(Value::id(claim.directory.as_u128()));
    sql.push(" AND epoch = ").bind(bigint(claim.epoch, "epoch")?);
    Ok(sql)
}

pub(super) async fn begin(writer: &mut Writer, claim: &Claim) -> Result<(), StoreError> {
    let mut sql = Sql::new(
        "UPDATE checkpoint SET seq = 0, timestamp = 0, history_from = 1, rebuilding = true, frame_hash = ",
    );
    sql.bind(Value::bytea(&[0; 16]));
    let mut sql = owned(sql, claim)?;
    sql.push(" AND (seq = 0 OR rebuilding)");
    if execute(writer, "beginning a rebuild", sql).await?.rows_affected() != 1 {
        return Err(refusal(writer, claim).await?);
    }
    let empty = "TRUNCATE ledgers, accounts, balances, transfers, runs, amount_blocks, balance_history, transactions, keyed_records";
    execute(writer, "emptying the store", Sql::new(empty)).await.map(drop)
}

/// Why the checkpoint was not this writer's to change, or not in the state for it.
async fn refusal(writer: &mut Writer, claim: &Claim) -> Result<StoreError, StoreError> {
    let sql = Sql::new("SELECT epoch, seq FROM checkpoint");
    let row = fetch(writer, "looking at the checkpoint", sql).await?;
    let mut columns = Reader::new(&row);
    let found = columns.u64("epoch")?;
    if found != claim.epoch {
        return Ok(StoreError::Fenced { ours: claim.epoch, found });
    }
    Ok(StoreError::NotLost { at: JournalSeq(columns.u64("seq")?) })
}

pub(super) async fn end(
    writer: &mut Writer,
    claim: &Claim,
    history_from: JournalSeq,
) -> Result<(), StoreError> {
    let mut sql = Sql::new("UPDATE checkpoint SET rebuilding = false, history_from = ");
    sql.bind(bigint(history_from.0, "history_from")?);
    let mut sql = owned(sql, claim)?;
    sql.push(" AND rebuilding");
    match execute(writer, "ending a rebuild", sql).await?.rows_affected() {
        1 => Ok(()),
        _ => Err(refusal(writer, claim).await?),
    }
}

pub(super) async fn beyond(writer: &mut Writer, last: Timestamp) -> Result<Beyond, StoreError> {
    let mut sql = Sql::new("");
    let at = sql.place(bigint(last.0, "timestamp")?);
    sql.push(&format!(
        "SELECT (SELECT count(*) FROM transfers WHERE timestamp > {at}),
            (SELECT count(*) FROM accounts WHERE timestamp > {at}),
            coalesce((SELECT seq FROM transfers WHERE timestamp <= {at} ORDER BY timestamp DESC LIMIT 1), 0),
            coalesce((SELECT seq FROM transfers WHERE timestamp > {at} ORDER BY timestamp LIMIT 1), 0)"
    ));
    let row = fetch(writer, "looking at the store", sql).await?;
    let mut columns = Reader::new(&row);
    let (transfers, accounts) = (columns.u64("transfers")?, columns.u64("accounts")?);
    let last_seq = JournalSeq(columns.u64("seq")?);
    let first = columns.u64("seq")?;
    let first_seq = (first > 0).then_some(JournalSeq(first));
    Ok(Beyond { transfers, accounts, last_seq, first_seq })
}

/// Removes what was decided after the time of `to`.
pub(super) async fn cut(writer: &mut Writer, to: &StoreBatch) -> Result<(), StoreError> {
    let doing = "cutting the store";
    for text in [
        "DELETE FROM transfers WHERE timestamp > $1",
        "DELETE FROM transactions WHERE timestamp > $1",
        "DELETE FROM balance_history WHERE timestamp > $1",
        "DELETE FROM balances b USING accounts a WHERE b.account_id = a.id AND a.timestamp > $1",
        "DELETE FROM accounts WHERE timestamp > $1",
        "DELETE FROM ledgers WHERE timestamp > $1",
        "DELETE FROM amount_blocks WHERE first_timestamp > $1",
        "UPDATE amount_blocks b SET last_timestamp = $1, transfers = (
            SELECT count(*) FROM transfers t WHERE t.ledger = b.ledger AND t.timestamp BETWEEN b.first_timestamp AND $1)
         WHERE last_timestamp > $1",
        "DELETE FROM runs WHERE first_timestamp > $1",
        "UPDATE runs r SET last_timestamp = $1, transfers = (
            SELECT count(*) FROM transfers t WHERE t.timestamp BETWEEN r.first_timestamp AND $1)
         WHERE last_timestamp > $1",
    ] {
        let mut sql = Sql::new(text);
        sql.place(bigint(to.timestamp.0, "timestamp")?);
        execute(writer, doing, sql).await?;
    }
    let keyed = Sql::new("DELETE FROM keyed_records WHERE seq > ").with(bigint(to.upto.0, "seq")?);
    execute(writer, doing, keyed).await.map(drop)
}
