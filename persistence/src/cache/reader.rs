//! The reader: answers from the cache, or finds nothing. The protocol stands at the top of the parent module.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use florin_engine::{Account, AccountId, ExternalId, JournalSeq};
use fred::prelude::*;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::circuit::Circuit;
use super::connection::{Connections, is_of_one};
use super::entry::{Fixed, Moving, joined};
use super::epoch::Epoch;
use super::error::{CacheError, CacheOptionsError};
use super::keys::{Keys, slot_offset, static_slot_offset};
use super::lookups::{Found, Lookup, Lookups};
use super::near::Near;
use super::options::CacheOptions;
use super::scripts::FILL;
use super::writer::{bytes, millis, number};

/// Connections of one reader. Commands of all callers share them, so that a few are enough.
const CONNECTIONS: usize = 2;
/// Accounts that one command asks for at most.
const LOOKUPS_MAX: usize = 128;
/// The largest page that is kept, in bytes.
pub const PAGE_BYTES_MAX: usize = 256 << 10;
/// A page that nobody wrote again for so long goes.
const PAGE_TTL: Duration = Duration::from_secs(600);

/// Reads the cache of one ledger directory. Cheap to clone; all clones are one reader.
///
/// None of its methods fails: whatever is odd counts as an error and is answered like something that is not there.
#[derive(Clone)]
pub struct CacheReader {
    inner: Arc<Inner>,
}

struct Inner {
    connections: Connections,
    keys: Keys,
    entry_ttl: Duration,
    circuit: Circuit,
    near: Near,
    lookups: Lookups,
    /// The name of the epoch that stood there last, so that a read needs one round trip; 0 when none is known.
    epoch_name: AtomicU64,
    hits: AtomicU64,
    near_hits: AtomicU64,
    misses: AtomicU64,
    errors: AtomicU64,
}

/// An account as it was at a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedAccount {
    /// The account.
    pub account: Account,
    /// Its metadata, as JSON text.
    pub metadata: Option<Arc<str>>,
    /// The text that its id stands for, if it was created by one.
    pub external_id: Option<ExternalId>,
    /// The position: all records up to here are taken into account, and none after it.
    pub as_of: JournalSeq,
    /// It did not change after this position, up to `as_of`.
    pub unchanged_since: JournalSeq,
    pub(super) epoch_name: u64,
}

/// An account that the cache did not have. With the store's answer, [`CacheReader::fill`] brings it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Miss {
    id: AccountId,
    /// The epoch that stood there; without one nothing can be brought in.
    epoch_name: Option<u64>,
}

/// What a reader did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Reads that were answered.
    pub hits: u64,
    /// Those of them that needed no round trip.
    pub near_hits: u64,
    /// Reads of what was not there, or while the circuit was open.
    pub misses: u64,
    /// Reads and writes that failed, or found something that can not be decoded.
    pub errors: u64,
    /// Whether the cache failed so often that only one read in a while tries it.
    pub is_open: bool,
}

impl CacheReader {
    /// A reader for the directory of this id, which begins to connect. Its connections live on the tokio runtime that it is called within; it may be
    /// asked from any.
    ///
    /// # Errors
    /// No connection can be tried with these options. A cache that is away is no error.
    pub fn connect(
        options: &CacheOptions,
        directory: Uuid,
    ) -> Result<CacheReader, CacheOptionsError> {
        let keys = Keys::new(directory);
        let connections = Connections::begin(options, CONNECTIONS)?;
        let near = match options.near_entries {
            0 => Near::off(),
            _ if !is_of_one(options) => Near::off(),
            _ => Near::begin(options.clone(), keys.epoch()),
        };
        let inner = Inner {
            connections,
            keys,
            near,
            entry_ttl: options.entry_ttl,
            circuit: Circuit::closed(Instant::now()),
            lookups: Lookups::default(),
            epoch_name: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            near_hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        };
        Ok(CacheReader { inner: Arc::new(inner) })
    }

    /// What it did so far.
    #[must_use]
    pub fn counts(&self) -> CacheCounts {
        let Inner { hits, near_hits, misses, errors, circuit, .. } = &*self.inner;
        CacheCounts {
            hits: hits.load(Ordering::Relaxed),
            near_hits: near_hits.load(Ordering::Relaxed),
            misses: misses.load(Ordering::Relaxed),
            errors: errors.load(Ordering::Relaxed),
            is_open: circuit.is_open(),
        }
    }

