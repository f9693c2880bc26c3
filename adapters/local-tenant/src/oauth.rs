//! What the endpoints decide, by the OAuth and OpenID Connect specifications and by Auth0's rules, without HTTP.

pub(crate) mod access;
pub(crate) mod account;
pub(crate) mod authorization;
pub(crate) mod authorize;
pub(crate) mod claims;
pub(crate) mod client_assertion;
pub(crate) mod client_authentication;
pub(crate) mod client_metadata;
pub(crate) mod clients;
pub(crate) mod codes;
pub(crate) mod discovery;
pub(crate) mod error;
pub(crate) mod issuer;
pub(crate) mod log;
pub(crate) mod parameters;
pub(crate) mod pending;
pub(crate) mod registration;
pub(crate) mod scopes;
pub(crate) mod target;
pub(crate) mod tenant;
pub(crate) mod token;
pub(crate) mod token_endpoint;
pub(crate) mod token_exchange;

#[cfg(test)]
mod tests;
