//! From bytes to the record, trusting none of them.

use std::sync::Arc;

use florin_engine::{
    AccountAfter, AccountCreated, AccountFlags, AccountId, Balances, Code, Event, ExternalId,
    IdBurned, Inherited, ItemOutcome, JournalSeq, Key, KeyUse, Ledger, LedgerAfter, LedgerId,
    LedgerTotals, Metadata, MetadataReplaced, OverdraftLimitChanged, Record, Rejection,
    RejectionNumberError, Scale, Settlement, Timestamp, Transaction, Transfer, TransferExpired,
    TransferFlags, TransferId, TransferPosted,
};

use super::bytes::{Cursor, Malformed, Presence, Problem};
use super::{
    VERSION, account, kind, outcome, replaced, settlement, touched, transaction, transfer,
};

/// Bytes that are no record. Behind valid checksums that is the work of a newer program, or a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record is damaged or of a newer version: {0}")]
pub struct RecordError(pub Malformed);

impl From<Malformed> for RecordError {
    fn from(malformed: Malformed) -> RecordError {
        RecordError(malformed)
    }
}

/// The fewest bytes that one of each can take: bounds for what is reserved before they are read.
const ACCOUNT_BYTES_MIN: usize = 19;
const LEDGER_BYTES_MIN: usize = 4;
const EVENT_BYTES_MIN: usize = 5;
const EXCEPTION_BYTES_MIN: usize = 3;

/// Room for a full batch; beyond it a list grows as its entries prove to be there.
const RESERVED_MAX: usize = 16_384;

/// The record that these bytes, all of them, stand for.
///
/// # Errors
/// The bytes are not what [`encode`](super::encode) writes for any record; the error says where they cease to be.
pub fn decode(bytes: &[u8]) -> Result<Record, RecordError> {
    let mut cursor = Cursor::new(bytes);
    let cursor = &mut cursor;
    let version = cursor.byte()?;
    if version != VERSION {
        let problem = Problem::UnknownVersion(version);
        return Err(RecordError(Malformed { offset: 0, problem }));
    }
    let timestamp = Timestamp(cursor.u64()?);
    let asked = cursor.varint_u32()?;
    let accounts = accounts(cursor)?;
    let ledgers = ledgers(cursor)?;
    let mut decoder =
        EventDecoder { cursor, timestamp, accounts: &accounts, transaction: None, legs_due: 0 };
    let events = decoder.events()?;
    let key = key(cursor)?;
    cursor.end()?;
    Ok(Record { timestamp, asked, events, accounts, ledgers, key })
}

fn accounts(cursor: &mut Cursor) -> Result<Vec<AccountAfter>, Malformed> {
    let count = cursor.count(ACCOUNT_BYTES_MIN)?;
    let mut accounts = Vec::with_capacity(count.min(RESERVED_MAX));
    let mut ledger_before = LedgerId(0);
    for _ in 0..count {
        let account = account_after(cursor, ledger_before)?;
        ledger_before = account.ledger;
        accounts.push(account);
    }
    Ok(accounts)
}

fn account_after(cursor: &mut Cursor, ledger_before: LedgerId) -> Result<AccountAfter, Malformed> {
    let present = presence(cursor, |cursor| cursor.byte().map(u64::from), touched::KNOWN)?;
    let id = AccountId(cursor.u128()?);
    let version = cursor.varint()?;
    let debits_posted = cursor.amount()?;
    let credits_posted = cursor.amount()?;
    let ledger = if present.has(touched::LEDGER) {
        cursor.unlike(ledger_before, |cursor| cursor.varint_u32().map(LedgerId))?
    } else {
        ledger_before
    };
    let flags = present.read(touched::FLAGS, cursor, account_flags)?;
    let overdraft_limit = present.read(touched::OVERDRAFT_LIMIT, cursor, Cursor::amount)?;
    let debits_pending = present.read(touched::DEBITS_PENDING, cursor, Cursor::amount)?;
    let credits_pending = present.read(touched::CREDITS_PENDING, cursor, Cursor::amount)?;
    let balances = Balances { debits_pending, debits_posted, credits_pending, credits_posted };
    Ok(AccountAfter { id, ledger, flags, overdraft_limit, version, balances })
}

