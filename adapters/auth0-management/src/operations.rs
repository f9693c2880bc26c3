//! Carries operations out: one write each. A list is read right before it is written, so that what others put there since the
//! plan was made is not lost.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tenant::{ApiScope, ClientGrant, Operation, Permission, Role};

use crate::client::Management;
use crate::error::{ManagementError, shown};

/// An API's scopes, with every member that they have.
#[derive(Deserialize)]
struct Scopes {
    #[serde(default)]
    scopes: Vec<Map<String, Value>>,
}

#[derive(Deserialize)]
struct DisplayName {
    display_name: Option<String>,
}

impl Management {
    /// Carries an operation out.
    ///
    /// # Errors
    /// [`ManagementError`]; then it was not carried out, unless the connection broke.
    pub fn carry_out(&mut self, operation: &Operation) -> Result<(), ManagementError> {
        match operation {
            Operation::UpdateSettings(body) => {
                self.write("PATCH", &["tenants", "settings"], &Value::Object(body.clone()))
            }
            Operation::PromoteConnection { id } => self.promote(id),
            Operation::CreateApi(body) => {
                self.write("POST", &["resource-servers"], &Value::Object(body.clone()))
            }
            Operation::UpdateApi { id, set, put, remove } => self.update_api(id, set, put, remove),
            Operation::CreateGrant(body) => {
                self.write("POST", &["client-grants"], &Value::Object(body.clone()))
            }
            Operation::UpdateGrant { id, audience, add, remove } => {
                self.update_grant(id, audience, add, remove)
            }
            Operation::RegisterDocument { url } => {
                self.write("POST", &["clients", "cimd", "register"], &json!({"external_client_id": url}))
            }
            Operation::CreateRole { name, description } => {
                self.write("POST", &["roles"], &json!({"name": name, "description": description}))
            }
            Operation::AddPermissions { role, permissions } => self.permissions_of("POST", role, permissions),
            Operation::RemovePermissions { role, permissions } => {
                self.permissions_of("DELETE", role, permissions)
            }
            Operation::AssignRoles { user_id, roles } => self.assign(user_id, roles),
        }
    }

    /// A PATCH without `display_name` overwrites it.
    fn promote(&mut self, id: &str) -> Result<(), ManagementError> {
        let present: DisplayName = self.get(&["connections", id], &[])?;
        let mut body = json!({"is_domain_connection": true});
        if let Some(name) = present.display_name {
            body["display_name"] = name.into();
        }
        self.write("PATCH", &["connections", id], &body)
    }

    fn update_api(
        &mut self,
        id: &str,
        set: &Map<String, Value>,
        put: &[ApiScope],
        remove: &BTreeSet<String>,
    ) -> Result<(), ManagementError> {
        let mut body = set.clone();
        if !put.is_empty() || !remove.is_empty() {
            let Scopes { scopes } = self.get(&["resource-servers", id], &[])?;
            body.insert("scopes".to_owned(), merged(scopes, put, remove));
        }
        self.write("PATCH", &["resource-servers", id], &Value::Object(body))
    }

    fn update_grant(
        &mut self,
        id: &str,
        audience: &str,
        add: &BTreeSet<String>,
        remove: &BTreeSet<String>,
    ) -> Result<(), ManagementError> {
        let grants: Vec<ClientGrant> =
            self.cursor(&["client-grants"], "client_grants", &[("audience", audience)])?;
        let grant = grants.into_iter().find(|grant| grant.id == id);
        let grant = grant.ok_or_else(|| ManagementError::Gone(format!("the grant {}", shown(id))))?;
        let added = add.iter().filter(|scope| !grant.scope.contains(scope));
        let scopes = grant.scope.iter().filter(|scope| !remove.contains(*scope)).chain(added);
        let scopes: Vec<&String> = scopes.collect();
        self.write("PATCH", &["client-grants", id], &json!({"scope": scopes}))
    }

    fn permissions_of(
        &mut self,
        method: &'static str,
        role: &str,
        permissions: &BTreeSet<Permission>,
    ) -> Result<(), ManagementError> {
        let id = self.role_id(role)?;
        self.write(method, &["roles", &id, "permissions"], &json!({"permissions": permissions}))
    }

    fn assign(&mut self, user: &str, roles: &BTreeSet<String>) -> Result<(), ManagementError> {
        let mut ids = Vec::new();
        for role in roles {
            ids.push(self.role_id(role)?);
        }
        self.write("POST", &["users", user, "roles"], &json!({"roles": ids}))
    }

    /// The filter matches parts of names.
    fn role_id(&mut self, name: &str) -> Result<String, ManagementError> {
        let roles: Vec<Role> = self.pages(&["roles"], "roles", &[("name_filter", name)])?;
        let role = roles.into_iter().find(|role| role.name == name);
        role.map(|role| role.id).ok_or_else(|| ManagementError::Gone(format!("the role {name}")))
    }
}

/// Returns an API's scopes with some put and some removed. Every other one stays as it is.
fn merged(mut scopes: Vec<Map<String, Value>>, put: &[ApiScope], remove: &BTreeSet<String>) -> Value {
    let is =
        |scope: &Map<String, Value>, value: &str| scope.get("value").and_then(Value::as_str) == Some(value);
    scopes.retain(|scope| !remove.iter().any(|removed| is(scope, removed)));
    for ApiScope { value, description } in put {
        match scopes.iter_mut().find(|scope| is(scope, value)) {
            Some(scope) => {
                scope.insert("description".to_owned(), json!(description));
            }
            None => scopes.push(Map::from_iter([
                ("value".to_owned(), json!(value)),
                ("description".to_owned(), json!(description)),
            ])),
        }
    }
    scopes.into_iter().map(Value::Object).collect()
}
