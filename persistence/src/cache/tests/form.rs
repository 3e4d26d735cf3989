//! The bytes that stand in Redis, and what options show of themselves.

use std::time::Duration;

use florin_engine::{
    AccountFlags, AccountId, Amount, Balances, Code, JournalSeq, LedgerId, Timestamp,
};
use proptest::prelude::*;
use uuid::Uuid;

use crate::cache::CacheOptions;
use crate::cache::entry::{Fixed, FixedMetadata, Moving};
use crate::cache::epoch::Epoch;
use crate::cache::keys::{Keys, slot_offset, static_slot_offset};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn moving() -> Moving {
    let amount = |minor_units| Amount::try_new(minor_units).unwrap();
    Moving {
        seq: JournalSeq(0x0102_0304),
        flags: AccountFlags::HISTORY,
        overdraft_limit: amount(300),
        version: 5,
        balances: Balances {
            debits_pending: amount(0),
            debits_posted: amount(1),
            credits_pending: amount(127),
            credits_posted: Amount::MAX,
        },
    }
}

fn fixed(metadata: Option<FixedMetadata>) -> Fixed {
    Fixed {
        ledger: LedgerId(1),
        code: Code(300),
        timestamp: Timestamp(0x1122_3344_5566_7788),
        user_data_128: 0xab,
        user_data_64: 2,
        user_data_32: 3,
        metadata,
    }
}

/// Readers and writers of different versions share one Redis: a changed form needs a new version byte.
#[test]
fn the_form_of_entries_is_for_ever() {
    let mut bytes = Vec::new();
    moving().put(&mut bytes);
    let flags = format!("{:02x}", AccountFlags::HISTORY.bits());
    let amounts = "ac0200017fffffffffffffffffffffffffff1f";
    let expected = format!("0100000000000000050000000001020304{flags}{amounts}");
    assert_eq!(hex(&bytes), expected);
    assert_eq!(Moving::read(&bytes), Ok(moving()));

    bytes.clear();
    fixed(None).put(&mut bytes);
    let expected = "0101ac028877665544332211ab000000000000000000000000000000020300";
    assert_eq!(hex(&bytes), expected);
    assert_eq!(Fixed::read(&bytes), Ok(fixed(None)));

    bytes.clear();
    let with = fixed(Some(FixedMetadata { seq: JournalSeq(9), digest: 1, text: "{}".into() }));
    with.put(&mut bytes);
    let expected = "0101ac028877665544332211ab000000000000000000000000000000020309\
                    0100000000000000027b7d";
    assert_eq!(hex(&bytes), expected);
    assert_eq!(Fixed::read(&bytes), Ok(with));

    let (covered, began) = (JournalSeq(2), JournalSeq(3));
    let epoch = Epoch { claim: 1, covered, began, step: 4, name: 0xfe };
    let expected = "02000000000000000100000000000000020000000000000003\
                    000000000000000400000000000000fe";
    assert_eq!(hex(&epoch.to_bytes()), expected);
    assert_eq!(Epoch::from_bytes(&epoch.to_bytes()), Some(epoch));
}

#[test]
fn the_names_of_keys_are_for_ever() {
    let keys = Keys::new(Uuid::nil());
    let root = "florin:{00000000-0000-0000-0000-000000000000}:";
    let id = AccountId(u128::from(u64::MAX));
    assert_eq!(keys.epoch(), format!("{root}epoch"));
    assert_eq!(keys.changes(0xab), format!("{root}00000000000000ab:changes"));
    assert_eq!(keys.moving(1, id), format!("{root}0000000000000001:a:18446744073709551615"));
    assert_eq!(keys.fixed(1, id), format!("{root}0000000000000001:s:18446744073709551615"));
    let page = keys.page(1, AccountId(2), 3, b"limit=2");
    let digest = "aabb57f81d3bab9053854b8057859b95";
    assert_eq!(page, format!("{root}0000000000000001:p:2:3:{digest}"));
    assert_eq!((slot_offset(AccountId(1)), slot_offset(AccountId(2))), (589_960, 1_934_064));
    assert_eq!(static_slot_offset(AccountId(1)), (1 << 21) + 589_960 % (1 << 15));
}

