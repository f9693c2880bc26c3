//! A client as the endpoints see it, whichever way the tenant learned of it.

use crate::model::options::{Client, GrantType, Secret, ThirdPartySecurityMode};

/// A client, wherever it is known from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClientRecord {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) secret: Option<Secret>,
    pub(crate) redirect_uris: Vec<String>,
    pub(crate) logout_urls: Vec<String>,
    pub(crate) grant_types: Vec<GrantType>,
    pub(crate) permissions: Vec<String>,
    pub(crate) trust: Trust,
}

/// Who vouches for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The options.
    FirstParty,
    /// Nobody: Auth0's "third-party client".
    ThirdParty(ThirdPartySecurityMode),
}

impl ClientRecord {
    pub(crate) fn is_third_party(&self) -> bool {
        matches!(self.trust, Trust::ThirdParty(_))
    }

    /// Whether it may learn who a user is.
    pub(crate) fn may_identify_users(&self) -> bool {
        self.trust != Trust::ThirdParty(ThirdPartySecurityMode::Strict)
    }
}

impl From<&Client> for ClientRecord {
    fn from(client: &Client) -> Self {
        Self {
            id: client.id.clone(),
            name: client.name.clone(),
            secret: client.secret.clone(),
            redirect_uris: client.redirect_uris.clone(),
            logout_urls: client.logout_urls.clone(),
            grant_types: client.grant_types.clone(),
            permissions: client.permissions.clone(),
            trust: Trust::FirstParty,
        }
    }
}
