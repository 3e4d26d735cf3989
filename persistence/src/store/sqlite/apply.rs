//! Applying a batch: all its rows and the checkpoint, in one SQL transaction.

use florin_engine::{
    AccountAfter, AccountFlags, Amount, Balances, JournalSeq, Timestamp, Transfer, TransferId,
};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqliteConnection, SqliteQueryResult, SqliteRow};

use super::columns::{self, Column, Reader, integer};
use super::connect::database_error;
use super::insert::{Insert, RowColumns};
use super::snapshot::Sql;
use crate::store::batch::StoreBatch;
use crate::store::blocks::blocks;
use crate::store::columns::Columns;
use crate::store::decode::settlement_number;
use crate::store::entries::entries;
use crate::store::error::StoreError;

/// Under which claim the writer writes.
pub(super) struct Claim {
    pub(super) directory: uuid::Uuid,
    pub(super) epoch: u64,
    pub(super) sizes: Sizes,
}

/// How the rows are cut.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Sizes {
    /// After so many transfers the next batch begins a new run (see the schema): a lookup costs one probe for each run, a
    /// batch changes at most the pages of one.
    pub(in crate::store) run_transfers: u64,
    /// Runs of so many transfers together become one (`super::merge`).
    pub(in crate::store) merged_transfers: u64,
    /// So many rows of each of them are copied in one step.
    pub(in crate::store) merged_rows: u64,
    /// How many transfers one row of `amount_blocks` speaks for.
    pub(in crate::store) block_transfers: u64,
    /// For one page of a list, so many rows are looked at, whatever holds of them: some tens of milliseconds.
    pub(in crate::store) look_max: u64,
    /// Past so many pages in the WAL they are copied into the database when there is time: a page that several batches change
    /// is copied once.
    pub(in crate::store) wal_pages: u64,
    /// Past so many, a batch ends with it.
    pub(in crate::store) wal_pages_max: u64,
}

impl Sizes {
    /// For SQLite. With runs of a million transfers the slowest hundredth of requests took 7 to 13 ms at a quarter of the peak, and takes 2 to 4; the
    /// writer's thread takes a third less of the processor. The WAL is copied whenever it has grown by a MiB: all of it goes to the disk at once, and the journal's syncs wait meanwhile, 80 to
    /// 200 ms behind 800 MiB. With 16 MiB the slowest hundredth of commands took 11.9 ms at 5,000 transfers/s, and takes 6.3; the copying costs
    /// 5 % more of the processor's time.
    pub(in crate::store) const SQLITE: Sizes = Sizes {
        run_transfers: 1 << 16,
        merged_transfers: 1_000_000,
        merged_rows: 512,
        block_transfers: 4096,
        look_max: 16_384,
        wal_pages: 256,
        wal_pages_max: 8192,
    };
    /// For PostgreSQL, whose runs are large from the start.
    pub(in crate::store) const POSTGRES: Sizes =
        Sizes { run_transfers: Sizes::SQLITE.merged_transfers, ..Sizes::SQLITE };
}

/// Writes everything of `batch`. The caller has begun the SQL transaction, and commits it or rolls it back.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    claim: &Claim,
    batch: &StoreBatch,
) -> Result<(), StoreError> {
    move_checkpoint(connection, claim, batch).await?;
    insert_ledgers(connection, batch).await?;
    insert_accounts(connection, batch).await?;
    insert_transfers(connection, &batch.transfers).await?;
    insert_transactions(connection, batch).await?;
    if let Some(run) = claim_run(connection, claim, batch).await? {
        fill_lookups(connection, run, batch).await?;
        insert_transfer_entries(connection, run, batch.transfer_entries()).await?;
        insert_settlements(connection, run, batch).await?;
        insert_history(connection, run, batch).await?;
    }
    insert_amount_blocks(connection, claim, &batch.transfers).await?;
    replace_metadata(connection, batch).await?;
    write_balances(connection, batch).await?;
    write_totals(connection, batch).await?;
    insert_keyed(connection, batch).await
}

pub(super) async fn execute(
    connection: &mut SqliteConnection,
    doing: &'static str,
    sql: Sql,
) -> Result<SqliteQueryResult, StoreError> {
    let (text, arguments) = sql.into_parts();
    // The text is put together from constants of this crate; what a record holds is always bound.
    sqlx::query_with(AssertSqlSafe(text), arguments)
        .execute(connection)
        .await
        .map_err(|source| database_error(doing, source))
}

