//! The pure rules of the ledger.
//!
//! A state machine without clock, I/O, async, randomness or dependence on hash order: what it decides follows from the
//! commands, their order and the timestamps it is given, so that replaying a journal gives the same state.

mod account;
mod accounts;
mod amount;
mod apply;
mod asking;
mod canonical;
mod command;
mod condition;
mod decide;
mod decided;
mod external;
mod fixed;
mod ids;
mod ledger;
mod moments;
mod moved;
mod parted;
mod pending;
mod record;
mod rejection;
mod state;
mod status;
mod transfer;

pub use account::{Account, AccountAfter, AccountFlags, Balances};
pub use amount::{Amount, AmountInput, AmountTextError, MajorUnits, Scale, SignedAmount};
pub use asking::{Asked, Asking};
pub use canonical::canonical_number;
pub use command::{
    Command, CreateAccount, CreateLedger, CreateTransaction, CreateTransfer, ExpirePending,
    OpenAccount, ReplaceMetadata, ReverseTransaction, ReverseTransfer, SetOverdraftLimit, Settle,
};
pub use condition::{Comparison, Condition, Expected, SignedInput};
pub use decide::{Unreadable, WHOLE_TRANSACTION};
pub use decided::{
    ASKED_AHEAD, Decided, DecidedBefore, DecidedKind, DecidedSpace, Forgotten, NothingBefore,
    Settlement,
};
pub use external::{ExternalId, ExternalIdError};
pub use ids::{AccountId, Code, JournalSeq, LedgerId, Timestamp, TransferId};
pub use ledger::{Ledger, LedgerTotals, ledger_state_hash};
pub use pending::PendingTransfer;
pub use record::{
    AccountCreated, CommandKey, Decision, Event, IdBurned, ItemOutcome, Key, KeyRule, KeyUse,
    LedgerAfter, MetadataReplaced, OverdraftLimitChanged, Record, Rehearsed, TransferExpired,
    TransferPosted, Verdict,
};
pub use rejection::{Field, Rejection, RejectionNumberError};
pub use state::{LedgerState, ReplayError, RestoreError, State, StateHeader};
pub use status::TransferStatus;
pub use transfer::{
    Inherited, Metadata, Transaction, Transfer, TransferFlags, metadata_digest, transaction_digest,
};
