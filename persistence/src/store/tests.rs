//! The store against a naive model in memory, in each database that it can be in.

mod batches;
mod exactly_once;
mod imported_legs;
mod keyed_export;
mod lists;
mod merged_runs;
mod patience;
mod postgres_server;
mod postgres_views;
mod rebuild;
mod replacements;
mod sqlite_file;
mod statements;
mod sums;
mod world;

use std::path::Path;
use std::sync::Arc;

use florin_tests::postgres::Postgres as Server;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Row, SqlSafeStr};
use tempfile::TempDir;
use uuid::Uuid;

use super::sqlite::{Sizes, Sqlite};
use super::{Database, Postgres, PostgresOptions, Store, StoreError, TakeOver};

/// The data directory that the stores of the tests belong to.
const DIRECTORY: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);

/// So small that a few hundred transfers fill many runs and blocks, and pages that look for rare ones end early.
const SMALL: Sizes = Sizes {
    run_transfers: 40,
    merged_transfers: 200,
    merged_rows: 7,
    block_transfers: 8,
    look_max: 30,
    wal_pages: 200_000,
    wal_pages_max: 200_000,
};

/// Makes each of these tests two: one for each database.
macro_rules! in_both {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::super::Kind::Sqlite).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::super::Kind::Postgres).await;
            })*
        }
    };
}
use in_both;

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Postgres,
}

/// Where the store of a test is.
enum Place {
    File(TempDir),
    Server { server: &'static Server, database: String },
}

impl Kind {
    /// A place where nothing is yet.
    fn place(self) -> Place {
        match self {
            Kind::Sqlite => Place::File(tempfile::tempdir().unwrap()),
            Kind::Postgres => {
                let server = Server::shared();
                Place::Server { server, database: server.create_database() }
            }
        }
    }
}

impl Place {
    /// Opens the store as its writer, whoever had it before.
    async fn open(&self) -> Store {
        match self {
            Place::File(directory) => open(directory.path()).await,
            Place::Server { server, database } => {
                let store = postgres(PostgresOptions::new(server.url(database)));
                store.claim(TakeOver::Force).await.unwrap();
                store
            }
        }
    }

    async fn execute(&self, sql: &'static str) {
        match self {
            Place::File(directory) => {
                let mut connection = raw(directory.path()).await;
                sqlx::query(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
            Place::Server { server, database } => {
                let _ = server.psql(database, &format!("SET search_path = florin; {sql}"));
            }
        }
    }

    async fn count(&self, sql: &'static str) -> i64 {
        match self {
            Place::File(directory) => {
                let mut connection = raw(directory.path()).await;
                let row = sqlx::query(sql.into_sql_str()).fetch_one(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                row.get(0)
            }
            Place::Server { server, database } => {
                let counted = server.psql(database, &format!("SET search_path = florin; {sql}"));
                counted.parse().unwrap()
            }
        }
    }
}

/// Not claimed yet.
fn postgres(options: PostgresOptions) -> Store {
    let postgres = Postgres::new(options, Some(DIRECTORY), SMALL).unwrap();
    Store { database: Database::Postgres(Arc::new(postgres)) }
}

async fn open_sized(path: &Path, sizes: Sizes) -> Result<Store, StoreError> {
    let sqlite = Sqlite::open(path, DIRECTORY, sizes).await?;
    Ok(Store { database: Database::Sqlite(Arc::new(sqlite)) })
}

async fn open(directory: &Path) -> Store {
    open_sized(&directory.join("store.sqlite"), SMALL).await.unwrap()
}

/// Merges runs a little further, so that what follows meets them in every state.
async fn merge_a_little(store: &Store) {
    for _ in 0..9 {
        store.tidy().await.unwrap();
    }
}

async fn raw(directory: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(directory.join("store.sqlite"))
        .create_if_missing(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}
