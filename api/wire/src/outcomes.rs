//! The answer to a batch: how many events were created, and what became of the others.
//!
//! | at | bytes | |
//! | --- | --- | --- |
//! | 0 | 4 | [`MAGIC`] |
//! | 4 | 2 | [`VERSION`] |
//! | 6 | 2 | 3: an answer |
//! | 8 | 4 | how many exceptions follow |
//! | 12 | 4 | bit 0: nothing was decided, this is what would be; the others zero |
//! | 16 | 4 | how many events the batch had |
//! | 20 | 4 | created |
//! | 24 | 4 | replayed: they existed already with the same content |
//! | 28 | 4 | rejected |
//! | 32 | 8 | when the first of those created was decided, in nanoseconds; 0 without any |
//! | 40 | 8 | when the last of those created was decided, in nanoseconds; 0 without any |
//! | 48 | 8 | the position of the command, or that on which its outcome depended |
//! | 56 | 8 | zero |
//!
//! An exception, in the order of the events:
//!
//! | at | bytes | |
//! | --- | --- | --- |
//! | 0 | 4 | the index of the event |
//! | 4 | 2 | 0: it existed already; else the number of the refusal |
//! | 6 | 2 | zero |
//! | 8 | 8 | when what existed was created, in nanoseconds; 0 for a refusal |

use crate::batch::{MAGIC, VERSION};
use crate::fields::{get, put};

/// Bytes of the header of an answer.
pub const OUTCOMES_BYTES: usize = 64;
/// Bytes of an exception.
pub const EXCEPTION_BYTES: usize = 16;
const KIND: u16 = 3;
const DRY_RUN: u32 = 1;

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// How many events it had.
    pub events: u32,
    /// How many of them were created.
    pub created: u32,
    /// When the first of those created was decided, in nanoseconds since 1970; 0 without any. Without imported events, the one at index
    /// `i` was decided `i - k` nanoseconds later, where `k` is the index of the first.
    pub first_timestamp: u64,
    /// When the last of those created was decided; 0 without any.
    pub last_timestamp: u64,
    /// The position of the command, or that on which its outcome depended.
    pub seq: u64,
    /// Nothing was decided: this is what would be.
    pub dry_run: bool,
    /// The events that were not created, in their order.
    pub exceptions: Vec<Exception>,
}

/// An event that was not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Which one.
    pub index: u32,
    /// What became of it.
    pub status: Status,
}

/// What became of an event that was not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It existed already with the same content.
    Exists {
        /// When it was created, in nanoseconds since 1970.
        timestamp: u64,
    },
    /// It was refused, for the reason of this number: [`Rejection::number`](florin_engine::Rejection::number), never 0.
    Rejected(u16),
}

impl Status {
    const fn number(self) -> u16 {
        match self {
            Status::Exists { .. } => 0,
            Status::Rejected(number) => number,
        }
    }

    const fn timestamp(self) -> u64 {
        match self {
            Status::Exists { timestamp } => timestamp,
            Status::Rejected(_) => 0,
        }
    }
}

/// Why a body is no answer to the batch that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutcomesFault {
    /// It is no answer in this version.
    #[error("the body is no answer to a binary batch of version 1")]
    NotOutcomes,
    /// It is not as long as its header says.
    #[error("the answer is not as long as its header says")]
    Length,
    /// It answers a batch of another size.
    #[error("the answer is to {found} events, and {sent} were sent")]
    Events {
        /// How many it answers.
        found: u32,
        /// How many were sent.
        sent: u32,
    },
    /// Its counts, or the places of its exceptions, contradict each other.
    #[error("the answer contradicts itself")]
    Contradiction,
}

impl Outcomes {
    /// How many events existed already with the same content.
    #[must_use]
    pub fn replayed(&self) -> u32 {
        let exists = |it: &&Exception| matches!(it.status, Status::Exists { .. });
        self.exceptions.iter().filter(exists).count() as u32
    }

