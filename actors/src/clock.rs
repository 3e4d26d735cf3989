//! Time: the wall clock at start, carried on by the monotonic clock.

use std::future::Future;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use florin_engine::Timestamp;

/// Where the time comes from. A simulation brings its own.
pub trait Clock: Send + Sync + 'static {
    /// The time now. Never falls.
    fn now(&self) -> Timestamp;

    /// Lets so much time pass, or less.
    fn wait(&self, duration: Duration) {
        std::thread::park_timeout(duration);
    }
}

/// How a task measures time and lets it pass. A simulation brings its own.
pub(crate) trait Pacing {
    /// This moment.
    fn now(&self) -> Instant;
    /// Resolves then.
    fn sleep_until(&self, then: Instant) -> impl Future<Output = ()>;

    /// Resolves after so long.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> {
        self.sleep_until(self.now() + duration)
    }
}

/// The timers of the runtime that the task runs on.
#[derive(Debug)]
pub(crate) struct RuntimeTimers;

impl Pacing for RuntimeTimers {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, then: Instant) -> impl Future<Output = ()> {
        tokio::time::sleep_until(then.into())
    }
}

/// The machine's clock: read once, then advanced by the monotonic clock, so that no correction of the wall clock ever moves it back.
#[derive(Debug)]
pub struct SystemClock {
    wall_at_start: Timestamp,
    started: Instant,
}

impl SystemClock {
    /// A clock that starts with the wall clock's time.
    #[must_use]
    pub fn start() -> SystemClock {
        #[expect(clippy::disallowed_methods, reason = "this is the clock seam")]
        let wall = SystemTime::now();
        let since_epoch = wall.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        SystemClock { wall_at_start: Timestamp(nanoseconds(since_epoch)), started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.wall_at_start.plus(nanoseconds(self.started.elapsed()))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
