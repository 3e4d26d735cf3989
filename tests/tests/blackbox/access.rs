//! Who is let in: keys, their scopes, and what becomes of those who have none.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use florin_tests::http::Reply;
use florin_tests::server::{Ended, TestServer, florin, run, run_command};
use florin_tests::wire::Wire;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The routes that ask nobody; every other needs a key.
const OPEN: [&str; 8] = [
    "get /healthz",
    "get /readyz",
    "get /version",
    "get /openapi.json",
    "get /docs",
    "get /docs/{file}",
    "get /errors",
    "get /errors/{code}",
];

/// A directory with a keys file.
struct Office {
    directory: TempDir,
}

impl Office {
    fn new() -> Office {
        Office { directory: TempDir::with_prefix("florin-test-").expect("a temporary directory") }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("keys.toml")
    }

    fn word(&self) -> String {
        self.path().to_str().expect("temporary names are plain").to_owned()
    }

    fn new_key(&self, scope: &str) -> Ended {
        run(&["keys", "new", "--scope", scope, "--name", "a test", "--file", &self.word()])
    }

    /// Makes a key and returns its text.
    fn key(&self, scope: &str) -> String {
        let ended = self.new_key(scope);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let key = ended.stdout.trim_end().to_owned();
        assert!(key.starts_with("flk_") && key.len() == 68, "{ended:?}");
        assert!(!ended.stderr.contains(&key), "it is shown once: {ended:?}");
        key
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).expect("there is a keys file")
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).expect("the directory is ours");
    }

    /// Takes the newest key out.
    fn revoke_newest(&self) {
        let text = self.text();
        let (before, _) = text.rsplit_once("[[key]]").expect("there is a key");
        self.write(before);
    }

    fn serve(&self, words: &[&str]) -> TestServer {
        TestServer::start_with(&[&["--api-keys", &self.word()], words].concat())
    }
}

/// Asks with this in the `Authorization` header, or without the header.
fn ask(server: &TestServer, request: &str, authorization: Option<&str>) -> Reply {
    let client = server.client();
    let mut asked = client.request(request);
    if let Some(authorization) = authorization {
        asked = asked.header("authorization", authorization);
    }
    if request.starts_with("POST") { asked.send("{}") } else { asked.send(()) }
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

#[track_caller]
fn assert_refused(reply: &Reply, summary: &str, challenge: &str) {
    assert_eq!(reply.summary(), summary, "{reply:?}");
    reply.assert_problem();
    assert_eq!(reply.header("www-authenticate"), Some(challenge), "{reply:?}");
    assert_eq!(reply.header("florin-seq"), None, "how much was decided is not told: {reply:?}");
}

#[test]
fn every_route_asks_for_its_scope() {
    let office = Office::new();
    let [read, write, admin] = ["read", "write", "admin"].map(|scope| bearer(&office.key(scope)));
    let stranger = bearer(&Office::new().key("admin"));
    let server = office.serve(&[]);
    let description = ask(&server, "GET /openapi.json", None).json();
    let mut seen = BTreeSet::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let route = format!("{method} {path}");
            let here = path.replace("{file}", "index.html").replace("{code}", "unauthorized");
            let here = here.replace("{id}", "1").replace("{account_id}", "1");
            let request = format!("{} {here}", method.to_uppercase());
            let denied = |authorization: &str| {
                let reply = ask(&server, &request, Some(authorization));
                matches!(reply.status, 401 | 403)
            };
            if OPEN.contains(&route.as_str()) {
                seen.insert(route);
                let reply = ask(&server, &request, None);
                assert!(matches!(reply.status, 200 | 308), "{reply:?}");
                assert!(!denied("Bearer nothing"), "{request}");
                continue;
            }
            assert_refused(&ask(&server, &request, None), "401 unauthorized", "Bearer");
            let invalid = "Bearer error=\"invalid_token\"";
            for bad in ["Bearer flk_abc", "Basic YTpi", &stranger] {
                let reply = ask(&server, &request, Some(bad));
                assert_refused(&reply, "401 invalid_api_key", invalid);
            }
            assert!(!denied(&write) && !denied(&admin), "{request}");
            if path.ends_with("/lookup") {
                assert!(!denied(&read), "{request}: a read that comes as a POST");
            } else if method == "get" {
                assert!(!denied(&read), "{request}");
                let head = format!("HEAD {here}");
                assert_eq!(ask(&server, &head, None).status, 401, "{head}");
            } else {
                let reply = ask(&server, &request, Some(&read));
                let challenge = "Bearer error=\"insufficient_scope\"";
                assert_refused(&reply, "403 forbidden", challenge);
                let detail = reply.json()["detail"].as_str().unwrap_or_default().to_owned();
                assert!(detail.contains("write") && detail.contains("read"), "{detail}");
            }
        }
    }
    assert_eq!(seen, OPEN.map(str::to_owned).into(), "all that is open is there");
    for request in ["GET /nowhere", "DELETE /v1/transfers", "GET /transaction"] {
        assert_refused(&ask(&server, request, None), "401 unauthorized", "Bearer");
        assert!(matches!(ask(&server, request, Some(&read)).status, 404 | 405), "{request}");
    }
}

