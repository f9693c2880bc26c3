use std::collections::BTreeSet;
use std::sync::LazyLock;

use hyper::Method;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fuzzing::tenant;
use crate::model::directory::Role;

const EVERYTHING: &[&str] = &[
    "read:tenant_settings",
    "update:tenant_settings",
    "read:resource_servers",
    "create:resource_servers",
    "update:resource_servers",
    "delete:resource_servers",
    "read:client_grants",
    "create:client_grants",
    "update:client_grants",
    "delete:client_grants",
    "read:clients",
    "create:clients",
    "update:clients",
    "delete:clients",
    "read:connections",
    "create:connections",
    "update:connections",
    "delete:connections",
    "read:roles",
    "create:roles",
    "update:roles",
    "delete:roles",
    "read:users",
    "update:users",
    "read:organizations",
    "create:organizations",
    "update:organizations",
    "delete:organizations",
    "read:prompts",
    "update:prompts",
    "read:rules",
    "create:rules",
    "delete:rules",
    "read:hooks",
    "create:hooks",
    "delete:hooks",
    "read:custom_domains",
    "read:signing_keys",
    "read:logs",
];
const API: &str = "https://mcp.example/mcp";
const API_PATH: &str = "resource-servers/https%3A%2F%2Fmcp.example%2Fmcp";

/// Does what `handle` does once the token is verified.
async fn send(tenant: &Tenant, scopes: &[&str], method: &str, target: &str, body: &[u8]) -> (u16, Value) {
    let access = Access::to(scopes);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let answer = async {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let Route { operation, ids } = Route::of(&method, &format!("{PREFIX}{path}"))?;
        access.require_any(operation.scopes)?;
        let (query, body) = (Query::parse(query), Bytes::copy_from_slice(body));
        perform(operation, &Call { tenant, access: &access, ids, query, body }).await
    };
    match answer.await {
        Ok(answer) => answer.parts(),
        Err(error) => {
            let (status, body) = error.parts();
            (status.as_u16(), body)
        }
    }
}

struct Admin(Tenant);

impl Admin {
    fn new() -> Self {
        Self(tenant())
    }

    async fn send(&self, method: &str, target: &str, body: Value) -> (u16, Value) {
        send(&self.0, EVERYTHING, method, target, body.to_string().as_bytes()).await
    }

    async fn get(&self, target: &str) -> Value {
        let (status, body) = send(&self.0, EVERYTHING, "GET", target, b"").await;
        assert_eq!(status, 200, "{target}: {body}");
        body
    }

    /// Sends what has to succeed, and returns its answer.
    async fn done(&self, method: &str, target: &str, body: Value) -> Value {
        let (status, answer) = self.send(method, target, body).await;
        assert!((200..300).contains(&status), "{method} {target}: {answer}");
        answer
    }

    /// Sends what has to fail, and returns the status, the code and the message.
    async fn refused(&self, method: &str, target: &str, body: Value) -> (u64, String, String) {
        let (status, answer) = self.send(method, target, body).await;
        assert!(status >= 400, "{method} {target}: {answer}");
        assert_eq!(answer["statusCode"], status);
        assert!(answer["error"].is_string(), "{answer}");
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        (u64::from(status), text("errorCode"), text("message"))
    }

    async fn code(&self, method: &str, target: &str, body: Value) -> (u64, String) {
        let (status, code, _) = self.refused(method, target, body).await;
        (status, code)
    }

    /// Creates an API with two scopes.
    async fn api(&self) -> Value {
        let scopes = json!([{"value": "tool:a", "description": "A"}, {"value": "tool:b"}]);
        self.done("POST", "resource-servers", json!({"identifier": API, "scopes": scopes})).await
    }

    async fn role(&self, name: &str) -> String {
        let role = self.done("POST", "roles", json!({"name": name})).await;
        role["id"].as_str().unwrap().to_owned()
    }
}

fn invalid() -> (u64, String) {
    (400, "invalid_body".to_owned())
}

fn permission(name: &str) -> Value {
    json!({"permissions": [{"resource_server_identifier": API, "permission_name": name}]})
}

