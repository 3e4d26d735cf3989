//! What is read back from the store, whatever database it is.

use std::sync::Arc;

use florin_engine::{
    Account, AccountFlags, AccountId, Amount, Balances, Code, ExternalId, JournalSeq, Ledger,
    LedgerTotals, Metadata, Settlement, Timestamp, Transaction, Transfer, TransferId,
    TransferStatus,
};

use super::filter::Side;

/// A transfer and where it was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTransfer {
    /// The transfer.
    pub transfer: Transfer,
    /// The position of its command.
    pub seq: JournalSeq,
    /// What became of it, if it was pending and is not open.
    pub settlement: Option<Settlement>,
    /// The transfer that reversed it.
    pub reversed_by: Option<TransferId>,
}

impl StoredTransfer {
    /// How it stands.
    #[must_use]
    pub fn status(&self) -> TransferStatus {
        TransferStatus::of(&self.transfer, self.settlement)
    }
}

/// An account as of the snapshot, with its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAccount {
    /// The account.
    pub account: Account,
    /// Its metadata as JSON text.
    pub metadata: Option<Arc<str>>,
    /// The text that its id stands for, if it was created by one.
    pub external_id: Option<ExternalId>,
    /// The position of the command that created it.
    pub seq: JournalSeq,
}

/// What is said of an account in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountWords {
    /// Its metadata.
    pub metadata: Option<Metadata>,
    /// The text that its id stands for, if it was created by one.
    pub external_id: Option<ExternalId>,
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

/// The accounts of one code whose posted debits exceed their credits, or of one whose do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeTotals {
    /// The code.
    pub code: Code,
    /// Whether debits exceed credits.
    pub side: Side,
    /// How many accounts.
    pub accounts: u64,
    /// The sum of their pending debits, in minor units like the others.
    pub debits_pending: u128,
    /// The sum of their posted debits.
    pub debits_posted: u128,
    /// The sum of their pending credits.
    pub credits_pending: u128,
    /// The sum of their posted credits.
    pub credits_posted: u128,
}

/// A ledger with the sums of its accounts by code, at most two for each: in the order of codes, [`Side::Credit`] before [`Side::Debit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerByCode {
    /// The ledger.
    pub stored: StoredLedger,
    /// The sums.
    pub codes: Vec<CodeTotals>,
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

/// What a store holds beyond a position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beyond {
    /// Transfers decided after it.
    pub transfers: u64,
    /// Accounts created after it.
    pub accounts: u64,
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
    /// The store has the history from here on: [`JournalSeq::FIRST`], unless it was lost and what came before could not be brought back.
    pub history_from: JournalSeq,
    /// Whether a rebuild was begun and has not ended: then nothing in the store means anything yet.
    pub is_rebuilding: bool,
}

impl Checkpoint {
    /// Where a store stands that has nothing and that nobody has claimed.
    pub const NOTHING: Checkpoint = Checkpoint {
        seq: JournalSeq::NONE,
        frame_hash: [0; 16],
        timestamp: Timestamp(0),
        epoch: 0,
        history_from: JournalSeq::FIRST,
        is_rebuilding: false,
    };
}
