//! Opening a ledger: recovery, then the threads, wired together in one place; and stopping it again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use florin_engine::JournalSeq;
use florin_persistence::cache::{CacheOptions, CacheWriter};
use florin_persistence::data_dir::DataDir;
use florin_persistence::journal::{JournalIndex, JournalReader, JournalRoom};
use florin_persistence::store::{Store, TakeOver};
use tokio::sync::watch;
use uuid::Uuid;

use crate::admission::Admission;
use crate::arrivals::Arrivals;
use crate::cache_updates::{CacheCondition, CacheStatus, CacheUpdates};
use crate::claim::Claim;
use crate::clock::RuntimeTimers;
use crate::commit::{Committer, chain, frame_target_and_record_max};
use crate::expiry::Expiry;
use crate::front::{Florin, Positions};
use crate::history::{History, Readers};
use crate::housekeeping::{Housekeeper, Wake};
use crate::indexed::IndexOnDisk;
use crate::intake::Intake;
use crate::journal_queue::journal_queue;
use crate::options::{Options, StoreChoice};
use crate::recovery::{OpenError, Recovered, frame_bytes_max, recover, warn_of_durability};
use crate::shard::{Indexed, Shard};
use crate::shared::Shared;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Addr, bounded, start_shard};
use crate::write_behind::{StoreCondition, StoreStatus, WriteBehind, WriteBehindTask};

/// Places in the mailbox and the journal queue beyond what admission lets in: for the few messages that are not admitted.
const QUEUE_SLACK: usize = 64;

/// A ledger whose threads run.
pub(crate) struct Running {
    pub(crate) intake: Intake,
    pub(crate) shared: Arc<Shared>,
    pub(crate) store: Store,
    pub(crate) store_status: Arc<StoreStatus>,
    pub(crate) cache_status: Arc<CacheStatus>,
    pub(crate) history: History,
    pub(crate) directory: Uuid,
    snapshot_seq: Arc<AtomicU64>,
    stopping: watch::Sender<bool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Florin {
    /// Opens the ledger in a data directory, recovers what is there, and starts its threads. Blocks until it is ready.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing runs then.
    pub fn open(options: Options) -> Result<Florin, OpenError> {
        warn_of_durability(options.durability);
        options.cache.as_ref().map_or(Ok(()), CacheOptions::check)?;
        let directory =
            DataDir::open_or_create(options.disk.clone(), &options.data_dir, Uuid::new_v4())?;
        let recovered = recover(&directory, &options)?;
        let running = start(Arc::new(directory), recovered, &options)?;
        Ok(Florin { running: Arc::new(running) })
    }
}

/// The parts of a ledger that nothing drives yet, and what connects them.
pub(crate) struct Wired {
    pub(crate) shared: Arc<Shared>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) room: Arc<JournalRoom>,
    pub(crate) segments: Arc<JournalIndex>,
    pub(crate) snapshot_seq: Arc<AtomicU64>,
    pub(crate) store_status: Arc<StoreStatus>,
    pub(crate) wake: Wake,
    pub(crate) shard: Shard,
    pub(crate) committer: Committer,
    pub(crate) housekeeper: Housekeeper,
    /// The largest record that always finds a place in a frame.
    pub(crate) record_bytes_max: u64,
}

/// Puts together what recovery found. `tell_indexed` takes to the shard up to where the index answers for all ids.
pub(crate) fn wire(
    directory: Arc<DataDir>,
    recovered: Recovered,
    options: &Options,
    tell_indexed: Box<dyn Fn(JournalSeq) + Send>,
) -> Wired {
    let Recovered { state, journal, index, snapshot_seq, snapshot_bytes } = recovered;
    let shared = Arc::new(Shared::new(JournalSeq(journal.last_seq()), JournalSeq::NONE));
    shared.indexed.store(index.covered_seq(), Ordering::Relaxed);
    shared.kept_bytes.store(journal.index().backlog_bytes(), Ordering::Relaxed);
    for ledger in state.ledgers() {
        shared.learn_scale(ledger.ledger.id, ledger.ledger.scale);
    }
    let (target, record_bytes_max) = frame_target_and_record_max(frame_bytes_max(options));
    let admission = Admission::new(options.limits);
    let (room, segments) = (journal.room(), journal.index().clone());
    let snapshot_seq = Arc::new(AtomicU64::new(snapshot_seq.0));
    let (wake, woken) = Wake::channel();
    let store_status = Arc::new(StoreStatus::new(match options.write_behind {
        WriteBehind::Running => StoreCondition::Ok,
        WriteBehind::Paused => StoreCondition::Paused,
    }));
    let (sender, queue) = journal_queue(places(options));
    let shard = Shard {
        state,
        indexed: Box::new(IndexOnDisk::new(&index)),
        clock: options.clock.clone(),
        queue: Some(sender),
        shared: shared.clone(),
        expiry: Expiry::new(admission.clone(), room.clone(), record_bytes_max),
    };
    let committer = Committer::new(journal, target, queue, shared.clone(), wake.clone());
    let housekeeper = Housekeeper {
        directory,
        reader: JournalReader::new(segments.clone()),
        segments: segments.clone(),
        index,
        tell_indexed,
        shared: shared.clone(),
        store_status: store_status.clone(),
        snapshot_seq: snapshot_seq.clone(),
        snapshot_bytes,
        segment_bytes: options.segment_bytes,
        woken,
    };
    Wired {
        shared,
        admission,
        room,
        segments,
        snapshot_seq,
        store_status,
        wake,
        shard,
        committer,
        housekeeper,
        record_bytes_max,
    }
}

