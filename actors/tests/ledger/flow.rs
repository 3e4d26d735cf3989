//! Commands and reads on a running ledger.

use std::time::Duration;

use florin_actors::{Limits, SubmitError};
use florin_engine::{
    AccountId, Command, CreateAccount, CreateTransaction, LedgerId, Metadata, TransferId,
};
use florin_persistence::store::{PageRequest, TransferFilter};

use crate::bank::{TestBank, options, shown, transfer};

#[tokio::test]
async fn a_transfer_is_decided_once_and_can_be_read() {
    let bank = TestBank::open();
    bank.accounts(2).await;
    assert_eq!(bank.transfer(7, 1, 2, "10.50").await, "ok");
    assert_eq!(bank.transfer(7, 1, 2, "10.5").await, "exists");
    assert_eq!(bank.transfer(7, 1, 2, "10.51").await, "exists_with_different_amount");
    assert_eq!(bank.transfer(8, 2, 1, "11").await, "exceeds_credits");
    assert_eq!(bank.transfer(8, 2, 1, "1").await, "id_already_failed");
    assert_eq!((bank.balance(1).await, bank.balance(2).await), (-1050, 1050));
    let found = bank.florin.transfer(TransferId(7)).await.unwrap().value.unwrap();
    assert_eq!(found.transfer.amount.minor_units(), 1050);
    assert_eq!(bank.florin.transfer(TransferId(8)).await.unwrap().value, None);
    assert_eq!(bank.florin.transfer(TransferId(9)).await.unwrap().value, None);
    bank.florin.stop().await;
}

#[tokio::test]
async fn the_store_follows_and_answers_lists() {
    let bank = TestBank::open();
    bank.accounts(2).await;
    for id in 1..=20 {
        assert_eq!(bank.transfer(id, 1, 2, "1").await, "ok");
    }
    let durable = bank.florin.positions().durable;
    assert!(bank.florin.wait_stored(durable, Duration::from_secs(10)).await);
    let store = bank.florin.store();
    let page = store.transfers(&TransferFilter::default(), &PageRequest::first(50)).await.unwrap();
    let ids: Vec<u128> = page.data.iter().map(|row| row.transfer.id.0).collect();
    assert_eq!(ids, (1..=20).rev().collect::<Vec<_>>());
    let ledger = store.ledger(LedgerId(1)).await.unwrap().value.unwrap();
    assert_eq!((ledger.totals.accounts, ledger.totals.posted), (2, 2000));
    bank.florin.stop().await;
}

#[tokio::test]
async fn a_transaction_is_read_whole_from_journal_and_store() {
    let bank = TestBank::open();
    bank.accounts(3).await;
    let id = TransferId(50);
    let leg = |index, from, to| {
        let mut leg = transfer(0, from, to, "5");
        leg.id = TransferId::of_leg(id, index);
        leg
    };
    let metadata = Some(Metadata::new("{\"order\":1}".into(), b"order=1"));
    let transfers = vec![leg(0, 1, 2), leg(1, 2, 3)];
    let command = Command::CreateTransaction(CreateTransaction {
        id,
        external_id: None,
        transfers,
        metadata,
        conditions: Vec::new(),
    });
    let answer = bank.florin.submit(command.clone(), None).await.unwrap();
    assert_eq!(answer.exceptions, []);
    let read = bank.florin.transaction(id).await.unwrap().value.unwrap();
    assert_eq!(read.transfers.len(), 2);
    assert!(bank.florin.wait_stored(answer.seq, Duration::from_secs(10)).await);
    assert_eq!(bank.florin.transaction(id).await.unwrap().value.unwrap(), read);

    let again = bank.florin.submit(command.clone(), None).await.unwrap();
    assert_eq!((shown(&again).as_str(), again.record), ("4294967295 exists", None));
    let Command::CreateTransaction(mut other) = command else { unreachable!() };
    other.transfers.pop();
    let conflict =
        bank.florin.submit(Command::CreateTransaction(other.clone()), None).await.unwrap();
    assert_eq!(shown(&conflict), "exists_with_different_transfers");
    other.metadata = None;
    let conflict = bank.florin.submit(Command::CreateTransaction(other), None).await.unwrap();
    assert_eq!(shown(&conflict), "exists_with_different_metadata");
    bank.florin.stop().await;
}

