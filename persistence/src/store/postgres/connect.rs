//! Sessions with the server: how they are made, how long they are waited for, and what their errors mean.

use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::options::PostgresOptions;
use crate::store::error::StoreError;

/// The server asks a silent session's process after so long, so often and so many times: the session of a process whose
/// machine is gone ends within half a minute, and with it its locks.
const KEEPALIVES: [(&str, &str); 3] = [
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
];
/// How long a statement waits for a row that another session holds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the server may take for a statement that reads whole tables, or changes them: nobody waits for those but who began them.
pub(super) const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 20 } else { 3600 });

/// How sessions of each kind are made.
pub(super) struct Sessions {
    pub(super) writer: PgConnectOptions,
    pub(super) reader: PgConnectOptions,
    pub(super) options: PostgresOptions,
}

fn milliseconds(limit: Duration) -> String {
    limit.as_millis().max(1).to_string()
}

impl Sessions {
    pub(super) fn new(options: PostgresOptions) -> Result<Sessions, StoreError> {
        let base = options.connect_options()?.options(KEEPALIVES);
        let named = |role: &str| {
            if base.get_application_name().is_some() {
                return base.clone();
            }
            base.clone().application_name(&format!("florin {role}, process {}", std::process::id()))
        };
        let write_limit = milliseconds(options.write_timeout);
        let writer = named("writer").options([
            // What a commit has answered is on the server's disk, whatever the server's own setting.
            ("synchronous_commit", "on"),
            ("statement_timeout", &write_limit),
            // A process that is stopped in the middle of a batch must not keep its successor out.
            ("idle_in_transaction_session_timeout", &write_limit),
            ("lock_timeout", &milliseconds(LOCK_TIMEOUT.min(options.write_timeout))),
            ("jit", "off"),
        ]);
        let read_limit = milliseconds(options.read_timeout);
        let reader = named("reader").options([
            ("default_transaction_read_only", "on"),
            ("statement_timeout", &read_limit),
            ("idle_in_transaction_session_timeout", &read_limit),
            // A page follows an index in its order and stops when it is full. Whatever the statistics say, or do not say yet,
            // nothing large is gathered first to be sorted.
            ("enable_sort", "off"),
            ("enable_seqscan", "off"),
            ("enable_bitmapscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            ("max_parallel_workers_per_gather", "0"),
            ("jit", "off"),
        ]);
        Ok(Sessions { writer, reader, options })
    }

    async fn connect(&self, options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
        within(self.options.connect_timeout, "connecting to the store", options.connect()).await
    }

    pub(super) async fn connect_writer(&self) -> Result<PgConnection, StoreError> {
        self.connect(&self.writer).await
    }

    pub(super) async fn connect_reader(&self) -> Result<PgConnection, StoreError> {
        self.connect(&self.reader).await
    }
}

/// Waits for the server no longer than `limit`. When that passes, what was begun is dropped: the connection that it was on must be, too.
pub(super) async fn within<T>(
    limit: Duration,
    doing: &'static str,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done.map_err(|source| database_error(doing, source)),
        Err(_) => Err(timed_out(limit, doing)),
    }
}

/// [`within`] for work that tells its errors apart itself.
pub(super) async fn within_store<T>(
    limit: Duration,
    doing: &'static str,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(timed_out(limit, doing)))
}

/// The database did not answer in time.
pub(super) fn timed_out(limit: Duration, doing: &'static str) -> StoreError {
    let message = format!("{doing}: no answer within {} s", limit.as_secs_f32());
    let source = sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, message));
    StoreError::Away { source }
}

/// Tells what passes from what does not, by the class of the server's code.
pub(super) fn database_error(doing: &'static str, source: sqlx::Error) -> StoreError {
    let passes = match &source {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        // A connection that broke off in the middle of a message.
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code_passes(&code)),
        _ => false,
    };
    if passes { StoreError::Away { source } } else { StoreError::Refused { doing, source } }
}

fn code_passes(code: &str) -> bool {
    match code {
        // A read-only transaction (a standby, or a server that was made read-only), one that was idle for too long.
        "25006" | "25P03" => true,
        // A lock that was not to be had, a statement that was cancelled, a server that stops or starts, I/O of the server.
        "55P03" | "57014" | "58030" => true,
        _ if code.starts_with("57P0") => true,
        // Broken connections; rolled back for the sake of others; no room, memory or connections left.
        _ => ["08", "40", "53"].iter().any(|class| code.starts_with(class)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_does_not() {
        let passing = [
            "08006", "08P01", "25006", "25P03", "40001", "40P01", "53000", "53100", "53200",
            "53300", "55P03", "57014", "57P01", "57P02", "57P03", "57P04", "57P05", "58030",
        ];
        for code in passing {
            assert!(code_passes(code), "{code}");
        }
        for code in [
            "22003", "22021", "23505", "23514", "28P01", "3D000", "42501", "42703", "42P01",
            "XX001",
        ] {
            assert!(!code_passes(code), "{code}");
        }
    }
}
