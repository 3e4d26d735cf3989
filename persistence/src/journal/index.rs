//! What the journal holds and where: shared by the writer, the readers and whoever removes old segments.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::error::RemoveError;
use super::format::{ChainKey, FrameHash, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::scan::{Chain, ScannedSegment};
use crate::disk::{Disk, OpenMode};

/// One entry of the sparse index stands for this many bytes of journal.
pub(super) const POINT_EVERY_BYTES: u64 = 64 << 10;
/// How much is copied at a time when an archive is on another file system.
const COPY_CHUNK_BYTES: usize = 1 << 20;

/// Where a frame with records begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SparsePoint {
    pub(super) first_seq: u64,
    pub(super) offset: u64,
}

/// Some of the frames of one segment, in order: 16 bytes for every 64 KiB.
#[derive(Debug, Clone, Default)]
pub(super) struct SparsePoints(Vec<SparsePoint>);

impl SparsePoints {
    fn with_room_for(segment_bytes: u64) -> SparsePoints {
        SparsePoints(Vec::with_capacity((segment_bytes / POINT_EVERY_BYTES) as usize + 1))
    }

    /// Notes a frame if it is far enough from the last one noted.
    pub(super) fn note(&mut self, first_seq: u64, offset: u64) {
        if offset >= self.next_offset() {
            self.0.push(SparsePoint { first_seq, offset });
        }
    }

    /// The first offset at which a frame would be noted.
    fn next_offset(&self) -> u64 {
        self.0.last().map_or(0, |last| last.offset + POINT_EVERY_BYTES)
    }

    /// The last noted frame that begins at or before `seq`.
    fn before(&self, seq: u64) -> Option<SparsePoint> {
        let behind = self.0.partition_point(|point| point.first_seq <= seq);
        behind.checked_sub(1).map(|at| self.0[at])
    }
}

/// Whether a segment can still grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentState {
    /// The writer appends to it.
    Active,
    /// It is complete and never changes again.
    Sealed,
}

/// What is known of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its file.
    pub path: Arc<Path>,
    /// Whether it can still grow.
    pub state: SegmentState,
    /// Seq of its first record.
    pub first_seq: u64,
    /// Seq of its last durable record; `first_seq - 1` when it has none yet.
    pub last_seq: u64,
    /// Length of the file, in bytes.
    pub bytes: u64,
    /// Hash of the last frame with records before the segment.
    pub previous_data_hash: FrameHash,
    /// State hash before its first record.
    pub previous_state_hash: u64,
    /// Hash of its last frame, or of the one before the segment when it has none.
    pub last_frame_hash: FrameHash,
    /// Hash of its last frame with records, or of the one before the segment when it has none.
    pub last_data_hash: FrameHash,
    /// State hash after its last record.
    pub state_hash: u64,
}

#[derive(Debug)]
struct Entry {
    info: SegmentInfo,
    points: SparsePoints,
    /// No frame that readers may see ends behind this offset.
    end: u64,
}

/// Where to begin looking for a record.
#[derive(Debug)]
pub(super) struct Location {
    pub(super) path: Arc<Path>,
    pub(super) segment_first_seq: u64,
    pub(super) last_seq: u64,
    /// Offset of a frame at or before the record's.
    pub(super) offset: u64,
    /// Nothing at or behind this offset may be read.
    pub(super) limit: u64,
    /// A frame from this offset on is worth a note in the sparse index.
    pub(super) unnoted_from: u64,
}

/// The answer to where a record is.
#[derive(Debug)]
pub(super) enum Located {
    At(Location),
    /// Its segment was removed.
    Removed {
        oldest_seq: u64,
    },
    /// It is not durable, or there is no such record yet.
    NotYet,
}

/// The segments of a journal, and a sparse index into them: 16 bytes for every 64 KiB of journal.
#[derive(Debug)]
pub struct JournalIndex {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    archive: Option<PathBuf>,
    key: ChainKey,
    entries: RwLock<VecDeque<Entry>>,
    removing: Mutex<()>,
}

