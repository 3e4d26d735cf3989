//! A history lived twice, by the engine and by the rules of [`crate::rules`], and compared command by command.

use std::collections::{BTreeMap, HashMap};

use florin_engine::{
    AccountAfter, AccountId, Amount, Asked, Code, Command, Decided, DecidedBefore, DecidedSpace,
    Decision, Event, Field, ItemOutcome, JournalSeq, LedgerAfter, LedgerId, PendingTransfer,
    Record, Rehearsed, Rejection, State, StateHeader, Timestamp, Transfer, TransferId, Unreadable,
    Verdict, WHOLE_TRANSACTION,
};

use crate::history::{Step, Then};
use crate::rules::{self, Answer, Book, Happened, Status};

/// How often each status was reached, by its name.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

/// Lives `history` on both, and says where they differ first.
pub(crate) fn live(history: &[Step]) -> Result<Counts, String> {
    let mut counts = Counts::new();
    let (mut bank, mut book) = (Bank::new(), Book::default());
    for (index, step) in history.iter().enumerate() {
        let rehearsed = if step.rehearse { bank.rehearse(step) } else { Ok(None) };
        let rehearsed = rehearsed.map_err(|text| format!("command {index} rehearsed: {text}"))?;
        let expected = book.decide(&step.command, step.key, step.now);
        let compared = match (bank.decide(step), expected) {
            (Ok(Verdict::Decided(decision)), Ok(rules::Verdict::Decided(answer))) => {
                // It came to what its rehearsal said.
                if let Some(rehearsed) = rehearsed {
                    compare_rehearsed(&rehearsed, &decision)
                        .map_err(|text| format!("command {index}: {text}"))?;
                }
                bank.compare(&decision, &answer, &book, &mut counts)
            }
            (Ok(found), Ok(expected)) => {
                *counts.entry("(key known)").or_default() += 1;
                equal("the use of the key", key_use(&found), key_use_of_rules(&expected))
            }
            (Err(error), Err(expected)) => {
                *counts.entry("(unreadable)").or_default() += 1;
                equal("what can not be read", error, expected)
            }
            (found, expected) => {
                let engine = found.err().map(|error| error.to_string());
                let rules = expected.err().map(|error| error.to_string());
                equal("what can not be read", engine, rules)
            }
        };
        let compared =
            compared.and_then(|()| if step.whole { bank.compare_all(&book) } else { Ok(()) });
        compared.map_err(|text| format!("command {index}: {text}"))?;
        let next = match step.then {
            Then::Nothing => Ok(()),
            Then::Forget => {
                bank.forget();
                Ok(())
            }
            Then::Restore => bank.restore(),
            Then::Replay => bank.replay(),
        };
        next.map_err(|text| format!("after command {index}: {text}"))?;
    }
    bank.replay()?;
    bank.compare_all(&book)?;
    Ok(counts)
}

/// The engine with all that was journaled, and the index of decided ids as maps.
struct Bank {
    state: State,
    records: Vec<Record>,
    index: Index,
    transfers: HashMap<u128, Transfer>,
    /// The digests of the transactions' metadata.
    transactions: HashMap<u128, u64>,
}

#[derive(Default)]
struct Index {
    indexed: usize,
    transfers: HashMap<u128, Decided>,
    keys: HashMap<u128, Decided>,
    settled: HashMap<u128, Decided>,
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

impl Bank {
    fn new() -> Bank {
        Bank {
            state: State::new(1),
            records: Vec::new(),
            index: Index::default(),
            transfers: HashMap::new(),
            transactions: HashMap::new(),
        }
    }

    /// What the command would come to, unless it can not be read; it changes nothing.
    fn rehearse(&mut self, step: &Step) -> Result<Option<Decision>, String> {
        let before = (self.state.state_hash(), self.state.seq(), self.state.timestamp());
        let command = step.command.clone();
        let rehearsed = self.state.rehearse(command, Timestamp(step.now), &mut self.index);
        let after = (self.state.state_hash(), self.state.seq(), self.state.timestamp());
        equal("the state after a rehearsal", after, before)?;
        let Ok(Rehearsed(decision)) = rehearsed else { return Ok(None) };
        if let Command::CreateTransaction(transaction) = &step.command {
            return Ok(Some(self.with_difference(decision, transaction.metadata.as_ref())));
        }
        Ok(Some(decision))
    }

