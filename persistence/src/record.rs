//! The form of a [`Record`](florin_engine::Record) in the journal, version 1.
//!
//! Integers are varints (see `record/bytes.rs`) unless a size is given, ids are 16 bytes, all little-endian. A timestamp of an event is its
//! distance from the record's. Texts have their length in bytes before them. Every value has one form only: what
//! [`decode`] reads, [`encode`] writes again byte for byte. A reader refuses what it does not know.
//!
//! | part | content |
//! | --- | --- |
//! | version | one byte, 1 |
//! | timestamp, asked | 8 bytes; count |
//! | accounts | count, then for each: presence (one byte), id, version, debits posted, credits posted, what is present |
//! | ledgers | count, then for each: id, accounts, posted, pending |
//! | events | count, then for each: kind (one byte) and what stands below |
//! | key | one byte 0, or one byte 1, hash (16 bytes), fingerprint (8 bytes), count of exceptions, then for each: index, outcome |
//!
//! The table of accounts stands before the events, so that a transfer names its accounts by two short indices: of the some 80 bytes that a batch
//! of transfers between as many accounts would need each, 32 would be account ids.
//!
//! | kind of event | content |
//! | --- | --- |
//! | 1 ledger created | id, currency, scale (one byte), name, timestamp |
//! | 2 account created | presence, id, ledger, code, timestamp, what is present |
//! | 3 transfer posted | presence, id, index of the debit account, index of the credit account, amount, code, timestamp, what is present |
//! | 4 transaction created | presence, id, count of legs, timestamp, what is present; its legs follow as transfers posted |
//! | 5 id burned | id, rejection, timestamp |
//! | 6 transfer expired | id, index of the debit account, index of the credit account, amount, timestamp |
//! | 7 overdraft limit changed | index of the account, limit before, limit after, timestamp |
//! | 8 metadata replaced | presence, index of the account, timestamp, what is present: 0 the metadata before, as its position and digest (8 bytes), 1 the metadata |
//!
//! An outcome is one byte and: 0 exists (position, timestamp of 8 bytes), 1 differs (position), 2 rejected (number, its figures as signed varints),
//! 3 settled (position; one byte: 1 posted, 2 voided, 3 expired).
//!
//! What is present stands in the order of the presence bits. A field that would say nothing (zero, no text) is absent. Numbers of bits, kinds,
//! outcomes and rejections are added to, never changed; those marked *reserved* are refused.
//!
//! | bit | account in the table | account created | transfer posted | transaction created |
//! | --- | --- | --- | --- | --- |
//! | 0 | ledger, where not that of the entry before (of the first: where not 0) | flags | flags | metadata |
//! | 1 | flags | overdraft limit | is a leg of the last transaction created; no bytes | external id |
//! | 2 | overdraft limit | user data 128 (16 bytes) | user data 128 (16 bytes) | |
//! | 3 | debits pending | user data 64 | user data 64 | |
//! | 4 | credits pending | user data 32 | user data 32 | |
//! | 5 | | metadata | metadata | |
//! | 6 | | *reserved* | pending id (16 bytes) | |
//! | 7 | | external id | timeout, in seconds | |
//! | 8 | | | *reserved* | |
//! | 9 | | | amount requested, where balancing made it another | |
//! | 10 | | | *reserved* | |
//! | 11 | | | *reserved* | |
//! | 12 | | | effective at (8 bytes) | |
//! | 13 | | | transaction id (16 bytes), where bit 1 does not say it | |
//! | 14 | | | ledger, where not that of the debit account | |
//! | 15 | | | what a post or void has in common with its pending transfer ([`florin_engine::Inherited`]) | |
//! | 16 | | | id of the transfer that it reverses (16 bytes) | |
//! | 17 | | | external id | |
//!
//! An external id ([`florin_engine::ExternalId`]) is its text, and stands in the place of the id, which follows from it: what has none has no byte for it.
//! Metadata is its text and its digest (8 bytes). The timestamp of something imported lies before the record's: its distance wraps, in ten bytes. When a
//! pending transfer expires follows from its timestamp and timeout, and what it closes or its void opens again from its flags.

pub(crate) mod bytes;
mod decode;
mod encode;

pub use bytes::{Malformed, Problem};
pub use decode::{RecordError, decode};
pub(crate) use decode::{account_flags, external_id, scale, transfer_flags};
pub use encode::encode;

