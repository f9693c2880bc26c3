//! Client ID Metadata Documents (draft-ietf-oauth-client-id-metadata-document; "Client ID Metadata Documents" of MCP's
//! authorization specification): what a client says of itself under the URL that is its `client_id`.
//!
//! Anyone who can send an authorization request chooses that URL, so fetching it is where a stranger makes this machine
//! connect to somewhere. It owns everything that keeps this harmless: which URLs are fetched, which addresses are
//! connected to, and how much is read for how long. The rest of the tenant sees only [`ClientMetadata`]. Whether a
//! redirect URI in it is acceptable is `redirect`'s to say.
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

/// For everything, from the name to the last byte: someone waits for a login page meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);
const USER_AGENT: &str = concat!("fastmcp-auth0/", env!("CARGO_PKG_VERSION"));

/// Whether a `client_id` is one of these: an https URL with a path, or http on loopback (this is a development tenant).
pub(crate) fn is_document_url(client_id: &str) -> bool {
    let Ok(url) = Url::parse(client_id) else {
        return false;
    };
    let is_bare = url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    // "Client Identifier URL" compares as text and forbids dot segments. What the parser would have changed is not one
    // name for one document; dot segments, however escaped, are among that, and so are `//host\@other` and `0x7f.1`.
    let is_canonical = url.as_str() == client_id;
    let has_host = match url.scheme() {
        "https" => url.has_host(),
        "http" => is_loopback(&url),
        _ => false,
    };
    has_host && is_bare && is_canonical && url.path() != "/"
}

/// Checks that a document may be fetched for whoever asks. One on this machine comes from whatever listens there, which may
/// take a GET without a browser's headers for a command of its user's. So no web page makes the tenant send one, and no
/// command gets to choose the parameters.
pub(crate) fn check_sender(client_id: &str, from_browser: bool) -> Result<(), MetadataError> {
    // Only loopback goes by http.
    let Some(document) = client_id.strip_prefix("http:") else {
        return Ok(());
    };
    if document.contains('?') {
        return Err(MetadataError::LoopbackQuery);
    }
    if from_browser { Err(MetadataError::LoopbackForBrowser) } else { Ok(()) }
}

/// Fetches documents.
pub(crate) struct MetadataFetcher {
    agent: Agent,
    timeout: Duration,
}

impl MetadataFetcher {
    pub(crate) fn new() -> Self {
        Self::with(PATIENCE, DefaultResolver::default())
    }

    /// Blocks until the document is there or can't be had, for at most 5 seconds: call it on a blocking thread.
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
            // "Client Information Discovery" forbids following one; it would also lead past `is_document_url`.
            .max_redirects(0)
            // Statuses are judged below, redirects among them.
            .http_status_as_error(false)
            .timeout_global(Some(timeout))
            // A proxy would resolve the name itself, past the check of its addresses.
            .proxy(None)
            // A kept connection would be used again without a look at where the name leads now.
            .max_idle_connections(0)
            .user_agent(USER_AGENT)
            .build();
        let agent = Agent::with_parts(config, DefaultConnector::default(), Guarded(resolver));
        Self { agent, timeout }
    }

    fn document(&self, url: &str) -> Result<Vec<u8>, MetadataError> {
        let request = self.agent.get(url).header(ACCEPT, "application/json");
        let mut response = request.call().map_err(|error| self.explain(error))?;
        check_status(response.status())?;
        check_content_type(response.headers())?;
        self.read(response.body_mut())
    }

    /// Counts what arrives; Content-Length is the other side's word.
    fn read(&self, body: &mut Body) -> Result<Vec<u8>, MetadataError> {
        body.with_config().limit(MAX_BYTES).read_to_vec().map_err(|error| self.explain(error))
    }

    fn explain(&self, error: ureq::Error) -> MetadataError {
        match error {
            ureq::Error::Timeout(_) => MetadataError::TimedOut(self.timeout),
            ureq::Error::BodyExceedsLimit(_) => MetadataError::TooLong,
            ureq::Error::HostNotFound => MetadataError::NoSuchHost,
            // The resolver's, below.
            ureq::Error::Other(other) => match other.downcast::<MetadataError>() {
                Ok(refusal) => *refusal,
                Err(other) => MetadataError::Unreachable(other.to_string()),
            },
            other => MetadataError::Unreachable(other.to_string()),
        }
    }
}

/// Resolves to the addresses that may be connected to, and to nothing else. It stands where the connector takes its
/// addresses from, so that what is checked is what is connected to: a name that answers differently a moment later (DNS
/// rebinding) is not asked again. Hosts that are addresses come through here too.
#[derive(Debug)]
struct Guarded<R>(R);

impl<R: Resolver> Resolver for Guarded<R> {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.0.resolve(uri, config, timeout).map_err(|error| match error {
            // The operating system's words for a name that it does not find.
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

/// By its name only; the resolver checks what the name stands for.
fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(is_loopback_host)
}

/// "Client Information Discovery": 200, and no other success.
fn check_status(status: StatusCode) -> Result<(), MetadataError> {
    if status.is_redirection() {
        return Err(MetadataError::Redirect(status.as_u16()));
    }
    if status != StatusCode::OK {
        return Err(MetadataError::Status(status.as_u16()));
    }
    Ok(())
}

/// A page that shows what people upload is not a place where they speak for its host.
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
