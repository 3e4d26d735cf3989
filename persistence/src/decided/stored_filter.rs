//! Keeps the filter and its two files in step with the index.
//!
//! The index is the truth; the files only spare reading it. A filter comes back by the first of
//! these ways that ends with exactly as many ids as the index states:
//!
//! 1. the checkpoint, brought up to date with the log's frames after it;
//! 2. the whole log;
//! 3. the index itself, which also writes the log anew.

use super::IndexError;
use super::entries::{Entries, Key, State};
use super::filter::Filter;
use super::filter_checkpoint::{self as checkpoint, Extent};
use super::filter_log::{self, FilterLog};
use crate::disk::Disk;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A checkpoint is written when the log has grown by half the filter's size since the last one:
/// so all checkpoints together write at most two bytes for each byte of the log, and a start has at
/// most an eighth of the ids to insert one by one.
const CHECKPOINT_SHARE: u64 = 2;

/// Below this growth of the log a checkpoint is not worth its syncs.
const CHECKPOINT_BYTES_MIN: u64 = 1 << 20;

/// Hashes gathered before they are written while the index is walked.
const REBUILD_BATCH: usize = 1 << 17;

/// What the filter keeps of an id. The seed is random for each index, so that nobody can choose ids
/// that all look known.
///
/// The id is hashed without the namespace before it, in the two words in which it was just written.
/// Over all seventeen bytes the words read would be others than those written, so that reading
/// waits until writing has reached the cache, and that waits for the load of the question before:
/// no two questions overlapped, and each took twice as long.
pub(super) fn hash(key: &Key, seed: u64) -> u64 {
    let [namespace, id @ ..] = key;
    xxh3_64_with_seed(id, seed.wrapping_add(u64::from(*namespace)))
}

/// The files behind a filter.
#[derive(Debug)]
pub(super) struct StoredFilter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    log: FilterLog,
    /// Bytes of the log that the checkpoint includes; none when there is no valid checkpoint.
    checkpointed: Option<u64>,
}

impl StoredFilter {
    /// Brings back the filter of an index that is in `state`, with room for `ids_min` at least.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        entries: &Entries,
        state: State,
        ids_min: u64,
    ) -> Result<(StoredFilter, Filter), IndexError> {
        if let Some((stored, filter)) = StoredFilter::from_checkpoint(&disk, dir, state)? {
            return Ok((stored, filter));
        }
        let capacity = ids_min.max(with_headroom(state.ids));
        let (log, filter) = match FilterLog::open(&*disk, dir, state.seed)? {
            Some(mut log) => {
                let filter = fill(&*disk, dir, &mut log, entries, state, capacity)?;
                (log, filter)
            }
            None => rebuild(&*disk, dir, entries, state, capacity)?,
        };
        let mut stored = StoredFilter { disk, dir: dir.to_path_buf(), log, checkpointed: None };
        stored.checkpoint_if_due(state, &filter)?;
        Ok((stored, filter))
    }

    fn from_checkpoint(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        state: State,
    ) -> Result<Option<(StoredFilter, Filter)>, IndexError> {
        let Some((filter, extent)) = checkpoint::read(&**disk, dir, state.seed) else {
            return Ok(None);
        };
        let Some(mut log) = FilterLog::open(&**disk, dir, state.seed)? else { return Ok(None) };
        // A filter that is too small would still be right, but not keep its rate.
        if extent.batch > state.batch || filter.capacity() < state.ids {
            return Ok(None);
        }
        let newer =
            log.replay(extent.log_bytes, state.batch, |hashes| filter.insert_all(hashes))?;
        if extent.ids + newer != state.ids {
            return Ok(None);
        }
        log.truncate()?;
        let checkpointed = Some(extent.log_bytes);
        let (disk, dir) = (Arc::clone(disk), dir.to_path_buf());
        Ok(Some((StoredFilter { disk, dir, log, checkpointed }, filter)))
    }

    /// A filter with all ids of `state` and room for `ids_needed`, to replace one that has not.
    pub(super) fn grow(
        &mut self,
        entries: &Entries,
        state: State,
        ids_needed: u64,
    ) -> Result<Filter, IndexError> {
        self.checkpointed = None;
        let capacity = with_headroom(ids_needed);
        fill(&*self.disk, &self.dir, &mut self.log, entries, state, capacity)
    }

    /// Makes the hashes of the coming batch durable.
    pub(super) fn append(&mut self, batch: u64, hashes: &[u64]) -> Result<(), IndexError> {
        if hashes.is_empty() {
            return Ok(());
        }
        self.log.append(batch, hashes)?;
        self.log.sync()
    }

    /// Writes a checkpoint of the filter, which holds the ids of `state`, if the log has grown enough.
    pub(super) fn checkpoint_if_due(
        &mut self,
        state: State,
        filter: &Filter,
    ) -> Result<(), IndexError> {
        let log_bytes = self.log.bytes();
        let grown = log_bytes - self.checkpointed.unwrap_or(0);
        if grown < CHECKPOINT_BYTES_MIN.max(filter.bytes() / CHECKPOINT_SHARE) {
            return Ok(());
        }
        let extent = Extent { batch: state.batch, ids: state.ids, log_bytes };
        checkpoint::write(&*self.disk, &self.dir, state.seed, extent, filter)?;
        self.checkpointed = Some(log_bytes);
        Ok(())
    }
}

/// Growing by a quarter keeps the filter between 2 and 2.5 bytes an id.
fn with_headroom(ids: u64) -> u64 {
    ids + ids / 4
}

/// Fills a new filter from the whole log, or from the index if the log does not hold all of it.
fn fill(
    disk: &dyn Disk,
    dir: &Path,
    log: &mut FilterLog,
    entries: &Entries,
    state: State,
    capacity: u64,
) -> Result<Filter, IndexError> {
    let filter = Filter::with_capacity(capacity);
    let ids =
        log.replay(filter_log::HEADER_BYTES, state.batch, |hashes| filter.insert_all(hashes))?;
    if ids == state.ids {
        log.truncate()?;
        return Ok(filter);
    }
    // Its memory goes back before the next one is taken.
    drop(filter);
    let (rebuilt, filter) = rebuild(disk, dir, entries, state, capacity)?;
    *log = rebuilt;
    Ok(filter)
}

/// Fills a new filter from the index and writes its log anew.
fn rebuild(
    disk: &dyn Disk,
    dir: &Path,
    entries: &Entries,
    state: State,
    capacity: u64,
) -> Result<(FilterLog, Filter), IndexError> {
    if state.ids > 0 {
        tracing::warn!(ids = state.ids, "rebuilding the filter of decided ids from their index");
    }
    let filter = Filter::with_capacity(capacity);
    let mut log = FilterLog::create(disk, dir, state.seed)?;
    let mut hashes = Vec::with_capacity(REBUILD_BATCH);
    let mut ids = 0;
    let mut take = |hashes: &mut Vec<u64>| {
        filter.insert_all(hashes);
        ids += hashes.len() as u64;
        log.append(state.batch, hashes)?;
        hashes.clear();
        Ok(())
    };
    entries.for_each_key(|key| {
        hashes.push(hash(key, state.seed));
        if hashes.len() < REBUILD_BATCH { Ok(()) } else { take(&mut hashes) }
    })?;
    take(&mut hashes)?;
    if ids != state.ids {
        return Err(IndexError::Count { stated: state.ids, found: ids });
    }
    // The old checkpoint points into the old log.
    checkpoint::remove(disk, dir)?;
    Ok((log.publish(disk, dir)?, filter))
}
