//! Nothing acknowledged is lost, nothing shown is undone, nothing happens twice: through kills, stops, torn tails and a store
//! that is away.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use florin_tests::bank::{TestBank, transfer, transfer_with_id};
use florin_tests::load::{self, Crowd, Story};
use florin_tests::server::{SMALL_SEGMENTS, TestServer};
use florin_tests::wire::Wire;
use serde_json::Value;

fn bank_with_small_segments() -> TestBank {
    let bank = TestBank::of(TestServer::start_with(&SMALL_SEGMENTS));
    load::create_accounts(&bank);
    bank
}

#[test]
fn killed_under_load_again_and_again() {
    let mut bank = bank_with_small_segments();
    let mut story = Story::default();
    for round in 0..5 {
        let crowd = Crowd::start(bank.client(), round);
        crowd.wait_for(300 + 150 * round);
        bank.server.kill();
        let round = crowd.leave();
        bank.restart();
        round.check_seen(&bank);
        story.extend(round);
    }
    story.check(&bank);
    // Once more from the disk alone, and then by the program's own check.
    bank.server.kill();
    bank.restart();
    story.check(&bank);
    bank.server.stop();
    bank.server.verify();
}

#[test]
fn killed_while_it_recovers() {
    let mut bank = bank_with_small_segments();
    let crowd = Crowd::start(bank.client(), 0);
    crowd.wait_for(1500);
    bank.server.kill();
    let mut story = crowd.leave();
    // Whatever it is doing at these moments: each of them is a crash at another step of a start.
    for step in 0..25 {
        bank.server.restart_and_kill_after(Duration::from_millis(step * 8));
    }
    bank.restart();
    story.check_seen(&bank);
    story.check(&bank);
    bank.server.stop();
    bank.server.verify();
}

#[test]
fn killed_while_the_directory_is_made() {
    for step in 0..15 {
        let mut server = TestServer::start();
        server.kill();
        fs::remove_dir_all(server.data_dir()).unwrap_or_else(|error| panic!("{error}"));
        server.restart_and_kill_after(Duration::from_millis(step * 8));
        server.restart();
        let bank = TestBank::of(server);
        bank.account(1);
        bank.account(2);
        bank.transfer(1, 2, "1.00");
        assert_eq!(bank.balance(2), "1.00");
    }
}

#[test]
fn a_stop_does_not_wait_for_a_client_that_says_nothing() {
    let mut bank = TestBank::with_accounts(&[1, 2]);
    let patience = Duration::from_secs(60);
    let silent = Wire::connect(bank.server.address(), patience);
    let mut halfway = Wire::connect(bank.server.address(), patience);
    let written = halfway.write(b"POST /v1/transfers HTTP/1.1\r\nHost: florin\r\nContent-Le");
    assert!(written.is_ok());
    let begin = Instant::now();
    bank.server.stop();
    assert!(begin.elapsed() < Duration::from_secs(40), "it took {:?}", begin.elapsed());
    drop((silent, halfway));
    bank.server.verify();
}

#[test]
fn killed_before_it_had_served_anybody() {
    let mut bank = TestBank::open();
    for _ in 0..3 {
        bank.server.kill();
        bank.restart();
    }
    bank.account(1);
    bank.server.kill();
    bank.restart();
    assert_eq!(bank.balance(1), "0.00");
    assert_eq!(bank.ids("/v1/accounts"), ["1"]);
    bank.server.kill();
    bank.server.verify();
}

#[test]
fn stopped_under_load_it_exits_well_and_loses_nothing() {
    let mut bank = bank_with_small_segments();
    let mut story = Story::default();
    for round in 0..3 {
        let crowd = Crowd::start(bank.client(), round);
        crowd.wait_for(400);
        if round == 1 {
            bank.server.interrupt();
        } else {
            bank.server.stop();
        }
        let round = crowd.leave();
        bank.server.verify();
        bank.restart();
        round.check_seen(&bank);
        story.extend(round);
    }
    story.check(&bank);
}

