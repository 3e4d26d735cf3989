//! One rule of the protocol after the other.

use florin_engine::{AccountId, JournalSeq};

use super::world::{World, begin, flush};
use crate::cache::CacheError;

#[tokio::test]
async fn an_entry_is_current_as_of_what_is_covered() {
    let mut world = World::new().await;
    world.ledger.create(1..=8);
    world.missed(1).await;
    world.flush().await.unwrap();
    for id in 1..=8 {
        assert_eq!(world.found(id).await.as_of, JournalSeq(1));
    }
    world.ledger.change([1, 2]);
    world.ledger.change([2, 3]);
    assert_eq!(world.found(2).await.as_of, JournalSeq(1), "not flushed yet");
    world.flush().await.unwrap();
    for id in 1..=8 {
        assert_eq!(world.found(id).await.as_of, JournalSeq(3), "account {id}");
    }
    world.ledger.change([]);
    world.flush().await.unwrap();
    let found = world.found(2).await;
    assert_eq!((found.as_of, found.unchanged_since), (JournalSeq(4), JournalSeq(3)));
    assert_eq!(world.reader.counts().errors, 0);
    // The epoch, its slots, and two parts of each account; nothing stays when nobody comes any more.
    let keys = world.keys("");
    assert_eq!(keys.len(), 2 + 2 * 8);
    for key in keys {
        let left: i64 = world.redis.command(&["PTTL", &key]).parse().unwrap();
        assert!((1..=3_600_000).contains(&left), "{key} stays for {left} ms");
    }
}

#[tokio::test]
async fn an_account_older_than_the_epoch_is_brought_in_by_a_reader() {
    let mut world = World::new().await;
    world.ledger.create([1, 2]);
    world.begin().await.unwrap();
    let miss = world.missed(1).await;
    assert!(world.fill(miss, 1, 1).await);
    assert_eq!(world.found(1).await.as_of, JournalSeq(1));
    // Of account 2 the journal only tells what moves.
    world.ledger.change([1, 2]);
    world.flush().await.unwrap();
    assert_eq!(world.found(1).await.as_of, JournalSeq(2));
    let miss = world.missed(2).await;
    // The store is late, so its balances are not taken; its static part is.
    assert!(!world.fill(miss, 2, 1).await);
    assert_eq!(world.found(2).await.as_of, JournalSeq(2));
}

#[tokio::test]
async fn a_fill_from_before_the_epoch_is_refused() {
    let mut world = World::new().await;
    world.ledger.create([1]);
    world.ledger.change([1]);
    world.begin().await.unwrap();
    let miss = world.missed(1).await;
    assert!(!world.fill(miss, 1, 1).await);
    world.missed(1).await;
    assert!(world.fill(miss, 1, 2).await);
    world.found(1).await;
}

#[tokio::test]
async fn a_late_fill_is_refused_even_when_the_newer_entry_was_evicted() {
    let mut world = World::new().await;
    world.ledger.create([1, 2]);
    world.begin().await.unwrap();
    let miss = world.missed(1).await;
    world.ledger.change([1]);
    world.flush().await.unwrap();
    world.evict(":a:1");
    // The store still stands where the epoch began; that account 1 changed since only its slot knows.
    assert!(!world.fill(miss, 1, 1).await);
    world.missed(1).await;
    assert!(world.fill(miss, 1, 2).await);
    assert_eq!(world.found(1).await.as_of, JournalSeq(2));
    // Account 2 did not change, so the store is right about it, late as it is.
    let miss = world.missed(2).await;
    assert!(world.fill(miss, 2, 1).await);
    assert_eq!(world.found(2).await.as_of, JournalSeq(2));
}

#[tokio::test]
async fn a_fill_takes_no_newer_version_away() {
    let mut world = World::new().await;
    world.ledger.create([1]);
    world.begin().await.unwrap();
    let miss = world.missed(1).await;
    world.ledger.change([1]);
    // A store that is ahead of the cache is not believed yet: the next flush may end before it.
    assert!(!world.fill(miss, 1, 2).await);
    world.flush().await.unwrap();
    // One reader's store is at the end, another's is behind.
    assert!(world.fill(miss, 1, 2).await);
    assert!(!world.fill(miss, 1, 1).await);
    assert_eq!(world.found(1).await.as_of, JournalSeq(2));
}

