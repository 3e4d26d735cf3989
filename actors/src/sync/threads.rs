//! What a running ledger uses.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::Actor;

pub(crate) use std::sync::{Mutex, MutexGuard, atomic};
pub(crate) use std::thread::{self, park_timeout};

pub(crate) use actix::Addr;
pub(crate) use crossbeam_channel::{Receiver, Sender, bounded};
pub(crate) use tokio::runtime;
pub(crate) use tokio::time::sleep;

use crate::recovery::OpenError;
use crate::shard::Shard;

/// Wakes a thread that is parked, or keeps its next parking from beginning.
pub(crate) fn unpark(thread: &thread::Thread) {
    thread.unpark();
}

/// A number of this thread, counted from 0 in the order in which they asked.
pub(crate) fn thread_number() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
    }
    NUMBER.with(|number| {
        number.get().unwrap_or_else(|| {
            let next = THREADS.fetch_add(1, Ordering::Relaxed);
            number.set(Some(next));
            next
        })
    })
}

/// Starts the shard on an arbiter of its own: the one of a system that has nothing else to do.
///
/// # Errors
/// The thread does not start, or ends at once.
pub(crate) fn start_shard(
    shard: Shard,
    mailbox: usize,
) -> Result<(Addr<Shard>, thread::JoinHandle<()>), OpenError> {
    let (started, address) = bounded(1);
    let shared = shard.shared.clone();
    let run = move || {
        let system = actix::System::new();
        system.block_on(async {
            // The opener waits for the address, so there is room and someone to take it.
            let address = Shard::create(|context| {
                // Admission bounds what is in flight; the mailbox must never be the one that is full.
                context.set_mailbox_capacity(mailbox);
                shard
            });
            let _ = started.send(address);
        });
        if let Err(error) = system.run() {
            shared.fail(format!("the shard's arbiter failed: {error}"));
        }
    };
    let thread = thread::Builder::new().name("florin-shard".to_owned()).spawn(run)?;
    let address = address.recv().map_err(|_| OpenError::ThreadEnded("shard"))?;
    Ok((address, thread))
}
