//! What a caller asks for by a transfer, compared with what its id or its pending transfer was decided to be.

use crate::amount::{Amount, Scale};
use crate::command::CreateTransfer;
use crate::decided::Settlement;
use crate::fixed::FixedFields;
use crate::ids::{AccountId, Code, LedgerId, Timestamp, TransferId};
use crate::pending::Pending;
use crate::rejection::{Field, Rejection};
use crate::transfer::{Inherited, Transfer, TransferFlags, metadata_digest};
use crate::{AmountInput, SignedAmount};

/// All that makes two uses of a transfer id the same: what was asked for, with what was left open where that depends on nothing
/// but the transfer itself.
pub(crate) struct Content {
    debit_account_id: AccountId,
    credit_account_id: AccountId,
    amount: Amount,
    pending_id: TransferId,
    user_data_128: u128,
    user_data_64: u64,
    user_data_32: u32,
    timeout: u32,
    ledger: LedgerId,
    code: Code,
    flags: TransferFlags,
    effective_at: Option<Timestamp>,
    metadata_digest: u64,
    is_leg: bool,
    reverses: TransferId,
}

impl Content {
    #[inline]
    pub(crate) fn of(transfer: &Transfer) -> Content {
        let mut content = Content {
            debit_account_id: transfer.debit_account_id,
            credit_account_id: transfer.credit_account_id,
            amount: transfer.amount_requested,
            pending_id: transfer.pending_id,
            user_data_128: transfer.user_data_128,
            user_data_64: transfer.user_data_64,
            user_data_32: transfer.user_data_32,
            timeout: transfer.timeout,
            ledger: transfer.ledger,
            code: transfer.code,
            flags: transfer.flags,
            effective_at: transfer.effective_at,
            metadata_digest: metadata_digest(transfer.metadata.as_ref()),
            is_leg: transfer.transaction_id.is_some(),
            reverses: transfer.reverses,
        };
        if let Some(settlement) = transfer.flags.settlement() {
            content.leave_open(transfer.inherited, settlement);
        }
        content
    }

    /// Leaves open again what a post or void took over.
    fn leave_open(&mut self, inherited: Inherited, settlement: Settlement) {
        fn open<T>(inherited: bool, field: &mut T, left_open: T) {
            if inherited {
                *field = left_open;
            }
        }
        let is = |field| inherited.intersects(field);
        open(is(Inherited::DEBIT_ACCOUNT_ID), &mut self.debit_account_id, AccountId(0));
        open(is(Inherited::CREDIT_ACCOUNT_ID), &mut self.credit_account_id, AccountId(0));
        open(is(Inherited::AMOUNT), &mut self.amount, all_of_it(settlement));
        open(is(Inherited::LEDGER), &mut self.ledger, LedgerId(0));
        open(is(Inherited::CODE), &mut self.code, Code(0));
        open(is(Inherited::USER_DATA_128), &mut self.user_data_128, 0);
        open(is(Inherited::USER_DATA_64), &mut self.user_data_64, 0);
        open(is(Inherited::USER_DATA_32), &mut self.user_data_32, 0);
    }

    #[inline]
    pub(crate) fn digest(&self) -> u64 {
        // A reversal settles nothing, so the place of the pending transfer's id is free for the one that it reverses.
        let is_reversal = self.reverses.0 != 0;
        let names = if is_reversal { self.reverses } else { self.pending_id };
        FixedFields::<144>::new()
            .put(self.debit_account_id.0.to_le_bytes())
            .put(self.credit_account_id.0.to_le_bytes())
            .put(self.amount.minor_units().to_le_bytes())
            .put(names.0.to_le_bytes())
            .put(self.user_data_128.to_le_bytes())
            .put(self.user_data_64.to_le_bytes())
            .put(self.user_data_32.to_le_bytes())
            .put(self.timeout.to_le_bytes())
            .put(self.ledger.0.to_le_bytes())
            .put(self.code.0.to_le_bytes())
            .put(self.flags.bits().to_le_bytes())
            .put(self.effective_at.map_or(u64::MAX, |at| at.0).to_le_bytes())
            .put(self.metadata_digest.to_le_bytes())
            .put([u8::from(self.is_leg) | u8::from(is_reversal) << 1])
            .hash()
    }
}

