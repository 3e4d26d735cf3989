//! The client against the real server, and against what a client meets when there is none.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod batching;
mod bounds;
mod calls;
mod trouble;

use std::time::Duration;

use florin_client::{AccountId, Amount, Client, NewAccount, Settings, Transfer};
use florin_tests::bank::TestBank;

/// The settings of a client of this bank.
fn settings(bank: &TestBank) -> Settings {
    Settings::new(bank.server.base())
}

fn client(bank: &TestBank) -> Client {
    Client::new(settings(bank)).unwrap()
}

fn account(id: u128) -> AccountId {
    AccountId(id)
}

/// A transfer of so many cents.
fn transfer(debit: u128, credit: u128, cents: u64) -> Transfer {
    Transfer::new(account(debit), account(credit), Amount::from_minor(cents))
}

async fn open(client: &Client, ids: &[u128]) {
    let accounts: Vec<_> = ids.iter().map(|id| NewAccount::new(account(*id))).collect();
    for outcome in client.create_accounts(&accounts).await.unwrap() {
        outcome.unwrap();
    }
}

async fn balance(client: &Client, id: u128) -> String {
    client.balance(account(id)).await.unwrap().unwrap().to_string()
}

/// What a call that did not succeed tells.
fn shown<T: std::fmt::Debug>(outcome: &Result<T, florin_client::Error>) -> String {
    use florin_client::Error;
    match outcome {
        Ok(_) => "done".to_owned(),
        Err(Error::Refused(refusal)) => refusal.code.to_string(),
        Err(Error::NotSent { .. }) => "not sent".to_owned(),
        Err(Error::OutcomeUnknown { .. }) => "unknown".to_owned(),
        Err(Error::QueueFull) => "full".to_owned(),
        Err(Error::Unsendable { .. }) => "unsendable".to_owned(),
        Err(Error::Foreign { .. }) => "foreign".to_owned(),
    }
}

/// Settings that give up soon.
fn hasty(url: &str) -> Settings {
    Settings {
        deadline: Duration::from_millis(1200),
        attempt_timeout: Duration::from_millis(400),
        ..Settings::new(url)
    }
}