proptest! {
    #[test]
    fn entries_are_read_again(
        (seq, version, flags) in (any::<u64>(), any::<u64>(), any::<u16>()),
        amounts in prop::array::uniform5(0..=Amount::MAX.minor_units()),
        (ledger, code, timestamp) in (any::<u32>(), any::<u16>(), any::<u64>()),
        (data_128, data_64, data_32) in (any::<u128>(), any::<u64>(), any::<u32>()),
        metadata in prop::option::of((1..u64::MAX, any::<u64>(), ".{0,40}")),
    ) {
        let amount = |at: usize| Amount::try_new(amounts[at]).unwrap();
        let moving = Moving {
            seq: JournalSeq(seq),
            flags: AccountFlags::try_from_bits(flags).unwrap_or_default(),
            overdraft_limit: amount(0),
            version,
            balances: Balances {
                debits_pending: amount(1),
                debits_posted: amount(2),
                credits_pending: amount(3),
                credits_posted: amount(4),
            },
        };
        let mut bytes = Vec::new();
        moving.put(&mut bytes);
        prop_assert_eq!(Moving::read(&bytes), Ok(moving));
        let fixed = Fixed {
            ledger: LedgerId(ledger),
            code: Code(code),
            timestamp: Timestamp(timestamp),
            user_data_128: data_128,
            user_data_64: data_64,
            user_data_32: data_32,
            metadata: metadata.map(|(seq, digest, text)| FixedMetadata {
                seq: JournalSeq(seq),
                digest,
                text: text.into(),
            }),
        };
        bytes.clear();
        fixed.put(&mut bytes);
        prop_assert_eq!(Fixed::read(&bytes), Ok(fixed));
    }

    #[test]
    fn no_bytes_break_a_reader(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = (Moving::read(&bytes), Fixed::read(&bytes), Epoch::from_bytes(&bytes));
    }
}

#[test]
fn a_password_is_never_shown() {
    for url in [
        "redis://:secret@cache:6379/1",
        "rediss://user:se@secret@cache",
        "redis-sentinel://u:secret@cache?sentinelServiceName=a&sentinelPassword=secret",
        "secret",
    ] {
        let mut options = CacheOptions::new(url);
        options.password = Some("secret".to_owned());
        let shown = format!("{options:?} {}", options.shown_url());
        assert!(!shown.contains("secret"), "{shown}");
        if let Err(error) = options.check() {
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("secret"), "{shown}");
        }
    }
    let url = CacheOptions::new("redis://:secret@cache:6379/1").shown_url();
    assert_eq!(url, "redis://cache:6379/1");
}

#[test]
fn options_that_can_not_work_are_refused() {
    let check = |change: fn(&mut CacheOptions)| {
        let mut options = CacheOptions::new("rediss://localhost:6379");
        change(&mut options);
        options.check().map_err(|error| error.to_string())
    };
    let refused = |change, part: &str| {
        let error = check(change).unwrap_err();
        assert!(error.contains(part), "{error}");
    };
    assert_eq!(check(|options| options.url = "redis://localhost".into()), Ok(()));
    refused(|options| options.url = "localhost:6379".into(), "redis://host:port");
    refused(|options| options.url = "http://localhost".into(), "redis://host:port");
    refused(|options| options.url = "redis://localhost/x".into(), "redis://host:port");
    refused(|options| options.command_timeout = Duration::from_millis(49), "50 to 250 ms");
    refused(|options| options.command_timeout = Duration::from_millis(251), "50 to 250 ms");
    refused(|options| options.ca_file = Some("/nowhere".into()), "/nowhere");
    refused(|options| options.ca_file = Some("/dev/null".into()), "no certificate");
}
