//! `/v1/transactions`: several transfers that all happen or none does.

use actix_web::http::StatusCode;
use florin_actors::FoundTransaction;
use florin_engine::{
    Command, CommandKey, CreateTransaction, KeyRule, ReverseTransaction, Settle, Timestamp,
    Transaction, Transfer, TransferId,
};

use super::body::Bound;
use super::error::ApiError;
use super::exchange::{Exchange, Reply};
use super::openapi::{self, DryRunParam};
use super::submit::Subject;
use super::wire::changes::{DecodedSettling, SettleTransaction};
use super::wire::input::NewTransaction;
use super::wire::json::{Place, read};
use super::wire::{output as wire, schemas};

/// Move money several times, all or nothing
///
/// The same transaction again is answered 200 with its first outcome. A refusal names the leg that broke it in `index`.
#[utoipa::path(
    post,
    path = "/v1/transactions",
    tag = "transactions",
    params(DryRunParam),
    request_body = NewTransaction,
    responses(
        (status = 201, description = "All of its transfers happened", body = wire::Transaction),
        (status = 200, description = "They had happened before: the first outcome, without the accounts of that moment", body = wire::Transaction),
    ),
)]
pub(crate) async fn create(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    exchange.read_mode()?;
    let body = exchange.json_body(Bound::Single).await?;
    let asked: NewTransaction<'_> = read(&body, Place::Object)?;
    let asked = asked.decode()?;
    let id = asked.create.id;
    let key = exchange.key(KeyRule::Accepted, |fingerprint| fingerprint.transaction(&asked))?;
    let command = Command::CreateTransaction(asked.create);
    let answer = exchange.submit(command, key, Subject::Transaction(id.0)).await?;
    exchange.answers().transaction(id, &answer).await
}

/// Post all that a transaction reserved
///
/// By a new transaction whose legs post its pending ones, all or none.
#[utoipa::path(
    post,
    path = "/v1/transactions/{id}/post",
    tag = "transactions",
    params(("id" = schemas::IdText, Path, description = "The pending transaction's id"), DryRunParam),
    request_body = Option<SettleTransaction>,
    responses(
        (status = 201, description = "All of the money has moved", body = wire::Transaction),
        (status = 200, description = "It had moved before: the first outcome, without the accounts of that moment", body = wire::Transaction),
    ),
)]
pub(crate) async fn post(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    settle(exchange, Settle::Post).await
}

/// Release all that a transaction reserved
///
/// By a new transaction whose legs void its pending ones, all or none.
#[utoipa::path(
    post,
    path = "/v1/transactions/{id}/void",
    tag = "transactions",
    params(("id" = schemas::IdText, Path, description = "The pending transaction's id"), DryRunParam),
    request_body = Option<SettleTransaction>,
    responses(
        (status = 201, description = "All of the money is released", body = wire::Transaction),
        (status = 200, description = "It had been released before: the first outcome, without the accounts of that moment", body = wire::Transaction),
    ),
)]
pub(crate) async fn void(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    settle(exchange, Settle::Void).await
}

async fn settle(exchange: &mut Exchange, settle: Settle) -> Result<Reply, ApiError> {
    let (settled, asked, key) = about_another(exchange).await?;
    let found = exchange.state.ledger.transaction(settled).await?;
    let missing = ApiError::TransactionNotFound { id: settled.0, seq: found.seq };
    let legs = legs(found.value.ok_or(missing)?);
    let DecodedSettling { id, external_id, metadata, conditions, .. } = asked;
    let create = CreateTransaction {
        external_id,
        metadata,
        conditions,
        ..CreateTransaction::settling(id, &legs, settle)
    };
    let command = Command::CreateTransaction(create);
    let answer = exchange.submit(command, key, Subject::Transaction(id.0)).await?;
    exchange.answers().transaction(id, &answer).await
}

/// Move back what all legs of a transaction moved
///
/// By a new transaction whose legs reverse them, the last one first, all or none.
#[utoipa::path(
    post,
    path = "/v1/transactions/{id}/reverse",
    tag = "transactions",
    params(("id" = schemas::IdText, Path, description = "The id of the transaction to reverse"), DryRunParam),
    request_body = Option<SettleTransaction>,
    responses(
        (status = 201, description = "All of the money has moved back", body = wire::Transaction),
        (status = 200, description = "It had moved back before: the first outcome, without the accounts of that moment", body = wire::Transaction),
    ),
)]
pub(crate) async fn reverse(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    let (reversed, asked, key) = about_another(exchange).await?;
    let DecodedSettling { id, external_id, metadata, conditions, .. } = asked;
    // One that is not there is refused by the rules, so that the refusal uses up the id as any other of its kind.
    let (original, legs) = match exchange.state.ledger.transaction(reversed).await?.value {
        Some(found) => (found.transaction.clone(), legs(found)),
        None => {
            let missing = Transaction {
                id: reversed,
                external_id: None,
                transfers: 0,
                timestamp: Timestamp(0),
                metadata: None,
            };
            (missing, Vec::new())
        }
    };
    let reverse = ReverseTransaction { id, external_id, original, legs, metadata, conditions };
    let command = Command::ReverseTransaction(Box::new(reverse));
    let answer = exchange.submit(command, key, Subject::Transaction(id.0)).await?;
    exchange.answers().transaction(id, &answer).await
}

/// What a request says of the transaction that its path names.
async fn about_another(
    exchange: &mut Exchange,
) -> Result<(TransferId, DecodedSettling, Option<CommandKey>), ApiError> {
    exchange.read_mode()?;
    let other = TransferId(exchange.path_id()?);
    let body = exchange.json_body_if_any(Bound::Single).await?;
    let asked: SettleTransaction<'_> = read(&body, Place::Object)?;
    let asked = asked.decode()?;
    let key = exchange.key(KeyRule::Accepted, |fingerprint| fingerprint.settling(&asked))?;
    Ok((other, asked, key))
}

fn legs(found: FoundTransaction) -> Vec<Transfer> {
    found.transfers.into_iter().map(|found| found.transfer).collect()
}

/// One transaction with its transfers
#[utoipa::path(
    get,
    path = "/v1/transactions/{id}",
    tag = "transactions",
    params(("id" = schemas::IdText, Path, description = "The transaction's id"), openapi::MinSeqParam),
    responses((status = 200, description = "The transaction", body = wire::Transaction)),
)]
pub(crate) async fn find(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    let id = exchange.path_id()?;
    let min_seq = exchange.only_min_seq()?;
    exchange.state.ledger.until_current(min_seq).await?;
    let found = exchange.state.ledger.transaction(TransferId(id)).await?;
    let transaction = found.value.ok_or(ApiError::TransactionNotFound { id, seq: found.seq })?;
    let shown = exchange.answers().found_transaction(&transaction)?;
    Ok(Reply::json(StatusCode::OK, &shown)?.at(found.seq).sourced(found.source))
}
