//! `/v1/transactions`: several transfers that all happen or none does.

use actix_web::http::StatusCode;
use florin_engine::{Command, KeyRule, TransferId};

use super::body::Bound;
use super::error::ApiError;
use super::exchange::{Exchange, Reply};
use super::openapi;
use super::submit::Subject;
use super::wire::input::NewTransaction;
use super::wire::json::{Place, read};
use super::wire::{output as wire, values};

/// Move money several times, all or nothing
///
/// The same transaction again is answered 200 with its first outcome. A refusal names the leg that broke it in `index`.
#[utoipa::path(
    post,
    path = "/v1/transactions",
    tag = "transactions",
    request_body = NewTransaction,
    responses(
        (status = 201, description = "All of its transfers happened", body = wire::Transaction),
        (status = 200, description = "They had happened before: the first outcome, without the accounts of that moment", body = wire::Transaction),
    ),
)]
pub(crate) async fn create(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    exchange.no_query()?;
    let body = exchange.json_body(Bound::Single).await?;
    let asked: NewTransaction<'_> = read(&body, Place::Object)?;
    let asked = asked.decode()?;
    let id = asked.create.id;
    let key = exchange.key(KeyRule::Accepted, |fingerprint| fingerprint.transaction(&asked))?;
    let command = Command::CreateTransaction(asked.create);
    let answer = exchange.submit(command, key, Subject::Transaction(id.0)).await?;
    exchange.answers().transaction(id, &answer).await
}

/// One transaction with its transfers
#[utoipa::path(
    get,
    path = "/v1/transactions/{id}",
    tag = "transactions",
    params(("id" = values::IdText, Path, description = "The transaction's id"), openapi::MinSeqParam),
    responses((status = 200, description = "The transaction", body = wire::Transaction)),
)]
pub(crate) async fn find(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    let id = exchange.path_id()?;
    let mut query = exchange.query()?;
    let min_seq = exchange.min_seq(&mut query)?;
    query.finish()?;
    exchange.state.ledger.until_current(min_seq).await?;
    let found = exchange.state.ledger.transaction(TransferId(id)).await?;
    let transaction = found.value.ok_or(ApiError::TransactionNotFound { id, seq: found.seq })?;
    let shown = exchange.answers().found_transaction(&transaction)?;
    Ok(Reply::json(StatusCode::OK, &shown)?.at(found.seq).sourced(found.source))
}
