//! What can go wrong with a request, and how it is told: problem documents (RFC 9457).

use std::borrow::Cow;

use actix_web::http::StatusCode;
use florin_engine::{JournalSeq, LedgerId, Rejection, Scale, SignedAmount};
use serde::Serialize;
use utoipa::ToSchema;

use super::catalogue::{self, Code, Retry};
use super::exchange::Mode;
use super::wire::values::Id;
use crate::keys::AuthFailure;
use crate::telemetry::Refused;

/// What is wrong with one field, parameter or header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FaultCode {
    /// No such field.
    UnknownField,
    /// A needed field is not there.
    MissingField,
    /// The field stands twice.
    DuplicateField,
    /// No such query parameter.
    UnknownParameter,
    /// The query parameter stands twice.
    DuplicateParameter,
    /// Another type is needed.
    WrongType,
    /// The text is broken off or no JSON here.
    Malformed,
    /// The number or the count is outside its bounds.
    OutOfRange,
    /// Neither an integer, nor a decimal string, nor a hyphenated UUID, nor `ext:` and a text that can be an external id.
    NotAnId,
    /// More digits after the point than the ledger has.
    TooManyDigits,
    /// More than the largest amount.
    TooLarge,
    /// An amount has no sign.
    Signed,
    /// An amount has no exponent.
    Exponent,
    /// An amount has no white space.
    WhiteSpace,
    /// An amount is digits with at most one point between them.
    NotDigits,
    /// No such flag.
    UnknownFlag,
    /// The flag stands twice.
    DuplicateFlag,
    /// Not an RFC 3339 time from 1970 on.
    NotATime,
    /// Metadata nests deeper than 8 levels.
    TooDeep,
    /// The text is longer than it may be.
    TooLong,
    /// A key stands twice in one object of metadata.
    DuplicateKey,
    /// Not one of the words that are known here.
    InvalidValue,
}

/// One field that can not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Fault {
    /// The path of the field inside the body or event, or the name of the parameter or header.
    #[schema(value_type = String)]
    pub(crate) field: Cow<'static, str>,
    /// What is wrong with it.
    pub(crate) code: FaultCode,
    /// The same in words.
    #[schema(value_type = String)]
    pub(crate) detail: Cow<'static, str>,
}

impl Fault {
    /// The fault of `field`.
    pub(crate) fn new(
        field: impl Into<Cow<'static, str>>,
        code: FaultCode,
        detail: impl Into<Cow<'static, str>>,
    ) -> Fault {
        Fault { field: field.into(), code, detail: detail.into() }
    }
}

