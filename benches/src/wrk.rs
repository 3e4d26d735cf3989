//! The load: `wrk` with one of the scripts beside this package's sources.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What is sent, and where to.
#[derive(Clone, Debug)]
pub struct Load<'a> {
    /// A server, as in `http://127.0.0.1:8080`.
    pub base: &'a str,
    /// The script's file in `benches/wrk`.
    pub script: &'a str,
    /// Words that the script reads.
    pub words: Vec<String>,
    /// Connections, each with one request under way.
    pub connections: u32,
    /// How long.
    pub seconds: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Answers {
    /// Answers a second.
    pub rate: f64,
    /// The median of the times to an answer, in milliseconds.
    pub p50_ms: f64,
    /// All but one in a hundred were answered within so many milliseconds.
    pub p99_ms: f64,
    /// All but one in a thousand.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// How many.
    pub count: u64,
}

/// A load that is being sent.
#[derive(Debug)]
pub struct Sending {
    child: Child,
    script: PathBuf,
}

impl Load<'_> {
    /// Begins to send it.
    ///
    /// # Panics
    /// There is no `wrk`.
    #[must_use]
    pub fn start(&self) -> Sending {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("wrk").join(self.script);
        let child = Command::new("wrk")
            .args([
                "-t",
                "2",
                "-c",
                &self.connections.to_string(),
                "-d",
                &format!("{}s", self.seconds),
            ])
            // Longer than any server may take: what is late is late, and no error.
            .args(["--timeout", "60s", "--latency", "-s"])
            .arg(&script)
            .args([self.base, "--"])
            .args(&self.words)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("wrk (Debian: wrk): {error}"));
        Sending { child, script }
    }

    /// Sends it to its end.
    ///
    /// # Panics
    /// There is no `wrk`, or a request was answered with an error or not at all.
    #[must_use]
    pub fn run(&self) -> Answers {
        self.start().wait()
    }
}

impl Sending {
    /// Waits for its end.
    ///
    /// # Panics
    /// A request was answered with an error or not at all.
    #[must_use]
    pub fn wait(self) -> Answers {
        let output = self.child.wait_with_output().expect("a child can be waited for");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let result = text.lines().find_map(|line| line.strip_prefix("RESULT "));
        let figures: Vec<f64> = result
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|figure| figure.parse().ok())
            .collect();
        let [rate, p50_ms, p99_ms, p999_ms, max_ms, count, errors] = figures[..] else {
            panic!("wrk with {} said: {text}", self.script.display());
        };
        assert!(errors == 0.0, "{errors} of {count} requests failed: {text}");
        Answers { rate, p50_ms, p99_ms, p999_ms, max_ms, count: count as u64 }
    }
}
