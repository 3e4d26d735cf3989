//! A disk in memory for simulations: it forgets what was not synced, tears and reorders it, fails, fills up and rots, all as a seed decides.
//!
//! What a process sees is kept apart from what the platter holds. A write changes what is seen, and waits; a sync takes what waits to the
//! platter. When the power goes, each sector of what waits may have arrived or not, in any order, the last one in part. When only the process goes,
//! the kernel still has all of it, except for what a failed sync dropped: that is still seen, and may be gone at the next look. Names wait for the sync
//! of their directory in the same way.

mod fate;
mod names;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use fate::{Fate, Operation, Random, Weather};
use names::{Name, Names};

use super::{DirEntry, Disk, DiskFile, EntryKind, LockAttempt, OpenMode, read_fully};

/// What a disk writes as a whole, or not at all.
const SECTOR_BYTES: usize = 512;
/// So many synced writes can still turn out to have been lost.
const REMEMBERED_WRITES: usize = 64;

/// A change of a file that no sync has covered yet.
#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Debug, Default)]
struct Inode {
    /// What processes see.
    seen: Vec<u8>,
    /// What the platter holds.
    platter: Vec<u8>,
    waiting: Vec<Change>,
    /// Where a failed sync left what is seen without it being on the platter.
    dropped: Vec<(usize, usize)>,
    locked_by: Option<u64>,
}

/// A write that was synced, and what stood there before.
#[derive(Clone, Debug)]
struct Synced {
    inode: u64,
    offset: usize,
    before: Vec<u8>,
    after: Vec<u8>,
}

#[derive(Debug, Default)]
struct Content {
    names: Names,
    inodes: BTreeMap<u64, Inode>,
    last_inode: u64,
    last_handle: u64,
    /// Handles of a process that is gone do nothing more.
    boot: u64,
    synced: Vec<Synced>,
}

/// How a process or its machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process is killed; the kernel lives on.
    Process,
    /// The power goes.
    Power,
}

/// What was damaged behind the back of everyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// One bit has turned.
    BitRot,
    /// A write that was synced never arrived.
    LostWrite,
    /// A write that was synced arrived somewhere else.
    MisdirectedWrite,
}

/// What puts the platter back to how it was before damage.
#[derive(Debug, Default)]
pub struct Undo(Vec<Damaged>);

/// One place that was damaged.
struct Damaged {
    inode: u64,
    offset: usize,
    before: Vec<u8>,
    after: Vec<u8>,
}

impl std::fmt::Debug for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "file {} at {}, {} bytes", self.inode, self.offset, self.before.len())
    }
}

/// The disk. It outlives the processes that use it.
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    fate: Arc<Mutex<Fate>>,
    content: Arc<Mutex<Content>>,
}

