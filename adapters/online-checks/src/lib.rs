//! What clients would see of a tenant and of a deployed MCP server: discovery, keys, clock, challenges and metadata, each asked
//! for by its public URL.
//!
//! [`run`] blocks, and takes up to ten seconds for each of a handful of requests. Nobody's credentials are sent, no redirect is
//! followed, and nothing of what comes back is trusted: it is bounded, and [`Finding::seen`] has it cut and escaped.

mod challenge;
mod check;
mod endpoint;
mod fault;
mod fetch;
mod issuer;
mod keys;
mod shown;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};
use url::Url;

pub use check::{Check, Finding, Outcome, Severity};
pub use fault::Fault;

use crate::check::Checks;
use crate::fault::Place;
use crate::fetch::Client;

/// What is asked about, and what is to be seen there.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The issuer, as tokens name it.
    pub issuer: String,
    /// Further accepted issuers.
    pub additional_issuers: Vec<String>,
    /// Where the server fetches the issuer's keys.
    pub jwks_url: Url,
    /// How far the clocks may differ.
    pub leeway_seconds: i64,
    /// The server's public endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// A public endpoint, and what the server sends there.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The MCP endpoint.
    pub url: Url,
    /// The protected resource metadata (RFC 9728).
    pub metadata_url: Url,
    /// The protected resource's identifier.
    pub audience: String,
    /// Whether the audience is the endpoint's URL or a prefix of it.
    pub is_covered: bool,
    /// The metadata document.
    pub metadata: Map<String, Value>,
    /// `WWW-Authenticate` of the answer to a request without a token.
    pub challenge: String,
}

/// Asks the tenant, then each endpoint, and returns every check in a fixed order. Blocks.
///
/// `now` tells the seconds since 1970.
#[must_use]
pub fn run(subject: &Subject, now: &dyn Fn() -> i64) -> Vec<Check> {
    let client = Client::new(fetch::TIMEOUT);
    let mut checks = Checks::default();
    issuer::check(&client, subject, now, &mut checks);
    checks.place = Place::Server;
    for endpoint in &subject.endpoints {
        endpoint::check(&client, endpoint, &subject.issuer, &mut checks);
    }
    checks.into_vec()
}
