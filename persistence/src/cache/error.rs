//! What can be wrong with the cache.

use std::path::PathBuf;
use std::time::Duration;

use florin_engine::JournalSeq;
use fred::error::Error as RedisError;

/// Options with which no connection can be tried.
#[derive(Debug, thiserror::Error)]
pub enum CacheOptionsError {
    /// The URL does not begin like that of a Redis.
    #[error("the cache's URL is not of the form redis://host:port or rediss://host:port")]
    Scheme,
    /// The URL can not be read. Its text may hold a password, so it is not repeated.
    #[error("the cache's URL is not of the form redis://host:port: {}", .0.details())]
    Url(RedisError),
    /// The file of authorities can not be used.
    #[error("the cache's authorities can not be read from {}: {reason}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The time for an answer is out of its bounds.
    #[error("the cache's command time-out must be 50 to 250 ms, not {0:?}")]
    CommandTimeout(Duration),
    /// The client could not be made.
    #[error("the cache's client can not be made: {}", .0.details())]
    Client(RedisError),
}

/// Why something was not done to the cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It did not answer, or with an error: whether it was done is not known. It may be tried again.
    #[error("the cache does not answer: {}", .0.details())]
    Away(RedisError),
    /// The writer's epoch does not stand any more: a new one must begin.
    #[error("the cache lost the epoch, which must begin anew")]
    EpochLost,
    /// Another writer's epoch stands there, and may not be taken over now.
    #[error("another writer serves the cache, up to position {}", .covered.0)]
    Fenced {
        /// What it covers.
        covered: JournalSeq,
    },
}
