//! Refusals by the rules: business answers, neither errors nor bugs.

use crate::amount::SignedAmount;
use crate::ids::LedgerId;

/// A figure behind a refusal, as the whole number that the durable format keeps.
trait Figure: Sized {
    fn to_number(self) -> i128;
    fn from_number(number: i128) -> Option<Self>;
}

impl Figure for SignedAmount {
    fn to_number(self) -> i128 {
        self.minor_units()
    }

    fn from_number(number: i128) -> Option<SignedAmount> {
        Some(SignedAmount::new(number))
    }
}

impl Figure for u32 {
    fn to_number(self) -> i128 {
        i128::from(self)
    }

    fn from_number(number: i128) -> Option<u32> {
        u32::try_from(number).ok()
    }
}

impl Figure for LedgerId {
    fn to_number(self) -> i128 {
        i128::from(self.0)
    }

    fn from_number(number: i128) -> Option<LedgerId> {
        u32::try_from(number).ok().map(LedgerId)
    }
}

/// Why a number and figures that were read make no rejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RejectionNumberError {
    /// No rejection has this number: it is from a newer version, or damaged.
    #[error("no rejection has the number {number}")]
    Unknown {
        /// The number.
        number: u16,
    },
    /// A figure is out of the range of its kind.
    #[error("a figure of rejection {number} is out of range")]
    Figure {
        /// The rejection's number.
        number: u16,
    },
}

/// The field in which a second use of an id differs from the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The id names a transfer here and a transaction there.
    Kind,
    /// `flags`
    Flags,
    /// `pending_id`
    PendingId,
    /// `timeout`
    Timeout,
    /// `debit_account_id`
    DebitAccountId,
    /// `credit_account_id`
    CreditAccountId,
    /// `amount`
    Amount,
    /// `user_data_128`
    UserData128,
    /// `user_data_64`
    UserData64,
    /// `user_data_32`
    UserData32,
    /// `ledger`
    Ledger,
    /// `code`
    Code,
    /// `effective_at`
    EffectiveAt,
    /// `overdraft_limit`
    OverdraftLimit,
    /// `metadata`
    Metadata,
    /// The legs of a transaction.
    Transfers,
    /// The opening balance of an account.
    Balance,
    /// A ledger's `currency`
    Currency,
    /// A ledger's `scale`
    Scale,
    /// A ledger's `name`
    Name,
    /// Which transfer it reverses.
    Reversal,
}

macro_rules! rejections {
    ($($(#[$doc:meta])* $variant:ident $({ $($field:ident: $type:ty),* })? = $number:literal, $code:literal, $detail:literal;)*) => {
        /// Why the rules refuse an event.
        ///
        /// The names are those of the reference, and ours after them. The numbers are part of the durable format:
        /// they are added to, never changed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Rejection {
            $($(#[$doc])* $variant $({ $(
                /// A figure behind the refusal.
                $field: $type
            ),* })?,)*
        }

        impl Rejection {
            /// Every code with its sentence, for the error catalogue: (`code`, `detail`).
            pub const CATALOGUE: &'static [(&'static str, &'static str)] = &[$(($code, $detail)),*];

            /// The stable name in answers.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Rejection::$variant { .. } => $code,)* }
            }

            /// One sentence that says what is the matter.
            #[must_use]
            pub const fn detail(self) -> &'static str {
                match self { $(Rejection::$variant { .. } => $detail,)* }
            }

            /// The number in the durable format.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self { $(Rejection::$variant { .. } => $number,)* }
            }

            /// The stable name and the sentence of the rejection with this number: (`code`, `detail`); none where no rejection has it.
            #[must_use]
            pub const fn named(number: u16) -> Option<(&'static str, &'static str)> {
                match number { $($number => Some(($code, $detail)),)* _ => None }
            }

            /// Gives each figure as a whole number, in the order in which [`Rejection::from_number`] takes them.
            pub fn each_figure(self, mut give: impl FnMut(i128)) {
                match self {
                    $(Rejection::$variant $({ $($field),* })? => { $($(give(Figure::to_number($field));)*)? })*
                }
            }

            /// The rejection of this number; asks `take` for each of its figures, in order.
            ///
            /// # Errors
            /// The number or a figure has no meaning, or `take` failed.
            pub fn from_number<E: From<RejectionNumberError>>(
                number: u16,
                mut take: impl FnMut() -> Result<i128, E>,
            ) -> Result<Rejection, E> {
                match number {
                    $($number => Ok(Rejection::$variant $({ $($field: {
                        Figure::from_number(take()?).ok_or(RejectionNumberError::Figure { number })?
                    }),* })?),)*
                    _ => Err(RejectionNumberError::Unknown { number }.into()),
                }
            }
        }

        #[cfg(test)]
        const NUMBERS: &[u16] = &[$($number),*];
    };
}

