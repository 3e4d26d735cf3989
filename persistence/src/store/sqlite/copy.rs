//! A copy of the file that another process may be writing, as it is at one moment.

use std::path::Path;

use sqlx::Connection;
use sqlx::sqlite::Sqlite;
use uuid::Uuid;

use super::connect::{self, database_error};
use super::snapshot::begin;
use crate::store::error::StoreError;
use crate::store::rows::Checkpoint;

/// Copies the store of `directory` at `path` to the new file `to`, and says where the copy stands; nothing where there is no store yet. SQLite reads all
/// of it in one transaction, which waits for no writer and keeps none waiting. Not durable yet.
pub(in crate::store) async fn copy(
    path: &Path,
    directory: Uuid,
    to: &Path,
) -> Result<Option<Checkpoint>, StoreError> {
    connect::inspect(path, directory).await?;
    if !path.metadata().is_ok_and(|metadata| metadata.len() > 0) {
        return Ok(None);
    }
    let failed = |source| database_error("copying the store", source);
    let mut connection = connect::reader(path).await?;
    sqlx::query::<Sqlite>("VACUUM INTO ?")
        .bind(to.to_string_lossy().into_owned())
        .execute(&mut connection)
        .await
        .map_err(failed)?;
    connection.close().await.map_err(failed)?;
    let (connection, checkpoint) = begin(connect::reader(to).await?).await?;
    connection.close().await.map_err(failed)?;
    if checkpoint.is_rebuilding { Err(StoreError::Rebuilding) } else { Ok(Some(checkpoint)) }
}
