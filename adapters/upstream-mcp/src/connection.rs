//! [`Connection`]: one connection to an upstream, over which many callers' requests go at a time.

use std::collections::{BTreeSet, HashSet};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{Clock, RawObject};
use futures_util::future::{Either, select};
use rmcp::ErrorData;
use rmcp::model::{
    CancelledNotification, CancelledNotificationParam, ClientCapabilities, ClientConfig, ClientNotification,
    ClientRequest, ClientResult, CustomResult, ErrorCode, GetExtensions as _, Implementation,
    PaginatedRequestParams, ProtocolVersion, RequestId, ServerNotification, ServerRequest,
    SubscriptionFilter,
};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, ClientServiceExt as _, NotificationContext, Peer,
    PeerRequestOptions, RequestContext, RequestHandle, RoleClient, RunningService, Service, ServiceError,
};
use rmcp::transport::{DynamicTransportError, Transport};
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::caller::Told;
use crate::child::{ChildTransport, SpawnError};
use crate::http::{self, HttpError};
use crate::options::{Connect, Era, Limits, Options};
use crate::stderr::shown;
use crate::wire::{INPUT_METHOD, InputParams, Reading, Registration, ResultSlot, Source, Wire};

/// The maximum number of pages of one list.
const MAX_PAGES: usize = 1000;

/// How much of lists of tools rmcp may keep, in messages of the greatest length: it forgets no tool that it saw on a connection.
const MAX_KEPT: usize = 8;

/// A connection whose handshake is done.
pub(crate) struct Connection {
    kept: Mutex<Kept>,
    peer: Peer<RoleClient>,
    pub(crate) wire: Arc<Wire>,
    /// Whether requests carry their own `_meta`, without a handshake.
    pub(crate) is_modern: bool,
    /// How a child process ended, once it did; `None` over HTTP.
    ended: Option<watch::Receiver<Option<String>>>,
}

/// What rmcp keeps of lists of tools.
#[derive(Default)]
struct Kept {
    names: HashSet<String>,
    bytes: usize,
}

impl Kept {
    /// Adds a page, unless it has nothing new, and returns how much there is now.
    fn add(&mut self, names: impl IntoIterator<Item = String>, bytes: usize) -> usize {
        let before = self.names.len();
        self.names.extend(names);
        if self.names.len() > before {
            self.bytes = self.bytes.saturating_add(bytes);
        }
        self.bytes
    }
}

/// The part of rmcp that runs a connection; dropping it ends that.
pub(crate) type Running = RunningService<RoleClient, Handler>;

/// A request under way; dropping it cancels it.
pub(crate) struct Request {
    pub(crate) answer: Answer,
    peer: Peer<RoleClient>,
    pub(crate) id: RequestId,
    pub(crate) registration: Registration,
    /// Its place among the calls at a time. It is kept until a cancellation has been sent: what an upstream that reads nothing
    /// is sent would queue up without bound.
    pub(crate) place: Option<OwnedSemaphorePermit>,
}

/// Where the answer comes; nowhere once it came.
pub(crate) struct Answer {
    handle: Option<RequestHandle<RoleClient>>,
    slot: ResultSlot,
}

/// Why there is no connection, for the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error(transparent)]
    Http(#[from] http::SetupError),
    #[error("the handshake failed: {0}")]
    Handshake(String),
    #[error("it ended before the handshake was done ({0}); what it wrote to standard error is in the log")]
    Ended(String),
    #[error("it was not ready within {} s", .0.as_secs_f64())]
    TooSlow(Duration),
}

/// Why a request has no result.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// The upstream answered with an error.
    Refused(ErrorData),
    /// It answered 401 to what a caller's request carries, and did nothing.
    Unauthorized,
    /// There was no answer: the text says why, for the operator.
    Lost(String),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => {
                write!(f, "it answered with the error {}: {}", error.code.0, shown(&error.message))
            }
            Self::Unauthorized => HttpError::Refused(401).fmt(f),
            Self::Lost(text) => f.write_str(&shown(text)),
        }
    }
}

impl Connection {
    /// Connects, within the time that the options give.
    pub(crate) async fn open(
        options: &Options,
        clock: &Arc<dyn Clock>,
    ) -> Result<(Self, Running), ConnectError> {
        let start = options.limits.start;
        let open = std::pin::pin!(Self::connect(options, clock));
        match select(open, clock.sleep(start)).await {
            Either::Left((opened, _)) => opened,
            Either::Right(_) => Err(ConnectError::TooSlow(start)),
        }
    }

