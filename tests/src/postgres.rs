//! A private PostgreSQL server: a cluster of its own in a temporary directory, on a free port of the loopback interface.
//!
//! A shell stands between the test and the server and waits for the end of its input. So the server stops and its files go also
//! when the test process is killed, or ends without dropping a server that is kept for all of its tests.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

/// Until it answers, or has stopped: far more than either takes, so that only a hang fails.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// A free port can be taken by somebody else before the server has it.
const START_ATTEMPTS: usize = 5;
/// Starts the server, tells its process, and stops it at the end of the input: at once when told so by a line, else with its files.
const WATCH: &str = r#"
"$0/postgres" -D "$1/data" -p "$2" >>"$1/log" 2>&1 </dev/null & server=$!
echo $server
if read -r word; then kill -INT $server 2>/dev/null; wait $server
else kill -QUIT $server 2>/dev/null; kill -CONT $server 2>/dev/null; wait $server; rm -rf "$1"; fi
"#;
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
max_connections = 100
shared_buffers = 64MB
log_min_messages = warning
";

/// One server. Stopped and removed when it is dropped.
pub struct Postgres {
    directory: TempDir,
    running: Mutex<Option<Running>>,
    port: Mutex<u16>,
    /// Variables of its environment.
    variables: Vec<(&'static str, String)>,
}

struct Running {
    watch: Child,
    server: Pid,
}

/// The newest PostgreSQL's programs.
///
/// # Panics
/// There is none.
fn binaries() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())))
        .filter(|(_, path)| path.join("bin/postgres").exists())
        .max();
    newest.expect("PostgreSQL is installed: ./tests/run does it").1.join("bin")
}

/// A program as a user that PostgreSQL is willing to run as.
fn unprivileged(program: &Path) -> Command {
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program);
    command
}

