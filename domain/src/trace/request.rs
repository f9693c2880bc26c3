//! [`RequestTrace`]: what is traced of a request before it is known which trace it belongs to, and its first span once it is.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::span::{Scope, data};
use super::{Attribute, AttributeValue, Span, SpanKind, TraceContext, Tracer};
use crate::time::Clock;

/// A request that is traced. Its token is judged before its message is read, and the message says which span it belongs to: so
/// the steps until then are kept, and become spans with the first [`RequestTrace::span`].
pub struct RequestTrace {
    scope: Arc<Scope>,
    began: Duration,
    /// What the transport said of the trace.
    transport: Option<TraceContext>,
    /// Attributes of each of the request's server spans.
    attributes: Vec<(&'static str, AttributeValue)>,
    steps: Vec<(Step, Duration, Option<Cow<'static, str>>)>,
    /// The first server span.
    first: Option<TraceContext>,
}

/// A step of a request's work that comes before its message is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    name: &'static str,
    began: Duration,
}

impl RequestTrace {
    /// Creates the trace of a request that has come just now, and whose transport says that it belongs to this span.
    #[must_use]
    pub fn new(tracer: &Arc<dyn Tracer>, clock: &Arc<dyn Clock>, transport: Option<TraceContext>) -> Self {
        let calendar = Duration::from_millis(u64::try_from(clock.now().0).unwrap_or(0));
        let offset = calendar.saturating_sub(clock.uptime());
        let scope = Arc::new(Scope { tracer: Arc::clone(tracer), clock: Arc::clone(clock), offset });
        let began = scope.now();
        Self { scope, began, transport, attributes: Vec::new(), steps: Vec::new(), first: None }
    }

    /// Sets an attribute of each of the request's server spans.
    pub fn set<'a>(&mut self, key: &'static str, value: impl Into<Attribute<'a>>) {
        self.attributes.push((key, value.into().value()));
    }

    /// Begins a step.
    #[must_use]
    pub fn begin(&self, name: &'static str) -> Step {
        Step { name, began: self.scope.now() }
    }

    /// Ends a step: well, or with a word for why not.
    pub fn end(&mut self, step: Step, outcome: Result<(), &'static str>) {
        self.steps.push((step, self.scope.now(), outcome.err().map(Cow::Borrowed)));
    }

    /// Begins a server span: that of a message which says that it belongs to `message`. Without that the transport's is its
    /// parent; with both, the transport's is linked to it (OpenTelemetry's conventions for MCP, "Context propagation"). The
    /// first one has begun when the request came, and has the steps so far.
    pub fn span(&mut self, name: impl Into<Cow<'static, str>>, message: Option<&TraceContext>) -> Span {
        let (parent, link) = match (message, &self.transport) {
            (Some(message), Some(transport)) if message.span_id() == transport.span_id() => {
                (Some(message), None)
            }
            (Some(message), transport) => (Some(message), transport.clone()),
            (None, transport) => (transport.as_ref(), None),
        };
        let context = self.scope.tracer.enter(parent);
        let is_first = self.first.is_none();
        let began = if is_first { self.began } else { self.scope.now() };
        let parent = parent.map(TraceContext::span_id);
        let mut data = data(context.clone(), parent, SpanKind::Server, name.into(), began);
        data.is_parent_remote = parent.is_some();
        if context.is_sampled() {
            data.attributes.clone_from(&self.attributes);
            data.links.extend(link);
        }
        let steps = std::mem::take(&mut self.steps);
        if is_first {
            for (step, ended, error) in steps {
                self.record(step, ended, error, &context);
            }
            self.first = Some(context);
        }
        Span::begin(Arc::clone(&self.scope), data)
    }

    fn record(&self, step: Step, ended: Duration, error: Option<Cow<'static, str>>, within: &TraceContext) {
        if within.is_sampled() {
            let context = within.with_span(self.scope.tracer.span_id());
            let parent = Some(within.span_id());
            let mut data = data(context, parent, SpanKind::Internal, Cow::Borrowed(step.name), step.began);
            (data.ended, data.error) = (ended, error);
            self.scope.tracer.record(data);
        }
    }

    /// Returns where the request's first server span is in its trace; `None` before that began.
    #[must_use]
    pub const fn context(&self) -> Option<&TraceContext> {
        self.first.as_ref()
    }
}
