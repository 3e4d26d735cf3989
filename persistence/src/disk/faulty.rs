//! A disk for tests: the real one with a quota and operations that fail or wait on demand.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{DirEntry, Disk, DiskFile, EntryKind, LockAttempt, OpenMode, OsDisk};

/// What the disk says is free, whatever the quota.
pub const FREE_BYTES: u64 = 1 << 50;

/// An operation that can be made to fail or to wait, and is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// [`Disk::open`], other than for reading.
    Open,
    /// [`Disk::rename`].
    Rename,
    /// [`Disk::remove`].
    Remove,
    /// [`DiskFile::write_at`].
    Write,
    /// [`DiskFile::allocate`].
    Allocate,
    /// [`DiskFile::sync_data`].
    SyncData,
    /// [`DiskFile::sync_all`].
    SyncAll,
    /// [`Disk::sync_dir`].
    SyncDir,
}

#[derive(Debug)]
struct Faults {
    capacity: u64,
    allocated: u64,
    failing: Option<(Op, ErrorKind)>,
    failing_once: Option<(Op, ErrorKind)>,
    /// So many operations succeed before all fail.
    steps_left: usize,
    held: Option<Op>,
    done: Vec<Op>,
}

/// The real disk, except for what a test tells it.
#[derive(Debug, Clone)]
pub struct FaultyDisk(Arc<(Mutex<Faults>, Condvar)>);

impl Default for FaultyDisk {
    fn default() -> FaultyDisk {
        FaultyDisk::new()
    }
}

impl FaultyDisk {
    /// The real disk, until told otherwise.
    pub fn new() -> FaultyDisk {
        let capacity = u64::MAX;
        let faults = Mutex::new(Faults {
            capacity,
            allocated: 0,
            failing: None,
            failing_once: None,
            steps_left: usize::MAX,
            held: None,
            done: Vec::new(),
        });
        FaultyDisk(Arc::new((faults, Condvar::new())))
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on at most `bytes` can be allocated in all.
    pub fn set_capacity(&self, bytes: u64) {
        self.faults().capacity = bytes;
    }

    /// Bytes that are allocated.
    pub fn allocated(&self) -> u64 {
        self.faults().allocated
    }

    /// From now on every `op` fails.
    pub fn fail(&self, op: Op, kind: ErrorKind) {
        self.faults().failing = Some((op, kind));
    }

    /// The next `op` fails.
    pub fn fail_once(&self, op: Op, kind: ErrorKind) {
        self.faults().failing_once = Some((op, kind));
    }

    /// After so many operations all fail, as when the process is dead.
    pub fn fail_after(&self, steps: usize) {
        self.faults().steps_left = steps;
    }

    /// From now on every `op` waits.
    pub fn hold(&self, op: Op) {
        self.faults().held = Some(op);
    }

    /// From now on nothing fails or waits.
    pub fn heal(&self) {
        let mut faults = self.faults();
        faults.failing = None;
        faults.steps_left = usize::MAX;
        faults.held = None;
        drop(faults);
        self.0.1.notify_all();
    }

    /// The operations since the last call.
    pub fn take_done(&self) -> Vec<Op> {
        std::mem::take(&mut self.faults().done)
    }

    fn meet(&self, op: Op) -> io::Result<()> {
        let mut faults = self
            .0
            .1
            .wait_while(self.faults(), |faults| faults.held == Some(op))
            .unwrap_or_else(PoisonError::into_inner);
        faults.done.push(op);
        if faults.steps_left == 0 {
            return Err(ErrorKind::Other.into());
        }
        faults.steps_left -= 1;
        if let Some((_, kind)) = faults.failing_once.take_if(|(failing, _)| *failing == op) {
            return Err(kind.into());
        }
        match faults.failing {
            Some((failing, kind)) if failing == op => Err(kind.into()),
            _ => Ok(()),
        }
    }
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        if mode != OpenMode::Read {
            self.meet(Op::Open)?;
        }
        let file = OsDisk.open(path, mode)?;
        Ok(Arc::new(FaultyFile { disk: self.clone(), file }))
    }

    fn kind(&self, path: &Path) -> io::Result<Option<EntryKind>> {
        OsDisk.kind(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        OsDisk.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        OsDisk.create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.meet(Op::Rename)?;
        OsDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.meet(Op::Remove)?;
        let len = OsDisk.open(path, OpenMode::Read)?.len()?;
        OsDisk.remove(path)?;
        let mut faults = self.faults();
        faults.allocated = faults.allocated.saturating_sub(len);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.meet(Op::SyncDir)?;
        OsDisk.sync_dir(dir)
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        // Only the allocation itself tells of the quota, as when others take the space at the same time.
        Ok(FREE_BYTES)
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    file: Arc<dyn DiskFile>,
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.meet(Op::Write)?;
        self.file.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.meet(Op::SyncData)?;
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.meet(Op::SyncAll)?;
        self.file.sync_all()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.disk.meet(Op::Allocate)?;
        let more = len.saturating_sub(self.file.len()?);
        let mut faults = self.disk.faults();
        if faults.allocated + more > faults.capacity {
            return Err(ErrorKind::StorageFull.into());
        }
        self.file.allocate(len)?;
        faults.allocated += more;
        Ok(())
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
