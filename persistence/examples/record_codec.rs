//! Measures the form of records in the journal: bytes and nanoseconds a transfer, in full batches between 10,000 accounts.
//!
//! `cargo run --release -p florin-persistence --example record_codec`

use std::hint::black_box;
use std::time::Instant;

use florin_engine::{
    AccountAfter, AccountId, Amount, Balances, Code, Event, JournalSeq, LedgerAfter, LedgerId,
    LedgerTotals, Record, Timestamp, Transfer, TransferId, TransferPosted,
};
use florin_persistence::record::{decode, encode};

const TRANSFERS: u32 = 8190;
const ACCOUNTS: usize = 10_000;
const ROUNDS: u32 = 200;
const NONE: u32 = u32::MAX;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn id(&mut self) -> u128 {
        u128::from(self.below(u64::MAX)) << 64 | u128::from(self.below(u64::MAX))
    }
}

fn account(random: &mut Random, number: usize) -> AccountAfter {
    AccountAfter {
        id: AccountId(number as u128 + 1),
        ledger: LedgerId(1),
        flags: florin_engine::AccountFlags::empty(),
        overdraft_limit: Amount::ZERO,
        version: random.below(100_000),
        balances: Balances {
            debits_posted: Amount::from_minor(random.below(500_000_000)),
            credits_posted: Amount::from_minor(random.below(500_000_000)),
            ..Balances::default()
        },
    }
}

fn batch(random: &mut Random, transfers: u32) -> Record {
    let mut indices = vec![NONE; ACCOUNTS];
    let mut accounts = Vec::new();
    let mut events = Vec::new();
    let timestamp = Timestamp(1_795_000_000_000_000_000);
    for at in 0..transfers {
        let debit = random.below(ACCOUNTS as u64) as usize;
        let credit = (debit + 1 + random.below(ACCOUNTS as u64 - 1) as usize) % ACCOUNTS;
        let [debit_account, credit_account] = [debit, credit].map(|number| {
            if indices[number] == NONE {
                indices[number] = accounts.len() as u32;
                accounts.push(account(random, number));
            }
            indices[number]
        });
        let amount = Amount::from_minor(random.below(10_000));
        events.push(Event::TransferPosted(TransferPosted {
            transfer: Transfer {
                id: TransferId(random.id()),
                debit_account_id: accounts[debit_account as usize].id,
                credit_account_id: accounts[credit_account as usize].id,
                amount,
                amount_requested: amount,
                ledger: LedgerId(1),
                code: Code(1),
                timestamp: timestamp.plus(u64::from(at)),
                ..Transfer::default()
            },
            debit_account,
            credit_account,
        }));
    }
    let totals = LedgerTotals { accounts: 10_001, posted: 987_654_321_012, pending: 0 };
    let ledgers = vec![LedgerAfter { id: LedgerId(1), totals }];
    Record { timestamp, asked: transfers, events, accounts, ledgers, key: None }
}

/// The least and the median of many rounds, per transfer of a full batch.
fn measure(name: &str, mut round: impl FnMut()) {
    let mut nanoseconds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            round();
            begin.elapsed().as_nanos() as f64 / f64::from(TRANSFERS)
        })
        .collect();
    nanoseconds.sort_by(f64::total_cmp);
    println!(
        "{name:<10} {:6.1} ns a transfer at best, {:6.1} in the median",
        nanoseconds[0],
        nanoseconds[nanoseconds.len() / 2]
    );
}

fn main() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let record = batch(&mut random, TRANSFERS);
    let mut bytes = Vec::new();
    encode(&record, &mut bytes);
    println!(
        "batch of {TRANSFERS} over {ACCOUNTS} accounts, {} of them touched: {:.1} bytes a transfer",
        record.accounts.len(),
        bytes.len() as f64 / f64::from(TRANSFERS)
    );
    let mut single = Vec::new();
    encode(&batch(&mut random, 1), &mut single);
    println!("record of one transfer: {} bytes", single.len());

    let mut out = Vec::new();
    measure("encode", || {
        out.clear();
        encode(black_box(&record), &mut out);
        black_box(&out);
    });
    measure("decode", || {
        black_box(decode(black_box(&bytes)).is_ok());
    });
    measure("decode and digests", || {
        let mut digests = 0_u64;
        if let Ok(read) = decode(black_box(&bytes)) {
            read.each_decided(JournalSeq::FIRST, |_, decided| digests ^= decided.digest);
        }
        black_box(digests);
    });
}
