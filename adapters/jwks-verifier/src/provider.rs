//! [`IdentityProvider`]: what differs between the providers of issuers, as far as this server depends on it.

use std::fmt::Debug;
use std::sync::Arc;

use domain::{Claims, Untrusted};
use serde_json::{Map, Value};
use url::Url;

/// A kind of identity provider, such as Auth0: where its issuers publish what, and what its access tokens say.
///
/// A provider proves and accepts nothing: signatures are proved before [`IdentityProvider::claims`] is called, and the
/// domain decides afterwards.
pub trait IdentityProvider: Debug + Send + Sync {
    /// Returns where an issuer publishes its keys.
    fn jwks_url(&self, issuer: &Url) -> Url;

    /// Reads the payload of a token whose signature was proved. `token_type` is the header's `typ`.
    /// [`claims::read`](crate::claims::read) does most of it.
    ///
    /// # Errors
    /// [`Untrusted`], for a payload that is not well-formed or lacks a required claim.
    fn claims(&self, payload: &[u8], token_type: Option<String>) -> Result<Claims, Untrusted>;

    /// Returns the values of `typ` that mark an access token; without regard to case (RFC 7515 section 4.1.9). The default
    /// is RFC 9068's.
    fn token_types(&self) -> &'static [&'static str] {
        &["at+jwt", "application/at+jwt"]
    }

    /// Returns what an issuer says of itself in its metadata (RFC 8414 section 2), `issuer` included and `scopes_supported`
    /// not, for clients of MCP 2025-03-26, which ask the MCP server for it.
    fn metadata(&self, issuer: &str) -> Map<String, Value>;

    /// Returns whether every issuer identifier of this provider ends with a slash, so that one without is a mistake.
    fn issuers_end_with_slash(&self) -> bool {
        false
    }

    /// Returns whether a client is a third party's, as far as its id tells: it registered itself, or is known by the URL of its
    /// metadata. The default knows those of URLs.
    fn is_third_party(&self, client_id: &str) -> bool {
        client_id.starts_with("https://") || client_id.starts_with("http://")
    }

    /// Returns advice for operators in the provider's own terms.
    fn hints(&self) -> Hints {
        Hints::default()
    }
}

/// Parts of messages to operators, in a provider's own terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hints {
    /// What the audience of tokens is called there, after "the" or "your".
    pub audience: &'static str,
    /// How clients are permitted to get refresh tokens, as an order.
    pub refresh_tokens: &'static str,
    /// What to know about the scopes of OpenID Connect, such as `openid`; empty, or a clause that begins with a comma.
    pub openid_scopes: &'static str,
    /// What to do where access tokens have neither `auth_time` nor `acr`; empty where they have both.
    pub login_claims: &'static str,
}

impl Default for Hints {
    fn default() -> Self {
        Self {
            audience: "API's identifier at the issuer",
            refresh_tokens: "permit refresh tokens at the issuer",
            openid_scopes: "",
            login_claims: "",
        }
    }
}

/// A provider that is chosen at run time.
impl IdentityProvider for Arc<dyn IdentityProvider> {
    fn jwks_url(&self, issuer: &Url) -> Url {
        (**self).jwks_url(issuer)
    }

    fn claims(&self, payload: &[u8], token_type: Option<String>) -> Result<Claims, Untrusted> {
        (**self).claims(payload, token_type)
    }

    fn token_types(&self) -> &'static [&'static str] {
        (**self).token_types()
    }

    fn metadata(&self, issuer: &str) -> Map<String, Value> {
        (**self).metadata(issuer)
    }

    fn issuers_end_with_slash(&self) -> bool {
        (**self).issuers_end_with_slash()
    }

    fn is_third_party(&self, client_id: &str) -> bool {
        (**self).is_third_party(client_id)
    }

    fn hints(&self) -> Hints {
        (**self).hints()
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::claims;

    /// Publishes keys at `/keys`, without TLS where the host is `insecure.example`.
    #[derive(Debug)]
    pub(crate) struct TestProvider;

    impl IdentityProvider for TestProvider {
        fn jwks_url(&self, issuer: &Url) -> Url {
            let keys = issuer.join("keys").unwrap();
            let insecure = || keys.as_str().replacen("https", "http", 1).parse().unwrap();
            if issuer.host_str() == Some("insecure.example") { insecure() } else { keys }
        }

        fn claims(&self, payload: &[u8], token_type: Option<String>) -> Result<Claims, Untrusted> {
            claims::read::<()>(payload, token_type).map(|(claims, ())| claims)
        }

        fn metadata(&self, _issuer: &str) -> Map<String, Value> {
            Map::new()
        }
    }
}