#[tokio::test]
async fn every_operation_needs_its_scope() {
    let tenant = tenant();
    for operation in routes::OPERATIONS {
        let (method, path) = operation.name();
        let path = path.replace("{}", "x");
        let others: Vec<&str> =
            EVERYTHING.iter().copied().filter(|scope| !operation.scopes.contains(scope)).collect();
        let (status, error) = send(&tenant, &others, method, &path, b"").await;
        assert_eq!((status, &error["errorCode"]), (403, &json!("insufficient_scope")), "{method} {path}");
        let expected = format!("Insufficient scope, expected any of: {}", operation.scopes.join(","));
        assert_eq!(error["message"], expected);
        for scope in operation.scopes {
            let (_, answer) = send(&tenant, &[scope], method, &path, b"").await;
            assert_ne!(answer["errorCode"], "insufficient_scope", "{method} {path} {scope}");
        }
    }
}

#[tokio::test]
async fn an_api_begins_with_auth0s_defaults() {
    let admin = Admin::new();
    let created = admin.api().await;
    assert_eq!(created["signing_alg"], "RS256");
    assert_eq!(created["token_lifetime"], 86400);
    assert_eq!(
        created["subject_type_authorization"],
        json!({"user": {"policy": "allow_all"}, "client": {"policy": "require_client_grant"}})
    );
    for off in ["enforce_policies", "allow_offline_access", "skip_consent_for_verifiable_first_party_clients"]
    {
        assert_eq!(created[off], false, "{off}");
    }
    for unset in ["token_dialect", "token_encryption", "consent_policy"] {
        assert_eq!(created.get(unset), None, "{unset}");
    }
    let id = created["id"].as_str().unwrap();
    assert_eq!(admin.get(&format!("resource-servers/{id}")).await, created);
    assert_eq!(admin.get(API_PATH).await, created);
    assert_eq!(
        admin.code("POST", "resource-servers", json!({"identifier": API})).await,
        (409, "conflict".into())
    );
}

#[tokio::test]
async fn an_api_keeps_what_a_change_leaves_out() {
    let admin = Admin::new();
    let created = admin.api().await;
    let changed = admin
        .done("PATCH", API_PATH, json!({"token_dialect": "rfc9068_profile_authz", "enforce_policies": true}))
        .await;
    assert_eq!(changed["token_dialect"], "rfc9068_profile_authz");
    assert_eq!(changed["scopes"], created["scopes"]);
    let cleared = admin.done("PATCH", API_PATH, json!({"scopes": [], "token_dialect": null})).await;
    assert_eq!(cleared["scopes"], json!([]));
    assert_eq!((cleared.get("token_dialect"), &cleared["enforce_policies"]), (None, &json!(true)));
}

#[tokio::test]
async fn what_an_api_can_not_be_is_refused_with_the_name_of_the_field() {
    let admin = Admin::new();
    admin.api().await;
    for (body, named) in [
        (json!({"identifier": "https://other.example/"}), "identifier"),
        (json!({"is_system": true}), "is_system"),
        (json!({"foo": 1}), "Additional properties not allowed: foo"),
        (json!({"token_lifetime": 0}), "token_lifetime"),
        (json!({"token_lifetime": 2_592_001}), "token_lifetime"),
        (json!({"token_lifetime": -1}), "token_lifetime"),
        (json!({"enforce_policies": "yes"}), "enforce_policies"),
        (json!({"signing_alg": "none"}), "one of `RS256`"),
        (json!({"scopes": [{"value": "a b"}]}), "scopes"),
        (json!({"scopes": [{"value": "a"}, {"value": "a"}]}), "occurs twice"),
        (json!({"scopes": [{"value": "a", "x": 1}]}), "scopes"),
        (json!({"scopes": [{"value": "a", "description": "d".repeat(501)}]}), "description"),
        (json!({"scopes": null}), "scopes"),
        (json!({"name": ""}), "name"),
        (json!({"name": "n".repeat(301)}), "name"),
        (json!({"subject_type_authorization": {"client": {"policy": "allow_all"}}}), "client.policy"),
        (json!([]), "object"),
        (json!(null), "object"),
    ] {
        let (status, code, message) = admin.refused("PATCH", API_PATH, body.clone()).await;
        assert_eq!((status, code.as_str()), (400, "invalid_body"), "{body}");
        assert!(message.contains(named), "{body}: {message}");
    }
    let twice = br#"{"name":"a","name":"b"}"#;
    assert_eq!(send(&admin.0, EVERYTHING, "PATCH", API_PATH, twice).await.0, 400);
    assert_eq!(admin.code("POST", "resource-servers", json!({"name": "x"})).await, invalid());
    let many: Vec<Value> = (0..1001).map(|n| json!({"value": format!("s{n}")})).collect();
    let too_many = admin.code("PATCH", API_PATH, json!({"scopes": many})).await;
    assert_eq!(too_many, (403, "too_many_entities".into()));
}

