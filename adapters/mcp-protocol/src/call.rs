//! `tools/call` and `tools/list` as far as both eras share them.

use std::error::Error;

use domain::{CallError, Content, Principal, Service, ToolError, ToolName, ToolOutput};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::Refusal;
use crate::message::{Params, text};
use crate::reply::{Failure, Note, code};

/// `CallToolResult` in the schema.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CallResult {
    content: Vec<ContentWire>,
    #[serde(skip_serializing_if = "Option::is_none")]
    structured_content: Option<Value>,
    is_error: bool,
}

/// `ContentBlock` in the schema.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ContentWire {
    Text { text: String },
}

impl CallResult {
    fn success(output: ToolOutput) -> Self {
        let content =
            output.content.into_iter().map(|Content::Text(text)| ContentWire::Text { text }).collect();
        Self { content, structured_content: output.structured, is_error: false }
    }

    /// A failure that the model can read and act on.
    fn error(text: String) -> Self {
        Self { content: vec![ContentWire::Text { text }], structured_content: None, is_error: true }
    }
}

/// Calls the tool that `params` names.
pub(crate) async fn call(
    service: &Service,
    who: &Principal,
    params: &Params<'_>,
    note: &mut Note,
) -> Result<CallResult, Refusal> {
    let name = params.name.and_then(text).ok_or_else(|| bad_params("params.name is not a string"))?;
    let arguments = arguments(params)?;
    // Only a name from the catalog reaches the log.
    note.tool = ToolName::parse(&name)
        .ok()
        .filter(|name| service.catalog.spec(name).is_some())
        .map(|n| n.to_string());
    let error = match service.call(who, &name, arguments).await {
        Ok(output) => return Ok(CallResult::success(output)),
        Err(CallError::Denied(denied)) => return Err(Refusal::Denied(denied)),
        Err(CallError::UnknownTool) => {
            note.reason = Some("unknown_tool");
            return Err(unknown_tool(&name).into());
        }
        Err(error) => error,
    };
    note.reason = Some(reason(&error));
    log_failure(note, &error);
    Ok(CallResult::error(error.to_string()))
}

/// `arguments` may be absent or null; both mean `{}`.
fn arguments(params: &Params<'_>) -> Result<Map<String, Value>, Refusal> {
    let parsed = params.arguments.map_or(Ok(None), |raw| serde_json::from_str::<Option<_>>(raw.get()));
    Ok(parsed.map_err(|_| bad_params("params.arguments is not an object"))?.unwrap_or_default())
}

fn bad_params(message: &str) -> Refusal {
    Failure::inline(code::INVALID_PARAMS, message).into()
}

/// A name that could be a tool's is repeated; anything else a client sends is not.
fn unknown_tool(name: &str) -> Failure {
    let message = match ToolName::parse(name) {
        Ok(name) => format!("unknown tool: {name}"),
        Err(_) => "unknown tool: not a tool name".to_owned(),
    };
    Failure::inline(code::INVALID_PARAMS, message)
}

const fn reason(error: &CallError) -> &'static str {
    match error {
        CallError::UnknownTool => "unknown_tool",
        CallError::Denied(_) => "insufficient_scope",
        CallError::InvalidArguments(_) => "invalid_arguments",
        CallError::Failed(_) => "tool_failed",
        CallError::Panicked => "tool_panicked",
        CallError::DeadlineExceeded(_) => "tool_deadline_exceeded",
        CallError::InvalidOutput => "invalid_tool_output",
    }
}

/// The operator learns what the client is not told. A client's mistakes are the access log's business alone.
fn log_failure(note: &Note, error: &CallError) {
    let tool = note.tool.as_deref();
    match error {
        CallError::UnknownTool | CallError::Denied(_) | CallError::InvalidArguments(_) => {}
        CallError::Failed(failure) => {
            tracing::warn!(tool, cause = causes(failure), "a tool failed: {failure}");
        }
        CallError::DeadlineExceeded(_) => tracing::warn!(tool, "{error}"),
        CallError::Panicked | CallError::InvalidOutput => tracing::error!(tool, "{error}"),
    }
}

fn causes(failure: &ToolError) -> Option<String> {
    let mut texts = Vec::new();
    let mut next = failure.source();
    while let Some(cause) = next {
        texts.push(cause.to_string());
        next = cause.source();
    }
    (!texts.is_empty()).then(|| texts.join(": "))
}

/// There is one page, so no cursor was ever given out (server/utilities/pagination: an invalid one is -32602).
pub(crate) fn refuse_cursor(params: &Params<'_>) -> Result<(), Refusal> {
    match params.cursor {
        None => Ok(()),
        Some(cursor) if cursor.get() == "null" => Ok(()),
        Some(_) => Err(bad_params("unknown cursor: the list has one page")),
    }
}
