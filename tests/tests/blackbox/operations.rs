//! Health, readiness, metrics, version, and the published description.

use std::collections::BTreeSet;

use florin_tests::bank::{TestBank, transfer, with};
use florin_tests::server::TestServer;
use serde_json::{Value, json};

#[test]
fn it_lives_and_is_ready() {
    let bank = TestBank::open();
    assert_eq!(bank.client().request("GET /healthz").send(()).status, 200);
    let reply = bank.client().request("GET /readyz").send(());
    assert_eq!(reply.status, 200, "{reply:?}");
    let ready = reply.json();
    assert!(ready["status"].is_string(), "{ready}");
    assert_ne!(ready["status"], "degraded", "{ready}");
    let shown = ready.to_string();
    for part in ["journal", "store"] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    // What is not there is neither away nor late.
    assert!(ready["parts"].get("cache").is_none(), "{ready}");
    let metrics = bank.client().request("GET /metrics").send(()).body;
    assert!(!metrics.contains("\nflorin_cache_"), "{metrics}");
    let version = bank.get("/version");
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"), "{version}");
}

#[test]
fn metrics_move() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let metrics = |bank: &TestBank| {
        let reply = bank.client().request("GET /metrics").send(());
        assert_eq!(reply.status, 200);
        assert!(reply.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
        reply.body
    };
    bank.transfer(1, 2, "1.00");
    let before = metrics(&bank);
    for line in before.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let value = line.rsplit(' ').next().unwrap_or_default();
        assert!(value.parse::<f64>().is_ok(), "no sample: {line}");
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        assert!(
            before.contains(&format!("# TYPE {}", name.trim_end_matches("_total")))
                || before.contains(&format!("# TYPE {name} "))
                || ["_bucket", "_sum", "_count"].iter().any(|end| name.ends_with(end)),
            "no type: {line}"
        );
    }
    assert!(before.contains("# HELP"), "{before}");
    assert!(before.contains("_bucket{"), "latencies are histograms, not summaries");
    let sum = |metrics: &str| -> f64 {
        let name = |line: &str| line.split(['{', ' ']).next().unwrap_or_default().to_owned();
        let counters = metrics.lines().filter(|line| name(line).ends_with("_total"));
        counters.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    for _ in 0..50 {
        bank.transfer(1, 2, "1.00");
    }
    assert!(sum(&metrics(&bank)) > sum(&before) + 50.0, "fifty transfers leave no mark");
}

/// The routes of the contract that this version serves: method and path.
const ROUTES: &str = "
    post /v1/ledgers
    get /v1/ledgers
    get /v1/ledgers/{id}
    post /v1/accounts
    post /v1/accounts/batch
    get /v1/accounts/{id}
    get /v1/accounts
    get /v1/accounts/{id}/transfers
    get /v1/accounts/{id}/balances
    post /v1/transfers
    post /v1/transfers/batch
    get /v1/transfers/{id}
    get /v1/transfers
    post /v1/transactions
    get /v1/transactions/{id}
    post /transaction
    post /process_transaction
    post /account
    get /balance/{id}
    get /transactions
    get /healthz
    get /readyz
    get /metrics
    get /version
";

#[test]
fn the_description_has_every_route() {
    let bank = TestBank::open();
    let description = bank.get("/openapi.json");
    assert!(description["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    assert!(description["info"]["title"].is_string() && description["info"]["version"].is_string());
    let paths = description["paths"].as_object().cloned().unwrap_or_default();
    // The name of a parameter is free.
    let nameless = |path: &str| -> String {
        let parts = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
        parts.collect::<Vec<_>>().join("/")
    };
    let documented: BTreeSet<String> = paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().cloned().unwrap_or_default();
            let methods = methods.into_iter().map(|(method, _)| method);
            methods.map(|method| format!("{method} {}", nameless(path))).collect::<Vec<_>>()
        })
        .collect();
    for route in ROUTES.lines().map(str::trim).filter(|route| !route.is_empty()) {
        assert!(documented.contains(&nameless(route)), "{route} is not in {documented:?}");
    }
    for (path, methods) in &paths {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let responses = operation["responses"].as_object().cloned().unwrap_or_default();
            assert!(!responses.is_empty(), "{method} {path} has no responses");
            let named: BTreeSet<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "path")
                .filter_map(|parameter| parameter["name"].as_str())
                .collect();
            let used: BTreeSet<&str> = path
                .split('/')
                .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
                .collect();
            assert_eq!(named, used, "path parameters of {method} {path}");
        }
    }
    assert_references_resolve(&description, &description);
}

