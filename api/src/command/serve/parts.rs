//! What a server is made of, from its configuration: the ledger or a reader of it, and the HTTP side.

use std::sync::Arc;

use florin_actors::{CacheOptions, Florin, Options, Reader, StoreChoice};
use florin_persistence::store::{PostgresOptions, Store};
use tracing::warn;

use crate::config::{Config, MetricsAccess, Role};
use crate::http::{Door, History, HttpConfig, Ledger, Writer};
use crate::keys::{Keyring, Scope};
use crate::tls::{self, Certificates};

use super::{ServeError, files};

/// Opens the ledger and recovers it, or a reader of one. Blocks until that is done.
pub(super) fn ledger(config: &Config) -> Result<Ledger, ServeError> {
    let postgres = config.database_url.as_ref().map(|url| PostgresOptions::new(&url.0));
    let cache = config
        .redis_url
        .as_ref()
        .map(|url| CacheOptions { ca_file: config.redis_ca.clone(), ..CacheOptions::new(&url.0) });
    match (config.role, postgres) {
        (Role::Read, Some(options)) => {
            let store = Store::postgres_reader(options).map_err(florin_actors::OpenError::Store)?;
            Ok(Ledger::Reader(Reader::new(store, cache).map_err(florin_actors::OpenError::Cache)?))
        }
        (Role::Read | Role::All | Role::Write, postgres) => {
            let store = match postgres {
                None => StoreChoice::Embedded,
                Some(options) => StoreChoice::Postgres { options, take_over: config.take_over },
            };
            Ok(Ledger::Owner(Florin::open(options(config, store, cache))?))
        }
    }
}

fn options(config: &Config, store: StoreChoice, cache: Option<CacheOptions>) -> Options {
    let limits = &config.limits;
    Options {
        store,
        cache,
        durability: config.durability,
        clock_acceptance: config.clock,
        journal_archive: config.journal_archive.0.clone(),
        segment_bytes: limits.segment_bytes.0,
        limits: florin_actors::Limits {
            events_in_flight: limits.events_in_flight.0,
            bytes_in_flight: limits.bytes_in_flight.0,
            backlog_bytes: limits.backlog_bytes.0,
        },
        ..Options::new(&config.data_dir)
    }
}

/// How HTTP is served.
///
/// # Errors
/// The keys, the certificate or the authority of the writer can not be used.
pub(super) fn http(config: &Config) -> Result<HttpConfig, ServeError> {
    let limits = &config.limits;
    // Only on machines whose addresses are smaller than their disks could this cut anything.
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let api_keys = config.api_keys.as_deref().map(Keyring::open).transpose()?.map(Arc::new);
    if let Some(keys) = api_keys.as_ref().filter(|keys| keys.count() == 0) {
        warn!("there is no key in {}: nobody is let in", keys.path().display());
    }
    let certificates = config.tls.as_ref().map(Certificates::open).transpose()?.map(Arc::new);
    Ok(HttpConfig {
        workers: limits.workers.count(),
        body_bytes: size(limits.body_bytes.0),
        batch_body_bytes: size(limits.batch_body_bytes.0),
        bodies_bytes: size(limits.bytes_in_flight.0),
        connections: files::for_connections(files::raise_limit()),
        durability: config.durability,
        history: match config.role {
            Role::All | Role::Read => History::Served,
            Role::Write => History::Elsewhere,
        },
        writer: writer(config)?,
        api_keys,
        metrics_door: match config.metrics_access {
            MetricsAccess::Read => Door::Needs(Scope::Read),
            MetricsAccess::Open => Door::Open,
        },
        certificates,
    })
}

fn writer(config: &Config) -> Result<Option<Writer>, ServeError> {
    let Some(url) = &config.writer_url else { return Ok(None) };
    let tls = match url.0.scheme_str() {
        Some("https") => Some(tls::trusting(config.writer_ca.as_deref())?),
        _ => None,
    };
    Ok(Some(Writer::new(&url.0.to_string(), tls)))
}
