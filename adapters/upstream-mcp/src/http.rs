//! [`HttpClient`]: Streamable HTTP requests and their responses; sessions, versions and resumption are rmcp's.
//!
//! Of the caller nothing is sent but what the wire says for its call. Redirects are not followed: they could lead the
//! configured credentials elsewhere. The certificates are the platform's.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use domain::Clock;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    LOCATION, TRANSFER_ENCODING, USER_AGENT,
};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, ErrorData, JsonRpcMessage, RequestId, ServerJsonRpcMessage,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::common::client_side_sse::ExponentialBackoff;
use rmcp::transport::common::http_header::{
    EVENT_STREAM_MIME_TYPE, HEADER_LAST_EVENT_ID, HEADER_SESSION_ID, JSON_MIME_TYPE,
};
use rmcp::transport::streamable_http_client::{
    AuthRequiredError, HttpStatusError, SseError, StreamableHttpClient, StreamableHttpClientTransportConfig,
    StreamableHttpError, StreamableHttpPostResponse, StreamableHttpResponseLimits,
};
use sse_stream::Sse;

use crate::incoming;
use crate::options::{Http, Limits};
use crate::quota::Quota;
use crate::sse::{Parsed, Parser};
use crate::wire::Wire;

const AGENT: &str = concat!("fastmcp-auth0/", env!("CARGO_PKG_VERSION"));
/// The maximum time for a connection, before TLS.
const MAX_CONNECT: Duration = Duration::from_secs(10);
/// How long a connection is kept for the next request, and after which silence of a stream its peer is asked for a sign of life.
const IDLE: Duration = Duration::from_secs(30);
/// The maximum size of a response's head, and how much of a body is read at once.
const BUFFER_BYTES: usize = 64 << 10;
/// The length of a body that is read for nothing but keeping its connection.
const MAX_IGNORED_BYTES: u64 = 16 << 10;
/// The bounds of the time after which a server wants its stream resumed: neither at once nor never.
const RETRY: std::ops::RangeInclusive<u64> = 100..=300_000;
/// The maximum time between two attempts to resume a stream.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// The maximum number of streams that may be resumed.
const MAX_RESUMABLE: usize = 256;
/// The maximum length of an event's id, which is sent back in a header field.
const MAX_EVENT_ID: usize = 1024;
/// Room for requests of this server's own beside those of callers, such as whether the upstream is still there.
const OWN_REQUESTS: usize = 8;
/// The maximum length of a redirect's target in an error.
const MAX_LOCATION: usize = 200;
/// How often it is logged that an event is no message.
const COMPLAINT_INTERVAL: Duration = Duration::from_mins(1);

type Result<T, E = StreamableHttpError<HttpError>> = std::result::Result<T, E>;
type Events = BoxStream<'static, std::result::Result<Sse, SseError>>;

/// Why an upstream can't be connected to, whatever it does.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    #[error("the URL is none for a request")]
    Url,
    #[error("the URL has a user or password, which belong into a header field")]
    Userinfo,
    #[error("the platform's certificates can't be used: {0}")]
    Certificates(String),
}

/// Why a request failed, for an operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("the upstream can't be reached: {0}")]
    Unreachable(String),
    #[error("the connection to the upstream broke: {0}")]
    Broken(String),
    #[error("the upstream redirects to {to} ({status}), which is not followed: make that its URL")]
    Redirect { status: u16, to: String },
    #[error(
        "the upstream refuses access ({0}): it asks for credentials of its own, which go into its `headers`"
    )]
    Refused(u16),
    #[error("the upstream answered {0}: is the path of its MCP endpoint missing in the URL, such as /mcp?")]
    NoEndpoint(u16),
    #[error("the upstream answered with HTTP status {0}")]
    Status(u16),
    #[error("the upstream answered with {0}, which is neither JSON nor an event stream")]
    ContentType(String),
    #[error("the upstream answered a request with {0}, but not with its result")]
    NoAnswer(u16),
    #[error("what the upstream answered is no response to the request")]
    NoResponse,
    #[error("the message can't be sent: {0}")]
    Unsendable(&'static str),
}

