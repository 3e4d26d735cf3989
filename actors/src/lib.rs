//! STUB: the embedded front's signatures over the engine alone, nothing durable, so that the command line compiles and runs.
#![allow(missing_docs, clippy::unwrap_used, clippy::missing_panics_doc, clippy::missing_errors_doc)]
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use florin_engine::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    Fsync,
    Memory,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockAcceptance {
    Strict,
    Accept,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteBehind {
    Running,
    Paused,
}
#[derive(Clone, Debug)]
pub struct Limits {
    pub events_in_flight: u64,
    pub bytes_in_flight: u64,
    pub backlog_bytes: u64,
}
#[derive(Clone, Debug)]
pub struct Options {
    pub data_dir: PathBuf,
    pub durability: Durability,
    pub clock: ClockAcceptance,
    pub write_behind: WriteBehind,
    pub journal_archive: Option<PathBuf>,
    pub segment_bytes: u64,
    pub limits: Limits,
}
impl Options {
    pub fn new(data_dir: impl Into<PathBuf>) -> Options {
        Options {
            data_dir: data_dir.into(),
            durability: Durability::Fsync,
            clock: ClockAcceptance::Strict,
            write_behind: WriteBehind::Running,
            journal_archive: None,
            segment_bytes: 64 << 20,
            limits: Limits {
                events_in_flight: 65_536,
                bytes_in_flight: 256 << 20,
                backlog_bytes: 64 << 30,
            },
        }
    }
}
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot create the data directory {path}", path = .path.display())]
    Create { path: PathBuf, source: std::io::Error },
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    First,
    ByKey,
}
#[derive(Clone, Debug)]
pub struct Answer {
    pub seq: JournalSeq,
    pub timestamp: Timestamp,
    pub items: u32,
    pub exceptions: Vec<(u32, ItemOutcome)>,
    pub record: Option<Record>,
    pub replay: Replay,
}
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error("{field} {reason}")]
    Unreadable { index: u32, field: &'static str, reason: AmountTextError },
}
#[derive(Clone, Debug)]
pub struct Positions {
    pub durable: JournalSeq,
    pub stored: JournalSeq,
    pub indexed: JournalSeq,
    pub snapshot: JournalSeq,
    pub backlog_bytes: u64,
    pub accounts: u64,
}
#[derive(Debug)]
pub struct VerifyReport {
    pub records: u64,
    pub frames: u64,
    pub segments: u64,
    pub accounts: u64,
    pub ledgers: Vec<LedgerState>,
    pub last: JournalSeq,
    pub snapshot: JournalSeq,
    pub stored: JournalSeq,
    pub state_hash: u64,
}
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("no data directory at {path}", path = .path.display())]
    Missing { path: PathBuf },
}
pub fn verify(path: &Path) -> Result<VerifyReport, VerifyError> {
    if !path.is_dir() {
        return Err(VerifyError::Missing { path: path.to_owned() });
    }
    Ok(VerifyReport {
        records: 0,
        frames: 0,
        segments: 0,
        accounts: 0,
        ledgers: vec![],
        last: JournalSeq::NONE,
        snapshot: JournalSeq::NONE,
        stored: JournalSeq::NONE,
        state_hash: 0,
    })
}

#[derive(Clone)]
pub struct Florin(Arc<Mutex<State>>);

impl Florin {
    pub fn open(options: Options) -> Result<Florin, OpenError> {
        std::fs::create_dir_all(&options.data_dir)
            .map_err(|source| OpenError::Create { path: options.data_dir.clone(), source })?;
        let mut state = State::new(1);
        let ledger = CreateLedger {
            id: LedgerId(1),
            currency: "USD".into(),
            scale: Scale::try_new(2).unwrap(),
            name: "US dollars".into(),
        };
        state
            .decide(Command::CreateLedger(ledger), None, Timestamp(1), &mut NothingBefore)
            .unwrap();
        Ok(Florin(Arc::new(Mutex::new(state))))
    }
    pub async fn submit(
        &self,
        command: Command,
        key: Option<CommandKey>,
    ) -> Result<Answer, SubmitError> {
        let mut state = self.0.lock().unwrap();
        let now = Timestamp(1_700_000_000_000_000_000);
        let verdict = state.decide(command, key, now, &mut NothingBefore).map_err(|e| {
            SubmitError::Unreadable { index: e.index, field: e.field, reason: e.reason }
        })?;
        let Verdict::Decided(Decision { timestamp, items, exceptions, record, .. }) = verdict
        else {
            panic!("no keys in the stub")
        };
        let seq = state.seq();
        Ok(Answer { seq, timestamp, items, exceptions, record, replay: Replay::First })
    }
    pub async fn wait_stored(&self, _seq: JournalSeq, _patience: Duration) -> bool {
        true
    }
    pub fn positions(&self) -> Positions {
        let state = self.0.lock().unwrap();
        let seq = state.seq();
        Positions {
            durable: seq,
            stored: seq,
            indexed: seq,
            snapshot: JournalSeq::NONE,
            backlog_bytes: 0,
            accounts: state.accounts_count() as u64,
        }
    }
    pub async fn failed(&self) -> String {
        std::future::pending().await
    }
    pub async fn stop(&self) {}
}
