//! Pending transfers whose time is over: the shard lets them expire itself, by commands of its own that are journaled like any other.
//!
//! They go in slices, between what callers sent, so that a million that are due at once keep nobody waiting. No slice is decided before
//! there is room in the journal for it, and one at a time waits for the disk. From its moment on a pending transfer answers as
//! expired in any case; the slice only gives back what it reserved.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::Duration;

use actix::{ActorFuture, AsyncContext, Context};
use florin_engine::{Command, ExpirePending, JournalSeq, Record, Timestamp, Verdict};
use florin_persistence::journal::JournalRoom;
use tokio::time::{Instant, Sleep, sleep};

use crate::admission::{Admission, Permit, Refusal};
use crate::commit::Item;
use crate::metrics;
use crate::shard::Shard;
use crate::size;

/// A slice has no more transfers than this: about a millisecond of the shard's time.
const SLICE_MAX: u32 = 1024;
/// So many slices wait for the disk at once. With two, others wait for twice as much: p99 20 ms instead of 9 while a million expire.
const SLICES_IN_FLIGHT: usize = 1;
/// How soon a slice is tried again that had no room, or had to wait for those before it.
const RETRY: Duration = Duration::from_millis(1);
/// How long a start waits for what is due before it answers anybody.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// What the shard needs to let transfers expire.
pub(crate) struct Expiry {
    admission: Arc<Admission>,
    room: Arc<JournalRoom>,
    slice: ExpirePending,
    slice_bytes: u64,
    /// A clone goes with each slice that waits for the disk.
    in_flight: Arc<()>,
    /// What the timer is set for.
    looks_at: Option<Timestamp>,
}

/// A slice that was decided; `seq` and `state_hash` are those after it.
pub(crate) struct Slice {
    pub(crate) seq: JournalSeq,
    pub(crate) state_hash: u64,
    pub(crate) record: Record,
    _permit: Permit,
    _in_flight: Arc<()>,
}

/// What came of a step before the first answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtStart {
    /// A slice went; there may be more.
    Worked,
    /// The journal thread must come first.
    Wait,
    /// Nothing is due, or nothing can be done about it.
    Done,
}

impl Expiry {
    /// `record_bytes_max` is the largest record that always finds a place in a frame.
    pub(crate) fn new(
        admission: Arc<Admission>,
        room: Arc<JournalRoom>,
        record_bytes_max: u64,
    ) -> Expiry {
        let fitting = record_bytes_max / size::expiry_bytes_max(1);
        let fitting = u32::try_from(fitting).unwrap_or(u32::MAX);
        let limit = fitting.clamp(1, SLICE_MAX);
        Expiry {
            admission,
            room,
            slice: ExpirePending { limit },
            slice_bytes: size::expiry_bytes_max(limit),
            in_flight: Arc::new(()),
            looks_at: None,
        }
    }

    /// A place for a slice, if there is one; `Overloaded` while another slice is on its way.
    fn admit(&self) -> Result<Permit, Refusal> {
        if Arc::strong_count(&self.in_flight) > SLICES_IN_FLIGHT {
            return Err(Refusal::Overloaded);
        }
        self.admission.admit_own(self.slice_bytes, || self.room.bytes())
    }
}

/// The shard's own timer: one for all its life, which is polled after each message, as all futures of an actor are. Timers that were cancelled
/// and made anew piled up: one that was due just when it was cancelled fired all the same, and made another beside the one that stood.
struct Timer(Pin<Box<Sleep>>);

impl ActorFuture<Shard> for Timer {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        shard: &mut Shard,
        _: &mut Context<Shard>,
        task: &mut task::Context<'_>,
    ) -> Poll<()> {
        loop {
            let Some(next) = shard.state.next_expiry() else { return Poll::Pending };
            if shard.expiry.looks_at != Some(next) {
                shard.expiry.looks_at = Some(next);
                let wait = Duration::from_nanos(next.0.saturating_sub(shard.clock.now().0));
                // What is due already goes behind what callers have sent meanwhile.
                self.0.as_mut().reset(Instant::now() + wait.max(RETRY));
            }
            ready!(self.0.as_mut().poll(task));
            shard.expiry.looks_at = None;
            shard.expire_slice(shard.clock.now());
            shard.publish_counts();
        }
    }
}

impl Shard {
    /// Lets one slice expire, if any is due by `now` and there is room for it.
    pub(crate) fn expire_slice(&mut self, now: Timestamp) {
        if self.state.next_expiry().is_some_and(|next| next <= now) {
            self.guarded(|shard| {
                if let Ok(permit) = shard.expiry.admit() {
                    shard.expiry.looks_at = None;
                    shard.expire(permit);
                }
            });
        }
    }

    /// At the start: everything that is due goes before anything is answered. Without room for it, reads are not kept waiting.
    /// From then on the timer sees to it.
    pub(crate) fn expire_before_the_first_answer(&mut self, context: &mut Context<Self>) {
        let began = std::time::Instant::now();
        while began.elapsed() < START_PATIENCE {
            match self.expire_at_start() {
                AtStart::Worked => {}
                AtStart::Wait => std::thread::park_timeout(RETRY),
                AtStart::Done => break,
            }
        }
        context.spawn(Timer(Box::pin(sleep(Duration::ZERO))));
    }

    /// One step of it.
    pub(crate) fn expire_at_start(&mut self) -> AtStart {
        let is_due = self.state.next_expiry().is_some_and(|next| next <= self.clock.now());
        if !is_due || self.queue.is_none() {
            return AtStart::Done;
        }
        match self.expiry.admit() {
            Ok(permit) => {
                self.guarded(|shard| shard.expire(permit));
                AtStart::Worked
            }
            Err(Refusal::StorageFull) if self.expiry.room.is_blocked() => AtStart::Done,
            Err(Refusal::Stopping) => AtStart::Done,
            // Another slice is on its way, or room is just being made.
            Err(_) => AtStart::Wait,
        }
    }

    fn expire(&mut self, permit: Permit) {
        let now = self.clock.now();
        let command = Command::ExpirePending(self.expiry.slice);
        let verdict = self.state.decide(command, None, now, self.indexed.as_mut());
        let Ok(Verdict::Decided(decision)) = verdict else {
            unreachable!("an expiry has no amounts to read and no key")
        };
        let Some(record) = decision.record else { return };
        metrics::transfers_expired(record.events.len() as u64);
        let slice = Slice {
            seq: self.state.seq(),
            state_hash: self.state.state_hash(),
            record,
            _permit: permit,
            _in_flight: Arc::clone(&self.expiry.in_flight),
        };
        self.enqueue(Item::Expired(slice));
    }
}
