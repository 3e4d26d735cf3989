//! The store in one SQLite file.
//!
//! One connection writes, a few read, and none waits for another: the file is in WAL mode. A commit becomes visible at once and
//! durable with [`Sqlite::sync`]; between the two a power loss takes the newest batches back together with their checkpoint,
//! and they are applied again from the journal, whose segments stay until the store has them durably.

mod apply;
mod columns;
mod connect;
mod copy;
mod export;
mod index_metadata;
mod insert;
mod merge;
mod queries;
mod rebuild;
mod reports;
mod snapshot;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use florin_engine::{AccountId, JournalSeq, LedgerId, TransferId};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use tokio::sync::Mutex;
use uuid::Uuid;

use self::apply::Claim;
pub(super) use self::apply::Sizes;
use self::columns::{Column, Reader};
use self::connect::{database_error, is_failed_sync};
pub(super) use self::copy::copy;
pub(super) use self::export::SqliteExport;
use self::queries::Kind;
use self::snapshot::{Readers, Snapshot, Sql};
use super::IDS_AT_ONCE;
use super::batch::{StoreBatch, TransactionRow};
use super::columns::Columns;
use super::decode;
use super::error::StoreError;
use super::filter::{AccountFilter, BalanceFilter, Side, TimeRange, TransferFilter};
use super::lead::{AccountLead, Chosen, Lead, choose};
use super::leisure::Leisure;
use super::page::{AsOf, List, ListKind, Order, Page, PageRequest};
use super::rows::{
    AccountWords, BalanceAt, Beyond, Checkpoint, StoredAccount, StoredLedger, StoredTransaction,
    StoredTransfer,
};
use super::span::Span;

/// How often what a batch wrote so far goes to the disk.
const TRICKLE: Duration = Duration::from_millis(10);

/// One SQLite file as a store.
pub(super) struct Sqlite {
    path: PathBuf,
    claim: Claim,
    /// None after a failure: the next use opens a new connection, which knows nothing of what the old one was in the middle of.
    writer: Mutex<Option<SqliteConnection>>,
    readers: Readers,
    /// Held while a report is made that reads a whole ledger.
    reports: Mutex<()>,
    leisure: Arc<Leisure>,
    sync_failed: AtomicBool,
}

impl Sqlite {
    pub(super) async fn open(
        path: &Path,
        directory: Uuid,
        sizes: Sizes,
    ) -> Result<Sqlite, StoreError> {
        connect::inspect(path, directory).await?;
        let leisure = Arc::new(Leisure::default());
        let mut writer = connect::writer(path, Arc::clone(&leisure)).await?;
        let epoch = connect::prepare(&mut writer, directory).await?;
        Ok(Sqlite {
            path: path.to_owned(),
            claim: Claim { directory, epoch, sizes },
            writer: Mutex::new(Some(writer)),
            readers: Readers::new(path.to_owned()),
            reports: Mutex::default(),
            leisure,
            sync_failed: AtomicBool::new(false),
        })
    }

    /// Whose store it is.
    pub(super) fn directory(&self) -> Uuid {
        self.claim.directory
    }

