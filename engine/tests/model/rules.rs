//! The ledger's rules a second time, written from the reference's documentation and from what we promise beside it, and from nothing
//! of the engine but its public types: one function for each rule, in the documented order, over plain maps that are searched and
//! copied whole. What is undone is undone by going back to a copy.

mod accounts;
mod amounts;
mod transactions;
mod transfers;
mod two_phase;

use std::collections::{BTreeMap, BTreeSet};

use florin_engine::{
    AccountFlags, Command, CommandKey, CreateLedger, Field, KeyRule, Rejection, TransferFlags,
    Unreadable,
};

/// The largest amount.
pub(crate) const AMOUNT_MAX: u128 = (1 << 96) - 1;
/// The last moment.
pub(crate) const TIME_MAX: u64 = i64::MAX as u64;
/// The largest id, which is reserved.
const ID_MAX: u128 = u128::MAX;

/// All that the rules know.
#[derive(Clone, Default)]
pub(crate) struct Book {
    pub(crate) ledgers: BTreeMap<u32, Ledger>,
    pub(crate) accounts: BTreeMap<u128, Account>,
    pub(crate) transfers: BTreeMap<u128, Transfer>,
    pub(crate) transactions: BTreeMap<u128, Transaction>,
    /// Ids that a transient refusal used up.
    pub(crate) burned: BTreeSet<u128>,
    /// What idempotency keys were used for, and where.
    pub(crate) keys: BTreeMap<u128, (u64, u64)>,
    /// How many commands did something.
    pub(crate) seq: u64,
    /// The newest timestamp given out.
    pub(crate) clock: u64,
    /// Whether an event of the running command exists, but was asked for in other words.
    in_other_words: bool,
    /// What the running command did so far.
    happened: Vec<Happened>,
    /// The accounts that its transfers touched, in order.
    touched: Vec<u128>,
}

#[derive(Clone, PartialEq)]
pub(crate) struct Ledger {
    pub(crate) currency: String,
    pub(crate) scale: u8,
    pub(crate) name: String,
    pub(crate) timestamp: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Account {
    pub(crate) debits_pending: u128,
    pub(crate) debits_posted: u128,
    pub(crate) credits_pending: u128,
    pub(crate) credits_posted: u128,
    pub(crate) overdraft_limit: u128,
    pub(crate) user_data_128: u128,
    pub(crate) user_data_64: u64,
    pub(crate) user_data_32: u32,
    pub(crate) ledger: u32,
    pub(crate) code: u16,
    pub(crate) flags: AccountFlags,
    pub(crate) timestamp: u64,
    pub(crate) version: u64,
    pub(crate) metadata: u64,
    /// Which command brought the metadata; 0 for none.
    pub(crate) metadata_seq: u64,
}

/// What a transfer asks for, and which transaction it is a leg of.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Asked {
    pub(crate) id: u128,
    pub(crate) debit_account_id: u128,
    pub(crate) credit_account_id: u128,
    pub(crate) amount: u128,
    pub(crate) pending_id: u128,
    pub(crate) user_data_128: u128,
    pub(crate) user_data_64: u64,
    pub(crate) user_data_32: u32,
    pub(crate) timeout: u32,
    /// `None` where it is left open and can not be known.
    pub(crate) ledger: Option<u32>,
    pub(crate) code: u16,
    pub(crate) flags: TransferFlags,
    pub(crate) effective_at: Option<u64>,
    pub(crate) metadata: u64,
    pub(crate) leg_of: Option<u128>,
}

/// A transfer that happened.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) asked: Asked,
    pub(crate) debit_account_id: u128,
    pub(crate) credit_account_id: u128,
    pub(crate) amount: u128,
    pub(crate) user_data_128: u128,
    pub(crate) user_data_64: u64,
    pub(crate) user_data_32: u32,
    pub(crate) ledger: u32,
    pub(crate) code: u16,
    pub(crate) timestamp: u64,
    pub(crate) seq: u64,
    pub(crate) phase: Phase,
}

/// Where a transfer stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Phase {
    /// It waits for nothing.
    Single,
    Pending,
    Posted,
    Voided,
    Expired,
}