    async fn connect(options: &Options, clock: &Arc<dyn Clock>) -> Result<(Self, Running), ConnectError> {
        let wire = Arc::new(Wire::new(Arc::clone(clock), options.limits.call));
        let handler = Handler(Arc::clone(&wire));
        let mut ended = None;
        let running = match &options.connect {
            Connect::Child(child) => {
                let (wire, clock) = (Arc::clone(&wire), Arc::clone(clock));
                let transport = ChildTransport::spawn(&options.name, child, &options.limits, wire, clock)?;
                ended = Some(transport.ended());
                handshake(handler, transport, options.era).await
            }
            Connect::Http(at) => {
                handshake(
                    handler,
                    http::transport(
                        &options.name,
                        at,
                        &options.limits,
                        Arc::clone(&wire),
                        Arc::clone(clock),
                    )?,
                    options.era,
                )
                .await
            }
        };
        let running = match running {
            Ok(running) => running,
            Err(error) => return Err(handshake_failed(&error, ended).await),
        };
        let peer = running.peer().clone();
        let is_modern = peer.peer_info().is_some_and(|info| !info.protocol_version.has_initialize());
        Ok((Self { kept: Mutex::default(), peer, wire, is_modern, ended }, running))
    }

    /// Returns what the upstream said of itself.
    pub(crate) fn info(&self) -> Option<Arc<rmcp::model::ServerPeerInfo>> {
        self.peer.peer_info()
    }

    /// Returns how the connection ended.
    pub(crate) fn end(&self) -> String {
        let ended = self.ended.as_ref().and_then(|ended| ended.borrow().clone());
        ended.unwrap_or_else(|| "it ended the connection".to_owned())
    }

    /// Returns whether nothing can be sent any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.peer.is_transport_closed()
    }

    /// Sends a request.
    pub(crate) async fn send(
        &self,
        mut request: ClientRequest,
        reading: Reading,
        source: Source,
        told: Told,
        options: PeerRequestOptions,
    ) -> Result<Request, RequestError> {
        let registration = self.wire.register(reading, source, told.headers);
        request.extensions_mut().insert(registration.key);
        let mut meta = options.meta.clone().unwrap_or_default();
        // Over HTTP there are header fields for that.
        if self.ended.is_some() {
            meta.0.0.extend(told.meta.0.0);
        }
        let handle = self.peer.send_request_with_option(request, options.with_meta(meta)).await;
        let handle = handle.map_err(RequestError::of)?;
        Ok(Request {
            id: handle.id.clone(),
            peer: self.peer.clone(),
            answer: Answer { handle: Some(handle), slot: registration.result.clone() },
            registration,
            place: None,
        })
    }

    /// Sends a request of this server's own and returns its result.
    pub(crate) async fn ask(
        &self,
        request: ClientRequest,
        reading: Reading,
    ) -> Result<RawObject, RequestError> {
        let options = PeerRequestOptions::no_options();
        let mut request = self.send(request, reading, Source::Server, Told::default(), options).await?;
        request.answer.result().await
    }

    /// Returns all items of a list, as many and as long as the limits allow, and whether there were more.
    pub(crate) async fn list(
        &self,
        member: &str,
        limits: &Limits,
        request: impl Fn(Option<PaginatedRequestParams>) -> ClientRequest,
    ) -> Result<(Vec<RawObject>, bool), RequestError> {
        let (mut items, mut cursor, mut bytes) = (Vec::new(), None, 0);
        for _ in 0..MAX_PAGES {
            let params = PaginatedRequestParams::default().with_cursor(cursor.take());
            let page = self.ask(request(Some(params)), Reading::CallAndClient).await?;
            let malformed = || RequestError::Lost(format!("its list of {member} is malformed"));
            let listed = page.read::<Vec<RawObject>>(member).ok_or_else(malformed)?;
            if member == "tools" {
                let names = listed.iter().filter_map(|tool| tool.read("name"));
                let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).add(names, page.bytes());
                if kept > limits.message_bytes.saturating_mul(MAX_KEPT) {
                    let text = "it has had too many different tools since it was connected to";
                    return Err(RequestError::Lost(text.to_owned()));
                }
            }
            for item in listed {
                bytes += item.bytes();
                if items.len() == limits.listed || bytes > limits.message_bytes {
                    return Ok((items, true));
                }
                items.push(item);
            }
            cursor = page.read::<String>("nextCursor");
            if cursor.is_none() {
                return Ok((items, false));
            }
        }
        Ok((items, true))
    }

    /// Returns whether the upstream takes subscriptions to resources, in the legacy eras.
    pub(crate) fn takes_subscriptions(&self) -> bool {
        let info = self.info();
        let resources = info.as_ref().and_then(|info| info.capabilities.resources.as_ref());
        resources.is_some_and(|resources| resources.subscribe == Some(true))
    }

    /// Returns the filter of a subscription to all lists that the upstream has, and to these resources.
    pub(crate) fn filter(&self, uris: BTreeSet<String>) -> SubscriptionFilter {
        let capabilities = self.info().map(|info| info.capabilities.clone()).unwrap_or_default();
        let mut filter = SubscriptionFilter::new();
        filter.tools_list_changed = capabilities.tools.is_some().then_some(true);
        filter.prompts_list_changed = capabilities.prompts.is_some().then_some(true);
        filter.resources_list_changed = capabilities.resources.is_some().then_some(true);
        filter.resource_subscriptions = (!uris.is_empty()).then(|| uris.into_iter().collect());
        filter
    }

    /// Opens a modern upstream's subscription, which ends when the returned value is dropped.
    pub(crate) async fn listen(
        &self,
        filter: SubscriptionFilter,
    ) -> Result<rmcp::service::Subscription, RequestError> {
        self.peer.listen(filter).await.map_err(RequestError::of)
    }
}

