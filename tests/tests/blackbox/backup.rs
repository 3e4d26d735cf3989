//! A backup of a running server, a disk that is lost, and what comes back: `florin backup`, `florin restore`, `florin verify --backup`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use florin_tests::bank::{TestBank, transfer, transfer_with_id};
use florin_tests::postgres::Postgres;
use florin_tests::server::{Ended, SMALL_SEGMENTS, TestServer, florin, run, run_command};
use serde_json::{Value, json};
use tempfile::TempDir;

const KEY: [(&str, &str); 1] = [("Idempotency-Key", "before-all")];
/// The ids of the transfers under load begin here.
const LOAD: u64 = 1_000_000;
const BATCH: u64 = 25;

/// Waits until what was first is in the index and the store alone. Stops the load when that takes too long, as its thread would be waited for.
fn until_removed(segment: &Path, stop: &AtomicBool) {
    let deadline = Instant::now() + Duration::from_secs(240);
    while segment.exists() {
        if Instant::now() > deadline {
            stop.store(true, Ordering::Relaxed);
            panic!("no segment was ever removed");
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Where backups go, on a disk that is not lost.
struct Safe(TempDir);

impl Safe {
    fn new() -> Safe {
        Safe(TempDir::with_prefix("florin-backups-").unwrap_or_else(|error| panic!("{error}")))
    }

    fn word(&self) -> &str {
        self.0.path().to_str().unwrap_or_default()
    }

    /// Backs the server's directory up, which must go well, and returns what it said.
    #[track_caller]
    fn back_up(&self, server: &TestServer, words: &[&str]) -> String {
        let mut command = florin(&["backup", "--data-dir", server.data_dir_word()]);
        command.args(["--to", self.word()]).args(words);
        let ended = run_command(command);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stdout
    }

    /// The backups, oldest first.
    fn backups(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.0.path()).unwrap_or_else(|error| panic!("{error}"));
        let mut backups: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| path.join("manifest").exists())
            .collect();
        backups.sort();
        backups
    }

    /// A server that is not started yet, on what comes back of a backup.
    fn restored(&self, words: &[&str], variables: &[(&str, &str)]) -> TestServer {
        TestServer::on_made(words, variables, |data_dir| {
            let ended = restore(self.0.path(), data_dir);
            assert_eq!(ended.code, Some(0), "{ended:?}");
            assert!(ended.stdout.contains("is restored from"), "{ended:?}");
        })
    }
}

fn word(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

fn restore(from: &Path, data_dir: &Path) -> Ended {
    run(&["restore", "--from", word(from), "--data-dir", word(data_dir)])
}

fn verified(backup: &Path) -> Ended {
    run(&["verify", "--backup", word(backup)])
}

#[track_caller]
fn refused(ended: &Ended, told: &str) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains(told), "{told}: {ended:?}");
}

/// A bank with something of every kind in its oldest segment.
fn bank_with(words: &[&str], variables: &[(&str, &str)]) -> TestBank {
    let bank = TestBank::of(TestServer::start_with_variables(words, variables));
    bank.account_with(json!({"id": "1", "metadata": {"name": "Anna"}}), &["history"]);
    bank.account(2);
    bank.funded(3, "5.00");
    bank.check_with("POST /v1/transfers", &KEY, transfer(1, 2, "3.00"), "201");
    bank.check("POST /v1/transfers", transfer_with_id(801, 1, 2, "0.07"), "201");
    bank.check("POST /v1/transfers", transfer_with_id(800, 3, 1, "71.00"), "422 exceeds_credits");
    let pending = json!({"id": "802", "debit_account_id": "1", "credit_account_id": "2", "amount": "9.00", "flags": ["pending"]});
    bank.check("POST /v1/transfers", pending, "201");
    bank
}

