//! What the process takes from the machine, as the kernel counts it, under the names that every exporter gives it.

use std::fs;

use metrics::{describe_gauge, gauge};

/// Bytes of memory that are resident.
const RESIDENT: &str = "process_resident_memory_bytes";
/// Files and connections that are open.
const OPEN_FDS: &str = "process_open_fds";
/// How many may be.
const MAX_FDS: &str = "process_max_fds";

pub(super) fn describe() {
    describe_gauge!(RESIDENT, "Bytes of memory that are resident.");
    describe_gauge!(OPEN_FDS, "Files and connections that are open.");
    describe_gauge!(MAX_FDS, "How many files and connections may be open.");
}

/// Brings the gauges up to date; called when the metrics are asked for. What the kernel does not say stays out.
pub(crate) fn refresh() {
    let figures = [(RESIDENT, resident_bytes()), (OPEN_FDS, open_fds()), (MAX_FDS, max_fds())];
    for (name, figure) in figures {
        if let Some(figure) = figure {
            gauge!(name).set(figure as f64);
        }
    }
}

/// Bytes resident now; `None` where the kernel does not say.
pub(crate) fn resident_bytes() -> Option<u64> {
    field("VmRSS:")
}

/// The most bytes that were ever resident.
pub(crate) fn peak_bytes() -> Option<u64> {
    field("VmHWM:")
}

fn open_fds() -> Option<u64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?;
    // One of them is the directory that is being read.
    Some((entries.count() as u64).saturating_sub(1))
}

fn max_fds() -> Option<u64> {
    parse_limit(&fs::read_to_string("/proc/self/limits").ok()?)
}

/// The soft limit; `None` also where there is none.
fn parse_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn field(name: &str) -> Option<u64> {
    parse(&fs::read_to_string("/proc/self/status").ok()?, name)
}

fn parse(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_counts_in_kibibytes() {
        let status = "Name:\tflorin\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(parse(status, "VmRSS:"), Some(1 << 20));
        assert_eq!(parse(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(parse(status, "VmSwap:"), None);
    }

    #[test]
    fn the_soft_limit_is_the_one_that_counts() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            65536                1048576              files\n";
        assert_eq!(parse_limit(limits), Some(65_536));
        assert_eq!(parse_limit("Max open files            unlimited   unlimited   files\n"), None);
        assert_eq!(parse_limit(""), None);
    }

    #[test]
    fn an_open_file_is_counted() {
        // Other tests open files too, so only that there are some can be said.
        let open = open_fds().unwrap();
        assert!((3..max_fds().unwrap()).contains(&open), "{open}");
    }
}
