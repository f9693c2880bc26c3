//! A caller's request at the upstream, from its beginning to its result: what comes meanwhile goes to the caller, and what the
//! upstream requests of the client is brought there and back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{
    Clock, Context, DownstreamToken, InputKind, InputRequest, InputRequired, LogLevel, Outcome, RawObject,
    RelayedError, Span, ToolError, Watch,
};
use futures_util::future::{Either, select};
use rmcp::model::{ClientCapabilities, ClientRequest, InputResponses, RequestMetaObject};
use rmcp::service::PeerRequestOptions;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::connection::{Connection, Request, RequestError};
use crate::options::Options;
use crate::parked::{Parked, UnderWay};
use crate::stderr::shown;
use crate::trace;
use crate::wire::{Event, Input, Reading, Source};

/// Brings requests to one upstream, by whichever connection there is.
pub(crate) struct Relay {
    pub(crate) options: Options,
    pub(crate) clock: Arc<dyn Clock>,
    connection: Mutex<Option<Arc<Connection>>>,
    /// Places of calls at a time.
    places: Arc<Semaphore>,
    parked: Parked,
    /// Notified when a call was lost: perhaps the connection is.
    pub(crate) suspect: Notify,
    watched: Mutex<HashMap<String, usize>>,
    /// Notified when what is watched changed.
    pub(crate) watching: Notify,
}

/// What a modern upstream has to be sent of the round before.
#[derive(Default)]
pub(crate) struct Resumption {
    pub(crate) input_responses: Option<InputResponses>,
    pub(crate) request_state: Option<String>,
}

/// The state between two rounds of a call; sealed on its way through the client.
#[derive(serde::Serialize, Deserialize)]
enum State {
    /// The upstream's call waits under this key.
    Parked(String),
    /// A modern upstream's own state, and the names of what it requested.
    Upstream { state: Option<String>, names: Vec<String> },
}

/// A request for input of a modern upstream.
#[derive(Deserialize)]
struct ModernInput {
    method: String,
    params: Option<RawObject>,
}

/// How a request runs.
#[derive(Clone, Copy)]
enum Kind {
    /// With whatever comes before its result, for this long at the most.
    Call(Duration),
    /// With one answer and no input on the way.
    Question,
}

/// Why a request has no result.
enum Failed {
    /// The upstream answered 401, and did nothing.
    Unauthorized,
    /// The caller is told so.
    Told(ToolError),
}

impl From<ToolError> for Failed {
    fn from(error: ToolError) -> Self {
        Self::Told(error)
    }
}

/// What comes next in a call.
enum Next {
    Result(Result<RawObject, RequestError>),
    Event(Event),
    TooLong,
}

impl Relay {
    pub(crate) fn new(options: Options, clock: Arc<dyn Clock>) -> Self {
        Self {
            connection: Mutex::default(),
            places: Arc::new(Semaphore::new(options.limits.calls)),
            parked: Parked::new(Arc::clone(&clock), options.limits),
            suspect: Notify::new(),
            watched: Mutex::default(),
            watching: Notify::new(),
            options,
            clock,
        }
    }

