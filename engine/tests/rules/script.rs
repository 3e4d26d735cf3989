//! A bank that is spoken to in one line of text, and answers in one.

use std::collections::HashMap;

use florin_engine::{
    AccountFlags, AccountId, Amount, AmountInput, Asked, Code, Command, Comparison, Condition,
    CreateAccount, CreateLedger, CreateTransaction, CreateTransfer, Decided, DecidedBefore,
    DecidedSpace, Decision, Event, Expected, ExpirePending, Field, ItemOutcome, JournalSeq,
    LedgerId, Metadata, OpenAccount, PendingTransfer, Record, Rejection, ReplaceMetadata,
    ReverseTransaction, ReverseTransfer, Scale, SetOverdraftLimit, Settle, SignedInput, State,
    Timestamp, Transaction, Transfer, TransferFlags, TransferId, Verdict, WHOLE_TRANSACTION,
};

/// A state with everything that was ever decided on it.
pub(crate) struct TestBank {
    pub(crate) state: State,
    pub(crate) records: Vec<Record>,
    pub(crate) now: Timestamp,
    pub(crate) index: Index,
    /// The next command is only rehearsed.
    dry: bool,
}

/// The index of decided ids, as a map.
#[derive(Default)]
pub(crate) struct Index {
    transfers: HashMap<u128, Decided>,
    keys: HashMap<u128, Decided>,
    settled: HashMap<u128, Decided>,
}

impl Index {
    pub(crate) fn add(&mut self, seq: JournalSeq, record: &Record) {
        record.each_decided(seq, |id, decided| {
            let space = match decided.kind.space() {
                DecidedSpace::Transfer => &mut self.transfers,
                DecidedSpace::Key => &mut self.keys,
                DecidedSpace::Settled => &mut self.settled,
            };
            assert!(space.insert(id, decided).is_none(), "{id} is decided twice");
        });
    }
}

impl DecidedBefore for Index {
    fn absent(&mut self, ids: &[TransferId]) -> u64 {
        let absent = |id: &TransferId| !self.transfers.contains_key(&id.0);
        ids.iter().zip(0..).fold(0, |bits, (id, at)| bits | u64::from(absent(id)) << at)
    }

    fn transfer(&mut self, id: TransferId) -> Option<Decided> {
        self.transfers.get(&id.0).copied()
    }

    fn key(&mut self, hash: u128) -> Option<Decided> {
        self.keys.get(&hash).copied()
    }

    fn settled(&mut self, id: TransferId) -> Option<Decided> {
        self.settled.get(&id.0).copied()
    }
}

impl Default for TestBank {
    fn default() -> TestBank {
        let mut bank = TestBank {
            state: State::new(1),
            records: Vec::new(),
            now: Timestamp(0),
            index: Index::default(),
            dry: false,
        };
        for (id, currency) in [(1, "USD"), (2, "EUR")] {
            let scale = Scale::try_new(2).unwrap();
            let (id, currency, name) = (LedgerId(id), currency.to_owned(), String::new());
            bank.decide(Command::CreateLedger(CreateLedger { id, currency, scale, name })).unwrap();
        }
        bank
    }
}

impl TestBank {
    /// Decides without anything changing.
    pub(crate) fn rehearse(&mut self, command: Command) -> Result<Decision, String> {
        let what_is = |state: &State| {
            let accounts: Vec<_> = state.accounts().cloned().collect();
            let seen = (state.seq(), state.timestamp(), state.state_hash(), state.recent_count());
            (seen, accounts, state.ledgers().to_vec(), pending_of(state), state.newest_transfer())
        };
        let before = what_is(&self.state);
        let rehearsed = self.state.rehearse(command, self.now, &mut self.index);
        assert_eq!(what_is(&self.state), before);
        self.state.check_conservation().unwrap();
        rehearsed.map(|rehearsed| rehearsed.0).map_err(|error| error.to_string())
    }

    pub(crate) fn decide(&mut self, command: Command) -> Result<Decision, String> {
        if std::mem::take(&mut self.dry) {
            return self.rehearse(command);
        }
        let verdict = self.state.decide(command, None, self.now, &mut self.index);
        let Verdict::Decided(decision) = verdict.map_err(|error| error.to_string())? else {
            panic!("there are no keys here");
        };
        self.records.extend(decision.record.clone());
        Ok(decision)
    }