/// Why a request has no answer of its own.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// The body is no JSON.
    MalformedJson { fault: Fault, index: Option<u32> },
    /// A field can not be read.
    InvalidRequest { fault: Fault, index: Option<u32> },
    /// More events than one command may have.
    TooManyEvents { field: Option<&'static str>, events_max: usize },
    /// A query parameter or a part of the path can not be read.
    InvalidParameter(Fault),
    /// A header can not be read.
    InvalidHeader(Fault),
    /// The `Idempotency-Key` can not be read.
    InvalidIdempotencyKey { reason: &'static str },
    /// It is no HTTP/1.1.
    MalformedRequest,
    /// Nothing is at this path.
    RouteNotFound,
    /// No such account.
    AccountNotFound { id: u128, seq: JournalSeq },
    /// No such transfer.
    TransferNotFound { id: u128, seq: JournalSeq },
    /// No such transaction.
    TransactionNotFound { id: u128, seq: JournalSeq },
    /// No such ledger.
    LedgerNotFound { id: LedgerId, seq: JournalSeq },
    /// Its sender may not come in.
    AuthFailure(AuthFailure),
    /// The path has other methods.
    MethodNotAllowed,
    /// A reader was sent a command.
    ReadOnly,
    /// A writer was asked for history.
    WriteOnly,
    /// The writer can not be reached.
    WriterAway,
    /// The body did not arrive in time.
    RequestTimeout,
    /// The connection ended inside the body.
    BodyBrokenOff,
    /// The first use of the key still runs.
    RequestInProgress,
    /// A leg of a new transaction happened before.
    LegExists { id: u128, index: u32, seq: JournalSeq },
    /// The body is too large.
    BodyTooLarge { bytes_max: usize },
    /// More than one journal record holds.
    CommandTooLarge,
    /// The body is declared as nothing that is read here.
    UnsupportedMediaType,
    /// The rules refuse it.
    Rejected(Refusal),
    /// The key was used for something else.
    IdempotencyKeyReused,
    /// The head of the request is too large.
    HeadersTooLarge { bytes_max: usize },
    /// A bug.
    Internal,
    /// Too much is in flight.
    Overloaded,
    /// No room for more journal.
    StorageFull,
    /// The process is stopping.
    Stopping,
    /// Nobody can say yet what became of it.
    OutcomeUnknown { id: Option<u128> },
    /// The source does not cover `min_seq`.
    NotYet { asked: JournalSeq, reached: JournalSeq },
    /// The SQL store does not answer.
    StoreAway { id: Option<u128> },
    /// Too much would have to be looked through.
    OutOfReach,
    /// The first outcome can not be shown now.
    HistoryAway { id: Option<u128> },
    /// It was lost with an earlier store.
    HistoryLost { id: Option<u128> },
}

/// A refusal by the rules, with what it is about.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Why.
    pub(crate) rejection: Rejection,
    /// Digits after the point of the ledger that its figures are counted in.
    pub(crate) scale: Option<Scale>,
    /// The id that was asked for.
    pub(crate) id: Option<u128>,
    /// Which leg of a transaction broke it.
    pub(crate) index: Option<u32>,
    /// The position on which the refusal depended.
    pub(crate) seq: JournalSeq,
}

/// The figures behind a refusal, in major units.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Figures {
    /// What could be moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) available: Option<String>,
    /// What was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requested: Option<String>,
    /// Which of the conditions it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) condition: Option<u32>,
    /// What was found there: a version, or a sum in major units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) found: Option<String>,
}

impl Figures {
    /// The figures of a rejection, shown with the digits of its ledger.
    pub(crate) fn of(rejection: &Rejection, scale: Option<Scale>) -> Figures {
        let money = |sum: &SignedAmount| scale.map(|scale| sum.display(scale).to_string());
        match rejection {
            Rejection::ExceedsCredits { available, requested, .. }
            | Rejection::ExceedsDebits { available, requested, .. } => Figures {
                available: money(available),
                requested: money(requested),
                ..Figures::default()
            },
            Rejection::ConditionFailed { condition, found, ledger } => Figures {
                condition: Some(*condition),
                found: match ledger {
                    LedgerId(0) => Some(found.minor_units().to_string()),
                    _ => money(found),
                },
                ..Figures::default()
            },
            Rejection::ConditionAccountNotFound { condition } => {
                Figures { condition: Some(*condition), ..Figures::default() }
            }
            _ => Figures::default(),
        }
    }
}

/// The ledger that a rejection's figures are counted in.
pub(crate) fn ledger_of(rejection: &Rejection) -> Option<LedgerId> {
    match rejection {
        Rejection::ExceedsCredits { ledger, .. }
        | Rejection::ExceedsDebits { ledger, .. }
        | Rejection::ConditionFailed { ledger, .. } => Some(*ledger),
        _ => None,
    }
}

