//! Rows as what they mean. The order of the columns is that of the lists that each database's queries select.

use florin_engine::{
    Account, AccountFlags, AccountId, Balances, Code, Inherited, JournalSeq, Ledger, LedgerId,
    LedgerTotals, Scale, Settlement, Timestamp, Transaction, Transfer, TransferFlags, TransferId,
    TransferStatus, metadata_digest,
};

use super::batch::{MetadataRow, SettlementRow, TransactionRow};
use super::columns::Columns;
use super::error::StoreError;
use super::rows::{AccountWords, BalanceAt, StoredAccount, StoredLedger, StoredTransfer};
use super::statement::Movement;

pub(super) fn transfer(mut columns: impl Columns) -> Result<StoredTransfer, StoreError> {
    let timestamp = Timestamp(columns.u64("timestamp")?);
    let id = TransferId(columns.id("id")?);
    let debit_account_id = AccountId(columns.id("debit_account_id")?);
    let credit_account_id = AccountId(columns.id("credit_account_id")?);
    let amount = columns.amount("amount")?;
    let ledger = LedgerId(columns.u32("ledger")?);
    let code = Code(columns.u16("code")?);
    let flags = TransferFlags::try_from_bits(columns.u16("flags")?)
        .ok_or(StoreError::Unreadable { what: "flags of a transfer" })?;
    let seq = JournalSeq(columns.u64("seq")?);
    let (user_data_128, user_data_64, user_data_32) = references(&mut columns)?;
    let effective_at = columns.optional_u64("effective_at")?.map(Timestamp);
    let transaction_id = columns.optional_id("transaction_id")?.map(TransferId);
    let metadata = columns.metadata()?;
    let amount_requested = columns.optional_amount("amount_requested")?.unwrap_or(amount);
    let pending_id = TransferId(columns.optional_id("pending_id")?.unwrap_or(0));
    let inherited = columns.optional_u64("inherited")?.unwrap_or(0);
    let inherited = u16::try_from(inherited)
        .ok()
        .and_then(Inherited::try_from_bits)
        .ok_or(StoreError::Unreadable { what: "inherited" })?;
    let timeout = columns.optional_u64("timeout")?.unwrap_or(0);
    let timeout = u32::try_from(timeout).map_err(|_| StoreError::Unreadable { what: "timeout" })?;
    let reverses = TransferId(columns.optional_id("reverses")?.unwrap_or(0));
    let settlement = match columns.optional_u64("settlement")? {
        None => None,
        Some(number) => Some(settlement(number)?),
    };
    let external_id = columns.external_id(id.0)?;
    let reversed_by = columns.optional_id("reversed_by")?.map(TransferId);
    let transfer = Transfer {
        id,
        external_id,
        debit_account_id,
        credit_account_id,
        amount,
        amount_requested,
        pending_id,
        reverses,
        inherited,
        timeout,
        user_data_128,
        user_data_64,
        user_data_32,
        ledger,
        code,
        flags,
        effective_at,
        timestamp,
        transaction_id,
        metadata,
    };
    Ok(StoredTransfer { transfer, seq, settlement, reversed_by })
}

/// A transfer as it stands on `account`.
pub(super) fn movement(
    mut columns: impl Columns,
    account: AccountId,
) -> Result<Movement, StoreError> {
    let timestamp = Timestamp(columns.u64("timestamp")?);
    let effective_at = columns.optional_u64("effective_at")?.map(Timestamp);
    let seq = JournalSeq(columns.u64("seq")?);
    let transfer = Transfer {
        timestamp,
        effective_at,
        id: TransferId(columns.id("id")?),
        debit_account_id: AccountId(columns.id("debit_account_id")?),
        credit_account_id: AccountId(columns.id("credit_account_id")?),
        amount: columns.amount("amount")?,
        code: Code(columns.u16("code")?),
        flags: TransferFlags::try_from_bits(columns.u16("flags")?)
            .ok_or(StoreError::Unreadable { what: "flags of a transfer" })?,
        ..Transfer::default()
    };
    Ok(Movement::of(&transfer, seq, account))
}

/// How the tables keep what became of a pending transfer.
pub(super) fn settlement_number(settlement: Settlement) -> u32 {
    match settlement {
        Settlement::Posted => 1,
        Settlement::Voided => 2,
        Settlement::Expired => 3,
    }
}

/// How queries tell how a transfer stands: as its settlement is kept, and 0 while it is open.
pub(super) fn status_number(status: TransferStatus) -> u32 {
    match status {
        TransferStatus::Pending => 0,
        TransferStatus::Posted => settlement_number(Settlement::Posted),
        TransferStatus::Voided => settlement_number(Settlement::Voided),
        TransferStatus::Expired => settlement_number(Settlement::Expired),
    }
}

fn settlement(number: u64) -> Result<Settlement, StoreError> {
    match number {
        1 => Ok(Settlement::Posted),
        2 => Ok(Settlement::Voided),
        3 => Ok(Settlement::Expired),
        _ => Err(StoreError::Unreadable { what: "settlement" }),
    }
}

pub(super) fn expired(mut columns: impl Columns) -> Result<SettlementRow, StoreError> {
    Ok(SettlementRow {
        pending_id: TransferId(columns.id("pending_id")?),
        settlement: Settlement::Expired,
        timestamp: Timestamp(columns.u64("timestamp")?),
        seq: JournalSeq(columns.u64("seq")?),
    })
}

/// A row of any kind.
pub(super) fn settled(mut columns: impl Columns) -> Result<SettlementRow, StoreError> {
    Ok(SettlementRow {
        pending_id: TransferId(columns.id("pending_id")?),
        settlement: settlement(columns.u64("kind")?)?,
        timestamp: Timestamp(columns.u64("timestamp")?),
        seq: JournalSeq(columns.u64("seq")?),
    })
}

