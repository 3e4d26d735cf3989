//! What can not be read: a problem document with the right status and the field's name, and nothing changed.

use florin_tests::bank::{TestBank, transfer, with};
use florin_tests::wire;
use serde_json::{Value, json};

fn good_transfer() -> Value {
    with(transfer(1, 2, "1.00"), json!({"id": "900"}))
}

fn assert_untouched(bank: &TestBank) {
    for id in [1, 2] {
        assert_eq!(bank.get(&format!("/v1/accounts/{id}"))["version"], 0, "account {id}");
    }
    assert!(bank.list("/v1/transfers").is_empty());
    assert_eq!(bank.list("/v1/accounts").len(), 2);
    // Not even the id is used up.
    bank.check("POST /v1/transfers", good_transfer(), "201");
}

#[test]
fn fields_of_a_transfer() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let too_large = "340282366920938463463374607431768211456";
    let mut table: Vec<(Value, &str)> = vec![
        (json!({"colour": "red"}), "colour"),
        (json!({"timestamp": "yesterday"}), "timestamp"),
        (json!({"Amount": "1.00"}), "Amount"),
        (json!({"code": 65536}), "code"),
        (json!({"code": -1}), "code"),
        (json!({"code": 1.5}), "code"),
        (json!({"code": "1"}), "code"),
        (json!({"ledger": 4_294_967_296_u64}), "ledger"),
        (json!({"ledger": "1"}), "ledger"),
        (json!({"timeout": -1}), "timeout"),
        (json!({"flags": "pending"}), "flags"),
        (json!({"flags": 1}), "flags"),
        (json!({"user_data_64": "18446744073709551616"}), "user_data_64"),
        (json!({"user_data_64": "-1"}), "user_data_64"),
        (json!({"user_data_32": 4_294_967_296_u64}), "user_data_32"),
        (json!({"user_data_128": too_large}), "user_data_128"),
        (json!({"effective_at": "yesterday"}), "effective_at"),
        (json!({"effective_at": 1}), "effective_at"),
        (json!({"metadata": []}), "metadata"),
        (json!({"metadata": "text"}), "metadata"),
        (json!({"metadata": {"long": "x".repeat(4096)}}), "metadata"),
        (json!({"debit_account": {"id": "1"}}), "debit_account"),
    ];
    for field in ["id", "debit_account_id", "credit_account_id", "pending_id"] {
        let bad: [Value; 11] = [
            json!(-1),
            json!(1.5),
            json!(true),
            json!([1]),
            json!({"id": 1}),
            json!(""),
            json!("-1"),
            json!("one"),
            json!("1 "),
            json!("0190a3b45c6d7e8f9a0b1c2d3e4f5061"),
            json!(too_large),
        ];
        table.extend(bad.into_iter().map(|bad| (json!({field: bad}), field)));
    }
    for amount in [
        "1.001",
        "1.000",
        "-1",
        "+1",
        "1e2",
        "1E2",
        " 1",
        "1 ",
        "1\n",
        "NaN",
        "inf",
        "",
        ".5",
        "5.",
        "1,5",
        "0x10",
        "1_000",
        "１",
        "MAX",
        "792281625142643375935439503.36",
        "79228162514264337593543950336",
    ] {
        table.push((json!({"amount": amount}), "amount"));
    }
    for amount in [json!(-1), json!(1.001), json!(true), json!(null), json!([1]), json!({})] {
        table.push((json!({"amount": amount}), "amount"));
    }
    for (change, field) in table {
        let body = with(good_transfer(), change);
        bank.check("POST /v1/transfers", body.clone(), &format!("400 {field}"));
    }
    // As bare JSON numbers, whose digits a library would lose.
    for amount in ["1e2", "1.0e0", "1E+1", "0.001", "-0", "-0.00", "79228162514264337593543950336"]
    {
        let body = format!(r#"{{"debit_account_id":1,"credit_account_id":2,"amount":{amount}}}"#);
        bank.check("POST /v1/transfers", body, "400 amount");
    }
    assert_untouched(&bank);
}

