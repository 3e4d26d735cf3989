//! The journal: an append-only, checksummed, hash-chained log of opaque records.
//!
//! # Shape
//!
//! A journal is a directory of *segments*, files of a fixed size that are reserved on the disk and filled with zeros before
//! they are used, named after the position of their first record. A segment begins with a header block and holds *frames*. A
//! frame is one group commit: a header and records; it is written with one write and made durable with one fdatasync. Each
//! record has a position (a *seq*), counted from 1 without a gap. A *sealing* frame has no records; it is written when idle
//! and at stop. [`format`] has the bytes.
//!
//! ```text
//! 00000000000000000001.seg   [ header block | frame | frame | ... | frame | zeros ]
//! 00000000000000004711.seg   [ header block | frame | seal | frame | zeros        ]   <- the active one
//! newest                     the first seq of the newest segment, so that its loss is noticed
//! spare-1.tmp, spare-2.tmp   reserved ahead, so that room is known before it is needed
//! ```
//!
//! Frames form a chain: each names the hash of the one before, across segments too, and its own hash is keyed with the
//! identity of the data directory. So a frame of another journal, or one from another place of this journal, is never taken
//! for the next one.
//!
//! # What recovery may cut
//!
//! One thread writes, and writes a frame only after the one before is durable. So at most the last frame can be torn
//! by a crash, and nothing that this journal wrote can stand behind it. At the end of the last segment, bytes that are not a valid
//! frame are therefore cut only if no frame header of this journal stands anywhere behind them. A header is enough
//! to refuse, even with a damaged payload: its being there proves that the bad frame before it was once durable, and perhaps acknowledged.
//! So are bytes behind the end of a bad frame whose header is whole, and an old frame in place of its header: a write that the
//! disk sent to the wrong place can destroy the last frame together with the seal behind it. Any other damage stops the start with the file, the offset and what to do; nothing is changed then.
//!
//! A process that died after a failed fsync can leave pages that the kernel shows but never wrote. So the last frame is
//! written once more before the recovered tail is synced; only then does [`Journal::open`] return.
//!
//! # Room
//!
//! [`Journal::room`] says how many bytes are surely still writable. A thread keeps spare segments reserved; when the disk is full
//! it goes on trying, and room comes back by itself. Whoever admits work refuses it while its bytes in
//! flight pass the room, so that [`AppendError::Full`] is never met by something that was already decided.

pub mod format;

mod error;
mod frame;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod held;
mod index;
mod reader;
mod recovery;
mod scan;
mod segment;
mod spares;
mod verify;
mod window;
mod writer;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use error::{
    AppendError, Damage, Evidence, OpenError, OptionsError, Problem, ReadError, RemoveError,
};
pub use format::FrameHash;
pub use frame::{FrameBuilder, FrameView, Records};
pub use held::{HeldSegment, HeldSegments};
pub use index::{JournalIndex, SegmentInfo, SegmentState};
pub use reader::{FrameCursor, JournalReader};
pub use spares::JournalRoom;
pub use verify::{JournalFiles, JournalSummary, TornTail, verify_journal};
pub use writer::{Journal, JournalPosition, Sealed};

use format::{FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES};

/// The segment size of production, in bytes.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;
/// The smallest segment size, for tests, in bytes.
pub const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// The largest segment size, in bytes.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// The largest record that segments of 32 MiB and more take, in bytes.
pub const RECORD_BYTES_MAX: usize = 24 << 20;

/// The most that a frame adds to its records: its header, padding, and a sealing frame after it, in bytes.
const FRAME_OVERHEAD_BYTES: u64 = 2 * FRAME_HEADER_BYTES as u64 + 8;
/// The largest frame, where the segment has room for it: one record of [`RECORD_BYTES_MAX`], or as much of smaller ones.
const FRAME_BYTES_MAX: u64 = RECORD_BYTES_MAX as u64 + (64 << 10);

/// The most that a record of `record_len` bytes can take from the room, in bytes: if it got a frame of its own.
pub const fn room_for_record(record_len: usize) -> u64 {
    record_len as u64 + format::RECORD_LENGTH_BYTES as u64 + FRAME_OVERHEAD_BYTES
}

/// When an append may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// After an fdatasync that succeeded: what was appended survives power loss.
    Fsync,
    /// After the write: survives the end of the process, but not of the machine. After a power loss the journal
    /// may have holes, which recovery refuses.
    Memory,
}

/// Who prepares spare segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpareKeeping {
    /// A background thread, which also retries while the disk is full.
    Thread,
    /// The journal itself when it opens and rolls, and whoever calls [`Journal::tend_spares`]. For simulations,
    /// which own all threads and time.
    Inline,
}

/// How spare segments are prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpareFilling {
    /// Reserved and then written with zeros. Twice the bytes to the disk, but an append into written blocks changes no
    /// metadata: the fdatasync of a small frame is quicker for it.
    Zeroed,
    /// Only reserved (fallocate).
    Reserved,
}

/// How a journal is kept.
#[derive(Debug, Clone)]
pub struct JournalOptions {
    /// Size of new segments in bytes: a multiple of 4096 from [`SEGMENT_BYTES_MIN`] to [`SEGMENT_BYTES_MAX`];
    /// at least 32 MiB for records of [`RECORD_BYTES_MAX`].
    pub segment_bytes: u64,
    /// When an append may answer.
    pub durability: Durability,
    /// Who prepares spare segments.
    pub spare_keeping: SpareKeeping,
    /// How they are prepared.
    pub spare_filling: SpareFilling,
    /// Bytes of the file system left free for others: no spare is made that would go below.
    pub free_bytes_kept: u64,
    /// Where segments go when they are no longer needed; without it they are deleted.
    pub archive: Option<PathBuf>,
}

impl JournalOptions {
    /// Options for production: 64 MiB segments, prepared by a thread, 64 MiB of the disk left to others.
    pub fn new(durability: Durability) -> JournalOptions {
        JournalOptions {
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            durability,
            spare_keeping: SpareKeeping::Thread,
            spare_filling: match durability {
                Durability::Fsync => SpareFilling::Zeroed,
                // There is no sync of small frames that zeros could make quicker.
                Durability::Memory => SpareFilling::Reserved,
            },
            free_bytes_kept: 64 << 20,
            archive: None,
        }
    }

    /// The largest frame ([`FrameBuilder::len`]) that a journal with these options takes, in bytes.
    pub fn frame_bytes_max(&self) -> u64 {
        // A sealing frame always fits beside the largest one, so that no segment ends without a record.
        let capacity = self.segment_bytes - SEGMENT_HEADER_BYTES as u64;
        FRAME_BYTES_MAX.min(capacity - FRAME_HEADER_BYTES as u64)
    }

    fn check(&self) -> Result<(), OptionsError> {
        let within = (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes);
        if within && self.segment_bytes.is_multiple_of(SEGMENT_HEADER_BYTES as u64) {
            Ok(())
        } else {
            Err(OptionsError { segment_bytes: self.segment_bytes })
        }
    }
}
