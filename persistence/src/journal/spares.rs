//! Spare segments: reserved on the disk before they are needed, so that room is known and a roll is quick.
//!
//! A spare is first reserved, which counts as room at once, and then written with zeros, which only makes later syncs quicker.
//! A writer that needs a segment takes a half-filled one rather than wait for the rest.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::format::SEGMENT_HEADER_BYTES;
use super::segment::spare_path;
use super::{JournalOptions, SpareFilling};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::pace::{REST, STEP_BYTES};

/// How many spares are kept ready.
const SPARES_KEPT: usize = 2;
/// How long the thread waits before it tries again to reserve on a full disk.
const RETRY: Duration = Duration::from_millis(100);
/// Zeros are written in pieces of this, at some 200 MB/s with the rests: still faster than frames come.
const ZEROS_BYTES: usize = 256 << 10;

/// How many bytes are surely still writable, shared with whoever admits work.
#[derive(Debug, Default)]
pub struct JournalRoom {
    bytes: AtomicU64,
    blocked: AtomicBool,
}

impl JournalRoom {
    /// Bytes that can surely still be appended, however they are cut into frames: compare with the sum of
    /// [`room_for_record`](super::room_for_record) over everything admitted and not yet appended.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// True while the last attempt to reserve a segment has failed, most likely because the disk is full.
    pub fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Acquire)
    }
}

/// A reserved file that can become a segment.
#[derive(Debug, Clone)]
pub(super) struct Spare {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filled {
    Not,
    Busy,
    Done,
}

#[derive(Debug)]
struct Kept {
    spare: Spare,
    number: u64,
    filled: Filled,
}

#[derive(Debug, Default)]
struct State {
    kept: VecDeque<Kept>,
    last_number: u64,
    /// A thread is reserving a spare right now.
    reserving: bool,
    /// The writer waits for a spare.
    wanted: bool,
    stopping: bool,
    active_remaining: u64,
}

/// What one step of work did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Worked,
    NothingToDo,
    Failed,
}

/// The spares, shared by the writer and the thread that prepares them.
#[derive(Debug)]
pub(super) struct SparePool {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segment_bytes: u64,
    frame_bytes_max: u64,
    filling: SpareFilling,
    free_bytes_kept: u64,
    zeros: Vec<u8>,
    room: Arc<JournalRoom>,
    state: Mutex<State>,
    changed: Condvar,
}