impl Answer {
    /// Returns the result, once it is there. Cancel safe: what was not answered can be waited for again.
    pub(crate) async fn result(&mut self) -> Result<RawObject, RequestError> {
        let Some(handle) = &mut self.handle else {
            return Err(RequestError::Lost("the request has been answered".into()));
        };
        let answered = (&mut handle.rx).await;
        self.handle = None;
        match answered {
            Ok(Ok(_)) => {
                let missing = || RequestError::Lost("the answer is no result".into());
                self.slot.take().ok_or_else(missing)
            }
            Ok(Err(error)) => Err(RequestError::of(error)),
            Err(_) => Err(RequestError::of(ServiceError::TransportClosed)),
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let (true, Ok(runtime)) = (self.answer.handle.is_some(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let params =
            CancelledNotificationParam::new(Some(self.id.clone()), Some("the caller went away".into()));
        let notification = ClientNotification::CancelledNotification(CancelledNotification::new(params));
        let (peer, place) = (self.peer.clone(), self.place.take());
        runtime.spawn(async move {
            let _ = peer.send_notification(notification).await;
            drop(place);
        });
    }
}

impl RequestError {
    /// Whether the upstream does not know the method.
    pub(crate) fn is_unknown_method(&self) -> bool {
        matches!(self, Self::Refused(error) if error.code == ErrorCode::METHOD_NOT_FOUND)
    }

    fn of(error: ServiceError) -> Self {
        match error {
            ServiceError::McpError(error) => Self::Refused(error),
            ServiceError::TransportClosed => Self::Lost("the connection closed".into()),
            ServiceError::Cancelled { .. } => Self::Lost("it cancelled the request".into()),
            ServiceError::TransportSend(error) if http::is_unauthorized(error.error.as_ref()) => {
                Self::Unauthorized
            }
            ServiceError::TransportSend(error) => Self::Lost(innermost(&error)),
            error => Self::Lost(error.to_string()),
        }
    }
}

/// Returns why a handshake failed: if a child ended by itself, that is why.
async fn handshake_failed(
    error: &ClientInitializeError,
    ended: Option<watch::Receiver<Option<String>>>,
) -> ConnectError {
    let text = in_words(error);
    let Some(mut ended) = ended else { return ConnectError::Handshake(text) };
    // What rmcp drops is killed, so that this is soon there.
    let end = ended.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
    match end {
        Some(end) if !end.contains("SIGKILL") => ConnectError::Ended(end),
        _ => ConnectError::Handshake(text),
    }
}

/// Returns what rmcp says of a handshake, in words for an operator.
fn in_words(error: &ClientInitializeError) -> String {
    match error {
        ClientInitializeError::TransportError { error, .. } => innermost(error),
        // The older handshake is the one that more servers speak.
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => in_words(fallback),
        ClientInitializeError::JsonRpcError(error) if error.code == ErrorCode::METHOD_NOT_FOUND => {
            format!(
                "it does not know the method ({}): `protocol` may ask for revisions that it does not speak",
                error.code.0
            )
        }
        ClientInitializeError::JsonRpcError(error) => {
            format!("it answered with the error {}: {}", error.code.0, error.message)
        }
        error => error.to_string(),
    }
}

/// Returns what a transport of ours said, without rmcp's layers around it.
fn innermost(error: &DynamicTransportError) -> String {
    let mut cause: &(dyn Error + 'static) = error.error.as_ref();
    while let Some(next) = cause.source() {
        cause = next;
    }
    let text = cause.to_string();
    // rmcp's own word for what its HTTP client says.
    text.strip_prefix("Client error: ").unwrap_or(&text).to_owned()
}

async fn handshake<T: Transport<RoleClient> + 'static>(
    handler: Handler,
    transport: T,
    era: Era,
) -> Result<Running, ClientInitializeError> {
    let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
    let lifecycle = match era {
        Era::Any => ClientLifecycleMode::Auto { preferred_versions, legacy_version: None },
        Era::Modern => ClientLifecycleMode::Discover { preferred_versions },
        Era::Legacy => ClientLifecycleMode::Initialize,
    };
    handler.serve_with_lifecycle(transport, lifecycle).await
}

/// Answers what an upstream asks of its client.
pub(crate) struct Handler(Arc<Wire>);

impl Handler {
    async fn input(&self, params: Option<serde_json::Value>) -> Result<ClientResult, ErrorData> {
        let refused = |text: &'static str| ErrorData::new(ErrorCode::INVALID_REQUEST, text, None);
        let params: Option<InputParams> = params.and_then(|params| serde_json::from_value(params).ok());
        let Some(params) = params else { return Err(refused("not a request for input")) };
        if params.number.is_none() && params.for_roots {
            // Callers have roots; what they share has none.
            let none = serde_json::json!({"roots": []});
            return Ok(ClientResult::CustomResult(CustomResult(none)));
        }
        let number = params.number;
        let Some(response) = number.and_then(|number| self.0.response_to(number)) else {
            return Err(refused(
                "the request for input belongs to no call, or to several that are under way",
            ));
        };
        match response.await {
            Ok(Some(response)) => Ok(ClientResult::CustomResult(CustomResult(response))),
            Ok(None) => Err(refused("the client can't answer this, or does not want to")),
            Err(_) => Err(refused("the call that this was for has ended")),
        }
    }
}

impl Service<RoleClient> for Handler {
    async fn handle_request(
        &self,
        request: ServerRequest,
        _context: RequestContext<RoleClient>,
    ) -> Result<ClientResult, ErrorData> {
        match request {
            ServerRequest::PingRequest(_) => Ok(ClientResult::empty(())),
            ServerRequest::CustomRequest(request) if request.method == INPUT_METHOD => {
                self.input(request.params).await
            }
            _ => Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "not a method of clients", None)),
        }
    }

    fn handle_notification(
        &self,
        _notification: ServerNotification,
        _context: NotificationContext<RoleClient>,
    ) -> impl Future<Output = Result<(), ErrorData>> + Send + '_ {
        std::future::ready(Ok(()))
    }

    fn get_info(&self) -> ClientConfig {
        let capabilities = all_capabilities();
        let mut implementation = Implementation::default();
        implementation.name = "fastmcp-auth0".into();
        implementation.version = env!("CARGO_PKG_VERSION").into();
        ClientConfig::new(capabilities, implementation)
    }
}

/// Returns everything that some caller's client may be able to do; what the one of a call can't is refused then.
fn all_capabilities() -> ClientCapabilities {
    serde_json::from_value(serde_json::json!({
        "elicitation": {"form": {}, "url": {}}, "sampling": {"context": {}, "tools": {}}, "roots": {},
    }))
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_lists_only_what_is_new_is_kept_once_more() {
        let mut kept = Kept::default();
        let names = |names: [&str; 2]| names.map(str::to_owned);
        assert_eq!(kept.add(names(["a", "b"]), 10), 10);
        assert_eq!(kept.add(names(["a", "b"]), 10), 10);
        assert_eq!(kept.add(names(["b", "c"]), 10), 20);
    }
}
