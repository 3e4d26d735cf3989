//! What callers send: random commands over few accounts, so that they meet.

use std::collections::HashMap;

use florin_engine::{
    AccountFlags, AccountId, Amount, AmountInput, Command, CommandKey, CreateAccount, CreateLedger,
    CreateTransaction, CreateTransfer, Decision, Event, ItemOutcome, Key, KeyRule, LedgerId,
    Metadata, OpenAccount, Rejection, ReplaceMetadata, ReverseTransfer, Scale, SetOverdraftLimit,
    TransferFlags, TransferId,
};
use florin_persistence::disk::simulated::Random;

use super::Violation;
use super::model::{Fact, Model, Movement};

/// All of a pending transfer.
const WHOLE: u64 = u64::MAX;

/// A command that was made up, to be sent any number of times.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) command: Command,
    pub(super) key: Option<CommandKey>,
    /// What it wants to move, by item where it is a batch of transfers.
    pub(super) movements: Vec<(TransferId, Movement)>,
    /// The accounts that it may create.
    pub(super) accounts: Vec<AccountId>,
    pub(super) is_of_transfers: bool,
    /// Where its key was used.
    pub(super) key_used: Option<u64>,
    first: Option<Vec<First>>,
}

/// What became of an item when it was first answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    /// It happened there, now or before.
    Decided(u64),
    /// Its id was used up.
    Burned,
    /// Nothing that binds.
    Open,
}

impl Sent {
    fn new(command: Command) -> Sent {
        Sent {
            command,
            key: None,
            movements: Vec::new(),
            accounts: Vec::new(),
            is_of_transfers: false,
            key_used: None,
            first: None,
        }
    }

    /// A retry must be answered with what became of the first use.
    pub(super) fn check_same_as_first(
        &mut self,
        seq: u64,
        decision: &Decision,
        ids: &HashMap<u128, Fact>,
    ) -> Result<(), Violation> {
        let record = decision.record.as_ref();
        if record.is_some_and(|record| record.key.is_some()) {
            if let Some(first) = self.key_used {
                return Err(Violation(format!("a key was used at {first} and again at {seq}")));
            }
            self.key_used = Some(seq);
        }
        let linked =
            |(_, movement): &(TransferId, Movement)| movement.flags.contains(TransferFlags::LINKED);
        // A retry of a chain names what happened, and refuses the rest.
        if !self.is_of_transfers || self.movements.iter().any(linked) {
            return Ok(());
        }
        let burned = |id: TransferId| {
            let events = record.into_iter().flat_map(|record| &record.events);
            events.into_iter().any(|event| matches!(event, Event::IdBurned(it) if it.id == id))
        };
        let outcomes: Vec<(First, Option<ItemOutcome>)> = self
            .movements
            .iter()
            .zip(0_u32..)
            .map(|((id, _), index)| {
                let excepted = decision.exceptions.iter().find(|(item, _)| *item == index);
                let first = match excepted.map(|(_, outcome)| outcome) {
                    None => First::Decided(seq),
                    Some(ItemOutcome::Exists { seq, .. }) => First::Decided(seq.0),
                    Some(ItemOutcome::Rejected(Rejection::IdAlreadyFailed)) => First::Burned,
                    Some(_) if burned(*id) => First::Burned,
                    Some(_) => First::Open,
                };
                (first, excepted.map(|(_, outcome)| *outcome))
            })
            .collect();
        if let Some(first) = &self.first {
            for (at, (first, (now, outcome))) in first.iter().zip(&outcomes).enumerate() {
                let is_new = outcome.is_none();
                if *first != First::Open && (now != first || is_new) {
                    let id = self.movements[at].0;
                    return Err(Violation(format!(
                        "item {at} of a retry, {id:?}, was {first:?} and is answered {outcome:?} at {seq}; known is {:?}",
                        ids.get(&id.0)
                    )));
                }
            }
        }
        let binding = |(first, _): &(First, Option<ItemOutcome>)| *first;
        self.first = Some(outcomes.iter().map(binding).collect());
        Ok(())
    }
}

/// Makes up commands.
#[derive(Debug)]
pub(super) struct Callers {
    next_id: u128,
    accounts: u64,
    /// The largest metadata, in bytes.
    text_bytes_max: u64,
    /// The most transfers of a batch.
    batch_max: u64,
}

impl Callers {
    pub(super) fn new(random: &mut Random) -> Callers {
        let accounts = [2, 5, 20, 60][random.below(4) as usize];
        let text_bytes_max = [0, 200, 3000][random.below(3) as usize];
        // Where batches are large there are soon more ids than memory keeps in one table.
        let (text_bytes_max, batch_max) =
            if random.one_in(8) { (0, 80) } else { (text_bytes_max, 8) };
        Callers { next_id: 0, accounts, text_bytes_max, batch_max }
    }

