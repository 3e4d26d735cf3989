//! What happened before: read from the journal while it is the newest there is, else from the store.
//!
//! The position of everything decided is known, so a read by id finds it in the journal even while the store is far behind.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use florin_engine::{
    Account, AccountCreated, AccountId, Event, JournalSeq, Metadata, MetadataReplaced, Record,
    Transaction, Transfer, TransferId, TransferPosted,
};
use florin_persistence::journal::{JournalIndex, JournalReader, ReadError};
use florin_persistence::record;
use florin_persistence::store::{AccountWords, Store, StoredAccount, StoredTransfer};

use crate::commit::chain;
use crate::front::Source;
use crate::shared::Shared;

/// Why history could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HistoryError {
    #[error("the journal at position {seq}: {error}")]
    Journal { seq: u64, error: String },
    #[error("the store: {0}")]
    Store(String),
    #[error("position {seq} holds nothing of what was asked for")]
    Missing { seq: u64 },
    #[error("position {seq} was lost with an earlier store; history begins at {}", .from.0)]
    Lost { seq: u64, from: JournalSeq },
}

/// A transfer as it was decided, and what reversed it, where that came along.
pub(crate) struct PastTransfer {
    pub(crate) transfer: Transfer,
    pub(crate) reversed_by: Option<TransferId>,
}

impl PastTransfer {
    fn journaled(transfer: Transfer) -> PastTransfer {
        PastTransfer { transfer, reversed_by: None }
    }

    fn stored(stored: StoredTransfer) -> PastTransfer {
        PastTransfer { transfer: stored.transfer, reversed_by: stored.reversed_by }
    }
}

/// Reads what happened.
pub(crate) struct History {
    pub(crate) store: Store,
    pub(crate) shared: Arc<Shared>,
    /// Readers keep their file handle and window; one is taken for each read and given back.
    pub(crate) readers: Arc<Readers>,
}

/// A few journal readers to share.
#[derive(Debug)]
pub(crate) struct Readers {
    segments: Arc<JournalIndex>,
    spare: Mutex<Vec<JournalReader>>,
}

/// More readers than this are not kept.
const READERS_KEPT: usize = 8;

impl Readers {
    pub(crate) fn new(segments: Arc<JournalIndex>) -> Readers {
        Readers { segments, spare: Mutex::default() }
    }

    /// The record at `seq`, or `None` when its segment is gone.
    fn record(&self, seq: JournalSeq) -> Result<Option<Record>, HistoryError> {
        let fail = |error: &dyn std::error::Error| HistoryError::Journal {
            seq: seq.0,
            error: chain(error),
        };
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut reader = spare.unwrap_or_else(|| JournalReader::new(self.segments.clone()));
        let bytes = match reader.read_record(seq.0) {
            Ok(bytes) => bytes.ok_or(HistoryError::Missing { seq: seq.0 })?,
            Err(ReadError::Removed { .. }) => return Ok(None),
            Err(error) => return Err(fail(&error)),
        };
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < READERS_KEPT {
            spare.push(reader);
        }
        drop(spare);
        record::decode(&bytes).map(Some).map_err(|error| fail(&error))
    }
}

impl History {
    /// What the store found of something decided at `seq`. That it found nothing means nothing where its history does not reach.
    fn unless_lost<T>(&self, seq: JournalSeq, found: Option<T>) -> Result<Option<T>, HistoryError> {
        let from = self.shared.history_from();
        match found {
            None if seq < from => Err(HistoryError::Lost { seq: seq.0, from }),
            found => Ok(found),
        }
    }

    /// The record at `seq` from the journal, unless the store has it and the journal does not any more.
    async fn journaled(&self, seq: JournalSeq) -> Result<Option<Record>, HistoryError> {
        let readers = self.readers.clone();
        // A file may have to be read from the disk, which must not hold up the caller's thread.
        tokio::task::spawn_blocking(move || readers.record(seq))
            .await
            .map_err(|error| HistoryError::Journal { seq: seq.0, error: error.to_string() })?
    }

    /// The record of a command that came with a key.
    pub(crate) async fn keyed_record(&self, seq: JournalSeq) -> Result<Record, HistoryError> {
        if let Some(record) = self.journaled(seq).await? {
            return Ok(record);
        }
        let found = self.store.keyed_record(seq).await.map_err(store)?.value;
        let missing = HistoryError::Missing { seq: seq.0 };
        let bytes = self.unless_lost(seq, found)?.ok_or(missing)?;
        record::decode(&bytes)
            .map_err(|error| HistoryError::Store(format!("record {}: {}", seq.0, chain(&error))))
    }

