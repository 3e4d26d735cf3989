//! Requests that come at even distances, whether others were answered or not, and how long each took from the moment at which it was
//! due.
//!
//! A load generator that waits for an answer before it sends the next request sends less while the server is slow, and so leaves out just
//! the ones that would have waited (coordinated omission). Here a thread keeps the time: it gives each request to a
//! connection that is free when it is due, and if none is, the request waits, and its waiting counts.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Below this the thread that keeps the time does not go to sleep for the next request, since waking up takes as long.
const NAP: Duration = Duration::from_micros(50);
/// Of recorded times, in microseconds: a minute.
const LONGEST_MICROS: u64 = 60_000_000;
/// An answer that is longer than that is none of these.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// An answer of which the last byte is here.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The lines before the body, without the blank one.
    pub head: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// What a connection does after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It takes the next request that is due.
    Request,
    /// It sends the same once more, after so long; it is still due when it was first.
    Again(Duration),
}

/// Who speaks on one connection.
pub trait Speaker: Send + 'static {
    /// The next request, from its first to its last byte.
    fn request(&mut self) -> String;

    /// Hears the answer to it, and how long that took from the moment at which it was due.
    ///
    /// # Errors
    /// It is none that may come; then everything ends.
    fn answer(&mut self, answer: Answer<'_>, took: Duration) -> io::Result<Next>;
}

/// What is sent, and where to.
#[derive(Clone, Debug)]
pub struct OpenLoop {
    /// The server.
    pub address: SocketAddr,
    /// Connections, each with one request under way.
    pub connections: usize,
    /// How long.
    pub seconds: u64,
    /// Requests a second; without it as many as are answered, each due when the one before it on its connection was answered.
    pub rate: Option<f64>,
    /// Answers of this status are counted as refusals, and what still waits for a connection at the end is given up; without one every request
    /// is sent, and any other answer is an error.
    pub refusal: Option<u16>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Times {
    /// From due to answered, in microseconds.
    pub micros: Histogram<u64>,
    /// Answers a second, without refusals.
    pub rate: f64,
    /// Requests that were refused.
    pub refused: u64,
}

/// Connections that wait for something to do, and what waits for a connection.
#[derive(Default)]
struct Queue {
    /// In the order in which they became free, since the server ends connections on which nothing comes for long.
    free: VecDeque<mpsc::UnboundedSender<Instant>>,
    waiting: VecDeque<Instant>,
    /// Nothing more will be due.
    over: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    ends: Instant,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request is due.
    fn due(&self, at: Instant) {
        let mut queue = self.queue();
        match queue.free.pop_front() {
            // It can not have ended: it waits for this.
            Some(connection) => drop(connection.send(at)),
            None => queue.waiting.push_back(at),
        }
    }
}

impl OpenLoop {
    /// Sends it to its end. `body` makes the text of a POST from the request's number; each answer must have `status`.
    ///
    /// # Errors
    /// The server is gone, or gave another answer.
    pub fn run(
        &self,
        path: &str,
        body: impl Fn(u64) -> String + Send + Sync + 'static,
        status: u16,
    ) -> io::Result<Times> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: ",
            self.address
        );
        let numbers = AtomicU64::new(0);
        let request = Arc::new(move || {
            let body = body(numbers.fetch_add(1, Ordering::Relaxed));
            format!("{head}{}\r\n\r\n{body}", body.len())
        });
        let posts = (0..self.connections).map(|_| Posts {
            request: Arc::clone(&request),
            status,
            refusal: self.refusal,
            refused: 0,
            micros: histogram(),
        });
        let (posts, took) = self.drive(posts.collect())?;
        let (mut micros, mut refused) = (histogram(), 0);
        for posts in posts {
            micros.add(posts.micros).map_err(io::Error::other)?;
            refused += posts.refused;
        }
        Ok(Times { rate: micros.len() as f64 / took.as_secs_f64(), micros, refused })
    }

    /// Lets these speak to the end, each on a connection of its own, and tells how long that was.
    ///
    /// # Errors
    /// The server is gone, or one of them did not like an answer.
    pub fn drive<S: Speaker>(&self, speakers: Vec<S>) -> io::Result<(Vec<S>, Duration)> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let streams = speakers.iter().map(|_| runtime.block_on(TcpStream::connect(self.address)));
        let streams: Vec<TcpStream> = streams.collect::<io::Result<_>>()?;
        let began = Instant::now();
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            ends: began + Duration::from_secs(self.seconds),
        });
        let open = self.rate.is_some();
        let visitors: Vec<_> = streams
            .into_iter()
            .zip(speakers)
            .map(|(stream, speaker)| {
                let answer = Vec::with_capacity(ANSWER_BYTES_MAX);
                let visitor = Visitor { stream, shared: Arc::clone(&shared), speaker, answer };
                runtime.spawn(visitor.visit(open))
            })
            .collect();
        if let Some(rate) = self.rate {
            keep_time(&shared, began, rate);
        }
        if self.refusal.is_some() {
            shared.queue().waiting.clear();
        }
        let heard =
            visitors.into_iter().map(|it| runtime.block_on(it).map_err(io::Error::other)?);
        let speakers = heard.collect::<io::Result<Vec<S>>>()?;
        Ok((speakers, began.elapsed()))
    }
}

