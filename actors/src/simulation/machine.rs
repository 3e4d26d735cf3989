//! The machine under a simulation, and the process that runs on it: the real parts of a ledger, driven by hand instead of by threads.

use std::future::{Future, poll_fn};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use florin_engine::{JournalSeq, Timestamp};
use florin_persistence::data_dir::DataDir;
use florin_persistence::decided::{DecidedIndex, SimulatedEntries};
use florin_persistence::disk::simulated::{Fate, SimulatedDisk};
use florin_persistence::journal::{JournalReader, SpareKeeping};
use florin_persistence::store::simulated::{Commits, SimulatedStore};
use florin_persistence::store::{Checkpoint, StoreBatch, StoreError, TakeOver};
use tokio::sync::watch;
use uuid::Uuid;

use crate::claim::{Claim, WrittenStore};
use crate::clock::{Clock, Pacing};
use crate::commit::chain;
use crate::expiry::AtStart;
use crate::open::{Wired, wire};
use crate::options::{ClockAcceptance, Options};
use crate::recovery::{OpenError, recover_with};
use crate::write_behind::WriteBehindTask;

/// Ids that the filter has room for at first: few, so that it grows.
const FILTER_IDS: u64 = 64;

/// Time that passes only when it is told to.
#[derive(Clone, Debug)]
pub(crate) struct SimulatedClock {
    now: Arc<AtomicU64>,
    began: Instant,
}

impl SimulatedClock {
    pub(super) fn new(now: u64) -> SimulatedClock {
        SimulatedClock { now: Arc::new(AtomicU64::new(now)), began: Instant::now() }
    }

    pub(super) fn nanoseconds(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, nanoseconds: u64) {
        self.now.store(nanoseconds, Ordering::Relaxed);
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.now.fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.nanoseconds())
    }

    fn wait(&self, duration: Duration) {
        self.advance(duration);
    }
}

/// The time of a process: it does not follow the wall clock when that is set.
#[derive(Clone, Debug)]
pub(super) struct SimulatedTimers(SimulatedClock);

impl Pacing for SimulatedTimers {
    fn now(&self) -> Instant {
        self.0.began + Duration::from_nanos(self.0.nanoseconds())
    }

    fn sleep_until(&self, then: Instant) -> impl Future<Output = ()> {
        poll_fn(move |_| if self.now() >= then { Poll::Ready(()) } else { Poll::Pending })
    }
}

impl WrittenStore for SimulatedStore {
    async fn claim(&self, take_over: TakeOver) -> Result<Checkpoint, StoreError> {
        SimulatedStore::claim(self, take_over).await
    }

    async fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        SimulatedStore::checkpoint(self).await
    }

    async fn apply(&self, batch: &StoreBatch) -> Result<(), StoreError> {
        SimulatedStore::apply(self, batch).await
    }

    async fn sync(&self) -> Result<JournalSeq, StoreError> {
        SimulatedStore::sync(self).await
    }

    async fn tidy(&self) -> Result<bool, StoreError> {
        SimulatedStore::tidy(self).await
    }

    fn rest(&self, _: f64) {}
}

/// What outlives a process.
pub(crate) struct Machine {
    fate: Arc<Mutex<Fate>>,
    pub(crate) disk: SimulatedDisk,
    pub(super) entries: Arc<SimulatedEntries>,
    pub(super) store: SimulatedStore,
    pub(crate) clock: SimulatedClock,
    pub(crate) options: Options,
    seed: u64,
}

impl Machine {
    pub(crate) fn new(seed: u64, commits: Commits, segment_bytes: u64) -> Machine {
        let fate = Arc::new(Mutex::new(Fate::new(seed)));
        let disk = SimulatedDisk::new(Arc::clone(&fate));
        let clock = SimulatedClock::new(1_700_000_000_000_000_000);
        let mut options = Options::new(PathBuf::from("/ledger"));
        options.disk = Arc::new(disk.clone());
        options.clock = Arc::new(clock.clone());
        options.segment_bytes = segment_bytes;
        options.spare_keeping = SpareKeeping::Inline;
        Machine {
            disk,
            entries: Arc::new(SimulatedEntries::new(Arc::clone(&fate))),
            store: SimulatedStore::new(Arc::clone(&fate), commits),
            fate,
            clock,
            options,
            seed,
        }
    }

