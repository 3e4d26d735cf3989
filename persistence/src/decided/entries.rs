//! The exact index itself: one keyspace of the embedded log-structured store.
//!
//! Entries are written only by bulk ingestion: a sorted batch becomes table files, which are
//! synced, and one new version of the tree, which is synced and swapped in by a rename. So a batch
//! and the state record inside it appear together or not at all, and are durable when the
//! call returns; the store's own journal and memtables stay empty.

use super::files::FileError as _;
#[cfg(feature = "simulation")]
use super::simulated::SimulatedEntries;
use super::{Decided, Entry, IndexError, IndexOptions, Namespace, files};
use crate::pace::Pace;
use fjall::compaction::filter::{
    CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict,
};
use fjall::config::PinningPolicy;
use fjall::{AbstractTree, Database, Keyspace, KeyspaceCreateOptions, PersistMode, SeqNo};
use lsm_tree::table::filter::standard_bloom::Builder as TableFilter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;
use std::{fs, io, thread};

pub(super) const KEY_BYTES: usize = 17;
pub(super) const VALUE_BYTES: usize = 25;
const ENTRY_BYTES: u64 = (KEY_BYTES + VALUE_BYTES) as u64;
const STATE_BYTES: usize = 32;

/// Sorts before every entry, whose keys begin with a namespace of at least one.
const STATE_KEY: [u8; 1] = [0];

/// The store keeps each table file in hand while it is read; a few dozen serve billions of ids.
const OPEN_FILES_MAX: usize = 128;

/// Where the store has its table files, named by their numbers, in a keyspace's directory.
const TABLES: &str = "tables";

/// One thread merges: it is the index's only background work and must leave the cores to others.
const WORKER_THREADS: usize = 1;

/// Above this many unmerged batches a batch waits for the merging thread, so that bulk filling can
/// not make reads ever slower.
const UNMERGED_RUNS_MAX: usize = 16;
const MERGE_POLL: Duration = Duration::from_millis(5);
const MERGE_POLLS_MAX: u32 = 6_000;

pub(super) type Key = [u8; KEY_BYTES];

/// How an entry's id is spelled in the store: ordered by namespace, then by id.
pub(super) fn key(namespace: Namespace, id: u128) -> Key {
    let mut key = [0; KEY_BYTES];
    key[0] = namespace.code();
    key[1..].copy_from_slice(&id.to_be_bytes());
    key
}

fn encode(decided: Decided) -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    value[..8].copy_from_slice(&decided.seq.to_le_bytes());
    value[8..16].copy_from_slice(&decided.digest.to_le_bytes());
    value[16..24].copy_from_slice(&decided.timestamp.to_le_bytes());
    value[24] = decided.kind;
    value
}

fn decode(value: &[u8]) -> Result<Decided, IndexError> {
    let value: &[u8; VALUE_BYTES] =
        value.try_into().map_err(|_| IndexError::Malformed { what: "entry" })?;
    Ok(Decided {
        seq: word(value, 0),
        digest: word(value, 8),
        timestamp: word(value, 16),
        kind: value[24],
    })
}

/// An entry as it is spelled in the store, key and value together; none where it has no meaning.
pub(super) fn decode_entry(bytes: &[u8]) -> Option<Entry> {
    let (key, value) = bytes.split_first_chunk::<KEY_BYTES>()?;
    let (code, id) = key.split_first_chunk::<1>()?;
    let namespace = Namespace::of_code(code[0])?;
    let id = u128::from_be_bytes(id.try_into().ok()?);
    Some((namespace, id, decode(value).ok()?))
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes make a word"))
}

/// What one batch leaves behind, written with its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// Journal position up to which every id is indexed.
    pub(super) covered_seq: u64,
    /// Distinct ids indexed.
    pub(super) ids: u64,
    /// Batches written so far; ties the filter's files to this state.
    pub(super) batch: u64,
    /// Seed of the filter's hash; ties the filter's files to this index.
    pub(super) seed: u64,
}