#[test]
fn a_key_moves_money_and_a_mistyped_one_is_told_so() {
    let office = Office::new();
    let (read, write) = (office.key("read"), office.key("write"));
    let server = office.serve(&[]);
    let client = server.client();
    let post = |path: &str, key: &str, body: Value| {
        client.request(&format!("POST {path}")).header("authorization", &bearer(key)).send(body)
    };
    for id in [1, 2] {
        let _ = post("/account", &write, json!({"account_id": id, "balance": 10})).expect("201");
    }
    let transfer =
        json!({"id": 7, "debit_account_id": 1, "credit_account_id": 2, "amount": "4.00"});
    let _ = post("/v1/transfers", &read, transfer.clone()).expect("403 forbidden");
    let _ = post("/v1/transfers", &write, transfer.clone()).expect("201");
    let _ = post("/v1/transfers", &write, transfer).expect("200 replayed");
    let balance = ask(&server, "GET /balance/2", Some(&bearer(&read)));
    assert_eq!(balance.json()["account_id"], 2, "{balance:?}");
    assert!(balance.body.contains("14.00"), "{balance:?}");

    let last = if read.ends_with('a') { "b" } else { "a" };
    let mistyped = format!("{}{last}", &read[..67]);
    let told = |key: &str| {
        let reply = ask(&server, "GET /balance/2", Some(&bearer(key)));
        reply.expect("401 invalid_api_key").json()["detail"].as_str().unwrap().to_owned()
    };
    assert!(told(&mistyped).contains("checksum"));
    assert!(told(&Office::new().key("read")).contains("not known"));
    assert!(told("flk_").contains("68 characters"));
    for code in ["unauthorized", "invalid_api_key", "forbidden"] {
        assert_eq!(ask(&server, &format!("GET /errors/{code}"), None).status, 200, "{code}");
    }
}

#[test]
fn nothing_of_a_body_is_waited_for_without_a_key() {
    let office = Office::new();
    let key = office.key("read");
    let server = office.serve(&[]);
    let authorizations = [(String::new(), 401), (format!("Authorization: Bearer {key}\r\n"), 403)];
    for (authorization, status) in authorizations {
        let mut wire = Wire::connect(server.address(), Duration::from_secs(10));
        let head = format!(
            "POST /v1/transfers/batch HTTP/1.1\r\nHost: florin\r\n{authorization}\
             Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
        );
        wire.write(head.as_bytes()).unwrap();
        assert_eq!(wire.read().status, Some(status));
    }
    // A client that sends all the same gets its answer, and is not cut off before it can read it.
    let client = server.client();
    for size in [10, 100_000] {
        let body = format!("[{}]", " ".repeat(size));
        let _ = client.request("POST /v1/transfers/batch").send(body).expect("401 unauthorized");
    }
}

