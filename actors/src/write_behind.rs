//! Write-behind: the task that tails the durable journal and fills the store.
//!
//! It reads the journal's files, not memory, so the store may be away for hours: the backlog is disk. A batch and the store's
//! checkpoint move in one SQL transaction, so that each record is applied exactly once whatever dies in between.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use florin_engine::JournalSeq;
use florin_persistence::journal::format::FRAME_HEADER_BYTES;
use florin_persistence::journal::{FrameCursor, ReadError};
use florin_persistence::pace::GivingWay;
use florin_persistence::record::{self, RecordError};
use florin_persistence::store::{OutOfOrder, StoreBatch, StoreError, StoreErrorKind};
use tokio::sync::watch;

use crate::claim::{Claim, WrittenStore};
use crate::clock::Pacing;
use crate::commit::chain;
use crate::housekeeping::Wake;
use crate::metrics;
use crate::recovery::OpenError;
use crate::shared::Shared;

/// A batch begins so many times as long after the one before as that one took, within these bounds, unless someone waits for it or
/// much waits in the journal: a larger batch costs less a row, since it writes each balance once. A quiet ledger's store is hardly behind.
const BATCH_REST: u32 = 10;
const BATCH_INTERVAL_MIN: Duration = Duration::from_millis(200);
const BATCH_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// So many bytes of backlog are enough for a batch at once.
const BATCH_BACKLOG_BYTES: u64 = 8 << 20;
/// About what gathering a row costs, in nanoseconds.
const ROW_NS: u64 = 800;
/// What was applied is made durable when nothing has come for so long.
const SYNC_IDLE: Duration = Duration::from_secs(1);
/// Under load it is made durable after so long; sooner, when so many segments of journal are kept that some should go. A sync floods the disk
/// that transfers wait for, so it is not done more often than it is of use.
const SYNC_INTERVAL: Duration = Duration::from_secs(60);
const SYNC_INTERVAL_MIN: Duration = Duration::from_secs(5);
const SYNC_KEPT_SEGMENTS: u64 = 8;
/// The store is tidied so long after a batch: both its commit and the first step keep a processor for some milliseconds, which those who wait for
/// the ledger meanwhile should not meet one behind the other.
const TIDY_AFTER: Duration = Duration::from_millis(20);
/// So much of the time that a step of tidying takes the store rests, within it and again after it.
const TIDY_REST: f64 = 0.5;
const TIDY_REST_MIN: Duration = Duration::from_millis(2);
/// How long nothing is tidied after that failed.
const TIDY_RETRY: Duration = Duration::from_secs(5);
/// The first and the longest pause before a batch that failed is tried again.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// How the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreCondition {
    /// It takes what it is given.
    Ok,
    /// It is paused by an option.
    Paused,
    /// It does not answer; what it misses waits in the journal and is tried again.
    Away {
        /// Since when.
        since: Instant,
        /// What it last said.
        error: String,
    },
    /// It refuses a record for a reason that will not pass. Nothing is skipped: the ledger goes on until the backlog is full.
    Stuck {
        /// The position behind which nothing is stored.
        seq: JournalSeq,
        /// What it said.
        error: String,
    },
}

/// Whether write-behind runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteBehind {
    /// The store follows the journal.
    Running,
    /// The store stays where it is: for measurements of the ledger alone.
    Paused,
}

/// What others know of the store.
#[derive(Debug)]
pub(crate) struct StoreStatus {
    condition: Mutex<StoreCondition>,
    /// All records up to here are durably in the store.
    synced: watch::Sender<JournalSeq>,
}

impl StoreStatus {
    pub(crate) fn new(condition: StoreCondition) -> StoreStatus {
        StoreStatus {
            condition: Mutex::new(condition),
            synced: watch::Sender::new(JournalSeq::NONE),
        }
    }

