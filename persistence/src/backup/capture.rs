//! Making a backup; the order of the steps is that of the essay at the top of the module above.

use std::convert::Infallible;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::copying::{self, Extent};
use super::manifest::FORMAT_VERSION;
use super::restore::{backups_in, newest_in};
use super::{BackupError, FileEntry, IDS, JOURNAL, Manifest, SNAPSHOTS, STORE, UNFINISHED};
use crate::data_dir::DataDir;
use crate::decided::HeldIndex;
use crate::disk::{Disk, DiskFile, OpenMode, OsDisk};
use crate::journal::{FrameHash, HeldSegment, HeldSegments, JournalFiles, JournalSummary};
use crate::snapshot::{SnapshotReader, seq_of_file_name};
use crate::store::{Checkpoint, Store};

/// Held while a backup is made, so that two do not make one at once.
const LOCK: &str = "lock";
/// How often new segments are looked for while the store is copied.
const SEGMENTS_EVERY: Duration = Duration::from_millis(100);
/// A snapshot that is replaced between the look for it and its opening is looked for again so often.
const SNAPSHOT_LOOKS_MAX: u32 = 10;

/// What is taken from the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// All of it.
    Everything,
    /// The journal alone; snapshot, index and store are those of the newest backup that is there, from which the journal leads on.
    Journal,
}

/// What came of making a backup.
#[derive(Clone, Debug)]
pub struct Made {
    /// The backup.
    pub path: PathBuf,
    /// What it is.
    pub manifest: Manifest,
    /// Bytes that were copied; the others are those of the backup before.
    pub copied_bytes: u64,
    /// False where a backup was there already that ends with the same record.
    pub is_new: bool,
}

/// Makes a backup of the data directory at `data_dir`, whether or not a process uses it, in a directory of its own in `to`, which is made if it is not there.
/// Removes the oldest backups beyond `keep` afterwards.
///
/// # Errors
/// See [`BackupError`]; what there was before is left as it was.
pub async fn make(
    disk: Arc<dyn Disk>,
    data_dir: &Path,
    to: &Path,
    contents: Contents,
    keep: Option<usize>,
) -> Result<Made, BackupError> {
    let ledger = DataDir::identity_of(&*disk, data_dir)?;
    fs::create_dir_all(to).map_err(BackupError::io("make", to))?;
    let _lock = lock(to)?;
    let dir = to.join(UNFINISHED);
    remove_tree(&dir)?;
    for made in [&dir, &dir.join(JOURNAL), &dir.join(SNAPSHOTS)] {
        fs::create_dir(made).map_err(BackupError::io("make", made))?;
    }
    let before = before(to, ledger)?;
    let mut making =
        Making { disk, ledger, data_dir, dir, before, files: Vec::new(), copied_bytes: 0 };
    let manifest = match contents {
        Contents::Everything => making.everything().await?,
        Contents::Journal => making.journal_alone(to)?,
    };
    let made = making.finish(manifest, to)?;
    if let Some(keep) = keep {
        let backups = backups_in(to)?;
        for old in &backups[..backups.len().saturating_sub(keep.max(1))] {
            remove_tree(old)?;
        }
    }
    Ok(made)
}

fn lock(to: &Path) -> Result<File, BackupError> {
    let path = to.join(LOCK);
    let opened = File::options().write(true).create(true).truncate(false).open(&path);
    let file = opened.map_err(BackupError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BackupError::Busy { path: to.to_owned() }),
        Err(TryLockError::Error(error)) => Err(BackupError::io("lock", &path)(error)),
    }
}

fn remove_tree(dir: &Path) -> Result<(), BackupError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(BackupError::io("remove", dir)(error))
        }
        _ => Ok(()),
    }
}

/// The newest backup that is there, of which what has not changed is linked. One that can not be read is of no use for that, and no reason to make none.
fn before(to: &Path, ledger: Uuid) -> Result<Option<Before>, BackupError> {
    let Some(dir) = newest_in(to)? else { return Ok(None) };
    match Manifest::read(&dir) {
        Ok(manifest) if manifest.ledger == ledger => Ok(Some(Before { dir, manifest })),
        Ok(Manifest { ledger: found, .. }) => {
            Err(BackupError::Foreign { path: to.to_owned(), found, expected: ledger })
        }
        Err(error) => {
            tracing::warn!(%error, "the newest backup can not be read, so all is copied");
            Ok(None)
        }
    }
}

