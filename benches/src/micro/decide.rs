//! Deciding, which applies what it decides, and applying alone: the engine in memory, with nothing journaled.

use florin_engine::{
    AccountId, Amount, AmountInput, Code, Command, CreateTransfer, Decision, JournalSeq, State,
    TransferFlags, TransferId,
};

use super::bank::{BATCH, Bank, HOT, POOR};
use super::{Case, Named, fed};

/// Commands in one step.
const COMMANDS: u64 = 1_000;
const CHAIN: u64 = 4;
const GROUP: &str = "deciding in memory, nothing journaled";

pub(super) const CASES: [Named; 12] = [
    Named::new(GROUP, "a transfer alone", COMMANDS, || each(Kind::Single)),
    Named::new(GROUP, "a pending transfer", COMMANDS, || each(Kind::Pending)),
    Named::new(GROUP, "a post", COMMANDS, || each(Kind::Post)),
    Named::new(GROUP, "a void", COMMANDS, || each(Kind::Void)),
    Named::new(GROUP, "a chain of four, a transfer of it", COMMANDS * CHAIN, || each(Kind::Chain)),
    Named::new(GROUP, "a balancing transfer", COMMANDS, || each(Kind::Balancing)),
    Named::new(GROUP, "a refusal that uses up its id: no money", COMMANDS, || each(Kind::NoMoney)),
    Named::new(GROUP, "a refusal without a trace: one account", COMMANDS, || {
        each(Kind::OneAccount)
    }),
    Named::new(GROUP, "a retry of what happened", COMMANDS, || each(Kind::Retry)),
    Named::new(GROUP, "a transfer of a batch of 8,190", BATCH, || batch(Spread::Uniform)),
    Named::new(GROUP, "a transfer of such a batch to one hot account", BATCH, || {
        batch(Spread::Hot)
    }),
    Named::new(GROUP, "a transfer of such a batch replayed: applied and compared", BATCH, replay),
];

/// What each command of a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Single,
    Pending,
    Post,
    Void,
    Chain,
    Balancing,
    NoMoney,
    OneAccount,
    Retry,
}

struct Deciding {
    bank: Bank,
    kind: Kind,
    /// Pending transfers that the last step left open.
    open: Vec<TransferId>,
}

impl Deciding {
    fn settle(&mut self, pending_id: TransferId, flags: TransferFlags) -> CreateTransfer {
        let amount = match flags {
            TransferFlags::POST_PENDING_TRANSFER => Amount::MAX,
            _ => Amount::ZERO,
        };
        let (id, amount) = (self.bank.fresh_id(), AmountInput::Minor(amount));
        let nobody = AccountId(0);
        let settling = CreateTransfer::new(id, nobody, nobody, amount);
        CreateTransfer { flags, pending_id, code: Code(0), ..settling }
    }

    fn pending(&mut self) -> CreateTransfer {
        CreateTransfer { flags: TransferFlags::PENDING, ..self.bank.transfer() }
    }

    /// Pending transfers that are open already.
    fn opened(&mut self) -> Vec<TransferId> {
        let pending: Vec<_> = (0..COMMANDS).map(|_| self.pending()).collect();
        let ids = pending.iter().map(|transfer| transfer.id).collect();
        self.bank.recorded(pending);
        ids
    }