pub(super) async fn fetch(
    connection: &mut SqliteConnection,
    doing: &'static str,
    sql: Sql,
) -> Result<Vec<SqliteRow>, StoreError> {
    let (text, arguments) = sql.into_parts();
    // As above.
    sqlx::query_with(AssertSqlSafe(text), arguments)
        .fetch_all(connection)
        .await
        .map_err(|source| database_error(doing, source))
}

/// The fence: unless exactly the one row that stands where the batch begins is moved, nothing of the batch is written.
async fn move_checkpoint(
    connection: &mut SqliteConnection,
    claim: &Claim,
    batch: &StoreBatch,
) -> Result<(), StoreError> {
    let doing = "moving the checkpoint";
    let sql = Sql::new(
        "UPDATE checkpoint SET seq = ?, frame_hash = ?, timestamp = ?
         WHERE ledger_uuid = ? AND epoch = ? AND seq = ?",
    )
    .with(integer(batch.upto.0, "seq")?)
    .with(Column::Blob(batch.frame_hash.to_vec()))
    .with(integer(batch.timestamp.0, "timestamp")?)
    .with(Column::Blob(claim.directory.as_bytes().to_vec()))
    .with(integer(claim.epoch, "epoch")?)
    .with(integer(batch.after.0, "seq")?);
    if execute(connection, doing, sql).await?.rows_affected() == 1 {
        return Ok(());
    }
    let row = sqlx::query("SELECT seq FROM checkpoint")
        .fetch_one(connection)
        .await
        .map_err(|source| database_error(doing, source))?;
    let found = JournalSeq(Reader::new(&row).u64("seq")?);
    Err(StoreError::NotAtCheckpoint { after: batch.after, found })
}

async fn insert_ledgers(
    connection: &mut SqliteConnection,
    batch: &StoreBatch,
) -> Result<(), StoreError> {
    let insert = Insert {
        head: "INSERT OR FAIL INTO ledgers
               (id, currency, scale, name, timestamp, seq, accounts, posted, pending) VALUES ",
        columns: 9,
        tail: "",
        doing: "inserting ledgers",
    };
    insert
        .run(connection, &batch.ledgers, |(ledger, seq), row| {
            row.add(ledger.id.0)
                .add(Column::Text(ledger.currency.clone()))
                .add(u32::from(ledger.scale.digits()))
                .add(Column::Text(ledger.name.clone()))
                .add(integer(ledger.timestamp.0, "timestamp")?)
                .add(integer(seq.0, "seq")?)
                .add(0_u32)
                .add(0_u32)
                .add(0_u32);
            Ok(())
        })
        .await
}

async fn insert_accounts(
    connection: &mut SqliteConnection,
    batch: &StoreBatch,
) -> Result<(), StoreError> {
    let insert = Insert {
        head: "INSERT OR FAIL INTO accounts
               (timestamp, id, ledger, code, user_data_128, user_data_64, user_data_32,
                metadata, metadata_digest, seq, external_id) VALUES ",
        columns: 11,
        tail: "",
        doing: "inserting accounts",
    };
    insert
        .run(connection, &batch.accounts, |(account, seq), row| {
            row.add(integer(account.timestamp.0, "timestamp")?)
                .add(columns::id(account.id.0))
                .add(account.ledger.0)
                .add(account.code.0)
                .add(columns::id(account.user_data_128))
                .add(columns::id(u128::from(account.user_data_64)))
                .add(account.user_data_32)
                .add(columns::metadata_text(account.metadata.as_ref()))
                .add(columns::metadata_digest(account.metadata.as_ref()))
                .add(integer(seq.0, "seq")?)
                .add(columns::external_id(account.external_id.as_ref()));
            Ok(())
        })
        .await?;
    insert_account_entries(connection, batch.account_entries()).await
}

/// What the metadata of accounts is found by.
pub(super) async fn insert_account_entries(
    connection: &mut SqliteConnection,
    mut entries: Vec<(i64, Timestamp)>,
) -> Result<(), StoreError> {
    let insert = Insert {
        head: "INSERT OR FAIL INTO accounts_by_metadata (entry, timestamp) VALUES ",
        columns: 2,
        tail: "",
        doing: "indexing metadata",
    };
    entries.sort_unstable();
    insert
        .run(connection, &entries, |(entry, timestamp), row| {
            row.add(*entry).add(integer(timestamp.0, "timestamp")?);
            Ok(())
        })
        .await
}

