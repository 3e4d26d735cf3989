//! The binary form of batches.

use florin_engine::{CreateAccount, CreateTransfer};
use florin_wire::{
    EVENT_BYTES, Event, HEADER_BYTES, Kind, MAGIC, Outcomes, VERSION, decode, encode,
};

/// Events in a command.
const EVENTS_MAX: usize = 8_190;

/// A batch that can be read is written again byte for byte, as it is and with a header that fits.
pub(crate) fn batch(data: &[u8]) {
    read::<CreateTransfer>(data);
    read::<CreateAccount>(data);
    read::<CreateTransfer>(&with_header(Kind::Transfers, data));
    read::<CreateAccount>(&with_header(Kind::Accounts, data));
}

fn with_header(kind: Kind, data: &[u8]) -> Vec<u8> {
    let events = &data[..data.len() / EVENT_BYTES * EVENT_BYTES];
    let mut body = Vec::with_capacity(HEADER_BYTES + events.len());
    body.extend_from_slice(&MAGIC);
    body.extend_from_slice(&VERSION.to_le_bytes());
    body.extend_from_slice(&kind.number().to_le_bytes());
    body.extend_from_slice(&((events.len() / EVENT_BYTES) as u32).to_le_bytes());
    body.extend_from_slice(&[0; 4]);
    body.extend_from_slice(events);
    body
}

fn read<E: Event>(body: &[u8]) {
    if let Ok(events) = decode::<E>(body, EVENTS_MAX) {
        assert!(events.len() <= EVENTS_MAX);
        assert_eq!(encode(events.iter()).ok().as_deref(), Some(body));
    }
}

/// An answer that can be read says the same when it is written again.
pub(crate) fn answer(data: &[u8]) {
    let Some((sent, body)) = data.split_first_chunk::<2>() else { return };
    let sent = u32::from(u16::from_le_bytes(*sent));
    if let Ok(outcomes) = Outcomes::decode(body, sent) {
        assert!(outcomes.replayed() <= sent && outcomes.rejected() <= sent);
        assert_eq!(Outcomes::decode(&outcomes.encode(), sent), Ok(outcomes));
    }
}