#[test]
fn fields_of_an_account() {
    let bank = TestBank::with_accounts(&[1, 2]);
    for (body, field) in [
        (json!({}), "id"),
        (json!({"id": null}), "id"),
        (json!({"id": "x"}), "id"),
        (json!({"id": "9", "colour": 1}), "colour"),
        (json!({"id": "9", "balance": "5.00"}), "balance"),
        (json!({"id": "9", "ledger": "USD"}), "ledger"),
        (json!({"id": "9", "code": 65536}), "code"),
        (json!({"id": "9", "flags": ["red"]}), "flags"),
        (json!({"id": "9", "flags": "history"}), "flags"),
        (json!({"id": "9", "overdraft_limit": "-1"}), "overdraft_limit"),
        (json!({"id": "9", "overdraft_limit": "1.001"}), "overdraft_limit"),
        (json!({"id": "9", "metadata": {"x": "x".repeat(4096)}}), "metadata"),
    ] {
        bank.check("POST /v1/accounts", body, &format!("400 {field}"));
    }
    assert_untouched(&bank);
}

#[test]
fn bodies_that_are_no_json_object() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let whole = good_transfer().to_string();
    let mut bodies: Vec<String> =
        (1..whole.len()).step_by(7).map(|end| whole[..end].to_owned()).collect();
    for body in [
        "",
        " ",
        "null",
        "1",
        "true",
        r#""text""#,
        "[]",
        "{",
        "}",
        "{]",
        "nonsense",
        "{'a':1}",
        "\u{feff}{}",
    ] {
        bodies.push(body.to_owned());
    }
    bodies.push(format!("{whole} {whole}"));
    bodies.push(format!("{whole},"));
    bodies.push("[".repeat(100_000));
    bodies.push(format!("{}1{}", "[".repeat(5000), "]".repeat(5000)));
    bodies.push(format!("{}1{}", r#"{"metadata":"#.repeat(2000), "}".repeat(2000)));
    bodies.push(whole.replace(r#""amount""#, r#""amount": "1.00", "amount""#));
    bodies.push(whole.replace(r#""id""#, r#""id": "900", "id""#));
    bodies.push(whole.replace(r#""amount""#, r#""metadata": {"a": 1, "a": 2}, "amount""#));
    for body in bodies {
        for path in [
            "/v1/transfers",
            "/v1/accounts",
            "/v1/transactions",
            "/transaction",
            "/account",
            "/v1/ledgers",
        ] {
            let reply = bank.client().request(&format!("POST {path}")).send(body.clone());
            let begin: String = body.chars().take(60).collect();
            assert_eq!(reply.status, 400, "POST {path} {begin}: {reply:?}");
            reply.assert_problem();
            bank.check_code(&reply);
        }
    }
    for path in ["/v1/transfers/batch", "/v1/accounts/batch"] {
        for body in ["", "{}", "[", "[{]", "[1]", "[null]", "[[]]", r#"[{"id":"1"},]"#] {
            let reply = bank.client().request(&format!("POST {path}")).send(body);
            assert_eq!(reply.status, 400, "POST {path} {body}: {reply:?}");
            reply.assert_problem();
        }
    }
    assert_untouched(&bank);
}

#[test]
fn a_key_that_stands_twice_is_named() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let body = r#"{"debit_account_id":1,"credit_account_id":2,"amount":1,"amount":2}"#;
    bank.check("POST /v1/transfers", body, "400 amount");
    let body = r#"{"id":9,"code":1,"code":1}"#;
    bank.check("POST /v1/accounts", body, "400 code");
    let body = r#"{"from":1,"to":2,"to":2,"amount":1}"#;
    bank.check("POST /transaction", body, "400 to");
    bank.check("GET /v1/transfers?limit=1&limit=2", (), "400 limit");
    assert_untouched(&bank);
}

#[test]
fn metadata_has_a_size_and_a_depth() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let nested = |depth: usize| -> Value {
        (1..depth).fold(json!({"leaf": 1}), |inner, _| json!({"in": inner}))
    };
    let body = |metadata: Value| with(transfer(1, 2, "0.00"), json!({"metadata": metadata}));
    let made = bank.check("POST /v1/transfers", body(nested(8)), "201").json();
    assert_eq!(made["metadata"], nested(8));
    bank.check("POST /v1/transfers", body(nested(9)), "400 metadata");
    // {"x":"…"} is 8 bytes around the text.
    let text = |length: usize| json!({"x": "y".repeat(length - 8)});
    bank.check("POST /v1/transfers", body(text(4096)), "201");
    bank.check("POST /v1/transfers", body(text(4097)), "400 metadata");
}

#[test]
fn a_body_that_is_not_declared_as_json() {
    let bank = TestBank::with_accounts(&[1, 2]);
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/xml", "nonsense"] {
        for path in
            ["/v1/transfers", "/v1/transfers/batch", "/v1/accounts", "/transaction", "/account"]
        {
            let header = [("Content-Type", kind)];
            let request = format!("POST {path}");
            bank.check_with(&request, &header, good_transfer(), "415 unsupported_media_type");
        }
    }
    let address = bank.server.address();
    let body = good_transfer().to_string();
    let request = format!(
        "POST /v1/transfers HTTP/1.1\r\nHost: florin\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(wire::ask(address, request.as_bytes()).status, Some(415), "no type at all");
    assert_untouched(&bank);
    let declared = [("Content-Type", "Application/JSON; charset=utf-8")];
    bank.check_with("POST /v1/transfers", &declared, good_transfer(), "200 replayed");
}

#[test]
fn bytes_that_are_no_utf_8() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let body = b"{\"id\":\"900\",\"debit_account_id\":1,\"credit_account_id\":2,\"amount\":1,\"metadata\":{\"a\":\"\xff\xfe\"}}";
    let mut request = format!(
        "POST /v1/transfers HTTP/1.1\r\nHost: florin\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    let reply = wire::ask(bank.server.address(), &request);
    assert_eq!(reply.status, Some(400), "{reply:?}");
    assert!(reply.text.contains("application/problem+json"), "{reply:?}");
    assert_untouched(&bank);
}

#[test]
fn bytes_that_are_no_http() {
    let bank = TestBank::with_accounts(&[1, 2]);
    for request in [
        "nonsense\r\n\r\n",
        "GET\r\n\r\n",
        "GET /v1/accounts/1 HTTP/9.9\r\n\r\n",
        "GET /v1/accounts/1 HTTP/1.1\r\nno colon\r\n\r\n",
        "POST /v1/transfers HTTP/1.1\r\nHost: florin\r\nContent-Length: ten\r\n\r\n",
        "POST /v1/transfers HTTP/1.1\r\nHost: florin\r\nContent-Length: -1\r\n\r\n",
        "\0\u{1}\u{2}\r\n\r\n",
    ] {
        let reply = wire::ask(bank.server.address(), request.as_bytes());
        assert!(matches!(reply.status, Some(400..=499) | None), "{request:?}: {reply:?}");
    }
    assert_untouched(&bank);
}

#[test]
fn paths_and_methods_that_are_not_there() {
    let bank = TestBank::with_accounts(&[1, 2]);
    for path in [
        "/",
        "/v1",
        "/v2/transfers",
        "/v1/accounts/1/colour",
        "/v1/transfer",
        "/balance",
        "/v1/accounts//",
    ] {
        bank.check(&format!("GET {path}"), (), "404 route_not_found");
    }
    for request in [
        "DELETE /v1/transfers",
        "PUT /v1/accounts/1",
        "DELETE /v1/accounts/1",
        "PATCH /v1/ledgers/1",
        "GET /v1/transfers/batch/",
        "GET /transaction",
        "GET /account",
        "PUT /transactions",
    ] {
        let reply = bank.client().request(request).send(());
        assert!(matches!(reply.status, 404 | 405), "{request}: {reply:?}");
        reply.assert_problem();
        if reply.status == 405 {
            assert!(reply.header("allow").is_some(), "{request}: {reply:?}");
        }
    }
    let reply = bank.check("DELETE /v1/transfers", (), "405 method_not_allowed");
    let allow = reply.header("allow").unwrap_or_default();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    assert_untouched(&bank);
}
