//! Group commit: records become a frame, the frame goes to the segment with one write, and one `fdatasync` makes it durable, if it is waited for.

use std::convert::Infallible;
use std::thread;
use std::time::Duration;

use florin_engine::Record;
use florin_persistence::disk::OsDisk;
use florin_persistence::journal::{Durability, FrameBuilder, Journal, JournalOptions};
use tempfile::TempDir;
use uuid::Uuid;

use super::bank::BATCH;
use super::records::{batch, fill, singles};
use super::{Case, Named, SEGMENT_BYTES, fed};

const GROUP: &str = "group commit on the disk";
/// More than any of these frames takes.
const ROOM_BYTES: u64 = 2 << 20;

pub(super) const CASES: [Named; 5] = [
    Named::new(GROUP, "a frame of one transfer, written and synced (fdatasync)", 1, || {
        committed(singles().split_off(63), Durability::Fsync)
    })
    .differing(),
    Named::new(GROUP, "a frame of 64 transfers, written and synced (fdatasync)", 1, || {
        committed(singles(), Durability::Fsync)
    })
    .differing(),
    Named::new(GROUP, "a frame of 64 transfers, written, NOT synced", 1, || {
        committed(singles(), Durability::Memory)
    })
    .differing(),
    Named::new(
        GROUP,
        "a transfer of a batch of 8,190, written and synced (fdatasync)",
        BATCH,
        || committed(vec![batch()], Durability::Fsync),
    )
    .differing(),
    Named::new(GROUP, "a transfer of such a batch, written, NOT synced", BATCH, || {
        committed(vec![batch()], Durability::Memory)
    })
    .differing(),
];

struct Committing {
    journal: Journal,
    frame: FrameBuilder,
    records: Vec<Record>,
    /// Dropped after the journal.
    _directory: TempDir,
}

fn committed(records: Vec<Record>, durability: Durability) -> Box<dyn Case> {
    let directory = TempDir::with_prefix("florin-bench-").expect("a temporary directory");
    let journal = Journal::open::<Infallible>(
        OsDisk::shared(),
        directory.path(),
        Uuid::from_u128(7),
        JournalOptions { segment_bytes: SEGMENT_BYTES, ..JournalOptions::new(durability) },
        0,
        &mut |_| Ok(()),
    );
    let journal = journal.expect("an empty directory is an empty journal");
    fed(
        Committing { journal, frame: FrameBuilder::new(), records, _directory: directory },
        |committing| {
            // Segments are made ready by a thread that leaves the disk to others now and then: it is not what is measured.
            let journal = &committing.journal;
            let removed = journal.index().remove_segments_before(journal.last_seq());
            removed.expect("a segment can be removed");
            while journal.room().bytes() < ROOM_BYTES {
                thread::sleep(Duration::from_millis(1));
            }
        },
        |committing, ()| {
            let Committing { journal, frame, records, .. } = committing;
            fill(frame, records);
            journal.append(frame, 0).expect("there is room").last_seq
        },
    )
}
