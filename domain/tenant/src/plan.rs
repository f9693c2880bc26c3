//! The differences between what is wanted and what is there, and the operations that remove them, in an order that works:
//! settings and connections first, then APIs, what refers to APIs, and what refers to roles. Removals come last, the other way
//! round.
//!
//! A plan adds and switches on. What others put into a list stays, unless [`Prune::Remove`] says otherwise; nothing is ever
//! deleted as a whole.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::present::{ApiScope, ClientGrant, Connection, Permission, Present, ResourceServer};
use crate::setting::Setting;
use crate::wanted::{Wanted, WantedApi, WantedRole};

/// The profile with which Auth0 reads `resource`.
pub(crate) const COMPATIBILITY: &str = "compatibility";
/// The profile of access tokens for a new API.
const DIALECT: &str = "rfc9068_profile_authz";

/// Whether what nothing asks for is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prune {
    /// It stays.
    #[default]
    Keep,
    /// Scopes that nothing asks for are taken out of the server's APIs, their default grants and the wanted roles, and
    /// registration that is not wanted is switched off.
    Remove,
}

/// What is to be done at a tenant.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Plan {
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// What is there and not wanted, and stays.
    pub kept: Vec<Kept>,
    /// What is wanted and no change can bring about.
    pub blocked: Vec<Blocked>,
}

/// A change of one thing, which is one write.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// What is changed, for people: `api http://localhost:3001/mcp`.
    pub target: String,
    /// What happens to it.
    pub action: Action,
    /// Its differences.
    pub fields: Vec<FieldChange>,
    /// How it is done.
    #[serde(skip)]
    pub operation: Operation,
}

/// What happens to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is made.
    Create,
    /// It gets other values, or more of them.
    Update,
    /// Something is taken out of it.
    Remove,
}

/// A difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldChange {
    /// The setting that it belongs to.
    pub setting: Setting,
    /// The field, in Auth0's words; of a list, with the item in brackets.
    pub field: String,
    /// The value now; `null` where there is none.
    pub before: Value,
    /// The value afterwards; `null` where there will be none.
    pub after: Value,
    /// Why.
    pub reason: &'static str,
}

/// Something that nothing asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// What it belongs to.
    pub target: String,
    /// What it is.
    pub what: String,
}

/// Something that is wanted and that no change can bring about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Blocked {
    /// The setting.
    pub setting: Setting,
    /// What it belongs to.
    pub target: String,
    /// Why, and what to do.
    pub problem: String,
}

/// One write at the Management API. Lists are given as what is added and removed: whoever carries it out reads the present
/// list right before.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// `PATCH /tenants/settings`.
    UpdateSettings(Map<String, Value>),
    /// `PATCH /connections/{id}`; with the present `display_name`, which Auth0 would overwrite.
    PromoteConnection {
        /// Its id.
        id: String,
    },
    /// `POST /resource-servers`.
    CreateApi(Map<String, Value>),
    /// `PATCH /resource-servers/{id}`.
    UpdateApi {
        /// Its id.
        id: String,
        /// Fields that are replaced.
        set: Map<String, Value>,
        /// Scopes that are added, or get another description.
        put: Vec<ApiScope>,
        /// Scopes that are removed.
        remove: BTreeSet<String>,
    },
    /// `POST /client-grants`.
    CreateGrant(Map<String, Value>),
    /// `PATCH /client-grants/{id}`.
    UpdateGrant {
        /// Its id.
        id: String,
        /// The API, by which it is read again.
        audience: String,
        /// Scopes that are added.
        add: BTreeSet<String>,
        /// Scopes that are removed.
        remove: BTreeSet<String>,
    },
    /// `POST /clients/cimd/register`.
    RegisterDocument {
        /// Its URL.
        url: String,
    },
    /// `POST /roles`.
    CreateRole {
        /// Its name.
        name: String,
        /// Its description.
        description: String,
    },
    /// `POST /roles/{id}/permissions`.
    AddPermissions {
        /// The role's name; it may have been made by the change before.
        role: String,
        /// The permissions.
        permissions: BTreeSet<Permission>,
    },
    /// `DELETE /roles/{id}/permissions`.
    RemovePermissions {
        /// The role's name.
        role: String,
        /// The permissions.
        permissions: BTreeSet<Permission>,
    },
    /// `POST /users/{id}/roles`.
    AssignRoles {
        /// The user's id.
        user_id: String,
        /// The roles' names.
        roles: BTreeSet<String>,
    },
}

