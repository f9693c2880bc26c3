//! What a tenant consists of: its options, clients, keys, clock and faults. Nothing here knows an endpoint.

pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod directory;
pub(crate) mod faults;
pub(crate) mod keys;
pub(crate) mod options;
pub(crate) mod random;
pub(crate) mod rate_limit;
pub(crate) mod redirect_uri;
pub(crate) mod scopes;