/// What the metadata of transfers is found by.
pub(super) async fn insert_transfer_entries(
    connection: &mut SqliteConnection,
    run: i64,
    mut entries: Vec<(i64, Timestamp)>,
) -> Result<(), StoreError> {
    let insert = Insert {
        head: "INSERT OR FAIL INTO transfers_by_metadata (run, entry, timestamp) VALUES ",
        columns: 3,
        tail: "",
        doing: "indexing metadata",
    };
    entries.sort_unstable();
    insert
        .run(connection, &entries, |(entry, timestamp), row| {
            row.add(run).add(*entry).add(integer(timestamp.0, "timestamp")?);
            Ok(())
        })
        .await
}

/// Most transfers use few of their fields; a statement that leaves the others to their defaults binds half the values.
async fn insert_transfers(
    connection: &mut SqliteConnection,
    transfers: &[(Transfer, JournalSeq)],
) -> Result<(), StoreError> {
    let plain = Insert {
        head: "INSERT OR FAIL INTO transfers
               (timestamp, id, debit_account_id, credit_account_id, amount, ledger, code, flags, seq) VALUES ",
        columns: 9,
        tail: "",
        doing: "inserting transfers",
    };
    let full = Insert {
        head: "INSERT OR FAIL INTO transfers
               (timestamp, id, debit_account_id, credit_account_id, amount, ledger, code, flags, seq,
                user_data_128, user_data_64, user_data_32, effective_at, transaction_id,
                metadata, metadata_digest, amount_requested, pending_id, inherited, timeout, reverses,
                external_id) VALUES ",
        columns: 22,
        tail: "",
        doing: "inserting transfers",
    };
    // Rows go in by their order, so that the table is only appended to; a chunk with one full row is written as full.
    for chunk in transfers.chunks(512) {
        if chunk.iter().all(|(transfer, _)| is_plain(transfer)) {
            plain
                .run(connection, chunk, |(transfer, seq), row| plain_row(transfer, *seq, row))
                .await?;
        } else {
            full.run(connection, chunk, |(transfer, seq), row| full_row(transfer, *seq, row))
                .await?;
        }
    }
    Ok(())
}

fn is_plain(transfer: &Transfer) -> bool {
    transfer.user_data_128 == 0
        && transfer.user_data_64 == 0
        && transfer.user_data_32 == 0
        && transfer.effective_at.is_none()
        && transfer.transaction_id.is_none()
        && transfer.metadata.is_none()
        && transfer.amount_requested == transfer.amount
        && transfer.pending_id.0 == 0
        && transfer.timeout == 0
        && transfer.reverses.0 == 0
        && transfer.external_id.is_none()
}

fn plain_row(transfer: &Transfer, seq: JournalSeq, row: &mut RowColumns) -> Result<(), StoreError> {
    row.add(integer(transfer.timestamp.0, "timestamp")?)
        .add(columns::id(transfer.id.0))
        .add(columns::id(transfer.debit_account_id.0))
        .add(columns::id(transfer.credit_account_id.0))
        .add(columns::amount(transfer.amount))
        .add(transfer.ledger.0)
        .add(transfer.code.0)
        .add(transfer.flags.bits())
        .add(integer(seq.0, "seq")?);
    Ok(())
}

fn full_row(transfer: &Transfer, seq: JournalSeq, row: &mut RowColumns) -> Result<(), StoreError> {
    plain_row(transfer, seq, row)?;
    let effective_at = match transfer.effective_at {
        Some(at) => integer(at.0, "effective_at")?,
        None => Column::Null,
    };
    row.add(columns::id(transfer.user_data_128))
        .add(columns::id(u128::from(transfer.user_data_64)))
        .add(transfer.user_data_32)
        .add(effective_at)
        .add(transfer.transaction_id.map_or(Column::Null, |id| columns::id(id.0)))
        .add(columns::metadata_text(transfer.metadata.as_ref()))
        .add(columns::metadata_digest(transfer.metadata.as_ref()));
    let requested = match transfer.amount_requested == transfer.amount {
        true => Column::Null,
        false => columns::amount(transfer.amount_requested),
    };
    let id_or_null = |id: TransferId| match id.0 {
        0 => Column::Null,
        id => columns::id(id),
    };
    let (pending_id, reverses) = (id_or_null(transfer.pending_id), id_or_null(transfer.reverses));
    row.add(requested)
        .add(pending_id)
        .add(transfer.inherited.bits())
        .add(transfer.timeout)
        .add(reverses)
        .add(columns::external_id(transfer.external_id.as_ref()));
    Ok(())
}

