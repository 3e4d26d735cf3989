//! A disk that fails, and a disk that fills.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use florin_actors::{Clock, Condition, Options, SubmitError, SystemClock};
use florin_engine::{AccountId, CreateTransfer, Timestamp, TransferFlags};
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
    assert!(bank.florin.account(AccountId(2)).await.is_err());
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

/// Moves cents from account 1 to 2 until the disk is full; gives how many.
async fn fill(bank: &TestBank) -> i128 {
    let mut id = 0;
    loop {
        let transfers = (id + 1..=id + 100).map(|id| transfer(id, 1, 2, "0.01")).collect();
        match bank.batch(transfers, None).await {
            Ok(answer) => {
                assert_eq!(answer.exceptions, []);
                id += 100;
            }
            Err(SubmitError::StorageFull) => return id as i128,
            // A spare that was being made when the disk filled.
            Err(SubmitError::Overloaded) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
        assert!(id < 1_000_000, "the disk is full");
    }
}

/// The machine's clock, put forward by hand.
struct SkippingClock {
    machine: SystemClock,
    ahead: AtomicU64,
}

impl Clock for SkippingClock {
    fn now(&self) -> Timestamp {
        self.machine.now().plus(self.ahead.load(Ordering::Relaxed))
    }
}

#[tokio::test]
async fn a_start_on_a_full_disk_answers_reads_though_a_transfer_is_due() {
    let faulty = FaultyDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(faulty.clone());
    let clock = Arc::new(SkippingClock { machine: SystemClock::start(), ahead: AtomicU64::new(0) });
    let bank = TestBank::open_with(|options| Options {
        disk: disk.clone(),
        clock: clock.clone(),
        ..options
    });
    bank.accounts(2).await;
    let pending = CreateTransfer {
        flags: TransferFlags::PENDING,
        timeout: 3600,
        ..transfer(9_000_001, 1, 2, "5")
    };
    assert_eq!(bank.batch(vec![pending], None).await.unwrap().exceptions, []);
    faulty.fail(Op::Allocate, ErrorKind::StorageFull);
    let moved = fill(&bank).await;
    // It is over once nothing runs that could still let it expire.
    bank.florin.stop().await;
    clock.ahead.store(3_600_000_000_000, Ordering::Relaxed);
    let restarted = bank.restart_with(|options| Options { disk, clock, ..options });
    let answered = async {
        let bank = restarted.await;
        assert_eq!(bank.balance(2).await, moved, "reads go on");
        bank
    };
    let bank = tokio::time::timeout(Duration::from_secs(20), answered).await.unwrap();
    let reserved = async || {
        let found = bank.florin.account(AccountId(2)).await.unwrap().value.unwrap();
        found.account.balances.credits_pending.minor_units()
    };
    assert_eq!(reserved().await, 500, "there is no room to write that it is over");
    faulty.heal();
    let released = async {
        while reserved().await > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), released).await.unwrap();
    bank.florin.stop().await;
}

#[tokio::test]
async fn a_full_disk_refuses_before_anything_is_decided_and_goes_on_when_there_is_space() {
    let disk = FaultyDisk::new();
    let bank = bank_on(&disk);
    bank.accounts(2).await;
    disk.fail(Op::Allocate, ErrorKind::StorageFull);
    let moved = fill(&bank).await;
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
