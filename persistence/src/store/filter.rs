//! What lists can be asked for, whatever database answers.

use florin_engine::{
    AccountId, Amount, Code, LedgerId, Metadata, Timestamp, TransferId, TransferStatus,
};
use xxhash_rust::xxh3::Xxh3;

use super::entries::MetadataEquals;

/// The side of an account on which a transfer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The account was debited.
    Debit,
    /// The account was credited.
    Credit,
    /// Either.
    Both,
}

/// The transfers of one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfAccount {
    /// Which account.
    pub id: AccountId,
    /// On which of its sides.
    pub side: Side,
}

/// A range of time, half-open: `from` ≤ t < `to`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeRange {
    /// The first moment that is in it.
    pub from: Option<Timestamp>,
    /// The first moment after it.
    pub to: Option<Timestamp>,
}

/// Which transfers a list shows: those that match all that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransferFilter {
    /// Of this ledger.
    pub ledger: Option<LedgerId>,
    /// Of this code.
    pub code: Option<Code>,
    /// With this reference.
    pub user_data_128: Option<u128>,
    /// With this reference.
    pub user_data_64: Option<u64>,
    /// With this reference.
    pub user_data_32: Option<u32>,
    /// Decided in this range of time.
    pub time: TimeRange,
    /// That stand so when the page is read.
    pub status: Option<TransferStatus>,
    /// Whose metadata has all of this.
    pub metadata: Vec<MetadataEquals>,
    /// Of at least this amount, in minor units of their ledger. A figure means different money in each ledger, so amounts
    /// are best given with a ledger or an account; without, the list is searched row by row, a bounded number for each page.
    pub min_amount: Option<Amount>,
    /// Of at most this amount, in minor units of their ledger.
    pub max_amount: Option<Amount>,
    /// Of this account.
    pub account: Option<OfAccount>,
    /// Legs of this transaction.
    pub transaction: Option<TransferId>,
}

/// Which accounts a list shows: those that match all that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountFilter {
    /// Of this ledger.
    pub ledger: Option<LedgerId>,
    /// Of this code.
    pub code: Option<Code>,
    /// With this reference.
    pub user_data_128: Option<u128>,
    /// With this reference.
    pub user_data_64: Option<u64>,
    /// With this reference.
    pub user_data_32: Option<u32>,
    /// Created in this range of time.
    pub time: TimeRange,
    /// Whose metadata has all of this.
    pub metadata: Vec<MetadataEquals>,
}

/// Which moments of an account's history a list shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BalanceFilter {
    /// Commands in this range of time.
    pub time: TimeRange,
    /// Only the balances as they stood at this moment: after the last command that is not later.
    pub at: Option<Timestamp>,
}

/// The digest of a filter, by which a cursor knows that it is used with the filter it was made for.
///
/// Each field goes in with a mark of its own, so that the same number in two fields makes two digests.
pub(super) struct FilterDigest(Xxh3);

impl FilterDigest {
    fn new() -> FilterDigest {
        FilterDigest(Xxh3::new())
    }

    fn field(mut self, mark: u8, value: Option<u128>) -> FilterDigest {
        if let Some(value) = value {
            self.0.update(&[mark]);
            self.0.update(&value.to_le_bytes());
        }
        self
    }

    fn status(self, mark: u8, status: Option<TransferStatus>) -> FilterDigest {
        self.field(
            mark,
            status.map(|status| match status {
                TransferStatus::Posted => 0,
                TransferStatus::Pending => 1,
                TransferStatus::Voided => 2,
                TransferStatus::Expired => 3,
            }),
        )
    }

    fn metadata(mut self, mark: u8, metadata: &[MetadataEquals]) -> FilterDigest {
        for text in metadata.iter().flat_map(|equals| [&equals.key, &equals.value]) {
            self.0.update(&[mark]);
            self.0.update(&(text.len() as u64).to_le_bytes());
            self.0.update(text.as_bytes());
        }
        self
    }

    fn finish(self) -> u64 {
        self.0.digest()
    }
}

fn metadata_holds(asked: &[MetadataEquals], metadata: Option<&str>) -> bool {
    asked.iter().all(|equals| equals.holds(metadata))
}

impl TransferFilter {
    /// Whether this metadata has all that is asked of it: indexes know only digests.
    pub(super) fn metadata_holds(&self, metadata: Option<&Metadata>) -> bool {
        metadata_holds(&self.metadata, metadata.map(|metadata| &*metadata.text))
    }

    pub(super) fn digest(&self) -> u64 {
        let TransferFilter {
            ledger,
            code,
            user_data_128,
            user_data_64,
            user_data_32,
            time,
            status,
            metadata,
            min_amount,
            max_amount,
            account,
            transaction,
        } = self;
        FilterDigest::new()
            .field(1, ledger.map(|ledger| u128::from(ledger.0)))
            .field(2, code.map(|code| u128::from(code.0)))
            .field(3, *user_data_128)
            .field(4, user_data_64.map(u128::from))
            .field(5, user_data_32.map(u128::from))
            .field(6, time.from.map(|from| u128::from(from.0)))
            .field(7, time.to.map(|to| u128::from(to.0)))
            .field(8, min_amount.map(Amount::minor_units))
            .field(9, max_amount.map(Amount::minor_units))
            .field(10, account.map(|account| account.id.0))
            .field(
                11,
                account.map(|account| match account.side {
                    Side::Debit => 0,
                    Side::Credit => 1,
                    Side::Both => 2,
                }),
            )
            .field(12, transaction.map(|transaction| transaction.0))
            .status(14, *status)
            .metadata(15, metadata)
            .finish()
    }
}

impl AccountFilter {
    /// Whether this metadata has all that is asked of it: indexes know only digests.
    pub(super) fn metadata_holds(&self, metadata: Option<&str>) -> bool {
        metadata_holds(&self.metadata, metadata)
    }

    pub(super) fn digest(&self) -> u64 {
        let AccountFilter {
            ledger,
            code,
            user_data_128,
            user_data_64,
            user_data_32,
            time,
            metadata,
        } = self;
        FilterDigest::new()
            .field(1, ledger.map(|ledger| u128::from(ledger.0)))
            .field(2, code.map(|code| u128::from(code.0)))
            .field(3, *user_data_128)
            .field(4, user_data_64.map(u128::from))
            .field(5, user_data_32.map(u128::from))
            .field(6, time.from.map(|from| u128::from(from.0)))
            .field(7, time.to.map(|to| u128::from(to.0)))
            .metadata(15, metadata)
            .finish()
    }
}

impl BalanceFilter {
    pub(super) fn digest(&self, account: AccountId) -> u64 {
        let BalanceFilter { time, at } = self;
        FilterDigest::new()
            .field(6, time.from.map(|from| u128::from(from.0)))
            .field(7, time.to.map(|to| u128::from(to.0)))
            .field(10, Some(account.0))
            .field(13, at.map(|at| u128::from(at.0)))
            .finish()
    }
}
