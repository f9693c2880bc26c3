//! `greet`: a greeting for the caller, to see authentication and scopes work end to end.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tool::{CallToolResult, SpecError, Tool, ToolCall, ToolResult, ToolSpec};

/// Greets the caller by the given name and the token's subject.
pub struct Greet;

#[derive(Deserialize, JsonSchema)]
struct Arguments {
    /// The name to greet; without it, "there".
    name: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Greeting {
    /// The greeting itself.
    greeting: String,
    /// Who was greeted: the token's subject.
    sub: String,
}

#[async_trait]
impl Tool for Greet {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        ToolSpec::new::<Arguments, Greeting>(
            "greet",
            "Greet User",
            "Greets the authenticated user, by name if one is given, and shows that authentication works.",
        )?
        .read_only()
        .closed_world()
        .requires(["tool:greet"])
    }

    async fn run(&self, call: ToolCall<'_>) -> ToolResult {
        let Arguments { name } = call.arguments()?;
        let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| "there".into());
        let sub = call.context.principal.subject().to_owned();
        let greeting = format!("Hello, {name} ({sub})!");
        let text = format!(
            "{greeting}\n\n\
             Authentication works: your Auth0 access token was verified.\n\
             Scope checks work: the token holds every scope this tool asks for."
        );
        CallToolResult::new(text, &Greeting { greeting, sub })
    }
}
