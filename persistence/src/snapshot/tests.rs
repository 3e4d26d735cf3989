use std::io::{self, Read};
use std::path::{Path, PathBuf};

use florin_engine::{
    Account, AccountId, Amount, Event, JournalSeq, LedgerId, PendingTransfer, Record, TransferId,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::{
    Changes, Contradiction, FrameEnd, Held, SnapshotError, SnapshotReader, SnapshotWriter,
    file_name, merge, seq_of_file_name, temporary_name,
};
use model::{DIRECTORY, Model, Op, op};

mod model;

const FILE: &str = "snapshots/some";

fn opened(bytes: &[u8]) -> Result<SnapshotReader<&[u8]>, SnapshotError> {
    SnapshotReader::open(bytes, Path::new(FILE))
}

fn accounts(bytes: &[u8]) -> Result<Vec<Account>, SnapshotError> {
    Ok(held(bytes)?.0)
}

/// All accounts and all open pending transfers.
fn held(bytes: &[u8]) -> Result<(Vec<Account>, Vec<PendingTransfer>), SnapshotError> {
    let (mut accounts, mut pending) = (Vec::new(), Vec::new());
    for entry in opened(bytes)? {
        match entry? {
            Held::Account(account) => accounts.push(account),
            Held::Pending(open) => pending.push(open),
        }
    }
    Ok((accounts, pending))
}

/// The error with those behind it.
fn whole(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", whole(source)),
        None => error.to_string(),
    }
}

/// What keeps these bytes from being a snapshot, without file and advice.
fn refused(bytes: &[u8]) -> String {
    let message = accounts(bytes).expect_err("not to be read").to_string();
    let begin = "the snapshot snapshots/some is damaged at byte ";
    let advice = ". An older snapshot can take its place as long as the journal reaches back to it: \
                  move this file out of the data directory and start again; if that is refused, restore the data directory from a backup";
    let damage = message.strip_prefix(begin).and_then(|rest| rest.strip_suffix(advice));
    damage.unwrap_or(&message).to_owned()
}

fn absorbed(after: JournalSeq, records: &[Record]) -> Changes {
    let mut changes = Changes::after(after);
    for record in records {
        changes.absorb(changes.seq().next(), record).unwrap();
    }
    changes
}

fn merged(old: Option<&[u8]>, changes: Changes, end: FrameEnd) -> Result<Vec<u8>, String> {
    let old = old.map(|bytes| opened(bytes).unwrap());
    match merge(old, changes, end, Vec::new()) {
        Ok((_, bytes)) => Ok(bytes),
        Err(error) => Err(whole(&error)),
    }
}

#[test]
fn a_snapshot_is_read_as_it_was_written() {
    // Enough accounts for several blocks, ids on both sides of 2^64.
    let ids = (1..8000_u128).map(|number| if number < 4000 { number } else { number << 100 });
    let (mut model, _) = Model::with_accounts(ids);
    model.command(&[
        Op::Ledger(2),
        Op::Move { from: 1, to: 7000, posted: 500, pending: 3 },
        Op::Move { from: 2, to: 7001, posted: 0, pending: 4 },
        Op::Move { from: 7000, to: 5, posted: u32::MAX, pending: 0 },
        Op::Limit { account: 9, flags: 0b100, limit: u64::MAX },
    ]);
    let bytes = model.snapshot();
    assert!(bytes.len() > 3 * super::BLOCK_BYTES, "{} bytes make too few blocks", bytes.len());
    let reader = opened(&bytes).unwrap();
    assert_eq!(*reader.header(), model.header());
    assert_eq!(reader.ledgers(), model.ledgers());
    drop(reader);
    let (accounts, pending) = held(&bytes).unwrap();
    assert_eq!(accounts, model.accounts.into_values().collect::<Vec<_>>());
    assert_eq!(pending, model.pending.into_values().collect::<Vec<_>>());
}

#[test]
fn a_state_without_accounts_is_a_snapshot_too() {
    for ops in [vec![], vec![Op::Ledger(1)]] {
        let mut model = Model::default();
        model.command(&ops);
        let bytes = model.snapshot();
        assert_eq!(opened(&bytes).unwrap().ledgers(), model.ledgers());
        assert_eq!(accounts(&bytes).unwrap(), []);
    }
}

