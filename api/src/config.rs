//! What the process is told at its start, and by whom.
//!
//! A setting has one name in three spellings: `data_dir` is the flag `--data-dir`, the variable `FLORIN_DATA_DIR` and the key
//! `data_dir` of the file. The first of flag, variable, file and default that speaks wins, and [`Resolved`] remembers which
//! it was. Everything is read once, here, and passed down as values.

mod layers;
#[cfg(test)]
mod tests;
mod values;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use florin_actors::{ClockAcceptance, Durability};
use florin_persistence::store::TakeOver;

use crate::keys::Token;
use crate::tls::TlsFiles;

pub(crate) use layers::{ConfigError, Flags, Layers};
pub(crate) use values::{
    Archive, ByteSize, Count, Exposure, ListenAddress, LogFormat, MetricsAccess, Role, Secret,
    Workers, WriterUrl,
};

/// How a setting is given, which is also how a shell completes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Text,
    Path,
    Choice(&'static [&'static str]),
    /// A flag that needs no value: alone it means `true`.
    Switch,
    /// A text that is never shown, neither by `florin config` nor in a complaint.
    Secret,
}

/// One setting: its name as a flag, and what people read about it.
#[derive(Debug)]
pub(crate) struct Spec {
    flag: &'static str,
    value_name: &'static str,
    default: &'static str,
    shape: Shape,
    help: &'static str,
}

impl Spec {
    /// The name in the file.
    fn key(&self) -> String {
        self.flag.replace('-', "_")
    }

    /// The name in the environment.
    fn variable(&self) -> String {
        format!("FLORIN_{}", self.key().to_uppercase())
    }

    /// The name that other programs know too, which counts where ours is not set.
    fn general_variable(&self) -> Option<&'static str> {
        match self.flag {
            "database-url" => Some("DATABASE_URL"),
            "redis-url" => Some("REDIS_URL"),
            _ => None,
        }
    }
}

