//! A server's wishes and a tenant, for the tests of this crate.

use std::collections::{BTreeMap, BTreeSet};

use crate::present::{
    ApiScope, ClientGrant, Connection, DefaultFor, Permission, Present, ResourceServer, Role, SubjectType,
};
use crate::wanted::{Assignment, Wanted, WantedApi, WantedRole, WantedScope};

pub(crate) const API: &str = "http://localhost:3001/mcp";
pub(crate) const DATABASE: &str = "Username-Password-Authentication";
pub(crate) const DOCUMENT: &str = "https://client.example.com/client.json";

/// Returns everything that can be wanted, once.
pub(crate) fn wanted() -> Wanted {
    Wanted {
        apis: vec![api(API)],
        dynamic_registration: true,
        metadata_documents: true,
        client_documents: vec![DOCUMENT.to_owned()],
        connections: vec![DATABASE.to_owned()],
        roles: vec![role("MCP Admin", &["tool:greet", "tool:whoami"])],
        assignments: vec![assignment("auth0|1", &["MCP Admin"])],
        issuer_hosts: Vec::new(),
    }
}

pub(crate) fn api(identifier: &str) -> WantedApi {
    let scope = |text: &str, is_written| WantedScope { description: text.to_owned(), is_written };
    WantedApi {
        identifier: identifier.to_owned(),
        name: "My server".to_owned(),
        scopes: BTreeMap::from([
            ("tool:greet".to_owned(), scope("Greet somebody", true)),
            ("tool:whoami".to_owned(), scope("Call whoami", false)),
        ]),
        token_lifetime: Some(3600),
        allow_offline_access: true,
    }
}

pub(crate) fn role(name: &str, scopes: &[&str]) -> WantedRole {
    WantedRole { name: name.to_owned(), description: "Made for MCP".to_owned(), scopes: set(scopes) }
}

pub(crate) fn assignment(user: &str, roles: &[&str]) -> Assignment {
    Assignment { user: user.to_owned(), roles: set(roles) }
}

/// Returns a tenant with nothing but a database.
pub(crate) fn new_tenant() -> Present {
    let database = Connection {
        id: "con_1".to_owned(),
        name: DATABASE.to_owned(),
        strategy: "auth0".to_owned(),
        ..Connection::default()
    };
    Present { connections: vec![database], ..Present::default() }
}

/// Returns a tenant where others use the same API, grant and role.
pub(crate) fn used_tenant() -> Present {
    let scope =
        |value: &str, text: &str| ApiScope { value: value.to_owned(), description: Some(text.to_owned()) };
    let api = ResourceServer {
        id: "rs_1".to_owned(),
        name: "Their API".to_owned(),
        identifier: API.to_owned(),
        token_dialect: Some("access_token_authz".to_owned()),
        scopes: vec![scope("theirs", "What they do"), scope("tool:whoami", "Their words")],
        ..ResourceServer::default()
    };
    let role = Role {
        id: "rol_1".to_owned(),
        name: "MCP Admin".to_owned(),
        permissions: BTreeSet::from([permission("urn:other", "other"), permission(API, "theirs")]),
    };
    let grants = vec![
        grant("cgr_machines", SubjectType::Client, &["theirs"]),
        grant("cgr_users", SubjectType::User, &["tool:whoami", "theirs"]),
    ];
    Present { apis: vec![api], roles: vec![role], grants, ..new_tenant() }
}

pub(crate) fn grant(id: &str, subject_type: SubjectType, scopes: &[&str]) -> ClientGrant {
    ClientGrant {
        id: id.to_owned(),
        default_for: Some(DefaultFor::ThirdPartyClients),
        audience: API.to_owned(),
        scope: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        subject_type,
        ..ClientGrant::default()
    }
}

pub(crate) fn permission(api: &str, scope: &str) -> Permission {
    Permission { resource_server_identifier: api.to_owned(), permission_name: scope.to_owned() }
}

pub(crate) fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}
