//! The store in a PostgreSQL schema, which may be on another machine, and which many may read.
//!
//! **One writer.** Two processes must never fill one store, also when one of them was stopped for an hour, cut off from the
//! network, or restored from a copy of the data directory. The row `checkpoint` names the directory that the store belongs to
//! and an *epoch*, and each claim adds one to it. A batch begins by moving the checkpoint under its writer's epoch, which locks
//! the row until the end of the batch; when that moves no row, the batch is rolled back. So a claim waits for the batch that
//! is being committed, and from its commit on the writer before it can not write one more row: it finds another epoch, and that
//! is [`StoreError::Fenced`], after which its process has to end.
//!
//! The epoch alone would let a second process take over from a living one by mistake. So the sessions of a writer share an
//! advisory lock that belongs to its directory and epoch, and a claim first asks for that lock alone: while a session of the
//! writer lives, the claim is refused with its address ([`StoreError::ClaimedByOther`]). The server ends the session of a
//! process that died at once, and that of a machine that is gone within half a minute, as its keepalives are not answered.
//! [`TakeOver::Force`] ends the sessions instead of waiting. A new writer has the lock of its own epoch before anyone can see that
//! epoch, and a claim that finds another epoch than it asked for begins anew, so two claims at once do not both succeed.
//! Losing the lock is not losing the claim: the epoch governs, and the lock is shared again with the next connection.
//!
//! Advisory locks belong to sessions: a pooler between must keep a session's server connection (in PgBouncer `pool_mode = session`).
//!
//! **Exactly once, durably.** Rows and checkpoint are committed together with `synchronous_commit` on, so what the checkpoint
//! says is on the server's disk. When the answer to a commit is lost, the old connection may still commit after a new one has
//! asked; the next batch then waits for the row and finds the checkpoint moved.
//!
//! **Nothing hangs.** The server's own time-outs end what it knows of; every wait on it has a bound here as well, for a server
//! that is stopped or cut off. After an error, or when a future is dropped in the middle, the connection is closed, and the
//! server rolls back.

mod apply;
mod binary;
mod claim;
mod columns;
mod connect;
mod copy;
mod export;
mod index_metadata;
mod jsonb;
mod metadata;
mod options;
mod queries;
mod rebuild;
mod reports;
mod schema;
mod snapshot;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use florin_engine::{AccountId, JournalSeq, LedgerId, TransferId};
use sqlx::postgres::{PgConnection, PgRow};
use tokio::sync::Mutex;
use uuid::Uuid;

use self::apply::Claim;
use self::columns::Reader;
use self::connect::{Sessions, within, within_store};
use self::copy::Writer;
pub(super) use self::export::PostgresExport;
pub use self::options::{PostgresOptions, SCHEMA};
use self::snapshot::{Readers, Snapshot, Sql};
use super::batch::{StoreBatch, TransactionRow};
use super::columns::Columns;
use super::decode;
use super::error::StoreError;
use super::filter::{AccountFilter, BalanceFilter, TimeRange, TransferFilter};
use super::lead::{AccountLead, Chosen, Lead, choose};
use super::leisure::Leisure;
use super::page::{AsOf, List, ListKind, Page, PageRequest};
use super::rows::{
    AccountWords, BalanceAt, Beyond, Checkpoint, StoredAccount, StoredLedger, StoredTransaction,
    StoredTransfer,
};
use super::span::Span;
use super::{IDS_AT_ONCE, Sizes, TakeOver};

/// After so many transfers under a claim, tables that were never analysed are.
const ANALYZE_TRANSFERS: u64 = if cfg!(test) { 100 } else { 10_000 };
/// How long the guard's session is asked whether it lives.
const GUARD_PATIENCE: Duration = Duration::from_secs(2);

/// A schema of a PostgreSQL database as a store.
pub(super) struct Postgres {
    sessions: Arc<Sessions>,
    /// Whose store it must be; none when it is only read.
    directory: Option<Uuid>,
    sizes: Sizes,
    writing: Mutex<Writing>,
    readers: Readers,
    /// Held while a report is made that reads a whole ledger.
    reports: Mutex<()>,
    leisure: Arc<Leisure>,
}

/// What this process has of a claim.
#[derive(Default)]
struct Writing {
    claim: Option<Claim>,
    /// A session that does nothing but share the lock, so that an error of a batch does not let it go.
    guard: Option<PgConnection>,
    /// None after a failure: the next batch opens a new connection, which knows nothing of what the old one was in the middle of.
    writer: Option<Writer>,
    /// Where the store stands, when that is known for certain.
    committed: Option<JournalSeq>,
    /// How many transfers were written under this claim.
    transfers: u64,
}

