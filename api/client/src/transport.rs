//! One try of one request: what goes over the connection, and what its answer, or none, says of what was done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use florin_engine::JournalSeq;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::error::{Error, Refusal, SetupError};
use crate::settings::{Authorities, Settings};
use crate::tries::Tries;

/// Connections that stay open while idle: shorter than the server keeps them, so that it never closes one that is about to be used.
const IDLE: Duration = Duration::from_secs(45);
/// What is left of a call's time when there is a place must be this much; else nothing is sent.
const SHORTEST: Duration = Duration::from_millis(20);
/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;
const FLORIN_SEQ: HeaderName = HeaderName::from_static("florin-seq");
const FLORIN_MIN_SEQ: HeaderName = HeaderName::from_static("florin-min-seq");
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The connections to a server.
#[derive(Debug)]
pub(crate) struct Transport {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    scheme: Scheme,
    authority: Authority,
    authorization: Option<HeaderValue>,
    /// Requests that may still be sent.
    places: Semaphore,
    /// The newest position that an answer named.
    seen: AtomicU64,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) kind: Option<HeaderValue>,
    pub(crate) body: Bytes,
    pub(crate) purpose: Purpose,
}

/// Whether something is asked for or only asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Command,
    /// A read that is never older than what this client was told before.
    Read,
    /// A read of what never changes.
    Constant,
}

/// An answer that is no problem.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) body: Bytes,
    pub(crate) seq: JournalSeq,
}

/// What came of a try that brought no such answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The server refused it for good.
    Refused { status: StatusCode, refusal: Refusal },
    /// It was surely not done, and may be tried again.
    NotDone { why: String, after: Option<Duration> },
    /// Nobody knows whether it was done, and it may be tried again with the same ids.
    Unknown { why: String, after: Option<Duration> },
    /// It was answered by something that is not known here.
    Foreign { why: String },
}

/// As much of a problem document as is acted upon.
#[derive(Debug, Deserialize)]
struct Problem {
    code: String,
    detail: String,
    retry: String,
    index: Option<u32>,
}

impl Transport {
    /// Prepares connections; none is made before the first request.
    pub(crate) fn new(settings: &Settings) -> Result<Transport, SetupError> {
        let no_url = || SetupError::Url { url: settings.url.clone() };
        let parts = settings.url.parse::<Uri>().map_err(|_| no_url())?.into_parts();
        let (scheme, authority) = parts.scheme.zip(parts.authority).ok_or_else(no_url)?;
        let is_secure = scheme == Scheme::HTTPS;
        let is_bare = parts.path_and_query.is_none_or(|path| path == "/");
        if !(is_secure || scheme == Scheme::HTTP) || !is_bare || authority.as_str().contains('@') {
            return Err(no_url());
        }
        let authorization = match &settings.api_key {
            None => None,
            Some(key) => {
                let value = HeaderValue::try_from(format!("Bearer {}", key.0));
                let mut value = value.map_err(|_| SetupError::ApiKey)?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(settings.connect_timeout));
        // Whom to trust is looked up only where it is asked.
        let roots =
            if is_secure { trusted(&settings.authorities)? } else { RootCertStore::empty() };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(roots)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        let places = Semaphore::new(settings.connections);
        let seen = AtomicU64::new(0);
        Ok(Transport { pool, scheme, authority, authorization, places, seen })
    }

    /// The newest position that an answer named.
    pub(crate) fn seen(&self) -> JournalSeq {
        JournalSeq(self.seen.load(Ordering::Relaxed))
    }

    /// Sends it once, as soon as there is a place, and waits for the answer.
    pub(crate) async fn attempt(&self, ask: &Ask, tries: &Tries) -> Result<Answer, Failure> {
        let request = self.request(ask).map_err(|error| Failure::Refused {
            status: StatusCode::BAD_REQUEST,
            refusal: Refusal {
                code: "invalid_request".into(),
                detail: error.to_string().into(),
                index: None,
            },
        })?;
        let latest = tries.deadline() - SHORTEST;
        let place = tokio::time::timeout_at(latest, self.places.acquire()).await;
        let Ok(Ok(_place)) = place else {
            let why = "as many requests as may be are on their way".to_owned();
            return Err(Failure::NotDone { why, after: None });
        };
        let patience = tries.patience();
        let exchanged = async {
            let response = self.pool.request(request).await.map_err(|error| {
                let why = chain(&error);
                match error.is_connect() {
                    true => Failure::NotDone { why, after: None },
                    false => Failure::Unknown { why, after: None },
                }
            })?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| {
                let why = format!("the answer broke off: {error}");
                Failure::Unknown { why, after: None }
            })?;
            self.read(head.status, &head.headers, body.to_bytes())
        };
        match tokio::time::timeout(patience, exchanged).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let why = format!("no answer within {patience:.1?}");
                Err(Failure::Unknown { why, after: None })
            }
        }
    }

    fn request(&self, ask: &Ask) -> Result<Request<Full<Bytes>>, http::Error> {
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(PathAndQuery::try_from(ask.path.as_str())?)
            .build()?;
        let mut request =
            Request::builder().method(&ask.method).uri(uri).body(Full::new(ask.body.clone()))?;
        let headers = request.headers_mut();
        if let Some(kind) = &ask.kind {
            headers.insert(CONTENT_TYPE, kind.clone());
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        // What this client was told is never older than what it reads later, whoever answers.
        if ask.purpose == Purpose::Read && self.seen() != JournalSeq::NONE {
            headers.insert(FLORIN_MIN_SEQ, HeaderValue::from(self.seen().0));
        }
        Ok(request)
    }

    fn read(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let number = |name| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
        let seq = number(FLORIN_SEQ);
        if let Some(seq) = seq {
            self.seen.fetch_max(seq, Ordering::Relaxed);
        }
        if status.is_success() {
            let seq = seq.ok_or_else(|| foreign("it has no Florin-Seq".to_owned()))?;
            return Ok(Answer { body, seq: JournalSeq(seq) });
        }
        let after = number(RETRY_AFTER).map(Duration::from_secs);
        let is_problem = headers
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem+json"));
        let problem = is_problem.then(|| serde_json::from_slice::<Problem>(&body));
        if let Some(Ok(Problem { code, detail, retry, index })) = problem {
            let why = format!("{code}: {detail}");
            return Err(match retry.as_str() {
                "after" => Failure::NotDone { why, after },
                "same_id" => Failure::Unknown { why, after },
                _ => {
                    let refusal = Refusal { code: code.into(), detail: detail.into(), index };
                    Failure::Refused { status, refusal }
                }
            });
        }
        // Something between here and the server speaks.
        let why = format!("the answer is {status} without a reason");
        let passes = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
        Err(if passes { Failure::Unknown { why, after } } else { foreign(why) })
    }
}

