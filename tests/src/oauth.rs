//! The local tenant as an authorization server: what a client, a browser and an attacker meet.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use local_tenant::{
    Api, ApiScope, Client, Fault, GrantType, LocalTenant, Options, Secret, ThirdPartySecurityMode,
    TokenRequest,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use url::Url;
use url::form_urlencoded::Serializer;

use crate::local_tenant::{API, Answer, get, opened, published, send};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CALLBACK: &str = "http://127.0.0.1:49152/cb";
const WEB_CALLBACK: &str = "https://web.example/cb?x=1";
const OTHER_API: &str = "https://other.example/";
const SECRET: &str = "s3cret /+:ä";

/// A tenant with a native, a web and a machine client. Tests that set no fault share one: keys take long to make.
async fn tenant() -> &'static LocalTenant {
    static TENANT: OnceCell<LocalTenant> = OnceCell::const_new();
    TENANT.get_or_init(own_tenant).await
}

async fn own_tenant() -> LocalTenant {
    LocalTenant::start(options()).await.unwrap()
}

pub(crate) fn options() -> Options {
    let client = |id: &str, redirect: &[&str]| Client {
        id: id.into(),
        name: format!("The {id}"),
        secret: None,
        redirect_uris: redirect.iter().map(|&uri| uri.into()).collect(),
        logout_urls: Vec::new(),
        grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
        permissions: Vec::new(),
        on_behalf_of: false,
        public_key: None,
    };
    let mut options = Options::default().with_api_identifier(API);
    options.api.allow_offline_access = true;
    options.authorization_response_iss_parameter_supported = true;
    options.users[1].org_id = Some("org_1".into());
    options.other_apis = vec![Api {
        identifier: Some(OTHER_API.into()),
        name: "Another API".into(),
        scopes: vec![ApiScope { name: "read:other".into(), description: "Read something else".into() }],
        ..Api::default()
    }];
    options.roles[0].permissions.push("read:other".into());
    options.clients = vec![
        client("app", &["http://127.0.0.1/cb"]),
        Client {
            secret: Some(Secret::new(SECRET)),
            logout_urls: vec!["https://web.example/bye".into()],
            ..client("web", &[WEB_CALLBACK])
        },
        Client {
            secret: Some(Secret::new(SECRET)),
            grant_types: vec![GrantType::ClientCredentials],
            permissions: vec!["tool:whoami".into()],
            ..client("machine", &[])
        },
        Client {
            secret: Some(Secret::new("abc==")),
            grant_types: vec![GrantType::ClientCredentials],
            ..client("padded", &[])
        },
    ];
    options
}

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()))
}

pub(crate) fn encoded(pairs: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// Parameters by name: good ones, with what a test changes. An empty value takes one away; a name that is there already
/// and begins with `+` is added once more.
fn changed(good: &[(&str, &str)], changes: &[(&str, &str)]) -> String {
    let mut pairs: Vec<(String, String)> =
        good.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    for &(name, value) in changes {
        let added = name.strip_prefix('+');
        if added.is_none() {
            pairs.retain(|(existing, _)| existing != name);
        }
        pairs.push((added.unwrap_or(name).to_owned(), value.to_owned()));
    }
    let pairs: Vec<(&str, &str)> =
        pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    encoded(&pairs)
}

pub(crate) fn authorize_path(changes: &[(&str, &str)]) -> String {
    let challenge = challenge();
    let good = [
        ("response_type", "code"),
        ("client_id", "app"),
        ("redirect_uri", CALLBACK),
        ("scope", "tool:whoami tool:greet"),
        ("state", "a b&c"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("resource", API),
    ];
    format!("/authorize?{}", changed(&good, changes))
}

pub(crate) async fn post_form(tenant: &LocalTenant, path: &str, form: &str, headers: &str) -> Answer {
    let headers = format!("content-type: application/x-www-form-urlencoded\r\n{headers}");
    send(tenant.port(), "POST", path, &headers, form).await
}

/// The value of a hidden field.
pub(crate) fn transaction(page: &Answer) -> String {
    let (_, rest) =
        page.text.split_once("name=\"transaction\" value=\"").unwrap_or_else(|| panic!("{}", page.text));
    rest.split('"').next().unwrap().to_owned()
}

/// Where a redirect leads, and its parameters.
fn landed(answer: &Answer) -> (String, Vec<(String, String)>) {
    assert_eq!(answer.status, 302, "{}", answer.text);
    assert_eq!(answer.header("cache-control"), "no-store");
    let url = Url::parse(answer.header("location")).unwrap();
    let parameters = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    (url[..url::Position::AfterPath].to_owned(), parameters)
}

pub(crate) fn parameter(answer: &Answer, name: &str) -> String {
    let (_, parameters) = landed(answer);
    let mut values = parameters.into_iter().filter(|(found, _)| found == name);
    let (value, more) = (values.next(), values.next());
    assert_eq!(more, None, "{name} is there twice");
    value.map(|(_, value)| value).unwrap_or_default()
}

pub(crate) async fn decide(tenant: &LocalTenant, page: &Answer, user: &str, decision: &str) -> Answer {
    let form = encoded(&[("transaction", &transaction(page)), ("user", user), ("decision", decision)]);
    let own = format!("origin: http://localhost:{}\r\n", tenant.port());
    post_form(tenant, "/u/consent", &form, &own).await
}

/// A code that the user consented to.
async fn code(tenant: &LocalTenant, user: &str, changes: &[(&str, &str)]) -> String {
    let page = get(tenant.port(), &authorize_path(changes)).await;
    let answer = decide(tenant, &page, user, "allow").await;
    parameter(&answer, "code")
}

pub(crate) async fn redeem(tenant: &LocalTenant, code: &str, changes: &[(&str, &str)]) -> Answer {
    let good = [
        ("grant_type", "authorization_code"),
        ("client_id", "app"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    post_form(tenant, "/oauth/token", &changed(&good, changes), "").await
}

pub(crate) async fn refresh(tenant: &LocalTenant, token: &str, changes: &[(&str, &str)]) -> Answer {
    let good = [("grant_type", "refresh_token"), ("client_id", "app"), ("refresh_token", token)];
    post_form(tenant, "/oauth/token", &changed(&good, changes), "").await
}

/// The claims of a token response's access token.
async fn claims(tenant: &LocalTenant, answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("content-type"), "application/json");
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    opened(&token, &published(tenant.port()).await).unwrap().1
}

pub(crate) async fn register(tenant: &LocalTenant, metadata: &Value) -> Answer {
    let headers = "content-type: application/json\r\n";
    send(tenant.port(), "POST", "/oidc/register", headers, &metadata.to_string()).await
}

// The flow.

#[tokio::test]
async fn a_client_registers_a_user_consents_and_a_token_is_had() {
    let tenant = tenant().await;
    let metadata = json!({"client_name": "My <b>client</b>", "redirect_uris": [CALLBACK],
        "token_endpoint_auth_method": "none", "software_id": "ignored"});
    let registered = register(tenant, &metadata).await;
    assert_eq!((registered.status, registered.header("cache-control")), (201, "no-store"));
    let registered = registered.json();
    let client = registered["client_id"].as_str().unwrap();
    assert!(client.starts_with("tpc_"), "{client}");
    assert_eq!(
        (registered.get("client_secret"), &registered["token_endpoint_auth_method"]),
        (None, &json!("none"))
    );
    assert_eq!(registered["grant_types"], json!(["authorization_code", "refresh_token"]));

    let page = get(tenant.port(), &authorize_path(&[("client_id", client)])).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.text.contains("My &lt;b&gt;client&lt;/b&gt;"), "{}", page.text);
    for shown in
        ["http://127.0.0.1:49152", "Read who you are", "Greet you by name", "Ada Admin", "Uma User", client]
    {
        assert!(page.text.contains(shown), "{shown}");
    }
    let answer = decide(tenant, &page, "admin", "allow").await;
    assert_eq!(landed(&answer).0, CALLBACK);
    assert_eq!(
        (parameter(&answer, "state"), parameter(&answer, "iss")),
        ("a b&c".into(), tenant.issuer().into())
    );

    let answer =
        redeem(tenant, &parameter(&answer, "code"), &[("client_id", client), ("resource", API)]).await;
    let body = answer.json();
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(3600)));
    assert_eq!(
        (&body["scope"], body.get("refresh_token"), body.get("id_token")),
        (&json!("tool:whoami tool:greet"), None, None)
    );
    let claims = claims(tenant, &answer).await;
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(tenant.issuer()), &json!(API)));
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("auth0|local-admin"), &json!(client)));
    assert_eq!(claims["permissions"], json!(["tool:whoami", "tool:greet"]));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
}

