//! An answer as HTTP and MCP have it: its length told or in chunks, its message alone or in a stream of events.

use std::borrow::Cow;

use anyhow::{Context as _, bail, ensure};
use httparse::{EMPTY_HEADER, Status};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A whole answer.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// The session that the server put the client into.
    pub(crate) session: Option<&'a str>,
    is_stream: bool,
    body: Cow<'a, [u8]>,
}

/// A JSON-RPC message, of which only what is wanted has been read.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
}

impl<'a> Answer<'a> {
    /// Returns the answer, once it is whole.
    ///
    /// # Errors
    /// What is no answer of HTTP/1.1, or has no end that can be told without closing the connection.
    pub(crate) fn read(received: &'a [u8]) -> anyhow::Result<Option<Self>> {
        let mut headers = [EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut headers);
        let Status::Complete(start) = head.parse(received).context("no answer of HTTP/1.1")? else {
            return Ok(None);
        };
        let status = head.code.unwrap_or_default();
        let header = |name: &str| {
            let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(found.value).ok().map(str::trim)
        };
        let rest = &received[start..];
        let is_chunked =
            header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        let body = match header("content-length") {
            _ if is_chunked => dechunked(rest)?.map(Cow::Owned),
            Some(length) => rest.get(..length.parse().context("a wrong length")?).map(Cow::Borrowed),
            None if status == 204 => Some(Cow::Borrowed(&rest[..0])),
            None => bail!("an answer whose end is the connection's, status {status}"),
        };
        let is_stream = header("content-type").is_some_and(|value| value.starts_with("text/event-stream"));
        let session = header("mcp-session-id");
        Ok(body.map(|body| Self { status, session, is_stream, body }))
    }

    /// Returns the result of the request with this id.
    ///
    /// # Errors
    /// Another status than 200, an error, or no answer to that request.
    pub(crate) fn result(&self, id: &str) -> anyhow::Result<Cow<'_, str>> {
        let text = std::str::from_utf8(&self.body).context("the answer is not UTF-8")?;
        ensure!(self.status == 200, "status {}: {text}", self.status);
        if !self.is_stream {
            return Ok(Cow::Borrowed(result(text, id)?.with_context(|| format!("another answer: {text}"))?));
        }
        for event in events(text) {
            if let Some(result) = result(&event, id)? {
                return Ok(Cow::Owned(result.to_owned()));
            }
        }
        bail!("no answer in the stream: {text}")
    }
}

/// The result in a message that answers this request.
fn result<'a>(message: &'a str, id: &str) -> anyhow::Result<Option<&'a str>> {
    let read: Message<'a> =
        serde_json::from_str(message).with_context(|| format!("no message: {message}"))?;
    if read.id.is_none_or(|found| found.get() != id) {
        return Ok(None);
    }
    Ok(Some(read.result.with_context(|| format!("an error: {message}"))?.get()))
}

/// The data of a stream's events, but for those that have none.
fn events(text: &str) -> impl Iterator<Item = String> {
    let mut lines = text.lines();
    std::iter::from_fn(move || {
        let mut data: Vec<&str> = Vec::new();
        for line in lines.by_ref() {
            if let Some(value) = line.strip_prefix("data:") {
                data.push(value.strip_prefix(' ').unwrap_or(value));
            } else if line.is_empty() && data.iter().any(|line| !line.is_empty()) {
                return Some(data.join("\n"));
            }
        }
        None
    })
}

/// The content of a body in chunks (RFC 9112, section 7.1), once it is whole.
fn dechunked(mut rest: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
    let mut content = Vec::new();
    loop {
        let parsed = httparse::parse_chunk_size(rest);
        let Status::Complete((start, length)) = parsed.map_err(|_| anyhow::anyhow!("a wrong chunk"))? else {
            return Ok(None);
        };
        rest = &rest[start..];
        if length == 0 {
            let trailers = httparse::parse_headers(rest, &mut [EMPTY_HEADER; 16])?.is_complete();
            return Ok(trailers.then_some(content));
        }
        let length = usize::try_from(length)?;
        let Some((chunk, after)) = rest.split_at_checked(length) else {
            return Ok(None);
        };
        content.extend_from_slice(chunk);
        let Some(after) = after.get(2..) else {
            return Ok(None);
        };
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = r#"{"jsonrpc":"2.0","id":12,"result":{"a":[1]}}"#;

    fn answer(head: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").into_bytes()
    }

    fn plain(message: &str) -> Vec<u8> {
        answer(&format!("content-type: application/json\r\nContent-Length: {}", message.len()), message)
    }

    fn chunked(body: &str) -> Vec<u8> {
        let (one, two) = body.split_at(body.len() / 2);
        let chunks = format!("{:x}\r\n{one}\r\n{:X};x=y\r\n{two}\r\n0\r\n\r\n", one.len(), two.len());
        answer("Transfer-Encoding: chunked\r\ncontent-type: text/event-stream", &chunks)
    }

    fn result_of(received: &[u8], id: &str) -> anyhow::Result<String> {
        let answer = Answer::read(received)?.context("it is not whole")?;
        answer.result(id).map(Cow::into_owned)
    }

    #[test]
    fn a_result_is_found_alone_and_amid_events() {
        assert_eq!(result_of(&plain(MESSAGE), "12").unwrap(), r#"{"a":[1]}"#);
        let events = format!(
            "id: 0\nretry: 3000\ndata: \n\n: a comment\ndata: {{\"method\":\"notifications/progress\"}}\n\n\
             event: message\r\ndata:{MESSAGE}\r\n\r\n"
        );
        assert_eq!(result_of(&chunked(&events), "12").unwrap(), r#"{"a":[1]}"#);
    }

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        for received in [plain(MESSAGE), chunked(&format!("data: {MESSAGE}\n\n"))] {
            for end in 0..received.len() {
                assert!(Answer::read(&received[..end]).unwrap().is_none(), "{end}");
            }
            assert!(Answer::read(&received).unwrap().is_some());
        }
    }

    #[test]
    fn what_is_no_result_is_an_error() {
        for message in
            [r#"{"id":13,"result":{}}"#, r#"{"id":12,"error":{"code":1}}"#, r#"{"result":{}}"#, "[]"]
        {
            assert!(result_of(&plain(message), "12").is_err(), "{message}");
        }
        let refused = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";
        assert!(result_of(refused, "12").is_err());
        assert!(result_of(&chunked("data: {\"id\":13}\n\n"), "12").is_err());
        assert!(Answer::read(b"HTTP/1.1 200 OK\r\n\r\n").is_err(), "it ends with the connection");
        assert!(Answer::read(b"HELLO\r\n\r\n").is_err());
    }
}
