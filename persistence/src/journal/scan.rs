//! Walking segments from frame to frame, verifying all of it, and judging how they end.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::error::{Damage, Evidence, OpenError, Problem};
use super::format::{
    ChainKey, FRAME_ALIGNMENT, FRAME_HEADER_BYTES, FrameHash, FrameHeader, FrameKind,
    SEGMENT_HEADER_BYTES, SegmentHeader,
};
use super::frame::FrameView;
use super::index::SparsePoints;
use super::segment::SegmentFile;
use super::window::ReadWindow;
use crate::disk::{Disk, DiskFile, OpenMode};

/// How much of a segment is read at a time.
const SCAN_CHUNK_BYTES: usize = 1 << 20;

/// Where the journal stands after a frame: what the next frame must fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) next_seq: u64,
    pub(super) last_hash: FrameHash,
    pub(super) last_data_hash: FrameHash,
    pub(super) state_hash: u64,
    /// The last frame is a seal, or there is none.
    pub(super) sealed: bool,
}

impl Chain {
    /// Where a journal without a frame stands.
    pub(super) const START: Chain = Chain {
        next_seq: 1,
        last_hash: FrameHash::GENESIS,
        last_data_hash: FrameHash::GENESIS,
        state_hash: 0,
        sealed: true,
    };

    /// Where the journal stood when the segment began.
    pub(super) fn before(header: &SegmentHeader) -> Chain {
        Chain {
            next_seq: header.first_seq,
            last_hash: header.previous,
            last_data_hash: header.previous_data,
            state_hash: header.state_hash,
            sealed: header.first_seq == 1 || header.previous != header.previous_data,
        }
    }

    /// The header of a segment that begins here.
    pub(super) fn segment_header(
        &self,
        directory: uuid::Uuid,
        segment_bytes: u64,
    ) -> SegmentHeader {
        SegmentHeader {
            directory,
            first_seq: self.next_seq,
            segment_bytes,
            state_hash: self.state_hash,
            previous: self.last_hash,
            previous_data: self.last_data_hash,
        }
    }

    /// Checks that the frame follows here.
    pub(super) fn check(&self, header: &FrameHeader) -> Result<(), Problem> {
        if header.first_seq != self.next_seq {
            return Err(Problem::SeqJump { expected: self.next_seq, found: header.first_seq });
        }
        if header.previous != self.last_hash {
            return Err(Problem::ChainBroken);
        }
        if header.kind == FrameKind::Seal && header.state_hash != self.state_hash {
            return Err(Problem::StateHash);
        }
        Ok(())
    }

    pub(super) fn advance(&mut self, header: &FrameHeader) {
        self.next_seq = header.last_seq() + 1;
        self.last_hash = header.hash;
        self.state_hash = header.state_hash;
        self.sealed = header.kind == FrameKind::Seal;
        if header.kind == FrameKind::Data {
            self.last_data_hash = header.hash;
        }
    }
}

/// The frame at `offset`, with checksums verified: its header and all its bytes.
pub(super) fn read_frame<'w>(
    window: &'w mut ReadWindow,
    key: &ChainKey,
    offset: u64,
    limit: u64,
) -> io::Result<Result<(FrameHeader, &'w [u8]), Problem>> {
    let header = match read_frame_header(window, key, offset, limit)? {
        Ok(header) => header,
        Err(problem) => return Ok(Err(problem)),
    };
    let Some(frame) = window.bytes(offset, header.frame_len(), limit)? else {
        return Ok(Err(Problem::FrameContent));
    };
    Ok(header.check_payload(&frame[FRAME_HEADER_BYTES..]).map(|()| (header, frame)))
}

/// The header of the frame at `offset`, verified.
pub(super) fn read_frame_header(
    window: &mut ReadWindow,
    key: &ChainKey,
    offset: u64,
    limit: u64,
) -> io::Result<Result<FrameHeader, Problem>> {
    Ok(match window.bytes(offset, FRAME_HEADER_BYTES, limit)? {
        Some(bytes) => match bytes.first_chunk() {
            Some(bytes) => FrameHeader::decode(key, bytes),
            None => Err(Problem::NotAFrame),
        },
        None => Err(Problem::NotAFrame),
    })
}

/// The last frame of a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct FramePlace {
    pub(super) offset: u64,
    pub(super) len: usize,
}

/// A segment that was walked.
#[derive(Debug)]
pub(super) struct ScannedSegment {
    pub(super) file: SegmentFile,
    /// Where its last valid frame ends.
    pub(super) end: u64,
    pub(super) frames: u64,
    pub(super) last_frame: Option<FramePlace>,
    pub(super) points: SparsePoints,
    /// Where the journal stands after it.
    pub(super) chain: Chain,
}

