//! One universe: a machine, the processes that follow each other on it, those who call them, and what goes wrong.

mod callers;
mod starts;
mod troubles;

use std::collections::VecDeque;
use std::time::Duration;

use florin_engine::{AccountId, Decided, TransferId, Unreadable, Verdict};
use florin_persistence::disk::simulated::{Crash, Random};
use florin_persistence::journal::{JournalReader, ReadError};
use florin_persistence::store::simulated::Commits;
use tokio::sync::oneshot;

use super::Violation;
use super::commands::{Callers, Sent};
use super::machine::{Machine, Process};
use super::model::{Fact, Model};
use super::report::Report;
use crate::clock::Clock;
use crate::commit::{Released, chain};
use crate::shard::{Arrival, Seen};
use crate::write_behind::StoreCondition;

/// So many troubles are told with a violation.
const TROUBLES_KEPT: usize = 30;
/// Turns within which a store that works catches up.
const CATCH_UP_TURNS: u32 = 20_000;

type Reply<T> = oneshot::Receiver<Released<T>>;

/// A caller who waits, and the newest position that anybody had seen when it asked.
struct Waiting {
    shown_before: u64,
    reply: Awaited,
}

enum Awaited {
    Command(usize, Reply<Result<Verdict, Unreadable>>),
    Account(AccountId, Reply<Seen>),
    Id(TransferId, Reply<Seen>),
}

pub(super) struct World {
    random: Random,
    machine: Machine,
    process: Option<Process>,
    model: Model,
    callers: Callers,
    sent: Vec<Sent>,
    /// Commands on their way, which outlive a process.
    network: VecDeque<usize>,
    mailbox: VecDeque<Arrival>,
    waiting: Vec<Waiting>,
    report: Report,
    steps_max: u64,
    /// One step in so many is trouble.
    trouble_every: u64,
    /// So many callers wait at most.
    callers_max: usize,
    /// How far the clock goes at a time, at most, in microseconds: where it is slow, much happens before a store is filled or synced.
    clock_steps: [u64; 3],
    /// The store is away until the end.
    is_store_away: bool,
    troubles_at_start: u64,
    /// What was synced is damaged just now.
    is_damaged: bool,
    /// The troubles of late, for whoever looks into a violation.
    troubles: VecDeque<String>,
}

