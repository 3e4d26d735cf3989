//! Every metric that an alert or a panel names is one that a server shows, and every alert is tested and explained.

use std::collections::BTreeSet;

use florin_tests::bank::{TestBank, transfer};
use florin_tests::postgres::Postgres;
use florin_tests::server::TestServer;
use serde_json::Value;

use super::{text, words, yaml};

/// What an owner and a reader show that have done a bit of everything.
fn shown() -> BTreeSet<String> {
    let postgres = Postgres::shared();
    let url = postgres.url(&postgres.create_database());
    // A cache that never answers has metrics too.
    let words = ["--redis-url", "redis://127.0.0.1:1/0", "--database-url", &url];
    let bank = TestBank::of(TestServer::start_with(&words));
    bank.account(1);
    bank.account(2);
    bank.transfer(1, 2, "1.00");
    let rejected = bank.client().request("POST /v1/transfers").send(transfer(1, 9, "1.00"));
    assert_eq!(rejected.status, 422, "{rejected:?}");
    assert_eq!(bank.ids("/v1/transfers").len(), 1);
    let words = [&words[..], &["--role", "read"]].concat();
    let reader = TestBank::of(TestServer::start_with(&words));
    let found = reader.client().request("GET /v1/accounts/1?min_seq=2").send(());
    assert_eq!(found.status, 200, "{found:?}");
    [bank, reader]
        .iter()
        .flat_map(|bank| names(&bank.client().request("GET /metrics").send(()).body))
        .collect()
}

fn names(metrics: &str) -> BTreeSet<String> {
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut names = BTreeSet::new();
    for line in types {
        let (name, kind) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
        if kind == "histogram" {
            names.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
        } else {
            names.insert(name.to_owned());
        }
    }
    names
}

fn named_in(expression: &str) -> BTreeSet<&str> {
    let more = |c: char| c.is_ascii_alphanumeric() || c == '_';
    ["florin_", "process_"].iter().flat_map(|prefix| words(expression, prefix, more)).collect()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    let found = value.pointer(pointer).and_then(Value::as_array);
    found.unwrap_or_else(|| panic!("no list {pointer} in {value}"))
}

fn word<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no text {pointer} in {value}"))
}

/// Names and expressions of the alerts.
fn alerts(rules: &Value) -> Vec<(&str, &str)> {
    let rules = list(rules, "/groups/0/rules").iter();
    rules.map(|rule| (word(rule, "/alert"), word(rule, "/expr"))).collect()
}

#[test]
fn what_alerts_and_panels_name_is_shown() {
    let shown = shown();
    let check = |place: &str, expression: &str| {
        let named = named_in(expression);
        // Every expression is about this server; `up` is Prometheus' own.
        assert!(!named.is_empty() || expression.starts_with("up{"), "{place}: {expression}");
        for name in named {
            assert!(shown.contains(name), "{place} names {name}, which no server shows");
        }
    };
    let rules = yaml("prometheus/alerts.yaml");
    for (name, expression) in alerts(&rules) {
        check(name, expression);
    }
    let board: Value = serde_json::from_str(&text("grafana/florin.json")).expect("it is JSON");
    let mut queries = 0;
    for panel in list(&board, "/panels").iter().filter(|panel| panel["type"] != "row") {
        for target in list(panel, "/targets") {
            check(word(panel, "/title"), word(target, "/expr"));
            queries += 1;
        }
    }
    assert!(queries > 20, "only {queries} queries");
}

#[test]
fn every_alert_is_tested_and_explained() {
    let rules = yaml("prometheus/alerts.yaml");
    let tests = yaml("prometheus/alerts.test.yaml");
    let cases = list(&tests, "/tests").iter().flat_map(|test| list(test, "/alert_rule_test"));
    let (mut fire, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for case in cases {
        let expected = case["exp_alerts"].as_array().is_some_and(|alerts| !alerts.is_empty());
        let set = if expected { &mut fire } else { &mut silent };
        set.insert(word(case, "/alertname"));
    }
    let runbook = text("RUNBOOK.md");
    let headings: Vec<&str> =
        runbook.lines().filter_map(|line| line.strip_prefix("### Florin")).collect();
    let alerts = alerts(&rules);
    for rule in list(&rules, "/groups/0/rules") {
        let name = word(rule, "/alert");
        assert!(fire.contains(name), "no test lets {name} fire");
        assert!(silent.contains(name), "no test keeps {name} silent");
        assert!(["page", "ticket"].contains(&word(rule, "/labels/severity")), "{name}");
        assert_eq!(
            word(rule, "/annotations/runbook"),
            format!("RUNBOOK.md#{}", name.to_lowercase())
        );
        let heading = name.trim_start_matches("Florin");
        assert!(headings.contains(&heading), "the runbook does not explain {name}");
    }
    for heading in headings {
        let name = format!("Florin{heading}");
        assert!(alerts.iter().any(|(alert, _)| *alert == name), "there is no alert {name}");
    }
}