#[tokio::test]
async fn scope_is_what_was_requested_and_assigned_and_permissions_are_all_that_is_assigned() {
    let tenant = tenant().await;
    for (user, asked, granted) in [
        ("admin", "tool:greet", "tool:greet"),
        ("user", "tool:whoami tool:greet", "tool:whoami"),
        ("user", "tool:greet tool:fly", ""),
        ("user", "", "tool:whoami"),
        (
            "admin",
            "tool:greet openid profile email offline_access",
            "tool:greet openid profile email offline_access",
        ),
    ] {
        let code = code(tenant, user, &[("scope", asked)]).await;
        let claims = claims(tenant, &redeem(tenant, &code, &[]).await).await;
        assert_eq!(claims["scope"], granted, "{user} {asked}");
        let all = if user == "admin" { json!(["tool:whoami", "tool:greet"]) } else { json!(["tool:whoami"]) };
        assert_eq!(claims["permissions"], all);
        assert_eq!(claims.get("org_id").cloned(), (user == "user").then(|| json!("org_1")));
    }
}

#[tokio::test]
async fn openid_brings_an_id_token_and_userinfo() {
    let tenant = tenant().await;
    let scope = [("scope", "openid profile tool:whoami"), ("nonce", "n-1")];
    let code_ = code(tenant, "admin", &scope).await;
    let answer = redeem(tenant, &code_, &[]).await;
    let userinfo_url = format!("{}userinfo", tenant.issuer());
    let access = claims(tenant, &answer).await;
    assert_eq!(access["aud"], json!([API, userinfo_url]));
    let (_, id) =
        opened(answer.json()["id_token"].as_str().unwrap(), &published(tenant.port()).await).unwrap();
    assert_eq!((&id["aud"], &id["nonce"], &id["name"]), (&json!("app"), &json!("n-1"), &json!("Ada Admin")));
    assert_eq!(id.get("email"), None, "not asked for");

    let bearer = |token: &Value| format!("authorization: Bearer {}\r\n", token.as_str().unwrap());
    let header = bearer(&answer.json()["access_token"]);
    for method in ["GET", "POST"] {
        let info = send(tenant.port(), method, "/userinfo", &header, "").await;
        assert_eq!(info.json(), json!({"sub": "auth0|local-admin", "name": "Ada Admin"}), "{method}");
    }

    for header in ["", "authorization: Bearer nonsense\r\n", "authorization: Basic eA==\r\n"] {
        let refused = send(tenant.port(), "GET", "/userinfo", header, "").await;
        assert_eq!(refused.error(), (401, "invalid_token".into()));
        assert!(refused.header("www-authenticate").starts_with("Bearer "));
    }
}

/// What a login of this client brings that asks for everything: scope, whether an ID token, status of userinfo.
async fn login_for_everything(tenant: &LocalTenant, client: &str) -> (String, bool, u16) {
    let asked = [("client_id", client), ("scope", "openid profile email tool:whoami tool:greet")];
    let page = get(tenant.port(), &authorize_path(&asked)).await;
    let code = parameter(&decide(tenant, &page, "admin", "allow").await, "code");
    let answer = redeem(tenant, &code, &asked[..1]).await;
    let body = answer.json();
    let scope = body["scope"].as_str().unwrap().to_owned();
    // The page shows what can be granted, and warns of a third party.
    assert_eq!(page.text.contains("Know who you are"), scope.contains("openid"));
    assert_eq!(page.text.contains("Nobody has vouched for its name"), client != "app");
    // An access token of the first party lives a day.
    assert_eq!(body["expires_in"], if client == "app" { 86_400 } else { 3600 });
    let with_userinfo = claims(tenant, &answer).await["aud"].is_array();
    assert_eq!(with_userinfo, scope.contains("openid"));
    let header = format!("authorization: Bearer {}\r\n", body["access_token"].as_str().unwrap());
    let info = send(tenant.port(), "GET", "/userinfo", &header, "").await;
    (scope, body.get("id_token").is_some(), info.status)
}

