//! The form of entries, version 1: little-endian and varints as in records, but for what scripts compare, which is big-endian at a fixed place.
//!
//! | part | content |
//! | --- | --- |
//! | moving | version (one byte, 1), the account's version (8 bytes), position (8 bytes), flags, overdraft limit, debits pending, debits posted, credits pending, credits posted |
//! | static | version (one byte, 1), ledger, code, timestamp (8 bytes), user data 128 (16 bytes), 64, 32, position of the metadata, its digest (8 bytes), its text |
//!
//! A position of 0 says that there is no metadata, and nothing follows.

use std::sync::Arc;

use florin_engine::{
    Account, AccountAfter, AccountFlags, AccountId, Amount, Balances, Code, JournalSeq, LedgerId,
    Timestamp,
};

use crate::record::account_flags;
use crate::record::bytes::{Cursor, Malformed, Problem, Scratch, put_text};

const VERSION: u8 = 1;

/// The part of an account that commands change, and the position that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moving {
    pub(super) seq: JournalSeq,
    pub(super) flags: AccountFlags,
    pub(super) overdraft_limit: Amount,
    pub(super) version: u64,
    pub(super) balances: Balances,
}

/// The part of an account that no transfer changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fixed {
    pub(super) ledger: LedgerId,
    pub(super) code: Code,
    pub(super) timestamp: Timestamp,
    pub(super) user_data_128: u128,
    pub(super) user_data_64: u64,
    pub(super) user_data_32: u32,
    pub(super) metadata: Option<FixedMetadata>,
}

/// Metadata, and where it was journaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FixedMetadata {
    pub(super) seq: JournalSeq,
    pub(super) digest: u64,
    pub(super) text: Arc<str>,
}

impl Moving {
    pub(super) fn of(after: &AccountAfter, seq: JournalSeq) -> Moving {
        let AccountAfter { id: _, ledger: _, flags, overdraft_limit, version, balances } = *after;
        Moving { seq, flags, overdraft_limit, version, balances }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let Moving { seq, flags, overdraft_limit, version, balances } = *self;
        let Balances { debits_pending, debits_posted, credits_pending, credits_posted } = balances;
        let mut scratch = Scratch::new();
        scratch.byte(VERSION);
        scratch.array(version.to_be_bytes());
        scratch.array(seq.0.to_be_bytes());
        scratch.varint(u64::from(flags.bits()));
        scratch.amount(overdraft_limit);
        scratch.amount(debits_pending);
        scratch.amount(debits_posted);
        scratch.amount(credits_pending);
        scratch.amount(credits_posted);
        scratch.drain_to(out);
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Moving, Malformed> {
        let mut cursor = begin(bytes)?;
        let cursor = &mut cursor;
        let version = u64::from_be_bytes(cursor.array()?);
        let seq = JournalSeq(u64::from_be_bytes(cursor.array()?));
        let flags = account_flags(cursor)?;
        let overdraft_limit = cursor.amount()?;
        let balances = Balances {
            debits_pending: cursor.amount()?,
            debits_posted: cursor.amount()?,
            credits_pending: cursor.amount()?,
            credits_posted: cursor.amount()?,
        };
        cursor.end()?;
        Ok(Moving { seq, flags, overdraft_limit, version, balances })
    }
}

impl Fixed {
    pub(super) fn of(account: &Account, metadata: Option<&Arc<str>>) -> Fixed {
        let metadata = metadata.map(|text| FixedMetadata {
            seq: account.metadata_seq,
            digest: account.metadata_digest,
            text: text.clone(),
        });
        Fixed {
            ledger: account.ledger,
            code: account.code,
            timestamp: account.timestamp,
            user_data_128: account.user_data_128,
            user_data_64: account.user_data_64,
            user_data_32: account.user_data_32,
            metadata,
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let Fixed { ledger, code, timestamp, user_data_128, user_data_64, user_data_32, metadata } =
            self;
        let mut scratch = Scratch::new();
        scratch.byte(VERSION);
        scratch.varint(u64::from(ledger.0));
        scratch.varint(u64::from(code.0));
        scratch.array(timestamp.0.to_le_bytes());
        scratch.array(user_data_128.to_le_bytes());
        scratch.varint(*user_data_64);
        scratch.varint(u64::from(*user_data_32));
        match metadata {
            None => scratch.varint(JournalSeq::NONE.0),
            Some(FixedMetadata { seq, digest, text }) => {
                scratch.varint(seq.0);
                scratch.array(digest.to_le_bytes());
                put_text(&mut scratch, text, out);
            }
        }
        scratch.drain_to(out);
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Fixed, Malformed> {
        let mut cursor = begin(bytes)?;
        let cursor = &mut cursor;
        let ledger = LedgerId(cursor.varint_u32()?);
        let code = Code(cursor.varint_u16()?);
        let timestamp = Timestamp(cursor.u64()?);
        let user_data_128 = cursor.u128()?;
        let user_data_64 = cursor.varint()?;
        let user_data_32 = cursor.varint_u32()?;
        let metadata = match JournalSeq(cursor.varint()?) {
            JournalSeq::NONE => None,
            seq => {
                let digest = cursor.u64()?;
                Some(FixedMetadata { seq, digest, text: cursor.text()?.into() })
            }
        };
        cursor.end()?;
        Ok(Fixed { ledger, code, timestamp, user_data_128, user_data_64, user_data_32, metadata })
    }
}

/// The account of both parts.
pub(super) fn joined(id: AccountId, moving: &Moving, fixed: &Fixed) -> Account {
    let metadata = fixed.metadata.as_ref();
    Account {
        id,
        balances: moving.balances,
        user_data_128: fixed.user_data_128,
        overdraft_limit: moving.overdraft_limit,
        user_data_64: fixed.user_data_64,
        timestamp: fixed.timestamp,
        version: moving.version,
        metadata_digest: metadata.map_or(0, |metadata| metadata.digest),
        metadata_seq: metadata.map_or(JournalSeq::NONE, |metadata| metadata.seq),
        user_data_32: fixed.user_data_32,
        ledger: fixed.ledger,
        code: fixed.code,
        flags: moving.flags,
    }
}

fn begin(bytes: &[u8]) -> Result<Cursor<'_>, Malformed> {
    let mut cursor = Cursor::new(bytes);
    match cursor.byte()? {
        VERSION => Ok(cursor),
        unknown => Err(Malformed { offset: 0, problem: Problem::UnknownVersion(unknown) }),
    }
}
