//! What holds for every history.

use florin_engine::{
    AccountFlags, AccountId, Amount, AmountInput, Command, CreateAccount, CreateTransaction,
    CreateTransfer, ItemOutcome, JournalSeq, NothingBefore, State, StateHeader, Timestamp,
    TransferFlags, TransferId, Verdict,
};
use proptest::prelude::*;

use crate::script::TestBank;

/// Few accounts and few ids, so that histories meet themselves: retries, conflicts, burned ids, limits.
fn any_transfer() -> impl Strategy<Value = CreateTransfer> {
    (1..40_u128, 0..6_u128, 0..6_u128, 0..30_u64, any::<bool>(), 0..2_u16).prop_map(
        |(id, debit, credit, amount, linked, code)| {
            let amount = AmountInput::Minor(Amount::from_minor(amount));
            let mut transfer =
                CreateTransfer::new(TransferId(id), AccountId(debit), AccountId(credit), amount);
            transfer.flags = if linked { TransferFlags::LINKED } else { TransferFlags::empty() };
            transfer.code = florin_engine::Code(code);
            transfer
        },
    )
}

fn any_account() -> impl Strategy<Value = CreateAccount> {
    (1..6_u128, 0..4_u16, 0..20_u64, any::<bool>()).prop_map(|(id, kind, overdraft, linked)| {
        let mut account = CreateAccount::new(AccountId(id));
        account.flags = match kind {
            0 | 1 => AccountFlags::empty(),
            2 => AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS,
            _ => AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS,
        };
        if kind >= 2 {
            account.overdraft_limit = AmountInput::Minor(Amount::from_minor(overdraft));
        }
        if linked {
            account.flags = account.flags.with(AccountFlags::LINKED);
        }
        account
    })
}

fn any_command() -> impl Strategy<Value = Command> {
    let transfers = || prop::collection::vec(any_transfer(), 1..12);
    prop_oneof![
        2 => prop::collection::vec(any_account(), 1..4).prop_map(Command::CreateAccounts),
        6 => transfers().prop_map(Command::CreateTransfers),
        1 => (1..40_u128, transfers()).prop_map(|(id, transfers)| {
            Command::CreateTransaction(CreateTransaction {
                id: TransferId(id),
                transfers,
                metadata: None,
            })
        }),
    ]
}

fn any_history() -> impl Strategy<Value = Vec<Command>> {
    prop::collection::vec(any_command(), 1..40)
}

