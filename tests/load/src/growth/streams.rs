//! The client's side of streams: many connections, each with a request whose answer does not end soon.

use std::io::Write as _;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::bail;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::client::{connected, now, read_all};

/// How long something may take to come.
const PATIENCE: Duration = Duration::from_mins(1);

/// When the first and the last had something, in milliseconds.
pub(super) struct Came {
    pub(super) first: f64,
    pub(super) last: f64,
}

pub(super) struct Streams {
    poll: Poll,
    streams: Vec<Stream>,
}

struct Stream {
    socket: TcpStream,
    /// Since it was taken.
    received: Vec<u8>,
}

impl Streams {
    /// Sends the same request on so many connections.
    pub(super) fn open(address: SocketAddr, count: usize, request: &[u8]) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let open = |index| {
            let mut socket = connected(address, request)?;
            poll.registry().register(&mut socket, Token(index), Interest::READABLE)?;
            Ok(Stream { socket, received: Vec::new() })
        };
        Ok(Self { streams: (0..count).map(open).collect::<anyhow::Result<_>>()?, poll })
    }

    /// Sends another request on a connection.
    pub(super) fn send(&mut self, index: usize, request: &[u8]) -> anyhow::Result<()> {
        Ok(self.streams[index].socket.write_all(request)?)
    }

    /// What came on a connection since it was taken last.
    pub(super) fn take(&mut self, index: usize) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.streams[index].received)).into_owned()
    }

    /// Waits until a text came on each of these connections.
    pub(super) fn wait_for(&mut self, text: &str, on: Range<usize>, since: Instant) -> anyhow::Result<Came> {
        let mut waits: Vec<bool> = (0..self.streams.len()).map(|index| on.contains(&index)).collect();
        let (mut left, mut first) = (on.len(), None);
        let mut events = Events::with_capacity(1024);
        let mut ready: Vec<usize> = on.collect();
        loop {
            for index in ready.drain(..) {
                let stream = &mut self.streams[index];
                read_all(&mut stream.socket, &mut stream.received)?;
                if waits[index] && contains(&stream.received, text.as_bytes()) {
                    waits[index] = false;
                    left -= 1;
                    first.get_or_insert_with(|| milliseconds(since));
                }
            }
            if left == 0 {
                let last = milliseconds(since);
                return Ok(Came { first: first.unwrap_or(last), last });
            }
            if since.elapsed() > PATIENCE {
                let silent = waits.iter().position(|waits| *waits).map(|index| self.take(index));
                bail!("{text:?} never came on {left} connections, but {:?}", silent.unwrap_or_default());
            }
            self.poll.poll(&mut events, Some(Duration::ZERO))?;
            ready.extend(events.iter().map(|event| event.token().0));
        }
    }

    /// Waits for a text on all of them, and takes what came.
    pub(super) fn have_all(&mut self, text: &str, since: Instant) -> anyhow::Result<Came> {
        let came = self.wait_for(text, 0..self.streams.len(), since)?;
        for stream in &mut self.streams {
            stream.received.clear();
        }
        Ok(came)
    }

    /// Waits for a text on all of them as it comes after a request.
    pub(super) fn begin(&mut self, text: &str) -> anyhow::Result<()> {
        self.have_all(text, now()).map(drop)
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn contains(received: &[u8], text: &[u8]) -> bool {
    received.windows(text.len()).any(|window| window == text)
}
