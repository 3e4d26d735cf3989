//! The segments of a journal that another process may be writing, held open so that they can be copied even if they are removed meanwhile.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use uuid::Uuid;

use super::error::OpenError;
use super::format::{ChainKey, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::scan::whole_frames_end;
use super::segment::{SEGMENT_SUFFIX, SegmentFile, mark_newest, open_segment};
use crate::disk::{Disk, DiskFile, OpenMode};

/// How often the end of a segment that is being written is looked at again: a frame that is half written when it is looked at can be followed
/// by others a moment later, which is what damage looks like too. Damage stays.
const LOOKS_MAX: u32 = 40;
/// How long to wait between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(25);

/// One segment that is held open.
#[derive(Debug)]
pub struct HeldSegment {
    segment: SegmentFile,
    file: Arc<dyn DiskFile>,
}

impl HeldSegment {
    /// Seq of its first record.
    #[must_use]
    pub fn first_seq(&self) -> u64 {
        self.segment.header.first_seq
    }

    /// Its length, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segment.header.segment_bytes
    }

    /// Its name in the directory.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{:020}{SEGMENT_SUFFIX}", self.first_seq())
    }

    /// Its file.
    #[must_use]
    pub fn file(&self) -> &dyn DiskFile {
        &*self.file
    }

    /// Whether the file at `path` begins with the same header, so that everything before its first record is the same.
    ///
    /// # Errors
    /// The disk failed; a file that is not there is not the same.
    pub fn begins_like(&self, disk: &dyn Disk, path: &Path) -> io::Result<bool> {
        let file = match disk.open(path, OpenMode::Read) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            file => file?,
        };
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        let read = file.read_at(&mut bytes, 0)?;
        let header = SegmentHeader::decode(&bytes);
        Ok(read == bytes.len() && header.is_ok_and(|header| header == self.segment.header))
    }
}

/// Segments of one journal, oldest first.
#[derive(Debug)]
pub struct HeldSegments {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    directory: Uuid,
    held: BTreeMap<u64, HeldSegment>,
}

impl HeldSegments {
    /// Holds the segments that are in `dir` now, the journal of the data directory `directory`.
    ///
    /// # Errors
    /// The disk failed, or a segment is not one of this journal.
    pub fn hold(
        disk: Arc<dyn Disk>,
        dir: &Path,
        directory: Uuid,
    ) -> Result<HeldSegments, OpenError<Infallible>> {
        let dir = dir.to_owned();
        let mut segments = HeldSegments { disk, dir, directory, held: BTreeMap::new() };
        segments.hold_new()?;
        Ok(segments)
    }

    /// Holds those too that came since.
    ///
    /// # Errors
    /// As [`HeldSegments::hold`].
    pub fn hold_new(&mut self) -> Result<(), OpenError<Infallible>> {
        let entries = self.disk.list(&self.dir).map_err(OpenError::io("list", &self.dir))?;
        for entry in entries {
            let Some(digits) = entry.name.strip_suffix(SEGMENT_SUFFIX) else { continue };
            if digits.parse::<u64>().is_ok_and(|first_seq| self.held.contains_key(&first_seq)) {
                continue;
            }
            let path = self.dir.join(&entry.name);
            match open_segment(&*self.disk, path, digits, self.directory) {
                Ok((segment, file)) => {
                    let first_seq = segment.header.first_seq;
                    self.held.insert(first_seq, HeldSegment { segment, file });
                }
                // It was removed meanwhile.
                Err(OpenError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The segments, oldest first. All but the last were complete when they were last listed, and never change.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &HeldSegment> {
        self.held.values()
    }

    /// Where the last whole frame of a segment ends that may be being written, in bytes.
    ///
    /// # Errors
    /// The disk failed, or the segment is damaged.
    pub fn whole_frames_end(&self, of: &HeldSegment) -> Result<u64, OpenError<Infallible>> {
        let key = ChainKey::new(self.directory);
        let mut looks = 1;
        loop {
            match whole_frames_end(Arc::clone(&of.file), &key, &of.segment) {
                Err(OpenError::Damaged(_)) if looks < LOOKS_MAX => {
                    looks += 1;
                    thread::sleep(BETWEEN_LOOKS);
                }
                found => return found,
            }
        }
    }

    /// Notes in `dir`, where the segments were copied, which one is the newest.
    ///
    /// # Errors
    /// What the disk says.
    pub fn mark_newest_in(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        match self.held.last_key_value() {
            Some((first_seq, _)) => mark_newest(disk, dir, *first_seq),
            None => Ok(()),
        }
    }
}
