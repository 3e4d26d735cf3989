//! Becoming the one writer, as the essay in [`super`] says.

use std::time::Duration;

use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::connect::{Sessions, database_error, within, within_store};
use super::options::PostgresOptions;
use super::schema;
use crate::store::TakeOver;
use crate::store::error::StoreError;

const CLAIMING: &str = "claiming the store";
/// The functions of the views have bodies that older servers can not read.
const VERSION_MIN: i32 = 140_000;
/// How often a claim looks whether the writer before it is gone.
const POLL: Duration = Duration::from_millis(250);

/// The advisory lock that every session of the writer of this claim shares while it lives.
fn lock_key(directory: Uuid, epoch: u64) -> i64 {
    let mut bytes = [0; 24];
    bytes[..16].copy_from_slice(directory.as_bytes());
    bytes[16..].copy_from_slice(&epoch.to_be_bytes());
    xxh3_64(&bytes).cast_signed()
}

/// Shares the lock of a claim with this session, for as long as the session lives.
pub(super) async fn share_lock(
    connection: &mut PgConnection,
    directory: Uuid,
    epoch: u64,
) -> Result<(), StoreError> {
    // Tried and not waited for: only a claim against this one can be in the way, and the epoch decides that.
    sqlx::query("SELECT pg_try_advisory_lock_shared($1)")
        .bind(lock_key(directory, epoch))
        .execute(connection)
        .await
        .map(drop)
        .map_err(|source| database_error(CLAIMING, source))
}

/// A claim that is in force: its epoch, and the session that shows others that its writer lives.
pub(super) struct Claimed {
    pub(super) epoch: u64,
    pub(super) guard: PgConnection,
}

/// Takes the store over for `directory`, from whoever had it before.
pub(super) async fn claim(
    sessions: &Sessions,
    directory: Uuid,
    take_over: TakeOver,
) -> Result<Claimed, StoreError> {
    let limit = sessions.options.write_timeout;
    let mut guard = sessions.connect_writer().await?;
    within_store(limit, CLAIMING, inspect(&mut guard)).await?;
    let give_up = Instant::now() + sessions.options.claim_timeout;
    loop {
        match attempt(sessions, &mut guard, directory, take_over).await? {
            Attempt::Claimed(epoch) => return Ok(Claimed { epoch, guard }),
            // Somebody claimed in between.
            Attempt::Outrun => {}
            Attempt::Held { who } if Instant::now() >= give_up => {
                return Err(StoreError::ClaimedByOther { who });
            }
            Attempt::Held { .. } => tokio::time::sleep(POLL).await,
        }
    }
}

/// Refuses a database that can not hold a store; warns of a server that forgets.
async fn inspect(connection: &mut PgConnection) -> Result<(), StoreError> {
    let (version, encoding, fsync): (i32, String, String) = sqlx::query_as(
        "SELECT current_setting('server_version_num')::integer, current_setting('server_encoding'), current_setting('fsync')",
    )
    .fetch_one(connection)
    .await
    .map_err(|source| database_error(CLAIMING, source))?;
    if version < VERSION_MIN {
        let reason = format!("PostgreSQL 14 or newer is needed, and this is {}", version / 10_000);
        return Err(StoreError::Options { reason });
    }
    if encoding != "UTF8" {
        return Err(StoreError::NotUtf8 { found: encoding });
    }
    if fsync != "on" {
        tracing::warn!(
            "the PostgreSQL server runs with fsync = off: a power loss there loses or damages the store"
        );
    }
    Ok(())
}

enum Attempt {
    Claimed(u64),
    Held { who: String },
    Outrun,
}

async fn attempt(
    sessions: &Sessions,
    guard: &mut PgConnection,
    directory: Uuid,
    take_over: TakeOver,
) -> Result<Attempt, StoreError> {
    let PostgresOptions { schema, write_timeout: limit, .. } = &sessions.options;
    // A refused claim changes nothing, so everything that refuses comes before the schema is touched.
    let found = within_store(*limit, CLAIMING, find(guard, schema, directory)).await?;
    let held = within_store(*limit, CLAIMING, lock(guard, directory, found.epoch, take_over));
    if let Some(who) = held.await? {
        return Ok(Attempt::Held { who });
    }
    schema::migrate(guard, schema, found.version, *limit).await?;
    within_store(*limit, CLAIMING, take(guard, directory, found.epoch)).await
}

/// What stands there before a claim.
struct Found {
    version: Option<i64>,
    epoch: u64,
}

async fn find(
    guard: &mut PgConnection,
    schema: &str,
    directory: Uuid,
) -> Result<Found, StoreError> {
    let version = schema::version(guard, schema).await?;
    let epoch = match version {
        None => 0,
        Some(found) if found > schema::KNOWN => {
            return Err(StoreError::SchemaNewer { found, known: schema::KNOWN });
        }
        Some(_) => owner(guard, directory).await?,
    };
    Ok(Found { version, epoch })
}

