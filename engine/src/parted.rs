//! A hash table in parts, so that its growth is never long: a part that grows moves only what is in it, and with all of ten million entries in
//! one table that would stall every command behind for a second.

use hashbrown::HashTable;
use hashbrown::hash_table::OccupiedEntry;

/// A power of two. Their heads fit into the processor's nearest cache.
const PARTS: usize = 64;

/// A [`HashTable`] whose entries are spread over [`PARTS`] of them by bits of the hash that these use little.
pub(crate) struct PartedTable<T> {
    parts: Box<[HashTable<T>; PARTS]>,
}

impl<T> PartedTable<T> {
    pub(crate) fn new() -> PartedTable<T> {
        PartedTable { parts: Box::new([const { HashTable::new() }; PARTS]) }
    }

    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(HashTable::len).sum()
    }

    pub(crate) fn find(&self, hash: u64, is_it: impl FnMut(&T) -> bool) -> Option<&T> {
        self.parts[part(hash)].find(hash, is_it)
    }

    pub(crate) fn find_entry(
        &mut self,
        hash: u64,
        is_it: impl FnMut(&T) -> bool,
    ) -> Option<OccupiedEntry<'_, T>> {
        self.parts[part(hash)].find_entry(hash, is_it).ok()
    }

    /// Adds an entry that is not there yet. `hasher` gives the hash of those that are, when their part grows.
    pub(crate) fn insert_unique(&mut self, hash: u64, entry: T, hasher: impl Fn(&T) -> u64) {
        self.parts[part(hash)].insert_unique(hash, entry, hasher);
    }
}

/// Of a hash, a table takes the lowest bits for the place and the highest for the tag.
fn part(hash: u64) -> usize {
    (hash >> 40) as usize % PARTS
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::hash::BuildHasher;

    use foldhash::fast::FixedState;

    use super::*;

    #[test]
    fn no_growth_moves_more_than_a_small_share() {
        let hasher = FixedState::with_seed(7);
        let mut table = PartedTable::new();
        let moved = Cell::new(0);
        let count = 300_000_u64;
        for entry in 0..count {
            moved.set(0);
            table.insert_unique(hasher.hash_one(entry), entry, |entry| {
                moved.set(moved.get() + 1);
                hasher.hash_one(*entry)
            });
            assert!(moved.get() <= count / PARTS as u64 * 2, "{} moved by one", moved.get());
        }
        assert_eq!(table.len() as u64, count);
        for entry in 0..count {
            let hash = hasher.hash_one(entry);
            assert_eq!(table.find(hash, |found| *found == entry), Some(&entry));
            if entry % 2 == 0 {
                table.find_entry(hash, |found| *found == entry).unwrap().remove();
                assert_eq!(table.find(hash, |found| *found == entry), None);
            }
        }
        assert_eq!(table.len() as u64, count / 2);
    }
}
