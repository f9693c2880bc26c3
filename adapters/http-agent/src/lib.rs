//! What the adapters' requests with `ureq` have in common; what they ask for and how they judge answers is theirs.
//!
//! Redirects are answers: only the configured address is trusted. An HTTP proxy is used if the environment names one
//! (`ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`), as companies' networks need it; TLS runs through it, so it sees
//! the host only. The certificates are the platform's, on Linux also those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.

use std::sync::Arc;

use syntax::loopback::is_loopback_host;
use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::typestate::AgentScope;
use url::Url;

/// What a head of an answer may take, in bytes, and a line of a request's head. A connection has a buffer of each, which the allocator
/// keeps afterwards; the library's own are 128 KiB.
const INPUT_BUFFER: usize = 64 * 1024;
const OUTPUT_BUFFER: usize = 32 * 1024;

/// What requests say of who sends them.
pub const USER_AGENT: &str = concat!("fastmcp-auth0/", env!("CARGO_PKG_VERSION"));

/// Returns the configuration of an agent for requests to this address. Plain http goes to loopback alone, and only where the
/// address says so; loopback is never reached through a proxy.
#[must_use]
pub fn for_url(url: &Url) -> ConfigBuilder<AgentScope> {
    let is_loopback = url.host_str().is_some_and(is_loopback_host);
    let config = for_any().https_only(!is_loopback || url.scheme() == "https");
    if is_loopback { config.proxy(None) } else { config }
}

/// Returns the configuration of an agent for requests to addresses of any kind.
#[must_use]
pub fn for_any() -> ConfigBuilder<AgentScope> {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .max_redirects(0)
        // Whoever asks judges statuses, redirects among them.
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .input_buffer_size(INPUT_BUFFER)
        .output_buffer_size(OUTPUT_BUFFER)
        .user_agent(USER_AGENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_goes_to_loopback_alone() {
        // A port on which no server listens.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let plain = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        let call = |url: &str| {
            let agent = for_url(&url.parse().unwrap()).build().new_agent();
            agent.get(&plain).call().unwrap_err()
        };
        for secure in ["https://t.example/", "http://t.example/", "https://127.0.0.1/"] {
            assert!(matches!(call(secure), ureq::Error::RequireHttpsOnly(_)), "{secure}");
        }
        assert!(!matches!(call(&plain), ureq::Error::RequireHttpsOnly(_)));
    }
}
