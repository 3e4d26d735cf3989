//! What `deploy/build` lets the program do whose ways are counted, before it builds the one that is shipped: all that is wanted fast, so
//! that nothing of it passes for rare.
//!
//! Starts `$FLORIN_BIN` and `$EMPTY_HANDLER_BIN`.

use std::env;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use florin_benches::bank::{ACCOUNTS, Bank, transfers};
use florin_benches::open_loop::OpenLoop;
use florin_benches::programs::Program;
use florin_client::{AccountId, Amount, Client, EVENTS_MAX, Form, Settings, Transfer, TransferId};
use florin_tests::http;
use florin_tests::server::{florin, run_command};

const CONNECTIONS: usize = 64;
/// How many accounts are read.
const READS: u64 = 2_000;
/// Transfers that each run of `florin bench` makes for each second that is given.
const BENCH_TRANSFERS: u64 = 200_000;
/// Those of a run that sends them one by one.
const BENCH_SINGLE_TRANSFERS: u64 = 30_000;

/// The engine alone, with everything that it does beside transfers.
fn bench(seconds: u64) {
    for words in [
        "--write-behind paused",
        "--distribution zipfian",
        "--two-phase 30",
        "--batch 1 --concurrency 64",
    ] {
        let each = match words.contains("--batch 1 ") {
            true => BENCH_SINGLE_TRANSFERS,
            false => BENCH_TRANSFERS,
        };
        let mut command = florin(&["bench", "--transfers", &(each * seconds).to_string()]);
        command.args(words.split(' '));
        let ended = run_command(command);
        assert_eq!(ended.code, Some(0), "{words}: {ended:?}");
    }
}

fn send_single(address: SocketAddr, seconds: u64) {
    let load = OpenLoop { address, connections: CONNECTIONS, seconds, rate: None, refusal: None };
    load.run("/v1/transfers", transfers(), 201).unwrap_or_else(|error| panic!("{error}"));
}

/// Sends batches for so long, with ids that begin with `space`.
async fn send_batches(base: &str, form: Form, space: u128, length: Duration) {
    let client = Client::new(Settings { form, ..Settings::new(base) });
    let client = client.expect("the settings are fine");
    let begun = Instant::now();
    let mut next = 0;
    while begun.elapsed() < length {
        let batch: Vec<Transfer> = (next..next + EVENTS_MAX as u128)
            .map(|number| {
                let debit = AccountId(1 + number % u128::from(ACCOUNTS));
                let credit = AccountId(1 + debit.0 % u128::from(ACCOUNTS));
                Transfer::new(debit, credit, Amount::from_minor(1))
                    .with_id(TransferId(space << 64 | number))
            })
            .collect();
        let outcomes = client.transfer_batch(&batch).await.expect("it is answered");
        assert!(outcomes.iter().all(Result::is_ok), "a transfer is refused");
        next += EVENTS_MAX as u128;
    }
}

fn read(client: &http::Client, paths: &[&str]) {
    for account in 1..=READS {
        for path in paths {
            let request = format!("GET {}", path.replace("{}", &account.to_string()));
            let reply = client.request(&request).send(());
            assert_eq!(reply.status, 200, "{request}: {reply:?}");
        }
    }
}

fn serve(seconds: u64) {
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    let mut bank = Bank::start(&[], &[]);
    bank.create_accounts();
    send_single(bank.server.address(), seconds);
    for (form, space) in [(Form::Json, 1), (Form::Binary, 2)] {
        let length = Duration::from_secs(seconds) / 2;
        runtime.block_on(send_batches(&bank.server.base(), form, space, length));
    }
    bank.wait_stored();
    read(&bank.client, &["/v1/accounts/{}", "/balance/{}", "/v1/accounts/{}/transfers?limit=20"]);
    // What was journaled since the last snapshot is replayed. Counts are written when a program ends by itself.
    bank.server.stop();
    bank.server.restart();
    bank.server.stop();
}

fn serve_nothing(seconds: u64) {
    let answer = format!("{{\"answer\":\"{}\"}}", "0".repeat(300));
    let mut empty = Program::empty_handler(&answer, &answer);
    let base = empty.base().to_owned();
    let address = base.strip_prefix("http://").and_then(|it| it.parse().ok());
    send_single(address.expect("it listens on an address"), seconds);
    read(&http::Client::new(&base), &["/v1/accounts/{}"]);
    empty.stop();
}

fn main() -> ExitCode {
    let Ok(seconds) = env::args().nth(1).map_or(Ok(8), |word| word.parse()) else {
        eprintln!("usage: train [SECONDS]");
        return ExitCode::from(2);
    };
    bench(seconds);
    serve(seconds);
    serve_nothing(seconds);
    ExitCode::SUCCESS
}