#[tokio::test]
async fn what_third_parties_get_is_the_security_modes() {
    let everything = ("tool:whoami tool:greet openid profile email".to_owned(), true, 200);
    let strict = ("tool:whoami tool:greet".to_owned(), false, 403);
    for (mode, is_prefixed, registered_gets) in [
        (ThirdPartySecurityMode::Strict, true, &strict),
        (ThirdPartySecurityMode::Permissive, false, &everything),
    ] {
        let options = Options { third_party_security_mode: mode, ..options() };
        let tenant = LocalTenant::start(options).await.unwrap();
        let metadata = json!({"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "client_credentials", "implicit"]});
        let registered = register(&tenant, &metadata).await.json();
        let registered_id = registered["client_id"].as_str().unwrap();
        assert_eq!(registered_id.starts_with("tpc_"), is_prefixed, "{registered_id}");
        assert_eq!(registered["grant_types"], json!(["authorization_code"]));
        let by_url =
            document_server(|url| json!({"client_id": url, "redirect_uris": [CALLBACK]}).to_string());
        assert_eq!(login_for_everything(&tenant, "app").await, everything, "{mode:?}");
        assert_eq!(&login_for_everything(&tenant, registered_id).await, registered_gets, "{mode:?}");
        assert_eq!(login_for_everything(&tenant, &by_url.await).await, strict, "always: {mode:?}");
        // PKCE, whatever the mode.
        let without = [("client_id", registered_id), ("code_challenge", "")];
        let refused = get(tenant.port(), &authorize_path(&without)).await;
        assert_eq!(parameter(&refused, "error"), "invalid_request", "{mode:?}");
        // And consent: with a prompt of nobody there is no code.
        let silent = [("client_id", registered_id), ("prompt", "none")];
        let refused = get(tenant.port(), &authorize_path(&silent)).await;
        assert_eq!(parameter(&refused, "error"), "login_required", "{mode:?}");
    }
}

#[tokio::test]
async fn userinfo_is_for_tokens_that_have_not_expired() {
    let tenant = own_tenant().await;
    let code = code(&tenant, "admin", &[("scope", "openid")]).await;
    let token = redeem(&tenant, &code, &[]).await.json()["access_token"].as_str().unwrap().to_owned();
    let header = format!("authorization: Bearer {token}\r\n");
    assert_eq!(send(tenant.port(), "GET", "/userinfo", &header, "").await.status, 200);
    tenant.inject(&Fault::Clock { ahead_seconds: 86_401 });
    assert_eq!(
        send(tenant.port(), "GET", "/userinfo", &header, "").await.error(),
        (401, "invalid_token".into())
    );
}

#[tokio::test]
async fn a_machine_gets_a_token_on_its_own_behalf() {
    let tenant = tenant().await;
    let good = [
        ("grant_type", "client_credentials"),
        ("client_id", "machine"),
        ("client_secret", SECRET),
        ("audience", API),
    ];
    let answer = post_form(tenant, "/oauth/token", &encoded(&good), "").await;
    let claims_ = claims(tenant, &answer).await;
    assert_eq!((&claims_["sub"], &claims_["client_id"]), (&json!("machine@clients"), &json!("machine")));
    assert_eq!(
        (&claims_["scope"], &claims_["permissions"]),
        (&json!("tool:whoami"), &json!(["tool:whoami"]))
    );
    assert_eq!((claims_.get("name"), answer.json().get("refresh_token")), (None, None));
    let narrowed = post_form(tenant, "/oauth/token", &changed(&good, &[("scope", "tool:greet")]), "").await;
    assert_eq!(claims(tenant, &narrowed).await["scope"], "");
    // Somebody's login is not the machine's to use, nor the other way round.
    let app = [("client_id", "app"), ("client_secret", "")];
    let refused = post_form(tenant, "/oauth/token", &changed(&good, &app), "").await;
    assert_eq!(refused.error(), (400, "unauthorized_client".into()));
    let refused = get(tenant.port(), &authorize_path(&[("client_id", "machine")])).await;
    assert_eq!(refused.status, 400, "no redirect URI is registered");
}

#[tokio::test]
async fn a_token_is_for_the_api_that_was_asked_for() {
    let tenant = tenant().await;
    let other = [("resource", OTHER_API), ("scope", "read:other tool:greet")];
    let page = get(tenant.port(), &authorize_path(&other)).await;
    assert!(page.text.contains("Another API") && page.text.contains("Read something else"), "{}", page.text);
    let answer =
        redeem(tenant, &parameter(&decide(tenant, &page, "admin", "allow").await, "code"), &[]).await;
    let claims_ = claims(tenant, &answer).await;
    assert_eq!((&claims_["aud"], &claims_["scope"]), (&json!(OTHER_API), &json!("read:other")));
    assert_eq!(claims_["permissions"], json!(["read:other"]));
    // What was consented to for one is not for the other.
    let code = code(tenant, "admin", &other).await;
    assert_eq!(redeem(tenant, &code, &[("resource", API)]).await.error(), (400, "invalid_target".into()));
    let token = refreshable(tenant).await;
    assert_eq!(
        refresh(tenant, &token, &[("resource", OTHER_API)]).await.error(),
        (400, "invalid_target".into())
    );
    assert_eq!(refresh(tenant, &token, &[]).await.status, 200, "a refusal uses nothing up");
    // With both, Auth0 goes by `audience`.
    let both = get(tenant.port(), &authorize_path(&[("audience", OTHER_API)])).await;
    assert!(both.text.contains("Another API"), "{}", both.text);
}

#[tokio::test]
async fn a_new_tenant_has_nothing_but_its_management_api() {
    let tenant = LocalTenant::start(Options::default().with_fresh_state()).await.unwrap();
    let (id, secret) = tenant.management_client();
    let audience = format!("{}api/v2/", tenant.issuer());
    let asked = [
        ("grant_type", "client_credentials"),
        ("client_id", id),
        ("client_secret", secret.expose()),
        ("audience", &audience),
    ];
    let answer = post_form(&tenant, "/oauth/token", &encoded(&asked), "").await;
    assert_eq!(answer.json()["expires_in"], 86_400);
    let claims_ = claims(&tenant, &answer).await;
    assert_eq!((&claims_["aud"], &claims_["sub"]), (&json!(audience), &json!(format!("{id}@clients"))));
    assert!(claims_["scope"].as_str().unwrap().contains("create:resource_servers"));
    let guessed = changed(&asked, &[("client_secret", "guessed")]);
    let refused = post_form(&tenant, "/oauth/token", &guessed, "").await;
    assert_eq!(refused.error(), (401, "invalid_client".into()));
    let unknown = post_form(&tenant, "/oauth/token", &changed(&asked, &[("audience", API)]), "").await;
    assert_eq!(unknown.error(), (400, "invalid_target".into()));
    let refused = register(&tenant, &json!({"redirect_uris": [CALLBACK]})).await;
    assert_eq!(refused.error(), (403, "access_denied".into()));
    assert!(!format!("{:?} {tenant:?}", tenant.management_client()).contains(secret.expose()));
}

// Authorization requests that are refused.

#[tokio::test]
async fn while_client_and_redirect_are_not_known_good_a_page_tells_the_error() {
    let port = tenant().await.port();
    for (changes, told) in [
        (&[("client_id", "nobody")][..], "no client has this id"),
        (&[("client_id", "")], "sent no client_id"),
        (&[("+client_id", "app")], "client_id is there more than once"),
        (&[("redirect_uri", "")], "sent no redirect_uri"),
        (&[("+redirect_uri", CALLBACK)], "redirect_uri is there more than once"),
        (&[("redirect_uri", "https://evil.test/cb")], "not registered"),
        (&[("redirect_uri", "http://127.0.0.1:49152/cb/")], "not registered"),
        (&[("redirect_uri", "http://localhost:49152/cb")], "not registered"),
        (&[("redirect_uri", "http://127.0.0.1:49152/cb?x")], "not registered"),
        (&[("redirect_uri", "javascript:alert(1)//<script>")], "not registered"),
        (&[("client_id", "web"), ("redirect_uri", "https://web.example:8443/cb?x=1")], "not registered"),
    ] {
        // What would be wrong besides makes no difference.
        let changes = [changes, &[("response_type", "token")]].concat();
        let answer = get(port, &authorize_path(&changes)).await;
        assert_eq!((answer.status, answer.header("location")), (400, ""), "{changes:?}");
        assert!(answer.text.contains(told), "{changes:?}: {}", answer.text);
        assert!(!answer.text.contains("<script>"), "{}", answer.text);
    }
}

#[tokio::test]
async fn after_that_the_client_is_told_with_state_and_issuer() {
    let tenant = tenant().await;
    let long = "x".repeat(43);
    for (changes, error) in [
        (&[("response_type", "token")][..], "unsupported_response_type"),
        (&[("response_type", "")], "invalid_request"),
        (&[("response_mode", "fragment")], "invalid_request"),
        (&[("code_challenge", "")], "invalid_request"),
        (&[("code_challenge_method", "plain")], "invalid_request"),
        (&[("code_challenge_method", "")], "invalid_request"),
        (&[("code_challenge", "short")], "invalid_request"),
        (&[("code_challenge", &long[1..])], "invalid_request"),
        (&[("+code_challenge", &long)], "invalid_request"),
        (&[("resource", "https://other.test/mcp")], "invalid_target"),
        (&[("audience", "https://other.test/mcp")], "invalid_target"),
        (&[("+resource", API)], "invalid_target"),
        (&[("scope", "tool:\"greet\"")], "invalid_scope"),
        (&[("+scope", "tool:greet")], "invalid_request"),
        (&[("prompt", "none")], "login_required"),
        (&[("prompt", "none login")], "invalid_request"),
        (&[("prompt", "dance")], "invalid_request"),
        (&[("request", "eyJ")], "request_not_supported"),
        (&[("request_uri", "https://x.test")], "request_uri_not_supported"),
    ] {
        let answer = get(tenant.port(), &authorize_path(changes)).await;
        assert_eq!(landed(&answer).0, CALLBACK, "{changes:?}");
        assert_eq!(parameter(&answer, "error"), error, "{changes:?}");
        assert!(!parameter(&answer, "error_description").is_empty());
        assert_eq!(
            (parameter(&answer, "state"), parameter(&answer, "iss")),
            ("a b&c".into(), tenant.issuer().into())
        );
        assert_eq!(parameter(&answer, "code"), "");
    }
    let repeated = get(tenant.port(), &authorize_path(&[("+state", "other")])).await;
    assert_eq!(
        (parameter(&repeated, "error"), parameter(&repeated, "state")),
        ("invalid_request".into(), String::new())
    );
    for prompt in ["login", "consent", "select_account", "login consent"] {
        assert_eq!(get(tenant.port(), &authorize_path(&[("prompt", prompt)])).await.status, 200, "{prompt}");
    }
    // The registered query stays.
    let denied = get(
        tenant.port(),
        &authorize_path(&[("client_id", "web"), ("redirect_uri", WEB_CALLBACK), ("prompt", "none")]),
    )
    .await;
    assert_eq!((landed(&denied).0.as_str(), parameter(&denied, "x")), ("https://web.example/cb", "1".into()));
}

#[tokio::test]
async fn a_request_may_be_a_form_too() {
    let tenant = tenant().await;
    let form = authorize_path(&[]);
    let page = post_form(tenant, "/authorize", form.split_once('?').unwrap().1, "").await;
    assert_eq!(parameter(&decide(tenant, &page, "user", "allow").await, "error"), "");
}

// The page.

#[tokio::test]
async fn deny_is_told_to_the_client() {
    let tenant = tenant().await;
    let page = get(tenant.port(), &authorize_path(&[])).await;
    let answer = decide(tenant, &page, "admin", "deny").await;
    assert_eq!(
        (parameter(&answer, "error"), parameter(&answer, "state")),
        ("access_denied".into(), "a b&c".into())
    );
    for (user, decision) in [("nobody", "allow"), ("admin", "maybe")] {
        let page = get(tenant.port(), &authorize_path(&[])).await;
        assert_eq!(parameter(&decide(tenant, &page, user, decision).await, "error"), "access_denied");
    }
}

#[tokio::test]
async fn a_decision_is_made_once_in_time_and_on_the_tenants_own_page() {
    let tenant = own_tenant().await;
    let page = get(tenant.port(), &authorize_path(&[])).await;
    let form = |transaction: &str| {
        encoded(&[("transaction", transaction), ("user", "admin"), ("decision", "allow")])
    };
    for origin in ["http://evil.test", "null", "http://localhost:1"] {
        let foreign =
            post_form(&tenant, "/u/consent", &form(&transaction(&page)), &format!("origin: {origin}\r\n"))
                .await;
        assert_eq!(foreign.error(), (403, "foreign_origin".into()), "{origin}");
    }
    assert_eq!(decide(&tenant, &page, "admin", "allow").await.status, 302);
    for spent in [transaction(&page), "guess".into(), String::new()] {
        let answer = post_form(&tenant, "/u/consent", &form(&spent), "").await;
        assert_eq!((answer.status, answer.header("location")), (400, ""), "{spent}");
    }
    let page = get(tenant.port(), &authorize_path(&[])).await;
    tenant.inject(&Fault::Clock { ahead_seconds: 601 });
    assert_eq!(decide(&tenant, &page, "admin", "allow").await.status, 400);
}

#[tokio::test]
async fn the_page_runs_nothing_loads_nothing_and_is_framed_by_nobody() {
    let tenant = tenant().await;
    let page = get(tenant.port(), &authorize_path(&[])).await;
    assert_eq!(
        page.header("content-security-policy"),
        "default-src 'none'; style-src 'self'; form-action 'self' http:; frame-ancestors 'none'; base-uri 'none'"
    );
    assert_eq!((page.header("x-frame-options"), page.header("x-content-type-options")), ("DENY", "nosniff"));
    assert_eq!((page.header("cache-control"), page.header("referrer-policy")), ("no-store", "same-origin"));
    assert_eq!(page.header("access-control-allow-origin"), "");
    let style = get(tenant.port(), "/u/style.css").await;
    assert_eq!((style.status, style.header("content-type")), (200, "text/css; charset=utf-8"));
}

#[tokio::test]
async fn a_user_can_consent_beforehand() {
    let tenant = LocalTenant::start(options().with_auto_consent("user")).await.unwrap();
    for prompt in ["", "none", "login"] {
        let answer = get(tenant.port(), &authorize_path(&[("prompt", prompt)])).await;
        let answer = redeem(&tenant, &parameter(&answer, "code"), &[]).await;
        assert_eq!(claims(&tenant, &answer).await["sub"], "auth0|local-user");
    }
    let error = LocalTenant::start(options().with_auto_consent("bob")).await.unwrap_err();
    assert!(
        error.to_string().contains("no user \"bob\" who could consent; the tenant has admin, user"),
        "{error}"
    );
}

#[tokio::test]
async fn consent_beforehand_gives_no_browser_a_code() {
    let tenant = LocalTenant::start(options().with_auto_consent("user")).await.unwrap();
    // What a browser sends for a page's link, for a mail's link, for an address typed in, and what older ones send.
    for header in [
        "sec-fetch-site: cross-site",
        "sec-fetch-site: same-site",
        "sec-fetch-site: same-origin",
        "sec-fetch-site: none",
        "sec-fetch-mode: navigate",
        "sec-fetch-mode: no-cors",
        "sec-fetch-dest: document",
        "sec-fetch-user: ?1",
        "origin: https://evil.test",
        "referer: https://evil.test/",
    ] {
        let headers = format!("{header}\r\n");
        let page = send(tenant.port(), "GET", &authorize_path(&[]), &headers, "").await;
        assert_eq!(page.status, 200, "{header}");
        let code = parameter(&decide(&tenant, &page, "admin", "allow").await, "code");
        let claims = claims(&tenant, &redeem(&tenant, &code, &[]).await).await;
        assert_eq!(claims["sub"], "auth0|local-admin", "the page decides: {header}");
        let silent = send(tenant.port(), "GET", &authorize_path(&[("prompt", "none")]), &headers, "").await;
        assert_eq!(parameter(&silent, "error"), "login_required", "{header}");
    }
    // Node's `fetch` is no browser.
    let node = send(tenant.port(), "GET", &authorize_path(&[]), "sec-fetch-mode: cors\r\n", "").await;
    assert_ne!(parameter(&node, "code"), "");
}

#[tokio::test]
async fn consent_beforehand_sends_no_code_to_a_web_site() {
    let tenant = LocalTenant::start(options().with_auto_consent("user")).await.unwrap();
    let redirect_uris = ["https://evil.test/cb", "https://127.0.0.1/cb", CALLBACK, "com.example.app:/cb"];
    let metadata = json!({"redirect_uris": redirect_uris, "token_endpoint_auth_method": "none"});
    let registered = register(&tenant, &metadata).await.json();
    let client = ("client_id", registered["client_id"].as_str().unwrap());
    for (uri, status) in redirect_uris.into_iter().zip([200, 200, 302, 302]) {
        let answer = get(tenant.port(), &authorize_path(&[client, ("redirect_uri", uri)])).await;
        assert_eq!((answer.status, answer.header("location").is_empty()), (status, status == 200), "{uri}");
    }
    let web = [("client_id", "web"), ("redirect_uri", WEB_CALLBACK)];
    let page = get(tenant.port(), &authorize_path(&web)).await;
    assert_eq!(landed(&decide(&tenant, &page, "user", "allow").await).0, "https://web.example/cb");
}

#[tokio::test]
async fn responses_name_the_issuer_where_the_metadata_says_so() {
    for on in [false, true] {
        let options = Options { authorization_response_iss_parameter_supported: on, ..options() };
        let asking = LocalTenant::start(options.clone()).await.unwrap();
        for path in ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"] {
            let metadata = get(asking.port(), path).await.json();
            let said = metadata.get("authorization_response_iss_parameter_supported").cloned();
            assert_eq!(said, on.then_some(json!(true)), "{path}");
        }
        let page = async || get(asking.port(), &authorize_path(&[])).await;
        let allowed = decide(&asking, &page().await, "admin", "allow").await;
        let denied = decide(&asking, &page().await, "admin", "deny").await;
        let refused = get(asking.port(), &authorize_path(&[("prompt", "none")])).await;
        for answer in [allowed, denied, refused] {
            let expected = if on { asking.issuer() } else { "" };
            assert_eq!(parameter(&answer, "iss"), expected, "{}", answer.header("location"));
        }
        let automatic = LocalTenant::start(options.with_auto_consent("admin")).await.unwrap();
        let at_once = get(automatic.port(), &authorize_path(&[])).await;
        assert_eq!(parameter(&at_once, "iss"), if on { automatic.issuer() } else { "" });
    }
}

/// Some headless clients take 302 only, which is what Auth0 sends.
#[tokio::test]
async fn the_redirects_of_a_login_have_the_status_of_the_options() {
    for status in [302, 303] {
        let options = Options { redirect_status: status, ..options() };
        let asking = LocalTenant::start(options.clone()).await.unwrap();
        let page = async || get(asking.port(), &authorize_path(&[])).await;
        let denied_at_once = get(asking.port(), &authorize_path(&[("prompt", "none")])).await;
        let allowed = decide(&asking, &page().await, "admin", "allow").await;
        let denied = decide(&asking, &page().await, "admin", "deny").await;
        let bye = encoded(&[("returnTo", "https://web.example/bye")]);
        let logged_out = get(asking.port(), &format!("/v2/logout?{bye}")).await;
        let automatic = LocalTenant::start(options.with_auto_consent("admin")).await.unwrap();
        let at_once = get(automatic.port(), &authorize_path(&[])).await;
        for answer in [denied_at_once, allowed, denied, logged_out, at_once] {
            assert_eq!(answer.status, status, "{}", answer.header("location"));
        }
    }
}

// Codes.

#[tokio::test]
async fn a_code_is_good_once_for_its_client_redirect_and_verifier() {
    let tenant = tenant().await;
    for (changes, error) in [
        (&[("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXX")][..], "invalid_grant"),
        (&[("code_verifier", &challenge())], "invalid_grant"),
        (&[("redirect_uri", "http://127.0.0.1:49153/cb")], "invalid_grant"),
        (&[("client_id", "web"), ("client_secret", SECRET)], "invalid_grant"),
    ] {
        let code = code(tenant, "admin", &[]).await;
        assert_eq!(redeem(tenant, &code, changes).await.error(), (400, error.into()), "{changes:?}");
        // It had its one chance.
        assert_eq!(redeem(tenant, &code, &[]).await.error(), (400, "invalid_grant".into()), "{changes:?}");
    }
    let code = code(tenant, "admin", &[]).await;
    for (changes, error) in [
        (&[("grant_type", "")][..], "invalid_request"),
        (&[("grant_type", "password")], "unsupported_grant_type"),
        (&[("code", "")], "invalid_request"),
        (&[("code", "guess")], "invalid_grant"),
        (&[("code_verifier", "")], "invalid_request"),
        (&[("redirect_uri", "")], "invalid_request"),
        (&[("+code", "other")], "invalid_request"),
        (&[("resource", "https://other.test/mcp")], "invalid_target"),
    ] {
        let answer = redeem(tenant, &code, changes).await;
        assert_eq!(answer.error(), (400, error.into()), "{changes:?}");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    assert_eq!(redeem(tenant, &code, &[]).await.status, 200, "nothing of that took the code");
}

#[tokio::test]
async fn a_code_that_comes_twice_takes_back_what_it_brought() {
    let tenant = tenant().await;
    let code = code(tenant, "admin", &[("scope", "tool:greet offline_access")]).await;
    let first = redeem(tenant, &code, &[]).await.json();
    let token = first["refresh_token"].as_str().unwrap();
    assert_eq!(redeem(tenant, &code, &[]).await.error(), (400, "invalid_grant".into()));
    assert_eq!(refresh(tenant, token, &[]).await.error(), (400, "invalid_grant".into()));
}

#[tokio::test]
async fn a_code_is_good_for_60_seconds() {
    let tenant = own_tenant().await;
    // The machine's clock may tick once meanwhile.
    for (ahead_seconds, status) in [(58, 200), (60, 400)] {
        tenant.inject(&Fault::Clock { ahead_seconds: 0 });
        let code = code(&tenant, "admin", &[]).await;
        tenant.inject(&Fault::Clock { ahead_seconds });
        assert_eq!(redeem(&tenant, &code, &[]).await.status, status, "{ahead_seconds}");
    }
    // No clock breaks anything.
    for ahead_seconds in [i64::MAX, i64::MIN] {
        tenant.inject(&Fault::Clock { ahead_seconds });
        assert_eq!(get(tenant.port(), &authorize_path(&[])).await.status, 200);
        assert_ne!(redeem(&tenant, "guess", &[]).await.status, 500);
        let _ = tenant.issue_token(&TokenRequest { user: "admin".into(), scope: None, audience: None });
    }
}

// Refresh tokens.

async fn refreshable(tenant: &LocalTenant) -> String {
    let code = code(tenant, "admin", &[("scope", "tool:whoami tool:greet offline_access")]).await;
    redeem(tenant, &code, &[]).await.json()["refresh_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_refresh_token_is_for_who_asks_where_the_api_allows_it() {
    let mut options = options();
    let third = json!({"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"});
    for allowed in [false, true] {
        options.api.allow_offline_access = allowed;
        let tenant = LocalTenant::start(options.clone()).await.unwrap();
        let third = register(&tenant, &third).await.json()["client_id"].as_str().unwrap().to_owned();
        for client in ["app", &third] {
            for (scope, asked) in [("tool:whoami offline_access", true), ("tool:whoami", false), ("", false)]
            {
                let request = [("client_id", client), ("scope", scope)];
                let page = get(tenant.port(), &authorize_path(&request)).await;
                let shown = page.text.contains("Keep this access while you are away");
                let code = parameter(&decide(&tenant, &page, "user", "allow").await, "code");
                let answer = redeem(&tenant, &code, &[("client_id", client)]).await.json();
                let granted = answer["scope"].as_str().unwrap().contains("offline_access");
                let expected = allowed && asked;
                let found = (shown, granted, answer.get("refresh_token").is_some());
                assert_eq!(found, (expected, expected, expected), "{allowed} {client} {scope}");
            }
        }
    }
    // Another API of the same tenant has a setting of its own.
    let tenant = LocalTenant::start(options).await.unwrap();
    let other = [("resource", OTHER_API), ("scope", "read:other offline_access")];
    let code = code(&tenant, "admin", &other).await;
    assert_eq!(redeem(&tenant, &code, &[]).await.json()["scope"], "read:other");
}

#[tokio::test]
async fn refresh_tokens_rotate_and_reuse_revokes_the_family() {
    let tenant = tenant().await;
    let first = refreshable(tenant).await;
    let answer = refresh(tenant, &first, &[]).await;
    let second = answer.json()["refresh_token"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    assert_eq!(claims(tenant, &answer).await["scope"], "tool:whoami tool:greet offline_access");
    let third = refresh(tenant, &second, &[]).await.json()["refresh_token"].as_str().unwrap().to_owned();

    assert_eq!(refresh(tenant, &first, &[]).await.error(), (400, "invalid_grant".into()));
    assert_eq!(refresh(tenant, &third, &[]).await.error(), (400, "invalid_grant".into()), "all of them");
}

#[tokio::test]
async fn a_refresh_token_is_its_clients_and_never_brings_more() {
    let tenant = tenant().await;
    let token = refreshable(tenant).await;
    for (changes, status, error) in [
        (&[("client_id", "web"), ("client_secret", SECRET)][..], 400, "invalid_grant"),
        (&[("client_id", "nobody")], 401, "invalid_client"),
        (&[("refresh_token", "")], 400, "invalid_request"),
        (&[("refresh_token", "guess")], 400, "invalid_grant"),
        (&[("refresh_token", "guess.guess")], 400, "invalid_grant"),
    ] {
        assert_eq!(refresh(tenant, &token, changes).await.error(), (status, error.into()), "{changes:?}");
    }
    let narrower = refresh(tenant, &token, &[("scope", "tool:greet")]).await;
    assert_eq!(narrower.json()["scope"], "tool:greet");
    let token = narrower.json()["refresh_token"].as_str().unwrap().to_owned();
    let back = refresh(tenant, &token, &[]).await;
    assert_eq!(back.json()["scope"], "tool:whoami tool:greet offline_access");
    let token = back.json()["refresh_token"].as_str().unwrap().to_owned();
    let wider = refresh(tenant, &token, &[("scope", "tool:greet openid")]).await;
    assert_eq!(wider.error(), (400, "invalid_scope".into()));
    assert_eq!(refresh(tenant, &token, &[]).await.status, 200, "a refusal uses nothing up");
}

#[tokio::test]
async fn a_refresh_token_ends_and_can_be_revoked() {
    let tenant = own_tenant().await;
    let token = refreshable(&tenant).await;
    tenant.inject(&Fault::Clock { ahead_seconds: 30 * 24 * 3600 + 1 });
    assert_eq!(refresh(&tenant, &token, &[]).await.error(), (400, "invalid_grant".into()));
    tenant.inject(&Fault::Reset);

    let token = refreshable(&tenant).await;
    let revoke = async |id: &str, token: &str| {
        let form = encoded(&[("client_id", id), ("token", token)]);
        post_form(&tenant, "/oauth/revoke", &form, "").await
    };
    let registered =
        register(&tenant, &json!({"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"})).await;
    let other = registered.json()["client_id"].as_str().unwrap().to_owned();
    assert_eq!(revoke(&other, &token).await.status, 200, "RFC 7009: an unknown token is as good as revoked");
    let token = refresh(&tenant, &token, &[]).await.json()["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(revoke("app", &token).await.status, 200);
    assert_eq!(refresh(&tenant, &token, &[]).await.error(), (400, "invalid_grant".into()));
    assert_eq!(revoke("nobody", &token).await.error(), (401, "invalid_client".into()));
    assert_eq!(revoke("app", "").await.error(), (400, "invalid_request".into()));
}

// Client authentication.

#[tokio::test]
async fn a_client_authenticates_as_it_was_registered() {
    let tenant = tenant().await;
    let basic = |id: &str, secret: &str| {
        let part = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let credentials = STANDARD.encode(format!("{}:{}", part(id), part(secret)));
        format!("authorization: Basic {credentials}\r\n")
    };
    let unencoded = format!("authorization: Basic {}\r\n", STANDARD.encode("padded:abc=="));
    let none = String::new();
    let cases = [
        (&[][..], unencoded, 200, ""),
        (&[("client_id", "machine"), ("client_secret", SECRET)][..], none.clone(), 200, ""),
        (&[], basic("machine", SECRET), 200, ""),
        (&[("client_id", "machine")], basic("machine", SECRET), 200, ""),
        (&[("client_id", "machine"), ("client_secret", "wrong")], none.clone(), 401, "invalid_client"),
        (&[("client_id", "machine")], none.clone(), 401, "invalid_client"),
        (&[], none.clone(), 401, "invalid_client"),
        (&[], basic("machine", "wrong"), 401, "invalid_client"),
        (&[], basic("nobody", SECRET), 401, "invalid_client"),
        (&[("client_id", "web")], basic("machine", SECRET), 401, "invalid_client"),
        (&[("client_secret", SECRET)], basic("machine", SECRET), 400, "invalid_request"),
        (&[("client_id", "app"), ("client_secret", "x")], none, 401, "invalid_client"),
        (&[], "authorization: Bearer x\r\n".into(), 401, "invalid_client"),
    ];
    for (form, header, status, error) in cases {
        let form = [&[("grant_type", "client_credentials")][..], form].concat();
        let answer = post_form(tenant, "/oauth/token", &encoded(&form), &header).await;
        assert_eq!(answer.status, status, "{form:?}: {}", answer.text);
        if status != 200 {
            assert_eq!(answer.error().1, error, "{form:?}");
        }
        if status == 401 {
            assert!(answer.header("www-authenticate").starts_with("Basic "), "RFC 6749 section 5.2");
        }
        assert!(!answer.text.contains(SECRET));
    }
    let text = send(tenant.port(), "POST", "/oauth/token", "content-type: application/json\r\n", "{}").await;
    // Auth0 takes JSON as well as a form.
    assert_eq!(text.error(), (400, "invalid_request".into()));
    let json = json!({"grant_type": "client_credentials", "client_id": "machine", "client_secret": SECRET});
    let json_type = "content-type: application/json\r\n";
    let answer = send(tenant.port(), "POST", "/oauth/token", json_type, &json.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let answer = send(tenant.port(), "POST", "/oauth/token", json_type, "[]").await;
    assert_eq!(answer.error(), (400, "invalid_request".into()));
    let answer = send(tenant.port(), "POST", "/oauth/token", "content-type: text/plain\r\n", "{}").await;
    assert_eq!(answer.error(), (415, "unsupported_media_type".into()));
}

// Registration.

#[tokio::test]
async fn registration_refuses_what_it_could_not_keep() {
    let tenant = tenant().await;
    let uris = json!([CALLBACK]);
    let long = format!("https://a.test/{}", "x".repeat(2048));
    for (metadata, error) in [
        (json!("x"), "invalid_client_metadata"),
        (json!({}), "invalid_redirect_uri"),
        (json!({"redirect_uris": []}), "invalid_redirect_uri"),
        (json!({"redirect_uris": vec![CALLBACK; 33]}), "invalid_redirect_uri"),
        (json!({"redirect_uris": [long]}), "invalid_redirect_uri"),
        (json!({"redirect_uris": ["http://app.test/cb"]}), "invalid_redirect_uri"),
        (json!({"redirect_uris": ["https://app.test/cb#x"]}), "invalid_redirect_uri"),
        (json!({"redirect_uris": [CALLBACK, "javascript:alert(1)"]}), "invalid_redirect_uri"),
        (json!({"redirect_uris": "http://127.0.0.1/cb"}), "invalid_client_metadata"),
        (json!({"redirect_uris": uris, "client_name": "x".repeat(201)}), "invalid_client_metadata"),
        (json!({"redirect_uris": uris, "grant_types": ["client_credentials"]}), "invalid_client_metadata"),
        (json!({"redirect_uris": uris, "response_types": ["token"]}), "invalid_client_metadata"),
        (
            json!({"redirect_uris": uris, "token_endpoint_auth_method": "private_key_jwt"}),
            "invalid_client_metadata",
        ),
    ] {
        let answer = register(tenant, &metadata).await;
        assert_eq!(
            answer.error(),
            (400, error.into()),
            "{}",
            metadata.to_string().get(..80).unwrap_or_default()
        );
    }
}

#[tokio::test]
async fn a_client_that_wants_a_secret_is_given_one_and_must_use_it() {
    let tenant = tenant().await;
    let registered = register(tenant, &json!({"redirect_uris": [CALLBACK]})).await.json();
    assert_eq!(registered["token_endpoint_auth_method"], "client_secret_basic", "RFC 7591's default");
    assert_eq!(registered["client_secret_expires_at"], 0);
    let id = registered["client_id"].as_str().unwrap();
    let code = code(tenant, "user", &[("client_id", id)]).await;
    assert_eq!(redeem(tenant, &code, &[("client_id", id)]).await.error(), (401, "invalid_client".into()));
    let secret = registered["client_secret"].as_str().unwrap();
    assert_eq!(redeem(tenant, &code, &[("client_id", id), ("client_secret", secret)]).await.status, 200);
}

#[tokio::test]
async fn the_page_names_a_client_without_a_name() {
    let tenant = tenant().await;
    let registered = register(tenant, &json!({"redirect_uris": [CALLBACK]})).await.json();
    let page =
        get(tenant.port(), &authorize_path(&[("client_id", registered["client_id"].as_str().unwrap())]))
            .await;
    assert!(page.text.contains("an application without a name"));
}

// Clients that are known by a URL.

/// Serves one document at `/client.json`, for as long as the test runs.
pub(crate) async fn document_server(document: impl Fn(&str) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/client.json", listener.local_addr().unwrap());
    let document = document(&url);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0);
            }
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                document.len()
            );
            stream.write_all(format!("{head}{document}").as_bytes()).await.unwrap();
        }
    });
    url
}

