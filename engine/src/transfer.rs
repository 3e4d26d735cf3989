//! A transfer: one movement of money from a debit account to a credit account, or of a reservation of it. It never changes.

use std::sync::Arc;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::amount::Amount;
use crate::asking::Content;
use crate::decided::{DecidedKind, Settlement};
use crate::external::ExternalId;
use crate::ids::{AccountId, Code, LedgerId, Timestamp, TransferId};
use crate::pending::expires_at;

/// How a transfer is decided. The bits are those of the reference, and part of the durable format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TransferFlags(u16);

impl TransferFlags {
    /// Part of an all-or-nothing chain with the next event of its batch.
    pub const LINKED: TransferFlags = TransferFlags(1 << 0);
    /// Reserves the amount until it is posted or voided, or expires.
    pub const PENDING: TransferFlags = TransferFlags(1 << 1);
    /// Moves what a pending transfer reserved, all or a part; the rest is released.
    pub const POST_PENDING_TRANSFER: TransferFlags = TransferFlags(1 << 2);
    /// Releases what a pending transfer reserved.
    pub const VOID_PENDING_TRANSFER: TransferFlags = TransferFlags(1 << 3);
    /// Moves no more than leaves the debit account's debits, pending ones too, within its credits posted.
    pub const BALANCING_DEBIT: TransferFlags = TransferFlags(1 << 4);
    /// Moves no more than leaves the credit account's credits, pending ones too, within its debits posted.
    pub const BALANCING_CREDIT: TransferFlags = TransferFlags(1 << 5);
    /// Closes the debit account, until it is voided or expires.
    pub const CLOSING_DEBIT: TransferFlags = TransferFlags(1 << 6);
    /// Closes the credit account, until it is voided or expires.
    pub const CLOSING_CREDIT: TransferFlags = TransferFlags(1 << 7);
    /// Brought in from elsewhere, with the moment at which it was decided there.
    pub const IMPORTED: TransferFlags = TransferFlags(1 << 8);

