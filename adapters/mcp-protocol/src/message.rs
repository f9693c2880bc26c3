//! From bytes to JSON-RPC messages, borrowed from the bytes.

use std::borrow::Cow;

use domain::Memory;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use syntax::strict_json::{self, Fault, Json, Members, StrictJsonError, Unparsed, Unread};

use crate::params::{Params, is_id};
use crate::reply::{Failure, code};

/// The maximum number of messages in one batch.
pub(crate) const MAX_BATCH: usize = 16;

/// The names of methods that are known beyond the table of methods.
pub(crate) const CALL_TOOL: &str = "tools/call";
pub(crate) const GET_PROMPT: &str = "prompts/get";
pub(crate) const READ_RESOURCE: &str = "resources/read";

/// The content of a body.
pub(crate) enum Parsed<'a> {
    One(Incoming<'a>),
    Batch(Vec<Result<Incoming<'a>, InvalidMessage<'a>>>),
}

/// Something that is no JSON-RPC message, and why.
#[derive(Debug)]
pub(crate) struct InvalidMessage<'a> {
    /// The id, if it is a request's and unambiguous.
    pub(crate) id: Option<&'a RawValue>,
    pub(crate) failure: Box<Failure>,
}

impl<'a> InvalidMessage<'a> {
    fn new(id: Option<&'a RawValue>, failure: Failure) -> Self {
        Self { id, failure: Box::new(failure) }
    }
}

/// One JSON-RPC message from a client.
pub(crate) enum Incoming<'a> {
    Request(Request<'a>),
    Notification,
    /// A client's response to a request for input: its id, and its result unless it is an error.
    Response {
        id: Option<String>,
        result: Option<Unparsed<&'a str>>,
    },
}

/// A JSON-RPC request.
pub(crate) struct Request<'a> {
    /// A string or a number, echoed as it was written.
    pub(crate) id: &'a RawValue,
    pub(crate) method: Cow<'a, str>,
    pub(crate) params: Params<'a>,
    /// The message that it was read from.
    pub(crate) text: &'a [u8],
    /// Where its work counts its memory; taken by the handler that does the work.
    pub(crate) memory: Option<Memory>,
}

/// The members of a message.
#[derive(Default)]
struct Envelope<'a> {
    jsonrpc: Option<Json<'a>>,
    id: Option<&'a RawValue>,
    method: Option<Json<'a>>,
    params: Option<Json<'a, Params<'a>>>,
    result: Option<Unparsed<&'a str>>,
    has_error: bool,
}

impl<'a> Members<'a> for Envelope<'a> {
    fn take(&mut self, name: &str, value: Unread<'_, 'a>) -> Result<(), Fault> {
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

/// Parses a message, or a batch of them.
///
/// # Errors
/// -32700 for what is not JSON, -32600 for what is neither one JSON-RPC message nor a batch.
pub(crate) fn parse(body: &[u8], max_depth: usize) -> Result<Parsed<'_>, InvalidMessage<'_>> {
    if !body.trim_ascii_start().starts_with(b"[") {
        return judge(strict_json::read(body, max_depth), body).map(Parsed::One);
    }
    let items = strict_json::read_items(body, max_depth, MAX_BATCH).map_err(|error| match error {
        StrictJsonError::TooManyItems(limit) => {
            Failure::invalid_request(format!("a batch of more than {limit} messages"))
        }
        error => refused(&error),
    });
    match items {
        Err(failure) => Err(InvalidMessage::new(None, failure)),
        Ok(items) if items.is_empty() => {
            Err(InvalidMessage::new(None, Failure::invalid_request("an empty batch")))
        }
        Ok(items) => Ok(Parsed::Batch(items.into_iter().map(|(text, read)| judge(read, text)).collect())),
    }
}

fn refused(error: &StrictJsonError) -> Failure {
    let code = match error {
        StrictJsonError::Syntax { .. } => code::PARSE_ERROR,
        StrictJsonError::DuplicateMember
        | StrictJsonError::TooDeep(_)
        | StrictJsonError::TooManyValues
        | StrictJsonError::TooManyItems(_)
        | StrictJsonError::ReservedName => code::INVALID_REQUEST,
    };
    Failure::malformed(code, error.to_string())
}

/// Judges a message that was read; of one that could not be, `text` may still have an id.
fn judge<'a>(
    read: Result<Json<'a, Envelope<'a>>, StrictJsonError>,
    text: &'a [u8],
) -> Result<Incoming<'a>, InvalidMessage<'a>> {
    match read {
        Ok(Json::Object(envelope)) => {
            let id = envelope.id.filter(|id| is_id(id) && envelope.is_request());
            incoming(envelope, text).map_err(|failure| InvalidMessage::new(id, failure))
        }
        Ok(_) => {
            Err(InvalidMessage::new(None, Failure::invalid_request("not a JSON-RPC message: not an object")))
        }
        // Text that is no JSON has no id.
        Err(error @ StrictJsonError::Syntax { .. }) => Err(InvalidMessage::new(None, refused(&error))),
        Err(error) => Err(InvalidMessage::new(request_id(text), refused(&error))),
    }
}

