//! [`read`]: what both transports do with a text of the upstream's.

use std::borrow::Cow;

use rmcp::model::{ErrorData, RequestId, ServerJsonRpcMessage};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::wire::{Malformed, Received, Wire};

/// A message that rmcp is given, and its text.
pub(crate) type Incoming<'a> = (Cow<'a, str>, ServerJsonRpcMessage);

/// Reads a text. `stream_of` is the request on whose response it came, where that is known. `None` if rmcp need not see it.
///
/// What answers a call does so whatever is wrong with it, because a call without an answer waits until its time is up.
///
/// # Errors
/// [`Malformed`] for what is no message, and for messages that neither the wire nor rmcp can read.
pub(crate) fn read<'a>(
    wire: &Wire,
    text: &'a str,
    stream_of: Option<&RequestId>,
) -> Result<Option<Incoming<'a>>, Malformed> {
    let Received::Message(text) = wire.received(text, stream_of)? else {
        return Ok(None);
    };
    match serde_json::from_str(&text) {
        // An upstream that could not read a request may leave its id out.
        Ok(ServerJsonRpcMessage::Error(mut error)) if error.id.is_none() => {
            error.id = stream_of.cloned();
            Ok(Some(written(ServerJsonRpcMessage::Error(error))?))
        }
        Ok(message) => Ok(Some((text, message))),
        Err(_) => match answers(&text) {
            Some(id) => Ok(Some(written(failed(id, "the upstream's answer can't be read"))?)),
            None => Err(Malformed),
        },
    }
}

/// Creates an error that answers a request in the upstream's place.
pub(crate) fn failed(id: RequestId, reason: &'static str) -> ServerJsonRpcMessage {
    ServerJsonRpcMessage::error(ErrorData::internal_error(reason, None), Some(id))
}

/// Returns the message with its text.
fn written(message: ServerJsonRpcMessage) -> Result<Incoming<'static>, Malformed> {
    let text = serde_json::to_string(&message).map_err(|_| Malformed)?;
    Ok((text.into(), message))
}

/// Returns whether a response has the id of a request; some servers write a number as a text.
pub(crate) fn is_answer_to(response: &RequestId, request: &RequestId) -> bool {
    match (response, request) {
        (RequestId::String(text), RequestId::Number(number)) => text.parse() == Ok(*number),
        _ => response == request,
    }
}

/// Returns the request that a text answers; `None` if it is no response, or does not say so.
pub(crate) fn answers(text: &str) -> Option<RequestId> {
    #[derive(Deserialize)]
    struct Head {
        id: Option<RequestId>,
        method: Option<IgnoredAny>,
    }
    let head: Head = serde_json::from_str(text).ok()?;
    head.id.filter(|_| head.method.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str, stream_of: Option<i64>) -> Result<Option<String>, Malformed> {
        let of = stream_of.map(RequestId::Number);
        Ok(read(&Wire::default(), text, of.as_ref())?.map(|(text, message)| {
            let reread: ServerJsonRpcMessage = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&reread).unwrap(), serde_json::to_string(&message).unwrap());
            text.into_owned()
        }))
    }

    #[test]
    fn a_message_is_passed_on_as_it_is() {
        let text = r#"{"jsonrpc":"2.0","id":1,"result":{"a": 1}}"#;
        assert_eq!(read_text(text, None).unwrap().unwrap(), text);
    }

    #[test]
    fn an_error_without_an_id_answers_the_request_of_its_stream() {
        for text in [
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no"}}"#,
            r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"no"}}"#,
        ] {
            let read = read_text(text, Some(4)).unwrap().unwrap();
            assert_eq!(read, r#"{"jsonrpc":"2.0","id":4,"error":{"code":-32600,"message":"no"}}"#);
            assert!(!read_text(text, None).unwrap().unwrap().contains("id"));
        }
    }

    #[test]
    fn an_answer_that_can_not_be_read_is_an_error_of_its_call() {
        for text in [
            // Neither a result nor an error; an error without its code; nothing that rmcp's types nest so deeply.
            r#"{"jsonrpc":"2.0","id":7}"#.to_owned(),
            r#"{"jsonrpc":"2.0","id":7,"error":{"message":"no"}}"#.to_owned(),
            r#"{"jsonrpc":"1.0","id":7,"result":{}}"#.to_owned(),
            format!(r#"{{"jsonrpc":"2.0","id":7,"result":{}1{}}}"#, "[".repeat(5000), "]".repeat(5000)),
        ] {
            let read = read_text(&text, None).unwrap().unwrap();
            assert!(read.starts_with(r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603"#), "{read}");
        }
    }

    #[test]
    fn what_answers_nothing_and_can_not_be_read_is_malformed() {
        for text in ["", "ping", "{}", "[]", r#"{"jsonrpc":"2.0","id":7"#, r#"{"id":7,"method":"ping"}"#] {
            assert_eq!(read_text(text, Some(1)), Err(Malformed), "{text}");
        }
    }
}
