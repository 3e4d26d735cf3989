//! Reading durable frames back while the writer goes on.

use std::io::ErrorKind;
use std::sync::Arc;

use super::error::{Damage, Problem, ReadError};
use super::format::{FrameHash, FrameHeader, FrameKind};
use super::frame::FrameView;
use super::index::{JournalIndex, Located, Location};
use super::scan::{read_frame, read_frame_header};
use super::window::ReadWindow;
use crate::disk::OpenMode;

/// How much is read at a time: about what lies between two entries of the sparse index.
const READ_CHUNK_BYTES: usize = 128 << 10;

/// Reads records and frames that are durable. It has file handles of its own; make one for each thread.
#[derive(Debug)]
pub struct JournalReader {
    cursor: FrameCursor,
}

impl JournalReader {
    /// A reader of the journal with this index.
    pub fn new(index: Arc<JournalIndex>) -> JournalReader {
        JournalReader { cursor: FrameCursor::new(index, 1) }
    }

    /// A cursor over frames that begins with the one that holds `seq`.
    pub fn read_from(&self, seq: u64) -> FrameCursor {
        FrameCursor::new(Arc::clone(&self.cursor.index), seq)
    }

    /// The record at `seq`; `None` when there is no such durable record yet.
    ///
    /// # Errors
    /// [`ReadError::Removed`] when its segment is gone.
    pub fn read_record(&mut self, seq: u64) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.frame_with(seq)?.and_then(|frame| frame.record(seq).map(<[u8]>::to_vec)))
    }

    /// The hash of the frame that holds the record at `seq`; `None` when there is no such durable record yet. It is known for the
    /// last record before the oldest segment too, and is [`FrameHash::GENESIS`] for seq 0 of a whole journal.
    ///
    /// # Errors
    /// [`ReadError::Removed`] when its segment is gone.
    pub fn frame_hash_at(&mut self, seq: u64) -> Result<Option<FrameHash>, ReadError> {
        if let Some(hash) = self.cursor.index.known_frame_hash(seq) {
            return Ok(Some(hash));
        }
        Ok(self.frame_with(seq)?.map(|frame| frame.hash()))
    }

    fn frame_with(&mut self, seq: u64) -> Result<Option<FrameView<'_>>, ReadError> {
        self.cursor.seek(seq);
        self.cursor.next_frame(u64::MAX)
    }
}

/// A segment that a cursor has open.
#[derive(Debug)]
struct Opened {
    location: Location,
    window: ReadWindow,
    offset: u64,
    /// The hash that the next frame must name, once a frame before it was seen.
    previous: Option<FrameHash>,
}

/// A place in the journal that moves from frame to frame.
#[derive(Debug)]
pub struct FrameCursor {
    index: Arc<JournalIndex>,
    next_seq: u64,
    opened: Option<Opened>,
    /// The cursor was moved and stands nowhere in the opened segment.
    is_lost: bool,
}

impl FrameCursor {
    fn new(index: Arc<JournalIndex>, seq: u64) -> FrameCursor {
        FrameCursor { index, next_seq: seq.max(1), opened: None, is_lost: true }
    }

    /// The seq behind the last frame that was returned.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The next frame with records; `None` when none is durable yet that ends at or before `upto`. Call again when there
    /// is more. The first frame returned is the one that holds the seq the cursor began with.
    ///
    /// # Errors
    /// [`ReadError::Removed`] when the segment with the next record is gone; the cursor stays where it is.
    pub fn next_frame(&mut self, upto: u64) -> Result<Option<FrameView<'_>>, ReadError> {
        if self.next_seq > upto || !self.place()? {
            return Ok(None);
        }
        let key = self.index.key();
        let Some(opened) = &mut self.opened else { return Ok(None) };
        let header = opened.hop_to(self.next_seq, &self.index)?;
        if header.last_seq() > upto {
            return Ok(None);
        }
        let (path, offset, limit) = (&opened.location.path, opened.offset, opened.location.limit);
        let frame = read_frame(&mut opened.window, key, offset, limit)
            .map_err(ReadError::io(path))?
            .map_err(|problem| Damage::at(path, offset, problem))?;
        let (header, frame) = frame;
        opened.offset += frame.len() as u64;
        opened.previous = Some(header.hash);
        self.next_seq = header.last_seq() + 1;
        Ok(Some(FrameView::new(header, &frame[super::FRAME_HEADER_BYTES..])))
    }

    /// Moves to another record. The file stays open in case it is there too.
    fn seek(&mut self, seq: u64) {
        self.next_seq = seq.max(1);
        self.is_lost = true;
    }

    /// Sees to it that the segment with the next record is open; false when that record is not durable yet.
    fn place(&mut self) -> Result<bool, ReadError> {
        let seq = self.next_seq;
        let covered = |opened: &Opened| seq <= opened.location.last_seq;
        if !self.is_lost && self.opened.as_ref().is_some_and(covered) {
            return Ok(true);
        }
        let location = match self.index.locate(seq) {
            Located::At(location) => location,
            Located::Removed { oldest_seq } => return Err(ReadError::Removed { seq, oldest_seq }),
            Located::NotYet => return Ok(false),
        };
        match &mut self.opened {
            Some(opened) if opened.location.segment_first_seq == location.segment_first_seq => {
                if self.is_lost {
                    opened.offset = location.offset;
                    opened.previous = None;
                }
                opened.location = location;
            }
            _ => self.open(seq, location)?,
        }
        self.is_lost = false;
        Ok(true)
    }

    fn open(&mut self, seq: u64, location: Location) -> Result<(), ReadError> {
        let file = match self.index.disk().open(&location.path, OpenMode::Read) {
            Ok(file) => file,
            // It is being removed right now.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(ReadError::Removed { seq, oldest_seq: location.last_seq + 1 });
            }
            Err(error) => return Err(ReadError::io(&location.path)(error)),
        };
        let window = match self.opened.take() {
            Some(Opened { mut window, .. }) => {
                window.turn_to(file);
                window
            }
            None => ReadWindow::new(file, READ_CHUNK_BYTES),
        };
        let offset = location.offset;
        self.opened = Some(Opened { location, window, offset, previous: None });
        Ok(())
    }
}

impl Opened {
    /// Goes on to the frame that holds `seq`, from header to header.
    fn hop_to(&mut self, seq: u64, index: &JournalIndex) -> Result<FrameHeader, ReadError> {
        loop {
            let path = &self.location.path;
            let limit = self.location.limit;
            let damage = |problem| Damage::at(path, self.offset, problem);
            let header = read_frame_header(&mut self.window, index.key(), self.offset, limit)
                .map_err(ReadError::io(path))?
                .map_err(damage)?;
            if self.previous.is_some_and(|previous| previous != header.previous) {
                return Err(damage(Problem::ChainBroken).into());
            }
            if header.kind == FrameKind::Data {
                if self.offset >= self.location.unnoted_from {
                    index.note(self.location.segment_first_seq, header.first_seq, self.offset);
                    self.location.unnoted_from = self.offset + super::index::POINT_EVERY_BYTES;
                }
                if header.first_seq > seq {
                    let found = header.first_seq;
                    return Err(damage(Problem::SeqJump { expected: seq, found }).into());
                }
                if header.last_seq() >= seq {
                    return Ok(header);
                }
            }
            self.previous = Some(header.hash);
            self.offset += header.frame_len() as u64;
        }
    }
}
