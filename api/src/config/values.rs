//! What the text of a setting means.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use actix_web::http::Uri;
use florin_actors::{ClockAcceptance, Durability};
use florin_persistence::store::TakeOver;

use crate::keys::Token;

/// Why a text has no meaning, as the end of a sentence that begins with the text.
pub(crate) type Reason = &'static str;

/// A value that can be read from a flag, a variable or a file.
pub(super) trait FromText: Sized {
    /// Reads the text.
    fn from_text(text: &str) -> Result<Self, Reason>;
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListenAddress(pub(crate) SocketAddr);

/// Who may reach a server that asks nobody who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exposure {
    LoopbackOnly,
    AnyoneWhoReachesIt,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Who may read `/metrics` of a server that has keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetricsAccess {
    /// Whoever holds a key.
    Read,
    /// Everybody.
    Open,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Everything.
    All,
    /// Commands and reads by id; lists and history are for readers.
    Write,
    /// Reads of what another process decides.
    Read,
}

/// A text that does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where the writer is: scheme and authority, without a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WriterUrl(pub(crate) Uri);

/// Where removed journal segments go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Archive(pub(crate) Option<PathBuf>);

/// How many threads serve HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workers {
    PerCore,
    Exactly(NonZeroUsize),
}

/// A bound that counts things; at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) u64);

/// A bound in bytes; at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteSize(pub(crate) u64);

impl FromText for ListenAddress {
    fn from_text(text: &str) -> Result<ListenAddress, Reason> {
        if let Some(port) = text.strip_prefix("localhost:") {
            let port = port.parse().map_err(|_| "must end in a port from 0 to 65535")?;
            return Ok(ListenAddress(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)));
        }
        text.parse()
            .map(ListenAddress)
            .map_err(|_| "must be an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080")
    }
}

impl ListenAddress {
    /// Whether only this machine reaches it.
    pub(crate) fn is_loopback(self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromText for PathBuf {
    fn from_text(text: &str) -> Result<PathBuf, Reason> {
        if text.is_empty() { Err("must be a path") } else { Ok(PathBuf::from(text)) }
    }
}

impl FromText for Option<PathBuf> {
    fn from_text(text: &str) -> Result<Option<PathBuf>, Reason> {
        if text == "none" { Ok(None) } else { PathBuf::from_text(text).map(Some) }
    }
}

impl FromText for Role {
    fn from_text(text: &str) -> Result<Role, Reason> {
        match text {
            "all" => Ok(Role::All),
            "write" => Ok(Role::Write),
            "read" => Ok(Role::Read),
            _ => Err("must be all, write or read"),
        }
    }
}

impl FromText for Option<Secret> {
    fn from_text(text: &str) -> Result<Option<Secret>, Reason> {
        Ok((text != "none").then(|| Secret(text.to_owned())))
    }
}

impl FromText for TakeOver {
    fn from_text(text: &str) -> Result<TakeOver, Reason> {
        yes(text).map(|yes| if yes { TakeOver::Force } else { TakeOver::WhenFree })
    }
}

impl FromText for Option<WriterUrl> {
    fn from_text(text: &str) -> Result<Option<WriterUrl>, Reason> {
        if text == "none" {
            return Ok(None);
        }
        let url: Option<Uri> = text.parse().ok();
        let whole = |url: &Uri| {
            matches!(url.scheme_str(), Some("http" | "https"))
                && url.authority().is_some()
                && url.path() == "/"
                && url.query().is_none()
        };
        let url = url.filter(whole).map(WriterUrl);
        url.map(Some).ok_or("must be a URL without a path, such as https://writer:8080")
    }
}

impl FromText for Archive {
    fn from_text(text: &str) -> Result<Archive, Reason> {
        Option::from_text(text).map(Archive)
    }
}

impl FromText for Option<Token> {
    fn from_text(text: &str) -> Result<Option<Token>, Reason> {
        if text == "none" {
            return Ok(None);
        }
        let whole = Token::read_whole(text).map(Some);
        whole.ok_or("must be a key as `florin keys new` shows it, flk_ and 64 letters and digits; one of them is wrong or missing")
    }
}

impl FromText for MetricsAccess {
    fn from_text(text: &str) -> Result<MetricsAccess, Reason> {
        match text {
            "read" => Ok(MetricsAccess::Read),
            "open" => Ok(MetricsAccess::Open),
            _ => Err("must be read or open"),
        }
    }
}

impl FromText for Durability {
    fn from_text(text: &str) -> Result<Durability, Reason> {
        match text {
            "fsync" => Ok(Durability::Fsync),
            "memory" => Ok(Durability::Memory),
            _ => Err("must be fsync or memory"),
        }
    }
}

impl FromText for LogFormat {
    fn from_text(text: &str) -> Result<LogFormat, Reason> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("must be text or json"),
        }
    }
}

/// The answer to a question of yes or no, before it becomes what it means.
fn yes(text: &str) -> Result<bool, Reason> {
    match text {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err("must be true or false"),
    }
}

impl FromText for Exposure {
    fn from_text(text: &str) -> Result<Exposure, Reason> {
        yes(text).map(|yes| if yes { Exposure::AnyoneWhoReachesIt } else { Exposure::LoopbackOnly })
    }
}

impl FromText for ClockAcceptance {
    fn from_text(text: &str) -> Result<ClockAcceptance, Reason> {
        yes(text).map(|yes| if yes { ClockAcceptance::Accept } else { ClockAcceptance::Strict })
    }
}

impl FromText for Workers {
    fn from_text(text: &str) -> Result<Workers, Reason> {
        if text == "auto" {
            return Ok(Workers::PerCore);
        }
        let count = text.parse::<NonZeroUsize>().ok().filter(|count| count.get() <= 1024);
        count.map(Workers::Exactly).ok_or("must be auto or a number from 1 to 1024")
    }
}

impl Workers {
    /// How many that is on this machine.
    pub(crate) fn count(self) -> usize {
        match self {
            Workers::PerCore => std::thread::available_parallelism().map_or(2, NonZeroUsize::get),
            Workers::Exactly(count) => count.get(),
        }
    }
}

impl FromText for Count {
    fn from_text(text: &str) -> Result<Count, Reason> {
        match text.replace('_', "").parse() {
            Ok(count) if count > 0 => Ok(Count(count)),
            _ => Err("must be a whole number above 0"),
        }
    }
}

/// The units that a size can end in, longest first where one ends in another.
const UNITS: [(&str, u64); 10] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

impl FromText for ByteSize {
    fn from_text(text: &str) -> Result<ByteSize, Reason> {
        let (digits, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| Some((text.strip_suffix(name)?.trim_end(), *unit)))
            .unwrap_or((text, 1));
        match digits.replace('_', "").parse::<u64>().ok().and_then(|size| size.checked_mul(unit)) {
            Some(bytes) if bytes > 0 => Ok(ByteSize(bytes)),
            _ => Err("must be a size above 0, such as 65536, 256KiB or 64GiB"),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, unit) = UNITS[..4]
            .iter()
            .rev()
            .find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit))
            .unwrap_or(&("", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
}
