//! Entries in memory that outlive the processes of a simulation: a batch is there as a whole or not at all, as the store promises.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::entries::{Key, State, key};
use super::{Decided, Entry, IndexError};
use crate::disk::simulated::{Fate, Operation};

#[derive(Debug, Default)]
struct Content {
    entries: BTreeMap<Key, Decided>,
    state: Option<State>,
}

/// The entries of an index, on a machine whose fate is simulated.
#[derive(Debug)]
pub struct SimulatedEntries {
    fate: Arc<Mutex<Fate>>,
    content: Mutex<Content>,
}

impl SimulatedEntries {
    /// No entries, on a machine with this fate.
    #[must_use]
    pub fn new(fate: Arc<Mutex<Fate>>) -> SimulatedEntries {
        SimulatedEntries { fate, content: Mutex::default() }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fate(&self) -> MutexGuard<'_, Fate> {
        self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> Result<Option<State>, IndexError> {
        self.fate().meet(Operation::IndexRead).map_err(failed("read"))?;
        Ok(self.content().state)
    }

    pub(super) fn get(&self, key: &Key) -> Result<Option<Decided>, IndexError> {
        let found = self.content().entries.get(key).copied();
        // What the filter lets through in vain meets no fate, so that the fate does not follow from the filter's bits.
        if found.is_some() {
            self.fate().meet(Operation::IndexRead).map_err(failed("read"))?;
        }
        Ok(found)
    }

    pub(super) fn insert(&self, entries: &[Entry], state: State) -> Result<(), IndexError> {
        let met = self.fate().meet(Operation::IndexWrite);
        // Where it fails it may have happened.
        if met.is_ok() || self.fate().random.one_in(2) {
            let mut content = self.content();
            let entries = entries.iter().map(|(space, id, decided)| (key(*space, *id), *decided));
            content.entries.extend(entries);
            content.state = Some(state);
        }
        met.map_err(failed("write"))
    }

    pub(super) fn for_each_key(
        &self,
        mut each: impl FnMut(&Key) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        self.fate().meet(Operation::IndexRead).map_err(failed("read"))?;
        self.content().entries.keys().try_for_each(&mut each)
    }
}

fn failed(operation: &'static str) -> impl Fn(io::Error) -> IndexError {
    move |error| IndexError::Store { operation, source: Box::new(fjall::Error::Io(error)) }
}