fn checked(doing: &str, output: std::io::Result<Output>) -> String {
    let output = output.unwrap_or_else(|error| panic!("{doing}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{doing}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Postgres {
    /// A server of this test's own, for those that stop it or make it suffer.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start() -> Postgres {
        Postgres::start_with("")
    }

    /// A server of one's own with more settings, which stand behind those of tests and so win over them.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start_with(more_settings: &str) -> Postgres {
        Postgres::start_on(more_settings, &[])
    }

    /// A server of one's own with more settings, and with these variables in its environment.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start_on(more_settings: &str, variables: &[(&'static str, String)]) -> Postgres {
        let directory = tempfile::Builder::new().prefix("florin-postgres-").tempdir();
        let directory = directory.expect("a temporary directory can be made");
        if geteuid().is_root() {
            let owned = Command::new("chown").arg("postgres").arg(directory.path()).output();
            checked("chown", owned);
        }
        let data = directory.path().join("data");
        let mut initdb = unprivileged(&binaries().join("initdb"));
        initdb.args(["--no-sync", "-A", "trust", "-U", "florin", "-E", "UTF8", "--locale=C", "-D"]);
        checked("initdb", initdb.arg(&data).current_dir("/").output());
        let mut settings = fs::OpenOptions::new()
            .append(true)
            .open(data.join("postgresql.conf"))
            .expect("initdb makes the settings");
        let all = format!("{SETTINGS}{more_settings}\n");
        settings.write_all(all.as_bytes()).expect("the settings can be written");
        let server = Postgres {
            directory,
            running: Mutex::new(None),
            port: Mutex::new(0),
            variables: variables.to_vec(),
        };
        server.start_again();
        server
    }

    /// The one server that all tests of this process share. Each test makes a database of its own in it.
    #[must_use]
    pub fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Postgres::start)
    }

    /// Starts it after [`Postgres::stop`] or [`Postgres::kill`], on the port that it had.
    ///
    /// # Panics
    /// It does not start, or runs.
    pub fn start_again(&self) {
        let mut running = locked(&self.running);
        assert!(running.is_none(), "the server runs");
        let mut port = locked(&self.port);
        let attempts = if *port == 0 { START_ATTEMPTS } else { 1 };
        for _ in 0..attempts {
            let tried = if *port == 0 { free_port() } else { *port };
            let started = self.spawn(tried);
            if self.answers(&started, tried) {
                *port = tried;
                *running = Some(started);
                return;
            }
            self.end(started);
        }
        let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        panic!("PostgreSQL does not start: {log}");
    }

    fn spawn(&self, port: u16) -> Running {
        let mut watch = unprivileged(Path::new("sh"))
            .args(["-c", WATCH])
            .arg(binaries())
            .arg(self.directory.path())
            .arg(port.to_string())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("sh: {error}"));
        let mut line = String::new();
        let stdout = watch.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("the shell tells the process");
        let server = line.trim().parse().ok().and_then(Pid::from_raw);
        Running { watch, server: server.unwrap_or_else(|| panic!("no process: {line}")) }
    }

    /// Waits until the server takes connections; false when it ends instead.
    fn answers(&self, running: &Running, port: u16) -> bool {
        let ready = binaries().join("pg_isready");
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let asked = Command::new(&ready)
                .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
                .status();
            if asked.is_ok_and(|status| status.success()) {
                // Somebody else's server may have answered.
                return is_alive(running.server);
            }
            if !is_alive(running.server) {
                return false;
            }
            thread::sleep(POLL);
        }
        false
    }

    /// Lets it speak TLS, with a certificate of its own for 127.0.0.1, and gives the file that a client trusts it by.
    ///
    /// # Panics
    /// There is no `openssl`, or the server does not start again.
    #[must_use]
    pub fn use_tls(&self) -> PathBuf {
        let data = self.directory.path().join("data");
        self.stop();
        let made = unprivileged(Path::new("openssl"))
            .args([
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=127.0.0.1",
            ])
            .args([
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
                "-keyout",
                "server.key",
                "-out",
                "server.crt",
            ])
            .current_dir(&data)
            .output();
        checked("openssl", made);
        let mut settings = fs::OpenOptions::new()
            .append(true)
            .open(data.join("postgresql.conf"))
            .expect("initdb makes the settings");
        settings.write_all(b"ssl = on\n").expect("the settings can be written");
        self.start_again();
        data.join("server.crt")
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        *locked(&self.port)
    }

    /// The id of its first process, whose children the others are.
    ///
    /// # Panics
    /// It does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        let running = locked(&self.running);
        running.as_ref().expect("the server runs").server.as_raw_nonzero().get().unsigned_abs()
    }

    /// Its own directory, in which it can write.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The URL of one of its databases.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_at(self.port(), database)
    }

    /// The URL of one of its databases through a proxy at this port.
    #[must_use]
    pub fn url_at(&self, port: u16, database: &str) -> String {
        format!("postgres://florin@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    /// Changes a setting that sessions take over while they live.
    ///
    /// # Panics
    /// The server does not take it.
    pub fn set(&self, setting: &str, value: &str) {
        let _ = self.psql("postgres", &format!("ALTER SYSTEM SET {setting} = {value}"));
        let _ = self.psql("postgres", "SELECT pg_reload_conf()");
    }

    /// Takes every connection that the server gives, those of this database's sessions too, which end.
    ///
    /// # Panics
    /// Its sessions keep coming.
    #[must_use]
    pub fn crowd(&self, database: &str) -> Crowd {
        let mut held = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Some(session) = self.session() {
                held.push(session);
            }
            let running = locked(&self.running);
            let server = running.as_ref().expect("the server runs").server;
            let of_database = processes(server).into_iter().filter(|process| {
                let title = fs::read_to_string(format!("/proc/{process}/cmdline"));
                title.is_ok_and(|title| title.contains(&format!(" {database} ")))
            });
            let sessions: Vec<Pid> = of_database.collect();
            if sessions.is_empty() {
                return Crowd { _sessions: held };
            }
            assert!(Instant::now() < deadline, "sessions of {database} keep coming");
            sessions.into_iter().for_each(|process| signal(process, Signal::TERM));
        }
    }

    /// A session that does nothing; none when the server has no room for it.
    fn session(&self) -> Option<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port())).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        // Version 3.0 of the protocol, and who asks for which database.
        let words = b"user\0florin\0database\0postgres\0\0";
        let mut startup = (8 + words.len() as u32).to_be_bytes().to_vec();
        startup.extend_from_slice(&(3_u32 << 16).to_be_bytes());
        startup.extend_from_slice(words);
        stream.write_all(&startup).ok()?;
        let mut kind = [0];
        stream.read_exact(&mut kind).ok()?;
        // `R`: it is let in. Else an error.
        (kind == *b"R").then_some(stream)
    }

    /// Makes a database of a new name, and gives the name.
    ///
    /// # Panics
    /// It can not be made.
    #[must_use]
    pub fn create_database(&self) -> String {
        static NEXT: Mutex<u32> = Mutex::new(0);
        let number = {
            let mut next = locked(&NEXT);
            *next += 1;
            *next
        };
        let name = format!("test_{number}");
        let _ = self.psql("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// Runs SQL as a person would, and gives what `psql` shows: rows without frills, columns parted by `|`.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let run = Command::new(binaries().join("psql"))
            .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", &self.url(database), "-c", sql])
            .output();
        checked(sql, run).trim_end().to_owned()
    }

    /// Stops it in order: sessions end, everything is written.
    ///
    /// # Panics
    /// It does not run.
    pub fn stop(&self) {
        let running = locked(&self.running).take().expect("the server runs");
        self.end(running);
    }

    /// Kills all its processes at once, as a crash would.
    ///
    /// # Panics
    /// It does not run.
    pub fn kill(&self) {
        let running = locked(&self.running).take().expect("the server runs");
        // Stopped first, so that it makes no new process and tidies nothing up.
        signal(running.server, Signal::STOP);
        wait_until("the server stands still", || {
            status(running.server).is_none_or(|(state, _)| matches!(state, 'T' | 'Z'))
        });
        let all = processes(running.server);
        all.iter().for_each(|process| signal(*process, Signal::KILL));
        self.end(running);
        // A killed session that has not gone yet holds the server's memory, with which a new server does not start.
        wait_until("its processes are gone", || !all.iter().any(|process| is_alive(*process)));
    }

    /// Stops all its processes where they are: connections stay, nothing answers.
    ///
    /// # Panics
    /// It does not run.
    pub fn pause(&self) {
        let running = locked(&self.running);
        let server = running.as_ref().expect("the server runs").server;
        signal(server, Signal::STOP);
        processes(server).into_iter().for_each(|process| signal(process, Signal::STOP));
    }

    /// Lets it go on after [`Postgres::pause`].
    ///
    /// # Panics
    /// It does not run.
    pub fn resume(&self) {
        let running = locked(&self.running);
        let server = running.as_ref().expect("the server runs").server;
        processes(server).into_iter().for_each(|process| signal(process, Signal::CONT));
    }

    fn end(&self, mut running: Running) {
        processes(running.server).into_iter().for_each(|process| signal(process, Signal::CONT));
        if let Some(mut stdin) = running.watch.stdin.take() {
            // It may have ended by itself.
            let _ = stdin.write_all(b"stop\n");
        }
        wait_until("the server has stopped", || {
            running.watch.try_wait().map_or(true, |ended| ended.is_some())
        });
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(running) = locked(&self.running).take() {
            self.end(running);
        }
    }
}

/// Sessions that do nothing, until it is dropped.
#[derive(Debug)]
pub struct Crowd {
    _sessions: Vec<TcpStream>,
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(POLL);
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    listener.local_addr().expect("it has an address").port()
}

/// The state of a process and its parent.
fn status(process: Pid) -> Option<(char, i32)> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before it, in parentheses, may hold anything.
    let mut words = text.rsplit_once(')')?.1.split_whitespace();
    Some((words.next()?.chars().next()?, words.next()?.parse().ok()?))
}

fn is_alive(process: Pid) -> bool {
    status(process).is_some_and(|(state, _)| state != 'Z')
}

/// The server and those that it has made.
fn processes(server: Pid) -> Vec<Pid> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut found: Vec<Pid> = all
        .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
        .filter(|process| {
            status(*process).is_some_and(|(_, parent)| parent == server.as_raw_nonzero().get())
        })
        .collect();
    found.insert(0, server);
    found
}

fn signal(process: Pid, signal: Signal) {
    // It may have ended in between.
    let _ = kill_process(process, signal);
}
