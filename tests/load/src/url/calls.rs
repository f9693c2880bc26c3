//! What an MCP client does: a handshake for each connection where the revision has one, then calls of one tool.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hyper::Uri;
use serde_json::{Value, json};

use crate::client::Exchange;
use crate::requests::Era;
use crate::url::answer::Answer;

/// The id of the first call. All have as many digits, so one request is as long as the other.
const FIRST_ID: usize = 1_000_000_000;
/// For an answer before anything is measured.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server's endpoint.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    host: String,
    path: String,
}

impl Target {
    /// Parses an address such as `http://127.0.0.1:8000/mcp`.
    ///
    /// # Errors
    /// What is no URL of plain HTTP, or is not on this machine, unless it may be anywhere.
    pub(crate) fn parse(url: &str, anywhere: bool) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url} is no URL"))?;
        ensure!(uri.scheme_str() == Some("http"), "{url} does not begin with http://; TLS is not measured");
        let authority = uri.authority().with_context(|| format!("{url} has no host"))?;
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(80);
        let addresses: Vec<SocketAddr> =
            (name, port).to_socket_addrs().with_context(|| format!("no address of {name}"))?.collect();
        let here = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
        ensure!(
            anywhere || addresses.iter().all(here),
            "{name} is not on this machine; --anywhere is for a server of your own elsewhere"
        );
        let reached = addresses.iter().find(|address| TcpStream::connect(address).is_ok());
        let address = *reached.with_context(|| format!("nothing listens at {authority}"))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self { address, host: authority.to_string(), path: path.to_owned() })
    }

    /// Returns the endpoint `/mcp` on 127.0.0.1.
    pub(crate) fn local(address: SocketAddr) -> Self {
        Self { address, host: format!("localhost:{}", address.port()), path: "/mcp".to_owned() }
    }

    /// A whole request; `more` has whole header lines.
    fn post(&self, token: Option<&str>, more: &str, body: &Value) -> Vec<u8> {
        let Self { host, path, .. } = self;
        let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let body = body.to_string();
        format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\n{token}content-type: application/json\r\n\
             accept: application/json, text/event-stream\r\n{more}content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    /// Sends one request on a connection of its own, and hands its answer on.
    fn ask<T>(&self, request: &[u8], take: impl Fn(&Answer<'_>) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let mut stream = TcpStream::connect(self.address).context("the server does not listen")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request)?;
        let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let length = stream.read(&mut buffer).context("no answer")?;
            ensure!(length > 0, "no whole answer: {}", String::from_utf8_lossy(&received));
            received.extend_from_slice(&buffer[..length]);
            if let Some(answer) = Answer::read(&received)? {
                return take(&answer);
            }
        }
    }
}

/// Which tool is called, and how.
pub(crate) struct Tool<'a> {
    pub(crate) era: Era,
    pub(crate) name: &'a str,
    pub(crate) arguments: &'a Value,
}

/// A connection's request: the same every time, but for its id.
struct Request {
    bytes: Vec<u8>,
    id_at: usize,
}

/// Calls of one tool, whose answers must have the result that the first one had.
pub(crate) struct Calls {
    requests: Vec<Request>,
    result: String,
}

impl Calls {
    /// Prepares calls on so many connections, each of which has a session of its own if the server keeps any, and one of the tokens.
    ///
    /// # Errors
    /// A server that refuses, or a tool that fails.
    pub(crate) fn open(
        target: &Target,
        tool: &Tool<'_>,
        tokens: &[String],
        connections: usize,
    ) -> anyhow::Result<Self> {
        let mut calls = Self { requests: Vec::new(), result: String::new() };
        for index in 0..connections {
            let token = (!tokens.is_empty()).then(|| tokens[index % tokens.len()].as_str());
            let mut more = match tool.era {
                Era::Legacy => handshake(target, token)?,
                Era::Modern => format!("mcp-protocol-version: {}\r\n", tool.era.name()),
            };
            more += &tool.era.mirrors("tools/call", Some(tool.name));
            let body = tool.era.tool_call(FIRST_ID as u64, tool.name, tool.arguments);
            calls.requests.push(Request::new(target.post(token, &more, &body))?);
        }
        let first = &calls.requests[0].bytes;
        calls.result = target.ask(first, |answer| Ok(answer.result(&FIRST_ID.to_string())?.into_owned()))?;
        let result: Value = serde_json::from_str(&calls.result)?;
        let is_complete = result.get("resultType").is_none_or(|kind| kind == "complete");
        ensure!(is_complete && result["isError"] != true, "the tool failed: {result}");
        Ok(calls)
    }

    /// Returns the result of all calls.
    pub(crate) fn result(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.result)?)
    }

    /// Returns the status of a call with another token.
    pub(crate) fn status(target: &Target, tool: &Tool<'_>, token: &str) -> anyhow::Result<u16> {
        let more = format!(
            "mcp-protocol-version: {}\r\n{}",
            tool.era.name(),
            tool.era.mirrors("tools/call", Some(tool.name))
        );
        let body = tool.era.tool_call(FIRST_ID as u64, tool.name, tool.arguments);
        target.ask(&target.post(Some(token), &more, &body), |answer| Ok(answer.status))
    }
}

