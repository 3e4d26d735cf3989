use std::io::ErrorKind;

use super::*;
use crate::disk::faulty::Op;
use crate::journal::format::{FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES};

#[test]
fn what_was_appended_is_shown_at_the_next_open() {
    let test = TestJournal::new();
    let Opened { mut journal, shown } = test.open();
    assert!(shown.is_empty());
    assert_eq!((journal.next_seq(), journal.state_hash()), (1, 0));
    let first = append(&mut journal, &["deposit", "", "transfer"]).unwrap();
    let second = append(&mut journal, &["withdraw"]).unwrap();
    assert_eq!((first.first_seq, first.last_seq, first.offset), (1, 3, 4096));
    assert_eq!((second.first_seq, second.last_seq), (4, 4));
    assert_eq!(second.offset, first.offset + first.bytes);
    drop(journal);
    let reopened = test.open();
    assert_eq!(reopened.shown, texts(1, &["deposit", "", "transfer", "withdraw"]));
    assert_eq!(reopened.journal.next_seq(), 5);
    assert_eq!(reopened.journal.state_hash(), 4000);
    assert_eq!(reopened.journal.torn_tail(), None);
}

#[test]
fn only_frames_behind_the_given_position_are_shown() {
    let test = TestJournal::new();
    let mut journal = test.open().journal;
    append(&mut journal, &["a", "b"]).unwrap();
    append(&mut journal, &["c", "d"]).unwrap();
    append(&mut journal, &["e"]).unwrap();
    drop(journal);
    let shown = |after| test.try_open(after).unwrap().shown;
    assert_eq!(shown(2), texts(3, &["c", "d", "e"]));
    // The frame with the position in its middle is shown whole.
    assert_eq!(shown(3), texts(3, &["c", "d", "e"]));
    assert_eq!(shown(5), texts(6, &[]));
    let error = test.try_open(6).err().unwrap();
    assert!(matches!(error, OpenError::EndsEarly { last_seq: 5, after_seq: 6, .. }), "{error}");
}

#[test]
fn a_frame_costs_one_write_and_one_sync() {
    let test = TestJournal::new();
    let mut journal = test.open().journal;
    test.disk.take_done();
    append(&mut journal, &["a", "b", "c"]).unwrap();
    assert_eq!(test.disk.take_done(), [Op::Write, Op::SyncData]);
    journal.seal().unwrap();
    assert_eq!(test.disk.take_done(), [Op::Write, Op::SyncData]);
    drop(journal);

    let test = TestJournal {
        options: JournalOptions { durability: Durability::Memory, ..test.options },
        ..test
    };
    let mut journal = test.open().journal;
    test.disk.take_done();
    append(&mut journal, &["d"]).unwrap();
    assert_eq!(test.disk.take_done(), [Op::Write]);
    drop(journal);
    assert_eq!(test.open().shown, texts(1, &["a", "b", "c", "d"]));
}

#[test]
fn a_frame_that_does_not_fit_goes_to_the_next_segment() {
    let test = TestJournal::new();
    let mut journal = test.open().journal;
    let capacity = SMALL - SEGMENT_HEADER_BYTES as u64;
    let mut positions = Vec::new();
    for seq in 1..=40 {
        positions.push(append(&mut journal, &[filler(seq, 10_000)]).unwrap());
    }
    let per_segment = capacity / positions[0].bytes;
    assert_eq!(per_segment, 6);
    for position in &positions {
        let first = (position.first_seq - 1) / per_segment * per_segment + 1;
        assert_eq!(position.segment_first_seq, first);
        assert!(position.offset + position.bytes <= SMALL);
    }
    assert_eq!(test.segment_names().len(), 7);
    drop(journal);
    let shown = test.open().shown;
    let expected: Vec<_> = (1..=40).map(|seq| (seq, filler(seq, 10_000))).collect();
    assert_eq!(shown, expected);
}

#[test]
fn later_segments_are_enough_for_a_later_position() {
    let test = TestJournal::new();
    let mut journal = test.open().journal;
    fill_segments(&mut journal, 3);
    let segments = journal.index().segments();
    let last_seq = journal.last_seq();
    drop(journal);
    std::fs::remove_file(&segments[0].path).unwrap();
    let after = segments[1].last_seq;
    let opened = test.try_open(after).unwrap();
    assert_eq!(opened.shown.len() as u64, last_seq - after);
    // What was not walked is listed as it was.
    let listed = opened.journal.index().segments();
    assert_eq!(listed, segments[1..]);
    drop(opened);
    assert_eq!(
        test.refusal(),
        "records from 1 on are missing from the journal in $: the segment that held them is gone, restore it from the journal archive or a backup"
    );
}

