//! Applying a batch: all its rows and the checkpoint, in one SQL transaction.

use florin_engine::{AccountAfter, ExternalId, Inherited, JournalSeq, Metadata, Transfer};
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgQueryResult, PgRow};
use uuid::Uuid;

use super::binary::{Array, Binary, Kind, Value};
use super::columns::{Reader, bigint};
use super::connect::within;
use super::copy::{Steps, Table, Writer};
use super::jsonb;
use super::metadata::{append_account_entries, append_transfer_entries, replace_metadata};
use super::snapshot::Sql;
use crate::store::Sizes;
use crate::store::batch::StoreBatch;
use crate::store::blocks::blocks;
use crate::store::columns::Columns;
use crate::store::decode::settlement_number;
use crate::store::error::StoreError;
use crate::store::rows::BalanceAt;

/// Under which claim the writer writes, and how it cuts the rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) directory: Uuid,
    pub(super) epoch: u64,
    pub(super) sizes: Sizes,
}

/// Writes everything of `batch`. The caller has begun the SQL transaction, and commits it, or closes the connection.
pub(super) async fn write(
    writer: &mut Writer,
    claim: &Claim,
    batch: &StoreBatch,
) -> Result<(), StoreError> {
    move_checkpoint(writer, claim, batch).await?;
    append_ledgers(writer, batch).await?;
    append_accounts(writer, batch).await?;
    if let Some(run) = choose_run(writer, claim, batch).await? {
        append_transfers(writer, run, &batch.transfers).await?;
        let entries = batch.transfer_entries().into_iter().map(|(entry, at)| (run, entry, at));
        append_transfer_entries(writer, entries.collect()).await?;
        append_transactions(writer, run, batch).await?;
        append_settlements(writer, run, batch).await?;
        append_history(writer, run, batch).await?;
    }
    write_amount_blocks(writer, claim, batch).await?;
    replace_metadata(writer, batch).await?;
    write_balances(writer, batch).await?;
    write_totals(writer, batch).await?;
    append_keyed(writer, batch).await
}

pub(super) async fn execute(
    writer: &mut Writer,
    doing: &'static str,
    sql: Sql,
) -> Result<PgQueryResult, StoreError> {
    // The text is put together from constants of this crate; what a record holds is always bound.
    let query = sqlx::query_with(AssertSqlSafe(sql.text), sql.arguments);
    within(writer.limit, doing, query.execute(&mut writer.connection)).await
}

pub(super) async fn fetch(
    writer: &mut Writer,
    doing: &'static str,
    sql: Sql,
) -> Result<PgRow, StoreError> {
    let query = sqlx::query_with(AssertSqlSafe(sql.text), sql.arguments);
    within(writer.limit, doing, query.fetch_one(&mut writer.connection)).await
}

pub(super) async fn fetch_all(
    writer: &mut Writer,
    doing: &'static str,
    sql: Sql,
) -> Result<Vec<PgRow>, StoreError> {
    let query = sqlx::query_with(AssertSqlSafe(sql.text), sql.arguments);
    within(writer.limit, doing, query.fetch_all(&mut writer.connection)).await
}

