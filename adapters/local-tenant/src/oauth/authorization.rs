//! What a code, a refresh token and in the end an access token stand for.

use std::sync::Arc;

use crate::model::client::ClientRecord;
use crate::model::scopes::OFFLINE_ACCESS;

/// Whom a token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The user of this key.
    User(String),
    /// The client itself.
    Client,
}

/// What a client may do, and for whom: what a code, a refresh token and in the end an access token stand for.
#[derive(Debug, Clone)]
pub(crate) struct Authorization {
    pub(crate) subject: Subject,
    pub(crate) client: Arc<ClientRecord>,
    /// Requested and assigned.
    pub(crate) scope: Vec<String>,
    /// OpenID Connect's, for the ID token.
    pub(crate) nonce: Option<String>,
    /// The API's identifier.
    pub(crate) audience: String,
    /// Under which of its names the tenant was asked.
    pub(crate) issuer: String,
}

impl Authorization {
    pub(crate) fn has(&self, scope: &str) -> bool {
        self.scope.iter().any(|granted| granted == scope)
    }

    /// Whether a refresh token goes with it.
    pub(crate) fn is_refreshable(&self) -> bool {
        self.has(OFFLINE_ACCESS)
    }
}

/// Auth0's `gty`: how the token came to be, if not by a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IssuedVia {
    AuthorizationCode,
    RefreshToken,
    ClientCredentials,
    TokenCommand,
}

impl IssuedVia {
    pub(crate) const fn gty(self) -> Option<&'static str> {
        match self {
            Self::AuthorizationCode => None,
            Self::RefreshToken => Some("refresh_token"),
            Self::ClientCredentials => Some("client-credentials"),
            // Auth0's for a user that no browser was involved in.
            Self::TokenCommand => Some("password"),
        }
    }
}
