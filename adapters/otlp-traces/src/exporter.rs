//! Sends a batch: one bounded POST with `ureq`, on the thread that the SDK has for it.
//!
//! A batch is sent once. Redirects are not followed: they could lead the credentials elsewhere.

use std::future::{Future, ready};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use prost::Message as _;
use ureq::Agent;
use ureq::http::header::CONTENT_TYPE;
use url::Host;

use crate::{Headers, Options, Shared};

/// The longest answer that is read.
const MAX_ANSWER: u64 = 64 << 10;

/// Why a batch was not taken, for an operator.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("the collector redirected ({0}), which is not followed")]
    Redirect(u16),
    #[error("the collector answered {0}: is the path of traces.endpoint right, such as /v1/traces?")]
    NoEndpoint(u16),
    #[error("the collector answered {0}")]
    Status(u16),
    #[error("the collector did not answer in time")]
    TimedOut,
    #[error("the collector's name can't be resolved")]
    NoSuchHost,
    #[error("the collector can't be reached: {0}")]
    Transport(ureq::Error),
}

/// Sends batches to one collector.
pub(crate) struct Exporter {
    agent: Agent,
    endpoint: String,
    headers: Headers,
    resource: ResourceAttributesWithSchema,
    shared: Arc<Shared>,
}

impl Exporter {
    pub(crate) fn new(options: &Options, shared: Arc<Shared>) -> Self {
        // Plain http to a collector elsewhere is the operator's choice, with a warning.
        let mut config = http_agent::for_any()
            .https_only(options.endpoint.scheme() == "https")
            // The collector may have closed one that was kept, and its batch would be lost.
            .max_idle_connections(0)
            .timeout_global(Some(options.timeout));
        if is_loopback(options) {
            config = config.proxy(None);
        }
        let attributes =
            options.resource.iter().map(|(name, value)| KeyValue::new(name.to_owned(), value.to_owned()));
        // Empty, or else it would have what variables of the environment say.
        let resource = Resource::builder_empty().with_attributes(attributes).build();
        Self {
            agent: config.build().new_agent(),
            endpoint: options.endpoint.as_str().to_owned(),
            headers: options.headers.clone(),
            resource: (&resource).into(),
            shared,
        }
    }

    /// Sends a batch, and returns how many of its spans the collector refused.
    fn send(&self, batch: Vec<SpanData>) -> Result<u64, ExportError> {
        let spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let body = ExportTraceServiceRequest { resource_spans: spans }.encode_to_vec();
        let mut request = self.agent.post(&self.endpoint).header(CONTENT_TYPE, "application/x-protobuf");
        for (name, value) in self.headers.iter() {
            request = request.header(name, value);
        }
        let mut response = request.send(&body[..]).map_err(explain)?;
        let status = response.status();
        match status.as_u16() {
            code if status.is_redirection() => return Err(ExportError::Redirect(code)),
            code @ (404 | 405) => return Err(ExportError::NoEndpoint(code)),
            code if !status.is_success() => return Err(ExportError::Status(code)),
            _ => {}
        }
        let answer = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        // It took the spans, whatever else it says.
        let answer = answer.ok().and_then(|answer| ExportTraceServiceResponse::decode(&answer[..]).ok());
        let rejected =
            answer.and_then(|answer| answer.partial_success).map_or(0, |partial| partial.rejected_spans);
        Ok(u64::try_from(rejected).unwrap_or(0))
    }

    fn export_now(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let sent = self.send(batch);
        self.shared.queued.fetch_sub(count, Ordering::Relaxed);
        match sent {
            Ok(0) => self.shared.sent(),
            Ok(rejected) => self.shared.lose(rejected, &"the collector refused some"),
            Err(error) => {
                self.shared.lose(count as u64, &error);
                return Err(OTelSdkError::InternalFailure(error.to_string()));
            }
        }
        Ok(())
    }
}

impl SpanExporter for Exporter {
    /// Blocks: the thread is there for nothing else.
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        ready(self.export_now(batch))
    }
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}

fn is_loopback(options: &Options) -> bool {
    match options.endpoint.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn explain(error: ureq::Error) -> ExportError {
    match error {
        ureq::Error::Timeout(_) => ExportError::TimedOut,
        ureq::Error::HostNotFound => ExportError::NoSuchHost,
        other => ExportError::Transport(other),
    }
}
