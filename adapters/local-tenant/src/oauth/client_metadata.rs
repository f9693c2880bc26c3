//! Client ID Metadata Documents (draft-ietf-oauth-client-id-metadata-document; "Client ID Metadata Documents" of MCP's
//! authorization specification): a client's metadata, at the URL that is its `client_id`.
//!
//! Anyone who can send an authorization request chooses that URL, so fetching it is where somebody else makes this machine
//! connect somewhere (SSRF). This module owns everything that keeps it harmless: which URLs are fetched, which addresses are
//! connected to, and how much is read for how long. The rest of the tenant sees only [`ClientMetadata`]. Redirect URIs
//! in it are checked by the caller.
//!
//! The draft's sections are cited by title, as their numbers change between its revisions.

mod addresses;
mod document;
mod error;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use syntax::loopback::is_loopback_host;
use ureq::config::Config;
use ureq::http::header::{ACCEPT, CONTENT_TYPE};
use ureq::http::uri::Scheme;
use ureq::http::{HeaderMap, StatusCode, Uri};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body};
use url::Url;

use self::addresses::is_public;
pub(crate) use self::document::ClientMetadata;
use self::document::shown;
use self::error::MAX_BYTES;
pub(crate) use self::error::MetadataError;

/// The time for a whole fetch, from resolving the name to the last byte: a user waits for the login page meanwhile.
const TIMEOUT: Duration = Duration::from_secs(5);
const USER_AGENT: &str = concat!("fastmcp-auth0/", env!("CARGO_PKG_VERSION"));

/// Returns whether a `client_id` is the URL of a metadata document: an https URL with a path, or, because this is a
/// development tenant, an http URL on loopback.
pub(crate) fn is_document_url(client_id: &str) -> bool {
    let Ok(url) = Url::parse(client_id) else {
        return false;
    };
    let is_bare = url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    // "Client Identifier URL" compares URLs as text and forbids dot segments. A URL that the parser changes would be a
    // second name for a document; that includes dot segments, however escaped, `//host\@other` and `0x7f.1`.
    let is_canonical = url.as_str() == client_id;
    let has_host = match url.scheme() {
        "https" => url.has_host(),
        "http" => is_loopback(&url),
        _ => false,
    };
    has_host && is_bare && is_canonical && url.path() != "/"
}

/// Checks that a document may be fetched for this kind of sender. A document on this machine is served by whatever listens
/// there, which may take a GET without a browser's headers for its user's own command. So browsers can't cause such a
/// request, and others can't choose its query.
pub(crate) fn check_sender(client_id: &str, from_browser: bool) -> Result<(), MetadataError> {
    // `is_document_url` accepts http on loopback only.
    let Some(document) = client_id.strip_prefix("http:") else {
        return Ok(());
    };
    if document.contains('?') {
        return Err(MetadataError::LoopbackQuery);
    }
    if from_browser { Err(MetadataError::LoopbackForBrowser) } else { Ok(()) }
}

/// Fetches metadata documents.
pub(crate) struct MetadataFetcher {
    agent: Agent,
    timeout: Duration,
}

impl MetadataFetcher {
    pub(crate) fn new() -> Self {
        Self::with(TIMEOUT, DefaultResolver::default())
    }

    /// Fetches and checks a document. Blocks for at most 5 seconds, so it must run on a blocking thread.
    pub(crate) fn fetch(&self, client_id: &str) -> Result<ClientMetadata, MetadataError> {
        if !is_document_url(client_id) {
            return Err(MetadataError::NotADocumentUrl);
        }
        document::parse(client_id, &self.document(client_id)?)
    }

    fn with(timeout: Duration, resolver: impl Resolver) -> Self {
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            // "Client Information Discovery" forbids following redirects, which would also bypass `is_document_url`.
            .max_redirects(0)
            // `check_status` checks it.
            .http_status_as_error(false)
            .timeout_global(Some(timeout))
            // A proxy would resolve the name itself, which bypasses the check of the addresses.
            .proxy(None)
            // A reused connection would bypass it, too.
            .max_idle_connections(0)
            .user_agent(USER_AGENT)
            .build();
        let agent = Agent::with_parts(config, DefaultConnector::default(), CheckedResolver(resolver));
        Self { agent, timeout }
    }

    fn document(&self, url: &str) -> Result<Vec<u8>, MetadataError> {
        let request = self.agent.get(url).header(ACCEPT, "application/json");
        let mut response = request.call().map_err(|error| self.explain(error))?;
        check_status(response.status())?;
        check_content_type(response.headers())?;
        self.read(response.body_mut())
    }

    /// Reads the body up to the limit, whatever Content-Length says.
    fn read(&self, body: &mut Body) -> Result<Vec<u8>, MetadataError> {
        body.with_config().limit(MAX_BYTES).read_to_vec().map_err(|error| self.explain(error))
    }

    fn explain(&self, error: ureq::Error) -> MetadataError {
        match error {
            ureq::Error::Timeout(_) => MetadataError::TimedOut(self.timeout),
            ureq::Error::BodyExceedsLimit(_) => MetadataError::TooLong,
            ureq::Error::HostNotFound => MetadataError::NoSuchHost,
            // `CheckedResolver`'s.
            ureq::Error::Other(other) => match other.downcast::<MetadataError>() {
                Ok(refusal) => *refusal,
                Err(other) => MetadataError::Unreachable(other.to_string()),
            },
            other => MetadataError::Unreachable(other.to_string()),
        }
    }
}

/// A resolver that returns only addresses that may be connected to. The connector takes its addresses from here, so those
/// that are checked are those that are connected to, and a name that resolves differently a moment later (DNS rebinding) is
/// not resolved again. Hosts that are addresses pass through here, too.
#[derive(Debug)]
struct CheckedResolver<R>(R);

impl<R: Resolver> Resolver for CheckedResolver<R> {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.0.resolve(uri, config, timeout).map_err(|error| match error {
            // The operating system does not find the name.
            ureq::Error::Io(_) => ureq::Error::HostNotFound,
            other => other,
        })?;
        let is_http = uri.scheme() == Some(&Scheme::HTTP);
        let may_connect = |ip: IpAddr| if is_http { ip.is_loopback() } else { is_public(ip) };
        let mut allowed = self.empty();
        for address in found.iter().filter(|address| may_connect(address.ip())) {
            allowed.push(*address);
        }
        if allowed.is_empty() {
            let refusal = if is_http { MetadataError::NotLoopback } else { MetadataError::NotPublic };
            return Err(ureq::Error::Other(Box::new(refusal)));
        }
        Ok(allowed)
    }
}

/// Judges by the name only; the resolver checks its addresses.
fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(is_loopback_host)
}

/// Accepts 200 and no other success ("Client Information Discovery").
fn check_status(status: StatusCode) -> Result<(), MetadataError> {
    if status.is_redirection() {
        return Err(MetadataError::Redirect(status.as_u16()));
    }
    if status != StatusCode::OK {
        return Err(MetadataError::Status(status.as_u16()));
    }
    Ok(())
}

/// Accepts JSON only: what users upload to a web site must not count as a document of its host.
fn check_content_type(headers: &HeaderMap) -> Result<(), MetadataError> {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = match essence.strip_prefix("application/") {
        Some("json") => true,
        Some(subtype) => subtype.strip_suffix("+json").is_some_and(|name| !name.is_empty()),
        None => false,
    };
    if is_json { Ok(()) } else { Err(MetadataError::ContentType(shown(value))) }
}

#[cfg(test)]
mod tests;
