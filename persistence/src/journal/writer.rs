//! The single writer.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use uuid::Uuid;

use super::error::AppendError;
use super::format::{ChainKey, FRAME_HEADER_BYTES, FrameHash, FrameHeader, SEGMENT_HEADER_BYTES};
use super::frame::{FrameBuilder, sealing_frame};
use super::index::JournalIndex;
use super::reader::JournalReader;
use super::scan::Chain;
use super::segment::name_segment;
use super::spares::{JournalRoom, SparePool};
use super::verify::TornTail;
use super::{Durability, SpareKeeping};
use crate::disk::{Disk, DiskFile};

/// Where an appended frame stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalPosition {
    /// Seq of the frame's first record.
    pub first_seq: u64,
    /// Seq of its last record: everything up to here is durable.
    pub last_seq: u64,
    /// First seq of its segment.
    pub segment_first_seq: u64,
    /// Offset in the segment, in bytes.
    pub offset: u64,
    /// Length of the frame, in bytes.
    pub bytes: u64,
    /// Hash of the frame.
    pub frame_hash: FrameHash,
}

/// What [`Journal::seal`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealed {
    /// A sealing frame was written.
    Written,
    /// The last frame is one already, or the journal is empty.
    Already,
}

/// The segment that is appended to.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) path: Arc<Path>,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) first_seq: u64,
    pub(super) bytes: u64,
    /// Where the next frame goes.
    pub(super) offset: u64,
}

impl Active {
    fn remaining(&self) -> u64 {
        self.bytes - self.offset
    }
}

/// An open journal: its single writer.
///
/// After a write or a sync failed it takes nothing more: what the disk then holds is known to the next start only,
/// and a sync is never tried again, since a second one may claim success for pages that are lost.
#[derive(Debug)]
pub struct Journal {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) directory: Uuid,
    pub(super) key: ChainKey,
    pub(super) durability: Durability,
    pub(super) spare_keeping: SpareKeeping,
    pub(super) segment_bytes: u64,
    pub(super) frame_bytes_max: u64,
    pub(super) index: Arc<JournalIndex>,
    pub(super) pool: Arc<SparePool>,
    pub(super) keeper: Option<JoinHandle<()>>,
    pub(super) active: Active,
    pub(super) chain: Chain,
    pub(super) poisoned: bool,
    pub(super) torn_tail: Option<TornTail>,
}

impl Journal {
    /// Appends the records of `frame` as one frame, makes them durable as the options say, and clears `frame`.
    /// `state_hash` is the caller's hash of its state after the last record.
    ///
    /// # Errors
    /// After [`AppendError::Io`] the journal is poisoned. Any other error has changed nothing, and `frame` keeps its records.
    pub fn append(
        &mut self,
        frame: &mut FrameBuilder,
        state_hash: u64,
    ) -> Result<JournalPosition, AppendError> {
        self.check_appendable(frame)?;
        let frame_bytes = frame.len();
        self.make_room_in_segment(frame_bytes)?;
        let (header, bytes) =
            frame.finish(&self.key, self.chain.next_seq, state_hash, self.chain.last_hash);
        self.write(bytes)?;
        match self.durability {
            Durability::Fsync => self.sync()?,
            Durability::Memory => {}
        }
        frame.clear();
        let offset = self.active.offset;
        self.advance(&header, frame_bytes);
        Ok(JournalPosition {
            first_seq: header.first_seq,
            last_seq: header.last_seq(),
            segment_first_seq: self.active.first_seq,
            offset,
            bytes: frame_bytes,
            frame_hash: header.hash,
        })
    }

    /// Writes a sealing frame, unless the last frame is one: from then on no damage at the end passes for a torn tail.
    ///
    /// # Errors
    /// As [`Journal::append`]. A journal without room for it ([`AppendError::Full`]) is as good as before.
    pub fn seal(&mut self) -> Result<Sealed, AppendError> {
        if self.poisoned {
            return Err(AppendError::Poisoned);
        }
        if self.chain.sealed {
            return Ok(Sealed::Already);
        }
        let chain = &self.chain;
        // The seq and the hashes do not change when the segment rolls.
        let (header, bytes) =
            sealing_frame(&self.key, chain.next_seq, chain.state_hash, chain.last_hash);
        self.make_room_in_segment(FRAME_HEADER_BYTES as u64)?;
        self.write(&bytes)?;
        // Nobody waits for a seal, so that without durability too a journal at rest is on the disk.
        self.sync()?;
        self.advance(&header, FRAME_HEADER_BYTES as u64);
        Ok(Sealed::Written)
    }

