//! A bank to test: a server with a client, in the words of the domain.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::{Client, Content, Reply};
use crate::server::TestServer;

/// How long a list waits for what has happened.
const STORE_PATIENCE: Duration = Duration::from_secs(60);

/// A server of its own and a client of it.
#[derive(Debug)]
pub struct TestBank {
    /// The program behind it.
    pub server: TestServer,
    client: Client,
    /// The codes whose page in the catalogue was looked at.
    known_codes: Mutex<BTreeSet<String>>,
}

impl TestBank {
    /// Opens an empty bank.
    #[must_use]
    pub fn open() -> TestBank {
        TestBank::of(TestServer::start())
    }

    /// The bank of a server.
    #[must_use]
    pub fn of(server: TestServer) -> TestBank {
        let client = server.client();
        TestBank { server, client, known_codes: Mutex::default() }
    }

    /// Opens a bank with plain accounts of these ids.
    #[must_use]
    pub fn with_accounts(ids: &[u128]) -> TestBank {
        let bank = TestBank::open();
        for id in ids {
            bank.account(*id);
        }
        bank
    }

    /// Its client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Starts the stopped or killed server again.
    pub fn restart(&mut self) {
        self.server.restart();
        self.client = self.server.client();
    }

    /// Sends a request and compares the answer's [`Reply::summary`]. Of a problem it also looks at the whole document, at the
    /// page that its `type` points to, and for its code in the published description.
    #[track_caller]
    pub fn check(&self, request: &str, body: impl Into<Content>, expected: &str) -> Reply {
        let reply = self.client.request(request).send(body).expect(expected);
        self.check_code(&reply);
        reply
    }

    /// [`TestBank::check`] with headers.
    #[track_caller]
    pub fn check_with(
        &self,
        request: &str,
        headers: &[(&str, &str)],
        body: impl Into<Content>,
        expected: &str,
    ) -> Reply {
        let mut builder = self.client.request(request);
        for (name, value) in headers {
            builder = builder.header(name, value);
        }
        let reply = builder.send(body).expect(expected);
        self.check_code(&reply);
        reply
    }

    /// Looks, once for each code, whether a problem's code stands in the catalogue and in the published description.
    #[track_caller]
    pub fn check_code(&self, reply: &Reply) {
        if !reply.is_problem() {
            return;
        }
        let problem = reply.json();
        let code = problem["code"].as_str().expect("a problem has a code").to_owned();
        let fresh = self.known_codes.lock().expect("nobody panics with it").insert(code.clone());
        if !fresh {
            return;
        }
        let page = problem["type"].as_str().expect("a problem has a type");
        let path = page.strip_prefix(self.client.base()).unwrap_or(page);
        assert!(path.starts_with('/'), "the type of {code} points nowhere: {page}");
        let page = self.client.request(&format!("GET {path}")).send(());
        assert_eq!(page.status, 200, "the page of {code}: {page:?}");
        assert!(page.body.contains(&code), "the page of {code}: {page:?}");
        assert!(self.published_codes().contains(&code), "{code} is not in the published codes");
    }

    /// The codes that `/openapi.json` lists.
    ///
    /// # Panics
    /// It lists none.
    #[must_use]
    pub fn published_codes(&self) -> BTreeSet<String> {
        let description = self.get("/openapi.json");
        let codes = enum_with(&description, "exceeds_credits");
        codes.expect("the description has an enum of codes").into_iter().collect()
    }

