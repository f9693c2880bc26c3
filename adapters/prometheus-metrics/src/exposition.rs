//! The metrics as text: their names, help and labels.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use domain::InUse;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::durations::Durations;
use crate::{Counts, Sample};

const SECONDS: Option<&Unit> = Some(&Unit::Seconds);
const BYTES: Option<&Unit> = Some(&Unit::Bytes);
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `OpenMetrics` 1.0.0.
    OpenMetrics,
    /// Prometheus' own, 0.0.4.
    Text,
}

pub(crate) fn render(counts: Arc<Counts>, sample: Sample, format: Format) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape { counts, sample }));
    let mut text = String::new();
    // Writing to memory can't fail.
    let _ = match format {
        Format::OpenMetrics => text::encode(&mut text, &registry),
        Format::Text => prometheus_text::encode(&mut text, &registry),
    };
    text
}

/// What one scrape reads.
#[derive(Debug)]
struct Scrape {
    counts: Arc<Counts>,
    sample: Sample,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.process(&mut page)?;
        self.requests(&mut page)?;
        self.tools(&mut page)?;
        self.rules(&mut page)?;
        self.keys(&mut page)?;
        self.losses(&mut page)?;
        self.redis(&mut page)?;
        self.places(&mut page)
    }
}

impl Scrape {
    fn process(&self, page: &mut Page<'_>) -> fmt::Result {
        let labels = [("version", self.counts.version.as_str()), ("commit", self.counts.commit.as_str())];
        page.family("fastmcp_auth0_build", "The server's version and commit", None, MetricType::Info)?
            .encode_info(&labels)?;
        let help = "When the process started, in seconds since 1970";
        let mut started = page.family("process_start_time", help, SECONDS, MetricType::Gauge)?;
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of these centuries fit")]
        let seconds = self.counts.started.0 as f64 / 1e3;
        started.encode_gauge(&seconds)?;
        let help = "Whether the server is ready, as /ready says";
        page.family("fastmcp_auth0_ready", help, None, MetricType::Gauge)?
            .encode_gauge(&u32::from(self.sample.is_ready))
    }

    fn requests(&self, page: &mut Page<'_>) -> fmt::Result {
        let help = "Requests under way, streams included";
        let active = self.counts.active.load(Ordering::Relaxed);
        page.family("fastmcp_auth0_http_active_requests", help, None, MetricType::Gauge)?
            .encode_gauge(&active)?;

        let help = "Requests that were answered, by the class of the status and the reason code; probes are not among them";
        let mut requests = page.family("fastmcp_auth0_http_requests", help, None, MetricType::Counter)?;
        let classes = || CLASSES.iter().zip(&self.counts.answers);
        for (class, answers) in classes() {
            for (reason, count) in answers.by_reason() {
                counter(&mut requests, &[("status_class", *class), ("reason", &*reason)], count)?;
            }
        }
        let help = "How long requests took whose answers are no streams";
        let mut durations =
            page.family("fastmcp_auth0_http_request_duration", help, SECONDS, MetricType::Histogram)?;
        for (class, answers) in classes().filter(|(_, answers)| answers.durations.read().1 > 0) {
            histogram(&mut durations, &[("status_class", *class)], &answers.durations)?;
        }
        let help = "Requests to /health, /ready and /ping";
        let mut probes = page.family("fastmcp_auth0_http_probes", help, None, MetricType::Counter)?;
        probes.encode_counter::<NoLabelSet, _, f64>(&self.counts.probes.load(Ordering::Relaxed), None)
    }

    fn tools(&self, page: &mut Page<'_>) -> fmt::Result {
        let tools = self.counts.tools.all();
        let help = "Runs of tools, by how they ended: ok, cancelled or a reason code";
        let mut calls = page.family("fastmcp_auth0_tool_calls", help, None, MetricType::Counter)?;
        for (tool, of_tool) in &tools {
            for (outcome, count) in of_tool.by_outcome() {
                counter(&mut calls, &[("tool", &**tool), ("outcome", &*outcome)], count)?;
            }
        }
        let help = "How long tools ran";
        let mut durations =
            page.family("fastmcp_auth0_tool_duration", help, SECONDS, MetricType::Histogram)?;
        for (tool, of_tool) in &tools {
            histogram(&mut durations, &[("tool", &**tool)], &of_tool.durations)?;
        }
        let help = "Whether an upstream is connected";
        let mut upstreams = page.family("fastmcp_auth0_upstream_connected", help, None, MetricType::Gauge)?;
        for (name, is_connected) in &self.sample.upstreams {
            upstreams
                .encode_family(&[("upstream", name.as_str())])?
                .encode_gauge(&u32::from(*is_connected))?;
        }
        Ok(())
    }

