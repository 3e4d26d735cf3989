//! The HTTP edge: bytes to commands, outcomes to answers.
//!
//! Only what can not be read is refused here; every other question is the ledger's. [`routes`] lists all routes, the modules
//! named by nouns hold their handlers, [`exchange`] is what happens around each of them, [`door`] asks who sends it, and [`answers`] makes first answers
//! and replays from the same record.

mod accounts;
mod answers;
mod batch;
mod binary;
mod body;
mod catalogue;
mod connection;
mod docs;
mod door;
mod error;
mod exchange;
mod fingerprint;
mod flood;
mod forward;
mod fresh;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod history;
mod key;
mod ledger;
mod ledgers;
mod lists;
mod lookup;
#[cfg(any(test, feature = "measured"))]
pub mod measured;
mod openapi;
mod ops;
mod query;
mod reports;
mod routes;
mod short;
mod statement;
mod submit;
mod transactions;
mod transfers;
mod unread;
mod wire;

use std::future::ready;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_http::HttpService;
use actix_http::error::DispatchError;
use actix_server::GracefulShutdownSignal;
use actix_service::{ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_tls::accept::TlsError;
use actix_tls::accept::rustls_0_23::{Acceptor, TlsStream};
use actix_web::dev::{AppConfig, Server};
use actix_web::rt::net::TcpStream;
use actix_web::{App, rt};
use florin_actors::Durability;
use tokio::io::{AsyncRead, AsyncWrite};

use self::body::Gathering;
use self::connection::Connection;
pub(crate) use self::door::Door;
use self::exchange::RequestIds;
use self::flood::Flood;
pub(crate) use self::forward::{Writer, never_reached};
use self::key::KeysInFlight;
pub(crate) use self::ledger::Ledger;
pub(crate) use self::query::encode;
use self::routes::Routes;
pub(crate) use self::wire::values::{data_128_text, id_text};
use crate::keys::Keyring;
use crate::telemetry::{self, AuthFailureMetrics, OutcomeMetrics, ReadMetrics, RefusedMetrics};
use crate::tls::Certificates;

/// How long the head of a request may take to arrive.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// How long a client may take to agree on TLS. Those who do not agree keep others waiting once there are hundreds of them.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection may be idle before it is closed; longer than the idle time of common balancers and clients.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Connections that one worker has, at some 20 KiB each, however many files it could open.
const CONNECTIONS_OF_A_WORKER_MAX: usize = 25_600;
/// How long a connection that is closed may take to hear of it.
const DISCONNECT_PATIENCE: Duration = Duration::from_secs(1);
/// How long a stop waits for requests that are under way.
const SHUTDOWN_SECONDS: u64 = 30;

/// How the HTTP side is set up.
#[derive(Clone)]
pub(crate) struct HttpConfig {
    /// Threads that serve requests.
    pub(crate) workers: usize,
    /// Bytes of a body that is no batch.
    pub(crate) body_bytes: usize,
    /// Bytes of a batch.
    pub(crate) batch_body_bytes: usize,
    /// Bytes of all bodies together that come in pieces.
    pub(crate) bodies_bytes: usize,
    /// Connections at one time; more wait until one of these ends.
    pub(crate) connections: usize,
    /// What the ledger acknowledges, for the header that says so.
    pub(crate) durability: Durability,
    /// Whether lists and history are served.
    pub(crate) history: History,
    /// Where commands go that a reader is sent.
    pub(crate) writer: Option<Writer>,
    /// The keys that callers need; without any, nobody is asked who they are.
    pub(crate) api_keys: Option<Arc<Keyring>>,
    /// What `/metrics` asks of its readers.
    pub(crate) metrics_door: Door,
    /// What TLS is spoken with; plain HTTP without.
    pub(crate) certificates: Option<Arc<Certificates>>,
}

/// Whether lists and history are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum History {
    /// They are.
    Served,
    /// Readers serve them.
    Elsewhere,
}

