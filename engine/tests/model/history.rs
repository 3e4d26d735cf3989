//! Random histories in which things meet: few ids, few accounts, small limits, retries, and a clock that lets pending transfers expire.

use florin_engine::{
    AccountFlags, AccountId, Amount, AmountInput, Code, Command, CommandKey, CreateAccount,
    CreateLedger, CreateTransaction, CreateTransfer, ExpirePending, Key, KeyRule, LedgerId,
    Metadata, ReplaceMetadata, Scale, SetOverdraftLimit, Timestamp, TransferFlags, TransferId,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::rules::{AMOUNT_MAX, TIME_MAX};

/// One command and what is done around it.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) command: Command,
    /// The idempotency key that it comes with.
    pub(crate) key: Option<CommandKey>,
    /// What the clock says.
    pub(crate) now: u64,
    /// Whether it is rehearsed before.
    pub(crate) rehearse: bool,
    /// What is done afterwards.
    pub(crate) then: Then,
    /// Whether everything is compared afterwards.
    pub(crate) whole: bool,
}

/// What is done between commands, which no outcome may depend on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Then {
    Nothing,
    /// Decided ids leave memory for the index.
    Forget,
    /// The ledger starts again from a snapshot.
    Restore,
    /// The ledger starts again from its journal.
    Replay,
}

/// The moment from which the longest timeout ends at the last moment there is.
const LATE: u64 = TIME_MAX - u32::MAX as u64 * 1_000_000_000;
const SECOND: u64 = 1_000_000_000;

/// The history of a seed, for ever the same: most often of 120 commands.
pub(crate) fn of_seed(seed: u64) -> Vec<Step> {
    let mut dice = Dice(SmallRng::seed_from_u64(seed));
    let commands = dice.pick(&[30, 120, 120, 120, 120, 120, 120, 120, 120, 500]);
    let late = dice.one_in(6);
    let most_before = dice.pick(&[40, 1_000, 3 * SECOND]);
    let mut author = Author {
        now: if late { LATE - dice.below(most_before) } else { 1_000 + dice.below(1_000) },
        huge: dice.one_in(3),
        importing: dice.pick(&[1, 2, 40, 40, 40, 40]),
        two_ledgers: dice.one_in(2),
        tick: dice.pick(&[2, 40, 40, 1_000]),
        care: dice.pick(&[1, 4, 20]),
        ids: dice.pick(&[60, 1_000, 1_000]),
        newest_id: 0,
        accounts: 3 + dice.below(6),
        dice,
        asked: Vec::new(),
        asked_accounts: Vec::new(),
        transactions: Vec::new(),
        moments: Vec::new(),
        deadlines: if late { vec![LATE] } else { Vec::new() },
    };
    let mut history = author.beginning();
    while history.len() < commands {
        history.push(author.step());
    }
    history
}

struct Dice(SmallRng);

impl Dice {
    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        // The bias of the remainder is of no matter here.
        self.0.next_u64() % bound
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

struct Author {
    dice: Dice,
    now: u64,
    /// Whether amounts are near the largest one, rather than small.
    huge: bool,
    /// One batch in so many brings its own moments.
    importing: u64,
    /// Whether some accounts are of ledger 2.
    two_ledgers: bool,
    /// How far the clock most often goes on, in nanoseconds.
    tick: u64,
    /// How much rarer than in other histories things are that are surely refused.
    care: u64,
    /// How many ids there are.
    ids: u64,
    newest_id: u64,
    accounts: u64,
    /// What was asked before, to ask it again.
    asked: Vec<CreateTransfer>,
    asked_accounts: Vec<CreateAccount>,
    transactions: Vec<CreateTransaction>,
    /// What moments were brought along before.
    moments: Vec<Timestamp>,
    /// About when something may expire, so that the clock can be set to it.
    deadlines: Vec<u64>,
}

impl Author {
    /// Two ledgers, and most often some accounts.
    fn beginning(&mut self) -> Vec<Step> {
        let mut steps: Vec<Step> = [(1, "USD", 2), (2, "JPY", 0)]
            .into_iter()
            .map(|(id, currency, scale)| {
                let scale = Scale::try_new(scale).unwrap();
                let (currency, name) = (currency.to_owned(), String::new());
                let ledger = CreateLedger { id: LedgerId(id), currency, scale, name };
                self.around(Command::CreateLedger(ledger))
            })
            .collect();
        if !self.dice.one_in(6) {
            // Imported ones are not in the order of their ids.
            let accounts = (1..=self.accounts).rev().zip(1..).map(|(id, order)| {
                let mut account = CreateAccount::new(AccountId(id.into()));
                account.ledger = self.ledger_of(account.id);
                self.limit(&mut account);
                if self.importing == 1 {
                    account.flags = account.flags.with(AccountFlags::IMPORTED);
                    account.timestamp = Timestamp(10 * order);
                    self.moments.push(account.timestamp);
                }
                account
            });
            let accounts: Vec<CreateAccount> = accounts.collect();
            self.asked_accounts.extend(accounts.iter().cloned());
            steps.push(self.around(Command::CreateAccounts(accounts)));
        }
        steps
    }