/// The backup before.
struct Before {
    dir: PathBuf,
    manifest: Manifest,
}

/// A backup that is being made.
struct Making<'a> {
    disk: Arc<dyn Disk>,
    ledger: Uuid,
    data_dir: &'a Path,
    dir: PathBuf,
    before: Option<Before>,
    files: Vec<FileEntry>,
    copied_bytes: u64,
}

/// A snapshot that is held open.
struct HeldSnapshot {
    name: String,
    file: Arc<dyn DiskFile>,
}

impl Making<'_> {
    async fn everything(&mut self) -> Result<Manifest, BackupError> {
        let mut segments = self.hold_segments()?;
        let checkpoint = self.copy_store(&mut segments).await?;
        let index = HeldIndex::hold(&self.data_dir.join("ids"))?;
        let snapshot = self.hold_snapshot()?;
        segments.hold_new().map_err(unread)?;

        self.copy_segments(&segments)?;
        if let Some(HeldSnapshot { name, file }) = &snapshot {
            let bytes = file.len().map_err(BackupError::io("measure", Path::new(name)))?;
            self.copy(&**file, Extent::whole(bytes), format!("{SNAPSHOTS}/{name}"))?;
        }
        let ids = self.dir.join(IDS);
        let exported = index.export(self.ledger, &self.dir.join("ids-being-read"), &ids)?;
        self.note_written(IDS)?;
        if checkpoint.is_some() {
            self.note_written(STORE)?;
        }
        let (summary, snapshot_seq) = self.check(checkpoint)?;
        Ok(Manifest {
            format_version: FORMAT_VERSION,
            ledger: self.ledger,
            first_seq: summary.first_seq,
            last_seq: summary.last_seq,
            frame_hash: summary.last_data_hash.to_string(),
            snapshot_seq,
            indexed_seq: exported.covered_seq,
            ids: exported.ids,
            stored_seq: checkpoint.map(|checkpoint| checkpoint.seq.0),
            files: Vec::new(),
        })
    }

    fn journal_alone(&mut self, to: &Path) -> Result<Manifest, BackupError> {
        let Some(Before { dir, manifest }) = &self.before else {
            return Err(BackupError::None { path: to.to_owned() });
        };
        let manifest = manifest.clone();
        let of_journal = |file: &&FileEntry| file.path.starts_with(JOURNAL);
        for file in manifest.files.iter().filter(|file| !of_journal(file)) {
            copying::link(&dir.join(&file.path), &self.dir.join(&file.path))?;
            self.files.push(file.clone());
        }
        let segments = self.hold_segments()?;
        let oldest = segments.segments().next().map(HeldSegment::name);
        let oldest = oldest.map(|name| format!("{JOURNAL}/{name}"));
        // Segments have names of one length, so their order is that of positions.
        let gone = |file: &&FileEntry| Some(&file.path) < oldest.as_ref();
        let of_segment = |file: &&FileEntry| file.path.ends_with(".seg");
        for file in manifest.files.iter().filter(of_journal).filter(of_segment).filter(gone) {
            copying::link(&dir.join(&file.path), &self.dir.join(&file.path))?;
            self.files.push(file.clone());
        }
        self.copy_segments(&segments)?;
        let (summary, _) = self.check(None)?;
        Ok(Manifest {
            first_seq: summary.first_seq,
            last_seq: summary.last_seq,
            frame_hash: summary.last_data_hash.to_string(),
            files: Vec::new(),
            ..manifest
        })
    }

    fn hold_segments(&self) -> Result<HeldSegments, BackupError> {
        let journal = self.data_dir.join("journal");
        HeldSegments::hold(Arc::clone(&self.disk), &journal, self.ledger).map_err(unread)
    }

    /// Copies the store, if there is one, and holds the segments that come meanwhile.
    async fn copy_store(
        &self,
        segments: &mut HeldSegments,
    ) -> Result<Option<Checkpoint>, BackupError> {
        let (path, to) = (self.data_dir.join(STORE), self.dir.join(STORE));
        let mut copying = std::pin::pin!(Store::copy_embedded(&path, self.ledger, &to));
        loop {
            match tokio::time::timeout(SEGMENTS_EVERY, &mut copying).await {
                Ok(copied) => return Ok(copied?),
                Err(_) => segments.hold_new().map_err(unread)?,
            }
        }
    }

    fn hold_snapshot(&self) -> Result<Option<HeldSnapshot>, BackupError> {
        let dir = self.data_dir.join("snapshots");
        let mut looks = 1;
        loop {
            let entries = self.disk.list(&dir).map_err(BackupError::io("list", &dir))?;
            let snapshots = entries.into_iter().map(|entry| entry.name);
            let newest = snapshots.filter(|name| seq_of_file_name(name).is_some()).max();
            let Some(name) = newest else { return Ok(None) };
            let path = dir.join(&name);
            match self.disk.open(&path, OpenMode::Read) {
                Ok(file) => return Ok(Some(HeldSnapshot { name, file })),
                Err(error) if error.kind() == ErrorKind::NotFound && looks < SNAPSHOT_LOOKS_MAX => {
                    looks += 1;
                }
                Err(error) => return Err(BackupError::io("open", &path)(error)),
            }
        }
    }

    fn copy_segments(&mut self, segments: &HeldSegments) -> Result<(), BackupError> {
        let mut each = segments.segments().peekable();
        while let Some(segment) = each.next() {
            let name = format!("{JOURNAL}/{}", segment.name());
            match each.peek() {
                Some(next) => match self.same_before(segment, next)? {
                    Some((path, entry)) => {
                        copying::link(&path, &self.dir.join(&name))?;
                        self.files.push(entry);
                    }
                    None => self.copy(segment.file(), Extent::whole(segment.bytes()), name)?,
                },
                None => {
                    let taken = segments.whole_frames_end(segment).map_err(unread)?;
                    self.copy(segment.file(), Extent { taken, bytes: segment.bytes() }, name)?;
                }
            }
        }
        let journal = self.dir.join(JOURNAL);
        segments
            .mark_newest_in(&OsDisk, &journal)
            .map_err(BackupError::io("mark the newest segment in", &journal))?;
        self.note_written(&format!("{JOURNAL}/newest"))
    }

    /// The same segment in the backup before, complete there too: what stands before it and after it is the same.
    fn same_before(
        &self,
        segment: &HeldSegment,
        next: &HeldSegment,
    ) -> Result<Option<(PathBuf, FileEntry)>, BackupError> {
        let Some(before) = &self.before else { return Ok(None) };
        let name = format!("{JOURNAL}/{}", segment.name());
        let Some(entry) = before.manifest.file(&name) else { return Ok(None) };
        let path = before.dir.join(&name);
        let next_path = before.dir.join(JOURNAL).join(next.name());
        let is_same = segment
            .begins_like(&OsDisk, &path)
            .and_then(|same| Ok(same && next.begins_like(&OsDisk, &next_path)?))
            .map_err(BackupError::io("read", &path))?;
        Ok(is_same.then(|| (path, entry.clone())))
    }

    fn copy(
        &mut self,
        from: &dyn DiskFile,
        extent: Extent,
        name: String,
    ) -> Result<(), BackupError> {
        let blake3 = copying::copy(from, extent, &self.dir.join(&name))?;
        self.copied_bytes += extent.taken;
        self.files.push(FileEntry { path: name, bytes: extent.bytes, blake3 });
        Ok(())
    }

    /// Notes a file that was written in its place.
    fn note_written(&mut self, name: &str) -> Result<(), BackupError> {
        let entry = copying::entry_of(&self.dir.join(name), name.to_owned())?;
        self.copied_bytes += entry.bytes;
        self.files.push(entry);
        Ok(())
    }

    /// Walks over the copied journal and reads the copied snapshot, and holds them and the store against each other. Returns what the journal has and the
    /// position of the snapshot.
    fn check(&self, checkpoint: Option<Checkpoint>) -> Result<(JournalSummary, u64), BackupError> {
        let snapshot = self.check_snapshot()?;
        let mut claims = Vec::new();
        claims.extend(snapshot.map(|(seq, hash)| ("snapshot", seq, hash)));
        claims.extend(
            checkpoint.map(|checkpoint| ("store", checkpoint.seq.0, checkpoint.frame_hash)),
        );
        claims.retain(|(_, seq, _)| *seq > 0);
        let files = list(&self.dir.join(JOURNAL), self.ledger)?;
        let (first_seq, hash_before) = files.begin();
        let mut hashes = vec![(first_seq - 1, hash_before)];
        let summary = files
            .read(&OsDisk, 0, &mut |frame| {
                if claims.iter().any(|(_, seq, _)| *seq == frame.last_seq()) {
                    hashes.push((frame.last_seq(), frame.hash()));
                }
                Ok::<(), Infallible>(())
            })
            .map_err(unread)?;
        for (what, seq, hash) in claims {
            if !hashes.contains(&(seq, FrameHash::from_bytes(hash))) {
                return Err(BackupError::Mismatch(format!(
                    "the {what} at position {seq} does not stand in the journal, which has the positions {first_seq} to {}: try again, and if it stays so, check the \
                     ledger with `florin verify`",
                    summary.last_seq
                )));
            }
        }
        if snapshot.is_none() && first_seq > 1 {
            return Err(BackupError::Mismatch(format!(
                "the journal begins at position {first_seq}, and there is no snapshot of what was before"
            )));
        }
        Ok((summary, snapshot.map_or(0, |(seq, _)| seq)))
    }

    fn check_snapshot(&self) -> Result<Option<(u64, [u8; 16])>, BackupError> {
        let of_snapshots = |file: &&FileEntry| file.path.starts_with(SNAPSHOTS);
        let Some(file) = self.files.iter().find(of_snapshots) else { return Ok(None) };
        let path = self.dir.join(&file.path);
        let opened = File::open(&path).map_err(BackupError::io("open", &path))?;
        let mut snapshot = SnapshotReader::open(opened, &path)?;
        let header = *snapshot.header();
        snapshot.try_for_each(|entry| entry.map(drop))?;
        if header.directory != self.ledger {
            return Err(BackupError::damaged(&path, "it is the snapshot of another ledger"));
        }
        Ok(Some((header.seq.0, header.frame_hash)))
    }

    /// Gives the backup its name, durably.
    fn finish(mut self, manifest: Manifest, to: &Path) -> Result<Made, BackupError> {
        if manifest.last_seq == 0 {
            return Err(BackupError::Mismatch("there is nothing in the journal yet".to_owned()));
        }
        if manifest.indexed_seq > manifest.last_seq || manifest.indexed_seq + 1 < manifest.first_seq
        {
            return Err(BackupError::Mismatch(format!(
                "the index of decided ids reaches position {}, and the journal has the positions {} to {}: try again",
                manifest.indexed_seq, manifest.first_seq, manifest.last_seq
            )));
        }
        self.files.sort_by(|file, other| file.path.cmp(&other.path));
        let manifest = Manifest { files: self.files, ..manifest };
        let path = to.join(format!("{:020}", manifest.last_seq));
        let is_new = !path.exists();
        if is_new {
            for dir in [self.dir.join(JOURNAL), self.dir.join(SNAPSHOTS)] {
                sync_dir(&dir)?;
            }
            manifest.write(&self.dir)?;
            fs::rename(&self.dir, &path).map_err(BackupError::io("name", &path))?;
            sync_dir(to)?;
        } else {
            remove_tree(&self.dir)?;
        }
        Ok(Made { path, manifest, copied_bytes: self.copied_bytes, is_new })
    }
}

fn sync_dir(dir: &Path) -> Result<(), BackupError> {
    let synced: io::Result<()> = OsDisk.sync_dir(dir);
    synced.map_err(BackupError::io("sync", dir))
}

/// The segments of a backup's journal.
pub(super) fn list(dir: &Path, ledger: Uuid) -> Result<JournalFiles, BackupError> {
    JournalFiles::list::<Infallible>(&OsDisk, dir, None, ledger).map_err(unread)
}

pub(super) fn unread(error: crate::journal::OpenError<Infallible>) -> BackupError {
    BackupError::Journal(Box::new(error))
}
