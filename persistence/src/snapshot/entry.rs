//! The form of one ledger, one account and one pending transfer in a block.

use florin_engine::{
    Account, AccountId, Balances, Code, JournalSeq, Ledger, LedgerId, LedgerTotals,
    PendingTransfer, Timestamp, TransferId,
};

use crate::record::bytes::{Cursor, Malformed, Presence, Problem, Scratch, put_text};
use crate::record::{account_flags, scale, transfer_flags};

const FLAGS: u64 = 1 << 0;
const OVERDRAFT_LIMIT: u64 = 1 << 1;
const USER_DATA_128: u64 = 1 << 2;
const USER_DATA_64: u64 = 1 << 3;
const USER_DATA_32: u64 = 1 << 4;
const METADATA: u64 = 1 << 5;
const DEBITS_PENDING: u64 = 1 << 6;
const CREDITS_PENDING: u64 = 1 << 7;
const EXTERNAL_ID: u64 = 1 << 8;
const KNOWN: u64 = (1 << 9) - 1;

/// The id in the block before which none can be: the distance to it is the id itself.
pub(super) const NO_LEDGER: LedgerId = LedgerId(0);
/// See [`NO_LEDGER`].
pub(super) const NO_ACCOUNT: AccountId = AccountId(0);
/// See [`NO_LEDGER`].
pub(super) const NO_TRANSFER: TransferId = TransferId(0);

/// Presence bits of a pending transfer.
mod pending_bits {
    pub(super) const USER_DATA_128: u64 = 1 << 0;
    pub(super) const USER_DATA_64: u64 = 1 << 1;
    pub(super) const USER_DATA_32: u64 = 1 << 2;
    pub(super) const TIMEOUT: u64 = 1 << 3;
    pub(super) const KNOWN: u64 = (1 << 4) - 1;
}

pub(super) fn put_ledger(
    before: LedgerId,
    ledger: &Ledger,
    totals: &LedgerTotals,
    out: &mut Vec<u8>,
) {
    let mut scratch = Scratch::new();
    scratch.varint(u64::from(ledger.id.0.wrapping_sub(before.0)));
    put_text(&mut scratch, &ledger.currency, out);
    scratch.byte(ledger.scale.digits());
    put_text(&mut scratch, &ledger.name, out);
    scratch.array(ledger.timestamp.0.to_le_bytes());
    scratch.varint(totals.accounts);
    scratch.varint_u128(totals.posted);
    scratch.varint_u128(totals.pending);
    scratch.drain_to(out);
}

pub(super) fn ledger(
    before: LedgerId,
    cursor: &mut Cursor,
) -> Result<(Ledger, LedgerTotals), Malformed> {
    let ascending = |distance| {
        let id = before.0.checked_add(distance).filter(|id| *id > before.0);
        id.map(LedgerId).ok_or(Problem::NotAscending)
    };
    let id = cursor.checked(Cursor::varint_u32, ascending)?;
    let currency = cursor.text()?.to_owned();
    let scale = scale(cursor)?;
    let name = cursor.text()?.to_owned();
    let timestamp = Timestamp(cursor.u64()?);
    let accounts = cursor.varint()?;
    let posted = cursor.varint_u128()?;
    let pending = cursor.varint_u128()?;
    let totals = LedgerTotals { accounts, posted, pending };
    Ok((Ledger { id, currency, scale, name, timestamp }, totals))
}

pub(super) fn put_account(
    before: AccountId,
    account: &Account,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) {
    let balances = &account.balances;
    let has_metadata = account.metadata_digest != 0 || account.metadata_seq != JournalSeq::NONE;
    let present = Presence::of([
        (FLAGS, account.flags.bits() != 0),
        (OVERDRAFT_LIMIT, !account.overdraft_limit.is_zero()),
        (USER_DATA_128, account.user_data_128 != 0),
        (USER_DATA_64, account.user_data_64 != 0),
        (USER_DATA_32, account.user_data_32 != 0),
        (METADATA, has_metadata),
        (DEBITS_PENDING, !balances.debits_pending.is_zero()),
        (CREDITS_PENDING, !balances.credits_pending.is_zero()),
        (EXTERNAL_ID, account.external_id_seq != JournalSeq::NONE),
    ]);
    scratch.varint(present.bits());
    scratch.varint_u128(account.id.0.wrapping_sub(before.0));
    scratch.varint(account.version);
    scratch.varint(u64::from(account.ledger.0));
    scratch.varint(u64::from(account.code.0));
    scratch.array(account.timestamp.0.to_le_bytes());
    scratch.amount(balances.debits_posted);
    scratch.amount(balances.credits_posted);
    if present.has(FLAGS) {
        scratch.varint(u64::from(account.flags.bits()));
    }
    if present.has(OVERDRAFT_LIMIT) {
        scratch.amount(account.overdraft_limit);
    }
    if present.has(USER_DATA_128) {
        scratch.array(account.user_data_128.to_le_bytes());
    }
    if present.has(USER_DATA_64) {
        scratch.varint(account.user_data_64);
    }
    if present.has(USER_DATA_32) {
        scratch.varint(u64::from(account.user_data_32));
    }
    if present.has(METADATA) {
        scratch.array(account.metadata_digest.to_le_bytes());
        scratch.varint(account.metadata_seq.0);
    }
    if present.has(DEBITS_PENDING) {
        scratch.amount(balances.debits_pending);
    }
    if present.has(CREDITS_PENDING) {
        scratch.amount(balances.credits_pending);
    }
    if present.has(EXTERNAL_ID) {
        scratch.varint(account.external_id_seq.0);
    }
    scratch.drain_to(out);
}

