//! What of a request's trace is HTTP's: the context that its header fields name, and the span of a request whose message was
//! not read.

use domain::trace::Attribute;
use domain::{Principal, RequestTrace, Service, TraceContext};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode, Version};

use crate::access_log::Record;
use crate::public::Endpoint;
use crate::socket::Peer;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Begins to trace a request for the MCP endpoint, if anything is traced.
pub(crate) fn begin(service: &Service, head: &Parts, record: &mut Record) {
    let Some(tracer) = &service.tracer else { return };
    let mut trace = RequestTrace::new(tracer, &service.clock, context(&head.headers));
    trace.set("network.transport", Attribute::Word(transport(record.peer)));
    trace.set("network.protocol.name", Attribute::Word("http"));
    if let Some(version) = version(head.version) {
        trace.set("network.protocol.version", Attribute::Word(version));
    }
    trace.set("fastmcp_auth0.request_id", record.id.as_str());
    record.trace = Some(Box::new(trace));
}

/// Says who sent it: no more than which client, since a subject is a person.
pub(crate) fn authenticated(principal: &Principal, record: &mut Record) {
    if let Some(trace) = &mut record.trace {
        trace.set("fastmcp_auth0.client_id", principal.client());
    }
}

/// Ends what is traced of a request that was refused before a message of it had a span: its span is then one of HTTP
/// (OpenTelemetry's conventions for HTTP servers).
pub(crate) fn end(endpoint: &Endpoint, head: &Parts, status: StatusCode, record: &mut Record) {
    let reason = record.reason();
    let (Some(trace), Some(reason)) = (&mut record.trace, reason) else { return };
    if trace.context().is_some() {
        return;
    }
    let (method, route) = (method(&head.method), endpoint.public_path());
    let name = if method == OTHER { format!("HTTP {route}") } else { format!("{method} {route}") };
    let mut span = trace.span(name, None);
    span.set("http.request.method", Attribute::Word(method));
    span.set("http.route", route.as_str());
    span.set("http.response.status_code", i64::from(status.as_u16()));
    span.end(Err(reason.into()));
}

/// Returns the context that a request's fields name; one that is there twice is none.
fn context(headers: &HeaderMap) -> Option<TraceContext> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let (parent, None) = (parents.next()?, parents.next()) else { return None };
    let states = headers.get_all(TRACESTATE).iter().map(|value| value.to_str());
    let state = states.collect::<Result<Vec<_>, _>>().map(|states| states.join(",")).ok();
    TraceContext::parse(parent.to_str().ok()?.trim(), state.as_deref())
}

const fn transport(peer: Peer) -> &'static str {
    match peer {
        Peer::Address(_) => "tcp",
        Peer::Unix => "unix",
    }
}

fn version(version: Version) -> Option<&'static str> {
    Some(match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_11 => "1.1",
        Version::HTTP_2 => "2",
        _ => return None,
    })
}

/// What stands for a method that HTTP does not have.
const OTHER: &str = "_OTHER";

fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn of(fields: &[(&'static str, &str)]) -> Option<(String, Option<String>)> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let context = context(&headers)?;
        Some((context.traceparent(), context.tracestate().map(str::to_owned)))
    }

    #[test]
    fn a_parent_counts_once_and_states_are_joined() {
        assert_eq!(of(&[(TRACEPARENT, PARENT)]), Some((PARENT.to_owned(), None)));
        assert_eq!(
            of(&[(TRACEPARENT, PARENT), (TRACESTATE, "a=1"), (TRACESTATE, "b=2")]),
            Some((PARENT.to_owned(), Some("a=1,b=2".to_owned())))
        );
        assert_eq!(of(&[(TRACEPARENT, PARENT), (TRACESTATE, "a=\u{e9}")]), Some((PARENT.to_owned(), None)));
        assert_eq!(of(&[(TRACEPARENT, PARENT), (TRACEPARENT, PARENT)]), None);
        assert_eq!(of(&[(TRACESTATE, "a=1")]), None);
        assert_eq!(of(&[(TRACEPARENT, "\u{e9}")]), None);
    }
}
