//! The account actor: one account's state, and the rule by which it takes or refuses money.

use crate::amount::{Amount, SignedAmount};
use crate::fixed::FixedFields;
use crate::ids::{AccountId, Code, JournalSeq, LedgerId, Timestamp};
use crate::record::AccountCreated;
use crate::transfer::metadata_digest;

/// What an account must and must not do. The bits are those of the reference, and part of the durable format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AccountFlags(u16);

impl AccountFlags {
    /// Part of an all-or-nothing chain with the next event of its batch. Not a property of the account.
    pub const LINKED: AccountFlags = AccountFlags(1 << 0);
    /// Debits, pending ones too, stay within the credits posted and the overdraft limit.
    pub const DEBITS_MUST_NOT_EXCEED_CREDITS: AccountFlags = AccountFlags(1 << 1);
    /// Credits, pending ones too, stay within the debits posted and the overdraft limit.
    pub const CREDITS_MUST_NOT_EXCEED_DEBITS: AccountFlags = AccountFlags(1 << 2);
    /// Its balances after each command are kept and can be queried.
    pub const HISTORY: AccountFlags = AccountFlags(1 << 3);
    /// Brought in from elsewhere, with the moment of its creation there.
    pub const IMPORTED: AccountFlags = AccountFlags(1 << 4);
    /// Takes part in no more transfers, but for those that void a pending one.
    pub const CLOSED: AccountFlags = AccountFlags(1 << 5);

    /// Every flag with its name, in the order of their bits.
    pub const NAMES: [(AccountFlags, &'static str); 6] = [
        (AccountFlags::LINKED, "linked"),
        (AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS, "debits_must_not_exceed_credits"),
        (AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS, "credits_must_not_exceed_debits"),
        (AccountFlags::HISTORY, "history"),
        (AccountFlags::IMPORTED, "imported"),
        (AccountFlags::CLOSED, "closed"),
    ];

    /// No flag.
    #[must_use]
    pub const fn empty() -> AccountFlags {
        AccountFlags(0)
    }

    /// The flags of these bits, unless a bit has no meaning.
    #[must_use]
    pub const fn try_from_bits(bits: u16) -> Option<AccountFlags> {
        if bits & !0b11_1111 == 0 { Some(AccountFlags(bits)) } else { None }
    }

    /// The bits, as in the durable format.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether all of `flags` are set.
    #[must_use]
    pub const fn contains(self, flags: AccountFlags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// These flags and `flags`.
    #[must_use]
    pub const fn with(self, flags: AccountFlags) -> AccountFlags {
        AccountFlags(self.0 | flags.0)
    }

    /// These flags without `flags`.
    #[must_use]
    pub const fn without(self, flags: AccountFlags) -> AccountFlags {
        AccountFlags(self.0 & !flags.0)
    }
}

/// The four balances of an account. Each, and pending and posted of a side together, stay within [`Amount::MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balances {
    /// Debits that are reserved and not yet posted.
    pub debits_pending: Amount,
    /// Debits that happened.
    pub debits_posted: Amount,
    /// Credits that are reserved and not yet posted.
    pub credits_pending: Amount,
    /// Credits that happened.
    pub credits_posted: Amount,
}

impl Balances {
    /// The account's balance as its kind shows it: debits minus credits where credits are limited, else credits minus debits.
    #[must_use]
    pub fn balance(&self, flags: AccountFlags) -> SignedAmount {
        let credits_minus_debits = signed(self.credits_posted) - signed(self.debits_posted);
        if flags.contains(AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS) {
            SignedAmount::new(-credits_minus_debits)
        } else {
            SignedAmount::new(credits_minus_debits)
        }
    }

