//! Distributed traces: which trace a request belongs to, and a span for each step of it.
//!
//! Whoever records is a [`Tracer`]. Without one there is no [`RequestTrace`], every [`Span`] is [`Span::OFF`], and what is
//! done with those costs a branch: no clock is read, and nothing is allocated. Nothing here is a client's text but what
//! [`TraceContext`] takes of the W3C's formats, and what callers of [`Span::set`] pass, which is cut.

mod context;
mod request;
mod span;

use std::borrow::Cow;
use std::time::Duration;

pub use context::{SpanId, TraceContext, TraceId};
pub use request::{RequestTrace, Step};
pub use span::{Attribute, Span};

/// The port for whoever records spans. It is called amid the work, which waits for it: it must neither block nor panic.
pub trait Tracer: Send + Sync {
    /// Returns the context of the span that a request's work begins with: in its caller's trace, or in a new one. Whether the
    /// request is recorded, it says by [`TraceContext::is_sampled`].
    fn enter(&self, caller: Option<&TraceContext>) -> TraceContext;

    /// Returns an id for a further span.
    fn span_id(&self) -> SpanId;

    /// Takes a span that has ended, of a request that is recorded.
    fn record(&self, span: SpanData);
}

/// A span that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanData {
    /// Its trace and its own id.
    pub context: TraceContext,
    /// The span that it belongs to; `None` for a trace's first.
    pub parent: Option<SpanId>,
    /// Whether that is another program's.
    pub is_parent_remote: bool,
    /// Its part in a call.
    pub kind: SpanKind,
    /// Its name, one of few.
    pub name: Cow<'static, str>,
    /// When it began, since 1970-01-01T00:00:00Z.
    pub began: Duration,
    /// When it ended.
    pub ended: Duration,
    /// What is known of it.
    pub attributes: Vec<(&'static str, AttributeValue)>,
    /// Further spans that it has to do with.
    pub links: Vec<TraceContext>,
    /// Why it failed, as a word (`error.type` in OpenTelemetry's conventions).
    pub error: Option<Cow<'static, str>>,
}

/// A span's part in a call (OpenTelemetry's `SpanKind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// The work for a request of a client's.
    Server,
    /// A request to another server.
    Client,
    /// A step of the work.
    Internal,
}

/// What an attribute says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeValue {
    /// A text.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
}