impl State {
    fn encode(self) -> [u8; STATE_BYTES] {
        let mut bytes = [0; STATE_BYTES];
        for (at, value) in [self.covered_seq, self.ids, self.batch, self.seed].iter().enumerate() {
            bytes[at * 8..at * 8 + 8].copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<State, IndexError> {
        if bytes.len() != STATE_BYTES {
            return Err(IndexError::Malformed { what: "state record" });
        }
        Ok(State {
            covered_seq: word(bytes, 0),
            ids: word(bytes, 8),
            batch: word(bytes, 16),
            seed: word(bytes, 24),
        })
    }
}

/// The entries, wherever they are.
#[derive(Debug)]
pub(super) enum Entries {
    /// In the store.
    Stored(Stored),
    /// In memory, for simulations.
    #[cfg(feature = "simulation")]
    Simulated(Arc<SimulatedEntries>),
}

impl Entries {
    /// Opens the store in `dir`, making it if it is not there.
    pub(super) fn open(dir: &Path, options: &IndexOptions) -> Result<Entries, IndexError> {
        Stored::open(dir, options).map(Entries::Stored)
    }

    /// The state that the newest durable batch left; none in a new index.
    pub(super) fn state(&self) -> Result<Option<State>, IndexError> {
        match self {
            Entries::Stored(stored) => stored.state(),
            #[cfg(feature = "simulation")]
            Entries::Simulated(simulated) => simulated.state(),
        }
    }

    /// The entries as they are now. What is inserted later may be missing.
    pub(super) fn tables(&self) -> Tables {
        match self {
            Entries::Stored(stored) => stored.tables(),
            #[cfg(feature = "simulation")]
            Entries::Simulated(simulated) => {
                let simulated = Arc::clone(simulated);
                Tables(Box::new(move |key| simulated.get(key)))
            }
        }
    }

    /// Writes the entries, which must be sorted and without duplicates, and the state, all or
    /// nothing. Durable when it returns.
    pub(super) fn insert(&self, entries: &[Entry], state: State) -> Result<(), IndexError> {
        match self {
            Entries::Stored(stored) => stored.insert(entries, state),
            #[cfg(feature = "simulation")]
            Entries::Simulated(simulated) => simulated.insert(entries, state),
        }
    }

    /// Calls `each` with the key of every entry, in order.
    pub(super) fn for_each_key(
        &self,
        each: impl FnMut(&Key) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        match self {
            Entries::Stored(stored) => stored.for_each_key(each),
            #[cfg(feature = "simulation")]
            Entries::Simulated(simulated) => simulated.for_each_key(each),
        }
    }
}

/// The entries as they were at one moment, to be asked without waiting for anybody who writes.
///
/// The store would find its list of tables itself, under a lock that it holds while it makes a new list durable with four and more syncs. So a
/// lookup waited for 8 to 24 ms now and then, and with it everybody else.
pub(super) struct Tables(Box<AskTables>);

type AskTables = dyn Fn(&Key) -> Result<Option<Decided>, IndexError> + Send + Sync;

impl Tables {
    pub(super) fn get(&self, key: &Key) -> Result<Option<Decided>, IndexError> {
        (self.0)(key)
    }
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables").finish_non_exhaustive()
    }
}

/// The store, opened.
pub(super) struct Stored {
    // Field order is drop order: the keyspace refers to the database.
    pub(super) keyspace: Keyspace,
    database: Database,
}

impl Stored {
    /// Opens the store in `dir`, making it if it is not there.
    ///
    /// A process that dies while the store makes its files leaves what it can not open again. So they are made under another name,
    /// and get this one when they are whole.
    pub(super) fn open(dir: &Path, options: &IndexOptions) -> Result<Stored, IndexError> {
        if !dir.exists() {
            let unfinished = dir.with_extension("new");
            files::remove_dir_all(&unfinished)?;
            drop(Stored::open_whole(&unfinished, options)?);
            files::rename(&unfinished, dir)?;
        }
        Stored::open_whole(dir, options)
    }

    fn open_whole(dir: &Path, options: &IndexOptions) -> Result<Stored, IndexError> {
        files::create_dir(dir)?;
        let gentle = GentleMerges::default();
        let merges: Arc<dyn Factory> = Arc::new(gentle.clone());
        let database = Database::builder(dir)
            .cache_size(options.cache_bytes)
            .worker_threads(WORKER_THREADS)
            .max_cached_files(Some(OPEN_FILES_MAX))
            .with_compaction_filter_factories(Arc::new(move |_| Some(merges.clone())))
            .open()
            .map_err(IndexError::store("open"))?;
        let keyspace =
            database.keyspace("decided", keyspace_options).map_err(IndexError::store("open"))?;
        // The store syncs what it writes in the keyspace's directory, but not that one's name.
        files::sync_parent(keyspace.path())?;
        gentle.merge_in(keyspace.path());
        Ok(Stored { keyspace, database })
    }

    pub(super) fn state(&self) -> Result<Option<State>, IndexError> {
        let bytes = self.keyspace.get(STATE_KEY).map_err(IndexError::store("read"))?;
        bytes.map(|bytes| State::decode(&bytes)).transpose()
    }

    /// Waits for the store where it has just a new list of its tables on the way to the disk.
    fn tables(&self) -> Tables {
        let version = self.keyspace.tree.current_version();
        Tables(Box::new(move |key| {
            let hash = TableFilter::get_hash(key);
            let runs = version.iter_levels().flat_map(|level| level.iter());
            for table in runs.filter_map(|run| run.get_for_key(key)) {
                let found = table.get(key, SeqNo::MAX, hash);
                let found = found.map_err(|error| IndexError::store("read")(error.into()))?;
                if let Some(entry) = found {
                    return decode(&entry.value).map(Some);
                }
            }
            Ok(None)
        }))
    }

