//! A ledger: one currency or asset, and the totals of its accounts.

use xxhash_rust::xxh3::Xxh3;

use crate::amount::Scale;
use crate::ids::{LedgerId, Timestamp};

/// A currency or asset book. Accounts of different ledgers never transfer directly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Its name in commands.
    pub id: LedgerId,
    /// ISO-4217 or free code: 1 to 16 of `A-Z a-z 0-9 . _ -`.
    pub currency: String,
    /// Digits after the point.
    pub scale: Scale,
    /// What people call it; at most 128 characters.
    pub name: String,
    /// When it was created.
    pub timestamp: Timestamp,
}

/// The sums over all accounts of a ledger.
///
/// Every transfer debits one account by what it credits another, so one figure is both the sum of debits and that of credits:
/// recovery and `verify` add the accounts up and compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerTotals {
    /// How many accounts the ledger has.
    pub accounts: u64,
    /// Minor units posted: the sum of debits, and the sum of credits.
    pub posted: u128,
    /// Minor units pending: the sum of debits, and the sum of credits.
    pub pending: u128,
}

/// A ledger's share of the state hash: XXH3-64 of its content and totals in a fixed order. Part of the durable format.
#[must_use]
pub fn ledger_state_hash(ledger: &Ledger, totals: &LedgerTotals) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&ledger.id.0.to_le_bytes());
    hasher.update(&[ledger.scale.digits()]);
    hasher.update(&totals.accounts.to_le_bytes());
    hasher.update(&totals.posted.to_le_bytes());
    hasher.update(&totals.pending.to_le_bytes());
    hasher.update(&(ledger.currency.len() as u32).to_le_bytes());
    hasher.update(ledger.currency.as_bytes());
    hasher.update(&(ledger.name.len() as u32).to_le_bytes());
    hasher.update(ledger.name.as_bytes());
    hasher.update(&ledger.timestamp.0.to_le_bytes());
    hasher.digest()
}
