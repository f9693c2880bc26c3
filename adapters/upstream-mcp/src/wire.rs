//! [`Wire`]: gives each message of an upstream's to the call that it belongs to, as it was written.
//!
//! rmcp carries the protocol: its handshakes, ids, sessions, streams and header fields. What a call is answered, it would read
//! into types of its own and lose what those don't have, so results, progress, log messages and requests for input are taken
//! off here, on their way to rmcp, by both transports. A message that belongs to no call under way goes to nobody's.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{Clock, InputKind, LogLevel, LogMessage, Progress, RawObject};
use hyper::HeaderMap;
use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, GetExtensions as _, GetMeta as _, JsonRpcMessage, RequestId,
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::{Notify, mpsc, oneshot};

/// The maximum number of a call's events that it has not taken; progress and log messages beyond are dropped.
const MAX_EVENTS: usize = 64;
/// The maximum number of resources whose updates have not been taken.
const MAX_UPDATED: usize = 1000;
/// The maximum length of a resource's URI in an update, in bytes.
const MAX_URI: usize = 4096;
/// The maximum length of the params of a progress or log message, in bytes. As a tree they take a multiple of it.
const MAX_EVENT_BYTES: usize = 32 << 10;
/// How much input may be requested in one call: the number of requests, and the length of their params in all.
const MAX_INPUTS: usize = 64;
const MAX_INPUT_BYTES: usize = 4 << 20;
/// The maximum number of requests of the upstream's, other than for input, whose responses have not been sent. What an upstream
/// sends beyond is not read until it reads those.
const MAX_UNANSWERED: usize = 64;
/// The maximum length of the id of a request of the upstream's, in bytes.
const MAX_ID: usize = 1024;
/// The method under which rmcp is shown a request for input, so that it passes it on as it is.
pub(crate) const INPUT_METHOD: &str = "fastmcp-auth0/input";

/// What passes over one connection.
#[derive(Default)]
pub(crate) struct Wire {
    state: Mutex<State>,
    /// Notified of every change to [`Wire::take_changes`].
    pub(crate) changed: Notify,
    /// Notified when a response has been sent.
    responded: Notify,
    clock: Option<Arc<dyn Clock>>,
    /// How long a call may go on at the upstream once nobody waits for it.
    echo: Duration,
}

#[derive(Default)]
struct State {
    last_key: u64,
    calls: HashMap<CallKey, Entry>,
    by_id: HashMap<RequestId, CallKey>,
    by_progress_token: HashMap<RequestId, CallKey>,
    /// Where the responses to requests for input will come from, by the requests' numbers.
    responses: HashMap<u64, (CallKey, InputReceiver)>,
    changes: Changes,
    /// Requests of the upstream's, other than for input, whose responses have not been sent.
    unanswered: HashSet<RequestId>,
    /// Until when, by uptime, an unanswered call of a caller's that nobody waits for may still be under way.
    abandoned: HashMap<Arc<str>, Duration>,
}

/// A call under way, in the extensions of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CallKey(u64);

struct Entry {
    events: mpsc::Sender<Event>,
    source: Source,
    reading: Reading,
    result: ResultSlot,
    headers: HeaderMap,
    id: Option<RequestId>,
    progress_token: Option<RequestId>,
    is_answered: bool,
    /// How much input was requested of it.
    inputs: usize,
    input_bytes: usize,
}

/// Whose a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A caller's, who can be asked for input. The text is the same for no two of them.
    Caller(Arc<str>),
    /// This server's own.
    Server,
}

/// Who reads a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The call alone: rmcp gets an empty result in its place.
    Call,
    /// The call and rmcp, which takes header fields from lists of tools.
    CallAndClient,
}

/// What comes for a call before its result.
pub(crate) enum Event {
    Progress(Progress),
    Log(LogMessage),
    /// The upstream requests input of the caller.
    Input(Input),
}

/// A request for input, which is refused when this is dropped.
pub(crate) struct Input {
    /// Unique on the connection.
    pub(crate) number: u64,
    pub(crate) kind: InputKind,
    pub(crate) params: RawObject,
    /// Takes the response; `None` refuses.
    pub(crate) respond: oneshot::Sender<Option<Value>>,
}

pub(crate) type InputReceiver = oneshot::Receiver<Option<Value>>;

/// Which lists changed, and which resources.
#[derive(Default)]
pub(crate) struct Changes {
    pub(crate) tools: bool,
    pub(crate) resources: bool,
    pub(crate) prompts: bool,
    pub(crate) updated: BTreeSet<String>,
}

/// What a transport does with a message of the upstream's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received<'a> {
    /// Passes this text on to rmcp.
    Message(Cow<'a, str>),
    /// Nothing: it was a call's, or nobody's.
    Taken,
}

