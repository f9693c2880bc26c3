//! Why a call has no result.

use std::error::Error;
use std::fmt;

use serde_json::Value;

use crate::input::InputRequired;

/// Why a call has no result: a failure, told in a message that a model can act on, apart from its cause, which only the
/// operator's log sees; or input that is required first ([`Context::elicit`](crate::Context::elicit)).
#[derive(Debug)]
pub struct ToolError {
    message: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
    input_required: Option<Box<InputRequired>>,
    relayed: Option<Box<RelayedError>>,
}

/// A JSON-RPC error of another server's, passed on as it was.
#[derive(Debug, Clone, PartialEq)]
pub struct RelayedError {
    /// The code.
    pub code: i32,
    /// The message.
    pub message: String,
    /// What it says beyond that.
    pub data: Option<Value>,
}

impl ToolError {
    /// Creates a failure that the model may be told in full.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), cause: None, input_required: None, relayed: None }
    }

    /// Creates a failure that the client sees as this JSON-RPC error.
    #[must_use]
    pub fn relayed(error: RelayedError) -> Self {
        Self { relayed: Some(Box::new(error.clone())), ..Self::new(error.message) }
    }

    /// Returns the JSON-RPC error of another server's, if it is one.
    #[must_use]
    pub fn as_relayed(&self) -> Option<&RelayedError> {
        self.relayed.as_deref()
    }

    /// Creates a failure whose cause is the operator's business.
    #[must_use]
    pub fn caused_by(message: impl Into<String>, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into()), ..Self::new(message) }
    }

    /// Returns the requests for input, if it is no failure, or was caused by an error that is none: by one that went through
    /// another error type, such as `anyhow::Error`.
    ///
    /// # Errors
    /// The failure.
    pub fn into_input_required(self) -> Result<InputRequired, Self> {
        match self {
            Self { input_required: Some(required), .. } => Ok(*required),
            failure => failure.causing_input().cloned().ok_or(failure),
        }
    }

    fn causing_input(&self) -> Option<&InputRequired> {
        let mut causes = std::iter::successors(self.source(), |&cause| cause.source());
        causes.find_map(|cause| cause.downcast_ref())
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ToolError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // The requests are a cause, so that they are found whatever this is wrapped in.
        let required = self.input_required.as_deref().map(|required| required as _);
        required.or_else(|| self.cause.as_deref().map(|cause| cause as _))
    }
}

impl From<InputRequired> for ToolError {
    fn from(required: InputRequired) -> Self {
        Self { input_required: Some(Box::new(required)), ..Self::new("input is required") }
    }
}

/// What can't be given as JSON, as a failure.
pub(crate) fn not_json(error: impl Error + Send + Sync + 'static) -> ToolError {
    ToolError::caused_by("the result can't be given as JSON", error)
}
