//! Pending transfers, balancing and closing: every status, and which comes before which.

use crate::script::check;

const BOOK: &str = "account 1; account 2 flags=D<C; account 3 ledger=2; account 4 ledger=2; ";
const BOOKED: &str = "created; created; created; created; ";

fn on_book(script: &str, expected: &str) {
    check(&format!("{BOOK}{script}"), &format!("{BOOKED}{expected}"));
}

#[test]
fn what_is_pending_is_reserved_until_it_is_posted_or_voided() {
    on_book(
        "transfer 9 1->2 5 pending; amounts 1; amounts 2; transfer 8 2->1 1; transfer 7 0->0 max post=9; \
         amounts 1; amounts 2; transfer 6 2->1 5",
        "created; 0.00+5.00 0.00+0.00; 0.00+0.00 0.00+5.00; exceeds_credits 0.00 < 1.00; created; \
         5.00+0.00 0.00+0.00; 0.00+0.00 5.00+0.00; created",
    );
    on_book(
        "transfer 9 1->2 5 pending; transfer 7 0->0 2 post=9; amounts 1; amounts 2; transfer 6 0->0 3 post=9",
        "created; created; 2.00+0.00 0.00+0.00; 0.00+0.00 2.00+0.00; pending_transfer_already_posted",
    );
    on_book(
        "transfer 9 1->2 5 pending; transfer 7 0->0 0 post=9; amounts 1; transfer 6 0->0 0 void=9",
        "created; created; 0.00+0.00 0.00+0.00; pending_transfer_already_posted",
    );
    on_book(
        "transfer 9 1->2 5 pending; transfer 7 0->0 0 void=9; amounts 1; transfer 6 0->0 max post=9",
        "created; created; 0.00+0.00 0.00+0.00; pending_transfer_already_voided",
    );
    // Limits count what is pending.
    on_book(
        "transfer 9 1->2 5; transfer 8 2->1 4 pending; transfer 7 2->1 2; transfer 6 2->1 2 pending; transfer 5 0->0 0 void=8; \
         transfer 4 2->1 5",
        "created; created; exceeds_credits 1.00 < 2.00; exceeds_credits 1.00 < 2.00; created; created",
    );
}

#[test]
fn a_post_or_void_is_refused_in_the_documented_order() {
    let pending = "transfer 9 1->2 5 code=3 pending timeout=1; ";
    let refuse = |transfer: &str, expected: &str| {
        on_book(&format!("{pending}{transfer}"), &format!("created; {expected}"));
    };
    let excluded = "flags_are_mutually_exclusive";
    refuse("transfer 0 0->0 1 post=0 pending", "id_must_not_be_zero");
    refuse("transfer max 0->0 1 post=0 pending", "id_must_not_be_int_max");
    refuse("transfer 9 0->0 1 post=0 pending", "differs in flags");
    refuse("transfer 7 0->0 1 post=0 void=0", excluded);
    refuse("transfer 7 0->0 1 post=0 pending", excluded);
    refuse("transfer 7 0->0 1 post=0 balancing_debit", excluded);
    refuse("transfer 7 0->0 1 post=0 balancing_credit", excluded);
    refuse("transfer 7 0->0 1 void=0 closing_debit", excluded);
    refuse("transfer 7 0->0 1 void=0 closing_credit timeout=1", excluded);
    refuse("transfer 7 0->0 1 post=0 timeout=1", "pending_id_must_not_be_zero");
    refuse("transfer 7 0->0 1 post=max timeout=1", "pending_id_must_not_be_int_max");
    refuse("transfer 7 0->0 1 post=7 timeout=1", "pending_id_must_be_different");
    refuse("transfer 7 0->0 1 post=8 timeout=1", "timeout_reserved_for_pending_transfer");
    refuse("transfer 7 3->3 6 post=8", "pending_transfer_not_found");
    refuse("transfer 8 1->2 1; transfer 7 3->3 6 post=8", "created; pending_transfer_not_pending");
    refuse(
        "transfer 7 2->1 6 post=9 ledger=2 code=4",
        "pending_transfer_has_different_debit_account_id",
    );
    refuse(
        "transfer 7 1->1 6 post=9 ledger=2 code=4",
        "pending_transfer_has_different_credit_account_id",
    );
    refuse("transfer 7 1->2 6 post=9 ledger=2 code=4", "pending_transfer_has_different_ledger");
    refuse("transfer 7 1->2 6 post=9 ledger=1 code=4", "pending_transfer_has_different_code");
    refuse("transfer 7 1->2 6 post=9 ledger=1 code=3", "exceeds_pending_transfer_amount");
    refuse("transfer 7 0->0 6 void=9", "exceeds_pending_transfer_amount");
    refuse("transfer 7 0->0 max void=9", "exceeds_pending_transfer_amount");
    refuse("transfer 7 0->0 4 void=9", "pending_transfer_has_different_amount");
    refuse(
        "now 5000000000; transfer 7 0->0 6 post=9",
        "5000000000; exceeds_pending_transfer_amount",
    );
    refuse(
        "now 5000000000; transfer 7 0->0 4 void=9",
        "5000000000; pending_transfer_has_different_amount",
    );
    refuse("now 5000000000; transfer 7 0->0 5 post=9", "5000000000; pending_transfer_expired");
    refuse("now 5000000000; transfer 7 0->0 5 void=9", "5000000000; pending_transfer_expired");
    refuse("transfer 7 1->2 5 post=9 code=3 ledger=0", "created");
    refuse("transfer 7 1->0 5 void=9 code=0 ledger=1", "created");
}