    /// The handle that tells how many bytes are surely still writable.
    pub fn room(&self) -> Arc<JournalRoom> {
        Arc::clone(self.pool.room())
    }

    /// The shared list of segments.
    pub fn index(&self) -> &Arc<JournalIndex> {
        &self.index
    }

    /// A reader of what is durable.
    pub fn reader(&self) -> JournalReader {
        JournalReader::new(Arc::clone(&self.index))
    }

    /// The largest frame ([`FrameBuilder::len`]) that an append takes, in bytes.
    pub fn frame_bytes_max(&self) -> u64 {
        self.frame_bytes_max
    }

    /// The seq that the next record gets.
    pub fn next_seq(&self) -> u64 {
        self.chain.next_seq
    }

    /// Seq of the last record that was appended; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.chain.next_seq - 1
    }

    /// State hash after the last record; 0 before the first.
    pub fn state_hash(&self) -> u64 {
        self.chain.state_hash
    }

    /// True after a failed write or sync.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// What opening cut from the end, if a crash had torn the last frame.
    pub fn torn_tail(&self) -> Option<&TornTail> {
        self.torn_tail.as_ref()
    }

    /// Prepares spare segments now, until enough are ready or the disk refuses. With [`SpareKeeping::Thread`] this happens
    /// by itself.
    pub fn tend_spares(&self) {
        self.pool.tend();
    }

    fn check_appendable(&self, frame: &FrameBuilder) -> Result<(), AppendError> {
        if self.poisoned {
            return Err(AppendError::Poisoned);
        }
        if frame.is_empty() {
            return Err(AppendError::Empty);
        }
        let (frame_bytes, frame_bytes_max) = (frame.len(), self.frame_bytes_max);
        if frame_bytes > frame_bytes_max {
            return Err(AppendError::TooLarge { frame_bytes, frame_bytes_max });
        }
        let expected = self.chain.next_seq;
        match frame.expected_first_seq() {
            Some(found) if found != expected => Err(AppendError::WrongSeq { expected, found }),
            _ => Ok(()),
        }
    }

    fn make_room_in_segment(&mut self, frame_bytes: u64) -> Result<(), AppendError> {
        if frame_bytes <= self.active.remaining() {
            return Ok(());
        }
        // A power loss must not take frames from a segment that others stand behind.
        if self.durability == Durability::Memory {
            self.sync()?;
        }
        let spare = self.pool.take().map_err(|_| AppendError::Full { frame_bytes })?;
        let header = self.chain.segment_header(self.directory, self.segment_bytes);
        let path = name_segment(&*self.disk, &self.dir, &spare.path, &*spare.file, &header)
            .map_err(|(action, source)| self.poison(action, source))?;
        let path: Arc<Path> = path.into();
        self.index.add_active(Arc::clone(&path), &header);
        self.active = Active {
            path,
            file: spare.file,
            first_seq: header.first_seq,
            bytes: header.segment_bytes,
            offset: SEGMENT_HEADER_BYTES as u64,
        };
        if self.spare_keeping == SpareKeeping::Inline {
            self.pool.tend();
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), AppendError> {
        let written = self.active.file.write_at(bytes, self.active.offset);
        written.map_err(|source| self.poison("write", source))
    }

    fn sync(&mut self) -> Result<(), AppendError> {
        let synced = self.active.file.sync_data();
        synced.map_err(|source| self.poison("sync", source))
    }

    fn advance(&mut self, header: &FrameHeader, frame_bytes: u64) {
        let offset = self.active.offset;
        self.chain.advance(header);
        self.active.offset += frame_bytes;
        self.index.publish(&self.chain, header.first_seq, offset, self.active.offset);
        self.pool.set_active_remaining(self.active.remaining());
    }

    fn poison(&mut self, action: &'static str, source: io::Error) -> AppendError {
        self.poisoned = true;
        AppendError::Io { action, segment: self.active.path.to_path_buf(), source }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.pool.stop();
        if let Some(keeper) = self.keeper.take() {
            // A panic there has been reported by the panic hook, and nothing depends on its result.
            let _ = keeper.join();
        }
    }
}
