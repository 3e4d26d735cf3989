//! Pending transfers that are open: neither posted, nor voided, nor expired.
//!
//! Memory is bounded by what is open: an entry goes when its transfer is settled, and with it its place in the queue of those
//! that expire. What became of a transfer that is no longer here is told by the ids decided ([`crate::decided`]).

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use crate::accounts::Slot;
use crate::amount::Amount;
use crate::fixed::FixedFields;
use crate::ids::{AccountId, Code, LedgerId, Timestamp, TransferId};
use crate::parted::PartedTable;
use crate::transfer::TransferFlags;

/// A pending transfer that is open, as a snapshot holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingTransfer {
    /// Its name.
    pub id: TransferId,
    /// The account that is to give.
    pub debit_account_id: AccountId,
    /// The account that is to receive.
    pub credit_account_id: AccountId,
    /// How much is reserved.
    pub amount: Amount,
    /// The caller's own reference.
    pub user_data_128: u128,
    /// The caller's own reference.
    pub user_data_64: u64,
    /// The caller's own reference.
    pub user_data_32: u32,
    /// The ledger of both accounts.
    pub ledger: LedgerId,
    /// What kind of transfer it is, to the caller.
    pub code: Code,
    /// How it was decided: here stands which accounts it closes.
    pub flags: TransferFlags,
    /// When it was decided.
    pub timestamp: Timestamp,
    /// Seconds until it expires; 0 for never.
    pub timeout: u32,
}

impl PendingTransfer {
    /// Its share of the state hash: XXH3-64 of its fields in a fixed order. Part of the durable format.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        FixedFields::<120>::new()
            .put(self.id.0.to_le_bytes())
            .put(self.debit_account_id.0.to_le_bytes())
            .put(self.credit_account_id.0.to_le_bytes())
            .put(self.amount.to_le_bytes())
            .put(self.user_data_128.to_le_bytes())
            .put(self.user_data_64.to_le_bytes())
            .put(self.user_data_32.to_le_bytes())
            .put(self.ledger.0.to_le_bytes())
            .put(self.code.0.to_le_bytes())
            .put(self.flags.bits().to_le_bytes())
            .put(self.timestamp.0.to_le_bytes())
            .put(self.timeout.to_le_bytes())
            .hash()
    }

    /// From when on it can no longer be settled; `None` for never.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        expires_at(self.timestamp, self.timeout)
    }
}

/// When a transfer of this timeout, in seconds, expires; `None` for never.
#[must_use]
pub(crate) fn expires_at(timestamp: Timestamp, timeout: u32) -> Option<Timestamp> {
    (timeout != 0).then(|| timestamp.plus(u64::from(timeout) * 1_000_000_000))
}

/// An open pending transfer in memory: its accounts by their place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    /// 0 marks a place that is free.
    pub(crate) id: TransferId,
    pub(crate) user_data_128: u128,
    pub(crate) user_data_64: u64,
    pub(crate) timestamp: Timestamp,
    pub(crate) amount: Amount,
    pub(crate) debit: Slot,
    pub(crate) credit: Slot,
    pub(crate) user_data_32: u32,
    pub(crate) timeout: u32,
    pub(crate) code: Code,
    pub(crate) flags: TransferFlags,
}

impl Pending {
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        expires_at(self.timestamp, self.timeout)
    }
}

/// With 12 to 24 bytes of index, and some 40 in the queue for those that expire, an open pending transfer costs some 130 bytes.
const _: () = assert!(size_of::<Pending>() == 80);

/// Entries a chunk holds. Chunks never move, so that growing copies nothing but the index.
const CHUNK: usize = 1024;

/// A place in the chunks, and the hash of the id there: growing the index does not ask the entries.
struct Indexed {
    hash: u64,
    place: u32,
}

/// All open pending transfers, by id and in the order in which they expire.
pub(crate) struct OpenPending {
    chunks: Vec<Vec<Pending>>,
    free: Vec<u32>,
    index: PartedTable<Indexed>,
    hasher: FixedState,
    /// By the moment of expiry, then of creation: the reference's order. Timestamps of transfers that can expire are unique.
    queue: BTreeMap<(Timestamp, Timestamp), u32>,
}

