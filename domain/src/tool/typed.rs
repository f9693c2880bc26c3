//! Tools as Rust types: the [`Tool`] trait, what such a tool may return, and tools made from a function. Whatever is written
//! here is served through the object-safe [`DynTool`] port.

use std::future::Future;
use std::marker::PhantomData;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    CallToolResult, DynTool, SpecError, StructuredContent, ToolCall, ToolHints, ToolResult, ToolSpec,
};
use crate::content::Content;
use crate::context::Context;
use crate::input::Outcome;
use crate::principal::Principal;
use crate::schema::Schema;
use crate::tool_error::ToolError;

/// A tool as a Rust type: its constants and types say what clients see, and `call` does the work.
///
/// ```
/// use domain::{Context, Json, Tool, ToolError};
///
/// /// Adds two integers.
/// struct Add;
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Summands {
///     /// The first summand.
///     a: i64,
///     /// The second summand.
///     b: i64,
/// }
///
/// #[derive(serde::Serialize, schemars::JsonSchema)]
/// struct Sum {
///     /// The sum of both.
///     sum: i64,
/// }
///
/// impl Tool for Add {
///     const NAME: &'static str = "add";
///     const DESCRIPTION: &'static str = "Adds two 64-bit integers and returns their sum.";
///     const SCOPES: &'static [&'static str] = &["tool:add"];
///     type Input = Summands;
///     type Output = Json<Sum>;
///
///     async fn call(&self, Summands { a, b }: Summands, _context: Context<'_>) -> Result<Json<Sum>, ToolError> {
///         let sum = a.checked_add(b).ok_or_else(|| ToolError::new("the sum does not fit into 64 bits"))?;
///         Ok(Json(Sum { sum }))
///     }
/// }
/// ```
pub trait Tool: Send + Sync + 'static {
    /// The name, by which clients call it: `[A-Za-z0-9_.-]{1,128}`, unique in a server.
    const NAME: &'static str;
    /// The name for people.
    const TITLE: &'static str = Self::NAME;
    /// What it does and when to use it, for the model.
    const DESCRIPTION: &'static str;
    /// The scopes that a call requires, all of them. The configuration may name others instead.
    const SCOPES: &'static [&'static str] = &[];
    /// What a call does beyond its result.
    const HINTS: ToolHints = ToolHints::UNKNOWN;

    /// The arguments: a struct, or `()` for none. Its fields become the input schema, its doc comments the descriptions.
    type Input: DeserializeOwned + JsonSchema + Send;
    /// The result: [`Json`] for data, a string for text, or whatever else implements [`ToolOutput`].
    type Output: ToolOutput;

    /// Runs a call. The future is dropped when the client goes away or the deadline passes; a panic fails this call alone.
    ///
    /// # Errors
    /// [`ToolError`]: a text that the model can act on, or requests for input ([`Context::elicit`]).
    fn call(
        &self,
        input: Self::Input,
        context: Context<'_>,
    ) -> impl Future<Output = Result<Self::Output, ToolError>> + Send;

    /// Completes the spec that the constants make, for example with icons.
    ///
    /// # Errors
    /// [`SpecError`]; it stops the start.
    fn describe(&self, spec: ToolSpec) -> Result<ToolSpec, SpecError> {
        Ok(spec)
    }
}

#[async_trait]
impl<T: Tool> DynTool for T {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        let spec = spec::<T::Input, T::Output>(T::NAME, T::TITLE, T::DESCRIPTION)?;
        let spec = ToolSpec { hints: T::HINTS, ..spec };
        self.describe(spec.requires(T::SCOPES.iter().copied())?).map_err(|error| error.of_tool(T::NAME))
    }

    async fn run(&self, call: ToolCall<'_>) -> ToolResult {
        let input = call.arguments()?;
        Ok(Outcome::Complete(self.call(input, call.context).await?.into_result()?))
    }
}

fn spec<I: JsonSchema, O: ToolOutput>(
    name: &str,
    title: &str,
    description: &str,
) -> Result<ToolSpec, SpecError> {
    let spec = ToolSpec::of_input::<I>(name, title, description)?;
    Ok(ToolSpec { output: O::schema().map_err(|error| error.of_tool(name))?, ..spec })
}

/// What a [`Tool`] returns.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not something that a tool can return",
    label = "not a tool's output",
    note = "wrap data in `Json`: `type Output = Json<{Self}>`; it derives `serde::Serialize` and `schemars::JsonSchema`",
    note = "for text return `String`; for images, links and more return `Vec<Content>`"
)]
pub trait ToolOutput: Send {
    /// Returns the schema of the structured content; `None` for content alone.
    ///
    /// # Errors
    /// [`SpecError`] for a type whose schema is not an object's.
    fn schema() -> Result<Option<Schema>, SpecError> {
        Ok(None)
    }

    /// Returns it as MCP's result.
    ///
    /// # Errors
    /// [`ToolError`] for data that JSON can't hold.
    fn into_result(self) -> Result<CallToolResult, ToolError>;
}