    fn account(&self, random: &mut Random) -> AccountId {
        AccountId(u128::from(random.below(self.accounts)) + 1)
    }

    fn fresh_id(&mut self, random: &mut Random, model: &Model) -> TransferId {
        // Now and then an id that was used before, for something else.
        if random.one_in(40)
            && let Some((transfer, _)) = random.of(&model.transfers)
        {
            return transfer.id;
        }
        self.next_id += 1;
        TransferId(self.next_id.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) >> 1)
    }

    fn metadata(&self, random: &mut Random) -> Option<Metadata> {
        if self.text_bytes_max == 0 || !random.one_in(3) {
            return None;
        }
        let text =
            format!("{{\"n\":\"{}\"}}", "x".repeat(random.below(self.text_bytes_max) as usize));
        Some(Metadata::new(text.as_str().into(), text.as_bytes()))
    }

    /// The next command that nobody sent before.
    pub(super) fn make(&mut self, random: &mut Random, model: &Model) -> Sent {
        let mut sent = match random.below(100) {
            0..40 => self.transfers(random, model, 1),
            40..55 => {
                let count = 2 + random.below(self.batch_max - 1);
                self.transfers(random, model, count)
            }
            55..65 => self.pending(random, model),
            65..77 => self.settle(random, model),
            77..83 => self.transaction(random, model),
            83..90 => self.create_accounts(random),
            90..92 => self.open_account(random),
            92..93 => create_ledger(random),
            93..96 => self.reverse(random, model),
            96..98 => self.set_limit(random),
            _ => self.replace_metadata(random),
        };
        if random.one_in(6) {
            let key = Key {
                hash: u128::from(random.any()) << 64 | u128::from(random.any()),
                fingerprint: random.any(),
            };
            let rule = if random.one_in(2) { KeyRule::Accepted } else { KeyRule::Always };
            sent.key = Some(CommandKey { key, rule });
        }
        sent
    }

    fn transfer(&mut self, random: &mut Random, model: &Model) -> CreateTransfer {
        let id = self.fresh_id(random, model);
        let (debit, credit) = (self.account(random), self.account(random));
        let amount = AmountInput::Minor(Amount::from_minor(random.below(1000)));
        let metadata = self.metadata(random);
        CreateTransfer { metadata, ..CreateTransfer::new(id, debit, credit, amount) }
    }

    fn transfers(&mut self, random: &mut Random, model: &Model, count: u64) -> Sent {
        let linked = count > 1 && random.one_in(3);
        let transfers: Vec<_> = (0..count)
            .map(|index| {
                let mut transfer = self.transfer(random, model);
                if random.one_in(12) {
                    transfer.flags = transfer.flags.with(TransferFlags::BALANCING_DEBIT);
                }
                if random.one_in(8) {
                    transfer.flags = transfer.flags.with(TransferFlags::PENDING);
                    transfer.timeout = random.below(5) as u32;
                }
                if linked && index + 1 < count && !random.one_in(4) {
                    transfer.flags = transfer.flags.with(TransferFlags::LINKED);
                }
                transfer
            })
            .collect();
        of_transfers(transfers)
    }

    fn pending(&mut self, random: &mut Random, model: &Model) -> Sent {
        let mut transfer = self.transfer(random, model);
        transfer.flags = transfer.flags.with(TransferFlags::PENDING);
        transfer.timeout = random.below(20) as u32;
        of_transfers(vec![transfer])
    }

    fn settle(&mut self, random: &mut Random, model: &Model) -> Sent {
        let id = self.fresh_id(random, model);
        // Mostly one of the newest, which may be open.
        let newest = model.transfers.len().saturating_sub(1 + random.below(60) as usize);
        let pending_id = model.transfers.get(newest).map_or(TransferId(7), |(it, _)| it.id);
        let post = random.one_in(2);
        let flags = if post {
            TransferFlags::POST_PENDING_TRANSFER
        } else {
            TransferFlags::VOID_PENDING_TRANSFER
        };
        let amount = match (post, random.one_in(3)) {
            (true, true) => Amount::from_minor(random.below(1000)),
            (true, false) => Amount::MAX,
            (false, _) => Amount::ZERO,
        };
        let transfer = CreateTransfer {
            flags,
            pending_id,
            code: florin_engine::Code(0),
            ..CreateTransfer::new(id, AccountId(0), AccountId(0), AmountInput::Minor(amount))
        };
        of_transfers(vec![transfer])
    }

    fn transaction(&mut self, random: &mut Random, model: &Model) -> Sent {
        let id = self.fresh_id(random, model);
        let count = 1 + random.below(4);
        let transfers: Vec<_> = (0..count as u32)
            .map(|index| CreateTransfer {
                id: TransferId::of_leg(id, index),
                ..self.transfer(random, model)
            })
            .collect();
        let movements = transfers.iter().map(movement).collect::<Vec<_>>();
        let metadata = self.metadata(random);
        let (external_id, conditions) = (None, Vec::new());
        let transaction = CreateTransaction { id, external_id, transfers, metadata, conditions };
        let mut sent = Sent::new(Command::CreateTransaction(transaction));
        sent.movements = movements;
        // The transaction's own id, which moves nothing.
        let nothing = Movement {
            debit: AccountId(0),
            credit: AccountId(0),
            amount: 0,
            flags: TransferFlags::empty(),
            pending_id: TransferId(0),
        };
        sent.movements.push((id, nothing));
        sent
    }

    fn create_accounts(&mut self, random: &mut Random) -> Sent {
        let count = 1 + random.below(3);
        let accounts: Vec<_> = (0..count)
            .map(|_| {
                let flags = match random.below(6) {
                    0 => AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS,
                    1 => AccountFlags::HISTORY,
                    _ => AccountFlags::empty(),
                };
                let metadata = self.metadata(random);
                CreateAccount { flags, metadata, ..CreateAccount::new(self.account(random)) }
            })
            .collect();
        let ids = accounts.iter().map(|account| account.id).collect();
        Sent { accounts: ids, ..Sent::new(Command::CreateAccounts(accounts)) }
    }

    fn open_account(&mut self, random: &mut Random) -> Sent {
        // Ids of their own, since opening has an id of its own.
        let id = AccountId(1000 + u128::from(random.below(30)));
        let balance = random.below(500);
        let (opening, ledger) = (TransferId::of_opening(id), LedgerId(1));
        let movement = Movement {
            debit: AccountId::of_opening(ledger),
            credit: id,
            amount: balance,
            flags: TransferFlags::empty(),
            pending_id: TransferId(0),
        };
        let balance = AmountInput::Minor(Amount::from_minor(balance));
        let account = CreateAccount {
            flags: AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS,
            ..CreateAccount::new(id)
        };
        Sent {
            movements: vec![(opening, movement)],
            accounts: vec![id, AccountId::of_opening(ledger)],
            ..Sent::new(Command::OpenAccount(OpenAccount { account, balance }))
        }
    }

    fn reverse(&mut self, random: &mut Random, model: &Model) -> Sent {
        let Some((original, _)) = random.of(&model.transfers).cloned() else {
            return self.create_accounts(random);
        };
        let id = self.fresh_id(random, model);
        let movement = Movement {
            debit: original.credit_account_id,
            credit: original.debit_account_id,
            amount: u64::try_from(original.amount.minor_units()).unwrap_or(WHOLE),
            flags: TransferFlags::empty(),
            pending_id: TransferId(0),
        };
        let reverse = ReverseTransfer {
            id,
            external_id: None,
            original,
            user_data_128: 0,
            user_data_64: 0,
            user_data_32: 0,
            effective_at: None,
            metadata: None,
            conditions: Vec::new(),
        };
        let command = Command::ReverseTransfer(Box::new(reverse));
        Sent { movements: vec![(id, movement)], ..Sent::new(command) }
    }

    fn set_limit(&mut self, random: &mut Random) -> Sent {
        let overdraft_limit = AmountInput::Minor(Amount::from_minor(random.below(5000)));
        let account_id = self.account(random);
        Sent::new(Command::SetOverdraftLimit(SetOverdraftLimit { account_id, overdraft_limit }))
    }

    fn replace_metadata(&mut self, random: &mut Random) -> Sent {
        let (account_id, metadata) = (self.account(random), self.metadata(random));
        Sent::new(Command::ReplaceMetadata(ReplaceMetadata { account_id, metadata }))
    }
}

