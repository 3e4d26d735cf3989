//! What can be asked of the ledger.

use crate::account::AccountFlags;
use crate::amount::{Amount, AmountInput, Scale};
use crate::condition::Condition;
use crate::external::ExternalId;
use crate::ids::{AccountId, Code, LedgerId, Timestamp, TransferId};
use crate::transfer::{Metadata, Transaction, Transfer, TransferFlags};

/// One request: decided as a whole, journaled as one record, at one position.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Open a ledger.
    CreateLedger(CreateLedger),
    /// Create accounts in order; linked ones all or none, the others each by itself.
    CreateAccounts(Vec<CreateAccount>),
    /// Create transfers in order; linked ones all or none, the others each by itself.
    CreateTransfers(Vec<CreateTransfer>),
    /// Create transfers of which all happen or none does.
    CreateTransaction(CreateTransaction),
    /// Create an account together with its opening balance.
    OpenAccount(OpenAccount),
    /// Release what pending transfers reserved whose time is over.
    ExpirePending(ExpirePending),
    /// Move back what a transfer moved.
    ReverseTransfer(Box<ReverseTransfer>),
    /// Move back what all legs of a transaction moved, or nothing.
    ReverseTransaction(Box<ReverseTransaction>),
    /// Give an account another overdraft limit.
    SetOverdraftLimit(SetOverdraftLimit),
    /// Give an account other metadata.
    ReplaceMetadata(ReplaceMetadata),
}

impl Command {
    /// How many events the command asks for: what admission counts, and how far it advances the clock.
    #[must_use]
    pub fn events(&self) -> usize {
        match self {
            Command::CreateLedger(_) => 1,
            Command::CreateAccounts(accounts) => accounts.len(),
            Command::CreateTransfers(transfers) => transfers.len(),
            // One for the transaction itself, which is decided with its first leg.
            Command::CreateTransaction(transaction) => transaction.transfers.len() + 1,
            // The opening account, when it is the ledger's first, the account and its opening transfer.
            Command::OpenAccount(_) => 3,
            Command::ExpirePending(expire) => expire.limit as usize,
            Command::ReverseTransaction(reverse) => reverse.legs.len() + 1,
            Command::ReverseTransfer(_)
            | Command::SetOverdraftLimit(_)
            | Command::ReplaceMetadata(_) => 1,
        }
    }
}

/// Open a ledger for a currency or asset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateLedger {
    /// Its name in later commands.
    pub id: LedgerId,
    /// ISO-4217 or free code.
    pub currency: String,
    /// Digits after the point.
    pub scale: Scale,
    /// What people call it.
    pub name: String,
}

/// Create one account.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateAccount {
    /// Its name.
    pub id: AccountId,
    /// The text that its id stands for, if the caller named it by one.
    pub external_id: Option<ExternalId>,
    /// The ledger that its amounts are counted in.
    pub ledger: LedgerId,
    /// What kind of account it is, to the caller.
    pub code: Code,
    /// Its limits and properties.
    pub flags: AccountFlags,
    /// How far the limited side may go beyond the other.
    pub overdraft_limit: AmountInput,
    /// The caller's own reference.
    pub user_data_128: u128,
    /// The caller's own reference.
    pub user_data_64: u64,
    /// The caller's own reference.
    pub user_data_32: u32,
    /// When an imported account was created, in the past; 0 for all others.
    pub timestamp: Timestamp,
    /// The caller's own words about it.
    pub metadata: Option<Metadata>,
}

impl CreateAccount {
    /// An account of ledger 1 and code 1 without limits.
    #[must_use]
    pub fn new(id: AccountId) -> CreateAccount {
        CreateAccount {
            id,
            external_id: None,
            ledger: LedgerId(1),
            code: Code(1),
            flags: AccountFlags::empty(),
            overdraft_limit: AmountInput::ZERO,
            user_data_128: 0,
            user_data_64: 0,
            user_data_32: 0,
            timestamp: Timestamp(0),
            metadata: None,
        }
    }
}

/// Move money from one account to another.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateTransfer {
    /// Its name, decided once for ever.
    pub id: TransferId,
    /// The text that its id stands for, if the caller named it by one.
    pub external_id: Option<ExternalId>,
    /// The account that gives.
    pub debit_account_id: AccountId,
    /// The account that receives.
    pub credit_account_id: AccountId,
    /// How much. [`Amount::MAX`](crate::Amount::MAX) posts all that is pending, and balances as much as possible.
    pub amount: AmountInput,
    /// The ledger of both accounts; that of the debit account when absent.
    pub ledger: Option<LedgerId>,
    /// What kind of transfer it is, to the caller.
    pub code: Code,
    /// How it is decided.
    pub flags: TransferFlags,
    /// The pending transfer that it posts or voids; 0 for all others. What a post or void leaves open, with zero or absent, is that one's.
    pub pending_id: TransferId,
    /// Seconds until a pending transfer expires; 0 for never, and for all others.
    pub timeout: u32,
    /// The caller's own reference.
    pub user_data_128: u128,
    /// The caller's own reference.
    pub user_data_64: u64,
    /// The caller's own reference.
    pub user_data_32: u32,
    /// When it took effect outside.
    pub effective_at: Option<Timestamp>,
    /// When an imported transfer was decided, in the past; 0 for all others.
    pub timestamp: Timestamp,
    /// The caller's own words about it.
    pub metadata: Option<Metadata>,
    /// What must hold for it to happen.
    pub conditions: Vec<Condition>,
}

