//! From 401 to a tool's result, as the official Rust SDK does it by itself: discovery, registration, login, consent, token,
//! call; then a step up. And what the server says when its tenant misbehaves.

use std::io::Write as _;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use local_tenant::{Api, Fault, KeysAnswer, LocalTenant, Options, TokenForm, TokenRequest};
use rmcp::model::{CallToolRequestParams, ProtocolVersion};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::auth::{AuthorizationManager, AuthorizationRequest, OAuthState};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientLifecycleMode, ClientServiceExt, RoleClient, service::RunningService};
use serde_json::{Value, json};
use url::Url;

use crate::binary::Dev;
use crate::harness::soon;
use crate::local_tenant::{Answer, get, send};
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
    for (lifecycle, scope) in both_eras().into_iter().zip(["tool:whoami tool:greet", "tool:greet"]) {
        let client = connect(dev.endpoint(), &manager, lifecycle).await;
        assert_eq!(client.list_all_tools().await.unwrap().len(), 2);
        let denied = format!("{:?}", client.call_tool(greet()).await.unwrap_err());
        assert!(
            denied.contains("insufficient_scope") && denied.contains(&format!("scope=\\\"{scope}\\\"")),
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

// What the configuration of `dev` says of its tenant.

/// A login that asks for everything: status and issuer of the redirect, the client's id, the scope, whether it can refresh.
async fn login_for_everything(dev: &Dev) -> (u16, Option<String>, String, String, bool) {
    let mut login = Login::register(dev).await;
    let page = login.authorize("tool:whoami openid offline_access", CALLBACK).await;
    let decision = [("transaction", &*transaction(&page)), ("user", "user"), ("decision", "allow")];
    let answer = login.post("/u/consent", &decision).await;
    let location = Url::parse(answer.header("location")).unwrap();
    let parameter = |wanted: &str| {
        location.query_pairs().find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
    };
    let code = parameter("code").unwrap();
    let redeem = [("grant_type", "authorization_code"), ("code", &*code), ("code_verifier", VERIFIER)];
    let tokens = login.token(&redeem).await.json();
    let scope = tokens["scope"].as_str().unwrap().to_owned();
    (answer.status, parameter("iss"), login.client_id, scope, tokens["refresh_token"].is_string())
}

#[tokio::test]
async fn a_configuration_file_turns_the_settings_of_devs_tenant() {
    let dev = Dev::start();
    let (status, issuer, client_id, scope, can_refresh) = login_for_everything(&dev).await;
    let expected = format!("http://127.0.0.1:{}/", dev.tenant_port());
    assert_eq!(
        (status, issuer, &*scope, can_refresh),
        (302, Some(expected), "tool:whoami offline_access", true)
    );
    assert!(client_id.starts_with("tpc_"), "{client_id}");

    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    file.write_all(
        br#"
        [tenant]
        authorization_response_iss_parameter_supported = false
        redirect_status = 303
        third_party_security_mode = "permissive"
        [tenant.api]
        allow_offline_access = false
        "#,
    )
    .unwrap();
    let dev = Dev::start_with(&["--config", file.path().to_str().unwrap()]);
    let (status, issuer, client_id, scope, can_refresh) = login_for_everything(&dev).await;
    assert_eq!((status, issuer, &*scope, can_refresh), (303, None, "tool:whoami openid", false));
    assert!(!client_id.starts_with("tpc_"), "{client_id}");
}

// What the log of `dev` tells.

/// A client of the tenant of `dev` that keeps all that no log may have.
struct Login {
    port: u16,
    endpoint: String,
    client_id: String,
    confidential: Vec<String>,
}

impl Login {
    async fn register(dev: &Dev) -> Self {
        let port = dev.tenant_port().parse().unwrap();
        let metadata = json!({"client_name": "A client", "redirect_uris": [CALLBACK]}).to_string();
        let headers = "content-type: application/json\r\n";
        let client = send(port, "POST", "/oidc/register", headers, &metadata).await.json();
        let text = |name: &str| client[name].as_str().unwrap().to_owned();
        let confidential = vec![text("client_secret"), VERIFIER.into(), STATE.into()];
        Self { port, endpoint: dev.endpoint().into(), client_id: text("client_id"), confidential }
    }

    async fn authorize(&mut self, scope: &str, redirect_uri: &str) -> Answer {
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()));
        self.confidential.push(challenge.clone());
        let query = encoded(&[
            ("response_type", "code"),
            ("client_id", &self.client_id),
            ("redirect_uri", redirect_uri),
            ("scope", scope),
            ("state", STATE),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("resource", &self.endpoint),
        ]);
        get(self.port, &format!("/authorize?{query}")).await
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let headers = "content-type: application/x-www-form-urlencoded\r\n";
        send(self.port, "POST", path, headers, &encoded(form)).await
    }

    /// The code that a decision brings, if it brings one.
    async fn decide(&mut self, scope: &str, decision: &str) -> String {
        let transaction = transaction(&self.authorize(scope, CALLBACK).await);
        let form = [("transaction", transaction.as_str()), ("user", "user"), ("decision", decision)];
        let answer = self.post("/u/consent", &form).await;
        self.confidential.push(transaction);
        let location = Url::parse(answer.header("location")).unwrap();
        let code = location.query_pairs().find(|(name, _)| name == "code");
        let code = code.map(|(_, code)| code.into_owned()).unwrap_or_default();
        self.confidential.extend(Some(code.clone()).filter(|code| !code.is_empty()));
        code
    }

    async fn token(&mut self, form: &[(&str, &str)]) -> Answer {
        let (id, secret) = (self.client_id.clone(), self.confidential[0].clone());
        let common =
            [("client_id", id.as_str()), ("client_secret", secret.as_str()), ("redirect_uri", CALLBACK)];
        let answer = self.post("/oauth/token", &[&common[..], form].concat()).await;
        let body = answer.json();
        for name in ["access_token", "refresh_token"] {
            let parts = body[name].as_str().into_iter().flat_map(|token| token.split('.'));
            self.confidential.extend(parts.map(str::to_owned));
        }
        answer
    }
}

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const WRONG_VERIFIER: &str = "wrong-verifier-wrong-verifier-wrong-verifier";
const STATE: &str = "state-of-the-client";