impl SimulatedDisk {
    /// An empty disk of a machine with this fate.
    #[must_use]
    pub fn new(fate: Arc<Mutex<Fate>>) -> SimulatedDisk {
        SimulatedDisk { fate, content: Arc::default() }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fate(&self) -> MutexGuard<'_, Fate> {
        self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the process that used the disk, and with it perhaps what was not synced. The next process finds what is left.
    pub fn crash(&self, crash: Crash) {
        let mut fate = self.fate();
        let random = &mut fate.random;
        let mut content = self.content();
        content.boot += 1;
        if crash == Crash::Power {
            content.names.lose_power(random);
        }
        let kept = content.names.inodes();
        content.inodes.retain(|number, _| kept.contains(number));
        for inode in content.inodes.values_mut() {
            inode.locked_by = None;
            match crash {
                Crash::Process => inode.evict(random),
                Crash::Power => inode.lose_power(random),
            }
        }
    }

    /// Damages what stands on the platter under `within`; to be called after a crash of the power. None where there is nothing to damage.
    pub fn damage(&self, within: &Path, damage: Damage) -> Option<Undo> {
        let mut fate = self.fate();
        let random = &mut fate.random;
        let mut content = self.content();
        let targets = content.names.files_under(within);
        match damage {
            Damage::BitRot => {
                let number = *random.of(&targets)?;
                let inode = content.inodes.get_mut(&number)?;
                // Most of a segment are zeros: where something stands is more telling.
                let written: Vec<usize> = (0..inode.platter.len().div_ceil(SECTOR_BYTES))
                    .filter(|sector| {
                        let start = sector * SECTOR_BYTES;
                        let end = inode.platter.len().min(start + SECTOR_BYTES);
                        inode.platter[start..end].iter().any(|byte| *byte != 0)
                    })
                    .collect();
                let sector = *random.of(&written)?;
                let end = inode.platter.len().min((sector + 1) * SECTOR_BYTES);
                let at = random.between(sector * SECTOR_BYTES, end);
                let rotten = inode.platter[at] ^ (1 << random.below(8));
                let mut undo = Undo::default();
                inode.overwrite(number, at, &[rotten], &mut undo);
                Some(undo)
            }
            Damage::LostWrite | Damage::MisdirectedWrite => {
                let at = random.below(content.synced.len().max(1) as u64) as usize;
                let Synced { inode: number, offset, before, after } =
                    content.synced.get(at)?.clone();
                if !targets.contains(&number) || before == after {
                    return None;
                }
                let elsewhere = *random.of(&targets)?;
                let mut undo = Undo::default();
                let inode = content.inodes.get_mut(&number)?;
                // Only what still stands there can turn out not to.
                if inode.platter.get(offset..offset + after.len()) != Some(&after[..]) {
                    return None;
                }
                inode.overwrite(number, offset, &before, &mut undo);
                if damage == Damage::MisdirectedWrite {
                    let inode = content.inodes.get_mut(&elsewhere)?;
                    let sectors = inode.platter.len() / SECTOR_BYTES;
                    let within = offset % SECTOR_BYTES;
                    let to = random.below(sectors.max(1) as u64) as usize * SECTOR_BYTES + within;
                    if to + after.len() <= inode.platter.len() {
                        inode.overwrite(elsewhere, to, &after, &mut undo);
                    }
                }
                Some(undo)
            }
        }
    }

    /// Puts back what was damaged, as from a backup, where it still is.
    pub fn undo(&self, Undo(undo): Undo) {
        let mut content = self.content();
        for Damaged { inode, offset, before, after } in undo.into_iter().rev() {
            let Some(inode) = content.inodes.get_mut(&inode) else { continue };
            let range = offset..offset + before.len();
            if inode.platter.get(range.clone()) == Some(&after[..]) {
                inode.platter[range].copy_from_slice(&before);
                inode.seen.clone_from(&inode.platter);
            }
        }
    }

    /// Bytes that all files take.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        let content = self.content();
        let files = content.names.files_under(Path::new("/"));
        files
            .iter()
            .filter_map(|file| content.inodes.get(file))
            .map(|it| it.seen.len() as u64)
            .sum()
    }

    fn meet(&self, operation: Operation) -> io::Result<()> {
        self.fate().meet(operation)
    }
}

impl Inode {
    /// What a failed sync dropped may be gone from the kernel's memory too.
    fn evict(&mut self, random: &mut Random) {
        for (start, end) in std::mem::take(&mut self.dropped) {
            let end = end.min(self.seen.len()).min(self.platter.len());
            if start < end && random.one_in(2) {
                self.seen[start..end].copy_from_slice(&self.platter[start..end]);
            } else {
                self.dropped.push((start, end));
            }
        }
    }

    /// Each sector of what waits has arrived, or has not, in some order.
    fn lose_power(&mut self, random: &mut Random) {
        let mut waiting = std::mem::take(&mut self.waiting);
        self.dropped.clear();
        let (all, none) = (random.one_in(4), random.one_in(4));
        if random.one_in(3) {
            random.shuffle(&mut waiting);
        }
        for change in waiting {
            match change {
                Change::Length(len) => {
                    if all || (!none && random.one_in(2)) {
                        self.platter.resize(len, 0);
                    }
                }
                Change::Write { offset, bytes } => {
                    let mut at = 0;
                    while at < bytes.len() {
                        let step = SECTOR_BYTES - (offset + at) % SECTOR_BYTES;
                        let end = bytes.len().min(at + step);
                        if all || (!none && random.one_in(2)) {
                            // Some disks do not even write a sector as a whole.
                            let torn = !all && random.one_in(16);
                            let end = if torn { random.between(at, end) } else { end };
                            self.arrive(offset + at, &bytes[at..end]);
                        }
                        at += step;
                    }
                }
            }
        }
        self.seen.clone_from(&self.platter);
    }

    fn arrive(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.platter.len() < end {
            self.platter.resize(end, 0);
        }
        self.platter[offset..end].copy_from_slice(bytes);
    }

    /// Overwrites as much of `bytes` as the file has room for.
    fn overwrite(&mut self, number: u64, offset: usize, bytes: &[u8], undo: &mut Undo) {
        let end = self.platter.len().min(offset + bytes.len());
        let (before, after) = (self.platter[offset..end].to_vec(), &bytes[..end - offset]);
        self.platter[offset..end].copy_from_slice(after);
        undo.0.push(Damaged { inode: number, offset, before, after: after.to_vec() });
        self.seen.clone_from(&self.platter);
    }

