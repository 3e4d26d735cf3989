//! Batches in their binary form: what `florin_wire` reads becomes the same command as its JSON, and the outcome its answer.
//!
//! A binary batch is answered in binary, whatever it accepts; what refuses it as a whole is a problem document as everywhere.

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderValue;
use florin_actors::Answer;
use florin_engine::{
    Amount, AmountInput, Command, CreateAccount, CreateTransfer, ItemOutcome, JournalSeq, KeyRule,
    LedgerId, Scale,
};
use florin_wire::{
    BatchFault, Event, EventFault, Exception, MEDIA_TYPE, Outcomes, Reason, Status, decode,
};
use rust_decimal::Decimal;

use super::answers::{Answers, broken, telling};
use super::batch::{Results, created};
use super::body::Bound;
use super::error::{ApiError, Fault, FaultCode};
use super::exchange::{Exchange, Mode, Reply};
use super::fingerprint::Fingerprint;
use super::submit::Subject;
use super::wire::input::Naming;
use super::wire::json::EVENTS_MAX;

const BINARY: HeaderValue = HeaderValue::from_static(MEDIA_TYPE);

/// An event of a binary batch.
pub(crate) trait BatchEvent: Event + Clone {
    /// The command that creates them.
    fn command(events: Vec<Self>) -> Command;
    /// The ledger that its amount is counted in, where it names one.
    fn ledger(&self) -> Option<LedgerId>;
    /// Its amount.
    fn amount(&mut self) -> &mut AmountInput;
    /// Adds it to what a key stands for.
    fn take_up(&self, fingerprint: &mut Fingerprint);
}

impl BatchEvent for CreateTransfer {
    fn command(events: Vec<CreateTransfer>) -> Command {
        Command::CreateTransfers(events)
    }

    fn ledger(&self) -> Option<LedgerId> {
        self.ledger
    }

    fn amount(&mut self) -> &mut AmountInput {
        &mut self.amount
    }

    fn take_up(&self, fingerprint: &mut Fingerprint) {
        fingerprint.transfer(self, Naming::Named);
    }
}

impl BatchEvent for CreateAccount {
    fn command(events: Vec<CreateAccount>) -> Command {
        Command::CreateAccounts(events)
    }

    fn ledger(&self) -> Option<LedgerId> {
        Some(self.ledger)
    }

    fn amount(&mut self) -> &mut AmountInput {
        &mut self.overdraft_limit
    }

    fn take_up(&self, fingerprint: &mut Fingerprint) {
        fingerprint.account(self);
    }
}

impl Exchange {
    /// Decides the binary batch in the body.
    pub(crate) async fn binary_batch<E: BatchEvent>(
        &mut self,
        results: Results,
    ) -> Result<Reply, ApiError> {
        if results == Results::All {
            let detail = "is all of a JSON answer; a binary one names every event that was not created in any case";
            let fault = Fault::new("results", FaultCode::InvalidValue, detail);
            return Err(ApiError::InvalidParameter(fault));
        }
        let body = self.body(Bound::Batch).await?;
        let events: Vec<E> = decode(&body, EVENTS_MAX).map_err(unreadable)?;
        // The body is not needed any more, and may be large.
        drop(body);
        let mut nameless = None;
        let key = self.key(KeyRule::Always, |fingerprint| {
            for (index, event) in (0_u32..).zip(&events) {
                match self.in_major_units(event) {
                    Some(event) => event.take_up(fingerprint),
                    None => nameless = nameless.or(Some(index)),
                }
            }
        })?;
        if nameless.is_some() {
            let detail = "must be named and there: beside an Idempotency-Key, amounts are compared by what they are worth";
            let fault = Fault::new("ledger", FaultCode::InvalidValue, detail);
            return Err(ApiError::InvalidRequest { fault, index: nameless });
        }
        if events.is_empty() {
            let seq = self.state.ledger.newest();
            let dry_run = self.mode == Mode::DryRun;
            return Ok(reply(&Outcomes { seq: seq.0, dry_run, ..Outcomes::default() }, seq));
        }
        let answer = self.submit(E::command(events), key, Subject::Batch).await?;
        self.answers().binary_batch(&answer)
    }

