//! Backups of a directory that a writer goes on using, and what is found when one is not as it was written.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::data_dir::DataDir;
use crate::decided::{Decided, DecidedIndex, Entry, IndexOptions, Namespace};
use crate::disk::OsDisk;
use crate::journal::{
    Durability, FrameBuilder, Journal, JournalOptions, SEGMENT_BYTES_MIN, SpareKeeping,
};

const LEDGER: Uuid = Uuid::from_u128(0x0196_f10a_0000_7000_8000_0000_0000_0002);

/// A data directory with a journal and an index, of a process that lives.
struct Ledger {
    room: TempDir,
    _directory: DataDir,
    journal: Journal,
    index: DecidedIndex,
}

impl Ledger {
    fn new() -> Ledger {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("data");
        let directory = DataDir::open_or_create(OsDisk::shared(), &path, LEDGER).unwrap();
        let options = JournalOptions {
            segment_bytes: SEGMENT_BYTES_MIN,
            spare_keeping: SpareKeeping::Inline,
            free_bytes_kept: 0,
            ..JournalOptions::new(Durability::Memory)
        };
        let journal = Journal::open::<std::convert::Infallible>(
            OsDisk::shared(),
            &directory.journal_dir(),
            LEDGER,
            options,
            0,
            &mut |_| Ok(()),
        );
        let index = DecidedIndex::open(&directory.ids_dir(), IndexOptions::SMALL).unwrap();
        Ledger { journal: journal.unwrap(), index, _directory: directory, room }
    }

    fn data_dir(&self) -> PathBuf {
        self.room.path().join("data")
    }

    fn backups(&self) -> PathBuf {
        self.room.path().join("backups")
    }

    /// Appends so many records, each of a kilobyte.
    fn append(&mut self, records: u64) {
        for _ in 0..records {
            let seq = self.journal.next_seq();
            let mut frame = FrameBuilder::new();
            frame.push_record(|bytes| bytes.extend((0..1_000).map(|at| (seq + at) as u8)));
            self.journal.append(&mut frame, seq).unwrap();
        }
    }

    /// Indexes what sealed segments hold.
    fn index_sealed(&self) {
        let from = self.index.covered_seq() + 1;
        let sealed = self.journal.index().sealed_segments();
        let upto = sealed.last().map_or(0, |segment| segment.last_seq);
        if upto >= from {
            let mut batch: Vec<Entry> = (from..=upto).map(entry).collect();
            self.index.insert_batch(&mut batch, upto).unwrap();
        }
    }

    fn back_up(&self, contents: Contents) -> Result<Made, BackupError> {
        make_backup(&self.data_dir(), &self.backups(), contents, None)
    }
}

fn make_backup(
    data_dir: &Path,
    to: &Path,
    contents: Contents,
    keep: Option<usize>,
) -> Result<Made, BackupError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(make(OsDisk::shared(), data_dir, to, contents, keep))
}

fn entry(seq: u64) -> Entry {
    let id = u128::from(seq).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    (Namespace::Transfer, id, Decided { seq, digest: seq ^ 7, timestamp: seq, kind: 1 })
}

/// Restores the newest backup and returns the last position of its journal and of its index, whose every id is looked at.
fn restored(backups: &Path) -> (u64, u64) {
    let room = tempfile::tempdir().unwrap();
    let backup = Backup::open(backups).unwrap();
    let path = room.path().join("data");
    let directory = DataDir::begin(OsDisk::shared(), &path, LEDGER).unwrap();
    backup.restore_into(&directory).unwrap();
    directory.finish().unwrap();
    drop(directory);
    let directory = DataDir::open_existing(OsDisk::shared(), &path).unwrap();
    let mut next = backup.manifest().first_seq;
    let journal = Journal::open(
        OsDisk::shared(),
        &directory.journal_dir(),
        LEDGER,
        JournalOptions { free_bytes_kept: 0, ..JournalOptions::new(Durability::Memory) },
        0,
        &mut |frame| {
            for (seq, record) in frame.records() {
                assert_eq!((seq, record.len()), (next, 1_000));
                assert_eq!(record[3], (seq + 3) as u8);
                next += 1;
            }
            Ok::<(), std::convert::Infallible>(())
        },
    );
    let index = DecidedIndex::open(&directory.ids_dir(), IndexOptions::SMALL).unwrap();
    for seq in 1..=index.covered_seq() {
        let (namespace, id, decided) = entry(seq);
        assert_eq!(index.get(namespace, id).unwrap(), Some(decided), "{seq}");
    }
    assert_eq!(index.len(), index.covered_seq());
    (journal.unwrap().last_seq(), index.covered_seq())
}

