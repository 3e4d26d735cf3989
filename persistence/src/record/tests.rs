use std::collections::HashMap;

use florin_engine::{
    AccountAfter, AccountFlags, AccountId, Amount, Balances, Code, DecidedKind, Event, ExternalId,
    IdBurned, JournalSeq, Key, KeyUse, LedgerAfter, LedgerId, LedgerTotals, Metadata, Record,
    Timestamp, Transaction, Transfer, TransferExpired, TransferFlags, TransferId, TransferPosted,
    transaction_digest,
};
use proptest::prelude::*;

use super::bytes::{Malformed, Problem};
use super::{RecordError, decode, encode};

mod arbitrary;
mod golden;

fn encoded(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(record, &mut bytes);
    bytes
}

/// A batch of transfers between as many accounts, as a server under load writes it: random ids, amounts of up to 100.00,
/// accounts that have moved some millions before.
fn batch(transfers: u32, accounts: u32) -> Record {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut record = Record {
        timestamp: Timestamp(1_795_000_000_000_000_000),
        asked: transfers,
        events: Vec::new(),
        accounts: Vec::new(),
        ledgers: vec![LedgerAfter {
            id: LedgerId(1),
            totals: LedgerTotals { accounts: 10_001, posted: 987_654_321_012, pending: 0 },
        }],
        key: None,
    };
    let mut indices = HashMap::new();
    for at in 0..u64::from(transfers) {
        let debit_id = 1 + next() % u64::from(accounts);
        let credit_id = 1 + (debit_id + next() % u64::from(accounts - 1)) % u64::from(accounts);
        let mut index_of = |id: u64| {
            let found = *indices.entry(id).or_insert(record.accounts.len() as u32);
            if found as usize == record.accounts.len() {
                record.accounts.push(AccountAfter {
                    id: AccountId(u128::from(id) << 64 | u128::from(next())),
                    ledger: LedgerId(1),
                    flags: AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS,
                    overdraft_limit: Amount::ZERO,
                    version: next() % 100_000,
                    balances: Balances {
                        debits_posted: Amount::from_minor(next() % 500_000_000),
                        credits_posted: Amount::from_minor(next() % 500_000_000),
                        ..Balances::default()
                    },
                });
            }
            found
        };
        let (debit_account, credit_account) = (index_of(debit_id), index_of(credit_id));
        let amount = Amount::from_minor(next() % 10_000);
        record.events.push(Event::TransferPosted(TransferPosted {
            transfer: Transfer {
                id: TransferId(u128::from(next()) << 64 | u128::from(next())),
                debit_account_id: record.accounts[debit_account as usize].id,
                credit_account_id: record.accounts[credit_account as usize].id,
                amount,
                amount_requested: amount,
                ledger: LedgerId(1),
                code: Code(1),
                timestamp: record.timestamp.plus(at),
                ..Transfer::default()
            },
            debit_account,
            credit_account,
        }));
    }
    record
}

#[test]
fn records_are_compact() {
    let full = encoded(&batch(8190, 10_000)).len() as f64 / 8190.0;
    assert!(full <= 64.0, "a transfer of a full batch takes {full:.1} bytes");
    let single = encoded(&batch(1, 10_000)).len();
    assert!(single <= 110, "a single transfer takes {single} bytes");
}

#[test]
fn every_cut_and_every_changed_byte_is_noticed_or_gives_another_record() {
    for record in golden::samples() {
        let bytes = encoded(&record);
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "cut to {length} bytes");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        let trailing = Malformed { offset: bytes.len(), problem: Problem::TrailingBytes };
        assert_eq!(decode(&longer), Err(RecordError(trailing)));
        for at in 0..bytes.len() {
            for flip in 1..=u8::MAX {
                let mut other = bytes.clone();
                other[at] ^= flip;
                assert_ne!(decode(&other), Ok(record.clone()), "byte {at} flipped by {flip:#x}");
            }
        }
    }
}

