//! What callers say of accounts and transfers in their own words: how it is found, and how it is replaced.

use std::collections::{BTreeMap, BTreeSet};

use florin_engine::{AccountId, Metadata, Timestamp};
use sqlx::postgres::PgRow;

use super::apply::{execute, fetch_all, metadata};
use super::binary::{Array, Binary, Kind};
use super::columns::{Reader, bigint};
use super::copy::{Table, Writer};
use super::snapshot::Sql;
use crate::store::batch::{MetadataRow, StoreBatch, entries_of};
use crate::store::columns::Columns;
use crate::store::error::StoreError;

/// What the metadata of accounts is found by.
pub(super) async fn append_account_entries(
    writer: &mut Writer,
    entries: Vec<(i64, Timestamp)>,
) -> Result<(), StoreError> {
    let table = Table {
        name: "accounts_by_metadata",
        columns: &[("entry", Kind::Bigint), ("timestamp", Kind::Bigint)],
        doing: "indexing metadata",
    };
    writer
        .append(&table, &entries, |(entry, timestamp), row| {
            row.bigint(*entry).bigint(bigint(timestamp.0, "timestamp")?);
            Ok(())
        })
        .await
}

/// What the metadata of transfers is found by: run, entry and time.
pub(super) async fn append_transfer_entries(
    writer: &mut Writer,
    entries: Vec<(i32, i64, Timestamp)>,
) -> Result<(), StoreError> {
    let table = Table {
        name: "transfers_by_metadata",
        columns: &[("entry", Kind::Bigint), ("timestamp", Kind::Bigint), ("run", Kind::Integer)],
        doing: "indexing metadata",
    };
    writer
        .append(&table, &entries, |(run, entry, timestamp), row| {
            row.bigint(*entry).bigint(bigint(timestamp.0, "timestamp")?).integer(*run);
            Ok(())
        })
        .await
}

/// What stands as the metadata of an account, and the time under which it is found.
#[derive(Clone)]
struct Described {
    created: Timestamp,
    metadata: Option<Metadata>,
}

type Descriptions = BTreeMap<AccountId, Described>;

/// Puts new metadata in the place of what stands there, which is kept. A few statements, however many accounts there are.
pub(super) async fn replace_metadata(
    writer: &mut Writer,
    batch: &StoreBatch,
) -> Result<(), StoreError> {
    if !batch.metadata.is_empty() {
        let before = descriptions(writer, &batch.metadata).await?;
        let mut after = before.clone();
        let mut kept = Vec::with_capacity(batch.metadata.len());
        for row in &batch.metadata {
            let missing = "metadata of an account that does not exist";
            let missing = StoreError::Unreadable { what: missing };
            let account = after.get_mut(&row.account).ok_or(missing)?;
            let metadata = std::mem::replace(&mut account.metadata, row.metadata.clone());
            kept.push(MetadataRow { metadata, ..*row });
        }
        remove_account_entries(writer, entries_of_accounts(&before)).await?;
        write_metadata(writer, &after).await?;
        append_account_entries(writer, entries_of_accounts(&after)).await?;
        keep_replaced(writer, &kept).await?;
    }
    keep_replaced(writer, &batch.replaced).await
}

/// The accounts whose metadata is replaced, as they stand.
async fn descriptions(
    writer: &mut Writer,
    replaced: &[MetadataRow],
) -> Result<Descriptions, StoreError> {
    let accounts: BTreeSet<AccountId> = replaced.iter().map(|row| row.account).collect();
    let mut ids = Array::new(Kind::Uuid, accounts.len());
    for account in accounts {
        ids.next().id(account.0);
    }
    let mut sql = Sql::new(
        "SELECT id, timestamp, metadata_text, metadata_digest FROM accounts WHERE id = ANY(",
    );
    sql.bind(ids).push(")");
    let rows = fetch_all(writer, "replacing metadata", sql).await?;
    let described = |row: &PgRow| -> Result<(AccountId, Described), StoreError> {
        let mut columns = Reader::new(row);
        let id = AccountId(columns.id("id")?);
        let created = Timestamp(columns.u64("timestamp")?);
        Ok((id, Described { created, metadata: columns.metadata()? }))
    };
    rows.iter().map(described).collect()
}

/// What their metadata is found by.
fn entries_of_accounts(accounts: &Descriptions) -> Vec<(i64, Timestamp)> {
    entries_of(accounts.values().map(|it| (it.metadata.as_ref(), it.created)))
}

async fn remove_account_entries(
    writer: &mut Writer,
    entries: Vec<(i64, Timestamp)>,
) -> Result<(), StoreError> {
    let mut columns = [Kind::Bigint; 2].map(|kind| Array::new(kind, entries.len()));
    for (entry, created) in entries {
        let [removed, times] = &mut columns;
        removed.next().bigint(entry);
        times.next().bigint(bigint(created.0, "timestamp")?);
    }
    let mut sql = Sql::new("DELETE FROM accounts_by_metadata m USING (");
    sql.push_unnested(columns);
    sql.push(") AS r (entry, timestamp) WHERE m.entry = r.entry AND m.timestamp = r.timestamp");
    execute(writer, "replacing metadata", sql).await.map(drop)
}

async fn write_metadata(writer: &mut Writer, accounts: &Descriptions) -> Result<(), StoreError> {
    let kinds = [Kind::Uuid, Kind::Bigint, Kind::Text, Kind::Jsonb];
    let mut columns = kinds.map(|kind| Array::new(kind, accounts.len()));
    let mut row = Binary::default();
    for (id, described) in accounts {
        row.clear();
        row.id(id.0);
        metadata(&mut row, described.metadata.as_ref());
        for (array, field) in columns.iter_mut().zip(row.fields()) {
            array.next().raw(field);
        }
    }
    let mut sql = Sql::new(
        "UPDATE accounts a SET metadata_digest = r.digest, metadata_text = r.text, metadata = r.json FROM (",
    );
    sql.push_unnested(columns);
    sql.push(") AS r (id, digest, text, json) WHERE a.id = r.id");
    execute(writer, "replacing metadata", sql).await.map(drop)
}

/// What stood there before.
async fn keep_replaced(writer: &mut Writer, rows: &[MetadataRow]) -> Result<(), StoreError> {
    let table = Table {
        name: "replaced_metadata",
        columns: &[
            ("seq", Kind::Bigint),
            ("timestamp", Kind::Bigint),
            ("account_id", Kind::Uuid),
            ("metadata_digest", Kind::Bigint),
            ("metadata_text", Kind::Text),
            ("metadata", Kind::Jsonb),
        ],
        doing: "inserting replaced metadata",
    };
    writer
        .append(&table, rows, |replaced, row| {
            row.bigint(bigint(replaced.seq.0, "seq")?)
                .bigint(bigint(replaced.timestamp.0, "timestamp")?)
                .id(replaced.account.0);
            metadata(row, replaced.metadata.as_ref());
            Ok(())
        })
        .await
}
