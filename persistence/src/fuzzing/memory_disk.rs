//! A disk that holds a few files in memory, to be read only.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{DirEntry, Disk, DiskFile, EntryKind, LockAttempt, OpenMode};

/// Files by their paths.
#[derive(Debug, Default)]
pub(crate) struct MemoryDisk(pub(crate) BTreeMap<PathBuf, Arc<MemoryFile>>);

/// The bytes of a file.
#[derive(Debug)]
pub(crate) struct MemoryFile(pub(crate) Vec<u8>);

fn never_written<T>() -> io::Result<T> {
    Err(ErrorKind::Unsupported.into())
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        match (self.0.get(path), mode) {
            (Some(file), OpenMode::Read) => Ok(Arc::clone(file) as Arc<dyn DiskFile>),
            (None, OpenMode::Read) => Err(ErrorKind::NotFound.into()),
            _ => never_written(),
        }
    }

    fn kind(&self, path: &Path) -> io::Result<Option<EntryKind>> {
        Ok(self.0.contains_key(path).then_some(EntryKind::File))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let names = self.0.keys().filter_map(|path| path.strip_prefix(dir).ok());
        let entry = |name: &Path| DirEntry {
            name: name.to_string_lossy().into_owned(),
            kind: EntryKind::File,
        };
        Ok(names.map(entry).collect())
    }

    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        never_written()
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        never_written()
    }

    fn remove(&self, _path: &Path) -> io::Result<()> {
        never_written()
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        never_written()
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        Ok(0)
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
        let read = rest.len().min(buf.len());
        buf[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        never_written()
    }

    fn sync_data(&self) -> io::Result<()> {
        never_written()
    }

    fn sync_all(&self) -> io::Result<()> {
        never_written()
    }

    fn allocate(&self, _len: u64) -> io::Result<()> {
        never_written()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        never_written()
    }

    fn try_lock(&self) -> io::Result<LockAttempt> {
        never_written()
    }
}
