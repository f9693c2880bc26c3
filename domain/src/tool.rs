//! The [`DynTool`] port and its types: a tool's spec, a call, its result. Most tools are written as a [`Tool`] or made by
//! [`tool_fn`] (`typed`).

mod structured;
mod typed;

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::content::Content;
use crate::context::Context;
use crate::icon::Icon;
use crate::input::Outcome;
use crate::raw::RawObject;
use crate::schema::{Schema, SchemaError};
use crate::scope::{InvalidScope, ScopeSet};
use crate::tool_error::{ToolError, not_json};
pub use structured::StructuredContent;
pub use typed::{FnTool, Json, Tool, ToolOutput, tool_fn};

/// A tool's name, cheap to clone: `[A-Za-z0-9_.-]{1,128}` (MCP 2026-07-28, server/tools, "Tool Names"). Case matters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ToolName(Arc<str>);

impl Borrow<str> for ToolName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl ToolName {
    /// Parses a name.
    ///
    /// # Errors
    /// [`SpecError::Name`] for one outside the grammar.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let in_grammar = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
        if (1..=128).contains(&text.len()) && text.bytes().all(in_grammar) {
            Ok(Self(text.into()))
        } else {
            Err(SpecError::Name(text.to_owned()))
        }
    }

    /// Returns whether the two are equal; of clones without reading them.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self == other
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a tool can't be offered; for the developer who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// Not a tool name.
    #[error("not a tool name (1 to 128 of A-Z a-z 0-9 _ . -): {0:?}")]
    Name(String),
    /// Not a scope.
    #[error(transparent)]
    Scope(#[from] InvalidScope),
    /// Not a usable schema.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// An error in the spec of the tool of this name.
    #[error("the tool {name:?}: {error}")]
    OfTool {
        /// The tool's name.
        name: String,
        /// The error.
        error: Box<SpecError>,
    },
}

impl SpecError {
    /// Returns the error with the name of its tool, if it has none yet.
    #[must_use]
    pub fn of_tool(self, name: &str) -> Self {
        match self {
            named @ (Self::Name(_) | Self::OfTool { .. }) => named,
            error => Self::OfTool { name: name.to_owned(), error: Box::new(error) },
        }
    }
}

/// A tool's description for clients, and the scopes that a call requires.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ToolSpec {
    /// The name, unique in a catalog.
    pub name: ToolName,
    /// The name for people.
    pub title: String,
    /// What the tool does and when to use it, for the model.
    pub description: String,
    /// The schema of the arguments; a call whose arguments do not fit never reaches the tool.
    pub input: Schema,
    /// The schema of the structured content.
    pub output: Option<Schema>,
    /// The scopes that are required to see and to call the tool, all of them. The configuration may name others instead.
    pub scopes: ScopeSet,
    /// What a call does beyond its result.
    pub hints: ToolHints,
    /// Icons that clients may show.
    pub icons: Vec<Icon>,
    /// The definition as another server wrote it (`Tool` in MCP's schema). Clients see this, under the spec's name, instead of
    /// what the other fields would make.
    pub definition: Option<RawObject>,
}

/// What a tool's calls do to its environment (`ToolAnnotations` in MCP's schema). Clients ask their users by these, and
/// directories of servers demand them; nothing here is judged by them. The defaults are MCP's: they assume the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "the schema has four")]
pub struct ToolHints {
    /// A call changes nothing (`readOnlyHint`).
    pub read_only: bool,
    /// A call may undo or overwrite what is there, not only add to it (`destructiveHint`).
    pub destructive: bool,
    /// The same call again changes nothing more (`idempotentHint`).
    pub idempotent: bool,
    /// A call reaches beyond what the server itself holds, such as the web (`openWorldHint`).
    pub open_world: bool,
}

impl Default for ToolHints {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

impl ToolHints {
    /// The defaults: a call may change anything.
    pub const UNKNOWN: Self =
        Self { read_only: false, destructive: true, idempotent: false, open_world: true };

    /// Reads `ToolAnnotations`; a hint that is missing or malformed has MCP's default.
    fn of_annotations(annotations: &Value) -> Self {
        let hint = |name: &str, default| annotations.get(name).and_then(Value::as_bool).unwrap_or(default);
        let read_only = hint("readOnlyHint", false);
        Self {
            read_only,
            // MCP: "meaningful only when readOnlyHint == false".
            destructive: !read_only && hint("destructiveHint", true),
            idempotent: hint("idempotentHint", read_only),
            open_world: hint("openWorldHint", true),
        }
    }

    /// Says that a call changes nothing; so it destroys nothing, and can be repeated.
    #[must_use]
    pub const fn read_only(self) -> Self {
        Self { read_only: true, destructive: false, idempotent: true, ..self }
    }

