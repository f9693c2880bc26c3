//! The operations: their paths, methods and scopes.

use hyper::Method;

use super::answer::Answer;
use super::error::ApiError;
use super::{
    Call, PREFIX, apis, client_grants, clients, connections, observed, organizations, roles, settings, users,
};
use crate::model::client::ClientRecord;
use crate::oauth::clients::ClientLookupError;

/// One operation of the API.
pub(super) struct Operation {
    method: Method,
    /// Below [`PREFIX`]; `{}` stands for one segment.
    path: &'static str,
    /// One of them is enough.
    pub(super) scopes: &'static [&'static str],
    pub(super) handler: Handler,
    /// Whether a POST changes nothing.
    is_preview: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Handler {
    Plain(fn(&Call<'_>) -> Result<Answer, ApiError>),
    /// Needs the client's metadata document, which is fetched before.
    Document(fn(&Call<'_>, Document) -> Result<Answer, ApiError>),
}

/// A fetched metadata document: the client that it describes, or what is wrong with it.
pub(super) type Document = (String, Result<ClientRecord, ClientLookupError>);

/// The operation that a request asks for.
pub(super) struct Route {
    pub(super) operation: &'static Operation,
    /// What the path has in the places of `{}`, decoded.
    pub(super) ids: Vec<String>,
}

impl Route {
    /// Returns the operation with this path below [`PREFIX`], and this method.
    pub(super) fn of(method: &Method, path: &str) -> Result<Self, ApiError> {
        let path = path.strip_prefix(PREFIX).ok_or_else(ApiError::no_such_path)?;
        let segments = path.split('/').map(decoded).collect::<Option<Vec<String>>>();
        let segments = segments.ok_or_else(ApiError::invalid_uri)?;
        let mut is_known = false;
        // Literal segments come before `{}` in the table.
        for operation in OPERATIONS {
            let Some(ids) = operation.ids(&segments) else {
                continue;
            };
            if operation.method == *method {
                return Ok(Self { operation, ids });
            }
            is_known = true;
        }
        Err(if is_known { ApiError::method_not_allowed() } else { ApiError::no_such_path() })
    }
}

impl Operation {
    const fn new(
        method: Method,
        path: &'static str,
        scopes: &'static [&'static str],
        handler: fn(&Call<'_>) -> Result<Answer, ApiError>,
    ) -> Self {
        let handler = Handler::Plain(handler);
        Self { method, path, scopes, handler, is_preview: false }
    }

    const fn with_document(
        path: &'static str,
        handler: fn(&Call<'_>, Document) -> Result<Answer, ApiError>,
        is_preview: bool,
    ) -> Self {
        let scopes = &["create:clients", "update:clients"];
        let handler = Handler::Document(handler);
        Self { method: Method::POST, path, scopes, handler, is_preview }
    }

    /// Returns the method and the path, for tests.
    #[cfg(test)]
    pub(super) fn name(&self) -> (&str, &'static str) {
        (self.method.as_str(), self.path)
    }

    /// Returns whether the operation changes something.
    pub(super) fn is_write(&self) -> bool {
        self.method != Method::GET && !self.is_preview
    }

    fn ids(&self, segments: &[String]) -> Option<Vec<String>> {
        let pattern: Vec<&str> = self.path.split('/').collect();
        let fits = |(pattern, segment): (&&str, &String)| {
            *pattern == "{}" && !segment.is_empty() || pattern == segment
        };
        if pattern.len() != segments.len() || !pattern.iter().zip(segments).all(fits) {
            return None;
        }
        let ids = pattern.iter().zip(segments).filter(|(pattern, _)| **pattern == "{}");
        Some(ids.map(|(_, segment)| segment.clone()).collect())
    }
}

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PATCH: Method = Method::PATCH;
const DELETE: Method = Method::DELETE;

#[rustfmt::skip]
pub(super) static OPERATIONS: &[Operation] = &[
    Operation::new(GET, "tenants/settings", &["read:tenant_settings"], |call| Ok(settings::get(call))),
    Operation::new(PATCH, "tenants/settings", &["update:tenant_settings"], settings::update),

    Operation::new(GET, "resource-servers", &["read:resource_servers"], apis::list),
    Operation::new(POST, "resource-servers", &["create:resource_servers"], apis::create),
    Operation::new(GET, "resource-servers/{}", &["read:resource_servers"], apis::get),
    Operation::new(PATCH, "resource-servers/{}", &["update:resource_servers"], apis::update),
    Operation::new(DELETE, "resource-servers/{}", &["delete:resource_servers"], apis::delete),

    Operation::new(GET, "client-grants", &["read:client_grants"], client_grants::list),
    Operation::new(POST, "client-grants", &["create:client_grants"], client_grants::create),
    Operation::new(GET, "client-grants/{}", &["read:client_grants"], client_grants::get),
    Operation::new(PATCH, "client-grants/{}", &["update:client_grants"], client_grants::update),
    Operation::new(DELETE, "client-grants/{}", &["delete:client_grants"], client_grants::delete),

    Operation::new(GET, "clients", &["read:clients"], clients::list),
    Operation::new(POST, "clients", &["create:clients"], clients::create),
    Operation::with_document("clients/cimd/preview", |call, document| Ok(clients::preview(call, document)), true),
    Operation::with_document("clients/cimd/register", clients::register, false),
    Operation::new(GET, "clients/{}", &["read:clients"], clients::get),
    Operation::new(PATCH, "clients/{}", &["update:clients"], clients::update),
    Operation::new(DELETE, "clients/{}", &["delete:clients"], clients::delete),

    Operation::new(GET, "connections", &["read:connections"], connections::list),
    Operation::new(POST, "connections", &["create:connections"], connections::create),
    Operation::new(GET, "connections/{}", &["read:connections"], connections::get),
    Operation::new(PATCH, "connections/{}", &["update:connections"], connections::update),
    Operation::new(DELETE, "connections/{}", &["delete:connections"], connections::delete),
    Operation::new(GET, "connections/{}/clients", &["read:connections"], connections::clients),
    Operation::new(PATCH, "connections/{}/clients", &["update:connections"], connections::update_clients),

    Operation::new(GET, "roles", &["read:roles"], roles::list),
    Operation::new(POST, "roles", &["create:roles"], roles::create),
    Operation::new(GET, "roles/{}", &["read:roles"], roles::get),
    Operation::new(PATCH, "roles/{}", &["update:roles"], roles::update),
    Operation::new(DELETE, "roles/{}", &["delete:roles"], roles::delete),
    Operation::new(GET, "roles/{}/permissions", &["read:roles"], roles::permissions),
    Operation::new(POST, "roles/{}/permissions", &["update:roles"], roles::add_permissions),
    Operation::new(DELETE, "roles/{}/permissions", &["update:roles"], roles::remove_permissions),
    Operation::new(GET, "roles/{}/users", &["read:users", "read:roles", "read:role_members"], roles::users),
    Operation::new(POST, "roles/{}/users", &["update:users", "create:role_members"], roles::add_users),

    Operation::new(GET, "users", &["read:users"], users::list),
    Operation::new(GET, "users-by-email", &["read:users"], users::by_email),
    Operation::new(GET, "users/{}", &["read:users"], users::get),
    Operation::new(GET, "users/{}/roles", &["read:users", "read:roles", "read:role_members"], users::roles),
    Operation::new(POST, "users/{}/roles", &["update:users", "create:role_members"], users::add_roles),
    Operation::new(DELETE, "users/{}/roles", &["update:users", "delete:role_members"], users::remove_roles),
    Operation::new(GET, "users/{}/permissions", &["read:users"], users::permissions),

    Operation::new(GET, "organizations", &["read:organizations"], organizations::list),
    Operation::new(POST, "organizations", &["create:organizations"], organizations::create),
    Operation::new(GET, "organizations/{}", &["read:organizations"], organizations::get),
    Operation::new(PATCH, "organizations/{}", &["update:organizations"], organizations::update),
    Operation::new(DELETE, "organizations/{}", &["delete:organizations"], organizations::delete),

    Operation::new(GET, "prompts", &["read:prompts"], |call| Ok(observed::prompts(call))),
    Operation::new(PATCH, "prompts", &["update:prompts"], observed::update_prompts),
    Operation::new(GET, "rules", &["read:rules"], observed::rules),
    Operation::new(POST, "rules", &["create:rules"], observed::create_rule),
    Operation::new(DELETE, "rules/{}", &["delete:rules"], observed::delete_rule),
    Operation::new(GET, "hooks", &["read:hooks"], observed::hooks),
    Operation::new(POST, "hooks", &["create:hooks"], observed::create_hook),
    Operation::new(DELETE, "hooks/{}", &["delete:hooks"], observed::delete_hook),
    Operation::new(GET, "custom-domains", &["read:custom_domains"], |_| Ok(observed::custom_domains())),
    Operation::new(GET, "keys/signing", &["read:signing_keys"], |call| Ok(observed::signing_keys(call))),
    Operation::new(GET, "logs", &["read:logs"], observed::logs),
];

/// Decodes the percent-encoding of a path's segment (RFC 3986 section 2.1); `None` if it is none, or not UTF-8.
fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (high, low) = (hex(rest.next()?)?, hex(rest.next()?)?);
        bytes.push(high << 4 | low);
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(method: &Method, path: &str) -> Option<Vec<String>> {
        Route::of(method, &format!("{PREFIX}{path}")).ok().map(|route| route.ids)
    }

    #[test]
    fn a_path_has_one_operation_for_each_method() {
        for (index, one) in OPERATIONS.iter().enumerate() {
            for other in &OPERATIONS[..index] {
                assert!(
                    (&one.method, one.path) != (&other.method, other.path),
                    "{} {}",
                    one.method,
                    one.path
                );
            }
            assert!(!one.scopes.is_empty(), "{} {} needs a scope", one.method, one.path);
        }
    }

    #[test]
    fn an_id_is_one_decoded_segment() {
        let api = "https%3A%2F%2Fmcp.example%2Fmcp";
        assert_eq!(ids(&GET, &format!("resource-servers/{api}")).unwrap(), ["https://mcp.example/mcp"]);
        assert_eq!(ids(&GET, "users/auth0%7Ca+b/roles").unwrap(), ["auth0|a+b"]);
        assert_eq!(ids(&POST, "clients/cimd/preview").unwrap(), [""; 0]);
        for wrong in ["resource-servers/", "users//roles", "clients/%", "clients/%g0", "clients/%ff", "", "x"]
        {
            assert_eq!(ids(&GET, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_unknown_path_and_an_unknown_method_differ() {
        let refused = |method, path: &str| Route::of(&method, &format!("{PREFIX}{path}")).err().unwrap();
        assert_eq!(refused(GET, "unknown"), ApiError::no_such_path());
        assert_eq!(refused(Method::PUT, "clients"), ApiError::method_not_allowed());
        assert_eq!(refused(POST, "clients/x"), ApiError::method_not_allowed());
    }
}