fn lived(history: &[Command]) -> TestBank {
    let mut bank = TestBank::default();
    for command in history {
        bank.decide(command.clone()).unwrap();
    }
    bank
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replay_equals_live_and_money_is_conserved(history in any_history()) {
        lived(&history).assert_replays();
    }

    #[test]
    fn snapshot_and_tail_equal_full_replay(history in any_history(), cut in 0.0..1.0_f64) {
        let bank = lived(&history);
        let cut = (bank.records.len() as f64 * cut) as usize;
        let mut at_cut = State::new(3);
        for (record, seq) in bank.records[..cut].iter().zip(1..) {
            at_cut.replay(JournalSeq(seq), record).unwrap();
        }
        let header = StateHeader {
            seq: at_cut.seq(),
            timestamp: at_cut.timestamp(),
            ledgers: at_cut.ledgers().to_vec(),
        };
        let mut restored = State::restore(header, 4);
        for account in at_cut.accounts() {
            restored.restore_account(account.clone());
        }
        for (record, seq) in bank.records[..cut].iter().zip(1..) {
            restored.replay_ids(JournalSeq(seq), record);
        }
        prop_assert_eq!(restored.state_hash(), at_cut.state_hash());
        for (record, seq) in bank.records[cut..].iter().zip(cut as u64 + 1..) {
            restored.replay(JournalSeq(seq), record).unwrap();
        }
        prop_assert_eq!(restored.state_hash(), bank.state.state_hash());
        restored.check_conservation().unwrap();
    }

    #[test]
    fn a_retry_of_a_transfer_changes_nothing(history in any_history()) {
        let mut bank = lived(&history);
        let before = (bank.state.state_hash(), bank.state.seq());
        let happened: Vec<_> = bank.records.iter().flat_map(|record| record.events.clone()).collect();
        for event in happened {
            match event {
                florin_engine::Event::TransferPosted(posted) if posted.transfer.transaction_id.is_none() => {
                    let transfer = posted.transfer;
                    let mut again = CreateTransfer::new(
                        transfer.id,
                        transfer.debit_account_id,
                        transfer.credit_account_id,
                        AmountInput::Minor(transfer.amount),
                    );
                    // A retry may stand alone, but the flag is part of its content.
                    again.flags = transfer.flags;
                    let retry = if transfer.flags.contains(TransferFlags::LINKED) {
                        vec![again.clone(), CreateTransfer { flags: TransferFlags::empty(), ..again }]
                    } else {
                        vec![again]
                    };
                    let decision = bank.decide(Command::CreateTransfers(retry)).unwrap();
                    let exists = matches!(decision.exceptions[0].1, ItemOutcome::Exists { .. });
                    prop_assert!(exists, "{:?}", decision.exceptions);
                }
                florin_engine::Event::IdBurned(burned) => {
                    let retry = CreateTransfer::new(burned.id, AccountId(1), AccountId(2), AmountInput::ZERO);
                    let decision = bank.decide(Command::CreateTransfers(vec![retry])).unwrap();
                    let failed = ItemOutcome::Rejected(florin_engine::Rejection::IdAlreadyFailed);
                    prop_assert_eq!(&decision.exceptions, &[(0, failed)]);
                }
                _ => {}
            }
        }
        prop_assert_eq!((bank.state.state_hash(), bank.state.seq()), before);
    }

    #[test]
    fn a_batch_without_chains_equals_its_events_one_by_one(history in any_history()) {
        let without_chains = |command: &Command| match command.clone() {
            Command::CreateTransfers(mut transfers) => {
                for transfer in &mut transfers {
                    transfer.flags = TransferFlags::empty();
                }
                Command::CreateTransfers(transfers)
            }
            Command::CreateAccounts(mut accounts) => {
                for account in &mut accounts {
                    account.flags = account.flags.without(AccountFlags::LINKED);
                }
                Command::CreateAccounts(accounts)
            }
            other => other,
        };
        let (mut batches, mut singles) = (TestBank::default(), TestBank::default());
        for command in history.iter().map(without_chains) {
            let together = batches.decide(command.clone()).unwrap().exceptions;
            let apart: Vec<Command> = match command {
                Command::CreateTransfers(transfers) => {
                    transfers.into_iter().map(|transfer| Command::CreateTransfers(vec![transfer])).collect()
                }
                Command::CreateAccounts(accounts) => {
                    accounts.into_iter().map(|account| Command::CreateAccounts(vec![account])).collect()
                }
                other => { singles.decide(other).unwrap(); continue }
            };
            let mut alone = Vec::new();
            for (index, command) in (0_u32..).zip(apart) {
                let exceptions = singles.decide(command).unwrap().exceptions;
                alone.extend(exceptions.into_iter().map(|(_, outcome)| (index, outcome)));
            }
            let shape = |outcomes: &[(u32, ItemOutcome)]| -> Vec<(u32, String)> {
                outcomes.iter().map(|(index, outcome)| (*index, match outcome {
                    // Within one command the field is found at once, else afterwards.
                    ItemOutcome::Rejected(rejection) if rejection.is_conflict() => "differs".to_owned(),
                    ItemOutcome::Rejected(rejection) => format!("{rejection:?}"),
                    ItemOutcome::Exists { .. } => "exists".to_owned(),
                    ItemOutcome::Differs { .. } => "differs".to_owned(),
                })).collect()
            };
            prop_assert_eq!(shape(&together), shape(&alone));
        }
        let balances = |bank: &TestBank| -> Vec<_> {
            bank.state.accounts().map(|account| (account.id, account.balances)).collect()
        };
        prop_assert_eq!(balances(&batches), balances(&singles));
    }
}

#[test]
fn timestamps_never_fall_when_the_clock_does() {
    let mut bank = TestBank::default();
    let mut last = Timestamp(0);
    for (id, now) in [(1, 1_000_000), (2, 5), (3, 1_000_001), (4, 0)] {
        let command = Command::CreateAccounts(vec![CreateAccount::new(AccountId(id))]);
        let verdict = bank.state.decide(command, None, Timestamp(now), &mut NothingBefore).unwrap();
        let Verdict::Decided(decision) = verdict else { panic!("no keys here") };
        assert!(decision.timestamp > last);
        last = decision.timestamp;
    }
}
