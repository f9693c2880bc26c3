//! The [`Prompt`] port: conversations that a user starts from a template.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::completion::Completion;
use crate::context::Context;
use crate::icon::Icon;
use crate::input::{Message, Outcome};
use crate::raw::RawObject;
use crate::scope::{InvalidScope, ScopeSet};
use crate::tool_error::ToolError;

/// The description of a prompt for clients, and the scopes that it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PromptSpec {
    /// The name, unique in a catalog.
    pub name: String,
    /// The name for people.
    pub title: String,
    /// The description.
    pub description: String,
    /// The arguments.
    pub arguments: Vec<PromptArgument>,
    /// The icons that clients may show.
    pub icons: Vec<Icon>,
    /// The scopes that are required to see and to get it.
    pub scopes: ScopeSet,
    /// The definition as another server wrote it (`Prompt` in MCP's schema). Clients see this, under the spec's
    /// name, instead of what the other fields would make.
    pub definition: Option<RawObject>,
}

/// An argument of a prompt; its value is text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PromptArgument {
    /// The name for programs.
    pub name: String,
    /// The description.
    pub description: String,
    /// Whether it must be given.
    pub required: bool,
}

impl PromptSpec {
    /// Creates the spec of a prompt without arguments that asks for no scope.
    #[must_use]
    pub fn new(name: &str, title: &str, description: &str) -> Self {
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            description: description.to_owned(),
            arguments: Vec::new(),
            icons: Vec::new(),
            scopes: ScopeSet::EMPTY,
            definition: None,
        }
    }

    /// Adds a required argument.
    #[must_use]
    pub fn takes(mut self, name: &str, description: &str) -> Self {
        let (name, description) = (name.to_owned(), description.to_owned());
        self.arguments.push(PromptArgument { name, description, required: true });
        self
    }

    /// Adds an icon.
    #[must_use]
    pub fn icon(mut self, icon: Icon) -> Self {
        self.icons.push(icon);
        self
    }

    /// Asks for these scopes, all of them.
    ///
    /// # Errors
    /// [`InvalidScope`].
    pub fn requires<'a>(mut self, scopes: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidScope> {
        self.scopes = ScopeSet::parse_all(scopes)?;
        Ok(self)
    }
}

/// A call of [`Prompt::get`].
#[non_exhaustive]
pub struct PromptCall<'a> {
    /// The caller and its client.
    pub context: Context<'a>,
    /// The arguments; all required ones are present.
    pub arguments: &'a BTreeMap<String, String>,
}

/// The result of [`Prompt::get`].
pub type GetPromptResult = Result<Outcome<Vec<Message>>, ToolError>;

/// The port for every prompt.
#[async_trait]
pub trait Prompt: Send + Sync {
    /// Returns its spec. Asked once, when the catalog is built.
    ///
    /// # Errors
    /// [`InvalidScope`]; it stops the start.
    fn spec(&self) -> Result<PromptSpec, InvalidScope>;

    /// Returns the conversation.
    ///
    /// # Errors
    /// [`ToolError`].
    async fn get(&self, call: PromptCall<'_>) -> GetPromptResult;

    /// Suggests values of an argument, for what was typed so far.
    async fn complete(&self, _context: Context<'_>, _argument: &str, _typed: &str) -> Completion {
        Completion::default()
    }
}
