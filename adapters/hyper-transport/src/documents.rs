//! The metadata documents, rendered once: the protected resource's (RFC 9728) and, for clients of MCP 2025-03-26 that
//! look for it here, the authorization server's (RFC 8414), which says what the issuer's own says.

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
        let mut authorization_server = settings.authorization_server.clone();
        authorization_server.insert("scopes_supported".to_owned(), json!(scopes));
        Self {
            protected_resource: rendered(protected_resource),
            authorization_server: rendered(authorization_server.into()),
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
