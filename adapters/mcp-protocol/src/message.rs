//! From bytes to a JSON-RPC message, borrowed from the bytes.

use std::borrow::Cow;

use domain::strict_json::{self, StrictJsonError};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::params::{Params, is_object, present, text};
use crate::reply::{Failure, code};

/// One JSON-RPC message from a client.
pub(crate) enum Incoming<'a> {
    Request(Request<'a>),
    Notification,
    /// A client's answer to a server request: its id, and its result unless it is an error.
    Response {
        id: Option<Cow<'a, str>>,
        result: Option<&'a RawValue>,
    },
}

/// A JSON-RPC request.
pub(crate) struct Request<'a> {
    /// A string or a number, echoed as it was written.
    pub(crate) id: &'a RawValue,
    pub(crate) method: Cow<'a, str>,
    pub(crate) params: Params<'a>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// Parses one message.
///
/// # Errors
/// -32700 for what is not JSON, -32600 for what is not one JSON-RPC message.
pub(crate) fn parse(body: &[u8], max_depth: usize) -> Result<Incoming<'_>, Failure> {
    strict_json::check(body, max_depth).map_err(|error| match error {
        StrictJsonError::Syntax { .. } => Failure::malformed(code::PARSE_ERROR, error.to_string()),
        StrictJsonError::DuplicateMember | StrictJsonError::TooDeep(_) => {
            Failure::malformed(code::INVALID_REQUEST, error.to_string())
        }
    })?;
    let envelope = match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => {
            serde_json::from_slice::<Envelope<'_>>(body).map_err(|_| invalid("not a JSON-RPC message"))?
        }
        Some(b'[') => return Err(invalid("batches are not served: MCP removed them in 2025-06-18")),
        _ => return Err(invalid("not a JSON-RPC message: not an object")),
    };
    incoming(&envelope)
}

fn incoming<'a>(envelope: &Envelope<'a>) -> Result<Incoming<'a>, Failure> {
    if envelope.jsonrpc.and_then(text).as_deref() != Some("2.0") {
        return Err(invalid("not a JSON-RPC message: jsonrpc is not \"2.0\""));
    }
    if envelope.id.is_some_and(|id| !is_request_id(id)) {
        return Err(invalid("the id is neither a string nor a number"));
    }
    let Some(method) = envelope.method else {
        return match (envelope.id, envelope.result, envelope.error) {
            (Some(_), Some(_), None) | (_, None, Some(_)) => {
                Ok(Incoming::Response { id: envelope.id.and_then(text), result: envelope.result })
            }
            _ => Err(invalid("not a JSON-RPC message: neither a method nor a result nor an error")),
        };
    };
    if envelope.result.is_some() || envelope.error.is_some() {
        return Err(invalid("both a request and a response"));
    }
    let method = text(method).ok_or_else(|| invalid("the method is not a string"))?;
    let params = params(envelope.params)?;
    Ok(match envelope.id {
        Some(id) => Incoming::Request(Request { id, method, params }),
        None => Incoming::Notification,
    })
}

fn params(raw: Option<&RawValue>) -> Result<Params<'_>, Failure> {
    let Some(raw) = raw else {
        return Ok(Params::default());
    };
    // A struct can also be read from an array; MCP's params are objects.
    if !is_object(raw) {
        return Err(invalid("params is not an object"));
    }
    serde_json::from_str(raw.get()).map_err(|_| invalid("params is not an object"))
}

/// MCP narrows JSON-RPC's ids to strings and numbers; `null` is none.
fn is_request_id(id: &RawValue) -> bool {
    id.get().starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit())
}

fn invalid(message: &str) -> Failure {
    Failure::malformed(code::INVALID_REQUEST, message.to_owned())
}

/// The methods that a log may name: what a client made up stays out of it.
pub(crate) fn known_method(method: &str) -> Option<&'static str> {
    const KNOWN: [&str; 15] = [
        "initialize",
        "ping",
        "server/discover",
        "tools/list",
        "tools/call",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "prompts/list",
        "prompts/get",
        "completion/complete",
        "logging/setLevel",
        "subscriptions/listen",
        "resources/subscribe",
        "resources/unsubscribe",
    ];
    KNOWN.into_iter().find(|known| *known == method)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(body: &str, code: i32) {
        match parse(body.as_bytes(), 128) {
            Err(failure) => assert_eq!(failure.code, code, "{body}"),
            Ok(_) => panic!("accepted: {body}"),
        }
    }

    #[test]
    fn ids_are_strings_or_numbers_echoed_as_written() {
        for id in ["1", "-1", "1.50", "1e3", "123456789012345678901234567890", "\"a\\u0041\"", "\"\""] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            match parse(body.as_bytes(), 128) {
                Ok(Incoming::Request(request)) => assert_eq!(request.id.get(), id),
                _ => panic!("{id}"),
            }
        }
        for id in ["null", "true", "[]", "{}"] {
            refused(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#), code::INVALID_REQUEST);
        }
    }

    #[test]
    fn what_is_not_one_message_is_refused() {
        for body in ["", "{", "nul", "{\"a\":1,}", "\u{feff}{}"] {
            refused(body, code::PARSE_ERROR);
        }
        for body in [
            "[]",
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
            "1",
            "\"x\"",
            "null",
            "{}",
            r#"{"id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
            r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":5}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":{"b":1,"b":2}}}"#,
        ] {
            refused(body, code::INVALID_REQUEST);
        }
        refused(&"[".repeat(200), code::INVALID_REQUEST);
    }

    #[test]
    fn notifications_and_responses_are_told_apart() {
        let kind = |body: &'static str| match parse(body.as_bytes(), 128) {
            Ok(Incoming::Notification) => "notification",
            Ok(Incoming::Response { .. }) => "response",
            _ => "else",
        };
        assert_eq!(kind(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#), "notification");
        assert_eq!(kind(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), "response");
        assert_eq!(kind(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}"#), "response");
    }
}