#[test]
fn a_settled_transfer_answers_for_ever_and_compares_before_it_does() {
    for (settle, status) in [
        ("transfer 7 0->0 max post=9", "pending_transfer_already_posted"),
        ("transfer 7 0->0 0 void=9", "pending_transfer_already_voided"),
        ("now 5000000000; expire 5", "pending_transfer_expired"),
    ] {
        let settled = if settle.starts_with("now") { "5000000000; expired 9" } else { "created" };
        for forget in ["forget -", "now 6000000000"] {
            let done = forget.split(' ').nth(1).unwrap();
            let refuse = |transfer: &str, expected: &str| {
                on_book(
                    &format!(
                        "transfer 9 1->2 5 code=3 pending timeout=1; {settle}; {forget}; {transfer}"
                    ),
                    &format!("created; {settled}; {done}; {expected}"),
                );
            };
            refuse("transfer 6 0->0 max post=9", status);
            refuse("transfer 6 0->0 0 void=9", status);
            refuse("transfer 6 0->0 2.00 post=9", status);
            refuse("transfer 6 1->2 5 post=9 code=3 ledger=1", status);
            refuse("transfer 6 2->1 6 post=9", "pending_transfer_has_different_debit_account_id");
            refuse(
                "transfer 6 0->1 6 post=9 ledger=2",
                "pending_transfer_has_different_credit_account_id",
            );
            refuse(
                "transfer 6 0->0 6 post=9 ledger=2 code=4",
                "pending_transfer_has_different_ledger",
            );
            refuse("transfer 6 0->0 6 post=9 code=4", "pending_transfer_has_different_code");
            refuse("transfer 6 0->0 6 post=9", "exceeds_pending_transfer_amount");
            refuse("transfer 6 0->0 4 void=9", "pending_transfer_has_different_amount");
            refuse(
                "transfer 6 0->0 0.001 post=9",
                "the amount of event 0 has more digits after the point than its ledger",
            );
            // None of these refusals passes, so none burns the id.
            refuse("transfer 6 0->0 5 post=9; transfer 6 1->2 1", &format!("{status}; created"));
        }
    }
}

#[test]
fn what_is_missing_burns_the_id() {
    on_book(
        "transfer 7 0->0 max post=9; transfer 9 1->2 5 pending; transfer 7 0->0 max post=9; transfer 6 0->0 max post=9",
        "pending_transfer_not_found; created; id_already_failed; created",
    );
    // Neither a transaction nor a burned id is a transfer.
    on_book(
        "transaction 9 [1->2 5]; transfer 8 2->1 9; transfer 7 0->0 max post=9; transfer 6 0->0 max post=8",
        "created; exceeds_credits 5.00 < 9.00; pending_transfer_not_found; pending_transfer_not_found",
    );
}