#[tokio::test]
async fn a_client_can_be_known_by_the_url_of_its_metadata() {
    let tenant = tenant().await;
    let id = document_server(|url| {
        json!({"client_id": url, "client_name": "By URL", "redirect_uris": ["http://127.0.0.1/cb"],
            "grant_types": ["authorization_code", "refresh_token"], "token_endpoint_auth_method": "none"})
        .to_string()
    })
    .await;
    let id = [("client_id", id.as_str())];
    let page = get(tenant.port(), &authorize_path(&id)).await;
    assert!(page.text.contains("By URL") && page.text.contains(id[0].1), "{}", page.text);
    let answer = decide(tenant, &page, "admin", "allow").await;
    let answer = redeem(tenant, &parameter(&answer, "code"), &id).await;
    let claims = claims(tenant, &answer).await;
    assert_eq!(
        (claims["client_id"].as_str().unwrap(), &answer.json()["expires_in"]),
        (id[0].1, &json!(3600))
    );
}

#[tokio::test]
async fn a_document_that_is_not_the_clients_own_gets_a_page() {
    let tenant = tenant().await;
    let foreign = document_server(|_| {
        json!({"client_id": "https://other.test/client.json", "redirect_uris": [CALLBACK]}).to_string()
    });
    let scripted = document_server(|url| {
        json!({"client_id": url, "redirect_uris": [CALLBACK, "javascript:alert(1)"]}).to_string()
    });
    for id in
        [foreign.await, scripted.await, "https://127.0.0.1/client.json".into(), "https://localhost/c".into()]
    {
        let answer = get(tenant.port(), &authorize_path(&[("client_id", &id)])).await;
        assert_eq!((answer.status, answer.header("location")), (400, ""), "{id}");
        let answer = redeem(tenant, "code", &[("client_id", &id)]).await;
        assert_eq!(answer.error(), (401, "invalid_client".into()), "{id}");
    }
}