/// The fence: unless exactly the one row that stands where the batch begins is moved, nothing of the batch is written.
async fn move_checkpoint(
    writer: &mut Writer,
    claim: &Claim,
    batch: &StoreBatch,
) -> Result<(), StoreError> {
    let doing = "moving the checkpoint";
    let mut sql = Sql::new("UPDATE checkpoint SET seq = ");
    sql.bind(bigint(batch.upto.0, "seq")?);
    sql.push(", frame_hash = ").bind(Value::bytea(&batch.frame_hash));
    sql.push(", timestamp = ").bind(bigint(batch.timestamp.0, "timestamp")?);
    sql.push(" WHERE ledger_uuid = ").bind(Value::id(claim.directory.as_u128()));
    sql.push(" AND epoch = ").bind(bigint(claim.epoch, "epoch")?);
    sql.push(" AND seq = ").bind(bigint(batch.after.0, "seq")?);
    if execute(writer, doing, sql).await?.rows_affected() == 1 {
        return Ok(());
    }
    let row =
        fetch(writer, doing, Sql::new("SELECT ledger_uuid, epoch, seq FROM checkpoint")).await?;
    let mut columns = Reader::new(&row);
    let found = Uuid::from_u128(columns.id("ledger_uuid")?);
    if found != claim.directory {
        return Err(StoreError::ForeignDirectory { found, expected: claim.directory });
    }
    let found = columns.u64("epoch")?;
    if found != claim.epoch {
        return Err(StoreError::Fenced { ours: claim.epoch, found });
    }
    Err(StoreError::NotAtCheckpoint { after: batch.after, found: JournalSeq(columns.u64("seq")?) })
}

/// What a `text` can not hold.
const NUL: char = '\0';

async fn append_ledgers(writer: &mut Writer, batch: &StoreBatch) -> Result<(), StoreError> {
    let table = Table {
        name: "ledgers",
        columns: &[
            ("id", Kind::Bigint),
            ("timestamp", Kind::Bigint),
            ("seq", Kind::Bigint),
            ("accounts", Kind::Bigint),
            ("scale", Kind::Integer),
            ("currency", Kind::Text),
            ("name", Kind::Text),
            ("name_exact", Kind::Bytea),
            ("posted", Kind::Numeric),
            ("pending", Kind::Numeric),
        ],
        doing: "inserting ledgers",
    };
    writer
        .append(&table, &batch.ledgers, |(ledger, seq), row| {
            row.bigint(i64::from(ledger.id.0))
                .bigint(bigint(ledger.timestamp.0, "timestamp")?)
                .bigint(bigint(seq.0, "seq")?)
                .bigint(0)
                .integer(i32::from(ledger.scale.digits()))
                .text(&ledger.currency);
            if ledger.name.contains(NUL) {
                row.text(&ledger.name.replace(NUL, "\u{2400}")).bytea(ledger.name.as_bytes());
            } else {
                row.text(&ledger.name).null();
            }
            row.numeric(0).numeric(0);
            Ok(())
        })
        .await
}

async fn append_accounts(writer: &mut Writer, batch: &StoreBatch) -> Result<(), StoreError> {
    let table = Table {
        name: "accounts",
        columns: &[
            ("timestamp", Kind::Bigint),
            ("seq", Kind::Bigint),
            ("ledger", Kind::Bigint),
            ("code", Kind::Integer),
            ("id", Kind::Uuid),
            ("user_data_128", Kind::Uuid),
            ("user_data_64", Kind::Numeric),
            ("user_data_32", Kind::Bigint),
            ("metadata_digest", Kind::Bigint),
            ("metadata_text", Kind::Text),
            ("metadata", Kind::Jsonb),
            ("external_id", Kind::Text),
        ],
        doing: "inserting accounts",
    };
    writer
        .append(&table, &batch.accounts, |(account, seq), row| {
            row.bigint(bigint(account.timestamp.0, "timestamp")?)
                .bigint(bigint(seq.0, "seq")?)
                .bigint(i64::from(account.ledger.0))
                .integer(i32::from(account.code.0))
                .id(account.id.0);
            references(row, account.user_data_128, account.user_data_64, account.user_data_32);
            metadata(row, account.metadata.as_ref());
            external_id(row, account.external_id.as_ref());
            Ok(())
        })
        .await?;
    append_account_entries(writer, batch.account_entries()).await
}

/// The caller's references; zero is NULL, so that no index holds it.
fn references(row: &mut Binary, data_128: u128, data_64: u64, data_32: u32) {
    if data_128 == 0 {
        row.null()
    } else {
        row.id(data_128)
    };
    if data_64 == 0 {
        row.null()
    } else {
        row.numeric(u128::from(data_64))
    };
    if data_32 == 0 {
        row.null()
    } else {
        row.bigint(i64::from(data_32))
    };
}