#[tokio::test]
async fn the_management_api_can_not_be_changed_or_deleted() {
    let admin = Admin::new();
    let apis = admin.get("resource-servers").await;
    let system = apis.as_array().unwrap().iter().find(|api| api["is_system"] == true).unwrap();
    let path = format!("resource-servers/{}", system["id"].as_str().unwrap());
    for (method, body) in [("PATCH", json!({"name": "x"})), ("DELETE", json!(null))] {
        assert_eq!(admin.code(method, &path, body).await, (403, "operation_not_supported".into()));
    }
}

#[tokio::test]
async fn a_deleted_api_takes_its_grants_and_permissions_with_it() {
    let admin = Admin::new();
    admin.api().await;
    let role = admin.role("A").await;
    admin.done("POST", &format!("roles/{role}/permissions"), permission("tool:a")).await;
    let grant =
        json!({"audience": API, "default_for": "third_party_clients", "subject_type": "user", "scope": []});
    admin.done("POST", "client-grants", grant).await;
    let (status, _) = admin.send("DELETE", API_PATH, json!(null)).await;
    assert_eq!(status, 204);
    assert_eq!(admin.get(&format!("client-grants?audience={API}")).await, json!([]));
    assert_eq!(admin.get(&format!("roles/{role}/permissions")).await, json!([]));
    assert_eq!(admin.code("DELETE", API_PATH, json!(null)).await, (404, "inexistent_resource_server".into()));
}

#[tokio::test]
async fn apis_are_found_by_up_to_ten_identifiers() {
    let admin = Admin::new();
    admin.api().await;
    let found =
        admin.get(&format!("resource-servers?identifiers={API}&identifiers=https://none.example/")).await;
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert_eq!(found[0]["identifier"], API);
    let many = (0..11).map(|n| format!("identifiers={n}")).collect::<Vec<_>>().join("&");
    let (status, code) = admin.code("GET", &format!("resource-servers?{many}"), json!(null)).await;
    assert_eq!((status, code.as_str()), (400, "invalid_query_string"));
}

#[tokio::test]
async fn a_grant_is_to_one_client_or_to_all_third_parties() {
    let admin = Admin::new();
    admin.api().await;
    let create = async |body: Value| {
        let mut body = body;
        body["audience"] = API.into();
        admin.send("POST", "client-grants", body).await
    };
    let (status, grant) = create(json!({"client_id": "public", "scope": ["tool:a"]})).await;
    assert_eq!((status, &grant["subject_type"]), (201, &json!("client")), "client is the default");
    assert_eq!(create(json!({"client_id": "public", "scope": []})).await.0, 409);
    assert_eq!(create(json!({"client_id": "public", "scope": [], "subject_type": "user"})).await.0, 201);
    let all = json!({"default_for": "third_party_clients", "allow_all_scopes": true, "subject_type": "user"});
    assert_eq!(create(all).await.0, 201);
    for (body, status) in [
        (json!({"scope": []}), 400),
        (json!({"client_id": "public", "default_for": "third_party_clients", "scope": []}), 400),
        (json!({"default_for": "everyone", "scope": []}), 400),
        (json!({"client_id": "public"}), 400),
        (json!({"client_id": "confidential", "scope": [], "allow_all_scopes": true}), 400),
        (json!({"client_id": "confidential", "scope": ["tool:z"]}), 400),
        (json!({"client_id": "confidential", "scope": [], "subject_type": "users"}), 400),
        (json!({"client_id": "nobody", "scope": []}), 404),
    ] {
        let (found, answer) = create(body.clone()).await;
        assert_eq!(found, status, "{body}: {answer}");
    }
    let unknown = json!({"audience": "https://none.example/", "client_id": "public", "scope": []});
    assert_eq!(
        admin.code("POST", "client-grants", unknown).await,
        (404, "inexistent_resource_server".into())
    );
}

