//! Small pieces of file handling that the filter's two files share.

use super::IndexError;
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Names the file in an I/O error.
pub(super) trait FileError {
    fn at(self, path: &Path) -> IndexError;
}

impl FileError for io::Error {
    fn at(self, path: &Path) -> IndexError {
        IndexError::Io { path: path.to_path_buf(), source: self }
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

/// Removes a file if it is there, durably.
pub(super) fn remove(path: &Path) -> Result<(), IndexError> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.at(path)),
    }
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
    let dir = match path.parent() {
        Some(dir) if dir.as_os_str().is_empty() => Path::new("."),
        Some(dir) => dir,
        None => return Ok(()),
    };
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| error.at(dir))
}
