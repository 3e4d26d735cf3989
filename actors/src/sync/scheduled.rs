//! Stand-ins at whose uses a scheduler decides which thread goes on. They work only within [`crate::interleavings`].

mod channel;
mod mailbox;
pub(crate) mod runtime;

use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};

pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic};
pub(crate) use shuttle::thread;

pub(crate) use channel::{Receiver, Sender, bounded};
pub(crate) use mailbox::{Addr, start_shard};

/// Few numbers for all threads, so that threads share what they could have of their own.
pub(crate) fn thread_number() -> usize {
    usize::from(thread::current().id()) % 2
}

/// How often others go on, at most, before a time-out has passed.
const TURNS_BEFORE_TIMEOUT: u32 = 3;

/// The time passes while others take none to a few turns; who is woken may sleep on for that time, and its next parking ends at once.
pub(crate) fn park_timeout(time: Duration) {
    for _ in 0..thread_rng().gen_range(0..=TURNS_BEFORE_TIMEOUT) {
        thread::sleep(time);
    }
}

/// Wakes a thread that is parked, or keeps its next parking from beginning.
pub(crate) fn unpark(thread: &thread::Thread) {
    // A test that fails lets go of everything without a scheduler.
    if !std::thread::panicking() {
        thread.unpark();
    }
}

/// Lets others go on for a while: how long is the scheduler's choice.
pub(crate) async fn sleep(_: Duration) {
    shuttle::future::yield_now().await;
}