#[tokio::test]
async fn replaced_metadata_is_never_seen_again() {
    let mut world = World::new().await;
    world.ledger.create([1, 2]);
    world.begin().await.unwrap();
    for id in [1, 2] {
        let miss = world.missed(id).await;
        assert!(world.fill(miss, id, 1).await);
    }
    world.ledger.replace_metadata(2);
    assert_eq!(world.found(2).await.as_of, JournalSeq(1), "not flushed yet");
    world.flush().await.unwrap();
    // The journal tells nothing else of what does not move, so the store is asked; one that is late is not believed.
    let miss = world.missed(2).await;
    assert!(!world.fill(miss, 2, 1).await);
    world.missed(2).await;
    world.evict(":a:2");
    assert!(!world.fill(miss, 2, 1).await);
    world.missed(2).await;
    assert!(world.fill(miss, 2, 2).await);
    assert_eq!(world.found(2).await.as_of, JournalSeq(2));
    // The other one is as it was.
    assert_eq!(world.found(1).await.as_of, JournalSeq(2));
    // Of an account that moves all the time, what does not move comes from a late store, unless it was replaced since.
    world.ledger.change([2]);
    world.flush().await.unwrap();
    world.evict(":s:2");
    let miss = world.missed(2).await;
    assert!(!world.fill(miss, 2, 2).await);
    assert_eq!(world.found(2).await.as_of, JournalSeq(3));
    world.ledger.replace_metadata(2);
    world.flush().await.unwrap();
    world.ledger.change([2]);
    world.flush().await.unwrap();
    let miss = world.missed(2).await;
    assert!(!world.fill(miss, 2, 3).await);
    world.missed(2).await;
    assert!(!world.fill(miss, 2, 4).await);
    assert_eq!(world.found(2).await.as_of, JournalSeq(5));
}

#[tokio::test]
async fn metadata_that_is_replaced_in_the_flush_of_its_account_is_all_told() {
    let mut world = World::new().await;
    let early = world.missed(2).await;
    world.ledger.create(1..=4);
    world.ledger.replace_metadata(2);
    world.ledger.replace_metadata(4);
    world.ledger.change([2, 4]);
    world.flush().await.unwrap();
    for id in 1..=4 {
        assert_eq!(world.found(id).await.as_of, JournalSeq(4), "account {id}");
    }
    // Whoever read the store in between is late, even when nothing stands there.
    for part in [":a:2", ":s:2"] {
        world.evict(part);
    }
    assert!(!world.fill(early, 2, 1).await);
    world.missed(2).await;
}

#[tokio::test]
async fn a_fill_belongs_to_the_epoch_that_was_missed_in() {
    let mut world = World::new().await;
    world.ledger.create([1]);
    world.begin().await.unwrap();
    let miss = world.missed(1).await;
    world.begin().await.unwrap();
    assert!(!world.fill(miss, 1, 1).await);
    world.missed(1).await;
    // Nor is one account brought in for another.
    let miss = world.missed(2).await;
    assert!(!world.fill(miss, 1, 1).await);
    world.missed(1).await;
}

#[tokio::test]
async fn an_old_writer_that_wakes_up_writes_nothing_more() {
    let mut world = World::new().await;
    world.ledger.create([1]);
    world.flush().await.unwrap();
    let stale = world.ledger.batch(JournalSeq::NONE);

    let newer = world.another_writer();
    let mut old = std::mem::replace(&mut world.writer, newer);
    world.begin().await.unwrap();
    world.ledger.change([1]);
    world.flush().await.unwrap();
    let miss = world.missed(1).await;
    assert!(world.fill(miss, 1, 2).await || world.read(1).await.is_ok());
    let keys = world.keys("");

    assert!(matches!(flush(&mut old, &stale).await, Err(CacheError::EpochLost)));
    let fenced = begin(&mut old, JournalSeq(9)).await;
    assert!(matches!(fenced, Err(CacheError::Fenced { covered: JournalSeq(2) })), "{fenced:?}");
    assert!(matches!(flush(&mut old, &stale).await, Err(CacheError::EpochLost)));
    assert_eq!(world.keys("").len(), keys.len(), "it left something");
    assert_eq!(world.found(1).await.as_of, JournalSeq(2));
    world.flush().await.unwrap();

    // Once the other one is gone and its epoch has expired, it may.
    world.evict(":epoch");
    begin(&mut old, JournalSeq(1)).await.unwrap();
    // And the newer one takes it back when it comes again.
    assert!(matches!(world.flush().await, Err(CacheError::EpochLost)));
    world.begin().await.unwrap();
    assert!(matches!(begin(&mut old, JournalSeq(9)).await, Err(CacheError::Fenced { .. })));
}

