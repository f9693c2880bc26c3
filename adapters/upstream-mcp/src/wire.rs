//! [`Wire`]: gives each message of an upstream's to the call that it belongs to, as it was written.
//!
//! rmcp carries the protocol: its handshakes, ids, sessions, streams and header fields. What a call is answered, it would read
//! into types of its own and lose what those don't have, so results, progress, log messages and requests for input are taken
//! off here, on their way to rmcp, by both transports. A message that belongs to no call under way goes to nobody's.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{InputKind, LogLevel, LogMessage, Progress, RawObject};
use hyper::HeaderMap;
use rmcp::model::{ClientJsonRpcMessage, GetExtensions as _, GetMeta as _, JsonRpcMessage, RequestId};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::{Notify, mpsc, oneshot};

/// The maximum number of a call's events that it has not taken; progress and log messages beyond are dropped.
const MAX_EVENTS: usize = 64;
/// The maximum number of resources whose updates have not been taken.
const MAX_UPDATED: usize = 1000;
/// The method under which rmcp is shown a request for input, so that it passes it on as it is.
pub(crate) const INPUT_METHOD: &str = "fastmcp-auth0/input";

/// What passes over one connection.
#[derive(Default)]
pub(crate) struct Wire {
    state: Mutex<State>,
    /// Notified of every change to [`Wire::take_changes`].
    pub(crate) changed: Notify,
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
}

/// Whose a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A caller's, who can be asked for input.
    Caller,
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
            (None, Some(id)) => match envelope.result {
                Some(result) => self.answered(&id, result).unwrap_or_else(as_it_is),
                None => as_it_is(),
            },
            (Some(method), Some(id)) => match InputKind::of_method(method) {
                Some(kind) => self.input_required(&id, kind, envelope.params, stream_of)?,
                None => as_it_is(),
            },
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
        let state = self.lock();
        let entry = state.call_of(id).and_then(|key| state.calls.get(&key))?;
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
        let mut state = self.lock();
        let number = state.meant(stream_of).and_then(|call| {
            state.last_key += 1;
            let number = state.last_key;
            let (respond, response) = oneshot::channel();
            let input = Input { number, kind, params, respond };
            state.calls.get(&call)?.events.try_send(Event::Input(input)).ok()?;
            state.responses.insert(number, (call, response));
            Some(number)
        });
        let message = serde_json::json!({
            "jsonrpc": "2.0", "id": id, "method": INPUT_METHOD, "params": InputParams { number, for_roots: kind == InputKind::ListRoots },
        });
        Ok(Received::Message(message.to_string().into()))
    }

    /// Handles a notification; returns whether rmcp need not see it.
    fn notified(&self, method: &str, params: Option<&RawValue>, stream_of: Option<&RequestId>) -> bool {
        let params = params.map_or("{}", RawValue::get);
        match method {
            "notifications/progress" => {
                if let Ok(params) = serde_json::from_str(params) {
                    self.progressed(params);
                }
            }
            "notifications/message" => {
                if let Some(message) = serde_json::from_str(params).ok().and_then(log_message) {
                    let state = self.lock();
                    state.tell(state.meant(stream_of), Event::Log(message));
                }
            }
            "notifications/tools/list_changed" => self.change(|changes| changes.tools = true),
            "notifications/resources/list_changed" => self.change(|changes| changes.resources = true),
            "notifications/prompts/list_changed" => self.change(|changes| changes.prompts = true),
            "notifications/resources/updated" => {
                if let Ok(UpdatedParams { uri }) = serde_json::from_str(params) {
                    self.change(|changes| {
                        if changes.updated.len() < MAX_UPDATED {
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

    /// Returns the call that something is meant for.
    fn meant(&self, stream_of: Option<&RequestId>) -> Option<CallKey> {
        let is_callers =
            |key: &CallKey| self.calls.get(key).is_some_and(|entry| entry.source == Source::Caller);
        if let Some(id) = stream_of {
            return self.call_of(id).filter(is_callers);
        }
        let mut under_way = self.by_id.values().filter(|key| is_callers(key));
        under_way.next().copied().filter(|_| under_way.next().is_none())
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

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.wire.lock();
        let Some(entry) = state.calls.remove(&self.key) else { return };
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
