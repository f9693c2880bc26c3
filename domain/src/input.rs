//! Input that only the client has: what is requested of it, and its responses.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::raw::RawObject;

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
        match request.kind() {
            InputKind::Elicit => self.elicitation,
            InputKind::CreateMessage => self.sampling,
            InputKind::ListRoots => self.roots,
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
    /// A request of another server's, passed on as it was written.
    Relayed {
        /// Which kind of request it is.
        kind: InputKind,
        /// The request's `params`.
        params: RawObject,
    },
}

/// The kinds of requests for input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputKind {
    /// `elicitation/create`.
    Elicit,
    /// `sampling/createMessage`.
    CreateMessage,
    /// `roots/list`.
    ListRoots,
}

impl InputRequest {
    /// Returns the kind.
    #[must_use]
    pub const fn kind(&self) -> InputKind {
        match self {
            Self::Elicit { .. } => InputKind::Elicit,
            Self::CreateMessage(_) => InputKind::CreateMessage,
            Self::ListRoots => InputKind::ListRoots,
            Self::Relayed { kind, .. } => *kind,
        }
    }
}

impl InputKind {
    /// Returns the request's method.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::Elicit => "elicitation/create",
            Self::CreateMessage => "sampling/createMessage",
            Self::ListRoots => "roots/list",
        }
    }

    /// Returns the kind of a request with this method.
    #[must_use]
    pub fn of_method(method: &str) -> Option<Self> {
        [Self::Elicit, Self::CreateMessage, Self::ListRoots].into_iter().find(|kind| kind.method() == method)
    }
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
    /// A result of another server's, passed on as it was written, but for what a protocol revision adds or leaves out.
    Relayed(RawObject),
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
    pub(crate) fn of(response: &Value) -> Option<Self> {
        Self::read(response, |content| content.as_object().cloned())
    }
}

impl<T> ElicitResult<T> {
    /// Returns what a response says, with what `accepted` makes of its content.
    pub(crate) fn read(response: &Value, accepted: impl FnOnce(&Value) -> Option<T>) -> Option<Self> {
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
