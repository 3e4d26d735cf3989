//! The seam between durable state and the disk it stands on.
//!
//! Everything in this crate that reads or writes files of the data directory does so through [`Disk`]
//! and [`DiskFile`], so that the same code can run on a simulated disk that loses, tears and reorders
//! writes. [`OsDisk`] is the real one.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::FallocateFlags;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading only.
    Read,
    /// An existing file, for reading and writing.
    ReadWrite,
    /// For reading and writing; made empty when it does not exist, left as it is when it does.
    OpenOrCreate,
    /// For reading and writing; fails with `AlreadyExists` when it exists.
    CreateNew,
    /// For reading and writing; made when it does not exist, emptied when it does.
    CreateOrTruncate,
}

/// What a name in a directory stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else: a link that leads nowhere, a socket, a device.
    Other,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The last part of the path. A name that is not UTF-8 is shown with replacement characters.
    pub name: String,
    /// What stands under it, with symbolic links followed.
    pub kind: EntryKind,
}

/// The answer to [`DiskFile::try_lock`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockAttempt {
    /// The lock is held until this handle and its clones are dropped.
    Acquired,
    /// Another handle, most likely of another process, holds it.
    HeldElsewhere,
}

/// A file system: the only way to files for durable state.
///
/// Names made by `open`, `rename` and `remove` are durable only after [`Disk::sync_dir`] of their directory.
pub trait Disk: Send + Sync + Debug {
    /// Opens the file at `path`.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// What stands at `path`, or `None` when nothing does.
    fn kind(&self, path: &Path) -> io::Result<Option<EntryKind>>;
    /// The names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    /// Makes a directory and those above it that are missing; no error when it is there already.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Renames a file, replacing what stands at `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that this process may still allocate on the file system that holds `dir`.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
}

/// An open file, addressed by offset and shared between threads.
pub trait DiskFile: Send + Sync + Debug {
    /// Fills `buf` from `offset`; fewer bytes than its length only when the file ends before.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes the content durable, and of the metadata only what reading it needs (fdatasync).
    fn sync_data(&self) -> io::Result<()>;
    /// Makes content and metadata durable (fsync).
    fn sync_all(&self) -> io::Result<()>;
    /// Reserves room for the first `len` bytes and makes the file at least that long. New bytes read as zero,
    /// and writing them can no longer fail for want of space.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// True when the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends the file to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Takes the exclusive lock on the file without waiting.
    fn try_lock(&self) -> io::Result<LockAttempt>;
}

/// The operating system's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk;

impl OsDisk {
    /// The disk as the shared trait object that everything else takes.
    pub fn shared() -> Arc<dyn Disk> {
        Arc::new(OsDisk)
    }
}

impl Disk for OsDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::ReadWrite => {
                options.write(true);
            }
            OpenMode::OpenOrCreate => {
                options.write(true).create(true).truncate(false);
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
            OpenMode::CreateOrTruncate => {
                options.write(true).create(true).truncate(true);
            }
        }
        Ok(Arc::new(OsFile(options.open(path)?)))
    }

    fn kind(&self, path: &Path) -> io::Result<Option<EntryKind>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(kind_of(&metadata))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let kind = match fs::metadata(entry.path()) {
                Ok(metadata) => kind_of(&metadata),
                Err(error) if error.kind() == ErrorKind::NotFound => EntryKind::Other,
                Err(error) => return Err(error),
            };
            entries.push(DirEntry { name: entry.file_name().to_string_lossy().into_owned(), kind });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

fn kind_of(metadata: &fs::Metadata) -> EntryKind {
    if metadata.is_dir() {
        EntryKind::Directory
    } else if metadata.is_file() {
        EntryKind::File
    } else {
        EntryKind::Other
    }
}

#[derive(Debug)]
struct OsFile(File);

