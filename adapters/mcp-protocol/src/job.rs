//! What takes its time: calling a tool, reading a resource, getting a prompt. A job owns all that it needs, so that it can
//! go on while its stream is read.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use domain::{
    CallError, ClientCapabilities, Exhausted, Feedback, InputRequired, InputResponses, LogLevel, Memory,
    NoopFeedback, Outcome, Principal, RequestContext, Service, ToolError, ToolName,
};
use futures_util::SinkExt as _;
use futures_util::future::{Either, join_all, select};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use syntax::strict_json::Unparsed;

use crate::content::{capability, question};
use crate::feedback::Sink;
use crate::params::{Params, bad_params, members};
use crate::questions::{Given, NotOpened, OpenQuestion, request};
use crate::reply::{Failure, Note, Reply, code};
use crate::results::{Finished, Shape};
use crate::seal::{ArgumentsDigest, Binding};
use crate::{Era, McpServer, Refusal, Snapshot};

/// One job.
pub(crate) struct Job {
    pub(crate) server: Arc<McpServer>,
    pub(crate) snapshot: Arc<Snapshot>,
    /// Where its memory is counted: its own texts always, a tree of its arguments while it runs.
    pub(crate) memory: Memory,
    pub(crate) who: Principal,
    pub(crate) era: Era,
    pub(crate) id: Box<RawValue>,
    pub(crate) target: Target,
    pub(crate) capabilities: ClientCapabilities,
    pub(crate) input_responses: InputResponses,
    /// What of the memory are the answers.
    pub(crate) answers_bytes: usize,
    pub(crate) request_state: Option<Value>,
    pub(crate) progress_token: Option<Box<RawValue>>,
    pub(crate) log_level: Option<LogLevel>,
    pub(crate) note: Note,
}

/// What is asked for.
pub(crate) enum Target {
    Tool { name: String, arguments: Arguments },
    Resource { uri: String },
    Prompt { name: String, arguments: Arguments },
}

/// Arguments as text: a tree of them can take a hundred times as much, and is made only while it is needed. `None` is `{}`.
pub(crate) struct Arguments(Option<Unparsed<Box<RawValue>>>);

impl Arguments {
    /// Copies the arguments out of a request's params.
    pub(crate) fn of(params: &Params<'_>) -> Result<Self, Refusal> {
        Ok(Self(params.arguments()?.map(Unparsed::to_owned)))
    }

    fn tree_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, Unparsed::tree_bytes)
    }

    /// The tree, an object.
    fn parse(&self) -> Value {
        self.0.as_ref().map_or_else(|| Value::Object(serde_json::Map::new()), Unparsed::parse)
    }

    /// A prompt's arguments, which are texts.
    fn texts(&self) -> Result<BTreeMap<String, String>, JobError> {
        let text = |(name, value)| match value {
            Value::String(text) => Ok((name, text)),
            _ => Err(JobError::NotTexts),
        };
        // As for a tool, null is absence.
        members(self.parse()).into_iter().filter(|(_, value)| !value.is_null()).map(text).collect()
    }

    fn text_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |arguments| arguments.text().len())
    }
}

/// The memory of a job, which has copies of what it needs of the request's body.
pub(crate) fn job_memory(memory: Option<Memory>, target: &Target) -> Result<Memory, Refusal> {
    // There is none only if the request was answered before.
    let mut memory = memory.ok_or(Exhausted::Pool)?;
    let arguments = match target {
        Target::Tool { arguments, .. } | Target::Prompt { arguments, .. } => arguments.text_bytes(),
        Target::Resource { .. } => 0,
    };
    memory.add(target.name().len() + arguments)?;
    Ok(memory)
}

/// Why a round has no outcome.
enum JobError {
    Call(CallError),
    /// A prompt's arguments are not all texts.
    NotTexts,
    Exhausted(Exhausted),
}

impl From<CallError> for JobError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<Exhausted> for JobError {
    fn from(exhausted: Exhausted) -> Self {
        Self::Exhausted(exhausted)
    }
}

impl Target {
    pub(crate) const fn method(&self) -> &'static str {
        match self {
            Self::Tool { .. } => "tools/call",
            Self::Resource { .. } => "resources/read",
            Self::Prompt { .. } => "prompts/get",
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Tool { name, .. } | Self::Prompt { name, .. } => name,
            Self::Resource { uri } => uri,
        }
    }

    /// What state is bound to, so that an answer is never taken for an answer about other arguments.
    pub(crate) fn arguments_digest(&self) -> ArgumentsDigest {
        match self {
            Self::Tool { arguments, .. } | Self::Prompt { arguments, .. } => {
                ArgumentsDigest::of(&arguments.parse())
            }
            Self::Resource { .. } => ArgumentsDigest::of(&Value::Null),
        }
    }
}

