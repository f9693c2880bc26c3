//! `[traces]`: where spans go, and of which requests.

use otlp_traces::{Attributes, Headers, Options, PairsError};
use url::{Host, Url};

use super::context::Context;
use super::mcp::Mcp;
use crate::config::key::{Flag, Key, Ratio, Reload, Text, Whole, count, seconds};
use crate::config::reader::Reader;

static ENDPOINT: Key<Text> = Key::new(
    "traces.endpoint",
    Text("`http://` or `https://` URL"),
    Reload::RestartRequired,
    "where a collector takes traces by OTLP/HTTP ([observe.md](observe.md#traces)), path included, such as \
     `http://127.0.0.1:4318/v1/traces`; empty: there are none",
)
.variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
static HEADERS: Key<Text> = Key::new(
    "traces.headers",
    Text("list of `name=value`, percent-encoded"),
    Reload::RestartRequired,
    "header fields of every request to the collector, such as an API key",
)
.variable("OTEL_EXPORTER_OTLP_TRACES_HEADERS")
.secret();
static HEADERS_FILE: Key<Text> = Key::new(
    "traces.headers_file",
    Text("path"),
    Reload::RestartRequired,
    "a file with these header fields instead",
);
static SAMPLE_RATIO: Key<Ratio> = Key::new(
    "traces.sample_ratio",
    Ratio,
    Reload::RestartRequired,
    "the share of requests that is traced, by chance",
);
static TRUST_SAMPLED: Key<Flag> = Key::new(
    "traces.trust_sampled",
    Flag,
    Reload::RestartRequired,
    "whether a client's `traceparent` decides instead, where there is one: its flag says whether its trace is recorded",
);
static SERVICE_NAME: Key<Text> = Key::new(
    "traces.service_name",
    Text("text"),
    Reload::RestartRequired,
    "the server's name in traces (`service.name`)",
)
.or("`mcp.name`")
.variable("OTEL_SERVICE_NAME");
static RESOURCE: Key<Text> = Key::new(
    "traces.resource_attributes",
    Text("list of `name=value`, percent-encoded"),
    Reload::RestartRequired,
    "what else every span is marked with, such as `deployment.environment.name=production`",
)
.variable("OTEL_RESOURCE_ATTRIBUTES");
static TIMEOUT: Key<Whole> = Key::new(
    "traces.timeout_seconds",
    seconds(1, 60),
    Reload::RestartRequired,
    "how long the collector may take for one batch",
);
static QUEUED: Key<Whole> = Key::new(
    "traces.queued_spans",
    count(1, 100_000),
    Reload::RestartRequired,
    "spans that may wait to be sent; what is beyond is lost",
);

pub(super) const KEYS: &[&Key] = &[
    &ENDPOINT,
    &HEADERS,
    &HEADERS_FILE,
    &SAMPLE_RATIO,
    &TRUST_SAMPLED,
    &SERVICE_NAME,
    &RESOURCE,
    &TIMEOUT,
    &QUEUED,
];

/// Reads the section; `None` where nothing is traced.
pub(super) fn read(read: &mut Reader, _: &Context<'_>, mcp: &Mcp) -> Option<Options> {
    let endpoint = endpoint(read);
    let headers = headers(read);
    let resource = resource(read, mcp);
    let options = (read.ratio(&SAMPLE_RATIO), read.flag_of(&TRUST_SAMPLED, &[]).unwrap_or_default());
    let (timeout, queued_spans) = (read.seconds(&TIMEOUT), read.whole(&QUEUED));
    let (sample_ratio, trust_sampled) = options;
    let endpoint = endpoint?;
    if !headers.is_empty() && endpoint.scheme() == "http" && !is_loopback(&endpoint) {
        let message = "is plain http, by which traces.headers can be read on their way; use https";
        read.warn(ENDPOINT.name, message.to_owned());
    }
    Some(Options { endpoint, headers, timeout, queued_spans, sample_ratio, trust_sampled, resource })
}

fn endpoint(read: &mut Reader) -> Option<Url> {
    let text = read.text(&ENDPOINT);
    if text.is_empty() {
        return None;
    }
    let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(url) = url else {
        read.problem(ENDPOINT.name, "must be a URL such as http://127.0.0.1:4318/v1/traces, or empty");
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() {
        read.problem(ENDPOINT.name, "must have no user or password: what is secret goes into traces.headers");
        return None;
    }
    if url.path() == "/" {
        let message = "has no path, which collectors expect: add /v1/traces".to_owned();
        read.warn(ENDPOINT.name, message);
    }
    Some(url)
}

fn headers(read: &mut Reader) -> Headers {
    let in_place = read.secret_of(&HEADERS, &[]).filter(|text| !text.trim().is_empty());
    let in_file = read.named_secret_file(&HEADERS_FILE);
    let (key, text) = match (in_place, in_file) {
        (Some(_), Some(_)) => {
            read.problem(HEADERS_FILE.name, "can't be set together with traces.headers: choose one");
            return Headers::default();
        }
        (Some(text), None) => (HEADERS.name, text),
        (None, Some(text)) => (HEADERS_FILE.name, text),
        (None, None) => return Headers::default(),
    };
    parsed(read, key, Headers::parse(&text))
}

fn resource(read: &mut Reader, mcp: &Mcp) -> Attributes {
    let (name, attributes) = (read.text(&SERVICE_NAME), read.text(&RESOURCE));
    let attributes = parsed(read, RESOURCE.name, Attributes::parse(&attributes));
    let attributes = if name.is_empty() { attributes } else { attributes.with("service.name", &name) };
    attributes.or("service.name", &mcp.identity.name).or("service.version", &mcp.identity.version)
}

fn parsed<T: Default>(read: &mut Reader, key: &str, parsed: Result<T, PairsError>) -> T {
    parsed.unwrap_or_else(|error| {
        read.problem(key, error.to_string());
        T::default()
    })
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
