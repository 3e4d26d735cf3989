//! Making a lost store anew, or taking back one that is ahead of its journal. The ledger is stopped meanwhile.
//!
//! The journal's records say everything, so a store is made anew from them where they are all there, in the directory and an archive.
//! Where the oldest are gone, what they did to the accounts is known from the snapshot, and history begins at the oldest record that is left.
//! Or the rows come from another store, and from the journal only what that one does not have yet.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use florin_engine::{
    Account, AccountId, Event, JournalSeq, LedgerId, LedgerState, State, Timestamp,
};
use florin_persistence::data_dir::{DataDir, DataDirError};
use florin_persistence::disk::OsDisk;
use florin_persistence::journal::{self, FrameHash, FrameView, JournalFiles};
use florin_persistence::record;
use florin_persistence::snapshot::files::{self, SnapshotFileError};
use florin_persistence::store::{
    AccountFilter, Checkpoint, PostgresOptions, Store, StoreBatch, StoreError, StoredAccount,
    StoredLedger, TakeOver,
};
use tokio::sync::mpsc;

use crate::options::StoreChoice;
use crate::recovery::{FrameError, OpenError, hash_seed, load, replay_frame};
use crate::verify::{TransferSums, VerifyError, pages};
use crate::write_behind::{NoRows, push};

/// Batches that are read ahead of the store.
const BATCHES_AHEAD: usize = 2;

/// How a store is made anew.
#[derive(Clone, Debug)]
pub struct RebuildOptions {
    /// The data directory of a ledger that does not run.
    pub data_dir: PathBuf,
    /// The store to fill.
    pub store: StoreChoice,
    /// Where journal segments went when they were no longer needed.
    pub journal_archive: Option<PathBuf>,
    /// Where to copy from what the journal does not have any more.
    pub from: Option<RebuildSource>,
    /// What to do about a store that is ahead of the journal.
    pub ahead: Ahead,
}

/// A store to copy from.
#[derive(Clone, Debug)]
pub enum RebuildSource {
    /// The file of an embedded store.
    Sqlite(PathBuf),
    /// A store in PostgreSQL.
    Postgres(PostgresOptions),
}