/// Five accounts in two ledgers, after some moves.
fn small() -> Model {
    let (mut model, _) = Model::with_accounts([1, 2, 3, 1 << 90, u128::MAX - 1]);
    model.command(&[
        Op::Move { from: 0, to: 4, posted: 12_345, pending: 0 },
        Op::Move { from: 3, to: 2, posted: 7, pending: 9 },
        Op::Ledger(2),
        Op::Account { id: 5, ledger: 1, strange: true },
    ]);
    model
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

#[test]
fn a_snapshot_is_read_as_it_was_written_long_ago() {
    let model = small();
    let path = golden("snapshot-v2.snap");
    if std::env::var_os("FLORIN_GOLDEN").is_some_and(|what| what == "write") && !path.exists() {
        std::fs::write(&path, model.snapshot()).unwrap();
    }
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(opened(&bytes).unwrap().ledgers(), model.ledgers());
    let expected =
        (model.accounts.values().cloned().collect(), model.pending.values().copied().collect());
    assert_eq!(held(&bytes).unwrap(), expected);
    assert_eq!(model.snapshot(), bytes);
}

/// What has no external id takes the bytes that it took before there were any.
#[test]
fn external_ids_stand_in_a_snapshot_as_they_did_long_ago() {
    let mut model = small();
    let id = model::named("order-4711");
    model.command(&[Op::Account { id, ledger: 0, strange: false }]);
    model.command(&[Op::Metadata { account: 4, text: Some(1) }]);
    assert_eq!(model.accounts[&AccountId(id)].external_id_seq, JournalSeq(3));
    let path = golden("snapshot-external-ids.snap");
    if std::env::var_os("FLORIN_GOLDEN").is_some_and(|what| what == "write") && !path.exists() {
        std::fs::write(&path, model.snapshot()).unwrap();
    }
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(accounts(&bytes).unwrap(), model.accounts.values().cloned().collect::<Vec<_>>());
    assert_eq!(model.snapshot(), bytes);
}

#[test]
fn a_snapshot_of_the_first_version_is_read_and_continued() {
    let mut model = small();
    let bytes = std::fs::read(golden("snapshot.snap")).unwrap();
    let header = *opened(&bytes).unwrap().header();
    assert_eq!(header.newest_transfer, header.last_timestamp);
    assert_eq!(header.pending, 0);
    assert_eq!(opened(&bytes).unwrap().ledgers(), model.ledgers());
    let expected: Vec<Account> = model.accounts.values().cloned().collect();
    assert_eq!(held(&bytes).unwrap(), (expected, vec![]));

    // What it says is pending, though no transfer was, would never be found again: it is not continued.
    let record = model.command(&[Op::Ledger(3)]);
    let changes = absorbed(JournalSeq(2), &[record]);
    model.pending.clear();
    let error = merged(Some(&bytes), changes, model.frame_end()).unwrap_err();
    assert!(error.contains("add up to 0 minor units, but 9 are pending"), "{error}");
}

#[test]
fn no_cut_and_no_changed_byte_goes_unnoticed() {
    let bytes = small().snapshot();
    for length in 0..bytes.len() {
        assert!(accounts(&bytes[..length]).is_err(), "cut to {length} bytes");
    }
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut other = bytes.clone();
            other[at] ^= flip;
            assert!(accounts(&other).is_err(), "byte {at} flipped by {flip:#x}");
        }
    }
}

