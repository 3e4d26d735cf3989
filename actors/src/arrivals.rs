//! How callers' messages come to the shard: all that a thread's callers send in one turn of its runtime, as one message.
//!
//! Waking a thread costs more than deciding a transfer. So a message first waits in a lane that the callers of one thread
//! share, and the first one in the lane spawns a task that sends what has gathered there. A runtime gets to that task when it
//! has polled what is ready, so under load a lane gathers many messages, and an idle thread sends its one at once.

use std::sync::{Arc, PoisonError};

use actix::prelude::SendError;
use crossbeam_utils::CachePadded;

use crate::shard::{Arrival, Arrived, Shard};
use crate::sync::runtime::{Handle, Id};
use crate::sync::{Addr, Mutex, MutexGuard, thread_number};

/// How many threads have a lane of their own; more threads share.
const LANES: usize = 32;

/// The way to the shard. Admission bounds how much is on it.
pub(crate) struct Arrivals {
    shard: Addr<Shard>,
    lanes: [CachePadded<Lane>; LANES],
}

/// What waits to be sent, and the runtime with the task that will send it.
#[derive(Default)]
struct Lane(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    arrivals: Vec<Arrival>,
    runtime: Option<Id>,
}

/// Sends what is in a lane when dropped: when the task ends that holds it, or the runtime that should have run the task.
struct Departure {
    arrivals: Arc<Arrivals>,
    lane: usize,
}

impl Arrivals {
    pub(crate) fn new(shard: Addr<Shard>) -> Arc<Arrivals> {
        Arc::new(Arrivals { shard, lanes: Default::default() })
    }

    /// Sends to the shard in this turn of the runtime.
    pub(crate) fn send(self: &Arc<Self>, arrival: Arrival) {
        let lane = thread_number() % LANES;
        let here = Handle::try_current().ok();
        let id = here.as_ref().map(Handle::id);
        let task_on_its_way = {
            let mut waiting = self.lanes[lane].lock();
            waiting.arrivals.push(arrival);
            let with = waiting.runtime;
            if with.is_none() {
                waiting.runtime = id;
            }
            with
        };
        if id.is_some() && id == task_on_its_way {
            return;
        }
        let departure = Departure { arrivals: self.clone(), lane };
        match here {
            // The task does nothing but end.
            Some(runtime) if task_on_its_way.is_none() => {
                drop(runtime.spawn(async move { drop(departure) }));
            }
            // Nobody knows when the other runtime's turn is.
            _ => drop(departure),
        }
    }

    /// The shard, for what no caller waits for.
    pub(crate) fn shard(&self) -> &Addr<Shard> {
        &self.shard
    }
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        let waiting = std::mem::take(&mut *self.arrivals.lanes[self.lane].lock()).arrivals;
        if waiting.is_empty() {
            return;
        }
        // Dropping the message tells its callers that the outcome is unknown, which is all there is to say when the shard is
        // gone; the mailbox of a live shard has more places than admission lets messages in.
        match self.arrivals.shard.try_send(Arrived(waiting)) {
            Ok(()) | Err(SendError::Closed(_)) => {}
            Err(SendError::Full(_)) => {
                tracing::error!("the shard's mailbox was full, which admission should exclude");
            }
        }
    }
}
