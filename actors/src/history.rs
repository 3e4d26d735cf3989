//! What happened before: read from the journal while it is the newest there is, else from the store.
//!
//! The position of everything decided is known, so a read by id finds it in the journal even while the store is far behind.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use florin_engine::{AccountId, Event, JournalSeq, Record, Transaction, Transfer, TransferId};
use florin_persistence::journal::{JournalIndex, JournalReader, ReadError};
use florin_persistence::record;
use florin_persistence::store::Store;

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

    /// The metadata of an account whose record with it stands at `seq`.
    pub(crate) async fn account_metadata(
        &self,
        seq: JournalSeq,
        id: AccountId,
    ) -> Result<Option<Arc<str>>, HistoryError> {
        if self.shared.stored() < seq
            && let Some(record) = self.journaled(seq).await?
        {
            let accounts = record.accounts;
            let metadata = record.events.into_iter().find_map(|event| match event {
                Event::AccountCreated(created) if created.id == id => Some(created.metadata),
                Event::MetadataReplaced(replaced)
                    if accounts[replaced.account as usize].id == id =>
                {
                    Some(replaced.metadata)
                }
                _ => None,
            });
            let metadata = metadata.ok_or(HistoryError::Missing { seq: seq.0 })?;
            return Ok(metadata.map(|metadata| metadata.text));
        }
        let metadata = self.store.account_metadata(id, seq).await.map_err(store)?.value;
        Ok(metadata.map(|metadata| metadata.text))
    }

    /// Takes each record at these positions that the store does not have yet, with what was asked for in it, one at a time: a record can be large. Gives what
    /// is left for the store.
    async fn take_young<T: Copy>(
        &self,
        mut asked: Vec<(JournalSeq, T)>,
        mut take: impl FnMut(Record, &[(JournalSeq, T)]),
    ) -> Result<Vec<(JournalSeq, T)>, HistoryError> {
        asked.sort_unstable_by_key(|(seq, _)| *seq);
        let stored = self.shared.stored();
        let young = asked.split_off(asked.partition_point(|(seq, _)| *seq <= stored));
        let mut old = asked;
        for of_record in young.chunk_by(|(one, _), (other, _)| one == other) {
            match self.journaled(of_record[0].0).await? {
                Some(record) => take(record, of_record),
                // The store has it by now, and the journal no more.
                None => old.extend_from_slice(of_record),
            }
        }
        Ok(old)
    }

    /// The metadata of accounts whose records with it stand at these positions.
    pub(crate) async fn metadata_of(
        &self,
        asked: Vec<(JournalSeq, AccountId)>,
    ) -> Result<HashMap<AccountId, Option<Arc<str>>>, HistoryError> {
        let mut found = HashMap::new();
        let take = |record: Record, asked: &[(JournalSeq, AccountId)]| {
            let accounts = record.accounts;
            // A record that replaces metadata does so once for each account.
            let texts = record.events.into_iter().filter_map(|event| match event {
                Event::AccountCreated(created) => Some((created.id, created.metadata)),
                Event::MetadataReplaced(replaced) => {
                    Some((accounts[replaced.account as usize].id, replaced.metadata))
                }
                _ => None,
            });
            let texts: HashMap<_, _> = texts.collect();
            for (_, id) in asked {
                let text = texts.get(id).and_then(Option::as_ref);
                found.insert(*id, text.map(|metadata| Arc::clone(&metadata.text)));
            }
        };
        let old = self.take_young(asked, take).await?;
        if !old.is_empty() {
            let ids: Vec<AccountId> = old.into_iter().map(|(_, id)| id).collect();
            let stored = self.store.accounts_by_id(&ids).await.map_err(store)?.value;
            found.extend(stored.into_iter().map(|stored| (stored.account.id, stored.metadata)));
        }
        Ok(found)
    }

    /// The transfers that were decided at these positions under these ids, in no order.
    pub(crate) async fn transfers(
        &self,
        asked: Vec<(JournalSeq, TransferId)>,
    ) -> Result<(Vec<Transfer>, Source), HistoryError> {
        let mut found = Vec::new();
        let take = |record: Record, asked: &[(JournalSeq, TransferId)]| {
            let ids: HashSet<TransferId> = asked.iter().map(|(_, id)| *id).collect();
            found.extend(record.events.into_iter().filter_map(|event| match event {
                Event::TransferPosted(posted) if ids.contains(&posted.transfer.id) => {
                    Some(posted.transfer)
                }
                _ => None,
            }));
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
        found.extend(stored.into_iter().map(|stored| stored.transfer));
        Ok((found, Source::Store))
    }

    /// The transfer that was decided at `seq` under this id, if a transfer was.
    pub(crate) async fn transfer(
        &self,
        seq: JournalSeq,
        id: TransferId,
    ) -> Result<(Option<Transfer>, Source), HistoryError> {
        if self.shared.stored() < seq
            && let Some(record) = self.journaled(seq).await?
        {
            let found = record.events.into_iter().find_map(|event| match event {
                Event::TransferPosted(posted) if posted.transfer.id == id => Some(posted.transfer),
                _ => None,
            });
            return Ok((found, Source::Memory));
        }
        let stored = self.store.transfer(id).await.map_err(store)?.value;
        let stored = self.unless_lost(seq, stored)?;
        Ok((stored.map(|stored| stored.transfer), Source::Store))
    }

    /// The transaction that was decided at `seq` under this id, if a transaction was, and its legs.
    pub(crate) async fn transaction(
        &self,
        seq: JournalSeq,
        id: TransferId,
    ) -> Result<(Option<(Transaction, Vec<Transfer>)>, Source), HistoryError> {
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
        let transfers = legs.into_iter().map(|leg| leg.transfer).collect();
        Ok((Some((stored.transaction, transfers)), Source::Store))
    }
}

fn transaction_in(record: Record, id: TransferId) -> Option<(Transaction, Vec<Transfer>)> {
    let mut events = record.events.into_iter();
    let transaction = events.find_map(|event| match event {
        Event::TransactionCreated(transaction) if transaction.id == id => Some(transaction),
        _ => None,
    })?;
    let transfers = events
        .take(transaction.transfers as usize)
        .filter_map(|event| match event {
            Event::TransferPosted(posted) => Some(posted.transfer),
            _ => None,
        })
        .collect();
    Some((transaction, transfers))
}

fn store(error: florin_persistence::store::StoreError) -> HistoryError {
    HistoryError::Store(chain(&error))
}
