//! The discovery document at both well-known paths: what Auth0's says, as far as clients of an MCP server read it.

use serde_json::{Value, json};

use crate::model::directory::Settings;
use crate::model::scopes::STANDARD_SCOPES;
use crate::oauth::token_exchange;

const CLAIMS: [&str; 8] = ["aud", "email", "exp", "iat", "iss", "name", "org_id", "sub"];

/// Returns the metadata of OpenID Connect Discovery 1.0 section 3 and RFC 8414 section 2.
pub(crate) fn document(issuer: &str, settings: &Settings) -> Value {
    let at = |path: &str| format!("{issuer}{path}");
    let mut document = json!({
        "issuer": issuer,
        "authorization_endpoint": at("authorize"),
        "token_endpoint": at("oauth/token"),
        "userinfo_endpoint": at("userinfo"),
        "jwks_uri": at(".well-known/jwks.json"),
        "registration_endpoint": at("oidc/register"),
        "revocation_endpoint": at("oauth/revoke"),
        // Never the API's: that is what Auth0 publishes.
        "scopes_supported": STANDARD_SCOPES.map(|(name, _)| name),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials", token_exchange::GRANT],
        "code_challenge_methods_supported": ["S256"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": [
            "none", "client_secret_post", "client_secret_basic", "private_key_jwt",
        ],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256", "RS384", "PS256"],
        "claims_supported": CLAIMS,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
    });
    if settings.client_id_metadata_document_supported {
        document["client_id_metadata_document_supported"] = true.into();
    }
    if settings.authorization_response_iss_parameter_supported {
        document["authorization_response_iss_parameter_supported"] = true.into();
    }
    document
}