/// Returns what is to be done.
#[must_use]
pub fn plan(wanted: &Wanted, present: &Present, prune: Prune) -> Plan {
    let mut planner = Planner { wanted, present, prune, plan: Plan::default() };
    if planner.is_for_auth0s_own_api() {
        return planner.plan;
    }
    planner.settings();
    planner.connections();
    for api in &wanted.apis {
        planner.api(api);
    }
    for api in &wanted.apis {
        planner.default_grant(api);
    }
    planner.client_documents();
    for role in &wanted.roles {
        planner.role(role);
    }
    planner.assignments();
    planner.unwanted();
    planner.plan
}

struct Planner<'a> {
    wanted: &'a Wanted,
    present: &'a Present,
    prune: Prune,
    plan: Plan,
}

/// Collects the differences of one thing.
#[derive(Default)]
struct Fields {
    fields: Vec<FieldChange>,
    body: Map<String, Value>,
}

impl Fields {
    fn note(&mut self, setting: Setting, field: impl Into<String>, before: Value, after: Value) {
        self.fields.push(FieldChange {
            setting,
            field: field.into(),
            before,
            after,
            reason: setting.reason(),
        });
    }

    /// Notes that a field of the body has another value.
    fn set(&mut self, setting: Setting, field: &str, before: Value, after: Value) {
        self.body.insert(field.to_owned(), after.clone());
        self.note(setting, field, before, after);
    }

    /// Notes that a flag is to be set, unless it is.
    fn switch(&mut self, setting: Setting, field: &str, now: Option<bool>, wanted: bool) {
        if now.unwrap_or(false) != wanted {
            self.set(setting, field, json!(now), json!(wanted));
        }
    }
}

