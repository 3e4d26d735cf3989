//! Processes of role `read` and `write`: who answers what, and from where.

use std::time::{Duration, Instant};

use florin_tests::bank::{TestBank, transfer, transfer_with_id};
use florin_tests::http::{Client, Reply};
use florin_tests::postgres::Postgres;
use florin_tests::redis::Redis;
use florin_tests::server::TestServer;
use serde_json::{Value, json};

/// Asks until the answer comes from there.
#[track_caller]
pub(crate) fn from(client: &Client, request: &str, source: &str) -> Reply {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let reply = client.request(request).send(());
        if reply.status == 200 && reply.header("florin-source") == Some(source) {
            return reply;
        }
        assert!(Instant::now() < deadline, "{request} is never from {source}: {reply:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn readers_answer_from_cache_and_store_and_pass_commands_on() {
    let postgres = Postgres::shared();
    let mut redis = Redis::start();
    let (database, cache) = (postgres.url(&postgres.create_database()), redis.url());
    let urls = [("FLORIN_DATABASE_URL", database.as_str()), ("FLORIN_REDIS_URL", cache.as_str())];
    let writer = TestServer::start_with_variables(&["--role", "write"], &urls);
    let base = writer.base();
    let bank = TestBank::of(writer);
    let words = ["--role", "read", "--writer-url", &base];
    let reader = TestServer::start_with_variables(&words, &urls);
    let reader = TestBank::of(reader);
    reader.account(1);
    reader.account(2);
    // The answer of the writer is passed on, with its position and whether it is told again.
    let sent =
        json!({"id": "7", "debit_account_id": "1", "credit_account_id": "2", "amount": "3.00"});
    let first = reader.client().request("POST /v1/transfers").send(sent.clone());
    assert_eq!(
        (first.status, first.header("location")),
        (201, Some("/v1/transfers/7")),
        "{first:?}"
    );
    let again = reader.client().request("POST /v1/transfers").send(sent);
    assert!(again.status == 200 && again.is_replayed(), "{again:?}");
    let refused = reader.client().request("POST /v1/transfers").send(transfer(1, 9, "1.00"));
    assert_eq!(refused.summary(), "422 credit_account_not_found", "{refused:?}");
    let keyed = reader.client().request("POST /transaction").header("idempotency-key", "k");
    let keyed = keyed.send(json!({"from": 1, "to": 2, "amount": 1})).json();
    let again = reader.client().request("POST /transaction").header("idempotency-key", "k");
    assert_eq!(again.send(json!({"from": 1, "to": 2, "amount": 1})).json(), keyed);
    // A read that waits for a position shows what was acknowledged there.
    let seq = bank.client().request("POST /v1/transfers").send(transfer(1, 2, "6.00")).seq();
    let read = reader.client().request(&format!("GET /v1/accounts/2?min_seq={seq}")).send(());
    assert_eq!(read.json()["balance"], "10.00", "{read:?}");
    assert!(read.seq() >= seq, "{read:?}");
    let cached = from(reader.client(), "GET /balance/2", "cache").json();
    assert_eq!(cached, json!({"account_id": 2, "balance": 10.0, "cached": true}));
    let list =
        reader.client().request(&format!("GET /v1/accounts/2/transfers?min_seq={seq}")).send(());
    assert_eq!(list.json()["data"].as_array().map(Vec::len), Some(3), "{list:?}");
    assert_eq!(list.header("florin-source"), Some("store"));
    // The writer leaves lists to readers.
    bank.check("GET /v1/transfers", (), "405 write_only");
    assert_eq!(bank.balance(2), "10.00");
    let whole = ready(&reader, "store", "ok");
    assert!(whole["parts"]["store"]["seq"].as_u64() >= Some(seq), "{whole}");
    // Without the cache the store answers, and the cache comes back by itself.
    for server in [&bank, &reader] {
        let whole = ready(server, "cache", "ok");
        assert_eq!(whole["status"], "ok", "{whole}");
        assert!(whole["parts"]["cache"]["seq"].as_u64() >= Some(seq), "{whole}");
        assert_eq!(whole["parts"]["cache"]["lag_records"], 0, "{whole}");
    }
    redis.kill();
    let read = from(reader.client(), &format!("GET /v1/accounts/2?min_seq={seq}"), "store");
    assert_eq!(read.json()["balance"], "10.00");
    bank.transfer(1, 2, "1.00");
    for server in [&bank, &reader] {
        let without = ready(server, "cache", "away");
        assert_eq!(without["status"], "degraded", "{without}");
        assert!(without["parts"]["cache"]["error"].is_string(), "{without}");
        assert!(without["parts"]["cache"]["lag_records"].as_u64() > Some(0), "{without}");
    }
    assert!(ready(&bank, "cache", "away")["parts"]["cache"]["away_seconds"].is_number());
    metric(&reader, "florin_cache_circuit_open 1");
    metric(&bank, "florin_cache_state 0");
    redis.start_again();
    bank.transfer(1, 2, "1.00");
    let deadline = Instant::now() + Duration::from_secs(30);
    while from(reader.client(), "GET /v1/accounts/2", "cache").json()["balance"] != "12.00" {
        assert!(Instant::now() < deadline, "the cache does not follow");
        bank.transfer(2, 1, "0.00");
    }
    for server in [&bank, &reader] {
        assert_eq!(ready(server, "cache", "ok")["status"], "ok");
    }
    metric(&reader, "florin_cache_circuit_open 0");
    metric(&bank, "florin_cache_state 1");
    let metrics = reader.client().request("GET /metrics").send(()).body;
    let counted = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok()).unwrap_or_default()
    };
    for name in [
        "florin_cache_reads_total{result=\"hit\"}",
        "florin_cache_reads_total{result=\"error\"}",
        "florin_reads_total{source=\"cache\"}",
        "florin_reads_total{source=\"store\"}",
    ] {
        assert!(counted(name) > 0, "{name}: {metrics}");
    }
}

