//! A ledger: one currency or asset, and the totals of its accounts.

use xxhash_rust::xxh3::xxh3_64;

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

/// A ledger's share of the state hash: XXH3-64 of its fields and totals in a fixed order, its texts as their own XXH3-64.
/// Part of the durable format.
#[must_use]
pub fn ledger_state_hash(ledger: &Ledger, totals: &LedgerTotals) -> u64 {
    let mut bytes = [0_u8; 69];
    let mut at = 0;
    let mut put = |field: &[u8]| {
        bytes[at..at + field.len()].copy_from_slice(field);
        at += field.len();
    };
    put(&ledger.id.0.to_le_bytes());
    put(&[ledger.scale.digits()]);
    put(&totals.accounts.to_le_bytes());
    put(&totals.posted.to_le_bytes());
    put(&totals.pending.to_le_bytes());
    put(&xxh3_64(ledger.currency.as_bytes()).to_le_bytes());
    put(&xxh3_64(ledger.name.as_bytes()).to_le_bytes());
    put(&ledger.timestamp.0.to_le_bytes());
    let length = at;
    xxh3_64(&bytes[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_its_part_in_the_state_hash() {
        let ledger = Ledger {
            id: LedgerId(1),
            currency: "USD".to_owned(),
            scale: Scale::try_new(2).unwrap(),
            name: "US dollars".to_owned(),
            timestamp: Timestamp(7),
        };
        let totals = LedgerTotals { accounts: 3, posted: 1000, pending: 20 };
        let hash = ledger_state_hash(&ledger, &totals);
        // Part of the durable format: a snapshot made today is compared with it after years.
        assert_eq!(hash, 1_845_949_149_586_999_279);
        let ledgers = [
            Ledger { id: LedgerId(2), ..ledger.clone() },
            Ledger { currency: "EUR".to_owned(), ..ledger.clone() },
            Ledger { scale: Scale::try_new(3).unwrap(), ..ledger.clone() },
            Ledger { name: "dollars".to_owned(), ..ledger.clone() },
            Ledger { timestamp: Timestamp(8), ..ledger.clone() },
        ];
        for other in ledgers {
            assert_ne!(ledger_state_hash(&other, &totals), hash, "{other:?}");
        }
        let all_totals = [
            LedgerTotals { accounts: 4, ..totals },
            LedgerTotals { posted: 1001, ..totals },
            LedgerTotals { pending: 21, ..totals },
        ];
        for other in all_totals {
            assert_ne!(ledger_state_hash(&ledger, &other), hash, "{other:?}");
        }
    }
}
