//! The way in: what every command and every look goes through before the shard, and what closes behind the last of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use florin_engine::{Command, CommandKey, Unreadable, Verdict};
use florin_persistence::journal::JournalRoom;
use tokio::sync::oneshot;

use crate::admission::{Admission, Permit, Refusal};
use crate::arrivals::Arrivals;
use crate::commit::Released;
use crate::front::{ReadError, SubmitError};
use crate::shard::{Arrival, Finish, Look, LookAt, Seen, Submit};
use crate::shared::Shared;
use crate::size::{WrongExternalId, record_bytes_max};
use crate::sync;

/// Ids and keys in memory beyond which no command is taken until the index has caught up: about a gigabyte.
const IDS_IN_MEMORY_MAX: u64 = 16 << 20;
/// What was accepted is answered within so long when the ledger stops.
const DRAIN_PATIENCE: Duration = Duration::from_secs(30);

/// Who waits for an answer of this kind. It never comes when the ledger has failed.
pub(crate) type Answered<T> = oneshot::Receiver<Released<T>>;

/// What callers go through.
pub(crate) struct Intake {
    pub(crate) admission: Arc<Admission>,
    pub(crate) arrivals: Arc<Arrivals>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) room: Arc<JournalRoom>,
    /// Bytes of journal that the store may miss.
    pub(crate) backlog_bytes: u64,
    /// The largest record that always finds a place in a frame.
    pub(crate) record_bytes_max: u64,
}

impl Intake {
    /// Sends a command to the shard, if there is room for what it may become.
    ///
    /// # Errors
    /// Those of [`SubmitError`] after which nothing was decided.
    pub(crate) fn submit(
        &self,
        command: Command,
        key: Option<CommandKey>,
    ) -> Result<Answered<Result<Verdict, Unreadable>>, SubmitError> {
        let bytes = self.bytes_of(&command)?;
        let permit = self.admit(command.events() as u64, bytes)?;
        let (reply, answered) = oneshot::channel();
        self.arrivals.send(Arrival::Submit(Submit { command, key, permit, reply }));
        Ok(answered)
    }

    /// Asks what a command would come to.
    ///
    /// # Errors
    /// As for the command itself.
    pub(crate) fn rehearse(&self, command: Command) -> Result<Answered<Seen>, SubmitError> {
        let bytes = self.bytes_of(&command)?;
        // As much in flight as if it were decided, and nothing of the journal's room.
        let permit = self.admission.admit(command.events() as u64, bytes, || u64::MAX);
        Ok(self.send(LookAt::Rehearsal(Box::new(command)), permit.map_err(refused)?))
    }

    /// Asks what the ledger knows.
    ///
    /// # Errors
    /// Too much is in flight, or the ledger stops.
    pub(crate) fn look(&self, at: LookAt) -> Result<Answered<Seen>, ReadError> {
        // A read takes no room in the journal, only its places in the queue.
        let permit = self.admission.admit(at.count(), 0, || u64::MAX);
        let permit = permit.map_err(|refusal| match refusal {
            Refusal::Stopping => ReadError::Stopping,
            Refusal::Overloaded | Refusal::StorageFull => ReadError::Overloaded,
        })?;
        Ok(self.send(at, permit))
    }

    /// Bytes that can surely still be written, none while too much of the journal is not in the store.
    fn room_bytes(&self) -> u64 {
        if self.is_backlog_full() { 0 } else { self.room.bytes() }
    }

    /// Whether room is short because the disk or the backlog is full, rather than because spares are just being made.
    pub(crate) fn is_storage_full(&self) -> bool {
        self.is_backlog_full()
            || (self.room.is_blocked() && self.room.bytes() < self.record_bytes_max)
    }

    /// Admits nobody any more, and waits until what was accepted is answered.
    pub(crate) async fn drain(&self) {
        self.admission.close();
        let deadline = Instant::now() + DRAIN_PATIENCE;
        while self.admission.events_in_flight() > 0
            && self.shared.failure().is_none()
            && Instant::now() < deadline
        {
            sync::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Admits nobody any more, and lets the shard end, and with it the journal thread.
    pub(crate) fn finish(&self) {
        self.admission.close();
        // A shard that is gone has ended already.
        let _ = self.arrivals.shard().try_send(Finish);
    }

    /// What a command may take in the journal, if it can be sent at all.
    fn bytes_of(&self, command: &Command) -> Result<u64, SubmitError> {
        let bytes =
            record_bytes_max(command).map_err(|WrongExternalId| SubmitError::WrongExternalId)?;
        if bytes > self.record_bytes_max {
            return Err(SubmitError::TooLarge);
        }
        Ok(bytes)
    }

    fn admit(&self, events: u64, bytes: u64) -> Result<Permit, SubmitError> {
        if self.shared.ids_in_memory.load(Ordering::Relaxed) > IDS_IN_MEMORY_MAX {
            return Err(SubmitError::Overloaded);
        }
        self.admission.admit(events, bytes, || self.room_bytes()).map_err(refused)
    }

    fn send(&self, at: LookAt, permit: Permit) -> Answered<Seen> {
        let (reply, answered) = oneshot::channel();
        self.arrivals.send(Arrival::Look(Look { at, permit, reply }));
        answered
    }

    fn is_backlog_full(&self) -> bool {
        self.shared.backlog_bytes.load(Ordering::Relaxed) > self.backlog_bytes
    }
}

fn refused(refusal: Refusal) -> SubmitError {
    match refusal {
        Refusal::Overloaded => SubmitError::Overloaded,
        Refusal::StorageFull => SubmitError::StorageFull,
        Refusal::Stopping => SubmitError::Stopping,
    }
}
