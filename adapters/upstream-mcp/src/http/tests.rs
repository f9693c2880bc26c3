//! Tests of the HTTP client, beside servers on loopback.

use std::convert::Infallible;
use std::io;

use domain::UnixMillis;
use fakes::ManualClock;
use futures_util::FutureExt as _;
use http_body_util::StreamBody;
use http_body_util::combinators::BoxBody;
use hyper::body::Frame;
use hyper::header::{LOCATION, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rmcp::model::{GetExtensions as _, ServerCapabilities, ServerConfig};
use rmcp::transport::streamable_http_server::StreamableHttpServerConfig;
use rmcp::transport::streamable_http_server::StreamableHttpService;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::{ServerHandler, ServiceExt as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::wire::{Event, Reading, Registration, Source};

const MAX_BYTES: usize = 1000;

type Answer = Response<BoxBody<Bytes, io::Error>>;

/// What a server was asked.
struct Asked {
    method: Method,
    headers: HeaderMap,
    body: Value,
}

impl Asked {
    fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A server on loopback.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    async fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // The query is a secret, which no error may have.
        let url = format!("http://{}/mcp?key=secret", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let server = Self { url, asked: Arc::clone(&asked) };
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, asked) = (Arc::clone(&answer), Arc::clone(&asked));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (answer, asked) = (Arc::clone(&answer), Arc::clone(&asked));
                    async move {
                        assert_eq!(request.uri(), "/mcp?key=secret");
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let body = serde_json::from_slice(&body).unwrap_or_default();
                        let new = Asked { method: head.method, headers: head.headers, body };
                        let answer = answer(&new);
                        asked.lock().unwrap().push(new);
                        Ok::<_, Infallible>(answer)
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        server
    }

    fn http(&self) -> Http {
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", HeaderValue::from_static("secret"));
        Http { url: self.url.parse().unwrap(), headers }
    }

    fn client(&self, wire: &Arc<Wire>) -> HttpClient {
        new_client(&self.http(), wire).unwrap()
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, Vec<Asked>> {
        self.asked.lock().unwrap()
    }
}

fn new_client(http: &Http, wire: &Arc<Wire>) -> Result<HttpClient, SetupError> {
    HttpClient::new("a", http, &Limits::default(), Arc::clone(wire), clock())
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::at(UnixMillis(0)))
}

/// An answer whose body comes in parts, with its length only if it is one.
fn answer(status: u16, media_type: &str, parts: Vec<io::Result<String>>) -> Answer {
    let mut parts = parts.into_iter().map(|part| part.map(Bytes::from)).collect::<Vec<_>>();
    let body = if let [Ok(whole)] = parts.as_mut_slice() {
        Full::new(std::mem::take(whole)).map_err(|never| match never {}).boxed()
    } else {
        // Each part is sent before the next, which may be an error, is asked for.
        let parts = stream::iter(parts).then(|part| async {
            tokio::task::yield_now().await;
            part.map(Frame::data)
        });
        BoxBody::new(StreamBody::new(parts))
    };
    let answer = Response::builder().status(status).header(CONTENT_TYPE, media_type);
    answer.header(HEADER_SESSION_ID, "session").body(body).unwrap()
}

fn json_text(text: impl Into<String>) -> Answer {
    answer(200, "Application/JSON; charset=utf-8", vec![Ok(text.into())])
}

/// A stream of events that comes in parts.
fn events(parts: &[&str]) -> Answer {
    answer(
        200,
        "text/event-stream",
        parts.iter().map(|part| Ok((*part).to_owned())).chain([Ok(String::new())]).collect(),
    )
}

fn status(status: u16) -> Answer {
    answer(status, "text/plain", vec![Ok("secret".to_owned())])
}

fn message(value: Value) -> ClientJsonRpcMessage {
    serde_json::from_value(value).unwrap()
}

fn request(id: i64) -> ClientJsonRpcMessage {
    message(json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "a"}}))
}

