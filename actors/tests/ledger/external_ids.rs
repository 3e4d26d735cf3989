//! External ids and reversals, told by the owner whether journal or store has them, after a restart too.

use florin_actors::{
    FoundAccount, FoundTransaction, FoundTransfer, Options, SubmitError, WriteBehind, verify,
};
use florin_engine::{
    AccountFlags, AccountId, Command, CreateAccount, CreateTransaction, CreateTransfer, ExternalId,
    Metadata, ReplaceMetadata, ReverseTransaction, ReverseTransfer, Transfer, TransferId,
};

use crate::bank::{TestBank, transfer};

fn named(text: &str) -> ExternalId {
    ExternalId::try_new(text).unwrap()
}

fn id(text: &str) -> TransferId {
    TransferId(named(text).id())
}

fn named_transfer(text: &str, from: u128, to: u128, amount: &str) -> CreateTransfer {
    let external_id = named(text);
    CreateTransfer {
        external_id: Some(external_id.clone()),
        ..transfer(external_id.id(), from, to, amount)
    }
}

fn paused() -> TestBank {
    TestBank::open_with(|options| Options { write_behind: WriteBehind::Paused, ..options })
}

async fn found(bank: &TestBank, id: TransferId) -> FoundTransfer {
    bank.florin.transfer(id).await.unwrap().value.unwrap()
}

async fn found_transaction(bank: &TestBank, id: TransferId) -> FoundTransaction {
    bank.florin.transaction(id).await.unwrap().value.unwrap()
}

async fn found_account(bank: &TestBank, text: &str) -> FoundAccount {
    bank.florin.account(AccountId(named(text).id())).await.unwrap().value.unwrap()
}

fn text(external_id: Option<&ExternalId>) -> Option<&str> {
    external_id.map(ExternalId::text)
}

async fn done(bank: &TestBank, command: Command) {
    let answer = bank.florin.submit(command, None).await.unwrap();
    assert_eq!(answer.exceptions, []);
}

fn reverse(id: TransferId, external_id: Option<ExternalId>, original: Transfer) -> Command {
    Command::ReverseTransfer(Box::new(ReverseTransfer {
        id,
        external_id,
        original,
        user_data_128: 0,
        user_data_64: 0,
        user_data_32: 0,
        effective_at: None,
        metadata: None,
        conditions: Vec::new(),
    }))
}

async fn replace_metadata(bank: &TestBank, text: &str, json: Option<&str>) {
    let metadata = json.map(|json| Metadata::new(json.into(), json.as_bytes()));
    let account_id = AccountId(named(text).id());
    done(bank, Command::ReplaceMetadata(ReplaceMetadata { account_id, metadata })).await;
}

#[tokio::test]
async fn an_account_keeps_its_external_id_whatever_becomes_of_its_metadata() {
    let mut bank = paused();
    let account = |text: &str, metadata: Option<&str>| {
        let external_id = named(text);
        CreateAccount {
            metadata: metadata.map(|json| Metadata::new(json.into(), json.as_bytes())),
            external_id: Some(external_id.clone()),
            ..CreateAccount::new(AccountId(external_id.id()))
        }
    };
    let accounts = vec![
        account("plain", None),
        account("with", Some("{\"a\":1}")),
        account("later", None),
        account("never", Some("{\"a\":2}")),
    ];
    done(&bank, Command::CreateAccounts(accounts)).await;
    replace_metadata(&bank, "with", Some("{\"b\":1}")).await;
    replace_metadata(&bank, "later", Some("{\"c\":1}")).await;
    replace_metadata(&bank, "never", None).await;
    let expected = [
        ("plain", None),
        ("with", Some("{\"b\":1}")),
        ("later", Some("{\"c\":1}")),
        ("never", None),
    ];
    // From the journal, then from whatever a restart finds, then from the store.
    for round in 0..3 {
        for (name, metadata) in expected {
            let found = found_account(&bank, name).await;
            assert_eq!(text(found.external_id.as_ref()), Some(name), "round {round}");
            assert_eq!(found.metadata.as_deref(), metadata, "round {round}: {name}");
        }
        if round < 2 {
            bank = bank.restart().await;
        }
        if round == 1 {
            bank.everything_stored().await;
        }
    }
    bank.florin.stop().await;
    verify(&bank.path(), None).await.unwrap();
}

