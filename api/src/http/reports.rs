//! Sums over a whole ledger by account code: the trial balance and the balance sheet.
//!
//! Both are made of one SQL snapshot of the accounts, and compared with the ledger's totals, which each command of the journal carries: money that is
//! missing on one side is a bug, and is not shown as if it were none.

use actix_web::http::StatusCode;
use florin_actors::Source;
use florin_engine::JournalSeq;
use florin_persistence::store::LedgerByCode;

use super::error::ApiError;
use super::exchange::{Exchange, Reply};
use super::lists::unlisted;
use super::openapi;
use super::wire::report as wire;

/// The trial balance of a ledger, by account code
///
/// What was debited and credited to the accounts of each code. The totals of both sides are equal, and those of the ledger.
#[utoipa::path(
    get,
    path = "/v1/ledgers/{id}/trial-balance",
    tag = "ledgers",
    params(("id" = u32, Path, description = "The ledger's number"), openapi::MinSeqParam),
    responses((status = 200, description = "The trial balance", body = wire::TrialBalance)),
)]
pub(crate) async fn trial_balance(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    report(exchange, wire::TrialBalance::of).await
}

/// The balance sheet of a ledger, by account code
///
/// What the accounts of each code hold: those whose posted debits exceed their credits apart from the others, so that an overdrawn account does not hide behind
/// one that is not. The totals of both sides are equal.
#[utoipa::path(
    get,
    path = "/v1/ledgers/{id}/balance-sheet",
    tag = "ledgers",
    params(("id" = u32, Path, description = "The ledger's number"), openapi::MinSeqParam),
    responses((status = 200, description = "The balance sheet", body = wire::BalanceSheet)),
)]
pub(crate) async fn balance_sheet(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    report(exchange, wire::BalanceSheet::of).await
}

async fn report<R: serde::Serialize>(
    exchange: &mut Exchange,
    show: impl Fn(&LedgerByCode, JournalSeq) -> Option<R>,
) -> Result<Reply, ApiError> {
    let id = exchange.path_ledger()?;
    let min_seq = exchange.only_min_seq()?;
    exchange.state.ledger.until_stored(min_seq).await?;
    let found = exchange.state.ledger.store().ledger_by_code(id).await;
    let found = found.map_err(|error| unlisted(&error))?;
    exchange.state.ledger.seen(found.as_of, std::iter::empty()).await?;
    let by_code = found.value.ok_or(ApiError::LedgerNotFound { id, seq: found.as_of })?;
    let Some(shown) = show(&by_code, found.as_of) else {
        let as_of = found.as_of.0;
        tracing::error!(ledger = id.0, as_of, "a ledger's accounts do not add up to its totals");
        return Err(ApiError::Internal);
    };
    Ok(Reply::json(StatusCode::OK, &shown)?.at(found.as_of).sourced(Source::Store))
}
