//! The routes over a real ledger in a temporary directory, without a network.

use std::collections::BTreeSet;

use actix_web::body::to_bytes;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, Error};
use florin_actors::{Florin, Options, Reader};
use florin_persistence::disk::faulty::{FaultyDisk, Op};
use florin_persistence::disk::{Disk, OsDisk};
use serde_json::{Value, json};

use super::openapi::DOCUMENT;
use super::*;
use crate::keys::Scope;

/// A ledger and its routes.
struct Bank {
    _directory: tempfile::TempDir,
    florin: Florin,
    state: Arc<State>,
}

impl Bank {
    fn open() -> Bank {
        Bank::open_on(Arc::new(OsDisk))
    }

    fn open_on(disk: Arc<dyn Disk>) -> Bank {
        let directory = tempfile::tempdir().unwrap();
        let mut options = Options::new(directory.path().join("data"));
        options.segment_bytes = 4 << 20;
        options.disk = disk;
        let florin = Florin::open(options).unwrap();
        let config = HttpConfig {
            workers: 1,
            body_bytes: 256 << 10,
            batch_body_bytes: 16 << 20,
            bodies_bytes: 256 << 20,
            connections: 100,
            durability: Durability::Fsync,
            history: History::Served,
            writer: None,
            api_keys: None,
            metrics_door: Door::Needs(Scope::Read),
            certificates: None,
        };
        let state = Arc::new(State::new(Ledger::Owner(florin.clone()), config));
        Bank { _directory: directory, florin, state }
    }

    fn routes(&self) -> Routes {
        Routes::all(&self.state)
    }
}

/// What came back.
struct Told {
    status: u16,
    headers: actix_web::http::header::HeaderMap,
    text: String,
}

impl Told {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// `201`, `200 again`, `400 invalid_request amount too_many_digits`, `422 exceeds_credits`; with `@1` for an index.
    fn summary(&self) -> String {
        let mut summary = self.status.to_string();
        if self.header("idempotent-replayed") == "true" {
            summary.push_str(" again");
        }
        if self.header("content-type") == "application/problem+json" {
            let problem = self.json();
            summary.push_str(&format!(" {}", problem["code"].as_str().unwrap()));
            for error in problem["errors"].as_array().into_iter().flatten() {
                let text = |name: &str| error[name].as_str().unwrap();
                summary.push_str(&format!(" {} {}", text("field"), text("code")));
            }
            if let Some(index) = problem["index"].as_u64() {
                summary.push_str(&format!(" @{index}"));
            }
        }
        summary
    }
}

async fn ask<S, R>(app: &S, request: R) -> Told
where
    S: Service<R, Response = ServiceResponse, Error = Error>,
{
    let response = app.call(request).await.unwrap().into_parts().1;
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let body = to_bytes(response.into_body()).await.unwrap();
    Told { status, headers, text: String::from_utf8_lossy(&body).into_owned() }
}

fn get(path: &str) -> TestRequest {
    TestRequest::get().uri(path)
}

fn post(path: &str, body: &str) -> TestRequest {
    let json = ("content-type", "application/json");
    TestRequest::post().uri(path).insert_header(json).set_payload(body.to_owned())
}

/// Sets up the routes of `$bank` as `$app`: the type of a test's application has no name.
macro_rules! serve {
    ($bank:ident, $app:ident) => {
        serve!($bank, $app, Bank::open());
    };
    ($bank:ident, $app:ident, $open:expr) => {
        let $bank = $open;
        let routes = $bank.routes();
        let $app = init_service(App::new().configure(|app| routes.configure(app))).await;
    };
}

mod accepted;
mod described;
mod legs;
mod reversed;
mod statuses;