#[test]
fn the_largest_frame_fits_an_empty_segment_with_a_seal() {
    let test = TestJournal::new();
    let mut journal = test.open().journal;
    let record_max = journal.frame_bytes_max() as usize - FRAME_HEADER_BYTES - 4;
    append(&mut journal, &["small"]).unwrap();
    for seq in 2..=4 {
        let position = append(&mut journal, &[filler(seq, record_max)]).unwrap();
        assert_eq!(position.segment_first_seq, seq);
        assert_eq!(journal.seal().unwrap(), Sealed::Written);
    }
    let mut frame = frame_of(&[filler(5, record_max + 1)]);
    let error = journal.append(&mut frame, 0).unwrap_err();
    assert!(matches!(error, AppendError::TooLarge { .. }), "{error}");
    assert_eq!(frame.count(), 1, "a refused frame keeps its records");
    append(&mut journal, &["after"]).unwrap();
    drop(journal);
    assert_eq!(test.open().shown.len(), 5);
}

#[test]
fn a_frame_for_another_position_or_without_records_is_refused() {
    let test = TestJournal::new();
    let mut journal = test.open().journal;
    let mut frame = frame_of(&["a"]);
    frame.expect_first_seq(2);
    let error = journal.append(&mut frame, 0).unwrap_err();
    assert!(matches!(error, AppendError::WrongSeq { expected: 1, found: 2 }), "{error}");
    frame.expect_first_seq(1);
    journal.append(&mut frame, 0).unwrap();
    assert!(frame.is_empty(), "an appended frame is cleared");
    assert!(matches!(journal.append(&mut frame, 0), Err(AppendError::Empty)));
    append(&mut journal, &["b"]).unwrap();
    drop(journal);
    assert_eq!(test.open().shown, texts(1, &["a", "b"]));
}

#[test]
fn a_seal_is_written_once_until_more_is_appended() {
    let test = TestJournal::new();
    let mut journal = test.open().journal;
    assert_eq!(journal.seal().unwrap(), Sealed::Already);
    append(&mut journal, &["a"]).unwrap();
    assert!(!test.verify().unwrap().is_sealed);
    assert_eq!(journal.seal().unwrap(), Sealed::Written);
    assert_eq!(journal.seal().unwrap(), Sealed::Already);
    assert!(test.verify().unwrap().is_sealed);
    drop(journal);
    let mut journal = test.open().journal;
    assert_eq!(journal.seal().unwrap(), Sealed::Already);
    append(&mut journal, &["b"]).unwrap();
    assert_eq!(journal.seal().unwrap(), Sealed::Written);
    drop(journal);
    assert_eq!(test.open().shown, texts(1, &["a", "b"]));
}

#[test]
fn after_a_failed_write_or_sync_nothing_more_is_taken() {
    for op in [Op::Write, Op::SyncData] {
        let test = TestJournal::new();
        let mut journal = test.open().journal;
        append(&mut journal, &["durable"]).unwrap();
        test.disk.fail(op, ErrorKind::Other);
        let error = append(&mut journal, &["lost"]).unwrap_err();
        assert!(matches!(error, AppendError::Io { .. }), "{error}");
        test.disk.heal();
        test.disk.take_done();
        assert!(journal.is_poisoned());
        assert!(matches!(append(&mut journal, &["later"]), Err(AppendError::Poisoned)));
        assert!(matches!(journal.seal(), Err(AppendError::Poisoned)));
        assert_eq!(test.disk.take_done(), [], "a poisoned journal leaves the disk alone");
        assert_eq!(journal.index().last_seq(), 1, "{op:?}: readers see only what is durable");
        drop(journal);
        // A write that was not synced may be there or not; both are right.
        let shown = test.open().shown;
        assert_eq!(shown[0], (1, b"durable".to_vec()));
        assert_eq!(shown.len(), if op == Op::Write { 1 } else { 2 });
    }
}

#[test]
fn a_roll_that_fails_poisons_and_leaves_a_journal_that_opens() {
    for op in [Op::Write, Op::SyncData, Op::Rename, Op::SyncAll] {
        let test = TestJournal::new();
        let mut journal = test.open().journal;
        while append(&mut journal, &[filler(0, 9_000)]).unwrap().offset < 45_000 {}
        let durable = journal.last_seq();
        test.disk.fail(op, ErrorKind::Other);
        let error = append(&mut journal, &[filler(0, 9_000)]).unwrap_err();
        assert!(matches!(error, AppendError::Io { .. }), "{op:?}: {error}");
        assert!(journal.is_poisoned());
        drop(journal);
        test.disk.heal();
        let mut reopened = test.open();
        assert_eq!(reopened.shown.len() as u64, durable, "{op:?}");
        append(&mut reopened.journal, &[filler(0, 9_000)]).unwrap();
        assert_eq!(test.verify().unwrap().last_seq, durable + 1);
    }
}

