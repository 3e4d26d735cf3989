//! Handing a command to the ledger, and telling what can go wrong on the way.

use std::borrow::Cow;

use florin_actors::{Answer, ReadError, SubmitError, UnreadableAmount};
use florin_engine::{Command, CommandKey, Key, KeyRule, WHOLE_TRANSACTION};

use super::error::{ApiError, Fault, FaultCode};
use super::exchange::{Exchange, Mode, Stage};
use super::fingerprint::Fingerprint;
use super::key;
use super::query::Query;
use super::wire::values;

/// What a command is about, for telling what went wrong with it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject {
    /// One thing with this id.
    One(u128),
    /// The events of a batch.
    Batch,
    /// The legs of the transaction with this id.
    Transaction(u128),
}

impl Subject {
    fn id(self) -> Option<u128> {
        match self {
            Subject::One(id) | Subject::Transaction(id) => Some(id),
            Subject::Batch => None,
        }
    }
}

impl Exchange {
    /// Reads the whole query of a command that can be tried without deciding it: `dry_run`.
    pub(crate) fn read_mode(&mut self) -> Result<(), ApiError> {
        if !self.request.query_string().is_empty() {
            let mut query = self.query()?;
            let mode = self.mode_in(&mut query)?;
            query.finish()?;
            self.mode = mode;
        }
        Ok(())
    }

    /// Takes `dry_run` out of a query. A key has nothing to remember of what is not decided.
    pub(crate) fn mode_in(&self, query: &mut Query<'_>) -> Result<Mode, ApiError> {
        let words = [("false", Mode::Real), ("true", Mode::DryRun)];
        let mode = query.word("dry_run", &words)?.unwrap_or(Mode::Real);
        if mode == Mode::DryRun && key::hash_of(self.request.headers())?.is_some() {
            let detail = "can not be true beside an Idempotency-Key: nothing is decided that could be answered again";
            let fault = Fault::new("dry_run", FaultCode::InvalidValue, detail);
            return Err(ApiError::InvalidParameter(fault));
        }
        Ok(mode)
    }

    /// The request's idempotency key, with the fingerprint of what `content` takes up.
    pub(crate) fn key(
        &self,
        rule: KeyRule,
        content: impl FnOnce(&mut Fingerprint),
    ) -> Result<Option<CommandKey>, ApiError> {
        let Some(hash) = key::hash_of(self.request.headers())? else {
            return Ok(None);
        };
        let mut fingerprint =
            Fingerprint::of_route(self.request.method().as_str(), self.request.path());
        content(&mut fingerprint);
        let key = Key { hash, fingerprint: fingerprint.digest() };
        Ok(Some(CommandKey { key, rule }))
    }

    /// Hands a command to the ledger and waits until its outcome is durable.
    ///
    /// When the client goes away or time runs out, the outcome stands all the same, and the same id or key asks for it again.
    pub(crate) async fn submit(
        &mut self,
        command: Command,
        key: Option<CommandKey>,
        subject: Subject,
    ) -> Result<Answer, ApiError> {
        self.stage = Stage::Asking(subject.id());
        let _claim = key.map(|key| self.state.keys_in_flight.claim(key.key.hash)).transpose()?;
        let florin = self.state.ledger.owner().ok_or(ApiError::ReadOnly)?;
        let submitted = match self.mode {
            Mode::Real => florin.submit(command, key).await,
            Mode::DryRun => florin.rehearse(command).await,
        };
        submitted.map_err(|error| refused(&error, subject))
    }
}

fn refused(error: &SubmitError, subject: Subject) -> ApiError {
    match error {
        SubmitError::Unreadable(UnreadableAmount { index, field, reason }) => {
            let fault = values::amount_fault(*reason);
            let (field, index): (Cow<'static, str>, _) = match subject {
                Subject::One(_) => ((*field).into(), None),
                Subject::Batch => ((*field).into(), Some(*index)),
                Subject::Transaction(_) if *index == WHOLE_TRANSACTION => ((*field).into(), None),
                Subject::Transaction(_) => {
                    (format!("transfers[{index}].{field}").into(), Some(*index))
                }
            };
            let fault = Fault::new(field, fault.code, fault.detail);
            ApiError::InvalidRequest { fault, index }
        }
        SubmitError::TooLarge => ApiError::CommandTooLarge,
        SubmitError::WrongExternalId => {
            tracing::error!("an external id was decoded beside another id");
            ApiError::Internal
        }
        SubmitError::Overloaded => ApiError::Overloaded,
        SubmitError::StorageFull => ApiError::StorageFull,
        SubmitError::Stopping => ApiError::Stopping,
        SubmitError::OutcomeUnknown => ApiError::OutcomeUnknown { id: subject.id() },
        SubmitError::KeyReused => ApiError::IdempotencyKeyReused,
        SubmitError::HistoryAway(reason) => {
            tracing::warn!(%reason, "a first outcome stands in the store, which is away");
            ApiError::HistoryAway { id: subject.id() }
        }
        SubmitError::HistoryLost(_) => ApiError::HistoryLost { id: subject.id() },
    }
}

/// Tells why a read by id has no answer; [`ApiError::about`] adds which.
pub(crate) fn unread(error: &ReadError) -> ApiError {
    match error {
        ReadError::Overloaded => ApiError::Overloaded,
        ReadError::Stopping => ApiError::Stopping,
        // What was read may rest on what a crash undoes.
        ReadError::Failed => ApiError::OutcomeUnknown { id: None },
        ReadError::HistoryAway(reason) => {
            tracing::warn!(%reason, "history can not be read now");
            ApiError::StoreAway { id: None }
        }
        ReadError::HistoryLost(_) => ApiError::HistoryLost { id: None },
    }
}
