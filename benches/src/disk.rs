//! What is written, and what the disk takes to have it.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;

use crate::cpu;
use crate::figures::median;

/// Bytes that a process has made the kernel write so far, all of its threads.
fn written_by(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/io")).unwrap_or_default();
    let bytes = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

/// Bytes that a process and its living children have made the kernel write so far.
#[must_use]
pub fn written_by_family(process: u32) -> u64 {
    written_by(process) + cpu::children(process).into_iter().map(written_by).sum::<u64>()
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