#[tokio::test]
async fn grants_are_filtered_changed_and_deleted() {
    let admin = Admin::new();
    admin.api().await;
    let grant = json!({"audience": API, "client_id": "public", "scope": ["tool:a"], "subject_type": "user"});
    let grant = admin.done("POST", "client-grants", grant).await;
    let path = format!("client-grants/{}", grant["id"].as_str().unwrap());
    for (filter, count) in [
        (format!("audience={API}"), 1),
        (format!("audience={API}&subject_type=user"), 1),
        (format!("audience={API}&subject_type=client"), 0),
        (format!("audience={API}&client_id=public"), 1),
        (format!("audience={API}&default_for=third_party_clients"), 0),
    ] {
        let found = admin.get(&format!("client-grants?{filter}")).await;
        assert_eq!(found.as_array().unwrap().len(), count, "{filter}");
    }
    for fixed in ["audience", "client_id", "subject_type", "default_for"] {
        assert_eq!(admin.code("PATCH", &path, json!({fixed: "user"})).await, invalid(), "{fixed}");
    }
    let replaced = admin.done("PATCH", &path, json!({"scope": ["tool:b"]})).await;
    assert_eq!(replaced["scope"], json!(["tool:b"]));
    let all = admin.done("PATCH", &path, json!({"allow_all_scopes": true})).await;
    assert_eq!((&all["scope"], &all["allow_all_scopes"]), (&json!([]), &json!(true)));
    assert_eq!(admin.send("DELETE", &path, json!(null)).await.0, 204);
    assert_eq!(admin.code("GET", &path, json!(null)).await, (404, "inexistent_client_grant".into()));
}

#[tokio::test]
async fn third_party_clients_are_strict_unless_they_say_otherwise() {
    let admin = Admin::new();
    let create = async |body: Value| admin.done("POST", "clients", body).await;
    let third = create(json!({"name": "T", "is_first_party": false, "app_type": "native"})).await;
    assert!(third["client_id"].as_str().unwrap().starts_with("tpc_"), "{third}");
    assert_eq!(third["third_party_security_mode"], "strict");
    assert_eq!(third.get("client_secret"), None, "a native application is public");
    let permissive =
        create(json!({"name": "P", "is_first_party": false, "third_party_security_mode": "permissive"}))
            .await;
    assert!(!permissive["client_id"].as_str().unwrap().starts_with("tpc_"));
    let first = create(json!({"name": "F", "app_type": "regular_web"})).await;
    assert_eq!((&first["is_first_party"], first.get("third_party_security_mode")), (&json!(true), None));
    assert!(first["client_secret"].as_str().unwrap().len() > 40);
    let mode = json!({"name": "F", "third_party_security_mode": "strict"});
    assert_eq!(admin.code("POST", "clients", mode).await, invalid());
}

#[tokio::test]
async fn a_clients_secret_is_shown_only_to_those_who_may_read_it() {
    let admin = Admin::new();
    let created = admin.done("POST", "clients", json!({"name": "F", "app_type": "regular_web"})).await;
    let path = format!("clients/{}", created["client_id"].as_str().unwrap());
    assert_eq!(admin.get(&path).await.get("client_secret"), None);
    assert_eq!(admin.done("PATCH", &path, json!({"name": "G"})).await.get("client_secret"), None);
    let (_, shown) = send(&admin.0, &["read:clients", "read:client_keys"], "GET", &path, b"").await;
    assert_eq!(shown["client_secret"], created["client_secret"]);
    let public = admin.done("PATCH", &path, json!({"token_endpoint_auth_method": "none"})).await;
    assert_eq!(public["token_endpoint_auth_method"], "none");
    assert_eq!(admin.code("PATCH", &path, json!({"client_secret": "s"})).await, invalid());
    let (_, _, message) = admin.refused("PATCH", &path, json!({"client_secret": {"my": "secret"}})).await;
    assert!(!message.contains("my"), "{message}");
}

