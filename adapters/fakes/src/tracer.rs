//! [`RecordingTracer`]: a tracer that keeps spans for a test to look at.

use std::sync::atomic::{AtomicU64, Ordering};

use domain::{SpanData, SpanId, TraceContext, TraceId, Tracer};
use tokio::sync::watch;

/// Keeps every span. Ids count up from 1.
#[derive(Debug)]
pub struct RecordingTracer {
    is_sampled: bool,
    next: AtomicU64,
    spans: watch::Sender<Vec<SpanData>>,
}

impl RecordingTracer {
    /// A tracer that records every request, or none.
    #[must_use]
    pub fn new(is_sampled: bool) -> Self {
        Self { is_sampled, next: AtomicU64::new(1), spans: watch::Sender::default() }
    }

    /// Returns the spans that have ended since the last time, in the order of their ends.
    pub fn take(&self) -> Vec<SpanData> {
        self.spans.send_replace(Vec::new())
    }

    /// Completes once so many spans have ended, and returns them.
    pub async fn ended(&self, count: usize) -> Vec<SpanData> {
        let mut spans = self.spans.subscribe();
        // The sender lives as long as `self`, so waiting can't fail.
        let _ = spans.wait_for(|spans| spans.len() >= count).await;
        self.take()
    }

    /// Returns the context of a new trace's first span.
    fn first(&self) -> TraceContext {
        let trace_id = TraceId::new(u128::from(self.number()).to_be_bytes());
        // Numbers from 1 on are ids.
        trace_id.map_or_else(|| self.first(), |id| TraceContext::new(id, self.span_id(), true))
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

impl Tracer for RecordingTracer {
    fn enter(&self, caller: Option<&TraceContext>) -> TraceContext {
        let context = caller.map_or_else(|| self.first(), |caller| caller.with_span(self.span_id()));
        context.sampled(self.is_sampled)
    }

    fn span_id(&self) -> SpanId {
        SpanId::new(self.number().to_be_bytes()).unwrap_or_else(|| self.span_id())
    }

    fn record(&self, span: SpanData) {
        self.spans.send_modify(|spans| spans.push(span));
    }
}
