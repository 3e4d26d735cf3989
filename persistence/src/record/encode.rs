//! From a record to its bytes.

use florin_engine::{
    AccountAfter, AccountCreated, Amount, Event, ExternalId, IdBurned, ItemOutcome, KeyUse, Ledger,
    LedgerAfter, LedgerId, Metadata, MetadataReplaced, OverdraftLimitChanged, Record, Settlement,
    Timestamp, Transaction, TransferExpired, TransferId, TransferPosted,
};

use super::bytes::{Presence, Scratch, put_text};
use super::{
    VERSION, account, kind, outcome, replaced, settlement, touched, transaction, transfer,
};

/// Room for one entry of each kind, so that the output seldom grows more than once for a record.
const HEADER_BYTES: usize = 64;
const ENTRY_BYTES: usize = 48;

/// Appends the record's bytes to `out`.
///
/// # Panics
/// When the record contradicts itself: a transfer whose account ids are not those of the entries that it points to, a
/// transaction that is not followed by its legs, or an external id that stands for another id. Such a record is the trace of a bug, and must not become durable.
pub fn encode(record: &Record, out: &mut Vec<u8>) {
    let entries = record.accounts.len() + record.ledgers.len() + record.events.len();
    let exceptions = record.key.as_ref().map_or(0, |key| key.exceptions.len());
    out.reserve(HEADER_BYTES + ENTRY_BYTES * (entries + exceptions));

    let mut encoder =
        Encoder { record, transaction: None, legs_due: 0, scratch: Scratch::new(), out };
    encoder.scratch.byte(VERSION);
    encoder.scratch.array(record.timestamp.0.to_le_bytes());
    encoder.scratch.varint(u64::from(record.asked));
    encoder.accounts(&record.accounts);
    encoder.ledgers(&record.ledgers);
    encoder.events(&record.events);
    encoder.key(record.key.as_ref());
}

struct Encoder<'a> {
    record: &'a Record,
    /// The last transaction created, of which the transfers after it are legs.
    transaction: Option<TransferId>,
    legs_due: u32,
    scratch: Scratch,
    out: &'a mut Vec<u8>,
}

