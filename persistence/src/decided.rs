//! The index of decided ids: which ids were decided, for ever, where in the journal, and what.
//!
//! # What it is for
//!
//! A transfer id or an idempotency key is decided once. The shard keeps in memory only the ids
//! that are not indexed yet; for every other id it asks here, nearly always in vain, because nearly
//! every id is new. Journal segments are deleted when their ids are covered, so what this index
//! loses is lost: it is exact, and durable before it says so.
//!
//! # How it works
//!
//! * `entries/` is the exact index, a log-structured store (fjall). A batch and the position that
//!   it covers are written by one bulk ingestion: both appear at once and durably, or not at all.
//! * In front stands an in-memory filter over all indexed ids: one cache line an
//!   id, false positives at most 10⁻³ when full. Only what it lets through is looked up on disk.
//! * `filter.log` and `filter.bits` bring the filter back at a start without walking the index.
//!   They are only derived: missing or damaged, they are made anew from the index.
//!
//! # A batch, step by step, and a crash after each
//!
//! 1. Entries that are indexed already are dropped. *Nothing has happened.*
//! 2. The new hashes are appended to `filter.log` and synced. *The log has frames of a batch that
//!    the index does not know: the next start cuts them off.*
//! 3. The filter in memory takes the hashes.
//! 4. The store takes the batch, synced. *The batch is covered, and the log has all its hashes.*
//! 5. Sometimes, the filter is written to `filter.bits`. *The old file stays, or the new one stands.*
//!
//! A reader that runs beside it sees the filter and the tables as they were after one batch, and the next ones once
//! the batch is covered; before, the filter lets an id of it through in vain at worst. After a failed write the index refuses further batches and goes on
//! answering.
//!
//! # Memory
//!
//! The filter takes 2 to 2.5 bytes an id ([`DecidedIndex::filter_bytes`]); while it grows by a
//! quarter, and until the batch after that, old and new exist together: 4.5. It starts with room for [`IndexOptions::filter_ids`].
//! The store's block cache is bounded by [`IndexOptions::cache_bytes`]; beyond that it holds a few
//! MiB, and index and filter pages are in that cache too. Filling holds one table's buffers. A start
//! reads two bytes an id and at most the eighth of the ids that came after the last checkpoint.
//!
//! # Why this store
//!
//! Measured on two cores with 10 million random ids in sorted, durable batches of 500 thousand and
//! a 64 MiB cache: fjall 3.1 took 1.7 to 2 million ids a second, at most 0.35 s a batch, wrote 1.0 GB
//! in all and left 37 bytes an id after merging; redb 4.4 took 0.38 million, 2.2 s a batch and
//! rising, because each batch touches nearly every page of its tree, wrote 5.4 GB and left
//! 95 bytes an id. Looking up an id that is there took 5 to 6 µs and 2.9 µs with the files in the
//! page cache. The store's own filters answered for an absent id in 0.45 µs pinned and 1.4 µs in
//! the bounded cache, several probes deep and more as it grows, so ours stands in front of them: on
//! the same two cores, busy with other work too, a new id cost 70 to 230 ns with 10 to 20 million
//! indexed (460 ns in one run out of eight), disk reads of false positives included; the filter
//! with 100 million indexed, 240 to 270 ns alone, of which 160 are this machine's wait for memory, and 70 ns for ids that are warmed together. The store
//! runs one background thread, which merges tables at less than 1 µs an id.
//!
//! The store holds its list of tables locked while it syncs a new one, and a lookup through it waits for that: 8 to
//! 24 ms, on a loaded disk up to 84 ms. So readers look into the tables themselves, of which the inserting thread
//! gives them the list.

mod entries;
mod export;
mod files;
mod filter;
mod filter_checkpoint;
mod filter_log;
#[cfg(feature = "simulation")]
mod simulated;
mod stored_filter;

#[cfg(test)]
mod tests;

#[cfg(feature = "simulation")]
pub use simulated::SimulatedEntries;

