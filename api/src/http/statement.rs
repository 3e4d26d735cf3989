//! What an account held at a moment, and its statement between two, as JSON and as CSV.
//!
//! Both speak of posted money, and are told by the store in one snapshot a page; how, stands at the top of its module `statement`.

use std::fmt::Write;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, Accept, Header, HeaderValue, Quality};
use florin_actors::Source;
use florin_engine::{Account, JournalSeq, Scale, Timestamp};
use florin_persistence::store::{Moment, PAGE_ROWS_MAX, Statement, StatementRequest};

use super::error::{ApiError, Fault, FaultCode};
use super::exchange::{Exchange, Reply};
use super::lists::{bad_cursor, unlisted};
use super::openapi;
use super::query::{LIMIT_DEFAULT, LIMIT_MAX, encode};
use super::wire::report as wire;
use super::wire::schemas;
use super::wire::values::Time;

const CSV: HeaderValue = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
/// Lines of a page as CSV: a few megabytes.
const CSV_LINES_MAX: u64 = 10_000;

/// An account's posted balance at a moment
///
/// By the time of decision (`at`) or of effect (`effective_at`), for accounts with and without the flag `history`. The answer is 422 `out_of_reach` where more
/// than 100,000 transfers would have to be looked through: for `at`, since that moment and also before it, of an account without `history`; for
/// `effective_at`, of the account. Where transfers of the account were lost with an earlier store, it is 410 `history_lost` for an `at` before the first transfer
/// that is left, and for any `effective_at`.
#[utoipa::path(
    get,
    path = "/v1/accounts/{id}/balance",
    tag = "accounts",
    params(
        ("id" = schemas::IdText, Path, description = "The account's id"),
        ("at" = Option<schemas::TimeShown>, Query, description = "After what was decided at this moment or before"),
        ("effective_at" = Option<schemas::TimeShown>, Query, description = "After what took effect at this moment or before: by `effective_at` of each transfer, or its `timestamp` where it has none"),
        openapi::MinSeqParam,
    ),
    responses((status = 200, description = "The balance", body = wire::BalanceAtMoment)),
)]
pub(crate) async fn balance(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    exchange.path_id()?;
    let mut query = exchange.query()?;
    let (at, effective_at) = (query.time("at")?, query.time("effective_at")?);
    let min_seq = exchange.min_seq(&mut query)?;
    query.finish()?;
    let moment = match (at, effective_at) {
        (Some(at), None) => Moment::DecidedAt(at),
        (None, Some(at)) => Moment::EffectiveAt(at),
        (at, _) => {
            let (code, detail) = match at {
                None => (FaultCode::MissingField, "is missing: give this or effective_at"),
                Some(_) => (FaultCode::InvalidValue, "can not stand beside effective_at"),
            };
            return Err(ApiError::InvalidParameter(Fault::new("at", code, detail)));
        }
    };
    let account = exchange.history_in_path(min_seq).await?.account;
    let ledger = &exchange.state.ledger;
    ledger.until_stored(min_seq).await?;
    let found = ledger.store().posted_at(account.id, moment).await;
    let found = found.map_err(|error| unlisted(&error).about(account.id.0))?;
    ledger.seen(found.as_of, std::iter::once(account.ledger)).await?;
    let scale = exchange.answers().scale(account.ledger)?;
    let shown = wire::BalanceAtMoment::of(&account, moment, &found, scale);
    Ok(Reply::json(StatusCode::OK, &shown)?.at(found.as_of).sourced(Source::Store))
}

/// How a statement is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
}

