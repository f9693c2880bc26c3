//! What a tenant's directory has at the start: that of the options, or that of a new tenant of Auth0's.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Map;

use super::{Api, Client, DAY, GrantType, HOUR, MAX_LIFETIME, Options};
use crate::model::directory::{
    AccessPolicy, ClientGrant, ClientPolicy, Connection, Flags, Organization, Permission,
    ResourceParameterProfile, ResourceServer, ResourceServerScope, Role, Settings, SigningAlg, State,
    SubjectType, SubjectTypeAuthorization, ThirdPartyClientAccess, UserPolicy,
};

/// What the scopes of the Management API are about.
const MANAGED: [&str; 16] = [
    "resource_servers",
    "client_grants",
    "clients",
    "client_keys",
    "connections",
    "roles",
    "tenant_settings",
    "custom_domains",
    "signing_keys",
    "prompts",
    "logs",
    "rules",
    "hooks",
    "organizations",
    "users",
    "role_members",
];
const ACTIONS: [&str; 4] = ["read", "create", "update", "delete"];
/// The value of a grant's `default_for`.
pub(crate) const THIRD_PARTY_CLIENTS: &str = "third_party_clients";

/// Returns the scopes of the Management API.
fn management_scopes() -> impl Iterator<Item = String> {
    MANAGED.iter().flat_map(|managed| ACTIONS.map(|action| format!("{action}:{managed}")))
}

impl Options {
    /// Returns the directory that the tenant begins with. `management_client` gets all scopes of the Management API.
    pub(crate) fn seed(&self, issuer: &str, management_client: &str) -> State {
        let system = system_api(issuer);
        let mut grants = vec![ClientGrant {
            client_id: Some(management_client.to_owned()),
            default_for: None,
            scope: management_scopes().collect(),
            allow_all_scopes: false,
            subject_type: SubjectType::Client,
            ..default_grant(&system.identifier)
        }];
        let mut apis = vec![system];
        if !self.fresh {
            apis.extend(self.apis().filter_map(api));
            grants.extend(apis.iter().skip(1).map(|api| default_grant(&api.identifier)));
            let machines =
                self.clients.iter().filter(|it| it.grant_types.contains(&GrantType::ClientCredentials));
            grants.extend(
                machines.flat_map(|client| apis.iter().skip(1).map(|api| machine_grant(client, api))),
            );
            // The first two are the Management API and the first one of the options.
            let exchangers = self.clients.iter().filter(|client| client.on_behalf_of);
            grants.extend(
                exchangers.flat_map(|client| apis.iter().skip(2).map(|api| exchange_grant(client, api))),
            );
        }
        number(apis.iter_mut().map(|api| &mut api.id), |index| format!("{index:024x}"));
        number(grants.iter_mut().map(|grant| &mut grant.id), |index| format!("cgr_{index:016}"));
        let roles = if self.fresh { Vec::new() } else { self.seeded_roles() };
        State {
            settings: self.seeded_settings(),
            assignments: self.seeded_assignments(&roles),
            organizations: self.seeded_organizations(),
            connections: vec![database(!self.fresh)],
            apis,
            grants,
            roles,
            ..State::default()
        }
    }

    fn seeded_settings(&self) -> Settings {
        if self.fresh {
            return Settings::default();
        }
        Settings {
            flags: Flags {
                enable_dynamic_client_registration: true,
                use_scope_descriptions_for_consent: true,
                ..Flags::default()
            },
            // A request that names no API is for the first one.
            default_audience: self.api.identifier.clone().unwrap_or_default(),
            resource_parameter_profile: ResourceParameterProfile::Compatibility,
            client_id_metadata_document_supported: true,
            authorization_response_iss_parameter_supported: self
                .authorization_response_iss_parameter_supported,
            dynamic_client_registration_security_mode: self.third_party_security_mode,
            ..Settings::default()
        }
    }

    /// Returns the roles, each with its permissions at every API that defines them.
    fn seeded_roles(&self) -> Vec<Role> {
        let permissions = |role: &super::Role| {
            let of_api = |api: &Api| {
                let defined: BTreeSet<&str> = api.scope_names().collect();
                let assigned = role.permissions.iter().filter(|name| defined.contains(name.as_str()));
                let permission = |name: &String| Permission {
                    resource_server_identifier: api.identifier.clone().unwrap_or_default(),
                    permission_name: name.clone(),
                };
                assigned.map(permission).collect::<Vec<_>>()
            };
            self.apis().flat_map(of_api).collect()
        };
        let roles = self.roles.iter().enumerate();
        roles
            .map(|(index, role)| Role {
                id: format!("rol_{:016}", index + 1),
                name: role.name.clone(),
                description: None,
                permissions: permissions(role),
            })
            .collect()
    }

