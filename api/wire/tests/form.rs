//! The binary form as others write it: the layout byte for byte, what goes round, and what is refused.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use florin_engine::{
    AccountFlags, AccountId, Amount, AmountInput, Code, Condition, CreateAccount, CreateTransfer,
    LedgerId, Metadata, Timestamp, TransferFlags, TransferId,
};
use florin_wire::{BatchFault, Event, Exception, Outcomes, Status, decode, encode};
use proptest::prelude::*;

const EVENTS_MAX: usize = 8190;

fn any_amount() -> impl Strategy<Value = AmountInput> {
    let any = any::<u128>().prop_map(|minor| Amount::try_new(minor >> 32).unwrap());
    prop_oneof![any, Just(Amount::MAX), Just(Amount::ZERO)].prop_map(AmountInput::Minor)
}

fn any_transfer() -> impl Strategy<Value = CreateTransfer> {
    let ids = (any::<u128>(), any::<u128>(), any::<u128>(), any::<u128>());
    let data = (any::<u128>(), any::<u64>(), any::<u32>());
    let rest = (any::<u32>(), any::<u32>(), any::<u16>(), 0..512_u16, 0..1_u64 << 63);
    (ids, any_amount(), data, rest).prop_map(|(ids, amount, data, rest)| {
        let (ledger, timeout, code, flags, timestamp) = rest;
        let flags = TransferFlags::try_from_bits(flags).unwrap();
        CreateTransfer {
            ledger: (ledger != 0 || flags.settlement().is_none()).then_some(LedgerId(ledger)),
            code: Code(code),
            flags,
            pending_id: TransferId(ids.3),
            timeout,
            user_data_128: data.0,
            user_data_64: data.1,
            user_data_32: data.2,
            timestamp: Timestamp(timestamp),
            ..CreateTransfer::new(TransferId(ids.0), AccountId(ids.1), AccountId(ids.2), amount)
        }
    })
}

fn any_account() -> impl Strategy<Value = CreateAccount> {
    let data = (any::<u128>(), any::<u64>(), any::<u32>());
    let rest = (any::<u128>(), any::<u32>(), any::<u16>(), 0..64_u16, 0..1_u64 << 63);
    (any_amount(), data, rest).prop_map(|(overdraft_limit, data, rest)| {
        let (id, ledger, code, flags, timestamp) = rest;
        CreateAccount {
            ledger: LedgerId(ledger),
            code: Code(code),
            flags: AccountFlags::try_from_bits(flags).unwrap(),
            overdraft_limit,
            user_data_128: data.0,
            user_data_64: data.1,
            user_data_32: data.2,
            timestamp: Timestamp(timestamp),
            ..CreateAccount::new(AccountId(id))
        }
    })
}

fn any_outcomes() -> impl Strategy<Value = Outcomes> {
    let status = prop_oneof![
        any::<u64>().prop_map(|timestamp| Status::Exists { timestamp }),
        (1..u16::MAX).prop_map(Status::Rejected),
    ];
    let exceptions = prop::collection::btree_map(0..60_u32, status, 0..20);
    let rest = (any::<u64>(), any::<u64>(), any::<u64>(), any::<bool>());
    (60..100_u32, exceptions, rest).prop_map(|(events, exceptions, rest)| Outcomes {
        events,
        created: events - exceptions.len() as u32,
        first_timestamp: rest.0,
        last_timestamp: rest.1,
        seq: rest.2,
        dry_run: rest.3,
        exceptions: exceptions
            .into_iter()
            .map(|(index, status)| Exception { index, status })
            .collect(),
    })
}

/// Every part of reading, on bytes from anywhere.
fn read_all(bytes: &[u8]) {
    let _ = decode::<CreateTransfer>(bytes, EVENTS_MAX);
    let _ = decode::<CreateAccount>(bytes, EVENTS_MAX);
    for sent in [0, 1, 8190, u32::MAX] {
        let _ = Outcomes::decode(bytes, sent);
    }
}