    /// Gets what must be there, with everything that this bank has seen happen: a busy machine's store may be late.
    #[must_use]
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let waits = path.starts_with("/v1/") && !path.contains("min_seq=");
        let deadline = Instant::now() + STORE_PATIENCE;
        loop {
            let mut request = self.client.request(&format!("GET {path}"));
            if waits {
                request = request.header("Florin-Min-Seq", &self.client.seen().to_string());
            }
            let reply = request.send(());
            if reply.summary() != "503 not_yet" || Instant::now() > deadline {
                return reply.expect("200").json();
            }
        }
    }

    /// Posts what must be accepted.
    #[track_caller]
    pub fn post(&self, path: &str, body: Value) -> Value {
        let reply = self.client.request(&format!("POST {path}")).send(body);
        assert!(matches!(reply.status, 200 | 201), "{reply:?}");
        reply.json()
    }

    /// Creates a plain account.
    #[track_caller]
    pub fn account(&self, id: u128) {
        self.check("POST /v1/accounts", json!({"id": id.to_string()}), "201");
    }

    /// Creates an account with these fields and flags.
    #[track_caller]
    pub fn account_with(&self, mut fields: Value, flags: &[&str]) {
        if !flags.is_empty() {
            fields["flags"] = json!(flags);
        }
        self.check("POST /v1/accounts", fields, "201");
    }

    /// Creates an account that can not be overdrawn, with an opening balance.
    #[track_caller]
    pub fn funded(&self, id: u128, balance: &str) {
        let body = json!({"account_id": id.to_string(), "balance": balance});
        self.check("POST /account", body, "201");
    }

    /// Moves money, which must be accepted.
    #[track_caller]
    pub fn transfer(&self, debit: u128, credit: u128, amount: &str) -> Value {
        self.check("POST /v1/transfers", transfer(debit, credit, amount), "201").json()
    }

    /// Decides a batch, of which each event that is refused is told in the answer.
    #[track_caller]
    pub fn batch(&self, transfers: &[Value]) -> Value {
        self.check("POST /v1/transfers/batch?results=all", json!(transfers), "200").json()
    }

    /// The balance of an account.
    #[must_use]
    #[track_caller]
    pub fn balance(&self, id: u128) -> String {
        let account = self.get(&format!("/v1/accounts/{id}"));
        account["balance"].as_str().expect("a balance is a string").to_owned()
    }

    /// Reads a list to its end, page by page. `path` may have a query.
    #[must_use]
    #[track_caller]
    pub fn list(&self, path: &str) -> Vec<Value> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("{path}{cursor}"));
            let data = page["data"].as_array().expect("a page has data");
            all.extend(data.iter().cloned());
            assert!(page["as_of_seq"].is_u64(), "a page says as of when: {page}");
            if page["has_more"] != true {
                assert_eq!(page["has_more"], false, "{page}");
                return all;
            }
            let next = page["next_cursor"].as_str().expect("there is more, so there is a cursor");
            cursor = format!("{joint}cursor={}", escaped(next));
        }
    }

    /// The ids in a list, in its order.
    #[must_use]
    #[track_caller]
    pub fn ids(&self, path: &str) -> Vec<String> {
        self.list(path).iter().map(id_of).collect()
    }
}

/// The `id` of a thing.
///
/// # Panics
/// It has none.
#[must_use]
pub fn id_of(thing: &Value) -> String {
    thing["id"].as_str().unwrap_or_else(|| panic!("no id in {thing}")).to_owned()
}

/// A transfer without an id.
#[must_use]
pub fn transfer(debit: u128, credit: u128, amount: &str) -> Value {
    json!({
        "debit_account_id": debit.to_string(),
        "credit_account_id": credit.to_string(),
        "amount": amount,
    })
}

/// A transfer with an id.
#[must_use]
pub fn transfer_with_id(id: u128, debit: u128, credit: u128, amount: &str) -> Value {
    with(transfer(debit, credit, amount), json!({"id": id.to_string()}))
}

/// An object with some of its fields changed or added.
///
/// # Panics
/// One of the two is no object.
#[must_use]
pub fn with(mut object: Value, changes: Value) -> Value {
    let fields = object.as_object_mut().expect("fields are changed in an object");
    let Value::Object(changes) = changes else { panic!("changes are an object") };
    fields.extend(changes);
    object
}

/// An object without one of its fields.
///
/// # Panics
/// It is no object.
#[must_use]
pub fn without(mut object: Value, field: &str) -> Value {
    object.as_object_mut().expect("fields are removed from an object").remove(field);
    object
}

/// A text as a value in a query.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// The first enum in a description that has this member.
fn enum_with(description: &Value, member: &str) -> Option<Vec<String>> {
    match description {
        Value::Object(fields) => {
            if let Some(members) = fields.get("enum").and_then(Value::as_array)
                && members.iter().any(|found| found == member)
            {
                let members = members.iter().filter_map(Value::as_str);
                return Some(members.map(str::to_owned).collect());
            }
            fields.values().find_map(|value| enum_with(value, member))
        }
        Value::Array(values) => values.iter().find_map(|value| enum_with(value, member)),
        _ => None,
    }
}