#[derive(Clone)]
pub(crate) struct Transaction {
    pub(crate) legs: Vec<Asked>,
    pub(crate) metadata: u64,
    pub(crate) timestamp: u64,
    pub(crate) seq: u64,
}

/// What became of one event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Status {
    Created,
    /// Where, for transfers and transactions, and when.
    Exists(Option<u64>, u64),
    Refused(Rejection),
}

/// What a command did, by name; what stands behind the name is found in the book.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Happened {
    Ledger(u32),
    Account(u128),
    Transfer(u128),
    Transaction(u128),
    OverdraftLimit(u128),
    Metadata(u128),
    Burned { id: u128, rejection: u16, timestamp: u64 },
    Expired { id: u128, timestamp: u64 },
}

/// What came of a command, or of the one that its key was used for.
pub(crate) enum Verdict {
    Decided(Answer),
    /// Its key was used for the same.
    Replay(u64),
    /// Its key was used for something else.
    KeyReused(u64),
}

/// What came of a command.
pub(crate) struct Answer {
    pub(crate) timestamp: u64,
    /// How many events it has; those of a transaction are its legs.
    pub(crate) items: usize,
    /// How many timestamps it took.
    pub(crate) asked: u64,
    /// Of each event, by index; of a transaction, of the leg that broke it or of the whole.
    pub(crate) statuses: Vec<(u32, Status)>,
    pub(crate) happened: Vec<Happened>,
    pub(crate) uses_key: bool,
    pub(crate) touched: Vec<u128>,
    /// The ledgers whose totals it changed.
    pub(crate) ledgers: Vec<u32>,
}

/// What the rules of batches ask of an event.
struct Head {
    linked: bool,
    imported: bool,
    timestamp: u64,
    /// The id that a transient refusal uses up.
    burns: Option<u128>,
}

/// The moments of a command: those of its first event and of its last.
#[derive(Clone, Copy)]
struct Moments {
    first: u64,
    last: u64,
}

type Rule = Result<(), Rejection>;

/// Refuses where the rule is broken.
fn refuse_if(broken: bool, rejection: Rejection) -> Rule {
    if broken { Err(rejection) } else { Ok(()) }
}

/// What histories leave out.
const NOT_MODELED: &str = "no history opens accounts with a balance or reverses";

/// The index that stands for a whole transaction.
pub(crate) const WHOLE: u32 = florin_engine::WHOLE_TRANSACTION;

/// The sums over a ledger's accounts.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Totals {
    pub(crate) accounts: u64,
    pub(crate) debits_posted: u128,
    pub(crate) credits_posted: u128,
    pub(crate) debits_pending: u128,
    pub(crate) credits_pending: u128,
}

