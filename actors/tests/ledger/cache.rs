//! A running ledger and its cache, while Redis comes and goes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use florin_actors::{CacheCondition, CacheOptions, Florin, OpenError, Options};
use florin_engine::{
    AccountAfter, AccountFlags, AccountId, Command, CreateAccount, JournalSeq, Metadata,
    ReplaceMetadata,
};
use florin_persistence::cache::{CacheReader, CacheWriter, CachedAccount};
use florin_tests::random::Random;
use florin_tests::redis::Redis;

use crate::bank::{TestBank, options, transfer};

/// Whatever is waited for comes within so long, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn cache_options(redis: &Redis) -> CacheOptions {
    let mut options = CacheOptions::new(redis.url());
    options.command_timeout = Duration::from_millis(250);
    options
}

fn bank_with(cache: CacheOptions) -> TestBank {
    TestBank::open_with(|options| Options { cache: Some(cache), ..options })
}

fn reader_of(bank: &TestBank, redis: &Redis) -> CacheReader {
    CacheReader::connect(&cache_options(redis), bank.florin.directory()).unwrap()
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not so: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a reader does: from the cache, else from the store, which it then brings in.
async fn read(florin: &Florin, reader: &CacheReader, id: u128) -> Option<CachedAccount> {
    match reader.account(AccountId(id), JournalSeq::NONE).await {
        Ok(found) => Some(found),
        Err(miss) => {
            let stored = florin.store().account(AccountId(id)).await.unwrap();
            let found = stored.value?;
            reader.fill(miss, &found.account, found.metadata.as_ref(), stored.as_of).await;
            None
        }
    }
}

/// Reads until the cache answers as of `seq` or later.
async fn read_at(
    bank: &TestBank,
    reader: &CacheReader,
    id: u128,
    seq: JournalSeq,
) -> CachedAccount {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match read(&bank.florin, reader, id).await {
            Some(found) if found.as_of >= seq => return found,
            found => assert!(Instant::now() < deadline, "account {id}: {found:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn same_as_the_owner(bank: &TestBank, reader: &CacheReader, id: u128) {
    let owner = bank.florin.account(AccountId(id)).await.unwrap();
    let found = read_at(bank, reader, id, owner.seq).await;
    let owner = owner.value.unwrap();
    assert_eq!((found.account, found.metadata), (owner.account, owner.metadata));
}

#[tokio::test]
async fn what_was_acknowledged_becomes_visible_whole() {
    let redis = Redis::start();
    let bank = bank_with(cache_options(&redis));
    until("the cache follows", || bank.florin.cache_condition() == CacheCondition::Ok).await;
    let mut account = CreateAccount::new(AccountId(u128::MAX - 1));
    account.flags = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS;
    account.user_data_128 = u128::MAX;
    account.user_data_64 = 64;
    account.user_data_32 = 32;
    account.metadata = Some(Metadata::new("{\"name\":\"Alice\"}".into(), b"name=Alice"));
    let accounts = vec![account, CreateAccount::new(AccountId(1))];
    bank.florin.submit(Command::CreateAccounts(accounts), None).await.unwrap();
    let reader = reader_of(&bank, &redis);
    for id in [1, u128::MAX - 1] {
        same_as_the_owner(&bank, &reader, id).await;
    }
    for id in 1..=30 {
        assert_eq!(bank.transfer(id, 1, u128::MAX - 1, "1.01").await, "ok");
        // Also what touches no account moves on what is covered.
        assert_eq!(bank.transfer(1000 + id, 5, 6, "1").await, "debit_account_not_found");
    }
    for id in [1, u128::MAX - 1] {
        same_as_the_owner(&bank, &reader, id).await;
    }
    let durable = bank.florin.positions().durable;
    assert!(bank.florin.wait_cached(durable, PATIENCE).await);
    assert_eq!(bank.florin.positions().cached, durable);
    // Nothing was brought in: the owner told all of it.
    assert_eq!(reader.counts().errors, 0);
    // Of replaced metadata it tells that it was, and then the store is asked.
    for name in ["Bob", "Carol"] {
        let text = format!("{{\"name\":\"{name}\"}}");
        let metadata = Some(Metadata::new(text.as_str().into(), name.as_bytes()));
        let account_id = AccountId(u128::MAX - 1);
        let replace = ReplaceMetadata { account_id, metadata };
        bank.florin.submit(Command::ReplaceMetadata(replace), None).await.unwrap();
        same_as_the_owner(&bank, &reader, u128::MAX - 1).await;
        assert_eq!(
            read(&bank.florin, &reader, u128::MAX - 1).await.unwrap().metadata,
            Some(text.into())
        );
    }
    bank.florin.stop().await;
}

#[tokio::test]
async fn a_cache_that_is_away_at_the_start_follows_when_it_comes() {
    let mut redis = Redis::start();
    redis.kill();
    let bank = bank_with(cache_options(&redis));
    bank.accounts(2).await;
    assert_eq!(bank.transfer(1, 1, 2, "5").await, "ok");
    let away = || matches!(bank.florin.cache_condition(), CacheCondition::Away { .. });
    until("the cache is away", away).await;
    assert_eq!(bank.florin.positions().cached, JournalSeq::NONE);
    redis.start_again();
    until("the cache follows", || bank.florin.cache_condition() == CacheCondition::Ok).await;
    let reader = reader_of(&bank, &redis);
    for id in [1, 2] {
        same_as_the_owner(&bank, &reader, id).await;
    }
    bank.florin.stop().await;
}

#[tokio::test]
async fn options_that_can_not_work_are_refused_before_anything_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger");
    let cache = Some(CacheOptions::new("http://cache"));
    let opened = Florin::open(Options { cache, ..options(path.clone()) });
    assert!(matches!(opened.err(), Some(OpenError::Cache(_))));
    assert!(!path.exists());
    let bank = TestBank::open();
    assert_eq!(bank.florin.cache_condition(), CacheCondition::Off);
    bank.florin.stop().await;
}

#[tokio::test]
async fn an_owner_stands_by_while_a_later_one_writes_the_cache() {
    let redis = Redis::start();
    let bank = bank_with(cache_options(&redis));
    bank.accounts(2).await;
    until("the cache follows", || bank.florin.cache_condition() == CacheCondition::Ok).await;
    let directory = bank.florin.directory();
    let mut other = CacheWriter::connect(&cache_options(&redis), directory).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while other.begin(JournalSeq(1_000_000)).await.is_err() {
        assert!(Instant::now() < deadline);
    }
    let covered = JournalSeq(1_000_000);
    let standing_by = CacheCondition::StandingBy { covered };
    until("it stands by", || bank.florin.cache_condition() == standing_by).await;
    assert_eq!(bank.transfer(1, 1, 2, "5").await, "ok");
    // Once the other one is gone, its epoch expires.
    assert_eq!(redis.command(&["DEL", &format!("florin:{{{directory}}}:epoch")]), "1");
    until("the cache follows", || bank.florin.cache_condition() == CacheCondition::Ok).await;
    same_as_the_owner(&bank, &reader_of(&bank, &redis), 2).await;
    bank.florin.stop().await;
}

#[tokio::test]
async fn what_lags_too_far_begins_anew() {
    let redis = Redis::start();
    let mut cache = cache_options(&redis);
    cache.lag_bytes_max = 64 << 10;
    let bank = bank_with(cache);
    bank.accounts(2).await;
    let durable = bank.florin.positions().durable;
    assert!(bank.florin.wait_cached(durable, PATIENCE).await);
    let epochs = || redis.command(&["KEYS", "*:changes"]);
    let before = epochs();
    redis.pause();
    for first in (1..20_000).step_by(200) {
        let transfers = (first..first + 200).map(|id| transfer(id, 1, 2, "0.01")).collect();
        assert_eq!(bank.batch(transfers, None).await.unwrap().exceptions, []);
    }
    redis.resume();
    let durable = bank.florin.positions().durable;
    assert!(bank.florin.wait_cached(durable, PATIENCE).await);
    let after = epochs();
    assert!(after.lines().any(|key| !before.contains(key)), "{before} then {after}");
    let reader = reader_of(&bank, &redis);
    for id in [1, 2] {
        same_as_the_owner(&bank, &reader, id).await;
    }
    bank.florin.stop().await;
}

/// Every account as each acknowledged command left it.
#[derive(Default)]
struct Told(HashMap<AccountId, BTreeMap<JournalSeq, AccountAfter>>);

impl Told {
    fn at(&self, id: AccountId, seq: JournalSeq) -> Option<AccountAfter> {
        self.0.get(&id)?.range(..=seq).next_back().map(|(_, after)| *after)
    }
}

const ACCOUNTS: u128 = 12;
const CLIENTS: u128 = 4;

/// Moves money until told to stop; gives what it was told.
async fn client(florin: Florin, number: u128, over: Arc<AtomicBool>, acks: Arc<AtomicU64>) -> Told {
    let mut told = Told::default();
    let mut random = Random::new(number as u64);
    let mut id = number << 64;
    while !over.load(Ordering::Relaxed) {
        id += 1;
        // The last account can not be overdrawn, so it only receives.
        let from = 1 + u128::from(random.below(ACCOUNTS as u64 - 1));
        let to = 1 + (from + u128::from(random.below(ACCOUNTS as u64 - 1))) % ACCOUNTS;
        if from == to {
            continue;
        }
        let command = Command::CreateTransfers(vec![transfer(id, from, to, "0.01")]);
        let answer = florin.submit(command, None).await.unwrap();
        acks.fetch_add(1, Ordering::Relaxed);
        for after in answer.record.unwrap().accounts {
            told.0.entry(after.id).or_default().insert(answer.seq, after);
        }
    }
    told
}

/// Reads until told to stop; gives what it found.
async fn observer(
    florin: Florin,
    reader: CacheReader,
    over: Arc<AtomicBool>,
    hits: Arc<AtomicU64>,
) -> Vec<CachedAccount> {
    let mut found = Vec::new();
    let mut random = Random::new(77);
    while !over.load(Ordering::Relaxed) {
        let id = 1 + u128::from(random.below(ACCOUNTS as u64));
        if let Some(account) = read(&florin, &reader, id).await {
            hits.fetch_add(1, Ordering::Relaxed);
            found.push(account);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_a_cache_that_comes_and_goes_is_never_wrong_and_slows_nobody() {
    let mut redis = Redis::start();
    let bank = bank_with(cache_options(&redis));
    bank.accounts(ACCOUNTS).await;
    let reader = reader_of(&bank, &redis);
    let over = Arc::new(AtomicBool::new(false));
    let (acks, hits) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (1..=CLIENTS)
        .map(|number| tokio::spawn(client(bank.florin.clone(), number, over.clone(), acks.clone())))
        .collect();
    let observer =
        tokio::spawn(observer(bank.florin.clone(), reader.clone(), over.clone(), hits.clone()));

    let acked = || acks.load(Ordering::Relaxed);
    let hit = || hits.load(Ordering::Relaxed);
    let is = |wanted: fn(&CacheCondition) -> bool| wanted(&bank.florin.cache_condition());
    let away = || is(|condition| matches!(condition, CacheCondition::Away { .. }));
    let follows = || is(|condition| *condition == CacheCondition::Ok);
    for round in 0..3 {
        for trouble in ["kill", "pause", "flush", "full"] {
            // Before each trouble the cache answers.
            until("the cache follows", follows).await;
            let before = hit();
            until("the cache answers", || hit() > before + 20).await;
            match trouble {
                "kill" => redis.kill(),
                "pause" => redis.pause(),
                "flush" => redis.flush(),
                _ => assert_eq!(redis.command(&["CONFIG", "SET", "maxmemory", "1"]), "OK"),
            }
            if trouble != "flush" {
                until("the cache is away", away).await;
            }
            let before = acked();
            until("transfers go on", || acked() > before + 200).await;
            match trouble {
                "kill" => redis.start_again(),
                "pause" => redis.resume(),
                "flush" => {}
                _ => assert_eq!(redis.command(&["CONFIG", "SET", "maxmemory", "0"]), "OK"),
            }
            println!("round {round}, {trouble}: {} acks, {} hits", acked(), hit());
        }
    }
    until("the cache follows", follows).await;
    over.store(true, Ordering::Relaxed);

    let mut told = Told::default();
    for client in clients {
        for (id, afters) in client.await.unwrap().0 {
            told.0.entry(id).or_default().extend(afters);
        }
    }
    let found = observer.await.unwrap();
    assert!(found.len() > 200, "{} reads say little", found.len());
    for CachedAccount { account, as_of, .. } in &found {
        match told.at(account.id, *as_of) {
            Some(after) => assert_eq!(account.after(), after, "as of {}", as_of.0),
            None => assert_eq!(account.version, 0, "as of {}", as_of.0),
        }
    }
    for id in 1..=ACCOUNTS {
        same_as_the_owner(&bank, &reader, id).await;
    }
    bank.florin.stop().await;
}
