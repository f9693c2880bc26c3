//! The local tenant against whoever sends too much, or from elsewhere: what it binds, holds, fetches and reads.

use local_tenant::{Fault, KeysAnswer, LocalTenant, Options, Secret, TokenForm};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OnceCell;

use crate::harness::soon;
use crate::local_tenant::{Answer, get, raw, send};
use crate::oauth::{
    CALLBACK, authorize_path, decide, document_server, encoded, options, parameter, post_form, redeem,
    refresh, register, transaction,
};

const MAX_CONNECTIONS: usize = 64;
const MAX_BODY: usize = 64 * 1024;
const MAX_FETCHES: usize = 8;
const MAX_PENDING: usize = 256;
/// Registered clients, metadata documents, codes and refresh tokens, each.
const MAX_STORED: usize = 1000;
const KEYS: &str = "GET /.well-known/jwks.json HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// The tests that inject no fault, and exhaust no limit of the whole tenant's, share one.
async fn tenant() -> &'static LocalTenant {
    static TENANT: OnceCell<LocalTenant> = OnceCell::const_new();
    TENANT.get_or_init(own_tenant).await
}

async fn own_tenant() -> LocalTenant {
    LocalTenant::start(options()).await.unwrap()
}

// Where it listens.

#[tokio::test]
async fn it_listens_on_127_0_0_1_and_on_no_other_address() {
    let port = tenant().await.port();
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_ok());
    for other in ["127.0.0.2", "::1"] {
        assert!(TcpStream::connect((other, port)).await.is_err(), "{other}");
    }
}

// What it holds at a time.

/// Reads one answer with a `content-length` off a connection that stays open; its body.
async fn read_answer(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    loop {
        assert_ne!(soon(stream.read_buf(&mut text)).await.unwrap(), 0, "closed");
        let Some((head, body)) = std::str::from_utf8(&text).unwrap().split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if body.len() == length.parse::<usize>().unwrap() {
            return body.to_owned();
        }
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_others_to_end() {
    let tenant = own_tenant().await;
    let connect = async || TcpStream::connect(("127.0.0.1", tenant.port())).await.unwrap();
    let mut active = connect().await;
    active.write_all(KEYS.as_bytes()).await.unwrap();
    let answered = read_answer(&mut active).await;
    tenant.inject(&Fault::Keys(KeysAnswer::Hang));
    let mut held = Vec::new();
    for _ in 1..MAX_CONNECTIONS {
        let mut stream = connect().await;
        stream.write_all(KEYS.as_bytes()).await.unwrap();
        held.push(stream);
    }
    let mut waiting = connect().await;
    let discovery = KEYS.replace("jwks.json", "openid-configuration");
    waiting.write_all(discovery.as_bytes()).await.unwrap();
    // The tenant serves from one thread: had it accepted the last connection, it would have answered between these.
    for _ in 0..10 {
        active.write_all(discovery.as_bytes()).await.unwrap();
        assert!(read_answer(&mut active).await.contains("issuer"));
    }
    let mut byte = [0];
    let early = waiting.try_read(&mut byte).map_err(|error| error.kind());
    assert_eq!(early, Err(std::io::ErrorKind::WouldBlock), "{} connections are served", MAX_CONNECTIONS + 1);
    drop(held.pop());
    assert!(read_answer(&mut waiting).await.contains("issuer"));
    // Those that were within the limit had been accepted all the time.
    tenant.inject(&Fault::Reset);
    for stream in &mut held {
        assert_eq!(read_answer(stream).await, answered);
    }
}

#[tokio::test]
async fn documents_beyond_the_limit_are_not_fetched() {
    let tenant = own_tenant().await;
    let port = tenant.port();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let login = move |n: usize| {
        let path = authorize_path(&[("client_id", &format!("http://{address}/{n}"))]);
        async move { get(port, &path).await }
    };
    let fetches: Vec<_> = (0..MAX_FETCHES).map(|n| tokio::spawn(login(n))).collect();
    let mut asked = Vec::new();
    for _ in &fetches {
        asked.push(soon(listener.accept()).await.unwrap());
    }
    let refused = login(MAX_FETCHES).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text.contains("too many clients&#39; metadata are being fetched"), "{}", refused.text);
    drop(asked);
    for fetch in fetches {
        let broken = fetch.await.unwrap();
        assert_eq!(broken.status, 400, "{}", broken.text);
        assert!(!broken.text.contains("too many"), "{}", broken.text);
    }
    let good = document_server(|url| json!({"client_id": url, "redirect_uris": [CALLBACK]}).to_string());
    let id = good.await;
    assert_eq!(get(port, &authorize_path(&[("client_id", &id)])).await.status, 200);
}

// What it remembers.

#[tokio::test]
async fn logins_beyond_the_limit_replace_the_oldest() {
    let tenant = own_tenant().await;
    let begin = async || get(tenant.port(), &authorize_path(&[])).await;
    let (oldest, second) = (begin().await, begin().await);
    for _ in 2..=MAX_PENDING {
        transaction(&begin().await);
    }
    let forgotten = decide(&tenant, &oldest, "admin", "allow").await;
    assert_eq!((forgotten.status, forgotten.header("location")), (400, ""));
    assert_ne!(parameter(&decide(&tenant, &second, "admin", "allow").await, "code"), "");
}

async fn new_client(tenant: &LocalTenant) -> String {
    let metadata = json!({"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"});
    register(tenant, &metadata).await.json()["client_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn registrations_beyond_the_limit_replace_the_oldest() {
    let tenant = own_tenant().await;
    let (oldest, second) = (new_client(&tenant).await, new_client(&tenant).await);
    for _ in 2..=MAX_STORED {
        new_client(&tenant).await;
    }
    let login = async |id: &str| get(tenant.port(), &authorize_path(&[("client_id", id)])).await;
    let forgotten = login(&oldest).await;
    assert!(forgotten.text.contains("no client has this id"), "{}", forgotten.text);
    assert_eq!(login(&second).await.status, 200);
}

/// Serves every path its own metadata document.
async fn document_host() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let own = origin.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0);
            }
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap();
            let document = json!({"client_id": format!("{own}{path}"), "redirect_uris": [CALLBACK]});
            let document = document.to_string();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{document}",
                document.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    origin
}

