//! [`Upstream`]: another MCP server as a [`Provider`].

use std::sync::Arc;

use domain::{Change, Clock, Provider};
use futures_util::stream::{self, BoxStream, StreamExt};

use crate::options::Options;

/// Another MCP server. Clones share it.
#[derive(Clone)]
pub struct Upstream {
    name: String,
}

/// Why an upstream was not reached in time.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct StartError(String);

/// What is known of an upstream.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its name in the configuration.
    pub name: String,
    /// What it calls itself, with its version.
    pub server: Option<String>,
    /// The protocol revision.
    pub protocol: Option<String>,
    /// Why it is not there.
    pub problem: Option<String>,
    /// Its tools.
    pub tools: Vec<ReportedTool>,
    /// The number of its resources.
    pub resources: usize,
    /// The number of its templates.
    pub templates: usize,
    /// The number of its prompts.
    pub prompts: usize,
}

/// A tool of an upstream's.
#[derive(Debug, Clone)]
pub struct ReportedTool {
    /// Its name there.
    pub upstream_name: String,
    /// The name that clients see.
    pub name: String,
    /// What becomes of it.
    pub decision: ReportedDecision,
}

/// What becomes of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportedDecision {
    /// It is offered.
    Offered,
    /// A rule hides it.
    Hidden,
    /// No rule covers it.
    Uncovered,
    /// It can't be offered.
    Unusable(String),
}

impl Upstream {
    /// Starts connecting; must be called within a tokio runtime.
    pub fn start(options: Options, _clock: Arc<dyn Clock>) -> Self {
        Self { name: options.name }
    }

    /// Waits until it was reached and its lists are there.
    ///
    /// # Errors
    /// [`StartError`] when that takes too long.
    #[expect(clippy::unused_async, reason = "a stand-in")]
    pub async fn first_lists(&self) -> Result<(), StartError> {
        Err(StartError("no upstream can be reached by this build".to_owned()))
    }

    /// Stops it.
    #[expect(clippy::unused_async, reason = "a stand-in")]
    pub async fn stop(&self) {}

    /// Returns what is known of it.
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            name: self.name.clone(),
            server: None,
            protocol: None,
            problem: None,
            tools: Vec::new(),
            resources: 0,
            templates: 0,
            prompts: 0,
        }
    }
}

impl Provider for Upstream {
    fn changes(&self) -> BoxStream<'static, Change> {
        stream::pending().boxed()
    }
}
