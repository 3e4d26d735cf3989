//! A ledger of few words, and the cache of it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use florin_engine::{
    Account, AccountAfter, AccountCreated, AccountFlags, AccountId, Amount, Code, Event,
    JournalSeq, LedgerId, Metadata, MetadataReplaced, Record, Timestamp,
};
use florin_tests::redis::Redis;
use uuid::Uuid;

use crate::cache::{
    CacheBatch, CacheError, CacheOptions, CacheReader, CacheWriter, CachedAccount, Miss,
};

/// Whatever is waited for comes within so long, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// An account and its metadata.
pub(super) type Known = (Account, Option<Arc<str>>);

/// Records, and all accounts after each.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    records: Vec<Record>,
    states: Vec<BTreeMap<AccountId, Known>>,
}

impl Ledger {
    pub(super) fn new() -> Ledger {
        Ledger { records: Vec::new(), states: vec![BTreeMap::new()] }
    }

    pub(super) fn durable(&self) -> JournalSeq {
        JournalSeq(self.records.len() as u64)
    }

    /// The account replayed to `seq`.
    pub(super) fn at(&self, seq: JournalSeq, id: u128) -> Option<&Known> {
        self.states[seq.0 as usize].get(&AccountId(id))
    }

    /// A record that creates these accounts. Those with even ids have metadata.
    pub(super) fn create(&mut self, ids: impl IntoIterator<Item = u128>) {
        let seq = self.durable().next();
        let mut state = self.states.last().unwrap().clone();
        let mut events = Vec::new();
        for id in ids {
            let metadata = id.is_multiple_of(2).then(|| {
                let text = format!("{{\"name\":\"{id} at {}\"}}", seq.0);
                Metadata::new(text.as_str().into(), text.as_bytes())
            });
            let created = AccountCreated {
                id: AccountId(id),
                ledger: LedgerId(7),
                code: Code(40_000),
                flags: AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS,
                overdraft_limit: amount(id),
                user_data_128: u128::MAX - id,
                user_data_64: 64 + id as u64,
                user_data_32: 32,
                timestamp: Timestamp(1_700_000_000_000_000_000 + seq.0),
                metadata: metadata.clone(),
            };
            let account = Account {
                id: created.id,
                balances: Default::default(),
                user_data_128: created.user_data_128,
                overdraft_limit: created.overdraft_limit,
                user_data_64: created.user_data_64,
                timestamp: created.timestamp,
                version: 0,
                metadata_digest: metadata.as_ref().map_or(0, |metadata| metadata.digest),
                metadata_seq: metadata.as_ref().map_or(JournalSeq::NONE, |_| seq),
                user_data_32: created.user_data_32,
                ledger: created.ledger,
                code: created.code,
                flags: created.flags,
            };
            state.insert(created.id, (account, metadata.map(|metadata| metadata.text)));
            events.push(Event::AccountCreated(created));
        }
        self.push(events, Vec::new(), state);
    }

    /// A record that changes these accounts.
    pub(super) fn change(&mut self, ids: impl IntoIterator<Item = u128>) {
        let seq = self.durable().next();
        let mut state = self.states.last().unwrap().clone();
        let mut touched: Vec<AccountAfter> = Vec::new();
        for id in ids {
            let (account, _) = state.get_mut(&AccountId(id)).unwrap();
            account.version += 1;
            account.balances.credits_posted = amount(u128::from(seq.0) << 40);
            account.balances.debits_pending = amount(u128::from(seq.0));
            touched.push(account.after());
        }
        self.push(Vec::new(), touched, state);
    }

    /// A record that gives the account other metadata, or none.
    pub(super) fn replace_metadata(&mut self, id: u128) {
        let seq = self.durable().next();
        let mut state = self.states.last().unwrap().clone();
        let (account, text) = state.get_mut(&AccountId(id)).unwrap();
        let metadata = (!seq.0.is_multiple_of(3)).then(|| {
            let text = format!("{{\"name\":\"{id} since {}\"}}", seq.0);
            Metadata::new(text.as_str().into(), text.as_bytes())
        });
        let replaced = MetadataReplaced {
            account: 0,
            before: account.metadata_seq,
            digest_before: account.metadata_digest,
            metadata: metadata.clone(),
            timestamp: Timestamp(seq.0),
        };
        account.version += 1;
        account.metadata_digest = metadata.as_ref().map_or(0, |metadata| metadata.digest);
        account.metadata_seq = metadata.as_ref().map_or(JournalSeq::NONE, |_| seq);
        *text = metadata.map(|metadata| metadata.text);
        let after = account.after();
        self.push(vec![Event::MetadataReplaced(replaced)], vec![after], state);
    }

    fn push(
        &mut self,
        events: Vec<Event>,
        accounts: Vec<AccountAfter>,
        state: BTreeMap<AccountId, Known>,
    ) {
        let timestamp = Timestamp(self.durable().0);
        let record =
            Record { timestamp, asked: 1, events, accounts, ledgers: Vec::new(), key: None };
        self.records.push(record);
        self.states.push(state);
    }

    /// Everything after `covered`.
    pub(super) fn batch(&self, covered: JournalSeq) -> CacheBatch {
        self.batch_upto(covered, self.durable())
    }

    fn batch_upto(&self, covered: JournalSeq, upto: JournalSeq) -> CacheBatch {
        let mut batch = CacheBatch::at(covered);
        let records = self.records.iter().enumerate().take(upto.0 as usize);
        for (index, record) in records.skip(covered.0 as usize) {
            batch.push(JournalSeq(index as u64 + 1), record);
        }
        batch
    }
}

fn amount(minor_units: u128) -> Amount {
    Amount::try_new(minor_units).unwrap()
}

