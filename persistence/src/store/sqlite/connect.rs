//! Opening the database file: whose it is, which schema it has, and the connections to it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Row, SqlSafeStr};
use uuid::Uuid;

use super::columns::Reader;
use super::index_metadata;
use crate::pace::Turns;
use crate::store::columns::Columns;
use crate::store::error::StoreError;
use crate::store::leisure::Leisure;

const PAGE_BYTES: u32 = 4096;
/// What a batch changed goes to the WAL when the cache is full, and the rest of it at once with the commit: the journal's syncs wait
/// behind that. Batches are written in the order of the trees, so that more memory makes them no faster: measured from 1 to 256 MiB.
const WRITER_CACHE_KIB: u32 = 1024;
/// After so many operations of SQLite's machine, some tens of microseconds, the writer lets other threads have its core: a batch
/// takes a third of a second, and who moves money should not wait for it.
const YIELD_OPERATIONS: i32 = 1000;
const READER_CACHE_KIB: u32 = 16 * 1024;
/// How long the writer waits for another process that looks into the file.
const WRITER_BUSY: Duration = Duration::from_secs(2);
const READER_BUSY: Duration = Duration::from_secs(5);

fn migrations() -> Migrator {
    let migration = |version, name: &'static str, sql: &'static str| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![
        migration(1, "tables", include_str!("../../../migrations/sqlite/0001_tables.sql")),
        migration(2, "views", include_str!("../../../migrations/sqlite/0002_views.sql")),
        migration(3, "rebuild", include_str!("../../../migrations/sqlite/0003_rebuild.sql")),
        migration(4, "two_phase", include_str!("../../../migrations/sqlite/0004_two_phase.sql")),
        migration(5, "queries", include_str!("../../../migrations/sqlite/0005_queries.sql")),
        migration(
            6,
            "external_ids",
            include_str!("../../../migrations/sqlite/0006_external_ids.sql"),
        ),
        migration(
            7,
            "replaced_metadata",
            include_str!("../../../migrations/sqlite/0007_replaced_metadata.sql"),
        ),
        migration(
            8,
            "imported_legs",
            include_str!("../../../migrations/sqlite/0008_imported_legs.sql"),
        ),
        migration(
            9,
            "what_views_say",
            include_str!("../../../migrations/sqlite/0009_what_views_say.sql"),
        ),
        migration(
            10,
            "merged_runs",
            include_str!("../../../migrations/sqlite/0010_merged_runs.sql"),
        ),
    ])
}

/// The newest schema version that this program knows.
fn known_version() -> i64 {
    migrations().iter().map(|migration| migration.version).max().unwrap_or(0)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(false)
        .pragma("wal_autocheckpoint", "0")
        .disable_statement_logging()
}

/// The connection that writes. The WAL is synced when [`super::Sqlite::sync`] asks for it, not at each commit, and copied into
/// the database when it has grown, not at each thousandth page.
pub(super) async fn writer(
    path: &Path,
    leisure: Arc<Leisure>,
) -> Result<SqliteConnection, StoreError> {
    let opening = |source| database_error("opening the store", source);
    let mut connection = options(path)
        .create_if_missing(true)
        .page_size(PAGE_BYTES)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .pragma("cache_size", format!("-{WRITER_CACHE_KIB}"))
        .busy_timeout(WRITER_BUSY)
        .connect()
        .await
        .map_err(opening)?;
    let mut turns = Turns::new();
    let polite = move || {
        turns.give_way(|worked| leisure.rest_after(worked));
        true
    };
    connection.lock_handle().await.map_err(opening)?.set_progress_handler(YIELD_OPERATIONS, polite);
    Ok(connection)
}

/// A connection that only reads.
pub(super) async fn reader(path: &Path) -> Result<SqliteConnection, StoreError> {
    options(path)
        .read_only(true)
        .pragma("cache_size", format!("-{READER_CACHE_KIB}"))
        .busy_timeout(READER_BUSY)
        .connect()
        .await
        .map_err(|source| database_error("opening the store for reading", source))
}

