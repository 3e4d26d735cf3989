//! The server under load: with the segments of production, on plain accounts, asked how far it is.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::thread;
use std::time::{Duration, Instant};

use florin_tests::http::Client;
use florin_tests::server::{LARGE_SEGMENTS, TestServer};
use serde_json::{Value, json};

/// How many accounts there are, with ids from 1 on.
pub const ACCOUNTS: u64 = 10_000;
/// Distances of numbers that wander over all accounts.
const STEP: u64 = 7_919;
/// What is waited for moves within that, unless something hangs or the store is away: a benchmark on a full disk is to end.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// A server, and a client that asks it.
#[derive(Debug)]
pub struct Bank {
    /// The program.
    pub server: TestServer,
    /// Asks it.
    pub client: Client,
}

impl Bank {
    /// Starts one with these words and variables.
    ///
    /// # Panics
    /// It does not become ready.
    #[must_use]
    pub fn start(words: &[&str], variables: &[(&str, &str)]) -> Bank {
        let words = [&LARGE_SEGMENTS[..], words].concat();
        let server = TestServer::start_with_variables(&words, variables);
        let client = server.client();
        Bank { server, client }
    }

    /// Creates the accounts.
    ///
    /// # Panics
    /// One is refused.
    pub fn create_accounts(&self) {
        for first in (1..=ACCOUNTS).step_by(5_000) {
            let last = (first + 4_999).min(ACCOUNTS);
            let batch: Vec<Value> =
                (first..=last).map(|id| json!({"id": id.to_string()})).collect();
            let reply = self.client.request("POST /v1/accounts/batch").send(Value::Array(batch));
            assert_eq!(reply.status, 200, "{reply:?}");
        }
    }

    /// A figure of `/metrics`, named with its labels.
    ///
    /// # Panics
    /// There is none of this name.
    #[must_use]
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.client.request("GET /metrics").send(()).body;
        let mut figures = text.lines().filter_map(|line| line.rsplit_once(' '));
        let found = figures.find(|(found, _)| *found == name);
        let figure = found.and_then(|(_, figure)| figure.parse::<f64>().ok());
        figure.unwrap_or_else(|| panic!("{name} is not in {text}")) as u64
    }

    /// The last position that is durable: each transfer sent alone has one.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.metric("florin_journal_durable_seq")
    }

    /// The last position that the store has.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.metric("florin_store_seq")
    }

    /// Returns when a figure stands at `wanted` or above.
    ///
    /// # Panics
    /// It does not move for a minute.
    pub fn wait_until(&self, name: &str, wanted: u64) {
        let (mut last, mut moved) = (0, Instant::now());
        loop {
            let figure = self.metric(name);
            if figure >= wanted {
                return;
            }
            if figure != last {
                (last, moved) = (figure, Instant::now());
            }
            assert!(
                moved.elapsed() < PATIENCE,
                "{name} stays at {last} and does not reach {wanted}"
            );
            thread::sleep(POLL);
        }
    }

    /// Returns when the store has everything that is durable now.
    ///
    /// # Panics
    /// It does not move for a minute.
    pub fn wait_stored(&self) {
        self.wait_until("florin_store_seq", self.durable());
    }
}

/// Makes the bodies of single transfers from their numbers. Their ids are those of no other call; who pays whom wanders over all accounts.
pub fn transfers() -> impl Fn(u64) -> String + Send + Sync + 'static {
    let chance = RandomState::new().hash_one(());
    let name = format!("{:08x}-{:04x}-7000-8000", chance as u32, chance >> 48);
    move |number| {
        let debit = 1 + number * STEP % ACCOUNTS;
        let credit = 1 + (debit + number / ACCOUNTS % (ACCOUNTS - 1)) % ACCOUNTS;
        format!(
            r#"{{"id":"{name}-{number:012x}","debit_account_id":{debit},"credit_account_id":{credit},"amount":"0.01"}}"#
        )
    }
}
