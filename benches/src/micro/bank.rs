//! A ledger in memory and nothing else: what the cases decide on, and take their records from.

use florin_engine::{
    AccountFlags, AccountId, Amount, AmountInput, Command, CreateAccount, CreateLedger,
    CreateTransfer, Decision, JournalSeq, LedgerId, NothingBefore, Record, Scale, State, Timestamp,
    TransferId, Verdict,
};
use florin_tests::random::Random;

/// How many accounts transfers are spread over.
pub(super) const ACCOUNTS: u64 = 10_000;
/// As many transfers as a batch may have.
pub(super) const BATCH: u64 = 8_190;
/// Has given all others what they have.
const ISSUER: AccountId = AccountId(ACCOUNTS as u128 + 1);
/// Has nothing, and can not be overdrawn.
pub(super) const POOR: AccountId = AccountId(ACCOUNTS as u128 + 2);
/// The account that every transfer of a hot batch pays.
pub(super) const HOT: AccountId = AccountId(1);
const BEGAN: Timestamp = Timestamp(1_795_000_000_000_000_000);
/// Between two commands, in nanoseconds.
const TICK: u64 = 1_000_000;
/// No account is emptied by what the cases move.
const RICH: u64 = 1 << 50;

/// A ledger with accounts that have money.
pub(super) struct Bank {
    state: State,
    random: Random,
    now: Timestamp,
}

impl Bank {
    /// The same bank each time.
    pub(super) fn new() -> Bank {
        Bank::with_records().0
    }

    /// The bank, and the records that made it.
    pub(super) fn with_records() -> (Bank, Vec<Record>) {
        let mut bank = Bank { state: State::new(7), random: Random::new(42), now: BEGAN };
        let scale = Scale::try_new(2).expect("2 is no more than 28");
        let (id, currency, name) = (LedgerId(1), "USD".to_owned(), String::new());
        let mut commands = vec![Command::CreateLedger(CreateLedger { id, currency, scale, name })];
        let poor = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS;
        let poor = CreateAccount { flags: poor, ..CreateAccount::new(POOR) };
        let accounts = (1..=ACCOUNTS).map(|id| AccountId(id.into())).chain([ISSUER]);
        let accounts: Vec<_> = accounts.map(CreateAccount::new).chain([poor]).collect();
        let in_parts = accounts.chunks(BATCH as usize);
        commands.extend(in_parts.map(|part| Command::CreateAccounts(part.to_vec())));
        let money: Vec<_> = (1..=ACCOUNTS)
            .map(|id| {
                let rich = AmountInput::Minor(Amount::from_minor(RICH));
                CreateTransfer::new(TransferId(id.into()), ISSUER, AccountId(id.into()), rich)
            })
            .collect();
        let in_parts = money.chunks(BATCH as usize);
        commands.extend(in_parts.map(|part| Command::CreateTransfers(part.to_vec())));
        let record = |command| {
            let decision = bank.decide(command);
            assert!(decision.exceptions.is_empty(), "refused: {:?}", decision.exceptions[0]);
            decision.record.expect("something happened")
        };
        let records = commands.into_iter().map(record).collect();
        (bank, records)
    }

    /// Decides a command, a tick after the one before.
    pub(super) fn decide(&mut self, command: Command) -> Decision {
        self.now = self.now.plus(TICK);
        match self.state.decide(command, None, self.now, &mut NothingBefore) {
            Ok(Verdict::Decided(decision)) => decision,
            other => unreachable!("it has no key and can be read: {other:?}"),
        }
    }

    /// Transfers that are decided now and of which none is refused: what was recorded.
    pub(super) fn recorded(&mut self, transfers: Vec<CreateTransfer>) -> Record {
        let decision = self.decide(Command::CreateTransfers(transfers));
        assert!(decision.exceptions.is_empty(), "refused: {:?}", decision.exceptions[0]);
        decision.record.expect("something happened")
    }

    /// The ids so far are old ones from now on, as when the index has them.
    pub(super) fn forget_ids(&mut self) {
        drop(self.state.forget_indexed(self.state.seq()));
    }

    /// The position of the newest record.
    pub(super) fn seq(&self) -> JournalSeq {
        self.state.seq()
    }

    /// A name that nothing has.
    pub(super) fn fresh_id(&mut self) -> TransferId {
        let mut half = || u128::from(self.random.below(u64::MAX));
        TransferId((half() << 64) | half())
    }

    /// A transfer of up to a hundred between any two accounts.
    pub(super) fn transfer(&mut self) -> CreateTransfer {
        let debit = self.random.below(ACCOUNTS);
        let credit = (debit + 1 + self.random.below(ACCOUNTS - 1)) % ACCOUNTS;
        let account = |place: u64| AccountId(u128::from(place) + 1);
        let amount = Amount::from_minor(1 + self.random.below(10_000));
        let id = self.fresh_id();
        CreateTransfer {
            ledger: Some(LedgerId(1)),
            ..CreateTransfer::new(id, account(debit), account(credit), AmountInput::Minor(amount))
        }
    }

    /// So many of them.
    pub(super) fn transfers(&mut self, count: u64) -> Vec<CreateTransfer> {
        (0..count).map(|_| self.transfer()).collect()
    }
}
