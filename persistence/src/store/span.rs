//! The moments that a page may show.

use super::filter::TimeRange;
use super::page::{Order, PageRequest};

/// Moments from `first` to `last`, both in it; empty when `last` is before `first`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) first: i64,
    pub(super) last: i64,
}

impl Span {
    pub(super) const ALL: Span = Span { first: 0, last: i64::MAX };

    /// What of `range` comes after `position` in `order`.
    pub(super) fn new(range: TimeRange, order: Order, position: Option<u64>) -> Span {
        let mut span = Span {
            first: range.from.map_or(0, |from| time(from.0)),
            last: range.to.map_or(i64::MAX, |to| time(to.0).saturating_sub(1)),
        };
        match (position, order) {
            (None, _) => {}
            (Some(position), Order::NewestFirst) => {
                span.last = span.last.min(time(position).saturating_sub(1));
            }
            (Some(position), Order::OldestFirst) => {
                span.first = span.first.max(time(position).saturating_add(1));
            }
        }
        span
    }

    /// What of this comes no later than `end` in `order`, if there is an end.
    pub(super) fn until(self, end: Option<u64>, order: Order) -> Span {
        match (end, order) {
            (None, _) => self,
            (Some(end), Order::NewestFirst) => self.within(end, u64::MAX),
            (Some(end), Order::OldestFirst) => self.within(0, end),
        }
    }

    /// What of this is in `first ..= last` too.
    pub(super) fn within(self, first: u64, last: u64) -> Span {
        Span { first: self.first.max(time(first)), last: self.last.min(time(last)) }
    }
}

fn time(at: u64) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}

pub(super) fn direction(order: Order) -> &'static str {
    match order {
        Order::NewestFirst => " DESC",
        Order::OldestFirst => " ASC",
    }
}

/// How many rows are fetched for a page: one more than it shows, to know whether there are more.
pub(super) fn limit(page: &PageRequest) -> i64 {
    page.rows() as i64 + 1
}
