//! How a process starts, and what must be there then.

use std::sync::atomic::Ordering;
use std::time::Duration;

use florin_engine::{AccountId, TransferId};
use florin_persistence::disk::simulated::Crash;
use tokio::sync::oneshot;

use super::super::Violation;
use super::{World, fact, violated};
use crate::clock::Clock;
use crate::commit::{Released, chain};
use crate::options::ClockAcceptance;
use crate::recovery::OpenError;
use crate::shard::{Arrival, Look, LookAt, Seen};

/// Starts that may fail for faults before the weather clears up.
const FAILED_STARTS_MAX: u32 = 6;
/// Of the ids that were used, so many are looked up after each start, beside the newest.
const IDS_CHECKED: usize = 100;

impl World {
    /// Starts a process, however often it takes.
    pub(super) fn boot(&mut self) -> Result<(), Violation> {
        let mut acceptance = ClockAcceptance::Strict;
        let mut failed = 0;
        loop {
            if failed > FAILED_STARTS_MAX {
                self.machine.fate().calm();
            }
            let failures = self.machine.fate().failures();
            self.troubles_at_start = self.troubles_so_far();
            let started = self.machine.start(acceptance);
            if self.machine.fate().is_off() {
                drop(started);
                self.report.power_losses += 1;
                self.report.amid_operations += 1;
                self.end(Crash::Power);
                continue;
            }
            match started {
                Ok(process) => {
                    self.process = Some(process);
                    break;
                }
                Err(OpenError::ClockBehind(seconds)) => {
                    // Somebody sets it right.
                    self.machine.clock.advance(Duration::from_secs_f64(seconds + 1.0));
                    self.end(Crash::Process);
                }
                Err(OpenError::ClockAhead(_)) => {
                    acceptance = ClockAcceptance::Accept;
                    self.end(Crash::Process);
                }
                Err(error) if self.machine.fate().failures() > failures => {
                    self.note(format!("does not start: {}", chain(&error)));
                    failed += 1;
                    self.report.failed_starts += 1;
                    let crash = if self.random.one_in(2) { Crash::Process } else { Crash::Power };
                    self.end(crash);
                }
                Err(error) => {
                    return violated(format!("the ledger does not start: {}", chain(&error)));
                }
            }
        }
        self.report.starts += 1;
        let torn =
            self.process().wired.committer.journal.torn_tail().map(|torn| format!("{torn:?}"));
        self.note(format!("starts; torn: {torn:?}"));
        self.check_start()?;
        self.expire_at_start();
        self.settle_step()
    }

    pub(super) fn expire_at_start(&mut self) {
        let process = self.process.as_mut().expect("a process has just started");
        let before = process.wired.shard.state.seq().0;
        process.expire_at_start();
        let state = &process.wired.shard.state;
        if state.seq().0 > before {
            self.model.decided(state.seq().0, state.state_hash());
        }
    }

    /// Compares everything that came back with the model.
    pub(super) fn check_start(&mut self) -> Result<(), Violation> {
        let weather = self.machine.fate().calm();
        let result = self.compare_all();
        self.machine.fate().resume(weather);
        result
    }

    pub(super) fn compare_all(&mut self) -> Result<(), Violation> {
        let (state_hash, seq, oldest) = {
            let wired = &self.process().wired;
            let state = &wired.shard.state;
            (state.state_hash(), state.seq().0, wired.segments.oldest_seq())
        };
        let now = Clock::now(&self.machine.clock);
        self.model.started(now, seq, state_hash)?;
        if oldest > self.model.last() + 1 {
            return violated(format!("records before {oldest} were removed unseen"));
        }
        self.follow_from(oldest)?;
        if self.model.last() != seq {
            return violated(format!(
                "the ledger is at {seq}, its journal at {}",
                self.model.last()
            ));
        }
        self.model.check_nothing_left()?;
        if self.process().wired.committer.journal.torn_tail().is_some() {
            self.report.torn_tails += 1;
        }
        let snapshot = self.process().wired.snapshot_seq.load(Ordering::Relaxed);
        self.report.snapshot_starts += u64::from(snapshot > 0);
        let accounts: Vec<AccountId> = self.model.asked_accounts.iter().copied().collect();
        if let Seen::Accounts(found) = self.look(LookAt::Accounts(accounts.clone()))? {
            for (id, account) in accounts.iter().zip(&found) {
                self.model.check_account(*id, account.as_ref())?;
            }
        }
        let ids = self.ids_to_check();
        if let Seen::Ids(found) = self.look(LookAt::Ids(ids.clone()))? {
            for (id, decided) in ids.iter().zip(&found) {
                self.model.check_id(*id, decided.map(fact))?;
            }
        }
        if let Seen::Ends(found) = self.look(LookAt::Ends(ids.clone()))? {
            for (id, end) in ids.iter().zip(&found) {
                self.model.check_end(*id, end.map(|end| (end.seq.0, end.kind)))?;
            }
        }
        self.check_store()
    }

    pub(super) fn ids_to_check(&mut self) -> Vec<TransferId> {
        let used = &self.model.used_ids;
        let newest = used.len().saturating_sub(IDS_CHECKED);
        let mut ids = used[newest..].to_vec();
        for _ in 0..IDS_CHECKED.min(newest) {
            ids.push(used[self.random.between(0, newest)]);
        }
        ids
    }

    /// Looks at the ledger while nothing is in flight.
    pub(super) fn look(&mut self, at: LookAt) -> Result<Seen, Violation> {
        let wired = &mut self.process().wired;
        let permit = match wired.admission.admit(at.count(), 0, || u64::MAX) {
            Ok(permit) => permit,
            Err(refusal) => return violated(format!("a read is refused: {refusal:?}")),
        };
        let (reply, mut released) = oneshot::channel();
        wired.shard.arrive(Arrival::Look(Look { at, permit, reply }));
        match released.try_recv() {
            Ok(Released { outcome, .. }) => Ok(outcome),
            Err(_) => violated("a read of an idle ledger is not answered"),
        }
    }

    pub(super) fn check_store(&mut self) -> Result<(), Violation> {
        let model = &mut self.model;
        self.machine.store.look(|rows, checkpoint| model.check_store(rows, checkpoint))
    }
}
