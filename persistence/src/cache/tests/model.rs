//! Staleness, as a model: whatever happens and in whatever order, an account read as of a position is the account replayed to it.

use florin_engine::JournalSeq;
use florin_tests::random::Random;

use super::world::{World, broken_off};
use crate::cache::{CacheBatch, CacheError, CacheWriter, Miss};

const ACCOUNTS: u128 = 7;
const STEPS: u64 = 400;

/// A reader that has asked the store after a miss, and has not brought the answer in yet.
struct Slow {
    miss: Miss,
    id: u128,
    as_of: u64,
}

struct Model {
    world: World,
    random: Random,
    /// Where the store stands.
    stored: u64,
    slow: Vec<Slow>,
    /// Writers that were taken over, each with a batch that it had ready.
    old: Vec<(CacheWriter, CacheBatch)>,
    hits: u64,
    filled: u64,
}

impl Model {
    async fn new(seed: u64, near_entries: usize) -> Model {
        let mut world = World::near(near_entries).await;
        world.ledger.create(1..=3);
        world.begin().await.unwrap();
        world.ledger.create(4..=ACCOUNTS);
        let random = Random::new(seed);
        Model { world, random, stored: 2, slow: Vec::new(), old: Vec::new(), hits: 0, filled: 0 }
    }

    async fn step(&mut self) {
        match self.random.below(100) {
            0..20 => self.change(),
            20..40 => self.write().await,
            40..45 => self.break_off_a_flush().await,
            45..60 => {
                // Mostly it is behind the cache; one that is ahead is not believed.
                let is_ahead = self.random.below(8) == 0;
                let newest =
                    if is_ahead { self.world.ledger.durable() } else { self.world.covered };
                let lag = self.random.below(4);
                self.stored = self.stored.max(newest.0.saturating_sub(lag));
            }
            60..75 => self.ask_the_store().await,
            75..88 => self.bring_in().await,
            88..95 => self.lose_keys(),
            95 => self.be_taken_over().await,
            96 => self.wake_an_old_writer().await,
            97 => {
                assert_eq!(self.world.redis.command(&["SAVE"]), "OK");
            }
            98 => match self.random.below(2) {
                0 => {
                    self.world.redis.kill();
                    self.world.redis.start_again();
                }
                _ => self.world.redis.flush(),
            },
            _ => {
                self.world.redis.pause();
                let batch = self.world.ledger.batch(self.world.covered);
                let _ = self.world.writer.flush(&batch).await;
                self.world.redis.resume();
            }
        }
    }

    fn change(&mut self) {
        let count = self.random.below(4);
        let mut ids: Vec<u128> =
            (0..count).map(|_| 1 + u128::from(self.random.below(ACCOUNTS as u64))).collect();
        ids.sort_unstable();
        ids.dedup();
        match ids.first() {
            Some(id) if self.random.below(6) == 0 => self.world.ledger.replace_metadata(*id),
            _ => self.world.ledger.change(ids),
        }
    }

    /// What the updater does: it goes on, or begins anew when its epoch is gone.
    async fn write(&mut self) {
        let flushed = match self.random.below(3) {
            0 => self.world.flush_some(1).await,
            _ => self.world.flush().await,
        };
        match flushed {
            Ok(()) => {}
            Err(CacheError::EpochLost) => match self.world.begin().await {
                // Who woke up while nothing stood there has to go first.
                Ok(()) | Err(CacheError::Fenced { .. }) => {}
                Err(error) => panic!("{error}"),
            },
            Err(error) => panic!("{error}"),
        }
    }

    /// The flush is dropped wherever it is; the next one finds out how far it came.
    async fn break_off_a_flush(&mut self) {
        self.change();
        let batch = self.world.ledger.batch(self.world.covered);
        let wakes = self.random.below(6);
        if let Some(Ok(())) = broken_off(wakes, self.world.writer.flush(&batch)).await {
            self.world.covered = batch.upto();
        }
    }

    async fn ask_the_store(&mut self) {
        for id in 1..=ACCOUNTS {
            if let Err(miss) = self.world.read(id).await {
                self.slow.push(Slow { miss, id, as_of: self.stored });
            }
        }
    }

    async fn bring_in(&mut self) {
        for _ in 0..self.slow.len().min(10) {
            let at = self.random.below(self.slow.len() as u64) as usize;
            let Slow { miss, id, as_of } = self.slow.swap_remove(at);
            self.filled += u64::from(self.world.fill(miss, id, as_of).await);
        }
    }

    fn lose_keys(&mut self) {
        let id = 1 + self.random.below(ACCOUNTS as u64);
        let end = match self.random.below(16) {
            0 => ":changes".to_owned(),
            1 if self.random.below(2) == 0 => ":epoch".to_owned(),
            2..5 => format!(":s:{id}"),
            _ => format!(":a:{id}"),
        };
        for key in self.world.keys(&end) {
            let _ = self.world.redis.command(&["DEL", &key]);
        }
    }

    async fn be_taken_over(&mut self) {
        self.change();
        let ready = self.world.ledger.batch(self.world.covered);
        let newer = self.world.another_writer();
        self.old.push((std::mem::replace(&mut self.world.writer, newer), ready));
        self.write().await;
    }

    async fn wake_an_old_writer(&mut self) {
        let Some((writer, batch)) = self.old.last_mut() else { return };
        let _ = super::world::flush(writer, batch).await;
        if self.random.below(3) == 0 {
            let _ = super::world::begin(writer, batch.upto()).await;
        }
    }

    /// Reads every account; what is found must be what was at that position.
    async fn check(&mut self) {
        for id in 1..=ACCOUNTS {
            if let Ok(found) = self.world.read(id).await {
                self.hits += 1;
                self.world.assert_right(id, &found);
                assert!(found.as_of <= self.world.ledger.durable());
            }
        }
    }
}

/// The seeds of the runs; one that ever failed is added.
const SEEDS: [u64; 4] = [1, 2, 3, 4];

#[tokio::test]
async fn an_account_read_as_of_a_position_is_the_account_replayed_to_it() {
    run(0, 1).await;
}

/// The same with a reader that remembers all accounts, or hardly any, and is asked often enough that it mostly answers by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_remembered_as_of_a_position_is_the_account_replayed_to_it() {
    run(1000, 4).await;
    run(3, 2).await;
}

async fn run(near_entries: usize, checks: usize) {
    for seed in SEEDS {
        let mut model = Model::new(seed, near_entries).await;
        for step in 0..STEPS {
            model.step().await;
            if step % 3 == 0 {
                println!("seed {seed}, step {step}");
                for _ in 0..checks {
                    model.check().await;
                }
            }
        }
        let near_hits = model.world.reader.counts().near_hits;
        println!("seed {seed}: {} hits, {near_hits} near, {} fills", model.hits, model.filled);
        if near_entries > ACCOUNTS as usize {
            assert!(near_hits > model.hits / 4, "that says little of what is near");
        }
        assert!(model.hits > STEPS / 2 && model.filled > STEPS / 40, "that says little");
        // In the end all of it is there again, and current.
        let end = model.world.ledger.durable();
        model.world.redis.flush();
        model.write().await;
        assert_eq!(model.world.covered, end);
        for id in 1..=ACCOUNTS {
            let miss = model.world.forgotten(id).await;
            assert!(model.world.fill(miss, id, end.0).await);
            assert_eq!(model.world.found(id).await.as_of, end);
        }
        assert_ne!(end, JournalSeq::NONE);
    }
}
