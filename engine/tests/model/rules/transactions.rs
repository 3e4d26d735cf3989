//! Transactions, which the reference has not: a chain of legs under an id of its own, in the transfers' id space.

use florin_engine::{CreateTransaction, Field, Rejection};

use super::transfers::head;
use super::{
    Asked, Book, Happened, Head, ID_MAX, Moments, Status, Transaction, WHOLE, exists_unless,
    rule_batch,
};

impl Book {
    /// Either all legs happen, or the first that does not is told.
    pub(super) fn create_transaction(
        &mut self,
        item: &CreateTransaction,
        amounts: &[u128],
        at: Moments,
    ) -> Vec<(u32, Status)> {
        let id = item.id.0;
        let metadata = florin_engine::metadata_digest(item.metadata.as_ref());
        let legs: Vec<Asked> = item
            .transfers
            .iter()
            .zip(amounts)
            .map(|(leg, amount)| self.asked(leg, *amount, Some(id)))
            .collect();
        if let Some(status) = self.transaction_before(id, &legs, metadata) {
            return vec![(WHOLE, status)];
        }
        let before = self.clone();
        let (timestamp, seq) = (at.first, self.seq + 1);
        self.transactions.insert(id, Transaction { legs: legs.clone(), metadata, timestamp, seq });
        self.happened.push(Happened::Transaction(id));
        let heads: Vec<Head> = item.transfers.iter().map(head).collect();
        for (index, (leg, timestamp)) in legs.into_iter().zip(at.first + 1..).enumerate() {
            let status = match rule_batch(&heads[0], &heads[index], at) {
                Ok(()) => self.create_transfer(leg, item.transfers[index].timestamp.0, timestamp),
                Err(rejection) => Status::Refused(rejection),
            };
            if status == Status::Created {
                continue;
            }
            *self = before;
            if let Status::Refused(rejection) = status {
                // No retry of either may turn out otherwise.
                self.burn(id, rejection, at.first);
                self.burn(item.transfers[index].id.0, rejection, timestamp);
            }
            return vec![(index as u32, status)];
        }
        vec![(WHOLE, Status::Created)]
    }

    /// What a transaction comes to because of its id alone.
    fn transaction_before(&self, id: u128, legs: &[Asked], metadata: u64) -> Option<Status> {
        if id == 0 {
            return Some(Status::Refused(Rejection::IdMustNotBeZero));
        }
        if id == ID_MAX {
            return Some(Status::Refused(Rejection::IdMustNotBeIntMax));
        }
        if self.transfers.contains_key(&id) {
            return Some(Status::Refused(Rejection::ExistsWithDifferentKind));
        }
        if let Some(existing) = self.transactions.get(&id) {
            let differences = [
                (metadata != existing.metadata, Field::Metadata),
                (legs != existing.legs, Field::Transfers),
            ];
            let exists = Status::Exists(Some(existing.seq), existing.timestamp);
            return Some(exists_unless(&differences, exists));
        }
        let failed = self.burned.contains(&id);
        failed.then_some(Status::Refused(Rejection::IdAlreadyFailed))
    }
}