    /// What is said in words of an account that memory has.
    pub(crate) async fn account_words(
        &self,
        account: &Account,
    ) -> Result<AccountWords, HistoryError> {
        let mut words = self.words_of(std::iter::once(account)).await?;
        Ok(words.remove(&account.id).unwrap_or_default())
    }

    /// Takes each record at these positions that the store does not have yet, with what was asked for in it, one at a time: a record can be large. Gives what
    /// is left for the store.
    async fn take_young<T: Copy>(
        &self,
        mut asked: Vec<(JournalSeq, T)>,
        mut take: impl FnMut(Record, &[(JournalSeq, T)]) -> Result<(), HistoryError>,
    ) -> Result<Vec<(JournalSeq, T)>, HistoryError> {
        asked.sort_unstable_by_key(|(seq, _)| *seq);
        let stored = self.shared.stored();
        let young = asked.split_off(asked.partition_point(|(seq, _)| *seq <= stored));
        let mut old = asked;
        for of_record in young.chunk_by(|(one, _), (other, _)| one == other) {
            match self.journaled(of_record[0].0).await? {
                Some(record) => take(record, of_record)?,
                // The store has it by now, and the journal no more.
                None => old.extend_from_slice(of_record),
            }
        }
        Ok(old)
    }

    /// What is said in words of these accounts as memory has them. Each word is looked for by itself, in the journal if the store does not have it yet.
    pub(crate) async fn words_of(
        &self,
        accounts: impl Iterator<Item = &Account>,
    ) -> Result<HashMap<AccountId, AccountWords>, HistoryError> {
        let mut asked = Vec::new();
        for Account { id, metadata_seq, external_id_seq, .. } in accounts {
            for (seq, what) in [(metadata_seq, Word::Metadata), (external_id_seq, Word::ExternalId)]
            {
                if *seq != JournalSeq::NONE {
                    asked.push((*seq, (*id, what)));
                }
            }
        }
        let mut found: HashMap<AccountId, AccountWords> = HashMap::new();
        let take = |record: Record, asked: &[(JournalSeq, (AccountId, Word))]| {
            let said = words_in(record);
            for (seq, (id, what)) in asked {
                let said = said.get(id).ok_or(HistoryError::Missing { seq: seq.0 })?;
                let words = found.entry(*id).or_default();
                match what {
                    Word::Metadata => words.metadata.clone_from(&said.metadata),
                    Word::ExternalId => words.external_id.clone_from(&said.external_id),
                }
            }
            Ok(())
        };
        let old = self.take_young(asked, take).await?;
        if old.is_empty() {
            return Ok(found);
        }
        let mut ids: Vec<AccountId> = old.iter().map(|(_, (id, _))| *id).collect();
        ids.sort_unstable();
        ids.dedup();
        let stored = self.store.accounts_by_id(&ids).await.map_err(store)?.value;
        let stored: HashMap<AccountId, StoredAccount> =
            stored.into_iter().map(|stored| (stored.account.id, stored)).collect();
        // What was there before history begins stands just before it.
        let base = JournalSeq(self.shared.history_from().0.saturating_sub(1));
        for (seq, (id, what)) in old {
            let missing = || HistoryError::Missing { seq: seq.0 };
            let stored = stored.get(&id).ok_or_else(missing)?;
            let words = found.entry(id).or_default();
            match what {
                Word::ExternalId => words.external_id.clone_from(&stored.external_id),
                Word::Metadata => {
                    let metadata = if stored.account.metadata_seq == seq.max(base) {
                        let digest = stored.account.metadata_digest;
                        stored.metadata.clone().map(|text| Metadata { text, digest })
                    } else {
                        // Replaced since memory was looked at.
                        self.store.account_words(id, seq).await.map_err(store)?.value.metadata
                    };
                    words.metadata = Some(metadata.ok_or_else(missing)?);
                }
            }
        }
        Ok(found)
    }

    /// The transfers that were decided at these positions under these ids, in no order.
    pub(crate) async fn transfers(
        &self,
        asked: Vec<(JournalSeq, TransferId)>,
    ) -> Result<(Vec<PastTransfer>, Source), HistoryError> {
        let mut found = Vec::new();
        let take = |record: Record, asked: &[(JournalSeq, TransferId)]| {
            let ids: HashSet<TransferId> = asked.iter().map(|(_, id)| *id).collect();
            found.extend(record.events.into_iter().filter_map(|event| match event {
                Event::TransferPosted(posted) if ids.contains(&posted.transfer.id) => {
                    Some(PastTransfer::journaled(posted.transfer))
                }
                _ => None,
            }));
            Ok(())
        };
        let old = self.take_young(asked, take).await?;
        if old.is_empty() {
            return Ok((found, Source::Memory));
        }
        let ids: Vec<TransferId> = old.iter().map(|(_, id)| *id).collect();
        let stored = self.store.transfers_by_id(&ids).await.map_err(store)?.value;
        let there: HashSet<TransferId> = stored.iter().map(|stored| stored.transfer.id).collect();
        for (seq, id) in &old {
            self.unless_lost(*seq, there.get(id))?;
        }
        found.extend(stored.into_iter().map(PastTransfer::stored));
        Ok((found, Source::Store))
    }