fn foreign(why: String) -> Failure {
    Failure::Foreign { why }
}

impl Failure {
    /// The error of a call that ends with this, after tries of which one may have been carried out.
    pub(crate) fn into_error(self, uncertain: bool) -> Error {
        match self {
            // What the rules say of an id is true of every try with it. What is said of the request alone is not.
            Failure::Refused { status, refusal }
                if !uncertain
                    || matches!(
                        status,
                        StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY
                    ) =>
            {
                Error::Refused(refusal)
            }
            Failure::Refused { refusal, .. } => Error::OutcomeUnknown { why: refusal.to_string() },
            Failure::NotDone { why, .. } if !uncertain => Error::NotSent { why },
            Failure::NotDone { why, .. } | Failure::Unknown { why, .. } => {
                Error::OutcomeUnknown { why }
            }
            Failure::Foreign { why } => Error::Foreign { why },
        }
    }

    /// How long to wait at least before it is tried again, if it may be.
    pub(crate) fn may_be_tried_again(&self) -> Option<Option<Duration>> {
        match self {
            Failure::NotDone { after, .. } | Failure::Unknown { after, .. } => Some(*after),
            Failure::Refused { .. } | Failure::Foreign { .. } => None,
        }
    }
}

/// An error with its reasons.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

fn tls(roots: RootCertStore) -> Result<ClientConfig, SetupError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(SetupError::Tls)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn trusted(authorities: &Authorities) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    let why = match authorities {
        Authorities::Pem(pem) => {
            let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
            let unreadable = |why: String| SetupError::Authorities { why };
            for certificate in certificates.map_err(|error| unreadable(error.to_string()))? {
                roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
            }
            "there is none in what was given".to_owned()
        }
        Authorities::System => {
            let found = rustls_native_certs::load_native_certs();
            // One that can not be read does not keep the others from being trusted.
            roots.add_parsable_certificates(found.certs);
            found.errors.first().map_or_else(|| "the system has none".into(), ToString::to_string)
        }
    };
    if roots.is_empty() { Err(SetupError::Authorities { why }) } else { Ok(roots) }
}