#[test]
fn an_empty_segment_of_another_size_is_replaced() {
    let mut test = TestJournal::new();
    let mut journal = test.open().journal;
    // A seal that does not fit rolls, so the new segment has no records.
    let fitting = SMALL as usize - SEGMENT_HEADER_BYTES - FRAME_HEADER_BYTES - 4;
    let rest = fitting - FRAME_HEADER_BYTES;
    append(&mut journal, &[filler(1, 100)]).unwrap();
    append(&mut journal, &[filler(2, rest - 4 - 100 - 20)]).unwrap();
    assert_eq!(journal.seal().unwrap(), Sealed::Written);
    let segments = journal.index().segments();
    assert_eq!(segments.len(), 2);
    assert_eq!((segments[1].first_seq, segments[1].last_seq), (3, 2));
    drop(journal);

    test.options.segment_bytes = 4 * SMALL;
    let mut opened = test.open();
    assert_eq!(opened.shown.len(), 2);
    assert_eq!(std::fs::metadata(test.segment(3)).unwrap().len(), 4 * SMALL);
    append(&mut opened.journal, &[filler(3, 3 * SMALL as usize)]).unwrap();
    drop(opened);
    assert_eq!(test.open().shown.len(), 3);
    assert_eq!(test.verify().unwrap().last_seq, 3);
}

#[test]
fn impossible_segment_sizes_are_refused() {
    for segment_bytes in [0, SEGMENT_BYTES_MIN - 4096, SEGMENT_BYTES_MIN + 1, SEGMENT_BYTES_MAX * 2]
    {
        let mut test = TestJournal::new();
        test.options.segment_bytes = segment_bytes;
        assert!(matches!(test.try_open(0), Err(OpenError::Options(_))), "{segment_bytes}");
    }
    let production = JournalOptions::new(Durability::Fsync);
    assert!(production.frame_bytes_max() > RECORD_BYTES_MAX as u64);
    let smallest = JournalOptions { segment_bytes: 32 << 20, ..production };
    assert!(smallest.frame_bytes_max() > RECORD_BYTES_MAX as u64);
}

#[test]
fn the_recovered_tail_is_written_and_synced_again() {
    let mut test = TestJournal::new();
    test.options.spare_filling = SpareFilling::Reserved;
    let mut journal = test.open().journal;
    append(&mut journal, &["a"]).unwrap();
    drop(journal);
    // Spares are neither written nor synced like that, so this can only be the last frame.
    for op in [Op::Write, Op::SyncData] {
        test.disk.fail(op, ErrorKind::Other);
        let error = test.try_open(0).err().unwrap();
        assert!(error.to_string().starts_with("could not repair the end of"), "{op:?}: {error}");
        test.disk.heal();
    }
    assert_eq!(test.open().shown, texts(1, &["a"]));
}

#[test]
fn a_process_that_dies_at_any_step_loses_nothing_that_was_appended() {
    for steps in 0.. {
        let test = TestJournal::new();
        test.disk.fail_after(steps);
        let (acknowledged, finished) = live_and_die(&test);
        test.disk.heal();
        let opened = test.try_open(0).unwrap_or_else(|error| panic!("step {steps}: {error}"));
        // The frame in flight may be there or not.
        let found = opened.shown.len() as u64;
        assert!((acknowledged..=acknowledged + 1).contains(&found), "step {steps}: {found}");
        for (seq, record) in &opened.shown {
            assert_eq!(*record, filler(*seq, 20_000), "step {steps}");
        }
        if finished {
            assert!(steps > 50, "the script has fewer steps than it is thought to have");
            return;
        }
    }
}

/// Opens, appends over two rolls with seals between, and opens again, until the disk fails. Returns how many records
/// were appended with success, and whether all of it succeeded.
fn live_and_die(test: &TestJournal) -> (u64, bool) {
    let mut acknowledged = 0;
    for _ in 0..2 {
        let Ok(mut opened) = test.try_open(0) else { return (acknowledged, false) };
        for _ in 0..4 {
            let record = filler(opened.journal.next_seq(), 20_000);
            match append(&mut opened.journal, &[record]) {
                Ok(position) => acknowledged = position.last_seq,
                Err(_) => return (acknowledged, false),
            }
            if acknowledged.is_multiple_of(2) && opened.journal.seal().is_err() {
                return (acknowledged, false);
            }
        }
        if opened.journal.room().is_blocked() {
            return (acknowledged, false);
        }
    }
    (acknowledged, true)
}
