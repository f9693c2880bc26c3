//! Calls that may take long: of a tool, a resource, a prompt, a method of the catalog. A job owns all that it needs, so that
//! it can go on while its stream is read.

mod failure;
mod target;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use domain::{
    CallError, ClientCapabilities, Denial, Exhausted, Feedback, InputRequired, InputResponses, LogLevel,
    MAX_INPUT_ROUNDS, Memory, NoopFeedback, Outcome, Principal, RequestContext, Service, Span,
};
use futures_util::future::{Either, join_all, select};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use syntax::strict_json;

use self::failure::{log_failure, relayed, unknown_tool};
pub(crate) use self::target::{Arguments, Target};
use self::target::{NotTexts, job_memory};
use crate::content::{capability, input_request};
use crate::era::Era;
use crate::exchange::{Exchange, Served};
use crate::feedback::Sink;
use crate::input_requests::{
    InputResponse, NotOpened, PendingInputRequest, PendingInputRequests, json_rpc_request,
};
use crate::params::{Meta, Params, bad_params};
use crate::reply::{Failure, LogFields, Refusal, RenderedResult, Reply, code};
use crate::results::{Caching, Renderer};
use crate::seal::{ArgumentsDigest, Binding, MAX_STATE_BYTES};
use crate::snapshot::ProtocolSnapshot;
use crate::trace;

/// The lowest level of log messages in the legacy era: without a session nothing says which level a client has set.
const LEGACY_LOG_LEVEL: LogLevel = LogLevel::Info;

/// One job.
pub(crate) struct Job {
    pending: Arc<PendingInputRequests>,
    snapshot: Arc<ProtocolSnapshot>,
    /// The id of the HTTP request in the log, for decisions that are kept; empty where none is.
    request_id: Box<str>,
    /// Where its memory is counted: its own texts always, a tree of its arguments while it runs.
    memory: Memory,
    principal: Principal,
    era: Era,
    id: Box<RawValue>,
    /// The name of its entry in the table of methods.
    method: &'static str,
    target: Target,
    capabilities: ClientCapabilities,
    input_responses: InputResponses,
    request_state: Option<Value>,
    /// The part of the memory that the responses and the state take.
    input_bytes: usize,
    /// The number of rounds so far.
    rounds: usize,
    /// When a legacy client has to have responded, in uptime: to all that this call requests, not to each.
    respond_by: Option<Duration>,
    pub(crate) progress_token: Option<Box<RawValue>>,
    pub(crate) log_level: Option<LogLevel>,
    pub(crate) log: LogFields,
    span: Span,
    /// Whether its result says that it is an error, as far as that is traced.
    is_error: bool,
}

/// Why a round has no outcome.
enum JobError {
    Call(CallError),
    NotTexts(NotTexts),
    Exhausted(Exhausted),
}

impl From<CallError> for JobError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<NotTexts> for JobError {
    fn from(not_texts: NotTexts) -> Self {
        Self::NotTexts(not_texts)
    }
}

impl From<Exhausted> for JobError {
    fn from(exhausted: Exhausted) -> Self {
        Self::Exhausted(exhausted)
    }
}

/// The outcome of one round of a job.
enum Round {
    Complete(RenderedResult),
    InputRequired(InputRequired),
}

impl Job {
    /// Creates a job out of a request; the fields of its log line come later.
    pub(crate) fn new(
        exchange: &mut Exchange<'_, '_>,
        method: &'static str,
        target: Target,
    ) -> Result<Box<Self>, Refusal> {
        let request = &mut *exchange.request;
        let meta = request.params.meta.take();
        let mut job = Box::new(Self {
            pending: Arc::clone(exchange.served.input_requests),
            snapshot: Arc::clone(exchange.served.snapshot),
            request_id: request_id(exchange.served),
            memory: job_memory(request.memory.take(), &target)?,
            principal: exchange.principal.clone(),
            era: exchange.era,
            id: request.id.to_owned(),
            method,
            target,
            capabilities: ClientCapabilities::ALL,
            input_responses: InputResponses::default(),
            request_state: None,
            input_bytes: 0,
            rounds: 0,
            respond_by: None,
            progress_token: meta.as_deref().and_then(Meta::progress_token),
            log_level: Some(LEGACY_LOG_LEVEL),
            log: LogFields::default(),
            span: Span::OFF,
            is_error: false,
        });
        if job.era == Era::Modern {
            job.resume(&request.params)?;
            let meta = meta.unwrap_or_default();
            job.capabilities = meta.declared();
            job.log_level = meta.log_level()?;
        }
        job.span = std::mem::take(exchange.span);
        Ok(job)
    }

