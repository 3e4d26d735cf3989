//! TLS to what stands behind: Redis and PostgreSQL, with the right authority and with others. The passwords in their URLs are told to nobody.

use std::fs;
use std::net::TcpListener;

use florin_tests::bank::TestBank;
use florin_tests::postgres::Postgres;
use florin_tests::redis::Redis;
use florin_tests::server::TestServer;
use serde_json::Value;

use super::Authority;
use crate::readers::{from, ready};

const PASSWORD: &str = "hush-this-is-secret";

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("it has an address").port()
}

/// Nothing that an operator or a client is shown has the password in it.
#[track_caller]
fn is_silent(bank: &TestBank) {
    for path in ["/readyz", "/metrics", "/version", "/openapi.json"] {
        let shown = bank.client().request(&format!("GET {path}")).send(()).body;
        assert!(!shown.contains(PASSWORD), "{path}: {shown}");
    }
    let log = bank.server.stderr();
    assert!(!log.contains(PASSWORD), "{log}");
}

/// A Redis that speaks TLS at a second port, with a certificate of this authority, and wants the password.
fn redis(authority: &Authority) -> (Redis, u16) {
    authority.sign("redis", 1);
    let (port, word) = (free_port(), |name: &str| authority.word(name));
    let (cert, key, ca) = (word("redis.pem"), word("redis.key"), word("ca.pem"));
    let redis = Redis::start_with(&[
        "--save",
        "",
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "no",
    ]);
    assert_eq!(redis.command(&["CONFIG", "SET", "requirepass", PASSWORD]), "OK");
    (redis, port)
}

#[test]
fn redis_is_trusted_by_its_authority_only() {
    let authority = Authority::new();
    let (_redis, port) = redis(&authority);
    let url = format!("rediss://:{PASSWORD}@127.0.0.1:{port}/0");
    // As a secret that is mounted.
    fs::write(authority.path("redis-url"), &url).expect("the directory is ours");
    let postgres = Postgres::shared();
    let database = postgres.url(&postgres.create_database());
    let file = authority.word("redis-url");
    let variables =
        [("FLORIN_DATABASE_URL", database.as_str()), ("FLORIN_REDIS_URL_FILE", file.as_str())];
    let ca = authority.word("ca.pem");
    let trusting = ["--redis-ca", ca.as_str()];
    let writer = TestBank::of(TestServer::start_with_variables(&trusting, &variables));
    ready(&writer, "cache", "ok");
    writer.account(1);
    let words = [&trusting[..], &["--role", "read"]].concat();
    let reader = TestBank::of(TestServer::start_with_variables(&words, &variables));
    let found = from(reader.client(), "GET /v1/accounts/1?min_seq=2", "cache");
    assert_eq!(found.json()["id"], "1");
    assert_eq!(ready(&reader, "cache", "ok")["status"], "ok");
    // Another authority, those of the system, and no TLS at all.
    let stranger = Authority::new();
    let other = stranger.word("ca.pem");
    let plain = url.replace("rediss://", "redis://");
    for (words, url, reason) in [
        (&["--redis-ca", other.as_str()][..], &url, "InvalidCertificate"),
        (&[], &url, "InvalidCertificate"),
        (&trusting, &plain, "does not answer"),
        (&trusting, &url.replace(PASSWORD, "hush-this-is-secret-not"), "WRONGPASS"),
    ] {
        let variables = [("FLORIN_REDIS_URL", url.as_str())];
        let bank = TestBank::of(TestServer::start_with_variables(words, &variables));
        let away = until_away(&bank, "cache", reason);
        assert_eq!(away["status"], "degraded", "{words:?} {away}");
        bank.account(1);
        bank.account(2);
        bank.transfer(1, 2, "1.00");
        is_silent(&bank);
    }
    // A file that can not be used is told at the start.
    let missing = authority.word("nothing.pem");
    for (file, expected) in [(&missing, "can not be read from"), (&file, "there is no certificate")]
    {
        let unused =
            TestServer::on_copy_of(&stopped(), &["--redis-url", &url, "--redis-ca", file.as_str()]);
        let ended = unused.refused_restart();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains(expected) && ended.stderr.contains(file), "{ended:?}");
        assert!(!ended.stderr.contains(PASSWORD), "{ended:?}");
    }
    is_silent(&writer);
    is_silent(&reader);
}

fn stopped() -> TestServer {
    let mut server = TestServer::start();
    server.stop();
    server
}

/// Waits until this part is away for this reason.
#[track_caller]
fn until_away(bank: &TestBank, part: &str, reason: &str) -> Value {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let shown = ready(bank, part, "away");
        let error = shown["parts"][part]["error"].as_str().unwrap_or_default();
        if error.contains(reason) {
            return shown;
        }
        assert!(std::time::Instant::now() < deadline, "{shown}");
    }
}

#[test]
fn postgresql_is_trusted_by_its_authority_only() {
    let postgres = Postgres::start();
    let trusted = postgres.use_tls();
    let database = postgres.create_database();
    let (port, ca) = (postgres.port(), trusted.display());
    let url = |words: &str| {
        format!("postgres://florin:{PASSWORD}@127.0.0.1:{port}/{database}?sslmode={words}")
    };
    let start = |url: &str| {
        TestBank::of(TestServer::start_with_variables(&[], &[("FLORIN_DATABASE_URL", url)]))
    };
    let mut bank = start(&url(&format!("verify-full&sslrootcert={ca}")));
    bank.account(1);
    bank.account(2);
    bank.transfer(1, 2, "1.00");
    ready(&bank, "store", "ok");
    assert_eq!(bank.ids("/v1/transfers?min_seq=4").len(), 1);
    let secret =
        "SELECT bool_and(ssl), count(*) > 1 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                  WHERE application_name LIKE 'florin %'";
    assert_eq!(postgres.psql(&database, secret), "t|t");
    is_silent(&bank);
    bank.server.stop();
    let verified = bank.server.verify();
    assert!(!(verified.stdout + &verified.stderr).contains(PASSWORD));
    // Another authority, or those of the system: it is not spoken to, and the ledger goes on.
    let stranger = Authority::new();
    let other = format!("verify-full&sslrootcert={}", stranger.word("ca.pem"));
    for words in [other.as_str(), "verify-full"] {
        let bank = start(&url(words));
        bank.account(1);
        bank.account(2);
        bank.transfer(1, 2, "1.00");
        let away = until_away(&bank, "store", "certificate");
        assert_eq!(away["status"], "degraded", "{away}");
        is_silent(&bank);
    }
    let count = "SELECT count(*) FROM florin.transfers";
    assert_eq!(postgres.psql(&database, count), "1");
}