async fn insert_settlements(
    connection: &mut SqliteConnection,
    run: i64,
    batch: &StoreBatch,
) -> Result<(), StoreError> {
    let insert = Insert {
        head: "INSERT OR FAIL INTO settlements (run, pending_id, kind, timestamp, seq) VALUES ",
        columns: 5,
        tail: "",
        doing: "inserting settlements",
    };
    let mut rows: Vec<_> = batch.settlements.iter().collect();
    rows.sort_unstable_by_key(|settled| settled.pending_id);
    insert
        .run(connection, &rows, |settled, values| {
            values
                .add(run)
                .add(columns::id(settled.pending_id.0))
                .add(settlement_number(settled.settlement))
                .add(integer(settled.timestamp.0, "timestamp")?)
                .add(integer(settled.seq.0, "seq")?);
            Ok(())
        })
        .await
}

async fn insert_transactions(
    connection: &mut SqliteConnection,
    batch: &StoreBatch,
) -> Result<(), StoreError> {
    let insert = Insert {
        head: "INSERT OR FAIL INTO transactions
               (timestamp, id, transfers, first_timestamp, last_timestamp, metadata, metadata_digest, seq,
                external_id) VALUES ",
        columns: 9,
        tail: "",
        doing: "inserting transactions",
    };
    insert
        .run(connection, &batch.transactions, |row, values| {
            let transaction = &row.transaction;
            let first = row.first_leg.map(|first| integer(first.0, "timestamp")).transpose()?;
            values
                .add(integer(transaction.timestamp.0, "timestamp")?)
                .add(columns::id(transaction.id.0))
                .add(transaction.transfers)
                .add(first.unwrap_or(Column::Null))
                .add(integer(row.last_leg.0, "timestamp")?)
                .add(columns::metadata_text(transaction.metadata.as_ref()))
                .add(columns::metadata_digest(transaction.metadata.as_ref()))
                .add(integer(row.seq.0, "seq")?)
                .add(columns::external_id(transaction.external_id.as_ref()));
            Ok(())
        })
        .await
}

/// The run that the batch's lookups go into: the newest, or a new one when that is full. None when the batch needs none.
async fn claim_run(
    connection: &mut SqliteConnection,
    claim: &Claim,
    batch: &StoreBatch,
) -> Result<Option<i64>, StoreError> {
    if !batch.needs_run() {
        return Ok(None);
    }
    let doing = "choosing a run";
    let newest = sqlx::query("SELECT run, transfers FROM runs ORDER BY run DESC LIMIT 1")
        .fetch_optional(&mut *connection)
        .await
        .map_err(|source| database_error(doing, source))?;
    let (newest, full) = match newest {
        None => (0, true),
        Some(row) => {
            let mut columns = Reader::new(&row);
            let run = columns.u32("run")?;
            (run, columns.u64("transfers")? >= claim.sizes.run_transfers)
        }
    };
    // Between two of them stands one that they may become with others.
    let run = if full { newest + 2 } else { newest };
    let (first, last) = match (batch.transfers.first(), batch.transfers.last()) {
        (Some((first, _)), Some((last, _))) => (first.timestamp, last.timestamp),
        _ => (batch.timestamp, batch.timestamp),
    };
    let sql = Sql::new(
        "INSERT INTO runs (run, first_timestamp, last_timestamp, transfers) VALUES (?, ?, ?, ?)
         ON CONFLICT (run) DO UPDATE SET
            first_timestamp = min(first_timestamp, excluded.first_timestamp),
            last_timestamp = max(last_timestamp, excluded.last_timestamp),
            transfers = transfers + excluded.transfers",
    )
    .with(run)
    .with(integer(first.0, "timestamp")?)
    .with(integer(last.0, "timestamp")?)
    .with(integer(batch.transfers.len() as u64, "transfers")?);
    execute(connection, doing, sql).await?;
    Ok(Some(i64::from(run)))
}

