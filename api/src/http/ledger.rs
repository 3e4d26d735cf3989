//! What answers: the ledger itself at its owner, or a reader of what the owner wrote.

use std::sync::Arc;
use std::time::Duration;

use florin_actors::{Florin, FoundAccount, FoundTransaction, FoundTransfer, Read, Reader, Source};
use florin_engine::{Account, AccountId, JournalSeq, LedgerId, Scale, TransferId};
use florin_persistence::cache::CachedAccount;
use florin_persistence::store::Store;

use super::error::ApiError;
use super::lists::unlisted;
use super::submit::unread;

/// How long a list waits for the store to cover what was acknowledged before it.
const COVER_PATIENCE: Duration = Duration::from_millis(250);
/// How long a read waits for the position in `min_seq`.
const MIN_SEQ_PATIENCE: Duration = Duration::from_secs(5);

/// What answers.
#[derive(Clone)]
pub(crate) enum Ledger {
    /// The ledger itself: decides, and reads by id from memory.
    Owner(Florin),
    /// Another process owns it.
    Reader(Reader),
}

/// Pages of one account's history, kept in the cache for as long as the account has the version that was found.
pub(crate) struct KeptPages {
    reader: Reader,
    account: CachedAccount,
}

impl KeptPages {
    /// The position that kept pages are as of.
    pub(crate) fn as_of(&self) -> JournalSeq {
        self.account.as_of
    }

    /// The page that `query` names, if it is kept.
    pub(crate) async fn find(&self, query: &str) -> Option<Vec<u8>> {
        self.reader.kept_page(&self.account, query).await
    }

    /// Keeps a page that the store told as of `as_of`, where that is surely of the same version.
    pub(crate) async fn keep(&self, query: &str, as_of: JournalSeq, page: Vec<u8>) {
        self.reader.keep_page(&self.account, query, as_of, page).await;
    }
}

impl Ledger {
    /// The ledger itself, where it is here.
    pub(crate) fn owner(&self) -> Option<&Florin> {
        match self {
            Ledger::Owner(florin) => Some(florin),
            Ledger::Reader(_) => None,
        }
    }

    /// Resolves with the reason when the ledger has failed; a reader never does.
    pub(crate) async fn failed(&self) -> String {
        match self {
            Ledger::Owner(florin) => florin.failed().await,
            Ledger::Reader(_) => std::future::pending().await,
        }
    }

    /// Lists, history and totals.
    pub(crate) fn store(&self) -> &Store {
        match self {
            Ledger::Owner(florin) => florin.store(),
            Ledger::Reader(reader) => reader.store(),
        }
    }

    /// The newest position that is known to be durable.
    pub(crate) fn newest(&self) -> JournalSeq {
        match self {
            Ledger::Owner(florin) => florin.positions().durable,
            Ledger::Reader(reader) => reader.newest(),
        }
    }

    /// Digits after the point of a ledger that something was read of.
    pub(crate) fn scale(&self, ledger: LedgerId) -> Option<Scale> {
        match self {
            Ledger::Owner(florin) => florin.scale(ledger),
            Ledger::Reader(reader) => reader.scale(ledger),
        }
    }

    /// Sees to it that the scales of these ledgers are known, and that `as_of` was seen.
    pub(crate) async fn seen(
        &self,
        as_of: JournalSeq,
        ledgers: impl Iterator<Item = LedgerId>,
    ) -> Result<(), ApiError> {
        match self {
            Ledger::Owner(_) => Ok(()),
            Ledger::Reader(reader) => {
                reader.note_stored(as_of);
                reader.learn_scales(ledgers).await.map_err(|error| unlisted(&error))
            }
        }
    }

    /// The account with this id, as of `min_seq` at least.
    pub(crate) async fn account(
        &self,
        id: AccountId,
        min_seq: Option<JournalSeq>,
    ) -> Result<Read<Option<FoundAccount>>, ApiError> {
        let (found, _) = self.account_and_pages(id, min_seq).await?;
        Ok(found)
    }

    /// [`Ledger::account`], and what pages of its history are kept under where the cache told of it.
    pub(crate) async fn account_and_pages(
        &self,
        id: AccountId,
        min_seq: Option<JournalSeq>,
    ) -> Result<(Read<Option<FoundAccount>>, Option<KeptPages>), ApiError> {
        match self {
            Ledger::Owner(florin) => {
                self.until_current(min_seq).await?;
                let found = florin.account(id).await.map_err(|error| unread(&error).about(id.0))?;
                Ok((found, None))
            }
            Ledger::Reader(reader) => {
                let least = min_seq.unwrap_or(JournalSeq::NONE);
                let missed = match reader.cached_account(id, least).await {
                    Ok(cached) => {
                        let account = cached.account.clone();
                        let metadata = cached.metadata.clone();
                        let external_id = cached.external_id.clone();
                        let value = Some(FoundAccount { account, metadata, external_id });
                        let found = Read { seq: cached.as_of, value, source: Source::Cache };
                        let pages = KeptPages { reader: reader.clone(), account: cached };
                        return Ok((found, Some(pages)));
                    }
                    Err(missed) => missed,
                };
                self.until_stored(min_seq).await?;
                // Boxed, as few come here, and it would make the future of every read ten times as large.
                let found = Box::pin(reader.account(id, missed)).await;
                let found = found.map_err(|error| unlisted(&error).about(id.0))?;
                Ok((found, None))
            }
        }
    }

