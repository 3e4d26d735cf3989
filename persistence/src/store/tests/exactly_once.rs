//! Applied once, whole or not at all, wherever it is interrupted.

use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::task::Poll;

use florin_engine::{Event, JournalSeq, LedgerId};

use super::world::{World, frame_hash};
use super::{Kind, SMALL, in_both, open, open_sized, raw};
use crate::store::sqlite::Sizes;
use crate::store::{
    Order, OutOfOrder, PageRequest, Store, StoreBatch, StoreError, StoreErrorKind, TransferFilter,
};

in_both! {
    a_batch_is_applied_where_the_store_stands_and_nowhere_else,
    a_writer_that_lost_its_claim_writes_nothing,
    rows_that_can_not_be_are_refused_with_the_whole_batch,
}

/// The store holds exactly what the records up to its checkpoint say. Gives the checkpoint.
pub(super) async fn check_whole(world: &World, store: &Store) -> JournalSeq {
    let checkpoint = store.checkpoint().await.unwrap();
    assert_eq!(checkpoint.frame_hash, frame_hash(checkpoint.seq));
    let mut cursor = None;
    let mut shown = Vec::new();
    loop {
        let request = PageRequest { limit: 1000, order: Order::OldestFirst, cursor };
        let page = store.transfers(&TransferFilter::default(), &request).await.unwrap();
        assert_eq!(page.as_of, checkpoint.seq);
        shown.extend(page.data);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let expected = world.transfers_at(checkpoint.seq);
    assert_eq!(shown, expected);
    for (seq, record, keyed) in &world.records {
        let keyed = keyed.clone().filter(|_| *seq <= checkpoint.seq);
        assert_eq!(store.keyed_record(*seq).await.unwrap().value, keyed);
        for event in &record.events {
            if let Event::AccountCreated(created) = event {
                let found = store.account(created.id).await.unwrap().value;
                assert_eq!(found.is_some(), *seq <= checkpoint.seq);
            }
        }
    }
    checkpoint.seq
}

pub(super) fn world_of(seed: u64, commands: usize) -> (World, JournalSeq) {
    let mut world = World::new(seed);
    for _ in 0..commands {
        world.command();
    }
    let first = world.seq();
    for _ in 0..commands {
        world.command();
    }
    (world, first)
}

async fn a_batch_is_applied_where_the_store_stands_and_nowhere_else(kind: Kind) {
    let place = kind.place();
    let (world, middle) = world_of(1, 20);
    let store = place.open().await;
    assert_eq!(store.checkpoint().await.unwrap().seq, JournalSeq::NONE);
    let first = world.batch(JournalSeq::NONE, middle);
    let second = world.batch(middle, world.seq());

    let gap = store.apply(&second).await.unwrap_err();
    assert!(
        matches!(gap, StoreError::NotAtCheckpoint { after, found: JournalSeq::NONE } if after == middle),
        "{gap}"
    );
    assert_eq!(gap.kind(), StoreErrorKind::Permanent);
    assert_eq!(place.count("SELECT count(*) FROM transfers").await, 0);

    store.apply(&first).await.unwrap();
    assert_eq!(check_whole(&world, &store).await, middle);
    let twice = store.apply(&first).await.unwrap_err();
    assert!(
        matches!(twice, StoreError::NotAtCheckpoint { found, .. } if found == middle),
        "{twice}"
    );
    assert_eq!(check_whole(&world, &store).await, middle);

    store.apply(&second).await.unwrap();
    assert_eq!(check_whole(&world, &store).await, world.seq());
    store.apply(&StoreBatch::new(JournalSeq(3))).await.unwrap();
    assert_eq!(check_whole(&world, &store).await, world.seq());
}

#[tokio::test]
async fn a_batch_takes_records_in_order_only() {
    let (world, _) = world_of(1, 2);
    let mut batch = StoreBatch::new(JournalSeq(5));
    let (_, record, _) = &world.records[0];
    let refused = batch.push(JournalSeq(7), record.clone(), None);
    assert_eq!(refused, Err(OutOfOrder { upto: JournalSeq(5), given: JournalSeq(7) }));
    assert!(batch.is_empty());
    batch.push(JournalSeq(6), record.clone(), None).unwrap();
    assert_eq!((batch.after(), batch.upto()), (JournalSeq(5), JournalSeq(6)));
}

async fn a_writer_that_lost_its_claim_writes_nothing(kind: Kind) {
    let place = kind.place();
    let (world, middle) = world_of(2, 10);
    let store = place.open().await;
    store.apply(&world.batch(JournalSeq::NONE, middle)).await.unwrap();
    place.execute("UPDATE checkpoint SET epoch = epoch + 1").await;
    let error = store.apply(&world.batch(middle, world.seq())).await.unwrap_err();
    match kind {
        Kind::Sqlite => assert!(matches!(error, StoreError::NotAtCheckpoint { .. }), "{error}"),
        Kind::Postgres => {
            assert!(matches!(error, StoreError::Fenced { ours: 1, found: 2 }), "{error}");
            assert_eq!(error.kind(), StoreErrorKind::Fenced);
        }
    }
    assert_eq!(check_whole(&world, &store).await, middle);
    // Opened anew, it holds the new claim.
    let store = place.open().await;
    store.apply(&world.batch(middle, world.seq())).await.unwrap();
    assert_eq!(check_whole(&world, &store).await, world.seq());
}

/// Drops `apply` after it was polled `polls` times; true when it ended before.
pub(super) async fn apply_interrupted(store: &Store, batch: &StoreBatch, polls: usize) -> bool {
    let mut applying = pin!(store.apply(batch));
    let mut polled = 0;
    poll_fn(|context| {
        if polled == polls {
            return Poll::Ready(false);
        }
        polled += 1;
        applying.as_mut().poll(context).map(|applied| {
            applied.unwrap();
            true
        })
    })
    .await
}

/// What a crash would leave: the files as they are, without the shared memory.
fn crash_image(from: &Path, to: &Path) {
    for file in ["store.sqlite", "store.sqlite-wal"] {
        if from.join(file).exists() {
            std::fs::copy(from.join(file), to.join(file)).unwrap();
        }
    }
}

#[tokio::test]
async fn a_batch_interrupted_anywhere_is_there_whole_or_not_at_all() {
    let (world, middle) = world_of(3, 12);
    let first = world.batch(JournalSeq::NONE, middle);
    let second = world.batch(middle, world.seq());
    let (mut interrupted, mut polls) = (0, 1);
    loop {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path()).await;
        store.apply(&first).await.unwrap();
        let ended = apply_interrupted(&store, &second, polls).await;

        // A crash at this moment.
        let image = tempfile::tempdir().unwrap();
        crash_image(directory.path(), image.path());
        let recovered = open(image.path()).await;
        let at = check_whole(&world, &recovered).await;
        assert!(at == middle || at == world.seq(), "{at:?}");
        if at == middle {
            recovered.apply(&second).await.unwrap();
        }
        assert_eq!(check_whole(&world, &recovered).await, world.seq());

        // The same process goes on with what the checkpoint says.
        interrupted += usize::from(!ended);
        let at = check_whole(&world, &store).await;
        match store.apply(&second).await {
            Ok(()) => assert!(!ended),
            Err(StoreError::NotAtCheckpoint { found, .. }) => assert_eq!(found, world.seq()),
            Err(other) => panic!("{other} at {at:?}"),
        }
        assert_eq!(check_whole(&world, &store).await, world.seq());
        if ended {
            break;
        }
        polls += 1;
    }
    assert!(interrupted > 10, "interrupted between statements: {interrupted}");
}

