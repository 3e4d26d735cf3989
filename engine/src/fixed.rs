//! Fields in a fixed order and size, as digests and state hashes are taken of them.

use xxhash_rust::xxh3::xxh3_64;

/// Collects fields one after the other. Sizes are known when compiled, so each field is one store.
pub(crate) struct FixedFields<const SIZE: usize> {
    bytes: [u8; SIZE],
    length: usize,
}

impl<const SIZE: usize> FixedFields<SIZE> {
    pub(crate) const fn new() -> FixedFields<SIZE> {
        FixedFields { bytes: [0; SIZE], length: 0 }
    }

    #[inline(always)]
    pub(crate) fn put<const N: usize>(&mut self, field: [u8; N]) -> &mut FixedFields<SIZE> {
        self.bytes[self.length..self.length + N].copy_from_slice(&field);
        self.length += N;
        self
    }

    /// XXH3-64 of the fields.
    #[inline(always)]
    pub(crate) fn hash(&self) -> u64 {
        xxh3_64(&self.bytes[..self.length])
    }
}
