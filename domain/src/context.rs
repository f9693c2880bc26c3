//! What a tool, a prompt or a resource sees of a request, and how it reaches the client before it has its result.
//!
//! Protocol revisions differ in how a request for input travels and how its response comes back; here there is one way.
//! Something that needs input returns its [`InputRequest`]s and a state of its own, and is called again, from its beginning,
//! with [`InputResponses`] and that state.

mod form;
mod rounds;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::rounds::EarlierRounds;
use crate::downstream::{self, Downstream, DownstreamError, DownstreamToken};
use crate::input::{ClientCapabilities, ElicitResult, InputRequest, InputRequired, InputResponses};
use crate::principal::Principal;
use crate::time::Clock;
use crate::tool_error::ToolError;
use crate::trace::{Span, TraceContext};

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
    /// The arguments of the prompt or template that are filled already, in `complete` (`CompleteRequestParams.context` in MCP's
    /// schema); none elsewhere.
    pub filled_arguments: &'a BTreeMap<String, String>,
    /// Where progress and log messages go.
    pub feedback: &'a dyn Feedback,
    /// Whether the client has gone away.
    pub cancellation: &'a Cancellation,
    /// The span of the work; steps of it are its children.
    pub span: &'a Span,
    /// The way to tokens for other APIs, where there are any.
    pub(crate) downstream: Option<&'a Downstream>,
}

/// The maximum number of times that one call can ask for input.
pub const MAX_INPUT_ROUNDS: usize = 16;

impl Context<'_> {
    /// Returns where the work is in its trace, to be handed on to whatever it calls, as the header fields `traceparent` and
    /// `tracestate` over HTTP; `None` where nothing is traced.
    #[must_use]
    pub fn trace_context(&self) -> Option<&TraceContext> {
        self.span.context()
    }

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

    /// Returns a token for another API, exchanged for the caller's own (RFC 8693): to act at that API on the caller's behalf.
    /// `api` is its name in the configuration (`[downstream.apis]`), or its audience; without `scopes`, all are asked for that
    /// the configuration allows. The token is kept for the caller until shortly before one of the two expires, so ask for each
    /// request anew.
    ///
    /// ```
    /// use domain::{Context, ToolError};
    ///
    /// async fn authorization(context: &Context<'_>) -> Result<String, ToolError> {
    ///     Ok(context.downstream("orders", &["orders:read"]).await?.authorization())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`DownstreamError`]; by `?` its message becomes the tool's.
    pub async fn downstream(&self, api: &str, scopes: &[&str]) -> Result<DownstreamToken, DownstreamError> {
        self.downstream_token(api, scopes, None).await
    }

    /// Returns another token than `refused`, which the API did not accept (401); as [`Context::downstream`] does in all else.
    ///
    /// # Errors
    /// [`DownstreamError`].
    pub async fn downstream_instead_of(
        &self,
        refused: &DownstreamToken,
        api: &str,
        scopes: &[&str],
    ) -> Result<DownstreamToken, DownstreamError> {
        self.downstream_token(api, scopes, Some(refused)).await
    }

    async fn downstream_token(
        &self,
        api: &str,
        scopes: &[&str],
        refused: Option<&DownstreamToken>,
    ) -> Result<DownstreamToken, DownstreamError> {
        let downstream = self.downstream.ok_or_else(downstream::off)?;
        downstream.token(self.principal, api, scopes, refused).await
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

/// The port for progress and log messages to the client. Messages are dropped where the client asked for none, and where it
/// reads too slowly: they never delay the work.
pub trait Feedback: Send + Sync {
    /// Sends `notifications/progress`.
    fn progress(&self, progress: Progress);
    /// Sends `notifications/message`.
    fn log(&self, message: LogMessage);
    /// Returns the lowest level of log messages that the client wants; `None` for none at all.
    fn log_level(&self) -> Option<LogLevel> {
        None
    }
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
/// elsewhere, such as on a blocking thread, with a clone of it.
#[derive(Debug, Default)]
pub struct Cancellation(
    /// What clones share; nothing before there is one, since only they outlast the call.
    OnceLock<Arc<AtomicBool>>,
);

impl Clone for Cancellation {
    fn clone(&self) -> Self {
        Self(OnceLock::from(Arc::clone(self.0.get_or_init(Arc::default))))
    }
}

impl Cancellation {
    /// Whether nobody waits for the result any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    /// From now on nobody does. What is done already stays done.
    pub(crate) fn cancel(self) {
        if let Some(flag) = self.0.get() {
            flag.store(true, Ordering::Relaxed);
        }
    }
}
