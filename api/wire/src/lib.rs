//! The binary form of batches, `application/vnd.florin.batch`: what the server and its clients share.
//!
//! `api/BINARY.md` describes it for those who write a client of their own. A batch is a header of 16 bytes and up to 8,190 events
//! of 128 bytes; its answer is a header of 64 bytes and 16 bytes for each event that was not created. All numbers are
//! little-endian.
//!
//! - **Fixed sizes**, so that a body's length says whether it is whole before anything in it is looked at, and no number in it
//!   can make the reader reserve or reach further than the body is long.
//! - **The reference's layout** of a transfer: who has an encoder for that has one for this, and the fields are those of its
//!   128 bytes. What does not fit in them (metadata, external ids, conditions, `effective_at`) goes as JSON.
//! - **Minor units.** An amount is a count of them, so that neither side needs to know the ledger's digits; therefore the ledger
//!   is named, but for a post or void, which takes it over from its pending transfer.
//! - **Nothing unknown is passed over**: bits without a meaning must be zero, so that they can get one.
//!
//! In reading order: [`encode`] and [`decode`] are the batch, [`Event`] is one of its events, [`Outcomes`] its answer.

mod batch;
mod event;
mod fields;
mod outcomes;

pub use batch::{BatchFault, BatchWriter, HEADER_BYTES, MAGIC, VERSION, decode, encode};
pub use event::{EVENT_BYTES, Event, EventFault, Kind, Reason, Unfit};
pub use outcomes::{EXCEPTION_BYTES, Exception, OUTCOMES_BYTES, Outcomes, OutcomesFault, Status};

/// The media type of a batch and of its answer.
pub const MEDIA_TYPE: &str = "application/vnd.florin.batch";
