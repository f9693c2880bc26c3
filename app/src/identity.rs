//! The identity provider whose tokens the server accepts: all that is known of Auth0 about tokens and issuers is behind it.

use std::sync::Arc;

use auth0_verifier::Auth0;
use jwks_verifier::IdentityProvider;

/// Returns the provider that [`Settings::load`](crate::Settings::load) reads the configuration for.
pub fn provider() -> Arc<dyn IdentityProvider> {
    Arc::new(Auth0)
}
