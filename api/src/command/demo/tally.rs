//! What one connection saw, and the sum of what all did.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::Value;

use crate::command::client::Answer;
use crate::command::page::field;

/// What people of the town ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A person pays a merchant.
    Payment,
    /// The bank pays a person.
    Salary,
    /// A person pays more than anybody has.
    TooMuch,
    /// A payment is sent again under its id, as if its answer had been lost.
    Retry,
    /// Many people settle up at once.
    Batch,
    /// Somebody looks at a balance.
    Balance,
}

impl Kind {
    /// All kinds, in the order in which they are shown.
    pub(super) const ALL: [Kind; 6] =
        [Kind::Payment, Kind::Salary, Kind::TooMuch, Kind::Retry, Kind::Batch, Kind::Balance];

    /// What people call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Payment => "payment",
            Kind::Salary => "salary",
            Kind::TooMuch => "payment of too much",
            Kind::Retry => "retry by id",
            Kind::Batch => "batch of 100",
            Kind::Balance => "balance",
        }
    }
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// So many transfers were done now, and so many refused, by code.
    Done { transfers: u64, refused: BTreeMap<String, u64> },
    /// It had been done before, and was not done again.
    Replayed,
    /// The server has too much to do: the same is to be sent again a little later.
    Busy,
    /// Not what the town should hear.
    Unexpected(String),
}

impl Outcome {
    /// What the answer to a request of this kind says.
    pub(super) fn of(kind: Kind, answer: &Answer) -> Outcome {
        let unexpected = || {
            let body: String = answer.body.chars().take(300).collect();
            Outcome::Unexpected(format!("{} got status {}: {body}", kind.name(), answer.status))
        };
        let refused = |code: String| Outcome::Done { transfers: 0, refused: [(code, 1)].into() };
        match (kind, answer.status) {
            (_, 429 | 503) => Outcome::Busy,
            (Kind::Balance, 200) => Outcome::Done { transfers: 0, refused: BTreeMap::new() },
            (Kind::Batch, 200) => {
                answer.json().map_or_else(|_| unexpected(), |json| of_batch(&json))
            }
            (Kind::Payment | Kind::Salary | Kind::TooMuch | Kind::Retry, 200)
                if answer.replayed =>
            {
                Outcome::Replayed
            }
            (Kind::Payment | Kind::Salary, 201) => {
                Outcome::Done { transfers: 1, refused: BTreeMap::new() }
            }
            // People do spend more than they have, also when nobody makes them.
            (Kind::Payment | Kind::TooMuch, 422) => match answer.problem() {
                Some(problem)
                    if ["exceeds_credits", "id_already_failed"]
                        .contains(&problem.code.as_str()) =>
                {
                    refused(problem.code)
                }
                _ => unexpected(),
            },
            _ => unexpected(),
        }
    }
}

fn of_batch(answer: &Value) -> Outcome {
    let mut refused = BTreeMap::new();
    for rejected in answer["rejected"].as_array().into_iter().flatten() {
        *refused.entry(field(rejected, "code")).or_insert(0) += 1;
    }
    Outcome::Done { transfers: answer["created"].as_u64().unwrap_or(0), refused }
}

/// Counts and latencies.
pub(super) struct Tally {
    pub(super) transfers: u64,
    pub(super) refused: BTreeMap<String, u64>,
    pub(super) replayed: u64,
    pub(super) busy: u64,
    pub(super) unexpected: u64,
    pub(super) first_unexpected: Option<String>,
    /// The newest position that an answer named.
    pub(super) last_seq: u64,
    /// Nanoseconds by kind, in the order of [`Kind::ALL`].
    latency: [Histogram<u64>; Kind::ALL.len()],
}

impl Tally {
    /// Nothing yet.
    pub(super) fn new() -> Tally {
        Tally {
            transfers: 0,
            refused: BTreeMap::new(),
            replayed: 0,
            busy: 0,
            unexpected: 0,
            first_unexpected: None,
            last_seq: 0,
            latency: std::array::from_fn(|_| histogram()),
        }
    }

