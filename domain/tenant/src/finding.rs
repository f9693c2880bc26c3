//! A diagnosis of a tenant: each finding with what is seen, what a user meets, and how to mend it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::plan::{Change, FieldChange, Prune, plan};
use crate::present::{Present, SubjectType};
use crate::setting::Setting;
use crate::wanted::Wanted;

/// More third-party clients than this are worth a look: plans limit them, and unused ones are never deleted by themselves.
const MANY_CLIENTS: usize = 100;
/// How many names a finding lists.
const MAX_NAMES: usize = 10;

/// Something about a tenant that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The setting.
    pub setting: Setting,
    /// How bad it is.
    pub severity: Severity,
    /// What it belongs to.
    pub target: String,
    /// What is seen.
    pub seen: String,
    /// What a user meets.
    pub symptom: &'static str,
    /// How to mend it in the dashboard.
    pub dashboard: &'static str,
    /// How to mend it by a command.
    pub command: &'static str,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Someone can't log in or call a tool, or can who should not.
    Problem,
    /// It works, but not as well as it could, or not for everybody.
    Warning,
    /// Nothing differs from what is wanted; it is worth a look.
    Advice,
}

impl Finding {
    fn new(setting: Setting, severity: Severity, target: impl Into<String>, seen: impl Into<String>) -> Self {
        Self {
            setting,
            severity,
            target: target.into(),
            seen: seen.into(),
            symptom: setting.symptom(),
            dashboard: setting.dashboard(),
            command: setting.command(),
        }
    }
}

/// Returns everything that is not as it should be, the worst first.
#[must_use]
pub fn findings(wanted: &Wanted, present: &Present) -> Vec<Finding> {
    let plan = plan(wanted, present, Prune::Keep);
    let mut found: Vec<Finding> = plan.changes.iter().flat_map(|change| of_change(change, present)).collect();
    for blocked in plan.blocked {
        found.push(Finding::new(blocked.setting, severity(blocked.setting), blocked.target, blocked.problem));
    }
    for kept in plan.kept {
        let setting = if kept.target.starts_with("api ") { Setting::ApiScopes } else { continue };
        found.push(Finding::new(setting, Severity::Warning, kept.target, kept.what));
    }
    found.extend(ways_to_an_id(wanted, present));
    found.extend(narrower_grants(wanted, present));
    found.extend(blocking_strict_clients(present));
    found.extend(blocking_organizations(present));
    found.extend(unassigned_roles(wanted, present));
    found.extend(other_domains(wanted, present));
    if present.clients.len() > MANY_CLIENTS {
        let seen = format!("there are {} third-party clients", present.clients.len());
        found.push(Finding::new(Setting::ClientCount, Severity::Advice, "clients", seen));
    }
    found.sort_by_key(|finding| finding.severity);
    found
}

/// Returns the findings of a change, one for each setting.
fn of_change(change: &Change, present: &Present) -> Vec<Finding> {
    let mut by_setting: BTreeMap<Setting, Vec<&FieldChange>> = BTreeMap::new();
    for field in &change.fields {
        by_setting.entry(field.setting).or_default().push(field);
    }
    // Of something that is missing, that says it all.
    if let Some(setting) = [Setting::Api, Setting::DefaultGrant, Setting::Role, Setting::ClientDocument]
        .into_iter()
        .find(|setting| by_setting.contains_key(setting))
    {
        let seen = missing(setting, change, present);
        return vec![Finding::new(setting, severity(setting), &change.target, seen)];
    }
    let finding = |(setting, fields): (Setting, Vec<&FieldChange>)| {
        Finding::new(setting, severity(setting), &change.target, seen(&fields))
    };
    by_setting.into_iter().map(finding).collect()
}

fn missing(setting: Setting, change: &Change, present: &Present) -> String {
    let for_machines = || {
        let mut grants = present.grants.iter().filter(|grant| grant.default_for.is_some());
        grants.any(|grant| {
            grant.subject_type == SubjectType::Client && change.target.ends_with(&grant.audience)
        })
    };
    if setting == Setting::DefaultGrant && for_machines() {
        return "there is one for machines (subject_type client), and none for users".to_owned();
    }
    "it does not exist".to_owned()
}

fn seen(fields: &[&FieldChange]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let lacking: Vec<&str> =
        fields.iter().filter(|field| field.before.is_null()).filter_map(|field| item(&field.field)).collect();
    if !lacking.is_empty() {
        parts.push(format!("it lacks {}", listed(&lacking)));
    }
    for field in fields.iter().filter(|field| !(field.before.is_null() && item(&field.field).is_some())) {
        let now = if field.before.is_null() { "not set".to_owned() } else { field.before.to_string() };
        let wanted = if field.after == Value::Null { "not set".to_owned() } else { field.after.to_string() };
        parts.push(format!("{} is {now}, and should be {wanted}", field.field));
    }
    parts.join("; ")
}

