//! Reads what a tenant has, no more of it than is wanted.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tenant::{Connection, Permission, Present, Role, UserRoles, Wanted};

use crate::client::Management;
use crate::error::{ManagementError, shown};

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// What a plan takes.
    Plan,
    /// Also what else can keep users out, as far as the token's scopes allow.
    Diagnosis,
}

#[derive(Deserialize)]
struct User {
    user_id: String,
    #[serde(default)]
    email_verified: bool,
}

#[derive(Deserialize)]
struct RuleOrHook {
    name: String,
    #[serde(default)]
    enabled: bool,
}

#[derive(Deserialize)]
struct CustomDomain {
    domain: String,
    #[serde(default)]
    status: String,
}

impl Management {
    /// Reads what the tenant has.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub fn read(&mut self, wanted: &Wanted, reading: Reading) -> Result<Present, ManagementError> {
        let mut present = Present {
            settings: self.get(&["tenants", "settings"], &[])?,
            apis: self.pages(&["resource-servers"], "resource_servers", &[])?,
            connections: self.connections()?,
            ..Present::default()
        };
        for api in &wanted.apis {
            let grants =
                self.cursor(&["client-grants"], "client_grants", &[("audience", &api.identifier)])?;
            present.grants.extend(grants);
        }
        if !wanted.client_documents.is_empty() {
            present.clients = self.third_party_clients()?;
        }
        if !wanted.roles.is_empty() || !wanted.assignments.is_empty() {
            present.roles = self.roles(wanted)?;
        }
        for assignment in &wanted.assignments {
            present.users.extend(self.user(&assignment.user)?);
        }
        if reading == Reading::Diagnosis {
            self.read_more(wanted, &mut present)?;
        }
        Ok(present)
    }

    fn read_more(&mut self, wanted: &Wanted, present: &mut Present) -> Result<(), ManagementError> {
        let mut unread = Vec::new();
        if wanted.client_documents.is_empty() {
            let clients = self.third_party_clients();
            present.clients = readable(clients, "read:clients", &mut unread)?.unwrap_or_default();
        }
        let unassigned = self.unassigned_roles(wanted, &present.roles);
        present.unassigned_roles = readable(unassigned, "read:role_members", &mut unread)?;
        present.prompts = readable(self.get(&["prompts"], &[]), "read:prompts", &mut unread)?;
        present.rules = readable(self.active("rules"), "read:rules", &mut unread)?;
        present.hooks = readable(self.active("hooks"), "read:hooks", &mut unread)?;
        let organizations = self.cursor(&["organizations"], "organizations", &[]);
        present.organizations = readable(organizations, "read:organizations", &mut unread)?;
        let domains = self.get::<Vec<CustomDomain>>(&["custom-domains"], &[]);
        let domains = readable(domains, "read:custom_domains", &mut unread)?;
        present.custom_domains = domains.map(|domains| {
            let ready = domains.into_iter().filter(|domain| domain.status == "ready");
            ready.map(|domain| domain.domain).collect()
        });
        present.unread = unread;
        Ok(())
    }

    /// Reads the names of active Rules or Hooks.
    fn active(&mut self, kind: &'static str) -> Result<Vec<String>, ManagementError> {
        let items: Vec<RuleOrHook> = self.pages(&[kind], kind, &[])?;
        Ok(items.into_iter().filter(|item| item.enabled).map(|item| item.name).collect())
    }

    fn connections(&mut self) -> Result<Vec<Connection>, ManagementError> {
        self.cursor(&["connections"], "connections", &[])
    }

    fn third_party_clients<T: DeserializeOwned>(&mut self) -> Result<Vec<T>, ManagementError> {
        let fields = "client_id,name,external_client_id";
        let query = [("is_first_party", "false"), ("fields", fields), ("include_fields", "true")];
        self.pages(&["clients"], "clients", &query)
    }

    /// Reads all roles, and the permissions of the wanted ones.
    fn roles(&mut self, wanted: &Wanted) -> Result<Vec<Role>, ManagementError> {
        let mut roles: Vec<Role> = self.pages(&["roles"], "roles", &[])?;
        for role in &mut roles {
            if wanted.roles.iter().any(|wanted| wanted.name == role.name) {
                role.permissions = self.permissions(&role.id)?;
            }
        }
        Ok(roles)
    }

    fn permissions(&mut self, role: &str) -> Result<BTreeSet<Permission>, ManagementError> {
        let permissions: Vec<Permission> = self.pages(&["roles", role, "permissions"], "permissions", &[])?;
        Ok(permissions.into_iter().collect())
    }

    /// Reads which of the wanted roles no user has.
    fn unassigned_roles(&mut self, wanted: &Wanted, roles: &[Role]) -> Result<Vec<String>, ManagementError> {
        let mut unassigned = Vec::new();
        let is_wanted = |role: &&Role| wanted.roles.iter().any(|wanted| wanted.name == role.name);
        for role in roles.iter().filter(is_wanted) {
            let users: Vec<User> = self.get(&["roles", &role.id, "users"], &[("per_page", "1")])?;
            if users.is_empty() {
                unassigned.push(role.name.clone());
            }
        }
        Ok(unassigned)
    }

    /// Reads a user, by id or by email address; `None` if there is none.
    pub(crate) fn user(&mut self, asked: &str) -> Result<Option<UserRoles>, ManagementError> {
        let user = if asked.contains('|') { self.user_by_id(asked)? } else { self.user_by_email(asked)? };
        let Some(User { user_id, .. }) = user else {
            return Ok(None);
        };
        let roles: Vec<Role> = self.pages(&["users", &user_id, "roles"], "roles", &[])?;
        let roles = roles.into_iter().map(|role| role.name).collect();
        Ok(Some(UserRoles { asked: asked.to_owned(), user_id, roles }))
    }

    fn user_by_id(&mut self, id: &str) -> Result<Option<User>, ManagementError> {
        match self.get(&["users", id], &[("fields", "user_id"), ("include_fields", "true")]) {
            Ok(user) => Ok(Some(user)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Anybody can sign up with the address of somebody else, who alone can verify it.
    fn user_by_email(&mut self, email: &str) -> Result<Option<User>, ManagementError> {
        let query = [("email", email), ("fields", "user_id,email_verified"), ("include_fields", "true")];
        let users: Vec<User> = self.get(&["users-by-email"], &query)?;
        if users.len() > 1 {
            let ids = users.iter().map(|user| shown(&user.user_id)).collect();
            return Err(ManagementError::AmbiguousUser { email: email.to_owned(), ids });
        }
        if let Some(user) = users.iter().find(|user| !user.email_verified) {
            let id = shown(&user.user_id);
            return Err(ManagementError::UnverifiedEmail { email: email.to_owned(), id });
        }
        Ok(users.into_iter().next())
    }
}

/// Returns what was read, or `None` if the token's scopes, or the tenant's plan, do not allow it.
fn readable<T>(
    read: Result<T, ManagementError>,
    scope: &'static str,
    unread: &mut Vec<&'static str>,
) -> Result<Option<T>, ManagementError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_allowed() => {
            unread.push(scope);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
