//! Routes, documents, CORS, hosts and origins.

use http_body_util::Full;
use hyper::header::HOST;
use serde_json::json;

use crate::harness::{ADMIN, Choices, Harness};

const ROUTES: [&str; 7] = [
    "/mcp",
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-protected-resource/mcp",
    "/.well-known/oauth-authorization-server",
    "/health",
    "/ready",
    "/ping",
];

#[tokio::test]
async fn the_protected_resource_document_is_exact_and_at_both_places() {
    let harness =
        Choices::new().set("tools.get_datetime.scopes", vec!["tool:time", "tool:greet"]).start().await;
    for path in ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"] {
        let answer = harness.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
        assert_eq!(
            answer.json(),
            json!({
                "resource": "https://mcp.example.com/mcp",
                "authorization_servers": ["https://tenant.example.auth0.com/"],
                "scopes_supported": ["tool:greet", "tool:whoami", "tool:time"],
                "bearer_methods_supported": ["header"],
                "resource_name": "FastMCP Auth0",
            })
        );
    }
}

#[tokio::test]
async fn the_authorization_server_document_is_the_tenants() {
    let document = Harness::new().await.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(document["issuer"], "https://tenant.example.auth0.com/");
    assert_eq!(document["authorization_endpoint"], "https://tenant.example.auth0.com/authorize");
    assert_eq!(document["token_endpoint"], "https://tenant.example.auth0.com/oauth/token");
    assert_eq!(document["registration_endpoint"], "https://tenant.example.auth0.com/oidc/register");
    assert_eq!(document["jwks_uri"], "https://tenant.example.auth0.com/.well-known/jwks.json");
    assert_eq!(document["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(document["response_types_supported"], json!(["code"]));
}

#[tokio::test]
async fn probes_answer_without_a_token() {
    let harness = Harness::new().await;
    for (path, status) in [("/health", "ok"), ("/ready", "ready"), ("/ping", "pong")] {
        let answer = harness.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({"status": status})));
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    harness.verifier.set_ready(Err(domain::NotReady("the key server answered 500".into())));
    let answer = harness.get("/ready").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json(), json!({"status": "not ready", "reason": "the key server answered 500"}));
    assert_eq!(harness.get("/health").await.status, 200, "alive all the same");
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let harness = Harness::new().await;
    for method in ["GET", "DELETE", "PUT", "HEAD", "PATCH", "TRACE", "MADEUP"] {
        let answer = harness.send(harness.request(method, "/mcp").body(Full::default()).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "POST"), "{method}");
    }
    for path in &ROUTES[1..] {
        let answer = harness.send(harness.request("POST", path).body(Full::default()).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "GET, HEAD"), "{path}");
        let head = harness.send(harness.request("HEAD", path).body(Full::default()).unwrap()).await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0), "{path}");
    }
    for path in ["/", "/mcp//", "/MCP", "/.well-known/", "/mcp/../health"] {
        assert_eq!(harness.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_preflight_is_204_on_every_route() {
    let harness = Harness::new().await;
    for path in ROUTES {
        let request = harness
            .request("OPTIONS", path)
            .header("origin", "http://localhost:6274")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization, mcp-param-region");
        let answer = harness.send(request.body(Full::default()).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0), "{path}");
        let origin = if path.starts_with("/.well-known/") { "*" } else { "http://localhost:6274" };
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert_eq!(
            answer.header("access-control-allow-headers"),
            "Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Method, Mcp-Name, Mcp-Param-*, \
             Mcp-Session-Id, Last-Event-ID, mcp-param-region"
        );
        assert_eq!(answer.header("access-control-max-age"), "7200");
        let methods = if path == "/mcp" { "POST, OPTIONS" } else { "GET, HEAD, OPTIONS" };
        assert_eq!(answer.header("access-control-allow-methods"), methods);
    }
}

#[tokio::test]
async fn pages_of_known_origins_can_read_every_answer_errors_too() {
    let harness = Choices::new().set("http.allowed_origins", vec!["https://app.example.com"]).start().await;
    harness.refuse("cold", domain::VerifyError::KeysUnavailable { retry_after: std::time::Duration::ZERO });
    let greet =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "greet"}}).to_string();
    for origin in
        ["http://localhost:1", "https://127.0.0.1", "https://app.example.com", "https://mcp.example.com"]
    {
        for (token, status) in [(ADMIN, 200), ("unknown", 401), ("user-token", 403), ("cold", 503)] {
            let request =
                harness.post(token).header("origin", origin).body(Full::from(greet.clone())).unwrap();
            let answer = harness.send(request).await;
            assert_eq!(answer.status, status, "{origin}");
            assert_eq!(answer.header("access-control-allow-origin"), origin);
            assert_eq!(answer.header("vary"), "Origin");
            assert_eq!(
                answer.header("access-control-expose-headers"),
                "WWW-Authenticate, Retry-After, X-Request-Id"
            );
        }
    }
}

