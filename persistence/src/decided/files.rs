//! Small pieces of file handling: for the filter's two files, on the [`Disk`], and for the store, which has its own way to its files.

use super::IndexError;
use crate::disk::{Disk, DiskFile};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

/// Names the file in an I/O error.
pub(super) trait FileError {
    fn at(self, path: &Path) -> IndexError;
}

impl FileError for io::Error {
    fn at(self, path: &Path) -> IndexError {
        IndexError::Io { path: path.to_path_buf(), source: self }
    }
}

/// Reads a file from some offset on.
#[derive(Debug)]
pub(super) struct ReadFrom {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) offset: u64,
}

impl Read for ReadFrom {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// Renames within a directory of the disk, so that the new name survives power loss.
pub(super) fn replace(disk: &dyn Disk, from: &Path, to: &Path) -> Result<(), IndexError> {
    disk.rename(from, to).and_then(|()| disk.sync_dir(dir_of(to))).map_err(|error| error.at(to))
}

/// Removes a file of the disk if it is there, durably.
pub(super) fn remove(disk: &dyn Disk, path: &Path) -> Result<(), IndexError> {
    match disk.remove(path) {
        Ok(()) => disk.sync_dir(dir_of(path)).map_err(|error| error.at(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.at(path)),
    }
}

/// Creates a directory, and those above it, if they are not there; durable when it returns.
pub(super) fn create_dir(dir: &Path) -> Result<(), IndexError> {
    if let Some(above) = dir.parent().filter(|above| !above.as_os_str().is_empty())
        && !above.exists()
    {
        create_dir(above)?;
    }
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error.at(dir)),
        _ => sync_parent(dir),
    }
}

/// Renames within a directory and syncs the directory, so that the new name survives power loss.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), IndexError> {
    fs::rename(from, to).map_err(|error| error.at(to))?;
    sync_parent(to)
}

/// Removes a directory with all that is in it, if it is there.
pub(super) fn remove_dir_all(dir: &Path) -> Result<(), IndexError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.at(dir)),
        _ => Ok(()),
    }
}

/// Makes the name of a file or directory durable.
pub(super) fn sync_parent(path: &Path) -> Result<(), IndexError> {
    let dir = dir_of(path);
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| error.at(dir))
}

/// The directory that holds a name.
fn dir_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        Some(_) => Path::new("."),
        None => path,
    }
}