    fn decide(&mut self, step: &Step) -> Result<Verdict, Unreadable> {
        let command = step.command.clone();
        let verdict = self.state.decide(command, step.key, Timestamp(step.now), &mut self.index);
        let decision = match verdict? {
            Verdict::Decided(decision) => decision,
            known => return Ok(known),
        };
        for event in decision.record.iter().flat_map(|record| &record.events) {
            match event {
                Event::TransferPosted(posted) => {
                    self.transfers.insert(posted.transfer.id.0, posted.transfer.clone());
                }
                Event::TransactionCreated(created) => {
                    let metadata = florin_engine::metadata_digest(created.metadata.as_ref());
                    self.transactions.insert(created.id.0, metadata);
                }
                _ => {}
            }
        }
        self.records.extend(decision.record.clone());
        if let Command::CreateTransaction(transaction) = &step.command {
            let metadata = transaction.metadata.as_ref();
            return Ok(Verdict::Decided(self.with_difference(decision, metadata)));
        }
        Ok(Verdict::Decided(decision))
    }

    /// A transaction that differs tells no field by itself: it is found beside what was recorded, as the actors do it.
    fn with_difference(
        &self,
        mut decision: Decision,
        metadata: Option<&florin_engine::Metadata>,
    ) -> Decision {
        for (index, outcome) in &mut decision.exceptions {
            if let (WHOLE_TRANSACTION, ItemOutcome::Differs { seq }) = (*index, *outcome) {
                let record = &self.records[seq.0 as usize - 1];
                let first = record.events.iter().find_map(|event| match event {
                    Event::TransactionCreated(transaction) => Some(transaction.id.0),
                    _ => None,
                });
                let same = first.and_then(|id| self.transactions.get(&id))
                    == Some(&florin_engine::metadata_digest(metadata));
                let field = if same { Field::Transfers } else { Field::Metadata };
                *outcome = ItemOutcome::Rejected(Rejection::exists_with_different(field));
            }
        }
        decision
    }

    /// Moves all that memory remembers of decided ids into the index.
    fn forget(&mut self) {
        for (record, seq) in self.records.iter().zip(1..).skip(self.index.indexed) {
            record.each_decided(JournalSeq(seq), |id, decided| {
                let space = match decided.kind.space() {
                    DecidedSpace::Transfer => &mut self.index.transfers,
                    DecidedSpace::Settled => &mut self.index.settled,
                    DecidedSpace::Key => &mut self.index.keys,
                };
                assert!(space.insert(id, decided).is_none(), "{id} is decided twice");
            });
        }
        self.index.indexed = self.records.len();
        drop(self.state.forget_indexed(self.state.seq()));
    }

    /// Starts again from a snapshot, with all ids in the index.
    fn restore(&mut self) -> Result<(), String> {
        self.forget();
        let header = StateHeader {
            seq: self.state.seq(),
            timestamp: self.state.timestamp(),
            newest_transfer: self.state.newest_transfer(),
            ledgers: self.state.ledgers().to_vec(),
            accounts: self.state.accounts_count(),
        };
        let mut restored = State::restore(header, 3);
        // A snapshot has them in an order of its own.
        let mut accounts: Vec<_> = self.state.accounts().cloned().collect();
        accounts.sort_by_key(|account| account.id);
        for account in accounts {
            restored.restore_account(account);
        }
        for pending in self.state.all_pending() {
            restored.restore_pending(&pending).map_err(|error| format!("restore: {error}"))?;
        }
        self.go_on_with(restored)
    }

    /// Starts again from nothing, by replaying all that was journaled.
    fn replay(&mut self) -> Result<(), String> {
        let mut replayed = State::new(2);
        for (record, seq) in self.records.iter().zip(1..) {
            replayed.replay(JournalSeq(seq), record).map_err(|error| format!("replay: {error}"))?;
        }
        self.index = Index::default();
        self.go_on_with(replayed)
    }

    fn go_on_with(&mut self, state: State) -> Result<(), String> {
        equal("the state hash", state.state_hash(), self.state.state_hash())?;
        equal("the position", state.seq(), self.state.seq())?;
        equal("the clock", state.timestamp(), self.state.timestamp())?;
        self.state = state;
        Ok(())
    }

    // --- one command ------------------------------------------------------------------------------------------------------

