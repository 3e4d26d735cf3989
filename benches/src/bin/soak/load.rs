//! Clients that choose what they ask, and know what they must be told.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use florin_benches::open_loop::{Answer, Next, Speaker, unexpected};
use florin_tests::bank::{transfer, transfer_with_id, with};
use florin_tests::load::money;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::book::{Book, EMPTY_ACCOUNT, End, Kind, Known, Movement, TIMEOUT_MAX, Under};

/// Transfers in a batch.
const BATCH: usize = 50;
/// Of pending transfers so many of ten are settled; the others expire.
const SETTLED_OF_TEN: u64 = 6;
/// Of those that are settled so many of ten are posted, the others voided.
const POSTED_OF_TEN: u64 = 7;
/// Rows of a list.
const ROWS: usize = 20;
/// Who is asked to come again so often is not served.
const TRIES_MAX: u32 = 100;

/// What is under way on a connection.
enum Asked {
    Single(Movement),
    /// Named by its key, not by an id.
    Keyed(Movement),
    /// There is nothing to take.
    Refused(Movement),
    Again(Known),
    Batch(Vec<Movement>),
    Reserve(Movement, Option<u32>),
    Post {
        by: Movement,
        pending: Movement,
    },
    Void {
        by: Movement,
        pending: Movement,
    },
    Account(u64),
    Transfer(Known),
    History,
    List,
}

impl Asked {
    /// By hundredths of all requests.
    fn choose(book: &mut Book) -> Asked {
        let chance = book.random.below(100);
        let chosen = match chance {
            0..3 => Some(Asked::Keyed(book.movement())),
            3..5 => Some(Asked::Refused(Movement { debit: EMPTY_ACCOUNT, ..book.movement() })),
            5..13 => book.known().map(Asked::Again),
            13..15 => Some(Asked::Batch((0..BATCH).map(|_| book.movement()).collect())),
            15..23 => Some(Asked::reserve(book)),
            23..28 => Asked::settle(book),
            28..42 => Some(Asked::Account(book.movement().debit)),
            42..45 => book.known().map(Asked::Transfer),
            45 => Some(Asked::History),
            46 => Some(Asked::List),
            _ => None,
        };
        chosen.unwrap_or_else(|| Asked::Single(book.movement()))
    }

    fn reserve(book: &mut Book) -> Asked {
        let is_settled = book.random.below(10) < SETTLED_OF_TEN;
        let seconds = 1 + book.random.below(u64::from(TIMEOUT_MAX)) as u32;
        Asked::Reserve(book.movement(), (!is_settled).then_some(seconds))
    }

    fn settle(book: &mut Book) -> Option<Asked> {
        let pending = book.take_open()?;
        let id = book.fresh_id();
        if book.random.below(10) < POSTED_OF_TEN {
            let amount = 1 + book.random.below(pending.amount);
            Some(Asked::Post { by: Movement { id, amount, ..pending }, pending })
        } else {
            Some(Asked::Void { by: Movement { id, ..pending }, pending })
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Asked::Account(_) | Asked::Transfer(_) => Kind::Read,
            Asked::History | Asked::List => Kind::List,
            _ => Kind::Command,
        }
    }