fn ledgers(cursor: &mut Cursor) -> Result<Vec<LedgerAfter>, Malformed> {
    let count = cursor.count(LEDGER_BYTES_MIN)?;
    let mut ledgers = Vec::with_capacity(count.min(RESERVED_MAX));
    for _ in 0..count {
        let id = LedgerId(cursor.varint_u32()?);
        let accounts = cursor.varint()?;
        let posted = cursor.varint_u128()?;
        let pending = cursor.varint_u128()?;
        ledgers.push(LedgerAfter { id, totals: LedgerTotals { accounts, posted, pending } });
    }
    Ok(ledgers)
}

struct EventDecoder<'c, 'b> {
    cursor: &'c mut Cursor<'b>,
    timestamp: Timestamp,
    accounts: &'c [AccountAfter],
    /// The last transaction created, of which the transfers after it are legs.
    transaction: Option<TransferId>,
    legs_due: u32,
}

impl<'c> EventDecoder<'c, '_> {
    fn events(&mut self) -> Result<Vec<Event>, Malformed> {
        let count = self.cursor.count(EVENT_BYTES_MIN)?;
        let mut events = Vec::with_capacity(count.min(RESERVED_MAX));
        for _ in 0..count {
            events.push(self.event()?);
        }
        self.no_legs_due()?;
        Ok(events)
    }

    fn event(&mut self) -> Result<Event, Malformed> {
        let offset = self.cursor.offset();
        let kind = self.cursor.byte()?;
        if kind == kind::TRANSFER_POSTED {
            self.legs_due = self.legs_due.saturating_sub(1);
            return Ok(Event::TransferPosted(self.transfer()?));
        }
        self.no_legs_due()?;
        match kind {
            kind::LEDGER_CREATED => Ok(Event::LedgerCreated(self.ledger()?)),
            kind::ACCOUNT_CREATED => Ok(Event::AccountCreated(self.account_created()?)),
            kind::TRANSACTION_CREATED => {
                let created = self.transaction_created()?;
                self.transaction = Some(created.id);
                self.legs_due = created.transfers;
                Ok(Event::TransactionCreated(created))
            }
            kind::ID_BURNED => Ok(Event::IdBurned(self.burned()?)),
            kind::TRANSFER_EXPIRED => Ok(Event::TransferExpired(self.expired()?)),
            kind::OVERDRAFT_LIMIT_CHANGED => {
                Ok(Event::OverdraftLimitChanged(self.limit_changed()?))
            }
            kind::METADATA_REPLACED => Ok(Event::MetadataReplaced(self.metadata_replaced()?)),
            unknown => Err(Malformed { offset, problem: Problem::UnknownKind(unknown) }),
        }
    }

    fn no_legs_due(&self) -> Result<(), Malformed> {
        if self.legs_due == 0 { Ok(()) } else { Err(self.cursor.malformed(Problem::MissingLegs)) }
    }

    fn transfer(&mut self) -> Result<TransferPosted, Malformed> {
        let present_offset = self.cursor.offset();
        let present = presence(self.cursor, Cursor::varint, transfer::KNOWN)?;
        let (id, external_id) = name(self.cursor, present, transfer::EXTERNAL_ID)?;
        let (debit_account, debit) = self.account()?;
        let (credit_account, credit) = self.account()?;
        let amount = self.cursor.amount()?;
        let code = Code(self.cursor.varint_u16()?);
        let timestamp = self.timestamp()?;
        let mut posted = TransferPosted {
            transfer: Transfer {
                id: TransferId(id),
                external_id,
                debit_account_id: debit.id,
                credit_account_id: credit.id,
                amount,
                amount_requested: amount,
                pending_id: TransferId(0),
                reverses: TransferId(0),
                inherited: Inherited::empty(),
                timeout: 0,
                user_data_128: 0,
                user_data_64: 0,
                user_data_32: 0,
                ledger: debit.ledger,
                code,
                flags: TransferFlags::empty(),
                effective_at: None,
                timestamp,
                transaction_id: None,
                metadata: None,
            },
            debit_account,
            credit_account,
        };
        if !present.is_empty() {
            self.transfer_options(&mut posted.transfer, present, present_offset)?;
        }
        Ok(posted)
    }

    fn transfer_options(
        &mut self,
        moved: &mut Transfer,
        present: Presence,
        present_offset: usize,
    ) -> Result<(), Malformed> {
        let unknown_bit = Malformed { offset: present_offset, problem: Problem::UnknownBit };
        let cursor = &mut *self.cursor;
        moved.flags = present.read(transfer::FLAGS, cursor, transfer_flags)?;
        moved.user_data_128 = present.read(transfer::USER_DATA_128, cursor, Cursor::u128)?;
        moved.user_data_64 = present.read(transfer::USER_DATA_64, cursor, Cursor::varint)?;
        moved.user_data_32 = present.read(transfer::USER_DATA_32, cursor, Cursor::varint_u32)?;
        moved.metadata = metadata(cursor, present, transfer::METADATA)?;
        let pending_id = present.read(transfer::PENDING_ID, cursor, Cursor::u128)?;
        moved.pending_id = TransferId(pending_id);
        moved.timeout = present.read(transfer::TIMEOUT, cursor, Cursor::varint_u32)?;
        if present.has(transfer::AMOUNT_REQUESTED) {
            moved.amount_requested = cursor.unlike(moved.amount, Cursor::amount)?;
        }
        if present.has(transfer::EFFECTIVE_AT) {
            moved.effective_at = Some(Timestamp(cursor.u64()?));
        }
        if present.has(transfer::LEG) {
            // A leg of no transaction, or one that is told twice what it is a leg of.
            if self.transaction.is_none() || present.has(transfer::TRANSACTION_ID) {
                return Err(unknown_bit);
            }
            moved.transaction_id = self.transaction;
        }
        if present.has(transfer::TRANSACTION_ID) {
            let read = |cursor: &mut Cursor| cursor.u128().map(|id| Some(TransferId(id)));
            moved.transaction_id = cursor.unlike(self.transaction, read)?;
        }
        if present.has(transfer::LEDGER) {
            moved.ledger =
                cursor.unlike(moved.ledger, |cursor| cursor.varint_u32().map(LedgerId))?;
        }
        moved.inherited = present.read(transfer::INHERITED, cursor, inherited)?;
        moved.reverses = TransferId(present.read(transfer::REVERSES, cursor, Cursor::u128)?);
        Ok(())
    }

    fn account(&mut self) -> Result<(u32, &'c AccountAfter), Malformed> {
        let offset = self.cursor.offset();
        let index = self.cursor.varint_u32()?;
        match self.accounts.get(index as usize) {
            Some(account) => Ok((index, account)),
            None => Err(Malformed { offset, problem: Problem::IndexOutOfRange }),
        }
    }

    fn ledger(&mut self) -> Result<Ledger, Malformed> {
        let id = LedgerId(self.cursor.varint_u32()?);
        let currency = self.cursor.text()?.to_owned();
        let scale = scale(self.cursor)?;
        let name = self.cursor.text()?.to_owned();
        let timestamp = self.timestamp()?;
        Ok(Ledger { id, currency, scale, name, timestamp })
    }

    fn account_created(&mut self) -> Result<AccountCreated, Malformed> {
        let present = presence(self.cursor, Cursor::varint, account::KNOWN)?;
        let (id, external_id) = name(self.cursor, present, account::EXTERNAL_ID)?;
        let ledger = LedgerId(self.cursor.varint_u32()?);
        let code = Code(self.cursor.varint_u16()?);
        let timestamp = self.timestamp()?;
        let cursor = &mut *self.cursor;
        Ok(AccountCreated {
            id: AccountId(id),
            external_id,
            ledger,
            code,
            timestamp,
            flags: present.read(account::FLAGS, cursor, account_flags)?,
            overdraft_limit: present.read(account::OVERDRAFT_LIMIT, cursor, Cursor::amount)?,
            user_data_128: present.read(account::USER_DATA_128, cursor, Cursor::u128)?,
            user_data_64: present.read(account::USER_DATA_64, cursor, Cursor::varint)?,
            user_data_32: present.read(account::USER_DATA_32, cursor, Cursor::varint_u32)?,
            metadata: metadata(cursor, present, account::METADATA)?,
        })
    }

    fn transaction_created(&mut self) -> Result<Transaction, Malformed> {
        let present = presence(self.cursor, Cursor::varint, transaction::KNOWN)?;
        let (id, external_id) = name(self.cursor, present, transaction::EXTERNAL_ID)?;
        let transfers = self.cursor.varint_u32()?;
        let timestamp = self.timestamp()?;
        let metadata = metadata(self.cursor, present, transaction::METADATA)?;
        Ok(Transaction { id: TransferId(id), external_id, transfers, timestamp, metadata })
    }

    fn burned(&mut self) -> Result<IdBurned, Malformed> {
        let id = TransferId(self.cursor.u128()?);
        let offset = self.cursor.offset();
        let rejection = self.cursor.varint_u16()?;
        // The figures of a burned id are not kept; here only the number must have a meaning.
        Rejection::from_number(rejection, || Ok(0))
            .map_err(|error| Malformed { offset, problem: Problem::Rejection(error) })?;
        Ok(IdBurned { id, rejection, timestamp: self.timestamp()? })
    }

    fn expired(&mut self) -> Result<TransferExpired, Malformed> {
        let id = TransferId(self.cursor.u128()?);
        let (debit_account, _) = self.account()?;
        let (credit_account, _) = self.account()?;
        let amount = self.cursor.amount()?;
        let timestamp = self.timestamp()?;
        Ok(TransferExpired { id, debit_account, credit_account, amount, timestamp })
    }

    fn limit_changed(&mut self) -> Result<OverdraftLimitChanged, Malformed> {
        let (account, _) = self.account()?;
        let before = self.cursor.amount()?;
        let overdraft_limit = self.cursor.amount()?;
        let timestamp = self.timestamp()?;
        Ok(OverdraftLimitChanged { account, before, overdraft_limit, timestamp })
    }

    fn metadata_replaced(&mut self) -> Result<MetadataReplaced, Malformed> {
        let present = presence(self.cursor, Cursor::varint, replaced::KNOWN)?;
        let (account, _) = self.account()?;
        let timestamp = self.timestamp()?;
        let (before, digest_before) = present
            .read(replaced::BEFORE, self.cursor, |cursor| Ok((cursor.varint()?, cursor.u64()?)))?;
        let metadata = metadata(self.cursor, present, replaced::METADATA)?;
        let before = JournalSeq(before);
        Ok(MetadataReplaced { account, before, digest_before, metadata, timestamp })
    }

    fn timestamp(&mut self) -> Result<Timestamp, Malformed> {
        Ok(Timestamp(self.timestamp.0.wrapping_add(self.cursor.varint()?)))
    }
}

