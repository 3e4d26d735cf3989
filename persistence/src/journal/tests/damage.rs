use std::fs;

use super::*;
use crate::journal::format::{ChainKey, FRAME_ALIGNMENT, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES};
use crate::journal::frame::sealing_frame;

const RESTORE: &str = "nothing was changed: keep a copy of the file, then restore it from the journal archive or a backup";

fn damage(test: &TestJournal, first_seq: u64, change: impl FnOnce(&mut Vec<u8>)) {
    let path = test.segment(first_seq);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Three frames; the last one ends in a byte that is not zero, at a multiple of 8.
fn three_frames() -> (TestJournal, [JournalPosition; 3]) {
    let test = TestJournal::new();
    let mut journal = test.open().journal;
    let positions = [
        append(&mut journal, &["first record"]).unwrap(),
        append(&mut journal, &["second record", "third"]).unwrap(),
        append(&mut journal, &["fourth record 12"; 2]).unwrap(),
    ];
    assert_eq!(positions[2].bytes as usize, FRAME_HEADER_BYTES + 2 * 20);
    (test, positions)
}

fn assert_cut(test: &TestJournal, last: &JournalPosition, case: &str) {
    let before = test.verify().unwrap();
    assert_eq!(before.torn_tail.as_ref().map(|torn| torn.offset), Some(last.offset), "{case}");
    assert_eq!(before.last_seq, 3, "{case}");
    let opened = test.open();
    assert_eq!(opened.shown, texts(1, &["first record", "second record", "third"]), "{case}");
    assert_eq!(opened.journal.torn_tail(), before.torn_tail.as_ref(), "{case}");
    drop(opened);
    let after = fs::read(test.segment(1)).unwrap();
    assert!(after[last.offset as usize..].iter().all(|byte| *byte == 0), "{case}: not zeroed");
    let mut opened = test.open();
    assert_eq!(opened.journal.torn_tail(), None, "{case}");
    append(&mut opened.journal, &["fourth again"]).unwrap();
    drop(opened);
    let again = texts(1, &["first record", "second record", "third", "fourth again"]);
    assert_eq!(test.open().shown, again, "{case}");
}

/// Every way to tear the last frame at one of its bytes.
fn tears(frame: &[u8], at: usize) -> Vec<(&'static str, Vec<u8>)> {
    let mut front = frame.to_vec();
    front[at..].fill(0);
    let mut back = frame.to_vec();
    back[..at].fill(0);
    let mut flipped = frame.to_vec();
    flipped[at] ^= 0x10;
    let all = [("only its front", front), ("only its back", back), ("a flipped byte", flipped)];
    all.into_iter().filter(|(_, torn)| torn != frame && torn.iter().any(|b| *b != 0)).collect()
}

#[test]
fn a_last_frame_torn_at_any_byte_is_cut() {
    let (test, [.., last]) = three_frames();
    let whole = fs::read(test.segment(1)).unwrap();
    let extent = last.offset as usize..(last.offset + last.bytes) as usize;
    for at in 0..extent.len() {
        for (kind, torn) in tears(&whole[extent.clone()], at) {
            damage(&test, 1, |bytes| {
                bytes.copy_from_slice(&whole);
                bytes[extent.clone()].copy_from_slice(&torn);
            });
            assert_cut(&test, &last, &format!("{kind} at {at}"));
        }
    }
}

#[test]
fn the_same_damage_before_a_seal_is_refused() {
    let (test, [.., last]) = three_frames();
    let mut journal = test.open().journal;
    assert_eq!(journal.seal().unwrap(), Sealed::Written);
    drop(journal);
    let whole = fs::read(test.segment(1)).unwrap();
    let extent = last.offset as usize..(last.offset + last.bytes) as usize;
    let seal = extent.end;
    for at in 0..extent.len() {
        for (kind, torn) in tears(&whole[extent.clone()], at) {
            damage(&test, 1, |bytes| {
                bytes.copy_from_slice(&whole);
                bytes[extent.clone()].copy_from_slice(&torn);
            });
            let damaged = fs::read(test.segment(1)).unwrap();
            let refusal = test.refusal();
            let place =
                format!("{} is damaged at byte {}: ", test.segment(1).display(), last.offset);
            let place = place.replace(test.dir.path().to_str().unwrap(), "$");
            assert!(refusal.starts_with(&place), "{kind} at {at}: {refusal}");
            let behind = format!("and a frame of this journal follows at byte {seal}; {RESTORE}");
            assert!(refusal.ends_with(&behind), "{kind} at {at}: {refusal}");
            assert!(fs::read(test.segment(1)).unwrap() == damaged, "a refused file was changed");
            assert!(test.verify().is_err());
        }
    }
}

#[test]
fn a_header_behind_the_damage_is_enough_to_refuse() {
    let (test, [_, second, third]) = three_frames();
    damage(&test, 1, |bytes| {
        bytes[second.offset as usize + FRAME_HEADER_BYTES] ^= 1;
        bytes[third.offset as usize + FRAME_HEADER_BYTES] ^= 1;
    });
    assert!(test.refusal().contains("a frame of this journal follows"), "{}", test.refusal());
}

/// A write that the disk sent to the wrong place: it takes the last frame and the seal behind it.
#[test]
fn an_older_frame_over_the_last_one_and_its_seal_is_refused() {
    let test = TestJournal::new();
    let mut journal = test.open().journal;
    let old = append(&mut journal, &[filler(1, 600)]).unwrap();
    let last = append(&mut journal, &[filler(2, 200)]).unwrap();
    assert_eq!(journal.seal().unwrap(), Sealed::Written);
    drop(journal);
    let whole = fs::read(test.segment(1)).unwrap();
    let image = &whole[old.offset as usize..(old.offset + old.bytes) as usize];
    let behind = (last.offset + last.bytes) as usize;
    for at in (last.offset as usize..behind).step_by(FRAME_ALIGNMENT) {
        damage(&test, 1, |bytes| {
            bytes.copy_from_slice(&whole);
            bytes[at..at + image.len()].copy_from_slice(image);
        });
        let refusal = test.refusal();
        let header_bytes_left = at - last.offset as usize;
        let expected = match header_bytes_left {
            0 => "it begins at record 1 where record 2 was due".to_owned(),
            1..FRAME_HEADER_BYTES => format!("a frame of this journal follows at byte {at}"),
            _ => format!("more was written behind byte {behind}, where the frame ended"),
        };
        assert!(refusal.contains(&expected), "at {at}: {refusal}");
        assert!(test.verify().is_err(), "at {at}");
    }
    // Of the write that came to the last frame's place, only the header.
    damage(&test, 1, |bytes| {
        bytes.copy_from_slice(&whole);
        let (header, rest) = bytes[last.offset as usize..].split_at_mut(FRAME_HEADER_BYTES);
        header.copy_from_slice(&image[..FRAME_HEADER_BYTES]);
        rest.fill(0);
    });
    assert!(test.refusal().contains("it begins at record 1 where record 2 was due"));
}

#[test]
fn a_torn_record_that_looks_like_frames_is_still_cut() {
    let test = TestJournal::new();
    let mut journal = test.open().journal;
    let first = append(&mut journal, &["an older frame"]).unwrap();
    let old = first.offset as usize..(first.offset + first.bytes) as usize;
    let image = fs::read(test.segment(1)).unwrap()[old].to_vec();
    // A frame of this journal that comes later, and one of another journal, as bytes of a record.
    let other = TestJournal::new();
    let mut other_journal = other.open().journal;
    append(&mut other_journal, &["an older frame"]).unwrap();
    let later = append(&mut other_journal, &["later"]).unwrap();
    let later = later.offset as usize..(later.offset + later.bytes) as usize;
    let later = fs::read(other.segment(1)).unwrap()[later].to_vec();
    let padded = [b"1234".as_slice(), &image, &later, &later, b"end"].concat();
    let last = append(&mut journal, &[padded]).unwrap();
    drop(journal);
    // With a whole header the extent of the frame is known, and with a damaged one older frames prove nothing.
    damage(&test, 1, |bytes| bytes[(last.offset + last.bytes) as usize - 8] ^= 1);
    let opened = test.open();
    assert_eq!(opened.shown, texts(1, &["an older frame"]));
    drop(opened);
    let mut journal = test.open().journal;
    let last = append(&mut journal, &[[b"1234".as_slice(), &image].concat()]).unwrap();
    drop(journal);
    damage(&test, 1, |bytes| bytes[last.offset as usize + 8] ^= 1);
    assert_eq!(test.open().shown, texts(1, &["an older frame"]));
}

#[test]
fn a_frame_that_was_written_with_another_history_is_refused() {
    let (test, [_, second, third]) = three_frames();
    let (frame, hole) = (third.offset as usize, second.offset as usize);
    // The third frame in the place of the second: whole, but not what follows.
    damage(&test, 1, |bytes| {
        let moved = bytes[frame..frame + third.bytes as usize].to_vec();
        bytes[hole..].fill(0);
        bytes[hole..hole + moved.len()].copy_from_slice(&moved);
    });
    let expected = format!(
        "$/00000000000000000001.seg is damaged at byte {hole}: it begins at record 4 where record 2 was due; {RESTORE}"
    );
    assert_eq!(test.refusal(), expected);

    let (test, [_, second, _]) = three_frames();
    let other = TestJournal::new();
    let mut journal = other.open().journal;
    append(&mut journal, &["another record"]).unwrap();
    let foreign = append(&mut journal, &["and another"]).unwrap();
    drop(journal);
    let foreign_bytes = fs::read(other.segment(1)).unwrap();
    let foreign = foreign.offset as usize..(foreign.offset + foreign.bytes) as usize;
    damage(&test, 1, |bytes| {
        let hole = second.offset as usize;
        bytes[hole..].fill(0);
        bytes[hole..hole + foreign.len()].copy_from_slice(&foreign_bytes[foreign]);
    });
    assert!(test.refusal().contains("names another frame before it"), "{}", test.refusal());
}

#[test]
fn a_record_that_was_changed_together_with_its_checksums_is_refused() {
    let (test, [_, second, _]) = three_frames();
    let key = ChainKey::new(DIRECTORY);
    damage(&test, 1, |bytes| {
        let frame = &mut bytes[second.offset as usize..(second.offset + second.bytes) as usize];
        let (header, payload) = frame.split_at_mut(FRAME_HEADER_BYTES);
        payload[5] ^= 1;
        header[64..68].copy_from_slice(&crc32c::crc32c(payload).to_le_bytes());
        let header_crc = key.header_crc(&header[..68]);
        header[68..72].copy_from_slice(&header_crc.to_le_bytes());
    });
    assert!(test.refusal().contains("hash of the frame does not match"), "{}", test.refusal());
}

#[test]
fn a_seal_that_claims_another_state_is_refused() {
    let (test, [.., last]) = three_frames();
    let key = ChainKey::new(DIRECTORY);
    let end = (last.offset + last.bytes) as usize;
    for (state_hash, is_right) in [(5000, true), (5001, false)] {
        let (_, seal) = sealing_frame(&key, 6, state_hash, last.frame_hash);
        damage(&test, 1, |bytes| bytes[end..end + seal.len()].copy_from_slice(&seal));
        match is_right {
            true => assert!(test.verify().unwrap().is_sealed),
            false => assert!(test.refusal().contains("its state hash differs")),
        }
    }
}

/// A journal of three segments and the first seqs of them.
fn three_segments() -> (TestJournal, Vec<u64>) {
    let test = TestJournal::new();
    let mut journal = test.open().journal;
    fill_segments(&mut journal, 2);
    let firsts = journal.index().segments().iter().map(|segment| segment.first_seq).collect();
    drop(journal);
    (test, firsts)
}

#[test]
fn every_byte_of_a_segment_header_is_guarded() {
    let (test, firsts) = three_segments();
    let whole = fs::read(test.segment(firsts[1])).unwrap();
    for at in (0..88).chain([88, 2000, 4091, 4092, 4095]) {
        damage(&test, firsts[1], |bytes| {
            bytes.copy_from_slice(&whole);
            bytes[at] ^= 0x20;
        });
        let problem = match at {
            0..8 => "the file does not begin like a journal segment",
            _ => "the checksum of the segment's header does not match",
        };
        let expected =
            format!("$/{:020}.seg is damaged at byte 0: {problem}; {RESTORE}", firsts[1]);
        assert_eq!(test.refusal(), expected, "byte {at}");
    }
}

#[test]
fn damage_in_an_older_segment_is_never_a_torn_tail() {
    let (test, firsts) = three_segments();
    let segment_of_last = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let whole = fs::read(test.segment(firsts[0])).unwrap();
    let end = segment_of_last(&whole) + 1;
    type Change = fn(&mut Vec<u8>, usize);
    let changes: [(&str, Change, &str); 5] = [
        (
            "flip in the first frame",
            |bytes, _| bytes[5000] ^= 1,
            "records does not match, and a frame",
        ),
        ("flip in the last frame", |bytes, end| bytes[end - 100] ^= 1, "records does not match; "),
        (
            "zeros in the middle",
            |bytes, _| bytes[9_000..30_000].fill(0),
            "records does not match, and",
        ),
        ("zeros over all frames", |bytes, _| bytes[4096..].fill(0), ""),
        ("zeros over the last frame", |bytes, end| bytes[end - 5080..].fill(0), ""),
    ];
    for (case, change, problem) in changes {
        damage(&test, firsts[0], |bytes| {
            bytes.copy_from_slice(&whole);
            change(bytes, end);
        });
        let refusal = test.refusal();
        let expected = if problem.is_empty() { "records from" } else { problem };
        assert!(refusal.contains(expected), "{case}: {refusal}");
        assert!(test.verify().is_err(), "{case}");
    }
}

#[test]
fn a_file_of_another_length_is_refused() {
    for (case, len) in [("cut", SMALL - 4096), ("extended", SMALL + 4096)] {
        let (test, _) = three_frames();
        damage(&test, 1, |bytes| bytes.resize(len as usize, 0));
        let expected = format!(
            "$/00000000000000000001.seg is damaged at byte 0: the file has {len} bytes and not {SMALL}; {RESTORE}"
        );
        assert_eq!(test.refusal(), expected, "{case}");
    }
    let (test, _) = three_frames();
    damage(&test, 1, |bytes| bytes.truncate(SEGMENT_HEADER_BYTES - 1));
    assert!(test.refusal().contains("does not begin like a journal segment"));
}

#[test]
fn a_missing_segment_is_refused_wherever_it_stood() {
    for missing in 0..3 {
        let (test, firsts) = three_segments();
        fs::remove_file(test.segment(firsts[missing])).unwrap();
        let expected = format!(
            "records from {} on are missing from the journal in $: the segment that held them is gone, restore it from the journal archive or a backup",
            firsts[missing]
        );
        assert_eq!(test.refusal(), expected, "segment {missing}");
    }
}

#[test]
fn a_damaged_mark_of_the_newest_segment_is_refused() {
    let (test, _) = three_segments();
    let mark = test.dir.path().join("newest");
    let whole = fs::read(&mark).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&mark, bytes).unwrap();
        assert!(test.refusal().contains("does not name the newest segment"), "byte {at}");
    }
    fs::write(&mark, whole).unwrap();
    test.open();
}