/// Structured data, described by the tool's output schema. The model reads it as JSON; return `(text, Json(data))` to give it
/// a text of its own.
///
/// Its `Serialize` and its `JsonSchema` are trusted to say the same, so that results need not be judged one by one. A result is judged
/// if the schema has bounds of its own, such as `#[schemars(range(max = 9))]`, and if there is a null in it. What `#[schemars(extend(...))]`
/// demands by `enum`, `const`, `required` and `additionalProperties` is not told apart from what types say by themselves. Nor is it seen
/// that a `#[serde(flatten)]` writes a member a second time.
///
/// With debug assertions, such as in tests, every result is judged, and must not have two members of one name in an object: that finds a
/// type that contradicts itself. In every build a result that nests deeper than 124 levels fails, since clients could not read it, and so does
/// a `RawValue` in it that is no strict JSON: with two members of one name, or more than 100,000 values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Serialize + JsonSchema + Send + 'static> ToolOutput for Json<T> {
    fn schema() -> Result<Option<Schema>, SpecError> {
        Ok(Some(Schema::of_result::<T>()?))
    }

    fn into_result(self) -> Result<CallToolResult, ToolError> {
        let structured = StructuredContent::of(&self.0)?;
        Ok(both(structured.to_json().into_owned(), structured))
    }
}

impl<S: Into<String> + Send, T: Serialize + JsonSchema + Send + 'static> ToolOutput for (S, Json<T>) {
    fn schema() -> Result<Option<Schema>, SpecError> {
        Json::<T>::schema()
    }

    fn into_result(self) -> Result<CallToolResult, ToolError> {
        Ok(both(self.0.into(), StructuredContent::of(&self.1.0)?))
    }
}

/// Returns a text and data.
fn both(text: String, structured: StructuredContent) -> CallToolResult {
    let content = vec![Content::Text(text)];
    CallToolResult { content, structured_content: Some(structured), is_error: false }
}

impl ToolOutput for Vec<Content> {
    fn into_result(self) -> Result<CallToolResult, ToolError> {
        Ok(CallToolResult { content: self, structured_content: None, is_error: false })
    }
}

impl ToolOutput for Content {
    fn into_result(self) -> Result<CallToolResult, ToolError> {
        vec![self].into_result()
    }
}

impl ToolOutput for String {
    fn into_result(self) -> Result<CallToolResult, ToolError> {
        Content::Text(self).into_result()
    }
}

impl ToolOutput for &'static str {
    fn into_result(self) -> Result<CallToolResult, ToolError> {
        self.to_owned().into_result()
    }
}

impl ToolOutput for () {
    fn into_result(self) -> Result<CallToolResult, ToolError> {
        Vec::new().into_result()
    }
}

impl ToolOutput for CallToolResult {
    fn into_result(self) -> Result<CallToolResult, ToolError> {
        Ok(self)
    }
}

/// A tool made from a function: see [`tool_fn`].
pub struct FnTool<I, F> {
    name: &'static str,
    description: &'static str,
    title: Option<&'static str>,
    scopes: &'static [&'static str],
    hints: ToolHints,
    function: F,
    input: PhantomData<fn() -> I>,
}

/// Creates a tool from a function of its arguments and the caller; for small ones. A [`Tool`] has more: the clock, progress,
/// requests for input.
///
/// ```
/// use domain::{Principal, tool_fn};
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Input {
///     text: String,
/// }
///
/// let shout = tool_fn("shout", "Returns a text in capital letters.", |input: Input, _caller: Principal| async move {
///     Ok(input.text.to_uppercase())
/// })
/// .scopes(&["tool:shout"]);
/// # let _ = shout;
/// ```
pub fn tool_fn<I, F, R, O>(name: &'static str, description: &'static str, function: F) -> FnTool<I, F>
where
    I: DeserializeOwned + JsonSchema + Send + 'static,
    F: Fn(I, Principal) -> R + Send + Sync + 'static,
    R: Future<Output = Result<O, ToolError>> + Send,
    O: ToolOutput,
{
    let (title, hints) = (None, ToolHints::UNKNOWN);
    FnTool { name, description, title, scopes: &[], hints, function, input: PhantomData }
}

impl<I, F> FnTool<I, F> {
    /// Sets the name for people.
    #[must_use]
    pub fn title(mut self, title: &'static str) -> Self {
        self.title = Some(title);
        self
    }

    /// Sets the scopes that a call requires, all of them.
    #[must_use]
    pub fn scopes(mut self, scopes: &'static [&'static str]) -> Self {
        self.scopes = scopes;
        self
    }

    /// Sets what a call does beyond its result.
    #[must_use]
    pub fn hints(mut self, hints: ToolHints) -> Self {
        self.hints = hints;
        self
    }
}

