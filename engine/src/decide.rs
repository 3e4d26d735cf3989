//! Deciding: what becomes of a command, event by event, in the documented order of precedence.
//!
//! A batch is decided in order, each event on the state that the one before left. The events of a linked chain, and the legs
//! of a transaction, are applied as they are decided and undone together when one of them is refused.

use crate::account::{Account, AccountFlags};
use crate::accounts::Slot;
use crate::amount::{Amount, AmountInput, AmountTextError, Scale, SignedAmount};
use crate::command::{
    Command, CreateAccount, CreateLedger, CreateTransaction, CreateTransfer, OpenAccount,
};
use crate::decided::{Decided, DecidedBefore, DecidedKind};
use crate::ids::{AccountId, LedgerId, Timestamp, TransferId};
use crate::ledger::Ledger;
use crate::record::{
    AccountCreated, CommandKey, Decision, Event, IdBurned, ItemOutcome, KeyRule, KeyUse, Record,
    TransferPosted, Verdict,
};
use crate::rejection::{Field, Rejection};
use crate::state::State;
use crate::transfer::{
    Asked, Asking, Metadata, Transaction, TransferFlags, metadata_digest, transaction_digest,
};

/// An amount of a command that its ledger can not hold: the command is refused as a whole, before anything is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {field} of event {index} {reason}")]
pub struct Unreadable {
    /// Which event of the command.
    pub index: u32,
    /// Which field.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: AmountTextError,
}

/// The index that stands for a transaction as a whole, rather than for one of its legs.
pub const WHOLE_TRANSACTION: u32 = u32::MAX;

/// A command being decided: what happened so far.
struct Deciding {
    timestamp: Timestamp,
    events: Vec<Event>,
    exceptions: Vec<(u32, ItemOutcome)>,
    asked: Vec<(u32, Asked)>,
    /// The chain that is open, if one is.
    chain: Option<Chain>,
    /// Whether a transaction was refused because of one of its legs, even if only because the leg had happened before.
    leg_refused: bool,
}

/// Where an item of a batch stands in it, and which id a passing refusal of it uses up.
struct Item {
    index: u32,
    last: bool,
    linked: bool,
    burns: Option<TransferId>,
}

/// What was there when a chain began, to go back to.
#[derive(Clone, Copy)]
struct Chain {
    start: u32,
    events: usize,
    touched: usize,
    broken: bool,
}

impl State {
    /// Decides a command and applies what it decided. `now` is the wall clock: timestamps follow it, but never fall back.
    ///
    /// # Errors
    /// An amount has more digits than its ledger: nothing was decided, and nothing changed.
    pub fn decide(
        &mut self,
        command: Command,
        key: Option<CommandKey>,
        now: Timestamp,
        before: &mut dyn DecidedBefore,
    ) -> Result<Verdict, Unreadable> {
        if let Some(CommandKey { key, .. }) = key
            && let Some(used) = self.keys.get(key.hash).or_else(|| before.key(key.hash))
        {
            return Ok(if used.digest == key.fingerprint {
                Verdict::Replay { seq: used.seq, command: Box::new(command) }
            } else {
                Verdict::KeyReused { seq: used.seq }
            });
        }
        let amounts = self.read_amounts(&command)?;
        let asked =
            u32::try_from(command.events()).expect("a command has a bounded count of events");
        let mut deciding = Deciding {
            timestamp: now.max(self.timestamp.plus(1)),
            events: Vec::with_capacity(asked as usize),
            exceptions: Vec::new(),
            asked: Vec::new(),
            chain: None,
            leg_refused: false,
        };
        self.begin(self.seq.next());
        let items = match command {
            Command::CreateLedger(ledger) => self.decide_ledger(&mut deciding, ledger),
            Command::CreateAccounts(accounts) => {
                self.decide_accounts(&mut deciding, accounts, &amounts)
            }
            Command::CreateTransfers(transfers) => {
                self.decide_transfers(&mut deciding, &transfers, &amounts, before)
            }
            Command::CreateTransaction(transaction) => {
                self.decide_transaction(&mut deciding, transaction, &amounts, before)
            }
            Command::OpenAccount(open) => {
                self.decide_open_account(&mut deciding, open, &amounts, before)
            }
        };
        Ok(Verdict::Decided(self.conclude(deciding, items, asked, key)))
    }

