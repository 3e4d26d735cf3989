//! Names of things and positions: each is a type of its own, and none turns into another by itself.

use xxhash_rust::xxh3::xxh3_128;

/// Names an account: 1 to 2^128−2. Zero and 2^128−1 can be held, and are rejected with their status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub u128);

/// Names a transfer or a transaction, which share one id space: 1 to 2^128−2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(pub u128);

/// Names a ledger. Zero can be held, and is rejected with its status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LedgerId(pub u32);

/// What kind of account or transfer this is, in the caller's own numbering. Zero is rejected with its status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u16);

/// Nanoseconds since 1970-01-01 UTC, below 2^63.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The moment `nanoseconds` later.
    #[must_use]
    pub const fn plus(self, nanoseconds: u64) -> Timestamp {
        Timestamp(self.0.saturating_add(nanoseconds))
    }
}

/// A position in the journal: one command, one record, one position. The first record stands at 1; 0 is "before all".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalSeq(pub u64);

impl JournalSeq {
    /// The position before the first record.
    pub const NONE: JournalSeq = JournalSeq(0);
    /// The position of the first record.
    pub const FIRST: JournalSeq = JournalSeq(1);

    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> JournalSeq {
        JournalSeq(self.0 + 1)
    }
}

impl TransferId {
    /// The id of the leg at `index` of a transaction, when the caller named none: for ever the same for the same transaction.
    #[must_use]
    pub fn of_leg(transaction: TransferId, index: u32) -> TransferId {
        TransferId(derived(b"leg", transaction.0, index))
    }

    /// The id of the transfer that carries an account's opening balance.
    #[must_use]
    pub fn of_opening(account: AccountId) -> TransferId {
        TransferId(derived(b"opening-transfer", account.0, 0))
    }
}

impl AccountId {
    /// The account from which the opening balances of a ledger come.
    #[must_use]
    pub fn of_opening(ledger: LedgerId) -> AccountId {
        AccountId(derived(b"opening-account", 0, ledger.0))
    }
}

/// A UUID of version 8 made from its parts by XXH3-128. Part of the durable format: a retry after years must derive the same id.
fn derived(purpose: &[u8], id: u128, index: u32) -> u128 {
    let mut bytes = Vec::with_capacity(purpose.len() + 20);
    bytes.extend_from_slice(purpose);
    bytes.extend_from_slice(&id.to_le_bytes());
    bytes.extend_from_slice(&index.to_le_bytes());
    uuid(xxh3_128(&bytes), 8)
}

/// The UUID of this version that has the other bits from `bits` (RFC 9562).
pub(crate) const fn uuid(bits: u128, version: u128) -> u128 {
    let version_and_variant_cleared = bits & !((0xf << 76) | (0x3 << 62));
    version_and_variant_cleared | (version << 76) | (0x2 << 62)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_are_part_of_the_format() {
        let ids = [
            TransferId::of_leg(TransferId(1), 0).0,
            TransferId::of_leg(TransferId(1), 1).0,
            TransferId::of_opening(AccountId(1)).0,
            AccountId::of_opening(LedgerId(1)).0,
        ];
        for (index, id) in ids.iter().enumerate() {
            assert_eq!(id >> 76 & 0xf, 8, "version");
            assert_eq!(id >> 62 & 0x3, 2, "variant");
            assert!(!ids[..index].contains(id));
        }
    }
}
