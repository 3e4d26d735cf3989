//! Admission: the bound in front of the shard.
//!
//! The actor's mailbox takes whatever is sent to it, so what is in flight is counted here, in events and in bytes, from before
//! a message is sent until its answer is released. A caller that would pass a bound is refused at once, with nothing done.

use std::sync::Arc;

use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What may be in flight at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Events between admission and answer; reads count as one event for each thing that is read, and what asks for nothing as one.
    pub events_in_flight: u64,
    /// Bytes between admission and answer, counted as the most that their records can take in the journal.
    pub bytes_in_flight: u64,
    /// Bytes of journal that the store does not have yet.
    pub backlog_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { events_in_flight: 64 * 1024, bytes_in_flight: 256 << 20, backlog_bytes: 64 << 30 }
    }
}

/// Why a caller is not admitted. Nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too much is in flight.
    Overloaded,
    /// The journal has no room that is surely writable, or too much of it is not yet in the store.
    StorageFull,
    /// The ledger takes no more commands.
    Stopping,
}

/// Counts what is in flight.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    events: AtomicU64,
    bytes: AtomicU64,
    closed: AtomicBool,
}

/// A place in flight, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    events: u64,
    bytes: u64,
}

impl Admission {
    /// An open door with these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Admission> {
        Arc::new(Admission {
            limits,
            events: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        })
    }

    /// Takes a place for `events` and `bytes`; `room` tells how many bytes can surely be written. Into an empty queue any one command
    /// fits, however large, as long as there is room for it.
    ///
    /// The room is asked for only once the bytes are counted: what others wrote and gave back before no longer counts as in flight, so the
    /// room that was there before them would be taken twice.
    ///
    /// # Errors
    /// Says which bound is met.
    pub fn admit(
        self: &Arc<Self>,
        events: u64,
        bytes: u64,
        room: impl FnOnce() -> u64,
    ) -> Result<Permit, Refusal> {
        // It takes a place in the queues all the same.
        let events = events.max(1);
        let events_before = self.events.fetch_add(events, Ordering::SeqCst);
        let bytes_before = self.bytes.fetch_add(bytes, Ordering::SeqCst);
        // From here on the permit gives back what was taken, also when it is refused below.
        let permit = Permit { admission: self.clone(), events, bytes };
        // Read after counting: whoever closes the door and then sees nothing in flight knows that nobody comes in any more.
        if self.closed.load(Ordering::SeqCst) {
            return Err(Refusal::Stopping);
        }
        if bytes_before + bytes > room() {
            return Err(Refusal::StorageFull);
        }
        let queue_is_empty = events_before == 0;
        let within = events_before + events <= self.limits.events_in_flight
            && bytes_before + bytes <= self.limits.bytes_in_flight;
        if within || queue_is_empty { Ok(permit) } else { Err(Refusal::Overloaded) }
    }

    /// Takes a place for what the ledger does by itself. It counts like the others', but only room bounds it: callers that fill every
    /// place must not keep it waiting.
    ///
    /// # Errors
    /// There is no room, or the door is closed.
    pub(crate) fn admit_own(
        self: &Arc<Self>,
        bytes: u64,
        room: impl FnOnce() -> u64,
    ) -> Result<Permit, Refusal> {
        let bytes_before = self.bytes.fetch_add(bytes, Ordering::SeqCst);
        let permit = Permit { admission: self.clone(), events: 0, bytes };
        if self.closed.load(Ordering::SeqCst) {
            return Err(Refusal::Stopping);
        }
        if bytes_before + bytes > room() { Err(Refusal::StorageFull) } else { Ok(permit) }
    }

    /// Admits nobody any more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Whether the door is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Events in flight.
    #[must_use]
    pub fn events_in_flight(&self) -> u64 {
        self.events.load(Ordering::SeqCst)
    }

    /// Bytes in flight.
    #[must_use]
    pub fn bytes_in_flight(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.events.fetch_sub(self.events, Ordering::SeqCst);
        self.admission.bytes.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: fn() -> u64 = || 1 << 40;

    fn admission() -> Arc<Admission> {
        Admission::new(Limits { events_in_flight: 10, bytes_in_flight: 100, backlog_bytes: 0 })
    }

    #[test]
    fn what_is_in_flight_is_bounded_in_events_and_bytes() {
        let admission = admission();
        let first = admission.admit(6, 10, ROOM).unwrap();
        assert_eq!(admission.admit(5, 10, ROOM).unwrap_err(), Refusal::Overloaded);
        let second = admission.admit(4, 10, ROOM).unwrap();
        drop((first, second));
        let _first = admission.admit(1, 60, ROOM).unwrap();
        assert_eq!(admission.admit(1, 41, ROOM).unwrap_err(), Refusal::Overloaded);
        let _second = admission.admit(1, 40, ROOM).unwrap();
        assert_eq!((admission.events_in_flight(), admission.bytes_in_flight()), (2, 100));
    }

    #[test]
    fn one_command_always_fits_an_empty_queue_that_has_room() {
        let admission = admission();
        let whole = admission.admit(8190, 4000, ROOM).unwrap();
        assert_eq!(admission.admit(1, 1, ROOM).unwrap_err(), Refusal::Overloaded);
        drop(whole);
        assert_eq!(admission.admit(8190, 4000, || 3999).unwrap_err(), Refusal::StorageFull);
        assert_eq!((admission.events_in_flight(), admission.bytes_in_flight()), (0, 0));
    }

    #[test]
    fn callers_do_not_keep_the_ledger_itself_out() {
        let admission = admission();
        let _callers = admission.admit(10, 100, ROOM).unwrap();
        let _own = admission.admit_own(1000, ROOM).unwrap();
        assert_eq!((admission.events_in_flight(), admission.bytes_in_flight()), (10, 1100));
        assert_eq!(admission.admit_own(1000, || 2099).unwrap_err(), Refusal::StorageFull);
        admission.close();
        assert_eq!(admission.admit_own(1, ROOM).unwrap_err(), Refusal::Stopping);
        assert_eq!(admission.bytes_in_flight(), 1100);
    }

    #[test]
    fn room_is_looked_at_by_who_counts_already() {
        let admission = admission();
        let before = admission.admit(1, 60, ROOM).unwrap();
        // Another one is written and answered while this one comes in: its bytes are gone from the room too.
        let late = admission.admit(1, 50, || {
            drop(before);
            assert_eq!(admission.bytes_in_flight(), 50);
            100 - 60
        });
        assert_eq!(late.unwrap_err(), Refusal::StorageFull);
        let _own = admission.admit_own(40, || {
            assert_eq!(admission.bytes_in_flight(), 40);
            100 - 60
        });
    }

    #[test]
    fn what_asks_for_nothing_takes_a_place_too() {
        let admission = admission();
        let _ten: Vec<_> = (0..10).map(|_| admission.admit(0, 0, ROOM).unwrap()).collect();
        assert_eq!(admission.events_in_flight(), 10);
        assert_eq!(admission.admit(0, 0, ROOM).unwrap_err(), Refusal::Overloaded);
    }

    #[test]
    fn a_closed_door_admits_nobody() {
        let admission = admission();
        admission.close();
        assert_eq!(admission.admit(1, 1, ROOM).unwrap_err(), Refusal::Stopping);
        assert_eq!(admission.events_in_flight(), 0);
    }
}
