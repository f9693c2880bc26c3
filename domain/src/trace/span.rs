//! [`Span`]: a step of a request's work while it lasts.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::{AttributeValue, SpanData, SpanId, SpanKind, TraceContext, Tracer};
use crate::time::Clock;

/// The maximum length of an attribute's text, in bytes; a longer one is cut.
const MAX_TEXT: usize = 256;

/// What the spans of a request have in common.
pub(super) struct Scope {
    pub(super) tracer: Arc<dyn Tracer>,
    pub(super) clock: Arc<dyn Clock>,
    /// How much the calendar was ahead of uptime when the request came: one number for all of its spans, so that no change of
    /// the calendar comes between them.
    pub(super) offset: Duration,
}

impl Scope {
    pub(super) fn now(&self) -> Duration {
        self.offset.saturating_add(self.clock.uptime())
    }
}

/// A step that is under way, or nothing where nothing is traced. One that is dropped before its end was cancelled.
pub struct Span(Option<Box<Open>>);

struct Open {
    scope: Arc<Scope>,
    data: SpanData,
    has_ended: bool,
}

/// What an attribute is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute<'a> {
    /// A word that the sources have.
    Word(&'static str),
    /// A text, which is copied, and cut where it is long.
    Text(&'a str),
    /// A number.
    Number(i64),
}

impl Attribute<'_> {
    pub(super) fn value(self) -> AttributeValue {
        match self {
            Self::Word(word) => AttributeValue::Text(Cow::Borrowed(word)),
            Self::Text(text) => AttributeValue::Text(Cow::Owned(cut(text).to_owned())),
            Self::Number(number) => AttributeValue::Number(number),
        }
    }
}

impl<'a> From<&'a str> for Attribute<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Attribute<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

impl Span {
    /// No span: what is done with it is nothing.
    pub const OFF: Self = Self(None);

    pub(super) fn begin(scope: Arc<Scope>, data: SpanData) -> Self {
        Self(Some(Box::new(Open { scope, data, has_ended: false })))
    }

    /// Returns where it is in its trace; `None` where nothing is traced.
    #[must_use]
    pub fn context(&self) -> Option<&TraceContext> {
        self.0.as_ref().map(|open| &open.data.context)
    }

    /// Whether what is set here is kept; what takes work to find out need not be otherwise.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.context().is_some_and(TraceContext::is_sampled)
    }

    /// Begins a step of this one. A name is one of few.
    #[must_use]
    pub fn child(&self, name: &'static str) -> Self {
        self.within(SpanKind::Internal, || Cow::Borrowed(name))
    }

    /// Begins a request to another server, whose name is made only where it is traced.
    #[must_use]
    pub fn client(&self, name: impl FnOnce() -> String) -> Self {
        self.within(SpanKind::Client, || Cow::Owned(name()))
    }

    fn within(&self, kind: SpanKind, name: impl FnOnce() -> Cow<'static, str>) -> Self {
        let Some(open) = &self.0 else { return Self::OFF };
        let (scope, parent) = (Arc::clone(&open.scope), &open.data.context);
        let context = parent.with_span(scope.tracer.span_id());
        let began = scope.now();
        Self::begin(scope, data(context, Some(parent.span_id()), kind, name(), began))
    }

    /// Sets an attribute.
    pub fn set<'a>(&mut self, key: &'static str, value: impl Into<Attribute<'a>>) {
        if let Some(open) = &mut self.0
            && open.data.context.is_sampled()
        {
            open.data.attributes.push((key, value.into().value()));
        }
    }

    /// Ends it: well, or with a word for why not.
    pub fn end(mut self, outcome: Result<(), Cow<'static, str>>) {
        if let Some(open) = &mut self.0 {
            open.has_ended = true;
            open.data.error = outcome.err();
        }
    }
}

/// Returns a span that begins.
pub(super) fn data(
    context: TraceContext,
    parent: Option<SpanId>,
    kind: SpanKind,
    name: Cow<'static, str>,
    began: Duration,
) -> SpanData {
    // An upstream's prompts may have any name.
    let name = match name {
        Cow::Owned(text) if text.len() > MAX_TEXT => Cow::Owned(cut(&text).to_owned()),
        name => name,
    };
    SpanData {
        context,
        parent,
        is_parent_remote: false,
        kind,
        name,
        began,
        ended: began,
        attributes: Vec::new(),
        links: Vec::new(),
        error: None,
    }
}

impl Default for Span {
    fn default() -> Self {
        Self::OFF
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(open) = self.0.take().filter(|open| open.data.context.is_sampled()) else { return };
        let Open { scope, mut data, has_ended } = *open;
        data.ended = scope.now();
        if !has_ended {
            data.error = Some(Cow::Borrowed("cancelled"));
        }
        scope.tracer.record(data);
    }
}
