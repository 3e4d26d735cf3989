//! A server, spoken to over HTTP: what the client verbs, `health` and `demo` share.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use ureq::tls::TlsConfig;

use super::text;
use crate::http;
use crate::keys::Token;

mod server;

pub(super) use server::{PlaceArgs, ServerArgs};

/// How long an answer may take: longer than the 30 s after which a server answers that it does not know.
const PATIENCE: Duration = Duration::from_secs(40);

/// How long a health check waits; what probes it gives up at about the same time.
pub(super) const HEALTH_PATIENCE: Duration = Duration::from_secs(3);

/// The largest answer that is read: a page of 1,000 things with their metadata.
const ANSWER_BYTES_MAX: u64 = 32 << 20;

/// How a verb shows the answer.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct OutputArgs {
    /// Print the server's answer as it came, for programs
    #[arg(long)]
    pub(super) json: bool,
}

/// Reads an id as the API does: digits, a hyphenated UUID, or a text of the caller's own behind `ext:`.
pub(super) fn id(text: &str) -> Result<String, Cow<'static, str>> {
    http::id_text(text).map(|_| text.to_owned()).map_err(|fault| fault.detail)
}

/// Reads a reference of 128 bits as the API does: digits, or a hyphenated UUID.
pub(super) fn data_128(text: &str) -> Result<String, Cow<'static, str>> {
    http::data_128_text(text).map(|_| text.to_owned()).map_err(|fault| fault.detail)
}

/// Reads metadata: one JSON object, which stays as it was written.
pub(super) fn metadata(text: &str) -> Result<Box<RawValue>, String> {
    match serde_json::from_str::<Box<RawValue>>(text) {
        Ok(object) if object.get().starts_with('{') => Ok(object),
        Ok(_) => Err("must be a JSON object, such as '{\"name\":\"Alice\"}'".into()),
        Err(error) => Err(format!("is no JSON: {error}")),
    }
}

/// Why a server's answer is not what was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error(
        "no server answers at {url} ({why}); start one with `florin serve`, or name another with --url"
    )]
    NoServer { url: String, why: String },
    #[error(
        "{url} shows a certificate that is not trusted ({why}); name the file of the authority that signed it with --ca-cert"
    )]
    Untrusted { url: String, why: String },
    #[error("the connection to {url} broke before the answer came")]
    Broken { url: String, source: ureq::Error },
    #[error("{0}")]
    Problem(Box<Problem>),
    #[error("{url} answered {status} with something that is no answer of a florin server")]
    NotFlorin { url: String, status: u16 },
    #[error("{url} is not ready{}", .status.as_deref().map(|status| format!(": {status}")).unwrap_or_default())]
    NotReady { url: String, status: Option<String> },
    #[error(
        "{why}; the outcome is unknown: the same command with --id {id} finds it out, and does it only if it was not done"
    )]
    OutcomeUnknown { why: String, id: String },
}

impl ClientError {
    /// The same, with the way to find out what became of a command whose answer was lost.
    pub(super) fn of_command(self, id: &str) -> ClientError {
        let open = match &self {
            ClientError::Broken { .. } => true,
            ClientError::Problem(problem) => problem.retry.as_deref() == Some("same_id"),
            ClientError::NoServer { .. }
            | ClientError::Untrusted { .. }
            | ClientError::NotFlorin { .. }
            | ClientError::NotReady { .. }
            | ClientError::OutcomeUnknown { .. } => false,
        };
        if open {
            ClientError::OutcomeUnknown { why: text::sentence(&self), id: id.to_owned() }
        } else {
            self
        }
    }
}

/// What a server says when it does not do what was asked (RFC 9457).
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    pub(super) status: u16,
    pub(super) code: String,
    title: Option<String>,
    detail: Option<String>,
    index: Option<u64>,
    available: Option<String>,
    requested: Option<String>,
    request_id: Option<String>,
    retry: Option<String>,
    errors: Vec<FieldProblem>,
}

