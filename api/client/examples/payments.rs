//! Opens two accounts, moves money between them from a hundred tasks at once, and reads the balance.

use florin_client::{
    AccountFlags, AccountId, Amount, Client, Error, NewAccount, Settings, Transfer,
};

pub(crate) async fn pay(url: &str) -> Result<String, Box<dyn std::error::Error>> {
    // `settings.api_key`, `settings.authorities` and the bounds can be changed.
    let client = Client::new(Settings::new(url))?;
    let (bank, alice) = (AccountId(1001), AccountId(1002));
    client.create_account(NewAccount::new(bank)).await?;
    let limited = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS;
    client.create_account(NewAccount::new(alice).with_flags(limited)).await?;

    // Amounts are minor units: 5.00 each. The tasks share a few requests.
    let mut tasks = Vec::new();
    for _ in 0..100 {
        let client = client.clone();
        let transfer = Transfer::new(bank, alice, Amount::from_minor(500));
        tasks.push(tokio::spawn(async move { client.transfer(transfer).await }));
    }
    for task in tasks {
        task.await??;
    }

    // Reserve, then post a part of it; the rest is released.
    let reserved = Transfer::pending(alice, bank, Amount::from_minor(1000), 3600);
    let reserved = client.transfer(reserved).await?.id;
    client.transfer(Transfer::post_part(reserved, Amount::from_minor(750))).await?;

    // A refusal is an answer. Only after `OutcomeUnknown` is the same id to be sent again.
    let too_much = Transfer::new(alice, bank, Amount::from_minor(1_000_000));
    match client.transfer(too_much.clone()).await {
        Err(Error::Refused(refusal)) => println!("{} is refused: {refusal}", too_much.id.0),
        Err(Error::OutcomeUnknown { why }) => println!("ask again for {}: {why}", too_much.id.0),
        other => println!("{other:?}"),
    }

    let balance = client.balance(alice).await?.ok_or("there is no such account")?;
    Ok(balance.to_string())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or("http://127.0.0.1:8080".to_owned());
    println!("alice has {}", pay(&url).await?);
    Ok(())
}