impl Planner<'_> {
    fn change(
        &mut self,
        target: impl Into<String>,
        action: Action,
        fields: Vec<FieldChange>,
        operation: Operation,
    ) {
        self.plan.changes.push(Change { target: target.into(), action, fields, operation });
    }

    fn block(&mut self, setting: Setting, target: impl Into<String>, problem: impl Into<String>) {
        self.plan.blocked.push(Blocked { setting, target: target.into(), problem: problem.into() });
    }

    fn keep(&mut self, target: &str, what: impl Into<String>) {
        self.plan.kept.push(Kept { target: target.to_owned(), what: what.into() });
    }

    /// Blocks everything where an audience is that of the Management API: it is nobody's MCP server.
    fn is_for_auth0s_own_api(&mut self) -> bool {
        let is_own = |api: &&ResourceServer| api.is_system && self.wanted.has_api(&api.identifier);
        let Some(own) = self.present.apis.iter().find(is_own) else { return false };
        let problem = "it is Auth0's own; auth0.audience has to be the identifier of an API of your own";
        self.block(Setting::Api, format!("api {}", own.identifier), problem);
        true
    }

    fn settings(&mut self) {
        let (settings, mut fields) = (&self.present.settings, Fields::default());
        let profile = settings.resource_parameter_profile.as_deref();
        if profile != Some(COMPATIBILITY) {
            let setting = Setting::ResourceParameterProfile;
            fields.set(setting, "resource_parameter_profile", json!(profile), json!(COMPATIBILITY));
        }
        let issuer = settings.authorization_response_iss_parameter_supported;
        fields.switch(
            Setting::IssuerInResponses,
            "authorization_response_iss_parameter_supported",
            issuer,
            true,
        );
        let documents = settings.client_id_metadata_document_supported;
        if self.wanted.metadata_documents {
            fields.switch(
                Setting::MetadataDocuments,
                "client_id_metadata_document_supported",
                documents,
                true,
            );
        }
        let mut flags = Map::new();
        let registration = settings.flags.enable_dynamic_client_registration;
        if self.wanted.dynamic_registration && registration != Some(true) {
            let field = "enable_dynamic_client_registration";
            flags.insert(field.to_owned(), json!(true));
            fields.note(
                Setting::DynamicRegistration,
                format!("flags.{field}"),
                json!(registration),
                json!(true),
            );
        }
        let descriptions = settings.flags.use_scope_descriptions_for_consent;
        if descriptions != Some(true) {
            let (setting, field) =
                (Setting::ScopeDescriptionsAtConsent, "use_scope_descriptions_for_consent");
            flags.insert(field.to_owned(), json!(true));
            fields.note(setting, format!("flags.{field}"), json!(descriptions), json!(true));
        }
        if !flags.is_empty() {
            // Auth0 merges `flags`.
            fields.body.insert("flags".to_owned(), flags.into());
        }
        if !fields.fields.is_empty() {
            self.change(SETTINGS, Action::Update, fields.fields, Operation::UpdateSettings(fields.body));
        }
    }

    fn connections(&mut self) {
        let (wanted, present) = (self.wanted, self.present);
        for name in &wanted.connections {
            let target = format!("connection {name}");
            match present.connections.iter().find(|connection| connection.name == *name) {
                None => {
                    self.block(Setting::DomainConnection, target, unknown_connection(&present.connections));
                }
                Some(connection) if connection.is_domain_connection => {}
                Some(connection) => {
                    let mut fields = Fields::default();
                    fields.set(Setting::DomainConnection, "is_domain_connection", json!(false), json!(true));
                    let operation = Operation::PromoteConnection { id: connection.id.clone() };
                    self.change(target, Action::Update, fields.fields, operation);
                }
            }
        }
        if wanted.connections.is_empty() && !present.connections.iter().any(|it| it.is_domain_connection) {
            let problem = format!("no connection is at domain level, and `connections` names none; {}", {
                unknown_connection(&present.connections)
            });
            self.block(Setting::DomainConnection, "connections", problem);
        }
    }

    fn api(&mut self, wanted: &WantedApi) {
        let Some(present) = self.present.api(&wanted.identifier) else {
            return self.new_api(wanted);
        };
        let target = api_target(wanted);
        let mut fields = Fields::default();
        if let Some(dialect) = better_dialect(present.token_dialect.as_deref()) {
            fields.set(Setting::TokenDialect, "token_dialect", json!(present.token_dialect), json!(dialect));
        }
        fields.switch(Setting::Rbac, "enforce_policies", Some(present.enforce_policies), true);
        if wanted.allow_offline_access {
            let now = Some(present.allow_offline_access);
            fields.switch(Setting::OfflineAccess, "allow_offline_access", now, true);
        }
        if let Some(lifetime) =
            wanted.token_lifetime.filter(|lifetime| present.token_lifetime != Some(*lifetime))
        {
            fields.set(
                Setting::TokenLifetime,
                "token_lifetime",
                json!(present.token_lifetime),
                json!(lifetime),
            );
        }
        if let Some(encryption) = &present.token_encryption {
            // It names keys; what kind it is is enough to know.
            let kind = encryption.get("format").cloned().unwrap_or_else(|| "set".into());
            fields.set(Setting::TokenEncryption, "token_encryption", kind, Value::Null);
        }
        let policy = present.subject_type_authorization.user.policy.as_deref();
        if policy == Some("deny_all") {
            let (field, after) = ("subject_type_authorization", "require_client_grant");
            let client = present.subject_type_authorization.client.policy.as_deref();
            fields.body.insert(field.to_owned(), access(after, client));
            fields.note(
                Setting::UserAccessPolicy,
                format!("{field}.user.policy"),
                json!(policy),
                json!(after),
            );
        }
        let put = self.scopes_to_put(wanted, present, &mut fields);
        if let Some(algorithm) = present.signing_alg.as_deref().filter(|algorithm| *algorithm != "RS256") {
            let problem =
                format!("its tokens are signed with {algorithm}: {}", Setting::SigningAlgorithm.dashboard());
            self.block(Setting::SigningAlgorithm, &target, problem);
        }
        if !fields.fields.is_empty() {
            let (id, set, remove) = (present.id.clone(), fields.body, BTreeSet::new());
            let operation = Operation::UpdateApi { id, set, put, remove };
            self.change(target, Action::Update, fields.fields, operation);
        }
    }

    /// Returns the scopes that an API lacks, or describes otherwise.
    #[expect(clippy::unused_self, reason = "a step of the planner's")]
    fn scopes_to_put(
        &self,
        wanted: &WantedApi,
        present: &ResourceServer,
        fields: &mut Fields,
    ) -> Vec<ApiScope> {
        let mut put = Vec::new();
        for (value, scope) in &wanted.scopes {
            let after = json!(scope.description);
            let setting = match present.scopes.iter().find(|present| present.value == *value) {
                None => Setting::ApiScopes,
                Some(now) if is_described(now, &scope.description, scope.is_written) => continue,
                Some(_) => Setting::ScopeDescription,
            };
            let now = present.scopes.iter().find(|present| present.value == *value);
            let before = now.map_or(Value::Null, |now| json!(now.description.as_deref().unwrap_or_default()));
            fields.note(setting, format!("scopes[{value}]"), before, after);
            put.push(ApiScope { value: value.clone(), description: Some(scope.description.clone()) });
        }
        put
    }

    fn new_api(&mut self, wanted: &WantedApi) {
        let mut fields = Fields::default();
        fields.set(Setting::Api, "identifier", Value::Null, json!(wanted.identifier));
        fields.set(Setting::Api, "name", Value::Null, json!(wanted.name));
        fields.set(Setting::SigningAlgorithm, "signing_alg", Value::Null, json!("RS256"));
        fields.set(Setting::TokenDialect, "token_dialect", Value::Null, json!(DIALECT));
        fields.set(Setting::Rbac, "enforce_policies", Value::Null, json!(true));
        let offline = json!(wanted.allow_offline_access);
        fields.set(Setting::OfflineAccess, "allow_offline_access", Value::Null, offline);
        if let Some(lifetime) = wanted.token_lifetime {
            fields.set(Setting::TokenLifetime, "token_lifetime", Value::Null, json!(lifetime));
        }
        for (value, scope) in &wanted.scopes {
            let field = format!("scopes[{value}]");
            fields.note(Setting::ApiScopes, field, Value::Null, json!(scope.description));
        }
        let scopes = wanted.scopes.iter();
        let scopes = scopes.map(|(value, scope)| json!({"value": value, "description": scope.description}));
        fields.body.insert("scopes".to_owned(), scopes.collect());
        if let Some(similar) =
            self.present.apis.iter().find(|api| is_similar(&api.identifier, &wanted.identifier))
        {
            let what =
                format!("it differs from {} by a slash or by case, and is another API", wanted.identifier);
            self.keep(&format!("api {}", similar.identifier), what);
        }
        self.change(api_target(wanted), Action::Create, fields.fields, Operation::CreateApi(fields.body));
    }

    fn default_grant(&mut self, wanted: &WantedApi) {
        let audience = &wanted.identifier;
        let (target, scopes) = (grant_target(audience), wanted.scopes.keys());
        let mut fields = Fields::default();
        let Some(grant) = self.present.default_grant(audience) else {
            fields.set(Setting::DefaultGrant, "default_for", Value::Null, json!("third_party_clients"));
            fields.set(Setting::DefaultGrant, "audience", Value::Null, json!(audience));
            // Left out, Auth0 makes a grant for machines.
            fields.set(Setting::DefaultGrant, "subject_type", Value::Null, json!("user"));
            fields.body.insert("scope".to_owned(), scopes.clone().map(String::as_str).collect());
            for scope in scopes {
                fields.note(Setting::GrantScopes, format!("scope[{scope}]"), Value::Null, json!(scope));
            }
            let operation = Operation::CreateGrant(fields.body);
            return self.change(target, Action::Create, fields.fields, operation);
        };
        if grant.grants_everything() {
            return;
        }
        let add: BTreeSet<String> = scopes.filter(|scope| !grant.scope.contains(scope)).cloned().collect();
        for scope in &add {
            fields.note(Setting::GrantScopes, format!("scope[{scope}]"), Value::Null, json!(scope));
        }
        if !add.is_empty() {
            let operation = update_grant(grant, add, BTreeSet::new());
            self.change(target, Action::Update, fields.fields, operation);
        }
    }

    fn client_documents(&mut self) {
        let known: BTreeSet<&str> =
            self.present.clients.iter().filter_map(|client| client.external_client_id.as_deref()).collect();
        for url in self.wanted.client_documents.iter().filter(|url| !known.contains(url.as_str())) {
            let mut fields = Fields::default();
            fields.set(Setting::ClientDocument, "external_client_id", Value::Null, json!(url));
            let operation = Operation::RegisterDocument { url: url.clone() };
            self.change(format!("client {url}"), Action::Create, fields.fields, operation);
        }
    }

    fn role(&mut self, wanted: &WantedRole) {
        let present = self.present.role(&wanted.name);
        let target = role_target(&wanted.name);
        if present.is_none() {
            let mut fields = Fields::default();
            fields.set(Setting::Role, "name", Value::Null, json!(wanted.name));
            fields.set(Setting::Role, "description", Value::Null, json!(wanted.description));
            let (name, description) = (wanted.name.clone(), wanted.description.clone());
            let operation = Operation::CreateRole { name, description };
            self.change(&target, Action::Create, fields.fields, operation);
        }
        let has = |permission: &Permission| present.is_some_and(|role| role.permissions.contains(permission));
        let permissions = self.wanted.permissions(wanted).map(|(api, scope)| permission(api, scope));
        let add: BTreeSet<Permission> = permissions.filter(|permission| !has(permission)).collect();
        if add.is_empty() {
            return;
        }
        let mut fields = Fields::default();
        for permission in &add {
            let after = json!(permission.resource_server_identifier);
            let field = format!("permissions[{}]", permission.permission_name);
            fields.note(Setting::RolePermissions, field, Value::Null, after);
        }
        let operation = Operation::AddPermissions { role: wanted.name.clone(), permissions: add };
        self.change(target, Action::Update, fields.fields, operation);
    }

    fn assignments(&mut self) {
        let (wanted, present) = (self.wanted, self.present);
        for assignment in &wanted.assignments {
            let target = format!("user {}", assignment.user);
            let Some(user) = present.users.iter().find(|user| user.asked == assignment.user) else {
                let problem = "there is no such user; a user exists once it has logged in or was created";
                self.block(Setting::RoleAssignment, target, problem);
                continue;
            };
            let unknown = |name: &&String| {
                present.role(name).is_none() && !wanted.roles.iter().any(|role| role.name == **name)
            };
            if let Some(unknown) = assignment.roles.iter().find(unknown) {
                let known = roles_of(wanted, present);
                let problem = format!(
                    "there is no role {unknown:?} at the tenant or in auth0.tenant.roles; there are: {known}"
                );
                self.block(Setting::RoleAssignment, &target, problem);
                continue;
            }
            let add: BTreeSet<String> = assignment.roles.difference(&user.roles).cloned().collect();
            if !add.is_empty() {
                let mut fields = Fields::default();
                for role in &add {
                    fields.note(Setting::RoleAssignment, format!("roles[{role}]"), Value::Null, json!(role));
                }
                let operation = Operation::AssignRoles { user_id: user.user_id.clone(), roles: add };
                self.change(target, Action::Update, fields.fields, operation);
            }
        }
    }

    /// Removes what nothing asks for, or notes that it stays.
    fn unwanted(&mut self) {
        let (wanted, present) = (self.wanted, self.present);
        for role in &wanted.roles {
            let permitted: BTreeSet<Permission> =
                wanted.permissions(role).map(|(api, scope)| permission(api, scope)).collect();
            let ours = present.role(&role.name).into_iter().flat_map(|role| &role.permissions);
            let ours = ours.filter(|permission| wanted.has_api(&permission.resource_server_identifier));
            let remove: BTreeSet<Permission> =
                ours.filter(|permission| !permitted.contains(permission)).cloned().collect();
            let items =
                remove.iter().map(|it| (it.permission_name.clone(), json!(it.resource_server_identifier)));
            let (target, items) = (role_target(&role.name), items.collect());
            self.remove(target, Setting::RolePermissions, "permissions", items, || {
                Operation::RemovePermissions { role: role.name.clone(), permissions: remove }
            });
        }
        for api in &wanted.apis {
            let Some(grant) = present.default_grant(&api.identifier) else { continue };
            let remove: BTreeSet<String> =
                grant.scope.iter().filter(|scope| !api.scopes.contains_key(*scope)).cloned().collect();
            let items = remove.iter().map(|scope| (scope.clone(), json!(scope))).collect();
            self.remove(grant_target(&api.identifier), Setting::GrantScopes, "scope", items, || {
                update_grant(grant, BTreeSet::new(), remove)
            });
        }
        for api in &wanted.apis {
            let Some(now) = present.api(&api.identifier) else { continue };
            let extra = now.scopes.iter().filter(|scope| !api.scopes.contains_key(&scope.value));
            let items: Vec<(String, Value)> =
                extra.map(|scope| (scope.value.clone(), json!(scope.description))).collect();
            let remove = items.iter().map(|(scope, _)| scope.clone()).collect();
            self.remove(api_target(api), Setting::ApiScopes, "scopes", items, || Operation::UpdateApi {
                id: now.id.clone(),
                set: Map::new(),
                put: Vec::new(),
                remove,
            });
        }
        self.unwanted_registration();
    }

    fn unwanted_registration(&mut self) {
        let (wanted, settings) = (self.wanted, &self.present.settings);
        let (dynamic, documents) =
            ("enable_dynamic_client_registration", "client_id_metadata_document_supported");
        let registers = settings.flags.enable_dynamic_client_registration == Some(true);
        if registers && !wanted.dynamic_registration {
            let body = Map::from_iter([("flags".to_owned(), json!({dynamic: false}))]);
            self.switch_off(Setting::DynamicRegistration, &format!("flags.{dynamic}"), body);
        }
        if settings.client_id_metadata_document_supported == Some(true) && !wanted.metadata_documents {
            let body = Map::from_iter([(documents.to_owned(), json!(false))]);
            self.switch_off(Setting::MetadataDocuments, documents, body);
        }
    }

    fn switch_off(&mut self, setting: Setting, field: &str, body: Map<String, Value>) {
        if self.prune == Prune::Keep {
            return self.keep(SETTINGS, format!("{field} is on, and `registration` does not ask for it"));
        }
        let mut fields = Fields::default();
        fields.note(setting, field, json!(true), json!(false));
        self.change(SETTINGS, Action::Remove, fields.fields, Operation::UpdateSettings(body));
    }

    /// Removes items of a list, or notes that they stay.
    fn remove(
        &mut self,
        target: String,
        setting: Setting,
        list: &str,
        items: Vec<(String, Value)>,
        operation: impl FnOnce() -> Operation,
    ) {
        if items.is_empty() {
            return;
        }
        if self.prune == Prune::Keep {
            for (item, _) in items {
                self.keep(&target, format!("{list}[{item}], which nothing asks for"));
            }
            return;
        }
        let mut fields = Fields::default();
        for (item, before) in items {
            fields.note(setting, format!("{list}[{item}]"), before, Value::Null);
        }
        // These stay where they are; what is taken out is not wanted any more.
        for field in &mut fields.fields {
            field.reason = "nothing asks for it";
        }
        self.change(target, Action::Remove, fields.fields, operation());
    }
}

