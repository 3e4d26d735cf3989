//! A Redis that is away, empty, older, full, slow or full of strange things.

use std::process::Command;
use std::time::{Duration, Instant};

use florin_engine::{AccountId, JournalSeq};
use florin_tests::redis::Redis;
use uuid::Uuid;

use super::world::{World, broken_off, options};
use crate::cache::{CacheError, CacheOptions, CacheReader, CacheWriter, CachedAccount};

#[tokio::test]
async fn an_emptied_cache_answers_nothing_until_it_begins_anew() {
    let mut world = World::new().await;
    world.ledger.create([1]);
    world.flush().await.unwrap();
    world.redis.flush();
    world.missed(1).await;
    world.ledger.change([1]);
    assert!(matches!(world.flush().await, Err(CacheError::EpochLost)));
    assert_eq!(world.keys(""), [""; 0], "nothing is written without an epoch");
    world.begin().await.unwrap();
    let miss = world.missed(1).await;
    assert!(world.fill(miss, 1, 2).await);
    world.found(1).await;
}

#[tokio::test]
async fn without_the_slots_nothing_goes_on() {
    let mut world = World::new().await;
    world.ledger.create([1]);
    world.begin().await.unwrap();
    let miss = world.missed(1).await;
    world.evict(":changes");
    assert!(!world.fill(miss, 1, 1).await);
    world.missed(1).await;
    world.ledger.change([1]);
    assert!(matches!(world.flush().await, Err(CacheError::EpochLost)));
}

#[tokio::test]
async fn a_cache_restarted_from_an_older_file_is_right_as_of_then_and_begins_anew() {
    let mut world = World::new().await;
    world.ledger.create(1..=4);
    world.flush().await.unwrap();
    assert_eq!(world.redis.command(&["SAVE"]), "OK");
    world.ledger.change([1]);
    world.flush().await.unwrap();
    world.redis.kill();
    world.redis.start_again();
    for id in 1..=4 {
        assert_eq!(world.found(id).await.as_of, JournalSeq(1));
    }
    // Entries of the lost step would be missing below a flush that only goes on.
    world.ledger.change([2]);
    assert!(matches!(world.flush().await, Err(CacheError::EpochLost)));
    assert_eq!(world.found(1).await.as_of, JournalSeq(1));
    world.begin().await.unwrap();
    world.missed(1).await;
}

