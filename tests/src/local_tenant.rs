//! The local tenant over real HTTP: what a resource server, a browser and the `token` command meet.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use local_tenant::client::{ClientError, request_token};
use local_tenant::{Api, Fault, IssuedToken, LocalTenant, Options, StartError, TokenRequest};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OnceCell;

pub(crate) const API: &str = "http://localhost:3001/mcp";
const CONTROL: &str = "/local-tenant/token";

/// Most tests change nothing, so they share one tenant: making keys is slow in a debug build.
async fn tenant() -> &'static LocalTenant {
    static TENANT: OnceCell<LocalTenant> = OnceCell::const_new();
    TENANT.get_or_init(own_tenant).await
}

async fn own_tenant() -> LocalTenant {
    LocalTenant::start(Options::default().with_api_identifier(API)).await.unwrap()
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: BTreeMap<String, String>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub(crate) fn error(&self) -> (u16, String) {
        (self.status, self.json()["error"].as_str().unwrap().to_owned())
    }
}

/// Sends exactly these bytes and reads until the tenant closes.
pub(crate) async fn raw(port: u16, request: &str) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Answer { status, headers, text: body.to_owned() }
}

pub(crate) async fn send(port: u16, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let common = format!("host: localhost:{port}\r\nconnection: close\r\ncontent-length: {length}\r\n");
    raw(port, &format!("{method} {path} HTTP/1.1\r\n{common}{headers}\r\n{body}")).await
}

pub(crate) async fn get(port: u16, path: &str) -> Answer {
    send(port, "GET", path, "", "").await
}

async fn control(port: u16, body: &str) -> Answer {
    send(port, "POST", CONTROL, "content-type: application/json\r\n", body).await
}

fn request(user: &str) -> TokenRequest {
    TokenRequest { user: user.into(), scope: None, audience: None }
}

pub(crate) async fn published(port: u16) -> Vec<Value> {
    let keys = get(port, "/.well-known/jwks.json").await.json();
    keys["keys"].as_array().unwrap().clone()
}

fn kids(keys: &[Value]) -> Vec<&str> {
    keys.iter().map(|key| key["kid"].as_str().unwrap()).collect()
}

/// Header and claims, if one of the published keys signed the token.
fn verified(token: &IssuedToken, keys: &[Value]) -> Option<(Value, Value)> {
    opened(&token.access_token, keys)
}

pub(crate) fn opened(token: &str, keys: &[Value]) -> Option<(Value, Value)> {
    let header = token.split('.').next().unwrap();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    let key = keys.iter().find(|key| key["kid"] == header["kid"])?;
    let (n, e) = (key["n"].as_str().unwrap(), key["e"].as_str().unwrap());
    let key = DecodingKey::from_rsa_components(n, e).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    // What the tests compare.
    (validation.validate_aud, validation.validate_exp) = (false, false);
    let data = jsonwebtoken::decode::<Value>(token, &key, &validation).unwrap();
    Some((header, data.claims))
}

#[tokio::test]
async fn both_discovery_documents_say_what_auth0_says() {
    let tenant = tenant().await;
    let issuer = tenant.issuer();
    assert_eq!(issuer, format!("http://127.0.0.1:{}/", tenant.port()));
    let expected = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}authorize"),
        "token_endpoint": format!("{issuer}oauth/token"),
        "userinfo_endpoint": format!("{issuer}userinfo"),
        "jwks_uri": format!("{issuer}.well-known/jwks.json"),
        "registration_endpoint": format!("{issuer}oidc/register"),
        "revocation_endpoint": format!("{issuer}oauth/revoke"),
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": [
            "authorization_code", "refresh_token", "client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange",
        ],
        "code_challenge_methods_supported": ["S256"],
        "client_id_metadata_document_supported": true,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": [
            "none", "client_secret_post", "client_secret_basic", "private_key_jwt",
        ],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256", "RS384", "PS256"],
        "claims_supported": ["aud", "email", "exp", "iat", "iss", "name", "org_id", "sub"],
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
    });
    for path in ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"] {
        let answer = get(tenant.port(), path).await;
        assert_eq!((answer.status, answer.json()), (200, expected.clone()), "{path}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("cache-control"), "public, max-age=15");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
    }
}

