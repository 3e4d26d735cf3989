//! What the running ledger measures. Names are constants, labels come from closed sets, handles are made once.

use std::sync::LazyLock;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// Frames written and made durable.
pub const FRAMES: &str = "florin_journal_frames_total";
/// Records written and made durable.
pub const RECORDS: &str = "florin_journal_records_total";
/// Bytes of frames written and made durable.
pub const BYTES: &str = "florin_journal_bytes_total";
/// Seconds from the beginning of a frame's write to the end of its fdatasync.
pub const COMMIT_SECONDS: &str = "florin_journal_commit_seconds";
/// Records in a frame.
pub const FRAME_RECORDS: &str = "florin_journal_frame_records";
/// The position up to which the journal is durable.
pub const DURABLE_SEQ: &str = "florin_journal_durable_seq";
/// The position up to which the store has everything.
pub const STORED_SEQ: &str = "florin_store_seq";
/// Positions that are durable and not yet in the store.
pub const STORE_LAG_RECORDS: &str = "florin_store_lag_records";
/// Bytes of journal that are not yet in the store.
pub const STORE_LAG_BYTES: &str = "florin_store_lag_bytes";
/// Seconds since the oldest thing became durable that the store may not have yet.
pub const STORE_LAG_SECONDS: &str = "florin_store_lag_seconds";
/// Seconds that one batch took to be applied to the store.
pub const STORE_APPLY_SECONDS: &str = "florin_store_apply_seconds";
/// Batches that the store refused or failed, and that were or will be tried again.
pub const STORE_FAILURES: &str = "florin_store_failures_total";
/// How the cache is: 0 away, 1 following the journal, 2 standing by for another owner.
pub const CACHE_STATE: &str = "florin_cache_state";
/// The position that entries of the cache are current as of.
pub const CACHE_COVERED_SEQ: &str = "florin_cache_covered_seq";
/// Seconds from reading the journal for a flush of the cache to its last answer.
pub const CACHE_FLUSH_SECONDS: &str = "florin_cache_flush_seconds";
/// Entries written to the cache.
pub const CACHE_ENTRIES: &str = "florin_cache_entries_total";
/// Flushes and beginnings of an epoch that failed.
pub const CACHE_FAILURES: &str = "florin_cache_failures_total";
/// How often the cache began anew.
pub const CACHE_EPOCHS: &str = "florin_cache_epochs_total";
/// Reads of the cache by their result: `hit`, `miss`, `error`.
pub const CACHE_READS: &str = "florin_cache_reads_total";
/// Of the hits, those that a reader answered from what it remembers, without asking the cache.
pub const CACHE_NEAR_HITS: &str = "florin_cache_near_hits_total";
/// Whether a reader's circuit is open, so that only one read in a while tries the cache: 1 open, 0 closed.
pub const CACHE_CIRCUIT_OPEN: &str = "florin_cache_circuit_open";
/// The position up to which the index of decided ids answers.
pub const INDEXED_SEQ: &str = "florin_index_seq";
/// The position of the newest snapshot.
pub const SNAPSHOT_SEQ: &str = "florin_snapshot_seq";
/// Bytes of journal segments that are kept.
pub const JOURNAL_KEPT_BYTES: &str = "florin_journal_kept_bytes";
/// Bytes of journal that can surely still be written; it runs out with the disk.
pub const JOURNAL_ROOM_BYTES: &str = "florin_journal_room_bytes";
/// Pending transfers that expired.
pub const EXPIRED: &str = "florin_transfers_expired_total";
/// Events between admission and answer.
pub const EVENTS_IN_FLIGHT: &str = "florin_events_in_flight";

/// Every metric of this crate with its description.
pub const DESCRIPTIONS: &[(&str, &str)] = &[
    (FRAMES, "Journal frames written and made durable."),
    (RECORDS, "Journal records written and made durable."),
    (BYTES, "Bytes of journal frames written and made durable."),
    (COMMIT_SECONDS, "Seconds from the beginning of a frame's write to the end of its fdatasync."),
    (FRAME_RECORDS, "Records in a journal frame."),
    (DURABLE_SEQ, "The position up to which the journal is durable."),
    (STORED_SEQ, "The position up to which the store has everything."),
    (STORE_LAG_RECORDS, "Positions that are durable and not yet in the store."),
    (STORE_LAG_BYTES, "Bytes of journal that are not yet in the store."),
    (
        STORE_LAG_SECONDS,
        "Seconds since the oldest thing became durable that the store may not have yet.",
    ),
    (STORE_APPLY_SECONDS, "Seconds that one batch took to be applied to the store."),
    (STORE_FAILURES, "Batches that the store refused or failed."),
    (CACHE_STATE, "How the cache is: 0 away, 1 following the journal, 2 standing by."),
    (CACHE_COVERED_SEQ, "The position that entries of the cache are current as of."),
    (CACHE_FLUSH_SECONDS, "Seconds that one flush of the cache took."),
    (CACHE_ENTRIES, "Entries written to the cache."),
    (CACHE_FAILURES, "Flushes of the cache and beginnings of an epoch that failed."),
    (CACHE_EPOCHS, "How often the cache began anew."),
    (CACHE_READS, "Reads of the cache by their result."),
    (CACHE_NEAR_HITS, "Hits that a reader answered without asking the cache."),
    (CACHE_CIRCUIT_OPEN, "Whether a reader asks the cache only once in a while: 1 or 0."),
    (INDEXED_SEQ, "The position up to which the index of decided ids answers."),
    (SNAPSHOT_SEQ, "The position of the newest snapshot."),
    (JOURNAL_KEPT_BYTES, "Bytes of journal segments that are kept."),
    (JOURNAL_ROOM_BYTES, "Bytes of journal that can surely still be written."),
    (EXPIRED, "Pending transfers that expired."),
    (EVENTS_IN_FLIGHT, "Events between admission and answer."),
];

