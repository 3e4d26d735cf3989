//! How files are written that nobody waits for: a little at a time, each synced, with rests.
//!
//! The disk does one thing after another. What was written and not yet synced would go to it at once, and the journal's next sync, for which transfers wait,
//! would wait behind all of it: 100 MB/s beside it made its longest wait 7 ms in steps of a MiB, and 28 ms in steps of four.

use std::io;
use std::thread;
use std::time::Duration;

/// So many bytes go to the disk at once.
pub(crate) const STEP_BYTES: u64 = 1 << 20;
/// So long others have the disk then.
pub(crate) const REST: Duration = Duration::from_millis(3);

/// What of a file has been written and not synced.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    unsynced: u64,
}

impl Pace {
    /// Notes that so many bytes were written, and syncs and rests where it is time for it.
    pub(crate) fn wrote(
        &mut self,
        bytes: u64,
        sync: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        self.unsynced += bytes;
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
