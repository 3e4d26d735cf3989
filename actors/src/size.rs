//! The most that a command's record can take in the journal: what admission counts in bytes.

use florin_engine::{Command, CreateAccount, CreateTransfer, ExternalId, Metadata};
use florin_persistence::journal::room_for_record;

/// The most bytes of a record for each transfer beside its metadata: its own fields, and both accounts' states after it.
const TRANSFER_BYTES_MAX: usize = 448;
/// The most bytes of a record for each account beside its metadata.
const ACCOUNT_BYTES_MAX: usize = 160;
/// The most bytes of a record beside its items: timestamp, ledgers, key.
const RECORD_BYTES_BASE: usize = 512;
/// The most bytes of an outcome that is remembered with a key.
const OUTCOME_BYTES_MAX: usize = 64;

/// An external id in a command does not stand for the id beside it.
#[derive(Debug)]
pub(crate) struct WrongExternalId;

/// The most bytes that the command's record can take from the journal's room.
///
/// # Errors
/// The command can not be right.
pub(crate) fn record_bytes_max(command: &Command) -> Result<u64, WrongExternalId> {
    let items = match command {
        Command::CreateLedger(ledger) => ledger.currency.len() + ledger.name.len(),
        Command::CreateAccounts(accounts) => accounts.iter().map(account).sum::<Result<_, _>>()?,
        Command::CreateTransfers(transfers) => {
            transfers.iter().map(transfer).sum::<Result<_, _>>()?
        }
        Command::CreateTransaction(transaction) => {
            metadata(transaction.metadata.as_ref())
                + external_id(transaction.id.0, transaction.external_id.as_ref())?
                + transaction.transfers.iter().map(transfer).sum::<Result<usize, _>>()?
        }
        Command::ReverseTransfer(reverse) => {
            TRANSFER_BYTES_MAX
                + metadata(reverse.metadata.as_ref())
                + external_id(reverse.id.0, reverse.external_id.as_ref())?
        }
        Command::ReverseTransaction(reverse) => {
            metadata(reverse.metadata.as_ref())
                + external_id(reverse.id.0, reverse.external_id.as_ref())?
                + reverse.legs.len() * TRANSFER_BYTES_MAX
        }
        Command::SetOverdraftLimit(_) => ACCOUNT_BYTES_MAX,
        Command::ReplaceMetadata(replace) => {
            ACCOUNT_BYTES_MAX + metadata(replace.metadata.as_ref())
        }
        Command::ExpirePending(expire) => return Ok(expiry_bytes_max(expire.limit)),
        Command::OpenAccount(open) => {
            account(&open.account)? + ACCOUNT_BYTES_MAX + TRANSFER_BYTES_MAX
        }
    };
    Ok(room_for_record(RECORD_BYTES_BASE + items))
}

/// The same of a command that lets so many transfers expire.
pub(crate) fn expiry_bytes_max(limit: u32) -> u64 {
    room_for_record(RECORD_BYTES_BASE + limit as usize * TRANSFER_BYTES_MAX)
}

fn account(asked: &CreateAccount) -> Result<usize, WrongExternalId> {
    Ok(ACCOUNT_BYTES_MAX
        + OUTCOME_BYTES_MAX
        + metadata(asked.metadata.as_ref())
        + external_id(asked.id.0, asked.external_id.as_ref())?)
}

fn transfer(asked: &CreateTransfer) -> Result<usize, WrongExternalId> {
    Ok(TRANSFER_BYTES_MAX
        + OUTCOME_BYTES_MAX
        + metadata(asked.metadata.as_ref())
        + external_id(asked.id.0, asked.external_id.as_ref())?)
}

fn metadata(metadata: Option<&Metadata>) -> usize {
    metadata.map_or(0, |metadata| metadata.text.len() + 16)
}

fn external_id(id: u128, external_id: Option<&ExternalId>) -> Result<usize, WrongExternalId> {
    match external_id {
        None => Ok(0),
        Some(external_id) if external_id.id() == id => Ok(external_id.text().len() + 4),
        Some(_) => Err(WrongExternalId),
    }
}
