//! What goes wrong.

use std::time::Duration;

use florin_persistence::disk::simulated::{Crash, Damage, Operation, Weather};

use super::super::Violation;
use super::{Awaited, Waiting, World, violated};
use crate::commit::chain;
use crate::options::ClockAcceptance;
use crate::recovery::OpenError;

impl World {
    pub(super) fn trouble(&mut self) -> Result<(), Violation> {
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
                self.machine.store.set_away(self.is_store_away);
                Ok(())
            }
            18..19 => {
                let is_away = self.is_store_away || self.random.one_in(2);
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

    pub(super) fn change_weather(&mut self) {
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
    pub(super) fn crash(&mut self, crash: Crash) -> Result<(), Violation> {
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

    pub(super) fn end(&mut self, crash: Crash) {
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
    pub(super) fn drain(&mut self) -> Result<(), Violation> {
        while !self.mailbox.is_empty() {
            self.turn_shard();
        }
        while self.process().commit() {}
        self.process().seal();
        self.collect()
    }

    pub(super) fn stop(&mut self) -> Result<(), Violation> {
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
    pub(super) fn damage(&mut self) -> Result<(), Violation> {
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
}