    /// The event as JSON says it, so that a key stands for the same content in both forms. Which digits stand after the point only
    /// its ledger knows: none where that is not named, or not there yet, as what the key stands for may not depend on the moment.
    fn in_major_units<E: BatchEvent>(&self, event: &E) -> Option<E> {
        let mut event = event.clone();
        let scale = event.ledger().and_then(|ledger| self.state.ledger.scale(ledger));
        let amount = event.amount();
        *amount = match *amount {
            // Nothing, and as much as possible, are said without digits.
            AmountInput::Minor(minor) if !minor.is_zero() && minor != Amount::MAX => {
                AmountInput::Major(major_units(minor, scale?)?)
            }
            amount => amount,
        };
        Some(event)
    }
}

fn major_units(minor: Amount, scale: Scale) -> Option<Decimal> {
    let minor_units = i128::try_from(minor.minor_units()).ok()?;
    Decimal::try_from_i128_with_scale(minor_units, u32::from(scale.digits())).ok()
}

impl Answers<'_> {
    /// The answer to a binary batch. The first one and its replay by key are made from the same record, so they are the same.
    fn binary_batch(self, answer: &Answer) -> Result<Reply, ApiError> {
        let exception = |(index, outcome): &(u32, ItemOutcome)| {
            let status = match outcome {
                ItemOutcome::Exists { timestamp, .. } => Status::Exists { timestamp: timestamp.0 },
                ItemOutcome::Rejected(rejection) => Status::Rejected(rejection.number()),
                ItemOutcome::Differs { .. } | ItemOutcome::Settled { .. } => {
                    return Err(broken("an unresolved difference"));
                }
            };
            Ok(Exception { index: *index, status })
        };
        let exceptions: Vec<Exception> =
            answer.exceptions.iter().map(exception).collect::<Result<_, ApiError>>()?;
        let events = answer.record.as_ref().map_or(&[][..], |record| &record.events);
        let moment = |found: Option<(u128, florin_engine::Timestamp)>| {
            found.map_or(0, |(_, timestamp)| timestamp.0)
        };
        let outcomes = Outcomes {
            events: answer.items,
            created: answer.items - exceptions.len() as u32,
            first_timestamp: moment(events.iter().find_map(created)),
            last_timestamp: moment(events.iter().rev().find_map(created)),
            seq: answer.seq.0,
            dry_run: self.mode == Mode::DryRun,
            exceptions,
        };
        self.count(answer, outcomes.created, outcomes.replayed());
        Ok(reply(&outcomes, answer.seq).told(telling(answer)))
    }
}

fn reply(outcomes: &Outcomes, seq: JournalSeq) -> Reply {
    Reply::of(StatusCode::OK, BINARY, outcomes.encode().into()).at(seq)
}

/// Says what can not be read: a part of the header, or a field of an event.
fn unreadable(fault: BatchFault) -> ApiError {
    let detail = fault.to_string();
    let (field, code) = match fault {
        BatchFault::TooMany { events_max } => {
            return ApiError::TooManyEvents { field: None, events_max };
        }
        BatchFault::Event { index, fault: EventFault { field, reason } } => {
            let code = match reason {
                Reason::UnknownFlag => FaultCode::UnknownFlag,
                Reason::TooLarge => FaultCode::TooLarge,
                Reason::OutOfRange => FaultCode::OutOfRange,
                Reason::NotZero => FaultCode::InvalidValue,
            };
            let fault = Fault::new(field, code, reason.to_string());
            return ApiError::InvalidRequest { fault, index: Some(index) };
        }
        BatchFault::Short { .. } | BatchFault::Magic | BatchFault::Length { .. } => {
            ("body", FaultCode::Malformed)
        }
        BatchFault::Version { .. } => ("version", FaultCode::InvalidValue),
        BatchFault::Kind { .. } => ("kind", FaultCode::InvalidValue),
        BatchFault::Reserved => ("reserved", FaultCode::InvalidValue),
    };
    Fault::new(field, code, detail).into()
}
