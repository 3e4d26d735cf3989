//! Measures how fast durable records go into the SQLite store, all lookups kept.
//!
//! `cargo run --release -p florin-persistence --example sqlite_drain -- [TRANSFERS] [ACCOUNTS] [BATCH] [DIRECTORY]`

use std::path::PathBuf;
use std::time::{Duration, Instant};

use florin_engine::{
    AccountAfter, AccountCreated, AccountFlags, AccountId, Amount, Balances, Code, Event,
    JournalSeq, Ledger, LedgerAfter, LedgerId, LedgerTotals, Record, Scale, Timestamp, Transfer,
    TransferId, TransferPosted,
};
use florin_persistence::store::{OfAccount, PageRequest, Side, Store, StoreBatch, TransferFilter};
use uuid::Uuid;

const COMMAND: u64 = 8190;
type Failure = Box<dyn std::error::Error>;

/// A xorshift generator: the same figures in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn id(&mut self) -> TransferId {
        TransferId(u128::from(self.next()) << 64 | u128::from(self.next()))
    }
}

/// The ledger whose records are drained: no rules, only figures that fit together.
struct Source {
    random: Random,
    clock: Timestamp,
    accounts: Vec<AccountAfter>,
    touched: Vec<u32>,
    totals: LedgerTotals,
}

impl Source {
    fn tick(&mut self) -> Timestamp {
        self.clock = self.clock.plus(1);
        self.clock
    }

    fn record(
        &mut self,
        timestamp: Timestamp,
        events: Vec<Event>,
        accounts: Vec<AccountAfter>,
    ) -> Record {
        Record {
            timestamp,
            asked: u32::try_from(events.len()).unwrap_or(u32::MAX),
            events,
            accounts,
            ledgers: vec![LedgerAfter { id: LedgerId(1), totals: self.totals }],
            key: None,
        }
    }

    fn ledger(&mut self) -> Result<Record, Failure> {
        let timestamp = self.tick();
        let scale = Scale::try_new(2).ok_or("scale")?;
        let ledger = Ledger {
            id: LedgerId(1),
            currency: "USD".to_owned(),
            scale,
            name: "US dollars".to_owned(),
            timestamp,
        };
        Ok(self.record(timestamp, vec![Event::LedgerCreated(ledger)], Vec::new()))
    }

    fn create_accounts(&mut self, count: u64) -> Record {
        let first = self.accounts.len() as u64 + 1;
        let timestamp = self.tick();
        let mut events = Vec::new();
        for id in first..first + count {
            let id = AccountId(u128::from(id));
            let after = AccountAfter {
                id,
                ledger: LedgerId(1),
                flags: AccountFlags::empty(),
                overdraft_limit: Amount::ZERO,
                version: 0,
                balances: Balances::default(),
            };
            self.accounts.push(after);
            self.touched.push(u32::MAX);
            events.push(Event::AccountCreated(AccountCreated {
                id,
                external_id: None,
                ledger: LedgerId(1),
                code: Code(1),
                flags: AccountFlags::empty(),
                overdraft_limit: Amount::ZERO,
                user_data_128: 0,
                user_data_64: 0,
                user_data_32: 0,
                timestamp: self.clock,
                metadata: None,
            }));
            self.tick();
        }
        self.totals.accounts += count;
        self.record(timestamp, events, Vec::new())
    }

    fn transfers(&mut self, count: u64) -> Result<Record, Failure> {
        let timestamp = self.tick();
        let mut events = Vec::with_capacity(usize::try_from(count)?);
        let mut order: Vec<usize> = Vec::new();
        let accounts = self.accounts.len() as u64;
        for _ in 0..count {
            let debit = self.random.below(accounts);
            let credit = (debit + 1 + self.random.below(accounts - 1)) % accounts;
            let amount = Amount::from_minor(1 + self.random.below(100_000));
            let (debit, credit) = (usize::try_from(debit)?, usize::try_from(credit)?);
            let debit_account = self.touch(debit, &mut order);
            let credit_account = self.touch(credit, &mut order);
            let debits = &mut self.accounts[debit].balances.debits_posted;
            *debits = debits.checked_add(amount).ok_or("overflow")?;
            let credits = &mut self.accounts[credit].balances.credits_posted;
            *credits = credits.checked_add(amount).ok_or("overflow")?;
            self.totals.posted += amount.minor_units();
            let transfer = Transfer {
                id: self.random.id(),
                debit_account_id: self.accounts[debit].id,
                credit_account_id: self.accounts[credit].id,
                amount,
                amount_requested: amount,
                ledger: LedgerId(1),
                code: Code(1),
                timestamp: self.clock,
                ..Transfer::default()
            };
            events.push(Event::TransferPosted(TransferPosted {
                transfer,
                debit_account,
                credit_account,
            }));
            self.tick();
        }
        let mut after = Vec::with_capacity(order.len());
        for index in order {
            self.touched[index] = u32::MAX;
            self.accounts[index].version += 1;
            after.push(self.accounts[index]);
        }
        Ok(self.record(timestamp, events, after))
    }

