//! The cache updater: the task that tails the durable journal and keeps the cache of balances up to date.
//!
//! It stands on nobody's way: it reads the journal's files like write-behind, on a thread of its own, and what it holds in memory is bounded. A cache that is away is
//! tried again after a growing pause; when the journal has gone on too far meanwhile, what was missed is dropped and the cache begins
//! anew at the position that is durable then. What the cache promises its readers is told in `florin_persistence::cache`.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use florin_engine::JournalSeq;
use florin_persistence::cache::{CacheBatch, CacheError, CacheWriter};
use florin_persistence::journal::format::FRAME_HEADER_BYTES;
use florin_persistence::journal::{FrameCursor, JournalReader, ReadError};
use florin_persistence::record::{self, RecordError};
use tokio::sync::watch;

use crate::commit::chain;
use crate::metrics;
use crate::shared::Shared;

/// A flush begins so long after the one before for each entry of that one, within these bounds: twice what an entry costs the cache, so that a fast ledger
/// leaves the cores to who moves money: a larger batch writes each account once. How long the flush took would say the same on a machine with nothing else to do; on a
/// full one it is mostly waiting for a core, and to rest for it makes every change later. A change on a quiet ledger is flushed at once.
const FLUSH_REST: Duration = Duration::from_micros(15);
const FLUSH_INTERVAL_MIN: Duration = Duration::from_millis(10);
const FLUSH_INTERVAL_MAX: Duration = Duration::from_millis(200);
/// A batch takes no further frames beyond so many entries: some 4 MiB.
const BATCH_ENTRIES_TARGET: usize = 32_768;
/// Without changes the epoch is kept alive so often; that also notices an epoch that was lost.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// The first and the longest pause before something that failed is tried again.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// How the cache is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheCondition {
    /// There is none.
    Off,
    /// It follows the journal.
    Ok,
    /// It does not answer, or can not be brought up to date. Readers ask the store.
    Away {
        /// Since when.
        since: Instant,
        /// What went wrong last.
        error: String,
    },
    /// Another owner of the same ledger writes it; this one writes nothing until that one is gone.
    StandingBy {
        /// The position that the other one covers.
        covered: JournalSeq,
    },
}

/// What others know of the cache.
#[derive(Debug)]
pub(crate) struct CacheStatus {
    condition: Mutex<CacheCondition>,
    /// Entries are current as of here.
    covered: watch::Sender<JournalSeq>,
}

impl CacheStatus {
    pub(crate) fn new(condition: CacheCondition) -> CacheStatus {
        CacheStatus {
            condition: Mutex::new(condition),
            covered: watch::Sender::new(JournalSeq::NONE),
        }
    }

