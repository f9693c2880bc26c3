//! The SDK's spans of the domain's.

use std::str::FromStr;
use std::time::UNIX_EPOCH;

use domain::TraceContext;
use domain::trace::{AttributeValue, SpanKind};
use opentelemetry::trace::{
    Link, SpanContext, SpanId, SpanKind as Kind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

/// Returns a span as the SDK has it.
pub(crate) fn span(span: domain::SpanData) -> SpanData {
    let mut attributes: Vec<KeyValue> =
        span.attributes.into_iter().map(|(key, value)| KeyValue::new(key, self::value(value))).collect();
    let status = if span.error.is_some() { Status::error("") } else { Status::Unset };
    attributes.extend(span.error.map(|error| KeyValue::new("error.type", error)));
    let mut links = SpanLinks::default();
    links.links.extend(span.links.iter().map(|link| Link::new(context(link, true), Vec::new(), 0)));
    SpanData {
        span_context: context(&span.context, false),
        parent_span_id: span.parent.map_or(SpanId::INVALID, |parent| SpanId::from_bytes(parent.bytes())),
        parent_span_is_remote: span.is_parent_remote,
        span_kind: match span.kind {
            SpanKind::Server => Kind::Server,
            SpanKind::Client => Kind::Client,
            SpanKind::Internal => Kind::Internal,
        },
        name: span.name,
        start_time: UNIX_EPOCH + span.began,
        end_time: UNIX_EPOCH + span.ended,
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links,
        status,
        instrumentation_scope: InstrumentationScope::builder("fastmcp-auth0")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build(),
    }
}

fn value(value: AttributeValue) -> Value {
    match value {
        AttributeValue::Text(text) => Value::from(text),
        AttributeValue::Number(number) => Value::I64(number),
    }
}

fn context(context: &TraceContext, is_remote: bool) -> SpanContext {
    // What the SDK does not take of a state that came is left out.
    let state = context.tracestate().and_then(|state| TraceState::from_str(state).ok());
    SpanContext::new(
        TraceId::from_bytes(context.trace_id().bytes()),
        SpanId::from_bytes(context.span_id().bytes()),
        TraceFlags::new(context.flags()),
        is_remote,
        state.unwrap_or_default(),
    )
}
