//! What survives: restarts, lost stores and indexes, segments that went.

use std::time::Duration;

use florin_actors::{Florin, Options, WriteBehind, verify};
use florin_engine::TransferId;

use crate::bank::{TestBank, options, transfer};

/// Fills several of the small segments.
async fn busy(bank: &TestBank, from: u128, batches: u128) {
    for batch in 0..batches {
        let first = from + batch * 200;
        let transfers = (first..first + 200).map(|id| transfer(id, 1, 2, "0.01")).collect();
        assert_eq!(bank.batch(transfers, None).await.unwrap().exceptions, []);
    }
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let mut bank = TestBank::open();
    bank.accounts(2).await;
    assert_eq!(bank.transfer(1_000_000, 2, 1, "5").await, "exceeds_credits");
    busy(&bank, 1, 50).await;
    let before = bank.florin.positions();
    bank = bank.restart().await;
    assert_eq!(bank.florin.positions().durable, before.durable);
    assert_eq!(bank.balance(2).await, 10_000);
    assert_eq!(bank.transfer(17, 1, 2, "0.01").await, "exists");
    assert_eq!(bank.transfer(9_999, 1, 2, "0.02").await, "exists_with_different_amount");
    assert_eq!(bank.transfer(1_000_000, 2, 1, "5").await, "id_already_failed");
    let found = bank.florin.transfer(TransferId(9_999)).await.unwrap().value.unwrap();
    assert_eq!(found.transfer.amount.minor_units(), 1);
    bank.florin.stop().await;
    let report = verify(&bank.path(), None).await.unwrap();
    assert_eq!(report.accounts, 2);
    assert!(report.is_sealed);
}

#[tokio::test]
async fn the_index_takes_over_the_ids_of_sealed_segments() {
    let mut bank = TestBank::open();
    bank.accounts(2).await;
    busy(&bank, 1, 100).await;
    bank = bank.restart().await;
    // The housekeeping thread indexes all sealed segments as soon as it starts.
    let indexed = async {
        while bank.florin.positions().indexed.0 == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), indexed).await.unwrap();
    assert_eq!(bank.transfer(1, 1, 2, "0.01").await, "exists");
    assert_eq!(bank.transfer(2, 1, 2, "0.02").await, "exists_with_different_amount");
    bank.florin.stop().await;
    let report = verify(&bank.path(), None).await.unwrap();
    assert!(report.indexed_seq.0 > 0);
}

#[tokio::test]
async fn a_paused_store_catches_up_later() {
    let bank =
        TestBank::open_with(|options| Options { write_behind: WriteBehind::Paused, ..options });
    bank.accounts(2).await;
    busy(&bank, 1, 20).await;
    assert_eq!(bank.florin.positions().stored.0, 0);
    let found = bank.florin.transfer(TransferId(5)).await.unwrap();
    assert_eq!(found.value.unwrap().transfer.amount.minor_units(), 1, "read from the journal");
    let bank = bank.restart().await;
    let durable = bank.florin.positions().durable;
    assert!(bank.florin.wait_stored(durable, Duration::from_secs(20)).await);
    bank.florin.stop().await;
    let report = verify(&bank.path(), None).await.unwrap();
    assert_eq!((report.stored_seq, report.stored_transfers), (report.last_seq, 4_000));
}

#[tokio::test]
async fn a_store_that_was_lost_is_filled_again_from_a_whole_journal() {
    let bank = TestBank::open();
    bank.accounts(2).await;
    busy(&bank, 1, 5).await;
    bank.florin.stop().await;
    for name in ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm"] {
        let _ = std::fs::remove_file(bank.path().join(name));
    }
    let florin = Florin::open(options(bank.path())).unwrap();
    let durable = florin.positions().durable;
    assert!(florin.wait_stored(durable, Duration::from_secs(20)).await);
    florin.stop().await;
    assert_eq!(verify(&bank.path(), None).await.unwrap().stored_transfers, 1_000);
}

#[tokio::test]
async fn damage_is_refused_and_found_by_verify() {
    let bank = TestBank::open();
    bank.accounts(2).await;
    busy(&bank, 1, 5).await;
    bank.florin.stop().await;
    let segment = bank.path().join("journal").join("00000000000000000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[6_000] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let error = Florin::open(options(bank.path())).err().unwrap().to_string();
    assert!(error.contains("00000000000000000001.seg"), "{error}");
    let error = verify(&bank.path(), None).await.unwrap_err().to_string();
    assert!(error.contains("00000000000000000001.seg"), "{error}");
}
