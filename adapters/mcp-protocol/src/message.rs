//! From bytes to a JSON-RPC message, borrowed from the bytes.

use std::borrow::Cow;

use domain::Memory;
use domain::strict_json::{self, Json, MapAccess, Members, StrictJsonError, Unparsed, Unread};
use serde_json::value::RawValue;

use crate::params::Params;
use crate::reply::{Failure, code};

/// One JSON-RPC message from a client.
#[expect(clippy::large_enum_variant, reason = "there is one of them, on the stack")]
pub(crate) enum Incoming<'a> {
    Request(Request<'a>),
    Notification,
    /// A client's answer to a server request: its id, and its result unless it is an error.
    Response {
        id: Option<String>,
        result: Option<Unparsed<&'a RawValue>>,
    },
}

/// A JSON-RPC request.
pub(crate) struct Request<'a> {
    /// A string or a number, echoed as it was written.
    pub(crate) id: &'a RawValue,
    pub(crate) method: Cow<'a, str>,
    pub(crate) params: Params<'a>,
    /// Where its work counts its memory; whoever does the work takes it.
    pub(crate) memory: Option<Memory>,
}

/// The members of a message.
#[derive(Default)]
struct Envelope<'a> {
    jsonrpc: Option<Json<'a>>,
    id: Option<&'a RawValue>,
    method: Option<Json<'a>>,
    params: Option<Json<'a, Params<'a>>>,
    result: Option<Unparsed<&'a RawValue>>,
    has_error: bool,
}

impl<'a> Members<'a> for Envelope<'a> {
    fn take<A: MapAccess<'a>>(&mut self, name: &str, value: Unread<'_, A>) -> Result<(), A::Error> {
        match name {
            "jsonrpc" => self.jsonrpc = Some(value.read()?),
            "id" => self.id = Some(value.raw()?),
            "method" => self.method = Some(value.read()?),
            "params" => self.params = Some(value.read()?),
            "result" => self.result = Some(value.unparsed()?),
            "error" => {
                self.has_error = true;
                value.skip()?;
            }
            _ => value.skip()?,
        }
        Ok(())
    }
}

/// Parses one message.
///
/// # Errors
/// -32700 for what is not JSON, -32600 for what is not one JSON-RPC message.
pub(crate) fn parse(body: &[u8], max_depth: usize) -> Result<Incoming<'_>, Failure> {
    let read = strict_json::read::<Envelope<'_>>(body, max_depth).map_err(|error| match error {
        StrictJsonError::Syntax { .. } => Failure::malformed(code::PARSE_ERROR, error.to_string()),
        StrictJsonError::DuplicateMember
        | StrictJsonError::TooDeep(_)
        | StrictJsonError::TooManyValues
        | StrictJsonError::ReservedName => Failure::malformed(code::INVALID_REQUEST, error.to_string()),
    })?;
    match read {
        Json::Object(envelope) => incoming(envelope),
        Json::Other if body.trim_ascii_start().starts_with(b"[") => {
            Err(invalid("batches are not served: MCP removed them in 2025-06-18"))
        }
        _ => Err(invalid("not a JSON-RPC message: not an object")),
    }
}

fn incoming(envelope: Envelope<'_>) -> Result<Incoming<'_>, Failure> {
    let Envelope { jsonrpc, id, method, params, result, has_error } = envelope;
    if jsonrpc.as_ref().and_then(Json::text) != Some("2.0") {
        return Err(invalid("not a JSON-RPC message: jsonrpc is not \"2.0\""));
    }
    if id.is_some_and(|id| !is_id(id)) {
        return Err(invalid("the id is neither a string nor a number"));
    }
    let Some(method) = method else {
        return match (id, &result, has_error) {
            (Some(_), Some(_), false) | (_, None, true) => {
                Ok(Incoming::Response { id: id.and_then(text), result })
            }
            _ => Err(invalid("not a JSON-RPC message: neither a method nor a result nor an error")),
        };
    };
    if result.is_some() || has_error {
        return Err(invalid("both a request and a response"));
    }
    let Json::Text(method) = method else {
        return Err(invalid("the method is not a string"));
    };
    let params = match params {
        None => Params::default(),
        Some(params) => params.object().ok_or_else(|| invalid("params is not an object"))?,
    };
    Ok(match id {
        Some(id) => Incoming::Request(Request { id, method, params, memory: None }),
        None => Incoming::Notification,
    })
}

/// MCP narrows JSON-RPC's ids to strings and numbers; `null` is none. So it does with progress tokens.
pub(crate) fn is_id(id: &RawValue) -> bool {
    id.get().starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit())
}

/// The text of a JSON string; `None` for any other value.
fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
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