/// Places in the mailbox and in the journal queue.
pub(crate) fn places(options: &Options) -> usize {
    options.limits.events_in_flight as usize + QUEUE_SLACK
}

/// The threads of a ledger.
fn start(
    directory: Arc<DataDir>,
    recovered: Recovered,
    options: &Options,
) -> Result<Running, OpenError> {
    // The shard has its address only when it runs.
    let address = Arc::new(OnceLock::<Addr<Shard>>::new());
    let told = address.clone();
    let tell_indexed = move |seq| {
        if let Some(shard) = told.get() {
            // A shard that is gone needs no telling.
            let _ = shard.try_send(Indexed(seq));
        }
    };
    let wired = wire(directory.clone(), recovered, options, Box::new(tell_indexed));
    let Wired {
        shared,
        admission,
        room,
        segments,
        snapshot_seq,
        store_status,
        wake,
        mut shard,
        committer,
        housekeeper,
        record_bytes_max,
    } = wired;
    let stopping = watch::Sender::new(false);
    let write_behind = StartWriteBehind {
        directory: directory.clone(),
        reader: JournalReader::new(segments.clone()),
        segments: segments.clone(),
        shared: shared.clone(),
        status: store_status.clone(),
        wake,
        stopping: stopping.subscribe(),
        choice: options.store.clone(),
        mode: options.write_behind,
        segment_bytes: options.segment_bytes,
    };
    let (store, write_behind) = start_write_behind(write_behind)?;
    let cache_status = Arc::new(CacheStatus::new(match options.cache {
        Some(_) => CacheCondition::Away {
            since: Instant::now(),
            error: "it is not connected yet".to_owned(),
        },
        None => CacheCondition::Off,
    }));
    let cache_updates = StartCacheUpdates {
        directory: directory.id(),
        reader: JournalReader::new(segments.clone()),
        shared: shared.clone(),
        status: cache_status.clone(),
        stopping: stopping.subscribe(),
    };
    let cache_updates = options
        .cache
        .as_ref()
        .map(|options| start_cache_updates(cache_updates, options.clone()))
        .transpose()?;

    let committer = start_committer(committer, &mut shard)?;
    let (shard, shard_thread) = start_shard(shard, places(options))?;
    let shard = address.get_or_init(|| shard).clone();
    let housekeeping = spawn("florin-keep", move || housekeeper.run())?;

    let history = History {
        store: store.clone(),
        shared: shared.clone(),
        readers: Arc::new(Readers::new(segments)),
    };
    let mut threads = vec![shard_thread, committer, write_behind, housekeeping];
    threads.extend(cache_updates);
    let intake = Intake {
        admission,
        arrivals: Arrivals::new(shard),
        shared: shared.clone(),
        room,
        backlog_bytes: options.limits.backlog_bytes,
        record_bytes_max,
    };
    Ok(Running {
        intake,
        shared,
        store,
        store_status,
        cache_status,
        history,
        directory: directory.id(),
        snapshot_seq,
        stopping,
        threads: Mutex::new(threads),
    })
}

/// Starts the journal thread, which the shard wakes from then on.
pub(crate) fn start_committer(
    committer: Committer,
    shard: &mut Shard,
) -> Result<JoinHandle<()>, OpenError> {
    let thread = spawn("florin-journal", move || committer.run())?;
    if let Some(queue) = &mut shard.queue {
        queue.wake(thread.thread().clone());
    }
    Ok(thread)
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    Ok(thread::Builder::new().name(name.to_owned()).spawn(run)?)
}

