//! Where, when and of what something was measured, as a table says it.

use std::fs;
use std::process::Command;

/// The first line that a command prints; nothing if it can not be run.
fn said(command: &str, words: &[&str]) -> Option<String> {
    let output = Command::new(command).args(words).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = output.ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())
}

fn named(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}

/// The commit that is checked out, marked if files differ from it, but for the tables that benchmarks write.
#[must_use]
pub fn commit() -> String {
    let changed = [
        "status",
        "--porcelain",
        "--untracked-files=no",
        "--",
        ":/",
        ":(top,exclude)benches/README.md",
        ":(top,exclude)benches/results",
    ];
    match said("git", &["rev-parse", "--short=12", "HEAD"]) {
        None => "unknown".to_owned(),
        Some(commit) if said("git", &changed).is_none() => commit,
        Some(commit) => format!("{commit} and changes"),
    }
}

/// Today, as in `2026-11-21`, in UTC.
#[must_use]
pub fn date() -> String {
    jiff::Timestamp::now().strftime("%F").to_string()
}

/// Processors, memory and kernel.
#[must_use]
pub fn describe() -> String {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let model = named("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
    let memory = named("/proc/meminfo", "MemTotal");
    let memory = memory.and_then(|memory| memory.split(' ').next()?.parse::<f64>().ok());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{processors} processors ({model}), {:.0} GiB of memory, Linux {}",
        memory.unwrap_or(0.0) / f64::from(1 << 20),
        kernel.trim()
    )
}
