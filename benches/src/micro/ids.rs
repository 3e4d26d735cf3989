//! The index of decided ids: nearly every id is new, which the filter says; what it lets through is looked up on the disk.
//! `benches/ids.sh` has the same for a hundred million.

use std::sync::Arc;

use florin_engine::ASKED_AHEAD;
use florin_persistence::decided::{
    Decided, DecidedIndex, Entry, IndexOptions, IndexReader, Namespace,
};
use florin_tests::random::Random;
use tempfile::TempDir;

use super::{Case, Named, fed};

/// In the index. Its filter is then too large for most of a processor's own caches.
const INDEXED: u64 = if cfg!(test) { 20_000 } else { 8_000_000 };
/// Asked for in a step.
const ASKED: u64 = 1_024;
const OLD: u64 = 64;
/// Taken in by a step, durably.
const TAKEN: u64 = 100_000;
/// Of the batches that it is filled with.
const BATCH: u64 = 500_000;
const GROUP: &str = "the index of ids, 8 million in it";

pub(super) const CASES: [Named; 4] = [
    Named::new(GROUP, "a new id, asked alone: the filter answers", ASKED, || new(Asking::Alone))
        .differing(),
    Named::new(GROUP, "a new id, 64 fetched from memory together", ASKED, || new(Asking::Together))
        .differing(),
    Named::new(GROUP, "an old id, its table in the page cache", OLD, old).differing(),
    Named::new(GROUP, "an id of 100,000 that are taken in, synced", TAKEN, taken).differing(),
];

/// All 128 bits look random, and no two are the same.
fn id(number: u64) -> u128 {
    let mix = |mut bits: u64| {
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    };
    (u128::from(mix(number + 1)) << 64) | u128::from(mix(!number))
}

struct Indexed {
    index: Arc<DecidedIndex>,
    reader: IndexReader,
    /// The first number that was never asked for nor taken in.
    next: u64,
    random: Random,
    /// Dropped after the index.
    _directory: TempDir,
}

impl Indexed {
    fn new(count: u64) -> Indexed {
        let directory = TempDir::with_prefix("florin-bench-").expect("a temporary directory");
        let index = DecidedIndex::open(directory.path(), IndexOptions::SMALL);
        let index = Arc::new(index.expect("an empty directory is an empty index"));
        let reader = index.reader();
        let mut indexed =
            Indexed { index, reader, next: 0, random: Random::new(3), _directory: directory };
        while indexed.next < count {
            let mut entries = indexed.entries(BATCH.min(count - indexed.next));
            indexed.take(&mut entries);
        }
        indexed
    }

    fn entries(&mut self, count: u64) -> Vec<Entry> {
        let decided =
            |number| Decided { seq: number + 1, digest: number, timestamp: number, kind: 1 };
        let numbers = self.next..self.next + count;
        self.next += count;
        numbers.map(|number| (Namespace::Transfer, id(number), decided(number))).collect()
    }

    fn take(&self, entries: &mut Vec<Entry>) {
        self.index.insert_batch(entries, self.next).expect("the disk takes it");
    }

    fn fresh(&mut self) -> Vec<u128> {
        let first = self.next;
        self.next += ASKED;
        (first..self.next).map(id).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asking {
    Alone,
    Together,
}

fn new(asking: Asking) -> Box<dyn Case> {
    fed(Indexed::new(INDEXED), Indexed::fresh, move |indexed, ids| {
        let reader = &mut indexed.reader;
        for ids in ids.chunks(ASKED_AHEAD) {
            let absent = match asking {
                Asking::Alone => 0,
                Asking::Together => reader.absent(Namespace::Transfer, ids.iter().copied()),
            };
            for (id, at) in ids.iter().zip(0..) {
                if absent & (1_u64 << at) != 0 {
                    continue;
                }
                let found = reader.get(Namespace::Transfer, *id).expect("the disk can be read");
                assert!(found.is_none(), "it is new");
            }
        }
    })
}

fn old() -> Box<dyn Case> {
    fed(
        Indexed::new(INDEXED),
        |indexed| (0..OLD).map(|_| indexed.random.below(INDEXED)).collect::<Vec<_>>(),
        |indexed, numbers| {
            for number in numbers {
                let found = indexed.reader.get(Namespace::Transfer, id(number));
                let found = found.expect("the disk can be read").expect("it is old");
                assert_eq!(found.seq, number + 1);
            }
        },
    )
}

fn taken() -> Box<dyn Case> {
    fed(
        Indexed::new(TAKEN),
        |indexed| indexed.entries(TAKEN),
        |indexed, mut entries| {
            indexed.take(&mut entries);
            entries
        },
    )
}