    /// What can still be moved out of the limited side: `balance` plus the overdraft limit less what is pending on that side.
    #[must_use]
    pub fn available(&self, flags: AccountFlags, overdraft_limit: Amount) -> SignedAmount {
        let pending = if flags.contains(AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS) {
            self.credits_pending
        } else {
            self.debits_pending
        };
        SignedAmount::new(
            self.balance(flags).minor_units() + signed(overdraft_limit) - signed(pending),
        )
    }
}

fn signed(amount: Amount) -> i128 {
    // An amount is below 2^96, so the sign bit is free.
    amount.minor_units() as i128
}

/// One account as it lives in memory: its content, its balances, and where its metadata is journaled.
///
/// Metadata and external id are not resident: only the positions of the records that hold them are, and the digest of the metadata, to compare a
/// retry with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub id: AccountId,
    /// Its four balances.
    pub balances: Balances,
    /// The caller's own reference.
    pub user_data_128: u128,
    /// How far the limited side may go beyond the other; zero unless one side is limited.
    pub overdraft_limit: Amount,
    /// The caller's own reference.
    pub user_data_64: u64,
    /// When it was created.
    pub timestamp: Timestamp,
    /// How many commands have changed it.
    pub version: u64,
    /// The digest of its metadata; 0 without metadata.
    pub metadata_digest: u64,
    /// Where its metadata stands in the journal; [`JournalSeq::NONE`] without metadata.
    pub metadata_seq: JournalSeq,
    /// Where its external id stands in the journal, which is where it was created; [`JournalSeq::NONE`] without one.
    pub external_id_seq: JournalSeq,
    /// The caller's own reference.
    pub user_data_32: u32,
    /// The ledger that its amounts are counted in.
    pub ledger: LedgerId,
    /// What kind of account it is, to the caller.
    pub code: Code,
    /// Its limits and properties.
    pub flags: AccountFlags,
}

/// An account's balances and version just after a command that touched it.
///
/// Journaled with the command, so that replay can assert it and the store and the cache can copy it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountAfter {
    /// Which account.
    pub id: AccountId,
    /// Its ledger.
    pub ledger: LedgerId,
    /// Its flags after the command.
    pub flags: AccountFlags,
    /// Its overdraft limit after the command.
    pub overdraft_limit: Amount,
    /// Its version after the command.
    pub version: u64,
    /// Its balances after the command.
    pub balances: Balances,
}

impl Account {
    /// The account as the command at `seq` created it.
    #[must_use]
    pub fn created(seq: JournalSeq, created: &AccountCreated) -> Account {
        let seq_if = |said: bool| if said { seq } else { JournalSeq::NONE };
        Account {
            id: created.id,
            balances: Balances::default(),
            user_data_128: created.user_data_128,
            overdraft_limit: created.overdraft_limit,
            user_data_64: created.user_data_64,
            timestamp: created.timestamp,
            version: 0,
            metadata_digest: metadata_digest(created.metadata.as_ref()),
            metadata_seq: seq_if(created.metadata.is_some()),
            external_id_seq: seq_if(created.external_id.is_some()),
            user_data_32: created.user_data_32,
            ledger: created.ledger,
            code: created.code,
            flags: created.flags,
        }
    }

    /// The part of the account that commands change.
    #[must_use]
    pub fn after(&self) -> AccountAfter {
        AccountAfter {
            id: self.id,
            ledger: self.ledger,
            flags: self.flags,
            overdraft_limit: self.overdraft_limit,
            version: self.version,
            balances: self.balances,
        }
    }

    /// The account's share of the state hash: XXH3-64 of its fields in a fixed order. Part of the durable format.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        let mut fields = FixedFields::<164>::new();
        fields
            .put(self.id.0.to_le_bytes())
            .put(self.balances.debits_pending.to_le_bytes())
            .put(self.balances.debits_posted.to_le_bytes())
            .put(self.balances.credits_pending.to_le_bytes())
            .put(self.balances.credits_posted.to_le_bytes())
            .put(self.overdraft_limit.to_le_bytes())
            .put(self.user_data_128.to_le_bytes())
            .put(self.user_data_64.to_le_bytes())
            .put(self.user_data_32.to_le_bytes())
            .put(self.timestamp.0.to_le_bytes())
            .put(self.version.to_le_bytes())
            .put(self.metadata_digest.to_le_bytes())
            .put(self.metadata_seq.0.to_le_bytes())
            .put(self.ledger.0.to_le_bytes())
            .put(self.code.0.to_le_bytes())
            .put(self.flags.bits().to_le_bytes());
        // Accounts without one have the hash that they had before there were external ids.
        if self.external_id_seq != JournalSeq::NONE {
            fields.put(self.external_id_seq.0.to_le_bytes());
        }
        fields.hash()
    }
}