    pub(super) async fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        let snapshot = self.readers.snapshot().await?;
        let checkpoint = snapshot.checkpoint();
        snapshot.end().await?;
        Ok(checkpoint)
    }

    pub(super) fn leisure(&self) -> &Leisure {
        &self.leisure
    }

    pub(super) async fn apply(&self, batch: &StoreBatch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.write(async |connection| apply::write(connection, &self.claim, batch).await).await
    }

    /// One SQL transaction of the writer.
    async fn write<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut kept = self.writer.lock().await;
        let mut writer = self.take(&mut kept).await?;
        let done = self.trickling(self.write_with(&mut writer, work)).await;
        let done = self.note_failed_sync(done)?;
        // After an error, and when this future is dropped in the middle, the connection is closed, and SQLite rolls back.
        match self.note_failed_sync(shorten_wal(&mut writer, self.claim.sizes.wal_pages_max).await)
        {
            Ok(_) => *kept = Some(writer),
            // The batch is committed: only the WAL stays longer, and the next batch tries again with a new connection.
            Err(error) => {
                tracing::warn!(%error, "the store's WAL could not be copied into the database")
            }
        }
        Ok(done)
    }

    /// Copies the WAL, or else does one step of merging small runs; false when there is nothing of either.
    pub(super) async fn tidy(&self) -> Result<bool, StoreError> {
        if self.copy_long_wal().await? {
            return Ok(true);
        }
        self.write(async |connection| merge::step(connection, &self.claim).await).await
    }

    async fn copy_long_wal(&self) -> Result<bool, StoreError> {
        let mut kept = self.writer.lock().await;
        let mut writer = self.take(&mut kept).await?;
        let pages = self.claim.sizes.wal_pages;
        let copied = self.note_failed_sync(shorten_wal(&mut writer, pages).await)?;
        *kept = Some(writer);
        Ok(copied)
    }

    /// All its rows, for another store.
    pub(super) async fn export(&self) -> Result<(SqliteExport, Checkpoint, u64), StoreError> {
        SqliteExport::begin(&self.path).await
    }

    pub(super) async fn begin_rebuild(&self) -> Result<(), StoreError> {
        self.write(async |connection| rebuild::begin(connection, &self.claim).await).await
    }

    pub(super) async fn end_rebuild(&self, history_from: JournalSeq) -> Result<(), StoreError> {
        self.write(async |connection| rebuild::end(connection, &self.claim, history_from).await)
            .await
    }

    pub(super) async fn beyond(&self, last: JournalSeq) -> Result<Beyond, StoreError> {
        self.write(async |connection| rebuild::beyond(connection, last).await).await
    }

    pub(super) async fn cut(&self, to: &StoreBatch) -> Result<(), StoreError> {
        let cut = async |connection: &mut SqliteConnection| {
            rebuild::cut(connection, to).await?;
            apply::write(connection, &self.claim, to).await
        };
        self.write(cut).await
    }

    async fn write_with<T>(
        &self,
        writer: &mut SqliteConnection,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut transaction = writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(|source| database_error("beginning a batch", source))?;
        let done = work(&mut transaction).await?;
        transaction
            .commit()
            .await
            .map(|()| done)
            .map_err(|source| database_error("committing a batch", source))
    }

    /// Does what writes much into the WAL, which goes to the disk a little at a time meanwhile. Synced only when it has grown, it
    /// would go at once, and the journal's next sync would wait behind it: 200 ms were seen.
    async fn trickling<T>(&self, work: impl Future<Output = T>) -> T {
        let mut wal = self.path.clone().into_os_string();
        wal.push("-wal");
        // The locks of SQLite are on the other files: closing a file drops those of the whole process.
        let Ok(wal) = std::fs::File::open(wal).map(Arc::new) else {
            return work.await;
        };
        let trickle = async {
            loop {
                tokio::time::sleep(TRICKLE).await;
                let wal = wal.clone();
                let synced = tokio::task::spawn_blocking(move || wal.sync_data()).await;
                if !matches!(synced, Ok(Ok(()))) {
                    self.sync_failed.store(true, Ordering::Release);
                    return std::future::pending::<T>().await;
                }
            }
        };
        tokio::select! {
            biased;
            done = work => done,
            never = trickle => never,
        }
    }

    async fn take(
        &self,
        kept: &mut Option<SqliteConnection>,
    ) -> Result<SqliteConnection, StoreError> {
        match kept.take() {
            Some(writer) => Ok(writer),
            None => connect::writer(&self.path, Arc::clone(&self.leisure)).await,
        }
    }

    /// Makes durable what was applied, and gives the position that it covers.
    ///
    /// With synchronous=FULL a commit syncs the WAL, and with it every commit before; whatever is no more in the WAL was synced
    /// into the database before the WAL began anew. Unlike a checkpoint, this does not depend on which snapshots readers hold.
    pub(super) async fn sync(&self) -> Result<JournalSeq, StoreError> {
        if self.sync_failed.load(Ordering::Acquire) {
            return Err(StoreError::SyncFailedBefore);
        }
        let mut kept = self.writer.lock().await;
        let mut writer = self.take(&mut kept).await?;
        let synced = self.note_failed_sync(sync_with(&mut writer).await);
        if synced.is_ok() {
            *kept = Some(writer);
        }
        synced
    }

    /// A failed sync is remembered: the kernel may have dropped the pages, and the next sync would succeed without them.
    fn note_failed_sync<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if result.as_ref().is_err_and(is_failed_sync) {
            self.sync_failed.store(true, Ordering::Release);
        }
        result
    }

    pub(super) async fn transfers(
        &self,
        filter: &TransferFilter,
        page: &PageRequest,
    ) -> Result<Page<StoredTransfer>, StoreError> {
        let list = List { kind: ListKind::Transfers, filter_digest: filter.digest() };
        let mut span = Span::new(filter.time, page.order, page.position(list)?);
        let mut snapshot = self.readers.snapshot().await?;
        let (mut rows, mut end) = (Vec::new(), None);
        let legs_of = match filter.transaction {
            Some(id) => find_transaction(&mut snapshot, id).await?,
            None => None,
        };
        if let Some(found) = &legs_of {
            span = found.legs_in(span);
        }
        if filter.transaction.is_none() || legs_of.is_some() {
            let chosen = self.lead(&mut snapshot, filter, page.order, span).await?;
            let span = span.until(chosen.end, page.order);
            rows = snapshot.fetch(queries::transfers(filter, chosen.lead, page, span)).await?;
            end = chosen.end;
        }
        let checkpoint = snapshot.checkpoint();
        snapshot.end().await?;
        let transfers =
            rows.iter().map(Reader::new).map(decode::transfer).collect::<Result<_, _>>()?;
        let position = |stored: &StoredTransfer| stored.transfer.timestamp.0;
        Ok(page.page_until(list, &checkpoint, transfers, end, position, |stored| {
            filter.metadata_holds(stored.transfer.metadata.as_ref())
        }))
    }

    /// What leads a list of transfers, and how far a page of it looks.
    async fn lead(
        &self,
        snapshot: &mut Snapshot<'_>,
        filter: &TransferFilter,
        order: Order,
        span: Span,
    ) -> Result<Chosen<Lead>, StoreError> {
        let leads = filter.leads();
        let is_whole = |lead| match lead {
            // The lookup by account has both sides.
            Lead::Account(of) => of.side == Side::Both && filter.without(lead).is_only_time(),
            _ => filter.without(lead).is_only_time(),
        };
        let probe = async |lead: Lead| {
            if is_whole(lead) {
                return Ok(None);
            }
            let sql = queries::end_of_looking(lead, order, span, self.claim.sizes);
            time_of(&snapshot.fetch(sql).await?)
        };
        choose(&leads, order, probe).await
    }

    pub(super) async fn accounts(
        &self,
        filter: &AccountFilter,
        page: &PageRequest,
    ) -> Result<Page<StoredAccount>, StoreError> {
        let list = List { kind: ListKind::Accounts, filter_digest: filter.digest() };
        let span = Span::new(filter.time, page.order, page.position(list)?);
        let mut snapshot = self.readers.snapshot().await?;
        let probe = async |lead: AccountLead| {
            if filter.without(lead).is_only_time() {
                return Ok(None);
            }
            let sizes = self.claim.sizes;
            let sql = queries::end_of_looking_at_accounts(lead, page.order, span, sizes);
            time_of(&snapshot.fetch(sql).await?)
        };
        let Chosen { lead, end } = choose(&filter.leads(), page.order, probe).await?;
        let span = span.until(end, page.order);
        let rows = snapshot.fetch(queries::accounts(filter, lead, page, span)).await?;
        let checkpoint = snapshot.checkpoint();
        snapshot.end().await?;
        let accounts =
            rows.iter().map(Reader::new).map(decode::account).collect::<Result<_, _>>()?;
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
        let (rows, checkpoint) = self.read(queries::balances(account, filter, page, span)).await?;
        let balances =
            rows.iter().map(Reader::new).map(decode::balance_at).collect::<Result<_, _>>()?;
        Ok(page.page(list, &checkpoint, balances, |balance: &BalanceAt| balance.timestamp.0))
    }

    pub(super) async fn ledgers(
        &self,
        page: &PageRequest,
    ) -> Result<Page<StoredLedger>, StoreError> {
        let list = List { kind: ListKind::Ledgers, filter_digest: 0 };
        let span = Span::new(TimeRange::default(), page.order, page.position(list)?);
        let (rows, checkpoint) = self.read(queries::ledgers(page, span)).await?;
        let ledgers = rows.iter().map(Reader::new).map(decode::ledger).collect::<Result<_, _>>()?;
        Ok(page.page(list, &checkpoint, ledgers, |stored: &StoredLedger| stored.ledger.timestamp.0))
    }

    pub(super) async fn ledger(
        &self,
        id: LedgerId,
    ) -> Result<AsOf<Option<StoredLedger>>, StoreError> {
        let mut sql = Sql::new("SELECT ");
        sql.push(queries::LEDGER_COLUMNS).push(" FROM ledgers l WHERE l.id = ?").bind(id.0);
        let (rows, checkpoint) = self.read(sql).await?;
        Ok(AsOf {
            as_of: checkpoint.seq,
            value: rows.first().map(Reader::new).map(decode::ledger).transpose()?,
        })
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
        let ids: Vec<_> = ids.iter().map(|id| columns::id(id.0)).collect();
        self.by_id(&ids, queries::accounts_by_id, |columns| decode::account(columns)).await
    }

    pub(super) async fn transfers_by_id(
        &self,
        ids: &[TransferId],
    ) -> Result<AsOf<Vec<StoredTransfer>>, StoreError> {
        let ids: Vec<_> = ids.iter().map(|id| columns::id(id.0)).collect();
        self.by_id(&ids, queries::transfers_by_id, |columns| decode::transfer(columns)).await
    }

    async fn by_id<T>(
        &self,
        ids: &[Column],
        sql: impl Fn(&[Column]) -> Sql,
        decode: impl Fn(Reader<'_>) -> Result<T, StoreError>,
    ) -> Result<AsOf<Vec<T>>, StoreError> {
        let mut snapshot = self.readers.snapshot().await?;
        let mut value = Vec::with_capacity(ids.len());
        for ids in ids.chunks(IDS_AT_ONCE) {
            for row in snapshot.fetch(sql(ids)).await? {
                value.push(decode(Reader::new(&row))?);
            }
        }
        let as_of = snapshot.checkpoint().seq;
        snapshot.end().await?;
        Ok(AsOf { as_of, value })
    }

    pub(super) async fn account_words(
        &self,
        id: AccountId,
        at: JournalSeq,
    ) -> Result<AsOf<AccountWords>, StoreError> {
        let sql = Sql::new(
            "SELECT metadata, metadata_digest, (SELECT external_id FROM accounts WHERE id = ?) FROM (
                SELECT seq AS until, metadata, metadata_digest FROM replaced_metadata WHERE account_id = ? AND seq > ?
                UNION ALL SELECT 9223372036854775807, metadata, metadata_digest FROM accounts WHERE id = ?)
              ORDER BY until LIMIT 1",
        )
        .with(columns::id(id.0))
        .with(columns::id(id.0))
        .with(columns::integer(at.0, "seq")?)
        .with(columns::id(id.0));
        let (rows, checkpoint) = self.read(sql).await?;
        let words = rows.first().map(|row| decode::words(Reader::new(row), id)).transpose()?;
        Ok(AsOf { as_of: checkpoint.seq, value: words.unwrap_or_default() })
    }

    pub(super) async fn transfer(
        &self,
        id: TransferId,
    ) -> Result<AsOf<Option<StoredTransfer>>, StoreError> {
        let mut snapshot = self.readers.snapshot().await?;
        let mut rows = Vec::new();
        if let Some(timestamp) = find_decided(&mut snapshot, id, Kind::Transfer).await? {
            rows = snapshot.fetch(queries::transfer_at(timestamp)).await?;
        }
        let checkpoint = snapshot.checkpoint();
        snapshot.end().await?;
        Ok(AsOf {
            as_of: checkpoint.seq,
            value: rows.first().map(Reader::new).map(decode::transfer).transpose()?,
        })
    }

    pub(super) async fn transaction(
        &self,
        id: TransferId,
    ) -> Result<AsOf<Option<StoredTransaction>>, StoreError> {
        let mut snapshot = self.readers.snapshot().await?;
        let found = find_transaction(&mut snapshot, id).await?;
        let checkpoint = snapshot.checkpoint();
        snapshot.end().await?;
        Ok(AsOf { as_of: checkpoint.seq, value: found.map(TransactionRow::stored) })
    }

    pub(super) async fn transfers_of_transaction(
        &self,
        id: TransferId,
    ) -> Result<AsOf<Vec<StoredTransfer>>, StoreError> {
        let mut snapshot = self.readers.snapshot().await?;
        let mut rows = Vec::new();
        if let Some(found) = find_transaction(&mut snapshot, id).await? {
            let (count, span) = (found.transaction.transfers, found.legs_in(Span::ALL));
            rows = snapshot.fetch(queries::legs(id.0, count, span)).await?;
        }
        let checkpoint = snapshot.checkpoint();
        snapshot.end().await?;
        Ok(AsOf {
            as_of: checkpoint.seq,
            value: rows.iter().map(Reader::new).map(decode::transfer).collect::<Result<_, _>>()?,
        })
    }

    pub(super) async fn keyed_record(
        &self,
        seq: JournalSeq,
    ) -> Result<AsOf<Option<Vec<u8>>>, StoreError> {
        let sql = Sql::new("SELECT record FROM keyed_records WHERE seq = ?")
            .with(columns::integer(seq.0, "seq")?);
        let (rows, checkpoint) = self.read(sql).await?;
        Ok(AsOf {
            as_of: checkpoint.seq,
            value: rows.first().map(|row| Reader::new(row).blob("record")).transpose()?,
        })
    }

    /// One statement in a snapshot of its own.
    async fn read(&self, sql: Sql) -> Result<(Vec<SqliteRow>, Checkpoint), StoreError> {
        let mut snapshot = self.readers.snapshot().await?;
        let rows = snapshot.fetch(sql).await?;
        let checkpoint = snapshot.checkpoint();
        snapshot.end().await?;
        Ok((rows, checkpoint))
    }
}

