//! The filter in front of the index: a blocked Bloom filter of 64-byte blocks.
//!
//! An id touches exactly one block, which is one cache line, and one bit in each of its eight
//! words; so asking costs one memory access however large the filter is. At capacity a block holds
//! 32 ids on average, which is 16 bits an id; with the spread of a Poisson distribution that
//! gives an expected 9.1 × 10⁻⁴ false positives, below the 10⁻³ that are promised. It never says
//! "absent" of an id that was inserted.
//!
//! Words are atomics so that one thread inserts while others ask, without locks. There is only
//! one inserting thread at a time (the index sees to it), hence a plain load and store set a bit.

use std::sync::atomic::{AtomicU64, Ordering};

/// Words in one block; with [`IDS_PER_BLOCK`] this fixes two bytes an id at capacity.
pub(super) const WORDS_PER_BLOCK: usize = 8;

/// Ids a block holds on average when the filter is at capacity.
pub(super) const IDS_PER_BLOCK: u64 = 32;

/// Hashes whose blocks are fetched together.
pub(super) const TOUCHED_AHEAD: usize = 64;

/// Odd multipliers, one for each word: the top six bits of each product choose the bit.
const MULTIPLIERS: [u32; WORDS_PER_BLOCK] = [
    0x9e37_79b1,
    0x85eb_ca77,
    0xc2b2_ae3d,
    0x27d4_eb2f,
    0x1656_67b1,
    0xd3a2_646d,
    0xfd70_46c5,
    0xb55a_4f09,
];

/// One cache line. The alignment matters: an unaligned block would cost two memory accesses.
#[repr(align(64))]
#[derive(Debug, Default)]
pub(super) struct Block {
    words: [AtomicU64; WORDS_PER_BLOCK],
}

impl Block {
    /// The bits as they stand, for writing them to disk.
    pub(super) fn load(&self) -> [u64; WORDS_PER_BLOCK] {
        std::array::from_fn(|word| self.words[word].load(Ordering::Relaxed))
    }

    /// A block with the bits that were read from disk.
    pub(super) fn from_words(words: [u64; WORDS_PER_BLOCK]) -> Block {
        Block { words: words.map(AtomicU64::new) }
    }
}

/// A set of 64-bit hashes that may claim a little too much and never too little.
#[derive(Debug)]
pub(super) struct Filter {
    blocks: Vec<Block>,
}

impl Filter {
    /// An empty filter that keeps its false-positive rate up to at least `ids` ids.
    pub(super) fn with_capacity(ids: u64) -> Filter {
        let blocks = ids.div_ceil(IDS_PER_BLOCK).max(1);
        Filter { blocks: (0..blocks).map(|_| Block::default()).collect() }
    }

    /// A filter made of blocks that were stored earlier; there must be at least one.
    pub(super) fn from_blocks(blocks: Vec<Block>) -> Filter {
        assert!(!blocks.is_empty(), "a filter has at least one block");
        Filter { blocks }
    }

    /// Ids up to which the false-positive rate holds.
    pub(super) fn capacity(&self) -> u64 {
        self.blocks.len() as u64 * IDS_PER_BLOCK
    }

