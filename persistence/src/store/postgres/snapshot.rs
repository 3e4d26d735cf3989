//! Connections that read, few and kept, each read in one snapshot.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use florin_engine::{JournalSeq, Timestamp};
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::{Arguments, AssertSqlSafe, Row};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::binary::{Array, Value};
use super::connect::{Sessions, database_error, timed_out};
use super::schema;
use crate::store::error::StoreError;
use crate::store::rows::Checkpoint;

const READING: &str = "reading the store";
/// One message for both: everything that follows sees what this sees.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
    SELECT seq, frame_hash, timestamp, epoch, history_from, rebuilding, ledger_uuid FROM checkpoint";

/// The connections that read. A connection comes back only from a read that went well, so a failed or dropped read leaves nothing behind.
pub(super) struct Readers {
    sessions: Arc<Sessions>,
    permits: Semaphore,
    idle: Mutex<Vec<PgConnection>>,
}

impl Readers {
    pub(super) fn new(sessions: Arc<Sessions>) -> Readers {
        let permits = Semaphore::new(sessions.options.readers.max(1));
        Readers { sessions, permits, idle: Mutex::new(Vec::new()) }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<PgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does one read: everything in it is of one position. Ends in time, whatever the server does.
    pub(super) async fn read<T>(
        &self,
        work: impl AsyncFnOnce(&mut Snapshot) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let limit = self.sessions.options.read_timeout;
        let reading = async {
            let Ok(_permit) = self.permits.acquire().await else {
                return Err(StoreError::Away { source: sqlx::Error::PoolClosed });
            };
            let mut snapshot = self.begin().await?;
            let read = work(&mut snapshot).await?;
            snapshot.run("ROLLBACK").await?;
            self.idle().push(snapshot.connection);
            Ok(read)
        };
        tokio::time::timeout(limit, reading)
            .await
            .unwrap_or_else(|_| Err(timed_out(limit, READING)))
    }

    async fn begin(&self) -> Result<Snapshot, StoreError> {
        // A kept connection may have died with its server since; then nothing was done on it yet, and a new one is made.
        let schema = &self.sessions.options.schema;
        while let Some(connection) = { self.idle().pop() } {
            match Snapshot::begin(connection, schema).await {
                Err(StoreError::Away { .. }) => {}
                begun => return begun,
            }
        }
        let mut connection = self.sessions.connect_reader().await?;
        match schema::version(&mut connection, schema).await? {
            None => return Err(StoreError::Absent { schema: schema.clone() }),
            Some(found) if found > schema::KNOWN => {
                return Err(StoreError::SchemaNewer { found, known: schema::KNOWN });
            }
            Some(found) if found < schema::KNOWN => {
                return Err(StoreError::SchemaOlder { found, known: schema::KNOWN });
            }
            Some(_) => {}
        }
        Snapshot::begin(connection, schema).await
    }
}

/// The checkpoint as a simple query gives it: in text.
fn checkpoint(row: &PgRow) -> Result<(Checkpoint, Uuid), sqlx::Error> {
    let unsigned = |at: usize| row.try_get::<i64, _>(at).map(i64::cast_unsigned);
    let frame_hash: Vec<u8> = row.try_get(1)?;
    let checkpoint = Checkpoint {
        seq: JournalSeq(unsigned(0)?),
        frame_hash: frame_hash.try_into().map_err(|_| sqlx::Error::RowNotFound)?,
        timestamp: Timestamp(unsigned(2)?),
        epoch: unsigned(3)?,
        history_from: JournalSeq(unsigned(4)?),
        is_rebuilding: row.try_get(5)?,
    };
    Ok((checkpoint, row.try_get(6)?))
}

/// One read transaction.
pub(super) struct Snapshot {
    connection: PgConnection,
    checkpoint: Checkpoint,
    directory: Uuid,
}

impl Snapshot {
    pub(super) async fn begin(
        mut connection: PgConnection,
        schema: &str,
    ) -> Result<Snapshot, StoreError> {
        let row = sqlx::raw_sql(BEGIN)
            .fetch_optional(&mut connection)
            .await
            .map_err(|source| database_error(READING, source))?;
        // The one row is there from the first claim on.
        let row = row.ok_or_else(|| StoreError::Absent { schema: schema.to_owned() })?;
        let (checkpoint, directory) =
            checkpoint(&row).map_err(|_| StoreError::Unreadable { what: "checkpoint" })?;
        Ok(Snapshot { connection, checkpoint, directory })
    }

    /// Everything read here is as of it.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        self.checkpoint
    }

    /// Whose store it is.
    pub(super) fn directory(&self) -> Uuid {
        self.directory
    }

    pub(super) async fn fetch(&mut self, sql: Sql) -> Result<Vec<PgRow>, StoreError> {
        if self.checkpoint.is_rebuilding {
            return Err(StoreError::Rebuilding);
        }
        // The text is put together from constants of this crate; what a caller gives is always bound.
        sqlx::query_with(AssertSqlSafe(sql.text), sql.arguments)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|source| database_error(READING, source))
    }

    pub(super) async fn run(&mut self, sql: &'static str) -> Result<(), StoreError> {
        sqlx::raw_sql(sql)
            .execute(&mut self.connection)
            .await
            .map(drop)
            .map_err(|source| database_error(READING, source))
    }
}

/// A statement as it is put together: text and what is bound, side by side.
pub(super) struct Sql {
    pub(super) text: String,
    pub(super) arguments: PgArguments,
}

impl Sql {
    pub(super) fn new(text: &str) -> Sql {
        Sql { text: text.to_owned(), arguments: PgArguments::default() }
    }

    /// Adds text.
    pub(super) fn push(&mut self, text: &str) -> &mut Sql {
        self.text.push_str(text);
        self
    }

    /// Binds a value where the text ends.
    pub(super) fn bind(&mut self, value: impl Into<Value>) -> &mut Sql {
        let place = self.place(value);
        self.push(&place)
    }

    /// Binds a value, and gives the name under which the text can use it, as often as it likes.
    pub(super) fn place(&mut self, value: impl Into<Value>) -> String {
        self.arguments.add(value.into()).expect("fields are encoded already");
        format!("${}", self.arguments.len())
    }

    /// Adds `SELECT * FROM UNNEST(…)` of arrays, one for each column.
    pub(super) fn push_unnested(&mut self, arrays: impl IntoIterator<Item = Array>) -> &mut Sql {
        let places: Vec<String> = arrays.into_iter().map(|array| self.place(array)).collect();
        self.push(" SELECT * FROM UNNEST(").push(&places.join(", ")).push(")")
    }

    /// This with a value bound where the text ends.
    pub(super) fn with(mut self, value: impl Into<Value>) -> Sql {
        self.bind(value);
        self
    }
}
