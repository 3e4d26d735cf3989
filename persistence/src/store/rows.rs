//! What is read back from the store, whatever database it is.

use std::sync::Arc;

use florin_engine::{
    Account, AccountFlags, AccountId, Amount, Balances, JournalSeq, Ledger, LedgerTotals,
    Timestamp, Transaction, Transfer,
};

/// A transfer and where it was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTransfer {
    /// The transfer.
    pub transfer: Transfer,
    /// The position of its command.
    pub seq: JournalSeq,
}

/// An account as of the snapshot, with its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAccount {
    /// The account.
    pub account: Account,
    /// Its metadata as JSON text.
    pub metadata: Option<Arc<str>>,
    /// The position of the command that created it.
    pub seq: JournalSeq,
}

/// A ledger and its totals as of the snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLedger {
    /// The ledger.
    pub ledger: Ledger,
    /// The sums over its accounts.
    pub totals: LedgerTotals,
    /// The position of the command that created it.
    pub seq: JournalSeq,
}

/// A transaction and where it was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTransaction {
    /// The transaction.
    pub transaction: Transaction,
    /// The position of its command.
    pub seq: JournalSeq,
}

/// An account as one command left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BalanceAt {
    /// Which account.
    pub account: AccountId,
    /// The position of the command.
    pub seq: JournalSeq,
    /// The time of the command.
    pub timestamp: Timestamp,
    /// The account's flags after it.
    pub flags: AccountFlags,
    /// The account's overdraft limit after it.
    pub overdraft_limit: Amount,
    /// The account's version after it.
    pub version: u64,
    /// The account's balances after it.
    pub balances: Balances,
}

/// Where the store stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// All rows together are those of the commands up to here.
    pub seq: JournalSeq,
    /// The hash of the journal frame that ends there.
    pub frame_hash: [u8; 16],
    /// The time of the command there.
    pub timestamp: Timestamp,
    /// Which claim of writing the store was opened under.
    pub epoch: u64,
}
