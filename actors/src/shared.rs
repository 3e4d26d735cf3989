//! What the threads of one ledger know together: how far the journal is durable, and whether all is well.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use florin_engine::{Event, JournalSeq, LedgerId, Record, Scale};
use tokio::sync::watch;

use crate::sync::atomic::{AtomicU64, Ordering};

/// Positions and conditions, written by the threads that make them and read by all.
#[derive(Debug)]
pub(crate) struct Shared {
    /// All records up to here are on disk.
    durable: watch::Sender<JournalSeq>,
    /// All records up to here are in the store.
    stored: watch::Sender<JournalSeq>,
    /// The newest position that someone waits for the store to reach.
    store_demand: watch::Sender<JournalSeq>,
    /// Set once, by whoever notices first that the ledger can not go on.
    failure: OnceLock<String>,
    failed: watch::Sender<bool>,
    /// See [`florin_persistence::store::Checkpoint::history_from`].
    history_from: AtomicU64,
    /// All ids and keys up to this position are in the index on disk.
    pub(crate) indexed: AtomicU64,
    /// Ids and keys in the shard's memory because the index does not have them yet.
    pub(crate) ids_in_memory: AtomicU64,
    /// Accounts in the shard's memory.
    pub(crate) accounts: AtomicU64,
    /// Bytes of frames written since the ledger was opened.
    pub(crate) written_bytes: AtomicU64,
    /// Bytes of frames that the store does not have yet; of what was there at the start, by whole segments.
    pub(crate) backlog_bytes: AtomicU64,
    /// When the store last had all that was durable.
    store_current: Mutex<Instant>,
    /// Bytes of journal segments that are kept.
    pub(crate) kept_bytes: AtomicU64,
    /// The scales of the ledgers that exist durably: they never change, and the edge needs them to show amounts.
    scales: RwLock<HashMap<LedgerId, Scale>>,
}

impl Shared {
    pub(crate) fn new(durable: JournalSeq, stored: JournalSeq) -> Shared {
        Shared {
            durable: watch::Sender::new(durable),
            stored: watch::Sender::new(stored),
            store_demand: watch::Sender::new(JournalSeq::NONE),
            failure: OnceLock::new(),
            failed: watch::Sender::new(false),
            history_from: AtomicU64::new(JournalSeq::FIRST.0),
            indexed: AtomicU64::new(0),
            ids_in_memory: AtomicU64::new(0),
            accounts: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            backlog_bytes: AtomicU64::new(0),
            store_current: Mutex::new(Instant::now()),
            kept_bytes: AtomicU64::new(0),
            scales: RwLock::default(),
        }
    }

    pub(crate) fn durable(&self) -> JournalSeq {
        *self.durable.borrow()
    }

    pub(crate) fn set_durable(&self, seq: JournalSeq) {
        self.durable.send_replace(seq);
    }

    pub(crate) fn watch_durable(&self) -> watch::Receiver<JournalSeq> {
        self.durable.subscribe()
    }

    pub(crate) fn stored(&self) -> JournalSeq {
        *self.stored.borrow()
    }

    /// What was decided before is not in the store, and never will be.
    pub(crate) fn history_from(&self) -> JournalSeq {
        JournalSeq(self.history_from.load(Ordering::Relaxed))
    }

    pub(crate) fn set_history_from(&self, seq: JournalSeq) {
        self.history_from.store(seq.0, Ordering::Relaxed);
    }

    pub(crate) fn set_stored(&self, seq: JournalSeq) {
        self.stored.send_replace(seq);
    }

    pub(crate) fn watch_stored(&self) -> watch::Receiver<JournalSeq> {
        self.stored.subscribe()
    }

    /// Notes that the store has all that was durable at this moment.
    pub(crate) fn note_store_current(&self, at: Instant) {
        *self.store_current.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// How long ago the oldest thing became durable that the store may not have yet.
    pub(crate) fn store_lag(&self) -> Duration {
        if self.stored() >= self.durable() {
            return Duration::ZERO;
        }
        self.store_current.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Says that someone waits for the store to reach `seq`.
    pub(crate) fn demand_stored(&self, seq: JournalSeq) {
        self.store_demand.send_if_modified(|wanted| {
            let is_newer = seq > *wanted;
            *wanted = seq.max(*wanted);
            is_newer
        });
    }

    pub(crate) fn watch_store_demand(&self) -> watch::Receiver<JournalSeq> {
        self.store_demand.subscribe()
    }

    /// Notes that the ledger can not go on; only the first reason is kept.
    pub(crate) fn fail(&self, reason: String) {
        tracing::error!(%reason, "the ledger stops: what is waiting has an unknown outcome");
        if self.failure.set(reason).is_ok() {
            self.failed.send_replace(true);
        }
    }

    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Resolves when the ledger has failed.
    pub(crate) async fn failed(&self) -> String {
        let mut failed = self.failed.subscribe();
        // The sender lives as long as `self`, so this ends only when the flag is set.
        let _ = failed.wait_for(|failed| *failed).await;
        self.failure.get().cloned().unwrap_or_default()
    }

    pub(crate) fn scale(&self, ledger: LedgerId) -> Option<Scale> {
        self.scales.read().unwrap_or_else(PoisonError::into_inner).get(&ledger).copied()
    }

    /// Makes the ledgers that a durable record opened known to the edge.
    pub(crate) fn learn_ledgers(&self, record: &Record) {
        // The command that creates one does nothing else.
        if let [Event::LedgerCreated(ledger)] = &record.events[..] {
            self.learn_scale(ledger.id, ledger.scale);
        }
    }

    pub(crate) fn learn_scale(&self, ledger: LedgerId, scale: Scale) {
        self.scales.write().unwrap_or_else(PoisonError::into_inner).insert(ledger, scale);
    }
}