impl Book {
    /// Decides a command at the moment `now`, or just after the newest one where the clock did not go on.
    ///
    /// # Errors
    /// An amount can not be read: nothing changes.
    pub(crate) fn decide(
        &mut self,
        command: &Command,
        key: Option<CommandKey>,
        now: u64,
    ) -> Result<Verdict, Unreadable> {
        if let Some(CommandKey { key, .. }) = key
            && let Some((fingerprint, seq)) = self.keys.get(&key.hash)
        {
            let same = *fingerprint == key.fingerprint;
            return Ok(if same { Verdict::Replay(*seq) } else { Verdict::KeyReused(*seq) });
        }
        let amounts = self.read(command)?;
        let first = now.max(self.clock + 1);
        let ledgers: Vec<u32> = self.ledgers.keys().copied().collect();
        let before: Vec<Totals> = ledgers.iter().map(|id| self.totals(*id)).collect();
        let items = match command {
            Command::CreateLedger(_) => 1,
            Command::CreateAccounts(accounts) => accounts.len(),
            Command::CreateTransfers(transfers) => transfers.len(),
            Command::CreateTransaction(transaction) => transaction.transfers.len(),
            Command::ExpirePending(expire) => self.due(expire.limit, first).len(),
            Command::SetOverdraftLimit(_) | Command::ReplaceMetadata(_) => 1,
            Command::OpenAccount(_)
            | Command::ReverseTransfer(_)
            | Command::ReverseTransaction(_) => unreachable!("{NOT_MODELED}"),
        };
        // A transaction has a moment of its own, before its legs.
        let own = u64::from(matches!(command, Command::CreateTransaction(_)));
        let asked = items as u64 + own;
        let at = Moments { first, last: first + asked.saturating_sub(1) };
        let statuses = match command {
            Command::CreateLedger(ledger) => vec![(0, self.create_ledger(ledger, at.first))],
            Command::CreateAccounts(accounts) => {
                numbered(self.create_accounts(accounts, &amounts, at))
            }
            Command::CreateTransfers(transfers) => {
                numbered(self.create_transfers(transfers, &amounts, at))
            }
            Command::CreateTransaction(transaction) => {
                self.create_transaction(transaction, &amounts, at)
            }
            Command::ExpirePending(expire) => {
                self.expire(expire.limit, at.first);
                Vec::new()
            }
            Command::SetOverdraftLimit(set) => {
                vec![(0, self.set_overdraft_limit(set, amounts[0]))]
            }
            Command::ReplaceMetadata(replace) => vec![(0, self.replace_metadata(replace))],
            Command::OpenAccount(_)
            | Command::ReverseTransfer(_)
            | Command::ReverseTransaction(_) => unreachable!("{NOT_MODELED}"),
        };
        let happened = std::mem::take(&mut self.happened);
        let touched = std::mem::take(&mut self.touched);
        // What exists in other words is found out too late to use a key up: known, and a gap.
        let in_other_words = std::mem::take(&mut self.in_other_words);
        let refused = in_other_words
            || statuses.iter().any(|(index, status)| match (command, status) {
                (_, Status::Refused(_)) => true,
                // A leg that happened before refuses its transaction.
                (Command::CreateTransaction(_), Status::Exists(..)) => *index != WHOLE,
                _ => false,
            });
        let used = key.filter(|key| key.rule == KeyRule::Always || !refused);
        if let Some(CommandKey { key, .. }) = used {
            self.keys.insert(key.hash, (key.fingerprint, self.seq + 1));
        }
        if !happened.is_empty() || used.is_some() {
            self.seq += 1;
            self.clock = at.last;
        }
        for id in &touched {
            self.accounts.get_mut(id).unwrap().version += 1;
        }
        let changed = ledgers.into_iter().zip(before);
        let changed = changed.filter(|(id, before)| self.totals(*id) != *before);
        let ledgers = changed.map(|(id, _)| id).collect();
        let uses_key = used.is_some();
        let timestamp = first;
        Ok(Verdict::Decided(Answer {
            timestamp,
            items,
            asked,
            statuses,
            happened,
            uses_key,
            touched,
            ledgers,
        }))
    }

    pub(crate) fn totals(&self, ledger: u32) -> Totals {
        let mut totals = Totals::default();
        for account in self.accounts.values().filter(|account| account.ledger == ledger) {
            totals.accounts += 1;
            totals.debits_posted += account.debits_posted;
            totals.credits_posted += account.credits_posted;
            totals.debits_pending += account.debits_pending;
            totals.credits_pending += account.credits_pending;
        }
        totals
    }

    /// When the next pending transfer expires.
    pub(crate) fn next_expiry(&self) -> Option<u64> {
        self.open().filter_map(|(_, transfer)| transfer.expires_at()).min()
    }

    /// The pending transfers that are open, by id.
    pub(crate) fn open(&self) -> impl Iterator<Item = (&u128, &Transfer)> {
        self.transfers.iter().filter(|(_, transfer)| transfer.phase == Phase::Pending)
    }

    // --- what holds for every batch ---------------------------------------------------------------------------------------

