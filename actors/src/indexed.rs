//! Between the rules and the index of decided ids on disk.

use std::sync::Arc;

use florin_engine::{
    Decided, DecidedBefore, DecidedKind, DecidedSpace, JournalSeq, Record, Timestamp, TransferId,
};
use florin_persistence::decided::{self, DecidedIndex, Entry, IndexReader, Namespace};

use crate::commit::chain;
use crate::shard::IndexedIds;

/// The index as the shard asks it.
pub(crate) struct IndexOnDisk {
    index: IndexReader,
    error: Option<String>,
}

impl IndexOnDisk {
    pub(crate) fn new(index: &Arc<DecidedIndex>) -> IndexOnDisk {
        IndexOnDisk { index: index.reader(), error: None }
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
        let (seq, timestamp) = (JournalSeq(found.seq), Timestamp(found.timestamp));
        Some(Decided { seq, digest: found.digest, timestamp, kind })
    }
}

impl DecidedBefore for IndexOnDisk {
    fn absent(&mut self, ids: &[TransferId]) -> u64 {
        self.index.absent(Namespace::Transfer, ids.iter().map(|id| id.0))
    }

    fn transfer(&mut self, id: TransferId) -> Option<Decided> {
        self.get(Namespace::Transfer, id.0)
    }

    fn key(&mut self, hash: u128) -> Option<Decided> {
        self.get(Namespace::Key, hash)
    }

    fn settled(&mut self, id: TransferId) -> Option<Decided> {
        self.get(Namespace::Settled, id.0)
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
        entries.push((namespace_of(decided.kind), id, on_disk(decided)));
    });
}

/// Where the index keeps what is of this kind.
pub(crate) fn namespace_of(kind: DecidedKind) -> Namespace {
    match kind.space() {
        DecidedSpace::Transfer => Namespace::Transfer,
        DecidedSpace::Key => Namespace::Key,
        DecidedSpace::Settled => Namespace::Settled,
    }
}

/// What the index keeps of a decision.
pub(crate) fn on_disk(decided: Decided) -> decided::Decided {
    decided::Decided {
        seq: decided.seq.0,
        digest: decided.digest,
        timestamp: decided.timestamp.0,
        kind: decided.kind as u8,
    }
}