#[tokio::test]
async fn metadata_documents_beyond_the_limit_replace_the_oldest() {
    let tenant = own_tenant().await;
    let origin = document_host().await;
    let id = |n: usize| format!("{origin}/{n}");
    for n in 0..=MAX_STORED {
        let page = get(tenant.port(), &authorize_path(&[("client_id", &id(n))])).await;
        assert_eq!(page.status, 200, "{}", page.text);
    }
    // The token endpoint fetches none.
    let known = async |n: usize| redeem(&tenant, "code", &[("client_id", &id(n))]).await.error();
    assert_eq!(known(0).await, (401, "invalid_client".into()));
    assert_eq!(known(1).await, (400, "invalid_grant".into()));
}

async fn code(tenant: &LocalTenant) -> String {
    let scope = [("scope", "tool:whoami offline_access")];
    parameter(&get(tenant.port(), &authorize_path(&scope)).await, "code")
}

#[tokio::test]
async fn codes_beyond_the_limit_replace_the_oldest() {
    let tenant = LocalTenant::start(options().with_auto_consent("admin")).await.unwrap();
    let (oldest, second) = (code(&tenant).await, code(&tenant).await);
    for _ in 2..=MAX_STORED {
        code(&tenant).await;
    }
    // A code that nobody was given takes no room.
    assert!(redeem(&tenant, "guess", &[]).await.text.contains("there is no such code"));
    let forgotten = redeem(&tenant, &oldest, &[]).await;
    assert!(forgotten.text.contains("there is no such code"), "{}", forgotten.text);
    assert_eq!(redeem(&tenant, &second, &[]).await.status, 200);
}

#[tokio::test]
async fn refresh_tokens_beyond_the_limit_replace_the_oldest() {
    let tenant = LocalTenant::start(options().with_auto_consent("admin")).await.unwrap();
    // Signing takes most of a login.
    tenant.inject(&Fault::Tokens { form: TokenForm::Opaque });
    let login = async || {
        let answer = redeem(&tenant, &code(&tenant).await, &[]).await.json();
        answer["refresh_token"].as_str().unwrap().to_owned()
    };
    let (oldest, second) = (login().await, login().await);
    for _ in 2..=MAX_STORED {
        login().await;
    }
    let forgotten = refresh(&tenant, &oldest, &[]).await;
    assert!(forgotten.text.contains("there is no such refresh token"), "{}", forgotten.text);
    assert_eq!(refresh(&tenant, &second, &[]).await.status, 200);
}

// What it reads.

#[tokio::test]
async fn a_body_is_as_long_as_the_limit_and_no_longer() {
    let port = tenant().await.port();
    let headers = "content-type: application/json\r\n";
    let mut longest = json!({"redirect_uris": [CALLBACK]}).to_string();
    longest.push_str(&" ".repeat(MAX_BODY - longest.len()));
    assert_eq!(send(port, "POST", "/oidc/register", headers, &longest).await.status, 201);
    let form = |length: usize| {
        format!("grant_type=password&x={}", "x".repeat(length - "grant_type=password&x=".len()))
    };
    let form_headers = "content-type: application/x-www-form-urlencoded\r\n";
    let answer = send(port, "POST", "/oauth/token", form_headers, &form(MAX_BODY)).await;
    assert_eq!(answer.error(), (400, "unsupported_grant_type".into()));
    for (path, headers) in [
        ("/oidc/register", headers),
        ("/local-tenant/token", headers),
        ("/local-tenant/fault", headers),
        ("/oauth/token", form_headers),
        ("/oauth/revoke", form_headers),
        ("/authorize", form_headers),
        ("/u/consent", form_headers),
    ] {
        let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}");
        let announced = raw(port, &format!("{head}content-length: {}\r\n\r\n", MAX_BODY + 1)).await;
        assert_eq!(announced.error(), (413, "body_too_large".into()), "{path}");
        // Exactly one byte too many: nothing is left unread that would reset the connection.
        let chunk = format!("{:x}\r\n{}", MAX_BODY + 1, " ".repeat(MAX_BODY + 1));
        let chunked = raw(port, &format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}")).await;
        assert_eq!(chunked.error(), (413, "body_too_large".into()), "{path}");
    }
}