impl CreateTransfer {
    /// A single-phase transfer of code 1 in the debit account's ledger.
    #[must_use]
    pub fn new(
        id: TransferId,
        debit_account_id: AccountId,
        credit_account_id: AccountId,
        amount: AmountInput,
    ) -> CreateTransfer {
        CreateTransfer {
            id,
            external_id: None,
            debit_account_id,
            credit_account_id,
            amount,
            ledger: None,
            code: Code(1),
            flags: TransferFlags::empty(),
            pending_id: TransferId(0),
            timeout: 0,
            user_data_128: 0,
            user_data_64: 0,
            user_data_32: 0,
            effective_at: None,
            timestamp: Timestamp(0),
            metadata: None,
            conditions: Vec::new(),
        }
    }
}

/// Create several transfers of which all happen or none does.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateTransaction {
    /// Its name, in the transfers' id space.
    pub id: TransferId,
    /// The text that its id stands for, if the caller named it by one.
    pub external_id: Option<ExternalId>,
    /// Its legs in order, with their ids: [`TransferId::of_leg`] for those that the caller named none for.
    pub transfers: Vec<CreateTransfer>,
    /// The caller's own words about it.
    pub metadata: Option<Metadata>,
    /// What must hold before its first leg for it to happen.
    pub conditions: Vec<Condition>,
}

/// How all pending legs of a transaction are settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// Each is posted in full.
    Post,
    /// Each is voided.
    Void,
}

impl CreateTransaction {
    /// The transaction that settles all pending ones of these `legs` of another transaction, or none. Where no leg is pending it names them
    /// all, and is refused for that.
    #[must_use]
    pub fn settling(id: TransferId, legs: &[Transfer], settle: Settle) -> CreateTransaction {
        let (flag, all) = match settle {
            Settle::Post => (TransferFlags::POST_PENDING_TRANSFER, Amount::MAX),
            Settle::Void => (TransferFlags::VOID_PENDING_TRANSFER, Amount::ZERO),
        };
        let is_pending = |leg: &&Transfer| leg.flags.contains(TransferFlags::PENDING);
        let some_are = legs.iter().any(|leg| is_pending(&leg));
        let settled = legs.iter().filter(|leg| !some_are || is_pending(leg));
        let transfers = settled.zip(0_u32..).map(|(leg, index)| CreateTransfer {
            code: Code(0),
            flags: flag,
            pending_id: leg.id,
            ..CreateTransfer::new(
                TransferId::of_leg(id, index),
                AccountId(0),
                AccountId(0),
                AmountInput::Minor(all),
            )
        });
        let (external_id, metadata, conditions) = (None, None, Vec::new());
        CreateTransaction { id, external_id, transfers: transfers.collect(), metadata, conditions }
    }
}

/// Create an account that can not be overdrawn, its opening balance coming from the ledger's opening account.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenAccount {
    /// The account.
    pub account: CreateAccount,
    /// Its opening balance.
    pub balance: AmountInput,
}

/// Release what pending transfers reserved whose time is over, those that are due first before the others.
///
/// Asked by the shard, not by a caller: when, [`State::next_expiry`](crate::State::next_expiry) tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpirePending {
    /// The most transfers that this command lets expire: bounds how long it keeps others waiting, and its record.
    pub limit: u32,
}

/// Move back what a transfer moved, by a new transfer that names it. A transfer is reversed once.
#[derive(Clone, Debug, PartialEq)]
pub struct ReverseTransfer {
    /// The name of the new transfer.
    pub id: TransferId,
    /// The text that its id stands for, if the caller named it by one.
    pub external_id: Option<ExternalId>,
    /// The transfer to reverse, as it was decided: it never changes, so it can be read from journal or store before. What is not the content
    /// that its id was decided for is refused; what a post took over from its pending transfer is part of that content by being left open.
    pub original: Transfer,
    /// The caller's own reference.
    pub user_data_128: u128,
    /// The caller's own reference.
    pub user_data_64: u64,
    /// The caller's own reference.
    pub user_data_32: u32,
    /// When it took effect outside.
    pub effective_at: Option<Timestamp>,
    /// The caller's own words about it.
    pub metadata: Option<Metadata>,
    /// What must hold for it to happen.
    pub conditions: Vec<Condition>,
}

/// Move back what all legs of a transaction moved, by a new transaction whose legs reverse them, the last one first.
#[derive(Clone, Debug, PartialEq)]
pub struct ReverseTransaction {
    /// The name of the new transaction; its legs' ids are [`TransferId::of_leg`].
    pub id: TransferId,
    /// The text that its id stands for, if the caller named it by one.
    pub external_id: Option<ExternalId>,
    /// The transaction to reverse, as it was decided.
    pub original: Transaction,
    /// Its legs, as they were decided, in order.
    pub legs: Vec<Transfer>,
    /// The caller's own words about it.
    pub metadata: Option<Metadata>,
    /// What must hold before its first leg for it to happen.
    pub conditions: Vec<Condition>,
}

/// Give an account another overdraft limit. One below what is used stops further use, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SetOverdraftLimit {
    /// The account.
    pub account_id: AccountId,
    /// How far its limited side may go beyond the other from now on.
    pub overdraft_limit: AmountInput,
}

/// Give an account other metadata, or none.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplaceMetadata {
    /// The account.
    pub account_id: AccountId,
    /// The caller's own words about it from now on.
    pub metadata: Option<Metadata>,
}
