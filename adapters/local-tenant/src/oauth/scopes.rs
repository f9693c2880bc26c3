//! Who gets which scopes: Auth0's rules for roles ("RBAC" with "add permissions") and for third parties.

use std::collections::BTreeSet;

use crate::model::client::ClientRecord;
use crate::model::options::{Api, GrantType, Options, User};
use crate::model::scopes::{IDENTITY_SCOPES, OFFLINE_ACCESS};
use crate::oauth::token::TokenError;

/// Returns the scopes that a user can grant to a client, out of the `requested` ones; the rest is dropped silently, as Auth0
/// does. Without a request, these are all scopes of the API that are assigned to the user (RFC 6749 section 3.3).
pub(crate) fn grantable(
    options: &Options,
    api: &Api,
    user: &User,
    client: &ClientRecord,
    requested: Option<&str>,
) -> Vec<String> {
    let assigned = options.assigned_to(user, api);
    let Some(requested) = requested else {
        return owned(&assigned);
    };
    let requested: BTreeSet<&str> = requested.split_ascii_whitespace().collect();
    let identity = IDENTITY_SCOPES.into_iter().filter(|_| client.may_identify_users());
    let offline = Some(OFFLINE_ACCESS).filter(|_| may_be_offline(api, client));
    let possible = assigned.into_iter().chain(identity).chain(offline);
    possible.filter(|scope| requested.contains(scope)).map(str::to_owned).collect()
}

/// Returns the scopes that are both requested and assigned, in the API's order.
///
/// # Errors
/// [`TokenError::UnknownScope`] for a scope that the API does not define. Auth0 drops it silently; here, a typing mistake
/// must not become a token that lacks a scope.
pub(crate) fn granted_strictly(
    options: &Options,
    api: &Api,
    requested: Option<&str>,
    user: &User,
) -> Result<Vec<String>, TokenError> {
    let assigned = options.assigned_to(user, api);
    let Some(requested) = requested else {
        return Ok(owned(&assigned));
    };
    let requested: BTreeSet<&str> = requested.split_ascii_whitespace().collect();
    let defined: Vec<&str> = api.scope_names().collect();
    if let Some(unknown) = requested.iter().find(|scope| !defined.contains(scope)) {
        return Err(TokenError::UnknownScope { asked: (*unknown).to_owned(), known: owned(&defined) });
    }
    Ok(assigned.iter().filter(|scope| requested.contains(*scope)).map(|&scope| scope.to_owned()).collect())
}

/// Returns whether a client can get refresh tokens for an API.
pub(crate) fn may_be_offline(api: &Api, client: &ClientRecord) -> bool {
    api.allow_offline_access && client.grant_types.contains(&GrantType::RefreshToken)
}

/// Returns why a requested scope was not granted, for the log.
pub(crate) fn why_not_granted(api: &Api, client: &ClientRecord, scope: &str) -> &'static str {
    if scope == OFFLINE_ACCESS && !may_be_offline(api, client) {
        return if api.allow_offline_access {
            "the client has no grant refresh_token"
        } else {
            "the API has allow_offline_access off"
        };
    }
    if IDENTITY_SCOPES.contains(&scope) && !client.may_identify_users() {
        return "third parties do not get it in strict mode";
    }
    if api.scope_names().any(|defined| defined == scope) {
        "no role of the user assigns it"
    } else {
        "the API does not define it"
    }
}

/// Returns the scopes that a client gets on its own behalf, out of the `requested` ones.
pub(crate) fn grantable_to_client(api: &Api, client: &ClientRecord, requested: Option<&str>) -> Vec<String> {
    let requested: Option<BTreeSet<&str>> = requested.map(|scopes| scopes.split_ascii_whitespace().collect());
    let is_requested = |scope: &&str| requested.as_ref().is_none_or(|names| names.contains(scope));
    let is_permitted = |scope: &&str| client.permissions.iter().any(|permitted| permitted == scope);
    api.scope_names().filter(is_permitted).filter(is_requested).map(str::to_owned).collect()
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}
