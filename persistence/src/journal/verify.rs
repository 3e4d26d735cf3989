//! Looking at a whole journal without changing it, as `florin verify` does.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::error::{OpenError, Problem};
use super::format::{ChainKey, FrameHash};
use super::frame::FrameView;
use super::scan::walk;
use super::segment::{SegmentFile, list_segments};
use crate::disk::{Disk, OpenMode};

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
    /// Hash of the last frame with records.
    pub last_data_hash: FrameHash,
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
    JournalFiles::list(disk, dir, None, directory)?.read(disk, 0, visit)
}

/// The segments of a journal that nobody writes: those in its directory, and before them those in an archive.
#[derive(Debug)]
pub struct JournalFiles {
    dir: PathBuf,
    key: ChainKey,
    segments: Vec<SegmentFile>,
}

impl JournalFiles {
    /// Lists the segments in `dir` and in `archive`, and checks their headers.
    ///
    /// # Errors
    /// A directory can not be listed, or a segment is not one of the data directory `directory`.
    pub fn list<E>(
        disk: &dyn Disk,
        dir: &Path,
        archive: Option<&Path>,
        directory: Uuid,
    ) -> Result<JournalFiles, OpenError<E>> {
        let mut segments = list_segments(disk, dir, directory)?.segments;
        if let Some(archive) = archive {
            let archived = list_segments(disk, archive, directory)?.segments;
            // A crash while a segment was moved leaves it in both.
            let oldest = segments.first().map_or(u64::MAX, |segment| segment.header.first_seq);
            let before = archived.into_iter().filter(|segment| segment.header.first_seq < oldest);
            segments.splice(..0, before);
        }
        Ok(JournalFiles { dir: dir.to_owned(), key: ChainKey::new(directory), segments })
    }

    /// Seq of the oldest record, and the hash of the last frame with records before it.
    #[must_use]
    pub fn begin(&self) -> (u64, FrameHash) {
        match self.segments.first() {
            Some(first) => (first.header.first_seq, first.header.previous_data),
            None => (1, FrameHash::GENESIS),
        }
    }

    /// Walks over the segments from the one that holds `seq`, or from the oldest, as [`verify_journal`] does.
    ///
    /// # Errors
    /// The first damage found, or what `visit` refused with.
    pub fn read<E>(
        &self,
        disk: &dyn Disk,
        seq: u64,
        visit: &mut dyn FnMut(FrameView<'_>) -> Result<(), E>,
    ) -> Result<JournalSummary, OpenError<E>> {
        let behind = self.segments.partition_point(|segment| segment.header.first_seq <= seq);
        let segments = &self.segments[behind.saturating_sub(1)..];
        let walked = walk(disk, &self.dir, &self.key, segments, visit)?;
        let first = segments.first();
        let torn_tail = walked.segments.last().zip(walked.torn).map(|(segment, torn)| TornTail {
            path: segment.file.path.to_path_buf(),
            offset: torn.from,
            bytes: torn.to - torn.from,
            problem: torn.problem,
        });
        Ok(JournalSummary {
            segments: walked.segments.len(),
            frames: walked.segments.iter().map(|segment| segment.frames).sum(),
            bytes: segments.iter().map(|segment| segment.header.segment_bytes).sum(),
            first_seq: first.map_or(1, |segment| segment.header.first_seq),
            last_seq: walked.chain.next_seq - 1,
            last_frame_hash: walked.chain.last_hash,
            last_data_hash: walked.chain.last_data_hash,
            state_hash: walked.chain.state_hash,
            is_sealed: walked.chain.sealed,
            torn_tail,
        })
    }

    /// Makes what was read of the newest segment durable: a crash may have left it in memory only.
    ///
    /// # Errors
    /// What the disk says.
    pub fn sync_newest(&self, disk: &dyn Disk) -> std::io::Result<()> {
        match self.segments.last() {
            Some(newest) => disk.open(&newest.path, OpenMode::ReadWrite)?.sync_data(),
            None => Ok(()),
        }
    }
}
