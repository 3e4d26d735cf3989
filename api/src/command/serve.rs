//! `florin serve`: opens the ledger, answers over HTTP until it is asked to stop, and leaves nothing half done.
//!
//! The port is bound before the ledger is opened, so that a busy one is reported at once and no recovery is done in vain. Callers that
//! connect meanwhile wait in the listener's queue.

mod files;
mod parts;
mod reread;
mod risks;

use std::future::Future;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::rt::System;
use florin_actors::Durability;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::config::{Config, ConfigError, Flags, ListenAddress};
use crate::http::{self, HttpConfig, Ledger};
use crate::keys::KeysError;
use crate::telemetry;
use crate::tls::TlsError;

use super::scheduling::prefer_full_turns;
use super::text;

/// How long requests that were accepted may take to be answered after a stop was asked for.
const DRAIN_PATIENCE: Duration = Duration::from_secs(30);

/// How long a failed ledger lets the HTTP side tell those who wait that their outcome is unknown.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(2);

/// Why a server did not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServeError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(
        "{listen} is in use by another process; stop that one, or choose another port with --listen"
    )]
    PortInUse { listen: ListenAddress },
    #[error("cannot listen on {listen}")]
    Bind { listen: ListenAddress, source: io::Error },
    #[error(transparent)]
    Open(#[from] florin_actors::OpenError),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot serve HTTP")]
    Http(#[source] io::Error),
    #[error("cannot watch for signals")]
    Signals(#[source] io::Error),
}

/// How serving ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// All that was accepted is answered and durable.
    Drained,
    /// Not all of it, within the time that a stop may take. What was acknowledged is durable all the same.
    Cut,
    /// Asked for twice, so at once.
    AtOnce,
    /// The ledger can not go on; what waited was told that its outcome is unknown.
    Failed,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// One sentence about why it did not start or had to end.
pub(super) fn run(flags: &Flags) -> Result<ExitCode, ServeError> {
    let config = Config::of_process(flags)?.config;
    telemetry::start(config.log);
    for risk in risks::of(&config) {
        warn!("{risk}");
    }
    let system = System::new();
    // From here on a hangup, which means "reread" and may come early, ends nothing.
    let hangups =
        system.block_on(async { signal(SignalKind::hangup()) }).map_err(ServeError::Signals)?;
    let server = Server::open(&config)?;
    let ending = system.block_on(async {
        let stops = stops_by_signal().map_err(ServeError::Signals)?;
        actix_web::rt::spawn(reread::at(hangups, server.http.clone()));
        let ready = server.ready_line(&config);
        server.serve(stops, || announce(&ready)).await
    })?;
    Ok(match ending {
        Ending::Drained => ExitCode::SUCCESS,
        // Threads may still be busy with what will not end: the process ends without them. The journal is made for that.
        Ending::Cut | Ending::AtOnce | Ending::Failed => std::process::exit(1),
    })
}

/// The one line on the standard output that scripts and people wait for.
fn announce(line: &str) {
    let mut stdout = io::stdout().lock();
    if let Err(error) = writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        // Nobody listens there, which is no reason not to serve.
        warn!(%error, "cannot write to the standard output");
    }
}

/// One message for each SIGTERM and SIGINT.
fn stops_by_signal() -> io::Result<mpsc::Receiver<()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, receiver) = mpsc::channel(2);
    actix_web::rt::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if sender.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

/// A bound port and an open ledger, about to serve.
pub(super) struct Server {
    ledger: Ledger,
    listener: TcpListener,
    address: SocketAddr,
    http: HttpConfig,
}

