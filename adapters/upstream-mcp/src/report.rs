//! [`Report`]: what an upstream has and what is offered of it, for whoever set it up.

/// What an upstream has, and what is offered of it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// Its name in the configuration.
    pub name: String,
    /// Its own name and version, if it is connected and says them.
    pub server: Option<String>,
    /// The protocol revision that is spoken to it, if it is connected.
    pub protocol: Option<String>,
    /// Why it is not connected.
    pub problem: Option<String>,
    /// Its tools.
    pub tools: Vec<ReportedTool>,
    /// The number of resources that are offered.
    pub resources: usize,
    /// The number of templates that are offered.
    pub templates: usize,
    /// The number of prompts that are offered.
    pub prompts: usize,
    /// What no rule covers, beside tools.
    pub uncovered: Uncovered,
}

/// How much of what an upstream has no rule covers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Uncovered {
    /// The number of resources.
    pub resources: usize,
    /// The number of templates.
    pub templates: usize,
    /// The number of prompts.
    pub prompts: usize,
}

/// A tool of an upstream's.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReportedTool {
    /// The name that it has there.
    pub upstream_name: String,
    /// The name that clients see.
    pub name: String,
    /// What became of it.
    pub decision: ReportedDecision,
}

/// What became of a tool of an upstream's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReportedDecision {
    /// It is offered.
    Offered,
    /// A rule hides it.
    Hidden,
    /// No rule covers it.
    Uncovered,
    /// It can't be offered, for this reason.
    Unusable(String),
}