/// Waits until `/metrics` has this line.
#[track_caller]
fn metric(bank: &TestBank, line: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let metrics = bank.client().request("GET /metrics").send(()).body;
        if metrics.lines().any(|shown| shown == line) {
            return;
        }
        assert!(Instant::now() < deadline, "never {line}: {metrics}");
        // Something has to be asked for the circuit to see how the cache is.
        let _ = bank.client().request("GET /v1/accounts/2").send(());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_reader_without_a_writer_only_reads() {
    let postgres = Postgres::shared();
    let database = postgres.url(&postgres.create_database());
    let variables = [("FLORIN_DATABASE_URL", database.as_str())];
    let reader = TestServer::start_with_variables(&["--role", "read"], &variables);
    let reader = TestBank::of(reader);
    // Nobody has filled the store yet.
    let ready = reader.client().request("GET /readyz").send(());
    assert_eq!((ready.status, &ready.json()["status"]), (503, &json!("away")), "{ready:?}");
    assert_eq!(reader.client().request("GET /healthz").send(()).status, 200);
    reader.check("POST /v1/transfers", transfer(1, 2, "1.00"), "405 read_only");
    let bank = TestBank::of(TestServer::start_with_variables(&[], &variables));
    bank.account(1);
    let found = from(reader.client(), "GET /v1/accounts?min_seq=2", "store");
    assert_eq!(found.json()["data"][0]["id"], "1");
    let late = reader.client().request("GET /v1/accounts/1?min_seq=999").send(());
    assert_eq!(late.summary(), "503 not_yet", "{late:?}");
    let lost = TestServer::start_with_variables(
        &["--role", "read", "--writer-url", "http://127.0.0.1:9"],
        &variables,
    );
    TestBank::of(lost).check("POST /v1/transfers", transfer(1, 2, "1.00"), "503 writer_away");
}

/// A writer and a reader over a store and a cache of their own; accounts 1 and 2, of which 1 keeps its history.
struct Pair<'a> {
    postgres: &'a Postgres,
    database: String,
    redis: Redis,
    writer: TestBank,
    reader: TestBank,
}

