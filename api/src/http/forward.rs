//! What a process does with a request that another role serves: a reader passes commands on to the writer, or says that it only reads.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Uri;
use actix_web::http::header::{self, HeaderName};
use awc::Client;
use awc::error::{ConnectError, PayloadError, SendRequestError};

use super::body::Bound;
use super::error::ApiError;
use super::exchange::{Exchange, Reply, Stage};

/// How long the writer may take. It answers within 30 s whatever happens; the rest is for the way there and back.
const PATIENCE: Duration = Duration::from_secs(29);
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// The largest answer that is passed on: a batch with all its results stays far below.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// What goes to the writer with the body.
const TO_THE_WRITER: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::AUTHORIZATION,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("traceparent"),
];
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

/// Where the writer is, and how to speak with it.
#[derive(Clone)]
pub(crate) struct Writer {
    /// Its scheme and authority, without a path.
    pub(crate) url: Uri,
    /// Whom to trust, for `https`.
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
}

thread_local! {
    /// Each worker keeps its own connections to the writer.
    static CLIENT: std::cell::OnceCell<Client> = const { std::cell::OnceCell::new() };
}

impl Writer {
    fn client(&self) -> Client {
        let make = || {
            let mut connector = awc::Connector::new().timeout(CONNECT_PATIENCE);
            if let Some(tls) = &self.tls {
                connector = connector.rustls_0_23(Arc::clone(tls));
            }
            Client::builder().connector(connector).timeout(PATIENCE).no_default_headers().finish()
        };
        CLIENT.with(|client| client.get_or_init(make).clone())
    }
}

/// Passes a command on to the writer, or refuses it.
pub(crate) async fn command(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    let state = Arc::clone(&exchange.state);
    let writer = state.config.writer.as_ref().ok_or(ApiError::ReadOnly)?;
    let body = exchange.json_body(Bound::Batch).await?;
    let mut parts = writer.url.clone().into_parts();
    parts.path_and_query = exchange.request.uri().path_and_query().cloned();
    let url = Uri::from_parts(parts).map_err(|_| ApiError::RouteNotFound)?;
    let mut request = writer.client().request(exchange.request.method().clone(), url);
    let headers = exchange.request.headers();
    for name in TO_THE_WRITER {
        for value in headers.get_all(&name) {
            request = request.append_header((name.clone(), value.clone()));
        }
    }
    request = request.insert_header(("x-request-id", exchange.request_id.clone()));
    exchange.stage = Stage::Asking(None);
    let mut answer = request.send_body(body).await.map_err(|error| unsent(&error))?;
    let body = answer.body().limit(ANSWER_BYTES_MAX).await.map_err(|error| broken_off(&error))?;
    let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
    let kind = kind.ok_or(ApiError::OutcomeUnknown { id: None })?;
    let mut reply = Reply::of(answer.status(), kind, body);
    for name in FROM_THE_WRITER {
        if let Some(value) = answer.headers().get(&name) {
            reply.passed_on.push((name, value.clone()));
        }
    }
    Ok(reply)
}

/// Says that lists and history are served elsewhere.
pub(crate) async fn history(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    let allow = match exchange.request.match_pattern().as_deref() {
        Some("/v1/transfers" | "/v1/accounts" | "/v1/ledgers") => "POST",
        _ => "",
    };
    Err(ApiError::WriteOnly { allow })
}

/// Before a connection stood nothing was sent; afterwards nobody knows.
fn unsent(error: &SendRequestError) -> ApiError {
    tracing::warn!(%error, "the writer did not answer");
    match error {
        SendRequestError::Connect(ConnectError::Disconnected) => {
            ApiError::OutcomeUnknown { id: None }
        }
        SendRequestError::Connect(_) => ApiError::WriterAway,
        _ => ApiError::OutcomeUnknown { id: None },
    }
}

fn broken_off(error: &PayloadError) -> ApiError {
    tracing::warn!(%error, "the writer's answer broke off");
    ApiError::OutcomeUnknown { id: None }
}

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;

    use super::*;

    #[test]
    fn only_what_was_surely_not_sent_may_be_sent_again_as_it_is() {
        fn check(error: SendRequestError, expected: &str) {
            assert_eq!(unsent(&error).code(), expected, "{error}");
            assert_eq!(unsent(&error).status(), StatusCode::SERVICE_UNAVAILABLE);
        }
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        check(SendRequestError::Connect(ConnectError::Io(refused)), "writer_away");
        check(SendRequestError::Connect(ConnectError::Timeout), "writer_away");
        check(SendRequestError::Connect(ConnectError::Disconnected), "outcome_unknown");
        check(SendRequestError::Timeout, "outcome_unknown");
    }
}
