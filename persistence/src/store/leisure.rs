//! Time that a batch may take: one that nobody waits for is written with rests, and leaves the cores to who moves money.
//!
//! A database that writes a second's worth of transfers has a core to itself for half of one. On a machine that it shares with the ledger every request then waits: at 20,000
//! transfers/s on two cores the slowest hundredth was answered after 24 ms, and seen by readers after 157.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Until when batches may take their time. Until told otherwise they may not.
#[derive(Debug)]
pub(super) struct Leisure {
    origin: Instant,
    /// In microseconds after the origin.
    until: AtomicU64,
}

impl Default for Leisure {
    fn default() -> Leisure {
        Leisure { origin: Instant::now(), until: AtomicU64::new(0) }
    }
}

impl Leisure {
    pub(super) fn set(&self, until: Instant) {
        let after = until.saturating_duration_since(self.origin);
        self.until.store(after.as_micros() as u64, Ordering::Relaxed);
    }

    /// How much time is left.
    pub(super) fn left(&self) -> Duration {
        let until = Duration::from_micros(self.until.load(Ordering::Relaxed));
        until.saturating_sub(self.origin.elapsed())
    }

    /// How long to rest after having worked so long: as long again, so that others have the core for half of the time.
    pub(super) fn rest_after(&self, worked: Duration) -> Duration {
        worked.min(self.left())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKED: Duration = Duration::from_millis(5);

    #[test]
    fn there_is_time_only_until_then() {
        let leisure = Leisure::default();
        assert_eq!(leisure.rest_after(WORKED), Duration::ZERO);
        leisure.set(Instant::now() + Duration::from_secs(60));
        assert_eq!(leisure.rest_after(WORKED), WORKED);
        assert!(leisure.left() > Duration::from_secs(50));
        leisure.set(Instant::now());
        assert_eq!(leisure.rest_after(WORKED), Duration::ZERO);
    }
}