/// Copies the WAL into the database when more pages than these are not there yet; says whether.
async fn shorten_wal(writer: &mut SqliteConnection, pages_max: u64) -> Result<bool, StoreError> {
    let row = sqlx::query("PRAGMA wal_checkpoint(NOOP)")
        .fetch_one(&mut *writer)
        .await
        .map_err(|source| database_error("measuring the WAL", source))?;
    let mut columns = Reader::new(&row);
    columns.column("busy")?;
    let pages = columns.u64("log")?.saturating_sub(columns.u64("checkpointed")?);
    if pages < pages_max {
        return Ok(false);
    }
    copy_wal(writer).await?;
    Ok(true)
}

async fn sync_with(writer: &mut SqliteConnection) -> Result<JournalSeq, StoreError> {
    let failed = |source| database_error("syncing the store", source);
    sqlx::query("PRAGMA synchronous = FULL").execute(&mut *writer).await.map_err(failed)?;
    // Writing the checkpoint as it is makes a commit, and a commit is what syncs.
    let row = sqlx::query("UPDATE checkpoint SET seq = seq RETURNING seq")
        .fetch_all(&mut *writer)
        .await
        .map_err(failed)?;
    sqlx::query("PRAGMA synchronous = NORMAL").execute(&mut *writer).await.map_err(failed)?;
    let row = row.first().ok_or(StoreError::Unreadable { what: "checkpoint" })?;
    let durable = JournalSeq(Reader::new(row).u64("seq")?);
    copy_wal(writer).await?;
    Ok(durable)
}

