//! `benches/embedded`: what `florin bench` measures, for each load that a target names, in rounds that go through all of them.

use std::env;
use std::fmt::Write;
use std::process::ExitCode;

use florin_benches::cpu::{Parties, Used};
use florin_benches::disk::sync_micros;
use florin_benches::figures::{median, thousands};
use florin_benches::{machine, results};
use florin_tests::server::florin;
use serde::Deserialize;

/// A table is written down only if its medians are of so many rounds.
const ROUNDS_WRITTEN: u64 = 5;
const FULL_PERCENT: u64 = 100;

/// A load.
struct Case {
    name: &'static str,
    /// What `florin bench` is told beside the count of transfers.
    words: &'static [&'static str],
    transfers: u64,
    target: Option<Target>,
}

/// What it should come to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Target {
    /// Transfers a second: at least, and better.
    Rate(f64, f64),
    /// The part of the first load of its group: at least.
    Part(f64),
}

/// Loads that are compared with the first of them.
struct Group {
    name: &'static str,
    cases: &'static [Case],
}

const PAUSED: [&str; 2] = ["--write-behind", "paused"];

const fn case(
    name: &'static str,
    words: &'static [&'static str],
    transfers: u64,
    target: Option<Target>,
) -> Case {
    Case { name, words, transfers, target }
}

/// In the order of the table. Everything is durable; batches are of 8,190 and there are 10,000 accounts where nothing else is said.
const GROUPS: [Group; 4] = [
    Group {
        name: "batches of 8,190, write-behind paused",
        cases: &[
            case("uniform", &PAUSED, 10_000_000, Some(Target::Rate(1_500_000.0, 3_000_000.0))),
            case(
                "one hot account",
                &["--write-behind", "paused", "--distribution", "hot"],
                10_000_000,
                Some(Target::Part(0.95)),
            ),
            case(
                "zipfian",
                &["--write-behind", "paused", "--distribution", "zipfian"],
                10_000_000,
                Some(Target::Part(0.95)),
            ),
            case(
                "uniform, 30 % two-phase",
                &["--write-behind", "paused", "--two-phase", "30"],
                10_000_000,
                None,
            ),
            case(
                "uniform, 10 million accounts",
                &["--write-behind", "paused", "--accounts", "10000000"],
                10_000_000,
                None,
            ),
        ],
    },
    Group {
        name: "batches of 8,190, write-behind on",
        cases: &[
            case("uniform", &[], 2_000_000, Some(Target::Rate(700_000.0, 1_500_000.0))),
            case(
                "one hot account",
                &["--distribution", "hot"],
                2_000_000,
                Some(Target::Part(0.95)),
            ),
            case("zipfian", &["--distribution", "zipfian"], 2_000_000, Some(Target::Part(0.95))),
            case("uniform, 30 % two-phase", &["--two-phase", "30"], 2_000_000, None),
        ],
    },
    Group {
        name: "smaller batches, write-behind paused",
        cases: &[
            case("of 1,000", &["--write-behind", "paused", "--batch", "1000"], 5_000_000, None),
            case("of 100", &["--write-behind", "paused", "--batch", "100"], 5_000_000, None),
            case("of 10", &["--write-behind", "paused", "--batch", "10"], 3_000_000, None),
        ],
    },
    Group {
        name: "one by one",
        cases: &[
            case(
                "64 callers, write-behind paused",
                &["--write-behind", "paused", "--batch", "1", "--concurrency", "64"],
                1_000_000,
                Some(Target::Rate(80_000.0, 110_000.0)),
            ),
            case(
                "1,024 in flight, write-behind paused",
                &["--write-behind", "paused", "--batch", "1", "--concurrency", "1024"],
                2_000_000,
                Some(Target::Rate(300_000.0, 500_000.0)),
            ),
            case(
                "64 callers, write-behind on",
                &["--batch", "1", "--concurrency", "64"],
                1_000_000,
                Some(Target::Rate(80_000.0, 110_000.0)),
            ),
            case(
                "1,024 in flight, write-behind on",
                &["--batch", "1", "--concurrency", "1024"],
                1_000_000,
                Some(Target::Rate(300_000.0, 500_000.0)),
            ),
        ],
    },
];

