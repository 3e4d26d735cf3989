//! What can be asked for, in both forms.

use florin_client::{
    AccountFlags, AccountId, Amount, Client, Code, Form, LedgerId, NewAccount, RawValue, Scale,
    Settings, Timestamp, Transfer, TransferFlags, TransferId,
};
use florin_tests::bank::TestBank;
use florin_tests::server::TestServer;
use serde_json::json;

use super::{account, balance, client, open, settings, shown, transfer};

#[path = "../../examples/payments.rs"]
#[allow(dead_code, reason = "only its first half is the test's")]
mod payments;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_runs() {
    let bank = TestBank::open();
    assert_eq!(payments::pay(&bank.server.base()).await.unwrap(), "492.50");
    let accounts = bank.get("/v1/accounts/1002");
    assert_eq!(accounts["balance"], "492.50");
    assert_eq!(accounts["debits_pending"], "0.00");
}

fn in_form(bank: &TestBank, form: Form) -> Client {
    Client::new(Settings { form, ..settings(bank) }).unwrap()
}

/// What was written in one form exists in the other: every field says the same.
#[tokio::test]
async fn both_forms_say_the_same() {
    let bank = TestBank::open();
    bank.check("POST /v1/ledgers", json!({"id": 7, "currency": "JPY", "scale": 0}), "201");
    let (binary, text) = (in_form(&bank, Form::Binary), in_form(&bank, Form::Json));
    let limited = NewAccount {
        code: Code(20),
        flags: AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS.with(AccountFlags::HISTORY),
        overdraft_limit: Amount::from_minor(12_345),
        user_data_128: u128::MAX,
        user_data_64: u64::MAX,
        user_data_32: u32::MAX,
        ..NewAccount::new(account(1))
    };
    let yen = NewAccount::new(account(1 << 90)).in_ledger(LedgerId(7));
    let accounts =
        [limited, NewAccount::new(account(2)), yen.clone(), NewAccount { id: account(4), ..yen }];
    let first = binary.create_accounts(&accounts).await.unwrap();
    let again = text.create_accounts(&accounts).await.unwrap();
    for (first, again) in first.into_iter().zip(again) {
        let (first, again) = (first.unwrap(), again.unwrap());
        assert_eq!((first.id, first.timestamp), (again.id, again.timestamp));
        assert!(!first.replayed && again.replayed);
    }
    let full = Transfer {
        code: Code(300),
        user_data_128: 1 << 127,
        user_data_64: u64::MAX,
        user_data_32: 9,
        ..Transfer::pending(account(1), account(2), Amount::from_minor(1_250), 3600)
    };
    let balancing = Transfer {
        flags: TransferFlags::BALANCING_DEBIT,
        ..Transfer::new(account(2), account(1), Amount::MAX)
    };
    let transfers = [
        full.clone(),
        Transfer::post_part(full.id, Amount::from_minor(250)).in_ledger(LedgerId(1)),
        Transfer::new(account(1 << 90), account(4), Amount::from_minor(77)).in_ledger(LedgerId(7)),
        transfer(2, 1, 0),
        balancing,
        Transfer::new(account(1), account(2), Amount::from_minor(100)).in_ledger(LedgerId(0)),
        Transfer { timestamp: Timestamp(5), ..transfer(1, 2, 1) },
    ];
    let codes = |outcomes: &[Result<_, florin_client::Refusal>]| -> Vec<String> {
        let code = |outcome: &Result<_, florin_client::Refusal>| match outcome {
            Ok(florin_client::Created::<TransferId> { .. }) => "created".to_owned(),
            Err(refusal) => refusal.code.to_string(),
        };
        outcomes.iter().map(code).collect()
    };
    let first = binary.transfer_batch(&transfers).await.unwrap();
    // Nothing names the digits of an amount without a ledger as JSON, and it is refused in binary.
    let without = text.transfer_batch(&transfers).await;
    assert_eq!(shown(&without), "unsendable");
    let named: Vec<_> = [0, 1, 2, 3, 4, 6].map(|index: usize| transfers[index].clone()).into();
    let again = text.transfer_batch(&named).await.unwrap();
    assert_eq!(
        codes(&first),
        [
            "created",
            "created",
            "created",
            "created",
            "created",
            "ledger_must_not_be_zero",
            "timestamp_must_be_zero"
        ]
    );
    for (first, again) in first[..5].iter().zip(&again) {
        let (first, again) = (first.as_ref().unwrap(), again.as_ref().unwrap());
        assert_eq!((first.id, first.timestamp), (again.id, again.timestamp));
        assert!(!first.replayed && again.replayed);
    }
    assert_eq!(codes(&again[5..]), ["timestamp_must_be_zero"]);
    let found = binary.find_transfer(full.id).await.unwrap().unwrap();
    assert_eq!((found.code, found.user_data_128), (Code(300), 1 << 127));
    assert_eq!((found.flags, found.timeout), (TransferFlags::PENDING, 3600));
    assert_eq!((found.amount.to_string(), found.ledger), ("12.50".into(), LedgerId(1)));
    let yen = binary.account(account(4)).await.unwrap().unwrap();
    assert_eq!((yen.balance.to_string(), yen.ledger), ("77".into(), LedgerId(7)));
    let first = binary.account(account(1)).await.unwrap().unwrap();
    assert_eq!(first.overdraft_limit.to_string(), "123.45");
    assert_eq!((first.user_data_128, first.user_data_64), (u128::MAX, u64::MAX));
    assert!(first.flags.contains(AccountFlags::HISTORY));
}

