//! The data directory that is started: a snapshot with all accounts, and the journal behind it, as after a crash before the next snapshot was made.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use florin_actors::{Durability, Florin, Options, WriteBehind};
use florin_benches::figures::thousands;
use florin_engine::{
    AccountId, Amount, AmountInput, Command, CreateAccount, CreateTransfer, JournalSeq, LedgerId,
    TransferId,
};
use florin_persistence::data_dir::DataDir;
use florin_persistence::disk::OsDisk;
use florin_persistence::journal::{FrameView, Journal, JournalOptions};
use florin_persistence::record;
use florin_persistence::snapshot::{Changes, FrameEnd, file_name, files};
use rustix::fs::Advice;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Accounts in one command.
const BATCH: u64 = 8_190;
/// Transfers under way at once.
const CALLERS: u64 = 1_024;
/// From here on numbers are of transfers that stand in the snapshot.
const GIVEN: u64 = 1 << 40;
/// A snapshot is made when the changes since the last one take so much memory.
const CHANGES_BYTES: usize = 1 << 30;

/// How much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) accounts: u64,
    pub(crate) records: u64,
}

/// What the start reads, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) snapshot: u64,
    /// The frames behind the snapshot.
    pub(crate) tail: u64,
}

/// The directory, and its snapshot kept beside it.
pub(crate) struct Made {
    path: PathBuf,
    kept: PathBuf,
    name: String,
    tail_bytes: u64,
}

/// A ledger that fills no store, so that its journal stays whole.
pub(crate) fn options(directory: &Path) -> Options {
    let mut options = Options::new(directory);
    options.durability = Durability::Fsync;
    options.write_behind = WriteBehind::Paused;
    options
}

/// What of this process is in memory, in bytes.
pub(crate) fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or_default() << 10
}

impl Made {
    /// Makes it.
    ///
    /// # Panics
    /// The disk refuses, or the ledger.
    pub(crate) fn make(path: &Path, plan: Plan) -> Made {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime can be had");
        run(&runtime, path, |florin| async move {
            create_accounts(&florin, plan.accounts).await;
            give_money(&florin, plan.accounts).await;
        });
        let seq = make_snapshot(path);
        let name = file_name(seq);
        let (snapshots, kept) = (path.join("snapshots"), path.with_file_name("kept.snap"));
        fs::hard_link(snapshots.join(&name), &kept).expect("a snapshot can be kept");
        let tail_bytes = run(&runtime, path, |florin| create_transfers(florin, plan));
        // The last segments are not in the index yet, as after a crash.
        let made = Made { path: path.to_owned(), kept, name, tail_bytes };
        made.put_back_snapshot();
        made
    }

    /// The data directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn snapshots(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    /// Takes away the snapshots that were made behind the one that is kept.
    ///
    /// # Panics
    /// The disk refuses.
    pub(crate) fn put_back_snapshot(&self) {
        for entry in entries(&self.snapshots()) {
            if entry.file_name().is_some_and(|name| *name != *self.name) {
                fs::remove_file(&entry).expect("a snapshot can be removed");
            }
        }
        let place = self.snapshots().join(&self.name);
        if !place.exists() {
            fs::hard_link(&self.kept, place).expect("a snapshot can be put back");
        }
    }

    /// What a start reads.
    pub(crate) fn sizes(&self) -> Sizes {
        let snapshot = fs::metadata(&self.kept).map_or(0, |metadata| metadata.len());
        Sizes { snapshot, tail: self.tail_bytes }
    }

    fn files(&self) -> Vec<PathBuf> {
        fn below(directory: &Path, found: &mut Vec<PathBuf>) {
            for entry in entries(directory) {
                if entry.is_dir() {
                    below(&entry, found);
                } else {
                    found.push(entry);
                }
            }
        }
        let mut found = Vec::new();
        below(&self.path, &mut found);
        found
    }

    /// Takes its files, and no others, out of the page cache.
    ///
    /// # Panics
    /// The disk refuses.
    pub(crate) fn drop_from_cache(&self) {
        for path in self.files() {
            let file = File::open(&path).expect("a file that was listed is there");
            // Only what is on the disk already can go.
            file.sync_all().expect("a file can be synced");
            let whole: Option<NonZeroU64> = None;
            rustix::fs::fadvise(&file, 0, whole, Advice::DontNeed).expect("advice is taken");
        }
    }

