//! The adapter before a token endpoint of the test's own, on loopback.

use std::sync::atomic::{AtomicUsize, Ordering};

use domain::{Scope, UnixMillis};
use fakes::ManualClock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::*;

const NOW: UnixMillis = UnixMillis(1_000_000_000);
const SECRET: &str = "a-client-secret";

/// How the endpoint answers: a status line with header fields, and a body, by the number of the request.
type Respond = Box<dyn Fn(usize, &str) -> (String, String) + Send + Sync>;

/// A token endpoint, which answers once it is open.
struct Endpoint {
    url: url::Url,
    requests: Arc<AtomicUsize>,
    open: watch::Sender<bool>,
    arrived: watch::Receiver<usize>,
}

impl Endpoint {
    async fn start(is_open: bool, respond: Respond) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/oauth/token", listener.local_addr().unwrap()).parse().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let open = watch::Sender::new(is_open);
        let (arrivals, arrived) = watch::channel(0);
        let (count, opened, respond) = (Arc::clone(&requests), open.subscribe(), Arc::new(respond));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (count, mut opened, respond) = (Arc::clone(&count), opened.clone(), Arc::clone(&respond));
                let arrivals = arrivals.clone();
                tokio::spawn(async move {
                    let form = read_form(&mut socket).await;
                    let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                    arrivals.send_modify(|arrivals| *arrivals += 1);
                    opened.wait_for(|open| *open).await.unwrap();
                    let (head, body) = respond(number, &form);
                    let length = body.len();
                    let answer = format!(
                        "HTTP/1.1 {head}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
                    );
                    // Who wants no more of a long answer closes.
                    let _ = socket.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self { url, requests, open, arrived }
    }

    fn count(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn read_form(socket: &mut tokio::net::TcpStream) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        let read = socket.read(&mut buffer).await.unwrap();
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_ascii_lowercase();
        let length = length.lines().find_map(|line| line.strip_prefix("content-length: "));
        if length.is_some_and(|length| body.len() >= length.parse::<usize>().unwrap()) {
            return body.to_owned();
        }
    }
}

/// Answers with tokens that have their number.
fn tokens(lifetime: u64) -> Respond {
    Box::new(move |number, _| {
        let body =
            format!(r#"{{"access_token":"down.{number}","token_type":"Bearer","expires_in":{lifetime}}}"#);
        ("200 OK".to_owned(), body)
    })
}

fn refusal(head: &'static str, body: &'static str) -> Respond {
    Box::new(move |_, _| (head.to_owned(), body.to_owned()))
}

struct Rig {
    exchange: Auth0TokenExchange,
    clock: Arc<ManualClock>,
    endpoint: Endpoint,
}

impl Rig {
    async fn new(respond: Respond) -> Self {
        Self::with(true, 100, respond).await
    }

    async fn with(is_open: bool, kept_tokens: usize, respond: Respond) -> Self {
        let endpoint = Endpoint::start(is_open, respond).await;
        let clock = Arc::new(ManualClock::at(NOW));
        let options = Options {
            issuer: "https://t.example/".into(),
            token_endpoint: endpoint.url.clone(),
            client_id: "client".into(),
            credentials: Credentials::Secret(ClientSecret::new(SECRET)),
            timeout: Duration::from_secs(10),
            kept_tokens,
        };
        let exchange = Auth0TokenExchange::new(options, Arc::clone(&clock) as _);
        Self { exchange, clock, endpoint }
    }

    async fn ask(&self, token: &str, scopes: &[&str]) -> Result<DownstreamToken, DownstreamError> {
        self.ask_as(token, "orders", scopes, 3600, None).await
    }

    async fn ask_as(
        &self,
        token: &str,
        api: &str,
        scopes: &[&str],
        caller_lives: i64,
        refused: Option<&DownstreamToken>,
    ) -> Result<DownstreamToken, DownstreamError> {
        let subject_token = BearerToken::new(token).unwrap();
        let request = ExchangeRequest {
            subject_token: &subject_token,
            subject_expires_at: UnixSeconds(NOW.seconds().0 + caller_lives),
            api: &DownstreamApi {
                name: api.to_owned(),
                audience: format!("https://{api}/"),
                scopes: ScopeSet::EMPTY,
            },
            scopes: &ScopeSet::parse_all(scopes.iter().copied()).unwrap(),
            refused,
        };
        self.exchange.exchange(request).await
    }
}

/// Returns a token's text.
fn text(token: Result<DownstreamToken, DownstreamError>) -> String {
    token.unwrap().expose().to_owned()
}

#[tokio::test]
async fn a_request_is_the_one_that_auth0_documents() {
    let (seen, mut forms) = watch::channel(String::new());
    let respond = Box::new(move |number: usize, form: &str| {
        seen.send_replace(form.to_owned());
        tokens(3600)(number, form)
    });
    let rig = Rig::new(respond).await;
    let token = rig.ask("caller.token", &["b", "a"]).await.unwrap();
    assert_eq!(token.authorization(), "Bearer down.1");
    assert_eq!(token.expires_at(), UnixSeconds(NOW.seconds().0 + 3600));
    assert_eq!(token.scopes().to_string(), "b a");
    assert!(!format!("{token:?}").contains("down.1"), "{token:?}");
    let form = forms.borrow_and_update().clone();
    let expected = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&client_id=client&\
                    subject_token=caller.token&\
                    subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&\
                    requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&\
                    audience=https%3A%2F%2Forders%2F&scope=b+a&client_secret=a-client-secret";
    assert_eq!(form, expected);
}

#[tokio::test]
async fn a_token_is_kept_for_the_callers_token_the_api_and_the_scopes_in_any_order() {
    let rig = Rig::new(tokens(3600)).await;
    assert_eq!(text(rig.ask("one", &["a", "b"]).await), "down.1");
    assert_eq!(text(rig.ask("one", &["b", "a"]).await), "down.1");
    assert_eq!(text(rig.ask("one", &["a"]).await), "down.2");
    assert_eq!(text(rig.ask("two", &["a", "b"]).await), "down.3", "another caller's");
    assert_eq!(text(rig.ask_as("one", "stock", &["a", "b"], 3600, None).await), "down.4");
    assert_eq!(text(rig.ask("one", &["a", "b"]).await), "down.1");
    assert_eq!(rig.endpoint.count(), 4);
}

#[tokio::test]
async fn a_token_leaves_shortly_before_it_expires_and_with_the_callers() {
    let rig = Rig::new(tokens(300)).await;
    assert_eq!(text(rig.ask("long", &["a"]).await), "down.1");
    assert_eq!(text(rig.ask_as("short", "orders", &["a"], 100, None).await), "down.2");
    rig.clock.advance(Duration::from_secs(99));
    assert_eq!(text(rig.ask_as("short", "orders", &["a"], 100, None).await), "down.2");
    rig.clock.advance(Duration::from_secs(1));
    assert_eq!(
        text(rig.ask_as("short", "orders", &["a"], 100, None).await),
        "down.3",
        "the caller's has expired"
    );
    rig.clock.advance(Duration::from_secs(169));
    assert_eq!(text(rig.ask("long", &["a"]).await), "down.1");
    rig.clock.advance(Duration::from_secs(1));
    assert_eq!(text(rig.ask("long", &["a"]).await), "down.4", "30 s before its end");
    assert_eq!(rig.exchange.0.store.len(), 1, "what has ended is not kept");
}

#[tokio::test]
async fn what_lives_too_short_or_says_nothing_of_its_end_is_used_once() {
    for body in [
        r#"{"access_token":"down","token_type":"bearer","expires_in":30}"#,
        r#"{"access_token":"down","token_type":"Bearer"}"#,
    ] {
        let rig = Rig::new(refusal("200 OK", body)).await;
        assert_eq!(text(rig.ask("one", &["a"]).await), "down");
        assert_eq!(rig.exchange.0.store.len(), 0, "{body}");
        assert_eq!(text(rig.ask("one", &["a"]).await), "down");
        assert_eq!(rig.endpoint.count(), 2, "{body}");
    }
}

#[tokio::test]
async fn fifty_who_ask_at_once_wait_for_one_exchange() {
    let mut rig = Rig::with(false, 100, tokens(3600)).await;
    let asking = futures_util::future::join_all((0..50).map(|_| rig.ask("one", &["a"])));
    let opening = async {
        rig.endpoint.arrived.clone().wait_for(|arrived| *arrived == 1).await.unwrap();
        rig.endpoint.open.send_replace(true);
    };
    let (answers, ()) = tokio::join!(asking, opening);
    assert_eq!(answers.len(), 50);
    for answer in answers {
        assert_eq!(text(answer), "down.1");
    }
    assert_eq!((rig.endpoint.count(), *rig.endpoint.arrived.borrow_and_update()), (1, 1));
}

#[tokio::test]
async fn an_exchange_goes_on_when_whoever_asked_first_has_gone() {
    let rig = Rig::with(false, 100, tokens(3600)).await;
    {
        let asking = std::pin::pin!(rig.ask("one", &["a"]));
        let mut arrived = rig.endpoint.arrived.clone();
        let arrived = std::pin::pin!(arrived.wait_for(|arrived| *arrived == 1));
        assert!(matches!(select(asking, arrived).await, Either::Right(_)));
    }
    rig.endpoint.open.send_replace(true);
    assert_eq!(text(rig.ask("one", &["a"]).await), "down.1");
    assert_eq!(rig.endpoint.count(), 1);
}

#[tokio::test]
async fn a_token_that_the_api_refused_is_replaced_once_for_all_who_were_refused() {
    let rig = Rig::new(tokens(3600)).await;
    let first = rig.ask("one", &["a"]).await.unwrap();
    let instead = |refused| rig.ask_as("one", "orders", &["a"], 3600, Some(refused));
    assert_eq!(text(instead(&first).await), "down.2");
    assert_eq!(text(instead(&first).await), "down.2", "another has been had already");
    assert_eq!(text(rig.ask("one", &["a"]).await), "down.2");
    assert_eq!(rig.endpoint.count(), 2);
}

#[tokio::test]
async fn an_api_that_refuses_every_token_costs_an_exchange_a_minute_and_not_one_for_each_call() {
    let rig = Rig::new(tokens(3600)).await;
    let instead = |refused| rig.ask_as("one", "orders", &["a"], 3600, Some(refused));
    let first = rig.ask("one", &["a"]).await.unwrap();
    let second = instead(&first).await.unwrap();
    for _ in 0..10 {
        assert_eq!(instead(&second).await.unwrap(), second);
    }
    rig.clock.advance(Duration::from_secs(59));
    assert_eq!(instead(&second).await.unwrap(), second);
    rig.clock.advance(Duration::from_secs(1));
    assert_eq!(text(instead(&second).await), "down.3");
}

#[tokio::test]
async fn no_more_tokens_are_kept_than_there_is_room_for() {
    let rig = Rig::with(true, 3, tokens(3600)).await;
    for caller in 0..10 {
        rig.clock.advance(Duration::from_secs(1));
        rig.ask(&format!("caller{caller}"), &["a"]).await.unwrap();
        assert!(rig.exchange.0.store.len() <= 3);
    }
    assert_eq!(text(rig.ask("caller9", &["a"]).await), "down.10", "the last is kept");
    assert_eq!(text(rig.ask("caller0", &["a"]).await), "down.11", "the first to expire left");
}

#[tokio::test]
async fn where_there_is_no_room_for_another_exchange_it_is_for_later() {
    let rig = Rig::with(false, 1, tokens(3600)).await;
    let first = rig.ask("one", &["a"]);
    let second = async {
        rig.endpoint.arrived.clone().wait_for(|arrived| *arrived == 1).await.unwrap();
        let refused = rig.ask("two", &["a"]).await.unwrap_err();
        rig.endpoint.open.send_replace(true);
        refused
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(text(first), "down.1");
    assert_eq!(second, DownstreamError::LimitReached { retry_after: SOON });
    assert_eq!(rig.endpoint.count(), 1);
}

#[tokio::test]
async fn a_refusal_stands_for_half_a_minute_and_for_its_token_alone() {
    let rig = Rig::new(Box::new(|number, form| match number {
        1 => {
            ("403 Forbidden".to_owned(), r#"{"error":"consent_required","error_description":"x"}"#.to_owned())
        }
        _ => tokens(3600)(number, form),
    }))
    .await;
    let refused = Err(DownstreamError::ConsentRequired { api: "orders".into() });
    for _ in 0..10 {
        assert_eq!(rig.ask("one", &["a"]).await, refused);
    }
    assert_eq!(rig.endpoint.count(), 1);
    assert_eq!(text(rig.ask("one-after-another-login", &["a"]).await), "down.2");
    rig.clock.advance(Duration::from_secs(29));
    assert_eq!(rig.ask("one", &["a"]).await, refused);
    rig.clock.advance(Duration::from_secs(1));
    assert_eq!(text(rig.ask("one", &["a"]).await), "down.3");
}

#[tokio::test]
async fn an_answer_that_says_nothing_of_the_request_is_not_kept() {
    let rig = Rig::new(Box::new(|number, form| match number {
        1 => ("503 Service Unavailable".to_owned(), String::new()),
        _ => tokens(3600)(number, form),
    }))
    .await;
    assert!(matches!(rig.ask("one", &["a"]).await, Err(DownstreamError::Unavailable { .. })));
    assert_eq!(rig.exchange.0.store.len(), 0);
    assert_eq!(text(rig.ask("one", &["a"]).await), "down.2");
}

#[tokio::test]
async fn while_the_tenants_limit_lasts_no_kept_token_makes_room() {
    let rig = Rig::with(
        true,
        1,
        Box::new(|number, form| match number {
            1 => tokens(3600)(number, form),
            _ => ("429 Too Many Requests\r\nRetry-After: 60".to_owned(), String::new()),
        }),
    )
    .await;
    rig.ask("one", &["a"]).await.unwrap();
    // It makes room for this one, which learns of the limit.
    assert!(rig.ask("two", &["a"]).await.is_err());
    assert_eq!(rig.exchange.0.store.len(), 0);
    let limited = rig.ask("three", &["a"]).await;
    assert!(matches!(limited, Err(DownstreamError::LimitReached { .. })));
    assert_eq!(rig.endpoint.count(), 2);
}

#[tokio::test]
async fn the_tenants_limit_stops_all_exchanges_until_it_says_so_and_no_kept_token() {
    let rig = Rig::new(Box::new(|number, form| match number {
        2 => ("429 Too Many Requests\r\nRetry-After: 7".to_owned(), "{}".to_owned()),
        _ => tokens(3600)(number, form),
    }))
    .await;
    let limit = |seconds| DownstreamError::LimitReached { retry_after: Duration::from_secs(seconds) };
    assert_eq!(text(rig.ask("one", &["a"]).await), "down.1");
    assert_eq!(rig.ask("two", &["a"]).await.unwrap_err(), limit(7));
    rig.clock.advance(Duration::from_secs(4));
    assert_eq!(rig.ask("three", &["a"]).await.unwrap_err(), limit(3));
    assert_eq!(rig.endpoint.count(), 2, "nothing is asked meanwhile");
    assert_eq!(text(rig.ask("one", &["a"]).await), "down.1");
    rig.clock.advance(Duration::from_secs(3));
    assert_eq!(text(rig.ask("three", &["a"]).await), "down.3");
}

#[tokio::test]
async fn refusals_are_told_apart_by_who_has_to_do_what() {
    let api = || "orders".to_owned();
    let scopes = || ScopeSet::parse_all(["a"]).unwrap();
    let misconfigured = Failure::misconfigured("").error;
    let denied = DownstreamError::Denied { api: api() };
    let unavailable =
        Failure::unavailable(&DownstreamApi { name: api(), audience: String::new(), scopes: scopes() }, "")
            .error;
    for (head, body, expected) in [
        ("403 F", r#"{"error":"consent_required"}"#, DownstreamError::ConsentRequired { api: api() }),
        ("400 B", r#"{"error":"interaction_required"}"#, DownstreamError::ConsentRequired { api: api() }),
        ("403 F", r#"{"error":"mfa_required","mfa_token":"t"}"#, DownstreamError::MfaRequired { api: api() }),
        ("401 U", r#"{"error":"invalid_grant"}"#, DownstreamError::LoginRequired { api: api() }),
        ("400 B", r#"{"error":"login_required"}"#, DownstreamError::LoginRequired { api: api() }),
        ("403 F", r#"{"error":"access_denied"}"#, denied),
        (
            "400 B",
            r#"{"error":"invalid_scope"}"#,
            DownstreamError::ScopesMissing { api: api(), missing: scopes() },
        ),
        // What Auth0 says of a wrong secret.
        ("401 U", r#"{"error":"access_denied","error_description":"Unauthorized"}"#, misconfigured.clone()),
        ("401 U", r#"{"error":"invalid_client"}"#, misconfigured.clone()),
        ("403 F", r#"{"error":"unauthorized_client"}"#, misconfigured.clone()),
        ("400 B", r#"{"error":"unsupported_grant_type"}"#, misconfigured.clone()),
        ("400 B", r#"{"error":"invalid_request"}"#, misconfigured.clone()),
        ("400 B", r#"{"error":"use_dpop_nonce"}"#, misconfigured.clone()),
        ("404 N", "<html>", misconfigured.clone()),
        ("302 Found\r\nLocation: http://127.0.0.1:1/", "", misconfigured.clone()),
        ("200 OK", r#"{"access_token":"t","token_type":"DPoP","expires_in":1}"#, misconfigured.clone()),
        (
            "200 OK",
            r#"{"access_token":"t","token_type":"Bearer","issued_token_type":"urn:ietf:params:oauth:token-type:jwt"}"#,
            misconfigured,
        ),
        ("500 I", r#"{"error":"consent_required"}"#, unavailable.clone()),
        ("503 S", "", unavailable.clone()),
        ("200 OK", "<html>", unavailable.clone()),
        ("200 OK", r#"{"access_token":"a b","token_type":"Bearer"}"#, unavailable.clone()),
        ("200 OK", r#"{"access_token":"t","access_token":"u","token_type":"Bearer"}"#, unavailable.clone()),
        (
            "200 OK",
            r#"{"access_token":"t","token_type":"Bearer","scope":"b c"}"#,
            DownstreamError::ScopesMissing { api: api(), missing: scopes() },
        ),
        ("429 T", "", DownstreamError::LimitReached { retry_after: Duration::from_secs(1) }),
        (
            "429 T\r\nRetry-After: 100000",
            "",
            DownstreamError::LimitReached { retry_after: Duration::from_mins(5) },
        ),
        (
            "429 T\r\nRetry-After: -1",
            "",
            DownstreamError::LimitReached { retry_after: Duration::from_secs(1) },
        ),
        (
            "429 T\r\nx-ratelimit-reset: 1795395887\r\nDate: Mon, 23 Nov 2026 01:04:37 GMT",
            "",
            DownstreamError::LimitReached { retry_after: Duration::from_secs(10) },
        ),
    ] {
        let rig = Rig::new(refusal(head, body)).await;
        assert_eq!(rig.ask("one", &["a"]).await.unwrap_err(), expected, "{head} {body}");
        let kept = usize::from(is_final(&expected));
        assert_eq!((rig.endpoint.count(), rig.exchange.0.store.len()), (1, kept), "{head} {body}");
    }
}

#[tokio::test]
async fn an_answer_without_end_and_an_endpoint_that_is_gone_are_unavailable() {
    let long = || format!(r#"{{"access_token":"t","token_type":"Bearer","x":"{}"}}"#, "x".repeat(1 << 20));
    let rig = Rig::new(Box::new(move |_, _| ("200 OK".to_owned(), long()))).await;
    assert!(matches!(rig.ask("one", &["a"]).await, Err(DownstreamError::Unavailable { .. })));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let options = Options { token_endpoint: nowhere, ..options(&rig.endpoint) };
    let rig = Rig { exchange: Auth0TokenExchange::new(options, Arc::clone(&rig.clock) as _), ..rig };
    assert!(matches!(rig.ask("one", &["a"]).await, Err(DownstreamError::Unavailable { .. })));
}

fn options(endpoint: &Endpoint) -> Options {
    Options {
        issuer: "https://t.example/".into(),
        token_endpoint: endpoint.url.clone(),
        client_id: "client".into(),
        credentials: Credentials::Secret(ClientSecret::new(SECRET)),
        timeout: Duration::from_secs(10),
        kept_tokens: 10,
    }
}

/// What the authorization server says may repeat what it was sent.
#[tokio::test]
async fn neither_the_callers_token_nor_the_secret_is_in_an_error_or_in_what_is_logged() {
    let endpoint = Endpoint::start(
        true,
        Box::new(|_, form| {
            // The secret is the last of the parameters, and what is shown is cut.
            let parameters: Vec<&str> = form.split('&').rev().collect();
            let form = parameters.join(" ");
            let body = format!(r#"{{"error":"invalid_request","error_description":"\u001b[2Jbad: {form}"}}"#);
            ("400 Bad Request".to_owned(), body)
        }),
    )
    .await;
    let asked = Ask {
        subject_token: BearerToken::new("caller.token").unwrap(),
        api: DownstreamApi {
            name: "orders".into(),
            audience: "https://orders/".into(),
            scopes: ScopeSet::EMPTY,
        },
        scopes: ScopeSet::from_iter([Scope::parse("a").unwrap()]),
        now: UnixSeconds(0),
    };
    let failure =
        Arc::new(TokenEndpoint::new(options(&endpoint))).exchange_on_thread(asked).await.unwrap_err();
    let (said, error) = (failure.said, format!("{:?} {}", failure.error, failure.error));
    assert!(said.contains("invalid_request") && said.contains("client_secret=(redacted)"), "{said}");
    assert!(!said.contains('\u{1b}') && said.len() < 1000, "{said}");
    for secret in ["caller.token", SECRET] {
        assert!(!said.contains(secret) && !error.contains(secret), "{said} {error}");
    }
    let shown = format!("{:?}", options(&endpoint));
    assert!(!shown.contains(SECRET), "{shown}");
}