/// What is wrong with one field.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
struct FieldProblem {
    field: String,
    detail: Option<String>,
    code: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let said = self.detail.as_deref().or(self.title.as_deref()).unwrap_or("refused");
        write!(f, "{} ({}, status {})", said.trim_end_matches('.'), self.code, self.status)?;
        for error in &self.errors {
            let detail = error.detail.as_deref().unwrap_or(&error.code);
            // The sentence before often says it already, when there is only one.
            if !(said.contains(&error.field) && said.contains(detail)) {
                write!(f, "; {}: {}", error.field, detail.trim_end_matches('.'))?;
            }
        }
        if let Some(index) = self.index {
            write!(f, "; at index {index}")?;
        }
        if let (Some(available), Some(requested)) = (&self.available, &self.requested) {
            write!(f, "; available {available}, requested {requested}")?;
        }
        if let (500.., Some(request_id)) = (self.status, &self.request_id) {
            write!(f, "; request {request_id}")?;
        }
        Ok(())
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The first outcome of something that was asked for before.
    pub(super) replayed: bool,
    /// The position that the answer depends on.
    pub(super) seq: Option<u64>,
    pub(super) body: String,
    url: String,
}

impl Answer {
    /// What a server answered.
    pub(super) fn new(
        status: u16,
        replayed: bool,
        seq: Option<u64>,
        body: String,
        url: impl Into<String>,
    ) -> Answer {
        Answer { status, replayed, seq, body, url: url.into() }
    }

    /// The body, read.
    ///
    /// # Errors
    /// It is no JSON, so what answers there is no florin server.
    pub(super) fn json(&self) -> Result<Value, ClientError> {
        serde_json::from_str(&self.body).map_err(|_| self.not_florin())
    }

    /// The problem that the server found.
    pub(super) fn problem(&self) -> Option<Problem> {
        let problem: Problem = serde_json::from_str(&self.body).ok()?;
        (self.status >= 400 && !problem.code.is_empty())
            .then_some(Problem { status: self.status, ..problem })
    }

    /// The answer, unless the server did not do what was asked.
    ///
    /// # Errors
    /// The problem that it found.
    pub(super) fn accepted(self) -> Result<Answer, ClientError> {
        if self.status < 300 {
            return Ok(self);
        }
        Err(match self.problem() {
            Some(problem) => ClientError::Problem(Box::new(problem)),
            None => self.not_florin(),
        })
    }

    fn not_florin(&self) -> ClientError {
        ClientError::NotFlorin { url: self.url.clone(), status: self.status }
    }
}

/// Speaks to one server, over connections that are kept open. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Client {
    agent: ureq::Agent,
    url: String,
    key: Option<Token>,
}

impl Client {
    /// A client without TLS and key that waits as long as a server may take.
    pub(super) fn new(url: &str) -> Client {
        Client::with(url, PATIENCE, None, None)
    }

    fn with(url: &str, patience: Duration, tls: Option<TlsConfig>, key: Option<Token>) -> Client {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // A proxy for the internet is no way to a ledger.
            .proxy(None)
            .timeout_global(Some(patience))
            .user_agent(concat!("florin/", env!("CARGO_PKG_VERSION")));
        let config = match tls {
            Some(tls) => config.tls_config(tls),
            None => config,
        };
        Client { agent: config.build().new_agent(), url: url.to_owned(), key }
    }

    /// Asks for what is at `path`, which begins with a slash.
    ///
    /// # Errors
    /// No answer came.
    pub(super) fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.read(self.with_key(self.agent.get(format!("{}{path}", self.url))).call())
    }

    /// Sends a command.
    ///
    /// # Errors
    /// No answer came.
    pub(super) fn post(&self, path: &str, body: &impl Serialize) -> Result<Answer, ClientError> {
        let request = self.with_key(self.agent.post(format!("{}{path}", self.url)));
        self.read(request.send_json(body))
    }

    fn with_key<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {}", key.reveal())),
            None => request,
        }
    }

    fn read(
        &self,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Answer, ClientError> {
        let url = self.url.clone();
        let mut response = match response {
            Ok(response) => response,
            Err(source) if is_certificate_error(&source) => {
                return Err(ClientError::Untrusted { url, why: source.to_string() });
            }
            Err(source) if http::never_reached(&source) => {
                return Err(ClientError::NoServer { url, why: source.to_string() });
            }
            Err(source) => return Err(ClientError::Broken { url, source }),
        };
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let replayed = header("idempotent-replayed") == Some("true");
        let seq = header("florin-seq").and_then(|seq| seq.parse().ok());
        let status = response.status().as_u16();
        match response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string() {
            Ok(body) => Ok(Answer::new(status, replayed, seq, body, url)),
            Err(source) => Err(ClientError::Broken { url, source }),
        }
    }
}