    /// The position that entries are current as of; none while no epoch stands, so that nothing is found. Asks whether or not the circuit
    /// is open, and its answer closes or opens it like that of a read.
    ///
    /// # Errors
    /// [`CacheError::Away`]: it does not answer.
    pub async fn covered(&self) -> Result<Option<JournalSeq>, CacheError> {
        let asked = self.client().get(self.inner.keys.epoch()).await;
        let epoch: Option<Vec<u8>> =
            self.noted(asked).map_err(|error| self.inner.connections.away(error))?;
        let epoch = epoch.and_then(|bytes| self.sound(Epoch::from_bytes(&bytes)));
        Ok(epoch.map(|epoch| epoch.covered))
    }

    /// The account with this id, if the cache has it. Redis is asked where what is remembered here is of before `min_seq`; its
    /// answer may be too.
    ///
    /// # Errors
    /// [`Miss`] when it has not, whatever the reason.
    pub async fn account(&self, id: AccountId, min_seq: JournalSeq) -> Result<CachedAccount, Miss> {
        let Inner { near, hits, near_hits, misses, .. } = &*self.inner;
        if let Some(found) = near.account(id, min_seq) {
            hits.fetch_add(1, Ordering::Relaxed);
            near_hits.fetch_add(1, Ordering::Relaxed);
            return Ok(found);
        }
        match self.looked_up(id).await {
            Some((_, Some(found))) => {
                hits.fetch_add(1, Ordering::Relaxed);
                Ok(found)
            }
            found => {
                misses.fetch_add(1, Ordering::Relaxed);
                Err(Miss { id, epoch_name: found.map(|(name, _)| name) })
            }
        }
    }

    /// Brings in an account that was read from the store, as of `as_of`, after it was missed; whether the cache took it.
    pub async fn fill(
        &self,
        miss: Miss,
        account: &Account,
        metadata: Option<&Arc<str>>,
        external_id: Option<&ExternalId>,
        as_of: JournalSeq,
    ) -> bool {
        let Miss { id, epoch_name: Some(name) } = miss else { return false };
        if id != account.id {
            return false;
        }
        let (mut moving, mut fixed) = (Vec::new(), Vec::new());
        Moving::of(&account.after(), as_of).put(&mut moving);
        Fixed::of(account, metadata, external_id).put(&mut fixed);
        let keys = &self.inner.keys;
        let arguments = vec![
            bytes(&name.to_be_bytes()),
            number(as_of.0),
            number(account.version),
            Value::Bytes(moving.into()),
            Value::Bytes(fixed.into()),
            number(slot_offset(id).into()),
            number(static_slot_offset(id).into()),
            millis(self.inner.entry_ttl),
        ];
        let keys =
            vec![keys.epoch(), keys.changes(name), keys.moving(name, id), keys.fixed(name, id)];
        let fill = async { self.client().eval(FILL, keys, arguments).await };
        self.attempt(fill).await.unwrap_or(false)
    }

    /// The page of the account's history that `query` names, as it is for as long as the account has the version that was found. `query` must
    /// tell everything that the page depends on, so a page that depends on the time of asking has none.
    pub async fn page(&self, account: &CachedAccount, query: &[u8]) -> Option<Vec<u8>> {
        let key = self.page_key(account, query);
        let read = async { self.client().get(key).await };
        let page: Option<Vec<u8>> = self.attempt(read).await?;
        let count = if page.is_some() { &self.inner.hits } else { &self.inner.misses };
        count.fetch_add(1, Ordering::Relaxed);
        page
    }

    /// Keeps a page that was read from the store as of `as_of`; whether the cache took it.
    ///
    /// It is taken only when the account surely had the version that was found: the store's answer lies where the account did not
    /// change, from [`CachedAccount::unchanged_since`] to [`CachedAccount::as_of`]. Pages beyond [`PAGE_BYTES_MAX`] are not kept.
    pub async fn put_page(
        &self,
        account: &CachedAccount,
        query: &[u8],
        as_of: JournalSeq,
        page: Vec<u8>,
    ) -> bool {
        let is_of_version = (account.unchanged_since..=account.as_of).contains(&as_of);
        if !is_of_version || page.len() > PAGE_BYTES_MAX {
            return false;
        }
        let key = self.page_key(account, query);
        let live = Some(Expiration::PX(PAGE_TTL.as_millis() as i64));
        let put = async {
            let page = Value::Bytes(page.into());
            self.client().set::<(), _, _>(key, page, live, None, false).await
        };
        self.attempt(put).await.is_some()
    }

    fn page_key(&self, account: &CachedAccount, query: &[u8]) -> String {
        let CachedAccount { account, epoch_name, .. } = account;
        self.inner.keys.page(*epoch_name, account.id, account.version, query)
    }