/// The amount by which a post or void asks for all that is pending.
const fn all_of_it(settlement: Settlement) -> Amount {
    match settlement {
        Settlement::Posted => Amount::MAX,
        Settlement::Voided | Settlement::Expired => Amount::ZERO,
    }
}

/// A transfer as it is asked for, with what the caller left open filled in.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// What was asked for.
    pub item: &'a CreateTransfer,
    /// Its amount in minor units.
    pub amount: Amount,
    /// Its ledger, the debit account's where it named none; 0 where neither is known, or a post or void leaves it open.
    pub ledger: LedgerId,
    /// The transaction that it is a leg of.
    pub transaction_id: Option<TransferId>,
    /// The transfer that it reverses; 0 where it reverses none.
    pub reverses: TransferId,
}

/// [`Asking`], kept to compare it later with the transfer that has its id already, or with its pending transfer.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// What was asked for.
    pub item: CreateTransfer,
    /// Its amount in minor units.
    pub amount: Amount,
    /// Its ledger.
    pub ledger: LedgerId,
    /// The transaction that it is a leg of.
    pub transaction_id: Option<TransferId>,
    /// The transfer that it reverses; 0 where it reverses none.
    pub reverses: TransferId,
}

impl Asked {
    /// The same, borrowed.
    #[must_use]
    pub fn asking(&self) -> Asking<'_> {
        Asking {
            item: &self.item,
            amount: self.amount,
            ledger: self.ledger,
            transaction_id: self.transaction_id,
            reverses: self.reverses,
        }
    }
}