const VERSION: u8 = 1;

/// Kinds of events.
mod kind {
    pub(super) const LEDGER_CREATED: u8 = 1;
    pub(super) const ACCOUNT_CREATED: u8 = 2;
    pub(super) const TRANSFER_POSTED: u8 = 3;
    pub(super) const TRANSACTION_CREATED: u8 = 4;
    pub(super) const ID_BURNED: u8 = 5;
    pub(super) const TRANSFER_EXPIRED: u8 = 6;
    pub(super) const OVERDRAFT_LIMIT_CHANGED: u8 = 7;
    pub(super) const METADATA_REPLACED: u8 = 8;
}

/// Kinds of outcomes.
mod outcome {
    pub(super) const EXISTS: u8 = 0;
    pub(super) const DIFFERS: u8 = 1;
    pub(super) const REJECTED: u8 = 2;
    pub(super) const SETTLED: u8 = 3;
}

/// How a pending transfer ended.
mod settlement {
    pub(super) const POSTED: u8 = 1;
    pub(super) const VOIDED: u8 = 2;
    pub(super) const EXPIRED: u8 = 3;
}

/// Presence bits of an entry in the table of accounts.
mod touched {
    pub(super) const LEDGER: u64 = 1 << 0;
    pub(super) const FLAGS: u64 = 1 << 1;
    pub(super) const OVERDRAFT_LIMIT: u64 = 1 << 2;
    pub(super) const DEBITS_PENDING: u64 = 1 << 3;
    pub(super) const CREDITS_PENDING: u64 = 1 << 4;
    pub(super) const KNOWN: u64 = (1 << 5) - 1;
}

/// Presence bits of an account created.
mod account {
    pub(super) const FLAGS: u64 = 1 << 0;
    pub(super) const OVERDRAFT_LIMIT: u64 = 1 << 1;
    pub(super) const USER_DATA_128: u64 = 1 << 2;
    pub(super) const USER_DATA_64: u64 = 1 << 3;
    pub(super) const USER_DATA_32: u64 = 1 << 4;
    pub(super) const METADATA: u64 = 1 << 5;
    pub(super) const EXTERNAL_ID: u64 = 1 << 7;
    pub(super) const KNOWN: u64 = ((1 << 6) - 1) | EXTERNAL_ID;
}

/// Presence bits of a transfer posted.
mod transfer {
    pub(super) const FLAGS: u64 = 1 << 0;
    pub(super) const LEG: u64 = 1 << 1;
    pub(super) const USER_DATA_128: u64 = 1 << 2;
    pub(super) const USER_DATA_64: u64 = 1 << 3;
    pub(super) const USER_DATA_32: u64 = 1 << 4;
    pub(super) const METADATA: u64 = 1 << 5;
    pub(super) const PENDING_ID: u64 = 1 << 6;
    pub(super) const TIMEOUT: u64 = 1 << 7;
    pub(super) const AMOUNT_REQUESTED: u64 = 1 << 9;
    pub(super) const EFFECTIVE_AT: u64 = 1 << 12;
    pub(super) const TRANSACTION_ID: u64 = 1 << 13;
    pub(super) const LEDGER: u64 = 1 << 14;
    pub(super) const INHERITED: u64 = 1 << 15;
    pub(super) const REVERSES: u64 = 1 << 16;
    pub(super) const EXTERNAL_ID: u64 = 1 << 17;
    pub(super) const KNOWN: u64 = FLAGS
        | LEG
        | USER_DATA_128
        | USER_DATA_64
        | USER_DATA_32
        | METADATA
        | PENDING_ID
        | TIMEOUT
        | AMOUNT_REQUESTED
        | EFFECTIVE_AT
        | TRANSACTION_ID
        | LEDGER
        | INHERITED
        | REVERSES
        | EXTERNAL_ID;
}

/// Presence bits of metadata replaced.
mod replaced {
    pub(super) const BEFORE: u64 = 1 << 0;
    pub(super) const METADATA: u64 = 1 << 1;
    pub(super) const KNOWN: u64 = BEFORE | METADATA;
}

/// Presence bits of a transaction created.
mod transaction {
    pub(super) const METADATA: u64 = 1 << 0;
    pub(super) const EXTERNAL_ID: u64 = 1 << 1;
    pub(super) const KNOWN: u64 = METADATA | EXTERNAL_ID;
}

#[cfg(test)]
mod tests;
