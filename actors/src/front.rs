//! The front: what a program that embeds the ledger holds, and what the HTTP edge is built on.

mod again;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use florin_engine::{
    Account, AccountId, AmountTextError, Command, CommandKey, Decided, DecidedKind, Decision,
    ExternalId, ItemOutcome, JournalSeq, LedgerId, Record, Rehearsed, Scale, Settlement, Timestamp,
    Transaction, Transfer, TransferId, TransferStatus, Unreadable, Verdict,
};
use florin_persistence::store::Store;
use uuid::Uuid;

use crate::cache_updates::CacheCondition;
use crate::commit::chain;
use crate::history::{HistoryError, PastTransfer};
use crate::open::Running;
use crate::shard::{LookAt, Seen};
use crate::write_behind::StoreCondition;

/// So many ids the shard looks at in one step.
const LOOK_MAX: usize = 512;

/// An open ledger. Cheap to clone; all clones are the same ledger.
///
/// Its methods are to be called within a tokio runtime. A future that is dropped does not undo its command: the outcome
/// stands, and asking again with the same id tells it.
#[derive(Clone)]
pub struct Florin {
    pub(crate) running: Arc<Running>,
}

/// Everything that an answer is made of, first answers and replays alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The position of the command, or that on which its rejection or replay depended.
    pub seq: JournalSeq,
    /// The moment of the command and of its item 0; item `i` has `timestamp + i`, unless it is imported with a moment of its own.
    pub timestamp: Timestamp,
    /// How many items the command had.
    pub items: u32,
    /// The items that were not created, by index in order; never [`ItemOutcome::Differs`] or [`ItemOutcome::Settled`].
    pub exceptions: Vec<(u32, ItemOutcome)>,
    /// What happened.
    pub record: Option<Record>,
    /// The account that the command changed beside transfers, as it left it: for [`Florin::in_words`]. None in a replay.
    pub account: Option<Box<Account>>,
    /// Whether this is the first answer or that of an earlier use of the key.
    pub replay: Replay,
}

/// Which answer this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// The command was decided now.
    First,
    /// The command's key was used before: this is the answer from then.
    ByKey,
}

/// Why a command was not answered with an outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// An amount that its ledger can not hold. Nothing was decided.
    #[error(transparent)]
    Unreadable(#[from] UnreadableAmount),
    /// A command with more in it than one record can hold. Nothing was decided.
    #[error("the command is larger than one journal record can be")]
    TooLarge,
    /// An external id that does not stand for the id beside it. Nothing was decided.
    #[error("an external id stands for another id than the one beside it")]
    WrongExternalId,
    /// Too much is in flight. Nothing was decided.
    #[error("too much is in flight")]
    Overloaded,
    /// There is no room that is surely writable. Nothing was decided.
    #[error("the journal has no room left")]
    StorageFull,
    /// The ledger takes no more commands. Nothing was decided.
    #[error("the ledger is stopping")]
    Stopping,
    /// The journal or the shard failed: the command may or may not have happened. The same id tells after a restart.
    #[error("the outcome is unknown")]
    OutcomeUnknown,
    /// The key was used before for something else. Nothing was decided.
    #[error("the idempotency key was used before for other content")]
    KeyReused,
    /// The answer depends on history that can not be read now. What was asked for happened before, or is refused: the same id tells later.
    #[error("history can not be read now: {0}")]
    HistoryAway(String),
    /// The answer depends on history that was lost with an earlier store. What was asked for happened before, or is refused.
    #[error("history was lost: {0}")]
    HistoryLost(String),
}

/// See [`Unreadable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {field} of item {index} {reason}")]
pub struct UnreadableAmount {
    /// Which item of the command.
    pub index: u32,
    /// Which field.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: AmountTextError,
}

/// Why something could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Too much is in flight.
    #[error("too much is in flight")]
    Overloaded,
    /// The ledger is stopping.
    #[error("the ledger is stopping")]
    Stopping,
    /// The ledger has failed.
    #[error("the ledger has failed")]
    Failed,
    /// It stands in the journal or the store, and neither can be read now.
    #[error("history can not be read now: {0}")]
    HistoryAway(String),
    /// It was decided, and what it was is lost with an earlier store.
    #[error("history was lost: {0}")]
    HistoryLost(String),
}

