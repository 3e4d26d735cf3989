//! Journals that are damaged in any way: recovery shows what was written, from the beginning and without a gap, or refuses.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use super::format::{ChainKey, FRAME_HEADER_BYTES, FrameKind, SEGMENT_HEADER_BYTES};
use super::frame::{FrameBuilder, sealing_frame};
use super::scan::Chain;
use super::segment::segment_path;
use super::verify_journal;
use crate::fuzzing::{Choices, DIRECTORY, MemoryDisk, MemoryFile};

/// Room for frames in each segment, in bytes.
const ROOM: usize = 1_024;
const SEGMENTS_MAX: u8 = 3;
const FRAMES_MAX: u8 = 5;

/// A frame that was written.
struct Written {
    segment: usize,
    offset: usize,
    length: usize,
    kind: FrameKind,
    first_seq: u64,
    records: Vec<Vec<u8>>,
}

/// A journal as it was written, segment by segment.
struct Journal {
    segments: Vec<(u64, Vec<u8>)>,
    frames: Vec<Written>,
}

fn write(choices: &mut Choices<'_>) -> Journal {
    let key = ChainKey::new(DIRECTORY);
    let mut chain = Chain::START;
    let mut journal = Journal { segments: Vec::new(), frames: Vec::new() };
    for segment in 0..=usize::from(choices.byte() % SEGMENTS_MAX) {
        let length = (SEGMENT_HEADER_BYTES + ROOM) as u64;
        let first_seq = chain.next_seq;
        let mut bytes = chain.segment_header(DIRECTORY, length).encode().to_vec();
        for _ in 0..=choices.byte() % FRAMES_MAX {
            let written = write_frame(&key, &mut chain, choices, &mut bytes);
            journal.frames.push(Written { segment, ..written });
        }
        bytes.resize(length as usize, 0);
        journal.segments.push((first_seq, bytes));
        // Two segments can not begin with the same record.
        if chain.next_seq == first_seq {
            break;
        }
    }
    journal
}

fn write_frame(
    key: &ChainKey,
    chain: &mut Chain,
    choices: &mut Choices<'_>,
    bytes: &mut Vec<u8>,
) -> Written {
    let (offset, first_seq) = (bytes.len(), chain.next_seq);
    let shape = choices.byte();
    let mut records = Vec::new();
    let kind = if shape.is_multiple_of(4) {
        let (header, frame) = sealing_frame(key, first_seq, chain.state_hash, chain.last_hash);
        bytes.extend_from_slice(&frame);
        chain.advance(&header);
        FrameKind::Seal
    } else {
        let mut frame = FrameBuilder::new();
        for _ in 0..shape % 4 {
            let length = usize::from(choices.byte() % 32);
            let record = choices.bytes(length).to_vec();
            frame.push_record(|bytes| bytes.extend_from_slice(&record));
            records.push(record);
        }
        let state_hash = u64::from(choices.byte());
        let (header, frame) = frame.finish(key, first_seq, state_hash, chain.last_hash);
        bytes.extend_from_slice(frame);
        chain.advance(&header);
        FrameKind::Data
    };
    Written { segment: 0, offset, length: bytes.len() - offset, kind, first_seq, records }
}

/// Damages the segments: bytes flipped, zeroed, copied from elsewhere, or the file cut.
fn damage(segments: &mut [(u64, Vec<u8>)], choices: &mut Choices<'_>) {
    while !choices.is_over() {
        let count = segments.len();
        let shape = choices.byte();
        let bytes = &mut segments[usize::from(choices.byte()) % count].1;
        if bytes.is_empty() {
            return;
        }
        // Mostly where frames are.
        let at = match shape & 16 {
            0 => SEGMENT_HEADER_BYTES + choices.number() % ROOM,
            _ => choices.number(),
        } % bytes.len();
        let length = usize::from(choices.byte());
        let end = (at + length).min(bytes.len());
        match shape % 5 {
            0 => bytes[at] ^= choices.byte(),
            1 => bytes[at..end].fill(0),
            2 => bytes[at..end].fill(choices.byte()),
            3 => {
                let from = (SEGMENT_HEADER_BYTES + choices.number() % ROOM) % bytes.len();
                let length = (end - at).min(bytes.len() - from);
                bytes.copy_within(from..from + length, at);
            }
            _ if shape & 32 != 0 => bytes.truncate(at),
            _ => {}
        }
    }
}

/// Writes a journal, damages it, and reads it back, all as `data` says.
///
/// # Panics
/// Recovery shows what was not written, or leaves out what it had to refuse to do without.
pub fn journal(data: &[u8]) {
    let mut choices = Choices(data);
    let Journal { segments, frames } = write(&mut choices);
    let mut damaged = segments.clone();
    damage(&mut damaged, &mut choices);

    let dir = Path::new("journal");
    let files = damaged.iter().map(|(first_seq, bytes)| {
        (segment_path(dir, *first_seq), Arc::new(MemoryFile(bytes.clone())))
    });
    let disk = MemoryDisk(files.collect());
    let mut shown = Vec::new();
    let read = verify_journal::<Infallible>(&disk, dir, DIRECTORY, &mut |frame| {
        let records: Vec<Vec<u8>> = frame.records().map(|(_, record)| record.to_vec()).collect();
        shown.push((frame.first_seq(), records));
        Ok(())
    });

    let written: Vec<_> = frames
        .iter()
        .filter(|frame| frame.kind == FrameKind::Data)
        .map(|frame| (frame.first_seq, frame.records.clone()))
        .collect();
    assert!(written.starts_with(&shown), "what was not written was shown");
    let Ok(summary) = read else {
        assert!(segments != damaged, "a whole journal was refused: {read:?}");
        return;
    };
    let is_changed = |frame: &Written, length: usize| {
        let part = frame.offset..frame.offset + length;
        let found = damaged[frame.segment].1.get(part.clone());
        found != Some(&segments[frame.segment].1[part])
    };
    let cut = frames.iter().position(|frame| is_changed(frame, frame.length));
    let kept = &frames[..cut.unwrap_or(frames.len())];
    let kept_data = kept.iter().filter(|frame| frame.kind == FrameKind::Data).count();
    assert_eq!(shown.len(), kept_data, "what was cut");
    if cut.is_some() {
        let is_told = summary.torn_tail.is_some() || was_zeroed(&frames[kept.len()..], &damaged);
        assert!(is_told, "what was cut was not told");
        for frame in &frames[kept.len()..] {
            assert_eq!(frame.segment, segments.len() - 1, "only the newest segment can be torn");
        }
        for frame in &frames[kept.len() + 1..] {
            assert!(is_changed(frame, FRAME_HEADER_BYTES), "a frame stood behind what was cut");
        }
    }
}

/// Whether nothing is left of these frames.
fn was_zeroed(frames: &[Written], segments: &[(u64, Vec<u8>)]) -> bool {
    frames.iter().all(|frame| {
        let bytes = segments[frame.segment].1.get(frame.offset..frame.offset + frame.length);
        bytes.is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0))
    })
}