    fn conclude(
        &mut self,
        deciding: Deciding,
        items: u32,
        asked: u32,
        key: Option<CommandKey>,
    ) -> Decision {
        let Deciding { timestamp, events, exceptions, asked: differing, .. } = deciding;
        let refused =
            exceptions.iter().any(|(_, outcome)| !matches!(outcome, ItemOutcome::Exists { .. }));
        let key = key.filter(|key| !refused || key.rule == KeyRule::Always);
        let record = (!events.is_empty() || key.is_some()).then(|| {
            let seq = self.seq.next();
            if let Some(CommandKey { key, .. }) = key {
                let digest = key.fingerprint;
                let decided = Decided { seq, digest, timestamp, kind: DecidedKind::Key };
                self.keys.insert(key.hash, decided);
            }
            let (accounts, ledgers) = self.finish(timestamp, asked);
            let key =
                key.map(|CommandKey { key, .. }| KeyUse { key, exceptions: exceptions.clone() });
            Record { timestamp, asked, events, accounts, ledgers, key }
        });
        Decision { timestamp, items, exceptions, asked: differing, record }
    }

    // --- reading amounts -----------------------------------------------------------------------------------------------

    /// The amounts of a command in minor units, in the order of its items. Where no ledger is known the item will be refused
    /// before its amount matters, and zero stands in.
    fn read_amounts(&self, command: &Command) -> Result<Vec<Amount>, Unreadable> {
        let transfer = |(index, asked): (usize, &CreateTransfer)| {
            read_amount(asked.amount, index, "amount", || self.scale(self.ledger_of(asked)?))
        };
        let account = |index: usize, asked: &CreateAccount| {
            let scale = || self.scale(asked.ledger);
            read_amount(asked.overdraft_limit, index, "overdraft_limit", scale)
        };
        match command {
            Command::CreateLedger(_) => Ok(Vec::new()),
            Command::CreateAccounts(accounts) => {
                accounts.iter().enumerate().map(|(index, asked)| account(index, asked)).collect()
            }
            Command::CreateTransfers(transfers) => {
                transfers.iter().enumerate().map(transfer).collect()
            }
            Command::CreateTransaction(transaction) => {
                transaction.transfers.iter().enumerate().map(transfer).collect()
            }
            Command::OpenAccount(open) => Ok(vec![
                account(0, &open.account)?,
                read_amount(open.balance, 0, "balance", || self.scale(open.account.ledger))?,
            ]),
        }
    }

    /// The ledger of a transfer: the one named, else that of the debit account.
    fn ledger_of(&self, asked: &CreateTransfer) -> Option<LedgerId> {
        asked.ledger.or_else(|| self.account(asked.debit_account_id).map(|debit| debit.ledger))
    }

    // --- ledgers -------------------------------------------------------------------------------------------------------

    fn decide_ledger(&mut self, deciding: &mut Deciding, asked: CreateLedger) -> u32 {
        match self.rule_ledger(&asked) {
            Ok(()) => {
                let CreateLedger { id, currency, scale, name } = asked;
                let ledger = Ledger { id, currency, scale, name, timestamp: deciding.timestamp };
                self.apply_ledger_created(ledger.clone());
                deciding.events.push(Event::LedgerCreated(ledger));
            }
            Err(outcome) => deciding.exceptions.push((0, outcome)),
        }
        1
    }

    fn rule_ledger(&self, asked: &CreateLedger) -> Result<(), ItemOutcome> {
        if asked.id.0 == 0 {
            return rejected(Rejection::IdMustNotBeZero);
        }
        let Some(existing) = self.ledger(asked.id).map(|state| &state.ledger) else {
            return Ok(());
        };
        if existing.currency != asked.currency {
            return rejected(Rejection::ExistsWithDifferentCurrency);
        }
        if existing.scale != asked.scale {
            return rejected(Rejection::ExistsWithDifferentScale);
        }
        if existing.name != asked.name {
            return rejected(Rejection::ExistsWithDifferentName);
        }
        Err(ItemOutcome::Exists { seq: self.seq, timestamp: existing.timestamp })
    }

    // --- accounts ------------------------------------------------------------------------------------------------------

