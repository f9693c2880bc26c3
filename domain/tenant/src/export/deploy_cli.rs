//! A configuration for `a0deploy import`. What its keys do is that of auth0-deploy-cli 8.44: a key that is absent is left alone, a
//! list is replaced, and what a list of things does not name is deleted only with `AUTH0_ALLOW_DELETE`.

use std::collections::BTreeSet;

use super::yaml::{Node, document, quoted, text};
use super::{File, merged};
use crate::plan::COMPATIBILITY;
use crate::present::{ClientGrant, Connection, DefaultFor, Present, ResourceServer, SubjectType};
use crate::wanted::{Wanted, WantedApi, WantedRole};

type Entries = Vec<(&'static str, Node)>;

pub(super) fn files(wanted: &Wanted, present: Option<&Present>) -> Vec<File> {
    let mut sections = vec![
        ("resourceServers", apis(wanted, present)),
        ("clientGrants", Node::List(grants(wanted, present))),
        ("clients", Node::List(clients(wanted, present))),
        ("roles", roles(wanted, present)),
        ("connections", Node::List(connections(wanted, present))),
        ("tenant", settings(wanted)),
    ];
    sections.retain(|(_, section)| !matches!(section, Node::List(items) if items.is_empty()));
    let keys: BTreeSet<&str> = sections.iter().map(|(key, _)| *key).collect();
    let content = format!("{}\n{}", head(wanted, present, &keys), document(&sections));
    vec![File { path: "tenant.yaml", content }]
}

fn head(wanted: &Wanted, present: Option<&Present>, keys: &BTreeSet<&str>) -> String {
    let mut lines = vec![
        "Written by `fastmcp-auth0 tenant export`, for: a0deploy import -c config.json -i tenant.yaml".to_owned(),
        "Not with AUTH0_ALLOW_DELETE: it deletes every API, grant, client, role and connection that is not named here.".to_owned(),
        "With AUTH0_CLIENT_ID in config.json even beside AUTH0_ACCESS_TOKEN: the deploy CLI passes over the grants otherwise.".to_owned(),
        format!("Scopes of the Management API: {}", scopes(keys).join(" ")),
    ];
    if present.is_none() {
        lines.push("Without access to the tenant: scopes and permissions that others put into the same API, grant or role go.".to_owned());
    }
    if !wanted.client_documents.is_empty() {
        lines.push("Metadata documents are imported before the settings, which let the tenant know them: import twice if that fails.".to_owned());
    }
    let is_there = |role: &WantedRole| present.is_some_and(|present| present.role(&role.name).is_some());
    if wanted.roles.iter().any(is_there) {
        lines.push("While a role that is there is imported, it has no permissions for a moment.".to_owned());
    }
    lines.extend(left_out(wanted, present));
    lines.into_iter().fold(String::new(), |head, line| head + "# " + &line + "\n")
}

/// Returns what is wanted and not in the file.
fn left_out(wanted: &Wanted, present: Option<&Present>) -> Vec<String> {
    let reason = |name: &String| match present {
        None => Some("what kind it is, is not known"),
        Some(present) => match connection(present, name) {
            None => Some("the tenant has none of that name"),
            Some(connection) if connection.is_domain_connection || keeps_options(connection) => None,
            Some(_) => Some("the deploy CLI replaces its options; `fastmcp-auth0 tenant apply` does not"),
        },
    };
    let line = |name: &String| {
        let name_in_quotes = quoted(name);
        Some(format!("Not in here: connection {name_in_quotes}, to be at domain level: {}.", reason(name)?))
    };
    let mut lines: Vec<String> = wanted.connections.iter().filter_map(line).collect();
    if !wanted.assignments.is_empty() {
        lines.push("Not in here: roles of users. `fastmcp-auth0 tenant apply` gives them.".to_owned());
    }
    lines
}

/// Returns whether the deploy CLI changes a connection without its options. Of a database it sends those that it may read, and a
/// default of its own; of passwordless email it wants them in the file.
fn keeps_options(connection: &Connection) -> bool {
    !matches!(connection.strategy.as_str(), "auth0" | "email")
}

/// Returns the scopes that the deploy CLI needs for the keys in the file.
fn scopes(keys: &BTreeSet<&str>) -> Vec<&'static str> {
    let needed = |key: &str| -> &[&'static str] {
        match key {
            "resourceServers" => {
                &["read:resource_servers", "create:resource_servers", "update:resource_servers"]
            }
            "clientGrants" => {
                &["read:clients", "read:client_grants", "create:client_grants", "update:client_grants"]
            }
            "clients" => &["read:clients", "create:clients", "update:clients"],
            "roles" => &["read:roles", "create:roles", "update:roles"],
            "connections" => &["read:clients", "read:connections", "update:connections"],
            _ => &["read:tenant_settings", "update:tenant_settings"],
        }
    };
    keys.iter().flat_map(|key| needed(key)).copied().collect::<BTreeSet<_>>().into_iter().collect()
}

