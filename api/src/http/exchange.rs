//! One request and its answer: what every handler is given, what it gives back, and what happens around it.
//!
//! There is no middleware: [`serve`] is the one wrapper. It makes the request's id, bounds its head and its time, asks who sends it, runs the handler, turns
//! an error into its problem document and a panic into a 500, sets the common headers and counts. On the way of a transfer
//! it allocates for the headers of the answer and for nothing else.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, web};
use florin_actors::{Durability, Source};
use florin_engine::JournalSeq;
use futures_util::FutureExt;
use serde::Serialize;

use super::State;
use super::body::Gathered;
use super::connection::Flow;
use super::door::{Caller, Door};
use super::error::ApiError;
use crate::keys::AuthFailure;
use crate::telemetry::RouteMetrics;

const FLORIN_SEQ: HeaderName = HeaderName::from_static("florin-seq");
const FLORIN_SOURCE: HeaderName = HeaderName::from_static("florin-source");
const FLORIN_DURABILITY: HeaderName = HeaderName::from_static("florin-durability");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
/// Characters of a client's own request id; a longer one is replaced.
const REQUEST_ID_CHARS_MAX: usize = 128;
/// How long a request may take from its head to its answer. What a write asked for goes on after that; only its client is not kept
/// waiting.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a request's line and headers.
pub(crate) const HEADER_BYTES_MAX: usize = 8 << 10;

/// A request on its way through a handler.
pub(crate) struct Exchange {
    /// What all requests share.
    pub(crate) state: Arc<State>,
    /// Its head.
    pub(crate) request: HttpRequest,
    /// `X-Request-Id`, the client's or a new one.
    pub(crate) request_id: HeaderValue,
    /// Its body, until it is read.
    pub(crate) payload: web::Payload,
    /// The place of its body among those that came in pieces, once it was read.
    pub(crate) gathered: Option<Gathered>,
    /// How far it is.
    pub(crate) stage: Stage,
    /// Who sent it.
    pub(crate) caller: Caller,
    /// Whether its command is to be decided.
    pub(crate) mode: Mode,
}

/// Whether a command is decided, or only what it would come to is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It is decided.
    Real,
    /// Nothing changes, and the answer says so.
    DryRun,
}

impl Mode {
    /// The mark `dry_run` of answers.
    pub(crate) fn mark(self) -> Option<bool> {
        match self {
            Mode::Real => None,
            Mode::DryRun => Some(true),
        }
    }

    /// The status of an answer about what was created.
    pub(crate) fn created(self) -> StatusCode {
        match self {
            Mode::Real => StatusCode::CREATED,
            Mode::DryRun => StatusCode::OK,
        }
    }
}

/// How far a request is, which says what its client is told when time runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its body is arriving.
    Arriving,
    /// The ledger is asked, about the one thing with this id if it is one.
    Asking(Option<u128>),
}

/// What a route speaks of, which says whether its answers carry headers of the ledger's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// An answer of `/v1` or a short form: it carries the position on which it depended.
    Ledger,
    /// An answer about the process.
    Process,
}

/// What is known of a route before any request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mounted {
    /// What it speaks of.
    pub(crate) place: Place,
    /// What it asks of its callers.
    pub(crate) door: Door,
    /// The methods that this process serves at its path, for the header `Allow`.
    pub(crate) allow: &'static str,
}

/// Whether an answer was given before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    /// It was decided now.
    First,
    /// It is the outcome of an earlier request.
    Again,
}

/// What a handler answers.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: StatusCode,
    /// `Content-Type`.
    pub(crate) content_type: HeaderValue,
    /// The body.
    pub(crate) body: Bytes,
    /// `Florin-Seq`; the newest durable position when absent.
    pub(crate) seq: Option<JournalSeq>,
    /// `Florin-Source`.
    pub(crate) source: Option<Source>,
    /// `Idempotent-Replayed`.
    pub(crate) telling: Telling,
    /// `Location`.
    pub(crate) location: Option<String>,
    /// `Link`.
    pub(crate) link: Option<String>,
    /// Other headers, such as those that another process sent.
    pub(crate) others: Vec<(HeaderName, HeaderValue)>,
}

impl Reply {
    /// A JSON answer.
    pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Result<Reply, ApiError> {
        let mut text = Vec::with_capacity(1024);
        if let Err(error) = serde_json::to_writer(&mut text, body) {
            tracing::error!(%error, "an answer could not be written as JSON");
            return Err(ApiError::Internal);
        }
        Ok(Reply::of(status, JSON, text.into()))
    }

