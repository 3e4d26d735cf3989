//! `/v1/transfers`: one movement of money, batches of them, and lists.

use florin_engine::{
    Amount, Command, CreateTransfer, JournalSeq, KeyRule, LedgerId, Scale, TransferFlags,
    TransferId, TransferStatus,
};
use florin_persistence::store::{PageRequest, TransferFilter};

use super::answers::Answers;
use super::batch::Results;
use super::body::{Bound, is_binary};
use super::error::{ApiError, Fault, FaultCode};
use super::exchange::{Exchange, Reply};
use super::fresh::fresh_id;
use super::lists::{page, shown, unlisted};
use super::openapi::DryRunParam;
use super::query::{Properties, Query};
use super::submit::Subject;
use super::wire::changes::NewReversal;
use super::wire::conditions;
use super::wire::input::{Naming, NewTransfer, SettleTransfer};
use super::wire::json::{Events, Place, read};
use super::wire::{output as wire, schemas, values};
use actix_web::http::StatusCode;
use florin_actors::Source;

/// Move money from one account to another
///
/// The same transfer again is answered 200 with its first outcome.
#[utoipa::path(
    post,
    path = "/v1/transfers",
    tag = "transfers",
    params(DryRunParam),
    request_body = NewTransfer,
    responses(
        (status = 201, description = "The money has moved", body = wire::Transfer),
        (status = 200, description = "It had moved before: the first outcome, without its accounts of that moment", body = wire::Transfer),
    ),
)]
pub(crate) async fn create(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    exchange.read_mode()?;
    let body = exchange.json_body(Bound::Single).await?;
    let asked: NewTransfer<'_> = read(&body, Place::Object)?;
    let (transfer, naming) = asked.decode(fresh_id)?;
    let id = transfer.id;
    let key =
        exchange.key(KeyRule::Accepted, |fingerprint| fingerprint.transfer(&transfer, naming))?;
    let command = Command::CreateTransfers(vec![transfer]);
    let answer = exchange.submit(command, key, Subject::One(id.0)).await?;
    exchange.answers().transfer(id, &answer).await
}

/// Post what a pending transfer reserved
///
/// All of it, or the `amount` given: the rest is released. The answer is the new transfer that does it.
#[utoipa::path(
    post,
    path = "/v1/transfers/{id}/post",
    tag = "transfers",
    params(("id" = schemas::IdText, Path, description = "The pending transfer's id"), DryRunParam),
    request_body = Option<SettleTransfer>,
    responses(
        (status = 201, description = "The money has moved", body = wire::Transfer),
        (status = 200, description = "It had moved before: the first outcome, without its accounts of that moment", body = wire::Transfer),
    ),
)]
pub(crate) async fn post(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    settle(exchange, TransferFlags::POST_PENDING_TRANSFER).await
}

/// Release what a pending transfer reserved
#[utoipa::path(
    post,
    path = "/v1/transfers/{id}/void",
    tag = "transfers",
    params(("id" = schemas::IdText, Path, description = "The pending transfer's id"), DryRunParam),
    request_body = Option<SettleTransfer>,
    responses(
        (status = 201, description = "The money is released", body = wire::Transfer),
        (status = 200, description = "It had been released before: the first outcome, without its accounts of that moment", body = wire::Transfer),
    ),
)]
pub(crate) async fn void(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    settle(exchange, TransferFlags::VOID_PENDING_TRANSFER).await
}

async fn settle(exchange: &mut Exchange, flags: TransferFlags) -> Result<Reply, ApiError> {
    exchange.read_mode()?;
    let pending_id = TransferId(exchange.path_id()?);
    let body = exchange.json_body_if_any(Bound::Single).await?;
    let asked: SettleTransfer<'_> = read(&body, Place::Object)?;
    let (transfer, naming) = asked.decode(pending_id, flags)?;
    let id = transfer.id;
    let key =
        exchange.key(KeyRule::Accepted, |fingerprint| fingerprint.transfer(&transfer, naming))?;
    let command = Command::CreateTransfers(vec![transfer]);
    let answer = exchange.submit(command, key, Subject::One(id.0)).await?;
    exchange.answers().transfer(id, &answer).await
}

/// Move back what a transfer moved
///
/// By a new transfer that names it in `reverses`. A transfer is reversed once; a reversal is a transfer like others.
#[utoipa::path(
    post,
    path = "/v1/transfers/{id}/reverse",
    tag = "transfers",
    params(("id" = schemas::IdText, Path, description = "The id of the transfer to reverse"), DryRunParam),
    request_body = Option<NewReversal>,
    responses(
        (status = 201, description = "The money has moved back", body = wire::Transfer),
        (status = 200, description = "It had moved back before: the first outcome, without its accounts of that moment", body = wire::Transfer),
    ),
)]
pub(crate) async fn reverse(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    exchange.read_mode()?;
    let reversed = TransferId(exchange.path_id()?);
    let body = exchange.json_body_if_any(Bound::Single).await?;
    let asked: NewReversal<'_> = read(&body, Place::Object)?;
    let (mut reverse, naming) = asked.decode(reversed)?;
    let id = reverse.id;
    let key =
        exchange.key(KeyRule::Accepted, |fingerprint| fingerprint.reversal(&reverse, naming))?;
    // One that is not there is refused by the rules, so that the refusal uses up the id as any other of its kind.
    if let Some(found) = exchange.state.ledger.transfer(reversed).await?.value {
        reverse.original = found.transfer;
    }
    let command = Command::ReverseTransfer(Box::new(reverse));
    let answer = exchange.submit(command, key, Subject::One(id.0)).await?;
    exchange.answers().transfer(id, &answer).await
}