struct Handles {
    frames: Counter,
    records: Counter,
    bytes: Counter,
    commit_seconds: Histogram,
    frame_records: Histogram,
    store_apply_seconds: Histogram,
    store_failures: Counter,
    expired: Counter,
    indexed_seq: Gauge,
    snapshot_seq: Gauge,
}

/// Made at the first use, so after the recorder was installed: the ledger opens after telemetry.
static HANDLES: LazyLock<Handles> = LazyLock::new(|| Handles {
    frames: counter!(FRAMES),
    records: counter!(RECORDS),
    bytes: counter!(BYTES),
    commit_seconds: histogram!(COMMIT_SECONDS),
    frame_records: histogram!(FRAME_RECORDS),
    store_apply_seconds: histogram!(STORE_APPLY_SECONDS),
    store_failures: counter!(STORE_FAILURES),
    expired: counter!(EXPIRED),
    indexed_seq: gauge!(INDEXED_SEQ),
    snapshot_seq: gauge!(SNAPSHOT_SEQ),
});

struct CacheHandles {
    state: Gauge,
    covered_seq: Gauge,
    flush_seconds: Histogram,
    entries: Counter,
    failures: Counter,
    epochs: Counter,
}

/// Apart from the others, since an owner without a cache shows none of them: a cache that is not there is not away.
static CACHE: LazyLock<CacheHandles> = LazyLock::new(|| CacheHandles {
    state: gauge!(CACHE_STATE),
    covered_seq: gauge!(CACHE_COVERED_SEQ),
    flush_seconds: histogram!(CACHE_FLUSH_SECONDS),
    entries: counter!(CACHE_ENTRIES),
    failures: counter!(CACHE_FAILURES),
    epochs: counter!(CACHE_EPOCHS),
});

pub(crate) fn frame_committed(records: u32, bytes: u64, took: Duration) {
    HANDLES.frames.increment(1);
    HANDLES.records.increment(u64::from(records));
    HANDLES.bytes.increment(bytes);
    HANDLES.commit_seconds.record(took.as_secs_f64());
    HANDLES.frame_records.record(f64::from(records));
}

pub(crate) fn transfers_expired(count: u64) {
    HANDLES.expired.increment(count);
}

pub(crate) fn store_applied(took: Duration) {
    HANDLES.store_apply_seconds.record(took.as_secs_f64());
}

pub(crate) fn store_failed() {
    HANDLES.store_failures.increment(1);
}

/// What [`CACHE_STATE`] says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CacheState {
    Away = 0,
    Ok = 1,
    StandingBy = 2,
}

pub(crate) fn cache_state(state: CacheState) {
    CACHE.state.set(f64::from(state as u8));
}

pub(crate) fn cache_flushed(entries: usize, took: Duration) {
    CACHE.entries.increment(entries as u64);
    CACHE.flush_seconds.record(took.as_secs_f64());
}

pub(crate) fn cache_failed() {
    CACHE.failures.increment(1);
}

pub(crate) fn cache_epoch_begun() {
    CACHE.epochs.increment(1);
}

/// Takes over what a reader of the cache counted; called when the metrics are asked for, with one reader in a process.
pub fn cache_reads(counts: &florin_persistence::cache::CacheCounts) {
    let results = [("hit", counts.hits), ("miss", counts.misses), ("error", counts.errors)];
    for (result, count) in results {
        counter!(CACHE_READS, "result" => result).absolute(count);
    }
    counter!(CACHE_NEAR_HITS).absolute(counts.near_hits);
    gauge!(CACHE_CIRCUIT_OPEN).set(f64::from(u8::from(counts.is_open)));
}

/// The position that the cache covers; called when the metrics are asked for, where there is a cache.
pub(crate) fn cache_covered(seq: florin_engine::JournalSeq) {
    CACHE.covered_seq.set(seq.0 as f64);
}

pub(crate) fn indexed(seq: u64) {
    HANDLES.indexed_seq.set(seq as f64);
}

pub(crate) fn snapshot_made(seq: u64) {
    HANDLES.snapshot_seq.set(seq as f64);
}

pub(crate) fn stored(seq: florin_engine::JournalSeq) {
    gauge!(STORED_SEQ).set(seq.0 as f64);
}

/// Brings the gauges that are read rather than written up to date; called when the metrics are asked for.
pub(crate) fn refresh(positions: &crate::Positions) {
    gauge!(DURABLE_SEQ).set(positions.durable.0 as f64);
    stored(positions.stored);
    let lag = positions.durable.0.saturating_sub(positions.stored.0);
    gauge!(STORE_LAG_RECORDS).set(lag as f64);
    gauge!(STORE_LAG_BYTES).set(positions.backlog_bytes as f64);
    gauge!(STORE_LAG_SECONDS).set(positions.store_lag.as_secs_f64());
    gauge!(JOURNAL_KEPT_BYTES).set(positions.journal_kept_bytes as f64);
    gauge!(JOURNAL_ROOM_BYTES).set(positions.journal_room_bytes as f64);
    gauge!(EVENTS_IN_FLIGHT).set(positions.events_in_flight as f64);
}
