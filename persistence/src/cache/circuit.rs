//! Keeps readers from waiting for a cache that does not answer.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// So many failures one after the other open the circuit.
const FAILURES_TO_OPEN: u32 = 5;
/// The pause until one is let through to try, at first and at most; it doubles from one to the next.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Open after some failures; then one in a growing pause may try, and its success closes it.
#[derive(Debug)]
pub(super) struct Circuit {
    since: Instant,
    /// Failures since the last success; beyond those that open it, the tries that were let through.
    failures: AtomicU32,
    /// Milliseconds after `since` before which nobody tries; 0 while it is closed.
    retry_at_ms: AtomicU64,
}

impl Circuit {
    pub(super) fn closed(now: Instant) -> Circuit {
        Circuit { since: now, failures: AtomicU32::new(0), retry_at_ms: AtomicU64::new(0) }
    }

    pub(super) fn is_open(&self) -> bool {
        self.retry_at_ms.load(Ordering::Relaxed) != 0
    }

    /// Whether to try now.
    pub(super) fn lets_through(&self, now: Instant) -> bool {
        let retry_at = self.retry_at_ms.load(Ordering::Relaxed);
        if retry_at == 0 {
            return true;
        }
        if self.millis(now) < retry_at {
            return false;
        }
        // Whoever moves the time is the one who tries.
        let tries = self.failures.load(Ordering::Relaxed) + 1;
        let next = self.millis(now + pause(tries));
        let order = Ordering::Relaxed;
        let mine = self.retry_at_ms.compare_exchange(retry_at, next, order, order).is_ok();
        if mine {
            self.failures.store(tries, order);
        }
        mine
    }

    pub(super) fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.retry_at_ms.store(0, Ordering::Relaxed);
        }
    }

    /// Failures of what was under way when it opened say nothing new.
    pub(super) fn failed(&self, now: Instant) {
        if !self.is_open() && self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_TO_OPEN
        {
            let retry_at = self.millis(now + PAUSE_MIN);
            self.retry_at_ms.store(retry_at, Ordering::Relaxed);
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        at.duration_since(self.since).as_millis() as u64 + 1
    }
}

fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(FAILURES_TO_OPEN).min(10);
    (PAUSE_MIN * (1 << doublings)).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_growing_pause_tries_while_it_is_open() {
        let start = Instant::now();
        let circuit = Circuit::closed(start);
        for _ in 1..FAILURES_TO_OPEN {
            circuit.failed(start);
            assert!(circuit.lets_through(start));
        }
        for _ in 0..100 {
            circuit.failed(start);
        }
        assert!(circuit.is_open() && !circuit.lets_through(start));
        let mut now = start;
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let before = now;
            while !circuit.lets_through(now) {
                now += Duration::from_millis(10);
            }
            pauses.push((now - before).as_millis());
            assert!(!circuit.lets_through(now), "only one tries");
            circuit.failed(now);
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        circuit.succeeded();
        assert!(!circuit.is_open() && circuit.lets_through(now) && circuit.lets_through(now));
    }
}