    /// Restores what the modern client sends of the round before: its responses, and the state.
    fn resume(&mut self, params: &Params<'_>) -> Result<(), Refusal> {
        let (responses, bytes) = params.input_responses(&mut self.memory)?;
        self.input_responses = InputResponses::new(responses);
        self.input_bytes = bytes;
        let Some(sealed) = params.more().and_then(|more| more.request_state.as_ref()) else {
            return Ok(());
        };
        let binding = Binding::new(&self.principal, self.method, self.target.name());
        let now = self.service().clock.now().seconds();
        let keys = self.snapshot.sealing_keys();
        let opened = match sealed.text() {
            Some(sealed) => keys.open(sealed, &binding, now, &mut self.memory)?,
            None => None,
        };
        // Changed, foreign or too old: the client does not learn which.
        let opened = opened.ok_or_else(|| {
            bad_params("params.requestState is not one that this server gave out for this request")
        })?;
        self.input_bytes += opened.state_bytes;
        if opened.arguments == self.arguments_digest()? {
            self.request_state = Some(opened.state);
        } else {
            // The responses were to requests about other arguments: the call starts anew.
            drop(opened);
            self.forget_input();
        }
        Ok(())
    }

    /// Drops the responses and the state of the round before.
    fn forget_input(&mut self) {
        self.input_responses = InputResponses::default();
        self.request_state = None;
        self.memory.remove(std::mem::take(&mut self.input_bytes));
    }

    /// Returns the digest of the arguments, whose tree is counted while it is there.
    fn arguments_digest(&mut self) -> Result<ArgumentsDigest, Exhausted> {
        let tree = self.target.tree_bytes();
        self.memory.add(tree)?;
        let digest = self.target.arguments_digest();
        self.memory.remove(tree);
        Ok(digest)
    }

    /// Runs to the end. Without a sink no message is sent before.
    pub(crate) async fn run(mut self: Box<Self>, sink: Option<Arc<Sink>>) -> Reply {
        let outcome = self.rounds(sink.as_deref()).await;
        let log = std::mem::take(&mut self.log);
        let span = std::mem::take(&mut self.span);
        trace::end(span, outcome.as_ref().map(drop), self.is_error, &log);
        match outcome {
            Ok(result) => Reply::success(&self.id, &result, log),
            Err(refusal) => Reply::refused(&self.id, refusal, log),
        }
    }

    fn service(&self) -> &Service {
        self.snapshot.service()
    }

    async fn rounds(&mut self, sink: Option<&Sink>) -> Result<RenderedResult, Refusal> {
        loop {
            let required = match self.round(sink).await? {
                Round::Complete(result) => return Ok(result),
                Round::InputRequired(required) => required,
            };
            self.rounds += 1;
            if let Err(text) = self.check_required(&required) {
                return self.unfinished(text);
            }
            match (self.era, sink) {
                (Era::Modern, _) => return self.input_required(required),
                // In a box of its own: rare, and no room for it in the future of every call.
                (Era::Legacy, Some(sink)) => Box::pin(self.request_input(required, sink)).await?,
                (Era::Legacy, None) => {
                    let text = "this needs to ask you something: call it alone, in no batch, and accept text/event-stream";
                    return self.unfinished(text.to_owned());
                }
            }
        }
    }

