//! Every status that a batch can be told, reached by name through JSON, and its place in the order of precedence.
//!
//! A table lists faults in that order. Each of them alone gets its status. Two at once, a fault and the next one in the table that does not ask
//! for another value of the same field, get the first one's.

use std::collections::BTreeSet;

use florin_engine::{Rejection, RejectionNumberError};
use serde_json::Map;

use super::*;

/// A change of an event that is fine without it, and the status that it gets.
struct Fault {
    status: &'static str,
    /// Fields of the event, as JSON.
    changes: &'static str,
    /// The event before it in its batch; none where this is empty.
    first: &'static str,
}

const fn fault(status: &'static str, changes: &'static str) -> Fault {
    Fault { status, changes, first: "" }
}

const fn after(first: &'static str, status: &'static str, changes: &'static str) -> Fault {
    Fault { status, changes, first }
}

/// Faults of one kind of event, in the order of precedence.
struct Table {
    name: &'static str,
    path: &'static str,
    /// What is there before: requests that are accepted whole.
    given: &'static [(&'static str, &'static str)],
    /// The event without a fault.
    event: &'static str,
    faults: &'static [Fault],
}

const ACCOUNTS: &str = "/v1/accounts/batch";
const TRANSFERS: &str = "/v1/transfers/batch";
const MAX: &str = r#"{"id":"ffffffff-ffff-ffff-ffff-ffffffffffff"}"#;
/// Refused, so that the event after it is the only one that could happen.
const REFUSED: &str = r#"{"id":0,"debit_account_id":1,"credit_account_id":2,"amount":1}"#;
const LINKED: &str =
    r#"{"id":0,"debit_account_id":1,"credit_account_id":2,"amount":1,"flags":["linked"]}"#;