/// What was decided in the oldest segment is decided for ever.
fn decided_once(bank: &TestBank) {
    let again = bank.check_with("POST /v1/transfers", &KEY, transfer(1, 2, "3.00"), "201 replayed");
    assert_eq!(again.json()["amount"], "3.00");
    bank.check("POST /v1/transfers", transfer_with_id(801, 1, 2, "0.07"), "200 replayed");
    bank.check(
        "POST /v1/transfers",
        transfer_with_id(801, 1, 2, "0.08"),
        "409 exists_with_different_amount",
    );
    bank.check("POST /v1/transfers", transfer_with_id(800, 3, 1, "1.00"), "422 id_already_failed");
    assert_eq!(bank.get("/v1/transfers/801")["amount"], "0.07");
    assert_eq!(bank.get("/v1/accounts/1")["metadata"], json!({"name": "Anna"}));
}

/// Sends batches one after the other until it is told to stop or the server is gone. `acknowledged` has how many transfers were.
fn load(bank: &TestBank, acknowledged: &AtomicU64, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        let from = LOAD + acknowledged.load(Ordering::Acquire);
        let ids = from..from + BATCH;
        let batch: Value = ids.map(|id| transfer_with_id(u128::from(id), 1, 2, "0.01")).collect();
        match bank.client().request("POST /v1/transfers/batch").try_send(batch) {
            Ok(reply) if reply.status == 200 => acknowledged.fetch_add(BATCH, Ordering::AcqRel),
            // Full for a moment, or killed.
            _ => {
                thread::sleep(Duration::from_millis(20));
                continue;
            }
        };
    }
}

/// The transfers with ids from [`LOAD`] on are there, so many at least.
fn has_load(bank: &TestBank, at_least: u64) {
    let ids: Vec<String> = (LOAD..LOAD + at_least).map(|id| id.to_string()).collect();
    for ids in ids.chunks(8_000) {
        let reply = bank.check("POST /v1/transfers/lookup", json!({"ids": ids}), "200").json();
        assert_eq!(reply["missing"], json!([]));
    }
}

/// The drill: a server under load is backed up, dies with its disk, and comes back elsewhere with all that was acknowledged before the backup.
#[test]
fn a_lost_disk_costs_what_came_after_the_backup_and_nothing_before() {
    let safe = Safe::new();
    let mut bank = bank_with(&SMALL_SEGMENTS, &[]);
    let oldest = bank.server.segments()[0].clone();
    let (acknowledged, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut kept = 0;
    thread::scope(|scope| {
        scope.spawn(|| load(&bank, &acknowledged, &stop));
        until_removed(&oldest, &stop);
        for words in [&[][..], &["--journal-only"], &["--keep", "3"], &["--journal-only"]] {
            kept = acknowledged.load(Ordering::Acquire);
            let told = safe.back_up(&bank.server, words);
            assert!(told.contains("has everything up to position"), "{told}");
        }
        stop.store(true, Ordering::Release);
    });
    bank.server.kill();
    let lost = bank.server.data_dir().to_owned();
    fs::remove_dir_all(&lost).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(safe.backups().len(), 4);

    for backup in safe.backups() {
        let ended = verified(&backup);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains("is sound"), "{ended:?}");
    }
    let mut restored = TestBank::of(safe.restored(&SMALL_SEGMENTS, &[]));
    restored.server.verify();
    restored.restart();
    has_load(&restored, kept);
    decided_once(&restored);
    // History is there from the first transfer on, and goes on.
    let first = restored.get("/v1/accounts/2/transfers?order=asc&limit=2");
    assert_eq!(first["data"][1]["id"], "801", "{first}");
    assert_eq!(first["history_from"], Value::Null, "{first}");
    restored.check("POST /v1/transfers/802/post", json!({}), "201");
    restored.transfer(1, 2, "1.00");
    restored.server.stop();
    restored.server.verify();

    // What is there is never written over, and the copy of a copy is as good.
    refused(&restore(safe.0.path(), restored.server.data_dir()), "there is a ledger in");
    let again = Safe::new();
    again.back_up(&restored.server, &[]);
    let mut third = TestBank::of(again.restored(&SMALL_SEGMENTS, &[]));
    third.restart();
    has_load(&third, kept);
    decided_once(&third);
}

