//! The client: keep-alive connections from one thread, one request under way on each, every answer checked.
//!
//! It is made to cost little, with requests that are bytes made beforehand. It is always awake, or sleeps until something comes.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// How long a client sleeps at most.
const SLEEP: Duration = Duration::from_millis(100);

/// What came of a run.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) answers: u64,
    /// Sorted; without those of each connection's first request, since these are sent all at once, unless there are no others.
    pub(crate) latencies: Vec<Duration>,
}

impl Outcome {
    /// What came of another run besides.
    pub(crate) fn add(&mut self, other: Self) {
        self.answers += other.answers;
        self.latencies.extend(other.latencies);
        self.latencies.sort_unstable();
    }

    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get(last * percent / 100).copied().unwrap_or_default()
    }
}

/// What to send, and what has to come back.
pub(crate) trait Exchange {
    /// Returns a whole request, by its number and the connection that it is for; `buffer` is the connection's, to make it in.
    fn request<'a>(&'a self, number: usize, connection: usize, buffer: &'a mut Vec<u8>) -> &'a [u8];

    /// Tells whether what came is the whole answer to the request of this number.
    ///
    /// # Errors
    /// A wrong answer.
    fn is_answer(&self, number: usize, received: &[u8]) -> anyhow::Result<bool>;
}

/// The same answer to every request.
pub(crate) struct Work<'a> {
    /// Whole requests; they are sent in turn, over and over.
    pub(crate) requests: &'a [Vec<u8>],
    /// The answers' body, byte for byte.
    pub(crate) expected: &'a [u8],
}

impl Exchange for Work<'_> {
    fn request<'a>(&'a self, number: usize, _connection: usize, _buffer: &'a mut Vec<u8>) -> &'a [u8] {
        &self.requests[number % self.requests.len()]
    }

    fn is_answer(&self, _number: usize, received: &[u8]) -> anyhow::Result<bool> {
        let is_whole = body(received).is_some();
        if is_whole {
            check(received, self.expected)?;
        }
        Ok(is_whole)
    }
}

struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    received: Vec<u8>,
    /// The last request's number, and when it was sent while it is under way.
    number: usize,
    since: Option<Instant>,
}

/// Whether a client sleeps while it has nothing to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    /// No: the kernel books the waking of a client to the server that answers it.
    Awake,
    /// Yes, as the clients that people have do.
    Asleep,
}

