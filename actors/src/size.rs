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

/// The most bytes that the command's record can take from the journal's room.
///
/// # Panics
/// When an external id does not stand for the id beside it: whoever made the command is wrong, and learns it before anybody else does.
pub(crate) fn record_bytes_max(command: &Command) -> u64 {
    let items = match command {
        Command::CreateLedger(ledger) => ledger.currency.len() + ledger.name.len(),
        Command::CreateAccounts(accounts) => accounts.iter().map(account).sum(),
        Command::CreateTransfers(transfers) => transfers.iter().map(transfer).sum(),
        Command::CreateTransaction(transaction) => {
            metadata(transaction.metadata.as_ref())
                + external_id(transaction.id.0, transaction.external_id.as_ref())
                + transaction.transfers.iter().map(transfer).sum::<usize>()
        }
        Command::ReverseTransfer(reverse) => {
            TRANSFER_BYTES_MAX
                + metadata(reverse.metadata.as_ref())
                + external_id(reverse.id.0, reverse.external_id.as_ref())
        }
        Command::ReverseTransaction(reverse) => {
            metadata(reverse.metadata.as_ref())
                + external_id(reverse.id.0, reverse.external_id.as_ref())
                + reverse.legs.len() * TRANSFER_BYTES_MAX
        }
        Command::SetOverdraftLimit(_) => ACCOUNT_BYTES_MAX,
        Command::ReplaceMetadata(replace) => {
            ACCOUNT_BYTES_MAX + metadata(replace.metadata.as_ref())
        }
        Command::ExpirePending(expire) => expire.limit as usize * TRANSFER_BYTES_MAX,
        Command::OpenAccount(open) => {
            account(&open.account) + ACCOUNT_BYTES_MAX + TRANSFER_BYTES_MAX
        }
    };
    room_for_record(RECORD_BYTES_BASE + items)
}

fn account(asked: &CreateAccount) -> usize {
    ACCOUNT_BYTES_MAX
        + OUTCOME_BYTES_MAX
        + metadata(asked.metadata.as_ref())
        + external_id(asked.id.0, asked.external_id.as_ref())
}

fn transfer(asked: &CreateTransfer) -> usize {
    TRANSFER_BYTES_MAX
        + OUTCOME_BYTES_MAX
        + metadata(asked.metadata.as_ref())
        + external_id(asked.id.0, asked.external_id.as_ref())
}

fn metadata(metadata: Option<&Metadata>) -> usize {
    metadata.map_or(0, |metadata| metadata.text.len() + 16)
}

fn external_id(id: u128, external_id: Option<&ExternalId>) -> usize {
    external_id.map_or(0, |external_id| {
        assert!(external_id.id() == id, "an external id stands for another id");
        external_id.text().len() + 4
    })
}
