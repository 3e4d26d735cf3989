//! Bytes that were written once and must be read the same way for ever.
//!
//! A file is made by running the tests with `FLORIN_GOLDEN=write`, once, when a kind is added. It is never made again.

use std::path::Path;

use florin_engine::{
    AccountAfter, AccountCreated, AccountFlags, AccountId, Amount, Balances, Code, Event,
    ExternalId, IdBurned, Inherited, ItemOutcome, JournalSeq, Key, KeyUse, Ledger, LedgerAfter,
    LedgerId, LedgerTotals, Metadata, MetadataReplaced, OverdraftLimitChanged, Record, Rejection,
    Scale, Settlement, SignedAmount, Timestamp, Transaction, Transfer, TransferExpired,
    TransferFlags, TransferId, TransferPosted,
};

use super::super::decode;
use super::encoded;

const BEGIN: Timestamp = Timestamp(1_795_000_000_123_456_789);

fn check(name: &str, expected: &Record) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if std::env::var_os("FLORIN_GOLDEN").is_some_and(|what| what == "write") && !path.exists() {
        std::fs::write(&path, encoded(expected)).unwrap();
    }
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(decode(&bytes).as_ref(), Ok(expected), "{name}");
    assert_eq!(encoded(expected), bytes, "{name}");
}

#[test]
fn records_are_read_as_they_were_written_long_ago() {
    check("record-ledger-created.bin", &ledger_created());
    check("record-account-created.bin", &account_created());
    check("record-transfer-posted.bin", &transfer_posted());
    check("record-transaction-created.bin", &transaction_created());
    check("record-id-burned.bin", &id_burned());
    check("record-key-used.bin", &key_used());
    check("record-two-phase.bin", &two_phase());
    check("record-imported.bin", &imported());
    check("record-account-changed.bin", &account_changed());
    check("record-reversal.bin", &reversal());
    check("record-external-ids.bin", &external_ids());
}

pub(super) fn samples() -> [Record; 11] {
    [
        ledger_created(),
        account_created(),
        transfer_posted(),
        transaction_created(),
        id_burned(),
        key_used(),
        two_phase(),
        imported(),
        account_changed(),
        reversal(),
        external_ids(),
    ]
}

fn record(asked: u32, events: Vec<Event>) -> Record {
    Record { timestamp: BEGIN, asked, events, accounts: vec![], ledgers: vec![], key: None }
}

fn ledger_created() -> Record {
    let totals = LedgerTotals::default();
    Record {
        ledgers: vec![LedgerAfter { id: LedgerId(978), totals }],
        ..record(
            1,
            vec![Event::LedgerCreated(Ledger {
                id: LedgerId(978),
                currency: "EUR".to_owned(),
                scale: Scale::try_new(2).unwrap(),
                name: "Euro – Münzen und Scheine".to_owned(),
                timestamp: BEGIN,
            })],
        )
    }
}

fn account_created() -> Record {
    let plain = AccountCreated {
        id: AccountId(1),
        external_id: None,
        ledger: LedgerId(1),
        code: Code(1),
        flags: AccountFlags::empty(),
        overdraft_limit: Amount::ZERO,
        user_data_128: 0,
        user_data_64: 0,
        user_data_32: 0,
        timestamp: BEGIN,
        metadata: None,
    };
    let full = AccountCreated {
        id: AccountId(0x0190_0000_0000_7000_8000_0000_0000_0001),
        external_id: None,
        ledger: LedgerId(978),
        code: Code(1000),
        flags: AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS.with(AccountFlags::HISTORY),
        overdraft_limit: Amount::from_minor(50_000),
        user_data_128: u128::MAX - 1,
        user_data_64: u64::MAX,
        user_data_32: u32::MAX,
        timestamp: BEGIN.plus(1),
        metadata: Some(metadata()),
    };
    let totals = LedgerTotals { accounts: 2, posted: 0, pending: 0 };
    Record {
        ledgers: vec![LedgerAfter { id: LedgerId(1), totals }],
        ..record(2, vec![Event::AccountCreated(plain), Event::AccountCreated(full)])
    }
}