fn initialized() -> ClientJsonRpcMessage {
    message(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
}

fn discover() -> ClientJsonRpcMessage {
    let request = ClientRequest::DiscoverRequest(rmcp::model::DiscoverRequest::default());
    JsonRpcMessage::request(request, RequestId::Number(1))
}

/// A call under way, with a header field of its own.
fn call(wire: &Arc<Wire>, id: i64) -> (Registration, ClientJsonRpcMessage) {
    let fields = [(HeaderName::from_static("x-caller"), HeaderValue::from_static("somebody"))];
    let call = wire.register(Reading::Call, Source::Caller("a".into()), fields.into_iter().collect());
    let mut request = request(id);
    if let JsonRpcMessage::Request(request) = &mut request {
        request.request.extensions_mut().insert(call.key);
    }
    (call, request)
}

async fn post(
    client: &HttpClient,
    message: ClientJsonRpcMessage,
    session: Option<&str>,
) -> Result<StreamableHttpPostResponse> {
    let mut limits = StreamableHttpResponseLimits::default();
    (limits.max_json_response_size, limits.max_sse_event_size) = (MAX_BYTES, MAX_BYTES);
    let custom = [(HeaderName::from_static("mcp-protocol-version"), HeaderValue::from_static("2025-06-18"))];
    let custom = custom.into_iter().collect();
    client
        .post_message_with_response_limits("".into(), message, session.map(Arc::from), None, custom, limits)
        .await
}

async fn get(client: &HttpClient, session: Option<&str>, last_event_id: Option<&str>) -> Result<Events> {
    let last_event_id = last_event_id.map(str::to_owned);
    let session = session.map(Arc::from);
    client
        .get_stream_with_max_sse_event_size(
            "".into(),
            session,
            last_event_id,
            None,
            HashMap::new(),
            MAX_BYTES,
        )
        .await
}

/// Posts a request with id 1 outside of a session to a server that gives this answer.
async fn answered(answer: impl Fn() -> Answer + Send + Sync + 'static) -> Result<StreamableHttpPostResponse> {
    let server = Server::start(move |_| answer()).await;
    let response = post(&server.client(&Arc::default()), request(1), None).await;
    if let Err(error) = &response {
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
    response
}

async fn error(answer: impl Fn() -> Answer + Send + Sync + 'static) -> String {
    answered(answer).await.unwrap_err().to_string()
}

fn json_of(response: Result<StreamableHttpPostResponse>) -> Value {
    match response.unwrap() {
        StreamableHttpPostResponse::Json(message, _) => serde_json::to_value(message).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn events_of(response: Result<StreamableHttpPostResponse>) -> Events {
    match response.unwrap() {
        StreamableHttpPostResponse::Sse(events, _) => events,
        other => panic!("{other:?}"),
    }
}

async fn all(events: Events) -> Vec<Sse> {
    events.map(|event| event.unwrap()).collect().await
}

fn data(event: &Sse) -> Value {
    serde_json::from_str(event.data.as_ref().unwrap()).unwrap()
}

fn next_log(call: &mut Registration) -> Option<Value> {
    match call.events.try_recv() {
        Ok(Event::Log(message)) => Some(message.data),
        _ => None,
    }
}

const LOG: &str =
    r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"hi"}}"#;
const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"a":1}}"#;