    fn decide_accounts(
        &mut self,
        deciding: &mut Deciding,
        accounts: Vec<CreateAccount>,
        limits: &[Amount],
    ) -> u32 {
        let items = accounts.len() as u32;
        for (index, (asked, limit)) in accounts.into_iter().zip(limits).enumerate() {
            let index = index as u32;
            let item = Item {
                index,
                last: index == items - 1,
                linked: asked.flags.contains(AccountFlags::LINKED),
                burns: None,
            };
            self.chain_item(deciding, item, |state, deciding| {
                state.rule_account(&asked, *limit)?;
                let timestamp = deciding.timestamp.plus(u64::from(index));
                state.create_account(deciding, asked, *limit, timestamp);
                Ok(())
            });
        }
        items
    }

    fn create_account(
        &mut self,
        deciding: &mut Deciding,
        asked: CreateAccount,
        overdraft_limit: Amount,
        timestamp: Timestamp,
    ) {
        let created = AccountCreated {
            id: asked.id,
            ledger: asked.ledger,
            code: asked.code,
            flags: asked.flags,
            overdraft_limit,
            user_data_128: asked.user_data_128,
            user_data_64: asked.user_data_64,
            user_data_32: asked.user_data_32,
            timestamp,
            metadata: asked.metadata,
        };
        self.apply_account_created(&created);
        deciding.events.push(Event::AccountCreated(created));
    }

    fn rule_account(&self, asked: &CreateAccount, limit: Amount) -> Result<(), ItemOutcome> {
        if asked.id.0 == 0 {
            return rejected(Rejection::IdMustNotBeZero);
        }
        if asked.id.0 == u128::MAX {
            return rejected(Rejection::IdMustNotBeIntMax);
        }
        if let Some(existing) = self.account(asked.id) {
            return Err(self.account_exists(existing, asked, limit));
        }
        let both = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS
            .with(AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS);
        if asked.flags.contains(both) {
            return rejected(Rejection::FlagsAreMutuallyExclusive);
        }
        if asked.ledger.0 == 0 {
            return rejected(Rejection::LedgerMustNotBeZero);
        }
        if self.ledger(asked.ledger).is_none() {
            return rejected(Rejection::LedgerNotFound { ledger: asked.ledger });
        }
        if asked.code.0 == 0 {
            return rejected(Rejection::CodeMustNotBeZero);
        }
        if !limit.is_zero() && asked.flags.without(both) == asked.flags {
            return rejected(Rejection::OverdraftLimitMustBeZero);
        }
        Ok(())
    }

    fn account_exists(
        &self,
        existing: &Account,
        asked: &CreateAccount,
        limit: Amount,
    ) -> ItemOutcome {
        let differs = if existing.flags != asked.flags {
            Field::Flags
        } else if existing.user_data_128 != asked.user_data_128 {
            Field::UserData128
        } else if existing.user_data_64 != asked.user_data_64 {
            Field::UserData64
        } else if existing.user_data_32 != asked.user_data_32 {
            Field::UserData32
        } else if existing.ledger != asked.ledger {
            Field::Ledger
        } else if existing.code != asked.code {
            Field::Code
        } else if existing.overdraft_limit != limit {
            Field::OverdraftLimit
        } else if existing.metadata_digest != metadata_digest(asked.metadata.as_ref()) {
            Field::Metadata
        } else {
            return ItemOutcome::Exists { seq: self.seq, timestamp: existing.timestamp };
        };
        ItemOutcome::Rejected(Rejection::exists_with_different(differs))
    }

    // --- transfers -----------------------------------------------------------------------------------------------------

    fn decide_transfers(
        &mut self,
        deciding: &mut Deciding,
        transfers: &[CreateTransfer],
        amounts: &[Amount],
        before: &mut dyn DecidedBefore,
    ) -> u32 {
        let items = transfers.len() as u32;
        for ((transfer, amount), index) in transfers.iter().zip(amounts).zip(0_u32..) {
            let item = Item {
                index,
                last: index == items - 1,
                linked: transfer.flags.contains(TransferFlags::LINKED),
                burns: Some(transfer.id),
            };
            self.chain_item(deciding, item, |state, deciding| {
                let timestamp = deciding.timestamp.plus(u64::from(index));
                let asking = state.asking(transfer, *amount, None);
                state.create_transfer(deciding, index, asking, timestamp, before)
            });
        }
        items
    }