    /// Has requests go over this connection from now on.
    pub(crate) fn set_connection(&self, connection: Option<Arc<Connection>>) {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    pub(crate) fn connection(&self) -> Option<Arc<Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the connection, or a failure for the caller.
    pub(crate) fn connected(&self) -> Result<Arc<Connection>, ToolError> {
        self.connection().ok_or_else(|| {
            let name = &self.options.name;
            ToolError::new(format!("the server {name} is not available at the moment; try again later"))
        })
    }

    /// Runs one round of a request: begins it, or goes on with the one that waits for this caller's input.
    pub(crate) async fn relay(
        &self,
        context: &Context<'_>,
        timeout: Duration,
        request: impl FnOnce(Resumption) -> ClientRequest + Send,
    ) -> Result<Outcome<RawObject>, ToolError> {
        let state: Option<State> = context.request_state.and_then(|state| State::deserialize(state).ok());
        let resumption = match state {
            Some(State::Parked(key)) => {
                let taken = self.parked.take(&key, context.principal);
                let mut call = taken.ok_or_else(|| ToolError::new(GONE))?;
                answer(&mut call, context);
                return self.follow(call, context, timeout).await.map_err(|failed| self.told(failed));
            }
            Some(State::Upstream { state, names }) => Resumption::of(state, names, context)?,
            None => Resumption::default(),
        };
        self.run(context, Kind::Call(timeout), request(resumption)).await
    }

    /// Sends a request that has one answer and no input on the way, and returns its result.
    pub(crate) async fn ask(
        &self,
        context: &Context<'_>,
        request: ClientRequest,
    ) -> Result<RawObject, ToolError> {
        match self.run(context, Kind::Question, request).await? {
            Outcome::Complete(result) | Outcome::Relayed(result) => Ok(result),
            Outcome::InputRequired(required) => Err(required.into()),
        }
    }

    /// Runs a request from its beginning; with another token once more, if the upstream refuses the one that it carries: it was
    /// read by nobody then.
    async fn run(
        &self,
        context: &Context<'_>,
        kind: Kind,
        request: ClientRequest,
    ) -> Result<Outcome<RawObject>, ToolError> {
        let Some(token) = self.token(context, None).await? else {
            return self.attempt(context, kind, request, None).await.map_err(|failed| self.told(failed));
        };
        let attempted = match self.attempt(context, kind, request.clone(), Some(&token)).await {
            Err(Failed::Unauthorized) => {
                let other = self.token(context, Some(&token)).await?;
                if other.as_ref() == Some(&token) {
                    // It has been replaced not long ago, and is refused all the same.
                    Err(Failed::Unauthorized)
                } else {
                    self.attempt(context, kind, request, other.as_ref()).await
                }
            }
            attempted => attempted,
        };
        attempted.map_err(|failed| self.told(failed))
    }

    /// Returns the token that a caller's request carries, if it does; another one than the upstream refused.
    async fn token(
        &self,
        context: &Context<'_>,
        refused: Option<&DownstreamToken>,
    ) -> Result<Option<DownstreamToken>, ToolError> {
        let Some(api) = &self.options.downstream else { return Ok(None) };
        let token = match refused {
            Some(refused) => context.downstream_instead_of(refused, api, &[]).await,
            None => context.downstream(api, &[]).await,
        };
        Ok(Some(token?))
    }

    async fn attempt(
        &self,
        context: &Context<'_>,
        kind: Kind,
        request: ClientRequest,
        token: Option<&DownstreamToken>,
    ) -> Result<Outcome<RawObject>, Failed> {
        match kind {
            Kind::Call(timeout) => {
                let call = self.begin(context, timeout, request, token).await?;
                self.follow(call, context, timeout).await
            }
            Kind::Question => {
                let call = self.begin(context, self.options.limits.call, request, token).await?;
                Ok(Outcome::Complete(self.answered(call).await?))
            }
        }
    }

    async fn begin(
        &self,
        context: &Context<'_>,
        timeout: Duration,
        request: ClientRequest,
        token: Option<&DownstreamToken>,
    ) -> Result<UnderWay, Failed> {
        let mut span = trace::begin(context, &self.options, &request);
        match self.send(context, timeout, request, token, &mut span).await {
            Ok(request) => Ok(UnderWay { request, asked: BTreeMap::new(), span }),
            Err(error) => {
                span.end(Err(trace::UNAVAILABLE.into()));
                Err(error)
            }
        }
    }

    async fn send(
        &self,
        context: &Context<'_>,
        timeout: Duration,
        request: ClientRequest,
        token: Option<&DownstreamToken>,
        span: &mut Span,
    ) -> Result<Request, Failed> {
        let place = self.place(timeout).await?;
        let connection = self.connected()?;
        let now = context.clock.now().seconds();
        let mut told = self.options.caller.tell(&self.options.name, context.principal, now);
        if let Some(token) = token {
            told.authorize(token);
        }
        let mut meta = if connection.is_modern { meta(context) } else { RequestMetaObject::new() };
        trace::hand_on(span, &mut meta.0.0, &mut told.headers);
        let options = PeerRequestOptions::no_options().with_meta(meta);
        // No client's id has this between it and the subject.
        let caller = format!("{}\0{}", context.principal.subject(), context.principal.client());
        let sent =
            connection.send(request, Reading::Call, Source::Caller(caller.into()), told, options).await;
        let mut request = sent.map_err(|error| self.failed(error, &connection))?;
        request.place = Some(place);
        if span.is_recorded() {
            span.set("jsonrpc.request.id", request.id.to_string().as_str());
            let info = connection.info();
            span.set("mcp.protocol.version", info.as_ref().map_or("", |info| info.protocol_version.as_str()));
        }
        Ok(request)
    }

    /// Waits for the answer to a question.
    async fn answered(&self, mut call: UnderWay) -> Result<RawObject, Failed> {
        let time = self.clock.sleep(self.options.limits.call);
        match select(std::pin::pin!(call.request.answer.result()), time).await {
            Either::Left((answered, _)) => {
                trace::end(call.span, answered.as_ref());
                answered.map_err(|error| self.lost(error))
            }
            Either::Right(_) => {
                call.span.end(Err(trace::TIMEOUT.into()));
                self.suspect.notify_one();
                let text = format!("the server {} did not answer in time", self.options.name);
                Err(ToolError::new(text).into())
            }
        }
    }

    /// Waits for a place among the calls at a time.
    async fn place(&self, timeout: Duration) -> Result<OwnedSemaphorePermit, ToolError> {
        let place = std::pin::pin!(Arc::clone(&self.places).acquire_owned());
        if let Either::Left((Ok(place), _)) = select(place, self.clock.sleep(timeout)).await {
            return Ok(place);
        }
        // Perhaps it reads nothing any more.
        self.suspect.notify_one();
        Err(ToolError::new(format!("the server {} is busy; try again", self.options.name)))
    }

    /// Follows a call until it has a result, or needs the client's input.
    async fn follow(
        &self,
        mut call: UnderWay,
        context: &Context<'_>,
        timeout: Duration,
    ) -> Result<Outcome<RawObject>, Failed> {
        let mut deadline = self.clock.sleep(timeout);
        loop {
            match next(&mut call.request, &mut deadline).await {
                Next::Result(Ok(result)) => {
                    drain(&mut call.request, context);
                    trace::end(call.span, Ok(&result));
                    return Ok(outcome(result)?);
                }
                Next::Result(Err(error)) => {
                    trace::end(call.span, Err(&error));
                    let connection = self.connected().ok();
                    return Err(match connection {
                        Some(connection) => self.failed(error, &connection),
                        None => self.lost(error),
                    });
                }
                Next::Event(Event::Input(input)) => {
                    if let Some(required) = self.take_in(&mut call, input, context) {
                        return Ok(self.park(call, required, context)?);
                    }
                }
                Next::Event(event) => feed(event, context),
                Next::TooLong => {
                    call.span.end(Err(trace::TIMEOUT.into()));
                    self.suspect.notify_one();
                    let text = format!(
                        "the server {} did not answer within {} s, and may still be at it",
                        self.options.name,
                        timeout.as_secs_f64()
                    );
                    return Err(ToolError::new(text).into());
                }
            }
        }
    }

    /// Takes in a request for input, and whatever others are there; what the client can't answer is refused at once.
    fn take_in(&self, call: &mut UnderWay, first: Input, context: &Context<'_>) -> Option<InputRequired> {
        let mut required = InputRequired::default();
        let mut next = Some(first);
        while let Some(input) = next {
            let Input { number, kind, params, respond } = input;
            let request = InputRequest::Relayed { kind, params };
            if context.capabilities.can_answer(&request) && self.parked.has_room(context.principal) {
                let name = format!("{}-{number}", name_of(kind));
                call.asked.insert(name.clone(), respond);
                required = required.and(&name, request);
            } else {
                let _ = respond.send(None);
            }
            next = None;
            while let Ok(event) = call.request.registration.events.try_recv() {
                match event {
                    Event::Input(input) => {
                        next = Some(input);
                        break;
                    }
                    event => feed(event, context),
                }
            }
        }
        (!required.input_requests.is_empty()).then_some(required)
    }

    fn park(
        &self,
        call: UnderWay,
        required: InputRequired,
        context: &Context<'_>,
    ) -> Result<Outcome<RawObject>, ToolError> {
        let mut call = call;
        // Those who wait for people must not hold up the others.
        call.request.place = None;
        let key = self.parked.park(call, context.principal);
        let key = key.ok_or_else(|| ToolError::new("the machine gives no randomness"))?;
        let state = json!(State::Parked(key));
        Ok(Outcome::InputRequired(required.with_state(state)))
    }
}

/// The member of `_meta` that has the lowest level of log messages (2026-07-28, server/utilities/logging).
const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";

const UNAUTHORIZED: &str = "it answered 401: it does not accept what this server's requests carry (`headers`, or with \
                            `downstream` a token of the caller's, which was exchanged anew once)";
const GONE: &str = "the call that waited for this input is no longer there: it waited too long, or at another replica of this \
                    server; call again from the beginning";

impl Resumption {
    fn of(state: Option<String>, names: Vec<String>, context: &Context<'_>) -> Result<Self, ToolError> {
        let mut responses = InputResponses::new();
        for name in names {
            match context.input_responses.raw(&name) {
                Some(Value::Null) => {
                    return Err(ToolError::new(
                        "the client answered the request for input with an error, and this needs the input",
                    ));
                }
                Some(response) => {
                    responses.insert(name, response.clone());
                }
                None => {}
            }
        }
        Ok(Self { input_responses: Some(responses), request_state: state })
    }
}

/// Gives the client's responses to the upstream. One that is missing is a refusal: the client had its turn.
fn answer(call: &mut UnderWay, context: &Context<'_>) {
    for (name, respond) in std::mem::take(&mut call.asked) {
        let response = context.input_responses.raw(&name).filter(|response| !response.is_null());
        let _ = respond.send(response.cloned());
    }
}

async fn next(request: &mut Request, deadline: &mut (impl Future<Output = ()> + Unpin)) -> Next {
    let Request { registration, answer, .. } = request;
    tokio::select! {
        biased;
        Some(event) = registration.events.recv() => Next::Event(event),
        result = answer.result() => Next::Result(result),
        () = deadline => Next::TooLong,
    }
}

/// Passes on what came before the result.
fn drain(request: &mut Request, context: &Context<'_>) {
    while let Ok(event) = request.registration.events.try_recv() {
        feed(event, context);
    }
}

fn feed(event: Event, context: &Context<'_>) {
    match event {
        Event::Progress(progress) => context.feedback.progress(progress),
        Event::Log(message) => context.feedback.log(message),
        // Dropped, it is refused.
        Event::Input(_) => {}
    }
}

/// Returns what a result says: it is complete, or input is required first.
fn outcome(result: RawObject) -> Result<Outcome<RawObject>, ToolError> {
    if result.read::<String>("resultType").as_deref() != Some("input_required") {
        return Ok(Outcome::Complete(result));
    }
    let malformed = || ToolError::new("the server requests input in a form that is not MCP's");
    let inputs: BTreeMap<String, ModernInput> = match result.get("inputRequests") {
        None => BTreeMap::new(),
        Some(inputs) => serde_json::from_str(inputs.get()).map_err(|_| malformed())?,
    };
    let mut required = InputRequired::default();
    let mut names = Vec::new();
    for (name, ModernInput { method, params }) in inputs {
        let kind = InputKind::of_method(&method).ok_or_else(malformed)?;
        required = required.and(&name, InputRequest::Relayed { kind, params: params.unwrap_or_default() });
        names.push(name);
    }
    let state = State::Upstream { state: result.read("requestState"), names };
    Ok(Outcome::InputRequired(required.with_state(json!(state))))
}

/// Returns what a modern upstream is told of the caller's client: its capabilities, and the log messages that it wants.
fn meta(context: &Context<'_>) -> RequestMetaObject {
    let mut meta = RequestMetaObject::new();
    let domain::ClientCapabilities { elicitation, sampling, roots } = *context.capabilities;
    let mut capabilities = serde_json::Map::new();
    for (name, is_there) in [("elicitation", elicitation), ("sampling", sampling), ("roots", roots)] {
        if is_there {
            capabilities.insert(name.to_owned(), json!({}));
        }
    }
    let capabilities: Option<ClientCapabilities> = serde_json::from_value(capabilities.into()).ok();
    meta.set_client_capabilities(capabilities.unwrap_or_default());
    if let Some(level) = context.feedback.log_level() {
        meta.0.0.insert(LOG_LEVEL.to_owned(), level_name(level).into());
    }
    meta
}

/// Returns a level's name (`LoggingLevel` in MCP's schema).
const fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Notice => "notice",
        LogLevel::Warning => "warning",
        LogLevel::Error => "error",
        LogLevel::Critical => "critical",
        LogLevel::Alert => "alert",
        LogLevel::Emergency => "emergency",
    }
}