#[test]
fn a_damaged_snapshot_is_refused_with_file_offset_and_advice() {
    let bytes = small().snapshot();
    let changed = |at: usize, to: u8| {
        let mut other = bytes.clone();
        other[at] = to;
        refused(&other)
    };
    let length = bytes.len();
    let accounts_block = 104 + 9 + usize::from(bytes[105]);
    let footer = length - 41;

    assert_eq!(changed(0, b'X'), "0: it does not begin as a snapshot does");
    assert_eq!(changed(30, 0xff), "0: a checksum does not match");
    assert_eq!(changed(8, 0), "0: a checksum does not match");
    assert_eq!(changed(104, 2), "104: there is not the block that belongs here");
    assert_eq!(changed(108, 0xff), "104: there is not the block that belongs here");
    assert_eq!(changed(116, 0xff), "104: a checksum does not match");
    assert_eq!(
        changed(accounts_block + 20, 0xee),
        format!("{accounts_block}: a checksum does not match")
    );
    let hash_differs = format!("{footer}: the hash over the whole file does not match");
    assert_eq!(changed(footer + 1, 0), hash_differs);
    assert_eq!(changed(length - 1, bytes[length - 1] ^ 1), hash_differs);
    assert_eq!(refused(&bytes[..0]), "0: the file ends too early");
    assert_eq!(refused(&bytes[..length - 1]), format!("{}: the file ends too early", footer + 9));
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(refused(&longer), format!("{length}: bytes follow after its end"));
    assert_eq!(
        changed(8, 9),
        "the snapshot snapshots/some has format version 9, which this program does not know; \
         start the version of Florin that wrote it"
    );
    assert!(accounts(&longer).unwrap_err().to_string().contains("restore the data directory"));
}

#[test]
fn a_snapshot_under_the_name_of_another_is_refused() {
    let model = small();
    let bytes = model.snapshot();
    let at = |seq| SnapshotReader::open(bytes.as_slice(), &Path::new("x").join(file_name(seq)));
    assert!(at(model.seq).is_ok());
    let error = at(JournalSeq(9)).unwrap_err().to_string();
    assert!(error.contains("its name does not fit its position, which is 2"), "{error}");
}

#[test]
fn names_give_the_position() {
    assert_eq!(file_name(JournalSeq(42)), "00000000000000000042.snap");
    assert_eq!(temporary_name(JournalSeq(42)), "00000000000000000042.snap.tmp");
    assert_eq!(seq_of_file_name(&file_name(JournalSeq(u64::MAX))), Some(JournalSeq(u64::MAX)));
    for other in ["42.snap", "0000000000000000004x.snap", "99999999999999999999.snap", "journal"] {
        assert_eq!(seq_of_file_name(other), None);
    }
    assert_eq!(seq_of_file_name(&temporary_name(JournalSeq(42))), None);
}

#[test]
fn a_failing_disk_is_no_damage() {
    #[derive(Debug)]
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the cable is out"))
        }
    }
    let error = SnapshotReader::open(Failing, Path::new(FILE)).unwrap_err();
    assert_eq!(
        whole(&error),
        "the snapshot snapshots/some can not be read at byte 0: the cable is out"
    );
}

/// Writes the model's accounts and ledgers, whatever they add up to, under the header of `named`.
fn written(model: &Model, named: &Model) -> Result<Vec<u8>, String> {
    let ledgers = model.ledgers();
    let write = || {
        let mut writer = SnapshotWriter::start(Vec::new(), named.header(), &ledgers)?;
        for account in model.accounts.values() {
            writer.push(account)?;
        }
        for pending in model.pending.values() {
            writer.push_pending(pending)?;
        }
        writer.finish()
    };
    write().map_err(|error: super::SnapshotWriteError| whole(&error))
}

fn check_discrepancy(change: impl FnOnce(&mut Model), expected: &str) {
    let named = small();
    let mut model = named.clone();
    change(&mut model);
    let error = written(&model, &named).expect_err("not to be written");
    let (_, discrepancy) = error.split_once("not the state at its position: ").unwrap();
    assert!(discrepancy.starts_with(expected), "{discrepancy}");
}

fn change_account(model: &mut Model, id: u128, change: impl FnOnce(&mut Account)) {
    change(model.accounts.get_mut(&AccountId(id)).unwrap());
}