/// Move money many times, in order
///
/// Each transfer is decided by itself, but a chain of `linked` ones as a whole.
#[utoipa::path(
    post,
    path = "/v1/transfers/batch",
    tag = "transfers",
    params(("results" = Option<super::openapi::ResultsParam>, Query, description = "`all` tells what became of each transfer"), DryRunParam),
    request_body(content((Vec<NewTransfer> = "application/json"), (schemas::BinaryBatch = "application/vnd.florin.batch"))),
    responses((status = 200, description = "What became of them, in the form of the request", content(
        (wire::BatchSummary = "application/json"),
        (schemas::BinaryOutcomes = "application/vnd.florin.batch"),
    ))),
)]
pub(crate) async fn create_batch(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    let mut query = exchange.query()?;
    let (results, mode) = (results(&mut query)?, exchange.mode_in(&mut query)?);
    query.finish()?;
    exchange.mode = mode;
    if is_binary(exchange.request.headers()) {
        return exchange.binary_batch::<CreateTransfer>(results).await;
    }
    let body = exchange.json_body(Bound::Batch).await?;
    let NamedTransfers { transfers, named } = NamedTransfers::read(&body)?;
    let key = exchange.key(KeyRule::Always, |fingerprint| {
        for (transfer, named) in transfers.iter().zip(&named) {
            fingerprint.transfer(transfer, Naming::of(named));
        }
    })?;
    if transfers.is_empty() {
        return exchange.answers().empty_batch(results);
    }
    // The body is not needed any more, and may be large.
    drop(body);
    let command = Command::CreateTransfers(transfers);
    let answer = exchange.submit(command, key, Subject::Batch).await?;
    exchange.answers().batch(&named, results, &answer)
}

/// The transfers of a batch, and their ids where the caller named them.
pub(crate) struct NamedTransfers {
    /// In order.
    pub(crate) transfers: Vec<CreateTransfer>,
    /// One for each of them.
    pub(crate) named: Vec<Option<u128>>,
}

impl NamedTransfers {
    /// Reads the body of a batch.
    pub(crate) fn read(body: &[u8]) -> Result<NamedTransfers, ApiError> {
        let Events(asked): Events<NewTransfer<'_>> = read(body, Place::Batch)?;
        let mut transfers = Vec::with_capacity(asked.len());
        let mut named = Vec::with_capacity(asked.len());
        for (index, asked) in (0_u32..).zip(&asked) {
            let (transfer, naming) = asked
                .decode(fresh_id)
                .map_err(|fault| ApiError::InvalidRequest { fault, index: Some(index) })?;
            named.push((naming == Naming::Named).then_some(transfer.id.0));
            transfers.push(transfer);
        }
        conditions::bounded(&transfers)?;
        Ok(NamedTransfers { transfers, named })
    }
}

/// Takes `results` out of a batch's query.
pub(crate) fn results(query: &mut Query<'_>) -> Result<Results, ApiError> {
    let words = [("rejected", Results::Rejected), ("all", Results::All)];
    Ok(query.word("results", &words)?.unwrap_or(Results::Rejected))
}

/// One transfer
#[utoipa::path(
    get,
    path = "/v1/transfers/{id}",
    tag = "transfers",
    params(("id" = schemas::IdText, Path, description = "The transfer's id"), super::openapi::MinSeqParam),
    responses((status = 200, description = "The transfer", body = wire::Transfer)),
)]
pub(crate) async fn find(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    let id = exchange.path_id()?;
    let min_seq = exchange.only_min_seq()?;
    exchange.state.ledger.until_current(min_seq).await?;
    let found = exchange.state.ledger.transfer(TransferId(id)).await?;
    let transfer = found.value.ok_or(ApiError::TransferNotFound { id, seq: found.seq })?;
    let reply = Reply::json(StatusCode::OK, &exchange.answers().found_transfer(&transfer)?)?;
    Ok(reply.at(found.seq).sourced(found.source))
}

