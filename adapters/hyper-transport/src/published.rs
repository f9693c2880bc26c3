//! What clients find at the public endpoints before they have a token, for whoever compares it with what arrives at them.

use bytes::Bytes;
use domain::ScopeSet;

use crate::public::Endpoints;
use crate::settings::{HttpSettings, PublicEndpoint};

/// What clients find at a public endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The endpoint.
    pub endpoint: PublicEndpoint,
    /// The protected resource metadata (RFC 9728) at [`PublicEndpoint::metadata_url`].
    pub metadata: Bytes,
    /// `WWW-Authenticate` of the answer to a request without a token.
    pub challenge: String,
}

/// Returns what clients find at each public endpoint, the main one first. `scopes` are those that a first login asks for.
#[must_use]
pub fn published(settings: &HttpSettings, scopes: &ScopeSet) -> Vec<Published> {
    let endpoints = Endpoints::new(settings, scopes);
    let rendered = settings.endpoints().zip(endpoints.iter());
    let published = rendered.map(|(endpoint, rendered)| Published {
        endpoint: endpoint.clone(),
        metadata: rendered.documents.protected_resource.clone(),
        challenge: String::from_utf8_lossy(rendered.challenges.login().as_bytes()).into_owned(),
    });
    published.collect()
}
