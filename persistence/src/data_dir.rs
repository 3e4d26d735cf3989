//! The data directory: whose it is, which format it has, and that only one process uses it.
//!
//! A directory is made in an order that a crash can stop anywhere: first the lock, then the empty subdirectories,
//! last the identity. A directory without an identity is therefore either foreign or unfinished, and an unfinished one
//! holds nothing but those names; one with an identity but without a subdirectory has lost something and is refused.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;

use uuid::Uuid;

use crate::disk::{Disk, DiskFile, EntryKind, LockAttempt, OpenMode, read_file, replace_file};

/// The format of a data directory that this program writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

const IDENTITY: &str = "identity";
const LOCK: &str = "lock";
/// Stands in a directory until all of a backup is in it: even when nothing of it has come yet, nobody takes the directory for an empty one.
const RESTORING: &str = "restoring";
const SUBDIRECTORIES: [&str; 3] = ["journal", "snapshots", "ids"];
const MAGIC: [u8; 8] = *b"FLORINDD";
/// Magic 8, format version 4, reserved 4, uuid 16, reserved 28, crc32c of all before 4. Every later
/// format keeps the first and the last of these where they are, so that an older program can say what it met.
const IDENTITY_BYTES: usize = 64;

/// How an open data directory came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This open made it.
    Created,
    /// It was there before.
    Existing,
}

/// Why a data directory can not be used. Each is one sentence for the person who started the program.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The path names something that is not a directory.
    #[error("the data directory {} is not a directory", .path.display())]
    NotADirectory {
        /// The path given.
        path: PathBuf,
    },
    /// Only an existing directory was asked for.
    #[error("there is no data directory at {}", .path.display())]
    Missing {
        /// The path given.
        path: PathBuf,
    },
    /// A directory with content of somebody else.
    #[error("{} is not a florin data directory and not empty: it holds {found:?}; give an empty or a new directory", .path.display())]
    Foreign {
        /// The path given.
        path: PathBuf,
        /// One of the names found there.
        found: String,
    },
    /// A newer program made it.
    #[error("the data directory {} has format version {found}, but this program knows versions up to {FORMAT_VERSION}: use the newer program", .path.display())]
    NewerFormat {
        /// The path given.
        path: PathBuf,
        /// The version in the identity file.
        found: u32,
    },
    /// Another process has it open.
    #[error("the data directory {} is in use by {}", .path.display(), holder(.pid))]
    InUse {
        /// The path given.
        path: PathBuf,
        /// The process that wrote its id into the lock file, if it could be read.
        pid: Option<u32>,
    },
    /// The process may not write there.
    #[error("no permission to write to the data directory: {}", .path.display())]
    NotWritable {
        /// The file or directory that refused.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A ledger is there where a copy of one was to be put.
    #[error("there is a ledger in {} already: restore into a new or an empty directory", .path.display())]
    Occupied {
        /// The path given.
        path: PathBuf,
    },
    /// The identity file is not what was written.
    #[error("{} is damaged ({problem}): restore it from a backup of this same directory", .path.display())]
    DamagedIdentity {
        /// The identity file.
        path: PathBuf,
        /// What does not fit.
        problem: &'static str,
    },
    /// A subdirectory of a finished directory is gone.
    #[error("the data directory has lost {}: restore it from a backup", .path.display())]
    LostSubdirectory {
        /// The subdirectory.
        path: PathBuf,
    },
    /// Any other failure of the disk.
    #[error("could not {action} {}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

fn holder(pid: &Option<u32>) -> String {
    match pid {
        Some(pid) => format!("another process, pid {pid}"),
        None => "another process".to_owned(),
    }
}

impl DataDirError {
    fn io(action: &'static str, path: &Path, source: io::Error) -> DataDirError {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                DataDirError::NotWritable { path, source }
            }
            _ => DataDirError::Io { action, path, source },
        }
    }
}

/// An open data directory. While it lives, no other process can open the same one.
#[derive(Debug)]
pub struct DataDir {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    id: Uuid,
    origin: Origin,
    /// Holds the exclusive lock.
    _lock: Arc<dyn DiskFile>,
}