impl Encoder<'_> {
    fn accounts(&mut self, accounts: &[AccountAfter]) {
        self.count(accounts.len());
        let mut ledger_before = LedgerId(0);
        for account in accounts {
            self.account(account, ledger_before);
            ledger_before = account.ledger;
        }
    }

    fn account(&mut self, account: &AccountAfter, ledger_before: LedgerId) {
        let balances = &account.balances;
        let scratch = &mut self.scratch;
        let present = Presence::of([
            (touched::LEDGER, account.ledger != ledger_before),
            (touched::FLAGS, account.flags.bits() != 0),
            (touched::OVERDRAFT_LIMIT, !account.overdraft_limit.is_zero()),
            (touched::DEBITS_PENDING, !balances.debits_pending.is_zero()),
            (touched::CREDITS_PENDING, !balances.credits_pending.is_zero()),
        ]);
        scratch.byte(present.bits() as u8);
        scratch.array(account.id.0.to_le_bytes());
        scratch.varint(account.version);
        scratch.amount(balances.debits_posted);
        scratch.amount(balances.credits_posted);
        if !present.is_empty() {
            if present.has(touched::LEDGER) {
                scratch.varint(u64::from(account.ledger.0));
            }
            if present.has(touched::FLAGS) {
                scratch.varint(u64::from(account.flags.bits()));
            }
            put_amount_unless_zero(scratch, account.overdraft_limit);
            put_amount_unless_zero(scratch, balances.debits_pending);
            put_amount_unless_zero(scratch, balances.credits_pending);
        }
        scratch.drain_to(self.out);
    }

    fn ledgers(&mut self, ledgers: &[LedgerAfter]) {
        self.count(ledgers.len());
        for LedgerAfter { id, totals } in ledgers {
            self.scratch.varint(u64::from(id.0));
            self.scratch.varint(totals.accounts);
            self.scratch.varint_u128(totals.posted);
            self.scratch.varint_u128(totals.pending);
            self.scratch.drain_to(self.out);
        }
    }

    fn events(&mut self, events: &[Event]) {
        self.count(events.len());
        for event in events {
            if let Event::TransferPosted(posted) = event {
                self.legs_due = self.legs_due.saturating_sub(1);
                self.transfer(posted);
                continue;
            }
            self.assert_no_legs_due();
            match event {
                Event::TransferPosted(_) => {}
                Event::LedgerCreated(ledger) => self.ledger(ledger),
                Event::AccountCreated(created) => self.account_created(created),
                Event::TransactionCreated(created) => self.transaction_created(created),
                Event::IdBurned(burned) => self.burned(burned),
                Event::TransferExpired(expired) => self.expired(expired),
                Event::OverdraftLimitChanged(changed) => self.limit_changed(changed),
                Event::MetadataReplaced(replaced) => self.metadata_replaced(replaced),
            }
        }
        self.assert_no_legs_due();
    }

    fn assert_no_legs_due(&self) {
        assert!(self.legs_due == 0, "a transaction is not followed by its legs");
    }

    fn transfer(&mut self, posted: &TransferPosted) {
        let moved = &posted.transfer;
        let debit = &self.record.accounts[posted.debit_account as usize];
        let credit = &self.record.accounts[posted.credit_account as usize];
        assert!(
            debit.id == moved.debit_account_id && credit.id == moved.credit_account_id,
            "a transfer's accounts are not those that it points to",
        );
        let is_leg = moved.transaction_id.is_some() && moved.transaction_id == self.transaction;
        let present = Presence::of([
            (transfer::FLAGS, moved.flags.bits() != 0),
            (transfer::LEG, is_leg),
            (transfer::USER_DATA_128, moved.user_data_128 != 0),
            (transfer::USER_DATA_64, moved.user_data_64 != 0),
            (transfer::USER_DATA_32, moved.user_data_32 != 0),
            (transfer::METADATA, moved.metadata.is_some()),
            (transfer::PENDING_ID, moved.pending_id.0 != 0),
            (transfer::TIMEOUT, moved.timeout != 0),
            (transfer::AMOUNT_REQUESTED, moved.amount_requested != moved.amount),
            (transfer::EFFECTIVE_AT, moved.effective_at.is_some()),
            (transfer::TRANSACTION_ID, moved.transaction_id.is_some() && !is_leg),
            (transfer::LEDGER, moved.ledger != debit.ledger),
            (transfer::INHERITED, moved.inherited.bits() != 0),
            (transfer::REVERSES, moved.reverses.0 != 0),
            (transfer::EXTERNAL_ID, moved.external_id.is_some()),
        ]);
        let scratch = &mut self.scratch;
        scratch.byte(kind::TRANSFER_POSTED);
        scratch.varint(present.bits());
        self.name(moved.id.0, moved.external_id.as_ref());
        let scratch = &mut self.scratch;
        scratch.varint(u64::from(posted.debit_account));
        scratch.varint(u64::from(posted.credit_account));
        scratch.amount(moved.amount);
        scratch.varint(u64::from(moved.code.0));
        self.timestamp(moved.timestamp);
        if !present.is_empty() {
            self.transfer_options(posted, present);
        }
        self.scratch.drain_to(self.out);
    }

    fn transfer_options(&mut self, posted: &TransferPosted, present: Presence) {
        let moved = &posted.transfer;
        let scratch = &mut self.scratch;
        if present.has(transfer::FLAGS) {
            scratch.varint(u64::from(moved.flags.bits()));
        }
        put_user_data(scratch, moved.user_data_128, moved.user_data_64, moved.user_data_32);
        self.metadata(moved.metadata.as_ref());
        let scratch = &mut self.scratch;
        if present.has(transfer::PENDING_ID) {
            scratch.array(moved.pending_id.0.to_le_bytes());
        }
        if present.has(transfer::TIMEOUT) {
            scratch.varint(u64::from(moved.timeout));
        }
        if present.has(transfer::AMOUNT_REQUESTED) {
            scratch.amount(moved.amount_requested);
        }
        if let Some(effective_at) = moved.effective_at {
            scratch.array(effective_at.0.to_le_bytes());
        }
        if let Some(id) = moved.transaction_id.filter(|_| present.has(transfer::TRANSACTION_ID)) {
            scratch.array(id.0.to_le_bytes());
        }
        if present.has(transfer::LEDGER) {
            scratch.varint(u64::from(moved.ledger.0));
        }
        if present.has(transfer::INHERITED) {
            scratch.varint(u64::from(moved.inherited.bits()));
        }
        if present.has(transfer::REVERSES) {
            scratch.array(moved.reverses.0.to_le_bytes());
        }
    }

    fn ledger(&mut self, ledger: &Ledger) {
        self.scratch.byte(kind::LEDGER_CREATED);
        self.scratch.varint(u64::from(ledger.id.0));
        put_text(&mut self.scratch, &ledger.currency, self.out);
        self.scratch.byte(ledger.scale.digits());
        put_text(&mut self.scratch, &ledger.name, self.out);
        self.timestamp(ledger.timestamp);
        self.scratch.drain_to(self.out);
    }

    fn account_created(&mut self, created: &AccountCreated) {
        let present = Presence::of([
            (account::FLAGS, created.flags.bits() != 0),
            (account::OVERDRAFT_LIMIT, !created.overdraft_limit.is_zero()),
            (account::USER_DATA_128, created.user_data_128 != 0),
            (account::USER_DATA_64, created.user_data_64 != 0),
            (account::USER_DATA_32, created.user_data_32 != 0),
            (account::METADATA, created.metadata.is_some()),
            (account::EXTERNAL_ID, created.external_id.is_some()),
        ]);
        self.scratch.byte(kind::ACCOUNT_CREATED);
        self.scratch.varint(present.bits());
        self.name(created.id.0, created.external_id.as_ref());
        self.scratch.varint(u64::from(created.ledger.0));
        self.scratch.varint(u64::from(created.code.0));
        self.timestamp(created.timestamp);
        let scratch = &mut self.scratch;
        if present.has(account::FLAGS) {
            scratch.varint(u64::from(created.flags.bits()));
        }
        put_amount_unless_zero(scratch, created.overdraft_limit);
        put_user_data(scratch, created.user_data_128, created.user_data_64, created.user_data_32);
        self.metadata(created.metadata.as_ref());
        self.scratch.drain_to(self.out);
    }

    fn transaction_created(&mut self, created: &Transaction) {
        self.legs_due = created.transfers;
        self.transaction = Some(created.id);
        self.scratch.byte(kind::TRANSACTION_CREATED);
        let present = Presence::of([
            (transaction::METADATA, created.metadata.is_some()),
            (transaction::EXTERNAL_ID, created.external_id.is_some()),
        ]);
        self.scratch.varint(present.bits());
        self.name(created.id.0, created.external_id.as_ref());
        self.scratch.varint(u64::from(created.transfers));
        self.timestamp(created.timestamp);
        self.metadata(created.metadata.as_ref());
        self.scratch.drain_to(self.out);
    }

    fn burned(&mut self, burned: &IdBurned) {
        self.scratch.byte(kind::ID_BURNED);
        self.scratch.array(burned.id.0.to_le_bytes());
        self.scratch.varint(u64::from(burned.rejection));
        self.timestamp(burned.timestamp);
        self.scratch.drain_to(self.out);
    }

    fn expired(&mut self, expired: &TransferExpired) {
        self.scratch.byte(kind::TRANSFER_EXPIRED);
        self.scratch.array(expired.id.0.to_le_bytes());
        self.scratch.varint(u64::from(expired.debit_account));
        self.scratch.varint(u64::from(expired.credit_account));
        self.scratch.amount(expired.amount);
        self.timestamp(expired.timestamp);
        self.scratch.drain_to(self.out);
    }

    fn limit_changed(&mut self, changed: &OverdraftLimitChanged) {
        self.scratch.byte(kind::OVERDRAFT_LIMIT_CHANGED);
        self.scratch.varint(u64::from(changed.account));
        self.scratch.amount(changed.before);
        self.scratch.amount(changed.overdraft_limit);
        self.timestamp(changed.timestamp);
        self.scratch.drain_to(self.out);
    }

    fn metadata_replaced(&mut self, new: &MetadataReplaced) {
        let had_metadata = new.before.0 != 0 || new.digest_before != 0;
        let present = Presence::of([
            (replaced::BEFORE, had_metadata),
            (replaced::METADATA, new.metadata.is_some()),
        ]);
        self.scratch.byte(kind::METADATA_REPLACED);
        self.scratch.varint(present.bits());
        self.scratch.varint(u64::from(new.account));
        self.timestamp(new.timestamp);
        if had_metadata {
            self.scratch.varint(new.before.0);
            self.scratch.array(new.digest_before.to_le_bytes());
        }
        self.metadata(new.metadata.as_ref());
        self.scratch.drain_to(self.out);
    }

    fn key(&mut self, key: Option<&KeyUse>) {
        let Some(KeyUse { key, exceptions }) = key else {
            self.scratch.byte(0);
            self.scratch.drain_to(self.out);
            return;
        };
        self.scratch.byte(1);
        self.scratch.array(key.hash.to_le_bytes());
        self.scratch.array(key.fingerprint.to_le_bytes());
        self.count(exceptions.len());
        for (index, outcome) in exceptions {
            self.scratch.varint(u64::from(*index));
            put_outcome(&mut self.scratch, *outcome);
            self.scratch.drain_to(self.out);
        }
    }

    /// An id, or the text that it follows from.
    #[inline]
    fn name(&mut self, id: u128, external_id: Option<&ExternalId>) {
        match external_id {
            None => self.scratch.array(id.to_le_bytes()),
            Some(external_id) => {
                assert!(external_id.id() == id, "an external id stands for another id");
                put_text(&mut self.scratch, external_id.text(), self.out);
            }
        }
    }

    fn metadata(&mut self, metadata: Option<&Metadata>) {
        if let Some(Metadata { text, digest }) = metadata {
            put_text(&mut self.scratch, text, self.out);
            self.scratch.array(digest.to_le_bytes());
        }
    }

    /// Wraps, so that a moment before the record's (of something imported) costs ten bytes and is not lost.
    fn timestamp(&mut self, timestamp: Timestamp) {
        self.scratch.varint(timestamp.0.wrapping_sub(self.record.timestamp.0));
    }

    fn count(&mut self, count: usize) {
        self.scratch.varint(count as u64);
        self.scratch.drain_to(self.out);
    }
}