const LISTEN: Spec = Spec {
    flag: "listen",
    value_name: "ADDR",
    default: "127.0.0.1:8080",
    shape: Shape::Text,
    help: "Address and port to serve HTTP on; port 0 picks a free one",
};
const DATA_DIR: Spec = Spec {
    flag: "data-dir",
    value_name: "DIR",
    default: "./florin-data",
    shape: Shape::Path,
    help: "Where the ledger lives: journal, snapshots, ids and the embedded store",
};
const DATABASE_URL: Spec = Spec {
    flag: "database-url",
    value_name: "URL",
    default: "none",
    shape: Shape::Secret,
    help: "PostgreSQL that write-behind fills and readers read (postgres://user@host/database); without, SQLite in the data directory",
};
const REDIS_URL: Spec = Spec {
    flag: "redis-url",
    value_name: "URL",
    default: "none",
    shape: Shape::Secret,
    help: "Redis that this process keeps balances in for readers, or reads them from (redis://host:6379, rediss:// for TLS)",
};
const REDIS_CA: Spec = Spec {
    flag: "redis-ca",
    value_name: "FILE",
    default: "none",
    shape: Shape::Path,
    help: "The authority that the certificate of --redis-url comes from (PEM), instead of those of the system",
};
const TAKE_OVER: Spec = Spec {
    flag: "take-over",
    value_name: "BOOL",
    default: "false",
    shape: Shape::Switch,
    help: "Become the writer of --database-url although another process seems to be it; that one then ends",
};
const ROLE: Spec = Spec {
    flag: "role",
    value_name: "ROLE",
    default: "all",
    shape: Shape::Choice(&["all", "write", "read"]),
    help: "What this process does: everything, commands and reads by id, or only reads from --database-url",
};
const WRITER_URL: Spec = Spec {
    flag: "writer-url",
    value_name: "URL",
    default: "none",
    shape: Shape::Text,
    help: "With --role read, where commands are passed on to (https://writer:8080); without, they get 405",
};
const WRITER_CA: Spec = Spec {
    flag: "writer-ca",
    value_name: "FILE",
    default: "none",
    shape: Shape::Path,
    help: "The authority that --writer-url's certificate comes from (PEM), instead of those of the system",
};
const DURABILITY: Spec = Spec {
    flag: "durability",
    value_name: "MODE",
    default: "fsync",
    shape: Shape::Choice(&["fsync", "memory"]),
    help: "When a write is answered: once it survives power loss (fsync), or at once, to be lost with the process (memory)",
};
const JOURNAL_ARCHIVE: Spec = Spec {
    flag: "journal-archive",
    value_name: "DIR",
    default: "none",
    shape: Shape::Path,
    help: "Keep journal segments here for ever, instead of removing them once snapshot and store cover them",
};
const LOG: Spec = Spec {
    flag: "log",
    value_name: "FORMAT",
    default: "text",
    shape: Shape::Choice(&["text", "json"]),
    help: "How the log on stderr is written",
};
const INSECURE_NO_AUTH: Spec = Spec {
    flag: "insecure-no-auth",
    value_name: "BOOL",
    default: "false",
    shape: Shape::Switch,
    help: "Allow an address that other machines can reach although nobody is asked who they are",
};
const API_KEYS: Spec = Spec {
    flag: "api-keys",
    value_name: "FILE",
    default: "none",
    shape: Shape::Path,
    help: "Let in only who holds a key of this file, which `florin keys new` makes; reread on SIGHUP",
};
const METRICS_ACCESS: Spec = Spec {
    flag: "metrics-access",
    value_name: "WHO",
    default: "read",
    shape: Shape::Choice(&["read", "open"]),
    help: "With --api-keys, who may read /metrics: any key (read), or everybody (open)",
};
const TLS_CERT: Spec = Spec {
    flag: "tls-cert",
    value_name: "FILE",
    default: "none",
    shape: Shape::Path,
    help: "Speak HTTPS with this certificate and those that lead to its authority (PEM); reread on SIGHUP",
};
const TLS_KEY: Spec = Spec {
    flag: "tls-key",
    value_name: "FILE",
    default: "none",
    shape: Shape::Path,
    help: "The private key of --tls-cert (PEM); reread on SIGHUP",
};
const ACCEPT_CLOCK: Spec = Spec {
    flag: "accept-clock",
    value_name: "BOOL",
    default: "false",
    shape: Shape::Switch,
    help: "Start although the clock is more than a day ahead of the newest record",
};
const EVENTS_IN_FLIGHT: Spec = Spec {
    flag: "events-in-flight",
    value_name: "COUNT",
    default: "65536",
    shape: Shape::Text,
    help: "Events accepted and not yet answered, past which callers get 503 overloaded",
};
const BYTES_IN_FLIGHT: Spec = Spec {
    flag: "bytes-in-flight",
    value_name: "SIZE",
    default: "256MiB",
    shape: Shape::Text,
    help: "Bytes of commands accepted and not yet answered, past which callers get 503 overloaded",
};
const BACKLOG_BYTES: Spec = Spec {
    flag: "backlog-bytes",
    value_name: "SIZE",
    default: "64GiB",
    shape: Shape::Text,
    help: "Journal that the store does not have yet, past which callers get 503 storage_full",
};
const SEGMENT_BYTES: Spec = Spec {
    flag: "segment-bytes",
    value_name: "SIZE",
    default: "64MiB",
    shape: Shape::Text,
    help: "Size of one journal segment, from 64KiB to 1GiB",
};
const WORKERS: Spec = Spec {
    flag: "workers",
    value_name: "COUNT",
    default: "auto",
    shape: Shape::Text,
    help: "Threads that read requests and write answers; auto is one for each core",
};
const BODY_BYTES: Spec = Spec {
    flag: "body-bytes",
    value_name: "SIZE",
    default: "256KiB",
    shape: Shape::Text,
    help: "Largest body of a request for one thing, past which it gets 413",
};
const BATCH_BODY_BYTES: Spec = Spec {
    flag: "batch-body-bytes",
    value_name: "SIZE",
    default: "16MiB",
    shape: Shape::Text,
    help: "Largest body of a batch, past which it gets 413",
};

/// Every setting, in the order in which `florin config` prints them.
const SETTINGS: [&Spec; 25] = [
    &LISTEN,
    &DATA_DIR,
    &DATABASE_URL,
    &REDIS_URL,
    &REDIS_CA,
    &TAKE_OVER,
    &ROLE,
    &WRITER_URL,
    &WRITER_CA,
    &DURABILITY,
    &JOURNAL_ARCHIVE,
    &LOG,
    &INSECURE_NO_AUTH,
    &API_KEYS,
    &METRICS_ACCESS,
    &TLS_CERT,
    &TLS_KEY,
    &ACCEPT_CLOCK,
    &EVENTS_IN_FLIGHT,
    &BYTES_IN_FLIGHT,
    &BACKLOG_BYTES,
    &SEGMENT_BYTES,
    &WORKERS,
    &BODY_BYTES,
    &BATCH_BODY_BYTES,
];

