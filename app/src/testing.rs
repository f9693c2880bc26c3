//! For the tests of a server that is built on this one: the server on loopback, behind a scripted verifier and a clock that
//! stands still, or with the local tenant. Behind the feature `testing`.
//!
//! ```
//! use fastmcp_auth0::testing::TestServer;
//! use fastmcp_auth0::{Principal, Server, tool_fn};
//! use serde_json::json;
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! struct Input {
//!     text: String,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> anyhow::Result<()> {
//! let shout = tool_fn("shout", "Shouts.", |input: Input, _: Principal| async move { Ok(input.text.to_uppercase()) });
//! let server = TestServer::start(Server::builder().tool(shout.scopes(&["tool:shout"]))).await?;
//!
//! let answer = server.call(&server.token("tool:shout"), "shout", json!({"text": "a"})).await?;
//! assert_eq!(answer.text(), "A");
//! let refused = server.call(&server.token(""), "shout", json!({"text": "a"})).await?;
//! assert_eq!(refused.status, 403);
//! # Ok(())
//! # }
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use bytes::Bytes;
use domain::{Claims, Clock, UnixMillis, UnixSeconds};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{HeaderMap, Request};
use hyper_transport::Drained;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::Sources;
use crate::server::ServerBuilder;

pub use fakes::{Behaviour, ManualClock, RecordingTool, ScriptedVerifier, claims};
pub use local_tenant;

const ISSUER: &str = "https://tenant.example.auth0.com/";
const AUDIENCE: &str = "https://mcp.example.com/mcp";
/// The present, until the clock is moved: 2026-11-23T01:04:37.985Z.
pub const NOW: UnixMillis = UnixMillis(1_795_395_877_985);

/// A server on a free port of loopback. Dropping it stops it at once.
pub struct TestServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its clock, which stands still until it is moved.
    pub clock: Arc<ManualClock>,
    /// Its verifier, which takes the tokens that it was given.
    pub verifier: Arc<ScriptedVerifier>,
    /// The endpoint's path.
    path: String,
    tokens: AtomicU64,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<anyhow::Result<Drained>>,
}

/// A response.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl TestServer {
    /// Builds a server with the defaults of its configuration, set-up included, and serves it.
    ///
    /// # Errors
    /// When the configuration or the set-up is at fault.
    pub async fn start(builder: ServerBuilder) -> anyhow::Result<Self> {
        Self::start_with(builder, |sources| sources).await
    }

    /// As [`TestServer::start`], with other configuration: `|sources| sources.set("test", "orders.url", ":memory:")`.
    ///
    /// # Errors
    /// When the configuration or the set-up is at fault.
    pub async fn start_with(
        builder: ServerBuilder,
        configure: impl FnOnce(Sources) -> Sources,
    ) -> anyhow::Result<Self> {
        let sources = builder.sources().set("test", "auth0.issuer", ISSUER);
        let sources = sources.set("test", "auth0.audience", AUDIENCE);
        let (clock, verifier) = (Arc::new(ManualClock::at(NOW)), Arc::new(ScriptedVerifier::new()));
        let builder = builder.clock(Arc::clone(&clock) as _).verifier(Arc::clone(&verifier) as _);
        let server = builder.build(configure(sources)).await?;
        let path = server.settings().server.path.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.context("can't listen on loopback")?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(server.serve(listener, async {
            let _ = stopped.await;
        }));
        Ok(Self { address, path, clock, verifier, tokens: AtomicU64::new(1), stop: Some(stop), serving })
    }

    /// Returns a token with these scopes, separated by spaces; it is good for an hour.
    pub fn token(&self, scopes: &str) -> String {
        self.token_with(scopes, |_| {})
    }

    /// Returns a token with these scopes and other claims: `|claims| claims.subject = "auth0|uma".into()`.
    pub fn token_with(&self, scopes: &str, change: impl FnOnce(&mut Claims)) -> String {
        let token = format!("test-token-{}", self.tokens.fetch_add(1, Ordering::Relaxed));
        let expiry = UnixSeconds(self.clock.now().seconds().0 + 3600);
        let mut claims = claims(ISSUER, AUDIENCE, expiry, scopes);
        change(&mut claims);
        self.verifier.script(&token, Ok(claims));
        token
    }

    /// Calls a tool.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn call(&self, token: &str, tool: &str, arguments: Value) -> anyhow::Result<Answer> {
        self.request(token, "tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    /// Returns the names of the tools that the bearer of the token may call.
    ///
    /// # Errors
    /// When the server does not answer with a list.
    pub async fn tools(&self, token: &str) -> anyhow::Result<Vec<String>> {
        let answer = self.request(token, "tools/list", json!({})).await?.json()?;
        let tools = answer["result"]["tools"].as_array().with_context(|| format!("no list: {answer}"))?;
        Ok(tools.iter().filter_map(|tool| Some(tool["name"].as_str()?.to_owned())).collect())
    }

    /// Sends a JSON-RPC request of revision 2025-11-25.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn request(&self, token: &str, method: &str, params: Value) -> anyhow::Result<Answer> {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let request = Request::post(if self.path.is_empty() { "/" } else { &self.path })
            .header(HOST, self.address.to_string())
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-11-25");
        self.send(request.body(Full::from(message.to_string()))?).await
    }

    /// Sends any HTTP request, on a connection of its own.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        connection.abort();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }

    /// Stops the server in order, shutdown hooks included.
    ///
    /// # Errors
    /// When it did not serve to the end.
    pub async fn stop(mut self) -> anyhow::Result<Drained> {
        drop(self.stop.take());
        (&mut self.serving).await.context("the server panicked")?
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Answer {
    /// Returns the body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON: {:?}", self.body))
    }

    /// Returns the structured content of a tool's result; null where there is none.
    #[must_use]
    pub fn structured_content(&self) -> Value {
        self.member("/result/structuredContent")
    }

    /// Returns the first text of a tool's result; empty where there is none.
    #[must_use]
    pub fn text(&self) -> String {
        self.member("/result/content/0/text").as_str().unwrap_or_default().to_owned()
    }

    /// Returns whether a tool's result tells of a failure.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.member("/result/isError") == true
    }

    fn member(&self, pointer: &str) -> Value {
        self.json().ok().and_then(|json| json.pointer(pointer).cloned()).unwrap_or_default()
    }
}