fn violated<T>(text: impl Into<String>) -> Result<T, Violation> {
    Err(Violation(text.into()))
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut random = Random::new(seed ^ 0x5eed_0f00_0d00_0000);
        let commits = if random.one_in(2) { Commits::Durable } else { Commits::DurableWhenSynced };
        let segment_bytes = if random.one_in(4) { 128 << 10 } else { 64 << 10 };
        let callers = Callers::new(&mut random);
        let steps_max = [1_000, 4_000, 10_000, 30_000][random.below(4) as usize];
        let trouble_every = [60, 200, 1_000, 5_000][random.below(4) as usize];
        let callers_max = [1, 8, 40][random.below(3) as usize];
        let clock_steps =
            if random.one_in(3) { [1, 10, 1_000] } else { [1_000, 60_000, 1_500_000] };
        let is_store_away = random.one_in(5);
        let machine = Machine::new(seed, commits, segment_bytes);
        machine.store.set_away(is_store_away);
        World {
            machine,
            random,
            process: None,
            model: Model::default(),
            callers,
            sent: Vec::new(),
            network: VecDeque::new(),
            mailbox: VecDeque::new(),
            waiting: Vec::new(),
            report: Report { universes: 1, ..Report::default() },
            steps_max,
            trouble_every,
            callers_max,
            clock_steps,
            is_store_away,
            troubles_at_start: 0,
            is_damaged: false,
            troubles: VecDeque::new(),
        }
    }

    fn note(&mut self, trouble: impl Into<String>) {
        if self.troubles.len() >= TROUBLES_KEPT {
            self.troubles.pop_front();
        }
        let (step, record) = (self.report.steps, self.model.last());
        self.troubles.push_back(format!("step {step}, record {record}: {}", trouble.into()));
    }

    /// The troubles of late, oldest first.
    pub(super) fn troubles(&self) -> Vec<String> {
        self.troubles.iter().cloned().collect()
    }

    pub(super) fn steps(&self) -> u64 {
        self.report.steps
    }

    pub(super) fn report(&self) -> Report {
        let fate = self.machine.fate();
        Report {
            operations: fate.operations,
            failed: fate.failed,
            short_reads: fate.short,
            full: fate.full,
            records: self.model.last(),
            trace: fate.trace,
            ..self.report.clone()
        }
    }

    pub(super) fn run(&mut self) -> Result<(), Violation> {
        self.boot()?;
        while self.report.steps < self.steps_max {
            self.report.steps += 1;
            self.step()?;
        }
        self.finish()
    }

    /// What could make a process stop.
    fn troubles_so_far(&self) -> u64 {
        self.machine.fate().failures() + self.report.take_overs
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("a process runs between steps")
    }

    fn step(&mut self) -> Result<(), Violation> {
        if self.random.one_in(self.trouble_every) {
            self.trouble()?;
        } else {
            match self.random.below(100) {
                0..26 => self.call(),
                26..34 => self.read(),
                34..58 => self.turn_shard(),
                58..74 => self.commit()?,
                74..77 => self.seal(),
                77..89 => self.turn_write_behind()?,
                89..93 => self.keep_house()?,
                93..94 => self.process().forget_indexed(),
                94..95 => self.process().wired.committer.journal.tend_spares(),
                _ => {
                    let most = self.clock_steps[self.random.below(3) as usize];
                    self.machine.clock.advance(Duration::from_micros(self.random.below(most)));
                }
            }
        }
        self.settle_step()
    }

    /// What comes of a step: answers, and a process that ends.
    fn settle_step(&mut self) -> Result<(), Violation> {
        self.collect()?;
        if self.machine.fate().is_off() {
            self.report.amid_operations += 1;
            return self.crash(Crash::Power);
        }
        let shared = &self.process().wired.shared;
        let Some(failure) = shared.failure().map(str::to_owned) else { return Ok(()) };
        if failure.contains("panicked") {
            return violated(failure);
        }
        // What was admitted has its room, however full the disk is.
        if failure.contains("no room") || self.troubles_so_far() == self.troubles_at_start {
            return violated(format!("the ledger stops although nothing failed: {failure}"));
        }
        self.report.fail_stops += 1;
        self.note(format!("stops: {failure}"));
        let crash = if self.random.one_in(2) { Crash::Process } else { Crash::Power };
        self.crash(crash)
    }

    fn turn_shard(&mut self) {
        let process = self.process.as_mut().expect("a process runs between steps");
        let shard = &mut process.wired.shard;
        for _ in 0..1 + self.random.below(4) {
            let Some(arrival) = self.mailbox.pop_front() else { break };
            let before = shard.state.seq();
            shard.arrive(arrival);
            if shard.state.seq() != before {
                self.model.decided(shard.state.seq().0, shard.state.state_hash());
            }
        }
        let before = shard.state.seq();
        shard.expire_slice(Clock::now(&self.machine.clock));
        if shard.state.seq() != before {
            self.model.decided(shard.state.seq().0, shard.state.state_hash());
        }
        shard.publish_counts();
    }

    fn commit(&mut self) -> Result<(), Violation> {
        self.process().commit();
        if self.random.one_in(8) { self.follow() } else { Ok(()) }
    }

    fn turn_write_behind(&mut self) -> Result<(), Violation> {
        if self.random.one_in(60) {
            // Somebody waits for a list that has what was acknowledged.
            let shared = &self.process().wired.shared;
            shared.demand_stored(shared.durable());
        }
        self.process().turn_write_behind();
        // A journal that can not be read for a fault of the disk is tried again; nothing else keeps a store from its rows.
        match self.process().wired.store_status.condition() {
            StoreCondition::Stuck { error, .. }
                if !error.contains("os error") && !error.contains("the machine") =>
            {
                violated(format!("the store is stuck: {error}"))
            }
            _ => Ok(()),
        }
    }

    fn seal(&mut self) {
        let process = self.process();
        if process.wired.committer.queue.is_empty() {
            process.seal();
        }
    }

    fn keep_house(&mut self) -> Result<(), Violation> {
        let woken = self.process().wired.housekeeper.woken.try_recv().is_ok();
        if woken || self.random.one_in(16) {
            // Before segments go, the model has seen what is in them.
            self.follow()?;
            let segments = self.process().wired.segments.segments().len();
            self.process().keep_house();
            let left = self.process().wired.segments.segments().len();
            self.report.removed += segments.saturating_sub(left) as u64;
        }
        Ok(())
    }

    /// Lets the model follow the journal as far as it is durable.
    fn follow(&mut self) -> Result<(), Violation> {
        self.follow_from(self.model.last() + 1)
    }

    fn follow_from(&mut self, seq: u64) -> Result<(), Violation> {
        if self.machine.fate().is_off() {
            return Ok(());
        }
        let weather = self.machine.fate().calm();
        let segments = self.process().wired.segments.clone();
        let mut cursor = JournalReader::new(segments).read_from(seq);
        let mut result = Ok(());
        while result.is_ok() {
            match cursor.next_frame(u64::MAX) {
                Ok(Some(frame)) => {
                    let records = frame.records().filter(|(at, _)| *at >= seq);
                    for (at, bytes) in records {
                        result = result.and_then(|()| self.model.follow(at, bytes));
                    }
                }
                Ok(None) => break,
                // What no start has to read is read later, and refused then.
                Err(ReadError::Damaged(_)) if self.is_damaged => break,
                Err(error) => {
                    result = violated(format!("the journal can not be read: {}", chain(&error)));
                }
            }
        }
        self.machine.fate().resume(weather);
        result
    }

    /// Everything clears up: what is on its way arrives, the store catches up, and is the ledger.
    fn finish(&mut self) -> Result<(), Violation> {
        self.machine.fate().calm();
        self.machine.store.set_away(false);
        self.stop()?;
        self.settle_step()?;
        while let Some(which) = self.network.pop_front() {
            self.deliver(which);
            self.turn_shard();
            self.commit()?;
            self.settle_step()?;
        }
        self.drain()?;
        let mut turns = 0;
        while self.machine.store.look(|_, at| at.seq) < self.process().wired.shared.durable()
            || self.machine.store.steps_left() > 0
        {
            turns += 1;
            if turns > CATCH_UP_TURNS {
                let status = self.process().wired.store_status.condition();
                let steps = self.machine.store.steps_left();
                return violated(format!(
                    "the store does not catch up: {status:?}, {steps} steps of tidying left"
                ));
            }
            self.process().turn_write_behind();
            self.machine.clock.advance(Duration::from_millis(5));
            self.settle_step()?;
            // Another writer may have taken it over just before.
            if !self.process().has_write_behind() {
                self.stop()?;
            }
        }
        self.follow()?;
        self.process().keep_house();
        self.check_store()?;
        self.report.caught_up += 1;
        self.stop()?;
        self.settle_step()
    }
}

fn fact(decided: Decided) -> Fact {
    Fact { seq: decided.seq.0, timestamp: decided.timestamp, kind: decided.kind }
}
