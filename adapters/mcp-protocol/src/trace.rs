//! The span of a JSON-RPC request: its name and attributes (OpenTelemetry's semantic conventions for MCP).
//!
//! What a client chooses is in it only where it is one of few, or bounded: no arguments, no URIs, no messages of errors,
//! which may repeat both.

use std::borrow::Cow;

use domain::trace::Attribute;
use domain::{Catalog, RequestTrace, Span};
use serde_json::value::RawValue;

use crate::fields::{Field, PROTOCOL_VERSION, RequestFields};
use crate::message::{CALL_TOOL, GET_PROMPT, READ_RESOURCE, Request};
use crate::params::{Meta, text};
use crate::reply::{LogFields, Refusal};
use crate::version::supported;

/// What stands for a method that is not one of this server's, as in the conventions for HTTP.
const OTHER: &str = "_OTHER";
/// The maximum length of a request's id, in bytes: a longer one is left out.
const MAX_ID: usize = 64;

/// Begins the span of a request whose method is this one of the server's; nothing where nothing is traced.
pub(crate) fn begin(
    trace: Option<&mut RequestTrace>,
    catalog: &Catalog,
    fields: &dyn RequestFields,
    request: &Request<'_>,
    method: Option<&Cow<'static, str>>,
) -> Span {
    let Some(trace) = trace else { return Span::OFF };
    let method = method.cloned().unwrap_or(Cow::Borrowed(OTHER));
    let target = target(catalog, &method, request);
    let name = target.map_or_else(|| method.clone(), |(_, target)| format!("{method} {target}").into());
    let context = request.params.meta.as_deref().and_then(Meta::trace_context);
    let mut span = trace.span(name, context.as_ref());
    span.set("mcp.method.name", method.as_ref());
    if method == CALL_TOOL {
        span.set("gen_ai.operation.name", Attribute::Word("execute_tool"));
    }
    if let Some((key, target)) = target {
        span.set(key, target);
    }
    if method == READ_RESOURCE
        && span.is_recorded()
        && let Some(address) =
            text(request.params.uri.as_ref()).and_then(|uri| catalog.resources.address_of(uri))
    {
        // A template stands for what clients fill into it.
        span.set("mcp.resource.uri", address.as_str());
    }
    if let Some(id) = shown_id(request.id) {
        span.set("jsonrpc.request.id", id);
    }
    if let Some(version) = version(fields, request) {
        span.set("mcp.protocol.version", Attribute::Word(version));
    }
    span
}

/// Ends the span of a request with this result, or this refusal, and these fields of the log line.
pub(crate) fn end(mut span: Span, outcome: Result<(), &Refusal>, is_tool_error: bool, log: &LogFields) {
    if span.context().is_none() {
        return;
    }
    let (reason, error): (_, Option<Cow<'static, str>>) = match outcome {
        Ok(()) => (log.reason, is_tool_error.then_some("tool_error".into())),
        Err(Refusal::Failure(failure)) => {
            let code = failure.code.to_string();
            span.set("rpc.response.status_code", code.as_str());
            (log.reason.or(Some(failure.reason())), Some(code.into()))
        }
        // What HTTP says, too: by the word that the log has.
        Err(Refusal::Denied(denial)) => (Some(denial.code()), Some(denial.code().into())),
        Err(Refusal::Exhausted(exhausted)) => (Some(exhausted.code()), Some(exhausted.code().into())),
    };
    if let Some(reason) = reason {
        span.set("fastmcp_auth0.reason", Attribute::Word(reason));
    }
    span.end(error.map_or(Ok(()), Err));
}

/// Returns what a request names, as far as the catalog has it.
fn target<'c>(catalog: &'c Catalog, method: &str, request: &Request<'_>) -> Option<(&'static str, &'c str)> {
    let name = text(request.params.name.as_ref())?;
    match method {
        CALL_TOOL => Some(("gen_ai.tool.name", catalog.tools.spec(name)?.name.as_str())),
        GET_PROMPT => {
            let spec = catalog.prompts.specs().find(|spec| spec.name == name)?;
            Some(("gen_ai.prompt.name", &spec.name))
        }
        _ => None,
    }
}

/// Returns a request's id as it may be shown: a client's text, but of an alphabet that no log gives a meaning to, and short.
fn shown_id(id: &RawValue) -> Option<&str> {
    let id = id.get();
    let text = id.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(id);
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+');
    ((1..=MAX_ID).contains(&text.len()) && text.bytes().all(is_good)).then_some(text)
}

/// Returns the version that a request says it is of, if it is a served one.
fn version(fields: &dyn RequestFields, request: &Request<'_>) -> Option<&'static str> {
    let params = &request.params;
    let of_params = params.meta.as_ref().and_then(|meta| text(meta.version.as_ref()));
    let of_params = of_params.or_else(|| text(params.more().and_then(|more| more.protocol_version.as_ref())));
    let said = match (of_params, fields.field(PROTOCOL_VERSION)) {
        (Some(version), _) | (None, Field::Value(version)) => version,
        (None, Field::Absent | Field::Malformed) => return None,
    };
    supported().into_iter().find(|version| *version == said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_id_only_what_is_short_and_plain_is_shown() {
        let shown = |id: &str| shown_id(&RawValue::from_string(id.to_owned()).unwrap()).map(str::to_owned);
        for (id, expected) in [
            ("1", Some("1")),
            ("-1.5e+3", Some("-1.5e+3")),
            ("\"a-B_3.c\"", Some("a-B_3.c")),
            ("\"\"", None),
            ("\"a b\"", None),
            ("\"a\\u0062\"", None),
            ("\"a@example.com\"", None),
        ] {
            assert_eq!(shown(id).as_deref(), expected, "{id}");
        }
        assert_eq!(shown(&"1".repeat(64)).unwrap().len(), 64);
        assert_eq!(shown(&"1".repeat(65)), None);
    }
}