#[test]
fn a_restart_changes_nothing_that_can_be_seen() {
    let mut bank = bank_with_small_segments();
    let crowd = Crowd::start(bank.client(), 0);
    crowd.wait_for(600);
    let mut story = crowd.leave();
    story.check(&bank);
    let everything = |bank: &TestBank| {
        let lists =
            ["/v1/ledgers", "/v1/accounts", "/v1/transfers?limit=500", "/v1/accounts/3/transfers"];
        let lists: Vec<Vec<Value>> = lists.iter().map(|path| bank.list(path)).collect();
        let accounts: Vec<Value> =
            (1..=load::ACCOUNTS).map(|id| bank.get(&format!("/v1/accounts/{id}"))).collect();
        (lists, accounts)
    };
    let before = everything(&bank);
    bank.server.kill();
    bank.restart();
    assert_eq!(everything(&bank), before, "after a kill");
    bank.server.stop();
    bank.restart();
    assert_eq!(everything(&bank), before, "after a stop");
    let last = bank.transfer(1, 2, "0.01");
    let newest = before.0[2][0]["timestamp"].as_str();
    assert!(last["timestamp"].as_str() > newest, "time goes on after a restart");
}

/// Moves cents from account 1 to 2 until the oldest segment is removed. Returns that segment and the count of transfers.
fn fill_until_a_segment_goes(bank: &TestBank) -> (PathBuf, u128) {
    let oldest = bank.server.segments()[0].clone();
    let deadline = Instant::now() + Duration::from_secs(240);
    let mut sent = 0;
    while oldest.exists() {
        assert!(Instant::now() < deadline, "no segment was ever removed");
        if bank.server.segments().len() > 12 {
            // There is enough to remove; more would only keep whoever removes from it.
            thread::sleep(Duration::from_millis(20));
            continue;
        }
        let ids = 1_000_000 + sent..1_000_000 + sent + 50;
        let batch: Value = ids.map(|id| transfer_with_id(id, 1, 2, "0.01")).collect();
        bank.check("POST /v1/transfers/batch", batch, "200");
        sent += 50;
    }
    (oldest, sent)
}

#[test]
fn ids_of_long_ago_are_still_decided() {
    let mut bank = bank_with_small_segments();
    let first = bank.check("POST /v1/transfers", transfer_with_id(5, 1, 2, "1.00"), "201").json();
    bank.check("POST /v1/transfers", transfer_with_id(6, 11, 2, "1.00"), "422 exceeds_credits");
    // Until its segment is gone: snapshot, index and store have taken over.
    let (_, sent) = fill_until_a_segment_goes(&bank);
    for crash in [false, true] {
        let again =
            bank.check("POST /v1/transfers", transfer_with_id(5, 1, 2, "1.00"), "200 replayed");
        assert_eq!(again.json()["timestamp"], first["timestamp"]);
        let other = transfer_with_id(5, 1, 2, "2.00");
        bank.check("POST /v1/transfers", other, "409 exists_with_different_amount");
        bank.check(
            "POST /v1/transfers",
            transfer_with_id(6, 1, 2, "1.00"),
            "422 id_already_failed",
        );
        assert_eq!(bank.get("/v1/transfers/5")["amount"], "1.00");
        if crash {
            bank.server.kill();
        } else {
            bank.server.stop();
        }
        bank.restart();
    }
    assert_eq!(bank.balance(2), load::money(100 + sent));
    bank.server.stop();
    bank.server.verify();
    // What the journal has let go of can not be filled into the store again: that is said, and nothing is served.
    remove_store(&bank);
    let ended = bank.server.refused_restart();
    assert!(matches!(ended.code, Some(code) if code != 0), "{ended:?}");
    assert!(ended.stderr.contains("store"), "{ended:?}");
}

fn remove_store(bank: &TestBank) {
    for name in ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm"] {
        let _ = fs::remove_file(bank.server.data_dir().join(name));
    }
}

#[test]
fn an_archive_keeps_every_segment() {
    let archive = tempfile::TempDir::new().unwrap_or_else(|error| panic!("{error}"));
    let directory = archive.path().join("archive");
    let word = directory.to_str().unwrap_or_default();
    let words = [SMALL_SEGMENTS[0], SMALL_SEGMENTS[1], "--journal-archive", word];
    let bank = TestBank::of(TestServer::start_with(&words));
    load::create_accounts(&bank);
    let (oldest, _) = fill_until_a_segment_goes(&bank);
    let kept = directory.join(oldest.file_name().unwrap_or_default());
    assert!(kept.exists(), "{} is not in the archive", kept.display());
}

// --- damage ------------------------------------------------------------------------------------------------------------

