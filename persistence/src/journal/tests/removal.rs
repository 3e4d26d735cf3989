use std::io::ErrorKind;

use super::*;
use crate::disk::faulty::Op;

/// A journal of five segments.
fn five_segments(test: &TestJournal) -> Journal {
    let mut journal = test.open().journal;
    fill_segments(&mut journal, 4);
    journal
}

#[test]
fn only_whole_sealed_segments_are_removed() {
    let test = TestJournal::new();
    let journal = five_segments(&test);
    let index = journal.index();
    let before = index.segments();
    assert_eq!(index.backlog_bytes(), 5 * SMALL);
    assert_eq!(index.remove_segments_before(before[0].last_seq - 1).unwrap(), 0);
    assert_eq!(index.remove_segments_before(before[1].last_seq).unwrap(), 2);
    assert_eq!(index.segments(), before[2..]);
    assert_eq!(index.oldest_seq(), before[2].first_seq);
    assert_eq!(index.backlog_bytes(), 3 * SMALL);
    assert_eq!(index.remove_segments_before(u64::MAX).unwrap(), 2, "the active one stays");
    assert_eq!(test.segment_names().len(), 1);
    let last_seq = journal.last_seq();
    drop(journal);
    let opened = test.try_open(before[3].last_seq).unwrap();
    assert_eq!(opened.journal.last_seq(), last_seq);
}

#[test]
fn readers_learn_that_a_segment_is_gone_and_one_in_it_reads_on() {
    let test = TestJournal::new();
    let journal = five_segments(&test);
    let segments = journal.index().segments();
    let mut reader = journal.reader();
    let mut inside = reader.read_from(1);
    inside.next_frame(u64::MAX).unwrap().unwrap();
    let mut before = reader.read_from(2);
    journal.index().remove_segments_before(segments[1].last_seq).unwrap();

    let oldest = segments[2].first_seq;
    for seq in [1, segments[0].last_seq, segments[1].last_seq] {
        let error = reader.read_record(seq).unwrap_err();
        let removed = matches!(error, ReadError::Removed { seq: of, oldest_seq } if of == seq && oldest_seq == oldest);
        assert!(removed, "{error}");
    }
    assert_eq!(reader.read_record(oldest).unwrap(), Some(filler(oldest, 5000)));
    assert!(matches!(before.next_frame(u64::MAX), Err(ReadError::Removed { seq: 2, .. })));
    // The file that was open is read to its end.
    while inside.next_seq() <= segments[0].last_seq {
        inside.next_frame(u64::MAX).unwrap().unwrap();
    }
    assert!(matches!(inside.next_frame(u64::MAX), Err(ReadError::Removed { .. })));
}

#[test]
fn removal_that_fails_goes_on_where_it_stopped() {
    let test = TestJournal::new();
    let journal = five_segments(&test);
    let before = journal.index().segments();
    test.disk.fail(Op::Remove, ErrorKind::Other);
    let error = journal.index().remove_segments_before(u64::MAX).unwrap_err();
    assert_eq!(error.segment, before[0].path.to_path_buf());
    assert_eq!(journal.index().segments(), before);
    test.disk.heal();
    // Somebody removed the file meanwhile, as an attempt does that fails behind that.
    std::fs::remove_file(&before[0].path).unwrap();
    assert_eq!(journal.index().remove_segments_before(u64::MAX).unwrap(), 4);
}

#[test]
fn an_archive_keeps_what_is_removed() {
    let archive = tempfile::tempdir().unwrap();
    let mut test = TestJournal::new();
    test.options.archive = Some(archive.path().join("old"));
    let journal = five_segments(&test);
    let segments = journal.index().sealed_segments();
    assert_eq!(segments.len(), 4);
    assert_eq!(journal.index().remove_segments_before(u64::MAX).unwrap(), 4);
    drop(journal);
    assert_eq!(test.segment_names().len(), 1);
    // Put back, the journal is whole again.
    for segment in segments {
        let name = segment.path.file_name().unwrap();
        std::fs::rename(archive.path().join("old").join(name), &segment.path).unwrap();
    }
    assert_eq!(test.verify().unwrap().first_seq, 1);
}

#[test]
fn an_archive_on_another_file_system_gets_copies() {
    let archive = tempfile::tempdir().unwrap();
    let mut test = TestJournal::new();
    test.options.archive = Some(archive.path().to_owned());
    let journal = five_segments(&test);
    let oldest = journal.index().segments()[0].clone();
    let content = std::fs::read(&oldest.path).unwrap();
    test.disk.fail_once(Op::Rename, ErrorKind::CrossesDevices);
    assert_eq!(journal.index().remove_segments_before(oldest.last_seq).unwrap(), 1);
    assert!(!oldest.path.exists());
    let names: Vec<_> = test.disk.list(archive.path()).unwrap();
    assert_eq!(names.len(), 1, "a temporary was left: {names:?}");
    let copy = archive.path().join(oldest.path.file_name().unwrap());
    assert!(std::fs::read(copy).unwrap() == content);
}

#[test]
fn a_removal_that_dies_at_any_step_leaves_no_gap() {
    for archived in [None, Some(tempfile::tempdir().unwrap())] {
        for steps in 0.. {
            let mut test = TestJournal::new();
            test.options.archive = archived.as_ref().map(|dir| dir.path().to_owned());
            let journal = five_segments(&test);
            let segments = journal.index().segments();
            test.disk.fail_after(steps);
            let removed = journal.index().remove_segments_before(segments[2].last_seq);
            drop(journal);
            test.disk.heal();
            let opened = test.try_open(segments[2].last_seq).unwrap();
            let left = opened.journal.index().segments();
            assert_eq!(left, segments[segments.len() - left.len()..], "step {steps}");
            assert!(test.verify().is_ok(), "step {steps}");
            if removed.is_ok() {
                assert_eq!(left.len(), 2);
                assert!(steps >= 6);
                break;
            }
        }
    }
}
