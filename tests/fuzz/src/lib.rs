//! The targets of the fuzzer: each takes any bytes, and panics where something does not hold that must hold of all of them.
//!
//! `./tests/fuzz/run` builds the fuzzer and runs it; `tests/replay.rs` runs the same functions over the corpora, and a bounded number of changed ones, as
//! part of the ordinary tests. What the fuzzer finds gets a file in the target's corpus, so that it stays found.

mod amounts;
mod batches;

use florin::fuzzing as http;
use florin_persistence::fuzzing as persistence;

/// One target: its name, which is that of its corpus, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("journal", persistence::journal),
    ("record", persistence::record),
    ("snapshot_entries", persistence::snapshot_entries),
    ("snapshot_file", persistence::snapshot_file),
    ("cursor", persistence::cursor),
    ("manifest", persistence::manifest),
    ("exported_ids", persistence::exported_ids),
    ("cache_entry", persistence::cache_entry),
    ("identity", persistence::identity),
    ("binary_batch", batches::batch),
    ("binary_answer", batches::answer),
    ("amount", amounts::amount),
    ("external_id", amounts::external_id),
    ("json_body", http::json_body),
    ("metadata", http::metadata),
    ("id", http::id),
    ("idempotency_key", http::idempotency_key),
    ("query", http::query),
    ("time", http::time),
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<fn(&[u8])> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}