    fn step(&mut self) -> Step {
        self.now = match self.dice.below(24) {
            20..24 if !self.deadlines.is_empty() => {
                let deadline = self.dice.pick(&self.deadlines);
                self.now.max(deadline - 3 + self.dice.below(6))
            }
            0 => self.now.saturating_sub(self.dice.below(50)),
            1..4 => self.now,
            4..6 => self.now + self.dice.below(2 * SECOND),
            _ => self.now + self.dice.below(self.tick),
        };
        let command = match self.dice.below(24) {
            0..2 => self.create_accounts(),
            2..19 => Command::CreateTransfers(self.batch(12)),
            19..21 => {
                Command::ExpirePending(ExpirePending { limit: self.dice.pick(&[0, 1, 2, 3, 99]) })
            }
            21 | 22 => self.create_transaction(),
            _ if self.dice.one_in(3) => self.create_ledger(),
            _ => self.change_account(),
        };
        self.around(command)
    }

    fn around(&mut self, command: Command) -> Step {
        let then = match self.dice.below(100) {
            0..6 => Then::Forget,
            6..9 => Then::Restore,
            9 => Then::Replay,
            _ => Then::Nothing,
        };
        let key = self.key(&command);
        let rehearse = self.dice.one_in(12);
        Step { command, key, now: self.now, rehearse, then, whole: self.dice.one_in(8) }
    }

    /// A key that may have been used, for the same or for something else.
    fn key(&mut self, command: &Command) -> Option<CommandKey> {
        if matches!(command, Command::ExpirePending(_)) || !self.dice.one_in(10) {
            return None;
        }
        let hash = self.dice.below(24).into();
        let fingerprint = u64::from(self.dice.one_in(4));
        let rule = self.dice.pick(&[KeyRule::Accepted, KeyRule::Always]);
        Some(CommandKey { key: Key { hash, fingerprint }, rule })
    }

    // --- fields -----------------------------------------------------------------------------------------------------------

    fn amount(&mut self) -> AmountInput {
        let amount = match self.dice.below(if self.huge { 12 } else { 120 }) {
            0 => AMOUNT_MAX,
            1 => AMOUNT_MAX - u128::from(self.dice.below(4)),
            2 | 3 => AMOUNT_MAX / 2 + u128::from(self.dice.below(3)),
            4 => AMOUNT_MAX / 3,
            5 | 6 => 0,
            7 => return self.major(),
            _ => self.dice.below(30).into(),
        };
        AmountInput::Minor(Amount::try_new(amount).unwrap())
    }

    /// In major units, with as many digits as most ledgers have.
    fn major(&mut self) -> AmountInput {
        let units = self.dice.below(30);
        let text = match self.dice.below(6) {
            0 => format!("{units}.{}", self.dice.below(10)),
            1 => format!("{units}.{:02}", self.dice.below(100)),
            2 if self.wrong(4) => format!("0.00{}", self.dice.below(10)),
            3 if self.wrong(4) => format!("{}", AMOUNT_MAX - u128::from(units)),
            _ => format!("{units}"),
        };
        AmountInput::parse(&text).unwrap()
    }

    /// Whether to do what is surely refused.
    fn wrong(&mut self, one_in: u64) -> bool {
        self.dice.one_in(one_in * self.care)
    }

