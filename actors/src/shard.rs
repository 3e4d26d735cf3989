//! The shard: the actor that hosts the account actors of a partition and dispatches to them.
//!
//! It runs on an arbiter thread of its own and handles one message at a time, and what is in it in order, so that every account
//! changes its state in arrival order and both sides of a transfer in one step. It does no I/O of its own: what it decides goes, with whoever
//! waits for it, into the journal queue, and memory runs ahead of the disk without anyone seeing it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::{Actor, Context, Handler, Message};
use florin_engine::{
    ASKED_AHEAD, Account, AccountId, Command, CommandKey, CreateTransfer, Decided, DecidedBefore,
    Forgotten, JournalSeq, Rehearsed, State, TransferId, Unreadable, Verdict,
};
use tokio::sync::oneshot;

use crate::admission::Permit;
use crate::clock::Clock;
use crate::commit::{Item, Released};
use crate::expiry::Expiry;
use crate::journal_queue::JournalSender;
use crate::shared::Shared;

/// The answers of the index on disk, with a latch for what it could not read.
pub(crate) trait IndexedIds: DecidedBefore + Send {
    /// Why an answer since the last call can not be trusted, if one can not.
    fn take_error(&mut self) -> Option<String>;
}

/// What callers sent, in order.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Arrived(pub(crate) Vec<Arrival>);

/// One thing that a caller sent.
pub(crate) enum Arrival {
    Submit(Submit),
    Look(Look),
}

impl Arrival {
    /// The transfer, where it is one.
    fn only_transfer(&self) -> Option<&CreateTransfer> {
        match self {
            Arrival::Submit(Submit { command: Command::CreateTransfers(transfers), .. }) => {
                transfers.first().filter(|_| transfers.len() == 1)
            }
            Arrival::Submit(_) | Arrival::Look(_) => None,
        }
    }
}

/// Asks for a command to be decided.
pub(crate) struct Submit {
    pub(crate) command: Command,
    pub(crate) key: Option<CommandKey>,
    pub(crate) permit: Permit,
    pub(crate) reply: oneshot::Sender<Released<Result<Verdict, Unreadable>>>,
}

/// Asks what the ledger knows.
pub(crate) struct Look {
    pub(crate) at: LookAt,
    pub(crate) permit: Permit,
    pub(crate) reply: oneshot::Sender<Released<Seen>>,
}

/// What to look at.
#[derive(Clone, Debug)]
pub(crate) enum LookAt {
    Account(AccountId),
    Accounts(Vec<AccountId>),
    /// What an id was decided for, and what became of it.
    Id(TransferId),
    Ids(Vec<TransferId>),
    /// What became of these transfers.
    Ends(Vec<TransferId>),
    /// What this command would come to.
    Rehearsal(Box<Command>),
}

impl LookAt {
    /// How many things are looked at.
    pub(crate) fn count(&self) -> u64 {
        match self {
            LookAt::Account(_) | LookAt::Id(_) => 1,
            LookAt::Accounts(ids) => ids.len() as u64,
            LookAt::Ids(ids) | LookAt::Ends(ids) => ids.len() as u64,
            LookAt::Rehearsal(command) => command.events() as u64,
        }
    }
}

/// What was seen.
#[derive(Debug)]
pub(crate) enum Seen {
    Account(Option<Box<Account>>),
    /// In the order in which they were asked for, like the others.
    Accounts(Vec<Option<Account>>),
    Id {
        decided: Option<Decided>,
        end: Option<Decided>,
    },
    Ids(Vec<Option<Decided>>),
    /// In the order in which they were asked for; none for what neither was settled nor reversed.
    Ends(Vec<Option<Decided>>),
    Rehearsed(Box<Result<Rehearsed, Unreadable>>),
}

/// Says that the index on disk now answers for all ids up to here.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Indexed(pub(crate) JournalSeq);

/// Says that no more messages will come: the journal queue ends after what is in it.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Finish;

/// The actor.
pub(crate) struct Shard {
    pub(crate) state: State,
    pub(crate) indexed: Box<dyn IndexedIds>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) queue: Option<JournalSender<Item>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) expiry: Expiry,
}

impl Actor for Shard {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        self.expire_before_the_first_answer(context);
    }
}

impl Handler<Arrived> for Shard {
    type Result = ();

    fn handle(&mut self, Arrived(arrivals): Arrived, _: &mut Context<Self>) {
        let mut arrivals = arrivals.into_iter();
        while !arrivals.as_slice().is_empty() {
            let next = arrivals.len().min(ASKED_AHEAD);
            self.expect(&arrivals.as_slice()[..next]);
            for arrival in arrivals.by_ref().take(next) {
                self.arrive(arrival);
            }
        }
        if self.state.next_expiry().is_some() {
            self.expire_slice(self.clock.now());
        }
        self.publish_counts();
    }
}

impl Handler<Indexed> for Shard {
    type Result = ();

    fn handle(&mut self, Indexed(seq): Indexed, _: &mut Context<Self>) {
        if let Some(forgotten) = self.forget(seq) {
            tokio::task::spawn_blocking(move || drop(forgotten));
        }
    }
}