/// What only transfers in two phases have; NULL for all others.
fn two_phase(row: &mut Binary, transfer: &Transfer) {
    if transfer.amount_requested == transfer.amount {
        row.null()
    } else {
        row.numeric(transfer.amount_requested.minor_units())
    };
    if transfer.pending_id.0 == 0 {
        row.null()
    } else {
        row.id(transfer.pending_id.0)
    };
    if transfer.inherited == Inherited::empty() {
        row.null()
    } else {
        row.integer(i32::from(transfer.inherited.bits()))
    };
    if transfer.timeout == 0 {
        row.null()
    } else {
        row.bigint(i64::from(transfer.timeout))
    };
    if transfer.reverses.0 == 0 {
        row.null()
    } else {
        row.id(transfer.reverses.0)
    };
}

fn external_id(row: &mut Binary, external_id: Option<&ExternalId>) {
    match external_id {
        Some(external_id) => row.text(external_id.text()),
        None => row.null(),
    };
}

/// The digest and the text of metadata, and what `jsonb` can hold of it.
pub(super) fn metadata(row: &mut Binary, metadata: Option<&Metadata>) {
    let Some(Metadata { text, digest }) = metadata else {
        row.null().null().null();
        return;
    };
    row.bigint(digest.cast_signed()).text(text);
    if jsonb::fits(text) {
        row.jsonb(text)
    } else {
        row.null()
    };
}

