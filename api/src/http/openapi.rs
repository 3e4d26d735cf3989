//! The published description of the HTTP contract (OpenAPI 3.1), made from the handlers and the types that they use.
//!
//! What stands on each handler is its own; what all have in common (headers, problem documents) is added here.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use florin_engine::Rejection;
use florin_persistence::store::Order;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, Header, HeaderBuilder, Ref, RefOr, Required, Response, ResponseBuilder,
};
use utoipa::{IntoParams, Modify, OpenApi, PartialSchema, ToSchema};

use super::door::Door;
use super::exchange::Place;
use super::wire::schemas::{Data128Text, IdText, MoneyText, TimeShown};
use super::{
    accounts, catalogue, docs, error, history, ledgers, lookup, ops, reports, short, statement,
    transactions, transfers,
};
use crate::keys::Scope;

/// The name of the way to say who one is.
const API_KEY: &str = "api_key";

/// The document as JSON, made once.
pub(crate) static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    Description::openapi().to_json().expect("the description is made of texts and numbers")
});

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Florin",
        description = "A durable, in-memory transaction processor for money. Every answer is durable when it arrives.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
        contact(),
    ),
    paths(
        ledgers::create, ledgers::list, ledgers::find, reports::trial_balance, reports::balance_sheet,
        accounts::create, accounts::create_batch, accounts::find, accounts::list, lookup::accounts,
        accounts::set_overdraft_limit, accounts::replace_metadata,
        history::transfers, history::balances, statement::balance, statement::statement,
        transfers::create, transfers::create_batch, transfers::post, transfers::void, transfers::reverse, transfers::find, transfers::list, lookup::transfers,
        transactions::create, transactions::find, transactions::post, transactions::void, transactions::reverse,
        short::transaction, short::process_transaction, short::open_account, short::balance,
        short::transactions,
        ops::healthz, ops::readyz, ops::metrics, ops::version,
        docs::openapi, docs::index, docs::file, docs::errors, docs::error,
    ),
    // A parameter's type is not found by itself, as a body's is.
    components(schemas(
        error::Problem, ErrorCode, Data128Text, IdText, MoneyText, TimeShown, ResultsParam, SideParam,
        FormatParam,
    )),
    tags(
        (name = "ledgers", description = "Currencies and asset books"),
        (name = "accounts", description = "The units of balance"),
        (name = "transfers", description = "Movements of money from a debit account to a credit account"),
        (name = "transactions", description = "Transfers that all happen or none does"),
        (name = "short forms", description = "For the client that wants the least, with the same guarantees"),
        (name = "operations", description = "For those who run the process"),
        (name = "documentation", description = "This description and the error catalogue"),
    ),
    modifiers(&Common),
)]
struct Description;

/// The codes of all errors, as the catalogue lists them.
pub(crate) struct ErrorCode;

impl PartialSchema for ErrorCode {
    fn schema() -> RefOr<Schema> {
        words("The stable name of a problem", catalogue::entries().iter().map(|entry| entry.code))
    }
}

impl ToSchema for ErrorCode {}

/// What became of an event of a batch.
pub(crate) struct ItemStatus;

impl PartialSchema for ItemStatus {
    fn schema() -> RefOr<Schema> {
        let refusals = Rejection::CATALOGUE.iter().map(|(code, _)| *code);
        words(
            "`created`, `exists`, or the code of the refusal",
            ["created", "exists"].into_iter().chain(refusals),
        )
    }
}

impl ToSchema for ItemStatus {}

fn words(description: &str, words: impl Iterator<Item = &'static str>) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .enum_values(Some(words))
        .into()
}

/// Which events a batch's answer tells of.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "only its description is read")]
pub(crate) enum ResultsParam {
    /// Only those that were refused.
    Rejected,
    /// Each.
    All,
}

/// On which side of a transfer an account stands.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "only its description is read")]
pub(crate) enum SideParam {
    /// It gave.
    Debit,
    /// It received.
    Credit,
}

