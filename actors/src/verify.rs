//! Verifying a stopped data directory: checksums, chain, replay, conservation, snapshot, index and store against each other.

use std::collections::HashMap;
use std::path::Path;

use florin_engine::{
    Account, AccountAfter, AccountId, Event, JournalSeq, LedgerState, Record, State, Timestamp,
    Transfer, TransferPosted,
};
use florin_persistence::data_dir::{DataDir, DataDirError};
use florin_persistence::decided::{DecidedIndex, IndexError, IndexOptions};
use florin_persistence::disk::OsDisk;
use florin_persistence::journal::{self, FrameHash, FrameView, JournalSummary, verify_journal};
use florin_persistence::record;
use florin_persistence::snapshot::SnapshotHeader;
use florin_persistence::snapshot::files::{self, SnapshotFileError};
use florin_persistence::store::{
    AccountFilter, Checkpoint, Order, PAGE_ROWS_MAX, PageRequest, PostgresOptions, Store,
    StoreError, TableSums, TimeRange, TransferFilter,
};

use crate::commit::chain;
use crate::indexed::{namespace_of, on_disk};
use crate::recovery::{FrameError, OpenError, hash_seed, load, replay_frame};

/// What a directory that is sound holds.
#[derive(Clone, Debug)]
pub struct VerifyReport {
    /// Records of the journal.
    pub records: u64,
    /// Segments of the journal.
    pub segments: u64,
    /// Frames in them, sealing ones too.
    pub frames: u64,
    /// The oldest record that is still in the journal.
    pub first_seq: JournalSeq,
    /// The newest record.
    pub last_seq: JournalSeq,
    /// Whether the journal ends with a sealing frame, as after a clean stop.
    pub is_sealed: bool,
    /// Whether the next start will cut a frame that a crash tore; it was never acknowledged.
    pub torn_bytes: u64,
    /// The state hash at the newest record.
    pub state_hash: u64,
    /// Accounts.
    pub accounts: u64,
    /// Ledgers with their totals.
    pub ledgers: Vec<LedgerState>,
    /// The newest snapshot; 0 without one.
    pub snapshot_seq: JournalSeq,
    /// How far the index of decided ids reaches.
    pub indexed_seq: JournalSeq,
    /// How far the store reaches, late but not wrong.
    pub stored_seq: JournalSeq,
    /// Transfers in the store, of the records that the journal still has.
    pub stored_transfers: u64,
    /// Where the store's history begins: later than at the first position only when an earlier store was lost.
    pub history_from: JournalSeq,
}

