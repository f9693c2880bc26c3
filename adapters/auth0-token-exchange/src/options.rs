//! [`Options`]: where tokens are exchanged, as whom, and how much of anything there may be.

use std::fmt;
use std::time::Duration;

use url::Url;

use crate::assertion::SigningKey;

/// Where tokens are exchanged, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The tenant's issuer identifier, with its slash: the `aud` of a signed assertion.
    pub issuer: String,
    /// The tenant's token endpoint.
    pub token_endpoint: Url,
    /// The client of this server's API (Auth0's Custom API Client).
    pub client_id: String,
    /// What it proves itself with.
    pub credentials: Credentials,
    /// For one exchange, from the connection to the last byte, and once more for its turn before.
    pub timeout: Duration,
    /// The maximum number of tokens that are kept, and of exchanges at a time.
    pub kept_tokens: usize,
}

/// What a client proves itself with at the token endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A shared secret (`client_secret_post`, RFC 6749 section 2.3.1).
    Secret(ClientSecret),
    /// A signed assertion (`private_key_jwt`, RFC 7523 section 2.2).
    PrivateKey(SigningKey),
}

/// A client secret. Its `Debug` leaves it out.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSecret(String);

impl ClientSecret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ClientSecret(redacted)")
    }
}