/// How a statement is written.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "only its description is read")]
pub(crate) enum FormatParam {
    /// As JSON.
    Json,
    /// As CSV.
    Csv,
}

/// Which end of time a list begins at.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "only its description is read")]
pub(crate) enum OrderParam {
    /// Newest first.
    Desc,
    /// Oldest first.
    Asc,
}

/// The word for an order.
pub(crate) fn order_word(order: Order) -> &'static str {
    match order {
        Order::NewestFirst => "desc",
        Order::OldestFirst => "asc",
    }
}

/// Which page of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "only its description is read")]
pub(crate) struct PageParams {
    /// The most entries on the page; 50 when absent. A list that looks for what is rare can have fewer, even none, and still a next page: each looks at
    /// a bounded number of entries.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Newest or oldest first; newest when absent.
    #[param(inline)]
    order: Option<OrderParam>,
}

/// Which transfers.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "only its description is read")]
pub(crate) struct TransferParams {
    /// Of this ledger.
    ledger: Option<u32>,
    /// Of this code.
    code: Option<u16>,
    /// With this reference.
    #[param(value_type = Option<Data128Text>)]
    user_data_128: Option<String>,
    /// With this reference.
    user_data_64: Option<u64>,
    /// With this reference.
    user_data_32: Option<u32>,
    /// Decided from this moment on.
    #[param(value_type = Option<TimeShown>)]
    from: Option<String>,
    /// Decided before this moment.
    #[param(value_type = Option<TimeShown>)]
    to: Option<String>,
    /// That stand so: a pending transfer is `posted`, `voided` or `expired` once it has ended.
    #[param(inline)]
    status: Option<super::wire::output::Status>,
    /// Whose metadata has this key with this value: `metadata[invoice]=A-17`. Texts, numbers (by meaning), booleans and null of the top level
    /// can be asked for, as they are written; up to 8, all of which have to hold.
    #[param(style = DeepObject, explode, value_type = Option<BTreeMap<String, String>>)]
    metadata: Option<()>,
    /// Of at least this amount; needs `ledger` where ledgers have different digits after the point.
    #[param(value_type = Option<MoneyText>)]
    min_amount: Option<String>,
    /// Of at most this amount; needs `ledger` where ledgers have different digits after the point.
    #[param(value_type = Option<MoneyText>)]
    max_amount: Option<String>,
    /// Legs of this transaction.
    #[param(value_type = Option<IdText>)]
    transaction_id: Option<String>,
}

/// Which accounts.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "only its description is read")]
pub(crate) struct AccountParams {
    /// Of this ledger.
    ledger: Option<u32>,
    /// Of this code.
    code: Option<u16>,
    /// With this reference.
    #[param(value_type = Option<Data128Text>)]
    user_data_128: Option<String>,
    /// With this reference.
    user_data_64: Option<u64>,
    /// With this reference.
    user_data_32: Option<u32>,
    /// Created from this moment on.
    #[param(value_type = Option<TimeShown>)]
    from: Option<String>,
    /// Created before this moment.
    #[param(value_type = Option<TimeShown>)]
    to: Option<String>,
    /// Whose metadata has this key with this value: `metadata[name]=Alice`. Texts, numbers (by meaning), booleans and null of the top level can be
    /// asked for, as they are written; up to 8, all of which have to hold.
    #[param(style = DeepObject, explode, value_type = Option<BTreeMap<String, String>>)]
    metadata: Option<()>,
}

/// Whether a command is only tried.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "only its description is read")]
pub(crate) struct DryRunParam {
    /// `true` tells what would be, marked `"dry_run":true`: nothing is decided, no id is used up. Not beside an Idempotency-Key.
    dry_run: Option<bool>,
}

/// The position that an answer has to cover.
pub(crate) struct MinSeqParam;

impl IntoParams for MinSeqParam {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let position = |name, place| {
            ParameterBuilder::new()
                .name(name)
                .parameter_in(place)
                .required(Required::False)
                .description(Some(
                    "The answer has to cover this position: it is waited for, up to 5 seconds, then the answer is 503 `not_yet`",
                ))
                .schema(Some(u64::schema()))
                .build()
        };
        vec![
            position("min_seq", ParameterIn::Query),
            position("Florin-Min-Seq", ParameterIn::Header),
        ]
    }
}

