//! Requests that come at even distances, whether others were answered or not, and how long each took from the moment at which it was
//! due.
//!
//! A load generator that waits for an answer before it sends the next request sends less while the server is slow, and so leaves out just
//! the ones that would have waited (coordinated omission). Here each request goes to a connection that is free when it is due, and if none is, the
//! request waits, and its waiting counts. One thread does it all, since what wakes up a second one takes from the server's processors.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, Read, Write};
use std::iter;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// Of recorded times, in microseconds: a minute.
const LONGEST_MICROS: u64 = 60_000_000;
/// An answer of which the head is longer than that is none of these.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Connections that are looked at after one wait.
const EVENTS: usize = 256;
/// The timer's number among them.
const TIMER: u64 = u64::MAX;

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
pub trait Speaker {
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
    /// Requests a second; without it as many as are answered, each due as soon as its connection is free.
    pub rate: Option<f64>,
    /// Answers of this status are counted as refusals, and what still waits for a connection when the last one is due is given up; without one every request
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

impl OpenLoop {
    /// Sends it to its end. `body` makes the text of a POST from the request's number; each answer must have `status`.
    ///
    /// # Errors
    /// The server is gone, or gave another answer.
    pub fn run(&self, path: &str, body: impl Fn(u64) -> String, status: u16) -> io::Result<Times> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: ",
            self.address
        );
        let numbers = Cell::new(0);
        let request = || {
            let body = body(numbers.replace(numbers.get() + 1));
            format!("{head}{}\r\n\r\n{body}", body.len())
        };
        let posts = (0..self.connections).map(|_| Posts {
            request: &request,
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
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // A wait's own time-out counts in milliseconds, in which dozens of requests may be due.
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        epoll::add(&poll, &timer, epoll::EventData::new_u64(TIMER), epoll::EventFlags::IN)?;
        let mut connections = Vec::with_capacity(speakers.len());
        for speaker in speakers {
            let stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            let number = epoll::EventData::new_u64(connections.len() as u64);
            epoll::add(&poll, &stream, number, epoll::EventFlags::IN)?;
            connections.push(Connection {
                stream,
                speaker,
                request: String::new(),
                due: None,
                answer: vec![0; HEAD_BYTES_MAX],
                here: 0,
            });
        }
        let began = Instant::now();
        let mut driver = Driver {
            load: self,
            poll,
            timer,
            began,
            free: (0..connections.len()).collect(),
            connections,
            waiting: VecDeque::new(),
            next: 0,
            again: BinaryHeap::new(),
        };
        while driver.turn()? {}
        let speakers = driver.connections.into_iter().map(|it| it.speaker).collect();
        Ok((speakers, began.elapsed()))
    }
}

/// Sends bodies to one path, and counts.
struct Posts<'a, F> {
    request: &'a F,
    status: u16,
    refusal: Option<u16>,
    refused: u64,
    micros: Histogram<u64>,
}

impl<F: Fn() -> String> Speaker for Posts<'_, F> {
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

/// A connection, and who speaks on it.
struct Connection<S> {
    stream: TcpStream,
    speaker: S,
    /// What was sent last.
    request: String,
    /// When that was due, until it is answered for good.
    due: Option<Instant>,
    /// What is here of its answer, and how much that is.
    answer: Vec<u8>,
    here: usize,
}

impl<S: Speaker> Connection<S> {
    fn ask(&mut self, due: Instant) -> io::Result<()> {
        self.request = self.speaker.request();
        self.due = Some(due);
        self.send()
    }

    fn send(&mut self) -> io::Result<()> {
        self.here = 0;
        self.stream.write_all(self.request.as_bytes())
    }

    /// Reads what has come; what to do next, if that was the end of an answer.
    fn hear(&mut self) -> io::Result<Option<Next>> {
        if self.here == self.answer.len() {
            self.answer.resize(2 * self.here, 0);
        }
        let read = self.stream.read(&mut self.answer[self.here..])?;
        self.here += read;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let due = self.due.ok_or_else(|| io::Error::other("an answer to nothing"))?;
        let Some(answer) = whole(&self.answer[..self.here])? else { return Ok(None) };
        let next = self.speaker.answer(answer, due.elapsed())?;
        if next == Next::Request {
            self.due = None;
        }
        Ok(Some(next))
    }
}

