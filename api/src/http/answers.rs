//! From what the ledger answered to what the client is told.
//!
//! The first answer and its replay by `Idempotency-Key` are made here by the same functions from the same record, so they are
//! the same. A replay by id is another thing: it shows what was created, without the accounts of that moment.

use std::collections::HashMap;
use std::sync::Arc;

use actix_web::http::StatusCode;
use florin_actors::{Answer, FoundAccount, FoundTransaction, FoundTransfer, Replay};
use florin_engine::{
    Account, AccountAfter, AccountId, CreateLedger, Event, ItemOutcome, JournalSeq, LedgerId,
    MetadataReplaced, OpenAccount, Record, Rejection, Scale, Settlement, Timestamp, TransferId,
    TransferPosted, TransferStatus, WHOLE_TRANSACTION,
};

use super::error::{ApiError, Refusal, ledger_of};
use super::exchange::{Exchange, Mode, Reply, Telling};
use super::ledger::Ledger;
use super::wire::output as wire;
use super::wire::values::{Id, MoneyNumber, NumberId};
use crate::telemetry::OutcomeMetrics;

/// Where answers are made: what they need to know beside the outcome itself.
#[derive(Clone, Copy)]
pub(crate) struct Answers<'a> {
    /// The ledger, for scales and for what exists.
    pub(crate) ledger: &'a Ledger,
    /// Counts of what was decided.
    pub(crate) metrics: &'a OutcomeMetrics,
    /// Whether it was decided.
    pub(crate) mode: Mode,
}

/// What became of the one thing that a command was about.
enum Single<'a> {
    /// It was created, as this record says.
    Created(&'a Record),
    /// It exists already.
    Exists,
}

pub(crate) fn telling(answer: &Answer) -> Telling {
    match answer.replay {
        Replay::First => Telling::First,
        Replay::ByKey => Telling::Again,
    }
}

/// A ledger answered with something that it never does.
pub(crate) fn broken(what: &'static str) -> ApiError {
    tracing::error!(what, "the ledger's answer does not fit its command");
    ApiError::Internal
}

pub(crate) fn transfers(record: &Record) -> impl Iterator<Item = &TransferPosted> {
    record.events.iter().filter_map(|event| match event {
        Event::TransferPosted(posted) => Some(posted),
        _ => None,
    })
}

impl Exchange {
    /// Where this exchange's answers are made.
    pub(crate) fn answers(&self) -> Answers<'_> {
        let (ledger, metrics) = (&self.state.ledger, &self.state.outcomes);
        Answers { ledger, metrics, mode: self.mode }
    }
}