    /// Checks that input can be requested once more, so that a call ends whatever a tool and a client do.
    fn check_required(&self, required: &InputRequired) -> Result<(), String> {
        if required.request_state.as_ref().is_some_and(|state| text_bytes(state) > MAX_STATE_BYTES) {
            return Err(format!(
                "what this call has to remember of the responses is more than {MAX_STATE_BYTES} bytes"
            ));
        }
        if self.rounds > MAX_INPUT_ROUNDS {
            return Err(format!(
                "the call asked for input {MAX_INPUT_ROUNDS} times, and ends without a result"
            ));
        }
        let is_refused = |name: &String| self.input_responses.is_error(name);
        if self.era == Era::Legacy && required.input_requests.keys().any(is_refused) {
            return Err(
                "the client answered the request for input with an error, and this needs the input".into()
            );
        }
        Ok(())
    }

    /// Returns the result of a call that needs input and can't get it.
    fn unfinished(&mut self, text: String) -> Result<RenderedResult, Refusal> {
        self.log.reason = Some("no_input");
        match self.target {
            Target::Tool { .. } => Ok(self.tool_error(text)),
            _ => Err(Failure::inline(code::INTERNAL_ERROR, text).into()),
        }
    }

    async fn round(&mut self, sink: Option<&Sink>) -> Result<Round, Refusal> {
        let service = self.snapshot.service();
        let tool = match &self.target {
            Target::Tool { name, .. } => service.catalog.tools.named(name),
            _ => None,
        };
        // The log shows only names from the catalog.
        self.log.tool = tool.map(|tool| tool.name().clone());
        // What is called gets a copy of each response, and makes its next state of another.
        let copies = 2 * self.input_bytes;
        self.memory.add(copies)?;
        self.input_bytes += copies;
        let feedback: &dyn Feedback = sink.map_or(&NoopFeedback, |sink| sink as &dyn Feedback);
        let would_refuse = OnceLock::new();
        let context = RequestContext {
            request_id: &self.request_id,
            principal: &self.principal,
            capabilities: self.capabilities,
            input_responses: &self.input_responses,
            request_state: self.request_state.as_ref(),
            filled_arguments: &BTreeMap::new(),
            feedback,
            span: &self.span,
            would_refuse: &would_refuse,
        };
        let renderer = Renderer { era: self.era, snapshot: &self.snapshot };
        let memory = &mut self.memory;
        let mut tree = 0;
        let outcome: Result<Round, JobError> = match &self.target {
            Target::Tool { arguments, .. } => {
                let parsed = || {
                    memory.add(arguments.tree_bytes())?;
                    tree = arguments.tree_bytes();
                    Ok(arguments.parse())
                };
                let outcome = service.call(&context, tool, parsed).await;
                self.is_error = context.span.is_recorded() && outcome.as_ref().is_ok_and(Outcome::is_error);
                outcome.map(|outcome| {
                    round(&renderer, Caching::None, outcome, |result| renderer.tool_result(result))
                })
            }
            Target::Resource { uri } => {
                let outcome = service.read(&context, uri).await;
                let outcome = outcome.map_err(JobError::from);
                outcome.map(|outcome| {
                    round(&renderer, Caching::Private, outcome, |contents| {
                        renderer.resource_contents(contents)
                    })
                })
            }
            Target::Prompt { name, arguments } => {
                let texts = || {
                    memory.add(arguments.tree_bytes())?;
                    tree = arguments.tree_bytes();
                    Ok(arguments.texts()?)
                };
                let outcome = service.prompt(&context, name, texts).await;
                outcome.map(|outcome| {
                    round(&renderer, Caching::None, outcome, |messages| renderer.prompt_messages(messages))
                })
            }
            Target::Method { name, params } => {
                let parsed = || {
                    memory.add(params.tree_bytes())?;
                    tree = params.tree_bytes();
                    Ok(params.params())
                };
                let outcome = service.call_method(&context, name, parsed).await;
                outcome.map(|outcome| {
                    round(&renderer, Caching::None, outcome, |result| renderer.method_result(result))
                })
            }
        };
        // The tree went with the call: while a request for input is pending, no more than the text is held.
        self.memory.remove(tree);
        if let Some(rules) = would_refuse.into_inner() {
            self.log.would_refuse(rules);
        }
        match outcome {
            Ok(round) => Ok(round),
            Err(JobError::Call(error)) => self.failed(error).map(Round::Complete),
            Err(JobError::NotTexts(_)) => Err(bad_params("params.arguments is not an object of strings")),
            Err(JobError::Exhausted(exhausted)) => Err(exhausted.into()),
        }
    }

