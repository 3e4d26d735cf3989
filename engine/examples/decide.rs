//! How long deciding takes, by itself: `cargo run --release --example decide`.
//!
//! Batches between 10,000 accounts, least and median of many rounds, in nanoseconds a transfer.

use std::time::Instant;

use florin_engine::{
    AccountId, Amount, AmountInput, Code, Command, CreateAccount, CreateLedger, CreateTransfer,
    ExpirePending, LedgerId, NothingBefore, Scale, State, Timestamp, TransferFlags, TransferId,
};

const ACCOUNTS: u64 = 10_000;
const ROUNDS: usize = 400;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

struct Bank {
    state: State,
    random: Random,
    now: Timestamp,
}

impl Bank {
    fn new() -> Result<Bank, Box<dyn std::error::Error>> {
        let (random, now) = (Random(0x9e37_79b9_7f4a_7c15), Timestamp(1));
        let mut bank = Bank { state: State::new(7), random, now };
        let scale = Scale::try_new(2).ok_or("no scale")?;
        let (id, currency, name) = (LedgerId(1), "USD".to_owned(), String::new());
        bank.decide(Command::CreateLedger(CreateLedger { id, currency, scale, name }))?;
        let accounts = (1..=ACCOUNTS).map(|id| CreateAccount::new(AccountId(u128::from(id))));
        bank.decide(Command::CreateAccounts(accounts.collect()))?;
        Ok(bank)
    }

    fn decide(&mut self, command: Command) -> Result<(), Box<dyn std::error::Error>> {
        self.now = self.now.plus(1_000_000);
        let verdict = self.state.decide(command, None, self.now, &mut NothingBefore)?;
        std::hint::black_box(verdict);
        drop(self.state.forget_indexed(self.state.seq()));
        Ok(())
    }

    fn transfer(&mut self) -> CreateTransfer {
        let debit = self.random.next() % ACCOUNTS;
        let credit = (debit + 1 + self.random.next() % (ACCOUNTS - 1)) % ACCOUNTS;
        let account = |place: u64| AccountId(u128::from(place) + 1);
        let id = u128::from(self.random.next()) << 64 | u128::from(self.random.next());
        let amount = AmountInput::Minor(Amount::from_minor(self.random.next() % 10_000));
        let ledger = Some(LedgerId(1));
        CreateTransfer {
            ledger,
            ..CreateTransfer::new(TransferId(id), account(debit), account(credit), amount)
        }
    }

    fn transfers(&mut self, count: usize) -> Vec<CreateTransfer> {
        (0..count).map(|_| self.transfer()).collect()
    }
}

fn report(name: &str, mut nanoseconds: Vec<f64>) {
    nanoseconds.sort_by(f64::total_cmp);
    let (least, median) = (nanoseconds[0], nanoseconds[nanoseconds.len() / 2]);
    println!("{name}: {least:.0} least, {median:.0} median");
}

fn measure(
    name: &str,
    batch: usize,
    bank: &mut Bank,
    mut make: impl FnMut(&mut Bank) -> Vec<CreateTransfer>,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut nanoseconds = Vec::new();
    for _ in 0..ROUNDS {
        let transfers = make(bank);
        let count = transfers.len();
        let commands: Vec<Command> =
            transfers.chunks(batch).map(|chunk| Command::CreateTransfers(chunk.to_vec())).collect();
        let begin = Instant::now();
        for command in commands {
            bank.decide(command)?;
        }
        nanoseconds.push(begin.elapsed().as_nanos() as f64 / count as f64);
    }
    report(name, nanoseconds);
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut bank = Bank::new()?;
    measure("single-phase, batches of 8190", 8190, &mut bank, |bank| bank.transfers(8190))?;
    measure("single-phase, one by one", 1, &mut bank, |bank| bank.transfers(8190))?;
    two_phase(&mut bank)
}

/// Three in ten pending, and as many settled: half posted, half expired.
fn two_phase(bank: &mut Bank) -> Result<(), Box<dyn std::error::Error>> {
    let mut open: Vec<TransferId> = Vec::new();
    measure("two-phase mix, batches of 8190", 8190, bank, |bank| {
        let posts = std::mem::take(&mut open);
        let mut transfers = bank.transfers(8190 - posts.len());
        for (index, transfer) in transfers.iter_mut().enumerate() {
            if index % 10 < 3 {
                transfer.flags = TransferFlags::PENDING;
                transfer.timeout = 1;
                if index % 2 == 0 {
                    open.push(transfer.id);
                }
            }
        }
        transfers.extend(posts.into_iter().map(|pending_id| {
            let id = u128::from(bank.random.next()) << 64 | u128::from(bank.random.next());
            CreateTransfer {
                flags: TransferFlags::POST_PENDING_TRANSFER,
                code: Code(0),
                pending_id,
                ..CreateTransfer::new(
                    TransferId(id),
                    AccountId(0),
                    AccountId(0),
                    AmountInput::Minor(Amount::MAX),
                )
            }
        }));
        transfers
    })?;
    expiry(bank)
}

/// A million due at one moment.
fn expiry(bank: &mut Bank) -> Result<(), Box<dyn std::error::Error>> {
    let mut slowest = 0.0_f64;
    while bank.state.pending_count() < 1_000_000 {
        let mut transfers = bank.transfers(8190);
        for transfer in &mut transfers {
            transfer.flags = TransferFlags::PENDING;
            transfer.timeout = 1_000_000;
        }
        let begin = Instant::now();
        bank.decide(Command::CreateTransfers(transfers))?;
        slowest = slowest.max(begin.elapsed().as_secs_f64() * 1000.0);
    }
    println!("pending, up to a million open: slowest batch of 8190 {slowest:.1} ms");
    bank.now = bank.now.plus(2_000_000_000_000_000);
    let mut nanoseconds = Vec::new();
    let mut slowest = 0.0_f64;
    while bank.state.pending_count() > 0 {
        let before = bank.state.pending_count();
        let begin = Instant::now();
        bank.decide(Command::ExpirePending(ExpirePending { limit: 1000 }))?;
        let elapsed = begin.elapsed();
        slowest = slowest.max(elapsed.as_secs_f64() * 1000.0);
        let expired = before - bank.state.pending_count();
        nanoseconds.push(elapsed.as_nanos() as f64 / expired as f64);
    }
    report("expiry in slices of 1000", nanoseconds);
    println!("slowest slice {slowest:.2} ms");
    Ok(())
}
