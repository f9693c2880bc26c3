//! The [`Tracer`] port by OTLP/HTTP: spans to an OpenTelemetry collector, as protobuf.
//!
//! The official SDK keeps spans and sends them in batches, by a thread of its own, so that no request waits for a collector.
//! `exporter.rs` sends a batch, `convert.rs` makes the SDK's spans of the domain's, `pairs.rs` reads the standard's lists.
//! What waits is bounded here and not by the SDK, which does not tell what it drops: what is lost is counted.

mod convert;
mod exporter;
mod pairs;

use std::fmt::{self, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use domain::{Event, Observer, SpanData, SpanId, TraceContext, TraceId, Tracer};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, IdGenerator, RandomIdGenerator, SpanProcessor,
};
use url::Url;

use crate::exporter::Exporter;
pub use crate::pairs::{Attributes, Headers, PairsError};

/// How long spans are collected for a batch.
const INTERVAL: Duration = Duration::from_secs(5);
/// The most spans in one batch.
const BATCH: usize = 512;
/// How long [`OtlpTraces::flush`] waits for what is left.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);

/// Which spans go where.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the collector takes traces, path included.
    pub endpoint: Url,
    /// Header fields of every request to it, such as an API key.
    pub headers: Headers,
    /// The maximum duration of one request.
    pub timeout: Duration,
    /// The maximum number of spans that may wait to be sent.
    pub queued_spans: usize,
    /// The share of requests that is recorded, from 0 to 1.
    pub sample_ratio: f64,
    /// Whether a caller's word that its trace is recorded, or not, counts instead.
    pub trust_sampled: bool,
    /// What the spans are of (OpenTelemetry's resource): `service.name` and the like.
    pub resource: Attributes,
}

/// Sends spans to a collector. Clones share everything.
#[derive(Clone)]
pub struct OtlpTraces(Arc<Traces>);

struct Traces {
    processor: BatchSpanProcessor,
    ids: RandomIdGenerator,
    queued_spans: usize,
    sample_ratio: f64,
    trust_sampled: bool,
    shared: Arc<Shared>,
}

/// What requests and the sending thread have in common.
struct Shared {
    observer: Arc<dyn Observer>,
    /// The number of spans that wait, or are being sent.
    queued: AtomicUsize,
    /// The number of spans lost since some were sent.
    lost: AtomicU64,
}

impl OtlpTraces {
    /// Starts the thread that sends.
    #[must_use]
    pub fn start(options: &Options, observer: &Arc<dyn Observer>) -> Self {
        Self::start_with(options, observer, INTERVAL)
    }

    fn start_with(options: &Options, observer: &Arc<dyn Observer>, interval: Duration) -> Self {
        let shared = Arc::new(Shared {
            observer: Arc::clone(observer),
            queued: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
        });
        // All that variables of the environment would set is set here.
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(options.queued_spans)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(interval)
            .build();
        let exporter = Exporter::new(options, Arc::clone(&shared));
        Self(Arc::new(Traces {
            processor: BatchSpanProcessor::new(exporter, batches),
            ids: RandomIdGenerator::default(),
            queued_spans: options.queued_spans,
            sample_ratio: options.sample_ratio,
            trust_sampled: options.trust_sampled,
            shared,
        }))
    }

    /// Sends what is left, for some seconds at most, and ends. Spans that end later are lost.
    pub fn flush(&self) {
        if self.0.processor.shutdown_with_timeout(FLUSH_PATIENCE).is_err() {
            let left = self.0.shared.queued.load(Ordering::Relaxed);
            tracing::warn!(left, "spans are left that the collector did not take in time");
        }
    }
}

impl Tracer for OtlpTraces {
    fn enter(&self, caller: Option<&TraceContext>) -> TraceContext {
        let is_sampled = match caller {
            Some(caller) if self.0.trust_sampled => caller.is_sampled(),
            // Not by the trace id, which callers choose.
            _ => self.0.draws(),
        };
        match caller {
            Some(caller) => caller.with_span(self.span_id()).sampled(is_sampled),
            None => TraceContext::new(self.0.trace_id(), self.span_id(), is_sampled),
        }
    }

    fn span_id(&self) -> SpanId {
        loop {
            if let Some(id) = SpanId::new(self.0.ids.new_span_id().to_bytes()) {
                return id;
            }
        }
    }

    fn record(&self, span: SpanData) {
        let shared = &self.0.shared;
        if shared.queued.fetch_add(1, Ordering::Relaxed) >= self.0.queued_spans {
            shared.queued.fetch_sub(1, Ordering::Relaxed);
            shared.lose(1, &QUEUE_FULL);
            return;
        }
        self.0.processor.on_end(convert::span(span));
    }
}

const QUEUE_FULL: &str = "as many as traces.queued_spans wait to be sent";

impl Traces {
    fn trace_id(&self) -> TraceId {
        loop {
            if let Some(id) = TraceId::new(self.ids.new_trace_id().to_bytes()) {
                return id;
            }
        }
    }

    /// Decides by chance whether a request is recorded.
    fn draws(&self) -> bool {
        let [a, b, c, d, ..] = self.ids.new_span_id().to_bytes();
        f64::from(u32::from_be_bytes([a, b, c, d])) < self.sample_ratio * 2_f64.powi(32)
    }
}

impl Shared {
    /// Counts spans that are lost, and says so in the log of the first of a row.
    fn lose(&self, count: u64, why: &dyn Display) {
        self.observer.observe(Event::SpansLost { count });
        if self.lost.fetch_add(count, Ordering::Relaxed) == 0 {
            tracing::warn!("spans can't be sent: {why}");
        }
    }

    fn sent(&self) {
        if self.lost.load(Ordering::Relaxed) > 0 {
            let lost = self.lost.swap(0, Ordering::Relaxed);
            tracing::info!(lost, "spans are sent again; some are lost");
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl fmt::Debug for OtlpTraces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpTraces").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