    /// The ledger that an account is most often created in: the first three are of ledger 1.
    fn ledger_of(&self, account: AccountId) -> LedgerId {
        LedgerId(if (4..1_000).contains(&account.0) && self.two_ledgers { 2 } else { 1 })
    }

    fn account_id(&mut self) -> u128 {
        if self.wrong(33) {
            return self.dice.pick(&[0, u128::MAX, 1_000]);
        }
        (1 + self.dice.below(self.accounts)).into()
    }

    /// Most often one that is still free, while there are some.
    fn transfer_id(&mut self) -> u128 {
        if self.wrong(75) {
            return self.dice.pick(&[0, u128::MAX]);
        }
        if self.newest_id < self.ids && !self.dice.one_in(10) {
            self.newest_id += 1;
            return self.newest_id.into();
        }
        (1 + self.dice.below(self.newest_id.max(1))).into()
    }

    fn metadata(&mut self) -> Option<Metadata> {
        let text = self.dice.pick(&["a", "b"]);
        let metadata = Metadata::new(format!("{{\"k\":\"{text}\"}}").into(), text.as_bytes());
        self.dice.one_in(12).then_some(metadata)
    }

    /// A moment that is often in the past, and sometimes another event's.
    fn moment(&mut self) -> Timestamp {
        let back = [4, 60, 2_000][self.dice.below(3) as usize];
        if self.wrong(20) {
            return Timestamp(self.dice.pick(&[0, TIME_MAX, TIME_MAX + 1, u64::MAX]));
        }
        if !self.moments.is_empty() && self.dice.one_in(3) {
            return self.dice.pick(&self.moments);
        }
        let moment = Timestamp((self.now + 1).saturating_sub(self.dice.below(back)));
        self.moments.push(moment);
        let surplus = self.moments.len().saturating_sub(12);
        self.moments.drain(..surplus);
        moment
    }

    fn timeout(&mut self) -> u32 {
        if self.now.abs_diff(LATE) < 100 && self.dice.one_in(2) {
            return u32::MAX;
        }
        match self.dice.below(16) {
            0..6 => 0,
            6 => u32::MAX - self.dice.below(3) as u32,
            7 => 1_000_000,
            _ => 1 + self.dice.below(3) as u32,
        }
    }

    /// Small numbers, most often the smallest.
    fn small(&mut self) -> u64 {
        self.dice.below(20).saturating_sub(17)
    }

    // --- accounts and ledgers ---------------------------------------------------------------------------------------------

    fn create_ledger(&mut self) -> Command {
        let scale = if self.dice.one_in(4) { 1 } else { 2 };
        Command::CreateLedger(CreateLedger {
            id: LedgerId(self.dice.below(4) as u32),
            currency: self.dice.pick(&["USD", "USD", "USD", "JPY"]).to_owned(),
            scale: Scale::try_new(scale).unwrap(),
            name: self.dice.pick(&["", "", "name"]).to_owned(),
        })
    }

    fn change_account(&mut self) -> Command {
        let account_id = AccountId(self.account_id());
        if self.dice.one_in(3) {
            let metadata = self.metadata();
            return Command::ReplaceMetadata(ReplaceMetadata { account_id, metadata });
        }
        let overdraft_limit = self.amount();
        Command::SetOverdraftLimit(SetOverdraftLimit { account_id, overdraft_limit })
    }

    fn create_accounts(&mut self) -> Command {
        let imports = self.dice.one_in(self.importing);
        let count = 1 + self.dice.below(4);
        let accounts: Vec<CreateAccount> = (0..count)
            .map(|_| {
                let account = self.account(imports);
                if self.dice.one_in(4) { account } else { self.account_again(account) }
            })
            .collect();
        self.asked_accounts.extend(accounts.iter().cloned());
        Command::CreateAccounts(accounts)
    }

    /// Instead of one whose id was asked for before, that one, or with one field changed.
    fn account_again(&mut self, other: CreateAccount) -> CreateAccount {
        let before = self.asked_accounts.iter().find(|asked| asked.id == other.id);
        let Some(mut account) = before.cloned() else { return other };
        match self.dice.below(20) {
            0 => account.flags = other.flags,
            1 => account.user_data_128 = other.user_data_128,
            2 => account.user_data_64 = other.user_data_64,
            3 => account.user_data_32 = other.user_data_32,
            4 => account.ledger = other.ledger,
            5 => account.code = other.code,
            6 => account.overdraft_limit = other.overdraft_limit,
            7 => account.metadata = other.metadata,
            8 => account.timestamp = other.timestamp,
            9 => account.flags = account.flags.with(AccountFlags::CLOSED),
            _ => {}
        }
        account
    }

