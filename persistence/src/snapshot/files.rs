//! Snapshots in the data directory: the newest, the next, and the removal of what they replace.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use florin_engine::JournalSeq;

use super::{
    Changes, FrameEnd, MergeError, SnapshotError, SnapshotHeader, SnapshotReader, file_name, merge,
    seq_of_file_name, temporary_name,
};
use crate::data_dir::DataDir;
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::pace::Pace;

/// Why the snapshots of a directory could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFileError {
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
    /// A snapshot is damaged.
    #[error(transparent)]
    Read(#[from] SnapshotError),
    /// A snapshot of another data directory.
    #[error("the snapshot {} belongs to another data directory", .0.display())]
    Foreign(PathBuf),
    /// A snapshot could not be made.
    #[error(transparent)]
    Merge(#[from] MergeError),
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SnapshotFileError {
    move |source| SnapshotFileError::Io { action, path: path.to_owned(), source }
}

/// A file read from its beginning.
#[derive(Debug)]
pub struct FromStart {
    file: Arc<dyn DiskFile>,
    offset: u64,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// A file written from its beginning.
#[derive(Debug)]
struct ToEnd {
    file: Arc<dyn DiskFile>,
    offset: u64,
    pace: Pace,
}

impl Write for ToEnd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(bytes, self.offset)?;
        self.offset += bytes.len() as u64;
        self.pace.wrote(bytes.len() as u64, || self.file.sync_data())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes durable which snapshots there are: a process that died before it synced a name left it in the kernel's memory, and segments go on a
/// snapshot's word.
///
/// # Errors
/// The disk failed.
pub fn settle(directory: &DataDir) -> Result<(), SnapshotFileError> {
    let dir = directory.snapshots_dir();
    directory.disk().sync_dir(&dir).map_err(failed("sync", &dir))
}

/// The newest snapshot of the directory, opened and not yet read; `None` where there is none.
///
/// # Errors
/// The disk failed, or the snapshot is damaged in its beginning or of another directory.
pub fn newest(directory: &DataDir) -> Result<Option<SnapshotReader<FromStart>>, SnapshotFileError> {
    let seqs = all(&**directory.disk(), &directory.snapshots_dir())?;
    seqs.last().map(|seq| open(directory, *seq)).transpose()
}

fn open(
    directory: &DataDir,
    seq: JournalSeq,
) -> Result<SnapshotReader<FromStart>, SnapshotFileError> {
    let path = directory.snapshots_dir().join(file_name(seq));
    let file = directory.disk().open(&path, OpenMode::Read).map_err(failed("open", &path))?;
    let reader = SnapshotReader::open(FromStart { file, offset: 0 }, &path)?;
    if reader.header().directory == directory.id() {
        Ok(reader)
    } else {
        Err(SnapshotFileError::Foreign(path))
    }
}

/// Makes the snapshot up to which `changes` reach, from the one where they begin, and returns its size in bytes. Durable when it returns.
///
/// # Errors
/// The disk failed, or the old snapshot and the changes do not make the state that the journal names: nothing is replaced then.
pub fn make(
    directory: &DataDir,
    changes: Changes,
    end: FrameEnd,
) -> Result<(SnapshotHeader, u64), SnapshotFileError> {
    let dir = directory.snapshots_dir();
    let disk = &**directory.disk();
    let from = changes.begins_after();
    let old = if from == JournalSeq::NONE { None } else { Some(open(directory, from)?) };
    let seq = changes.seq();
    let temporary = dir.join(temporary_name(seq));
    let path = dir.join(file_name(seq));
    let file =
        disk.open(&temporary, OpenMode::CreateOrTruncate).map_err(failed("make", &temporary))?;
    let (header, out) = merge(old, changes, end, ToEnd { file, offset: 0, pace: Pace::default() })?;
    out.file.sync_all().map_err(failed("sync", &temporary))?;
    disk.rename(&temporary, &path).map_err(failed("name", &path))?;
    disk.sync_dir(&dir).map_err(failed("sync", &dir))?;
    Ok((header, out.offset))
}

/// Removes the snapshots before `seq`, and what is left of any that was not finished.
///
/// # Errors
/// The disk failed.
pub fn remove_older(directory: &DataDir, seq: JournalSeq) -> Result<(), SnapshotFileError> {
    let dir = directory.snapshots_dir();
    let disk = &**directory.disk();
    for entry in disk.list(&dir).map_err(failed("list", &dir))? {
        let unfinished = entry.name.ends_with(".tmp");
        let older = seq_of_file_name(&entry.name).is_some_and(|found| found < seq);
        if unfinished || older {
            let path = dir.join(&entry.name);
            disk.remove(&path).map_err(failed("remove", &path))?;
        }
    }
    disk.sync_dir(&dir).map_err(failed("sync", &dir))
}

/// The size of the snapshot at `seq`, in bytes.
///
/// # Errors
/// The disk failed.
pub fn size(directory: &DataDir, seq: JournalSeq) -> Result<u64, SnapshotFileError> {
    let path = directory.snapshots_dir().join(file_name(seq));
    let file = directory.disk().open(&path, OpenMode::Read).map_err(failed("open", &path))?;
    file.len().map_err(failed("measure", &path))
}

/// The positions of all snapshots, oldest first.
fn all(disk: &dyn Disk, dir: &Path) -> Result<Vec<JournalSeq>, SnapshotFileError> {
    let entries = disk.list(dir).map_err(failed("list", dir))?;
    let mut seqs: Vec<_> =
        entries.iter().filter_map(|entry| seq_of_file_name(&entry.name)).collect();
    seqs.sort_unstable();
    Ok(seqs)
}