impl HttpError {
    /// Returns the error of a response that redirects, with where to: without a query, which may be secret.
    fn redirect(response: &Response<Incoming>) -> Self {
        let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let to = location.and_then(|location| location.split(['?', '#']).next()).unwrap_or("nowhere");
        let to = to.chars().filter(char::is_ascii_graphic).take(MAX_LOCATION).collect();
        Self::Redirect { status: response.status().as_u16(), to }
    }
}

impl From<HttpError> for StreamableHttpError<HttpError> {
    fn from(error: HttpError) -> Self {
        Self::Client(error)
    }
}

/// Sends requests to one upstream.
#[derive(Clone)]
pub(crate) struct HttpClient(Arc<Shared>);

struct Shared {
    name: String,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    headers: HeaderMap,
    wire: Arc<Wire>,
    clock: Arc<dyn Clock>,
    complaints: Mutex<Quota>,
    resumable: Mutex<Resumable>,
}

/// Creates a transport of rmcp's. Its worker begins at once, so this takes a runtime.
///
/// # Errors
/// [`SetupError`].
pub(crate) fn transport(
    name: &str,
    http: &Http,
    limits: &Limits,
    wire: Arc<Wire>,
    clock: Arc<dyn Clock>,
) -> Result<StreamableHttpClientTransport<HttpClient>, SetupError> {
    let client = HttpClient::new(name, http, limits, wire, clock)?;
    // rmcp hands the URL back with each request; there is but one, and its query may be secret.
    let mut config = StreamableHttpClientTransportConfig::with_uri(http.url.origin().ascii_serialization())
        .max_concurrent_requests(
            limits.calls.saturating_add(limits.parked_calls).saturating_add(OWN_REQUESTS),
        )
        .max_sse_event_size(limits.message_bytes)
        .max_json_response_size(limits.message_bytes)
        .reinit_on_expired_session(true);
    let mut backoff = ExponentialBackoff::default();
    backoff.max_delay = Some(MAX_BACKOFF);
    config.retry_config = Arc::new(backoff);
    Ok(StreamableHttpClientTransport::with_client(client, config))
}

