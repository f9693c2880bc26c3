//! `get_datetime`: the present, for any authenticated caller.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Serialize;

use super::NoArguments;
use crate::tool::{CallToolResult, SpecError, Tool, ToolCall, ToolResult, ToolSpec};

/// Tells the present by the [`Clock`](crate::Clock) port.
pub struct GetDatetime;

#[derive(Serialize, JsonSchema)]
struct Present {
    /// RFC 3339 in UTC with milliseconds.
    datetime: String,
}

#[async_trait]
impl Tool for GetDatetime {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        let spec = ToolSpec::new::<NoArguments, Present>(
            "get_datetime",
            "Get DateTime",
            "Returns the current UTC date and time. Needs no scope.",
        )?;
        Ok(spec.read_only().closed_world())
    }

    async fn run(&self, call: ToolCall<'_>) -> ToolResult {
        let datetime = call.context.clock.now().to_rfc3339();
        CallToolResult::new(datetime.clone(), &Present { datetime })
    }
}
