//! From 401 to a tool's result, as the official Rust SDK does it by itself: discovery, registration, login, consent, token,
//! call; then a step up. And what the server says when its tenant misbehaves.

use std::io::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use local_tenant::{Api, Fault, KeysAnswer, LocalTenant, Options, TokenForm, TokenRequest};
use rmcp::model::{CallToolRequestParams, ProtocolVersion};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::auth::{AuthorizationManager, AuthorizationRequest, OAuthState};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientLifecycleMode, ClientServiceExt, RoleClient, service::RunningService};
use serde_json::json;
use url::Url;

use crate::binary::Dev;
use crate::harness::soon;
use crate::local_tenant::{get, send};
use crate::oauth::{encoded, transaction};

const OTHER_API: &str = "https://other.example/";
const CALLBACK: &str = "http://127.0.0.1:49152/callback";

/// What a person does: opens the URL, picks a user, allows. Returns where the browser ends up.
async fn browse(url: &str, user: &str) -> String {
    let url = Url::parse(url).unwrap();
    let port = url.port().unwrap();
    let page = get(port, &url[url::Position::BeforePath..]).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let form = encoded(&[("transaction", &transaction(&page)), ("user", user), ("decision", "allow")]);
    let headers =
        format!("content-type: application/x-www-form-urlencoded\r\norigin: http://localhost:{port}\r\n");
    let answer = send(port, "POST", "/u/consent", &headers, &form).await;
    assert_eq!(answer.status, 302, "{}", answer.text);
    answer.header("location").to_owned()
}

async fn log_in(endpoint: &str, request: AuthorizationRequest, user: &str) -> AuthorizationManager {
    let mut state = OAuthState::new(endpoint, None).await.unwrap();
    state.start_authorization(request).await.unwrap();
    let callback = browse(&state.get_authorization_url().await.unwrap(), user).await;
    assert!(callback.starts_with(CALLBACK), "{callback}");
    state.handle_callback_url(&callback).await.unwrap();
    state.into_authorization_manager().unwrap()
}

async fn connect(
    endpoint: &str,
    manager: &AuthorizationManager,
    lifecycle: ClientLifecycleMode,
) -> RunningService<RoleClient, ()> {
    let token = manager.get_access_token().await.unwrap();
    let config = StreamableHttpClientTransportConfig::with_uri(endpoint).auth_header(token);
    let transport = StreamableHttpClientTransport::with_client(reqwest::Client::new(), config);
    ().serve_with_lifecycle(transport, lifecycle).await.unwrap()
}

fn both_eras() -> [ClientLifecycleMode; 2] {
    let modern = ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] };
    [ClientLifecycleMode::Initialize, modern]
}

fn greet() -> CallToolRequestParams {
    CallToolRequestParams::new("greet").with_arguments(json!({"name": "Ada"}).as_object().unwrap().clone())
}

