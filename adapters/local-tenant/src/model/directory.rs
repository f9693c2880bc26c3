//! What the Management API reads and changes: a tenant's settings, APIs, grants, connections, roles and organizations, with
//! Auth0's names, values and defaults. Clients are in `oauth/clients.rs`, users in the options.
//!
//! A request takes one snapshot and is decided by it; a change replaces the snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::model::options::{HOUR, MAX_LIFETIME};

/// The present state, shared by all endpoints.
#[derive(Debug, Default)]
pub(crate) struct Directory(Mutex<Arc<State>>);

/// One state of the directory.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) settings: Settings,
    /// The APIs, in the order of their creation; the Management API itself first.
    pub(crate) apis: Vec<ResourceServer>,
    pub(crate) grants: Vec<ClientGrant>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) roles: Vec<Role>,
    /// The ids of each user's roles, by the user's `sub`.
    pub(crate) assignments: BTreeMap<String, BTreeSet<String>>,
    pub(crate) organizations: Vec<Organization>,
    pub(crate) prompts: Prompts,
    /// Names of active Rules and Hooks, with which strict third-party clients can't log in.
    pub(crate) rules: Vec<String>,
    pub(crate) hooks: Vec<String>,
}

impl State {
    /// Returns the length of all entities as JSON.
    pub(crate) fn json_bytes(&self) -> usize {
        fn length(entities: &impl Serialize) -> usize {
            serde_json::to_vec(entities).map_or(0, |text| text.len())
        }
        length(&self.settings)
            + length(&self.apis)
            + length(&self.grants)
            + length(&self.connections)
            + length(&self.roles)
            + length(&self.assignments)
            + length(&self.organizations)
            + length(&(&self.prompts, &self.rules, &self.hooks))
    }
}

impl Directory {
    pub(crate) fn new(state: State) -> Self {
        Self(Mutex::new(Arc::new(state)))
    }

