//! What callers, the shard and the journal thread meet through, taken from one place.
//!
//! With the feature `shuttle`, which only tests turn on, the same names are stand-ins: at each use of one a scheduler that a test owns decides
//! which thread goes on. What is only written while nobody else looks, or asked in one step between two uses of these (a oneshot, a watch, a lock
//! that no such use happens under), needs no stand-in.

#[cfg(feature = "shuttle")]
mod scheduled;

#[cfg(feature = "shuttle")]
pub(crate) use scheduled::{
    Addr, Mutex, MutexGuard, Receiver, Sender, atomic, bounded, park_timeout, runtime, sleep,
    start_shard, thread, thread_number, unpark,
};

#[cfg(not(feature = "shuttle"))]
mod threads;

#[cfg(not(feature = "shuttle"))]
pub(crate) use threads::{
    Addr, Mutex, MutexGuard, Receiver, Sender, atomic, bounded, park_timeout, runtime, sleep,
    start_shard, thread, thread_number, unpark,
};