/// A problem document (RFC 9457) with Florin's members.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem<'a> {
    /// Where the code's page is: `/errors/{code}`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The code as words.
    pub(crate) title: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// What is the matter, in a sentence.
    #[schema(value_type = String)]
    pub(crate) detail: Cow<'a, str>,
    /// The path of the request.
    #[schema(value_type = String)]
    pub(crate) instance: &'a str,
    /// The stable name of the problem.
    #[schema(value_type = super::openapi::ErrorCode)]
    pub(crate) code: &'a str,
    /// The request's id, as in `X-Request-Id`.
    #[schema(value_type = String)]
    pub(crate) request_id: &'a str,
    /// What may be done about it.
    pub(crate) retry: Retry,
    /// The fields that can not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Fault>>)]
    pub(crate) errors: Option<&'a [Fault]>,
    /// Which event of a batch or leg of a transaction it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<u32>,
    /// The id that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Id>)]
    pub(crate) id: Option<Id>,
    /// What could be moved, in major units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) available: Option<String>,
    /// What was asked for, in major units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requested: Option<String>,
    /// Which of the conditions it is about, by its place among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) condition: Option<u32>,
    /// What was found where a condition does not hold: a version, or a sum in major units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) found: Option<String>,
    /// `true` where nothing would have been decided in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dry_run: Option<bool>,
}

/// Where the name of an error stands.
#[derive(Clone, Copy)]
enum Named {
    /// In the list of this crate.
    Here(Code),
    /// Among the engine's refusals by the rules.
    ByTheRules(Rejection),
}

/// A field of the body, which is one thing and no batch.
impl From<Fault> for ApiError {
    fn from(fault: Fault) -> ApiError {
        ApiError::InvalidRequest { fault, index: None }
    }
}

impl ApiError {
    /// This error, about this id where it is about one and does not say which.
    pub(crate) fn about(self, about: u128) -> ApiError {
        let id = Some(about);
        match self {
            ApiError::OutcomeUnknown { id: None } => ApiError::OutcomeUnknown { id },
            ApiError::StoreAway { id: None } => ApiError::StoreAway { id },
            ApiError::HistoryAway { id: None } => ApiError::HistoryAway { id },
            ApiError::HistoryLost { id: None } => ApiError::HistoryLost { id },
            error => error,
        }
    }

    fn named(&self) -> Named {
        Named::Here(match self {
            ApiError::MalformedJson { .. } | ApiError::BodyBrokenOff => Code::MalformedJson,
            ApiError::InvalidRequest { .. } => Code::InvalidRequest,
            ApiError::TooManyEvents { .. } => Code::TooManyEvents,
            ApiError::InvalidParameter(_) => Code::InvalidParameter,
            ApiError::InvalidHeader(_) => Code::InvalidHeader,
            ApiError::InvalidIdempotencyKey { .. } => Code::InvalidIdempotencyKey,
            ApiError::MalformedRequest => Code::MalformedRequest,
            ApiError::RouteNotFound => Code::RouteNotFound,
            ApiError::AccountNotFound { .. } => Code::AccountNotFound,
            ApiError::TransferNotFound { .. } => Code::TransferNotFound,
            ApiError::TransactionNotFound { .. } => Code::TransactionNotFound,
            ApiError::LedgerNotFound { id, .. } => {
                return Named::ByTheRules(Rejection::LedgerNotFound { ledger: *id });
            }
            ApiError::Rejected(refusal) => return Named::ByTheRules(refusal.rejection),
            ApiError::AuthFailure(failure) => match failure {
                AuthFailure::Missing => Code::Unauthorized,
                AuthFailure::Malformed
                | AuthFailure::Mistyped
                | AuthFailure::Unknown
                | AuthFailure::WrongSecret => Code::InvalidApiKey,
                AuthFailure::Scope { .. } => Code::Forbidden,
            },
            ApiError::MethodNotAllowed => Code::MethodNotAllowed,
            ApiError::ReadOnly => Code::ReadOnly,
            ApiError::WriteOnly => Code::WriteOnly,
            ApiError::WriterAway => Code::WriterAway,
            ApiError::RequestTimeout => Code::RequestTimeout,
            ApiError::RequestInProgress => Code::RequestInProgress,
            ApiError::LegExists { .. } => Code::Exists,
            ApiError::BodyTooLarge { .. } => Code::BodyTooLarge,
            ApiError::CommandTooLarge => Code::CommandTooLarge,
            ApiError::UnsupportedMediaType => Code::UnsupportedMediaType,
            ApiError::IdempotencyKeyReused => Code::IdempotencyKeyReused,
            ApiError::HeadersTooLarge { .. } => Code::HeadersTooLarge,
            ApiError::Internal => Code::InternalError,
            ApiError::Overloaded => Code::Overloaded,
            ApiError::StorageFull => Code::StorageFull,
            ApiError::Stopping => Code::Stopping,
            ApiError::OutcomeUnknown { .. } => Code::OutcomeUnknown,
            ApiError::NotYet { .. } => Code::NotYet,
            ApiError::StoreAway { .. } => Code::StoreAway,
            ApiError::OutOfReach => Code::OutOfReach,
            ApiError::HistoryAway { .. } => Code::HistoryAway,
            ApiError::HistoryLost { .. } => Code::HistoryLost,
        })
    }