impl DiskFile for OsFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        read_fully(buf, offset, |buf, offset| self.0.read_at(buf, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        // The standard library repeats an fdatasync only when a signal interrupted it, never when it failed.
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            // Some file systems can not reserve; writing zeros is how room is made sure on them.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                self.extend_by_zeros(len)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn try_lock(&self) -> io::Result<LockAttempt> {
        match self.0.try_lock() {
            Ok(()) => Ok(LockAttempt::Acquired),
            Err(TryLockError::WouldBlock) => Ok(LockAttempt::HeldElsewhere),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl OsFile {
    fn extend_by_zeros(&self, len: u64) -> io::Result<()> {
        let zeros = vec![0; 1 << 20];
        let mut offset = self.0.metadata()?.len();
        while offset < len {
            let step = (len - offset).min(zeros.len() as u64);
            self.0.write_all_at(&zeros[..step as usize], offset)?;
            offset += step;
        }
        Ok(())
    }
}

/// Replaces the file `name` in `dir` with `content`, so that after a crash it holds the old or the new content
/// in full: written beside it, synced, renamed, and the directory synced.
///
/// # Errors
/// The first failing step's error; the old content may then still stand, and a `.tmp` file may be left.
pub fn replace_file(disk: &dyn Disk, dir: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let temporary = dir.join(format!("{name}.tmp"));
    let file = disk.open(&temporary, OpenMode::CreateOrTruncate)?;
    file.write_at(content, 0)?;
    file.sync_all()?;
    disk.rename(&temporary, &dir.join(name))?;
    disk.sync_dir(dir)
}

/// Reads a whole file of at most `len_max` bytes.
///
/// # Errors
/// What opening or reading gives; `InvalidData` when the file is longer than `len_max`.
pub fn read_file(disk: &dyn Disk, path: &Path, len_max: usize) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let len = file.len()?;
    if len > len_max as u64 {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("{len} bytes are too many")));
    }
    let mut content = vec![0; len as usize];
    let read = file.read_at(&mut content, 0)?;
    content.truncate(read);
    Ok(content)
}

/// Fills `buf` by a `read` that may give fewer bytes than are asked for, or be interrupted; fewer in all only where the file ends.
fn read_fully(
    buf: &mut [u8],
    offset: u64,
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match read(&mut buf[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(any(test, feature = "faulty-disk"))]
pub mod faulty;
#[cfg(feature = "simulation")]
pub mod simulated;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocated_bytes_read_as_zero_and_keep_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = OsDisk.open(&dir.path().join("f"), OpenMode::CreateNew).unwrap();
        file.write_at(b"head", 0).unwrap();
        file.allocate(10_000).unwrap();
        assert_eq!(file.len().unwrap(), 10_000);
        let mut bytes = vec![1; 20_000];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 10_000);
        assert_eq!(&bytes[..4], b"head");
        assert!(bytes[4..10_000].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn modes_differ_in_what_they_do_to_an_existing_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        assert_eq!(OsDisk.open(&path, OpenMode::Read).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(
            OsDisk.open(&path, OpenMode::ReadWrite).unwrap_err().kind(),
            ErrorKind::NotFound
        );
        OsDisk.open(&path, OpenMode::OpenOrCreate).unwrap().write_at(b"kept", 0).unwrap();
        assert_eq!(OsDisk.open(&path, OpenMode::OpenOrCreate).unwrap().len().unwrap(), 4);
        assert_eq!(
            OsDisk.open(&path, OpenMode::CreateNew).unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
        assert!(OsDisk.open(&path, OpenMode::Read).unwrap().write_at(b"x", 0).is_err());
        assert!(OsDisk.open(&path, OpenMode::CreateOrTruncate).unwrap().is_empty().unwrap());
    }

    #[test]
    fn a_second_handle_does_not_get_the_lock_until_the_first_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = OsDisk.open(&path, OpenMode::OpenOrCreate).unwrap();
        let second = OsDisk.open(&path, OpenMode::OpenOrCreate).unwrap();
        assert_eq!(first.try_lock().unwrap(), LockAttempt::Acquired);
        assert_eq!(second.try_lock().unwrap(), LockAttempt::HeldElsewhere);
        drop(first);
        assert_eq!(second.try_lock().unwrap(), LockAttempt::Acquired);
    }

    #[test]
    fn replacing_a_file_leaves_no_temporary_behind() {
        let dir = tempfile::tempdir().unwrap();
        replace_file(&OsDisk, dir.path(), "f", b"one").unwrap();
        replace_file(&OsDisk, dir.path(), "f", b"two").unwrap();
        assert_eq!(read_file(&OsDisk, &dir.path().join("f"), 3).unwrap(), b"two");
        assert_eq!(
            read_file(&OsDisk, &dir.path().join("f"), 2).unwrap_err().kind(),
            ErrorKind::InvalidData
        );
        let names: Vec<_> = OsDisk.list(dir.path()).unwrap().into_iter().map(|e| e.name).collect();
        assert_eq!(names, ["f"]);
        assert!(OsDisk.free_bytes(dir.path()).unwrap() > 0);
    }
}
