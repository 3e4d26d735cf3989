//! Problem documents and the error catalogue.

use florin_tests::bank::{TestBank, transfer, transfer_with_id};
use serde_json::json;

#[test]
fn a_problem_says_what_where_and_what_next() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let body = florin_tests::bank::with(transfer(1, 2, "1.001"), json!({"id": "7"}));
    let reply = bank.check("POST /v1/transfers", body, "400 amount");
    let problem = reply.json();
    assert_eq!(problem["retry"], "never");
    assert_eq!(problem["errors"][0]["field"], "amount");
    assert!(problem["errors"][0]["code"].is_string(), "{problem}");
    assert!(problem["errors"][0]["detail"].is_string(), "{problem}");
    let refusal = transfer_with_id(8, 1, 99, "1.00");
    let problem = bank.check("POST /v1/transfers", refusal, "422 credit_account_not_found").json();
    assert_eq!((&problem["retry"], &problem["id"]), (&json!("new_id"), &json!("8")));
    let lasting = florin_tests::bank::with(transfer_with_id(9, 1, 2, "1.00"), json!({"code": 0}));
    let problem = bank.check("POST /v1/transfers", lasting, "422 code_must_not_be_zero").json();
    assert_eq!((&problem["retry"], &problem["id"]), (&json!("never"), &json!("9")));
    bank.check("POST /v1/transfers", transfer_with_id(10, 1, 2, "1.00"), "201");
    let conflict = transfer_with_id(10, 1, 2, "2.00");
    let conflict = bank.check("POST /v1/transfers", conflict, "409 exists_with_different_amount");
    assert_eq!(conflict.json()["id"], "10");
}

#[test]
fn every_published_code_has_a_page() {
    let bank = TestBank::open();
    let reply = bank.check("GET /nowhere", (), "404 route_not_found");
    let kind = reply.json()["type"].as_str().unwrap_or_default().to_owned();
    let pages = kind.strip_suffix("route_not_found").unwrap_or_default();
    assert!(!pages.is_empty(), "the page of a code is named after it: {kind}");
    let pages = pages.strip_prefix(bank.client().base()).unwrap_or(pages);
    let codes = bank.published_codes();
    assert!(codes.len() > 50, "{codes:?}");
    for code in codes {
        let page = bank.client().request(&format!("GET {pages}{code}")).send(());
        assert_eq!(page.status, 200, "{code}: {page:?}");
        assert!(page.body.contains(&code), "{code}: {page:?}");
    }
    let nothing = bank.client().request(&format!("GET {pages}no_such_code")).send(());
    assert_eq!(nothing.status, 404);
}

#[test]
fn a_stack_of_a_bug_is_never_shown() {
    let bank = TestBank::with_accounts(&[1]);
    for path in [
        "/v1/accounts/x",
        "/v1/transfers?cursor=%00%ff",
        "/v1/accounts?cursor=AAAA",
        "/%2e%2e/etc/passwd",
    ] {
        let reply = bank.client().request(&format!("GET {path}")).send(());
        assert!(matches!(reply.status, 400 | 404), "{path}: {reply:?}");
        reply.assert_problem();
        for inside in [".rs", "panicked", "SELECT", "sqlx", "/root", "/home"] {
            assert!(!reply.body.contains(inside), "{path} shows {inside}: {}", reply.body);
        }
    }
}
