//! What the index of decided ids keeps of a record.

use florin_engine::{Event, Record, transaction_digest};

use super::decode::{RecordError, decode};

/// What kind of thing was decided under an id. The numbers stand in the index, so they are part of the durable format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedKind {
    /// A transfer.
    Transfer = 1,
    /// A transaction; shares the id space of transfers.
    Transaction = 2,
    /// A rejection used the id up; shares the id space of transfers.
    Burned = 3,
    /// An idempotency key: an id space of its own.
    Key = 4,
}

/// An id that a record decided, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecidedId {
    /// Which kind of thing.
    pub kind: DecidedKind,
    /// The id, or the hash of the key.
    pub id: u128,
    /// The digest of the content; the fingerprint of a key; 0 for a burned id, whose content nobody compares.
    pub digest: u64,
}

/// Gives each id that the record in `bytes` decided, in order.
///
/// # Errors
/// The bytes are no record; nothing was given then.
pub fn ids_of(bytes: &[u8], give: impl FnMut(DecidedId)) -> Result<(), RecordError> {
    each_id(&decode(bytes)?, give);
    Ok(())
}

/// Gives each id that the record decided, in order.
pub fn each_id(record: &Record, mut give: impl FnMut(DecidedId)) {
    for (index, event) in record.events.iter().enumerate() {
        match event {
            Event::TransferPosted(posted) => give(DecidedId {
                kind: DecidedKind::Transfer,
                id: posted.transfer.id.0,
                digest: posted.transfer.content_digest(),
            }),
            Event::TransactionCreated(created) => {
                let after = record.events[index + 1..].iter();
                let legs = after.take(created.transfers as usize).filter_map(|event| match event {
                    Event::TransferPosted(leg) => Some(&leg.transfer),
                    _ => None,
                });
                give(DecidedId {
                    kind: DecidedKind::Transaction,
                    id: created.id.0,
                    digest: transaction_digest(created.metadata.as_ref(), legs),
                });
            }
            Event::IdBurned(burned) => {
                give(DecidedId { kind: DecidedKind::Burned, id: burned.id.0, digest: 0 });
            }
            Event::LedgerCreated(_) | Event::AccountCreated(_) => {}
        }
    }
    if let Some(used) = &record.key {
        give(DecidedId { kind: DecidedKind::Key, id: used.key.hash, digest: used.key.fingerprint });
    }
}