    /// Says that a call only adds: it neither undoes nor overwrites what is there.
    #[must_use]
    pub const fn additive(self) -> Self {
        Self { destructive: false, ..self }
    }

    /// Says that the same call again changes nothing more.
    #[must_use]
    pub const fn idempotent(self) -> Self {
        Self { idempotent: true, ..self }
    }

    /// Says that a call reaches nothing beyond what the server itself holds.
    #[must_use]
    pub const fn closed_world(self) -> Self {
        Self { open_world: false, ..self }
    }
}

impl ToolSpec {
    /// Creates the spec of a tool with arguments `A` and structured result `O`, asking for no scope.
    ///
    /// # Errors
    /// [`SpecError`] for a name out of its grammar, or a type whose schema is not an object's.
    pub fn new<A: JsonSchema, O: JsonSchema + 'static>(
        name: &str,
        title: &str,
        description: &str,
    ) -> Result<Self, SpecError> {
        let spec = Self::of_input::<A>(name, title, description)?;
        let output = Schema::of_result::<O>().map_err(|error| SpecError::from(error).of_tool(name))?;
        Ok(Self { output: Some(output), ..spec })
    }

    /// Creates the spec of a tool with arguments `A`, without a structured result.
    fn of_input<A: JsonSchema>(name: &str, title: &str, description: &str) -> Result<Self, SpecError> {
        Self::with_input(name, title, description, Schema::of::<A>())
    }

    fn with_input(
        name: &str,
        title: &str,
        description: &str,
        input: Result<Schema, SchemaError>,
    ) -> Result<Self, SpecError> {
        Ok(Self {
            name: ToolName::parse(name)?,
            title: title.into(),
            description: description.into(),
            input: input.map_err(|error| SpecError::from(error).of_tool(name))?,
            output: None,
            scopes: ScopeSet::EMPTY,
            hints: ToolHints::default(),
            icons: Vec::new(),
            definition: None,
        })
    }

    /// Creates the spec of a tool with this input schema, without structured content, asking for no scope.
    ///
    /// # Errors
    /// [`SpecError`] for a name outside the grammar, or a schema that is not usable.
    pub fn with_schema(name: &str, title: &str, description: &str, input: Value) -> Result<Self, SpecError> {
        Self::with_input(name, title, description, Schema::from_json(input))
    }

    /// Creates the spec of another server's tool, which judges arguments and results itself.
    ///
    /// # Errors
    /// [`SpecError`] for a name outside the grammar, or an input schema that is not one of an object.
    pub fn relayed(name: &str, definition: RawObject) -> Result<Self, SpecError> {
        let text = |member: &str| definition.read::<String>(member).unwrap_or_default();
        let input = Schema::of_another_server(definition.read("inputSchema").unwrap_or_default());
        let title = definition.read("title").unwrap_or_else(|| name.to_owned());
        let spec = Self::with_input(name, &title, &text("description"), input)?;
        let annotations: Option<Value> = definition.read("annotations");
        let hints = annotations.as_ref().map_or(ToolHints::UNKNOWN, ToolHints::of_annotations);
        Ok(Self { hints, definition: Some(definition), ..spec })
    }

    /// Requires these scopes, all of them.
    ///
    /// # Errors
    /// [`SpecError::Scope`].
    pub fn requires<'a>(mut self, scopes: impl IntoIterator<Item = &'a str>) -> Result<Self, SpecError> {
        let scopes = ScopeSet::parse_all(scopes);
        self.scopes = scopes.map_err(|error| SpecError::from(error).of_tool(self.name.as_str()))?;
        Ok(self)
    }

    /// Says that a call changes nothing; so it destroys nothing, and can be repeated.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.hints = self.hints.read_only();
        self
    }

    /// Says that a call only adds: it neither undoes nor overwrites what is there.
    #[must_use]
    pub fn additive(mut self) -> Self {
        self.hints = self.hints.additive();
        self
    }

    /// Says that the same call again changes nothing more.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.hints = self.hints.idempotent();
        self
    }

    /// Says that a call reaches nothing beyond what the server itself holds.
    #[must_use]
    pub fn closed_world(mut self) -> Self {
        self.hints = self.hints.closed_world();
        self
    }

    /// Adds an icon.
    #[must_use]
    pub fn icon(mut self, icon: Icon) -> Self {
        self.icons.push(icon);
        self
    }
}

/// A call of a tool.
pub struct ToolCall<'a> {
    /// The caller and its client.
    pub context: Context<'a>,
    arguments: &'a Value,
}

