//! Clients that are slow, broken or too many: they get what the contract says, cost a bounded amount of memory, and keep nobody else waiting.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use florin_tests::bank::{TestBank, transfer, transfer_with_id};
use florin_tests::load::money;
use florin_tests::random::Random;
use florin_tests::server::TestServer;
use florin_tests::wire::{self, Wire, raise_file_limit};

/// Idle connections in CI; `FLORIN_IDLE_CONNECTIONS` asks for another number.
const IDLE: u64 = 3_000;
/// How long anyone else may wait for a transfer meanwhile, on a machine that does other things too.
const BOUND: Duration = Duration::from_secs(5);
/// What bad clients may cost together, in KiB.
const MEMORY_KIB: u64 = 300 << 10;

/// Does something while an ordinary client moves money, which is served all the time, each time within the bound.
fn while_others_are_served<T>(bank: &TestBank, something: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let client = bank.server.client();
        let done = &done;
        let other = scope.spawn(move || {
            let mut served = 0;
            while served == 0 || !done.load(Ordering::Relaxed) {
                let began = Instant::now();
                let reply = client.request("POST /v1/transfers").send(transfer(1, 2, "1.00"));
                assert_eq!(reply.status, 201, "{reply:?}");
                assert!(began.elapsed() < BOUND, "it took {:?}", began.elapsed());
                served += 1;
                thread::sleep(Duration::from_millis(2));
            }
            served
        });
        let result = something();
        done.store(true, Ordering::Relaxed);
        let served: u32 = other.join().unwrap_or_else(|_| panic!("somebody was not served"));
        assert!(served > 0);
        result
    })
}

/// A figure of the server's process, in KiB.
fn memory_kib(bank: &TestBank, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", bank.server.pid()));
    let status = status.unwrap_or_else(|error| panic!("{error}"));
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let figure = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    figure.unwrap_or_else(|| panic!("no {name} in {status}"))
}

/// Does something that costs the server no more than the bound at any moment.
fn within_memory<T>(bank: &TestBank, something: impl FnOnce() -> T) -> T {
    let before = memory_kib(bank, "VmRSS");
    let result = something();
    let peak = memory_kib(bank, "VmHWM");
    assert!(peak < before + MEMORY_KIB, "{before} KiB before, {peak} KiB at the worst moment");
    result
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{error}"));
    let patience = stream.set_read_timeout(Some(Duration::from_secs(20)));
    patience.unwrap_or_else(|error| panic!("{error}"));
    let patience = stream.set_write_timeout(Some(Duration::from_millis(200)));
    patience.unwrap_or_else(|error| panic!("{error}"));
    stream
}

fn head(path: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: florin\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
}

fn whole(path: &str, body: &str) -> Vec<u8> {
    format!("{}{body}", head(path, body.len())).into_bytes()
}

#[test]
fn thousands_of_connections_that_say_little_or_nothing() {
    let asked = std::env::var("FLORIN_IDLE_CONNECTIONS").ok();
    let asked = asked.map_or(IDLE, |asked| asked.parse().unwrap_or_else(|_| panic!("{asked}")));
    // Both ends of each connection are files, of different processes; each needs some for itself.
    let count = asked.min(raise_file_limit().saturating_sub(500));
    assert!(count >= 500, "this machine allows too few files to test with: {count}");
    let bank = TestBank::with_accounts(&[1, 2]);
    let address = bank.server.address();
    within_memory(&bank, || {
        while_others_are_served(&bank, || {
            let mut crowd: Vec<TcpStream> = Vec::new();
            for number in 0..count {
                let mut stream = connect(address);
                let said: &[u8] = match number % 4 {
                    0 => b"",
                    1 => b"POST /v1/tran",
                    2 => b"POST /v1/transfers HTTP/1.1\r\nHost: florin\r\nX-",
                    _ => b"POST /v1/transfers HTTP/1.1\r\nHost: florin\r\nContent-Type: application/json\r\nContent-Length: 200\r\n\r\n{\"id\"",
                };
                assert!(stream.write_all(said).is_ok());
                crowd.push(stream);
            }
            // A byte now and then from each.
            for _ in 0..2 {
                for stream in &mut crowd {
                    let _ = stream.write(b" ");
                }
            }
            // A new client comes in beside them all.
            let newcomer = bank.server.client();
            assert_eq!(newcomer.request("GET /v1/accounts/1").send(()).status, 200);
        });
    });
}