    fn compare(
        &self,
        decision: &Decision,
        answer: &Answer,
        book: &Book,
        counts: &mut Counts,
    ) -> Result<(), String> {
        equal("the timestamp", decision.timestamp.0, answer.timestamp)?;
        equal("the number of items", decision.items as usize, answer.items)?;
        let statuses = self.statuses(decision, answer);
        for (_, status) in &answer.statuses {
            *counts.entry(name(status)).or_default() += 1;
        }
        equal("what became of the events", &statuses, &answer.statuses)?;
        let events = decision.record.as_ref().map_or(&[][..], |record| &record.events);
        equal("how much happened", events.len(), answer.happened.len())?;
        if let Some(record) = &decision.record {
            for (event, happened) in record.events.iter().zip(&answer.happened) {
                if matches!(happened, Happened::Expired { .. }) {
                    *counts.entry("(expired)").or_default() += 1;
                }
                compare_event(event, record, happened, book)?;
            }
        }
        let key = decision.record.as_ref().and_then(|record| record.key.as_ref());
        equal("whether the key is used", key.is_some(), answer.uses_key)?;
        if let Some(record) = &decision.record {
            equal("the record's timestamp", record.timestamp.0, answer.timestamp)?;
            equal("the record's length", u64::from(record.asked), answer.asked)?;
            let touched: Vec<u128> = record.accounts.iter().map(|after| after.id.0).collect();
            equal("the accounts touched", &touched, &answer.touched)?;
            record.accounts.iter().try_for_each(|after| compare_after(after, book))?;
            let mut ledgers: Vec<u32> = record.ledgers.iter().map(|after| after.id.0).collect();
            ledgers.sort_unstable();
            equal("the ledgers changed", &ledgers, &answer.ledgers)?;
            record.ledgers.iter().try_for_each(|after| compare_totals(after, book))?;
        }
        equal("the position", self.state.seq().0, book.seq)?;
        equal("the clock", self.state.timestamp().0, book.clock)?;
        equal("the next expiry", self.state.next_expiry().map(|at| at.0), book.next_expiry())
    }

    /// The engine's outcomes in the rules' words.
    fn statuses(&self, decision: &Decision, answer: &Answer) -> Vec<(u32, Status)> {
        let mut exceptions = decision.exceptions.iter().peekable();
        let mut statuses: Vec<(u32, Status)> = Vec::new();
        for (index, expected) in &answer.statuses {
            let exception = exceptions.next_if(|(at, _)| at == index);
            let status = match exception {
                None => Status::Created,
                Some((at, outcome)) => self.status(*outcome, asked_at(decision, *at), expected),
            };
            statuses.push((*index, status));
        }
        // Those that were not expected: of another leg, or of an event that is not there.
        statuses.extend(exceptions.map(|(index, outcome)| {
            let expected = Status::Created;
            (*index, self.status(*outcome, asked_at(decision, *index), &expected))
        }));
        statuses
    }

    fn status(&self, outcome: ItemOutcome, asked: Option<&Asked>, expected: &Status) -> Status {
        match outcome {
            ItemOutcome::Exists { seq, timestamp } => {
                // Where an account or a ledger was created is told to nobody.
                let untold = matches!(expected, Status::Exists(None, _));
                Status::Exists((!untold).then_some(seq.0), timestamp.0)
            }
            ItemOutcome::Rejected(rejection) => Status::Refused(rejection),
            ItemOutcome::Differs { seq } => {
                let asked = asked.expect("what differs can be compared");
                let first = &self.transfers[&asked.item.id.0];
                match asked.asking().first_difference(first) {
                    None => Status::Exists(Some(seq.0), first.timestamp.0),
                    Some(field) => Status::Refused(Rejection::exists_with_different(field)),
                }
            }
            ItemOutcome::Settled { settlement, .. } => {
                let asked = asked.expect("what was settled can be compared");
                let pending = &self.transfers[&asked.item.pending_id.0];
                Status::Refused(asked.asking().refused_as_settled(pending, settlement))
            }
        }
    }

    // --- everything -------------------------------------------------------------------------------------------------------

