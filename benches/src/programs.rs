//! The programs that stand beside the ledger: the handler that does nothing, and the design with row locks.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, fs};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A program of this package that serves, ended when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    base: String,
    /// Removed with it.
    directory: Option<TempDir>,
}

impl Program {
    /// Starts it on a free port, with these words behind the address.
    ///
    /// # Panics
    /// It does not say where it listens.
    #[must_use]
    pub fn start(program: &Path, words: &[&str]) -> Program {
        let mut child = Command::new(program)
            .arg("127.0.0.1:0")
            .args(words)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("its output can be read");
        let base = line.split_whitespace().last();
        let base =
            base.unwrap_or_else(|| panic!("{} does not listen", program.display())).to_owned();
        Program { child, base, directory: None }
    }

    /// The handler that does nothing, answering this to one request and to a batch: `$EMPTY_HANDLER_BIN`, or what was built beside.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn empty_handler(answer: &str, batch_answer: &str) -> Program {
        let directory = TempDir::with_prefix("florin-bench-").expect("a temporary directory");
        let files = [("one", answer), ("batch", batch_answer)].map(|(name, answer)| {
            let file = directory.path().join(name);
            fs::write(&file, answer).expect("a temporary file can be written");
            file.display().to_string()
        });
        let path = env::var_os("EMPTY_HANDLER_BIN");
        let path = path.map_or_else(|| beside("empty_handler"), PathBuf::from);
        let mut program = Program::start(&path, &files.each_ref().map(String::as_str));
        program.directory = Some(directory);
        program
    }

    /// Where it listens, as in `http://127.0.0.1:8080`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Asks it to stop, and returns when it has.
    ///
    /// # Panics
    /// It says by its exit code that something was wrong.
    pub fn stop(&mut self) {
        tell(self.pid(), Signal::TERM);
        let status = self.child.wait().expect("a child can be waited for");
        assert!(status.success(), "{status}");
    }

    /// The id of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program of this name that was built with the one that runs.
///
/// # Panics
/// Never: a program that runs has a path.
#[must_use]
pub fn beside(name: &str) -> PathBuf {
    env::current_exe().expect("a program has a path").with_file_name(name)
}

/// Stops a process where it is, or lets it go on.
///
/// # Panics
/// There is no such process.
pub fn tell(process: u32, signal: Signal) {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw).expect("a process has an id");
    kill_process(pid, signal).expect("the process lives");
}
