//! Recovery: from what is on the disk to the state, without guessing.
//!
//! The newest snapshot is read, the journal behind it replayed, and every frame's state hash compared. Ids and keys that the
//! index does not cover yet are collected from the journal on the way.

use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread;
use std::time::Duration;

use florin_engine::{
    ASKED_AHEAD, Command, CreateLedger, JournalSeq, LedgerId, LedgerState, NothingBefore,
    ReplayError, RestoreError, Scale, State, StateHeader, Timestamp, Verdict,
};
use florin_persistence::cache::CacheOptionsError;
use florin_persistence::data_dir::{DataDir, DataDirError};
use florin_persistence::decided::{DecidedIndex, IndexError, IndexOptions};
use florin_persistence::journal::{
    self, AppendError, Durability, FrameBuilder, FrameView, Journal, JournalOptions,
};
use florin_persistence::record::{self, RecordError};
use florin_persistence::snapshot::files::{self, SnapshotFileError};
use florin_persistence::snapshot::{Held, SnapshotError, SnapshotReader};
use florin_persistence::store::StoreError;

use crate::clock::Clock;
use crate::options::{ClockAcceptance, Options};

/// A clock behind the journal is waited for so long.
const CLOCK_PATIENCE: Duration = Duration::from_secs(5);
/// A clock further ahead of the journal than this must be accepted by an option.
const CLOCK_LEAP_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Records that are decoded before the first of them is replayed are no more than [`ASKED_AHEAD`], and end with the one that makes them so many bytes.
const GROUP_BYTES: usize = 16 << 10;
/// So many accounts and pending transfers of a snapshot are handed on at once.
const HELD_GROUP: usize = 1_024;
/// So many groups of them are read ahead, at most.
const HELD_GROUPS: usize = 4;
/// For no more accounts of a snapshot is room made at once, 0.6 GB: its header may say any number.
const ROOM_ACCOUNTS_MAX: usize = 100_000_000;

/// Why a ledger can not be opened. Each is one sentence that says what to do where something can be done.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory can not be used.
    #[error(transparent)]
    Directory(#[from] DataDirError),
    /// The index of decided ids can not be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A snapshot can not be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotFileError),
    /// The journal can not be used.
    #[error(transparent)]
    Journal(#[from] journal::OpenError<FrameError>),
    /// The first record of a fresh directory can not be written.
    #[error("the first record can not be written")]
    FirstRecord(#[from] AppendError),
    /// Two parts of the directory do not belong together.
    #[error("{0}; restore the data directory as a whole from a backup")]
    Mismatch(String),
    /// Money is not conserved: the accounts do not add up to the totals.
    #[error("the accounts do not add up: {0}; restore the data directory from a backup")]
    NotConserved(String),
    /// The clock is behind the journal.
    #[error("the clock is {0:.1} s behind the newest record of the journal; set the clock right")]
    ClockBehind(f64),
    /// The clock is far ahead of the journal.
    #[error(
        "the clock is {0:.1} days ahead of the newest record of the journal; if the clock is right, start once with --accept-clock"
    )]
    ClockAhead(f64),
    /// The store can not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store and the journal do not belong together.
    #[error("{0}")]
    StoreMismatch(String),
    /// The options of the cache can not be used. A cache that is away is no error.
    #[error(transparent)]
    Cache(#[from] CacheOptionsError),
    /// A thread can not be started.
    #[error("a thread can not be started")]
    Thread(#[from] std::io::Error),
    /// A thread ended while it started.
    #[error("the {0} thread ended while it started")]
    ThreadEnded(&'static str),
}

/// A frame that does not follow from the state before it.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A record's bytes have no meaning.
    #[error(
        "record {seq} of the journal can not be decoded; restore the data directory from a backup"
    )]
    Decode {
        /// Which record.
        seq: u64,
        /// What is wrong with it.
        source: RecordError,
    },
    /// A record contradicts the rules.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The state after a frame is not the one that was there when it was written.
    #[error(
        "after record {seq} the state hash is {replayed:016x}, but the journal has {recorded:016x}; restore the data directory from a backup"
    )]
    StateHash {
        /// The last record of the frame.
        seq: u64,
        /// The hash after replay.
        replayed: u64,
        /// The hash in the frame.
        recorded: u64,
    },
}

/// What recovery finds.
pub(crate) struct Recovered {
    pub(crate) state: State,
    pub(crate) journal: Journal,
    pub(crate) index: Arc<DecidedIndex>,
    pub(crate) snapshot_seq: JournalSeq,
    pub(crate) snapshot_bytes: u64,
}

/// A seed that callers can not know, for the tables that ids of their choice go into.
pub(crate) fn hash_seed() -> u64 {
    RandomState::new().hash_one("florin")
}