impl HttpClient {
    fn new(
        name: &str,
        http: &Http,
        limits: &Limits,
        wire: Arc<Wire>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        if !http.url.username().is_empty() || http.url.password().is_some() {
            return Err(SetupError::Userinfo);
        }
        let mut url = http.url.clone();
        url.set_fragment(None);
        let uri = url.as_str().parse().map_err(|_| SetupError::Url)?;
        let is_https = url.scheme() == "https";
        let client = Client::builder(TokioExecutor::new())
            .http1_max_buf_size(BUFFER_BYTES)
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(limits.calls)
            .build(connector(is_https, limits)?);
        let mut headers = http.headers.clone();
        // How a message is framed is not the configuration's.
        for framing in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
            headers.remove(framing);
        }
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        Ok(Self(Arc::new(Shared {
            name: name.to_owned(),
            client,
            uri,
            headers,
            wire,
            clock,
            complaints: Mutex::new(Quota::new(1, COMPLAINT_INTERVAL)),
            resumable: Mutex::default(),
        })))
    }

    /// Sends a request. `fields` are rmcp's: versions, and what of a call's arguments is mirrored.
    async fn request(
        &self,
        method: Method,
        mut fields: HeaderMap,
        session: Option<&str>,
        token: Option<String>,
        body: Bytes,
    ) -> Result<Response<Incoming>> {
        let mut headers = self.0.headers.clone();
        for (name, value) in fields.drain() {
            if let Some(name) = name {
                headers.insert(name, value);
            }
        }
        let mut set = |name: &'static str, value: &str| match HeaderValue::from_str(value) {
            Ok(mut field) => {
                field.set_sensitive(true);
                let name = HeaderName::from_bytes(name.as_bytes());
                headers.insert(name.map_err(|_| HttpError::Unsendable("a field's name"))?, field);
                Ok(())
            }
            Err(_) => Err(HttpError::Unsendable("the upstream's id of its session fits no header field")),
        };
        if let Some(session) = session {
            set(HEADER_SESSION_ID, session)?;
        }
        if let Some(token) = token {
            set(AUTHORIZATION.as_str(), &format!("Bearer {token}"))?;
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.0.uri.clone();
        *request.headers_mut() = headers;
        let response = self.0.client.request(request).await;
        Ok(response.map_err(|error| {
            let cause = cause(&error);
            let cause = match cause {
                // rustls' word for an answer that is none of TLS.
                cause if cause.contains("InvalidContentType") => {
                    "it does not speak TLS: is its URL http?".to_owned()
                }
                cause => cause,
            };
            if error.is_connect() { HttpError::Unreachable(cause) } else { HttpError::Broken(cause) }
        })?)
    }

    async fn post(
        &self,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        token: Option<String>,
        custom: HashMap<HeaderName, HeaderValue>,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse> {
        let _responding = self.0.wire.responding(&message);
        let body = serde_json::to_vec(&message).map_err(|_| HttpError::Unsendable("it is no JSON"))?;
        let mut fields = self.0.wire.sending(&message);
        fields.extend(custom);
        fields.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(JSON_MIME_TYPE));
        let response = self.request(Method::POST, fields, session.as_deref(), token, body.into()).await?;
        let posted = Posted::new(&message, session.is_some());
        self.answer(response, posted, limits).await
    }

    async fn answer(
        &self,
        response: Response<Incoming>,
        posted: Posted,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse> {
        let status = response.status();
        if status.is_redirection() {
            return Err(HttpError::redirect(&response).into());
        }
        if is_refusal(status) {
            return Err(HttpError::Refused(status.as_u16()).into());
        }
        if status == StatusCode::NOT_FOUND && posted.has_session {
            return Err(StreamableHttpError::SessionExpired);
        }
        let Some(id) = &posted.request else {
            return accepted(response).await;
        };
        if !status.is_success() {
            return self.failure(response, &posted, id, limits).await;
        }
        if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            // Within a session the answer may come on its stream.
            let may_follow = posted.has_session;
            let error = || HttpError::NoAnswer(status.as_u16()).into();
            return may_follow.then_some(StreamableHttpPostResponse::Accepted).ok_or_else(error);
        }
        let session = response.headers().get(HEADER_SESSION_ID);
        let session = session.and_then(|value| value.to_str().ok()).map(str::to_owned);
        if has_type(&response, EVENT_STREAM_MIME_TYPE) {
            let owner = Owner::Request(id.clone());
            let events = EventStream::new(self, response, owner, limits.max_sse_event_size);
            return Ok(StreamableHttpPostResponse::Sse(events.boxed(), session));
        }
        if has_type(&response, JSON_MIME_TYPE) {
            let text = whole_body(response, limits.max_json_response_size).await?;
            let message = self.response(&text, id).ok_or(HttpError::NoResponse)?;
            return Ok(StreamableHttpPostResponse::Json(message, session));
        }
        Err(HttpError::ContentType(content_type(&response)).into())
    }

    /// Handles a response whose status says that the request failed.
    async fn failure(
        &self,
        response: Response<Incoming>,
        posted: &Posted,
        id: &RequestId,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse> {
        let status = response.status();
        if has_type(&response, JSON_MIME_TYPE)
            && status != StatusCode::TOO_MANY_REQUESTS
            && let Ok(text) = whole_body(response, limits.max_json_response_size).await
            && let Ok(ServerJsonRpcMessage::Error(mut error)) = serde_json::from_str(&text)
        {
            // What refuses a request before it is read can't know its id, and says another or none.
            error.id = Some(id.clone());
            return Ok(StreamableHttpPostResponse::Json(JsonRpcMessage::Error(error), None));
        }
        if posted.is_discovery && !posted.has_session && status.is_client_error() {
            // What does not know the method is an older server, which rmcp takes from an error of this kind.
            let error = ErrorData::invalid_request(format!("HTTP status {}", status.as_u16()), None);
            let error = ServerJsonRpcMessage::error(error, Some(id.clone()));
            return Ok(StreamableHttpPostResponse::Json(error, None));
        }
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            return Err(HttpStatusError::new(status.as_u16(), None).into());
        }
        Err(match status {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_ACCEPTABLE => {
                HttpError::NoEndpoint(status.as_u16())
            }
            status => HttpError::Status(status.as_u16()),
        }
        .into())
    }

    /// Reads the response to a request; `None` if it is none.
    fn response(&self, text: &str, request: &RequestId) -> Option<ServerJsonRpcMessage> {
        // Judged before the wire, which would give another call's answer to that call.
        if incoming::answers(text).is_some_and(|id| !incoming::is_answer_to(&id, request)) {
            return None;
        }
        let (_, message) = incoming::read(&self.0.wire, text, Some(request)).ok()??;
        matches!(message, JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_)).then_some(message)
    }

    async fn get(
        &self,
        session: Option<Arc<str>>,
        last_event_id: Option<String>,
        token: Option<String>,
        custom: HashMap<HeaderName, HeaderValue>,
        max_event_bytes: usize,
    ) -> Result<Events> {
        let mut fields: HeaderMap = custom.into_iter().collect();
        fields.insert(ACCEPT, HeaderValue::from_static(EVENT_STREAM_MIME_TYPE));
        if let Some(id) = &last_event_id {
            let id = HeaderValue::from_str(id).map_err(|_| HttpError::Unsendable("an event's id"))?;
            fields.insert(HeaderName::from_static("last-event-id"), id);
        }
        debug_assert!(HEADER_LAST_EVENT_ID.eq_ignore_ascii_case("last-event-id"));
        let response = self.request(Method::GET, fields, session.as_deref(), token, Bytes::new()).await?;
        let status = response.status();
        match status {
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                return Err(StreamableHttpError::ServerDoesNotSupportSse);
            }
            StatusCode::NOT_FOUND if session.is_some() => return Err(StreamableHttpError::SessionExpired),
            // Of this kind, so that rmcp doesn't try again; without the challenge, which it would log.
            status if is_refusal(status) => {
                return Err(StreamableHttpError::AuthRequired(AuthRequiredError::new(String::new())));
            }
            status if status.is_redirection() => return Err(HttpError::redirect(&response).into()),
            status if !status.is_success() => return Err(HttpError::Status(status.as_u16()).into()),
            _ => {}
        }
        if !has_type(&response, EVENT_STREAM_MIME_TYPE) {
            return Err(HttpError::ContentType(content_type(&response)).into());
        }
        let owner = last_event_id.as_deref().and_then(|id| self.resumable().owner(id));
        let events = EventStream::new(self, response, owner.unwrap_or(Owner::Session), max_event_bytes);
        Ok(EventStream { last_event_id, ..events }.boxed())
    }

    fn resumable(&self) -> std::sync::MutexGuard<'_, Resumable> {
        self.0.resumable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complain(&self, text: &'static str) {
        let mut complaints = self.0.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(others) = complaints.admit(self.0.clock.uptime()) {
            tracing::warn!(upstream = self.0.name, others, "{text}");
        }
    }
}