#[tokio::test]
async fn a_request_has_its_own_fields_and_those_of_the_configuration_and_of_its_call() {
    let server = Server::start(|_| json_text(RESULT)).await;
    let wire = Arc::default();
    let mut http = server.http();
    for (name, value) in
        [("accept", "a/b"), ("mcp-session-id", "b"), ("content-length", "1"), ("connection", "close")]
    {
        http.headers.insert(name, HeaderValue::from_static(value));
    }
    let client = new_client(&http, &wire).unwrap();
    let (_call, request) = call(&wire, 1);
    post(&client, request, Some("s")).await.unwrap();
    post(&client, initialized(), Some("s")).await.unwrap();
    let asked = server.asked();
    let expected = [
        ("accept", "application/json, text/event-stream"),
        ("content-type", "application/json"),
        ("mcp-protocol-version", "2025-06-18"),
        ("mcp-session-id", "s"),
        ("user-agent", AGENT),
        ("x-api-key", "secret"),
        ("x-caller", "somebody"),
    ];
    let fields = |asked: &Asked| {
        let mut names: Vec<_> = asked.headers.keys().map(|name| name.as_str().to_owned()).collect();
        names.sort();
        names.retain(|name| !matches!(name.as_str(), "host" | "content-length"));
        names
    };
    assert_eq!(asked[0].method, Method::POST);
    assert_eq!(asked[0].body["method"], "tools/call");
    for (name, value) in expected {
        assert_eq!(asked[0].field(name), Some(value));
    }
    assert_eq!(fields(&asked[0]), expected.map(|(name, _)| name));
    // What is of one call is of no other message.
    assert_eq!(
        fields(&asked[1]),
        [&expected[..6]].concat().iter().map(|(name, _)| *name).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_result_goes_to_the_wire_and_a_stub_to_rmcp() {
    let server = Server::start(|_| json_text(RESULT)).await;
    let wire = Arc::default();
    let client = server.client(&wire);
    let (call, request) = call(&wire, 1);
    let response = post(&client, request, None).await.unwrap();
    let StreamableHttpPostResponse::Json(message, session) = response else { panic!("{response:?}") };
    assert_eq!(serde_json::to_value(message).unwrap(), json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
    assert_eq!(session.as_deref(), Some("session"));
    assert_eq!(call.result.take().unwrap().get("a").unwrap().get(), "1");
}

#[tokio::test]
async fn an_answer_to_another_request_is_none_and_does_not_reach_that() {
    let server = Server::start(|_| json_text(RESULT)).await;
    let wire = Arc::default();
    let client = server.client(&wire);
    let (one, request_one) = call(&wire, 1);
    wire.sending(&request_one);
    let (_two, request_two) = call(&wire, 2);
    let error = post(&client, request_two, None).await.unwrap_err();
    assert!(error.to_string().contains("no response to the request"), "{error}");
    assert!(one.result.take().is_none());
}

#[tokio::test]
async fn what_is_no_response_is_an_error_of_the_call() {
    let deep = format!("{}{}", "[".repeat(400), "]".repeat(400));
    for text in [
        "",
        "null",
        "[]",
        "secret",
        "{}",
        "\u{0}",
        r#"[{"jsonrpc":"2.0","id":1,"result":{}}]"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","result":{}}"#,
        &RESULT[..20],
        &deep,
        LOG,
    ] {
        let text = text.to_owned();
        let error = error(move || json_text(text.clone())).await;
        assert!(error.contains("no response to the request"), "{error}");
    }
    // It is one, but one that rmcp's types can't hold.
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"a":{deep}}}}}"#);
    let response = answered(move || json_text(text.clone())).await;
    assert_eq!(json_of(response)["error"]["code"], -32603);
}

#[tokio::test]
async fn an_error_answers_its_request_whatever_its_id() {
    for (status, id) in [(200, "null"), (400, "null"), (400, "\"server-error\""), (500, "9"), (404, "1")] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32000,"message":"no"}}}}"#);
        let response = answered(move || answer(status, "application/json", vec![Ok(text.clone())])).await;
        let error = json!({"code": -32000, "message": "no"});
        assert_eq!(json_of(response), json!({"jsonrpc": "2.0", "id": 1, "error": error}), "{status} {id}");
    }
}

#[tokio::test]
async fn a_body_is_bounded_whether_it_says_its_length_or_not() {
    let text = |bytes: usize| format!("{}{RESULT}", " ".repeat(bytes - RESULT.len()));
    let parts = move |bytes: usize| {
        text(bytes).as_bytes().chunks(100).map(|part| Ok(String::from_utf8(part.to_vec()).unwrap())).collect()
    };
    for is_one_part in [true, false] {
        let body = move |bytes| {
            answer(200, "application/json", if is_one_part { vec![Ok(text(bytes))] } else { parts(bytes) })
        };
        assert_eq!(json_of(answered(move || body(MAX_BYTES)).await)["id"], 1);
        let error = error(move || body(MAX_BYTES + 1)).await;
        assert_eq!(error, "HTTP response body exceeded the maximum size of 1000 bytes");
    }
    // One without an end is not waited for.
    let endless = stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(&[b' '; 100]))));
    let endless = move || {
        Response::builder()
            .header(CONTENT_TYPE, "application/json")
            .body(BoxBody::new(StreamBody::new(endless.clone())))
            .unwrap()
    };
    assert!(error(endless).await.contains("exceeded"));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_of_the_call() {
    let broken =
        || answer(200, "application/json", vec![Ok(RESULT.to_owned()), Err(io::Error::other("broken"))]);
    assert!(error(broken).await.contains("the connection to the upstream broke"));
}

