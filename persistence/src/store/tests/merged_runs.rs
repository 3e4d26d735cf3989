//! Runs of an SQLite file that became large ones answer as they did before.

use sqlx::Row;

use super::exactly_once::world_of;
use super::rebuild::ask;
use super::{SMALL, Store, StoreError, merge_a_little, open, raw};
use crate::store::JournalSeq;

/// What is sorted inside runs.
const LOOKUPS: [&str; 8] = [
    "decided_ids",
    "account_transfers",
    "transfers_by_user_data_128",
    "transfers_by_user_data_64",
    "transfers_by_user_data_32",
    "transfers_by_metadata",
    "settlements",
    "balance_history",
];

/// A store in which nothing was merged, with what it must answer.
async fn filled(store: &Store, world: &super::world::World) {
    let mut at = store.checkpoint().await.unwrap().seq;
    while at < world.seq() {
        let next = JournalSeq((at.0 + 3).min(world.seq().0));
        store.apply(&world.batch(at, next)).await.unwrap();
        at = next;
    }
}

async fn counts(directory: &std::path::Path, sql: String) -> Vec<i64> {
    let mut connection = raw(directory).await;
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn they_answer_the_same_after_each_step_whoever_makes_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let (world, _) = world_of(31, 150);
    let mut store = open(path).await;
    filled(&store, &world).await;
    let expected = ask(&store, &world).await;
    let transfers = || counts(path, "SELECT transfers FROM runs ORDER BY run".to_owned());
    let before = transfers().await;
    assert!(before.len() > 10, "{before:?}");
    let rows_of = async |condition: &str| {
        let mut rows = Vec::new();
        for table in LOOKUPS {
            rows.extend(counts(path, format!("SELECT count(*) FROM {table} {condition}")).await);
        }
        rows
    };
    let rows = rows_of("").await;
    assert!(rows.iter().all(|count| *count > 20), "each lookup has something to merge: {rows:?}");

    let mut steps = 0;
    while store.tidy().await.unwrap() {
        steps += 1;
        if steps % 11 == 0 {
            drop(store);
            store = open(path).await;
        }
        if steps % 5 == 0 {
            assert_eq!(ask(&store, &world).await, expected, "after {steps} steps");
        }
    }
    assert!(steps > 60, "small steps: {steps}");
    assert_eq!(ask(&store, &world).await, expected);
    assert_eq!(rows_of("").await, rows, "what was copied was removed");
    assert_eq!(rows_of("WHERE run NOT IN (SELECT run FROM runs)").await, [0; 8]);

    let after = transfers().await;
    assert_eq!(after.iter().sum::<i64>(), before.iter().sum::<i64>());
    let large = SMALL.merged_transfers.cast_signed();
    let small = after.iter().skip_while(|transfers| **transfers >= large);
    assert!(small.clone().all(|transfers| *transfers < large), "the large ones first: {after:?}");
    assert!(after.len() < before.len() / 2 && small.count() <= 6, "{before:?} became {after:?}");
    let counted = "SELECT (SELECT count(*) FROM decided_ids d WHERE d.run = r.run AND d.kind = 0) FROM runs r ORDER BY run";
    assert_eq!(counts(path, counted.to_owned()).await, after);
}

#[tokio::test]
async fn batches_between_the_steps_find_their_place() {
    let directory = tempfile::tempdir().unwrap();
    let (world, middle) = world_of(32, 120);
    let store = open(directory.path()).await;
    let mut at = JournalSeq(0);
    while at < world.seq() {
        at = at.next();
        store.apply(&world.batch(JournalSeq(at.0 - 1), at)).await.unwrap();
        merge_a_little(&store).await;
    }
    while store.tidy().await.unwrap() {}
    let alone = tempfile::tempdir().unwrap();
    let unmerged = open(alone.path()).await;
    filled(&unmerged, &world).await;
    assert_eq!(ask(&store, &world).await, ask(&unmerged, &world).await, "from {middle:?}");
}

#[tokio::test]
async fn who_lost_the_store_merges_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (world, _) = world_of(33, 60);
    let first = open(directory.path()).await;
    filled(&first, &world).await;
    assert!(first.tidy().await.unwrap());
    let mut other = raw(directory.path()).await;
    sqlx::query("UPDATE checkpoint SET epoch = epoch + 1").execute(&mut other).await.unwrap();
    let refused = first.tidy().await.unwrap_err();
    assert!(matches!(refused, StoreError::NotClaimed), "{refused}");
    let second = open(directory.path()).await;
    assert!(second.tidy().await.unwrap());
}
