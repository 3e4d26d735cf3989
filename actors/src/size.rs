//! The most that a command's record can take in the journal: what admission counts in bytes.

use florin_engine::{Command, CreateAccount, CreateTransfer, Metadata};
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
pub(crate) fn record_bytes_max(command: &Command) -> u64 {
    let items = match command {
        Command::CreateLedger(ledger) => ledger.currency.len() + ledger.name.len(),
        Command::CreateAccounts(accounts) => accounts.iter().map(account).sum(),
        Command::CreateTransfers(transfers) => transfers.iter().map(transfer).sum(),
        Command::CreateTransaction(transaction) => {
            metadata(transaction.metadata.as_ref())
                + transaction.transfers.iter().map(transfer).sum::<usize>()
        }
        Command::ReverseTransfer(reverse) => {
            TRANSFER_BYTES_MAX + metadata(reverse.metadata.as_ref())
        }
        Command::ReverseTransaction(reverse) => {
            metadata(reverse.metadata.as_ref()) + reverse.legs.len() * TRANSFER_BYTES_MAX
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
    ACCOUNT_BYTES_MAX + OUTCOME_BYTES_MAX + metadata(asked.metadata.as_ref())
}

fn transfer(asked: &CreateTransfer) -> usize {
    TRANSFER_BYTES_MAX + OUTCOME_BYTES_MAX + metadata(asked.metadata.as_ref())
}

fn metadata(metadata: Option<&Metadata>) -> usize {
    metadata.map_or(0, |metadata| metadata.text.len() + 16)
}