#[test]
fn metrics_are_for_holders_of_keys_or_for_all() {
    let office = Office::new();
    let key = bearer(&office.key("read"));
    let server = office.serve(&[]);
    let _ = ask(&server, "GET /metrics", None).expect("401 unauthorized");
    let _ = ask(&server, "GET /v1/ledgers", Some("Bearer x")).expect("401 invalid_api_key");
    let _ = ask(&server, "POST /v1/ledgers", Some(&key)).expect("403 forbidden");
    let shown = ask(&server, "GET /metrics", Some(&key)).expect("200").body;
    for (reason, count) in
        [("missing", 1), ("malformed", 1), ("scope", 1), ("unknown", 0), ("wrong_secret", 0)]
    {
        let line = format!("florin_auth_failures_total{{reason=\"{reason}\"}} {count}\n");
        assert!(shown.contains(&line), "no {line} in {shown}");
    }
    assert!(shown.contains("status=\"401\"") && shown.contains("status=\"403\""), "{shown}");
    let server = office.serve(&["--metrics-access", "open"]);
    let _ = ask(&server, "GET /metrics", None).expect("200");
    let _ = ask(&server, "GET /v1/ledgers", None).expect("401 unauthorized");
}

#[test]
fn a_hangup_brings_new_keys_and_takes_old_ones_away() {
    let office = Office::new();
    let first = bearer(&office.key("read"));
    let server = office.serve(&[]);
    let status = |key: &str| ask(&server, "GET /v1/ledgers", Some(key)).status;
    let second = bearer(&office.key("read"));
    assert_eq!((status(&first), status(&second)), (200, 401));
    server.reread("the keys were reread");
    assert_eq!((status(&first), status(&second)), (200, 200));
    office.revoke_newest();
    server.reread("the keys were reread");
    assert_eq!((status(&first), status(&second)), (200, 401));
    // What can not be read changes nothing, and is said.
    let good = office.text();
    for bad in ["[[key", &format!("{good}{good}")] {
        office.write(bad);
        server.reread("the keys stay as they were");
        assert_eq!((status(&first), status(&second)), (200, 401));
    }
    fs::remove_file(office.path()).unwrap();
    server.reread("the keys stay as they were");
    assert_eq!(status(&first), 200);
    office.write("");
    server.reread("the keys were reread");
    assert_eq!(status(&first), 401);
}

#[test]
fn a_hangup_does_not_end_a_server_without_keys() {
    let server = TestServer::start();
    server.reread("neither keys nor certificates");
    assert_eq!(server.client().request("GET /v1/ledgers").send(()).status, 200);
}