#[actix_web::test]
async fn every_body_is_read_strictly() {
    serve!(bank, app);
    let table = [
        (
            "/v1/transfers",
            r#"{"debit_account_id":1,"credit_account_id":2,"amount":1}"#,
            "422 debit_account_not_found",
        ),
        ("/v1/transfers", "", "400 malformed_json"),
        ("/v1/transfers", "{", "400 malformed_json"),
        ("/v1/transfers", r#"{"amount":1"#, "400 malformed_json"),
        ("/v1/transfers", r#"{"amount":1.}"#, "400 malformed_json amount malformed"),
        ("/v1/transfers", r#"{"metadata":{"a":[1,]}}"#, "400 malformed_json metadata malformed"),
        ("/v1/transfers", r#"{"id":1}{}"#, "400 malformed_json"),
        ("/v1/transfers", "[]", "400 invalid_request body wrong_type"),
        ("/v1/transfers", "null", "400 invalid_request body wrong_type"),
        ("/v1/transfers", "{}", "400 invalid_request debit_account_id missing_field"),
        ("/v1/transfers", r#"{"colour":1}"#, "400 invalid_request colour unknown_field"),
        ("/v1/transfers", r#"{"id":1,"id":2}"#, "400 invalid_request id duplicate_field"),
        ("/v1/transfers", r#"{"\u0069d":1,"id":2}"#, "400 invalid_request id duplicate_field"),
        (
            "/v1/transfers",
            r#"{"debit_account_id":1,"credit_account_id":2,"amount":1,"flags":["flying"]}"#,
            "400 invalid_request flags unknown_flag",
        ),
        (
            "/v1/transfers/batch",
            r#"[{"debit_account_id":1,"credit_account_id":2,"amount":1},{"amount":1,"amount":2}]"#,
            "400 invalid_request amount duplicate_field @1",
        ),
        ("/v1/transfers/batch", "{}", "400 invalid_request body wrong_type"),
        ("/v1/transfers/batch", "[1]", "400 invalid_request body wrong_type @0"),
        ("/v1/transfers/batch", r#"[{"id":1},{"id":"#, "400 malformed_json id malformed @1"),
        (
            "/v1/transactions",
            r#"{"transfers":[{"debit_account_id":1,"credit_account_id":2,"amount":"1x"}]}"#,
            "400 invalid_request transfers[0].amount not_digits @0",
        ),
        (
            "/v1/transactions",
            r#"{"transfers":[{},{"colour":1}]}"#,
            "400 invalid_request transfers[1].colour unknown_field @1",
        ),
        ("/v1/transactions", r#"{"transfers":[]}"#, "400 invalid_request transfers out_of_range"),
        ("/v1/transactions", r#"{"transfers":7}"#, "400 invalid_request transfers wrong_type"),
        ("/v1/transactions", "{}", "400 invalid_request transfers missing_field"),
        ("/v1/accounts", r#"{"id":-1}"#, "400 invalid_request id not_an_id"),
        ("/v1/accounts", r#"{"id":null}"#, "400 invalid_request id missing_field"),
        (
            "/v1/accounts",
            r#"{"id":1,"overdraft_limit":"1.001"}"#,
            "400 invalid_request overdraft_limit too_many_digits",
        ),
        ("/v1/ledgers", r#"{"id":7}"#, "400 invalid_request currency missing_field"),
        ("/transaction", r#"{"from":1,"to":2,"amount":-1}"#, "400 invalid_request amount signed"),
        ("/account", r#"{"account_id":1,"balance":"a"}"#, "400 invalid_request balance not_digits"),
    ];
    for (path, body, expected) in table {
        let told = ask(&app, post(path, body).to_request()).await;
        assert_eq!(told.summary(), expected, "POST {path} {body}: {}", told.text);
    }
    bank.florin.stop().await;
}

#[actix_web::test]
async fn too_many_events_are_refused_before_they_are_read() {
    serve!(bank, app);
    // Two bytes an event: what is left of the body would be millions of them.
    let many = format!("[{}{{}}]", "{},".repeat(500_000));
    let told = ask(&app, post("/v1/transfers/batch", &many).to_request()).await;
    assert_eq!(told.summary(), "400 too_many_events");
    let legs = format!(r#"{{"transfers":[{}{{}}]}}"#, "{},".repeat(9_000));
    let told = ask(&app, post("/v1/transactions", &legs).to_request()).await;
    assert_eq!(told.summary(), "400 too_many_events");
    bank.florin.stop().await;
}

#[actix_web::test]
async fn a_problem_says_everything() {
    serve!(bank, app);
    for body in [r#"{"id":1}"#, r#"{"id":2,"flags":["debits_must_not_exceed_credits"]}"#] {
        assert_eq!(ask(&app, post("/v1/accounts", body).to_request()).await.status, 201);
    }
    let body = r#"{"id":9,"debit_account_id":2,"credit_account_id":1,"amount":"10.5"}"#;
    let request = post("/v1/transfers", body).insert_header(("x-request-id", "mine"));
    let told = ask(&app, request.to_request()).await;
    let expected = serde_json::json!({
        "type": "/errors/exceeds_credits", "title": "Exceeds credits", "status": 422,
        "detail": "The debit account has not enough available.", "instance": "/v1/transfers",
        "code": "exceeds_credits", "request_id": "mine", "retry": "new_id", "id": "9",
        "available": "0.00", "requested": "10.50",
    });
    assert_eq!(told.json(), expected);
    assert_eq!(told.header("x-request-id"), "mine");
    assert_eq!(told.header("florin-seq").parse::<u64>().unwrap(), {
        let seq = bank.florin.positions().durable;
        seq.0
    });
    bank.florin.stop().await;
}

#[actix_web::test]
async fn a_key_answers_whole_and_an_id_without_that_moments_accounts() {
    serve!(bank, app);
    for id in [1, 2] {
        let told = ask(&app, post("/v1/accounts", &format!(r#"{{"id":{id}}}"#)).to_request()).await;
        assert_eq!(told.summary(), "201");
    }
    let body = r#"{"id":7,"debit_account_id":1,"credit_account_id":2,"amount":"1.00"}"#;
    let keyed = || post("/v1/transfers", body).insert_header(("idempotency-key", "k"));
    let first = ask(&app, keyed().to_request()).await;
    assert_eq!(first.summary(), "201");
    assert_eq!(first.json()["credit_account"]["balance"], "1.00");
    let again = ask(&app, keyed().to_request()).await;
    assert_eq!((again.summary().as_str(), &again.text), ("201 again", &first.text));
    assert_eq!(again.header("location"), "/v1/transfers/7");
    let by_id = ask(&app, post("/v1/transfers", body).to_request()).await;
    assert_eq!(by_id.summary(), "200 again");
    assert!(by_id.json().get("credit_account").is_none());
    let other = body.replace("1.00", "2.00");
    let other = post("/v1/transfers", &other).insert_header(("idempotency-key", "k"));
    assert_eq!(ask(&app, other.to_request()).await.summary(), "422 idempotency_key_reused");
    let bad = post("/v1/transfers", body).insert_header(("idempotency-key", "a b"));
    assert_eq!(ask(&app, bad.to_request()).await.summary(), "400 invalid_idempotency_key");
    bank.florin.stop().await;
}

#[actix_web::test]
async fn a_key_in_use_is_told_so() {
    serve!(bank, app);
    let hash = xxhash_rust::xxh3::xxh3_128_with_seed(b"busy", 0x666c_6f72_696e_6b65);
    let claim = bank.state.keys_in_flight.claim(hash).unwrap();
    let keyed = || post("/v1/accounts", r#"{"id":1}"#).insert_header(("idempotency-key", "busy"));
    let told = ask(&app, keyed().to_request()).await;
    assert_eq!(told.summary(), "409 request_in_progress");
    assert_eq!(told.header("retry-after"), "1");
    drop(claim);
    assert_eq!(ask(&app, keyed().to_request()).await.summary(), "201");
    bank.florin.stop().await;
}

#[actix_web::test]
async fn a_reader_answers_reads_as_the_owner_does_and_decides_nothing() {
    serve!(bank, app);
    for (path, body) in [
        ("/v1/ledgers", r#"{"id":2,"currency":"BTC","scale":8}"#),
        ("/v1/accounts/batch", r#"[{"id":1,"flags":["history"]},{"id":2},{"id":3,"ledger":2}]"#),
        ("/v1/transfers", r#"{"id":7,"debit_account_id":1,"credit_account_id":2,"amount":"1.50"}"#),
        (
            "/v1/transactions",
            r#"{"id":8,"transfers":[{"id":9,"debit_account_id":2,"credit_account_id":1,"amount":1}]}"#,
        ),
    ] {
        let told = ask(&app, post(path, body).to_request()).await;
        assert!(told.status < 300, "{}", told.text);
    }
    let newest = bank.florin.positions().durable.0;
    let state = Arc::new(State::new(
        Ledger::Reader(Reader::new(bank.florin.store().clone(), None).unwrap()),
        bank.state.config.clone(),
    ));
    let routes = Routes::all(&state);
    let reader = init_service(App::new().configure(|app| routes.configure(app))).await;
    for path in [
        "/v1/accounts/1",
        "/v1/accounts/3",
        "/v1/accounts/4",
        "/v1/accounts",
        "/v1/accounts/1/transfers?min_amount=1.5",
        "/v1/accounts/1/balances",
        "/v1/transfers/7",
        "/v1/transfers/70",
        "/v1/transfers?ledger=2&min_amount=0.00000001",
        "/v1/transactions/8",
        "/v1/ledgers",
        "/v1/ledgers/2",
        "/v1/ledgers/2/trial-balance",
        "/v1/ledgers/1/balance-sheet",
        "/v1/accounts/1/statement?limit=1",
        "/v1/accounts/1/statement?format=csv",
        "/v1/accounts/1/balance?at=2100-01-01T00:00:00Z",
        "/v1/transfers?status=posted&metadata[a]=1",
        "/balance/2",
        "/transactions",
    ] {
        let asked = || {
            let id = ("x-request-id", "same");
            get(path).insert_header(id).insert_header(("florin-min-seq", newest)).to_request()
        };
        let (here, there) = (ask(&app, asked()).await, ask(&reader, asked()).await);
        assert_eq!((there.status, &there.text), (here.status, &here.text), "{path}");
        assert_eq!(there.header("florin-seq"), newest.to_string(), "{path}");
        if there.status == 200 {
            assert_eq!(there.header("florin-source"), "store", "{path}");
        }
    }
    for (request, expected, allow) in [
        (post("/v1/transfers", "{}"), "405 read_only", "GET, HEAD"),
        (post("/v1/accounts/batch", "{}"), "405 read_only", ""),
        (post("/account", "{}"), "405 read_only", ""),
        (post("/transaction", "{}"), "405 read_only", ""),
        (get("/transaction"), "405 method_not_allowed", ""),
        (get("/v1/accounts/lookup"), "405 method_not_allowed", "POST"),
        (TestRequest::put().uri("/v1/transfers"), "405 method_not_allowed", "GET, HEAD"),
    ] {
        let told = ask(&reader, request.to_request()).await;
        let allowed = told.headers.get("allow").map(|allow| allow.to_str().unwrap());
        assert_eq!((told.summary().as_str(), allowed), (expected, Some(allow)), "{}", told.text);
    }
    let told = ask(&reader, get(&format!("/v1/accounts/1?min_seq={}", newest + 1)).to_request());
    assert_eq!(told.await.summary(), "503 not_yet");
    let ready = ask(&reader, get("/readyz").to_request()).await;
    assert_eq!((ready.status, &ready.json()["parts"]["store"]["seq"]), (200, &newest.into()));
    bank.florin.stop().await;
}

#[actix_web::test]
async fn a_writer_leaves_lists_to_readers() {
    let bank = Bank::open();
    let config = HttpConfig { history: History::Elsewhere, ..bank.state.config.clone() };
    let state = Arc::new(State::new(bank.state.ledger.clone(), config));
    let routes = Routes::all(&state);
    let app = init_service(App::new().configure(|app| routes.configure(app))).await;
    assert_eq!(ask(&app, post("/v1/accounts", r#"{"id":1}"#).to_request()).await.status, 201);
    for (path, expected, allow) in [
        ("/v1/accounts/1", "200", ""),
        ("/balance/1", "200", ""),
        ("/v1/accounts", "405 write_only", "POST"),
        ("/v1/accounts/1/transfers", "405 write_only", ""),
        ("/v1/transfers", "405 write_only", "POST"),
        ("/v1/ledgers/1", "405 write_only", ""),
        ("/transactions", "405 write_only", ""),
    ] {
        let told = ask(&app, get(path).to_request()).await;
        assert_eq!((told.summary().as_str(), told.header("allow")), (expected, allow), "{path}");
    }
    for (path, allow) in [("/v1/transfers", "POST"), ("/v1/transfers/1", "GET, HEAD")] {
        let told = ask(&app, TestRequest::put().uri(path).to_request()).await;
        assert_eq!((told.status, told.header("allow")), (405, allow), "{path}");
    }
    bank.florin.stop().await;
}

const PAIR: &str = r#"[{"id":1},{"id":2}]"#;

#[actix_web::test]
async fn a_disk_that_does_not_answer_leaves_the_outcome_unknown_until_it_does() {
    let disk = FaultyDisk::new();
    serve!(bank, app, Bank::open_on(Arc::new(disk.clone())));
    assert_eq!(ask(&app, post("/v1/accounts/batch", PAIR).to_request()).await.summary(), "200");
    disk.hold(Op::SyncData);
    tokio::time::pause();
    let body = r#"{"id":7,"debit_account_id":1,"credit_account_id":2,"amount":"1.00"}"#;
    let begun = tokio::time::Instant::now();
    let told = ask(&app, post("/v1/transfers", body).to_request()).await;
    assert_eq!(told.summary(), "503 outcome_unknown");
    assert_eq!(begun.elapsed().as_secs(), 30);
    let problem = told.json();
    assert_eq!((&problem["id"], &problem["retry"]), (&"7".into(), &"same_id".into()));
    // What a read would show may not be on the disk.
    let told = ask(&app, get("/v1/accounts/1").to_request()).await;
    assert_eq!((told.summary().as_str(), begun.elapsed().as_secs()), ("503 outcome_unknown", 60));
    let keyed = || post("/v1/transfers", body).insert_header(("idempotency-key", "k"));
    let first = ask(&app, keyed().to_request());
    let second = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        ask(&app, keyed().to_request()).await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(second.summary(), "409 request_in_progress");
    assert_eq!(first.summary(), "503 outcome_unknown");
    tokio::time::resume();
    disk.heal();
    let told = ask(&app, post("/v1/transfers", body).to_request()).await;
    assert_eq!(told.summary(), "200 again");
    let told = ask(&app, get("/v1/accounts/2").to_request()).await;
    assert_eq!(told.json()["credits_posted"], "1.00", "it happened once: {}", told.text);
    bank.florin.stop().await;
    let told = ask(&app, post("/v1/transfers", body).to_request()).await;
    assert_eq!((told.summary().as_str(), told.header("retry-after")), ("503 stopping", "5"));
}

#[actix_web::test]
async fn a_body_that_does_not_arrive_is_not_waited_for() {
    use actix_web::FromRequest;
    use actix_web::dev::Payload;
    use futures_util::StreamExt;

    let bank = Bank::open();
    let metrics = Arc::new(crate::telemetry::RouteMetrics::new("POST", "/slow"));
    let request = post("/v1/transfers", "").to_http_request();
    let never = futures_util::stream::pending::<Result<_, actix_web::error::PayloadError>>();
    let mut never = Payload::Stream { payload: never.boxed_local() };
    let payload = actix_web::web::Payload::from_request(&request, &mut never).await.unwrap();
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let place = exchange::Place::Ledger;
    let mounted = exchange::Mounted { place, door: Door::Open, allow: "POST" };
    let state = Arc::clone(&bank.state);
    let response =
        exchange::serve(state, metrics, mounted, transfers::create, request, payload).await;
    assert_eq!((response.status().as_u16(), begun.elapsed().as_secs()), (408, 30));
    bank.florin.stop().await;
}

#[actix_web::test]
async fn a_leg_that_happened_before_is_named() {
    serve!(bank, app);
    for id in [1, 2] {
        ask(&app, post("/v1/accounts", &format!(r#"{{"id":{id}}}"#)).to_request()).await;
    }
    let leg = r#"{"id":5,"debit_account_id":1,"credit_account_id":2,"amount":1}"#;
    let transaction =
        |id| post("/v1/transactions", &format!(r#"{{"id":{id},"transfers":[{leg}]}}"#));
    for (id, expected) in [(10, "201"), (10, "200 again"), (11, "409 exists @0")] {
        let told = ask(&app, transaction(id).to_request()).await;
        assert_eq!(told.summary(), expected, "{}", told.text);
    }
    bank.florin.stop().await;
}

#[actix_web::test]
async fn paths_and_methods_are_told_apart() {
    serve!(bank, app);
    for (request, expected, allow) in [
        (get("/nowhere"), "404 route_not_found", ""),
        (get("/v1/accounts/"), "404 route_not_found", ""),
        (get("/v1/accounts/x"), "400 invalid_parameter id not_an_id", ""),
        (get("/v1/accounts/%30"), "404 account_not_found", ""),
        (get("/v1/accounts/batch"), "405 method_not_allowed", "POST"),
        (TestRequest::delete().uri("/v1/transfers"), "405 method_not_allowed", "GET, HEAD, POST"),
        (TestRequest::patch().uri("/healthz"), "405 method_not_allowed", "GET, HEAD"),
        (get("/healthz?a=1"), "400 invalid_parameter a unknown_parameter", ""),
        (get("/v1/ledgers/9"), "404 ledger_not_found", ""),
        (get("/errors/nothing"), "404 route_not_found", ""),
        (get("/docs/nothing.js"), "404 route_not_found", ""),
        (TestRequest::default().method(actix_web::http::Method::HEAD).uri("/version"), "200", ""),
    ] {
        let request = request.to_request();
        let shown = format!("{} {}", request.method(), request.path());
        let told = ask(&app, request).await;
        assert_eq!((told.summary().as_str(), told.header("allow")), (expected, allow), "{shown}");
    }
    bank.florin.stop().await;
}

#[actix_web::test]
async fn a_panic_is_answered() {
    let bank = Bank::open();
    let metrics = Arc::new(crate::telemetry::RouteMetrics::new("GET", "/panic"));
    let state = Arc::clone(&bank.state);
    let panics = move |request, payload| {
        let run = async |_: &mut exchange::Exchange| panic!("made by this test");
        let (state, metrics) = (Arc::clone(&state), Arc::clone(&metrics));
        let place = exchange::Place::Process;
        let mounted = exchange::Mounted { place, door: Door::Open, allow: "" };
        exchange::serve(state, metrics, mounted, run, request, payload)
    };
    let app = init_service(App::new().default_service(actix_web::web::to(panics))).await;
    let told = ask(&app, get("/panic").to_request()).await;
    assert_eq!(told.summary(), "500 internal_error");
    assert!(!told.text.contains("made by this test"), "{}", told.text);
    bank.florin.stop().await;
}

#[actix_web::test]
async fn the_description_and_the_routes_agree() {
    let bank = Bank::open();
    let document: Value = serde_json::from_str(&DOCUMENT).unwrap();
    let described: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let routes = bank.routes().listed();
    let names: BTreeSet<String> = routes.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(described, names);
    for (name, door) in routes {
        let (method, path) = name.split_once(' ').unwrap();
        let operation = &document["paths"][path][method.to_lowercase()];
        let (security, statuses): (Value, &[&str]) = match door {
            Door::Open => (json!([]), &[]),
            Door::Needs(Scope::Read) => (json!([{"api_key": ["read"]}]), &["401"]),
            Door::Needs(scope) => (json!([{"api_key": [scope.word()]}]), &["401", "403"]),
        };
        assert_eq!(operation["security"], security, "{name}");
        for status in ["401", "403"] {
            let described = operation["responses"][status].is_object();
            assert_eq!(described, statuses.contains(&status), "{name} {status}");
        }
    }
    let scheme = &document["components"]["securitySchemes"]["api_key"];
    assert_eq!((&scheme["type"], &scheme["scheme"]), (&json!("http"), &json!("bearer")));
    bank.florin.stop().await;
}

/// The parameters that are described are those that are known: each alone is not unknown, and an unknown one is told the list.
#[actix_web::test]
async fn the_described_parameters_are_the_known_ones() {
    serve!(bank, app);
    for id in [1, 2] {
        ask(&app, post("/v1/accounts", &format!(r#"{{"id":{id}}}"#)).to_request()).await;
    }
    let document: Value = serde_json::from_str(&DOCUMENT).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let described: BTreeSet<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "query")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            if path == "/docs/{file}" {
                continue;
            }
            let here = path.replace("{id}", "1").replace("{account_id}", "1");
            let here = here.replace("{code}", "exceeds_credits") + "?colour=red";
            let request = if method == "get" { get(&here) } else { post(&here, "{}") };
            let told = ask(&app, request.to_request()).await;
            let problem = told.json();
            let detail = problem["errors"][0]["detail"].as_str().unwrap_or_default();
            let known = detail.rsplit_once("known are: ").map_or("", |(_, known)| known);
            let known = known.split(", ").filter(|name| *name != "none");
            let known: BTreeSet<&str> = known.map(|name| name.trim_end_matches("[KEY]")).collect();
            assert_eq!(known, described, "{method} {path}: {}", told.text);
        }
    }
    bank.florin.stop().await;
}
