//! Asking over HTTP, and answers that can be looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http;

/// Longer than the server may take for any answer, so that a test never waits for ever.
const PATIENCE: Duration = Duration::from_secs(45);

/// A client with its own connections. Statuses of 400 and more are answers, not errors.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    base: String,
    /// The newest position that an answer named.
    seen: Arc<AtomicU64>,
}

impl Client {
    /// A client of the server at `base`, as in `http://127.0.0.1:8080`.
    #[must_use]
    pub fn new(base: &str) -> Client {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_global(Some(PATIENCE))
            // Below the server's own patience with idle connections: it must never close one that is about to be used.
            .max_idle_age(Duration::from_secs(2))
            .max_idle_connections(128)
            .max_idle_connections_per_host(128)
            .build()
            .new_agent();
        Client { agent, base: base.to_owned(), seen: Arc::default() }
    }

    /// Begins a request; `request` is a method and a path, as in `GET /v1/accounts/1`.
    #[must_use]
    pub fn request(&self, request: &str) -> Request<'_> {
        let (method, path) = request.split_once(' ').expect("a request is a method and a path");
        let builder = http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        Request { client: self, what: request.to_owned(), builder }
    }

    /// The newest position that an answer to this client named in `Florin-Seq`.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// The address of the server.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }
}

/// A request that is not sent yet.
#[derive(Debug)]
pub struct Request<'a> {
    client: &'a Client,
    what: String,
    builder: http::request::Builder,
}

impl Request<'_> {
    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    /// Sends it and waits for the answer.
    ///
    /// # Errors
    /// No answer came: the server is gone, or went while the request was on its way. It may have been carried out.
    pub fn try_send(self, body: impl Into<Content>) -> Result<Reply, String> {
        let mut builder = self.builder;
        let answer = match body.into() {
            Content::None => {
                let request = builder.body(()).expect("the test wrote a valid request");
                self.client.agent.run(request)
            }
            Content::Text(text) => {
                let named =
                    builder.headers_ref().is_some_and(|all| all.contains_key("content-type"));
                if !named {
                    builder = builder.header("content-type", "application/json");
                }
                let request = builder.body(text).expect("the test wrote a valid request");
                self.client.agent.run(request)
            }
            Content::Bytes(bytes) => {
                let request = builder.body(bytes).expect("the test wrote a valid request");
                self.client.agent.run(request)
            }
        };
        let mut answer = answer.map_err(|error| error.to_string())?;
        let headers = answer.headers().iter();
        let headers = headers
            .map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect();
        let status = answer.status().as_u16();
        let bytes = answer.body_mut().with_config().limit(1 << 30).read_to_vec();
        let bytes = bytes.map_err(|error| error.to_string())?;
        let body = String::from_utf8_lossy(&bytes).into_owned();
        let reply = Reply { what: self.what, status, headers, body, bytes };
        let seq = reply.header("florin-seq").and_then(|seq| seq.parse().ok()).unwrap_or(0);
        self.client.seen.fetch_max(seq, Ordering::Relaxed);
        Ok(reply)
    }

    /// Sends it and waits for the answer, of which there must be one.
    #[must_use]
    pub fn send(self, body: impl Into<Content>) -> Reply {
        let what = self.what.clone();
        self.try_send(body).unwrap_or_else(|error| panic!("{what}: no answer: {error}"))
    }
}

/// What a request carries.
#[derive(Clone, Debug)]
pub enum Content {
    /// Nothing.
    None,
    /// A body, as it is; its type is JSON unless a header says otherwise.
    Text(String),
    /// A body of bytes; a header says its type.
    Bytes(Vec<u8>),
}

impl From<()> for Content {
    fn from((): ()) -> Content {
        Content::None
    }
}

impl From<&Value> for Content {
    fn from(value: &Value) -> Content {
        Content::Text(value.to_string())
    }
}

impl From<Value> for Content {
    fn from(value: Value) -> Content {
        Content::Text(value.to_string())
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Content {
        Content::Text(text.to_owned())
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Content {
        Content::Bytes(bytes)
    }
}

impl From<String> for Content {
    fn from(text: String) -> Content {
        Content::Text(text)
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// What was asked, for messages.
    pub what: String,
    /// The HTTP status.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body as text, digit for digit.
    pub body: String,
    /// The body as it came.
    pub bytes: Vec<u8>,
}

impl Reply {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{}: {error} in the answer {self:?}", self.what))
    }

    /// The position that the answer carries.
    #[must_use]
    pub fn seq(&self) -> u64 {
        let seq = self.header("florin-seq").and_then(|seq| seq.parse().ok());
        seq.unwrap_or_else(|| panic!("{}: no Florin-Seq in {self:?}", self.what))
    }

    /// Whether the answer says that it is the first one again.
    #[must_use]
    pub fn is_replayed(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }

    /// Whether the answer is a problem document.
    #[must_use]
    pub fn is_problem(&self) -> bool {
        self.header("content-type").is_some_and(|kind| kind.starts_with("application/problem+json"))
    }

    /// The answer in a few words, for tables of expectations: `201`, `200 replayed`, `422 exceeds_credits`,
    /// `422 exceeds_credits at 1`; for what can not be read the fields instead of the code, `400 amount`.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut summary = self.status.to_string();
        if self.is_replayed() {
            summary.push_str(" replayed");
        }
        if !self.is_problem() {
            return summary;
        }
        let problem = self.json();
        let fields = fields(&problem);
        let word = if self.status == 400 && !fields.is_empty() {
            fields.join(",")
        } else {
            problem["code"].as_str().unwrap_or("no code").to_owned()
        };
        summary.push_str(&format!(" {word}"));
        if let Some(index) = problem["index"].as_u64() {
            summary.push_str(&format!(" at {index}"));
        }
        summary
    }

    /// Panics unless the answer has this [`Reply::summary`].
    #[must_use]
    #[track_caller]
    pub fn expect(self, summary: &str) -> Reply {
        assert_eq!(self.summary(), summary, "{}: {self:?}", self.what);
        if self.status >= 400 {
            self.assert_problem();
        }
        self
    }

    /// Panics unless the answer is a whole problem document that agrees with its status and headers.
    #[track_caller]
    pub fn assert_problem(&self) {
        assert!(self.is_problem(), "{}: no problem document: {self:?}", self.what);
        let problem = self.json();
        for name in ["type", "title", "detail", "instance", "code", "request_id"] {
            let text = problem[name].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{}: no {name} in {problem}", self.what);
        }
        assert_eq!(problem["status"], self.status, "{}", self.what);
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"), "{}", self.what);
        let code = problem["code"].as_str().unwrap_or_default();
        let snake = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        assert!(code.bytes().all(snake), "{}: code {code}", self.what);
        if let Some(retry) = problem.get("retry") {
            let known = ["same_id", "new_id", "after", "never"];
            assert!(known.iter().any(|known| retry == known), "{}: retry {retry}", self.what);
        }
        if self.status == 503 {
            assert!(
                self.header("retry-after").is_some(),
                "{}: no Retry-After: {self:?}",
                self.what
            );
        }
    }
}

/// The fields that a problem document names, without the way to them and without a place in a list: `flags` of `[2].flags[0]`.
fn fields(problem: &Value) -> Vec<String> {
    let errors = problem["errors"].as_array().into_iter().flatten();
    let paths = errors.filter_map(|error| error["field"].as_str());
    let field = |path: &str| {
        let last = path.rsplit(['.', '/']).next().unwrap_or_default();
        last.split('[').next().unwrap_or_default().to_owned()
    };
    paths.map(field).collect()
}