/// What all requests share.
struct State {
    ledger: Ledger,
    config: HttpConfig,
    outcomes: OutcomeMetrics,
    refused: RefusedMetrics,
    auth_failures: AuthFailureMetrics,
    reads: ReadMetrics,
    keys_in_flight: KeysInFlight,
    request_ids: Arc<RequestIds>,
    bodies: Arc<Gathering>,
    /// Requests that were turned away, to be told together.
    refusals: Flood,
}

impl State {
    fn new(ledger: Ledger, config: HttpConfig) -> State {
        // The handles below count into this recorder.
        telemetry::recorder();
        State {
            bodies: Gathering::new(config.bodies_bytes),
            refusals: Flood::new(),
            ledger,
            config,
            outcomes: OutcomeMetrics::new(),
            refused: RefusedMetrics::new(),
            auth_failures: AuthFailureMetrics::new(),
            reads: ReadMetrics::new(),
            keys_in_flight: KeysInFlight::default(),
            request_ids: Arc::new(RequestIds::new()),
        }
    }
}

/// Serves the ledger on a bound listener, until the server's handle stops it. Must be called within an actix system.
///
/// # Errors
/// The listener can not be used.
pub(crate) fn run(ledger: Ledger, config: HttpConfig, listener: TcpListener) -> io::Result<Server> {
    let workers = config.workers;
    let connections_of_each = (config.connections / workers).clamp(1, CONNECTIONS_OF_A_WORKER_MAX);
    let tls = config.certificates.clone().map(Certificates::server_config).transpose();
    let tls = tls.map_err(io::Error::other)?;
    let state = Arc::new(State::new(ledger, config));
    let request_ids = state.request_ids.clone();
    let routes = Arc::new(Routes::all(&state));
    rt::spawn(upkeep());
    let server = Server::build()
        .workers(workers)
        .max_concurrent_connections(connections_of_each)
        .shutdown_timeout(SHUTDOWN_SECONDS)
        // Whoever runs the process decides when it stops.
        .disable_signals();
    let stop = server.graceful_shutdown_signal();
    let server = match tls {
        None => server.listen("florin", listener, move || {
            let request_ids = request_ids.clone();
            fn_service(move |stream: TcpStream| ready(Ok(bounded(stream, &request_ids))))
                .and_then(http1(routes.clone(), stop.clone()))
        })?,
        Some(mut tls) => {
            tls.alpn_protocols = vec![b"http/1.1".to_vec()];
            server.listen("florin", listener, move || {
                let request_ids = request_ids.clone();
                let mut acceptor = Acceptor::new(tls.clone());
                acceptor.set_handshake_timeout(HANDSHAKE_PATIENCE);
                acceptor
                    .map_err(TlsError::into_service_error)
                    .map(move |stream: TlsStream<TcpStream>| bounded(stream, &request_ids))
                    .and_then(http1(routes.clone(), stop.clone()).map_err(TlsError::Service))
            })?
        }
    };
    Ok(server.run())
}

/// A connection as the HTTP side takes it. Nobody asks for its other end's address.
fn bounded<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    request_ids: &Arc<RequestIds>,
) -> (Connection<S>, Option<SocketAddr>) {
    (Connection::new(stream, request_ids.clone()), None)
}

/// HTTP/1.1 over connections that are within their bounds.
fn http1<S>(
    routes: Arc<Routes>,
    stop: GracefulShutdownSignal,
) -> impl ServiceFactory<
    (Connection<S>, Option<SocketAddr>),
    Config = (),
    Response = (),
    Error = DispatchError,
    InitError = (),
>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let app = App::new().configure(|app| routes.configure(app));
    HttpService::build()
        .graceful_shutdown_signal(move || {
            let stop = stop.clone();
            async move { stop.notified().await }
        })
        .client_request_timeout(HEAD_PATIENCE)
        .client_disconnect_timeout(DISCONNECT_PATIENCE)
        .keep_alive(KEEP_ALIVE)
        .on_connect_ext(|connection: &Connection<S>, data| {
            data.insert(connection.flow());
        })
        .h1(map_config(app, |()| AppConfig::default()))
}

async fn upkeep() {
    let mut period = tokio::time::interval(telemetry::UPKEEP_PERIOD);
    loop {
        period.tick().await;
        telemetry::recorder().run_upkeep();
    }
}

#[cfg(test)]
mod tests;
