//! `florin bench`: the embedded engine under load, without HTTP.
//!
//! Accounts are made first. Then tasks submit transfers, each waiting for its answer before it sends the next, so that as many
//! commands are in flight as there are tasks. What is measured begins with the first of them and ends with the last answer.

mod distribution;
mod load;
mod report;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ValueEnum, ValueHint};
use florin_actors::{Florin, Options, WriteBehind};
use tokio::runtime::{Builder, Runtime};

use crate::config::{self, Flags};
use crate::telemetry::process;

use super::scratch::{Afterwards, Scratch};
use super::{CommandError, Outcome, print};
use distribution::{Distribution, Ids};
use load::Plan;
use report::{Memory, Report};

#[derive(Debug, clap::Args)]
pub(super) struct BenchArgs {
    /// How many accounts the transfers are spread over
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..))]
    accounts: u32,
    /// How many transfers
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    transfers: u64,
    /// Transfers in one command; 1 sends them one by one
    #[arg(long, default_value_t = 8_190, value_parser = clap::value_parser!(u32).range(1..=8_190))]
    batch: u32,
    /// Commands in flight [default: what keeps about 32,000 transfers in flight, from 4 to 1,024 commands]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    concurrency: Option<u32>,
    /// Who pays whom
    #[arg(long, value_enum, default_value_t = Distribution::Uniform)]
    distribution: Distribution,
    /// What the transfers' ids look like
    #[arg(long, value_enum, default_value_t = Ids::Random)]
    ids: Ids,
    /// How many of a hundred new transfers are pending: half of them are posted by a later transfer, half expire after a second
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    two_phase: u8,
    /// When a transfer is acknowledged
    #[arg(long, value_enum, default_value_t = Durability::Fsync)]
    durability: Durability,
    /// Whether the store is filled meanwhile; if so, the time until it has everything is measured too
    #[arg(long, value_enum, default_value_t = StoreFilling::On)]
    write_behind: StoreFilling,
    /// Measure the memory that this many accounts take, instead of transfers
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..), conflicts_with_all = ["transfers", "accounts", "batch", "concurrency", "distribution", "ids", "two_phase"])]
    memory_accounts: Option<u64>,
    /// What the transfers are made from: the same seed, the same transfers
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Measure in a new directory inside this one [default: beside the data directory]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
    /// The data directory whose disk is measured; it is not touched itself [FLORIN_DATA_DIR; default ./florin-data]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "dir")]
    data_dir: Option<String>,
    /// Leave the measured data directory behind
    #[arg(long)]
    keep: bool,
    /// Print the figures as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum Durability {
    /// Once it survives power loss
    Fsync,
    /// At once, to be lost with the process
    Memory,
}

