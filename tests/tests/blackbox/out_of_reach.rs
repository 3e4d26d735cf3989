//! What would take looking through too much is refused in words.

use florin_tests::bank::{TestBank, transfer_with_id};
use florin_tests::server::{LARGE_SEGMENTS, TestServer};
use serde_json::Value;

#[test]
fn a_balance_behind_too_many_transfers_is_out_of_reach() {
    const BATCH: u128 = 8190;
    let bank = TestBank::of(TestServer::start_with(&LARGE_SEGMENTS));
    bank.account(1);
    bank.account(2);
    // Just over 100,000 transfers.
    for batch in 0..13 {
        let ids = 1 + batch * BATCH..=(batch + 1) * BATCH;
        let body: Value = ids.map(|id| transfer_with_id(id, 1, 2, "0.01")).collect();
        bank.check("POST /v1/transfers/batch", body, "200");
    }
    let at = "at=2100-01-01T00:00:00Z";
    let held = bank.get(&format!("/v1/accounts/2/balance?{at}"));
    assert_eq!(held["balance"], "1064.70", "what nothing came after is near: {held}");
    let asked = format!("GET /v1/accounts/2/balance?effective_{at}");
    let problem = bank.check(&asked, (), "422 out_of_reach").json();
    assert_eq!(problem["retry"], "never", "{problem}");
}
