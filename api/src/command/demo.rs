//! `florin demo`: a small town pays by Florin for a minute, over HTTP, and the figures are shown.

mod cast;
mod own_server;
mod report;
mod tally;
mod traffic;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{Client, ClientError, ServerArgs};
use super::page::field;
use super::progress::{Progress, Standing};
use super::{CommandError, Outcome, print, text};
use cast::Cast;
use own_server::OwnServer;
use tally::Tally;
use traffic::Town;

#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Start a server of its own, on a free port and in a temporary directory that is removed afterwards
    #[arg(long)]
    embedded: bool,
    /// How long the traffic lasts
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Connections that send requests, each its next one when the last is answered
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=256))]
    connections: u64,
}

/// Why a demo ends without figures, or with bad ones.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    #[error(
        "no server answers at {url}; start one with `florin serve`, or let the demo start its own with `florin demo --embedded`"
    )]
    NoServer { url: String },
    #[error("cannot make a temporary directory for the demo's own server")]
    Directory(#[source] io::Error),
    #[error("the demo's own server did not start")]
    OwnServer(#[from] super::serve::ServeError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the server did not do what the demo needs: {what}")]
    Unprepared { what: String },
    #[error("the server stopped answering during the demo: {why}")]
    Lost { why: String },
    #[error("the store did not catch up with position {seq} within {patience}", patience = text::time(*.patience))]
    StoreLate { seq: u64, patience: Duration },
    #[error("MONEY IS NOT CONSERVED: {what}")]
    NotConserved { what: String },
    #[error("{count} answers were not what they should be, the first: {first}")]
    Unexpected { count: u64, first: String },
}

/// The ledger that the demo uses: the one that a fresh data directory has.
const LEDGER: u32 = 1;

/// How long the store may take to have everything that the demo did.
const STORE_PATIENCE: Duration = Duration::from_secs(120);

/// Runs the demo and prints what came of it.
pub(super) fn run(args: &DemoArgs) -> Outcome {
    let own = if args.embedded { Some(OwnServer::start()?) } else { None };
    let shown = match &own {
        Some(own) => show(args, &Client::new(own.url()), own.url()),
        None => show(args, &args.server.client()?, args.server.url()),
    };
    if let Some(own) = own {
        own.stop()?;
    }
    shown
}

fn show(args: &DemoArgs, client: &Client, url: &str) -> Outcome {
    let ledger = reach(client, url)?;
    let town = prepare(client, &ledger)?;
    print::out(&format!(
        "{} people, {} merchants and a bank at {url}; {} connections for {} s (Ctrl-C ends it early)",
        text::grouped(town.cast.people.len() as u64),
        town.cast.merchants.len(),
        args.connections,
        args.seconds,
    ))?;
    let (tally, elapsed) = traffic(args, client, &town)?;
    let balances = settle(client, &town, &tally)?;
    print::out(&format!("\n{}", report::balances(&balances, &town)))?;
    print::out(&format!("\n{}", report::figures(&tally, elapsed)))?;
    print::out(&format!("\n{}", conserved(client, &town, &tally, &balances)?))?;
    if let Some(first) = &tally.first_unexpected {
        return Err(DemoError::Unexpected { count: tally.unexpected, first: first.clone() }.into());
    }
    Ok(ExitCode::SUCCESS)
}

/// The ledger, from a server that is there.
fn reach(client: &Client, url: &str) -> Result<Value, DemoError> {
    match client.get(&format!("/v1/ledgers/{LEDGER}")) {
        Ok(answer) => Ok(answer.accepted()?.json()?),
        Err(ClientError::NoServer { .. }) => Err(DemoError::NoServer { url: url.to_owned() }),
        Err(error) => Err(error.into()),
    }
}

fn prepare(client: &Client, ledger: &Value) -> Result<Town, DemoError> {
    let scale = ledger["scale"].as_u64().and_then(|digits| u8::try_from(digits).ok());
    let scale = scale
        .and_then(florin_engine::Scale::try_new)
        .ok_or_else(|| DemoError::Unprepared { what: format!("ledger {LEDGER} has no scale") })?;
    let cast = Cast::invent();
    cast.create(client, scale)?;
    Ok(Town { cast, scale, currency: field(ledger, "currency") })
}

/// Lets every connection work until the time is over, and adds up what they saw.
fn traffic(args: &DemoArgs, client: &Client, town: &Town) -> Result<(Tally, Duration), DemoError> {
    let over = Arc::new(AtomicBool::new(false));
    end_on_interrupt(Arc::clone(&over));
    let transfers = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let until = began + Duration::from_secs(args.seconds);
    let progress = watch(began, args.seconds, Arc::clone(&transfers));
    let visits = thread::scope(|scope| {
        let connections: Vec<_> = (0..args.connections)
            .map(|_| {
                let visit = traffic::Visit::new(client, town, &over, &transfers, until);
                scope.spawn(|| visit.run())
            })
            .collect();
        let joined = connections.into_iter().map(|connection| {
            connection.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        joined.collect::<Vec<_>>()
    });
    let elapsed = began.elapsed();
    drop(progress);
    let mut sum = Tally::new();
    for visit in visits {
        sum.add(&visit?);
    }
    Ok((sum, elapsed))
}

fn watch(began: Instant, seconds: u64, transfers: Arc<AtomicU64>) -> Progress {
    Progress::watch("traffic", seconds * 10, move || {
        let elapsed = began.elapsed();
        let done = transfers.load(Ordering::Relaxed);
        let rate = text::grouped(text::rate(done, elapsed));
        let message = format!("{} transfers, {rate}/s", text::grouped(done));
        Standing { position: elapsed.as_millis() as u64 / 100, message }
    })
}

/// Ctrl-C ends the traffic, not the demo: what was done until then is shown.
fn end_on_interrupt(over: Arc<AtomicBool>) {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let interrupted = runtime.and_then(|runtime| runtime.block_on(tokio::signal::ctrl_c()));
        if interrupted.is_ok() {
            over.store(true, Ordering::Relaxed);
        }
    });
}

/// The accounts of the demo, once the store covers all that it did.
fn settle(client: &Client, town: &Town, tally: &Tally) -> Result<Vec<Value>, DemoError> {
    let deadline = Instant::now() + STORE_PATIENCE;
    let mut balances = Vec::new();
    let mut cursor = None;
    loop {
        let path = town.cast.page(cursor.as_deref(), tally.last_seq);
        let page = read_late(client, &path, tally.last_seq, deadline)?;
        balances.extend_from_slice(super::page::data(&page));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return Ok(balances),
        }
    }
}

/// What stands at `path` once the store covers `seq`; the server itself waits a few seconds at a time.
fn read_late(client: &Client, path: &str, seq: u64, deadline: Instant) -> Result<Value, DemoError> {
    loop {
        let answer = client.get(path)?;
        let late = answer.problem().is_some_and(|problem| problem.code == "not_yet");
        if !late {
            return Ok(answer.accepted()?.json()?);
        }
        if Instant::now() > deadline {
            return Err(DemoError::StoreLate { seq, patience: STORE_PATIENCE });
        }
    }
}

/// Compares the sums of the ledger, and those of the demo's accounts.
fn conserved(
    client: &Client,
    town: &Town,
    tally: &Tally,
    balances: &[Value],
) -> Result<String, CommandError> {
    let path = format!("/v1/ledgers/{LEDGER}?min_seq={}", tally.last_seq);
    let deadline = Instant::now() + STORE_PATIENCE;
    let ledger = read_late(client, &path, tally.last_seq, deadline)?;
    Ok(report::conservation(&ledger, balances, town)?)
}
