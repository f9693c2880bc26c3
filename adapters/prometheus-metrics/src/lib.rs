//! The [`Observer`] port by metrics for Prometheus.
//!
//! What requests do here takes no lock: `table.rs` finds a counter in an atomic snapshot, and counters are atomic. Labels are
//! bounded: tools by [`MAX_TOOLS`], reasons and outcomes by what the server's sources have, and nothing that a client sends is one.
//! What has a present state, such as places in use, is not kept: whoever renders the metrics brings it as a [`Sample`].

mod durations;
mod exposition;
mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use domain::{Event, InUse, Observer, UnixMillis};

pub use exposition::Format;

use durations::Durations;
use table::Table;

/// The most tools that have series of their own; those that are called later are counted as `other`.
pub const MAX_TOOLS: usize = 500;
/// More reasons and outcomes than there are: what is beyond it is counted as `other`.
const MAX_WORDS: usize = 100;
/// The most rules that have series of their own: a configuration has no more, but a reload may rename them.
const MAX_RULES: usize = 200;
/// The label of a request that has no reason.
const NO_REASON: &str = "none";
/// The outcome of a call that ended well.
const OK: &str = "ok";

/// Counts what happens. Clones share everything.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Counts>);

/// The state at the time of a scrape.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Whether the server is ready.
    pub is_ready: bool,
    /// The age of the issuer's keys, if there are any.
    pub keys_age: Option<Duration>,
    /// The places of each kind.
    pub places: Vec<(&'static str, InUse)>,
    /// The memory that requests hold, in bytes.
    pub memory_bytes: Option<InUse>,
    /// The upstreams, by their names in the configuration, and whether each is connected.
    pub upstreams: Vec<(String, bool)>,
    /// Whether Redis is there, if it is used.
    pub redis_connected: Option<bool>,
}

/// What is counted from the start on.
struct Counts {
    version: String,
    commit: String,
    started: UnixMillis,
    active: AtomicI64,
    /// By the first digit of the status, from 1 on.
    answers: [Answers; 5],
    probes: AtomicU64,
    tools: Table<Calls>,
    /// The requests that each rule refused, and those that one in shadow mode would have.
    refused: Table<AtomicU64>,
    would_refuse: Table<AtomicU64>,
    fetched: AtomicU64,
    fetches_failed: AtomicU64,
    audit_events_lost: AtomicU64,
    spans_lost: AtomicU64,
    quotas_not_shared: Table<AtomicU64>,
}

/// Answers of one class of statuses.
struct Answers {
    /// Those without a reason, which most are.
    plain: AtomicU64,
    reasons: Table<AtomicU64>,
    durations: Durations,
}

/// The calls of a tool.
struct Calls {
    /// Those that ended well, as most do.
    ok: AtomicU64,
    outcomes: Table<AtomicU64>,
    durations: Durations,
}

impl Metrics {
    /// Creates metrics of a server of this version, built from this commit, which starts now.
    #[must_use]
    pub fn new(version: &str, commit: Option<&str>, now: UnixMillis) -> Self {
        Self(Arc::new(Counts {
            version: version.to_owned(),
            commit: commit.unwrap_or("unknown").to_owned(),
            started: now,
            active: AtomicI64::new(0),
            answers: std::array::from_fn(|_| Answers::default()),
            probes: AtomicU64::new(0),
            tools: Table::new(MAX_TOOLS),
            refused: Table::new(MAX_RULES),
            would_refuse: Table::new(MAX_RULES),
            fetched: AtomicU64::new(0),
            fetches_failed: AtomicU64::new(0),
            audit_events_lost: AtomicU64::new(0),
            spans_lost: AtomicU64::new(0),
            quotas_not_shared: words(),
        }))
    }

    /// Returns the text that a scraper reads.
    #[must_use]
    pub fn render(&self, sample: Sample, format: Format) -> String {
        exposition::render(Arc::clone(&self.0), sample, format)
    }
}

