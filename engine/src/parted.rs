//! A hash table in parts that grow one after the other, so that its growth is never long: a part that grows moves only what is in it, and with all of ten
//! million entries in one table that would stall every command behind for a second. Parts that are filled alike would all be full at once; so each has a share of
//! its own of a table's room that it fills before it grows.

use hashbrown::HashTable;
use hashbrown::hash_table::OccupiedEntry;

/// A power of two. Their heads fit into the processor's nearest cache.
const PARTS: usize = 256;

/// A [`HashTable`] whose entries are spread over [`PARTS`] of them by bits of the hash that these use little.
pub(crate) struct PartedTable<T> {
    parts: Box<[Part<T>]>,
}

struct Part<T> {
    table: HashTable<T>,
    /// It grows before it takes more entries than this.
    entries_max: usize,
}

impl<T> PartedTable<T> {
    pub(crate) fn new() -> PartedTable<T> {
        let empty = || Part { table: HashTable::new(), entries_max: 0 };
        PartedTable { parts: (0..PARTS).map(|_| empty()).collect() }
    }

    /// An empty table that has grown as if it had held so many entries.
    pub(crate) fn with_room(entries: usize) -> PartedTable<T> {
        let mut table = PartedTable::new();
        // Hashes spread entries unevenly: six standard deviations more than the mean.
        let mean = entries.div_ceil(PARTS);
        let most = if entries == 0 { 0 } else { mean + 6 * mean.isqrt() };
        for (part, number) in table.parts.iter_mut().zip(0..) {
            while part.entries_max < most {
                part.grow(number, |_| unreachable!("it is empty"));
            }
        }
        table
    }

    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.table.len()).sum()
    }

    pub(crate) fn find(&self, hash: u64, is_it: impl FnMut(&T) -> bool) -> Option<&T> {
        self.parts[number(hash)].table.find(hash, is_it)
    }

    pub(crate) fn find_entry(
        &mut self,
        hash: u64,
        is_it: impl FnMut(&T) -> bool,
    ) -> Option<OccupiedEntry<'_, T>> {
        self.parts[number(hash)].table.find_entry(hash, is_it).ok()
    }

    /// Adds an entry that is not there yet. `hasher` gives the hash of those that are, when their part grows.
    pub(crate) fn insert_unique(&mut self, hash: u64, entry: T, hasher: impl Fn(&T) -> u64) {
        let number = number(hash);
        let part = &mut self.parts[number];
        if part.table.len() >= part.entries_max {
            part.grow(number, &hasher);
        }
        part.table.insert_unique(hash, entry, hasher);
    }
}

impl<T> Part<T> {
    /// Takes twice the room, of which the first part fills half before it grows again and the last part all.
    fn grow(&mut self, number: usize, hasher: impl Fn(&T) -> u64) {
        let more = self.table.capacity() + 1 - self.table.len();
        self.table.reserve(more, hasher);
        let half = self.table.capacity() / 2;
        self.entries_max = half + (half * (number + 1)).div_ceil(PARTS);
    }
}

/// Of a hash, a table takes the lowest bits for the place and the highest for the tag.
fn number(hash: u64) -> usize {
    (hash >> 40) as usize % PARTS
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::VecDeque;
    use std::hash::BuildHasher;

    use foldhash::fast::FixedState;

    use super::*;

    #[test]
    fn growth_comes_in_small_steps() {
        let hasher = FixedState::with_seed(7);
        let mut table = PartedTable::new();
        let moved = Cell::new(0);
        let count = 300_000_u64;
        let (mut lately, mut moved_lately) = (VecDeque::new(), 0);
        for entry in 0..count {
            moved.set(0);
            table.insert_unique(hasher.hash_one(entry), entry, |entry| {
                moved.set(moved.get() + 1);
                hasher.hash_one(*entry)
            });
            assert!(moved.get() <= count / PARTS as u64 * 2, "{} moved by one", moved.get());
            lately.push_back(moved.get());
            moved_lately += moved.get();
            moved_lately -= if lately.len() > 1_000 { lately.pop_front().unwrap() } else { 0 };
            assert!(entry < 50_000 || moved_lately < 8_000, "{moved_lately} moved by a thousand");
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

    #[test]
    fn with_room_nothing_is_moved() {
        let hasher = FixedState::with_seed(7);
        for count in [0, 1, 1_000, 300_000_u64] {
            let mut table = PartedTable::with_room(count as usize);
            for entry in 0..count {
                table.insert_unique(hasher.hash_one(entry), entry, |_| panic!("{entry} moved"));
            }
            assert_eq!(table.len() as u64, count);
        }
    }
}
