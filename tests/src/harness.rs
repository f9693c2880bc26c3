//! The real wiring on port 0, with the ports that a test chooses, and ways to talk to it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::{Announcer, Claims, DynTool, Method, Prompt, Provider, Resource, UnixMillis, VerifyError};
use fakes::{ManualClock, ScriptedVerifier, claims};
use fastmcp_auth0::admin::{self, Admin};
use fastmcp_auth0::wiring;
use fastmcp_auth0::{Offer, Ports, Settings, Sources};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_transport::{Drained, Listener, ReloadHandle};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub const ISSUER: &str = "https://tenant.example.auth0.com/";
pub const AUDIENCE: &str = "https://mcp.example.com/mcp";
pub const MODERN: &str = "2026-07-28";
pub const URL: &str = "https://mcp.example.com";
/// 2026-11-23T01:04:37.985Z.
pub const NOW: UnixMillis = UnixMillis(1_795_395_877_985);

/// Tokens that every harness knows: with both scopes, with whoami only, and with none.
pub const ADMIN: &str = "admin-token";
pub const USER: &str = "user-token";
pub const NOBODY: &str = "nobody-token";

/// What a test may choose.
pub struct Choices {
    sources: Sources,
    offer: Offer,
    /// Where it listens, if not on a free port.
    listener: Option<Listener>,
    /// Changes the ports that they are served behind.
    with_ports: Box<dyn FnOnce(&mut Ports) + Send>,
}

impl Choices {
    /// The shipped tools under the default configuration.
    pub fn new() -> Self {
        let sources = Sources::defaults()
            .set("test", "auth0.issuer", ISSUER)
            .set("test", "auth0.audience", AUDIENCE)
            .set("test", "server.url", URL);
        Self { sources, offer: wiring::shipped(), listener: None, with_ports: Box::new(|_| {}) }
    }

    pub fn set(mut self, key: &str, value: impl Into<config::ValueKind>) -> Self {
        self.sources = self.sources.set("test", key, value);
        self
    }

    /// Adds the text of a configuration file.
    pub fn text(mut self, text: &str) -> Self {
        self.sources = self.sources.text("test.toml", text);
        self
    }

    /// Listens elsewhere than on a free port.
    pub fn on(self, listener: Listener) -> Self {
        Self { listener: Some(listener), ..self }
    }

    /// Adds a tool after the shipped ones.
    pub fn tool(mut self, tool: Arc<dyn DynTool>) -> Self {
        self.offer.tools.push(tool);
        self
    }

    pub fn resource(mut self, resource: Arc<dyn Resource>) -> Self {
        self.offer.resources.push(resource);
        self
    }

    pub fn prompt(mut self, prompt: Arc<dyn Prompt>) -> Self {
        self.offer.prompts.push(prompt);
        self
    }

    pub fn provider(mut self, provider: Arc<dyn Provider>) -> Self {
        self.offer.providers.push(provider);
        self
    }

    pub fn method(mut self, method: Arc<dyn Method>) -> Self {
        self.offer.methods.push(method);
        self
    }

    /// Serves behind other ports.
    pub fn ports_with(mut self, change: impl FnOnce(&mut Ports) + Send + 'static) -> Self {
        let before = self.with_ports;
        self.with_ports = Box::new(|ports| {
            before(ports);
            change(ports);
        });
        self
    }

    pub async fn start(self) -> Harness {
        Harness::start(self).await
    }

    /// What a server would be made of; or why there can't be one.
    pub fn ports_and_settings(self) -> Result<(Ports, Settings), String> {
        let sources = self.sources.clone();
        let ports = self.ports();
        let catalog = ports.offer.catalog().map_err(|error| format!("{error:#}"))?;
        Ok((ports, Settings::load(sources, &catalog).unwrap()))
    }

    /// What is on offer, behind ports that nobody uses.
    pub fn ports(self) -> Ports {
        let (verifier, clock) = (Arc::new(ScriptedVerifier::new()), Arc::new(ManualClock::at(NOW)));
        Ports::new(verifier, clock, self.offer)
    }
}