    fn asking<'a>(
        &self,
        item: &'a CreateTransfer,
        amount: Amount,
        transaction_id: Option<TransferId>,
    ) -> Asking<'a> {
        let ledger = self.ledger_of(item).unwrap_or_default();
        Asking { item, amount, ledger, transaction_id }
    }

    fn create_transfer(
        &mut self,
        deciding: &mut Deciding,
        index: u32,
        asking: Asking<'_>,
        timestamp: Timestamp,
        before: &mut dyn DecidedBefore,
    ) -> Result<(), ItemOutcome> {
        let id = asking.item.id;
        let digest = asking.content_digest();
        if let Err(outcome) = self.rule_id(id, digest, DecidedKind::Transfer, before) {
            return Err(self.note_difference(deciding, index, asking, outcome));
        }
        let (debit, credit) = self.rule_transfer(&asking).map_err(ItemOutcome::Rejected)?;
        let (debit_account, credit_account) = self
            .apply_posted(debit, credit, asking.amount)
            .expect("the decision excluded an overflow");
        let seq = self.seq.next();
        let kind = DecidedKind::Transfer;
        self.ids.insert(id.0, Decided { seq, digest, timestamp, kind });
        deciding.events.push(Event::TransferPosted(TransferPosted {
            transfer: asking.decided(timestamp),
            debit_account,
            credit_account,
        }));
        Ok(())
    }

    /// Keeps what was asked for where its id has other content, so that the field can be found; within one command it is found at
    /// once, since what it differs from may yet be undone with its chain.
    fn note_difference(
        &self,
        deciding: &mut Deciding,
        index: u32,
        asking: Asking<'_>,
        outcome: ItemOutcome,
    ) -> ItemOutcome {
        let ItemOutcome::Differs { seq } = outcome else { return outcome };
        if seq == self.seq.next() {
            let first = deciding.events.iter().find_map(|event| match event {
                Event::TransferPosted(TransferPosted { transfer, .. })
                    if transfer.id == asking.item.id =>
                {
                    Some(transfer)
                }
                _ => None,
            });
            let field = first.and_then(|first| asking.first_difference(first));
            let field =
                field.expect("an id decided in this command is among its events, and differs");
            return ItemOutcome::Rejected(Rejection::exists_with_different(field));
        }
        deciding.asked.push((index, asking.to_asked()));
        outcome
    }

    /// The rule of ids: decided once, for ever.
    fn rule_id(
        &self,
        id: TransferId,
        digest: u64,
        kind: DecidedKind,
        before: &mut dyn DecidedBefore,
    ) -> Result<(), ItemOutcome> {
        if id.0 == 0 {
            return rejected(Rejection::IdMustNotBeZero);
        }
        if id.0 == u128::MAX {
            return rejected(Rejection::IdMustNotBeIntMax);
        }
        let Some(decided) = self.ids.get(id.0).or_else(|| before.transfer(id)) else {
            return Ok(());
        };
        let seq = decided.seq;
        if decided.kind == DecidedKind::Burned {
            rejected(Rejection::IdAlreadyFailed)
        } else if decided.kind != kind {
            rejected(Rejection::ExistsWithDifferentKind)
        } else if decided.digest != digest {
            Err(ItemOutcome::Differs { seq })
        } else {
            Err(ItemOutcome::Exists { seq, timestamp: decided.timestamp })
        }
    }

    /// The rules of a single-phase transfer, after those of its id, in the reference's order of precedence.
    fn rule_transfer(&self, asking: &Asking<'_>) -> Result<(Slot, Slot), Rejection> {
        let item = asking.item;
        check(item.debit_account_id.0 != 0, Rejection::DebitAccountIdMustNotBeZero)?;
        check(item.debit_account_id.0 != u128::MAX, Rejection::DebitAccountIdMustNotBeIntMax)?;
        check(item.credit_account_id.0 != 0, Rejection::CreditAccountIdMustNotBeZero)?;
        check(item.credit_account_id.0 != u128::MAX, Rejection::CreditAccountIdMustNotBeIntMax)?;
        check(item.debit_account_id != item.credit_account_id, Rejection::AccountsMustBeDifferent)?;
        check(item.pending_id.0 == 0, Rejection::PendingIdMustBeZero)?;
        check(item.timeout == 0, Rejection::TimeoutReservedForPendingTransfer)?;
        if let Some(ledger) = item.ledger {
            check(ledger.0 != 0, Rejection::LedgerMustNotBeZero)?;
            check(self.ledger(ledger).is_some(), Rejection::LedgerNotFound { ledger })?;
        }
        check(item.code.0 != 0, Rejection::CodeMustNotBeZero)?;
        let find = |id, otherwise| self.accounts.find(id).ok_or(otherwise);
        let debit = find(item.debit_account_id, Rejection::DebitAccountNotFound)?;
        let credit = find(item.credit_account_id, Rejection::CreditAccountNotFound)?;
        let giver = &self.accounts.at(debit).account;
        let taker = &self.accounts.at(credit).account;
        check(giver.ledger == taker.ledger, Rejection::AccountsMustHaveTheSameLedger)?;
        check(asking.ledger == giver.ledger, Rejection::TransferMustHaveTheSameLedgerAsAccounts)?;
        let open = |account: &Account| !account.flags.contains(AccountFlags::CLOSED);
        check(open(giver), Rejection::DebitAccountAlreadyClosed)?;
        check(open(taker), Rejection::CreditAccountAlreadyClosed)?;
        rule_overflow(giver, taker, asking.amount)?;
        rule_limits(giver, taker, asking.amount)?;
        Ok((debit, credit))
    }

    // --- transactions --------------------------------------------------------------------------------------------------

    /// A transaction is a chain of its own: its event, then its legs, all or none.
    fn decide_transaction(
        &mut self,
        deciding: &mut Deciding,
        asked: CreateTransaction,
        amounts: &[Amount],
        before: &mut dyn DecidedBefore,
    ) -> u32 {
        let CreateTransaction { id, transfers, metadata } = asked;
        let items = transfers.len() as u32;
        let legs: Vec<Asking<'_>> = transfers
            .iter()
            .zip(amounts)
            .map(|(leg, amount)| self.asking(leg, *amount, Some(id)))
            .collect();
        let contents = legs.iter().map(|leg| (leg.item.id, leg.content_digest()));
        let digest = transaction_digest(metadata.as_ref(), contents);
        if let Err(outcome) = self.rule_id(id, digest, DecidedKind::Transaction, before) {
            if let ItemOutcome::Differs { .. } = outcome {
                // Only its metadata is asked for here: any other difference is one of its legs.
                deciding.asked.push((WHOLE_TRANSACTION, without_legs(id, metadata)));
            }
            deciding.exceptions.push((WHOLE_TRANSACTION, outcome));
            return items;
        }
        self.create_transaction(deciding, id, &legs, digest, metadata, before);
        items
    }

    fn create_transaction(
        &mut self,
        deciding: &mut Deciding,
        id: TransferId,
        legs: &[Asking<'_>],
        digest: u64,
        metadata: Option<Metadata>,
        before: &mut dyn DecidedBefore,
    ) {
        let chain = self.open_chain(deciding, 0);
        let (transfers, begin) = (legs.len() as u32, deciding.timestamp);
        let transaction = Transaction { id, transfers, timestamp: begin, metadata };
        deciding.events.push(Event::TransactionCreated(transaction));
        // Taken before the legs, so that a leg can not have the transaction's own id.
        let seq = self.seq.next();
        let kind = DecidedKind::Transaction;
        self.ids.insert(id.0, Decided { seq, digest, timestamp: begin, kind });
        for (leg, index) in legs.iter().zip(0_u32..) {
            let timestamp = begin.plus(u64::from(index) + 1);
            let created = self.create_transfer(deciding, index, *leg, timestamp, before);
            let Err(outcome) = created else { continue };
            self.roll_back(deciding, chain);
            deciding.exceptions.push((index, outcome));
            deciding.leg_refused = true;
            if let ItemOutcome::Rejected(rejection) = outcome
                && rejection.is_transient()
            {
                self.burn(deciding, id, rejection, begin);
                self.burn(deciding, leg.item.id, rejection, timestamp);
            }
            return;
        }
    }

    // --- opening an account with a balance -------------------------------------------------------------------------------

    fn decide_open_account(
        &mut self,
        deciding: &mut Deciding,
        asked: OpenAccount,
        amounts: &[Amount],
        before: &mut dyn DecidedBefore,
    ) -> u32 {
        let (limit, balance) = (amounts[0], amounts[1]);
        let id = asked.account.id;
        let chain = self.open_chain(deciding, 0);
        let outcome = match self.rule_account(&asked.account, limit) {
            Ok(()) => self.open_account(deciding, asked.account, limit, balance, before),
            Err(ItemOutcome::Exists { seq, timestamp }) => self
                .same_opening(id, balance, before)
                .and(Err(ItemOutcome::Exists { seq, timestamp })),
            Err(refused) => Err(refused),
        };
        if let Err(outcome) = outcome {
            self.roll_back(deciding, chain);
            deciding.exceptions.push((0, outcome));
        }
        1
    }

    fn open_account(
        &mut self,
        deciding: &mut Deciding,
        account: CreateAccount,
        limit: Amount,
        balance: Amount,
        before: &mut dyn DecidedBefore,
    ) -> Result<(), ItemOutcome> {
        let (id, ledger, timestamp) = (account.id, account.ledger, deciding.timestamp);
        let opening = AccountId::of_opening(ledger);
        if !balance.is_zero() && self.accounts.find(opening).is_none() {
            let account = CreateAccount { ledger, ..CreateAccount::new(opening) };
            self.create_account(deciding, account, Amount::ZERO, timestamp);
        }
        self.create_account(deciding, account, limit, timestamp.plus(1));
        if balance.is_zero() {
            return Ok(());
        }
        let item = opening_transfer(id, ledger, balance);
        let asking = Asking { item: &item, amount: balance, ledger, transaction_id: None };
        self.create_transfer(deciding, 0, asking, timestamp.plus(2), before)
    }

    /// Whether an account that exists was opened with this balance.
    fn same_opening(
        &self,
        id: AccountId,
        balance: Amount,
        before: &mut dyn DecidedBefore,
    ) -> Result<(), ItemOutcome> {
        let transfer = TransferId::of_opening(id);
        let opened = self.ids.get(transfer.0).or_else(|| before.transfer(transfer));
        let same = match (opened, self.account(id)) {
            (Some(decided), Some(account)) => {
                let ledger = account.ledger;
                let item = opening_transfer(id, ledger, balance);
                let asking = Asking { item: &item, amount: balance, ledger, transaction_id: None };
                decided.digest == asking.content_digest()
            }
            _ => balance.is_zero(),
        };
        if same { Ok(()) } else { rejected(Rejection::ExistsWithDifferentBalance) }
    }

    // --- chains --------------------------------------------------------------------------------------------------------

    /// Decides one item of a batch, opening, breaking and closing the linked chain that it is part of.
    fn chain_item(
        &mut self,
        deciding: &mut Deciding,
        item: Item,
        decide: impl FnOnce(&mut State, &mut Deciding) -> Result<(), ItemOutcome>,
    ) {
        let Item { index, last, linked, burns } = item;
        if linked && deciding.chain.is_none() {
            deciding.chain = Some(self.open_chain(deciding, index));
        }
        let chain_never_ends = linked && last;
        let outcome = match deciding.chain {
            _ if chain_never_ends => rejected(Rejection::LinkedEventChainOpen),
            Some(Chain { broken: true, .. }) => rejected(Rejection::LinkedEventFailed),
            _ => decide(self, deciding),
        };
        if let Err(outcome) = outcome {
            self.refuse(deciding, index, outcome);
            if let (Some(id), ItemOutcome::Rejected(rejection)) = (burns, outcome)
                && rejection.is_transient()
            {
                let timestamp = deciding.timestamp.plus(u64::from(index));
                self.burn(deciding, id, rejection, timestamp);
            }
        }
        if !linked || chain_never_ends {
            deciding.chain = None;
        }
    }

    /// Notes that an item is refused; if it is in a chain, so are the items before it, and what they did is undone.
    fn refuse(&mut self, deciding: &mut Deciding, index: u32, outcome: ItemOutcome) {
        if let Some(chain) = deciding.chain.filter(|chain| !chain.broken) {
            self.roll_back(deciding, chain);
            let failed = ItemOutcome::Rejected(Rejection::LinkedEventFailed);
            deciding.exceptions.extend((chain.start..index).map(|index| (index, failed)));
            deciding.chain = Some(Chain { broken: true, ..chain });
        }
        deciding.exceptions.push((index, outcome));
    }

    fn open_chain(&self, deciding: &Deciding, start: u32) -> Chain {
        Chain { start, events: deciding.events.len(), touched: self.touched.len(), broken: false }
    }

    fn roll_back(&mut self, deciding: &mut Deciding, chain: Chain) {
        for event in deciding.events.drain(chain.events..).rev() {
            match event {
                Event::TransferPosted(posted) => {
                    self.undo_posted(&posted);
                    self.ids.remove(posted.transfer.id.0);
                }
                Event::TransactionCreated(transaction) => self.ids.remove(transaction.id.0),
                Event::AccountCreated(_) => self.undo_account_created(),
                Event::LedgerCreated(_) | Event::IdBurned(_) => {
                    unreachable!("a chain has neither ledgers nor burned ids")
                }
            }
        }
        self.touched.truncate(chain.touched);
    }

    /// Uses up an id, so that no retry of what was refused for a passing reason ever flips its outcome.
    fn burn(
        &mut self,
        deciding: &mut Deciding,
        id: TransferId,
        rejection: Rejection,
        timestamp: Timestamp,
    ) {
        let seq = self.seq.next();
        let kind = DecidedKind::Burned;
        self.ids.insert(id.0, Decided { seq, digest: 0, timestamp, kind });
        let rejection = rejection.number();
        deciding.events.push(Event::IdBurned(IdBurned { id, rejection, timestamp }));
    }
}

