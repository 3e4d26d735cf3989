//! The writer: the one who copies durable records into the cache. The protocol stands at the top of the parent module.

use std::time::Duration;

use florin_engine::JournalSeq;
use fred::prelude::*;
use uuid::Uuid;

use super::batch::CacheBatch;
use super::connection::Connections;
use super::epoch::Epoch;
use super::error::{CacheError, CacheOptionsError};
use super::keys::{Keys, SLOTS_BYTES};
use super::options::CacheOptions;
use super::scripts::{BEGIN, STEP};

/// An epoch that no step was made in for so long is gone: readers ask the store, and another writer may begin.
pub(super) const EPOCH_TTL: Duration = Duration::from_secs(30);

/// Writes the cache of one ledger directory.
///
/// It holds no epoch at first: [`CacheWriter::begin`] begins one, and [`CacheWriter::flush`] goes on in it.
pub struct CacheWriter {
    connections: Connections,
    keys: Keys,
    entry_ttl: Duration,
    /// This process's place among writers, once it has one.
    claim: Option<u64>,
    held: Option<Held>,
}

/// The epoch that this writer holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// What surely stood there last.
    epoch: Epoch,
    /// What stands there instead, if a step whose answer did not come was made after all.
    doubtful: Option<Epoch>,
}

impl CacheWriter {
    /// A writer for the directory of this id, which begins to connect. Call it within the tokio runtime that its connection shall live on.
    ///
    /// # Errors
    /// No connection can be tried with these options. A cache that is away is no error.
    pub fn connect(
        options: &CacheOptions,
        directory: Uuid,
    ) -> Result<CacheWriter, CacheOptionsError> {
        Ok(CacheWriter {
            connections: Connections::begin(options, 1)?,
            keys: Keys::new(directory),
            entry_ttl: options.entry_ttl,
            claim: None,
            held: None,
        })
    }

    /// Whether flushes can go on in an epoch.
    #[must_use]
    pub fn holds_epoch(&self) -> bool {
        self.held.is_some()
    }

    /// Lets go of the epoch: the next batch does not go on where the last one ended.
    pub fn give_up(&mut self) {
        self.held = None;
    }

    /// Begins a new epoch at `position`, a durable one: batches then follow from the record after it. Everything that stood in the cache is forgotten.
    ///
    /// # Errors
    /// [`CacheError::Fenced`] while another writer's epoch stands that must not be taken over; [`CacheError::Away`].
    pub async fn begin(&mut self, position: JournalSeq) -> Result<(), CacheError> {
        self.held = None;
        let name = Uuid::new_v4().as_u64_pair();
        let name = (name.0 ^ name.1).max(1);
        let arguments = vec![
            bytes(&Epoch::to_bytes(UNBEGUN)[..1]),
            number(self.claim.unwrap_or(0)),
            number(position.0),
            bytes(&name.to_be_bytes()),
            number(SLOTS_BYTES),
            millis(EPOCH_TTL),
        ];
        let keys = vec![self.keys.epoch(), self.keys.changes(name)];
        let begun = self.client().eval(BEGIN, keys, arguments).await;
        let stands: Vec<u8> = begun.map_err(|error| self.connections.away(error))?;
        let covered = stands[9..].first_chunk().copied().map_or(0, u64::from_be_bytes);
        let fenced = CacheError::Fenced { covered: JournalSeq(covered) };
        let epoch = Epoch::from_bytes(&stands).filter(|epoch| epoch.name == name).ok_or(fenced)?;
        self.claim = Some(epoch.claim);
        self.held = Some(Held { epoch, doubtful: None });
        Ok(())
    }

    /// Writes the batch, which goes on where the last one that was flushed ended, and moves the position covered to its end. An empty one keeps the
    /// epoch alive.
    ///
    /// # Errors
    /// After [`CacheError::Away`] the batch, with more at its end or not, may be flushed again; after [`CacheError::EpochLost`] a new epoch must begin.
    pub async fn flush(&mut self, batch: &CacheBatch) -> Result<(), CacheError> {
        self.settle().await?;
        let steps = batch.steps();
        let last = steps.len() - 1;
        for (index, entries) in steps.into_iter().enumerate() {
            let Some(Held { epoch, .. }) = self.held else { return Err(CacheError::EpochLost) };
            let upto = batch.upto().max(epoch.covered);
            let next = epoch.after_step(if index == last { upto } else { epoch.covered });
            self.step(epoch, next, entries, upto).await?;
        }
        Ok(())
    }

    /// One step: writes `entries` and notes `upto` in their slots.
    async fn step(
        &mut self,
        epoch: Epoch,
        next: Epoch,
        entries: Vec<u8>,
        upto: JournalSeq,
    ) -> Result<(), CacheError> {
        self.held = Some(Held { epoch, doubtful: Some(next) });
        let arguments = vec![
            bytes(&epoch.to_bytes()),
            bytes(&next.to_bytes()),
            bytes(self.keys.within(epoch.name).as_bytes()),
            Value::Bytes(entries.into()),
            bytes(&upto.0.to_be_bytes()),
            millis(self.entry_ttl),
            millis(EPOCH_TTL),
        ];
        let keys = vec![self.keys.epoch(), self.keys.changes(epoch.name)];
        let step = self.client().eval(STEP, keys, arguments).await;
        let made: bool = step.map_err(|error| self.connections.away(error))?;
        self.held = made.then_some(Held { epoch: next, doubtful: None });
        if made { Ok(()) } else { Err(CacheError::EpochLost) }
    }

    /// Finds out whether the last step was made, when its answer did not come.
    async fn settle(&mut self) -> Result<(), CacheError> {
        let Held { epoch, doubtful } = self.held.ok_or(CacheError::EpochLost)?;
        let Some(doubtful) = doubtful else { return Ok(()) };
        let asked = self.client().get(self.keys.epoch()).await;
        let stands: Option<Vec<u8>> = asked.map_err(|error| self.connections.away(error))?;
        let stands = stands.as_deref().and_then(Epoch::from_bytes);
        let known = stands.filter(|stands| *stands == epoch || *stands == doubtful);
        self.held = known.map(|epoch| Held { epoch, doubtful: None });
        if known.is_some() { Ok(()) } else { Err(CacheError::EpochLost) }
    }

    fn client(&self) -> &Client {
        self.connections.pool.next()
    }
}

/// An epoch of no meaning.
const UNBEGUN: Epoch =
    Epoch { claim: 0, covered: JournalSeq::NONE, began: JournalSeq::NONE, step: 0, name: 0 };

pub(super) fn bytes(bytes: &[u8]) -> Value {
    Value::Bytes(bytes.to_vec().into())
}

pub(super) fn number(number: u64) -> Value {
    number.to_string().into()
}

pub(super) fn millis(duration: Duration) -> Value {
    number((duration.as_millis() as u64).max(1))
}
