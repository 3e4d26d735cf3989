//! Reading a request's body: its type and its bound.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap};
use actix_web::web::{Bytes, BytesMut, Payload};
use florin_wire::MEDIA_TYPE;
use futures_util::StreamExt;

use super::connection::{Flow, TakesBody};
use super::error::ApiError;
use super::exchange::{Exchange, Stage};

/// Bytes of a body for which there is room before they are there.
const CAPACITY_BEFORE_IT_COMES: usize = 1 << 20;

/// How large a body may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// One thing: a transfer, an account, a transaction.
    Single,
    /// A batch.
    Batch,
}

/// Bodies that are put together because they came in pieces, and how large they may be together: else whoever sends
/// many large ones without an end has all memory. What comes in one piece, as nearly every single transfer does, is not counted.
#[derive(Debug)]
pub(crate) struct Gathering {
    bytes: AtomicUsize,
    bytes_max: usize,
}

impl Gathering {
    /// None yet, and at most so many bytes at one time; a body that is alone fits in any case.
    pub(crate) fn new(bytes_max: usize) -> Arc<Gathering> {
        Arc::new(Gathering { bytes: AtomicUsize::new(0), bytes_max })
    }
}

/// One of these bodies. Its bytes are given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Gathered {
    all: Arc<Gathering>,
    bytes: usize,
}

impl Gathered {
    /// One of which nothing is there yet.
    pub(crate) fn new(all: Arc<Gathering>) -> Gathered {
        Gathered { all, bytes: 0 }
    }

    /// So many bytes of it have come.
    fn grow(&mut self, bytes: usize) -> Result<(), ApiError> {
        let before = self.all.bytes.fetch_add(bytes, Ordering::Relaxed);
        let is_alone = before == self.bytes;
        self.bytes += bytes;
        if is_alone || before + bytes <= self.all.bytes_max {
            Ok(())
        } else {
            Err(ApiError::Overloaded)
        }
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        self.all.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Exchange {
    /// The JSON body, whole.
    ///
    /// A small body is read before anything is refused, so that the connection can go on.
    pub(crate) async fn json_body(&mut self, bound: Bound) -> Result<Bytes, ApiError> {
        let body = self.body(bound).await?;
        if is_json(self.request.headers()) { Ok(body) } else { Err(ApiError::UnsupportedMediaType) }
    }

    /// The body as [`Exchange::json_body`], or an empty object where there is none.
    pub(crate) async fn json_body_if_any(&mut self, bound: Bound) -> Result<Bytes, ApiError> {
        let body = self.body(bound).await?;
        match body.is_empty() {
            true => Ok(Bytes::from_static(b"{}")),
            false if is_json(self.request.headers()) => Ok(body),
            false => Err(ApiError::UnsupportedMediaType),
        }
    }

    /// The body, whatever its type.
    pub(crate) async fn body(&mut self, bound: Bound) -> Result<Bytes, ApiError> {
        let config = &self.state.config;
        let bytes_max = match bound {
            Bound::Single => config.body_bytes,
            Bound::Batch => config.batch_body_bytes,
        };
        self.stage = Stage::Arriving;
        let mut gathered = Gathered::new(self.state.bodies.clone());
        let body = read(&self.request, &mut self.payload, bytes_max, &mut gathered).await?;
        // Until the request is answered: what was read from it takes as much.
        self.gathered = Some(gathered);
        self.stage = Stage::Asking(None);
        Ok(body)
    }
}

async fn read(
    request: &HttpRequest,
    payload: &mut Payload,
    bytes_max: usize,
    gathered: &mut Gathered,
) -> Result<Bytes, ApiError> {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > bytes_max) {
        return Err(ApiError::BodyTooLarge { bytes_max });
    }
    let taking = request.conn_data::<Rc<Flow>>().map(|flow| flow.take_body(announced));
    collect(payload, announced, bytes_max, gathered, taking.as_ref()).await
}

/// Most bodies are one piece, which is then not copied.
async fn collect(
    payload: &mut Payload,
    announced: Option<usize>,
    bytes_max: usize,
    gathered: &mut Gathered,
    taking: Option<&TakesBody>,
) -> Result<Bytes, ApiError> {
    let mut first = Bytes::new();
    let mut whole: Option<BytesMut> = None;
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(|error| {
            tracing::debug!(%error, "a body ended early");
            ApiError::BodyBrokenOff
        })?;
        let so_far = whole.as_ref().map_or(first.len(), BytesMut::len);
        if so_far + piece.len() > bytes_max {
            return Err(ApiError::BodyTooLarge { bytes_max });
        }
        match &mut whole {
            Some(whole) => {
                gathered.grow(piece.len())?;
                whole.extend_from_slice(&piece);
            }
            None if first.is_empty() => first = piece,
            None => {
                gathered.grow(so_far + piece.len())?;
                // What is only announced takes nothing: a larger one grows as it comes.
                let capacity = announced.unwrap_or(0).min(CAPACITY_BEFORE_IT_COMES);
                let mut joined = BytesMut::with_capacity(capacity.max(so_far + piece.len()));
                joined.extend_from_slice(&first);
                joined.extend_from_slice(&piece);
                whole = Some(joined);
            }
        }
        if first.len() == announced.unwrap_or(usize::MAX) {
            break;
        }
        if let Some(taking) = taking {
            taking.go_on();
        }
    }
    Ok(whole.map_or(first, BytesMut::freeze))
}

