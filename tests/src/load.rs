//! A crowd of clients that remembers what each of them was told, so that after a crash every word can be held against the
//! server.
//!
//! Whatever was acknowledged must be there, as it was told, once. What was under way when the server died may or may not have
//! happened, but a retry must find one outcome that then stays. What was read before the crash must still hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bank::{TestBank, transfer, transfer_with_id};
use crate::http::{Client, Reply};
use crate::random::Random;

/// How many accounts the crowd uses: ids from 1 on, of which the second half can not be overdrawn.
pub const ACCOUNTS: u128 = 20;
/// How many transfers a client that sends batches puts into each.
const BATCH: u128 = 40;

/// What a client knows of a transfer that it sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It happened, at this time.
    Created(String),
    /// It was refused for a reason that burns its id.
    Failed,
    /// No answer came, or one that says that it does not know.
    Unknown,
}

/// A transfer that a client sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its id, unless it was sent under an `Idempotency-Key` without one.
    pub id: Option<u128>,
    /// Its key, if it had one.
    pub key: Option<String>,
    /// The account that gives.
    pub debit: u128,
    /// The account that receives.
    pub credit: u128,
    /// Minor units of a ledger of scale 2.
    pub amount: u64,
    /// What the client was told.
    pub outcome: Outcome,
    /// The whole first answer, if it was a single one.
    pub answer: Option<Value>,
}

/// An account as a client read it.
#[derive(Clone, Debug)]
struct Seen {
    id: u128,
    account: Value,
}

/// What all clients remember.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// Every transfer that was sent.
    pub sent: Vec<Sent>,
    seen: Vec<Seen>,
}

/// Clients at work.
#[derive(Debug)]
pub struct Crowd {
    acknowledged: Arc<AtomicU64>,
    leave: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Story>>,
}

#[derive(Clone, Copy)]
enum Habit {
    Single,
    Batch,
    Keyed,
    Reader,
}

/// Creates the accounts that the crowd uses.
pub fn create_accounts(bank: &TestBank) {
    let accounts: Vec<Value> = (1..=ACCOUNTS)
        .map(|id| match id > ACCOUNTS / 2 {
            true => json!({"id": id.to_string(), "flags": ["debits_must_not_exceed_credits"]}),
            false => json!({"id": id.to_string()}),
        })
        .collect();
    bank.check("POST /v1/accounts/batch", Value::Array(accounts), "200");
}

impl Crowd {
    /// Sends a crowd to a server. Crowds of different rounds use different ids and keys.
    #[must_use]
    pub fn start(client: &Client, round: u64) -> Crowd {
        let acknowledged = Arc::<AtomicU64>::default();
        let leave = Arc::<AtomicBool>::default();
        let habits = [
            [Habit::Single; 6].as_slice(),
            [Habit::Batch; 2].as_slice(),
            [Habit::Keyed; 2].as_slice(),
            [Habit::Reader; 2].as_slice(),
        ];
        let clients = habits.concat().into_iter().zip(0_u64..).map(|(habit, number)| {
            let visitor = Visitor {
                client: Client::new(client.base()),
                random: Random::new(round * 1000 + number),
                name: round * 1000 + number,
                count: 0,
                acknowledged: Arc::clone(&acknowledged),
                story: Story::default(),
            };
            let leave = Arc::clone(&leave);
            thread::spawn(move || visitor.visit(habit, &leave))
        });
        let clients = clients.collect();
        Crowd { acknowledged, leave, clients }
    }

