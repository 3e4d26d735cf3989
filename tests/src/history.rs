//! Whether what clients saw can have happened one after the other, in an order that agrees with the clock: strict
//! serializability, checked in near-linear time.
//!
//! In general that is a search through orders. Here the ledger's own words leave nothing to search. Each transfer that happened has a
//! timestamp of its own, so timestamps say in which order the ledger claims to have decided the commands that moved something. The
//! checker takes the claim and looks for whatever contradicts it:
//!
//! 1. Carried out in that order by a small model of the rules, each command must come to what its client was told: which of its transfers
//!    happened, and the balances and versions of its accounts just after it. What was lost, came twice or came in between is seen here.
//! 2. What only looks (a read, or a refusal, which moves nothing) must agree with the state at some place of the order. The version of an
//!    account and `Florin-Seq` bound the places from both sides.
//! 3. The order must agree with the clock: what was answered before another was sent comes before it. Places are given out in the order in
//!    which operations were sent, each the earliest that is left; if the earliest does not fit, no other would.
//!
//! Timestamps and `Florin-Seq` must also tell the same order. A read from a process that owns nothing may be late, so rule 3 binds
//! it only to what its own client asked for by `min_seq` and was shown before; but nobody may show what is not sent yet.
//!
//! A command whose answer was lost is told here with what asking again by its id found: what the first try did was done by the time at which
//! the server was dead, so that is when it "returned".

mod model;
mod places;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;

pub use self::model::{Account, Balances};
use self::model::{Model, Pending};
use self::places::{Observed, Places, Span};

/// One thing that a client did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Which client; it does one thing at a time.
    pub process: u32,
    /// When it was sent, in nanoseconds since the history began.
    pub invoked_ns: u64,
    /// When it was answered, or could not happen any more.
    pub returned_ns: u64,
    /// What it was, and what it came to.
    pub call: Call,
}

/// What a client did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// It asked for transfers.
    Command(Command),
    /// It read an account.
    Read(Read),
}

/// Transfers that are decided together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its position, where the answer told it.
    pub seq: Option<u64>,
    /// Its transfers in their order, and what became of each.
    pub events: Vec<Event>,
    /// Accounts just after it, as far as the answer told them.
    pub shown: Vec<Shown>,
}

/// One transfer of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: u128,
    /// What it was to do.
    pub action: Action,
    /// What became of it.
    pub outcome: Outcome,
}

/// What a transfer is to do. Amounts are in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// To move money at once.
    Post {
        /// The account that gives.
        debit: u128,
        /// The account that receives.
        credit: u128,
        /// How much.
        amount: u64,
    },
    /// To reserve money.
    Reserve {
        /// The account that gives.
        debit: u128,
        /// The account that receives.
        credit: u128,
        /// How much.
        amount: u64,
    },
    /// To move what is reserved, or a part of it, and release the rest.
    Settle {
        /// The transfer that reserved it.
        pending: u128,
        /// How much is moved; 0 releases everything.
        amount: u64,
    },
}

/// What became of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It happened, at this time: the digits of its timestamp as one number.
    Created(u128),
    /// It would have taken more than the account has, so that nothing happened.
    Refused,
}

/// An account that somebody read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The position that the answer told.
    pub seq: u64,
    /// The position that was asked for.
    pub min_seq: u64,
    /// Who answered.
    pub source: Answerer,
    /// What was told.
    pub shown: Shown,
}

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answerer {
    /// The process that decides.
    Owner,
    /// A process that owns nothing.
    Reader,
}

/// An account at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its id.
    pub account: u128,
    /// Its version.
    pub version: u64,
    /// What it had.
    pub figures: Figures,
}

/// What an account had, in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figures {
    /// As a read tells it.
    Whole(Balances),
    /// As the answer to a transfer tells it.
    Short {
        /// Credits less debits.
        balance: i64,
        /// The balance less what is reserved.
        available: i64,
    },
}

impl Figures {
    fn fit(self, balances: Balances) -> bool {
        match self {
            Figures::Whole(told) => told == balances,
            Figures::Short { balance, available } => {
                (balance, available) == (balances.balance(), balances.available())
            }
        }
    }
}

