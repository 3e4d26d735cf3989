//! `/v1/accounts`: the units of balance.

use actix_web::http::StatusCode;
use florin_actors::Source;
use florin_engine::{AccountId, Command, CommandKey, CreateAccount, KeyRule};
use florin_persistence::store::AccountFilter;

use super::answers::shown_account;
use super::body::{Bound, is_binary};
use super::error::ApiError;
use super::exchange::{Exchange, Reply};
use super::lists::{page, shown, unlisted};
use super::openapi;
use super::query::Properties;
use super::submit::Subject;
use super::transfers::results;
use super::wire::changes::{NewMetadata, NewOverdraftLimit};
use super::wire::input::NewAccount;
use super::wire::json::{Events, Place, read};
use super::wire::{output as wire, schemas};

/// Create an account
///
/// The same account again is answered 200 with the account as it is.
#[utoipa::path(
    post,
    path = "/v1/accounts",
    tag = "accounts",
    request_body = NewAccount,
    responses(
        (status = 201, description = "The account was created", body = wire::Account),
        (status = 200, description = "It was there before, with the same content", body = wire::Account),
    ),
)]
pub(crate) async fn create(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    exchange.no_query()?;
    let body = exchange.json_body(Bound::Single).await?;
    let asked: NewAccount<'_> = read(&body, Place::Object)?;
    let account = asked.decode()?;
    let id = account.id;
    let key = exchange.key(KeyRule::Accepted, |fingerprint| fingerprint.account(&account))?;
    let command = Command::CreateAccounts(vec![account]);
    let answer = exchange.submit(command, key, Subject::One(id.0)).await?;
    exchange.answers().account(id, &answer).await
}

/// Create many accounts, in order
///
/// Each account is decided by itself, but a chain of `linked` ones as a whole.
#[utoipa::path(
    post,
    path = "/v1/accounts/batch",
    tag = "accounts",
    params(("results" = Option<openapi::ResultsParam>, Query, description = "`all` tells what became of each account")),
    request_body(content((Vec<NewAccount> = "application/json"), (schemas::BinaryBatch = "application/vnd.florin.batch"))),
    responses((status = 200, description = "What became of them, in the form of the request", content(
        (wire::BatchSummary = "application/json"),
        (schemas::BinaryOutcomes = "application/vnd.florin.batch"),
    ))),
)]
pub(crate) async fn create_batch(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    let mut query = exchange.query()?;
    let results = results(&mut query)?;
    query.finish()?;
    if is_binary(exchange.request.headers()) {
        return exchange.binary_batch::<CreateAccount>(results).await;
    }
    let body = exchange.json_body(Bound::Batch).await?;
    let Events(asked): Events<NewAccount<'_>> = read(&body, Place::Batch)?;
    let mut accounts = Vec::with_capacity(asked.len());
    for (index, asked) in (0_u32..).zip(&asked) {
        let account = asked.decode();
        accounts
            .push(account.map_err(|fault| ApiError::InvalidRequest { fault, index: Some(index) })?);
    }
    let named: Vec<_> = accounts.iter().map(|account| Some(account.id.0)).collect();
    let key = exchange.key(KeyRule::Always, |fingerprint| {
        for account in &accounts {
            fingerprint.account(account);
        }
    })?;
    if accounts.is_empty() {
        return exchange.answers().empty_batch(results);
    }
    drop(asked);
    drop(body);
    let command = Command::CreateAccounts(accounts);
    let answer = exchange.submit(command, key, Subject::Batch).await?;
    exchange.answers().batch(&named, results, &answer)
}

/// Change an account's overdraft limit
///
/// One below what is used already only stops further use.
#[utoipa::path(
    post,
    path = "/v1/accounts/{id}/overdraft_limit",
    tag = "accounts",
    params(("id" = schemas::IdText, Path, description = "The account's id")),
    request_body = NewOverdraftLimit,
    responses((status = 200, description = "The account as it is now", body = wire::Account)),
)]
pub(crate) async fn set_overdraft_limit(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    exchange.no_query()?;
    let id = AccountId(exchange.path_id()?);
    let body = exchange.json_body(Bound::Single).await?;
    let asked: NewOverdraftLimit<'_> = read(&body, Place::Object)?;
    let set = asked.decode(id)?;
    let key = exchange.key(KeyRule::Accepted, |fingerprint| {
        fingerprint.overdraft_limit(set.overdraft_limit);
    })?;
    change(exchange, id, Command::SetOverdraftLimit(set), key).await
}

