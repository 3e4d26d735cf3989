//! Records as strange as their types allow.

use florin_engine::{
    AccountAfter, AccountCreated, AccountFlags, AccountId, Amount, Balances, Code, Event,
    ExternalId, IdBurned, Inherited, ItemOutcome, JournalSeq, Key, KeyUse, Ledger, LedgerAfter,
    LedgerId, LedgerTotals, Metadata, MetadataReplaced, OverdraftLimitChanged, Record, Rejection,
    Scale, Settlement, SignedAmount, Timestamp, Transaction, Transfer, TransferExpired,
    TransferFlags, TransferId, TransferPosted,
};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;

pub(super) fn record() -> impl Strategy<Value = Record> {
    let head = (timestamp(), any::<u32>());
    let accounts = prop::collection::vec(account_after(), 0..6);
    let ledgers = prop::collection::vec(ledger_after(), 0..3);
    let groups = prop::collection::vec(group(), 0..6);
    (head, accounts, ledgers, groups, option::of(key_use())).prop_map(
        |((timestamp, asked), accounts, ledgers, groups, key)| {
            let events = groups.into_iter().flat_map(|group| group.events(&accounts)).collect();
            Record { timestamp, asked, events, accounts, ledgers, key }
        },
    )
}

/// Events that belong together.
#[derive(Clone, Debug)]
enum Group {
    One(Event),
    Transfer(AnyTransfer),
    /// A transfer that expired, and which accounts are its own.
    Expired((TransferExpired, Index, Index)),
    /// Another limit or other metadata, and of which account.
    Account(Event, Index),
    Transaction(Transaction, Vec<AnyTransfer>),
}

/// A transfer whose accounts are still to be found.
#[derive(Clone, Debug)]
struct AnyTransfer {
    transfer: Transfer,
    debit_account: Index,
    credit_account: Index,
    /// Whether its ledger is that of its debit account, and whether it is a leg of the transaction before it, as nearly all are.
    is_usual: bool,
}

impl Group {
    fn events(self, accounts: &[AccountAfter]) -> Vec<Event> {
        match self {
            Group::One(event) => vec![event],
            Group::Transfer(transfer) => transfer.event(accounts, None).into_iter().collect(),
            Group::Expired((_, _, _)) if accounts.is_empty() => Vec::new(),
            Group::Expired((expired, debit, credit)) => {
                let debit_account = debit.index(accounts.len()) as u32;
                let credit_account = credit.index(accounts.len()) as u32;
                let expired = TransferExpired { debit_account, credit_account, ..expired };
                vec![Event::TransferExpired(expired)]
            }
            Group::Account(_, _) if accounts.is_empty() => Vec::new(),
            Group::Account(mut event, index) => {
                let index = index.index(accounts.len()) as u32;
                match &mut event {
                    Event::OverdraftLimitChanged(changed) => changed.account = index,
                    Event::MetadataReplaced(replaced) => replaced.account = index,
                    other => panic!("{other:?} is no change of an account"),
                }
                vec![event]
            }
            Group::Transaction(mut transaction, legs) => {
                let legs: Vec<Event> = legs
                    .into_iter()
                    .filter_map(|leg| leg.event(accounts, Some(transaction.id)))
                    .collect();
                transaction.transfers = legs.len() as u32;
                std::iter::once(Event::TransactionCreated(transaction)).chain(legs).collect()
            }
        }
    }
}

impl AnyTransfer {
    fn event(self, accounts: &[AccountAfter], transaction: Option<TransferId>) -> Option<Event> {
        if accounts.is_empty() {
            return None;
        }
        let debit_account = self.debit_account.index(accounts.len());
        let credit_account = self.credit_account.index(accounts.len());
        let mut transfer = self.transfer;
        transfer.debit_account_id = accounts[debit_account].id;
        transfer.credit_account_id = accounts[credit_account].id;
        if self.is_usual {
            transfer.ledger = accounts[debit_account].ledger;
            transfer.transaction_id = transaction;
        }
        Some(Event::TransferPosted(TransferPosted {
            transfer,
            debit_account: debit_account as u32,
            credit_account: credit_account as u32,
        }))
    }
}

fn group() -> impl Strategy<Value = Group> {
    prop_oneof![
        ledger().prop_map(|ledger| Group::One(Event::LedgerCreated(ledger))),
        account_created().prop_map(|created| Group::One(Event::AccountCreated(created))),
        burned().prop_map(|burned| Group::One(Event::IdBurned(burned))),
        any_expired().prop_map(Group::Expired),
        (any_limit(), any::<Index>()).prop_map(|(event, account)| Group::Account(event, account)),
        (any_replaced(), any::<Index>())
            .prop_map(|(event, account)| Group::Account(event, account)),
        any_transfer().prop_map(Group::Transfer),
        (transaction(), prop::collection::vec(any_transfer(), 0..4))
            .prop_map(|(transaction, legs)| Group::Transaction(transaction, legs)),
    ]
}

