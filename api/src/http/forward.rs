//! What a process does with a request that another role serves: a reader passes commands on to the writer, or says that it only reads.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::{self, Bytes};
use tokio::sync::Semaphore;
use ureq::Agent;
use ureq::http::Request;
use ureq::tls::TlsConfig;

use super::body::Bound;
use super::error::ApiError;
use super::exchange::{Exchange, Reply, Stage};

/// How long the writer may take. It answers within 30 s whatever happens; this process has to say so before its own caller's time is over.
const PATIENCE: Duration = Duration::from_secs(29);
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// Commands on their way at one time; each has a thread that waits for it.
const FORWARDED_MAX: usize = 128;
/// The largest answer that is passed on: a batch with all its results stays far below.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// What goes to the writer with the body.
const TO_THE_WRITER: [&str; 4] =
    ["content-type", "authorization", "idempotency-key", "traceparent"];
/// What comes back with the body.
const FROM_THE_WRITER: [HeaderName; 8] = [
    HeaderName::from_static("florin-seq"),
    HeaderName::from_static("florin-durability"),
    HeaderName::from_static("idempotent-replayed"),
    header::LOCATION,
    header::RETRY_AFTER,
    header::WWW_AUTHENTICATE,
    header::ALLOW,
    header::LINK,
];

/// Where the writer is, and how to speak with it. All workers share its connections.
#[derive(Clone)]
pub(crate) struct Writer {
    url: Arc<str>,
    agent: Agent,
    places: Arc<Semaphore>,
}

/// What the writer answered.
struct Answer {
    status: u16,
    kind: HeaderValue,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Vec<u8>,
}

impl Writer {
    /// The writer at this scheme and authority.
    pub(crate) fn new(url: &str, tls: Option<TlsConfig>) -> Writer {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .timeout_connect(Some(CONNECT_PATIENCE))
            .max_redirects(0)
            .max_idle_connections_per_host(FORWARDED_MAX)
            .user_agent("")
            .proxy(None);
        let config = match tls {
            Some(tls) => config.tls_config(tls),
            None => config,
        };
        Writer {
            url: url.trim_end_matches('/').into(),
            agent: config.build().new_agent(),
            places: Arc::new(Semaphore::new(FORWARDED_MAX)),
        }
    }

    /// Sends a command and waits for its answer, on a thread that may wait.
    fn ask(&self, request: Request<Vec<u8>>) -> Result<Answer, ApiError> {
        let mut answer = self.agent.run(request).map_err(|error| unanswered(&error))?;
        let broken_off = |error: &dyn std::fmt::Display| {
            tracing::warn!(%error, "the writer's answer can not be passed on");
            ApiError::OutcomeUnknown { id: None }
        };
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let body = body.map_err(|error| broken_off(&error))?;
        let named = |name: &str| {
            let value = answer.headers().get(name)?;
            HeaderValue::from_bytes(value.as_bytes()).ok()
        };
        let kind = named("content-type").ok_or_else(|| broken_off(&"it has no type"))?;
        let headers = FROM_THE_WRITER.into_iter();
        let headers = headers.filter_map(|name| Some((name.clone(), named(name.as_str())?)));
        Ok(Answer { status: answer.status().as_u16(), kind, headers: headers.collect(), body })
    }
}

/// Passes a command on to the writer, or refuses it.
pub(crate) async fn command(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    let writer = exchange.state.config.writer.clone().ok_or(ApiError::ReadOnly)?;
    // Whether it is of the right type, where there is one, is the writer's question.
    let body = exchange.body(Bound::Batch).await?;
    let asked = exchange.request.uri().path_and_query().map_or("/", |it| it.as_str());
    let mut request = Request::builder()
        .method(exchange.request.method().as_str())
        .uri(format!("{}{asked}", writer.url))
        .header("x-request-id", exchange.request_id.as_bytes());
    for name in TO_THE_WRITER {
        for value in exchange.request.headers().get_all(name) {
            request = request.header(name, value.as_bytes());
        }
    }
    let request = request.body(body.to_vec()).map_err(|_| ApiError::RouteNotFound)?;
    let place = writer.places.clone().try_acquire_owned().map_err(|_| ApiError::Overloaded)?;
    exchange.stage = Stage::Asking(None);
    let answered = web::block(move || {
        let _place = place;
        writer.ask(request)
    });
    let answer = answered.await.map_err(|_| ApiError::OutcomeUnknown { id: None })??;
    let status = StatusCode::from_u16(answer.status);
    let status = status.map_err(|_| ApiError::OutcomeUnknown { id: None })?;
    let reply = Reply::of(status, answer.kind, Bytes::from(answer.body));
    Ok(Reply { others: answer.headers, ..reply })
}

/// Says that lists and history are served elsewhere.
pub(crate) async fn history(_: &mut Exchange) -> Result<Reply, ApiError> {
    Err(ApiError::WriteOnly)
}

/// Before a connection stood nothing was sent; afterwards nobody knows.
fn unanswered(error: &ureq::Error) -> ApiError {
    tracing::warn!(%error, "the writer did not answer");
    match never_reached(error) {
        true => ApiError::WriterAway,
        false => ApiError::OutcomeUnknown { id: None },
    }
}

/// Whether nothing was sent, since no connection came to stand.
pub(crate) fn never_reached(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => true,
        ureq::Error::Timeout(timeout) => {
            matches!(timeout, ureq::Timeout::Resolve | ureq::Timeout::Connect)
        }
        ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_surely_not_sent_may_be_sent_again_as_it_is() {
        fn check(error: ureq::Error, expected: &str) {
            assert_eq!(unanswered(&error).code(), expected, "{error}");
            assert_eq!(unanswered(&error).status(), StatusCode::SERVICE_UNAVAILABLE);
        }
        let io = |kind| ureq::Error::Io(std::io::Error::from(kind));
        check(io(std::io::ErrorKind::ConnectionRefused), "writer_away");
        check(ureq::Error::Timeout(ureq::Timeout::Connect), "writer_away");
        check(io(std::io::ErrorKind::ConnectionReset), "outcome_unknown");
        check(ureq::Error::Timeout(ureq::Timeout::Global), "outcome_unknown");
    }
}