fn read_amount(
    input: AmountInput,
    index: usize,
    field: &'static str,
    scale: impl FnOnce() -> Option<Scale>,
) -> Result<Amount, Unreadable> {
    if let AmountInput::Minor(amount) = input {
        return Ok(amount);
    }
    let Some(scale) = scale() else { return Ok(Amount::ZERO) };
    input.resolve(scale).map_err(|reason| Unreadable { index: index as u32, field, reason })
}

fn check(holds: bool, otherwise: Rejection) -> Result<(), Rejection> {
    if holds { Ok(()) } else { Err(otherwise) }
}

fn rejected<T>(rejection: Rejection) -> Result<T, ItemOutcome> {
    Err(ItemOutcome::Rejected(rejection))
}

/// No balance, nor pending and posted of a side together, passes the largest amount.
fn rule_overflow(giver: &Account, taker: &Account, amount: Amount) -> Result<(), Rejection> {
    let fits = |balance: Amount| balance.checked_add(amount).is_some();
    let together = |pending: Amount, posted: Amount| pending.checked_add(posted).is_some_and(fits);
    let (debits, credits) = (&giver.balances, &taker.balances);
    check(fits(debits.debits_posted), Rejection::OverflowsDebitsPosted)?;
    check(fits(credits.credits_posted), Rejection::OverflowsCreditsPosted)?;
    check(together(debits.debits_pending, debits.debits_posted), Rejection::OverflowsDebits)?;
    check(together(credits.credits_pending, credits.credits_posted), Rejection::OverflowsCredits)
}