fn number_u64() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0..1000_u64, any::<u64>(), Just(u64::MAX)]
}

fn number_u128() -> impl Strategy<Value = u128> {
    prop_oneof![Just(0), 0..1000_u128, any::<u128>(), Just(u128::MAX)]
}

fn number_u32() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), 0..1000_u32, any::<u32>(), Just(u32::MAX)]
}

fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![
        Just(Amount::ZERO),
        any::<u32>().prop_map(|minor| Amount::from_minor(u64::from(minor))),
        any::<u128>().prop_map(|minor| Amount::try_new(minor >> 32).unwrap()),
        Just(Amount::MAX),
    ]
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    prop_oneof![any::<u64>(), 1_795_000_000_000_000_000..1_795_000_000_000_000_999_u64]
        .prop_map(Timestamp)
}

fn account_flags() -> impl Strategy<Value = AccountFlags> {
    any::<u16>().prop_map(|bits| AccountFlags::try_from_bits(bits & 0b11_1111).unwrap())
}

fn metadata() -> impl Strategy<Value = Option<Metadata>> {
    option::of(("[a-zé\"{}]{0,40}", 1..=u64::MAX))
        .prop_map(|found| found.map(|(text, digest)| Metadata { text: text.into(), digest }))
}

/// An id, and perhaps the text that it follows from.
fn name() -> impl Strategy<Value = (u128, Option<ExternalId>)> {
    let text = prop_oneof!["[!-~]{1,128}", "[!-~]{1,3}", "[a-z]{128}"];
    let named = text.prop_map(|text| {
        let external_id = ExternalId::try_new(&text).unwrap();
        (external_id.id(), Some(external_id))
    });
    prop_oneof![number_u128().prop_map(|id| (id, None)), named]
}

fn account_after() -> impl Strategy<Value = AccountAfter> {
    let names = (number_u128(), number_u32(), account_flags());
    let balances = (amount(), amount(), amount(), amount());
    (names, amount(), number_u64(), balances).prop_map(
        |((id, ledger, flags), overdraft_limit, version, balances)| AccountAfter {
            id: AccountId(id),
            ledger: LedgerId(ledger % 3),
            flags,
            overdraft_limit,
            version,
            balances: Balances {
                debits_pending: balances.0,
                debits_posted: balances.1,
                credits_pending: balances.2,
                credits_posted: balances.3,
            },
        },
    )
}

fn ledger_after() -> impl Strategy<Value = LedgerAfter> {
    (number_u32(), number_u64(), number_u128(), number_u128()).prop_map(
        |(id, accounts, posted, pending)| LedgerAfter {
            id: LedgerId(id),
            totals: LedgerTotals { accounts, posted, pending },
        },
    )
}

fn ledger() -> impl Strategy<Value = Ledger> {
    (number_u32(), ".{0,16}", 0..=28_u8, ".{0,50}", timestamp()).prop_map(
        |(id, currency, scale, name, timestamp)| Ledger {
            id: LedgerId(id),
            currency,
            scale: Scale::try_new(scale).unwrap(),
            name,
            timestamp,
        },
    )
}

fn account_created() -> impl Strategy<Value = AccountCreated> {
    let names = (name(), number_u32(), any::<u16>(), account_flags(), amount());
    let data = (number_u128(), number_u64(), number_u32());
    (names, data, timestamp(), metadata()).prop_map(|(names, data, timestamp, metadata)| {
        AccountCreated {
            id: AccountId(names.0.0),
            external_id: names.0.1,
            ledger: LedgerId(names.1),
            code: Code(names.2),
            flags: names.3,
            overdraft_limit: names.4,
            user_data_128: data.0,
            user_data_64: data.1,
            user_data_32: data.2,
            timestamp,
            metadata,
        }
    })
}

fn transaction() -> impl Strategy<Value = Transaction> {
    (name(), timestamp(), metadata()).prop_map(|(name, timestamp, metadata)| Transaction {
        id: TransferId(name.0),
        external_id: name.1,
        transfers: 0,
        timestamp,
        metadata,
    })
}

fn burned() -> impl Strategy<Value = IdBurned> {
    (number_u128(), 1..=83_u16, timestamp()).prop_map(|(id, rejection, timestamp)| IdBurned {
        id: TransferId(id),
        rejection,
        timestamp,
    })
}

fn any_limit() -> impl Strategy<Value = Event> {
    (amount(), amount(), timestamp()).prop_map(|(before, overdraft_limit, timestamp)| {
        let account = 0;
        let changed = OverdraftLimitChanged { account, before, overdraft_limit, timestamp };
        Event::OverdraftLimitChanged(changed)
    })
}