impl StreamableHttpClient for HttpClient {
    type Error = HttpError;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse> {
        let limits = StreamableHttpResponseLimits::default();
        self.post_message_with_response_limits(uri, message, session_id, auth_header, custom_headers, limits)
            .await
    }

    async fn post_message_with_response_limits(
        &self,
        _uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse> {
        self.post(message, session_id, auth_header, custom_headers, limits).await
    }

    async fn delete_session(
        &self,
        _uri: Arc<str>,
        session_id: Arc<str>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<()> {
        let fields = custom_headers.into_iter().collect();
        let response =
            self.request(Method::DELETE, fields, Some(&session_id), auth_header, Bytes::new()).await?;
        match response.status() {
            // It is gone already, or stays until the server forgets it.
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(()),
            status if status.is_success() => Ok(()),
            status => Err(HttpError::Status(status.as_u16()).into()),
        }
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<Events> {
        let max = StreamableHttpResponseLimits::default().max_sse_event_size;
        self.get_stream_with_max_sse_event_size(
            uri,
            session_id,
            last_event_id,
            auth_header,
            custom_headers,
            max,
        )
        .await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        _uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
        max_sse_event_size: usize,
    ) -> Result<Events> {
        self.get(session_id, last_event_id, auth_header, custom_headers, max_sse_event_size).await
    }
}

/// What of a message decides how its response is read.
struct Posted {
    /// The id, if it is a request.
    request: Option<RequestId>,
    is_discovery: bool,
    has_session: bool,
}

impl Posted {
    fn new(message: &ClientJsonRpcMessage, has_session: bool) -> Self {
        let JsonRpcMessage::Request(request) = message else {
            return Self { request: None, is_discovery: false, has_session };
        };
        let is_discovery = matches!(request.request, ClientRequest::DiscoverRequest(_));
        Self { request: Some(request.id.clone()), is_discovery, has_session }
    }
}

/// The messages of a response. It never fails: rmcp would begin anew at once and without end.
struct EventStream {
    client: HttpClient,
    body: Incoming,
    parser: Parser,
    parsed: VecDeque<Parsed>,
    owner: Owner,
    is_answered: bool,
    last_event_id: Option<String>,
    has_ended: bool,
}

/// What a stream belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Owner {
    Request(RequestId),
    Session,
    /// Nobody knows, because the upstream uses one event id for several streams.
    Unknown,
}

impl EventStream {
    fn new(client: &HttpClient, response: Response<Incoming>, owner: Owner, max_event_bytes: usize) -> Self {
        Self {
            client: client.clone(),
            body: response.into_body(),
            parser: Parser::new(max_event_bytes),
            parsed: VecDeque::new(),
            owner,
            is_answered: false,
            last_event_id: None,
            has_ended: false,
        }
    }

    fn boxed(self) -> Events {
        stream::unfold(self, |mut events| async { Some((Ok(events.next().await?), events)) }).boxed()
    }

    async fn next(&mut self) -> Option<Sse> {
        loop {
            // An upstream that takes no responses gets no further requests answered: they would queue up without bound.
            self.client.0.wire.room().await;
            if let Some(parsed) = self.parsed.pop_front() {
                let event = self.judge(parsed);
                if event != Sse::default() {
                    return Some(event);
                }
                continue;
            }
            if self.has_ended {
                return None;
            }
            let Some(Ok(frame)) = self.body.frame().await else {
                self.has_ended = true;
                return self.ended();
            };
            if let Some(bytes) = frame.data_ref() {
                self.parser.feed(bytes, &mut self.parsed);
            }
        }
    }

    /// Ends the call that waits for more, unless rmcp resumes the stream after an event's id.
    fn ended(&self) -> Option<Sse> {
        let is_over = self.is_answered || self.last_event_id.is_some();
        let request = self.request().filter(|_| !is_over)?;
        let message = incoming::failed(request.clone(), "the upstream's response ended before its result");
        Some(Sse::default().data(serde_json::to_string(&message).ok()?))
    }

    fn request(&self) -> Option<&RequestId> {
        match &self.owner {
            Owner::Request(id) => Some(id),
            Owner::Session | Owner::Unknown => None,
        }
    }

    fn judge(&mut self, parsed: Parsed) -> Sse {
        match parsed {
            Parsed::Event(event) => {
                let mut kept = self.kept(&event);
                if matches!(event.event.as_deref(), None | Some("" | "message")) {
                    kept.data = event.data.and_then(|data| self.message(&data));
                }
                kept
            }
            Parsed::TooLong { event, answers, has_method } => {
                self.client.complain("the upstream sent an event that is too long");
                let mut kept = self.kept(&event);
                kept.data = if has_method { None } else { self.too_long(answers) };
                kept
            }
        }
    }

    /// Returns what of an event is for resuming the stream.
    fn kept(&mut self, event: &Sse) -> Sse {
        let is_usable = |id: &&String| id.len() <= MAX_EVENT_ID && HeaderValue::from_str(id).is_ok();
        let id = event.id.as_ref().filter(is_usable);
        if let Some(id) = id {
            self.forget();
            if !self.is_answered {
                self.client.resumable().remember(id, &self.owner);
            }
            self.last_event_id = Some(id.clone());
        }
        let retry = event.retry.map(|millis| millis.clamp(*RETRY.start(), *RETRY.end()));
        Sse { id: id.cloned(), retry, ..Sse::default() }
    }

    fn message(&mut self, data: &str) -> Option<String> {
        if data.trim_ascii().is_empty() {
            return None;
        }
        match incoming::read(&self.client.0.wire, data, self.request()) {
            Ok(Some((text, message))) => {
                self.passes(&message);
                Some(text.into_owned())
            }
            Ok(None) => None,
            Err(_) => {
                self.client.complain("the upstream sent an event that is no JSON-RPC message");
                None
            }
        }
    }

    /// Returns an error in the place of an answer that was too long.
    fn too_long(&mut self, answers: Option<RequestId>) -> Option<String> {
        let id = answers.or_else(|| self.request().cloned())?;
        let message = incoming::failed(id, "the upstream's answer is too long");
        self.passes(&message);
        serde_json::to_string(&message).ok()
    }

    /// Takes note of the answer to the stream's own request.
    fn passes(&mut self, message: &ServerJsonRpcMessage) {
        let id = match message {
            JsonRpcMessage::Response(response) => Some(&response.id),
            JsonRpcMessage::Error(error) => error.id.as_ref(),
            JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => None,
        };
        if let (Some(id), Some(request)) = (id, self.request())
            && incoming::is_answer_to(id, request)
        {
            self.is_answered = true;
            self.forget();
        }
    }

    fn forget(&self) {
        if let Some(id) = &self.last_event_id {
            self.client.resumable().forget(id, &self.owner);
        }
    }
}

/// What the streams belong to that may be resumed, by the ids of their last events.
#[derive(Default)]
struct Resumable(VecDeque<(String, Owner)>);

impl Resumable {
    fn remember(&mut self, event_id: &str, owner: &Owner) {
        if let Some((_, present)) = self.0.iter_mut().find(|(id, _)| id == event_id) {
            // What is one call's must not become another's.
            if present != owner {
                *present = Owner::Unknown;
            }
            return;
        }
        if self.0.len() >= MAX_RESUMABLE {
            self.0.pop_front();
        }
        self.0.push_back((event_id.to_owned(), owner.clone()));
    }

    fn forget(&mut self, event_id: &str, owner: &Owner) {
        self.0.retain(|(id, present)| id != event_id || present != owner);
    }

    fn owner(&self, event_id: &str) -> Option<Owner> {
        self.0.iter().find(|(id, _)| id == event_id).map(|(_, owner)| owner.clone())
    }
}

fn connector(is_https: bool, limits: &Limits) -> Result<HttpsConnector<HttpConnector>, SetupError> {
    let failed = |error: rustls::Error| SetupError::Certificates(error.to_string());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = tls.map_err(failed)?;
    // Without TLS the platform need not have any certificates.
    let tls = if is_https {
        tls.try_with_platform_verifier().map_err(failed)?
    } else {
        tls.with_root_certificates(rustls::RootCertStore::empty())
    };
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls.with_no_client_auth());
    let builder = if is_https { builder.https_only() } else { builder.https_or_http() };
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(limits.start.min(MAX_CONNECT)));
    http.set_keepalive(Some(IDLE));
    Ok(builder.enable_http1().wrap_connector(http))
}