    fn renderer(&self) -> Renderer<'_> {
        Renderer { era: self.era, snapshot: &self.snapshot }
    }

    /// Returns a tool's failure as its result.
    fn tool_error(&mut self, text: String) -> RenderedResult {
        self.is_error = true;
        self.renderer().tool_error(text)
    }

    /// Returns a failure as the model or the client is to see it.
    fn failed(&mut self, error: CallError) -> Result<RenderedResult, Refusal> {
        let error = match error {
            CallError::Denied(denial) => return Err(self.denied(denial)),
            error => error,
        };
        self.log.reason = Some(error.code());
        log_failure(&self.log, &error);
        let target = self.target.name();
        match (&error, &self.target) {
            (CallError::UnknownTool, _) => Err(unknown_tool(target).into()),
            (CallError::UnknownResource, _) => {
                let number = match self.era {
                    Era::Modern => code::INVALID_PARAMS,
                    Era::Legacy => code::RESOURCE_NOT_FOUND,
                };
                let uri: String = target.chars().take(2048).collect();
                Err(Failure::inline(number, "resource not found").with_data(json!({"uri": uri})).into())
            }
            (CallError::NotAudited, _) => Err(Failure::not_audited().into()),
            (CallError::UnknownMethod, _) => Err(self.era.method_not_found()),
            (CallError::UnknownPrompt, _) => {
                Err(Failure::inline(code::INVALID_PARAMS, "unknown prompt").into())
            }
            (CallError::Failed(failure), _) if failure.as_relayed().is_some() => {
                Err(relayed(failure, self.era))
            }
            (_, Target::Tool { .. }) => Ok(self.tool_error(error.to_string())),
            (CallError::InvalidArguments(_), _) => {
                Err(Failure::inline(code::INVALID_PARAMS, error.to_string()).into())
            }
            (_, Target::Resource { .. } | Target::Prompt { .. } | Target::Method { .. }) => {
                Err(Failure::inline(code::INTERNAL_ERROR, error.to_string()).into())
            }
        }
    }

    /// Refuses by HTTP; after a round on a stream, by a message: a login that sufficed at the beginning may be too old by then.
    fn denied(&mut self, denial: Denial) -> Refusal {
        if self.rounds == 0 {
            return self.era.refuse(denial);
        }
        self.log = std::mem::take(&mut self.log).denied(&denial);
        Failure::denied(&denial).into()
    }

    /// Returns the result that has a modern client get the input and call again.
    fn input_required(&mut self, required: InputRequired) -> Result<RenderedResult, Refusal> {
        let lacking = required.input_requests.values().find(|request| !self.capabilities.can_answer(request));
        if let Some(lacking) = lacking {
            let data = json!({"requiredCapabilities": {capability(lacking): {}}});
            let message = "the client lacks a capability that this call needs";
            return Err(Failure::malformed(code::MISSING_CAPABILITY, message).with_data(data).into());
        }
        let sealed = required.request_state.map(|state| self.sealed(state));
        let requests = required.input_requests.into_iter();
        let requests = requests.map(|(name, request)| (name, input_request(request, true))).collect();
        Ok(self.renderer().input_required(requests, sealed.transpose()?))
    }

    fn sealed(&mut self, state: Value) -> Result<String, Refusal> {
        let digest = self.arguments_digest()?;
        // As JSON, sealed, and in base64.
        self.memory.add(3 * text_bytes(&state))?;
        let now = self.service().clock.now().seconds();
        let binding = Binding::new(&self.principal, self.method, self.target.name());
        self.snapshot.sealing_keys().seal(state, digest, &binding, now).ok_or_else(no_randomness)
    }

    /// Sends the requests on the call's stream to a legacy client, and waits for its responses.
    async fn request_input(&mut self, required: InputRequired, sink: &Sink) -> Result<(), Refusal> {
        let patience = self.snapshot.settings.answer_timeout;
        let now = self.service().clock.uptime();
        let respond_by = *self.respond_by.get_or_insert(now.saturating_add(patience));
        let remaining = respond_by.saturating_sub(now);
        if remaining.is_zero() {
            return Err(no_answer(patience).into());
        }
        // The state takes the place of the responses and the state of the round before.
        self.forget_input();
        let state_bytes = required.request_state.as_ref().map_or(0, strict_json::tree_bytes);
        self.memory.add(state_bytes)?;
        self.input_bytes = state_bytes;
        self.request_state = required.request_state;
        let mut waiting = Vec::new();
        for (name, request) in required.input_requests {
            let (keys, memory) = (self.snapshot.sealing_keys(), self.memory.part());
            let opened = self.pending.open(&self.principal, keys, memory, remaining).await;
            let pending = opened.map_err(|error| match error {
                NotOpened::Exhausted(exhausted) => exhausted.into(),
                NotOpened::NoRandomness => no_randomness(),
            })?;
            // If the stream is gone, this job is dropped with it.
            sink.send(json_rpc_request(&pending.id, input_request(request, false))).await;
            waiting.push((name, pending));
        }
        let responses = join_all(waiting.into_iter().map(|(name, pending)| response(name, pending)));
        let deadline = self.service().clock.sleep(remaining);
        let responses = match select(std::pin::pin!(responses), deadline).await {
            Either::Left((responses, _)) => responses,
            Either::Right(_) => return Err(no_answer(patience).into()),
        };
        let mut by_name = BTreeMap::new();
        for (name, response) in responses.into_iter().filter_map(|(name, response)| Some((name, response?))) {
            let response = response.into_tree(&mut self.memory, &mut self.input_bytes)?;
            by_name.insert(name, response);
        }
        self.input_responses = InputResponses::new(by_name);
        Ok(())
    }
}

