//! Deciding: what becomes of a command, event by event, in the documented order of precedence.
//!
//! A batch is decided in order, each event on the state that the one before left. The events of a linked chain, and the legs
//! of a transaction, are applied as they are decided and undone together when one of them is refused.

mod accounts;
mod amounts;
mod changes;
mod import;
mod ledgers;
mod pending;
mod reversal;
mod transactions;
mod transfers;

use std::fmt;

use self::import::Import;
use crate::account::{Account, AccountAfter};
use crate::amount::{Amount, AmountTextError};
use crate::asking::Asked;
use crate::command::Command;
use crate::decided::{Decided, DecidedBefore, DecidedKind};
use crate::ids::{Timestamp, TransferId};
use crate::moments::Newest;
use crate::record::{
    CommandKey, Decision, Event, IdBurned, ItemOutcome, KeyRule, KeyUse, MetadataReplaced,
    OverdraftLimitChanged, Record, Rehearsed, TransferPosted, Verdict,
};
use crate::rejection::Rejection;
use crate::state::State;
use crate::transfer::Transfer;

/// An amount of a command that its ledger can not hold: the command is refused as a whole, before anything is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {field} of {} {reason}", EventAt(*.index))]
pub struct Unreadable {
    /// Which event of the command; [`WHOLE_TRANSACTION`] for what is of none.
    pub index: u32,
    /// Which field.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: AmountTextError,
}

/// The index that stands for a transaction as a whole, rather than for one of its legs.
pub const WHOLE_TRANSACTION: u32 = u32::MAX;

/// The words for an event at an index.
struct EventAt(u32);

impl fmt::Display for EventAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            WHOLE_TRANSACTION => f.write_str("the transaction"),
            index => write!(f, "event {index}"),
        }
    }
}

/// A command being decided: what happened so far.
struct Deciding {
    timestamp: Timestamp,
    events: Vec<Event>,
    exceptions: Vec<(u32, ItemOutcome)>,
    asked: Vec<(u32, Asked)>,
    /// The chain that is open, if one is.
    chain: Option<Chain>,
    /// Whether a transaction was refused because of one of its legs, even if only because the leg had happened before.
    leg_refused: bool,
}

/// Where an item of a batch stands in it, and which id a passing refusal of it uses up.
struct Item {
    index: u32,
    last: bool,
    linked: bool,
    burns: Option<TransferId>,
}

/// What was there when a chain began, to go back to.
#[derive(Clone, Copy)]
struct Chain {
    start: u32,
    events: usize,
    touched: usize,
    touched_ledgers: usize,
    newest: Newest,
    broken: bool,
}

impl Deciding {
    /// Adds a transfer, whose accounts' places among those touched are still to be filled in.
    #[inline(always)]
    fn push(&mut self, transfer: Transfer) {
        let posted = TransferPosted { transfer, debit_account: 0, credit_account: 0 };
        self.events.push(Event::TransferPosted(posted));
    }

    /// The transfer with this id, which was decided in this command.
    fn transfer(&self, id: TransferId) -> &Transfer {
        let found = self.events.iter().find_map(|event| match event {
            Event::TransferPosted(TransferPosted { transfer, .. }) if transfer.id == id => {
                Some(transfer)
            }
            _ => None,
        });
        found.expect("an id decided in this command is among its events")
    }
}

impl State {
    /// Decides a command and applies what it decided. `now` is the wall clock: timestamps follow it, but never fall back.
    ///
    /// # Errors
    /// An amount has more digits than its ledger: nothing was decided, and nothing changed.
    pub fn decide(
        &mut self,
        command: Command,
        key: Option<CommandKey>,
        now: Timestamp,
        before: &mut dyn DecidedBefore,
    ) -> Result<Verdict, Unreadable> {
        if let Some(CommandKey { key, .. }) = key
            && let Some(used) = self.keys.get(key.hash).or_else(|| before.key(key.hash))
        {
            return Ok(if used.digest == key.fingerprint {
                Verdict::Replay { seq: used.seq, command: Box::new(command) }
            } else {
                Verdict::KeyReused { seq: used.seq }
            });
        }
        let amounts = self.read_amounts(&command, before)?;
        let mut deciding = self.begin_deciding(&command, now);
        let (items, asked) = self.decide_items(&mut deciding, command, &amounts, before);
        Ok(Verdict::Decided(self.conclude(deciding, items, asked, key)))
    }