proptest! {
    #[test]
    fn transfers_go_round(transfers in prop::collection::vec(any_transfer(), 0..20)) {
        let body = encode(transfers.iter()).unwrap();
        prop_assert_eq!(body.len(), 16 + transfers.len() * 128);
        prop_assert_eq!(decode::<CreateTransfer>(&body, EVENTS_MAX), Ok(transfers));
    }

    #[test]
    fn accounts_go_round(accounts in prop::collection::vec(any_account(), 0..20)) {
        let body = encode(accounts.iter()).unwrap();
        prop_assert_eq!(decode::<CreateAccount>(&body, EVENTS_MAX), Ok(accounts));
    }

    #[test]
    fn outcomes_go_round(outcomes in any_outcomes()) {
        prop_assert_eq!(Outcomes::decode(&outcomes.encode(), outcomes.events), Ok(outcomes));
    }

    /// Whatever can be read is written again as it was: nothing in it is passed over.
    #[test]
    fn nothing_is_passed_over(event in prop::collection::vec(any::<u8>(), 128), flags in 0..512_u16) {
        let mut event: [u8; 128] = event.try_into().unwrap();
        event[60..64].fill(0);
        event[118..120].copy_from_slice(&flags.to_le_bytes());
        event[127] &= 0x7f;
        let transfer = CreateTransfer::try_from_bytes(&event);
        prop_assert_eq!(transfer.unwrap().to_bytes(), Ok(event));
        event[32..80].fill(0);
        event[28..32].fill(0);
        event[108..112].fill(0);
        event[118..120].copy_from_slice(&(flags & 63).to_le_bytes());
        let account = CreateAccount::try_from_bytes(&event);
        prop_assert_eq!(account.unwrap().to_bytes(), Ok(event));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        read_all(&bytes);
    }

    /// Bytes that come far: a real message with some of them changed, cut off or added to.
    #[test]
    fn no_damage_makes_it_panic(
        transfers in prop::collection::vec(any_transfer(), 0..3),
        outcomes in any_outcomes(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        length in 0..700_usize,
    ) {
        for mut bytes in [encode(transfers.iter()).unwrap(), outcomes.encode()] {
            for (index, byte) in &changes {
                let at = index.index(bytes.len());
                bytes[at] = *byte;
            }
            read_all(&bytes);
            bytes.resize(length, 0);
            read_all(&bytes);
        }
    }
}

/// The layout that is published, written down a second time.
#[test]
fn the_layout_stands_for_ever() {
    let transfer = CreateTransfer {
        ledger: Some(LedgerId(0x7172_7374)),
        code: Code(0x8182),
        flags: TransferFlags::try_from_bits(0x0103).unwrap(),
        pending_id: TransferId(0x51),
        timeout: 0x6162_6364,
        user_data_128: 0x52,
        user_data_64: 0x53,
        user_data_32: 0x54,
        timestamp: Timestamp(0x0102_0304_0506_0708),
        ..CreateTransfer::new(
            TransferId(0x1112_1314_1516_1718_191a_1b1c_1d1e_1f20),
            AccountId(0x21),
            AccountId(0x31),
            AmountInput::Minor(Amount::from_minor(0x4142)),
        )
    };
    let mut expected = vec![0; 16 + 128];
    expected[..12].copy_from_slice(&[b'F', b'L', b'R', b'B', 1, 0, 1, 0, 1, 0, 0, 0]);
    let event = &mut expected[16..];
    for (byte, value) in event[..16].iter_mut().zip((0x11..=0x20).rev()) {
        *byte = value;
    }
    event[16] = 0x21;
    event[32] = 0x31;
    event[48..50].copy_from_slice(&[0x42, 0x41]);
    event[64] = 0x51;
    event[80] = 0x52;
    event[96] = 0x53;
    event[104] = 0x54;
    event[108..112].copy_from_slice(&[0x64, 0x63, 0x62, 0x61]);
    event[112..116].copy_from_slice(&[0x74, 0x73, 0x72, 0x71]);
    event[116..118].copy_from_slice(&[0x82, 0x81]);
    event[118..120].copy_from_slice(&[0x03, 0x01]);
    event[120..128].copy_from_slice(&[8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(encode([transfer].iter()).unwrap(), expected);

    let account = CreateAccount {
        ledger: LedgerId(2),
        code: Code(3),
        flags: AccountFlags::HISTORY,
        overdraft_limit: AmountInput::Minor(Amount::from_minor(0x4142)),
        user_data_128: 0x52,
        user_data_64: 0x53,
        user_data_32: 0x54,
        timestamp: Timestamp(9),
        ..CreateAccount::new(AccountId(1))
    };
    let mut expected = vec![0; 16 + 128];
    expected[..12].copy_from_slice(&[b'F', b'L', b'R', b'B', 1, 0, 2, 0, 1, 0, 0, 0]);
    let event = &mut expected[16..];
    event[0] = 1;
    event[16..18].copy_from_slice(&[0x42, 0x41]);
    event[80] = 0x52;
    event[96] = 0x53;
    event[104] = 0x54;
    event[112] = 2;
    event[116] = 3;
    event[118] = 8;
    event[120] = 9;
    assert_eq!(encode([account].iter()).unwrap(), expected);

    let outcomes = Outcomes {
        events: 5,
        created: 3,
        first_timestamp: 0x0a,
        last_timestamp: 0x0b,
        seq: 0x0c,
        dry_run: true,
        exceptions: vec![
            Exception { index: 1, status: Status::Exists { timestamp: 0x0d } },
            Exception { index: 4, status: Status::Rejected(48) },
        ],
    };
    let mut expected = vec![0; 64 + 2 * 16];
    expected[..9].copy_from_slice(&[b'F', b'L', b'R', b'B', 1, 0, 3, 0, 2]);
    for (at, value) in [(12, 1), (16, 5), (20, 3), (24, 1), (28, 1), (32, 10), (40, 11), (48, 12)] {
        expected[at] = value;
    }
    for (at, value) in [(64, 1), (72, 13), (80, 4), (84, 48)] {
        expected[at] = value;
    }
    assert_eq!(outcomes.encode(), expected);
}

#[test]
fn what_is_no_batch_says_why() {
    let transfer = || CreateTransfer {
        ledger: Some(LedgerId(1)),
        ..CreateTransfer::new(
            TransferId(1),
            AccountId(1),
            AccountId(2),
            AmountInput::Minor(Amount::from_minor(1)),
        )
    };
    let good = encode([transfer(), transfer()].iter()).unwrap();
    let check = |change: &dyn Fn(&mut Vec<u8>), expected: &str| {
        let mut body = good.clone();
        change(&mut body);
        let shown = match decode::<CreateTransfer>(&body, 2) {
            Ok(transfers) => format!("{} transfers", transfers.len()),
            Err(fault) => fault.to_string(),
        };
        assert_eq!(shown, expected);
    };
    check(&|_| (), "2 transfers");
    check(&|body| body.truncate(0), "has 0 bytes, and its header alone has 16");
    check(&|body| body.truncate(15), "has 15 bytes, and its header alone has 16");
    check(&|body| body[0] = b'f', "does not begin with the letters FLRB");
    check(&|body| body[4] = 2, "is 2, and only version 1 is read here");
    check(&|body| body[5] = 1, "is 257, and only version 1 is read here");
    check(&|body| body[6] = 2, "is 2, and is 1 here");
    check(&|body| body[6] = 3, "is 3, and is 1 here");
    for at in 12..16 {
        check(&|body| body[at] = 1, "must be zero");
    }
    check(&|body| body[8] = 3, "has more than 2 events");
    check(&|body| body[8..12].fill(255), "has more than 2 events");
    check(&|body| body[8] = 1, "has 272 bytes, and with 1 events has 144");
    check(&|body| body.truncate(271), "has 271 bytes, and with 2 events has 272");
    check(&|body| body.truncate(144), "has 144 bytes, and with 2 events has 272");
    check(&|body| body.push(0), "has 273 bytes, and with 2 events has 272");
    check(&|body| body.resize(400, 0), "has 400 bytes, and with 2 events has 272");
    let second = 16 + 128;
    check(&|body| body[second + 119] = 2, "event 1: flags has a flag that does not exist");
    let too_large = "event 1: amount is more than the largest amount, 2^96-1 minor units";
    check(&|body| body[second + 60] = 1, too_large);
    check(&|body| body[second + 48..second + 64].fill(255), too_large);
    check(&|body| body[second + 127] = 128, "event 1: timestamp is not below 2^63 nanoseconds");
}

#[test]
fn what_an_account_does_not_give_must_be_zero() {
    let good = encode([CreateAccount::new(AccountId(1))].iter()).unwrap();
    for at in 16..144 {
        let mut body = good.clone();
        body[at] ^= 0x80;
        let field = match at - 16 {
            28..32 => "overdraft_limit",
            32..80 => "balances",
            108..112 => "reserved",
            118 | 119 => "flags",
            127 => "timestamp",
            _ => "",
        };
        match decode::<CreateAccount>(&body, 1) {
            Ok(_) => assert_eq!(field, "", "byte {at}"),
            Err(BatchFault::Event { index: 0, fault }) => assert_eq!(fault.field, field),
            Err(fault) => panic!("byte {at}: {fault}"),
        }
    }
}

#[test]
fn what_does_not_fit_is_not_written() {
    let transfer = || CreateTransfer {
        ledger: Some(LedgerId(1)),
        ..CreateTransfer::new(
            TransferId(1),
            AccountId(1),
            AccountId(2),
            AmountInput::Minor(Amount::from_minor(1)),
        )
    };
    let check = |transfer: CreateTransfer, expected: &str| {
        let shown = transfer.to_bytes().map_or_else(|unfit| unfit.field, |_| "fits");
        assert_eq!(shown, expected);
    };
    check(transfer(), "fits");
    check(CreateTransfer { ledger: None, ..transfer() }, "ledger");
    let flags = TransferFlags::POST_PENDING_TRANSFER;
    check(CreateTransfer { ledger: None, flags, ..transfer() }, "fits");
    check(CreateTransfer { amount: AmountInput::parse("1.00").unwrap(), ..transfer() }, "amount");
    check(CreateTransfer { effective_at: Some(Timestamp(1)), ..transfer() }, "effective_at");
    let metadata = Some(Metadata::new("{\"a\":1}".into(), b"{\"a\":1}"));
    check(CreateTransfer { metadata, ..transfer() }, "metadata");
    let conditions = vec![Condition {
        account_id: AccountId(1),
        comparison: florin_engine::Comparison::Eq,
        expected: florin_engine::Expected::Version(1),
    }];
    check(CreateTransfer { conditions, ..transfer() }, "conditions");
    let external = florin_engine::ExternalId::try_new("order-1").unwrap();
    check(CreateTransfer { external_id: Some(external.clone()), ..transfer() }, "external_id");
    let account = CreateAccount { external_id: Some(external), ..CreateAccount::new(AccountId(1)) };
    assert_eq!(account.to_bytes().unwrap_err().field, "external_id");
}

#[test]
fn what_is_no_answer_says_why() {
    let outcomes = Outcomes {
        events: 5,
        created: 3,
        first_timestamp: 1,
        last_timestamp: 2,
        seq: 3,
        dry_run: false,
        exceptions: vec![
            Exception { index: 1, status: Status::Exists { timestamp: 7 } },
            Exception { index: 4, status: Status::Rejected(48) },
        ],
    };
    let check = |change: &dyn Fn(&mut Vec<u8>), expected: &str| {
        let mut body = outcomes.encode();
        change(&mut body);
        let shown = Outcomes::decode(&body, 5).map_or_else(
            |fault| fault.to_string(),
            |found| {
                assert_eq!(found, outcomes);
                "read".to_owned()
            },
        );
        assert_eq!(shown, expected);
    };
    check(&|_| (), "read");
    // What has no meaning yet may have one at a later server.
    check(&|body| body[63] = 1, "read");
    check(&|body| body[70] = 1, "read");
    let none = "the body is no answer to a binary batch of version 1";
    check(&|body| body.truncate(63), none);
    check(&|body| body[0] = 0, none);
    check(&|body| body[4] = 2, none);
    check(&|body| body[6] = 1, none);
    let length = "the answer is not as long as its header says";
    check(&|body| body.truncate(95), length);
    check(&|body| body[8] = 3, length);
    check(&|body| body.push(0), length);
    check(&|body| body[16] = 6, "the answer is to 6 events, and 5 were sent");
    let contradiction = "the answer contradicts itself";
    check(&|body| body[20] = 4, contradiction);
    check(&|body| body[20..24].fill(255), contradiction);
    check(&|body| body[24] = 2, contradiction);
    check(&|body| body[28] = 0, contradiction);
    check(&|body| body[64] = 4, contradiction);
    check(&|body| body[80] = 5, contradiction);
}

/// The page names every refusal with its number, and no other.
#[test]
fn the_page_has_the_numbers_of_refusals() {
    let page = include_str!("../../BINARY.md");
    let rows = page.lines().skip_while(|line| *line != "| number | code |").skip(2);
    let rows: Vec<&str> = rows.take_while(|line| line.starts_with('|')).collect();
    let refusals: Vec<String> = (1..=u16::MAX)
        .filter_map(|number| Some((number, florin_engine::Rejection::named(number)?.0)))
        .map(|(number, code)| format!("| {number} | `{code}` |"))
        .collect();
    assert_eq!(rows, refusals);
}