/// Returns the item of a list that a field is.
fn item(field: &str) -> Option<&str> {
    field.split_once('[').and_then(|(_, item)| item.strip_suffix(']'))
}

fn listed(names: &[&str]) -> String {
    let shown = names.iter().take(MAX_NAMES).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Clients need an id: they register, have a document, or were made by hand.
fn ways_to_an_id(wanted: &Wanted, present: &Present) -> Option<Finding> {
    let settings = &present.settings;
    let can_register = settings.flags.enable_dynamic_client_registration == Some(true);
    let announces = settings.client_id_metadata_document_supported == Some(true);
    let is_wanted = wanted.dynamic_registration || wanted.metadata_documents;
    (!can_register && !announces && !is_wanted && present.clients.is_empty()).then(|| {
        let seen = "clients can't register, documents are not announced, and there is no third-party client";
        Finding::new(Setting::DynamicRegistration, Severity::Problem, "clients", seen)
    })
}

/// A client's own grant goes before the default.
fn narrower_grants<'a>(wanted: &'a Wanted, present: &'a Present) -> impl Iterator<Item = Finding> + 'a {
    let grants = present.grants.iter().filter(|grant| grant.subject_type == SubjectType::User);
    grants.filter_map(move |grant| {
        let (client, api) =
            (grant.client_id.as_ref()?, wanted.apis.iter().find(|api| api.identifier == grant.audience)?);
        let lacks: Vec<&str> =
            api.scopes.keys().filter(|scope| !grant.scope.contains(scope)).map(String::as_str).collect();
        let is_narrower = !grant.grants_everything() && !lacks.is_empty();
        let seen = || format!("its own grant goes before the default one, and lacks {}", listed(&lacks));
        is_narrower.then(|| {
            Finding::new(Setting::GrantScopes, Severity::Warning, format!("client {client}"), seen())
        })
    })
}

fn blocking_strict_clients(present: &Present) -> Vec<Finding> {
    let mut found = Vec::new();
    for (setting, names) in [(Setting::Rules, &present.rules), (Setting::Hooks, &present.hooks)] {
        let names: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
        if !names.is_empty() {
            found.push(Finding::new(
                setting,
                Severity::Problem,
                "login",
                format!("active: {}", listed(&names)),
            ));
        }
    }
    let experience =
        present.prompts.as_ref().and_then(|prompts| prompts.universal_login_experience.as_deref());
    if experience == Some("classic") {
        let seen = "universal_login_experience is \"classic\"";
        found.push(Finding::new(Setting::LoginExperience, Severity::Problem, "login", seen));
    }
    found
}

fn blocking_organizations(present: &Present) -> Option<Finding> {
    let organizations = present.organizations.iter().flatten();
    let blocking: Vec<&str> = organizations
        .filter(|organization| organization.third_party_client_access.as_deref() != Some("allow"))
        .map(|organization| organization.name.as_str())
        .collect();
    (!blocking.is_empty()).then(|| {
        let seen = format!("they do not admit third-party clients: {}", listed(&blocking));
        Finding::new(Setting::OrganizationAccess, Severity::Advice, "organizations", seen)
    })
}

/// A role that nobody has helps nobody; of several, one may be there for later.
fn unassigned_roles(wanted: &Wanted, present: &Present) -> Option<Finding> {
    let unassigned = present.unassigned_roles.as_deref().unwrap_or_default();
    let there = wanted.roles.iter().filter(|role| present.role(&role.name).is_some());
    let is_nobody = !unassigned.is_empty() && there.count() == unassigned.len();
    is_nobody.then(|| {
        let names: Vec<&str> = unassigned.iter().map(String::as_str).collect();
        let mut finding = Finding::new(
            Setting::RoleAssignment,
            Severity::Advice,
            "users",
            format!("no user has any of the roles {}", listed(&names)),
        );
        finding.command = "fastmcp-auth0 tenant apply --assign USER=ROLE";
        finding
    })
}

/// Logins at a custom domain get tokens of another issuer.
fn other_domains<'a>(wanted: &'a Wanted, present: &'a Present) -> impl Iterator<Item = Finding> + 'a {
    let domains = present.custom_domains.iter().flatten();
    domains.filter(|domain| !wanted.issuer_hosts.contains(domain)).map(|domain| {
        let seen = "it is ready for logins, and the server accepts no tokens that name it as their issuer";
        Finding::new(Setting::CustomDomain, Severity::Warning, format!("custom domain {domain}"), seen)
    })
}

const fn severity(setting: Setting) -> Severity {
    match setting {
        Setting::IssuerInResponses
        | Setting::ScopeDescriptionsAtConsent
        | Setting::ScopeDescription
        | Setting::TokenDialect
        | Setting::OfflineAccess
        | Setting::TokenLifetime
        | Setting::OrganizationAccess
        | Setting::CustomDomain
        | Setting::ClientCount => Severity::Warning,
        _ => Severity::Problem,
    }
}

#[cfg(test)]
mod tests;
