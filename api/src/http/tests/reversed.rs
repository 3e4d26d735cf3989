//! A transfer that was reversed says by which one: at once, by id and in lists, at the owner and at readers.

use florin_engine::{Command, ExternalId, ReverseTransfer, TransferId};

use super::*;

#[actix_web::test]
async fn what_was_reversed_says_by_which_transfer() {
    let bank = Bank::open();
    let routes = bank.routes();
    let app = init_service(App::new().configure(|app| routes.configure(app))).await;
    for (path, body) in [
        ("/v1/accounts/batch", r#"[{"id":1},{"id":2}]"#),
        (
            "/v1/transfers/batch",
            r#"[{"id":7,"debit_account_id":1,"credit_account_id":2,"amount":"1.50"},
                {"id":8,"debit_account_id":1,"credit_account_id":2,"amount":"1.50"}]"#,
        ),
    ] {
        let told = ask(&app, post(path, body).to_request()).await;
        assert!(told.status < 300, "{}", told.text);
    }
    let original = bank.florin.transfer(TransferId(7)).await.unwrap().value.unwrap().transfer;
    let refund = ExternalId::try_new("refund").unwrap();
    let reverse = ReverseTransfer {
        id: TransferId(refund.id()),
        external_id: Some(refund.clone()),
        original,
        user_data_128: 0,
        user_data_64: 0,
        user_data_32: 0,
        effective_at: None,
        metadata: None,
        conditions: Vec::new(),
    };
    bank.florin.submit(Command::ReverseTransfer(Box::new(reverse)), None).await.unwrap();
    let newest = bank.florin.positions().durable.0;
    let reader = Reader::new(bank.florin.store().clone(), None).unwrap();
    let state = Arc::new(State::new(Ledger::Reader(reader), bank.state.config.clone()));
    let routes = Routes::all(&state);
    let reader = init_service(App::new().configure(|app| routes.configure(app))).await;
    let expected = json!(uuid::Uuid::from_u128(refund.id()).to_string());
    let of = |path: &str| get(path).insert_header(("florin-min-seq", newest)).to_request();
    for (path, place) in [
        ("/v1/transfers/7", ""),
        ("/v1/transfers?order=asc", "/data/0"),
        ("/v1/accounts/2/transfers?order=asc", "/data/0"),
        ("/v1/transfers?ledger=1&limit=1&order=asc", "/data/0"),
    ] {
        for told in [ask(&app, of(path)).await, ask(&reader, of(path)).await] {
            let told = told.json();
            let shown = told.pointer(place).unwrap();
            assert_eq!((&shown["id"], &shown["reversed_by"]), (&json!("7"), &expected), "{path}");
            assert_eq!(shown["status"], "posted", "{path}");
        }
    }
    for path in ["/v1/transfers/8", "/v1/transfers/ext:refund"] {
        for told in [ask(&app, of(path)).await, ask(&reader, of(path)).await] {
            assert_eq!(told.json().get("reversed_by"), None, "{path}");
        }
    }
    let told = ask(&app, of("/v1/transfers/ext:refund")).await.json();
    assert_eq!((&told["id"], &told["external_id"]), (&expected, &json!("refund")));
    bank.florin.stop().await;
}