fn settings(wanted: &Wanted) -> Node {
    let mut flags: Entries = Vec::new();
    if wanted.dynamic_registration {
        flags.push(("enable_dynamic_client_registration", Node::Bool(true)));
    }
    flags.push(("use_scope_descriptions_for_consent", Node::Bool(true)));
    let mut settings = vec![
        ("resource_parameter_profile", text(COMPATIBILITY)),
        ("authorization_response_iss_parameter_supported", Node::Bool(true)),
    ];
    if wanted.metadata_documents {
        settings.push(("client_id_metadata_document_supported", Node::Bool(true)));
    }
    settings.push(("flags", Node::Map(flags)));
    Node::Map(settings)
}

fn apis(wanted: &Wanted, present: Option<&Present>) -> Node {
    let mut names = BTreeSet::new();
    let api = |api| self::api(api, present, &mut names);
    Node::List(wanted.apis.iter().map(api).collect())
}

fn api(wanted: &WantedApi, present: Option<&Present>, names: &mut BTreeSet<String>) -> Node {
    let now = present.and_then(|present| present.api(&wanted.identifier));
    let mut name = now.map_or(&wanted.name, |api| &api.name).clone();
    if !names.insert(name.clone()) {
        // The deploy CLI refuses two of one name.
        name = format!("{name} {}", wanted.identifier);
    }
    let mut api = vec![("name", text(name)), ("identifier", text(&wanted.identifier))];
    if now.is_none() {
        api.push(("signing_alg", text("RS256")));
    }
    api.push(("token_dialect", text(merged::dialect(now))));
    api.push(("enforce_policies", Node::Bool(true)));
    if now.is_none() || wanted.allow_offline_access {
        api.push(("allow_offline_access", Node::Bool(wanted.allow_offline_access)));
    }
    if let Some(lifetime) = wanted.token_lifetime {
        api.push(("token_lifetime", Node::Number(lifetime)));
    }
    if let Some(now) = now {
        repairs(now, &mut api);
    }
    api.push(("scopes", Node::List(merged::scopes(wanted, now).into_iter().map(scope).collect())));
    Node::Map(api)
}

fn scope((value, description): (&str, &str)) -> Node {
    let mut scope = vec![("value", text(value))];
    if !description.is_empty() {
        scope.push(("description", text(description)));
    }
    Node::Map(scope)
}

/// Adds what takes away what is in the way of an MCP server.
fn repairs(present: &ResourceServer, api: &mut Entries) {
    if present.token_encryption.is_some() {
        api.push(("token_encryption", Node::Null));
    }
    let access = &present.subject_type_authorization;
    if access.user.policy.as_deref() == Some("deny_all") {
        let policy = |policy| Node::Map(vec![("policy", text(policy))]);
        let client = access.client.policy.as_deref().unwrap_or("require_client_grant");
        let authorization = vec![("user", policy("require_client_grant")), ("client", policy(client))];
        api.push(("subject_type_authorization", Node::Map(authorization)));
    }
}

