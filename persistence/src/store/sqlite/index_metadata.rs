//! Metadata that was stored before it had lookups gets them, once, when a newer program opens the file.

use florin_engine::{JournalSeq, Timestamp};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection};

use super::apply::{execute, insert_account_entries, insert_transfer_entries};
use super::columns::Reader;
use super::connect::database_error;
use super::snapshot::Sql;
use crate::store::columns::Columns;
use crate::store::entries::entries;
use crate::store::error::StoreError;

const DOING: &str = "indexing metadata";
/// So many rows with metadata are held in memory at once.
const CHUNK_ROWS: u32 = 4096;

/// In one SQL transaction, with the mark that it was done.
pub(super) async fn index(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let failed = |source| database_error(DOING, source);
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let mut at = 0;
    while let Some(chunk) = chunk(&mut transaction, "accounts", at, i64::MAX).await? {
        at = chunk.last;
        insert_account_entries(&mut transaction, chunk.entries).await?;
    }
    let runs = sqlx::query("SELECT run, first_timestamp, last_timestamp FROM runs ORDER BY run")
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed)?;
    for row in runs {
        let mut columns = Reader::new(&row);
        let run = i64::from(columns.u32("run")?);
        let mut at = columns.u64("first_timestamp")?.saturating_sub(1).cast_signed();
        let last = columns.u64("last_timestamp")?.cast_signed();
        while let Some(chunk) = chunk(&mut transaction, "transfers", at, last).await? {
            at = chunk.last;
            insert_transfer_entries(&mut transaction, run, chunk.entries).await?;
        }
    }
    execute(&mut transaction, DOING, Sql::new("UPDATE checkpoint SET metadata_indexed = 1"))
        .await?;
    transaction.commit().await.map_err(failed)
}

/// The lookups of accounts whose metadata was replaced after this position, and stands there again.
pub(super) async fn index_restored(
    connection: &mut SqliteConnection,
    position: JournalSeq,
) -> Result<(), StoreError> {
    let restored = format!(
        "(SELECT timestamp, metadata FROM accounts
          WHERE id IN (SELECT account_id FROM replaced_metadata WHERE seq > {})) AS restored",
        position.0
    );
    let mut at = 0;
    while let Some(chunk) = chunk(connection, &restored, at, i64::MAX).await? {
        at = chunk.last;
        insert_account_entries(connection, chunk.entries).await?;
    }
    Ok(())
}

struct Chunk {
    last: i64,
    entries: Vec<(i64, Timestamp)>,
}

/// The next rows with metadata after `after` up to `last`; none when there are no more.
async fn chunk(
    connection: &mut SqliteConnection,
    table: &str,
    after: i64,
    last: i64,
) -> Result<Option<Chunk>, StoreError> {
    let mut sql = Sql::new("SELECT timestamp, metadata FROM ");
    sql.push(table).push(" WHERE timestamp > ? AND timestamp <= ? AND metadata IS NOT NULL");
    sql.push(" ORDER BY timestamp LIMIT ?").bind(after).bind(last).bind(CHUNK_ROWS);
    let (text, arguments) = sql.into_parts();
    let rows = sqlx::query_with(AssertSqlSafe(text), arguments)
        .fetch_all(connection)
        .await
        .map_err(|source| database_error(DOING, source))?;
    let mut found = None;
    for row in &rows {
        let mut columns = Reader::new(row);
        let timestamp = Timestamp(columns.u64("timestamp")?);
        let of_row = entries(&columns.text("metadata")?);
        let chunk = found.get_or_insert(Chunk { last: 0, entries: Vec::new() });
        chunk.last = timestamp.0.cast_signed();
        chunk.entries.extend(of_row.into_iter().map(|entry| (entry, timestamp)));
    }
    Ok(found)
}
