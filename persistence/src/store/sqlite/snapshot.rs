//! Connections that read, few and kept, each read in one snapshot.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use florin_engine::{JournalSeq, Timestamp};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection, SqliteRow};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::columns::{self, Column, Reader};
use super::connect::{self, database_error};
use crate::store::columns::Columns as _;
use crate::store::error::StoreError;
use crate::store::rows::Checkpoint;

/// How many reads run at once; the others wait.
const READERS_MAX: usize = 4;
const PATIENCE: Duration = Duration::from_secs(10);

/// The connections that read. A connection comes back only from a read that went well, so a failed or dropped read leaves nothing behind.
pub(super) struct Readers {
    path: PathBuf,
    permits: Semaphore,
    idle: Mutex<Vec<SqliteConnection>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Readers {
        Readers { path, permits: Semaphore::new(READERS_MAX), idle: Mutex::new(Vec::new()) }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<SqliteConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a read: everything read through the snapshot is of the position that it names.
    pub(super) async fn snapshot(&self) -> Result<Snapshot<'_>, StoreError> {
        let permit = tokio::time::timeout(PATIENCE, self.permits.acquire())
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or(StoreError::Away { source: sqlx::Error::PoolTimedOut })?;
        let kept = self.idle().pop();
        let connection = match kept {
            Some(connection) => connection,
            None => connect::reader(&self.path).await?,
        };
        let (connection, checkpoint) = begin(connection).await?;
        Ok(Snapshot { readers: self, _permit: permit, connection, checkpoint })
    }
}

/// Begins a read transaction: SQLite takes its snapshot at the first read, which is that of the checkpoint.
pub(super) async fn begin(
    mut connection: SqliteConnection,
) -> Result<(SqliteConnection, Checkpoint), StoreError> {
    let failed = |source| database_error("reading the store", source);
    sqlx::query::<Sqlite>("BEGIN").execute(&mut connection).await.map_err(failed)?;
    let columns =
        "SELECT seq, frame_hash, timestamp, epoch, history_from, rebuilding FROM checkpoint";
    let row = sqlx::query::<Sqlite>(columns)
        .fetch_optional(&mut connection)
        .await
        .map_err(failed)?
        .ok_or(StoreError::Unreadable { what: "checkpoint" })?;
    let checkpoint = read_checkpoint(Reader::new(&row))?;
    Ok((connection, checkpoint))
}

fn read_checkpoint(mut columns: Reader<'_>) -> Result<Checkpoint, StoreError> {
    let seq = JournalSeq(columns.u64("seq")?);
    let frame_hash = columns.blob("frame_hash")?;
    let frame_hash =
        frame_hash.try_into().map_err(|_| StoreError::Unreadable { what: "frame_hash" })?;
    Ok(Checkpoint {
        seq,
        frame_hash,
        timestamp: Timestamp(columns.u64("timestamp")?),
        epoch: columns.u64("epoch")?,
        history_from: JournalSeq(columns.u64("history_from")?),
        is_rebuilding: columns.u64("rebuilding")? != 0,
    })
}

/// One read transaction.
pub(super) struct Snapshot<'s> {
    readers: &'s Readers,
    _permit: SemaphorePermit<'s>,
    connection: SqliteConnection,
    checkpoint: Checkpoint,
}

impl Snapshot<'_> {
    /// Everything read here is as of it.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        self.checkpoint
    }

    #[cfg(test)]
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    pub(super) async fn fetch(&mut self, sql: Sql) -> Result<Vec<SqliteRow>, StoreError> {
        if self.checkpoint.is_rebuilding {
            return Err(StoreError::Rebuilding);
        }
        // The text is put together from constants of this crate; what a caller gives is always bound.
        sqlx::query_with(AssertSqlSafe(sql.text), sql.arguments)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|source| database_error("reading the store", source))
    }

    /// Ends the read and keeps the connection for the next one.
    pub(super) async fn end(mut self) -> Result<(), StoreError> {
        self.run("ROLLBACK").await?;
        self.readers.idle().push(self.connection);
        Ok(())
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), StoreError> {
        sqlx::query::<Sqlite>(sql)
            .execute(&mut self.connection)
            .await
            .map(drop)
            .map_err(|source| database_error("reading the store", source))
    }
}

/// A statement as it is put together: text and what is bound, side by side.
pub(super) struct Sql {
    text: String,
    arguments: SqliteArguments,
}

impl Sql {
    pub(super) fn new(text: &str) -> Sql {
        Sql { text: text.to_owned(), arguments: SqliteArguments::default() }
    }

    pub(super) fn into_parts(self) -> (String, SqliteArguments) {
        (self.text, self.arguments)
    }

    /// Adds text.
    pub(super) fn push(&mut self, text: &str) -> &mut Sql {
        self.text.push_str(text);
        self
    }

    /// Binds the next `?` of the text.
    pub(super) fn bind(&mut self, column: impl Into<Column>) -> &mut Sql {
        columns::bind(&mut self.arguments, column.into());
        self
    }

    /// This with the next `?` bound.
    pub(super) fn with(mut self, column: impl Into<Column>) -> Sql {
        self.bind(column);
        self
    }
}
