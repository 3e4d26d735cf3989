//! The answer to a batch: how many events were created, which were refused, and on request what became of each.

use actix_web::http::StatusCode;
use florin_actors::Answer;
use florin_engine::{Event, ItemOutcome, LedgerId, Record, Rejection, Timestamp};

use super::answers::{Answers, broken, telling};
use super::error::{ApiError, Figures, ledger_of};
use super::exchange::Reply;
use super::wire::output::{BatchSummary, ItemResult, RejectedItem};
use super::wire::values::{Id, Time};

/// Whether a batch's answer tells of every event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Results {
    /// Only of those that were refused.
    Rejected,
    /// Of each.
    All,
}

impl Answers<'_> {
    /// The answer to a batch whose events have these ids, where the caller named them.
    ///
    /// An id that was made here is not known again when the answer is made a second time from the record, so it is told only
    /// for what the record holds: what was created, and what a refusal used up.
    pub(crate) fn batch(
        self,
        named: &[Option<u128>],
        results: Results,
        answer: &Answer,
    ) -> Result<Reply, ApiError> {
        let mut summary = BatchSummary {
            created: 0,
            replayed: 0,
            rejected: Vec::new(),
            first_timestamp: None,
            last_timestamp: None,
            seq: answer.seq.0,
            results: None,
            dry_run: self.mode.mark(),
        };
        let mut told = match results {
            Results::Rejected => None,
            Results::All => Some(Vec::with_capacity(named.len())),
        };
        let mut decided = DecidedIds::of(answer.record.as_ref());
        let mut exceptions = answer.exceptions.iter().peekable();
        for (index, named) in (0_u32..).zip(named) {
            let outcome = exceptions.next_if(|(at, _)| *at == index).map(|(_, outcome)| outcome);
            let (id, status, timestamp) = match outcome {
                None => {
                    let (id, timestamp) =
                        decided.created().ok_or_else(|| broken("a created event is missing"))?;
                    summary.created += 1;
                    summary.first_timestamp.get_or_insert(Time(timestamp));
                    summary.last_timestamp = Some(Time(timestamp));
                    (Some(id), "created", Some(timestamp))
                }
                Some(ItemOutcome::Exists { timestamp, .. }) => {
                    summary.replayed += 1;
                    (*named, "exists", Some(*timestamp))
                }
                Some(ItemOutcome::Rejected(rejection)) => {
                    let id = decided.burned(rejection, answer.timestamp.plus(u64::from(index)));
                    let id = named.or(id);
                    summary.rejected.push(self.rejected_item(index, id, rejection));
                    (id, rejection.code(), None)
                }
                Some(ItemOutcome::Differs { .. } | ItemOutcome::Settled { .. }) => {
                    return Err(broken("an unresolved difference"));
                }
            };
            if let Some(told) = &mut told {
                let (id, timestamp) = (id.map(Id), timestamp.map(Time));
                told.push(ItemResult { index, id, status, timestamp });
            }
        }
        self.count(answer, summary.created, summary.replayed);
        summary.results = told;
        Ok(Reply::json(StatusCode::OK, &summary)?.at(answer.seq).told(telling(answer)))
    }

    /// Counts what was decided by a batch.
    pub(crate) fn count(self, answer: &Answer, created: u32, replayed: u32) {
        if self.counts(answer) {
            self.metrics.created(u64::from(created));
            self.metrics.replayed(u64::from(replayed));
            for (_, outcome) in &answer.exceptions {
                if let ItemOutcome::Rejected(rejection) = outcome {
                    self.metrics.rejected(rejection);
                }
            }
        }
    }

    /// The answer to a batch of nothing, which needs no decision.
    pub(crate) fn empty_batch(self, results: Results) -> Result<Reply, ApiError> {
        let seq = self.ledger.newest();
        let summary = BatchSummary {
            created: 0,
            replayed: 0,
            rejected: Vec::new(),
            first_timestamp: None,
            last_timestamp: None,
            seq: seq.0,
            results: (results == Results::All).then(Vec::new),
            dry_run: self.mode.mark(),
        };
        Ok(Reply::json(StatusCode::OK, &summary)?.at(seq))
    }

    fn rejected_item(self, index: u32, id: Option<u128>, rejection: &Rejection) -> RejectedItem {
        let scale = ledger_of(rejection).and_then(|ledger: LedgerId| self.ledger.scale(ledger));
        RejectedItem {
            index,
            id: id.map(Id),
            code: rejection.code(),
            detail: rejection.detail(),
            figures: Figures::of(rejection, scale),
        }
    }
}

/// The id and the moment of what an event created, if it is of a kind that batches create.
pub(crate) fn created(event: &Event) -> Option<(u128, Timestamp)> {
    match event {
        Event::TransferPosted(posted) => Some((posted.transfer.id.0, posted.transfer.timestamp)),
        Event::AccountCreated(created) => Some((created.id.0, created.timestamp)),
        Event::LedgerCreated(_)
        | Event::TransactionCreated(_)
        | Event::IdBurned(_)
        | Event::TransferExpired(_)
        | Event::OverdraftLimitChanged(_)
        | Event::MetadataReplaced(_) => None,
    }
}

/// Walks through the ids that a record decided, in the order of the batch.
struct DecidedIds<'a> {
    events: std::iter::Peekable<std::slice::Iter<'a, Event>>,
}

impl<'a> DecidedIds<'a> {
    fn of(record: Option<&'a Record>) -> DecidedIds<'a> {
        let events = record.map_or(&[][..], |record| &record.events);
        DecidedIds { events: events.iter().peekable() }
    }

    /// The id of the next thing created, and its moment: an imported one has its own.
    fn created(&mut self) -> Option<(u128, Timestamp)> {
        self.events.find_map(created)
    }

    /// The id that this refusal at this moment used up, if it did.
    fn burned(&mut self, rejection: &Rejection, timestamp: Timestamp) -> Option<u128> {
        let burned = self.events.next_if(|event| match event {
            Event::IdBurned(burned) => {
                burned.rejection == rejection.number() && burned.timestamp == timestamp
            }
            _ => false,
        });
        match burned {
            Some(Event::IdBurned(burned)) => Some(burned.id.0),
            _ => None,
        }
    }
}
