//! Auth0 as an [`IdentityProvider`]: everything that this server knows of Auth0's issuers and access tokens, and advice for
//! operators of a tenant. Keys, signatures and the claims that every issuer has are `jwks_verifier`'s.

mod claims;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;

use domain::{Claims, Untrusted};
use jwks_verifier::{Hints, IdentityProvider, JwksVerifier};
use serde_json::{Map, Value, json};
use url::Url;

/// Verifies the access tokens of an Auth0 tenant.
pub type Auth0Verifier = JwksVerifier<Auth0>;

/// The identity provider of an Auth0 tenant, on its own host or behind a custom domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Auth0;

const JWKS_PATH: &str = "/.well-known/jwks.json";

impl IdentityProvider for Auth0 {
    fn jwks_url(&self, issuer: &Url) -> Url {
        let mut url = issuer.clone();
        url.set_path(&format!("{}{JWKS_PATH}", issuer.path().trim_end_matches('/')));
        url
    }

    fn claims(&self, payload: &[u8], token_type: Option<String>) -> Result<Claims, Untrusted> {
        claims::read(payload, token_type)
    }

    /// RFC 9068's, and that of Auth0's own dialect. An ID token also says `JWT`: the audience check is what stops it.
    fn token_types(&self) -> &'static [&'static str] {
        &["at+jwt", "application/at+jwt", "JWT"]
    }

    fn metadata(&self, issuer: &str) -> Map<String, Value> {
        let base = issuer.strip_suffix('/').unwrap_or(issuer);
        let metadata = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{base}/authorize"),
            "token_endpoint": format!("{base}/oauth/token"),
            "registration_endpoint": format!("{base}/oidc/register"),
            "revocation_endpoint": format!("{base}/oauth/revoke"),
            "jwks_uri": format!("{base}{JWKS_PATH}"),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_post", "client_secret_basic"],
            "code_challenge_methods_supported": ["S256"],
        });
        if let Value::Object(members) = metadata { members } else { Map::new() }
    }

    fn issuers_end_with_slash(&self) -> bool {
        true
    }

    /// Clients that registered themselves have ids that begin so, unless the tenant's security mode for them is permissive.
    fn is_third_party(&self, client_id: &str) -> bool {
        ["tpc_", "https://", "http://"].iter().any(|beginning| client_id.starts_with(beginning))
    }

    fn hints(&self) -> Hints {
        Hints {
            audience: "API's identifier in Auth0",
            refresh_tokens: "allow offline access in the API's settings in Auth0",
            openid_scopes: ", and Auth0 gives it to no client that registered itself",
            login_claims: "Auth0 has neither auth_time nor acr in access tokens: have an Action set a custom claim, and name that",
        }
    }
}

#[cfg(test)]
mod tests {
    use jwks_verifier::JwksUrl;

    use super::*;

    #[test]
    fn a_tenants_keys_are_at_their_well_known_place() {
        for (issuer, expected) in [
            ("https://t.auth0.com/", "https://t.auth0.com/.well-known/jwks.json"),
            ("https://t.auth0.com", "https://t.auth0.com/.well-known/jwks.json"),
            ("https://h/a/b", "https://h/a/b/.well-known/jwks.json"),
            ("https://h/a/", "https://h/a/.well-known/jwks.json"),
            ("http://localhost:3/", "http://localhost:3/.well-known/jwks.json"),
            ("http://127.9.9.9/", "http://127.9.9.9/.well-known/jwks.json"),
            ("http://[::1]:3/", "http://[::1]:3/.well-known/jwks.json"),
        ] {
            let url = JwksUrl::of_issuer(&Auth0, &issuer.parse().unwrap()).unwrap();
            assert_eq!(url.as_url().as_str(), expected, "{issuer}");
        }
    }

    #[test]
    fn the_metadata_names_the_same_keys() {
        let issuer = "https://t.auth0.com/";
        let keys = Auth0.jwks_url(&issuer.parse().unwrap());
        assert_eq!(Auth0.metadata(issuer)["jwks_uri"], keys.as_str());
    }
}
