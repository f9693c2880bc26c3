//! A configuration for Terraform. Field names and what absent fields do are those of the provider `auth0/auth0` 1.55.

use std::collections::{BTreeMap, BTreeSet};

use super::hcl::{Body, Expression, quoted, reference, references, text, texts};
use super::names::Names;
use super::{File, merged};
use crate::plan::COMPATIBILITY;
use crate::present::{ClientGrant, Connection, Permission, Present, ResourceServer};
use crate::setting::Setting;
use crate::wanted::{Assignment, Wanted, WantedApi, WantedRole};

/// The settings have no id; any stands for them.
const SETTINGS_ID: &str = "tenant";

const HEAD: &str = "Written by `fastmcp-auth0 tenant export`. Access to the tenant comes from the environment: AUTH0_DOMAIN,\nAUTH0_CLIENT_ID \
                    and AUTH0_CLIENT_SECRET.";

const NO_ACCESS: &str = "Written without access to the tenant, for one that has none of this. Scopes and permissions that others put\ninto the \
                         same API, grant or role are taken out, and an API or a role that exists already has to be imported.";

const IMPORTS: &str =
    "What the tenant has already, so that Terraform adopts it. These blocks can go once they were applied.";

const NO_COUNTERPART: &str = "Without these, Terraform would empty what this file does not name.";

const CONNECTION: &str =
    "Destroyed, it would take its users with it. Its options are left out, and so they stay as they are.";

pub(super) fn files(wanted: &Wanted, present: Option<&Present>) -> Vec<File> {
    let mut export = Export::new(wanted, present);
    export.head();
    export.settings();
    export.connections();
    for (api, name) in wanted.apis.iter().zip(&export.apis.clone()) {
        export.api(api, name);
        export.scopes(api, name);
        export.default_grant(api, name);
    }
    export.client_documents();
    for (role, name) in wanted.roles.iter().zip(&export.roles.clone()) {
        export.role(role, name);
    }
    export.assignments();
    vec![
        File { path: "main.tf", content: export.main.to_string() },
        File { path: "imports.tf", content: export.imports.to_string() },
    ]
}

struct Export<'a> {
    wanted: &'a Wanted,
    present: Option<&'a Present>,
    main: Body,
    imports: Body,
    /// The names of the wanted APIs, in their order.
    apis: Vec<String>,
    /// The names of the wanted roles, in their order.
    roles: Vec<String>,
}

impl<'a> Export<'a> {
    fn new(wanted: &'a Wanted, present: Option<&'a Present>) -> Self {
        let (mut apis, mut roles) = (Names::default(), Names::default());
        let mut imports = Body::default();
        imports.comment(IMPORTS);
        Self {
            wanted,
            present,
            main: Body::default(),
            imports,
            apis: wanted.apis.iter().map(|api| apis.name(&api.identifier)).collect(),
            roles: wanted.roles.iter().map(|role| roles.name(&role.name)).collect(),
        }
    }

    fn resource(&mut self, kind: &str, name: &str, body: Body) {
        self.main.block(format!("resource \"{kind}\" \"{name}\""), body);
    }

    fn import(&mut self, to: String, id: Expression) {
        let mut body = Body::default();
        body.attribute("to", reference(to));
        body.attribute("id", id);
        self.imports.block("import", body);
    }

    fn head(&mut self) {
        self.main.comment(HEAD);
        let mut provider = Body::default();
        provider.attribute("source", text("auth0/auth0"));
        provider.attribute("version", text("~> 1.55"));
        let mut providers = Body::default();
        providers.attribute("auth0", Expression::Object(provider));
        let mut terraform = Body::default();
        terraform.attribute("required_version", text(">= 1.7"));
        terraform.block("required_providers", providers);
        self.main.block("terraform", terraform);
        self.main.block("provider \"auth0\"", Body::default());
        if self.present.is_none() {
            self.main.paragraph(NO_ACCESS);
        }
    }