#[async_trait]
impl<I, F, R, O> DynTool for FnTool<I, F>
where
    I: DeserializeOwned + JsonSchema + Send + 'static,
    F: Fn(I, Principal) -> R + Send + Sync + 'static,
    R: Future<Output = Result<O, ToolError>> + Send,
    O: ToolOutput,
{
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        let spec = spec::<I, O>(self.name, self.title.unwrap_or(self.name), self.description)?;
        ToolSpec { hints: self.hints, ..spec }.requires(self.scopes.iter().copied())
    }

    async fn run(&self, call: ToolCall<'_>) -> ToolResult {
        let (input, caller) = (call.arguments()?, call.context.principal.clone());
        Ok(Outcome::Complete((self.function)(input, caller).await?.into_result()?))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::context::tests::{run, text};

    #[derive(Deserialize, JsonSchema)]
    struct Input {
        /// A text.
        text: String,
    }

    #[derive(Serialize, JsonSchema)]
    struct Output {
        text: String,
    }

    /// Can't be written.
    #[derive(JsonSchema)]
    struct NotJson;

    impl Serialize for NotJson {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("never"))
        }
    }

    struct Echo;

    impl Tool for Echo {
        const NAME: &'static str = "echo";
        const DESCRIPTION: &'static str = "Echoes.";
        const SCOPES: &'static [&'static str] = &["tool:echo"];
        const HINTS: ToolHints = ToolHints::UNKNOWN.read_only();
        type Input = Input;
        type Output = Json<Output>;

        async fn call(&self, input: Input, _: Context<'_>) -> Result<Json<Output>, ToolError> {
            Ok(Json(Output { text: input.text }))
        }
    }

    #[test]
    fn a_type_says_everything_that_clients_see() {
        let spec = DynTool::spec(&Echo).unwrap();
        assert_eq!((spec.name.as_str(), &*spec.title, &*spec.description), ("echo", "echo", "Echoes."));
        assert_eq!(spec.input.as_json()["properties"]["text"]["description"], "A text.");
        assert_eq!(spec.output.unwrap().as_json()["required"], json!(["text"]));
        assert_eq!(spec.scopes.to_string(), "tool:echo");
        assert!(spec.hints.read_only && !spec.hints.destructive);
    }

    #[test]
    fn a_function_says_the_same() {
        let tool = tool_fn("f", "F.", |input: Input, _| async move { Ok(Json(Output { text: input.text })) })
            .title("Function")
            .scopes(&["a", "b"])
            .hints(ToolHints::UNKNOWN.closed_world());
        let spec = DynTool::spec(&tool).unwrap();
        assert_eq!((spec.name.as_str(), &*spec.title), ("f", "Function"));
        assert_eq!(spec.scopes.to_string(), "a b");
        assert!(spec.output.is_some() && !spec.hints.open_world);
    }

    #[test]
    fn a_name_or_a_scope_that_is_none_is_an_error() {
        let tool =
            |name, scopes| tool_fn(name, "", |_: Input, _| async { Ok("") }).scopes(scopes).spec().err();
        assert_eq!(tool("a b", &[]), Some(SpecError::Name("a b".into())));
        assert!(matches!(tool("a", &["b c"]), Some(SpecError::OfTool { name, .. }) if name == "a"));
        assert_eq!(tool("a", &["b"]), None);
    }

    #[test]
    fn outputs_become_content() {
        let content = |output: CallToolResult| (output.content, output.structured_content, output.is_error);
        let text = |text: &str| vec![Content::Text(text.into())];
        assert_eq!(content("a".into_result().unwrap()), (text("a"), None, false));
        assert_eq!(content(String::from("a").into_result().unwrap()), (text("a"), None, false));
        assert_eq!(content(().into_result().unwrap()), (Vec::new(), None, false));
        let json = Json(Output { text: "a".into() });
        let structured = Some(json!({"text": "a"}).into());
        assert_eq!(
            content(json.into_result().unwrap()),
            (text(r#"{"text":"a"}"#), structured.clone(), false)
        );
        let both = ("said", Json(Output { text: "a".into() }));
        assert_eq!(content(both.into_result().unwrap()), (text("said"), structured, false));
        let error = Json(NotJson).into_result().unwrap_err();
        assert_eq!(error.to_string(), "the result can't be given as JSON");
    }

    #[test]
    fn no_arguments_are_a_unit_and_a_spec_error_names_its_tool() {
        let tool = tool_fn("unit", "", |(): (), _| async { Ok("done") });
        assert_eq!(tool.spec().unwrap().input.as_json(), &json!({"type": "object", "properties": {}}));
        assert!(text(run(&tool, json!({}), None)).contains("done"));
        let text = tool_fn("text", "", |_: String, _| async { Ok("") }).spec().unwrap_err().to_string();
        assert_eq!(text, r#"the tool "text": not a usable JSON Schema: its type is not "object""#);
        let output = tool_fn("list", "", |(): (), _| async { Ok(Json(vec![1])) }).spec().unwrap_err();
        assert!(output.to_string().starts_with(r#"the tool "list": "#));
    }
}