/// Returns the default grants of the APIs. The deploy CLI finds them by API alone and not by subject, one after the other: those that
/// are there are named in their order.
fn grants(wanted: &Wanted, present: Option<&Present>) -> Vec<Node> {
    let mut grants = Vec::new();
    for api in &wanted.apis {
        let now: Vec<&ClientGrant> = present
            .into_iter()
            .flat_map(|present| &present.grants)
            .filter(|grant| is_default(grant, api))
            .collect();
        grants.extend(now.iter().filter_map(|grant| present_grant(grant, api)));
        if !now.iter().any(|grant| grant.is_default_for_users()) {
            grants.push(grant(api, "user", merged::grant_scopes(api, None)));
        }
    }
    grants
}

fn is_default(grant: &ClientGrant, api: &WantedApi) -> bool {
    grant.audience == api.identifier && grant.default_for == Some(DefaultFor::ThirdPartyClients)
}

fn present_grant(present: &ClientGrant, api: &WantedApi) -> Option<Node> {
    let subject = match present.subject_type {
        SubjectType::User => "user",
        SubjectType::Client => "client",
        SubjectType::Other => return None,
    };
    let scopes = match present.subject_type {
        SubjectType::User => merged::grant_scopes(api, Some(present)),
        SubjectType::Client | SubjectType::Other => present.scope.iter().map(String::as_str).collect(),
    };
    Some(if present.grants_everything() {
        let mut grant = grant_of(api, subject);
        grant.push(("allow_all_scopes", Node::Bool(true)));
        Node::Map(grant)
    } else {
        grant(api, subject, scopes)
    })
}

fn grant(api: &WantedApi, subject: &str, scopes: Vec<&str>) -> Node {
    let mut grant = grant_of(api, subject);
    grant.push(("scope", Node::List(scopes.into_iter().map(text).collect())));
    Node::Map(grant)
}

fn grant_of(api: &WantedApi, subject: &str) -> Entries {
    vec![
        ("default_for", text("third_party_clients")),
        ("audience", text(&api.identifier)),
        ("subject_type", text(subject)),
    ]
}

/// Returns the clients of metadata documents. One that is there already is found by its document, and stays as it is.
fn clients(wanted: &Wanted, present: Option<&Present>) -> Vec<Node> {
    let client = |url: &String| {
        let clients = present.into_iter().flat_map(|present| &present.clients);
        let mut same = clients.filter(|client| client.external_client_id.as_ref() == Some(url));
        // The name of a new one comes from its document; the deploy CLI wants one all the same.
        let name = same.next().map_or(url, |client| &client.name);
        Node::Map(vec![("name", text(name)), ("external_client_id", text(url))])
    };
    wanted.client_documents.iter().map(client).collect()
}

fn connection<'a>(present: &'a Present, name: &str) -> Option<&'a Connection> {
    present.connections.iter().find(|connection| connection.name == name)
}

/// Returns the connections that keep their options, which are left out.
fn connections(wanted: &Wanted, present: Option<&Present>) -> Vec<Node> {
    let known = wanted.connections.iter().filter_map(|name| connection(present?, name));
    let entry = |connection: &Connection| {
        let mut entries = vec![("name", text(&connection.name)), ("strategy", text(&connection.strategy))];
        if let Some(display_name) = &connection.display_name {
            // Left out, Auth0 would overwrite it.
            entries.push(("display_name", text(display_name)));
        }
        entries.push(("is_domain_connection", Node::Bool(true)));
        Node::Map(entries)
    };
    known.filter(|connection| keeps_options(connection)).map(entry).collect()
}

fn roles(wanted: &Wanted, present: Option<&Present>) -> Node {
    Node::List(wanted.roles.iter().map(|role| self::role(wanted, role, present)).collect())
}

fn role(wanted: &Wanted, role: &WantedRole, present: Option<&Present>) -> Node {
    let mut entries = vec![("name", text(&role.name))];
    if present.and_then(|present| present.role(&role.name)).is_none() {
        entries.push(("description", text(&role.description)));
    }
    // Left out, all of them would be removed.
    let permissions = merged::permissions(wanted, role, present).into_iter().map(|permission| {
        Node::Map(vec![
            ("permission_name", text(permission.permission_name)),
            ("resource_server_identifier", text(permission.resource_server_identifier)),
        ])
    });
    entries.push(("permissions", Node::List(permissions.collect())));
    Node::Map(entries)
}
