//! The pure rules of the ledger.
//!
//! A state machine without clock, I/O, async, randomness or dependence on hash order: what it decides follows from the
//! commands, their order and the timestamps it is given, so that replaying a journal gives the same state.

mod account;
mod amount;
mod command;
mod ids;
mod ledger;
mod record;
mod rejection;
mod transfer;

pub use account::{Account, AccountAfter, AccountFlags, Balances};
pub use amount::{Amount, AmountInput, AmountTextError, MajorUnits, Scale, SignedAmount};
pub use command::{
    Command, CreateAccount, CreateLedger, CreateTransaction, CreateTransfer, OpenAccount,
};
pub use ids::{AccountId, Code, JournalSeq, LedgerId, Timestamp, TransferId};
pub use ledger::{Ledger, LedgerTotals, ledger_state_hash};
pub use record::{
    AccountCreated, Decision, Event, IdBurned, ItemOutcome, Key, KeyUse, LedgerAfter, Record,
    TransferPosted,
};
pub use rejection::{Field, Rejection, RejectionNumberError};
pub use transfer::{
    Metadata, Transaction, Transfer, TransferFlags, metadata_digest, transaction_digest,
};