#[tokio::test]
async fn the_log_tells_each_step_of_a_login_and_nothing_that_is_confidential() {
    let dev = Dev::start();
    let mut login = Login::register(&dev).await;
    let asked = "tool:whoami tool:greet openid tool:fly offline_access";
    let code = login.decide(asked, "allow").await;
    let good = [("grant_type", "authorization_code"), ("code", &code), ("code_verifier", VERIFIER)];
    let tokens = login.token(&good).await.json();
    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
    assert_eq!(login.token(&refresh).await.status, 200);
    assert_eq!(login.token(&refresh).await.status, 400, "used before");
    let code = login.decide("tool:whoami", "allow").await;
    let wrong = [("grant_type", "authorization_code"), ("code", &code), ("code_verifier", WRONG_VERIFIER)];
    assert_eq!(login.token(&wrong).await.status, 400);
    login.decide("tool:whoami", "deny").await;
    login.authorize("tool:whoami", "https://evil.test/cb?secret=x").await;
    let secret = format!("{}x", login.confidential[0]);
    let wrong =
        [("grant_type", "refresh_token"), ("client_id", &login.client_id), ("client_secret", &secret)];
    assert_eq!(login.post("/oauth/token", &wrong).await.status, 401);

    let (client, endpoint) = (login.client_id.clone(), login.endpoint.clone());
    let log = dev.stop();
    let others = [WRONG_VERIFIER, "secret=x"].map(str::to_owned);
    for confidential in login.confidential.iter().chain(&others) {
        assert!(!log.contains(confidential), "{confidential}");
    }
    let steps: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps: Vec<String> = steps.iter().filter_map(|line| step(line, &client, &endpoint)).collect();
    assert_eq!(
        steps,
        [
            "client registered: CLIENT is_confidential=true redirect=http://127.0.0.1:49152",
            "login begun: CLIENT from_browser=false redirect=http://127.0.0.1:49152 resource=API \
             scope=tool:whoami tool:greet openid tool:fly offline_access",
            "login page shown: CLIENT",
            "decision: CLIENT decision=allow user=user",
            "code issued: CLIENT not_granted=tool:greet (no role of the user assigns it), \
             openid (third parties do not get it in strict mode), tool:fly (the API does not define it) \
             scope=tool:whoami offline_access",
            "token requested: CLIENT grant_type=authorization_code",
            "code redeemed: CLIENT",
            "token issued: CLIENT audience=API grant=authorization_code has_id_token=false \
             has_refresh_token=true scope=tool:whoami offline_access user=user",
            "token requested: CLIENT grant_type=refresh_token",
            "token issued: CLIENT audience=API grant=refresh_token has_id_token=false has_refresh_token=true \
             scope=tool:whoami offline_access user=user",
            "token requested: CLIENT grant_type=refresh_token",
            "refused: error=invalid_grant path=/oauth/token reason=the refresh token was used before; it and its \
             successors are revoked",
            "login begun: CLIENT from_browser=false redirect=http://127.0.0.1:49152 resource=API scope=tool:whoami",
            "login page shown: CLIENT",
            "decision: CLIENT decision=allow user=user",
            "code issued: CLIENT scope=tool:whoami",
            "token requested: CLIENT grant_type=authorization_code",
            "refused: error=invalid_grant path=/oauth/token reason=the code_verifier does not fit the code_challenge",
            "login begun: CLIENT from_browser=false redirect=http://127.0.0.1:49152 resource=API scope=tool:whoami",
            "login page shown: CLIENT",
            "decision: CLIENT decision=deny user=user",
            "refused: error=access_denied path=/u/consent reason=the user did not allow it",
            "login begun: CLIENT from_browser=false redirect=https://evil.test resource=API scope=tool:whoami",
            "refused: error=invalid_request path=/authorize reason=https://evil.test/cb?... is not registered for this \
             application; it has http://127.0.0.1:49152/callback.",
            "token requested: CLIENT grant_type=refresh_token",
            "refused: error=invalid_client path=/oauth/token reason=the client secret is wrong",
        ]
    );
}