    /// The epoch that stands, and the account if it is there: asked with all others of this turn.
    async fn looked_up(&self, id: AccountId) -> Option<Found> {
        let runtime = Handle::current();
        let (found, answer) = oneshot::channel();
        if self.inner.lookups.push(runtime.id(), Lookup { id, found }) {
            let (reader, id) = (self.clone(), runtime.id());
            runtime.spawn(async move { reader.end_turn(reader.inner.lookups.take(id)).await });
        }
        answer.await.ok()
    }

    async fn end_turn(&self, mut lookups: Vec<Lookup>) {
        while !lookups.is_empty() {
            let rest = lookups.split_off(lookups.len().min(LOOKUPS_MAX));
            if let Some((epoch_name, found)) = self.look_up(&lookups).await {
                for (lookup, found) in lookups.into_iter().zip(found) {
                    // Its caller may have gone.
                    let _ = lookup.found.send((epoch_name, found));
                }
            }
            lookups = rest;
        }
    }

    /// What stood there at one moment: the name of the epoch, and the accounts that were there.
    async fn look_up(&self, lookups: &[Lookup]) -> Option<(u64, Vec<Option<CachedAccount>>)> {
        let Inner { keys, near, circuit, .. } = &*self.inner;
        if !circuit.lets_through(Instant::now()) {
            return None;
        }
        let session = near.session();
        let ids = || lookups.iter().map(|lookup| lookup.id);
        let asking = session.as_ref().map(|session| session.ask(ids()));
        let client = session.as_ref().map_or_else(|| self.client(), |session| &session.client);
        let mut name = self.inner.epoch_name.load(Ordering::Relaxed);
        // The second time the name is the one that was found there; a third epoch in so short a time is not waited for.
        for _ in 0..2 {
            let parts = ids().flat_map(|id| [keys.moving(name, id), keys.fixed(name, id)]);
            let asked: Vec<String> = std::iter::once(keys.epoch()).chain(parts).collect();
            let count = asked.len();
            let found = self.noted(client.mget(asked).await);
            if let (Err(_), Some(session)) = (&found, &session) {
                near.lose(session);
            }
            let found: Vec<Option<Vec<u8>>> = found.ok()?;
            let found = self.sound((found.len() == count).then_some(found))?;
            let (epoch, parts) = found.split_first()?;
            let epoch = self.sound(Epoch::from_bytes(epoch.as_deref()?))?;
            if epoch.name == name {
                let pairs = ids().zip(parts.chunks_exact(2));
                let accounts =
                    pairs.map(|(id, pair)| self.account_of(id, &epoch, &pair[0], &pair[1]));
                let accounts: Vec<_> = accounts.collect();
                if let Some(asking) = &asking {
                    accounts.iter().flatten().for_each(|account| asking.answer(account));
                }
                return Some((name, accounts));
            }
            name = epoch.name;
            self.inner.epoch_name.store(name, Ordering::Relaxed);
        }
        None
    }

    /// The account of both parts, if they are there and sound.
    fn account_of(
        &self,
        id: AccountId,
        epoch: &Epoch,
        moving: &Option<Vec<u8>>,
        fixed: &Option<Vec<u8>>,
    ) -> Option<CachedAccount> {
        let (moving, fixed) = (moving.as_ref()?, fixed.as_ref()?);
        let moving = self.sound(Moving::read(moving).ok());
        let fixed = self.sound(Fixed::read(fixed).ok().filter(|fixed| fixed.can_be_of(id)));
        let (moving, fixed) = moving.zip(fixed)?;
        Some(CachedAccount {
            account: joined(id, &moving, &fixed),
            metadata: fixed.metadata.map(|metadata| metadata.text),
            external_id: fixed.external_id.map(|found| found.external_id),
            as_of: epoch.covered.max(moving.seq),
            unchanged_since: moving.seq,
            epoch_name: epoch.name,
        })
    }

    /// Does something if the circuit lets it, and takes note of how it went.
    async fn attempt<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Option<T> {
        if !self.inner.circuit.lets_through(Instant::now()) {
            return None;
        }
        self.noted(work.await).ok()
    }

    /// Takes note of how something went.
    fn noted<T>(&self, outcome: Result<T, Error>) -> Result<T, Error> {
        let Inner { circuit, errors, .. } = &*self.inner;
        if outcome.is_ok() {
            circuit.succeeded();
        } else {
            errors.fetch_add(1, Ordering::Relaxed);
            circuit.failed(Instant::now());
        }
        outcome
    }

    /// Counts what can not be decoded.
    fn sound<T>(&self, decoded: Option<T>) -> Option<T> {
        if decoded.is_none() {
            self.inner.errors.fetch_add(1, Ordering::Relaxed);
        }
        decoded
    }

    fn client(&self) -> &Client {
        self.inner.connections.pool.next_connected()
    }
}
