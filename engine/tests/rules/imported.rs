//! Accounts and transfers that come with moments of their own.

use crate::script::check;

#[test]
fn imported_accounts_are_refused_in_the_documented_order() {
    let refuse = |accounts: &str, expected: &str| {
        check(&format!("now 1000; {accounts}"), &format!("1000; {expected}"));
    };
    let range = "imported_event_timestamp_out_of_range";
    refuse("accounts [1, 0 flags=imported]", "ok 1, 1 imported_event_not_expected");
    refuse("accounts [1 flags=imported ts=5, 0 ts=7]", "ok 1, 1 imported_event_expected");
    refuse("account 0 ts=7", "timestamp_must_be_zero");
    refuse("account 0 flags=imported", range);
    refuse("account 0 flags=imported ts=9223372036854775808", range);
    refuse("account 0 flags=imported ts=1000", "imported_event_timestamp_must_not_advance");
    refuse("account 0 flags=imported ts=999", "id_must_not_be_zero");
    refuse(
        "accounts [0 flags=imported ts=1000, 2 flags=imported ts=1001]",
        "ok 0, 0 id_must_not_be_zero, 1 imported_event_timestamp_must_not_advance",
    );
    refuse(
        "account 1 flags=imported ts=5; account 2 flags=imported ts=5 code=0",
        "created; code_must_not_be_zero",
    );
    refuse(
        "account 1 flags=imported ts=5; account 2 flags=imported ts=5; account 2 flags=imported ts=6; account 1 flags=imported ts=7",
        "created; imported_event_timestamp_must_not_regress; created; exists",
    );
    // A regular account is newer than all that can be imported before the clock goes on.
    refuse(
        "account 1; account 2 flags=imported ts=999; now 2000; account 2 flags=imported ts=1000; account 2 flags=imported ts=1001",
        "created; imported_event_timestamp_must_not_regress; 2000; imported_event_timestamp_must_not_regress; created",
    );
    // A chain that breaks gives its moments back.
    refuse(
        "accounts [1 flags=imported,linked ts=5, 2 flags=imported ts=6 code=0]; account 1 flags=imported ts=5",
        "ok 0, 0 linked_event_failed, 1 code_must_not_be_zero; created",
    );
    refuse(
        "accounts [1 flags=imported,linked ts=5, 2 flags=imported,linked ts=0]",
        "ok 0, 0 linked_event_failed, 1 linked_event_chain_open",
    );
}

#[test]
fn imported_transfers_are_refused_in_the_documented_order() {
    let book = "now 1000; accounts [1 flags=imported ts=10, 2 flags=imported ts=20, 3 flags=imported ts=30, 4 flags=imported,closed ts=40]; ";
    let refuse = |script: &str, expected: &str| {
        check(&format!("{book}{script}"), &format!("1000; ok 4; {expected}"));
    };
    let regress = "imported_event_timestamp_must_not_regress";
    refuse("batch [9 1->2 1, 0 1->2 1 imported]", "ok 1, 1 imported_event_not_expected");
    refuse("batch [9 1->2 1 imported ts=50, 0 1->2 1 ts=7]", "ok 1, 1 imported_event_expected");
    refuse("transfer 0 1->2 1 ts=7", "timestamp_must_be_zero");
    refuse("transfer 0 1->2 1 imported", "imported_event_timestamp_out_of_range");
    refuse("transfer 0 1->2 1 imported ts=2000", "imported_event_timestamp_must_not_advance");
    refuse("transfer 0 1->2 1 imported ts=50", "id_must_not_be_zero");
    refuse("transfer 9 1->2 1 imported ts=50; transfer 9 1->2 1 imported ts=60", "created; exists");
    refuse("transfer 9 1->8 1 imported ts=30", "credit_account_not_found");
    refuse(
        "transfer 9 3->2 1 imported ts=30 ledger=2",
        "transfer_must_have_the_same_ledger_as_accounts",
    );
    // Never at the moment of an account, nor at or before that of a transfer.
    refuse("transfer 9 1->2 1 imported ts=30 pending timeout=1", regress);
    refuse(
        "transfer 9 1->2 1 imported ts=50; transfer 8 1->2 1 imported ts=50",
        &format!("created; {regress}"),
    );
    refuse("transfer 9 1->2 1; transfer 8 1->2 1 imported ts=999", &format!("created; {regress}"));
    refuse(
        "transfer 9 3->1 1 imported ts=29 pending timeout=1",
        "imported_event_timestamp_must_postdate_debit_account",
    );
    refuse(
        "transfer 9 1->3 1 imported ts=29 pending timeout=1",
        "imported_event_timestamp_must_postdate_credit_account",
    );
    refuse(
        "transfer 9 4->3 1 imported ts=41 pending timeout=1",
        "imported_event_timeout_must_be_zero",
    );
    refuse("transfer 9 4->3 1 imported ts=41 pending", "debit_account_already_closed");
    // Second phases are imported too; what is imported never expires.
    refuse(
        "batch [9 1->2 1 imported ts=50 pending, 8 0->0 max post=9 imported ts=50, 7 0->0 max post=9 imported ts=51]; next -; \
         batch [6 1->2 1 imported ts=52 pending, 5 0->0 0 void=6 imported ts=30, 4 0->0 0 void=6 imported ts=60]",
        &format!("ok 2, 1 {regress}; never; ok 2, 1 {regress}"),
    );
    refuse(
        "batch [9 1->2 1 imported linked ts=50, 8 1->2 0 imported ts=60 code=0]; transfer 9 1->2 1 imported ts=50 linked; \
         transfer 8 1->2 1 imported ts=50",
        "ok 0, 0 linked_event_failed, 1 code_must_not_be_zero; linked_event_chain_open; created",
    );
    refuse(
        "transaction 9 [1->2 1 imported ts=50, 1->2 2]; transaction 8 [1->2 1 imported ts=50, 1->2 2 imported ts=51]",
        "leg 1 imported_event_expected; created",
    );
    // Whether the accounts' moments are known from a snapshot or not: see `properties`.
    refuse("forget -; transfer 9 1->2 1 imported ts=40", &format!("-; {regress}"));
}