/// How a history can not have happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// An id was decided twice.
    Doubled {
        /// The id.
        id: u128,
        /// The second command that decided it.
        command: Operation,
    },
    /// Timestamps tell another order than positions do, or two commands share a place in it.
    Order {
        /// The one before, by its timestamps.
        before: Operation,
        /// The one after.
        after: Operation,
    },
    /// By the rules a transfer comes to something else in the state before it.
    Decided {
        /// The transfer.
        id: u128,
        /// The account that gives, as it was.
        debit: Account,
        /// The command that has it.
        command: Operation,
    },
    /// A transfer settles what is not there to be settled.
    Settled {
        /// The transfer.
        id: u128,
        /// The command that has it.
        command: Operation,
    },
    /// A command showed an account otherwise than it was just after it: something is lost, or came twice or in between.
    Shown {
        /// What was shown.
        shown: Shown,
        /// What it was.
        was: Account,
        /// The command.
        command: Operation,
    },
    /// No place of the order has what was seen.
    Nowhere {
        /// The read or the refusal.
        seen: Operation,
        /// What the account was at the end.
        at_end: Account,
    },
    /// An answer is older than what was asked for.
    Older {
        /// The read.
        seen: Operation,
    },
    /// What was answered before another was sent comes after it.
    RealTime {
        /// What was answered first.
        before: Operation,
        /// What was sent later.
        after: Operation,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Doubled { id, command } => {
                write!(f, "id {id} is decided again by {command:?}")
            }
            Violation::Order { before, after } => {
                write!(f, "times and positions disagree about {before:?} and {after:?}")
            }
            Violation::Decided { id, debit, command } => {
                write!(f, "the rules decide {id} otherwise, its account was {debit:?}: {command:?}")
            }
            Violation::Settled { id, command } => {
                write!(f, "{id} settles what is not there to be settled: {command:?}")
            }
            Violation::Shown { shown, was, command } => {
                write!(f, "{shown:?} was shown and the account was {was:?} after {command:?}")
            }
            Violation::Nowhere { seen, at_end } => {
                write!(f, "this was never so, the account ends as {at_end:?}: {seen:?}")
            }
            Violation::Older { seen } => write!(f, "older than what was asked for: {seen:?}"),
            Violation::RealTime { before, after } => {
                write!(
                    f,
                    "{before:?} was answered before this was sent, and comes after it: {after:?}"
                )
            }
        }
    }
}

impl std::error::Error for Violation {}

/// Checks histories that follow each other: each begins where the one before it ended.
#[derive(Clone, Debug, Default)]
pub struct Checker {
    model: Model,
    /// Every id that was ever decided.
    ids: HashSet<u128>,
    newest_time: u128,
    newest_seq: u64,
}

impl Checker {
    /// A checker of histories that begin with these accounts, new and without money. `limited` says of each whether it can not be
    /// overdrawn.
    #[must_use]
    pub fn new(accounts: impl Iterator<Item = u128>, limited: impl Fn(u128) -> bool) -> Checker {
        let accounts = accounts.map(|id| (id, Account::new(limited(id)))).collect();
        let model = Model { accounts, pending: HashMap::new() };
        Checker { model, ..Checker::default() }
    }

