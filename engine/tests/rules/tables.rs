//! The rules, as tables: a script of commands, and what each of them comes to.

use crate::script::check;

#[test]
fn accounts_are_refused_in_the_documented_order() {
    check("account 0 flags=D<C,C<D", "id_must_not_be_zero");
    check("account max", "id_must_not_be_int_max");
    check("account 1 flags=D<C,C<D ledger=0", "flags_are_mutually_exclusive");
    check("account 1 overdraft=5 ledger=0 code=0", "ledger_must_not_be_zero");
    check("account 1 ledger=9 code=0", "ledger_not_found");
    check("account 1 code=0 overdraft=5", "code_must_not_be_zero");
    check("account 1 flags=history overdraft=5", "overdraft_limit_must_be_zero");
    check("account 1 flags=D<C overdraft=5", "created");
    check("account 1 flags=C<D overdraft=5", "created");
}

#[test]
fn an_account_is_created_once() {
    let existing = "account 1 flags=D<C ud128=1 ud64=2 ud32=3 code=4 overdraft=5 meta=a";
    let again = |change: &str, expected: &str| {
        check(&format!("{existing}; {existing} {change}"), &format!("created; {expected}"));
    };
    again("", "exists");
    again("flags=C<D ud128=9", "exists_with_different_flags");
    again("ud128=9 ud64=9", "exists_with_different_user_data_128");
    again("ud64=9 ud32=9", "exists_with_different_user_data_64");
    again("ud32=9 ledger=2", "exists_with_different_user_data_32");
    again("ledger=2 code=9", "exists_with_different_ledger");
    again("code=9 overdraft=9", "exists_with_different_code");
    again("overdraft=9 meta=b", "exists_with_different_overdraft_limit");
    again("meta=b", "exists_with_different_metadata");
    again("flags=D<C,C<D", "exists_with_different_flags");
}

#[test]
fn transfers_are_refused_in_the_documented_order() {
    let book = "account 1; account 2 flags=D<C; account 3 ledger=2; account 4 flags=closed; ";
    let done = "created; created; created; created; ";
    let refuse = |transfer: &str, expected: &str| {
        check(&format!("{book}{transfer}"), &format!("{done}{expected}"));
    };
    refuse("transfer 0 0->0 1", "id_must_not_be_zero");
    refuse("transfer max 0->0 1", "id_must_not_be_int_max");
    refuse("transfer 1 0->0 1", "debit_account_id_must_not_be_zero");
    refuse("transfer 1 max->0 1", "debit_account_id_must_not_be_int_max");
    refuse("transfer 1 9->0 1", "credit_account_id_must_not_be_zero");
    refuse("transfer 1 9->max 1", "credit_account_id_must_not_be_int_max");
    refuse("transfer 1 9->9 1 pending_id=7", "accounts_must_be_different");
    refuse("transfer 1 9->8 1 pending_id=7 timeout=1", "pending_id_must_be_zero");
    refuse("transfer 1 9->8 1 timeout=1 ledger=0", "timeout_reserved_for_pending_transfer");
    refuse("transfer 1 9->8 1 ledger=0 code=0", "ledger_must_not_be_zero");
    refuse("transfer 1 9->8 1 ledger=7 code=0", "ledger_not_found");
    refuse("transfer 1 9->8 1 code=0", "code_must_not_be_zero");
    refuse("transfer 1 9->8 1", "debit_account_not_found");
    refuse("transfer 1 1->8 1", "credit_account_not_found");
    refuse("transfer 1 1->3 1 ledger=2", "accounts_must_have_the_same_ledger");
    refuse("transfer 1 1->2 1 ledger=2", "transfer_must_have_the_same_ledger_as_accounts");
    refuse("transfer 1 4->2 max", "debit_account_already_closed");
    refuse("transfer 1 2->4 max", "credit_account_already_closed");
    refuse("transfer 1 2->1 0.01", "exceeds_credits 0.00 < 0.01");
    refuse("transfer 1 2->1 0", "created");
}

#[test]
fn balances_stop_at_the_largest_amount() {
    check(
        "account 1; account 2; account 3; transfer 1 1->2 max; transfer 2 1->3 0.01; transfer 3 3->2 0.01; \
         transfer 4 2->1 max; balance 1; balance 2",
        "created; created; created; created; overflows_debits_posted; overflows_credits_posted; \
         created; 0.00 v2; 0.00 v2",
    );
}