/// The lookups are filled from the rows just inserted, sorted by SQLite: a tenth of the cost of a tree that takes rows as they come.
async fn fill_lookups(
    connection: &mut SqliteConnection,
    run: i64,
    batch: &StoreBatch,
) -> Result<(), StoreError> {
    let transactions = Insert {
        head: "INSERT OR FAIL INTO decided_ids (run, id, kind, timestamp) VALUES ",
        columns: 4,
        tail: "",
        doing: "indexing transactions",
    };
    transactions
        .run(connection, &batch.transactions, |row, values| {
            values
                .add(run)
                .add(columns::id(row.transaction.id.0))
                .add(1_u32)
                .add(integer(row.transaction.timestamp.0, "timestamp")?);
            Ok(())
        })
        .await?;
    let (Some((first, _)), Some((last, _))) = (batch.transfers.first(), batch.transfers.last())
    else {
        return Ok(());
    };
    let range = Range { run, first: first.timestamp, last: last.timestamp };
    let transfers = batch.transfers.len() as u64;
    range
        .fill(
            connection,
            "INSERT OR FAIL INTO decided_ids (run, id, kind, timestamp)
             SELECT ?1, id, 0, timestamp FROM transfers WHERE timestamp BETWEEN ?2 AND ?3 ORDER BY id",
            transfers,
        )
        .await?;
    range
        .fill(
            connection,
            "INSERT OR FAIL INTO account_transfers (run, account_id, timestamp, side)
             SELECT ?1, debit_account_id, timestamp, 0 FROM transfers WHERE timestamp BETWEEN ?2 AND ?3
             UNION ALL
             SELECT ?1, credit_account_id, timestamp, 1 FROM transfers WHERE timestamp BETWEEN ?2 AND ?3
             ORDER BY 2, 3",
            2 * transfers,
        )
        .await?;
    let with_reference = |has: fn(&Transfer) -> bool| {
        batch.transfers.iter().filter(|(transfer, _)| has(transfer)).count() as u64
    };
    range
        .fill(
            connection,
            "INSERT OR FAIL INTO transfers_by_user_data_128 (run, user_data_128, timestamp)
             SELECT ?1, user_data_128, timestamp FROM transfers
             WHERE timestamp BETWEEN ?2 AND ?3 AND user_data_128 <> 0 ORDER BY user_data_128, timestamp",
            with_reference(|transfer| transfer.user_data_128 != 0),
        )
        .await?;
    range
        .fill(
            connection,
            "INSERT OR FAIL INTO transfers_by_user_data_64 (run, user_data_64, timestamp)
             SELECT ?1, user_data_64, timestamp FROM transfers
             WHERE timestamp BETWEEN ?2 AND ?3 AND user_data_64 <> 0 ORDER BY user_data_64, timestamp",
            with_reference(|transfer| transfer.user_data_64 != 0),
        )
        .await?;
    range
        .fill(
            connection,
            "INSERT OR FAIL INTO transfers_by_user_data_32 (run, user_data_32, timestamp)
             SELECT ?1, user_data_32, timestamp FROM transfers
             WHERE timestamp BETWEEN ?2 AND ?3 AND user_data_32 <> 0 ORDER BY user_data_32, timestamp",
            with_reference(|transfer| transfer.user_data_32 != 0),
        )
        .await
}

/// The transfers of a batch, by time.
struct Range {
    run: i64,
    first: Timestamp,
    last: Timestamp,
}

impl Range {
    /// Fills one lookup, which must get `expected` rows: another count means that the batch's timestamps are not a range of
    /// their own, so that the lookup would miss or repeat rows.
    async fn fill(
        &self,
        connection: &mut SqliteConnection,
        text: &'static str,
        expected: u64,
    ) -> Result<(), StoreError> {
        if expected == 0 {
            return Ok(());
        }
        let sql = Sql::new(text)
            .with(self.run)
            .with(integer(self.first.0, "timestamp")?)
            .with(integer(self.last.0, "timestamp")?);
        let filled = execute(connection, "filling a lookup", sql).await?.rows_affected();
        if filled == expected {
            Ok(())
        } else {
            Err(StoreError::Unreadable { what: "transfers whose timestamps do not increase" })
        }
    }
}

