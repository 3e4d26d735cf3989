//! Many things in one request: how each is written, and what the answer says of each.

use std::borrow::Cow;

use bytes::Bytes;
use florin_engine::{AccountId, Amount, JournalSeq, LedgerId, Rejection, Scale, Timestamp};
use florin_wire::{BatchWriter, EVENT_BYTES, Event, MEDIA_TYPE, Outcomes, Status};
use http::Method;
use http::header::HeaderValue;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Refusal};
use crate::settings::Form;
use crate::transport::{Answer, Ask, JSON, Purpose};

const BINARY: HeaderValue = HeaderValue::from_static(MEDIA_TYPE);

/// Something was created, now or by an earlier request with its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Created<Id> {
    /// Its name.
    pub id: Id,
    /// When it was decided: unique, and increasing in the order of decisions.
    pub timestamp: Timestamp,
    /// It had been created before: by an earlier call, or by an earlier try of this one whose answer was lost.
    pub replayed: bool,
    /// The position that this depends on: reads with it, or a later one, show it.
    pub seq: JournalSeq,
}

/// What became of one thing of a batch.
pub(crate) type Outcome<Id> = Result<Created<Id>, Refusal>;

/// What can stand in a batch.
pub(crate) trait Item {
    type Id: Copy;
    type Event: Event;
    const PATH: &'static str;

    fn id(&self) -> Self::Id;
    /// Its own moment, if it is imported.
    fn imported(&self) -> Option<Timestamp>;
    /// What it is in binary, if it fits.
    fn event(&self) -> Option<Self::Event>;
    /// The ledger whose digits its amount needs as JSON, if it needs any.
    fn in_digits_of(&self) -> Option<LedgerId>;
    /// An account that should be of this ledger.
    fn account(&self) -> Option<AccountId>;
    /// Writes it as JSON, its amount in the digits of this scale.
    fn write_json(&self, scale: Option<Scale>, body: &mut Vec<u8>) -> Result<(), Error>;
}

/// A thing as it is sent.
#[derive(Clone, Debug)]
pub(crate) enum Written {
    Binary([u8; EVENT_BYTES]),
    Json(Vec<u8>),
}

impl Written {
    /// The binary form of a thing, if it has one.
    pub(crate) fn binary<I: Item>(item: &I) -> Option<Written> {
        item.event()?.to_bytes().ok().map(Written::Binary)
    }

    /// The JSON of a thing.
    pub(crate) fn json<I: Item>(item: &I, scale: Option<Scale>) -> Result<Written, Error> {
        let mut text = Vec::with_capacity(256);
        item.write_json(scale, &mut text)?;
        Ok(Written::Json(text))
    }

    pub(crate) fn form(&self) -> Form {
        match self {
            Written::Binary(_) => Form::Binary,
            Written::Json(_) => Form::Json,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Written::Binary(bytes) => bytes.len(),
            Written::Json(text) => text.len(),
        }
    }
}

/// The request with these things, all in the form of the first.
pub(crate) fn ask<'a, I: Item>(
    written: impl ExactSizeIterator<Item = &'a Written> + Clone,
) -> (Form, Ask) {
    let form = written.clone().next().map_or(Form::Binary, Written::form);
    let (path, kind, body) = match form {
        Form::Binary => {
            let mut writer = BatchWriter::<I::Event>::with_capacity(written.len());
            for written in written {
                if let Written::Binary(bytes) = written {
                    writer.push_bytes(bytes);
                }
            }
            (I::PATH.to_owned(), BINARY, writer.finish())
        }
        Form::Json => {
            let bytes: usize = written.clone().map(|written| written.bytes() + 1).sum();
            let mut body = Vec::with_capacity(bytes + 2);
            body.push(b'[');
            for written in written {
                if let Written::Json(text) = written {
                    body.extend_from_slice(text);
                    body.push(b',');
                }
            }
            body.pop();
            body.push(b']');
            (format!("{}?results=all", I::PATH), JSON, body)
        }
    };
    let body = Bytes::from(body);
    (form, Ask { method: Method::POST, path, kind: Some(kind), body, purpose: Purpose::Command })
}

/// What the answer says of things with these names and moments of their own, in their order.
///
/// # Errors
/// The answer is none to this batch.
pub(crate) fn outcomes<Id: Copy>(
    form: Form,
    answer: &Answer,
    sent: impl ExactSizeIterator<Item = (Id, Option<Timestamp>)>,
) -> Result<Vec<Outcome<Id>>, String> {
    match form {
        Form::Binary => binary_outcomes(answer, sent).map_err(|fault| fault.to_string()),
        Form::Json => json_outcomes(answer, sent),
    }
}

