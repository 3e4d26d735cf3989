//! The journal through a harness that speaks of records as text.

mod append;
mod damage;
mod golden;
mod reading;
mod removal;
mod room;
mod sequences;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use uuid::Uuid;

use super::segment::segment_path;
use super::*;
use crate::disk::Disk;
use crate::disk::faulty::FaultyDisk;

pub(super) const DIRECTORY: Uuid = Uuid::from_u128(0x0196_f10a_0000_7000_8000_0000_0000_0001);
pub(super) const SMALL: u64 = SEGMENT_BYTES_MIN;

/// A directory with a journal, whose process can die and come back.
pub(super) struct TestJournal {
    pub(super) dir: TempDir,
    pub(super) disk: FaultyDisk,
    pub(super) options: JournalOptions,
}

/// A journal and what its recovery showed.
pub(super) struct Opened {
    pub(super) journal: Journal,
    pub(super) shown: Vec<(u64, Vec<u8>)>,
}

impl TestJournal {
    pub(super) fn new() -> TestJournal {
        let options = JournalOptions {
            segment_bytes: SMALL,
            spare_keeping: SpareKeeping::Inline,
            free_bytes_kept: 0,
            ..JournalOptions::new(Durability::Fsync)
        };
        TestJournal { dir: tempfile::tempdir().unwrap(), disk: FaultyDisk::new(), options }
    }

    pub(super) fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.disk.clone())
    }

    pub(super) fn try_open(&self, after_seq: u64) -> Result<Opened, OpenError<Infallible>> {
        let mut shown = Vec::new();
        let mut state_hash = None;
        let journal = Journal::open(
            self.disk(),
            self.dir.path(),
            DIRECTORY,
            self.options.clone(),
            after_seq,
            &mut |frame| {
                let records = frame.records().map(|(seq, record)| (seq, record.to_vec()));
                let before = shown.len();
                shown.extend(records);
                assert_eq!(shown.len() - before, frame.count() as usize);
                state_hash = Some(frame.state_hash());
                Ok(())
            },
        )?;
        if let Some(state_hash) = state_hash {
            assert_eq!(journal.state_hash(), state_hash);
        }
        Ok(Opened { journal, shown })
    }

    pub(super) fn open(&self) -> Opened {
        self.try_open(0).unwrap()
    }

    /// The sentence with which opening is refused; `$` stands for the directory.
    pub(super) fn refusal(&self) -> String {
        match self.try_open(0) {
            Ok(opened) => panic!("opened with {} records", opened.shown.len()),
            Err(error) => error.to_string().replace(self.dir.path().to_str().unwrap(), "$"),
        }
    }

    pub(super) fn segment(&self, first_seq: u64) -> PathBuf {
        segment_path(self.dir.path(), first_seq)
    }

    pub(super) fn segment_names(&self) -> Vec<String> {
        let entries = self.disk.list(self.dir.path()).unwrap();
        entries.into_iter().map(|entry| entry.name).filter(|name| name.ends_with(".seg")).collect()
    }

    pub(super) fn verify(&self) -> Result<JournalSummary, OpenError<Infallible>> {
        verify_journal(&self.disk, self.dir.path(), DIRECTORY, &mut |_| Ok(()))
    }
}

/// A frame of these records.
pub(super) fn frame_of<R: AsRef<[u8]>>(records: &[R]) -> FrameBuilder {
    let mut frame = FrameBuilder::new();
    for record in records {
        frame.push_record(|bytes| bytes.extend_from_slice(record.as_ref()));
    }
    frame
}

/// Appends one frame; the state hash is the seq of its last record, times a thousand.
pub(super) fn append<R: AsRef<[u8]>>(
    journal: &mut Journal,
    records: &[R],
) -> Result<JournalPosition, AppendError> {
    let state_hash = (journal.last_seq() + records.len() as u64) * 1000;
    journal.append(&mut frame_of(records), state_hash)
}

/// The texts with positions from `first_seq` on, as recovery shows them.
pub(super) fn texts(first_seq: u64, records: &[&str]) -> Vec<(u64, Vec<u8>)> {
    let seqs = first_seq..;
    seqs.zip(records.iter().map(|record| record.as_bytes().to_vec())).collect()
}

/// A record of `len` bytes that differs from seq to seq.
pub(super) fn filler(seq: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| (seq.wrapping_mul(31) + at) as u8 | 1).collect()
}

/// Appends single-record frames until the active segment is the one after `segments` more rolls.
pub(super) fn fill_segments(journal: &mut Journal, segments: usize) {
    let target = journal.index().segments().len() + segments;
    while journal.index().segments().len() < target {
        let record = filler(journal.next_seq(), 5000);
        append(journal, &[record]).unwrap();
    }
}
