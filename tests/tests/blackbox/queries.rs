//! Queries beyond the plain lists: by status and metadata, many ids at once, balances at a moment, statements, sums by code. Asked of an owner with its own
//! store, of one with PostgreSQL, and of a reader of that: all answer the same.

use std::time::{Duration, Instant};

use florin_tests::bank::{TestBank, escaped, id_of, transfer_with_id, with};
use florin_tests::http::Reply;
use florin_tests::postgres::Postgres;
use florin_tests::server::TestServer;
use serde_json::{Value, json};

/// An owner and who else answers for it.
struct Asked {
    owner: TestBank,
    reader: Option<TestBank>,
}

impl Asked {
    /// Each kind that there is.
    fn all() -> Vec<Asked> {
        let postgres = Postgres::shared();
        let url = postgres.url(&postgres.create_database());
        let variables = [("FLORIN_DATABASE_URL", url.as_str())];
        let owner = TestBank::of(TestServer::start_with_variables(&[], &variables));
        let base = owner.server.base();
        let words = ["--role", "read", "--writer-url", &base];
        let reader = TestBank::of(TestServer::start_with_variables(&words, &variables));
        let own = Asked { owner: TestBank::open(), reader: None };
        vec![own, Asked { owner, reader: Some(reader) }]
    }

    fn banks(&self) -> impl Iterator<Item = &TestBank> {
        std::iter::once(&self.owner).chain(&self.reader)
    }

    /// The path, for an answer that covers all that has happened at the owner.
    fn current(&self, path: &str) -> String {
        let joint = if path.contains('?') { '&' } else { '?' };
        format!("{path}{joint}min_seq={}", self.owner.client().seen())
    }

    #[track_caller]
    fn check_ids(&self, path: &str, expected: &str) {
        for bank in self.banks() {
            for limit in ["", "&limit=1"] {
                let path = self.current(path) + limit;
                assert_eq!(bank.ids(&path).join(" "), expected, "{path}");
            }
        }
    }

    /// What all of them answer.
    #[track_caller]
    fn get(&self, path: &str) -> Value {
        let path = self.current(path);
        let answers: Vec<Value> = self.banks().map(|bank| bank.get(&path)).collect();
        for other in &answers[1..] {
            assert_eq!(*other, answers[0], "{path}");
        }
        answers[0].clone()
    }

    #[track_caller]
    fn look_up(&self, path: &str, body: &Value) -> Value {
        let mut found: Option<Value> = None;
        for bank in self.banks() {
            let reply = bank.check(&format!("POST {}", self.current(path)), body, "200");
            let mut shown = reply.json();
            assert_eq!(shown["as_of_seq"].as_u64(), Some(reply.seq()), "{shown}");
            assert!(
                reply.seq() >= self.owner.client().seen()
                    || bank.server.pid() != self.owner.server.pid()
            );
            shown["as_of_seq"] = Value::Null;
            if let Some(found) = &found {
                assert_eq!(shown, *found);
            }
            found = Some(shown);
        }
        found.unwrap_or_default()
    }
}

#[track_caller]
fn moved(
    bank: &TestBank,
    id: u128,
    debit: u128,
    credit: u128,
    amount: &str,
    fields: Value,
) -> Reply {
    let body = with(transfer_with_id(id, debit, credit, amount), fields);
    bank.check("POST /v1/transfers", body, "201")
}