    pub(crate) fn condition(&self) -> CacheCondition {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn covered(&self) -> JournalSeq {
        *self.covered.borrow()
    }

    pub(crate) fn watch_covered(&self) -> watch::Receiver<JournalSeq> {
        self.covered.subscribe()
    }

    fn set(&self, condition: CacheCondition) {
        *self.condition.lock().unwrap_or_else(PoisonError::into_inner) = condition;
    }
}

/// Why the cache is not brought up to date for now.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the cache was not written")]
    Cache(#[from] CacheError),
    #[error("the journal can not be read back")]
    Read(#[from] ReadError),
    #[error("record {seq} can not be decoded")]
    Decode { seq: u64, source: RecordError },
}

/// The task's own state.
pub(crate) struct CacheUpdates {
    writer: CacheWriter,
    reader: JournalReader,
    cursor: FrameCursor,
    shared: Arc<Shared>,
    status: Arc<CacheStatus>,
    stopping: watch::Receiver<bool>,
    /// What was read and is not flushed.
    batch: CacheBatch,
    read: JournalSeq,
    /// Bytes of frames that were read, counted as [`Shared::written_bytes`].
    read_bytes: u64,
    lag_bytes_max: u64,
    /// Whether it was logged that the cache is away.
    is_warned: bool,
}

impl CacheUpdates {
    pub(crate) fn new(
        writer: CacheWriter,
        reader: JournalReader,
        shared: Arc<Shared>,
        status: Arc<CacheStatus>,
        stopping: watch::Receiver<bool>,
        lag_bytes_max: u64,
    ) -> CacheUpdates {
        let cursor = reader.read_from(JournalSeq::FIRST.0);
        CacheUpdates {
            writer,
            reader,
            cursor,
            shared,
            status,
            stopping,
            batch: CacheBatch::default(),
            read: JournalSeq::NONE,
            read_bytes: 0,
            lag_bytes_max,
            is_warned: false,
        }
    }

    /// Follows the journal until told to stop.
    pub(crate) async fn run(mut self) {
        let mut pause = RETRY_MIN;
        while !*self.stopping.borrow() {
            let covered_before = self.status.covered();
            let Err(trouble) = self.follow().await else { return };
            self.note(&trouble);
            if self.status.covered() > covered_before {
                pause = RETRY_MIN;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = self.stopping.changed() => {}
            }
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// Goes on in the epoch, or begins one, until something is wrong or the ledger stops.
    async fn follow(&mut self) -> Result<(), Trouble> {
        if !self.writer.holds_epoch() || self.lags_too_far() {
            self.begin().await?;
        }
        let mut durable = self.shared.watch_durable();
        let mut rested = Instant::now();
        while !*self.stopping.borrow() {
            // First the rest, so that the journal thread wakes this one only when it has nothing to do.
            tokio::select! {
                () = tokio::time::sleep_until(rested.into()) => {}
                _ = self.stopping.changed() => continue,
            }
            if self.batch.upto() <= self.status.covered() {
                tokio::select! {
                    reached = durable.wait_for(|durable| *durable > self.read) => drop(reached),
                    () = tokio::time::sleep_until((rested + KEEP_ALIVE).into()) => {}
                    _ = self.stopping.changed() => continue,
                }
            }
            let began = Instant::now();
            self.gather()?;
            let rest = FLUSH_REST * self.batch.entries() as u32;
            self.flush(began).await?;
            rested = began + rest.clamp(FLUSH_INTERVAL_MIN, FLUSH_INTERVAL_MAX);
            if self.lags_too_far() {
                self.begin().await?;
            }
        }
        Ok(())
    }

    fn lags_too_far(&self) -> bool {
        let written = self.shared.written_bytes.load(Ordering::Relaxed);
        written.saturating_sub(self.read_bytes) > self.lag_bytes_max
    }

    /// Begins a new epoch at what is durable now; what was missed is forgotten.
    async fn begin(&mut self) -> Result<(), Trouble> {
        let durable = self.shared.durable();
        self.batch = CacheBatch::at(durable);
        self.read = durable;
        self.read_bytes = self.shared.written_bytes.load(Ordering::Relaxed);
        self.cursor = self.reader.read_from(durable.next().0);
        self.writer.begin(durable).await?;
        metrics::cache_epoch_begun();
        tracing::info!(seq = durable.0, "the cache begins anew");
        self.is_covered();
        Ok(())
    }

    /// Reads whole frames until the batch is full or the journal ends.
    fn gather(&mut self) -> Result<(), Trouble> {
        let upto = self.shared.durable();
        while self.batch.entries() < BATCH_ENTRIES_TARGET {
            let Some(frame) = self.cursor.next_frame(upto.0)? else { break };
            for (seq, bytes) in frame.records() {
                if seq <= self.read.0 {
                    continue;
                }
                let record =
                    record::decode(bytes).map_err(|source| Trouble::Decode { seq, source })?;
                self.batch.push(JournalSeq(seq), &record);
                self.read = JournalSeq(seq);
            }
            self.read_bytes += frame.payload_len() as u64 + FRAME_HEADER_BYTES as u64;
        }
        if self.read == self.shared.durable() {
            // What was counted while it was read is made right.
            self.read_bytes = self.shared.written_bytes.load(Ordering::Relaxed);
        }
        Ok(())
    }

    async fn flush(&mut self, began: Instant) -> Result<(), Trouble> {
        self.writer.flush(&self.batch).await?;
        metrics::cache_flushed(self.batch.entries(), began.elapsed());
        self.batch.clear();
        self.is_covered();
        Ok(())
    }

    fn is_covered(&mut self) {
        self.is_warned = false;
        self.status.covered.send_replace(self.batch.upto());
        self.status.set(CacheCondition::Ok);
        metrics::cache_state(metrics::CacheState::Ok);
    }

    fn note(&mut self, trouble: &Trouble) {
        metrics::cache_failed();
        if !matches!(trouble, Trouble::Cache(_)) {
            // What can not be read is passed over: the next epoch begins behind it.
            tracing::error!(seq = self.read.0, error = %chain(trouble), "the cache begins anew");
            self.writer.give_up();
        }
        if let Trouble::Cache(CacheError::Fenced { covered }) = *trouble {
            tracing::warn!(
                covered = covered.0,
                "another owner writes the cache; this one stands by"
            );
            self.status.set(CacheCondition::StandingBy { covered });
            metrics::cache_state(metrics::CacheState::StandingBy);
            return;
        }
        let error = chain(trouble);
        let since = match self.status.condition() {
            CacheCondition::Away { since, .. } if self.is_warned => since,
            _ => {
                self.is_warned = true;
                tracing::warn!(%error, "the cache is away; readers ask the store");
                Instant::now()
            }
        };
        self.status.set(CacheCondition::Away { since, error });
        metrics::cache_state(metrics::CacheState::Away);
    }
}