    /// Counts an answered request.
    pub(super) fn count(
        &mut self,
        kind: Kind,
        outcome: &Outcome,
        latency: Duration,
        seq: Option<u64>,
    ) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latency[kind as usize].record(nanos).expect("the histogram grows as it must");
        self.last_seq = self.last_seq.max(seq.unwrap_or(0));
        match outcome {
            Outcome::Done { transfers, refused } => {
                self.transfers += transfers;
                self.add_refused(refused);
            }
            Outcome::Replayed => self.replayed += 1,
            Outcome::Busy => self.busy += 1,
            Outcome::Unexpected(what) => {
                self.unexpected += 1;
                self.first_unexpected.get_or_insert_with(|| what.clone());
            }
        }
    }

    /// Adds what another connection saw.
    pub(super) fn add(&mut self, other: &Tally) {
        self.transfers += other.transfers;
        self.add_refused(&other.refused);
        self.replayed += other.replayed;
        self.busy += other.busy;
        self.unexpected += other.unexpected;
        if self.first_unexpected.is_none() {
            self.first_unexpected.clone_from(&other.first_unexpected);
        }
        self.last_seq = self.last_seq.max(other.last_seq);
        for (mine, theirs) in self.latency.iter_mut().zip(&other.latency) {
            *mine += theirs;
        }
    }

    fn add_refused(&mut self, refused: &BTreeMap<String, u64>) {
        for (code, count) in refused {
            *self.refused.entry(code.clone()).or_insert(0) += count;
        }
    }

    /// How long requests of a kind took.
    pub(super) fn latency(&self, kind: Kind) -> &Histogram<u64> {
        &self.latency[kind as usize]
    }

    /// How long all requests took.
    pub(super) fn latency_of_all(&self) -> Histogram<u64> {
        self.latency.iter().fold(histogram(), |mut sum, part| {
            sum += part;
            sum
        })
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three significant digits are allowed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, replayed: bool, body: &str) -> Answer {
        Answer::new(status, replayed, None, body.to_owned(), "http://x")
    }

    fn check(kind: Kind, answer: &Answer, expected: &str) {
        let shown = match Outcome::of(kind, answer) {
            Outcome::Done { transfers, refused } => {
                format!("{transfers} done, refused {refused:?}")
            }
            Outcome::Replayed => "replayed".into(),
            Outcome::Busy => "busy".into(),
            Outcome::Unexpected(what) => format!("unexpected: {what}"),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn answers_are_counted_for_what_they_say() {
        use Kind::*;
        let exceeds = r#"{"code":"exceeds_credits","status":422}"#;
        check(Payment, &answer(201, false, "{}"), "1 done, refused {}");
        check(Payment, &answer(422, false, exceeds), "0 done, refused {\"exceeds_credits\": 1}");
        check(Payment, &answer(200, true, "{}"), "replayed");
        check(Retry, &answer(200, true, "{}"), "replayed");
        check(TooMuch, &answer(422, false, exceeds), "0 done, refused {\"exceeds_credits\": 1}");
        check(Balance, &answer(200, false, "{}"), "0 done, refused {}");
        check(Salary, &answer(503, false, "{}"), "busy");
        let batch = r#"{"created":98,"replayed":0,"rejected":[{"code":"exceeds_credits"},{"code":"exceeds_credits"}]}"#;
        check(Batch, &answer(200, false, batch), "98 done, refused {\"exceeds_credits\": 2}");
    }

    #[test]
    fn what_should_not_be_is_not_passed_over() {
        use Kind::*;
        check(Retry, &answer(201, false, "{}"), "unexpected: retry by id got status 201: {}");
        check(
            TooMuch,
            &answer(201, false, "{}"),
            "unexpected: payment of too much got status 201: {}",
        );
        check(Payment, &answer(200, false, "{}"), "unexpected: payment got status 200: {}");
        check(Salary, &answer(422, false, "{}"), "unexpected: salary got status 422: {}");
        check(Balance, &answer(404, false, "{}"), "unexpected: balance got status 404: {}");
        check(
            Payment,
            &answer(422, false, r#"{"code":"debit_account_not_found"}"#),
            "unexpected: payment got status 422: {\"code\":\"debit_account_not_found\"}",
        );
    }

    #[test]
    fn the_sum_is_that_of_its_parts() {
        let mut one = Tally::new();
        let done = Outcome::Done { transfers: 1, refused: BTreeMap::new() };
        one.count(Kind::Payment, &done, Duration::from_millis(1), Some(7));
        one.count(Kind::Retry, &Outcome::Replayed, Duration::from_millis(2), Some(9));
        let mut two = Tally::new();
        let refused =
            Outcome::Done { transfers: 98, refused: [("exceeds_credits".into(), 2)].into() };
        two.count(Kind::Batch, &refused, Duration::from_millis(30), Some(8));
        two.count(Kind::Salary, &Outcome::Unexpected("odd".into()), Duration::from_millis(1), None);
        let mut sum = Tally::new();
        sum.add(&one);
        sum.add(&two);
        assert_eq!((sum.transfers, sum.replayed, sum.unexpected, sum.last_seq), (99, 1, 1, 9));
        assert_eq!(sum.refused, [("exceeds_credits".to_owned(), 2)].into());
        assert_eq!(sum.first_unexpected.as_deref(), Some("odd"));
        assert_eq!(sum.latency_of_all().len(), 4);
        assert_eq!(sum.latency(Kind::Batch).len(), 1);
        assert!(sum.latency_of_all().max() >= 30_000_000);
    }
}