#[test]
fn lists_choose_by_status_and_metadata() {
    for asked in Asked::all() {
        let bank = &asked.owner;
        for (id, metadata) in [
            (1, json!({"name": "Alice", "vip": true, "level": 5})),
            (2, json!({"name": "Bob", "level": "5"})),
            (3, json!({})),
        ] {
            bank.account_with(json!({"id": id, "metadata": metadata}), &[]);
        }
        let pending = json!({"flags": ["pending"], "metadata": {"invoice": "A-18"}});
        moved(bank, 101, 1, 2, "1.00", json!({"metadata": {"invoice": "A-17", "n": 5}}));
        moved(bank, 102, 1, 2, "2.00", with(pending.clone(), json!({"metadata": {"n": 5.0}})));
        moved(bank, 103, 1, 3, "3.00", pending.clone());
        bank.check("POST /v1/transfers/103/post", json!({"id": "104", "amount": "1.50"}), "201");
        moved(bank, 105, 2, 1, "4.00", pending.clone());
        bank.check("POST /v1/transfers/105/void", json!({"id": "106"}), "201");
        moved(bank, 107, 1, 2, "5.00", with(pending, json!({"timeout": 1, "code": 9})));
        let deadline = Instant::now() + Duration::from_secs(30);
        while bank.get("/v1/transfers/107")["status"] != "expired" {
            assert!(Instant::now() < deadline, "it does not expire");
            std::thread::sleep(Duration::from_millis(50));
        }
        for (path, expected) in [
            ("/v1/transfers?status=pending", "102"),
            ("/v1/transfers?status=voided", "106 105"),
            ("/v1/transfers?status=expired", "107"),
            ("/v1/transfers?status=posted", "104 103 101"),
            ("/v1/transfers?status=posted&order=asc", "101 103 104"),
            ("/v1/transfers?status=expired&code=1", ""),
            ("/v1/transfers?status=expired&code=9&ledger=1&min_amount=5", "107"),
            ("/v1/accounts/3/transfers?status=posted", "104 103"),
            ("/v1/accounts/2/transfers?status=voided&side=debit", "106 105"),
            ("/v1/transfers?metadata[invoice]=A-17", "101"),
            ("/v1/transfers?metadata%5Binvoice%5D=A-18", "107 105 103"),
            ("/v1/transfers?metadata[invoice]=A-18&status=posted", "103"),
            ("/v1/transfers?metadata[n]=5", "102 101"),
            ("/v1/transfers?metadata[n]=5.00&metadata[invoice]=A-17", "101"),
            ("/v1/transfers?metadata[n]=6", ""),
            ("/v1/transfers?metadata[none]=A-17", ""),
            ("/v1/accounts/3/transfers?metadata[invoice]=A-18", "103"),
            ("/v1/accounts?metadata[name]=Bob", "2"),
            ("/v1/accounts?metadata[level]=5", "2 1"),
            ("/v1/accounts?metadata[level]=5.0", "1"),
            ("/v1/accounts?metadata[vip]=true&ledger=1&code=1", "1"),
        ] {
            asked.check_ids(path, expected);
        }
        let created = asked.get("/v1/accounts/2")["timestamp"].as_str().map(escaped);
        let created = created.unwrap_or_default();
        asked.check_ids(&format!("/v1/accounts?from={created}"), "3 2");
        asked.check_ids(&format!("/v1/accounts?to={created}"), "1");
        for (path, field) in [
            ("/v1/transfers?status=open", "status"),
            ("/v1/accounts?status=posted", "status"),
            ("/v1/transfers?metadata=A-17", "metadata"),
            ("/v1/transfers?metadata[a=b", "metadata"),
            ("/v1/accounts?metadata[a]=1&metadata[a]=2", "metadata"),
            (&("/v1/transfers?a=b".to_owned() + &nine_entries()), "metadata"),
        ] {
            for bank in asked.banks() {
                bank.check(&format!("GET {path}"), (), &format!("400 {field}"));
            }
        }
    }
}

fn nine_entries() -> String {
    (0..9).map(|key| format!("&metadata[k{key}]=1")).collect()
}

