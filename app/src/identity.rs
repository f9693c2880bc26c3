//! The identity provider whose tokens the server accepts. What the server knows of Auth0's tokens and issuers is behind it.

use std::sync::Arc;

use auth0_verifier::Auth0;
use jwks_verifier::IdentityProvider;

/// Returns the provider that [`Settings::load`](crate::Settings::load) reads the configuration for.
#[must_use]
pub fn provider() -> Arc<dyn IdentityProvider> {
    Arc::new(Auth0)
}
