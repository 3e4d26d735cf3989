//! The simulated disk, on which others go on before each write and sync; it knows by itself how far the journal is on the platter.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use florin_persistence::disk::simulated::SimulatedDisk;
use florin_persistence::disk::{DirEntry, Disk, DiskFile, EntryKind, LockAttempt, OpenMode};
use shuttle::thread;

use super::Happened;

/// What a frame begins with, and where its header has the position of the first record and the number of records:
/// [`florin_persistence::journal::format`].
const FRAME_MAGIC: &[u8] = b"FLFR";
const FIRST_SEQ_AT: usize = 8;
const RECORDS_AT: usize = 16;

#[derive(Clone, Debug)]
pub(super) struct WatchedDisk {
    disk: SimulatedDisk,
    watch: Arc<Watch>,
}

#[derive(Debug)]
struct Watch {
    /// Others go on before an operation: not while a ledger starts.
    is_shared: AtomicBool,
    /// All records up to here are on the platter.
    synced: AtomicU64,
    /// So many syncs succeed before all fail.
    syncs_left: AtomicU64,
    happened: Arc<Happened>,
}

#[derive(Debug)]
struct WatchedFile {
    file: Arc<dyn DiskFile>,
    watch: Arc<Watch>,
    /// The last record that was written, and how many came with it.
    written: AtomicU64,
    records: AtomicU64,
}

impl WatchedDisk {
    pub(super) fn new(disk: SimulatedDisk, happened: Arc<Happened>) -> WatchedDisk {
        let watch = Watch {
            is_shared: AtomicBool::new(false),
            synced: AtomicU64::new(0),
            syncs_left: AtomicU64::new(u64::MAX),
            happened,
        };
        WatchedDisk { disk, watch: Arc::new(watch) }
    }

    /// From now on others go on in between; or no more.
    pub(super) fn share(&self, is_shared: bool) {
        self.watch.is_shared.store(is_shared, Ordering::Relaxed);
    }

    /// So many syncs succeed before all fail.
    pub(super) fn fail_after(&self, syncs: u64) {
        self.watch.syncs_left.store(syncs, Ordering::Relaxed);
    }

    /// All records up to here are on the platter.
    pub(super) fn synced(&self) -> u64 {
        self.watch.synced.load(Ordering::Relaxed)
    }
}

impl Watch {
    fn step(&self) {
        if self.is_shared.load(Ordering::Relaxed) {
            thread::sleep(Duration::ZERO);
        }
    }
}

impl WatchedFile {
    fn sync(&self, sync: impl FnOnce(&dyn DiskFile) -> io::Result<()>) -> io::Result<()> {
        self.watch.step();
        let left = &self.watch.syncs_left;
        if left.load(Ordering::Relaxed) == 0 {
            return Err(io::Error::other("the disk fails"));
        }
        left.fetch_sub(1, Ordering::Relaxed);
        sync(&*self.file)?;
        let records = self.records.swap(0, Ordering::Relaxed);
        if records > 0 {
            Happened::count(&self.watch.happened.syncs);
        }
        if records > 1 {
            Happened::count(&self.watch.happened.groups);
        }
        self.watch.synced.fetch_max(self.written.load(Ordering::Relaxed), Ordering::Relaxed);
        self.watch.step();
        Ok(())
    }
}

impl Disk for WatchedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(WatchedFile {
            file: self.disk.open(path, mode)?,
            watch: Arc::clone(&self.watch),
            written: AtomicU64::new(0),
            records: AtomicU64::new(0),
        }))
    }

    fn kind(&self, path: &Path) -> io::Result<Option<EntryKind>> {
        self.disk.kind(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.disk.free_bytes(dir)
    }
}

impl DiskFile for WatchedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.watch.step();
        self.file.write_at(bytes, offset)?;
        if bytes.starts_with(FRAME_MAGIC) {
            let first = bytes[FIRST_SEQ_AT..][..8].try_into().map(u64::from_le_bytes);
            let records = bytes[RECORDS_AT..][..4].try_into().map(u32::from_le_bytes);
            let (first, records) = (first.expect("eight bytes"), records.expect("four bytes"));
            self.written.store(first + u64::from(records) - 1, Ordering::Relaxed);
            self.records.fetch_add(u64::from(records), Ordering::Relaxed);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync(|file| file.sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync(|file| file.sync_all())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn try_lock(&self) -> io::Result<LockAttempt> {
        self.file.try_lock()
    }
}
