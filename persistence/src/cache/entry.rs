//! The form of entries: little-endian and varints as in records, but for what scripts compare, which is big-endian at a fixed place.
//!
//! | part | content |
//! | --- | --- |
//! | moving | version (one byte, 1), the account's version (8 bytes), position (8 bytes), flags, overdraft limit, debits pending, debits posted, credits pending, credits posted |
//! | static | version (one byte, 2), ledger, code, timestamp (8 bytes), user data 128 (16 bytes), 64, 32, position of the metadata, its digest (8 bytes), its text, position of the external id, its text |
//!
//! A position of 0 says that there is none, and nothing more of it follows. Version 1 of the static part knew no external ids: it counts as not there.

use std::sync::Arc;

use florin_engine::{
    Account, AccountAfter, AccountFlags, AccountId, Amount, Balances, Code, ExternalId, JournalSeq,
    LedgerId, Timestamp,
};

use crate::record::bytes::{Cursor, Malformed, Problem, Scratch, put_text};
use crate::record::{account_flags, external_id};

const MOVING_VERSION: u8 = 1;
const FIXED_VERSION: u8 = 2;

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
    pub(super) external_id: Option<FixedExternalId>,
}

/// Metadata, and where it was journaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FixedMetadata {
    pub(super) seq: JournalSeq,
    pub(super) digest: u64,
    pub(super) text: Arc<str>,
}

/// An external id, and where it was journaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FixedExternalId {
    pub(super) seq: JournalSeq,
    pub(super) external_id: ExternalId,
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
        scratch.byte(MOVING_VERSION);
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
        let mut cursor = begin(bytes, MOVING_VERSION)?;
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
    pub(super) fn of(
        account: &Account,
        metadata: Option<&Arc<str>>,
        external_id: Option<&ExternalId>,
    ) -> Fixed {
        let metadata = metadata.map(|text| FixedMetadata {
            seq: account.metadata_seq,
            digest: account.metadata_digest,
            text: text.clone(),
        });
        let external_id = external_id.map(|external_id| FixedExternalId {
            seq: account.external_id_seq,
            external_id: external_id.clone(),
        });
        Fixed {
            ledger: account.ledger,
            code: account.code,
            timestamp: account.timestamp,
            user_data_128: account.user_data_128,
            user_data_64: account.user_data_64,
            user_data_32: account.user_data_32,
            metadata,
            external_id,
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let Fixed { ledger, code, timestamp, metadata, external_id, .. } = self;
        let Fixed { user_data_128, user_data_64, user_data_32, .. } = self;
        let mut scratch = Scratch::new();
        scratch.byte(FIXED_VERSION);
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
        match external_id {
            None => scratch.varint(JournalSeq::NONE.0),
            Some(FixedExternalId { seq, external_id }) => {
                scratch.varint(seq.0);
                put_text(&mut scratch, external_id.text(), out);
            }
        }
        scratch.drain_to(out);
    }

    /// Whether the account of this id can have it: an external id stands for one id only.
    pub(super) fn can_be_of(&self, id: AccountId) -> bool {
        self.external_id.as_ref().is_none_or(|found| found.external_id.id() == id.0)
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Fixed, Malformed> {
        let mut cursor = begin(bytes, FIXED_VERSION)?;
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
        let external_id = match JournalSeq(cursor.varint()?) {
            JournalSeq::NONE => None,
            seq => Some(FixedExternalId { seq, external_id: external_id(cursor)? }),
        };
        cursor.end()?;
        Ok(Fixed {
            ledger,
            code,
            timestamp,
            user_data_128,
            user_data_64,
            user_data_32,
            metadata,
            external_id,
        })
    }
}

/// The account of both parts.
pub(super) fn joined(id: AccountId, moving: &Moving, fixed: &Fixed) -> Account {
    let (metadata, external_id) = (fixed.metadata.as_ref(), fixed.external_id.as_ref());
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
        external_id_seq: external_id.map_or(JournalSeq::NONE, |external_id| external_id.seq),
        user_data_32: fixed.user_data_32,
        ledger: fixed.ledger,
        code: fixed.code,
        flags: moving.flags,
    }
}

fn begin(bytes: &[u8], version: u8) -> Result<Cursor<'_>, Malformed> {
    let mut cursor = Cursor::new(bytes);
    match cursor.byte()? {
        found if found == version => Ok(cursor),
        unknown => Err(Malformed { offset: 0, problem: Problem::UnknownVersion(unknown) }),
    }
}

/// Writes what can be read again, and compares.
#[cfg(feature = "fuzzing")]
pub(crate) fn rewrite(bytes: &[u8]) {
    let mut again = Vec::new();
    if let Ok(moving) = Moving::read(bytes) {
        moving.put(&mut again);
        assert_eq!(again, bytes);
    }
    again.clear();
    if let Ok(fixed) = Fixed::read(bytes) {
        fixed.put(&mut again);
        assert_eq!(again, bytes);
    }
}