#[test]
fn what_is_not_the_state_is_not_finished() {
    check_discrepancy(
        |model| {
            change_account(model, 1, |account| {
                account.balances.debits_posted = Amount::from_minor(12_346);
            });
        },
        "the debits of ledger 1 are not its credits: 12353 and 12352 minor units posted, 9 and 9 pending",
    );
    check_discrepancy(
        |model| {
            change_account(model, 2, |account| {
                account.balances.credits_pending = Amount::from_minor(1);
            });
        },
        "the debits of ledger 1 are not its credits: 12352 and 12352 minor units posted, 9 and 10 pending",
    );
    check_discrepancy(
        |model| model.ledgers.get_mut(&LedgerId(1)).unwrap().1.posted += 1,
        "the accounts of ledger 1 add up to LedgerTotals { accounts: 5, posted: 12352, pending: 9 }, \
         but its totals are LedgerTotals { accounts: 5, posted: 12353, pending: 9 }",
    );
    check_discrepancy(
        |model| {
            model.accounts.remove(&AccountId(2));
        },
        "there are 5 accounts, and should be 6",
    );
    check_discrepancy(
        |model| model.pending.clear(),
        "there are 0 open pending transfers, and should be 1",
    );
    check_discrepancy(
        |model| {
            model.pending.values_mut().next().unwrap().amount = Amount::from_minor(8);
        },
        "the open pending transfers of ledger 1 add up to 8 minor units, but 9 are pending",
    );
    check_discrepancy(
        |model| model.pending.values_mut().next().unwrap().ledger = LedgerId(9),
        "the pending transfer ",
    );
    check_discrepancy(
        |model| change_account(model, 2, |account| account.user_data_32 += 1),
        "the state hash is ",
    );
    check_discrepancy(
        |model| change_account(model, 2, |account| account.ledger = LedgerId(9)),
        "account 2 is of ledger 9, which does not exist",
    );
}

#[test]
fn a_snapshot_that_is_whole_but_not_the_state_is_not_taken() {
    let model = small();
    let bytes = model.snapshot();
    // All checksums right, as a bug and not a disk would leave it: another state hash in the header.
    let mut other = bytes.clone();
    other[52] ^= 1;
    let checksum = crc32c::crc32c(&other[..100]);
    other[100..104].copy_from_slice(&checksum.to_le_bytes());
    let end = other.len() - blake3::OUT_LEN;
    let hash = blake3::hash(&other[..end]);
    other[end..].copy_from_slice(hash.as_bytes());
    let message = refused(&other);
    let expected = format!("{}: the state hash is {:#018x}", end - 9, model.state_hash());
    assert!(message.starts_with(&expected), "{message}");
}

#[test]
fn accounts_and_ledgers_out_of_order_are_not_written() {
    let model = small();
    let mut ledgers = model.ledgers();
    let mut writer = SnapshotWriter::start(Vec::new(), model.header(), &ledgers).unwrap();
    let account = &model.accounts[&AccountId(2)];
    writer.push(account).unwrap();
    let error = writer.push(account).unwrap_err();
    assert_eq!(error.to_string(), "account 2 comes at or after an account of a higher id");
    let mut pending = *model.pending.values().next().unwrap();
    pending.id = TransferId(7);
    writer.push_pending(&pending).unwrap();
    let expected =
        "the pending transfer 7 comes at or after one of a higher id, or an account after it";
    assert_eq!(writer.push_pending(&pending).unwrap_err().to_string(), expected);
    let later = model.accounts.values().last().unwrap();
    assert_eq!(writer.push(later).unwrap_err().to_string(), expected);
    ledgers.reverse();
    let error = SnapshotWriter::start(Vec::new(), model.header(), &ledgers).unwrap_err();
    assert_eq!(error.to_string(), "ledger 1 comes at or after a ledger of a higher id");
}