#[test]
fn a_connection_that_is_half_closed_is_answered_or_ended() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let address = bank.server.address();
    let body = transfer_with_id(7, 1, 2, "1.00").to_string();
    let request = whole("/v1/transfers", &body);
    let ask = |bytes: &[u8]| {
        let mut stream = connect(address);
        assert!(stream.write_all(bytes).is_ok());
        assert!(stream.shutdown(Shutdown::Write).is_ok());
        let mut text = Vec::new();
        let began = Instant::now();
        let _ = stream.read_to_end(&mut text);
        assert!(began.elapsed() < Duration::from_secs(10), "it stays open: {:?}", began.elapsed());
        String::from_utf8_lossy(&text).into_owned()
    };
    while_others_are_served(&bank, || {
        // Everything was said, so it is answered.
        let told = ask(&request);
        assert!(told.starts_with("HTTP/1.1 201 "), "{told}");
        let again = ask(&request);
        assert!(again.starts_with("HTTP/1.1 200 "), "{again}");
        // In the middle of the body, of the head, and before anything.
        let broken_off = ask(&request[..request.len() - 5]);
        assert!(broken_off.starts_with("HTTP/1.1 400 ") || broken_off.is_empty(), "{broken_off}");
        for end in [60, 10, 0] {
            let told = ask(&request[..end]);
            assert!(told.is_empty() || told.starts_with("HTTP/1.1 4"), "{told}");
        }
        // Hundreds at once, which do not wait for their answers.
        for id in 1_000..1_400 {
            let body = transfer_with_id(id, 1, 2, "0.01").to_string();
            let mut stream = connect(address);
            assert!(stream.write_all(&whole("/v1/transfers", &body)).is_ok());
            let _ = stream.shutdown(if id % 2 == 0 { Shutdown::Write } else { Shutdown::Both });
        }
    });
    // The server is done with all of them.
    let deadline = Instant::now() + Duration::from_secs(20);
    let files =
        || fs::read_dir(format!("/proc/{}/fd", bank.server.pid())).map_or(0, Iterator::count);
    while files() > 200 {
        assert!(Instant::now() < deadline, "{} files are still open", files());
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn garbage_behind_a_request_ends_that_connection_and_nothing_else() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let address = bank.server.address();
    let mut random = Random::new(7);
    within_memory(&bank, || {
        while_others_are_served(&bank, || {
            for _ in 0..200 {
                let mut stream = connect(address);
                let mut bytes = whole("/v1/transfers", &transfer(1, 2, "0.01").to_string());
                let garbage: Vec<u8> = (0..5_000).map(|_| random.below(256) as u8).collect();
                bytes.extend_from_slice(b"\r\r\0 ");
                bytes.extend_from_slice(&garbage);
                // It may close before it has all of it.
                let _ = stream.write_all(&bytes);
                let mut text = Vec::new();
                let _ = stream.read_to_end(&mut text);
                let text = String::from_utf8_lossy(&text);
                // What was whole is answered, and then what was not.
                assert!(text.is_empty() || text.starts_with("HTTP/1.1 201 "), "{text}");
                assert!(!text.contains("HTTP/1.1 5"), "{text}");
                let last = text.rsplit("HTTP/1.1 ").next().unwrap_or_default();
                assert!(text.is_empty() || last.starts_with('4'), "{text}");
            }
        });
    });
}

#[test]
fn heads_without_an_end_are_431_before_they_cost_much() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let address = bank.server.address();
    within_memory(&bank, || {
        while_others_are_served(&bank, || {
            for line in ["X-Long: {}\r\n", "X{}: 1\r\n", "{}"] {
                let mut streams: Vec<TcpStream> = (0..50).map(|_| connect(address)).collect();
                let long = line.replace("{}", &"y".repeat(4 << 10));
                for stream in &mut streams {
                    assert!(stream.write_all(b"GET /v1/accounts/1 HTTP/1.1\r\n").is_ok());
                    // Up to 2 MiB, for as long as the server takes it.
                    for _ in 0..512 {
                        if stream.write_all(long.as_bytes()).is_err() {
                            break;
                        }
                    }
                }
                for mut stream in streams {
                    let mut text = Vec::new();
                    let _ = stream.read_to_end(&mut text);
                    let text = String::from_utf8_lossy(&text);
                    // A connection that is reset while it writes may lose the answer.
                    let refused = ["HTTP/1.1 431 ", "HTTP/1.1 400 "];
                    assert!(
                        text.is_empty() || refused.iter().any(|it| text.starts_with(it)),
                        "{text}"
                    );
                }
            }
        });
    });
}

