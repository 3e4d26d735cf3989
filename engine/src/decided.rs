//! Which ids and keys were decided: those of the newest commands, in memory.
//!
//! A transfer id is decided once, for ever. The ids that are not yet in the index on disk live here; whoever runs the state
//! machine answers for the others through [`DecidedBefore`], and says how far the index reaches with [`RecentIds::forget`].

use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::ids::{JournalSeq, LedgerId, Timestamp, TransferId};
use crate::rejection::Rejection;

/// What an id or key was decided to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Where in the journal.
    pub seq: JournalSeq,
    /// The digest of the content that it was decided for; of what became of a transfer later, the transfer's ledger.
    pub digest: u64,
    /// When: the timestamp that a retry is answered with.
    pub timestamp: Timestamp,
    /// What it names.
    pub kind: DecidedKind,
}

impl Decided {
    /// What became at `seq` of a transfer of this ledger, to be remembered under its id.
    pub(crate) fn ended(
        seq: JournalSeq,
        timestamp: Timestamp,
        kind: DecidedKind,
        ledger: LedgerId,
    ) -> Decided {
        Decided { seq, digest: u64::from(ledger.0), timestamp, kind }
    }

    /// The ledger of a transfer whose end this is: tells how many digits the amounts may have that a late post or void names.
    pub(crate) fn ledger_of_ended(&self) -> Option<LedgerId> {
        let is_end = self.kind.space() == DecidedSpace::Settled;
        u32::try_from(self.digest).ok().filter(|_| is_end).map(LedgerId)
    }
}

/// What a decided id names. The numbers are part of the durable format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DecidedKind {
    /// A transfer.
    Transfer = 1,
    /// A transaction.
    Transaction = 2,
    /// Nothing: a transient rejection used it up.
    Burned = 3,
    /// An idempotency key.
    Key = 4,
    /// A pending transfer's end, under its own id in a space of its own: it was posted.
    Posted = 5,
    /// It was voided.
    Voided = 6,
    /// It expired.
    Expired = 7,
    /// A posted transfer's end, in the same space: it was reversed.
    Reversed = 8,
}

/// Ids, keys and ends are spaces of their own: the same number may stand once in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedSpace {
    /// Ids of transfers and transactions.
    Transfer,
    /// Idempotency keys.
    Key,
    /// What became of a transfer later, under its id.
    Settled,
}

/// How a pending transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It was posted, in full or in part.
    Posted,
    /// It was voided.
    Voided,
    /// Its time was over.
    Expired,
}

impl Settlement {
    /// What a later post or void of the same transfer comes to.
    #[must_use]
    pub const fn rejection(self) -> Rejection {
        match self {
            Settlement::Posted => Rejection::PendingTransferAlreadyPosted,
            Settlement::Voided => Rejection::PendingTransferAlreadyVoided,
            Settlement::Expired => Rejection::PendingTransferExpired,
        }
    }

    /// The kind under which it is remembered.
    #[must_use]
    pub const fn kind(self) -> DecidedKind {
        match self {
            Settlement::Posted => DecidedKind::Posted,
            Settlement::Voided => DecidedKind::Voided,
            Settlement::Expired => DecidedKind::Expired,
        }
    }
}

impl DecidedKind {
    /// The kind of this number in the durable format.
    #[must_use]
    pub const fn try_from_number(number: u8) -> Option<DecidedKind> {
        match number {
            1 => Some(DecidedKind::Transfer),
            2 => Some(DecidedKind::Transaction),
            3 => Some(DecidedKind::Burned),
            4 => Some(DecidedKind::Key),
            5 => Some(DecidedKind::Posted),
            6 => Some(DecidedKind::Voided),
            7 => Some(DecidedKind::Expired),
            8 => Some(DecidedKind::Reversed),
            _ => None,
        }
    }

    /// The space in which things of this kind are remembered.
    #[must_use]
    pub const fn space(self) -> DecidedSpace {
        match self {
            DecidedKind::Transfer | DecidedKind::Transaction | DecidedKind::Burned => {
                DecidedSpace::Transfer
            }
            DecidedKind::Key => DecidedSpace::Key,
            DecidedKind::Posted
            | DecidedKind::Voided
            | DecidedKind::Expired
            | DecidedKind::Reversed => DecidedSpace::Settled,
        }
    }

    /// How the pending transfer ended, if this is such an end.
    #[must_use]
    pub const fn settlement(self) -> Option<Settlement> {
        match self {
            DecidedKind::Posted => Some(Settlement::Posted),
            DecidedKind::Voided => Some(Settlement::Voided),
            DecidedKind::Expired => Some(Settlement::Expired),
            DecidedKind::Transfer
            | DecidedKind::Transaction
            | DecidedKind::Burned
            | DecidedKind::Key
            | DecidedKind::Reversed => None,
        }
    }
}

