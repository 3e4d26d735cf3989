//! Lists, history and totals: what they have in common when they are read from the store.

use std::error::Error;
use std::time::Duration;

use florin_engine::JournalSeq;
use florin_persistence::store::{
    CursorError, Order, Page, PageRequest, StoreError, StoreErrorKind,
};

use super::error::{ApiError, Fault, FaultCode};
use super::exchange::Exchange;
use super::query::Query;
use super::wire::output as wire;
use super::wire::values::ValueFault;

/// How long a list waits for the store to cover what was acknowledged before it.
const COVER_PATIENCE: Duration = Duration::from_millis(250);
/// How long a read waits for the position in `min_seq`.
const MIN_SEQ_PATIENCE: Duration = Duration::from_secs(5);

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
    })
}

impl Exchange {
    /// Waits until the store covers what was acknowledged before this request, for a moment, and `min_seq`, for longer.
    ///
    /// A store that is late answers with what it has and says so in `as_of_seq`; one that does not reach `min_seq` does not.
    pub(crate) async fn until_stored(&self, min_seq: Option<JournalSeq>) -> Result<(), ApiError> {
        let florin = &self.state.florin;
        let acknowledged = florin.positions().durable;
        florin.wait_stored(acknowledged, COVER_PATIENCE).await;
        match min_seq {
            Some(asked) if !florin.wait_stored(asked, MIN_SEQ_PATIENCE).await => {
                Err(ApiError::NotYet { asked, reached: florin.positions().stored })
            }
            _ => Ok(()),
        }
    }

    /// Waits until `min_seq` is durable: a read by id at the owner covers everything that is.
    pub(crate) async fn until_durable(&self, min_seq: Option<JournalSeq>) -> Result<(), ApiError> {
        let Some(asked) = min_seq else {
            return Ok(());
        };
        let florin = &self.state.florin;
        if florin.wait_durable(asked, MIN_SEQ_PATIENCE).await {
            Ok(())
        } else {
            Err(ApiError::NotYet { asked, reached: florin.positions().durable })
        }
    }
}

fn bad_cursor(error: CursorError) -> ValueFault {
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
        (StoreErrorKind::Passing, _) => {
            tracing::warn!(%error, source = ?error.source(), "the store does not answer");
            ApiError::StoreAway
        }
        (StoreErrorKind::Permanent | StoreErrorKind::Fenced | StoreErrorKind::BadCursor, _) => {
            tracing::error!(%error, source = ?error.source(), "the store can not answer");
            ApiError::Internal
        }
    }
}
