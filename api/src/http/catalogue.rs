//! The error catalogue: every code that an answer can carry, what it means and what to do about it.
//!
//! The codes of refusals by the rules come from the engine; the others stand here. `type` in a problem document points to a
//! code's page, which is made from this list, and so is the enum in the OpenAPI document.

use actix_web::http::StatusCode;
use florin_engine::Rejection;
use serde::Serialize;
use utoipa::ToSchema;

/// What a client may do after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Retry {
    /// The same request with the same id (or key): it is decided once, whatever happened to the first one.
    SameId,
    /// This id is used up: a new try needs a new id.
    NewId,
    /// The same request later, after the seconds in `Retry-After` where it is given.
    After,
    /// The same request will be refused again: it has to change first.
    Never,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $status:ident, $code:literal, $retry:ident, $meaning:literal, $advice:literal;)*) => {
        /// The codes of errors that are no refusals by the rules.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// Every code.
            pub(crate) const ALL: &'static [Code] = &[$(Code::$variant),*];

            /// The stable name in answers.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Code::$variant => $code,)* }
            }

            /// The HTTP status that goes with it.
            pub(crate) const fn status(self) -> StatusCode {
                match self { $(Code::$variant => StatusCode::$status,)* }
            }

            /// What the client may do.
            pub(crate) const fn retry(self) -> Retry {
                match self { $(Code::$variant => Retry::$retry,)* }
            }

            /// One sentence that says what is the matter.
            pub(crate) const fn meaning(self) -> &'static str {
                match self { $(Code::$variant => $meaning,)* }
            }

            /// What to do about it.
            pub(crate) const fn advice(self) -> &'static str {
                match self { $(Code::$variant => $advice,)* }
            }
        }
    };
}

