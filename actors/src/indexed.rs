//! Between the rules and the index of decided ids on disk.

use std::sync::Arc;

use florin_engine::{Decided, DecidedBefore, DecidedKind, JournalSeq, Record, TransferId};
use florin_persistence::decided::{self, DecidedIndex, Entry, Namespace};

use crate::commit::chain;
use crate::shard::IndexedIds;

/// The index as the shard asks it.
pub(crate) struct IndexOnDisk {
    index: Arc<DecidedIndex>,
    error: Option<String>,
}

impl IndexOnDisk {
    pub(crate) fn new(index: Arc<DecidedIndex>) -> IndexOnDisk {
        IndexOnDisk { index, error: None }
    }

    fn get(&mut self, namespace: Namespace, id: u128) -> Option<Decided> {
        let found = match self.index.get(namespace, id) {
            Ok(found) => found?,
            Err(error) => {
                self.error = Some(chain(&error));
                return None;
            }
        };
        let Some(kind) = DecidedKind::try_from_number(found.kind) else {
            self.error = Some(format!("an id has the unknown kind {}", found.kind));
            return None;
        };
        Some(Decided { seq: JournalSeq(found.seq), digest: found.digest, kind })
    }
}

impl DecidedBefore for IndexOnDisk {
    fn transfer(&mut self, id: TransferId) -> Option<Decided> {
        self.get(Namespace::Transfer, id.0)
    }

    fn key(&mut self, hash: u128) -> Option<Decided> {
        self.get(Namespace::Key, hash)
    }
}

impl IndexedIds for IndexOnDisk {
    fn take_error(&mut self) -> Option<String> {
        self.error.take()
    }
}

/// Adds what the record at `seq` decided to `entries`.
pub(crate) fn entries_of(seq: JournalSeq, record: &Record, entries: &mut Vec<Entry>) {
    record.each_decided(seq, |id, decided| {
        let namespace = match decided.kind {
            DecidedKind::Key => Namespace::Key,
            DecidedKind::Transfer | DecidedKind::Transaction | DecidedKind::Burned => {
                Namespace::Transfer
            }
        };
        let kind = decided.kind as u8;
        let decided = decided::Decided { seq: seq.0, digest: decided.digest, kind };
        entries.push((namespace, id, decided));
    });
}
