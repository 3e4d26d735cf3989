//! What clients see at the same time, and through crashes, can have happened one after the other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use florin_tests::bank::TestBank;
use florin_tests::history::{Answerer, Call, Checker, Event, Operation};
use florin_tests::postgres::Postgres;
use florin_tests::random::Random;
use florin_tests::redis::Redis;
use florin_tests::server::{SMALL_SEGMENTS, TestServer};
use florin_tests::witness::{Clock, Crowd, Witnesses, ask_again, read};
use serde_json::json;

/// Few accounts, so that nearly everything meets something else.
const CROWD: Crowd =
    Crowd { accounts: 6, hot_accounts: 3, singles: 8, batches: 2, two_phase: 3, readers: 4 };

fn create_accounts(bank: &TestBank) -> Checker {
    bank.check("POST /v1/accounts/batch", json!(CROWD.accounts()), "200");
    Checker::new((1..=CROWD.accounts).map(u128::from), Crowd::is_limited)
}

#[track_caller]
fn wait_for(witnesses: &Witnesses, transfers: u64) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while witnesses.acknowledged() < transfers {
        assert!(Instant::now() < deadline, "they do not get on: {witnesses:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn events(history: &[Operation]) -> impl Iterator<Item = &Event> {
    history.iter().flat_map(|operation| match &operation.call {
        Call::Command(command) => command.events.as_slice(),
        Call::Read(_) => &[],
    })
}

#[test]
fn histories_with_crashes_are_strictly_serializable() {
    let mut bank = TestBank::of(TestServer::start_with(&SMALL_SEGMENTS));
    let mut checker = create_accounts(&bank);
    let clock = Clock::start();
    let mut told = Vec::new();
    for round in 0..4 {
        let pending = checker.pending();
        let witnesses = Witnesses::start(CROWD, &bank.server.base(), round, clock, &pending);
        wait_for(&witnesses, 700);
        bank.server.kill();
        let dead_ns = clock.now_ns();
        let testimony = witnesses.leave();
        bank.restart();
        let mut history = testimony.operations;
        for unanswered in testimony.unanswered {
            history.push(unanswered.resolve(bank.client(), clock, dead_ns).0);
        }
        if let Err(violation) = checker.check(&history) {
            panic!("round {round}: {violation}");
        }
        told.extend(events(&history).cloned());
    }
    assert!(!checker.pending().is_empty(), "some is left reserved");
    // What was told in any round is told again, and by that nothing changes.
    for _ in 0..2 {
        ask_again(bank.client(), told.iter(), 100).unwrap_or_else(|error| panic!("{error}"));
    }
    let last = (1..=CROWD.accounts).map(|id| {
        let invoked_ns = clock.now_ns();
        let read = read(bank.client(), id.into(), 0, Answerer::Owner);
        let read = read.unwrap_or_else(|| panic!("account {id} is not answered"));
        Operation { process: 0, invoked_ns, returned_ns: clock.now_ns(), call: Call::Read(read) }
    });
    let last: Vec<Operation> = last.collect();
    assert_eq!(checker.check(&last), Ok(()));
    bank.server.stop();
    bank.server.verify();
}

#[test]
fn reads_as_of_a_position_never_go_back_on_a_reader() {
    let (postgres, redis) = (Postgres::shared(), Redis::start());
    let (database, cache) = (postgres.url(&postgres.create_database()), redis.url());
    let urls = [("FLORIN_DATABASE_URL", database.as_str()), ("FLORIN_REDIS_URL", cache.as_str())];
    let owner = TestBank::of(TestServer::start_with_variables(&[], &urls));
    let reader = TestServer::start_with_variables(&["--role", "read"], &urls);
    let mut checker = create_accounts(&owner);
    let clock = Clock::start();
    let (done, late) = (AtomicBool::new(false), AtomicU64::new(0));
    // A few, so that the reader gets to follow.
    let crowd = Crowd { singles: 2, batches: 1, two_phase: 1, readers: 0, ..CROWD };
    let witnesses = Witnesses::start(crowd, &owner.server.base(), 0, clock, &[]);
    let mut history = thread::scope(|scope| {
        let sessions: Vec<_> = (100..104)
            .map(|process| {
                let (owner, reader) = (owner.server.client(), reader.client());
                let (done, late) = (&done, &late);
                scope.spawn(move || session(process, [&owner, &reader], clock, (done, late)))
            })
            .collect();
        wait_for(&witnesses, 2_000);
        // For as long as it takes to see something.
        let deadline = Instant::now() + Duration::from_secs(60);
        while late.load(Ordering::Relaxed) < 100 {
            assert!(Instant::now() < deadline, "the reader does not follow");
            thread::sleep(Duration::from_millis(5));
        }
        done.store(true, Ordering::Relaxed);
        let read = sessions.into_iter().flat_map(|it| it.join().unwrap_or_else(|_| panic!()));
        read.collect::<Vec<Operation>>()
    });
    let testimony = witnesses.leave();
    assert!(testimony.unanswered.is_empty(), "{:?}", testimony.unanswered);
    history.extend(testimony.operations);
    if let Err(violation) = checker.check(&history) {
        panic!("{violation}");
    }
}

/// Reads on a reader as of the newest position that it has seen there, and now and then at the owner.
fn session(
    process: u32,
    [owner, reader]: [&florin_tests::http::Client; 2],
    clock: Clock,
    (done, late): (&AtomicBool, &AtomicU64),
) -> Vec<Operation> {
    let mut random = Random::new(process.into());
    let mut seen = Vec::new();
    let mut newest = 0;
    while !done.load(Ordering::Relaxed) {
        let id = 1 + u128::from(random.below(CROWD.accounts));
        let (client, source) = match random.below(8) {
            0 => (owner, Answerer::Owner),
            _ => (reader, Answerer::Reader),
        };
        let invoked_ns = clock.now_ns();
        // A busy machine's cache and store may be later than the reader waits for: that is no answer.
        let Some(read) = read(client, id, newest, source) else { continue };
        newest = read.seq.max(newest);
        late.fetch_add(u64::from(source == Answerer::Reader), Ordering::Relaxed);
        let returned_ns = clock.now_ns();
        seen.push(Operation { process, invoked_ns, returned_ns, call: Call::Read(read) });
    }
    seen
}
