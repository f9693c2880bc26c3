//! An Auth0-shaped authorization server for development and tests.