/// Something read, and the position that it depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct Read<T> {
    /// All records up to here were taken into account.
    pub seq: JournalSeq,
    /// What was read.
    pub value: T,
    /// Where it came from.
    pub source: Source,
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The shard's memory, or the journal.
    Memory,
    /// The cache in front of the store.
    Cache,
    /// The store.
    Store,
}

/// An account and its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundAccount {
    /// The account.
    pub account: Account,
    /// Its metadata, as JSON text.
    pub metadata: Option<Arc<str>>,
    /// The text that its id stands for, if it was created by one.
    pub external_id: Option<ExternalId>,
}

/// A transfer, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundTransfer {
    /// The transfer.
    pub transfer: Transfer,
    /// How it ended, if it was pending and is not open.
    pub settlement: Option<Settlement>,
    /// The transfer that reversed it.
    pub reversed_by: Option<TransferId>,
}

impl FoundTransfer {
    /// How it stands.
    #[must_use]
    pub fn status(&self) -> TransferStatus {
        TransferStatus::of(&self.transfer, self.settlement)
    }
}

/// A transaction and its legs, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundTransaction {
    /// The transaction.
    pub transaction: Transaction,
    /// Its legs.
    pub transfers: Vec<FoundTransfer>,
}

/// What an id was decided for.
struct LookedUp {
    seq: JournalSeq,
    decided: Option<JournalSeq>,
    /// What became of the transfer later.
    end: Option<Decided>,
}

/// How far everything is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// All records up to here are on disk.
    pub durable: JournalSeq,
    /// All records up to here are in the store.
    pub stored: JournalSeq,
    /// Entries of the cache are current as of here; [`JournalSeq::NONE`] without a cache.
    pub cached: JournalSeq,
    /// All ids up to here are in the index on disk.
    pub indexed: JournalSeq,
    /// The newest snapshot stands here.
    pub snapshot: JournalSeq,
    /// Bytes of frames written since the ledger was opened.
    pub journal_bytes: u64,
    /// Bytes of journal that the store does not have yet.
    pub backlog_bytes: u64,
    /// How long ago the oldest thing became durable that the store may not have yet.
    pub store_lag: Duration,
    /// Bytes of journal segments that are kept.
    pub journal_kept_bytes: u64,
    /// Bytes that can surely still be written.
    pub journal_room_bytes: u64,
    /// Events between admission and answer.
    pub events_in_flight: u64,
    /// Bytes between admission and answer.
    pub bytes_in_flight: u64,
    /// Ids and keys in memory because the index does not have them yet.
    pub ids_in_memory: u64,
    /// Accounts in memory.
    pub accounts: u64,
}

/// How the ledger is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It takes commands.
    Ready,
    /// It takes no commands until there is room on the disk or the store has caught up.
    StorageFull,
    /// It takes no more commands.
    Stopping,
    /// It has failed: the process must end and start again.
    Failed {
        /// Why.
        reason: String,
    },
}

impl Florin {
    /// Decides a command and answers when the outcome is durable.
    ///
    /// # Errors
    /// See [`SubmitError`]: only [`SubmitError::OutcomeUnknown`] leaves open whether the command happened.
    pub async fn submit(
        &self,
        command: Command,
        key: Option<CommandKey>,
    ) -> Result<Answer, SubmitError> {
        let answered = self.running.intake.submit(command, key)?;
        let released = answered.await.map_err(|_| SubmitError::OutcomeUnknown)?;
        let seq = released.seq;
        let verdict = released.outcome.map_err(unreadable)?;
        // What has to be read from history is rare and takes much room, which the way of a first answer should not carry.
        match verdict {
            Verdict::Decided(decision) if decision.asked.is_empty() => {
                let Decision { timestamp, items, exceptions, record, account, .. } = decision;
                let replay = Replay::First;
                Ok(Answer { seq, timestamp, items, exceptions, record, account, replay })
            }
            Verdict::Decided(decision) => Box::pin(self.answer_differing(seq, decision)).await,
            Verdict::Replay { seq, command } => Box::pin(self.answer_again(seq, &command)).await,
            Verdict::KeyReused { .. } => Err(SubmitError::KeyReused),
        }
    }

