//! Lookups of many things by their ids: reads that come as a POST, since their ids do not fit a URL.
//!
//! They decide nothing, so an `Idempotency-Key` has nothing to remember and is not looked at, and a reader answers them itself.

use actix_web::http::StatusCode;
use florin_engine::{AccountId, TransferId};

use super::answers::shown_account;
use super::body::Bound;
use super::error::ApiError;
use super::exchange::{Exchange, Reply};
use super::openapi;
use super::wire::input::IdsToFind;
use super::wire::json::{Place, read};
use super::wire::output as wire;
use super::wire::report::Found;
use super::wire::values::Id;

/// Many accounts by their ids
///
/// Up to 8,190 ids; those that are found come in the order in which they were asked for, all as of one position.
#[utoipa::path(
    post,
    path = "/v1/accounts/lookup",
    tag = "accounts",
    params(openapi::MinSeqParam),
    request_body = IdsToFind,
    responses((status = 200, description = "Those that there are, and the ids of the others", body = Found<wire::Account>)),
)]
pub(crate) async fn accounts(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    let (ids, min_seq) = asked(exchange).await?;
    let ids: Vec<AccountId> = ids.into_iter().map(AccountId).collect();
    let found = exchange.state.ledger.accounts(&ids, min_seq).await?;
    let answers = exchange.answers();
    let mut shown = Found::none(found.seq);
    for (id, account) in ids.iter().zip(&found.value) {
        match account {
            None => shown.missing.push(Id(id.0)),
            Some(found) => {
                let scale = answers.scale(found.account.ledger)?;
                shown.data.push(shown_account(found, scale));
            }
        }
    }
    Ok(Reply::json(StatusCode::OK, &shown)?.at(found.seq).sourced(found.source))
}

/// Many transfers by their ids
///
/// Up to 8,190 ids; those that are found come in the order in which they were asked for.
#[utoipa::path(
    post,
    path = "/v1/transfers/lookup",
    tag = "transfers",
    params(openapi::MinSeqParam),
    request_body = IdsToFind,
    responses((status = 200, description = "Those that there are, and the ids of the others", body = Found<wire::Transfer>)),
)]
pub(crate) async fn transfers(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    let (ids, min_seq) = asked(exchange).await?;
    let ids: Vec<TransferId> = ids.into_iter().map(TransferId).collect();
    let found = exchange.state.ledger.transfers(&ids, min_seq).await?;
    let answers = exchange.answers();
    let mut shown = Found::none(found.seq);
    for (id, transfer) in ids.iter().zip(&found.value) {
        match transfer {
            None => shown.missing.push(Id(id.0)),
            Some(transfer) => shown.data.push(answers.found_transfer(transfer)?),
        }
    }
    Ok(Reply::json(StatusCode::OK, &shown)?.at(found.seq).sourced(found.source))
}

async fn asked(
    exchange: &mut Exchange,
) -> Result<(Vec<u128>, Option<florin_engine::JournalSeq>), ApiError> {
    let min_seq = exchange.only_min_seq()?;
    let body = exchange.json_body(Bound::Batch).await?;
    let ids: IdsToFind<'_> = read(&body, Place::Object)?;
    Ok((ids.decode()?, min_seq))
}