/// Copies what no reader needs any more from the WAL into the database, synced, so that the WAL can begin anew. Waits for nobody.
async fn copy_wal(writer: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query("PRAGMA wal_checkpoint(PASSIVE)")
        .execute(writer)
        .await
        .map(drop)
        .map_err(|source| database_error("copying the WAL", source))
}

/// The one time that was asked for, if there is one.
fn time_of(rows: &[SqliteRow]) -> Result<Option<u64>, StoreError> {
    rows.first().map(|row| Reader::new(row).u64("timestamp")).transpose()
}

async fn find_decided(
    snapshot: &mut Snapshot<'_>,
    id: TransferId,
    kind: Kind,
) -> Result<Option<i64>, StoreError> {
    let rows = snapshot.fetch(queries::decided_id(id.0, kind)).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let timestamp = Reader::new(row).u64("timestamp")?;
    i64::try_from(timestamp).map(Some).map_err(|_| StoreError::Unreadable { what: "timestamp" })
}

async fn find_transaction(
    snapshot: &mut Snapshot<'_>,
    id: TransferId,
) -> Result<Option<TransactionRow>, StoreError> {
    let Some(timestamp) = find_decided(snapshot, id, Kind::Transaction).await? else {
        return Ok(None);
    };
    let rows = snapshot.fetch(queries::transaction_at(timestamp)).await?;
    let row = rows.first().ok_or(StoreError::Unreadable { what: "a transaction's row" })?;
    decode::transaction(Reader::new(row)).map(Some)
}