impl<'a> Asking<'a> {
    /// What `item` asks for, where its id names `existing` already: what it leaves open is what `existing` has.
    /// An amount that `scale` can not hold counts as none.
    #[must_use]
    pub fn against(item: &'a CreateTransfer, existing: &Transfer, scale: Scale) -> Asking<'a> {
        let left_open = match item.flags.settlement() {
            Some(_) => LedgerId(0),
            None => existing.ledger,
        };
        Asking {
            item,
            amount: item.amount.resolve(scale).unwrap_or(Amount::ZERO),
            ledger: item.ledger.unwrap_or(left_open),
            transaction_id: None,
            reverses: TransferId(0),
        }
    }

    /// [`Transfer::content_digest`] of what is asked for.
    #[must_use]
    pub fn content_digest(&self) -> u64 {
        let item = self.item;
        Content {
            debit_account_id: item.debit_account_id,
            credit_account_id: item.credit_account_id,
            amount: self.amount,
            pending_id: item.pending_id,
            user_data_128: item.user_data_128,
            user_data_64: item.user_data_64,
            user_data_32: item.user_data_32,
            timeout: item.timeout,
            ledger: self.ledger,
            code: item.code,
            flags: item.flags,
            effective_at: item.effective_at,
            metadata_digest: metadata_digest(item.metadata.as_ref()),
            is_leg: self.transaction_id.is_some(),
            reverses: self.reverses,
        }
        .digest()
    }

    /// To be kept.
    #[must_use]
    pub fn to_asked(&self) -> Asked {
        let Asking { item, amount, ledger, transaction_id, reverses } = *self;
        Asked { item: item.clone(), amount, ledger, transaction_id, reverses }
    }

    /// The transfer that this becomes when nothing speaks against it, moving `amount`.
    #[inline(always)]
    pub(crate) fn decided(&self, amount: Amount, timestamp: Timestamp) -> Transfer {
        let item = self.item;
        Transfer {
            id: item.id,
            external_id: item.external_id.clone(),
            debit_account_id: item.debit_account_id,
            credit_account_id: item.credit_account_id,
            amount,
            amount_requested: self.amount,
            pending_id: item.pending_id,
            reverses: self.reverses,
            inherited: Inherited::empty(),
            timeout: item.timeout,
            user_data_128: item.user_data_128,
            user_data_64: item.user_data_64,
            user_data_32: item.user_data_32,
            ledger: self.ledger,
            code: item.code,
            flags: item.flags,
            effective_at: item.effective_at,
            timestamp,
            transaction_id: self.transaction_id,
            metadata: item.metadata.clone(),
        }
    }

    /// The post or void of `pending`, of these accounts, that this becomes: what it leaves open is taken over.
    #[inline(never)]
    pub(crate) fn settling(
        &self,
        pending: &Pending,
        accounts: Between,
        amount: Amount,
        timestamp: Timestamp,
    ) -> Transfer {
        let item = self.item;
        let all = item.flags.settlement().map(all_of_it);
        let inherited = Inherited::empty()
            .with(Inherited::DEBIT_ACCOUNT_ID, item.debit_account_id.0 == 0)
            .with(Inherited::CREDIT_ACCOUNT_ID, item.credit_account_id.0 == 0)
            .with(Inherited::LEDGER, self.ledger.0 == 0)
            .with(Inherited::CODE, item.code.0 == 0)
            .with(
                if all == Some(self.amount) { Inherited::AMOUNT } else { Inherited::SAME_AMOUNT },
                amount == pending.amount,
            )
            .with(Inherited::USER_DATA_128, item.user_data_128 == 0)
            .with(Inherited::USER_DATA_64, item.user_data_64 == 0)
            .with(Inherited::USER_DATA_32, item.user_data_32 == 0)
            .with(
                Inherited::SAME_USER_DATA_128,
                item.user_data_128 != 0 && item.user_data_128 == pending.user_data_128,
            )
            .with(
                Inherited::SAME_USER_DATA_64,
                item.user_data_64 != 0 && item.user_data_64 == pending.user_data_64,
            )
            .with(
                Inherited::SAME_USER_DATA_32,
                item.user_data_32 != 0 && item.user_data_32 == pending.user_data_32,
            );
        fn or<T: PartialEq + Default>(named: T, taken_over: T) -> T {
            if named == T::default() { taken_over } else { named }
        }
        Transfer {
            debit_account_id: accounts.debit_account_id,
            credit_account_id: accounts.credit_account_id,
            amount_requested: amount,
            inherited,
            user_data_128: or(item.user_data_128, pending.user_data_128),
            user_data_64: or(item.user_data_64, pending.user_data_64),
            user_data_32: or(item.user_data_32, pending.user_data_32),
            ledger: accounts.ledger,
            code: pending.code,
            ..self.decided(amount, timestamp)
        }
    }

    /// The first field, in the documented order, in which this differs from the transfer that has its id; `None` where it asks for what
    /// happened in other words, so that it exists.
    #[must_use]
    pub fn first_difference(&self, existing: &Transfer) -> Option<Field> {
        let item = self.item;
        if item.flags != existing.flags {
            return Some(Field::Flags);
        }
        let metadata = metadata_digest(item.metadata.as_ref());
        // Minor units of different ledgers can not be compared.
        let same_ledger = self.ledger == existing.ledger;
        let (accounts, amount, user_data, ledger, code) = match existing.settles() {
            Some((_, settlement)) => self.differs_from_settling(existing, settlement),
            None => (
                [
                    item.debit_account_id != existing.debit_account_id,
                    item.credit_account_id != existing.credit_account_id,
                ],
                // A balancing transfer moved as much as it could: whatever allows that much is the same.
                same_ledger
                    && if item.flags.intersects(TransferFlags::BALANCING) {
                        self.amount < existing.amount
                    } else {
                        self.amount != existing.amount
                    },
                [
                    item.user_data_128 != existing.user_data_128,
                    item.user_data_64 != existing.user_data_64,
                    item.user_data_32 != existing.user_data_32,
                ],
                !same_ledger,
                item.code != existing.code,
            ),
        };
        let differences = [
            (item.pending_id != existing.pending_id, Field::PendingId),
            (item.timeout != existing.timeout, Field::Timeout),
            (accounts[0], Field::DebitAccountId),
            (accounts[1], Field::CreditAccountId),
            (amount, Field::Amount),
            (user_data[0], Field::UserData128),
            (user_data[1], Field::UserData64),
            (user_data[2], Field::UserData32),
            (ledger, Field::Ledger),
            (code, Field::Code),
            (item.effective_at != existing.effective_at, Field::EffectiveAt),
            (metadata != metadata_digest(existing.metadata.as_ref()), Field::Metadata),
            (self.transaction_id.is_some() != existing.transaction_id.is_some(), Field::Kind),
            (self.reverses != existing.reverses, Field::Reversal),
        ];
        differences.into_iter().find_map(|(differs, field)| differs.then_some(field))
    }

    /// Whether accounts, amount, user data, ledger and code differ from those of a post or void that exists: a field left open is the
    /// pending transfer's.
    fn differs_from_settling(
        &self,
        existing: &Transfer,
        settlement: Settlement,
    ) -> ([bool; 2], bool, [bool; 3], bool, bool) {
        fn differs<T: PartialEq + Default>(asked: T, existing: T, as_pending: bool) -> bool {
            if asked == T::default() { !as_pending } else { asked != existing }
        }
        let item = self.item;
        let is = |fields| existing.inherited.intersects(fields);
        let either = |left_open: Inherited, same| is(left_open.with(same, true));
        let all = self.amount == all_of_it(settlement);
        (
            [
                differs(item.debit_account_id, existing.debit_account_id, true),
                differs(item.credit_account_id, existing.credit_account_id, true),
            ],
            if all {
                !either(Inherited::AMOUNT, Inherited::SAME_AMOUNT)
            } else {
                self.amount != existing.amount
            },
            [
                differs(
                    item.user_data_128,
                    existing.user_data_128,
                    either(Inherited::USER_DATA_128, Inherited::SAME_USER_DATA_128),
                ),
                differs(
                    item.user_data_64,
                    existing.user_data_64,
                    either(Inherited::USER_DATA_64, Inherited::SAME_USER_DATA_64),
                ),
                differs(
                    item.user_data_32,
                    existing.user_data_32,
                    either(Inherited::USER_DATA_32, Inherited::SAME_USER_DATA_32),
                ),
            ],
            differs(self.ledger, existing.ledger, true),
            differs(item.code, existing.code, true),
        )
    }

    // --- beside a pending transfer -------------------------------------------------------------------------------------

    /// Whether a post or void names nothing of its pending transfer, so that nothing can differ from it.
    pub(crate) fn names_nothing(&self) -> bool {
        let item = self.item;
        let all = match item.amount {
            AmountInput::Minor(amount) => item.flags.settlement().map(all_of_it) == Some(amount),
            AmountInput::Major(_) => false,
        };
        all && item.debit_account_id.0 == 0
            && item.credit_account_id.0 == 0
            && self.ledger.0 == 0
            && item.code.0 == 0
    }

    /// How much of a pending transfer between these accounts is to be settled, unless what the post or void names differs from it.
    pub(crate) fn settled_amount(
        &self,
        between: Between,
        pending: Amount,
    ) -> Result<Amount, Rejection> {
        let item = self.item;
        let differs = |rejection| Err(rejection);
        if item.debit_account_id.0 != 0 && item.debit_account_id != between.debit_account_id {
            return differs(Rejection::PendingTransferHasDifferentDebitAccountId);
        }
        if item.credit_account_id.0 != 0 && item.credit_account_id != between.credit_account_id {
            return differs(Rejection::PendingTransferHasDifferentCreditAccountId);
        }
        if self.ledger.0 != 0 && self.ledger != between.ledger {
            return differs(Rejection::PendingTransferHasDifferentLedger);
        }
        if item.code.0 != 0 && item.code != between.code {
            return differs(Rejection::PendingTransferHasDifferentCode);
        }
        let all = item.flags.settlement().map(all_of_it) == Some(self.amount);
        let amount = if all { pending } else { self.amount };
        let signed = |amount: Amount| SignedAmount::new(amount.minor_units() as i128);
        let (pending_amount, requested, ledger) = (signed(pending), signed(amount), between.ledger);
        if amount > pending {
            let pending = pending_amount;
            return differs(Rejection::ExceedsPendingTransferAmount { pending, requested, ledger });
        }
        if item.flags.contains(TransferFlags::VOID_PENDING_TRANSFER) && amount < pending {
            let pending = pending_amount;
            return differs(Rejection::PendingTransferHasDifferentAmount {
                pending,
                requested,
                ledger,
            });
        }
        Ok(amount)
    }

    /// Why a post or void is refused whose `pending` transfer was settled before: what it names of it is compared first.
    #[must_use]
    pub fn refused_as_settled(&self, pending: &Transfer, settlement: Settlement) -> Rejection {
        let between = Between {
            debit_account_id: pending.debit_account_id,
            credit_account_id: pending.credit_account_id,
            ledger: pending.ledger,
            code: pending.code,
        };
        match self.settled_amount(between, pending.amount) {
            Ok(_) => settlement.rejection(),
            Err(differs) => differs,
        }
    }
}

/// What a post or void may name of its pending transfer, beside the amount.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Between {
    pub(crate) debit_account_id: AccountId,
    pub(crate) credit_account_id: AccountId,
    pub(crate) ledger: LedgerId,
    pub(crate) code: Code,
}