#[test]
fn many_ids_are_looked_up_in_one_call() {
    for asked in Asked::all() {
        let bank = &asked.owner;
        bank.account(1);
        bank.account_with(json!({"id": "2", "metadata": {"name": "Bob"}}), &[]);
        let metadata = json!({"metadata": {"a": 1}});
        moved(bank, 11, 1, 2, "1.00", metadata.clone());
        moved(bank, 12, 1, 2, "2.00", json!({"flags": ["pending"]}));
        moved(bank, 13, 1, 2, "3.00", json!({"flags": ["pending"]}));
        bank.check("POST /v1/transfers/13/void", json!({"id": "14"}), "201");
        bank.check(
            "POST /v1/transactions",
            json!({"id": "20", "transfers": [transfer_with_id(21, 1, 2, "1.00")]}),
            "201",
        );
        let ids = json!({"ids": ["2", 9, 1, "2", "00000000-0000-0000-0000-0000000003e7"]});
        let found = asked.look_up("/v1/accounts/lookup", &ids);
        let data = found["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert_eq!(data.iter().map(id_of).collect::<Vec<_>>(), ["2", "1", "2"]);
        assert_eq!(found["missing"], json!(["9", "999"]));
        assert_eq!(data[0], asked.get("/v1/accounts/2"), "as it is shown by itself");
        let ids = json!({"ids": [14, 12, 20, 13, 11, 12, 0, 21]});
        let found = asked.look_up("/v1/transfers/lookup", &ids);
        let data = found["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        let shown: Vec<String> = data
            .iter()
            .map(|it| format!("{} {}", id_of(it), it["status"].as_str().unwrap_or_default()))
            .collect();
        let expected =
            ["14 voided", "12 pending", "13 voided", "11 posted", "12 pending", "21 posted"];
        assert_eq!(shown, expected);
        assert_eq!(found["missing"], json!(["20", "0"]), "a transaction is no transfer");
        assert_eq!(data[3], asked.get("/v1/transfers/11"));
        // All that one call may ask for, old and new, and nothing.
        let batch: Vec<Value> = (1000..5095).map(|id| transfer_with_id(id, 1, 2, "0.01")).collect();
        bank.check("POST /v1/transfers/batch", json!(batch), "200");
        let ids: Vec<u128> = (1000..9190).collect();
        let found = asked.look_up("/v1/transfers/lookup", &json!({"ids": ids}));
        assert_eq!(found["data"].as_array().map(Vec::len), Some(4095));
        assert_eq!(found["missing"].as_array().map(Vec::len), Some(4095));
        assert_eq!(found["data"][4094]["id"], "5094");
        let none = asked.look_up("/v1/accounts/lookup", &json!({"ids": []}));
        assert_eq!((&none["data"], &none["missing"]), (&json!([]), &json!([])));
        let too_many: Vec<u128> = (0..8191).collect();
        for (body, expected) in [
            (json!({"ids": too_many}), "400 too_many_events"),
            (json!({}), "400 ids"),
            (json!({"ids": null}), "400 ids"),
            (json!({"ids": ["1", "x"]}), "400 ids at 1"),
            (json!({"ids": 1}), "400 ids"),
            (json!(["1"]), "400 body"),
            (json!({"ids": [], "more": 1}), "400 more"),
        ] {
            for bank in asked.banks() {
                for path in ["/v1/accounts/lookup", "/v1/transfers/lookup"] {
                    bank.check(&format!("POST {path}"), &body, expected);
                }
            }
        }
    }
}

#[test]
fn what_was_acknowledged_is_found_at_once() {
    let bank = TestBank::with_accounts(&[1, 2]);
    for id in 1..=50_u64 {
        let acknowledged =
            moved(&bank, id.into(), 1, 2, "1.00", json!({"metadata": {"nr": id}})).seq();
        let reply = bank.check("POST /v1/transfers/lookup", json!({"ids": [id, id - 1]}), "200");
        assert!(reply.seq() >= acknowledged);
        assert_eq!(reply.json()["data"][0]["metadata"]["nr"], id, "{reply:?}");
        let reply = bank.check("POST /v1/accounts/lookup", json!({"ids": [2]}), "200");
        assert_eq!(reply.json()["data"][0]["balance"], format!("{id}.00"));
        assert_eq!(reply.header("florin-source"), Some("memory"));
    }
}

/// An amount in cents.
#[track_caller]
fn cents(shown: &Value) -> i64 {
    let text = shown.as_str().unwrap_or_default().replace('.', "");
    text.parse().unwrap_or_else(|error| panic!("{error}: {shown}"))
}

#[test]
fn a_statement_adds_up_on_every_page_and_as_csv() {
    for asked in Asked::all() {
        let bank = &asked.owner;
        bank.account(1);
        bank.account_with(json!({"id": "2", "metadata": {"name": "=cmd()"}}), &["history"]);
        bank.account_with(json!({"id": "3"}), &["credits_must_not_exceed_debits"]);
        let times: Vec<String> = (0..6_u128)
            .map(|id| {
                let amount = format!("{}.25", id + 1);
                let (debit, credit) = if id % 3 == 2 { (2, 1) } else { (1, 2) };
                let reply = moved(bank, 100 + id, debit, credit, &amount, json!({}));
                moved(bank, 200 + id, 3, 2, "1.00", json!({"flags": ["pending"]}));
                reply.json()["timestamp"].as_str().unwrap_or_default().to_owned()
            })
            .collect();
        moved(bank, 300, 3, 1, "7.00", json!({"effective_at": "2020-01-01T00:00:00Z"}));
        let (from, to) = (&times[1], &times[4]);
        for (account, range) in [
            (1, String::new()),
            (2, String::new()),
            (3, String::new()),
            (1, format!("from={from}&")),
            (2, format!("to={to}&")),
            (2, format!("from={from}&to={to}&")),
            (2, format!("from={to}&to={from}&")),
        ] {
            let path = format!("/v1/accounts/{account}/statement?{range}limit=2");
            let mut lines: Vec<Value> = Vec::new();
            let mut cursor = String::new();
            let (opening, closing) = loop {
                let page = asked.get(&format!("{path}{cursor}"));
                lines.extend(page["data"].as_array().cloned().unwrap_or_default());
                let ends = (page["opening"].clone(), page["closing"].clone());
                if page["has_more"] == false {
                    break ends;
                }
                cursor = format!("&cursor={}", page["next_cursor"].as_str().unwrap_or_default());
            };
            let mut balance = cents(&opening["balance"]);
            for line in &lines {
                let change = cents(&line["change"]);
                let sides = cents(&line["credit"]) - cents(&line["debit"]);
                assert_eq!(change, if account == 3 { -sides } else { sides }, "{line}");
                balance += change;
                assert_eq!(balance, cents(&line["balance"]), "{line}");
            }
            assert_eq!(balance, cents(&closing["balance"]), "{path}: {lines:?}");
            // The same as CSV.
            let path =
                asked.current(&format!("/v1/accounts/{account}/statement?{range}format=csv"));
            for bank in asked.banks() {
                let reply = bank.check(&format!("GET {path}"), (), "200");
                let kind = reply.header("content-type").unwrap_or_default();
                assert!(kind.starts_with("text/csv"), "{kind}");
                assert_eq!(reply.header("link"), None);
                let rows = rows(&reply.body);
                let table: Vec<(&str, &str)> = rows.iter().map(|row| (row[0], row[9])).collect();
                let mut expected = vec![("opening", opening["balance"].as_str().unwrap_or(""))];
                expected.extend(
                    lines.iter().map(|line| ("transfer", line["balance"].as_str().unwrap_or(""))),
                );
                expected.push(("closing", closing["balance"].as_str().unwrap_or("")));
                assert_eq!(table, expected);
            }
        }
        let whole = asked.get("/v1/accounts/2/statement");
        assert_eq!(whole["data"].as_array().map(Vec::len), Some(6), "reservations move nothing");
        assert_eq!(whole["closing"]["balance"], asked.get("/v1/accounts/2")["balance"]);
        assert_eq!(whole["opening"]["balance"], "0.00");
        assert_eq!(whole["data"][2]["debit"], "3.25");
        assert_eq!(whole["data"][2]["counterparty_account_id"], "1");
        csv_pages(&asked);
        for (path, expected) in [
            ("/v1/accounts/9/statement", "404 account_not_found"),
            ("/v1/accounts/1/statement?format=pdf", "400 format"),
            ("/v1/accounts/1/statement?limit=1001", "400 limit"),
            ("/v1/accounts/1/statement?format=csv&limit=10001", "400 limit"),
            ("/v1/accounts/1/statement?order=desc", "400 order"),
            ("/v1/accounts/1/statement?cursor=00", "400 cursor"),
            ("/v1/accounts/1/balance", "400 at"),
            ("/v1/accounts/9/balance?at=2020-01-01T00:00:00Z", "404 account_not_found"),
        ] {
            for bank in asked.banks() {
                bank.check(&format!("GET {path}"), (), expected);
            }
        }
        // At a moment, by either time.
        let balance = |query: &str| asked.get(&format!("/v1/accounts/1/balance?{query}"));
        let now = asked.get("/v1/accounts/1");
        assert_eq!(balance("at=2100-01-01T00:00:00Z")["balance"], now["balance"]);
        assert_eq!(balance("at=2020-01-01T00:00:00Z")["balance"], "0.00");
        assert_eq!(balance("effective_at=2020-01-01T00:00:00Z")["balance"], "7.00");
        assert_eq!(balance("effective_at=2019-12-31T23:59:59Z")["balance"], "0.00");
        assert_eq!(balance(&format!("at={}", times[0]))["balance"], "-1.25");
        assert_eq!(balance(&format!("effective_at={}", times[0]))["balance"], "5.75");
        assert_eq!(balance(&format!("at={}", times[1]))["debits_posted"], "3.50");
    }
}

fn rows(csv: &str) -> Vec<Vec<&str>> {
    assert!(csv.ends_with("\r\n"));
    let mut lines = csv.trim_end_matches("\r\n").split("\r\n");
    let header = lines.next().unwrap_or_default();
    assert!(header.starts_with("kind,timestamp,"), "{header}");
    let columns = header.split(',').count();
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert!(rows.iter().all(|row| row.len() == columns), "{csv}");
    rows
}

/// Pages as CSV: what is carried forward is brought forward.
fn csv_pages(asked: &Asked) {
    for bank in asked.banks() {
        let mut path = asked.current("/v1/accounts/2/statement?limit=4");
        let mut kinds = Vec::new();
        loop {
            let wants = [("Accept", "text/csv")];
            let reply = bank.check_with(&format!("GET {path}"), &wants, (), "200");
            let rows = rows(&reply.body);
            let shown = rows.iter().map(|row| (row[0].to_owned(), row[9].to_owned()));
            kinds.push(shown.collect::<Vec<_>>());
            let Some(link) = reply.header("link") else { break };
            let link = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
            path = link.unwrap_or_default().to_owned();
        }
        assert_eq!(kinds.len(), 2);
        let (first, second) = (&kinds[0], &kinds[1]);
        assert_eq!((first.len(), second.len()), (6, 4));
        assert_eq!(first[0].0, "opening");
        assert_eq!(first[5].0, "carried_forward");
        assert_eq!(second[0], ("brought_forward".to_owned(), first[5].1.clone()));
        assert_eq!(second[3].0, "closing");
    }
}

#[test]
fn the_sums_of_a_ledger_agree() {
    for asked in Asked::all() {
        let bank = &asked.owner;
        for (id, code) in [(1, 100), (2, 100), (3, 200), (4, 300)] {
            bank.account_with(json!({"id": id, "code": code}), &[]);
        }
        moved(bank, 11, 1, 3, "10.00", json!({}));
        moved(bank, 12, 3, 2, "4.00", json!({}));
        moved(bank, 13, 4, 2, "1.50", json!({"flags": ["pending"]}));
        let trial = asked.get("/v1/ledgers/1/trial-balance");
        let code = |code: u16, accounts: u16, [dp, d, cp, c, balance]: [&str; 5]| {
            json!({"code": code, "accounts": accounts, "debits_pending": dp, "debits_posted": d,
                "credits_pending": cp, "credits_posted": c, "balance": balance})
        };
        let mut totals = code(0, 4, ["1.50", "14.00", "1.50", "14.00", "0.00"]);
        totals.as_object_mut().map(|totals| totals.remove("code"));
        let expected = json!({
            "ledger": 1,
            "currency": "USD",
            "codes": [
                code(100, 2, ["0.00", "10.00", "1.50", "4.00", "-6.00"]),
                code(200, 1, ["0.00", "4.00", "0.00", "10.00", "6.00"]),
                code(300, 1, ["1.50", "0.00", "0.00", "0.00", "0.00"]),
            ],
            "totals": totals,
            "as_of_seq": trial["as_of_seq"],
        });
        assert_eq!(trial, expected);
        assert!(trial["as_of_seq"].as_u64() >= Some(asked.owner.client().seen()));
        let sheet = asked.get("/v1/ledgers/1/balance-sheet");
        let code = |code: u16, accounts: u16, [debits, credits, balance]: [&str; 3]| {
            json!({"code": code, "accounts": accounts, "debit_balances": debits,
                "credit_balances": credits, "balance": balance})
        };
        let expected = json!([
            code(100, 2, ["10.00", "4.00", "-6.00"]),
            code(200, 1, ["0.00", "6.00", "6.00"]),
            code(300, 1, ["0.00", "0.00", "0.00"]),
        ]);
        assert_eq!(sheet["codes"], expected);
        assert_eq!(sheet["totals"]["debit_balances"], "10.00");
        assert_eq!(sheet["totals"]["credit_balances"], "10.00");
        bank.post("/v1/ledgers", json!({"id": 2, "currency": "JPY", "scale": 0, "name": ""}));
        let empty = asked.get("/v1/ledgers/2/trial-balance");
        assert_eq!((&empty["codes"], &empty["totals"]["debits_posted"]), (&json!([]), &json!("0")));
        for bank in asked.banks() {
            bank.check("GET /v1/ledgers/3/trial-balance", (), "404 ledger_not_found");
            bank.check("GET /v1/ledgers/x/balance-sheet", (), "400 id");
        }
    }
}