    fn request(&self, host: &str) -> String {
        let post = "POST /v1/transfers";
        match self {
            Asked::Single(movement) | Asked::Refused(movement) => {
                written(host, post, "", Some(body(movement)))
            }
            Asked::Again(known) => written(host, post, "", Some(body(&known.movement))),
            Asked::Keyed(movement) => {
                let key = format!("Idempotency-Key: soak-{:032x}\r\n", movement.id);
                let amount = money(movement.amount.into());
                let body = transfer(movement.debit.into(), movement.credit.into(), &amount);
                written(host, post, &key, Some(body))
            }
            Asked::Batch(movements) => {
                let bodies = movements.iter().map(body).collect();
                let request = "POST /v1/transfers/batch?results=all";
                written(host, request, "", Some(Value::Array(bodies)))
            }
            Asked::Reserve(movement, timeout) => {
                let mut body = with(body(movement), json!({"flags": ["pending"]}));
                if let Some(seconds) = timeout {
                    body["timeout"] = json!(seconds);
                }
                written(host, post, "", Some(body))
            }
            Asked::Post { by, pending } => {
                let amount = money(by.amount.into());
                let flags = ["post_pending_transfer"];
                let body = json!({"id": by.id.to_string(), "pending_id": pending.id.to_string(), "flags": flags, "amount": amount});
                written(host, post, "", Some(body))
            }
            Asked::Void { by, pending } => {
                let flags = ["void_pending_transfer"];
                let body = json!({"id": by.id.to_string(), "pending_id": pending.id.to_string(), "flags": flags});
                written(host, post, "", Some(body))
            }
            Asked::Account(id) => written(host, &format!("GET /v1/accounts/{id}"), "", None),
            Asked::Transfer(known) => {
                written(host, &format!("GET /v1/transfers/{}", known.movement.id), "", None)
            }
            Asked::History => {
                let path = format!("GET /v1/accounts/1/balances?limit={ROWS}");
                written(host, &path, "", None)
            }
            Asked::List => {
                let path = format!("GET /v1/accounts/1/transfers?limit={ROWS}");
                written(host, &path, "", None)
            }
        }
    }
}

fn body(movement: &Movement) -> Value {
    let Movement { id, debit, credit, amount } = *movement;
    transfer_with_id(id, debit.into(), credit.into(), &money(amount.into()))
}

