//! Whatever is done to a journal, it holds what was appended to it.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Act {
    Append(Vec<usize>),
    Seal,
    /// The process ends and the journal is opened after so many of its records, in per mille.
    Reopen(u64),
    /// Segments that end before so many of the records are removed, in per mille.
    Remove(u64),
    /// The process ends while a frame was half written.
    Tear(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let len = prop_oneof![4 => 0..200usize, 2 => 1_000..8_000usize, 1 => 20_000..50_000usize];
    prop_oneof![
        8 => prop::collection::vec(len, 1..5).prop_map(Act::Append),
        2 => Just(Act::Seal),
        2 => (0..=1000u64).prop_map(Act::Reopen),
        1 => (0..=1000u64).prop_map(Act::Remove),
        1 => (1..150usize).prop_map(Act::Tear),
    ]
}

/// A journal beside the plain list of what it should hold.
struct Model {
    test: TestJournal,
    journal: Option<Journal>,
    records: Vec<Vec<u8>>,
    oldest: u64,
}

impl Model {
    fn new() -> Model {
        let test = TestJournal::new();
        let journal = Some(test.open().journal);
        Model { test, journal, records: Vec::new(), oldest: 1 }
    }

    fn journal(&mut self) -> &mut Journal {
        self.journal.as_mut().unwrap()
    }

    fn share(&self, per_mille: u64) -> u64 {
        self.records.len() as u64 * per_mille / 1000
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Append(lens) => {
                let first = self.records.len() as u64 + 1;
                let records: Vec<_> =
                    (first..).zip(lens).map(|(seq, len)| filler(seq, *len)).collect();
                if frame_of(&records).len() <= self.journal().frame_bytes_max() {
                    let position = append(self.journal(), &records).unwrap();
                    assert_eq!(position.first_seq, first);
                    self.records.extend(records);
                }
            }
            Act::Seal => {
                self.journal().seal().unwrap();
            }
            Act::Reopen(per_mille) => {
                self.journal = None;
                self.reopen(self.share(*per_mille));
            }
            Act::Remove(per_mille) => {
                let seq = self.share(*per_mille);
                self.journal().index().remove_segments_before(seq).unwrap();
                let oldest = self.journal().index().oldest_seq();
                assert!(oldest >= self.oldest && oldest <= self.oldest.max(seq + 1));
                self.oldest = oldest;
            }
            Act::Tear(keep) => self.tear(*keep),
        }
    }

    /// Appends a frame that nobody heard of, and leaves only its first bytes.
    fn tear(&mut self, keep: usize) {
        let position = append(self.journal(), &[filler(1, 200)]).unwrap();
        self.journal = None;
        let path = self.test.segment(position.segment_first_seq);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[position.offset as usize + keep..].fill(0);
        std::fs::write(&path, bytes).unwrap();
        self.reopen(self.records.len() as u64);
    }

    fn reopen(&mut self, after_seq: u64) {
        let after_seq = after_seq.max(self.oldest - 1);
        let opened = self.test.try_open(after_seq).unwrap();
        let first = opened.shown.first().map_or(after_seq + 1, |(seq, _)| *seq);
        assert!(first <= after_seq + 1);
        let expected: Vec<_> = (1..).zip(self.records.clone()).skip(first as usize - 1).collect();
        assert!(opened.shown == expected, "recovery showed something else");
        self.journal = Some(opened.journal);
    }

    fn check(&mut self) {
        let oldest = self.oldest;
        let records = self.records.clone();
        let mut reader = self.journal().reader();
        for (seq, record) in (1..).zip(&records) {
            match reader.read_record(seq) {
                Ok(found) => assert!(found.as_ref() == Some(record), "record {seq} differs"),
                Err(ReadError::Removed { oldest_seq, .. }) => {
                    assert!(seq < oldest && oldest_seq == oldest);
                }
                Err(error) => panic!("{error}"),
            }
        }
        let summary = self.test.verify().unwrap();
        assert_eq!((summary.first_seq, summary.last_seq), (oldest, records.len() as u64));
        assert_eq!(summary.state_hash, records.len() as u64 * 1000);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_journal_holds_what_was_appended(acts in prop::collection::vec(act(), 1..40)) {
        let mut model = Model::new();
        for act in &acts {
            model.act(act);
        }
        model.check();
    }

    #[test]
    fn arbitrary_bytes_are_no_frame(bytes in prop::collection::vec(any::<u8>(), 1..4000), at in 0..1000u64) {
        let test = TestJournal::new();
        drop(test.open());
        let path = test.segment(1);
        let mut segment = std::fs::read(&path).unwrap();
        let at = 4096 + at as usize;
        segment[at..at + bytes.len()].copy_from_slice(&bytes);
        std::fs::write(&path, segment).unwrap();
        prop_assert!(test.open().shown.is_empty());
    }
}