    /// What a command would come to, if it were decided now: nothing changes, and no id is used up. The answer's record is what would be
    /// journaled, and its position the one that it depends on.
    ///
    /// # Errors
    /// Those of [`Florin::submit`] that leave nothing open.
    pub async fn rehearse(&self, command: Command) -> Result<Answer, SubmitError> {
        let seen = self.running.intake.rehearse(command)?;
        let released = seen.await.map_err(|_| SubmitError::Stopping)?;
        let Seen::Rehearsed(rehearsed) = released.outcome else {
            unreachable!("a command was rehearsed")
        };
        let Rehearsed(decision) = rehearsed.map_err(unreadable)?;
        Box::pin(self.answer_differing(released.seq, decision)).await
    }

    /// The account with this id, as every acknowledged write left it.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn account(&self, id: AccountId) -> Result<Read<Option<FoundAccount>>, ReadError> {
        let (seq, seen) = self.look(LookAt::Account(id)).await?;
        let Seen::Account(account) = seen else { unreachable!("an account was looked at") };
        let Some(account) = account else {
            return Ok(Read { seq, value: None, source: Source::Memory });
        };
        let value = Some(self.in_words(*account).await?);
        Ok(Read { seq, value, source: Source::Memory })
    }

    /// An account as the ledger told it, with what is said of it in words at that moment.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn in_words(&self, account: Account) -> Result<FoundAccount, ReadError> {
        let words = self.running.history.account_words(&account).await.map_err(away)?;
        Ok(FoundAccount {
            account,
            metadata: words.metadata.map(|metadata| metadata.text),
            external_id: words.external_id,
        })
    }

    /// The accounts with these ids, in their order, all of one moment, as every acknowledged write left them.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn accounts(
        &self,
        ids: &[AccountId],
    ) -> Result<Read<Vec<Option<FoundAccount>>>, ReadError> {
        let (seq, seen) = self.look(LookAt::Accounts(ids.to_vec())).await?;
        let Seen::Accounts(accounts) = seen else { unreachable!("accounts were looked at") };
        let history = &self.running.history;
        let words = history.words_of(accounts.iter().flatten()).await.map_err(away)?;
        let found = |account: Account| {
            let words = words.get(&account.id).cloned().unwrap_or_default();
            FoundAccount {
                account,
                metadata: words.metadata.map(|metadata| metadata.text),
                external_id: words.external_id,
            }
        };
        let value = accounts.into_iter().map(|account| account.map(found)).collect();
        Ok(Read { seq, value, source: Source::Memory })
    }

    /// The transfers with these ids, in their order, if they were acknowledged, and what became of them.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn transfers(
        &self,
        ids: &[TransferId],
    ) -> Result<Read<Vec<Option<FoundTransfer>>>, ReadError> {
        let (mut seq, mut decided) = (JournalSeq::NONE, Vec::with_capacity(ids.len()));
        // Old ids are looked for on the disk, so the shard does something else in between. What a transfer is does not change meanwhile.
        for slice in ids.chunks(LOOK_MAX).chain(ids.is_empty().then_some(ids)) {
            let (at, seen) = self.look(LookAt::Ids(slice.to_vec())).await?;
            let Seen::Ids(seen) = seen else { unreachable!("ids were looked at") };
            seq = at;
            let is_transfer = |decided: &Decided| decided.kind == DecidedKind::Transfer;
            let seqs = seen.into_iter().map(|seen| seen.filter(is_transfer).map(|it| it.seq));
            decided.extend(slice.iter().zip(seqs).filter_map(|(id, seq)| Some((seq?, *id))));
        }
        let (transfers, source) = self.running.history.transfers(decided).await.map_err(away)?;
        let ids_found = transfers.iter().map(|found| found.transfer.id).collect();
        let (seq_of_ends, ends) = self.ends_of(ids_found).await?;
        let found = self.with_ends(transfers, ends).await?;
        let found: HashMap<_, _> =
            found.into_iter().map(|found| (found.transfer.id, found)).collect();
        // An id may be asked for twice.
        let value = ids.iter().map(|id| found.get(id).cloned()).collect();
        Ok(Read { seq: seq.max(seq_of_ends), value, source })
    }

    /// The metadata, as JSON text, that an account had just after the command at `seq`, which the store is waited for to cover.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn account_metadata_at(
        &self,
        id: AccountId,
        seq: JournalSeq,
        patience: Duration,
    ) -> Result<Option<Arc<str>>, ReadError> {
        if !self.wait_stored(seq, patience).await {
            return Err(ReadError::HistoryAway(format!("the store has not reached {}", seq.0)));
        }
        let found = self.running.history.store.account_words(id, seq).await;
        let found = found.map_err(|error| ReadError::HistoryAway(chain(&error)))?;
        Ok(found.value.metadata.map(|metadata| metadata.text))
    }

    /// The transfer with this id, if it was acknowledged, and what became of it.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn transfer(&self, id: TransferId) -> Result<Read<Option<FoundTransfer>>, ReadError> {
        let LookedUp { seq, decided, end } = self.decided(id).await?;
        let (found, source) = match decided {
            Some(at) => self.running.history.transfer(at, id).await.map_err(away)?,
            None => (None, Source::Memory),
        };
        let Some(found) = found else { return Ok(Read { seq, value: None, source }) };
        let mut found = self.with_ends(vec![found], vec![end]).await?;
        Ok(Read { seq, value: found.pop(), source })
    }

    /// The transaction with this id and its legs, if it was acknowledged.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn transaction(
        &self,
        id: TransferId,
    ) -> Result<Read<Option<FoundTransaction>>, ReadError> {
        let LookedUp { seq, decided, .. } = self.decided(id).await?;
        let (found, source) = match decided {
            Some(at) => self.running.history.transaction(at, id).await.map_err(away)?,
            None => (None, Source::Memory),
        };
        let Some((transaction, legs)) = found else {
            return Ok(Read { seq, value: None, source });
        };
        let ids = legs.iter().map(|leg| leg.transfer.id).collect();
        let (seq_of_ends, ends) = self.ends_of(ids).await?;
        let transfers = self.with_ends(legs, ends).await?;
        let value = Some(FoundTransaction { transaction, transfers });
        Ok(Read { seq: seq.max(seq_of_ends), value, source })
    }

    /// What became of these, as every acknowledged write left them.
    async fn ends_of(
        &self,
        ids: Vec<TransferId>,
    ) -> Result<(JournalSeq, Vec<Option<Decided>>), ReadError> {
        let (mut seq, mut ends) = (JournalSeq::NONE, Vec::with_capacity(ids.len()));
        for ids in ids.chunks(LOOK_MAX) {
            let (at, seen) = self.look(LookAt::Ends(ids.to_vec())).await?;
            let Seen::Ends(seen) = seen else { unreachable!("ends were looked at") };
            seq = at;
            ends.extend(seen);
        }
        Ok((seq, ends))
    }

    /// Adds what became of each, as every acknowledged write left it.
    async fn with_ends(
        &self,
        transfers: Vec<PastTransfer>,
        ends: Vec<Option<Decided>>,
    ) -> Result<Vec<FoundTransfer>, ReadError> {
        // Those of which only the position tells what reversed them, by that position.
        let mut reversed: BTreeMap<JournalSeq, Vec<usize>> = BTreeMap::new();
        let mut found = Vec::with_capacity(transfers.len());
        for (PastTransfer { transfer, reversed_by }, end) in transfers.into_iter().zip(ends) {
            let settlement = end.and_then(|end| end.kind.settlement());
            if let Some(Decided { seq, kind: DecidedKind::Reversed, .. }) = end
                && reversed_by.is_none()
            {
                reversed.entry(seq).or_default().push(found.len());
            }
            found.push(FoundTransfer { transfer, settlement, reversed_by });
        }
        for (seq, places) in reversed {
            let ids: Vec<_> = places.iter().map(|place| found[*place].transfer.id).collect();
            let reversals = self.running.history.reversals(seq, &ids).await.map_err(away)?;
            for (place, reversal) in places.into_iter().zip(reversals) {
                found[place].reversed_by = Some(reversal);
            }
        }
        Ok(found)
    }

    /// The identity of the data directory, which the names in the cache begin with.
    #[must_use]
    pub fn directory(&self) -> Uuid {
        self.running.directory
    }

    /// Digits after the point of a ledger that exists durably.
    #[must_use]
    pub fn scale(&self, ledger: LedgerId) -> Option<Scale> {
        self.running.shared.scale(ledger)
    }

    /// The SQL read model: lists, history and totals.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.running.store
    }

    /// Waits until the store covers `seq`; false when it did not within `patience`.
    pub async fn wait_stored(&self, seq: JournalSeq, patience: Duration) -> bool {
        let mut stored = self.running.shared.watch_stored();
        if *stored.borrow() >= seq {
            return true;
        }
        self.running.shared.demand_stored(seq);
        tokio::time::timeout(patience, stored.wait_for(|stored| *stored >= seq))
            .await
            .is_ok_and(|reached| reached.is_ok())
    }

    /// Waits until the cache covers `seq`; false when it did not within `patience`.
    pub async fn wait_cached(&self, seq: JournalSeq, patience: Duration) -> bool {
        let mut covered = self.running.cache_status.watch_covered();
        tokio::time::timeout(patience, covered.wait_for(|covered| *covered >= seq))
            .await
            .is_ok_and(|reached| reached.is_ok())
    }

    /// Waits until the journal is durable up to `seq`; false when it was not within `patience`.
    pub async fn wait_durable(&self, seq: JournalSeq, patience: Duration) -> bool {
        let mut durable = self.running.shared.watch_durable();
        tokio::time::timeout(patience, durable.wait_for(|durable| *durable >= seq))
            .await
            .is_ok_and(|reached| reached.is_ok())
    }

    /// How far everything is, as of now.
    #[must_use]
    pub fn positions(&self) -> Positions {
        self.running.positions()
    }

    /// How the ledger is, as of now.
    #[must_use]
    pub fn condition(&self) -> Condition {
        if let Some(reason) = self.running.shared.failure() {
            Condition::Failed { reason: reason.to_owned() }
        } else if self.running.intake.admission.is_closed() {
            Condition::Stopping
        } else if self.running.intake.is_storage_full() {
            Condition::StorageFull
        } else {
            Condition::Ready
        }
    }

    /// How the store is, as of now.
    #[must_use]
    pub fn store_condition(&self) -> StoreCondition {
        self.running.store_status.condition()
    }

    /// How the cache is, as of now.
    #[must_use]
    pub fn cache_condition(&self) -> CacheCondition {
        self.running.cache_status.condition()
    }

    /// Resolves with the reason when the ledger has failed; the process should then end with an error.
    pub async fn failed(&self) -> String {
        self.running.shared.failed().await
    }

    /// Brings the gauges among the metrics up to date.
    pub fn refresh_metrics(&self) {
        let positions = self.positions();
        crate::metrics::refresh(&positions);
        match self.cache_condition() {
            CacheCondition::Off => {}
            CacheCondition::Ok
            | CacheCondition::Away { .. }
            | CacheCondition::StandingBy { .. } => crate::metrics::cache_covered(positions.cached),
        }
    }

    /// Takes no more commands, answers what was accepted, seals the journal and stops the threads. Does not wait for the store:
    /// what it misses is in the journal.
    pub async fn stop(&self) {
        self.running.stop().await;
    }

    async fn look(&self, at: LookAt) -> Result<(JournalSeq, Seen), ReadError> {
        let answered = self.running.intake.look(at)?;
        let released = answered.await.map_err(|_| ReadError::Failed)?;
        Ok((released.seq, released.outcome))
    }

    async fn decided(&self, id: TransferId) -> Result<LookedUp, ReadError> {
        let (seq, seen) = self.look(LookAt::Id(id)).await?;
        let Seen::Id { decided, end } = seen else { unreachable!("an id was looked at") };
        Ok(LookedUp { seq, decided: decided.map(|decided| decided.seq), end })
    }
}

fn unreadable(Unreadable { index, field, reason }: Unreadable) -> SubmitError {
    SubmitError::Unreadable(UnreadableAmount { index, field, reason })
}

fn away(error: HistoryError) -> ReadError {
    match error {
        HistoryError::Lost { .. } => ReadError::HistoryLost(error.to_string()),
        _ => ReadError::HistoryAway(error.to_string()),
    }
}