impl<'a> ToolCall<'a> {
    /// Returns the arguments as they were sent, an object.
    #[must_use]
    pub const fn raw_arguments(&self) -> &'a Value {
        self.arguments
    }

    /// Creates a call with these arguments, an object that fits the tool's schema.
    #[must_use]
    pub fn new(context: Context<'a>, arguments: &'a Value) -> Self {
        Self { context, arguments }
    }

    /// Returns the arguments as the type that the tool's schema was made from; members that the type does not know are ignored, unless it
    /// says `#[serde(deny_unknown_fields)]`.
    ///
    /// # Errors
    /// [`ToolError`] when the type refuses what its schema allows, for example by a hand-written `Deserialize`.
    pub fn arguments<A: DeserializeOwned>(&self) -> Result<A, ToolError> {
        // A type without a value, such as `()`, is written as null in JSON, not as an object.
        let unit = || (size_of::<A>() == 0).then(|| A::deserialize(Value::Null).ok()).flatten();
        A::deserialize(self.arguments)
            .or_else(|error| unit().ok_or_else(|| ToolError::new(format!("invalid arguments: {error}"))))
    }
}

/// A finished call's result (`CallToolResult` in MCP's schema).
#[derive(Debug, Clone, PartialEq)]
pub struct CallToolResult {
    /// Content for the model.
    pub content: Vec<Content>,
    /// Data for programs; it fits [`ToolSpec::output`].
    pub structured_content: Option<StructuredContent>,
    /// Whether the call failed, for a failure that needs more than the text of a [`ToolError`].
    pub is_error: bool,
}

/// The outcome of a call: a result, or requests for input first ([`crate::InputRequired`]).
pub type ToolResult = Result<Outcome<CallToolResult>, ToolError>;

impl CallToolResult {
    /// Returns a text and the same thing for programs, as a finished call.
    ///
    /// # Errors
    /// As [`CallToolResult::structured`].
    pub fn new(text: impl Into<String>, structured_content: &impl Serialize) -> ToolResult {
        Self::structured(text, structured_content).map(Outcome::Complete)
    }

    /// Creates a result of a text and the same thing for programs.
    ///
    /// # Errors
    /// [`ToolError`] when `structured_content` can't be JSON, for example a map with keys that are no strings.
    pub fn structured(
        text: impl Into<String>,
        structured_content: &impl Serialize,
    ) -> Result<Self, ToolError> {
        let structured = serde_json::to_value(structured_content).map_err(not_json)?;
        let content = vec![Content::Text(text.into())];
        Ok(Self { content, structured_content: Some(structured.into()), is_error: false })
    }

    /// Returns content alone, as a finished call, for a tool without an output schema.
    ///
    /// # Errors
    /// None; it has the form of a tool's result.
    pub fn of(content: impl IntoIterator<Item = impl Into<Content>>) -> ToolResult {
        let content = content.into_iter().map(Into::into).collect();
        Ok(Outcome::Complete(Self { content, structured_content: None, is_error: false }))
    }
}

impl Outcome<CallToolResult> {
    /// Returns whether it is a result that says it is an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        match self {
            Self::Complete(result) => result.is_error,
            Self::Relayed(result) => result.read("isError").unwrap_or(false),
            Self::InputRequired(_) => false,
        }
    }
}

/// The port for everything that can be called. Every [`Tool`] has it; implement it yourself for a tool whose schema or name is
/// known at run time only.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tool",
    label = "not a tool",
    note = "implement `Tool` for it: NAME, DESCRIPTION, SCOPES, Input, Output and `async fn call`",
    note = "or make one from a function with `tool_fn`"
)]
pub trait DynTool: Send + Sync {
    /// Returns the tool's spec. Called once, before the server is ready; of a provider's tool, whenever the lists are made anew.
    ///
    /// # Errors
    /// [`SpecError`]; it stops the start.
    fn spec(&self) -> Result<ToolSpec, SpecError>;

    /// Runs a call. The future is dropped when the client goes away or the deadline passes; a panic fails this call alone.
    ///
    /// # Errors
    /// [`ToolError`] with a text that the model can act on.
    async fn run(&self, call: ToolCall<'_>) -> ToolResult;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_specifications_grammar() {
        for good in ["a", "get_datetime", "DATA.EXPORT-v2", &"x".repeat(128)] {
            assert!(ToolName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "é", &"x".repeat(129)] {
            assert!(ToolName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hints_assume_the_worst_until_the_tool_says_better() {
        let spec = || ToolSpec::with_schema("a", "A", "A.", serde_json::json!({"type": "object"})).unwrap();
        let hints = |read_only, destructive, idempotent, open_world| ToolHints {
            read_only,
            destructive,
            idempotent,
            open_world,
        };
        assert_eq!(spec().hints, hints(false, true, false, true));
        assert_eq!(spec().read_only().hints, hints(true, false, true, true));
        assert_eq!(spec().additive().hints, hints(false, false, false, true));
        assert_eq!(spec().idempotent().closed_world().hints, hints(false, true, true, false));
    }
}
