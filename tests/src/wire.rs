//! Bytes as they go over TCP: hand-made HTTP/1.1 requests and HTTP/2 frames, for what no client library would send.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Harness, soon};

/// What an HTTP/2 client sends first (RFC 9113 section 3.4), without its `SETTINGS`.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113 section 6).
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Frame flags (RFC 9113 section 6); `ACK` has the same bit as `END_STREAM`.
pub mod flag {
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const WHOLE: u8 = END_STREAM | END_HEADERS;
}

/// An HTTP/2 frame (RFC 9113 section 4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field that no table knows, as it is (RFC 7541 section 6.2.2).
pub fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0], &*text(name), &*text(value)].concat()
}

/// A string's length as an integer with a 7-bit prefix (RFC 7541 sections 5.1, 5.2), and the string.
fn text(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut rest) = text.len().checked_sub(127) {
        bytes.push(127);
        while rest >= 128 {
            bytes.push(u8::try_from(rest % 128).unwrap() | 128);
            rest /= 128;
        }
        bytes.push(u8::try_from(rest).unwrap());
    } else {
        bytes.push(u8::try_from(text.len()).unwrap());
    }
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// `GET path` as one `HEADERS` frame that ends the request.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    let fields = [b"\x82\x86".to_vec(), field(":path", path), field(":authority", "localhost")];
    frame(kind::HEADERS, flag::WHOLE, stream, &fields.concat())
}

/// A frame that the server sent.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The error code of a `GOAWAY` or `RST_STREAM` (RFC 9113 section 7).
    pub fn error(&self) -> Option<u32> {
        let code = match self.kind {
            kind::GOAWAY => self.payload.get(4..8)?,
            kind::RST_STREAM => self.payload.get(..4)?,
            _ => return None,
        };
        Some(u32::from_be_bytes(code.try_into().unwrap()))
    }
}

/// An HTTP/2 connection whose every byte is the test's.
pub struct Http2(pub TcpStream);

impl Http2 {
    /// Opens with these settings, each an identifier and a value.
    pub async fn open(harness: &Harness, settings: &[(u16, u32)]) -> Self {
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        let mut connection = Self(harness.connect().await);
        connection.send(&[PREFACE, &frame(kind::SETTINGS, 0, 0, &settings)].concat()).await;
        connection
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        soon(self.0.write_all(bytes)).await.unwrap();
    }

    /// The next frame; none when the server has closed.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        soon(self.0.read_exact(&mut head)).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length.try_into().unwrap()];
        soon(self.0.read_exact(&mut payload)).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The first frame that is `wanted`.
    pub async fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.next().await.expect("the server closed before");
            if wanted(&frame) {
                return frame;
            }
        }
    }

    /// Reads until a body holds `text`.
    pub async fn until_data(&mut self, text: &str) {
        let holds = |frame: &Frame| String::from_utf8_lossy(&frame.payload).contains(text);
        self.until(|frame| frame.kind == kind::DATA && holds(frame)).await;
    }

    /// The first frame that ends something or begins a body; none when the server has closed.
    pub async fn next_that_tells(&mut self) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            let ends = frame.kind == kind::HEADERS && frame.flags & flag::END_STREAM != 0;
            if ends || frame.error().is_some() || frame.kind == kind::DATA {
                return Some(frame);
            }
        }
    }
}
