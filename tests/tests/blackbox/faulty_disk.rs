//! The real program on a disk that fails or fills under load: what was acknowledged is there afterwards, and nobody is told what is not so.

use std::fs;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::{Duration, Instant};

use florin_tests::bank::{TestBank, transfer};
use florin_tests::fault::{Fault, Wrong};
use florin_tests::history::{Call, Checker, Event};
use florin_tests::http::Reply;
use florin_tests::load::money;
use florin_tests::server::{SMALL_SEGMENTS, TestServer};
use florin_tests::small_disk::SmallDisk;
use florin_tests::witness::{Clock, Crowd, Testimony, Witnesses, ask_again};
use serde_json::json;

const CROWD: Crowd =
    Crowd { accounts: 20, hot_accounts: 4, singles: 8, batches: 2, two_phase: 2, readers: 2 };
/// Until something comes that surely comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A ledger under load, and all that was ever told of it.
struct Run {
    bank: TestBank,
    checker: Checker,
    clock: Clock,
    round: u64,
    told: Vec<Event>,
}

impl Run {
    fn begin(bank: TestBank) -> Run {
        bank.check("POST /v1/accounts/batch", json!(CROWD.accounts()), "200");
        let checker = Checker::new((1..=CROWD.accounts).map(u128::from), Crowd::is_limited);
        Run { bank, checker, clock: Clock::start(), round: 0, told: Vec::new() }
    }

    fn on(fault: &Fault) -> Run {
        let variables = fault.variables();
        let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
        Run::begin(TestBank::of(TestServer::start_with_variables(&SMALL_SEGMENTS, &variables)))
    }

    /// A crowd comes, and something was done.
    fn witnesses(&mut self) -> Witnesses {
        self.round += 1;
        let base = self.bank.server.base();
        let pending = self.checker.pending();
        let witnesses = Witnesses::start(CROWD, &base, self.round, self.clock, &pending);
        let deadline = Instant::now() + PATIENCE;
        while witnesses.acknowledged() < 300 {
            assert!(Instant::now() < deadline, "they do not get on");
            thread::sleep(Duration::from_millis(1));
        }
        witnesses
    }

    /// What nobody knows is asked again, and then all of it must be a history.
    fn check(&mut self, testimony: Testimony, dead_ns: u64, after: &str) {
        let mut history = testimony.operations;
        for unanswered in testimony.unanswered {
            history.push(unanswered.resolve(self.bank.client(), self.clock, dead_ns).0);
        }
        if let Err(violation) = self.checker.check(&history) {
            panic!("after {after}: {violation}");
        }
        for operation in history {
            if let Call::Command(command) = operation.call {
                self.told.extend(command.events);
            }
        }
    }

    fn end(mut self) {
        let asked = ask_again(self.bank.client(), self.told.iter(), 100);
        asked.unwrap_or_else(|error| panic!("{error}"));
        self.bank.server.stop();
        self.bank.server.verify();
    }
}

/// From one moment on this is wrong with the disk. The process ends for this reason, and when the disk is sound again nothing is missing.
fn ends(run: &mut Run, fault: &Fault, wrong: Wrong, reason: &str) {
    let witnesses = run.witnesses();
    fault.begin(wrong);
    assert_eq!(run.bank.server.ended_by_itself(), Some(1), "{wrong:?}");
    let dead_ns = run.clock.now_ns();
    let testimony = witnesses.leave();
    let said = run.bank.server.stderr();
    assert!(said.contains(reason), "{wrong:?}: {said}");
    assert!(!testimony.unanswered.is_empty(), "somebody waited when it failed");
    fault.end();
    run.bank.restart();
    run.check(testimony, dead_ns, &format!("{wrong:?}"));
}

#[test]
fn a_sync_or_a_write_that_fails_ends_the_process_and_loses_nothing() {
    let fault = Fault::build("/journal/");
    let mut run = Run::on(&fault);
    for wrong in [Wrong::Syncs, Wrong::Writes, Wrong::SegmentData] {
        ends(&mut run, &fault, wrong, "the journal failed");
    }
    run.end();
}

/// Accounts that no crowd uses.
const OTHERS: [u128; 2] = [101, 102];

