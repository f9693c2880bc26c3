//! `get_datetime`: the present, for any authenticated caller.

use schemars::JsonSchema;
use serde::Serialize;

use super::NoArguments;
use crate::context::Context;
use crate::tool::{Json, Tool, ToolHints};
use crate::tool_error::ToolError;

/// Tells the present by the [`Clock`](crate::Clock) port.
pub struct GetDatetime;

/// The result.
#[derive(Serialize, JsonSchema)]
pub struct Present {
    /// RFC 3339 in UTC with milliseconds.
    datetime: String,
}

impl Tool for GetDatetime {
    const NAME: &'static str = "get_datetime";
    const TITLE: &'static str = "Get DateTime";
    const DESCRIPTION: &'static str = "Returns the current UTC date and time. Needs no scope.";
    const HINTS: ToolHints = ToolHints::UNKNOWN.read_only().closed_world();
    type Input = NoArguments;
    type Output = (String, Json<Present>);

    async fn call(&self, _: NoArguments, context: Context<'_>) -> Result<Self::Output, ToolError> {
        let datetime = context.clock.now().to_rfc3339();
        Ok((datetime.clone(), Json(Present { datetime })))
    }
}
