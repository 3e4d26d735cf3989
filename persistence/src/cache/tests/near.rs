//! What a reader remembers, against what stands in Redis.

use std::time::{Duration, Instant};

use florin_engine::{AccountId, JournalSeq};

use super::world::World;
use crate::cache::CachedAccount;
use crate::cache::near::Entries;

const PATIENCE: Duration = Duration::from_secs(30);

impl World {
    /// Reads until it is answered without a round trip.
    async fn found_near(&self, id: u128) -> CachedAccount {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let before = self.reader.counts().near_hits;
            let found = self.found(id).await;
            if self.reader.counts().near_hits > before {
                return found;
            }
            assert!(Instant::now() < deadline, "account {id} is not remembered");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Reads until it is of this position; all of the answers must be right.
    async fn found_as_of(&self, id: u128, as_of: JournalSeq) {
        let deadline = Instant::now() + PATIENCE;
        while self.found(id).await.as_of < as_of {
            assert!(Instant::now() < deadline, "account {id} stays behind {as_of:?}");
        }
    }

    fn commands(&self, name: &str) -> u64 {
        let told = self.redis.command(&["INFO", "commandstats"]);
        let calls = told.split(&format!("cmdstat_{name}:calls=")).nth(1);
        calls.and_then(|rest| rest.split(',').next()).map_or(0, |count| count.parse().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_often_is_answered_without_asking_and_a_change_is_seen() {
    let mut world = World::near(1000).await;
    world.ledger.create(1..=8);
    world.flush().await.unwrap();
    for id in 1..=8 {
        world.found_near(id).await;
    }
    let (asked, near) = (world.commands("mget"), world.reader.counts().near_hits);
    for round in 0..1000 {
        world.found(1 + round % 8).await;
    }
    let (asked, near) = (world.commands("mget") - asked, world.reader.counts().near_hits - near);
    assert!(near > 500 && asked <= 1000 - near, "{asked} asked, {near} near");
    for change in 0..50 {
        world.ledger.change([1 + change % 8, 1 + (change + 3) % 8]);
        world.flush().await.unwrap();
        let durable = world.ledger.durable();
        for id in 1..=8 {
            world.found_as_of(id, durable).await;
        }
    }
    assert_eq!(world.reader.counts().misses, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_too_old_for_its_reader_is_asked_for() {
    let mut world = World::near(1000).await;
    world.ledger.create([1]);
    world.flush().await.unwrap();
    for _ in 0..100 {
        world.found_near(1).await;
        world.ledger.change([1]);
        world.flush().await.unwrap();
        let durable = world.ledger.durable();
        let found = world.reader.account(AccountId(1), durable).await.unwrap();
        world.assert_right(1, &found);
        assert_eq!(found.as_of, durable);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_told_from_memory_while_redis_is_silent() {
    let mut world = World::near(1000).await;
    world.ledger.create([1]);
    world.flush().await.unwrap();
    world.found_near(1).await;
    world.redis.pause();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let near = world.reader.counts().near_hits;
    assert!(world.reader.account(AccountId(1), JournalSeq::NONE).await.is_err());
    assert_eq!(world.reader.counts().near_hits, near);
    world.redis.resume();
    world.found_near(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_through_a_broken_connection_is_forgotten() {
    let mut world = World::near(1000).await;
    world.ledger.create([1, 2]);
    world.flush().await.unwrap();
    for _ in 0..5 {
        world.found_near(1).await;
        world.found_near(2).await;
        // News on the way are lost with it.
        assert_ne!(world.redis.command(&["CLIENT", "KILL", "TYPE", "normal"]), "0");
        world.ledger.change([1]);
        while world.flush().await.is_err() {
            world.begin().await.unwrap();
            let miss = world.forgotten(1).await;
            assert!(world.fill(miss, 1, world.ledger.durable().0).await);
        }
        world.found_as_of(1, world.ledger.durable()).await;
        assert_eq!(world.found_near(1).await.as_of, world.ledger.durable());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_read_failed_there_is_another_session_though_the_connection_lives() {
    let mut world = World::near(1000).await;
    world.ledger.create([1]);
    world.flush().await.unwrap();
    world.found_near(1).await;
    // An account that is not remembered is asked for, while the epoch can still be had.
    assert_eq!(world.redis.command(&["ACL", "SETUSER", "default", "-mget"]), "OK");
    assert!(world.reader.account(AccountId(2), JournalSeq::NONE).await.is_err());
    assert_eq!(world.redis.command(&["ACL", "SETUSER", "default", "+mget"]), "OK");
    world.found_near(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_cache_and_a_new_epoch_are_seen() {
    let mut world = World::near(1000).await;
    world.ledger.create([1]);
    world.flush().await.unwrap();
    world.found_near(1).await;
    world.redis.flush();
    world.forgotten(1).await;
    world.ledger.change([1]);
    world.begin().await.unwrap();
    let miss = world.forgotten(1).await;
    assert!(world.fill(miss, 1, 2).await);
    assert_eq!(world.found_near(1).await.as_of, JournalSeq(2));
    // Another owner's.
    world.writer = world.another_writer();
    world.ledger.change([]);
    world.begin().await.unwrap();
    let miss = world.forgotten(1).await;
    assert!(world.fill(miss, 1, 3).await);
    assert_eq!(world.found_near(1).await.as_of, JournalSeq(3));
}

fn account(id: u128, as_of: u64) -> CachedAccount {
    let mut ledger = super::world::Ledger::new();
    ledger.create([id]);
    let account = ledger.at(JournalSeq(1), id).unwrap().0.clone();
    let seq = JournalSeq(as_of);
    let (metadata, external_id) = (None, None);
    CachedAccount {
        account,
        metadata,
        external_id,
        as_of: seq,
        unchanged_since: seq,
        epoch_name: 1,
    }
}

#[test]
fn an_answer_that_comes_after_the_news_that_it_is_old_does_not_get_in() {
    let entries = Entries::new(10);
    let ids = || [1, 2, 3].map(AccountId).into_iter();
    let early = entries.ask(ids());
    entries.forget(AccountId(1));
    // Who asks later has the place that is free, and the early one still has the others.
    let late = entries.ask(ids());
    for id in 1..=3 {
        early.answer(&account(id, 1));
    }
    assert_eq!(entries.get(AccountId(1)), None);
    assert_eq!(entries.get(AccountId(2)), Some(account(2, 1)));
    for id in 1..=3 {
        late.answer(&account(id, 2));
    }
    assert_eq!(entries.get(AccountId(1)), Some(account(1, 2)));
    assert_eq!(entries.get(AccountId(2)), Some(account(2, 1)));
    // What is asked for again counts no more until it is answered.
    drop(entries.ask(std::iter::once(AccountId(3))));
    assert_eq!(entries.get(AccountId(3)), None);
    late.answer(&account(3, 3));
    assert_eq!(entries.get(AccountId(3)), None);
}

#[test]
fn it_has_a_bound() {
    let entries = Entries::new(4);
    for id in 1..=100 {
        entries.ask(std::iter::once(AccountId(id))).answer(&account(id, 1));
        assert!(entries.len() <= 4);
        assert_eq!(entries.get(AccountId(id)), Some(account(id, 1)));
    }
    // Nor does it keep much text.
    let mut much = account(200, 1);
    much.metadata = Some("x".repeat(2000).into());
    entries.ask(std::iter::once(AccountId(200))).answer(&much);
    assert_eq!(entries.get(AccountId(200)), None);
}