    fn compare_all(&self, book: &Book) -> Result<(), String> {
        equal("how many accounts there are", self.state.accounts_count(), book.accounts.len())?;
        for account in self.state.accounts() {
            let id = account.id.0;
            let Some(expected) = book.accounts.get(&id) else {
                return Err(format!("account {id} should not be there"));
            };
            let found = rules::Account {
                debits_pending: account.balances.debits_pending.minor_units(),
                debits_posted: account.balances.debits_posted.minor_units(),
                credits_pending: account.balances.credits_pending.minor_units(),
                credits_posted: account.balances.credits_posted.minor_units(),
                overdraft_limit: account.overdraft_limit.minor_units(),
                user_data_128: account.user_data_128,
                user_data_64: account.user_data_64,
                user_data_32: account.user_data_32,
                ledger: account.ledger.0,
                code: account.code.0,
                flags: account.flags,
                timestamp: account.timestamp.0,
                version: account.version,
                metadata: account.metadata_digest,
                metadata_seq: account.metadata_seq.0,
            };
            equal(&format!("account {id}"), &found, expected)?;
        }
        equal("how many ledgers there are", self.state.ledgers().len(), book.ledgers.len())?;
        for ledger in self.state.ledgers() {
            let (id, totals) = (ledger.ledger.id, ledger.totals);
            compare_totals(&LedgerAfter { id, totals }, book)?;
        }
        equal("how many wait", self.state.pending_count(), book.open().count())?;
        for (id, expected) in book.open() {
            let found = self.state.pending(TransferId(*id));
            equal(&format!("pending transfer {id}"), found, Some(waiting(expected)))?;
        }
        let newest = book.transfers.values().map(|transfer| transfer.timestamp).max();
        equal("the newest transfer", self.state.newest_transfer().0, newest.unwrap_or(0))?;
        self.state.check_conservation()
    }
}

/// An open pending transfer as a snapshot has it.
fn waiting(transfer: &rules::Transfer) -> PendingTransfer {
    PendingTransfer {
        id: TransferId(transfer.asked.id),
        debit_account_id: AccountId(transfer.debit_account_id),
        credit_account_id: AccountId(transfer.credit_account_id),
        amount: Amount::try_new(transfer.amount).unwrap(),
        user_data_128: transfer.user_data_128,
        user_data_64: transfer.user_data_64,
        user_data_32: transfer.user_data_32,
        ledger: LedgerId(transfer.ledger),
        code: Code(transfer.code),
        flags: transfer.asked.flags,
        timestamp: Timestamp(transfer.timestamp),
        timeout: transfer.asked.timeout,
    }
}

fn compare_rehearsed(rehearsed: &Decision, decision: &Decision) -> Result<(), String> {
    equal("the rehearsed timestamp", rehearsed.timestamp, decision.timestamp)?;
    equal("what was rehearsed", &rehearsed.exceptions, &decision.exceptions)?;
    let events = |decision: &Decision| {
        decision.record.as_ref().map(|record| record.events.clone()).unwrap_or_default()
    };
    equal("what would happen", events(rehearsed), events(decision))?;
    if let (Some(rehearsed), Some(record)) = (&rehearsed.record, &decision.record) {
        equal("the accounts rehearsed", &rehearsed.accounts, &record.accounts)?;
        equal("the ledgers rehearsed", &rehearsed.ledgers, &record.ledgers)?;
    }
    Ok(())
}

/// Whether the key was used for the same, and where; `None` where it was not used before.
fn key_use(verdict: &Verdict) -> Option<(bool, u64)> {
    match verdict {
        Verdict::Decided(_) => None,
        Verdict::Replay { seq, .. } => Some((true, seq.0)),
        Verdict::KeyReused { seq } => Some((false, seq.0)),
    }
}

fn key_use_of_rules(verdict: &rules::Verdict) -> Option<(bool, u64)> {
    match verdict {
        rules::Verdict::Decided(_) => None,
        rules::Verdict::Replay(seq) => Some((true, *seq)),
        rules::Verdict::KeyReused(seq) => Some((false, *seq)),
    }
}

fn asked_at(decision: &Decision, index: u32) -> Option<&Asked> {
    decision.asked.iter().find_map(|(at, asked)| (*at == index).then_some(asked))
}

fn compare_event(
    event: &Event,
    record: &Record,
    happened: &Happened,
    book: &Book,
) -> Result<(), String> {
    let found = match event {
        Event::LedgerCreated(ledger) => {
            let expected = &book.ledgers[&ledger.id.0];
            let found = rules::Ledger {
                currency: ledger.currency.clone(),
                scale: ledger.scale.digits(),
                name: ledger.name.clone(),
                timestamp: ledger.timestamp.0,
            };
            if found != *expected {
                return Err(format!("ledger {} is another", ledger.id.0));
            }
            Happened::Ledger(ledger.id.0)
        }
        Event::AccountCreated(account) => {
            let expected = book.accounts.get(&account.id.0).map(|account| account.timestamp);
            equal("an account's timestamp", Some(account.timestamp.0), expected)?;
            Happened::Account(account.id.0)
        }
        Event::TransferPosted(posted) => {
            compare_transfer(&posted.transfer, book)?;
            Happened::Transfer(posted.transfer.id.0)
        }
        Event::TransactionCreated(transaction) => {
            let expected = book.transactions.get(&transaction.id.0);
            let expected = expected.map(|expected| (expected.legs.len(), expected.timestamp));
            let found = Some((transaction.transfers as usize, transaction.timestamp.0));
            equal("a transaction", found, expected)?;
            Happened::Transaction(transaction.id.0)
        }
        Event::OverdraftLimitChanged(changed) => {
            let Some(id) = record.accounts.get(changed.account as usize).map(|after| after.id.0)
            else {
                return Err("a limit of no account".to_owned());
            };
            let limit = book.accounts[&id].overdraft_limit;
            equal("the new limit", changed.overdraft_limit.minor_units(), limit)?;
            Happened::OverdraftLimit(id)
        }
        Event::MetadataReplaced(replaced) => {
            let Some(id) = record.accounts.get(replaced.account as usize).map(|after| after.id.0)
            else {
                return Err("metadata of no account".to_owned());
            };
            let metadata = florin_engine::metadata_digest(replaced.metadata.as_ref());
            equal("the new metadata", metadata, book.accounts[&id].metadata)?;
            Happened::Metadata(id)
        }
        Event::IdBurned(burned) => Happened::Burned {
            id: burned.id.0,
            rejection: burned.rejection,
            timestamp: burned.timestamp.0,
        },
        Event::TransferExpired(expired) => {
            let amount = book.transfers.get(&expired.id.0).map(|transfer| transfer.amount);
            equal("what was released", Some(expired.amount.minor_units()), amount)?;
            Happened::Expired { id: expired.id.0, timestamp: expired.timestamp.0 }
        }
    };
    equal("what happened", &found, happened)
}

fn compare_transfer(found: &Transfer, book: &Book) -> Result<(), String> {
    let id = found.id.0;
    let Some(expected) = book.transfers.get(&id) else {
        return Err(format!("transfer {id} should not have happened"));
    };
    let asked = &expected.asked;
    let numbers = [
        ("debit_account_id", found.debit_account_id.0, expected.debit_account_id),
        ("credit_account_id", found.credit_account_id.0, expected.credit_account_id),
        ("amount", found.amount.minor_units(), expected.amount),
        ("pending_id", found.pending_id.0, asked.pending_id),
        ("user_data_128", found.user_data_128, expected.user_data_128),
        ("user_data_64", found.user_data_64.into(), expected.user_data_64.into()),
        ("user_data_32", found.user_data_32.into(), expected.user_data_32.into()),
        ("timeout", found.timeout.into(), asked.timeout.into()),
        ("ledger", found.ledger.0.into(), expected.ledger.into()),
        ("code", found.code.0.into(), expected.code.into()),
        ("flags", found.flags.bits().into(), asked.flags.bits().into()),
        ("timestamp", found.timestamp.0.into(), expected.timestamp.into()),
    ];
    for (field, found, expected) in numbers {
        equal(&format!("transfer {id}: {field}"), found, expected)?;
    }
    equal("effective_at", found.effective_at.map(|at| at.0), asked.effective_at)?;
    let metadata = florin_engine::metadata_digest(found.metadata.as_ref());
    equal("the metadata", metadata, asked.metadata)?;
    equal("the transaction", found.transaction_id.map(|id| id.0), asked.leg_of)?;
    equal("expires_at", found.expires_at().map(|at| at.0), expected.expires_at())
}

fn compare_after(after: &AccountAfter, book: &Book) -> Result<(), String> {
    let expected = &book.accounts[&after.id.0];
    let found = rules::Account {
        debits_pending: after.balances.debits_pending.minor_units(),
        debits_posted: after.balances.debits_posted.minor_units(),
        credits_pending: after.balances.credits_pending.minor_units(),
        credits_posted: after.balances.credits_posted.minor_units(),
        overdraft_limit: after.overdraft_limit.minor_units(),
        ledger: after.ledger.0,
        flags: after.flags,
        version: after.version,
        ..expected.clone()
    };
    equal(&format!("account {} after the command", after.id.0), &found, expected)
}

fn compare_totals(after: &LedgerAfter, book: &Book) -> Result<(), String> {
    let expected = book.totals(after.id.0);
    let found = rules::Totals {
        accounts: after.totals.accounts,
        debits_posted: after.totals.posted,
        credits_posted: after.totals.posted,
        debits_pending: after.totals.pending,
        credits_pending: after.totals.pending,
    };
    equal(&format!("the totals of ledger {}", after.id.0), found, expected)
}

fn name(status: &Status) -> &'static str {
    match status {
        Status::Created => "created",
        Status::Exists(..) => "exists",
        Status::Refused(rejection) => rejection.code(),
    }
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, engine: T, rules: T) -> Result<(), String> {
    if engine == rules {
        return Ok(());
    }
    Err(format!("{what} differs\n  engine {engine:?}\n  rules  {rules:?}"))
}