    fn account(&mut self, imports: bool) -> CreateAccount {
        let mut account = CreateAccount::new(AccountId(self.account_id()));
        account.ledger = self.ledger_of(account.id);
        if self.wrong(6) {
            account.ledger = LedgerId(self.dice.pick(&[0, 1, 2, 3, 9]));
        }
        account.code = Code(if self.wrong(20) { self.small() as u16 } else { 1 });
        self.limit(&mut account);
        account.user_data_128 = self.small().into();
        account.user_data_64 = self.small();
        account.user_data_32 = self.small() as u32;
        account.metadata = self.metadata();
        for (flag, one_in) in [
            (AccountFlags::LINKED, 4),
            (AccountFlags::HISTORY, 15),
            (AccountFlags::CLOSED, 25 * self.care),
            (AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS, 30 * self.care),
        ] {
            if self.dice.one_in(one_in) {
                account.flags = account.flags.with(flag);
            }
        }
        if imports != self.wrong(25) {
            account.flags = account.flags.with(AccountFlags::IMPORTED);
        }
        if imports != self.wrong(25) {
            account.timestamp = self.moment();
        }
        account
    }

    fn limit(&mut self, account: &mut CreateAccount) {
        match self.dice.below(6) {
            0 => account.flags = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS,
            1 => account.flags = AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS,
            _ => {}
        }
        let limited = account.flags != AccountFlags::empty();
        if if limited { self.dice.one_in(2) } else { self.wrong(30) } {
            account.overdraft_limit = self.amount();
        }
    }

    // --- transfers --------------------------------------------------------------------------------------------------------

    fn create_transaction(&mut self) -> Command {
        if !self.transactions.is_empty() && self.dice.one_in(4) {
            return Command::CreateTransaction(self.transaction_again());
        }
        let id = TransferId(self.transfer_id());
        let mut transfers = self.batch(4);
        for (leg, index) in transfers.iter_mut().zip(0..) {
            // Legs are together without it, and most often have no name of their own.
            if !self.dice.one_in(20) {
                let linked = TransferFlags::LINKED.bits();
                leg.flags = TransferFlags::try_from_bits(leg.flags.bits() & !linked).unwrap();
            }
            if !self.dice.one_in(4) {
                leg.id = TransferId::of_leg(id, index);
            }
        }
        let transaction = CreateTransaction {
            id,
            external_id: None,
            transfers,
            metadata: self.metadata(),
            conditions: Vec::new(),
        };
        self.transactions.push(transaction.clone());
        Command::CreateTransaction(transaction)
    }

    /// One that was asked for before: the same, with something changed, or its legs under another name.
    fn transaction_again(&mut self) -> CreateTransaction {
        let index = self.dice.below(self.transactions.len() as u64) as usize;
        let mut transaction = self.transactions[index].clone();
        match self.dice.below(8) {
            0 => transaction.metadata = self.metadata(),
            1 => transaction.transfers[0].user_data_32 ^= 1,
            2 => transaction.transfers[0] = self.new_transfer(),
            3 | 4 => transaction.id = TransferId(self.transfer_id()),
            _ => {}
        }
        transaction
    }

    /// Often one or two, sometimes more.
    fn batch(&mut self, most: u64) -> Vec<CreateTransfer> {
        let most = if self.dice.one_in(3) { most } else { 2 };
        let count = 1 + self.dice.below(most);
        let imports = self.dice.one_in(self.importing);
        let batch: Vec<CreateTransfer> =
            (0..count).map(|index| self.transfer(imports, index + 1 == count)).collect();
        self.asked.extend(batch.iter().cloned());
        let timeouts = batch.iter().map(|transfer| u64::from(transfer.timeout));
        let soon = timeouts.filter(|timeout| (1..10).contains(timeout));
        self.deadlines.extend(soon.map(|timeout| self.now + timeout * SECOND));
        let surplus = self.asked.len().saturating_sub(60);
        self.asked.drain(..surplus);
        batch
    }

