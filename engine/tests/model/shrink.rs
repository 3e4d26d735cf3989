//! The least history that still fails.

use std::panic::{AssertUnwindSafe, catch_unwind};

use florin_engine::Command;

use crate::against::{Counts, live};
use crate::history::Step;

/// [`live`], where a panic of the engine is a difference too.
pub(crate) fn lived(history: &[Step]) -> Result<Counts, String> {
    catch_unwind(AssertUnwindSafe(|| live(history))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("it panics: {}", text.unwrap_or_default()))
    })
}

/// Leaves out commands, then events of batches, as long as what is left fails.
pub(crate) fn least(mut history: Vec<Step>, mut text: String) -> (Vec<Step>, String) {
    loop {
        let before = size(&history);
        let mut chunk = history.len() / 2;
        while chunk > 0 {
            let mut at = 0;
            while at < history.len() {
                let mut fewer = history.clone();
                fewer.drain(at..(at + chunk).min(history.len()));
                match lived(&fewer) {
                    Err(failure) => (history, text) = (fewer, failure),
                    Ok(_) => at += chunk,
                }
            }
            chunk /= 2;
        }
        for at in 0..history.len() {
            let mut event = 0;
            while let Some(fewer) = without_event(&history, at, event) {
                match lived(&fewer) {
                    Err(failure) => (history, text) = (fewer, failure),
                    Ok(_) => event += 1,
                }
            }
        }
        if size(&history) == before {
            return (history, text);
        }
    }
}

fn size(history: &[Step]) -> usize {
    history.iter().map(|step| step.command.events()).sum::<usize>() + history.len()
}

/// The history without one event of one of its batches, unless there is no such event or the batch has no other.
fn without_event(history: &[Step], at: usize, event: usize) -> Option<Vec<Step>> {
    let mut fewer = history.to_vec();
    fn remove<T>(events: &mut Vec<T>, event: usize) -> Option<T> {
        (events.len() > 1 && event < events.len()).then(|| events.remove(event))
    }
    match &mut fewer[at].command {
        Command::CreateAccounts(accounts) => remove(accounts, event).map(drop)?,
        Command::CreateTransfers(transfers) => remove(transfers, event).map(drop)?,
        Command::CreateTransaction(transaction) => {
            remove(&mut transaction.transfers, event).map(drop)?;
        }
        Command::CreateLedger(_)
        | Command::OpenAccount(_)
        | Command::ExpirePending(_)
        | Command::ReverseTransfer(_)
        | Command::ReverseTransaction(_)
        | Command::SetOverdraftLimit(_)
        | Command::ReplaceMetadata(_) => return None,
    }
    Some(fewer)
}
