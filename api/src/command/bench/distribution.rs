//! Who pays whom, and under which ids: cheap enough that the engine, not this, is what is measured.

use std::time::Instant;

use clap::ValueEnum;
use florin_engine::{
    AccountId, Amount, AmountInput, Code, CreateTransfer, LedgerId, TransferFlags, TransferId,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// How the transfers are spread over the accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::command) enum Distribution {
    /// Every account as often as any other
    Uniform,
    /// A few accounts much more often than the rest (exponent 0.99)
    Zipfian,
    /// Every transfer pays the same one account
    Hot,
}

/// What the transfers' ids look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::command) enum Ids {
    /// 128 random bits
    Random,
    /// Beginning with the time, as in a UUID of version 7
    Time,
}

/// The exponent of the zipfian distribution, the usual one of storage benchmarks.
const ZIPF_EXPONENT: f64 = 0.99;

/// Picks the two accounts of a transfer, by their places from 0 on.
pub(super) enum Pairs {
    Uniform { accounts: u64 },
    Zipfian(Zipf),
    Hot { accounts: u64 },
}

impl Pairs {
    /// Pairs among at least two accounts.
    pub(super) fn new(distribution: Distribution, accounts: u32) -> Pairs {
        match distribution {
            Distribution::Uniform => Pairs::Uniform { accounts: u64::from(accounts) },
            Distribution::Zipfian => Pairs::Zipfian(Zipf::new(accounts, ZIPF_EXPONENT)),
            Distribution::Hot => Pairs::Hot { accounts: u64::from(accounts) },
        }
    }

    /// The account that pays and another one that is paid.
    pub(super) fn pick(&self, rng: &mut SmallRng) -> (u64, u64) {
        match self {
            Pairs::Uniform { accounts } => {
                let debit = below(rng, *accounts);
                (debit, (debit + 1 + below(rng, accounts - 1)) % accounts)
            }
            Pairs::Zipfian(zipf) => {
                let debit = zipf.pick(rng);
                let credit = zipf.pick(rng);
                let next = (debit + 1) % zipf.accounts();
                (debit, if credit == debit { next } else { credit })
            }
            Pairs::Hot { accounts } => (1 + below(rng, accounts - 1), 0),
        }
    }
}

/// A number from 0 to `bound - 1`. The bias is below 2^-32 for any count of accounts.
fn below(rng: &mut SmallRng, bound: u64) -> u64 {
    ((u128::from(rng.next_u64()) * u128::from(bound)) >> 64) as u64
}

/// Ranks by Zipf's law, picked in constant time: each cell of the table is shared by at most two ranks (the alias method).
pub(super) struct Zipf {
    cells: Vec<Cell>,
}

struct Cell {
    /// How much of the cell, in 2^32nds, is the rank's own.
    own: u32,
    /// Which rank has the rest.
    other: u32,
}

impl Zipf {
    fn new(accounts: u32, exponent: f64) -> Zipf {
        let weights = (1..=accounts).map(|rank| f64::from(rank).powf(-exponent));
        let mut shares: Vec<f64> = weights.collect();
        let mean = shares.iter().sum::<f64>() / f64::from(accounts);
        shares.iter_mut().for_each(|share| *share /= mean);
        let ranks = || 0..accounts;
        let mut poor: Vec<u32> = ranks().filter(|rank| shares[*rank as usize] < 1.0).collect();
        let mut rich: Vec<u32> = ranks().filter(|rank| shares[*rank as usize] >= 1.0).collect();
        let mut cells: Vec<Cell> =
            ranks().map(|rank| Cell { own: u32::MAX, other: rank }).collect();
        while let (Some(small), Some(large)) = (poor.pop(), rich.last().copied()) {
            let share = shares[small as usize];
            cells[small as usize] =
                Cell { own: (share * f64::from(u32::MAX)) as u32, other: large };
            shares[large as usize] -= 1.0 - share;
            if shares[large as usize] < 1.0 {
                rich.pop();
                poor.push(large);
            }
        }
        Zipf { cells }
    }

    fn accounts(&self) -> u64 {
        self.cells.len() as u64
    }

    fn pick(&self, rng: &mut SmallRng) -> u64 {
        let rank = below(rng, self.accounts());
        let cell = &self.cells[rank as usize];
        if rng.next_u32() <= cell.own { rank } else { u64::from(cell.other) }
    }
}

