//! What reads whole tables may take its time, and nothing else: a server that falls silent is found out everywhere.

use std::time::{Duration, Instant};

use florin_engine::JournalSeq;
use florin_tests::postgres::Postgres as Server;
use florin_tests::proxy::{Cut, Proxy};

use super::exactly_once::{check_whole, world_of};
use super::postgres;
use super::world::frame_hash;
use crate::store::{Beyond, PostgresOptions, StoreBatch, StoreError, StoreErrorKind, TakeOver};

/// A statement of a batch may take so long.
const LIMIT: Duration = Duration::from_millis(1500);
/// One that reads a whole table takes so long here, as if there were much in it.
const SLOW: &str = "2.5";

fn options(url: String) -> PostgresOptions {
    PostgresOptions { write_timeout: LIMIT, read_timeout: LIMIT, ..PostgresOptions::new(url) }
}

#[tokio::test]
async fn a_large_store_is_cut_however_long_it_takes() {
    let server = Server::shared();
    let database = server.create_database();
    let (world, middle) = world_of(40, 20);
    let store = postgres(PostgresOptions::new(server.url(&database)));
    store.claim(TakeOver::WhenFree).await.unwrap();
    store.apply(&world.batch(JournalSeq::NONE, middle)).await.unwrap();
    store.apply(&world.batch(middle, world.seq())).await.unwrap();
    drop(store);

    let store = postgres(options(server.url(&database)));
    store.claim(TakeOver::Force).await.unwrap();
    let slow = format!(
        "ALTER TABLE florin.transfers RENAME TO stored;
         CREATE VIEW florin.transfers AS WITH slowly AS MATERIALIZED (SELECT pg_sleep({SLOW}))
            SELECT s.* FROM florin.stored s CROSS JOIN slowly"
    );
    let _ = server.psql(&database, &slow);
    let beyond = store.beyond(middle).await.unwrap();
    let after = world.transfers.iter().filter(|stored| stored.seq > middle).count();
    assert_eq!(beyond, Beyond { transfers: after as u64, accounts: 0 });
    let _ = server.psql(
        &database,
        &format!(
            "DROP VIEW florin.transfers; ALTER TABLE florin.stored RENAME TO transfers;
             CREATE FUNCTION florin.slowly() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_sleep({SLOW}); RETURN NULL; END $$;
             CREATE TRIGGER slowly BEFORE DELETE ON florin.transfers FOR EACH STATEMENT EXECUTE FUNCTION florin.slowly()"
        ),
    );
    let mut to = StoreBatch::new(world.seq());
    to.set_upto(middle, world.clock);
    to.set_frame_hash(frame_hash(middle));
    store.cut(&to).await.unwrap();
    let _ = server.psql(&database, "DROP TRIGGER slowly ON florin.transfers");
    store.apply(&world.batch(middle, world.seq())).await.unwrap();
    assert_eq!(check_whole(&world, &store).await, world.seq());
}

#[tokio::test]
async fn a_large_store_is_brought_up_to_date_however_long_it_takes() {
    let server = Server::shared();
    let database = server.create_database();
    let (world, _) = world_of(41, 10);
    let store = postgres(PostgresOptions::new(server.url(&database)));
    store.claim(TakeOver::WhenFree).await.unwrap();
    store.apply(&world.batch(JournalSeq::NONE, world.seq())).await.unwrap();
    drop(store);
    let _ = server.psql(
        &database,
        &format!(
            "DROP VIEW florin.v_transactions; ALTER TABLE florin.transactions DROP COLUMN first_timestamp;
             DELETE FROM florin._sqlx_migrations WHERE version >= 8;
             CREATE FUNCTION public.slowly() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_sleep({SLOW}); RETURN NULL; END $$;
             CREATE TRIGGER slowly BEFORE UPDATE ON florin.transactions FOR EACH STATEMENT EXECUTE FUNCTION public.slowly()"
        ),
    );
    let store = postgres(options(server.url(&database)));
    let began = Instant::now();
    assert_eq!(store.claim(TakeOver::Force).await.unwrap().seq, world.seq());
    assert!(began.elapsed() > LIMIT, "it took as long as no other statement may");
    assert_eq!(check_whole(&world, &store).await, world.seq());
}

/// Claims and exports end soon when the server says nothing any more to what begins with these words.
async fn check_silence(words: &str) {
    let server = Server::shared();
    let database = server.create_database();
    let proxy = Proxy::to(server.port());
    let store = postgres(options(server.url_at(proxy.port(), &database)));
    store.claim(TakeOver::Force).await.unwrap();
    proxy.cut_next(words.as_bytes(), Cut::Silence);
    let both = async {
        store.claim(TakeOver::Force).await?;
        let mut export = store.export().await?;
        while export.next().await?.is_some() {}
        Ok::<_, StoreError>(())
    };
    let ended = tokio::time::timeout(Duration::from_secs(30), both).await;
    let error = ended.expect("nobody waits for ever").unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Passing, "{error}");
    assert_eq!(proxy.cuts(), 1, "{words}");
    // Nothing of it hinders the next.
    assert_eq!(store.claim(TakeOver::Force).await.unwrap().seq, JournalSeq::NONE);
}

#[tokio::test]
async fn no_wait_for_a_silent_server_is_without_bound() {
    for words in [
        "SELECT ledger_uuid, epoch FROM checkpoint",
        "pg_try_advisory_lock($1)",
        "_sqlx_migrations",
        "UPDATE checkpoint SET epoch",
        "SELECT metadata_indexed FROM checkpoint",
        "enable_seqscan = on",
        "FROM runs",
    ] {
        check_silence(words).await;
    }
}