impl DataDir {
    /// Opens the data directory at `path`, making it when there is none or an empty directory.
    ///
    /// `fresh_id` becomes the identity of a directory made now; it must be unique in the world.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn open_or_create(
        disk: Arc<dyn Disk>,
        path: &Path,
        fresh_id: Uuid,
    ) -> Result<DataDir, DataDirError> {
        match kind_of(&*disk, path)? {
            Some(EntryKind::Directory) => {}
            Some(_) => return Err(DataDirError::NotADirectory { path: path.to_owned() }),
            None => make_directory(&*disk, path)?,
        }
        if !has_identity(&*disk, path)? {
            refuse_foreign(&*disk, path)?;
        }
        let lock = take_lock(&*disk, path)?;
        // Another process may have made the identity between the look above and the lock.
        let (id, origin) = if has_identity(&*disk, path)? {
            // One that died before it synced the identity's name left it in the kernel's memory, and all else rests on it.
            disk.sync_dir(path)
                .map_err(|source| DataDirError::io("sync the directory", path, source))?;
            (open_finished(&*disk, path)?, Origin::Existing)
        } else {
            refuse_foreign(&*disk, path)?;
            make_subdirectories(&*disk, path)?;
            write_identity(&*disk, path, fresh_id)?;
            (fresh_id, Origin::Created)
        };
        Ok(DataDir { disk, path: path.to_owned(), id, origin, _lock: lock })
    }

    /// Opens the data directory at `path`, which must exist already.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn open_existing(disk: Arc<dyn Disk>, path: &Path) -> Result<DataDir, DataDirError> {
        match kind_of(&*disk, path)? {
            Some(EntryKind::Directory) => {}
            Some(_) => return Err(DataDirError::NotADirectory { path: path.to_owned() }),
            None => return Err(DataDirError::Missing { path: path.to_owned() }),
        }
        if !has_identity(&*disk, path)? {
            refuse_foreign(&*disk, path)?;
            return Err(DataDirError::Missing { path: path.to_owned() });
        }
        let lock = take_lock(&*disk, path)?;
        let id = open_finished(&*disk, path)?;
        Ok(DataDir { disk, path: path.to_owned(), id, origin: Origin::Existing, _lock: lock })
    }

    /// The identity of the data directory at `path`, which another process may be using.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn identity_of(disk: &dyn Disk, path: &Path) -> Result<Uuid, DataDirError> {
        match kind_of(disk, path)? {
            Some(EntryKind::Directory) if has_identity(disk, path)? => open_finished(disk, path),
            Some(EntryKind::Directory) | None => {
                Err(DataDirError::Missing { path: path.to_owned() })
            }
            Some(_) => Err(DataDirError::NotADirectory { path: path.to_owned() }),
        }
    }

    /// Begins the data directory `id` at `path`, where nothing or an empty directory is, so that a copy of it can be put there. It is no data
    /// directory before [`DataDir::finish`]: a crash in between leaves what every other open refuses.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn begin(disk: Arc<dyn Disk>, path: &Path, id: Uuid) -> Result<DataDir, DataDirError> {
        match kind_of(&*disk, path)? {
            Some(EntryKind::Directory) => {}
            Some(_) => return Err(DataDirError::NotADirectory { path: path.to_owned() }),
            None => make_directory(&*disk, path)?,
        }
        let lock = take_lock(&*disk, path)?;
        if has_identity(&*disk, path)? {
            return Err(DataDirError::Occupied { path: path.to_owned() });
        }
        refuse_foreign(&*disk, path)?;
        replace_file(&*disk, path, RESTORING, b"")
            .map_err(|source| DataDirError::io("write", &path.join(RESTORING), source))?;
        make_subdirectories(&*disk, path)?;
        Ok(DataDir { disk, path: path.to_owned(), id, origin: Origin::Created, _lock: lock })
    }

    /// Makes durable that this is a whole data directory. Everything in it must be durable already.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn finish(&self) -> Result<(), DataDirError> {
        write_identity(&*self.disk, &self.path, self.id)?;
        let restoring = self.path.join(RESTORING);
        self.disk
            .remove(&restoring)
            .and_then(|()| self.disk.sync_dir(&self.path))
            .map_err(|source| DataDirError::io("remove", &restoring, source))
    }

    /// The identity given when the directory was made.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Whether this open made the directory.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The disk it stands on.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the journal's segments are.
    pub fn journal_dir(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// Where the snapshots are.
    pub fn snapshots_dir(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    /// Where the index of decided ids is.
    pub fn ids_dir(&self) -> PathBuf {
        self.path.join("ids")
    }

    /// The embedded store's file, which need not exist.
    pub fn store_path(&self) -> PathBuf {
        self.path.join("store.sqlite")
    }
}

fn kind_of(disk: &dyn Disk, path: &Path) -> Result<Option<EntryKind>, DataDirError> {
    match disk.kind(path) {
        // A path through a file: what stands above it is not a directory either.
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            Err(DataDirError::NotADirectory { path: path.to_owned() })
        }
        other => other.map_err(|source| DataDirError::io("look at", path, source)),
    }
}

fn make_directory(disk: &dyn Disk, path: &Path) -> Result<(), DataDirError> {
    disk.create_dir_all(path).map_err(|source| DataDirError::io("make", path, source))?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => disk
            .sync_dir(parent)
            .map_err(|source| DataDirError::io("sync the directory", parent, source)),
        _ => Ok(()),
    }
}

fn has_identity(disk: &dyn Disk, path: &Path) -> Result<bool, DataDirError> {
    let identity = path.join(IDENTITY);
    let kind =
        disk.kind(&identity).map_err(|source| DataDirError::io("look at", &identity, source))?;
    Ok(kind.is_some())
}

