//! The real program on a disk that fails under load: what was acknowledged is there afterwards, and nobody is told what is not so.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use florin_tests::bank::TestBank;
use florin_tests::history::{Call, Checker, Event};
use florin_tests::server::TestServer;
use florin_tests::witness::{Clock, Crowd, Witnesses, ask_again};
use serde_json::json;
use tempfile::TempDir;

const CROWD: Crowd =
    Crowd { accounts: 20, hot_accounts: 4, singles: 8, batches: 2, two_phase: 2, readers: 2 };

/// A library between the program and the disk, and the file that tells it what to do.
struct Fault {
    directory: TempDir,
}

impl Fault {
    fn build() -> Fault {
        let directory = TempDir::new().unwrap_or_else(|error| panic!("{error}"));
        let source = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let source = source.join("tests/blackbox/faulty_disk/fault.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(directory.path().join("fault.so"));
        let built = compiler.arg(source).arg("-ldl").status();
        assert!(built.is_ok_and(|status| status.success()), "cc (Debian: gcc) builds it");
        Fault { directory }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn bank(&self) -> TestBank {
        let (library, fault) = (self.path("fault.so"), self.path("fault"));
        let variables = [("LD_PRELOAD", library.as_str()), ("FLORIN_FAULT", fault.as_str())];
        let words = ["--segment-bytes", "128KiB"];
        TestBank::of(TestServer::start_with_variables(&words, &variables))
    }

    fn begin(&self, letter: &str) {
        fs::write(self.path("fault"), letter).unwrap_or_else(|error| panic!("{error}"));
    }

    fn end(&self) {
        fs::remove_file(self.path("fault")).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn a_sync_or_a_write_that_fails_ends_the_process_and_loses_nothing() {
    let fault = Fault::build();
    let mut bank = fault.bank();
    bank.check("POST /v1/accounts/batch", json!(CROWD.accounts()), "200");
    let mut checker = Checker::new((1..=CROWD.accounts).map(u128::from), Crowd::is_limited);
    let clock = Clock::start();
    let mut told: Vec<Event> = Vec::new();
    for (round, letter) in [(0, "s"), (1, "w"), (2, "s")] {
        let base = bank.server.base();
        let witnesses = Witnesses::start(CROWD, &base, round, clock, &checker.pending());
        let deadline = Instant::now() + Duration::from_secs(60);
        while witnesses.acknowledged() < 300 {
            assert!(Instant::now() < deadline, "they do not get on");
            thread::sleep(Duration::from_millis(1));
        }
        fault.begin(letter);
        assert_eq!(bank.server.ended_by_itself(), Some(1), "{letter}");
        let dead_ns = clock.now_ns();
        let testimony = witnesses.leave();
        let said = bank.server.stderr();
        assert!(said.contains("the journal failed"), "{letter}: {said}");
        assert!(!testimony.unanswered.is_empty(), "somebody waited when it failed");
        fault.end();
        bank.restart();
        let mut history = testimony.operations;
        for unanswered in testimony.unanswered {
            history.push(unanswered.resolve(bank.client(), clock, dead_ns).0);
        }
        if let Err(violation) = checker.check(&history) {
            panic!("after {letter}: {violation}");
        }
        for operation in history {
            if let Call::Command(command) = operation.call {
                told.extend(command.events);
            }
        }
    }
    ask_again(bank.client(), told.iter(), 100).unwrap_or_else(|error| panic!("{error}"));
    bank.server.stop();
    bank.server.verify();
}