#[tokio::test]
async fn the_key_set_has_two_rsa_2048_keys_and_nothing_private() {
    let answer = get(tenant().await.port(), "/.well-known/jwks.json").await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "public, max-age=15"));
    let set = answer.json();
    let keys = set["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    for key in keys {
        let mut names: Vec<&String> = key.as_object().unwrap().keys().collect();
        names.sort_unstable();
        assert_eq!(names, ["alg", "e", "kid", "kty", "n", "use"]);
        assert_eq!([&key["kty"], &key["use"], &key["alg"], &key["e"]], ["RSA", "sig", "RS256", "AQAB"]);
        let modulus = URL_SAFE_NO_PAD.decode(key["n"].as_str().unwrap()).unwrap();
        assert_eq!((modulus.len(), modulus[0] >> 7), (256, 1), "2048 bits, no sign byte");
    }
    assert_ne!(keys[0]["kid"], keys[1]["kid"]);
}

#[tokio::test]
async fn tokens_of_both_users_verify_with_the_published_key() {
    let tenant = tenant().await;
    let keys = published(tenant.port()).await;
    let cases = [
        ("admin", "Ada Admin", json!(["tool:whoami", "tool:greet"]), "tool:whoami tool:greet"),
        ("user", "Uma User", json!(["tool:whoami"]), "tool:whoami"),
    ];
    for (user, name, permissions, scope) in cases {
        let token = request_token(tenant.port(), &request(user)).await.unwrap();
        assert_eq!((token.expires_in, token.scope.as_str()), (86_400, scope));
        assert_eq!(tenant.scopes_of(user).join(" "), scope);
        let (header, mut claims) = verified(&token, &keys).unwrap();
        assert_eq!(header, json!({"alg": "RS256", "typ": "at+jwt", "kid": keys[0]["kid"]}));

        let mut take = |name: &str| claims.as_object_mut().unwrap().remove(name).unwrap();
        let (iat, exp, jti) = (take("iat"), take("exp"), take("jti"));
        assert_eq!(exp.as_u64().unwrap() - iat.as_u64().unwrap(), 86_400);
        assert_eq!(jti.as_str().unwrap().len(), 22);
        let expected = json!({
            "iss": tenant.issuer(),
            "sub": format!("auth0|local-{user}"),
            "aud": API,
            "scope": scope,
            "permissions": permissions,
            "client_id": "local-tenant-cli",
            "name": name,
            "email": format!("{user}@example.com"),
        });
        assert_eq!(claims, expected);
    }
}

#[tokio::test]
async fn the_library_issues_what_the_control_endpoint_issues() {
    let tenant = tenant().await;
    let keys = published(tenant.port()).await;
    let wanted =
        TokenRequest { user: "admin".into(), scope: Some("tool:greet".into()), audience: Some(API.into()) };
    let tokens = [tenant.issue_token(&wanted).unwrap(), request_token(tenant.port(), &wanted).await.unwrap()];
    let [one, other] = tokens.map(|token| verified(&token, &keys).unwrap().1);
    assert_eq!((&one["scope"], &other["scope"]), (&json!("tool:greet"), &json!("tool:greet")));
    assert_ne!(one["jti"], other["jti"]);
    assert_eq!(tenant.scopes_of("nobody"), Vec::<String>::new());
}

#[tokio::test]
async fn a_rotated_key_stays_published_until_it_is_revoked() {
    let tenant = own_tenant().await;
    let first = published(tenant.port()).await;
    let token = tenant.issue_token(&request("user")).unwrap();

    tenant.inject(&Fault::RotateKeys);
    let rotated = published(tenant.port()).await;
    assert_eq!(rotated.len(), 3);
    assert_eq!((kids(&rotated)[0], kids(&rotated)[2]), (kids(&first)[1], kids(&first)[0]));
    assert!(verified(&token, &rotated).is_some(), "signed by the previous key");
    let (header, _) = verified(&tenant.issue_token(&request("user")).unwrap(), &rotated).unwrap();
    assert_eq!(header["kid"], first[1]["kid"], "what was next signs");

    tenant.inject(&Fault::RevokePreviousKeys);
    let revoked = published(tenant.port()).await;
    assert_eq!(kids(&revoked), kids(&rotated)[..2]);
    assert!(verified(&token, &revoked).is_none());
}