impl Server {
    /// Reads keys and certificates, binds the port, then opens and recovers the ledger. Blocks until that is done. From here on the process schedules its
    /// threads as a server does.
    ///
    /// # Errors
    /// The keys or certificates can not be used, the port can not be had, or the data directory can not be used.
    pub(super) fn open(config: &Config) -> Result<Server, ServeError> {
        let listen = config.listen;
        let http = parts::http(config)?;
        let listener = TcpListener::bind(listen.0).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => ServeError::PortInUse { listen },
            _ => ServeError::Bind { listen, source },
        })?;
        let address =
            listener.local_addr().map_err(|source| ServeError::Bind { listen, source })?;
        prefer_full_turns();
        let ledger = parts::ledger(config)?;
        Ok(Server { ledger, listener, address, http })
    }

    /// Where it listens, with the port that was picked.
    pub(super) fn url(&self) -> String {
        let scheme = if self.http.certificates.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    fn ready_line(&self, config: &Config) -> String {
        let Some(florin) = self.ledger.owner() else {
            return format!("florin ready on {} (reading what its writer fills)", self.url());
        };
        format!(
            "florin ready on {} (data {}, ledger at position {}, durability {})",
            self.url(),
            config.data_dir.display(),
            florin.positions().durable.0,
            match config.durability {
                Durability::Fsync => "fsync",
                Durability::Memory => "memory",
            }
        )
    }

    /// Serves until the first message of `stops`, then finishes what was accepted; a second message ends that at once.
    /// Must run on an actix system.
    ///
    /// # Errors
    /// The HTTP side did not start, or ended by itself.
    pub(super) async fn serve(
        self,
        mut stops: mpsc::Receiver<()>,
        ready: impl FnOnce(),
    ) -> Result<Ending, ServeError> {
        let ledger = self.ledger;
        let server =
            http::run(ledger.clone(), self.http, self.listener).map_err(ServeError::Http)?;
        let handle = server.handle();
        // A task of its own, since stopping waits for the server, which must go on running meanwhile.
        let mut serving = actix_web::rt::spawn(server);
        ready();
        tokio::select! {
            _ = stops.recv() => {
                info!("stopping: no more connections, finishing what was accepted");
                let drained = drain(&ledger, &handle);
                Ok(until_stopped_again(drained, stops).await)
            }
            reason = ledger.failed() => Ok(farewell(&reason, &handle).await),
            ended = &mut serving => {
                let error = match ended {
                    Ok(Ok(())) => io::Error::other("the HTTP server ended by itself"),
                    Ok(Err(error)) => error,
                    Err(panicked) => io::Error::other(panicked),
                };
                Err(ServeError::Http(error))
            }
        }
    }
}

/// Answers what was accepted, then seals the journal. The store is not waited for: it catches up after the next start.
async fn drain(ledger: &Ledger, handle: &ServerHandle) -> Ending {
    let drained = async {
        handle.stop(true).await;
        if let Some(florin) = ledger.owner() {
            florin.stop().await;
        }
        Ending::Drained
    };
    tokio::select! {
        ended = tokio::time::timeout(DRAIN_PATIENCE, drained) => match ended {
            Ok(ending) => {
                info!("stopped: everything accepted is answered and durable");
                ending
            }
            Err(_) => {
                error!("not everything was answered within {}", text::time(DRAIN_PATIENCE));
                Ending::Cut
            }
        },
        reason = ledger.failed() => farewell(&reason, handle).await,
    }
}

/// Lets those who wait hear that their outcome is unknown, for as long as a process may live whose ledger has failed.
async fn farewell(reason: &str, handle: &ServerHandle) -> Ending {
    error!("the ledger has failed and the process ends: {reason}");
    if tokio::time::timeout(FAREWELL_PATIENCE, handle.stop(true)).await.is_err() {
        warn!("not every request was answered before the end");
    }
    Ending::Failed
}

async fn until_stopped_again(
    drained: impl Future<Output = Ending>,
    mut stops: mpsc::Receiver<()>,
) -> Ending {
    let again = async {
        if stops.recv().await.is_none() {
            // Whoever could ask again is gone.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        ending = drained => ending,
        () = again => {
            warn!("asked to stop a second time: leaving at once");
            Ending::AtOnce
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn a_second_stop_does_not_wait_for_the_drain() {
        let (sender, receiver) = mpsc::channel(2);
        sender.try_send(()).unwrap();
        let ending = run(until_stopped_again(std::future::pending(), receiver));
        assert_eq!(ending, Ending::AtOnce);
    }

    #[test]
    fn without_a_second_stop_the_drain_is_finished() {
        let (sender, receiver) = mpsc::channel::<()>(2);
        drop(sender);
        let drained = async {
            tokio::task::yield_now().await;
            Ending::Drained
        };
        assert_eq!(run(until_stopped_again(drained, receiver)), Ending::Drained);
    }
}