    /// Moves all that memory remembers of what was decided into the index.
    pub(crate) fn forget(&mut self) {
        self.index = Index::default();
        for (record, seq) in self.records.iter().zip(1..) {
            self.index.add(JournalSeq(seq), record);
        }
        drop(self.state.forget_indexed(self.state.seq()));
        assert_eq!(self.state.recent_count(), 0);
    }

    /// Replays everything on a fresh state and compares.
    pub(crate) fn assert_replays(&self) {
        let mut replayed = State::new(2);
        for (record, seq) in self.records.iter().zip(1..) {
            replayed.replay(JournalSeq(seq), record).unwrap();
        }
        assert_eq!(replayed.state_hash(), self.state.state_hash());
        assert_eq!(replayed.seq(), self.state.seq());
        assert!(replayed.accounts().eq(self.state.accounts()));
        assert_eq!(replayed.ledgers(), self.state.ledgers());
        assert_eq!(pending_of(&replayed), pending_of(&self.state));
        assert_eq!(replayed.next_expiry(), self.state.next_expiry());
        assert_eq!(replayed.newest_transfer(), self.state.newest_transfer());
        self.state.check_conservation().unwrap();
    }

    fn transfer(&self, id: TransferId) -> Option<&Transfer> {
        self.records.iter().flat_map(|record| &record.events).find_map(|event| match event {
            Event::TransferPosted(posted) if posted.transfer.id == id => Some(&posted.transfer),
            _ => None,
        })
    }

    /// A transaction and its legs; nothing much where there is none.
    fn transaction(&self, id: TransferId) -> (Transaction, Vec<Transfer>) {
        for record in &self.records {
            let mut events = record.events.iter();
            while let Some(event) = events.next() {
                if let Event::TransactionCreated(transaction) = event
                    && transaction.id == id
                {
                    let legs = events.take(transaction.transfers as usize).map(|leg| match leg {
                        Event::TransferPosted(posted) => posted.transfer.clone(),
                        _ => panic!("its legs follow"),
                    });
                    return (transaction.clone(), legs.collect());
                }
            }
        }
        let missing = Transaction {
            id,
            external_id: None,
            transfers: 0,
            timestamp: Timestamp(0),
            metadata: None,
        };
        (missing, Vec::new())
    }