impl JournalIndex {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: &Path,
        archive: Option<PathBuf>,
        key: ChainKey,
    ) -> JournalIndex {
        JournalIndex {
            disk,
            dir: dir.to_owned(),
            archive,
            key,
            entries: RwLock::default(),
            removing: Mutex::default(),
        }
    }

    /// All segments, oldest first; the last one is active.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.read().iter().map(|entry| entry.info.clone()).collect()
    }

    /// The sealed segments, oldest first.
    pub fn sealed_segments(&self) -> Vec<SegmentInfo> {
        let mut segments = self.segments();
        segments.retain(|segment| segment.state == SegmentState::Sealed);
        segments
    }

    /// Seq of the oldest record that is still in the journal, or would be: one more than the last when there is none.
    pub fn oldest_seq(&self) -> u64 {
        self.read().front().map_or(1, |entry| entry.info.first_seq)
    }

    /// Seq of the last record that an append has returned for; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.read().back().map_or(0, |entry| entry.info.last_seq)
    }

    /// Bytes that the segments take on the disk, without spares.
    pub fn backlog_bytes(&self) -> u64 {
        self.read().iter().map(|entry| entry.info.bytes).sum()
    }

    /// Removes the segments that end at or before `seq`, oldest first, and returns how many. The active one always stays.
    /// With an archive they are moved there instead.
    ///
    /// # Errors
    /// [`RemoveError`] for the first that can not be removed; the ones before it are gone.
    pub fn remove_segments_before(&self, seq: u64) -> Result<usize, RemoveError> {
        let _one_at_a_time = self.removing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut removed = 0;
        loop {
            let oldest = self.read().front().map(|entry| entry.info.clone());
            let Some(segment) = oldest
                .filter(|oldest| oldest.state == SegmentState::Sealed && oldest.last_seq <= seq)
            else {
                return Ok(removed);
            };
            self.remove_file(&segment).map_err(|(action, source)| RemoveError {
                action,
                segment: segment.path.to_path_buf(),
                source,
            })?;
            self.write().pop_front();
            removed += 1;
        }
    }

    fn remove_file(&self, segment: &SegmentInfo) -> Result<(), (&'static str, io::Error)> {
        if let Some(archive) = &self.archive {
            self.move_to(archive, &segment.path).map_err(|error| ("archive", error))?;
        } else {
            match self.disk.remove(&segment.path) {
                // An earlier attempt removed it and then failed.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                other => other.map_err(|error| ("remove", error))?,
            }
        }
        // A crash must never leave a gap, so each is gone durably before the next goes.
        self.disk.sync_dir(&self.dir).map_err(|error| ("sync the removal of", error))
    }

    fn move_to(&self, archive: &Path, path: &Path) -> io::Result<()> {
        let Some(name) = path.file_name() else { return Ok(()) };
        let target = archive.join(name);
        if self.disk.kind(path)?.is_none() && self.disk.kind(&target)?.is_some() {
            return Ok(());
        }
        match self.disk.rename(path, &target) {
            Ok(()) => self.disk.sync_dir(archive),
            Err(error) if error.kind() == ErrorKind::CrossesDevices => {
                self.copy_to(archive, &target, path)?;
                self.disk.remove(path)
            }
            Err(error) => Err(error),
        }
    }

    fn copy_to(&self, archive: &Path, target: &Path, path: &Path) -> io::Result<()> {
        let temporary = target.with_extension("seg.tmp");
        let from = self.disk.open(path, OpenMode::Read)?;
        let to = self.disk.open(&temporary, OpenMode::CreateOrTruncate)?;
        let mut chunk = vec![0; COPY_CHUNK_BYTES];
        let mut offset = 0;
        loop {
            let read = from.read_at(&mut chunk, offset)?;
            if read == 0 {
                break;
            }
            to.write_at(&chunk[..read], offset)?;
            offset += read as u64;
        }
        to.sync_all()?;
        self.disk.rename(&temporary, target)?;
        self.disk.sync_dir(archive)
    }

    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(super) fn key(&self) -> &ChainKey {
        &self.key
    }

    /// Adds a sealed segment that recovery did not walk; `next` is the header of the one after it.
    pub(super) fn add_unscanned(
        &self,
        path: Arc<Path>,
        header: &SegmentHeader,
        next: &SegmentHeader,
    ) {
        let info = info_of(path, header, &Chain::before(next), SegmentState::Sealed);
        let end = header.segment_bytes;
        self.write().push_back(Entry { info, points: SparsePoints::default(), end });
    }

    /// Adds a segment that recovery walked.
    pub(super) fn add_scanned(&self, scanned: ScannedSegment, state: SegmentState) {
        let header = &scanned.file.header;
        let info = info_of(scanned.file.path, header, &scanned.chain, state);
        self.write().push_back(Entry { info, points: scanned.points, end: scanned.end });
    }

    /// Seals the active segment, if there is one, and adds a new one.
    pub(super) fn add_active(&self, path: Arc<Path>, header: &SegmentHeader) {
        let info = info_of(path, header, &Chain::before(header), SegmentState::Active);
        let points = SparsePoints::with_room_for(header.segment_bytes);
        let mut entries = self.write();
        if let Some(sealed) = entries.back_mut() {
            sealed.info.state = SegmentState::Sealed;
        }
        entries.push_back(Entry { info, points, end: SEGMENT_HEADER_BYTES as u64 });
    }

    /// Shows readers what was appended: the frame at `offset` up to `end`, and where the journal stands after it.
    pub(super) fn publish(&self, chain: &Chain, first_seq: u64, offset: u64, end: u64) {
        let mut entries = self.write();
        let active = entries.back_mut().expect("an open journal has an active segment");
        if chain.next_seq > first_seq {
            active.points.note(first_seq, offset);
        }
        active.info.last_seq = chain.next_seq - 1;
        active.info.last_frame_hash = chain.last_hash;
        active.info.last_data_hash = chain.last_data_hash;
        active.info.state_hash = chain.state_hash;
        active.end = end;
    }

    /// Where to begin looking for the record at `seq`.
    pub(super) fn locate(&self, seq: u64) -> Located {
        let entries = self.read();
        let behind = entries.partition_point(|entry| entry.info.first_seq <= seq);
        let Some(at) = behind.checked_sub(1) else {
            let oldest_seq = entries.front().map_or(1, |entry| entry.info.first_seq);
            return Located::Removed { oldest_seq };
        };
        let entry = &entries[at];
        if seq > entry.info.last_seq {
            return Located::NotYet;
        }
        let begin = SEGMENT_HEADER_BYTES as u64;
        Located::At(Location {
            path: Arc::clone(&entry.info.path),
            segment_first_seq: entry.info.first_seq,
            last_seq: entry.info.last_seq,
            offset: entry.points.before(seq).map_or(begin, |point| point.offset),
            limit: entry.end,
            unnoted_from: entry.points.next_offset(),
        })
    }

    /// Notes a frame that a reader met in a segment that recovery did not walk.
    pub(super) fn note(&self, segment_first_seq: u64, first_seq: u64, offset: u64) {
        let mut entries = self.write();
        let found = entries.binary_search_by_key(&segment_first_seq, |entry| entry.info.first_seq);
        if let Ok(at) = found {
            entries[at].points.note(first_seq, offset);
        }
    }

    /// The hash of the frame with records that ends at `seq`, where it is known without reading.
    pub(super) fn known_frame_hash(&self, seq: u64) -> Option<FrameHash> {
        let entries = self.read();
        let oldest = &entries.front()?.info;
        if seq + 1 == oldest.first_seq {
            return Some(oldest.previous_data_hash);
        }
        let found = entries.binary_search_by_key(&seq, |entry| entry.info.last_seq);
        found.ok().map(|at| entries[at].info.last_data_hash)
    }

    fn read(&self) -> RwLockReadGuard<'_, VecDeque<Entry>> {
        // No writer leaves the entries half changed, so a panic elsewhere does not spoil them.
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, VecDeque<Entry>> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn info_of(
    path: Arc<Path>,
    header: &SegmentHeader,
    after: &Chain,
    state: SegmentState,
) -> SegmentInfo {
    SegmentInfo {
        path,
        state,
        first_seq: header.first_seq,
        last_seq: after.next_seq - 1,
        bytes: header.segment_bytes,
        previous_data_hash: header.previous_data,
        previous_state_hash: header.state_hash,
        last_frame_hash: after.last_hash,
        last_data_hash: after.last_data_hash,
        state_hash: after.state_hash,
    }
}