#[tokio::test]
async fn another_content_type_is_an_error_of_the_call() {
    let html = || answer(200, "text/html; charset=secret", vec![Ok("<html>".to_owned())]);
    let expected =
        "Client error: the upstream answered with text/html, which is neither JSON nor an event stream";
    assert_eq!(error(html).await, expected);
    let none = || answer(200, "", vec![Ok(RESULT.to_owned())]);
    assert!(error(none).await.contains("answered with no content type"));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for code in [301, 302, 303, 307, 308] {
        let target = Server::start(|_| json_text(RESULT)).await;
        let location = target.url.clone();
        let redirect = move || {
            let mut answer = status(code);
            answer.headers_mut().insert(LOCATION, location.parse().unwrap());
            answer
        };
        let error = error(redirect.clone()).await;
        assert!(
            {
                let without_query = target.url.as_str().split('?').next().unwrap();
                error.contains(&format!("the upstream redirects to {without_query} ({code})"))
            },
            "{error}"
        );
        let server = Server::start(move |_| redirect()).await;
        assert!(get(&server.client(&Arc::default()), None, None).await.is_err());
        assert!(target.asked().is_empty());
    }
}

#[tokio::test]
async fn statuses_say_what_became_of_a_request() {
    let challenge = |code| {
        move || {
            let mut answer = status(code);
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=secret"));
            answer
        }
    };
    assert!(error(challenge(401)).await.contains("refuses access (401)"));
    assert!(error(challenge(403)).await.contains("refuses access (403)"));
    assert!(error(|| status(400)).await.contains("HTTP status 400"));
    assert!(error(|| status(404)).await.contains("answered 404: is the path"));
    assert!(error(|| status(202)).await.contains("answered a request with 202"));
    for code in [429, 500, 503] {
        let error = answered(move || status(code)).await.unwrap_err();
        assert!(matches!(error, StreamableHttpError::HttpStatus(error) if error.status == code));
    }
    let server = Server::start(|asked| status(if asked.body["id"] == 1 { 404 } else { 202 })).await;
    let client = server.client(&Arc::default());
    let expired = post(&client, request(1), Some("s")).await;
    assert!(matches!(expired, Err(StreamableHttpError::SessionExpired)));
    // Its answer may come on the session's stream.
    let accepted = post(&client, request(2), Some("s")).await;
    assert!(matches!(accepted, Ok(StreamableHttpPostResponse::Accepted)));
}

#[tokio::test]
async fn a_notification_needs_no_answer_but_success() {
    for code in [200, 202, 204] {
        let server = Server::start(move |_| status(code)).await;
        let response = post(&server.client(&Arc::default()), initialized(), None).await;
        assert!(matches!(response, Ok(StreamableHttpPostResponse::Accepted)));
    }
    // A stream without an end is not waited for.
    let endless = || {
        let body = StreamBody::new(stream::pending::<io::Result<Frame<Bytes>>>());
        Response::builder().header(CONTENT_TYPE, "text/event-stream").body(BoxBody::new(body)).unwrap()
    };
    let server = Server::start(move |_| endless()).await;
    assert!(post(&server.client(&Arc::default()), initialized(), None).await.is_ok());
    for code in [400, 401, 500] {
        let server = Server::start(move |_| status(code)).await;
        assert!(post(&server.client(&Arc::default()), initialized(), None).await.is_err());
    }
}

#[tokio::test]
async fn a_server_that_does_not_know_discovery_is_an_older_one() {
    for code in [400, 404, 405] {
        let server = Server::start(move |_| status(code)).await;
        let error = json_of(post(&server.client(&Arc::default()), discover(), None).await);
        assert_eq!((&error["id"], &error["error"]["code"]), (&json!(1), &json!(-32600)));
        assert!(!error.to_string().contains("secret"));
    }
    for code in [401, 403, 500] {
        let server = Server::start(move |_| status(code)).await;
        assert!(post(&server.client(&Arc::default()), discover(), None).await.is_err());
    }
}

