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

    /// One round over the sealed segments.
    pub(crate) fn work(&mut self) -> Result<(), Trouble> {
        let sealed = self.segments.sealed_segments();
        for segment in &sealed {
            if segment.last_seq > self.index.covered_seq() {
                self.index_segment(segment)?;
            }
        }
        self.snapshot_if_due(&sealed)?;
        self.remove_covered_segments();
        self.shared.kept_bytes.store(self.segments.backlog_bytes(), Ordering::Relaxed);
        Ok(())
    }

    fn index_segment(&mut self, segment: &SegmentInfo) -> Result<(), Trouble> {
        let mut entries = Vec::new();
        let mut giving_way = GivingWay::default();
        let from = self.index.covered_seq() + 1;
        let mut cursor = self.reader.read_from(from);
        while let Some(frame) = cursor.next_frame(segment.last_seq)? {
            for (seq, bytes) in frame.records() {
                if seq >= from {
                    let record = record::decode(bytes)?;
                    entries_of(JournalSeq(seq), &record, &mut entries);
                    giving_way.did(1 + record.events.len() as u64, EVENT_NS);
                }
            }
        }
        self.index.insert_batch(&mut entries, segment.last_seq)?;
        self.shared.indexed.store(segment.last_seq, Ordering::Relaxed);
        metrics::indexed(segment.last_seq);
        (self.tell_indexed)(JournalSeq(segment.last_seq));
        Ok(())
    }

    fn snapshot_if_due(&mut self, sealed: &[SegmentInfo]) -> Result<(), Trouble> {
        let snapshot = self.snapshot_seq.load(Ordering::Relaxed);
        let behind: Vec<&SegmentInfo> =
            sealed.iter().filter(|segment| segment.last_seq > snapshot).collect();
        let bytes: u64 = behind.iter().map(|segment| segment.bytes).sum();
        if bytes < (SNAPSHOT_SEGMENTS_MIN * self.segment_bytes).max(self.snapshot_bytes / 2) {
            return Ok(());
        }
        self.make_snapshot(snapshot, &behind)
    }

    fn make_snapshot(&mut self, from: u64, behind: &[&SegmentInfo]) -> Result<(), Trouble> {
        let mut changes = Changes::after(JournalSeq(from));
        let mut cursor = self.reader.read_from(from + 1);
        let mut upto = None;
        let mut giving_way = GivingWay::default();
        for segment in behind {
            while let Some(frame) = cursor.next_frame(segment.last_seq)? {
                for (seq, bytes) in frame.records().filter(|(seq, _)| *seq > from) {
                    let record = record::decode(bytes)?;
                    changes.absorb(JournalSeq(seq), &record)?;
                    giving_way.did(1 + record.events.len() as u64, EVENT_NS);
                }
            }
            upto = Some(segment);
            if changes.memory_bytes() > CHANGES_BYTES_MAX {
                break;
            }
        }
        let Some(upto) = upto else { return Ok(()) };
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
