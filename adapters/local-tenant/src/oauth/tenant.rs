//! The state that the endpoints share.

use crate::model::directory::{Directory, Settings, State};
use crate::model::options::{Api, Options};
use crate::model::rate_limit::RateLimit;
use crate::oauth::clients::Clients;
use crate::oauth::codes::GrantStore;
use crate::oauth::issuer::Issuer;
use crate::oauth::pending::PendingRequests;

/// A tenant, without its socket.
pub(crate) struct Tenant {
    pub(crate) issuer: Issuer,
    pub(crate) directory: Directory,
    pub(crate) clients: Clients,
    pub(crate) pending: PendingRequests,
    pub(crate) grants: GrantStore,
    /// Of the Management API.
    pub(crate) management_limit: RateLimit,
}

impl Tenant {
    pub(crate) fn new(issuer: Issuer) -> Self {
        let clients = Clients::new(&issuer.options().clients);
        let settings = Settings { client_id_metadata_document_supported: true, ..Settings::default() };
        let directory = Directory::new(State { settings, ..State::default() });
        Self {
            issuer,
            directory,
            clients,
            pending: PendingRequests::new(),
            grants: GrantStore::new(),
            management_limit: RateLimit::default(),
        }
    }

    pub(crate) fn options(&self) -> &Options {
        self.issuer.options()
    }

    /// Returns the present time by the tenant's clock.
    pub(crate) fn now(&self) -> i64 {
        self.issuer.clock().now()
    }

    /// Returns when a refresh token that is issued now expires.
    pub(crate) fn refresh_token_expiry(&self, api: &Api) -> i64 {
        let lifetime = api.refresh_token_lifetime_seconds;
        self.now().saturating_add(i64::try_from(lifetime).unwrap_or(i64::MAX))
    }
}