/// Refuses a file that this program must not write, before anything is written: another database, a newer schema, another directory's.
pub(super) async fn inspect(path: &Path, directory: Uuid) -> Result<(), StoreError> {
    if !path.metadata().is_ok_and(|metadata| metadata.len() > 0) {
        return Ok(());
    }
    let mut connection = if was_killed_while_made(path) {
        // Only a connection that may write can take back what was begun; it changes nothing else.
        let connected = options(path).busy_timeout(WRITER_BUSY).connect().await;
        connected.map_err(|source| database_error("opening the store", source))?
    } else {
        reader(path).await?
    };
    let tables: Vec<String> = all(&mut connection, "SELECT name FROM sqlite_master")
        .await?
        .iter()
        .map(|row| Reader::new(row).text("sqlite_master"))
        .collect::<Result<_, _>>()?;
    let has = |table: &str| tables.iter().any(|name| name == table);
    if !has("_sqlx_migrations") {
        return if tables.is_empty() { Ok(()) } else { Err(StoreError::NoStore) };
    }
    let versions = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations";
    for row in all(&mut connection, versions).await? {
        let found = row.try_get::<i64, _>(0).map_err(|_| StoreError::NoStore)?;
        if found > known_version() {
            return Err(StoreError::SchemaNewer { found, known: known_version() });
        }
    }
    if has("checkpoint") {
        for row in all(&mut connection, "SELECT ledger_uuid FROM checkpoint").await? {
            belongs(&row, directory)?;
        }
    }
    connection.close().await.map_err(|source| database_error("inspecting the store", source))
}

/// Before the file is in WAL mode, a process that dies in a transaction leaves a rollback journal.
fn was_killed_while_made(path: &Path) -> bool {
    let mut journal = path.as_os_str().to_owned();
    journal.push("-journal");
    Path::new(&journal).exists()
}

fn belongs(row: &SqliteRow, expected: Uuid) -> Result<(), StoreError> {
    let found = Reader::new(row).blob("ledger_uuid")?;
    let found =
        Uuid::from_slice(&found).map_err(|_| StoreError::Unreadable { what: "ledger_uuid" })?;
    if found == expected { Ok(()) } else { Err(StoreError::ForeignDirectory { found, expected }) }
}

async fn all(
    connection: &mut SqliteConnection,
    sql: &'static str,
) -> Result<Vec<SqliteRow>, StoreError> {
    sqlx::query::<Sqlite>(sql)
        .fetch_all(connection)
        .await
        .map_err(|source| database_error("inspecting the store", source))
}

/// Brings the schema up to date and claims an empty store for `directory`. Gives the epoch of the claim.
pub(super) async fn prepare(
    connection: &mut SqliteConnection,
    directory: Uuid,
) -> Result<u64, StoreError> {
    migrations().run_direct(None, connection, false).await.map_err(|error| match error {
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
            database_error("migrating the store", source)
        }
        MigrateError::VersionMissing(found) => {
            StoreError::SchemaNewer { found, known: known_version() }
        }
        other => StoreError::Refused {
            doing: "migrating the store",
            source: sqlx::Error::Migrate(Box::new(other)),
        },
    })?;
    sqlx::query(
        "INSERT INTO checkpoint (one, ledger_uuid, epoch, seq, frame_hash, timestamp, metadata_indexed)
         VALUES (1, ?, 1, 0, zeroblob(16), 0, 1) ON CONFLICT DO NOTHING",
    )
    .bind(directory.as_bytes().to_vec())
    .execute(&mut *connection)
    .await
    .map_err(|source| database_error("claiming the store", source))?;
    let row = sqlx::query("SELECT ledger_uuid, epoch, metadata_indexed FROM checkpoint")
        .fetch_one(&mut *connection)
        .await
        .map_err(|source| database_error("reading the checkpoint", source))?;
    belongs(&row, directory)?;
    let mut columns = Reader::new(&row);
    columns.column("ledger_uuid")?;
    let epoch = columns.u64("epoch")?;
    if columns.u64("metadata_indexed")? == 0 {
        index_metadata::index(connection).await?;
    }
    Ok(epoch)
}

/// Tells what passes from what does not, by SQLite's primary result code.
pub(super) fn database_error(doing: &'static str, source: sqlx::Error) -> StoreError {
    let passes = match &source {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(_) => matches!(
            result_code(&source).map(|code| code & 0xff),
            // NOMEM, BUSY, LOCKED, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL
            Some(7 | 5 | 6 | 8 | 9 | 10 | 13 | 14 | 15)
        ),
        _ => false,
    };
    if passes { StoreError::Away { source } } else { StoreError::Refused { doing, source } }
}

/// Whether a sync to the disk failed: SQLITE_IOERR_FSYNC or SQLITE_IOERR_DIR_FSYNC.
pub(super) fn is_failed_sync(error: &StoreError) -> bool {
    match error {
        StoreError::Away { source } => matches!(result_code(source), Some(1034 | 1290)),
        _ => false,
    }
}

fn result_code(error: &sqlx::Error) -> Option<u32> {
    error.as_database_error()?.code()?.parse().ok()
}
