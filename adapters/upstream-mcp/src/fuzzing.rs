//! What must hold for any bytes of an upstream's: called by the fuzz targets of `fuzz/` and by tests. It is in no other build.

use std::collections::VecDeque;
use std::sync::Arc;

use hyper::HeaderMap;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientJsonRpcMessage, ClientRequest, GetExtensions as _,
    JsonRpcMessage, RequestId, ServerJsonRpcMessage,
};

use crate::incoming;
use crate::sse::Parser;
use crate::wire::{Reading, Source, Wire};

/// The maximum length of an event here.
const MAX_EVENT: usize = 256;

/// Takes the bytes as a message while one call is under way, and as an event stream: an answer to the call is its result alone,
/// nothing else is, and no event is longer than it may be.
///
/// # Panics
/// When an invariant does not hold.
pub fn upstream_message(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        message(text);
    }
    let mut events = VecDeque::new();
    let mut parser = Parser::new(MAX_EVENT);
    for piece in data.chunks(7) {
        parser.feed(piece, &mut events);
    }
    assert!(events.len() <= data.len());
}

fn message(text: &str) {
    let wire = Arc::new(Wire::default());
    let registration = wire.register(Reading::Call, Source::Caller("a".into()), HeaderMap::new());
    let mut request = ClientRequest::CallToolRequest(CallToolRequest::new(CallToolRequestParams::new("t")));
    request.extensions_mut().insert(registration.key);
    let id = RequestId::Number(1);
    wire.sending(&ClientJsonRpcMessage::request(request, id.clone()));
    let read = incoming::read(&wire, text, None);
    let result = registration.result.take();
    if let Ok(Some((_, JsonRpcMessage::Response(response)))) = &read
        && incoming::is_answer_to(&response.id, &id)
    {
        assert!(result.is_some(), "rmcp is told of an answer that the call does not have");
    }
    if result.is_some() {
        let is_shown = matches!(read, Ok(Some((_, ServerJsonRpcMessage::Response(_)))));
        assert!(is_shown, "the call has an answer that rmcp is not told of");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_invariants_hold_for_messages_of_every_kind() {
        for text in [
            r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#,
            r#"{"jsonrpc":"2.0","id":"1","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":[1]}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":null}"#,
            r#"{"jsonrpc":"2.0","id":2,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"elicitation/create","params":{}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":0,"progress":1}}"#,
            r#"{"id":1,"id":2,"result":{}}"#,
            "data: a\r\ndata: b\n\nid: 1\n\n",
            "[]",
            "",
        ] {
            upstream_message(text.as_bytes());
        }
    }
}