    fn insert(&self, entries: &[Entry], state: State) -> Result<(), IndexError> {
        let failed = IndexError::store("write");
        let mut ingestion = self.keyspace.start_ingestion().map_err(&failed)?;
        ingestion.write(STATE_KEY, state.encode()).map_err(&failed)?;
        let mut pace = Pace::default();
        for &(namespace, id, decided) in entries {
            ingestion.write(key(namespace, id), encode(decided)).map_err(&failed)?;
            pace.wrote(ENTRY_BYTES, || sync_newest_table(self.keyspace.path()))
                .map_err(|error| error.at(self.keyspace.path()))?;
        }
        ingestion.finish().map_err(&failed)?;
        self.wait_for_merges()
    }

    fn for_each_key(
        &self,
        mut each: impl FnMut(&Key) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        for item in self.keyspace.range([Namespace::FIRST.code()]..) {
            let key = item.key().map_err(IndexError::store("read"))?;
            let key = (*key).try_into().map_err(|_| IndexError::Malformed { what: "key" })?;
            each(key)?;
        }
        Ok(())
    }

    /// Calls `each` with the key and the value of every entry, in order.
    pub(super) fn for_each(
        &self,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        for item in self.keyspace.range([Namespace::FIRST.code()]..) {
            let (key, value) = item.into_inner().map_err(IndexError::store("read"))?;
            if (key.len(), value.len()) != (KEY_BYTES, VALUE_BYTES) {
                return Err(IndexError::Malformed { what: "entry" });
            }
            each(&key, &value)?;
        }
        Ok(())
    }

    fn wait_for_merges(&self) -> Result<(), IndexError> {
        for _ in 0..MERGE_POLLS_MAX {
            // The store reports a failed merge only to those who ask it to write.
            self.database.persist(PersistMode::Buffer).map_err(IndexError::store("merge"))?;
            if self.keyspace.tree.l0_run_count() <= UNMERGED_RUNS_MAX {
                return Ok(());
            }
            thread::sleep(MERGE_POLL);
        }
        // The batch is durable and right, reads are only slower until the merges catch up.
        tracing::warn!("merging the index of decided ids is far behind its filling");
        Ok(())
    }
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stored").finish_non_exhaustive()
    }
}

/// Syncs what there is of the table that is being written.
fn sync_newest_table(keyspace: &Path) -> io::Result<()> {
    match newest_table(keyspace)?.map(fs::File::open) {
        None => Ok(()),
        // Merged away meanwhile.
        Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Some(file) => file?.sync_data(),
    }
}

/// The table file with the highest number, if there is one.
fn newest_table(keyspace: &Path) -> io::Result<Option<PathBuf>> {
    let tables = keyspace.join(TABLES);
    let mut newest = None;
    for entry in fs::read_dir(&tables)? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
        newest = newest.max(number);
    }
    Ok(newest.map(|number| tables.join(number.to_string())))
}

/// Makes the store's own thread merge at the pace of work that nobody waits for: it asks a filter about each entry, which takes its time and keeps
/// the entry.
#[derive(Clone, Debug, Default)]
struct GentleMerges {
    keyspace: Arc<OnceLock<PathBuf>>,
}

impl GentleMerges {
    /// Tells where the tables are; merges before that do not sync what they write.
    fn merge_in(&self, keyspace: &Path) {
        self.keyspace.get_or_init(|| keyspace.to_owned());
    }
}

impl Factory for GentleMerges {
    fn name(&self) -> &str {
        "gentle"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(GentleMerge { keyspace: Arc::clone(&self.keyspace), pace: Pace::default() })
    }
}

struct GentleMerge {
    keyspace: Arc<OnceLock<PathBuf>>,
    pace: Pace,
}

impl CompactionFilter for GentleMerge {
    fn filter_item(&mut self, _: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        self.pace.wrote(ENTRY_BYTES, || match self.keyspace.get() {
            Some(keyspace) => sync_newest_table(keyspace),
            None => Ok(()),
        })?;
        Ok(Verdict::Keep)
    }
}

/// Index and filter blocks are cut into pages that share the bounded cache instead of being
/// pinned, so that memory does not grow with the number of ids.
fn keyspace_options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .index_block_partitioning_policy(PinningPolicy::all(true))
        .filter_block_partitioning_policy(PinningPolicy::all(true))
        .index_block_pinning_policy(PinningPolicy::all(false))
        .filter_block_pinning_policy(PinningPolicy::all(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The store's own layout, which a new version of it could change.
    #[test]
    fn the_newest_table_is_where_a_batch_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let entries = Stored::open(&dir.path().join("entries"), &IndexOptions::SMALL).unwrap();
        let mut tables = Vec::new();
        for batch in 1..=2 {
            let decided = Decided { seq: batch, digest: 0, timestamp: batch, kind: 1 };
            let state = State { covered_seq: batch, ids: batch, batch, seed: 7 };
            let batch = [(Namespace::Transfer, u128::from(batch), decided)];
            entries.insert(&batch, state).unwrap();
            tables
                .push(newest_table(entries.keyspace.path()).unwrap().expect("a table was written"));
        }
        assert_ne!(tables[0], tables[1]);
        assert!(tables[1].is_file());
    }
}
