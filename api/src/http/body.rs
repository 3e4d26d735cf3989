//! Reading a request's body: its type and its bound.

use actix_web::http::header::{self, HeaderMap};
use actix_web::web::{Bytes, BytesMut, Payload};
use florin_wire::MEDIA_TYPE;
use futures_util::StreamExt;

use super::error::ApiError;
use super::exchange::{Exchange, Stage};

/// How large a body may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// One thing: a transfer, an account, a transaction.
    Single,
    /// A batch.
    Batch,
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
        let body = read(self.request.headers(), &mut self.payload, bytes_max).await?;
        self.stage = Stage::Asking(None);
        Ok(body)
    }
}

async fn read(
    headers: &HeaderMap,
    payload: &mut Payload,
    bytes_max: usize,
) -> Result<Bytes, ApiError> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > bytes_max) {
        return Err(ApiError::BodyTooLarge { bytes_max });
    }
    collect(payload, announced, bytes_max).await
}

/// Most bodies are one piece, which is then not copied.
async fn collect(
    payload: &mut Payload,
    announced: Option<usize>,
    bytes_max: usize,
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
            Some(whole) => whole.extend_from_slice(&piece),
            None if first.is_empty() => first = piece,
            None => {
                let capacity = announced.unwrap_or(so_far + piece.len());
                let mut joined = BytesMut::with_capacity(capacity);
                joined.extend_from_slice(&first);
                joined.extend_from_slice(&piece);
                whole = Some(joined);
            }
        }
        if first.len() == announced.unwrap_or(usize::MAX) {
            break;
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
