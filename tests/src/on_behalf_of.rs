//! Tools that call another API on behalf of their caller: the local tenant exchanges the token, and the API checks what arrives.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use domain::{
    BearerToken, CallToolResult, DownstreamError, DownstreamToken, DynTool, ExchangeRequest, SpecError,
    TokenExchange, ToolCall, ToolResult, ToolSpec, async_trait,
};
use fakes::ScriptedVerifier;
use fastmcp_auth0::{Server, ServerBuilder, Sources, wiring};
use http_body_util::Full;
use hyper::Request;
use hyper_transport::Drained;
use local_tenant::{
    Client, ExchangeAnswer, ExchangeRefusal, Fault, LocalTenant, Options, TokenForm, TokenRequest,
};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use self::example::{ListOrders, OrdersConfig};
use crate::binary::Dev;
use crate::harness::{ADMIN, AUDIENCE, Answer, Choices, good_claims, send, soon};

/// The programs of docs/on-behalf-of.md.
#[path = "../../app/examples/on_behalf_of.rs"]
#[expect(dead_code, reason = "its main is for the command line")]
mod example;
#[path = "../../app/examples/orders_api.rs"]
#[expect(dead_code, reason = "its main is for the command line")]
mod orders_api;

/// This server's API.
pub(crate) const API: &str = "https://mcp.test/mcp";
pub(crate) const CLIENT: &str = "exchange";
pub(crate) const SECRET: &str = "the-clients-secret";
const SCOPES: &[&str] = &["tool:orders", "tool:probe", "tool:whoami"];

/// A tenant whose administrator may all at both APIs, and whose user may read no orders.
pub(crate) fn options() -> Options {
    let options = Options::default().with_api_identifier(API);
    let mut options = SCOPES.iter().fold(options, |options, scope| options.with_scope(scope, scope));
    for role in &mut options.roles {
        role.permissions.extend(SCOPES.iter().map(|&scope| scope.to_owned()));
        role.permissions.push("stock:read".to_owned());
    }
    options.roles[0].permissions.extend(["orders:read".to_owned()]);
    options
        .with_api(orders_api::AUDIENCE, "Orders", ["orders:read", "orders:write"])
        .with_api("https://stock.test/", "Stock", ["stock:read"])
        .with_on_behalf_of_client(CLIENT, SECRET)
}

/// Says what it gets: the arguments are an API and scopes.
struct Probe;

#[async_trait]
impl DynTool for Probe {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        ToolSpec::with_schema("probe", "Probe", "Asks for a token.", json!({"type": "object"}))?
            .requires(["tool:probe"])
    }

    async fn run(&self, call: ToolCall<'_>) -> ToolResult {
        let arguments = call.raw_arguments();
        let scopes: Vec<&str> =
            arguments["scopes"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        let token = call.context.downstream(arguments["api"].as_str().unwrap(), &scopes).await?;
        let scopes = token.scopes().to_string();
        CallToolResult::of([format!(
            "{} {scopes} {}",
            payload(token.expose())["sub"].as_str().unwrap(),
            token.expose()
        )])
    }
}

/// A token's claims, which nobody proves here.
pub(crate) fn payload(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// The server, the tenant and the API.
struct Rig {
    tenant: LocalTenant,
    address: std::net::SocketAddr,
    serving: JoinHandle<anyhow::Result<Drained>>,
    orders: JoinHandle<anyhow::Result<()>>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.serving.abort();
        self.orders.abort();
    }
}

impl Rig {
    async fn new() -> Self {
        Self::with(options(), |sources| sources).await
    }

    async fn with(options: Options, configure: impl FnOnce(Sources) -> Sources) -> Self {
        let tenant = LocalTenant::start(options).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/orders", listener.local_addr().unwrap());
        let orders = tokio::spawn(orders_api::OrdersApi::new(tenant.issuer()).unwrap().serve(listener));
        let builder = Server::builder().tool(ListOrders(OrdersConfig { url })).tool(Probe);
        let sources = configure(configured(&builder, &tenant));
        let server = soon(builder.build(sources)).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(server.serve(listener, std::future::pending()));
        Self { tenant, address, serving, orders }
    }