const fn name_of(kind: InputKind) -> &'static str {
    match kind {
        InputKind::Elicit => "elicitation",
        InputKind::CreateMessage => "sampling",
        InputKind::ListRoots => "roots",
    }
}

impl Relay {
    /// Returns a failure, and has the connection looked at if that may be why.
    fn failed(&self, error: RequestError, connection: &Connection) -> Failed {
        if matches!(error, RequestError::Lost(_)) && !connection.is_closed() {
            self.suspect.notify_one();
        }
        self.lost(error)
    }

    fn lost(&self, error: RequestError) -> Failed {
        let error = match error {
            RequestError::Unauthorized => return Failed::Unauthorized,
            RequestError::Refused(error) => {
                let (code, message) = (error.code.0, error.message.into_owned());
                ToolError::relayed(RelayedError { code, message, data: error.data })
            }
            RequestError::Lost(cause) => {
                let text = format!(
                    "the server {} gave no answer; what was called may have had effect, and is not called again",
                    self.options.name
                );
                ToolError::caused_by(text, shown(&cause))
            }
        };
        error.into()
    }

    /// Returns what the caller is told of a failure.
    fn told(&self, failed: Failed) -> ToolError {
        match failed {
            Failed::Told(error) => error,
            Failed::Unauthorized => {
                if self.options.downstream.is_none() {
                    // What the connection was made with is not accepted any more.
                    self.suspect.notify_one();
                }
                let text = format!("the server {} refuses access", self.options.name);
                ToolError::caused_by(text, UNAUTHORIZED)
            }
        }
    }
}

impl Relay {
    /// Says that a client waits for updates of a resource.
    pub(crate) fn watch(self: &Arc<Self>, uri: &str) -> Watch {
        *self.watch_counts().entry(uri.to_owned()).or_default() += 1;
        self.watching.notify_one();
        Box::new(Watching { relay: Arc::clone(self), uri: uri.to_owned() })
    }

    /// Returns the URIs of the resources that a client waits for updates of.
    pub(crate) fn watched(&self) -> BTreeSet<String> {
        self.watch_counts().keys().cloned().collect()
    }

    fn watch_counts(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Watching {
    relay: Arc<Relay>,
    uri: String,
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut counts = self.relay.watch_counts();
        if let Some(count) = counts.get_mut(&self.uri) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.uri);
            }
        }
        drop(counts);
        self.relay.watching.notify_one();
    }
}