/// What one round of a job comes to.
enum Round {
    Done(Finished),
    Asks(InputRequired),
}

impl Job {
    /// Works to the end. Without a sink nothing is heard of it before.
    pub(crate) async fn run(mut self, sink: Option<Sink>) -> Reply {
        self.note.tool = self.known_tool();
        let outcome = self.rounds(sink.as_ref()).await;
        let note = std::mem::take(&mut self.note);
        match outcome {
            Ok(finished) => Reply::success(&self.id, &finished, note),
            Err(refusal) => Reply::refused(&self.id, refusal, note),
        }
    }

    fn service(&self) -> &Service {
        &self.snapshot.service
    }

    /// Only a name from the catalog reaches the log.
    fn known_tool(&self) -> Option<ToolName> {
        let Target::Tool { name, .. } = &self.target else {
            return None;
        };
        self.service().catalog.tools.spec(name).map(|spec| spec.name.clone())
    }

    async fn rounds(&mut self, sink: Option<&Sink>) -> Result<Finished, Refusal> {
        loop {
            let asked = match self.round(sink).await? {
                Round::Done(finished) => return Ok(finished),
                Round::Asks(asked) => asked,
            };
            match (self.era, sink) {
                (Era::Modern, _) => return self.input_required(asked),
                (Era::Legacy, Some(sink)) => self.ask(asked, sink).await?,
                (Era::Legacy, None) => {
                    let text = "this needs to ask you something: call it alone, in no batch, and accept text/event-stream";
                    return Ok(self.shape().tool_error(text.to_owned()));
                }
            }
        }
    }

    async fn round(&mut self, sink: Option<&Sink>) -> Result<Round, Refusal> {
        let feedback: &dyn Feedback = sink.map_or(&NoopFeedback, |sink| sink as &dyn Feedback);
        let asking = RequestContext {
            principal: &self.who,
            capabilities: self.capabilities,
            input_responses: &self.input_responses,
            request_state: self.request_state.as_ref(),
            feedback,
        };
        let (shape, service, memory) = (self.shape(), &self.snapshot.service, &mut self.memory);
        let mut tree = 0;
        let outcome: Result<Round, JobError> = match &self.target {
            Target::Tool { name, arguments } => {
                let parsed = || {
                    memory.add(arguments.tree_bytes())?;
                    tree = arguments.tree_bytes();
                    Ok(arguments.parse())
                };
                let outcome = service.call(&asking, name, parsed).await;
                outcome.map(|outcome| round(outcome, |output| shape.called(output)))
            }
            Target::Resource { uri } => {
                let outcome = service.read(&asking, uri).await;
                let outcome = outcome.map_err(JobError::from);
                outcome.map(|outcome| round(outcome, |contents| shape.read(contents)))
            }
            Target::Prompt { name, arguments } => {
                let texts = || {
                    memory.add(arguments.tree_bytes())?;
                    tree = arguments.tree_bytes();
                    arguments.texts()
                };
                let outcome = service.prompt(&asking, name, texts).await;
                outcome.map(|outcome| round(outcome, |messages| shape.prompted(messages)))
            }
        };
        // The tree went with the call: who is asked something holds no more than the text meanwhile.
        self.memory.remove(tree);
        match outcome {
            Ok(round) => Ok(round),
            Err(JobError::Call(error)) => self.failed(error).map(Round::Done),
            Err(JobError::NotTexts) => Err(bad_params("params.arguments is not an object of strings")),
            Err(JobError::Exhausted(exhausted)) => Err(exhausted.into()),
        }
    }

    fn shape(&self) -> Shape {
        Shape { era: self.era, snapshot: Arc::clone(&self.snapshot) }
    }

