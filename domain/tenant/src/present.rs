//! What a tenant has, as its Management API says it, as far as it matters to an MCP server. Unknown members are ignored, and
//! absent ones have Auth0's defaults.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

/// What a tenant has. A part that is `None` could not be read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Present {
    /// The tenant's settings.
    pub settings: TenantSettings,
    /// All APIs.
    pub apis: Vec<ResourceServer>,
    /// The grants for the server's APIs.
    pub grants: Vec<ClientGrant>,
    /// All connections.
    pub connections: Vec<Connection>,
    /// All third-party clients.
    pub clients: Vec<Client>,
    /// All roles; the permissions of those that are wanted.
    pub roles: Vec<Role>,
    /// The users of the assignments, each with the roles it has. One that is not there does not exist.
    pub users: Vec<UserRoles>,
    /// The names of the wanted roles that no user has.
    pub unassigned_roles: Option<Vec<String>>,
    /// The login page's settings.
    pub prompts: Option<Prompts>,
    /// The names of active Rules.
    pub rules: Option<Vec<String>>,
    /// The names of active Hooks.
    pub hooks: Option<Vec<String>>,
    /// All organizations.
    pub organizations: Option<Vec<Organization>>,
    /// The custom domains that are ready.
    pub custom_domains: Option<Vec<String>>,
    /// The Management scopes without which something could not be read.
    pub unread: Vec<&'static str>,
}

/// `GET /tenants/settings`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct TenantSettings {
    /// `audience` or `compatibility`.
    pub resource_parameter_profile: Option<String>,
    /// Boolean settings.
    pub flags: TenantFlags,
    /// The audience of requests that name none.
    pub default_audience: Option<String>,
    /// Whether clients may be known by a metadata document.
    pub client_id_metadata_document_supported: Option<bool>,
    /// Whether authorization responses name their issuer (RFC 9207).
    pub authorization_response_iss_parameter_supported: Option<bool>,
    /// `strict` or `permissive`.
    pub dynamic_client_registration_security_mode: Option<String>,
}

/// `flags` of the settings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct TenantFlags {
    /// Whether clients may register themselves.
    pub enable_dynamic_client_registration: Option<bool>,
    /// Whether whoever consents reads descriptions of scopes.
    pub use_scope_descriptions_for_consent: Option<bool>,
}

/// An API of `GET /resource-servers`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct ResourceServer {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its identifier: the audience of its tokens.
    pub identifier: String,
    /// Whether it is Auth0's own.
    pub is_system: bool,
    /// Its scopes.
    pub scopes: Vec<ApiScope>,
    /// The algorithm of its tokens' signatures; absent: RS256.
    pub signing_alg: Option<String>,
    /// The profile of its tokens; absent: `access_token`.
    pub token_dialect: Option<String>,
    /// Whether scopes are limited by users' roles.
    pub enforce_policies: bool,
    /// Whether clients can get refresh tokens.
    pub allow_offline_access: bool,
    /// The lifetime of its access tokens, in seconds.
    pub token_lifetime: Option<u64>,
    /// How its tokens are encrypted, if they are.
    pub token_encryption: Option<Value>,
    /// Which clients may ask for its tokens.
    pub subject_type_authorization: SubjectTypeAuthorization,
}

/// A scope of an API.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct ApiScope {
    /// The scope-token.
    pub value: String,
    /// What it permits.
    pub description: Option<String>,
}

/// Which clients may ask for an API's tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct SubjectTypeAuthorization {
    /// For users.
    pub user: UserPolicy,
    /// For clients on their own behalf.
    pub client: ClientPolicy,
}

/// Which clients may ask for tokens for users.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct UserPolicy {
    /// `allow_all`, `deny_all` or `require_client_grant`; absent: `allow_all`.
    pub policy: Option<String>,
}

/// Which clients may ask for tokens on their own behalf.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct ClientPolicy {
    /// `deny_all` or `require_client_grant`; absent: `require_client_grant`.
    pub policy: Option<String>,
}

/// A grant of `GET /client-grants`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct ClientGrant {
    /// Its id.
    pub id: String,
    /// The client that has it.
    pub client_id: Option<String>,
    /// The clients that have it, unless they have one of their own.
    pub default_for: Option<DefaultFor>,
    /// The API.
    pub audience: String,
    /// The granted scopes.
    pub scope: Vec<String>,
    /// Whether every scope of the API is granted.
    pub allow_all_scopes: Option<bool>,
    /// For whom; absent: [`SubjectType::Client`].
    pub subject_type: SubjectType,
}

/// Which clients have a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DefaultFor {
    /// Every third-party client.
    ThirdPartyClients,
    /// Another value.
    #[serde(other)]
    Other,
}

/// On whose behalf a grant lets a client act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectType {
    /// On its own.
    #[default]
    Client,
    /// On a user's.
    User,
    /// Another value.
    #[serde(other)]
    Other,
}

/// A connection of `GET /connections`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Connection {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The name that the login page shows.
    pub display_name: Option<String>,
    /// Its kind, such as `auth0` for a database.
    pub strategy: String,
    /// Whether third-party clients can use it.
    pub is_domain_connection: bool,
}

/// A client of `GET /clients`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Client {
    /// Its id.
    pub client_id: String,
    /// Its name.
    pub name: String,
    /// The URL of its metadata document.
    pub external_client_id: Option<String>,
}

/// A role of `GET /roles`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Role {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it permits; read by another request.
    #[serde(skip)]
    pub permissions: BTreeSet<Permission>,
}

/// A permission of `GET /roles/{id}/permissions`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, serde::Serialize)]
pub struct Permission {
    /// The API.
    pub resource_server_identifier: String,
    /// The scope.
    pub permission_name: String,
}

/// A user and its roles.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserRoles {
    /// The user as the assignment names it.
    pub asked: String,
    /// The user's id.
    pub user_id: String,
    /// The names of its roles.
    pub roles: BTreeSet<String>,
}

/// An organization of `GET /organizations`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Organization {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `allow`, or `block`; absent: `block`.
    pub third_party_client_access: Option<String>,
}

/// `GET /prompts`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Prompts {
    /// `new` or `classic`; absent: `new`.
    pub universal_login_experience: Option<String>,
}

impl Present {
    /// Returns the API with this identifier.
    #[must_use]
    pub fn api(&self, identifier: &str) -> Option<&ResourceServer> {
        self.apis.iter().find(|api| api.identifier == identifier)
    }

    /// Returns the default grant for users of third-party clients at an API.
    pub(crate) fn default_grant(&self, audience: &str) -> Option<&ClientGrant> {
        self.grants.iter().find(|grant| grant.audience == audience && grant.is_default_for_users())
    }

    /// Returns the role with this name.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.iter().find(|role| role.name == name)
    }
}

impl ClientGrant {
    /// Returns whether it is the one that users of third-party clients get.
    #[must_use]
    pub fn is_default_for_users(&self) -> bool {
        self.default_for == Some(DefaultFor::ThirdPartyClients) && self.subject_type == SubjectType::User
    }

    pub(crate) fn grants_everything(&self) -> bool {
        self.allow_all_scopes == Some(true)
    }
}
