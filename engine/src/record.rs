//! What was decided: the events of one command, complete enough to replay it, to store it and to answer it again.

use crate::account::{Account, AccountAfter, AccountFlags};
use crate::amount::Amount;
use crate::asking::Asked;
use crate::command::Command;
use crate::decided::{Decided, DecidedKind, Settlement};
use crate::external::ExternalId;
use crate::ids::{AccountId, Code, JournalSeq, LedgerId, Timestamp, TransferId};
use crate::ledger::{Ledger, LedgerTotals};
use crate::rejection::Rejection;
use crate::transfer::{Metadata, Transaction, Transfer, transaction_digest};

/// What one command decided. Its position is given by where it stands in the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The timestamp of the command's first event; the event at index `i` of a batch has `timestamp + i`.
    pub timestamp: Timestamp,
    /// How many events the command asked for: its timestamps are `timestamp .. timestamp + asked`.
    pub asked: u32,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// The accounts that transfers of this command touched, in the order in which they were first touched, as they are after it.
    pub accounts: Vec<AccountAfter>,
    /// The ledgers whose totals changed, as they are after the command.
    pub ledgers: Vec<LedgerAfter>,
    /// The idempotency key that the command came with, and what else is needed to answer it again.
    pub key: Option<KeyUse>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A ledger was opened.
    LedgerCreated(Ledger),
    /// An account was created.
    AccountCreated(AccountCreated),
    /// Money moved, was reserved, or a reservation was settled: which of them, the transfer's flags say.
    TransferPosted(TransferPosted),
    /// The legs that follow, `transfers` of them, all happened.
    TransactionCreated(Transaction),
    /// A transient rejection used up this id for ever.
    IdBurned(IdBurned),
    /// The time of a pending transfer was over: what it reserved is released.
    TransferExpired(TransferExpired),
    /// An account got another overdraft limit.
    OverdraftLimitChanged(OverdraftLimitChanged),
    /// An account got other metadata.
    MetadataReplaced(MetadataReplaced),
}

/// An account as it begins: its content, with its amounts resolved, and no money.
#[derive(Clone, Debug, PartialEq)]
pub struct AccountCreated {
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
    pub overdraft_limit: Amount,
    /// The caller's own reference.
    pub user_data_128: u128,
    /// The caller's own reference.
    pub user_data_64: u64,
    /// The caller's own reference.
    pub user_data_32: u32,
    /// When it was created.
    pub timestamp: Timestamp,
    /// The caller's own words about it.
    pub metadata: Option<Metadata>,
}

/// A movement and where its two accounts stand in [`Record::accounts`].
#[derive(Clone, Debug, PartialEq)]
pub struct TransferPosted {
    /// What moved.
    pub transfer: Transfer,
    /// Index of the debit account in [`Record::accounts`].
    pub debit_account: u32,
    /// Index of the credit account in [`Record::accounts`].
    pub credit_account: u32,
}

/// A pending transfer that expired, and where its two accounts stand in [`Record::accounts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferExpired {
    /// The pending transfer.
    pub id: TransferId,
    /// Index of the debit account in [`Record::accounts`].
    pub debit_account: u32,
    /// Index of the credit account in [`Record::accounts`].
    pub credit_account: u32,
    /// How much was released.
    pub amount: Amount,
    /// When.
    pub timestamp: Timestamp,
}

/// Another overdraft limit, and where the account stands in [`Record::accounts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverdraftLimitChanged {
    /// Index of the account in [`Record::accounts`].
    pub account: u32,
    /// The limit before.
    pub before: Amount,
    /// The limit from now on.
    pub overdraft_limit: Amount,
    /// When.
    pub timestamp: Timestamp,
}

/// Other metadata, and where the account stands in [`Record::accounts`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataReplaced {
    /// Index of the account in [`Record::accounts`].
    pub account: u32,
    /// Where the metadata before stands in the journal; [`JournalSeq::NONE`] where there was none.
    pub before: JournalSeq,
    /// The digest of the metadata before; 0 where there was none.
    pub digest_before: u64,
    /// The metadata from now on.
    pub metadata: Option<Metadata>,
    /// When.
    pub timestamp: Timestamp,
}

/// An id that is refused for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdBurned {
    /// The id.
    pub id: TransferId,
    /// Which rejection burned it: [`Rejection::number`].
    pub rejection: u16,
    /// When.
    pub timestamp: Timestamp,
}

/// A ledger's totals just after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerAfter {
    /// Which ledger.
    pub id: LedgerId,
    /// Its totals after the command.
    pub totals: LedgerTotals,
}

/// The use of an idempotency key.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyUse {
    /// The key and what it was used for.
    pub key: Key,
    /// The items of the command that were not created, by index: with them the first answer is made again.
    pub exceptions: Vec<(u32, ItemOutcome)>,
}

/// An idempotency key as the ledger remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The digest of the key's text, 128 bits.
    pub hash: u128,
    /// The digest of method, path and content.
    pub fingerprint: u64,
}

/// The key that a command comes with, and when it counts as used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandKey {
    /// The key.
    pub key: Key,
    /// When it is used up.
    pub rule: KeyRule,
}

/// When a command uses up its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRule {
    /// Only if nothing in it was refused: a request for one thing, whose refusal leaves the key free.
    Accepted,
    /// In any case: a batch, which is answered as a whole.
    Always,
}