#[test]
fn a_writer_that_goes_on_loses_nothing_that_was_there_before() {
    let mut ledger = Ledger::new();
    ledger.append(200);
    let (data_dir, backups) = (ledger.data_dir(), ledger.backups());
    let appended = AtomicU64::new(200);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                ledger.append(3);
                appended.store(ledger.journal.last_seq(), Ordering::Release);
                ledger.index_sealed();
            }
        });
        for round in 0..6 {
            let before = appended.load(Ordering::Acquire);
            let contents = if round % 3 == 2 { Contents::Journal } else { Contents::Everything };
            let made = make_backup(&data_dir, &backups, contents, Some(2)).unwrap();
            let (last, indexed) = restored(&backups);
            assert!(last >= before && last == made.manifest.last_seq, "{last} {before}");
            assert_eq!(indexed, made.manifest.indexed_seq);
            let kept = fs::read_dir(&backups).unwrap().count();
            assert!(kept <= 3, "two backups and the lock, not {kept} names");
        }
        stop.store(true, Ordering::Release);
    });
}

#[test]
fn what_the_backup_before_has_is_not_copied_again() {
    let mut ledger = Ledger::new();
    ledger.append(400);
    ledger.index_sealed();
    let first = ledger.back_up(Contents::Everything).unwrap();
    let again = ledger.back_up(Contents::Everything).unwrap();
    assert!(first.is_new && !again.is_new && again.path == first.path);
    ledger.append(1);
    let second = ledger.back_up(Contents::Everything).unwrap();
    assert!(second.is_new);
    let segments = |made: &Made| {
        let files = made.manifest.files.iter();
        files.filter(|file| file.path.ends_with(".seg")).count()
    };
    assert!(segments(&first) > 5 && segments(&second) == segments(&first));
    assert!(second.copied_bytes < 2 * SEGMENT_BYTES_MIN, "{}", second.copied_bytes);
    ledger.append(1);
    let third = ledger.back_up(Contents::Journal).unwrap();
    assert!(third.copied_bytes <= SEGMENT_BYTES_MIN, "{}", third.copied_bytes);
    assert_eq!(restored(&ledger.backups()), (402, first.manifest.indexed_seq));
    // The earlier ones are whole without it.
    assert_eq!(restored(&first.path), (400, first.manifest.indexed_seq));
}

/// A frame that is half written is no damage, and not in the backup; a hole in what was written is.
#[test]
fn only_a_last_frame_may_be_half_there() {
    let mut ledger = Ledger::new();
    ledger.append(5);
    let newest = ledger.journal.index().segments().pop().unwrap().path.to_path_buf();
    let bytes = fs::read(&newest).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut torn = bytes.clone();
    torn[end - 300..].fill(0);
    fs::write(&newest, &torn).unwrap();
    ledger.back_up(Contents::Everything).unwrap();
    assert_eq!(restored(&ledger.backups()), (4, 0));
    let mut hole = bytes;
    hole[end - 1_500] ^= 1;
    fs::write(&newest, &hole).unwrap();
    let error = ledger.back_up(Contents::Everything).unwrap_err();
    let told = format!("{error:?}");
    assert!(matches!(error, BackupError::Journal(_)) && told.contains("evidence: Some"));
    assert_eq!(restored(&ledger.backups()), (4, 0));
}