    fn see(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        // What is written again waits again.
        self.dropped = self
            .dropped
            .iter()
            .flat_map(|(from, to)| [(*from, offset.min(*to)), (end.max(*from), *to)])
            .filter(|(from, to)| from < to)
            .collect();
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        self.seen[offset..end].copy_from_slice(bytes);
        self.waiting.push(Change::Write { offset, bytes: bytes.to_vec() });
    }

    /// Takes all that waits to the platter, and tells of each write what stood there.
    fn sync(&mut self, mut synced: impl FnMut(usize, Vec<u8>, Vec<u8>)) {
        for change in std::mem::take(&mut self.waiting) {
            match change {
                Change::Length(len) => self.platter.resize(len, 0),
                Change::Write { offset, bytes } => {
                    let stood = self.platter.get(offset..offset + bytes.len()).map(<[u8]>::to_vec);
                    self.arrive(offset, &bytes);
                    // Larger ones are the zeros of spares.
                    if let Some(before) = stood.filter(|_| bytes.len() <= 16 << 10) {
                        synced(offset, before, bytes);
                    }
                }
            }
        }
    }

    /// A sync that failed: the kernel takes what did not arrive for clean all the same.
    fn fail_sync(&mut self, random: &mut Random) {
        for change in std::mem::take(&mut self.waiting) {
            let arrives = random.one_in(2);
            match change {
                Change::Length(len) => self.platter.resize(len, 0),
                Change::Write { offset, bytes } if arrives => self.arrive(offset, &bytes),
                Change::Write { offset, bytes } => {
                    let end = offset + bytes.len();
                    if self.platter.len() < end {
                        self.platter.resize(end, 0);
                    }
                    self.dropped.push((offset, end));
                }
            }
        }
    }
}