/// Answers for the ids and keys that are no longer in memory.
///
/// Must be a function of the history alone: what it says decides outcomes.
pub trait DecidedBefore {
    /// What the id was decided to be, if it is indexed.
    fn transfer(&mut self, id: TransferId) -> Option<Decided>;
    /// What the key with this hash was used for, if it is indexed.
    fn key(&mut self, hash: u128) -> Option<Decided>;
    /// What became of the transfer with this id later, if that is indexed.
    fn settled(&mut self, id: TransferId) -> Option<Decided>;
}

/// A history without an index: every id is recent.
pub struct NothingBefore;

impl DecidedBefore for NothingBefore {
    fn transfer(&mut self, _id: TransferId) -> Option<Decided> {
        None
    }

    fn key(&mut self, _hash: u128) -> Option<Decided> {
        None
    }

    fn settled(&mut self, _id: TransferId) -> Option<Decided> {
        None
    }
}

struct Entry {
    id: u128,
    decided: Decided,
}

/// Entries of one generation: what fills the 2^20 buckets of a table.
const GENERATION: usize = (1 << 20) / 8 * 7;

struct Generation {
    entries: HashTable<Entry>,
    last_seq: JournalSeq,
}

/// The ids decided most recently, in generations, so that forgetting the oldest costs nothing for each id.
pub(crate) struct RecentIds {
    generations: VecDeque<Generation>,
    hasher: FixedState,
    /// All up to here is indexed and forgotten, or may be.
    indexed: JournalSeq,
}

impl RecentIds {
    pub(crate) fn new(hash_seed: u64) -> RecentIds {
        RecentIds {
            generations: VecDeque::new(),
            hasher: FixedState::with_seed(hash_seed),
            indexed: JournalSeq::NONE,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.generations.iter().map(|generation| generation.entries.len()).sum()
    }

    pub(crate) fn get(&self, id: u128) -> Option<Decided> {
        let hash = self.hasher.hash_one(id);
        self.generations.iter().rev().find_map(|generation| {
            generation.entries.find(hash, |entry| entry.id == id).map(|entry| entry.decided)
        })
    }

    /// Remembers an id that is not there yet. Positions never fall.
    pub(crate) fn insert(&mut self, id: u128, decided: Decided) {
        let full = self.generations.back().is_none_or(|newest| newest.entries.len() >= GENERATION);
        if full {
            // A second generation means a busy ledger: it gets its room at once, so that no growth ever stalls a command.
            let capacity = if self.generations.is_empty() { 0 } else { GENERATION };
            self.generations.push_back(Generation {
                entries: HashTable::with_capacity(capacity),
                last_seq: decided.seq,
            });
        }
        let newest = self.generations.back_mut().expect("one was pushed when there was none");
        newest.last_seq = decided.seq;
        let hasher = &self.hasher;
        newest.entries.insert_unique(hasher.hash_one(id), Entry { id, decided }, |entry| {
            hasher.hash_one(entry.id)
        });
    }

    /// Takes back an id of the running command.
    pub(crate) fn remove(&mut self, id: u128) {
        let hash = self.hasher.hash_one(id);
        for generation in self.generations.iter_mut().rev() {
            if let Ok(entry) = generation.entries.find_entry(hash, |entry| entry.id == id) {
                entry.remove();
                return;
            }
        }
    }

    /// Forgets the generations that the index covers.
    pub(crate) fn forget(&mut self, indexed: JournalSeq) {
        self.indexed = self.indexed.max(indexed);
        while self.generations.front().is_some_and(|oldest| oldest.last_seq <= self.indexed) {
            self.generations.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(seq: u64) -> Decided {
        let (kind, timestamp) = (DecidedKind::Transfer, Timestamp(seq));
        Decided { seq: JournalSeq(seq), digest: seq, timestamp, kind }
    }

    #[test]
    fn what_is_indexed_is_forgotten_by_generations() {
        let mut recent = RecentIds::new(7);
        let count = GENERATION as u64 + 10;
        for id in 1..=count {
            recent.insert(u128::from(id), decided(id));
        }
        assert_eq!(recent.len() as u64, count);
        recent.forget(JournalSeq(GENERATION as u64 - 1));
        assert_eq!(recent.get(1), Some(decided(1)), "its generation is not wholly indexed");
        recent.forget(JournalSeq(GENERATION as u64));
        assert_eq!(recent.get(1), None);
        assert_eq!(recent.get(u128::from(count)), Some(decided(count)));
        recent.remove(u128::from(count));
        assert_eq!(recent.get(u128::from(count)), None);
        assert_eq!(recent.len(), 9);
    }
}
