//! `benches/start.sh`: how long a ledger takes until it is ready, with many accounts in its snapshot and a long journal behind it, and what it spends where.

mod made;
mod parts;

use std::env;
use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use florin_actors::Florin;
use florin_benches::cpu::{Parties, Used};
use florin_benches::disk::sync_micros;
use florin_benches::figures::{median, thousands};
use florin_benches::{machine, results};
use made::{Made, Plan, options};
use parts::Part;

/// A table is written down only if its medians are of so many rounds.
const ROUNDS_WRITTEN: u64 = 5;
/// What the target speaks of.
const TARGET: Plan = Plan { accounts: 10_000_000, records: 5_000_000 };
/// Seconds until ready: at least, and better.
const SECONDS: (f64, f64) = (15.0, 5.0);
/// How much of a process's memory is resident when it is ready.
const RESIDENT: &str = "resident";

/// Where the files are that a start reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Files {
    /// On the disk alone, as after the machine was started.
    OnDisk,
    /// In the page cache too, as after the process was.
    Cached,
}

impl Files {
    const ALL: [Files; 2] = [Files::OnDisk, Files::Cached];

    fn name(self) -> &'static str {
        match self {
            Files::OnDisk => "from the disk",
            Files::Cached => "from the page cache",
        }
    }

    /// Sees to it that they are there.
    fn place(self, made: &Made) {
        match self {
            Files::OnDisk => made.drop_from_cache(),
            Files::Cached => made.read_into_cache(),
        }
    }
}

/// A start of a process of its own.
struct Start {
    /// From before the process was made until it was ready.
    seconds: f64,
    /// Of its memory, in bytes.
    resident: f64,
    used: Used,
}

/// Starts this program in one of its other ways, and gives the lines that it prints with when each came.
fn start(words: &[&str], directory: &Path) -> (Vec<(f64, String)>, Used) {
    let me = Parties { server: std::process::id(), postgres: None };
    let stretch = me.begin();
    let began = Instant::now();
    let mut child = Command::new(env::current_exe().expect("a program has a path"))
        .args(words)
        .arg(directory)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a program that runs can be started");
    let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let lines = stdout.lines().map_while(Result::ok);
    let lines = lines.map(|line| (began.elapsed().as_secs_f64(), line)).collect();
    let ended = child.wait().expect("a child can be waited for");
    assert!(ended.success(), "the ledger did not start");
    (lines, me.end(&stretch))
}

fn start_ledger(files: Files, made: &Made) -> Start {
    made.put_back_snapshot();
    files.place(made);
    let (lines, used) = start(&["open"], made.path());
    let [(seconds, line)] = &lines[..] else { panic!("it says once that it is ready: {lines:?}") };
    let resident = line.strip_prefix(RESIDENT).and_then(|bytes| bytes.trim().parse().ok());
    println!("  {}: {seconds:.2} s", files.name());
    Start { seconds: *seconds, resident: resident.expect("it tells its memory"), used }
}

/// What each part takes by itself, with the files in the page cache.
fn start_parts(made: &Made) -> Vec<(Part, f64)> {
    made.put_back_snapshot();
    Files::Cached.place(made);
    let (lines, _) = start(&["parts"], made.path());
    Part::ALL
        .into_iter()
        .map(|part| {
            let found = lines
                .iter()
                .find_map(|(_, line)| line.strip_prefix(part.name())?.trim().parse::<f64>().ok());
            (part, found.unwrap_or_else(|| panic!("{} is not told: {lines:?}", part.name())))
        })
        .collect()
}

/// The process that is measured: opens the ledger, says that it is ready, and dies as in a crash, so that what it leaves to do stays as it is.
fn open(directory: &Path) -> ! {
    let florin = Florin::open(options(directory));
    let florin = florin.unwrap_or_else(|error| panic!("the ledger can not be opened: {error}"));
    println!("{RESIDENT} {}", made::resident());
    let positions = florin.positions();
    assert!(positions.durable > positions.snapshot, "there is a journal behind the snapshot");
    std::process::exit(0);
}

