//! What a tool, a prompt or a resource sees of who asks, and how it talks back before it has its result.
//!
//! Protocol revisions differ in how a question travels and how its answer comes back; here there is one way. Something that
//! needs input returns [`Outcome::InputRequired`] with its [`Question`]s and whatever it wants to remember, and is called
//! again, from its beginning, with [`Answers`] and that state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};

use crate::principal::Principal;
use crate::time::Clock;

/// Who asks, with what at hand.
pub struct Context<'a> {
    /// Who asks. The scopes that are needed are already there.
    pub principal: &'a Principal,
    /// The present.
    pub clock: &'a dyn Clock,
    /// What the client can do.
    pub capabilities: &'a ClientCapabilities,
    /// What the client answered to earlier questions; empty the first time.
    pub answers: &'a Answers,
    /// What was to be remembered since the last time; nobody can have changed it, or brought it from another call.
    pub state: Option<&'a Value>,
    /// Where progress and log messages go.
    pub feedback: &'a dyn Feedback,
    /// Whether the client has gone away.
    pub cancellation: &'a Cancellation,
}

/// What a client says that it can do (`ClientCapabilities` in MCP's schema). In the legacy era nobody can know, so all of it
/// is assumed there, and a client that can't answers with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientCapabilities {
    /// It asks its user ([`Question::Elicit`]).
    pub elicitation: bool,
    /// It asks its model ([`Question::Sample`]).
    pub sampling: bool,
    /// It knows its roots ([`Question::ListRoots`]).
    pub roots: bool,
}

impl ClientCapabilities {
    /// Everything.
    pub const ALL: Self = Self { elicitation: true, sampling: true, roots: true };

    /// Whether the client can answer the question.
    #[must_use]
    pub const fn can_answer(&self, question: &Question) -> bool {
        match question {
            Question::Elicit { .. } => self.elicitation,
            Question::Sample(_) => self.sampling,
            Question::ListRoots => self.roots,
        }
    }
}

/// Something that only the client can answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// For the user: a form.
    Elicit {
        /// What to tell the user.
        message: String,
        /// The form's fields, as MCP's restricted JSON Schema (client/elicitation).
        schema: Value,
    },
    /// For the client's model.
    Sample(Sampling),
    /// Which folders the user works in.
    ListRoots,
}

/// What the client's model is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sampling {
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// How the model should behave.
    pub system_prompt: Option<String>,
    /// The longest answer, in tokens.
    pub max_tokens: u32,
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

/// How far something has come.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome<T> {
    /// It is done.
    Complete(T),
    /// It needs to know something first.
    InputRequired(InputRequired),
}

/// What is asked before going on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InputRequired {
    /// The questions, by names that their answers will have.
    pub questions: BTreeMap<String, Question>,
    /// What to remember until then. It travels through the client, sealed.
    pub state: Option<Value>,
}

impl InputRequired {
    /// One question.
    #[must_use]
    pub fn ask(name: &str, question: Question) -> Self {
        Self::default().and(name, question)
    }

    /// Another question.
    #[must_use]
    pub fn and(mut self, name: &str, question: Question) -> Self {
        self.questions.insert(name.to_owned(), question);
        self
    }

    /// Something to remember.
    #[must_use]
    pub fn remembering(mut self, state: Value) -> Self {
        self.state = Some(state);
        self
    }
}

impl<T, E> From<InputRequired> for Result<Outcome<T>, E> {
    fn from(required: InputRequired) -> Self {
        Ok(Outcome::InputRequired(required))
    }
}

/// A client's answers, by the names of the questions. Nothing in them is to be trusted: a client may send what it likes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answers(BTreeMap<String, Value>);

/// What a user did with a form.
#[derive(Debug, Clone, PartialEq)]
pub enum Elicited {
    /// Filled it in.
    Accepted(Map<String, Value>),
    /// Said no.
    Declined,
    /// Put it away.
    Cancelled,
}

impl Answers {
    /// Answers by name: each an `ElicitResult`, `CreateMessageResult` or `ListRootsResult` of MCP's schema.
    #[must_use]
    pub const fn new(by_name: BTreeMap<String, Value>) -> Self {
        Self(by_name)
    }

    /// The answer as it came.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// What the user did with a form; `None` for no answer, or one that makes no sense.
    #[must_use]
    pub fn elicited(&self, name: &str) -> Option<Elicited> {
        let answer = self.raw(name)?;
        match answer.get("action")?.as_str()? {
            "accept" => answer.get("content")?.as_object().cloned().map(Elicited::Accepted),
            "decline" => Some(Elicited::Declined),
            "cancel" => Some(Elicited::Cancelled),
            _ => None,
        }
    }

    /// What the client's model said, if it was text.
    #[must_use]
    pub fn sampled_text(&self, name: &str) -> Option<&str> {
        self.raw(name)?.get("content")?.get("text")?.as_str()
    }

    /// The client's roots, by URI.
    #[must_use]
    pub fn roots(&self, name: &str) -> Option<Vec<&str>> {
        let roots = self.raw(name)?.get("roots")?.as_array()?;
        roots.iter().map(|root| root.get("uri")?.as_str()).collect()
    }
}

/// The port through which something tells its client how it goes. Nobody may be listening, and a slow listener loses
/// messages rather than slow the work.
pub trait Feedback: Send + Sync {
    /// Work has come so far.
    fn progress(&self, progress: Progress);
    /// Something worth telling happened.
    fn log(&self, message: LogMessage);
}

/// How far work has come. `progress` must grow from one to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// So far.
    pub progress: f64,
    /// In all, if that is known.
    pub total: Option<f64>,
    /// For people.
    pub message: Option<String>,
}

/// A message for the client's log. No secrets, no personal data.
#[derive(Debug, Clone, PartialEq)]
pub struct LogMessage {
    /// How bad it is.
    pub level: LogLevel,
    /// Who says it.
    pub logger: Option<String>,
    /// What.
    pub data: Value,
}

/// The levels of RFC 5424 section 6.2.1, from the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// For developers.
    Debug,
    /// As usual.
    Info,
    /// As usual, but significant.
    Notice,
    /// Something may be wrong.
    Warning,
    /// Something is wrong.
    Error,
    /// Something important is wrong.
    Critical,
    /// Somebody must act now.
    Alert,
    /// Nothing works.
    Emergency,
}

/// Nobody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unheard;

impl Feedback for Unheard {
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