fn key(cursor: &mut Cursor) -> Result<Option<KeyUse>, Malformed> {
    let offset = cursor.offset();
    match cursor.byte()? {
        0 => return Ok(None),
        1 => {}
        unknown => return Err(Malformed { offset, problem: Problem::UnknownKind(unknown) }),
    }
    let key = Key { hash: cursor.u128()?, fingerprint: cursor.u64()? };
    let count = cursor.count(EXCEPTION_BYTES_MIN)?;
    let mut exceptions = Vec::with_capacity(count.min(RESERVED_MAX));
    for _ in 0..count {
        exceptions.push((cursor.varint_u32()?, item_outcome(cursor)?));
    }
    Ok(Some(KeyUse { key, exceptions }))
}

fn item_outcome(cursor: &mut Cursor) -> Result<ItemOutcome, Malformed> {
    let offset = cursor.offset();
    match cursor.byte()? {
        outcome::EXISTS => {
            let seq = JournalSeq(cursor.varint()?);
            Ok(ItemOutcome::Exists { seq, timestamp: Timestamp(cursor.u64()?) })
        }
        outcome::DIFFERS => Ok(ItemOutcome::Differs { seq: JournalSeq(cursor.varint()?) }),
        outcome::REJECTED => rejection(cursor).map(ItemOutcome::Rejected),
        outcome::SETTLED => {
            let seq = JournalSeq(cursor.varint()?);
            Ok(ItemOutcome::Settled { seq, settlement: settlement(cursor)? })
        }
        unknown => Err(Malformed { offset, problem: Problem::UnknownKind(unknown) }),
    }
}

