//! A client as the endpoints see it, whichever way the tenant learned of it.

use crate::model::options::{Client, GrantType, Secret, ThirdPartySecurityMode};

/// A client of the options, a registered one, or one with a metadata document.
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

/// Auth0's distinction between first-party and third-party clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Defined by the options.
    FirstParty,
    /// Registered by itself, or identified by the URL of its metadata.
    ThirdParty(ThirdPartySecurityMode),
}

impl ClientRecord {
    pub(crate) fn is_third_party(&self) -> bool {
        matches!(self.trust, Trust::ThirdParty(_))
    }

    /// Returns whether the client can get the scopes that identify users.
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
