//! What a reader remembers of Redis, so that an account which is read often costs no round trip.
//!
//! A *session* is one connection with Redis' `CLIENT TRACKING`: the server tells it of every key that it read through it and that was
//! written, expired or evicted since, and does so in the order of its answers. All it remembers lives and dies with the connection.
//! While somebody reads, a task asks for the epoch through it, every [`POLL`]. What the server told before that answer is taken
//! out first; so what is left then has no change up to the position that the answer covers, and is served as of it for
//! [`FRESH`]. An answer that comes in after the news that it is old does not get in: see [`Entries::ask`].

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use florin_engine::{AccountId, JournalSeq};
use foldhash::fast::RandomState;
use fred::prelude::*;
use fred::types::ConnectHandle;
use fred::types::client::Invalidation;
use tokio::sync::Notify;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::task::JoinHandle;

use super::connection::tracked;
use super::epoch::Epoch;
use super::options::CacheOptions;
use super::reader::CachedAccount;

/// How often the epoch is asked for while somebody reads.
const POLL: Duration = Duration::from_millis(2);
/// How old its answer may be when an account is told as of it.
const FRESH: Duration = Duration::from_millis(10);
/// The pause before a connection is tried again.
const RETRY: Duration = Duration::from_millis(250);
/// News of the server that wait to be taken up; beyond it everything is forgotten. Tests have few accounts.
pub(super) const NEWS_WAITING_MAX: usize = if cfg!(test) { 4 } else { 16 << 10 };
/// An account with more metadata, in bytes, is not remembered, so that the room for all of them has a bound.
const METADATA_BYTES_MAX: usize = 1024;

/// The session of one reader, if there is one, and the task that follows it.
pub(super) struct Near {
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    session: RwLock<Option<Arc<Session>>>,
    /// Somebody read since the epoch was last asked for.
    asked: AtomicBool,
    /// Wakes the task when nobody read for a while.
    wake: Notify,
}

/// A connection, and what was read through it.
pub(super) struct Session {
    pub(super) client: Client,
    connection: ConnectHandle,
    entries: Entries,
    standing: RwLock<Option<Standing>>,
}

/// The epoch, and when it was asked for.
struct Standing {
    epoch: Epoch,
    at: Instant,
}

impl Near {
    /// Remembers nothing.
    pub(super) fn off() -> Near {
        Near { shared: Arc::default(), task: None }
    }

    /// Begins when somebody reads. Lives on the runtime within which it was made.
    pub(super) fn begin(options: CacheOptions, epoch_key: String) -> Near {
        let shared: Arc<Shared> = Arc::default();
        let task = tokio::spawn(follow(shared.clone(), options, epoch_key));
        Near { shared, task: Some(task) }
    }

    /// The account as of `min_seq` or later, if it is remembered and surely current.
    pub(super) fn account(&self, id: AccountId, min_seq: JournalSeq) -> Option<CachedAccount> {
        self.task.as_ref()?;
        let session = self.session();
        let is_standing = session.as_ref().is_some_and(|session| session.stands());
        if !self.shared.asked.load(Ordering::Relaxed) {
            self.shared.asked.store(true, Ordering::Relaxed);
        }
        if !is_standing {
            self.shared.wake.notify_one();
            return None;
        }
        session?.account(id, min_seq)
    }

    /// The session through which to ask, if there is one.
    pub(super) fn session(&self) -> Option<Arc<Session>> {
        read(&self.shared.session).clone()
    }

    /// Takes away a session whose connection fails. Its task ends it, and begins another when somebody reads.
    pub(super) fn lose(&self, lost: &Arc<Session>) {
        let mut session = write(&self.shared.session);
        if session.as_ref().is_some_and(|session| Arc::ptr_eq(session, lost)) {
            *session = None;
        }
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        self.task.iter().for_each(JoinHandle::abort);
    }
}

/// Makes sessions, one after the other, for as long as it is asked for.
async fn follow(shared: Arc<Shared>, options: CacheOptions, epoch_key: String) {
    let mut is_failing = false;
    loop {
        shared.wake.notified().await;
        let ended = match Session::begin(&options).await {
            Ok((session, news)) => {
                is_failing = false;
                let session = Arc::new(session);
                *write(&shared.session) = Some(session.clone());
                let ended = session.poll(&shared, news, &epoch_key).await;
                *write(&shared.session) = None;
                ended
            }
            Err(error) => error,
        };
        if !is_failing {
            let (url, error) = (options.shown_url(), ended.details());
            tracing::warn!(%url, error, "no session with the cache: each read asks it");
        }
        is_failing = true;
        tokio::time::sleep(RETRY).await;
    }
}

impl Session {
    /// Connects, and has the server tell of what changes.
    async fn begin(options: &CacheOptions) -> Result<(Session, Receiver<Invalidation>), Error> {
        let client = tracked(options)
            .map_err(|error| Error::new(fred::error::ErrorKind::Config, error.to_string()))?;
        let news = client.invalidation_rx();
        let session = Session {
            connection: client.connect(),
            entries: Entries::new(options.near_entries),
            standing: RwLock::default(),
            client,
        };
        let connected = tokio::time::timeout(
            options.connect_timeout + options.command_timeout,
            session.client.wait_for_connect(),
        );
        connected
            .await
            .map_err(|_| Error::new(fred::error::ErrorKind::Timeout, "no connection"))??;
        session.client.start_tracking((), false, false, false, false).await?;
        Ok((session, news))
    }

