//! Errors of the OAuth specifications, without HTTP.

use crate::oauth::parameters::Repeated;
use crate::oauth::token::TokenError;

/// An error response of the OAuth specifications, by error code (RFC 6749 sections 4.1.2.1 and 5.2, RFC 6750 section 3.1,
/// RFC 7591 section 3.2.2, RFC 8707 section 2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OAuthError {
    pub(crate) code: &'static str,
    pub(crate) description: String,
    /// The HTTP status, where it is not the one that the code has by itself.
    pub(crate) status: Option<u16>,
}

impl OAuthError {
    /// Creates an error with this code.
    pub(crate) fn new(code: &'static str, description: impl Into<String>) -> Self {
        Self { code, description: description.into(), status: None }
    }

    /// Sets the HTTP status.
    pub(crate) fn with_status(self, status: u16) -> Self {
        Self { status: Some(status), ..self }
    }

    /// Creates an `invalid_grant` error (RFC 6749 section 5.2).
    pub(crate) fn invalid_grant(description: &str) -> Self {
        Self::new("invalid_grant", description)
    }

    /// Creates the error for when the operating system provides no random numbers.
    pub(crate) fn no_randomness() -> Self {
        Self::new("server_error", "the operating system provides no random numbers")
    }
}

impl From<Repeated> for OAuthError {
    fn from(Repeated(name): Repeated) -> Self {
        Self::new("invalid_request", format!("{name} is there more than once (RFC 6749 section 3.1)"))
    }
}

impl From<TokenError> for OAuthError {
    fn from(error: TokenError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}