impl Observer for Metrics {
    fn observe(&self, event: Event<'_>) {
        let counts = &*self.0;
        match event {
            Event::RequestBegan => drop(counts.active.fetch_add(1, Ordering::Relaxed)),
            Event::RequestEnded => drop(counts.active.fetch_sub(1, Ordering::Relaxed)),
            Event::RequestAnswered { is_probe: true, .. } => add_one(&counts.probes),
            Event::RequestAnswered { status, reason, is_stream, took, is_probe: false } => {
                // No status is outside: hyper has none below 100, and the server makes none from 600 on.
                let class = usize::from(status / 100).clamp(1, counts.answers.len());
                let answers = &counts.answers[class - 1];
                match reason {
                    None => add_one(&answers.plain),
                    Some(reason) => answers.reasons.with(reason, add_one),
                }
                if !is_stream {
                    answers.durations.add(took);
                }
            }
            Event::ToolCalled { tool, outcome, took } => counts.tools.with(tool.as_str(), |calls| {
                match outcome {
                    OK => add_one(&calls.ok),
                    _ => calls.outcomes.with(outcome, add_one),
                }
                calls.durations.add(took);
            }),
            Event::RuleRefused { rule, is_shadow: false } => counts.refused.with(rule, add_one),
            Event::RuleRefused { rule, is_shadow: true } => counts.would_refuse.with(rule, add_one),
            Event::KeysFetched { succeeded: true } => add_one(&counts.fetched),
            Event::KeysFetched { succeeded: false } => add_one(&counts.fetches_failed),
            Event::QuotaNotShared { outcome } => counts.quotas_not_shared.with(outcome, add_one),
            Event::AuditEventLost => add_one(&counts.audit_events_lost),
            Event::SpansLost { count } => drop(counts.spans_lost.fetch_add(count, Ordering::Relaxed)),
        }
    }
}

impl Answers {
    /// Returns the counts by the reason, in the order of their names.
    fn by_reason(&self) -> BTreeMap<Box<str>, u64> {
        by_label(&self.reasons, NO_REASON, &self.plain)
    }
}

impl Calls {
    /// Returns the counts by the outcome, in the order of their names.
    fn by_outcome(&self) -> BTreeMap<Box<str>, u64> {
        by_label(&self.outcomes, OK, &self.ok)
    }
}

impl Default for Answers {
    fn default() -> Self {
        Self { plain: AtomicU64::new(0), reasons: words(), durations: Durations::default() }
    }
}

impl Default for Calls {
    fn default() -> Self {
        Self { ok: AtomicU64::new(0), outcomes: words(), durations: Durations::default() }
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counts").finish_non_exhaustive()
    }
}

/// Returns the counts of a table, and that of the label which is counted apart, if there is anything to count.
fn by_label(table: &Table<AtomicU64>, apart: &str, count: &AtomicU64) -> BTreeMap<Box<str>, u64> {
    let labels = table.all().into_iter().map(|(label, count)| (label, count.load(Ordering::Relaxed)));
    let apart = (Box::from(apart), count.load(Ordering::Relaxed));
    labels.chain(Some(apart).filter(|(_, count)| *count > 0)).collect()
}

fn words() -> Table<AtomicU64> {
    Table::new(MAX_WORDS)
}