rejections! {
    /// Another event of its chain was refused.
    LinkedEventFailed = 1, "linked_event_failed", "Another event of its linked chain was refused.";
    /// The last event of a batch is linked to a next one.
    LinkedEventChainOpen = 2, "linked_event_chain_open", "The last event of the batch is linked, so its chain has no end.";
    /// The id is 0.
    IdMustNotBeZero = 3, "id_must_not_be_zero", "The id is 0.";
    /// The id is 2^128−1.
    IdMustNotBeIntMax = 4, "id_must_not_be_int_max", "The id is 2^128-1.";
    /// The id was used before, for other content.
    ExistsWithDifferentKind = 5, "exists_with_different_kind", "The id already names a thing of another kind: a transfer or a transaction.";
    /// See [`Field`].
    ExistsWithDifferentFlags = 6, "exists_with_different_flags", "The id already exists with different flags.";
    /// See [`Field`].
    ExistsWithDifferentPendingId = 7, "exists_with_different_pending_id", "The id already exists with a different pending_id.";
    /// See [`Field`].
    ExistsWithDifferentTimeout = 8, "exists_with_different_timeout", "The id already exists with a different timeout.";
    /// See [`Field`].
    ExistsWithDifferentDebitAccountId = 9, "exists_with_different_debit_account_id", "The id already exists with a different debit_account_id.";
    /// See [`Field`].
    ExistsWithDifferentCreditAccountId = 10, "exists_with_different_credit_account_id", "The id already exists with a different credit_account_id.";
    /// See [`Field`].
    ExistsWithDifferentAmount = 11, "exists_with_different_amount", "The id already exists with a different amount.";
    /// See [`Field`].
    ExistsWithDifferentUserData128 = 12, "exists_with_different_user_data_128", "The id already exists with a different user_data_128.";
    /// See [`Field`].
    ExistsWithDifferentUserData64 = 13, "exists_with_different_user_data_64", "The id already exists with a different user_data_64.";
    /// See [`Field`].
    ExistsWithDifferentUserData32 = 14, "exists_with_different_user_data_32", "The id already exists with a different user_data_32.";
    /// See [`Field`].
    ExistsWithDifferentLedger = 15, "exists_with_different_ledger", "The id already exists in a different ledger.";
    /// See [`Field`].
    ExistsWithDifferentCode = 16, "exists_with_different_code", "The id already exists with a different code.";
    /// See [`Field`].
    ExistsWithDifferentEffectiveAt = 17, "exists_with_different_effective_at", "The id already exists with a different effective_at.";
    /// See [`Field`].
    ExistsWithDifferentOverdraftLimit = 18, "exists_with_different_overdraft_limit", "The id already exists with a different overdraft_limit.";
    /// See [`Field`].
    ExistsWithDifferentMetadata = 19, "exists_with_different_metadata", "The id already exists with different metadata.";
    /// See [`Field`].
    ExistsWithDifferentTransfers = 20, "exists_with_different_transfers", "The transaction already exists with different transfers.";
    /// See [`Field`].
    ExistsWithDifferentBalance = 21, "exists_with_different_balance", "The account already exists with a different opening balance.";
    /// See [`Field`].
    ExistsWithDifferentCurrency = 22, "exists_with_different_currency", "The ledger already exists with a different currency.";
    /// See [`Field`].
    ExistsWithDifferentScale = 23, "exists_with_different_scale", "The ledger already exists with a different scale.";
    /// See [`Field`].
    ExistsWithDifferentName = 24, "exists_with_different_name", "The ledger already exists with a different name.";
    /// A transient rejection burned the id.
    IdAlreadyFailed = 25, "id_already_failed", "The id was refused before, and stays refused; use a new id for a new try.";
    /// Both limits, or another pair that excludes each other.
    FlagsAreMutuallyExclusive = 26, "flags_are_mutually_exclusive", "Two of the flags exclude each other.";
    /// An overdraft limit where no side is limited.
    OverdraftLimitMustBeZero = 27, "overdraft_limit_must_be_zero", "An overdraft_limit needs a limit: debits_must_not_exceed_credits or credits_must_not_exceed_debits.";
    /// The debit account's id is 0.
    DebitAccountIdMustNotBeZero = 28, "debit_account_id_must_not_be_zero", "The debit_account_id is 0.";
    /// The debit account's id is 2^128−1.
    DebitAccountIdMustNotBeIntMax = 29, "debit_account_id_must_not_be_int_max", "The debit_account_id is 2^128-1.";
    /// The credit account's id is 0.
    CreditAccountIdMustNotBeZero = 30, "credit_account_id_must_not_be_zero", "The credit_account_id is 0.";
    /// The credit account's id is 2^128−1.
    CreditAccountIdMustNotBeIntMax = 31, "credit_account_id_must_not_be_int_max", "The credit_account_id is 2^128-1.";
    /// Both accounts are the same.
    AccountsMustBeDifferent = 32, "accounts_must_be_different", "The debit and the credit account are the same.";
    /// A `pending_id` on a transfer that settles nothing.
    PendingIdMustBeZero = 33, "pending_id_must_be_zero", "A single-phase transfer settles no other, so it has no pending_id.";
    /// A `timeout` on a transfer that is not pending.
    TimeoutReservedForPendingTransfer = 34, "timeout_reserved_for_pending_transfer", "Only a pending transfer has a timeout.";
    /// The ledger is 0.
    LedgerMustNotBeZero = 35, "ledger_must_not_be_zero", "The ledger is 0.";
    /// No such ledger.
    LedgerNotFound { ledger: LedgerId } = 36, "ledger_not_found", "There is no such ledger.";
    /// The code is 0.
    CodeMustNotBeZero = 37, "code_must_not_be_zero", "The code is 0.";
    /// No such account. Transient: burns the id.
    DebitAccountNotFound = 38, "debit_account_not_found", "There is no account with the debit_account_id.";
    /// No such account. Transient: burns the id.
    CreditAccountNotFound = 39, "credit_account_not_found", "There is no account with the credit_account_id.";
    /// The accounts are of two ledgers.
    AccountsMustHaveTheSameLedger = 40, "accounts_must_have_the_same_ledger", "The debit and the credit account are of different ledgers.";
    /// The accounts are of another ledger than the transfer.
    TransferMustHaveTheSameLedgerAsAccounts = 41, "transfer_must_have_the_same_ledger_as_accounts", "The accounts are of another ledger than the transfer.";
    /// The account is closed. Transient: burns the id.
    DebitAccountAlreadyClosed = 42, "debit_account_already_closed", "The debit account is closed.";
    /// The account is closed. Transient: burns the id.
    CreditAccountAlreadyClosed = 43, "credit_account_already_closed", "The credit account is closed.";
    /// The debit account's posted debits would pass the largest amount.
    OverflowsDebitsPosted = 44, "overflows_debits_posted", "The debit account's debits_posted would pass 2^96-1 minor units.";
    /// The credit account's posted credits would pass the largest amount.
    OverflowsCreditsPosted = 45, "overflows_credits_posted", "The credit account's credits_posted would pass 2^96-1 minor units.";
    /// The debit account's debits, pending and posted, would pass the largest amount.
    OverflowsDebits = 46, "overflows_debits", "The debit account's debits, pending and posted together, would pass 2^96-1 minor units.";
    /// The credit account's credits, pending and posted, would pass the largest amount.
    OverflowsCredits = 47, "overflows_credits", "The credit account's credits, pending and posted together, would pass 2^96-1 minor units.";
    /// The debit account has not enough. Transient: burns the id.
    ExceedsCredits { available: SignedAmount, requested: SignedAmount, ledger: LedgerId } = 48, "exceeds_credits", "The debit account has not enough available.";
    /// The credit account can not take so much. Transient: burns the id.
    ExceedsDebits { available: SignedAmount, requested: SignedAmount, ledger: LedgerId } = 49, "exceeds_debits", "The credit account has not enough available.";
    /// The first event of the batch is imported, and this one is not.
    ImportedEventExpected = 50, "imported_event_expected", "The batch imports, as its first event says, but this event is not imported.";
    /// The first event of the batch is not imported, and this one is.
    ImportedEventNotExpected = 51, "imported_event_not_expected", "The batch does not import, as its first event says, but this event is imported.";
    /// A `timestamp` on an event that is not imported.
    TimestampMustBeZero = 52, "timestamp_must_be_zero", "Only an imported event brings its timestamp.";
    /// An imported timestamp of 0 or of 2^63 nanoseconds and more.
    ImportedEventTimestampOutOfRange = 53, "imported_event_timestamp_out_of_range", "An imported event's timestamp is from 1 to 2^63-1 nanoseconds.";
    /// An imported timestamp that is not in the past.
    ImportedEventTimestampMustNotAdvance = 54, "imported_event_timestamp_must_not_advance", "An imported event's timestamp must be in the past.";
    /// A post or void of nothing.
    PendingIdMustNotBeZero = 55, "pending_id_must_not_be_zero", "A post or void names the pending transfer that it settles.";
    /// The pending transfer's id is 2^128−1.
    PendingIdMustNotBeIntMax = 56, "pending_id_must_not_be_int_max", "The pending_id is 2^128-1.";
    /// A transfer that would settle itself.
    PendingIdMustBeDifferent = 57, "pending_id_must_be_different", "The pending_id is the transfer's own id.";
    /// A closing transfer that is not pending.
    ClosingTransferMustBePending = 58, "closing_transfer_must_be_pending", "A transfer that closes an account must be pending, so that its void opens the account again.";
    /// No such transfer. Transient: burns the id.
    PendingTransferNotFound = 59, "pending_transfer_not_found", "There is no transfer with the pending_id.";
    /// The transfer to settle is none that waits for it.
    PendingTransferNotPending = 60, "pending_transfer_not_pending", "The transfer with the pending_id is not a pending one.";
    /// Another debit account than that of the pending transfer.
    PendingTransferHasDifferentDebitAccountId = 61, "pending_transfer_has_different_debit_account_id", "The pending transfer has a different debit_account_id.";
    /// Another credit account than that of the pending transfer.
    PendingTransferHasDifferentCreditAccountId = 62, "pending_transfer_has_different_credit_account_id", "The pending transfer has a different credit_account_id.";
    /// Another ledger than that of the pending transfer.
    PendingTransferHasDifferentLedger = 63, "pending_transfer_has_different_ledger", "The pending transfer is in a different ledger.";
    /// Another code than that of the pending transfer.
    PendingTransferHasDifferentCode = 64, "pending_transfer_has_different_code", "The pending transfer has a different code.";
    /// More than what is pending.
    ExceedsPendingTransferAmount { pending: SignedAmount, requested: SignedAmount, ledger: LedgerId } = 65, "exceeds_pending_transfer_amount", "The amount is more than the pending transfer's.";
    /// A void of less than all that is pending.
    PendingTransferHasDifferentAmount { pending: SignedAmount, requested: SignedAmount, ledger: LedgerId } = 66, "pending_transfer_has_different_amount", "A void releases all of its pending transfer, whose amount is a different one.";
    /// Settled before, by a post.
    PendingTransferAlreadyPosted = 67, "pending_transfer_already_posted", "The pending transfer was posted before.";
    /// Settled before, by a void.
    PendingTransferAlreadyVoided = 68, "pending_transfer_already_voided", "The pending transfer was voided before.";
    /// Its time is over.
    PendingTransferExpired = 69, "pending_transfer_expired", "The pending transfer's timeout is over.";
    /// An imported timestamp at or before that of the newest of its kind, or of another event.
    ImportedEventTimestampMustNotRegress = 70, "imported_event_timestamp_must_not_regress", "An imported event's timestamp must be after that of the newest of its kind, and be its own.";
    /// An imported transfer from before its debit account.
    ImportedEventTimestampMustPostdateDebitAccount = 71, "imported_event_timestamp_must_postdate_debit_account", "An imported transfer's timestamp must be after that of its debit account.";
    /// An imported transfer from before its credit account.
    ImportedEventTimestampMustPostdateCreditAccount = 72, "imported_event_timestamp_must_postdate_credit_account", "An imported transfer's timestamp must be after that of its credit account.";
    /// An imported pending transfer with a timeout.
    ImportedEventTimeoutMustBeZero = 73, "imported_event_timeout_must_be_zero", "An imported transfer has no timeout: it would be over, or end in the future of another clock.";
    /// The debit account's pending debits would pass the largest amount.
    OverflowsDebitsPending = 74, "overflows_debits_pending", "The debit account's debits_pending would pass 2^96-1 minor units.";
    /// The credit account's pending credits would pass the largest amount.
    OverflowsCreditsPending = 75, "overflows_credits_pending", "The credit account's credits_pending would pass 2^96-1 minor units.";
    /// It would expire after the last moment there is.
    OverflowsTimeout = 76, "overflows_timeout", "The transfer's timeout would end after the last moment there is, 2^63-1 nanoseconds.";
    /// No account with the id that a command is about.
    AccountToChangeNotFound = 77, "account_to_change_not_found", "There is no account with the id of the one to change.";
    /// No such transfer or transaction to reverse. Transient: burns the id.
    ReversedTransferNotFound = 78, "reversed_transfer_not_found", "There is no transfer or transaction with the id to reverse.";
    /// A transfer that moved nothing can not be moved back.
    TransferNotReversible = 79, "transfer_not_reversible", "Only a transfer that posted money can be reversed: a pending one is voided, and a void moved nothing.";
    /// Reversed before.
    AlreadyReversed = 80, "already_reversed", "The transfer was reversed before.";
    /// A condition does not hold. Transient: burns the id.
    ConditionFailed { condition: u32, found: SignedAmount, ledger: LedgerId } = 81, "condition_failed", "A condition does not hold.";
    /// A condition is about an account that is not there. Transient: burns the id.
    ConditionAccountNotFound { condition: u32 } = 82, "condition_account_not_found", "There is no account with the account_id of a condition.";
    /// See [`Field`].
    ExistsWithDifferentReversal = 83, "exists_with_different_reversal", "The id already exists as the reversal of another transfer, or of none.";
}

