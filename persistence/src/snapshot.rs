//! Snapshots: the complete ledger state at a position of the journal, as files that can be written and read in a stream.
//!
//! A snapshot is made off the hot path: [`merge`] lays the [`Changes`] that were collected from journal records over the
//! snapshot before and writes the next one, holding in memory the changes and one block of accounts. Whatever writes or reads a snapshot adds up all accounts on the way and
//! compares: the debits of each ledger with its credits and with its totals, and the state hash with that of the journal. A snapshot
//! that is not exactly the state is neither finished nor taken.
//!
//! The file `<seq as 20 digits>.snap`, version 2, little-endian, varints and presence as in [`crate::record`]:
//!
//! | part | content |
//! | --- | --- |
//! | header | magic `FLORSNAP`, version (4 bytes), uuid of the data directory (16), seq (8), hash of the frame that ends there (16), state hash (8), last timestamp (8), count of accounts (8), count of ledgers (8), timestamp of the newest transfer (8), count of open pending transfers (8), CRC-32C of all before (4) |
//! | blocks | kind (1), length (4), CRC-32C of kind, length and content (4), content: entries until its end. First all ledgers (kind 1), then all accounts (kind 2), then all open pending transfers (kind 4), of about 64 KiB each |
//! | footer | kind 3 (1), count of accounts (8), BLAKE3 of all bytes before (32) |
//!
//! Entries stand in the order of their ids, which are given as distance from the one before in the same block.
//!
//! | entry | content |
//! | --- | --- |
//! | ledger | id, currency, scale (1), name, timestamp (8), totals: accounts, posted, pending |
//! | account | presence, id, version, ledger, code, timestamp (8), debits posted, credits posted, what is present: 0 flags, 1 overdraft limit, 2 user data 128 (16), 3 user data 64, 4 user data 32, 5 metadata (its digest (8) and seq), 6 debits pending, 7 credits pending |
//! | pending transfer | presence, id, debit account id (16), credit account id (16), amount, ledger, code, flags, timestamp (8), what is present: 0 user data 128 (16), 1 user data 64, 2 user data 32, 3 timeout |
//!
//! Version 1 had no pending transfers, nor the two fields of the header that came for them: its newest transfer counts as being as new as its newest
//! command. It is read, and never written.
//!
//! The caller gives the file: it writes to [`temporary_name`], syncs the file, renames it to [`file_name`] and syncs the directory.

mod audit;
mod changes;
mod entry;
pub mod files;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod merge;
mod read;
mod write;

use florin_engine::{JournalSeq, Timestamp};
use uuid::Uuid;

pub use audit::Discrepancy;
pub use changes::{Changes, Contradiction};
pub use merge::{FrameEnd, MergeError, merge};
pub use read::{Damage, Held, SnapshotError, SnapshotReader};
pub use write::{SnapshotWriteError, SnapshotWriter};

const MAGIC: [u8; 8] = *b"FLORSNAP";
const VERSION: u32 = 2;
const HEADER_BYTES: usize = 104;
/// The header of version 1, without its newest transfer and its count of pending ones.
const HEADER_BYTES_1: usize = 88;
const BLOCK_HEAD_BYTES: usize = 9;
const FOOTER_BYTES: usize = 41;

/// A block is closed when its content has grown to this.
const BLOCK_BYTES: usize = 64 * 1024;
/// No block is longer: a longer one can only be damage, and must not make us reserve its length.
const BLOCK_BYTES_MAX: usize = 1024 * 1024;

/// Kinds of blocks.
mod kind {
    pub(super) const LEDGERS: u8 = 1;
    pub(super) const ACCOUNTS: u8 = 2;
    pub(super) const FOOTER: u8 = 3;
    pub(super) const PENDING: u8 = 4;
}

/// Which state a snapshot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// The identity of the data directory that it belongs to.
    pub directory: Uuid,
    /// The position of the last record that it covers.
    pub seq: JournalSeq,
    /// The hash of the journal frame that ends at this position.
    pub frame_hash: [u8; 16],
    /// The state hash at this position.
    pub state_hash: u64,
    /// The last timestamp that was given out; those of later records are above it.
    pub last_timestamp: Timestamp,
    /// The timestamp of the newest transfer, imported ones too.
    pub newest_transfer: Timestamp,
    /// How many accounts it holds.
    pub accounts: u64,
    /// How many open pending transfers it holds.
    pub pending: u64,
}

/// The name of the snapshot at `seq`.
#[must_use]
pub fn file_name(seq: JournalSeq) -> String {
    format!("{:020}.snap", seq.0)
}

/// The name under which the snapshot at `seq` is written before it is whole. What bears such a name at a start is a rest to be removed.
#[must_use]
pub fn temporary_name(seq: JournalSeq) -> String {
    format!("{:020}.snap.tmp", seq.0)
}

/// The position of the snapshot with this name; `None` where the name is not one of a whole snapshot.
#[must_use]
pub fn seq_of_file_name(name: &str) -> Option<JournalSeq> {
    let digits = name.strip_suffix(".snap")?;
    let has_form = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if has_form { digits.parse().ok().map(JournalSeq) } else { None }
}

#[cfg(test)]
mod tests;