#[tokio::test]
async fn after_a_doubtful_flush_it_goes_on_where_it_stands() {
    let mut world = World::new().await;
    world.ledger.create(1..=9);
    world.flush().await.unwrap();
    let epoch = world.keys(":changes");
    world.redis.pause();
    world.ledger.change([1]);
    let batch = world.ledger.batch(world.covered);
    let started = Instant::now();
    let away = world.writer.flush(&batch).await;
    assert!(matches!(away, Err(CacheError::Away(_))), "{away:?}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    world.ledger.change([2]);
    world.redis.resume();
    // Whether the step was made after all or not, what follows is right.
    world.flush().await.unwrap();
    assert_eq!(world.keys(":changes"), epoch, "the same epoch");
    for id in 1..=9 {
        assert_eq!(world.found(id).await.as_of, JournalSeq(3));
    }
}

#[tokio::test]
async fn after_a_doubtful_flush_an_older_state_is_not_gone_on_with() {
    let mut world = World::new().await;
    world.ledger.create(1..=4);
    world.flush().await.unwrap();
    assert_eq!(world.redis.command(&["SAVE"]), "OK");
    world.ledger.change([1]);
    world.flush().await.unwrap();
    world.redis.pause();
    world.ledger.change([2]);
    let batch = world.ledger.batch(world.covered);
    assert!(matches!(world.writer.flush(&batch).await, Err(CacheError::Away(_))));
    world.redis.kill();
    world.redis.start_again();
    assert!(matches!(world.flush().await, Err(CacheError::EpochLost)));
    assert_eq!(world.found(1).await.as_of, JournalSeq(1));
}

#[tokio::test]
async fn a_flush_that_was_broken_off_covers_nothing_yet() {
    let mut world = World::new().await;
    world.ledger.create(1..=9);
    world.flush().await.unwrap();
    world.ledger.change(1..=9);
    let batch = world.ledger.batch(world.covered);
    // Nine entries take three steps; between two of them the owner dies.
    let mut halves = 0;
    for wakes in 1.. {
        if broken_off(wakes, world.writer.flush(&batch)).await.is_some() {
            break;
        }
        let mut positions = Vec::new();
        for id in 1..=9 {
            positions.push(world.found(id).await);
        }
        let is_written = |it: &&CachedAccount| it.unchanged_since == JournalSeq(2);
        let written = positions.iter().filter(is_written).count();
        let untouched = positions.iter().find(|it| it.unchanged_since == JournalSeq(1));
        assert!(untouched.is_none_or(|it| it.as_of == JournalSeq(1)), "{written} are written");
        halves += u64::from(written != 0 && untouched.is_some());
    }
    assert!(halves > 0, "it was never broken off in the middle");
    world.flush().await.unwrap();
    assert_eq!(world.found(1).await.as_of, JournalSeq(2));
}

#[tokio::test]
async fn a_full_cache_takes_nothing_and_stays_right() {
    let mut world = World::new().await;
    world.ledger.create([1]);
    world.flush().await.unwrap();
    assert_eq!(world.redis.command(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    world.ledger.change([1]);
    let batch = world.ledger.batch(world.covered);
    let refused = world.writer.flush(&batch).await;
    assert!(refused.unwrap_err().to_string().contains("OOM"));
    assert_eq!(world.found(1).await.as_of, JournalSeq(1));
    assert_eq!(world.redis.command(&["CONFIG", "SET", "maxmemory", "0"]), "OK");
    world.flush().await.unwrap();
    assert_eq!(world.found(1).await.as_of, JournalSeq(2));
}

#[tokio::test]
async fn what_can_not_be_decoded_is_not_there() {
    let mut world = World::new().await;
    world.ledger.create([1]);
    world.flush().await.unwrap();
    let keep = world.found(1).await;
    for end in [":a:1", ":s:1", ":epoch"] {
        let key = world.keys(end).remove(0);
        assert_eq!(world.redis.command(&["COPY", &key, "kept"]), "1");
        for strange in ["", "\u{2}", "\u{1}", "no entry at all, but something rather long"] {
            assert_eq!(world.redis.command(&["SET", &key, strange]), "OK");
            let errors = world.reader.counts().errors;
            assert!(
                world.reader.account(AccountId(1), JournalSeq::NONE).await.is_err(),
                "{key}: {strange:?}"
            );
            assert!(world.reader.counts().errors > errors, "{key}: {strange:?}");
        }
        // MGET gives nothing for what is no text.
        let _ = world.redis.command(&["DEL", &key]);
        assert_eq!(world.redis.command(&["LPUSH", &key, "a list"]), "1");
        world.missed(1).await;
        assert_eq!(world.redis.command(&["COPY", "kept", &key, "REPLACE"]), "1");
        let _ = world.redis.command(&["DEL", "kept"]);
        assert_eq!(world.found(1).await, keep);
    }
    // Whatever stands in the epoch's place does not keep a writer from beginning.
    let key = world.keys(":epoch").remove(0);
    assert_eq!(world.redis.command(&["SET", &key, "short"]), "OK");
    world.begin().await.unwrap();
}

#[tokio::test]
async fn a_reader_of_a_cache_that_is_away_does_not_wait_for_it() {
    let mut world = World::new().await;
    world.ledger.create([1]);
    world.flush().await.unwrap();
    world.found(1).await;
    world.redis.kill();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !world.reader.counts().is_open {
        assert!(world.reader.account(AccountId(1), JournalSeq::NONE).await.is_err());
        assert!(Instant::now() < deadline, "the circuit does not open");
    }
    // Of a thousand reads only the few that are let through wait.
    let started = Instant::now();
    for _ in 0..1000 {
        assert!(world.reader.account(AccountId(1), JournalSeq::NONE).await.is_err());
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    world.redis.start_again();
    world.begin().await.unwrap();
    let miss = world.missed(1).await;
    assert!(world.fill(miss, 1, 1).await);
    world.found(1).await;
    assert!(!world.reader.counts().is_open);
}

#[tokio::test]
async fn connections_end_with_who_made_them() {
    let world = World::new().await;
    let clients = || world.redis.command(&["CLIENT", "LIST"]).lines().count();
    let deadline = Instant::now() + Duration::from_secs(20);
    // The owner's one, the reader's two, and the one that asks.
    while clients() < 4 {
        assert!(Instant::now() < deadline, "{} connections", clients());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let before = clients();
    let reader = CacheReader::connect(&options(&world.redis), world.directory).unwrap();
    let _ = reader.account(AccountId(1), JournalSeq::NONE).await;
    while clients() < before + 2 {
        assert!(Instant::now() < deadline, "two connections are made");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(reader);
    while clients() > before {
        assert!(Instant::now() < deadline, "{} connections stay", clients() - before);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_password_is_needed_and_given() {
    let redis = Redis::start();
    assert_eq!(redis.command(&["CONFIG", "SET", "requirepass", "open sesame"]), "OK");
    let mut options = options(&redis);
    let mut writer = CacheWriter::connect(&options, Uuid::nil()).unwrap();
    let refused = writer.begin(JournalSeq(1)).await;
    assert!(matches!(refused, Err(CacheError::Away(_))), "{refused:?}");
    options.password = Some("open sesame".to_owned());
    let mut writer = CacheWriter::connect(&options, Uuid::nil()).unwrap();
    super::world::begin(&mut writer, JournalSeq(1)).await.unwrap();
}

#[tokio::test]
async fn tls_is_checked_with_the_authorities_that_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-days", "2"])
        .args(["-keyout", &path("key.pem"), "-out", &path("cert.pem")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let tls_port = free_port().to_string();
    let _redis = Redis::start_with(&[
        "--save",
        "",
        "--tls-port",
        &tls_port,
        "--tls-cert-file",
        &path("cert.pem"),
        "--tls-key-file",
        &path("key.pem"),
        "--tls-ca-cert-file",
        &path("cert.pem"),
        "--tls-auth-clients",
        "no",
    ]);
    let mut options = CacheOptions::new(format!("rediss://localhost:{tls_port}"));
    options.command_timeout = Duration::from_millis(250);
    options.ca_file = Some(directory.path().join("cert.pem"));
    let mut writer = CacheWriter::connect(&options, Uuid::nil()).unwrap();
    super::world::begin(&mut writer, JournalSeq(1)).await.unwrap();
    // The system knows nothing of this certificate.
    options.ca_file = None;
    let mut writer = CacheWriter::connect(&options, Uuid::nil()).unwrap();
    let refused = writer.begin(JournalSeq(2)).await;
    assert!(matches!(refused, Err(CacheError::Away(_))), "{refused:?}");
}

fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