    fn seeded_assignments(&self, roles: &[Role]) -> BTreeMap<String, BTreeSet<String>> {
        let ids = |names: &[String]| -> BTreeSet<String> {
            roles.iter().filter(|role| names.contains(&role.name)).map(|role| role.id.clone()).collect()
        };
        let assigned = self.users.iter().map(|user| (user.sub.clone(), ids(&user.roles)));
        assigned.filter(|(_, roles)| !roles.is_empty()).collect()
    }

    fn seeded_organizations(&self) -> Vec<Organization> {
        let ids: BTreeSet<&String> = self.users.iter().filter_map(|user| user.org_id.as_ref()).collect();
        let third_party_client_access =
            if self.fresh { ThirdPartyClientAccess::Block } else { ThirdPartyClientAccess::Allow };
        ids.into_iter()
            .map(|id| Organization {
                id: id.clone(),
                name: id.clone(),
                third_party_client_access,
                others: Map::new(),
            })
            .collect()
    }
}

/// The Management API itself: for clients on their own behalf.
fn system_api(issuer: &str) -> ResourceServer {
    ResourceServer {
        id: String::new(),
        name: "Auth0 Management API".into(),
        identifier: format!("{issuer}api/v2/"),
        is_system: true,
        scopes: management_scopes().map(|value| ResourceServerScope { value, description: None }).collect(),
        signing_alg: SigningAlg::default(),
        token_dialect: None,
        enforce_policies: false,
        allow_offline_access: false,
        skip_consent_for_verifiable_first_party_clients: false,
        token_lifetime: DAY,
        subject_type_authorization: SubjectTypeAuthorization {
            user: UserPolicy { policy: AccessPolicy::DenyAll },
            client: ClientPolicy::default(),
        },
        token_encryption: None,
        third_party_token_lifetime: HOUR,
        refresh_token_lifetime: MAX_LIFETIME,
        others: Map::new(),
    }
}

/// Returns an API of the options, which has RBAC on.
fn api(api: &Api) -> Option<ResourceServer> {
    let scope = |scope: &super::ApiScope| ResourceServerScope {
        value: scope.name.clone(),
        description: Some(scope.description.clone()),
    };
    Some(ResourceServer {
        id: String::new(),
        name: api.name.clone(),
        identifier: api.identifier.clone()?,
        is_system: false,
        scopes: api.scopes.iter().map(scope).collect(),
        signing_alg: SigningAlg::default(),
        token_dialect: Some(api.dialect),
        enforce_policies: true,
        allow_offline_access: api.allow_offline_access,
        skip_consent_for_verifiable_first_party_clients: false,
        token_lifetime: api.token_lifetime_seconds,
        subject_type_authorization: SubjectTypeAuthorization::default(),
        token_encryption: None,
        third_party_token_lifetime: api.third_party_token_lifetime_seconds,
        refresh_token_lifetime: api.refresh_token_lifetime_seconds,
        others: Map::new(),
    })
}

/// Returns the grant that lets all third-party clients ask users for all scopes of an API.
fn default_grant(audience: &str) -> ClientGrant {
    ClientGrant {
        id: String::new(),
        client_id: None,
        default_for: Some(THIRD_PARTY_CLIENTS.into()),
        audience: audience.to_owned(),
        scope: Vec::new(),
        allow_all_scopes: true,
        subject_type: SubjectType::User,
        others: Map::new(),
    }
}

/// Returns the grant of a client's permissions at an API, which may be none.
fn machine_grant(client: &Client, api: &ResourceServer) -> ClientGrant {
    let defined = api.scopes.iter().map(|scope| &scope.value);
    ClientGrant {
        client_id: Some(client.id.clone()),
        default_for: None,
        scope: defined.filter(|value| client.permissions.contains(value)).cloned().collect(),
        allow_all_scopes: false,
        subject_type: SubjectType::Client,
        ..default_grant(&api.identifier)
    }
}

/// Returns the grant by which a client exchanges users' tokens for those of an API.
fn exchange_grant(client: &Client, api: &ResourceServer) -> ClientGrant {
    ClientGrant { client_id: Some(client.id.clone()), default_for: None, ..default_grant(&api.identifier) }
}

fn database(is_domain_connection: bool) -> Connection {
    Connection {
        id: "con_0000000000000001".into(),
        name: "Username-Password-Authentication".into(),
        display_name: None,
        strategy: "auth0".into(),
        is_domain_connection,
        enabled_clients: Vec::new(),
        options: Map::new(),
        others: Map::new(),
    }
}

fn number<'a>(ids: impl Iterator<Item = &'a mut String>, id: impl Fn(usize) -> String) {
    for (index, slot) in ids.enumerate() {
        *slot = id(index + 1);
    }
}
