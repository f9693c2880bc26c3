//! The state that the endpoints share.

use crate::model::client::{AppType, AuthMethod, ClientRecord, Trust};
use crate::model::directory::{Directory, ResourceServer};
use crate::model::options::{GrantType, Options, Secret};
use crate::model::random::random_id;
use crate::model::rate_limit::RateLimit;
use crate::oauth::access;
use crate::oauth::clients::Clients;
use crate::oauth::codes::GrantStore;
use crate::oauth::issuer::Issuer;
use crate::oauth::pending::PendingRequests;
use crate::oauth::scopes::assigned_to;

/// A tenant, without its socket.
pub(crate) struct Tenant {
    pub(crate) issuer: Issuer,
    pub(crate) directory: Directory,
    pub(crate) clients: Clients,
    pub(crate) pending: PendingRequests,
    pub(crate) grants: GrantStore,
    management: ManagementClient,
    /// Of the Management API.
    pub(crate) management_limit: RateLimit,
}

/// The credentials of the client that may do everything at the Management API.
pub(crate) struct ManagementClient {
    pub(crate) id: String,
    pub(crate) secret: Secret,
}

impl Tenant {
    /// Returns the tenant of the issuer's options; `None` if the operating system provides no random numbers.
    pub(crate) fn new(issuer: Issuer) -> Option<Self> {
        let management = ManagementClient {
            id: Trust::FirstParty.new_id()?,
            secret: Secret::new(&format!("{}{}", random_id()?, random_id()?)),
        };
        let directory = Directory::new(issuer.options().seed(&issuer.url(), &management.id));
        let api = issuer.options().api.identifier.as_deref();
        let configured = issuer.options().clients.iter().map(|client| ClientRecord::of_options(client, api));
        let clients = Clients::new(std::iter::once(management.record()).chain(configured));
        let (pending, grants) = (PendingRequests::new(), GrantStore::new());
        let management_limit = RateLimit::default();
        Some(Self { issuer, directory, clients, pending, grants, management, management_limit })
    }

    pub(crate) fn options(&self) -> &Options {
        self.issuer.options()
    }

    pub(crate) const fn management_client(&self) -> &ManagementClient {
        &self.management
    }

    /// Returns the present time by the tenant's clock.
    pub(crate) fn now(&self) -> i64 {
        self.issuer.clock().now()
    }

    /// Returns when a refresh token that is issued now expires.
    pub(crate) fn refresh_token_expiry(&self, api: &ResourceServer) -> i64 {
        self.now().saturating_add(i64::try_from(api.refresh_token_lifetime).unwrap_or(i64::MAX))
    }

    /// Returns the scopes of the first API that the user's roles assign; none for an unknown user.
    pub(crate) fn scopes_of(&self, user_key: &str) -> Vec<String> {
        let state = self.directory.state();
        let (Some(user), Some(api)) = (self.options().user(user_key), access::own_apis(&state).next()) else {
            return Vec::new();
        };
        assigned_to(&state, user, api).into_iter().map(str::to_owned).collect()
    }
}

impl ManagementClient {
    fn record(&self) -> ClientRecord {
        ClientRecord {
            app_type: Some(AppType::NonInteractive),
            token_endpoint_auth_method: AuthMethod::ClientSecretPost,
            secret: Some(self.secret.clone()),
            grant_types: vec![GrantType::ClientCredentials],
            ..ClientRecord::new(&self.id, "Management", Trust::FirstParty)
        }
    }
}
