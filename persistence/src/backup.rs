//! Backups of a data directory, made while another process uses it, and directories made of backups.
//!
//! # What is in one
//!
//! A backup is a directory that nobody writes once it has its `manifest`:
//!
//! | name | what |
//! | --- | --- |
//! | `journal/` | segments without a gap up to the newest record, and the mark of the newest |
//! | `snapshots/` | the newest snapshot, if there is one |
//! | `ids` | the index of decided ids ([`crate::decided::ExportReader`]) |
//! | `store.sqlite` | the embedded store, if there is one |
//! | `manifest` | whose it is, what it covers, and length and BLAKE3 of every other file ([`Manifest`]); written last |
//!
//! Backups of one ledger stand side by side in a directory, each named after its newest record, so the newest is the last. A backup that is being made is in
//! `unfinished` and gets its name when it is whole. What the one before has too is linked, not copied, so it takes no room twice.
//!
//! # Why it is consistent, though the ledger goes on
//!
//! No lock is taken. Segments, snapshots and the index's tables never change once they have their names, and are at most removed; so they are held open, and
//! what is removed can still be read. Their order is what matters:
//!
//! 1. The segments that are there are held.
//! 2. The store is copied in one read transaction; new segments are held meanwhile.
//! 3. The index is held, then the newest snapshot.
//! 4. The segments that came are held. The last one is taken up to its last whole frame.
//!
//! A segment goes only when snapshot, index and store durably cover it. All three are taken after 1, so each covers what had gone before it; they are
//! taken before 4, so none knows of anything that the segments do not reach. What was acknowledged before the backup began was written before it
//! began, so it is in the segments of 4. A frame in the last segment may not be durable at its origin yet: nobody was told of it then, and a backup may
//! know more than was told, as any restart may.
//!
//! None of this is believed: before the manifest is written the copied segments are walked from frame to frame, the snapshot is read to its end, the index has
//! counted its ids, and each must stand where the journal has the same hash.

mod capture;
mod copying;
mod manifest;
mod restore;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use crate::data_dir::DataDirError;
use crate::decided::{ExportError, IndexError};
use crate::snapshot::SnapshotError;
use crate::snapshot::files::SnapshotFileError;
use crate::store::StoreError;

pub use capture::{Contents, Made, make};
pub use manifest::{FileEntry, Manifest};
pub use restore::{Backup, newest_in};

/// The journal's directory in a backup.
const JOURNAL: &str = "journal";
/// The snapshots' directory in a backup.
const SNAPSHOTS: &str = "snapshots";
/// The exported index.
const IDS: &str = "ids";
/// The embedded store.
const STORE: &str = "store.sqlite";
/// What names all other files.
const MANIFEST: &str = "manifest";
/// A backup that is being made.
const UNFINISHED: &str = "unfinished";

/// Why a backup can not be made, read or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The data directory can not be used.
    #[error(transparent)]
    Directory(#[from] DataDirError),
    /// A segment can not be used.
    #[error("the journal can not be read")]
    Journal(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The index can not be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The index of a backup can not be used.
    #[error("{} can not be used", .path.display())]
    Ids {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ExportError,
    },
    /// The snapshot can not be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The snapshots can not be used.
    #[error(transparent)]
    SnapshotFile(#[from] SnapshotFileError),
    /// The store can not be copied.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another process makes a backup there.
    #[error("another process is making a backup in {}", .path.display())]
    Busy {
        /// Where backups go.
        path: PathBuf,
    },
    /// There is none.
    #[error("there is no finished backup in {}", .path.display())]
    None {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Those that are there are of another ledger.
    #[error("{} holds backups of the ledger {found}, and this is {expected}: take another directory", .path.display())]
    Foreign {
        /// Where backups go.
        path: PathBuf,
        /// Whose backups are there.
        found: uuid::Uuid,
        /// Whose backup was to be made.
        expected: uuid::Uuid,
    },
    /// A newer program made it.
    #[error("{} has format version {found}, and this program knows versions up to {}: use the newer program", .path.display(), manifest::FORMAT_VERSION)]
    NewerFormat {
        /// The manifest.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// A file is not what was written.
    #[error("{} is damaged ({problem}): this backup can not be used, take another one", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        problem: &'static str,
    },
    /// Its parts do not belong together.
    #[error("{0}")]
    Mismatch(String),
    /// The disk failed.
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

impl BackupError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
        move |source| BackupError::Io { action, path: path.to_owned(), source }
    }

    fn damaged(path: &Path, problem: &'static str) -> BackupError {
        BackupError::Damaged { path: path.to_owned(), problem }
    }
}