codes! {
    /// The body is no JSON.
    MalformedJson = BAD_REQUEST, "malformed_json", Never,
        "The body is not one JSON value of the expected kind.",
        "The detail says where reading stopped. Nothing was decided; correct the text and send it again.";
    /// A field can not be read.
    InvalidRequest = BAD_REQUEST, "invalid_request", Never,
        "A field of the body can not be read.",
        "`errors` names the field and says what is wrong with it; in a batch `index` says which event. Nothing was decided.";
    /// More events than one command may have.
    TooManyEvents = BAD_REQUEST, "too_many_events", Never,
        "The batch or transaction has more events than one request may have.",
        "Split it: up to 8,190 events go into one request. Nothing was decided.";
    /// A query parameter or a part of the path can not be read.
    InvalidParameter = BAD_REQUEST, "invalid_parameter", Never,
        "A query parameter or a part of the path can not be read.",
        "`errors` names it and says what is wrong with it.";
    /// A header can not be read.
    InvalidHeader = BAD_REQUEST, "invalid_header", Never,
        "A header of the request can not be read.",
        "`errors` names it and says what is wrong with it.";
    /// It is no HTTP/1.1.
    MalformedRequest = BAD_REQUEST, "malformed_request", Never,
        "What came can not be read as a request of HTTP/1.1.",
        "Look at its first line, its headers and the length of its body; most clients never make such a request. Nothing was decided, and the connection ends.";
    /// The `Idempotency-Key` can not be read.
    InvalidIdempotencyKey = BAD_REQUEST, "invalid_idempotency_key", Never,
        "The Idempotency-Key can not be read.",
        "Send one header with 1 to 255 visible ASCII characters, bare or in double quotes. Nothing was decided.";
    /// No key.
    Unauthorized = UNAUTHORIZED, "unauthorized", Never,
        "This needs an API key, and the request has none.",
        "Send the header `Authorization: Bearer flk_…`. Keys are made with `florin keys new`. Nothing was decided.";
    /// A key that is not good.
    InvalidApiKey = UNAUTHORIZED, "invalid_api_key", Never,
        "The API key is not good: it has a mistake in it, was revoked, or belongs to another server.",
        "The detail tells a mistyped key from an unknown one. A new key is made with `florin keys new`; a server knows it after it was told to reread its keys (SIGHUP). Nothing was decided.";
    /// A key that does not go this far.
    Forbidden = FORBIDDEN, "forbidden", Never,
        "The API key is good, but not for this: its scope is too small.",
        "The detail names the scope that is needed: read for asking, write for commands, admin for all. Nothing was decided.";
    /// No such route.
    RouteNotFound = NOT_FOUND, "route_not_found", Never,
        "There is nothing at this path.",
        "The routes are listed in /openapi.json and shown at /docs.";
    /// No such account.
    AccountNotFound = NOT_FOUND, "account_not_found", Never,
        "There is no account with this id.",
        "Check the id; an account is created with POST /v1/accounts.";
    /// No such transfer.
    TransferNotFound = NOT_FOUND, "transfer_not_found", Never,
        "There is no transfer with this id.",
        "Check the id. An id that was refused names no transfer.";
    /// No such transaction.
    TransactionNotFound = NOT_FOUND, "transaction_not_found", Never,
        "There is no transaction with this id.",
        "Check the id. A single transfer is found at /v1/transfers/{id}.";
    /// The route exists, the method on it does not.
    MethodNotAllowed = METHOD_NOT_ALLOWED, "method_not_allowed", Never,
        "The path exists, but not for this method.",
        "The header Allow names the methods that it has.";
    /// A reader was sent a command.
    ReadOnly = METHOD_NOT_ALLOWED, "read_only", Never,
        "This process only reads: it owns no accounts and decides nothing.",
        "Send commands to the writer, or start readers with --writer-url, so that they pass commands on.";
    /// A writer was asked for history.
    WriteOnly = METHOD_NOT_ALLOWED, "write_only", Never,
        "This process takes commands and reads by id; it serves no lists and no history.",
        "Ask a process of role read, or one of role all.";
    /// The body did not arrive in time.
    RequestTimeout = REQUEST_TIMEOUT, "request_timeout", After,
        "The request did not arrive whole within 30 seconds.",
        "Nothing was decided; send it again.";
    /// The first use of the key still runs.
    RequestInProgress = CONFLICT, "request_in_progress", After,
        "The first request with this Idempotency-Key is still running.",
        "Send it again in a moment: it then gets the first one's answer.";
    /// A leg of a new transaction happened before.
    Exists = CONFLICT, "exists", NewId,
        "A leg of the transaction happened before, by itself or in another transaction, so not all of them can happen now.",
        "`index` names the leg. Leave it out, or give it a new id. Nothing changed.";
    /// The body is too large.
    BodyTooLarge = PAYLOAD_TOO_LARGE, "body_too_large", Never,
        "The body is larger than this route takes: 16 MiB for a batch, 256 KiB elsewhere.",
        "Split it. Nothing was decided.";
    /// More than one journal record holds.
    CommandTooLarge = PAYLOAD_TOO_LARGE, "command_too_large", Never,
        "The request has more in it than one journal record can hold.",
        "Split it. Nothing was decided.";
    /// The body is declared as nothing that is read here.
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", Never,
        "The body is not declared as JSON, or, where a batch is taken, as a binary batch.",
        "Send the header `Content-Type: application/json`, or with a binary batch `Content-Type: application/vnd.florin.batch`. Nothing was decided.";
    /// The key was used for something else.
    IdempotencyKeyReused = UNPROCESSABLE_ENTITY, "idempotency_key_reused", Never,
        "The Idempotency-Key was used before for another method, path or content.",
        "Use a new key for a new request; keys are kept for ever.";
    /// The head of the request is too large.
    HeadersTooLarge = REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", Never,
        "The head of the request is larger than 8 KiB.",
        "Send fewer or shorter headers. Nothing was decided.";
    /// A bug.
    InternalError = INTERNAL_SERVER_ERROR, "internal_error", SameId,
        "Something went wrong that should not: a bug in Florin.",
        "Ask for the outcome by sending the same request with the same id or key again, and report the request_id.";
    /// Too much is in flight.
    Overloaded = SERVICE_UNAVAILABLE, "overloaded", After,
        "More is in flight than the ledger takes at once.",
        "Nothing was decided; send it again after the seconds in Retry-After.";
    /// The disk has no room for what would be decided.
    StorageFull = SERVICE_UNAVAILABLE, "storage_full", After,
        "There is no room for more journal: the disk is full, or the store is too far behind.",
        "Nothing was decided. The operator has to make room; the ledger goes on by itself then.";
    /// The process is stopping.
    Stopping = SERVICE_UNAVAILABLE, "stopping", After,
        "The process is stopping and takes no more requests.",
        "Nothing was decided; send it again when the process is back.";
    /// Nobody can say yet what became of the request.
    OutcomeUnknown = SERVICE_UNAVAILABLE, "outcome_unknown", SameId,
        "The request may or may not have been decided: no durable answer came in time.",
        "Send the same request with the same id (or key) again: it is decided once, and the answer is its outcome.";
    /// The source does not cover the position that was asked for.
    NotYet = SERVICE_UNAVAILABLE, "not_yet", After,
        "The source of this answer has not reached the position in min_seq within 5 seconds.",
        "Ask again later, or without min_seq for the state as it is known now.";
    /// Too much would have to be looked through.
    OutOfReach = UNPROCESSABLE_ENTITY, "out_of_reach", Never,
        "To tell what the account held then, more than 100,000 transfers would have to be looked through.",
        "Ask for a moment nearer to now or to the account's beginning, or create accounts that need it with the flag `history`: what they held at a time of decision is told at any size.";
    /// The SQL store does not answer.
    StoreAway = SERVICE_UNAVAILABLE, "store_away", After,
        "The SQL store, which answers lists and history, does not answer.",
        "Transfers go on meanwhile, and one account is still read by id. Ask again later.";
    /// The writer can not be reached.
    WriterAway = SERVICE_UNAVAILABLE, "writer_away", After,
        "The process that takes commands can not be reached from this reader.",
        "Nothing was sent to it. Send the same request again later; reads go on meanwhile.";
    /// The first outcome can not be shown now.
    HistoryAway = SERVICE_UNAVAILABLE, "history_away", SameId,
        "The id or key was decided before, but its first outcome stands in the SQL store, which does not answer.",
        "Nothing is decided twice. Send the same request with the same id again later.";
    /// What it was is lost.
    HistoryLost = GONE, "history_lost", Never,
        "It was decided, but what it was stood only in a SQL store that was lost, before the position that lists name as history_from; or it is what an account held at a moment before there.",
        "Nothing is decided twice, and balances are right, those at later moments too. The operator can bring the history back from an archive of the journal or a copy of the store.";
}