    fn token(&self, user: &str) -> String {
        let request = TokenRequest { user: user.into(), scope: None, audience: None };
        self.tenant.issue_token(&request).unwrap().access_token
    }

    async fn call(&self, token: &str, tool: &str, arguments: Value) -> Answer {
        let params = json!({"name": tool, "arguments": arguments});
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let request = Request::post("/mcp")
            .header("host", self.address.to_string())
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("mcp-protocol-version", "2025-11-25")
            .body(Full::new(Bytes::from(message.to_string())))
            .unwrap();
        send(TcpStream::connect(self.address).await.unwrap(), request).await
    }

    /// Returns the text of a probe, and whether it is an error.
    async fn probe(&self, token: &str, api: &str, scopes: &[&str]) -> (String, bool) {
        said(&self.call(token, "probe", json!({"api": api, "scopes": scopes})).await)
    }
}

fn said(answer: &Answer) -> (String, bool) {
    let result = answer.json()["result"].clone();
    (result["content"][0]["text"].as_str().unwrap().to_owned(), result["isError"] == true)
}

fn configured(builder: &ServerBuilder, tenant: &LocalTenant) -> Sources {
    builder
        .sources()
        .set("test", "auth0.issuer", tenant.issuer())
        .set("test", "auth0.audience", API)
        .set("test", "downstream.client_id", CLIENT)
        .set("test", "downstream.client_secret", SECRET)
        .set("test", "downstream.apis.orders.audience", orders_api::AUDIENCE)
        .set("test", "downstream.apis.orders.scopes", vec!["orders:read", "orders:write"])
        .set("test", "downstream.apis.stock.audience", "https://stock.test/")
        .set("test", "downstream.apis.stock.scopes", vec!["stock:read"])
}

#[tokio::test]
async fn the_tool_of_the_page_reads_orders_on_the_callers_behalf_with_one_exchange() {
    let rig = Rig::new().await;
    let admin = rig.token("admin");
    for _ in 0..2 {
        let answer = rig.call(&admin, "list_orders", json!({})).await.json();
        assert_eq!(
            answer["result"]["structuredContent"],
            json!({
                "orders": [{"id": 7, "item": "a kettle", "of": "auth0|local-admin"}],
                "client": CLIENT,
                "actors": [CLIENT, "local-tenant-cli"],
            }),
            "{answer}"
        );
    }
    assert_eq!(rig.tenant.token_exchanges(), 1);
}

#[tokio::test]
async fn each_caller_has_a_token_of_their_own_for_each_api_and_scopes() {
    let rig = Rig::new().await;
    let (admin, user) = (rig.token("admin"), rig.token("user"));
    let ask = async |token: &str, api: &str, scopes: &[&str]| {
        let (text, is_error) = rig.probe(token, api, scopes).await;
        assert!(!is_error, "{text}");
        text
    };
    let of_admin = ask(&admin, "stock", &["stock:read"]).await;
    assert!(of_admin.starts_with("auth0|local-admin stock:read "), "{of_admin}");
    let of_user = ask(&user, "stock", &["stock:read"]).await;
    assert!(of_user.starts_with("auth0|local-user stock:read "), "{of_user}");
    assert_eq!(ask(&admin, "https://stock.test/", &[]).await, of_admin, "by its audience, with all scopes");
    assert!(ask(&admin, "orders", &["orders:read"]).await.starts_with("auth0|local-admin orders:read "));
    assert_eq!(rig.tenant.token_exchanges(), 3);
    // Another login is another caller.
    assert_ne!(ask(&rig.token("admin"), "stock", &["stock:read"]).await, of_admin);
    assert_eq!(rig.tenant.token_exchanges(), 4);
    for token in [&admin, &user] {
        assert!(!of_admin.contains(token.as_str()) && !of_user.contains(token.as_str()), "the caller's own");
    }
}

#[tokio::test]
async fn what_the_user_may_not_is_said_so() {
    let rig = Rig::new().await;
    let denied = "the user may not use orders: ask its administrator for access";
    assert_eq!(rig.probe(&rig.token("user"), "orders", &["orders:read"]).await, (denied.into(), true));
    let missing = "the user lacks permissions at orders: ask its administrator for orders:write";
    assert_eq!(rig.probe(&rig.token("admin"), "orders", &[]).await, (missing.into(), true));
}