#[test]
fn limits_count_the_overdraft() {
    check(
        "account 1; account 2 flags=D<C overdraft=5; transfer 1 2->1 5.01; transfer 2 2->1 5; transfer 3 2->1 0.01; \
         balance 2",
        "created; created; exceeds_credits 5.00 < 5.01; created; exceeds_credits 0.00 < 0.01; -5.00 v1",
    );
    check(
        "account 1; account 2 flags=C<D overdraft=5; transfer 1 1->2 5.01; transfer 2 1->2 5; transfer 3 2->1 7; \
         balance 2",
        "created; created; exceeds_debits 5.00 < 5.01; created; created; 2.00 v2",
    );
}

#[test]
fn an_id_is_decided_once_for_ever() {
    let book = "account 1; account 2; account 3; transfer 9 1->2 5 ud128=1 ud64=2 ud32=3 code=4 at=5 meta=a; ";
    let again = |transfer: &str, expected: &str| {
        check(
            &format!("{book}{transfer}"),
            &format!("created; created; created; created; {expected}"),
        );
    };
    again("transfer 9 1->2 5.00 ud128=1 ud64=2 ud32=3 code=4 at=5 meta=a", "exists");
    again("transfer 9 1->2 5 ud128=1 ud64=2 ud32=3 code=4 at=5 meta=a ledger=1", "exists");
    again("transfer 9 3->1 6 pending_id=3 timeout=4", "differs in pending_id");
    again("transfer 9 3->1 6 timeout=4", "differs in timeout");
    again("transfer 9 3->1 6", "differs in debit_account_id");
    again("transfer 9 1->3 6", "differs in credit_account_id");
    again("transfer 9 1->2 6", "differs in amount");
    again("transfer 9 1->2 5", "differs in user_data_128");
    again("transfer 9 1->2 5 ud128=1", "differs in user_data_64");
    again("transfer 9 1->2 5 ud128=1 ud64=2", "differs in user_data_32");
    again("transfer 9 1->2 5 ud128=1 ud64=2 ud32=3 ledger=2", "differs in ledger");
    // Neither the amount of a ledger that is not there nor that of another one can be compared.
    again("transfer 9 1->2 5 ud128=1 ud64=2 ud32=3 ledger=7", "differs in ledger");
    again("transfer 9 1->2 6 ud128=1 ud64=2 ud32=3 ledger=2", "differs in ledger");
    again("transfer 9 1->2 5 ud128=1 ud64=2 ud32=3", "differs in code");
    again("transfer 9 1->2 5 ud128=1 ud64=2 ud32=3 code=4", "differs in effective_at");
    again("transfer 9 1->2 5 ud128=1 ud64=2 ud32=3 code=4 at=5", "differs in metadata");
    again("transaction 9 [1->2 5]", "exists_with_different_kind");
    again("transaction 8 [1->2 5]; transfer 8 1->2 5", "created; exists_with_different_kind");
}

#[test]
fn a_passing_refusal_burns_the_id_and_another_leaves_no_trace() {
    check(
        "account 1; account 2 flags=D<C; transfer 9 2->1 5; transfer 8 1->2 5; transfer 9 2->1 5; transfer 7 1->2 5 code=0; \
         transfer 7 1->2 5",
        "created; created; exceeds_credits 0.00 < 5.00; created; id_already_failed; code_must_not_be_zero; created",
    );
    check(
        "account 1; transfer 9 1->2 5; account 2; transfer 9 1->2 5; transfer 8 1->2 5",
        "created; credit_account_not_found; created; id_already_failed; created",
    );
}

#[test]
fn a_linked_chain_happens_whole_or_not_at_all() {
    let book = "account 1; account 2 flags=D<C; ";
    let chain = |batch: &str, expected: &str| {
        check(&format!("{book}{batch}"), &format!("created; created; {expected}"));
    };
    chain("batch [9 1->2 5 linked, 8 2->1 5 linked, 7 1->2 1]; balance 2", "ok 3; 1.00 v1");
    chain(
        "batch [6 1->2 1, 9 1->2 5 linked, 8 2->1 7 linked, 7 1->2 1, 5 1->2 1]; balance 2",
        "ok 2, 1 linked_event_failed, 2 exceeds_credits 6.00 < 7.00, 3 linked_event_failed; 2.00 v1",
    );
    chain(
        "batch [9 1->2 5 linked, 8 2->1 7]; transfer 9 1->2 5; transfer 8 1->2 5; balance 2",
        "ok 0, 0 linked_event_failed, 1 exceeds_credits 5.00 < 7.00; created; id_already_failed; 5.00 v1",
    );
    chain(
        "batch [9 1->2 5 linked, 8 1->2 7 linked]; balance 2",
        "ok 0, 0 linked_event_failed, 1 linked_event_chain_open; 0.00 v0",
    );
    chain(
        "batch [9 1->2 5 linked, 8 1->2 0 code=0 linked, 7 1->2 7 linked]; balance 2",
        "ok 0, 0 linked_event_failed, 1 code_must_not_be_zero, 2 linked_event_chain_open; 0.00 v0",
    );
    chain(
        "transfer 9 1->2 5; batch [8 1->2 1 linked, 9 1->2 5]; balance 2",
        "created; ok 0, 0 linked_event_failed, 1 exists; 5.00 v1",
    );
    chain("batch [9 1->2 5, 9 1->2 5, 9 1->2 6]", "ok 1, 1 exists, 2 exists_with_different_amount");
}