struct Driver<'a, S> {
    load: &'a OpenLoop,
    poll: OwnedFd,
    timer: OwnedFd,
    began: Instant,
    connections: Vec<Connection<S>>,
    /// Connections without a request, in the order in which they became free, since the server ends those on which nothing comes for long.
    free: VecDeque<usize>,
    /// When requests were due that wait for a connection.
    waiting: VecDeque<Instant>,
    /// The number of the request that will be due next.
    next: u64,
    /// Connections that send the same once more, and when.
    again: BinaryHeap<Reverse<(Instant, usize)>>,
}

impl<S: Speaker> Driver<'_, S> {
    /// Sends what is due and hears what has come; false at the end.
    fn turn(&mut self) -> io::Result<bool> {
        let now = Instant::now();
        let next = self.note_due(now);
        while let (Some(&due), Some(&free)) = (self.waiting.front(), self.free.front()) {
            self.connections[free].ask(due)?;
            self.waiting.pop_front();
            self.free.pop_front();
        }
        while let Some(&Reverse((_, number))) = self.again.peek().filter(|it| it.0.0 <= now) {
            self.connections[number].send()?;
            self.again.pop();
        }
        if next.is_none() {
            if self.load.refusal.is_some() {
                self.waiting.clear();
            }
            if self.free.len() == self.connections.len() {
                return Ok(false);
            }
        }
        let again = self.again.peek().map(|it| it.0.0);
        self.hear(next.into_iter().chain(again).min())?;
        Ok(true)
    }

    /// Notes the requests that are due by now; tells when the next one is, unless that was the last.
    fn note_due(&mut self, now: Instant) -> Option<Instant> {
        let ends = self.began + Duration::from_secs(self.load.seconds);
        let Some(rate) = self.load.rate else {
            let free = if now < ends { self.free.len() } else { 0 };
            self.waiting.extend(iter::repeat_n(now, free));
            return None;
        };
        loop {
            let due = self.began + Duration::from_secs_f64(self.next as f64 / rate);
            if due >= ends {
                return None;
            }
            if due > now {
                return Some(due);
            }
            self.waiting.push_back(due);
            self.next += 1;
        }
    }

    /// Waits until then for answers, and hears them.
    fn hear(&mut self, until: Option<Instant>) -> io::Result<()> {
        // Of zero length it would never ring.
        let left = until.map(|until| {
            until.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1))
        });
        let it_value = Timespec::try_from(left.unwrap_or_default()).map_err(io::Error::other)?;
        let it_interval = Timespec::default();
        // Set anew it has not rung, so nobody reads it.
        timerfd_settime(
            &self.timer,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval, it_value },
        )?;
        let mut events = [epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(0),
        }; EVENTS];
        let heard = match epoll::wait(&self.poll, &mut events, None) {
            Err(Errno::INTR) => 0,
            heard => heard?,
        };
        for event in &events[..heard] {
            if event.data.u64() == TIMER {
                continue;
            }
            let number = event.data.u64() as usize;
            match self.connections[number].hear()? {
                None => {}
                Some(Next::Request) => self.free.push_back(number),
                Some(Next::Again(after)) => {
                    self.again.push(Reverse((Instant::now() + after, number)));
                }
            }
        }
        Ok(())
    }
}