/// Not a JSON-RPC message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the upstream sent what is no JSON-RPC message")]
pub(crate) struct Malformed;

/// A registered call; it ends when this is dropped.
pub(crate) struct Registration {
    wire: Arc<Wire>,
    pub(crate) key: CallKey,
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) result: ResultSlot,
}

/// Where a call's result is, once rmcp says that it was answered.
#[derive(Clone, Default)]
pub(crate) struct ResultSlot(Arc<Mutex<Option<RawObject>>>);

/// Any message of JSON-RPC, by its members.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, RawValue>>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    result: Option<&'a RawValue>,
}

/// Reads a member so that `null` is not taken for its absence.
fn even_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProgressParams {
    progress_token: RequestId,
    progress: f64,
    total: Option<f64>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct LogParams {
    level: String,
    logger: Option<String>,
    data: Value,
}

#[derive(Deserialize)]
struct UpdatedParams {
    uri: String,
}

/// The `params` that [`INPUT_METHOD`] has.
#[derive(Serialize, Deserialize)]
pub(crate) struct InputParams {
    /// The number of the request; `None` if it belongs to no call.
    pub(crate) number: Option<u64>,
    /// Whether it is for the client's roots.
    pub(crate) for_roots: bool,
}

impl Wire {
    /// Creates the wire of a connection on which a call that nobody waits for any more may go on for this long.
    pub(crate) fn new(clock: Arc<dyn Clock>, echo: Duration) -> Self {
        Self { clock: Some(clock), echo, ..Self::default() }
    }

    fn uptime(&self) -> Duration {
        self.clock.as_ref().map_or(Duration::ZERO, |clock| clock.uptime())
    }

    /// Registers a call, before its request is sent with the key in its extensions. Over HTTP it has these header fields.
    pub(crate) fn register(
        self: &Arc<Self>,
        reading: Reading,
        source: Source,
        headers: HeaderMap,
    ) -> Registration {
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let result = ResultSlot::default();
        let entry = Entry {
            events: sender,
            source,
            reading,
            result: result.clone(),
            headers,
            id: None,
            progress_token: None,
            is_answered: false,
            inputs: 0,
            input_bytes: 0,
        };
        let mut state = self.lock();
        state.last_key += 1;
        let key = CallKey(state.last_key);
        state.calls.insert(key, entry);
        Registration { wire: Arc::clone(self), key, events, result }
    }

    /// Takes note of a message that is about to be sent, and returns the header fields of its call.
    pub(crate) fn sending(&self, message: &ClientJsonRpcMessage) -> HeaderMap {
        let JsonRpcMessage::Request(request) = message else {
            return HeaderMap::new();
        };
        if matches!(request.request, ClientRequest::InitializeRequest(_)) {
            // What a session before this one was to be answered is nobody's any more.
            self.lock().unanswered.clear();
            self.responded.notify_waiters();
        }
        let Some(key) = request.request.extensions().get::<CallKey>().copied() else {
            return HeaderMap::new();
        };
        let progress_token = request.request.get_meta().get_progress_token().map(|token| token.0);
        let mut state = self.lock();
        let Some(entry) = state.calls.get_mut(&key) else {
            return HeaderMap::new();
        };
        entry.id = Some(request.id.clone());
        entry.progress_token.clone_from(&progress_token);
        let headers = entry.headers.clone();
        state.by_id.insert(request.id.clone(), key);
        state.by_progress_token.extend(progress_token.map(|token| (token, key)));
        headers
    }

    /// Judges a message of the upstream's. `stream_of` is the request on whose response stream it came, where that is known.
    ///
    /// # Errors
    /// [`Malformed`].
    pub(crate) fn received<'a>(
        &self,
        text: &'a str,
        stream_of: Option<&RequestId>,
    ) -> Result<Received<'a>, Malformed> {
        // An array would be taken for an object by the order of its members.
        if !text.trim_ascii_start().starts_with('{') {
            return Err(Malformed);
        }
        let envelope: Envelope<'a> = serde_json::from_str(text).map_err(|_| Malformed)?;
        let id: Option<RequestId> = match &envelope.id {
            None => None,
            Some(id) => serde_json::from_str(id.get()).map_err(|_| Malformed)?,
        };
        let as_it_is = || Received::Message(Cow::Borrowed(text));
        Ok(match (envelope.method.as_deref(), id) {
            (None, Some(id)) => {
                if let Some(result) = envelope.result {
                    self.answered(&id, result).unwrap_or_else(as_it_is)
                } else {
                    self.lock().is_answered(&id);
                    as_it_is()
                }
            }
            (Some(_), Some(RequestId::String(id))) if id.len() > MAX_ID => return Err(Malformed),
            (Some(method), Some(id)) => {
                if let Some(kind) = InputKind::of_method(method) {
                    self.input_required(&id, kind, envelope.params, stream_of)?
                } else {
                    self.lock().unanswered.insert(id);
                    as_it_is()
                }
            }
            (Some(method), None) => {
                if self.notified(method, envelope.params, stream_of) {
                    Received::Taken
                } else {
                    as_it_is()
                }
            }
            (None, None) => as_it_is(),
        })
    }

    /// Gives a result to its call, and returns what rmcp is shown; `None` for the message as it is.
    fn answered(&self, id: &RequestId, result: &RawValue) -> Option<Received<'static>> {
        let mut state = self.lock();
        let entry = state.is_answered(id)?;
        let Ok(object) = serde_json::from_str::<RawObject>(result.get()) else {
            let error = serde_json::json!({"code": -32603, "message": "the result is no object"});
            let message = serde_json::json!({"jsonrpc": "2.0", "id": id, "error": error});
            return Some(Received::Message(message.to_string().into()));
        };
        entry.result.set(object);
        if entry.reading == Reading::CallAndClient {
            return None;
        }
        let message = serde_json::json!({"jsonrpc": "2.0", "id": id, "result": {}});
        Some(Received::Message(message.to_string().into()))
    }

    /// Gives a request for input to the call that it is for: the one on whose stream it came, or else the only one under way.
    /// rmcp is shown its number alone. One that is for no call certainly is for none, and refused.
    fn input_required(
        &self,
        id: &RequestId,
        kind: InputKind,
        params: Option<&RawValue>,
        stream_of: Option<&RequestId>,
    ) -> Result<Received<'static>, Malformed> {
        let params = match params {
            None => RawObject::default(),
            Some(params) => serde_json::from_str(params.get()).map_err(|_| Malformed)?,
        };
        let uptime = self.uptime();
        let mut state = self.lock();
        let number = state.meant(stream_of, uptime).and_then(|call| {
            state.last_key += 1;
            let number = state.last_key;
            let (respond, response) = oneshot::channel();
            let entry = state.calls.get_mut(&call)?;
            entry.inputs += 1;
            entry.input_bytes += params.bytes();
            if entry.inputs > MAX_INPUTS || entry.input_bytes > MAX_INPUT_BYTES {
                return None;
            }
            entry.events.try_send(Event::Input(Input { number, kind, params, respond })).ok()?;
            state.responses.insert(number, (call, response));
            Some(number)
        });
        if number.is_none() {
            state.unanswered.insert(id.clone());
        }
        let message = serde_json::json!({
            "jsonrpc": "2.0", "id": id, "method": INPUT_METHOD, "params": InputParams { number, for_roots: kind == InputKind::ListRoots },
        });
        Ok(Received::Message(message.to_string().into()))
    }

    /// Handles a notification; returns whether rmcp need not see it.
    fn notified(&self, method: &str, params: Option<&RawValue>, stream_of: Option<&RequestId>) -> bool {
        let params = params.map_or("{}", RawValue::get);
        match method {
            "notifications/progress" | "notifications/message" if params.len() > MAX_EVENT_BYTES => {}
            "notifications/progress" => {
                if let Ok(params) = serde_json::from_str(params) {
                    self.progressed(params);
                }
            }
            "notifications/message" => {
                if let Some(message) = serde_json::from_str(params).ok().and_then(log_message) {
                    let uptime = self.uptime();
                    let state = self.lock();
                    state.tell(state.meant(stream_of, uptime), Event::Log(message));
                }
            }
            "notifications/tools/list_changed" => self.change(|changes| changes.tools = true),
            "notifications/resources/list_changed" => self.change(|changes| changes.resources = true),
            "notifications/prompts/list_changed" => self.change(|changes| changes.prompts = true),
            "notifications/resources/updated" => {
                if let Ok(UpdatedParams { uri }) = serde_json::from_str(params) {
                    self.change(|changes| {
                        if changes.updated.len() < MAX_UPDATED && uri.len() <= MAX_URI {
                            changes.updated.insert(uri);
                        }
                    });
                }
            }
            "notifications/cancelled" | "notifications/subscriptions/acknowledged" => return false,
            _ => {}
        }
        true
    }

    fn progressed(&self, params: ProgressParams) {
        let mut progress = Progress::new(params.progress);
        (progress.total, progress.message) = (params.total, params.message);
        let state = self.lock();
        let call = state.by_progress_token.get(&params.progress_token).copied();
        state.tell(call, Event::Progress(progress));
    }

    fn change(&self, change: impl FnOnce(&mut Changes)) {
        change(&mut self.lock().changes);
        self.changed.notify_one();
    }

    /// Returns what changed since the last time.
    pub(crate) fn take_changes(&self) -> Changes {
        std::mem::take(&mut self.lock().changes)
    }

    /// Returns where the response to a request for input will come from, once.
    pub(crate) fn response_to(&self, number: u64) -> Option<InputReceiver> {
        self.lock().responses.remove(&number).map(|(_, response)| response)
    }

    /// Waits until there is room for further requests of the upstream's.
    pub(crate) async fn room(&self) {
        loop {
            let responded = self.responded.notified();
            if self.lock().unanswered.len() < MAX_UNANSWERED {
                return;
            }
            responded.await;
        }
    }

    /// Returns what says, when it is dropped, that the message has been sent, or never will be.
    pub(crate) fn responding(self: &Arc<Self>, message: &ClientJsonRpcMessage) -> Option<Responding> {
        let id = match message {
            JsonRpcMessage::Response(response) => Some(&response.id),
            JsonRpcMessage::Error(error) => error.id.as_ref(),
            JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => None,
        };
        id.map(|id| Responding { wire: Arc::clone(self), id: id.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns the call whose request has this id; some servers write a number as a text.
    fn call_of(&self, id: &RequestId) -> Option<CallKey> {
        let as_number = || match id {
            RequestId::String(text) => text.parse().ok().map(RequestId::Number),
            RequestId::Number(_) => None,
        };
        self.by_id.get(id).or_else(|| self.by_id.get(&as_number()?)).copied()
    }

    /// Takes note that the call whose request has this id was answered, and returns it.
    fn is_answered(&mut self, id: &RequestId) -> Option<&Entry> {
        let entry = self.call_of(id).and_then(|key| self.calls.get_mut(&key))?;
        entry.is_answered = true;
        Some(entry)
    }

    /// Returns the call that something is meant for.
    fn meant(&self, stream_of: Option<&RequestId>, uptime: Duration) -> Option<CallKey> {
        let caller = |key: &CallKey| match &self.calls.get(key)?.source {
            Source::Caller(caller) => Some(caller),
            Source::Server => None,
        };
        if let Some(id) = stream_of {
            return self.call_of(id).filter(|key| caller(key).is_some());
        }
        let mut under_way = self.by_id.values().filter_map(|key| Some((key, caller(key)?)));
        let (key, caller) = under_way.next()?;
        // It may be meant for a call that the upstream goes on with although its caller went away.
        let is_others = |(other, until): (&Arc<str>, &Duration)| other != caller && *until > uptime;
        let is_certain = under_way.next().is_none() && !self.abandoned.iter().any(is_others);
        is_certain.then_some(*key)
    }

    fn tell(&self, call: Option<CallKey>, event: Event) {
        if let Some(entry) = call.and_then(|key| self.calls.get(&key)) {
            // A call that does not take its events loses some.
            let _ = entry.events.try_send(event);
        }
    }
}

impl ResultSlot {
    fn set(&self, result: RawObject) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }

    /// Returns the result, once.
    pub(crate) fn take(&self) -> Option<RawObject> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A response on its way to the upstream.
pub(crate) struct Responding {
    wire: Arc<Wire>,
    id: RequestId,
}

impl Drop for Responding {
    fn drop(&mut self) {
        self.wire.lock().unanswered.remove(&self.id);
        self.wire.responded.notify_waiters();
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let uptime = self.wire.uptime();
        let mut state = self.wire.lock();
        let Some(entry) = state.calls.remove(&self.key) else { return };
        if let (Source::Caller(caller), Some(_), false) = (entry.source, &entry.id, entry.is_answered) {
            state.abandoned.retain(|_, until| *until > uptime);
            state.abandoned.insert(caller, uptime.saturating_add(self.wire.echo));
        }
        if let Some(id) = entry.id {
            state.by_id.remove(&id);
        }
        if let Some(token) = entry.progress_token {
            state.by_progress_token.remove(&token);
        }
        let key = self.key;
        state.responses.retain(|_, (call, _)| *call != key);
    }
}

fn log_message(params: LogParams) -> Option<LogMessage> {
    let level = match params.level.as_str() {
        "debug" => LogLevel::Debug,
        "info" => LogLevel::Info,
        "notice" => LogLevel::Notice,
        "warning" => LogLevel::Warning,
        "error" => LogLevel::Error,
        "critical" => LogLevel::Critical,
        "alert" => LogLevel::Alert,
        "emergency" => LogLevel::Emergency,
        _ => return None,
    };
    let message = LogMessage::new(level, params.data);
    Some(match params.logger {
        Some(logger) => message.logger(logger),
        None => message,
    })
}

#[cfg(test)]
mod tests;