    /// Memory held, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        (self.blocks.len() * size_of::<Block>()) as u64
    }

    /// The blocks in order, for writing them to disk.
    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Adds a hash. Only one thread may insert at a time; any number may ask meanwhile.
    pub(super) fn insert(&self, hash: u64) {
        let block = self.block(hash);
        for (word, bit) in block.words.iter().zip(bits(hash)) {
            word.store(word.load(Ordering::Relaxed) | bit, Ordering::Relaxed);
        }
    }

    /// Adds many hashes, some at a time, so that the waits for memory overlap.
    pub(super) fn insert_all(&self, hashes: &[u64]) {
        for part in hashes.chunks(TOUCHED_AHEAD) {
            self.touch(part);
            part.iter().for_each(|&hash| self.insert(hash));
        }
    }

    /// Fetches the blocks of hashes that are about to be inserted or asked for. The loads do not
    /// wait for one another, as those of separate questions mostly do; past a few dozen hashes
    /// nothing more is won.
    pub(super) fn touch(&self, hashes: &[u64]) {
        let load = |&hash| self.block(hash).words[0].load(Ordering::Relaxed);
        // Without a use of the values the compiler could leave the loads out.
        std::hint::black_box(hashes.iter().map(load).fold(0, |sum, word| sum ^ word));
    }

    /// False: certainly never inserted. True: inserted, or one of the rare false positives.
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        let block = self.block(hash);
        // All eight words lie in the line that the first one fetched: combining them costs less
        // than a mispredicted early exit.
        let mut missing = 0;
        for (word, bit) in block.words.iter().zip(bits(hash)) {
            missing |= !word.load(Ordering::Relaxed) & bit;
        }
        missing == 0
    }

    /// The high bits choose the block, so that `bits` can use the low ones.
    fn block(&self, hash: u64) -> &Block {
        let index = (u128::from(hash) * self.blocks.len() as u128) >> 64;
        &self.blocks[index as usize]
    }
}

/// The bit of each word that belongs to this hash.
fn bits(hash: u64) -> [u64; WORDS_PER_BLOCK] {
    let low = hash as u32;
    MULTIPLIERS.map(|multiplier| 1 << (low.wrapping_mul(multiplier) >> 26))
}

#[cfg(test)]
mod tests {
    use super::*;
    use xxhash_rust::xxh3::xxh3_64_with_seed;

    fn hash(id: u128) -> u64 {
        xxh3_64_with_seed(&id.to_be_bytes(), 7)
    }

    /// Fills a filter to its capacity with one kind of ids and asks for as many others of that
    /// kind; returns false positives in a million.
    fn false_positives_per_million(id: impl Fn(u128) -> u128) -> u64 {
        let filter = Filter::with_capacity(200_000);
        let capacity = u128::from(filter.capacity());
        (0..capacity).for_each(|n| filter.insert(hash(id(n))));
        assert!((0..capacity).all(|n| filter.may_contain(hash(id(n)))));
        (capacity..capacity + 1_000_000).filter(|&n| filter.may_contain(hash(id(n)))).count() as u64
    }

    #[test]
    fn a_full_filter_keeps_its_promise_for_every_kind_of_id() {
        let check = |kind: &str, id: fn(u128) -> u128| {
            let rate = false_positives_per_million(id);
            // Far fewer would mean that the filter is larger than the two bytes an id it states.
            assert!((700..=1_000).contains(&rate), "{kind} ids: {rate} in a million");
        };
        check("counted", |n| n);
        check("scattered", |n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        check("time-ordered", |n| {
            (1_700_000_000_000 + n / 50) << 80 | (n * 0x9e37_79b9) & 0xffff_ffff
        });
    }

    #[test]
    fn an_empty_filter_contains_nothing_and_has_a_block() {
        let filter = Filter::with_capacity(0);
        assert_eq!((filter.capacity(), filter.bytes()), (32, 64));
        assert!((0..1_000).all(|n| !filter.may_contain(hash(n))));
    }

    #[test]
    fn two_bytes_an_id_at_capacity() {
        let filter = Filter::with_capacity(1 << 20);
        assert_eq!(filter.bytes(), 2 * filter.capacity());
    }

    #[test]
    fn stored_blocks_answer_alike() {
        let filter = Filter::with_capacity(1_000);
        filter.insert_all(&(0..500).map(hash).collect::<Vec<_>>());
        assert!((0..500).all(|n| filter.may_contain(hash(n))));
        let copy = filter.blocks().iter().map(|block| Block::from_words(block.load())).collect();
        let copy = Filter::from_blocks(copy);
        assert!((0..20_000).all(|n| filter.may_contain(hash(n)) == copy.may_contain(hash(n))));
    }
}
