//! Servers that die, connections that break, keys and certificates.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use florin_client::{ApiKey, Authorities, Client, Settings, TransferId};
use florin_tests::bank::TestBank;
use florin_tests::proxy::{Cut, Proxy};
use florin_tests::server::{TestServer, run};
use tempfile::TempDir;

use super::{balance, client, open, settings, shown, transfer};

fn behind(proxy: &Proxy) -> Settings {
    Settings::new(format!("http://127.0.0.1:{}", proxy.port()))
}

/// Killed in the middle of it again and again: what was acknowledged is there, and what is there was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_and_doubles_nothing() {
    let mut server = TestServer::start();
    let proxy = Proxy::to(server.address().port());
    let client = Client::new(Settings {
        attempt_timeout: Duration::from_secs(5),
        deadline: Duration::from_secs(60),
        ..behind(&proxy)
    })
    .unwrap();
    open(&client, &[1, 2]).await;
    let (leave, acknowledged) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let tasks: Vec<_> = (0..64)
        .map(|number| {
            let (client, leave) = (client.clone(), Arc::clone(&leave));
            let acknowledged = Arc::clone(&acknowledged);
            tokio::spawn(async move {
                let mut done: Vec<(TransferId, bool)> = Vec::new();
                while !leave.load(Ordering::SeqCst) {
                    let made = match number % 8 {
                        0 => transfer(1, 2, 1).with_metadata(&serde_json::json!({"n": number})),
                        _ => Ok(transfer(1, 2, 1)),
                    };
                    let created = client.transfer(made.unwrap()).await.unwrap();
                    done.push((created.id, created.replayed));
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                done
            })
        })
        .collect();
    for round in 1..=4 {
        let goal = acknowledged.load(Ordering::SeqCst) + 300 * round;
        while acknowledged.load(Ordering::SeqCst) < goal {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.kill();
        server.restart();
        proxy.redirect(server.address().port());
    }
    leave.store(true, Ordering::SeqCst);
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    let mut ids: Vec<TransferId> = all.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all.len(), "no id was acknowledged twice");
    let sum = client.balance(super::account(2)).await.unwrap().unwrap().minor_units;
    assert_eq!(sum, i128::try_from(all.len()).unwrap(), "each happened once");
    for ids in ids.chunks(8000) {
        let found = client.transfers(ids).await.unwrap();
        assert!(found.missing.is_empty(), "{} are lost", found.missing.len());
    }
    server.stop();
    server.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_is_asked_for_again() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let proxy = Proxy::to(bank.server.address().port());
    let settings = Settings { attempt_timeout: Duration::from_millis(700), ..behind(&proxy) };
    let client = Client::new(settings).unwrap();
    for (round, (cut, replayed)) in
        (1_u128..).zip([(Cut::After, true), (Cut::Before, false), (Cut::Silence, false)])
    {
        proxy.cut_next(b"POST /v1/transfers/batch", cut);
        let once = transfer(1, 2, 1).with_id(TransferId(round));
        let created = client.transfer(once).await.unwrap();
        assert_eq!((created.id, created.replayed), (TransferId(round), replayed), "{cut:?}");
        proxy.cut_next(b"POST /v1/transfers/batch", cut);
        let batch = [transfer(1, 2, 1)];
        let created = client.transfer_batch(&batch).await.unwrap().remove(0).unwrap();
        assert_eq!(created.replayed, replayed, "{cut:?}");
        assert_eq!(balance(&client, 2).await, format!("0.{:02}", 2 * round));
    }
    assert_eq!(proxy.cuts(), 6);
}

