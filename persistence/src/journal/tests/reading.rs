use std::thread;

use super::*;

fn all_frames(cursor: &mut FrameCursor, upto: u64) -> Vec<(u64, u64)> {
    let mut frames = Vec::new();
    while let Some(frame) = cursor.next_frame(upto).unwrap() {
        frames.push((frame.first_seq(), frame.last_seq()));
    }
    frames
}

#[test]
fn a_cursor_gives_whole_frames_up_to_a_position_and_goes_on_later() {
    let test = TestJournal::new();
    let mut journal = test.open().journal;
    let reader = journal.reader();
    let mut cursor = reader.read_from(1);
    assert!(cursor.next_frame(u64::MAX).unwrap().is_none());
    append(&mut journal, &["a", "b"]).unwrap();
    journal.seal().unwrap();
    append(&mut journal, &["c"]).unwrap();
    append(&mut journal, &["d", "e", "f"]).unwrap();
    assert_eq!(all_frames(&mut cursor, 0), []);
    assert_eq!(all_frames(&mut cursor, 1), []);
    assert_eq!(all_frames(&mut cursor, 5), [(1, 2), (3, 3)]);
    assert_eq!(all_frames(&mut cursor, u64::MAX), [(4, 6)]);
    journal.seal().unwrap();
    assert_eq!(all_frames(&mut cursor, u64::MAX), []);
    append(&mut journal, &["g"]).unwrap();
    let frame = cursor.next_frame(7).unwrap().unwrap();
    assert_eq!(frame.records().collect::<Vec<_>>(), [(7, b"g".as_slice())]);
    assert_eq!(frame.state_hash(), 7000);
    assert_eq!(cursor.next_seq(), 8);
    assert_eq!(all_frames(&mut reader.read_from(5), u64::MAX), [(4, 6), (7, 7)]);
    assert_eq!(all_frames(&mut reader.read_from(8), u64::MAX), []);
}

#[test]
fn every_record_is_found_by_its_position() {
    let test = TestJournal::new();
    let mut journal = test.open().journal;
    for seq in (1..400).step_by(4) {
        let records: Vec<_> = (seq..seq + 4).map(|seq| filler(seq, 10 * seq as usize)).collect();
        append(&mut journal, &records).unwrap();
        if seq % 5 == 0 {
            journal.seal().unwrap();
        }
    }
    let check = |journal: &Journal| {
        let mut reader = journal.reader();
        for seq in (1..=400).rev().chain([7, 350, 8]) {
            let expected = filler(seq, 10 * seq as usize);
            assert_eq!(reader.read_record(seq).unwrap(), Some(expected), "{seq}");
        }
        assert_eq!(reader.read_record(0).unwrap(), None);
        assert_eq!(reader.read_record(401).unwrap(), None);
    };
    assert!(journal.index().segments().len() > 10);
    check(&journal);
    drop(journal);
    check(&test.open().journal);
    // Recovery walks only the last segments now; readers find their own way through the others.
    check(&test.try_open(390).unwrap().journal);
}

#[test]
fn segments_that_recovery_did_not_walk_are_indexed_by_the_first_who_reads_them() {
    let mut test = TestJournal::new();
    test.options.segment_bytes = 1 << 20;
    let mut journal = test.open().journal;
    while journal.index().segments().len() < 2 {
        let seq = journal.next_seq();
        append(&mut journal, &[filler(seq, 2_000)]).unwrap();
    }
    let sealed_last = journal.last_seq() - 1;
    drop(journal);
    let journal = test.try_open(sealed_last).unwrap().journal;
    let start_of = |seq| match journal.index().locate(seq) {
        crate::journal::index::Located::At(location) => location.offset,
        other => panic!("{other:?}"),
    };
    assert_eq!(start_of(sealed_last), 4096);
    journal.reader().read_record(sealed_last).unwrap().unwrap();
    assert!(start_of(sealed_last) > (1 << 20) - (80 << 10), "{}", start_of(sealed_last));
}

#[test]
fn the_hash_of_a_frame_is_known_for_each_of_its_records() {
    let test = TestJournal::new();
    let mut journal = test.open().journal;
    let mut expected = vec![FrameHash::GENESIS];
    for seq in (1..60).step_by(2) {
        let records = [filler(seq, 2_000), filler(seq, 900)];
        let position = append(&mut journal, &records).unwrap();
        expected.extend([position.frame_hash; 2]);
        journal.seal().unwrap();
    }
    let check = |journal: &Journal, from: usize| {
        let mut reader = journal.reader();
        for (seq, hash) in expected.iter().enumerate().skip(from) {
            assert_eq!(reader.frame_hash_at(seq as u64).unwrap(), Some(*hash), "{seq}");
        }
        assert_eq!(reader.frame_hash_at(expected.len() as u64).unwrap(), None);
    };
    check(&journal, 0);
    let first = journal.index().segments()[0].clone();
    journal.index().remove_segments_before(first.last_seq).unwrap();
    // The last hash before the oldest segment stays known: the store may stand just there.
    check(&journal, first.last_seq as usize);
    let error = journal.reader().frame_hash_at(first.last_seq - 1).unwrap_err();
    assert!(matches!(error, ReadError::Removed { .. }), "{error}");
    drop(journal);
    check(&test.try_open(first.last_seq).unwrap().journal, first.last_seq as usize);
}

#[test]
fn a_reader_beside_the_writer_sees_every_record_once_and_in_order() {
    const RECORDS: u64 = 3_000;
    let mut test = TestJournal::new();
    test.options.spare_keeping = SpareKeeping::Thread;
    let mut journal = test.open().journal;
    let index = Arc::clone(journal.index());
    let reader = journal.reader();
    let following = thread::spawn(move || {
        let mut cursor = reader.read_from(1);
        let mut next = 1;
        while next <= RECORDS {
            let durable = index.last_seq();
            while let Some(frame) = cursor.next_frame(durable).unwrap() {
                assert!(frame.last_seq() <= durable);
                for (seq, record) in frame.records() {
                    assert_eq!((seq, record), (next, filler(next, 300).as_slice()));
                    next += 1;
                }
            }
            thread::yield_now();
        }
    });
    while journal.last_seq() < RECORDS {
        let seq = journal.next_seq();
        let count = 1 + seq % 7;
        let records: Vec<_> = (seq..seq + count).map(|seq| filler(seq, 300)).collect();
        append(&mut journal, &records).unwrap();
        if seq.is_multiple_of(11) {
            journal.seal().unwrap();
        }
    }
    following.join().unwrap();
}

#[test]
fn damage_that_came_after_the_open_is_noticed_by_a_reader() {
    let test = TestJournal::new();
    let mut journal = test.open().journal;
    let position = append(&mut journal, &["a record"]).unwrap();
    let mut bytes = std::fs::read(test.segment(1)).unwrap();
    bytes[(position.offset + position.bytes) as usize - 6] ^= 1;
    std::fs::write(test.segment(1), bytes).unwrap();
    let error = journal.reader().read_record(1).unwrap_err();
    assert!(
        error.to_string().contains("is damaged at byte 4096: the checksum of the frame's records")
    );
}