    /// A failure as the model or the client is to see it.
    fn failed(&mut self, error: CallError) -> Result<Finished, Refusal> {
        let error = match error {
            CallError::Denied(denied) => return Err(self.era.refuse(denied)),
            error => error,
        };
        self.note.reason = Some(reason(&error));
        log_failure(&self.note, &error);
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
            (CallError::UnknownPrompt, _) => {
                Err(Failure::inline(code::INVALID_PARAMS, "unknown prompt").into())
            }
            (_, Target::Tool { .. }) => Ok(self.shape().tool_error(error.to_string())),
            (CallError::InvalidArguments(_), _) => {
                Err(Failure::inline(code::INVALID_PARAMS, error.to_string()).into())
            }
            (_, Target::Resource { .. } | Target::Prompt { .. }) => {
                Err(Failure::inline(code::INTERNAL_ERROR, error.to_string()).into())
            }
        }
    }

    /// The modern era: the client asks its user, and calls again.
    fn input_required(&self, asked: InputRequired) -> Result<Finished, Refusal> {
        let lacking = asked.input_requests.values().find(|question| !self.capabilities.can_answer(question));
        if let Some(lacking) = lacking {
            let required = json!({"requiredCapabilities": {capability(lacking): {}}});
            let message = "the client lacks a capability that this call needs";
            return Err(Failure::malformed(code::MISSING_CAPABILITY, message).with_data(required).into());
        }
        let now = self.service().clock.now().seconds();
        let binding = Binding::new(&self.who, self.target.method(), self.target.name());
        let sealed = asked.request_state.map(|state| {
            let digest = self.target.arguments_digest();
            self.snapshot.keys.seal(state, digest, &binding, now).ok_or_else(no_randomness)
        });
        let questions =
            asked.input_requests.into_iter().map(|(name, asked)| (name, question(asked, true))).collect();
        Ok(self.shape().input_required(questions, sealed.transpose()?))
    }

    /// The legacy era: the server asks, on the call's stream, and waits.
    async fn ask(&mut self, asked: InputRequired, sink: &Sink) -> Result<(), Refusal> {
        let mut waiting = Vec::new();
        let mut messages = sink.sender();
        for (name, asked) in asked.input_requests {
            let open = self.server.questions.open(&self.who).map_err(|error| match error {
                NotOpened::Exhausted(exhausted) => exhausted.into(),
                NotOpened::NoRandomness => no_randomness(),
            })?;
            // A stream that is gone takes this job with it.
            let _ = messages.send(request(&open.id, question(asked, false))).await;
            waiting.push((name, open));
        }
        // Earlier answers were for the round before.
        self.input_responses = InputResponses::default();
        self.memory.remove(std::mem::take(&mut self.answers_bytes));
        let answers = join_all(waiting.into_iter().map(|(name, open)| answered(name, open)));
        let patience = self.snapshot.settings.answer_timeout;
        let deadline = self.service().clock.sleep(patience);
        let answers = match select(std::pin::pin!(answers), deadline).await {
            Either::Left((answers, _)) => answers,
            Either::Right(_) => return Err(no_answer(patience).into()),
        };
        let mut given = BTreeMap::new();
        for (name, answer) in answers.into_iter().filter_map(|(name, answer)| Some((name, answer?))) {
            self.memory.add(answer.tree_bytes())?;
            self.answers_bytes += answer.tree_bytes();
            given.insert(name, answer.parse());
        }
        self.input_responses = InputResponses::new(given);
        self.request_state = asked.request_state;
        Ok(())
    }
}

fn round<T>(outcome: Outcome<T>, render: impl FnOnce(T) -> Finished) -> Round {
    match outcome {
        Outcome::Complete(value) => Round::Done(render(value)),
        Outcome::InputRequired(asked) => Round::Asks(asked),
    }
}

/// A question's name and answer; an answer that will never come is none.
async fn answered(name: String, mut open: OpenQuestion) -> (String, Option<Given>) {
    let answer = (&mut open.answer).await.ok();
    (name, answer)
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

/// A name that could be a tool's is repeated; anything else a client sends is not.
fn unknown_tool(name: &str) -> Failure {
    let message = match ToolName::parse(name) {
        Ok(name) => format!("unknown tool: {name}"),
        Err(_) => "unknown tool: not a tool name".to_owned(),
    };
    Failure::inline(code::INVALID_PARAMS, message)
}

const fn reason(error: &CallError) -> &'static str {
    match error {
        CallError::UnknownTool => "unknown_tool",
        CallError::UnknownResource => "unknown_resource",
        CallError::UnknownPrompt => "unknown_prompt",
        CallError::Denied(_) => "insufficient_scope",
        CallError::InvalidArguments(_) => "invalid_arguments",
        CallError::Failed(_) => "tool_failed",
        CallError::Panicked => "tool_panicked",
        CallError::DeadlineExceeded(_) => "tool_deadline_exceeded",
        CallError::InvalidOutput => "invalid_tool_output",
    }
}

/// The operator learns what the client is not told. A client's mistakes are the access log's business alone.
fn log_failure(note: &Note, error: &CallError) {
    let tool = note.tool.as_ref().map(ToolName::as_str);
    match error {
        CallError::UnknownTool
        | CallError::UnknownResource
        | CallError::UnknownPrompt
        | CallError::Denied(_)
        | CallError::InvalidArguments(_) => {}
        CallError::Failed(failure) => {
            tracing::warn!(tool, cause = causes(failure), "a tool failed: {failure}");
        }
        CallError::DeadlineExceeded(_) => tracing::warn!(tool, "{error}"),
        CallError::Panicked | CallError::InvalidOutput => tracing::error!(tool, "{error}"),
    }
}

fn causes(failure: &ToolError) -> Option<String> {
    let mut texts = Vec::new();
    let mut next = failure.source();
    while let Some(cause) = next {
        texts.push(cause.to_string());
        next = cause.source();
    }
    (!texts.is_empty()).then(|| texts.join(": "))
}