/// The administrator may write orders, but no tool may: it is not configured.
#[tokio::test]
async fn a_tool_gets_nothing_that_is_not_configured_and_the_tenant_is_not_asked() {
    let mut options = options();
    options.roles[0].permissions.push("orders:write".into());
    let configure =
        |sources: Sources| sources.set("test", "downstream.apis.orders.scopes", vec!["orders:read"]);
    let rig = Rig::with(options, configure).await;
    let admin = rig.token("admin");
    let unset =
        "this server is not set up for what the tool asks for: its operator finds the reason in the log";
    for (api, scopes) in [
        ("orders", &["orders:write"][..]),
        ("orders", &["orders:read", "orders:write"]),
        ("orders", &["a b"]),
        ("other", &["orders:read"]),
        (API, &["tool:whoami"]),
    ] {
        assert_eq!(rig.probe(&admin, api, scopes).await, (unset.into(), true), "{api} {scopes:?}");
    }
    assert_eq!(rig.tenant.token_exchanges(), 0);
    let (text, is_error) = rig.probe(&admin, "orders", &[]).await;
    assert!(!is_error && text.contains(" orders:read "), "{text}");
}

#[tokio::test]
async fn without_apis_nothing_is_exchanged() {
    let tenant = LocalTenant::start(options()).await.unwrap();
    let builder = Server::builder().tool(Probe);
    let sources = builder.sources().set("test", "auth0.issuer", tenant.issuer());
    let server = builder.build(sources.set("test", "auth0.audience", API)).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(server.serve(listener, std::future::pending()));
    let rig = Rig { tenant, address, serving, orders: tokio::spawn(async { Ok(()) }) };
    let (text, is_error) = rig.probe(&rig.token("admin"), "orders", &[]).await;
    assert!(is_error && text.starts_with("this server is not set up"), "{text}");
    assert_eq!(rig.tenant.token_exchanges(), 0);
}

#[tokio::test]
async fn the_user_learns_what_to_do_and_of_a_limit_when() {
    let rig = Rig::new().await;
    let refuse = |error| ExchangeAnswer::Refuse { error };
    for (answer, expected) in [
        (
            refuse(ExchangeRefusal::ConsentRequired),
            "the user has not consented to the use of orders yet: log in",
        ),
        (refuse(ExchangeRefusal::MfaRequired), "orders asks for multi-factor authentication: log in"),
        (refuse(ExchangeRefusal::LoginRequired), "the login has ended, so that orders can't be used: log in"),
        (refuse(ExchangeRefusal::AccessDenied), "the user may not use orders: ask its administrator"),
        (ExchangeAnswer::Status { status: 503 }, "orders can't be used at the moment: try again later"),
        (
            ExchangeAnswer::Limit { retry_after_seconds: 60 },
            "too many requests at the moment: try again in 60 s",
        ),
    ] {
        rig.tenant.inject(&Fault::TokenExchange(answer));
        // A refusal stands for its token.
        let (text, is_error) = rig.probe(&rig.token("admin"), "orders", &["orders:read"]).await;
        assert!(is_error && text.starts_with(expected), "{text}");
    }
    // The limit is the tenant's, for all callers.
    rig.tenant.inject(&Fault::Reset);
    let asked = rig.tenant.token_exchanges();
    let (text, _) = rig.probe(&rig.token("user"), "stock", &[]).await;
    assert!(text.starts_with("too many requests at the moment: try again in "), "{text}");
    assert_eq!(rig.tenant.token_exchanges(), asked);
}

#[tokio::test]
async fn fifty_calls_at_once_are_one_exchange() {
    let rig = Rig::new().await;
    let admin = rig.token("admin");
    rig.tenant.inject(&Fault::TokenExchange(ExchangeAnswer::Hang));
    let calls =
        futures_util::future::join_all((0..50).map(|_| rig.probe(&admin, "orders", &["orders:read"])));
    let release = async {
        soon(rig.tenant.token_exchanges_reach(1)).await;
        rig.tenant.inject(&Fault::Reset);
    };
    let (calls, ()) = tokio::join!(calls, release);
    for (text, is_error) in &calls {
        assert!(!is_error, "{text}");
        assert_eq!(text, &calls[0].0);
    }
    assert_eq!(rig.tenant.token_exchanges(), 1);
}