#[tokio::test]
async fn clients_are_filtered_changed_and_deleted_with_their_grants() {
    let admin = Admin::new();
    admin.api().await;
    let client = json!({
        "name": "C", "is_first_party": false, "app_type": "spa", "oidc_conformant": true,
        "callbacks": ["https://app.example/cb"], "grant_types": ["authorization_code"],
        "token_endpoint_auth_method": "none", "redirection_policy": "open_redirect_protection",
    });
    let created = admin.done("POST", "clients", client.clone()).await;
    for (name, value) in client.as_object().unwrap() {
        assert_eq!(created[name], *value, "{name}");
    }
    let id = created["client_id"].as_str().unwrap().to_owned();
    let found = admin.get("clients?is_first_party=false&app_type=spa,native").await;
    assert_eq!(found, json!([created]));
    assert_eq!(admin.get("clients?app_type=native").await, json!([]));
    let path = format!("clients/{id}");
    for fixed in ["is_first_party", "third_party_security_mode", "resource_server_identifier", "client_id"] {
        assert_eq!(admin.code("PATCH", &path, json!({fixed: true})).await, invalid(), "{fixed}");
    }
    for (body, named) in [
        (json!({"callbacks": ["javascript:alert(1)"]}), "callbacks"),
        (json!({"grant_types": ["password"]}), "grant_types"),
        (json!({"app_type": "x"}), "app_type"),
        (json!({"x": 1}), "x"),
    ] {
        let (status, _, message) = admin.refused("PATCH", &path, body).await;
        assert!(status == 400 && message.contains(named), "{message}");
    }
    let unchanged = admin.get(&path).await;
    assert_eq!(unchanged, created);
    let grant = json!({"audience": API, "client_id": id, "scope": [], "subject_type": "user"});
    admin.done("POST", "client-grants", grant).await;
    assert_eq!(admin.send("DELETE", &path, json!(null)).await.0, 204);
    assert_eq!(admin.get(&format!("client-grants?client_id={id}")).await, json!([]));
    assert_eq!(admin.code("GET", &path, json!(null)).await, (404, "inexistent_client".into()));
}

#[tokio::test]
async fn a_client_is_not_larger_than_its_limit() {
    let admin = Admin::new();
    let huge = json!({"name": "C", "client_metadata": {"x": "y".repeat(40_000)}});
    assert_eq!(admin.code("POST", "clients", huge).await, (403, "too_many_entities".into()));
}

#[tokio::test]
async fn a_connection_that_is_changed_without_a_display_name_loses_it() {
    let admin = Admin::new();
    let body = json!({"name": "db", "strategy": "auth0", "display_name": "Staff"});
    let created = admin.done("POST", "connections", body.clone()).await;
    assert_eq!(
        (&created["is_domain_connection"], &created["display_name"]),
        (&json!(false), &json!("Staff"))
    );
    assert_eq!(admin.code("POST", "connections", body).await.0, 409);
    let path = format!("connections/{}", created["id"].as_str().unwrap());
    let changed = admin.done("PATCH", &path, json!({"is_domain_connection": true})).await;
    assert_eq!((&changed["is_domain_connection"], &changed["display_name"]), (&json!(true), &json!("db")));
    for fixed in ["name", "strategy"] {
        assert_eq!(admin.code("PATCH", &path, json!({fixed: "x"})).await, invalid(), "{fixed}");
    }
    assert_eq!(admin.get("connections?name=db").await[0]["id"], created["id"]);
    assert_eq!(admin.send("DELETE", &path, json!(null)).await.0, 204);
    assert_eq!(admin.code("GET", &path, json!(null)).await, (404, "inexistent_connection".into()));
}

#[tokio::test]
async fn a_connections_clients_are_enabled_and_disabled() {
    let admin = Admin::new();
    let created = admin.done("POST", "connections", json!({"name": "db", "strategy": "auth0"})).await;
    let path = format!("connections/{}/clients", created["id"].as_str().unwrap());
    let enable =
        json!([{"client_id": "public", "status": true}, {"client_id": "confidential", "status": true}]);
    assert_eq!(admin.send("PATCH", &path, enable).await.0, 204);
    let first = admin.get(&format!("{path}?take=1")).await;
    assert_eq!(first["clients"], json!([{"client_id": "public"}]));
    let next = first["next"].as_str().unwrap();
    let last = admin.get(&format!("{path}?take=1&from={next}")).await;
    assert_eq!(last, json!({"clients": [{"client_id": "confidential"}]}), "no next at the end");
    admin.done("PATCH", &path, json!([{"client_id": "public", "status": false}])).await;
    assert_eq!(admin.get(&path).await["clients"], json!([{"client_id": "confidential"}]));
    let many: Vec<Value> = (0..51).map(|_| json!({"client_id": "public", "status": true})).collect();
    assert_eq!(admin.code("PATCH", &path, json!(many)).await, invalid());
    let unknown = json!([{"client_id": "nobody", "status": true}]);
    assert_eq!(admin.code("PATCH", &path, unknown).await, (404, "inexistent_client".into()));
}