async fn rows_that_can_not_be_are_refused_with_the_whole_batch(kind: Kind) {
    let place = kind.place();
    let (world, middle) = world_of(4, 10);
    let store = place.open().await;
    store.apply(&world.batch(JournalSeq::NONE, middle)).await.unwrap();
    let check = async |change: fn(&mut World)| {
        let (mut bad, _) = world_of(4, 10);
        change(&mut bad);
        let error = store.apply(&bad.batch(middle, bad.seq())).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Permanent, "{error:?}");
        assert_eq!(check_whole(&world, &store).await, middle);
    };
    fn last_transfers(world: &mut World) -> impl Iterator<Item = &mut florin_engine::Transfer> {
        world
            .records
            .iter_mut()
            .rev()
            .flat_map(|(_, record, _)| record.events.iter_mut())
            .filter_map(|event| match event {
                Event::TransferPosted(posted) => Some(&mut posted.transfer),
                _ => None,
            })
    }
    // An id twice.
    check(|world| {
        let id = last_transfers(world).nth(1).unwrap().id;
        last_transfers(world).next().unwrap().id = id;
    })
    .await;
    // A time that was there before.
    check(|world| {
        let timestamp = world.transfers[0].transfer.timestamp;
        last_transfers(world).next().unwrap().timestamp = timestamp;
    })
    .await;
    // A time that no signed number holds.
    check(|world| last_transfers(world).next().unwrap().timestamp.0 = 1 << 63).await;
    // Totals of a ledger that does not exist.
    check(|world| {
        let (_, record, _) = world
            .records
            .iter_mut()
            .rev()
            .find(|(_, record, _)| !record.ledgers.is_empty())
            .unwrap();
        record.ledgers[0].id = LedgerId(77);
    })
    .await;
    store.apply(&world.batch(middle, world.seq())).await.unwrap();
    assert_eq!(check_whole(&world, &store).await, world.seq());
}