impl OpenPending {
    pub(crate) fn new(hash_seed: u64) -> OpenPending {
        OpenPending {
            chunks: Vec::new(),
            free: Vec::new(),
            index: PartedTable::new(),
            hasher: FixedState::with_seed(hash_seed),
            queue: BTreeMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    fn at(&self, place: u32) -> &Pending {
        let place = place as usize;
        &self.chunks[place / CHUNK][place % CHUNK]
    }

    fn at_mut(&mut self, place: u32) -> &mut Pending {
        let place = place as usize;
        &mut self.chunks[place / CHUNK][place % CHUNK]
    }

    pub(crate) fn get(&self, id: TransferId) -> Option<&Pending> {
        let hash = self.hasher.hash_one(id.0);
        let found = self.index.find(hash, |found| self.at(found.place).id == id)?;
        Some(self.at(found.place))
    }

    /// Adds a transfer whose id is not there yet.
    pub(crate) fn insert(&mut self, pending: Pending) {
        let place = self.free.pop().unwrap_or_else(|| self.new_place());
        *self.at_mut(place) = pending;
        let hash = self.hasher.hash_one(pending.id.0);
        self.index.insert_unique(hash, Indexed { hash, place }, |indexed| indexed.hash);
        if let Some(expires_at) = pending.expires_at() {
            self.queue.insert((expires_at, pending.timestamp), place);
        }
    }

    fn new_place(&mut self) -> u32 {
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let before = (self.chunks.len() - 1) * CHUNK;
        let chunk = self.chunks.last_mut().expect("one was pushed when there was no room");
        chunk.push(FREE);
        u32::try_from(before + chunk.len() - 1).expect("memory ends long before 2^32 transfers")
    }

    /// Takes a transfer out, since it is settled.
    pub(crate) fn remove(&mut self, id: TransferId) -> Option<Pending> {
        let hash = self.hasher.hash_one(id.0);
        let chunks = &self.chunks;
        let entry = self.index.find_entry(hash, |found| {
            let place = found.place as usize;
            chunks[place / CHUNK][place % CHUNK].id == id
        });
        let (Indexed { place, .. }, _) = entry?.remove();
        let pending = std::mem::replace(self.at_mut(place), FREE);
        self.free.push(place);
        if let Some(expires_at) = pending.expires_at() {
            self.queue.remove(&(expires_at, pending.timestamp));
        }
        Some(pending)
    }

    /// The one that expires next, and when.
    pub(crate) fn next_to_expire(&self) -> Option<(Timestamp, TransferId)> {
        let ((expires_at, _), place) = self.queue.first_key_value()?;
        Some((*expires_at, self.at(*place).id))
    }

    /// All of them, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.chunks.iter().flatten().filter(|pending| pending.id != FREE.id)
    }
}

const FREE: Pending = Pending {
    id: TransferId(0),
    user_data_128: 0,
    user_data_64: 0,
    timestamp: Timestamp(0),
    amount: Amount::ZERO,
    debit: Slot::FIRST,
    credit: Slot::FIRST,
    user_data_32: 0,
    timeout: 0,
    code: Code(0),
    flags: TransferFlags::empty(),
};

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(id: u128, timestamp: u64, timeout: u32) -> Pending {
        Pending { id: TransferId(id), timestamp: Timestamp(timestamp), timeout, ..FREE }
    }

    #[test]
    fn what_expires_first_comes_first_and_then_what_was_created_first() {
        let mut open = OpenPending::new(7);
        for (id, timestamp, timeout) in [(1, 10, 2), (2, 1_000_000_009, 1), (3, 1_000_000_010, 1)] {
            open.insert(pending(id, timestamp, timeout));
        }
        open.insert(pending(4, 5, 0));
        let mut order = Vec::new();
        while let Some((expires_at, id)) = open.next_to_expire() {
            order.push((id.0, expires_at.0));
            open.remove(id).unwrap();
        }
        assert_eq!(order, [(2, 2_000_000_009), (1, 2_000_000_010), (3, 2_000_000_010)]);
        assert_eq!(open.iter().map(|pending| pending.id.0).collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn places_are_used_again() {
        let mut open = OpenPending::new(7);
        for id in 1..=3000 {
            open.insert(pending(id, id as u64, 1));
            assert!(id < 100 || open.remove(TransferId(id - 99)).is_some());
        }
        assert_eq!((open.len(), open.chunks.len()), (99, 1));
        assert!(open.get(TransferId(2901)).is_none());
        assert_eq!(open.get(TransferId(2902)).unwrap().timestamp, Timestamp(2902));
    }
}