/// Replace an account's metadata
///
/// All of it, by what is given. What stood there before stays in the journal, and in the store's history of metadata.
#[utoipa::path(
    post,
    path = "/v1/accounts/{id}/metadata",
    tag = "accounts",
    params(("id" = schemas::IdText, Path, description = "The account's id")),
    request_body = NewMetadata,
    responses((status = 200, description = "The account as it is now", body = wire::Account)),
)]
pub(crate) async fn replace_metadata(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    exchange.no_query()?;
    let id = AccountId(exchange.path_id()?);
    let body = exchange.json_body(Bound::Single).await?;
    let asked: NewMetadata<'_> = read(&body, Place::Object)?;
    let replace = asked.decode(id)?;
    let key = exchange.key(KeyRule::Accepted, |fingerprint| {
        fingerprint.metadata(replace.metadata.as_ref());
    })?;
    change(exchange, id, Command::ReplaceMetadata(replace), key).await
}

/// What the answer shows and the command does not tell is read first: what can not be answered is not done.
async fn change(
    exchange: &mut Exchange,
    id: AccountId,
    command: Command,
    key: Option<CommandKey>,
) -> Result<Reply, ApiError> {
    let before = exchange.state.ledger.account(id, None).await?.value;
    let answer = exchange.submit(command, key, Subject::One(id.0)).await?;
    exchange.answers().changed_account(id, before, &answer).await
}

/// One account with its balances
#[utoipa::path(
    get,
    path = "/v1/accounts/{id}",
    tag = "accounts",
    params(("id" = schemas::IdText, Path, description = "The account's id"), openapi::MinSeqParam),
    responses((status = 200, description = "The account", body = wire::Account)),
)]
pub(crate) async fn find(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    let id = exchange.path_id()?;
    let min_seq = exchange.only_min_seq()?;
    let found = exchange.state.ledger.account(AccountId(id), min_seq).await?;
    let account = found.value.as_ref().ok_or(ApiError::AccountNotFound { id, seq: found.seq })?;
    let scale = exchange.answers().scale(account.account.ledger)?;
    Ok(Reply::json(StatusCode::OK, &shown_account(account, scale))?
        .at(found.seq)
        .sourced(found.source))
}

/// Accounts, newest first
#[utoipa::path(
    get,
    path = "/v1/accounts",
    tag = "accounts",
    params(openapi::AccountParams, openapi::PageParams, openapi::MinSeqParam),
    responses((status = 200, description = "A page of accounts", body = wire::Page<wire::Account>)),
)]
pub(crate) async fn list(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    let mut query = exchange.query()?;
    let Properties { ledger, code, user_data_128, user_data_64, user_data_32, time, metadata } =
        query.properties()?;
    let filter =
        AccountFilter { ledger, code, user_data_128, user_data_64, user_data_32, time, metadata };
    let page = page(&mut query)?;
    let min_seq = exchange.min_seq(&mut query)?;
    query.finish()?;
    exchange.state.ledger.until_stored(min_seq).await?;
    let found = exchange.state.ledger.store().accounts(&filter, &page).await;
    let found = found.map_err(|error| unlisted(&error))?;
    let ledgers = found.data.iter().map(|stored| stored.account.ledger);
    exchange.state.ledger.seen(found.as_of, ledgers).await?;
    let answers = exchange.answers();
    let shown = shown(&found, |stored| {
        let scale = answers.scale(stored.account.ledger)?;
        let (metadata, external_id) = (stored.metadata.as_deref(), stored.external_id.as_ref());
        Ok(wire::Account::of(&stored.account, metadata, external_id, scale))
    })?;
    Ok(Reply::json(StatusCode::OK, &shown)?.at(found.as_of).sourced(Source::Store))
}
