//! `benches/micro`: one table of what criterion has timed and gungraun has counted.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use florin_benches::disk::sync_micros;
use florin_benches::micro::{Instructions, Named, all};
use florin_benches::{machine, results};
use serde::Deserialize;
use serde_json::Value;

/// What criterion writes down of which benchmark it was.
#[derive(Debug, Deserialize)]
struct Benchmark {
    group_id: String,
    function_id: Option<String>,
}

/// What it came to, in nanoseconds a step.
#[derive(Debug, Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Debug, Deserialize)]
struct Estimate {
    point_estimate: f64,
    confidence_interval: Interval,
}

#[derive(Debug, Deserialize)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
}

/// What is wrong with what was measured.
fn told<T>(path: &Path, read: Result<T, impl std::fmt::Display>) -> Result<T, String> {
    read.map_err(|error| format!("{}: {error}", path.display()))
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, String> {
    let text = told(path, fs::read(path))?;
    told(path, serde_json::from_slice(&text))
}

/// The newest figures of each benchmark below criterion's directory.
fn times(criterion: &Path) -> Result<Vec<(Benchmark, Estimates)>, String> {
    let entries = |directory: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let cases = entries(criterion).into_iter().flat_map(|group| entries(&group));
    let newest = cases.map(|case| case.join("new")).filter(|new| new.is_dir());
    newest
        .map(|new| Ok((read(&new.join("benchmark.json"))?, read(&new.join("estimates.json"))?)))
        .collect()
}

/// Which case gungraun tells of in a line, and its instructions of this run.
fn counted(line: &str) -> Option<(usize, u64)> {
    let summary: Value = serde_json::from_str(line).ok()?;
    // The name of the benchmark with the place of the case behind it.
    let place = summary.get("id")?.as_str()?.rsplit('_').next()?.parse().ok()?;
    let count = summary.pointer("/profiles/0/data/total/metrics/Ir/values/new")?.as_u64()?;
    Some((place, count))
}

/// The instructions of each case that has the same ones each time, in order.
fn instructions(path: &Path, cases: usize) -> Result<Vec<u64>, String> {
    let text = told(path, fs::read_to_string(path))?;
    let found: BTreeMap<usize, u64> = text.lines().filter_map(counted).collect();
    if found.keys().copied().eq(0..cases) {
        Ok(found.into_values().collect())
    } else {
        Err(format!("{}: instructions of {} cases, not of {cases}", path.display(), found.len()))
    }
}

/// Nanoseconds in a unit that can be read.
fn shown(nanos: f64) -> String {
    match nanos {
        ..100.0 => format!("{nanos:.1} ns"),
        ..10_000.0 => format!("{nanos:.0} ns"),
        ..1e6 => format!("{:.1} µs", nanos / 1e3),
        _ => format!("{:.2} ms", nanos / 1e6),
    }
}

fn markdown(
    times: &[(Benchmark, Estimates)],
    instructions: Option<Vec<u64>>,
    sync: f64,
) -> Result<String, String> {
    let mut text = String::from("# What each step costs by itself\n\n");
    let _ = writeln!(
        text,
        "Written by `benches/micro` on {}, commit {}.\n\n{}; 4 KiB and `fdatasync` {sync:.0} µs. Medians with their 95 % intervals, by criterion; instructions by valgrind, of one step each{}.\n",
        machine::date(),
        machine::commit(),
        machine::describe(),
        if instructions.is_some() { "" } else { ", which was not there" },
    );
    text.push_str("| | each | 95 % | instructions each |\n| --- | ---: | ---: | ---: |\n");
    let mut counts = instructions.map(Vec::into_iter);
    let mut group = "";
    for named in all() {
        if named.group != group {
            group = named.group;
            let _ = writeln!(text, "| **{group}** | | | |");
        }
        let count = match named.instructions {
            Instructions::Same => counts.as_mut().and_then(Iterator::next),
            Instructions::Differ => None,
        };
        let _ = writeln!(text, "{}", row(&named, times, count)?);
    }
    Ok(text)
}

fn row(
    named: &Named,
    times: &[(Benchmark, Estimates)],
    count: Option<u64>,
) -> Result<String, String> {
    let Named { group, name, each, .. } = named;
    let found = times.iter().find(|(benchmark, _)| {
        benchmark.group_id == *group && benchmark.function_id.as_deref() == Some(name)
    });
    let (_, Estimates { median }) =
        found.ok_or_else(|| format!("{group}, {name} was not timed"))?;
    let Estimate { point_estimate, confidence_interval: interval } = median;
    let each = *each as f64;
    let count = count.map_or_else(|| "–".to_owned(), |count| format!("{:.0}", count as f64 / each));
    Ok(format!(
        "| {name} | {} | {}–{} | {count} |",
        shown(point_estimate / each),
        shown(interval.lower_bound / each),
        shown(interval.upper_bound / each)
    ))
}

fn main() -> ExitCode {
    let words: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let (criterion, counted) = match &words[..] {
        [criterion] => (criterion, None),
        [criterion, counted] => (criterion, Some(counted)),
        _ => {
            eprintln!("usage: micro CRITERION_HOME [INSTRUCTIONS]");
            return ExitCode::from(2);
        }
    };
    let same = all().iter().filter(|named| named.instructions == Instructions::Same).count();
    let written = times(criterion).and_then(|times| {
        let counts = counted.map(|counted| instructions(counted, same)).transpose()?;
        let text = markdown(&times, counts, sync_micros(&env::temp_dir()))?;
        println!("\n{text}");
        results::write("micro", &text, &[]).map_err(|error| error.to_string())
    });
    match written {
        Ok(directory) => {
            println!("written to {} and into the README", directory.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("micro: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instructions_of_this_run_are_told() {
        let of = |values: Value| {
            let metrics = serde_json::json!({"Ir": {"values": values}});
            let profile =
                serde_json::json!({"tool": "Callgrind", "data": {"total": {"metrics": metrics}}});
            counted(&serde_json::json!({"id": "case_3", "profiles": [profile]}).to_string())
        };
        assert_eq!(of(serde_json::json!({"new": 7})), Some((3, 7)));
        assert_eq!(of(serde_json::json!({"new": 7, "old": 8})), Some((3, 7)));
        assert_eq!(of(serde_json::json!({"old": 8})), None);
    }

    #[test]
    fn times_are_in_units_that_can_be_read() {
        for (nanos, text) in
            [(1.25, "1.2 ns"), (350.4, "350 ns"), (12_345.0, "12.3 µs"), (2.5e6, "2.50 ms")]
        {
            assert_eq!(shown(nanos), text);
        }
    }
}
