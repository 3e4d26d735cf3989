//! What random histories found, each in its least form.

use crate::script::check;

#[test]
fn a_broken_chain_leaves_its_ledgers_out_of_the_records_order() {
    // The chain touches ledger 1 and breaks; then ledger 2 is touched before ledger 1, which replay must find in that order.
    check(
        "accounts [1 flags=linked, 2 ledger=9, 1 ledger=2, 2]; balance 2",
        "ok 2, 0 linked_event_failed, 1 ledger_not_found; 0.00 v0",
    );
    check(
        "account 1; account 2; account 3 ledger=2; account 4 ledger=2; \
         batch [9 1->2 5 linked, 8 1->2 5 code=0, 7 3->4 5, 6 1->2 5]; balance 2; balance 4",
        "created; created; created; created; ok 2, 0 linked_event_failed, 1 code_must_not_be_zero; 5.00 v1; 5.00 v1",
    );
}