fn request_id(served: Served<'_>) -> Box<str> {
    if served.snapshot.service().auditor.is_on() { served.request_id.into() } else { Box::default() }
}

fn round<T>(
    renderer: &Renderer<'_>,
    caching: Caching,
    outcome: Outcome<T>,
    render: impl FnOnce(T) -> RenderedResult,
) -> Round {
    match outcome {
        Outcome::Complete(value) => Round::Complete(render(value)),
        Outcome::Relayed(result) => Round::Complete(renderer.relayed(result, caching)),
        Outcome::InputRequired(required) => Round::InputRequired(required),
    }
}

/// Returns a request's name and its response; `None` if that will never come.
async fn response(name: String, mut pending: PendingInputRequest) -> (String, Option<InputResponse>) {
    let response = (&mut pending.response).await.ok();
    (name, response)
}

/// Returns the length of a value as JSON text.
fn text_bytes(value: &Value) -> usize {
    struct Length(usize);
    impl std::io::Write for Length {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut length = Length(0);
    // Neither a value nor this writer can fail.
    let _ = serde_json::to_writer(&mut length, value);
    length.0
}

fn no_randomness() -> Refusal {
    Failure::inline(code::INTERNAL_ERROR, "the machine gives no randomness").into()
}

fn no_answer(patience: Duration) -> Failure {
    Failure::inline(
        code::INTERNAL_ERROR,
        format!("the client did not answer within {} s", patience.as_secs()),
    )
}