/// Takes a response to what needs none.
async fn accepted(response: Response<Incoming>) -> Result<StreamableHttpPostResponse> {
    let status = response.status();
    if !status.is_success() {
        return Err(HttpError::Status(status.as_u16()).into());
    }
    if response.body().size_hint().upper().is_some_and(|length| length <= MAX_IGNORED_BYTES) {
        // Whether that works is of no interest.
        let _ = response.into_body().collect().await;
    }
    Ok(StreamableHttpPostResponse::Accepted)
}

async fn whole_body(response: Response<Incoming>, max_size: usize) -> Result<String> {
    let too_large = || StreamableHttpError::ResponseBodyTooLarge { max_size };
    let mut body = response.into_body();
    if body.size_hint().lower() > max_size as u64 {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| HttpError::Broken(cause(&error)))?;
        let part = frame.data_ref().map_or(&[][..], |part| part);
        if bytes.len() + part.len() > max_size {
            return Err(too_large());
        }
        bytes.extend_from_slice(part);
    }
    Ok(String::from_utf8(bytes).map_err(|_| HttpError::NoResponse)?)
}

fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

fn has_type(response: &Response<Incoming>, expected: &str) -> bool {
    content_type(response).eq_ignore_ascii_case(expected)
}

/// Returns a response's media type without its parameters, or what stands for one.
fn content_type(response: &Response<Incoming>) -> String {
    let field = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = field.and_then(|value| value.split(';').next()).map_or("", str::trim);
    if essence.is_empty() {
        return "no content type".to_owned();
    }
    essence.chars().take(64).collect()
}

