//! The scopes of the Management API that reading a tenant and changing it take: no more than is needed.

use std::collections::BTreeSet;
use std::fmt;

use crate::plan::Operation;
use crate::wanted::Wanted;

/// Scopes of the Management API.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ManagementScopes(BTreeSet<&'static str>);

impl ManagementScopes {
    /// Returns what a plan takes.
    #[must_use]
    pub fn to_plan(wanted: &Wanted) -> Self {
        let always =
            ["read:tenant_settings", "read:resource_servers", "read:client_grants", "read:connections"];
        let mut scopes = BTreeSet::from(always);
        if !wanted.client_documents.is_empty() {
            scopes.insert("read:clients");
        }
        if !wanted.roles.is_empty() || !wanted.assignments.is_empty() {
            scopes.insert("read:roles");
        }
        if !wanted.assignments.is_empty() {
            scopes.extend(["read:users", "read:role_members"]);
        }
        Self(scopes)
    }

    /// Returns what the diagnosis reads besides.
    #[must_use]
    pub fn to_diagnose() -> Self {
        Self(BTreeSet::from([
            "read:clients",
            "read:users",
            "read:role_members",
            "read:prompts",
            "read:rules",
            "read:hooks",
            "read:organizations",
            "read:custom_domains",
        ]))
    }

    /// Returns what operations take.
    #[must_use]
    pub fn to_carry_out<'a>(operations: impl IntoIterator<Item = &'a Operation>) -> Self {
        Self(operations.into_iter().flat_map(|operation| operation.scopes().iter().copied()).collect())
    }

    /// Returns the scopes.
    pub fn iter(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.iter().copied()
    }

    /// Returns both.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.0.extend(other.iter());
        self
    }
}

impl Operation {
    /// Returns the scopes that it takes. Lists are read again before they are written.
    #[must_use]
    pub fn scopes(&self) -> &'static [&'static str] {
        match self {
            Self::UpdateSettings(_) => &["update:tenant_settings"],
            Self::PromoteConnection { .. } => &["read:connections", "update:connections"],
            Self::CreateApi(_) => &["create:resource_servers"],
            Self::UpdateApi { .. } => &["read:resource_servers", "update:resource_servers"],
            Self::CreateGrant(_) => &["create:client_grants"],
            Self::UpdateGrant { .. } => &["read:client_grants", "update:client_grants"],
            // Registering one that was imported before updates it.
            Self::RegisterDocument { .. } => &["create:clients", "update:clients"],
            Self::CreateRole { .. } => &["create:roles"],
            Self::AddPermissions { .. } | Self::RemovePermissions { .. } => &["read:roles", "update:roles"],
            // Auth0's documentation names both, and not whether one of them is enough.
            Self::AssignRoles { .. } => &["read:roles", "update:users", "create:role_members"],
        }
    }
}

impl fmt::Display for ManagementScopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.iter().collect::<Vec<_>>().join(" "))
    }
}