const IMPORTED: &str = r#"{"id":0,"debit_account_id":1,"credit_account_id":2,"amount":1,"flags":["imported"],"timestamp":"2020-01-01T00:00:20Z"}"#;
const NEVER: &str = r#"{"conditions":[{"account_id":1,"version":{"lt":0}}]}"#;
const LEDGER_2: (&str, &str) = ("/v1/ledgers", r#"{"id":2,"currency":"EUR","scale":2}"#);

const TABLES: &[Table] = &[
    Table {
        name: "accounts",
        path: ACCOUNTS,
        given: &[],
        event: "{}",
        faults: &[
            fault("linked_event_chain_open", r#"{"flags":["linked"]}"#),
            after(r#"{"id":0,"flags":["linked"]}"#, "linked_event_failed", "{}"),
            after(
                r#"{"id":0}"#,
                "imported_event_not_expected",
                r#"{"flags":["imported"],"timestamp":"2020-01-01T00:00:00Z"}"#,
            ),
            fault("timestamp_must_be_zero", r#"{"timestamp":"2020-01-01T00:00:00Z"}"#),
            fault("id_must_not_be_zero", r#"{"id":0}"#),
            fault("id_must_not_be_int_max", MAX),
            fault(
                "flags_are_mutually_exclusive",
                r#"{"flags":["debits_must_not_exceed_credits","credits_must_not_exceed_debits"]}"#,
            ),
            fault("ledger_must_not_be_zero", r#"{"ledger":0}"#),
            fault("ledger_not_found", r#"{"ledger":9}"#),
            fault("code_must_not_be_zero", r#"{"code":0}"#),
            fault("overdraft_limit_must_be_zero", r#"{"overdraft_limit":"1.00"}"#),
        ],
    },
    Table {
        name: "accounts that exist",
        path: ACCOUNTS,
        given: &[
            LEDGER_2,
            (
                ACCOUNTS,
                r#"[{"id":500,"flags":["debits_must_not_exceed_credits"],"user_data_128":1,"user_data_64":2,"user_data_32":3,
                    "overdraft_limit":"5.00","metadata":{"a":1}}]"#,
            ),
        ],
        event: r#"{"id":500,"flags":["debits_must_not_exceed_credits"],"user_data_128":1,"user_data_64":2,"user_data_32":3,
            "overdraft_limit":"5.00","metadata":{"a":1}}"#,
        faults: &[
            fault("exists_with_different_flags", r#"{"flags":[]}"#),
            fault("exists_with_different_user_data_128", r#"{"user_data_128":9}"#),
            fault("exists_with_different_user_data_64", r#"{"user_data_64":9}"#),
            fault("exists_with_different_user_data_32", r#"{"user_data_32":9}"#),
            fault("exists_with_different_ledger", r#"{"ledger":2}"#),
            fault("exists_with_different_code", r#"{"code":9}"#),
            fault("exists_with_different_overdraft_limit", r#"{"overdraft_limit":"9.00"}"#),
            fault("exists_with_different_metadata", r#"{"metadata":{"a":2}}"#),
        ],
    },
    Table {
        name: "imported accounts",
        path: ACCOUNTS,
        given: &[(
            ACCOUNTS,
            r#"[{"id":1,"flags":["imported"],"timestamp":"2020-01-01T00:00:10Z"}]"#,
        )],
        event: r#"{"flags":["imported"],"timestamp":"2020-01-01T00:00:20Z"}"#,
        faults: &[
            after(
                r#"{"id":0,"flags":["imported"],"timestamp":"2020-01-01T00:00:00Z"}"#,
                "imported_event_expected",
                r#"{"flags":[],"timestamp":null}"#,
            ),
            fault(
                "imported_event_timestamp_out_of_range",
                r#"{"timestamp":"1970-01-01T00:00:00Z"}"#,
            ),
            fault(
                "imported_event_timestamp_must_not_advance",
                r#"{"timestamp":"2200-01-01T00:00:00Z"}"#,
            ),
            fault("id_must_not_be_zero", r#"{"id":0}"#),
            fault("code_must_not_be_zero", r#"{"code":0}"#),
            fault(
                "imported_event_timestamp_must_not_regress",
                r#"{"timestamp":"2020-01-01T00:00:09Z"}"#,
            ),
            fault("overdraft_limit_must_be_zero", r#"{"overdraft_limit":"1.00"}"#),
        ],
    },
    Table {
        name: "transfers",
        path: TRANSFERS,
        given: &[
            LEDGER_2,
            (
                ACCOUNTS,
                r#"[{"id":1},{"id":2},{"id":3,"flags":["debits_must_not_exceed_credits"]},{"id":4,"flags":["credits_must_not_exceed_debits"]},
                    {"id":5,"flags":["closed"]},{"id":6,"flags":["closed"]},{"id":20,"ledger":2},
                    {"id":30},{"id":31},{"id":32},{"id":33},{"id":38},{"id":39}]"#,
            ),
            (
                TRANSFERS,
                r#"[{"id":501,"debit_account_id":30,"credit_account_id":39,"amount":"0.01","flags":["pending"]},
                    {"id":502,"debit_account_id":39,"credit_account_id":31,"amount":"0.01","flags":["pending"]},
                    {"id":503,"debit_account_id":32,"credit_account_id":39,"amount":"0.01"},
                    {"id":504,"debit_account_id":39,"credit_account_id":33,"amount":"0.01"}]"#,
            ),
            (
                "/v1/transactions",
                r#"{"id":505,"transfers":[{"debit_account_id":38,"credit_account_id":39,"amount":1}]}"#,
            ),
        ],
        event: r#"{"debit_account_id":1,"credit_account_id":2,"amount":1}"#,
        faults: &[
            fault("linked_event_chain_open", r#"{"flags":["linked"]}"#),
            after(LINKED, "linked_event_failed", "{}"),
            after(
                REFUSED,
                "imported_event_not_expected",
                r#"{"flags":["imported"],"timestamp":"2020-01-01T00:00:00Z"}"#,
            ),
            fault("timestamp_must_be_zero", r#"{"timestamp":"2020-01-01T00:00:00Z"}"#),
            fault("id_must_not_be_zero", r#"{"id":0}"#),
            fault("id_must_not_be_int_max", MAX),
            // Which of the next two an id gets is decided by what it was used for.
            fault("id_already_failed", r#"{"id":506}"#),
            fault("exists_with_different_kind", r#"{"id":505}"#),
            fault("debit_account_id_must_not_be_zero", r#"{"debit_account_id":0}"#),
            fault(
                "debit_account_id_must_not_be_int_max",
                r#"{"debit_account_id":"ffffffff-ffff-ffff-ffff-ffffffffffff"}"#,
            ),
            fault("credit_account_id_must_not_be_zero", r#"{"credit_account_id":0}"#),
            fault(
                "credit_account_id_must_not_be_int_max",
                r#"{"credit_account_id":"ffffffff-ffff-ffff-ffff-ffffffffffff"}"#,
            ),
            fault("accounts_must_be_different", r#"{"debit_account_id":2}"#),
            fault("pending_id_must_be_zero", r#"{"pending_id":7}"#),
            fault("timeout_reserved_for_pending_transfer", r#"{"timeout":1}"#),
            fault("closing_transfer_must_be_pending", r#"{"flags":["closing_debit"]}"#),
            fault("ledger_must_not_be_zero", r#"{"ledger":0}"#),
            fault("ledger_not_found", r#"{"ledger":9}"#),
            fault("code_must_not_be_zero", r#"{"code":0}"#),
            fault("debit_account_not_found", r#"{"debit_account_id":77}"#),
            fault("credit_account_not_found", r#"{"credit_account_id":78}"#),
            fault("accounts_must_have_the_same_ledger", r#"{"credit_account_id":20}"#),
            fault("transfer_must_have_the_same_ledger_as_accounts", r#"{"ledger":2}"#),
            fault("debit_account_already_closed", r#"{"debit_account_id":5}"#),
            fault("credit_account_already_closed", r#"{"credit_account_id":6}"#),
            fault(
                "overflows_debits_pending",
                r#"{"debit_account_id":30,"amount":"max","flags":["pending"]}"#,
            ),
            fault(
                "overflows_credits_pending",
                r#"{"credit_account_id":31,"amount":"max","flags":["pending"]}"#,
            ),
            fault("overflows_debits_posted", r#"{"debit_account_id":32,"amount":"max"}"#),
            fault("overflows_credits_posted", r#"{"credit_account_id":33,"amount":"max"}"#),
            fault("overflows_debits", r#"{"debit_account_id":30,"amount":"max"}"#),
            fault("overflows_credits", r#"{"credit_account_id":31,"amount":"max"}"#),
            fault("exceeds_credits", r#"{"debit_account_id":3}"#),
            fault("exceeds_debits", r#"{"credit_account_id":4}"#),
            fault(
                "condition_account_not_found",
                r#"{"conditions":[{"account_id":77,"version":{"eq":0}}]}"#,
            ),
            fault("condition_failed", NEVER),
        ],
    },
    Table {
        name: "transfers that exist",
        path: TRANSFERS,
        given: &[
            LEDGER_2,
            (ACCOUNTS, r#"[{"id":1},{"id":2}]"#),
            (
                TRANSFERS,
                r#"[{"id":500,"debit_account_id":1,"credit_account_id":2,"amount":1,"flags":["pending"],"timeout":1000,"user_data_128":1,
                    "user_data_64":2,"user_data_32":3,"effective_at":"2020-01-01T00:00:00Z","metadata":{"a":1}}]"#,
            ),
        ],
        event: r#"{"id":500,"debit_account_id":1,"credit_account_id":2,"amount":1,"flags":["pending"],"timeout":1000,"user_data_128":1,
            "user_data_64":2,"user_data_32":3,"effective_at":"2020-01-01T00:00:00Z","metadata":{"a":1}}"#,
        faults: &[
            fault("exists_with_different_flags", r#"{"flags":["pending","closing_debit"]}"#),
            fault("exists_with_different_pending_id", r#"{"pending_id":7}"#),
            fault("exists_with_different_timeout", r#"{"timeout":9}"#),
            fault("exists_with_different_debit_account_id", r#"{"debit_account_id":9}"#),
            fault("exists_with_different_credit_account_id", r#"{"credit_account_id":9}"#),
            fault("exists_with_different_amount", r#"{"amount":9}"#),
            fault("exists_with_different_user_data_128", r#"{"user_data_128":9}"#),
            fault("exists_with_different_user_data_64", r#"{"user_data_64":9}"#),
            fault("exists_with_different_user_data_32", r#"{"user_data_32":9}"#),
            fault("exists_with_different_ledger", r#"{"ledger":2}"#),
            fault("exists_with_different_code", r#"{"code":9}"#),
            fault("exists_with_different_effective_at", r#"{"effective_at":null}"#),
            fault("exists_with_different_metadata", r#"{"metadata":{"a":2}}"#),
        ],
    },
    Table {
        name: "transfers with the id of a reversal",
        path: TRANSFERS,
        given: &[
            (ACCOUNTS, r#"[{"id":1},{"id":2}]"#),
            (TRANSFERS, r#"[{"id":500,"debit_account_id":1,"credit_account_id":2,"amount":1}]"#),
            ("/v1/transfers/500/reverse", r#"{"id":501}"#),
        ],
        event: r#"{"id":501,"debit_account_id":2,"credit_account_id":1,"amount":1,"ledger":1}"#,
        faults: &[
            fault("exists_with_different_amount", r#"{"amount":9}"#),
            fault("exists_with_different_metadata", r#"{"metadata":{"a":2}}"#),
            fault("exists_with_different_reversal", "{}"),
        ],
    },
    Table {
        name: "posts and voids",
        path: TRANSFERS,
        given: &[
            LEDGER_2,
            (ACCOUNTS, r#"[{"id":1},{"id":2},{"id":40},{"id":41}]"#),
            (
                TRANSFERS,
                r#"[{"id":600,"debit_account_id":1,"credit_account_id":2,"amount":5,"code":7,"flags":["pending"]},
                    {"id":601,"debit_account_id":1,"credit_account_id":2,"amount":5,"code":7},
                    {"id":602,"debit_account_id":1,"credit_account_id":2,"amount":5,"code":7,"flags":["pending"]},
                    {"id":603,"debit_account_id":1,"credit_account_id":2,"amount":5,"code":7,"flags":["pending"]},
                    {"id":604,"debit_account_id":1,"credit_account_id":2,"amount":5,"code":7,"flags":["pending"],"timeout":1},
                    {"id":605,"debit_account_id":40,"credit_account_id":2,"amount":5,"code":7,"flags":["pending"]},
                    {"id":606,"debit_account_id":1,"credit_account_id":41,"amount":5,"code":7,"flags":["pending"]},
                    {"id":612,"pending_id":602,"flags":["post_pending_transfer"]},
                    {"id":613,"pending_id":603,"flags":["void_pending_transfer"]},
                    {"id":615,"debit_account_id":40,"credit_account_id":2,"amount":0,"flags":["pending","closing_debit"]},
                    {"id":616,"debit_account_id":1,"credit_account_id":41,"amount":0,"flags":["pending","closing_credit"]}]"#,
            ),
        ],
        event: r#"{"pending_id":600,"flags":["post_pending_transfer"]}"#,
        faults: &[
            fault(
                "flags_are_mutually_exclusive",
                r#"{"flags":["post_pending_transfer","void_pending_transfer"]}"#,
            ),
            fault(
                "pending_id_must_not_be_zero",
                r#"{"pending_id":0,"debit_account_id":1,"credit_account_id":2,"amount":5}"#,
            ),
            fault(
                "pending_id_must_not_be_int_max",
                r#"{"pending_id":"ffffffff-ffff-ffff-ffff-ffffffffffff"}"#,
            ),
            fault("pending_id_must_be_different", r#"{"id":650,"pending_id":650}"#),
            fault("timeout_reserved_for_pending_transfer", r#"{"timeout":1}"#),
            // Which of the next two a pending_id gets is decided by what it names.
            fault("pending_transfer_not_found", r#"{"pending_id":699}"#),
            fault("pending_transfer_not_pending", r#"{"pending_id":601}"#),
            fault("pending_transfer_has_different_debit_account_id", r#"{"debit_account_id":9}"#),
            fault("pending_transfer_has_different_credit_account_id", r#"{"credit_account_id":9}"#),
            fault("pending_transfer_has_different_ledger", r#"{"ledger":2}"#),
            fault("pending_transfer_has_different_code", r#"{"code":9}"#),
            fault("exceeds_pending_transfer_amount", r#"{"amount":6}"#),
            fault(
                "pending_transfer_has_different_amount",
                r#"{"flags":["void_pending_transfer"],"amount":4}"#,
            ),
            // And which of these.
            fault("pending_transfer_already_posted", r#"{"pending_id":602}"#),
            fault("pending_transfer_already_voided", r#"{"pending_id":603}"#),
            fault("pending_transfer_expired", r#"{"pending_id":604}"#),
            fault("debit_account_already_closed", r#"{"pending_id":605}"#),
            fault("credit_account_already_closed", r#"{"pending_id":606}"#),
            fault("condition_failed", NEVER),
        ],
    },
    Table {
        name: "imported transfers",
        path: TRANSFERS,
        given: &[
            LEDGER_2,
            (
                ACCOUNTS,
                r#"[{"id":1,"flags":["imported"],"timestamp":"2020-01-01T00:00:01Z"},
                    {"id":2,"flags":["imported"],"timestamp":"2020-01-01T00:00:02Z"},
                    {"id":3,"flags":["imported","debits_must_not_exceed_credits"],"timestamp":"2020-01-01T00:00:03Z"},
                    {"id":6,"flags":["imported","closed"],"timestamp":"2020-01-01T00:00:06Z"},
                    {"id":7,"flags":["imported"],"timestamp":"2020-01-01T00:00:30Z"},
                    {"id":8,"flags":["imported"],"timestamp":"2020-01-01T00:00:31Z"}]"#,
            ),
            (
                TRANSFERS,
                r#"[{"id":500,"debit_account_id":1,"credit_account_id":2,"amount":1,"flags":["imported"],"timestamp":"2020-01-01T00:00:10Z"}]"#,
            ),
        ],
        event: r#"{"debit_account_id":1,"credit_account_id":2,"amount":1,"flags":["imported"],"timestamp":"2020-01-01T00:00:20Z"}"#,
        faults: &[
            after(IMPORTED, "imported_event_expected", r#"{"flags":[],"timestamp":null}"#),
            fault(
                "imported_event_timestamp_out_of_range",
                r#"{"timestamp":"1970-01-01T00:00:00Z"}"#,
            ),
            fault(
                "imported_event_timestamp_must_not_advance",
                r#"{"timestamp":"2200-01-01T00:00:00Z"}"#,
            ),
            fault("id_must_not_be_zero", r#"{"id":0}"#),
            fault("transfer_must_have_the_same_ledger_as_accounts", r#"{"ledger":2}"#),
            fault(
                "imported_event_timestamp_must_not_regress",
                r#"{"timestamp":"2020-01-01T00:00:09Z"}"#,
            ),
            fault(
                "imported_event_timestamp_must_postdate_debit_account",
                r#"{"debit_account_id":7}"#,
            ),
            fault(
                "imported_event_timestamp_must_postdate_credit_account",
                r#"{"credit_account_id":8}"#,
            ),
            fault(
                "imported_event_timeout_must_be_zero",
                r#"{"flags":["imported","pending"],"timeout":1}"#,
            ),
            fault("debit_account_already_closed", r#"{"debit_account_id":6}"#),
            fault("exceeds_credits", r#"{"debit_account_id":3}"#),
        ],
    },
];

/// Through which batches a status can be reached, or why through none.
enum Reach {
    Accounts,
    Transfers,
    Both,
    No(&'static str),
}

fn reach(rejection: Rejection) -> Reach {
    use Reach::{Accounts, Both, No, Transfers};
    match rejection {
        Rejection::LinkedEventFailed
        | Rejection::LinkedEventChainOpen
        | Rejection::ImportedEventExpected
        | Rejection::ImportedEventNotExpected
        | Rejection::TimestampMustBeZero
        | Rejection::ImportedEventTimestampOutOfRange
        | Rejection::ImportedEventTimestampMustNotAdvance
        | Rejection::ImportedEventTimestampMustNotRegress
        | Rejection::IdMustNotBeZero
        | Rejection::IdMustNotBeIntMax
        | Rejection::ExistsWithDifferentFlags
        | Rejection::ExistsWithDifferentUserData128
        | Rejection::ExistsWithDifferentUserData64
        | Rejection::ExistsWithDifferentUserData32
        | Rejection::ExistsWithDifferentLedger
        | Rejection::ExistsWithDifferentCode
        | Rejection::ExistsWithDifferentMetadata
        | Rejection::FlagsAreMutuallyExclusive
        | Rejection::LedgerMustNotBeZero
        | Rejection::LedgerNotFound { .. }
        | Rejection::CodeMustNotBeZero => Both,
        Rejection::ExistsWithDifferentOverdraftLimit | Rejection::OverdraftLimitMustBeZero => {
            Accounts
        }
        Rejection::ExistsWithDifferentKind
        | Rejection::ExistsWithDifferentPendingId
        | Rejection::ExistsWithDifferentTimeout
        | Rejection::ExistsWithDifferentDebitAccountId
        | Rejection::ExistsWithDifferentCreditAccountId
        | Rejection::ExistsWithDifferentAmount
        | Rejection::ExistsWithDifferentEffectiveAt
        | Rejection::ExistsWithDifferentReversal
        | Rejection::IdAlreadyFailed
        | Rejection::DebitAccountIdMustNotBeZero
        | Rejection::DebitAccountIdMustNotBeIntMax
        | Rejection::CreditAccountIdMustNotBeZero
        | Rejection::CreditAccountIdMustNotBeIntMax
        | Rejection::AccountsMustBeDifferent
        | Rejection::PendingIdMustBeZero
        | Rejection::TimeoutReservedForPendingTransfer
        | Rejection::ClosingTransferMustBePending
        | Rejection::DebitAccountNotFound
        | Rejection::CreditAccountNotFound
        | Rejection::AccountsMustHaveTheSameLedger
        | Rejection::TransferMustHaveTheSameLedgerAsAccounts
        | Rejection::DebitAccountAlreadyClosed
        | Rejection::CreditAccountAlreadyClosed
        | Rejection::OverflowsDebitsPending
        | Rejection::OverflowsCreditsPending
        | Rejection::OverflowsDebitsPosted
        | Rejection::OverflowsCreditsPosted
        | Rejection::OverflowsDebits
        | Rejection::OverflowsCredits
        | Rejection::ExceedsCredits { .. }
        | Rejection::ExceedsDebits { .. }
        | Rejection::PendingIdMustNotBeZero
        | Rejection::PendingIdMustNotBeIntMax
        | Rejection::PendingIdMustBeDifferent
        | Rejection::PendingTransferNotFound
        | Rejection::PendingTransferNotPending
        | Rejection::PendingTransferHasDifferentDebitAccountId
        | Rejection::PendingTransferHasDifferentCreditAccountId
        | Rejection::PendingTransferHasDifferentLedger
        | Rejection::PendingTransferHasDifferentCode
        | Rejection::ExceedsPendingTransferAmount { .. }
        | Rejection::PendingTransferHasDifferentAmount { .. }
        | Rejection::PendingTransferAlreadyPosted
        | Rejection::PendingTransferAlreadyVoided
        | Rejection::PendingTransferExpired
        | Rejection::ImportedEventTimestampMustPostdateDebitAccount
        | Rejection::ImportedEventTimestampMustPostdateCreditAccount
        | Rejection::ImportedEventTimeoutMustBeZero
        | Rejection::ConditionFailed { .. }
        | Rejection::ConditionAccountNotFound { .. } => Transfers,
        Rejection::OverflowsTimeout => No(
            "the largest timeout ends before 2^63 nanoseconds until the year 2126, and what is imported has none",
        ),
        Rejection::ExistsWithDifferentTransfers => No("of transactions"),
        Rejection::ExistsWithDifferentBalance => No("of the short form of an account"),
        Rejection::ExistsWithDifferentCurrency
        | Rejection::ExistsWithDifferentScale
        | Rejection::ExistsWithDifferentName => No("of ledgers"),
        Rejection::AccountToChangeNotFound => No("of what changes an account"),
        Rejection::ReversedTransferNotFound
        | Rejection::TransferNotReversible
        | Rejection::AlreadyReversed => No("of reversals, which have routes of their own"),
    }
}

/// Every status of the engine.
fn every_rejection() -> impl Iterator<Item = Rejection> {
    let all = (1..=u16::MAX).map_while(|number| {
        Rejection::from_number(number, || Ok::<_, RejectionNumberError>(1)).ok()
    });
    assert_eq!(all.clone().count(), Rejection::CATALOGUE.len(), "numbers without a gap");
    all
}

#[test]
fn the_tables_name_every_status_that_can_be_reached() {
    let named = |path: &str| -> BTreeSet<&str> {
        let tables = TABLES.iter().filter(|table| table.path == path);
        tables.flat_map(|table| table.faults).map(|fault| fault.status).collect()
    };
    let (mut accounts, mut transfers) = (BTreeSet::new(), BTreeSet::new());
    for rejection in every_rejection() {
        let code = rejection.code();
        match reach(rejection) {
            Reach::Accounts => assert!(accounts.insert(code)),
            Reach::Transfers => assert!(transfers.insert(code)),
            Reach::Both => assert!(accounts.insert(code) && transfers.insert(code)),
            Reach::No(reason) => assert!(!reason.is_empty()),
        }
    }
    assert_eq!(named(ACCOUNTS), accounts);
    assert_eq!(named(TRANSFERS), transfers);
}

type Fields = Map<String, Value>;

fn fields(json: &str) -> Fields {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

/// Both changes at once, unless they ask for two values of one field; flags come together.
fn both(one: &Fields, other: &Fields) -> Option<Fields> {
    let mut all = one.clone();
    for (name, value) in other {
        let merged = match (all.get(name), value) {
            (None, _) => value.clone(),
            (Some(there), _) if there == value => value.clone(),
            (Some(Value::Array(there)), Value::Array(flags)) if name == "flags" => {
                let there = there.iter().filter(|flag| !flags.contains(flag));
                there.chain(flags).cloned().collect()
            }
            _ => return None,
        };
        all.insert(name.clone(), merged);
    }
    Some(all)
}

/// The status of the last event of a batch.
async fn status_of<S, R>(
    app: &S,
    request: impl Fn(&str, &str) -> R,
    path: &str,
    events: Vec<Value>,
) -> String
where
    S: Service<R, Response = ServiceResponse, Error = Error>,
{
    let count = events.len();
    let body = Value::from(events).to_string();
    let told = ask(app, request(&format!("{path}?results=all"), &body)).await;
    assert_eq!(told.status, 200, "{body}: {}", told.text);
    let told = told.json();
    let last = &told["results"][count - 1];
    last["status"].as_str().unwrap_or_else(|| panic!("{body}: {told}")).to_owned()
}

#[actix_web::test]
async fn every_status_is_reached_and_stands_in_its_place() {
    for table in TABLES {
        serve!(bank, app);
        let Table { name, path, given, event, faults } = table;
        for (path, body) in *given {
            let told = ask(&app, post(path, body).to_request()).await;
            assert!(matches!(told.status, 200 | 201), "{name}: {path}: {}", told.text);
            let refused = told.json()["rejected"].as_array().map_or(0, Vec::len);
            assert_eq!(refused, 0, "{name}: {}", told.text);
        }
        // What takes more: an id that a refusal used up, and a pending transfer whose time is over.
        let refused = r#"{"id":506,"debit_account_id":77,"credit_account_id":2,"amount":1}"#;
        let told = ask(&app, post("/v1/transfers", refused).to_request()).await;
        assert_eq!(told.summary(), "422 debit_account_not_found", "{name}");
        if given.iter().any(|(_, body)| body.contains("\"timeout\":1}")) {
            while ask(&app, get("/v1/transfers/604").to_request()).await.json()["status"]
                != "expired"
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let request = |path: &str, body: &str| post(path, body).to_request();
        let mut fresh = 10_000;
        let mut events = |first: &str, changes: &Fields| -> Vec<Value> {
            fresh += 1;
            let mut one = fields(event);
            one.entry("id").or_insert(json!(fresh));
            one.extend(changes.clone());
            let first = (!first.is_empty()).then(|| Value::from(fields(first)));
            first.into_iter().chain([Value::from(one)]).collect()
        };
        let mut compared = 0;
        for (at, fault) in faults.iter().enumerate() {
            let changes = fields(fault.changes);
            let batch = events(fault.first, &changes);
            let shown = format!("{name}: {batch:?}");
            assert_eq!(status_of(&app, request, path, batch).await, fault.status, "{shown}");
            let next = faults[at + 1..].iter().find_map(|later| {
                let first = match (fault.first, later.first) {
                    (first, "") => first,
                    ("", first) => first,
                    (one, other) if one == other => one,
                    _ => return None,
                };
                Some((later.status, first, both(&changes, &fields(later.changes))?))
            });
            if let Some((later, first, changes)) = next {
                let batch = events(first, &changes);
                let shown = format!("{name}: {later} too: {batch:?}");
                assert_eq!(status_of(&app, request, path, batch).await, fault.status, "{shown}");
                compared += 1;
            }
        }
        assert!(compared + 4 >= faults.len(), "{name}: only {compared} of {}", faults.len());
        bank.florin.stop().await;
    }
}