/// Brings back what the directory holds; in a fresh one, writes its first record.
pub(crate) fn recover(directory: &DataDir, options: &Options) -> Result<Recovered, OpenError> {
    let index = DecidedIndex::open(&directory.ids_dir(), IndexOptions::SMALL)?;
    recover_with(directory, options, index)
}

/// The same with an index that is open.
pub(crate) fn recover_with(
    directory: &DataDir,
    options: &Options,
    index: DecidedIndex,
) -> Result<Recovered, OpenError> {
    files::settle(directory)?;
    let snapshot = files::newest(directory)?;
    let (mut state, snapshot_seq, snapshot_hash) = match snapshot {
        Some(snapshot) => {
            let header = *snapshot.header();
            (load(snapshot)?, header.seq, Some(header.frame_hash))
        }
        None => (State::new(hash_seed()), JournalSeq::NONE, None),
    };
    let indexed = JournalSeq(index.covered_seq());
    let mut journal = Journal::open(
        directory.disk().clone(),
        &directory.journal_dir(),
        directory.id(),
        journal_options(options),
        snapshot_seq.min(indexed).0,
        &mut |frame| replay_frame(&mut state, snapshot_seq, indexed, &frame),
    )?;
    if indexed.0 > journal.last_seq() {
        return Err(OpenError::Mismatch(format!(
            "the index of decided ids reaches position {}, the journal only {}",
            indexed.0,
            journal.last_seq()
        )));
    }
    if let Some(hash) = snapshot_hash {
        check_snapshot(&journal, snapshot_seq, hash)?;
    }
    drop(state.forget_indexed(indexed));
    state.check_conservation().map_err(OpenError::NotConserved)?;
    await_clock(&*options.clock, state.timestamp(), options.clock_acceptance)?;
    if journal.last_seq() == 0 {
        write_first_record(&mut state, &mut journal, options.clock.now())?;
    }
    let snapshot_bytes = match snapshot_seq {
        JournalSeq::NONE => 0,
        seq => files::size(directory, seq)?,
    };
    Ok(Recovered { state, journal, index: Arc::new(index), snapshot_seq, snapshot_bytes })
}

fn journal_options(options: &Options) -> JournalOptions {
    JournalOptions {
        segment_bytes: options.segment_bytes,
        archive: options.journal_archive.clone(),
        spare_keeping: options.spare_keeping,
        ..JournalOptions::new(options.durability)
    }
}

/// The most that a frame of a journal with these options can hold, in bytes.
pub(crate) fn frame_bytes_max(options: &Options) -> u64 {
    journal_options(options).frame_bytes_max()
}

/// The state that a snapshot holds.
///
/// # Errors
/// It can not be read, or does not hold the state that its header says.
pub fn load(snapshot: SnapshotReader<impl Read + Send>) -> Result<State, OpenError> {
    let header = *snapshot.header();
    let ledgers = snapshot.ledgers().iter().cloned();
    let ledgers = ledgers.map(|(ledger, totals)| LedgerState { ledger, totals }).collect();
    let begin = StateHeader {
        seq: header.seq,
        timestamp: header.last_timestamp,
        newest_transfer: header.newest_transfer,
        ledgers,
        accounts: usize::try_from(header.accounts).unwrap_or(usize::MAX).min(ROOM_ACCOUNTS_MAX),
    };
    let mut state = State::restore(begin, hash_seed());
    thread::scope(|scope| {
        let (sender, groups) = mpsc::sync_channel(HELD_GROUPS);
        thread::Builder::new()
            .name("florin-snapshot".to_owned())
            .spawn_scoped(scope, move || read_groups(snapshot, &sender))?;
        for group in groups {
            for held in group.map_err(SnapshotFileError::Read)?.chunks(ASKED_AHEAD) {
                restore(&mut state, held).map_err(|error| {
                    OpenError::Mismatch(format!("in the snapshot at {}, {error}", header.seq.0))
                })?;
            }
        }
        Ok::<_, OpenError>(())
    })?;
    if state.state_hash() == header.state_hash {
        Ok(state)
    } else {
        Err(OpenError::Mismatch(format!("the snapshot at {} has another state hash", header.seq.0)))
    }
}

/// Reads and decodes what a snapshot holds, beside the thread that puts it into memory.
fn read_groups(
    mut snapshot: SnapshotReader<impl Read>,
    groups: &SyncSender<Result<Vec<Held>, SnapshotError>>,
) {
    loop {
        let group: Result<Vec<_>, _> = snapshot.by_ref().take(HELD_GROUP).collect();
        let is_last = group.as_ref().map_or(true, |group| group.len() < HELD_GROUP);
        if groups.send(group).is_err() || is_last {
            return;
        }
    }
}

