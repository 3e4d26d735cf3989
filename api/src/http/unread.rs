//! What is answered to a request that could not be read as one.
//!
//! The HTTP server refuses such a request before any handler sees it, with a status and nothing else. Whoever sent it is told as much as
//! anybody else: [`bare_refusal`] finds the server's refusal in what it sends, and [`Unread::answer`] is sent in its place.

use std::time::SystemTime;

use actix_web::http::header::{HeaderValue, HttpDate};

use super::error::ApiError;
use super::exchange::{HEADER_BYTES_MAX, Mode};

/// Why a request was not read. The connection ends behind the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is no HTTP/1.1.
    Malformed,
    /// Its head has no end within the bound.
    TooLarge,
    /// Its head has no end in time.
    TooSlow,
}

impl Unread {
    /// The whole answer, with a problem document.
    pub(crate) fn answer(self, request_id: &HeaderValue) -> Vec<u8> {
        let error = match self {
            Unread::Malformed => ApiError::MalformedRequest,
            Unread::TooLarge => ApiError::HeadersTooLarge { bytes_max: HEADER_BYTES_MAX },
            Unread::TooSlow => ApiError::RequestTimeout,
        };
        let request_id = request_id.to_str().unwrap_or_default();
        // An empty reference is that of the request, whose path nobody knows.
        let problem = error.problem("", request_id, Mode::Real);
        let body = serde_json::to_string(&problem).unwrap_or_default();
        let status = error.status();
        #[expect(clippy::disallowed_methods, reason = "a header, by which nothing is decided")]
        let date = HttpDate::from(SystemTime::now());
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
             connection: close\r\nx-request-id: {request_id}\r\ndate: {date}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}

/// Where the server's own refusal begins, which is the last it sends on a connection, and why it refuses. No handler answers
/// with such a status and without a body.
pub(crate) fn bare_refusal(sent: &[u8]) -> Option<(usize, Unread)> {
    if !sent.ends_with(b"\r\n\r\n") {
        return None;
    }
    let begin = memchr::memmem::rfind(sent, b"HTTP/1.1 ")?;
    let head = &sent[begin..];
    let why = match head.get(9..12)? {
        b"400" => Unread::Malformed,
        b"408" => Unread::TooSlow,
        b"431" => Unread::TooLarge,
        _ => return None,
    };
    memchr::memmem::find(head, b"\r\ncontent-length: 0\r\n").map(|_| (begin, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_server_refuses_by_itself_is_found() {
        let bare = "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\ndate: now\r\n\r\n";
        assert_eq!(bare_refusal(bare.as_bytes()), Some((0, Unread::TooLarge)));
        let before = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        let both = format!("{before}HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(bare_refusal(both.as_bytes()), Some((before.len(), Unread::Malformed)));
        for other in [
            "",
            "\r\n\r\n",
            before,
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            // To a HEAD, and the part of a longer answer.
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 214\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n",
            "HTTP/1.1 4\r\n\r\n",
        ] {
            assert_eq!(bare_refusal(other.as_bytes()), None, "{other:?}");
        }
    }

    #[test]
    fn its_answer_is_a_problem_document_of_the_announced_length() {
        for (why, status, code) in [
            (Unread::Malformed, 400, "malformed_request"),
            (Unread::TooSlow, 408, "request_timeout"),
            (Unread::TooLarge, 431, "headers_too_large"),
        ] {
            let text = String::from_utf8(why.answer(&HeaderValue::from_static("mine"))).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{head}");
            let problem: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!((&problem["code"], &problem["request_id"]), (&code.into(), &"mine".into()));
            assert_eq!(problem["status"], status);
        }
    }
}