/// What to do about a store that is ahead of the journal, as after an older copy of the data directory was put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// Refuse, and say what only the store has.
    Refuse,
    /// Remove it.
    Cut,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RebuildStep {
    /// Rows of another store go over.
    Copying {
        /// Transfers that went.
        transfers: u64,
        /// Transfers that there are.
        of: u64,
    },
    /// The journal's records are applied.
    Filling {
        /// The position reached.
        seq: JournalSeq,
        /// Where the journal ends.
        of: JournalSeq,
    },
    /// What only the store has is about to be removed.
    Discarding {
        /// Acknowledged transfers.
        transfers: u64,
        /// Acknowledged accounts.
        accounts: u64,
    },
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RebuildReport {
    /// Where the store stands now.
    pub seq: JournalSeq,
    /// Where its history begins.
    pub history_from: JournalSeq,
    /// Transfers copied from another store.
    pub copied: u64,
    /// Records applied from the journal.
    pub records: u64,
    /// Acknowledged transfers that were removed, as they are not in the journal.
    pub discarded: u64,
}

/// Why a store was not made anew. What was begun is begun again by the next try.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The data directory can not be used.
    #[error(transparent)]
    Directory(#[from] DataDirError),
    /// The journal is damaged, or segments are missing.
    #[error("the journal can not be read")]
    Journal(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The snapshot can not be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotFileError),
    /// The snapshot and the journal do not give a state.
    #[error(transparent)]
    State(#[from] OpenError),
    /// A frame does not follow from the state before it.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The store can not be written, or the other one not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store and the journal tell different things.
    #[error(transparent)]
    Different(#[from] VerifyError),
    /// The store has what the journal has not.
    #[error(
        "the store stands at position {}, and the journal ends at {}: {transfers} acknowledged transfers and {accounts} accounts are in the store only. \
         Put the newer journal back if there is one; if it is lost for good, run this again with --cut to remove them",
        .store.0, .journal.0
    )]
    StoreAhead {
        /// Where the store stands.
        store: JournalSeq,
        /// Where the journal ends.
        journal: JournalSeq,
        /// Transfers beyond that.
        transfers: u64,
        /// Accounts beyond that.
        accounts: u64,
    },
    /// It was filled from something else.
    #[error("{0}")]
    Mismatch(String),
    /// A thread failed.
    #[error("the thread that reads the journal failed")]
    Thread,
}

/// Where the journal ends.
#[derive(Clone, Copy)]
struct End {
    seq: JournalSeq,
    timestamp: Timestamp,
    hash: FrameHash,
}

/// Fills the store of a stopped ledger with what it lacks, or takes it back to where the journal ends.
///
/// # Errors
/// See [`RebuildError`]. A store that was being made anew answers nothing before this has succeeded.
pub async fn rebuild_store(
    options: RebuildOptions,
    progress: &mut dyn FnMut(RebuildStep),
) -> Result<RebuildReport, RebuildError> {
    let directory = DataDir::open_existing(OsDisk::shared(), &options.data_dir)?;
    let own = list(&directory, None)?;
    let (state, end) = replay(&directory, &own)?;
    let (store, take_over) = match options.store {
        StoreChoice::Embedded => {
            let store = Store::open(&directory.store_path(), directory.id()).await?;
            (store, TakeOver::WhenFree)
        }
        StoreChoice::Postgres { options, take_over } => {
            (Store::postgres(options, directory.id())?, take_over)
        }
    };
    let from = match options.from {
        None => None,
        Some(RebuildSource::Sqlite(path)) => {
            if !path.is_file() {
                let text = format!("there is no store at {}", path.display());
                return Err(RebuildError::Mismatch(text));
            }
            Some(Store::open(&path, directory.id()).await?)
        }
        Some(RebuildSource::Postgres(options)) => Some(Store::postgres_reader(options)?),
    };
    let files = Arc::new(list(&directory, options.journal_archive.as_deref())?);
    let checkpoint = store.claim(take_over).await?;
    let mut rebuild = Rebuild { directory, store, files, end, progress };
    if checkpoint.seq > end.seq && !checkpoint.is_rebuilding {
        return rebuild.take_back(&own, &state, checkpoint, options.ahead).await;
    }
    let mut report = RebuildReport {
        seq: end.seq,
        history_from: checkpoint.history_from,
        copied: 0,
        records: 0,
        discarded: 0,
    };
    if let Some(from) = from {
        rebuild.copy(&from, &mut report).await?;
    } else if checkpoint.is_rebuilding || checkpoint.seq == JournalSeq::NONE {
        rebuild.make_anew(&state, &mut report).await?;
    } else {
        rebuild.fill(checkpoint.seq, checkpoint.frame_hash, &mut report).await?;
    }
    rebuild.store.sync().await?;
    Ok(report)
}

fn list(
    directory: &DataDir,
    archive: Option<&std::path::Path>,
) -> Result<JournalFiles, RebuildError> {
    JournalFiles::list(&**directory.disk(), &directory.journal_dir(), archive, directory.id())
        .map_err(unread)
}

fn unread(error: journal::OpenError<RebuildError>) -> RebuildError {
    match error {
        journal::OpenError::Visit(error) => error,
        other => RebuildError::Journal(Box::new(other)),
    }
}

/// The state at the journal's end, which is durable then, and where that is.
fn replay(directory: &DataDir, own: &JournalFiles) -> Result<(State, End), RebuildError> {
    let mut state = match files::newest(directory)? {
        Some(snapshot) => load(snapshot)?,
        None => State::new(hash_seed()),
    };
    let began_at = state.seq();
    let disk = &**directory.disk();
    let summary = own
        .read(disk, began_at.0, &mut |frame: FrameView<'_>| {
            Ok(replay_frame(&mut state, began_at, began_at, &frame)?)
        })
        .map_err(unread)?;
    if state.seq().0 != summary.last_seq {
        return Err(RebuildError::Mismatch(format!(
            "the journal ends at position {}, before the snapshot at {}",
            summary.last_seq,
            state.seq().0
        )));
    }
    state.check_conservation().map_err(OpenError::NotConserved)?;
    own.sync_newest(disk).map_err(|error| RebuildError::Journal(Box::new(error)))?;
    let end = End { seq: state.seq(), timestamp: state.timestamp(), hash: summary.last_data_hash };
    Ok((state, end))
}

struct Rebuild<'a> {
    directory: DataDir,
    store: Store,
    /// Those of the archive too.
    files: Arc<JournalFiles>,
    end: End,
    progress: &'a mut dyn FnMut(RebuildStep),
}

