//! `benches/http/run`: the same load over HTTP on a handler that does nothing, on Florin with each of its stores, and on the design
//! with row locks in PostgreSQL.

mod report;
mod subjects;

use std::env;
use std::fmt;
use std::process::ExitCode;
use std::time::Instant;

use florin_benches::bank::ACCOUNTS;
use florin_benches::cpu::Used;
use florin_benches::disk::{Device, sync_micros};
use florin_benches::figures::thousands;
use florin_benches::results;
use florin_benches::wrk::{Answers, Load};
use subjects::{Subject, Who};

/// Of the load generator, each with one request under way.
const CONNECTIONS: u32 = 64;
const BATCH_CONNECTIONS: u32 = 4;
const BATCH_SIZE: u64 = 8_190;
/// Connections of the row-lock design to its database. Of 8, 16, 32 and 64 this was the fastest with uniform accounts.
const POOL: u32 = 32;
/// A table is written down only if its medians are of so many rounds.
const ROUNDS_WRITTEN: u64 = 5;

/// How transfers are sent. Another form of batch is one more variant here, and one more entry in `benches/wrk/batches.lua`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// One in a request.
    Single,
    /// As many as a batch may have, as JSON.
    JsonBatch,
}

impl Form {
    const ALL: [Form; 2] = [Form::Single, Form::JsonBatch];

    fn transfers(self) -> u64 {
        match self {
            Form::Single => 1,
            Form::JsonBatch => BATCH_SIZE,
        }
    }

    fn connections(self) -> u32 {
        match self {
            Form::Single => CONNECTIONS,
            Form::JsonBatch => BATCH_CONNECTIONS,
        }
    }

    /// The script, and its word for this form.
    fn script(self) -> (&'static str, Option<&'static str>) {
        match self {
            Form::Single => ("transfers.lua", None),
            Form::JsonBatch => ("batches.lua", Some("json")),
        }
    }

    /// How long a run is, where one of single transfers takes so many seconds: a second of batches is more for a store to take up
    /// than a minute of singles.
    fn seconds(self, single: u64) -> u64 {
        match self {
            Form::Single => single,
            Form::JsonBatch => (single / 3).max(1),
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Form::Single => f.write_str("one transfer a request"),
            Form::JsonBatch => write!(f, "batches of {} as JSON", thousands(BATCH_SIZE as f64)),
        }
    }
}

/// Between which accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// Any two.
    Uniform,
    /// One account gets everything.
    Hot,
}

impl Choice {
    const ALL: [Choice; 2] = [Choice::Uniform, Choice::Hot];
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Choice::Uniform => "uniform",
            Choice::Hot => "hot",
        })
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Case {
    form: Form,
    choice: Choice,
    who: Who,
}

impl Case {
    /// In the order of the table. To a handler that does nothing, accounts are all the same.
    fn all() -> Vec<Case> {
        let whos = [Who::Empty, Who::Sqlite, Who::Postgres, Who::RowLocks];
        let mut all = Vec::new();
        for form in Form::ALL {
            for choice in Choice::ALL {
                let of_choice = whos.into_iter().map(|who| Case { form, choice, who });
                all.extend(
                    of_choice
                        .filter(|case| case.who != Who::Empty || case.choice == Choice::Uniform),
                );
            }
        }
        all
    }
}

/// What one run of a case came to.
struct Run {
    answers: Answers,
    used: Used,
    /// From its beginning until all of it could be found with SQL.
    stored_seconds: f64,
    /// Bytes that the disk was given until then, if that is known.
    written: Option<u64>,
}

struct Settings {
    rounds: u64,
    /// Of one run of single transfers.
    seconds: u64,
}

struct Bench {
    settings: Settings,
    device: Device,
    subjects: Vec<Subject>,
    /// Transfers that each subject was told of that they happened, and how many more may have.
    acknowledged: Vec<[u64; 2]>,
}

