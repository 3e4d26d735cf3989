//! What the store has, asked beside the server that fills it.

use std::path::Path;

use florin_tests::postgres::Postgres;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Row};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::book::{Movement, digest};

/// Rows that are read at once.
const PAGE: i64 = 50_000;

/// Which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreKind {
    Sqlite,
    Postgres,
}

/// A connection to it.
pub(crate) struct Stored {
    runtime: Runtime,
    place: Place,
}

enum Place {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// All transfers in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) count: u64,
    /// The sum of [`digest`].
    pub(crate) digest: u128,
}

impl Stored {
    /// The file in a data directory.
    pub(crate) fn sqlite(data_dir: &Path) -> Result<Stored, sqlx::Error> {
        let runtime = runtime()?;
        let options = SqliteConnectOptions::new().filename(data_dir.join("store.sqlite"));
        let connection = runtime.block_on(options.read_only(true).connect())?;
        Ok(Stored { runtime, place: Place::Sqlite(connection) })
    }

    /// A database of a server.
    pub(crate) fn postgres(postgres: &Postgres, database: &str) -> Result<Stored, sqlx::Error> {
        let runtime = runtime()?;
        let connection = runtime.block_on(PgConnection::connect(&postgres.url(database)))?;
        Ok(Stored { runtime, place: Place::Postgres(connection) })
    }

    /// How many transfers it says that it has, in all its runs.
    pub(crate) fn count(&mut self) -> Result<u64, sqlx::Error> {
        let count: i64 = match &mut self.place {
            Place::Sqlite(connection) => {
                let sql = "SELECT coalesce(sum(transfers), 0) FROM runs";
                self.runtime.block_on(sqlx::query_scalar(sql).fetch_one(connection))?
            }
            Place::Postgres(connection) => {
                let sql = "SELECT coalesce(sum(transfers), 0)::bigint FROM florin.runs";
                self.runtime.block_on(sqlx::query_scalar(sql).fetch_one(connection))?
            }
        };
        Ok(count as u64)
    }

    /// Bytes of the database where it is no file of the data directory.
    pub(crate) fn bytes(&mut self) -> Result<u64, sqlx::Error> {
        let Place::Postgres(connection) = &mut self.place else { return Ok(0) };
        let sql = "SELECT pg_database_size(current_database())";
        let bytes: i64 = self.runtime.block_on(sqlx::query_scalar(sql).fetch_one(connection))?;
        Ok(bytes as u64)
    }

    /// Reads every transfer.
    pub(crate) fn rows(&mut self) -> Result<Rows, sqlx::Error> {
        let (mut rows, mut after) = (Rows::default(), 0);
        loop {
            let page = self.page(after)?;
            let Some((_, last)) = page.last() else { return Ok(rows) };
            after = *last;
            for (movement, timestamp) in page {
                rows.count += 1;
                rows.digest = rows.digest.wrapping_add(digest(&movement, timestamp as u64));
            }
        }
    }

    fn page(&mut self, after: i64) -> Result<Vec<(Movement, i64)>, sqlx::Error> {
        match &mut self.place {
            Place::Sqlite(connection) => {
                let sql = "SELECT timestamp, id, debit_account_id, credit_account_id, amount
                           FROM transfers WHERE timestamp > ? ORDER BY timestamp LIMIT ?";
                let query = sqlx::query(sql).bind(after).bind(PAGE).fetch_all(connection);
                let rows = self.runtime.block_on(query)?;
                rows.iter()
                    .map(|row| {
                        let id = Uuid::from_slice(row.try_get(1)?).unwrap_or_default().as_u128();
                        let number = |at| row.try_get::<i64, usize>(at).map(|it| it as u64);
                        let (debit, credit, amount) = (number(2)?, number(3)?, number(4)?);
                        Ok((Movement { id, debit, credit, amount }, row.try_get(0)?))
                    })
                    .collect()
            }
            Place::Postgres(connection) => {
                let sql = r#"SELECT "timestamp", id, debit_account_id, credit_account_id, amount::bigint
                             FROM florin.transfers WHERE "timestamp" > $1 ORDER BY 1 LIMIT $2"#;
                let query = sqlx::query(sql).bind(after).bind(PAGE).fetch_all(connection);
                let rows = self.runtime.block_on(query)?;
                rows.iter()
                    .map(|row| {
                        let id = |at| row.try_get::<Uuid, usize>(at).map(|it| it.as_u128());
                        let (debit, credit) = (id(2)? as u64, id(3)? as u64);
                        let amount = row.try_get::<i64, usize>(4)? as u64;
                        Ok((Movement { id: id(1)?, debit, credit, amount }, row.try_get(0)?))
                    })
                    .collect()
            }
        }
    }
}

fn runtime() -> Result<Runtime, sqlx::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(sqlx::Error::Io)
}