#[tokio::test]
async fn events_go_through_the_wire_and_keep_what_resumes_them() {
    let text = format!(
        "id: 1\nretry: 0\n\nevent: message\nid: 2\ndata: {LOG}\n\n: ping\n\nevent: ping\ndata: {RESULT}\n\n\
         data: no JSON\n\ndata:\n\nid: 3\nretry: 9999999999\ndata: {RESULT}\n\n"
    );
    let (first, last) = text.split_at(50);
    let parts = [first.to_owned(), last.to_owned()];
    let server = Server::start(move |_| events(&parts.each_ref().map(String::as_str))).await;
    let wire = Arc::default();
    let (mut one, request) = call(&wire, 1);
    let (mut two, request_two) = call(&wire, 2);
    wire.sending(&request_two);
    let all = all(events_of(post(&server.client(&wire), request, None).await)).await;
    let stub = json!({"jsonrpc": "2.0", "id": 1, "result": {}}).to_string();
    assert_eq!(
        all,
        [
            Sse::default().id("1").retry(*RETRY.start()),
            Sse::default().id("2"),
            Sse::default().id("3").retry(*RETRY.end()).data(stub),
        ]
    );
    assert_eq!(next_log(&mut one), Some(json!("hi")));
    assert!(one.result.take().is_some());
    assert_eq!(next_log(&mut two), None);
}

#[tokio::test]
async fn an_event_that_is_too_long_is_an_error_of_its_call_and_no_more() {
    let long = "a".repeat(MAX_BYTES);
    let text = format!(
        "data: {}\n\ndata: {LOG}\n\nid: 5\ndata: {}\n\n",
        LOG.replace("hi", &long),
        RESULT.replace(":1}}", &format!(":\"{long}\"}}}}"))
    );
    let server = Server::start(move |_| events(&[&text])).await;
    let wire = Arc::default();
    let (mut call, request) = call(&wire, 1);
    let all = all(events_of(post(&server.client(&wire), request, None).await)).await;
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].id.as_deref(), Some("5"));
    assert_eq!(data(&all[0])["error"]["message"], "the upstream's answer is too long");
    assert_eq!(next_log(&mut call), Some(json!("hi")));
}

#[tokio::test]
async fn a_stream_that_ends_before_its_result_is_an_error_unless_it_can_be_resumed() {
    for is_broken in [false, true] {
        for id in ["", "id: 1\n"] {
            let part = format!("{id}data: {LOG}\n\n");
            let stream = move |_: &Asked| {
                let last = if is_broken { Err(io::Error::other("broken")) } else { Ok(String::new()) };
                answer(200, "text/event-stream", vec![Ok(part.clone()), last])
            };
            let server = Server::start(stream).await;
            let all = all(events_of(post(&server.client(&Arc::default()), request(1), None).await)).await;
            assert_eq!(all.len(), 1);
            if id.is_empty() {
                assert_eq!(data(&all[0])["id"], 1);
                assert_eq!(
                    data(&all[0])["error"]["message"],
                    "the upstream's response ended before its result"
                );
            } else {
                assert_eq!(all[0], Sse::default().id("1"));
            }
        }
    }
}

#[tokio::test]
async fn a_resumed_stream_is_its_call_s() {
    let server = Server::start(|asked| match asked.field("last-event-id") {
        None if asked.method == Method::POST => events(&[&format!("id: e{}\ndata:\n\n", asked.body["id"])]),
        None => events(&["id: e8\ndata:\n\n"]),
        Some("e1") => events(&[&format!("id: e1b\ndata: {LOG}\n\n")]),
        Some("e1b") => events(&[&format!("data: {LOG}\n\ndata: {RESULT}\n\n")]),
        Some(_) => events(&[&format!("data: {LOG}\n\n")]),
    })
    .await;
    let wire = Arc::default();
    let client = server.client(&wire);
    let (mut one, request_one) = call(&wire, 1);
    let (mut two, request_two) = call(&wire, 2);
    assert_eq!(all(events_of(post(&client, request_one, Some("s")).await)).await, [Sse::default().id("e1")]);
    all(events_of(post(&client, request_two, Some("s")).await)).await;
    assert_eq!(client.resumable().0.len(), 2);

    assert_eq!(all(get(&client, Some("s"), Some("e1")).await.unwrap()).await, [Sse::default().id("e1b")]);
    assert_eq!(next_log(&mut one), Some(json!("hi")));
    let last = all(get(&client, Some("s"), Some("e1b")).await.unwrap()).await;
    assert_eq!(data(&last[0])["id"], 1);
    assert_eq!(next_log(&mut one), Some(json!("hi")));
    assert!(one.result.take().is_some());
    assert_eq!(next_log(&mut two), None);
    // An answered one is forgotten, and of any other event nobody knows whose it is.
    assert_eq!(client.resumable().0, [("e2".to_owned(), Owner::Request(RequestId::Number(2)))]);
    all(get(&client, Some("s"), Some("e1b")).await.unwrap()).await;
    assert_eq!((next_log(&mut one), next_log(&mut two)), (None, None));

    let asked = server.asked();
    let resumed = asked.iter().find(|asked| asked.field("last-event-id") == Some("e1")).unwrap();
    let fields = ["accept", "mcp-session-id", "x-api-key"].map(|name| resumed.field(name));
    assert_eq!(fields, [Some("text/event-stream"), Some("s"), Some("secret")]);
    assert_eq!((&resumed.method, resumed.field("x-caller")), (&Method::GET, None));
}

