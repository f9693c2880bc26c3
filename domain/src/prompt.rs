//! The [`Prompt`] port: conversations that a user starts from a template.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::completion::Completion;
use crate::context::{Context, Message, Outcome};
use crate::icon::Icon;
use crate::scope::{InvalidScope, ScopeSet};
use crate::tool::ToolError;

/// What a prompt tells clients of itself, and which scopes it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptSpec {
    /// Unique in a catalog.
    pub name: String,
    /// For people.
    pub title: String,
    /// What it is for.
    pub description: String,
    /// What it can be given.
    pub arguments: Vec<PromptArgument>,
    /// What clients may show beside it.
    pub icons: Vec<Icon>,
    /// Every one of them is needed to see and to get it.
    pub scopes: ScopeSet,
}

/// An argument of a prompt; its value is text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptArgument {
    /// For programs.
    pub name: String,
    /// What it means.
    pub description: String,
    /// Whether the prompt can't do without.
    pub required: bool,
}

impl PromptSpec {
    /// A prompt without arguments, asking for no scope.
    #[must_use]
    pub fn new(name: &str, title: &str, description: &str) -> Self {
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            description: description.to_owned(),
            arguments: Vec::new(),
            icons: Vec::new(),
            scopes: ScopeSet::EMPTY,
        }
    }

    /// Takes an argument that it can't do without.
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

/// One use, as the prompt sees it.
pub struct PromptCall<'a> {
    /// Who uses it.
    pub context: Context<'a>,
    /// The arguments; the required ones are there.
    pub arguments: &'a BTreeMap<String, String>,
}

/// What a use gives.
pub type GetPromptResult = Result<Outcome<Vec<Message>>, ToolError>;

/// The port for every prompt.
#[async_trait]
pub trait Prompt: Send + Sync {
    /// What it says of itself. Asked once, when the catalog is built.
    ///
    /// # Errors
    /// [`InvalidScope`]; it stops the start.
    fn spec(&self) -> Result<PromptSpec, InvalidScope>;

    /// The conversation.
    ///
    /// # Errors
    /// [`ToolError`].
    async fn get(&self, call: PromptCall<'_>) -> GetPromptResult;

    /// Suggests values of an argument, for what was typed so far.
    async fn complete(&self, _context: Context<'_>, _argument: &str, _typed: &str) -> Completion {
        Completion::default()
    }
}