/// A code as its page shows it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Entry {
    /// The stable name in answers.
    pub(crate) code: &'static str,
    /// The HTTP statuses that it comes with.
    pub(crate) statuses: Vec<u16>,
    /// What the client may do.
    pub(crate) retry: Retry,
    /// The title in problem documents.
    pub(crate) title: String,
    /// What it means.
    pub(crate) meaning: &'static str,
    /// What to do about it.
    pub(crate) advice: &'static str,
}

/// The rejections that could be accepted at another time, and that burn the id. A test compares this with the engine.
const TRANSIENT: [&str; 10] = [
    "debit_account_not_found",
    "credit_account_not_found",
    "debit_account_already_closed",
    "credit_account_already_closed",
    "exceeds_credits",
    "exceeds_debits",
    "pending_transfer_not_found",
    "reversed_transfer_not_found",
    "condition_failed",
    "condition_account_not_found",
];

/// What the client may do after a refusal by the rules with this code.
pub(crate) fn rejection_retry(code: &str) -> Retry {
    let used_up = code.starts_with("exists_with_different_")
        || code == "id_already_failed"
        || TRANSIENT.contains(&code);
    if used_up { Retry::NewId } else { Retry::Never }
}

/// The status of a refusal by the rules: a second use of an id is a conflict, and what the path names is not found where it is not there.
pub(crate) const fn rejection_status(rejection: Rejection) -> StatusCode {
    match rejection {
        Rejection::AccountToChangeNotFound | Rejection::ReversedTransferNotFound => {
            StatusCode::NOT_FOUND
        }
        rejection if rejection.is_conflict() => StatusCode::CONFLICT,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

/// `exceeds_credits` → `Exceeds credits`.
pub(crate) fn title(code: &str) -> String {
    let mut title = code.replace('_', " ");
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}

fn rejection_entry(code: &'static str, meaning: &'static str) -> Entry {
    let conflict = code.starts_with("exists_with_different_");
    let statuses = match (conflict, code) {
        (true, _) => vec![409],
        // Asking for a ledger that is not there is no refusal by the rules but has the same name.
        (false, "ledger_not_found") => vec![404, 422],
        (false, "account_to_change_not_found" | "reversed_transfer_not_found") => vec![404],
        (false, _) => vec![422],
    };
    let retry = rejection_retry(code);
    let advice = match retry {
        Retry::NewId if conflict => {
            "The id is decided once, for ever. If this was meant as a retry, send the first content again; if it is something new, give it a new id."
        }
        Retry::NewId => {
            "The id is used up, so that no retry can flip the outcome. When the reason has gone, try again with a new id."
        }
        _ => {
            "Nothing changed and the id is not used up. Correct the request and send it again with the same id."
        }
    };
    Entry { code, statuses, retry, title: title(code), meaning, advice }
}

/// Every code with its page, refusals by the rules first, in their order of precedence.
pub(crate) fn entries() -> Vec<Entry> {
    let rejections =
        Rejection::CATALOGUE.iter().map(|(code, meaning)| rejection_entry(code, meaning));
    let own = Code::ALL.iter().map(|code| Entry {
        code: code.name(),
        statuses: vec![code.status().as_u16()],
        retry: code.retry(),
        title: title(code.name()),
        meaning: code.meaning(),
        advice: code.advice(),
    });
    rejections.chain(own).collect()
}

#[cfg(test)]
mod tests {
    use florin_engine::{LedgerId, SignedAmount};

    use super::*;

    #[test]
    fn every_code_stands_once() {
        let mut codes: Vec<_> = entries().iter().map(|entry| entry.code).collect();
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
        assert!(codes.contains(&"exceeds_credits") && codes.contains(&"outcome_unknown"));
    }

    #[test]
    fn retry_follows_the_engine() {
        let figures = SignedAmount::new(1);
        let ledger = LedgerId(1);
        for rejection in [
            Rejection::DebitAccountNotFound,
            Rejection::CreditAccountNotFound,
            Rejection::DebitAccountAlreadyClosed,
            Rejection::CreditAccountAlreadyClosed,
            Rejection::ExceedsCredits { available: figures, requested: figures, ledger },
            Rejection::ExceedsDebits { available: figures, requested: figures, ledger },
            Rejection::PendingTransferNotFound,
            Rejection::PendingTransferAlreadyPosted,
            Rejection::ReversedTransferNotFound,
            Rejection::AlreadyReversed,
            Rejection::ConditionFailed { condition: 0, found: figures, ledger },
            Rejection::ConditionAccountNotFound { condition: 0 },
            Rejection::AccountToChangeNotFound,
            Rejection::LinkedEventFailed,
            Rejection::IdMustNotBeZero,
            Rejection::LedgerNotFound { ledger },
            Rejection::AccountsMustBeDifferent,
            Rejection::OverflowsCredits,
        ] {
            let expected = if rejection.is_transient() { Retry::NewId } else { Retry::Never };
            assert_eq!(rejection_retry(rejection.code()), expected, "{}", rejection.code());
        }
        assert_eq!(rejection_retry("exists_with_different_amount"), Retry::NewId);
        assert_eq!(rejection_retry("id_already_failed"), Retry::NewId);
        assert_eq!(rejection_status(Rejection::ExistsWithDifferentKind), StatusCode::CONFLICT);
        assert_eq!(rejection_status(Rejection::ExistsWithDifferentName), StatusCode::CONFLICT);
        assert_eq!(rejection_status(Rejection::IdAlreadyFailed), StatusCode::UNPROCESSABLE_ENTITY);
        for entry in entries() {
            // A ledger that is read and not there shares its name with a refusal.
            let number = (1..200).find_map(|number| {
                let figure = || Ok::<_, florin_engine::RejectionNumberError>(1);
                let rejection = Rejection::from_number(number, figure).ok()?;
                (rejection.code() == entry.code).then_some(rejection)
            });
            if let Some(rejection) = number {
                let status = rejection_status(rejection).as_u16();
                assert!(entry.statuses.contains(&status), "{} is {status}", entry.code);
            }
        }
    }

    #[test]
    fn titles_are_readable() {
        assert_eq!(title("exceeds_credits"), "Exceeds credits");
    }
}