/// The key of the verbs that speak to a server, which `florin config` does not know: it is of the caller, not of the server.
const API_KEY: Spec =
    Spec { flag: "api-key", value_name: "KEY", default: "none", shape: Shape::Secret, help: "" };

/// Segments smaller than this would hold less than a few frames; larger ones could not be preallocated quickly.
const SEGMENT_BYTES_RANGE: std::ops::RangeInclusive<u64> = (64 << 10)..=(1 << 30);

/// What a server runs with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) listen: ListenAddress,
    pub(crate) data_dir: PathBuf,
    /// PostgreSQL as the store; without, SQLite in the data directory.
    pub(crate) database_url: Option<Secret>,
    /// The cache that readers share.
    pub(crate) redis_url: Option<Secret>,
    /// Whom the cache's certificate is checked with; without, the authorities of the system.
    pub(crate) redis_ca: Option<PathBuf>,
    pub(crate) take_over: TakeOver,
    pub(crate) role: Role,
    /// Where a reader passes commands on to.
    pub(crate) writer_url: Option<WriterUrl>,
    pub(crate) writer_ca: Option<PathBuf>,
    pub(crate) durability: Durability,
    pub(crate) journal_archive: Archive,
    pub(crate) log: LogFormat,
    pub(crate) exposure: Exposure,
    /// Where the keys are that callers need; without, nobody is asked who they are.
    pub(crate) api_keys: Option<PathBuf>,
    pub(crate) metrics_access: MetricsAccess,
    /// What TLS is spoken with; without, plain HTTP is.
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) clock: ClockAcceptance,
    pub(crate) limits: Limits,
}

/// What is bounded, and by how much.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Limits {
    pub(crate) events_in_flight: Count,
    pub(crate) bytes_in_flight: ByteSize,
    pub(crate) backlog_bytes: ByteSize,
    pub(crate) segment_bytes: ByteSize,
    pub(crate) workers: Workers,
    pub(crate) body_bytes: ByteSize,
    pub(crate) batch_body_bytes: ByteSize,
}

/// A setting as `florin config` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) origin: String,
}

/// The configuration in force and where each part of it came from.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) config: Config,
    pub(crate) rows: Vec<Row>,
}

impl Config {
    /// Reads every setting from the layers and checks that they go together.
    ///
    /// # Errors
    /// Names the flag, variable or file and key that can not be used, and why.
    pub(crate) fn resolve(layers: &Layers) -> Result<Resolved, ConfigError> {
        let config = Config {
            listen: layers.read(&LISTEN)?,
            data_dir: layers.read(&DATA_DIR)?,
            database_url: layers.read(&DATABASE_URL)?,
            redis_url: layers.read(&REDIS_URL)?,
            redis_ca: layers.read(&REDIS_CA)?,
            take_over: layers.read(&TAKE_OVER)?,
            role: layers.read(&ROLE)?,
            writer_url: layers.read(&WRITER_URL)?,
            writer_ca: layers.read(&WRITER_CA)?,
            durability: layers.read(&DURABILITY)?,
            journal_archive: layers.read(&JOURNAL_ARCHIVE)?,
            log: layers.read(&LOG)?,
            exposure: layers.read(&INSECURE_NO_AUTH)?,
            api_keys: layers.read(&API_KEYS)?,
            metrics_access: layers.read(&METRICS_ACCESS)?,
            tls: tls_files(layers.read(&TLS_CERT)?, layers.read(&TLS_KEY)?)?,
            clock: layers.read(&ACCEPT_CLOCK)?,
            limits: Limits {
                events_in_flight: layers.read(&EVENTS_IN_FLIGHT)?,
                bytes_in_flight: layers.read(&BYTES_IN_FLIGHT)?,
                backlog_bytes: layers.read(&BACKLOG_BYTES)?,
                segment_bytes: layers.read(&SEGMENT_BYTES)?,
                workers: layers.read(&WORKERS)?,
                body_bytes: layers.read(&BODY_BYTES)?,
                batch_body_bytes: layers.read(&BATCH_BODY_BYTES)?,
            },
        };
        config.check()?;
        let rows = SETTINGS.iter().map(|spec| layers.row(spec)).collect::<Result<_, _>>()?;
        Ok(Resolved { config, rows })
    }