/// What `florin bench --json` prints, of which these are shown.
#[derive(Debug, Deserialize)]
struct Report {
    durability: String,
    acknowledged_per_second: f64,
    latency: Latency,
    stored: Option<Stored>,
    journal_bytes_per_transfer: Option<f64>,
    peak_resident_bytes: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Latency {
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
}

#[derive(Debug, Deserialize)]
struct Stored {
    per_second: f64,
}

/// What one run came to, its preparation and the filling of its store in the processors' time.
struct Run {
    report: Report,
    used: Used,
}

fn run(case: &Case, percent: u64) -> Run {
    let transfers = (case.transfers * percent / FULL_PERCENT).max(1).to_string();
    let mut command = florin(&["bench", "--json", "--transfers", &transfers, "--dir"]);
    command.arg(env::temp_dir()).args(case.words);
    let me = Parties { server: std::process::id(), postgres: None };
    let stretch = me.begin();
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let used = me.end(&stretch);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {complaints}");
    let report: Report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{command:?} printed no report: {error}"));
    assert_eq!(report.durability, "fsync", "everything here is durable");
    println!(
        "  {:<38} {:>11}/s, p99 {:.2} ms",
        case.name,
        thousands(report.acknowledged_per_second),
        report.latency.p99_us / 1e3
    );
    Run { report, used }
}

/// All loads once, in the order of the table. Those that are compared follow each other, and who is first changes from round to round.
fn round(number: u64, percent: u64) -> Vec<Vec<Run>> {
    let of_group = |group: &Group| {
        println!("  {}", group.name);
        let mut order: Vec<usize> = (0..group.cases.len()).collect();
        order.rotate_left(number as usize % group.cases.len());
        let mut runs: Vec<(usize, Run)> =
            order.into_iter().map(|at| (at, run(&group.cases[at], percent))).collect();
        runs.sort_by_key(|(at, _)| *at);
        runs.into_iter().map(|(_, run)| run).collect()
    };
    GROUPS.iter().map(of_group).collect()
}

const HEAD: &str = "\
| | transfers/s | least–most | of the first | target | p50 ms | p99 ms | max ms | in SQL/s | journal, bytes each | memory, MiB | others |
| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
";

fn markdown(rounds: &[Vec<Vec<Run>>], sync: f64) -> String {
    let mut text = String::from("# The embedded ledger, without HTTP\n\n");
    let _ = writeln!(
        text,
        "Written by `benches/embedded` on {}, commit {}.\n\n{}; 4 KiB and `fdatasync` {sync:.0} µs. `florin bench`, each run in a process and a directory of its own, callers in the same \
         process. Medians of {} rounds; every transfer acknowledged once it is durable (fsync). 10,000 accounts where nothing else is said.\n",
        machine::date(),
        machine::commit(),
        machine::describe(),
        rounds.len(),
    );
    text.push_str(HEAD);
    for (place, group) in GROUPS.iter().enumerate() {
        let _ = writeln!(text, "| **{}** |{}", group.name, " |".repeat(11));
        for (index, case) in group.cases.iter().enumerate() {
            let runs: Vec<(&Run, &Run)> =
                rounds.iter().map(|groups| (&groups[place][index], &groups[place][0])).collect();
            row(&mut text, case, &runs);
        }
    }
    text
}

/// One load: each of its runs, and the run of the first load of its group in the same round.
fn row(text: &mut String, case: &Case, runs: &[(&Run, &Run)]) {
    let rate = |run: &Run| run.report.acknowledged_per_second;
    let of = |figure: &dyn Fn(&Run) -> f64| median(runs.iter().map(|(run, _)| figure(run)));
    let shown = |figure: &dyn Fn(&Report) -> Option<f64>, form: &dyn Fn(f64) -> String| {
        let figures: Option<Vec<f64>> = runs.iter().map(|(run, _)| figure(&run.report)).collect();
        figures.map_or_else(|| "–".to_owned(), |figures| form(median(figures)))
    };
    let part = median(runs.iter().map(|(run, first)| rate(run) / rate(first)));
    let rates: Vec<f64> = runs.iter().map(|(run, _)| rate(run)).collect();
    let (least, most) = rates
        .iter()
        .fold((f64::MAX, 0.0_f64), |(least, most), rate| (least.min(*rate), most.max(*rate)));
    let longest = runs.iter().map(|(run, _)| run.report.latency.max_us).fold(0.0, f64::max);
    let _ = writeln!(
        text,
        "| {} | {} | {}–{} | {part:.2} | {} | {:.2} | {:.2} | {:.1} | {} | {} | {} | {:.2} |",
        case.name,
        thousands(median(rates.iter().copied())),
        thousands(least),
        thousands(most),
        case.target.map_or_else(|| "–".to_owned(), |target| judged(target, of(&rate), part)),
        of(&|run| run.report.latency.p50_us / 1e3),
        of(&|run| run.report.latency.p99_us / 1e3),
        longest / 1e3,
        shown(&|report| report.stored.as_ref().map(|stored| stored.per_second), &thousands),
        shown(&|report| report.journal_bytes_per_transfer, &|bytes| format!("{bytes:.1}")),
        shown(&|report| report.peak_resident_bytes, &|bytes| thousands(bytes / f64::from(1 << 20))),
        of(&|run| run.used.processors(run.used.others())),
    );
}

/// A target, and whether it is met.
fn judged(target: Target, rate: f64, part: f64) -> String {
    let (met, words) = match target {
        Target::Rate(least, aim) => {
            (rate >= least, format!("{} (aim {})", thousands(least), thousands(aim)))
        }
        Target::Part(least) => (part >= least, format!("{least} of the first")),
    };
    format!("{} {words}", if met { "met:" } else { "MISSED:" })
}

/// A number of the environment, from 1 on.
fn number(name: &str, otherwise: u64) -> Result<u64, String> {
    match env::var(name) {
        Err(_) => Ok(otherwise),
        Ok(text) => match text.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("{name} is a number from 1 on, not {text}")),
        },
    }
}