/// Where the bytes of a segment end that are not the zeros it was filled with.
fn used(segment: &Path) -> usize {
    let bytes = fs::read(segment).unwrap_or_else(|error| panic!("{}: {error}", segment.display()));
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// The offset that a refusal names: the frame in which the damage is begins there.
fn place_in(refusal: &str) -> Option<usize> {
    let (_, rest) = refusal.split_once(" at byte ").or_else(|| refusal.split_once(" offset "))?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn change(segment: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(segment).unwrap_or_else(|error| panic!("{error}"));
    how(&mut bytes);
    fs::write(segment, bytes).unwrap_or_else(|error| panic!("{error}"));
}

/// A bank whose journal has many frames in its newest segment; killed.
fn killed_bank() -> (TestBank, PathBuf) {
    let mut bank = TestBank::with_accounts(&[1, 2]);
    for id in 1..=60 {
        bank.check("POST /v1/transfers", transfer_with_id(id, 1, 2, "1.00"), "201");
    }
    bank.server.kill();
    let segments = bank.server.segments();
    let newest = segments.into_iter().rfind(|segment| used(segment) > 10_000);
    (bank, newest.unwrap_or_else(|| panic!("the journal has no frames")))
}

fn assert_whole(bank: &TestBank) {
    assert_eq!(bank.balance(2), "60.00");
    assert_eq!(bank.list("/v1/transfers").len(), 60);
    for id in [1, 30, 60] {
        bank.check("POST /v1/transfers", transfer_with_id(id, 1, 2, "1.00"), "200 replayed");
    }
}

#[test]
fn a_damaged_journal_is_refused_with_the_place_and_left_alone() {
    for part in [8, 3] {
        let (bank, segment) = killed_bank();
        let place = used(&segment) / part + 4096;
        change(&segment, |bytes| bytes[place] ^= 0x10);
        let damaged = fs::read(&segment).unwrap_or_default();
        let ended = bank.server.refused_restart();
        assert!(matches!(ended.code, Some(code) if code != 0), "{ended:?}");
        let name = segment.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        assert!(ended.stderr.contains(name), "the file is named: {}", ended.stderr);
        let named = place_in(&ended.stderr).unwrap_or_else(|| panic!("no place: {}", ended.stderr));
        assert!(named <= place && place - named < 4096, "{place} is in: {}", ended.stderr);
        assert!(fs::read(&segment).is_ok_and(|now| now == damaged), "it is left as it was");
        let verify =
            florin_tests::server::run(&["verify", "--data-dir", bank.server.data_dir_word()]);
        assert_eq!(verify.code, Some(1), "{verify:?}");
        let said = format!("{}{}", verify.stdout, verify.stderr);
        assert!(said.contains(name), "{said}");
    }
}

#[test]
fn a_journal_that_lost_a_file_or_its_end_is_refused() {
    let (bank, segment) = killed_bank();
    let whole = fs::read(&segment).unwrap_or_default();
    change(&segment, |bytes| bytes.truncate(used(&segment) / 2));
    let ended = bank.server.refused_restart();
    assert!(matches!(ended.code, Some(code) if code != 0), "{ended:?}");
    fs::remove_file(&segment).unwrap_or_else(|error| panic!("{error}"));
    let ended = bank.server.refused_restart();
    assert!(matches!(ended.code, Some(code) if code != 0), "{ended:?}");
    // Put back as it was, all is well.
    fs::write(&segment, whole).unwrap_or_else(|error| panic!("{error}"));
    let mut bank = bank;
    bank.restart();
    assert_whole(&bank);
}

#[test]
fn a_torn_tail_is_cut_and_nothing_acknowledged_with_it() {
    // A frame that was being written when the power went: some of its bytes are there.
    for torn in [1, 100, 3000] {
        let (mut bank, segment) = killed_bank();
        // Behind the zeros that the last whole frame may end in.
        let end = (used(&segment) + 128).next_multiple_of(8);
        change(&segment, |bytes| bytes[end..end + torn].fill(0xa5));
        bank.restart();
        assert_whole(&bank);
        bank.transfer(1, 2, "1.00");
        bank.server.kill();
        bank.restart();
        assert_eq!(bank.balance(2), "61.00");
        bank.server.stop();
        bank.server.verify();
    }
}

#[test]
fn after_a_stop_the_last_bytes_are_a_seal() {
    let mut bank = TestBank::with_accounts(&[1, 2]);
    for id in 1..=60 {
        bank.check("POST /v1/transfers", transfer_with_id(id, 1, 2, "1.00"), "201");
    }
    bank.server.stop();
    let segments = bank.server.segments();
    let newest = segments.into_iter().rfind(|segment| used(segment) > 10_000);
    let segment = newest.unwrap_or_else(|| panic!("the journal has no frames"));
    let end = used(&segment);
    change(&segment, |bytes| bytes[end - 3..end].fill(0));
    bank.restart();
    assert_whole(&bank);
}

#[test]
fn a_store_that_was_lost_is_filled_again_from_a_whole_journal() {
    let (mut bank, _) = killed_bank();
    remove_store(&bank);
    // The whole journal is still there, so the store can be made again from its first position.
    bank.restart();
    assert_whole(&bank);
}

// --- the store is away ---------------------------------------------------------------------------------------------------

/// Another program that holds the store's write lock.
struct Locker {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Locker {
    fn lock(store: &Path) -> Locker {
        let script = "import sqlite3, sys\n\
            c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)\n\
            c.execute('BEGIN IMMEDIATE')\n\
            print('locked', flush=True)\n\
            sys.stdin.read()\n\
            c.execute('ROLLBACK')\n";
        let child = Command::new("python3")
            .args(["-c", script])
            .arg(store)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.unwrap_or_else(|error| panic!("python3: {error}"));
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap_or_else(|| panic!("it was piped"));
        let read = BufReader::new(stdout).read_line(&mut line);
        assert!(read.is_ok() && line.starts_with("locked"), "{line}");
        let stdin = child.stdin.take();
        Locker { child, stdin }
    }

    fn unlock(mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

impl Drop for Locker {
    fn drop(&mut self) {
        if self.stdin.is_some() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[test]
fn while_the_store_is_away_transfers_go_on_and_it_catches_up() {
    let mut bank = TestBank::with_accounts(&[1, 2]);
    let covered = bank.transfer(1, 2, "1.00");
    assert_eq!(bank.ids("/v1/transfers").len(), 1, "{covered}");
    let store = bank.server.data_dir().join("store.sqlite");
    let lock = Locker::lock(&store);
    let mut seq = 0;
    for id in 1..=100 {
        let reply = bank.check("POST /v1/transfers", transfer_with_id(id, 1, 2, "1.00"), "201");
        seq = reply.seq();
    }
    assert_eq!(bank.balance(2), "101.00");
    bank.check("POST /v1/transfers", transfer_with_id(50, 1, 2, "1.00"), "200 replayed");
    bank.check(&format!("GET /v1/transfers?min_seq={seq}"), (), "503 not_yet");
    // The lists answer from what the store has, and say as of when.
    let page = bank.check("GET /v1/transfers?limit=1000", (), "200").json();
    assert!(page["as_of_seq"].as_u64() < Some(seq), "{page}");
    // Killed in this state, too.
    bank.server.kill();
    lock.unlock();
    bank.restart();
    let ids = bank.ids(&format!("/v1/transfers?limit=1000&min_seq={seq}"));
    assert_eq!(ids.len(), 101);
    assert_eq!(bank.balance(2), "101.00");
}

#[test]
fn when_the_store_is_too_far_behind_writes_wait_for_it() {
    let server =
        TestServer::start_with(&["--segment-bytes", "128KiB", "--backlog-bytes", "512KiB"]);
    let bank = TestBank::of(server);
    bank.account(1);
    bank.account(2);
    bank.transfer(1, 2, "1.00");
    assert_eq!(bank.ids("/v1/transfers").len(), 1);
    let lock = Locker::lock(&bank.server.data_dir().join("store.sqlite"));
    let mut accepted = 1_u128;
    let refusal = loop {
        assert!(accepted < 100_000, "512 KiB of journal take for ever");
        let first = accepted * 1000;
        let batch: Value =
            (first..first + 20).map(|id| transfer_with_id(id, 1, 2, "1.00")).collect();
        let reply = bank.client().request("POST /v1/transfers/batch").send(batch);
        match reply.summary().as_str() {
            "200" => accepted += 20,
            "503 storage_full" => break reply,
            other => panic!("{other}: {reply:?}"),
        }
    };
    refusal.assert_problem();
    bank.check_code(&refusal);
    assert_eq!(refusal.json()["retry"], "after");
    assert_eq!(bank.client().request("GET /readyz").send(()).status, 503);
    // Reads go on, and so does what was done.
    assert_eq!(bank.balance(2), load::money(accepted * 100));
    lock.unlock();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let reply = bank.client().request("POST /v1/transfers").send(transfer(1, 2, "1.00"));
        match reply.summary().as_str() {
            "201" => break,
            "503 storage_full" => assert!(Instant::now() < deadline, "it never goes on"),
            other => panic!("{other}: {reply:?}"),
        }
    }
    assert_eq!(bank.balance(2), load::money((accepted + 1) * 100));
    assert_eq!(bank.list("/v1/transfers?limit=1000").len() as u128, accepted + 1);
    assert_eq!(bank.client().request("GET /readyz").send(()).status, 200);
}