#[tokio::test]
async fn a_head_beyond_the_limit_is_refused() {
    let port = tenant().await.port();
    let long = format!("x: {}\r\n", "x".repeat(17 * 1024));
    assert_eq!(send(port, "GET", "/u/style.css", &long, "").await.status, 431);
}

/// `serde_json` takes an object with this member for a text to parse, past every limit.
const RESERVED_NAME: &str = "$serde_json::private::RawValue";

/// Puts an object with the reserved name into a good one, at the top, deep inside, and spelled with escapes.
fn with_reserved_name(good: &Value) -> [String; 3] {
    let with = |member: &str| good.to_string().replacen('{', &format!("{{{member},"), 1);
    [
        with(&format!(r#""{RESERVED_NAME}": "{{}}""#)),
        with(&format!(r#""x": [{{"y": [[{{"{RESERVED_NAME}": "[[[]]]"}}]]}}]"#)),
        with(r#""x": {"\u0024serde_json::private::RawValue": "1"}"#),
    ]
}

fn assert_reserved(answer: &Answer, error: &str) {
    assert_eq!(answer.error(), (400, error.into()));
    assert!(answer.text.contains("is reserved; rename it"), "{}", answer.text);
}

#[tokio::test]
async fn json_with_the_name_that_the_parser_reserves_is_refused() {
    let tenant = tenant().await;
    let headers = "content-type: application/json\r\n";
    let post = async |path: &str, body: &str| send(tenant.port(), "POST", path, headers, body).await;
    for body in with_reserved_name(&json!({"redirect_uris": [CALLBACK]})) {
        assert_reserved(&post("/oidc/register", &body).await, "invalid_client_metadata");
    }
    for body in with_reserved_name(&json!({"user": "admin"})) {
        assert_reserved(&post("/local-tenant/token", &body).await, "invalid_request");
    }
    for fault in [json!({"fault": "reset"}), json!({"fault": "keys", "answer": "good"})] {
        for body in with_reserved_name(&fault) {
            assert_reserved(&post("/local-tenant/fault", &body).await, "invalid_request");
        }
    }
    for n in 0..3 {
        let document = move |url: &str| {
            let [top, deep, escaped] =
                with_reserved_name(&json!({"client_id": url, "redirect_uris": [CALLBACK]}));
            [top, deep, escaped][n].clone()
        };
        let id = document_server(document).await;
        let page = get(tenant.port(), &authorize_path(&[("client_id", &id)])).await;
        assert_eq!(page.status, 400);
        assert!(page.text.contains("is reserved; rename it"), "{}", page.text);
    }
    // As a value it is text like any other.
    let metadata = json!({"redirect_uris": [CALLBACK], "client_name": RESERVED_NAME});
    assert_eq!(register(tenant, &metadata).await.json()["client_name"], RESERVED_NAME);
}

// What it tells of what it keeps.

#[tokio::test]
async fn a_client_secret_is_in_no_debug_text() {
    let secret = "s3cret-of-the-client";
    assert_eq!(format!("{:?}", Secret::new(secret)), "Secret(redacted)");
    let mut options = options();
    options.clients[1].secret = Some(Secret::new(secret));
    for text in [format!("{options:?}"), format!("{options:#?}"), format!("{:?}", options.clients[1])] {
        assert!(!text.contains(secret) && text.contains("Secret(redacted)"), "{text}");
    }
    let file: Value = json!({"clients": [{"id": "a", "name": "A", "secret": secret}]});
    let read: Options = serde_json::from_value(file).unwrap();
    assert!(!format!("{read:?}").contains(secret));
    let tenant = LocalTenant::start(options).await.unwrap();
    assert!(!format!("{tenant:?}").contains(secret));
    // What is wrong with a secret does not repeat it.
    let form = encoded(&[("client_id", "web"), ("client_secret", &format!("{secret}x"))]);
    let refused = post_form(&tenant, "/oauth/token", &format!("grant_type=refresh_token&{form}"), "").await;
    assert_eq!(refused.error(), (401, "invalid_client".into()));
    assert!(!refused.text.contains(secret), "{}", refused.text);
}