impl Answers<'_> {
    /// The scale of a ledger that something exists in.
    pub(crate) fn scale(self, ledger: LedgerId) -> Result<Scale, ApiError> {
        self.ledger.scale(ledger).ok_or_else(|| broken("a ledger without a scale"))
    }

    /// Whether what an answer tells was decided by it: what was told before, or only tried, is not counted.
    pub(crate) fn counts(self, answer: &Answer) -> bool {
        answer.replay == Replay::First && self.mode == Mode::Real
    }

    fn refusal(
        self,
        rejection: Rejection,
        id: Option<u128>,
        index: Option<u32>,
        answer: &Answer,
    ) -> ApiError {
        if self.counts(answer) {
            self.metrics.rejected(&rejection);
        }
        let scale = ledger_of(&rejection).and_then(|ledger| self.ledger.scale(ledger));
        // The refusal of the whole is about no leg.
        let index = index.filter(|index| *index != WHOLE_TRANSACTION);
        ApiError::Rejected(Refusal { rejection, scale, id, index, seq: answer.seq })
    }

    /// What became of the one thing with this id that the command was about.
    fn single<'a>(self, answer: &'a Answer, id: u128) -> Result<Single<'a>, ApiError> {
        let Some((index, outcome)) = answer.exceptions.first() else {
            let record = answer.record.as_ref().ok_or_else(|| broken("no record"))?;
            if self.counts(answer) {
                self.metrics.created(u64::from(answer.items));
            }
            return Ok(Single::Created(record));
        };
        match outcome {
            ItemOutcome::Exists { .. } => {
                if self.mode == Mode::Real {
                    self.metrics.replayed(1);
                }
                Ok(Single::Exists)
            }
            ItemOutcome::Rejected(rejection) => {
                Err(self.refusal(*rejection, Some(id), Some(*index), answer))
            }
            ItemOutcome::Differs { .. } | ItemOutcome::Settled { .. } => {
                Err(broken("an unresolved difference"))
            }
        }
    }

    /// The answer to a ledger.
    pub(crate) fn ledger(self, asked: &CreateLedger, answer: &Answer) -> Result<Reply, ApiError> {
        let id = asked.id;
        let location = located("/v1/ledgers/", u128::from(id.0));
        match self.single(answer, u128::from(id.0)).map_err(without_index)? {
            Single::Created(record) => {
                let created = record.events.iter().find_map(|event| match event {
                    Event::LedgerCreated(ledger) => Some(ledger),
                    _ => None,
                });
                let created = created.ok_or_else(|| broken("no ledger in the record"))?;
                let reply = Reply::json(StatusCode::CREATED, &wire::Ledger::of(created, None))?;
                Ok(reply.at(answer.seq).told(telling(answer)).located(location))
            }
            Single::Exists => {
                // A ledger never changes, so what was asked for is what is there.
                let timestamp = match answer.exceptions.first() {
                    Some((_, ItemOutcome::Exists { timestamp, .. })) => *timestamp,
                    _ => Timestamp::default(),
                };
                let ledger = florin_engine::Ledger {
                    id,
                    currency: asked.currency.clone(),
                    scale: asked.scale,
                    name: asked.name.clone(),
                    timestamp,
                };
                let reply = Reply::json(StatusCode::OK, &wire::Ledger::of(&ledger, None))?;
                Ok(reply.at(answer.seq).told(Telling::Again).located(location))
            }
        }
    }

    /// The answer to one account: as it begins, or as it is if it was there before.
    pub(crate) async fn account(self, id: AccountId, answer: &Answer) -> Result<Reply, ApiError> {
        let location = located("/v1/accounts/", id.0);
        match self.single(answer, id.0).map_err(without_index)? {
            Single::Created(record) => {
                let created = record.events.iter().find_map(|event| match event {
                    Event::AccountCreated(created) => Some(created),
                    _ => None,
                });
                let created = created.ok_or_else(|| broken("no account in the record"))?;
                let shown = wire::Account::created(created, self.scale(created.ledger)?);
                let reply = Reply::json(StatusCode::CREATED, &shown)?;
                Ok(reply.at(answer.seq).told(telling(answer)).located(location))
            }
            Single::Exists => {
                let read = self.ledger.account(id, None).await?;
                let found = read.value.ok_or_else(|| broken("an account that is not there"))?;
                let scale = self.scale(found.account.ledger)?;
                let shown = shown_account(&found, scale);
                let reply = Reply::json(StatusCode::OK, &shown)?;
                Ok(reply.at(answer.seq.max(read.seq)).told(Telling::Again).located(location))
            }
        }
    }

    /// The answer to what changed an account that was found `before`: as the command left it, and again the same. Of the first answer nothing has to be
    /// asked of the store.
    pub(crate) async fn changed_account(
        self,
        id: AccountId,
        before: Option<FoundAccount>,
        answer: &Answer,
    ) -> Result<Reply, ApiError> {
        let record = match answer.exceptions.first() {
            None => answer.record.as_ref().ok_or_else(|| broken("no record"))?,
            Some((_, ItemOutcome::Rejected(rejection))) => {
                return Err(self.refusal(*rejection, Some(id.0), None, answer));
            }
            Some(_) => return Err(broken("a change that exists")),
        };
        let replaced = record.events.iter().find_map(|event| match event {
            Event::MetadataReplaced(replaced) => Some(replaced),
            _ => None,
        });
        let found = match (&answer.account, before) {
            (Some(account), Some(before))
                if replaced.is_some() || account.metadata_seq == before.account.metadata_seq =>
            {
                Ok(FoundAccount { account: Account::clone(account), ..before })
            }
            // In between it was created, or its metadata was replaced, which the journal still has.
            (Some(account), _) => self.ledger.in_words(Account::clone(account)).await,
            (None, _) => self.changed_before(id, record, replaced, answer.seq).await,
        };
        let mut found = found.map_err(|error| first_outcome_away(error, id.0))?;
        if let Some(MetadataReplaced { metadata, .. }) = replaced {
            found.metadata = metadata.as_ref().map(|metadata| Arc::clone(&metadata.text));
        }
        let scale = self.scale(found.account.ledger)?;
        let shown = shown_account(&found, scale);
        Ok(Reply::json(StatusCode::OK, &shown)?.at(answer.seq).told(telling(answer)))
    }

    /// An account as the command at `seq` left it some time ago.
    async fn changed_before(
        self,
        id: AccountId,
        record: &Record,
        replaced: Option<&MetadataReplaced>,
        seq: JournalSeq,
    ) -> Result<FoundAccount, ApiError> {
        let found = self.ledger.account(id, None).await?.value;
        let FoundAccount { account, metadata, external_id } =
            found.ok_or_else(|| broken("a changed account that is not there"))?;
        let after = record.accounts.first().ok_or_else(|| broken("no account in the record"))?;
        let AccountAfter { flags, overdraft_limit, version, balances, .. } = *after;
        let metadata = match account.metadata_seq {
            // What it has now it had then, or the command itself tells.
            at if replaced.is_some()
                || account.version == version
                || (at != JournalSeq::NONE && at <= seq) =>
            {
                metadata
            }
            _ => self.ledger.account_metadata_at(id, seq).await?,
        };
        let account = Account { flags, overdraft_limit, version, balances, ..account };
        Ok(FoundAccount { account, metadata, external_id })
    }

    /// The answer to one transfer: with its accounts, or as it stands if it was there before.
    pub(crate) async fn transfer(self, id: TransferId, answer: &Answer) -> Result<Reply, ApiError> {
        match self.single(answer, id.0).map_err(without_index)? {
            Single::Created(record) => {
                let posted = transfers(record).next().ok_or_else(|| broken("no transfer"))?;
                let location = located("/v1/transfers/", posted.transfer.id.0);
                let shown = self.created(posted, None, record)?.marked(self.mode.mark());
                let reply = Reply::json(self.mode.created(), &shown)?;
                Ok(reply.at(answer.seq).told(telling(answer)).located_if(self.mode, location))
            }
            Single::Exists => {
                // Boxed, so that the way of a first answer does not carry the room that reading takes.
                let (found, seq) = Box::pin(self.first_transfer(id, answer)).await?;
                let shown = self.found_transfer(&found)?.marked(self.mode.mark());
                let reply = Reply::json(StatusCode::OK, &shown)?;
                let location = located("/v1/transfers/", id.0);
                Ok(reply.at(seq).told(Telling::Again).located(location))
            }
        }
    }

    /// The answer to the short form of a transfer, which shows only its id.
    pub(crate) fn short_transfer(self, id: TransferId, answer: &Answer) -> Result<Reply, ApiError> {
        let (status, id, telling) = match self.single(answer, id.0).map_err(without_index)? {
            Single::Created(record) => {
                let posted = transfers(record).next().ok_or_else(|| broken("no transfer"))?;
                (StatusCode::CREATED, posted.transfer.id, telling(answer))
            }
            Single::Exists => (StatusCode::OK, id, Telling::Again),
        };
        let shown = wire::ShortOutcome { txn_id: Id(id.0), status: wire::ShortStatus::Completed };
        let location = located("/v1/transfers/", id.0);
        Ok(Reply::json(status, &shown)?.at(answer.seq).told(telling).located(location))
    }

    /// The answer to the short form of an account with its opening balance.
    pub(crate) fn short_account(
        self,
        open: &OpenAccount,
        answer: &Answer,
    ) -> Result<Reply, ApiError> {
        let id = open.account.id;
        let (status, telling) = match self.single(answer, id.0).map_err(without_index)? {
            Single::Created(_) => (StatusCode::CREATED, telling(answer)),
            Single::Exists => (StatusCode::OK, Telling::Again),
        };
        let scale = self.scale(open.account.ledger)?;
        // The same content, so the same opening balance; the ledger has resolved it before.
        let balance =
            open.balance.resolve(scale).map_err(|_| broken("an opening balance without digits"))?;
        let shown = wire::ShortOpened {
            account_id: NumberId(id.0),
            balance: MoneyNumber(balance.display(scale)),
        };
        let location = located("/v1/accounts/", id.0);
        Ok(Reply::json(status, &shown)?.at(answer.seq).told(telling).located(location))
    }

    /// The answer to a transaction: with its legs' accounts, or as it stands if it was there before.
    pub(crate) async fn transaction(
        self,
        id: TransferId,
        answer: &Answer,
    ) -> Result<Reply, ApiError> {
        if let Some((index, ItemOutcome::Exists { .. })) = answer.exceptions.first()
            && *index != WHOLE_TRANSACTION
        {
            return Err(ApiError::LegExists { id: id.0, index: *index, seq: answer.seq });
        }
        match self.single(answer, id.0)? {
            Single::Created(record) => {
                let created = record.events.iter().find_map(|event| match event {
                    Event::TransactionCreated(transaction) => Some(transaction),
                    _ => None,
                });
                let created = created.ok_or_else(|| broken("no transaction in the record"))?;
                // A later leg may have settled an earlier one.
                let settled: HashMap<TransferId, Settlement> =
                    transfers(record).filter_map(|leg| leg.transfer.settles()).collect();
                let legs: Result<_, _> = transfers(record)
                    .map(|leg| self.created(leg, settled.get(&leg.transfer.id).copied(), record))
                    .collect();
                let shown = wire::Transaction::of(created, legs?);
                let shown = wire::Transaction { dry_run: self.mode.mark(), ..shown };
                let location = located("/v1/transactions/", created.id.0);
                let reply = Reply::json(self.mode.created(), &shown)?;
                Ok(reply.at(answer.seq).told(telling(answer)).located_if(self.mode, location))
            }
            Single::Exists => {
                let read = Box::pin(self.ledger.transaction(id)).await;
                let read = read.map_err(|error| first_outcome_away(error, id.0))?;
                let found = read.value.ok_or_else(|| broken("a transaction that is not there"))?;
                let shown = self.found_transaction(&found)?;
                let shown = wire::Transaction { dry_run: self.mode.mark(), ..shown };
                let reply = Reply::json(StatusCode::OK, &shown)?;
                let location = located("/v1/transactions/", id.0);
                Ok(reply.at(answer.seq.max(read.seq)).told(Telling::Again).located(location))
            }
        }
    }

    /// A transfer as it is read back.
    pub(crate) fn found_transfer(
        self,
        found: &FoundTransfer,
    ) -> Result<wire::Transfer<'_>, ApiError> {
        let transfer = &found.transfer;
        let shown = wire::Transfer::of(transfer, found.status(), self.scale(transfer.ledger)?);
        Ok(shown.reversed_by(found.reversed_by))
    }

    /// A transaction as it is read back.
    pub(crate) fn found_transaction<'f>(
        self,
        found: &'f FoundTransaction,
    ) -> Result<wire::Transaction<'f>, ApiError> {
        let legs = found.transfers.iter().map(|found| self.found_transfer(found));
        Ok(wire::Transaction::of(&found.transaction, legs.collect::<Result<_, ApiError>>()?))
    }

    async fn first_transfer(
        self,
        id: TransferId,
        answer: &Answer,
    ) -> Result<(FoundTransfer, JournalSeq), ApiError> {
        let read = self.ledger.transfer(id).await;
        let read = read.map_err(|error| first_outcome_away(error, id.0))?;
        let transfer = read.value.ok_or_else(|| broken("a transfer that is not there"))?;
        Ok((transfer, answer.seq.max(read.seq)))
    }

    /// A transfer as its record tells it, with its accounts as of just after the command, which may have settled it too.
    fn created<'a>(
        self,
        posted: &'a TransferPosted,
        settlement: Option<Settlement>,
        record: &Record,
    ) -> Result<wire::Transfer<'a>, ApiError> {
        let scale = self.scale(posted.transfer.ledger)?;
        let after = |index: u32| record.accounts.get(index as usize);
        let transfer = &posted.transfer;
        let status = TransferStatus::of(transfer, settlement);
        Ok(wire::Transfer::of(transfer, status, scale).with_accounts(
            after(posted.debit_account),
            after(posted.credit_account),
            scale,
        ))
    }
}

/// An account as it is read back.
pub(crate) fn shown_account(found: &FoundAccount, scale: Scale) -> wire::Account<'_> {
    let FoundAccount { account, metadata, external_id } = found;
    wire::Account::of(account, metadata.as_deref(), external_id.as_ref(), scale)
}

/// Where what has this id can be read.
fn located(path: &str, id: u128) -> String {
    Id(id).with_text(|id| [path, id].concat())
}

/// One thing alone has no index to tell.
fn without_index(error: ApiError) -> ApiError {
    match error {
        ApiError::Rejected(refusal) => ApiError::Rejected(Refusal { index: None, ..refusal }),
        error => error,
    }
}

/// The id was decided before; nothing is decided twice only because its outcome can not be shown now.
fn first_outcome_away(error: ApiError, id: u128) -> ApiError {
    match error {
        ApiError::StoreAway { .. } => ApiError::HistoryAway { id: Some(id) },
        error => error,
    }
}
