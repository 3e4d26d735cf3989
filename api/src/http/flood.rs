//! Refusals that come by the thousand, told together: a line for each would cost more than the refusal, when there is least to spare.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Counts refusals, and says once a second how many there were.
#[derive(Debug)]
pub(crate) struct Flood {
    began: Instant,
    /// The second in which something was told last, counted from 1.
    told: AtomicU64,
    untold: AtomicU64,
}

impl Flood {
    pub(crate) fn new() -> Flood {
        Flood { began: Instant::now(), told: AtomicU64::new(0), untold: AtomicU64::new(0) }
    }

    /// Notes one more. Returns how many are to be told, if it is time for it.
    pub(crate) fn note(&self) -> Option<u64> {
        self.note_in(self.began.elapsed().as_secs() + 1)
    }

    fn note_in(&self, second: u64) -> Option<u64> {
        self.untold.fetch_add(1, Ordering::Relaxed);
        let told = self.told.load(Ordering::Relaxed);
        let is_mine = second > told
            && self
                .told
                .compare_exchange(told, second, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        is_mine.then(|| self.untold.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_a_second_are_told_in_a_later_one() {
        let flood = Flood::new();
        let told: Vec<_> = [1, 1, 1, 2, 2, 5].map(|second| flood.note_in(second)).into();
        assert_eq!(told, [Some(1), None, None, Some(3), None, Some(2)]);
    }
}