/// Whether what the server showed was not trusted, so that nothing was sent to it.
fn is_certificate_error(error: &ureq::Error) -> bool {
    let error = match error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => error.get_ref().and_then(|inside| inside.downcast_ref()),
        _ => None,
    };
    matches!(error, Some(rustls::Error::InvalidCertificate(_)))
}

/// Query parameters: those that were given, ready to follow a path. Values are encoded.
#[derive(Debug, Default)]
pub(super) struct Query(String);

impl Query {
    /// Adds the parameter if there is a value for it.
    pub(super) fn with(mut self, name: &str, value: Option<impl ToString>) -> Query {
        let Some(value) = value else { return self };
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        self.0.push_str(name);
        self.0.push('=');
        self.0.push_str(&http::encode(&value.to_string()));
        self
    }

    /// The path with the parameters.
    pub(super) fn of(&self, path: &str) -> String {
        format!("{path}{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: &str) {
        let problem: Problem = serde_json::from_str(json).unwrap();
        assert_eq!(problem.to_string(), expected);
    }

    #[test]
    fn a_problem_document_becomes_a_sentence_with_its_code() {
        check(
            r#"{"type":"x","title":"Refused","status":422,"code":"exceeds_credits","detail":"The debit account has not enough available.",
                "available":"5.00","requested":"10.00","request_id":"r","retry":"new_id"}"#,
            "The debit account has not enough available (exceeds_credits, status 422); available 5.00, requested 10.00",
        );
        check(
            r#"{"title":"Bad request","status":400,"code":"invalid_field","index":3,
                "errors":[{"field":"amount","code":"signed","detail":"must not have a sign"}]}"#,
            "Bad request (invalid_field, status 400); amount: must not have a sign; at index 3",
        );
        check(
            r#"{"status":503,"code":"overloaded","detail":"Too much at once.","request_id":"r-1"}"#,
            "Too much at once (overloaded, status 503); request r-1",
        );
    }

    #[test]
    fn an_open_outcome_comes_with_the_way_to_close_it() {
        let open = Problem { retry: Some("same_id".into()), ..Problem::default() };
        let advice = ClientError::Problem(Box::new(open)).of_command("7").to_string();
        assert!(advice.contains("--id 7"), "{advice}");
        let settled = Problem { retry: Some("never".into()), ..Problem::default() };
        let advice = ClientError::Problem(Box::new(settled)).of_command("7").to_string();
        assert!(!advice.contains("--id"), "{advice}");
    }

    #[test]
    fn ids_and_metadata_are_checked_before_they_are_sent() {
        assert!(id("1").is_ok() && id("340282366920938463463374607431768211455").is_ok());
        assert!(id("0190a6a0-0000-7000-8000-000000000001").is_ok());
        for text in ["", "-1", "1/../2", "340282366920938463463374607431768211456", "abc"] {
            assert!(id(text).is_err() && data_128(text).is_err(), "{text}");
        }
        assert_eq!(id("ext:order/4711?").as_deref(), Ok("ext:order/4711?"));
        assert_eq!(http::encode("ext:order/4711?"), "ext%3Aorder%2F4711%3F");
        assert!(data_128("ext:a").is_err());
        for text in ["ext:", "ext:a b", "ext:ö", "EXT:a"] {
            assert!(id(text).is_err(), "{text}");
        }
        assert!(
            metadata("{\"a\":1}").is_ok() && metadata("[1]").is_err() && metadata("{").is_err()
        );
    }

    #[test]
    fn queries_hold_only_what_was_given() {
        let query =
            Query::default().with("a", Some("x y&z")).with("b", None::<u32>).with("c", Some(3));
        assert_eq!(query.of("/v1/x"), "/v1/x?a=x%20y%26z&c=3");
        assert_eq!(Query::default().of("/v1/x"), "/v1/x");
    }
}