async fn greets(endpoint: &str, manager: &AuthorizationManager) {
    for lifecycle in both_eras() {
        let client = connect(endpoint, manager, lifecycle).await;
        assert_eq!(client.list_all_tools().await.unwrap().len(), 3);
        let greeted = client.call_tool(greet()).await.unwrap().structured_content.unwrap();
        assert_eq!(greeted["greeting"], "Hello, Ada (auth0|local-admin)!");
        client.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn the_rust_sdk_registers_logs_in_and_calls() {
    let dev = Dev::start();
    let request = AuthorizationRequest::new(CALLBACK).with_client_name("the Rust SDK");
    let manager = log_in(dev.endpoint(), request, "admin").await;
    let (client_id, credentials) = manager.get_credentials().await.unwrap();
    assert!(client_id.starts_with("tpc_"), "{client_id}");
    assert!(credentials.is_some());
    greets(dev.endpoint(), &manager).await;
    let before = manager.get_access_token().await.unwrap();
    manager.refresh_token().await.unwrap();
    assert_ne!(manager.get_access_token().await.unwrap(), before, "offline_access brought a refresh token");
    greets(dev.endpoint(), &manager).await;
}

#[tokio::test]
async fn the_rust_sdk_logs_in_as_clients_that_are_known_beforehand() {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    file.write_all(
        br#"
        [[tenant.clients]]
        id = "native"
        name = "A native application"
        redirect_uris = ["http://127.0.0.1/callback"]
        [[tenant.clients]]
        id = "web"
        name = "A web application"
        secret = "not-a-secret"
        redirect_uris = ["http://127.0.0.1/callback"]
        "#,
    )
    .unwrap();
    let dev = Dev::start_with(&["--config", file.path().to_str().unwrap()]);
    let native = AuthorizationRequest::new(CALLBACK).with_preregistered_client("native");
    greets(dev.endpoint(), &log_in(dev.endpoint(), native, "admin").await).await;
    let web = AuthorizationRequest::new(CALLBACK)
        .with_preregistered_client("web")
        .with_client_secret("not-a-secret");
    greets(dev.endpoint(), &log_in(dev.endpoint(), web, "admin").await).await;
}

#[tokio::test]
async fn a_client_steps_up_when_a_tool_needs_more() {
    let dev = Dev::start();
    let request = AuthorizationRequest::new(CALLBACK).with_scopes(["tool:whoami"]);
    let manager = log_in(dev.endpoint(), request, "admin").await;
    for lifecycle in both_eras() {
        let client = connect(dev.endpoint(), &manager, lifecycle).await;
        assert_eq!(client.list_all_tools().await.unwrap().len(), 2);
        let denied = format!("{:?}", client.call_tool(greet()).await.unwrap_err());
        assert!(
            denied.contains("insufficient_scope") && denied.contains("scope=\\\"tool:greet\\\""),
            "{denied}"
        );
        client.cancel().await.unwrap();
    }
    let url = manager.request_scope_upgrade("tool:greet").await.unwrap();
    let asked = Url::parse(&url).unwrap();
    let (_, scope) = asked.query_pairs().find(|(name, _)| name == "scope").unwrap();
    assert!(scope.contains("tool:greet") && scope.contains("tool:whoami"), "the union: {scope}");
    let callback = Url::parse(&browse(&url, "admin").await).unwrap();
    let parameter =
        |wanted: &str| callback.query_pairs().find(|(name, _)| name == wanted).unwrap().1.into_owned();
    let issuer = parameter("iss");
    manager
        .exchange_code_for_token_with_issuer(&parameter("code"), &parameter("state"), Some(&issuer))
        .await
        .unwrap();
    greets(dev.endpoint(), &manager).await;
}

// The server beside a tenant that misbehaves.

/// The real wiring with the real verifier.
struct Deployment {
    tenant: LocalTenant,
    port: u16,
    server: tokio::task::JoinHandle<hyper_transport::Drained>,
}

impl Drop for Deployment {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Deployment {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let endpoint = format!("http://localhost:{port}/mcp");
        let mut options = Options::default().with_api_identifier(&endpoint);
        options.other_apis = vec![Api { identifier: Some(OTHER_API.into()), ..Api::default() }];
        let tenant = LocalTenant::start(options).await.unwrap();
        let sources = fastmcp_auth0::Sources::defaults().set("test", "auth0.issuer", tenant.issuer()).set(
            "test",
            "auth0.audience",
            endpoint.as_str(),
        );
        let catalog = fastmcp_auth0::wiring::shipped_catalog().unwrap();
        let settings = fastmcp_auth0::Settings::load(sources, &catalog).unwrap();
        let clock: Arc<dyn domain::Clock> = Arc::new(system_clock::SystemClock::start());
        let verifier = Arc::new(auth0_verifier::Auth0Verifier::start(&settings.keys, Arc::clone(&clock)));
        let mut status = verifier.status();
        let ports = fastmcp_auth0::Ports::new(verifier, clock, domain::tools::shipped());
        let server = fastmcp_auth0::wiring::server(listener, &settings, ports).unwrap();
        let server = tokio::spawn(server.run(std::future::pending()));
        soon(status.wait_for(|status| status.succeeded > 0)).await.unwrap();
        Self { tenant, port, server }
    }

    /// Status and reason of a call with a token of now.
    async fn call(&self) -> (u16, String) {
        let token = TokenRequest { user: "admin".into(), scope: None, audience: None };
        let token = self.tenant.issue_token(&token).unwrap().access_token;
        self.call_with(&token).await
    }

    async fn call_with(&self, token: &str) -> (u16, String) {
        let headers = format!("authorization: Bearer {token}\r\ncontent-type: application/json\r\n");
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
        let answer = send(self.port, "POST", "/mcp", &headers, &body).await;
        let description = answer.json()["error_description"].as_str().unwrap_or_default().to_owned();
        (answer.status, description.split(':').next().unwrap().to_owned())
    }
}

#[tokio::test]
async fn the_server_names_what_is_wrong_with_the_tenants_tokens() {
    let deployment = Deployment::start().await;
    assert_eq!(deployment.call().await.0, 200);
    for (fault, reason) in [
        (Fault::Tokens { form: TokenForm::Opaque }, "opaque_token"),
        (Fault::Tokens { form: TokenForm::Encrypted }, "opaque_token"),
        (Fault::Tokens { form: TokenForm::Expired }, "expired"),
        (Fault::Clock { ahead_seconds: 3600 }, "not_yet_valid"),
        (Fault::Clock { ahead_seconds: -100_000 }, "expired"),
    ] {
        deployment.tenant.inject(&fault);
        assert_eq!(deployment.call().await, (401, reason.into()), "{fault:?}");
        deployment.tenant.inject(&Fault::Reset);
        assert_eq!(deployment.call().await.0, 200, "{fault:?}");
    }
    let elsewhere = TokenRequest { user: "admin".into(), scope: None, audience: Some(OTHER_API.into()) };
    let token = deployment.tenant.issue_token(&elsewhere).unwrap().access_token;
    assert_eq!(deployment.call_with(&token).await, (401, "wrong_audience".into()));
    // A client that met the tenant under its other name.
    deployment.tenant.inject(&Fault::SecondIssuer { on: true });
    let headers = "content-type: application/json\r\n";
    let issued =
        send(deployment.tenant.port(), "POST", "/local-tenant/token", headers, r#"{"user": "admin"}"#).await;
    let token = issued.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(deployment.call_with(&token).await, (401, "wrong_issuer".into()));
}

fn unknown_key(n: usize) -> String {
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"RS256","kid":"unknown-{n}","typ":"at+jwt"}}"#));
    format!("{header}.e30.AAAA")
}

#[tokio::test]
async fn keys_that_are_known_outlive_the_tenants_troubles() {
    let deployment = Deployment::start().await;
    for (n, answer) in [
        KeysAnswer::Status { status: 500 },
        KeysAnswer::Hang,
        KeysAnswer::Garbage,
        KeysAnswer::Empty,
        KeysAnswer::Huge,
    ]
    .into_iter()
    .enumerate()
    {
        deployment.tenant.inject(&Fault::Keys(answer));
        // A token of a key that nobody knows makes the server ask for keys, and meet the trouble.
        let unknown = deployment.call_with(&unknown_key(n)).await;
        assert!(unknown.0 == 503 || unknown.0 == 401, "{unknown:?}");
        assert_eq!(deployment.call().await.0, 200, "{answer:?}");
    }
    deployment.tenant.inject(&Fault::Reset);
    deployment.tenant.inject(&Fault::RotateKeys);
    assert_eq!(deployment.call().await.0, 200, "the next key was published before");
}
