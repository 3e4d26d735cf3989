//! The published description has every answer that is given.

use super::*;

#[actix_web::test]
async fn the_description_shows_every_answer_as_it_is() {
    serve!(bank, app);
    let document: Value = serde_json::from_str(&DOCUMENT).unwrap();
    let requests = [
        post("/v1/ledgers", r#"{"id":2,"currency":"EUR","scale":2}"#),
        post("/v1/accounts", r#"{"id":1,"flags":["history"],"metadata":{"a":[1.50]}}"#),
        post("/v1/accounts", r#"{"id":2,"flags":["debits_must_not_exceed_credits"]}"#),
        post("/v1/accounts/batch?results=all", r#"[{"id":1},{"id":3}]"#),
        post("/v1/transfers", r#"{"debit_account_id":1,"credit_account_id":2,"amount":"7.00"}"#),
        post("/v1/transfers", r#"{"debit_account_id":2,"credit_account_id":1,"amount":"9.00"}"#),
        post(
            "/v1/transfers/batch?results=all",
            r#"[{"id":8,"debit_account_id":2,"credit_account_id":1,"amount":"9.00"},{"debit_account_id":1,"credit_account_id":2,"amount":1}]"#,
        ),
        post(
            "/v1/transactions",
            r#"{"id":5,"transfers":[{"id":6,"debit_account_id":1,"credit_account_id":2,"amount":1}]}"#,
        ),
        post("/v1/transfers/6/reverse", "{}"),
        post("/v1/transactions/5/reverse", "{}"),
        post("/v1/transfers/77/reverse", "{}"),
        post("/v1/transactions/77/void", "{}"),
        post(
            "/v1/transfers?dry_run=true",
            r#"{"debit_account_id":1,"credit_account_id":2,"amount":"7.00"}"#,
        ),
        post(
            "/v1/transfers",
            r#"{"debit_account_id":1,"credit_account_id":2,"amount":1,"conditions":[{"account_id":1,"version":{"lt":0}}]}"#,
        ),
        post(
            "/v1/transfers/batch?dry_run=true",
            r#"[{"debit_account_id":1,"credit_account_id":2,"amount":1,"conditions":[{"account_id":1,"balance":{"gt":1000}}]}]"#,
        ),
        post("/v1/accounts/2/overdraft_limit", r#"{"overdraft_limit":"5.00"}"#),
        post("/v1/accounts/1/metadata", r#"{"metadata":{"b":2}}"#),
        post("/v1/accounts/77/metadata", r#"{"metadata":{"b":2}}"#),
        post("/transaction", r#"{"from":1,"to":2,"amount":1}"#),
        post("/process_transaction", r#"{"from":1,"to":2,"amount":1}"#),
        post("/account", r#"{"account_id":4,"balance":500}"#),
        binary_post("/v1/transfers/batch", 1),
        binary_post("/v1/accounts/batch", 2),
        get("/v1/ledgers"),
        get("/v1/ledgers/1"),
        get("/v1/accounts"),
        get("/v1/accounts/1"),
        get("/v1/accounts/1/transfers?limit=1"),
        get("/v1/accounts/1/balances"),
        get("/v1/accounts/1/statement"),
        get("/v1/accounts/1/statement?format=csv&limit=1"),
        get("/v1/accounts/1/balance?effective_at=2100-01-01T00:00:00Z"),
        post("/v1/accounts/lookup", r#"{"ids":[1,99]}"#),
        post("/v1/transfers/lookup", r#"{"ids":[6,99]}"#),
        get("/v1/ledgers/1/trial-balance"),
        get("/v1/ledgers/1/balance-sheet"),
        get("/v1/transfers"),
        get("/v1/transfers/6"),
        get("/v1/transactions/5"),
        get("/balance/4"),
        get("/transactions?limit=2"),
        get("/healthz"),
        get("/readyz"),
        get("/version"),
    ];
    for request in requests {
        let request = request.to_request();
        let method = request.method().as_str().to_lowercase();
        let path = pattern(request.path());
        let shown = format!("{method} {path}");
        let told = ask(&app, request).await;
        let response = &document["paths"][&path][&method]["responses"][told.status.to_string()];
        assert!(response.is_object(), "{shown} has no {}: {}", told.status, told.text);
        let kind = told.header("content-type").split(';').next().unwrap_or_default();
        let schema = &response["content"][kind]["schema"];
        assert!(schema.is_object(), "{shown} is {kind}: {response}");
        for name in told.headers.keys().filter(|name| *name != "content-type") {
            let described = response["headers"].as_object().into_iter().flatten();
            let mut described = described.map(|(described, _)| described);
            let is_described =
                described.any(|described| described.eq_ignore_ascii_case(name.as_str()));
            assert!(is_described, "{shown} {} has no header {name}", told.status);
        }
        if kind == "text/csv" || kind == florin_wire::MEDIA_TYPE {
            continue;
        }
        if let Err(difference) = schema::fits(&document, schema, &told.json(), "") {
            panic!("{shown}: {difference}\n{}", told.text);
        }
    }
    bank.florin.stop().await;
}

/// An empty binary batch of this kind.
fn binary_post(path: &str, kind: u8) -> TestRequest {
    let binary = ("content-type", florin_wire::MEDIA_TYPE);
    let body = [b'F', b'L', b'R', b'B', 1, 0, kind, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    TestRequest::post().uri(path).insert_header(binary).set_payload(body.to_vec())
}

#[actix_web::test]
async fn every_status_of_the_catalogue_is_described() {
    let document: Value = serde_json::from_str(&DOCUMENT).unwrap();
    let operations: Vec<(String, &Value)> = operations(&document).collect();
    for entry in catalogue::entries() {
        for status in &entry.statuses {
            let status = status.to_string();
            let mut described = operations.iter();
            let found = described.any(|(_, operation)| operation["responses"][&status].is_object());
            assert!(found, "{} is {status}, which no operation has", entry.code);
        }
    }
    for (shown, operation) in operations {
        let responses = &operation["responses"];
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let names: BTreeSet<&str> = parameters.filter_map(|it| it["name"].as_str()).collect();
        // Every command can come with a key whose first answer is lost.
        if names.contains("Idempotency-Key") {
            assert!(responses["410"].is_object(), "{shown}");
        }
        let ok = &responses["200"];
        let told = ok["description"].as_str().unwrap_or_default();
        assert_eq!(told.contains("dry_run"), names.contains("dry_run"), "{shown}: {told}");
        let creates = responses["201"].is_object();
        assert_eq!(ok["headers"]["Location"].is_object(), creates, "{shown}");
    }
}

/// What a reader without a writer and a writer leave to others is described, and nothing else.
#[actix_web::test]
async fn what_a_role_leaves_to_others_is_described() {
    let bank = Bank::open();
    let reader = Reader::new(bank.florin.store().clone(), None).unwrap();
    let reader = Arc::new(State::new(Ledger::Reader(reader), bank.state.config.clone()));
    let config = HttpConfig { history: History::Elsewhere, ..bank.state.config.clone() };
    let writer = Arc::new(State::new(bank.state.ledger.clone(), config));
    let (reader, writer) = (Routes::all(&reader), Routes::all(&writer));
    let reader = init_service(App::new().configure(|app| reader.configure(app))).await;
    let writer = init_service(App::new().configure(|app| writer.configure(app))).await;
    let document: Value = serde_json::from_str(&DOCUMENT).unwrap();
    for (shown, operation) in operations(&document) {
        let (method, path) = shown.split_once(' ').unwrap();
        // Any text will do: who is asked in vain says so first.
        let path = path.replace(['{', '}'], "");
        let told = match method {
            "get" => ask(&writer, get(&path).to_request()).await,
            _ => ask(&reader, post(&path, "{}").to_request()).await,
        };
        let described = &operation["responses"]["405"];
        assert_eq!(described.is_object(), told.status == 405, "{shown}: {}", told.text);
        if told.status == 405 {
            assert!(described["headers"]["Allow"].is_object(), "{shown}");
        }
    }
    bank.florin.stop().await;
}

/// `get /v1/accounts` and what is said of it, of each operation.
fn operations(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    document["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        let operations = item.as_object().unwrap().iter();
        operations.map(move |(method, operation)| (format!("{method} {path}"), operation))
    })
}

/// `/v1/accounts/1/transfers` → `/v1/accounts/{id}/transfers`.
fn pattern(path: &str) -> String {
    let name = if path.starts_with("/balance/") { "{account_id}" } else { "{id}" };
    let part = |part: &str| match part.bytes().all(|byte| byte.is_ascii_digit()) {
        true if !part.is_empty() => name.to_owned(),
        _ => part.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// As much of JSON Schema as the description uses, and strict about fields that it does not name.
mod schema {
    use serde_json::Value;

    pub(super) fn fits(
        document: &Value,
        schema: &Value,
        value: &Value,
        at: &str,
    ) -> Result<(), String> {
        if let Some(reference) = schema["$ref"].as_str() {
            let target = document.pointer(reference.trim_start_matches('#'));
            let target = target.ok_or_else(|| format!("{reference} leads nowhere"))?;
            return fits(document, target, value, at);
        }
        for choice in ["oneOf", "anyOf"] {
            if let Some(choices) = schema[choice].as_array() {
                let fitting =
                    choices.iter().filter(|schema| fits(document, schema, value, at).is_ok());
                return match fitting.count() {
                    0 => Err(format!("{at}: {value} is none of {choices:?}")),
                    _ => Ok(()),
                };
            }
        }
        if let Some(parts) = schema["allOf"].as_array() {
            return all_of(document, parts, value, at);
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => return Ok(()),
        };
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let is_number = kind == "integer" && kinds.contains(&"number");
        if !kinds.contains(&kind) && !is_number {
            return Err(format!("{at}: {value} is no {kinds:?}"));
        }
        if let Some(words) = schema["enum"].as_array()
            && !words.contains(value)
        {
            return Err(format!("{at}: {value} is none of {} words", words.len()));
        }
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            fits(document, &schema["items"], item, &format!("{at}[{index}]"))?;
        }
        match value.as_object() {
            Some(fields) if !schema["properties"].is_null() => {
                known_fields(document, &[schema], fields, at)
            }
            _ => Ok(()),
        }
    }

    fn all_of(document: &Value, parts: &[Value], value: &Value, at: &str) -> Result<(), String> {
        let resolved: Vec<&Value> = parts
            .iter()
            .map(|part| match part["$ref"].as_str() {
                Some(reference) => {
                    document.pointer(reference.trim_start_matches('#')).unwrap_or(part)
                }
                None => part,
            })
            .collect();
        let fields = value.as_object().ok_or_else(|| format!("{at}: {value} is no object"))?;
        known_fields(document, &resolved, fields, at)
    }

    fn known_fields(
        document: &Value,
        parts: &[&Value],
        fields: &serde_json::Map<String, Value>,
        at: &str,
    ) -> Result<(), String> {
        for part in parts {
            for needed in part["required"].as_array().into_iter().flatten() {
                if !fields.contains_key(needed.as_str().unwrap_or_default()) {
                    return Err(format!("{at}: {needed} is missing"));
                }
            }
        }
        for (name, field) in fields {
            let described = parts.iter().find_map(|part| part["properties"].get(name));
            let described = described.ok_or_else(|| format!("{at}.{name} is not described"))?;
            fits(document, described, field, &format!("{at}.{name}"))?;
        }
        Ok(())
    }
}
