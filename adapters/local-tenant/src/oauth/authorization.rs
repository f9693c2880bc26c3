//! What a code, a refresh token and in the end an access token stand for.

use std::sync::Arc;

use crate::model::client::ClientRecord;
use crate::model::scopes::OFFLINE_ACCESS;

/// The subject of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The user with this key.
    User(String),
    /// The client itself, by the grant `client_credentials`.
    Client,
}

/// A grant to a client, by a user or on the client's own behalf.
#[derive(Debug, Clone)]
pub(crate) struct Authorization {
    pub(crate) subject: Subject,
    pub(crate) client: Arc<ClientRecord>,
    /// The granted scopes.
    pub(crate) scope: Vec<String>,
    /// OpenID Connect's `nonce`, for the ID token.
    pub(crate) nonce: Option<String>,
    /// The API's identifier; without one, the token is for userinfo alone.
    pub(crate) audience: Option<String>,
    /// The issuer identifier that the request was sent to.
    pub(crate) issuer: String,
    /// When the user logged in; `None` for a client itself.
    pub(crate) authenticated_at: Option<i64>,
    /// The clients that act for the subject, the present one first; none unless a token was exchanged.
    pub(crate) actors: Vec<String>,
}

impl Authorization {
    /// Returns whether this scope was granted.
    pub(crate) fn has(&self, scope: &str) -> bool {
        self.scope.iter().any(|granted| granted == scope)
    }

    /// Returns whether the client gets a refresh token.
    pub(crate) fn is_refreshable(&self) -> bool {
        self.has(OFFLINE_ACCESS)
    }
}

/// How an access token was obtained, which Auth0's `gty` claim names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IssuedVia {
    AuthorizationCode,
    RefreshToken,
    ClientCredentials,
    TokenExchange,
    /// Without a login, by the control endpoint.
    TokenCommand,
}

impl IssuedVia {
    /// Returns the value of `gty`, which a login does not have.
    pub(crate) const fn gty(self) -> Option<&'static str> {
        match self {
            Self::AuthorizationCode | Self::TokenExchange => None,
            Self::RefreshToken => Some("refresh_token"),
            Self::ClientCredentials => Some("client-credentials"),
            // What Auth0 has for a user who logged in without a browser.
            Self::TokenCommand => Some("password"),
        }
    }
}
