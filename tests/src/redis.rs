//! A private Redis, on a free port of the loopback interface and a directory of its own.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A server is there, and answers, within so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running Redis, killed and removed when dropped.
#[derive(Debug)]
pub struct Redis {
    child: Option<Child>,
    port: u16,
    words: Vec<String>,
    directory: TempDir,
}

impl Redis {
    /// Starts one that keeps everything in memory only.
    ///
    /// # Panics
    /// There is no `redis-server`, or it does not answer in time.
    #[must_use]
    pub fn start() -> Redis {
        Redis::start_with(&["--save", "", "--appendonly", "no"])
    }

    /// Starts one with these words on its command line.
    ///
    /// # Panics
    /// There is no `redis-server`, or it does not answer in time.
    #[must_use]
    pub fn start_with(words: &[&str]) -> Redis {
        let directory = TempDir::with_prefix("florin-redis-").expect("a temporary directory");
        let mut redis = Redis {
            child: None,
            port: free_port(),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            directory,
        };
        redis.start_again();
        redis
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it on the same port and directory.
    ///
    /// # Panics
    /// It runs already, or does not answer in time.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let deadline = Instant::now() + PATIENCE;
        let mut child = self.spawn();
        while self.try_command(&["PING"]).is_none_or(|answer| answer != "PONG") {
            assert!(Instant::now() < deadline, "redis-server does not answer");
            if child.try_wait().expect("a child can be waited for").is_some() {
                // Somebody else had the port for a moment.
                thread::sleep(Duration::from_millis(50));
                child = self.spawn();
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.child = Some(child);
    }

    fn spawn(&self) -> Child {
        Command::new("redis-server")
            .args([
                "--port",
                &self.port.to_string(),
                "--bind",
                "127.0.0.1",
                "--loglevel",
                "warning",
            ])
            .arg("--dir")
            .arg(self.directory.path())
            .args(&self.words)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("redis-server (Debian: redis-server): {error}"))
    }

    /// Kills it, as `kill -9` does.
    ///
    /// # Panics
    /// It does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("a child can be killed");
        child.wait().expect("a child can be waited for");
    }

    /// Stops its process where it is; connections stay and nothing is answered.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a paused process go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("a child can be signalled");
    }

    /// Takes everything out of it.
    ///
    /// # Panics
    /// It does not answer.
    pub fn flush(&self) {
        assert_eq!(self.command(&["FLUSHALL"]), "OK");
    }

    /// What it answers to a command, a list by lines.
    ///
    /// # Panics
    /// It does not answer.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> String {
        self.try_command(words).unwrap_or_else(|| panic!("{words:?}: no answer"))
    }

    fn try_command(&self, words: &[&str]) -> Option<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        (&stream).write_all(request.as_bytes()).ok()?;
        read_answer(&mut BufReader::new(&stream))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

fn read_answer(stream: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let line = line.trim_end();
    let (kind, rest) = line.split_at_checked(1)?;
    match kind {
        "$" => {
            let Ok(length) = rest.parse::<usize>() else { return Some("(nil)".to_owned()) };
            let mut bytes = vec![0; length + 2];
            stream.read_exact(&mut bytes).ok()?;
            Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
        }
        "*" => {
            let count = rest.parse().unwrap_or(0);
            let answers: Option<Vec<String>> = (0..count).map(|_| read_answer(stream)).collect();
            Some(answers?.join("\n"))
        }
        _ => Some(rest.to_owned()),
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}
