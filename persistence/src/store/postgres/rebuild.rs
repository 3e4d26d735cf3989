//! Making a store anew, and taking one back to an earlier position. The caller has begun the SQL transaction.

use florin_engine::JournalSeq;

use super::apply::{Claim, execute, fetch};
use super::binary::Value;
use super::columns::{Reader, bigint};
use super::copy::Writer;
use super::index_metadata::index_restored;
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
    let empty = "TRUNCATE ledgers, accounts, accounts_by_metadata, balances, transfers, transfers_by_metadata, runs, amount_blocks, balance_history, transactions, settlements, replaced_metadata, keyed_records";
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

/// No transfer that was decided up to a position ($1) stands later than this: their times only increase. Found by looking at those after it.
const LAST_KEPT: &str = "(SELECT coalesce(max(timestamp), -1) FROM transfers WHERE seq <= $1)";

pub(super) async fn beyond(writer: &mut Writer, last: JournalSeq) -> Result<Beyond, StoreError> {
    writer.be_patient().await?;
    let mut sql = Sql::new(&format!(
        "SELECT (SELECT count(*) FROM transfers WHERE seq > $1 AND timestamp > {LAST_KEPT}),
            (SELECT count(*) FROM accounts WHERE seq > $1)"
    ));
    sql.place(bigint(last.0, "seq")?);
    let row = fetch(writer, "looking at the store", sql).await?;
    let mut columns = Reader::new(&row);
    Ok(Beyond { transfers: columns.u64("transfers")?, accounts: columns.u64("accounts")? })
}

/// Removes what was decided after the position of `to`.
pub(super) async fn cut(writer: &mut Writer, to: &StoreBatch) -> Result<(), StoreError> {
    writer.be_patient().await?;
    // By position: the moment of what was imported is not that of its command.
    let of_transfers = [
        "DELETE FROM transfers_by_metadata m USING transfers t WHERE m.run = t.run AND m.timestamp = t.timestamp AND t.seq > $1 AND t.timestamp > ",
        "DELETE FROM transfers WHERE seq > $1 AND timestamp > ",
    ];
    let statements = [
        "DELETE FROM transactions WHERE seq > $1",
        "DELETE FROM settlements WHERE seq > $1",
        "DELETE FROM balance_history WHERE seq > $1",
        "DELETE FROM keyed_records WHERE seq > $1",
        "DELETE FROM balances b USING accounts a WHERE b.account_id = a.id AND a.seq > $1",
        "DELETE FROM accounts_by_metadata m USING accounts a WHERE m.timestamp = a.timestamp AND a.seq > $1",
        "DELETE FROM accounts WHERE seq > $1",
        "DELETE FROM accounts_by_metadata m USING accounts a
         WHERE m.timestamp = a.timestamp AND a.id IN (SELECT account_id FROM replaced_metadata WHERE seq > $1)",
        // The oldest of what was replaced after the position is what stood there at it.
        "UPDATE accounts a SET (metadata_digest, metadata_text, metadata) = (
            SELECT r.metadata_digest, r.metadata_text, r.metadata FROM replaced_metadata r
            WHERE r.account_id = a.id AND r.seq > $1 ORDER BY r.seq LIMIT 1)
         WHERE a.id IN (SELECT account_id FROM replaced_metadata WHERE seq > $1)",
    ];
    let of_transfers = of_transfers.map(|text| format!("{text}{LAST_KEPT}"));
    cut_by(writer, to, of_transfers.iter().map(String::as_str).chain(statements)).await?;
    index_restored(writer, to.upto).await?;
    // Only what has lost transfers is counted anew.
    let blocks = format!(
        "DELETE FROM amount_blocks b WHERE last_timestamp > {LAST_KEPT} AND NOT EXISTS (
            SELECT FROM transfers t WHERE t.ledger = b.ledger AND t.timestamp BETWEEN b.first_timestamp AND b.last_timestamp)"
    );
    let last_blocks = format!(
        "UPDATE amount_blocks b SET (transfers, last_timestamp) = (
            SELECT count(*), max(t.timestamp) FROM transfers t
            WHERE t.ledger = b.ledger AND t.timestamp BETWEEN b.first_timestamp AND b.last_timestamp)
         WHERE last_timestamp > {LAST_KEPT}"
    );
    let runs = format!(
        "UPDATE runs r SET transfers = (SELECT count(*) FROM transfers t WHERE t.run = r.run) WHERE last_timestamp > {LAST_KEPT}"
    );
    let statements = [
        "DELETE FROM replaced_metadata WHERE seq > $1",
        "DELETE FROM ledgers WHERE seq > $1",
        &blocks,
        &last_blocks,
        &runs,
    ];
    cut_by(writer, to, statements).await
}

async fn cut_by(
    writer: &mut Writer,
    to: &StoreBatch,
    statements: impl IntoIterator<Item = &str>,
) -> Result<(), StoreError> {
    for text in statements {
        let mut sql = Sql::new(text);
        sql.place(bigint(to.upto.0, "seq")?);
        execute(writer, "cutting the store", sql).await?;
    }
    Ok(())
}