use crate::disk::{Disk, OsDisk};
use crate::pace::GivingWay;
use entries::{Entries, Key, State, Tables};
#[cfg(feature = "fuzzing")]
pub(crate) use export::exported_with_header;
pub use export::{ExportError, ExportReader, Exported, HeldIndex, import};
use filter::{Filter, TOUCHED_AHEAD};
use filter_log::FilterLog;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use stored_filter::StoredFilter;

/// About what comparing two entries costs, and what asking the filter does or adding to it, in nanoseconds.
const COMPARISON_NS: u64 = 8;
const QUESTION_NS: u64 = 50;

/// Which kind of id: the same number may be decided once in each namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Namespace {
    /// Ids of transfers and transactions.
    Transfer,
    /// Idempotency keys.
    Key,
    /// What became of a transfer later, under its id.
    Settled,
}

impl Namespace {
    const FIRST: Namespace = Namespace::Transfer;

    /// How the namespace is spelled on disk; zero is taken by the state record.
    fn code(self) -> u8 {
        match self {
            Namespace::Transfer => 1,
            Namespace::Key => 2,
            Namespace::Settled => 3,
        }
    }

    /// The namespace that is spelled so.
    fn of_code(code: u8) -> Option<Namespace> {
        [Namespace::Transfer, Namespace::Key, Namespace::Settled]
            .into_iter()
            .find(|namespace| namespace.code() == code)
    }
}

/// What is known of a decided id. It never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Journal position of the command that decided it.
    pub seq: u64,
    /// Digest of the content it was decided with.
    pub digest: u64,
    /// When it was decided, so that a retry is answered without looking further.
    pub timestamp: u64,
    /// What the caller wants to tell apart without reading more, such as how it was decided.
    pub kind: u8,
}

/// One entry of a batch.
pub type Entry = (Namespace, u128, Decided);

/// Bounds of the memory that the index takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexOptions {
    /// Block cache of the store on disk, in bytes.
    pub cache_bytes: u64,
    /// Ids that the filter has room for from the start, at two bytes each; it grows as needed.
    pub filter_ids: u64,
}

impl IndexOptions {
    /// For a small server: 64 MiB of cache, 2 MiB of filter to begin with.
    pub const SMALL: IndexOptions = IndexOptions { cache_bytes: 64 << 20, filter_ids: 1 << 20 };
}

/// How often the disk was asked since the index was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookups {
    /// Lookups that the filter let through.
    pub disk: u64,
    /// Those of them that found the id; the others were false positives of the filter.
    pub found: u64,
}

/// Why the index could not do what was asked. None of them is an answer to a client.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The store on disk failed, or is damaged.
    #[error("the index of decided ids failed to {operation}")]
    Store {
        /// What was being done: open, read, write or merge.
        operation: &'static str,
        /// The store's own error.
        source: Box<fjall::Error>,
    },
    /// A file of the filter could not be read or written.
    #[error("{path}: the filter of decided ids could not be read or written", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The store gave back a record that this version did not write.
    #[error("the index of decided ids holds a malformed {what}")]
    Malformed {
        /// Which record.
        what: &'static str,
    },
    /// The filter's log knows of batches that the index does not hold: it was lost or set back.
    #[error(
        "the index of decided ids ends with batch {indexed}, its filter log with batch {logged}: \
         ids were lost; restore the directory as a whole"
    )]
    Lost {
        /// The newest batch of the index.
        indexed: u64,
        /// A later batch that was indexed once.
        logged: u64,
    },
    /// The index does not hold as many ids as it states: it is damaged.
    #[error("the index of decided ids states {stated} ids but holds {found}")]
    Count {
        /// Ids by the state record.
        stated: u64,
        /// Ids found by walking the index.
        found: u64,
    },
    /// An id came with two outcomes: the journal contradicts the index, or itself.
    #[error("{namespace:?} id {id} was decided as {first:?} and again as {second:?}")]
    Contradiction {
        /// The namespace of the id.
        namespace: Namespace,
        /// The id.
        id: u128,
        /// The outcome that stands.
        first: Decided,
        /// The other outcome.
        second: Decided,
    },
    /// An earlier batch failed while it was written; the index must be opened anew.
    #[error("the index of decided ids takes no batch after a failed write")]
    Stopped,
}

