//! `/v1/ledgers`: currencies and asset books, with the totals of their accounts.

use actix_web::http::StatusCode;
use florin_actors::Source;
use florin_engine::{Command, KeyRule};

use super::body::Bound;
use super::error::ApiError;
use super::exchange::{Exchange, Reply};
use super::lists::{page, shown, unlisted};
use super::openapi;
use super::submit::Subject;
use super::wire::input::NewLedger;
use super::wire::json::{Place, read};
use super::wire::output as wire;

/// Open a ledger
///
/// The same ledger again is answered 200.
#[utoipa::path(
    post,
    path = "/v1/ledgers",
    tag = "ledgers",
    request_body = NewLedger,
    responses(
        (status = 201, description = "The ledger was opened", body = wire::Ledger),
        (status = 200, description = "It was there before, with the same content", body = wire::Ledger),
    ),
)]
pub(crate) async fn create(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    exchange.no_query()?;
    let body = exchange.json_body(Bound::Single).await?;
    let asked: NewLedger<'_> = read(&body, Place::Object)?;
    let ledger = asked.decode()?;
    let key = exchange.key(KeyRule::Accepted, |fingerprint| fingerprint.ledger(&ledger))?;
    let subject = Subject::One(u128::from(ledger.id.0));
    let answer = exchange.submit(Command::CreateLedger(ledger.clone()), key, subject).await?;
    exchange.answers().ledger(&ledger, &answer)
}

/// Ledgers with their totals, newest first
#[utoipa::path(
    get,
    path = "/v1/ledgers",
    tag = "ledgers",
    params(openapi::PageParams, openapi::MinSeqParam),
    responses((status = 200, description = "A page of ledgers", body = wire::Page<wire::Ledger>)),
)]
pub(crate) async fn list(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    let mut query = exchange.query()?;
    let page = page(&mut query)?;
    let min_seq = exchange.min_seq(&mut query)?;
    query.finish()?;
    exchange.state.ledger.until_stored(min_seq).await?;
    let found = exchange.state.ledger.store().ledgers(&page).await;
    let found = found.map_err(|error| unlisted(&error))?;
    exchange.state.ledger.seen(found.as_of, std::iter::empty()).await?;
    let shown = shown(&found, |stored| Ok(wire::Ledger::of(&stored.ledger, Some(&stored.totals))))?;
    Ok(Reply::json(StatusCode::OK, &shown)?.at(found.as_of).sourced(Source::Store))
}

/// One ledger with its totals
#[utoipa::path(
    get,
    path = "/v1/ledgers/{id}",
    tag = "ledgers",
    params(("id" = u32, Path, description = "The ledger's number"), openapi::MinSeqParam),
    responses((status = 200, description = "The ledger", body = wire::LedgerAsOf)),
)]
pub(crate) async fn find(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    let id = exchange.path_ledger()?;
    let min_seq = exchange.only_min_seq()?;
    exchange.state.ledger.until_stored(min_seq).await?;
    let found = exchange.state.ledger.store().ledger(id).await.map_err(|error| unlisted(&error))?;
    let stored = found.value.ok_or(ApiError::LedgerNotFound { id, seq: found.as_of })?;
    let shown = wire::LedgerAsOf {
        ledger: wire::Ledger::of(&stored.ledger, Some(&stored.totals)),
        as_of_seq: found.as_of.0,
    };
    Ok(Reply::json(StatusCode::OK, &shown)?.at(found.as_of).sourced(Source::Store))
}