/// Any web page may call the token endpoint, and would learn from its answers what listens on this machine.
#[tokio::test]
async fn the_token_endpoint_fetches_nothing() {
    let tenant = tenant().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let id = format!("http://{}/client.json", listener.local_addr().unwrap());
    let answer = redeem(tenant, "code", &[("client_id", &id)]).await;
    assert_eq!(answer.error(), (401, "invalid_client".into()));
    assert!(answer.text.contains("no client has this id"), "{}", answer.text);
    let form = encoded(&[("client_id", id.as_str()), ("token", "x")]);
    assert_eq!(post_form(tenant, "/oauth/revoke", &form, "").await.error(), (401, "invalid_client".into()));
    tokio::select! {
        biased;
        _ = listener.accept() => panic!("somebody connected"),
        () = std::future::ready(()) => {}
    }
}

/// A document on this machine is whatever listens there says; a page that could have it fetched would reach all of that.
#[tokio::test]
async fn no_browser_makes_the_tenant_fetch_from_this_machine() {
    let tenant = tenant().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let id = format!("http://{}/client.json", listener.local_addr().unwrap());
    let path = authorize_path(&[("client_id", &id)]);
    for header in [
        "sec-fetch-site: cross-site",
        "sec-fetch-site: none",
        "sec-fetch-mode: no-cors",
        "sec-fetch-dest: iframe",
        "origin: null",
        "referer: https://evil.test/",
    ] {
        let answer = send(tenant.port(), "GET", &path, &format!("{header}\r\n"), "").await;
        assert_eq!((answer.status, answer.header("location")), (400, ""), "{header}");
        assert!(answer.text.contains("is not fetched for a browser"), "{header}: {}", answer.text);
    }
    let with_query = format!("{id}?delete=everything");
    let answer = get(tenant.port(), &authorize_path(&[("client_id", &with_query)])).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains("has no query"), "{}", answer.text);
    tokio::select! {
        biased;
        _ = listener.accept() => panic!("somebody connected"),
        () = std::future::ready(()) => {}
    }
}