#[test]
fn a_merge_that_does_not_give_the_journals_state_fails() {
    let (mut model, first) = Model::with_accounts([1, 2, 3]);
    let old = merged(None, absorbed(JournalSeq::NONE, &[first]), model.frame_end()).unwrap();
    let record = model.command(&[Op::Move { from: 0, to: 2, posted: 5, pending: 0 }]);
    let changes = || absorbed(JournalSeq(1), std::slice::from_ref(&record));
    let end = model.frame_end();
    assert_eq!(merged(Some(&old), changes(), end), Ok(model.snapshot()));

    let other = FrameEnd { state_hash: end.state_hash + 1, ..end };
    let expected = format!(
        "the snapshot is not the state at its position: the state hash is {:#018x}, and should be {:#018x}",
        end.state_hash, other.state_hash
    );
    assert_eq!(merged(Some(&old), changes(), other), Err(expected));

    let mut unbalanced = record.clone();
    unbalanced.accounts.pop();
    let error = merged(Some(&old), absorbed(JournalSeq(1), &[unbalanced]), end).unwrap_err();
    assert!(error.contains("5 and 0 minor units posted"), "{error}");
}

#[test]
fn a_merge_of_what_does_not_belong_together_fails() {
    let (mut model, first) = Model::with_accounts([1, 3]);
    let old = model.snapshot();
    let move_record = model.command(&[Op::Move { from: 0, to: 1, posted: 5, pending: 0 }]);
    let end = model.frame_end();
    let check = |old: Option<&[u8]>, after: u64, record: &Record, end: FrameEnd, expected: &str| {
        let changes = absorbed(JournalSeq(after), std::slice::from_ref(record));
        assert_eq!(merged(old, changes, end), Err(expected.to_owned()));
    };
    let account_record = |id, change: fn(&mut Record)| {
        let mut record = move_record.clone();
        record.accounts[0].id = AccountId(id);
        change(&mut record);
        record
    };
    let untouched: fn(&mut Record) = |_| {};

    check(
        Some(&old),
        2,
        &move_record,
        end,
        "the changes begin after 2, but the snapshot stands at 1",
    );
    check(None, 1, &move_record, end, "the changes begin after 1, but the snapshot stands at 0");
    let elsewhere = FrameEnd { directory: Uuid::nil(), ..end };
    let expected =
        format!("the snapshot belongs to data directory {DIRECTORY}, not to {}", Uuid::nil());
    check(Some(&old), 1, &move_record, elsewhere, &expected);

    let contradiction =
        |what: &str| format!("the journal does not continue the snapshot at 1: {what}");
    for unknown in [2, 9] {
        let expected = contradiction(&format!("account {unknown} is touched and does not exist"));
        check(Some(&old), 1, &account_record(unknown, untouched), end, &expected);
    }
    let again = contradiction("ledger 1 is created a second time");
    check(Some(&old), 1, &first, end, &again);
    let mut accounts_again = first.clone();
    accounts_again.events.remove(0);
    let again = contradiction("account 1 is created a second time");
    check(Some(&old), 1, &accounts_again, end, &again);
    let stale = account_record(1, |record| record.accounts[0].version = 0);
    let expected = contradiction("account 1 goes from version 0 to version 0");
    check(Some(&old), 1, &stale, end, &expected);
    let elsewhere = account_record(1, |record| record.accounts[0].ledger = LedgerId(2));
    let expected = contradiction("account 1 of ledger 1 is touched in ledger 2");
    check(Some(&old), 1, &elsewhere, end, &expected);
    let mut no_ledger = move_record.clone();
    no_ledger.ledgers[0].id = LedgerId(7);
    let expected = contradiction("ledger 7 has totals and does not exist");
    check(Some(&old), 1, &no_ledger, end, &expected);
}