impl Postgres {
    /// Nothing is contacted yet.
    pub(super) fn new(
        options: PostgresOptions,
        directory: Option<Uuid>,
        sizes: Sizes,
    ) -> Result<Postgres, StoreError> {
        let sessions = Arc::new(Sessions::new(options)?);
        let readers = Readers::new(Arc::clone(&sessions));
        let (writing, reports, leisure) = Default::default();
        Ok(Postgres { sessions, directory, sizes, writing, readers, reports, leisure })
    }

    pub(super) async fn claim(&self, take_over: TakeOver) -> Result<Checkpoint, StoreError> {
        let directory = self.directory.ok_or(StoreError::NotClaimed)?;
        let mut writing = self.writing.lock().await;
        // A claim of one's own is given up first, and with it its sessions.
        *writing = Writing::default();
        let claimed = claim::claim(&self.sessions, directory, take_over).await?;
        writing.claim = Some(Claim { directory, epoch: claimed.epoch, sizes: self.sizes });
        let mut guard = claimed.guard;
        let limit = self.sessions.options.write_timeout;
        let is_indexed = index_metadata::is_done(&mut guard, limit).await?;
        writing.guard = Some(guard);
        drop(writing);
        if !is_indexed {
            self.write(None, async |writer, claim| index_metadata::index(writer, claim).await)
                .await?;
        }
        self.checkpoint().await
    }

    pub(super) async fn directory(&self) -> Result<Uuid, StoreError> {
        match self.directory {
            Some(directory) => Ok(directory),
            None => self.read(async |snapshot| Ok(snapshot.directory())).await,
        }
    }