    pub(crate) fn run(&mut self, line: &str) -> String {
        let (verb, rest) = line.split_once(' ').unwrap();
        let one = |result: Result<Decision, String>, bank: &TestBank| match result {
            Ok(decision) => match decision.exceptions.first() {
                None => "created".to_owned(),
                Some(item) => bank.show(*item, &decision.asked),
            },
            Err(error) => error,
        };
        match verb {
            "account" => {
                let result = self.decide(Command::CreateAccounts(vec![account(rest)]));
                one(result, self)
            }
            "accounts" => {
                let accounts = items(rest).map(account).collect();
                let result = self.decide(Command::CreateAccounts(accounts));
                self.show_batch(result)
            }
            "transfer" => {
                let result = self.decide(Command::CreateTransfers(vec![transfer(rest)]));
                one(result, self)
            }
            "batch" => {
                let result =
                    self.decide(Command::CreateTransfers(items(rest).map(transfer).collect()));
                self.show_batch(result)
            }
            "transaction" => self.run_transaction(rest),
            "open" => {
                let (id, balance) = rest.split_once(' ').unwrap();
                let account = account(&format!("{id} flags=D<C"));
                let balance = AmountInput::parse(balance).unwrap();
                let result = self.decide(Command::OpenAccount(OpenAccount { account, balance }));
                one(result, self)
            }
            "ledger" => {
                let words: Vec<&str> = rest.split(' ').collect();
                let result = self.decide(Command::CreateLedger(CreateLedger {
                    id: LedgerId(words[0].parse().unwrap()),
                    currency: words[1].to_owned(),
                    scale: Scale::try_new(words[2].parse().unwrap()).unwrap(),
                    name: String::new(),
                }));
                one(result, self)
            }
            "balance" => {
                let account = self.state.account(AccountId(number(rest))).unwrap();
                let balance = account.balances.balance(account.flags);
                format!("{} v{}", balance.display(Scale::try_new(2).unwrap()), account.version)
            }
            // posted+pending of both sides
            "amounts" => {
                let account = self.state.account(AccountId(number(rest))).unwrap();
                let show = |amount: Amount| amount.display(Scale::try_new(2).unwrap()).to_string();
                let balances = &account.balances;
                let closed = account.flags.contains(AccountFlags::CLOSED);
                format!(
                    "{}+{} {}+{}{}",
                    show(balances.debits_posted),
                    show(balances.debits_pending),
                    show(balances.credits_posted),
                    show(balances.credits_pending),
                    if closed { " closed" } else { "" }
                )
            }
            "now" => {
                self.now = Timestamp(rest.parse().unwrap());
                rest.to_owned()
            }
            "expire" => {
                let limit = rest.parse().unwrap();
                let expire = Command::ExpirePending(ExpirePending { limit });
                let record = self.decide(expire).unwrap().record;
                let expired =
                    record.iter().flat_map(|record| &record.events).map(|event| match event {
                        Event::TransferExpired(expired) => expired.id.0.to_string(),
                        _ => panic!("nothing but expiry"),
                    });
                format!("expired {}", expired.collect::<Vec<_>>().join(","))
            }
            "dry" => {
                self.dry = true;
                self.run(rest)
            }
            "limit" => {
                let (account, limit) = rest.split_once(' ').unwrap();
                let account_id = AccountId(number(account));
                let overdraft_limit = AmountInput::parse(limit).unwrap();
                let set = SetOverdraftLimit { account_id, overdraft_limit };
                let result = self.decide(Command::SetOverdraftLimit(set));
                one(result, self)
            }
            "metadata" => {
                let (account, text) = rest.split_once(' ').unwrap();
                let account_id = AccountId(number(account));
                let metadata = (text != "-").then(|| metadata(text));
                let replace = ReplaceMetadata { account_id, metadata };
                let result = self.decide(Command::ReplaceMetadata(replace));
                one(result, self)
            }
            "reverse" => {
                let words: Vec<&str> = rest.split(' ').collect();
                let original = self.transfer(TransferId(number(words[1])));
                // What is not there can be asked for all the same.
                let missing = Transfer { id: TransferId(number(words[1])), ..Transfer::default() };
                let mut reverse = ReverseTransfer {
                    id: TransferId(number(words[0])),
                    external_id: None,
                    original: original.cloned().unwrap_or(missing),
                    user_data_128: 0,
                    user_data_64: 0,
                    user_data_32: 0,
                    effective_at: None,
                    metadata: None,
                    conditions: Vec::new(),
                };
                for word in &words[2..] {
                    let (name, value) = word.split_once('=').unwrap();
                    match name {
                        "ud128" => reverse.user_data_128 = value.parse().unwrap(),
                        "amount" => {
                            reverse.original.amount = Amount::from_minor(value.parse().unwrap())
                        }
                        "if" => reverse.conditions.push(condition(value)),
                        _ => panic!("no such field: {name}"),
                    }
                }
                let result = self.decide(Command::ReverseTransfer(Box::new(reverse)));
                one(result, self)
            }
            "reverse-transaction" | "post-transaction" | "void-transaction" => {
                let words: Vec<&str> = rest.split(' ').collect();
                let id = TransferId(number(words[0]));
                let (original, legs) = self.transaction(TransferId(number(words[1])));
                let settle = match verb {
                    "post-transaction" => Some(Settle::Post),
                    "void-transaction" => Some(Settle::Void),
                    _ => None,
                };
                let command = match settle {
                    Some(settle) => {
                        Command::CreateTransaction(CreateTransaction::settling(id, &legs, settle))
                    }
                    None => {
                        let conditions =
                            words[2..].iter().map(|word| condition(&word[3..])).collect();
                        let reverse = ReverseTransaction {
                            id,
                            external_id: None,
                            original,
                            legs,
                            metadata: None,
                            conditions,
                        };
                        Command::ReverseTransaction(Box::new(reverse))
                    }
                };
                let result = self.decide(command);
                self.show_transaction(result)
            }
            "next" => self.state.next_expiry().map_or("never".to_owned(), |at| at.0.to_string()),
            "forget" => {
                self.forget();
                rest.to_owned()
            }
            _ => panic!("no such verb: {verb}"),
        }
    }