    /// Asks for the epoch again and again while somebody reads, until it fails, or a read through the session did.
    async fn poll(
        &self,
        shared: &Shared,
        mut news: Receiver<Invalidation>,
        epoch_key: &str,
    ) -> Error {
        loop {
            if read(&shared.session).is_none() {
                return Error::new(fred::error::ErrorKind::Canceled, "a read failed");
            }
            let at = Instant::now();
            let epoch: Option<Vec<u8>> = match self.client.get(epoch_key).await {
                Ok(epoch) => epoch,
                Err(error) => return error,
            };
            self.take_up(&mut news);
            let epoch = epoch.as_deref().and_then(Epoch::from_bytes);
            self.stand(epoch.map(|epoch| Standing { epoch, at }));
            tokio::time::sleep(POLL).await;
            if !shared.asked.swap(false, Ordering::Relaxed) {
                shared.wake.notified().await;
            }
        }
    }

    /// Forgets what the server told of so far.
    fn take_up(&self, news: &mut Receiver<Invalidation>) {
        loop {
            match news.try_recv() {
                Ok(Invalidation { keys, .. }) => {
                    let ids = keys.iter().filter_map(|key| account_of(key.as_bytes()));
                    ids.for_each(|id| self.entries.forget(id));
                }
                Err(TryRecvError::Lagged(_)) => self.entries.clear(),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    /// From now on, what is remembered is current as of this. Where it does not go on from what stood before, all is forgotten.
    fn stand(&self, now: Option<Standing>) {
        let mut standing = write(&self.standing);
        let goes_on = standing.as_ref().zip(now.as_ref()).is_some_and(|(before, now)| {
            before.epoch.name == now.epoch.name && before.epoch.step <= now.epoch.step
        });
        if !goes_on {
            self.entries.clear();
        }
        *standing = now;
    }

    fn stands(&self) -> bool {
        read(&self.standing).as_ref().is_some_and(|standing| standing.at.elapsed() <= FRESH)
    }

    fn account(&self, id: AccountId, min_seq: JournalSeq) -> Option<CachedAccount> {
        // Held until the entry was read: what is remembered then is current as of it.
        let standing = read(&self.standing);
        let covered = standing.as_ref()?.epoch.covered;
        let found = self.entries.get(id)?;
        let as_of = found.as_of.max(covered);
        let is_of_epoch = found.epoch_name == standing.as_ref()?.epoch.name;
        (is_of_epoch && as_of >= min_seq).then_some(CachedAccount { as_of, ..found })
    }

    /// See [`Entries::ask`].
    pub(super) fn ask(&self, ids: impl Iterator<Item = AccountId>) -> Asking<'_> {
        self.entries.ask(ids)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// The account whose key this is.
fn account_of(key: &[u8]) -> Option<AccountId> {
    let mut parts = str::from_utf8(key).ok()?.rsplit(':');
    let id = parts.next()?.parse().ok()?;
    matches!(parts.next()?, "a" | "s").then_some(AccountId(id))
}

/// Accounts as they were read, and those that are being asked for.
#[derive(Debug)]
pub(super) struct Entries {
    accounts: DashMap<AccountId, Remembered, RandomState>,
    tickets: AtomicU64,
    max: usize,
}

#[derive(Debug)]
enum Remembered {
    /// Who has this ticket asks for it.
    Asked(u64),
    Known(CachedAccount),
}

/// Accounts that are asked for, each with a place that its answer goes to unless it was forgotten meanwhile. Places that no answer
/// came for are given back when this is dropped.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    entries: &'a Entries,
    ticket: u64,
    places: Vec<AccountId>,
}

impl Entries {
    pub(super) fn new(max: usize) -> Entries {
        Entries { accounts: DashMap::default(), tickets: AtomicU64::new(0), max }
    }

    pub(super) fn get(&self, id: AccountId) -> Option<CachedAccount> {
        match self.accounts.get(&id)?.value() {
            Remembered::Known(account) => Some(account.clone()),
            Remembered::Asked(_) => None,
        }
    }

    /// Notes, before they are asked for, that these accounts will be. Forgetting one takes its place away, and so an answer that was given before a
    /// change, and comes in after the news of it, finds none. Of several who ask for the same account, the first has the place.
    pub(super) fn ask(&self, ids: impl Iterator<Item = AccountId>) -> Asking<'_> {
        if self.len() >= self.max {
            self.accounts.clear();
        }
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let has_place = |id: &AccountId| match self.accounts.entry(*id) {
            Entry::Occupied(at) if matches!(at.get(), Remembered::Asked(_)) => false,
            at => {
                at.insert(Remembered::Asked(ticket));
                true
            }
        };
        let places = ids.filter(has_place).collect();
        Asking { entries: self, ticket, places }
    }

    pub(super) fn forget(&self, id: AccountId) {
        self.accounts.remove(&id);
    }

    pub(super) fn len(&self) -> usize {
        self.accounts.len()
    }

    fn clear(&self) {
        self.accounts.clear();
    }
}

impl Asking<'_> {
    /// Remembers an answer, where its place is still there.
    pub(super) fn answer(&self, account: &CachedAccount) {
        if account.metadata.as_ref().is_some_and(|text| text.len() > METADATA_BYTES_MAX) {
            return;
        }
        if let Entry::Occupied(mut at) = self.entries.accounts.entry(account.account.id)
            && matches!(at.get(), Remembered::Asked(ticket) if *ticket == self.ticket)
        {
            at.insert(Remembered::Known(account.clone()));
        }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        for id in &self.places {
            self.entries.accounts.remove_if(
                id,
                |_, found| matches!(found, Remembered::Asked(ticket) if *ticket == self.ticket),
            );
        }
    }
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
