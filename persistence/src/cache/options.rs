//! Where the cache is and how long it is waited for.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::error::CacheOptionsError;

/// Where the cache is and how long it is waited for.
#[derive(Clone)]
pub struct CacheOptions {
    /// `redis://[user[:password]@]host[:port][/db]`, `rediss://` for TLS, `redis-sentinel://` or `redis-cluster://`.
    pub url: String,
    /// The password, where the URL has none.
    pub password: Option<String>,
    /// PEM file of the authorities that the server's certificate is checked with; without it those of the system.
    pub ca_file: Option<PathBuf>,
    /// An answer that takes longer has failed; 50 to 250 ms.
    pub command_timeout: Duration,
    /// A connection that takes longer to be made has failed, TLS included.
    pub connect_timeout: Duration,
    /// An entry that was neither written nor brought in again for so long goes.
    pub entry_ttl: Duration,
    /// A reader of one server (`redis://`, `rediss://`) remembers so many accounts, and answers them without a round trip while
    /// the server tells it of changes; with 0 it remembers none.
    pub near_entries: usize,
    /// A cache that is so many bytes of journal behind begins anew where the journal ends, rather than catch up.
    pub lag_bytes_max: u64,
}

const COMMAND_TIMEOUT_MIN: Duration = Duration::from_millis(50);
const COMMAND_TIMEOUT_MAX: Duration = Duration::from_millis(250);

impl CacheOptions {
    /// The cache at this URL, with the usual bounds: 100 ms for an answer, 1 s for a connection, 1 h for an entry, 100,000
    /// remembered by a reader (about 50 MB), and a lag of 128 MiB, which is about a million single transfers or two million in batches.
    #[must_use]
    pub fn new(url: impl Into<String>) -> CacheOptions {
        CacheOptions {
            url: url.into(),
            password: None,
            ca_file: None,
            command_timeout: Duration::from_millis(100),
            connect_timeout: Duration::from_secs(1),
            entry_ttl: Duration::from_secs(3600),
            near_entries: 100_000,
            lag_bytes_max: 128 << 20,
        }
    }

    /// Whether a connection could be tried with these options; asks nothing of the server.
    ///
    /// # Errors
    /// See [`CacheOptionsError`].
    pub fn check(&self) -> Result<(), CacheOptionsError> {
        if !(COMMAND_TIMEOUT_MIN..=COMMAND_TIMEOUT_MAX).contains(&self.command_timeout) {
            return Err(CacheOptionsError::CommandTimeout(self.command_timeout));
        }
        super::connection::config(self).map(drop)
    }

    /// The URL without what is secret in it.
    #[must_use]
    pub fn shown_url(&self) -> String {
        // A query can hold the password of a sentinel.
        let url = self.url.split(['?', '#']).next().unwrap_or_default();
        let Some((scheme, rest)) = url.split_once("://") else { return "(unreadable)".to_owned() };
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        format!("{scheme}://{place}")
    }
}

impl fmt::Debug for CacheOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CacheOptions { url: _, password, ca_file, command_timeout, .. } = self;
        let CacheOptions { connect_timeout, entry_ttl, near_entries, lag_bytes_max, .. } = self;
        f.debug_struct("CacheOptions")
            .field("url", &self.shown_url())
            .field("password", &password.as_ref().map(|_| "(hidden)"))
            .field("ca_file", ca_file)
            .field("command_timeout", command_timeout)
            .field("connect_timeout", connect_timeout)
            .field("entry_ttl", entry_ttl)
            .field("near_entries", near_entries)
            .field("lag_bytes_max", lag_bytes_max)
            .finish()
    }
}
