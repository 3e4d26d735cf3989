//! Connections that read, few and kept, each read in one snapshot.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use florin_engine::JournalSeq;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection, SqliteRow};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::columns::{self, Column, Reader};
use super::connect::{self, database_error};
use crate::store::columns::Columns as _;
use crate::store::error::StoreError;

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
        let mut snapshot =
            Snapshot { readers: self, _permit: permit, connection, as_of: JournalSeq::NONE };
        snapshot.run("BEGIN").await?;
        // SQLite takes its snapshot at the first read.
        let checkpoint = snapshot.fetch(Sql::new("SELECT seq FROM checkpoint")).await?;
        let row = checkpoint.first().ok_or(StoreError::Unreadable { what: "checkpoint" })?;
        snapshot.as_of = JournalSeq(Reader::new(row).u64("seq")?);
        Ok(snapshot)
    }
}

/// One read transaction.
pub(super) struct Snapshot<'s> {
    readers: &'s Readers,
    _permit: SemaphorePermit<'s>,
    connection: SqliteConnection,
    as_of: JournalSeq,
}

impl Snapshot<'_> {
    /// The position that everything read here is as of.
    pub(super) fn as_of(&self) -> JournalSeq {
        self.as_of
    }

    #[cfg(test)]
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    pub(super) async fn fetch(&mut self, sql: Sql) -> Result<Vec<SqliteRow>, StoreError> {
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
