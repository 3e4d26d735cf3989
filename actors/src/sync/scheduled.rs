//! Stand-ins at whose uses a scheduler decides which thread goes on. They work only within [`crate::interleavings`].

mod channel;
mod mailbox;
pub(crate) mod runtime;

use std::time::Duration;

pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic};
pub(crate) use shuttle::thread;

pub(crate) use channel::{Receiver, Sender, bounded};
pub(crate) use mailbox::{Addr, start_shard};

/// Few numbers for all threads, so that threads share what they could have of their own.
pub(crate) fn thread_number() -> usize {
    usize::from(thread::current().id()) % 2
}

/// Lets others go on for a while: how long is the scheduler's choice.
pub(crate) async fn sleep(_: Duration) {
    shuttle::future::yield_now().await;
}
