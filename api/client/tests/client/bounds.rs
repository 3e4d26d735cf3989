//! Nothing waits for ever, and nothing grows without bound.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use florin_client::{ApiKey, Authorities, Client, Error, Settings, SetupError};
use florin_tests::bank::TestBank;
use florin_tests::server::TestServer;

use super::{account, hasty, open, settings, shown, transfer};

/// A server that takes everything and answers each request with these bytes; counts the requests. With no bytes it is silent.
fn odd_server(answer: &'static [u8]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let counted = Arc::clone(&counted);
            thread::spawn(move || {
                let mut buffer = [0; 64 << 10];
                while let Ok(1..) = stream.read(&mut buffer) {
                    counted.fetch_add(1, Ordering::SeqCst);
                    if !answer.is_empty() && stream.write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (url, count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_never_answers_ends_in_time() {
    let (url, count) = odd_server(b"");
    let client = Client::new(hasty(&url)).unwrap();
    let begun = Instant::now();
    let calls = (0..20).map(|_| client.transfer(transfer(1, 2, 1)));
    for outcome in join(calls.collect()).await {
        assert_eq!(shown(&outcome), "unknown", "{outcome:?}");
    }
    assert_eq!(shown(&client.balance(account(1)).await), "not sent", "a read does nothing");
    let batch = [transfer(1, 2, 1)];
    assert_eq!(shown(&client.transfer_batch(&batch).await), "unknown");
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert!(count.load(Ordering::SeqCst) >= 6, "each is tried more than once");
}

/// All of them, at once.
async fn join<F: Future>(calls: Vec<F>) -> Vec<F::Output> {
    let mut calls: Vec<_> = calls.into_iter().map(Box::pin).collect();
    let mut outcomes: Vec<Option<F::Output>> = calls.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        let mut waits = false;
        for (call, outcome) in calls.iter_mut().zip(&mut outcomes) {
            if outcome.is_none() {
                match call.as_mut().poll(context) {
                    std::task::Poll::Ready(ended) => *outcome = Some(ended),
                    std::task::Poll::Pending => waits = true,
                }
            }
        }
        if waits { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    outcomes.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_listens_nothing_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = Client::new(hasty(&url)).unwrap();
    assert_eq!(shown(&client.transfer(transfer(1, 2, 1)).await), "not sent");
    assert_eq!(shown(&client.transfer_batch(&[transfer(1, 2, 1)]).await), "not sent");
    assert_eq!(shown(&client.account(account(1)).await), "not sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_has_a_bound() {
    let (url, count) = odd_server(b"");
    let settings =
        Settings { batches_in_flight: 1, batch_events: 2, queue_events: 4, ..hasty(&url) };
    let client = Client::new(settings).unwrap();
    let begun = Instant::now();
    let tasks: Vec<_> = (0..30)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.transfer(transfer(1, 2, 1)).await })
        })
        .collect();
    // Until one is on its way and the queue behind it is full, there is room.
    while count.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let full = loop {
        let tried = client.try_transfer(transfer(1, 2, 1));
        match tokio::time::timeout(Duration::from_millis(20), tried).await {
            Ok(outcome) => break outcome,
            Err(_) => assert!(begun.elapsed() < Duration::from_secs(1), "it is never full"),
        }
    };
    assert_eq!(shown(&full), "full", "{full:?}");
    let (mut unknown, mut not_sent) = (0, 0);
    for task in tasks {
        match task.await.unwrap() {
            Err(Error::OutcomeUnknown { .. }) => unknown += 1,
            Err(Error::NotSent { .. }) => not_sent += 1,
            outcome => panic!("{outcome:?}"),
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    // What was never in a request is known not to be done: only one batch of two at a time was.
    assert!((1..=8).contains(&unknown), "{unknown} unknown, {not_sent} not sent");
}

/// However many calls there are, no more requests are on their way than may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_have_a_bound() {
    let (url, count) = odd_server(b"");
    let attempt_timeout = Duration::from_secs(9);
    let client = Client::new(Settings { connections: 3, attempt_timeout, ..hasty(&url) }).unwrap();
    let begun = Instant::now();
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.transfer_batch(&[transfer(1, 2, 1)]).await })
        })
        .collect();
    // Long before the first of them gives up, so that no place gets free.
    while begun.elapsed() < Duration::from_millis(800) {
        assert!(count.load(Ordering::SeqCst) <= 3);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut not_sent = 0;
    for task in tasks {
        match shown(&task.await.unwrap()).as_str() {
            "not sent" => not_sent += 1,
            other => assert_eq!(other, "unknown"),
        }
    }
    let sent = count.load(Ordering::SeqCst);
    assert!(sent >= 3 && not_sent >= 25, "{sent} sent, {not_sent} not sent");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_answers_are_told_from_real_ones() {
    let answers: [(&[u8], &str); 10] = [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nflorin-seq: 1\r\n\r\n{}", "foreign"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "foreign"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 64\r\nflorin-seq: 1\r\n\r\nFLRB\x01\x00\x03\x00\xff\xff\xff\xff----------------------------------------------------", "foreign"),
        (b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\nlocation: /\r\n\r\n", "foreign"),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\n\r\nnope!", "foreign"),
        (b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 5\r\n\r\nnope!", "unknown"),
        (b"HTTP/1.1 422 No\r\ncontent-length: 2\r\ncontent-type: application/problem+json\r\n\r\n[]", "foreign"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\nflorin-seq: 1\r\nconnection: close\r\n\r\nhalf", "unknown"),
        (b"this is no HTTP at all\r\n\r\n", "unknown"),
        (b"HTTP/1.1 503 Later\r\ncontent-length: 59\r\ncontent-type: application/problem+json\r\n\r\n{\"code\":\"overloaded\",\"detail\":\"later\",\"retry\":\"after\"}     ", "not sent"),
    ];
    for (answer, expected) in answers {
        let (url, _) = odd_server(answer);
        let client = Client::new(hasty(&url)).unwrap();
        let shown_answer = String::from_utf8_lossy(answer);
        let outcome = client.transfer(transfer(1, 2, 1)).await;
        assert_eq!(shown(&outcome), expected, "{shown_answer}: {outcome:?}");
        let outcome = client.transfer_batch(&[transfer(1, 2, 1)]).await;
        assert_eq!(shown(&outcome), expected, "{shown_answer}: {outcome:?}");
    }
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    let check = |settings: Settings, expected: &str| {
        let error = Client::new(settings).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    let url = "http://127.0.0.1:1";
    for url in ["127.0.0.1:8080", "ftp://host", "http://host/path", "http://", "http://me@host", ""]
    {
        let expected = format!("{url} is no http:// or https:// with a host and nothing behind it");
        check(Settings::new(url), &expected);
    }
    let new = || Settings::new(url);
    check(Settings { batch_events: 0, ..new() }, "batch_events must be 1 to 8190");
    check(Settings { batch_events: 8191, ..new() }, "batch_events must be 1 to 8190");
    check(Settings { batches_in_flight: 0, ..new() }, "batches_in_flight must be 1 to 1024");
    check(Settings { queue_events: 0, ..new() }, "queue_events must be 1 to 1048576");
    let key = Some(ApiKey::new("flk_a\nb"));
    check(Settings { api_key: key, ..new() }, "the API key has characters that no key has");
    let authorities = Authorities::Pem(b"nothing".to_vec());
    let none = Settings { authorities, ..Settings::new("https://127.0.0.1:1") };
    assert!(matches!(Client::new(none), Err(SetupError::Authorities { .. })));
    let keyed = Settings { api_key: Some(ApiKey::new("flk_secret")), ..new() };
    assert!(!format!("{keyed:?} {:?}", Client::new(keyed.clone())).contains("secret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overloaded_server_is_asked_again_until_it_has_room() {
    let bank = TestBank::of(TestServer::start_with(&["--events-in-flight", "50"]));
    let settings = Settings { batch_events: 40, batches_in_flight: 8, ..settings(&bank) };
    let client = Client::new(settings).unwrap();
    open(&client, &[1, 2]).await;
    let tasks: Vec<_> = (0..2000)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.transfer(transfer(1, 2, 1)).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(super::balance(&client, 2).await, "20.00");
}