/// What became of a transfer is unknown while nobody answers, and known once somebody does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unknown_is_told_by_its_id_later() {
    let mut bank = TestBank::with_accounts(&[1, 2]);
    let proxy = Proxy::to(bank.server.address().port());
    let client = Client::new(Settings {
        attempt_timeout: Duration::from_millis(300),
        deadline: Duration::from_millis(900),
        ..behind(&proxy)
    })
    .unwrap();
    assert_eq!(balance(&client, 2).await, "0.00");
    proxy.cut_next(b"POST /v1/transfers/batch", Cut::After);
    let once = transfer(1, 2, 1);
    let asked = {
        let (client, once) = (client.clone(), once.clone());
        tokio::spawn(async move { client.transfer(once).await })
    };
    while proxy.cuts() == 0 {
        tokio::task::yield_now().await;
    }
    bank.server.kill();
    let unknown = asked.await.unwrap();
    assert_eq!(shown(&unknown), "unknown", "{unknown:?}");
    // The proxy takes a connection and ends it: as far as anybody knows, something was sent.
    let other = client.transfer(transfer(1, 2, 1)).await;
    assert_eq!(shown(&other), "unknown", "{other:?}");
    bank.restart();
    proxy.redirect(bank.server.address().port());
    client.transfer(once.clone()).await.unwrap();
    client.transfer(once).await.unwrap();
    assert_eq!(balance(&client, 2).await, "0.01");
}

#[tokio::test]
async fn a_key_opens_the_door() {
    let directory = TempDir::with_prefix("florin-test-").unwrap();
    let file = directory.path().join("keys.toml");
    let file = file.to_str().unwrap();
    let key = |scope: &str| {
        let made = run(&["keys", "new", "--scope", scope, "--name", scope, "--file", file]);
        made.stdout.trim_end().to_owned()
    };
    let (write, read) = (key("write"), key("read"));
    let bank = TestBank::of(TestServer::start_with(&["--api-keys", file]));
    let with = |key: Option<&str>| {
        let api_key = key.map(ApiKey::new);
        Client::new(Settings { api_key, ..settings(&bank) }).unwrap()
    };
    let writer = with(Some(&write));
    open(&writer, &[1, 2]).await;
    writer.transfer(transfer(1, 2, 1)).await.unwrap();
    let reader = with(Some(&read));
    assert_eq!(balance(&reader, 2).await, "0.01");
    assert_eq!(shown(&reader.transfer(transfer(1, 2, 1)).await), "forbidden");
    let nobody = client(&bank);
    assert_eq!(shown(&nobody.transfer(transfer(1, 2, 1)).await), "unauthorized");
    assert_eq!(shown(&nobody.transfer_batch(&[transfer(1, 2, 1)]).await), "unauthorized");
    assert_eq!(shown(&nobody.balance(super::account(1)).await), "unauthorized");
    assert_eq!(balance(&reader, 2).await, "0.01");
}

#[tokio::test]
async fn it_speaks_tls_with_those_whom_it_trusts() {
    let directory = TempDir::with_prefix("florin-test-").unwrap();
    let openssl = |words: &str| {
        let mut openssl = Command::new("openssl");
        openssl.args(words.split_whitespace()).current_dir(directory.path());
        let ended = florin_tests::server::run_command(openssl);
        assert_eq!(ended.code, Some(0), "{ended:?}");
    };
    let ec = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!(
        "req -x509 {ec} -days 2 -subj /CN=Test -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.pem"
    ));
    fs::write(directory.path().join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    openssl(&format!("req {ec} -subj /CN=florin -keyout a.key -out a.csr"));
    openssl(
        "x509 -req -in a.csr -CA ca.pem -CAkey ca.key -days 1 -set_serial 1 -extfile names -out a.pem",
    );
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let words = ["--tls-cert", &path("a.pem"), "--tls-key", &path("a.key")];
    let server = TestServer::start_with(&words);
    let url = format!("https://{}", server.address());
    let authorities = Authorities::Pem(fs::read(path("ca.pem")).unwrap());
    let client = Client::new(Settings { authorities, ..Settings::new(&url) }).unwrap();
    open(&client, &[1, 2]).await;
    client.transfer(transfer(1, 2, 1)).await.unwrap();
    assert_eq!(balance(&client, 2).await, "0.01");
    // Whoever signed for this one, it is nobody that is trusted.
    openssl(&format!("req -x509 {ec} -days 2 -subj /CN=Other -keyout o.key -out o.pem"));
    let authorities = Authorities::Pem(fs::read(path("o.pem")).unwrap());
    let stranger = Client::new(Settings { authorities, ..super::hasty(&url) }).unwrap();
    let outcome = stranger.transfer(transfer(1, 2, 1)).await;
    assert_eq!(shown(&outcome), "not sent", "{outcome:?}");
    assert!(format!("{outcome:?}").contains("certificate"), "{outcome:?}");
}