/// Returns the id of a request that is refused because of another member. This neither recurses nor allocates.
fn request_id(text: &[u8]) -> Option<&RawValue> {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow)]
        id: Option<&'a RawValue>,
        result: Option<IgnoredAny>,
        error: Option<IgnoredAny>,
    }
    // An id that is there twice is an error.
    let Head { id, result, error } = serde_json::from_slice(text).ok()?;
    // It was not checked before, so it may be invalid.
    let is_sound = |id: &RawValue| is_id(id) && strict_json::check(id.get().as_bytes(), 1).is_ok();
    id.filter(|id| is_sound(id) && result.is_none() && error.is_none())
}

impl Envelope<'_> {
    /// Returns whether it is a request or a notification, not a response.
    fn is_request(&self) -> bool {
        self.method.is_some() || (self.result.is_none() && !self.has_error)
    }
}

fn incoming<'a>(envelope: Envelope<'a>, message: &'a [u8]) -> Result<Incoming<'a>, Failure> {
    let Envelope { jsonrpc, id, method, params, result, has_error } = envelope;
    if jsonrpc.as_ref().and_then(Json::text) != Some("2.0") {
        return Err(Failure::invalid_request("not a JSON-RPC message: jsonrpc is not \"2.0\""));
    }
    if id.is_some_and(|id| !is_id(id)) {
        return Err(Failure::invalid_request("the id is neither a string nor a number"));
    }
    let Some(method) = method else {
        return match (id, &result, has_error) {
            (Some(_), Some(_), false) | (_, None, true) => {
                Ok(Incoming::Response { id: id.and_then(text), result })
            }
            _ => Err(Failure::invalid_request(
                "not a JSON-RPC message: neither a method nor a result nor an error",
            )),
        };
    };
    if result.is_some() || has_error {
        return Err(Failure::invalid_request("both a request and a response"));
    }
    let Json::Text(method) = method else {
        return Err(Failure::invalid_request("the method is not a string"));
    };
    let params = match params {
        None | Some(Json::Null) => Params::default(),
        Some(params) => params.object().ok_or_else(|| Failure::invalid_request("params is not an object"))?,
    };
    Ok(match id {
        Some(id) => Incoming::Request(Request { id, method, params, text: message, memory: None }),
        None => Incoming::Notification,
    })
}

/// Returns the text of a JSON string; `None` for any other value.
fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// The whole of `params`.
#[derive(Default)]
struct AllParams<'a>(Option<Unparsed<&'a str>>);

impl<'a> Members<'a> for AllParams<'a> {
    fn take(&mut self, name: &str, value: Unread<'_, 'a>) -> Result<(), Fault> {
        match name {
            "params" => self.0 = Some(value.unparsed()?),
            _ => value.skip()?,
        }
        Ok(())
    }
}