fn put_amount_unless_zero(scratch: &mut Scratch, amount: Amount) {
    if !amount.is_zero() {
        scratch.amount(amount);
    }
}

fn put_user_data(scratch: &mut Scratch, data_128: u128, data_64: u64, data_32: u32) {
    if data_128 != 0 {
        scratch.array(data_128.to_le_bytes());
    }
    if data_64 != 0 {
        scratch.varint(data_64);
    }
    if data_32 != 0 {
        scratch.varint(u64::from(data_32));
    }
}

fn put_outcome(scratch: &mut Scratch, outcome: ItemOutcome) {
    match outcome {
        ItemOutcome::Exists { seq, timestamp } => {
            scratch.byte(outcome::EXISTS);
            scratch.varint(seq.0);
            scratch.array(timestamp.0.to_le_bytes());
        }
        ItemOutcome::Differs { seq } => {
            scratch.byte(outcome::DIFFERS);
            scratch.varint(seq.0);
        }
        ItemOutcome::Rejected(rejection) => {
            scratch.byte(outcome::REJECTED);
            scratch.varint(u64::from(rejection.number()));
            rejection.each_figure(|figure| scratch.signed(figure));
        }
        ItemOutcome::Settled { seq, settlement } => {
            scratch.byte(outcome::SETTLED);
            scratch.varint(seq.0);
            scratch.byte(match settlement {
                Settlement::Posted => settlement::POSTED,
                Settlement::Voided => settlement::VOIDED,
                Settlement::Expired => settlement::EXPIRED,
            });
        }
    }
}
