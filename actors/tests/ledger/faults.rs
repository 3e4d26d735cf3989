//! A disk that fails, and a disk that fills.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use florin_actors::{Condition, Options, SubmitError};
use florin_persistence::disk::Disk;
use florin_persistence::disk::faulty::{FaultyDisk, Op};

use crate::bank::{TestBank, transfer};

fn bank_on(faulty: &FaultyDisk) -> TestBank {
    let disk: Arc<dyn Disk> = Arc::new(faulty.clone());
    TestBank::open_with(|options| Options { disk, ..options })
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_answered_and_nothing_acknowledged_is_lost() {
    let disk = FaultyDisk::new();
    let bank = bank_on(&disk);
    bank.accounts(2).await;
    assert_eq!(bank.transfer(1, 1, 2, "5").await, "ok");
    disk.fail(Op::SyncData, ErrorKind::Other);
    let waiting = bank.batch(vec![transfer(2, 1, 2, "7")], None).await;
    assert_eq!(waiting.unwrap_err(), SubmitError::OutcomeUnknown);
    let failed = tokio::time::timeout(Duration::from_secs(10), bank.florin.failed()).await.unwrap();
    assert!(failed.contains("journal"), "{failed}");
    assert!(matches!(bank.florin.condition(), Condition::Failed { .. }));
    // A read would show what may not be on the disk.
    assert!(bank.florin.account(florin_engine::AccountId(2)).await.is_err());
    disk.heal();
    let after = bank.batch(vec![transfer(3, 1, 2, "7")], None).await;
    assert_eq!(after.unwrap_err(), SubmitError::OutcomeUnknown, "a sync is never tried again");

    let bank = bank.restart().await;
    // The unanswered transfer may have happened; asking by its id tells, and never moves the money twice.
    let unknown = bank.transfer(2, 1, 2, "7").await;
    assert!(unknown == "ok" || unknown == "exists", "{unknown}");
    assert_eq!(bank.balance(2).await, 1200);
    bank.florin.stop().await;
}

#[tokio::test]
async fn a_full_disk_refuses_before_anything_is_decided_and_goes_on_when_there_is_space() {
    let disk = FaultyDisk::new();
    let bank = bank_on(&disk);
    bank.accounts(2).await;
    disk.fail(Op::Allocate, ErrorKind::StorageFull);
    let mut moved = 0;
    let mut id = 0;
    loop {
        let transfers = (id + 1..=id + 100).map(|id| transfer(id, 1, 2, "0.01")).collect();
        match bank.batch(transfers, None).await {
            Ok(answer) => {
                assert_eq!(answer.exceptions, []);
                (moved, id) = (moved + 100, id + 100);
            }
            Err(SubmitError::StorageFull) => break,
            // A spare that was being made when the disk filled.
            Err(SubmitError::Overloaded) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
        assert!(moved < 1_000_000, "the disk is full");
    }
    assert_eq!(bank.florin.condition(), Condition::StorageFull);
    assert_eq!(bank.balance(2).await, moved, "reads go on");
    disk.heal();
    let space_is_back = async {
        loop {
            match bank.batch(vec![transfer(9_000_000, 1, 2, "1")], None).await {
                Ok(answer) => return assert_eq!(answer.exceptions, []),
                Err(SubmitError::StorageFull | SubmitError::Overloaded) => {
                    tokio::task::yield_now().await
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), space_is_back).await.unwrap();
    assert_eq!(bank.balance(2).await, moved + 100);
    let bank = bank.restart().await;
    assert_eq!(bank.balance(2).await, moved + 100);
    bank.florin.stop().await;
}