    /// Every flag with its name, in the order of their bits.
    pub const NAMES: [(TransferFlags, &'static str); 9] = [
        (TransferFlags::LINKED, "linked"),
        (TransferFlags::PENDING, "pending"),
        (TransferFlags::POST_PENDING_TRANSFER, "post_pending_transfer"),
        (TransferFlags::VOID_PENDING_TRANSFER, "void_pending_transfer"),
        (TransferFlags::BALANCING_DEBIT, "balancing_debit"),
        (TransferFlags::BALANCING_CREDIT, "balancing_credit"),
        (TransferFlags::CLOSING_DEBIT, "closing_debit"),
        (TransferFlags::CLOSING_CREDIT, "closing_credit"),
        (TransferFlags::IMPORTED, "imported"),
    ];

    /// A post or a void.
    pub(crate) const SETTLING: TransferFlags =
        TransferFlags::POST_PENDING_TRANSFER.with(TransferFlags::VOID_PENDING_TRANSFER);
    /// Its amount is the most that it moves.
    pub(crate) const BALANCING: TransferFlags =
        TransferFlags::BALANCING_DEBIT.with(TransferFlags::BALANCING_CREDIT);
    /// It closes an account.
    pub(crate) const CLOSING: TransferFlags =
        TransferFlags::CLOSING_DEBIT.with(TransferFlags::CLOSING_CREDIT);

    /// No flag.
    #[must_use]
    pub const fn empty() -> TransferFlags {
        TransferFlags(0)
    }

    /// The flags of these bits, unless a bit has no meaning.
    #[must_use]
    pub const fn try_from_bits(bits: u16) -> Option<TransferFlags> {
        if bits & !0b1_1111_1111 == 0 { Some(TransferFlags(bits)) } else { None }
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

    /// Whether one of `flags` is set.
    #[must_use]
    pub const fn intersects(self, flags: TransferFlags) -> bool {
        self.0 & flags.0 != 0
    }

    /// How it ends a pending transfer, if it does.
    #[must_use]
    pub const fn settlement(self) -> Option<Settlement> {
        if self.contains(TransferFlags::POST_PENDING_TRANSFER) {
            Some(Settlement::Posted)
        } else if self.contains(TransferFlags::VOID_PENDING_TRANSFER) {
            Some(Settlement::Voided)
        } else {
            None
        }
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

/// What a post or void has in common with its pending transfer: with it a retry is recognized without that one.
/// The bits are part of the durable format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Inherited(u16);

impl Inherited {
    /// `debit_account_id` was left open, so taken over.
    pub const DEBIT_ACCOUNT_ID: Inherited = Inherited(1 << 0);
    /// `credit_account_id` was left open, so taken over.
    pub const CREDIT_ACCOUNT_ID: Inherited = Inherited(1 << 1);
    /// All of the amount was asked for, whatever it is.
    pub const AMOUNT: Inherited = Inherited(1 << 2);
    /// `ledger` was left open, so taken over.
    pub const LEDGER: Inherited = Inherited(1 << 3);
    /// `code` was left open, so taken over.
    pub const CODE: Inherited = Inherited(1 << 4);
    /// `user_data_128` was left open, so taken over.
    pub const USER_DATA_128: Inherited = Inherited(1 << 5);
    /// `user_data_64` was left open, so taken over.
    pub const USER_DATA_64: Inherited = Inherited(1 << 6);
    /// `user_data_32` was left open, so taken over.
    pub const USER_DATA_32: Inherited = Inherited(1 << 7);
    /// The amount was named, and is all of it.
    pub const SAME_AMOUNT: Inherited = Inherited(1 << 8);
    /// `user_data_128` was named, and is the same.
    pub const SAME_USER_DATA_128: Inherited = Inherited(1 << 9);
    /// `user_data_64` was named, and is the same.
    pub const SAME_USER_DATA_64: Inherited = Inherited(1 << 10);
    /// `user_data_32` was named, and is the same.
    pub const SAME_USER_DATA_32: Inherited = Inherited(1 << 11);

    /// Nothing.
    #[must_use]
    pub const fn empty() -> Inherited {
        Inherited(0)
    }

    /// What these bits say, unless a bit has no meaning.
    #[must_use]
    pub const fn try_from_bits(bits: u16) -> Option<Inherited> {
        if bits >> 12 == 0 { Some(Inherited(bits)) } else { None }
    }

    /// The bits, as in the durable format.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether one of `others` holds.
    #[must_use]
    pub const fn intersects(self, others: Inherited) -> bool {
        self.0 & others.0 != 0
    }

    /// This and `other`, where that `holds`.
    #[must_use]
    pub(crate) const fn with(self, other: Inherited, holds: bool) -> Inherited {
        if holds { Inherited(self.0 | other.0) } else { self }
    }
}

/// One movement, as decided: of money, or of a reservation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Its name, decided once for ever.
    pub id: TransferId,
    /// The text that its id stands for, if the caller named it by one.
    pub external_id: Option<ExternalId>,
    /// The account that gives.
    pub debit_account_id: AccountId,
    /// The account that receives.
    pub credit_account_id: AccountId,
    /// How much moved, or is reserved, or was released by a void.
    pub amount: Amount,
    /// The most that was to move, where the transfer balances; else the amount.
    pub amount_requested: Amount,
    /// The pending transfer that it posts or voids; 0 where it does neither.
    pub pending_id: TransferId,
    /// The transfer that it reverses; 0 where it reverses none.
    pub reverses: TransferId,
    /// What it has in common with its pending transfer.
    pub inherited: Inherited,
    /// Seconds until it expires; 0 where it does not, or is not pending.
    pub timeout: u32,
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
    /// When it was decided: unique, increasing in the order of decisions; an imported one's is as given.
    pub timestamp: Timestamp,
    /// The transaction that it is a leg of.
    pub transaction_id: Option<TransferId>,
    /// The caller's own words about it.
    pub metadata: Option<Metadata>,
}

impl Transfer {
    /// From when on it can no longer be settled, if it is pending and expires.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        expires_at(self.timestamp, self.timeout)
    }

    /// How it ended a pending transfer, and which, if it did.
    #[must_use]
    pub fn settles(&self) -> Option<(TransferId, Settlement)> {
        self.flags.settlement().map(|settlement| (self.pending_id, settlement))
    }

    /// Which transfer it ended, and how that is remembered: it posted, voided or reversed it.
    #[must_use]
    pub fn ends(&self) -> Option<(TransferId, DecidedKind)> {
        if self.reverses.0 != 0 {
            return Some((self.reverses, DecidedKind::Reversed));
        }
        self.settles().map(|(id, settlement)| (id, settlement.kind()))
    }

    /// The digest of what the caller asked for: equal for the same content, whatever the moment it was decided at.
    /// Kept in the index of decided ids, so part of the durable format.
    #[must_use]
    pub fn content_digest(&self) -> u64 {
        Content::of(self).digest()
    }
}

/// Several transfers of which all happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its name, in the transfers' id space.
    pub id: TransferId,
    /// The text that its id stands for, if the caller named it by one.
    pub external_id: Option<ExternalId>,
    /// How many legs it has.
    pub transfers: u32,
    /// When it was decided: just before its first leg.
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