async fn insert_history(
    connection: &mut SqliteConnection,
    run: i64,
    batch: &StoreBatch,
) -> Result<(), StoreError> {
    let insert = Insert {
        head: "INSERT OR FAIL INTO balance_history
               (run, account_id, timestamp, seq, flags, overdraft_limit, version,
                debits_pending, debits_posted, credits_pending, credits_posted) VALUES ",
        columns: 11,
        tail: "",
        doing: "inserting balance history",
    };
    let mut rows: Vec<_> = batch.history.iter().collect();
    rows.sort_unstable_by_key(|row| (row.account, row.timestamp));
    insert
        .run(connection, &rows, |row, values| {
            values
                .add(run)
                .add(columns::id(row.account.0))
                .add(integer(row.timestamp.0, "timestamp")?)
                .add(integer(row.seq.0, "seq")?);
            changing_columns(row.flags, row.overdraft_limit, row.version, &row.balances, values)
        })
        .await
}

/// What commands change of an account, in the order of the columns.
fn changing_columns(
    flags: AccountFlags,
    overdraft_limit: Amount,
    version: u64,
    balances: &Balances,
    row: &mut RowColumns,
) -> Result<(), StoreError> {
    row.add(flags.bits())
        .add(columns::amount(overdraft_limit))
        .add(integer(version, "version")?)
        .add(columns::amount(balances.debits_pending))
        .add(columns::amount(balances.debits_posted))
        .add(columns::amount(balances.credits_pending))
        .add(columns::amount(balances.credits_posted));
    Ok(())
}

/// Puts new metadata in the place of what stands there, which is kept.
async fn replace_metadata(
    connection: &mut SqliteConnection,
    batch: &StoreBatch,
) -> Result<(), StoreError> {
    let doing = "replacing metadata";
    for row in &batch.metadata {
        let missing = StoreError::Unreadable { what: "metadata of an account that does not exist" };
        let sql = Sql::new("SELECT timestamp, metadata FROM accounts WHERE id = ?");
        let (text, arguments) = sql.with(columns::id(row.account.0)).into_parts();
        let found = sqlx::query_with(AssertSqlSafe(text), arguments)
            .fetch_optional(&mut *connection)
            .await
            .map_err(|source| database_error(doing, source))?
            .ok_or(missing)?;
        let mut found = Reader::new(&found);
        let created = Timestamp(found.u64("timestamp")?);
        let before = found.optional_text("metadata")?;
        for entry in before.as_deref().map(entries).unwrap_or_default() {
            let sql =
                Sql::new("DELETE FROM accounts_by_metadata WHERE entry = ? AND timestamp = ?")
                    .with(entry)
                    .with(integer(created.0, "timestamp")?);
            execute(connection, doing, sql).await?;
        }
        let keep = Sql::new(
            "INSERT INTO replaced_metadata (seq, account_id, timestamp, metadata, metadata_digest)
             SELECT ?, id, ?, metadata, metadata_digest FROM accounts WHERE id = ?",
        )
        .with(integer(row.seq.0, "seq")?)
        .with(integer(row.timestamp.0, "timestamp")?)
        .with(columns::id(row.account.0));
        let replace =
            Sql::new("UPDATE accounts SET metadata = ?, metadata_digest = ? WHERE id = ?")
                .with(columns::metadata_text(row.metadata.as_ref()))
                .with(columns::metadata_digest(row.metadata.as_ref()))
                .with(columns::id(row.account.0));
        for sql in [keep, replace] {
            execute(connection, doing, sql).await?;
        }
        let after = row.metadata.as_ref().map(|it| entries(&it.text)).unwrap_or_default();
        let after = after.into_iter().map(|entry| (entry, created)).collect();
        insert_account_entries(connection, after).await?;
    }
    let insert = Insert {
        head: "INSERT OR FAIL INTO replaced_metadata
               (seq, account_id, timestamp, metadata, metadata_digest) VALUES ",
        columns: 5,
        tail: "",
        doing,
    };
    insert
        .run(connection, &batch.replaced, |row, values| {
            values
                .add(integer(row.seq.0, "seq")?)
                .add(columns::id(row.account.0))
                .add(integer(row.timestamp.0, "timestamp")?)
                .add(columns::metadata_text(row.metadata.as_ref()))
                .add(columns::metadata_digest(row.metadata.as_ref()));
            Ok(())
        })
        .await
}