    pub(crate) fn condition(&self) -> StoreCondition {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn synced(&self) -> JournalSeq {
        *self.synced.borrow()
    }

    /// Notes that the store is away, since when it was first seen to be.
    pub(crate) fn note_away(&self, error: &StoreError) {
        let error = chain(error);
        let since = match self.condition() {
            StoreCondition::Away { since, .. } => since,
            _ => {
                tracing::warn!(%error, "the store is away; the journal keeps what it misses");
                Instant::now()
            }
        };
        self.set(StoreCondition::Away { since, error });
    }

    fn set(&self, condition: StoreCondition) {
        *self.condition.lock().unwrap_or_else(PoisonError::into_inner) = condition;
    }
}

/// Why write-behind can not go on at all.
#[derive(Debug, thiserror::Error)]
enum Halt {
    #[error("the journal can not be read back")]
    Read(#[from] ReadError),
    #[error(transparent)]
    NoRows(#[from] NoRows),
    #[error("the store refuses what follows position {}", .after.0)]
    Refused { after: JournalSeq, source: StoreError },
}

/// Why a record of the journal gives no rows.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoRows {
    #[error("record {seq} can not be decoded")]
    Decode { seq: u64, source: RecordError },
    #[error("the journal does not go on where the store stands")]
    OutOfOrder(#[from] OutOfOrder),
}

/// Adds the rows of the record at `seq`.
pub(crate) fn push(batch: &mut StoreBatch, seq: u64, bytes: &[u8]) -> Result<(), NoRows> {
    let record = record::decode(bytes).map_err(|source| NoRows::Decode { seq, source })?;
    let keyed = record.key.is_some().then_some(bytes);
    Ok(batch.push(JournalSeq(seq), record, keyed)?)
}

/// The task's own state.
pub(crate) struct WriteBehindTask<S, T> {
    claim: Claim<S>,
    claimed: bool,
    store: S,
    timing: T,
    cursor: FrameCursor,
    shared: Arc<Shared>,
    status: Arc<StoreStatus>,
    wake: Wake,
    stopping: watch::Receiver<bool>,
    applied: JournalSeq,
    /// Bytes of the frames in the batch that is being applied.
    gathered_bytes: u64,
    unsynced_since: Option<Instant>,
    /// When the store is tidied further. None: there is nothing to do until another batch has come.
    tidy_next: Option<Instant>,
    /// So much journal is kept when segments should go.
    sync_kept_bytes: u64,
}

impl<S: WrittenStore + Clone, T: Pacing> WriteBehindTask<S, T> {
    /// The task for a store, which is `claimed` already or will be when it is there.
    fn new(
        claim: Claim<S>,
        claimed: bool,
        timing: T,
        status: Arc<StoreStatus>,
        wake: Wake,
        stopping: watch::Receiver<bool>,
        segment_bytes: u64,
    ) -> WriteBehindTask<S, T> {
        let (store, shared) = (claim.store.clone(), claim.shared.clone());
        let applied = shared.stored();
        WriteBehindTask {
            store,
            cursor: claim.reader.read_from(applied.next().0),
            claim,
            claimed,
            timing,
            shared,
            status,
            wake,
            stopping,
            applied,
            gathered_bytes: 0,
            unsynced_since: None,
            tidy_next: None,
            sync_kept_bytes: SYNC_KEPT_SEGMENTS * segment_bytes,
        }
    }

    /// Claims the store, and makes the task that fills it. A store that is away now is claimed later.
    pub(crate) async fn begin(
        mut claim: Claim<S>,
        timing: T,
        status: Arc<StoreStatus>,
        wake: Wake,
        stopping: watch::Receiver<bool>,
        segment_bytes: u64,
    ) -> Result<WriteBehindTask<S, T>, OpenError> {
        let claimed = match claim.take().await {
            Ok(()) => true,
            Err(OpenError::Store(error)) if error.kind() == StoreErrorKind::Passing => {
                claim.count_backlog(JournalSeq::NONE);
                status.note_away(&error);
                false
            }
            Err(error) => return Err(error),
        };
        Ok(WriteBehindTask::new(claim, claimed, timing, status, wake, stopping, segment_bytes))
    }

    /// The store, for those who read it.
    pub(crate) fn store(&self) -> S {
        self.store.clone()
    }

    /// Claims a store that was away at the start; says whether to go on.
    async fn until_claimed(&mut self) -> bool {
        let mut pause = RETRY_MIN;
        while !self.claimed {
            let error = match self.claim.take().await {
                Ok(()) => {
                    self.claimed = true;
                    self.applied = self.shared.stored();
                    self.cursor = self.claim.reader.read_from(self.applied.next().0);
                    self.status.set(StoreCondition::Ok);
                    break;
                }
                Err(error) => error,
            };
            match &error {
                OpenError::Store(store) if store.kind() == StoreErrorKind::Passing => {
                    self.status.note_away(store);
                }
                OpenError::Store(store @ StoreError::ClaimedByOther { .. }) => {
                    self.shared.fail(chain(store));
                    return false;
                }
                error => {
                    let error = chain(error);
                    tracing::error!(%error, "the store can not be this ledger's; the journal keeps what it should have");
                    self.status.set(StoreCondition::Stuck { seq: self.applied, error });
                    pause = RETRY_MAX;
                }
            }
            metrics::store_failed();
            if !self.until_stopped(pause).await {
                return false;
            }
            pause = (pause * 2).min(RETRY_MAX);
        }
        true
    }

    /// Follows the journal until told to stop.
    pub(crate) async fn run(mut self) {
        if !self.until_claimed().await {
            return;
        }
        // What a predecessor applied counts only once it is known to be durable.
        self.sync().await;
        self.tidy_next = Some(self.timing.now());
        loop {
            match self.follow().await {
                Ok(()) => return self.sync().await,
                Err(Halt::Refused { source, .. }) if source.kind() == StoreErrorKind::Fenced => {
                    return self.shared.fail(chain(&source));
                }
                Err(halt) => {
                    let error = chain(&halt);
                    tracing::error!(seq = self.applied.0, %error, "write-behind stops here and skips nothing");
                    self.status.set(StoreCondition::Stuck { seq: self.applied, error });
                    if !self.until_stopped(RETRY_MAX).await {
                        return;
                    }
                    // A store that was mended by hand takes the record at the next try.
                    self.cursor = self.claim.reader.read_from(self.applied.next().0);
                }
            }
        }
    }

    async fn follow(&mut self) -> Result<(), Halt> {
        let mut durable = self.shared.watch_durable();
        let mut rested = self.timing.now();
        loop {
            if *self.stopping.borrow() {
                return Ok(());
            }
            if self.is_sync_due() {
                self.sync().await;
            }
            if self.applied >= *durable.borrow_and_update() {
                self.shared.note_store_current(Instant::now());
                let idle = self.timing.sleep(SYNC_IDLE);
                let tidy_next =
                    self.timing.sleep_until(self.tidy_next.unwrap_or_else(|| self.timing.now()));
                tokio::select! {
                    biased;
                    _ = durable.changed() => self.shared.note_store_current(Instant::now()),
                    _ = self.stopping.changed() => {}
                    () = tidy_next, if self.tidy_next.is_some() => self.tidy().await,
                    () = idle, if self.unsynced_since.is_some() => self.sync().await,
                }
                continue;
            }
            self.linger(rested).await;
            let (began, now) = (self.timing.now(), Instant::now());
            let upto = *durable.borrow();
            if let Some(batch) = self.gather(upto)? {
                self.apply(batch).await?;
            }
            if self.applied >= upto {
                self.shared.note_store_current(now);
            }
            let took = self.timing.now() - began;
            rested = began + (took * BATCH_REST).clamp(BATCH_INTERVAL_MIN, BATCH_INTERVAL_MAX);
        }
    }

    /// Lets more gather until then, unless someone waits for what is there or enough is there already. The store is tidied meanwhile, and a little also
    /// when there is no time to wait.
    async fn linger(&mut self, rested: Instant) {
        let applied = self.applied;
        while self.backlog() < 1.0 {
            let mut demand = self.shared.watch_store_demand();
            let until = self.tidy_next.map_or(rested, |next| next.min(rested));
            tokio::select! {
                biased;
                _ = demand.wait_for(|wanted| *wanted > applied) => return,
                _ = self.stopping.changed() => return,
                () = self.timing.sleep_until(until) => {}
            }
            if until == rested {
                return;
            }
            self.tidy().await;
        }
        if self.tidy_next.is_some_and(|next| next <= self.timing.now() + TIDY_AFTER) {
            self.tidy().await;
        }
    }

    /// Tidies the store a little further.
    async fn tidy(&mut self) {
        let began = self.timing.now();
        self.store.rest(TIDY_REST);
        let rest = match self.store.tidy().await {
            Ok(true) => TIDY_REST_MIN.max((self.timing.now() - began).mul_f64(TIDY_REST)),
            Ok(false) => {
                self.tidy_next = None;
                return;
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "the store is not tidied for now");
                TIDY_RETRY
            }
        };
        self.tidy_next = Some(self.timing.now() + rest);
    }

    /// How much waits: from 1 on, nothing is gained by waiting for more.
    fn backlog(&self) -> f64 {
        self.shared.backlog_bytes.load(Ordering::Relaxed) as f64 / BATCH_BACKLOG_BYTES as f64
    }

    fn is_sync_due(&self) -> bool {
        let Some(since) = self.unsynced_since else { return false };
        let segments_should_go =
            self.shared.kept_bytes.load(Ordering::Relaxed) >= self.sync_kept_bytes;
        let interval = if segments_should_go { SYNC_INTERVAL_MIN } else { SYNC_INTERVAL };
        self.timing.now() - since >= interval
    }

    /// Reads whole frames until a batch is full or the journal ends. The batch's checkpoint is the hash of its last frame.
    fn gather(&mut self, upto: JournalSeq) -> Result<Option<StoreBatch>, Halt> {
        self.gathered_bytes = 0;
        let mut batch = StoreBatch::new(self.applied);
        let is_wanted = *self.shared.watch_store_demand().borrow() > self.applied;
        let mut giving_way = GivingWay::resting(if is_wanted { 0.0 } else { 1.0 - self.backlog() });
        while !batch.is_full() {
            let Some(frame) = self.cursor.next_frame(upto.0)? else { break };
            for (seq, bytes) in frame.records() {
                if seq <= self.applied.0 {
                    continue;
                }
                let rows = batch.rows();
                push(&mut batch, seq, bytes)?;
                giving_way.did((batch.rows() - rows) as u64, ROW_NS);
            }
            batch.set_frame_hash(*frame.hash().as_bytes());
            self.gathered_bytes += frame.payload_len() as u64 + FRAME_HEADER_BYTES as u64;
        }
        Ok((!batch.is_empty()).then_some(batch))
    }

    /// Applies a batch, trying again for as long as the store is only away.
    async fn apply(&mut self, batch: StoreBatch) -> Result<(), Halt> {
        let mut pause = RETRY_MIN;
        loop {
            let (started, began) = (Instant::now(), self.timing.now());
            match self.apply_once(&batch).await {
                Ok(()) => {
                    metrics::store_applied(started.elapsed());
                    self.applied = batch.upto();
                    self.take_off_backlog();
                    self.unsynced_since.get_or_insert(began);
                    let apart = self.timing.now() + TIDY_AFTER;
                    self.tidy_next = Some(self.tidy_next.map_or(apart, |next| next.max(apart)));
                    self.status.set(StoreCondition::Ok);
                    self.shared.set_stored(self.applied);
                    return Ok(());
                }
                Err(error) if error.kind() == StoreErrorKind::Passing => {
                    metrics::store_failed();
                    self.status.note_away(&error);
                    if !self.until_stopped(pause).await {
                        return Ok(());
                    }
                    pause = (pause * 2).min(RETRY_MAX);
                }
                Err(source) => {
                    metrics::store_failed();
                    return Err(Halt::Refused { after: self.applied, source });
                }
            }
        }
    }

    /// Applies a batch. A store that says it is not where the batch begins may have it already: only the answer was lost then.
    async fn apply_once(&self, batch: &StoreBatch) -> Result<(), StoreError> {
        match self.apply_at_leisure(batch).await {
            Err(StoreError::NotAtCheckpoint { after, found }) => {
                let checkpoint = self.store.checkpoint().await?;
                if checkpoint.seq == batch.upto() && checkpoint.frame_hash == batch.frame_hash() {
                    Ok(())
                } else {
                    Err(StoreError::NotAtCheckpoint { after, found })
                }
            }
            result => result,
        }
    }

    /// Takes its time with a batch, until someone waits for what it holds or the ledger stops.
    async fn apply_at_leisure(&self, batch: &StoreBatch) -> Result<(), StoreError> {
        let mut demand = self.shared.watch_store_demand();
        let mut stopping = self.stopping.clone();
        // The more waits, the shorter they are: so write-behind is as slow as it can be without falling behind.
        self.store.rest(1.0 - self.backlog());
        let mut applied = std::pin::pin!(self.store.apply(batch));
        tokio::select! {
            biased;
            done = &mut applied => return done,
            _ = demand.wait_for(|wanted| *wanted > self.applied) => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
        self.store.rest(0.0);
        applied.await
    }

    /// What was there at the start was counted by whole segments, so the count is made right whenever nothing is left.
    fn take_off_backlog(&mut self) {
        let gathered = self.gathered_bytes;
        let backlog = &self.shared.backlog_bytes;
        if self.applied == self.shared.durable() {
            backlog.store(0, Ordering::Relaxed);
        } else {
            let less = |bytes: u64| Some(bytes.saturating_sub(gathered));
            let _ = backlog.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }

    /// Makes what was applied durable, and wakes whoever removes segments.
    async fn sync(&mut self) {
        match self.store.sync().await {
            Ok(seq) => {
                self.unsynced_since = None;
                self.status.synced.send_replace(seq);
                self.wake.wake();
            }
            Err(error) => {
                metrics::store_failed();
                self.status.note_away(&error);
                // Tried again after the interval, not at once.
                self.unsynced_since = Some(self.timing.now());
            }
        }
    }

    /// Waits, and says whether to go on afterwards.
    async fn until_stopped(&mut self, pause: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.timing.sleep(pause) => {}
            _ = self.stopping.changed() => {}
        }
        !*self.stopping.borrow()
    }
}
