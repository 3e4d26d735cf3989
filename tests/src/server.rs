//! The real program on a data directory of its own, started, stopped and killed.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::http::Client;

/// Journal segments for ordinary tests, since several are reserved at each start.
const SEGMENTS: (&str, &str) = ("FLORIN_SEGMENT_BYTES", "4MiB");
/// Words for the segments of production, which hold the largest batches.
pub const LARGE_SEGMENTS: [&str; 2] = ["--segment-bytes", "64MiB"];
/// Words for segments so small that a test sees many of them begun, sealed and removed. They do not hold large batches.
pub const SMALL_SEGMENTS: [&str; 2] = ["--segment-bytes", "128KiB"];

/// Until it is ready, or has stopped: far more than either takes, so that only a hang fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program under test: what `FLORIN_BIN` names, else what stands where the tests were built.
///
/// # Panics
/// It was not built.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("FLORIN_BIN") {
        return PathBuf::from(path);
    }
    let test = std::env::current_exe().expect("a running test has a path");
    let path = test.ancestors().nth(2).map(|target| target.join("florin"));
    let path = path.expect("tests are built into a target directory");
    assert!(path.exists(), "{} is not there: cargo build --workspace", path.display());
    path
}

/// The root of the project.
///
/// # Panics
/// Never: this crate stands in it.
#[must_use]
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests stand in the project")
}

/// The program with these words, knowing nothing of the environment that the tests run in.
#[must_use]
pub fn florin(words: &[&str]) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        let ours = name.to_string_lossy().starts_with("FLORIN_");
        if ours || name == "DATABASE_URL" || name == "REDIS_URL" {
            command.env_remove(name);
        }
    }
    command.env(SEGMENTS.0, SEGMENTS.1).args(words).stdin(Stdio::null());
    command
}

/// What a program that ended had to say.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

/// Runs the program to its end.
///
/// # Panics
/// It does not end in time.
#[must_use]
pub fn run(words: &[&str]) -> Ended {
    run_command(florin(words))
}

/// Runs a command to its end.
///
/// # Panics
/// It can not be started, or does not end in time.
#[must_use]
pub fn run_command(mut command: Command) -> Ended {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stdout = collect(child.stdout.take().expect("it was piped"));
    let stderr = collect(child.stderr.take().expect("it was piped"));
    let status = wait(&mut child, PATIENCE);
    if status.is_none() {
        let _ = child.kill();
    }
    let ended = Ended {
        code: status.and_then(|status| status.code()),
        stdout: stdout.recv().unwrap_or_default(),
        stderr: stderr.recv().unwrap_or_default(),
    };
    assert!(status.is_some(), "{command:?} did not end: {ended:?}");
    ended
}