#[tokio::test]
async fn a_dropped_tenant_closes_its_port_and_its_connections() {
    let tenant = own_tenant().await;
    let port = tenant.port();
    let mut open = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    assert_eq!(get(port, "/.well-known/jwks.json").await.status, 200);

    drop(tenant);
    let mut rest = Vec::new();
    // Closed or reset, by whether the tenant had accepted it.
    let _ = open.read_to_end(&mut rest).await;
    assert_eq!(rest, b"");
    let refused = request_token(port, &request("admin")).await.unwrap_err();
    assert!(matches!(refused, ClientError::NotRunning { .. }), "{refused:?}");
    let text = format!("no local tenant on 127.0.0.1:{port}; start one with `fastmcp-auth0 dev`");
    assert_eq!(refused.to_string(), text);
}

#[tokio::test]
async fn a_start_that_cannot_succeed_says_why() {
    let start = async |options: Options, port| LocalTenant::start(options.with_port(port)).await.unwrap_err();
    let unnamed = start(Options::default(), 0).await;
    assert!(matches!(unnamed, StartError::NoApiIdentifier), "{unnamed}");

    let wrong: Options = serde_json::from_value(json!({"users": []})).unwrap();
    let wrong = start(wrong.with_api_identifier(API), 0).await.to_string();
    assert_eq!(wrong, "the tenant's options are wrong: tenant.users is empty; nobody could log in");

    let taken = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let text = start(Options::default().with_api_identifier(API), port).await.to_string();
    assert!(text.starts_with(&format!("can't listen on 127.0.0.1:{port}: ")), "{text}");
}

