//! One universe: a machine, the processes that follow each other on it, those who call them, and what goes wrong.

use std::collections::VecDeque;
use std::time::Duration;

use florin_engine::{AccountId, Decided, TransferId, Unreadable, Verdict};
use florin_persistence::disk::simulated::{Crash, Damage, Operation, Random, Weather};
use florin_persistence::journal::{JournalReader, ReadError};
use florin_persistence::store::simulated::Commits;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::Violation;
use super::commands::{Callers, Sent};
use super::machine::{Machine, Process};
use super::model::{Fact, Model};
use super::report::Report;
use crate::commit::{Released, chain};
use crate::options::ClockAcceptance;
use crate::recovery::OpenError;
use crate::shard::{Arrival, Look, LookAt, Seen, Submit};
use crate::size::record_bytes_max;

/// Of the commands that were made up, so many can be sent again.
const REMEMBERED: usize = 2000;
/// Starts that may fail for faults before the weather clears up.
const FAILED_STARTS_MAX: u32 = 6;
/// Of the ids that were used, so many are looked up after each start, beside the newest.
const IDS_CHECKED: usize = 100;
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
        let trouble_every = [60, 200, 1_000][random.below(3) as usize];
        let callers_max = [1, 8, 40][random.below(3) as usize];
        World {
            machine: Machine::new(seed, commits, segment_bytes),
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
                77..89 => self.process().turn_write_behind(),
                89..93 => self.keep_house()?,
                93..94 => self.process().forget_indexed(),
                94..95 => self.process().wired.committer.journal.tend_spares(),
                _ => {
                    let micros = [10, 1_000, 60_000, 1_500_000][self.random.below(4) as usize];
                    self.machine.clock.advance(Duration::from_micros(self.random.below(micros)));
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

    // --- callers ------------------------------------------------------------------------------------------------------

    /// Somebody sends a command: a new one, one that was sent before, or one that was long on its way.
    fn call(&mut self) {
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

    fn choose_command(&mut self) -> usize {
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

    fn deliver(&mut self, which: usize) {
        let (command, key) = (self.sent[which].command.clone(), self.sent[which].key);
        let wired = &self.process().wired;
        let Ok(bytes) = record_bytes_max(&command) else { return };
        if bytes > wired.record_bytes_max {
            return;
        }
        let (events, room) = (command.events() as u64, wired.room.bytes());
        let Ok(permit) = wired.admission.admit(events, bytes, room) else {
            self.report.refused += 1;
            return;
        };
        let (reply, released) = oneshot::channel();
        self.mailbox.push_back(Arrival::Submit(Submit { command, key, permit, reply }));
        self.report.delivered += 1;
        let shown_before = self.model.shown;
        self.waiting.push(Waiting { shown_before, reply: Awaited::Command(which, released) });
    }

    fn read(&mut self) {
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
        let Ok(permit) = self.process().wired.admission.admit(1, 0, u64::MAX) else { return };
        self.mailbox.push_back(Arrival::Look(Look { at, permit, reply }));
        let shown_before = self.model.shown;
        self.waiting.push(Waiting { shown_before, reply: awaited });
    }

    /// Takes the answers that have left.
    fn collect(&mut self) -> Result<(), Violation> {
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

    // --- the process --------------------------------------------------------------------------------------------------

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
        shard.expire_slice(crate::clock::Clock::now(&self.machine.clock));
        if shard.state.seq() != before {
            self.model.decided(shard.state.seq().0, shard.state.state_hash());
        }
        shard.publish_counts();
    }

    fn commit(&mut self) -> Result<(), Violation> {
        self.process().commit();
        if self.random.one_in(8) { self.follow() } else { Ok(()) }
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

    // --- trouble ------------------------------------------------------------------------------------------------------

    fn trouble(&mut self) -> Result<(), Violation> {
        match self.random.below(24) {
            0..5 => {
                let operations = [3, 30, 300][self.random.below(3) as usize];
                let operations = self.random.below(operations);
                self.note(format!("the power will go after {operations} operations"));
                self.machine.fate().light_fuse(operations);
                Ok(())
            }
            5..8 => self.crash(Crash::Power),
            8..11 => self.crash(Crash::Process),
            11..12 => self.stop(),
            12..16 => {
                self.change_weather();
                Ok(())
            }
            16..18 => {
                self.machine.fate().weather = Weather::FAIR;
                self.machine.store.set_away(false);
                Ok(())
            }
            18..19 => {
                let is_away = self.random.one_in(2);
                self.machine.store.set_away(is_away);
                Ok(())
            }
            19..20 => {
                self.report.take_overs += 1;
                self.note("the store is taken over");
                self.machine.store.take_over();
                Ok(())
            }
            20..21 => {
                self.report.clock_jumps += 1;
                let seconds = [1, 30, 100_000][self.random.below(3) as usize];
                self.machine.clock.advance(Duration::from_secs(self.random.below(seconds)));
                Ok(())
            }
            21..22 => {
                // Only a start can meet a clock that was set back.
                self.report.clock_jumps += 1;
                self.crash(Crash::Process)?;
                Ok(())
            }
            _ => self.damage(),
        }
    }

    fn change_weather(&mut self) {
        let mut weather = Weather::FAIR;
        for _ in 0..1 + self.random.below(3) {
            let operation = self.random.below(Operation::COUNT as u64) as usize;
            weather.failing[operation] = [500, 10_000, 200_000][self.random.below(3) as usize];
        }
        if self.random.one_in(3) {
            weather.short_reads = 300_000;
        }
        if self.random.one_in(4) {
            let most = [2 << 10, 300 << 10][self.random.below(2) as usize];
            let more = self.random.below(most);
            weather.capacity_bytes = self.machine.disk.used_bytes() + more;
        }
        self.note(format!("{weather:?}"));
        self.machine.fate().weather = weather;
    }

    /// Ends the process, and starts the next one.
    fn crash(&mut self, crash: Crash) -> Result<(), Violation> {
        self.collect()?;
        match crash {
            Crash::Process => self.report.kills += 1,
            Crash::Power => self.report.power_losses += 1,
        }
        self.end(crash);
        if self.random.one_in(12) {
            // The clock was set meanwhile.
            let seconds = self.random.below(20);
            let now = self.machine.clock.nanoseconds();
            self.machine.clock.set(now - seconds * 1_000_000_000);
        }
        if self.random.one_in(6) {
            let operations = self.random.below(120);
            self.machine.fate().light_fuse(operations);
        }
        self.boot()
    }

    fn end(&mut self, crash: Crash) {
        self.note(format!("ends: {crash:?}"));
        // Callers try again some time later.
        for Waiting { reply, .. } in std::mem::take(&mut self.waiting) {
            if let Awaited::Command(which, _) = reply {
                self.report.unknown += 1;
                if self.network.len() < 100 {
                    self.network.push_back(which);
                }
            }
        }
        self.mailbox.clear();
        self.process = None;
        self.machine.store.crash(crash == Crash::Power);
        self.machine.disk.crash(crash);
        self.machine.fate().switch_on();
    }

    /// Answers what was accepted, seals, and ends, as when told to stop.
    fn drain(&mut self) -> Result<(), Violation> {
        while !self.mailbox.is_empty() {
            self.turn_shard();
        }
        while self.process().commit() {}
        self.process().seal();
        self.collect()
    }

    fn stop(&mut self) -> Result<(), Violation> {
        self.process().wired.admission.close();
        self.process().stopping.send_replace(true);
        self.drain()?;
        let is_whole = self.process().wired.shared.failure().is_none();
        if self.machine.fate().is_off() || !is_whole {
            return Ok(());
        }
        if !self.waiting.is_empty() {
            return violated("a ledger stopped without answering what it had accepted");
        }
        self.report.stops += 1;
        self.end(Crash::Process);
        self.boot()
    }

    /// Something that was synced turns out not to be there. A start must find it, or nothing may differ.
    fn damage(&mut self) -> Result<(), Violation> {
        self.machine.fate().calm();
        self.drain()?;
        let is_whole = self.process().wired.shared.failure().is_none();
        if self.machine.fate().is_off() || !is_whole {
            return Ok(());
        }
        self.follow()?;
        self.end(Crash::Power);
        let kind = [Damage::BitRot, Damage::LostWrite, Damage::MisdirectedWrite];
        let kind = kind[self.random.below(3) as usize];
        let data_dir = self.machine.options.data_dir.clone();
        let Some(undo) = self.machine.disk.damage(&data_dir, kind) else { return self.boot() };
        self.report.damages += 1;
        self.note(format!("{kind:?}: {undo:?}"));
        match self.machine.start(ClockAcceptance::Accept) {
            Ok(process) => {
                self.process = Some(process);
                self.is_damaged = true;
                self.check_start()?;
                // Not all is read at a start. What is read now may be refused, and must not be wrong.
                self.process().keep_house();
                self.is_damaged = false;
                self.end(Crash::Power);
            }
            Err(OpenError::ClockBehind(_)) => self.end(Crash::Power),
            Err(error) => {
                self.report.damages_found += 1;
                self.note(format!("found: {}", chain(&error)));
                self.end(Crash::Power);
            }
        }
        self.machine.disk.undo(undo);
        self.boot()
    }

    // --- starting -----------------------------------------------------------------------------------------------------

    /// Starts a process, however often it takes.
    fn boot(&mut self) -> Result<(), Violation> {
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

    fn expire_at_start(&mut self) {
        let process = self.process.as_mut().expect("a process has just started");
        let before = process.wired.shard.state.seq().0;
        process.expire_at_start();
        let state = &process.wired.shard.state;
        if state.seq().0 > before {
            self.model.decided(state.seq().0, state.state_hash());
        }
    }

    /// Compares everything that came back with the model.
    fn check_start(&mut self) -> Result<(), Violation> {
        let weather = self.machine.fate().calm();
        let result = self.compare_all();
        self.machine.fate().resume(weather);
        result
    }

    fn compare_all(&mut self) -> Result<(), Violation> {
        let (state_hash, seq, oldest) = {
            let wired = &self.process().wired;
            let state = &wired.shard.state;
            (state.state_hash(), state.seq().0, wired.segments.oldest_seq())
        };
        self.model.started(seq, state_hash)?;
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
        let snapshot = self.process().wired.snapshot_seq.load(std::sync::atomic::Ordering::Relaxed);
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

    fn ids_to_check(&mut self) -> Vec<TransferId> {
        let used = &self.model.used_ids;
        let newest = used.len().saturating_sub(IDS_CHECKED);
        let mut ids = used[newest..].to_vec();
        for _ in 0..IDS_CHECKED.min(newest) {
            ids.push(used[self.random.between(0, newest)]);
        }
        ids
    }

    /// Looks at the ledger while nothing is in flight.
    fn look(&mut self, at: LookAt) -> Result<Seen, Violation> {
        let wired = &mut self.process().wired;
        let permit = match wired.admission.admit(at.count(), 0, u64::MAX) {
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

    fn check_store(&mut self) -> Result<(), Violation> {
        let model = &mut self.model;
        self.machine.store.look(|rows, checkpoint| model.check_store(rows, checkpoint))
    }

    // --- the end ------------------------------------------------------------------------------------------------------

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
        while self.machine.store.look(|_, at| at.seq) < self.process().wired.shared.durable() {
            turns += 1;
            if turns > CATCH_UP_TURNS {
                let status = self.process().wired.store_status.condition();
                return violated(format!("the store does not catch up: {status:?}"));
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
