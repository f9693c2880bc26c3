//! What the server and its configuration ask of the tenant.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use domain::{Catalog, Scope};
use tenant::{Assignment, Wanted, WantedApi, WantedRole, WantedScope};
use url::Url;

use crate::config::settings::managed_tenant::ManagedTenant;
use crate::config::{Problem, Problems, Settings, name_like};
use crate::server::Profile;
use crate::wiring;

/// Returns what the tenant must have.
///
/// # Errors
/// When roles name scopes that nothing asks for, or assignments are no assignments.
pub(super) fn wanted(
    settings: &Settings,
    profile: &Profile,
    catalog: &Catalog,
    assign: &[String],
) -> anyhow::Result<Wanted> {
    let tenant = &settings.managed_tenant;
    let scopes = scopes(settings, profile, catalog);
    check_roles(tenant, &scopes)?;
    Ok(Wanted {
        apis: apis(settings, &scopes),
        dynamic_registration: tenant.dynamic_registration,
        metadata_documents: tenant.metadata_documents,
        client_documents: tenant.client_documents.clone(),
        connections: tenant.connections.clone(),
        roles: roles(tenant, &scopes),
        assignments: assignments(tenant, assign)?,
        issuer_hosts: issuer_hosts(settings),
    })
}

/// Returns every scope that something asks for, that stands for one of them, or that is described.
fn scopes(settings: &Settings, profile: &Profile, catalog: &Catalog) -> BTreeMap<String, WantedScope> {
    let asked = wiring::asked_scopes(settings, catalog);
    let hierarchy = &settings.scopes.hierarchy;
    let asked = asked.iter().flat_map(|scope| std::iter::once(scope).chain(hierarchy.broader(scope)));
    let described = &settings.managed_tenant.scopes;
    let names: BTreeSet<&str> =
        asked.map(Scope::as_str).chain(described.keys().map(String::as_str)).collect();
    let scope = |name: &str| {
        let written = described.get(name).cloned().or_else(|| profile.written_description(name));
        let is_written = written.is_some();
        let description = written.unwrap_or_else(|| profile.scope_description(name, catalog));
        (name.to_owned(), WantedScope { description, is_written })
    };
    names.into_iter().map(scope).collect()
}

fn issuer_hosts(settings: &Settings) -> Vec<String> {
    let issuers = std::iter::once(&settings.auth0.issuer).chain(&settings.auth0.additional_issuers);
    issuers.filter_map(|issuer| Some(Url::parse(issuer).ok()?.host_str()?.to_owned())).collect()
}

/// Returns an API for each audience, the main one first.
fn apis(settings: &Settings, scopes: &BTreeMap<String, WantedScope>) -> Vec<WantedApi> {
    let tenant = &settings.managed_tenant;
    let others = settings.endpoints.iter().filter_map(|endpoint| endpoint.audience.as_ref());
    let mut apis: Vec<WantedApi> = Vec::new();
    for audience in std::iter::once(&settings.auth0.audience).chain(others) {
        if !apis.iter().any(|api| api.identifier == **audience) {
            apis.push(WantedApi {
                identifier: audience.to_string(),
                name: settings.mcp.identity.title.clone(),
                scopes: scopes.clone(),
                token_lifetime: tenant.token_lifetime,
                allow_offline_access: tenant.offline_access,
            });
        }
    }
    // Names of APIs are shown side by side.
    if let [_, others @ ..] = apis.as_mut_slice() {
        for api in others {
            api.name = format!("{} ({})", api.name, api.identifier);
        }
    }
    apis
}

fn check_roles(tenant: &ManagedTenant, scopes: &BTreeMap<String, WantedScope>) -> Result<(), Problems> {
    let mut problems = Vec::new();
    for (name, role) in &tenant.roles {
        for scope in role.scopes.iter().map(Scope::as_str).filter(|scope| !scopes.contains_key(*scope)) {
            let advice = match name_like(scope, scopes.keys().map(String::as_str)) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("the scopes are {}", scopes.keys().cloned().collect::<Vec<_>>().join(", ")),
            };
            let message = format!("nothing asks for the scope {scope}; {advice}");
            problems.push(Problem {
                key: format!("auth0.tenant.roles.{name:?}.scopes"),
                source: None,
                message,
            });
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Problems::new(problems)) }
}

/// Returns the roles, the administrators' first. One that is also a table has what both say.
fn roles(tenant: &ManagedTenant, scopes: &BTreeMap<String, WantedScope>) -> Vec<WantedRole> {
    let mut roles = Vec::new();
    if let Some(name) = &tenant.administrator_role {
        let description = tenant.roles.get(name).map(|role| role.description.clone());
        roles.push(WantedRole {
            name: name.clone(),
            description: description.unwrap_or_else(|| "May use every tool".to_owned()),
            scopes: scopes.keys().cloned().collect(),
        });
    }
    for (name, role) in
        tenant.roles.iter().filter(|(name, _)| Some(*name) != tenant.administrator_role.as_ref())
    {
        roles.push(WantedRole {
            name: name.clone(),
            description: role.description.clone(),
            scopes: role.scopes.iter().map(ToString::to_string).collect(),
        });
    }
    roles
}

/// Returns the users that are given roles, by the configuration and by `--assign`.
fn assignments(tenant: &ManagedTenant, assign: &[String]) -> anyhow::Result<Vec<Assignment>> {
    let mut by_user: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, role) in &tenant.roles {
        for user in &role.users {
            by_user.entry(user.clone()).or_default().insert(name.clone());
        }
    }
    for argument in assign {
        let (user, role) = argument.split_once('=').unwrap_or_default();
        let (user, role) = (user.trim(), role.trim());
        anyhow::ensure!(!user.is_empty() && !role.is_empty(), "--assign takes USER=ROLE, not {argument:?}");
        by_user.entry(user.to_owned()).or_default().insert(role.to_owned());
    }
    for user in by_user.keys() {
        let is_named = user.contains('|') || user.contains('@');
        is_named.then_some(()).with_context(|| {
            format!("{user:?} names no user: give an id such as auth0|123, or an email address")
        })?;
    }
    Ok(by_user.into_iter().map(|(user, roles)| Assignment { user, roles }).collect())
}
