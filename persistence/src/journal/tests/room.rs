use std::thread;

use super::*;
use crate::disk::faulty::FREE_BYTES;
use crate::journal::format::SEGMENT_HEADER_BYTES;

const CAPACITY: u64 = SMALL - SEGMENT_HEADER_BYTES as u64;

#[test]
fn what_the_room_promises_fits_however_it_is_cut() {
    for record_len in [0, 1, 100, 3_000, 9_000, 20_000, 30_000, 59_000] {
        let test = TestJournal::new();
        test.disk.set_capacity(3 * SMALL);
        let mut journal = test.open().journal;
        append(&mut journal, &["x"]).unwrap();
        let room = journal.room();
        assert!(room.bytes() >= CAPACITY, "{record_len}");
        let mut admitted = 0;
        let promised = room.bytes();
        while admitted + room_for_record(record_len) <= promised {
            admitted += room_for_record(record_len);
            append(&mut journal, &[filler(admitted, record_len)]).unwrap();
            if journal.last_seq().is_multiple_of(3) {
                journal.seal().unwrap();
            }
        }
        assert!(admitted > 0);
    }
}

#[test]
fn a_full_disk_shows_in_the_room_before_anything_is_refused_and_room_comes_back() {
    let test = TestJournal::new();
    test.disk.set_capacity(2 * SMALL);
    let mut journal = test.open().journal;
    let room = journal.room();
    assert!(room.is_blocked(), "the second spare found no place");
    let mut appended = 0;
    while room.bytes() >= room_for_record(5_000) {
        append(&mut journal, &[filler(appended, 5_000)]).unwrap();
        appended += 1;
    }
    assert_eq!(journal.index().segments().len(), 2);

    // Whoever does not look at the room is refused without harm.
    let mut frame = frame_of(&[filler(appended, 9_000)]);
    let error = journal.append(&mut frame, 1).unwrap_err();
    assert!(matches!(error, AppendError::Full { .. }), "{error}");
    assert!(!journal.is_poisoned());
    assert_eq!(test.disk.allocated(), 2 * SMALL, "a failed attempt left something behind");

    test.disk.set_capacity(5 * SMALL);
    journal.tend_spares();
    assert!(!room.is_blocked());
    assert!(room.bytes() > CAPACITY);
    assert_eq!(journal.append(&mut frame, 1).unwrap().last_seq, appended + 1);
    drop(journal);
    assert_eq!(test.open().shown.len() as u64, appended + 1);
}

#[test]
fn the_thread_brings_room_back_by_itself() {
    let mut test = TestJournal::new();
    test.options.spare_keeping = SpareKeeping::Thread;
    test.disk.set_capacity(SMALL);
    let journal = test.open().journal;
    let room = journal.room();
    assert!(room.is_blocked());
    assert_eq!(room.bytes(), CAPACITY);
    test.disk.set_capacity(3 * SMALL);
    // Room for two more comes in two steps.
    while room.bytes() == CAPACITY || room.is_blocked() || test.disk.allocated() < 3 * SMALL {
        thread::yield_now();
    }
    drop(journal);
    assert_eq!(test.disk.allocated(), 3 * SMALL);
}

#[test]
fn a_full_disk_does_not_keep_a_journal_with_room_from_opening() {
    let test = TestJournal::new();
    let mut journal = test.open().journal;
    append(&mut journal, &["a"]).unwrap();
    drop(journal);
    test.disk.set_capacity(0);
    let mut opened = test.open();
    assert_eq!(opened.shown, texts(1, &["a"]));
    let room = opened.journal.room();
    assert!(room.is_blocked());
    append(&mut opened.journal, &["b"]).unwrap();
    assert_eq!(opened.journal.seal().unwrap(), Sealed::Written);
}

#[test]
fn a_writer_faster_than_the_thread_waits_and_goes_on() {
    let mut test = TestJournal::new();
    test.options.spare_keeping = SpareKeeping::Thread;
    test.options.segment_bytes = 1 << 20;
    test.options.durability = Durability::Memory;
    let mut journal = test.open().journal;
    for seq in 1..=200 {
        append(&mut journal, &[filler(seq, 100_000)]).unwrap();
    }
    drop(journal);
    let summary = test.verify().unwrap();
    assert_eq!((summary.first_seq, summary.last_seq), (1, 200));
}

#[test]
fn reserved_but_unfilled_segments_work_too() {
    let mut test = TestJournal::new();
    test.options.spare_filling = SpareFilling::Reserved;
    let mut journal = test.open().journal;
    fill_segments(&mut journal, 3);
    let last_seq = journal.last_seq();
    drop(journal);
    assert_eq!(test.open().shown.len() as u64, last_seq);
}

#[test]
fn space_kept_for_others_is_not_taken() {
    let mut test = TestJournal::new();
    test.open();
    test.options.free_bytes_kept = FREE_BYTES - SMALL;
    let opened = test.open();
    assert!(!opened.journal.room().is_blocked());
    drop(opened);
    test.options.free_bytes_kept = FREE_BYTES - SMALL + 1;
    assert!(test.open().journal.room().is_blocked());
}
