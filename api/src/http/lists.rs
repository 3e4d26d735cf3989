//! Lists, history and totals: what they have in common when they are read from the store.

use std::error::Error;

use florin_engine::JournalSeq;
use florin_persistence::store::{
    CursorError, Order, Page, PageRequest, StoreError, StoreErrorKind,
};

use super::error::{ApiError, Fault, FaultCode};
use super::query::Query;
use super::wire::output as wire;
use super::wire::values::ValueFault;

/// Takes the page out of a query.
pub(crate) fn page(query: &mut Query<'_>) -> Result<PageRequest, ApiError> {
    let orders = [("desc", Order::NewestFirst), ("asc", Order::OldestFirst)];
    Ok(PageRequest {
        limit: query.limit()?,
        cursor: query.value("cursor", |text| text.parse().map_err(bad_cursor))?,
        order: query.word("order", &orders)?.unwrap_or(Order::NewestFirst),
    })
}

/// The page as it is shown, each entry by `show`.
pub(crate) fn shown<'a, T, S>(
    page: &'a Page<T>,
    show: impl FnMut(&'a T) -> Result<S, ApiError>,
) -> Result<wire::Page<S>, ApiError> {
    Ok(wire::Page {
        data: page.data.iter().map(show).collect::<Result<_, _>>()?,
        has_more: page.next.is_some(),
        next_cursor: page.next.as_ref().map(ToString::to_string),
        as_of_seq: page.as_of.0,
        history_from: (page.history_from > JournalSeq::FIRST).then_some(page.history_from.0),
    })
}

pub(crate) fn bad_cursor(error: CursorError) -> ValueFault {
    let detail = match error {
        CursorError::Damaged => "is none that a page gave: use next_cursor as it was given",
        CursorError::OtherVersion => "is of another version of Florin: begin with the first page",
        CursorError::OtherFilter => "is of another list, or of one with another filter",
        CursorError::OtherOrder => "is of this list in the other order",
    };
    ValueFault::new(FaultCode::InvalidValue, detail)
}

/// Tells why a list has no answer.
pub(crate) fn unlisted(error: &StoreError) -> ApiError {
    match (error.kind(), error) {
        (_, StoreError::Cursor(cursor)) => {
            let fault = bad_cursor(*cursor);
            ApiError::InvalidParameter(Fault::new("cursor", fault.code, fault.detail))
        }
        (StoreErrorKind::OutOfReach, _) => ApiError::OutOfReach,
        (StoreErrorKind::HistoryLost, _) => ApiError::HistoryLost { id: None },
        (StoreErrorKind::Passing, _) => {
            tracing::warn!(%error, source = ?error.source(), "the store does not answer");
            ApiError::StoreAway { id: None }
        }
        (StoreErrorKind::Permanent | StoreErrorKind::Fenced | StoreErrorKind::BadCursor, _) => {
            tracing::error!(%error, source = ?error.source(), "the store can not answer");
            ApiError::Internal
        }
    }
}
