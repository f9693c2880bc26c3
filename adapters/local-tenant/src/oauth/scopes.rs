//! Who gets which scopes: Auth0's rules for roles ("RBAC" with "add permissions") and for third parties.

use std::collections::BTreeSet;

use crate::model::client::ClientRecord;
use crate::model::directory::{ResourceServer, State, SubjectType};
use crate::model::options::{GrantType, User};
use crate::model::scopes::{IDENTITY_SCOPES, OFFLINE_ACCESS};
use crate::oauth::access::{Access, covers, grant};
use crate::oauth::token::TokenError;

/// Returns the scopes that a user can grant to a client, out of the `requested` ones; the rest is dropped silently, as Auth0
/// does. Without a request, these are all scopes of the API that the user has (RFC 6749 section 3.3).
pub(crate) fn grantable(
    state: &State,
    access: Access<'_>,
    user: &User,
    client: &ClientRecord,
    requested: Option<&str>,
) -> Vec<String> {
    let of_user = access.api.map(|api| possible_for(state, user, api)).unwrap_or_default();
    let possible = access.scopes().map(|scope| scope.value.as_str()).filter(|scope| of_user.contains(scope));
    let Some(requested) = requested else {
        return possible.map(str::to_owned).collect();
    };
    let requested: BTreeSet<&str> = requested.split_ascii_whitespace().collect();
    let identity = IDENTITY_SCOPES.into_iter().filter(|_| client.may_identify_users());
    let offline = Some(OFFLINE_ACCESS).filter(|_| may_be_offline(access, client));
    let possible = possible.chain(identity).chain(offline);
    possible.filter(|scope| requested.contains(scope)).map(str::to_owned).collect()
}

/// Returns the scopes that are both requested and the user's, in the API's order.
///
/// # Errors
/// [`TokenError::UnknownScope`] for a scope that the API does not define. Auth0 drops it silently; here, a typing mistake
/// must not become a token that lacks a scope.
pub(crate) fn granted_strictly(
    state: &State,
    api: &ResourceServer,
    requested: Option<&str>,
    user: &User,
) -> Result<Vec<String>, TokenError> {
    let possible = possible_for(state, user, api);
    let Some(requested) = requested else {
        return Ok(owned(&possible));
    };
    let requested: BTreeSet<&str> = requested.split_ascii_whitespace().collect();
    let defined = defined_by(api);
    if let Some(unknown) = requested.iter().find(|scope| !defined.contains(scope)) {
        return Err(TokenError::UnknownScope { asked: (*unknown).to_owned(), known: owned(&defined) });
    }
    Ok(possible.iter().filter(|scope| requested.contains(*scope)).map(|&scope| scope.to_owned()).collect())
}

/// Returns the scopes of an API that the user's roles assign, in the API's order.
pub(crate) fn assigned_to<'a>(state: &'a State, user: &User, api: &'a ResourceServer) -> Vec<&'a str> {
    let ids = state.assignments.get(&user.sub);
    let roles = state.roles.iter().filter(|role| ids.is_some_and(|ids| ids.contains(&role.id)));
    let permissions = roles.flat_map(|role| &role.permissions);
    let permissions = permissions.filter(|it| it.resource_server_identifier == api.identifier);
    let assigned: BTreeSet<&str> = permissions.map(|it| it.permission_name.as_str()).collect();
    defined_by(api).into_iter().filter(|scope| assigned.contains(scope)).collect()
}

/// Returns what the claim `permissions` says: all that the user's roles assign, or that the client's own grant has.
pub(crate) fn permissions<'a>(
    state: &'a State,
    api: &'a ResourceServer,
    client: &ClientRecord,
    user: Option<&User>,
) -> Vec<&'a str> {
    if let Some(user) = user {
        return assigned_to(state, user, api);
    }
    let grant = grant(state, client, api, SubjectType::Client);
    defined_by(api).into_iter().filter(|scope| grant.is_some_and(|grant| covers(grant, scope))).collect()
}

/// Returns whether a client can get refresh tokens for an API.
pub(crate) fn may_be_offline(access: Access<'_>, client: &ClientRecord) -> bool {
    access.api.is_some_and(|api| api.allow_offline_access)
        && client.grant_types.contains(&GrantType::RefreshToken)
}

/// Returns why a requested scope was not granted, for the log.
pub(crate) fn why_not_granted(access: Access<'_>, client: &ClientRecord, scope: &str) -> &'static str {
    let Some(api) = access.api else {
        return "no API was asked for";
    };
    if scope == OFFLINE_ACCESS && !may_be_offline(access, client) {
        return if api.allow_offline_access {
            "the client has no grant refresh_token"
        } else {
            "the API has allow_offline_access off"
        };
    }
    if IDENTITY_SCOPES.contains(&scope) && !client.may_identify_users() {
        return "third parties do not get it in strict mode";
    }
    if access.scopes().any(|allowed| allowed.value == scope) {
        "no role of the user assigns it"
    } else if defined_by(api).contains(&scope) {
        "the client grant does not have it"
    } else {
        "the API does not define it"
    }
}

/// Returns the scopes that a client gets on its own behalf, out of the `requested` ones.
pub(crate) fn grantable_to_client(access: Access<'_>, requested: Option<&str>) -> Vec<String> {
    let requested: Option<BTreeSet<&str>> = requested.map(|scopes| scopes.split_ascii_whitespace().collect());
    let is_requested = |scope: &&str| requested.as_ref().is_none_or(|names| names.contains(scope));
    let granted = access.scopes().map(|scope| scope.value.as_str());
    granted.filter(is_requested).map(str::to_owned).collect()
}

/// Returns the scopes of an API that a user can grant: with RBAC those of the user's roles, without it all of them.
fn possible_for<'a>(state: &'a State, user: &User, api: &'a ResourceServer) -> Vec<&'a str> {
    if api.enforce_policies { assigned_to(state, user, api) } else { defined_by(api) }
}

fn defined_by(api: &ResourceServer) -> Vec<&str> {
    api.scopes.iter().map(|scope| scope.value.as_str()).collect()
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}
