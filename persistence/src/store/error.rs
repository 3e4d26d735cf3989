//! What can go wrong between the ledger and its store.

use florin_engine::JournalSeq;
use uuid::Uuid;

use super::page::CursorError;

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database can not be reached or used now; the same call may succeed later, and nothing was changed by this one
    /// unless only its answer was lost, which reading the checkpoint tells.
    #[error("the store is away")]
    Away {
        /// What the database said.
        source: sqlx::Error,
    },
    /// The database refuses for a reason that waiting does not change: a broken constraint, damage, a bug.
    #[error("the store refuses: {doing}")]
    Refused {
        /// What was being done.
        doing: &'static str,
        /// What the database said.
        source: sqlx::Error,
    },
    /// A row or a record holds what can not be: damage or a bug.
    #[error("the store holds or was given what it can not hold: {what}")]
    Unreadable {
        /// What it was.
        what: &'static str,
    },
    /// The database is of a newer schema.
    #[error(
        "the store has schema version {found}, and this program knows versions up to {known}: use the newer program"
    )]
    SchemaNewer {
        /// Its version.
        found: i64,
        /// The newest that is known here.
        known: i64,
    },
    /// The file is a database, but no store.
    #[error("the file is an SQLite database of something else, not a Florin store")]
    NoStore,
    /// The database belongs to another data directory.
    #[error("the store belongs to the data directory {found}, not to this one, {expected}")]
    ForeignDirectory {
        /// Whose it is.
        found: Uuid,
        /// Whose it should be.
        expected: Uuid,
    },
    /// The batch does not begin where the store stands. Nothing was changed.
    #[error(
        "the store does not stand at journal position {after} (it was last seen at {found}), or another writer has taken it over",
        after = after.0,
        found = found.0
    )]
    NotAtCheckpoint {
        /// Where the batch begins.
        after: JournalSeq,
        /// Where the store stands.
        found: JournalSeq,
    },
    /// A sync of the store failed once, so what the kernel says about later ones proves nothing about the rows before:
    /// nothing more is reported durable until the process starts anew.
    #[error("an earlier sync of the store failed, so its rows can not be called durable any more")]
    SyncFailedBefore,
    /// The cursor can not be used for this list.
    #[error(transparent)]
    Cursor(#[from] CursorError),
}

/// What a caller should do about a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// Try again after a while.
    Passing,
    /// Stop: the same call fails again, whatever the time.
    Permanent,
    /// Tell the client: its cursor is wrong.
    BadCursor,
}

impl StoreError {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        match self {
            StoreError::Away { .. } => StoreErrorKind::Passing,
            StoreError::Refused { .. }
            | StoreError::Unreadable { .. }
            | StoreError::SchemaNewer { .. }
            | StoreError::NoStore
            | StoreError::ForeignDirectory { .. }
            | StoreError::NotAtCheckpoint { .. }
            | StoreError::SyncFailedBefore => StoreErrorKind::Permanent,
            StoreError::Cursor(_) => StoreErrorKind::BadCursor,
        }
    }
}
