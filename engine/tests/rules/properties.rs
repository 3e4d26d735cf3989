//! What holds for every history.

use florin_engine::{
    AccountFlags, AccountId, Amount, AmountInput, Code, Command, CreateAccount, CreateTransaction,
    CreateTransfer, Event, ExpirePending, ItemOutcome, JournalSeq, Metadata, NothingBefore,
    PendingTransfer, Rejection, ReplaceMetadata, ReverseTransfer, SetOverdraftLimit, State,
    StateHeader, Timestamp, TransferFlags, TransferId, Verdict,
};
use proptest::prelude::*;

use crate::script::{TestBank, pending_of};

/// Few accounts and few ids, so that histories meet themselves: retries, conflicts, burned ids, limits, settlements.
fn any_transfer() -> impl Strategy<Value = CreateTransfer> {
    let content = (1..40_u128, 0..6_u128, 0..6_u128, 0..30_u64, any::<bool>(), 0..2_u16);
    let phase = (0..12_u8, 1..40_u128, 0..3_u32, 0..16_u16, 0..5000_u64);
    (content, phase).prop_map(|((id, debit, credit, amount, linked, code), phase)| {
        let amount = AmountInput::Minor(Amount::from_minor(amount));
        let mut transfer =
            CreateTransfer::new(TransferId(id), AccountId(debit), AccountId(credit), amount);
        transfer.code = Code(code);
        let (kind, pending_id, timeout, options, timestamp) = phase;
        // Closing and balancing in all ways, one in four.
        let options = if options < 12 { 0 } else { options << 4 };
        match kind {
            0..4 => transfer.flags = TransferFlags::try_from_bits(options & 0b11_0000).unwrap(),
            4..7 => {
                transfer.flags =
                    TransferFlags::PENDING.with(TransferFlags::try_from_bits(options).unwrap());
                transfer.timeout = timeout;
            }
            7 => {
                transfer.flags = TransferFlags::IMPORTED;
                transfer.timestamp = Timestamp(timestamp);
            }
            _ => {
                transfer.flags = if kind < 11 {
                    TransferFlags::POST_PENDING_TRANSFER
                } else {
                    TransferFlags::VOID_PENDING_TRANSFER
                };
                transfer.pending_id = TransferId(pending_id);
                if timeout > 0 {
                    (transfer.debit_account_id, transfer.credit_account_id) = Default::default();
                    transfer.code = Code(0);
                    let all = if kind < 11 { Amount::MAX } else { Amount::ZERO };
                    transfer.amount = AmountInput::Minor(all);
                }
            }
        }
        if linked {
            transfer.flags = transfer.flags.with(TransferFlags::LINKED);
        }
        transfer
    })
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
        1 => any_change(),
        1 => (0..4_u32).prop_map(|limit| Command::ExpirePending(ExpirePending { limit })),
        1 => (1..40_u128, transfers()).prop_map(|(id, transfers)| {
            Command::CreateTransaction(CreateTransaction {
                id: TransferId(id),
                external_id: None,
                transfers,
                metadata: None,
                conditions: Vec::new(),
            })
        }),
    ]
}

/// What changes an account beside transfers.
fn any_change() -> impl Strategy<Value = Command> {
    (1..6_u128, 0..20_u64, 0..3_u8).prop_map(|(id, limit, what)| {
        let account_id = AccountId(id);
        if what == 0 {
            let overdraft_limit = AmountInput::Minor(Amount::from_minor(limit));
            return Command::SetOverdraftLimit(SetOverdraftLimit { account_id, overdraft_limit });
        }
        let text = format!("{{\"k\":{limit}}}");
        let metadata = (what == 1).then(|| Metadata::new(text.as_str().into(), text.as_bytes()));
        Command::ReplaceMetadata(ReplaceMetadata { account_id, metadata })
    })
}

/// Commands and how far the clock goes on before each, in nanoseconds.
fn any_history() -> impl Strategy<Value = Vec<(Command, u64)>> {
    let step = prop_oneof![4 => 1..100_u64, 1 => 1..2_000_000_000_u64];
    prop::collection::vec((any_command(), step), 1..40)
}

