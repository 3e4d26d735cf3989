//! Reversals, whole transactions, conditions, changes of accounts, and rehearsals.

use crate::script::{TestBank, check};

const BOOK: &str = "account 1; account 2 flags=D<C; account 3; ";
const BOOKED: &str = "created; created; created; ";

fn on_book(script: &str, expected: &str) {
    check(&format!("{BOOK}{script}"), &format!("{BOOKED}{expected}"));
}

#[test]
fn a_transfer_is_reversed_once() {
    for forget in ["forget -", "now 0"] {
        let done = forget.split(' ').nth(1).unwrap();
        let reverse = |script: &str, expected: &str| {
            on_book(
                &format!("transfer 9 1->2 5 ud128=1 code=7; {forget}; {script}"),
                &format!("created; {done}; {expected}"),
            );
        };
        reverse(
            "reverse 8 9; amounts 1; amounts 2; reverse 7 9; reverse 8 9; amounts 2",
            "created; 5.00+0.00 5.00+0.00; 5.00+0.00 5.00+0.00; already_reversed; exists; 5.00+0.00 5.00+0.00",
        );
        reverse("reverse 8 9 ud128=3; reverse 8 9", "created; differs in user_data_128");
        // A reversal is a transfer like others, and can be reversed itself.
        reverse(
            "reverse 8 9; reverse 7 8; amounts 2; reverse 6 7",
            "created; created; 5.00+0.00 10.00+0.00; created",
        );
        reverse(
            "reverse 8 9; forget -; reverse 7 9; reverse 8 9",
            "created; -; already_reversed; exists",
        );
        // Under its id stands something else.
        reverse("reverse 0 9; reverse max 9", "id_must_not_be_zero; id_must_not_be_int_max");
        reverse(
            "transfer 8 2->1 5 ud128=1 code=7 ledger=1; reverse 8 9 ud128=1",
            "created; differs in reversal",
        );
        reverse(
            "transfer 6 1->2 5 code=7; reverse 8 6; reverse 8 9",
            "created; created; differs in reversal",
        );
        reverse("reverse 8 9; transfer 8 2->1 5 code=7", "created; differs in reversal");
        // What is not the transfer that was decided is not found; that burns the id.
        reverse(
            "reverse 8 77; transfer 8 1->2 1",
            "reversed_transfer_not_found; id_already_failed",
        );
        reverse(
            "reverse 8 9 amount=501; amounts 2",
            "reversed_transfer_not_found; 0.00+0.00 5.00+0.00",
        );
        // The money may be gone; a later try needs a new id.
        reverse(
            "transfer 6 2->3 1; reverse 8 9; transfer 5 3->2 1; reverse 8 9; reverse 7 9",
            "created; exceeds_credits 4.00 < 5.00; created; id_already_failed; created",
        );
    }
    on_book(
        "transfer 9 1->2 5 pending; reverse 8 9; transfer 7 0->0 2 post=9; reverse 8 9; reverse 8 7; amounts 1; reverse 5 7",
        "created; transfer_not_reversible; created; transfer_not_reversible; created; 2.00+0.00 2.00+0.00; already_reversed",
    );
    on_book(
        "transfer 9 1->2 5 pending; transfer 7 0->0 0 void=9; reverse 8 7; reverse 8 9; transfer 6 0->0 max post=7",
        "created; created; transfer_not_reversible; transfer_not_reversible; pending_transfer_not_pending",
    );
    // What was reversed was not pending.
    on_book(
        "transfer 9 1->2 5; reverse 8 9; forget -; transfer 7 0->0 max post=9",
        "created; created; -; pending_transfer_not_pending",
    );
    on_book(
        "transfer 9 1->2 max balancing_credit; transfer 8 2->1 0; reverse 7 9; amounts 1",
        "created; created; created; 0.00+0.00 0.00+0.00",
    );
}

