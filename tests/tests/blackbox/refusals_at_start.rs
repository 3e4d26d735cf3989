//! What stops a start: one clear sentence and an exit code that is not 0.

use std::fs;
use std::net::TcpListener;

use florin_tests::bank::TestBank;
use florin_tests::server::{Ended, TestServer, run};
use tempfile::TempDir;

/// One sentence on stderr, in plain words, and no ready line.
#[track_caller]
fn assert_refusal(ended: &Ended, words: &[&str]) {
    assert!(matches!(ended.code, Some(code) if code != 0), "{ended:?}");
    let said: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("florin:")).collect();
    assert_eq!(said.len(), 1, "one sentence: {}", ended.stderr);
    for word in words {
        assert!(said[0].contains(word), "no {word} in: {}", said[0]);
    }
    for inside in ["panicked", "RUST_BACKTRACE", "Os {", "Error("] {
        assert!(!ended.stderr.contains(inside), "{}", ended.stderr);
    }
}

fn serve(listen: &str, directory: &str, words: &[&str]) -> Ended {
    run(&[&["serve", "--listen", listen, "--data-dir", directory], words].concat())
}

fn temporary() -> (TempDir, String) {
    let directory = TempDir::with_prefix("florin-test-").unwrap_or_else(|error| panic!("{error}"));
    let path = directory.path().join("data").to_str().unwrap_or_default().to_owned();
    (directory, path)
}

#[test]
fn a_directory_in_use() {
    let bank = TestBank::with_accounts(&[1]);
    let ended = bank.server.refused_restart();
    assert_refusal(&ended, &["in use", bank.server.data_dir_word()]);
    let ended = run(&["verify", "--data-dir", bank.server.data_dir_word()]);
    assert!(matches!(ended.code, Some(code) if code != 0), "{ended:?}");
    // The one that uses it does not mind.
    assert_eq!(bank.balance(1), "0.00");
}

#[test]
fn a_directory_of_a_newer_format() {
    let mut server = TestServer::start();
    server.stop();
    let path = server.data_dir().join("identity");
    let mut identity = fs::read(&path).unwrap_or_else(|error| panic!("{error}"));
    // The version stands after the magic bytes, the checksum of all before it at the end.
    identity[8..12].copy_from_slice(&99_u32.to_le_bytes());
    let end = identity.len() - 4;
    let checksum = crc32c(&identity[..end]);
    identity[end..].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&path, identity).unwrap_or_else(|error| panic!("{error}"));
    assert_refusal(&server.refused_restart(), &["version 99", server.data_dir_word()]);
}

/// CRC-32C, bit by bit: the identity file is small.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(crc & 1));
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[test]
fn a_directory_that_is_not_ours() {
    let (directory, _) = temporary();
    fs::write(directory.path().join("letter.txt"), "dear")
        .unwrap_or_else(|error| panic!("{error}"));
    let path = directory.path().to_str().unwrap_or_default();
    assert_refusal(&serve("127.0.0.1:0", path, &[]), &["letter.txt"]);
    let kept = fs::read_to_string(directory.path().join("letter.txt"));
    assert!(kept.is_ok_and(|text| text == "dear"));
}

#[test]
fn a_directory_that_can_not_be_written() {
    let (directory, _) = temporary();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap_or_else(|error| panic!("{error}"));
    // Holds for the superuser too, who may write where nobody else may.
    let below = file.join("data").to_str().unwrap_or_default().to_owned();
    assert_refusal(&serve("127.0.0.1:0", &below, &[]), &[&below]);
    let itself = file.to_str().unwrap_or_default();
    assert_refusal(&serve("127.0.0.1:0", itself, &[]), &["not a directory"]);
    if rustix::process::geteuid().is_root() {
        return;
    }
    let locked = directory.path().join("locked");
    fs::create_dir(&locked).unwrap_or_else(|error| panic!("{error}"));
    let mut rights = fs::metadata(&locked).unwrap_or_else(|error| panic!("{error}")).permissions();
    rights.set_readonly(true);
    fs::set_permissions(&locked, rights).unwrap_or_else(|error| panic!("{error}"));
    let path = locked.to_str().unwrap_or_default();
    assert_refusal(&serve("127.0.0.1:0", path, &[]), &["permission"]);
}

#[test]
fn a_busy_port() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("{error}"));
    let address = taken.local_addr().unwrap_or_else(|error| panic!("{error}")).to_string();
    let (_directory, path) = temporary();
    assert_refusal(&serve(&address, &path, &[]), &[&address]);
}

#[test]
fn an_address_that_others_can_reach() {
    let (_directory, path) = temporary();
    let ended = serve("0.0.0.0:0", &path, &[]);
    assert_refusal(&ended, &["0.0.0.0:0", "--insecure-no-auth"]);
    assert!(!std::path::Path::new(&path).exists(), "nothing was touched");
    // Said aloud, it is allowed; the harness asks at 127.0.0.1.
    let server = TestServer::start_with(&["--insecure-no-auth"]);
    assert_eq!(server.client().request("GET /healthz").send(()).status, 200);
}

#[test]
fn wrong_words() {
    for words in [
        &["serve", "--colour", "red"][..],
        &["serve", "--listen", "nowhere"],
        &["serve", "--durability", "maybe"],
        &["dance"],
        &["serve", "--config", "/nonexistent/florin.toml"],
        &["verify", "--colour"],
    ] {
        let ended = run(words);
        assert_eq!(ended.code, Some(2), "{words:?}: {ended:?}");
        assert!(!ended.stderr.is_empty(), "{words:?}");
    }
}