    /// What every account must be now.
    pub fn accounts(&self) -> impl Iterator<Item = (u128, Account)> + '_ {
        self.model.accounts.iter().map(|(id, account)| (*id, *account))
    }

    /// What is reserved now: the ids of the transfers that did it, with the amounts, in the order of the ids.
    #[must_use]
    pub fn pending(&self) -> Vec<(u128, u64)> {
        let open = self.model.pending.iter();
        let mut open: Vec<_> = open.map(|(id, Pending { amount, .. })| (*id, *amount)).collect();
        open.sort_unstable();
        open
    }

    /// Checks what happened since the last check. Nothing of it may be under way any more.
    ///
    /// # Errors
    /// It can not have happened so. The checker is of no more use then.
    pub fn check(&mut self, history: &[Operation]) -> Result<(), Box<Violation>> {
        let order = self.order(history)?;
        let mut places = Places::new(&self.model);
        for operation in &order {
            self.carry_out(operation, &mut places)?;
        }
        self.agree_with_the_clock(history, &order, &places)
    }

    /// The commands that moved something, in the order of their times.
    fn order<'a>(
        &mut self,
        history: &'a [Operation],
    ) -> Result<Vec<&'a Operation>, Box<Violation>> {
        let mut timed = Vec::new();
        for operation in history {
            let Call::Command(command) = &operation.call else { continue };
            for event in &command.events {
                if !self.ids.insert(event.id) {
                    return Err(Box::new(Violation::Doubled {
                        id: event.id,
                        command: operation.clone(),
                    }));
                }
            }
            let times = command.times();
            if let Some(first) = times.clone().next() {
                timed.push((first, times.last().unwrap_or(first), operation));
            }
        }
        timed.sort_unstable_by_key(|(first, ..)| *first);
        let (mut time, mut seq) = (self.newest_time, self.newest_seq);
        let mut before: Option<&Operation> = None;
        for (first, last, operation) in &timed {
            let seq_after = operation.seq().unwrap_or(seq + 1);
            let increases = operation.command().is_some_and(Command::times_increase);
            if *first <= time || !increases || seq_after <= seq {
                let before = before.unwrap_or(*operation);
                return Err(Box::new(Violation::Order {
                    before: before.clone(),
                    after: (*operation).clone(),
                }));
            }
            (time, before) = (*last, Some(*operation));
            seq = operation.seq().unwrap_or(seq);
        }
        (self.newest_time, self.newest_seq) = (time, seq);
        Ok(timed.into_iter().map(|(.., operation)| operation).collect())
    }

    fn carry_out(
        &mut self,
        operation: &Operation,
        places: &mut Places,
    ) -> Result<(), Box<Violation>> {
        let Some(command) = operation.command() else { return Ok(()) };
        let mut touched = Vec::new();
        for event in &command.events {
            let wrong = || operation.clone();
            let Some(affected) = self.model.accounts_of(event.action) else {
                return Err(Box::new(Violation::Settled { id: event.id, command: wrong() }));
            };
            let happens = self.model.allows(event.action);
            if happens != matches!(event.outcome, Outcome::Created(_)) {
                let debit = self.model.account(affected.0);
                return Err(Box::new(Violation::Decided { id: event.id, debit, command: wrong() }));
            }
            if happens {
                self.model.apply(event.id, event.action);
                touched.extend([affected.0, affected.1]);
            }
        }
        touched.sort_unstable();
        touched.dedup();
        for id in &touched {
            self.model.count_version(*id);
        }
        places.add(command.seq, touched.iter().map(|id| (*id, self.model.account(*id))));
        for shown in &command.shown {
            let was = self.model.account(shown.account);
            if shown.version != was.version || !shown.figures.fit(was.balances) {
                return Err(Box::new(Violation::Shown {
                    shown: *shown,
                    was,
                    command: operation.clone(),
                }));
            }
        }
        Ok(())
    }

    fn agree_with_the_clock(
        &self,
        history: &[Operation],
        order: &[&Operation],
        places: &Places,
    ) -> Result<(), Box<Violation>> {
        // Where the commands stand, by the first id that each of them has.
        let placed = order.iter().zip(0..).filter_map(|(operation, place)| {
            Some((operation.command()?.events.first()?.id, place))
        });
        let placed: HashMap<u128, usize> = placed.collect();
        let mut spans = Vec::with_capacity(history.len());
        for operation in history {
            spans.push(match &operation.call {
                Call::Read(read) => {
                    if read.seq < read.min_seq {
                        return Err(Box::new(Violation::Older { seen: operation.clone() }));
                    }
                    let found = places.of_read(read);
                    Span::Seen(found.ok_or_else(|| self.nowhere(operation, read.shown.account))?)
                }
                Call::Command(command) => {
                    let id = command.events.first().map(|event| event.id);
                    match id.and_then(|id| placed.get(&id)) {
                        Some(place) => Span::Moved(*place),
                        None => match self.refusal(command, places) {
                            Some(Ok(observed)) => Span::Seen(observed),
                            Some(Err(account)) => return Err(self.nowhere(operation, account)),
                            // What moved nothing, and is known only from asking again, says nothing of when.
                            None => Span::Anywhere,
                        },
                    }
                }
            });
        }
        places::agree(history, &spans).map_err(|(before, after)| {
            let (before, after) = (history[before].clone(), history[after].clone());
            Box::new(Violation::RealTime { before, after })
        })
    }

    /// Where a command may stand of which everything was refused; the account that it names where it can stand nowhere.
    fn refusal(&self, command: &Command, places: &Places) -> Option<Result<Observed, u128>> {
        let seq = command.seq?;
        let mut found = places.of_seq(seq);
        for event in &command.events {
            let (debit, amount) = match event.action {
                Action::Post { debit, amount, .. } | Action::Reserve { debit, amount, .. } => {
                    (debit, amount)
                }
                Action::Settle { pending, .. } => return Some(Err(pending)),
            };
            found = places.narrowed(&found, debit, |account| account.refuses(amount));
            if found.is_empty() {
                return Some(Err(debit));
            }
        }
        Some(Ok(found))
    }

    fn nowhere(&self, seen: &Operation, account: u128) -> Box<Violation> {
        Box::new(Violation::Nowhere { seen: seen.clone(), at_end: self.model.account(account) })
    }
}

impl Operation {
    fn command(&self) -> Option<&Command> {
        match &self.call {
            Call::Command(command) => Some(command),
            Call::Read(_) => None,
        }
    }

    /// The position that the answer told.
    fn seq(&self) -> Option<u64> {
        match &self.call {
            Call::Command(command) => command.seq,
            Call::Read(read) => Some(read.seq),
        }
    }
}

impl Command {
    /// When its transfers happened, of those that did.
    fn times(&self) -> impl Iterator<Item = u128> + Clone + '_ {
        self.events.iter().filter_map(|event| match event.outcome {
            Outcome::Created(time) => Some(time),
            Outcome::Refused => None,
        })
    }

    fn times_increase(&self) -> bool {
        self.times().is_sorted_by(|before, after| before < after)
    }
}
