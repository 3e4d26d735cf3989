//! Those who send commands and ask questions, and what they learn.

use florin_engine::AccountId;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::super::Violation;
use super::{Awaited, Waiting, World, fact};
use crate::commit::Released;
use crate::shard::{Arrival, Look, LookAt, Seen, Submit};
use crate::size::record_bytes_max;

/// Of the commands that were made up, so many can be sent again.
const REMEMBERED: usize = 2000;

impl World {
    /// Somebody sends a command: a new one, one that was sent before, or one that was long on its way.
    pub(super) fn call(&mut self) {
        if self.waiting.len() >= self.callers_max {
            return;
        }
        let late = self.random.below(3) == 0;
        let which = match self.network.pop_front() {
            Some(which) if late => which,
            on_its_way => {
                self.network.extend(on_its_way);
                self.choose_command()
            }
        };
        // Some arrive twice, and some arrive later.
        if self.random.one_in(30) {
            self.network.push_back(which);
        }
        if self.random.one_in(30) {
            self.network.push_back(which);
            return;
        }
        self.deliver(which);
    }

    pub(super) fn choose_command(&mut self) -> usize {
        if self.random.one_in(7) && !self.sent.is_empty() {
            self.report.repeated += 1;
            let newest = self.random.one_in(2);
            let from = if newest { self.sent.len().saturating_sub(20) } else { 0 };
            return self.random.between(from, self.sent.len());
        }
        let sent = self.callers.make(&mut self.random, &self.model);
        self.model.ask(&sent);
        if self.sent.len() < REMEMBERED {
            self.sent.push(sent);
            return self.sent.len() - 1;
        }
        // What is on its way, or waited for, keeps its place.
        let which = self.random.between(0, self.sent.len());
        let is_used = self.network.contains(&which)
            || self
                .waiting
                .iter()
                .any(|it| matches!(it.reply, Awaited::Command(at, _) if at == which));
        if !is_used {
            self.sent[which] = sent;
        }
        which
    }

    pub(super) fn deliver(&mut self, which: usize) {
        let (command, key) = (self.sent[which].command.clone(), self.sent[which].key);
        let wired = &self.process().wired;
        let Ok(bytes) = record_bytes_max(&command) else { return };
        if bytes > wired.record_bytes_max {
            return;
        }
        let events = command.events() as u64;
        let Ok(permit) = wired.admission.admit(events, bytes, || wired.room.bytes()) else {
            self.report.refused += 1;
            return;
        };
        let (reply, released) = oneshot::channel();
        self.mailbox.push_back(Arrival::Submit(Submit { command, key, permit, reply }));
        self.report.delivered += 1;
        let shown_before = self.model.shown;
        self.waiting.push(Waiting { shown_before, reply: Awaited::Command(which, released) });
    }

    pub(super) fn read(&mut self) {
        if self.waiting.len() >= self.callers_max {
            return;
        }
        let accounts: Vec<AccountId> = self.model.asked_accounts.iter().copied().collect();
        let account = self.random.of(&accounts).copied();
        let id = self.random.of(&self.model.used_ids).copied();
        let (reply, released) = oneshot::channel();
        let (at, awaited) = match (self.random.one_in(2), account, id) {
            (true, Some(account), _) => {
                (LookAt::Account(account), Awaited::Account(account, released))
            }
            (_, _, Some(id)) => (LookAt::Id(id), Awaited::Id(id, released)),
            _ => return,
        };
        let Ok(permit) = self.process().wired.admission.admit(1, 0, || u64::MAX) else { return };
        self.mailbox.push_back(Arrival::Look(Look { at, permit, reply }));
        let shown_before = self.model.shown;
        self.waiting.push(Waiting { shown_before, reply: awaited });
    }

    /// Takes the answers that have left.
    pub(super) fn collect(&mut self) -> Result<(), Violation> {
        let waiting = std::mem::take(&mut self.waiting);
        // Answers leave in the order of their positions; what was shown before is what was shown when the question was asked.
        for Waiting { shown_before, reply } in waiting {
            let kept = match reply {
                Awaited::Command(which, mut reply) => match reply.try_recv() {
                    Ok(Released { seq, outcome: Ok(verdict) }) => {
                        self.report.acknowledged += 1;
                        self.machine.fate().note(seq.0);
                        let sent = &mut self.sent[which];
                        self.model.answered(sent, shown_before, seq, &verdict)?;
                        None
                    }
                    Ok(Released { outcome: Err(_), .. }) => None,
                    Err(TryRecvError::Empty) => Some(Awaited::Command(which, reply)),
                    Err(TryRecvError::Closed) => {
                        self.report.unknown += 1;
                        None
                    }
                },
                Awaited::Account(id, mut reply) => match reply.try_recv() {
                    Ok(Released { seq, outcome: Seen::Account(account) }) => {
                        self.report.reads += 1;
                        self.model.saw_account(id, shown_before, seq, account.as_deref())?;
                        None
                    }
                    Err(TryRecvError::Empty) => Some(Awaited::Account(id, reply)),
                    Ok(_) | Err(TryRecvError::Closed) => None,
                },
                Awaited::Id(id, mut reply) => match reply.try_recv() {
                    Ok(Released { seq, outcome: Seen::Id { decided, .. } }) => {
                        self.report.reads += 1;
                        self.model.saw_id(id, shown_before, seq, decided.map(fact))?;
                        None
                    }
                    Err(TryRecvError::Empty) => Some(Awaited::Id(id, reply)),
                    Ok(_) | Err(TryRecvError::Closed) => None,
                },
            };
            self.waiting.extend(kept.map(|reply| Waiting { shown_before, reply }));
        }
        Ok(())
    }
}