#[tokio::test]
async fn imported_things_keep_their_moments() {
    let bank = TestBank::open();
    let client = client(&bank);
    let imported = |id, moment| NewAccount {
        timestamp: Timestamp(moment),
        ..NewAccount::new(account(id)).with_flags(AccountFlags::IMPORTED)
    };
    let made = client.create_accounts(&[imported(1, 100), imported(2, 200)]).await.unwrap();
    let moments: Vec<_> = made.into_iter().map(|made| made.unwrap().timestamp).collect();
    assert_eq!(moments, [Timestamp(100), Timestamp(200)]);
    let imported = |moment| Transfer {
        timestamp: Timestamp(moment),
        flags: TransferFlags::IMPORTED,
        ..transfer(1, 2, 1)
    };
    let batch = [imported(300), imported(400)];
    let made = client.transfer_batch(&batch).await.unwrap();
    let moments: Vec<_> = made.into_iter().map(|made| made.unwrap().timestamp).collect();
    assert_eq!(moments, [Timestamp(300), Timestamp(400)]);
    let again = in_form(&bank, Form::Json).transfer_batch(&batch).await.unwrap();
    assert!(again.iter().all(|again| again.as_ref().is_ok_and(|again| again.replayed)));
}

#[tokio::test]
async fn what_does_not_fit_goes_as_json() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let client = client(&bank);
    let text = r#"{"invoice":"A-17","exact":1.10000000000000000001}"#;
    let metadata = RawValue::from_string(text.to_owned()).unwrap();
    let with = Transfer {
        metadata: Some(metadata),
        effective_at: Some(Timestamp(1_700_000_000_000_000_001)),
        ..transfer(1, 2, 1_250)
    };
    let made = client.transfer(with.clone()).await.unwrap();
    let found = client.find_transfer(with.id).await.unwrap().unwrap();
    assert_eq!(found.metadata.get(), text);
    assert_eq!(found.effective_at, with.effective_at);
    assert_eq!((found.amount.to_string(), found.timestamp), ("12.50".into(), made.timestamp));
    let named = NewAccount::new(account(3)).with_metadata(&json!({"name": "Bob"})).unwrap();
    client.create_account(named).await.unwrap();
    let found = client.account(account(3)).await.unwrap().unwrap();
    assert_eq!(found.metadata.get(), r#"{"name":"Bob"}"#);
    // A post in other words, and one that no server would take.
    let pending =
        client.transfer(Transfer::pending(account(1), account(2), Amount::from_minor(9), 0));
    let pending = pending.await.unwrap().id;
    let post = Transfer::post(pending).with_metadata(&json!({"by": "me"})).unwrap();
    client.transfer(post).await.unwrap();
    let large = transfer(1, 2, 1).with_metadata(&json!({"a": "x".repeat(20_000)})).unwrap();
    assert_eq!(shown(&client.transfer(large).await), "unsendable");
    assert_eq!(balance(&client, 2).await, "12.59");
}