    /// The transfer that was decided at `seq` under this id, if a transfer was.
    pub(crate) async fn transfer(
        &self,
        seq: JournalSeq,
        id: TransferId,
    ) -> Result<(Option<PastTransfer>, Source), HistoryError> {
        if self.shared.stored() < seq
            && let Some(record) = self.journaled(seq).await?
        {
            let found = record.events.into_iter().find_map(|event| match event {
                Event::TransferPosted(posted) if posted.transfer.id == id => {
                    Some(PastTransfer::journaled(posted.transfer))
                }
                _ => None,
            });
            return Ok((found, Source::Memory));
        }
        let stored = self.store.transfer(id).await.map_err(store)?.value;
        let stored = self.unless_lost(seq, stored)?;
        Ok((stored.map(PastTransfer::stored), Source::Store))
    }

    /// Which transfers reversed these, which were all reversed at `seq`; in their order.
    pub(crate) async fn reversals(
        &self,
        seq: JournalSeq,
        reversed: &[TransferId],
    ) -> Result<Vec<TransferId>, HistoryError> {
        let missing = HistoryError::Missing { seq: seq.0 };
        if self.shared.stored() < seq
            && let Some(record) = self.journaled(seq).await?
        {
            let reversals: HashMap<TransferId, TransferId> = record
                .events
                .iter()
                .filter_map(|event| match event {
                    Event::TransferPosted(TransferPosted { transfer, .. }) => {
                        Some((transfer.reverses, transfer.id))
                    }
                    _ => None,
                })
                .collect();
            let found = reversed.iter().map(|id| reversals.get(id).copied());
            return found.collect::<Option<_>>().ok_or(missing);
        }
        let mut found = Vec::with_capacity(reversed.len());
        for id in reversed {
            let stored = self.store.transfer(*id).await.map_err(store)?.value;
            let reversed_by = self.unless_lost(seq, stored)?.and_then(|stored| stored.reversed_by);
            found.push(reversed_by.ok_or(missing.clone())?);
        }
        Ok(found)
    }

    /// The transaction that was decided at `seq` under this id, if a transaction was, and its legs.
    pub(crate) async fn transaction(
        &self,
        seq: JournalSeq,
        id: TransferId,
    ) -> Result<(Option<(Transaction, Vec<PastTransfer>)>, Source), HistoryError> {
        if self.shared.stored() < seq
            && let Some(record) = self.journaled(seq).await?
        {
            return Ok((transaction_in(record, id), Source::Memory));
        }
        let stored = self.store.transaction(id).await.map_err(store)?.value;
        let Some(stored) = self.unless_lost(seq, stored)? else {
            return Ok((None, Source::Store));
        };
        let legs = self.store.transfers_of_transaction(id).await.map_err(store)?.value;
        let transfers = legs.into_iter().map(PastTransfer::stored).collect();
        Ok((Some((stored.transaction, transfers)), Source::Store))
    }
}

/// One of the words of an account.
#[derive(Clone, Copy)]
enum Word {
    Metadata,
    ExternalId,
}

/// What a record says in words of accounts. One that replaces metadata does so once for each account.
fn words_in(record: Record) -> HashMap<AccountId, AccountWords> {
    let accounts = record.accounts;
    let said = record.events.into_iter().filter_map(|event| match event {
        Event::AccountCreated(AccountCreated { id, metadata, external_id, .. }) => {
            Some((id, AccountWords { metadata, external_id }))
        }
        Event::MetadataReplaced(MetadataReplaced { account, metadata, .. }) => {
            let id = accounts[account as usize].id;
            Some((id, AccountWords { metadata, external_id: None }))
        }
        _ => None,
    });
    said.collect()
}

fn transaction_in(record: Record, id: TransferId) -> Option<(Transaction, Vec<PastTransfer>)> {
    let mut events = record.events.into_iter();
    let transaction = events.find_map(|event| match event {
        Event::TransactionCreated(transaction) if transaction.id == id => Some(transaction),
        _ => None,
    })?;
    let transfers = events
        .take(transaction.transfers as usize)
        .filter_map(|event| match event {
            Event::TransferPosted(posted) => Some(PastTransfer::journaled(posted.transfer)),
            _ => None,
        })
        .collect();
    Some((transaction, transfers))
}

#[cfg(test)]
mod tests;

fn store(error: florin_persistence::store::StoreError) -> HistoryError {
    HistoryError::Store(chain(&error))
}