/// A running server. Dropping it stops it at once; [`Harness::stop`] drains it.
pub struct Harness {
    pub address: SocketAddr,
    /// The admin listener's, where `admin.bind` is set.
    pub admin: Option<SocketAddr>,
    pub clock: Arc<ManualClock>,
    pub verifier: Arc<ScriptedVerifier>,
    pub announcer: Announcer,
    pub reload: ReloadHandle,
    pub ports: Ports,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<Drained>,
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Harness {
    pub async fn new() -> Self {
        Choices::new().start().await
    }

    async fn start(choices: Choices) -> Self {
        let clock = Arc::new(ManualClock::at(NOW));
        let verifier = Arc::new(ScriptedVerifier::new());
        for (token, scopes) in [(ADMIN, "tool:greet tool:whoami"), (USER, "tool:whoami"), (NOBODY, "openid")]
        {
            verifier.script(token, Ok(good_claims(scopes)));
        }
        let listener = match choices.listener {
            Some(listener) => listener,
            None => TcpListener::bind("127.0.0.1:0").await.unwrap().into(),
        };
        // A Unix socket has none.
        let address = listener.tcp_address().unwrap_or(([127, 0, 0, 1], 0).into());
        let settings = choices.offer.settings(choices.sources).unwrap();
        let of_test = (Some(Arc::clone(&verifier) as _), Arc::clone(&clock) as _);
        let mut ports = Ports::configured(&settings, of_test.0, of_test.1, choices.offer).unwrap();
        (choices.with_ports)(&mut ports);
        let announcer = ports.announcer.clone();
        let server = wiring::server(listener, &settings, ports.clone()).unwrap();
        let reload = server.reload_handle();
        let listener = admin::listen(&settings).await.unwrap();
        let listener = Admin::start(listener, server.status(), &ports).unwrap();
        let admin = listener.address();
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(async {
            let drained = server.run(async { drop(stopped.await) }).await;
            listener.stop().await;
            drained
        });
        Self { address, admin, clock, verifier, announcer, reload, ports, stop: Some(stop), server }
    }

    /// Scripts a token's claims, from good ones.
    pub fn token(&self, token: &str, change: impl FnOnce(&mut Claims)) {
        let mut claims = good_claims("tool:greet tool:whoami");
        change(&mut claims);
        self.verifier.script(token, Ok(claims));
    }

    pub fn refuse(&self, token: &str, error: impl Into<VerifyError>) {
        self.verifier.script(token, Err(error.into()));
    }

    /// Serves by other settings from now on.
    pub fn reload(&self, settings: &Settings) {
        let keys = self.reload.sealing_keys();
        let snapshot = wiring::snapshot(settings, self.ports.clone(), keys).unwrap();
        self.reload.replace(&wiring::http_settings(settings, self.address.port()), snapshot);
    }

    /// Tells the server to stop.
    pub fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Completes when the server has stopped.
    pub async fn stopped(&mut self) -> Drained {
        soon(&mut self.server).await.unwrap()
    }

    /// Completes once something sleeps that will wake `from_now`.
    pub async fn sleeping_until(&self, from_now: Duration) {
        soon(self.clock.sleeping_until(from_now)).await;
    }

    /// A modern message, with the headers that it needs; the answer is read to its end.
    pub async fn modern(&self, token: &str, method: &str, mut params: Value) -> Answer {
        let name = params.get("name").or(params.get("uri")).and_then(Value::as_str).map(str::to_owned);
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = MODERN.into();
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({"elicitation": {}});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let request = self.post(token).header("mcp-protocol-version", MODERN).header("mcp-method", method);
        let request = name.into_iter().fold(request, |request, name| request.header("mcp-name", name));
        self.send(request.body(Full::from(body.to_string())).unwrap()).await
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends one request on a connection of its own.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        send(self.connect().await, request).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path).body(Full::default()).unwrap()).await
    }

    /// A request with the `Host` that a client on this machine would send.
    pub fn request(&self, method: &str, path: &str) -> hyper::http::request::Builder {
        Request::builder().method(method).uri(path).header(HOST, self.address.to_string())
    }

    /// A POST to the endpoint.
    pub fn post(&self, token: &str) -> hyper::http::request::Builder {
        self.request("POST", "/mcp")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
    }

    /// Sends a legacy message.
    pub async fn legacy(&self, token: &str, message: &Value) -> Answer {
        let request = self.post(token).header("mcp-protocol-version", "2025-11-25");
        self.send(request.body(Full::from(message.to_string())).unwrap()).await
    }

    /// Sends raw bytes, and reads until the server closes.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        read_to_end(stream).await
    }
}

/// What should happen at once, and fails the test rather than hang it when it does not happen at all.
#[track_caller]
pub fn soon<F: Future>(what: F) -> impl Future<Output = F::Output> {
    let place = std::panic::Location::caller();
    async move {
        let outcome = tokio::time::timeout(Duration::from_secs(30), what).await;
        outcome.unwrap_or_else(|_| panic!("{place}: what was awaited did not happen"))
    }
}

pub async fn read_to_end(mut stream: impl AsyncRead + Unpin) -> String {
    let mut text = Vec::new();
    // A reset after the answer is an end, too.
    let _ = soon(stream.read_to_end(&mut text)).await;
    String::from_utf8(text).unwrap()
}

/// Both sides of a connection.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connection for C {}

pub async fn send(stream: impl Connection, request: Request<Full<Bytes>>) -> Answer {
    soon(exchange(stream, request)).await
}

async fn exchange(stream: impl Connection, request: Request<Full<Bytes>>) -> Answer {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    drop(sender);
    connection.abort();
    Answer { status: head.status, headers: head.headers, body }
}

pub fn good_claims(scopes: &str) -> Claims {
    claims(ISSUER, AUDIENCE, domain::UnixSeconds(NOW.0 / 1000 + 3600), scopes)
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// A header's value; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The JSON-RPC error's code.
    #[track_caller]
    pub fn code(&self) -> i64 {
        self.json()["error"]["code"].as_i64().unwrap()
    }
}