    /// The transfers of each command of the next step. What is open from the last one is voided, so that no step has more to look through than the one before.
    fn next(&mut self) -> Vec<Vec<CreateTransfer>> {
        let open = std::mem::take(&mut self.open);
        if !open.is_empty() {
            let void = |id| self.settle(id, TransferFlags::VOID_PENDING_TRANSFER);
            let voids = open.into_iter().map(void).collect();
            self.bank.recorded(voids);
        }
        self.bank.forget_ids();
        let flagged = |bank: &mut Bank, flags| CreateTransfer { flags, ..bank.transfer() };
        let alone = |transfer| vec![transfer];
        let commands = 0..COMMANDS;
        match self.kind {
            Kind::Single => commands.map(|_| alone(self.bank.transfer())).collect(),
            Kind::Pending => {
                let pending: Vec<_> = commands.map(|_| self.pending()).collect();
                self.open = pending.iter().map(|transfer| transfer.id).collect();
                pending.into_iter().map(alone).collect()
            }
            Kind::Post | Kind::Void => {
                let flags = match self.kind {
                    Kind::Post => TransferFlags::POST_PENDING_TRANSFER,
                    _ => TransferFlags::VOID_PENDING_TRANSFER,
                };
                let opened = self.opened();
                opened.into_iter().map(|id| alone(self.settle(id, flags))).collect()
            }
            Kind::Chain => commands
                .map(|_| {
                    let linked = (1..CHAIN).map(|_| flagged(&mut self.bank, TransferFlags::LINKED));
                    let mut chain: Vec<_> = linked.collect();
                    chain.push(self.bank.transfer());
                    chain
                })
                .collect(),
            Kind::Balancing => commands
                .map(|_| alone(flagged(&mut self.bank, TransferFlags::BALANCING_DEBIT)))
                .collect(),
            Kind::NoMoney => commands
                .map(|_| alone(CreateTransfer { debit_account_id: POOR, ..self.bank.transfer() }))
                .collect(),
            Kind::OneAccount => commands
                .map(|_| {
                    let transfer = self.bank.transfer();
                    alone(CreateTransfer {
                        debit_account_id: transfer.credit_account_id,
                        ..transfer
                    })
                })
                .collect(),
            Kind::Retry => {
                let transfers = self.bank.transfers(COMMANDS);
                self.bank.recorded(transfers.clone());
                transfers.into_iter().map(alone).collect()
            }
        }
    }

    /// Whether a command of this kind came to what it is for.
    fn is_as_named(&self, decision: &Decision) -> bool {
        let (refused, recorded) = (!decision.exceptions.is_empty(), decision.record.is_some());
        (refused, recorded)
            == match self.kind {
                Kind::NoMoney => (true, true),
                Kind::OneAccount | Kind::Retry => (true, false),
                _ => (false, true),
            }
    }
}

/// Commands one after another, each decided by itself.
fn each(kind: Kind) -> Box<dyn Case> {
    fed(
        Deciding { bank: Bank::new(), kind, open: Vec::new() },
        |deciding| {
            let commands = deciding.next().into_iter().map(Command::CreateTransfers);
            (commands.collect::<Vec<_>>(), Vec::with_capacity(COMMANDS as usize))
        },
        |deciding, (commands, mut decided): (Vec<Command>, Vec<Decision>)| {
            for command in commands {
                let decision = deciding.bank.decide(command);
                assert!(deciding.is_as_named(&decision), "{:?}: {decision:?}", deciding.kind);
                decided.push(decision);
            }
            decided
        },
    )
}

/// How a batch is spread over the accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spread {
    Uniform,
    Hot,
}

/// One command with as many transfers as it may have.
fn batch(spread: Spread) -> Box<dyn Case> {
    fed(
        Bank::new(),
        move |bank| {
            bank.forget_ids();
            let mut transfers = bank.transfers(BATCH);
            if spread == Spread::Hot {
                for transfer in &mut transfers {
                    if transfer.debit_account_id == HOT {
                        transfer.debit_account_id = transfer.credit_account_id;
                    }
                    transfer.credit_account_id = HOT;
                }
            }
            transfers
        },
        |bank, transfers| bank.recorded(transfers),
    )
}

/// A second ledger that is given the records of the first.
fn replay() -> Box<dyn Case> {
    let (bank, records) = Bank::with_records();
    let mut replica = State::new(7);
    for (record, seq) in records.iter().zip(1..) {
        replica.replay(JournalSeq(seq), record).expect("it follows");
    }
    fed(
        (bank, replica),
        |(bank, replica)| {
            bank.forget_ids();
            drop(replica.forget_indexed(replica.seq()));
            let transfers = bank.transfers(BATCH);
            let record = bank.recorded(transfers);
            (bank.seq(), record)
        },
        |(_, replica), (seq, record)| {
            replica.replay(seq, &record).expect("it follows");
            record
        },
    )
}
