//! A batch: a header that says what follows, and that many events.
//!
//! | at | bytes | |
//! | --- | --- | --- |
//! | 0 | 4 | [`MAGIC`] |
//! | 4 | 2 | [`VERSION`] |
//! | 6 | 2 | [`Kind`] |
//! | 8 | 4 | how many events follow |
//! | 12 | 4 | zero |

use std::marker::PhantomData;

use crate::event::{EVENT_BYTES, Event, EventFault, Kind, Unfit};
use crate::fields::{get, put};

/// Bytes of the header of a batch.
pub const HEADER_BYTES: usize = 16;
/// The first bytes of a batch and of its answer.
pub const MAGIC: [u8; 4] = *b"FLRB";
/// The version that is written and read.
pub const VERSION: u16 = 1;

/// Why a body is no batch that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchFault {
    /// Too short for a header.
    #[error("has {bytes} bytes, and its header alone has 16")]
    Short {
        /// How long it is.
        bytes: usize,
    },
    /// It begins with something else.
    #[error("does not begin with the letters FLRB")]
    Magic,
    /// Of a version that is not known here.
    #[error("is {version}, and only version 1 is read here")]
    Version {
        /// The version.
        version: u16,
    },
    /// A batch of something else.
    #[error("is {kind}, and is {} here", .expected.number())]
    Kind {
        /// What its header says.
        kind: u16,
        /// What is taken here.
        expected: Kind,
    },
    /// Bytes without a meaning.
    #[error("must be zero")]
    Reserved,
    /// More events than are taken at once.
    #[error("has more than {events_max} events")]
    TooMany {
        /// How many are taken.
        events_max: usize,
    },
    /// Not as long as its header says.
    #[error("has {bytes} bytes, and with {count} events has {expected}")]
    Length {
        /// How long it is.
        bytes: usize,
        /// How many events its header says.
        count: u32,
        /// How long it is then.
        expected: usize,
    },
    /// An event can not be read.
    #[error("event {index}: {fault}")]
    Event {
        /// Which one.
        index: u32,
        /// What is wrong with it.
        fault: EventFault,
    },
}

/// The events of a body.
///
/// # Errors
/// The body is no batch of these events in this version, has more than `events_max` of them, or one of them has a value without a
/// meaning. No input makes it panic, or reserve more than the events that the body has room for.
pub fn decode<E: Event>(body: &[u8], events_max: usize) -> Result<Vec<E>, BatchFault> {
    let short = BatchFault::Short { bytes: body.len() };
    let (header, rest) = body.split_first_chunk::<HEADER_BYTES>().ok_or(short)?;
    if get(header, 0) != MAGIC {
        return Err(BatchFault::Magic);
    }
    let version = u16::from_le_bytes(get(header, 4));
    if version != VERSION {
        return Err(BatchFault::Version { version });
    }
    let kind = u16::from_le_bytes(get(header, 6));
    if kind != E::KIND.number() {
        return Err(BatchFault::Kind { kind, expected: E::KIND });
    }
    if get(header, 12) != [0; 4] {
        return Err(BatchFault::Reserved);
    }
    let count = u32::from_le_bytes(get(header, 8));
    if count as usize > events_max {
        return Err(BatchFault::TooMany { events_max });
    }
    let (events, left) = rest.as_chunks::<EVENT_BYTES>();
    if events.len() != count as usize || !left.is_empty() {
        let expected = HEADER_BYTES + count as usize * EVENT_BYTES;
        return Err(BatchFault::Length { bytes: body.len(), count, expected });
    }
    let mut decoded = Vec::with_capacity(events.len());
    for (index, bytes) in (0_u32..).zip(events) {
        let event = E::try_from_bytes(bytes);
        decoded.push(event.map_err(|fault| BatchFault::Event { index, fault })?);
    }
    Ok(decoded)
}

/// The body with these events.
///
/// # Errors
/// One of them has something that its bytes have no place for.
pub fn encode<'a, E: Event + 'a>(
    events: impl ExactSizeIterator<Item = &'a E>,
) -> Result<Vec<u8>, Unfit> {
    let mut writer = BatchWriter::with_capacity(events.len());
    for event in events {
        writer.push(event)?;
    }
    Ok(writer.finish())
}

/// Writes a batch event by event.
#[derive(Clone, Debug)]
pub struct BatchWriter<E> {
    body: Vec<u8>,
    count: u32,
    events: PhantomData<E>,
}

impl<E: Event> BatchWriter<E> {
    /// An empty batch, with room for so many events.
    #[must_use]
    pub fn with_capacity(events: usize) -> BatchWriter<E> {
        let mut body = Vec::with_capacity(HEADER_BYTES + events * EVENT_BYTES);
        body.extend_from_slice(&[0; HEADER_BYTES]);
        BatchWriter { body, count: 0, events: PhantomData }
    }

    /// Adds an event.
    ///
    /// # Errors
    /// It has something that its bytes have no place for; the batch is as it was.
    pub fn push(&mut self, event: &E) -> Result<(), Unfit> {
        self.push_bytes(&event.to_bytes()?);
        Ok(())
    }

    /// Adds an event whose bytes are there already.
    pub fn push_bytes(&mut self, event: &[u8; EVENT_BYTES]) {
        self.body.extend_from_slice(event);
        self.count += 1;
    }

    /// The body.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let mut header = [0; HEADER_BYTES];
        put(&mut header, 0, MAGIC);
        put(&mut header, 4, VERSION.to_le_bytes());
        put(&mut header, 6, E::KIND.number().to_le_bytes());
        put(&mut header, 8, self.count.to_le_bytes());
        self.body[..HEADER_BYTES].copy_from_slice(&header);
        self.body
    }
}
