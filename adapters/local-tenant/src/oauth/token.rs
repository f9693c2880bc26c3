//! Token requests without a login, issued access tokens, and the errors in between.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A request for an access token without a login, as [`crate::LocalTenant::issue_token`] and the control endpoint take it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// The user's key.
    pub user: String,
    /// The requested scopes, separated by spaces. `None` requests every assigned scope, an empty text none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The API's identifier; `None` stands for the tenant's first API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
}

/// An access token and its properties. Its `Debug` leaves the token out.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuedToken {
    /// The JWT.
    pub access_token: String,
    /// The token's lifetime in seconds.
    pub expires_in: u64,
    /// The granted scopes, separated by spaces: those that are both requested and assigned.
    pub scope: String,
}

/// The reason why no token is issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No user has this key.
    #[error("there is no user {asked:?}; the tenant has {}", .known.join(", "))]
    UnknownUser {
        /// The key asked for.
        asked: String,
        /// The keys of the tenant's users.
        known: Vec<String>,
    },
    /// No API has this identifier.
    #[error("there is no API {asked:?}; the tenant has {}", .known.join(", "))]
    UnknownAudience {
        /// The identifier asked for.
        asked: String,
        /// The identifiers of the tenant's APIs.
        known: Vec<String>,
    },
    /// The tenant has no API but the Management API.
    #[error("the tenant has no API yet")]
    NoApi,
    /// The API does not define the scope.
    #[error("the API does not define the scope {asked:?}; it has {}", .known.join(", "))]
    UnknownScope {
        /// The scope asked for.
        asked: String,
        /// The API's scopes.
        known: Vec<String>,
    },
    /// The operating system provides no random numbers, or signing failed.
    #[error("the token can't be signed")]
    Signing,
}

impl TokenError {
    /// Returns the OAuth error code.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::UnknownUser { .. } => "invalid_grant",
            // RFC 8707 section 2.
            Self::UnknownAudience { .. } | Self::NoApi => "invalid_target",
            Self::UnknownScope { .. } => "invalid_scope",
            Self::Signing => "server_error",
        }
    }
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("IssuedToken")
            .field("access_token", &"[redacted]")
            .field("expires_in", &self.expires_in)
            .field("scope", &self.scope)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_in_its_debug_text() {
        let token = IssuedToken { access_token: "ey.secret".into(), expires_in: 1, scope: "a".into() };
        let text = "IssuedToken { access_token: \"[redacted]\", expires_in: 1, scope: \"a\" }";
        assert_eq!(format!("{token:?}"), text);
    }
}
