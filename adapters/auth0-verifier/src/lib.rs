//! The `TokenVerifier` port by an Auth0 tenant's keys.
