//! What is asked and answered: the subset of Florin's HTTP contract that a benchmark needs, with the same names and texts.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use florin_engine::{AmountInput, Scale, SignedAmount};
use jiff::Timestamp;
use serde::de::{self, Deserializer, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Digits after the point of the one ledger that there is.
const SCALE: u8 = 2;

/// An id: in as a JSON integer, a decimal string or a hyphenated UUID; out as a decimal string below 2^64, else as a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id(pub(crate) Uuid);

impl Id {
    /// Reads it from a path or a string.
    pub(crate) fn parse(text: &str) -> Option<Id> {
        if text.len() == 36 {
            return Uuid::try_parse(text).ok().map(Id);
        }
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok().map(|id| Id(Uuid::from_u128(id)))).flatten()
    }

    /// Whether the contract lets something be named so.
    pub(crate) fn fault(self) -> Option<&'static str> {
        match self.0.as_u128() {
            0 => Some("must_not_be_zero"),
            u128::MAX => Some("must_not_be_int_max"),
            _ => None,
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match u64::try_from(self.0.as_u128()) {
            Ok(id) => write!(f, "{id}"),
            Err(_) => write!(f, "{}", self.0.hyphenated()),
        }
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Id;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer, a decimal string or a hyphenated UUID")
            }
            fn visit_u64<E: de::Error>(self, id: u64) -> Result<Id, E> {
                Ok(Id(Uuid::from_u128(u128::from(id))))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Id, E> {
                Id::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// An amount in minor units: in and out as a decimal string of major units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Minor(pub(crate) i64);

fn scale() -> Scale {
    Scale::try_new(SCALE).expect("a scale of two digits is one")
}

impl Serialize for Minor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        SignedAmount::new(i128::from(self.0))
            .display(scale())
            .with_text(|text| serializer.serialize_str(text))
    }
}

impl<'de> Deserialize<'de> for Minor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Minor, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Minor;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount as a string of major units")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Minor, E> {
                let amount = AmountInput::parse(text).and_then(|amount| amount.resolve(scale()));
                let minor = amount.map_err(E::custom)?.minor_units();
                i64::try_from(minor).map(Minor).map_err(|_| E::custom("is more than fits here"))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// A transfer that is asked for.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTransfer {
    id: Option<Id>,
    pub(crate) debit_account_id: Id,
    pub(crate) credit_account_id: Id,
    pub(crate) amount: Minor,
}

impl NewTransfer {
    /// The id that it names, else one of its own from now on.
    pub(crate) fn named(&mut self) -> Id {
        *self.id.get_or_insert_with(|| Id(Uuid::now_v7()))
    }

    /// What is wrong with it whatever the ledger holds: a code, in the contract's order.
    pub(crate) fn fault(&self) -> Option<String> {
        let ids = [
            ("id", self.id),
            ("debit_account_id", Some(self.debit_account_id)),
            ("credit_account_id", Some(self.credit_account_id)),
        ];
        let fault = ids.iter().find_map(|(name, id)| Some((name, (*id)?.fault()?)));
        match fault {
            Some((name, fault)) => Some(format!("{name}_{fault}")),
            None if self.debit_account_id == self.credit_account_id => {
                Some("accounts_must_be_different".to_owned())
            }
            None => None,
        }
    }
}

/// What limits an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Flag {
    DebitsMustNotExceedCredits,
}

/// An account that is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAccount {
    pub(crate) id: Id,
    #[serde(default)]
    pub(crate) flags: Vec<Flag>,
}

/// A moment, to the microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) i64);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = Timestamp::from_microsecond(self.0).map_err(serde::ser::Error::custom)?;
        serializer.collect_str(&format_args!("{time:.9}"))
    }
}

/// One side of a transfer as of just after it.
#[derive(Debug, Serialize)]
pub(crate) struct AccountMoment {
    pub(crate) id: Id,
    pub(crate) balance: Minor,
    pub(crate) available: Minor,
    pub(crate) version: i64,
}

/// A transfer, with every field that Florin shows.
#[derive(Debug, Serialize)]
pub(crate) struct Transfer {
    pub(crate) id: Id,
    debit_account_id: Id,
    credit_account_id: Id,
    amount: Minor,
    ledger: u32,
    code: u16,
    flags: [Flag; 0],
    pending_id: Option<Id>,
    timeout: u32,
    user_data_128: &'static str,
    user_data_64: &'static str,
    user_data_32: u32,
    effective_at: Option<Moment>,
    metadata: Nothing,
    status: &'static str,
    timestamp: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    debit_account: Option<AccountMoment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credit_account: Option<AccountMoment>,
}

#[derive(Debug, Serialize)]
struct Nothing {}

impl Transfer {
    /// What was asked for, as it happened, with its accounts if it happened just now.
    pub(crate) fn of(
        id: Id,
        asked: &NewTransfer,
        timestamp: Moment,
        accounts: Option<[AccountMoment; 2]>,
    ) -> Transfer {
        let [debit_account, credit_account] = accounts.map_or([None, None], |both| both.map(Some));
        Transfer {
            id,
            debit_account_id: asked.debit_account_id,
            credit_account_id: asked.credit_account_id,
            amount: asked.amount,
            ledger: 1,
            code: 1,
            flags: [],
            pending_id: None,
            timeout: 0,
            user_data_128: "0",
            user_data_64: "0",
            user_data_32: 0,
            effective_at: None,
            metadata: Nothing {},
            status: "posted",
            timestamp,
            debit_account,
            credit_account,
        }
    }
}