/// The limited side of each account has enough available.
fn rule_limits(giver: &Account, taker: &Account, amount: Amount) -> Result<(), Rejection> {
    let requested = SignedAmount::new(amount.minor_units() as i128);
    let available = |account: &Account, flag: AccountFlags| {
        account
            .flags
            .contains(flag)
            .then(|| account.balances.available(account.flags, account.overdraft_limit))
    };
    let ledger = giver.ledger;
    if let Some(available) = available(giver, AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS) {
        check(requested <= available, Rejection::ExceedsCredits { available, requested, ledger })?;
    }
    if let Some(available) = available(taker, AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS) {
        check(requested <= available, Rejection::ExceedsDebits { available, requested, ledger })?;
    }
    Ok(())
}

/// The transfer that gives an account its opening balance.
fn opening_transfer(account: AccountId, ledger: LedgerId, balance: Amount) -> CreateTransfer {
    let (id, from) = (TransferId::of_opening(account), AccountId::of_opening(ledger));
    CreateTransfer {
        ledger: Some(ledger),
        ..CreateTransfer::new(id, from, account, AmountInput::Minor(balance))
    }
}

/// A transaction's own content, as that of a transfer of nothing.
fn without_legs(id: TransferId, metadata: Option<Metadata>) -> Asked {
    let item = CreateTransfer {
        metadata,
        ..CreateTransfer::new(id, AccountId(0), AccountId(0), AmountInput::ZERO)
    };
    Asked { item, amount: Amount::ZERO, ledger: LedgerId(0), transaction_id: None }
}
