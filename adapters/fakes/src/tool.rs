//! [`RecordingTool`]: a tool that notes its calls and behaves as told.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use domain::{CallToolResult, DynTool, SpecError, ToolCall, ToolError, ToolResult, ToolSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

/// What a [`RecordingTool`] does when it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers "recorded".
    Answer,
    /// Fails with "the tool said no".
    Fail,
    /// Panics.
    Panic,
    /// Answers only after [`RecordingTool::release`].
    Wait,
    /// Gives a structured result that its own schema refuses.
    BreakSchema,
}

/// Takes an optional `note` and remembers the subject and note of each call.
#[derive(Debug)]
pub struct RecordingTool {
    name: &'static str,
    scopes: &'static [&'static str],
    behaviour: Behaviour,
    calls: Mutex<Vec<(String, Option<String>)>>,
    started: Semaphore,
    released: Semaphore,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    note: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Recorded {
    recorded: bool,
}

impl RecordingTool {
    /// A tool of this name that asks for these scopes.
    #[must_use]
    pub fn new(name: &'static str, scopes: &'static [&'static str], behaviour: Behaviour) -> Self {
        Self {
            name,
            scopes,
            behaviour,
            calls: Mutex::default(),
            started: Semaphore::new(0),
            released: Semaphore::new(0),
        }
    }

    /// Subject and note of every call so far.
    #[must_use]
    pub fn calls(&self) -> Vec<(String, Option<String>)> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Completes once a call has begun that no earlier `started` has answered for.
    pub async fn started(&self) {
        if let Ok(permit) = self.started.acquire().await {
            permit.forget();
        }
    }

    /// Lets one waiting call answer.
    pub fn release(&self) {
        self.released.add_permits(1);
    }

    async fn wait(&self) {
        if let Ok(permit) = self.released.acquire().await {
            permit.forget();
        }
    }
}

#[async_trait]
impl DynTool for RecordingTool {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        ToolSpec::new::<Arguments, Recorded>(self.name, "Recording tool", "Notes its calls.")?
            .requires(self.scopes.iter().copied())
    }

    #[expect(clippy::panic, reason = "what happens after a panic is what some tests are about")]
    async fn run(&self, call: ToolCall<'_>) -> ToolResult {
        let Arguments { note } = call.arguments()?;
        let entry = (call.context.principal.subject().to_owned(), note);
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
        self.started.add_permits(1);
        match self.behaviour {
            Behaviour::Answer => {}
            Behaviour::Fail => {
                return Err(ToolError::caused_by("the tool said no", "a cause for the operator"));
            }
            Behaviour::Panic => panic!("as scripted"),
            Behaviour::Wait => self.wait().await,
            Behaviour::BreakSchema => {
                return CallToolResult::new("recorded", &serde_json::json!({"recorded": 5}));
            }
        }
        CallToolResult::new("recorded", &Recorded { recorded: true })
    }
}
