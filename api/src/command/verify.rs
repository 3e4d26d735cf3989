//! `florin verify`: a stopped data directory or a backup, checked from the first byte to the last.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueHint;
use florin_actors::{BackupReport, VerifyReport};
use florin_engine::{JournalSeq, LedgerState, MajorUnits};
use florin_persistence::store::PostgresOptions;

use crate::config::{self, Flags, Secret};

use super::print::Align::{Left, Right};
use super::{CommandError, Outcome, print, text};

#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// The data directory of a server that is not running [FLORIN_DATA_DIR; default ./florin-data]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    data_dir: Option<String>,
    /// Check a backup instead, or the newest one in this directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with_all = ["data_dir", "database_url"])]
    backup: Option<PathBuf>,
    /// PostgreSQL that was filled from it, if the embedded store was not [FLORIN_DATABASE_URL, else DATABASE_URL]
    #[arg(long, value_name = "URL")]
    database_url: Option<Secret>,
    /// TOML file that may name the data directory and the database [FLORIN_CONFIG]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
}

/// Checks the directory: checksums, hash chain, conservation, replay against snapshot and state hash, the store at its checkpoint.
pub(super) fn run(args: VerifyArgs) -> Outcome {
    if let Some(backup) = args.backup {
        let report = florin_actors::verify_backup(&backup).map_err(Box::new)?;
        print::out(&format!("{} is sound\n\n{}", report.path.display(), of_backup(&report)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let url = config::database_url(args.database_url.as_ref(), args.config.clone())?;
    let postgres = url.map(|url| PostgresOptions::new(&url.0));
    let data_dir = config::data_dir(&Flags::of_data_dir(args.data_dir, args.config))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CommandError::Runtime)?;
    let report = runtime.block_on(florin_actors::verify(&data_dir, postgres))?;
    print::out(&format!("{} is sound\n\n{}", data_dir.display(), summary(&report)))?;
    Ok(ExitCode::SUCCESS)
}

fn of_backup(report: &BackupReport) -> String {
    let manifest = &report.manifest;
    let last = JournalSeq(manifest.last_seq);
    let store = match manifest.stored_seq {
        Some(seq) => position(JournalSeq(seq), last, "nothing yet"),
        None => "not in the backup".to_owned(),
    };
    print::pairs(
        [
            (
                "positions",
                format!("{} to {}", text::grouped(manifest.first_seq), text::grouped(last.0)),
            ),
            ("snapshot", position(JournalSeq(manifest.snapshot_seq), last, "none yet")),
            ("index of ids", position(JournalSeq(manifest.indexed_seq), last, "nothing yet")),
            ("store", store),
            ("files", text::grouped(manifest.files.len() as u64)),
            ("accounts", text::grouped(report.accounts)),
            ("state hash", format!("{:016x}", report.state_hash)),
        ],
        Left,
    )
}

pub(super) fn summary(report: &VerifyReport) -> String {
    let figures = print::pairs(
        [
            ("journal", journal(report)),
            ("newest position", text::grouped(report.last_seq.0)),
            ("snapshot", position(report.snapshot_seq, report.last_seq, "none yet")),
            ("index of ids", position(report.indexed_seq, report.last_seq, "nothing yet")),
            ("store", store(report)),
            ("transfers", text::grouped(report.stored_transfers)),
            ("accounts", text::grouped(report.accounts)),
            ("state hash", format!("{:016x}", report.state_hash)),
        ],
        Left,
    );
    let columns = [
        ("ledger", Left),
        ("currency", Left),
        ("accounts", Right),
        ("debits = credits posted", Right),
        ("debits = credits pending", Right),
    ];
    format!("{figures}\n\n{}", print::table(columns, report.ledgers.iter().map(ledger)))
}

fn journal(report: &VerifyReport) -> String {
    format!(
        "{} in {} in {}",
        text::counted(report.records, "record"),
        text::counted(report.frames, "frame"),
        text::counted(report.segments, "segment")
    )
}

fn store(report: &VerifyReport) -> String {
    let position = position(report.stored_seq, report.last_seq, "nothing yet");
    match report.history_from {
        JournalSeq::FIRST => position,
        from => format!("{position}; history from position {}", text::grouped(from.0)),
    }
}

/// How far something has come. That it is behind is lag and no fault.
fn position(seq: JournalSeq, last: JournalSeq, none: &str) -> String {
    match last.0.saturating_sub(seq.0) {
        _ if seq == JournalSeq::NONE => none.to_owned(),
        0 => format!("at position {}", text::grouped(seq.0)),
        behind => {
            format!(
                "at position {}, {} behind",
                text::grouped(seq.0),
                text::counted(behind, "record")
            )
        }
    }
}

fn ledger(state: &LedgerState) -> [String; 5] {
    let LedgerState { ledger, totals } = state;
    [
        ledger.id.0.to_string(),
        ledger.currency.clone(),
        text::grouped(totals.accounts),
        MajorUnits::of_total(totals.posted, ledger.scale).to_string(),
        MajorUnits::of_total(totals.pending, ledger.scale).to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use florin_engine::{Ledger, LedgerId, LedgerTotals, Scale, Timestamp};

    use super::*;

    #[test]
    fn the_summary_can_be_read() {
        let ledger = Ledger {
            id: LedgerId(1),
            currency: "USD".into(),
            scale: Scale::try_new(2).unwrap(),
            name: "US dollars".into(),
            timestamp: Timestamp(1),
        };
        let totals = LedgerTotals { accounts: 1_200, posted: 123_456, pending: 0 };
        let report = VerifyReport {
            records: 4_321,
            frames: 1,
            segments: 2,
            accounts: 1_200,
            ledgers: vec![LedgerState { ledger, totals }],
            first_seq: JournalSeq::FIRST,
            last_seq: JournalSeq(4_321),
            is_sealed: true,
            torn_bytes: 0,
            snapshot_seq: JournalSeq::NONE,
            indexed_seq: JournalSeq::NONE,
            stored_seq: JournalSeq(4_320),
            stored_transfers: 3_100,
            history_from: JournalSeq(1_001),
            state_hash: 0xab,
        };
        let expected = "
journal          4,321 records in 1 frame in 2 segments
newest position  4,321
snapshot         none yet
index of ids     nothing yet
store            at position 4,320, 1 record behind; history from position 1,001
transfers        3,100
accounts         1,200
state hash       00000000000000ab

ledger  currency  accounts  debits = credits posted  debits = credits pending
──────────────────────────────────────────────────────────────────────────────
1       USD          1,200                  1234.56                      0.00";
        assert_eq!(summary(&report), expected.trim_start_matches('\n'));
    }
}
