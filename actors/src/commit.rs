//! The journal thread: group commit, and the release of answers.
//!
//! All that waits in the queue becomes one frame, one write and one fdatasync. Then, in the order of the queue, every answer up
//! to there leaves: successes, rejections and reads alike, so that nobody ever sees what a crash could undo.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use florin_engine::{JournalSeq, Record, Unreadable, Verdict};
use florin_persistence::journal::{AppendError, FrameBuilder, Journal};
use florin_persistence::record;
use tokio::sync::oneshot;

use crate::admission::Permit;
use crate::expiry::Slice;
use crate::housekeeping::Wake;
use crate::journal_queue::{JournalReceiver, Nothing};
use crate::metrics;
use crate::shard::Seen;
use crate::shared::Shared;

/// The queue is still for so long, or half of it, before a sealing frame is written.
const IDLE_BEFORE_SEAL: Duration = Duration::from_millis(20);
/// A frame takes no further records beyond so many bytes: more would only make the first of them wait.
const FRAME_BYTES_TARGET: u64 = 4 << 20;

/// How far frames are filled, and the largest record that always fits a frame that is not yet filled so far, in bytes.
pub(crate) fn frame_target_and_record_max(frame_bytes_max: u64) -> (u64, u64) {
    let target = FRAME_BYTES_TARGET.min(frame_bytes_max / 4);
    // The length before the record and the padding after the last one.
    (target, frame_bytes_max - target - 64)
}

/// An outcome, with the position that it is of or depends on.
#[derive(Debug)]
pub(crate) struct Released<T> {
    pub(crate) seq: JournalSeq,
    pub(crate) outcome: T,
}

/// What stands in the journal queue. An item that is dropped unreleased tells its caller that the outcome is unknown.
pub(crate) enum Item {
    /// A command was decided; `seq` and `state_hash` are those after it.
    Decided {
        seq: JournalSeq,
        state_hash: u64,
        verdict: Result<Verdict, Unreadable>,
        permit: Permit,
        reply: oneshot::Sender<Released<Result<Verdict, Unreadable>>>,
    },
    /// Something was read as of `seq`.
    Seen { seq: JournalSeq, seen: Seen, permit: Permit, reply: oneshot::Sender<Released<Seen>> },
    /// Pending transfers expired: nobody waits for it.
    Expired(Slice),
}

impl Item {
    /// The record that this item brings into the journal, with the state hash after it.
    fn record(&self) -> Option<(JournalSeq, u64, &Record)> {
        match self {
            Item::Decided { seq, state_hash, verdict: Ok(Verdict::Decided(decision)), .. } => {
                decision.record.as_ref().map(|record| (*seq, *state_hash, record))
            }
            Item::Expired(slice) => Some((slice.seq, slice.state_hash, &slice.record)),
            Item::Decided { .. } | Item::Seen { .. } => None,
        }
    }

    pub(crate) fn is_recorded(&self) -> bool {
        self.record().is_some()
    }

    /// Answers, with the place given back before: who has an answer can be let in again. A caller that went away does not undo the
    /// outcome: it can ask again by id.
    pub(crate) fn release(self) {
        match self {
            Item::Decided { seq, verdict, permit, reply, .. } => {
                drop(permit);
                let _ = reply.send(Released { seq, outcome: verdict });
            }
            Item::Seen { seq, seen, permit, reply } => {
                drop(permit);
                let _ = reply.send(Released { seq, outcome: seen });
            }
            // Gives its place back.
            Item::Expired(slice) => drop(slice),
        }
    }
}

/// The journal thread's own state.
pub(crate) struct Committer {
    pub(crate) journal: Journal,
    pub(crate) queue: JournalReceiver<Item>,
    shared: Arc<Shared>,
    wake: Wake,
    /// The segment of the last frame.
    segment: u64,
    frame: FrameBuilder,
    frame_bytes_target: u64,
    /// Items of the frame being gathered, in order.
    waiting: Vec<Item>,
}

impl Committer {
    pub(crate) fn new(
        journal: Journal,
        frame_bytes_target: u64,
        queue: JournalReceiver<Item>,
        shared: Arc<Shared>,
        wake: Wake,
    ) -> Committer {
        Committer {
            journal,
            queue,
            shared,
            wake,
            segment: 0,
            frame: FrameBuilder::new(),
            frame_bytes_target,
            waiting: Vec::new(),
        }
    }

    /// Commits until the queue ends, or the journal or this thread fails. Whoever then still waits gets an unknown outcome, and only once the
    /// failure is known to all, so that nobody who learned of it is answered by the shard.
    pub(crate) fn run(mut self) {
        match catch_unwind(AssertUnwindSafe(|| self.commit_all())) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.shared.fail(format!("the journal failed: {}", chain(&error))),
            Err(_) => self.shared.fail("the journal thread panicked".to_owned()),
        }
    }

    fn commit_all(&mut self) -> Result<(), AppendError> {
        while let Some(first) = self.next_item()? {
            self.commit_group(first)?;
        }
        self.seal()
    }

    /// One group commit: what waits becomes durable, then its answers leave.
    pub(crate) fn commit_group(&mut self, first: Item) -> Result<(), AppendError> {
        if let Some(state_hash) = self.gather(first) {
            self.commit(state_hash)?;
        }
        for item in self.waiting.drain(..) {
            item.release();
        }
        Ok(())
    }

    pub(crate) fn seal(&mut self) -> Result<(), AppendError> {
        match self.journal.seal() {
            // A full disk only leaves the last moment in doubt, as if there had been no time to seal.
            Ok(_) | Err(AppendError::Full { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Waits for an item; seals the journal while there is none, so that doubt about a torn tail covers only the last moment.
    fn next_item(&mut self) -> Result<Option<Item>, AppendError> {
        match self.queue.next_within(IDLE_BEFORE_SEAL) {
            Ok(item) => return Ok(Some(item)),
            Err(Nothing::Left) => return Ok(None),
            Err(Nothing::Yet) => self.seal()?,
        }
        Ok(self.queue.next())
    }

    /// Encodes all that waits into the frame. Returns the state hash after its last record, if it has one.
    fn gather(&mut self, first: Item) -> Option<u64> {
        self.frame.clear();
        let mut state_hash = None;
        let mut next = Some(first);
        while let Some(item) = next {
            if let Some((_, hash_after, record)) = item.record() {
                self.frame.push_record(|buffer| record::encode(record, buffer));
                state_hash = Some(hash_after);
            }
            self.waiting.push(item);
            if self.frame.len() >= self.frame_bytes_target {
                break;
            }
            next = self.queue.try_next();
        }
        state_hash
    }

    fn commit(&mut self, state_hash: u64) -> Result<(), AppendError> {
        let started = std::time::Instant::now();
        let bytes = self.frame.len();
        let records = self.frame.count();
        let position = self.journal.append(&mut self.frame, state_hash)?;
        self.shared.written_bytes.fetch_add(bytes, Ordering::Relaxed);
        // Before the frame can be seen as durable, so before anyone takes it off again.
        self.shared.backlog_bytes.fetch_add(bytes, Ordering::Relaxed);
        metrics::frame_committed(records, bytes, started.elapsed());
        for item in &self.waiting {
            if let Some((_, _, record)) = item.record() {
                self.shared.learn_ledgers(record);
            }
        }
        self.shared.set_durable(JournalSeq(position.last_seq));
        if position.segment_first_seq != self.segment {
            self.segment = position.segment_first_seq;
            self.wake.wake();
        }
        Ok(())
    }
}

/// An error with all its sources, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}
