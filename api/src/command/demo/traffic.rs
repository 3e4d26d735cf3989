//! What one connection does: it asks for something, waits for the answer, and asks for the next thing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use florin_engine::Scale;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use uuid::Uuid;

use super::DemoError;
use super::cast::{Cast, amount, minor_units_in_one};
use super::tally::{Kind, Outcome, Tally};
use crate::command::client::{Answer, Client, ClientError};
use crate::command::text;

/// Of a thousand requests, how many are of each kind.
const PER_MILLE: [(Kind, u64); 6] = [
    (Kind::Payment, 790),
    (Kind::Salary, 60),
    (Kind::TooMuch, 10),
    (Kind::Retry, 20),
    (Kind::Batch, 20),
    (Kind::Balance, 100),
];

/// Of a hundred payments, how many go to the hot merchant.
const HOT_PERCENT: u64 = 30;

/// Transfers in a batch.
const BATCH: usize = 100;

/// How long to wait before the same is asked again of a server that is busy or does not answer.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a server may not answer before the demo ends.
const LOST_AFTER: Duration = Duration::from_secs(10);

/// The town and its money.
pub(super) struct Town {
    pub(super) cast: Cast,
    pub(super) scale: Scale,
    pub(super) currency: String,
}

/// One connection.
pub(super) struct Visit<'a> {
    client: Client,
    town: &'a Town,
    over: &'a AtomicBool,
    transfers: &'a AtomicU64,
    until: Instant,
    rng: SmallRng,
    tally: Tally,
    /// The newest payment that was done, to send it again.
    paid: Option<Value>,
}

