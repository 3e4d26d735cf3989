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
    /// The database is of an older schema, and this process only reads.
    #[error(
        "the store has schema version {found}, and this program needs version {known}: its writer brings it up to date"
    )]
    SchemaOlder {
        /// Its version.
        found: i64,
        /// The one that is needed.
        known: i64,
    },
    /// The file or the schema holds something else.
    #[error("the database holds something else, not a Florin store")]
    NoStore,
    /// Nobody has made the store yet.
    #[error("there is no store in the schema {schema} yet: the ledger's writer makes it")]
    Absent {
        /// Where it was looked for.
        schema: String,
    },
    /// The database can not hold every text.
    #[error(
        "the database is encoded in {found}, and a store needs UTF8: make one WITH ENCODING 'UTF8'"
    )]
    NotUtf8 {
        /// Its encoding.
        found: String,
    },
    /// The database's address or its server can not be used.
    #[error("the database can not be used: {reason}")]
    Options {
        /// What is wrong with it; never holds the password.
        reason: String,
    },
    /// This process has not claimed the store, or was opened only to read it.
    #[error("the store is not claimed by this process, so nothing is written")]
    NotClaimed,
    /// Another process that writes the store lives. Nothing was changed.
    #[error(
        "another process writes this store: {who}; stop it first, or end its claim with --take-over"
    )]
    ClaimedByOther {
        /// Its address, name and process, as the database knows them.
        who: String,
    },
    /// Another writer has taken the store over. Nothing was changed by this call, and nothing will be by a later one.
    #[error("another writer has taken the store over: it holds claim {found}, and ours was {ours}")]
    Fenced {
        /// The claim of this process.
        ours: u64,
        /// The claim in force.
        found: u64,
    },
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
    /// A rebuild of the store was begun and has not ended.
    #[error("the store is being rebuilt: let `florin rebuild-store` end, or start it again")]
    Rebuilding,
    /// The store holds something already, so that there is nothing to rebuild. Nothing was changed.
    #[error(
        "the store is not lost: it stands at journal position {}; empty it first if it shall be made anew (drop its schema, or move its file away)", .at.0
    )]
    NotLost {
        /// Where it stands.
        at: JournalSeq,
    },
    /// A sync of the store failed once, so what the kernel says about later ones proves nothing about the rows before:
    /// nothing more is reported durable until the process starts anew.
    #[error("an earlier sync of the store failed, so its rows can not be called durable any more")]
    SyncFailedBefore,
    /// More transfers would have to be looked through than are for one answer: see [`super::MOVES_MAX`].
    #[error(
        "the account has too many transfers on either side of that moment to tell what it held"
    )]
    OutOfReach,
    /// It rests on transfers that were lost with an earlier store.
    #[error("it rests on transfers that were lost with an earlier store; history begins at journal position {}", .history_from.0)]
    HistoryLost {
        /// See [`super::Checkpoint::history_from`].
        history_from: JournalSeq,
    },
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
    /// Another writer has taken over: the process must end.
    Fenced,
    /// Tell the client: its cursor is wrong.
    BadCursor,
    /// Tell the client: it asks for too much.
    OutOfReach,
    /// Tell the client: it asks for what was lost.
    HistoryLost,
}

impl StoreError {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        match self {
            StoreError::Away { .. }
            | StoreError::SchemaOlder { .. }
            | StoreError::Rebuilding
            | StoreError::Absent { .. } => StoreErrorKind::Passing,
            StoreError::Refused { .. }
            | StoreError::Unreadable { .. }
            | StoreError::SchemaNewer { .. }
            | StoreError::NoStore
            | StoreError::NotUtf8 { .. }
            | StoreError::Options { .. }
            | StoreError::NotClaimed
            | StoreError::ClaimedByOther { .. }
            | StoreError::ForeignDirectory { .. }
            | StoreError::NotAtCheckpoint { .. }
            | StoreError::NotLost { .. }
            | StoreError::SyncFailedBefore => StoreErrorKind::Permanent,
            StoreError::Fenced { .. } => StoreErrorKind::Fenced,
            StoreError::Cursor(_) => StoreErrorKind::BadCursor,
            StoreError::OutOfReach => StoreErrorKind::OutOfReach,
            StoreError::HistoryLost { .. } => StoreErrorKind::HistoryLost,
        }
    }
}