fn markdown(
    made: &Made,
    plan: Plan,
    starts: &[(Files, Vec<Start>)],
    parts: &[Vec<(Part, f64)>],
    sync: f64,
) -> String {
    let mut text = String::from("# Until a large ledger is ready\n\n");
    let sizes = made.sizes();
    let _ = writeln!(
        text,
        "Written by `benches/start.sh` on {}, commit {}.\n\n{}; 4 KiB and `fdatasync` {sync:.0} µs. A snapshot with {} accounts ({} MiB), and behind it a journal of {} records of one transfer each \
         ({} MiB). Each start is a process of its own, medians of {}; from before the process is made until the ledger would answer. The target, for 10,000,000 accounts and 5,000,000 records, is {} s, the aim {}.\n",
        machine::date(),
        machine::commit(),
        machine::describe(),
        thousands(plan.accounts as f64),
        thousands(sizes.snapshot as f64 / f64::from(1 << 20)),
        thousands(plan.records as f64),
        thousands(sizes.tail as f64 / f64::from(1 << 20)),
        parts.len(),
        SECONDS.0,
        SECONDS.1,
    );
    text.push_str("| ready | s | least–most | processors busy | others | memory, MiB |\n| --- | ---: | ---: | ---: | ---: | ---: |\n");
    for (files, starts) in starts {
        let of = |figure: &dyn Fn(&Start) -> f64| median(starts.iter().map(figure));
        let least = starts.iter().map(|start| start.seconds).fold(f64::MAX, f64::min);
        let most = starts.iter().map(|start| start.seconds).fold(0.0, f64::max);
        let _ = writeln!(
            text,
            "| {} | {:.2} | {least:.2}–{most:.2} | {:.2} | {:.2} | {} |",
            files.name(),
            of(&|start| start.seconds),
            of(&|start| start.used.processors(start.used.load)),
            of(&|start| start.used.processors(start.used.others())),
            thousands(of(&|start| start.resident / f64::from(1 << 20))),
        );
    }
    text.push_str("\nWhat it spends where: each step by itself, with the files in the page cache, one after another in one process. What a step has in common with the one before it in the same column is taken off.\n\n| | s |\n| --- | ---: |\n");
    for (place, part) in Part::ALL.into_iter().enumerate() {
        let seconds = median(parts.iter().map(|parts| parts[place].1));
        let _ = writeln!(text, "| {} | {seconds:.2} |", part.name());
    }
    let sum: f64 =
        (0..Part::ALL.len()).map(|place| median(parts.iter().map(|parts| parts[place].1))).sum();
    let _ = writeln!(text, "| all of them | {sum:.2} |");
    text
}

fn measure(plan: Plan, rounds: u64) -> ExitCode {
    let directory = tempfile::Builder::new().prefix("florin-bench-").tempdir();
    let directory = directory.expect("a temporary directory");
    let sync = sync_micros(directory.path());
    println!(
        "making {} accounts and {} records of a transfer",
        thousands(plan.accounts as f64),
        thousands(plan.records as f64)
    );
    let made = Made::make(&directory.path().join("data"), plan);
    let mut starts: Vec<(Files, Vec<Start>)> =
        Files::ALL.into_iter().map(|files| (files, Vec::new())).collect();
    let mut parts = Vec::new();
    for number in 1..=rounds {
        println!("round {number} of {rounds}");
        for (files, starts) in &mut starts {
            starts.push(start_ledger(*files, &made));
        }
        parts.push(start_parts(&made));
    }
    let text = markdown(&made, plan, &starts, &parts, sync);
    println!("\n{text}");
    if rounds < ROUNDS_WRITTEN || plan != TARGET {
        println!(
            "not written down: medians of less than {ROUNDS_WRITTEN} rounds, or another ledger"
        );
        return ExitCode::SUCCESS;
    }
    match results::write("start", &text, &[]) {
        Ok(directory) => {
            println!("written to {} and into the README", directory.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("start: {error}");
            ExitCode::FAILURE
        }
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["open", directory] => open(&PathBuf::from(directory)),
        ["parts", directory] => {
            parts::measure(&PathBuf::from(directory));
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let numbers: Result<Vec<u64>, _> = words.iter().map(|word| word.parse()).collect();
    let Ok(numbers) = numbers else {
        eprintln!("usage: start [ACCOUNTS] [RECORDS] [ROUNDS], all numbers");
        return ExitCode::from(2);
    };
    let number = |at: usize, otherwise: u64| numbers.get(at).copied().unwrap_or(otherwise).max(1);
    let plan =
        Plan { accounts: number(0, TARGET.accounts).max(2), records: number(1, TARGET.records) };
    measure(plan, number(2, ROUNDS_WRITTEN))
}