/// A Redis, a ledger and the owner's writer.
pub(super) struct World {
    pub(super) redis: Redis,
    pub(super) directory: Uuid,
    pub(super) ledger: Ledger,
    pub(super) writer: CacheWriter,
    pub(super) reader: CacheReader,
    pub(super) covered: JournalSeq,
}

impl World {
    /// An epoch has begun, and covers an empty ledger.
    pub(super) async fn new() -> World {
        World::on(Redis::start(), 0).await
    }

    /// The same, with a reader that remembers so many accounts.
    pub(super) async fn near(entries: usize) -> World {
        World::on(Redis::start(), entries).await
    }

    pub(super) async fn on(redis: Redis, near_entries: usize) -> World {
        let directory = Uuid::new_v4();
        let options = CacheOptions { near_entries, ..options(&redis) };
        let writer = CacheWriter::connect(&options, directory).unwrap();
        let reader = CacheReader::connect(&options, directory).unwrap();
        let ledger = Ledger::new();
        let mut world =
            World { redis, directory, ledger, writer, reader, covered: JournalSeq::NONE };
        world.begin().await.unwrap();
        world
    }

    pub(super) fn another_writer(&self) -> CacheWriter {
        CacheWriter::connect(&options(&self.redis), self.directory).unwrap()
    }

    /// Begins at what is durable.
    pub(super) async fn begin(&mut self) -> Result<(), CacheError> {
        begin(&mut self.writer, self.ledger.durable()).await?;
        self.covered = self.ledger.durable();
        Ok(())
    }

    /// Flushes everything that is durable.
    pub(super) async fn flush(&mut self) -> Result<(), CacheError> {
        flush(&mut self.writer, &self.ledger.batch(self.covered)).await?;
        self.covered = self.ledger.durable();
        Ok(())
    }

    /// Flushes at most so many records of it.
    pub(super) async fn flush_some(&mut self, records: u64) -> Result<(), CacheError> {
        let upto = JournalSeq(self.covered.0 + records).min(self.ledger.durable());
        flush(&mut self.writer, &self.ledger.batch_upto(self.covered, upto)).await?;
        self.covered = upto;
        Ok(())
    }

    /// What is read of the account; a time-out is tried again.
    pub(super) async fn read(&self, id: u128) -> Result<CachedAccount, Miss> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let before = self.reader.counts();
            let read = self.reader.account(AccountId(id), JournalSeq::NONE).await;
            let counts = self.reader.counts();
            if counts.errors == before.errors && !counts.is_open {
                return read;
            }
            assert!(Instant::now() < deadline, "the reader does not come back");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Reads the account, which must be there as it is at the position that it is of.
    pub(super) async fn found(&self, id: u128) -> CachedAccount {
        let found = self.read(id).await.unwrap_or_else(|_| panic!("account {id} is not cached"));
        self.assert_right(id, &found);
        found
    }

    /// The account is as it is at the position that it is of.
    pub(super) fn assert_right(&self, id: u128, found: &CachedAccount) {
        assert_eq!(
            self.ledger.at(found.as_of, id),
            Some(&(found.account.clone(), found.metadata.clone())),
            "as of {}",
            found.as_of.0
        );
    }

    pub(super) async fn missed(&self, id: u128) -> Miss {
        match self.read(id).await {
            Ok(found) => panic!("account {id} is cached: {found:?}"),
            Err(miss) => miss,
        }
    }

    /// The same as soon as a reader that remembers it has heard that it is gone.
    pub(super) async fn forgotten(&self, id: u128) -> Miss {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.read(id).await {
                Ok(_) => assert!(Instant::now() < deadline, "account {id} is cached for ever"),
                Err(miss) => return miss,
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Brings the account in as the store, standing at `as_of`, has it.
    pub(super) async fn fill(&self, miss: Miss, id: u128, as_of: u64) -> bool {
        let as_of = JournalSeq(as_of);
        let (account, metadata) = self.ledger.at(as_of, id).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let before = self.reader.counts().errors;
            let taken = self.reader.fill(miss, account, metadata.as_ref(), as_of).await;
            if taken || self.reader.counts().errors == before {
                return taken;
            }
            assert!(Instant::now() < deadline, "the reader does not come back");
        }
    }

    /// Keys whose name ends so.
    pub(super) fn keys(&self, end: &str) -> Vec<String> {
        let keys = self.redis.command(&["KEYS", &format!("florin:{{{}}}*{end}", self.directory)]);
        keys.lines().map(str::to_owned).collect()
    }

    /// Takes keys away, as eviction does.
    pub(super) fn evict(&self, end: &str) {
        let keys = self.keys(end);
        assert_ne!(keys, [""; 0], "nothing ends with {end}");
        for key in keys {
            assert_eq!(self.redis.command(&["DEL", &key]), "1");
        }
    }
}

/// Does `work` until it was woken so often, and drops it wherever it is then.
pub(super) async fn broken_off<T>(wakes: u64, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut left = wakes;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

pub(super) fn options(redis: &Redis) -> CacheOptions {
    let mut options = CacheOptions::new(redis.url());
    // Most tests look at what stands in Redis.
    options.near_entries = 0;
    // A machine that builds beside the tests can be slow to answer.
    options.command_timeout = Duration::from_millis(250);
    options
}

pub(super) async fn begin(writer: &mut CacheWriter, at: JournalSeq) -> Result<(), CacheError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match writer.begin(at).await {
            Err(CacheError::Away(error)) => assert!(Instant::now() < deadline, "{error}"),
            result => return result,
        }
    }
}

pub(super) async fn flush(writer: &mut CacheWriter, batch: &CacheBatch) -> Result<(), CacheError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match writer.flush(batch).await {
            Err(CacheError::Away(error)) => assert!(Instant::now() < deadline, "{error}"),
            result => return result,
        }
    }
}
