//! The verbs that a person uses, as far as a test can stand in for one.

use florin_tests::bank::{TestBank, transfer_with_id};
use florin_tests::server::{TestServer, run};
use serde_json::json;

#[test]
fn help_and_version_everywhere() {
    let verbs = [
        "serve",
        "verify",
        "config",
        "keys",
        "health",
        "account",
        "transfer",
        "balance",
        "demo",
        "bench",
        "completions",
    ];
    let overview = run(&["--help"]);
    assert_eq!(overview.code, Some(0), "{overview:?}");
    for verb in verbs {
        assert!(
            overview.stdout.contains(verb),
            "{verb} is not in the overview: {}",
            overview.stdout
        );
        let help = run(&[verb, "--help"]);
        assert_eq!(help.code, Some(0), "{verb}: {help:?}");
        assert!(help.stdout.contains("Usage"), "{verb}: {help:?}");
    }
    let version = run(&["--version"]);
    assert_eq!(version.code, Some(0));
    assert!(version.stdout.contains(env!("CARGO_PKG_VERSION")), "{version:?}");
}

#[test]
fn the_configuration_in_force_is_printed_with_its_origins() {
    let ended = run(&["config", "--listen", "127.0.0.1:9", "--data-dir", "/srv/ledger"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let line = |name: &str| {
        let found = ended.stdout.lines().find(|line| line.contains(name));
        found.unwrap_or_else(|| panic!("no {name}: {}", ended.stdout)).to_owned()
    };
    assert!(line("127.0.0.1:9").contains("--listen"), "{}", ended.stdout);
    assert!(line("/srv/ledger").contains("--data-dir"), "{}", ended.stdout);
    assert!(line("fsync").contains("default"), "{}", ended.stdout);
    // The harness sets this one.
    assert!(line("4MiB").contains("FLORIN_SEGMENT_BYTES"), "{}", ended.stdout);
}

#[test]
fn health_follows_readiness() {
    let mut server = TestServer::start();
    let url = server.base();
    let ended = run(&["health", "--url", &url]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    server.stop();
    let ended = run(&["health", "--url", &url]);
    assert!(matches!(ended.code, Some(code) if code != 0), "{ended:?}");
}

#[test]
fn metadata_is_sent_as_it_is_written() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let url = bank.server.base();
    let metadata = r#"{"z":0.10,"a":12345678901234567890.12345678901234567890}"#;
    let account = ["account", "create", "--id", "7", "--metadata"];
    let transfer = "transfer create --id 8 --from 1 --to 2 --amount 1 --metadata";
    let transfer: Vec<&str> = transfer.split(' ').collect();
    for (words, asked, mut body) in [
        (&account[..], "/v1/accounts", json!({"id": "7"}).to_string()),
        (&transfer[..], "/v1/transfers", transfer_with_id(8, 1, 2, "1.00").to_string()),
    ] {
        let sent = |metadata: &str| run(&[words, &[metadata, "--url", &url]].concat());
        let twice = sent(r#"{"a":1,"a":2}"#);
        assert_eq!(twice.code, Some(1), "{twice:?}");
        assert!(twice.stderr.contains("twice"), "{twice:?}");
        let created = sent(metadata);
        assert_eq!(created.code, Some(0), "{created:?}");
        // The same over HTTP, digit for digit.
        body.pop();
        body.push_str(&format!(",\"metadata\":{metadata}}}"));
        let again = bank.check(&format!("POST {asked}"), body, "200 replayed");
        assert!(again.body.contains(metadata), "{again:?}");
    }
}

#[test]
fn a_stopped_directory_is_verified() {
    let mut bank = TestBank::with_accounts(&[1, 2]);
    for _ in 0..5 {
        bank.transfer(1, 2, "1.00");
    }
    bank.server.stop();
    let ended = bank.server.verify();
    assert!(!ended.stdout.is_empty(), "a summary: {ended:?}");
    // Looking changes nothing: it can be looked at again, and started.
    assert_eq!(bank.server.verify().stdout, ended.stdout);
    bank.restart();
    assert_eq!(bank.balance(2), "5.00");
    let nothing = run(&["verify", "--data-dir", "/nonexistent/florin"]);
    assert_eq!(nothing.code, Some(1), "{nothing:?}");
    assert!(nothing.stderr.contains("/nonexistent/florin"), "{nothing:?}");
}

#[test]
fn verify_finds_a_store_that_says_something_else() {
    let mut bank = TestBank::with_accounts(&[1, 2]);
    bank.transfer(1, 2, "5.00");
    assert_eq!(bank.ids("/v1/transfers").len(), 1);
    bank.server.stop();
    bank.server.verify();
    let store = bank.server.data_dir().join("store.sqlite");
    let script = "import sqlite3, sys\n\
        c = sqlite3.connect(sys.argv[1])\n\
        for (table,) in c.execute(\"select name from sqlite_master where type='table'\").fetchall():\n\
        \x20   if table == 'transfers': c.execute('delete from transfers')\n\
        c.commit()\n";
    let mut python = std::process::Command::new("python3");
    python.args(["-c", script]).arg(&store);
    assert_eq!(florin_tests::server::run_command(python).code, Some(0));
    let ended = run(&["verify", "--data-dir", bank.server.data_dir_word()]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
}