#[tokio::test]
async fn a_busy_file_is_a_passing_error() {
    let directory = tempfile::tempdir().unwrap();
    let (world, middle) = world_of(5, 3);
    let store = open(directory.path()).await;
    let mut other = raw(directory.path()).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let batch = world.batch(JournalSeq::NONE, middle);
    let error = store.apply(&batch).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Passing, "{error:?}");
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    store.apply(&batch).await.unwrap();
    assert_eq!(check_whole(&world, &store).await, middle);
}

#[tokio::test]
async fn a_sync_covers_what_was_applied_also_while_somebody_reads() {
    let directory = tempfile::tempdir().unwrap();
    let (world, middle) = world_of(6, 10);
    let store = open(directory.path()).await;
    assert_eq!(store.sync().await.unwrap(), JournalSeq::NONE);
    store.apply(&world.batch(JournalSeq::NONE, middle)).await.unwrap();
    assert_eq!(store.sync().await.unwrap(), middle);
    let mut reader = raw(directory.path()).await;
    sqlx::query("BEGIN").execute(&mut reader).await.unwrap();
    let seen = "SELECT seq FROM checkpoint";
    let before: i64 = sqlx::query_scalar(seen).fetch_one(&mut reader).await.unwrap();
    store.apply(&world.batch(middle, world.seq())).await.unwrap();
    assert_eq!(store.sync().await.unwrap(), world.seq());
    let after: i64 = sqlx::query_scalar(seen).fetch_one(&mut reader).await.unwrap();
    assert_eq!(before, after, "the reader keeps its snapshot");
}

#[tokio::test]
async fn the_wal_is_copied_when_it_has_grown() {
    let (world, middle) = world_of(7, 10);
    for (wal_pages, wal_pages_max, copied, then) in
        [(1, 1, true, true), (1, 200_000, false, true), (200_000, 200_000, false, false)]
    {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.sqlite");
        let store = open_sized(&path, Sizes { wal_pages, wal_pages_max, ..SMALL }).await.unwrap();
        store.apply(&world.batch(JournalSeq::NONE, middle)).await.unwrap();
        let mut connection = raw(directory.path()).await;
        for copied in [copied, then] {
            let (_, log, done): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(NOOP)")
                .fetch_one(&mut connection)
                .await
                .unwrap();
            assert_eq!(log == done, copied, "{log} pages, {done} copied");
            store.tidy().await.unwrap();
        }
    }
}