impl<'a> Request<'a> {
    /// Reads all of `params` as text, from the message; `None` for null and absence.
    ///
    /// # Errors
    /// As [`parse`], which has read the message before.
    pub(crate) fn all_params(&self, max_depth: usize) -> Result<Option<Unparsed<&'a str>>, Failure> {
        let message = strict_json::read(self.text, max_depth).map_err(|error| refused(&error))?;
        let AllParams(params) = message.object().unwrap_or_default();
        Ok(params.filter(|params| params.text() != "null"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(body: &str) -> Result<Incoming<'_>, InvalidMessage<'_>> {
        parse(body.as_bytes(), 128).map(|parsed| match parsed {
            Parsed::One(incoming) => incoming,
            Parsed::Batch(_) => panic!("a batch: {body}"),
        })
    }

    #[track_caller]
    fn refused(body: &str, code: i32) {
        refused_under(body, code, None);
    }

    /// Refused, with an answer under this id.
    #[track_caller]
    fn refused_under(body: &str, code: i32, id: Option<&str>) {
        match parse(body.as_bytes(), 128) {
            Err(fault) => {
                assert_eq!((fault.failure.code, fault.id.map(RawValue::get)), (code, id), "{body}");
            }
            Ok(_) => panic!("accepted: {body}"),
        }
    }

    #[test]
    fn ids_are_strings_or_numbers_echoed_as_written() {
        for id in ["1", "-1", "1.50", "1e3", "123456789012345678901234567890", "\"a\\u0041\"", "\"\""] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            match one(&body) {
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
        for body in ["", "{", "nul", "{\"a\":1,}", "\u{feff}{}", "[", "[1", "[1,]", "[1]x"] {
            refused(body, code::PARSE_ERROR);
        }
        for body in
            ["[]", " [ ] ", "1", "\"x\"", "null", "{}", r#"{"jsonrpc":"2.0","id":1,"id":1,"method":"ping"}"#]
        {
            refused(body, code::INVALID_REQUEST);
        }
    }

    #[test]
    fn a_refusal_of_a_request_has_its_id_wherever_it_stands() {
        for rest in [
            r#""method":"ping""#,
            r#""jsonrpc":"1.0","method":"ping""#,
            r#""jsonrpc":2.0,"method":"ping""#,
            r#""jsonrpc":"2.0""#,
            r#""jsonrpc":"2.0","method":5"#,
            r#""jsonrpc":"2.0","method":"ping","params":[]"#,
            r#""jsonrpc":"2.0","method":"ping","params":"x""#,
            r#""jsonrpc":"2.0","method":"ping","result":{}"#,
            r#""jsonrpc":"2.0","method":"ping","method":"ping""#,
            r#""jsonrpc":"2.0","method":"ping","params":{"a":{"b":1,"b":2}}"#,
            r#""jsonrpc":"2.0","method":"ping","params":{"$serde_json::private::RawValue":"{}"}"#,
            &format!(r#""jsonrpc":"2.0","method":"ping","params":{}1{}"#, "[".repeat(200), "]".repeat(200)),
            &format!(
                r#""jsonrpc":"2.0","method":"ping","params":[{}1]"#,
                "1,".repeat(strict_json::MAX_VALUES)
            ),
        ] {
            refused_under(
                &format!(r#"{{"id":"a\u0041",{rest}}}"#),
                code::INVALID_REQUEST,
                Some(r#""a\u0041""#),
            );
            refused_under(&format!(r#"{{{rest},"\u0069d":7}}"#), code::INVALID_REQUEST, Some("7"));
            refused(&format!(r#"{{"id":1,{rest},"id":1}}"#), code::INVALID_REQUEST);
            refused(&format!(r#"{{"id":null,{rest}}}"#), code::INVALID_REQUEST);
        }
        for id in [r#""\ud800""#, "1e999", "[]"] {
            let twice = format!(r#"{{"jsonrpc":"2.0","method":"ping","a":1,"a":1,"id":{id}}}"#);
            refused(&twice, code::INVALID_REQUEST);
        }
        // What is no request gets no answer of its own, and what is no JSON has no id.
        refused(r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#, code::INVALID_REQUEST);
        refused(r#"{"jsonrpc":"1.0","id":1,"result":{}}"#, code::INVALID_REQUEST);
        refused(r#"{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":1}}"#, code::INVALID_REQUEST);
        refused(r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{}"#, code::PARSE_ERROR);
    }

    #[test]
    fn params_that_are_null_are_none() {
        for params in ["", r#","params":null"#, r#","params":{}"#] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping"{params}}}"#);
            assert!(matches!(one(&body), Ok(Incoming::Request(request)) if request.params.name.is_none()));
            let body = format!(r#"{{"jsonrpc":"2.0","method":"notifications/initialized"{params}}}"#);
            assert!(matches!(one(&body), Ok(Incoming::Notification)), "{body}");
        }
    }

    #[test]
    fn notifications_and_responses_are_told_apart() {
        let kind = |body: &'static str| match one(body) {
            Ok(Incoming::Notification) => "notification",
            Ok(Incoming::Response { .. }) => "response",
            _ => "else",
        };
        assert_eq!(kind(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#), "notification");
        assert_eq!(kind(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), "response");
        assert_eq!(kind(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}"#), "response");
    }

    #[test]
    fn the_parts_of_a_batch_are_judged_alone_and_not_too_many() {
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        let twice = r#"{"jsonrpc":"2.0","id":2,"method":"ping","a":1,"a":1}"#;
        let body = format!(r#"[{ping},{twice},1,[],{{"jsonrpc":"2.0","method":"x"}}]"#);
        let Ok(Parsed::Batch(parts)) = parse(body.as_bytes(), 128) else { panic!("no batch") };
        let judge: Vec<Result<(), Option<&str>>> = parts
            .iter()
            .map(|part| part.as_ref().map(|_| ()).map_err(|fault| fault.id.map(RawValue::get)))
            .collect();
        assert_eq!(judge, [Ok(()), Err(Some("2")), Err(None), Err(None), Ok(())]);
        let largest = format!("[{}]", vec![ping; MAX_BATCH].join(","));
        assert!(matches!(parse(largest.as_bytes(), 128), Ok(Parsed::Batch(_))));
        refused(&format!("[{}]", vec![ping; MAX_BATCH + 1].join(",")), code::INVALID_REQUEST);
    }
}
