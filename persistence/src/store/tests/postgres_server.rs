//! One writer only, and a server that comes and goes.

use std::time::{Duration, Instant};

use florin_engine::JournalSeq;
use florin_tests::postgres::Postgres as Server;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::exactly_once::{apply_interrupted, check_whole, world_of};
use super::world::{World, frame_hash};
use super::{Kind, Place, postgres};
use crate::store::{
    PageRequest, PostgresOptions, Store, StoreBatch, StoreError, StoreErrorKind, TakeOver,
    TransferFilter,
};

fn options(server: &Server, database: &str) -> PostgresOptions {
    let claim_timeout = Duration::from_millis(600);
    PostgresOptions { claim_timeout, ..PostgresOptions::new(server.url(database)) }
}

/// A database in the server that all tests share.
fn shared() -> (&'static Server, String) {
    match Kind::Postgres.place() {
        Place::Server { server, database } => (server, database),
        Place::File(_) => unreachable!("it was asked for in a server"),
    }
}

async fn claimed(options: PostgresOptions) -> Store {
    let store = postgres(options);
    store.claim(TakeOver::WhenFree).await.unwrap();
    store
}

/// The rows of all tables, so that a change of any of them is noticed.
fn rows(server: &Server, database: &str) -> String {
    let tables = "balance_history balances accounts transfers transactions ledgers keyed_records runs amount_blocks checkpoint";
    let counts: Vec<String> = tables
        .split(' ')
        .map(|table| format!("SELECT '{table}', md5(string_agg(t::text, ',' ORDER BY t::text)) FROM florin.{table} t"))
        .collect();
    server.psql(database, &counts.join(" UNION ALL "))
}

#[tokio::test]
async fn a_new_store_is_analysed_without_waiting_for_autovacuum() {
    let (server, database) = shared();
    let (world, _) = world_of(26, 60);
    let store = claimed(options(server, &database)).await;
    let (mut at, mut transfers) = (JournalSeq::NONE, 0);
    let analysed = "SELECT reltuples > 0 FROM pg_class WHERE oid = 'florin.transfers'::regclass";
    while at < world.seq() {
        let batch = world.batch(at, JournalSeq((at.0 + 3).min(world.seq().0)));
        store.apply(&batch).await.unwrap();
        transfers += batch.transfers();
        at = batch.upto();
        let expected = if transfers < 100 { "f" } else { "t" };
        assert_eq!(server.psql(&database, analysed), expected, "after {transfers} transfers");
    }
    assert!(transfers > 200, "{transfers}");
    check_whole(&world, &store).await;
}

#[tokio::test]
async fn a_second_writer_is_refused_and_told_who_writes() {
    let (server, database) = shared();
    let (world, middle) = world_of(20, 6);
    let first = claimed(options(server, &database)).await;
    first.apply(&world.batch(JournalSeq::NONE, middle)).await.unwrap();
    let before = rows(server, &database);

    let second = postgres(options(server, &database));
    let began = Instant::now();
    let error = second.claim(TakeOver::WhenFree).await.unwrap_err();
    assert!(began.elapsed() >= Duration::from_millis(600), "it waits for a process that just ends");
    assert_eq!(error.kind(), StoreErrorKind::Permanent);
    let said = error.to_string();
    let process =
        format!("florin writer, process {} at 127.0.0.1 (server process ", std::process::id());
    assert!(said.starts_with(&format!("another process writes this store: {process}")), "{said}");
    assert!(said.ends_with("); stop it first, or end its claim with --take-over"), "{said}");
    assert_eq!(rows(server, &database), before, "a refused claim changes nothing");
    let error = second.apply(&world.batch(middle, world.seq())).await.unwrap_err();
    assert!(matches!(error, StoreError::NotClaimed), "{error}");

    // It goes on as if nothing had been.
    first.apply(&world.batch(middle, world.seq())).await.unwrap();
    assert_eq!(check_whole(&world, &first).await, world.seq());
    drop(first);
    let checkpoint = second.claim(TakeOver::WhenFree).await.unwrap();
    assert_eq!((checkpoint.seq, checkpoint.epoch), (world.seq(), 2));
    assert_eq!(checkpoint.frame_hash, frame_hash(world.seq()));
}

