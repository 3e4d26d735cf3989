//! What becomes of a backup: it is checked where it lies, or a data directory is made of it and checked before it is one.

use std::path::{Path, PathBuf};

use florin_engine::{JournalSeq, State};
use florin_persistence::backup::{Backup, BackupError, Manifest};
use florin_persistence::data_dir::{DataDir, DataDirError};
use florin_persistence::disk::OsDisk;
use florin_persistence::journal::{self, FrameView};
use florin_persistence::store::{Store, StoreError};

use crate::recovery::{FrameError, OpenError, hash_seed, load, replay_frame};
use crate::verify::{VerifyError, VerifyReport, check};

/// Why a backup was not restored, or is not sound.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup can not be used.
    #[error(transparent)]
    Backup(Box<BackupError>),
    /// The place for it can not be used.
    #[error(transparent)]
    Directory(#[from] DataDirError),
    /// The restored store can not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its snapshot does not give a state.
    #[error(transparent)]
    State(#[from] OpenError),
    /// A frame of its journal does not follow from the state before it.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// What was restored is not sound.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Two parts of it differ.
    #[error("{0}")]
    Different(String),
}

impl From<BackupError> for RestoreError {
    fn from(error: BackupError) -> RestoreError {
        RestoreError::Backup(Box::new(error))
    }
}

/// What a sound backup holds.
#[derive(Clone, Debug)]
pub struct BackupReport {
    /// Which one it is.
    pub path: PathBuf,
    /// What it says of itself.
    pub manifest: Manifest,
    /// The state hash at the newest record, after replay.
    pub state_hash: u64,
    /// Accounts at the newest record.
    pub accounts: u64,
}

/// Checks the backup at `path`, or the newest one in that directory: every file against the manifest, the journal from frame to frame, the state by
/// replay from the snapshot, the order of the ids. Changes nothing. The store is compared with its checksum only; [`restore`] holds it against the journal.
///
/// # Errors
/// The first thing that is not as it was written.
pub fn verify_backup(path: &Path) -> Result<BackupReport, RestoreError> {
    let backup = Backup::open(path)?;
    backup.check_files()?;
    backup.check_ids()?;
    let mut state = match backup.snapshot()? {
        Some(snapshot) => load(snapshot)?,
        None => State::new(hash_seed()),
    };
    let began_at = state.seq();
    let read = backup.journal()?.read(&OsDisk, began_at.0, &mut |frame: FrameView<'_>| {
        replay_frame(&mut state, began_at, began_at, &frame)
    });
    let summary = read.map_err(|error| match error {
        journal::OpenError::Visit(error) => RestoreError::Frame(error),
        other => BackupError::Journal(Box::new(other)).into(),
    })?;
    let manifest = backup.manifest().clone();
    let found = (summary.last_seq, summary.last_data_hash.to_string());
    if found != (manifest.last_seq, manifest.frame_hash.clone()) || state.seq().0 != found.0 {
        return Err(RestoreError::Different(format!(
            "the journal in {} ends at position {}, and the manifest says {}",
            backup.path().display(),
            found.0,
            manifest.last_seq
        )));
    }
    state.check_conservation().map_err(OpenError::NotConserved)?;
    Ok(BackupReport {
        path: backup.path().to_owned(),
        manifest,
        state_hash: state.state_hash(),
        accounts: state.accounts_count() as u64,
    })
}

/// Makes the data directory `data_dir`, where nothing or an empty directory is, of the backup at `from`, or of the newest one in that directory. It is
/// verified as [`crate::verify`] does before it names itself a data directory.
///
/// # Errors
/// See [`RestoreError`]; what was copied until then stays, and is refused by everything that opens data directories.
pub async fn restore(
    from: &Path,
    data_dir: &Path,
) -> Result<(PathBuf, VerifyReport), RestoreError> {
    let backup = Backup::open(from)?;
    let manifest = backup.manifest();
    let directory = DataDir::begin(OsDisk::shared(), data_dir, manifest.ledger)?;
    backup.restore_into(&directory)?;
    let store = match manifest.stored_seq {
        Some(_) => Some(Store::open(&directory.store_path(), directory.id()).await?),
        None => None,
    };
    let report = check(&directory, store.as_ref()).await?;
    let found = (report.last_seq, report.indexed_seq);
    if found != (JournalSeq(manifest.last_seq), JournalSeq(manifest.indexed_seq)) {
        return Err(RestoreError::Different(format!(
            "what was restored ends at position {}, and the manifest says {}",
            report.last_seq.0, manifest.last_seq
        )));
    }
    directory.finish()?;
    Ok((backup.path().to_owned(), report))
}