/// An answer that is here to its last byte.
fn whole(answer: &[u8]) -> io::Result<Option<Answer<'_>>> {
    let bad = || io::Error::other("no answer that says how long it is");
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if answer.len() < HEAD_BYTES_MAX { Ok(None) } else { Err(bad()) };
    };
    let head = std::str::from_utf8(&answer[..end]).map_err(io::Error::other)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let length: Option<usize> = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let (status, length) = (status.ok_or_else(bad)?, length.ok_or_else(bad)?);
    let body = &answer[end + 4..];
    if body.len() > length {
        return Err(io::Error::other("more than one answer"));
    }
    Ok((body.len() == length).then_some(Answer { status, head, body }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    /// A server that answers one request after the other on each connection: by these pieces, some milliseconds apart, made from the request's number there.
    fn server(pieces: impl Fn(usize) -> Vec<Vec<u8>> + Clone + Send + 'static) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, pieces) = (stream.expect("somebody comes"), pieces.clone());
                thread::spawn(move || {
                    let mut bytes = [0; 4096];
                    for number in 0.. {
                        if !matches!(stream.read(&mut bytes), Ok(1..)) {
                            return;
                        }
                        for (index, piece) in pieces(number).iter().enumerate() {
                            if index > 0 {
                                thread::sleep(Duration::from_millis(5));
                            }
                            if stream.write_all(piece).is_err() {
                                return;
                            }
                        }
                    }
                });
            }
        });
        address
    }

    fn answer(status: u16, body: &str) -> Vec<u8> {
        let length = body.len();
        format!("HTTP/1.1 {status} Words\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
    }

    fn created() -> Vec<Vec<u8>> {
        vec![answer(201, "ok")]
    }

    fn load(address: SocketAddr, connections: usize, rate: f64) -> OpenLoop {
        OpenLoop { address, connections, seconds: 1, rate: Some(rate), refusal: None }
    }

    fn run(load: &OpenLoop) -> io::Result<Times> {
        load.run("/v1/transfers", |_| "{}".to_owned(), 201)
    }

    #[test]
    fn those_that_were_due_meanwhile_count() {
        let address = server(|number| {
            if number == 20 {
                thread::sleep(Duration::from_millis(500));
            }
            created()
        });
        let times = run(&load(address, 1, 100.0)).expect("it answers");
        assert_eq!(times.micros.len(), 100);
        // Of a hundred, fifty were due while it stood still: the half of them that came first waited for a quarter of a second and more.
        let waited = times.micros.count_between(250_000, 1_000_000);
        assert!((15..=40).contains(&waited), "{waited} waited");
    }

    #[test]
    fn requests_go_out_when_they_are_due() {
        // Waits of whole milliseconds would make half of them later than half of one. A busy machine is given some tries.
        let address = server(|_| created());
        let median = || {
            let times = run(&load(address, 1, 900.0)).expect("it answers");
            assert_eq!(times.micros.len(), 900);
            times.micros.value_at_quantile(0.5)
        };
        let medians: Vec<u64> = iter::repeat_with(median).take(5).collect();
        assert!(medians.iter().any(|median| *median < 300), "{medians:?}");
    }

    #[test]
    fn an_answer_may_come_in_pieces_and_be_long() {
        let address = server(|_| {
            let mut pieces = answer(201, &"x".repeat(3 * HEAD_BYTES_MAX));
            let end = pieces.split_off(100_000);
            let middle = pieces.split_off(10);
            vec![pieces, middle, end]
        });
        let times = run(&load(address, 2, 20.0)).expect("it answers");
        assert_eq!(times.micros.len(), 20);
        assert!(times.micros.min() >= 10_000, "each took two pauses");
    }

    #[test]
    fn with_refusals_each_that_finds_a_free_connection_is_sent() {
        let address = server(|number| vec![answer(if number % 2 == 0 { 503 } else { 201 }, "")]);
        let load = OpenLoop { refusal: Some(503), ..load(address, 1, 10.0) };
        let times = run(&load).expect("it answers");
        assert_eq!((times.refused, times.micros.len()), (5, 5));
    }

    #[test]
    fn without_a_rate_as_many_are_sent_as_are_answered() {
        let address = server(|_| {
            thread::sleep(Duration::from_millis(10));
            created()
        });
        let times = run(&OpenLoop { rate: None, ..load(address, 2, 0.0) }).expect("it answers");
        assert!((40..=200).contains(&times.micros.len()), "{} of 200", times.micros.len());
    }

    /// One that sends each request again until it is there.
    struct Stubborn(Vec<Duration>);

    impl Speaker for Stubborn {
        fn request(&mut self) -> String {
            "GET / HTTP/1.1\r\n\r\n".to_owned()
        }

        fn answer(&mut self, answer: Answer<'_>, took: Duration) -> io::Result<Next> {
            if answer.status == 503 {
                return Ok(Next::Again(Duration::from_millis(20)));
            }
            self.0.push(took);
            Ok(Next::Request)
        }
    }

    #[test]
    fn what_is_sent_again_is_due_when_it_was_first() {
        let address = server(|number| vec![answer(if number % 3 == 2 { 201 } else { 503 }, "")]);
        let load = load(address, 1, 5.0);
        let (speakers, _) = load.drive(vec![Stubborn(Vec::new())]).expect("it answers");
        assert_eq!(speakers[0].0.len(), 5);
        assert!(speakers[0].0.iter().all(|took| *took >= Duration::from_millis(40)));
    }

    #[test]
    fn what_nobody_asked_for_is_an_error() {
        for body in ["ok", ""] {
            let address = server(move |_| {
                let surplus = if body.is_empty() { answer(201, "") } else { b"more".to_vec() };
                vec![answer(201, body), surplus]
            });
            assert!(run(&load(address, 1, 20.0)).is_err());
        }
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
        assert!(whole(&[answer, &b"d"[..]].concat()).is_err());
    }
}