    /// Brings its files into the page cache.
    ///
    /// # Panics
    /// The disk refuses.
    pub(crate) fn read_into_cache(&self) {
        for path in self.files() {
            let mut file = File::open(&path).expect("a file that was listed is there");
            io::copy(&mut file, &mut io::sink()).expect("a file can be read");
        }
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Opens the ledger for one piece of work, stops it, and gives how many bytes its journal grew by.
fn run<F>(runtime: &Runtime, path: &Path, work: impl FnOnce(Florin) -> F) -> u64
where
    F: Future<Output = ()>,
{
    let florin = Florin::open(options(path));
    let florin = florin.unwrap_or_else(|error| panic!("the ledger can not be opened: {error}"));
    runtime.block_on(async {
        work(florin.clone()).await;
        let bytes = florin.positions().journal_bytes;
        florin.stop().await;
        bytes
    })
}

async fn submit(florin: &Florin, command: Command) {
    let answer = florin.submit(command, None).await.expect("a command is answered");
    assert!(answer.exceptions.is_empty(), "refused: {:?}", answer.exceptions[0]);
}

fn account(place: u64) -> AccountId {
    AccountId(u128::from(place) + 1)
}

async fn create_accounts(florin: &Florin, count: u64) {
    for start in (0..count).step_by(BATCH as usize) {
        let accounts = (start..count.min(start + BATCH)).map(|at| CreateAccount::new(account(at)));
        submit(florin, Command::CreateAccounts(accounts.collect())).await;
    }
}

/// Every account has a balance: each pays its neighbour, or is paid by it.
async fn give_money(florin: &Florin, accounts: u64) {
    for start in (0..accounts / 2).step_by(BATCH as usize) {
        let pairs = start..(accounts / 2).min(start + BATCH);
        let transfers = pairs.map(|pair| {
            let amount = 1_000_000 + pair % 1_000_000;
            transfer(GIVEN + pair, account(2 * pair), account(2 * pair + 1), amount)
        });
        submit(florin, Command::CreateTransfers(transfers.collect())).await;
    }
}

fn transfer(number: u64, debit: AccountId, credit: AccountId, amount: u64) -> CreateTransfer {
    let amount = AmountInput::Minor(Amount::from_minor(amount));
    CreateTransfer {
        ledger: Some(LedgerId(1)),
        ..CreateTransfer::new(TransferId(mixed(number)), debit, credit, amount)
    }
}

/// All 128 bits look random, and no two are the same.
fn mixed(number: u64) -> u128 {
    let mix = |mut bits: u64| {
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    };
    (u128::from(mix(number.wrapping_add(1))) << 64) | u128::from(mix(!number))
}

/// One in a command, between any two accounts.
async fn create_transfers(florin: Florin, plan: Plan) {
    let next = Arc::new(AtomicU64::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS.min(plan.records) {
        let (florin, next) = (florin.clone(), Arc::clone(&next));
        callers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= plan.records {
                    return;
                }
                let id = mixed(number);
                let debit = (id >> 64) as u64 % plan.accounts;
                let credit = (debit + 1 + id as u64 % (plan.accounts - 1)) % plan.accounts;
                let amount = 1 + number % 10_000;
                let transfer = transfer(number, account(debit), account(credit), amount);
                submit(&florin, Command::CreateTransfers(vec![transfer])).await;
            }
        });
    }
    callers.join_all().await;
}

/// Makes the snapshot at the journal's end, from the newest one there is, as housekeeping does from sealed segments.
fn make_snapshot(path: &Path) -> JournalSeq {
    let directory = DataDir::open_existing(OsDisk::shared(), path).expect("the ledger stopped");
    let newest = files::newest(&directory).expect("a snapshot can be read");
    let from = newest.map_or(JournalSeq::NONE, |snapshot| snapshot.header().seq);
    let mut snapshots =
        Snapshots { directory: &directory, changes: Changes::after(from), end: None };
    let journal = Journal::open::<Infallible>(
        OsDisk::shared(),
        &directory.journal_dir(),
        directory.id(),
        JournalOptions::new(Durability::Fsync),
        from.0,
        &mut |frame| {
            snapshots.absorb(&frame);
            Ok(())
        },
    );
    drop(journal.expect("the journal can be read"));
    snapshots.make();
    snapshots.changes.seq()
}

/// Makes one snapshot after another from the journal's frames.
struct Snapshots<'a> {
    directory: &'a DataDir,
    /// Since the last one.
    changes: Changes,
    /// Where they end.
    end: Option<FrameEnd>,
}

impl Snapshots<'_> {
    fn absorb(&mut self, frame: &FrameView<'_>) {
        let from = self.changes.seq().0;
        for (seq, bytes) in frame.records().filter(|(seq, _)| *seq > from) {
            let record = record::decode(bytes).expect("a record can be read");
            self.changes.absorb(JournalSeq(seq), &record).expect("it follows");
        }
        let (directory, hash) = (self.directory.id(), *frame.hash().as_bytes());
        self.end = Some(FrameEnd { directory, hash, state_hash: frame.state_hash() });
        if self.changes.memory_bytes() > CHANGES_BYTES {
            self.make();
        }
    }

    fn make(&mut self) {
        let Some(end) = self.end.take() else { return };
        let seq = self.changes.seq();
        let changes = std::mem::replace(&mut self.changes, Changes::after(seq));
        let made = files::make(self.directory, changes, end);
        let (header, bytes) = made.expect("what was journaled is a state");
        files::remove_older(self.directory, seq).expect("a snapshot can be removed");
        println!(
            "  a snapshot of {} accounts, {} MiB",
            thousands(header.accounts as f64),
            thousands(bytes as f64 / f64::from(1 << 20))
        );
    }
}