#[test]
fn a_post_or_void_takes_over_what_it_leaves_open_and_a_retry_may_say_it_in_other_words() {
    let pending = "transfer 9 1->2 5 ud128=1 ud64=2 ud32=3 code=4 pending; ";
    for forget in ["forget -", "now 6000000000"] {
        let done = forget.split(' ').nth(1).unwrap();
        let again = |first: &str, transfer: &str, expected: &str| {
            on_book(
                &format!("{pending}{first}; {forget}; {transfer}"),
                &format!("created; created; {done}; {expected}"),
            );
        };
        let all = "transfer 7 0->0 max post=9";
        again(all, all, "exists");
        again(all, "transfer 7 1->2 5 post=9 code=4 ledger=1 ud128=1 ud64=2 ud32=3", "exists");
        again(all, "transfer 7 1->2 5 post=9 code=4 ledger=0", "exists");
        again(all, "transfer 7 0->0 0 void=9", "differs in flags");
        again(all, "transfer 7 2->0 4 post=8 timeout=1", "differs in pending_id");
        again(all, "transfer 7 2->0 4 post=9 timeout=1", "differs in timeout");
        again(all, "transfer 7 2->1 4 post=9", "differs in debit_account_id");
        again(all, "transfer 7 1->1 4 post=9", "differs in credit_account_id");
        again(all, "transfer 7 1->2 4 post=9 ud128=7", "differs in amount");
        again(all, "transfer 7 1->2 5 post=9 ud128=7 ud64=7", "differs in user_data_128");
        again(all, "transfer 7 1->2 5 post=9 ud64=7 ud32=7", "differs in user_data_64");
        again(all, "transfer 7 1->2 5 post=9 ud32=7 ledger=2", "differs in user_data_32");
        again(all, "transfer 7 1->2 max post=9 ledger=2 code=7", "differs in ledger");
        again(all, "transfer 7 1->2 5 post=9 code=7 meta=a", "differs in code");
        again(all, "transfer 7 1->2 5 post=9 at=7 meta=a", "differs in effective_at");
        again(all, "transfer 7 1->2 5 post=9 meta=a", "differs in metadata");
        let part = "transfer 7 0->0 4 post=9 ud128=7 ud64=2";
        again(part, part, "exists");
        again(part, "transfer 7 0->0 4.00 post=9 ud128=7", "exists");
        again(part, "transfer 7 0->0 max post=9 ud128=7", "differs in amount");
        again(part, "transfer 7 0->0 4 post=9", "differs in user_data_128");
        again(part, "transfer 7 0->0 4 post=9 ud128=7 ud64=1", "differs in user_data_64");
        again("transfer 7 0->0 5 post=9", "transfer 7 0->0 max post=9", "exists");
        again("transfer 7 0->0 5 void=9", "transfer 7 0->0 0 void=9", "exists");
        again("transfer 7 0->0 0 void=9", "transfer 7 0->0 5 void=9", "exists");
        again("transfer 7 0->0 0 void=9", "transfer 7 0->0 4 void=9", "differs in amount");
    }
    on_book(
        "transfer 9 1->2 5 pending; batch [7 0->0 max post=9, 7 0->0 5 post=9, 7 0->0 4 post=9]",
        "created; ok 1, 1 exists, 2 exists_with_different_amount",
    );
}

#[test]
fn expiry_releases_in_order_and_in_slices() {
    on_book(
        "now 1000; transfer 9 1->2 5 pending timeout=2; transfer 8 1->2 4 pending timeout=1; transfer 7 1->2 3 pending timeout=1; \
         transfer 6 1->2 2 pending; next -; now 1000001000; expire 9; now 1000001001; expire 1; amounts 1; expire 9; now 9000000000; \
         expire 9; expire 9; amounts 2; next -",
        "1000; created; created; created; created; 1000001001; 1000001000; expired ; 1000001001; expired 8; 0.00+10.00 0.00+0.00; \
         expired 7; 9000000000; expired 9; expired ; 0.00+0.00 0.00+2.00; never",
    );
    // From that moment on, whether it was released or not; settled before, it does not expire.
    on_book(
        "now 1000; transfer 9 1->2 5 pending timeout=1; transfer 8 1->2 5 pending timeout=1; now 1000001000; \
         transfer 7 0->0 max post=9; transfer 6 0->0 0 void=8; expire 9; next -",
        "1000; created; created; 1000001000; pending_transfer_expired; created; expired 9; never",
    );
}

