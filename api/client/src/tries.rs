//! How often, and how long, something is tried.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The pause after the first try; each is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(20);
/// No pause is longer, unless the server asks for one.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A server that asks for more is asked again all the same.
const ASKED_MAX: Duration = Duration::from_secs(10);

/// The tries of one request, until a deadline.
#[derive(Debug)]
pub(crate) struct Tries {
    deadline: Instant,
    attempt_timeout: Duration,
    pause: Duration,
}

impl Tries {
    pub(crate) fn until(deadline: Instant, attempt_timeout: Duration) -> Tries {
        Tries { deadline, attempt_timeout, pause: PAUSE }
    }

    /// When all tries are over.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// How long the next try may take.
    pub(crate) fn patience(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()).min(self.attempt_timeout)
    }

    /// Waits before the next try, at least as long as the server asked for; false where that would be past the deadline.
    ///
    /// The pause is half by chance, so that many clients do not come back together.
    pub(crate) async fn pause(&mut self, asked: Option<Duration>) -> bool {
        let pause = self.pause.mul_f64(0.5 + 0.5 * fastrand::f64());
        let pause = pause.max(asked.unwrap_or_default().min(ASKED_MAX));
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        if Instant::now() + pause >= self.deadline {
            return false;
        }
        sleep(pause).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_end() {
        let begun = Instant::now();
        let mut tries = Tries::until(begun + Duration::from_secs(30), Duration::from_secs(10));
        assert_eq!(tries.patience(), Duration::from_secs(10));
        let mut count = 0;
        while tries.pause(None).await {
            count += 1;
        }
        assert!((12..40).contains(&count), "{count} tries in 30 s");
        assert!(begun.elapsed() <= Duration::from_secs(30));
        assert!(tries.patience() <= PAUSE_MAX);
        let mut tries = Tries::until(Instant::now() + Duration::from_secs(3), PAUSE);
        let begun = Instant::now();
        assert!(tries.pause(Some(Duration::from_secs(1))).await);
        assert!(begun.elapsed() >= Duration::from_secs(1));
        assert!(!tries.pause(Some(Duration::from_secs(5))).await, "that is past the deadline");
    }
}