impl Handler<Finish> for Shard {
    type Result = ();

    fn handle(&mut self, _: Finish, _: &mut Context<Self>) {
        self.queue = None;
        actix::System::current().stop();
    }
}

impl Shard {
    pub(crate) fn publish_counts(&self) {
        let ids = self.state.recent_count() as u64;
        self.shared.ids_in_memory.store(ids, Ordering::Relaxed);
        self.shared.accounts.store(self.state.accounts_count() as u64, Ordering::Relaxed);
    }

    /// Says what transfers come next where several commands have one each; a command with more says so itself.
    fn expect(&mut self, arrivals: &[Arrival]) {
        if arrivals.len() > 1 {
            let transfers = arrivals.iter().filter_map(Arrival::only_transfer);
            self.guarded(|shard| shard.state.expect_transfers(transfers, shard.indexed.as_mut()));
        }
    }

    /// Handles one thing that a caller sent.
    pub(crate) fn arrive(&mut self, arrival: Arrival) {
        self.guarded(|shard| match arrival {
            Arrival::Submit(submit) => shard.decide(submit),
            Arrival::Look(look) => shard.look(look),
        });
    }

    /// Forgets the ids that the index answers for; their memory is best given back elsewhere.
    pub(crate) fn forget(&mut self, indexed: JournalSeq) -> Option<Forgotten> {
        let mut forgotten = None;
        self.guarded(|shard| {
            forgotten = Some(shard.state.forget_indexed(indexed));
            shard.publish_counts();
        });
        forgotten
    }

    /// Runs one step; after a panic the state can not be trusted, so it is the last. Dropping the queue lets the journal thread
    /// write what was decided before, and whoever waits for more learns that the outcome is unknown.
    pub(crate) fn guarded(&mut self, step: impl FnOnce(&mut Shard)) {
        if self.queue.is_none() {
            return;
        }
        if catch_unwind(AssertUnwindSafe(|| step(self))).is_err() {
            self.shared.fail("the shard panicked".to_owned());
            self.queue = None;
        }
    }

    fn decide(&mut self, submit: Submit) {
        let Submit { command, key, permit, reply } = submit;
        let now = self.clock.now();
        let verdict = self.state.decide(command, key, now, self.indexed.as_mut());
        if let Some(error) = self.indexed.take_error() {
            // What was decided may rest on a wrong answer, so it must not reach the journal.
            self.shared.fail(format!("the index of decided ids can not be read: {error}"));
            self.queue = None;
            return;
        }
        let item = Item::Decided {
            seq: self.state.seq(),
            state_hash: self.state.state_hash(),
            verdict,
            permit,
            reply,
        };
        self.enqueue(item);
    }

    fn look(&mut self, look: Look) {
        let Look { at, permit, reply } = look;
        let seen = match at {
            LookAt::Account(id) => Seen::Account(self.state.account(id).cloned().map(Box::new)),
            LookAt::Accounts(ids) => {
                Seen::Accounts(ids.iter().map(|id| self.state.account(*id).cloned()).collect())
            }
            LookAt::Id(id) => Seen::Id { decided: self.decided(id), end: self.end_of(id) },
            LookAt::Ids(ids) => Seen::Ids(ids.into_iter().map(|id| self.decided(id)).collect()),
            LookAt::Ends(ids) => Seen::Ends(ids.into_iter().map(|id| self.end_of(id)).collect()),
            LookAt::Rehearsal(command) => {
                let now = self.clock.now();
                let rehearsed = self.state.rehearse(*command, now, self.indexed.as_mut());
                Seen::Rehearsed(Box::new(rehearsed))
            }
        };
        if let Some(error) = self.indexed.take_error() {
            self.shared.fail(format!("the index of decided ids can not be read: {error}"));
            self.queue = None;
            return;
        }
        self.enqueue(Item::Seen { seq: self.state.seq(), seen, permit, reply });
    }

    fn decided(&mut self, id: TransferId) -> Option<Decided> {
        self.state.recent_id(id).or_else(|| self.indexed.transfer(id))
    }

    /// How a transfer was settled, or that it was reversed.
    fn end_of(&mut self, id: TransferId) -> Option<Decided> {
        self.state.recently_settled(id).or_else(|| self.indexed.settled(id))
    }

    /// Puts an outcome into the journal queue, unless it changed nothing and all that it could depend on is durable already. Once the ledger has
    /// failed, also while it was idle, nobody but the journal thread answers, if it still does.
    pub(crate) fn enqueue(&mut self, item: Item) {
        let nothing_to_wait_for = !item.is_recorded()
            && self.shared.durable() >= self.state.seq()
            && self.shared.failure().is_none();
        if nothing_to_wait_for {
            item.release();
        } else if let Some(queue) = &self.queue
            && queue.send(item).is_err()
        {
            // The journal thread is gone; dropping the item told its caller that the outcome is unknown.
            self.queue = None;
        }
    }
}