fn assert_references_resolve(whole: &Value, part: &Value) {
    match part {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                let pointer = reference.strip_prefix('#').unwrap_or("/outside");
                assert!(whole.pointer(pointer).is_some(), "{reference} leads nowhere");
            }
            fields.values().for_each(|value| assert_references_resolve(whole, value));
        }
        Value::Array(values) => {
            values.iter().for_each(|value| assert_references_resolve(whole, value))
        }
        _ => {}
    }
}

#[test]
fn the_documentation_works_without_internet() {
    let bank = TestBank::open();
    let mut path = "/docs".to_owned();
    let mut page = bank.client().request("GET /docs").send(());
    for _ in 0..3 {
        if !(300..400).contains(&page.status) {
            break;
        }
        path = page.header("location").unwrap_or_default().to_owned();
        path = path.strip_prefix(bank.client().base()).unwrap_or(&path).to_owned();
        if !path.starts_with('/') {
            path = format!("/{path}");
        }
        page = bank.client().request(&format!("GET {path}")).send(());
    }
    assert_eq!(page.status, 200, "{path}: {page:?}");
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    for (tag, attribute) in [("<script", "src="), ("<link", "href="), ("<img", "src=")] {
        for element in page.body.split(tag).skip(1) {
            let element = element.split('>').next().unwrap_or_default();
            let Some((_, rest)) = element.split_once(attribute) else { continue };
            let url =
                rest.trim_start_matches(['"', '\'']).split(['"', '\'', ' ']).next().unwrap_or("");
            assert!(!url.contains("//"), "{tag} loads {url} from elsewhere");
            if url.starts_with("data:") || tag == "<img" {
                continue;
            }
            let base = path.rsplit_once('/').map_or("", |(base, _)| base);
            let absolute = match url.strip_prefix("./") {
                _ if url.starts_with('/') => url.to_owned(),
                Some(url) => format!("{base}/{url}"),
                None => format!("{base}/{url}"),
            };
            let part = bank.client().request(&format!("GET {absolute}")).send(());
            assert_eq!(part.status, 200, "{absolute}");
        }
    }
}

#[test]
fn nothing_private_is_logged_or_counted() {
    let mut bank = TestBank::with_accounts(&[1, 2]);
    let secret = json!({"metadata": {"name": "Secretive Person"}, "id": "123456789"});
    let key = [("Idempotency-Key", "secretive-key")];
    bank.check_with("POST /v1/transfers", &key, with(transfer(1, 2, "1.00"), secret), "201");
    bank.check("POST /v1/transfers", r#"{"Secretive Field":1}"#, "400 Secretive Field");
    bank.check("GET /v1/transfers/123456789", (), "200");
    let metrics = bank.client().request("GET /metrics").send(()).body;
    bank.server.stop();
    let log = bank.server.stderr();
    for private in ["Secretive Person", "secretive-key", "Secretive Field"] {
        assert!(!log.contains(private), "{private} was logged: {log}");
    }
    for private in ["123456789", "ecretive"] {
        assert!(!metrics.contains(private), "{private} is a label: {metrics}");
    }
}

#[test]
fn the_log_is_text_for_files_or_json_for_programs() {
    let mut server = TestServer::start();
    server.stop();
    assert!(!server.stderr().contains('\u{1b}'), "colours in a file: {:?}", server.stderr());
    let mut server = TestServer::start_with(&["--log", "json", "--insecure-no-auth"]);
    server.stop();
    let log = server.stderr();
    assert!(!log.is_empty());
    for line in log.lines() {
        let entry: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(entry.is_object(), "{line}");
    }
}
