//! The local tenant's Management API over real HTTP: what a program that sets a tenant up meets. Its rules for each entity are
//! tested beside its code.

use local_tenant::{Fault, LocalTenant, ManagementAnswer, TokenRequest};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::local_tenant::{API, Answer, get, send};
use crate::oauth::{CALLBACK, document_server, encoded, inject, options, post_form};

const MIB: usize = 1024 * 1024;

/// A tenant, and a token for all of its Management API.
struct Admin {
    tenant: LocalTenant,
    token: String,
}

impl Admin {
    /// One that most tests share: each works with entities of its own, and the limit of requests is out of the way.
    async fn shared() -> &'static Self {
        static ADMIN: OnceCell<Admin> = OnceCell::const_new();
        ADMIN
            .get_or_init(async || {
                let admin = Self::new().await;
                let rate = ManagementAnswer::Rate { burst: 1_000_000, per_second: 1_000_000 };
                admin.tenant.inject(&Fault::Management(rate));
                admin
            })
            .await
    }

    async fn new() -> Self {
        let tenant = LocalTenant::start(options()).await.unwrap();
        let token = token(&tenant, None).await;
        Self { tenant, token }
    }

    fn port(&self) -> u16 {
        self.tenant.port()
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        call(self.port(), Some(&self.token), method, path, &body.to_string()).await
    }

    async fn get(&self, path: &str) -> Answer {
        call(self.port(), Some(&self.token), "GET", path, "").await
    }

    /// Sends what has to succeed with this status.
    async fn done(&self, status: u16, method: &str, path: &str, body: Value) -> Answer {
        let answer = self.send(method, path, &body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
        answer
    }
}