    fn run_transaction(&mut self, rest: &str) -> String {
        let (head, legs) = rest.split_once('[').unwrap();
        let mut words = head.trim().split(' ');
        let id = TransferId(number(words.next().unwrap()));
        let conditions = words.map(|word| condition(word.strip_prefix("if=").unwrap())).collect();
        let transfers = items(legs)
            .zip(0..)
            .map(|(leg, index)| transfer(&format!("{} {leg}", TransferId::of_leg(id, index).0)))
            .collect();
        let result = self.decide(Command::CreateTransaction(CreateTransaction {
            id,
            external_id: None,
            transfers,
            metadata: None,
            conditions,
        }));
        self.show_transaction(result)
    }

    fn show_transaction(&self, result: Result<Decision, String>) -> String {
        let decision = match result {
            Ok(decision) => decision,
            Err(error) => return error,
        };
        match decision.exceptions.first() {
            None => "created".to_owned(),
            Some(item @ (WHOLE_TRANSACTION, _)) => self.show(*item, &decision.asked),
            Some(item @ (leg, _)) => format!("leg {leg} {}", self.show(*item, &decision.asked)),
        }
    }

    fn show_batch(&self, result: Result<Decision, String>) -> String {
        let decision = match result {
            Ok(decision) => decision,
            Err(error) => return error,
        };
        let created = decision.items as usize - decision.exceptions.len();
        let mut text = format!("ok {created}");
        for item in &decision.exceptions {
            text += &format!(", {} {}", item.0, self.show(*item, &decision.asked));
        }
        text
    }

    /// What came of an item in the end, once compared with what its id was first used for: the refusal, or none where it exists.
    pub(crate) fn refusal(
        &self,
        (index, outcome): (u32, ItemOutcome),
        asked: &[(u32, Asked)],
    ) -> Option<Rejection> {
        let asked = || &asked.iter().find(|(item, _)| *item == index).unwrap().1;
        match outcome {
            ItemOutcome::Exists { .. } => None,
            ItemOutcome::Rejected(rejection) => Some(rejection),
            ItemOutcome::Differs { .. } => {
                let field = self
                    .transfer(asked().item.id)
                    .map_or(Some(Field::Flags), |first| asked().asking().first_difference(first));
                field.map(Rejection::exists_with_different)
            }
            ItemOutcome::Settled { settlement, .. } => {
                let pending = self.transfer(asked().item.pending_id).unwrap();
                Some(asked().asking().refused_as_settled(pending, settlement))
            }
        }
    }

    fn show(&self, item: (u32, ItemOutcome), asked: &[(u32, Asked)]) -> String {
        let Some(rejection) = self.refusal(item, asked) else { return "exists".to_owned() };
        match rejection {
            Rejection::ExceedsCredits { available, requested, .. }
            | Rejection::ExceedsDebits { available, requested, .. } => {
                let scale = Scale::try_new(2).unwrap();
                let (available, requested) = (available.display(scale), requested.display(scale));
                format!("{} {available} < {requested}", rejection.code())
            }
            Rejection::ConditionFailed { condition, found, ledger } => {
                let digits = if ledger.0 == 0 { 0 } else { 2 };
                let found = found.display(Scale::try_new(digits).unwrap());
                format!("{} {condition} found {found}", rejection.code())
            }
            _ => match rejection.code().strip_prefix("exists_with_different_") {
                Some(field) if matches!(item.1, ItemOutcome::Differs { .. }) => {
                    format!("differs in {field}")
                }
                _ => rejection.code().to_owned(),
            },
        }
    }
}

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.trim_start_matches('[').trim_end_matches(']').split(", ")
}

fn number(text: &str) -> u128 {
    if text == "max" { u128::MAX } else { text.parse().unwrap() }
}

fn metadata(text: &str) -> Metadata {
    Metadata::new(format!("{{\"k\":\"{text}\"}}").into(), text.as_bytes())
}

/// `account:what:comparison:value`
fn condition(text: &str) -> Condition {
    let [account, what, comparison, value] = text.split(':').collect::<Vec<_>>()[..] else {
        panic!("no condition: {text}")
    };
    let sum = || SignedInput::parse(value).unwrap();
    Condition {
        account_id: AccountId(number(account)),
        comparison: match comparison {
            "eq" => Comparison::Eq,
            "gt" => Comparison::Gt,
            "gte" => Comparison::Gte,
            "lt" => Comparison::Lt,
            "lte" => Comparison::Lte,
            _ => panic!("no such comparison: {comparison}"),
        },
        expected: match what {
            "version" => Expected::Version(value.parse().unwrap()),
            "balance" => Expected::Balance(sum()),
            "available" => Expected::Available(sum()),
            _ => panic!("nothing to compare: {what}"),
        },
    }
}