/// Transfers, newest first
#[utoipa::path(
    get,
    path = "/v1/transfers",
    tag = "transfers",
    params(super::openapi::TransferParams, super::openapi::PageParams, super::openapi::MinSeqParam),
    responses((status = 200, description = "A page of transfers", body = wire::Page<wire::Transfer>)),
)]
pub(crate) async fn list(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    let mut query = exchange.query()?;
    let asked = TransferQuery::take(&mut query)?;
    let page = page(&mut query)?;
    let min_seq = exchange.min_seq(&mut query)?;
    query.finish()?;
    exchange.state.ledger.until_stored(min_seq).await?;
    let filter = asked.filter(exchange, None).await?;
    exchange.page_of_transfers(&filter, &page).await
}

const STATUSES: [(&str, TransferStatus); 4] = [
    ("posted", TransferStatus::Posted),
    ("pending", TransferStatus::Pending),
    ("voided", TransferStatus::Voided),
    ("expired", TransferStatus::Expired),
];

/// The filters of a list of transfers, with amounts still in major units.
pub(crate) struct TransferQuery {
    filter: TransferFilter,
    min_amount: Option<florin_engine::AmountInput>,
    max_amount: Option<florin_engine::AmountInput>,
}

impl TransferQuery {
    /// Takes the filters out of a query.
    pub(crate) fn take(query: &mut Query<'_>) -> Result<TransferQuery, ApiError> {
        let Properties { ledger, code, user_data_128, user_data_64, user_data_32, time, metadata } =
            query.properties()?;
        let filter = TransferFilter {
            ledger,
            code,
            user_data_128,
            user_data_64,
            user_data_32,
            time,
            metadata,
            status: query.word("status", &STATUSES)?,
            transaction: query.id("transaction_id")?.map(TransferId),
            ..TransferFilter::default()
        };
        let min_amount = query.value("min_amount", values::amount_text)?;
        let max_amount = query.value("max_amount", values::amount_text)?;
        Ok(TransferQuery { filter, min_amount, max_amount })
    }

    /// The filter, its amounts counted in the digits of its ledger: the one that is asked for, else `ledger`, else the one
    /// scale that all ledgers have.
    pub(crate) async fn filter(
        self,
        exchange: &Exchange,
        ledger: Option<LedgerId>,
    ) -> Result<TransferFilter, ApiError> {
        let TransferQuery { mut filter, min_amount, max_amount } = self;
        if min_amount.is_none() && max_amount.is_none() {
            return Ok(filter);
        }
        let name = if min_amount.is_some() { "min_amount" } else { "max_amount" };
        let scale = match filter.ledger.or(ledger) {
            Some(ledger) => {
                exchange.state.ledger.seen(JournalSeq::NONE, std::iter::once(ledger)).await?;
                match exchange.state.ledger.scale(ledger) {
                    Some(scale) => scale,
                    // A ledger that is not there has no transfers, whatever their amounts.
                    None => return Ok(filter),
                }
            }
            None => one_scale(exchange, name).await?,
        };
        let resolve = |name, amount: Option<florin_engine::AmountInput>| {
            let resolved: Option<Result<Amount, _>> = amount.map(|amount| amount.resolve(scale));
            resolved.transpose().map_err(|error| {
                let fault = values::amount_fault(error);
                ApiError::InvalidParameter(Fault::new(name, fault.code, fault.detail))
            })
        };
        filter.min_amount = resolve("min_amount", min_amount)?;
        filter.max_amount = resolve("max_amount", max_amount)?;
        Ok(filter)
    }
}

/// The scale that all ledgers have; without one an amount means something else in each.
async fn one_scale(exchange: &Exchange, name: &'static str) -> Result<Scale, ApiError> {
    let all = PageRequest::first(florin_persistence::store::PAGE_ROWS_MAX);
    let ledgers = exchange.state.ledger.store().ledgers(&all).await;
    let ledgers = ledgers.map_err(|error| unlisted(&error))?;
    let mut scales = ledgers.data.iter().map(|stored| stored.ledger.scale);
    let first = scales.next();
    match first.filter(|first| ledgers.next.is_none() && scales.all(|scale| scale == *first)) {
        Some(scale) => Ok(scale),
        None => Err(ApiError::InvalidParameter(Fault::new(
            name,
            FaultCode::MissingField,
            "needs ledger beside it, since ledgers have different digits after the point",
        ))),
    }
}

impl Exchange {
    /// A page of transfers.
    pub(crate) async fn page_of_transfers(
        &self,
        filter: &TransferFilter,
        page: &PageRequest,
    ) -> Result<Reply, ApiError> {
        let found = self.state.ledger.store().transfers(filter, page).await;
        let found = found.map_err(|error| unlisted(&error))?;
        let ledgers = found.data.iter().map(|stored| stored.transfer.ledger);
        self.state.ledger.seen(found.as_of, ledgers).await?;
        let answers: Answers<'_> = self.answers();
        let shown = shown(&found, |stored| {
            let scale = answers.scale(stored.transfer.ledger)?;
            let shown = wire::Transfer::of(&stored.transfer, stored.status(), scale);
            Ok(shown.reversed_by(stored.reversed_by))
        })?;
        Ok(Reply::json(StatusCode::OK, &shown)?.at(found.as_of).sourced(Source::Store))
    }
}