impl IndexError {
    /// Turns the store's error into ours.
    fn store(operation: &'static str) -> impl Fn(fjall::Error) -> IndexError {
        move |source| IndexError::Store { operation, source: Box::new(source) }
    }
}

/// The index of decided ids. Any number of threads may ask, best each with an [`IndexReader`]; batches go in one after the other.
#[derive(Debug)]
pub struct DecidedIndex {
    // In this order, since a table's file may go when the last view of it does, which must not happen once the store is closed.
    view: Mutex<Arc<View>>,
    writer: Mutex<Writer>,
    entries: Entries,
    /// How often the view was replaced; raised after that, so that a reader who sees the number finds the view.
    views_replaced: AtomicU64,
    seed: u64,
    covered_seq: AtomicU64,
    ids: AtomicU64,
    disk_lookups: AtomicU64,
    found: AtomicU64,
}

/// What readers see: everything up to one batch.
#[derive(Debug)]
struct View {
    filter: Arc<Filter>,
    tables: Tables,
}

/// What only the inserting thread touches.
#[derive(Debug)]
struct Writer {
    state: State,
    stored: StoredFilter,
    /// Views that were replaced: kept until no reader has them, since giving back a filter's memory and removing files would hold it up.
    retired: Vec<Arc<View>>,
    health: Health,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Sound,
    Failed,
}

impl DecidedIndex {
    /// Opens the index in `dir`, creating both if they are not there. Only one process may have it
    /// open. The filter is loaded, or rebuilt from the index, which takes about half a
    /// second for each million ids.
    ///
    /// # Errors
    ///
    /// The directory can not be used, another process has it open, or the index is damaged.
    pub fn open(dir: &Path, options: IndexOptions) -> Result<DecidedIndex, IndexError> {
        let entries = Entries::open(&dir.join("entries"), &options)?;
        DecidedIndex::open_with(entries, OsDisk::shared(), dir, options.filter_ids, random_seed)
    }

    /// The index over entries in memory, with its filter's files in `dir` of the disk. All of it follows from the seed.
    ///
    /// # Errors
    /// Those of [`DecidedIndex::open`].
    #[cfg(feature = "simulation")]
    pub fn open_simulated(
        entries: Arc<SimulatedEntries>,
        disk: Arc<dyn Disk>,
        dir: &Path,
        filter_ids: u64,
        seed: u64,
    ) -> Result<DecidedIndex, IndexError> {
        DecidedIndex::open_with(Entries::Simulated(entries), disk, dir, filter_ids, || seed)
    }

    /// Opens the index with these entries and the files of its filter in `dir` of the disk.
    fn open_with(
        entries: Entries,
        disk: Arc<dyn Disk>,
        dir: &Path,
        filter_ids: u64,
        fresh_seed: impl FnOnce() -> u64,
    ) -> Result<DecidedIndex, IndexError> {
        let state = match entries.state()? {
            Some(state) => state,
            None => {
                // A log that is there already tells whether an index stood here before.
                let seed = FilterLog::seed(&*disk, dir).unwrap_or_else(fresh_seed);
                State { covered_seq: 0, ids: 0, batch: 0, seed }
            }
        };
        let (stored, filter) = StoredFilter::open(disk, dir, &entries, state, filter_ids)?;
        let view = View { filter: Arc::new(filter), tables: entries.tables() };
        Ok(DecidedIndex {
            view: Mutex::new(Arc::new(view)),
            writer: Mutex::new(Writer {
                state,
                stored,
                retired: Vec::new(),
                health: Health::Sound,
            }),
            entries,
            views_replaced: AtomicU64::new(0),
            seed: state.seed,
            covered_seq: AtomicU64::new(state.covered_seq),
            ids: AtomicU64::new(state.ids),
            disk_lookups: AtomicU64::new(0),
            found: AtomicU64::new(0),
        })
    }

    /// The journal position up to which all ids are indexed, durably; 0 in a new index.
    pub fn covered_seq(&self) -> u64 {
        self.covered_seq.load(Ordering::Acquire)
    }

    /// Distinct ids indexed, in all namespaces.
    pub fn len(&self) -> u64 {
        self.ids.load(Ordering::Acquire)
    }