    fn transfer(&mut self, imports: bool, is_last: bool) -> CreateTransfer {
        if !self.asked.is_empty() && self.dice.one_in(5 + self.care / 2) {
            return self.again(imports);
        }
        let mut transfer = self.new_transfer();
        // The last one of a batch only by mistake.
        let linked = if is_last { 20 * self.care } else { 4 + self.care / 4 };
        for (flag, one_in) in [
            (TransferFlags::LINKED, linked),
            (TransferFlags::PENDING, 40 * self.care),
            (TransferFlags::BALANCING_DEBIT, 50 * self.care),
            (TransferFlags::BALANCING_CREDIT, 50 * self.care),
            (TransferFlags::CLOSING_DEBIT, 50 * self.care),
            (TransferFlags::CLOSING_CREDIT, 50 * self.care),
            (TransferFlags::VOID_PENDING_TRANSFER, 60 * self.care),
        ] {
            if self.dice.one_in(one_in) {
                transfer.flags = transfer.flags.with(flag);
            }
        }
        transfer.ledger = match self.dice.below(12) {
            _ if self.wrong(8) => Some(LedgerId(self.dice.pick(&[0, 9, 3]))),
            0..9 => None,
            9 => Some(LedgerId(self.dice.pick(&[1, 2]))),
            _ => Some(self.ledger_of(transfer.debit_account_id)),
        };
        transfer.metadata = self.metadata();
        if self.dice.one_in(15) {
            transfer.effective_at = Some(Timestamp(self.small()));
        }
        if imports != self.wrong(40) {
            transfer.flags = transfer.flags.with(TransferFlags::IMPORTED);
        }
        if imports != self.wrong(40) {
            transfer.timestamp = self.moment();
        }
        transfer
    }

    fn new_transfer(&mut self) -> CreateTransfer {
        let mut transfer = CreateTransfer::new(
            TransferId(self.transfer_id()),
            AccountId(self.account_id()),
            AccountId(self.account_id()),
            self.amount(),
        );
        while !self.wrong(20)
            && (transfer.credit_account_id == transfer.debit_account_id
                || self.ledger_of(transfer.credit_account_id)
                    != self.ledger_of(transfer.debit_account_id))
        {
            transfer.debit_account_id = AccountId(self.account_id());
            transfer.credit_account_id = AccountId(self.account_id());
        }
        transfer.user_data_128 = self.dice.pick(&[0, 0, 1, u128::MAX]);
        transfer.user_data_64 = self.dice.pick(&[0, 0, 1, u64::MAX]);
        transfer.user_data_32 = self.dice.pick(&[0, 0, 1, u32::MAX]);
        match self.dice.below(12) {
            0..4 => {
                for flag in [TransferFlags::BALANCING_DEBIT, TransferFlags::BALANCING_CREDIT] {
                    if self.dice.one_in(6) {
                        transfer.flags = transfer.flags.with(flag);
                    }
                }
            }
            4..9 => {
                transfer.flags = TransferFlags::PENDING;
                transfer.timeout = self.timeout();
                if self.dice.one_in(20) {
                    let closing = [TransferFlags::CLOSING_DEBIT, TransferFlags::CLOSING_CREDIT];
                    transfer.flags = transfer.flags.with(self.dice.pick(&closing));
                }
            }
            _ => self.settle(&mut transfer),
        }
        if self.wrong(30) {
            transfer.code = Code(self.dice.below(3) as u16);
        }
        if self.wrong(60) {
            transfer.timeout = 1;
        }
        if self.wrong(60) {
            transfer.pending_id = TransferId(self.transfer_id());
        }
        transfer
    }

