//! Header fields that mirror a member of the body: gateways route by the one, this server acts by the other
//! (2026-07-28, basic/transports/streamable-http, "Standard Request Headers").

use crate::fields::{Field, METHOD, NAME, RequestFields, decoded};
use crate::message::{Request, text};
use crate::reply::{Failure, code};

/// `Mcp-Method`.
pub(crate) fn check_method(fields: &dyn RequestFields, request: &Request<'_>) -> Result<(), Failure> {
    check(fields, METHOD, "Mcp-Method", Some(&request.method), false)
}

/// `Mcp-Name`, for the methods that have one.
pub(crate) fn check_name(fields: &dyn RequestFields, request: &Request<'_>) -> Result<(), Failure> {
    let source = match request.method.as_ref() {
        "tools/call" | "prompts/get" => request.params.name,
        "resources/read" => request.params.uri,
        _ => return Ok(()),
    };
    check(fields, NAME, "Mcp-Name", source.and_then(text).as_deref(), true)
}

/// Whether the header field says what the body says.
///
/// # Errors
/// -32020.
pub(crate) fn check(
    fields: &dyn RequestFields,
    name: &str,
    shown: &str,
    body: Option<&str>,
    encodable: bool,
) -> Result<(), Failure> {
    let mismatch =
        |what: &str| Err(Failure::malformed(code::HEADER_MISMATCH, format!("the {shown} header {what}")));
    let value = match (fields.field(name), body) {
        (Field::Value(value), Some(_)) => value,
        // Without a value in the body there is nothing to mirror; what is missing there is said later.
        (Field::Absent, None) => return Ok(()),
        (Field::Absent, Some(_)) => return mismatch("is missing"),
        (Field::Value(_), None) => return mismatch("mirrors nothing in the body"),
        (Field::Malformed, _) => return mismatch("is malformed"),
    };
    let value = if encodable { decoded(value) } else { Some(value.into()) };
    match value {
        None => mismatch("is malformed"),
        Some(value) if Some(value.as_ref()) == body => Ok(()),
        Some(_) => mismatch("differs from the body"),
    }
}