#[test]
fn a_whole_transaction_is_posted_voided_and_reversed() {
    for forget in ["forget -", "now 0"] {
        let done = forget.split(' ').nth(1).unwrap();
        let settle = |script: &str, expected: &str| {
            on_book(
                &format!(
                    "transaction 9 [1->2 5 pending, 1->3 3 pending, 1->3 1]; {forget}; {script}"
                ),
                &format!("created; {done}; {expected}"),
            );
        };
        settle(
            "post-transaction 8 9; amounts 1; amounts 3; post-transaction 8 9; post-transaction 7 9; void-transaction 6 9",
            "created; 9.00+0.00 0.00+0.00; 0.00+0.00 4.00+0.00; exists; leg 0 pending_transfer_already_posted; \
             leg 0 pending_transfer_already_posted",
        );
        settle(
            "void-transaction 8 9; amounts 1; void-transaction 8 9; post-transaction 7 9",
            "created; 1.00+0.00 0.00+0.00; exists; leg 0 pending_transfer_already_voided",
        );
        settle(
            "reverse-transaction 8 9; amounts 1",
            "leg 1 transfer_not_reversible; 1.00+8.00 0.00+0.00",
        );
        settle(
            "post-transaction 8 9; reverse-transaction 7 8; amounts 1; amounts 2; reverse-transaction 7 8; reverse-transaction 6 8",
            "created; created; 9.00+0.00 8.00+0.00; 5.00+0.00 5.00+0.00; exists; leg 0 already_reversed",
        );
    }
    // The last leg first: 2 has only what it got.
    on_book(
        "transaction 9 [1->2 5, 2->3 5]; reverse-transaction 8 9; amounts 2; post-transaction 7 9",
        "created; created; 10.00+0.00 10.00+0.00; leg 0 pending_transfer_not_pending",
    );
    // One leg was reversed by itself; all or none.
    on_book(
        "transaction 9 [1->2 5, 1->3 5]; reverse-transaction 8 77; reverse-transaction 8 9; amounts 2",
        "created; reversed_transfer_not_found; id_already_failed; 0.00+0.00 5.00+0.00",
    );
    on_book(
        "transaction 9 [1->2 5]; transfer 8 2->3 5; reverse-transaction 7 9; transfer 6 3->2 5; reverse-transaction 7 9; \
         reverse-transaction 5 9",
        "created; created; leg 0 exceeds_credits 0.00 < 5.00; created; id_already_failed; created",
    );
}

#[test]
fn conditions_are_decided_with_what_they_are_for() {
    let found = |condition: &str, expected: &str| {
        // 2 has 5.00, of which 1.00 is pending, and an overdraft of 3.00; 1 has -5.00.
        on_book(
            &format!(
                "limit 2 3; transfer 9 1->2 5; transfer 8 2->3 1 pending; transfer 7 1->3 1 {condition}"
            ),
            &format!("created; created; created; {expected}"),
        );
    };
    for (comparison, below, same, above) in [
        ("eq", false, true, false),
        ("gt", true, false, false),
        ("gte", true, true, false),
        ("lt", false, false, true),
        ("lte", false, true, true),
    ] {
        let check = |what: &str, shown: &str, values: [&str; 3]| {
            for (value, holds) in values.into_iter().zip([below, same, above]) {
                let failed = format!("condition_failed 0 found {shown}");
                let expected = if holds { "created" } else { &failed };
                found(&format!("if={what}:{comparison}:{value}"), expected);
            }
        };
        check("2:version", "3", ["2", "3", "4"]);
        check("2:balance", "5.00", ["4.99", "5", "5.01"]);
        check("2:available", "7.00", ["6.99", "7", "7.01"]);
        check("1:balance", "-5.00", ["-5.01", "-5.00", "-4.99"]);
        check("3:version", "1", ["0", "1", "2"]);
    }
    found("if=2:version:eq:3 if=1:balance:lt:0 if=2:balance:gt:5", "condition_failed 2 found 5.00");
    found("if=2:version:eq:3 if=9:version:eq:0", "condition_account_not_found");
    found(
        "if=2:balance:eq:5.001",
        "the conditions of event 0 has more digits after the point than its ledger",
    );
    // After everything else, and passing: it burns the id; what happened is no more asked for.
    found("if=2:version:eq:9 code=0", "code_must_not_be_zero");
    on_book(
        "transfer 9 2->1 1 if=1:version:eq:9; transfer 8 1->2 1 if=1:version:eq:9; transfer 8 1->2 1; transfer 7 1->2 1 if=1:version:eq:0; \
         transfer 7 1->2 1 if=1:version:eq:0; transfer 7 1->2 1",
        "exceeds_credits 0.00 < 1.00; condition_failed 0 found 0; id_already_failed; created; exists; exists",
    );
    // A batch is decided in order: balances as those before left them, versions as the command found them.
    on_book(
        "batch [9 1->2 1 if=2:version:eq:0, 8 1->2 1 if=2:version:eq:0 if=2:balance:eq:1, 7 1->2 1 linked, 6 1->2 1 if=2:balance:eq:2]",
        "ok 2, 2 linked_event_failed, 3 condition_failed 0 found 3.00",
    );
    on_book(
        "transaction 9 if=2:balance:eq:1 [1->2 1]; transaction 9 [1->2 1]; transaction 8 if=2:balance:eq:0 [1->2 1, 1->2 1 if=2:balance:eq:1]; \
         transaction 7 if=2:balance:eq:0.001 [1->2 1]; transaction 8 if=2:balance:eq:0 [1->2 1, 1->2 1]",
        "condition_failed 0 found 0.00; id_already_failed; created; \
         the conditions of the transaction has more digits after the point than its ledger; exists",
    );
    on_book(
        "transfer 9 1->2 5; reverse 8 9 if=2:version:eq:2; reverse 7 9 if=2:version:eq:1; transaction 6 [1->2 1]; \
         reverse-transaction 5 6 if=2:version:eq:1; reverse-transaction 4 6 if=2:version:eq:3",
        "created; condition_failed 0 found 1; created; created; condition_failed 0 found 3; created",
    );
    // A post or void too.
    on_book(
        "transfer 9 1->2 5 pending; transfer 8 0->0 0 void=9 if=2:version:eq:7; transfer 7 0->0 max post=9 if=2:version:eq:1",
        "created; condition_failed 0 found 1; created",
    );
}

