//! A reader: answers from what the ledger's owner wrote into the store, on any machine, and owns nothing.
//!
//! It never decides and never writes. Everything it tells is durable, since the store is filled from durable records only, and
//! each answer says which position it is of.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use florin_engine::{AccountId, JournalSeq, LedgerId, Scale, TransferId};
use florin_persistence::cache::{
    CacheError, CacheOptions, CacheOptionsError, CacheReader, CachedAccount, Miss,
};
use florin_persistence::store::{
    AsOf, Checkpoint, PAGE_ROWS_MAX, PageRequest, Store, StoreError, StoredAccount, StoredTransfer,
};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::front::{FoundAccount, FoundTransaction, FoundTransfer, Read, Source};

/// How often a reader that waits for a position asks where the store stands.
const POLL: Duration = Duration::from_millis(10);

/// Reads of a ledger that another process owns. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    store: Store,
    cache: Option<Arc<Cache>>,
    known: Arc<Known>,
}

/// The cache, which can be named only when the store has told whose it is.
struct Cache {
    options: CacheOptions,
    reader: OnceCell<CacheReader>,
}

/// How the cache of a reader is.
#[derive(Debug)]
pub enum ReaderCache {
    /// It has none.
    Off,
    /// It answers.
    Ok {
        /// Its entries are current as of here.
        covered: JournalSeq,
    },
    /// It answers, and the ledger's owner writes nothing there.
    Empty,
    /// It does not answer.
    Away {
        /// What went wrong.
        error: CacheError,
    },
    /// Whose it is was not learnt yet, since the store has not answered so far.
    Unnamed,
}

/// What a reader has learnt and what does not change any more.
#[derive(Debug, Default)]
struct Known {
    /// The newest position that an answer was of, from the cache or the store.
    newest: AtomicU64,
    /// Where the store stood when it was last seen. The cache is mostly ahead of it.
    stored: AtomicU64,
    scales: RwLock<HashMap<LedgerId, Scale>>,
    /// Whose turn it is to ask where the store stands.
    turn: tokio::sync::Mutex<()>,
}

impl Reader {
    /// Reads from this store, and balances from this cache where it has them. Asks nothing of either yet.
    ///
    /// # Errors
    /// No connection to the cache can be tried with these options.
    pub fn new(store: Store, cache: Option<CacheOptions>) -> Result<Reader, CacheOptionsError> {
        cache.as_ref().map_or(Ok(()), CacheOptions::check)?;
        let cache = cache.map(|options| Arc::new(Cache { options, reader: OnceCell::new() }));
        Ok(Reader { store, cache, known: Arc::default() })
    }

    /// The account with this id from the cache, current as of `min_seq` at least.
    ///
    /// # Errors
    /// It is not there, or older. What was missed can be brought in with [`Reader::account`].
    pub async fn cached_account(
        &self,
        id: AccountId,
        min_seq: JournalSeq,
    ) -> Result<CachedAccount, Option<Miss>> {
        let cache = self.cache().await.ok_or(None)?;
        let found = cache.account(id, min_seq).await.map_err(Some)?;
        self.note(found.as_of);
        if found.as_of < min_seq {
            return Err(None);
        }
        let ledger = found.account.ledger;
        self.learn_scales(std::iter::once(ledger)).await.map_err(|_| None)?;
        // The cache may have the first account of a ledger before the store has the ledger.
        self.scale(ledger).map(|_| found).ok_or(None)
    }

    /// The page of the account's history that `query` names, as of [`CachedAccount::as_of`], if it is kept for the version that was found.
    pub async fn kept_page(&self, account: &CachedAccount, query: &str) -> Option<Vec<u8>> {
        self.cache().await?.page(account, query.as_bytes()).await
    }

    /// Keeps a page that the store told as of `as_of`, if the account surely had the version that was found.
    pub async fn keep_page(
        &self,
        account: &CachedAccount,
        query: &str,
        as_of: JournalSeq,
        page: Vec<u8>,
    ) {
        if let Some(cache) = self.cache().await {
            cache.put_page(account, query.as_bytes(), as_of, page).await;
        }
    }