    /// Returns when the crowd was told of this many transfers that they happened.
    ///
    /// # Panics
    /// It takes for ever.
    pub fn wait_for(&self, transfers: u64) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.acknowledged.load(Ordering::Relaxed) < transfers {
            assert!(Instant::now() < deadline, "the crowd does not get on: {self:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until all clients have given up or finished, and hears what they remember.
    ///
    /// # Panics
    /// A client was told something impossible.
    #[must_use]
    pub fn leave(self) -> Story {
        self.leave.store(true, Ordering::Relaxed);
        let mut story = Story::default();
        for client in self.clients {
            story.extend(client.join().expect("a client was told something impossible"));
        }
        story
    }
}

struct Visitor {
    client: Client,
    random: Random,
    name: u64,
    count: u128,
    acknowledged: Arc<AtomicU64>,
    story: Story,
}

impl Visitor {
    fn visit(mut self, habit: Habit, leave: &AtomicBool) -> Story {
        let mut served = true;
        while served && !leave.load(Ordering::Relaxed) {
            served = match habit {
                Habit::Single => self.send_single(),
                Habit::Batch => self.send_batch(),
                Habit::Keyed => self.send_keyed(),
                Habit::Reader => self.read_account(),
            };
        }
        self.story
    }

    fn next_transfer(&mut self) -> Sent {
        self.count += 1;
        let debit = 1 + u128::from(self.random.below(ACCOUNTS as u64));
        let others = 1 + u128::from(self.random.below(ACCOUNTS as u64 - 1));
        let credit = (debit + others - 1) % ACCOUNTS + 1;
        Sent {
            id: Some((u128::from(self.name) + 1) << 64 | self.count),
            key: None,
            debit,
            credit,
            amount: 1 + self.random.below(500),
            outcome: Outcome::Unknown,
            answer: None,
        }
    }

    fn send_single(&mut self) -> bool {
        let sent = self.next_transfer();
        self.send(sent)
    }

    fn send_keyed(&mut self) -> bool {
        let mut sent = self.next_transfer();
        sent.id = None;
        sent.key = Some(format!("client-{}-{}", self.name, self.count));
        self.send(sent)
    }

    fn send(&mut self, mut sent: Sent) -> bool {
        let answer = sent.try_post(&self.client);
        let served = matches!(&answer, Ok(reply) if reply.status != 503);
        if let Ok(reply) = &answer {
            sent.learn(reply);
        }
        self.note(&sent);
        self.story.sent.push(sent);
        served
    }

    fn send_batch(&mut self) -> bool {
        let mut batch: Vec<Sent> = (0..BATCH).map(|_| self.next_transfer()).collect();
        let body = Value::Array(batch.iter().map(Sent::body).collect());
        let request = self.client.request("POST /v1/transfers/batch?results=all");
        let answer = request.try_send(body).ok().filter(|reply| reply.status != 503);
        if let Some(reply) = &answer {
            assert_eq!(reply.status, 200, "{reply:?}");
            let results = reply.json()["results"].clone();
            let results = results.as_array().expect("the results were asked for");
            assert_eq!(results.len(), batch.len(), "one result for each event");
            for (sent, result) in batch.iter_mut().zip(results) {
                sent.outcome = match result["status"].as_str() {
                    Some("created") => Outcome::Created(timestamp_of(result)),
                    Some("exceeds_credits") => Outcome::Failed,
                    other => panic!("a transfer of the crowd became {other:?}"),
                };
                self.note(sent);
            }
        }
        self.story.sent.append(&mut batch);
        answer.is_some()
    }

    fn read_account(&mut self) -> bool {
        let id = 1 + u128::from(self.random.below(ACCOUNTS as u64));
        let Ok(reply) = self.client.request(&format!("GET /v1/accounts/{id}")).try_send(()) else {
            return false;
        };
        if reply.status == 200 {
            self.story.seen.push(Seen { id, account: reply.json() });
        }
        reply.status == 200
    }

    fn note(&self, sent: &Sent) {
        if let Outcome::Created(_) = sent.outcome {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Sent {
    fn body(&self) -> Value {
        let amount = money(self.amount.into());
        match self.id {
            Some(id) => transfer_with_id(id, self.debit, self.credit, &amount),
            None => transfer(self.debit, self.credit, &amount),
        }
    }

    fn try_post(&self, client: &Client) -> Result<Reply, String> {
        let mut request = client.request("POST /v1/transfers");
        if let Some(key) = &self.key {
            request = request.header("Idempotency-Key", key);
        }
        request.try_send(self.body())
    }

    /// Takes in the answer to a first try.
    fn learn(&mut self, reply: &Reply) {
        match reply.summary().as_str() {
            "201" => {
                self.outcome = Outcome::Created(timestamp_of(&reply.json()));
                self.answer = Some(reply.json());
            }
            "422 exceeds_credits" => self.outcome = Outcome::Failed,
            _ if reply.status == 503 => {}
            other => panic!("a transfer of the crowd was answered {other}: {reply:?}"),
        }
    }

    /// Asks for it again, and compares with what is known. Afterwards it is known.
    fn retry(&mut self, client: &Client) {
        let reply = self.try_post(client).expect("the server answers");
        let summary = reply.summary();
        match (&self.outcome, summary.as_str()) {
            (Outcome::Created(timestamp), "200 replayed") => {
                assert_eq!(timestamp_of(&reply.json()), *timestamp, "{self:?}");
                assert!(self.key.is_none(), "a key repeats the first answer whole: {reply:?}");
            }
            (Outcome::Created(_), "201 replayed") => {
                assert!(self.key.is_some(), "{self:?}: {reply:?}");
                if let Some(answer) = &self.answer {
                    assert_eq!(reply.json(), *answer, "a key repeats the first answer whole");
                }
            }
            (Outcome::Failed, "422 id_already_failed") => assert!(self.id.is_some()),
            // A refusal leaves the key free, and without an id it is a new try, which may end otherwise.
            (Outcome::Failed, "201") if self.id.is_none() => self.learn(&reply),
            (Outcome::Failed, "422 exceeds_credits") if self.id.is_none() => {}
            (Outcome::Unknown, "200 replayed" | "201 replayed") => {
                self.outcome = Outcome::Created(timestamp_of(&reply.json()));
                self.answer = Some(reply.json());
            }
            (Outcome::Unknown, "201" | "422 exceeds_credits") => self.learn(&reply),
            (Outcome::Unknown, "422 id_already_failed") => self.outcome = Outcome::Failed,
            _ => panic!("a retry of {self:?} was answered {summary}: {reply:?}"),
        }
    }

    /// Reads it by id. What happened must be there as it was told; what is not known to have happened is told by the answer.
    fn look_up(&self, bank: &TestBank) -> Option<String> {
        let told = self.answer.as_ref().and_then(|answer| answer["id"].as_str()).map(str::to_owned);
        let id = self.id.map(|id| id.to_string()).or(told)?;
        let reply = bank.client().request(&format!("GET /v1/transfers/{id}")).send(());
        let found = match (&self.outcome, reply.status) {
            (Outcome::Created(_) | Outcome::Unknown, 200) => reply.json(),
            (Outcome::Failed | Outcome::Unknown, 404) => return None,
            _ => panic!("{self:?} reads as {reply:?}"),
        };
        if let Outcome::Created(timestamp) = &self.outcome {
            assert_eq!(timestamp_of(&found), *timestamp, "{self:?}");
        }
        let fields = ["debit_account_id", "credit_account_id", "amount", "status"];
        let expected = [
            self.debit.to_string(),
            self.credit.to_string(),
            money(self.amount.into()),
            "posted".into(),
        ];
        for (field, expected) in fields.into_iter().zip(expected) {
            assert_eq!(found[field], expected, "{field} of {self:?} in {found}");
        }
        found["id"].as_str().map(str::to_owned)
    }
}

impl Story {
    /// Adds what others remember.
    pub fn extend(&mut self, other: Story) {
        self.sent.extend(other.sent);
        self.seen.extend(other.seen);
    }

    /// Holds every word against the server, then asks for everything again, twice, and looks at balances and lists.
    ///
    /// # Panics
    /// Something acknowledged is missing or different, or something happened twice.
    pub fn check(&mut self, bank: &TestBank) {
        for sent in &self.sent {
            // Whether the unknown ones happened is told by reading; that the known ones did is checked by it.
            let _ = sent.look_up(bank);
        }
        for _ in 0..2 {
            for sent in &mut self.sent {
                sent.retry(bank.client());
            }
        }
        self.check_balances(bank);
        self.check_list(bank);
    }

    /// What was read before must still hold: an account only ever moves on from what anybody saw.
    ///
    /// # Panics
    /// Something that was read is undone.
    pub fn check_seen(&self, bank: &TestBank) {
        for Seen { id, account: before } in &self.seen {
            let after = bank.get(&format!("/v1/accounts/{id}"));
            let (version, old_version) = (after["version"].as_u64(), before["version"].as_u64());
            assert!(version >= old_version, "{before} was undone: {after}");
            if version == old_version {
                assert_eq!(after["balance"], before["balance"], "the same version of account {id}");
            }
            for side in ["debits_posted", "credits_posted"] {
                let (after, before) = (minor(&after[side]), minor(&before[side]));
                assert!(after >= before, "{side} of account {id} went from {before} to {after}");
            }
        }
    }

    /// Every account has exactly what the transfers that happened gave it.
    fn check_balances(&self, bank: &TestBank) {
        let mut expected = BTreeMap::<u128, (u128, u128)>::new();
        for sent in self.sent.iter().filter(|sent| sent.has_happened()) {
            expected.entry(sent.debit).or_default().0 += u128::from(sent.amount);
            expected.entry(sent.credit).or_default().1 += u128::from(sent.amount);
        }
        for id in 1..=ACCOUNTS {
            let account = bank.get(&format!("/v1/accounts/{id}"));
            let found = (minor(&account["debits_posted"]), minor(&account["credits_posted"]));
            assert_eq!(found, expected.remove(&id).unwrap_or_default(), "account {id}: {account}");
        }
    }

    /// The store has every transfer that happened, and each once, in the order of their times.
    fn check_list(&self, bank: &TestBank) {
        let transfers = bank.list("/v1/transfers?limit=1000&order=asc");
        let times: Vec<String> = transfers.iter().map(timestamp_of).collect();
        assert!(times.is_sorted_by(|before, after| before < after), "each time is there once");
        let mut expected: Vec<String> = self.sent.iter().filter_map(Sent::time).collect();
        expected.sort();
        let missing = expected.iter().find(|time| times.binary_search(time).is_err());
        assert_eq!(missing, None, "the store lacks the transfer of this time");
        assert_eq!(times.len(), expected.len(), "the store has transfers that nobody was told of");
    }
}

impl Sent {
    fn has_happened(&self) -> bool {
        matches!(self.outcome, Outcome::Created(_))
    }

    fn time(&self) -> Option<String> {
        match &self.outcome {
            Outcome::Created(timestamp) => Some(timestamp.clone()),
            Outcome::Failed | Outcome::Unknown => None,
        }
    }
}

fn timestamp_of(thing: &Value) -> String {
    thing["timestamp"].as_str().unwrap_or_else(|| panic!("no timestamp in {thing}")).to_owned()
}

/// Minor units of a ledger of scale 2, as an answer shows them.
#[must_use]
pub fn money(minor_units: u128) -> String {
    format!("{}.{:02}", minor_units / 100, minor_units % 100)
}

/// The minor units behind an amount of a ledger of scale 2.
///
/// # Panics
/// It is no such amount.
#[must_use]
pub fn minor(amount: &Value) -> u128 {
    let text = amount.as_str().unwrap_or_else(|| panic!("{amount} is no amount"));
    let digits: String = text.chars().filter(|c| *c != '.').collect();
    digits.parse().unwrap_or_else(|_| panic!("{amount} is no amount"))
}