/// Connections that stay open between runs.
pub(crate) struct Client {
    poll: Poll,
    waits: Waits,
    connections: Vec<Connection>,
    /// Connections without a request under way, the one first that has been for the longest time.
    free: VecDeque<usize>,
    at_once: usize,
    next_request: usize,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr, connections: usize) -> anyhow::Result<Self> {
        Self::connect_to_all(&[address], connections)
    }

    /// So many connections in all, to the servers in turn.
    pub(crate) fn connect_to_all(addresses: &[SocketAddr], connections: usize) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let open = |(index, address)| {
            let mut stream = connected(address, &[])?;
            poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
            Ok(Connection { stream, request: Vec::new(), received: Vec::new(), number: 0, since: None })
        };
        let addresses = addresses.iter().copied().cycle().take(connections).enumerate();
        Ok(Self {
            connections: addresses.map(open).collect::<anyhow::Result<_>>()?,
            poll,
            waits: Waits::Awake,
            free: (0..connections).collect(),
            at_once: connections,
            next_request: 0,
        })
    }

    /// With no more requests under way than these, on all connections in turn.
    pub(crate) fn at_once(self, at_once: usize) -> Self {
        Self { at_once, ..self }
    }

    pub(crate) fn waiting(self, waits: Waits) -> Self {
        Self { waits, ..self }
    }

    /// Sends until `count` requests are answered, or the time is up; then waits for the answers that are still due.
    pub(crate) fn run(
        &mut self,
        work: &impl Exchange,
        count: u64,
        most: Duration,
    ) -> anyhow::Result<Outcome> {
        let mut events = Events::with_capacity(1024);
        let mut latencies = Vec::new();
        let first = self.at_once.min(self.connections.len());
        let counted_from = self.next_request + if count > first as u64 { first } else { 0 };
        let (started, mut sent, mut answered) = (now(), 0, 0);
        loop {
            let elapsed = started.elapsed();
            let stop = sent >= count || elapsed >= most;
            if stop && answered == sent {
                latencies.sort_unstable();
                return Ok(Outcome { answers: answered, latencies });
            }
            if elapsed > most + Duration::from_secs(20) {
                bail!("{} of {sent} answers never came", sent - answered);
            }
            if !stop {
                sent += self.send(work, count - sent)?;
            }
            let patience = if self.waits == Waits::Asleep { SLEEP } else { Duration::ZERO };
            self.poll.poll(&mut events, Some(patience))?;
            for event in &events {
                if let Some(latency) = self.receive(event.token().0, work)? {
                    answered += 1;
                    if self.connections[event.token().0].number >= counted_from {
                        latencies.push(latency);
                    }
                }
            }
        }
    }

    /// Each connection sends as soon as it has its answer, unless others have waited for longer.
    fn send(&mut self, work: &impl Exchange, most: u64) -> anyhow::Result<u64> {
        let (now, mut sent) = (now(), 0);
        while sent < most && self.connections.len() - self.free.len() < self.at_once {
            let Some(index) = self.free.pop_front() else { break };
            let connection = &mut self.connections[index];
            let request = work.request(self.next_request, index, &mut connection.request);
            // A request fits a socket's buffer, so it is sent as a whole.
            connection.stream.write_all(request).context("a request could not be sent")?;
            connection.number = self.next_request;
            connection.since = Some(now);
            self.next_request += 1;
            sent += 1;
        }
        Ok(sent)
    }

    fn receive(&mut self, index: usize, work: &impl Exchange) -> anyhow::Result<Option<Duration>> {
        let connection = &mut self.connections[index];
        read_all(&mut connection.stream, &mut connection.received)?;
        let Some(since) = connection.since else {
            return Ok(None);
        };
        if !work.is_answer(connection.number, &connection.received)? {
            return Ok(None);
        }
        connection.received.clear();
        connection.since = None;
        self.free.push_back(index);
        Ok(Some(since.elapsed()))
    }
}

/// A connection that has sent something first.
pub(crate) fn connected(address: SocketAddr, first: &[u8]) -> anyhow::Result<TcpStream> {
    let mut stream = std::net::TcpStream::connect(address).context("the server does not listen")?;
    stream.set_nodelay(true)?;
    stream.write_all(first)?;
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}

/// Reads what there is.
pub(crate) fn read_all(stream: &mut TcpStream, received: &mut Vec<u8>) -> anyhow::Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => bail!("the server closed a connection: {}", String::from_utf8_lossy(received)),
            Ok(length) => received.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Where the body begins and how long it is, once the head is there.
fn extent(received: &[u8]) -> Option<(usize, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(received).ok()? else {
        return None;
    };
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"))?;
    Some((head, std::str::from_utf8(length.value).ok()?.parse().ok()?))
}

/// The body of a whole answer.
pub(crate) fn body(received: &[u8]) -> Option<&[u8]> {
    let (head, length) = extent(received)?;
    received.get(head..head + length)
}

/// # Errors
/// An answer that is not 200 with the expected body.
fn check(received: &[u8], expected: &[u8]) -> anyhow::Result<()> {
    let whole = received.ends_with(expected) && body(received) == Some(expected);
    if received.starts_with(b"HTTP/1.1 200 ") && whole {
        return Ok(());
    }
    bail!(
        "a wrong answer:\n{}\nexpected:\n{}",
        String::from_utf8_lossy(received),
        String::from_utf8_lossy(expected)
    )
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
