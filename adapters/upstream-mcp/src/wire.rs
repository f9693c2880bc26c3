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
mod tests {
    use proptest::prelude::*;
    use rmcp::model::JsonRpcRequest;
    use serde_json::json;

    use super::*;

    /// A call under way, whose request has this id and progress token.
    fn call(wire: &Arc<Wire>, id: i64, reading: Reading) -> Registration {
        let registration = wire.register(reading, Source::Caller("a".into()), HeaderMap::new());
        send(wire, id, registration.key);
        registration
    }

    fn send(wire: &Wire, id: i64, key: CallKey) -> HeaderMap {
        let params = json!({"name": "a", "_meta": {"progressToken": format!("token {id}")}});
        let request = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
        let mut request: JsonRpcRequest<ClientRequest> = serde_json::from_value(request).unwrap();
        request.request.extensions_mut().insert(key);
        wire.sending(&JsonRpcMessage::Request(request))
    }

    fn receive(wire: &Wire, message: &Value, stream_of: Option<i64>) -> Option<Value> {
        let text = message.to_string();
        match wire.received(&text, stream_of.map(RequestId::Number).as_ref()).unwrap() {
            Received::Message(text) => Some(serde_json::from_str(&text).unwrap()),
            Received::Taken => None,
        }
    }

    fn log(text: &str) -> Value {
        let params = json!({"level": "info", "data": text});
        json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params})
    }

    fn elicitation() -> Value {
        json!({"jsonrpc": "2.0", "id": 70, "method": "elicitation/create", "params": {"message": "secret"}})
    }

    fn logs(call: &mut Registration) -> Vec<String> {
        let mut logs = Vec::new();
        while let Ok(event) = call.events.try_recv() {
            if let Event::Log(message) = event {
                logs.push(message.data.as_str().unwrap().to_owned());
            }
        }
        logs
    }

    #[test]
    fn a_result_goes_to_its_call_as_it_is_written_and_rmcp_sees_a_stub() {
        let wire = Arc::default();
        let [one, two] = [1, 2].map(|id| call(&wire, id, Reading::Call));
        let text = r#"{"result":{"b":1.50,"a":[ 1 ]},"id":2,"jsonrpc":"2.0"}"#;
        let Received::Message(shown) = wire.received(text, None).unwrap() else { panic!("taken") };
        assert_eq!(
            serde_json::from_str::<Value>(&shown).unwrap(),
            json!({"jsonrpc": "2.0", "id": 2, "result": {}})
        );
        assert_eq!(serde_json::to_string(&two.result.take().unwrap()).unwrap(), r#"{"b":1.50,"a":[ 1 ]}"#);
        assert!(two.result.take().is_none(), "once");
        assert!(one.result.take().is_none());
    }

    #[test]
    fn an_id_that_is_written_as_a_text_is_the_same() {
        let wire = Arc::default();
        let call = call(&wire, 2, Reading::Call);
        let shown = receive(&wire, &json!({"jsonrpc": "2.0", "id": "2", "result": {"a": 1}}), None);
        assert_eq!(shown, Some(json!({"jsonrpc": "2.0", "id": "2", "result": {}})));
        assert!(call.result.take().is_some());
    }

    #[test]
    fn a_list_of_tools_goes_to_rmcp_as_well() {
        let wire = Arc::default();
        let call = call(&wire, 2, Reading::CallAndClient);
        let message = json!({"jsonrpc": "2.0", "id": 2, "result": {"tools": []}});
        assert_eq!(receive(&wire, &message, None), Some(message));
        assert!(call.result.take().is_some());
    }

    #[test]
    fn what_is_no_call_s_goes_to_rmcp() {
        let wire = Arc::default();
        let call = call(&wire, 1, Reading::Call);
        for message in [
            json!({"jsonrpc": "2.0", "id": 2, "result": {"a": 1}}),
            json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": "no"}}),
            json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}),
            json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}),
        ] {
            assert_eq!(receive(&wire, &message, None), Some(message));
        }
        assert!(call.result.take().is_none());
    }

    #[test]
    fn a_result_that_is_no_object_is_an_error_of_its_call() {
        let wire = Arc::default();
        let call = call(&wire, 1, Reading::Call);
        for result in [json!(null), json!([]), json!("a"), json!(1)] {
            let shown = receive(&wire, &json!({"jsonrpc": "2.0", "id": 1, "result": result}), None).unwrap();
            assert_eq!(shown["error"]["code"], -32603);
            assert!(call.result.take().is_none());
        }
    }

    #[test]
    fn progress_goes_to_the_call_with_its_token() {
        let wire = Arc::default();
        let [mut one, mut two] = [1, 2].map(|id| call(&wire, id, Reading::Call));
        let progress = |token: Value| {
            let params = json!({"progressToken": token, "progress": 1, "total": 2.5, "message": "m"});
            json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        };
        // Not even the stream says more than the token.
        assert_eq!(receive(&wire, &progress(json!("token 2")), Some(1)), None);
        assert_eq!(receive(&wire, &progress(json!("token 3")), Some(1)), None);
        assert_eq!(receive(&wire, &progress(json!({})), Some(1)), None);
        let Ok(Event::Progress(told)) = two.events.try_recv() else { panic!("nothing") };
        assert_eq!((told.progress, told.total, told.message.as_deref()), (1.0, Some(2.5), Some("m")));
        assert!(two.events.try_recv().is_err());
        assert!(one.events.try_recv().is_err());
    }

    #[test]
    fn a_log_message_goes_to_the_call_of_its_stream() {
        let wire = Arc::default();
        let [mut one, mut two] = [1, 2].map(|id| call(&wire, id, Reading::Call));
        assert_eq!(receive(&wire, &log("a"), Some(2)), None);
        // The stream of a call that is over, and none at all.
        assert_eq!(receive(&wire, &log("b"), Some(3)), None);
        assert_eq!(receive(&wire, &log("c"), None), None);
        assert_eq!(logs(&mut two), ["a"]);
        assert!(logs(&mut one).is_empty());
    }

    #[test]
    fn a_log_message_without_a_stream_goes_to_the_only_call_under_way() {
        let wire = Arc::default();
        let mut one = call(&wire, 1, Reading::Call);
        let waiting = wire.register(Reading::Call, Source::Caller("a".into()), HeaderMap::new());
        assert_eq!(receive(&wire, &log("a"), None), None);
        send(&wire, 2, waiting.key);
        assert_eq!(receive(&wire, &log("b"), None), None);
        drop(waiting);
        assert_eq!(receive(&wire, &log("c"), None), None);
        assert_eq!(receive(&wire, &log("d"), Some(9)), None, "another call's stream");
        assert_eq!(logs(&mut one), ["a", "c"]);
    }

    #[test]
    fn a_request_for_input_goes_to_its_call_and_rmcp_sees_its_number_alone() {
        let wire = Arc::default();
        let [mut one, mut two] = [1, 2].map(|id| call(&wire, id, Reading::Call));
        let shown = receive(&wire, &elicitation(), Some(2)).unwrap();
        let Ok(Event::Input(input)) = two.events.try_recv() else { panic!("nothing") };
        let params = json!({"number": input.number, "for_roots": false});
        assert_eq!(shown, json!({"jsonrpc": "2.0", "id": 70, "method": INPUT_METHOD, "params": params}));
        assert!(one.events.try_recv().is_err());
        assert_eq!(input.kind, InputKind::Elicit);
        assert_eq!(serde_json::to_value(&input.params).unwrap(), json!({"message": "secret"}));
        let mut response = wire.response_to(input.number).unwrap();
        assert!(wire.response_to(input.number).is_none(), "once");
        input.respond.send(Some(json!(1))).unwrap();
        assert_eq!(response.try_recv(), Ok(Some(json!(1))));
    }

    #[test]
    fn a_request_of_the_server_s_own_is_given_no_input_and_no_log() {
        let wire: Arc<Wire> = Arc::default();
        let mut own = wire.register(Reading::Call, Source::Server, HeaderMap::new());
        send(&wire, 1, own.key);
        let mut one = call(&wire, 2, Reading::Call);
        for stream_of in [Some(1), None] {
            receive(&wire, &elicitation(), stream_of).unwrap();
            receive(&wire, &log("a"), stream_of);
        }
        assert!(own.events.try_recv().is_err());
        assert!(matches!(one.events.try_recv(), Ok(Event::Input(_))), "the only caller's");
        assert_eq!(logs(&mut one), ["a"]);
    }

    #[test]
    fn a_request_for_input_that_is_no_call_s_for_certain_is_nobody_s() {
        let wire = Arc::default();
        let shown =
            |stream_of| receive(&wire, &elicitation(), stream_of).unwrap()["params"]["number"].clone();
        assert!(shown(None).is_null(), "there is no call");
        let mut one = call(&wire, 1, Reading::Call);
        assert!(shown(None).is_u64());
        assert!(shown(Some(9)).is_null(), "another stream's");
        let mut two = call(&wire, 2, Reading::Call);
        assert!(shown(None).is_null(), "there are two");
        assert!(matches!(one.events.try_recv(), Ok(Event::Input(_))));
        assert!(one.events.try_recv().is_err() && two.events.try_recv().is_err());
    }

    #[test]
    fn a_call_that_takes_nothing_costs_a_bounded_number_of_events() {
        let wire: Arc<Wire> = Arc::default();
        let mut one = call(&wire, 1, Reading::Call);
        for _ in 0..2 * MAX_EVENTS {
            receive(&wire, &elicitation(), None).unwrap();
        }
        assert_eq!(wire.lock().responses.len(), MAX_EVENTS);
        assert_eq!(receive(&wire, &log("a"), None), None);
        assert!(logs(&mut one).is_empty());
    }

    #[test]
    fn a_dropped_call_is_forgotten_with_all_that_is_its() {
        let wire: Arc<Wire> = Arc::default();
        let one = call(&wire, 1, Reading::Call);
        receive(&wire, &elicitation(), None).unwrap();
        drop(one);
        let state = wire.lock();
        assert!(state.calls.is_empty() && state.by_id.is_empty());
        assert!(state.by_progress_token.is_empty() && state.responses.is_empty());
        drop(state);
        let message = json!({"jsonrpc": "2.0", "id": 1, "result": {"a": 1}});
        assert_eq!(receive(&wire, &message, None), Some(message));
    }

    #[test]
    fn a_request_has_the_header_fields_of_its_call() {
        let wire: Arc<Wire> = Arc::default();
        let fields: HeaderMap = [(hyper::header::FROM, "a".parse().unwrap())].into_iter().collect();
        let one = wire.register(Reading::Call, Source::Caller("a".into()), fields.clone());
        assert_eq!(send(&wire, 1, one.key), fields);
        let key = one.key;
        drop(one);
        assert!(send(&wire, 2, key).is_empty());
        assert!(wire.lock().by_id.is_empty());
    }

    #[test]
    fn changes_are_told_once() {
        let wire: Arc<Wire> = Arc::default();
        for (method, params) in [
            ("notifications/tools/list_changed", json!({})),
            ("notifications/prompts/list_changed", json!(null)),
            ("notifications/resources/updated", json!({"uri": "a:b"})),
            ("notifications/resources/updated", json!({"uri": 1})),
        ] {
            assert_eq!(
                receive(&wire, &json!({"jsonrpc": "2.0", "method": method, "params": params}), None),
                None
            );
        }
        let changes = wire.take_changes();
        assert!(changes.tools && changes.prompts && !changes.resources);
        assert_eq!(changes.updated, BTreeSet::from(["a:b".to_owned()]));
        assert!(wire.take_changes().updated.is_empty());
    }

    #[test]
    fn what_is_no_message_is_malformed() {
        for text in
            ["", "a", "1", "[]", r#"[1,null,null,{"a":1}]"#, "{", r#"{"id":1.5}"#, r#"{"id":1,"id":2}"#]
        {
            assert_eq!(Wire::default().received(text, None), Err(Malformed), "{text}");
        }
    }

    #[test]
    fn depth_does_not_matter() {
        let wire = Arc::default();
        let call = call(&wire, 1, Reading::Call);
        let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        wire.received(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"a":{deep}}}}}"#), None).unwrap();
        assert_eq!(call.result.take().unwrap().get("a").unwrap().get(), deep);
        for method in ["notifications/message", "notifications/progress", "elicitation/create", "a"] {
            let text =
                format!(r#"{{"method":"{method}","id":null,"params":{{"data":{deep},"level":"info"}}}}"#);
            wire.received(&text, None).unwrap();
        }
    }

    const MEMBERS: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];
    const PARAMS: &[&str] =
        &["progressToken", "progress", "total", "message", "level", "data", "logger", "uri"];

    fn value() -> impl Strategy<Value = Value> {
        let texts = ["", "1", "token 1", "a:b", "info", "elicitation/create", "notifications/message"];
        let more = ["notifications/progress", "notifications/resources/updated", "sampling/createMessage"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-2..3_i64).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            prop::sample::select([&texts[..], &more].concat()).prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            let object = prop::collection::btree_map(prop::sample::select(PARAMS), inner.clone(), 0..4);
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(Value::from),
                object.prop_map(|members| json!(members)),
            ]
        })
    }

    fn message() -> impl Strategy<Value = Value> {
        prop::collection::btree_map(prop::sample::select(MEMBERS), value(), 0..6)
            .prop_map(|members| json!(members))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_message_holds(
            messages in prop::collection::vec((message(), prop::option::of(0..3_i64)), 1..4),
            calls in 0..3_i64,
        ) {
            let wire: Arc<Wire> = Arc::default();
            let calls: Vec<Registration> = (0..calls).map(|id| call(&wire, id, Reading::Call)).collect();
            for (message, stream_of) in messages {
                let text = message.to_string();
                if let Ok(Received::Message(text)) = wire.received(&text, stream_of.map(RequestId::Number).as_ref()) {
                    prop_assert!(serde_json::from_str::<Value>(&text).unwrap().is_object());
                }
            }
            drop(calls);
            prop_assert!(wire.lock().by_id.is_empty() && wire.lock().responses.is_empty());
        }

        #[test]
        fn any_bytes_hold(bytes in prop::collection::vec(any::<u8>(), 0..100), cut in 0..200_usize) {
            let wire: Arc<Wire> = Arc::default();
            let _call = call(&wire, 1, Reading::Call);
            let _ = wire.received(&String::from_utf8_lossy(&bytes), None);
            let text = r#"{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"a":"\u0041"},"result":{}}"#;
            let mut text = text.as_bytes()[..cut.min(text.len())].to_vec();
            text.extend(bytes);
            let _ = wire.received(&String::from_utf8_lossy(&text), Some(&RequestId::Number(1)));
        }
    }

    #[test]
    fn an_upstream_that_takes_no_responses_has_no_room_for_further_requests() {
        use futures_util::FutureExt as _;

        let wire = Arc::<Wire>::default();
        let ping = |id: usize| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        let input = |id: usize| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"elicitation/create"}}"#);
        for id in 0..MAX_UNANSWERED {
            assert!(wire.room().now_or_never().is_some());
            let text = if id % 2 == 0 { ping(id) } else { input(id) };
            wire.received(&text, None).unwrap();
        }
        assert!(wire.room().now_or_never().is_none());
        let message = serde_json::json!({"jsonrpc": "2.0", "id": 5, "result": {}});
        let response: ClientJsonRpcMessage = serde_json::from_value(message).unwrap();
        let responding = wire.responding(&response).unwrap();
        assert!(wire.room().now_or_never().is_none(), "it is on its way");
        drop(responding);
        assert!(wire.room().now_or_never().is_some());
        let long = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "a".repeat(MAX_ID + 1));
        assert_eq!(wire.received(&long, None), Err(Malformed));
    }

    #[test]
    fn what_comes_for_a_call_is_bounded() {
        let wire = Arc::<Wire>::default();
        let mut call = wire.register(Reading::Call, Source::Caller("a".into()), HeaderMap::new());
        wire.lock().by_id.insert(RequestId::Number(1), call.key);
        let long = "a".repeat(MAX_EVENT_BYTES);
        let message = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"info","data":"{long}"}}}}"#
        );
        assert_eq!(wire.received(&message, None), Ok(Received::Taken));
        assert!(call.events.try_recv().is_err());
        let input = r#"{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"message":"a"}}"#;
        for _ in 0..MAX_INPUTS {
            wire.received(input, None).unwrap();
            assert!(call.events.try_recv().is_ok());
        }
        wire.received(input, None).unwrap();
        assert!(call.events.try_recv().is_err());
        let uri = "a".repeat(MAX_URI + 1);
        let updated = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"uri":"{uri}"}}}}"#
        );
        wire.received(&updated, None).unwrap();
        assert!(wire.take_changes().updated.is_empty());
    }
}