/// A step of a login that a log line tells, with its fields by name.
fn step(line: &Value, client_id: &str, endpoint: &str) -> Option<String> {
    let message = line["message"].as_str()?.strip_prefix("local tenant: ")?;
    assert_eq!(line["level"], "INFO", "{line}");
    let known = ["timestamp", "level", "message", "client_id"];
    let fields = line.as_object()?.iter().filter(|(name, _)| !known.contains(&name.as_str()));
    let mut fields: Vec<String> = fields
        .map(|(name, value)| {
            format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), Into::into))
        })
        .collect();
    fields.sort_unstable();
    if let Some(found) = line["client_id"].as_str() {
        assert_eq!(found, client_id, "{line}");
        fields.insert(0, "CLIENT".into());
    }
    Some(format!("{message}: {}", fields.join(" ")).replace(endpoint, "API"))
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
        let catalog = fastmcp_auth0::wiring::shipped().catalog().unwrap();
        let settings = fastmcp_auth0::Settings::load(sources, &catalog).unwrap();
        let clock: Arc<dyn domain::Clock> = Arc::new(system_clock::SystemClock::start());
        let verifier = Arc::new(auth0_verifier::Auth0Verifier::start(&settings.keys, Arc::clone(&clock)));
        let mut status = verifier.status();
        let ports = fastmcp_auth0::Ports::new(verifier, clock, fastmcp_auth0::wiring::shipped());
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