/// Requests a token of the Management API by `client_credentials`, with all scopes or with some.
async fn token(tenant: &LocalTenant, scope: Option<&str>) -> String {
    let (id, secret) = tenant.management_client();
    let audience = format!("{}api/v2/", tenant.issuer());
    let mut form = vec![
        ("grant_type", "client_credentials"),
        ("client_id", id),
        ("client_secret", secret.expose()),
        ("audience", &audience),
    ];
    form.extend(scope.map(|scope| ("scope", scope)));
    let answer = post_form(tenant, "/oauth/token", &encoded(&form), "").await;
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

async fn call(port: u16, token: Option<&str>, method: &str, path: &str, body: &str) -> Answer {
    let mut headers = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    if !body.is_empty() {
        headers.push_str("content-type: application/json\r\n");
    }
    send(port, method, &format!("/api/v2/{path}"), &headers, body).await
}

fn error(status: u16, name: &str, message: &str, code: Option<&str>) -> Value {
    let mut error = json!({"statusCode": status, "error": name, "message": message});
    if let Some(code) = code {
        error["errorCode"] = code.into();
    }
    error
}

// Who may call.

#[tokio::test]
async fn without_a_token_of_this_tenants_for_this_api_nothing_is_answered() {
    let admin = Admin::shared().await;
    let missing = error(401, "Unauthorized", "Missing authentication", None);
    let invalid = error(401, "Unauthorized", "Invalid token", None);
    let none = call(admin.port(), None, "GET", "clients", "").await;
    assert_eq!((none.status, none.json()), (401, missing.clone()));
    let basic = send(admin.port(), "GET", "/api/v2/clients", "authorization: Basic eDp5\r\n", "").await;
    assert_eq!(basic.json(), missing);

    let request = TokenRequest { user: "admin".into(), scope: None, audience: None };
    let of_another_api = admin.tenant.issue_token(&request).unwrap().access_token;
    let other = LocalTenant::start(options()).await.unwrap();
    let of_another_tenant = token(&other, None).await;
    for token in ["x", &of_another_api, &of_another_tenant, &format!("{}x", admin.token)] {
        let refused = call(admin.port(), Some(token), "GET", "clients", "").await;
        assert_eq!((refused.status, refused.json()), (401, invalid.clone()), "{token}");
    }
}

#[tokio::test]
async fn a_token_is_not_accepted_after_its_expiry_or_from_another_domain() {
    let admin = Admin::new().await;
    assert_eq!(admin.get("clients").await.status, 200);
    admin.tenant.inject(&Fault::Clock { ahead_seconds: 86_401 });
    assert_eq!(admin.get("clients").await.status, 401);
    admin.tenant.inject(&Fault::Reset);
    assert_eq!(admin.get("clients").await.status, 200);
    admin.tenant.inject(&Fault::SecondIssuer { on: true });
    let of_the_custom_domain = token(&admin.tenant, None).await;
    let refused = call(admin.port(), Some(&of_the_custom_domain), "GET", "clients", "").await;
    assert_eq!(refused.status, 401, "{}", refused.text);
}

#[tokio::test]
async fn an_operation_needs_its_scope() {
    let admin = Admin::shared().await;
    let token = token(&admin.tenant, Some("read:roles")).await;
    assert_eq!(call(admin.port(), Some(&token), "GET", "roles", "").await.status, 200);
    let refused = call(admin.port(), Some(&token), "GET", "clients", "").await;
    let message = "Insufficient scope, expected any of: read:clients";
    let expected = error(403, "Forbidden", message, Some("insufficient_scope"));
    assert_eq!((refused.status, refused.json()), (403, expected));
    let write = call(admin.port(), Some(&token), "POST", "roles", r#"{"name":"x"}"#).await;
    assert_eq!(write.status, 403);
}

#[tokio::test]
async fn web_pages_are_refused() {
    let admin = Admin::shared().await;
    for origin in ["https://evil.example", "null", &format!("http://localhost:{}", admin.port())] {
        let headers = format!("authorization: Bearer {}\r\norigin: {origin}\r\n", admin.token);
        for method in ["GET", "OPTIONS"] {
            let answer = send(admin.port(), method, "/api/v2/clients", &headers, "").await;
            assert_eq!(answer.error(), (403, "foreign_origin".into()), "{origin}");
            assert_eq!(answer.header("access-control-allow-origin"), "");
        }
    }
    let answer = admin.get("clients").await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
    let rebound = format!(
        "GET /api/v2/clients HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\nauthorization: Bearer {}\r\n\r\n",
        admin.token
    );
    assert_eq!(crate::local_tenant::raw(admin.port(), &rebound).await.status, 403);
}

// What is refused.

#[tokio::test]
async fn what_is_refused_has_auth0s_error_object() {
    let admin = Admin::shared().await;
    let cases = [
        ("GET", "resource-servers/none", json!(null), 404, "Not Found", "inexistent_resource_server"),
        ("GET", "client-grants/none", json!(null), 404, "Not Found", "inexistent_client_grant"),
        ("GET", "clients/none", json!(null), 404, "Not Found", "inexistent_client"),
        ("GET", "connections/none", json!(null), 404, "Not Found", "inexistent_connection"),
        ("GET", "roles/none", json!(null), 404, "Not Found", "inexistent_role"),
        ("GET", "users/none", json!(null), 404, "Not Found", "inexistent_user"),
        ("GET", "organizations/none", json!(null), 404, "Not Found", "inexistent_organization"),
        ("POST", "resource-servers", json!({"identifier": API}), 409, "Conflict", "conflict"),
        ("POST", "roles", json!({"name": "x", "foo": 1}), 400, "Bad Request", "invalid_body"),
        ("GET", "roles?per_page=101", json!(null), 400, "Bad Request", "invalid_query_string"),
        ("GET", "roles/%ff", json!(null), 400, "Bad Request", "invalid_uri"),
    ];
    for (method, path, body, status, name, code) in cases {
        let answer = admin.send(method, path, &body).await;
        let found = answer.json();
        assert_eq!((answer.status, &found["statusCode"]), (status, &json!(status)), "{path}: {found}");
        assert_eq!((&found["error"], &found["errorCode"]), (&json!(name), &json!(code)), "{path}");
        assert!(found["message"].is_string(), "{path}");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    assert_eq!(admin.get("nothing").await.status, 404);
    assert_eq!(admin.send("PUT", "roles", &json!({})).await.status, 405);
}

#[tokio::test]
async fn a_body_is_json_of_at_most_one_mebibyte() {
    let admin = Admin::shared().await;
    let scope = |n: usize| json!({"value": format!("tool:{n:03}"), "description": "d".repeat(400)});
    let scopes: Vec<Value> = (0..500).map(scope).collect();
    let api = json!({"identifier": "https://large.example/", "scopes": scopes});
    assert!(api.to_string().len() > 200_000);
    admin.done(201, "POST", "resource-servers", api).await;
    let fits = json!({"name": "x".repeat(MIB - 100)});
    assert_eq!(admin.send("POST", "roles", &fits).await.json()["errorCode"], "invalid_body");
    let large = json!({"name": "x".repeat(MIB)});
    let refused = admin.send("POST", "roles", &large).await;
    assert_eq!((refused.status, &refused.json()["statusCode"]), (413, &json!(413)));
    assert_eq!(refused.header("connection"), "close");
    let headers = format!("authorization: Bearer {}\r\ncontent-type: text/plain\r\n", admin.token);
    let text = send(admin.port(), "POST", "/api/v2/roles", &headers, r#"{"name":"x"}"#).await;
    assert_eq!(text.status, 415);
}

// The entities.

#[tokio::test]
async fn an_api_with_its_grants_roles_and_users_is_set_up_and_removed() {
    let admin = Admin::shared().await;
    let identifier = "https://mcp.example/mcp";
    let path = "resource-servers/https%3A%2F%2Fmcp.example%2Fmcp";
    let api = json!({"identifier": identifier, "name": "MCP", "scopes": [{"value": "tool:a"}]});
    let api = admin.done(201, "POST", "resource-servers", api).await.json();
    admin.done(200, "PATCH", path, json!({"enforce_policies": true})).await;
    assert_eq!(admin.get(path).await.json()["enforce_policies"], true);

    let grant = json!({
        "audience": identifier, "default_for": "third_party_clients", "subject_type": "user", "scope": ["tool:a"],
    });
    let grant = admin.done(201, "POST", "client-grants", grant).await.json();
    let grant = format!("client-grants/{}", grant["id"].as_str().unwrap());
    admin.done(200, "PATCH", &grant, json!({"scope": []})).await;

    let role = admin.done(200, "POST", "roles", json!({"name": "MCP user"})).await.json();
    let role = format!("roles/{}", role["id"].as_str().unwrap());
    let permissions =
        json!({"permissions": [{"resource_server_identifier": identifier, "permission_name": "tool:a"}]});
    admin.done(201, "POST", &format!("{role}/permissions"), permissions.clone()).await;
    assert_eq!(admin.get(&format!("{role}/permissions")).await.json().as_array().unwrap().len(), 1);
    let sub = admin.get("users").await.json()[0]["user_id"].as_str().unwrap().to_owned();
    admin.done(200, "POST", &format!("{role}/users"), json!({"users": [sub]})).await;
    assert_eq!(admin.get(&format!("{role}/users")).await.json()[0]["user_id"], sub.as_str());
    admin.done(204, "DELETE", &format!("{role}/permissions"), permissions).await;
    admin.done(200, "DELETE", &role, json!(null)).await;

    let deleted = call(admin.port(), Some(&admin.token), "DELETE", path, "").await;
    assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
    assert_eq!(admin.get(&grant).await.status, 404);
    assert_eq!(admin.get(&format!("resource-servers/{}", api["id"].as_str().unwrap())).await.status, 404);
}

#[tokio::test]
async fn clients_connections_and_organizations_are_created_read_changed_and_deleted() {
    let admin = Admin::shared().await;
    for (kind, id, body, change) in [
        ("clients", "client_id", json!({"name": "C", "is_first_party": false}), json!({"name": "D"})),
        (
            "connections",
            "id",
            json!({"name": "db", "strategy": "auth0"}),
            json!({"is_domain_connection": true}),
        ),
        ("organizations", "id", json!({"name": "acme"}), json!({"third_party_client_access": "allow"})),
    ] {
        let created = admin.done(201, "POST", kind, body).await.json();
        let path = format!("{kind}/{}", created[id].as_str().unwrap());
        admin.done(200, "PATCH", &path, change.clone()).await;
        let changed = admin.get(&path).await.json();
        for (name, value) in change.as_object().unwrap() {
            assert_eq!(changed[name], *value, "{kind}");
        }
        let listed = admin.get(kind).await.json();
        assert!(listed.as_array().unwrap().iter().any(|found| found[id] == created[id]), "{kind}");
        admin.done(204, "DELETE", &path, json!(null)).await;
        assert_eq!(admin.get(&path).await.status, 404);
    }
}

#[tokio::test]
async fn settings_prompts_rules_hooks_domains_keys_and_logs_are_read() {
    let admin = Admin::shared().await;
    admin.done(200, "PATCH", "tenants/settings", json!({"friendly_name": "Mine"})).await;
    assert_eq!(admin.get("tenants/settings").await.json()["friendly_name"], "Mine");
    assert_eq!(admin.get("prompts").await.json()["universal_login_experience"], "new");
    for empty in ["rules", "hooks", "custom-domains", "logs?take=5"] {
        assert_eq!(admin.get(empty).await.json(), json!([]), "{empty}");
    }
    let published = get(admin.port(), "/.well-known/jwks.json").await.json();
    let keys = admin.get("keys/signing").await.json();
    assert_eq!((&keys[0]["kid"], &keys[0]["current"]), (&published["keys"][0]["kid"], &json!(true)));
}

#[tokio::test]
async fn a_client_is_registered_by_the_url_of_its_metadata() {
    let admin = Admin::shared().await;
    let url = document_server(|url| {
        json!({"client_id": url, "client_name": "Doc", "redirect_uris": [CALLBACK]}).to_string()
    })
    .await;
    let body = json!({"external_client_id": url});
    let preview = admin.done(200, "POST", "clients/cimd/preview", body.clone()).await.json();
    assert_eq!(
        (&preview["validation"]["valid"], preview.get("client_id")),
        (&json!(true), None),
        "{preview}"
    );
    assert_eq!(preview["mapped_fields"]["callbacks"], json!([CALLBACK]));
    let find = format!("clients?{}", encoded(&[("external_client_id", &url)]));
    assert_eq!(admin.get(&find).await.json(), json!([]));

    let registered = admin.done(201, "POST", "clients/cimd/register", body.clone()).await.json();
    let again = admin.done(200, "POST", "clients/cimd/register", body).await.json();
    assert_eq!(registered["client_id"], again["client_id"]);
    assert!(registered["client_id"].as_str().unwrap().starts_with("tpc_"), "{registered}");
    let found = admin.get(&find).await.json();
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert_eq!(
        (&found[0]["is_first_party"], &found[0]["third_party_security_mode"]),
        (&json!(false), &json!("strict"))
    );

    let update_alone = token(&admin.tenant, Some("update:clients")).await;
    let other =
        document_server(|url| json!({"client_id": url, "redirect_uris": [CALLBACK]}).to_string()).await;
    let other = json!({"external_client_id": other}).to_string();
    let refused = call(admin.port(), Some(&update_alone), "POST", "clients/cimd/register", &other).await;
    assert_eq!(refused.status, 403, "a new client needs create:clients");
}

#[tokio::test]
async fn a_document_that_is_wrong_is_reported_and_not_registered() {
    let admin = Admin::shared().await;
    let url = document_server(|_| json!({"client_id": "https://other.example/x"}).to_string()).await;
    let body = json!({"external_client_id": url});
    let preview = admin.done(200, "POST", "clients/cimd/preview", body.clone()).await.json();
    assert_eq!((&preview["validation"]["valid"], preview.get("errors")), (&json!(false), None));
    assert!(!preview["validation"]["violations"].as_array().unwrap().is_empty());
    let missing = json!({"external_client_id": format!("http://127.0.0.1:{}/none", admin.port())});
    let preview = admin.done(200, "POST", "clients/cimd/preview", missing).await.json();
    assert_eq!((preview["errors"].as_array().unwrap().len(), preview.get("validation")), (1, None));
    assert_eq!(admin.send("POST", "clients/cimd/register", &body).await.status, 400);
    let long = json!({"external_client_id": format!("https://a.example/{}", "x".repeat(120))});
    assert_eq!(admin.send("POST", "clients/cimd/preview", &long).await.status, 400);
}

// Pages.

#[tokio::test]
async fn lists_are_paged_in_both_ways() {
    let admin = Admin::shared().await;
    for n in 0..5 {
        let name = format!("paged-{n}");
        admin.done(200, "POST", "roles", json!({"name": name})).await;
        admin.done(201, "POST", "connections", json!({"name": name, "strategy": "paged"})).await;
    }
    let mut roles = Vec::new();
    for page in 0..3 {
        let path = format!("roles?name_filter=paged-&per_page=2&page={page}&include_totals=true");
        let found = admin.get(&path).await.json();
        assert_eq!((&found["total"], &found["start"]), (&json!(5), &json!(page * 2)));
        roles.extend(found["roles"].as_array().unwrap().iter().map(|role| role["name"].clone()));
    }
    let (mut connections, mut path) = (Vec::new(), "connections?strategy=paged&take=2".to_owned());
    loop {
        let found = admin.get(&path).await.json();
        connections.extend(found["connections"].as_array().unwrap().iter().map(|it| it["name"].clone()));
        let Some(next) = found.get("next") else { break };
        path = format!("connections?strategy=paged&take=2&from={}", next.as_str().unwrap());
    }
    let expected: Vec<Value> = (0..5).map(|n| json!(format!("paged-{n}"))).collect();
    assert_eq!((roles, connections), (expected.clone(), expected));
}

// Limits and faults.

#[tokio::test]
async fn every_answer_says_how_many_requests_are_left() {
    let admin = Admin::new().await;
    let first = admin.get("roles").await;
    assert_eq!((first.header("x-ratelimit-limit"), first.header("x-ratelimit-remaining")), ("50", "49"));
    assert!(first.header("x-ratelimit-reset").parse::<u64>().unwrap() > 1_500_000_000);
    let refused = call(admin.port(), None, "GET", "roles", "").await;
    assert_eq!((refused.status, refused.header("x-ratelimit-limit")), (401, "50"));
}

#[tokio::test]
async fn a_rate_can_be_set_and_what_is_beyond_it_is_refused() {
    let admin = Admin::new().await;
    let rate = json!({"fault": "management", "answer": "rate", "burst": 0, "per_second": 2});
    assert_eq!(inject(&admin.tenant, &rate).await, 204);
    let refused = admin.send("POST", "roles", &json!({"name": "x"})).await;
    let message = "Global limit has been reached";
    let expected = error(429, "Too Many Requests", message, Some("too_many_requests"));
    assert_eq!((refused.status, refused.json()), (429, expected));
    assert_eq!((refused.header("x-ratelimit-limit"), refused.header("x-ratelimit-remaining")), ("0", "0"));
    assert!(!refused.header("x-ratelimit-reset").is_empty());
    admin.tenant.inject(&Fault::Reset);
    assert_eq!(admin.get("roles?name_filter=x").await.json(), json!([]), "nothing was carried out");
}

#[tokio::test]
async fn after_some_writes_requests_fail_and_change_nothing() {
    let admin = Admin::new().await;
    let fault = json!({"fault": "management", "answer": "status", "status": 503, "after_writes": 2});
    assert_eq!(inject(&admin.tenant, &fault).await, 204);
    admin.done(200, "POST", "roles", json!({"name": "fault-1"})).await;
    assert_eq!(admin.get("roles").await.status, 200, "reading is no write");
    assert_eq!(
        admin.send("POST", "roles", &json!({"name": "fault-1"})).await.status,
        409,
        "nor is a failure"
    );
    admin.done(200, "POST", "roles", json!({"name": "fault-2"})).await;
    let failed = admin.send("POST", "roles", &json!({"name": "fault-3"})).await;
    assert_eq!((failed.status, &failed.json()["statusCode"]), (503, &json!(503)));
    assert_eq!(admin.get("roles").await.status, 503);
    admin.tenant.inject(&Fault::Reset);
    assert_eq!(admin.get("roles?name_filter=fault-").await.json().as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_last_write_before_a_hang_is_carried_out_but_not_answered() {
    let admin = Admin::new().await;
    admin.tenant.inject(&Fault::Management(ManagementAnswer::Hang { after_writes: 1 }));
    let (port, token) = (admin.port(), admin.token.clone());
    let create = move |name: &'static str| {
        let token = token.clone();
        async move { call(port, Some(&token), "POST", "roles", &json!({"name": name}).to_string()).await }
    };
    let held = tokio::spawn(create("hang-1"));
    admin.tenant.management_writes(1).await;
    let later = tokio::spawn(create("hang-2"));
    // The tenant serves from one thread: it would have answered between these.
    for _ in 0..10 {
        assert_eq!(get(port, "/.well-known/openid-configuration").await.status, 200);
    }
    assert!(!held.is_finished() && !later.is_finished());
    later.abort();
    assert!(later.await.is_err_and(|error| error.is_cancelled()));
    // Its end is noticed before the next request is accepted.
    for _ in 0..10 {
        assert_eq!(get(port, "/.well-known/openid-configuration").await.status, 200);
    }
    admin.tenant.inject(&Fault::Reset);
    assert_eq!(held.await.unwrap().status, 200);
    let found = admin.get("roles?name_filter=hang-").await.json();
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
}