    /// How many events were refused.
    #[must_use]
    pub fn rejected(&self) -> u32 {
        self.exceptions.len() as u32 - self.replayed()
    }

    /// The body of the answer.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Outcomes { events, created, first_timestamp, last_timestamp, seq, dry_run, exceptions } =
            self;
        let replayed = self.replayed();
        let mut header = [0; OUTCOMES_BYTES];
        put(&mut header, 0, MAGIC);
        put(&mut header, 4, VERSION.to_le_bytes());
        put(&mut header, 6, KIND.to_le_bytes());
        put(&mut header, 8, (exceptions.len() as u32).to_le_bytes());
        put(&mut header, 12, (if *dry_run { DRY_RUN } else { 0 }).to_le_bytes());
        put(&mut header, 16, events.to_le_bytes());
        put(&mut header, 20, created.to_le_bytes());
        put(&mut header, 24, replayed.to_le_bytes());
        put(&mut header, 28, (exceptions.len() as u32 - replayed).to_le_bytes());
        put(&mut header, 32, first_timestamp.to_le_bytes());
        put(&mut header, 40, last_timestamp.to_le_bytes());
        put(&mut header, 48, seq.to_le_bytes());
        let mut body = Vec::with_capacity(OUTCOMES_BYTES + exceptions.len() * EXCEPTION_BYTES);
        body.extend_from_slice(&header);
        for Exception { index, status } in exceptions {
            let mut bytes = [0; EXCEPTION_BYTES];
            put(&mut bytes, 0, index.to_le_bytes());
            put(&mut bytes, 4, status.number().to_le_bytes());
            put(&mut bytes, 8, status.timestamp().to_le_bytes());
            body.extend_from_slice(&bytes);
        }
        body
    }

    /// The answer in a body, to a batch of so many events.
    ///
    /// Bits without a meaning are passed over: a later server may have given them one. Who goes by the answer can rely on its counts
    /// and on the order of its exceptions.
    ///
    /// # Errors
    /// The body is no such answer. No input makes it panic, or reserve more than the exceptions that the body has room for.
    pub fn decode(body: &[u8], sent: u32) -> Result<Outcomes, OutcomesFault> {
        let (header, rest) =
            body.split_first_chunk::<OUTCOMES_BYTES>().ok_or(OutcomesFault::NotOutcomes)?;
        let short = |at| u16::from_le_bytes(get(header, at));
        let word = |at| u32::from_le_bytes(get(header, at));
        let long = |at| u64::from_le_bytes(get(header, at));
        if get(header, 0) != MAGIC || short(4) != VERSION || short(6) != KIND {
            return Err(OutcomesFault::NotOutcomes);
        }
        let (exceptions, left) = rest.as_chunks::<EXCEPTION_BYTES>();
        if exceptions.len() != word(8) as usize || !left.is_empty() {
            return Err(OutcomesFault::Length);
        }
        if word(16) != sent {
            return Err(OutcomesFault::Events { found: word(16), sent });
        }
        let exception = |bytes: &[u8; EXCEPTION_BYTES]| Exception {
            index: u32::from_le_bytes(get(bytes, 0)),
            status: match u16::from_le_bytes(get(bytes, 4)) {
                0 => Status::Exists { timestamp: u64::from_le_bytes(get(bytes, 8)) },
                number => Status::Rejected(number),
            },
        };
        let outcomes = Outcomes {
            events: sent,
            created: word(20),
            first_timestamp: long(32),
            last_timestamp: long(40),
            seq: long(48),
            dry_run: word(12) & DRY_RUN != 0,
            exceptions: exceptions.iter().map(exception).collect(),
        };
        let counted = outcomes.created.checked_add(word(8)) == Some(sent)
            && (word(24), word(28)) == (outcomes.replayed(), outcomes.rejected());
        let ordered = outcomes.exceptions.is_sorted_by(|one, next| one.index < next.index)
            && outcomes.exceptions.last().is_none_or(|last| last.index < sent);
        if counted && ordered { Ok(outcomes) } else { Err(OutcomesFault::Contradiction) }
    }
}