    fn touch(&mut self, account: usize, order: &mut Vec<usize>) -> u32 {
        if self.touched[account] == u32::MAX {
            self.touched[account] = u32::try_from(order.len()).unwrap_or(u32::MAX);
            order.push(account);
        }
        self.touched[account]
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut words = std::env::args().skip(1);
    let mut number = |default: u64| words.next().map_or(Ok(default), |word| word.parse::<u64>());
    let (transfers, accounts, batch_transfers) =
        (number(1_000_000)?, number(10_000)?, number(100_000)?);
    let directory = words.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = tempfile::tempdir_in(directory)?;
    let path = directory.path().join("store.sqlite");
    let store = Store::open(&path, Uuid::from_u128(1)).await?;
    let mut source = Source {
        random: Random(88_172_645_463_325_252),
        clock: Timestamp(1_763_000_000_000_000_000),
        accounts: Vec::new(),
        touched: Vec::new(),
        totals: LedgerTotals::default(),
    };
    let mut batch = StoreBatch::new(JournalSeq::NONE);
    batch.push(batch.upto().next(), source.ledger()?, None)?;
    let began = Instant::now();
    for first in (0..accounts).step_by(8190) {
        let record = source.create_accounts(COMMAND.min(accounts - first));
        batch.push(batch.upto().next(), record, None)?;
    }
    store.apply(&batch).await?;
    let rate = accounts as f64 / began.elapsed().as_secs_f64();
    println!("{accounts} accounts created: {rate:.0}/s");

    let mut drained = Duration::ZERO;
    let (mut done, mut shown, mut shown_at) = (0, 0, Duration::ZERO);
    batch = StoreBatch::new(batch.upto());
    while done < transfers {
        let count = COMMAND.min(transfers - done);
        let record = source.transfers(count)?;
        done += count;
        let began = Instant::now();
        batch.push(batch.upto().next(), record, None)?;
        if batch.transfers() as u64 >= batch_transfers || done == transfers {
            store.apply(&batch).await?;
            batch = StoreBatch::new(batch.upto());
        }
        if done == transfers {
            store.sync().await?;
        }
        drained += began.elapsed();
        if done - shown >= 1_000_000 {
            let rate = (done - shown) as f64 / (drained - shown_at).as_secs_f64();
            println!("at {done:>10} transfers: {rate:.0}/s");
            (shown, shown_at) = (done, drained);
        }
    }
    let rate = done as f64 / drained.as_secs_f64();
    let bytes = std::fs::metadata(&path)?.len();
    println!(
        "{done} transfers over {accounts} accounts in batches of {batch_transfers}, durable: {rate:.0}/s, {} bytes a transfer",
        bytes / done
    );
    measure_reads(&store, &mut source.random, accounts).await
}

async fn measure_reads(store: &Store, random: &mut Random, accounts: u64) -> Result<(), Failure> {
    let began = Instant::now();
    for _ in 0..1000 {
        let account =
            OfAccount { id: AccountId(u128::from(1 + random.below(accounts))), side: Side::Both };
        let filter = TransferFilter { account: Some(account), ..TransferFilter::default() };
        store.transfers(&filter, &PageRequest::first(50)).await?;
    }
    println!("page of 50 transfers of an account: {} us", began.elapsed().as_micros() / 1000);
    let began = Instant::now();
    for _ in 0..1000 {
        store.transfer(random.id()).await?;
    }
    println!("transfer by an unknown id: {} us", began.elapsed().as_micros() / 1000);
    let rare = TransferFilter {
        ledger: Some(LedgerId(1)),
        min_amount: Some(Amount::from_minor(99_999)),
        ..TransferFilter::default()
    };
    let began = Instant::now();
    let page = store.transfers(&rare, &PageRequest::first(50)).await?;
    println!("page of {} rare amounts: {} us", page.data.len(), began.elapsed().as_micros());
    Ok(())
}