    /// An answer with this body.
    pub(crate) fn of(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Reply {
        Reply {
            status,
            content_type,
            body,
            seq: None,
            source: None,
            telling: Telling::First,
            location: None,
            link: None,
            others: Vec::new(),
        }
    }

    /// The answer with the position on which it depended.
    pub(crate) fn at(self, seq: JournalSeq) -> Reply {
        Reply { seq: Some(seq), ..self }
    }

    /// The answer with where it came from.
    pub(crate) fn sourced(self, source: Source) -> Reply {
        Reply { source: Some(source), ..self }
    }

    /// The answer, marked as that of an earlier request where it is.
    pub(crate) fn told(self, telling: Telling) -> Reply {
        Reply { telling, ..self }
    }

    /// The answer with where what it is about can be read.
    pub(crate) fn located(self, location: String) -> Reply {
        Reply { location: Some(location), ..self }
    }

    /// The answer with where what was created can be read, where it was.
    pub(crate) fn located_if(self, mode: Mode, location: String) -> Reply {
        match mode {
            Mode::Real => self.located(location),
            Mode::DryRun => self,
        }
    }

    fn into_response(self, state: &State, place: Place, request_id: HeaderValue) -> HttpResponse {
        let mut response = HttpResponse::new(self.status).set_body(self.body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.content_type);
        ledger_headers(headers, state, place, self.seq);
        if let Some(source) = self.source {
            state.reads.count(source);
            let word = match source {
                Source::Memory => "memory",
                Source::Cache => "cache",
                Source::Store => "store",
            };
            headers.insert(FLORIN_SOURCE, HeaderValue::from_static(word));
        }
        if self.telling == Telling::Again {
            headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
        }
        for (name, value) in [(header::LOCATION, self.location), (header::LINK, self.link)] {
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                headers.insert(name, value);
            }
        }
        for (name, value) in self.others {
            headers.insert(name, value);
        }
        headers.insert(X_REQUEST_ID, request_id);
        response.map_into_boxed_body()
    }
}

fn ledger_headers(headers: &mut HeaderMap, state: &State, place: Place, seq: Option<JournalSeq>) {
    match place {
        Place::Ledger => {
            let seq = seq.unwrap_or_else(|| state.ledger.newest());
            headers.insert(FLORIN_SEQ, HeaderValue::from(seq.0));
            if state.config.durability == Durability::Memory {
                headers.insert(FLORIN_DURABILITY, HeaderValue::from_static("memory"));
            }
        }
        Place::Process => {}
    }
}

/// Runs one request through its handler.
pub(crate) async fn serve<F>(
    state: Arc<State>,
    metrics: Arc<RouteMetrics>,
    mounted: Mounted,
    handler: F,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse
where
    F: AsyncFnOnce(&mut Exchange) -> Result<Reply, ApiError>,
{
    let begun = Instant::now();
    let _handles = request.conn_data::<Rc<Flow>>().map(Flow::handle);
    let request_id = request_id(&state, request.headers());
    let mut exchange = Exchange {
        state,
        request,
        request_id: request_id.clone(),
        payload,
        gathered: None,
        stage: Stage::Asking(None),
        caller: Caller::Anyone,
        mode: Mode::Real,
    };
    let outcome = match exchange.enter(mounted.door) {
        Err(error) => Err(error),
        Ok(()) => {
            // A handler changes nothing that a panic could leave half done: the ledger is behind channels of its own.
            let handled = {
                let handling = pin!(AssertUnwindSafe(handler(&mut exchange)).catch_unwind());
                tokio::time::timeout(PATIENCE, handling).await
            };
            match handled {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => {
                    let path = exchange.request.path();
                    tracing::error!(path, request_id = ?request_id, "a handler panicked");
                    Err(ApiError::Internal)
                }
                Err(_) => Err(match exchange.stage {
                    Stage::Arriving => ApiError::RequestTimeout,
                    Stage::Asking(id) => ApiError::OutcomeUnknown { id },
                }),
            }
        }
    };
    let response = match outcome {
        Ok(reply) => reply.into_response(&exchange.state, mounted.place, request_id),
        Err(error) => refuse(&exchange, mounted, &error, request_id),
    };
    metrics.record(response.status(), begun.elapsed());
    response
}

impl Exchange {
    /// Bounds the head, and asks who sends it. Nothing of the body is read for one that may not come in.
    fn enter(&mut self, door: Door) -> Result<(), ApiError> {
        head_within(&self.request, HEADER_BYTES_MAX)?;
        let keys = self.state.config.api_keys.as_deref();
        self.caller = door.admit(keys, self.request.headers()).map_err(|failure| {
            self.state.auth_failures.count(failure);
            ApiError::AuthFailure(failure)
        })?;
        Ok(())
    }
}

fn refuse(
    exchange: &Exchange,
    mounted: Mounted,
    error: &ApiError,
    request_id: HeaderValue,
) -> HttpResponse {
    let Exchange { state, request, caller, mode, .. } = exchange;
    let shown_id = request_id.to_str().unwrap_or_default();
    let status = error.status();
    if let Some(refused) = error.refused() {
        state.refused.count(refused);
        // A full disk is no place for a line of each either.
        if let Some(refused) = state.refusals.note() {
            tracing::warn!(code = error.code(), refused, "callers are told to come again");
        }
    } else if status.is_server_error() {
        tracing::warn!(
            code = error.code(),
            method = %request.method(),
            path = request.path(),
            request_id = shown_id,
            %caller,
            "a request could not be answered"
        );
    }
    let problem = error.problem(request.path(), shown_id, *mode);
    // A problem is made of texts and numbers only, which can always be written.
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = HttpResponse::new(status).set_body(Bytes::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, PROBLEM);
    match error {
        // Who may not come in does not learn how much has been decided.
        ApiError::AuthFailure(failure) => {
            headers.insert(header::WWW_AUTHENTICATE, challenge(*failure));
        }
        _ => ledger_headers(headers, state, mounted.place, error.seq()),
    }
    if let Some(seconds) = error.retry_after_seconds() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static(mounted.allow));
    }
    headers.insert(X_REQUEST_ID, request_id);
    response.map_into_boxed_body()
}