/// The first difference found.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The data directory can not be used.
    #[error(transparent)]
    Directory(#[from] DataDirError),
    /// The journal is damaged.
    #[error(transparent)]
    Journal(#[from] journal::Damage),
    /// The journal contradicts itself.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The snapshot is damaged or contradicts itself.
    #[error(transparent)]
    Snapshot(#[from] SnapshotFileError),
    /// The index can not be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The store can not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Two parts differ.
    #[error("{0}")]
    Different(String),
}

/// Verifies the stopped data directory at `path`: checksums, hash chain, replay, conservation, the snapshot and the index against
/// the journal, and all that the store tells against it at the position up to which it was filled: the embedded one, or `postgres`. A late store is
/// no fault.
///
/// # Errors
/// The first difference, in one sentence. Nothing is changed.
pub async fn verify(
    path: &Path,
    postgres: Option<PostgresOptions>,
) -> Result<VerifyReport, VerifyError> {
    let directory = DataDir::open_existing(OsDisk::shared(), path)?;
    let store = match postgres {
        None => Store::open(&directory.store_path(), directory.id()).await?,
        Some(options) => {
            let store = Store::postgres_reader(options)?;
            let found = store.directory().await?;
            if found != directory.id() {
                let expected = directory.id();
                return Err(StoreError::ForeignDirectory { found, expected }.into());
            }
            store
        }
    };
    check(&directory, Some(&store)).await
}

/// Verifies a directory that nobody else uses, and the store if there is one.
pub(crate) async fn check(
    directory: &DataDir,
    store: Option<&Store>,
) -> Result<VerifyReport, VerifyError> {
    let index = DecidedIndex::open(&directory.ids_dir(), IndexOptions::SMALL)?;
    let checkpoint = match store {
        Some(store) => store.checkpoint().await?,
        None => Checkpoint::NOTHING,
    };
    if checkpoint.is_rebuilding {
        return Err(StoreError::Rebuilding.into());
    }
    let snapshot = files::newest(directory)?;
    let snapshot_header = snapshot.as_ref().map(|snapshot| *snapshot.header());
    // A whole journal is replayed from its beginning, so that the snapshot is compared too; else it is where replay begins.
    let restored = match snapshot {
        Some(snapshot) => {
            load(snapshot).map_err(|error: OpenError| different(error.to_string()))?
        }
        None => State::new(hash_seed()),
    };
    let whole = directory.disk().kind(&directory.journal_dir().join(FIRST_SEGMENT));
    let state = match whole {
        Ok(Some(_)) => State::new(hash_seed()),
        _ => restored,
    };
    let mut walk = Walk {
        began_at: state.seq(),
        state,
        index,
        snapshot: snapshot_header,
        checkpoint,
        checkpoint_hash: None,
        at_checkpoint: None,
        sums: TransferSums::default(),
        tables: TableSums::default(),
    };
    let summary = verify_journal(
        &**directory.disk(),
        &directory.journal_dir(),
        directory.id(),
        &mut |frame| walk.frame(&frame),
    )
    .map_err(|error| match error {
        journal::OpenError::Visit(error) => error,
        journal::OpenError::Damaged(error) => VerifyError::Journal(error),
        other => VerifyError::Different(chain(&other)),
    })?;
    walk.state.check_conservation().map_err(different)?;
    let stored_transfers = match store {
        Some(store) => walk.compare_store(store, &summary).await?,
        None => 0,
    };
    Ok(report(&summary, &walk, stored_transfers))
}

/// The file of a journal's first segment, which is there as long as nothing was removed.
const FIRST_SEGMENT: &str = "00000000000000000001.seg";

/// The walk over the journal, with what it is compared with.
struct Walk {
    state: State,
    began_at: JournalSeq,
    index: DecidedIndex,
    snapshot: Option<SnapshotHeader>,
    checkpoint: Checkpoint,
    /// The hash of the frame at which the store stands.
    checkpoint_hash: Option<FrameHash>,
    /// Accounts and ledgers as of the store's checkpoint.
    at_checkpoint: Option<(HashMap<AccountId, Compared>, Vec<LedgerState>)>,
    /// The transfers of each record up to the checkpoint.
    sums: TransferSums,
    /// What these records put into other tables.
    tables: TableSums,
}

impl Walk {
    fn frame(&mut self, frame: &FrameView<'_>) -> Result<(), VerifyError> {
        let began_at = self.began_at;
        replay_frame(&mut self.state, began_at, began_at, frame)?;
        for (seq, bytes) in frame.records() {
            let record =
                record::decode(bytes).map_err(|source| FrameError::Decode { seq, source })?;
            self.check_index(JournalSeq(seq), &record)?;
            if seq <= self.checkpoint.seq.0 {
                self.sums.add(JournalSeq(seq), &record);
                let keyed = record.key.is_some().then_some(bytes);
                let added = self.tables.add(JournalSeq(seq), record, keyed);
                added.map_err(|error| different(error.to_string()))?;
            }
        }
        let last = JournalSeq(frame.last_seq());
        if last == self.checkpoint.seq {
            self.checkpoint_hash = Some(frame.hash());
        }
        if self.state.seq() == last && last == self.checkpoint.seq {
            let accounts = self.state.accounts().map(|account| (account.id, what_counts(account)));
            self.at_checkpoint = Some((accounts.collect(), self.state.ledgers().to_vec()));
        }
        match self.snapshot {
            Some(snapshot)
                if snapshot.seq == last && snapshot.state_hash != self.state.state_hash() =>
            {
                Err(different(format!(
                    "the snapshot at position {} has the state hash {:016x}, replay gives {:016x}",
                    last.0,
                    snapshot.state_hash,
                    self.state.state_hash()
                )))
            }
            _ => Ok(()),
        }
    }

    /// Everything that the index covers must be in it as it was decided.
    fn check_index(&self, seq: JournalSeq, record: &Record) -> Result<(), VerifyError> {
        if seq.0 > self.index.covered_seq() {
            return Ok(());
        }
        let mut result = Ok(());
        record.each_decided(seq, |id, decided| {
            if result.is_err() {
                return;
            }
            match self.index.get(namespace_of(decided.kind), id) {
                Ok(Some(found)) if found == on_disk(decided) => {}
                Ok(found) => {
                    result = Err(different(format!(
                        "the index of decided ids has {found:?} for the id {id} of record {}",
                        seq.0
                    )));
                }
                Err(error) => result = Err(error.into()),
            }
        });
        result
    }

    /// Compares the store with the journal at the store's position. Returns how many transfers were compared.
    async fn compare_store(
        &self,
        store: &Store,
        summary: &JournalSummary,
    ) -> Result<u64, VerifyError> {
        let at = self.checkpoint.seq.0;
        if at > summary.last_seq {
            return Err(different(format!(
                "the store reaches position {at}, the journal only {}",
                summary.last_seq
            )));
        }
        if let Some(hash) = self.checkpoint_hash
            && *hash.as_bytes() != self.checkpoint.frame_hash
        {
            return Err(different(format!("the store at position {at} is not of this journal")));
        }
        if let Some((accounts, ledgers)) = &self.at_checkpoint {
            compare_accounts(store, accounts, self.checkpoint.history_from).await?;
            compare_ledgers(store, ledgers).await?;
        }
        let transfers = self.sums.compare(store).await?;
        if let Some((first, last)) = self.sums.stretch {
            let stored = store.export().await?.sums(first, last).await?;
            stored.difference(&self.tables).map_or(Ok(()), |text| Err(different(text)))?;
        }
        Ok(transfers)
    }
}

/// The transfers of a stretch of the journal, summed up by record, to be compared with those of a store.
#[derive(Default)]
pub(crate) struct TransferSums {
    /// The first and the last record looked at.
    stretch: Option<(JournalSeq, JournalSeq)>,
    /// The first transfer: they stand in the order of their times, imported ones too.
    from: Option<Timestamp>,
    /// Those of each record with transfers, in order: 24 bytes for each.
    sums: Vec<RecordSum>,
}

/// The transfers of a record: how many, and the sum of their digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RecordSum {
    seq: JournalSeq,
    transfers: u64,
    digests: u64,
}

impl RecordSum {
    fn of(seq: JournalSeq, transfer: &Transfer) -> RecordSum {
        RecordSum { seq, transfers: 1, digests: mark(transfer) }
    }

    /// Adds a transfer of the same record to the last sum; false where it begins another one.
    fn add(&mut self, seq: JournalSeq, transfer: &Transfer) -> bool {
        let is_same = self.seq == seq;
        if is_same {
            self.transfers += 1;
            self.digests = self.digests.wrapping_add(mark(transfer));
        }
        is_same
    }
}

impl TransferSums {
    /// Adds the record that follows.
    pub(crate) fn add(&mut self, seq: JournalSeq, record: &Record) {
        let first = self.stretch.map_or(seq, |(first, _)| first);
        self.stretch = Some((first, seq));
        for event in &record.events {
            let Event::TransferPosted(TransferPosted { transfer, .. }) = event else { continue };
            self.from.get_or_insert(transfer.timestamp);
            if !self.sums.last_mut().is_some_and(|sum| sum.add(seq, transfer)) {
                self.sums.push(RecordSum::of(seq, transfer));
            }
        }
    }

    /// Compares the store's transfers of the same stretch, in order. Returns how many there are.
    pub(crate) async fn compare(&self, store: &Store) -> Result<u64, VerifyError> {
        let Some((first, last)) = self.stretch else { return Ok(0) };
        let time = TimeRange { from: self.from, to: None };
        let filter = TransferFilter { time, ..TransferFilter::default() };
        let mut expected = self.sums.iter().copied();
        let mut stored: Option<RecordSum> = None;
        let mut compared = 0;
        let mut page = pages();
        loop {
            let rows = store.transfers(&filter, &page).await?;
            for row in rows.data.iter().filter(|row| first <= row.seq && row.seq <= last) {
                compared += 1;
                if !stored.as_mut().is_some_and(|sum| sum.add(row.seq, &row.transfer)) {
                    let begun = RecordSum::of(row.seq, &row.transfer);
                    if let Some(whole) = stored.replace(begun) {
                        check_record(Some(whole), expected.next())?;
                    }
                }
            }
            match rows.next {
                Some(cursor) => page.cursor = Some(cursor),
                None => break,
            }
        }
        if stored.is_some() {
            check_record(stored, expected.next())?;
        }
        check_record(None, expected.next())?;
        Ok(compared)
    }
}

fn check_record(
    stored: Option<RecordSum>,
    journaled: Option<RecordSum>,
) -> Result<(), VerifyError> {
    if stored == journaled {
        return Ok(());
    }
    // The earlier one is missing on the other side.
    let seq = stored.into_iter().chain(journaled).map(|sum| sum.seq).min();
    Err(different(format!(
        "the transfers of record {} are not the same in the store and the journal",
        seq.unwrap_or_default().0
    )))
}

/// What a transfer is, and when it was decided, in one number.
fn mark(transfer: &Transfer) -> u64 {
    let id = transfer.id.0;
    transfer
        .content_digest()
        .wrapping_add(transfer.timestamp.0)
        .wrapping_add(id as u64)
        .wrapping_add((id >> 64) as u64)
        // Which text it is follows from the id.
        .wrapping_add(u64::from(transfer.external_id.is_some()))
}

/// What of an account is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Compared {
    /// What commands change.
    after: AccountAfter,
    metadata_digest: u64,
    /// Whether it was created by an external id; which one follows from its id.
    is_named: bool,
}