#[tokio::test]
async fn a_foreign_host_gets_nothing_from_any_path() {
    let port = tenant().await.port();
    for path in ["/.well-known/jwks.json", "/.well-known/openid-configuration", CONTROL, "/authorize", "/x"] {
        for host in ["evil.test", "localhost.evil.test:80", "0.0.0.0"] {
            let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
            assert_eq!(raw(port, &request).await.error(), (403, "foreign_host".into()), "{path} {host}");
        }
    }
    for host in ["127.0.0.1", "LOCALHOST:1", "[::1]:3002"] {
        let request =
            format!("GET /.well-known/jwks.json HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        assert_eq!(raw(port, &request).await.status, 200, "{host}");
    }
}

#[tokio::test]
async fn a_web_page_gets_no_token() {
    let port = tenant().await.port();
    for origin in ["https://evil.test", "http://localhost:6274", "null"] {
        let headers = format!("origin: {origin}\r\ncontent-type: application/json\r\n");
        for method in ["POST", "OPTIONS"] {
            let answer = send(port, method, CONTROL, &headers, r#"{"user": "admin"}"#).await;
            assert_eq!(answer.error(), (403, "foreign_origin".into()), "{method} {origin}");
            assert_eq!(answer.header("access-control-allow-origin"), "");
        }
    }
    // What a form could send without an Origin, in a browser that is old enough.
    let answer = send(port, "POST", CONTROL, "content-type: text/plain\r\n", r#"{"user": "admin"}"#).await;
    assert_eq!(answer.error(), (415, "unsupported_media_type".into()));
}

#[tokio::test]
async fn the_wrong_method_is_told_the_right_ones() {
    let port = tenant().await.port();
    let cases = [
        ("GET", CONTROL, "POST"),
        ("OPTIONS", CONTROL, "POST"),
        ("POST", "/.well-known/jwks.json", "GET, HEAD, OPTIONS"),
        ("DELETE", "/.well-known/openid-configuration", "GET, HEAD, OPTIONS"),
        ("PUT", "/oauth/token", "POST, OPTIONS"),
        ("GET", "/u/consent", "POST"),
    ];
    for (method, path, allow) in cases {
        let answer = send(port, method, path, "", "").await;
        assert_eq!(answer.error(), (405, "method_not_allowed".into()), "{method} {path}");
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
    }
    let head = send(port, "HEAD", "/.well-known/jwks.json", "", "").await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    let length = get(port, "/.well-known/jwks.json").await.text.len().to_string();
    assert_eq!(head.header("content-length"), length);
}

#[tokio::test]
async fn a_preflight_lets_pages_read_the_metadata() {
    let port = tenant().await.port();
    let headers = "origin: http://localhost:6274\r\naccess-control-request-method: GET\r\n\
                   access-control-request-headers: mcp-protocol-version\r\n";
    for path in ["/.well-known/openid-configuration", "/.well-known/jwks.json", "/oidc/register"] {
        let answer = send(port, "OPTIONS", path, headers, "").await;
        assert_eq!((answer.status, answer.text.as_str()), (204, ""), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert_eq!(answer.header("access-control-allow-headers"), "*, Authorization");
        assert!(answer.header("access-control-allow-methods").ends_with("OPTIONS"));
    }
}

#[tokio::test]
async fn the_control_endpoint_refuses_in_oauths_words() {
    let port = tenant().await.port();
    let cases = [
        (r#"{"user": "bob"}"#, "invalid_grant", "there is no user \"bob\"; the tenant has admin, user"),
        (
            r#"{"user": "admin", "audience": "https://x.test"}"#,
            "invalid_target",
            "there is no API \"https://x.test\"; the tenant has http://localhost:3001/mcp",
        ),
        (
            r#"{"user": "admin", "scope": "tool:fly"}"#,
            "invalid_scope",
            "the API does not define the scope \"tool:fly\"; it has tool:whoami, tool:greet",
        ),
    ];
    for (body, error, description) in cases {
        let answer = control(port, body).await;
        let expected = json!({"error": error, "error_description": description});
        assert_eq!((answer.status, answer.json()), (400, expected), "{body}");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    let deep = "[".repeat(60_000);
    for body in ["", "[]", r#"{"scope": "x"}"#, r#"{"user": "admin", "sudo": true}"#, &deep] {
        let answer = control(port, body).await;
        assert_eq!(answer.error(), (400, "invalid_request".into()), "{}", answer.text);
    }
}

#[tokio::test]
async fn the_control_endpoint_answers_as_a_token_endpoint_does() {
    let answer = control(tenant().await.port(), r#"{"user": "user"}"#).await;
    let body = answer.json();
    let mut names: Vec<&String> = body.as_object().unwrap().keys().collect();
    names.sort_unstable();
    assert_eq!(names, ["access_token", "expires_in", "scope", "token_type"]);
    assert_eq!((answer.status, &body["token_type"]), (200, &json!("Bearer")));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_not_read() {
    let port = tenant().await.port();
    let head = format!("POST {CONTROL} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n");
    let announced = raw(port, &format!("{head}content-length: 65537\r\n\r\n")).await;
    assert_eq!(announced.error(), (413, "body_too_large".into()));
    assert_eq!(announced.header("connection"), "close");

    // Exactly one byte too many: nothing is left unread that would reset the connection.
    let chunk = format!("10001\r\n{}", " ".repeat(0x1_0001));
    let chunked = raw(port, &format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}")).await;
    assert_eq!(chunked.error(), (413, "body_too_large".into()));
}

#[tokio::test]
async fn the_client_passes_on_what_the_tenant_says() {
    let port = tenant().await.port();
    let error = request_token(port, &request("bob")).await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused { error, .. } if error == "invalid_grant"), "{error:?}");
    assert_eq!(error.to_string(), "there is no user \"bob\"; the tenant has admin, user");
}

#[tokio::test]
async fn the_client_recognizes_what_is_no_tenant() {
    let other = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = other.local_addr().unwrap().port();
    let answering = tokio::spawn(async move {
        let (mut stream, _) = other.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await.unwrap();
    });
    let error = request_token(port, &request("admin")).await.unwrap_err();
    answering.await.unwrap();
    assert_eq!(error.to_string(), format!("what listens on 127.0.0.1:{port} is not a local tenant"));
}

#[tokio::test(start_paused = true)]
async fn the_client_gives_up_on_a_silent_server() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let error = request_token(port, &request("admin")).await.unwrap_err();
    let text = format!("the local tenant on 127.0.0.1:{port} did not answer within 5 seconds");
    assert_eq!(error.to_string(), text);
}

#[test]
fn the_configuration_file_is_the_sample_tenant_once_a_server_has_added_its_scopes() {
    let text = include_str!("../../config/local.toml");
    let file: toml::Table = toml::from_str(text).unwrap();
    assert_eq!(file.keys().collect::<Vec<_>>(), ["tenant"]);
    let options: Options = file["tenant"].clone().try_into().unwrap();
    assert_eq!(options.validate(), Ok(()));
    assert_eq!(options.api.scopes, [], "the file names no scope");
    let options = options
        .with_scope("tool:whoami", "Read who you are")
        .with_scope("tool:greet", "Greet you by name")
        .with_permission("Tool User", "tool:whoami")
        .with_permission("Tool User", "not:defined");
    // What MCP clients need, and a new tenant of Auth0's has not.
    let api = Api { allow_offline_access: true, ..Api::default() };
    let authorization_response_iss_parameter_supported = true;
    let mut dev = Options { authorization_response_iss_parameter_supported, api, ..Options::default() };
    dev.roles[0].added_scopes = true;
    assert_eq!(options, dev);
}