/// What became of one item of a command, where it was not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemOutcome {
    /// It exists already with the same content.
    Exists {
        /// Where it was decided; for accounts and ledgers, the position that the answer depends on.
        seq: JournalSeq,
        /// When it was created.
        timestamp: Timestamp,
    },
    /// Its id was decided at this position for other content; which field differs is found by reading it there, with
    /// [`Asking::first_difference`](crate::Asking::first_difference). Where none does, it exists: a balancing transfer, a post or a void can ask for the
    /// same in other words.
    Differs {
        /// Where it was decided.
        seq: JournalSeq,
    },
    /// The rules refuse it.
    Rejected(Rejection),
    /// It would post or void a transfer that was settled before. Which refusal that is depends on what it names of that transfer:
    /// [`Asking::refused_as_settled`](crate::Asking::refused_as_settled) finds it by reading the transfer.
    Settled {
        /// Where the pending transfer was decided.
        seq: JournalSeq,
        /// How it ended.
        settlement: Settlement,
    },
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It was decided now.
    Decided(Decision),
    /// Its key was used for the same before: the answer is that of the record at `seq`.
    Replay {
        /// Where the first use stands.
        seq: JournalSeq,
        /// What was asked for, now as then.
        command: Box<Command>,
    },
    /// Its key was used for something else before.
    KeyReused {
        /// Where the first use stands.
        seq: JournalSeq,
    },
}

/// What a command would come to, if it were decided now. Its record is for showing what would happen, and must never be journaled.
#[derive(Clone, Debug, PartialEq)]
pub struct Rehearsed(pub Decision);

/// What was decided about a command: for whom to answer, and for the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The timestamp of the command's first event.
    pub timestamp: Timestamp,
    /// How many items the command had.
    pub items: u32,
    /// The items that were not created, by index in order.
    pub exceptions: Vec<(u32, ItemOutcome)>,
    /// What was asked for by the items whose outcome is [`ItemOutcome::Differs`] or [`ItemOutcome::Settled`], to find the answer with.
    pub asked: Vec<(u32, Asked)>,
    /// What to journal; `None` where nothing happened.
    pub record: Option<Record>,
    /// The account that the command changed beside transfers, as it is after it: more than the record tells of it.
    pub account: Option<Box<Account>>,
}

impl Record {
    /// Gives each id, key and end of a transfer that this record, standing at `seq`, decided for ever, in order. Which of them, and so in which
    /// space, its kind says.
    pub fn each_decided(&self, seq: JournalSeq, mut give: impl FnMut(u128, Decided)) {
        for (index, event) in self.events.iter().enumerate() {
            match event {
                Event::TransferPosted(TransferPosted { transfer, .. }) => {
                    let (digest, timestamp) = (transfer.content_digest(), transfer.timestamp);
                    let kind = DecidedKind::Transfer;
                    give(transfer.id.0, Decided { seq, digest, timestamp, kind });
                    if let Some((ended_id, kind)) = transfer.ends() {
                        give(ended_id.0, Decided::ended(seq, timestamp, kind, transfer.ledger));
                    }
                }
                Event::TransactionCreated(transaction) => {
                    let following = self.events[index + 1..].iter();
                    let legs = following.take(transaction.transfers as usize);
                    let legs = legs.filter_map(|event| match event {
                        Event::TransferPosted(TransferPosted { transfer, .. }) => {
                            Some((transfer.id, transfer.content_digest()))
                        }
                        _ => None,
                    });
                    let digest = transaction_digest(transaction.metadata.as_ref(), legs);
                    let (timestamp, kind) = (transaction.timestamp, DecidedKind::Transaction);
                    give(transaction.id.0, Decided { seq, digest, timestamp, kind });
                }
                Event::IdBurned(burned) => {
                    let (timestamp, kind) = (burned.timestamp, DecidedKind::Burned);
                    give(burned.id.0, Decided { seq, digest: 0, timestamp, kind });
                }
                Event::TransferExpired(TransferExpired {
                    id, timestamp, debit_account, ..
                }) => {
                    let ledger = self.accounts[*debit_account as usize].ledger;
                    let kind = DecidedKind::Expired;
                    give(id.0, Decided::ended(seq, *timestamp, kind, ledger));
                }
                Event::LedgerCreated(_)
                | Event::AccountCreated(_)
                | Event::OverdraftLimitChanged(_)
                | Event::MetadataReplaced(_) => {}
            }
        }
        if let Some(KeyUse { key, .. }) = &self.key {
            let kind = DecidedKind::Key;
            let timestamp = self.timestamp;
            give(key.hash, Decided { seq, digest: key.fingerprint, timestamp, kind });
        }
    }
}

impl Event {
    /// The metadata that this event brought.
    #[must_use]
    pub fn metadata(&self) -> Option<&Metadata> {
        match self {
            Event::AccountCreated(created) => created.metadata.as_ref(),
            Event::TransferPosted(posted) => posted.transfer.metadata.as_ref(),
            Event::TransactionCreated(transaction) => transaction.metadata.as_ref(),
            Event::MetadataReplaced(replaced) => replaced.metadata.as_ref(),
            Event::LedgerCreated(_)
            | Event::IdBurned(_)
            | Event::TransferExpired(_)
            | Event::OverdraftLimitChanged(_) => None,
        }
    }
}
