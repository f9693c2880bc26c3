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

/// Returns whether a request failed since it was answered 401.
pub(crate) fn is_unauthorized(error: &(dyn std::error::Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    let unauthorized = StatusCode::UNAUTHORIZED.as_u16();
    causes.filter_map(|cause| cause.downcast_ref::<StreamableHttpError<HttpError>>()).any(|error| {
        matches!(error, StreamableHttpError::Client(HttpError::Refused(status)) if *status == unauthorized)
    })
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
mod tests;
