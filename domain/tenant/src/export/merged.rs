//! What a list holds once everything wanted is in it and everything else has stayed.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::{better_dialect, is_described, permission};
use crate::present::{ClientGrant, Permission, Present, ResourceServer};
use crate::wanted::{Wanted, WantedApi, WantedRole};

/// Returns the profile of an API's tokens.
pub(super) fn dialect(present: Option<&ResourceServer>) -> &str {
    let now = present.and_then(|api| api.token_dialect.as_deref());
    better_dialect(now).or(now).unwrap_or_default()
}

/// Returns the scopes of an API with their descriptions.
pub(super) fn scopes<'a>(
    wanted: &'a WantedApi,
    present: Option<&'a ResourceServer>,
) -> BTreeMap<&'a str, &'a str> {
    let now = present.into_iter().flat_map(|api| &api.scopes);
    let mut scopes: BTreeMap<&str, &str> = now
        .clone()
        .map(|scope| (scope.value.as_str(), scope.description.as_deref().unwrap_or_default()))
        .collect();
    for (value, scope) in &wanted.scopes {
        let keeps = now
            .clone()
            .any(|now| now.value == *value && is_described(now, &scope.description, scope.is_written));
        if !keeps {
            scopes.insert(value, &scope.description);
        }
    }
    scopes
}

/// Returns the scopes of a default grant: those that it has, in their order, and those that it lacks.
pub(super) fn grant_scopes<'a>(wanted: &'a WantedApi, present: Option<&'a ClientGrant>) -> Vec<&'a str> {
    let now = present.map(|grant| grant.scope.as_slice()).unwrap_or_default();
    let lacking = wanted.scopes.keys().filter(|scope| !now.contains(scope));
    now.iter().chain(lacking).map(String::as_str).collect()
}

/// Returns the permissions of a role.
pub(super) fn permissions(
    wanted: &Wanted,
    role: &WantedRole,
    present: Option<&Present>,
) -> BTreeSet<Permission> {
    let now = present.and_then(|present| present.role(&role.name));
    let now = now.into_iter().flat_map(|role| role.permissions.iter().cloned());
    now.chain(wanted.permissions(role).map(|(api, scope)| permission(api, scope))).collect()
}