#[tokio::test]
async fn foreign_origins_are_refused_at_the_endpoint_and_welcome_at_the_documents() {
    let harness = Harness::new().await;
    for origin in
        ["https://evil.example", "null", "http://mcp.example.com", "https://localhost.evil.example", ""]
    {
        for method in ["POST", "OPTIONS", "GET"] {
            let request = harness.request(method, "/mcp").header("origin", origin);
            let request =
                request.header("authorization", format!("Bearer {ADMIN}")).body(Full::default()).unwrap();
            let answer = harness.send(request).await;
            assert_eq!(answer.status, 403, "{method} {origin}");
            assert_eq!(answer.header("access-control-allow-origin"), "");
            assert_eq!(answer.json()["error"], "foreign_origin");
        }
        for path in &ROUTES[1..4] {
            let request =
                harness.request("GET", path).header("origin", origin).body(Full::default()).unwrap();
            let answer = harness.send(request).await;
            assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (200, "*"));
        }
    }
}

#[tokio::test]
async fn foreign_pages_can_not_read_probes() {
    let harness = Harness::new().await;
    for path in &ROUTES[4..] {
        let request = harness.request("GET", path).header("origin", "https://evil.example");
        let answer = harness.send(request.body(Full::default()).unwrap()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("access-control-allow-origin")),
            (200, ""),
            "{path}"
        );
    }
}

#[tokio::test]
async fn foreign_hosts_are_refused_except_by_probes() {
    let harness = Choices::new().set("http.allowed_hosts", vec!["internal:8080"]).start().await;
    let port = harness.address.port();
    let request = |host: &str, path: &str| {
        let mut request = harness.request("GET", path).body(Full::default()).unwrap();
        request.headers_mut().insert(HOST, host.parse().unwrap());
        request
    };
    let document = "/.well-known/oauth-protected-resource";
    for host in ["mcp.example.com", "internal:8080", "localhost", &format!("[::1]:{port}")] {
        assert_eq!(harness.send(request(host, document)).await.status, 200, "{host}");
    }
    for host in ["evil.example", "internal", "10.0.0.7:3001", "mcp.example.com.evil.example"] {
        for path in [document, "/mcp", "/nowhere"] {
            let answer = harness.send(request(host, path)).await;
            assert_eq!(
                (answer.status.as_u16(), &answer.json()["error"]),
                (403, &json!("foreign_host")),
                "{host}"
            );
        }
        assert_eq!(
            harness.send(request(host, "/health")).await.status,
            200,
            "probes name the instance's address"
        );
    }
}

#[tokio::test]
async fn forwarded_headers_change_nothing() {
    let harness = Harness::new().await;
    let request = harness
        .request("POST", "/mcp")
        .header("x-forwarded-host", "evil.example")
        .header("x-forwarded-proto", "http")
        .header("forwarded", "host=evil.example");
    let answer = harness.send(request.body(Full::default()).unwrap()).await;
    assert!(answer.header("www-authenticate").contains("\"https://mcp.example.com/.well-known/"));
}

#[tokio::test]
async fn every_response_has_an_id_of_its_own_that_no_client_chose() {
    let harness = Harness::new().await;
    let mut ids = std::collections::HashSet::new();
    for path in ["/health", "/mcp", "/nowhere"] {
        let request =
            harness.request("GET", path).header("x-request-id", "chosen").body(Full::default()).unwrap();
        let answer = harness.send(request).await;
        let id = answer.header("x-request-id").to_owned();
        assert!(!id.is_empty() && id != "chosen");
        assert!(ids.insert(id));
    }
}

#[tokio::test]
async fn http_2_without_tls_is_served() {
    let harness = Harness::new().await;
    let io = hyper_util::rt::TokioIo::new(harness.connect().await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let request = |host: &str| {
        let request = hyper::Request::post(format!("http://{host}/mcp"));
        let request = request
            .header("authorization", format!("Bearer {ADMIN}"))
            .header("content-type", "application/json");
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
        request.body(Full::<bytes::Bytes>::from(body)).unwrap()
    };
    assert_eq!(sender.send_request(request("localhost")).await.unwrap().status(), 200);
    assert_eq!(sender.send_request(request("evil.example")).await.unwrap().status(), 403);
    // Fields that were sent before take one byte on the wire each.
    let mut many = request("localhost");
    for _ in 0..100 {
        many.headers_mut().append("a", "b".parse().unwrap());
    }
    assert_eq!(sender.send_request(many).await.unwrap().status(), 431);
    let unauthenticated = hyper::Request::post("http://localhost/mcp").body(Full::default()).unwrap();
    let response = sender.send_request(unauthenticated).await.unwrap();
    assert_eq!(response.status(), 401);
    assert!(response.headers().contains_key("www-authenticate"));
}