#[test]
fn pending_transfers_that_do_not_belong_together_are_refused() {
    let (mut model, _) = Model::with_accounts([1, 3]);
    let opening = model.command(&[Op::Move { from: 0, to: 1, posted: 0, pending: 5 }]);
    let old = model.snapshot();
    let id = model.pending.keys().next().unwrap().0;
    let mut later = model.clone();
    let ending = later.command(&[Op::Settle { pending: 0, how: 2 }]);
    let check = |record: &Record, expected: &str| {
        let changes = absorbed(JournalSeq(2), std::slice::from_ref(record));
        let error = merged(Some(&old), changes, later.frame_end()).unwrap_err();
        assert_eq!(error, format!("the journal does not continue the snapshot at 2: {expected}"));
    };
    let mut again = opening.clone();
    again.accounts.clear();
    check(&again, &format!("the pending transfer {id} opens a second time"));
    let mut unknown = ending.clone();
    let Event::TransferExpired(expired) = &mut unknown.events[0] else { panic!("it expires") };
    expired.id = TransferId(9);
    check(&unknown, "the pending transfer 9 ends and is not open");

    let mut changes = absorbed(JournalSeq(2), std::slice::from_ref(&ending));
    let twice = changes.absorb(JournalSeq(4), &ending).unwrap_err();
    assert_eq!(twice, Contradiction::PendingMissing(TransferId(id)));
    let mut changes = absorbed(JournalSeq(1), std::slice::from_ref(&opening));
    let twice = changes.absorb(JournalSeq(3), &opening).unwrap_err();
    assert_eq!(twice, Contradiction::PendingExists(TransferId(id)));
}

#[test]
fn records_that_do_not_follow_each_other_are_not_absorbed() {
    let (mut model, first) = Model::with_accounts([1, 3]);
    let second = model.command(&[Op::Move { from: 0, to: 1, posted: 5, pending: 0 }]);
    let absorb = |seqs_and_records: &[(u64, &Record)]| {
        let mut changes = Changes::after(JournalSeq::NONE);
        let mut result = Ok(());
        for (seq, record) in seqs_and_records {
            result = result.and_then(|()| changes.absorb(JournalSeq(*seq), record));
        }
        result.map_err(|error| error.to_string())
    };
    let refused = |what: &str| Err(what.to_owned());
    assert_eq!(absorb(&[(1, &first), (2, &second)]), Ok(()));
    assert_eq!(absorb(&[(2, &second)]), refused("record 1 was expected and record 2 came"));
    assert_eq!(
        absorb(&[(1, &first), (1, &second)]),
        refused("record 2 was expected and record 1 came")
    );
    assert_eq!(absorb(&[(1, &first), (2, &first)]), refused("ledger 1 is created a second time"));
    assert_eq!(
        absorb(&[(1, &first), (2, &second), (3, &second)]),
        refused("account 1 goes from version 1 to version 1")
    );
    assert_eq!(
        absorb(&[(1, &second), (2, &second)]),
        refused("account 1 goes from version 1 to version 1")
    );
}

#[test]
fn changes_know_their_memory() {
    let (mut model, first) = Model::with_accounts(1..=1000);
    let mut changes = Changes::after(JournalSeq::NONE);
    changes.absorb(JournalSeq(1), &first).unwrap();
    let created = changes.memory_bytes();
    assert!(created >= 1000 * size_of::<Account>(), "{created}");
    // The same accounts again need no more room, however often.
    for seq in 2..50 {
        let record = model.command(&[Op::Move { from: 0, to: 500, posted: 5, pending: 0 }]);
        changes.absorb(JournalSeq(seq), &record).unwrap();
    }
    assert_eq!(changes.memory_bytes(), created);
}

proptest! {
    #[test]
    fn merging_in_steps_is_the_state(
        steps in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(op(), 0..8), 1..5),
            1..6,
        ),
    ) {
        let mut model = Model::default();
        let mut snapshot: Option<Vec<u8>> = None;
        let mut all = Changes::after(JournalSeq::NONE);
        for commands in steps {
            let mut changes = Changes::after(model.seq);
            for ops in commands {
                let record = model.command(&ops);
                changes.absorb(model.seq, &record).unwrap();
                all.absorb(model.seq, &record).unwrap();
            }
            let next = merged(snapshot.as_deref(), changes, model.frame_end());
            prop_assert_eq!(next.as_ref(), Ok(&model.snapshot()));
            snapshot = next.ok();
        }
        let in_one_step = merged(None, all, model.frame_end());
        prop_assert_eq!(in_one_step.as_ref(), Ok(&model.snapshot()));
        let (accounts, pending) = held(&in_one_step.unwrap()).unwrap();
        prop_assert_eq!(accounts, model.accounts.into_values().collect::<Vec<_>>());
        prop_assert_eq!(pending, model.pending.into_values().collect::<Vec<_>>());
    }
}