#[tokio::test]
async fn one_event_id_for_several_streams_is_no_call_s() {
    let server = Server::start(|asked| match asked.field("last-event-id") {
        None => events(&["id: 1\ndata:\n\n"]),
        Some(_) => events(&[&format!("data: {LOG}\n\n")]),
    })
    .await;
    let wire = Arc::default();
    let client = server.client(&wire);
    let (mut one, request_one) = call(&wire, 1);
    let (mut two, request_two) = call(&wire, 2);
    for request in [request_one, request_two] {
        all(events_of(post(&client, request, Some("s")).await)).await;
    }
    all(get(&client, Some("s"), Some("1")).await.unwrap()).await;
    assert_eq!((next_log(&mut one), next_log(&mut two)), (None, None));
}

#[test]
fn what_may_be_resumed_is_bounded() {
    let mut resumable = Resumable::default();
    for number in 0..1000 {
        resumable.remember(&format!("e{number}"), &Owner::Request(RequestId::Number(number)));
    }
    assert_eq!(resumable.0.len(), MAX_RESUMABLE);
    assert_eq!(resumable.owner("e999"), Some(Owner::Request(RequestId::Number(999))));
    assert_eq!(resumable.owner("e0"), None);
}

#[tokio::test]
async fn an_event_id_that_fits_no_header_field_is_left_out() {
    let text = format!("id: {}\ndata: {LOG}\n\nid: a\u{7f}b\ndata: {LOG}\n\n", "a".repeat(MAX_EVENT_ID));
    let server = Server::start(move |_| events(&[&text])).await;
    let wire = Arc::default();
    let client = server.client(&wire);
    let all = all(get(&client, None, None).await.unwrap()).await;
    assert!(all.is_empty(), "{all:?}");
}

#[tokio::test]
async fn statuses_say_whether_there_is_a_stream() {
    let refusal = |code| async move {
        let challenged = move |_: &Asked| {
            let mut answer = status(code);
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=secret"));
            answer
        };
        let server = Server::start(challenged).await;
        let error = get(&server.client(&Arc::default()), Some("s"), None).await.err().unwrap();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        error
    };
    assert!(matches!(refusal(405).await, StreamableHttpError::ServerDoesNotSupportSse));
    assert!(matches!(refusal(404).await, StreamableHttpError::SessionExpired));
    assert!(matches!(refusal(401).await, StreamableHttpError::AuthRequired(_)));
    assert!(matches!(refusal(500).await, StreamableHttpError::Client(HttpError::Status(500))));
    let other = refusal(200).await;
    assert!(matches!(other, StreamableHttpError::Client(HttpError::ContentType(_))), "{other:?}");
}

#[tokio::test]
async fn a_session_is_deleted_if_the_server_can() {
    for (code, is_ok) in [(200, true), (204, true), (404, true), (405, true), (403, false), (500, false)] {
        let server = Server::start(move |_| status(code)).await;
        let client = server.client(&Arc::default());
        let deleted = client.delete_session("".into(), "s".into(), None, HashMap::new()).await;
        assert_eq!(deleted.is_ok(), is_ok, "{code}");
        let asked = server.asked();
        assert_eq!((&asked[0].method, asked[0].field("mcp-session-id")), (&Method::DELETE, Some("s")));
    }
    let server = Server::start(|_| status(200)).await;
    let client = server.client(&Arc::default());
    assert!(client.delete_session("".into(), "s\n".into(), None, HashMap::new()).await.is_err());
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn what_can_not_be_reached_is_said_without_the_query() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let http = |url: &str| Http { url: url.parse().unwrap(), headers: HeaderMap::new() };
    let client = new_client(&http(&format!("http://{address}/mcp?key=secret")), &Arc::default()).unwrap();
    let error = post(&client, request(1), None).await.unwrap_err();
    assert!(error.to_string().contains("the upstream can't be reached: Connection refused"), "{error}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    for url in ["http://user@example.org/", "http://:secret@example.org/"] {
        let error = new_client(&http(url), &Arc::default()).err().unwrap();
        assert!(matches!(error, SetupError::Userinfo));
    }
}