    fn settings(&mut self) {
        let mut flags = Body::default();
        if self.wanted.dynamic_registration {
            flags.attribute("enable_dynamic_client_registration", Expression::Bool(true));
        }
        flags.attribute("use_scope_descriptions_for_consent", Expression::Bool(true));
        let mut settings = Body::default();
        settings.attribute("resource_parameter_profile", text(COMPATIBILITY));
        if self.wanted.metadata_documents {
            settings.attribute("client_id_metadata_document_supported", Expression::Bool(true));
        }
        settings.block("flags", flags);
        settings.comment(NO_COUNTERPART);
        settings.block(
            "lifecycle",
            ignoring(&[
                "country_codes",
                "default_redirection_uri",
                "default_token_quota",
                "error_page",
                "skip_non_verifiable_callback_uri_confirmation_prompt",
            ]),
        );
        self.main.comment(format!(
            "Include Issuer in Authorization Responses (RFC 9207) is not in the provider. It is set in the dashboard\n({}),\nor by `{}`.",
            Setting::IssuerInResponses.dashboard(),
            Setting::IssuerInResponses.command(),
        ));
        self.resource("auth0_tenant", "tenant", settings);
        self.import("auth0_tenant.tenant".to_owned(), text(SETTINGS_ID));
    }

    fn connections(&mut self) {
        let (wanted, mut names) = (self.wanted, Names::default());
        for connection in &wanted.connections {
            let name = names.name(connection);
            let Some(present) = self.present else {
                self.unknown_connection(connection, &name);
                continue;
            };
            match present.connections.iter().find(|present| present.name == *connection) {
                Some(present) => self.connection(present, &name),
                None => self.main.paragraph(format!("The tenant has no connection {}.", quoted(connection))),
            }
        }
        let has_none =
            self.present.is_some_and(|present| !present.connections.iter().any(|it| it.is_domain_connection));
        if wanted.connections.is_empty() && has_none {
            self.main.paragraph(
                "No connection is at domain level, and `connections` of [auth0.tenant] names none: no third-party client can log\nusers in.",
            );
        }
    }

    fn connection(&mut self, connection: &Connection, name: &str) {
        let mut body = Body::default();
        body.attribute("name", text(&connection.name));
        body.attribute("strategy", text(&connection.strategy));
        if let Some(display_name) = &connection.display_name {
            // Left out, Auth0 would overwrite it.
            body.attribute("display_name", text(display_name));
        }
        self.domain_connection(body, name, text(&connection.id));
    }

    /// Writes a connection that Terraform has to look up first.
    fn unknown_connection(&mut self, connection: &str, name: &str) {
        let mut lookup = Body::default();
        lookup.attribute("name", text(connection));
        lookup.attribute("skip_enabled_clients", Expression::Bool(true));
        let found = format!("data.auth0_connection.{name}");
        self.main.block(format!("data \"auth0_connection\" \"{name}\""), lookup);
        let mut body = Body::default();
        body.attribute("name", reference(format!("{found}.name")));
        body.attribute("strategy", reference(format!("{found}.strategy")));
        body.attribute("display_name", reference(format!("coalesce({found}.display_name, {found}.name)")));
        self.domain_connection(body, name, reference(format!("{found}.id")));
    }

    fn domain_connection(&mut self, mut body: Body, name: &str, id: Expression) {
        body.attribute("is_domain_connection", Expression::Bool(true));
        body.comment(CONNECTION);
        let mut lifecycle = Body::default();
        lifecycle.attribute("prevent_destroy", Expression::Bool(true));
        // Other fields, options among them, the provider leaves alone when they are not there.
        let ignored = ["cross_app_access_resource_app", "metadata", "show_as_button"];
        lifecycle.attribute("ignore_changes", references(ignored));
        body.block("lifecycle", lifecycle);
        self.resource("auth0_connection", name, body);
        self.import(format!("auth0_connection.{name}"), id);
    }

    fn api(&mut self, api: &WantedApi, name: &str) {
        let present = self.present.and_then(|present| present.api(&api.identifier));
        let mut body = Body::default();
        body.attribute("identifier", text(&api.identifier));
        if present.is_none() {
            body.attribute("name", text(&api.name));
            body.attribute("signing_alg", text("RS256"));
        }
        body.attribute("token_dialect", text(merged::dialect(present)));
        body.attribute("enforce_policies", Expression::Bool(true));
        if present.is_none() || api.allow_offline_access {
            body.attribute("allow_offline_access", Expression::Bool(api.allow_offline_access));
        }
        if let Some(lifetime) = api.token_lifetime {
            body.attribute("token_lifetime", Expression::Number(lifetime));
        }
        if let Some(present) = present {
            repairs(present, &mut body);
            self.import(format!("auth0_resource_server.{name}"), text(&present.id));
        }
        self.resource("auth0_resource_server", name, body);
    }