#[test]
fn keys_are_made_and_listed() {
    let office = Office::new();
    let (first, second) = (office.key("read"), office.key("admin"));
    assert_ne!(first, second);
    let mode = fs::metadata(office.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let listed = run(&["keys", "list", "--file", &office.word()]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    for (key, scope) in [(&first, "read"), (&second, "admin")] {
        let line = listed.stdout.lines().find(|line| line.contains(&key[4..12]));
        let line = line.unwrap_or_else(|| panic!("{listed:?}"));
        assert!(line.contains(scope) && line.contains("a test"), "{line}");
        for kept in [&listed.stdout, &office.text()] {
            assert!(!kept.contains(&key[12..56]), "no secret is kept");
        }
    }
    // The variable and the configuration file name it too.
    let mut list = florin(&["keys", "list"]);
    list.env("FLORIN_API_KEYS", office.path());
    assert_eq!(run_command(list).stdout, listed.stdout);
    for words in [
        &["keys", "list"][..],
        &["keys", "new", "--scope", "read"],
        &["keys", "new", "--scope", "root", "--file", "x"],
        &["keys", "new", "--file", "x"],
        &["keys", "new", "--scope", "read", "--name", "a\"b", "--file", "x"],
    ] {
        assert_eq!(run(words).code, Some(2), "{words:?}");
    }
}

#[test]
fn a_keys_file_that_can_not_be_used_stops_the_start_and_is_left_alone() {
    let office = Office::new();
    let serve = || {
        let data = office.directory.path().join("data");
        let words = ["serve", "--listen", "127.0.0.1:0", "--api-keys", &office.word()];
        let ended = run(&[&words[..], &["--data-dir", data.to_str().unwrap()]].concat());
        assert!(!data.exists(), "nothing was touched");
        ended
    };
    let check = |ended: Ended, expected: &str| {
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains(expected), "no {expected}: {ended:?}");
        assert_eq!(ended.stdout, "", "{ended:?}");
    };
    check(serve(), "florin keys new");
    let _ = office.key("read");
    let good = office.text();
    for (bad, expected) in [
        (format!("{good}{good}"), "stands twice"),
        (good.replace("scope = \"read\"", "scope = \"all\""), "scope must be"),
        (good.replace("hash = \"", "hash = \"x"), "hash must have"),
        (good[..good.len() - 10].to_owned(), "line "),
    ] {
        office.write(&bad);
        check(serve(), expected);
        check(office.new_key("read"), expected);
        assert_eq!(office.text(), bad);
    }
    office.write(&good);
    fs::set_permissions(office.path(), fs::Permissions::from_mode(0o660)).unwrap();
    check(serve(), "chmod go-w");
    check(office.new_key("read"), "chmod go-w");
}

#[test]
fn keys_open_the_way_to_other_machines() {
    let office = Office::new();
    let _ = office.key("read");
    let check = |words: &[&str]| run(&[&["config", "--check"], words].concat()).code;
    assert_eq!(check(&["--listen", "0.0.0.0:0"]), Some(2));
    assert_eq!(check(&["--listen", "0.0.0.0:0", "--api-keys", &office.word()]), Some(0));
    let shown = run(&["config", "--api-keys", &office.word(), "--metrics-access", "open"]);
    for name in ["api_keys", "metrics_access", "tls_cert", "tls_key"] {
        assert!(shown.stdout.contains(name), "{shown:?}");
    }
}

#[test]
fn no_key_is_ever_logged() {
    let office = Office::new();
    let (read, stranger) = (office.key("read"), Office::new().key("read"));
    for format in ["text", "json"] {
        let words = ["--api-keys", &office.word(), "--log", format];
        let mut server = TestServer::start_with_variables(&words, &[("RUST_LOG", "trace")]);
        for key in [&read, &stranger, "flk_justsomething"] {
            for request in ["GET /v1/ledgers", "POST /v1/transfers", "GET /nowhere"] {
                let _ = ask(&server, request, Some(&bearer(key)));
                let _ = ask(&server, &format!("{request}?key=1"), Some(key));
            }
        }
        server.reread("the keys were reread");
        server.stop();
        let log = server.stderr();
        assert!(log.contains("stopping") && log.contains("actix_http"), "everything: {log}");
        for key in [&read[12..], &stranger[12..], "justsomething"] {
            assert!(!log.contains(key), "{log}");
        }
    }
}

#[test]
fn the_verbs_show_their_key() {
    let office = Office::new();
    let (read, write) = (office.key("read"), office.key("write"));
    let server = office.serve(&[]);
    let url = server.base();
    let create = ["account", "create", "--id", "5", "--url", &url];
    let refused = run(&create);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("unauthorized"), "{refused:?}");
    let refused = run(&[&create[..], &["--api-key", &read]].concat());
    assert!(refused.stderr.contains("forbidden"), "{refused:?}");
    let done = run(&[&create[..], &["--api-key", &write]].concat());
    assert_eq!(done.code, Some(0), "{done:?}");

    let mut balance = florin(&["balance", "5", "--url", &url]);
    balance.env("FLORIN_API_KEY", &read);
    assert_eq!(run_command(balance).code, Some(0));
    let file = office.directory.path().join("key");
    fs::write(&file, format!("{read}\n")).unwrap();
    let mut list = florin(&["transfer", "list", "--url", &url]);
    list.env("FLORIN_API_KEY_FILE", &file);
    assert_eq!(run_command(list).code, Some(0));

    let mistyped = run(&["balance", "5", "--url", &url, "--api-key", &read[..60]]);
    assert_eq!(mistyped.code, Some(2), "{mistyped:?}");
    assert!(!mistyped.stderr.contains(&read[12..60]), "{mistyped:?}");
    assert_eq!(run(&["health", "--url", &url]).code, Some(0), "health needs no key");
    let demo = ["demo", "--seconds", "1", "--connections", "1", "--url", &url];
    assert_eq!(run(&demo).code, Some(1));
    let demo = run(&[&demo[..], &["--api-key", &write]].concat());
    assert_eq!(demo.code, Some(0), "{demo:?}");
}
