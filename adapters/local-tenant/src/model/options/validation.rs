//! Validation of the options: finds every contradiction, and names its key.

use std::collections::BTreeSet;

use syntax::scope_token::is_scope_token;

use super::{Api, GrantType, MAX_LIFETIME, Options, REDIRECT_STATUSES};
use crate::model::redirect_uri;

impl Options {
    /// Checks that the options do not contradict each other.
    ///
    /// # Errors
    /// Every problem, each with its key.
    pub fn validate(&self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        if !self.auth_time_claim.is_empty() && !is_claim(&self.auth_time_claim) {
            problems.push(
                "tenant.auth_time_claim is not named by an https or http URL, as custom claims are".into(),
            );
        }
        if !REDIRECT_STATUSES.contains(&self.redirect_status) {
            problems.push(format!("tenant.redirect_status is {}; it is 302 or 303", self.redirect_status));
        }
        check_api("tenant.api", &self.api, &mut problems);
        for api in &self.other_apis {
            check_api("tenant.other_apis", api, &mut problems);
        }
        self.check_identifiers(&mut problems);
        self.check_roles(&mut problems);
        self.check_users(&mut problems);
        self.check_clients(&mut problems);
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn check_identifiers(&self, problems: &mut Vec<String>) {
        if self.other_apis.iter().any(|api| api.identifier.is_none()) {
            problems.push("tenant.other_apis: an API has no identifier".into());
        }
        for identifier in repeated(self.apis().filter_map(|api| api.identifier.as_deref())) {
            problems
                .push(format!("tenant.other_apis: the identifier `{identifier}` is there more than once"));
        }
    }

    fn check_roles(&self, problems: &mut Vec<String>) {
        let defined: BTreeSet<&str> = self.apis().flat_map(Api::scope_names).collect();
        for role in &self.roles {
            if is_blank(&role.name) {
                problems.push("tenant.roles: a role has no name".into());
            }
            for permission in role.permissions.iter().filter(|name| !defined.contains(name.as_str())) {
                problems.push(format!(
                    "tenant.roles: `{}` has the permission `{permission}`, which tenant.api.scopes does not define",
                    role.name
                ));
            }
        }
        for name in repeated(self.roles.iter().map(|role| role.name.as_str())) {
            problems.push(format!("tenant.roles: `{name}` is there more than once"));
        }
    }

    fn check_users(&self, problems: &mut Vec<String>) {
        if self.users.is_empty() {
            problems.push("tenant.users is empty; nobody could log in".into());
        }
        let defined: BTreeSet<&str> = self.roles.iter().map(|role| role.name.as_str()).collect();
        for user in &self.users {
            if is_blank(&user.key) {
                problems.push(format!("tenant.users: the user with the sub `{}` has no key", user.sub));
            }
            if is_blank(&user.sub) {
                problems.push(format!("tenant.users: `{}` has no sub", user.key));
            }
            for name in user.claims.keys().filter(|name| !is_claim(name)) {
                problems.push(format!(
                    "tenant.users: `{}` has the claim `{name}`; custom claims are named by an https or http URL",
                    user.key
                ));
            }
            for role in user.roles.iter().filter(|name| !defined.contains(name.as_str())) {
                problems.push(format!(
                    "tenant.users: `{}` has the role `{role}`, which tenant.roles does not define",
                    user.key
                ));
            }
        }
        for key in repeated(self.users.iter().map(|user| user.key.as_str())) {
            problems.push(format!("tenant.users: the key `{key}` is there more than once"));
        }
        for sub in repeated(self.users.iter().map(|user| user.sub.as_str())) {
            problems.push(format!("tenant.users: the sub `{sub}` is there more than once"));
        }
        if let Some(key) = self.auto_consent.as_deref().filter(|key| self.user(key).is_none()) {
            let known = self.user_keys().join(", ");
            problems.push(format!("there is no user {key:?} who could consent; the tenant has {known}"));
        }
    }

    fn check_clients(&self, problems: &mut Vec<String>) {
        let defined: BTreeSet<&str> = self.apis().flat_map(Api::scope_names).collect();
        for client in &self.clients {
            let id = &client.id;
            let mut problem = |what: &str| problems.push(format!("tenant.clients: `{id}` {what}"));
            if is_blank(id) || is_blank(&client.name) {
                problem("has no id or no name");
            }
            for uri in client.redirect_uris.iter().filter(|uri| !redirect_uri::is_acceptable(uri)) {
                problem(&format!("has the redirect URI `{uri}`; {}", redirect_uri::ACCEPTED_REDIRECT_URIS));
            }
            for permission in client.permissions.iter().filter(|name| !defined.contains(name.as_str())) {
                problem(&format!(
                    "has the permission `{permission}`, which tenant.api.scopes does not define"
                ));
            }
            if client.secret.as_ref().is_some_and(|secret| is_blank(secret.expose())) {
                problem("has an empty secret; leave it out for a public client");
            }
            if client.secret.is_some() && client.public_key.is_some() {
                problem("has a secret and a public_key; it proves itself by one of them");
            }
            if client.on_behalf_of && client.secret.is_none() && client.public_key.is_none() {
                problem("has on_behalf_of, which needs a secret or a public_key");
            }
            if client.secret.is_none() && client.grant_types.contains(&GrantType::ClientCredentials) {
                problem("has the grant client_credentials, which needs a secret");
            }
        }
        for id in repeated(self.clients.iter().map(|client| client.id.as_str())) {
            problems.push(format!("tenant.clients: `{id}` is there more than once"));
        }
    }
}

/// Auth0 lets Actions set no other claims of tokens for an API.
fn is_claim(name: &str) -> bool {
    name.starts_with("https://") || name.starts_with("http://")
}

fn check_api(key: &str, api: &Api, problems: &mut Vec<String>) {
    if api.identifier.as_deref().is_some_and(is_blank) {
        problems.push("the API's identifier is empty".into());
    }
    if is_blank(&api.name) {
        problems.push(format!("{key}.name is empty"));
    }
    for (lifetime, given) in [
        ("token_lifetime_seconds", api.token_lifetime_seconds),
        ("third_party_token_lifetime_seconds", api.third_party_token_lifetime_seconds),
        ("refresh_token_lifetime_seconds", api.refresh_token_lifetime_seconds),
    ] {
        if !(1..=MAX_LIFETIME).contains(&given) {
            problems.push(format!("{key}.{lifetime} is {given}; it goes from 1 to {MAX_LIFETIME} (30 days)"));
        }
    }
    for scope in api.scope_names().filter(|scope| !is_scope_token(scope)) {
        problems.push(format!(
            "{key}.scopes: {scope:?} is no scope: printable ASCII without spaces, quotes and backslashes"
        ));
    }
    for scope in repeated(api.scope_names()) {
        problems.push(format!("{key}.scopes: `{scope}` is there more than once"));
    }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// Returns the values that occur more than once, without empty ones, which have a message of their own.
fn repeated<'a>(values: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    values.filter(|value| !is_blank(value) && !seen.insert(*value)).collect()
}