fn add_one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use domain::ToolName;

    use super::*;

    fn metrics() -> Metrics {
        Metrics::new("1.2.3", Some("0a1b2c3"), UnixMillis(1_795_395_877_985))
    }

    fn answered(status: u16, reason: Option<&'static str>) -> Event<'static> {
        let took = Duration::from_millis(30);
        Event::RequestAnswered { status, reason, is_probe: false, is_stream: false, took }
    }

    fn lines(metrics: &Metrics, prefix: &str) -> Vec<String> {
        let text = metrics.render(Sample::default(), Format::Text);
        text.lines().filter(|line| line.starts_with(prefix)).map(str::to_owned).collect()
    }

    #[test]
    fn requests_are_counted_by_class_and_reason_and_probes_and_streams_apart() {
        let metrics = metrics();
        for event in [answered(200, None), answered(200, None), answered(401, Some("expired"))] {
            metrics.observe(Event::RequestBegan);
            metrics.observe(event);
        }
        metrics.observe(Event::RequestEnded);
        let (reason, took) = (None, Duration::from_hours(1));
        metrics.observe(Event::RequestAnswered {
            status: 200,
            reason,
            is_probe: false,
            is_stream: true,
            took,
        });
        metrics.observe(Event::RequestAnswered {
            status: 503,
            reason,
            is_probe: true,
            is_stream: false,
            took,
        });
        assert_eq!(
            lines(&metrics, "fastmcp_auth0_http_requests_total"),
            [
                r#"fastmcp_auth0_http_requests_total{status_class="2xx",reason="none"} 3"#,
                r#"fastmcp_auth0_http_requests_total{status_class="4xx",reason="expired"} 1"#,
            ]
        );
        assert_eq!(
            lines(&metrics, "fastmcp_auth0_http_active_requests"),
            ["fastmcp_auth0_http_active_requests 2"]
        );
        assert_eq!(lines(&metrics, "fastmcp_auth0_http_probes_total"), ["fastmcp_auth0_http_probes_total 1"]);
        let durations = lines(&metrics, "fastmcp_auth0_http_request_duration_seconds_");
        let has = |line: &str| assert!(durations.iter().any(|had| had == line), "{line} in {durations:#?}");
        has(r#"fastmcp_auth0_http_request_duration_seconds_count{status_class="2xx"} 2"#);
        has(r#"fastmcp_auth0_http_request_duration_seconds_sum{status_class="2xx"} 0.06"#);
        has(r#"fastmcp_auth0_http_request_duration_seconds_bucket{status_class="2xx",le="0.025"} 0"#);
        has(r#"fastmcp_auth0_http_request_duration_seconds_bucket{status_class="2xx",le="0.1"} 2"#);
        has(r#"fastmcp_auth0_http_request_duration_seconds_bucket{status_class="2xx",le="+Inf"} 2"#);
    }

    #[test]
    fn requests_that_were_not_counted_in_redis_are_counted_by_what_was_done_instead() {
        let metrics = metrics();
        for outcome in ["count_here", "allow", "count_here"] {
            metrics.observe(Event::QuotaNotShared { outcome });
        }
        assert_eq!(
            lines(&metrics, "fastmcp_auth0_quota_not_shared_total{"),
            [
                r#"fastmcp_auth0_quota_not_shared_total{outcome="allow"} 1"#,
                r#"fastmcp_auth0_quota_not_shared_total{outcome="count_here"} 2"#,
            ]
        );
        for (redis_connected, expected) in [
            (None, vec![]),
            (Some(false), vec!["fastmcp_auth0_redis_connected 0"]),
            (Some(true), vec!["fastmcp_auth0_redis_connected 1"]),
        ] {
            let text = metrics.render(Sample { redis_connected, ..Sample::default() }, Format::Text);
            let lines: Vec<&str> =
                text.lines().filter(|line| line.starts_with("fastmcp_auth0_redis")).collect();
            assert_eq!(lines, expected);
        }
    }

    #[test]
    fn a_status_outside_of_the_classes_is_counted_at_their_edge() {
        let metrics = metrics();
        for status in [0, 99, 600, u16::MAX] {
            metrics.observe(answered(status, None));
        }
        let requests = lines(&metrics, "fastmcp_auth0_http_requests_total");
        assert!(requests[0].ends_with(r#"{status_class="1xx",reason="none"} 2"#), "{requests:?}");
        assert!(requests[1].ends_with(r#"{status_class="5xx",reason="none"} 2"#), "{requests:?}");
    }

    #[test]
    fn tools_beyond_the_bound_are_one_series_also_with_one_that_is_called_other() {
        let metrics = metrics();
        let call = |name: &str| {
            let tool = &ToolName::parse(name).unwrap();
            metrics.observe(Event::ToolCalled { tool, outcome: "ok", took: Duration::from_secs(1) });
        };
        call("other");
        for number in 0..10 * MAX_TOOLS {
            call(&format!("tool.{number}"));
        }
        call("tool.0");
        let calls = lines(&metrics, "fastmcp_auth0_tool_calls_total{");
        assert_eq!(calls.len(), MAX_TOOLS);
        let other = 1 + 10 * MAX_TOOLS - (MAX_TOOLS - 1);
        for line in
            [format!(r#"{{tool="other",outcome="ok"}} {other}"#), r#"{tool="tool.0",outcome="ok"} 2"#.into()]
        {
            assert_eq!(calls.iter().filter(|had| had.ends_with(&line)).count(), 1, "{line}");
        }
        let all = lines(&metrics, "fastmcp_auth0_tool_");
        assert!(all.len() < MAX_TOOLS * 20, "{}", all.len());
    }

    #[test]
    fn words_beyond_the_bound_are_one_series() {
        let metrics = metrics();
        let tool = &ToolName::parse("greet").unwrap();
        for number in 0..3 * MAX_WORDS {
            let word: &'static str = Box::leak(format!("word{number}").into_boxed_str());
            metrics.observe(answered(400, Some(word)));
            metrics.observe(Event::ToolCalled { tool, outcome: word, took: Duration::ZERO });
        }
        for family in ["fastmcp_auth0_http_requests_total{", "fastmcp_auth0_tool_calls_total{"] {
            let lines = lines(&metrics, family);
            assert_eq!(lines.len(), MAX_WORDS + 1);
            let other = format!("\"other\"}} {}", 2 * MAX_WORDS);
            assert!(lines.iter().any(|line| line.ends_with(&other)), "{lines:?}");
        }
    }

    #[test]
    fn what_is_counted_at_a_time_is_counted() {
        let metrics = metrics();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let metrics = metrics.clone();
                scope.spawn(move || {
                    for number in 0..1000 {
                        let tool = &ToolName::parse(&format!("tool{}", (number + thread) % 50)).unwrap();
                        metrics.observe(Event::ToolCalled { tool, outcome: "ok", took: Duration::ZERO });
                    }
                });
            }
        });
        let calls = lines(&metrics, "fastmcp_auth0_tool_calls_total{");
        assert_eq!(calls.len(), 50);
        assert!(calls.iter().all(|line| line.ends_with(" 80")), "{calls:?}");
    }
}