#[test]
fn swapped_and_renamed_segments_are_refused() {
    let (test, firsts) = three_segments();
    let (one, two) = (test.segment(firsts[1]), test.segment(firsts[2]));
    let aside = test.dir.path().join("aside");
    fs::rename(&one, &aside).unwrap();
    fs::rename(&two, &one).unwrap();
    fs::rename(&aside, &two).unwrap();
    let expected = format!(
        "$/{:020}.seg is damaged at byte 0: the segment begins at record {}, not at the one in its name; put the segment of this name and directory back from the journal archive or a backup",
        firsts[1], firsts[2]
    );
    assert_eq!(test.refusal(), expected);
}

#[test]
fn a_segment_of_another_directory_is_refused() {
    let (test, _) = three_frames();
    let foreign = Uuid::from_u128(0xBAD);
    let opened = Journal::open::<Infallible>(
        test.disk(),
        test.dir.path(),
        foreign,
        test.options.clone(),
        0,
        &mut |_| panic!("a foreign frame was shown"),
    );
    let error = opened.err().unwrap().to_string();
    assert!(error.contains(&format!("belongs to the data directory {DIRECTORY}; put")), "{error}");
}

#[test]
fn a_newer_format_is_refused() {
    let (test, _) = three_frames();
    damage(&test, 1, |bytes| {
        bytes[8] = 2;
        let checksum = crc32c::crc32c(&bytes[..4092]);
        bytes[4092..4096].copy_from_slice(&checksum.to_le_bytes());
    });
    assert_eq!(
        test.refusal(),
        "$/00000000000000000001.seg is damaged at byte 0: it has format version 2, but this program knows versions up to 1; use the newer program"
    );
}

#[test]
fn leftovers_of_a_crash_are_removed() {
    let (test, _) = three_frames();
    for name in ["spare-1.tmp", "spare-999.tmp", "newest.tmp"] {
        fs::write(test.dir.path().join(name), "half made").unwrap();
    }
    let opened = test.open();
    assert_eq!(opened.shown.len(), 5);
    assert!(!test.dir.path().join("spare-999.tmp").exists());
    assert!(!test.dir.path().join("newest.tmp").exists());
}

#[test]
fn a_visitor_that_refuses_stops_the_open() {
    let (test, _) = three_frames();
    let mut seen = 0;
    let opened = Journal::open(
        test.disk(),
        test.dir.path(),
        DIRECTORY,
        test.options.clone(),
        0,
        &mut |frame| {
            seen = frame.last_seq();
            if seen == 3 { Err("state hash") } else { Ok(()) }
        },
    );
    assert!(matches!(opened, Err(OpenError::Visit("state hash"))));
    assert_eq!(seen, 3);
}