    fn scopes(&mut self, api: &WantedApi, name: &str) {
        let present = self.present.and_then(|present| present.api(&api.identifier));
        let scopes = merged::scopes(api, present);
        if scopes.is_empty() {
            return;
        }
        let mut body = Body::default();
        body.attribute("resource_server_identifier", reference(identifier(name)));
        for (value, description) in scopes {
            let mut scope = Body::default();
            scope.attribute("name", text(value));
            if !description.is_empty() {
                scope.attribute("description", text(description));
            }
            body.block("scopes", scope);
        }
        self.resource("auth0_resource_server_scopes", name, body);
        if present.is_some_and(|api| !api.scopes.is_empty()) {
            self.import(format!("auth0_resource_server_scopes.{name}"), text(&api.identifier));
        }
    }

    fn default_grant(&mut self, api: &WantedApi, name: &str) {
        let present = self.present.and_then(|present| present.default_grant(&api.identifier));
        let mut body = Body::default();
        body.attribute("default_for", text("third_party_clients"));
        body.attribute("audience", reference(identifier(name)));
        // Left out, the grant would be for machines.
        body.attribute("subject_type", text("user"));
        if present.is_some_and(ClientGrant::grants_everything) {
            body.attribute("allow_all_scopes", Expression::Bool(true));
        } else {
            body.attribute("scopes", texts(merged::grant_scopes(api, present)));
        }
        if self.has_scopes(api) {
            body.attribute(
                "depends_on",
                references([format!("auth0_resource_server_scopes.{name}").as_str()]),
            );
        }
        if let Some(present) = present {
            body.block(
                "lifecycle",
                ignoring(&["allow_any_organization", "authorization_details_types", "organization_usage"]),
            );
            self.import(format!("auth0_client_grant.{name}"), text(&present.id));
        }
        self.resource("auth0_client_grant", name, body);
    }

    fn has_scopes(&self, api: &WantedApi) -> bool {
        let present = self.present.and_then(|present| present.api(&api.identifier));
        !merged::scopes(api, present).is_empty()
    }

    fn client_documents(&mut self) {
        let (wanted, mut names) = (self.wanted, Names::default());
        for url in &wanted.client_documents {
            let name = names.name(url);
            let mut body = Body::default();
            body.attribute("external_client_id", text(url));
            body.attribute("depends_on", references(["auth0_tenant.tenant"]));
            let clients = self.present.into_iter().flat_map(|present| &present.clients);
            let mut same = clients.filter(|client| client.external_client_id.as_ref() == Some(url));
            if let Some(client) = same.next() {
                self.import(format!("auth0_client_cimd.{name}"), text(&client.client_id));
            }
            self.resource("auth0_client_cimd", &name, body);
        }
    }

    fn role(&mut self, role: &WantedRole, name: &str) {
        let present = self.present.and_then(|present| present.role(&role.name));
        let mut body = Body::default();
        body.attribute("name", text(&role.name));
        if let Some(present) = present {
            body.block("lifecycle", ignoring(&["description"]));
            self.import(format!("auth0_role.{name}"), text(&present.id));
        } else {
            body.attribute("description", text(&role.description));
        }
        self.resource("auth0_role", name, body);
        let permissions = merged::permissions(self.wanted, role, self.present);
        if permissions.is_empty() {
            return;
        }
        if let Some(present) = present.filter(|present| !present.permissions.is_empty()) {
            self.import(format!("auth0_role_permissions.{name}"), text(&present.id));
        }
        let body = self.permissions(&permissions, name);
        self.resource("auth0_role_permissions", name, body);
    }