/// An account, with every field that Florin shows.
#[derive(Debug, Serialize)]
pub(crate) struct Account {
    id: Id,
    ledger: u32,
    code: u16,
    flags: Vec<Flag>,
    debits_pending: Minor,
    debits_posted: Minor,
    credits_pending: Minor,
    credits_posted: Minor,
    balance: Minor,
    available: Minor,
    overdraft_limit: Minor,
    version: i64,
    user_data_128: &'static str,
    user_data_64: &'static str,
    user_data_32: u32,
    metadata: Nothing,
    timestamp: Moment,
}

/// An account's row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AccountRow {
    pub(crate) id: Id,
    pub(crate) debits_limited: bool,
    pub(crate) debits_posted: i64,
    pub(crate) credits_posted: i64,
    pub(crate) version: i64,
    pub(crate) created_at: Moment,
}

impl AccountRow {
    /// What it holds.
    pub(crate) fn balance(&self) -> Minor {
        Minor(self.credits_posted - self.debits_posted)
    }
}

impl From<AccountRow> for Account {
    fn from(row: AccountRow) -> Account {
        let limit = row.debits_limited.then_some(Flag::DebitsMustNotExceedCredits);
        Account {
            id: row.id,
            ledger: 1,
            code: 1,
            flags: limit.into_iter().collect(),
            debits_pending: Minor(0),
            debits_posted: Minor(row.debits_posted),
            credits_pending: Minor(0),
            credits_posted: Minor(row.credits_posted),
            balance: row.balance(),
            available: row.balance(),
            overdraft_limit: Minor(0),
            version: row.version,
            user_data_128: "0",
            user_data_64: "0",
            user_data_32: 0,
            metadata: Nothing {},
            timestamp: row.created_at,
        }
    }
}

/// What became of a batch.
#[derive(Debug, Default, Serialize)]
pub(crate) struct BatchSummary {
    pub(crate) created: u32,
    pub(crate) replayed: u32,
    pub(crate) rejected: Vec<RejectedItem>,
    pub(crate) first_timestamp: Option<Moment>,
    pub(crate) last_timestamp: Option<Moment>,
}

/// One that was refused.
#[derive(Debug, Serialize)]
pub(crate) struct RejectedItem {
    pub(crate) index: usize,
    pub(crate) id: Id,
    pub(crate) code: String,
    pub(crate) detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) available: Option<Minor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requested: Option<Minor>,
}

/// What the rules say against something.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    /// What was available and what was asked for.
    pub(crate) figures: Option<[Minor; 2]>,
}

impl From<&str> for Refusal {
    fn from(code: &str) -> Refusal {
        Refusal { code: code.to_owned(), figures: None }
    }
}

/// Why a request has no answer of its own; told as a problem document.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It can not be read.
    Unreadable(String),
    /// More than a batch may have.
    TooManyEvents,
    /// No such account.
    NotFound(Id),
    /// The rules refuse it.
    Rule { id: Id, refusal: Refusal },
    /// The database gave no answer, so nobody knows.
    Unknown(sqlx::Error),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Unreadable(detail) => f.write_str(detail),
            Refused::TooManyEvents => f.write_str("a batch has at most 8190 events"),
            Refused::NotFound(id) => write!(f, "there is no account {id}"),
            Refused::Rule { refusal, .. } => f.write_str(&refusal.code.replace('_', " ")),
            Refused::Unknown(error) => write!(f, "the database gave no answer: {error}"),
        }
    }
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Refused {
        Refused::Unknown(error)
    }
}

impl Refused {
    /// The stable name of the problem.
    pub(crate) fn code(&self) -> &str {
        match self {
            Refused::Unreadable(_) => "invalid_request",
            Refused::TooManyEvents => "too_many_events",
            Refused::NotFound(_) => "account_not_found",
            Refused::Rule { refusal, .. } => &refusal.code,
            Refused::Unknown(_) => "outcome_unknown",
        }
    }
}

#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: String,
    status: u16,
    detail: String,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    available: Option<Minor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requested: Option<Minor>,
}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        match self {
            Refused::Unreadable(_) | Refused::TooManyEvents => StatusCode::BAD_REQUEST,
            Refused::NotFound(_) => StatusCode::NOT_FOUND,
            Refused::Rule { refusal, .. } if refusal.code.starts_with("exists_with_different") => {
                StatusCode::CONFLICT
            }
            Refused::Rule { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Refused::Unknown(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let (id, figures) = match self {
            Refused::Rule { id, refusal } => (Some(*id), refusal.figures),
            Refused::NotFound(id) => (Some(*id), None),
            _ => (None, None),
        };
        let [available, requested] = figures.map_or([None, None], |both| both.map(Some));
        let (status, code) = (self.status_code(), self.code());
        let mut answer = HttpResponse::build(status);
        answer.insert_header((header::CONTENT_TYPE, "application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            answer.insert_header((header::RETRY_AFTER, "1"));
        }
        let (title, detail) = (code.replace('_', " "), self.to_string());
        let status = status.as_u16();
        let problem = Problem {
            r#type: "about:blank",
            title,
            status,
            detail,
            code,
            id,
            available,
            requested,
        };
        answer.body(serde_json::to_string(&problem).expect("a problem can be written"))
    }
}

/// A body that is no JSON of the right kind.
pub(crate) fn unreadable(
    error: actix_web::error::JsonPayloadError,
    _request: &HttpRequest,
) -> actix_web::Error {
    Refused::Unreadable(error.to_string()).into()
}
