//! Looking at a whole journal without changing it, as `florin verify` does.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::error::{OpenError, Problem};
use super::format::{ChainKey, FrameHash};
use super::frame::FrameView;
use super::scan::walk;
use super::segment::list_segments;
use crate::disk::Disk;

/// A last frame that a crash has torn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The segment.
    pub path: PathBuf,
    /// Where the torn frame begins, in bytes.
    pub offset: u64,
    /// How many bytes of it are there.
    pub bytes: u64,
    /// Why it is not a frame.
    pub problem: Problem,
}

/// What a verified journal holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalSummary {
    /// Number of segments.
    pub segments: usize,
    /// Number of frames, sealing ones too.
    pub frames: u64,
    /// Bytes that the segments take on the disk.
    pub bytes: u64,
    /// Seq of the oldest record; one more than `last_seq` when there is none.
    pub first_seq: u64,
    /// Seq of the last record; 0 when there never was one.
    pub last_seq: u64,
    /// Hash of the last frame.
    pub last_frame_hash: FrameHash,
    /// State hash after the last record.
    pub state_hash: u64,
    /// True when the last frame is a sealing one, as after a clean stop, or there is none.
    pub is_sealed: bool,
    /// The torn frame that the next start will cut.
    pub torn_tail: Option<TornTail>,
}

/// Walks over all segments of the journal in `dir`, verifies checksums, hashes, the chain and that no position is missing,
/// and shows each frame with records to `visit`. Changes nothing.
///
/// # Errors
/// The first damage found, or what `visit` refused with.
pub fn verify_journal<E>(
    disk: &dyn Disk,
    dir: &Path,
    directory: Uuid,
    visit: &mut dyn FnMut(FrameView<'_>) -> Result<(), E>,
) -> Result<JournalSummary, OpenError<E>> {
    let listing = list_segments(disk, dir, directory)?;
    let walked = walk(disk, dir, &ChainKey::new(directory), &listing.segments, visit)?;
    let first = listing.segments.first();
    let torn_tail = walked.segments.last().zip(walked.torn).map(|(segment, torn)| TornTail {
        path: segment.file.path.to_path_buf(),
        offset: torn.from,
        bytes: torn.to - torn.from,
        problem: torn.problem,
    });
    Ok(JournalSummary {
        segments: walked.segments.len(),
        frames: walked.segments.iter().map(|segment| segment.frames).sum(),
        bytes: listing.segments.iter().map(|segment| segment.header.segment_bytes).sum(),
        first_seq: first.map_or(1, |segment| segment.header.first_seq),
        last_seq: walked.chain.next_seq - 1,
        last_frame_hash: walked.chain.last_hash,
        state_hash: walked.chain.state_hash,
        is_sealed: walked.chain.sealed,
        torn_tail,
    })
}