fn references(columns: &mut impl Columns) -> Result<(u128, u64, u32), StoreError> {
    let user_data_128 = columns.reference(128, "user_data_128")?;
    let user_data_64 = columns.reference(64, "user_data_64")?;
    let user_data_32 = columns.reference(32, "user_data_32")?;
    Ok((
        user_data_128,
        u64::try_from(user_data_64).map_err(|_| StoreError::Unreadable { what: "user_data_64" })?,
        u32::try_from(user_data_32).map_err(|_| StoreError::Unreadable { what: "user_data_32" })?,
    ))
}

fn account_flags(columns: &mut impl Columns) -> Result<AccountFlags, StoreError> {
    AccountFlags::try_from_bits(columns.u16("flags")?)
        .ok_or(StoreError::Unreadable { what: "flags of an account" })
}

fn balances(columns: &mut impl Columns) -> Result<Balances, StoreError> {
    Ok(Balances {
        debits_pending: columns.amount("debits_pending")?,
        debits_posted: columns.amount("debits_posted")?,
        credits_pending: columns.amount("credits_pending")?,
        credits_posted: columns.amount("credits_posted")?,
    })
}

pub(super) fn account(mut columns: impl Columns) -> Result<StoredAccount, StoreError> {
    let timestamp = Timestamp(columns.u64("timestamp")?);
    let id = AccountId(columns.id("id")?);
    let ledger = LedgerId(columns.u32("ledger")?);
    let code = Code(columns.u16("code")?);
    let (user_data_128, user_data_64, user_data_32) = references(&mut columns)?;
    let metadata = columns.metadata()?;
    let seq = JournalSeq(columns.u64("seq")?);
    let flags = account_flags(&mut columns)?;
    let overdraft_limit = columns.amount("overdraft_limit")?;
    let version = columns.u64("version")?;
    let balances = balances(&mut columns)?;
    let replaced = columns.optional_u64("metadata_seq")?.map(JournalSeq);
    let external_id = columns.external_id(id.0)?;
    let seq_if = |said: bool, seq| if said { seq } else { JournalSeq::NONE };
    let account = Account {
        id,
        balances,
        user_data_128,
        overdraft_limit,
        user_data_64,
        timestamp,
        version,
        metadata_digest: metadata_digest(metadata.as_ref()),
        metadata_seq: seq_if(metadata.is_some(), replaced.unwrap_or(seq)),
        external_id_seq: seq_if(external_id.is_some(), seq),
        user_data_32,
        ledger,
        code,
        flags,
    };
    let metadata = metadata.map(|metadata| metadata.text);
    Ok(StoredAccount { account, metadata, external_id, seq })
}

pub(super) fn words(mut columns: impl Columns, id: AccountId) -> Result<AccountWords, StoreError> {
    let metadata = columns.metadata()?;
    Ok(AccountWords { metadata, external_id: columns.external_id(id.0)? })
}

pub(super) fn balance_at(mut columns: impl Columns) -> Result<BalanceAt, StoreError> {
    Ok(BalanceAt {
        account: AccountId(columns.id("account_id")?),
        timestamp: Timestamp(columns.u64("timestamp")?),
        seq: JournalSeq(columns.u64("seq")?),
        flags: account_flags(&mut columns)?,
        overdraft_limit: columns.amount("overdraft_limit")?,
        version: columns.u64("version")?,
        balances: balances(&mut columns)?,
    })
}

pub(super) fn transaction(mut columns: impl Columns) -> Result<TransactionRow, StoreError> {
    let timestamp = Timestamp(columns.u64("timestamp")?);
    let id = TransferId(columns.id("id")?);
    let transfers = columns.u32("transfers")?;
    let first_leg = columns.optional_u64("first_timestamp")?.map(Timestamp);
    let last_leg = Timestamp(columns.u64("last_timestamp")?);
    let seq = JournalSeq(columns.u64("seq")?);
    let metadata = columns.metadata()?;
    let external_id = columns.external_id(id.0)?;
    let transaction = Transaction { id, external_id, transfers, timestamp, metadata };
    Ok(TransactionRow { transaction, first_leg, last_leg, seq })
}

pub(super) fn replaced_metadata(mut columns: impl Columns) -> Result<MetadataRow, StoreError> {
    Ok(MetadataRow {
        seq: JournalSeq(columns.u64("seq")?),
        timestamp: Timestamp(columns.u64("timestamp")?),
        account: AccountId(columns.id("account_id")?),
        metadata: columns.metadata()?,
    })
}

pub(super) fn keyed(mut columns: impl Columns) -> Result<(JournalSeq, Box<[u8]>), StoreError> {
    let seq = JournalSeq(columns.u64("seq")?);
    Ok((seq, columns.blob("record")?.into()))
}

pub(super) fn ledger(mut columns: impl Columns) -> Result<StoredLedger, StoreError> {
    let id = LedgerId(columns.u32("id")?);
    let currency = columns.text("currency")?;
    let scale = u8::try_from(columns.u16("scale")?).ok().and_then(Scale::try_new);
    let scale = scale.ok_or(StoreError::Unreadable { what: "scale" })?;
    let name = columns.text("name")?;
    let timestamp = Timestamp(columns.u64("timestamp")?);
    let seq = JournalSeq(columns.u64("seq")?);
    let totals = LedgerTotals {
        accounts: columns.u64("accounts")?,
        posted: columns.minor_units("posted")?,
        pending: columns.minor_units("pending")?,
    };
    Ok(StoredLedger { ledger: Ledger { id, currency, scale, name, timestamp }, totals, seq })
}