fn main() -> ExitCode {
    let settings =
        number("ROUNDS", 5).and_then(|rounds| Ok((rounds, number("PERCENT", FULL_PERCENT)?)));
    let (rounds, percent) = match settings {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("embedded: {error}");
            return ExitCode::from(2);
        }
    };
    let sync = sync_micros(&env::temp_dir());
    let runs: Vec<Vec<Vec<Run>>> = (0..rounds)
        .map(|number| {
            println!("round {} of {rounds}", number + 1);
            round(number, percent)
        })
        .collect();
    let text = markdown(&runs, sync);
    println!("\n{text}");
    if rounds < ROUNDS_WRITTEN || percent < FULL_PERCENT {
        println!("not written down: medians of less than {ROUNDS_WRITTEN} rounds, or shorter runs");
        return ExitCode::SUCCESS;
    }
    match results::write("embedded", &text, &[]) {
        Ok(directory) => {
            println!("written to {} and into the README", directory.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("embedded: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of the given rate, with everything else as it may be.
    fn run_of(rate: f64) -> Run {
        let report = serde_json::json!({
            "durability": "fsync",
            "acknowledged_per_second": rate,
            "latency": {"p50_us": 1_000.0, "p99_us": 2_000.0, "max_us": 3_000.0},
            "stored": {"per_second": 150_000},
            "peak_resident_bytes": 1 << 20,
        });
        let report = serde_json::from_value(report).expect("it has what is shown");
        let me = Parties { server: std::process::id(), postgres: None };
        Run { report, used: me.end(&me.begin()) }
    }

    #[test]
    fn ratios_are_of_one_round_and_targets_are_judged() {
        // The second round was slow for both.
        let rounds = [(2e6, 1.6e6), (1e6, 0.96e6), (2e6, 1.98e6)];
        let rounds: Vec<_> = rounds.map(|(first, own)| (run_of(first), run_of(own))).into();
        let runs: Vec<_> = rounds.iter().map(|(first, own)| (own, first)).collect();
        let mut text = String::new();
        row(&mut text, &case("hot", &[], 1, Some(Target::Part(0.95))), &runs);
        assert!(text.starts_with("| hot | 1,600,000 | 960,000–1,980,000 | 0.96 | met: 0.95 of the first | 1.00 | 2.00 | 3.0 | 150,000 | – | 1 | "), "{text}");
        let target = Target::Rate(1_700_000.0, 3_000_000.0);
        assert_eq!(judged(target, 1_600_000.0, 1.0), "MISSED: 1,700,000 (aim 3,000,000)");
    }
}
