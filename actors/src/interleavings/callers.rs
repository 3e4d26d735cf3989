//! A caller: asks, goes on asking before it has its answers, and checks each answer against what it knows.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use florin_engine::{Command, Decision, Metadata, TransferId, Unreadable, Verdict};
use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use tokio::sync::oneshot::error::TryRecvError;

use super::Happened;
use super::ledger::{Ledger, TO, transfer};
use crate::commit::Released;
use crate::front::{ReadError, SubmitError};
use crate::intake::Answered;
use crate::shard::{LookAt, Seen};
use crate::sync::runtime;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Transfer,
    /// The last transfer once more.
    Again,
    Account,
    /// Of no account at all, which is a place in the queues all the same.
    Nothing,
}

pub(super) struct Caller {
    ledger: Arc<Ledger>,
    last_id: u128,
    /// The length of what is said with each transfer, in bytes.
    words: usize,
    waiting: Vec<Waiting>,
    /// It learned that the ledger has failed.
    is_lost: bool,
}

struct Waiting {
    reply: Reply,
    /// The newest position that anybody had been shown when it was asked.
    shown_before: u64,
    was_lost: bool,
    /// The newest position of an answer to a command that came while this one had not.
    overtaken_by: u64,
}

enum Reply {
    Command(TransferId, Awaited<Result<Verdict, Unreadable>>),
    Look(Awaited<Seen>),
}

/// An answer that is awaited, or has come.
enum Awaited<T> {
    Coming(Answered<T>),
    Here(Option<Released<T>>),
}

impl<T> Awaited<T> {
    /// Whether it is here; looks once.
    fn is_here(&mut self) -> bool {
        if let Awaited::Coming(reply) = self {
            *self = match reply.try_recv() {
                Ok(answer) => Awaited::Here(Some(answer)),
                Err(TryRecvError::Closed) => Awaited::Here(None),
                Err(TryRecvError::Empty) => return false,
            };
        }
        true
    }

    fn wait(self) -> Option<Released<T>> {
        match self {
            Awaited::Coming(reply) => block_on(reply).ok(),
            Awaited::Here(answer) => answer,
        }
    }
}

impl Caller {
    /// The `number`th caller, on a thread that runs in that runtime.
    pub(super) fn new(ledger: &Arc<Ledger>, number: u32, runtime: Option<usize>) -> Caller {
        runtime::enter(runtime.map(runtime::Id));
        Caller {
            ledger: Arc::clone(ledger),
            last_id: u128::from(number) << 32,
            words: 0,
            waiting: Vec::new(),
            is_lost: false,
        }
    }

    pub(super) fn with_words(mut self, bytes: usize) -> Caller {
        self.words = bytes;
        self
    }

    /// Asks so many times for one of these, and in between takes an answer now and then.
    pub(super) fn ask(mut self, times: u32, choice: &[Asked]) {
        for _ in 0..times {
            let asked = choice[thread_rng().gen_range(0..choice.len())];
            self.send(asked);
            while !self.waiting.is_empty() && thread_rng().gen_range(0..2) == 0 {
                self.take_any();
            }
        }
        while !self.waiting.is_empty() {
            self.take_any();
        }
    }

    /// Asks so many times for one of these, each time when the answer before has come.
    pub(super) fn ask_in_turn(mut self, times: u32, choice: &[Asked]) {
        for _ in 0..times {
            let asked = choice[thread_rng().gen_range(0..choice.len())];
            self.send(asked);
            while !self.waiting.is_empty() {
                self.take_any();
            }
        }
    }