/// Opens the store and starts the task that fills it, on a thread and runtime of its own.
fn start_write_behind(start: StartWriteBehind) -> Result<(Store, JoinHandle<()>), OpenError> {
    let (opened, store) = bounded(1);
    let thread = spawn("florin-store", move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = opened.send(Err(OpenError::Thread(error)));
                return;
            }
        };
        runtime.block_on(async move {
            let (mode, mut stopping) = (start.mode, start.stopping.clone());
            let task = match start.open().await {
                Ok(task) => task,
                Err(error) => {
                    let _ = opened.send(Err(error));
                    return;
                }
            };
            let _ = opened.send(Ok(task.store()));
            match mode {
                WriteBehind::Running => task.run().await,
                WriteBehind::Paused => {
                    // The runtime stays for the store's readers.
                    let _ = stopping.wait_for(|stopping| *stopping).await;
                }
            }
        });
    })?;
    let store = store.recv().map_err(|_| OpenError::ThreadEnded("store"))??;
    Ok((store, thread))
}

struct StartCacheUpdates {
    directory: Uuid,
    reader: JournalReader,
    shared: Arc<Shared>,
    status: Arc<CacheStatus>,
    stopping: watch::Receiver<bool>,
}

/// Starts the task that keeps the cache up to date, on a thread and runtime of its own.
fn start_cache_updates(
    start: StartCacheUpdates,
    options: CacheOptions,
) -> Result<JoinHandle<()>, OpenError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    spawn("florin-cache", move || {
        runtime.block_on(async move {
            let StartCacheUpdates { directory, reader, shared, status, stopping } = start;
            match CacheWriter::connect(&options, directory) {
                Ok(writer) => {
                    let lag_bytes_max = options.lag_bytes_max;
                    CacheUpdates::new(writer, reader, shared, status, stopping, lag_bytes_max)
                        .run()
                        .await;
                }
                // They were checked before anything was opened.
                Err(error) => tracing::error!(error = %chain(&error), "there is no cache"),
            }
        });
    })
}

struct StartWriteBehind {
    directory: Arc<DataDir>,
    reader: JournalReader,
    segments: Arc<JournalIndex>,
    shared: Arc<Shared>,
    status: Arc<StoreStatus>,
    wake: Wake,
    stopping: watch::Receiver<bool>,
    choice: StoreChoice,
    mode: WriteBehind,
    segment_bytes: u64,
}

impl StartWriteBehind {
    /// Opens the store and claims it. One that is away now is claimed later.
    async fn open(self) -> Result<WriteBehindTask<Store, RuntimeTimers>, OpenError> {
        let directory = self.directory.id();
        let (store, take_over) = match self.choice {
            StoreChoice::Embedded => {
                let store = Store::open(&self.directory.store_path(), directory).await?;
                (store, TakeOver::WhenFree)
            }
            StoreChoice::Postgres { options, take_over } => {
                (Store::postgres(options, directory)?, take_over)
            }
        };
        let (reader, segments, shared) = (self.reader, self.segments, self.shared);
        let claim = Claim { store, take_over, reader, segments, shared };
        WriteBehindTask::begin(
            claim,
            RuntimeTimers,
            self.status,
            self.wake,
            self.stopping,
            self.segment_bytes,
        )
        .await
    }
}

impl Running {
    pub(crate) fn positions(&self) -> Positions {
        Positions {
            durable: self.shared.durable(),
            stored: self.shared.stored(),
            cached: self.cache_status.covered(),
            indexed: JournalSeq(self.shared.indexed.load(Ordering::Relaxed)),
            snapshot: JournalSeq(self.snapshot_seq.load(Ordering::Relaxed)),
            journal_bytes: self.shared.written_bytes.load(Ordering::Relaxed),
            backlog_bytes: self.shared.backlog_bytes.load(Ordering::Relaxed),
            store_lag: self.shared.store_lag(),
            journal_kept_bytes: self.shared.kept_bytes.load(Ordering::Relaxed),
            journal_room_bytes: self.intake.room.bytes(),
            events_in_flight: self.intake.admission.events_in_flight(),
            bytes_in_flight: self.intake.admission.bytes_in_flight(),
            ids_in_memory: self.shared.ids_in_memory.load(Ordering::Relaxed),
            accounts: self.shared.accounts.load(Ordering::Relaxed),
        }
    }

    pub(crate) async fn stop(&self) {
        self.intake.drain().await;
        self.let_go();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let join = move || threads.into_iter().for_each(|thread| drop(thread.join()));
        if tokio::task::spawn_blocking(join).await.is_err() {
            tracing::error!("the ledger's threads could not be waited for");
        }
    }

    /// Lets the threads end. The queue ends with the shard, the journal with the queue, housekeeping with both that wake it.
    fn let_go(&self) {
        self.stopping.send_replace(true);
        self.intake.finish();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.let_go();
    }
}