#[test]
fn damage_to_any_file_of_a_backup_is_found() {
    let safe = Safe::new();
    let bank = bank_with(&SMALL_SEGMENTS, &[]);
    let oldest = bank.server.segments()[0].clone();
    let (acknowledged, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| load(&bank, &acknowledged, &stop));
        until_removed(&oldest, &stop);
        stop.store(true, Ordering::Release);
    });
    safe.back_up(&bank.server, &[]);
    let backup = safe.backups().remove(0);
    assert_eq!(verified(&backup).code, Some(0));
    let mut files = Vec::new();
    for dir in ["", "journal", "snapshots"] {
        let entries = fs::read_dir(backup.join(dir)).unwrap_or_else(|error| panic!("{error}"));
        let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
        files.extend(paths.filter(|path| path.is_file()));
    }
    let names: Vec<&str> = files.iter().map(|path| word(path)).collect();
    for part in ["/manifest", "/ids", "/store.sqlite", ".snap", ".seg", "/newest"] {
        assert!(names.iter().any(|name| name.ends_with(part)), "{part} of {names:?}");
    }
    let room = Safe::new();
    for (number, path) in files.iter().enumerate() {
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{error}"));
        let mut bent = bytes.clone();
        let middle = bent.len() / 2;
        bent[middle] ^= 4;
        let cut = &bytes[..bytes.len() - 1];
        for damaged in [&bent, cut] {
            fs::write(path, damaged).unwrap_or_else(|error| panic!("{error}"));
            refused(&verified(&backup), word(path));
        }
        // Restoring finds the same, and leaves nothing that passes for a ledger.
        let place = room.0.path().join(number.to_string());
        refused(&restore(&backup, &place), word(path));
        // With a damaged manifest nothing was begun, so that there is nothing to refuse.
        if !path.ends_with("manifest") {
            let served = run(&["serve", "--listen", "127.0.0.1:0", "--data-dir", word(&place)]);
            refused(&served, "is not a florin data directory");
        }
        fs::remove_file(path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(verified(&backup).code, Some(1), "without {}", path.display());
        fs::write(path, &bytes).unwrap_or_else(|error| panic!("{error}"));
    }
    assert_eq!(verified(&backup).code, Some(0));
    refused(&verified(room.0.path()), "there is no finished backup");
}

#[test]
fn a_store_in_postgresql_that_is_ahead_of_a_restored_journal_is_refused() {
    let postgres = Postgres::shared();
    let url = postgres.url(&postgres.create_database());
    let variables = [("FLORIN_DATABASE_URL", url.as_str())];
    let safe = Safe::new();
    let mut bank = bank_with(&[], &variables);
    safe.back_up(&bank.server, &[]);
    let told = verified(safe.0.path());
    assert!(told.stdout.contains("not in the backup"), "{told:?}");
    bank.transfer(1, 2, "1.25");
    // Which waits until the store has it.
    assert_eq!(bank.list("/v1/accounts/2/transfers").len(), 4);
    // While the first one writes the store, no copy does.
    let copy = safe.restored(&[], &variables);
    refused(&copy.refused_restart(), "another");
    bank.server.kill();
    refused(&copy.refused_restart(), "rebuild-store");
    let cut =
        ["rebuild-store", "--data-dir", copy.data_dir_word(), "--database-url", &url, "--cut"];
    let ended = run(&cut);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("1 acknowledged transfer removed"), "{ended:?}");
    let mut restored = TestBank::of(copy);
    restored.restart();
    decided_once(&restored);
    assert_eq!(restored.list("/v1/accounts/2/transfers").len(), 3);
}