async fn write_balances(
    connection: &mut SqliteConnection,
    batch: &StoreBatch,
) -> Result<(), StoreError> {
    let upsert = Insert {
        head: "INSERT OR FAIL INTO balances
               (account_id, flags, overdraft_limit, version,
                debits_pending, debits_posted, credits_pending, credits_posted) VALUES ",
        columns: 8,
        tail: " ON CONFLICT (account_id) DO UPDATE SET
                flags = excluded.flags, overdraft_limit = excluded.overdraft_limit, version = excluded.version,
                debits_pending = excluded.debits_pending, debits_posted = excluded.debits_posted,
                credits_pending = excluded.credits_pending, credits_posted = excluded.credits_posted",
        doing: "writing balances",
    };
    let mut rows: Vec<_> = batch.balances.values().collect();
    rows.sort_unstable_by_key(|after| after.id);
    upsert
        .run(connection, &rows, |after, row| {
            let AccountAfter { id, ledger: _, flags, overdraft_limit, version, balances } = after;
            row.add(columns::id(id.0));
            changing_columns(*flags, *overdraft_limit, *version, balances, row)
        })
        .await
}

async fn write_totals(
    connection: &mut SqliteConnection,
    batch: &StoreBatch,
) -> Result<(), StoreError> {
    for (ledger, totals) in &batch.totals {
        let sql = Sql::new("UPDATE ledgers SET accounts = ?, posted = ?, pending = ? WHERE id = ?")
            .with(integer(totals.accounts, "accounts")?)
            .with(columns::total(totals.posted))
            .with(columns::total(totals.pending))
            .with(ledger.0);
        if execute(connection, "writing totals", sql).await?.rows_affected() != 1 {
            return Err(StoreError::Unreadable { what: "totals of a ledger that does not exist" });
        }
    }
    Ok(())
}

async fn insert_keyed(
    connection: &mut SqliteConnection,
    batch: &StoreBatch,
) -> Result<(), StoreError> {
    let insert = Insert {
        head: "INSERT OR FAIL INTO keyed_records (seq, record) VALUES ",
        columns: 2,
        tail: "",
        doing: "inserting keyed records",
    };
    insert
        .run(connection, &batch.keyed, |(seq, record), row| {
            row.add(integer(seq.0, "seq")?).add(Column::Blob(record.to_vec()));
            Ok(())
        })
        .await
}

async fn insert_amount_blocks(
    connection: &mut SqliteConnection,
    claim: &Claim,
    transfers: &[(Transfer, JournalSeq)],
) -> Result<(), StoreError> {
    let doing = "summing up amounts";
    for (ledger, mut of_ledger) in blocks(transfers, claim.sizes.block_transfers) {
        // Small batches would make small blocks: the first one goes into the ledger's newest, while that is not full.
        if let Some(first) = of_ledger.first() {
            let sql = Sql::new(
                "UPDATE amount_blocks SET last_timestamp = ?1, transfers = transfers + ?2,
                    min_amount = min(min_amount, ?3), max_amount = max(max_amount, ?4)
                 WHERE ledger = ?5 AND transfers < ?6
                   AND first_timestamp = (SELECT max(first_timestamp) FROM amount_blocks WHERE ledger = ?5)",
            )
            .with(integer(first.last.0, "timestamp")?)
            .with(integer(first.transfers, "transfers")?)
            .with(columns::amount(first.min))
            .with(columns::amount(first.max))
            .with(ledger.0)
            .with(integer(claim.sizes.block_transfers, "transfers")?);
            if execute(connection, doing, sql).await?.rows_affected() == 1 {
                of_ledger.remove(0);
            }
        }
        let insert = Insert {
            head: "INSERT OR FAIL INTO amount_blocks
                   (ledger, first_timestamp, last_timestamp, transfers, min_amount, max_amount) VALUES ",
            columns: 6,
            tail: "",
            doing,
        };
        insert
            .run(connection, &of_ledger, |block, row| {
                row.add(ledger.0)
                    .add(integer(block.first.0, "timestamp")?)
                    .add(integer(block.last.0, "timestamp")?)
                    .add(integer(block.transfers, "transfers")?)
                    .add(columns::amount(block.min))
                    .add(columns::amount(block.max));
                Ok(())
            })
            .await?;
    }
    Ok(())
}