    /// What a command would come to, if it were decided now; nothing changes.
    ///
    /// # Errors
    /// As [`State::decide`].
    pub fn rehearse(
        &mut self,
        command: Command,
        now: Timestamp,
        before: &mut dyn DecidedBefore,
    ) -> Result<Rehearsed, Unreadable> {
        let newest = self.moments.newest();
        let amounts = self.read_amounts(&command, before)?;
        let mut deciding = self.begin_deciding(&command, now);
        let (items, asked) = self.decide_items(&mut deciding, command, &amounts, before);
        let begin =
            Chain { start: 0, events: 0, touched: 0, touched_ledgers: 0, newest, broken: false };
        let timestamp = deciding.timestamp;
        let record = (!deciding.events.is_empty()).then(|| {
            let (accounts, ledgers) = self.preview();
            let events = deciding.events.clone();
            Record { timestamp, asked, events, accounts, ledgers, key: None }
        });
        let account = record.as_ref().and_then(|record| self.changed_account(record));
        self.roll_back(&mut deciding, begin);
        let Deciding { exceptions, asked, .. } = deciding;
        Ok(Rehearsed(Decision { timestamp, items, exceptions, asked, record, account }))
    }

    fn begin_deciding(&mut self, command: &Command, now: Timestamp) -> Deciding {
        self.begin(self.seq.next());
        let events = match command {
            Command::ExpirePending(expire) => (expire.limit as usize).min(self.pending_count()),
            _ => command.events(),
        };
        Deciding {
            timestamp: now.max(self.timestamp.plus(1)),
            events: Vec::with_capacity(events),
            exceptions: Vec::new(),
            asked: Vec::new(),
            chain: None,
            leg_refused: false,
        }
    }

    /// Decides the items of a command and applies them. Returns how many there are, and how many timestamps they take.
    fn decide_items(
        &mut self,
        deciding: &mut Deciding,
        command: Command,
        amounts: &[Amount],
        before: &mut dyn DecidedBefore,
    ) -> (u32, u32) {
        let mut asked =
            u32::try_from(command.events()).expect("a command has a bounded count of events");
        let items = match command {
            Command::CreateLedger(ledger) => self.decide_ledger(deciding, ledger),
            Command::CreateAccounts(accounts) => self.decide_accounts(deciding, accounts, amounts),
            Command::CreateTransfers(transfers) => {
                self.decide_transfers(deciding, &transfers, amounts, before)
            }
            Command::CreateTransaction(transaction) => {
                self.decide_transaction(deciding, transaction, amounts, before)
            }
            Command::OpenAccount(open) => self.decide_open_account(deciding, open, amounts, before),
            Command::ExpirePending(expire) => {
                // The clock goes on by what expired, not by what could have.
                asked = self.decide_expiry(deciding, expire);
                asked
            }
            Command::ReverseTransfer(reverse) => {
                self.decide_reverse_transfer(deciding, *reverse, before)
            }
            Command::ReverseTransaction(reverse) => {
                self.decide_reverse_transaction(deciding, *reverse, before)
            }
            Command::SetOverdraftLimit(set) => {
                self.decide_overdraft_limit(deciding, set, amounts[0])
            }
            Command::ReplaceMetadata(replace) => self.decide_metadata(deciding, replace),
        };
        (items, asked)
    }

    fn conclude(
        &mut self,
        deciding: Deciding,
        items: u32,
        asked: u32,
        key: Option<CommandKey>,
    ) -> Decision {
        let Deciding { timestamp, events, exceptions, asked: differing, leg_refused, .. } =
            deciding;
        let refused = leg_refused
            || exceptions.iter().any(|(_, outcome)| !matches!(outcome, ItemOutcome::Exists { .. }));
        let key = key.filter(|key| !refused || key.rule == KeyRule::Always);
        let record = (!events.is_empty() || key.is_some()).then(|| {
            let seq = self.seq.next();
            if let Some(CommandKey { key, .. }) = key {
                let digest = key.fingerprint;
                let decided = Decided { seq, digest, timestamp, kind: DecidedKind::Key };
                self.keys.insert(key.hash, decided);
            }
            let (accounts, ledgers) = self.finish(timestamp, asked);
            let key =
                key.map(|CommandKey { key, .. }| KeyUse { key, exceptions: exceptions.clone() });
            Record { timestamp, asked, events, accounts, ledgers, key }
        });
        let account = record.as_ref().and_then(|record| self.changed_account(record));
        Decision { timestamp, items, exceptions, asked: differing, record, account }
    }

    /// The account that a command changed which is about nothing else.
    fn changed_account(&self, record: &Record) -> Option<Box<Account>> {
        let (Event::OverdraftLimitChanged(OverdraftLimitChanged { account, .. })
        | Event::MetadataReplaced(MetadataReplaced { account, .. })) = record.events.first()?
        else {
            return None;
        };
        let AccountAfter { id, version, .. } = record.accounts[*account as usize];
        // In a rehearsal only the record has the version after.
        self.account(id).map(|account| Box::new(Account { version, ..account.clone() }))
    }