#[test]
fn every_bit_of_a_manifest_counts() {
    let manifest = Manifest {
        format_version: 1,
        ledger: LEDGER,
        first_seq: 1,
        last_seq: 9,
        frame_hash: "00".to_owned(),
        snapshot_seq: 0,
        indexed_seq: 3,
        ids: 2,
        stored_seq: Some(4),
        files: vec![FileEntry { path: "ids".to_owned(), bytes: 4, blake3: "ab".to_owned() }],
    };
    let (bytes, path) = (manifest.encode(), Path::new("b/manifest"));
    assert_eq!(Manifest::decode(&bytes, path).unwrap(), manifest);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(Manifest::decode(&damaged, path).is_err(), "byte {at}");
        assert!(Manifest::decode(&bytes[..at], path).is_err(), "{at} bytes");
    }
    let newer = Manifest { format_version: 2, ..manifest }.encode();
    let told = Manifest::decode(&newer, path).unwrap_err().to_string();
    assert!(told.contains("format version 2"), "{told}");
}

#[test]
fn every_byte_of_the_exported_ids_counts() {
    let mut ledger = Ledger::new();
    ledger.append(150);
    ledger.index_sealed();
    let made = ledger.back_up(Contents::Everything).unwrap();
    let backup = Backup::open(&made.path).unwrap();
    assert!(backup.check_ids().unwrap().ids > 50);
    let path = made.path.join(IDS);
    let bytes = fs::read(&path).unwrap();
    for at in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        fs::write(&path, &damaged).unwrap();
        assert!(backup.check_ids().is_err(), "byte {at}");
    }
    for cut in [0, 10, bytes.len() - 42, bytes.len() - 1] {
        fs::write(&path, &bytes[..cut]).unwrap();
        assert!(backup.check_ids().is_err(), "{cut} bytes");
    }
    fs::write(&path, [&bytes[..], b"x"].concat()).unwrap();
    assert!(backup.check_ids().is_err(), "a byte more");
    fs::write(&path, &bytes).unwrap();
    backup.check_ids().unwrap();
}

#[test]
fn what_is_no_backup_of_this_ledger_is_refused() {
    let mut ledger = Ledger::new();
    let told = |error: BackupError| error.to_string();
    let none = ledger.back_up(Contents::Everything).unwrap_err();
    assert_eq!(told(none), "there is nothing in the journal yet");
    ledger.append(3);
    let none = ledger.back_up(Contents::Journal).unwrap_err();
    assert!(told(none).starts_with("there is no finished backup in "));
    let made = ledger.back_up(Contents::Everything).unwrap();

    let busy = fs::File::open(ledger.backups().join("lock")).unwrap();
    busy.lock().unwrap();
    let error = ledger.back_up(Contents::Everything).unwrap_err();
    assert!(matches!(error, BackupError::Busy { .. }), "{error}");
    drop(busy);

    // One that has no manifest is not there.
    let manifest = made.path.join(MANIFEST);
    let hidden = made.path.join("hidden");
    fs::rename(&manifest, &hidden).unwrap();
    assert!(matches!(Backup::open(&ledger.backups()), Err(BackupError::None { .. })));
    fs::rename(&hidden, &manifest).unwrap();

    let other = tempfile::tempdir().unwrap();
    let elsewhere = Uuid::from_u128(7);
    drop(DataDir::open_or_create(OsDisk::shared(), other.path(), elsewhere).unwrap());
    let error = make_backup(other.path(), &ledger.backups(), Contents::Everything, None);
    assert!(matches!(error, Err(BackupError::Foreign { found: LEDGER, .. })), "{error:?}");

    // A ledger is never written over, and a file that nobody named does not get into one.
    let error = DataDir::begin(OsDisk::shared(), &ledger.data_dir(), LEDGER);
    let error = error.map(drop).unwrap_err().to_string();
    assert!(error.contains("is in use by") || error.contains("there is a ledger in"), "{error}");
    fs::write(made.path.join("snapshots/00000000000000000002.snap"), "x").unwrap();
    let error = Backup::open(&made.path).unwrap().check_files().unwrap_err();
    assert!(told(error).contains("the manifest does not name it"));
}
