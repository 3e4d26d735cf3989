//! Finding a backup, checking it, and making a data directory of it.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::capture::list;
use super::copying::{self, Extent};
use super::{BackupError, FileEntry, IDS, JOURNAL, MANIFEST, Manifest, SNAPSHOTS, STORE};
use crate::data_dir::DataDir;
use crate::decided::{self, ExportReader, Exported};
use crate::disk::{Disk, OpenMode, OsDisk};
use crate::journal::JournalFiles;
use crate::snapshot::SnapshotReader;

/// Backups are named after their newest record, in so many digits.
const NAME_DIGITS: usize = 20;

/// The finished backups in `dir`, oldest first.
pub(super) fn backups_in(dir: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let entries = fs::read_dir(dir).map_err(BackupError::io("list", dir))?;
    let mut backups = Vec::new();
    for entry in entries {
        let path = entry.map_err(BackupError::io("list", dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_named = name.len() == NAME_DIGITS && name.bytes().all(|b| b.is_ascii_digit());
        if is_named && path.join(MANIFEST).exists() {
            backups.push(path);
        }
    }
    backups.sort();
    Ok(backups)
}

/// The newest finished backup in `dir`.
///
/// # Errors
/// The directory can not be listed.
pub fn newest_in(dir: &Path) -> Result<Option<PathBuf>, BackupError> {
    Ok(backups_in(dir)?.pop())
}

/// A finished backup.
#[derive(Debug)]
pub struct Backup {
    dir: PathBuf,
    manifest: Manifest,
}

impl Backup {
    /// Opens the backup at `path`, or the newest one in the directory of backups at `path`.
    ///
    /// # Errors
    /// There is none, or its manifest is damaged.
    pub fn open(path: &Path) -> Result<Backup, BackupError> {
        let is_backup = path.join(MANIFEST).exists();
        let dir = if is_backup { Some(path.to_owned()) } else { newest_in(path)? };
        let dir = dir.ok_or_else(|| BackupError::None { path: path.to_owned() })?;
        let manifest = Manifest::read(&dir)?;
        Ok(Backup { dir, manifest })
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// What it is.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Holds every file against the manifest, and finds those that it does not name where they would count.
    ///
    /// # Errors
    /// The first file that is not the one that was written.
    pub fn check_files(&self) -> Result<(), BackupError> {
        for file in &self.manifest.files {
            copying::check(&self.dir.join(&file.path), file)?;
        }
        for name in [JOURNAL, SNAPSHOTS] {
            let dir = self.dir.join(name);
            for entry in OsDisk.list(&dir).map_err(BackupError::io("list", &dir))? {
                if self.manifest.file(&format!("{name}/{}", entry.name)).is_none() {
                    let path = dir.join(&entry.name);
                    return Err(BackupError::damaged(&path, "the manifest does not name it"));
                }
            }
        }
        Ok(())
    }

    /// Its journal.
    ///
    /// # Errors
    /// It can not be listed, or a segment is not one of this ledger.
    pub fn journal(&self) -> Result<JournalFiles, BackupError> {
        list(&self.dir.join(JOURNAL), self.manifest.ledger)
    }

    /// Its snapshot, opened and not yet read.
    ///
    /// # Errors
    /// It can not be opened, or is none of this ledger.
    pub fn snapshot(&self) -> Result<Option<SnapshotReader<File>>, BackupError> {
        let of_snapshots = |file: &&FileEntry| file.path.starts_with(SNAPSHOTS);
        let Some(file) = self.manifest.files.iter().find(of_snapshots) else { return Ok(None) };
        let path = self.dir.join(&file.path);
        let opened = File::open(&path).map_err(BackupError::io("open", &path))?;
        let snapshot = SnapshotReader::open(opened, &path)?;
        if snapshot.header().directory != self.manifest.ledger {
            return Err(BackupError::damaged(&path, "it is the snapshot of another ledger"));
        }
        Ok(Some(snapshot))
    }

    /// Reads its index of ids to the end.
    ///
    /// # Errors
    /// It is damaged, or not the one of the manifest.
    pub fn check_ids(&self) -> Result<Exported, BackupError> {
        let (path, mut reader) = self.ids()?;
        let failed = |source| BackupError::Ids { path: path.clone(), source };
        while reader.next_entry().map_err(failed)?.is_some() {}
        Ok(reader.exported())
    }

    fn ids(&self) -> Result<(PathBuf, ExportReader<File>), BackupError> {
        let path = self.dir.join(IDS);
        let file = File::open(&path).map_err(BackupError::io("open", &path))?;
        let reader = ExportReader::open(file, self.manifest.ledger)
            .map_err(|source| BackupError::Ids { path: path.clone(), source })?;
        let Exported { covered_seq, ids } = reader.exported();
        if (covered_seq, ids) != (self.manifest.indexed_seq, self.manifest.ids) {
            return Err(BackupError::damaged(&path, "it is not the one of the manifest"));
        }
        Ok((path, reader))
    }

    /// Fills a data directory that was begun for it. Each file is compared with the manifest as it is copied; all is durable when this returns. Nothing
    /// says yet that it is whole: [`DataDir::finish`] does.
    ///
    /// # Errors
    /// A file is not the one that was written, or the disk failed.
    pub fn restore_into(&self, directory: &DataDir) -> Result<(), BackupError> {
        for file in self.manifest.files.iter().filter(|file| file.path != IDS) {
            self.restore_file(file, &self.place_of(file, directory)?)?;
        }
        let Some(file) = self.manifest.file(IDS) else {
            return Err(BackupError::damaged(&self.dir.join(IDS), "it is missing"));
        };
        copying::check(&self.dir.join(IDS), file)?;
        let (path, reader) = self.ids()?;
        decided::import(&directory.ids_dir(), reader)
            .map_err(|source| BackupError::Ids { path, source })?;
        for dir in [&directory.journal_dir(), &directory.snapshots_dir(), directory.path()] {
            OsDisk.sync_dir(dir).map_err(BackupError::io("sync", dir))?;
        }
        Ok(())
    }

    fn place_of(&self, file: &FileEntry, directory: &DataDir) -> Result<PathBuf, BackupError> {
        let plain = |name: &str| !name.contains('/') && !name.starts_with('.');
        match file.path.split_once('/') {
            None if file.path == STORE => Ok(directory.store_path()),
            Some((JOURNAL, name)) if plain(name) => Ok(directory.journal_dir().join(name)),
            Some((SNAPSHOTS, name)) if plain(name) => Ok(directory.snapshots_dir().join(name)),
            _ => {
                let path = self.dir.join(&file.path);
                Err(BackupError::damaged(&path, "no backup has such a file"))
            }
        }
    }

    fn restore_file(&self, file: &FileEntry, place: &Path) -> Result<(), BackupError> {
        let path = self.dir.join(&file.path);
        let from = match OsDisk.open(&path, OpenMode::Read) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(BackupError::damaged(&path, "it is missing"));
            }
            from => from.map_err(BackupError::io("open", &path))?,
        };
        if from.len().map_err(BackupError::io("measure", &path))? != file.bytes {
            return Err(BackupError::damaged(&path, "its length is wrong"));
        }
        let blake3 = copying::copy(&*from, Extent::whole(file.bytes), place)?;
        if blake3 == file.blake3 {
            Ok(())
        } else {
            Err(BackupError::damaged(&path, "its checksum does not match"))
        }
    }
}
