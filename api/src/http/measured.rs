//! What reads bodies and writes answers, without a request around it: for benchmarks. Each function calls what the routes call, and panics where those
//! would refuse.

use actix_web::web::Bytes;
use florin_actors::{Answer, Florin};
use florin_engine::{CreateTransfer, TransferId};
use futures_util::FutureExt;

use super::answers::Answers;
use super::batch::Results;
use super::exchange::Mode;
use super::fresh::fresh_id;
use super::ledger::Ledger;
use super::transfers::NamedTransfers;
use super::wire::input::NewTransfer;
use super::wire::json::{Place, read};
use crate::telemetry::{self, OutcomeMetrics};

/// Of which events a batch's answer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Of those that were refused.
    Refused,
    /// Of each.
    Each,
}

/// The transfer in a body.
///
/// # Panics
/// There is none.
#[must_use]
pub fn read_transfer(body: &[u8]) -> CreateTransfer {
    let asked: NewTransfer<'_> = read(body, Place::Object).expect("it is an object");
    asked.decode(fresh_id).expect("it is a transfer").0
}

/// The transfers in the body of a batch.
///
/// # Panics
/// They can not be read.
#[must_use]
pub fn read_batch(body: &[u8]) -> Vec<CreateTransfer> {
    NamedTransfers::read(body).expect("they are transfers").transfers
}

/// What writes answers.
pub struct Edge {
    ledger: Ledger,
    outcomes: OutcomeMetrics,
}

impl Edge {
    /// One that tells what this ledger answers.
    #[must_use]
    pub fn new(florin: Florin) -> Edge {
        // The counters below count into this recorder.
        telemetry::recorder();
        Edge { ledger: Ledger::Owner(florin), outcomes: OutcomeMetrics::new() }
    }

    fn answers(&self) -> Answers<'_> {
        Answers { ledger: &self.ledger, metrics: &self.outcomes, mode: Mode::Real }
    }

    /// The body of the answer to a transfer that was created.
    ///
    /// # Panics
    /// It was not.
    #[must_use]
    pub fn answer_transfer(&self, id: TransferId, answer: &Answer) -> Bytes {
        let reply = self.answers().transfer(id, answer).now_or_never();
        reply.expect("what was created is at hand").expect("it was created").body
    }

    /// The body of the answer to a batch whose transfers have these ids, where the caller named them.
    ///
    /// # Panics
    /// It is not the answer to such a batch.
    #[must_use]
    pub fn answer_batch(&self, named: &[Option<u128>], told: Told, answer: &Answer) -> Bytes {
        let results = match told {
            Told::Refused => Results::Rejected,
            Told::Each => Results::All,
        };
        self.answers().batch(named, results, answer).expect("it can be told").body
    }
}

#[cfg(test)]
mod tests {
    use florin_actors::{Durability, Options};
    use florin_engine::{AccountId, Command, CreateAccount};

    use super::*;

    #[tokio::test]
    async fn it_reads_and_writes_what_the_routes_do() {
        let directory = tempfile::tempdir().unwrap();
        let mut options = Options::new(directory.path().join("data"));
        options.segment_bytes = 4 << 20;
        options.durability = Durability::Memory;
        let florin = Florin::open(options).unwrap();
        let accounts = [1, 2].map(|id| CreateAccount::new(AccountId(id)));
        florin.submit(Command::CreateAccounts(accounts.into()), None).await.unwrap();
        let edge = Edge::new(florin.clone());

        let text = |id: u128| {
            format!(r#"{{"id":{id},"debit_account_id":1,"credit_account_id":2,"amount":"0.07"}}"#)
        };
        let one = read_transfer(text(7).as_bytes());
        let answer = florin.submit(Command::CreateTransfers(vec![one]), None).await.unwrap();
        let body = edge.answer_transfer(TransferId(7), &answer);
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&body["amount"], &body["status"]), (&"0.07".into(), &"posted".into()));
        assert_eq!(body["credit_account"]["balance"], "0.07", "{body}");

        let two = read_batch(format!("[{},{}]", text(8), text(9)).as_bytes());
        let named: Vec<_> = two.iter().map(|transfer| Some(transfer.id.0)).collect();
        let answer = florin.submit(Command::CreateTransfers(two), None).await.unwrap();
        for (told, results) in [(Told::Refused, 0), (Told::Each, 2)] {
            let body = edge.answer_batch(&named, told, &answer);
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["created"], 2);
            assert_eq!(body["results"].as_array().map_or(0, Vec::len), results);
        }
        florin.stop().await;
    }
}
