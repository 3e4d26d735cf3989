//! What is written, and what the disk takes to have it.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::figures::median;

/// The device under a directory.
#[derive(Debug)]
pub struct Device {
    directory: File,
    stat: PathBuf,
}

impl Device {
    /// The device that holds this directory.
    ///
    /// # Panics
    /// The directory can not be opened.
    #[must_use]
    pub fn of(directory: &Path) -> Device {
        let directory = File::open(directory).expect("the directory is there");
        let device = directory.metadata().expect("a file that is open has metadata").dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        Device { directory, stat: PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat")) }
    }

    /// Bytes that it was given so far, with all that waits in memory on its way there. None where the kernel does not tell, as for file
    /// systems without a device of their own.
    ///
    /// What the kernel counts for each process (`write_bytes`) is no measure: a few bytes written count as the whole folio that
    /// they are in, a hundred times as much for a commit of PostgreSQL.
    ///
    /// # Panics
    /// What waits can not be written.
    #[must_use]
    pub fn written(&self) -> Option<u64> {
        rustix::fs::syncfs(&self.directory).expect("a file system can be synced");
        let stat = fs::read_to_string(&self.stat).ok()?;
        let sectors: u64 = stat.split_whitespace().nth(6)?.parse().ok()?;
        // Of 512 bytes, whatever those of the device have.
        Some(sectors * 512)
    }
}

/// The median of how long 4 KiB and an `fdatasync` take at the end of what was written before, in microseconds: the least that
/// one commit can take on this disk.
///
/// # Panics
/// The directory can not be written.
#[must_use]
pub fn sync_micros(directory: &Path) -> f64 {
    const BLOCK: [u8; 4096] = [1; 4096];
    const TIMES: usize = 500;
    let path = directory.join("sync");
    let mut file = File::create(&path).expect("a file can be made here");
    // Room that is there already, as the journal's segments are.
    file.write_all(&vec![0; BLOCK.len() * TIMES]).expect("a file can be written here");
    file.sync_all().expect("a file can be synced here");
    file.seek(SeekFrom::Start(0)).expect("a file has a beginning");
    let times = (0..TIMES).map(|_| {
        let began = Instant::now();
        file.write_all(&BLOCK).expect("a file can be written here");
        file.sync_data().expect("a file can be synced here");
        began.elapsed().as_secs_f64() * 1e6
    });
    let times: Vec<f64> = times.collect();
    let _ = fs::remove_file(path);
    median(times)
}
