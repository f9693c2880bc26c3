//! What the server and its configuration ask of a tenant.

use std::collections::{BTreeMap, BTreeSet};

/// What a tenant must have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// An API for each audience, the main one first.
    pub apis: Vec<WantedApi>,
    /// Whether clients may register themselves (RFC 7591).
    pub dynamic_registration: bool,
    /// Whether the tenant announces that clients may be known by a metadata document.
    pub metadata_documents: bool,
    /// The URLs of the metadata documents of clients to import.
    pub client_documents: Vec<String>,
    /// The names of the connections by which third-party clients log users in.
    pub connections: Vec<String>,
    /// Roles and what they permit.
    pub roles: Vec<WantedRole>,
    /// Users and the roles that they are to have.
    pub assignments: Vec<Assignment>,
    /// The hosts of the issuers whose tokens are accepted.
    pub issuer_hosts: Vec<String>,
}

/// An API that the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedApi {
    /// The identifier, which is the audience of its tokens. It can't be changed.
    pub identifier: String,
    /// The name of a new one. That of one that exists is left alone.
    pub name: String,
    /// Its scopes.
    pub scopes: BTreeMap<String, WantedScope>,
    /// The lifetime of access tokens in seconds, if it is to be another than the API has.
    pub token_lifetime: Option<u64>,
    /// Whether clients can get refresh tokens.
    pub allow_offline_access: bool,
}

/// A scope of an API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedScope {
    /// What it permits, for whoever consents.
    pub description: String,
    /// Whether somebody wrote the description, so that it replaces another one.
    pub is_written: bool,
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedRole {
    /// Its name, by which it is found.
    pub name: String,
    /// The description of a new one.
    pub description: String,
    /// What it permits, of every API that defines it.
    pub scopes: BTreeSet<String>,
}

/// A user and the roles that the user is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The user's id, such as `auth0|123`, or email address.
    pub user: String,
    /// The names of roles.
    pub roles: BTreeSet<String>,
}

impl Wanted {
    /// Returns the permissions that a role is to have: each of its scopes at every API that defines it.
    pub(crate) fn permissions<'a>(
        &'a self,
        role: &'a WantedRole,
    ) -> impl Iterator<Item = (&'a str, &'a str)> + 'a {
        self.apis.iter().flat_map(|api| {
            let defined = role.scopes.iter().filter(|scope| api.scopes.contains_key(*scope));
            defined.map(|scope| (api.identifier.as_str(), scope.as_str()))
        })
    }

    /// Returns whether an identifier is that of an API of the server's.
    pub(crate) fn has_api(&self, identifier: &str) -> bool {
        self.apis.iter().any(|api| api.identifier == identifier)
    }
}