#[tokio::test]
async fn a_client_with_a_private_key_proves_itself_by_assertions() {
    let folder = tempfile::tempdir().unwrap();
    let (private, public) = crate::token_exchange::key_pair();
    let file = folder.path().join("key.pem");
    std::fs::write(&file, private).unwrap();
    let mut options = options();
    let client = options.clients.pop().unwrap();
    let public_key = local_tenant::PublicKey::from_pem(&public);
    options.clients.push(Client { secret: None, public_key, ..client });
    for algorithm in ["RS256", "RS384", "PS256"] {
        let configure = |sources: Sources| {
            sources
                .set("test", "downstream.client_secret", "")
                .set("test", "downstream.private_key_file", file.to_str().unwrap())
                .set("test", "downstream.signing_algorithm", algorithm)
        };
        let rig = Rig::with(options.clone(), configure).await;
        let (text, is_error) = rig.probe(&rig.token("admin"), "orders", &["orders:read"]).await;
        assert!(!is_error, "{algorithm}: {text}");
    }
}

#[tokio::test]
async fn a_wrong_secret_is_the_operators_business() {
    let configure = |sources: Sources| sources.set("test", "downstream.client_secret", "another");
    let rig = Rig::with(options(), configure).await;
    let (text, is_error) = rig.probe(&rig.token("admin"), "orders", &["orders:read"]).await;
    assert!(is_error && text.starts_with("this server is not set up"), "{text}");
}

/// Another server of ours behind this one: it takes tokens of the same tenant, for an API of its own.
#[tokio::test]
async fn an_upstream_gets_a_token_of_the_callers_for_its_own_api() {
    const UP: &str = "https://up.test/mcp";
    let options = options().with_api(UP, "Up", ["tool:whoami"]);
    let tenant = LocalTenant::start(options).await.unwrap();
    let builder = Server::builder().tool(domain::tools::Whoami);
    let sources = builder.sources().set("test", "auth0.issuer", tenant.issuer());
    let upstream = builder.build(sources.set("test", "auth0.audience", UP)).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream_address = listener.local_addr().unwrap();
    let upstream = tokio::spawn(upstream.serve(listener, std::future::pending()));

    let of_server = TokenRequest { user: "admin".into(), scope: None, audience: Some(UP.into()) };
    let of_server = tenant.issue_token(&of_server).unwrap().access_token;
    let builder = Server::builder();
    let sources = configured(&builder, &tenant)
        .set("test", "downstream.apis.up.audience", UP)
        .set("test", "downstream.apis.up.scopes", vec!["tool:whoami"])
        .set("test", "upstreams.up.url", format!("http://{upstream_address}/mcp"))
        .set("test", "upstreams.up.headers.Authorization", format!("Bearer {of_server}"))
        .set("test", "upstreams.up.scopes.read", vec!["tool:whoami"])
        .set("test", "upstreams.up.downstream", "up");
    let server = soon(builder.build(sources)).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(server.serve(listener, std::future::pending()));
    let rig = Rig { tenant, address, serving, orders: tokio::spawn(async { Ok(()) }) };

    let user = rig.token("user");
    for _ in 0..2 {
        let answer = rig.call(&user, "whoami", json!({})).await.json();
        let who = &answer["result"]["structuredContent"]["user"];
        let expected = (&json!("auth0|local-user"), &json!(CLIENT), &json!(CLIENT));
        assert_eq!((&who["sub"], &who["client_id"], &who["act"]["sub"]), expected, "{answer}");
    }
    assert_eq!(rig.tenant.token_exchanges(), 1);

    // A token that the upstream refuses is exchanged anew once, and what is refused then is an error.
    let admin = rig.token("admin");
    rig.tenant.inject(&Fault::Tokens { form: TokenForm::Expired });
    let (text, is_error) = said(&rig.call(&admin, "whoami", json!({})).await);
    assert_eq!((text.as_str(), is_error), ("the server up refuses access", true));
    assert_eq!(rig.tenant.token_exchanges(), 3);
    rig.tenant.inject(&Fault::Reset);
    // Not for each call: an upstream that refuses everything would use the tenant's limit up.
    let (text, is_error) = said(&rig.call(&admin, "whoami", json!({})).await);
    assert_eq!((text.as_str(), is_error), ("the server up refuses access", true));
    assert_eq!(rig.tenant.token_exchanges(), 3);
    let answer = rig.call(&rig.token("admin"), "whoami", json!({})).await.json();
    assert_eq!(answer["result"]["structuredContent"]["user"]["sub"], "auth0|local-admin", "{answer}");
    assert_eq!(rig.tenant.token_exchanges(), 4);
    upstream.abort();
}