/// Sends bodies to one path, and counts.
struct Posts<F> {
    request: Arc<F>,
    status: u16,
    refusal: Option<u16>,
    refused: u64,
    micros: Histogram<u64>,
}

impl<F: Fn() -> String + Send + Sync + 'static> Speaker for Posts<F> {
    fn request(&mut self) -> String {
        (self.request)()
    }

    fn answer(&mut self, answer: Answer<'_>, took: Duration) -> io::Result<Next> {
        if answer.status == self.status {
            let micros = u64::try_from(took.as_micros()).unwrap_or(LONGEST_MICROS);
            self.micros.saturating_record(micros.max(1));
        } else if Some(answer.status) == self.refusal {
            self.refused += 1;
        } else {
            return Err(unexpected(answer));
        }
        Ok(Next::Request)
    }
}

/// The error of an answer that may not come.
#[must_use]
pub fn unexpected(answer: Answer<'_>) -> io::Error {
    let body = String::from_utf8_lossy(answer.body);
    io::Error::other(format!("answered {}: {}\n{body}", answer.status, answer.head))
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_MICROS, 3).expect("the bounds are in order")
}

/// Says when requests are due, until the end; then lets the connections that wait for more go.
fn keep_time(shared: &Shared, began: Instant, rate: f64) {
    for number in 0_u64.. {
        let due = began + Duration::from_secs_f64(number as f64 / rate);
        if due >= shared.ends {
            break;
        }
        let early = due.saturating_duration_since(Instant::now());
        if early > NAP {
            thread::sleep(early - NAP / 2);
        }
        shared.due(due);
    }
    let mut queue = shared.queue();
    queue.over = true;
    queue.free.clear();
}

struct Visitor<S> {
    stream: TcpStream,
    shared: Arc<Shared>,
    speaker: S,
    answer: Vec<u8>,
}

impl<S: Speaker> Visitor<S> {
    async fn visit(mut self, open: bool) -> io::Result<S> {
        self.stream.set_nodelay(true)?;
        loop {
            let due = if open { self.next().await } else { Some(Instant::now()) };
            let Some(due) = due.filter(|due| open || *due < self.shared.ends) else {
                return Ok(self.speaker);
            };
            let request = self.speaker.request();
            while let Next::Again(after) = self.ask(&request, due).await? {
                tokio::time::sleep(after).await;
            }
        }
    }

    /// When the next request is due that this connection sends; nothing at the end.
    async fn next(&mut self) -> Option<Instant> {
        let mut told = {
            let mut queue = self.shared.queue();
            if let Some(due) = queue.waiting.pop_front() {
                return Some(due);
            }
            if queue.over {
                return None;
            }
            let (tell, told) = mpsc::unbounded_channel();
            queue.free.push_back(tell);
            told
        };
        told.recv().await
    }

    /// Sends a request and reads its answer.
    async fn ask(&mut self, request: &str, due: Instant) -> io::Result<Next> {
        self.stream.write_all(request.as_bytes()).await?;
        self.answer.clear();
        loop {
            if let Some(answer) = whole(&self.answer)? {
                return self.speaker.answer(answer, due.elapsed());
            }
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// An answer that is here to its last byte.
fn whole(answer: &[u8]) -> io::Result<Option<Answer<'_>>> {
    let bad = || io::Error::other("no answer that says how long it is");
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if answer.len() < ANSWER_BYTES_MAX { Ok(None) } else { Err(bad()) };
    };
    let head = std::str::from_utf8(&answer[..end]).map_err(io::Error::other)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let length: Option<usize> = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let (status, length) = (status.ok_or_else(bad)?, length.ok_or_else(bad)?);
    let body = answer.get(end + 4..end + 4 + length);
    Ok(body.map(|body| Answer { status, head, body }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// A server that answers one request after the other on one connection, and stops once for a while.
    fn slow_server(stop: Duration) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody comes");
            let mut bytes = [0; 4096];
            for number in 0.. {
                match stream.read(&mut bytes) {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
                if number == 20 {
                    thread::sleep(stop);
                }
                let answer = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok";
                if stream.write_all(answer).is_err() {
                    return;
                }
            }
        });
        address
    }

    #[test]
    fn those_that_were_due_meanwhile_count() {
        let address = slow_server(Duration::from_millis(500));
        let load =
            OpenLoop { address, connections: 1, seconds: 1, rate: Some(100.0), refusal: None };
        let times = load.run("/v1/transfers", |_| "{}".to_owned(), 201).expect("it answers");
        assert_eq!(times.micros.len(), 100);
        // Of a hundred, fifty were due while it stood still: the half of them that came first waited for a quarter of a second and more.
        let waited = times.micros.count_between(250_000, 1_000_000);
        assert!((15..=40).contains(&waited), "{waited} waited");
    }

    #[test]
    fn answers_end_where_they_say() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        for end in 0..answer.len() {
            assert!(whole(&answer[..end]).expect("so far it is one").is_none());
        }
        let whole_one = whole(answer).expect("it is one").expect("it is here");
        assert_eq!((whole_one.status, whole_one.body), (200, &b"abc"[..]));
        assert!(whole(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