    pub(crate) fn fate(&self) -> MutexGuard<'_, Fate> {
        self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Recovers what is there and puts the parts of a process together, as `Florin::open` does.
    pub(crate) fn wire(
        &self,
        acceptance: ClockAcceptance,
        tell_indexed: Box<dyn Fn(JournalSeq) + Send>,
    ) -> Result<Wired, OpenError> {
        let mut options = self.options.clone();
        options.clock_acceptance = acceptance;
        let fresh = Uuid::from_u64_pair(self.seed, 0x8000_0000_0000_0001);
        let directory = DataDir::open_or_create(options.disk.clone(), &options.data_dir, fresh)?;
        let index = DecidedIndex::open_simulated(
            Arc::clone(&self.entries),
            options.disk.clone(),
            &directory.ids_dir(),
            FILTER_IDS,
            self.seed,
        )?;
        let recovered = recover_with(&directory, &options, index)?;
        Ok(wire(Arc::new(directory), recovered, &options, tell_indexed))
    }

    /// Starts a process whose parts take a step when they are told to.
    pub(super) fn start(&self, acceptance: ClockAcceptance) -> Result<Process, OpenError> {
        let indexed = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&indexed);
        let wired = self.wire(acceptance, Box::new(move |seq| lock(&told).push(seq)))?;
        let stopping = watch::Sender::new(false);
        let claim = Claim {
            store: self.store.reconnect(),
            take_over: TakeOver::WhenFree,
            reader: JournalReader::new(wired.segments.clone()),
            segments: wired.segments.clone(),
            shared: wired.shared.clone(),
        };
        let task = WriteBehindTask::begin(
            claim,
            SimulatedTimers(self.clock.clone()),
            wired.store_status.clone(),
            wired.wake.clone(),
            stopping.subscribe(),
            self.options.segment_bytes,
        );
        let task = run_to_its_end(task)?;
        let process =
            Process { wired, write_behind: Some(Box::pin(task.run())), stopping, indexed };
        Ok(process)
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Polls what waits for nothing but the simulated store.
fn run_to_its_end<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
    }
}

/// A running ledger without its threads.
pub(super) struct Process {
    pub(super) wired: Wired,
    /// The task that fills the store; none once it has ended.
    write_behind: Option<Pin<Box<dyn Future<Output = ()>>>>,
    pub(super) stopping: watch::Sender<bool>,
    /// What housekeeping told the shard and it has not handled.
    indexed: Arc<Mutex<Vec<JournalSeq>>>,
}

impl Process {
    /// What the shard does before it answers anybody; the journal thread goes on meanwhile.
    pub(super) fn expire_at_start(&mut self) {
        loop {
            match self.wired.shard.expire_at_start() {
                AtStart::Done => return,
                AtStart::Worked => {}
                AtStart::Wait => {
                    if !self.commit() {
                        return;
                    }
                }
            }
        }
    }

    /// One group commit of what waits; false when nothing does, or the journal has failed.
    pub(super) fn commit(&mut self) -> bool {
        let Some(first) = self.wired.committer.queue.try_next() else { return false };
        let done = self.wired.committer.commit_group(first);
        if let Err(error) = &done {
            self.wired.shared.fail(format!("the journal failed: {}", chain(error)));
        }
        done.is_ok()
    }

    /// What the journal thread does when it is idle.
    pub(super) fn seal(&mut self) -> bool {
        let done = self.wired.committer.seal();
        if let Err(error) = &done {
            self.wired.shared.fail(format!("the journal failed: {}", chain(error)));
        }
        done.is_ok()
    }

    /// One round of housekeeping, as its thread does it.
    pub(super) fn keep_house(&mut self) {
        if let Err(trouble) = self.wired.housekeeper.work() {
            self.wired.shared.fail(format!("housekeeping failed: {}", chain(trouble.as_ref())));
        }
    }

    /// Hands the shard what housekeeping told it.
    pub(super) fn forget_indexed(&mut self) {
        let told = std::mem::take(&mut *lock(&self.indexed));
        for seq in told {
            drop(self.wired.shard.forget(seq));
        }
    }

    /// One turn of write-behind's runtime.
    pub(super) fn turn_write_behind(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        if let Some(task) = &mut self.write_behind
            && task.as_mut().poll(&mut context).is_ready()
        {
            self.write_behind = None;
        }
    }

    pub(super) fn has_write_behind(&self) -> bool {
        self.write_behind.is_some()
    }
}
