//! `local.sh` starts what it says, shows it, and stops exactly that.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use florin_tests::http::Client;
use florin_tests::server::{Ended, binary, run_command};
use serde_json::json;
use tempfile::TempDir;

use super::path;

/// A place for one set, in which nothing runs any more when it is dropped.
struct Room(TempDir);

impl Room {
    fn new() -> Room {
        Room(TempDir::with_prefix("florin-local-").expect("a temporary directory"))
    }

    fn set(&self) -> std::path::PathBuf {
        self.0.path().join("set")
    }

    fn command(&self, words: &[&str], program: &Path) -> Command {
        // PostgreSQL's user must be able to enter.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(self.0.path(), open).expect("it is ours");
        let mut script = Command::new(path("local.sh"));
        script.args(words).env("LOCAL_DIR", self.set()).env("FLORIN_BIN", program);
        script
    }

    fn local(&self, words: &[&str], program: &Path) -> Ended {
        run_command(self.command(words, program))
    }

    /// The lines that it shows to try, in the order of the parts.
    fn examples(&self) -> Vec<String> {
        let status = self.local(&["status"], &binary()).stdout;
        let lines = status.lines().filter(|line| line.starts_with(' '));
        lines.map(|line| line.trim().to_owned()).collect()
    }

    /// What runs, by name, with its process id and its URL.
    fn running(&self) -> Vec<(String, u32, String)> {
        let status = self.local(&["status"], &binary()).stdout;
        let lines = status.lines().filter(|line| !line.starts_with(' '));
        lines
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                let name = words.next()?.to_owned();
                (words.next()? == "process").then_some(())?;
                Some((name, words.next()?.parse().ok()?, words.next()?.to_owned()))
            })
            .collect()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let output = self.command(&["wipe"], &binary()).output();
        if !std::thread::panicking() {
            assert!(output.is_ok_and(|output| output.status.success()), "it can be wiped");
            assert!(!self.set().exists());
        }
    }
}

fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

#[test]
fn wrong_words_start_nothing() {
    let room = Room::new();
    for words in [&[][..], &["dance"], &["up", "mysql"], &["down", "redis"], &["status", "x"]] {
        let ended = room.local(words, &binary());
        assert_eq!(ended.code, Some(2), "{words:?}: {ended:?}");
        assert!(ended.stderr.contains("usage: deploy/local.sh"), "{words:?}: {ended:?}");
        assert!(!room.set().exists(), "{words:?}");
    }
    let ended = room.local(&["status"], &binary());
    assert_eq!(ended.code, Some(1), "nothing runs: {ended:?}");
}

#[test]
fn a_directory_of_somebody_else_is_left_alone() {
    let room = Room::new();
    fs::create_dir(room.set()).expect("it is ours");
    let file = room.set().join("letters");
    fs::write(&file, "dear").expect("it is ours");
    for words in [&["up", "redis"][..], &["wipe"]] {
        let ended = room.local(words, &binary());
        assert_eq!(ended.code, Some(1), "{words:?}: {ended:?}");
        assert_eq!(fs::read_to_string(&file).expect("it is still there"), "dear", "{words:?}");
    }
    fs::remove_dir_all(room.set()).expect("it is ours");
}

#[test]
fn databases_start_and_stop_and_keep_their_ports() {
    let room = Room::new();
    let ended = room.local(&["up", "postgres", "redis"], &binary());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let running = room.running();
    let names: Vec<&str> = running.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["postgres", "redis"]);
    assert!(running[0].2.starts_with("postgres://florin:"), "{running:?}");
    assert!(running[1].2.starts_with("redis://default:"), "{running:?}");
    // A second time starts nothing.
    assert_eq!(room.local(&["up", "postgres", "redis"], &binary()).code, Some(0));
    assert_eq!(room.running(), running);
    // A florin that does not start leaves nothing behind but what ran before.
    let ended = room.local(&["up"], Path::new("/bin/false"));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("writer did not become ready"), "{ended:?}");
    assert_eq!(room.running(), running);
    let ended = room.local(&["down"], &binary());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(running.iter().all(|(_, pid, _)| !lives(*pid)), "{ended:?}");
    assert_eq!(room.running(), []);
    // They come back with their data, at the same addresses.
    assert_eq!(room.local(&["up", "postgres", "redis"], &binary()).code, Some(0));
    let again: Vec<String> = room.running().into_iter().map(|(.., url)| url).collect();
    assert_eq!(again, running.into_iter().map(|(.., url)| url).collect::<Vec<_>>());
}

#[test]
fn a_failed_start_stops_what_it_started() {
    let room = Room::new();
    let ended = room.local(&["up"], Path::new("/bin/false"));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("stopped postgres"), "{ended:?}");
    assert_eq!(room.running(), []);
}

#[test]
fn the_whole_set_serves() {
    let room = Room::new();
    let ended = room.local(&["up"], &binary());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let running = room.running();
    let names: Vec<&str> = running.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["postgres", "redis", "writer", "reader-1", "reader-2"]);
    let writer = Client::new(&running[2].2);
    let opened = writer.request("POST /account").send(json!({"account_id": 1, "balance": 500}));
    assert_eq!(opened.status, 201, "{opened:?}");
    for (name, _, url) in &running[3..] {
        // Readers wait for what the writer acknowledged, and hand writes on to it.
        let asked = format!("GET /v1/accounts/1?min_seq={}", opened.seq());
        let deadline = Instant::now() + Duration::from_secs(20);
        let answer = loop {
            let answer = Client::new(url).request(&asked).send(());
            if answer.status == 200 || Instant::now() > deadline {
                break answer;
            }
        };
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert_eq!(answer.json()["balance"], "500.00", "{name}: {answer:?}");
        let forwarded = json!({"account_id": 1, "balance": 500});
        let forwarded = Client::new(url).request("POST /account").send(forwarded);
        assert_eq!(forwarded.status, 200, "{name}: the same again: {forwarded:?}");
    }
    // What it shows to try works as it stands there.
    let examples = room.examples();
    assert_eq!(examples.len(), 5, "{examples:?}");
    for (example, expected) in examples.iter().zip(["v_transfers", "keys=", "500", "500", "500"]) {
        let mut shell = Command::new("sh");
        shell.args(["-c", example]);
        let told = run_command(shell);
        assert!(told.code == Some(0) && told.stdout.contains(expected), "{example}: {told:?}");
    }
    let ended = room.local(&["down"], &binary());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(running.iter().all(|(_, pid, _)| !lives(*pid)), "{ended:?}");
}
