//! Everything that the endpoints share.

use crate::model::options::{Api, Options};
use crate::oauth::clients::Clients;
use crate::oauth::codes::Grants;
use crate::oauth::issuer::Issuer;
use crate::oauth::pending::Pending;

/// A tenant, without its socket.
pub(crate) struct Tenant {
    pub(crate) issuer: Issuer,
    pub(crate) clients: Clients,
    pub(crate) pending: Pending,
    pub(crate) grants: Grants,
}

impl Tenant {
    pub(crate) fn new(issuer: Issuer) -> Self {
        let clients = Clients::new(&issuer.options().clients);
        Self { issuer, clients, pending: Pending::new(), grants: Grants::new() }
    }

    pub(crate) fn options(&self) -> &Options {
        self.issuer.options()
    }

    /// By the tenant's clock.
    pub(crate) fn now(&self) -> i64 {
        self.issuer.clock().now()
    }

    /// When a refresh token of now ends.
    pub(crate) fn refresh_until(&self, api: &Api) -> i64 {
        let life = api.refresh_token_lifetime_seconds;
        self.now().saturating_add(i64::try_from(life).unwrap_or(i64::MAX))
    }
}