#[test]
fn an_overdraft_limit_changes() {
    on_book(
        "transfer 9 2->1 5; limit 2 5; transfer 8 2->1 5; limit 2 2; transfer 7 2->1 0.01; transfer 6 1->2 4; transfer 5 2->1 1; \
         transfer 4 2->1 1.01; balance 2",
        "exceeds_credits 0.00 < 5.00; created; created; created; exceeds_credits -3.00 < 0.01; created; created; exceeds_credits 0.00 < 1.01; \
         -2.00 v5",
    );
    on_book(
        "limit 9 5; limit 1 5; limit 1 0; limit 2 0.001; balance 2; balance 1",
        "account_to_change_not_found; overdraft_limit_must_be_zero; created; \
         the overdraft_limit of event 0 has more digits after the point than its ledger; 0.00 v0; 0.00 v1",
    );
    check(
        "account 4 flags=C<D; limit 4 5; account 1; transfer 9 1->4 5.01; transfer 8 1->4 5",
        "created; created; created; exceeds_debits 5.00 < 5.01; created",
    );
}

#[test]
fn metadata_is_replaced() {
    let mut bank = TestBank::default();
    let metadata = |bank: &TestBank| {
        let account = bank.state.accounts().next().unwrap();
        (account.metadata_digest, account.metadata_seq.0, account.version)
    };
    for line in ["account 1 meta=a", "metadata 1 b"] {
        assert_eq!(bank.run(line), "created");
    }
    let (digest, seq, version) = metadata(&bank);
    // The bank opened two ledgers before.
    assert_eq!((seq, version), (4, 1));
    assert_eq!(bank.run("account 1 meta=b"), "exists");
    assert_eq!(bank.run("account 1 meta=a"), "exists_with_different_metadata");
    assert_eq!(bank.run("metadata 9 b"), "account_to_change_not_found");
    assert_eq!(bank.run("dry metadata 1 c"), "created");
    assert_eq!(metadata(&bank), (digest, seq, version));
    assert_eq!(bank.run("metadata 1 -"), "created");
    assert_eq!(metadata(&bank), (0, 0, 2));
    bank.assert_replays();
    // A record that replaces what was not there does not replay.
    let mut other = TestBank::default();
    other.run("account 1 meta=z");
    let error = other.state.replay(florin_engine::JournalSeq(4), &bank.records[3]).unwrap_err();
    assert!(error.to_string().contains("account 1 had other metadata before"), "{error}");
}

#[test]
fn a_rehearsal_says_what_would_happen_and_changes_nothing() {
    // The bank compares all that there is before and after each.
    on_book(
        "dry transfer 9 1->2 5; transfer 9 1->2 5; dry transfer 9 1->2 5; dry transfer 8 2->1 6; transfer 8 2->1 5; \
         dry batch [7 1->2 5 pending linked, 6 2->1 9, 5 1->2 3 pending, 4 0->0 max post=5]; dry account 4; dry accounts [4 flags=linked, 5]; \
         dry ledger 7 EUR 2; dry open 6 5; dry limit 2 5; dry metadata 2 b",
        "created; created; exists; exceeds_credits 5.00 < 6.00; created; \
         ok 2, 0 linked_event_failed, 1 exceeds_credits 0.00 < 9.00; created; ok 2; created; created; created; created",
    );
    on_book(
        "now 1000; transfer 9 1->2 5 pending closing_debit timeout=1; transfer 8 2->3 0 pending; dry transfer 7 0->0 0 void=9; now 2000000000; \
         dry expire 5; next -; dry transaction 6 [0->0 max post=8, 2->3 1]; dry reverse 5 9; expire 5; transfer 4 1->2 1; \
         dry reverse 3 4; reverse 3 4; dry reverse 2 4",
        "1000; created; created; created; 2000000000; expired 9; 1000001000; leg 1 exceeds_credits 0.00 < 1.00; transfer_not_reversible; \
         expired 9; created; created; created; already_reversed",
    );
}