impl Pair<'_> {
    fn start(postgres: &Postgres) -> Pair<'_> {
        let redis = Redis::start();
        let database = postgres.create_database();
        let (url, cache) = (postgres.url(&database), redis.url());
        let urls = [("FLORIN_DATABASE_URL", url.as_str()), ("FLORIN_REDIS_URL", cache.as_str())];
        let writer = TestBank::of(TestServer::start_with_variables(&[], &urls));
        // What is created before the cache begins is brought in by readers; here it is to be there at once.
        ready(&writer, "cache", "ok");
        writer.account_with(json!({"id": "1"}), &["history"]);
        writer.account(2);
        let reader = TestServer::start_with_variables(&["--role", "read"], &urls);
        Pair { postgres, database, redis, writer, reader: TestBank::of(reader) }
    }

    fn read(&self, path: &str) -> Reply {
        self.reader.client().request(&format!("GET {path}")).send(()).expect("200")
    }

    /// Reads what the owner told up to `seq`, until it is from the cache; every answer on the way shows the same.
    #[track_caller]
    fn until_cached(&self, path: &str, seq: u64) -> Reply {
        let joint = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{joint}min_seq={seq}");
        let first = self.read(&path);
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let reply = self.read(&path);
            assert_eq!(reply.json()["data"], first.json()["data"], "{path}: {reply:?} {first:?}");
            assert_eq!(reply.json()["as_of_seq"].as_u64(), Some(reply.seq()), "{reply:?}");
            assert!(reply.seq() >= seq, "{path}: {reply:?}");
            if reply.header("florin-source") == Some("cache") {
                return reply;
            }
            assert!(Instant::now() < deadline, "{path} is never from the cache: {reply:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Moves money from 1 to 2, and gives the position.
    fn transfer(&self, id: u128, amount: &str) -> u64 {
        let sent = transfer_with_id(id, 1, 2, amount);
        self.writer.client().request("POST /v1/transfers").send(sent).expect("201").seq()
    }
}

#[test]
fn an_account_of_a_ledger_that_the_store_does_not_have_yet_is_no_error() {
    let pair = Pair::start(Postgres::shared());
    let count = |locks: &str| {
        let counted = format!("SELECT count(*) FROM pg_locks WHERE {locks}");
        pair.postgres.psql(&pair.database, &counted).trim().parse::<u64>().expect("a number")
    };
    let lock = "BEGIN; LOCK TABLE florin.ledgers IN EXCLUSIVE MODE; SELECT pg_sleep(4); COMMIT";
    let held = "granted AND mode = 'ExclusiveLock' AND relation = 'florin.ledgers'::regclass";
    std::thread::scope(|scope| {
        let locking = scope.spawn(|| pair.postgres.psql(&pair.database, lock));
        while count(held) == 0 {
            assert!(!locking.is_finished(), "it was never locked");
        }
        let ledger = json!({"id": 2, "currency": "USD", "scale": 2});
        pair.writer.check("POST /v1/ledgers", ledger, "201");
        pair.writer.account_with(json!({"id": "50", "ledger": 2}), &[]);
        while count("NOT granted") == 0 {
            assert!(!locking.is_finished(), "the store was never kept waiting");
        }
        let mut answers = 0;
        while !locking.is_finished() {
            let found = pair.reader.client().request("GET /v1/accounts/50").send(());
            // As of where the store stands, it is not there.
            assert!(found.summary() == "404 account_not_found" || found.status == 200, "{found:?}");
            answers += 1;
        }
        assert!(answers > 10);
        locking.join().expect("it was locked");
    });
    let seq = pair.writer.client().request("GET /v1/accounts/50").send(()).seq();
    assert_eq!(pair.read(&format!("/v1/accounts/50?min_seq={seq}")).json()["ledger"], 2);
}

fn ids(reply: &Reply) -> Vec<String> {
    let page = reply.json();
    let rows = page["data"].as_array().expect("a page has data");
    rows.iter().map(|row| row["id"].as_str().expect("a transfer has an id").to_owned()).collect()
}

/// Waits until a part of `/readyz` is so.
#[track_caller]
pub(crate) fn ready(bank: &TestBank, part: &str, word: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let ready = bank.client().request("GET /readyz").send(()).expect("200").json();
        if ready["parts"][part]["status"] == word {
            return ready;
        }
        assert!(Instant::now() < deadline, "{part} is never {word}: {ready}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn pages_of_history_are_kept_for_the_version_of_their_account() {
    let pair = Pair::start(Postgres::shared());
    pair.transfer(11, "1.00");
    let seq = pair.transfer(12, "2.00");
    let kept = pair.until_cached("/v1/accounts/1/transfers", seq);
    assert_eq!(ids(&kept), ["12", "11"]);
    let balances = pair.until_cached("/v1/accounts/1/balances", seq).json();
    assert_eq!(balances["data"][0]["balance"], "-3.00", "{balances}");
    // What is asked for otherwise is another page, and the cursor of a kept page leads on.
    let first = pair.until_cached("/v1/accounts/1/transfers?limit=1", seq);
    assert_eq!(ids(&first), ["12"]);
    let cursor = first.json()["next_cursor"].as_str().expect("there is more").to_owned();
    let path = format!("/v1/accounts/1/transfers?limit=1&cursor={cursor}");
    assert_eq!(ids(&pair.until_cached(&path, seq)), ["11"]);
    for (query, expected) in [
        ("order=asc", &["11", "12"][..]),
        ("side=credit", &[]),
        ("min_amount=1.50", &["12"]),
        ("max_amount=1.50", &["11"]),
        ("limit=2&order=asc", &["11", "12"]),
    ] {
        let found = pair.until_cached(&format!("/v1/accounts/1/transfers?{query}"), seq);
        assert_eq!(ids(&found), expected, "{query}");
    }
    let other = pair.until_cached("/v1/accounts/2/transfers?side=credit", seq);
    assert_eq!(ids(&other), ["12", "11"]);
    // A cursor of another list is refused, also where pages are kept.
    let wrong = format!("GET /v1/accounts/2/transfers?limit=1&cursor={cursor}");
    pair.reader.check(&wrong, (), "400 cursor");
    // A change of another account leaves the page, and moves what it is as of.
    pair.writer.account(3);
    pair.writer.account(4);
    let sent = pair.writer.client().request("POST /v1/transfers").send(transfer(3, 4, "9.00"));
    let later = from(
        pair.reader.client(),
        &format!("GET /v1/accounts/1/transfers?min_seq={}", sent.seq()),
        "cache",
    );
    assert_eq!((ids(&later), later.seq() >= sent.seq()), (ids(&kept), true), "{later:?}");
    // A change of its own is seen at once by who asks for it.
    let seq = pair.transfer(13, "4.00");
    let path = format!("/v1/accounts/1/transfers?min_seq={seq}");
    assert_eq!(ids(&pair.read(&path)), ["13", "12", "11"]);
    assert_eq!(ids(&pair.until_cached("/v1/accounts/1/transfers", seq)), ["13", "12", "11"]);
    let balances = pair.until_cached("/v1/accounts/1/balances?limit=1", seq).json();
    assert_eq!(balances["data"][0]["balance"], "-7.00", "{balances}");
    // Everything goes, and comes back right.
    pair.redis.flush();
    let emptied = pair.read("/v1/accounts/1/transfers");
    assert_eq!(emptied.header("florin-source"), Some("store"), "{emptied:?}");
    assert_eq!(ids(&emptied), ["13", "12", "11"]);
    assert_eq!(ids(&pair.until_cached("/v1/accounts/1/transfers", seq)), ["13", "12", "11"]);
}

#[test]
fn a_cache_that_hangs_or_refuses_changes_nothing_but_speed() {
    let pair = Pair::start(Postgres::shared());
    let path = "/v1/accounts/1/transfers";
    let mut seq = pair.transfer(11, "1.00");
    let _ = pair.until_cached(path, seq);
    // It takes no more: neither the owner's changes nor the readers' pages.
    assert_eq!(pair.redis.command(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    seq = pair.transfer(12, "2.00");
    ready(&pair.writer, "cache", "away");
    for _ in 0..3 {
        let told = pair.read(&format!("{path}?min_seq={seq}"));
        assert_eq!(
            (told.header("florin-source"), ids(&told).len()),
            (Some("store"), 2),
            "{told:?}"
        );
    }
    assert_eq!(pair.redis.command(&["CONFIG", "SET", "maxmemory", "0"]), "OK");
    assert_eq!(ids(&pair.until_cached(path, seq)), ["12", "11"]);
    // It answers nothing: the first few wait for it, and then nobody does.
    pair.redis.pause();
    seq = pair.transfer(13, "4.00");
    let began = Instant::now();
    for _ in 0..30 {
        let told = pair.read(&format!("{path}?min_seq={seq}"));
        assert_eq!(
            (told.header("florin-source"), ids(&told).len()),
            (Some("store"), 3),
            "{told:?}"
        );
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    metric(&pair.reader, "florin_cache_circuit_open 1");
    assert_eq!(ready(&pair.reader, "cache", "away")["status"], "degraded");
    pair.redis.resume();
    assert_eq!(ids(&pair.until_cached(path, seq)), ["13", "12", "11"]);
}

#[test]
fn a_page_from_a_store_that_is_behind_is_not_kept() {
    let postgres = Postgres::start();
    let pair = Pair::start(&postgres);
    let seq = pair.transfer(11, "1.00");
    let path = "/v1/accounts/1/transfers";
    let before = pair.until_cached(path, seq);
    // The store refuses what comes, and still answers; the cache goes on.
    let psql = |sql: &str| pair.postgres.psql(&pair.database, sql);
    let _ = psql(
        "CREATE FUNCTION florin.refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'not today'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON florin.transfers
            FOR EACH STATEMENT EXECUTE FUNCTION florin.refuse()",
    );
    let late = pair.transfer(12, "2.00");
    let balance =
        from(pair.reader.client(), &format!("GET /v1/accounts/1?min_seq={late}"), "cache");
    assert_eq!(balance.json()["balance"], "-3.00");
    for _ in 0..5 {
        let behind = pair.read(path);
        assert_eq!(behind.header("florin-source"), Some("store"), "{behind:?}");
        assert_eq!(ids(&behind), ["11"]);
        assert!(behind.seq() < late && behind.seq() >= seq, "it says how late it is: {behind:?}");
    }
    // Also for lists that the cache has nothing of, its position is not the store's.
    for path in [path, "/v1/transfers"] {
        let waited = format!("GET {path}?min_seq={late}");
        pair.reader.check(&waited, (), "503 not_yet");
    }
    let _ = psql("DROP FUNCTION florin.refuse() CASCADE");
    let after = pair.until_cached(path, late);
    assert_eq!((ids(&before), ids(&after)), (vec!["11".into()], vec!["12".into(), "11".into()]));
    // While the store is gone, what is kept is told as before, and the cache goes on with accounts.
    postgres.kill();
    let kept = pair.read(path);
    assert_eq!(
        (kept.header("florin-source"), ids(&kept)),
        (Some("cache"), ids(&after)),
        "{kept:?}"
    );
    pair.reader.check(&format!("GET {path}?limit=7"), (), "503 store_away");
    let gone = pair.transfer(13, "4.00");
    let balance =
        from(pair.reader.client(), &format!("GET /v1/accounts/1?min_seq={gone}"), "cache");
    assert_eq!(balance.json()["balance"], "-7.00");
    // What is kept is of the version before: it is not told any more.
    pair.reader.check(&format!("GET {path}"), (), "503 store_away");
    postgres.start_again();
    let back = pair.until_cached(path, gone);
    assert_eq!(ids(&back), ["13", "12", "11"]);
}
