//! The client, with bounds where its defaults have none: it waits for ever, buffers without end, and sends again what may have happened.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fred::prelude::*;
use fred::types::config::{TlsConnector, UnresponsiveConfig};
use fred::types::{ConnectHandle, RespVersion};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::error::{CacheError, CacheOptionsError};
use super::near::NEWS_WAITING_MAX;
use super::options::CacheOptions;

/// Of these, the ones that lead to one server.
const SCHEMES_OF_ONE: usize = 2;
/// What a URL may begin with. The client takes anything for a plain connection.
const SCHEMES: [&str; 6] =
    ["redis", "rediss", "redis-cluster", "rediss-cluster", "redis-sentinel", "rediss-sentinel"];
/// Commands that may wait to be sent on one connection; beyond it they fail at once.
const COMMANDS_WAITING_MAX: usize = 4096;
/// A connection that owes an answer for so long is closed and made anew, looked at so often.
const UNRESPONSIVE: Duration = Duration::from_secs(1);
const UNRESPONSIVE_INTERVAL: Duration = Duration::from_millis(250);
/// The pause between two attempts to connect, in milliseconds; the first one, the longest, and the factor from one to the next.
const RECONNECT_MS: (u32, u32, u32) = (50, 2000, 2);

/// Whether the URL leads to one server, rather than to whichever of several is in charge.
pub(super) fn is_of_one(options: &CacheOptions) -> bool {
    SCHEMES[..SCHEMES_OF_ONE].contains(&scheme(options))
}

fn scheme(options: &CacheOptions) -> &str {
    options.url.split("://").next().unwrap_or_default()
}

/// Where to connect to, and how.
pub(super) fn config(options: &CacheOptions) -> Result<Config, CacheOptionsError> {
    if !SCHEMES.contains(&scheme(options)) {
        return Err(CacheOptionsError::Scheme);
    }
    let mut config = Config::from_url(&options.url).map_err(CacheOptionsError::Url)?;
    // A cache that is away at the start is like one that goes away later.
    config.fail_fast = false;
    if config.password.is_none() {
        config.password.clone_from(&options.password);
    }
    if let (Some(tls), Some(path)) = (&mut config.tls, &options.ca_file) {
        let fail = |reason: String| CacheOptionsError::Authorities { path: path.clone(), reason };
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(path).map_err(|e| fail(e.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| fail(error.to_string()))?;
            roots.add(certificate).map_err(|error| fail(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(fail("there is no certificate in it".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| fail(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.connector = TlsConnector::from(client);
    }
    Ok(config)
}

/// A client that does not connect again when its connection breaks.
fn builder(options: &CacheOptions) -> Result<Builder, CacheOptionsError> {
    options.check()?;
    let mut builder = Builder::from_config(config(options)?);
    builder
        .with_performance_config(|performance| {
            performance.default_command_timeout = options.command_timeout;
        })
        .with_connection_config(|connection| {
            connection.connection_timeout = options.connect_timeout;
            connection.internal_command_timeout = options.connect_timeout;
            // What may have happened is asked for by its caller, and not sent again.
            connection.max_command_attempts = 1;
            connection.max_command_buffer_len = COMMANDS_WAITING_MAX;
            connection.unresponsive = UnresponsiveConfig {
                max_timeout: Some(UNRESPONSIVE),
                interval: UNRESPONSIVE_INTERVAL,
            };
            connection.tcp.nodelay = Some(true);
        });
    Ok(builder)
}

/// The client of a session: one connection, whose end is the end of it.
pub(super) fn tracked(options: &CacheOptions) -> Result<Client, CacheOptionsError> {
    let mut builder = builder(options)?;
    builder
        .with_config(|config| {
            config.version = RespVersion::RESP3;
            config.fail_fast = true;
        })
        .with_performance_config(|performance| {
            performance.broadcast_channel_capacity = NEWS_WAITING_MAX;
        });
    builder.build().map_err(CacheOptionsError::Client)
}

/// Connections that end when this is dropped. They live on the tokio runtime within which they were made.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) pool: Pool,
    tasks: Vec<ConnectHandle>,
    /// Why a connection was last not made, or broke. A command that waits for one only runs out of time.
    trouble: Arc<Mutex<Option<Error>>>,
}

impl Connections {
    /// Begins to connect, and goes on for as long as it takes.
    pub(super) fn begin(options: &CacheOptions, count: usize) -> Result<Self, CacheOptionsError> {
        let (first, longest, factor) = RECONNECT_MS;
        let pool = builder(options)?
            .set_policy(ReconnectPolicy::new_exponential(0, first, longest, factor))
            .build_pool(count)
            .map_err(CacheOptionsError::Client)?;
        let trouble: Arc<Mutex<Option<Error>>> = Arc::default();
        let note = |client: &Client| {
            let trouble = trouble.clone();
            client.on_error(move |(error, _)| {
                *trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                std::future::ready(Ok(()))
            })
        };
        let mut tasks: Vec<ConnectHandle> = pool.clients().iter().map(note).collect();
        tasks.extend(pool.connect_pool());
        Ok(Connections { pool, tasks, trouble })
    }

    /// What a command that failed comes to: while nothing is connected, why not says more than that time ran out.
    pub(super) fn away(&self, error: Error) -> CacheError {
        let is_connected = self.pool.clients().iter().any(ClientLike::is_connected);
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        CacheError::Away(trouble.filter(|_| !is_connected).unwrap_or(error))
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.tasks.iter().for_each(ConnectHandle::abort);
    }
}