fn collect(mut stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A running server with its own data directory, killed when dropped.
#[derive(Debug)]
pub struct TestServer {
    child: Option<Child>,
    address: SocketAddr,
    words: Vec<String>,
    variables: Vec<(String, String)>,
    data_dir: PathBuf,
    stderr: Arc<Mutex<String>>,
    /// Removed when the server is dropped.
    directory: TempDir,
}

impl TestServer {
    /// Starts a server on an empty directory.
    ///
    /// # Panics
    /// It does not become ready.
    #[must_use]
    pub fn start() -> TestServer {
        TestServer::start_with(&[])
    }

    /// Starts a server on an empty directory, with more words on its command line.
    ///
    /// # Panics
    /// It does not become ready.
    #[must_use]
    pub fn start_with(words: &[&str]) -> TestServer {
        TestServer::start_with_variables(words, &[])
    }

    /// Starts a server on an empty directory, with more words on its command line and variables in its environment.
    ///
    /// # Panics
    /// It does not become ready.
    #[must_use]
    pub fn start_with_variables(words: &[&str], variables: &[(&str, &str)]) -> TestServer {
        let directory = TempDir::with_prefix("florin-test-").expect("a temporary directory");
        let data_dir = directory.path().join("data");
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables = variables.iter().map(owned).collect();
        let mut server = TestServer {
            child: None,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            words,
            variables,
            data_dir,
            stderr: Arc::default(),
            directory,
        };
        server.run();
        server
    }

    /// A server that is not started yet, on a copy of a stopped one's directory, with more words on its command line.
    ///
    /// # Panics
    /// The other one runs, or its directory can not be copied.
    #[must_use]
    pub fn on_copy_of(other: &TestServer, words: &[&str]) -> TestServer {
        assert!(other.child.is_none(), "stop or kill it first");
        let directory = TempDir::with_prefix("florin-test-").expect("a temporary directory");
        let data_dir = directory.path().join("data");
        let copied = Command::new("cp").arg("-a").arg(&other.data_dir).arg(&data_dir).status();
        assert!(copied.is_ok_and(|status| status.success()), "the directory can be copied");
        let words = words.iter().map(|word| (*word).to_owned());
        TestServer {
            child: None,
            address: other.address,
            words: other.words.iter().cloned().chain(words).collect(),
            variables: other.variables.clone(),
            data_dir,
            stderr: Arc::default(),
            directory,
        }
    }

    /// A server that is not started yet, on a directory that `make` makes where there is none.
    ///
    /// # Panics
    /// A temporary directory can not be had.
    #[must_use]
    pub fn on_made(
        words: &[&str],
        variables: &[(&str, &str)],
        make: impl FnOnce(&Path),
    ) -> TestServer {
        let directory = TempDir::with_prefix("florin-test-").expect("a temporary directory");
        let data_dir = directory.path().join("data");
        make(&data_dir);
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        TestServer {
            child: None,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            variables: variables.iter().map(owned).collect(),
            data_dir,
            stderr: Arc::default(),
            directory,
        }
    }

    /// A server that is not started yet, on the directory of a stopped one, with other variables in its environment.
    ///
    /// # Panics
    /// The other one runs.
    #[must_use]
    pub fn moved(mut other: TestServer, variables: &[(&str, &str)]) -> TestServer {
        assert!(other.child.is_none(), "stop or kill it first");
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        other.variables = variables.iter().map(owned).collect();
        other
    }

    /// The exit code of a server that ends by itself.
    ///
    /// # Panics
    /// It does not end in time.
    pub fn ended_by_itself(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("the server runs");
        let status = wait(&mut child, PATIENCE);
        let _ = child.kill();
        status.expect("it ends in time").code()
    }

    /// The command that serves its directory.
    fn serve(&self) -> Command {
        let mut command = florin(&["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
        command.arg(&self.data_dir).args(&self.words);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn run(&mut self) {
        let mut command = self.serve();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{}: {error}", binary().display()));
        let stdout = child.stdout.take().expect("it was piped");
        let stderr = child.stderr.take().expect("it was piped");
        self.child = Some(child);
        let complaints = self.follow_stderr(stderr);
        let (ready, became_ready) = mpsc::channel();
        thread::spawn(move || {
            // Reads on to the end, so that the server never waits for somebody to take its words.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(address) = address_in(&line) {
                    let _ = ready.send(address);
                }
            }
        });
        match became_ready.recv_timeout(PATIENCE) {
            Ok(address) => self.address = address,
            Err(_) => {
                let mut child = self.child.take().expect("it was started");
                let status = wait(&mut child, Duration::from_secs(1));
                let _ = child.kill();
                let _ = complaints.join();
                panic!("the server did not become ready, {status:?}:\n{}", self.stderr());
            }
        }
    }

    fn follow_stderr(&self, stderr: impl Read + Send + 'static) -> JoinHandle<()> {
        let collected = Arc::clone(&self.stderr);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut collected = collected.lock().expect("nobody panics while holding it");
                collected.push_str(&line);
                collected.push('\n');
            }
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as clients write it.
    #[must_use]
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A new client of it.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.base())
    }

    /// Its data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Its data directory as a word of a command line.
    ///
    /// # Panics
    /// Never: the tests chose the name.
    #[must_use]
    pub fn data_dir_word(&self) -> &str {
        self.data_dir.to_str().expect("temporary names are plain")
    }

    /// What it logged so far.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.lock().expect("nobody panics while holding it").clone()
    }

    /// The id of its process.
    ///
    /// # Panics
    /// It does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// Asks it to stop, and returns when it has.
    ///
    /// # Panics
    /// It does not run, does not stop in time, or says by its exit code that something was wrong.
    pub fn stop(&mut self) {
        self.end(Signal::TERM);
    }

    /// Stops it as Ctrl-C does.
    ///
    /// # Panics
    /// As [`TestServer::stop`].
    pub fn interrupt(&mut self) {
        self.end(Signal::INT);
    }

    /// Tells it to read its keys and certificates again, and returns when its log says how that went, in a line with these words.
    ///
    /// # Panics
    /// It does not run, or its log does not say so in time.
    pub fn reread(&self, words: &str) {
        let before = self.stderr().matches(words).count();
        let child = self.child.as_ref().expect("the server runs");
        kill_process(Pid::from_child(child), Signal::HUP).expect("the server runs");
        let deadline = Instant::now() + PATIENCE;
        while self.stderr().matches(words).count() == before {
            assert!(Instant::now() < deadline, "no `{words}` in the log:\n{}", self.stderr());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn end(&mut self, signal: Signal) {
        let mut child = self.child.take().expect("the server runs");
        let pid = Pid::from_child(&child);
        kill_process(pid, signal).expect("the server runs");
        let status = wait(&mut child, PATIENCE);
        if status.is_none() {
            let _ = child.kill();
        }
        let code = status.and_then(|status| status.code());
        assert_eq!(code, Some(0), "{signal:?} should end it well:\n{}", self.stderr());
    }

    /// Kills it where it stands.
    ///
    /// # Panics
    /// It does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the server runs");
        child.kill().expect("the server runs");
        child.wait().expect("a killed child can be waited for");
    }

    /// Starts it again on the same directory, at another port.
    ///
    /// # Panics
    /// It does not become ready.
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "stop or kill it first");
        self.run();
    }

    /// Starts it again on the same directory and kills it so soon after, ready or not.
    ///
    /// # Panics
    /// It can not be started.
    pub fn restart_and_kill_after(&self, moment: Duration) {
        assert!(self.child.is_none(), "stop or kill it first");
        let mut command = self.serve();
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{}: {error}", binary().display()));
        thread::sleep(moment);
        child.kill().expect("a child that was not waited for can be killed");
        child.wait().expect("a killed child can be waited for");
    }

    /// Tries to start it again on the same directory, where it must refuse.
    ///
    /// # Panics
    /// It does not end in time.
    #[must_use]
    pub fn refused_restart(&self) -> Ended {
        run_command(self.serve())
    }

    /// Checks the stopped directory with `florin verify`, which must find nothing wrong.
    ///
    /// # Panics
    /// It finds something.
    pub fn verify(&self) -> Ended {
        assert!(self.child.is_none(), "stop or kill it first");
        let mut command = florin(&["verify", "--data-dir", self.data_dir_word()]);
        // Against the store that it filled.
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let ended = run_command(command);
        assert_eq!(ended.code, Some(0), "verify: {ended:?}");
        ended
    }

    /// Kills it if it runs, and leaves its directory where it is when it is dropped.
    pub fn keep(&mut self) -> &Path {
        if self.child.is_some() {
            self.kill();
        }
        self.directory.disable_cleanup(true);
        &self.data_dir
    }

    /// The journal's files in their order.
    ///
    /// # Panics
    /// There is no journal.
    #[must_use]
    pub fn segments(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.data_dir.join("journal")).expect("there is a journal");
        let paths = entries.map(|entry| entry.expect("it can be listed").path());
        let mut segments: Vec<PathBuf> =
            paths.filter(|path| path.extension().is_some_and(|ext| ext == "seg")).collect();
        segments.sort();
        segments
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            eprintln!("--- what the server logged ---\n{}", self.stderr());
        }
    }
}

/// The address in the line that says it is ready.
fn address_in(line: &str) -> Option<SocketAddr> {
    line.split(|c: char| c.is_whitespace() || c == '/' || c == '"' || c == ',')
        .find_map(|word| word.trim_end_matches('.').parse().ok())
}