    /// Decides events in order. A chain, from an event with `linked` to the first without, happens whole or goes back to the copy made
    /// where it began; the first refusal in it is told, and the others failed with it. Later a transient refusal's id is used up.
    fn batch(
        &mut self,
        heads: &[Head],
        at: Moments,
        decide: impl Fn(&mut Book, usize, u64) -> Status,
    ) -> Vec<Status> {
        let mut statuses = Vec::new();
        let mut chain: Option<(usize, Book)> = None;
        let mut broken = false;
        for (index, head) in heads.iter().enumerate() {
            let timestamp = at.first + index as u64;
            if head.linked && chain.is_none() {
                chain = Some((index, self.clone()));
            }
            let is_last = index + 1 == heads.len();
            let status = if head.linked && is_last {
                Status::Refused(Rejection::LinkedEventChainOpen)
            } else if broken {
                Status::Refused(Rejection::LinkedEventFailed)
            } else {
                match rule_batch(&heads[0], head, at) {
                    Ok(()) => decide(self, index, timestamp),
                    Err(rejection) => Status::Refused(rejection),
                }
            };
            if let (Some((begin, before)), false) = (&chain, broken)
                && status != Status::Created
            {
                *self = before.clone();
                statuses[*begin..].fill(Status::Refused(Rejection::LinkedEventFailed));
                broken = true;
            }
            if let (Status::Refused(rejection), Some(id)) = (&status, head.burns) {
                self.burn(id, *rejection, timestamp);
            }
            statuses.push(status);
            if !head.linked {
                chain = None;
                broken = false;
            }
        }
        statuses
    }

    /// Uses up an id whose refusal could turn out otherwise at another time.
    fn burn(&mut self, id: u128, rejection: Rejection, timestamp: u64) {
        let transient = matches!(
            rejection,
            Rejection::DebitAccountNotFound
                | Rejection::CreditAccountNotFound
                | Rejection::PendingTransferNotFound
                | Rejection::ExceedsCredits { .. }
                | Rejection::ExceedsDebits { .. }
                | Rejection::DebitAccountAlreadyClosed
                | Rejection::CreditAccountAlreadyClosed
        );
        if transient && self.burned.insert(id) {
            let rejection = rejection.number();
            self.happened.push(Happened::Burned { id, rejection, timestamp });
        }
    }

    // --- ledgers ----------------------------------------------------------------------------------------------------------

    fn create_ledger(&mut self, asked: &CreateLedger, timestamp: u64) -> Status {
        if asked.id.0 == 0 {
            return Status::Refused(Rejection::IdMustNotBeZero);
        }
        if let Some(existing) = self.ledgers.get(&asked.id.0) {
            let differences = [
                (asked.currency != existing.currency, Field::Currency),
                (asked.scale.digits() != existing.scale, Field::Scale),
                (asked.name != existing.name, Field::Name),
            ];
            return exists_unless(&differences, Status::Exists(None, existing.timestamp));
        }
        let (currency, name) = (asked.currency.clone(), asked.name.clone());
        let ledger = Ledger { currency, scale: asked.scale.digits(), name, timestamp };
        self.ledgers.insert(asked.id.0, ledger);
        self.happened.push(Happened::Ledger(asked.id.0));
        Status::Created
    }
}

/// The refusals that stand before those of the event itself.
fn rule_batch(first: &Head, head: &Head, at: Moments) -> Rule {
    refuse_if(first.imported && !head.imported, Rejection::ImportedEventExpected)?;
    refuse_if(!first.imported && head.imported, Rejection::ImportedEventNotExpected)?;
    if head.imported {
        let in_range = (1..=TIME_MAX).contains(&head.timestamp);
        refuse_if(!in_range, Rejection::ImportedEventTimestampOutOfRange)?;
        refuse_if(head.timestamp >= at.last, Rejection::ImportedEventTimestampMustNotAdvance)
    } else {
        refuse_if(head.timestamp != 0, Rejection::TimestampMustBeZero)
    }
}

/// The refusal for the first field that differs.
fn exists_unless(differences: &[(bool, Field)], exists: Status) -> Status {
    match differences.iter().find(|(differs, _)| *differs) {
        Some((_, field)) => Status::Refused(Rejection::exists_with_different(*field)),
        None => exists,
    }
}

fn numbered(statuses: Vec<Status>) -> Vec<(u32, Status)> {
    (0..).zip(statuses).collect()
}