impl From<Durability> for florin_actors::Durability {
    fn from(durability: Durability) -> florin_actors::Durability {
        match durability {
            Durability::Fsync => florin_actors::Durability::Fsync,
            Durability::Memory => florin_actors::Durability::Memory,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum StoreFilling {
    /// The store is filled from the journal, as in a server
    On,
    /// The store stays empty
    Paused,
}

/// Why a measurement has no figures.
#[derive(Debug, thiserror::Error)]
pub(super) enum BenchError {
    #[error("cannot make a directory to measure in, inside {parent}", parent = .parent.display())]
    Directory { parent: PathBuf, source: io::Error },
    #[error("cannot start the threads that submit")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Open(#[from] florin_actors::OpenError),
    #[error("a command was not answered")]
    Submit(#[from] florin_actors::SubmitError),
    #[error("{count} accounts or transfers were refused, the first as {code}")]
    Refused { count: u64, code: &'static str },
    #[error("the store stopped at position {stored} of {wanted}")]
    StoreStuck { stored: u64, wanted: u64 },
    #[error("the ledger has failed: {0}")]
    Failed(String),
    #[error("interrupted")]
    Interrupted,
}

/// How many transfers the default concurrency keeps in flight.
const IN_FLIGHT: u32 = 32_768;

impl BenchArgs {
    fn plan(&self) -> Plan {
        Plan {
            accounts: self.accounts,
            transfers: self.transfers,
            batch: u64::from(self.batch),
            concurrency: self
                .concurrency
                .unwrap_or_else(|| (IN_FLIGHT / self.batch).clamp(4, 1_024)),
            distribution: self.distribution,
            ids: self.ids,
            two_phase: self.two_phase,
            seed: self.seed,
        }
    }

    /// A production set-up, but that nothing is refused for being too much at once: that is not what is measured.
    fn options(&self, dir: &Path) -> Options {
        let mut options = Options::new(dir);
        options.durability = self.durability.into();
        options.write_behind = match self.write_behind {
            StoreFilling::On => WriteBehind::Running,
            StoreFilling::Paused => WriteBehind::Paused,
        };
        let plan = self.plan();
        let events = plan.batch * u64::from(plan.concurrency);
        let limits = &mut options.limits;
        limits.events_in_flight = limits.events_in_flight.max(2 * events);
        limits.bytes_in_flight = limits.bytes_in_flight.max(events * EVENT_BYTES_MAX);
        options
    }
}

/// More than one transfer without metadata takes in flight.
const EVENT_BYTES_MAX: u64 = 1_024;

/// Measures, and prints the figures.
pub(super) fn run(args: &BenchArgs) -> Outcome {
    let parent = parent_dir(args)?;
    let afterwards = if args.keep { Afterwards::Keep } else { Afterwards::Remove };
    let scratch = Scratch::create(&parent, "bench", afterwards)
        .map_err(|source| BenchError::Directory { parent, source })?;
    let figures = measure(args, scratch.path())?;
    print::out(&if args.json { figures.json() } else { figures.text() })?;
    if args.keep && !args.json {
        print::out(&format!("\nkept in {}", scratch.path().display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn parent_dir(args: &BenchArgs) -> Result<PathBuf, CommandError> {
    if let Some(dir) = &args.dir {
        return Ok(dir.clone());
    }
    let data_dir = config::data_dir(&Flags::of_data_dir(args.data_dir.clone(), None))?;
    Ok(match data_dir.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    })
}

/// What was measured.
enum Figures {
    Load(Report),
    Memory(Memory),
}

impl Figures {
    fn text(&self) -> String {
        match self {
            Figures::Load(report) => report.text(),
            Figures::Memory(memory) => memory.text(),
        }
    }

    fn json(&self) -> String {
        match self {
            Figures::Load(report) => report.json(),
            Figures::Memory(memory) => memory.json(),
        }
    }
}

fn measure(args: &BenchArgs, dir: &Path) -> Result<Figures, BenchError> {
    let runtime = runtime().map_err(BenchError::Runtime)?;
    let resident_at_start = process::resident_bytes();
    let florin = Florin::open(args.options(dir))?;
    let filling = args.write_behind;
    let outcome = runtime.block_on(async {
        let work = async {
            match args.memory_accounts {
                None => load::measure(&florin, args.plan(), filling)
                    .await
                    .map(|figures| Figures::Load(Report::new(figures, filling, args.durability))),
                Some(accounts) => {
                    load::measure_memory(&florin, accounts, filling, resident_at_start)
                        .await
                        .map(Figures::Memory)
                }
            }
        };
        let outcome = tokio::select! {
            outcome = work => outcome,
            reason = florin.failed() => Err(BenchError::Failed(reason)),
            _ = tokio::signal::ctrl_c() => Err(BenchError::Interrupted),
        };
        florin.stop().await;
        outcome
    });
    // Tasks that an error left behind must not keep the process.
    runtime.shutdown_background();
    outcome
}

/// Two threads that submit: embedded callers are a part of the load, as they are in a program.
fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: BenchArgs,
    }

    fn parse(line: &str) -> BenchArgs {
        Line::try_parse_from(std::iter::once("bench").chain(line.split_whitespace())).unwrap().args
    }

    #[test]
    fn the_concurrency_fits_the_batch() {
        for (line, expected) in
            [("", 4), ("--batch 1", 1_024), ("--batch 100", 327), ("--batch 1 --concurrency 7", 7)]
        {
            assert_eq!(parse(line).plan().concurrency, expected, "{line}");
        }
    }

    #[test]
    fn what_is_in_flight_is_admitted() {
        let options = parse("--batch 8190 --concurrency 100").options(Path::new("x"));
        assert!(options.limits.events_in_flight >= 819_000);
        assert!(options.limits.bytes_in_flight >= 819_000 * EVENT_BYTES_MAX);
    }

    #[test]
    fn it_measures_beside_the_data_directory() {
        let parent = |line| parent_dir(&parse(line)).unwrap();
        assert_eq!(parent("--data-dir /srv/florin"), Path::new("/srv"));
        assert_eq!(parent("--data-dir florin"), Path::new("."));
        assert_eq!(parent("--dir /tmp/x"), Path::new("/tmp/x"));
    }

    fn run_in_scratch(line: &str) -> Figures {
        let parent = std::env::temp_dir();
        let scratch = Scratch::create(&parent, "bench-test", Afterwards::Remove).unwrap();
        measure(&parse(line), scratch.path()).unwrap()
    }

    #[test]
    fn every_transfer_is_acknowledged_and_stored() {
        for line in [
            "--transfers 1000 --batch 99 --accounts 10",
            "--transfers 500 --batch 1 --accounts 10 --distribution hot --ids time",
            "--transfers 1000 --batch 99 --accounts 10 --two-phase 60",
            "--transfers 500 --batch 1 --accounts 10 --two-phase 30",
        ] {
            let Figures::Load(report) = run_in_scratch(line) else { panic!("a load") };
            let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
            let transfers = if line.contains("99") { 1_000 } else { 500 };
            let commands = if line.contains("99") { 11 } else { 500 };
            assert_eq!(json["transfers"], transfers, "{json}");
            assert_eq!(json["latency"]["commands"], commands, "{json}");
            assert!(json["acknowledged_per_second"].as_u64().unwrap() > 0, "{json}");
            assert!(json["latency"]["max_us"].as_f64().unwrap() > 1.0, "{json}");
            assert!(json["stored"]["per_second"].as_u64().unwrap() > 0, "{json}");
        }
    }

    #[test]
    fn memory_is_measured_by_account() {
        let line = "--memory-accounts 20000 --durability memory --write-behind paused";
        let Figures::Memory(memory) = run_in_scratch(line) else { panic!("memory") };
        assert_eq!(memory.accounts, 20_000);
    }
}
