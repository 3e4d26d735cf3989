//! Housekeeping: what happens to sealed segments, off the way of any transfer.
//!
//! One thread, woken when the journal begins a new segment and when the store has made something durable:
//! 1. the ids and keys of sealed segments go into the index on disk, and the shard forgets them;
//! 2. the newest snapshot is merged with sealed segments into a new one, streaming, in bounded memory;
//! 3. segments go when snapshot, index and store all durably cover them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::TrySendError;
use florin_engine::JournalSeq;
use florin_persistence::data_dir::DataDir;
use florin_persistence::decided::DecidedIndex;
use florin_persistence::journal::{JournalIndex, JournalReader, SegmentInfo};
use florin_persistence::pace::GivingWay;
use florin_persistence::record;
use florin_persistence::snapshot::{Changes, FrameEnd, files};

use crate::commit::chain;
use crate::indexed::entries_of;
use crate::metrics;
use crate::shared::Shared;
use crate::sync::{Receiver, Sender, bounded};
use crate::write_behind::StoreStatus;

/// A new snapshot is made when so many segments are sealed behind the newest one, or half of its own size. A segment has up to 700,000 single
/// transfers, and a start takes most of a second to read them back.
const SNAPSHOT_SEGMENTS_MIN: u64 = 1;
/// About what an event costs that is read back, in nanoseconds.
const EVENT_NS: u64 = 500;
/// About the least that a decided id takes of a journal: a transfer in a batch, in bytes.
const DECIDED_BYTES: u64 = 48;
/// The most memory that the changes of one snapshot may take; what is left over waits for the next one.
const CHANGES_BYTES_MAX: usize = 256 << 20;

/// Wakes the housekeeping thread; a wake-up that was not taken yet is enough.
#[derive(Clone, Debug)]
pub(crate) struct Wake(Sender<()>);

impl Wake {
    pub(crate) fn channel() -> (Wake, Receiver<()>) {
        let (sender, receiver) = bounded(1);
        (Wake(sender), receiver)
    }

    pub(crate) fn wake(&self) {
        match self.0.try_send(()) {
            Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
        }
    }
}

/// The thread's own state.
pub(crate) struct Housekeeper {
    pub(crate) directory: Arc<DataDir>,
    pub(crate) segments: Arc<JournalIndex>,
    pub(crate) reader: JournalReader,
    pub(crate) index: Arc<DecidedIndex>,
    /// Tells the shard up to where the index answers for all ids.
    pub(crate) tell_indexed: Box<dyn Fn(JournalSeq) + Send>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) store_status: Arc<StoreStatus>,
    pub(crate) snapshot_seq: Arc<AtomicU64>,
    pub(crate) snapshot_bytes: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) woken: Receiver<()>,
}

/// What went wrong with sealed segments: a damage, or a disk that fails.
pub(crate) type Trouble = Box<dyn std::error::Error + Send + Sync>;

impl Housekeeper {
    /// Works until nobody is left who could wake it.
    pub(crate) fn run(mut self) {
        loop {
            if let Err(trouble) = self.work() {
                // The index and the snapshots are read back to decide and to start: a wrong one is worse than none.
                self.shared.fail(format!("housekeeping failed: {}", chain(trouble.as_ref())));
                return;
            }
            if self.woken.recv().is_err() {
                return;
            }
        }
    }

    /// One round over the sealed segments; each is read and decoded once for all that wants it.
    pub(crate) fn work(&mut self) -> Result<(), Trouble> {
        let sealed = self.segments.sealed_segments();
        let mut changes = self.changes_if_due(&sealed);
        for segment in &sealed {
            self.read_segment(segment, changes.as_mut())?;
            if let Some(whole) = changes.take_if(|it| it.memory_bytes() > CHANGES_BYTES_MAX) {
                self.make_snapshot(whole, segment)?;
            }
        }
        if let (Some(changes), Some(newest)) = (changes, sealed.last()) {
            self.make_snapshot(changes, newest)?;
        }
        self.remove_covered_segments();
        self.shared.kept_bytes.store(self.segments.backlog_bytes(), Ordering::Relaxed);
        Ok(())
    }

    /// What the next snapshot will be made of, still empty, if it is time for one.
    fn changes_if_due(&self, sealed: &[SegmentInfo]) -> Option<Changes> {
        let snapshot = self.snapshot_seq.load(Ordering::Relaxed);
        let behind = sealed.iter().filter(|segment| segment.last_seq > snapshot);
        let bytes: u64 = behind.map(|segment| segment.bytes).sum();
        let is_due =
            bytes >= (SNAPSHOT_SEGMENTS_MIN * self.segment_bytes).max(self.snapshot_bytes / 2);
        is_due.then(|| Changes::after(JournalSeq(snapshot)))
    }

    /// Brings what the segment decided into the index, and what it changed into `changes`, as far as they do not have it.
    fn read_segment(
        &self,
        segment: &SegmentInfo,
        mut changes: Option<&mut Changes>,
    ) -> Result<(), Trouble> {
        let indexed = self.index.covered_seq();
        let absorbed = changes.as_ref().map_or(u64::MAX, |changes| changes.seq().0);
        let from = indexed.min(absorbed) + 1;
        if segment.last_seq < from {
            return Ok(());
        }
        // Pages that are not filled cost nothing.
        let mut entries = Vec::with_capacity((segment.bytes / DECIDED_BYTES) as usize);
        let mut giving_way = GivingWay::default();
        let mut cursor = self.reader.read_from(from);
        while let Some(frame) = cursor.next_frame(segment.last_seq)? {
            for (seq, bytes) in frame.records().filter(|(seq, _)| *seq >= from) {
                let record = record::decode(bytes)?;
                if seq > indexed {
                    entries_of(JournalSeq(seq), &record, &mut entries);
                }
                if let Some(changes) = changes.as_deref_mut().filter(|_| seq > absorbed) {
                    changes.absorb(JournalSeq(seq), &record)?;
                }
                giving_way.did(1 + record.events.len() as u64, EVENT_NS);
            }
        }
        if segment.last_seq > indexed {
            self.index.insert_batch(&mut entries, segment.last_seq)?;
            self.shared.indexed.store(segment.last_seq, Ordering::Relaxed);
            metrics::indexed(segment.last_seq);
            (self.tell_indexed)(JournalSeq(segment.last_seq));
        }
        Ok(())
    }

    /// Merges the newest snapshot with what changed up to the end of this segment.
    fn make_snapshot(&mut self, changes: Changes, upto: &SegmentInfo) -> Result<(), Trouble> {
        let end = FrameEnd {
            directory: self.directory.id(),
            hash: *upto.last_data_hash.as_bytes(),
            state_hash: upto.state_hash,
        };
        (_, self.snapshot_bytes) = files::make(&self.directory, changes, end)?;
        self.snapshot_seq.store(upto.last_seq, Ordering::Relaxed);
        metrics::snapshot_made(upto.last_seq);
        files::remove_older(&self.directory, JournalSeq(upto.last_seq))?;
        Ok(())
    }

    fn remove_covered_segments(&self) {
        let covered = self
            .snapshot_seq
            .load(Ordering::Relaxed)
            .min(self.index.covered_seq())
            .min(self.store_status.synced().0);
        if let Err(error) = self.segments.remove_segments_before(covered) {
            // Nothing is lost by keeping them; the next round tries again.
            tracing::warn!(error = %chain(&error), "covered journal segments could not be removed");
        }
    }
}