#[test]
fn a_pending_transfer_may_open_and_end_in_one_batch() {
    on_book(
        "batch [9 1->2 5 pending, 7 0->0 2.5 post=9, 6 0->0 0 void=9, 5 2->0 0 void=9]; amounts 2",
        "ok 2, 2 pending_transfer_already_posted, 3 pending_transfer_has_different_debit_account_id; \
         0.00+0.00 2.50+0.00",
    );
    on_book(
        "batch [9 1->2 5 pending, 7 0->0 2.555 post=9]; amounts 2",
        "the amount of event 1 has more digits after the point than its ledger; 0.00+0.00 0.00+0.00",
    );
    // A chain that breaks opens again what it settled, and forgets what it opened.
    on_book(
        "transfer 9 1->2 5 pending timeout=1; batch [8 1->2 1 pending linked, 7 0->0 2 post=9 linked, 6 0->0 0 void=8 linked, 5 2->1 9]; \
         amounts 2; transfer 8 0->0 max post=9; batch [7 1->2 1 pending linked, 4 0->0 max post=7]; amounts 2",
        "created; ok 0, 0 linked_event_failed, 1 linked_event_failed, 2 linked_event_failed, 3 exceeds_credits 2.00 < 9.00; \
         0.00+0.00 0.00+5.00; created; ok 2; 0.00+0.00 6.00+0.00",
    );
    on_book(
        "transfer 9 1->2 5 pending; batch [8 0->0 0 void=9 linked, 7 0->0 max post=9 linked, 6 1->2 1]; transfer 5 0->0 max post=9",
        "created; ok 0, 0 linked_event_failed, 1 pending_transfer_already_voided, 2 linked_event_failed; created",
    );
    on_book(
        "transfer 9 1->2 5 pending; transaction 8 [0->0 max post=9, 1->2 3 pending]; amounts 2; \
         transaction 7 [0->0 max post=9]",
        "created; created; 0.00+0.00 5.00+3.00; leg 0 pending_transfer_already_posted",
    );
}

#[test]
fn what_pending_transfers_must_not_be() {
    let refuse = |transfer: &str, expected: &str| on_book(transfer, expected);
    refuse("transfer 9 1->2 5 pending_id=7 timeout=1", "pending_id_must_be_zero");
    refuse("transfer 9 1->2 5 timeout=1 closing_debit", "timeout_reserved_for_pending_transfer");
    refuse("transfer 9 1->2 5 closing_debit ledger=0", "closing_transfer_must_be_pending");
    refuse("transfer 9 1->2 5 closing_credit ledger=0", "closing_transfer_must_be_pending");
    refuse("transfer 9 1->2 5 pending closing_credit ledger=0", "ledger_must_not_be_zero");
    refuse("transfer 9 1->2 5 pending pending_id=7", "pending_id_must_be_zero");
}

#[test]
fn pending_balances_stop_at_the_largest_amount() {
    // 5 has pending debits, 6 pending credits at the bound.
    let book = "account 5; account 6; account 7; account 8; transfer 1 5->7 max pending; transfer 2 8->6 max pending; ";
    let refuse = |transfer: &str, expected: &str| {
        let done = "created; created; created; created; created; created; ";
        check(&format!("{book}{transfer}"), &format!("{done}{expected}"));
    };
    refuse("transfer 9 5->6 1 pending", "overflows_debits_pending");
    refuse(
        "transfer 9 8->7 1 pending timeout=1; transfer 9 7->6 1 pending",
        "overflows_debits_pending; overflows_credits_pending",
    );
    refuse("transfer 9 5->6 1", "overflows_debits");
    refuse("transfer 9 7->6 1", "overflows_credits");
    // Pending comes before posted, and posted before both together.
    check(
        "account 5; account 6; transfer 1 5->6 max; transfer 2 5->6 0.01 pending; transfer 3 6->5 max pending; transfer 4 6->5 0.01 pending",
        "created; created; created; overflows_debits_posted; created; overflows_debits_pending",
    );
    let late = 9_223_372_036_854_775_000_u64;
    on_book(
        &format!("now {late}; transfer 9 2->1 1 pending timeout=1; transfer 8 1->2 1 pending"),
        &format!("{late}; overflows_timeout; created"),
    );
}