impl<'a> Visit<'a> {
    pub(super) fn new(
        client: &Client,
        town: &'a Town,
        over: &'a AtomicBool,
        transfers: &'a AtomicU64,
        until: Instant,
    ) -> Visit<'a> {
        let seed = Uuid::now_v7().as_u64_pair().1;
        Visit {
            client: client.clone(),
            town,
            over,
            transfers,
            until,
            rng: SmallRng::seed_from_u64(seed),
            tally: Tally::new(),
            paid: None,
        }
    }

    /// Asks until the time is over.
    ///
    /// # Errors
    /// The server does not answer any more.
    pub(super) fn run(mut self) -> Result<Tally, DemoError> {
        while !self.is_over() {
            let kind = self.next_kind();
            self.ask(kind)?;
        }
        Ok(self.tally)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) || Instant::now() >= self.until
    }

    fn next_kind(&mut self) -> Kind {
        let mut rest = self.below(1_000);
        let kind = PER_MILLE.iter().find_map(|(kind, share)| {
            let found = (rest < *share).then_some(*kind);
            rest = rest.saturating_sub(*share);
            found
        });
        match kind {
            // Nothing can be sent again before something was done.
            Some(Kind::Retry) if self.paid.is_none() => Kind::Payment,
            Some(kind) => kind,
            None => Kind::Payment,
        }
    }

    /// Sends one request, again and again while the server is busy or the connection breaks: its ids make that safe.
    fn ask(&mut self, kind: Kind) -> Result<(), DemoError> {
        let (path, body) = self.request(kind);
        let mut lost_since = None;
        loop {
            let sent = Instant::now();
            match self.send(path.as_str(), body.as_ref()) {
                Ok(answer) => {
                    let outcome = Outcome::of(kind, &answer);
                    self.tally.count(kind, &outcome, sent.elapsed(), answer.seq);
                    if outcome != Outcome::Busy || self.is_over() {
                        self.remember(kind, body, &outcome);
                        return Ok(());
                    }
                }
                Err(error) => {
                    let since = *lost_since.get_or_insert(sent);
                    if since.elapsed() >= LOST_AFTER {
                        return Err(DemoError::Lost { why: text::sentence(&error) });
                    }
                }
            }
            thread::sleep(PAUSE);
        }
    }

    fn send(&self, path: &str, body: Option<&Value>) -> Result<Answer, ClientError> {
        match body {
            Some(body) => self.client.post(path, body),
            None => self.client.get(path),
        }
    }

    fn remember(&mut self, kind: Kind, body: Option<Value>, outcome: &Outcome) {
        let Outcome::Done { transfers, .. } = outcome else { return };
        self.transfers.fetch_add(*transfers, Ordering::Relaxed);
        if kind == Kind::Payment && *transfers == 1 {
            self.paid = body;
        }
    }

    fn request(&mut self, kind: Kind) -> (String, Option<Value>) {
        let one = minor_units_in_one(self.town.scale);
        let body = match kind {
            Kind::Payment => self.payment(),
            Kind::Salary => {
                let salary = 200 * one + self.below(200 * one);
                let person = self.person();
                self.transfer(self.town.cast.bank, person, salary)
            }
            Kind::TooMuch => {
                let (person, merchant) = (self.person(), self.merchant());
                self.transfer(person, merchant, 1_000_000_000 * one)
            }
            Kind::Retry => match &self.paid {
                Some(paid) => paid.clone(),
                None => self.payment(),
            },
            Kind::Batch => {
                let transfers = (0..BATCH).map(|_| self.settling_up()).collect::<Vec<_>>();
                return ("/v1/transfers/batch".into(), Some(Value::from(transfers)));
            }
            Kind::Balance => return (format!("/v1/accounts/{}", self.anybody()), None),
        };
        ("/v1/transfers".into(), Some(body))
    }

    /// Mostly small change, now and then more.
    fn payment(&mut self) -> Value {
        let one = minor_units_in_one(self.town.scale);
        let largest = if self.below(20) == 0 { 150 * one } else { 20 * one };
        let minor_units = 1 + self.below(largest);
        let (person, merchant) = (self.person(), self.merchant());
        let mut body = self.transfer(person, merchant, minor_units);
        if self.below(10) == 0 {
            body["metadata"] = json!({"note": "with a receipt"});
        }
        body
    }

    fn settling_up(&mut self) -> Value {
        let one = minor_units_in_one(self.town.scale);
        let people = self.town.cast.people.len() as u64;
        let from = self.below(people);
        let to = (from + 1 + self.below(people - 1)) % people;
        let minor_units = 1 + self.below(5 * one);
        let person = |index: u64| self.town.cast.people[index as usize];
        self.transfer(person(from), person(to), minor_units)
    }

    fn transfer(&self, from: Uuid, to: Uuid, minor_units: u64) -> Value {
        self.town.cast.transfer(from, to, &amount(minor_units, self.town.scale))
    }

    fn person(&mut self) -> Uuid {
        let people = &self.town.cast.people;
        people[self.below(people.len() as u64) as usize]
    }

    fn merchant(&mut self) -> Uuid {
        let merchants = &self.town.cast.merchants;
        let hot = self.below(100) < HOT_PERCENT;
        merchants[if hot { 0 } else { self.below(merchants.len() as u64) as usize }]
    }

    fn anybody(&mut self) -> Uuid {
        if self.below(4) == 0 { self.merchant() } else { self.person() }
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.rng.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_visit(check: impl FnOnce(&mut Visit)) {
        let town = Town {
            cast: Cast::invent(),
            scale: Scale::try_new(2).unwrap(),
            currency: "USD".into(),
        };
        let (over, transfers) = (AtomicBool::new(false), AtomicU64::new(0));
        let client = Client::new("http://127.0.0.1:1");
        check(&mut Visit::new(&client, &town, &over, &transfers, Instant::now()));
    }

    #[test]
    fn the_kinds_add_up_to_all_requests() {
        assert_eq!(PER_MILLE.iter().map(|(_, share)| share).sum::<u64>(), 1_000);
        assert_eq!(PER_MILLE.map(|(kind, _)| kind), Kind::ALL);
    }

    #[test]
    fn kinds_come_as_often_as_they_should() {
        with_visit(|visit| {
            visit.paid = Some(json!({}));
            let mut counts = [0_u64; Kind::ALL.len()];
            for _ in 0..100_000 {
                counts[visit.next_kind() as usize] += 1;
            }
            for (kind, share) in PER_MILLE {
                let expected = share as f64 * 100.0;
                let off = (counts[kind as usize] as f64 - expected).abs();
                assert!(off < 6.0 * expected.sqrt(), "{kind:?} {counts:?}");
            }
        });
    }

    #[test]
    fn a_retry_is_the_same_request_again_and_needs_one_before() {
        with_visit(|visit| {
            let (_, body) = visit.request(Kind::Payment);
            let done = Outcome::Done { transfers: 1, refused: [].into() };
            visit.remember(Kind::Payment, body.clone(), &done);
            assert_eq!(visit.request(Kind::Retry).1, body);
            assert_ne!(visit.request(Kind::Payment).1, body);
        });
        with_visit(|visit| {
            let (_, body) = visit.request(Kind::Payment);
            let refused =
                Outcome::Done { transfers: 0, refused: [("exceeds_credits".into(), 1)].into() };
            visit.remember(Kind::Payment, body, &refused);
            assert_eq!(visit.paid, None);
            assert!((0..10_000).all(|_| visit.next_kind() != Kind::Retry));
        });
    }

    #[test]
    fn a_batch_moves_money_between_different_people() {
        with_visit(|visit| {
            let (path, body) = visit.request(Kind::Batch);
            assert_eq!(path, "/v1/transfers/batch");
            let transfers = body.unwrap();
            let transfers = transfers.as_array().unwrap();
            assert_eq!(transfers.len(), BATCH);
            assert!(transfers.iter().all(|t| t["debit_account_id"] != t["credit_account_id"]));
        });
    }
}
