//! Rests of the store's writer: a batch that nobody waits for leaves the cores to who moves money.
//!
//! A database that writes a second's worth of transfers has a core to itself for half of one. On a machine that it shares with the ledger every request then waits: at 20,000
//! transfers/s on two cores the slowest hundredth was answered after 24 ms, and seen by readers after 157.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The longest rest, however long a step took: a database that is slow should not be waited for twice.
const REST_MAX: Duration = Duration::from_millis(50);

/// How long to rest after each step, in thousandths of the time that it took. None at first.
#[derive(Debug, Default)]
pub(super) struct Leisure(AtomicU32);

impl Leisure {
    pub(super) fn set(&self, share: f64) {
        self.0.store((share.clamp(0.0, 1.0) * 1000.0) as u32, Ordering::Relaxed);
    }

    pub(super) fn is_none(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    pub(super) fn rest_after(&self, worked: Duration) -> Duration {
        worked.min(REST_MAX) * self.0.load(Ordering::Relaxed) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_a_share_of_the_work() {
        let leisure = Leisure::default();
        for (share, rest) in [(0.0, 0), (0.25, 2), (1.0, 8), (7.0, 8), (-1.0, 0)] {
            leisure.set(share);
            assert_eq!(leisure.rest_after(Duration::from_millis(8)), Duration::from_millis(rest));
            assert_eq!(leisure.is_none(), rest == 0);
        }
        leisure.set(1.0);
        assert_eq!(leisure.rest_after(Duration::from_secs(30)), REST_MAX);
    }
}
