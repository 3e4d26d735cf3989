//! Becoming the writer of the store: the claim, and the proof that store and journal belong together.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use florin_engine::JournalSeq;
use florin_persistence::journal::{FrameHash, JournalIndex, JournalReader};
use florin_persistence::store::{Checkpoint, Store, StoreBatch, StoreError, TakeOver};

use crate::commit::chain;
use crate::recovery::OpenError;
use crate::shared::Shared;

/// A store as its writer sees it; each call as [`Store`] has it. A simulation brings its own.
pub(crate) trait WrittenStore {
    async fn claim(&self, take_over: TakeOver) -> Result<Checkpoint, StoreError>;
    async fn checkpoint(&self) -> Result<Checkpoint, StoreError>;
    async fn apply(&self, batch: &StoreBatch) -> Result<(), StoreError>;
    async fn sync(&self) -> Result<JournalSeq, StoreError>;
    async fn tidy(&self) -> Result<bool, StoreError>;
    fn rest(&self, share: f64);
}

impl WrittenStore for Store {
    async fn claim(&self, take_over: TakeOver) -> Result<Checkpoint, StoreError> {
        Store::claim(self, take_over).await
    }

    async fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        Store::checkpoint(self).await
    }

    async fn apply(&self, batch: &StoreBatch) -> Result<(), StoreError> {
        Store::apply(self, batch).await
    }

    async fn sync(&self) -> Result<JournalSeq, StoreError> {
        Store::sync(self).await
    }

    async fn tidy(&self) -> Result<bool, StoreError> {
        Store::tidy(self).await
    }

    fn rest(&self, share: f64) {
        Store::rest(self, share);
    }
}

/// A store that is to be written, and the journal that it is to be filled from.
pub(crate) struct Claim<S> {
    pub(crate) store: S,
    pub(crate) take_over: TakeOver,
    pub(crate) reader: JournalReader,
    pub(crate) segments: Arc<JournalIndex>,
    pub(crate) shared: Arc<Shared>,
}

impl<S: WrittenStore> Claim<S> {
    /// Claims the store, and makes sure that it belongs to this journal and that nothing between them is missing.
    pub(crate) async fn take(&mut self) -> Result<(), OpenError> {
        let checkpoint = self.store.claim(self.take_over).await?;
        if checkpoint.is_rebuilding {
            return Err(OpenError::StoreMismatch(
                "the store was being rebuilt, and that has not ended: run `florin rebuild-store` again".to_owned(),
            ));
        }
        let durable = self.shared.durable();
        if checkpoint.seq > durable {
            return Err(OpenError::StoreMismatch(format!(
                "the store reaches position {}, but the journal ends at {}: the journal is older than the store; restore the newer journal, or run `florin rebuild-store`",
                checkpoint.seq.0, durable.0
            )));
        }
        let expected = self.reader.frame_hash_at(checkpoint.seq.0).map_err(|error| {
            OpenError::StoreMismatch(format!(
                "the store ends at position {}, and the journal does not reach back to it: {}; run `florin rebuild-store`",
                checkpoint.seq.0,
                chain(&error)
            ))
        })?;
        let genesis = (checkpoint.seq == JournalSeq::NONE).then_some(FrameHash::GENESIS);
        if expected.or(genesis).map(|hash| *hash.as_bytes()) != Some(checkpoint.frame_hash) {
            return Err(OpenError::StoreMismatch(format!(
                "the store at position {} was filled from another journal",
                checkpoint.seq.0
            )));
        }
        self.count_backlog(checkpoint.seq);
        self.shared.set_history_from(checkpoint.history_from);
        self.shared.set_stored(checkpoint.seq);
        Ok(())
    }

    /// Counts what a store at `seq` misses, by whole segments.
    pub(crate) fn count_backlog(&self, seq: JournalSeq) {
        let sealed = self.segments.sealed_segments().into_iter();
        let bytes = sealed.filter(|segment| segment.last_seq > seq.0).map(|it| it.bytes).sum();
        self.shared.backlog_bytes.store(bytes, Ordering::Relaxed);
    }
}