/// What is switched off keeps nothing, and what is on keeps it where nobody but the exchange reads it.
#[tokio::test]
async fn a_callers_token_is_kept_only_where_tokens_are_exchanged() {
    let kept = async |choices: Choices| {
        let (mut ports, settings) = choices.ports_and_settings().unwrap();
        let verifier = ScriptedVerifier::new();
        verifier.script(ADMIN, Ok(good_claims("tool:probe")));
        ports.verifier = Arc::new(verifier);
        ports.exchange = Some(Arc::new(Nobody));
        let service = wiring::service(&settings, ports).unwrap();
        let token = BearerToken::new(ADMIN).unwrap();
        let principal = service.authenticate(Some(&token), &AUDIENCE.into(), None).await.unwrap();
        let shown = format!("{principal:?}");
        assert!(!shown.contains(ADMIN), "{shown}");
        shown.contains("token: Some(BearerToken(redacted))")
    };
    assert!(!kept(Choices::new()).await);
    let on = Choices::new()
        .set("downstream.client_id", CLIENT)
        .set("downstream.client_secret", SECRET)
        .set("downstream.apis.orders.audience", orders_api::AUDIENCE)
        .set("downstream.apis.orders.scopes", vec!["orders:read"]);
    assert!(kept(on).await);
}

/// Is never asked.
struct Nobody;

#[async_trait]
impl TokenExchange for Nobody {
    async fn exchange(&self, _: ExchangeRequest<'_>) -> Result<DownstreamToken, DownstreamError> {
        panic!("nobody asks for a token")
    }
}

/// The binary at level trace, with an upstream that refuses what it is sent for a caller. Starting it blocks a thread.
#[tokio::test(flavor = "multi_thread")]
async fn no_token_and_no_secret_is_in_the_log() {
    let upstream = Choices::new().start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = format!(
        "[downstream.apis.up]\naudience = \"https://up.test/\"\nscopes = [\"up:read\"]\n\
         [upstreams.up]\nurl = \"http://{}/mcp\"\ndownstream = \"up\"\nheaders = {{ Authorization = \"Bearer {ADMIN}\" }}\n\
         [upstreams.up.scopes]\nread = [\"tool:up\"]\n",
        upstream.address
    );
    std::fs::write(file.path(), config).unwrap();
    let dev = Dev::start_with(&["--config", file.path().to_str().unwrap()]);
    let token = dev.token("admin");
    let params = json!({"name": "whoami", "arguments": {}});
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let address = dev.address();
    let request = Request::post("/mcp")
        .header("host", dev.endpoint().trim_start_matches("http://").trim_end_matches("/mcp"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .header("mcp-protocol-version", "2025-11-25")
        .body(Full::new(Bytes::from(message.to_string())))
        .unwrap();
    let answer = send(TcpStream::connect(&address).await.unwrap(), request).await;
    assert_eq!(said(&answer), ("the server up refuses access".to_owned(), true));
    let log = dev.stop();
    let exchanges =
        log.lines().filter(|line| line.contains("token issued") && line.contains("token-exchange"));
    assert_eq!(exchanges.count(), 2, "{log}");
    assert!(log.contains("it answered 401"), "{log}");
    // Every JWT begins with it.
    for secret in ["eyJ", "not-a-secret", ADMIN, token.as_str()] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}