fn settlement(cursor: &mut Cursor) -> Result<Settlement, Malformed> {
    let meaning = |byte| match byte {
        settlement::POSTED => Ok(Settlement::Posted),
        settlement::VOIDED => Ok(Settlement::Voided),
        settlement::EXPIRED => Ok(Settlement::Expired),
        unknown => Err(Problem::UnknownKind(unknown)),
    };
    cursor.checked(Cursor::byte, meaning)
}

fn rejection(cursor: &mut Cursor) -> Result<Rejection, Malformed> {
    /// Either the bytes end within a figure, or there is no such rejection.
    enum Unread {
        Bytes(Malformed),
        Rejection(RejectionNumberError),
    }
    impl From<RejectionNumberError> for Unread {
        fn from(error: RejectionNumberError) -> Unread {
            Unread::Rejection(error)
        }
    }
    let offset = cursor.offset();
    let number = cursor.varint_u16()?;
    Rejection::from_number(number, || cursor.signed().map_err(Unread::Bytes)).map_err(|unread| {
        match unread {
            Unread::Bytes(malformed) => malformed,
            Unread::Rejection(error) => Malformed { offset, problem: Problem::Rejection(error) },
        }
    })
}

fn presence<'a>(
    cursor: &mut Cursor<'a>,
    read: impl FnOnce(&mut Cursor<'a>) -> Result<u64, Malformed>,
    known: u64,
) -> Result<Presence, Malformed> {
    cursor.checked(read, |bits| Presence::try_of(bits, known))
}

