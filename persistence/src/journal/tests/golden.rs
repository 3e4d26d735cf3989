//! The format stays what it is: a segment in the repository is read, and written again byte for byte.

use std::fs;
use std::path::Path;

use super::*;

/// Changed only with a new format version, which must go on reading this one.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/journal-v1.seg");

fn golden_frames() -> [Vec<Vec<u8>>; 4] {
    [
        vec![b"account 1 opened".to_vec(), b"account 2 opened".to_vec()],
        vec![b"transfer 1 of 10 from 2 to 1".to_vec(), Vec::new(), vec![0xFF; 7]],
        vec![(0..=255).collect()],
        vec![b"transfer 2".to_vec()],
    ]
}

fn write_golden_journal(test: &TestJournal) -> Vec<u8> {
    let mut journal = test.open().journal;
    for (number, records) in golden_frames().iter().enumerate() {
        append(&mut journal, records).unwrap();
        if number == 2 {
            journal.seal().unwrap();
        }
    }
    drop(journal);
    fs::read(test.segment(1)).unwrap()
}

#[test]
fn the_golden_segment_is_read_and_written_the_same() {
    let written = write_golden_journal(&TestJournal::new());
    if std::env::var_os("FLORIN_WRITE_GOLDEN").is_some() {
        fs::write(GOLDEN, &written).unwrap();
    }
    let golden = fs::read(Path::new(GOLDEN)).unwrap();

    let test = TestJournal::new();
    fs::write(test.segment(1), &golden).unwrap();
    let opened = test.open();
    let records = golden_frames().concat();
    let expected: Vec<_> = (1..).zip(records).collect();
    assert_eq!(opened.shown, expected);
    assert_eq!(opened.journal.state_hash(), 7000);
    assert_eq!(test.verify().unwrap().frames, 5);

    assert!(written == golden, "the bytes written differ from the golden ones");
}
