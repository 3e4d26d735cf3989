//! A small generator of numbers that are the same in every run of the same seed.

/// A xorshift generator: enough to choose accounts and amounts, and no more.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator that gives the same numbers for the same `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        // Spreads small seeds over all bits; a xorshift state must not be 0.
        Random(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}