fn what_counts(account: &Account) -> Compared {
    Compared {
        after: account.after(),
        metadata_digest: account.metadata_digest,
        is_named: account.external_id_seq != JournalSeq::NONE,
    }
}

async fn compare_accounts(
    store: &Store,
    expected: &HashMap<AccountId, Compared>,
    history_from: JournalSeq,
) -> Result<(), VerifyError> {
    let mut page = pages();
    let mut compared = 0;
    loop {
        let rows = store.accounts(&AccountFilter::default(), &page).await?;
        for row in &rows.data {
            let id = row.account.id;
            let mut stored = what_counts(&row.account);
            let found = expected.get(&id);
            if row.seq < history_from {
                // With an earlier store its text was lost too.
                stored.is_named = found.is_some_and(|found| found.is_named);
            }
            if found != Some(&stored) {
                return Err(different(format!(
                    "account {} is {stored:?} in the store and {found:?} in the journal",
                    id.0,
                )));
            }
            compared += 1;
        }
        match rows.next {
            Some(cursor) => page.cursor = Some(cursor),
            None => break,
        }
    }
    if compared == expected.len() {
        Ok(())
    } else {
        Err(different(format!("the store has {compared} accounts, the journal {}", expected.len())))
    }
}

async fn compare_ledgers(store: &Store, expected: &[LedgerState]) -> Result<(), VerifyError> {
    for LedgerState { ledger, totals } in expected {
        let stored = store.ledger(ledger.id).await?.value;
        let same = stored
            .as_ref()
            .is_some_and(|stored| stored.ledger == *ledger && stored.totals == *totals);
        if !same {
            return Err(different(format!(
                "ledger {} is {stored:?} in the store, its totals are {totals:?} in the journal",
                ledger.id.0
            )));
        }
    }
    Ok(())
}

/// Whole lists, in the order of decisions.
pub(crate) fn pages() -> PageRequest {
    PageRequest { order: Order::OldestFirst, ..PageRequest::first(PAGE_ROWS_MAX) }
}

fn report(summary: &JournalSummary, walk: &Walk, stored_transfers: u64) -> VerifyReport {
    let state = &walk.state;
    VerifyReport {
        records: summary.last_seq + 1 - summary.first_seq,
        segments: summary.segments as u64,
        frames: summary.frames,
        first_seq: JournalSeq(summary.first_seq),
        last_seq: JournalSeq(summary.last_seq),
        is_sealed: summary.is_sealed,
        torn_bytes: summary.torn_tail.as_ref().map_or(0, |torn| torn.bytes),
        state_hash: state.state_hash(),
        accounts: state.accounts_count() as u64,
        ledgers: state.ledgers().to_vec(),
        snapshot_seq: walk.snapshot.map_or(JournalSeq::NONE, |snapshot| snapshot.seq),
        indexed_seq: JournalSeq(walk.index.covered_seq()),
        stored_seq: walk.checkpoint.seq,
        stored_transfers,
        history_from: walk.checkpoint.history_from,
    }
}

fn different(what: String) -> VerifyError {
    VerifyError::Different(what)
}
