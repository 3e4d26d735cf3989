//! What can become of a call that did not succeed.

use std::borrow::Cow;

/// Why a call did not succeed, and what is known of what it asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The server refused it. Nothing changed, but that the id of a transfer may be used up.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It was surely not done before the deadline: no server was reached, the server said that it did nothing, or there was no room
    /// in the queue. It can be asked again, with the same id or a new one.
    #[error("not sent: {why}")]
    NotSent {
        /// What happened last.
        why: String,
    },
    /// Nobody knows what became of it before the deadline. Ask again with the same id, and only with that.
    #[error("the outcome is unknown: {why}")]
    OutcomeUnknown {
        /// What happened last.
        why: String,
    },
    /// As many transfers wait as may: [`Client::try_transfer`](crate::Client::try_transfer) does not wait for room. It was not sent.
    #[error("the queue is full")]
    QueueFull,
    /// What was asked for can not be sent, or not in this way. It was not sent.
    #[error("this can not be sent: {why}")]
    Unsendable {
        /// Why.
        why: &'static str,
    },
    /// What answered is no Florin server of a version that this client knows. What became of a command is unknown.
    #[error("this is no answer of a Florin server: {why}")]
    Foreign {
        /// What is odd about it.
        why: String,
    },
}

impl Error {
    /// The same error, told to the call that asked for one thing: where that stood in a batch means nothing to it.
    pub(crate) fn of_one(self) -> Error {
        match self {
            Error::Refused(refusal) => Error::Refused(Refusal { index: None, ..refusal }),
            error => error,
        }
    }

    /// The code of the refusal, if it is one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Error::Refused(refusal) => Some(&refusal.code),
            _ => None,
        }
    }
}

/// A refusal: by the rules of the ledger, or of what can not be read or may not be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Refusal {
    /// The stable name of the reason, as in the error catalogue of the server (`/errors`).
    pub code: Cow<'static, str>,
    /// A sentence for people.
    pub detail: Cow<'static, str>,
    /// Which event it is about, where a batch is refused as a whole.
    pub index: Option<u32>,
}

/// Why a client can not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The URL is no scheme and authority.
    #[error("{url} is no http:// or https:// with a host and nothing behind it")]
    Url {
        /// What was given.
        url: String,
    },
    /// The key has characters that no key has.
    #[error("the API key has characters that no key has")]
    ApiKey,
    /// A bound that must not be zero, or is above what a server takes.
    #[error("{name} must be 1 to {most}")]
    Bound {
        /// Which one.
        name: &'static str,
        /// The largest value.
        most: usize,
    },
    /// No authority's certificate could be read.
    #[error("no certificate of an authority: {why}")]
    Authorities {
        /// Why.
        why: String,
    },
    /// The TLS library can not be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
}