fn restore(state: &mut State, held: &[Held]) -> Result<(), RestoreError> {
    let accounts = held.iter().filter_map(|held| match held {
        Held::Account(account) => Some(account.id),
        Held::Pending(_) => None,
    });
    state.expect_accounts(accounts);
    held.iter().try_for_each(|held| match held {
        Held::Account(account) => {
            state.restore_account(account.clone());
            Ok(())
        }
        Held::Pending(pending) => state.restore_pending(pending),
    })
}

/// Replays what the state does not have, and remembers the ids that neither the state nor the index has.
///
/// # Errors
/// A record can not be decoded, or does not follow from the state, which is of no use afterwards.
pub fn replay_frame(
    state: &mut State,
    snapshot_seq: JournalSeq,
    indexed: JournalSeq,
    frame: &FrameView<'_>,
) -> Result<(), FrameError> {
    let mut wanted = frame.records().filter(|(seq, _)| *seq > snapshot_seq.min(indexed).0);
    let mut next = Vec::new();
    loop {
        // Small records in groups, so that the waits for memory of one overlap with those of the others. A large one sees to that itself.
        let mut bytes = 0;
        while next.len() < ASKED_AHEAD
            && bytes < GROUP_BYTES
            && let Some((seq, encoded)) = wanted.next()
        {
            let record = record::decode(encoded);
            let record = record.map_err(|source| FrameError::Decode { seq, source })?;
            next.push((JournalSeq(seq), record));
            bytes += encoded.len();
        }
        if next.is_empty() {
            break;
        }
        let small = next.iter().filter_map(|(_, record)| match &record.events[..] {
            [event] => Some(event),
            _ => None,
        });
        state.expect_events(small);
        for (seq, record) in next.drain(..) {
            if seq <= snapshot_seq {
                state.replay_ids(seq, &record);
            } else {
                state.replay(seq, &record)?;
            }
        }
    }
    let (seq, replayed, recorded) = (frame.last_seq(), state.state_hash(), frame.state_hash());
    if seq > snapshot_seq.0 && replayed != recorded {
        return Err(FrameError::StateHash { seq, replayed, recorded });
    }
    Ok(())
}

fn check_snapshot(journal: &Journal, seq: JournalSeq, hash: [u8; 16]) -> Result<(), OpenError> {
    let found = journal.reader().frame_hash_at(seq.0);
    match found {
        Ok(Some(found)) if *found.as_bytes() == hash => Ok(()),
        Ok(_) => Err(OpenError::Mismatch(format!(
            "the snapshot at position {} is not of this journal",
            seq.0
        ))),
        Err(error) => Err(OpenError::Mismatch(format!(
            "the journal can not be read at position {}: {error}",
            seq.0
        ))),
    }
}

fn await_clock(
    clock: &dyn Clock,
    newest: Timestamp,
    acceptance: ClockAcceptance,
) -> Result<(), OpenError> {
    if newest == Timestamp(0) {
        return Ok(());
    }
    let seconds = |nanoseconds: u64| Duration::from_nanos(nanoseconds).as_secs_f64();
    let behind = newest.0.saturating_sub(clock.now().0);
    if behind > 0 {
        clock.wait(Duration::from_nanos(behind).min(CLOCK_PATIENCE));
        let still_behind = newest.0.saturating_sub(clock.now().0);
        if still_behind > 0 {
            return Err(OpenError::ClockBehind(seconds(still_behind)));
        }
    }
    let ahead = seconds(clock.now().0 - newest.0);
    if ahead > CLOCK_LEAP_MAX.as_secs_f64() && acceptance == ClockAcceptance::Strict {
        return Err(OpenError::ClockAhead(ahead / CLOCK_LEAP_MAX.as_secs_f64()));
    }
    Ok(())
}

/// A fresh directory begins with ledger 1, in US dollars.
fn write_first_record(
    state: &mut State,
    journal: &mut Journal,
    now: Timestamp,
) -> Result<(), OpenError> {
    let command = Command::CreateLedger(CreateLedger {
        id: LedgerId(1),
        currency: "USD".to_owned(),
        scale: Scale::try_new(2).expect("2 is no more than 28"),
        name: "US dollars".to_owned(),
    });
    let verdict = state.decide(command, None, now, &mut NothingBefore);
    let Ok(Verdict::Decided(decision)) = verdict else {
        unreachable!("a ledger has no amounts and the command no key")
    };
    let record = decision.record.expect("there was no ledger before");
    let mut frame = FrameBuilder::new();
    frame.push_record(|buffer| record::encode(&record, buffer));
    journal.append(&mut frame, state.state_hash())?;
    Ok(())
}

/// Says loudly what `memory` means.
pub(crate) fn warn_of_durability(durability: Durability) {
    if durability == Durability::Memory {
        tracing::warn!(
            "durability is `memory`: what is acknowledged can be lost with the machine's power"
        );
    }
}