    /// Whether nothing is indexed yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory of the filter, in bytes.
    pub fn filter_bytes(&self) -> u64 {
        self.view().filter.bytes()
    }

    /// How often the filter sent a question on to the disk.
    pub fn lookups(&self) -> Lookups {
        Lookups {
            disk: self.disk_lookups.load(Ordering::Relaxed),
            found: self.found.load(Ordering::Relaxed),
        }
    }

    /// Asks for one thread, for as long as it likes.
    pub fn reader(self: &Arc<Self>) -> IndexReader {
        // In this order: a view that is newer than the number is only fetched once more.
        let replaced = self.views_replaced.load(Ordering::Acquire);
        IndexReader { view: self.view(), replaced, index: Arc::clone(self) }
    }

    /// What was decided for an id, if it is indexed: [`IndexReader::get`] for those who ask seldom.
    ///
    /// # Errors
    ///
    /// The disk could not be read, or what it gave is damaged.
    pub fn get(&self, namespace: Namespace, id: u128) -> Result<Option<Decided>, IndexError> {
        self.get_in(&self.view(), namespace, id)
    }

    fn get_in(
        &self,
        view: &View,
        namespace: Namespace,
        id: u128,
    ) -> Result<Option<Decided>, IndexError> {
        let key = entries::key(namespace, id);
        if !view.filter.may_contain(self.hash(&key)) {
            return Ok(None);
        }
        let decided = view.tables.get(&key)?;
        self.disk_lookups.fetch_add(1, Ordering::Relaxed);
        self.found.fetch_add(u64::from(decided.is_some()), Ordering::Relaxed);
        Ok(decided)
    }

