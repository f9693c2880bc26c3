//! A client as the endpoints see it, whichever way the tenant learned of it.

use serde::{Deserialize, Serialize};

pub(crate) use crate::model::options::PublicKey;
use crate::model::options::{Client, GrantType, Secret, ThirdPartySecurityMode};
use crate::model::random::random_id;

/// A client of the options, a registered one, one of the Management API, or one with a metadata document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientRecord {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    /// Where the client's metadata document is, which is its `id`, too.
    pub(crate) external_client_id: Option<String>,
    pub(crate) app_type: Option<AppType>,
    pub(crate) token_endpoint_auth_method: AuthMethod,
    /// What the client authenticates with, unless the method is [`AuthMethod::None`].
    pub(crate) secret: Option<Secret>,
    /// What verifies the client's assertions (`private_key_jwt`); then nothing else proves it.
    pub(crate) assertion_key: Option<PublicKey>,
    pub(crate) redirect_uris: Vec<String>,
    pub(crate) logout_urls: Vec<String>,
    pub(crate) grant_types: Vec<GrantType>,
    pub(crate) trust: Trust,
    /// What the Management API keeps as it is sent.
    pub(crate) others: serde_json::Map<String, serde_json::Value>,
}

/// Auth0's `app_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AppType {
    Native,
    Spa,
    RegularWeb,
    NonInteractive,
    /// An API that exchanges tokens for others.
    ResourceServer,
}

/// `token_endpoint_auth_method` (RFC 7591 section 2). Secrets may come in the form or in the header, whichever it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuthMethod {
    /// A public client, which only PKCE protects.
    None,
    ClientSecretPost,
    ClientSecretBasic,
}

/// Auth0's distinction between first-party and third-party clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Defined by the options, or by the Management API as such.
    FirstParty,
    /// Registered by itself, identified by the URL of its metadata, or defined by the Management API as such.
    ThirdParty(ThirdPartySecurityMode),
}

impl Trust {
    /// Returns a new id for a client; `None` if the operating system provides no random numbers.
    pub(crate) fn new_id(self) -> Option<String> {
        let prefix = match self {
            Self::ThirdParty(ThirdPartySecurityMode::Strict) => "tpc_",
            Self::ThirdParty(ThirdPartySecurityMode::Permissive) | Self::FirstParty => "",
        };
        random_id().map(|id| format!("{prefix}{id}"))
    }
}

impl ClientRecord {
    /// Returns a public client that has no redirect URIs and no grants yet.
    pub(crate) fn new(id: &str, name: &str, trust: Trust) -> Self {
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            description: None,
            external_client_id: None,
            app_type: None,
            token_endpoint_auth_method: AuthMethod::None,
            secret: None,
            assertion_key: None,
            redirect_uris: Vec::new(),
            logout_urls: Vec::new(),
            grant_types: Vec::new(),
            trust,
            others: serde_json::Map::new(),
        }
    }

    pub(crate) fn is_third_party(&self) -> bool {
        matches!(self.trust, Trust::ThirdParty(_))
    }

    /// Returns whether the client is confidential.
    pub(crate) fn has_secret(&self) -> bool {
        self.token_endpoint_auth_method != AuthMethod::None
    }

    /// Returns whether the client proves itself at all.
    pub(crate) fn is_confidential(&self) -> bool {
        self.has_secret() || self.assertion_key.is_some()
    }

    /// Returns the identifier of the API that it is the client of (Auth0's Custom API Client).
    pub(crate) fn resource_server(&self) -> Option<&str> {
        self.app_type.filter(|app_type| *app_type == AppType::ResourceServer)?;
        self.others.get(RESOURCE_SERVER)?.as_str()
    }

    /// Returns whether it may exchange users' tokens for that API.
    pub(crate) fn may_exchange_tokens(&self) -> bool {
        let allowed = self.others.get(TOKEN_EXCHANGE).and_then(|exchange| exchange.get(ALLOWED_PROFILES));
        let allowed = allowed.and_then(serde_json::Value::as_array);
        allowed.is_some_and(|allowed| allowed.iter().any(|profile| profile == ON_BEHALF_OF))
    }

    /// Returns whether Auth0's rules for strict third parties apply.
    pub(crate) fn is_strict(&self) -> bool {
        self.trust == Trust::ThirdParty(ThirdPartySecurityMode::Strict)
    }

    /// Returns whether the client can get the scopes that identify users.
    pub(crate) fn may_identify_users(&self) -> bool {
        !self.is_strict()
    }
}

/// Members of a client at the Management API, and the profile that permits the on-behalf-of exchange.
pub(crate) const RESOURCE_SERVER: &str = "resource_server_identifier";
pub(crate) const TOKEN_EXCHANGE: &str = "token_exchange";
const ALLOWED_PROFILES: &str = "allow_any_profile_of_type";
const ON_BEHALF_OF: &str = "on_behalf_of_token_exchange";

impl ClientRecord {
    /// Returns a client of the options; `api` is the identifier of the first API.
    pub(crate) fn of_options(client: &Client, api: Option<&str>) -> Self {
        let mut record = Self::from(client);
        if client.on_behalf_of {
            record.app_type = Some(AppType::ResourceServer);
            record.grant_types.clear();
            record.others.extend(api.map(|api| (RESOURCE_SERVER.to_owned(), api.into())));
            let exchange = serde_json::json!({ALLOWED_PROFILES: [ON_BEHALF_OF]});
            record.others.insert(TOKEN_EXCHANGE.to_owned(), exchange);
        }
        record
    }
}

impl From<&Client> for ClientRecord {
    fn from(client: &Client) -> Self {
        Self {
            token_endpoint_auth_method: match client.secret {
                Some(_) => AuthMethod::ClientSecretPost,
                None => AuthMethod::None,
            },
            secret: client.secret.clone(),
            assertion_key: client.public_key.clone(),
            redirect_uris: client.redirect_uris.clone(),
            logout_urls: client.logout_urls.clone(),
            grant_types: client.grant_types.clone(),
            ..Self::new(&client.id, &client.name, Trust::FirstParty)
        }
    }
}