    /// The settings of this process: its flags, its environment, and the file that one of them names.
    ///
    /// # Errors
    /// As [`Config::resolve`]; also when the file can not be read or is no TOML.
    pub(crate) fn of_process(flags: &Flags) -> Result<Resolved, ConfigError> {
        Config::resolve(&Layers::open(flags, &process_variable)?)
    }

    /// Defaults for a server of this machine alone, on any free port, whatever flags and variables say.
    ///
    /// # Errors
    /// None that a test would not find: the defaults go together.
    pub(crate) fn of_own_server(data_dir: PathBuf) -> Result<Config, ConfigError> {
        let flags = Flags::default();
        let defaults = Config::resolve(&Layers::open(&flags, &|_| None)?)?.config;
        let listen = ListenAddress(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        Ok(Config { listen, data_dir, ..defaults })
    }

    fn check(&self) -> Result<(), ConfigError> {
        if !SEGMENT_BYTES_RANGE.contains(&self.limits.segment_bytes.0) {
            return Err(ConfigError::SegmentBytes { given: self.limits.segment_bytes });
        }
        if self.role == Role::Read && self.database_url.is_none() {
            return Err(ConfigError::NothingToRead);
        }
        if self.role != Role::Read && self.writer_url.is_some() {
            return Err(ConfigError::NothingToPassOn);
        }
        // Whoever reaches the port may move money: unless callers are asked who they are, only this machine may.
        if self.exposure == Exposure::LoopbackOnly
            && self.api_keys.is_none()
            && !self.listen.is_loopback()
        {
            return Err(ConfigError::Exposed { listen: self.listen });
        }
        Ok(())
    }
}

/// Both files or neither.
fn tls_files(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<TlsFiles>, ConfigError> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
        (None, None) => Ok(None),
        (Some(_), None) => {
            Err(ConfigError::HalfTls { given: TLS_CERT.flag, missing: TLS_KEY.flag })
        }
        (None, Some(_)) => {
            Err(ConfigError::HalfTls { given: TLS_KEY.flag, missing: TLS_CERT.flag })
        }
    }
}

/// The file with the keys, for the verbs that change and show it.
///
/// # Errors
/// As [`Config::of_process`]; also when nobody says which file.
pub(crate) fn keys_file(
    given: Option<String>,
    config: Option<PathBuf>,
) -> Result<PathBuf, ConfigError> {
    let flags = Flags::of_one(&API_KEYS, given, config);
    let path: Option<PathBuf> = Layers::open(&flags, &process_variable)?.read(&API_KEYS)?;
    path.ok_or(ConfigError::NoKeysFile)
}

/// The key to show to a server: the flag's, else that of `FLORIN_API_KEY` or of the file that `FLORIN_API_KEY_FILE` names.
///
/// # Errors
/// It is no key, by its form or its checksum; both variables are set; the file can not be read. The key is not shown.
pub(crate) fn api_key(given: Option<&Secret>) -> Result<Option<Token>, ConfigError> {
    let given = given.map(|key| key.0.clone());
    let flags = Flags::of_one(&API_KEY, given, None);
    Layers::without_file(&flags, &process_variable).read(&API_KEY)
}

/// The database alone, for commands that need no other setting but the data directory.
///
/// # Errors
/// As [`Config::of_process`].
pub(crate) fn database_url(
    given: Option<&Secret>,
    config: Option<PathBuf>,
) -> Result<Option<Secret>, ConfigError> {
    let flags = Flags::of_one(&DATABASE_URL, given.map(|url| url.0.clone()), config);
    Layers::open(&flags, &process_variable)?.read(&DATABASE_URL)
}

/// The archive of the journal alone, for commands that need no other setting but the data directory.
///
/// # Errors
/// As [`Config::of_process`].
pub(crate) fn journal_archive(
    given: Option<String>,
    config: Option<PathBuf>,
) -> Result<Option<PathBuf>, ConfigError> {
    let flags = Flags::of_one(&JOURNAL_ARCHIVE, given, config);
    let archive: Archive = Layers::open(&flags, &process_variable)?.read(&JOURNAL_ARCHIVE)?;
    Ok(archive.0)
}

/// The data directory alone, for commands that need no more.
///
/// # Errors
/// As [`Config::of_process`].
pub(crate) fn data_dir(flags: &Flags) -> Result<PathBuf, ConfigError> {
    Layers::open(flags, &process_variable)?.read(&DATA_DIR)
}

fn process_variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}
