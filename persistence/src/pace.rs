//! How work is done that nobody waits for, beside what callers wait for.
//!
//! **The processor.** A thread that works on keeps a core for a whole slice of the scheduler, 4 ms, also when one wakes up that is wanted more; a lower
//! priority makes its turns rarer and not shorter. So such work gives way every now and then.
//!
//! **The disk.** Files are written a little at a time, each synced, with rests. The disk does one thing after another. What was written and not yet synced would go to it at once, and the journal's next sync, for which transfers wait,
//! would wait behind all of it: 100 MB/s beside it made its longest wait 7 ms in steps of a MiB, and 28 ms in steps of four.

use std::io;
use std::thread;
use std::time::Duration;

/// So many bytes go to the disk at once.
pub(crate) const STEP_BYTES: u64 = 1 << 20;
/// So long others have the disk then.
pub(crate) const REST: Duration = Duration::from_millis(3);

/// About so many nanoseconds of work are done between two times of giving way.
const TURN_NS: u64 = 50_000;
/// What writing a byte costs, in all, in nanoseconds.
const BYTE_NS: u64 = 5;

/// Work in small steps that gives way to whoever wants the core.
#[derive(Clone, Copy, Debug, Default)]
pub struct GivingWay {
    worked_ns: u64,
}

impl GivingWay {
    /// Notes so many steps of about so many nanoseconds each, guessed: reading a clock would cost more than most of them.
    pub fn did(&mut self, steps: u64, each_ns: u64) {
        self.worked_ns += steps * each_ns;
        if self.worked_ns >= TURN_NS {
            self.worked_ns = 0;
            thread::yield_now();
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