    /// The stable name of the problem.
    pub(crate) fn code(&self) -> &'static str {
        match self.named() {
            Named::Here(code) => code.name(),
            Named::ByTheRules(rejection) => rejection.code(),
        }
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        match (self, self.named()) {
            // Reading a ledger that is not there shares only its name with the refusal of a transfer.
            (ApiError::LedgerNotFound { .. }, _) => StatusCode::NOT_FOUND,
            (_, Named::Here(code)) => code.status(),
            (_, Named::ByTheRules(rejection)) => catalogue::rejection_status(rejection),
        }
    }

    /// What the client may do.
    pub(crate) fn retry(&self, mode: Mode) -> Retry {
        match self.named() {
            Named::Here(code) => code.retry(),
            // What is only tried uses up no id: the same may go well later.
            Named::ByTheRules(rejection) if mode == Mode::DryRun && rejection.is_transient() => {
                Retry::After
            }
            Named::ByTheRules(rejection) => catalogue::rejection_retry(rejection.code()),
        }
    }

    /// Seconds after which a 503 is worth another try.
    pub(crate) fn retry_after_seconds(&self) -> Option<u32> {
        match self {
            ApiError::StorageFull => Some(10),
            ApiError::Stopping | ApiError::StoreAway { .. } | ApiError::HistoryAway { .. } => {
                Some(5)
            }
            _ if self.status() == StatusCode::SERVICE_UNAVAILABLE => Some(1),
            ApiError::RequestInProgress => Some(1),
            _ => None,
        }
    }

    /// Why the request was turned away, if nothing was done of it and it may come again as it is.
    pub(crate) fn refused(&self) -> Option<Refused> {
        match self {
            ApiError::Overloaded => Some(Refused::Overloaded),
            ApiError::StorageFull => Some(Refused::StorageFull),
            ApiError::Stopping => Some(Refused::Stopping),
            _ => None,
        }
    }

    /// The position on which the error depended, where it looked at any state.
    pub(crate) fn seq(&self) -> Option<JournalSeq> {
        match self {
            ApiError::AccountNotFound { seq, .. }
            | ApiError::TransferNotFound { seq, .. }
            | ApiError::TransactionNotFound { seq, .. }
            | ApiError::LedgerNotFound { seq, .. }
            | ApiError::LegExists { seq, .. } => Some(*seq),
            ApiError::Rejected(refusal) => Some(refusal.seq),
            ApiError::NotYet { reached, .. } => Some(*reached),
            _ => None,
        }
    }

    /// The problem document of this error, for the request with this id at this path and in this mode.
    pub(crate) fn problem<'a>(
        &'a self,
        instance: &'a str,
        request_id: &'a str,
        mode: Mode,
    ) -> Problem<'a> {
        let code = self.code();
        let figures = match self {
            ApiError::Rejected(refusal) => Figures::of(&refusal.rejection, refusal.scale),
            _ => Figures::default(),
        };
        Problem {
            kind: format!("/errors/{code}"),
            title: catalogue::title(code),
            status: self.status().as_u16(),
            detail: self.detail(),
            instance,
            code,
            request_id,
            retry: self.retry(mode),
            errors: self.fault().map(std::slice::from_ref),
            index: self.index(),
            id: self.id().map(Id),
            available: figures.available,
            requested: figures.requested,
            condition: figures.condition,
            found: figures.found,
            dry_run: mode.mark(),
        }
    }

    fn fault(&self) -> Option<&Fault> {
        match self {
            ApiError::MalformedJson { fault, .. } | ApiError::InvalidRequest { fault, .. } => {
                Some(fault)
            }
            ApiError::InvalidParameter(fault) | ApiError::InvalidHeader(fault) => Some(fault),
            _ => None,
        }
        // A text that is no JSON anywhere has no field to name.
        .filter(|fault| !fault.field.is_empty())
    }

    fn index(&self) -> Option<u32> {
        match self {
            ApiError::MalformedJson { index, .. } | ApiError::InvalidRequest { index, .. } => {
                *index
            }
            ApiError::Rejected(refusal) => refusal.index,
            ApiError::LegExists { index, .. } => Some(*index),
            _ => None,
        }
    }

    fn id(&self) -> Option<u128> {
        match self {
            ApiError::AccountNotFound { id, .. }
            | ApiError::TransferNotFound { id, .. }
            | ApiError::TransactionNotFound { id, .. }
            | ApiError::LegExists { id, .. } => Some(*id),
            ApiError::LedgerNotFound { id, .. } => Some(u128::from(id.0)),
            ApiError::Rejected(refusal) => refusal.id,
            ApiError::OutcomeUnknown { id }
            | ApiError::StoreAway { id }
            | ApiError::HistoryAway { id }
            | ApiError::HistoryLost { id } => *id,
            _ => None,
        }
    }

    fn detail(&self) -> Cow<'_, str> {
        match self {
            ApiError::MalformedJson { fault, .. } => fault.detail.as_ref().into(),
            ApiError::InvalidRequest { fault, .. }
            | ApiError::InvalidParameter(fault)
            | ApiError::InvalidHeader(fault) => format!("{} {}.", fault.field, fault.detail).into(),
            ApiError::TooManyEvents { field: None, events_max } => {
                format!("The batch has more than {events_max} events.").into()
            }
            ApiError::TooManyEvents { field: Some(field), events_max } => {
                format!("{field} has more than {events_max} entries.").into()
            }
            ApiError::InvalidIdempotencyKey { reason } => {
                format!("The Idempotency-Key {reason}.").into()
            }
            ApiError::AuthFailure(failure) => match failure {
                AuthFailure::Missing => Code::Unauthorized.meaning().into(),
                AuthFailure::Malformed => {
                    "The Authorization header is not `Bearer`, a space, and a key that begins with flk_ and has 68 characters.".into()
                }
                AuthFailure::Mistyped => {
                    "The key has a mistake in it: its checksum does not fit.".into()
                }
                // Which of the two it is helps only those who try.
                AuthFailure::Unknown | AuthFailure::WrongSecret => {
                    "The key is not known here, or no longer.".into()
                }
                AuthFailure::Scope { needs, has } => {
                    format!("This needs a key of scope {needs}; this one has {has}.").into()
                }
            },
            ApiError::BodyBrokenOff => "The connection ended inside the body.".into(),
            ApiError::BodyTooLarge { bytes_max } => {
                format!("The body is larger than {bytes_max} bytes.").into()
            }
            ApiError::HeadersTooLarge { bytes_max } => {
                format!("The head of the request is larger than {bytes_max} bytes.").into()
            }
            ApiError::NotYet { asked, reached } => {
                format!("Position {} was asked for; the source has reached {}.", asked.0, reached.0)
                    .into()
            }
            _ => match self.named() {
                Named::Here(code) => code.meaning().into(),
                Named::ByTheRules(rejection) => rejection.detail().into(),
            },
        }
    }
}