#[tokio::test]
async fn what_reversed_a_transfer_is_told_at_once_and_for_ever() {
    let mut bank = paused();
    bank.accounts(2).await;
    let orders = vec![named_transfer("order-1", 1, 2, "5"), named_transfer("order-2", 1, 2, "6")];
    done(&bank, Command::CreateTransfers(orders)).await;
    let original = found(&bank, id("order-1")).await;
    assert_eq!(text(original.transfer.external_id.as_ref()), Some("order-1"));
    assert_eq!(original.reversed_by, None);
    let refund = named("refund-1");
    done(&bank, reverse(TransferId(refund.id()), Some(refund), original.transfer)).await;
    // The reversal itself is taken back.
    let refund = found(&bank, id("refund-1")).await;
    done(&bank, reverse(TransferId(77), None, refund.transfer)).await;
    for round in 0..3 {
        let original = found(&bank, id("order-1")).await;
        assert_eq!(original.reversed_by, Some(id("refund-1")), "round {round}");
        assert_eq!(text(original.transfer.external_id.as_ref()), Some("order-1"));
        let refund = found(&bank, id("refund-1")).await;
        assert_eq!(refund.reversed_by, Some(TransferId(77)), "round {round}");
        assert_eq!(refund.transfer.reverses, id("order-1"));
        assert_eq!(text(refund.transfer.external_id.as_ref()), Some("refund-1"));
        assert_eq!(found(&bank, TransferId(77)).await.reversed_by, None);
        assert_eq!(found(&bank, id("order-2")).await.reversed_by, None);
        if round < 2 {
            bank = bank.restart().await;
        }
        if round == 1 {
            bank.everything_stored().await;
        }
    }
    // The store had the transfer before it was reversed.
    let late = found(&bank, id("order-2")).await.transfer;
    done(&bank, reverse(TransferId(78), None, late)).await;
    assert_eq!(found(&bank, id("order-2")).await.reversed_by, Some(TransferId(78)));
    bank.florin.stop().await;
    verify(&bank.path(), None).await.unwrap();
}

#[tokio::test]
async fn the_legs_of_a_reversed_transaction_tell_their_reversals() {
    let mut bank = paused();
    bank.accounts(2).await;
    let sale = named("sale");
    let transfers = (1..=20_u32)
        .map(|index| transfer(TransferId::of_leg(id("sale"), index).0, 1, 2, "1"))
        .chain([named_transfer("fee", 1, 2, "0.10")])
        .collect();
    let create = CreateTransaction {
        id: id("sale"),
        external_id: Some(sale),
        transfers,
        metadata: None,
        conditions: Vec::new(),
    };
    done(&bank, Command::CreateTransaction(create)).await;
    let FoundTransaction { transaction, transfers } = found_transaction(&bank, id("sale")).await;
    let legs: Vec<Transfer> = transfers.into_iter().map(|leg| leg.transfer).collect();
    let reverse = ReverseTransaction {
        id: id("refund"),
        external_id: Some(named("refund")),
        original: transaction,
        legs: legs.clone(),
        metadata: None,
        conditions: Vec::new(),
    };
    done(&bank, Command::ReverseTransaction(Box::new(reverse))).await;
    for round in 0..3 {
        let sale = found_transaction(&bank, id("sale")).await;
        assert_eq!(text(sale.transaction.external_id.as_ref()), Some("sale"), "round {round}");
        let last = sale.transfers.last().unwrap();
        assert_eq!(text(last.transfer.external_id.as_ref()), Some("fee"));
        // The last leg is taken back first.
        let count = legs.len() as u32;
        for (leg, index) in sale.transfers.iter().zip(0..) {
            let reversal = TransferId::of_leg(id("refund"), count - 1 - index);
            assert_eq!(leg.reversed_by, Some(reversal), "round {round}, leg {index}");
        }
        let refund = found_transaction(&bank, id("refund")).await;
        assert_eq!(text(refund.transaction.external_id.as_ref()), Some("refund"));
        assert!(refund.transfers.iter().all(|leg| leg.reversed_by.is_none()));
        if round < 2 {
            bank = bank.restart().await;
        }
        if round == 1 {
            bank.everything_stored().await;
        }
    }
    bank.florin.stop().await;
    verify(&bank.path(), None).await.unwrap();
}

