//! What a start does, part by part, each by itself: the same functions in the same order as recovery.

use std::convert::Infallible;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use florin_actors::{Durability, recovery};
use florin_engine::JournalSeq;
use florin_persistence::data_dir::DataDir;
use florin_persistence::decided::{DecidedIndex, IndexOptions};
use florin_persistence::disk::OsDisk;
use florin_persistence::journal::{FrameView, Journal, JournalOptions};
use florin_persistence::record;
use florin_persistence::snapshot::{SnapshotReader, files};

/// A part of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Index,
    Snapshot,
    Accounts,
    Journal,
    Records,
    Replay,
    Sums,
}

impl Part {
    pub(crate) const ALL: [Part; 7] = [
        Part::Index,
        Part::Snapshot,
        Part::Accounts,
        Part::Journal,
        Part::Records,
        Part::Replay,
        Part::Sums,
    ];

    /// What it does.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Part::Index => "the index of ids opened, its filter read",
            Part::Snapshot => "the snapshot read, checked and decoded",
            Part::Accounts => "its accounts put into memory",
            Part::Journal => "the journal behind it read and checked, frame by frame",
            Part::Records => "its records decoded",
            Part::Replay => "its records applied and compared, its ids remembered",
            Part::Sums => "the sums of all accounts compared, ids of the index forgotten",
        }
    }
}

/// The seconds that something takes, and what it gives.
fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let began = Instant::now();
    let given = work();
    (began.elapsed().as_secs_f64(), given)
}

fn tell(part: Part, seconds: f64) {
    println!("{} {seconds}", part.name());
}

fn newest(directory: &DataDir) -> SnapshotReader<impl Read + Send> {
    let snapshot = files::newest(directory).expect("a snapshot can be read");
    snapshot.expect("there is a snapshot")
}

/// Goes through the journal behind a position.
fn walk(directory: &DataDir, after: u64, mut visit: impl FnMut(FrameView<'_>)) {
    let journal = Journal::open::<Infallible>(
        OsDisk::shared(),
        &directory.journal_dir(),
        directory.id(),
        JournalOptions::new(Durability::Fsync),
        after,
        &mut |frame| {
            visit(frame);
            Ok(())
        },
    );
    drop(journal.expect("the journal is whole"));
}

/// Prints each part with its seconds.
///
/// # Panics
/// The directory can not be read, or is damaged.
pub(crate) fn measure(path: &Path) {
    let directory = DataDir::open_existing(OsDisk::shared(), path).expect("nobody has it open");
    let (index_seconds, index) =
        timed(|| DecidedIndex::open(&directory.ids_dir(), IndexOptions::SMALL));
    let index = index.expect("the index is whole");
    tell(Part::Index, index_seconds);

    let (read, ()) = timed(|| {
        for held in newest(&directory) {
            let _ = std::hint::black_box(held.expect("a snapshot is whole"));
        }
    });
    tell(Part::Snapshot, read);
    let (restored, state) = timed(|| recovery::load(newest(&directory)));
    let mut state = state.expect("the snapshot is whole");
    tell(Part::Accounts, restored - read);

    let from = state.seq();
    let after = from.0.min(index.covered_seq());
    let behind = |frame: &FrameView<'_>| frame.last_seq() > from.0;
    let (walked, ()) = timed(|| {
        walk(&directory, after, |frame| {
            let _ = std::hint::black_box(frame);
        });
    });
    tell(Part::Journal, walked);
    let (decoded, ()) = timed(|| {
        walk(&directory, after, |frame| {
            if behind(&frame) {
                for (_, bytes) in frame.records() {
                    drop(std::hint::black_box(record::decode(bytes)));
                }
            }
        });
    });
    tell(Part::Records, decoded - walked);
    let (replayed, ()) = timed(|| {
        walk(&directory, after, |frame| {
            recovery::replay_frame(&mut state, from, from, &frame).expect("it follows");
        });
    });
    tell(Part::Replay, replayed - decoded);
    let (summed, ()) = timed(|| {
        drop(state.forget_indexed(JournalSeq(index.covered_seq())));
        state.check_conservation().expect("the sums agree");
    });
    tell(Part::Sums, summed);
}