fn lived(history: &[(Command, u64)]) -> TestBank {
    let mut bank = TestBank::default();
    for (command, step) in history {
        bank.now = bank.now.plus(*step);
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
    fn snapshot_and_tail_equal_full_replay(history in any_history(), cut in 0.0..1.0_f64, next in any_command()) {
        let mut bank = lived(&history);
        let cut = (bank.records.len() as f64 * cut) as usize;
        let mut at_cut = State::new(3);
        for (record, seq) in bank.records[..cut].iter().zip(1..) {
            at_cut.replay(JournalSeq(seq), record).unwrap();
        }
        let header = StateHeader {
            seq: at_cut.seq(),
            timestamp: at_cut.timestamp(),
            newest_transfer: at_cut.newest_transfer(),
            ledgers: at_cut.ledgers().to_vec(),
            accounts: at_cut.accounts_count(),
        };
        let mut restored = State::restore(header, 4);
        for account in at_cut.accounts() {
            restored.restore_account(account.clone());
        }
        for pending in at_cut.all_pending() {
            restored.restore_pending(&pending).unwrap();
        }
        for (record, seq) in bank.records[..cut].iter().zip(1..) {
            restored.replay_ids(JournalSeq(seq), record);
        }
        prop_assert_eq!(restored.state_hash(), at_cut.state_hash());
        for (record, seq) in bank.records[cut..].iter().zip(cut as u64 + 1..) {
            restored.replay(JournalSeq(seq), record).unwrap();
        }
        prop_assert_eq!(restored.state_hash(), bank.state.state_hash());
        prop_assert_eq!(pending_of(&restored), pending_of(&bank.state));
        restored.check_conservation().unwrap();
        // What comes next is decided alike.
        for command in [Command::ExpirePending(ExpirePending { limit: 9 }), next] {
            let decide = |state: &mut State| {
                state.decide(command.clone(), None, bank.now.plus(1_000_000_000), &mut NothingBefore)
            };
            prop_assert_eq!(decide(&mut restored), decide(&mut bank.state));
        }
        prop_assert_eq!(restored.state_hash(), bank.state.state_hash());
    }

    #[test]
    fn a_rehearsal_equals_the_decision_and_changes_nothing(history in any_history()) {
        let mut bank = TestBank::default();
        for (command, step) in &history {
            bank.now = bank.now.plus(*step);
            // Compares all that there is before and after.
            let rehearsed = bank.rehearse(command.clone()).unwrap();
            prop_assert_eq!(rehearsed, bank.decide(command.clone()).unwrap());
        }
        bank.assert_replays();
    }

    #[test]
    fn all_that_can_be_reversed_is_reversed_once(history in any_history()) {
        let mut bank = lived(&history);
        // Without limits and with all accounts open, money can always go back.
        let happened: Vec<_> = bank.records.iter().flat_map(|record| record.events.clone()).collect();
        for (event, id) in happened.into_iter().zip(1000..) {
            let Event::TransferPosted(posted) = event else { continue };
            let (flags, original) = (posted.transfer.flags, posted.transfer);
            let no_more = flags.contains(TransferFlags::PENDING) || flags.contains(TransferFlags::VOID_PENDING_TRANSFER);
            let mut reverse = |id| {
                let reverse = ReverseTransfer {
                    id: TransferId(id),
                    external_id: None,
                    original: original.clone(),
                    user_data_128: 0,
                    user_data_64: 0,
                    user_data_32: 0,
                    effective_at: None,
                    metadata: None,
                    conditions: Vec::new(),
                };
                bank.decide(Command::ReverseTransfer(Box::new(reverse))).unwrap().exceptions
            };
            match reverse(id).first() {
                None => {
                    prop_assert!(!no_more);
                    let exists = matches!(reverse(id)[0].1, ItemOutcome::Exists { .. });
                    prop_assert!(exists);
                    let again = ItemOutcome::Rejected(Rejection::AlreadyReversed);
                    prop_assert_eq!(reverse(id + 1000), vec![(0, again)]);
                }
                Some((_, ItemOutcome::Rejected(Rejection::TransferNotReversible))) => prop_assert!(no_more),
                Some((_, ItemOutcome::Rejected(rejection))) => prop_assert!(rejection.is_transient(), "{rejection:?}"),
                Some(other) => prop_assert!(false, "{other:?}"),
            }
        }
        bank.assert_replays();
    }

    #[test]
    fn what_is_indexed_answers_as_what_is_remembered(history in any_history()) {
        let (mut remembering, mut forgetting) = (TestBank::default(), TestBank::default());
        for (command, step) in &history {
            remembering.now = remembering.now.plus(*step);
            forgetting.now = forgetting.now.plus(*step);
            let remembered = remembering.decide(command.clone()).unwrap();
            prop_assert_eq!(remembered, forgetting.decide(command.clone()).unwrap());
            forgetting.forget();
        }
        prop_assert_eq!(remembering.state.state_hash(), forgetting.state.state_hash());
    }

    #[test]
    fn what_is_pending_is_what_open_transfers_reserve(history in any_history()) {
        let bank = lived(&history);
        let open = pending_of(&bank.state);
        for account in bank.state.accounts() {
            let sum = |side: fn(&PendingTransfer) -> AccountId| -> u128 {
                let own = open.iter().filter(|pending| side(pending) == account.id);
                own.map(|pending| pending.amount.minor_units()).sum()
            };
            prop_assert_eq!(account.balances.debits_pending.minor_units(), sum(|pending| pending.debit_account_id));
            prop_assert_eq!(account.balances.credits_pending.minor_units(), sum(|pending| pending.credit_account_id));
        }
        let ended: Vec<u128> = bank.records.iter().flat_map(|record| &record.events).filter_map(|event| match event {
            Event::TransferExpired(expired) => Some(expired.id.0),
            Event::TransferPosted(posted) => posted.transfer.settles().map(|(id, _)| id.0),
            _ => None,
        }).collect();
        let mut once = ended.clone();
        once.sort_unstable();
        once.dedup();
        prop_assert_eq!(once.len(), ended.len(), "a pending transfer resolves once");
    }

    #[test]
    fn a_retry_of_a_transfer_changes_nothing(history in any_history()) {
        let mut bank = lived(&history);
        let before = (bank.state.state_hash(), bank.state.seq());
        let happened: Vec<_> = bank.records.iter().flat_map(|record| record.events.clone()).collect();
        for event in happened {
            match event {
                Event::TransferPosted(posted) if posted.transfer.transaction_id.is_none() => {
                    let transfer = posted.transfer;
                    let mut again = CreateTransfer::new(
                        transfer.id,
                        transfer.debit_account_id,
                        transfer.credit_account_id,
                        AmountInput::Minor(transfer.amount_requested),
                    );
                    // A retry may stand alone, but the flag is part of its content.
                    again.flags = transfer.flags;
                    again.code = transfer.code;
                    again.pending_id = transfer.pending_id;
                    again.timeout = transfer.timeout;
                    if transfer.flags.contains(TransferFlags::IMPORTED) {
                        again.timestamp = Timestamp(1);
                    }
                    let retry = if transfer.flags.contains(TransferFlags::LINKED) {
                        let flags = TransferFlags::try_from_bits(again.flags.bits() & !1).unwrap();
                        vec![again.clone(), CreateTransfer { flags, ..again }]
                    } else {
                        vec![again]
                    };
                    let decision = bank.decide(Command::CreateTransfers(retry)).unwrap();
                    // A post or void that left fields open is named here in full.
                    let exists = match decision.exceptions[0].1 {
                        ItemOutcome::Exists { .. } => true,
                        ItemOutcome::Differs { .. } => {
                            decision.asked[0].1.asking().first_difference(&transfer).is_none()
                        }
                        ItemOutcome::Rejected(_) | ItemOutcome::Settled { .. } => false,
                    };
                    prop_assert!(exists, "{:?}", decision.exceptions);
                }
                Event::IdBurned(burned) => {
                    let retry = CreateTransfer::new(burned.id, AccountId(1), AccountId(2), AmountInput::ZERO);
                    let decision = bank.decide(Command::CreateTransfers(vec![retry])).unwrap();
                    let failed = ItemOutcome::Rejected(Rejection::IdAlreadyFailed);
                    prop_assert_eq!(&decision.exceptions, &[(0, failed)]);
                }
                _ => {}
            }
        }
        prop_assert_eq!((bank.state.state_hash(), bank.state.seq()), before);
    }

    #[test]
    fn a_batch_without_chains_equals_its_events_one_by_one(history in any_history()) {
        // Neither in a chain nor imported, which the first event decides for all; nor with a timeout, since each has its moment.
        let plain = |transfers: &mut [CreateTransfer]| for transfer in transfers {
            transfer.flags = TransferFlags::try_from_bits(transfer.flags.bits() & 0b1111_1110).unwrap();
            (transfer.timestamp, transfer.timeout) = Default::default();
        };
        let without_chains = |command: &Command| match command.clone() {
            Command::CreateTransfers(mut transfers) => {
                plain(&mut transfers);
                Command::CreateTransfers(transfers)
            }
            Command::CreateTransaction(mut transaction) => {
                plain(&mut transaction.transfers);
                Command::CreateTransaction(transaction)
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
        for command in history.iter().map(|(command, _)| without_chains(command)) {
            let decision = batches.decide(command.clone()).unwrap();
            let together: Vec<_> = decision.exceptions.iter().map(|item| (item.0, batches.refusal(*item, &decision.asked))).collect();
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
                let decision = singles.decide(command).unwrap();
                alone.extend(decision.exceptions.iter().map(|item| (index, singles.refusal(*item, &decision.asked))));
            }
            prop_assert_eq!(together, alone);
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
