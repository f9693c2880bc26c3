//! What a tool, a prompt or a resource sees of who asks, and how it talks back before it has its result.
//!
//! Protocol revisions differ in how a request for input travels and how its response comes back; here there is one way.
//! Something that needs input returns [`Outcome::InputRequired`] with its [`InputRequest`]s and a state of its own, and is
//! called again, from its beginning, with [`InputResponses`] and that state.

mod form;
mod rounds;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use self::rounds::EarlierRounds;
use crate::principal::Principal;
use crate::time::Clock;
use crate::tool::ToolError;

/// A request's context: its caller, the client's capabilities, and the way back to the client.
#[non_exhaustive]
pub struct Context<'a> {
    /// The caller. It has the scopes that the operation requires.
    pub principal: &'a Principal,
    /// The present.
    pub clock: &'a dyn Clock,
    /// What the client can do.
    pub capabilities: &'a ClientCapabilities,
    /// What the client answered to earlier [`InputRequest`]s; empty in the first round.
    pub input_responses: &'a InputResponses,
    /// The state that the round before returned (`requestState`): sealed on its way, so that no client can change it or bring
    /// it from another call.
    pub request_state: Option<&'a Value>,
    /// Where progress and log messages go.
    pub feedback: &'a dyn Feedback,
    /// Whether the client has gone away.
    pub cancellation: &'a Cancellation,
}

/// The maximum number of times that one call can ask for input.
pub const MAX_INPUT_ROUNDS: usize = 16;

impl Context<'_> {
    /// Returns the client's response to a request for input; without one, the error makes the request, and the call begins
    /// again with the response. Responses of earlier rounds are kept in the sealed state, so that a tool can ask for one
    /// thing after the other. A response counts for the request that it was given to alone: for the same name, text and form.
    /// A tool that returns a state of its own makes its requests by [`InputRequired`].
    ///
    /// # Errors
    /// [`ToolError`], to be returned from the call: with the [`InputRequired`]; or a failure, if the client answered with an
    /// error, or the call has asked [`MAX_INPUT_ROUNDS`] times.
    pub fn input(&self, name: &str, request: InputRequest) -> Result<Value, ToolError> {
        self.input_as(name, request, |response| Some(response.clone()))
    }

    /// Returns what the user did with a form, whose fields `schema` says in MCP's restricted JSON Schema (client/elicitation).
    /// A malformed response counts as none. For a form with a type of its own there is [`Context::elicit_as`].
    ///
    /// # Errors
    /// As [`Context::input`].
    pub fn elicit(&self, name: &str, message: &str, schema: Value) -> Result<ElicitResult, ToolError> {
        let request = InputRequest::Elicit { message: message.to_owned(), schema };
        self.input_as(name, request, ElicitResult::of)
    }

    /// Returns what the user did with a form whose fields are those of `T`: strings, numbers, booleans, and enums of names.
    /// A response whose content is no `T` counts as none.
    ///
    /// # Errors
    /// As [`Context::input`]; or a failure, for a type that makes no form.
    pub fn elicit_as<T: DeserializeOwned + JsonSchema>(
        &self,
        name: &str,
        message: &str,
    ) -> Result<ElicitResult<T>, ToolError> {
        let schema = form::schema::<T>()
            .map_err(|error| ToolError::caused_by("the tool can't make its form", error))?;
        let request = InputRequest::Elicit { message: message.to_owned(), schema };
        self.input_as(name, request, |response| {
            ElicitResult::read(response, |content| T::deserialize(content).ok())
        })
    }

    /// Returns what `read` makes of the response; where it makes nothing, the request is made again.
    fn input_as<T>(
        &self,
        name: &str,
        request: InputRequest,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<T, ToolError> {
        let earlier = EarlierRounds::of(self);
        let digest = request.digest(name);
        match earlier.response(&digest) {
            Some(Value::Null) => return Err(ToolError::new(INPUT_REFUSED)),
            Some(response) => {
                if let Some(response) = read(response) {
                    return Ok(response);
                }
            }
            None => {}
        }
        if earlier.rounds >= MAX_INPUT_ROUNDS {
            let text =
                format!("the call asked for input {MAX_INPUT_ROUNDS} times, and ends without a result");
            return Err(ToolError::new(text));
        }
        let state = earlier.and_asked(name, digest);
        Err(InputRequired::new(name, request).with_state(state).into())
    }
}

