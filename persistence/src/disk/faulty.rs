//! A disk for tests: the real one with a quota and operations that fail on demand.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::{DirEntry, Disk, DiskFile, EntryKind, LockAttempt, OpenMode, OsDisk};

/// What the disk says is free, whatever the quota.
pub(crate) const FREE_BYTES: u64 = 1 << 50;

/// An operation that can be made to fail and is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Open,
    Rename,
    Remove,
    Write,
    Allocate,
    SyncData,
    SyncAll,
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
    done: Vec<Op>,
}

/// The real disk, except for what a test tells it.
#[derive(Debug, Clone)]
pub(crate) struct FaultyDisk(Arc<Mutex<Faults>>);

impl FaultyDisk {
    pub(crate) fn new() -> FaultyDisk {
        let capacity = u64::MAX;
        FaultyDisk(Arc::new(Mutex::new(Faults {
            capacity,
            allocated: 0,
            failing: None,
            failing_once: None,
            steps_left: usize::MAX,
            done: Vec::new(),
        })))
    }

    /// From now on at most `bytes` can be allocated in all.
    pub(crate) fn set_capacity(&self, bytes: u64) {
        self.0.lock().unwrap().capacity = bytes;
    }

    /// Bytes that are allocated.
    pub(crate) fn allocated(&self) -> u64 {
        self.0.lock().unwrap().allocated
    }

    /// From now on every `op` fails.
    pub(crate) fn fail(&self, op: Op, kind: ErrorKind) {
        self.0.lock().unwrap().failing = Some((op, kind));
    }

    /// The next `op` fails.
    pub(crate) fn fail_once(&self, op: Op, kind: ErrorKind) {
        self.0.lock().unwrap().failing_once = Some((op, kind));
    }

    /// After so many operations all fail, as when the process is dead.
    pub(crate) fn fail_after(&self, steps: usize) {
        self.0.lock().unwrap().steps_left = steps;
    }

    /// From now on nothing fails.
    pub(crate) fn heal(&self) {
        let mut faults = self.0.lock().unwrap();
        faults.failing = None;
        faults.steps_left = usize::MAX;
    }

    /// The operations since the last call.
    pub(crate) fn take_done(&self) -> Vec<Op> {
        std::mem::take(&mut self.0.lock().unwrap().done)
    }

    fn meet(&self, op: Op) -> io::Result<()> {
        let mut faults = self.0.lock().unwrap();
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
        let mut faults = self.0.lock().unwrap();
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
        let mut faults = self.disk.0.lock().unwrap();
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