/// Takes the lock of the claim before, or says who has it.
async fn lock(
    guard: &mut PgConnection,
    directory: Uuid,
    before: u64,
    take_over: TakeOver,
) -> Result<Option<String>, StoreError> {
    let key = lock_key(directory, before);
    let free: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
        .bind(key)
        .fetch_one(&mut *guard)
        .await
        .map_err(|source| database_error(CLAIMING, source))?;
    if !free {
        match take_over {
            TakeOver::WhenFree => return holder(guard, key).await.map(Some),
            TakeOver::Force => end_sessions(guard, key).await,
        }
    }
    Ok(None)
}

/// Becomes the writer, unless somebody else did meanwhile.
async fn take(
    guard: &mut PgConnection,
    directory: Uuid,
    before: u64,
) -> Result<Attempt, StoreError> {
    let failed = |source| database_error(CLAIMING, source);
    let mut transaction = guard.begin().await.map_err(failed)?;
    sqlx::query(
        "INSERT INTO checkpoint (ledger_uuid, epoch, seq, frame_hash, timestamp, metadata_indexed)
         VALUES ($1, 0, 0, $2, 0, true) ON CONFLICT DO NOTHING",
    )
    .bind(directory)
    .bind([0_u8; 16].as_slice())
    .execute(&mut *transaction)
    .await
    .map_err(failed)?;
    // Waits for a batch that is being committed.
    let claimed: Option<i64> = sqlx::query_scalar(
        "UPDATE checkpoint SET epoch = epoch + 1 WHERE ledger_uuid = $1 AND epoch = $2 RETURNING epoch",
    )
    .bind(directory)
    .bind(before.cast_signed())
    .fetch_optional(&mut *transaction)
    .await
    .map_err(failed)?;
    let Some(epoch) = claimed.map(i64::cast_unsigned) else {
        transaction.rollback().await.map_err(failed)?;
        sqlx::query("SELECT pg_advisory_unlock_all()").execute(guard).await.map_err(failed)?;
        return Ok(Attempt::Outrun);
    };
    // Held from before others can see the epoch that it belongs to.
    share_lock(&mut transaction, directory, epoch).await?;
    transaction.commit().await.map_err(failed)?;
    Ok(Attempt::Claimed(epoch))
}

/// The epoch in force, when the store is of this directory or of none yet.
async fn owner(connection: &mut PgConnection, expected: Uuid) -> Result<u64, StoreError> {
    let failed = |source| database_error(CLAIMING, source);
    let made: bool = sqlx::query_scalar("SELECT to_regclass('checkpoint') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    if !made {
        return Ok(0);
    }
    let row: Option<(Uuid, i64)> = sqlx::query_as("SELECT ledger_uuid, epoch FROM checkpoint")
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    match row {
        Some((found, _)) if found != expected => {
            Err(StoreError::ForeignDirectory { found, expected })
        }
        row => Ok(row.map_or(0, |(_, epoch)| epoch.cast_unsigned())),
    }
}

/// The sessions that hold a lock, but for one's own.
const HOLDERS: &str =
    "FROM pg_catalog.pg_locks l WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
     AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
     AND l.classid = (($1 >> 32) & 4294967295)::oid AND l.objid = ($1 & 4294967295)::oid
     AND l.pid <> pg_backend_pid()";

/// Who holds the lock, in words.
async fn holder(connection: &mut PgConnection, key: i64) -> Result<String, StoreError> {
    let sql = format!(
        "SELECT concat(coalesce(nullif(a.application_name, ''), 'a process without a name'),
            ' at ', coalesce(host(a.client_addr), 'the server itself'),
            ' (server process ', a.pid, ', connected since ', to_char(a.backend_start, 'YYYY-MM-DD\"T\"HH24:MI:SSOF'), ')')
         FROM pg_catalog.pg_stat_activity a WHERE a.pid IN (SELECT l.pid {HOLDERS}) ORDER BY a.backend_start LIMIT 1"
    );
    let who: Option<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .bind(key)
        .fetch_optional(connection)
        .await
        .map_err(|source| database_error(CLAIMING, source))?;
    Ok(who.unwrap_or_else(|| "a process that has just gone".to_owned()))
}

/// Ends the sessions of the writer that is taken over, so that a batch it is in the middle of holds nothing up. Its claim ends with the
/// epoch in any case, so failing here is no failure.
async fn end_sessions(connection: &mut PgConnection, key: i64) {
    let sql = format!("SELECT pg_terminate_backend(l.pid) {HOLDERS}");
    let ended = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(key).execute(connection).await;
    if let Err(error) = ended {
        tracing::warn!(%error, "the sessions of the writer that is taken over could not be ended");
    }
}

/// The session, if it still answers soon.
pub(super) async fn if_alive(limit: Duration, mut session: PgConnection) -> Option<PgConnection> {
    within(limit, CLAIMING, session.ping()).await.ok().map(|()| session)
}