    pub(super) async fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        self.read(async |snapshot| Ok(snapshot.checkpoint())).await
    }

    pub(super) fn leisure(&self) -> &Leisure {
        &self.leisure
    }

    pub(super) async fn apply(&self, batch: &StoreBatch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let write =
            async |writer: &mut Writer, claim: &Claim| apply::write(writer, claim, batch).await;
        self.write(Some(batch.upto()), write).await?;
        self.analyze_new_tables(batch.transfers() as u64).await;
        Ok(())
    }

    /// Before a table was ever analysed, the planner knows nothing of it, and sorts what an index has in order: an account's
    /// transfers took 28 ms instead of 0.5. Autovacuum comes within a minute; this is for the minute before.
    async fn analyze_new_tables(&self, transfers: u64) {
        let mut writing = self.writing.lock().await;
        let before = writing.transfers;
        writing.transfers += transfers;
        if before >= ANALYZE_TRANSFERS || writing.transfers < ANALYZE_TRANSFERS {
            return;
        }
        let Some(mut writer) = writing.writer.take() else { return };
        match analyze_if_never(&mut writer).await {
            Ok(()) => writing.writer = Some(writer),
            // The batch is committed, and answers are only slower for a while.
            Err(error) => tracing::warn!(%error, "the store's tables could not be analysed"),
        }
    }

    /// One SQL transaction of the writer, which leads to `upto`. After an error the connection is closed, and the server rolls back.
    async fn write<T>(
        &self,
        upto: Option<JournalSeq>,
        work: impl AsyncFnOnce(&mut Writer, &Claim) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut writing = self.writing.lock().await;
        let claim = writing.claim.ok_or(StoreError::NotClaimed)?;
        // Not known again before the commit is answered.
        writing.committed = None;
        let mut writer = match writing.writer.take() {
            Some(writer) => writer,
            None => self.open_writer(&mut writing, &claim).await?,
        };
        let limit = writer.limit;
        let begin = sqlx::raw_sql("BEGIN ISOLATION LEVEL READ COMMITTED");
        within(limit, "beginning a batch", begin.execute(&mut writer.connection)).await?;
        let done = work(&mut writer, &claim).await?;
        let commit = sqlx::raw_sql("COMMIT");
        within(limit, "committing a batch", commit.execute(&mut writer.connection)).await?;
        writer.limit = limit;
        writing.committed = upto;
        writing.writer = Some(writer);
        Ok(done)
    }

    /// All its rows, for another store.
    pub(super) async fn export(&self) -> Result<(PostgresExport, Checkpoint, u64), StoreError> {
        PostgresExport::begin(&self.sessions).await
    }

    pub(super) async fn begin_rebuild(&self) -> Result<(), StoreError> {
        self.write(None, async |writer, claim| rebuild::begin(writer, claim).await).await
    }

    pub(super) async fn end_rebuild(&self, history_from: JournalSeq) -> Result<(), StoreError> {
        let end = async |writer: &mut Writer, claim: &Claim| {
            rebuild::end(writer, claim, history_from).await
        };
        self.write(None, end).await
    }

    pub(super) async fn beyond(&self, last: JournalSeq) -> Result<Beyond, StoreError> {
        self.write(None, async |writer, _| rebuild::beyond(writer, last).await).await
    }

    pub(super) async fn cut(&self, to: &StoreBatch) -> Result<(), StoreError> {
        let cut = async |writer: &mut Writer, claim: &Claim| {
            rebuild::cut(writer, to).await?;
            apply::write(writer, claim, to).await
        };
        self.write(Some(to.upto()), cut).await
    }

    /// A connection for batches, with the lock shared by it and by the guard.
    async fn open_writer(
        &self,
        writing: &mut Writing,
        claim: &Claim,
    ) -> Result<Writer, StoreError> {
        let limit = self.sessions.options.write_timeout;
        let open = async || {
            let mut connection = self.sessions.connect_writer().await?;
            let share = claim::share_lock(&mut connection, claim.directory, claim.epoch);
            within_store(limit, "claiming the store", share).await?;
            Ok::<_, StoreError>(connection)
        };
        let writer = Writer::new(open().await?, limit, Arc::clone(&self.leisure));
        let guarded = match writing.guard.take() {
            Some(guard) => claim::if_alive(GUARD_PATIENCE, guard).await,
            None => None,
        };
        writing.guard = match guarded {
            Some(guard) => Some(guard),
            None => Some(open().await?),
        };
        Ok(writer)
    }

    /// A commit is durable when it is answered, so this only tells how far they went.
    pub(super) async fn sync(&self) -> Result<JournalSeq, StoreError> {
        let mut writing = self.writing.lock().await;
        let ours = writing.claim.ok_or(StoreError::NotClaimed)?.epoch;
        if let Some(committed) = writing.committed {
            return Ok(committed);
        }
        let Checkpoint { seq, epoch: found, .. } = self.checkpoint().await?;
        // What another writer has stored says nothing about this process's journal.
        if found != ours {
            return Err(StoreError::Fenced { ours, found });
        }
        writing.committed = Some(seq);
        Ok(seq)
    }

    pub(super) async fn transfers(
        &self,
        filter: &TransferFilter,
        page: &PageRequest,
    ) -> Result<Page<StoredTransfer>, StoreError> {
        let list = List { kind: ListKind::Transfers, filter_digest: filter.digest() };
        let span = Span::new(filter.time, page.order, page.position(list)?);
        let read = self.read(async |snapshot| {
            let span = match filter.transaction {
                None => Some(span),
                Some(id) => find_transaction(snapshot, id).await?.map(|found| found.legs_in(span)),
            };
            let Some(span) = span else { return Ok((Vec::new(), None, snapshot.checkpoint())) };
            let probe = async |lead: Lead| {
                if filter.without(lead).is_only_time() {
                    return Ok(None);
                }
                let sql = queries::end_of_looking(lead, page.order, span, self.sizes);
                time_of(&snapshot.fetch(sql).await?)
            };
            let Chosen { lead, end } = choose(&filter.leads(), page.order, probe).await?;
            let span = span.until(end, page.order);
            let rows = snapshot.fetch(queries::transfers(filter, lead, page, span)).await?;
            Ok((rows, end, snapshot.checkpoint()))
        });
        let (rows, end, checkpoint) = read.await?;
        let transfers = all(&rows, decode::transfer)?;
        let position = |stored: &StoredTransfer| stored.transfer.timestamp.0;
        Ok(page.page_until(list, &checkpoint, transfers, end, position, |stored| {
            filter.metadata_holds(stored.transfer.metadata.as_ref())
        }))
    }

    pub(super) async fn accounts(
        &self,
        filter: &AccountFilter,
        page: &PageRequest,
    ) -> Result<Page<StoredAccount>, StoreError> {
        let list = List { kind: ListKind::Accounts, filter_digest: filter.digest() };
        let span = Span::new(filter.time, page.order, page.position(list)?);
        let read = self.read(async |snapshot| {
            let probe = async |lead: AccountLead| {
                if filter.without(lead).is_only_time() {
                    return Ok(None);
                }
                let sizes = self.sizes;
                let sql = queries::end_of_looking_at_accounts(lead, page.order, span, sizes);
                time_of(&snapshot.fetch(sql).await?)
            };
            let Chosen { lead, end } = choose(&filter.leads(), page.order, probe).await?;
            let span = span.until(end, page.order);
            let rows = snapshot.fetch(queries::accounts(filter, lead, page, span)).await?;
            Ok((rows, end, snapshot.checkpoint()))
        });
        let (rows, end, checkpoint) = read.await?;
        let accounts = all(&rows, decode::account)?;
        let position = |stored: &StoredAccount| stored.account.timestamp.0;
        Ok(page.page_until(list, &checkpoint, accounts, end, position, |stored| {
            filter.metadata_holds(stored.metadata.as_deref())
        }))
    }

    pub(super) async fn balances(
        &self,
        account: AccountId,
        filter: &BalanceFilter,
        page: &PageRequest,
    ) -> Result<Page<BalanceAt>, StoreError> {
        let list = List { kind: ListKind::Balances, filter_digest: filter.digest(account) };
        let mut span = Span::new(filter.time, page.order, page.position(list)?);
        if let Some(at) = filter.at {
            span = span.within(0, at.0);
        }
        let (rows, checkpoint) = self.fetch(queries::balances(account, filter, page, span)).await?;
        let balances = all(&rows, decode::balance_at)?;
        Ok(page.page(list, &checkpoint, balances, |balance: &BalanceAt| balance.timestamp.0))
    }

    pub(super) async fn ledgers(
        &self,
        page: &PageRequest,
    ) -> Result<Page<StoredLedger>, StoreError> {
        let list = List { kind: ListKind::Ledgers, filter_digest: 0 };
        let span = Span::new(TimeRange::default(), page.order, page.position(list)?);
        let (rows, checkpoint) = self.fetch(queries::ledgers(page, span)).await?;
        let ledgers = all(&rows, decode::ledger)?;
        Ok(page.page(list, &checkpoint, ledgers, |stored: &StoredLedger| stored.ledger.timestamp.0))
    }

    pub(super) async fn ledger(
        &self,
        id: LedgerId,
    ) -> Result<AsOf<Option<StoredLedger>>, StoreError> {
        let mut sql = Sql::new("SELECT ");
        sql.push(queries::LEDGER_COLUMNS).push(" FROM ledgers l WHERE l.id = ").bind(id.0);
        self.first(sql, |columns| decode::ledger(columns)).await
    }

    pub(super) async fn account(
        &self,
        id: AccountId,
    ) -> Result<AsOf<Option<StoredAccount>>, StoreError> {
        let AsOf { as_of, mut value } = self.accounts_by_id(&[id]).await?;
        Ok(AsOf { as_of, value: value.pop() })
    }

    pub(super) async fn accounts_by_id(
        &self,
        ids: &[AccountId],
    ) -> Result<AsOf<Vec<StoredAccount>>, StoreError> {
        let ids: Vec<u128> = ids.iter().map(|id| id.0).collect();
        self.by_id(&ids, queries::accounts_by_id, |columns| decode::account(columns)).await
    }

    pub(super) async fn transfers_by_id(
        &self,
        ids: &[TransferId],
    ) -> Result<AsOf<Vec<StoredTransfer>>, StoreError> {
        let ids: Vec<u128> = ids.iter().map(|id| id.0).collect();
        self.by_id(&ids, queries::transfers_by_id, |columns| decode::transfer(columns)).await
    }

    async fn by_id<T>(
        &self,
        ids: &[u128],
        sql: impl Fn(&[u128]) -> Sql,
        decode: impl Fn(Reader<'_>) -> Result<T, StoreError>,
    ) -> Result<AsOf<Vec<T>>, StoreError> {
        let read = self.read(async |snapshot| {
            let mut value = Vec::with_capacity(ids.len());
            for ids in ids.chunks(IDS_AT_ONCE) {
                for row in snapshot.fetch(sql(ids)).await? {
                    value.push(decode(Reader::new(&row))?);
                }
            }
            Ok(AsOf { as_of: snapshot.checkpoint().seq, value })
        });
        read.await
    }

    pub(super) async fn account_words(
        &self,
        id: AccountId,
        at: JournalSeq,
    ) -> Result<AsOf<AccountWords>, StoreError> {
        let mut sql = Sql::new("");
        let (stored_id, seq) = (binary::Value::id(id.0), columns::bigint(at.0, "seq")?);
        let (account, at) = (sql.place(stored_id), sql.place(seq));
        sql.push(&format!(
            "SELECT metadata_text, metadata_digest, (SELECT external_id FROM accounts WHERE id = {account}) FROM (
                SELECT seq AS until, metadata_text, metadata_digest FROM replaced_metadata WHERE account_id = {account} AND seq > {at}
                UNION ALL SELECT 9223372036854775807, metadata_text, metadata_digest FROM accounts WHERE id = {account}) AS later
              ORDER BY until LIMIT 1"
        ));
        let AsOf { as_of, value } = self.first(sql, |columns| decode::words(columns, id)).await?;
        Ok(AsOf { as_of, value: value.unwrap_or_default() })
    }

    pub(super) async fn transfer(
        &self,
        id: TransferId,
    ) -> Result<AsOf<Option<StoredTransfer>>, StoreError> {
        self.first(queries::transfer(id.0), |columns| decode::transfer(columns)).await
    }

    pub(super) async fn transaction(
        &self,
        id: TransferId,
    ) -> Result<AsOf<Option<StoredTransaction>>, StoreError> {
        let read = self.read(async |snapshot| {
            let found = find_transaction(snapshot, id).await?;
            Ok(AsOf { as_of: snapshot.checkpoint().seq, value: found.map(TransactionRow::stored) })
        });
        read.await
    }

    pub(super) async fn transfers_of_transaction(
        &self,
        id: TransferId,
    ) -> Result<AsOf<Vec<StoredTransfer>>, StoreError> {
        let read = self.read(async |snapshot| {
            let mut rows = Vec::new();
            if let Some(found) = find_transaction(snapshot, id).await? {
                let (count, span) = (found.transaction.transfers, found.legs_in(Span::ALL));
                rows = snapshot.fetch(queries::legs(id.0, count, span)).await?;
            }
            Ok(AsOf { as_of: snapshot.checkpoint().seq, value: all(&rows, decode::transfer)? })
        });
        read.await
    }

    pub(super) async fn keyed_record(
        &self,
        seq: JournalSeq,
    ) -> Result<AsOf<Option<Vec<u8>>>, StoreError> {
        let sql = Sql::new("SELECT record FROM keyed_records WHERE seq = ")
            .with(columns::bigint(seq.0, "seq")?);
        self.first(sql, |mut columns| columns.blob("record")).await
    }

    /// One read in one snapshot, of this directory's store.
    async fn read<T>(
        &self,
        work: impl AsyncFnOnce(&mut Snapshot) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let expected = self.directory;
        let read = self.readers.read(async |snapshot| match (expected, snapshot.directory()) {
            (Some(expected), found) if found != expected => {
                Err(StoreError::ForeignDirectory { found, expected })
            }
            _ => work(snapshot).await,
        });
        read.await
    }

    /// One statement in a snapshot of its own.
    async fn fetch(&self, sql: Sql) -> Result<(Vec<PgRow>, Checkpoint), StoreError> {
        let read =
            self.read(async |snapshot| Ok((snapshot.fetch(sql).await?, snapshot.checkpoint())));
        read.await
    }

    /// The one row of a statement, if there is one.
    async fn first<T>(
        &self,
        sql: Sql,
        decode: impl FnOnce(Reader<'_>) -> Result<T, StoreError>,
    ) -> Result<AsOf<Option<T>>, StoreError> {
        let (rows, checkpoint) = self.fetch(sql).await?;
        let value = rows.first().map(|row| decode(Reader::new(row))).transpose()?;
        Ok(AsOf { as_of: checkpoint.seq, value })
    }
}