#[tokio::test]
async fn a_document_that_a_command_had_fetched_serves_a_browser_too() {
    let tenant = tenant().await;
    let id = document_server(|url| json!({"client_id": url, "redirect_uris": [CALLBACK]}).to_string()).await;
    let path = authorize_path(&[("client_id", &id)]);
    assert_eq!(get(tenant.port(), &path).await.status, 200);
    assert_eq!(send(tenant.port(), "GET", &path, "sec-fetch-site: none\r\n", "").await.status, 200);
}

// After a login.

#[tokio::test]
async fn logout_returns_only_where_a_client_of_the_options_said() {
    let port = tenant().await.port();
    let logout = async |url: &str| get(port, &format!("/v2/logout?{}", encoded(&[("returnTo", url)]))).await;
    let good = logout("https://web.example/bye").await;
    assert_eq!((good.status, good.header("location")), (302, "https://web.example/bye"));
    for bad in ["https://evil.test/", "https://web.example/bye/", "javascript:alert(1)"] {
        let answer = logout(bad).await;
        assert_eq!((answer.status, answer.header("location")), (400, ""), "{bad}");
    }
    assert_eq!(get(port, "/v2/logout").await.status, 200);
}

// Faults.

pub(crate) async fn inject(tenant: &LocalTenant, fault: &Value) -> u16 {
    let headers = "content-type: application/json\r\n";
    send(tenant.port(), "POST", "/local-tenant/fault", headers, &fault.to_string()).await.status
}