fn binary_outcomes<Id: Copy>(
    answer: &Answer,
    sent: impl ExactSizeIterator<Item = (Id, Option<Timestamp>)>,
) -> Result<Vec<Outcome<Id>>, florin_wire::OutcomesFault> {
    let found = Outcomes::decode(&answer.body, sent.len() as u32)?;
    let seq = JournalSeq(found.seq);
    let mut exceptions = found.exceptions.iter().peekable();
    let mut first = None;
    let outcome = |(index, (id, imported)): (u32, (Id, Option<Timestamp>))| {
        let exception = exceptions.next_if(|exception| exception.index == index);
        let (timestamp, replayed) = match exception.map(|exception| exception.status) {
            None => {
                // Each event is a nanosecond later than the one before it.
                let later = index - *first.get_or_insert(index);
                let decided = Timestamp(found.first_timestamp).plus(u64::from(later));
                (imported.unwrap_or(decided), false)
            }
            Some(Status::Exists { timestamp }) => (Timestamp(timestamp), true),
            Some(Status::Rejected(number)) => return Err(Refusal::numbered(number)),
        };
        Ok(Created { id, timestamp, replayed, seq })
    };
    Ok((0..).zip(sent).map(outcome).collect())
}

/// As much of the answer to a JSON batch as is looked at.
#[derive(Deserialize)]
struct Summary {
    rejected: Vec<Rejected>,
    results: Vec<ItemResult>,
}

#[derive(Deserialize)]
struct Rejected {
    index: u32,
    detail: String,
}

#[derive(Deserialize)]
struct ItemResult {
    index: u32,
    status: String,
    timestamp: Option<String>,
}

fn json_outcomes<Id: Copy>(
    answer: &Answer,
    sent: impl ExactSizeIterator<Item = (Id, Option<Timestamp>)>,
) -> Result<Vec<Outcome<Id>>, String> {
    let summary: Summary =
        serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    if summary.results.len() != sent.len() {
        return Err(format!("it tells of {} of {}", summary.results.len(), sent.len()));
    }
    let mut rejected = summary.rejected.into_iter().peekable();
    let mut outcomes = Vec::with_capacity(sent.len());
    for (at, (result, (id, _))) in (0_u32..).zip(summary.results.into_iter().zip(sent)) {
        if result.index != at {
            return Err(format!("{} stands at {at}", result.index));
        }
        let replayed = match result.status.as_str() {
            "created" => false,
            "exists" => true,
            _ => {
                let told = rejected.next_if(|rejected| rejected.index == at);
                let detail = told.ok_or_else(|| format!("{at} has no reason"))?.detail;
                let code = Cow::Owned(result.status);
                outcomes.push(Err(Refusal { code, detail: Cow::Owned(detail), index: None }));
                continue;
            }
        };
        let time = result.timestamp.ok_or_else(|| format!("{at} has no timestamp"))?;
        let timestamp = timestamp(&time).ok_or_else(|| format!("{time} is no time"))?;
        outcomes.push(Ok(Created { id, timestamp, replayed, seq: answer.seq }));
    }
    Ok(outcomes)
}

impl Refusal {
    /// The refusal by the rules that has this number in a binary answer.
    fn numbered(number: u16) -> Refusal {
        let (code, detail) = match Rejection::named(number) {
            Some((code, detail)) => (Cow::Borrowed(code), detail),
            None => (format!("status_{number}").into(), "A reason that is newer than this client."),
        };
        Refusal { code, detail: detail.into(), index: None }
    }
}

/// An amount as JSON has it.
pub(crate) fn money(amount: Amount, scale: Option<Scale>) -> Result<String, Error> {
    if amount.is_zero() {
        return Ok("0".to_owned());
    }
    if amount == Amount::MAX {
        return Ok("max".to_owned());
    }
    let why = "as JSON its amount has digits after the point, so it must name its ledger";
    Ok(amount.display(scale.ok_or(Error::Unsendable { why })?).to_string())
}

/// A moment as JSON has it.
pub(crate) fn rfc3339(timestamp: Timestamp) -> Result<String, Error> {
    let time = jiff::Timestamp::from_nanosecond(i128::from(timestamp.0));
    let time = time.map_err(|_| Error::Unsendable { why: "a time of it is too late" })?;
    Ok(time.to_string())
}

/// A moment in an answer.
pub(crate) fn timestamp(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(time.as_nanosecond()).ok().map(Timestamp)
}

/// The names of the flags that are set.
pub(crate) fn flag_names<F: Copy>(
    names: &[(F, &'static str)],
    is_set: impl Fn(F) -> bool,
) -> Vec<&'static str> {
    names.iter().filter(|(flag, _)| is_set(*flag)).map(|(_, name)| *name).collect()
}

pub(crate) fn write_json(json: &impl Serialize, body: &mut Vec<u8>) -> Result<(), Error> {
    let written = serde_json::to_writer(body, json);
    written.map_err(|_| Error::Unsendable { why: "it can not be written as JSON" })
}
