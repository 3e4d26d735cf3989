//! How a ledger is opened.

use std::path::PathBuf;
use std::sync::Arc;

use florin_persistence::cache::CacheOptions;
use florin_persistence::disk::{Disk, OsDisk};
use florin_persistence::journal::{Durability, SEGMENT_BYTES_DEFAULT, SpareKeeping};
use florin_persistence::store::{PostgresOptions, TakeOver};

use crate::admission::Limits;
use crate::clock::{Clock, SystemClock};
use crate::write_behind::WriteBehind;

/// How a ledger is opened.
#[derive(Clone)]
pub struct Options {
    /// The directory that holds everything durable; made when it is not there.
    pub data_dir: PathBuf,
    /// When a command may be answered.
    pub durability: Durability,
    /// Whether a clock far ahead of the journal is believed.
    pub clock_acceptance: ClockAcceptance,
    /// The SQL read model.
    pub store: StoreChoice,
    /// Whether the store follows the journal.
    pub write_behind: WriteBehind,
    /// The cache that readers on other machines share; there is none without.
    pub cache: Option<CacheOptions>,
    /// Where journal segments go when they are no longer needed; without it they are deleted.
    pub journal_archive: Option<PathBuf>,
    /// Size of a journal segment in bytes: a multiple of 4096; at least 32 MiB for the largest batches.
    pub segment_bytes: u64,
    /// Who prepares journal segments.
    pub spare_keeping: SpareKeeping,
    /// What may be in flight.
    pub limits: Limits,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Which database holds the SQL read model.
#[derive(Clone, Debug)]
pub enum StoreChoice {
    /// SQLite, inside the data directory.
    Embedded,
    /// PostgreSQL. It may be away, also at the start: the journal keeps what it misses.
    Postgres {
        /// Where it is.
        options: PostgresOptions,
        /// Whether to become its writer although another one seems to live.
        take_over: TakeOver,
    },
}

/// What to do when the clock is more than a day ahead of the last thing in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockAcceptance {
    /// Refuse to start: once given out, a timestamp far in the future is there for ever.
    Strict,
    /// Believe the clock.
    Accept,
}

impl Options {
    /// Production values: everything durable, the store following, the machine's disk and clock.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Options {
        Options {
            data_dir: data_dir.into(),
            durability: Durability::Fsync,
            clock_acceptance: ClockAcceptance::Strict,
            store: StoreChoice::Embedded,
            write_behind: WriteBehind::Running,
            cache: None,
            journal_archive: None,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            spare_keeping: SpareKeeping::Thread,
            limits: Limits::default(),
            disk: OsDisk::shared(),
            clock: Arc::new(SystemClock::start()),
        }
    }
}