fn written(host: &str, request: &str, headers: &str, body: Option<Value>) -> String {
    let head = format!("{request} HTTP/1.1\r\nHost: {host}\r\n{headers}");
    match body {
        None => format!("{head}\r\n"),
        Some(body) => {
            let body = body.to_string();
            let kind = "Content-Type: application/json";
            format!("{head}{kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        }
    }
}

/// What all clients know, for one at a time.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Book>>);

impl Shared {
    pub(crate) fn new(book: Book) -> Shared {
        Shared(Arc::new(Mutex::new(book)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of them.
pub(crate) struct Client {
    shared: Shared,
    host: String,
    asked: Option<Asked>,
    tries: u32,
}

impl Client {
    pub(crate) fn new(shared: Shared, host: String) -> Client {
        Client { shared, host, asked: None, tries: 0 }
    }

    fn hear(&mut self, answer: Answer<'_>, took: Duration) -> io::Result<Next> {
        let Some(asked) = &self.asked else { return Err(unexpected(answer)) };
        self.tries += 1;
        let mut book = self.shared.lock();
        if answer.status == 503 && self.tries < TRIES_MAX {
            book.stretch.refused += 1;
            let seconds = header(answer.head, "retry-after").and_then(|it| it.parse().ok());
            return Ok(Next::Again(Duration::from_secs(seconds.unwrap_or(1))));
        }
        let told = told(asked, answer, self.tries)?;
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        book.stretch.micros[asked.kind() as usize].saturating_record(micros.max(1));
        book.stretch.answered += 1;
        note(&mut book, asked, &told);
        Ok(Next::Request)
    }
}

impl Speaker for Client {
    fn request(&mut self) -> String {
        self.tries = 0;
        let asked = Asked::choose(&mut self.shared.lock());
        let request = asked.request(&self.host);
        self.asked = Some(asked);
        request
    }

    fn answer(&mut self, answer: Answer<'_>, took: Duration) -> io::Result<Next> {
        let heard = self.hear(answer, took);
        if let Err(error) = &heard {
            self.shared.lock().failure.get_or_insert_with(|| error.to_string());
        }
        heard
    }
}

/// What an answer says of transfers: their times, and the id of one that had none.
struct Told {
    times: Vec<u64>,
    id: u128,
}

/// Reads an answer, which must be the one that must come.
fn told(asked: &Asked, answer: Answer<'_>, tries: u32) -> io::Result<Told> {
    // Whoever was asked to come again may have been served the first time.
    let may_be_again = tries > 1;
    let wrong = || unexpected(answer);
    let json: Value = serde_json::from_slice(answer.body).map_err(|_| wrong())?;
    let is_replayed = header(answer.head, "idempotent-replayed") == Some("true");
    let is_first = answer.status == 201 && !is_replayed;
    let is_created = is_first || (may_be_again && is_replayed && answer.status < 300);
    let right = |is: bool| if is { Ok(()) } else { Err(wrong()) };
    let amount = |movement: &Movement| json["amount"] == money(movement.amount.into());
    let one = || -> io::Result<Told> {
        let time = time(&json).ok_or_else(wrong)?;
        Ok(Told { times: vec![time], id: id(&json).ok_or_else(wrong)? })
    };
    match asked {
        Asked::Single(it)
        | Asked::Reserve(it, _)
        | Asked::Post { by: it, .. }
        | Asked::Void { by: it, .. } => {
            right(is_created && amount(it) && id(&json) == Some(it.id))?;
            one()
        }
        Asked::Keyed(it) => {
            right(is_created && amount(it))?;
            one()
        }
        Asked::Refused(_) => {
            let code = json["code"].as_str().unwrap_or_default();
            let known = code == "exceeds_credits" || (may_be_again && code == "id_already_failed");
            right(answer.status == 422 && known)?;
            Ok(Told { times: Vec::new(), id: 0 })
        }
        Asked::Again(known) => {
            right(answer.status == 200 && is_replayed)?;
            right(amount(&known.movement) && time(&json) == Some(known.timestamp))?;
            one()
        }
        Asked::Transfer(known) => {
            right(answer.status == 200 && amount(&known.movement))?;
            right(time(&json) == Some(known.timestamp) && json["status"] == "posted")?;
            one()
        }
        Asked::Batch(movements) => {
            let results = json["results"].as_array().ok_or_else(wrong)?;
            right(answer.status == 200 && results.len() == movements.len())?;
            let created = |it: &Value| {
                it["status"] == "created" || (may_be_again && it["status"] == "exists")
            };
            right(results.iter().all(created))?;
            let times = results.iter().map(|it| time(it).ok_or_else(wrong));
            Ok(Told { times: times.collect::<io::Result<_>>()?, id: 0 })
        }
        Asked::Account(account) => {
            right(answer.status == 200 && id(&json) == Some(u128::from(*account)))?;
            Ok(Told { times: Vec::new(), id: 0 })
        }
        Asked::History | Asked::List => {
            right(answer.status == 200 && json["data"].is_array())?;
            Ok(Told { times: Vec::new(), id: 0 })
        }
    }
}

fn note(book: &mut Book, asked: &Asked, told: &Told) {
    let time = told.times.first().copied().unwrap_or_default();
    match asked {
        Asked::Single(movement) => {
            book.posted(&[Known { movement: *movement, timestamp: time }], Under::Id);
        }
        Asked::Keyed(movement) => {
            let movement = Movement { id: told.id, ..*movement };
            book.posted(&[Known { movement, timestamp: time }], Under::Key);
        }
        Asked::Batch(movements) => {
            let known = movements.iter().zip(&told.times);
            let known: Vec<Known> = known
                .map(|(movement, timestamp)| Known { movement: *movement, timestamp: *timestamp })
                .collect();
            book.posted(&known, Under::Id);
        }
        Asked::Refused(_) => book.rejected(),
        Asked::Again(_) => book.counts.again += 1,
        Asked::Reserve(movement, timeout) => book.reserved(movement, time, *timeout),
        Asked::Post { by, pending } => book.settled(by, pending, time, End::Posted),
        Asked::Void { by, pending } => book.settled(by, pending, time, End::Voided),
        Asked::Account(_) | Asked::Transfer(_) | Asked::History | Asked::List => {}
    }
}

/// The value of a header.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// The time of a thing, in nanoseconds since 1970.
fn time(thing: &Value) -> Option<u64> {
    let time: jiff::Timestamp = thing["timestamp"].as_str()?.parse().ok()?;
    u64::try_from(time.as_nanosecond()).ok()
}

/// The id of a thing: a number while it is small, else a UUID.
fn id(thing: &Value) -> Option<u128> {
    let text = thing["id"].as_str()?;
    text.parse().ok().or_else(|| Uuid::parse_str(text).ok().map(|id| id.as_u128()))
}