fn account(text: &str) -> CreateAccount {
    let mut words = text.split(' ');
    let mut account = CreateAccount::new(AccountId(number(words.next().unwrap())));
    for (name, value) in words.filter_map(|word| word.split_once('=')) {
        match name {
            "ledger" => account.ledger = LedgerId(value.parse().unwrap()),
            "code" => account.code = Code(value.parse().unwrap()),
            "overdraft" => account.overdraft_limit = AmountInput::parse(value).unwrap(),
            "ud128" => account.user_data_128 = value.parse().unwrap(),
            "ud64" => account.user_data_64 = value.parse().unwrap(),
            "ud32" => account.user_data_32 = value.parse().unwrap(),
            "meta" => account.metadata = Some(metadata(value)),
            "ts" => account.timestamp = Timestamp(value.parse().unwrap()),
            "flags" => {
                account.flags = value
                    .split(',')
                    .map(account_flag)
                    .fold(AccountFlags::empty(), AccountFlags::with);
            }
            _ => panic!("no such field: {name}"),
        }
    }
    account
}

fn account_flag(name: &str) -> AccountFlags {
    match name {
        "D<C" => AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS,
        "C<D" => AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS,
        _ => AccountFlags::NAMES.iter().find(|(_, known)| *known == name).unwrap().0,
    }
}

fn transfer(text: &str) -> CreateTransfer {
    let words: Vec<&str> = text.split(' ').collect();
    let (debit, credit) = words[1].split_once("->").unwrap();
    let mut transfer = CreateTransfer::new(
        TransferId(number(words[0])),
        AccountId(number(debit)),
        AccountId(number(credit)),
        AmountInput::parse(words[2]).unwrap(),
    );
    for word in &words[3..] {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match name {
            "post" | "void" => {
                transfer.flags = transfer.flags.with(transfer_flag(name));
                transfer.pending_id = TransferId(number(value));
                transfer.code = Code(0);
            }
            "if" => transfer.conditions.push(condition(value)),
            "ts" => transfer.timestamp = Timestamp(value.parse().unwrap()),
            _ if value.is_empty() => transfer.flags = transfer.flags.with(transfer_flag(name)),
            "ledger" => transfer.ledger = Some(LedgerId(value.parse().unwrap())),
            "code" => transfer.code = Code(value.parse().unwrap()),
            "pending_id" => transfer.pending_id = TransferId(value.parse().unwrap()),
            "timeout" => transfer.timeout = value.parse().unwrap(),
            "ud128" => transfer.user_data_128 = value.parse().unwrap(),
            "ud64" => transfer.user_data_64 = value.parse().unwrap(),
            "ud32" => transfer.user_data_32 = value.parse().unwrap(),
            "at" => transfer.effective_at = Some(Timestamp(value.parse().unwrap())),
            "meta" => transfer.metadata = Some(metadata(value)),
            _ => panic!("no such field: {name}"),
        }
    }
    transfer
}

fn transfer_flag(name: &str) -> TransferFlags {
    match name {
        "post" => TransferFlags::POST_PENDING_TRANSFER,
        "void" => TransferFlags::VOID_PENDING_TRANSFER,
        _ => TransferFlags::NAMES.iter().find(|(_, known)| *known == name).unwrap().0,
    }
}

/// The open pending transfers, by id.
pub(crate) fn pending_of(state: &State) -> Vec<PendingTransfer> {
    let mut pending: Vec<_> = state.all_pending().collect();
    pending.sort_by_key(|pending| pending.id);
    assert_eq!(pending.len(), state.pending_count());
    pending
}

/// Runs a script of commands on a fresh bank, compares what each comes to, and replays what was journaled.
pub(crate) fn check(script: &str, expected: &str) {
    let mut bank = TestBank::default();
    let answers: Vec<String> = script.split("; ").map(|line| bank.run(line.trim())).collect();
    assert_eq!(answers.join("; "), expected, "{script}");
    bank.assert_replays();
}