const SETTINGS: &str = "tenant settings";

fn api_target(api: &WantedApi) -> String {
    format!("api {}", api.identifier)
}

fn grant_target(audience: &str) -> String {
    format!("default grant of third-party clients for {audience}")
}

fn role_target(name: &str) -> String {
    format!("role {name}")
}

pub(crate) fn permission(api: &str, scope: &str) -> Permission {
    Permission { resource_server_identifier: api.to_owned(), permission_name: scope.to_owned() }
}

fn update_grant(grant: &ClientGrant, add: BTreeSet<String>, remove: BTreeSet<String>) -> Operation {
    Operation::UpdateGrant { id: grant.id.clone(), audience: grant.audience.clone(), add, remove }
}

/// Returns the dialect with the claim `permissions`, for one that lacks it.
pub(crate) fn better_dialect(present: Option<&str>) -> Option<&'static str> {
    match present {
        Some("rfc9068_profile_authz" | "access_token_authz") => None,
        _ => Some(DIALECT),
    }
}

fn access(user: &str, client: Option<&str>) -> Value {
    json!({"user": {"policy": user}, "client": {"policy": client.unwrap_or("require_client_grant")}})
}

/// Returns whether a scope's description is as wanted: one that nobody wrote replaces none. Space around it, which Auth0 may
/// take off, is no difference: it would be one for ever.
pub(crate) fn is_described(now: &ApiScope, description: &str, is_written: bool) -> bool {
    let now = now.description.as_deref().unwrap_or_default().trim();
    now == description.trim() || (!is_written && !now.is_empty())
}

/// Returns whether two identifiers differ by a slash at the end or by case alone.
pub(crate) fn is_similar(one: &str, other: &str) -> bool {
    let plain = |text: &str| text.trim_end_matches('/').to_ascii_lowercase();
    one != other && plain(one) == plain(other)
}

/// Returns the names of the roles that are there or are made, the wanted ones first.
fn roles_of(wanted: &Wanted, present: &Present) -> String {
    let wanted = wanted.roles.iter().map(|role| role.name.as_str());
    let others = present.roles.iter().map(|role| role.name.as_str());
    let mut names: Vec<&str> = Vec::new();
    for name in wanted.chain(others) {
        if !names.contains(&name) && names.len() < 20 {
            names.push(name);
        }
    }
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn unknown_connection(connections: &[Connection]) -> String {
    let names: Vec<&str> = connections.iter().map(|connection| connection.name.as_str()).take(20).collect();
    if names.is_empty() {
        "the tenant has no connection at all".to_owned()
    } else {
        format!(
            "there is no such connection; the tenant has {}: correct auth0.tenant.connections",
            names.join(", ")
        )
    }
}

#[cfg(test)]
mod tests;
