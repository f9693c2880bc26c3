//! `greet`: a greeting for the caller, to see authentication and scopes work end to end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::tool::{Json, Tool, ToolHints};
use crate::tool_error::ToolError;

/// Greets the caller by the given name and the token's subject.
pub struct Greet;

/// The arguments.
#[derive(Deserialize, JsonSchema)]
pub struct Arguments {
    /// The name to greet; without it, "there".
    #[schemars(example = &"Ada")]
    name: Option<String>,
}

/// The result.
#[derive(Serialize, JsonSchema)]
pub struct Greeting {
    /// The greeting itself.
    greeting: String,
    /// Who was greeted: the token's subject.
    sub: String,
}

const WHAT_WORKS: &str = "\n\n\
    Authentication works: your Auth0 access token was verified.\n\
    Scope checks work: the token holds every scope this tool asks for.";

impl Tool for Greet {
    const NAME: &'static str = "greet";
    const TITLE: &'static str = "Greet User";
    const DESCRIPTION: &'static str =
        "Greets the authenticated user, by name if one is given, and shows that authentication works.";
    const SCOPES: &'static [&'static str] = &["tool:greet"];
    const HINTS: ToolHints = ToolHints::UNKNOWN.read_only().closed_world();
    type Input = Arguments;
    type Output = (String, Json<Greeting>);

    async fn call(
        &self,
        Arguments { name }: Arguments,
        context: Context<'_>,
    ) -> Result<Self::Output, ToolError> {
        let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| "there".into());
        let sub = context.principal.subject().to_owned();
        let greeting = ["Hello, ", &name, " (", &sub, ")!"].concat();
        let text = [&greeting, WHAT_WORKS].concat();
        Ok((text, Json(Greeting { greeting, sub })))
    }
}