impl SparePool {
    pub(super) fn new(disk: Arc<dyn Disk>, dir: &Path, options: &JournalOptions) -> SparePool {
        SparePool {
            disk,
            dir: dir.to_owned(),
            segment_bytes: options.segment_bytes,
            frame_bytes_max: options.frame_bytes_max(),
            filling: options.spare_filling,
            free_bytes_kept: options.free_bytes_kept,
            zeros: vec![0; ZEROS_BYTES],
            room: Arc::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    pub(super) fn room(&self) -> &Arc<JournalRoom> {
        &self.room
    }

    /// Says how much of the active segment is left.
    pub(super) fn set_active_remaining(&self, bytes: u64) {
        let mut state = self.state();
        state.active_remaining = bytes;
        self.publish_room(&state);
    }

    /// Takes a spare, which becomes the active segment; reserves one on the spot when there is none. On a failure
    /// says why there is none.
    pub(super) fn take(&self) -> io::Result<Spare> {
        let mut failure = None;
        let mut state = self.state();
        loop {
            let best = state.kept.iter().position(|kept| kept.filled == Filled::Done);
            let best = best.or(state.kept.iter().position(|kept| kept.filled == Filled::Not));
            if let Some(kept) = best.and_then(|at| state.kept.remove(at)) {
                state.wanted = false;
                state.active_remaining = self.segment_bytes - SEGMENT_HEADER_BYTES as u64;
                self.publish_room(&state);
                self.changed.notify_all();
                return Ok(kept.spare);
            }
            if state.reserving || !state.kept.is_empty() {
                state.wanted = true;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else if let Some(failure) = failure.take() {
                state.wanted = false;
                return Err(failure);
            } else {
                drop(state);
                failure = self.reserve().err();
                state = self.state();
            }
        }
    }

    /// Prepares spares until enough are ready or the disk refuses.
    pub(super) fn tend(&self) {
        while self.step() == Step::Worked {}
    }

    /// Reserves one spare if there is none; a disk that refuses shows in the room.
    pub(super) fn reserve_first(&self) {
        let has_none = self.state().kept.is_empty();
        if has_none {
            // The failure was noted, and whoever takes a spare meets it again.
            let _ = self.reserve();
        }
    }

    /// Fills what is reserved.
    pub(super) fn fill_reserved(&self) {
        while self.fill_one() == Step::Worked {}
    }

    /// Prepares spares until [`SparePool::stop`].
    pub(super) fn keep(&self) {
        loop {
            let step = self.step();
            let state = self.state();
            if state.stopping {
                return;
            }
            match step {
                Step::Worked => {}
                // Nothing can have changed between the step and here unnoticed: the condition is looked at again.
                Step::NothingToDo if self.has_work(&state) => {}
                Step::NothingToDo => {
                    drop(self.changed.wait(state).unwrap_or_else(PoisonError::into_inner));
                }
                Step::Failed => {
                    let waited = self.changed.wait_timeout(state, RETRY);
                    drop(waited.unwrap_or_else(PoisonError::into_inner));
                }
            }
        }
    }

    /// Makes [`SparePool::keep`] return soon.
    pub(super) fn stop(&self) {
        self.state().stopping = true;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is consistent between any two statements, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_work(&self, state: &State) -> bool {
        let few = state.kept.len() < SPARES_KEPT && !state.reserving;
        few || self.unfilled(state).is_some()
    }

    fn unfilled(&self, state: &State) -> Option<usize> {
        if state.wanted || state.stopping {
            return None;
        }
        state.kept.iter().position(|kept| kept.filled == Filled::Not)
    }

    fn step(&self) -> Step {
        let wants_more = {
            let state = self.state();
            if state.stopping {
                return Step::NothingToDo;
            }
            state.kept.len() < SPARES_KEPT && !state.reserving
        };
        match wants_more.then(|| self.reserve()) {
            Some(Ok(())) => Step::Worked,
            Some(Err(_)) => {
                self.fill_one();
                Step::Failed
            }
            None => self.fill_one(),
        }
    }

    fn fill_one(&self) -> Step {
        let mut state = self.state();
        let Some(at) = self.unfilled(&state) else { return Step::NothingToDo };
        state.kept[at].filled = Filled::Busy;
        let (spare, number) = (state.kept[at].spare.clone(), state.kept[at].number);
        drop(state);
        self.fill(&spare, number)
    }

    /// Reserves one more spare; room grows when it is durable.
    fn reserve(&self) -> io::Result<()> {
        let number = {
            let mut state = self.state();
            state.reserving = true;
            state.last_number += 1;
            state.last_number
        };
        let reserved = self.reserve_file(&spare_path(&self.dir, number));
        let mut state = self.state();
        state.reserving = false;
        let result = reserved.map(|spare| {
            let filled = match self.filling {
                SpareFilling::Zeroed => Filled::Not,
                SpareFilling::Reserved => Filled::Done,
            };
            state.kept.push_back(Kept { spare, number, filled });
            self.publish_room(&state);
        });
        self.changed.notify_all();
        drop(state);
        self.note_outcome(&result);
        result
    }

    fn reserve_file(&self, path: &Path) -> io::Result<Spare> {
        if self.disk.free_bytes(&self.dir)?
            < self.segment_bytes.saturating_add(self.free_bytes_kept)
        {
            return Err(ErrorKind::StorageFull.into());
        }
        let file = self.disk.open(path, OpenMode::CreateOrTruncate)?;
        let reserved = file
            .allocate(self.segment_bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| self.disk.sync_dir(&self.dir));
        if let Err(error) = reserved {
            // What was allocated must not stay taken; if even this fails, the next start removes it.
            let _ = self.disk.remove(path);
            return Err(error);
        }
        Ok(Spare { path: path.to_owned(), file })
    }

    fn note_outcome(&self, result: &io::Result<()>) {
        let was_blocked = self.room.blocked.swap(result.is_err(), Ordering::AcqRel);
        match result {
            Err(error) if !was_blocked => tracing::warn!(
                dir = %self.dir.display(), %error,
                "no room can be reserved for the journal; trying again until there is"
            ),
            Ok(()) if was_blocked => {
                tracing::info!(dir = %self.dir.display(), "room for the journal is back");
            }
            _ => {}
        }
    }

    fn fill(&self, spare: &Spare, number: u64) -> Step {
        let filled = self.write_zeros(&*spare.file);
        let mut state = self.state();
        let at = state.kept.iter().position(|kept| kept.number == number);
        let at = at.expect("a spare that is being filled is not taken");
        let step = match filled {
            Ok(outcome) => {
                state.kept[at].filled = outcome;
                Step::Worked
            }
            Err(error) => {
                tracing::warn!(path = %spare.path.display(), %error, "a spare segment failed");
                state.kept.remove(at);
                let _ = self.disk.remove(&spare.path);
                self.publish_room(&state);
                Step::Failed
            }
        };
        self.changed.notify_all();
        step
    }

    /// Writes the file full of zeros; gives up in between when someone waits for it.
    fn write_zeros(&self, file: &dyn DiskFile) -> io::Result<Filled> {
        let mut offset = 0;
        while offset < self.segment_bytes {
            if self.is_hurried(&self.state()) {
                return Ok(Filled::Not);
            }
            let step = (self.segment_bytes - offset).min(ZEROS_BYTES as u64);
            file.write_at(&self.zeros[..step as usize], offset)?;
            offset += step;
            if offset.is_multiple_of(STEP_BYTES) {
                file.sync_data()?;
                let resting = |state: &mut State| !self.is_hurried(state);
                let rested = self.changed.wait_timeout_while(self.state(), REST, resting);
                drop(rested.unwrap_or_else(PoisonError::into_inner));
            }
        }
        file.sync_all()?;
        Ok(Filled::Done)
    }

    fn is_hurried(&self, state: &State) -> bool {
        state.wanted || state.stopping
    }

    /// The bytes that fit however they are cut into frames. A frame that does not fit moves to the next segment
    /// and wastes less than its own length, in every segment but the last.
    fn publish_room(&self, state: &State) {
        let capacity = self.segment_bytes - SEGMENT_HEADER_BYTES as u64;
        let wasted = self.frame_bytes_max;
        let bytes = match state.kept.len() as u64 {
            0 => state.active_remaining,
            spares => {
                let between = (spares - 1) * capacity.saturating_sub(wasted);
                state.active_remaining.saturating_sub(wasted) + between + capacity
            }
        };
        self.room.bytes.store(bytes, Ordering::Release);
    }
}