pub(super) fn account(before: AccountId, cursor: &mut Cursor) -> Result<Account, Malformed> {
    let present = cursor.checked(Cursor::varint, |bits| Presence::try_of(bits, KNOWN))?;
    let ascending = |distance| {
        let id = before.0.checked_add(distance).filter(|id| *id > before.0);
        id.map(AccountId).ok_or(Problem::NotAscending)
    };
    let id = cursor.checked(Cursor::varint_u128, ascending)?;
    let version = cursor.varint()?;
    let ledger = LedgerId(cursor.varint_u32()?);
    let code = Code(cursor.varint_u16()?);
    let timestamp = Timestamp(cursor.u64()?);
    let debits_posted = cursor.amount()?;
    let credits_posted = cursor.amount()?;
    let flags = present.read(FLAGS, cursor, account_flags)?;
    let overdraft_limit = present.read(OVERDRAFT_LIMIT, cursor, Cursor::amount)?;
    let user_data_128 = present.read(USER_DATA_128, cursor, Cursor::u128)?;
    let user_data_64 = present.read(USER_DATA_64, cursor, Cursor::varint)?;
    let user_data_32 = present.read(USER_DATA_32, cursor, Cursor::varint_u32)?;
    let (metadata_digest, metadata_seq) =
        present.read(METADATA, cursor, |cursor| Ok((cursor.u64()?, cursor.varint()?)))?;
    let debits_pending = present.read(DEBITS_PENDING, cursor, Cursor::amount)?;
    let credits_pending = present.read(CREDITS_PENDING, cursor, Cursor::amount)?;
    let external_id_seq = present.read(EXTERNAL_ID, cursor, Cursor::varint)?;
    Ok(Account {
        id,
        balances: Balances { debits_pending, debits_posted, credits_pending, credits_posted },
        user_data_128,
        overdraft_limit,
        user_data_64,
        timestamp,
        version,
        metadata_digest,
        metadata_seq: JournalSeq(metadata_seq),
        external_id_seq: JournalSeq(external_id_seq),
        user_data_32,
        ledger,
        code,
        flags,
    })
}

pub(super) fn put_pending(
    before: TransferId,
    pending: &PendingTransfer,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) {
    let present = Presence::of([
        (pending_bits::USER_DATA_128, pending.user_data_128 != 0),
        (pending_bits::USER_DATA_64, pending.user_data_64 != 0),
        (pending_bits::USER_DATA_32, pending.user_data_32 != 0),
        (pending_bits::TIMEOUT, pending.timeout != 0),
    ]);
    scratch.varint(present.bits());
    scratch.varint_u128(pending.id.0.wrapping_sub(before.0));
    scratch.array(pending.debit_account_id.0.to_le_bytes());
    scratch.array(pending.credit_account_id.0.to_le_bytes());
    scratch.amount(pending.amount);
    scratch.varint(u64::from(pending.ledger.0));
    scratch.varint(u64::from(pending.code.0));
    scratch.varint(u64::from(pending.flags.bits()));
    scratch.array(pending.timestamp.0.to_le_bytes());
    if present.has(pending_bits::USER_DATA_128) {
        scratch.array(pending.user_data_128.to_le_bytes());
    }
    if present.has(pending_bits::USER_DATA_64) {
        scratch.varint(pending.user_data_64);
    }
    if present.has(pending_bits::USER_DATA_32) {
        scratch.varint(u64::from(pending.user_data_32));
    }
    if present.has(pending_bits::TIMEOUT) {
        scratch.varint(u64::from(pending.timeout));
    }
    scratch.drain_to(out);
}

pub(super) fn pending(
    before: TransferId,
    cursor: &mut Cursor,
) -> Result<PendingTransfer, Malformed> {
    let known = pending_bits::KNOWN;
    let present = cursor.checked(Cursor::varint, |bits| Presence::try_of(bits, known))?;
    let ascending = |distance| {
        let id = before.0.checked_add(distance).filter(|id| *id > before.0);
        id.map(TransferId).ok_or(Problem::NotAscending)
    };
    Ok(PendingTransfer {
        id: cursor.checked(Cursor::varint_u128, ascending)?,
        debit_account_id: AccountId(cursor.u128()?),
        credit_account_id: AccountId(cursor.u128()?),
        amount: cursor.amount()?,
        ledger: LedgerId(cursor.varint_u32()?),
        code: Code(cursor.varint_u16()?),
        flags: transfer_flags(cursor)?,
        timestamp: Timestamp(cursor.u64()?),
        user_data_128: present.read(pending_bits::USER_DATA_128, cursor, Cursor::u128)?,
        user_data_64: present.read(pending_bits::USER_DATA_64, cursor, Cursor::varint)?,
        user_data_32: present.read(pending_bits::USER_DATA_32, cursor, Cursor::varint_u32)?,
        timeout: present.read(pending_bits::TIMEOUT, cursor, Cursor::varint_u32)?,
    })
}
