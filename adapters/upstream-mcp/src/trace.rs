//! The span of a call at an upstream (OpenTelemetry's semantic conventions for MCP, client side), and how its context goes there:
//! in the message's `_meta`, and over HTTP in header fields as well.

use std::borrow::Cow;

use domain::trace::Attribute;
use domain::{Context, RawObject, Span};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use rmcp::model::ClientRequest;
use serde_json::{Map, Value};

use crate::connection::RequestError;
use crate::options::{Connect, Options};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Begins the span of a caller's request to an upstream.
pub(crate) fn begin(context: &Context<'_>, options: &Options, request: &ClientRequest) -> Span {
    let target = target(request);
    let method = request.method();
    let mut span = context.span.client(|| match target {
        Some((_, target)) => format!("{method} {target}"),
        None => method.to_owned(),
    });
    if !span.is_recorded() {
        return span;
    }
    span.set("mcp.method.name", method);
    if let Some((key, target)) = target {
        span.set(key, target);
    }
    if let ClientRequest::CallToolRequest(_) = request {
        span.set("gen_ai.operation.name", Attribute::Word("execute_tool"));
    }
    span.set("fastmcp_auth0.upstream", options.name.as_str());
    match &options.connect {
        Connect::Child(_) => span.set("network.transport", Attribute::Word("pipe")),
        Connect::Http(at) => {
            span.set("network.transport", Attribute::Word("tcp"));
            span.set("network.protocol.name", Attribute::Word("http"));
            span.set("server.address", at.url.host_str().unwrap_or_default());
            span.set("server.port", i64::from(at.url.port_or_known_default().unwrap_or_default()));
        }
    }
    span
}

/// Returns what a request names that is one of few: the operator's rules offer it.
fn target(request: &ClientRequest) -> Option<(&'static str, &str)> {
    match request {
        ClientRequest::CallToolRequest(request) => Some(("gen_ai.tool.name", &request.params.name)),
        ClientRequest::GetPromptRequest(request) => Some(("gen_ai.prompt.name", &request.params.name)),
        _ => None,
    }
}

/// Adds where a span is in its trace to what goes to the upstream.
pub(crate) fn hand_on(span: &Span, meta: &mut Map<String, Value>, headers: &mut HeaderMap) {
    let Some(context) = span.context() else { return };
    let parent = Some(context.traceparent());
    let state = context.tracestate().map(str::to_owned);
    for (name, text) in [(TRACEPARENT, parent), (TRACESTATE, state)] {
        let Some(text) = text else { continue };
        // Both have an alphabet that fits a header field.
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(HeaderName::from_static(name), value);
        }
        meta.insert(name.to_owned(), text.into());
    }
}

/// Ends the span of a request that was answered, or will not be.
pub(crate) fn end(mut span: Span, answered: Result<&RawObject, &RequestError>) {
    if !span.is_recorded() {
        return span.end(Ok(()));
    }
    let error: Option<Cow<'static, str>> = match answered {
        Ok(result) if result.read("isError") == Some(true) => Some("tool_error".into()),
        Ok(_) => None,
        Err(RequestError::Refused(error)) => {
            let code = error.code.0.to_string();
            span.set("rpc.response.status_code", code.as_str());
            Some(code.into())
        }
        Err(RequestError::Unauthorized) => Some("401".into()),
        Err(RequestError::Lost(_)) => Some(UNAVAILABLE.into()),
    };
    span.end(error.map_or(Ok(()), Err));
}

/// The `error.type` of a request that had no answer, and of one that had none in time.
pub(crate) const UNAVAILABLE: &str = "unavailable";
pub(crate) const TIMEOUT: &str = "timeout";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::{Clock, RequestTrace, TraceContext, Tracer};
    use fakes::{ManualClock, RecordingTracer};

    use super::*;

    #[test]
    fn a_context_goes_into_the_message_and_into_fields_and_without_one_nothing_does() {
        let tracer: Arc<dyn Tracer> = Arc::new(RecordingTracer::new(true));
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(domain::UnixMillis(0)));
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for state in [None, Some("rojo=1")] {
            let transport = TraceContext::parse(parent, state);
            let span = RequestTrace::new(&tracer, &clock, transport).span("request", None);
            let (mut meta, mut headers) = (Map::new(), HeaderMap::new());
            hand_on(&span, &mut meta, &mut headers);
            let sent = span.context().unwrap().traceparent();
            assert_eq!(
                (meta[TRACEPARENT].as_str(), headers[TRACEPARENT].to_str().unwrap()),
                (Some(&*sent), &*sent)
            );
            assert_eq!(meta.get(TRACESTATE).and_then(Value::as_str), state);
            assert_eq!(headers.get(TRACESTATE).map(|value| value.to_str().unwrap()), state);
        }
        let (mut meta, mut headers) = (Map::new(), HeaderMap::new());
        hand_on(&Span::OFF, &mut meta, &mut headers);
        assert!(meta.is_empty() && headers.is_empty());
    }
}