#[tokio::test]
async fn metadata_is_read_from_the_journal_and_from_the_store() {
    let bank = TestBank::open();
    let mut account = CreateAccount::new(AccountId(1));
    account.metadata = Some(Metadata::new("{\"name\":\"Alice\"}".into(), b"name=Alice"));
    let answer = bank.florin.submit(Command::CreateAccounts(vec![account]), None).await.unwrap();
    for _ in 0..2 {
        let found = bank.florin.account(AccountId(1)).await.unwrap().value.unwrap();
        assert_eq!(found.metadata.as_deref(), Some("{\"name\":\"Alice\"}"));
        assert!(bank.florin.wait_stored(answer.seq, Duration::from_secs(10)).await);
    }
    bank.florin.stop().await;
}

#[tokio::test]
async fn an_amount_that_can_not_be_read_decides_nothing() {
    let bank = TestBank::open();
    bank.accounts(2).await;
    let transfers = vec![transfer(1, 1, 2, "1"), transfer(2, 1, 2, "1.001")];
    let error = bank.batch(transfers, None).await.unwrap_err();
    let SubmitError::Unreadable(unreadable) = error else { panic!("{error}") };
    assert_eq!((unreadable.index, unreadable.field), (1, "amount"));
    assert_eq!(bank.transfer(1, 1, 2, "1").await, "ok");
    bank.florin.stop().await;
}

/// The mailbox takes whatever is sent to it; only admission keeps what is in flight bounded.
#[tokio::test]
async fn what_is_in_flight_stays_within_the_limits() {
    let limits = Limits { events_in_flight: 64, ..Limits::default() };
    let bank = TestBank::open_with(|options| florin_actors::Options { limits, ..options });
    bank.accounts(2).await;
    let tasks: Vec<_> = (1..=2000_u128)
        .map(|id| {
            let florin = bank.florin.clone();
            tokio::spawn(async move {
                let command = Command::CreateTransfers(vec![transfer(id, 1, 2, "1")]);
                florin.submit(command, None).await
            })
        })
        .collect();
    let (mut done, mut refused) = (0, 0);
    for task in tasks {
        match task.await.unwrap() {
            Ok(answer) => {
                assert_eq!(shown(&answer), "ok");
                done += 1;
            }
            Err(SubmitError::Overloaded) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    // All were started at once on one thread, so no more than the bound could be admitted before the first answer.
    assert!(refused >= 2000 - 64 - done, "{done} done, {refused} refused");
    assert!(done >= 64 && refused > 0, "{done} done, {refused} refused");
    assert_eq!(bank.balance(2).await, 100 * done);
    assert_eq!(bank.florin.positions().events_in_flight, 0);
    bank.florin.stop().await;
}

#[tokio::test]
async fn a_stopped_ledger_refuses_and_its_directory_is_free_again() {
    let bank = TestBank::open();
    bank.accounts(2).await;
    assert!(florin_actors::Florin::open(options(bank.path())).is_err(), "in use");
    bank.florin.stop().await;
    let refused = bank.batch(vec![transfer(1, 1, 2, "1")], None).await;
    assert_eq!(refused.unwrap_err(), SubmitError::Stopping);
    let again = florin_actors::Florin::open(options(bank.path())).unwrap();
    again.stop().await;
}

#[test]
fn a_runtime_that_rests_holds_up_no_other() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (resting, other) = (runtime(), runtime());
    let bank = TestBank::open();
    other.block_on(bank.accounts(2));
    resting.block_on(async {
        let sent = bank.transfer(1, 1, 2, "5");
        tokio::select! {
            biased;
            answer = sent => panic!("an answer takes at least a sync: {answer}"),
            () = std::future::ready(()) => {}
        }
    });
    let soon = std::time::Duration::from_secs(10);
    let next =
        other.block_on(async { tokio::time::timeout(soon, bank.transfer(2, 1, 2, "5")).await });
    assert_eq!(next.unwrap(), "ok");
    assert_eq!(other.block_on(bank.balance(2)), 1000, "both arrived");
    other.block_on(bank.florin.stop());
}