    fn rules(&self, page: &mut Page<'_>) -> fmt::Result {
        let help = "Requests that a rule refused, or in shadow mode would have";
        let mut refusals = page.family("fastmcp_auth0_rule_refusals", help, None, MetricType::Counter)?;
        for (mode, rules) in [("enforced", &self.counts.refused), ("shadow", &self.counts.would_refuse)] {
            for (rule, count) in rules.all() {
                let count = count.load(Ordering::Relaxed);
                counter(&mut refusals, &[("rule", &*rule), ("mode", mode)], count)?;
            }
        }
        Ok(())
    }

    fn keys(&self, page: &mut Page<'_>) -> fmt::Result {
        let help = "Fetches of the issuer's keys";
        let mut fetches = page.family("fastmcp_auth0_key_fetches", help, None, MetricType::Counter)?;
        let counts = &self.counts;
        for (result, count) in [("success", &counts.fetched), ("failure", &counts.fetches_failed)] {
            counter(&mut fetches, &[("result", result)], count.load(Ordering::Relaxed))?;
        }
        if let Some(age) = self.sample.keys_age {
            let help = "How long ago the issuer's keys were fetched; absent before the first";
            page.family("fastmcp_auth0_keys_age", help, SECONDS, MetricType::Gauge)?
                .encode_gauge(&age.as_secs_f64())?;
        }
        Ok(())
    }

    fn losses(&self, page: &mut Page<'_>) -> fmt::Result {
        let counts = &self.counts;
        for (name, help, count) in [
            (
                "fastmcp_auth0_audit_events_lost",
                "Audit events that could not be written",
                &counts.audit_events_lost,
            ),
            ("fastmcp_auth0_spans_lost", "Spans that could not be sent to the collector", &counts.spans_lost),
        ] {
            let mut lost = page.family(name, help, None, MetricType::Counter)?;
            lost.encode_counter::<NoLabelSet, _, f64>(&count.load(Ordering::Relaxed), None)?;
        }
        Ok(())
    }

    fn redis(&self, page: &mut Page<'_>) -> fmt::Result {
        let help = "Whether Redis is there, as far as this replica can tell";
        let mut connected = page.family("fastmcp_auth0_redis_connected", help, None, MetricType::Gauge)?;
        if let Some(is_connected) = self.sample.redis_connected {
            connected.encode_gauge(&u32::from(is_connected))?;
        }
        let help = "Requests that could not be counted in Redis, by what was done instead";
        let mut requests = page.family("fastmcp_auth0_quota_not_shared", help, None, MetricType::Counter)?;
        for (outcome, count) in self.counts.quotas_not_shared.all() {
            counter(&mut requests, &[("outcome", &*outcome)], count.load(Ordering::Relaxed))?;
        }
        Ok(())
    }

    fn places(&self, page: &mut Page<'_>) -> fmt::Result {
        type Part = fn(&InUse) -> usize;
        let parts: [(&str, &str, Part); 2] = [
            ("fastmcp_auth0_places_in_use", "Places in use, by kind", |in_use| in_use.now),
            ("fastmcp_auth0_places_limit", "Places that there are, by kind", |in_use| in_use.limit),
        ];
        for (name, help, part) in parts {
            let mut places = page.family(name, help, None, MetricType::Gauge)?;
            for (kind, in_use) in &self.sample.places {
                places.encode_family(&[("kind", *kind)])?.encode_gauge(&part(in_use))?;
            }
        }
        let Some(memory) = self.sample.memory_bytes else { return Ok(()) };
        for (name, help, value) in [
            (
                "fastmcp_auth0_memory_leased",
                "Memory that requests hold, beyond the first 16 KiB of each",
                memory.now,
            ),
            (
                "fastmcp_auth0_memory_limit",
                "Memory that requests can hold, as limits.memory_bytes says",
                memory.limit,
            ),
        ] {
            page.family(name, help, BYTES, MetricType::Gauge)?.encode_gauge(&value)?;
        }
        Ok(())
    }
}

/// The text in the making.
struct Page<'e>(DescriptorEncoder<'e>);

impl Page<'_> {
    /// Begins a metric. All but the process's start, which other programs have too, are named after this package.
    fn family<'s>(
        &'s mut self,
        name: &'static str,
        help: &str,
        unit: Option<&'static Unit>,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, unit, kind)
    }
}

fn counter(family: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, count: u64) -> fmt::Result {
    family.encode_family(labels)?.encode_counter::<NoLabelSet, _, f64>(&count, None)
}

fn histogram(
    family: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    durations: &Durations,
) -> fmt::Result {
    let (sum, count, buckets) = durations.read();
    family.encode_family(labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}
