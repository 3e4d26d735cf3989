//! Where the account actors live: every account of a partition, found by its id.

use std::hash::BuildHasher;
use std::hint::black_box;

use foldhash::fast::FixedState;

use crate::account::Account;
use crate::decided::ASKED_AHEAD;
use crate::ids::AccountId;
use crate::parted::PartedTable;

/// Where an account stands in [`Accounts`]; never changes, since accounts are never removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u32);

impl Slot {
    /// Where the first account stands, or will.
    pub(crate) const FIRST: Slot = Slot(0);
}

/// An account and what the state machine keeps beside it.
pub(crate) struct Resident {
    pub(crate) account: Account,
    /// The account's share of the state hash, as of the end of the last command that changed it.
    pub(crate) hash: u64,
    /// Where the account stands among those that the running command touched. Only a hint: whoever reads it asks that list.
    pub(crate) touch: u32,
}

/// Accounts a chunk holds. Chunks never move, so that growing never copies the accounts already there.
const CHUNK: usize = 1024;

/// Fewer accounts are in the processor's caches anyway.
const WARMED_FROM: usize = 50_000;
/// The accounts of a transfer are two.
const WARMED: usize = 2 * ASKED_AHEAD;

/// All accounts, in the order in which they were created, and an index of slots by id.
pub(crate) struct Accounts {
    chunks: Vec<Vec<Resident>>,
    slots: PartedTable<Slot>,
    count: usize,
    hasher: FixedState,
}

impl Accounts {
    /// No accounts. The seed keeps callers from choosing ids that collide; it has no influence on any outcome.
    pub(crate) fn new(hash_seed: u64) -> Accounts {
        Accounts {
            chunks: Vec::new(),
            slots: PartedTable::new(),
            count: 0,
            hasher: FixedState::with_seed(hash_seed),
        }
    }

    /// Makes room for so many more, so that none of them moves those before it about. Called while there are none.
    pub(crate) fn reserve(&mut self, accounts: usize) {
        debug_assert_eq!(self.count, 0, "room is made before the first account");
        self.slots = PartedTable::with_room(accounts);
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn find(&self, id: AccountId) -> Option<Slot> {
        let hash = self.hasher.hash_one(id.0);
        self.slots.find(hash, |slot| self.at(*slot).account.id == id).copied()
    }

    /// Reads the accounts with these ids, so that they are in the processor's caches. Step by step for [`WARMED`] at a time: in each step no read waits for another,
    /// where those of one account wait for each other.
    pub(crate) fn warm(&self, mut ids: impl Iterator<Item = AccountId>) {
        if self.count < WARMED_FROM {
            return;
        }
        loop {
            let (mut hashes, mut slots) = ([0; WARMED], [Slot::FIRST; WARMED]);
            let mut count = 0;
            for (hash, id) in hashes.iter_mut().zip(ids.by_ref()) {
                *hash = self.hasher.hash_one(id.0);
                count += 1;
            }
            let mut found = 0;
            for hash in &hashes[..count] {
                // Not compared with the account itself, of which nothing is there yet: it is another one's once in some twenty times.
                if let Some(slot) = self.slots.find(*hash, |_| true) {
                    slots[found] = *slot;
                    found += 1;
                }
            }
            // At both of its ends: it lies in three or four lines of the caches.
            let read = slots[..found].iter().fold(0, |read, slot| {
                let Resident { account, hash, .. } = self.at(*slot);
                read ^ hash ^ account.id.0 as u64
            });
            black_box(read);
            if count < WARMED {
                return;
            }
        }
    }

    pub(crate) fn at(&self, slot: Slot) -> &Resident {
        let index = slot.0 as usize;
        &self.chunks[index / CHUNK][index % CHUNK]
    }

    pub(crate) fn at_mut(&mut self, slot: Slot) -> &mut Resident {
        let index = slot.0 as usize;
        &mut self.chunks[index / CHUNK][index % CHUNK]
    }

    /// Adds an account whose id is not there yet.
    pub(crate) fn insert(&mut self, account: Account) -> Slot {
        let hash = self.hasher.hash_one(account.id.0);
        let index = self.len();
        let slot = Slot(u32::try_from(index).expect("memory ends long before 2^32 accounts"));
        if index.is_multiple_of(CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let chunk = self.chunks.last_mut().expect("a chunk was pushed for the first account");
        chunk.push(Resident { hash: account.state_hash(), account, touch: 0 });
        let (chunks, hasher) = (&self.chunks, &self.hasher);
        self.slots.insert_unique(hash, slot, |slot| {
            let index = slot.0 as usize;
            hasher.hash_one(chunks[index / CHUNK][index % CHUNK].account.id.0)
        });
        self.count += 1;
        slot
    }

    /// Takes back the newest account: the undoing of [`Accounts::insert`] in a chain that failed.
    pub(crate) fn remove_newest(&mut self) -> Account {
        let chunk = self.chunks.last_mut().expect("there is an account to take back");
        let resident = chunk.pop().expect("a chunk is never empty");
        if chunk.is_empty() {
            self.chunks.pop();
        }
        self.count -= 1;
        let newest = Slot(self.count as u32);
        let hash = self.hasher.hash_one(resident.account.id.0);
        match self.slots.find_entry(hash, |slot| *slot == newest) {
            Some(entry) => drop(entry.remove()),
            None => unreachable!("every account is indexed"),
        }
        resident.account
    }

    /// All accounts, in the order in which they were created.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Resident> {
        self.chunks.iter().flatten()
    }
}

/// With ten bytes of index an account stays well within the 256 that are promised.
const _: () = assert!(size_of::<Resident>() == 176);