/// Accepts a directory that is empty or an unfinished one of ours.
fn refuse_foreign(disk: &dyn Disk, path: &Path) -> Result<(), DataDirError> {
    let entries = disk.list(path).map_err(|source| DataDirError::io("list", path, source))?;
    for entry in entries {
        let ours = match entry.kind {
            EntryKind::File => entry.name == LOCK || entry.name == "identity.tmp",
            EntryKind::Directory if SUBDIRECTORIES.contains(&entry.name.as_str()) => {
                let subdirectory = path.join(&entry.name);
                disk.list(&subdirectory)
                    .map_err(|source| DataDirError::io("list", &subdirectory, source))?
                    .is_empty()
            }
            // A fresh file system that is mounted there has this one.
            EntryKind::Directory => entry.name == "lost+found",
            EntryKind::Other => false,
        };
        if !ours {
            return Err(DataDirError::Foreign { path: path.to_owned(), found: entry.name });
        }
    }
    Ok(())
}

fn take_lock(disk: &dyn Disk, path: &Path) -> Result<Arc<dyn DiskFile>, DataDirError> {
    let lock_path = path.join(LOCK);
    let refused = |source| DataDirError::io("lock", &lock_path, source);
    let lock = disk.open(&lock_path, OpenMode::OpenOrCreate).map_err(refused)?;
    if lock.try_lock().map_err(refused)? == LockAttempt::HeldElsewhere {
        return Err(DataDirError::InUse { path: path.to_owned(), pid: read_pid(&*lock) });
    }
    lock.set_len(0).map_err(refused)?;
    lock.write_at(format!("{}\n", process::id()).as_bytes(), 0).map_err(refused)?;
    Ok(lock)
}

fn read_pid(lock: &dyn DiskFile) -> Option<u32> {
    let mut text = [0; 16];
    let read = lock.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..read]).ok()?.trim().parse().ok()
}

fn make_subdirectories(disk: &dyn Disk, path: &Path) -> Result<(), DataDirError> {
    for name in SUBDIRECTORIES {
        let subdirectory = path.join(name);
        disk.create_dir_all(&subdirectory)
            .map_err(|source| DataDirError::io("make", &subdirectory, source))?;
    }
    // The subdirectories are durable before the identity that says they are there.
    disk.sync_dir(path).map_err(|source| DataDirError::io("sync the directory", path, source))
}

fn write_identity(disk: &dyn Disk, path: &Path, id: Uuid) -> Result<(), DataDirError> {
    replace_file(disk, path, IDENTITY, &encode_identity(FORMAT_VERSION, id))
        .map_err(|source| DataDirError::io("write", &path.join(IDENTITY), source))
}

fn open_finished(disk: &dyn Disk, path: &Path) -> Result<Uuid, DataDirError> {
    let identity = path.join(IDENTITY);
    let bytes = read_file(disk, &identity, 1 << 16)
        .map_err(|source| DataDirError::io("read", &identity, source))?;
    let (version, id) = decode_identity(&bytes)
        .map_err(|problem| DataDirError::DamagedIdentity { path: identity, problem })?;
    if version > FORMAT_VERSION {
        return Err(DataDirError::NewerFormat { path: path.to_owned(), found: version });
    }
    for name in SUBDIRECTORIES {
        let subdirectory = path.join(name);
        if kind_of(disk, &subdirectory)? != Some(EntryKind::Directory) {
            return Err(DataDirError::LostSubdirectory { path: subdirectory });
        }
    }
    Ok(id)
}

fn encode_identity(version: u32, id: Uuid) -> [u8; IDENTITY_BYTES] {
    let mut bytes = [0; IDENTITY_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&version.to_le_bytes());
    bytes[16..32].copy_from_slice(id.as_bytes());
    let checksum = crc32c::crc32c(&bytes[..60]);
    bytes[60..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode_identity(bytes: &[u8]) -> Result<(u32, Uuid), &'static str> {
    let bytes: &[u8; IDENTITY_BYTES] = bytes.try_into().map_err(|_| "its length is wrong")?;
    if bytes[..8] != MAGIC {
        return Err("it does not begin like one");
    }
    if crc32c::crc32c(&bytes[..60]).to_le_bytes() != bytes[60..] {
        return Err("its checksum does not match");
    }
    let version = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    let mut id = [0; 16];
    id.copy_from_slice(&bytes[16..32]);
    Ok((version, Uuid::from_bytes(id)))
}

/// Reads an identity with a checksum that fits, writes it again, and compares what counts.
#[cfg(feature = "fuzzing")]
pub(crate) fn rewrite_identity(bytes: &[u8]) {
    let summed = match bytes.first_chunk::<60>() {
        Some(covered) => [&covered[..], &crc32c::crc32c(covered).to_le_bytes()].concat(),
        None => bytes.to_vec(),
    };
    for bytes in [bytes, &summed] {
        if let Ok((version, id)) = decode_identity(bytes) {
            assert_eq!(decode_identity(&encode_identity(version, id)), Ok((version, id)));
        }
    }
}

#[cfg(test)]
mod tests;