    fn send(&mut self, asked: Asked) {
        let shown_before = self.ledger.log().shown;
        let was_lost = self.is_lost || self.ledger.intake.shared.failure().is_some();
        let reply = match asked {
            Asked::Transfer | Asked::Again => {
                if asked == Asked::Transfer {
                    self.last_id += 1;
                }
                let id = TransferId(self.last_id);
                let mut transfer = transfer(id);
                let words = "x".repeat(self.words);
                transfer.metadata =
                    (self.words > 0).then(|| Metadata::new(words.as_str().into(), b"x"));
                self.ledger.log().sent.push(id);
                let command = Command::CreateTransfers(vec![transfer]);
                match self.ledger.intake.submit(command, None) {
                    Ok(reply) => Reply::Command(id, Awaited::Coming(reply)),
                    Err(refusal) => return self.note_refusal(&refusal),
                }
            }
            Asked::Account | Asked::Nothing => {
                let at = match asked {
                    Asked::Account => LookAt::Account(TO),
                    _ => LookAt::Accounts(Vec::new()),
                };
                match self.ledger.intake.look(at) {
                    Ok(reply) => Reply::Look(Awaited::Coming(reply)),
                    Err(ReadError::Overloaded) => {
                        return self.note_refusal(&SubmitError::Overloaded);
                    }
                    Err(ReadError::Stopping) => return self.note_refusal(&SubmitError::Stopping),
                    Err(other) => panic!("a read is refused: {other}"),
                }
            }
        };
        self.waiting.push(Waiting { reply, shown_before, was_lost, overtaken_by: 0 });
    }

    fn note_refusal(&self, refusal: &SubmitError) {
        let happened = &self.ledger.happened;
        Happened::count(match refusal {
            SubmitError::Overloaded => &happened.overloaded,
            SubmitError::StorageFull => &happened.storage_full,
            SubmitError::Stopping => &happened.stopping,
            other => panic!("a command is refused: {other}"),
        });
    }

    /// Waits for one of the answers, whichever.
    fn take_any(&mut self) {
        let at = thread_rng().gen_range(0..self.waiting.len());
        let Waiting { reply, shown_before, was_lost, overtaken_by } = self.waiting.swap_remove(at);
        let seq = match reply {
            Reply::Command(id, reply) => {
                let Some(Released { seq, outcome }) = reply.wait() else { return self.lose() };
                let Ok(Verdict::Decided(decision)) = outcome else {
                    panic!("transfer {} has no key and a readable amount", id.0)
                };
                if decision.record.is_some() {
                    self.check_recorded(id, seq.0, shown_before, overtaken_by, &decision);
                }
                seq.0
            }
            Reply::Look(reply) => {
                let Some(Released { seq, outcome }) = reply.wait() else { return self.lose() };
                Happened::count(&self.ledger.happened.reads);
                if let Seen::Account(account) = outcome {
                    let account = account.expect("it was there at the start");
                    let credits = account.balances.credits_posted.minor_units();
                    self.ledger.log().reads.push((seq.0, credits));
                }
                seq.0
            }
        };
        assert!(!was_lost, "{seq} is answered after the ledger has failed");
        let synced = self.ledger.disk.synced();
        assert!(seq <= synced, "{seq} is answered when the disk has {synced}");
        assert!(seq >= shown_before, "{seq} is answered after {shown_before} was shown");
        let mut log = self.ledger.log();
        log.shown = log.shown.max(seq);
    }

    fn check_recorded(
        &mut self,
        id: TransferId,
        seq: u64,
        shown_before: u64,
        overtaken_by: u64,
        decision: &Decision,
    ) {
        assert_eq!(decision.exceptions, [], "transfer {}", id.0);
        assert!(seq > shown_before, "{seq} is decided after {shown_before} was shown");
        assert!(seq > overtaken_by, "the answer of {overtaken_by} left before that of {seq}");
        let before = self.ledger.log().answered.insert(id.0, seq);
        assert_eq!(before, None, "transfer {} happened twice", id.0);
        Happened::count(&self.ledger.happened.answers);
        for other in &mut self.waiting {
            Happened::count(&self.ledger.happened.overlapping);
            let is_here = match &mut other.reply {
                Reply::Command(_, reply) => reply.is_here(),
                Reply::Look(reply) => reply.is_here(),
            };
            if !is_here {
                other.overtaken_by = other.overtaken_by.max(seq);
            }
        }
    }

    fn lose(&mut self) {
        self.is_lost = true;
        self.ledger.happened.unknown.fetch_add(1, Ordering::Relaxed);
    }
}