#[tokio::test]
async fn a_role_has_permissions_that_apis_define() {
    let admin = Admin::new();
    admin.api().await;
    let role = admin.role("Reader").await;
    let path = format!("roles/{role}/permissions");
    assert_eq!(admin.send("POST", &path, permission("tool:a")).await.0, 201);
    let found = admin.get(&path).await;
    let expected = json!([{
        "resource_server_identifier": API, "permission_name": "tool:a", "resource_server_name": API,
        "description": "A",
    }]);
    assert_eq!(found, expected);
    assert_eq!(admin.code("POST", &path, permission("tool:z")).await, invalid());
    assert_eq!(admin.code("POST", &path, json!({"permissions": []})).await, invalid());
    assert_eq!(admin.send("DELETE", &path, permission("tool:a")).await.0, 204);
    assert_eq!(admin.get(&path).await, json!([]));
    assert_eq!(
        admin.code("POST", "roles/none/permissions", permission("tool:a")).await,
        (404, "inexistent_role".into())
    );
}

#[tokio::test]
async fn roles_have_distinct_names() {
    let admin = Admin::new();
    let one = admin.role("One").await;
    admin.role("Two").await;
    assert_eq!(admin.code("POST", "roles", json!({"name": "One"})).await, (409, "conflict".into()));
    let path = format!("roles/{one}");
    assert_eq!(admin.code("PATCH", &path, json!({"name": "Two"})).await, (409, "conflict".into()));
    let changed = admin.done("PATCH", &path, json!({"name": "One", "description": "First"})).await;
    assert_eq!(changed, json!({"id": one, "name": "One", "description": "First"}));
    assert_eq!(admin.get("roles?name_filter=tWo").await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn users_get_and_lose_roles_from_both_sides() {
    let admin = Admin::new();
    admin.api().await;
    let role = admin.role("Reader").await;
    admin.done("POST", &format!("roles/{role}/permissions"), permission("tool:a")).await;
    let users = admin.get("users").await;
    let sub = users[0]["user_id"].as_str().unwrap().to_owned();
    let path = format!("users/{}", sub.replace('|', "%7C"));
    let has = async || {
        let roles = admin.get(&format!("{path}/roles")).await;
        roles.as_array().unwrap().iter().any(|found| found["id"] == role.as_str())
    };
    assert!(!has().await);
    assert_eq!(admin.send("POST", &format!("{path}/roles"), json!({"roles": [role]})).await.0, 204);
    assert!(has().await);
    let members = admin.get(&format!("roles/{role}/users")).await;
    assert_eq!(members[0]["user_id"], sub.as_str());
    let permissions = admin.get(&format!("{path}/permissions")).await;
    let found =
        permissions.as_array().unwrap().iter().find(|found| found["permission_name"] == "tool:a").unwrap();
    assert_eq!(found["sources"][0]["source_id"], role.as_str());
    assert_eq!(admin.send("DELETE", &format!("{path}/roles"), json!({"roles": [role]})).await.0, 204);
    assert!(!has().await);
    admin.done("POST", &format!("roles/{role}/users"), json!({"users": [sub]})).await;
    assert!(has().await);
    admin.done("DELETE", &format!("roles/{role}"), json!(null)).await;
    assert!(!has().await);
    assert_eq!(
        admin.code("POST", &format!("{path}/roles"), json!({"roles": ["none"]})).await,
        (404, "inexistent_role".into())
    );
    assert_eq!(admin.code("GET", "users/none", json!(null)).await, (404, "inexistent_user".into()));
    let one = admin.get("users?q=email:%22admin@example.com%22").await;
    assert_eq!(one.as_array().unwrap().len(), 1, "{one}");
    assert_eq!(admin.get("users-by-email?email=admin@example.com").await, one);
}

#[tokio::test]
async fn flags_are_merged_and_other_settings_replaced() {
    let admin = Admin::new();
    let patch = async |body: Value| admin.done("PATCH", "tenants/settings", body).await;
    patch(json!({"flags": {"enable_sso": true}, "support_email": "a@example.com"})).await;
    let settings = patch(json!({"flags": {"enable_dynamic_client_registration": false}})).await;
    assert_eq!(settings["flags"]["enable_sso"], true);
    assert_eq!(settings["flags"]["enable_dynamic_client_registration"], false);
    assert_eq!(settings["support_email"], "a@example.com");
    let settings = patch(json!({
        "resource_parameter_profile": "compatibility", "default_audience": "", "session_lifetime": 1.5,
        "dynamic_client_registration_security_mode": "permissive", "support_email": null,
    }))
    .await;
    assert_eq!(settings["resource_parameter_profile"], "compatibility");
    assert_eq!(settings.get("support_email"), None);
    assert_eq!(admin.get("tenants/settings").await, settings);
    let settings = patch(json!({"dynamic_client_registration_security_mode": null})).await;
    assert_eq!(settings["dynamic_client_registration_security_mode"], "strict");
    for (body, named) in [
        (json!({"foo": 1}), "foo"),
        (json!({"flags": {"foo": true}}), "foo"),
        (json!({"flags": {"enable_sso": "yes"}}), "enable_sso"),
        (json!({"flags": []}), "flags"),
        (json!({"resource_parameter_profile": "both"}), "resource_parameter_profile"),
        (json!({"support_email": 1}), "support_email"),
        (json!({"friendly_name": "f".repeat(3000)}), "friendly_name"),
        (json!({"session_lifetime": 1, "session_lifetime_in_minutes": 60}), "session_lifetime"),
        (json!({"idle_session_lifetime": -1}), "idle_session_lifetime"),
    ] {
        let (status, code, message) = admin.refused("PATCH", "tenants/settings", body.clone()).await;
        assert_eq!((status, code.as_str()), (400, "invalid_body"), "{body}");
        assert!(message.contains(named), "{message}");
    }
}

#[tokio::test]
async fn organizations_block_third_parties_by_default() {
    let admin = Admin::new();
    let created = admin.done("POST", "organizations", json!({"name": "acme", "display_name": "Acme"})).await;
    assert_eq!(
        (&created["third_party_client_access"], &created["display_name"]),
        (&json!("block"), &json!("Acme"))
    );
    let path = format!("organizations/{}", created["id"].as_str().unwrap());
    let changed = admin.done("PATCH", &path, json!({"third_party_client_access": "allow"})).await;
    assert_eq!((&changed["third_party_client_access"], &changed["name"]), (&json!("allow"), &json!("acme")));
    assert_eq!(admin.code("POST", "organizations", json!({"name": "acme"})).await.0, 409);
    assert_eq!(admin.code("POST", "organizations", json!({"name": "Acme Inc"})).await, invalid());
    assert_eq!(admin.code("POST", "organizations", json!({"display_name": "x"})).await, invalid());
    assert_eq!(admin.send("DELETE", &path, json!(null)).await.0, 204);
    assert_eq!(admin.code("GET", &path, json!(null)).await, (404, "inexistent_organization".into()));
}

#[tokio::test]
async fn prompts_rules_and_hooks_can_be_changed() {
    let admin = Admin::new();
    let classic = json!({"universal_login_experience": "classic", "identifier_first": true});
    assert_eq!(admin.done("PATCH", "prompts", classic.clone()).await, classic);
    assert_eq!(admin.get("prompts").await, classic);
    for (kind, body) in [
        ("rules", json!({"name": "my rule", "script": "function (a, b, c) {}", "enabled": true})),
        ("hooks", json!({"name": "h", "script": "x", "triggerId": "post-user-registration"})),
    ] {
        assert_eq!(admin.send("POST", kind, body.clone()).await.0, 201);
        assert_eq!(admin.code("POST", kind, body.clone()).await.0, 409);
        let found = admin.get(kind).await;
        assert_eq!((&found[0]["name"], &found[0]["enabled"]), (&body["name"], &json!(true)));
        let path = format!("{kind}/{}", found[0]["id"].as_str().unwrap().replace(' ', "%20"));
        assert_eq!(admin.send("DELETE", &path, json!(null)).await.0, 204);
        assert_eq!(admin.code("DELETE", &path, json!(null)).await.0, 404);
    }
}

#[tokio::test]
async fn keys_are_listed_by_their_roles() {
    let admin = Admin::new();
    let keys = admin.get("keys/signing").await;
    let current = admin.0.issuer.keys().current();
    assert_eq!((&keys[0]["kid"], &keys[0]["current"]), (&json!(current.kid()), &json!(true)));
    assert_eq!((&keys[1]["next"], &keys[1]["current"]), (&json!(true), &json!(false)));
    assert_eq!(admin.get("custom-domains").await, json!([]));
    assert_eq!(admin.get("logs?take=10").await, json!([]));
}

#[tokio::test]
async fn pages_and_checkpoints_reach_every_entity() {
    let admin = Admin::new();
    let before = admin.get("roles").await.as_array().unwrap().len();
    for n in before..7 {
        admin.role(&format!("Role {n}")).await;
    }
    let mut names = Vec::new();
    for page in 0..4 {
        let found = admin.get(&format!("roles?per_page=2&page={page}&include_totals=true")).await;
        assert_eq!(
            (&found["start"], &found["limit"], &found["total"]),
            (&json!(page * 2), &json!(2), &json!(7))
        );
        names.extend(found["roles"].as_array().unwrap().iter().map(|role| role["name"].clone()));
    }
    let all: Vec<Value> =
        admin.get("roles").await.as_array().unwrap().iter().map(|role| role["name"].clone()).collect();
    assert_eq!(names, all);
    for wrong in ["per_page=101", "per_page=x", "page=-1", "page=1&page=2", "include_totals=1", "take=2"] {
        let (status, code) = admin.code("GET", &format!("roles?{wrong}"), json!(null)).await;
        assert_eq!((status, code.as_str()), (400, "invalid_query_string"), "{wrong}");
    }
    for wrong in ["take=101", "from=x"] {
        let (status, code) = admin.code("GET", &format!("client-grants?{wrong}"), json!(null)).await;
        assert_eq!((status, code.as_str()), (400, "invalid_query_string"), "{wrong}");
    }
}

fn fill(admin: &Admin, change: impl FnOnce(&mut State)) {
    let filled = admin.0.directory.change(|state| {
        change(state);
        Ok::<(), ()>(())
    });
    filled.unwrap();
}

#[tokio::test]
async fn the_number_and_the_size_of_entities_are_limited() {
    let admin = Admin::new();
    let role = |n: usize| Role {
        id: format!("rol_{n}"),
        name: format!("Role {n}"),
        description: None,
        permissions: BTreeSet::default(),
    };
    fill(&admin, |state| state.roles = (1..MAX_ENTITIES).map(role).collect());
    admin.role("The last one").await;
    let more = admin.code("POST", "roles", json!({"name": "One more"})).await;
    assert_eq!(more, (403, "too_many_entities".into()));

    fill(&admin, |state| state.roles[0].description = Some("d".repeat(MAX_STATE_BYTES - 200_000)));
    let organization = |name: &str| json!({"name": name, "metadata": {"x": "y".repeat(100_000)}});
    admin.done("POST", "organizations", organization("a")).await;
    let more = admin.code("POST", "organizations", organization("b")).await;
    assert_eq!(more, (403, "too_many_entities".into()));
    assert_eq!(admin.send("DELETE", "roles/rol_1", json!(null)).await.0, 200);
}

/// Operations that fetch nothing.
fn operations() -> Vec<(&'static str, &'static str)> {
    let fetches_nothing = |operation: &&Operation| !matches!(operation.handler, Handler::Document(_));
    routes::OPERATIONS.iter().filter(fetches_nothing).map(Operation::name).collect()
}

fn any_json() -> impl Strategy<Value = Value> {
    let names = [
        "name",
        "identifier",
        "scopes",
        "value",
        "flags",
        "scope",
        "audience",
        "client_id",
        "permissions",
        "roles",
        "users",
        "callbacks",
        "app_type",
        "options",
        "token_lifetime",
        "description",
        "session_lifetime",
        "subject_type_authorization",
        "resource_server_identifier",
        "permission_name",
        "enabled_clients",
    ];
    let texts = ["", "public", "auth0|local-admin", "rol_0000000000000001", "tool:greet", "native", "user"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(texts.to_vec()).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(
                prop::sample::select(names.to_vec()).prop_map(str::to_owned),
                inner,
                0..6
            )
            .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_that_is_sent_is_an_internal_error(
        operation in prop::sample::select(operations()),
        id in prop_oneof![Just("rol_0000000000000001".to_owned()), Just("con_0000000000000001".to_owned()),
                          Just("auth0%7Clocal-admin".to_owned()), Just("public".to_owned()), "[a-z%]{1,6}"],
        query in prop_oneof![Just(String::new()), "[a-z_]{1,8}=[0-9a-z%&]{0,8}", "(page|per_page|take|from)=[0-9A-Z]{1,20}"],
        body in prop_oneof![8 => any_json().prop_map(|body| body.to_string().into_bytes()),
                            1 => prop::collection::vec(any::<u8>(), 0..24)],
    ) {
        static TENANT: LazyLock<Tenant> = LazyLock::new(tenant);
        let (method, path) = operation;
        let target = format!("{}?{query}", path.replace("{}", &id));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (status, answer) = runtime.block_on(send(&TENANT, EVERYTHING, method, &target, &body));
        prop_assert!((200..500).contains(&status), "{method} {target}: {answer}");
    }
}