fn refused(bytes: &[u8]) -> String {
    match decode(bytes) {
        Ok(record) => format!("{record:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_no_record_says_where_and_why() {
    // Version, timestamp, asked, then one account of id 0 in ledger 0, no ledgers.
    const HEAD: [u8; 10] = [1, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let one_account = [&HEAD[..], &[1, 0], &[0; 16], &[0, 0, 0, 0]].concat();
    let transfer = |presence: &[u8], accounts: &[u8], rest: &[u8]| {
        [&one_account[..], &[1, 3], presence, &[0; 16], accounts, rest].concat()
    };
    let check = |bytes: &[u8], expected: &str| {
        let expected = format!(
            "the record is damaged or of a newer version: it can not be read at its byte {expected}"
        );
        assert_eq!(refused(bytes), expected);
    };
    assert!(refused(&transfer(&[0], &[0, 0], &[0, 0, 0, 0])).starts_with("Record {"));

    check(&[2], "0: version 2 is not known to this program");
    check(
        &[&HEAD[..], &[200, 1]].concat(),
        "10: a count is larger than the bytes that are left could hold",
    );
    check(
        &[&HEAD[..], &[1, 0x20], &[0; 30]].concat(),
        "11: a bit is set that has no meaning to this program",
    );
    check(
        &[&HEAD[..], &[1, 2], &[0; 16], &[0, 0, 0, 0x40], &[0; 9]].concat(),
        "31: a bit is set that has no meaning to this program",
    );
    check(
        &[&HEAD[..], &[1, 1], &[0; 16], &[0, 0, 0, 0], &[0; 9]].concat(),
        "31: a value is not in its shortest form",
    );
    check(
        &[&one_account[..], &[1, 9], &[0; 30]].concat(),
        "33: kind 9 is not known to this program",
    );
    // Each of the bits that are reserved, and the first beyond all.
    for bit in [8, 10, 11, 18_usize] {
        let mut presence = vec![0x80; bit / 7];
        presence.push(1 << (bit % 7));
        check(
            &transfer(&presence, &[0, 0], &[0; 40]),
            "34: a bit is set that has no meaning to this program",
        );
    }
    check(
        &transfer(&[2], &[0, 0], &[0, 0, 0, 0]),
        "34: a bit is set that has no meaning to this program",
    );
    check(
        &transfer(&[0], &[1, 0], &[0, 0, 0, 0]),
        "51: an index points behind the end of the table of accounts",
    );
    check(
        &transfer(&[0], &[0, 1], &[0, 0, 0, 0]),
        "52: an index points behind the end of the table of accounts",
    );
    let too_much = [&[0x80; 13][..], &[0x20, 0, 0, 0]].concat();
    check(&transfer(&[0], &[0, 0], &too_much), "53: a number is out of range");
    check(
        &transfer(&[0x20], &[0, 0], &[0, 0, 0, 1, 0xff, 0, 0, 0, 0, 0, 0, 0, 9, 0]),
        "57: a text is not UTF-8",
    );
    check(
        &transfer(&[0x20], &[0, 0], &[0, 0, 0, 1, b'x', 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        "58: a value is not in its shortest form",
    );
    check(
        &[&one_account[..], &[1, 4, 0], &[0; 16], &[1, 0, 0]].concat(),
        "53: a transaction is not followed by its legs",
    );
    check(
        &[&one_account[..], &[1, 5], &[0; 16], &[99, 0, 0]].concat(),
        "50: no rejection has the number 99",
    );
    // The one form: no pending id of 0, no amount requested that is the amount.
    check(&transfer(&[0x40], &[0, 0], &[0; 20]), "56: a value is not in its shortest form");
    check(&transfer(&[0x80, 4], &[0, 0], &[0; 4]), "57: a value is not in its shortest form");
    check(
        &transfer(&[0x80, 0x80, 2], &[0, 0], &[0, 0, 0, 0x80, 0x20, 0, 0, 0]),
        "58: a bit is set that has no meaning to this program",
    );
    check(
        &[&one_account[..], &[1, 6], &[0; 16], &[0, 1, 0, 0, 0]].concat(),
        "51: an index points behind the end of the table of accounts",
    );
    check(
        &[&one_account[..], &[0, 1], &[0; 24], &[1, 0, 3, 1, 4]].concat(),
        "62: kind 4 is not known to this program",
    );
    check(&[&one_account[..], &[0, 2]].concat(), "33: kind 2 is not known to this program");
    // An external id has 1 to 128 visible characters of ASCII.
    let account = |presence: &[u8], name: &[u8]| {
        [&one_account[..], &[1, 2], presence, name, &[1, 1, 0, 0]].concat()
    };
    assert!(refused(&account(&[0x80, 1], b"\x02ab")).contains("\"ab\""));
    check(&account(&[0x40], &[0; 16]), "34: a bit is set that has no meaning to this program");
    check(&account(&[0x80, 1], &[0]), "36: a text can be no external id");
    check(&account(&[0x80, 1], b"\x02a "), "36: a text can be no external id");
    check(&account(&[0x80, 1], b"\x02\xc3\xb6"), "36: a text can be no external id");
    let too_long = [&[0x81, 1][..], &[b'a'; 129]].concat();
    check(&account(&[0x80, 1], &too_long), "36: a text can be no external id");
}

#[test]
#[should_panic(expected = "a transfer's accounts are not those that it points to")]
fn a_transfer_between_other_accounts_than_it_points_to_is_not_written() {
    let mut record = batch(1, 2);
    record.accounts.swap(0, 1);
    encode(&record, &mut Vec::new());
}

#[test]
#[should_panic(expected = "an external id stands for another id")]
fn an_external_id_of_another_id_is_not_written() {
    let mut record = batch(1, 2);
    let Some(Event::TransferPosted(posted)) = record.events.first_mut() else {
        panic!("a transfer")
    };
    posted.transfer.external_id = Some(ExternalId::try_new("a").unwrap());
    encode(&record, &mut Vec::new());
}

#[test]
fn an_external_id_costs_its_text_less_the_id_that_follows_from_it() {
    let mut record = batch(1, 2);
    let without = encoded(&record).len();
    let text = "order-4711-of-2026-11";
    let external_id = ExternalId::try_new(text).unwrap();
    let Some(Event::TransferPosted(posted)) = record.events.first_mut() else {
        panic!("a transfer")
    };
    posted.transfer.id = TransferId(external_id.id());
    posted.transfer.external_id = Some(external_id);
    // Its bit makes the bits three bytes instead of one, and the text has its length before it.
    assert_eq!(encoded(&record).len(), without + text.len() + 1 + 2 - 16);
}

#[test]
#[should_panic(expected = "a transaction is not followed by its legs")]
fn a_transaction_without_its_legs_is_not_written() {
    let mut record = batch(1, 2);
    record.events.insert(0, Event::TransactionCreated(transaction(2, None)));
    encode(&record, &mut Vec::new());
}

fn transaction(transfers: u32, metadata: Option<Metadata>) -> Transaction {
    let (id, external_id) = (TransferId(77), None);
    Transaction { id, external_id, transfers, timestamp: Timestamp(5), metadata }
}

#[test]
fn the_index_gets_every_id_that_was_decided() {
    let mut record = batch(3, 4);
    let metadata = Metadata::new("{}".into(), b"{}");
    record.events.insert(1, Event::TransactionCreated(transaction(2, Some(metadata.clone()))));
    let burned = IdBurned { id: TransferId(9), rejection: 48, timestamp: Timestamp(6) };
    record.events.push(Event::IdBurned(burned));
    let expired = TransferExpired {
        id: TransferId(8),
        debit_account: 0,
        credit_account: 1,
        amount: Amount::ZERO,
        timestamp: Timestamp(7),
    };
    record.events.push(Event::TransferExpired(expired));
    let Some(Event::TransferPosted(post)) = record.events.get_mut(3) else { panic!("a transfer") };
    post.transfer.flags = TransferFlags::POST_PENDING_TRANSFER;
    post.transfer.pending_id = TransferId(7);
    let key = Key { hash: 123, fingerprint: 456 };
    record.key = Some(KeyUse { key, exceptions: Vec::new() });

    let transfers: Vec<&Transfer> = record
        .events
        .iter()
        .filter_map(|event| match event {
            Event::TransferPosted(posted) => Some(&posted.transfer),
            _ => None,
        })
        .collect();
    let of =
        |transfer: &Transfer| (DecidedKind::Transfer, transfer.id.0, transfer.content_digest());
    let legs = transfers[1..].iter().map(|leg| (leg.id, leg.content_digest()));
    let expected = [
        of(transfers[0]),
        (DecidedKind::Transaction, 77, transaction_digest(Some(&metadata), legs)),
        of(transfers[1]),
        of(transfers[2]),
        // What became of a transfer is kept with its ledger.
        (DecidedKind::Posted, 7, 1),
        (DecidedKind::Burned, 9, 0),
        (DecidedKind::Expired, 8, 1),
        (DecidedKind::Key, 123, 456),
    ];

    let mut found = Vec::new();
    let read = decode(&encoded(&record)).unwrap();
    read.each_decided(JournalSeq(5), |id, decided| {
        assert_eq!(decided.seq, JournalSeq(5));
        found.push((decided.kind, id, decided.digest));
    });
    assert_eq!(found, expected);
}

proptest! {
    #[test]
    fn any_record_is_read_as_it_was_written(record in arbitrary::record()) {
        let bytes = encoded(&record);
        prop_assert_eq!(decode(&bytes), Ok(record));
    }

    #[test]
    fn whatever_can_be_read_has_one_form_only(
        record in arbitrary::record(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encoded(&record);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(other) = decode(&bytes) {
            prop_assert_eq!(encoded(&other), bytes);
        }
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        let _ = decode(&[&[1], bytes.as_slice()].concat());
    }
}