    /// Indexes a batch; `covered_seq` says that with it every id up to that journal position is
    /// indexed. Durable when it returns; a crash at any moment leaves all of it or nothing. Entries
    /// that are indexed already are passed over, so that a batch may be given again.
    ///
    /// `entries` is used as working space: sorted and without those that were indexed before.
    ///
    /// Takes about a microsecond an entry. When the filter must grow it is filled anew, which takes
    /// 30 to 70 ms for each million ids indexed so far; when batches come faster than the store
    /// merges them, a batch waits for the merging, at most half a minute. Readers wait for neither.
    ///
    /// # Errors
    ///
    /// [`IndexError::Contradiction`] if an id has another outcome already; nothing is written then.
    /// After any other error the index takes no more, and `covered_seq` says what holds.
    pub fn insert_batch(
        &self,
        entries: &mut Vec<Entry>,
        covered_seq: u64,
    ) -> Result<(), IndexError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.health == Health::Failed {
            return Err(IndexError::Stopped);
        }
        let hashes = self.keep_new(entries)?;
        if entries.is_empty() && covered_seq <= writer.state.covered_seq {
            return Ok(());
        }
        // Set back only at the end, so that an early return by error leaves it so.
        writer.health = Health::Failed;
        self.write(&mut writer, entries, &hashes, covered_seq)?;
        writer.health = Health::Sound;
        Ok(())
    }

    /// Sorts the batch, drops what is indexed or named twice, and answers the hashes of the rest.
    fn keep_new(&self, entries: &mut Vec<Entry>) -> Result<Vec<u64>, IndexError> {
        let mut giving_way = GivingWay::default();
        entries.sort_unstable_by(|one, other| {
            giving_way.did(1, COMPARISON_NS);
            (one.0, one.1).cmp(&(other.0, other.1))
        });
        let hash = |&(namespace, id, _): &Entry| self.hash(&entries::key(namespace, id));
        let mut hashes: Vec<u64> = entries.iter().map(hash).collect();
        let view = self.view();
        let filter = &view.filter;
        let mut kept = 0;
        let mut previous: Option<Entry> = None;
        for at in 0..entries.len() {
            if at.is_multiple_of(TOUCHED_AHEAD) {
                filter.touch(&hashes[at..hashes.len().min(at + TOUCHED_AHEAD)]);
            }
            giving_way.did(1, QUESTION_NS);
            let entry @ (namespace, id, second) = entries[at];
            let known = match previous {
                Some((space, number, known)) if (space, number) == (namespace, id) => Some(known),
                _ if filter.may_contain(hashes[at]) => {
                    view.tables.get(&entries::key(namespace, id))?
                }
                _ => None,
            };
            match known {
                Some(first) if first == second => {}
                Some(first) => {
                    return Err(IndexError::Contradiction { namespace, id, first, second });
                }
                None => {
                    entries[kept] = entry;
                    hashes[kept] = hashes[at];
                    kept += 1;
                }
            }
            previous = Some(entry);
        }
        entries.truncate(kept);
        hashes.truncate(kept);
        Ok(hashes)
    }

    fn write(
        &self,
        writer: &mut Writer,
        entries: &[Entry],
        hashes: &[u64],
        covered_seq: u64,
    ) -> Result<(), IndexError> {
        let Writer { state, stored, retired, .. } = writer;
        retired.retain(|view| Arc::strong_count(view) > 1);
        let next = State {
            covered_seq: covered_seq.max(state.covered_seq),
            ids: state.ids + entries.len() as u64,
            batch: state.batch + 1,
            seed: state.seed,
        };
        let mut filter = Arc::clone(&self.view().filter);
        if next.ids > filter.capacity() {
            filter = Arc::new(stored.grow(&self.entries, *state, next.ids)?);
        }
        stored.append(next.batch, hashes)?;
        let mut giving_way = GivingWay::default();
        for part in hashes.chunks(TOUCHED_AHEAD) {
            filter.insert_all(part);
            giving_way.did(part.len() as u64, QUESTION_NS);
        }
        self.entries.insert(entries, next)?;
        *state = next;
        let view = View { filter: Arc::clone(&filter), tables: self.entries.tables() };
        let replaced = mem::replace(
            &mut *self.view.lock().unwrap_or_else(PoisonError::into_inner),
            Arc::new(view),
        );
        self.views_replaced.fetch_add(1, Ordering::Release);
        retired.push(replaced);
        // Whoever knows that an id is covered sees that the view was replaced before.
        self.ids.store(next.ids, Ordering::Release);
        self.covered_seq.store(next.covered_seq, Ordering::Release);
        stored.checkpoint_if_due(next, &filter)
    }

    fn hash(&self, key: &Key) -> u64 {
        stored_filter::hash(key, self.seed)
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Asks the index and waits for nobody who writes: it takes a lock only where the view was replaced since its last question, and holds on to the
/// old one until then.
#[derive(Debug)]
pub struct IndexReader {
    // Before the index, as there.
    view: Arc<View>,
    /// How often the index had replaced its view by then.
    replaced: u64,
    index: Arc<DecidedIndex>,
}

impl IndexReader {
    /// What was decided for an id, if it is indexed.
    ///
    /// For nearly every id that is not, this is one memory access. For others it reads the disk.
    ///
    /// # Errors
    ///
    /// The disk could not be read, or what it gave is damaged: the id must not be decided then.
    pub fn get(&mut self, namespace: Namespace, id: u128) -> Result<Option<Decided>, IndexError> {
        self.renew();
        self.index.get_in(&self.view, namespace, id)
    }

    /// Says which of these ids, at most 64, are surely not indexed: a bit for each, the lowest for the first. One memory access for each, as in
    /// [`IndexReader::get`], but no one waits for the others. Never reads the disk.
    pub fn absent(&mut self, namespace: Namespace, ids: impl Iterator<Item = u128>) -> u64 {
        self.renew();
        // All hashes first: made in between, they kept the loads from overlapping.
        let mut hashes = [0; TOUCHED_AHEAD];
        let mut count = 0;
        for (hash, id) in hashes.iter_mut().zip(ids) {
            *hash = self.index.hash(&entries::key(namespace, id));
            count += 1;
        }
        let filter = &self.view.filter;
        filter.touch(&hashes[..count]);
        let absent = |hash| u64::from(!filter.may_contain(hash));
        hashes[..count].iter().zip(0..).fold(0, |bits, (hash, at)| bits | absent(*hash) << at)
    }

    fn renew(&mut self) {
        if self.index.views_replaced.load(Ordering::Acquire) != self.replaced {
            *self = self.index.reader();
        }
    }
}

/// A number that clients can not guess; the standard library draws one for each of its hash maps.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}
