//! The store against a naive model in memory.

mod exactly_once;
mod lists;
mod sqlite_file;
mod world;

use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use super::sqlite::{Sizes, Sqlite};
use super::{Database, Store, StoreError};

/// The data directory that the stores of the tests belong to.
const DIRECTORY: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);

/// So small that a few hundred transfers fill many runs and blocks.
const SMALL: Sizes = Sizes { run_transfers: 40, block_transfers: 8, wal_pages: 200_000 };

async fn open_sized(path: &Path, sizes: Sizes) -> Result<Store, StoreError> {
    let sqlite = Sqlite::open(path, DIRECTORY, sizes).await?;
    Ok(Store { database: Database::Sqlite(Arc::new(sqlite)) })
}

async fn open(directory: &Path) -> Store {
    open_sized(&directory.join("store.sqlite"), SMALL).await.unwrap()
}
