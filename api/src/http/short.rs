//! The short forms, for the client that wants the least, with the same guarantees.

use actix_web::http::StatusCode;
use florin_actors::{FoundAccount, Source};
use florin_engine::{AccountId, Command, ExternalId, KeyRule};
use florin_persistence::store::{PageRequest, TransferFilter};

use super::body::Bound;
use super::error::{ApiError, Fault};
use super::exchange::{Exchange, Reply};
use super::lists::{page, unlisted};
use super::openapi;
use super::query::encode;
use super::submit::Subject;
use super::wire::input::{ShortAccount, ShortTransfer};
use super::wire::json::{Place, read};
use super::wire::schemas;
use super::wire::values::{MoneyNumber, NumberId};
use super::wire::{output as wire, values};

/// Move money
#[utoipa::path(
    post,
    path = "/transaction",
    tag = "short forms",
    request_body = ShortTransfer,
    responses(
        (status = 201, description = "The money has moved", body = wire::ShortOutcome),
        (status = 200, description = "It had moved before", body = wire::ShortOutcome),
    ),
)]
pub(crate) async fn transaction(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    transfer(exchange).await
}

/// Move money: another name for `/transaction`
#[utoipa::path(
    post,
    path = "/process_transaction",
    tag = "short forms",
    request_body = ShortTransfer,
    responses(
        (status = 201, description = "The money has moved", body = wire::ShortOutcome),
        (status = 200, description = "It had moved before", body = wire::ShortOutcome),
    ),
)]
pub(crate) async fn process_transaction(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    transfer(exchange).await
}

async fn transfer(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    exchange.no_query()?;
    let body = exchange.json_body(Bound::Single).await?;
    let asked: ShortTransfer<'_> = read(&body, Place::Object)?;
    let (transfer, naming) = asked.decode()?;
    let id = transfer.id;
    let key =
        exchange.key(KeyRule::Accepted, |fingerprint| fingerprint.transfer(&transfer, naming))?;
    let command = Command::CreateTransfers(vec![transfer]);
    let answer = exchange.submit(command, key, Subject::One(id.0)).await?;
    exchange.answers().short_transfer(id, &answer)
}

/// Open an account that can not be overdrawn, with its opening balance
///
/// An account of ledger 1. Its opening balance comes from the ledger's opening account, in one transaction.
#[utoipa::path(
    post,
    path = "/account",
    tag = "short forms",
    request_body = ShortAccount,
    responses(
        (status = 201, description = "The account was opened", body = wire::ShortOpened),
        (status = 200, description = "It was opened before, with the same balance", body = wire::ShortOpened),
    ),
)]
pub(crate) async fn open_account(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    exchange.no_query()?;
    let body = exchange.json_body(Bound::Single).await?;
    let asked: ShortAccount<'_> = read(&body, Place::Object)?;
    let open = asked.decode()?;
    let key = exchange.key(KeyRule::Accepted, |fingerprint| fingerprint.opening(&open))?;
    let subject = Subject::One(open.account.id.0);
    let answer = exchange.submit(Command::OpenAccount(open.clone()), key, subject).await?;
    exchange.answers().short_account(&open, &answer)
}

/// What an account holds
#[utoipa::path(
    get,
    path = "/balance/{account_id}",
    tag = "short forms",
    params(("account_id" = schemas::IdText, Path, description = "The account's id"), openapi::MinSeqParam),
    responses((status = 200, description = "The balance", body = wire::ShortBalance)),
)]
pub(crate) async fn balance(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    let text = exchange.path_part("account_id")?;
    let id = values::id_text(&text).map_err(|fault| {
        ApiError::InvalidParameter(Fault::new("account_id", fault.code, fault.detail))
    })?;
    let min_seq = exchange.only_min_seq()?;
    let found = exchange.state.ledger.account(AccountId(id), min_seq).await?;
    let FoundAccount { account, external_id, .. } =
        found.value.as_ref().ok_or(ApiError::AccountNotFound { id, seq: found.seq })?;
    let scale = exchange.answers().scale(account.ledger)?;
    let shown = wire::ShortBalance {
        account_id: NumberId(id),
        external_id: external_id.as_ref().map(ExternalId::text),
        balance: MoneyNumber(account.balances.balance(account.flags).display(scale)),
        cached: found.source == Source::Cache,
    };
    Ok(Reply::json(StatusCode::OK, &shown)?.at(found.seq).sourced(found.source))
}

/// Transfers, newest first
///
/// The header `Link` leads to the next page.
#[utoipa::path(
    get,
    path = "/transactions",
    tag = "short forms",
    params(openapi::PageParams, openapi::MinSeqParam),
    responses((
        status = 200,
        description = "A page of transfers",
        body = Vec<wire::ShortLine>,
        headers(("Link" = String, description = "The next page, as `rel=\"next\"`, where there is one")),
    )),
)]
pub(crate) async fn transactions(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    let mut query = exchange.query()?;
    let page: PageRequest = page(&mut query)?;
    let min_seq = exchange.min_seq(&mut query)?;
    query.finish()?;
    exchange.state.ledger.until_stored(min_seq).await?;
    let found = exchange.state.ledger.store().transfers(&TransferFilter::default(), &page).await;
    let found = found.map_err(|error| unlisted(&error))?;
    let ledgers = found.data.iter().map(|stored| stored.transfer.ledger);
    exchange.state.ledger.seen(found.as_of, ledgers).await?;
    let answers = exchange.answers();
    let lines = found.data.iter().map(|stored| {
        let scale = answers.scale(stored.transfer.ledger)?;
        Ok(wire::ShortLine::of(&stored.transfer, stored.status(), scale))
    });
    let lines: Vec<_> = lines.collect::<Result<_, ApiError>>()?;
    let reply = Reply::json(StatusCode::OK, &lines)?.at(found.as_of).sourced(Source::Store);
    let link = found.next.map(|cursor| {
        let order = openapi::order_word(page.order);
        let cursor = encode(&cursor.to_string());
        format!("</transactions?limit={}&order={order}&cursor={cursor}>; rel=\"next\"", page.limit)
    });
    Ok(Reply { link, ..reply })
}
