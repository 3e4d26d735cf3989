//! The index as its users see it: what was indexed is found, whatever happens to the process or
//! to the filter's files.

use super::*;
use fjall::AbstractTree as _;
use proptest::prelude::*;
use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

const TINY: IndexOptions = IndexOptions { cache_bytes: 1 << 20, filter_ids: 1_000 };

fn open(dir: &Path) -> DecidedIndex {
    DecidedIndex::open(dir, TINY).unwrap()
}

/// The nth id of these tests: scattered over the whole range, as random ids are.
fn id(n: u64) -> u128 {
    u128::from(n).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

fn entry(n: u64) -> Entry {
    let namespace = if n.is_multiple_of(3) { Namespace::Key } else { Namespace::Transfer };
    (
        namespace,
        id(n),
        Decided { seq: n + 1, digest: n.wrapping_mul(77), timestamp: n ^ 5, kind: n as u8 },
    )
}

fn entries(range: std::ops::Range<u64>) -> Vec<Entry> {
    range.map(entry).collect()
}

/// Indexes entries 0..count in batches, so that position `n` covers entries 0..n.
fn fill(index: &DecidedIndex, range: std::ops::Range<u64>, batch: usize) {
    for start in range.clone().step_by(batch) {
        let end = (start + batch as u64).min(range.end);
        index.insert_batch(&mut entries(start..end), end).unwrap();
    }
}

/// Exactly the entries 0..count are there.
fn check_holds(index: &DecidedIndex, count: u64) {
    assert_eq!((index.len(), index.covered_seq()), (count, count));
    for n in 0..count {
        let (namespace, id, decided) = entry(n);
        assert_eq!(index.get(namespace, id).unwrap(), Some(decided), "entry {n}");
    }
    for n in count..count + 2_000 {
        let (namespace, id, _) = entry(n);
        assert_eq!(index.get(namespace, id).unwrap(), None, "entry {n}");
    }
}

/// The files below a directory, and what tells that one was replaced or written to.
fn files_below(dir: &Path) -> io::Result<Vec<(PathBuf, u64, u64, i64)>> {
    let mut files = Vec::new();
    for file in fs::read_dir(dir)? {
        let (path, data) = file.and_then(|file| Ok((file.path(), file.metadata()?)))?;
        if data.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push((path, data.ino(), data.len(), data.mtime_nsec()));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Copies a directory as a crash would leave it: nobody closes anything first. The store may be
/// merging meanwhile, so a copy counts only if nothing changed while it was made.
fn copy(from: &Path, to: &Path) {
    let attempt = || -> io::Result<bool> {
        let before = files_below(from)?;
        for (path, ..) in &before {
            let target = to.join(path.strip_prefix(from).unwrap());
            fs::create_dir_all(target.parent().unwrap())?;
            fs::copy(path, target)?;
        }
        Ok(files_below(from)? == before)
    };
    while !attempt().unwrap_or(false) {
        let _ = fs::remove_dir_all(to);
    }
}

#[test]
fn a_new_index_is_empty() {
    let dir = TempDir::new().unwrap();
    let index = open(&dir.path().join("made/on/the/way"));
    assert!(index.is_empty());
    check_holds(&index, 0);
}

#[test]
fn entries_are_found_at_once_and_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let index = open(dir.path());
    fill(&index, 0..5_000, 700);
    check_holds(&index, 5_000);
    drop(index);
    let index = open(dir.path());
    check_holds(&index, 5_000);
    fill(&index, 5_000..6_000, 1_000);
    check_holds(&index, 6_000);
}

#[test]
fn namespaces_are_apart() {
    let dir = TempDir::new().unwrap();
    let index = open(dir.path());
    let (transfer, key) = (entry(1).2, entry(2).2);
    index.insert_batch(&mut vec![(Namespace::Transfer, 5, transfer)], 1).unwrap();
    assert_eq!(index.get(Namespace::Key, 5).unwrap(), None);
    index.insert_batch(&mut vec![(Namespace::Key, 5, key)], 2).unwrap();
    assert_eq!(index.get(Namespace::Transfer, 5).unwrap(), Some(transfer));
    assert_eq!(index.get(Namespace::Key, 5).unwrap(), Some(key));
}

#[test]
fn the_extreme_ids_are_ids_like_others() {
    let dir = TempDir::new().unwrap();
    let index = open(dir.path());
    let all = Decided { seq: u64::MAX, digest: u64::MAX, timestamp: u64::MAX, kind: u8::MAX };
    let mut batch: Vec<Entry> = [Namespace::Transfer, Namespace::Key]
        .into_iter()
        .flat_map(|namespace| [(namespace, 0, all), (namespace, u128::MAX, all)])
        .collect();
    index.insert_batch(&mut batch.clone(), 1).unwrap();
    drop(index);
    let index = open(dir.path());
    batch.drain(..).for_each(|(namespace, id, decided)| {
        assert_eq!(index.get(namespace, id).unwrap(), Some(decided));
    });
}

#[test]
fn a_batch_given_again_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let index = open(dir.path());
    fill(&index, 0..1_000, 1_000);
    let mut again = entries(500..1_500);
    again.extend(entries(1_400..1_500));
    index.insert_batch(&mut again, 1_500).unwrap();
    assert_eq!(again.len(), 500, "the new ones remain");
    index.insert_batch(&mut entries(0..1_500), 700).unwrap();
    check_holds(&index, 1_500);
}

#[test]
fn a_position_may_be_covered_without_entries() {
    let dir = TempDir::new().unwrap();
    let index = open(dir.path());
    fill(&index, 0..10, 10);
    index.insert_batch(&mut Vec::new(), 99).unwrap();
    assert_eq!((index.len(), index.covered_seq()), (10, 99));
    drop(index);
    let index = open(dir.path());
    assert_eq!((index.len(), index.covered_seq()), (10, 99));
}

#[test]
fn an_outcome_never_changes() {
    let dir = TempDir::new().unwrap();
    let index = open(dir.path());
    fill(&index, 0..10, 10);
    let (namespace, id, first) = entry(3);
    let second = Decided { digest: 0, ..first };
    let contradicts = |batch: &mut Vec<Entry>| {
        let error = index.insert_batch(batch, 20).unwrap_err();
        assert!(matches!(error, IndexError::Contradiction { .. }), "{error}");
    };
    contradicts(&mut vec![entry(10), (namespace, id, second)]);
    let (namespace, id, first) = entry(11);
    contradicts(&mut vec![(namespace, id, first), (namespace, id, Decided { kind: 0, ..first })]);
    check_holds(&index, 10);
    fill(&index, 10..20, 10);
    check_holds(&index, 20);
}

#[test]
fn every_batch_that_returned_survives_a_crash() {
    let dir = TempDir::new().unwrap();
    let index = open(&dir.path().join("live"));
    for batch in 0..6 {
        let covered = batch * 400;
        fill(&index, covered..covered + 400, 400);
        let crashed = dir.path().join(format!("crash{batch}"));
        copy(&dir.path().join("live"), &crashed);
        let reopened = open(&crashed);
        check_holds(&reopened, covered + 400);
        fill(&reopened, covered + 400..covered + 900, 250);
        check_holds(&reopened, covered + 900);
    }
}

/// The states of step 2 of a batch: the log has it in whole or in part, the index has not.
#[test]
fn a_crash_between_log_and_index_leaves_the_batch_undone() {
    let dir = TempDir::new().unwrap();
    let (live, before) = (dir.path().join("live"), dir.path().join("before"));
    let index = open(&live);
    fill(&index, 0..2_000, 500);
    copy(&live, &before);
    fill(&index, 2_000..3_000, 1_000);
    let log = fs::read(live.join("filter.log")).unwrap();
    let old = fs::read(before.join("filter.log")).unwrap().len();
    assert_eq!(log.len() - old, 16 + 8 * 1_000);
    for end in [old + 1, old + 15, old + 16, old + 4_000, log.len() - 1, log.len()] {
        let crashed = dir.path().join(format!("crash{end}"));
        copy(&before, &crashed);
        fs::write(crashed.join("filter.log"), &log[..end]).unwrap();
        let index = open(&crashed);
        check_holds(&index, 2_000);
        assert_eq!(fs::metadata(crashed.join("filter.log")).unwrap().len() as usize, old);
        fill(&index, 2_000..3_000, 1_000);
        drop(index);
        check_holds(&open(&crashed), 3_000);
    }
}

/// The child of the next test: fills an index and says what is covered, until it is killed.
fn fill_until_killed(dir: &Path) {
    let index = open(dir);
    let start = index.covered_seq();
    for batch in 0..10_000 {
        fill(&index, start + batch * 300..start + (batch + 1) * 300, 300);
        println!("\ncovered {}", index.covered_seq());
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_reported() {
    const CHILD: &str = "FLORIN_TEST_INDEX_TO_FILL";
    if let Some(dir) = std::env::var_os(CHILD) {
        return fill_until_killed(Path::new(&dir));
    }
    let dir = TempDir::new().unwrap();
    for round in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["a_killed_process_loses_nothing_that_it_reported", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut reported = 0;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        for _ in 0..3 + 5 * round {
            let covered =
                lines.by_ref().find_map(|line| Some(line.strip_prefix("covered ")?.parse()));
            reported = covered.unwrap().unwrap();
        }
        // The child is somewhere in its next batch by now, each time elsewhere.
        for _ in 0..round * 100_000 {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let index = open(dir.path());
        assert!(index.covered_seq() >= reported && reported > 0);
        check_holds(&index, index.covered_seq());
    }
}

#[test]
fn missing_or_damaged_filter_files_are_made_anew() {
    let dir = TempDir::new().unwrap();
    let original = dir.path().join("original");
    // Enough for a checkpoint and some frames after it.
    let index = open(&original);
    fill(&index, 0..180_000, 20_000);
    drop(index);
    let bits = fs::metadata(original.join("filter.bits")).unwrap().len() as usize;
    let log = fs::metadata(original.join("filter.log")).unwrap().len() as usize;
    let damage: [(&str, Vec<(&str, Damage)>); 11] = [
        ("nothing", vec![]),
        ("no bits", vec![("filter.bits", Damage::Remove)]),
        ("no log", vec![("filter.log", Damage::Remove)]),
        ("neither", vec![("filter.bits", Damage::Remove), ("filter.log", Damage::Remove)]),
        ("bits' head", vec![("filter.bits", Damage::Flip(10))]),
        ("bits' body", vec![("filter.bits", Damage::Flip(bits / 2))]),
        ("bits cut", vec![("filter.bits", Damage::Cut(bits - 1))]),
        ("log's head", vec![("filter.log", Damage::Flip(3))]),
        ("log's last frame", vec![("filter.log", Damage::Flip(log - 9))]),
        ("log cut", vec![("filter.log", Damage::Cut(log - 1))]),
        (
            "log's old frames",
            vec![("filter.bits", Damage::Remove), ("filter.log", Damage::Flip(99))],
        ),
    ];
    for (what, damages) in damage {
        let damaged = dir.path().join("damaged");
        copy(&original, &damaged);
        damages.iter().for_each(|(file, damage)| damage.apply(&damaged.join(file)));
        let index = open(&damaged);
        assert_eq!(index.len(), 180_000, "{what}");
        for n in (0..180_000).step_by(7) {
            let (namespace, id, decided) = entry(n);
            assert_eq!(index.get(namespace, id).unwrap(), Some(decided), "{what}: entry {n}");
        }
        for n in 180_000..200_000 {
            assert_eq!(index.get(entry(n).0, id(n)).unwrap(), None);
        }
        let Lookups { disk, found } = index.lookups();
        assert!(disk - found <= 40, "{what}: {} of 20 thousand passed", disk - found);
        // What was repaired is sound: it grows, and it is read at the next start.
        fill(&index, 180_000..240_000, 60_000);
        drop(index);
        assert_eq!(open(&damaged).len(), 240_000, "{what}");
        fs::remove_dir_all(&damaged).unwrap();
    }
}

enum Damage {
    Remove,
    Flip(usize),
    Cut(usize),
}

impl Damage {
    fn apply(&self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        match *self {
            Damage::Remove => return fs::remove_file(path).unwrap(),
            Damage::Flip(at) => bytes[at] ^= 0x10,
            Damage::Cut(bytes_kept) => bytes.truncate(bytes_kept),
        }
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn a_lost_or_older_index_is_noticed() {
    let dir = TempDir::new().unwrap();
    let (live, old) = (dir.path().join("live"), dir.path().join("old"));
    let index = open(&live);
    fill(&index, 0..300, 100);
    copy(&live, &old);
    fill(&index, 300..500, 100);
    drop(index);
    let check = || {
        let error = DecidedIndex::open(&live, TINY).unwrap_err();
        assert!(matches!(error, IndexError::Lost { .. }), "{error}");
    };
    fs::remove_dir_all(live.join("entries")).unwrap();
    check();
    fs::remove_dir_all(live.join("entries")).unwrap();
    copy(&old.join("entries"), &live.join("entries"));
    check();
}

#[test]
fn the_filter_keeps_its_size_and_rate_while_it_grows() {
    let dir = TempDir::new().unwrap();
    let index = open(dir.path());
    let mut count = 0;
    for batch in [900, 200, 5_000, 50_000, 20_000, 60_000] {
        fill(&index, count..count + batch, batch as usize);
        count += batch;
        assert!(index.filter_bytes() >= 2 * count, "{} for {count}", index.filter_bytes());
        assert!(index.filter_bytes() <= 2 * (count + count / 4) + 64);
    }
    let before = index.lookups();
    assert!((count..count + 200_000).all(|n| index.get(entry(n).0, id(n)).unwrap().is_none()));
    let after = index.lookups();
    assert!(after.disk - before.disk <= 200, "{after:?} in 200 thousand");
    assert_eq!(after.found, before.found);
}

#[test]
fn readers_see_every_id_that_a_batch_returned_for() {
    let dir = TempDir::new().unwrap();
    let index = Arc::new(open(dir.path()));
    let (returned, done) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for reader in 1..4_u64 {
            let (index, returned, done) = (&index, &returned, &done);
            scope.spawn(move || {
                let (mut n, mut asked) = (reader, index.reader());
                while !done.load(Ordering::Acquire) {
                    let count = returned.load(Ordering::Acquire);
                    n = n.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(reader);
                    let n = (n >> 33) % 60_000;
                    let (namespace, id, decided) = entry(n);
                    let found = asked.get(namespace, id).unwrap();
                    assert!(found.is_none_or(|found| found == decided));
                    assert!(found.is_some() || n >= count, "{n} of {count} returned for is lost");
                }
            });
        }
        // The filter starts small, so that it is replaced several times under the readers.
        for start in (0..60_000).step_by(1_500) {
            fill(&index, start..start + 1_500, 1_500);
            returned.store(start + 1_500, Ordering::Release);
        }
        done.store(true, Ordering::Release);
    });
    check_holds(&index, 60_000);
}

#[test]
fn a_view_stays_until_its_reader_asks_again_and_the_next_batch_frees_it() {
    let dir = TempDir::new().unwrap();
    let index = Arc::new(open(dir.path()));
    let mut reader = index.reader();
    let first = Arc::downgrade(&reader.view);
    fill(&index, 0..5_000, 5_000);
    fill(&index, 5_000..5_001, 1);
    let (namespace, id, decided) = entry(5_000);
    assert_eq!(first.strong_count(), 2, "the reader has it, and whoever must free it");
    assert_eq!(reader.get(namespace, id).unwrap(), Some(decided));
    assert_eq!(first.strong_count(), 1);
    fill(&index, 5_001..5_002, 1);
    assert_eq!(first.strong_count(), 0);
}

#[test]
fn a_reader_does_not_wait_for_the_store_to_sync_its_list_of_tables() {
    let dir = TempDir::new().unwrap();
    let index = Arc::new(open(dir.path()));
    fill(&index, 0..1_000, 1_000);
    let mut reader = index.reader();
    let stored = match &index.entries {
        Entries::Stored(stored) => stored,
        #[cfg(feature = "simulation")]
        Entries::Simulated(_) => panic!("it is on the disk"),
    };
    let syncing = stored.keyspace.tree.get_version_history_lock();
    let (answer, answered) = std::sync::mpsc::channel();
    let (namespace, id, decided) = entry(7);
    let asking = thread::spawn(move || answer.send(reader.get(namespace, id).unwrap()));
    let found = answered.recv_timeout(Duration::from_secs(20));
    drop(syncing);
    asking.join().unwrap().unwrap();
    assert_eq!(found, Ok(Some(decided)));
}

#[test]
fn after_a_failed_write_no_batch_is_taken_and_none_is_reported() {
    let dir = TempDir::new().unwrap();
    let index = open(dir.path());
    fill(&index, 0..100, 100);
    fs::rename(dir.path().join("entries"), dir.path().join("gone")).unwrap();
    let error = index.insert_batch(&mut entries(100..200), 200).unwrap_err();
    assert!(matches!(error, IndexError::Store { operation: "write", .. }), "{error}");
    let error = index.insert_batch(&mut entries(100..200), 200).unwrap_err();
    assert!(matches!(error, IndexError::Stopped), "{error}");
    assert_eq!((index.len(), index.covered_seq()), (100, 100));
}

#[test]
fn only_one_may_have_it_open() {
    let dir = TempDir::new().unwrap();
    let _index = open(dir.path());
    assert!(matches!(
        DecidedIndex::open(dir.path(), TINY).unwrap_err(),
        IndexError::Store { operation: "open", .. }
    ));
}

#[derive(Clone, Debug)]
enum Step {
    Insert(Vec<u64>),
    Reopen,
    Forget(&'static str),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(0..400_u64, 0..80).prop_map(Step::Insert),
        1 => Just(Step::Reopen),
        1 => prop_oneof![Just("filter.log"), Just("filter.bits")].prop_map(Step::Forget),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn it_answers_as_a_map_does(steps in prop::collection::vec(step(), 1..12)) {
        let dir = TempDir::new().unwrap();
        let smallest = IndexOptions { filter_ids: 1, ..TINY };
        let mut index = Some(DecidedIndex::open(dir.path(), smallest).unwrap());
        let (mut model, mut covered) = (HashMap::new(), 0);
        for step in steps {
            match step {
                Step::Insert(ids) => {
                    covered += 1;
                    let mut batch: Vec<Entry> = ids.iter().map(|&n| entry(n)).collect();
                    model.extend(batch.iter().map(|&(space, id, decided)| ((space, id), decided)));
                    index.as_ref().unwrap().insert_batch(&mut batch, covered).unwrap();
                }
                Step::Reopen => drop(index.take()),
                Step::Forget(file) => {
                    drop(index.take());
                    let _ = fs::remove_file(dir.path().join(file));
                }
            }
            let index = index.get_or_insert_with(|| open(dir.path()));
            prop_assert_eq!((index.len(), index.covered_seq()), (model.len() as u64, covered));
            for (space, id, _) in (0..400).map(entry) {
                prop_assert_eq!(index.get(space, id).unwrap(), model.get(&(space, id)).copied());
            }
        }
    }
}