#[tokio::test]
async fn a_writer_that_dies_while_another_waits_makes_room() {
    let (server, database) = shared();
    let first = claimed(options(server, &database)).await;
    let patient =
        PostgresOptions { claim_timeout: Duration::from_secs(20), ..options(server, &database) };
    let second = postgres(patient);
    let waiting = tokio::spawn(async move { second.claim(TakeOver::WhenFree).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    drop(first);
    assert_eq!(waiting.await.unwrap().unwrap().epoch, 2);
}

#[tokio::test]
async fn of_claims_at_once_one_succeeds() {
    let (server, database) = shared();
    let stores: Vec<Store> = (0..4).map(|_| postgres(options(server, &database))).collect();
    let claims: Vec<_> = stores
        .iter()
        .cloned()
        .map(|store| tokio::spawn(async move { store.claim(TakeOver::WhenFree).await }))
        .collect();
    let mut won = 0;
    for claim in claims {
        match claim.await.unwrap() {
            Ok(checkpoint) => {
                assert_eq!(checkpoint.epoch, 1);
                won += 1;
            }
            Err(error) => assert!(matches!(error, StoreError::ClaimedByOther { .. }), "{error}"),
        }
    }
    assert_eq!(won, 1);
    drop(stores);
}

#[tokio::test]
async fn a_writer_that_was_taken_over_writes_not_one_more_row() {
    let (server, database) = shared();
    let (world, middle) = world_of(21, 6);
    let first = claimed(options(server, &database)).await;
    first.apply(&world.batch(JournalSeq::NONE, middle)).await.unwrap();
    let second = postgres(options(server, &database));
    let checkpoint = second.claim(TakeOver::Force).await.unwrap();
    assert_eq!((checkpoint.seq, checkpoint.epoch), (middle, 2));

    let before = rows(server, &database);
    let rest = world.batch(middle, world.seq());
    let mut errors = Vec::new();
    for _ in 0..3 {
        errors.push(first.apply(&rest).await.unwrap_err());
    }
    // Its session was ended, so at first it only finds the connection gone.
    assert!(matches!(errors[0], StoreError::Away { .. }), "{errors:?}");
    for error in &errors[1..] {
        assert!(matches!(error, StoreError::Fenced { ours: 1, found: 2 }), "{error:?}");
        assert_eq!(error.kind(), StoreErrorKind::Fenced);
    }
    let error = first.sync().await.unwrap_err();
    assert!(matches!(error, StoreError::Fenced { ours: 1, found: 2 }), "{error}");
    assert_eq!(rows(server, &database), before);

    // A third is refused as long as the second lives, whatever the first holds.
    let third = postgres(options(server, &database));
    let error = third.claim(TakeOver::WhenFree).await.unwrap_err();
    assert!(matches!(error, StoreError::ClaimedByOther { .. }), "{error}");
    second.apply(&rest).await.unwrap();
    assert_eq!(second.sync().await.unwrap(), world.seq());
    assert_eq!(check_whole(&world, &second).await, world.seq());
}

#[tokio::test]
async fn a_claim_in_the_middle_of_a_batch_leaves_all_of_it_or_nothing() {
    let (server, database) = shared();
    let (world, middle) = world_of(22, 12);
    let mut at = JournalSeq::NONE;
    for polls in [1, 2, 4, 7, 11, 16, 22, 29] {
        let first = postgres(options(server, &database));
        first.claim(TakeOver::Force).await.unwrap();
        let batch = world.batch(at, if at == JournalSeq::NONE { middle } else { world.seq() });
        // Begun, and kept where it is: the connection stays in the middle of the batch.
        let writer = first.clone();
        let mut applying = Box::pin(async move { writer.apply(&batch).await });
        let mut polled = 0;
        let ended = std::future::poll_fn(|context| {
            if polled == polls {
                return std::task::Poll::Ready(None);
            }
            polled += 1;
            applying.as_mut().poll(context).map(Some)
        })
        .await;
        let second = postgres(options(server, &database));
        let found = second.claim(TakeOver::Force).await.unwrap().seq;
        if ended.is_none() {
            let error = applying.await;
            assert!(error.is_err() || found != at, "a batch that was taken over: {error:?}");
        }
        assert_eq!(check_whole(&world, &second).await, found);
        at = found;
        if at == world.seq() {
            break;
        }
    }
}

#[tokio::test]
async fn a_store_of_another_directory_is_refused_and_left_alone() {
    let (server, database) = shared();
    drop(claimed(options(server, &database)).await);
    let before = rows(server, &database);
    let other = Store::postgres(options(server, &database), Uuid::from_u128(2)).unwrap();
    for take_over in [TakeOver::WhenFree, TakeOver::Force] {
        let error = other.claim(take_over).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Permanent);
        assert_eq!(
            error.to_string(),
            "the store belongs to the data directory 01900000-0000-7000-8000-000000000001, not to this one, 00000000-0000-0000-0000-000000000002"
        );
    }
    let read = other.transfers(&TransferFilter::default(), &PageRequest::first(1)).await;
    assert!(matches!(read, Err(StoreError::ForeignDirectory { .. })), "nor is it read");
    assert_eq!(rows(server, &database), before);
}

#[tokio::test]
async fn schemas_that_do_not_fit_are_refused_in_one_sentence() {
    let (server, database) = shared();
    drop(claimed(options(server, &database)).await);
    let reader = Store::postgres_reader(options(server, &database)).unwrap();
    let store = postgres(options(server, &database));
    let _ =
        server.psql(&database, "UPDATE florin._sqlx_migrations SET version = 99 WHERE version = 9");
    let newer = "the store has schema version 99, and this program knows versions up to 9: use the newer program";
    let error = store.claim(TakeOver::Force).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (StoreErrorKind::Permanent, newer));
    assert_eq!(reader.checkpoint().await.unwrap_err().to_string(), newer);
    let _ = server.psql(&database, "DELETE FROM florin._sqlx_migrations WHERE version = 99");
    let error = reader.checkpoint().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Passing);
    assert_eq!(
        error.to_string(),
        "the store has schema version 8, and this program needs version 9: its writer brings it up to date"
    );

    let (server, database) = shared();
    let _ = server.psql(&database, "CREATE SCHEMA florin; CREATE TABLE florin.recipes (name text)");
    let store = postgres(options(server, &database));
    let error = store.claim(TakeOver::Force).await.unwrap_err();
    assert!(matches!(error, StoreError::NoStore), "{error}");
    assert_eq!(server.psql(&database, "SELECT relname FROM pg_class WHERE relnamespace = 'florin'::regnamespace AND relkind = 'r'"), "recipes");

    let _ = server.psql("postgres", "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0");
    let store = postgres(options(server, "latin"));
    let error = store.claim(TakeOver::WhenFree).await.unwrap_err();
    assert!(error.to_string().starts_with("the database is encoded in LATIN1"), "{error}");
}

