//! Verifying a stopped data directory: checksums, chain, replay, conservation, snapshot, index and store against each other.

use std::path::Path;
use std::sync::Arc;

use florin_engine::{JournalSeq, LedgerState, State};
use florin_persistence::data_dir::{DataDir, DataDirError};
use florin_persistence::decided::{DecidedIndex, IndexError, IndexOptions, Namespace};
use florin_persistence::disk::OsDisk;
use florin_persistence::journal::{self, FrameHash, FrameView, JournalSummary, verify_journal};
use florin_persistence::record;
use florin_persistence::snapshot::files::{self, SnapshotFileError};
use florin_persistence::store::{Store, StoreError};

use crate::recovery::{FrameError, OpenError, load, replay_frame};

/// What a directory that is sound holds.
#[derive(Clone, Debug)]
pub struct VerifyReport {
    /// Segments of the journal.
    pub segments: usize,
    /// Frames in them, sealing ones too.
    pub frames: u64,
    /// The oldest record that is still in the journal.
    pub first_seq: JournalSeq,
    /// The newest record.
    pub last_seq: JournalSeq,
    /// Whether the journal ends with a sealing frame, as after a clean stop.
    pub is_sealed: bool,
    /// Whether the next start will cut a frame that a crash tore; it was never acknowledged.
    pub torn_bytes: u64,
    /// The state hash at the newest record.
    pub state_hash: u64,
    /// Accounts.
    pub accounts: u64,
    /// Ledgers with their totals.
    pub ledgers: Vec<LedgerState>,
    /// The newest snapshot; 0 without one.
    pub snapshot_seq: JournalSeq,
    /// How far the index of decided ids reaches.
    pub indexed_seq: JournalSeq,
    /// How far the store reaches, late but not wrong.
    pub stored_seq: JournalSeq,
    /// Transfers in the store.
    pub stored_transfers: u64,
}

