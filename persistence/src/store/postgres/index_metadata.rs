//! Metadata that was stored before it had lookups gets them, once, when a newer program claims the store.

use std::time::Duration;

use florin_engine::{JournalSeq, Timestamp};
use sqlx::postgres::PgConnection;

use super::apply::{Claim, execute, fetch_all};
use super::columns::{Reader, bigint};
use super::connect::within;
use super::copy::Writer;
use super::metadata::{append_account_entries, append_transfer_entries};
use super::snapshot::Sql;
use crate::store::columns::Columns;
use crate::store::entries::entries;
use crate::store::error::StoreError;

const DOING: &str = "indexing metadata";
/// So many rows with metadata are held in memory at once.
const CHUNK_ROWS: u32 = 4096;

/// Whether nothing is left to do.
pub(super) async fn is_done(
    connection: &mut PgConnection,
    limit: Duration,
) -> Result<bool, StoreError> {
    let done = sqlx::query_scalar("SELECT metadata_indexed FROM checkpoint");
    within(limit, DOING, done.fetch_one(connection)).await
}

/// The caller has begun the SQL transaction.
pub(super) async fn index(writer: &mut Writer, claim: &Claim) -> Result<(), StoreError> {
    let mut sql = Sql::new("UPDATE checkpoint SET metadata_indexed = true WHERE epoch = ");
    sql.bind(bigint(claim.epoch, "epoch")?).push(" AND NOT metadata_indexed");
    // Somebody else has taken over, which the first batch finds out.
    if execute(writer, DOING, sql).await?.rows_affected() != 1 {
        return Ok(());
    }
    // Rows with metadata may be far apart.
    writer.be_patient().await?;
    let mut at = -1;
    while let Some(chunk) = chunk(writer, "accounts", "0", at).await? {
        at = chunk.last;
        append_account_entries(writer, chunk.entries(|(_, entry, at)| (entry, at))).await?;
    }
    let mut at = -1;
    while let Some(chunk) = chunk(writer, "transfers", "run", at).await? {
        at = chunk.last;
        append_transfer_entries(writer, chunk.entries(|entry| entry)).await?;
    }
    Ok(())
}

/// The lookups of accounts whose metadata was replaced after this position, and stands there again.
pub(super) async fn index_restored(
    writer: &mut Writer,
    position: JournalSeq,
) -> Result<(), StoreError> {
    let restored = format!(
        "(SELECT timestamp, metadata_text FROM accounts
          WHERE id IN (SELECT account_id FROM replaced_metadata WHERE seq > {})) AS restored",
        position.0
    );
    let mut at = -1;
    while let Some(chunk) = chunk(writer, &restored, "0", at).await? {
        at = chunk.last;
        append_account_entries(writer, chunk.entries(|(_, entry, at)| (entry, at))).await?;
    }
    Ok(())
}

struct Chunk {
    last: i64,
    rows: Vec<(i32, Timestamp, String)>,
}

impl Chunk {
    /// The entries of all its rows, with their run and time.
    fn entries<T>(self, show: impl Fn((i32, i64, Timestamp)) -> T) -> Vec<T> {
        let of_row = |(run, at, text): (i32, Timestamp, String)| {
            entries(&text).into_iter().map(move |entry| (run, entry, at))
        };
        self.rows.into_iter().flat_map(of_row).map(show).collect()
    }
}

/// The next rows with metadata after `after`; none when there are no more.
async fn chunk(
    writer: &mut Writer,
    table: &str,
    run: &str,
    after: i64,
) -> Result<Option<Chunk>, StoreError> {
    let mut sql = Sql::new(&format!(
        "SELECT timestamp, {run}, metadata_text FROM {table}
         WHERE metadata_text IS NOT NULL AND timestamp > "
    ));
    sql.bind(after).push(" ORDER BY timestamp LIMIT ").bind(CHUNK_ROWS);
    let mut rows = Vec::new();
    for row in fetch_all(writer, DOING, sql).await? {
        let mut columns = Reader::new(&row);
        let timestamp = Timestamp(columns.u64("timestamp")?);
        let run = i32::try_from(columns.u32("run")?)
            .map_err(|_| StoreError::Unreadable { what: "run" })?;
        rows.push((run, timestamp, columns.text("metadata")?));
    }
    Ok(rows.last().map(|last| last.1.0.cast_signed()).map(|last| Chunk { last, rows }))
}
