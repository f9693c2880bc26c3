//! The settings of the protocol, and the identity of the server.

use std::time::Duration;

use domain::Icon;
use serde::Serialize;
use serde_json::{Value, json};

use crate::content::icons;

/// The identity of the server (`Implementation` in the schema).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// The name for programs.
    pub name: String,
    /// The name for people.
    pub title: String,
    /// The version of the server software.
    pub version: String,
    /// How a model should use the server; none when empty.
    #[serde(skip)]
    pub instructions: String,
    /// What clients may show beside its title.
    #[serde(skip)]
    pub icons: Vec<Icon>,
}

/// The settings of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpSettings {
    /// The identity of the server.
    pub identity: Identity,
    /// The deepest nesting of a request, in levels; at most [`syntax::strict_json::MAX_DEPTH`].
    pub json_depth: usize,
    /// How long a client may keep a list, in milliseconds (`ttlMs`).
    pub list_ttl_ms: u64,
    /// How many items a page of a list has.
    pub page_size: usize,
    /// How long a legacy client may take to respond to a request for input.
    pub answer_timeout: Duration,
}

impl Identity {
    /// Returns it as `Implementation`. Icons stand only where a client asks what the server is, not in every result.
    pub(crate) fn introduction(&self, with_icons: bool) -> Value {
        let mut introduction = json!(self);
        if with_icons && !self.icons.is_empty() {
            introduction["icons"] = json!(icons(&self.icons));
        }
        introduction
    }
}