pub(crate) fn account_flags(cursor: &mut Cursor) -> Result<AccountFlags, Malformed> {
    let meaning = |bits| AccountFlags::try_from_bits(bits).ok_or(Problem::UnknownBit);
    cursor.checked(Cursor::varint_u16, meaning)
}

pub(crate) fn transfer_flags(cursor: &mut Cursor) -> Result<TransferFlags, Malformed> {
    let meaning = |bits| TransferFlags::try_from_bits(bits).ok_or(Problem::UnknownBit);
    cursor.checked(Cursor::varint_u16, meaning)
}

fn inherited(cursor: &mut Cursor) -> Result<Inherited, Malformed> {
    let meaning = |bits| Inherited::try_from_bits(bits).ok_or(Problem::UnknownBit);
    cursor.checked(Cursor::varint_u16, meaning)
}

pub(crate) fn scale(cursor: &mut Cursor) -> Result<Scale, Malformed> {
    cursor.checked(Cursor::byte, |digits| Scale::try_new(digits).ok_or(Problem::OutOfRange))
}

fn metadata(
    cursor: &mut Cursor,
    present: Presence,
    bit: u64,
) -> Result<Option<Metadata>, Malformed> {
    if !present.has(bit) {
        return Ok(None);
    }
    let text: Arc<str> = cursor.text()?.into();
    let digest = cursor.unlike(0, Cursor::u64)?;
    Ok(Some(Metadata { text, digest }))
}

/// An id, or the text that it follows from.
#[inline]
fn name(
    cursor: &mut Cursor,
    present: Presence,
    bit: u64,
) -> Result<(u128, Option<ExternalId>), Malformed> {
    if !present.has(bit) {
        return Ok((cursor.u128()?, None));
    }
    let external_id = external_id(cursor)?;
    Ok((external_id.id(), Some(external_id)))
}

pub(crate) fn external_id(cursor: &mut Cursor) -> Result<ExternalId, Malformed> {
    cursor.checked(Cursor::text, |text| ExternalId::try_new(text).map_err(|_| Problem::ExternalId))
}