#[tokio::test]
async fn a_reader_reads_what_is_there_and_writes_nothing() {
    let (server, database) = shared();
    let (world, middle) = world_of(23, 4);
    let reader = Store::postgres_reader(options(server, &database)).unwrap();
    let error = reader.directory().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Passing);
    assert_eq!(
        error.to_string(),
        "there is no store in the schema florin yet: the ledger's writer makes it"
    );
    assert_eq!(
        server.psql(&database, "SELECT count(*) FROM pg_namespace WHERE nspname = 'florin'"),
        "0"
    );

    let writer = claimed(options(server, &database)).await;
    assert_eq!(reader.directory().await.unwrap(), super::DIRECTORY);
    let first = world.batch(JournalSeq::NONE, middle);
    writer.apply(&first).await.unwrap();
    assert_eq!(check_whole(&world, &reader).await, middle);
    for refused in [
        reader.apply(&world.batch(middle, world.seq())).await.unwrap_err(),
        reader.claim(TakeOver::Force).await.unwrap_err(),
        reader.sync().await.unwrap_err(),
    ] {
        assert!(matches!(refused, StoreError::NotClaimed), "{refused}");
    }
    writer.apply(&world.batch(middle, world.seq())).await.unwrap();
    assert_eq!(check_whole(&world, &reader).await, world.seq());
}

#[tokio::test]
async fn stores_in_two_schemas_of_a_database_know_nothing_of_each_other() {
    let (server, database) = shared();
    let (world, middle) = world_of(24, 4);
    let first = claimed(options(server, &database)).await;
    let elsewhere = PostgresOptions { schema: "books".to_owned(), ..options(server, &database) };
    let second = Store::postgres(elsewhere, Uuid::from_u128(7)).unwrap();
    second.claim(TakeOver::WhenFree).await.unwrap();
    first.apply(&world.batch(JournalSeq::NONE, middle)).await.unwrap();
    second.apply(&world.batch(JournalSeq::NONE, world.seq())).await.unwrap();
    assert_eq!(check_whole(&world, &first).await, middle);
    assert_eq!(check_whole(&world, &second).await, world.seq());
}

