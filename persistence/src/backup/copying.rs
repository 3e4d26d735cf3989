//! Files copied and compared by their BLAKE3.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{BackupError, FileEntry};
use crate::disk::DiskFile;
use crate::pace::Pace;

/// How much is read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// How much of a file is copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// Bytes that are taken over.
    pub(super) taken: u64,
    /// The length of the copy: zeros follow what is taken.
    pub(super) bytes: u64,
}

impl Extent {
    /// A whole file of this length.
    pub(super) fn whole(bytes: u64) -> Extent {
        Extent { taken: bytes, bytes }
    }
}

/// Copies a file to the new file at `path`, durable when it returns but for its name. Returns the BLAKE3 of the copy, in hexadecimal.
pub(super) fn copy(
    from: &dyn DiskFile,
    extent: Extent,
    path: &Path,
) -> Result<String, BackupError> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut hasher = blake3::Hasher::new();
    let mut copied = || {
        let to = File::create_new(path)?;
        let mut pace = Pace::default();
        let mut offset = 0;
        while offset < extent.taken {
            let len = (extent.taken - offset).min(chunk.len() as u64) as usize;
            if from.read_at(&mut chunk[..len], offset)? < len {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            to.write_all_at(&chunk[..len], offset)?;
            hasher.update(&chunk[..len]);
            offset += len as u64;
            pace.wrote(len as u64, || to.sync_data())?;
        }
        to.set_len(extent.bytes)?;
        to.sync_all()
    };
    copied().map_err(BackupError::io("copy to", path))?;
    chunk.fill(0);
    let mut offset = extent.taken;
    while offset < extent.bytes {
        let len = (extent.bytes - offset).min(chunk.len() as u64) as usize;
        hasher.update(&chunk[..len]);
        offset += len as u64;
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// The entry of the file at `path`, which is durable when this returns.
pub(super) fn entry_of(path: &Path, name: String) -> Result<FileEntry, BackupError> {
    let read = || {
        let file = File::open(path)?;
        file.sync_all()?;
        Ok((file.metadata()?.len(), hash(&file)?))
    };
    let (bytes, blake3) = read().map_err(BackupError::io("read", path))?;
    Ok(FileEntry { path: name, bytes, blake3 })
}

fn hash(file: &File) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Makes `path` another name of a file that is never written again, or a copy of it where that is not possible.
pub(super) fn link(of: &Path, path: &Path) -> Result<(), BackupError> {
    if fs::hard_link(of, path).is_ok() {
        return Ok(());
    }
    let copied = || fs::copy(of, path).and_then(|_| File::open(path)?.sync_all());
    copied().map_err(BackupError::io("copy to", path))
}

/// Checks that the file at `path` is the one that the entry names.
pub(super) fn check(path: &Path, entry: &FileEntry) -> Result<(), BackupError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(BackupError::damaged(path, "it is missing"));
        }
        file => file.map_err(BackupError::io("open", path))?,
    };
    let bytes = file.metadata().map_err(BackupError::io("measure", path))?.len();
    if bytes != entry.bytes {
        return Err(BackupError::damaged(path, "its length is wrong"));
    }
    if hash(&file).map_err(BackupError::io("read", path))? != entry.blake3 {
        return Err(BackupError::damaged(path, "its checksum does not match"));
    }
    Ok(())
}