#[test]
fn a_balancing_transfer_moves_no_more_than_balances() {
    let book = "account 5; account 6; account 7; transfer 1 7->5 10; transfer 2 5->7 3 pending; transfer 3 6->7 4; ";
    let balance = |script: &str, expected: &str| {
        let done = "created; created; created; created; created; created; ";
        check(&format!("{book}{script}"), &format!("{done}{expected}"));
    };
    // Of account 5, 7 are left to debit; account 6 takes 4 to be even.
    balance("transfer 9 5->6 max balancing_debit; amounts 5", "created; 7.00+3.00 10.00+0.00");
    balance("transfer 9 5->6 5 balancing_debit; amounts 5", "created; 5.00+3.00 10.00+0.00");
    balance("transfer 9 5->6 max balancing_credit; amounts 6", "created; 4.00+0.00 4.00+0.00");
    balance(
        "transfer 9 5->6 max balancing_debit balancing_credit pending; amounts 5; amounts 6; transfer 8 0->0 max post=9; amounts 6",
        "created; 0.00+7.00 10.00+0.00; 4.00+0.00 0.00+4.00; created; 4.00+0.00 4.00+0.00",
    );
    balance("transfer 9 6->5 max balancing_debit; amounts 6", "created; 4.00+0.00 0.00+0.00");
    // A retry may allow more than was moved, not less.
    for again in ["max", "7", "8.5"] {
        balance(
            &format!(
                "transfer 9 5->6 max balancing_debit; transfer 9 5->6 {again} balancing_debit"
            ),
            "created; exists",
        );
    }
    balance(
        "transfer 9 5->6 max balancing_debit; transfer 9 5->6 6.99 balancing_debit; transfer 9 5->6 7",
        "created; differs in amount; differs in flags",
    );
    // The overdraft is not a balance.
    check(
        "account 5 flags=D<C overdraft=9; account 6; transfer 1 6->5 2; transfer 2 5->6 max balancing_debit; transfer 3 5->6 max; \
         amounts 5",
        "created; created; created; created; overflows_debits_posted; 2.00+0.00 2.00+0.00",
    );
}

#[test]
fn a_closing_transfer_closes_until_it_is_voided_or_expires() {
    on_book(
        "transfer 9 1->2 0 pending closing_debit; amounts 1; transfer 8 1->2 max; transfer 7 2->1 max; transfer 6 0->0 0 void=9; \
         amounts 1; transfer 5 1->2 1",
        "created; 0.00+0.00 0.00+0.00 closed; debit_account_already_closed; credit_account_already_closed; created; \
         0.00+0.00 0.00+0.00; created",
    );
    on_book(
        "now 1000; transfer 9 1->2 1 pending closing_debit closing_credit timeout=1; transfer 8 0->0 max post=9; \
         now 2000000000; transfer 7 0->0 max post=9; expire 9; amounts 1; amounts 2; transfer 6 1->2 1",
        "1000; created; debit_account_already_closed; 2000000000; pending_transfer_expired; expired 9; 0.00+0.00 0.00+0.00; \
         0.00+0.00 0.00+0.00; created",
    );
    // What was pending before can be voided, and expire, but not be posted.
    on_book(
        "transfer 9 1->2 5 pending; transfer 8 2->1 0 pending closing_debit; transfer 7 0->0 max post=9; transfer 6 0->0 0 void=9; \
         amounts 2",
        "created; created; credit_account_already_closed; created; 0.00+0.00 0.00+0.00 closed",
    );
    // The refusal of a closed account passes: it burns the id. A chain that breaks opens it again.
    on_book(
        "transfer 9 1->2 0 pending closing_debit; transfer 8 1->2 1; transfer 7 0->0 0 void=9; transfer 8 1->2 1; \
         batch [6 1->2 0 pending closing_credit linked, 5 1->2 1]; amounts 2; transfer 4 1->2 1",
        "created; debit_account_already_closed; created; id_already_failed; \
         ok 0, 0 linked_event_failed, 1 credit_account_already_closed; 0.00+0.00 0.00+0.00; created",
    );
}