    fn permissions(&self, permissions: &BTreeSet<Permission>, role: &str) -> Body {
        let ours: BTreeMap<&str, &str> = self
            .wanted
            .apis
            .iter()
            .zip(&self.apis)
            .map(|(api, name)| (api.identifier.as_str(), name.as_str()))
            .collect();
        let mut body = Body::default();
        body.attribute("role_id", reference(format!("auth0_role.{role}.id")));
        let mut needed = BTreeSet::new();
        for permission in permissions {
            let api = permission.resource_server_identifier.as_str();
            let mut block = Body::default();
            block.attribute("name", text(&permission.permission_name));
            let api = match ours.get(api) {
                Some(name) => {
                    needed.insert(format!("auth0_resource_server_scopes.{name}"));
                    reference(identifier(name))
                }
                None => text(api),
            };
            block.attribute("resource_server_identifier", api);
            body.block("permissions", block);
        }
        if !needed.is_empty() {
            body.attribute("depends_on", references(needed.iter().map(String::as_str)));
        }
        body
    }

    fn assignments(&mut self) {
        let (wanted, mut names, mut others) = (self.wanted, Names::default(), Others::default());
        for assignment in &wanted.assignments {
            let Some(user_id) = self.user_id(assignment) else {
                let user = quoted(&assignment.user);
                self.main.paragraph(format!(
                    "Roles are given to user ids, and which one {user} has is not known."
                ));
                continue;
            };
            for role in &assignment.roles {
                let name = names.name(&format!("{} {role}", assignment.user));
                let role_id = match wanted.roles.iter().position(|wanted| wanted.name == *role) {
                    Some(index) => format!("auth0_role.{}.id", self.roles[index]),
                    None => others.id(role, &mut self.main),
                };
                self.assignment(&name, user_id, role, role_id);
            }
        }
    }

    fn assignment(&mut self, name: &str, user_id: &str, role: &str, role_id: String) {
        let mut body = Body::default();
        body.attribute("user_id", text(user_id));
        body.attribute("role_id", reference(role_id));
        self.resource("auth0_user_role", name, body);
        let Some(present) = self.present else { return };
        let mut users = present.users.iter();
        let has_it = users.any(|user| user.user_id == user_id && user.roles.contains(role));
        if let Some(role) = present.role(role).filter(|_| has_it) {
            self.import(format!("auth0_user_role.{name}"), text(format!("{user_id}::{}", role.id)));
        }
    }

    /// Returns the id of a user, if it is known or given.
    fn user_id(&self, assignment: &'a Assignment) -> Option<&'a str> {
        let users = self.present.into_iter().flat_map(|present| &present.users);
        let mut known = users.filter(|user| user.asked == assignment.user);
        let given = || Some(assignment.user.as_str()).filter(|user| user.contains('|'));
        known.next().map(|user| user.user_id.as_str()).or_else(given)
    }
}

/// Roles that the tenant has and nothing here manages.
#[derive(Default)]
struct Others {
    names: Names,
    known: BTreeMap<String, String>,
}

impl Others {
    /// Returns a reference to a role's id, which Terraform looks up by name.
    fn id(&mut self, role: &str, main: &mut Body) -> String {
        let names = &mut self.names;
        let reference = self.known.entry(role.to_owned()).or_insert_with(|| {
            let name = names.name(role);
            let mut lookup = Body::default();
            lookup.attribute("name", text(role));
            lookup.attribute("skip_permissions", Expression::Bool(true));
            lookup.attribute("skip_users", Expression::Bool(true));
            main.block(format!("data \"auth0_role\" \"{name}\""), lookup);
            format!("data.auth0_role.{name}.id")
        });
        reference.clone()
    }
}

/// Adds what takes away what is in the way of an MCP server.
fn repairs(present: &ResourceServer, body: &mut Body) {
    if present.token_encryption.is_some() {
        let mut encryption = Body::default();
        encryption.attribute("disable", Expression::Bool(true));
        body.block("token_encryption", encryption);
    }
    let access = &present.subject_type_authorization;
    if access.user.policy.as_deref() == Some("deny_all") {
        let policy = |policy: &str| {
            let mut body = Body::default();
            body.attribute("policy", text(policy));
            body
        };
        let mut authorization = Body::default();
        authorization.block("user", policy("require_client_grant"));
        let client = access.client.policy.as_deref().unwrap_or("require_client_grant");
        authorization.block("client", policy(client));
        body.block("subject_type_authorization", authorization);
    }
}

fn identifier(api: &str) -> String {
    format!("auth0_resource_server.{api}.identifier")
}

fn ignoring(fields: &[&str]) -> Body {
    let mut lifecycle = Body::default();
    lifecycle.attribute("ignore_changes", references(fields.iter().copied()));
    lifecycle
}