#[tokio::test]
async fn external_ids_go_through_snapshots_when_their_segments_are_gone() {
    let mut bank = TestBank::open();
    let external_id = named("alice");
    let alice = CreateAccount {
        external_id: Some(external_id.clone()),
        flags: AccountFlags::HISTORY,
        ..CreateAccount::new(AccountId(external_id.id()))
    };
    done(&bank, Command::CreateAccounts(vec![alice])).await;
    bank.accounts(2).await;
    done(&bank, Command::CreateTransfers(vec![named_transfer("first", 1, 2, "1")])).await;
    bank.fill_until_a_segment_goes().await;
    for _ in 0..2 {
        let found = found_account(&bank, "alice").await;
        assert_eq!(text(found.external_id.as_ref()), Some("alice"));
        assert_ne!(found.account.external_id_seq.0, 0);
        let first = self::found(&bank, id("first")).await;
        assert_eq!(text(first.transfer.external_id.as_ref()), Some("first"));
        bank = bank.restart().await;
    }
    bank.florin.stop().await;
    verify(&bank.path(), None).await.unwrap();
}

#[tokio::test]
async fn new_metadata_is_shown_at_once_though_the_record_of_the_external_id_is_gone() {
    let mut bank = TestBank::open();
    let external_id = named("alice");
    let id = AccountId(external_id.id());
    let alice = CreateAccount {
        metadata: Some(Metadata::new("{\"v\":1}".into(), b"{\"v\":1}")),
        external_id: Some(external_id),
        ..CreateAccount::new(id)
    };
    done(&bank, Command::CreateAccounts(vec![alice])).await;
    bank.accounts(2).await;
    bank.fill_until_a_segment_goes().await;
    let paused = |options| Options { write_behind: WriteBehind::Paused, ..options };
    bank = bank.restart_with(paused).await;
    for json in [Some("{\"v\":2}"), None, Some("{\"v\":3}")] {
        replace_metadata(&bank, "alice", json).await;
        let alone = found_account(&bank, "alice").await;
        let among = bank.florin.accounts(&[id]).await.unwrap().value.remove(0).unwrap();
        for found in [alone, among] {
            assert_eq!(found.metadata.as_deref(), json);
            assert_eq!(text(found.external_id.as_ref()), Some("alice"));
        }
    }
    bank = bank.restart().await;
    bank.everything_stored().await;
    let stored = found_account(&bank, "alice").await;
    assert_eq!(stored.metadata.as_deref(), Some("{\"v\":3}"));
    bank.florin.stop().await;
    verify(&bank.path(), None).await.unwrap();
}

#[tokio::test]
async fn an_external_id_of_another_id_is_refused_and_nothing_is_decided() {
    let bank = TestBank::open();
    bank.accounts(2).await;
    let before = bank.florin.positions().durable;
    let mut leg = named_transfer("order-1", 1, 2, "5");
    leg.id = TransferId(7);
    let transaction = |id, external_id, transfers| CreateTransaction {
        id: TransferId(id),
        external_id,
        transfers,
        metadata: None,
        conditions: Vec::new(),
    };
    let account =
        CreateAccount { external_id: leg.external_id.clone(), ..CreateAccount::new(AccountId(9)) };
    let one = vec![transfer(11, 1, 2, "1")];
    let whole = transaction(10, leg.external_id.clone(), one);
    let of_leg = transaction(8, None, vec![leg.clone()]);
    for command in [
        Command::CreateTransfers(vec![transfer(12, 1, 2, "1"), leg]),
        Command::CreateTransaction(of_leg),
        Command::CreateAccounts(vec![account]),
        Command::CreateTransaction(whole),
    ] {
        let rehearsed = bank.florin.rehearse(command.clone()).await;
        assert_eq!(rehearsed.err(), Some(SubmitError::WrongExternalId), "{command:?}");
        let submitted = bank.florin.submit(command, None).await;
        assert_eq!(submitted.err(), Some(SubmitError::WrongExternalId));
    }
    assert_eq!(bank.florin.positions().durable, before);
    let right = Command::CreateTransfers(vec![named_transfer("order-1", 1, 2, "5")]);
    done(&bank, right).await;
}