    /// Makes a post or void of it, most often of a pending transfer that was asked for, naming some of its fields.
    fn settle(&mut self, transfer: &mut CreateTransfer) {
        let post = !self.dice.one_in(3);
        transfer.flags = if post {
            TransferFlags::POST_PENDING_TRANSFER
        } else {
            TransferFlags::VOID_PENDING_TRANSFER
        };
        let mut pending = self.asked.iter().filter(|asked| {
            asked.flags.contains(TransferFlags::PENDING) && !asked.flags.contains(transfer.flags)
        });
        let count = pending.clone().count() as u64;
        let first = match count {
            0 => None,
            _ => pending.nth((count - 1 - self.dice.below(count.min(6))) as usize).cloned(),
        };
        if first.is_none() && !self.wrong(4) {
            // Nothing waits: a single-phase one instead.
            transfer.flags = TransferFlags::empty();
            return;
        }
        let Some(first) = first.filter(|_| !self.wrong(8)) else {
            transfer.pending_id = TransferId(self.transfer_id());
            return;
        };
        transfer.pending_id = first.id;
        transfer.debit_account_id = self.named(AccountId(0), first.debit_account_id);
        transfer.credit_account_id = self.named(AccountId(0), first.credit_account_id);
        transfer.code = self.named(Code(0), first.code);
        transfer.user_data_128 = self.named(transfer.user_data_128, first.user_data_128);
        transfer.user_data_64 = self.named(transfer.user_data_64, first.user_data_64);
        transfer.user_data_32 = self.named(transfer.user_data_32, first.user_data_32);
        transfer.amount = match self.dice.below(6) {
            0 => first.amount,
            1 | 2 => self.amount(),
            _ if post => AmountInput::Minor(Amount::MAX),
            _ => AmountInput::ZERO,
        };
        if self.wrong(20) {
            transfer.debit_account_id = AccountId(self.account_id());
        }
        if self.wrong(20) {
            transfer.credit_account_id = AccountId(self.account_id());
        }
    }

    fn named<T>(&mut self, open: T, named: T) -> T {
        if self.dice.one_in(2) { open } else { named }
    }

    /// What was asked before, once more: the same, or with one field changed.
    fn again(&mut self, imports: bool) -> CreateTransfer {
        let index = self.dice.below(self.asked.len() as u64) as usize;
        let mut transfer = self.asked[index].clone();
        let other = self.new_transfer();
        match self.dice.below(32) {
            0 => transfer.id = other.id,
            1 => transfer.debit_account_id = other.debit_account_id,
            2 => transfer.credit_account_id = other.credit_account_id,
            3 | 4 => transfer.amount = other.amount,
            5 => transfer.ledger = Some(LedgerId(self.dice.below(4) as u32)),
            6 => transfer.ledger = None,
            7 => transfer.code = Code(self.dice.below(3) as u16),
            8 => transfer.flags = other.flags,
            9 => transfer.pending_id = other.pending_id,
            10 => transfer.timeout = self.timeout(),
            11 => transfer.user_data_128 = self.dice.pick(&[0, 1, u128::MAX]),
            12 => transfer.user_data_64 = self.dice.pick(&[0, 1, u64::MAX]),
            13 => transfer.user_data_32 = self.dice.pick(&[0, 1, u32::MAX]),
            14 => transfer.effective_at = Some(Timestamp(self.dice.below(2))),
            15 => transfer.metadata = self.metadata(),
            16 => transfer.amount = AmountInput::Minor(Amount::MAX),
            17 => transfer.amount = AmountInput::ZERO,
            18 => transfer.timestamp = self.moment(),
            19 if imports => {
                transfer.flags = transfer.flags.with(TransferFlags::IMPORTED);
                transfer.timestamp = self.moment();
            }
            20..24 => self.in_other_words(&mut transfer),
            _ => {}
        }
        transfer
    }

    /// Leaves open what a post or void names, or names what it leaves open.
    fn in_other_words(&mut self, transfer: &mut CreateTransfer) {
        let id = transfer.pending_id;
        let Some(first) = self.asked.iter().find(|asked| asked.id == id).cloned() else { return };
        let post = transfer.flags.contains(TransferFlags::POST_PENDING_TRANSFER);
        let all = if post { Amount::MAX } else { Amount::ZERO };
        transfer.debit_account_id = self.named(AccountId(0), first.debit_account_id);
        transfer.credit_account_id = self.named(AccountId(0), first.credit_account_id);
        transfer.code = self.named(Code(0), first.code);
        transfer.amount = self.named(AmountInput::Minor(all), first.amount);
        if self.dice.one_in(2) {
            transfer.user_data_128 = self.named(0, first.user_data_128);
            transfer.user_data_64 = self.named(0, first.user_data_64);
            transfer.user_data_32 = self.named(0, first.user_data_32);
        }
    }
}