/// The run that the batch's rows belong to: the newest, or a new one when that is full. None when the batch needs none.
async fn choose_run(
    writer: &mut Writer,
    claim: &Claim,
    batch: &StoreBatch,
) -> Result<Option<i32>, StoreError> {
    if !batch.needs_run() {
        return Ok(None);
    }
    let (first, last) = match (batch.transfers.first(), batch.transfers.last()) {
        (Some((first, _)), Some((last, _))) => (first.timestamp, last.timestamp),
        _ => (batch.timestamp, batch.timestamp),
    };
    let mut sql = Sql::new(
        "INSERT INTO runs (run, first_timestamp, last_timestamp, transfers)
         SELECT coalesce((SELECT CASE WHEN transfers < ",
    );
    sql.bind(bigint(claim.sizes.run_transfers, "transfers")?);
    sql.push(" THEN run ELSE run + 1 END FROM runs ORDER BY run DESC LIMIT 1), 1), ");
    sql.bind(bigint(first.0, "timestamp")?).push(", ").bind(bigint(last.0, "timestamp")?);
    sql.push(", ").bind(batch.transfers.len() as i64);
    sql.push(
        " ON CONFLICT (run) DO UPDATE SET
            first_timestamp = least(runs.first_timestamp, excluded.first_timestamp),
            last_timestamp = greatest(runs.last_timestamp, excluded.last_timestamp),
            transfers = runs.transfers + excluded.transfers
         RETURNING run",
    );
    let row = fetch(writer, "choosing a run", sql).await?;
    let run = Reader::new(&row).u32("run")?;
    i32::try_from(run).map(Some).map_err(|_| StoreError::Unreadable { what: "run" })
}

async fn append_transfers(
    writer: &mut Writer,
    run: i32,
    transfers: &[(Transfer, JournalSeq)],
) -> Result<(), StoreError> {
    let table = Table {
        name: "transfers",
        columns: &[
            ("timestamp", Kind::Bigint),
            ("seq", Kind::Bigint),
            ("ledger", Kind::Bigint),
            ("run", Kind::Integer),
            ("code", Kind::Integer),
            ("flags", Kind::Integer),
            ("id", Kind::Uuid),
            ("debit_account_id", Kind::Uuid),
            ("credit_account_id", Kind::Uuid),
            ("amount", Kind::Numeric),
            ("effective_at", Kind::Bigint),
            ("transaction_id", Kind::Uuid),
            ("user_data_128", Kind::Uuid),
            ("user_data_64", Kind::Numeric),
            ("user_data_32", Kind::Bigint),
            ("metadata_digest", Kind::Bigint),
            ("metadata_text", Kind::Text),
            ("metadata", Kind::Jsonb),
            ("amount_requested", Kind::Numeric),
            ("pending_id", Kind::Uuid),
            ("inherited", Kind::Integer),
            ("timeout", Kind::Bigint),
            ("reverses", Kind::Uuid),
            ("external_id", Kind::Text),
        ],
        doing: "inserting transfers",
    };
    writer
        .append(&table, transfers, |(transfer, seq), row| {
            row.bigint(bigint(transfer.timestamp.0, "timestamp")?)
                .bigint(bigint(seq.0, "seq")?)
                .bigint(i64::from(transfer.ledger.0))
                .integer(run)
                .integer(i32::from(transfer.code.0))
                .integer(i32::from(transfer.flags.bits()))
                .id(transfer.id.0)
                .id(transfer.debit_account_id.0)
                .id(transfer.credit_account_id.0)
                .numeric(transfer.amount.minor_units());
            match transfer.effective_at {
                Some(at) => row.bigint(bigint(at.0, "effective_at")?),
                None => row.null(),
            };
            match transfer.transaction_id {
                Some(id) => row.id(id.0),
                None => row.null(),
            };
            references(row, transfer.user_data_128, transfer.user_data_64, transfer.user_data_32);
            metadata(row, transfer.metadata.as_ref());
            two_phase(row, transfer);
            external_id(row, transfer.external_id.as_ref());
            Ok(())
        })
        .await
}

async fn append_transactions(
    writer: &mut Writer,
    run: i32,
    batch: &StoreBatch,
) -> Result<(), StoreError> {
    let table = Table {
        name: "transactions",
        columns: &[
            ("timestamp", Kind::Bigint),
            ("first_timestamp", Kind::Bigint),
            ("last_timestamp", Kind::Bigint),
            ("seq", Kind::Bigint),
            ("transfers", Kind::Bigint),
            ("run", Kind::Integer),
            ("id", Kind::Uuid),
            ("metadata_digest", Kind::Bigint),
            ("metadata_text", Kind::Text),
            ("metadata", Kind::Jsonb),
            ("external_id", Kind::Text),
        ],
        doing: "inserting transactions",
    };
    writer
        .append(&table, &batch.transactions, |given, row| {
            let transaction = &given.transaction;
            row.bigint(bigint(transaction.timestamp.0, "timestamp")?);
            match given.first_leg {
                Some(first) => row.bigint(bigint(first.0, "timestamp")?),
                None => row.null(),
            };
            row.bigint(bigint(given.last_leg.0, "timestamp")?)
                .bigint(bigint(given.seq.0, "seq")?)
                .bigint(i64::from(transaction.transfers))
                .integer(run)
                .id(transaction.id.0);
            metadata(row, transaction.metadata.as_ref());
            external_id(row, transaction.external_id.as_ref());
            Ok(())
        })
        .await
}

async fn append_settlements(
    writer: &mut Writer,
    run: i32,
    batch: &StoreBatch,
) -> Result<(), StoreError> {
    let table = Table {
        name: "settlements",
        columns: &[
            ("timestamp", Kind::Bigint),
            ("seq", Kind::Bigint),
            ("run", Kind::Integer),
            ("kind", Kind::Integer),
            ("pending_id", Kind::Uuid),
        ],
        doing: "inserting settlements",
    };
    writer
        .append(&table, &batch.settlements, |settled, row| {
            row.bigint(bigint(settled.timestamp.0, "timestamp")?)
                .bigint(bigint(settled.seq.0, "seq")?)
                .integer(run)
                .integer(settlement_number(settled.settlement) as i32)
                .id(settled.pending_id.0);
            Ok(())
        })
        .await
}

async fn append_history(
    writer: &mut Writer,
    run: i32,
    batch: &StoreBatch,
) -> Result<(), StoreError> {
    let table = Table {
        name: "balance_history",
        columns: &[
            ("timestamp", Kind::Bigint),
            ("seq", Kind::Bigint),
            ("version", Kind::Bigint),
            ("run", Kind::Integer),
            ("flags", Kind::Integer),
            ("account_id", Kind::Uuid),
            ("overdraft_limit", Kind::Numeric),
            ("debits_pending", Kind::Numeric),
            ("debits_posted", Kind::Numeric),
            ("credits_pending", Kind::Numeric),
            ("credits_posted", Kind::Numeric),
        ],
        doing: "inserting balance history",
    };
    writer
        .append(&table, &batch.history, |given, row| {
            let BalanceAt { account, seq, timestamp, flags, overdraft_limit, version, balances } =
                given;
            row.bigint(bigint(timestamp.0, "timestamp")?)
                .bigint(bigint(seq.0, "seq")?)
                .bigint(bigint(*version, "version")?)
                .integer(run)
                .integer(i32::from(flags.bits()))
                .id(account.0)
                .numeric(overdraft_limit.minor_units())
                .numeric(balances.debits_pending.minor_units())
                .numeric(balances.debits_posted.minor_units())
                .numeric(balances.credits_pending.minor_units())
                .numeric(balances.credits_posted.minor_units());
            Ok(())
        })
        .await
}

async fn append_keyed(writer: &mut Writer, batch: &StoreBatch) -> Result<(), StoreError> {
    let table = Table {
        name: "keyed_records",
        columns: &[("seq", Kind::Bigint), ("record", Kind::Bytea)],
        doing: "inserting keyed records",
    };
    writer
        .append(&table, &batch.keyed, |(seq, record), row| {
            row.bigint(bigint(seq.0, "seq")?).bytea(record);
            Ok(())
        })
        .await
}

async fn write_balances(writer: &mut Writer, batch: &StoreBatch) -> Result<(), StoreError> {
    let mut rows: Vec<_> = batch.balances.values().collect();
    rows.sort_unstable_by_key(|after| after.id);
    let mut steps = Steps::of(&rows);
    while let Some(now) = writer.next_step(&mut steps).await {
        write_some_balances(writer, now).await?;
    }
    Ok(())
}

async fn write_some_balances(
    writer: &mut Writer,
    rows: &[&AccountAfter],
) -> Result<(), StoreError> {
    let numeric = Kind::Numeric;
    let kinds =
        [Kind::Uuid, Kind::Bigint, Kind::Integer, numeric, numeric, numeric, numeric, numeric];
    let mut columns = kinds.map(|kind| Array::new(kind, rows.len()));
    for AccountAfter { id, ledger: _, flags, overdraft_limit, version, balances } in rows {
        let [ids, versions, all_flags, limits, debits_pending, debits, credits_pending, credits] =
            &mut columns;
        ids.next().id(id.0);
        versions.next().bigint(bigint(*version, "version")?);
        all_flags.next().integer(i32::from(flags.bits()));
        limits.next().numeric(overdraft_limit.minor_units());
        debits_pending.next().numeric(balances.debits_pending.minor_units());
        debits.next().numeric(balances.debits_posted.minor_units());
        credits_pending.next().numeric(balances.credits_pending.minor_units());
        credits.next().numeric(balances.credits_posted.minor_units());
    }
    let mut sql = Sql::new(
        "INSERT INTO balances (account_id, version, flags, overdraft_limit,
            debits_pending, debits_posted, credits_pending, credits_posted)",
    );
    sql.push_unnested(columns);
    sql.push(
        " ON CONFLICT (account_id) DO UPDATE SET
            version = excluded.version, flags = excluded.flags, overdraft_limit = excluded.overdraft_limit,
            debits_pending = excluded.debits_pending, debits_posted = excluded.debits_posted,
            credits_pending = excluded.credits_pending, credits_posted = excluded.credits_posted",
    );
    execute(writer, "writing balances", sql).await.map(drop)
}

async fn write_totals(writer: &mut Writer, batch: &StoreBatch) -> Result<(), StoreError> {
    if batch.totals.is_empty() {
        return Ok(());
    }
    let kinds = [Kind::Bigint, Kind::Bigint, Kind::Numeric, Kind::Numeric];
    let mut columns = kinds.map(|kind| Array::new(kind, batch.totals.len()));
    for (ledger, totals) in &batch.totals {
        let [ids, accounts, posted, pending] = &mut columns;
        ids.next().bigint(i64::from(ledger.0));
        accounts.next().bigint(bigint(totals.accounts, "accounts")?);
        posted.next().numeric(totals.posted);
        pending.next().numeric(totals.pending);
    }
    let mut sql = Sql::new(
        "UPDATE ledgers l SET accounts = t.accounts, posted = t.posted, pending = t.pending FROM (",
    );
    sql.push_unnested(columns);
    sql.push(") AS t (id, accounts, posted, pending) WHERE l.id = t.id");
    let written = execute(writer, "writing totals", sql).await?.rows_affected();
    if written == batch.totals.len() as u64 {
        Ok(())
    } else {
        Err(StoreError::Unreadable { what: "totals of a ledger that does not exist" })
    }
}

async fn write_amount_blocks(
    writer: &mut Writer,
    claim: &Claim,
    batch: &StoreBatch,
) -> Result<(), StoreError> {
    let doing = "summing up amounts";
    let most = claim.sizes.block_transfers;
    let amount = |amount: florin_engine::Amount| Value::numeric(amount.minor_units());
    let mut new = Vec::new();
    for (ledger, mut of_ledger) in blocks(&batch.transfers, most) {
        // Small batches would make small blocks: the first one goes into the ledger's newest, while that is not full.
        if let Some(first) = of_ledger.first() {
            let mut sql = Sql::new("UPDATE amount_blocks SET last_timestamp = ");
            sql.bind(bigint(first.last.0, "timestamp")?);
            sql.push(", transfers = transfers + ").bind(bigint(first.transfers, "transfers")?);
            sql.push(", min_amount = least(min_amount, ").bind(amount(first.min));
            sql.push("), max_amount = greatest(max_amount, ").bind(amount(first.max));
            let ledger = sql.place(ledger.0);
            sql.push(&format!(
                ") WHERE ledger = {ledger} AND first_timestamp =
                    (SELECT max(first_timestamp) FROM amount_blocks WHERE ledger = {ledger}) AND transfers < "
            ));
            sql.bind(bigint(most, "transfers")?);
            if execute(writer, doing, sql).await?.rows_affected() == 1 {
                of_ledger.remove(0);
            }
        }
        new.extend(of_ledger.into_iter().map(|block| (ledger, block)));
    }
    let table = Table {
        name: "amount_blocks",
        columns: &[
            ("ledger", Kind::Bigint),
            ("first_timestamp", Kind::Bigint),
            ("last_timestamp", Kind::Bigint),
            ("transfers", Kind::Bigint),
            ("min_amount", Kind::Numeric),
            ("max_amount", Kind::Numeric),
        ],
        doing,
    };
    writer
        .append(&table, &new, |(ledger, block), row| {
            row.bigint(i64::from(ledger.0))
                .bigint(bigint(block.first.0, "timestamp")?)
                .bigint(bigint(block.last.0, "timestamp")?)
                .bigint(bigint(block.transfers, "transfers")?)
                .numeric(block.min.minor_units())
                .numeric(block.max.minor_units());
            Ok(())
        })
        .await
}