/// Returns what is at the bottom of an error; what is above it says no more than that something failed.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string().chars().filter(|char| !char.is_control()).take(256).collect()
}

#[cfg(test)]
mod tests {
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
        let custom =
            [(HeaderName::from_static("mcp-protocol-version"), HeaderValue::from_static("2025-06-18"))];
        let custom = custom.into_iter().collect();
        client
            .post_message_with_response_limits(
                "".into(),
                message,
                session.map(Arc::from),
                None,
                custom,
                limits,
            )
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
    async fn answered(
        answer: impl Fn() -> Answer + Send + Sync + 'static,
    ) -> Result<StreamableHttpPostResponse> {
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
        for (status, id) in [(200, "null"), (400, "null"), (400, "\"server-error\""), (500, "9"), (404, "1")]
        {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32000,"message":"no"}}}}"#);
            let response = answered(move || answer(status, "application/json", vec![Ok(text.clone())])).await;
            let error = json!({"code": -32000, "message": "no"});
            assert_eq!(
                json_of(response),
                json!({"jsonrpc": "2.0", "id": 1, "error": error}),
                "{status} {id}"
            );
        }
    }

    #[tokio::test]
    async fn a_body_is_bounded_whether_it_says_its_length_or_not() {
        let text = |bytes: usize| format!("{}{RESULT}", " ".repeat(bytes - RESULT.len()));
        let parts = move |bytes: usize| {
            text(bytes)
                .as_bytes()
                .chunks(100)
                .map(|part| Ok(String::from_utf8(part.to_vec()).unwrap()))
                .collect()
        };
        for is_one_part in [true, false] {
            let body = move |bytes| {
                answer(
                    200,
                    "application/json",
                    if is_one_part { vec![Ok(text(bytes))] } else { parts(bytes) },
                )
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
                answer
                    .headers_mut()
                    .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=secret"));
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
            None if asked.method == Method::POST => {
                events(&[&format!("id: e{}\ndata:\n\n", asked.body["id"])])
            }
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
        assert_eq!(
            all(events_of(post(&client, request_one, Some("s")).await)).await,
            [Sse::default().id("e1")]
        );
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
                answer
                    .headers_mut()
                    .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=secret"));
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
        for (code, is_ok) in [(200, true), (204, true), (404, true), (405, true), (403, false), (500, false)]
        {
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
            let service =
                StreamableHttpService::new(|| Ok(Empty), Arc::<LocalSessionManager>::default(), config);
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
}