/// Adds what all routes have in common.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
            "A key that `florin keys new` made, `flk_…`, with the scope that stands here or a larger one (read, write, admin). \
             A server that was started without --api-keys asks for none, and with --metrics-access open none for /metrics",
        ));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(API_KEY, SecurityScheme::Http(scheme.build()));
        for (path, item) in &mut document.paths.paths {
            let place = Place::of(path);
            let found = if path.contains('{') { &[404][..] } else { &[] };
            if let Some(operation) = &mut item.get {
                let door = match place {
                    Place::Process if path != "/metrics" => Door::Open,
                    Place::Process | Place::Ledger => Door::Needs(Scope::Read),
                };
                add_door(operation, door);
                let statuses: &[u16] = match place {
                    Place::Ledger => &[400, 431, 500, 503],
                    Place::Process => &[400, 431, 500],
                };
                add_problems(operation, statuses.iter().chain(found));
                if place == Place::Ledger && !BY_ID.contains(&path.as_str()) {
                    add_problems(operation, &[405]);
                }
                if path.ends_with("/statement") || path.ends_with("/balance") {
                    add_problems(operation, &[422]);
                }
                if can_be_lost(path) {
                    add_problems(operation, &[410]);
                }
                add_headers(operation, place, Reading::Yes);
                add_parameter(operation, request_id_parameter());
            }
            if path.ends_with("/lookup")
                && let Some(operation) = &mut item.post
            {
                add_door(operation, Door::Needs(Scope::Read));
                add_problems(operation, &[400, 408, 413, 415, 431, 500, 503]);
                if can_be_lost(path) {
                    add_problems(operation, &[410]);
                }
                add_headers(operation, place, Reading::Yes);
                add_parameter(operation, request_id_parameter());
            } else if let Some(operation) = &mut item.post {
                add_door(operation, Door::Needs(Scope::Write));
                let statuses = [400, 405, 408, 409, 410, 413, 415, 422, 431, 500, 503];
                add_problems(operation, statuses.iter().chain(found));
                add_dry_run(operation);
                add_headers(operation, place, Reading::No);
                add_parameter(operation, request_id_parameter());
                add_parameter(operation, key_parameter());
            }
        }
    }
}

/// The reads that a process of role write answers too; it leaves the others to readers. A test compares it with the routes.
const BY_ID: [&str; 4] =
    ["/v1/accounts/{id}", "/v1/transfers/{id}", "/v1/transactions/{id}", "/balance/{account_id}"];

/// Whether a read looks for what can be lost with a store.
fn can_be_lost(path: &str) -> bool {
    [
        "/v1/transfers/{id}",
        "/v1/transactions/{id}",
        "/v1/transfers/lookup",
        "/v1/accounts/{id}/balance",
        "/v1/accounts/{id}/statement",
    ]
    .contains(&path)
}