#[test]
fn linked_accounts_are_created_whole_or_not_at_all() {
    check(
        "accounts [1 flags=linked, 2 flags=linked, 3 code=0, 4]; account 1; account 4",
        "ok 1, 0 linked_event_failed, 1 linked_event_failed, 2 code_must_not_be_zero; created; exists",
    );
    check(
        "accounts [1 flags=linked, 2 flags=linked]",
        "ok 0, 0 linked_event_failed, 1 linked_event_chain_open",
    );
}

#[test]
fn a_transaction_happens_whole_or_not_at_all() {
    let book = "account 1; account 2 flags=D<C; account 3; ";
    let transact = |script: &str, expected: &str| {
        check(&format!("{book}{script}"), &format!("created; created; created; {expected}"));
    };
    transact("transaction 9 [1->2 5, 2->3 5]; balance 2; balance 3", "created; 0.00 v1; 5.00 v1");
    transact(
        "transaction 9 [1->2 5, 2->3 6]; balance 2; transaction 9 [1->2 5, 2->3 5]",
        "leg 1 exceeds_credits 5.00 < 6.00; 0.00 v0; id_already_failed",
    );
    transact(
        "transaction 9 [1->2 5, 2->3 6 code=0]; transaction 9 [1->2 5, 2->3 5]",
        "leg 1 code_must_not_be_zero; created",
    );
    transact(
        "transaction 9 [1->2 5, 2->3 5]; transaction 9 [1->2 5, 2->3 5]; transaction 9 [1->2 5]",
        "created; exists; differs in flags",
    );
    transact("transaction 0 [1->2 5]", "id_must_not_be_zero");
    transact("transaction max [1->2 5]", "id_must_not_be_int_max");
}

#[test]
fn a_chain_that_uses_an_id_twice_says_in_what_it_differs() {
    check(
        "account 1; account 2; batch [9 1->2 5 linked, 9 1->2 6 linked, 8 1->2 1]; transfer 9 1->2 7",
        "created; created; ok 0, 0 linked_event_failed, 1 exists_with_different_amount, 2 linked_event_failed; created",
    );
}

#[test]
fn an_account_opens_with_its_balance_once() {
    check(
        "open 1 500; balance 1; open 1 500.00; open 1 400; open 1 0; balance 1",
        "created; 500.00 v1; exists; exists_with_different_balance; exists_with_different_balance; 500.00 v1",
    );
    check(
        "open 1 0; open 1 0; open 1 5; account 2 flags=D<C; open 2 0; open 2 5",
        "created; exists; exists_with_different_balance; created; exists; exists_with_different_balance",
    );
    check("account 1; open 1 5", "created; exists_with_different_flags");
    check("open 1 max; open 2 0.01; account 2", "created; overflows_debits_posted; created");
}

#[test]
fn a_ledger_is_opened_once() {
    check(
        "ledger 3 EUR 2; ledger 3 EUR 2; ledger 3 USD 2; ledger 3 EUR 3; ledger 0 EUR 2",
        "created; exists; exists_with_different_currency; exists_with_different_scale; id_must_not_be_zero",
    );
}

#[test]
fn an_amount_with_more_digits_than_its_ledger_refuses_the_whole_command() {
    check(
        "account 1; account 2; batch [9 1->2 5, 8 1->2 0.001]; transfer 9 1->2 5; account 3 overdraft=0.001",
        "created; created; the amount of event 1 has more digits after the point than its ledger; created; \
         the overdraft_limit of event 0 has more digits after the point than its ledger",
    );
}