#[test]
fn answers_that_nobody_reads_cost_a_bounded_amount() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let address = bank.server.address();
    within_memory(&bank, || {
        while_others_are_served(&bank, || {
            let request = b"GET /v1/accounts/1 HTTP/1.1\r\nHost: florin\r\n\r\n".repeat(1_000);
            let mut streams: Vec<TcpStream> = (0..100).map(|_| connect(address)).collect();
            for stream in &mut streams {
                // Until nothing more is taken.
                for _ in 0..100 {
                    if stream.write_all(&request).is_err() {
                        break;
                    }
                }
            }
        });
    });
}

#[test]
fn bodies_that_never_end_cost_a_bounded_amount() {
    let bank = TestBank::of(TestServer::start_with(&["--bytes-in-flight", "64MiB"]));
    bank.account(1);
    bank.account(2);
    let address = bank.server.address();
    let piece = vec![b' '; 256 << 10];
    let mut refused = 0;
    let mut streams: Vec<Wire> = Vec::new();
    within_memory(&bank, || {
        while_others_are_served(&bank, || {
            // 40 times 16 MiB but for the last byte.
            for _ in 0..40 {
                let mut wire = Wire::connect(address, Duration::from_secs(15));
                let mut written = wire.write(head("/v1/transfers/batch", 16 << 20).as_bytes());
                for number in 0..64 {
                    let piece = if number == 63 { &piece[1..] } else { &piece };
                    written = written.and_then(|()| wire.write(piece));
                }
                streams.push(wire);
            }
            // Somebody's batch that is whole at once still comes in.
            let reply = bank.client().request("POST /v1/transfers/batch");
            assert_eq!(reply.send(serde_json::json!([transfer(1, 2, "0.01")])).status, 200);
        });
        for mut wire in streams.drain(..) {
            // What was taken is whole now, and nothing but white space.
            let taken = wire.write(b" ").is_ok();
            let reply = wire.read();
            match reply.status {
                Some(400) if taken => {}
                Some(503) => {
                    refused += 1;
                    let text = reply.text.to_lowercase();
                    assert!(text.contains("\r\nretry-after: "), "{text}");
                    assert!(text.contains("overloaded"), "{text}");
                }
                // A connection that is reset while its client writes may lose the answer.
                None => refused += 1,
                Some(_) => panic!("{reply:?}"),
            }
        }
    });
    assert!(refused > 0, "640 MiB do not fit");
    // There is room again.
    let mut request = head("/v1/transfers/batch", 16 << 20).into_bytes();
    request.resize(request.len() + (16 << 20), b' ');
    assert_eq!(wire::ask(address, &request).status, Some(400));
}

#[test]
fn a_flood_past_what_can_be_in_flight_is_turned_away_whole() {
    let bank = TestBank::of(TestServer::start_with(&["--events-in-flight", "16"]));
    bank.account(1);
    bank.account(2);
    let each = 30_u128;
    let flood = |client: u128| {
        // All at once, and only then the answers.
        let mut stream = connect(bank.server.address());
        for number in 0..each {
            let body = transfer_with_id(client * 1_000 + number + 1, 1, 2, "0.01").to_string();
            assert!(stream.write_all(&whole("/v1/transfers", &body)).is_ok());
        }
        assert!(stream.shutdown(Shutdown::Write).is_ok());
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text).to_lowercase();
        let answers: Vec<&str> = text.split("http/1.1 ").skip(1).collect();
        assert_eq!(answers.len() as u128, each, "{text}");
        let mut taken = 0;
        for answer in answers {
            match &answer[..3] {
                "201" => taken += 1,
                "503" => {
                    let told = ["\r\nretry-after: ", "\"overloaded\"", "application/problem+json"];
                    assert!(told.iter().all(|it| answer.contains(it)), "{answer}");
                }
                _ => panic!("{answer}"),
            }
        }
        taken
    };
    let taken: u128 = thread::scope(|scope| {
        let flood = &flood;
        let clients: Vec<_> = (0..200).map(|client| scope.spawn(move || flood(client))).collect();
        clients.into_iter().map(|it| it.join().unwrap_or_else(|_| panic!())).sum()
    });
    assert!(taken > 0 && taken < 200 * each, "{taken} were taken: the test is blunt");
    assert_eq!(bank.balance(2), money(taken));
    let counted = format!("florin_refused_total{{reason=\"overloaded\"}} {}\n", 200 * each - taken);
    let metrics = bank.client().request("GET /metrics").send(()).body;
    assert!(metrics.contains(&counted), "{counted} is not in {metrics}");
}