fn any_replaced() -> impl Strategy<Value = Event> {
    (number_u64(), number_u64(), metadata(), timestamp()).prop_map(
        |(before, digest_before, metadata, timestamp)| {
            let (account, before) = (0, JournalSeq(before));
            let replaced = MetadataReplaced { account, before, digest_before, metadata, timestamp };
            Event::MetadataReplaced(replaced)
        },
    )
}

fn any_expired() -> impl Strategy<Value = (TransferExpired, Index, Index)> {
    let content = (number_u128(), amount(), timestamp());
    (content, any::<Index>(), any::<Index>()).prop_map(
        |((id, amount, timestamp), debit, credit)| {
            let (id, debit_account, credit_account) = (TransferId(id), 0, 0);
            (
                TransferExpired { id, debit_account, credit_account, amount, timestamp },
                debit,
                credit,
            )
        },
    )
}

/// Amount requested, pending id, what is inherited, timeout, and which it reverses.
fn phase() -> impl Strategy<Value = (Option<Amount>, u128, Inherited, u32, u128)> {
    let inherited = any::<u16>().prop_map(|bits| Inherited::try_from_bits(bits >> 4).unwrap());
    prop_oneof![
        Just((None, 0, Inherited::empty(), 0, 0)),
        (option::of(amount()), number_u128(), inherited, number_u32(), number_u128()),
    ]
}

fn any_transfer() -> impl Strategy<Value = AnyTransfer> {
    let names = (name(), any::<Index>(), any::<Index>(), any::<bool>());
    let flags = any::<u16>().prop_map(|bits| TransferFlags::try_from_bits(bits >> 7).unwrap());
    let content = (amount(), number_u32(), any::<u16>(), flags, phase());
    let data = (number_u128(), number_u64(), number_u32());
    let rest = (option::of(timestamp()), timestamp(), option::of(number_u128()), metadata());
    (names, content, data, rest).prop_map(|(names, content, data, rest)| AnyTransfer {
        transfer: Transfer {
            id: TransferId(names.0.0),
            external_id: names.0.1,
            debit_account_id: AccountId(0),
            credit_account_id: AccountId(0),
            amount: content.0,
            amount_requested: content.4.0.unwrap_or(content.0),
            pending_id: TransferId(content.4.1),
            inherited: content.4.2,
            reverses: TransferId(content.4.4),
            timeout: content.4.3,
            user_data_128: data.0,
            user_data_64: data.1,
            user_data_32: data.2,
            ledger: LedgerId(content.1),
            code: Code(content.2),
            flags: content.3,
            effective_at: rest.0,
            timestamp: rest.1,
            transaction_id: rest.2.map(TransferId),
            metadata: rest.3,
        },
        debit_account: names.1,
        credit_account: names.2,
        is_usual: names.3,
    })
}

fn key_use() -> impl Strategy<Value = KeyUse> {
    let exceptions = prop::collection::vec((number_u32(), item_outcome()), 0..5);
    (any::<u128>(), any::<u64>(), exceptions).prop_map(|(hash, fingerprint, exceptions)| KeyUse {
        key: Key { hash, fingerprint },
        exceptions,
    })
}

fn item_outcome() -> impl Strategy<Value = ItemOutcome> {
    prop_oneof![
        (number_u64(), timestamp())
            .prop_map(|(seq, timestamp)| ItemOutcome::Exists { seq: JournalSeq(seq), timestamp }),
        number_u64().prop_map(|seq| ItemOutcome::Differs { seq: JournalSeq(seq) }),
        rejection().prop_map(ItemOutcome::Rejected),
        (number_u64(), 0..3_usize).prop_map(|(seq, settlement)| ItemOutcome::Settled {
            seq: JournalSeq(seq),
            settlement: [Settlement::Posted, Settlement::Voided, Settlement::Expired][settlement],
        }),
    ]
}

fn rejection() -> impl Strategy<Value = Rejection> {
    let ledger = || number_u32().prop_map(LedgerId);
    let signed = || any::<i128>().prop_map(SignedAmount::new);
    prop_oneof![
        Just(Rejection::LinkedEventFailed),
        Just(Rejection::OverflowsCredits),
        ledger().prop_map(|ledger| Rejection::LedgerNotFound { ledger }),
        (signed(), signed(), ledger()).prop_map(|(available, requested, ledger)| {
            Rejection::ExceedsCredits { available, requested, ledger }
        }),
        (number_u32(), signed(), ledger()).prop_map(|(condition, found, ledger)| {
            Rejection::ConditionFailed { condition, found, ledger }
        }),
        (signed(), signed(), ledger()).prop_map(|(available, requested, ledger)| {
            Rejection::ExceedsDebits { available, requested, ledger }
        }),
    ]
}