/// Seconds until one of every two pending transfers expires; the others are posted.
const TIMEOUT: u32 = 1;

/// Makes transfers for one submitting task.
pub(super) struct Generator {
    rng: SmallRng,
    ids: Ids,
    /// How many of a hundred new transfers are pending.
    two_phase: u64,
    /// Pending ones that the next command posts.
    open: Vec<TransferId>,
    /// The next pending one is to be posted, rather than to expire.
    posts_next: bool,
    /// Milliseconds since 1970 when the run began, and that moment on the monotonic clock.
    began: (u64, Instant),
}

impl Generator {
    /// The generator of one task: the same seed and task make the same transfers, but for time in ids.
    pub(super) fn new(seed: u64, task: u64, ids: Ids, two_phase: u8) -> Generator {
        let millis = (uuid::Uuid::now_v7().as_u128() >> 80) as u64;
        // Neighbouring seeds give unrelated streams, since the seed is mixed before it is used.
        let rng = SmallRng::seed_from_u64(seed.wrapping_mul(1 << 20).wrapping_add(task));
        Generator {
            rng,
            ids,
            two_phase: u64::from(two_phase),
            open: Vec::new(),
            posts_next: false,
            began: (millis, Instant::now()),
        }
    }

    /// The next `count` transfers: first what posts the pending ones of the last command, which must have been answered; then new
    /// ones, each of 0.01 to 100.00.
    pub(super) fn transfers(&mut self, count: u64, pairs: &Pairs) -> Vec<CreateTransfer> {
        let (millis, began) = self.began;
        let now = millis + began.elapsed().as_millis() as u64;
        let mut posted = std::mem::take(&mut self.open).into_iter();
        let next = |_| match posted.next() {
            Some(pending) => self.post(now, pending),
            None => self.transfer(now, pairs),
        };
        let transfers = (0..count).map(next).collect();
        self.open.extend(posted);
        transfers
    }

    fn post(&mut self, now_millis: u64, pending: TransferId) -> CreateTransfer {
        let nobody = AccountId(0);
        CreateTransfer {
            code: Code(0),
            flags: TransferFlags::POST_PENDING_TRANSFER,
            pending_id: pending,
            ..CreateTransfer::new(
                TransferId(self.id(now_millis)),
                nobody,
                nobody,
                AmountInput::Minor(Amount::MAX),
            )
        }
    }

    fn transfer(&mut self, now_millis: u64, pairs: &Pairs) -> CreateTransfer {
        let (debit, credit) = pairs.pick(&mut self.rng);
        let amount = Amount::from_minor(1 + below(&mut self.rng, 10_000));
        let mut transfer = CreateTransfer {
            ledger: Some(LedgerId(1)),
            ..CreateTransfer::new(
                TransferId(self.id(now_millis)),
                account_id(debit),
                account_id(credit),
                AmountInput::Minor(amount),
            )
        };
        if self.two_phase > 0 && below(&mut self.rng, 100) < self.two_phase {
            transfer.flags = TransferFlags::PENDING;
            self.posts_next = !self.posts_next;
            if self.posts_next {
                self.open.push(transfer.id);
            } else {
                transfer.timeout = TIMEOUT;
            }
        }
        transfer
    }

    fn id(&mut self, now_millis: u64) -> u128 {
        let random = (u128::from(self.rng.next_u64()) << 64) | u128::from(self.rng.next_u64());
        match self.ids {
            Ids::Random => random.max(1),
            Ids::Time => {
                let low_80_bits = random >> 48;
                let version_and_variant = (0x7 << 76) | (0x2 << 62);
                let cleared = low_80_bits & !((0xf << 76) | (0x3 << 62));
                (u128::from(now_millis) << 80) | cleared | version_and_variant
            }
        }
    }
}