/// Sends transfers until one is answered with this word.
fn send_until(bank: &TestBank, word: &str, moved: &mut u128) -> Reply {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let body = transfer(OTHERS[0], OTHERS[1], "0.01");
        let reply = bank.client().request("POST /v1/transfers").send(body);
        let summary = reply.summary();
        assert!(["201", "503 storage_full"].contains(&summary.as_str()), "{reply:?}");
        *moved += u128::from(reply.status == 201);
        if summary == word {
            return reply;
        }
        assert!(Instant::now() < deadline, "never {word}: {reply:?}");
    }
}

/// Bytes of journal that can surely still be written.
fn room_bytes(bank: &TestBank) -> u64 {
    let metrics = bank.client().request("GET /metrics").send(()).body;
    let room = |line: &str| line.strip_prefix("florin_journal_room_bytes ")?.parse().ok();
    metrics.lines().find_map(room).unwrap_or_else(|| panic!("no room in {metrics}"))
}

/// The disk is full for a while: commands are refused before they do anything, reads go on, and so does everything once there is room.
fn is_full_for_a_while(mut run: Run, fill: impl FnOnce(), free: impl FnOnce()) {
    OTHERS.into_iter().for_each(|id| run.bank.account(id));
    let mut moved = 0;
    let witnesses = run.witnesses();
    fill();
    let refusal = send_until(&run.bank, "503 storage_full", &mut moved);
    let testimony = witnesses.leave();
    refusal.assert_problem();
    run.bank.check_code(&refusal);
    assert_eq!(refusal.json()["retry"], "after");
    let ready = run.bank.client().request("GET /readyz").send(());
    assert_eq!((ready.status, &ready.json()["status"]), (503, &json!("storage_full")), "{ready:?}");
    let metrics = run.bank.client().request("GET /metrics").send(()).body;
    let counted = "florin_refused_total{reason=\"storage_full\"} ";
    let counted = metrics.lines().find_map(|line| line.strip_prefix(counted));
    assert!(counted.is_some_and(|count| count != "0"), "{metrics}");
    assert_eq!(run.bank.balance(OTHERS[1]), money(moved));
    free();
    let _ = send_until(&run.bank, "201", &mut moved);
    // One alone may fit before room is back, where a batch does not: the next segment has it.
    let deadline = Instant::now() + PATIENCE;
    while room_bytes(&run.bank) < 64 << 10 {
        assert!(Instant::now() < deadline, "there is never room for much");
        thread::sleep(Duration::from_millis(10));
    }
    let now_ns = run.clock.now_ns();
    run.check(testimony, now_ns, "a full disk");
    // It goes on as before, and through kills.
    let witnesses = run.witnesses();
    run.bank.server.kill();
    let dead_ns = run.clock.now_ns();
    let testimony = witnesses.leave();
    run.bank.restart();
    run.check(testimony, dead_ns, "a kill");
    assert_eq!(run.bank.balance(OTHERS[1]), money(moved));
    run.end();
}

#[test]
fn a_journal_without_any_room_refuses_before_anything_is_lost_and_goes_on_once_there_is_some() {
    let fault = Fault::build("/journal/");
    let run = Run::on(&fault);
    is_full_for_a_while(run, || fault.begin(Wrong::Full), || fault.end());
}

/// The index is read back to decide: without a place to write it there is no going on.
#[test]
fn a_disk_on_which_nothing_fits_ends_the_process_and_loses_nothing() {
    let fault = Fault::build("/data/");
    let mut run = Run::on(&fault);
    ends(&mut run, &fault, Wrong::Full, "housekeeping failed");
    run.end();
}

/// What the journal leaves of a disk to index, snapshots and store is still there when it refuses, on a file system of its own.
#[test]
fn a_file_system_that_fills_is_refused_by_the_journal_first() {
    // Where none can be mounted, the tests above are what there is.
    let Some(disk) = SmallDisk::mount(192 << 20) else { return };
    let server = TestServer::on_made(&SMALL_SEGMENTS, &[], |data_dir| {
        let place = disk.path().join("ledger");
        let made = fs::create_dir(&place).and_then(|()| symlink(&place, data_dir));
        made.unwrap_or_else(|error| panic!("{error}"));
    });
    let mut bank = TestBank::of(server);
    bank.restart();
    is_full_for_a_while(Run::begin(bank), || disk.leave(32 << 20), || disk.free());
}
