//! The history of one account: its transfers and its balances.
//!
//! A reader keeps pages of it in the cache, under the account's version; what such a page promises stands at the top of
//! `florin_persistence::cache`. Everything that a page depends on beside the version is in its name: the filter, the order, the cursor and the limit.
//! `min_seq` is not: the account is found as of it at least, and what is kept under its version is of that position too.

use actix_web::http::StatusCode;
use florin_actors::Source;
use florin_engine::{Account, AccountAfter, AccountId, JournalSeq, LedgerId};
use florin_persistence::store::{BalanceAt, BalanceFilter, OfAccount, PageRequest, Side};
use serde_json::value::RawValue;

use super::error::ApiError;
use super::exchange::{Exchange, Reply};
use super::ledger::KeptPages;
use super::lists::{page, shown, unlisted};
use super::openapi;
use super::transfers::TransferQuery;
use super::wire::{output as wire, schemas};

/// The account of a list, and where pages of it are kept.
pub(crate) struct AccountHistory {
    pub(crate) account: Account,
    pages: Option<KeptPages>,
}

/// Transfers of one account, newest first
#[utoipa::path(
    get,
    path = "/v1/accounts/{id}/transfers",
    tag = "accounts",
    params(
        ("id" = schemas::IdText, Path, description = "The account's id"),
        ("side" = Option<openapi::SideParam>, Query, description = "On which side of the transfer the account stands; either when absent"),
        openapi::TransferParams,
        openapi::PageParams,
        openapi::MinSeqParam,
    ),
    responses((status = 200, description = "A page of transfers", body = wire::Page<wire::Transfer>)),
)]
pub(crate) async fn transfers(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    exchange.path_id()?;
    let mut query = exchange.query()?;
    let sides = [("debit", Side::Debit), ("credit", Side::Credit)];
    let side = query.word("side", &sides)?.unwrap_or(Side::Both);
    let asked = TransferQuery::take(&mut query)?;
    let page = page(&mut query)?;
    let min_seq = exchange.min_seq(&mut query)?;
    query.finish()?;
    let of = exchange.history_in_path(min_seq).await?;
    let mut filter = asked.filter(exchange, Some(of.account.ledger)).await?;
    filter.account = Some(OfAccount { id: of.account.id, side });
    let name = format!("transfers {filter:?} {page:?}");
    of.page(exchange, &name, min_seq, async || exchange.page_of_transfers(&filter, &page).await)
        .await
}

/// The history of one account's balances, newest first
///
/// For accounts with the flag `history`; others have none.
#[utoipa::path(
    get,
    path = "/v1/accounts/{id}/balances",
    tag = "accounts",
    params(
        ("id" = schemas::IdText, Path, description = "The account's id"),
        ("from" = Option<schemas::TimeShown>, Query, description = "From this moment on"),
        ("to" = Option<schemas::TimeShown>, Query, description = "Before this moment"),
        ("at" = Option<schemas::TimeShown>, Query, description = "Only as it stood at this moment"),
        openapi::PageParams,
        openapi::MinSeqParam,
    ),
    responses((status = 200, description = "A page of moments", body = wire::Page<wire::BalanceLine>)),
)]
pub(crate) async fn balances(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    exchange.path_id()?;
    let mut query = exchange.query()?;
    let filter = BalanceFilter { time: query.time_range()?, at: query.time("at")? };
    let page = page(&mut query)?;
    let min_seq = exchange.min_seq(&mut query)?;
    query.finish()?;
    let of = exchange.history_in_path(min_seq).await?;
    let name = format!("balances {filter:?} {page:?}");
    of.page(exchange, &name, min_seq, async || {
        exchange.page_of_balances(&of.account, &filter, &page).await
    })
    .await
}

impl Exchange {
    /// A page of an account's balances.
    async fn page_of_balances(
        &self,
        account: &Account,
        filter: &BalanceFilter,
        page: &PageRequest,
    ) -> Result<Reply, ApiError> {
        let found = self.state.ledger.store().balances(account.id, filter, page).await;
        let found = found.map_err(|error| unlisted(&error))?;
        self.state.ledger.seen(found.as_of, std::iter::once(account.ledger)).await?;
        let scale = self.answers().scale(account.ledger)?;
        let shown = shown(&found, |moment| {
            let after = after(moment, account.ledger);
            Ok(wire::BalanceLine::of(moment.seq, moment.timestamp, &after, scale))
        })?;
        Ok(Reply::json(StatusCode::OK, &shown)?.at(found.as_of).sourced(Source::Store))
    }

    /// The account in the path, which must be there, for a list of its history.
    pub(crate) async fn history_in_path(
        &self,
        min_seq: Option<JournalSeq>,
    ) -> Result<AccountHistory, ApiError> {
        let id = self.path_id()?;
        let (found, pages) = self.state.ledger.account_and_pages(AccountId(id), min_seq).await?;
        let account = found.value.ok_or(ApiError::AccountNotFound { id, seq: found.seq })?.account;
        Ok(AccountHistory { account, pages })
    }
}

impl AccountHistory {
    /// The page that is kept under this name, which tells everything that it depends on; else what `read` finds in the store, which is kept.
    async fn page(
        &self,
        exchange: &Exchange,
        name: &str,
        min_seq: Option<JournalSeq>,
        read: impl AsyncFnOnce() -> Result<Reply, ApiError>,
    ) -> Result<Reply, ApiError> {
        // Another version of the program may show things in another way.
        let name = format!("{} {name}", env!("CARGO_PKG_VERSION"));
        if let Some(pages) = &self.pages
            && let Some(kept) = pages.find(&name).await
        {
            match serde_json::from_slice::<wire::Page<Box<RawValue>>>(&kept) {
                Ok(page) => {
                    let shown = wire::Page { as_of_seq: pages.as_of().0, ..page };
                    let reply = Reply::json(StatusCode::OK, &shown)?;
                    return Ok(reply.at(pages.as_of()).sourced(Source::Cache));
                }
                // What stands there is written over with what the store says.
                Err(error) => tracing::warn!(%error, "the cache has a page that can not be read"),
            }
        }
        exchange.state.ledger.until_stored(min_seq).await?;
        let reply = read().await?;
        if let (Some(pages), Some(as_of)) = (&self.pages, reply.seq) {
            pages.keep(&name, as_of, reply.body.to_vec()).await;
        }
        Ok(reply)
    }
}

fn after(moment: &BalanceAt, ledger: LedgerId) -> AccountAfter {
    AccountAfter {
        id: moment.account,
        ledger,
        flags: moment.flags,
        overdraft_limit: moment.overdraft_limit,
        version: moment.version,
        balances: moment.balances,
    }
}