impl Disk for SimulatedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.meet(if mode == OpenMode::Read { Operation::Read } else { Operation::Open })?;
        let mut content = self.content();
        let content = &mut *content;
        let found = match content.names.get(path) {
            Some(Name::Directory) => return Err(ErrorKind::IsADirectory.into()),
            Some(Name::File(inode)) => Some(inode),
            None => None,
        };
        let inode = match (mode, found) {
            (OpenMode::CreateNew, Some(_)) => return Err(ErrorKind::AlreadyExists.into()),
            (OpenMode::Read | OpenMode::ReadWrite, None) => return Err(ErrorKind::NotFound.into()),
            (OpenMode::CreateOrTruncate, Some(inode)) => {
                let file = content.inodes.get_mut(&inode).ok_or(ErrorKind::NotFound)?;
                file.seen.clear();
                file.waiting.push(Change::Length(0));
                inode
            }
            (_, Some(inode)) => inode,
            (_, None) => {
                content.last_inode += 1;
                let inode = content.last_inode;
                content.names.set(path, Some(Name::File(inode)))?;
                content.inodes.insert(inode, Inode::default());
                inode
            }
        };
        content.last_handle += 1;
        Ok(Arc::new(SimulatedFile {
            disk: self.clone(),
            inode,
            handle: content.last_handle,
            boot: content.boot,
            writable: mode != OpenMode::Read,
        }))
    }

    fn kind(&self, path: &Path) -> io::Result<Option<EntryKind>> {
        self.meet(Operation::Read)?;
        Ok(self.content().names.get(path).map(Name::kind))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.meet(Operation::Read)?;
        self.content().names.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.meet(Operation::Name)?;
        let mut content = self.content();
        let mut above: Vec<PathBuf> = dir.ancestors().map(Path::to_owned).collect();
        above.reverse();
        for path in above.into_iter().filter(|path| !path.as_os_str().is_empty()) {
            match content.names.get(&path) {
                Some(Name::Directory) => {}
                Some(Name::File(_)) => return Err(ErrorKind::NotADirectory.into()),
                None => content.names.set(&path, Some(Name::Directory))?,
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.meet(Operation::Name)?;
        self.content().names.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.meet(Operation::Name)?;
        let mut content = self.content();
        match content.names.get(path) {
            Some(Name::File(_)) => content.names.set(path, None),
            Some(Name::Directory) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.meet(Operation::SyncDir)?;
        self.content().names.sync(dir);
        Ok(())
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let capacity = self.fate().weather.capacity_bytes;
        Ok(capacity.saturating_sub(self.used_bytes()))
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    inode: u64,
    handle: u64,
    boot: u64,
    writable: bool,
}

impl SimulatedFile {
    fn with<T>(&self, act: impl FnOnce(&mut Inode) -> io::Result<T>) -> io::Result<T> {
        let mut content = self.disk.content();
        if content.boot != self.boot {
            return Err(io::Error::other("the process is gone"));
        }
        act(content.inodes.get_mut(&self.inode).ok_or(ErrorKind::NotFound)?)
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(ErrorKind::PermissionDenied.into()) }
    }

    /// Whether so many bytes more find a place.
    fn check_room(&self, more: u64) -> io::Result<()> {
        if more == 0 {
            return Ok(());
        }
        let capacity = self.disk.fate().weather.capacity_bytes;
        if self.disk.used_bytes() + more <= capacity {
            Ok(())
        } else {
            self.disk.fate().note_full();
            Err(ErrorKind::StorageFull.into())
        }
    }

    fn sync(&self) -> io::Result<()> {
        let met = self.disk.meet(Operation::Sync);
        let mut fate = self.disk.fate();
        let is_off = fate.is_off();
        let mut content = self.disk.content();
        let content = &mut *content;
        if content.boot != self.boot {
            return Err(io::Error::other("the process is gone"));
        }
        let inode = content.inodes.get_mut(&self.inode).ok_or(ErrorKind::NotFound)?;
        match met {
            Ok(()) => {
                let synced = &mut content.synced;
                inode.sync(|offset, before, after| {
                    if synced.len() >= REMEMBERED_WRITES {
                        synced.remove(0);
                    }
                    synced.push(Synced { inode: self.inode, offset, before, after });
                });
                Ok(())
            }
            Err(error) => {
                // When the machine went off under it, what waits still waits.
                if !is_off {
                    inode.fail_sync(&mut fate.random);
                }
                Err(error)
            }
        }
    }
}

impl DiskFile for SimulatedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.meet(Operation::Read)?;
        // The kernel may give less than it was asked for, or nothing just now.
        let shortness = self.disk.fate().shortness();
        let mut interrupted = shortness.is_some();
        read_fully(buf, offset, |buf, offset| {
            if std::mem::take(&mut interrupted) {
                return Err(ErrorKind::Interrupted.into());
            }
            self.with(|inode| {
                let offset = offset as usize;
                let Some(rest) = inode.seen.get(offset..) else { return Ok(0) };
                let wanted = shortness.map_or(buf.len(), |short| buf.len().min(short));
                let read = rest.len().min(wanted);
                buf[..read].copy_from_slice(&rest[..read]);
                Ok(read)
            })
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.check_writable()?;
        let offset = offset as usize;
        let len = self.with(|inode| Ok(inode.seen.len()))?;
        let more = (offset + bytes.len()).saturating_sub(len);
        let met = self.disk.meet(Operation::Write).and_then(|()| self.check_room(more as u64));
        let arrived = match &met {
            Ok(()) => bytes.len(),
            // A write that fails may have been made in part.
            Err(_) => self.disk.fate().random.below(bytes.len() as u64 + 1) as usize,
        };
        if arrived > 0 && (met.is_ok() || more == 0) {
            self.with(|inode| {
                inode.see(offset, &bytes[..arrived]);
                Ok(())
            })?;
        }
        met
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        self.disk.meet(Operation::Allocate)?;
        let more = self.with(|inode| Ok(len.saturating_sub(inode.seen.len() as u64)))?;
        self.check_room(more)?;
        self.with(|inode| {
            if more > 0 {
                inode.seen.resize(len as usize, 0);
                inode.waiting.push(Change::Length(len as usize));
            }
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|inode| Ok(inode.seen.len() as u64))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        self.disk.meet(Operation::Write)?;
        self.with(|inode| {
            inode.seen.resize(len as usize, 0);
            inode.waiting.push(Change::Length(len as usize));
            Ok(())
        })
    }

    fn try_lock(&self) -> io::Result<LockAttempt> {
        self.with(|inode| match inode.locked_by {
            Some(other) if other != self.handle => Ok(LockAttempt::HeldElsewhere),
            _ => {
                inode.locked_by = Some(self.handle);
                Ok(LockAttempt::Acquired)
            }
        })
    }
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        // A handle of a process that is gone holds nothing any more.
        let _ = self.with(|inode| {
            inode.locked_by.take_if(|holder| *holder == self.handle);
            Ok(())
        });
    }
}