impl Rejection {
    /// Whether the same event could be accepted later: such a rejection burns the transfer's id, so that no retry flips an outcome.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Rejection::DebitAccountNotFound
                | Rejection::CreditAccountNotFound
                | Rejection::PendingTransferNotFound
                | Rejection::DebitAccountAlreadyClosed
                | Rejection::CreditAccountAlreadyClosed
                | Rejection::ExceedsCredits { .. }
                | Rejection::ExceedsDebits { .. }
                | Rejection::ReversedTransferNotFound
                | Rejection::ConditionFailed { .. }
                | Rejection::ConditionAccountNotFound { .. }
        )
    }

    /// Whether the event's id was used before for other content: a conflict rather than a refusal.
    #[must_use]
    pub const fn is_conflict(self) -> bool {
        let number = self.number();
        number == Rejection::ExistsWithDifferentReversal.number()
            || number >= Rejection::ExistsWithDifferentKind.number()
                && number <= Rejection::ExistsWithDifferentName.number()
    }

    /// The rejection of a second use of an id that differs from the first in `field`.
    #[must_use]
    pub const fn exists_with_different(field: Field) -> Rejection {
        match field {
            Field::Kind => Rejection::ExistsWithDifferentKind,
            Field::Flags => Rejection::ExistsWithDifferentFlags,
            Field::PendingId => Rejection::ExistsWithDifferentPendingId,
            Field::Timeout => Rejection::ExistsWithDifferentTimeout,
            Field::DebitAccountId => Rejection::ExistsWithDifferentDebitAccountId,
            Field::CreditAccountId => Rejection::ExistsWithDifferentCreditAccountId,
            Field::Amount => Rejection::ExistsWithDifferentAmount,
            Field::UserData128 => Rejection::ExistsWithDifferentUserData128,
            Field::UserData64 => Rejection::ExistsWithDifferentUserData64,
            Field::UserData32 => Rejection::ExistsWithDifferentUserData32,
            Field::Ledger => Rejection::ExistsWithDifferentLedger,
            Field::Code => Rejection::ExistsWithDifferentCode,
            Field::EffectiveAt => Rejection::ExistsWithDifferentEffectiveAt,
            Field::OverdraftLimit => Rejection::ExistsWithDifferentOverdraftLimit,
            Field::Metadata => Rejection::ExistsWithDifferentMetadata,
            Field::Transfers => Rejection::ExistsWithDifferentTransfers,
            Field::Balance => Rejection::ExistsWithDifferentBalance,
            Field::Currency => Rejection::ExistsWithDifferentCurrency,
            Field::Scale => Rejection::ExistsWithDifferentScale,
            Field::Name => Rejection::ExistsWithDifferentName,
            Field::Reversal => Rejection::ExistsWithDifferentReversal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rebuilt(number: u16, figures: &[i128]) -> Result<Rejection, RejectionNumberError> {
        let mut left = figures.iter().copied();
        Rejection::from_number(number, || Ok(left.next().unwrap_or(7)))
    }

    #[test]
    fn every_rejection_is_made_again_from_its_number_and_figures() {
        for number in NUMBERS {
            let rejection = rebuilt(*number, &[-5, 12, 3]).unwrap_or_else(|_| {
                // The one kind whose only figure is a ledger, which is never negative.
                rebuilt(*number, &[3]).unwrap()
            });
            assert_eq!(rejection.number(), *number);
            assert_eq!(Rejection::named(*number), Some((rejection.code(), rejection.detail())));
            let mut figures = Vec::new();
            rejection.each_figure(|figure| figures.push(figure));
            assert_eq!(rebuilt(*number, &figures), Ok(rejection));
        }
        let exceeds = Rejection::ExceedsCredits {
            available: SignedAmount::new(-5),
            requested: SignedAmount::new(12),
            ledger: LedgerId(3),
        };
        assert_eq!(rebuilt(48, &[-5, 12, 3]), Ok(exceeds));
    }

    #[test]
    fn what_is_no_rejection_is_refused() {
        assert_eq!(rebuilt(0, &[]), Err(RejectionNumberError::Unknown { number: 0 }));
        assert_eq!(rebuilt(84, &[]), Err(RejectionNumberError::Unknown { number: 84 }));
        assert_eq!((Rejection::named(0), Rejection::named(84)), (None, None));
        assert_eq!(rebuilt(36, &[1 << 32]), Err(RejectionNumberError::Figure { number: 36 }));
        assert_eq!(rebuilt(36, &[-1]), Err(RejectionNumberError::Figure { number: 36 }));
    }
}