async fn analyze_if_never(writer: &mut Writer) -> Result<(), StoreError> {
    let doing = "analysing the store's tables";
    let never = "SELECT reltuples < 0 FROM pg_catalog.pg_class WHERE oid = 'transfers'::regclass";
    let never = sqlx::query_scalar::<_, bool>(never).fetch_one(&mut writer.connection);
    if within(writer.limit, doing, never).await? {
        let analyze = "ANALYZE accounts, accounts_by_metadata, balances, transfers, transfers_by_metadata, transactions, balance_history, settlements, runs, amount_blocks";
        let analyze = sqlx::raw_sql(analyze).execute(&mut writer.connection);
        within(writer.limit, doing, analyze).await?;
    }
    Ok(())
}

/// The one time that was asked for, if there is one.
fn time_of(rows: &[PgRow]) -> Result<Option<u64>, StoreError> {
    rows.first().map(|row| Reader::new(row).u64("timestamp")).transpose()
}

fn all<'r, T>(
    rows: &'r [PgRow],
    decode: impl Fn(Reader<'r>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    rows.iter().map(|row| decode(Reader::new(row))).collect()
}

async fn find_transaction(
    snapshot: &mut Snapshot,
    id: TransferId,
) -> Result<Option<TransactionRow>, StoreError> {
    let rows = snapshot.fetch(queries::transaction(id.0)).await?;
    rows.first().map(|row| decode::transaction(Reader::new(row))).transpose()
}