fn create_ledger(random: &mut Random) -> Sent {
    let scale = Scale::try_new(random.below(6) as u8).expect("fewer than 28 digits");
    Sent::new(Command::CreateLedger(CreateLedger {
        id: LedgerId(2 + random.below(3) as u32),
        currency: "EUR".to_owned(),
        scale,
        name: "another".to_owned(),
    }))
}

fn of_transfers(transfers: Vec<CreateTransfer>) -> Sent {
    let movements = transfers.iter().map(movement).collect();
    let command = Command::CreateTransfers(transfers);
    Sent { movements, is_of_transfers: true, ..Sent::new(command) }
}

fn movement(asked: &CreateTransfer) -> (TransferId, Movement) {
    let amount = match asked.amount {
        AmountInput::Minor(amount) if asked.flags.settlement().is_none() || !amount.is_zero() => {
            u64::try_from(amount.minor_units()).unwrap_or(WHOLE)
        }
        AmountInput::Minor(_) if asked.flags.contains(TransferFlags::POST_PENDING_TRANSFER) => 0,
        AmountInput::Minor(_) | AmountInput::Major(_) => WHOLE,
    };
    let movement = Movement {
        debit: asked.debit_account_id,
        credit: asked.credit_account_id,
        amount,
        flags: asked.flags,
        pending_id: asked.pending_id,
    };
    (asked.id, movement)
}