    /// How the cache is, asked now.
    pub async fn cache_state(&self) -> ReaderCache {
        if self.cache.is_none() {
            return ReaderCache::Off;
        }
        let Some(cache) = self.cache().await else { return ReaderCache::Unnamed };
        match cache.covered().await {
            Ok(Some(covered)) => {
                self.note(covered);
                ReaderCache::Ok { covered }
            }
            Ok(None) => ReaderCache::Empty,
            Err(error) => ReaderCache::Away { error },
        }
    }

    async fn cache(&self) -> Option<&CacheReader> {
        let cache = self.cache.as_ref()?;
        let connect = || async {
            let directory = self.store.directory().await.map_err(drop)?;
            CacheReader::connect(&cache.options, directory).map_err(drop)
        };
        cache.reader.get_or_try_init(connect).await.ok()
    }

    /// Where the store stands, asked now.
    ///
    /// # Errors
    /// The store is away, or there is none yet.
    pub async fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        let checkpoint = self.store.checkpoint().await?;
        self.note_stored(checkpoint.seq);
        Ok(checkpoint)
    }

    /// The store, for lists, history and totals.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The newest position that an answer was of.
    #[must_use]
    pub fn newest(&self) -> JournalSeq {
        JournalSeq(self.known.newest.load(Ordering::Relaxed))
    }

    /// Where the store stood when it was last seen.
    #[must_use]
    pub fn stored(&self) -> JournalSeq {
        JournalSeq(self.known.stored.load(Ordering::Relaxed))
    }

    /// Digits after the point of a ledger that was seen.
    #[must_use]
    pub fn scale(&self, ledger: LedgerId) -> Option<Scale> {
        self.known.scales.read().unwrap_or_else(PoisonError::into_inner).get(&ledger).copied()
    }

    /// Makes sure that the scale of each ledger that exists and is named is known.
    ///
    /// # Errors
    /// The store is away.
    pub async fn learn_scales(
        &self,
        mut ledgers: impl Iterator<Item = LedgerId>,
    ) -> Result<(), StoreError> {
        if ledgers.all(|ledger| self.scale(ledger).is_some()) {
            return Ok(());
        }
        let mut page = PageRequest::first(PAGE_ROWS_MAX);
        loop {
            let found = self.store.ledgers(&page).await?;
            let mut scales = self.known.scales.write().unwrap_or_else(PoisonError::into_inner);
            scales.extend(found.data.iter().map(|it| (it.ledger.id, it.ledger.scale)));
            drop(scales);
            match found.next {
                Some(next) => page.cursor = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Waits until the store covers `seq`; gives where it stands, which is before `seq` when it did not get there within `patience`.
    ///
    /// # Errors
    /// The store is away.
    pub async fn wait_stored(
        &self,
        seq: JournalSeq,
        patience: Duration,
    ) -> Result<JournalSeq, StoreError> {
        let deadline = Instant::now() + patience;
        while self.stored() < seq && Instant::now() < deadline {
            // However many wait, the store is asked by one at a time.
            let Ok(_turn) = tokio::time::timeout_at(deadline, self.known.turn.lock()).await else {
                break;
            };
            if self.stored() >= seq {
                break;
            }
            self.checkpoint().await?;
            if self.stored() < seq {
                tokio::time::sleep_until(deadline.min(Instant::now() + POLL)).await;
            }
        }
        Ok(self.stored())
    }

    /// The account with this id from the store; what the cache missed is brought into it.
    ///
    /// # Errors
    /// The store is away.
    pub async fn account(
        &self,
        id: AccountId,
        missed: Option<Miss>,
    ) -> Result<Read<Option<FoundAccount>>, StoreError> {
        let AsOf { as_of, value } = self.store.account(id).await?;
        if let (Some(miss), Some(found), Some(cache)) = (missed, &value, self.cache().await) {
            let (metadata, external_id) = (found.metadata.as_ref(), found.external_id.as_ref());
            cache.fill(miss, &found.account, metadata, external_id, as_of).await;
        }
        let found = value.map(|StoredAccount { account, metadata, external_id, .. }| {
            FoundAccount { account, metadata, external_id }
        });
        self.learn_scales(found.iter().map(|found| found.account.ledger)).await?;
        Ok(self.read(as_of, found))
    }

    /// The transfer with this id.
    ///
    /// # Errors
    /// The store is away.
    pub async fn transfer(
        &self,
        id: TransferId,
    ) -> Result<Read<Option<FoundTransfer>>, StoreError> {
        let AsOf { as_of, value } = self.store.transfer(id).await?;
        let found = value.map(found_transfer);
        self.learn_scales(found.iter().map(|found| found.transfer.ledger)).await?;
        Ok(self.read(as_of, found))
    }

    /// The accounts with these ids, in their order, from one snapshot of the store.
    ///
    /// # Errors
    /// The store is away.
    pub async fn accounts(
        &self,
        ids: &[AccountId],
    ) -> Result<Read<Vec<Option<FoundAccount>>>, StoreError> {
        let AsOf { as_of, value } = self.store.accounts_by_id(ids).await?;
        self.learn_scales(value.iter().map(|stored| stored.account.ledger)).await?;
        let found: HashMap<AccountId, StoredAccount> =
            value.into_iter().map(|stored| (stored.account.id, stored)).collect();
        let found = |id| {
            let StoredAccount { account, metadata, external_id, .. } = found.get(id)?.clone();
            Some(FoundAccount { account, metadata, external_id })
        };
        Ok(self.read(as_of, ids.iter().map(found).collect()))
    }

    /// The transfers with these ids, in their order, from one snapshot of the store.
    ///
    /// # Errors
    /// The store is away.
    pub async fn transfers(
        &self,
        ids: &[TransferId],
    ) -> Result<Read<Vec<Option<FoundTransfer>>>, StoreError> {
        let AsOf { as_of, value } = self.store.transfers_by_id(ids).await?;
        self.learn_scales(value.iter().map(|stored| stored.transfer.ledger)).await?;
        let found: HashMap<TransferId, StoredTransfer> =
            value.into_iter().map(|stored| (stored.transfer.id, stored)).collect();
        let found = |id| found.get(id).cloned().map(found_transfer);
        Ok(self.read(as_of, ids.iter().map(found).collect()))
    }

    /// The transaction with this id, and its legs.
    ///
    /// # Errors
    /// The store is away.
    pub async fn transaction(
        &self,
        id: TransferId,
    ) -> Result<Read<Option<FoundTransaction>>, StoreError> {
        let AsOf { as_of, value } = self.store.transaction(id).await?;
        let Some(stored) = value else {
            return Ok(self.read(as_of, None));
        };
        // It never changes, so its legs may be read in a later snapshot, with what became of them by then.
        let legs = self.store.transfers_of_transaction(id).await?.value;
        let transfers: Vec<_> = legs.into_iter().map(found_transfer).collect();
        self.learn_scales(transfers.iter().map(|found| found.transfer.ledger)).await?;
        Ok(self.read(as_of, Some(FoundTransaction { transaction: stored.transaction, transfers })))
    }

    /// Brings the gauges among the metrics up to date.
    pub fn refresh_metrics(&self) {
        crate::metrics::stored(self.stored());
        if let Some(cache) = self.cache.as_ref().and_then(|cache| cache.reader.get()) {
            crate::metrics::cache_reads(&cache.counts());
        }
    }

    /// Notes that an answer of the store was of this position. A store that was made again from an older state may stand before one.
    pub fn note_stored(&self, seq: JournalSeq) {
        self.known.stored.store(seq.0, Ordering::Relaxed);
        self.note(seq);
    }

    fn note(&self, seq: JournalSeq) {
        self.known.newest.fetch_max(seq.0, Ordering::Relaxed);
    }

    fn read<T>(&self, seq: JournalSeq, value: T) -> Read<T> {
        self.note_stored(seq);
        Read { seq, value, source: Source::Store }
    }
}

fn found_transfer(stored: StoredTransfer) -> FoundTransfer {
    let StoredTransfer { transfer, settlement, reversed_by, .. } = stored;
    FoundTransfer { transfer, settlement, reversed_by }
}