#[tokio::test]
async fn the_key_set_fails_as_it_is_told_to() {
    let tenant = own_tenant().await;
    let keys = "/.well-known/jwks.json";
    let good = get(tenant.port(), keys).await.text;
    for (status, served) in [(500, 500), (429, 429), (200, 500)] {
        let fault = json!({"fault": "keys", "answer": "status", "status": status});
        assert_eq!(inject(&tenant, &fault).await, 204);
        assert_eq!(get(tenant.port(), keys).await.status, served);
    }
    inject(&tenant, &json!({"fault": "keys", "answer": "garbage"})).await;
    assert!(serde_json::from_str::<Value>(&get(tenant.port(), keys).await.text).is_err());
    inject(&tenant, &json!({"fault": "keys", "answer": "empty"})).await;
    assert_eq!(get(tenant.port(), keys).await.json(), json!({"keys": []}));
    inject(&tenant, &json!({"fault": "keys", "answer": "huge"})).await;
    assert!(get(tenant.port(), keys).await.text.len() > 1024 * 1024);
    inject(&tenant, &json!({"fault": "keys", "answer": "slow", "milliseconds": 1})).await;
    assert_eq!(get(tenant.port(), keys).await.text, good);
    inject(&tenant, &json!({"fault": "keys", "answer": "hang"})).await;
    // What hangs is released by a change, and by nothing before.
    let waiting = get(tenant.port(), keys);
    let others = async {
        let document = get(tenant.port(), "/.well-known/openid-configuration").await;
        assert_eq!(document.status, 200, "nothing else hangs");
        inject(&tenant, &json!({"fault": "keys", "answer": "empty"})).await
    };
    let (released, _) = tokio::join!(waiting, others);
    assert_eq!(released.json(), json!({"keys": []}), "it had not been answered before");
    inject(&tenant, &json!({"fault": "reset"})).await;
    assert_eq!(get(tenant.port(), keys).await.text, good);
}