/// The first difference found.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The data directory can not be used.
    #[error(transparent)]
    Directory(#[from] DataDirError),
    /// The journal is damaged or contradicts itself.
    #[error(transparent)]
    Journal(#[from] journal::OpenError<FrameError>),
    /// The snapshot is damaged or contradicts itself.
    #[error(transparent)]
    Snapshot(#[from] SnapshotFileError),
    /// The index can not be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The store can not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Two parts differ.
    #[error("{0}")]
    Different(String),
}

/// Verifies the stopped data directory at `path`, and its embedded store at the position up to which it was filled.
///
/// # Errors
/// The first difference, in one sentence. Nothing is changed.
pub async fn verify(path: &Path) -> Result<VerifyReport, VerifyError> {
    let directory = DataDir::open_existing(OsDisk::shared(), path)?;
    let index = DecidedIndex::open(&directory.ids_dir(), IndexOptions::SMALL)?;
    let store = Store::open(&directory.store_path(), directory.id()).await?;
    let checkpoint = store.checkpoint().await?;
    let (mut state, snapshot_seq) = match files::newest(&directory)? {
        Some(snapshot) => {
            let seq = snapshot.header().seq;
            let state = load(snapshot).map_err(|error: OpenError| different(error.to_string()))?;
            (state, seq)
        }
        None => (State::new(crate::recovery::hash_seed()), JournalSeq::NONE),
    };
    let mut walk = Walk {
        index: Arc::new(index),
        snapshot_seq,
        checkpoint_seq: checkpoint.seq,
        checkpoint_hash: (checkpoint.seq == JournalSeq::NONE).then_some(FrameHash::GENESIS),
        at_checkpoint: None,
        differs: None,
    };
    let summary = verify_journal(
        &**directory.disk(),
        &directory.journal_dir(),
        directory.id(),
        &mut |frame| walk.frame(&mut state, &frame),
    )?;
    if let Some(difference) = walk.differs {
        return Err(different(difference));
    }
    state.check_conservation().map_err(different)?;
    if summary.last_seq > 0 && summary.state_hash != state.state_hash() {
        return Err(different(format!(
            "the state hash after replay is {:016x}, the journal has {:016x}",
            state.state_hash(),
            summary.state_hash
        )));
    }
    let stored_transfers = compare_store(&walk, &store, &checkpoint, &state, &summary).await?;
    store.close().await;
    Ok(report(&summary, &state, &walk, stored_transfers))
}

/// The walk over the journal, with what it is compared with.
struct Walk {
    index: Arc<DecidedIndex>,
    snapshot_seq: JournalSeq,
    checkpoint_seq: JournalSeq,
    /// The hash of the frame at which the store stands.
    checkpoint_hash: Option<FrameHash>,
    /// Accounts and totals as of the store's checkpoint.
    at_checkpoint: Option<Vec<LedgerState>>,
    /// The first difference that is not the journal's own.
    differs: Option<String>,
}

impl Walk {
    fn frame(&mut self, state: &mut State, frame: &FrameView<'_>) -> Result<(), FrameError> {
        // Everything is replayed from the snapshot; the ids before it were decided, and the index must know them.
        replay_frame(state, self.snapshot_seq, self.snapshot_seq, frame)?;
        self.check_index(frame)?;
        if frame.last_seq() == self.checkpoint_seq.0 {
            self.checkpoint_hash = Some(frame.hash());
            if state.seq() == self.checkpoint_seq {
                self.at_checkpoint = Some(state.ledgers().to_vec());
            }
        }
        Ok(())
    }

    fn check_index(&mut self, frame: &FrameView<'_>) -> Result<(), FrameError> {
        let covered = self.index.covered_seq();
        for (seq, bytes) in frame.records().filter(|(seq, _)| *seq <= covered) {
            let record =
                record::decode(bytes).map_err(|source| FrameError::Decode { seq, source })?;
            let (index, differs) = (&self.index, &mut self.differs);
            record.each_decided(JournalSeq(seq), |id, decided| {
                let namespace = match decided.kind {
                    florin_engine::DecidedKind::Key => Namespace::Key,
                    _ => Namespace::Transfer,
                };
                let found = index.get(namespace, id);
                let same = matches!(&found, Ok(Some(found))
                    if found.seq == seq && found.digest == decided.digest && found.kind == decided.kind as u8);
                if !same && differs.is_none() {
                    *differs = Some(format!(
                        "the index of decided ids has {found:?} for id {id} of record {seq}"
                    ));
                }
            });
        }
        Ok(())
    }
}

/// Compares the store with the journal at the store's position.
async fn compare_store(
    walk: &Walk,
    store: &Store,
    checkpoint: &florin_persistence::store::Checkpoint,
    state: &State,
    summary: &JournalSummary,
) -> Result<u64, VerifyError> {
    if checkpoint.seq.0 > summary.last_seq {
        return Err(different(format!(
            "the store reaches position {}, the journal only {}",
            checkpoint.seq.0, summary.last_seq
        )));
    }
    if let Some(hash) = walk.checkpoint_hash
        && hash.bytes() != checkpoint.frame_hash
    {
        return Err(different(format!(
            "the store at position {} was filled from another journal",
            checkpoint.seq.0
        )));
    }
    let sums = store.audit().await?;
    let expected = if checkpoint.seq == state.seq() {
        Some(state.ledgers())
    } else {
        walk.at_checkpoint.as_deref()
    };
    if let Some(expected) = expected {
        for LedgerState { ledger, totals } in expected {
            let stored = sums.ledgers.iter().find(|(id, _)| *id == ledger.id);
            if stored.map(|(_, totals)| totals) != Some(totals) {
                return Err(different(format!(
                    "the accounts of ledger {} add up to {stored:?} in the store, to {totals:?} in the journal",
                    ledger.id.0
                )));
            }
        }
    }
    Ok(sums.transfers)
}

fn report(
    summary: &JournalSummary,
    state: &State,
    walk: &Walk,
    stored_transfers: u64,
) -> VerifyReport {
    VerifyReport {
        segments: summary.segments,
        frames: summary.frames,
        first_seq: JournalSeq(summary.first_seq),
        last_seq: JournalSeq(summary.last_seq),
        is_sealed: summary.is_sealed,
        torn_bytes: summary.torn_tail.as_ref().map_or(0, |torn| torn.bytes),
        state_hash: state.state_hash(),
        accounts: state.accounts_count() as u64,
        ledgers: state.ledgers().to_vec(),
        snapshot_seq: walk.snapshot_seq,
        indexed_seq: JournalSeq(walk.index.covered_seq()),
        stored_seq: walk.checkpoint_seq,
        stored_transfers,
    }
}

fn different(what: String) -> VerifyError {
    VerifyError::Different(what)
}