impl Rebuild<'_> {
    /// From the oldest record on; what was before it, from the state.
    async fn make_anew(
        &mut self,
        state: &State,
        report: &mut RebuildReport,
    ) -> Result<(), RebuildError> {
        let (first, hash_before) = self.files.begin();
        let before = JournalSeq(first - 1);
        self.store.begin_rebuild().await?;
        if before > JournalSeq::NONE {
            self.write_base(state, before, hash_before).await?;
        }
        self.fill(before, *hash_before.as_bytes(), report).await?;
        report.history_from = JournalSeq(first);
        Ok(self.store.end_rebuild(report.history_from).await?)
    }

    /// Accounts and ledgers that were there before the oldest record. Their balances are the newest: those that a record changed are
    /// written again, and are the newest again when the last record is applied.
    async fn write_base(
        &mut self,
        state: &State,
        before: JournalSeq,
        hash: FrameHash,
    ) -> Result<(), RebuildError> {
        let (mut accounts, mut ledgers) = (HashSet::new(), HashSet::<LedgerId>::new());
        // What metadata was before a record replaced it for the first time: that record writes the rest again.
        let mut digests_before: HashMap<AccountId, u64> = HashMap::new();
        self.each_record(before.next(), &mut |_, record| {
            for event in &record.events {
                match event {
                    Event::LedgerCreated(ledger) => drop(ledgers.insert(ledger.id)),
                    Event::AccountCreated(created) => drop(accounts.insert(created.id)),
                    Event::MetadataReplaced(replaced) => {
                        let account = record.accounts[replaced.account as usize].id;
                        digests_before.entry(account).or_insert(replaced.digest_before);
                    }
                    _ => {}
                }
            }
        })?;
        let mut batch = StoreBatch::new(JournalSeq::NONE);
        for LedgerState { ledger, totals } in state.ledgers() {
            if !ledgers.contains(&ledger.id) {
                let stored = StoredLedger { ledger: ledger.clone(), totals: *totals, seq: before };
                batch.push_ledger(stored);
            }
        }
        for account in state.accounts().filter(|account| !accounts.contains(&account.id)) {
            let metadata_digest = digests_before.get(&account.id).copied();
            let metadata_digest = metadata_digest.unwrap_or(account.metadata_digest);
            batch.push_account(StoredAccount {
                account: Account { metadata_digest, ..account.clone() },
                metadata: None,
                external_id: None,
                seq: before,
            });
            if batch.is_full() {
                self.store.apply(&batch).await?;
                batch = StoreBatch::new(JournalSeq::NONE);
            }
        }
        // Nothing that is lost is later.
        batch.set_upto(before, self.end.timestamp);
        batch.set_frame_hash(*hash.as_bytes());
        Ok(self.store.apply(&batch).await?)
    }

    fn each_record(
        &self,
        from: JournalSeq,
        visit: &mut dyn FnMut(JournalSeq, &florin_engine::Record),
    ) -> Result<(), RebuildError> {
        let disk = &**self.directory.disk();
        let walk = self.files.read(disk, from.0, &mut |frame: FrameView<'_>| {
            for (seq, bytes) in frame.records().filter(|(seq, _)| *seq >= from.0) {
                let decoded = record::decode(bytes);
                let record = decoded.map_err(|source| FrameError::Decode { seq, source })?;
                visit(JournalSeq(seq), &record);
            }
            Ok(())
        });
        walk.map(drop).map_err(unread)
    }

    /// Everything of another store, then what the journal has beyond it.
    async fn copy(&mut self, from: &Store, report: &mut RebuildReport) -> Result<(), RebuildError> {
        let found = from.directory().await?;
        if found != self.directory.id() {
            let expected = self.directory.id();
            return Err(StoreError::ForeignDirectory { found, expected }.into());
        }
        let mut export = from.export().await?;
        let source = export.checkpoint();
        // Before anything is written: that the journal goes on where the other store ends.
        let begin = JournalSeq(self.files.begin().0);
        if source.seq > self.end.seq || source.seq.next() < begin {
            return Err(RebuildError::Mismatch(format!(
                "the store to copy from stands at position {}, and the journal has the positions {} to {}",
                source.seq.0, begin.0, self.end.seq.0
            )));
        }
        self.store.begin_rebuild().await?;
        while let Some(batch) = export.next().await? {
            self.store.apply(&batch).await?;
            report.copied += batch.transfers() as u64;
            let step = RebuildStep::Copying { transfers: report.copied, of: export.transfers() };
            (self.progress)(step);
        }
        let Checkpoint { seq, frame_hash, epoch, .. } = from.checkpoint().await?;
        if (seq, epoch) != (source.seq, source.epoch) {
            return Err(RebuildError::Mismatch(
                "the store to copy from was written meanwhile: stop its writer and start again"
                    .to_owned(),
            ));
        }
        report.history_from = source.history_from;
        self.fill(seq, frame_hash, report).await?;
        Ok(self.store.end_rebuild(source.history_from).await?)
    }

    /// Applies the journal's records behind `after`, where the store stands at the frame with this hash.
    async fn fill(
        &mut self,
        after: JournalSeq,
        hash: [u8; 16],
        report: &mut RebuildReport,
    ) -> Result<(), RebuildError> {
        let (first, hash_before) = self.files.begin();
        if after.0 + 1 < first {
            return Err(RebuildError::Mismatch(format!(
                "the store ends at position {}, and the oldest segment of the journal begins at {first}: give --journal-archive with the segments between, \
                 --from with a store that has them, or empty the store to begin its history at {first}",
                after.0
            )));
        }
        // The frame before the oldest segment is known by its hash alone.
        let known = match after {
            JournalSeq::NONE => true,
            _ if after.0 + 1 == first => hash == *hash_before.as_bytes(),
            _ => false,
        };
        if after.0 + 1 == first && !known {
            return Err(other_journal(after));
        }
        let (sender, mut batches) = mpsc::channel(BATCHES_AHEAD);
        let (files, disk) = (Arc::clone(&self.files), Arc::clone(self.directory.disk()));
        let reading = tokio::task::spawn_blocking(move || {
            let mut gather = Gather { batch: StoreBatch::new(after), after, hash, known, sender };
            files.read(&*disk, after.0, &mut |frame| gather.frame(&frame)).map_err(unread)?;
            if gather.known { gather.send() } else { Err(other_journal(after)) }
        });
        while let Some(batch) = batches.recv().await {
            self.store.apply(&batch).await?;
            report.records += batch.upto().0 - batch.after().0;
            (self.progress)(RebuildStep::Filling { seq: batch.upto(), of: self.end.seq });
        }
        reading.await.map_err(|_| RebuildError::Thread)?
    }

    /// A store that is ahead of the journal.
    async fn take_back(
        &mut self,
        own: &JournalFiles,
        state: &State,
        checkpoint: Checkpoint,
        ahead: Ahead,
    ) -> Result<RebuildReport, RebuildError> {
        let end = self.end;
        let beyond = self.store.beyond(end.seq).await?;
        // What both have must be the same, or the store went on from something else.
        let mut sums = TransferSums::default();
        self.each_record(JournalSeq(own.begin().0), &mut |seq, record| sums.add(seq, record))?;
        sums.compare(&self.store).await?;
        let (transfers, accounts) = (beyond.transfers, beyond.accounts);
        if ahead == Ahead::Refuse {
            let (store, journal) = (checkpoint.seq, end.seq);
            return Err(RebuildError::StoreAhead { store, journal, transfers, accounts });
        }
        (self.progress)(RebuildStep::Discarding { transfers, accounts });
        let mut to = StoreBatch::new(checkpoint.seq);
        let mut page = pages();
        loop {
            let rows = self.store.accounts(&AccountFilter::default(), &page).await?;
            for row in &rows.data {
                let id: AccountId = row.account.id;
                // What is not in the state was created later, and goes.
                let Some(account) = state.account(id) else { continue };
                if account.after() != row.account.after() {
                    to.set_balances(account.after());
                }
            }
            match rows.next {
                Some(cursor) => page.cursor = Some(cursor),
                None => break,
            }
        }
        for LedgerState { ledger, totals } in state.ledgers() {
            to.set_totals(ledger.id, *totals);
        }
        to.set_upto(end.seq, end.timestamp);
        to.set_frame_hash(*end.hash.as_bytes());
        self.store.cut(&to).await?;
        self.store.sync().await?;
        Ok(RebuildReport {
            seq: end.seq,
            history_from: checkpoint.history_from,
            copied: 0,
            records: 0,
            discarded: transfers,
        })
    }
}

