//! Who gets which scopes: Auth0's rules for roles ("RBAC" with "add permissions") and for third parties.

use std::collections::BTreeSet;

use crate::model::client::ClientRecord;
use crate::model::options::{Api, GrantType, Options, User};
use crate::model::scopes::{IDENTITY_SCOPES, OFFLINE_ACCESS};
use crate::oauth::token::TokenError;

/// What a user can grant a client of what it asks for: Auth0 drops the rest without a word. Without a request, it is
/// everything that the API assigns (RFC 6749 section 3.3).
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

/// Requested and assigned, in the API's order. What the API does not define is an error here, where Auth0 drops
/// it without a word: a typing mistake should not become a token that lacks something.
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

/// Whether a client can have refresh tokens for an API.
pub(crate) fn may_be_offline(api: &Api, client: &ClientRecord) -> bool {
    api.allow_offline_access && client.grant_types.contains(&GrantType::RefreshToken)
}

/// Why a user's grant lacks a scope that a client asked for.
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

/// What a client gets on its own behalf of what it asks for.
pub(crate) fn grantable_to_machine(api: &Api, client: &ClientRecord, requested: Option<&str>) -> Vec<String> {
    let requested: Option<BTreeSet<&str>> = requested.map(|scopes| scopes.split_ascii_whitespace().collect());
    let is_asked_for = |scope: &&str| requested.as_ref().is_none_or(|asked| asked.contains(scope));
    let is_permitted = |scope: &&str| client.permissions.iter().any(|permitted| permitted == scope);
    api.scope_names().filter(is_permitted).filter(is_asked_for).map(str::to_owned).collect()
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}