/// Says of a command that can be tried what is answered then.
fn add_dry_run(operation: &mut Operation) {
    let parameters = operation.parameters.iter().flatten();
    let mut parameters = parameters.filter_map(|parameter| match parameter {
        RefOr::T(parameter) => Some(parameter.name.as_str()),
        RefOr::Ref(_) => None,
    });
    if parameters.any(|name| name == "dry_run")
        && let Some(RefOr::T(told)) = operation.responses.responses.get_mut("200")
    {
        told.description.push_str("; with `dry_run`, what would be");
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Yes,
    No,
}

impl Place {
    fn of(path: &str) -> Place {
        let short = ["/transaction", "/process_transaction", "/account", "/balance", "/v1/"];
        if short.iter().any(|prefix| path.starts_with(prefix)) {
            Place::Ledger
        } else {
            Place::Process
        }
    }
}

/// Says what is asked of callers, and what those get who may not come in. A test compares it with the routes.
fn add_door(operation: &mut Operation, door: Door) {
    let scope = match door {
        // Without an entry of its own, an operation would be as the document says for all.
        Door::Open => {
            operation.security = Some(Vec::new());
            return;
        }
        Door::Needs(scope) => scope,
    };
    operation.security = Some(vec![SecurityRequirement::new(API_KEY, [scope.word()])]);
    // Every key may read.
    let statuses: &[u16] = if scope == Scope::Read { &[401] } else { &[401, 403] };
    add_problems(operation, statuses);
}

fn add_problems<'a>(operation: &mut Operation, statuses: impl IntoIterator<Item = &'a u16>) {
    for status in statuses {
        let description = match status {
            400 => "It can not be read",
            401 => "No API key, or one that is not good",
            403 => "The scope of the API key is too small",
            404 => "It is not there",
            405 => "A process of this role leaves it to others",
            408 => "It did not arrive in time",
            409 => "The id stands for something else, or the key's first request is still running",
            410 => "What it was is lost with an earlier store",
            413 => "It is too large",
            415 => "It is not declared as what is read here",
            422 => "The rules refuse it",
            431 => "Its head is too large",
            500 => "A bug",
            _ => "Not now: see `code` and `Retry-After`",
        };
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let mut problem = ResponseBuilder::new()
            .description(description)
            .content("application/problem+json", content);
        if *status == 405 {
            problem = problem.header("Allow", header("The methods that it serves", Type::String));
        }
        if matches!(status, 409 | 503) {
            let seconds = header("Seconds after which to try again", Type::Integer);
            problem = problem.header("Retry-After", seconds);
        }
        if matches!(status, 401 | 403) {
            let how =
                header("How to come in: `Bearer`, and what is wrong with the key", Type::String);
            problem = problem.header("WWW-Authenticate", how);
        }
        let entry = operation.responses.responses.entry(status.to_string());
        entry.or_insert_with(|| RefOr::T(problem.build()));
    }
}

fn header(description: &str, kind: Type) -> Header {
    let schema: Schema = ObjectBuilder::new().schema_type(kind).into();
    HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build()
}

fn add_headers(operation: &mut Operation, place: Place, reading: Reading) {
    let creates = operation.responses.responses.contains_key("201");
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(Response { headers, content, .. }) = response else { continue };
        let add = |headers: &mut BTreeMap<String, RefOr<Header>>, name: &str, header| {
            headers.insert(name.to_owned(), RefOr::T(header));
        };
        add(headers, "X-Request-Id", header("The request's id", Type::String));
        // Who may not come in does not learn how much has been decided.
        if place == Place::Process || matches!(status.as_str(), "401" | "403") {
            continue;
        }
        let seq = "The position of the command, or that on which the answer depended";
        add(headers, "Florin-Seq", header(seq, Type::Integer));
        if content.contains_key("application/problem+json") {
            continue;
        }
        match reading {
            Reading::Yes => {
                let source = "Where the answer came from: `memory`, `cache` or `store`";
                add(headers, "Florin-Source", header(source, Type::String));
            }
            Reading::No => {
                let replayed = "`true` on the outcome of an earlier request";
                add(headers, "Idempotent-Replayed", header(replayed, Type::String));
                if creates {
                    let location = "Where what was created can be read";
                    add(headers, "Location", header(location, Type::String));
                }
            }
        }
    }
}

fn add_parameter(operation: &mut Operation, parameter: Parameter) {
    operation.parameters.get_or_insert_default().push(RefOr::T(parameter));
}

fn key_parameter() -> Parameter {
    let schema: Schema =
        ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[!-~]{1,255}$")).into();
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "Names the request: the same one again gets the first answer. 1 to 255 visible characters, bare or in double quotes",
        ))
        .schema(Some(schema))
        .build()
}

fn request_id_parameter() -> Parameter {
    let schema: Schema =
        ObjectBuilder::new().schema_type(Type::String).max_length(Some(128)).into();
    ParameterBuilder::new()
        .name("X-Request-Id")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("The client's own id of the request; one is made when absent"))
        .schema(Some(schema))
        .build()
}