/// Transfers with metadata go on, and learn the digits of their ledger, while the store is away and from a process that leaves it to others.
#[tokio::test]
async fn digits_are_learned_without_the_store() {
    let away = [("FLORIN_DATABASE_URL", "postgres://florin@127.0.0.1:1/florin")];
    for server in
        [TestServer::start_with(&["--role", "write"]), TestServer::start_with_variables(&[], &away)]
    {
        let bank = TestBank::of(server);
        bank.account(1);
        bank.account(2);
        let client = client(&bank);
        let with = transfer(1, 2, 1_250).with_metadata(&json!({"order": 7})).unwrap();
        client.transfer(with).await.unwrap();
        assert_eq!(balance(&client, 2).await, "12.50");
        // A new account has none to ask: what is known beforehand is not asked for.
        let limited = NewAccount {
            overdraft_limit: Amount::from_minor(5),
            ..NewAccount::new(account(3)).with_flags(AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS)
        };
        let limited = limited.with_metadata(&json!({"name": "Carol"})).unwrap();
        let scales = [(LedgerId(1), Scale::try_new(2).unwrap())].into();
        let client = Client::new(Settings { scales, ..settings(&bank) }).unwrap();
        client.create_account(limited).await.unwrap();
        let found = client.account(account(3)).await.unwrap().unwrap();
        assert_eq!(found.overdraft_limit.to_string(), "0.05");
    }
}

#[tokio::test]
async fn two_phases_and_lookups() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let client = client(&bank);
    let reserve = |cents| Transfer::pending(account(1), account(2), Amount::from_minor(cents), 60);
    let mut ids = Vec::new();
    for cents in [100, 200, 400] {
        ids.push(client.transfer(reserve(cents)).await.unwrap().id);
    }
    client.transfer(Transfer::post(ids[0])).await.unwrap();
    client.transfer(Transfer::post_part(ids[1], Amount::from_minor(50))).await.unwrap();
    let void = Transfer::void(ids[2]);
    client.transfer(void.clone()).await.unwrap();
    assert_eq!(
        shown(&client.transfer(Transfer::void(ids[2])).await),
        "pending_transfer_already_voided"
    );
    let again = client.transfer(void.clone()).await.unwrap();
    assert!(again.replayed);
    assert_eq!(balance(&client, 2).await, "1.50");
    let missing = TransferId(4711);
    let found = client.transfers(&[ids[2], missing, ids[0]]).await.unwrap();
    let statuses: Vec<_> =
        found.data.iter().map(|found| (found.id, format!("{:?}", found.status))).collect();
    assert_eq!(statuses, [(ids[2], "Voided".into()), (ids[0], "Posted".into())]);
    assert_eq!(found.missing, [4711]);
    let found = client.find_transfer(void.id).await.unwrap().unwrap();
    assert_eq!(found.pending_id, Some(ids[2]));
    let found = client.accounts(&[account(2), account(9)]).await.unwrap();
    assert_eq!((found.data.len(), found.missing), (1, vec![9]));
    assert_eq!(found.data[0].credits_posted.minor_units, 150);
    assert!(client.account(account(9)).await.unwrap().is_none());
    assert!(client.find_transfer(missing).await.unwrap().is_none());
    assert_eq!(client.balance(AccountId(9)).await.unwrap(), None);
}

#[tokio::test]
async fn an_id_is_decided_once() {
    let bank = TestBank::open();
    let client = client(&bank);
    open(&client, &[1, 2]).await;
    let once = transfer(1, 2, 5).with_id(TransferId(77));
    let first = client.transfer(once.clone()).await.unwrap();
    let again = client.transfer(once.clone()).await.unwrap();
    assert_eq!((again.id, again.timestamp, again.replayed), (first.id, first.timestamp, true));
    let other = Transfer { amount: Amount::from_minor(6), ..once };
    assert_eq!(shown(&client.transfer(other).await), "exists_with_different_amount");
    let other = NewAccount { code: Code(9), ..NewAccount::new(account(1)) };
    assert_eq!(shown(&client.create_account(other).await), "exists_with_different_code");
    assert_eq!(balance(&client, 2).await, "0.05");
}