#[tokio::test]
async fn a_batch_interrupted_anywhere_is_there_whole_or_not_at_all() {
    let (server, database) = shared();
    let (world, middle) = world_of(25, 12);
    let second = world.batch(middle, world.seq());
    let store = claimed(options(server, &database)).await;
    store.apply(&world.batch(JournalSeq::NONE, middle)).await.unwrap();
    let (mut interrupted, mut polls) = (0, 1);
    loop {
        let ended = apply_interrupted(&store, &second, polls).await;
        let at = check_whole(&world, &store).await;
        assert!(at == middle || at == world.seq(), "{at:?}");
        if ended {
            break;
        }
        interrupted += 1;
        polls += 1;
        if at == world.seq() {
            break;
        }
    }
    // The same process goes on with what the checkpoint says.
    match store.apply(&second).await {
        Ok(()) => {}
        Err(StoreError::NotAtCheckpoint { found, .. }) => assert_eq!(found, world.seq()),
        Err(other) => panic!("{other}"),
    }
    assert_eq!(check_whole(&world, &store).await, world.seq());
    assert!(interrupted > 10, "interrupted between statements: {interrupted}");
}

/// Applies as write-behind does: a batch that may be there already is looked for. Gives how often the server was away.
async fn apply_through(store: &Store, batch: &StoreBatch) -> usize {
    let mut away = 0;
    loop {
        match store.apply(batch).await {
            Ok(()) => return away,
            Err(StoreError::NotAtCheckpoint { found, .. }) => {
                assert_eq!(found, batch.upto(), "the answer to its commit was lost");
                return away;
            }
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Passing, "{error:?}");
                away += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_in_the_middle_of_batches_loses_and_doubles_nothing() {
    let server = Server::start();
    let mut world = World::new(26);
    for _ in 0..300 {
        world.command();
    }
    let store = postgres(options(&server, "postgres"));
    server.kill();
    let error = store.claim(TakeOver::WhenFree).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Passing, "{error:?}");
    server.start_again();
    store.claim(TakeOver::WhenFree).await.unwrap();

    let filling = async {
        let (mut at, mut away) = (JournalSeq::NONE, 0);
        while at < world.seq() {
            let upto = JournalSeq(at.0 + 2).min(world.seq());
            away += apply_through(&store, &world.batch(at, upto)).await;
            at = upto;
        }
        away
    };
    let killing = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(40)).await;
            tokio::task::block_in_place(|| {
                server.kill();
                server.start_again();
            });
        }
    };
    let (away, ()) = tokio::join!(filling, killing);
    assert!(away > 0, "the server was away while the store was filled");
    assert_eq!(check_whole(&world, &store).await, world.seq());
    assert_eq!(store.sync().await.unwrap(), world.seq());
    assert_eq!(store.checkpoint().await.unwrap().epoch, 1, "the claim outlives the server's end");
    // The lock came back with the connections.
    let second = postgres(options(&server, "postgres"));
    let error = second.claim(TakeOver::WhenFree).await.unwrap_err();
    assert!(matches!(error, StoreError::ClaimedByOther { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_stands_still_is_away_in_time() {
    let server = Server::start();
    let (world, middle) = world_of(27, 4);
    let limit = Duration::from_millis(500);
    let hasty = PostgresOptions {
        connect_timeout: limit,
        read_timeout: limit,
        write_timeout: limit,
        ..options(&server, "postgres")
    };
    let store = claimed(hasty.clone()).await;
    let reader = Store::postgres_reader(hasty).unwrap();
    let first = world.batch(JournalSeq::NONE, middle);
    store.apply(&first).await.unwrap();
    reader.checkpoint().await.unwrap();
    server.pause();
    let second = world.batch(middle, world.seq());
    for _ in 0..2 {
        let began = Instant::now();
        let errors = [
            store.apply(&second).await.unwrap_err(),
            store.checkpoint().await.unwrap_err(),
            reader.checkpoint().await.unwrap_err(),
        ];
        assert!(began.elapsed() < 4 * limit, "{:?}", began.elapsed());
        for error in errors {
            assert_eq!(error.kind(), StoreErrorKind::Passing, "{error:?}");
        }
    }
    server.resume();
    apply_through(&store, &second).await;
    assert_eq!(check_whole(&world, &store).await, world.seq());
    assert_eq!(check_whole(&world, &reader).await, world.seq());
}

#[tokio::test]
async fn a_server_that_takes_no_writes_or_no_connections_is_away() {
    let server = Server::start();
    let (world, middle) = world_of(28, 4);
    let store = claimed(options(&server, "postgres")).await;
    let batch = world.batch(JournalSeq::NONE, middle);
    let refused = async |because: &str| {
        // What the restart did to the connection comes first.
        let _ = store.apply(&batch).await;
        let error = store.apply(&batch).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Passing, "{because}: {error:?}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains(because), "{source}");
    };
    let alter = |setting: &str| {
        let _ = server.psql("postgres", &format!("ALTER SYSTEM {setting}"));
    };
    let restart = || {
        server.stop();
        server.start_again();
    };
    alter("SET default_transaction_read_only = on");
    restart();
    refused("read-only transaction").await;
    alter("RESET default_transaction_read_only");
    alter("SET max_connections = 4");
    alter("SET max_wal_senders = 0");
    alter("SET superuser_reserved_connections = 0");
    restart();
    let mut crowd = Vec::new();
    for _ in 0..4 {
        crowd.push(PgConnection::connect(&server.url("postgres")).await.unwrap());
    }
    refused("too many clients").await;
    drop(crowd);
    apply_through(&store, &batch).await;
    assert_eq!(check_whole(&world, &store).await, middle);
}

#[tokio::test]
async fn connections_are_as_secret_as_the_url_says() {
    let server = Server::start();
    let address = format!("postgres://florin@127.0.0.1:{}/postgres", server.port());
    let with = |words: &str| {
        let options = PostgresOptions::new(format!("{address}?{words}"));
        PostgresOptions { claim_timeout: Duration::from_millis(100), ..options }
    };
    let error = postgres(with("sslmode=require")).claim(TakeOver::WhenFree).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Passing, "{error:?}");

    let trusted = server.use_tls();
    let verified = format!("sslmode=verify-full&sslrootcert={}", trusted.display());
    let store = claimed(with(&verified)).await;
    let secret = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name LIKE 'florin writer%'";
    assert_eq!(server.psql("postgres", secret), "t");
    store.checkpoint().await.unwrap();
    // A certificate that nobody vouches for.
    let error = postgres(with("sslmode=verify-full")).claim(TakeOver::WhenFree).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Passing, "{error:?}");
    assert!(matches!(error, StoreError::Away { source: sqlx::Error::Tls(_) | sqlx::Error::Io(_) }));
}

#[tokio::test]
async fn strange_texts_are_kept_exactly_and_never_stop_the_store() {
    let place = Kind::Postgres.place();
    let mut world = World::new(29);
    for _ in 0..40 {
        world.command();
    }
    let strange = [
        r#"{"nul":"\u0000"}"#,
        r#"{"large":1e400000}"#,
        r#"{"small":-1.5e-400000}"#,
        r#"{"deep":[[[[[[[1]]]]]]],"n":1.50}"#,
        "not json at all",
    ];
    let mut given = 0;
    for (_, record, _) in &mut world.records {
        for event in &mut record.events {
            if let florin_engine::Event::TransferPosted(posted) = event
                && let Some(metadata) = &mut posted.transfer.metadata
            {
                metadata.text = strange[given % strange.len()].into();
                given += 1;
                let id = posted.transfer.id;
                let stored = world.transfers.iter_mut().find(|stored| stored.transfer.id == id);
                stored.unwrap().transfer.metadata = posted.transfer.metadata.clone();
            }
            if let florin_engine::Event::LedgerCreated(ledger) = event {
                ledger.name = format!("a\0b {}", ledger.id.0);
                let stored = world.ledgers.iter_mut().find(|stored| stored.ledger.id == ledger.id);
                stored.unwrap().ledger.name = ledger.name.clone();
            }
        }
    }
    assert!(given >= 2 * strange.len());
    let store = place.open().await;
    store.apply(&world.batch(JournalSeq::NONE, world.seq())).await.unwrap();
    assert_eq!(check_whole(&world, &store).await, world.seq());
    for stored in &world.ledgers {
        assert_eq!(store.ledger(stored.ledger.id).await.unwrap().value.as_ref(), Some(stored));
    }
    assert_eq!(place.count("SELECT count(*) FROM ledgers WHERE name LIKE 'a\u{2400}b %'").await, 3);
    let queried = "SELECT count(*) FROM transfers WHERE metadata->'deep' IS NOT NULL";
    let kept = "SELECT count(*) FROM transfers WHERE metadata_text LIKE '{\"deep\"%'";
    assert!(place.count(queried).await > 0);
    assert_eq!(place.count(queried).await, place.count(kept).await);
}