    /// An account as its owner told it, with what is said of it in words at that moment.
    pub(crate) async fn in_words(&self, account: Account) -> Result<FoundAccount, ApiError> {
        let florin = self.owner().ok_or(ApiError::ReadOnly)?;
        florin.in_words(account).await.map_err(|error| unread(&error))
    }

    /// The metadata that an account had just after the command at `seq`. Only the owner tells.
    pub(crate) async fn account_metadata_at(
        &self,
        id: AccountId,
        seq: JournalSeq,
    ) -> Result<Option<Arc<str>>, ApiError> {
        let florin = self.owner().ok_or(ApiError::ReadOnly)?;
        let found = florin.account_metadata_at(id, seq, MIN_SEQ_PATIENCE).await;
        found.map_err(|error| unread(&error))
    }

    /// The transfer with this id.
    pub(crate) async fn transfer(
        &self,
        id: TransferId,
    ) -> Result<Read<Option<FoundTransfer>>, ApiError> {
        match self {
            Ledger::Owner(florin) => {
                florin.transfer(id).await.map_err(|error| unread(&error).about(id.0))
            }
            Ledger::Reader(reader) => {
                reader.transfer(id).await.map_err(|error| unlisted(&error).about(id.0))
            }
        }
    }

    /// The accounts with these ids, in their order, as of `min_seq` at least.
    pub(crate) async fn accounts(
        &self,
        ids: &[AccountId],
        min_seq: Option<JournalSeq>,
    ) -> Result<Read<Vec<Option<FoundAccount>>>, ApiError> {
        self.until_current(min_seq).await?;
        match self {
            Ledger::Owner(florin) => florin.accounts(ids).await.map_err(|error| unread(&error)),
            Ledger::Reader(reader) => reader.accounts(ids).await.map_err(|error| unlisted(&error)),
        }
    }

    /// The transfers with these ids, in their order, as of `min_seq` at least.
    pub(crate) async fn transfers(
        &self,
        ids: &[TransferId],
        min_seq: Option<JournalSeq>,
    ) -> Result<Read<Vec<Option<FoundTransfer>>>, ApiError> {
        self.until_current(min_seq).await?;
        match self {
            Ledger::Owner(florin) => florin.transfers(ids).await.map_err(|error| unread(&error)),
            Ledger::Reader(reader) => reader.transfers(ids).await.map_err(|error| unlisted(&error)),
        }
    }

    /// The transaction with this id.
    pub(crate) async fn transaction(
        &self,
        id: TransferId,
    ) -> Result<Read<Option<FoundTransaction>>, ApiError> {
        match self {
            Ledger::Owner(florin) => {
                florin.transaction(id).await.map_err(|error| unread(&error).about(id.0))
            }
            Ledger::Reader(reader) => {
                reader.transaction(id).await.map_err(|error| unlisted(&error).about(id.0))
            }
        }
    }

    /// Waits until the store covers what was acknowledged before this request, for a moment, and `min_seq`, for longer.
    ///
    /// A store that is late answers with what it has and says so in `as_of_seq`; one that does not reach `min_seq` does not.
    pub(crate) async fn until_stored(&self, min_seq: Option<JournalSeq>) -> Result<(), ApiError> {
        if let Ledger::Owner(florin) = self {
            florin.wait_stored(florin.positions().durable, COVER_PATIENCE).await;
        }
        let Some(asked) = min_seq else { return Ok(()) };
        let reached = match self {
            Ledger::Owner(florin) if florin.wait_stored(asked, MIN_SEQ_PATIENCE).await => asked,
            Ledger::Owner(florin) => florin.positions().stored,
            Ledger::Reader(reader) => reader
                .wait_stored(asked, MIN_SEQ_PATIENCE)
                .await
                .map_err(|error| unlisted(&error))?,
        };
        if reached >= asked { Ok(()) } else { Err(ApiError::NotYet { asked, reached }) }
    }

    /// Waits until a read by id covers `min_seq`: at the owner it covers everything that is durable.
    pub(crate) async fn until_current(&self, min_seq: Option<JournalSeq>) -> Result<(), ApiError> {
        match (self, min_seq) {
            (_, None) => Ok(()),
            (Ledger::Reader(_), _) => self.until_stored(min_seq).await,
            (Ledger::Owner(florin), Some(asked)) => {
                if florin.wait_durable(asked, MIN_SEQ_PATIENCE).await {
                    return Ok(());
                }
                Err(ApiError::NotYet { asked, reached: florin.positions().durable })
            }
        }
    }
}
