//! A statement comes in the form that the caller would rather have.

use super::*;

#[actix_web::test]
async fn a_statement_is_in_the_format_that_is_preferred() {
    serve!(bank, app);
    assert_eq!(ask(&app, post("/v1/accounts/batch", PAIR).to_request()).await.status, 200);
    for (accept, expected) in [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/csv", "text/csv"),
        ("Text/CSV", "text/csv"),
        ("text/*", "text/csv"),
        ("text/csv, */*", "text/csv"),
        ("*/*, text/csv", "text/csv"),
        ("text/csv, application/json", "text/csv"),
        ("application/json, text/csv", "application/json"),
        ("application/json, text/csv;q=0.1", "application/json"),
        ("application/json;q=0.1, text/csv;q=0.2", "text/csv"),
        ("text/html, text/csv;q=0.9, */*;q=0.8", "text/csv"),
        ("text/csv;q=0.5, */*", "application/json"),
        ("text/csv;q=0", "application/json"),
        ("text/csv;q=0, text/html", "application/json"),
        ("text/csvs", "application/json"),
        ("chunk#;e", "application/json"),
    ] {
        let asked = get("/v1/accounts/1/statement").insert_header(("accept", accept));
        let told = ask(&app, asked.to_request()).await;
        let kind = told.header("content-type").split(';').next().unwrap();
        assert_eq!((told.status, kind), (200, expected), "{accept}");
        assert_eq!(told.header("vary"), "accept", "{accept}");
    }
    // What the query says stands above it.
    let asked = get("/v1/accounts/1/statement?format=json").insert_header(("accept", "text/csv"));
    assert_eq!(ask(&app, asked.to_request()).await.header("content-type"), "application/json");
    bank.florin.stop().await;
}