#[tokio::test]
async fn a_certificate_that_the_platform_does_not_know_is_refused() {
    let key = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider);
    let tls = tls.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let tls = tls.with_single_cert(vec![key.cert.der().clone()], private).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/mcp", listener.local_addr().unwrap());
    let accepted = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.is_ok()
    });
    let http = Http { url: url.parse().unwrap(), headers: HeaderMap::new() };
    let client = new_client(&http, &Arc::default()).unwrap();
    let error = post(&client, request(1), None).await.unwrap_err();
    assert!(error.to_string().contains("can't be reached: invalid peer certificate"), "{error}");
    assert!(!accepted.await.unwrap());
}

struct Empty;

impl ServerHandler for Empty {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }
}

fn connect(http: &Http) -> StreamableHttpClientTransport<HttpClient> {
    transport("a", http, &Limits::default(), Arc::default(), clock()).unwrap()
}

#[tokio::test]
async fn rmcp_speaks_to_a_server_of_its_own() {
    for stateful in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let mut config = StreamableHttpServerConfig::default();
        config.legacy_session_mode = stateful;
        let service = StreamableHttpService::new(|| Ok(Empty), Arc::<LocalSessionManager>::default(), config);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(service.clone());
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        let http = Http { url: url.parse().unwrap(), headers: HeaderMap::new() };
        let client = ().serve(connect(&http)).await.unwrap();
        assert!(client.list_all_tools().await.unwrap().is_empty());
        client.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn an_expired_session_is_replaced() {
    let sessions = Mutex::new(0);
    let server = Server::start(move |asked| {
        let id = &asked.body["id"];
        match asked.body["method"].as_str() {
            Some("initialize") => {
                let mut count = sessions.lock().unwrap();
                *count += 1;
                let info = json!({"name": "a", "version": "1"});
                let result = json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info});
                let mut answer = json_text(json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string());
                answer.headers_mut().insert(HEADER_SESSION_ID, count.to_string().parse().unwrap());
                answer
            }
            Some("tools/list") if asked.field("mcp-session-id") == Some("1") => status(404),
            Some("tools/list") => json_text(json!({"jsonrpc": "2.0", "id": id, "result": {"tools": []}}).to_string()),
            Some(_) => status(202),
            None => status(405),
        }
    })
    .await;
    let client = ().serve(connect(&server.http())).await.unwrap();
    assert!(client.list_all_tools().await.unwrap().is_empty());
    client.cancel().await.unwrap();
    let asked = server.asked();
    let deleted = asked.iter().find(|asked| asked.method == Method::DELETE).unwrap();
    assert_eq!(deleted.field("mcp-session-id"), Some("2"));
}

#[tokio::test]
async fn one_call_s_error_is_not_another_s() {
    let server = Server::start(|asked| {
        let id = &asked.body["id"];
        let result = match asked.body["method"].as_str() {
            Some("initialize") => {
                let info = json!({"name": "a", "version": "1"});
                json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info})
            }
            Some("tools/list") => json!({"tools": []}),
            Some("prompts/list") => return status(302),
            Some("resources/list") => return json_text("no JSON"),
            Some("resources/templates/list") => return json_text(" ".repeat(9 << 20)),
            Some(_) => return status(202),
            None => return status(405),
        };
        let mut answer = json_text(json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string());
        answer.headers_mut().remove(HEADER_SESSION_ID);
        answer
    })
    .await;
    let client = ().serve(connect(&server.http())).await.unwrap();
    let redirected = client.list_all_prompts().await.unwrap_err().to_string();
    assert!(redirected.contains("the upstream redirects to nowhere (302)"), "{redirected}");
    let no_json = client.list_all_resources().await.unwrap_err().to_string();
    assert!(no_json.contains("no response to the request"), "{no_json}");
    let too_long = client.list_all_resource_templates().await.unwrap_err().to_string();
    assert!(too_long.contains("exceeded the maximum size"), "{too_long}");
    assert!(client.list_all_tools().await.unwrap().is_empty());
    assert!(client.waiting().now_or_never().is_none(), "the connection lives on");
}