/// Bytes behind the last valid frame that a crash left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TornBytes {
    pub(super) from: u64,
    /// Behind the last byte that is not zero.
    pub(super) to: u64,
    pub(super) problem: Problem,
}

/// What a walk over segments found.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) segments: Vec<ScannedSegment>,
    /// Where the journal stands at the end.
    pub(super) chain: Chain,
    /// What is to be cut from the last segment.
    pub(super) torn: Option<TornBytes>,
}

/// Walks over `segments`, which must be all from some place to the newest, verifies everything and shows each frame
/// with records to `visit`. Nothing on the disk is changed.
pub(super) fn walk<E>(
    disk: &dyn Disk,
    dir: &Path,
    key: &ChainKey,
    segments: &[SegmentFile],
    visit: &mut dyn FnMut(FrameView<'_>) -> Result<(), E>,
) -> Result<Walked, OpenError<E>> {
    let chain = segments.first().map_or(Chain::START, |first| Chain::before(&first.header));
    let mut walked = Walked { segments: Vec::with_capacity(segments.len()), chain, torn: None };
    let mut window = None;
    for (number, segment) in segments.iter().enumerate() {
        check_segment_follows(dir, &walked.chain, segment)?;
        let file = disk
            .open(&segment.path, OpenMode::Read)
            .map_err(OpenError::io("open", &segment.path))?;
        let window = window_over(&mut window, file);
        let scanned = scan_frames(window, key, segment, &mut walked.chain, visit)?;
        let (scanned, problem) = scanned;
        let is_last = number + 1 == segments.len();
        let tail = Tail { segment, at: scanned.end, problem, chain: walked.chain };
        let torn = tail.judge(window, key)?;
        match torn {
            Some(torn) if !is_last => {
                return Err(Damage::at(&segment.path, torn.from, torn.problem).into());
            }
            other => walked.torn = other,
        }
        walked.segments.push(scanned);
    }
    Ok(walked)
}

/// Where the last whole frame ends of a segment that another process may be writing.
pub(super) fn whole_frames_end(
    file: Arc<dyn DiskFile>,
    key: &ChainKey,
    segment: &SegmentFile,
) -> Result<u64, OpenError<Infallible>> {
    let mut window = ReadWindow::new(file, SCAN_CHUNK_BYTES);
    let mut chain = Chain::before(&segment.header);
    let (scanned, problem) = scan_frames(&mut window, key, segment, &mut chain, &mut |_| Ok(()))?;
    Tail { segment, at: scanned.end, problem, chain }.judge::<Infallible>(&mut window, key)?;
    Ok(scanned.end)
}

fn window_over(window: &mut Option<ReadWindow>, file: Arc<dyn DiskFile>) -> &mut ReadWindow {
    match window {
        Some(window) => {
            window.turn_to(file);
            window
        }
        None => window.insert(ReadWindow::new(file, SCAN_CHUNK_BYTES)),
    }
}

fn check_segment_follows<E>(
    dir: &Path,
    chain: &Chain,
    segment: &SegmentFile,
) -> Result<(), OpenError<E>> {
    let header = &segment.header;
    if header.first_seq > chain.next_seq {
        let first_missing = chain.next_seq;
        return Err(OpenError::MissingSegment { dir: dir.to_owned(), first_missing });
    }
    let problem = if header.first_seq < chain.next_seq {
        Problem::SeqJump { expected: chain.next_seq, found: header.first_seq }
    } else if header.previous != chain.last_hash || header.previous_data != chain.last_data_hash {
        Problem::ChainBroken
    } else if header.state_hash != chain.state_hash {
        Problem::StateHash
    } else {
        return Ok(());
    };
    Err(Damage::at(&segment.path, 0, problem).into())
}

/// Walks the frames of one segment as far as they are valid, and says what stands there instead of the next.
fn scan_frames<E>(
    window: &mut ReadWindow,
    key: &ChainKey,
    segment: &SegmentFile,
    chain: &mut Chain,
    visit: &mut dyn FnMut(FrameView<'_>) -> Result<(), E>,
) -> Result<(ScannedSegment, Problem), OpenError<E>> {
    let mut scanned = ScannedSegment {
        file: segment.clone(),
        end: SEGMENT_HEADER_BYTES as u64,
        frames: 0,
        last_frame: None,
        points: SparsePoints::default(),
        chain: *chain,
    };
    let limit = segment.header.segment_bytes;
    loop {
        let offset = scanned.end;
        let found =
            read_frame(window, key, offset, limit).map_err(OpenError::io("read", &segment.path))?;
        let (header, frame) = match found {
            Ok(found) => found,
            Err(problem) => {
                scanned.chain = *chain;
                return Ok((scanned, problem));
            }
        };
        let (hashed, payload) = (&frame[..48], &frame[FRAME_HEADER_BYTES..]);
        chain
            .check(&header)
            .and_then(|()| match key.frame_hash(hashed, payload) == header.hash {
                true => Ok(()),
                false => Err(Problem::FrameHash),
            })
            .map_err(|problem| Damage::at(&segment.path, offset, problem))?;
        chain.advance(&header);
        scanned.frames += 1;
        scanned.last_frame = Some(FramePlace { offset, len: frame.len() });
        scanned.end += frame.len() as u64;
        if header.kind == FrameKind::Data {
            scanned.points.note(header.first_seq, offset);
            visit(FrameView::new(header, payload)).map_err(OpenError::Visit)?;
        }
    }
}

/// The place in a segment where no valid frame follows.
struct Tail<'a> {
    segment: &'a SegmentFile,
    at: u64,
    problem: Problem,
    chain: Chain,
}

impl Tail<'_> {
    /// Decides by the rule of the module above: `None` when only zeros follow, the bytes to cut when a torn frame does,
    /// and an error when it can be anything else.
    fn judge<E>(
        &self,
        window: &mut ReadWindow,
        key: &ChainKey,
    ) -> Result<Option<TornBytes>, OpenError<E>> {
        let limit = self.segment.header.segment_bytes;
        let path = &self.segment.path;
        let unread = |source| OpenError::io("read", path)(source);
        if window.first_nonzero(self.at, limit).map_err(unread)?.is_none() {
            return Ok(None);
        }
        let frame_end = match self.problem {
            Problem::NotAFrame | Problem::FrameHeaderChecksum => None,
            Problem::PayloadChecksum => {
                match read_frame_header(window, key, self.at, limit).map_err(unread)? {
                    Ok(header) => {
                        let fits = self.chain.check(&header);
                        fits.map_err(|problem| Damage::at(path, self.at, problem))?;
                        Some(self.at + header.frame_len() as u64)
                    }
                    Err(_) => None,
                }
            }
            // The checksums hold, so this was written like that: no crash tears a frame into another one.
            problem => return Err(Damage::at(path, self.at, problem).into()),
        };
        let (to, evidence) = self.look_behind(window, key, frame_end).map_err(unread)?;
        match evidence {
            None => Ok(Some(TornBytes { from: self.at, to, problem: self.problem })),
            evidence => Err(Damage { evidence, ..Damage::at(path, self.at, self.problem) }.into()),
        }
    }

    /// Where the last byte that is not zero ends, and what shows that this is no torn frame. `frame_end` is where the
    /// frame here ends, if its header is whole: what its records look like is no evidence then, and all that is behind is.
    fn look_behind(
        &self,
        window: &mut ReadWindow,
        key: &ChainKey,
        frame_end: Option<u64>,
    ) -> io::Result<(u64, Option<Evidence>)> {
        let limit = self.segment.header.segment_bytes;
        let search_from = frame_end.unwrap_or(self.at + FRAME_ALIGNMENT as u64);
        let mut end = self.at;
        let mut offset = self.at;
        let mut candidates = Vec::new();
        while offset < limit {
            let len = (limit - offset).min(SCAN_CHUNK_BYTES as u64) as usize;
            let Some(bytes) = window.bytes(offset, len, limit)? else { break };
            if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
                end = offset + last as u64 + 1;
            }
            let aligned = bytes.chunks(FRAME_ALIGNMENT).enumerate();
            let headers = aligned.filter(|(_, chunk)| FrameHeader::looks_like(chunk));
            candidates.extend(headers.map(|(at, _)| offset + (at * FRAME_ALIGNMENT) as u64));
            for candidate in candidates.drain(..).filter(|at| *at >= search_from) {
                let found = read_frame_header(window, key, candidate, limit)?;
                if self.is_no_record(candidate, &found) {
                    return Ok((end, Some(Evidence::Frame(candidate))));
                }
            }
            offset += len as u64;
        }
        Ok((end, frame_end.filter(|frame_end| end > *frame_end).map(Evidence::Bytes)))
    }

    /// What was found at `candidate` is a frame, and can not be what a record of the frame here holds.
    fn is_no_record(&self, candidate: u64, found: &Result<FrameHeader, Problem>) -> bool {
        match found {
            // A record may hold a copy of an older frame. No record stands where the header of the frame here would.
            Ok(header) => {
                header.first_seq >= self.chain.next_seq
                    || candidate < self.at + FRAME_HEADER_BYTES as u64
            }
            Err(Problem::NewerFormat { .. } | Problem::FrameContent) => true,
            Err(_) => false,
        }
    }
}