const INPUT_REFUSED: &str =
    "the client answered the request for input with an error: it can't get the input, or does not want to";

/// What a client says that it can do (`ClientCapabilities` in MCP's schema). In the legacy era nobody can know, so all of it
/// is assumed there, and a client that can't answers with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientCapabilities {
    /// It can ask its user ([`InputRequest::Elicit`]).
    pub elicitation: bool,
    /// It can ask its model ([`InputRequest::CreateMessage`]).
    pub sampling: bool,
    /// It can list its roots ([`InputRequest::ListRoots`]).
    pub roots: bool,
}

impl ClientCapabilities {
    /// Everything.
    pub const ALL: Self = Self { elicitation: true, sampling: true, roots: true };

    /// Returns whether the client can answer the request.
    #[must_use]
    pub const fn can_answer(&self, request: &InputRequest) -> bool {
        match request {
            InputRequest::Elicit { .. } => self.elicitation,
            InputRequest::CreateMessage(_) => self.sampling,
            InputRequest::ListRoots => self.roots,
        }
    }
}

/// A request for input that only the client can answer (`InputRequest` in MCP's schema).
#[derive(Debug, Clone, PartialEq)]
pub enum InputRequest {
    /// A form for the user (`elicitation/create`).
    Elicit {
        /// The text above the form.
        message: String,
        /// The form's fields, as MCP's restricted JSON Schema (client/elicitation).
        schema: Value,
    },
    /// A conversation for the client's model (`sampling/createMessage`).
    CreateMessage(CreateMessageParams),
    /// The folders that the user works in (`roots/list`).
    ListRoots,
}

/// The parameters of `sampling/createMessage`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CreateMessageParams {
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// The system prompt.
    pub system_prompt: Option<String>,
    /// The maximum length of the answer, in tokens.
    pub max_tokens: u32,
}

impl CreateMessageParams {
    /// Creates the parameters of a conversation without a system prompt.
    #[must_use]
    pub fn new(messages: Vec<Message>, max_tokens: u32) -> Self {
        Self { messages, system_prompt: None, max_tokens }
    }
}

/// A turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Whose turn.
    pub role: Role,
    /// What was said.
    pub content: crate::content::Content,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The user.
    User,
    /// The model.
    Assistant,
}

/// The outcome of one round of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome<T> {
    /// A result.
    Complete(T),
    /// Requests for input; their responses begin the next round.
    InputRequired(InputRequired),
}

/// Requests for input, and the state to go on with (`InputRequiredResult` in MCP's schema).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InputRequired {
    /// The requests, by the names that their responses will have.
    pub input_requests: BTreeMap<String, InputRequest>,
    /// The state for the next round. It travels through the client, sealed.
    pub request_state: Option<Value>,
}

impl InputRequired {
    /// Creates one with a single request.
    #[must_use]
    pub fn new(name: &str, request: InputRequest) -> Self {
        Self::default().and(name, request)
    }

    /// Adds a request.
    #[must_use]
    pub fn and(mut self, name: &str, request: InputRequest) -> Self {
        self.input_requests.insert(name.to_owned(), request);
        self
    }

    /// Sets the state for the next round.
    #[must_use]
    pub fn with_state(mut self, state: Value) -> Self {
        self.request_state = Some(state);
        self
    }
}

impl fmt::Display for InputRequired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("input is required")
    }
}

impl std::error::Error for InputRequired {}

impl<T, E> From<InputRequired> for Result<Outcome<T>, E> {
    fn from(required: InputRequired) -> Self {
        Ok(Outcome::InputRequired(required))
    }
}

/// A client's responses to [`InputRequest`]s, by the requests' names (`InputResponses` in MCP's schema). They are untrusted: a
/// client may send what it likes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InputResponses(BTreeMap<String, Value>);

/// What a user did with a form (`ElicitResult` in MCP's schema, by its `action`).
#[derive(Debug, Clone, PartialEq)]
pub enum ElicitResult<T = Map<String, Value>> {
    /// Submitted it, with this content.
    Accept(T),
    /// Declined.
    Decline,
    /// Dismissed it without a choice.
    Cancel,
}

impl ElicitResult {
    fn of(response: &Value) -> Option<Self> {
        Self::read(response, |content| content.as_object().cloned())
    }
}