/// Whether the body is declared as a binary batch.
pub(crate) fn is_binary(headers: &HeaderMap) -> bool {
    let declared = headers.get(header::CONTENT_TYPE);
    declared.is_some_and(|kind| kind.as_bytes().eq_ignore_ascii_case(MEDIA_TYPE.as_bytes()))
}

/// Whether the body is declared as JSON, in UTF-8 if an encoding is named.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(declared) = headers.get(header::CONTENT_TYPE) else {
        return false;
    };
    if declared.as_bytes() == b"application/json" {
        return true;
    }
    let Ok(declared) = declared.to_str() else {
        return false;
    };
    let mut parts = declared.split(';').map(str::trim);
    let json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    json && parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn bodies_in_pieces_are_bounded_together_and_one_alone_is_not() {
        let all = Gathering::new(100);
        let mut alone = Gathered::new(all.clone());
        assert!(alone.grow(60).is_ok() && alone.grow(60).is_ok());
        let mut second = Gathered::new(all.clone());
        assert_eq!(second.grow(1).unwrap_err().code(), "overloaded");
        drop(alone);
        assert!(second.grow(50).is_ok());
        let mut third = Gathered::new(all.clone());
        assert!(third.grow(49).is_ok());
        assert!(third.grow(1).is_err() && second.grow(1).is_err());
        drop((second, third));
        assert_eq!(all.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn json_has_to_be_declared() {
        fn check(declared: &'static str, expected: &str) {
            let mut headers = HeaderMap::new();
            if !declared.is_empty() {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(declared));
            }
            let shown = if is_json(&headers) { "json" } else { "415" };
            assert_eq!(shown, expected, "{declared}");
        }
        check("application/json", "json");
        check("Application/JSON", "json");
        check("application/json; charset=utf-8", "json");
        check("application/json;charset=\"UTF-8\"", "json");
        check("application/json; charset=latin1", "415");
        check("text/plain", "415");
        check("application/jsonp", "415");
        check("application/x-www-form-urlencoded", "415");
        check("application/vnd.florin.batch", "415");
        check("", "415");
    }

    #[test]
    fn a_binary_batch_has_to_be_declared_too() {
        for (declared, expected) in [
            ("application/vnd.florin.batch", true),
            ("Application/vnd.Florin.batch", true),
            ("application/vnd.florin.batch; version=1", false),
            ("application/vnd.florin.batch2", false),
            ("application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(declared));
            assert_eq!(is_binary(&headers), expected, "{declared}");
        }
        assert!(!is_binary(&HeaderMap::new()));
    }
}
