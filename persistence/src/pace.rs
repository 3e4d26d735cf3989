//! How work is done that nobody waits for, beside what callers wait for.
//!
//! **The processor.** A thread that works on keeps a core for a whole slice of the scheduler, 4 ms, also when one wakes up that is wanted more; a lower
//! priority makes its turns rarer and not shorter. So such work gives way every now and then, and does not only yield: that does nothing where it is alone
//! on its core, while all others share another one; 10 to 20 ms of that were seen. A core on which it rests for a moment is free for one of them.
//!
//! **The disk.** Files are written a little at a time, each synced, with rests. The disk does one thing after another. What was written and not yet synced would go to it at once, and the journal's next sync, for which transfers wait,
//! would wait behind all of it: 100 MB/s beside it made its longest wait 7 ms in steps of a MiB, and 28 ms in steps of four.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// So many bytes go to the disk at once.
pub(crate) const STEP_BYTES: u64 = 1 << 20;
/// So long others have the disk then.
pub(crate) const REST: Duration = Duration::from_millis(3);

/// About so many nanoseconds of work are done between two times of giving way.
const TURN_NS: u64 = 50_000;
/// What writing a byte costs, in all, in nanoseconds.
const BYTE_NS: u64 = 5;
/// After so long a thread that gives way rests.
const WORK: Duration = Duration::from_micros(200);
/// For so much of the time that it worked, unless told otherwise.
const REST_SHARE: f64 = 0.5;

/// Turns of a thread on a core that others want too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turns {
    began: Instant,
}

impl Turns {
    pub(crate) fn new() -> Turns {
        Turns { began: Instant::now() }
    }

    /// Yields; after enough work rests, for as long as `rest` makes of the time that it took, if that is any.
    pub(crate) fn give_way(&mut self, rest: impl FnOnce(Duration) -> Duration) {
        let worked = self.began.elapsed();
        // Longer is the time in which there was nothing to do.
        let rest = if worked < WORK { Duration::ZERO } else { rest(worked.min(WORK * 2)) };
        if rest.is_zero() {
            thread::yield_now();
        } else {
            thread::sleep(rest);
            self.began = Instant::now();
        }
    }
}

/// Work in small steps that gives way to whoever wants the core.
#[derive(Clone, Copy, Debug)]
pub struct GivingWay {
    worked_ns: u64,
    turns: Turns,
    rest_share: f64,
}

impl Default for GivingWay {
    fn default() -> GivingWay {
        GivingWay::resting(REST_SHARE)
    }
}

impl GivingWay {
    /// Rests for this share of the time that it works, 0 to 1; at 0 it only yields.
    #[must_use]
    pub fn resting(share: f64) -> GivingWay {
        GivingWay { worked_ns: 0, turns: Turns::new(), rest_share: share.clamp(0.0, 1.0) }
    }

    /// Notes so many steps of about so many nanoseconds each, guessed: reading a clock would cost more than most of them.
    pub fn did(&mut self, steps: u64, each_ns: u64) {
        self.worked_ns += steps * each_ns;
        if self.worked_ns >= TURN_NS {
            self.worked_ns = 0;
            self.turns.give_way(|worked| worked.mul_f64(self.rest_share));
        }
    }
}

/// What of a file has been written and not synced.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    unsynced: u64,
    giving_way: GivingWay,
}

impl Pace {
    /// Notes that so many bytes were written, and syncs and rests where it is time for it.
    pub(crate) fn wrote(
        &mut self,
        bytes: u64,
        sync: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        self.unsynced += bytes;
        self.giving_way.did(bytes, BYTE_NS);
        if self.unsynced >= STEP_BYTES {
            self.unsynced = 0;
            sync()?;
            thread::sleep(REST);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_a_share_of_the_work_and_never_of_what_there_was_to_wait_for() {
        let second = Duration::from_secs(1);
        let mut turns = Turns { began: Instant::now() - second };
        turns.give_way(|worked| {
            assert_eq!(worked, WORK * 2);
            Duration::ZERO
        });
        assert!(turns.began.elapsed() >= second, "it only yielded");
        turns.give_way(|worked| worked / 2);
        assert!(turns.began.elapsed() < second, "and begins anew after a rest");
        turns.began = Instant::now() + second;
        turns.give_way(|_| unreachable!("it has hardly worked"));
    }

    #[test]
    fn each_step_is_synced_once_it_is_whole() {
        let mut pace = Pace::default();
        let mut syncs = Vec::new();
        for write in 0..10 {
            pace.wrote(STEP_BYTES / 4, || {
                syncs.push(write);
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(syncs, [3, 7]);
        let failed = pace.wrote(STEP_BYTES, || Err(io::Error::other("the disk")));
        assert!(failed.is_err());
    }
}
