//! The metadata documents, rendered once: the protected resource's (RFC 9728) and, for clients of MCP 2025-03-26 that
//! look for it here, the authorization server's (RFC 8414), with the content of the tenant's own.

use bytes::Bytes;
use domain::{Scope, ScopeSet};
use serde_json::{Value, json};

use crate::settings::{HttpSettings, PublicEndpoint};

/// Both documents as JSON.
#[derive(Debug, Clone)]
pub(crate) struct Documents {
    pub(crate) protected_resource: Bytes,
    pub(crate) authorization_server: Bytes,
}

impl Documents {
    pub(crate) fn render(settings: &HttpSettings, endpoint: &PublicEndpoint, scopes: &ScopeSet) -> Self {
        let scopes: Vec<&str> = scopes.iter().map(Scope::as_str).collect();
        let protected_resource = json!({
            "resource": &*endpoint.resource,
            "authorization_servers": [settings.issuer],
            "scopes_supported": scopes,
            "bearer_methods_supported": ["header"],
            "resource_name": settings.resource_name,
        });
        let issuer = &settings.issuer;
        let base = issuer.strip_suffix('/').unwrap_or(issuer);
        let authorization_server = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{base}/authorize"),
            "token_endpoint": format!("{base}/oauth/token"),
            "registration_endpoint": format!("{base}/oidc/register"),
            "revocation_endpoint": format!("{base}/oauth/revoke"),
            "jwks_uri": format!("{base}/.well-known/jwks.json"),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_post", "client_secret_basic"],
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": scopes,
        });
        Self {
            protected_resource: rendered(protected_resource),
            authorization_server: rendered(authorization_server),
        }
    }
}

/// Renders a document without empty lists, which must be left out (RFC 9728 section 3.2, RFC 8414 section 3.2).
fn rendered(mut document: Value) -> Bytes {
    if let Value::Object(members) = &mut document {
        members.retain(|_, value| value.as_array().is_none_or(|items| !items.is_empty()));
    }
    document.to_string().into()
}
