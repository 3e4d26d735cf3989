//! A disk that fails, and a disk that fills.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use florin_actors::{Condition, Options, SubmitError};
use florin_persistence::disk::{
    DirEntry, Disk, DiskFile, EntryKind, LockAttempt, OpenMode, OsDisk,
};

use crate::bank::{TestBank, transfer};

/// The real disk, until told otherwise.
#[derive(Clone, Debug, Default)]
struct Faults {
    syncs_fail: Arc<AtomicBool>,
    is_full: Arc<AtomicBool>,
}

impl Disk for Faults {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = OsDisk.open(path, mode)?;
        Ok(Arc::new(FaultyFile { faults: self.clone(), file }))
    }
    fn kind(&self, path: &Path) -> io::Result<Option<EntryKind>> {
        OsDisk.kind(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        OsDisk.list(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        OsDisk.create_dir_all(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsDisk.sync_dir(dir)
    }
    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        OsDisk.free_bytes(dir)
    }
}

#[derive(Debug)]
struct FaultyFile {
    faults: Faults,
    file: Arc<dyn DiskFile>,
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        if self.faults.syncs_fail.load(Ordering::SeqCst) {
            return Err(ErrorKind::Other.into());
        }
        self.file.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        if self.faults.is_full.load(Ordering::SeqCst) {
            return Err(ErrorKind::StorageFull.into());
        }
        self.file.allocate(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn try_lock(&self) -> io::Result<LockAttempt> {
        self.file.try_lock()
    }
}

fn bank_on(faults: &Faults) -> TestBank {
    let disk: Arc<dyn Disk> = Arc::new(faults.clone());
    TestBank::open_with(|options| Options { disk, ..options })
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_answered_and_nothing_acknowledged_is_lost() {
    let faults = Faults::default();
    let bank = bank_on(&faults);
    bank.accounts(2).await;
    assert_eq!(bank.transfer(1, 1, 2, "5").await, "ok");
    faults.syncs_fail.store(true, Ordering::SeqCst);
    let waiting = bank.batch(vec![transfer(2, 1, 2, "7")], None).await;
    assert_eq!(waiting.unwrap_err(), SubmitError::OutcomeUnknown);
    let failed = tokio::time::timeout(Duration::from_secs(10), bank.florin.failed()).await.unwrap();
    assert!(failed.contains("journal"), "{failed}");
    assert!(matches!(bank.florin.condition(), Condition::Failed { .. }));
    // A read would show what may not be on the disk.
    assert!(bank.florin.account(florin_engine::AccountId(2)).await.is_err());
    faults.syncs_fail.store(false, Ordering::SeqCst);
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
    let faults = Faults::default();
    let bank = bank_on(&faults);
    bank.accounts(2).await;
    faults.is_full.store(true, Ordering::SeqCst);
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
    faults.is_full.store(false, Ordering::SeqCst);
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