#[tokio::test]
async fn tokens_come_in_the_form_they_are_told_to() {
    let tenant = own_tenant().await;
    let token = async || {
        let code = code(&tenant, "admin", &[]).await;
        let body = redeem(&tenant, &code, &[]).await.json();
        body["access_token"].as_str().unwrap().to_owned()
    };
    inject(&tenant, &json!({"fault": "tokens", "form": "opaque"})).await;
    let opaque = token().await;
    assert_eq!((opaque.len(), opaque.contains('.')), (32, false));
    inject(&tenant, &json!({"fault": "tokens", "form": "encrypted"})).await;
    assert_eq!(token().await.split('.').count(), 5);
    inject(&tenant, &json!({"fault": "tokens", "form": "expired"})).await;
    let keys = published(tenant.port()).await;
    let (_, expired) = opened(&token().await, &keys).unwrap();
    inject(&tenant, &json!({"fault": "tokens", "form": "jwt"})).await;
    inject(&tenant, &json!({"fault": "clock", "ahead_seconds": 3600})).await;
    let (_, ahead) = opened(&token().await, &keys).unwrap();
    inject(&tenant, &json!({"fault": "reset"})).await;
    let (_, good) = opened(&token().await, &keys).unwrap();
    let at = |claims: &Value, name: &str| claims[name].as_i64().unwrap();
    assert!(at(&expired, "exp") <= at(&good, "iat") - 3600);
    assert!(at(&ahead, "iat") >= at(&good, "iat") + 3590);
}

#[tokio::test]
async fn a_second_issuer_has_the_same_keys() {
    let tenant = own_tenant().await;
    let second = format!("http://localhost:{}/", tenant.port());
    let issuer =
        async || get(tenant.port(), "/.well-known/openid-configuration").await.json()["issuer"].clone();
    assert_eq!(issuer().await, tenant.issuer());
    tenant.inject(&Fault::SecondIssuer { on: true });
    assert_eq!(issuer().await, second, "the tests' requests name localhost");
    let code = code(&tenant, "admin", &[]).await;
    assert_eq!(claims(&tenant, &redeem(&tenant, &code, &[]).await).await["iss"], second);
    assert_eq!(
        tenant
            .issue_token(&TokenRequest { user: "admin".into(), scope: None, audience: None })
            .map(|token| token.scope)
            .unwrap(),
        "tool:whoami tool:greet"
    );
}

#[tokio::test]
async fn keys_rotate_and_are_revoked_over_http() {
    let tenant = own_tenant().await;
    let before = published(tenant.port()).await;
    assert_eq!(inject(&tenant, &json!({"fault": "rotate_keys"})).await, 204);
    let rotated = published(tenant.port()).await;
    assert_eq!((rotated.len(), &rotated[0]["kid"]), (3, &before[1]["kid"]));
    assert_eq!(inject(&tenant, &json!({"fault": "revoke_previous_keys"})).await, 204);
    assert_eq!(published(tenant.port()).await.len(), 2);
}

#[tokio::test]
async fn no_page_makes_faults_and_no_nonsense_does() {
    let tenant = tenant().await;
    let headers = "origin: http://localhost:6274\r\ncontent-type: application/json\r\n";
    let page = send(tenant.port(), "POST", "/local-tenant/fault", headers, r#"{"fault": "reset"}"#).await;
    assert_eq!(page.error(), (403, "foreign_origin".into()));
    for nonsense in
        [json!({}), json!({"fault": "flood"}), json!({"fault": "keys", "answer": "lie"}), json!([])]
    {
        assert_eq!(inject(tenant, &nonsense).await, 400, "{nonsense}");
    }
}