/// The id of the account at a place.
pub(super) fn account_id(place: u64) -> AccountId {
    AccountId(u128::from(place) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNTS: u32 = 1_000;
    const PICKS: u64 = 400_000;

    /// How often each account paid and was paid.
    fn counts(distribution: Distribution) -> (Vec<u64>, Vec<u64>) {
        let pairs = Pairs::new(distribution, ACCOUNTS);
        let mut rng = SmallRng::seed_from_u64(7);
        let mut counts = (vec![0; ACCOUNTS as usize], vec![0; ACCOUNTS as usize]);
        for _ in 0..PICKS {
            let (debit, credit) = pairs.pick(&mut rng);
            assert_ne!(debit, credit);
            counts.0[debit as usize] += 1;
            counts.1[credit as usize] += 1;
        }
        counts
    }

    fn assert_near(count: u64, expected: f64) {
        let off = (count as f64 - expected).abs() / expected;
        assert!(off < 0.1, "{count} picks where {expected} were expected");
    }

    #[test]
    fn uniform_is_even_on_both_sides() {
        let (debits, credits) = counts(Distribution::Uniform);
        for side in [debits, credits] {
            // 400 each; five standard deviations are 100.
            assert!(side.iter().all(|count| (300..=500).contains(count)));
        }
    }

    #[test]
    fn zipfian_follows_its_law() {
        let (debits, credits) = counts(Distribution::Zipfian);
        let harmonic: f64 = (1..=ACCOUNTS).map(|rank| f64::from(rank).powf(-0.99)).sum();
        for rank in [1_u32, 2, 3, 10, 50] {
            let expected = PICKS as f64 * f64::from(rank).powf(-0.99) / harmonic;
            assert_near(debits[rank as usize - 1], expected);
            if rank > 3 {
                // Among the first few, a pick of the payer itself moves on to its neighbour.
                assert_near(credits[rank as usize - 1], expected);
            }
        }
        assert!(debits.iter().all(|count| *count > 0), "every account is reached");
    }

    #[test]
    fn hot_pays_one_account_from_all_others() {
        let (debits, credits) = counts(Distribution::Hot);
        assert_eq!(credits[0], PICKS);
        assert_eq!(debits[0], 0);
        assert!(debits[1..].iter().all(|count| *count > 0));
    }

    #[test]
    fn a_share_is_pending_and_half_of_it_is_posted_by_the_next_command() {
        let pairs = Pairs::new(Distribution::Uniform, ACCOUNTS);
        let mut generator = Generator::new(1, 0, Ids::Random, 30);
        let first = generator.transfers(10_000, &pairs);
        let pending: Vec<_> =
            first.iter().filter(|it| it.flags == TransferFlags::PENDING).collect();
        assert_near(pending.len() as u64, 3_000.0);
        let to_post = pending.iter().filter(|it| it.timeout == 0).map(|it| it.id);
        let second = generator.transfers(10_000, &pairs);
        let posts = second.iter().filter(|it| it.flags == TransferFlags::POST_PENDING_TRANSFER);
        assert!(to_post.eq(posts.clone().map(|it| it.pending_id)));
        assert_near(posts.count() as u64, 1_500.0);
        assert!(pending.iter().all(|it| it.timeout <= TIMEOUT));
        // What does not fit into a command is posted by the one after it.
        let open = generator.open.clone();
        let posted: Vec<_> = (0..open.len()).flat_map(|_| generator.transfers(1, &pairs)).collect();
        assert!(open.iter().eq(posted.iter().map(|it| &it.pending_id)));
    }

    #[test]
    fn two_accounts_are_enough() {
        for distribution in [Distribution::Uniform, Distribution::Zipfian, Distribution::Hot] {
            let pairs = Pairs::new(distribution, 2);
            let mut rng = SmallRng::seed_from_u64(1);
            for _ in 0..100 {
                let (debit, credit) = pairs.pick(&mut rng);
                assert!(debit < 2 && credit < 2 && debit != credit);
            }
        }
    }

    #[test]
    fn ids_are_distinct_and_begin_with_the_time_when_asked_to() {
        let pairs = Pairs::new(Distribution::Uniform, ACCOUNTS);
        let mut seen = std::collections::HashSet::new();
        for task in 0..4 {
            for transfer in Generator::new(1, task, Ids::Random, 0).transfers(10_000, &pairs) {
                assert!(seen.insert(transfer.id));
            }
        }
        let before = uuid::Uuid::now_v7().as_u128() >> 80;
        for transfer in Generator::new(1, 0, Ids::Time, 0).transfers(1_000, &pairs) {
            let id = uuid::Uuid::from_u128(transfer.id.0);
            assert_eq!(id.get_version_num(), 7);
            assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
            assert!((before..before + 60_000).contains(&(transfer.id.0 >> 80)));
            assert!(seen.insert(transfer.id));
        }
    }
}
