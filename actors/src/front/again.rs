//! What is asked for again: the outcomes that only history can tell, since an id or a key was used before.

use florin_engine::{
    Asking, Command, Decision, Event, Field, ItemOutcome, JournalSeq, Record, Rejection,
    Settlement, Transfer, WHOLE_TRANSACTION, metadata_digest,
};

use super::{Answer, Florin, Replay, SubmitError};
use crate::history::HistoryError;

impl Florin {
    /// The first answer to a command that used ids again for other content.
    pub(super) async fn answer_differing(
        &self,
        seq: JournalSeq,
        decision: Decision,
    ) -> Result<Answer, SubmitError> {
        let Decision { timestamp, items, mut exceptions, asked, record, account } = decision;
        let mut asked = asked.into_iter();
        for (index, outcome) in &mut exceptions {
            let mut asked =
                || asked.next().expect("what is left open says what was asked for, in order").1;
            *outcome = match *outcome {
                ItemOutcome::Exists { .. } | ItemOutcome::Rejected(_) => continue,
                ItemOutcome::Differs { seq: first } => {
                    self.conflict(first, *index, &asked().asking()).await
                }
                ItemOutcome::Settled { seq: pending, settlement } => {
                    self.settled(pending, settlement, &asked().asking()).await
                }
            }
            .map_err(history_away)?;
        }
        let replay = Replay::First;
        Ok(Answer { seq, timestamp, items, exceptions, record, account, replay })
    }

    /// What a second use of an id for other content comes to: a rejection that names the field in which it differs from the
    /// first use, which stands at `seq`.
    async fn conflict(
        &self,
        seq: JournalSeq,
        index: u32,
        asked: &Asking<'_>,
    ) -> Result<ItemOutcome, HistoryError> {
        let id = asked.item.id;
        let missing = HistoryError::Missing { seq: seq.0 };
        if index != WHOLE_TRANSACTION {
            let (first, _) = self.running.history.transfer(seq, id).await?;
            return Ok(conflicting(seq, asked, &first.ok_or(missing)?.transfer));
        }
        let (first, _) = self.running.history.transaction(seq, id).await?;
        let (first, _) = first.ok_or(missing)?;
        let first = metadata_digest(first.metadata.as_ref());
        let same_metadata = first == metadata_digest(asked.item.metadata.as_ref());
        let field = if same_metadata { Field::Transfers } else { Field::Metadata };
        Ok(ItemOutcome::Rejected(Rejection::exists_with_different(field)))
    }

    /// Why a post or void is refused whose pending transfer, decided at `seq`, was settled before.
    async fn settled(
        &self,
        seq: JournalSeq,
        settlement: Settlement,
        asked: &Asking<'_>,
    ) -> Result<ItemOutcome, HistoryError> {
        let (pending, _) = self.running.history.transfer(seq, asked.item.pending_id).await?;
        let pending = pending.ok_or(HistoryError::Missing { seq: seq.0 })?.transfer;
        Ok(ItemOutcome::Rejected(asked.refused_as_settled(&pending, settlement)))
    }

    /// The answer that was given when the record at `seq` was decided, for the same command.
    pub(super) async fn answer_again(
        &self,
        seq: JournalSeq,
        command: &Command,
    ) -> Result<Answer, SubmitError> {
        let record = self.running.history.keyed_record(seq).await.map_err(history_away)?;
        let mut exceptions =
            record.key.as_ref().map(|key| key.exceptions.clone()).unwrap_or_default();
        for (index, outcome) in &mut exceptions {
            let again = self.outcome_again(*outcome, *index, command).await;
            *outcome = again.map_err(history_away)?;
        }
        let items = items_of(&record, &exceptions);
        let timestamp = record.timestamp;
        Ok(Answer {
            seq,
            timestamp,
            items,
            exceptions,
            record: Some(record),
            account: None,
            replay: Replay::ByKey,
        })
    }

    /// Finds again what the record leaves open of the outcome of an item of a batch: in which field it differs, or why it can not settle
    /// its pending transfer.
    async fn outcome_again(
        &self,
        outcome: ItemOutcome,
        index: u32,
        command: &Command,
    ) -> Result<ItemOutcome, HistoryError> {
        let (ItemOutcome::Differs { seq } | ItemOutcome::Settled { seq, .. }) = outcome else {
            return Ok(outcome);
        };
        let missing = HistoryError::Missing { seq: seq.0 };
        let Command::CreateTransfers(items) = command else { return Err(missing) };
        let item = items.get(index as usize).ok_or(missing.clone())?;
        let id = match outcome {
            ItemOutcome::Settled { .. } => item.pending_id,
            _ => item.id,
        };
        let (first, _) = self.running.history.transfer(seq, id).await?;
        let first = first.ok_or(missing.clone())?.transfer;
        let scale = self.scale(first.ledger).ok_or(missing)?;
        let asked = Asking::against(item, &first, scale);
        Ok(match outcome {
            ItemOutcome::Settled { settlement, .. } => {
                ItemOutcome::Rejected(asked.refused_as_settled(&first, settlement))
            }
            _ => conflicting(seq, &asked, &first),
        })
    }
}

/// What asking again under the id of the transfer that was decided `first`, at `seq`, comes to.
fn conflicting(seq: JournalSeq, asked: &Asking<'_>, first: &Transfer) -> ItemOutcome {
    match asked.first_difference(first) {
        Some(field) => ItemOutcome::Rejected(Rejection::exists_with_different(field)),
        None => ItemOutcome::Exists { seq, timestamp: first.timestamp },
    }
}

/// How many items the command of a record had: those that happened and those that did not.
fn items_of(record: &Record, exceptions: &[(u32, ItemOutcome)]) -> u32 {
    let mut items = exceptions.len() as u32;
    for event in &record.events {
        match event {
            Event::TransactionCreated(transaction) => return transaction.transfers,
            Event::LedgerCreated(_) | Event::AccountCreated(_) | Event::TransferPosted(_) => {
                items += 1
            }
            // Its item is among the exceptions.
            Event::IdBurned(_) => {}
            // An item of the shard's own command, which nobody asks for again.
            Event::TransferExpired(_) => items += 1,
            Event::OverdraftLimitChanged(_) | Event::MetadataReplaced(_) => items += 1,
        }
    }
    items
}

fn history_away(error: HistoryError) -> SubmitError {
    match error {
        HistoryError::Lost { .. } => SubmitError::HistoryLost(error.to_string()),
        _ => SubmitError::HistoryAway(error.to_string()),
    }
}
