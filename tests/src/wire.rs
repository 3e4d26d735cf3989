//! Bytes on a socket, for requests that no HTTP client would send.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A connection on which a test writes what it likes.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
}

/// What came back: as much as arrived before the server closed or fell silent.
#[derive(Clone, Debug)]
pub struct RawReply {
    /// The HTTP status, if there was an answer at all.
    pub status: Option<u16>,
    /// Everything that was read.
    pub text: String,
}

impl Wire {
    /// Connects; reads give up after `patience`.
    ///
    /// # Panics
    /// There is nobody to connect to.
    #[must_use]
    pub fn connect(address: SocketAddr, patience: Duration) -> Wire {
        let stream = TcpStream::connect(address).expect("the server accepts connections");
        stream.set_read_timeout(Some(patience)).expect("a patience is not zero");
        Wire { stream }
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// The server has closed the connection, which is an answer too.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads until an answer is whole, the server closes, or patience ends, and reads no more on this connection.
    #[must_use]
    pub fn read(mut self) -> RawReply {
        self.next_answer()
    }

    /// Reads until the next answer is whole, the server closes, or patience ends. Nothing may stand behind it yet.
    #[must_use]
    pub fn next_answer(&mut self) -> RawReply {
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        while !is_whole(&bytes) {
            match self.stream.read(&mut chunk) {
                Ok(0) | Err(_) => break,
                Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let status = text
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.split(' ').next())
            .and_then(|status| status.trim().parse().ok());
        RawReply { status, text }
    }
}

/// Lets this process, and those that it starts, open as many files as it may; connections are files. Returns how many.
///
/// # Panics
/// The bound can not be moved to where it may be.
pub fn raise_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("a process may open as many files as it may");
    limit.maximum.unwrap_or(u64::MAX)
}

/// Writes one request and reads its answer.
#[must_use]
pub fn ask(address: SocketAddr, request: &[u8]) -> RawReply {
    let mut wire = Wire::connect(address, Duration::from_secs(15));
    // A server that refuses early may close before it has read everything; its answer still stands in the socket.
    let _ = wire.write(request);
    wire.read()
}

/// Whether an answer with its announced length has arrived.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    match length.and_then(|length| length.trim().parse::<usize>().ok()) {
        Some(length) => bytes.len() >= head.len() + 4 + length,
        None => text.ends_with("0\r\n\r\n"),
    }
}
