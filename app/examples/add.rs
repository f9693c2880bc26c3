//! A server with one tool, `add`: docs/add-a-tool.md. Try it: `cargo run --example add -- dev`.

use std::process::ExitCode;

use fastmcp_auth0::{Context, Json, Server, Tool, ToolError, ToolHints};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Adds two integers.
pub struct Add;

/// The arguments.
#[derive(Deserialize, JsonSchema)]
pub struct Summands {
    /// The first summand.
    a: i64,
    /// The second summand.
    b: i64,
}

/// The result.
#[derive(Serialize, JsonSchema)]
pub struct Sum {
    /// The sum of both.
    sum: i64,
}

impl Tool for Add {
    const NAME: &'static str = "add";
    const TITLE: &'static str = "Add";
    const DESCRIPTION: &'static str = "Adds two 64-bit integers and returns their sum.";
    const SCOPES: &'static [&'static str] = &["tool:add"];
    const HINTS: ToolHints = ToolHints::UNKNOWN.read_only().closed_world();
    type Input = Summands;
    type Output = Json<Sum>;

    async fn call(&self, input: Summands, _context: Context<'_>) -> Result<Json<Sum>, ToolError> {
        let sum = input.a.checked_add(input.b).ok_or_else(|| {
            ToolError::new("the sum does not fit into 64 bits; use summands that are nearer to zero")
        })?;
        Ok(Json(Sum { sum }))
    }
}

fn main() -> ExitCode {
    Server::builder()
        .identity(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
        .tool(Add)
        .describe_scope("tool:add", "Add two integers")
        .run()
}
