//! `florin rebuild-store`: a lost store made anew, or one that is ahead of its journal taken back.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::ValueHint;
use florin_actors::{
    Ahead, RebuildOptions, RebuildReport, RebuildSource, RebuildStep, StoreChoice, rebuild_store,
};
use florin_engine::JournalSeq;
use florin_persistence::store::{PostgresOptions, TakeOver};
use indicatif::ProgressBar;

use super::{CommandError, Outcome, print, progress, text};
use crate::config::{self, Flags, Secret};

/// How often a line tells how far it is, where no bar can be shown.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
const STORE_FILE: &str = "store.sqlite";

#[derive(Debug, clap::Args)]
pub(super) struct RebuildStoreArgs {
    /// The data directory of a server that is not running [FLORIN_DATA_DIR; default ./florin-data]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    data_dir: Option<String>,
    /// PostgreSQL to fill; the embedded store without [FLORIN_DATABASE_URL, else DATABASE_URL]
    #[arg(long, value_name = "URL")]
    database_url: Option<Secret>,
    /// Where journal segments went when they were no longer needed [FLORIN_JOURNAL_ARCHIVE]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    journal_archive: Option<String>,
    /// Another store of the same ledger to copy from: a postgres:// URL, an SQLite file, or a directory that has one
    #[arg(long, value_name = "URL-OR-PATH")]
    from: Option<Secret>,
    /// Remove what a store that is ahead of the journal has beyond it, acknowledged transfers among them
    #[arg(long)]
    cut: bool,
    /// End the claim of another process that writes the store
    #[arg(long)]
    take_over: bool,
    /// TOML file that may name the directories and the database [FLORIN_CONFIG]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
}

/// Fills the store with what it lacks and says what came of it.
pub(super) fn run(args: RebuildStoreArgs) -> Outcome {
    let url = config::database_url(args.database_url.as_ref(), args.config.clone())?;
    let archive = config::journal_archive(args.journal_archive, args.config.clone())?;
    let data_dir = config::data_dir(&Flags::of_data_dir(args.data_dir, args.config))?;
    let take_over = if args.take_over { TakeOver::Force } else { TakeOver::WhenFree };
    let options = RebuildOptions {
        data_dir: data_dir.clone(),
        store: match url {
            Some(url) => StoreChoice::Postgres { options: PostgresOptions::new(&url.0), take_over },
            None => StoreChoice::Embedded,
        },
        journal_archive: archive,
        from: args.from.as_ref().map(source),
        ahead: if args.cut { Ahead::Cut } else { Ahead::Refuse },
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CommandError::Runtime)?;
    let mut shown = Shown::new();
    let report = runtime.block_on(rebuild_store(options, &mut |step| shown.step(step)));
    drop(shown);
    let report = report.map_err(Box::new)?;
    print::out(&summary(&data_dir, &report))?;
    Ok(ExitCode::SUCCESS)
}

fn source(from: &Secret) -> RebuildSource {
    if from.0.starts_with("postgres://") || from.0.starts_with("postgresql://") {
        return RebuildSource::Postgres(PostgresOptions::new(&from.0));
    }
    let path = PathBuf::from(&from.0);
    RebuildSource::Sqlite(if path.is_dir() { path.join(STORE_FILE) } else { path })
}

/// How far it is, as a bar on a terminal and as lines elsewhere.
struct Shown {
    bar: Option<ProgressBar>,
    told: Instant,
}

impl Shown {
    fn new() -> Shown {
        let bar = io::stderr().is_terminal().then(|| progress::bar("store"));
        Shown { bar, told: Instant::now() }
    }

    fn step(&mut self, step: RebuildStep) {
        let (done, of, what) = match step {
            RebuildStep::Copying { transfers, of } => {
                (transfers, of, format!("{} copied", text::counted(transfers, "transfer")))
            }
            RebuildStep::Filling { seq, of } => {
                (seq.0, of.0, format!("at position {}", text::grouped(seq.0)))
            }
            RebuildStep::Discarding { transfers, accounts } => {
                self.line(&format!(
                    "removing {} and {} that are not in the journal",
                    text::counted(transfers, "acknowledged transfer"),
                    text::counted(accounts, "account")
                ));
                return;
            }
        };
        match &self.bar {
            Some(bar) => {
                bar.set_length(of);
                bar.set_position(done);
                bar.set_message(what);
            }
            None if self.told.elapsed() >= LINE_INTERVAL => {
                self.told = Instant::now();
                self.line(&format!("{what} of {}", text::grouped(of)));
            }
            None => {}
        }
    }

    fn line(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            // Whoever does not read it misses only how far it is.
            None => drop(writeln!(io::stderr(), "{line}")),
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn summary(data_dir: &Path, report: &RebuildReport) -> String {
    let mut done = Vec::new();
    if report.copied > 0 {
        done.push(format!("{} copied", text::counted(report.copied, "transfer")));
    }
    if report.records > 0 {
        done.push(format!("{} applied from the journal", text::counted(report.records, "record")));
    }
    if report.discarded > 0 {
        let discarded = text::counted(report.discarded, "acknowledged transfer");
        done.push(format!("{discarded} removed"));
    }
    if done.is_empty() {
        done.push("nothing was missing".to_owned());
    }
    let mut told = format!(
        "the store of {} stands at position {}: {}",
        data_dir.display(),
        text::grouped(report.seq.0),
        done.join(", ")
    );
    if report.history_from > JournalSeq::FIRST {
        told.push_str(&format!(
            "\nits history begins at position {}: transfers before it are only in the balances",
            text::grouped(report.history_from.0)
        ));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_it_is_said() {
        let mut report = RebuildReport {
            seq: JournalSeq(4_321),
            history_from: JournalSeq::FIRST,
            copied: 0,
            records: 0,
            discarded: 0,
        };
        let place = Path::new("d");
        let said = "the store of d stands at position 4,321: nothing was missing";
        assert_eq!(summary(place, &report), said);
        report.history_from = JournalSeq(1_000);
        (report.copied, report.records, report.discarded) = (2_000, 1, 3);
        let said = "the store of d stands at position 4,321: 2,000 transfers copied, 1 record applied from the journal, \
            3 acknowledged transfers removed\nits history begins at position 1,000: transfers before it are only in the balances";
        assert_eq!(summary(place, &report), said);
    }

    #[test]
    fn a_source_is_a_url_a_file_or_a_directory() {
        let of = |text: &str| source(&Secret(text.to_owned()));
        assert!(matches!(of("postgres://u:p@h/d"), RebuildSource::Postgres(_)));
        assert!(matches!(of("postgresql://h/d"), RebuildSource::Postgres(_)));
        assert!(
            matches!(of("a/b.sqlite"), RebuildSource::Sqlite(path) if path == Path::new("a/b.sqlite"))
        );
        let directory = tempfile::tempdir().unwrap();
        let inside = directory.path().join("store.sqlite");
        let found = of(directory.path().to_str().unwrap());
        assert!(matches!(found, RebuildSource::Sqlite(path) if path == inside));
    }
}
