//! What happens to a simulated machine, operation by operation, as its seed decides.

use std::io::{self, ErrorKind};

/// An operation that may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Opening a file to write.
    Open,
    /// Reading from a file, or looking at names.
    Read,
    /// Writing to a file.
    Write,
    /// Syncing a file.
    Sync,
    /// Reserving room for a file.
    Allocate,
    /// Changing a name.
    Name,
    /// Syncing a directory.
    SyncDir,
    /// Reading the index of decided ids.
    IndexRead,
    /// Writing a batch to it.
    IndexWrite,
    /// A statement of the store.
    Statement,
}

impl Operation {
    /// How many there are.
    pub const COUNT: usize = 10;
    /// All of them, in the order of their numbers, with their names.
    pub const NAMES: [(Operation, &'static str); Operation::COUNT] = [
        (Operation::Open, "open"),
        (Operation::Read, "read"),
        (Operation::Write, "write"),
        (Operation::Sync, "sync"),
        (Operation::Allocate, "allocate"),
        (Operation::Name, "name"),
        (Operation::SyncDir, "sync of a directory"),
        (Operation::IndexRead, "read of the index"),
        (Operation::IndexWrite, "write to the index"),
        (Operation::Statement, "statement of the store"),
    ];
}

/// A generator of numbers that are the same for the same seed (xorshift64*).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        // SplitMix's finalizer spreads small seeds over all bits.
        let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Random((state ^ (state >> 31)) | 1)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.any()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `start` to below `end`; `start` where there is none.
    pub fn between(&mut self, start: usize, end: usize) -> usize {
        start + self.below(end.saturating_sub(start).max(1) as u64) as usize
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// True so many times in a million.
    pub fn millionths(&mut self, times: u32) -> bool {
        times > 0 && self.below(1_000_000) < u64::from(times)
    }

    /// One of these, if there are any.
    pub fn of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        if all.is_empty() { None } else { all.get(self.below(all.len() as u64) as usize) }
    }

    /// Another order.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for at in (1..all.len()).rev() {
            all.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}

/// How often operations fail just now.
#[derive(Clone, Debug)]
pub struct Weather {
    /// Failures in a million operations of each kind.
    pub failing: [u32; Operation::COUNT],
    /// Reads that come in pieces, in a million.
    pub short_reads: u32,
    /// Bytes that all files together may take.
    pub capacity_bytes: u64,
}

impl Weather {
    /// Nothing fails.
    pub const FAIR: Weather =
        Weather { failing: [0; Operation::COUNT], short_reads: 0, capacity_bytes: 1 << 40 };
}

/// The fate of a machine: its seed, its weather, when it goes off, and what happened so far.
#[derive(Debug)]
pub struct Fate {
    /// Decides everything that is left open.
    pub random: Random,
    /// How often operations fail.
    pub weather: Weather,
    /// After so many operations everything ends.
    fuse: Option<u64>,
    is_off: bool,
    /// Operations so far.
    pub operations: u64,
    /// How many failed, by kind.
    pub failed: [u64; Operation::COUNT],
    /// How many met a full disk.
    pub full: u64,
    /// How many reads came in pieces.
    pub short: u64,
    /// A hash of everything that happened, in order.
    pub trace: u64,
}

impl Fate {
    /// The fate that follows from this seed, in fair weather.
    #[must_use]
    pub fn new(seed: u64) -> Fate {
        Fate {
            random: Random::new(seed),
            weather: Weather::FAIR,
            fuse: None,
            is_off: false,
            operations: 0,
            failed: [0; Operation::COUNT],
            full: 0,
            short: 0,
            trace: 0,
        }
    }

    /// From now on the machine goes off after so many operations.
    pub fn light_fuse(&mut self, operations: u64) {
        self.fuse = Some(operations);
    }

    /// True once the fuse has burnt down: nothing works until [`Fate::switch_on`].
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.is_off
    }

    /// The machine runs again, without a fuse.
    pub fn switch_on(&mut self) {
        self.is_off = false;
        self.fuse = None;
    }

    /// Nothing fails until [`Fate::resume`] is given what this returns.
    pub fn calm(&mut self) -> (Weather, Option<u64>) {
        (std::mem::replace(&mut self.weather, Weather::FAIR), self.fuse.take())
    }

    /// What was calmed goes on.
    pub fn resume(&mut self, (weather, fuse): (Weather, Option<u64>)) {
        self.weather = weather;
        self.fuse = fuse;
    }

    /// How many operations failed, of any kind.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failed.iter().sum::<u64>() + self.full
    }

    /// Adds to the hash of what happened.
    pub fn note(&mut self, what: u64) {
        self.trace = (self.trace.rotate_left(5) ^ what).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    /// Decides whether an operation succeeds.
    ///
    /// # Errors
    /// It does not.
    pub fn meet(&mut self, operation: Operation) -> io::Result<()> {
        if self.is_off {
            return Err(io::Error::other("the machine is off"));
        }
        self.operations += 1;
        self.note(operation as u64);
        if let Some(left) = &mut self.fuse {
            if *left == 0 {
                self.is_off = true;
                return Err(io::Error::other("the machine went off"));
            }
            *left -= 1;
        }
        if self.random.millionths(self.weather.failing[operation as usize]) {
            self.failed[operation as usize] += 1;
            self.note(0x100 + operation as u64);
            return Err(io::Error::from_raw_os_error(EIO));
        }
        Ok(())
    }

    /// How many bytes the kernel gives at a time of the next read, where it does not give all.
    pub(super) fn shortness(&mut self) -> Option<usize> {
        if !self.random.millionths(self.weather.short_reads) {
            return None;
        }
        self.short += 1;
        Some(1 + self.random.below(4096) as usize)
    }

    pub(super) fn note_full(&mut self) {
        self.full += 1;
        self.note(ErrorKind::StorageFull as u64 + 0x200);
    }
}

/// What a failing disk says.
const EIO: i32 = 5;
