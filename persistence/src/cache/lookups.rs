//! Lookups of one turn: what the callers of a runtime look up in one of its turns goes out as one command.
//!
//! A command costs this process and Redis several times what two more keys of one cost. So a lookup first waits with those of
//! the same runtime, and the first one spawns the task that takes them all. A runtime gets to that task when it has polled
//! what is ready, so under load many gather, and an idle one sends its one at once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use florin_engine::AccountId;
use tokio::runtime::Id;
use tokio::sync::oneshot;

use super::reader::CachedAccount;

/// The name of the epoch that stands, and the account if it is there.
pub(super) type Found = (u64, Option<CachedAccount>);

/// One account, and who waits for it. Without an answer the caller finds nothing.
pub(super) struct Lookup {
    pub(super) id: AccountId,
    pub(super) found: oneshot::Sender<Found>,
}

/// Lookups that wait for a turn to end, by the runtime whose turn it is: as many as it has callers. What a runtime leaves behind
/// that ends before, nobody waits for.
#[derive(Default)]
pub(super) struct Lookups(Mutex<HashMap<Id, Vec<Lookup>>>);

impl Lookups {
    /// Puts one among those of this turn; whether it is the first, whose caller spawns what takes them.
    pub(super) fn push(&self, runtime: Id, lookup: Lookup) -> bool {
        match self.lock().entry(runtime) {
            Entry::Occupied(mut turn) => {
                turn.get_mut().push(lookup);
                false
            }
            Entry::Vacant(turn) => {
                turn.insert(vec![lookup]);
                true
            }
        }
    }

    /// Takes those of this turn. The next one begins a new turn.
    pub(super) fn take(&self, runtime: Id) -> Vec<Lookup> {
        self.lock().remove(&runtime).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Id, Vec<Lookup>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
