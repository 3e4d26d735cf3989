//! A transfer: one movement of money from a debit account to a credit account. It never changes.

use std::sync::Arc;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::amount::{Amount, Scale};
use crate::command::CreateTransfer;
use crate::fixed::FixedFields;
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
        Content {
            debit_account_id: self.debit_account_id,
            credit_account_id: self.credit_account_id,
            amount: self.amount,
            pending_id: TransferId(0),
            user_data_128: self.user_data_128,
            user_data_64: self.user_data_64,
            user_data_32: self.user_data_32,
            timeout: 0,
            ledger: self.ledger,
            code: self.code,
            flags: self.flags,
            effective_at: self.effective_at,
            metadata_digest: metadata_digest(self.metadata.as_ref()),
            is_leg: self.transaction_id.is_some(),
        }
        .digest()
    }
}

/// All that makes two uses of a transfer id the same.
struct Content {
    debit_account_id: AccountId,
    credit_account_id: AccountId,
    amount: Amount,
    pending_id: TransferId,
    user_data_128: u128,
    user_data_64: u64,
    user_data_32: u32,
    timeout: u32,
    ledger: LedgerId,
    code: Code,
    flags: TransferFlags,
    effective_at: Option<Timestamp>,
    metadata_digest: u64,
    is_leg: bool,
}

impl Content {
    #[inline]
    fn digest(&self) -> u64 {
        FixedFields::<144>::new()
            .put(self.debit_account_id.0.to_le_bytes())
            .put(self.credit_account_id.0.to_le_bytes())
            .put(self.amount.minor_units().to_le_bytes())
            .put(self.pending_id.0.to_le_bytes())
            .put(self.user_data_128.to_le_bytes())
            .put(self.user_data_64.to_le_bytes())
            .put(self.user_data_32.to_le_bytes())
            .put(self.timeout.to_le_bytes())
            .put(self.ledger.0.to_le_bytes())
            .put(self.code.0.to_le_bytes())
            .put(self.flags.bits().to_le_bytes())
            .put(self.effective_at.map_or(u64::MAX, |at| at.0).to_le_bytes())
            .put(self.metadata_digest.to_le_bytes())
            .put([u8::from(self.is_leg)])
            .hash()
    }
}

/// A transfer as it is asked for, with what the caller left open filled in.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// What was asked for.
    pub item: &'a CreateTransfer,
    /// Its amount in minor units.
    pub amount: Amount,
    /// Its ledger, the debit account's where it named none; 0 where neither is known.
    pub ledger: LedgerId,
    /// The transaction that it is a leg of.
    pub transaction_id: Option<TransferId>,
}

/// [`Asking`], kept to compare it later with the transfer that has its id already.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// What was asked for.
    pub item: CreateTransfer,
    /// Its amount in minor units.
    pub amount: Amount,
    /// Its ledger.
    pub ledger: LedgerId,
    /// The transaction that it is a leg of.
    pub transaction_id: Option<TransferId>,
}

impl Asked {
    /// The same, borrowed.
    #[must_use]
    pub fn asking(&self) -> Asking<'_> {
        Asking {
            item: &self.item,
            amount: self.amount,
            ledger: self.ledger,
            transaction_id: self.transaction_id,
        }
    }
}

impl<'a> Asking<'a> {
    /// What `item` asks for, where its id names `existing` already: what it leaves open is what `existing` has.
    /// An amount that `scale` can not hold counts as none.
    #[must_use]
    pub fn against(item: &'a CreateTransfer, existing: &Transfer, scale: Scale) -> Asking<'a> {
        Asking {
            item,
            amount: item.amount.resolve(scale).unwrap_or(Amount::ZERO),
            ledger: item.ledger.unwrap_or(existing.ledger),
            transaction_id: None,
        }
    }

    /// [`Transfer::content_digest`] of what is asked for.
    #[must_use]
    pub fn content_digest(&self) -> u64 {
        let item = self.item;
        Content {
            debit_account_id: item.debit_account_id,
            credit_account_id: item.credit_account_id,
            amount: self.amount,
            pending_id: item.pending_id,
            user_data_128: item.user_data_128,
            user_data_64: item.user_data_64,
            user_data_32: item.user_data_32,
            timeout: item.timeout,
            ledger: self.ledger,
            code: item.code,
            flags: item.flags,
            effective_at: item.effective_at,
            metadata_digest: metadata_digest(item.metadata.as_ref()),
            is_leg: self.transaction_id.is_some(),
        }
        .digest()
    }

    /// To be kept.
    #[must_use]
    pub fn to_asked(&self) -> Asked {
        let Asking { item, amount, ledger, transaction_id } = *self;
        Asked { item: item.clone(), amount, ledger, transaction_id }
    }

    /// The transfer that this becomes when nothing speaks against it.
    #[must_use]
    pub fn decided(&self, timestamp: Timestamp) -> Transfer {
        let item = self.item;
        Transfer {
            id: item.id,
            debit_account_id: item.debit_account_id,
            credit_account_id: item.credit_account_id,
            amount: self.amount,
            user_data_128: item.user_data_128,
            user_data_64: item.user_data_64,
            user_data_32: item.user_data_32,
            ledger: self.ledger,
            code: item.code,
            flags: item.flags,
            effective_at: item.effective_at,
            timestamp,
            transaction_id: self.transaction_id,
            metadata: item.metadata.clone(),
        }
    }

    /// The first field, in the documented order, in which this differs from the transfer that has its id.
    #[must_use]
    pub fn first_difference(&self, existing: &Transfer) -> Option<Field> {
        let item = self.item;
        let metadata = metadata_digest(item.metadata.as_ref());
        // Minor units of different ledgers can not be compared.
        let same_ledger = self.ledger == existing.ledger;
        let differences = [
            (item.flags != existing.flags, Field::Flags),
            (item.pending_id.0 != 0, Field::PendingId),
            (item.timeout != 0, Field::Timeout),
            (item.debit_account_id != existing.debit_account_id, Field::DebitAccountId),
            (item.credit_account_id != existing.credit_account_id, Field::CreditAccountId),
            (same_ledger && self.amount != existing.amount, Field::Amount),
            (item.user_data_128 != existing.user_data_128, Field::UserData128),
            (item.user_data_64 != existing.user_data_64, Field::UserData64),
            (item.user_data_32 != existing.user_data_32, Field::UserData32),
            (!same_ledger, Field::Ledger),
            (item.code != existing.code, Field::Code),
            (item.effective_at != existing.effective_at, Field::EffectiveAt),
            (metadata != metadata_digest(existing.metadata.as_ref()), Field::Metadata),
            (self.transaction_id.is_some() != existing.transaction_id.is_some(), Field::Kind),
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

/// The digest of a transaction's content: its metadata and the ids and content digests of its legs, in order.
/// Part of the durable format.
#[must_use]
pub fn transaction_digest(
    metadata: Option<&Metadata>,
    legs: impl Iterator<Item = (TransferId, u64)>,
) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&metadata_digest(metadata).to_le_bytes());
    for (id, content_digest) in legs {
        hasher.update(&id.0.to_le_bytes());
        hasher.update(&content_digest.to_le_bytes());
    }
    hasher.digest()
}
