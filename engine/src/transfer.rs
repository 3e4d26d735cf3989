//! A transfer: one movement of money from a debit account to a credit account. It never changes.

use std::sync::Arc;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::amount::{Amount, Scale};
use crate::command::CreateTransfer;
use crate::ids::{AccountId, Code, LedgerId, Timestamp, TransferId};
use crate::rejection::Field;

/// How a transfer is decided. The bits are those of the reference, and part of the durable format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TransferFlags(u16);

impl TransferFlags {
    /// Part of an all-or-nothing chain with the next event of its batch.
    pub const LINKED: TransferFlags = TransferFlags(1 << 0);

    /// Every flag with its name, in the order of their bits.
    pub const NAMES: [(TransferFlags, &'static str); 1] = [(TransferFlags::LINKED, "linked")];

    /// No flag.
    #[must_use]
    pub const fn empty() -> TransferFlags {
        TransferFlags(0)
    }

    /// The flags of these bits, unless a bit has no meaning.
    #[must_use]
    pub const fn try_from_bits(bits: u16) -> Option<TransferFlags> {
        if bits & !0b1 == 0 { Some(TransferFlags(bits)) } else { None }
    }

    /// The bits, as in the durable format.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether all of `flags` are set.
    #[must_use]
    pub const fn contains(self, flags: TransferFlags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// These flags and `flags`.
    #[must_use]
    pub const fn with(self, flags: TransferFlags) -> TransferFlags {
        TransferFlags(self.0 | flags.0)
    }
}

/// A JSON object that travels with an account, a transfer or a transaction; never empty.
///
/// The text is kept as it is shown again; the digest is of its meaning, so that two texts of the same content compare equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The object as JSON text, at most 4 KiB.
    pub text: Arc<str>,
    /// The digest of its meaning, never 0.
    pub digest: u64,
}

impl Metadata {
    /// Metadata of this text, whose meaning has this canonical form.
    #[must_use]
    pub fn new(text: Arc<str>, canonical: &[u8]) -> Metadata {
        Metadata { text, digest: xxh3_64(canonical).max(1) }
    }
}

/// The digest of optional metadata, 0 for none.
#[must_use]
pub fn metadata_digest(metadata: Option<&Metadata>) -> u64 {
    metadata.map_or(0, |metadata| metadata.digest)
}

/// One movement, as decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Its name, decided once for ever.
    pub id: TransferId,
    /// The account that gives.
    pub debit_account_id: AccountId,
    /// The account that receives.
    pub credit_account_id: AccountId,
    /// How much moved.
    pub amount: Amount,
    /// The caller's own reference.
    pub user_data_128: u128,
    /// The caller's own reference.
    pub user_data_64: u64,
    /// The caller's own reference.
    pub user_data_32: u32,
    /// The ledger of both accounts.
    pub ledger: LedgerId,
    /// What kind of transfer it is, to the caller.
    pub code: Code,
    /// How it was decided.
    pub flags: TransferFlags,
    /// When it took effect outside, if the caller said so.
    pub effective_at: Option<Timestamp>,
    /// When it was decided: unique, increasing in the order of decisions.
    pub timestamp: Timestamp,
    /// The transaction that it is a leg of.
    pub transaction_id: Option<TransferId>,
    /// The caller's own words about it.
    pub metadata: Option<Metadata>,
}

impl Transfer {
    /// The digest of what the caller asked for: equal for the same content, whatever the moment it was decided at.
    /// Kept in the index of decided ids, so part of the durable format.
    #[must_use]
    pub fn content_digest(&self) -> u64 {
        self.digest_with(TransferId(0), 0)
    }

    fn digest_with(&self, pending_id: TransferId, timeout: u32) -> u64 {
        let mut bytes = [0_u8; 144];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(&self.debit_account_id.0.to_le_bytes());
        put(&self.credit_account_id.0.to_le_bytes());
        put(&self.amount.minor_units().to_le_bytes());
        put(&pending_id.0.to_le_bytes());
        put(&self.user_data_128.to_le_bytes());
        put(&self.user_data_64.to_le_bytes());
        put(&self.user_data_32.to_le_bytes());
        put(&timeout.to_le_bytes());
        put(&self.ledger.0.to_le_bytes());
        put(&self.code.0.to_le_bytes());
        put(&self.flags.bits().to_le_bytes());
        put(&self.effective_at.map_or(u64::MAX, |at| at.0).to_le_bytes());
        put(&metadata_digest(self.metadata.as_ref()).to_le_bytes());
        put(&[u8::from(self.transaction_id.is_some())]);
        let length = at;
        xxh3_64(&bytes[..length])
    }
}

/// A transfer as it was asked for: as it will be, and what of the question it does not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The transfer as it will be if nothing speaks against it.
    pub transfer: Transfer,
    /// Whether the caller named the ledger, or left it to the debit account.
    pub ledger_named: bool,
    /// The pending transfer that it should settle.
    pub pending_id: TransferId,
    /// Seconds until it should expire.
    pub timeout: u32,
}

