//! The next snapshot, from the one before and what changed since.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{Read, Write};
use std::iter::Peekable;
use std::mem;
use std::vec;

use florin_engine::{
    Account, AccountAfter, AccountId, JournalSeq, Ledger, LedgerId, LedgerTotals, PendingTransfer,
    Timestamp, TransferId,
};
use uuid::Uuid;

use super::changes::{Changes, Contradiction, Sorted, update};
use super::{
    Held, SnapshotError, SnapshotHeader, SnapshotReader, SnapshotWriteError, SnapshotWriter,
};

/// The journal frame that ends where a new snapshot shall stand, and whose journal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameEnd {
    /// The identity of the data directory.
    pub directory: Uuid,
    /// The hash of the frame.
    pub hash: [u8; 16],
    /// The state hash that the frame carries.
    pub state_hash: u64,
}

/// Why there is no new snapshot.
///
/// Apart from a failing disk each means a bug, corrupted memory or files that do not belong together: the caller stops.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The old snapshot can not be read.
    #[error(transparent)]
    Old(#[from] SnapshotError),
    /// The new one can not be written, or is not the state that the journal names.
    #[error(transparent)]
    New(#[from] SnapshotWriteError),
    /// The journal does not fit the old snapshot.
    #[error("the journal does not continue the snapshot at {}", .seq.0)]
    Contradiction {
        /// The position of the old snapshot.
        seq: JournalSeq,
        /// In what they differ.
        source: Contradiction,
    },
    /// The old snapshot stands elsewhere than where the changes begin.
    #[error("the changes begin after {}, but the snapshot stands at {}", .after.0, .snapshot.0)]
    Gap {
        /// Where the changes begin.
        after: JournalSeq,
        /// Where the snapshot stands.
        snapshot: JournalSeq,
    },
    /// The old snapshot belongs to another data directory.
    #[error("the snapshot belongs to data directory {found}, not to {expected}")]
    Directory {
        /// This data directory.
        expected: Uuid,
        /// That of the snapshot.
        found: Uuid,
    },
}

/// Writes the snapshot at the position up to which `changes` were absorbed, from the snapshot where they begin: none where
/// they begin at [`JournalSeq::NONE`].
///
/// Holds in memory the changes, the ledgers and two blocks of accounts. What is in `out` is a snapshot only when this returns its header; the
/// caller then syncs and renames the file.
///
/// # Errors
/// See [`MergeError`].
pub fn merge<R: Read, W: Write>(
    old: Option<SnapshotReader<R>>,
    mut changes: Changes,
    end: FrameEnd,
    out: W,
) -> Result<(SnapshotHeader, W), MergeError> {
    let begin = old.as_ref().map(|old| *old.header());
    check_continuation(begin.as_ref(), &changes, &end)?;
    let after = changes.after;
    let contradiction = |source| MergeError::Contradiction { seq: after, source };

    let old_ledgers = old.as_ref().map_or(&[][..], |old| old.ledgers());
    let ledgers = merge_ledgers(
        old_ledgers,
        mem::take(&mut changes.ledgers_created),
        mem::take(&mut changes.totals),
    )
    .map_err(contradiction)?;
    let last_timestamp = changes
        .last_timestamp
        .max(begin.map_or(Timestamp::default(), |begin| begin.last_timestamp));
    let newest_transfer = changes
        .newest_transfer
        .max(begin.map_or(Timestamp::default(), |begin| begin.newest_transfer));
    let (opened, ended) = changes.pending_counts();
    let seq = changes.seq;
    let Sorted { created, touched, metadata, opened: opened_since, ended: ended_since } =
        changes.into_sorted();
    let header = SnapshotHeader {
        directory: end.directory,
        seq,
        frame_hash: end.hash,
        state_hash: end.state_hash,
        last_timestamp,
        newest_transfer,
        accounts: begin.map_or(0, |begin| begin.accounts).saturating_add(created.len() as u64),
        // Fewer than ended can only be a contradiction, which is found with its id below.
        pending: begin
            .map_or(0, |begin| begin.pending)
            .saturating_add(opened)
            .saturating_sub(ended),
    };
    let mut writer = SnapshotWriter::start(out, header, &ledgers)?;
    let mut newest = Newest {
        created: created.into_iter().peekable(),
        touched: touched.into_iter().peekable(),
        metadata,
    };
    let mut pending =
        NewestPending { opened: opened_since.into_iter().peekable(), ended: ended_since };
    let mut old = old.into_iter().flatten().peekable();
    while let Some(held) = old.next_if(|held| !matches!(held, Ok(Held::Pending(_)))) {
        if let Held::Account(mut account) = held? {
            while let Some(created) = newest.created_before(&account).map_err(contradiction)? {
                writer.push(&created)?;
            }
            newest.apply_to(&mut account).map_err(contradiction)?;
            writer.push(&account)?;
        }
    }
    for created in newest.created {
        writer.push(&created)?;
    }
    if let Some(unknown) = newest.touched.peek() {
        return Err(contradiction(Contradiction::AccountMissing(unknown.id)));
    }
    for held in old {
        if let Held::Pending(open) = held? {
            while let Some(opened) = pending.opened_before(&open).map_err(contradiction)? {
                writer.push_pending(&opened)?;
            }
            if !pending.ended.remove(&open.id) {
                writer.push_pending(&open)?;
            }
        }
    }
    for opened in pending.opened {
        writer.push_pending(&opened)?;
    }
    if let Some(unknown) = pending.ended.into_iter().min() {
        return Err(contradiction(Contradiction::PendingMissing(unknown)));
    }
    let out = writer.finish()?;
    Ok((header, out))
}

/// The pending transfers that are newer than the old snapshot and not yet written, by id, and which of the old ones ended.
struct NewestPending {
    opened: Peekable<vec::IntoIter<PendingTransfer>>,
    ended: HashSet<TransferId>,
}

impl NewestPending {
    /// The next newly opened one that stands before `old`.
    fn opened_before(
        &mut self,
        old: &PendingTransfer,
    ) -> Result<Option<PendingTransfer>, Contradiction> {
        if self.opened.peek().is_some_and(|opened| opened.id == old.id) {
            return Err(Contradiction::PendingExists(old.id));
        }
        Ok(self.opened.next_if(|opened| opened.id < old.id))
    }
}

/// What is newer than the old snapshot and not yet written, by id.
struct Newest {
    created: Peekable<vec::IntoIter<Account>>,
    touched: Peekable<vec::IntoIter<AccountAfter>>,
    /// Of those touched, the metadata where it is another, as its digest and position.
    metadata: HashMap<AccountId, (u64, JournalSeq)>,
}

impl Newest {
    /// The next new account that stands before `old`.
    fn created_before(&mut self, old: &Account) -> Result<Option<Account>, Contradiction> {
        if self.created.peek().is_some_and(|created| created.id == old.id) {
            return Err(Contradiction::AccountExists(old.id));
        }
        Ok(self.created.next_if(|created| created.id < old.id))
    }

    /// Brings `old` up to date.
    fn apply_to(&mut self, old: &mut Account) -> Result<(), Contradiction> {
        match self.touched.next_if(|after| after.id <= old.id) {
            Some(after) if after.id == old.id => {
                if let Some((digest, seq)) = self.metadata.get(&after.id) {
                    old.metadata_digest = *digest;
                    old.metadata_seq = *seq;
                }
                update(old, &after)
            }
            Some(after) => Err(Contradiction::AccountMissing(after.id)),
            None => Ok(()),
        }
    }
}

fn check_continuation(
    begin: Option<&SnapshotHeader>,
    changes: &Changes,
    end: &FrameEnd,
) -> Result<(), MergeError> {
    let snapshot = begin.map_or(JournalSeq::NONE, |begin| begin.seq);
    if snapshot != changes.after {
        return Err(MergeError::Gap { after: changes.after, snapshot });
    }
    match begin {
        Some(begin) if begin.directory != end.directory => {
            Err(MergeError::Directory { expected: end.directory, found: begin.directory })
        }
        Some(_) | None => Ok(()),
    }
}

fn merge_ledgers(
    old: &[(Ledger, LedgerTotals)],
    created: BTreeMap<LedgerId, Ledger>,
    totals: BTreeMap<LedgerId, LedgerTotals>,
) -> Result<Vec<(Ledger, LedgerTotals)>, Contradiction> {
    let mut ledgers: BTreeMap<LedgerId, (Ledger, LedgerTotals)> =
        old.iter().map(|(ledger, totals)| (ledger.id, (ledger.clone(), *totals))).collect();
    for (id, ledger) in created {
        if ledgers.insert(id, (ledger, LedgerTotals::default())).is_some() {
            return Err(Contradiction::LedgerExists(id));
        }
    }
    for (id, newest) in totals {
        let (_, totals) = ledgers.get_mut(&id).ok_or(Contradiction::LedgerMissing(id))?;
        *totals = newest;
    }
    Ok(ledgers.into_values().collect())
}