    /// Returns the present state.
    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.lock())
    }

    /// Changes the state, as a whole or not at all.
    pub(crate) fn change<T, E>(&self, change: impl FnOnce(&mut State) -> Result<T, E>) -> Result<T, E> {
        let mut present = self.lock();
        let mut next = State::clone(&present);
        let changed = change(&mut next)?;
        *present = Arc::new(next);
        Ok(changed)
    }

    fn lock(&self) -> MutexGuard<'_, Arc<State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `GET /api/v2/tenants/settings`, as far as it decides anything here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    pub(crate) friendly_name: String,
    pub(crate) flags: Flags,
    pub(crate) default_audience: String,
    /// Whether RFC 8707's `resource` is read.
    pub(crate) resource_parameter_profile: ResourceParameterProfile,
    pub(crate) client_id_metadata_document_supported: bool,
    pub(crate) authorization_response_iss_parameter_supported: bool,
    pub(crate) dynamic_client_registration_security_mode: SecurityMode,
    /// In hours.
    pub(crate) session_lifetime: f32,
    pub(crate) idle_session_lifetime: f32,
    /// What the Management API keeps as it is sent.
    #[serde(flatten)]
    pub(crate) others: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Flags {
    pub(crate) enable_dynamic_client_registration: bool,
    pub(crate) use_scope_descriptions_for_consent: bool,
    /// Those that decide nothing here.
    #[serde(flatten)]
    pub(crate) others: BTreeMap<String, bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ResourceParameterProfile {
    /// Only Auth0's own `audience` is read.
    #[default]
    Audience,
    /// `resource` is read, too; `audience` wins.
    Compatibility,
}

/// Auth0's `third_party_security_mode` and `dynamic_client_registration_security_mode`.
pub(crate) type SecurityMode = crate::model::options::ThirdPartySecurityMode;

/// An API of `GET /api/v2/resource-servers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "they are Auth0's")]
pub(crate) struct ResourceServer {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Fixed at creation.
    pub(crate) identifier: String,
    /// The Management API itself, which can't be changed.
    #[serde(default)]
    pub(crate) is_system: bool,
    #[serde(default)]
    pub(crate) scopes: Vec<ResourceServerScope>,
    pub(crate) signing_alg: SigningAlg,
    /// Absent until it is set, which means [`Dialect::AccessToken`].
    ///
    /// [`Dialect::AccessToken`]: crate::model::options::Dialect::AccessToken
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_dialect: Option<crate::model::options::Dialect>,
    /// RBAC.
    #[serde(default)]
    pub(crate) enforce_policies: bool,
    #[serde(default)]
    pub(crate) allow_offline_access: bool,
    #[serde(default)]
    pub(crate) skip_consent_for_verifiable_first_party_clients: bool,
    /// In seconds.
    pub(crate) token_lifetime: u64,
    pub(crate) subject_type_authorization: SubjectTypeAuthorization,
    /// JWE, when it is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_encryption: Option<serde_json::Value>,
    /// For third-party clients, in seconds. Of the options only: Auth0 has an hour.
    #[serde(skip, default = "hour")]
    pub(crate) third_party_token_lifetime: u64,
    /// Of refresh tokens, in seconds. Of the options only.
    #[serde(skip, default = "thirty_days")]
    pub(crate) refresh_token_lifetime: u64,
    /// What the Management API keeps as it is sent.
    #[serde(flatten)]
    pub(crate) others: serde_json::Map<String, serde_json::Value>,
}

const fn hour() -> u64 {
    HOUR
}

const fn thirty_days() -> u64 {
    MAX_LIFETIME
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResourceServerScope {
    pub(crate) value: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum SigningAlg {
    #[default]
    RS256,
    RS512,
    PS256,
    HS256,
}

/// Which clients may ask for an API's tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SubjectTypeAuthorization {
    pub(crate) user: UserPolicy,
    pub(crate) client: ClientPolicy,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct UserPolicy {
    pub(crate) policy: AccessPolicy,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClientPolicy {
    pub(crate) policy: AccessPolicy,
}

impl Default for ClientPolicy {
    fn default() -> Self {
        Self { policy: AccessPolicy::RequireClientGrant }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AccessPolicy {
    #[default]
    AllowAll,
    DenyAll,
    RequireClientGrant,
}

/// A grant of `GET /api/v2/client-grants`: to one client, or to all third-party clients that have none of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClientGrant {
    pub(crate) id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_id: Option<String>,
    /// `third_party_clients`, unless there is a `client_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) default_for: Option<String>,
    pub(crate) audience: String,
    #[serde(default)]
    pub(crate) scope: Vec<String>,
    #[serde(default)]
    pub(crate) allow_all_scopes: bool,
    /// [`SubjectType::Client`] when a request leaves it out.
    #[serde(default)]
    pub(crate) subject_type: SubjectType,
    /// What the Management API keeps as it is sent.
    #[serde(flatten)]
    pub(crate) others: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SubjectType {
    #[default]
    Client,
    User,
}

/// A connection of `GET /api/v2/connections`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "they are Auth0's")]
pub(crate) struct Connection {
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) display_name: Option<String>,
    /// `auth0` for a database.
    pub(crate) strategy: String,
    /// Whether third-party clients can use it.
    #[serde(default)]
    pub(crate) is_domain_connection: bool,
    /// The first-party clients that may use it (`GET /connections/{id}/clients`).
    #[serde(default)]
    pub(crate) enabled_clients: Vec<String>,
    #[serde(default)]
    pub(crate) options: serde_json::Map<String, serde_json::Value>,
    /// What the Management API keeps as it is sent.
    #[serde(flatten)]
    pub(crate) others: serde_json::Map<String, serde_json::Value>,
}

/// A role of `GET /api/v2/roles`, with its permissions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Role {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) permissions: BTreeSet<Permission>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Permission {
    pub(crate) resource_server_identifier: String,
    pub(crate) permission_name: String,
}

/// An organization of `GET /api/v2/organizations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Organization {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) third_party_client_access: ThirdPartyClientAccess,
    /// What the Management API keeps as it is sent.
    #[serde(flatten)]
    pub(crate) others: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ThirdPartyClientAccess {
    #[default]
    Block,
    Allow,
}

/// `GET /api/v2/prompts`, as far as it decides anything here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Prompts {
    pub(crate) universal_login_experience: LoginExperience,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) identifier_first: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) webauthn_platform_first_factor: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LoginExperience {
    New,
    Classic,
}

impl Default for Prompts {
    fn default() -> Self {
        Self {
            universal_login_experience: LoginExperience::New,
            identifier_first: None,
            webauthn_platform_first_factor: None,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            friendly_name: String::new(),
            flags: Flags::default(),
            default_audience: String::new(),
            resource_parameter_profile: ResourceParameterProfile::default(),
            client_id_metadata_document_supported: false,
            authorization_response_iss_parameter_supported: false,
            dynamic_client_registration_security_mode: SecurityMode::Strict,
            session_lifetime: 168.0,
            idle_session_lifetime: 72.0,
            others: serde_json::Map::new(),
        }
    }
}