impl Asked {
    /// [`Transfer::content_digest`] of what was asked for.
    #[must_use]
    pub fn content_digest(&self) -> u64 {
        self.transfer.digest_with(self.pending_id, self.timeout)
    }

    /// What `item` asks for, where its id names `existing` already: what it leaves open is what `existing` has.
    /// An amount that `scale` can not hold counts as none.
    #[must_use]
    pub fn against(item: &CreateTransfer, existing: &Transfer, scale: Scale) -> Asked {
        Asked {
            ledger_named: item.ledger.is_some(),
            pending_id: item.pending_id,
            timeout: item.timeout,
            transfer: Transfer {
                id: item.id,
                debit_account_id: item.debit_account_id,
                credit_account_id: item.credit_account_id,
                amount: item.amount.resolve(scale).unwrap_or(Amount::ZERO),
                user_data_128: item.user_data_128,
                user_data_64: item.user_data_64,
                user_data_32: item.user_data_32,
                ledger: item.ledger.unwrap_or(existing.ledger),
                code: item.code,
                flags: item.flags,
                effective_at: item.effective_at,
                timestamp: existing.timestamp,
                transaction_id: None,
                metadata: item.metadata.clone(),
            },
        }
    }

    /// A transaction's own content, without its legs.
    pub(crate) fn of_transaction(id: TransferId, metadata: Option<Metadata>) -> Asked {
        let transfer = Transfer {
            id,
            debit_account_id: AccountId(0),
            credit_account_id: AccountId(0),
            amount: Amount::ZERO,
            user_data_128: 0,
            user_data_64: 0,
            user_data_32: 0,
            ledger: LedgerId(0),
            code: Code(0),
            flags: TransferFlags::empty(),
            effective_at: None,
            timestamp: Timestamp(0),
            transaction_id: None,
            metadata,
        };
        Asked { transfer, ledger_named: false, pending_id: TransferId(0), timeout: 0 }
    }

    /// The first field, in the documented order, in which this differs from the transfer that has its id.
    #[must_use]
    pub fn first_difference(&self, existing: &Transfer) -> Option<Field> {
        let asked = &self.transfer;
        let differences = [
            (asked.flags != existing.flags, Field::Flags),
            (self.pending_id.0 != 0, Field::PendingId),
            (self.timeout != 0, Field::Timeout),
            (asked.debit_account_id != existing.debit_account_id, Field::DebitAccountId),
            (asked.credit_account_id != existing.credit_account_id, Field::CreditAccountId),
            (asked.amount != existing.amount, Field::Amount),
            (asked.user_data_128 != existing.user_data_128, Field::UserData128),
            (asked.user_data_64 != existing.user_data_64, Field::UserData64),
            (asked.user_data_32 != existing.user_data_32, Field::UserData32),
            (asked.ledger != existing.ledger, Field::Ledger),
            (asked.code != existing.code, Field::Code),
            (asked.effective_at != existing.effective_at, Field::EffectiveAt),
            (
                metadata_digest(asked.metadata.as_ref())
                    != metadata_digest(existing.metadata.as_ref()),
                Field::Metadata,
            ),
            (asked.transaction_id.is_some() != existing.transaction_id.is_some(), Field::Kind),
        ];
        differences.into_iter().find_map(|(differs, field)| differs.then_some(field))
    }
}

/// Several transfers of which all happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its name, in the transfers' id space.
    pub id: TransferId,
    /// How many legs it has.
    pub transfers: u32,
    /// The timestamp of its first leg.
    pub timestamp: Timestamp,
    /// The caller's own words about it.
    pub metadata: Option<Metadata>,
}

/// The digest of a transaction's content: its metadata and the ids and contents of its legs, in order. Part of the durable format.
#[must_use]
pub fn transaction_digest<'a>(
    metadata: Option<&Metadata>,
    legs: impl Iterator<Item = &'a Transfer>,
) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&metadata_digest(metadata).to_le_bytes());
    for leg in legs {
        hasher.update(&leg.id.0.to_le_bytes());
        hasher.update(&leg.content_digest().to_le_bytes());
    }
    hasher.digest()
}