#[tokio::test]
async fn a_writer_whose_journal_ends_earlier_waits_for_the_epoch_to_expire() {
    let mut world = World::new().await;
    world.ledger.create([1]);
    world.ledger.change([1]);
    world.flush().await.unwrap();
    let mut behind = world.another_writer();
    let fenced = begin(&mut behind, JournalSeq(1)).await;
    assert!(matches!(fenced, Err(CacheError::Fenced { covered: JournalSeq(2) })), "{fenced:?}");
    world.flush().await.unwrap();
    let left: u64 = world.redis.command(&["PTTL", &world.keys(":epoch")[0]]).parse().unwrap();
    assert!((1..=30_000).contains(&left), "{left}");
    world.evict(":epoch");
    begin(&mut behind, JournalSeq(1)).await.unwrap();
}

#[tokio::test]
async fn a_page_is_kept_for_its_version_only() {
    let mut world = World::new().await;
    world.ledger.create([1]);
    world.ledger.change([1]);
    world.ledger.change([]);
    world.flush().await.unwrap();
    let found = world.found(1).await;
    let (page, query) = (b"rows".to_vec(), b"limit=2".as_slice());
    assert_eq!((found.unchanged_since, found.as_of), (JournalSeq(2), JournalSeq(3)));
    assert_eq!(world.reader.page(&found, query).await, None);
    // A page from before the last change, or from behind what the cache knows, may be of another version.
    for as_of in [1, 4] {
        let put = world.reader.put_page(&found, query, JournalSeq(as_of), page.clone()).await;
        assert!(!put, "as of {as_of}");
    }
    let too_large = vec![0; crate::cache::PAGE_BYTES_MAX + 1];
    assert!(!world.reader.put_page(&found, query, JournalSeq(2), too_large).await);
    assert_eq!(world.keys(":p:*"), [""; 0]);
    assert!(world.reader.put_page(&found, query, JournalSeq(2), page.clone()).await);
    assert_eq!(world.reader.page(&found, query).await, Some(page.clone()));
    assert_eq!(world.reader.page(&found, b"limit=3").await, None);
    // It stays right when others change, and is not asked for any more when its account does.
    world.ledger.change([]);
    world.flush().await.unwrap();
    let found = world.found(1).await;
    assert_eq!(world.reader.page(&found, query).await, Some(page));
    world.ledger.change([1]);
    world.flush().await.unwrap();
    let found = world.found(1).await;
    assert_eq!(world.reader.page(&found, query).await, None);
}

#[tokio::test]
async fn what_is_looked_up_in_one_turn_is_asked_in_one_command() {
    let mut world = World::new().await;
    world.ledger.create(1..=120);
    world.flush().await.unwrap();
    world.found(1).await;
    let commands = || -> u64 {
        let told = world.redis.command(&["INFO", "commandstats"]);
        let calls =
            told.split("cmdstat_mget:calls=").nth(1).and_then(|rest| rest.split(',').next());
        calls.unwrap().parse().unwrap()
    };
    // Some are not there; of those that are each caller gets its own.
    for (ids, expected) in [(1..=1, 1), (100..=125, 1), (1..=130, 2)] {
        let before = commands();
        let reads: Vec<_> = ids
            .map(|id| {
                let reader = world.reader.clone();
                (
                    id,
                    tokio::spawn(
                        async move { reader.account(AccountId(id), JournalSeq::NONE).await },
                    ),
                )
            })
            .collect();
        for (id, read) in reads {
            match read.await.unwrap() {
                Ok(found) => {
                    let known = world.ledger.at(found.as_of, id);
                    assert_eq!(known, Some(&(found.account, found.metadata)), "account {id}");
                }
                Err(_) => assert!(id > 120, "account {id} is cached"),
            }
        }
        assert_eq!(commands() - before, expected);
    }
}