impl<T> ElicitResult<T> {
    /// Returns what a response says, with what `accepted` makes of its content.
    fn read(response: &Value, accepted: impl FnOnce(&Value) -> Option<T>) -> Option<Self> {
        match response.get("action")?.as_str()? {
            "accept" => response.get("content").and_then(accepted).map(Self::Accept),
            "decline" => Some(Self::Decline),
            "cancel" => Some(Self::Cancel),
            _ => None,
        }
    }
}

impl InputResponses {
    /// Creates them from values by name: each an `ElicitResult`, `CreateMessageResult` or `ListRootsResult` of MCP's schema, or
    /// null for an error.
    #[must_use]
    pub const fn new(by_name: BTreeMap<String, Value>) -> Self {
        Self(by_name)
    }

    /// Returns a response as it was sent; null if the client answered with an error.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Returns whether the client answered with an error, as one does that can't get such input. Asking it again ends the call.
    #[must_use]
    pub fn is_error(&self, name: &str) -> bool {
        self.raw(name).is_some_and(Value::is_null)
    }

    /// Returns what the user did with a form; `None` without a response, or for one that is malformed.
    #[must_use]
    pub fn elicit_result(&self, name: &str) -> Option<ElicitResult> {
        self.raw(name).and_then(ElicitResult::of)
    }

    /// Returns the text of a `CreateMessageResult`, if its content is text.
    #[must_use]
    pub fn message_text(&self, name: &str) -> Option<&str> {
        self.raw(name)?.get("content")?.get("text")?.as_str()
    }

    /// Returns the URIs of a `ListRootsResult`.
    #[must_use]
    pub fn roots(&self, name: &str) -> Option<Vec<&str>> {
        let roots = self.raw(name)?.get("roots")?.as_array()?;
        roots.iter().map(|root| root.get("uri")?.as_str()).collect()
    }
}

/// The port for progress and log messages to the client. Messages are dropped where the client asked for none, and where it
/// reads too slowly: they never delay the work.
pub trait Feedback: Send + Sync {
    /// Sends `notifications/progress`.
    fn progress(&self, progress: Progress);
    /// Sends `notifications/message`.
    fn log(&self, message: LogMessage);
}

/// The progress of a call. `progress` must grow from one message to the next.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// The progress so far, in any unit.
    pub progress: f64,
    /// The whole, in the same unit, if it is known.
    pub total: Option<f64>,
    /// A text for the user.
    pub message: Option<String>,
}

impl Progress {
    /// Creates a message of the progress so far.
    #[must_use]
    pub fn new(progress: f64) -> Self {
        Self { progress, total: None, message: None }
    }

    /// Sets the whole.
    #[must_use]
    pub fn of(self, total: f64) -> Self {
        Self { total: Some(total), ..self }
    }

    /// Sets the text for the user.
    #[must_use]
    pub fn message(self, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..self }
    }
}

/// A message for the client's log: no secrets, no personal data.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LogMessage {
    /// Its severity.
    pub level: LogLevel,
    /// The name of the logger.
    pub logger: Option<String>,
    /// The message: a text, or any JSON value.
    pub data: Value,
}

impl LogMessage {
    /// Creates a message without a logger's name.
    #[must_use]
    pub fn new(level: LogLevel, data: impl Into<Value>) -> Self {
        Self { level, logger: None, data: data.into() }
    }

    /// Sets the logger's name.
    #[must_use]
    pub fn logger(self, logger: impl Into<String>) -> Self {
        Self { logger: Some(logger.into()), ..self }
    }
}

/// The severities of RFC 5424 section 6.2.1, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Details for developers.
    Debug,
    /// Normal operation.
    Info,
    /// Normal, but significant.
    Notice,
    /// A warning condition.
    Warning,
    /// An error condition.
    Error,
    /// A critical condition.
    Critical,
    /// Action must be taken immediately.
    Alert,
    /// The system is unusable.
    Emergency,
}

/// Feedback that is dropped.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoopFeedback;

impl Feedback for NoopFeedback {
    fn progress(&self, _progress: Progress) {}
    fn log(&self, _message: LogMessage) {}
}

/// Whether a call is still wanted. A tool's future is dropped when its client goes away; this is for what it has started
/// elsewhere, such as on a blocking thread.
#[derive(Debug, Clone, Default)]
pub struct Cancellation(Arc<AtomicBool>);

impl Cancellation {
    /// Whether nobody waits for the result any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// From now on nobody does. What is done already stays done.
    pub(crate) fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