impl Bench {
    fn run(&mut self, case: Case, seconds: u64) -> Run {
        let at = self.subjects.iter().position(|subject| subject.who == case.who);
        let at = at.expect("everybody was started");
        let subject = &self.subjects[at];
        subject.wake();
        let (script, form) = case.form.script();
        let words = [ACCOUNTS.to_string(), case.choice.to_string()].into_iter();
        let words = words.chain(form.map(str::to_owned)).collect();
        let connections = case.form.connections();
        let load = Load { base: subject.base(), script, words, connections, seconds };
        let written = self.device.written();
        let stretch = subject.parties().begin();
        let answers = load.run();
        let used = subject.parties().end(&stretch);
        let ended = Instant::now();
        subject.wait_stored();
        let stored_seconds = answers.count as f64 / answers.rate + ended.elapsed().as_secs_f64();
        let written = self.device.written().zip(written).map(|(now, before)| now - before);
        subject.sleep();
        let each = case.form.transfers();
        self.acknowledged[at][0] += answers.count * each;
        // What was under way when the load ended.
        self.acknowledged[at][1] += u64::from(connections) * each;
        println!(
            "  {:<28} {:<8} {:<24} {:>9} transfers/s, p99 {:.2} ms",
            case.form.to_string(),
            case.choice.to_string(),
            case.who.to_string(),
            thousands(answers.rate * each as f64),
            answers.p99_ms
        );
        Run { answers, used, stored_seconds, written }
    }

    /// Every case once. Those that are compared with each other follow each other, and nobody is always the first of them.
    fn round(&mut self, number: u64) -> Vec<Run> {
        let cases = Case::all();
        let mut order: Vec<usize> = (0..cases.len()).collect();
        let same = |a: &usize, b: &usize| {
            (cases[*a].form, cases[*a].choice) == (cases[*b].form, cases[*b].choice)
        };
        for group in order.chunk_by_mut(same) {
            let turn = number as usize % group.len();
            group.rotate_left(turn);
        }
        let mut runs: Vec<(usize, Run)> = Vec::new();
        for index in order {
            let case = cases[index];
            runs.push((index, self.run(case, case.form.seconds(self.settings.seconds))));
        }
        runs.sort_by_key(|(index, _)| *index);
        runs.into_iter().map(|(_, run)| run).collect()
    }

    /// Everything that was acknowledged is there, once; gives what the checkpoints of the databases still wrote, for a transfer.
    fn check(&self) -> Vec<(Who, f64)> {
        let mut checkpoints = Vec::new();
        for (subject, [sent, more]) in self.subjects.iter().zip(&self.acknowledged) {
            subject.wake();
            if let Some(moved) = subject.moved() {
                assert!(
                    (*sent..=sent + more).contains(&moved),
                    "{}: {sent} transfers were acknowledged and at most {more} more sent, and {moved} are there",
                    subject.who
                );
                let before = self.device.written();
                subject.checkpoint();
                let written = self.device.written().zip(before).map(|(now, before)| now - before);
                if let (Some(written), Some(_)) = (written, subject.postgres_version()) {
                    checkpoints.push((subject.who, written as f64 / moved.max(1) as f64));
                }
            }
            subject.sleep();
        }
        checkpoints
    }
}

/// The settings, from the environment.
fn settings() -> Result<Settings, String> {
    let number = |name: &str, otherwise: u64| match env::var(name) {
        Err(_) => Ok(otherwise),
        Ok(text) => match text.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("{name} is a number from 1 on, not {text}")),
        },
    };
    Ok(Settings { rounds: number("ROUNDS", 5)?, seconds: number("SECONDS_EACH", 6)? })
}

fn main() -> ExitCode {
    let settings = match settings() {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("http: {error}");
            return ExitCode::from(2);
        }
    };
    let sync = sync_micros(&env::temp_dir());
    println!("starting everybody");
    let subjects = Subject::all(POOL);
    // The transfer and the batch that were looked at.
    let acknowledged = subjects.iter().map(|_| [1 + BATCH_SIZE, 0]).collect();
    let version = subjects.iter().find_map(Subject::postgres_version).unwrap_or_default();
    let version = version.to_owned();
    let Settings { rounds, seconds } = settings;
    let device = Device::of(&env::temp_dir());
    let mut bench = Bench { settings, device, subjects, acknowledged };
    println!("warming up");
    for case in Case::all().into_iter().filter(|case| case.form == Form::Single) {
        let _ = bench.run(case, 1);
    }
    let runs: Vec<Vec<Run>> = (0..rounds)
        .map(|round| {
            println!("round {} of {rounds}", round + 1);
            bench.round(round)
        })
        .collect();
    let checkpoints = bench.check();
    let about = report::About { rounds, seconds, sync_micros: sync, version };
    let text = report::markdown(&about, &runs, &checkpoints);
    println!("\n{text}");
    if rounds < ROUNDS_WRITTEN {
        println!("not written down: medians of less than {ROUNDS_WRITTEN} rounds");
        return ExitCode::SUCCESS;
    }
    match results::write("http", &text, &[]) {
        Ok(directory) => {
            println!("written to {} and into the README", directory.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("http: {error}");
            ExitCode::FAILURE
        }
    }
}