impl Request {
    fn new(bytes: Vec<u8>) -> anyhow::Result<Self> {
        let marker = format!("\"id\":{FIRST_ID}");
        let found = bytes.windows(marker.len()).rposition(|part| part == marker.as_bytes());
        let id_at = found.context("the request has no id")? + "\"id\":".len();
        Ok(Self { bytes, id_at })
    }
}

impl Exchange for Calls {
    fn request<'a>(&'a self, number: usize, connection: usize, buffer: &'a mut Vec<u8>) -> &'a [u8] {
        let Request { bytes, id_at } = &self.requests[connection];
        buffer.clone_from(bytes);
        let id = id(number);
        buffer[*id_at..id_at + id.len()].copy_from_slice(id.as_bytes());
        buffer
    }

    fn is_answer(&self, number: usize, received: &[u8]) -> anyhow::Result<bool> {
        let Some(answer) = Answer::read(received)? else {
            return Ok(false);
        };
        let result = answer.result(&id(number))?;
        // The same result may be written in another way.
        let same = *result == self.result || serde_json::from_str::<Value>(&result)? == self.result()?;
        ensure!(same, "another result: {result}\nbefore: {}", self.result);
        Ok(true)
    }
}

/// The id of a call: it is not used before in its session.
fn id(number: usize) -> String {
    (FIRST_ID + 1 + number).to_string()
}

/// Makes a session, or at least acquaintance, and returns the header lines that every later request has.
fn handshake(target: &Target, token: Option<&str>) -> anyhow::Result<String> {
    let params = json!({
        "protocolVersion": Era::Legacy.name(),
        "capabilities": {},
        "clientInfo": {"name": "load", "version": "1"},
    });
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
    let request = target.post(token, "", &initialize);
    let (result, session) = target
        .ask(&request, |answer| Ok((answer.result("1")?.into_owned(), answer.session.map(str::to_owned))))
        .context("initialize")?;
    let result: Value = serde_json::from_str(&result)?;
    let version = result["protocolVersion"].as_str().context("initialize: no version")?;
    let session = session.map(|session| format!("mcp-session-id: {session}\r\n")).unwrap_or_default();
    let more = format!("mcp-protocol-version: {version}\r\n{session}");
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let status = target.ask(&target.post(token, &more, &initialized), |answer| Ok(answer.status))?;
    ensure!((200..300).contains(&status), "notifications/initialized: status {status}");
    Ok(more)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls() -> Calls {
        let target = Target::local(([127, 0, 0, 1], 1).into());
        let body = Era::Modern.tool_call(FIRST_ID as u64, "greet", &json!({"text": "\"id\":1000000000"}));
        let requests = vec![Request::new(target.post(Some("abc"), "", &body)).unwrap()];
        Calls { requests, result: r#"{"a":1,"b":2}"#.to_owned() }
    }

    fn answer(message: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{message}", message.len()).into_bytes()
    }

    #[test]
    fn each_call_has_an_id_of_its_own() {
        let (calls, mut buffer) = (calls(), Vec::new());
        let mut sent = |number| String::from_utf8(calls.request(number, 0, &mut buffer).to_vec()).unwrap();
        let (first, later) = (sent(0), sent(41));
        assert_eq!(first.len(), later.len());
        let body =
            |request: &str| serde_json::from_str::<Value>(request.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(
            (&body(&first)["id"], &body(&later)["id"]),
            (&json!(1_000_000_001), &json!(1_000_000_042))
        );
        assert_eq!(body(&later)["params"]["arguments"]["text"], "\"id\":1000000000");
    }

    #[test]
    fn an_answer_must_have_the_first_ones_result() {
        let calls = calls();
        let is_answer = |message: &str| calls.is_answer(4, &answer(message));
        assert!(is_answer(r#"{"id":1000000005,"result":{"a":1,"b":2}}"#).unwrap());
        assert!(
            is_answer(r#"{"result":{"b": 2, "a": 1},"id":1000000005}"#).unwrap(),
            "written in another way"
        );
        assert!(is_answer(r#"{"id":1000000005,"result":{"a":1,"b":3}}"#).is_err());
        assert!(is_answer(r#"{"id":1000000006,"result":{"a":1,"b":2}}"#).is_err());
        assert!(is_answer(r#"{"id":1000000005,"error":{"code":1,"message":""}}"#).is_err());
    }

    #[test]
    fn only_this_machine_is_a_target_unless_told_otherwise() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://127.0.0.1:{}/mcp?x=1", listener.local_addr().unwrap().port());
        let target = Target::parse(&url, false).unwrap();
        assert_eq!((target.address, target.path.as_str()), (listener.local_addr().unwrap(), "/mcp?x=1"));
        let message = |url: &str| Target::parse(url, false).err().unwrap().to_string();
        for url in ["http://192.0.2.1/mcp", "http://0.0.0.0:80/mcp", "http://[2001:db8::1]/mcp"] {
            assert!(message(url).contains("not on this machine"), "{url}");
        }
        assert!(message("https://127.0.0.1/mcp").contains("TLS"));
        assert!(message("127.0.0.1:80").contains("http://"));
    }
}