fn other_journal(at: JournalSeq) -> RebuildError {
    RebuildError::Mismatch(format!(
        "the store at position {} was filled from another journal",
        at.0
    ))
}

/// Makes batches of frames, on the thread that reads them.
struct Gather {
    batch: StoreBatch,
    /// Where the store stands, and the hash of the frame that ends there.
    after: JournalSeq,
    hash: [u8; 16],
    /// Whether that frame was met.
    known: bool,
    sender: mpsc::Sender<StoreBatch>,
}

impl Gather {
    fn frame(&mut self, frame: &FrameView<'_>) -> Result<(), RebuildError> {
        let last = JournalSeq(frame.last_seq());
        if last <= self.after {
            self.known |= last == self.after && *frame.hash().as_bytes() == self.hash;
            return Ok(());
        }
        if !self.known {
            return Err(other_journal(self.after));
        }
        for (seq, bytes) in frame.records() {
            push(&mut self.batch, seq, bytes).map_err(|error| match error {
                NoRows::Decode { seq, source } => FrameError::Decode { seq, source }.into(),
                NoRows::OutOfOrder(_) => other_journal(self.after),
            })?;
        }
        self.batch.set_frame_hash(*frame.hash().as_bytes());
        if self.batch.is_full() { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<(), RebuildError> {
        let next = StoreBatch::new(self.batch.upto());
        let batch = std::mem::replace(&mut self.batch, next);
        if batch.is_empty() {
            return Ok(());
        }
        // The other end goes only when the store failed, and that is what is told then.
        self.sender.blocking_send(batch).map_err(|_| RebuildError::Thread)
    }
}