fn metadata() -> Metadata {
    Metadata { text: r#"{"name":"Zoë"}"#.into(), digest: 0x1234_5678_9abc_def0 }
}

fn accounts() -> Vec<AccountAfter> {
    let plain = AccountAfter {
        id: AccountId(1),
        ledger: LedgerId(1),
        flags: AccountFlags::empty(),
        overdraft_limit: Amount::ZERO,
        version: 1,
        balances: Balances { debits_posted: Amount::from_minor(1000), ..Balances::default() },
    };
    let full = AccountAfter {
        id: AccountId(u128::MAX - 1),
        ledger: LedgerId(1),
        flags: AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS.with(AccountFlags::CLOSED),
        overdraft_limit: Amount::from_minor(7),
        version: u64::MAX,
        balances: Balances {
            debits_pending: Amount::from_minor(127),
            debits_posted: Amount::from_minor(128),
            credits_pending: Amount::from_minor(16_384),
            credits_posted: Amount::MAX,
        },
    };
    let other_ledger = AccountAfter { id: AccountId(3), ledger: LedgerId(978), ..plain };
    vec![plain, full, other_ledger]
}

fn totals() -> Vec<LedgerAfter> {
    let totals = LedgerTotals { accounts: 3, posted: u128::MAX, pending: 128 };
    vec![LedgerAfter { id: LedgerId(1), totals }]
}

fn plain_transfer(id: u128, index: u64) -> Transfer {
    Transfer {
        id: TransferId(id),
        debit_account_id: AccountId(1),
        credit_account_id: AccountId(u128::MAX - 1),
        amount: Amount::from_minor(1000),
        amount_requested: Amount::from_minor(1000),
        ledger: LedgerId(1),
        code: Code(1),
        timestamp: BEGIN.plus(index),
        ..Transfer::default()
    }
}

fn posted(transfer: Transfer) -> Event {
    Event::TransferPosted(TransferPosted { transfer, debit_account: 0, credit_account: 1 })
}

fn transfer_posted() -> Record {
    let full = Transfer {
        amount: Amount::MAX,
        amount_requested: Amount::MAX,
        user_data_128: 1 << 127,
        user_data_64: 1 << 63,
        user_data_32: 1 << 31,
        ledger: LedgerId(2),
        code: Code(u16::MAX),
        flags: TransferFlags::LINKED,
        effective_at: Some(Timestamp(0)),
        transaction_id: Some(TransferId(12)),
        metadata: Some(metadata()),
        ..plain_transfer(u128::MAX - 1, 300)
    };
    Record {
        accounts: accounts(),
        ledgers: totals(),
        ..record(301, vec![posted(plain_transfer(11, 0)), posted(full)])
    }
}

fn transaction_created() -> Record {
    let transaction = |metadata| {
        Event::TransactionCreated(Transaction {
            id: TransferId(20),
            external_id: None,
            transfers: 2,
            timestamp: BEGIN.plus(1),
            metadata,
        })
    };
    let leg = |id, index| {
        let transaction_id = Some(TransferId(20));
        posted(Transfer { transaction_id, ..plain_transfer(id, index) })
    };
    let events = vec![transaction(Some(metadata())), leg(21, 1), leg(22, 2)];
    Record { accounts: accounts(), ledgers: totals(), ..record(3, events) }
}

fn id_burned() -> Record {
    let burned = IdBurned { id: TransferId(31), rejection: 48, timestamp: BEGIN.plus(8189) };
    record(8190, vec![Event::IdBurned(burned)])
}

fn key_used() -> Record {
    let exceeds = Rejection::ExceedsCredits {
        available: SignedAmount::new(-1250),
        requested: SignedAmount::new(Amount::MAX.minor_units() as i128),
        ledger: LedgerId(1),
    };
    let exists = ItemOutcome::Exists { seq: JournalSeq(300), timestamp: BEGIN };
    let key = Key { hash: 0x0123_4567_89ab_cdef_0011_2233_4455_6677, fingerprint: u64::MAX };
    let exceptions = vec![
        (0, exists),
        (1, ItemOutcome::Differs { seq: JournalSeq(1) }),
        (2, ItemOutcome::Rejected(Rejection::CodeMustNotBeZero)),
        (300, ItemOutcome::Rejected(exceeds)),
        (u32::MAX, ItemOutcome::Rejected(Rejection::LedgerNotFound { ledger: LedgerId(9) })),
    ];
    let event = posted(plain_transfer(41, 3));
    Record {
        accounts: accounts(),
        ledgers: totals(),
        key: Some(KeyUse { key, exceptions }),
        ..record(301, vec![event])
    }
}

/// A pending transfer, its post in part by a retried batch, a void, one that balanced and closes, and one that expired.
fn two_phase() -> Record {
    let flagged = |flags, transfer| posted(Transfer { flags, ..transfer });
    let pending = Transfer { timeout: u32::MAX, ..plain_transfer(51, 0) };
    let all_left_open = Inherited::try_from_bits(0xff).unwrap();
    let part = Transfer {
        amount: Amount::from_minor(900),
        amount_requested: Amount::from_minor(900),
        pending_id: TransferId(51),
        inherited: Inherited::try_from_bits(0b1110_0000_0000).unwrap(),
        user_data_128: 1,
        user_data_64: 2,
        user_data_32: 3,
        ..plain_transfer(52, 1)
    };
    let void = Transfer {
        pending_id: TransferId(u128::MAX - 1),
        inherited: all_left_open,
        ..plain_transfer(53, 2)
    };
    let balanced = Transfer { amount_requested: Amount::MAX, ..plain_transfer(54, 3) };
    let closing = TransferFlags::PENDING
        .with(TransferFlags::BALANCING_DEBIT)
        .with(TransferFlags::BALANCING_CREDIT)
        .with(TransferFlags::CLOSING_DEBIT)
        .with(TransferFlags::CLOSING_CREDIT);
    let expired = TransferExpired {
        id: TransferId(55),
        debit_account: 1,
        credit_account: 0,
        amount: Amount::from_minor(7),
        timestamp: BEGIN.plus(4),
    };
    let exceptions = [Settlement::Posted, Settlement::Voided, Settlement::Expired]
        .into_iter()
        .zip(5..)
        .map(|(settlement, index)| {
            (index, ItemOutcome::Settled { seq: JournalSeq(u64::from(index) * 100), settlement })
        })
        .collect();
    let key = Key { hash: 1, fingerprint: 2 };
    let events = vec![
        flagged(TransferFlags::PENDING, pending),
        flagged(TransferFlags::POST_PENDING_TRANSFER, part),
        flagged(TransferFlags::VOID_PENDING_TRANSFER, void),
        flagged(closing, balanced),
        Event::TransferExpired(expired),
    ];
    Record {
        accounts: accounts(),
        ledgers: totals(),
        key: Some(KeyUse { key, exceptions }),
        ..record(8, events)
    }
}

/// An account and a transfer from before their record.
fn imported() -> Record {
    let account = AccountCreated {
        id: AccountId(1),
        external_id: None,
        ledger: LedgerId(1),
        code: Code(1),
        flags: AccountFlags::IMPORTED,
        overdraft_limit: Amount::ZERO,
        user_data_128: 0,
        user_data_64: 0,
        user_data_32: 0,
        timestamp: Timestamp(1),
        metadata: None,
    };
    let flags = TransferFlags::IMPORTED.with(TransferFlags::PENDING);
    let transfer = Transfer { flags, timestamp: Timestamp(2), ..plain_transfer(61, 0) };
    let events = vec![Event::AccountCreated(account), posted(transfer)];
    Record { accounts: accounts(), ledgers: totals(), ..record(2, events) }
}

/// Another overdraft limit, and metadata that came, changed and went.
fn account_changed() -> Record {
    let limit = OverdraftLimitChanged {
        account: 1,
        before: Amount::MAX,
        overdraft_limit: Amount::from_minor(7),
        timestamp: BEGIN,
    };
    let replaced = |before, digest_before, metadata| {
        Event::MetadataReplaced(MetadataReplaced {
            account: 2,
            before: JournalSeq(before),
            digest_before,
            metadata,
            timestamp: BEGIN.plus(1),
        })
    };
    let events = vec![
        Event::OverdraftLimitChanged(limit),
        replaced(0, 0, Some(metadata())),
        replaced(300, 0x1234_5678_9abc_def0, Some(metadata())),
        replaced(u64::MAX, u64::MAX, None),
    ];
    Record { accounts: accounts(), ledgers: totals(), ..record(2, events) }
}

fn reversal() -> Record {
    let reverses = TransferId(0x0190_0000_0000_7000_8000_0000_0000_0002);
    let events = vec![posted(Transfer { reverses, ..plain_transfer(71, 0) })];
    Record { accounts: accounts(), ledgers: totals(), ..record(1, events) }
}

/// An account, a transfer, and a transaction with a leg, all named by texts.
fn external_ids() -> Record {
    let named = |text: &str| Some(ExternalId::try_new(text).unwrap());
    let id = |external_id: &Option<ExternalId>| external_id.as_ref().unwrap().id();
    let (alice, order) = (named("alice@example.com"), named("order-4711"));
    let (longest, shortest) = (named(&"~".repeat(128)), named("!"));
    let account = AccountCreated {
        id: AccountId(id(&alice)),
        external_id: alice,
        ledger: LedgerId(1),
        code: Code(1),
        flags: AccountFlags::empty(),
        overdraft_limit: Amount::ZERO,
        user_data_128: 0,
        user_data_64: 0,
        user_data_32: 0,
        timestamp: BEGIN,
        metadata: Some(metadata()),
    };
    let transfer = Transfer { external_id: order.clone(), ..plain_transfer(id(&order), 1) };
    let transaction = Transaction {
        id: TransferId(id(&longest)),
        external_id: longest.clone(),
        transfers: 1,
        timestamp: BEGIN.plus(2),
        metadata: None,
    };
    let leg = Transfer {
        external_id: shortest.clone(),
        transaction_id: Some(transaction.id),
        metadata: Some(metadata()),
        ..plain_transfer(id(&shortest), 3)
    };
    let events = vec![
        Event::AccountCreated(account),
        posted(transfer),
        Event::TransactionCreated(transaction),
        posted(leg),
    ];
    Record { accounts: accounts(), ledgers: totals(), ..record(4, events) }
}