/// What a client is told of how to come in (RFC 6750).
fn challenge(failure: AuthFailure) -> HeaderValue {
    HeaderValue::from_static(match failure {
        AuthFailure::Missing => "Bearer",
        AuthFailure::Malformed
        | AuthFailure::Mistyped
        | AuthFailure::Unknown
        | AuthFailure::WrongSecret => "Bearer error=\"invalid_token\"",
        AuthFailure::Scope { .. } => "Bearer error=\"insufficient_scope\"",
    })
}

/// The client's id of the request, if it is 1 to 128 visible ASCII characters; else a new one.
fn request_id(state: &State, headers: &HeaderMap) -> HeaderValue {
    headers
        .get(X_REQUEST_ID)
        .filter(|value| {
            (1..=REQUEST_ID_CHARS_MAX).contains(&value.len())
                && value.as_bytes().iter().all(u8::is_ascii_graphic)
        })
        .cloned()
        .unwrap_or_else(|| state.request_ids.next())
}

/// Refuses a head above the bound. The server itself reads at most 128 KiB of it.
fn head_within(request: &HttpRequest, bytes_max: usize) -> Result<(), ApiError> {
    // Of each header: `name: value` and the line's end.
    let headers: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let line = request.uri().path().len() + request.query_string().len();
    if headers + line > bytes_max {
        return Err(ApiError::HeadersTooLarge { bytes_max });
    }
    Ok(())
}

/// Makes ids of requests: a random start for the process and a count.
#[derive(Debug)]
pub(crate) struct RequestIds {
    process: u64,
    count: std::sync::atomic::AtomicU64,
}

impl RequestIds {
    /// Ids that differ from those of any other process.
    pub(crate) fn new() -> RequestIds {
        let process = uuid::Uuid::now_v7().as_u128() as u64;
        RequestIds { process, count: std::sync::atomic::AtomicU64::new(0) }
    }

    /// The next one: 24 hexadecimal digits.
    pub(crate) fn next(&self) -> HeaderValue {
        let count = self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut text = [0_u8; 24];
        hexadecimal(self.process, &mut text[..12]);
        hexadecimal(count, &mut text[12..]);
        HeaderValue::from_bytes(&text).expect("hexadecimal digits are a header value")
    }
}

fn hexadecimal(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 0xf) as usize];
        number >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_request_ids_differ() {
        let ids = RequestIds::new();
        let (first, second) = (ids.next(), ids.next());
        assert_eq!(first.len(), 24);
        assert_ne!(first, second);
        assert_eq!(first.as_bytes()[..12], second.as_bytes()[..12]);
    }
}