    // --- chains --------------------------------------------------------------------------------------------------------

    /// Decides one item of a batch, opening, breaking and closing the linked chain that it is part of.
    fn chain_item(
        &mut self,
        deciding: &mut Deciding,
        item: Item,
        decide: impl FnOnce(&mut State, &mut Deciding) -> Result<(), ItemOutcome>,
    ) {
        let Item { index, last, linked, burns } = item;
        if linked && deciding.chain.is_none() {
            deciding.chain = Some(self.open_chain(deciding, index));
        }
        let chain_never_ends = linked && last;
        let outcome = match deciding.chain {
            _ if chain_never_ends => rejected(Rejection::LinkedEventChainOpen),
            Some(Chain { broken: true, .. }) => rejected(Rejection::LinkedEventFailed),
            _ => decide(self, deciding),
        };
        if let Err(outcome) = outcome {
            self.refuse(deciding, index, outcome);
            if let (Some(id), ItemOutcome::Rejected(rejection)) = (burns, outcome)
                && rejection.is_transient()
            {
                let timestamp = deciding.timestamp.plus(u64::from(index));
                self.burn(deciding, id, rejection, timestamp);
            }
        }
        if !linked || chain_never_ends {
            deciding.chain = None;
        }
    }

    /// Notes that an item is refused; if it is in a chain, so are the items before it, and what they did is undone.
    fn refuse(&mut self, deciding: &mut Deciding, index: u32, outcome: ItemOutcome) {
        if let Some(chain) = deciding.chain.filter(|chain| !chain.broken) {
            self.roll_back(deciding, chain);
            let failed = ItemOutcome::Rejected(Rejection::LinkedEventFailed);
            deciding.exceptions.extend((chain.start..index).map(|index| (index, failed)));
            deciding.chain = Some(Chain { broken: true, ..chain });
        }
        deciding.exceptions.push((index, outcome));
    }

    fn open_chain(&self, deciding: &Deciding, start: u32) -> Chain {
        Chain {
            start,
            events: deciding.events.len(),
            touched: self.touched.len(),
            touched_ledgers: self.touched_ledgers.len(),
            newest: self.moments.newest(),
            broken: false,
        }
    }

    fn roll_back(&mut self, deciding: &mut Deciding, chain: Chain) {
        for event in deciding.events.drain(chain.events..).rev() {
            match event {
                Event::TransferPosted(posted) => {
                    self.undo_transfer(&posted);
                    self.ids.remove(posted.transfer.id.0);
                    if let Some((ended_id, _)) = posted.transfer.ends() {
                        self.settled.remove(ended_id.0);
                    }
                }
                Event::TransactionCreated(transaction) => self.ids.remove(transaction.id.0),
                Event::AccountCreated(_) => self.undo_account_created(),
                Event::LedgerCreated(_) => self.undo_ledger_created(),
                Event::IdBurned(burned) => self.ids.remove(burned.id.0),
                Event::TransferExpired(expired) => {
                    self.undo_settled();
                    self.settled.remove(expired.id.0);
                }
                Event::OverdraftLimitChanged(changed) => self.undo_overdraft_limit(&changed),
                Event::MetadataReplaced(replaced) => self.undo_metadata(&replaced),
            }
        }
        // What the record says of accounts and ledgers is in the order that replay, which knows of no chain, touches them in.
        self.touched.truncate(chain.touched);
        self.touched_ledgers.truncate(chain.touched_ledgers);
        self.moments.set_newest(chain.newest);
    }

    /// Uses up an id, so that no retry of what was refused for a passing reason ever flips its outcome.
    fn burn(
        &mut self,
        deciding: &mut Deciding,
        id: TransferId,
        rejection: Rejection,
        timestamp: Timestamp,
    ) {
        let seq = self.seq.next();
        let kind = DecidedKind::Burned;
        self.ids.insert(id.0, Decided { seq, digest: 0, timestamp, kind });
        let rejection = rejection.number();
        deciding.events.push(Event::IdBurned(IdBurned { id, rejection, timestamp }));
    }
}

fn check(holds: bool, otherwise: Rejection) -> Result<(), Rejection> {
    if holds { Ok(()) } else { Err(otherwise) }
}

fn rejected<T>(rejection: Rejection) -> Result<T, ItemOutcome> {
    Err(ItemOutcome::Rejected(rejection))
}