/// An account's statement, oldest line first
///
/// The opening balance, each transfer that moved posted money with the balance after it, and the closing balance: opening and all changes together are the
/// closing, on whichever page. The first page settles where the statement ends; what is decided later is not in it. As JSON up to 1,000 lines a page; as CSV
/// (`format=csv`, or an `Accept` that prefers `text/csv`) up to 10,000, and the header `Link` leads to the next page. The answer is 422 `out_of_reach` where opening or closing would
/// take looking through more than 100,000 transfers of an account without the flag `history`. Where transfers of the account were lost with an earlier store, a
/// statement without `from` begins with the first transfer that is left, and for a `from` or `to` before it the answer is 410 `history_lost`; `history_from` then
/// stands on each page, and as CSV in a last column.
#[utoipa::path(
    get,
    path = "/v1/accounts/{id}/statement",
    tag = "accounts",
    params(
        ("id" = schemas::IdText, Path, description = "The account's id"),
        ("from" = Option<schemas::TimeShown>, Query, description = "From this moment on; from the account's beginning when absent"),
        ("to" = Option<schemas::TimeShown>, Query, description = "Before this moment; up to now when absent"),
        ("format" = Option<openapi::FormatParam>, Query, description = "`json` or `csv`; what `Accept` says when absent"),
        ("limit" = Option<u32>, Query, description = "Lines on the page, up to 1,000 as JSON (50 when absent) and 10,000 as CSV (10,000 when absent)", minimum = 1, maximum = 10_000),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        openapi::MinSeqParam,
    ),
    responses((
        status = 200,
        description = "A page of the statement",
        content((wire::StatementPage = "application/json"), (String = "text/csv")),
        headers(
            ("Link" = String, description = "Of a page as CSV: the next one, as `rel=\"next\"`, where there is one"),
            ("Vary" = String, description = "`accept`: another one can get the other format"),
        ),
    )),
)]
pub(crate) async fn statement(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    exchange.path_id()?;
    let mut query = exchange.query()?;
    let formats = [("json", Format::Json), ("csv", Format::Csv)];
    let format = query.word("format", &formats)?.unwrap_or_else(|| accepted(exchange));
    let time = query.time_range()?;
    let limit = match format {
        Format::Json => query.limit_within(LIMIT_DEFAULT, LIMIT_MAX)?,
        Format::Csv => query.limit_within(CSV_LINES_MAX, CSV_LINES_MAX)?,
    };
    let cursor = query.value("cursor", |text| text.parse().map_err(bad_cursor))?;
    let min_seq = exchange.min_seq(&mut query)?;
    query.finish()?;
    let account = exchange.history_in_path(min_seq).await?.account;
    exchange.state.ledger.until_stored(min_seq).await?;
    let request = StatementRequest { account: account.id, time, limit, cursor };
    let mut reply = match format {
        Format::Json => {
            let (page, scale) = page(exchange, &account, &request).await?;
            let shown = wire::StatementPage::of(&account, time, &page, scale);
            Reply::json(StatusCode::OK, &shown)?.at(page.as_of).sourced(Source::Store)
        }
        Format::Csv => csv(exchange, &account, request).await?,
    };
    reply.others.push((header::VARY, HeaderValue::from_static("accept")));
    Ok(reply)
}

/// The one of the two that the caller would rather have; JSON where that is neither.
fn accepted(exchange: &Exchange) -> Format {
    let Ok(mut accept) = Accept::parse(&exchange.request) else { return Format::Json };
    accept.retain(|kind| kind.quality > Quality::ZERO);
    let format = |kind: &str| match kind {
        "text/csv" | "text/*" => Some(Format::Csv),
        "application/json" | "application/*" | "*/*" => Some(Format::Json),
        _ => None,
    };
    let ranked = accept.ranked();
    ranked.iter().find_map(|kind| format(kind.essence_str())).unwrap_or(Format::Json)
}

/// A page as the store tells it, and the digits of its money.
async fn page(
    exchange: &Exchange,
    account: &Account,
    request: &StatementRequest,
) -> Result<(Statement, Scale), ApiError> {
    let ledger = &exchange.state.ledger;
    let found = ledger.store().statement(request).await;
    let found = found.map_err(|error| unlisted(&error).about(account.id.0))?;
    ledger.seen(found.as_of, std::iter::once(account.ledger)).await?;
    let scale = exchange.answers().scale(account.ledger)?;
    let empty = || Statement::empty(found.as_of);
    // An account that the store does not have yet has no transfers there.
    Ok((found.value.unwrap_or_else(empty), scale))
}

/// All lines up to the limit, gathered page by page: the cursor holds them together.
async fn csv(
    exchange: &Exchange,
    account: &Account,
    mut request: StatementRequest,
) -> Result<Reply, ApiError> {
    let limit = request.limit;
    let is_first = request.cursor.is_none();
    request.limit = limit.min(PAGE_ROWS_MAX);
    let (mut found, scale) = page(exchange, account, &request).await?;
    let mut text = wire::CsvText::begin(account, found.history_from, scale);
    let kind = if is_first { "opening" } else { "brought_forward" };
    text.balance(kind, request.time.from.filter(|_| is_first), &found.before);
    let mut left = limit;
    let mut after = found.before;
    let as_of: JournalSeq = loop {
        for (movement, posted) in &found.lines {
            text.line(movement, posted);
            after = *posted;
        }
        left = left.saturating_sub(found.lines.len() as u32);
        request.cursor = found.next;
        if found.next.is_none() || left == 0 {
            break found.as_of;
        }
        request.limit = left.min(PAGE_ROWS_MAX);
        (found, _) = page(exchange, account, &request).await?;
    };
    match request.cursor {
        None => text.balance("closing", request.time.to, &found.closing),
        Some(_) => text.balance("carried_forward", None, &after),
    }
    let link = request.cursor.map(|cursor| {
        let mut link = format!("<{}?format=csv&limit={limit}", exchange.request.path());
        let mut time = |name: &str, at: Option<Timestamp>| {
            if let Some(at) = at {
                let _ = write!(link, "&{name}={}", encode(&Time(at).to_string()));
            }
        };
        time("from", request.time.from);
        time("to", request.time.to);
        let _ = write!(link, "&cursor={cursor}>; rel=\"next\"");
        link
    });
    let reply = Reply::of(StatusCode::OK, CSV, text.end().into());
    Ok(Reply { link, ..reply.at(as_of).sourced(Source::Store) })
}
