//! Routes, documents, CORS, hosts and origins.

use http_body_util::Full;
use hyper::header::HOST;
use serde_json::json;

use crate::harness::{ADMIN, Choices, Harness, MODERN, USER};

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
        let request = harness.request(method, "/mcp").header("authorization", format!("Bearer {ADMIN}"));
        let answer = harness.send(request.body(Full::default()).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "POST"), "{method}");
        assert_eq!(answer.body.is_empty(), method == "HEAD", "{method}");
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

/// claude.ai, Gemini CLI and Amazon Q begin their login with one of these.
#[tokio::test]
async fn whoever_has_no_good_token_is_told_to_log_in_whatever_the_method() {
    let harness = Harness::new().await;
    harness.refuse("cold", domain::VerifyError::KeysUnavailable { retry_after: std::time::Duration::ZERO });
    let posted = |token| harness.send(harness.post(token).body(Full::default()).unwrap());
    let anonymous = harness.request("POST", "/mcp").body(Full::default()).unwrap();
    let anonymous = harness.send(anonymous).await;
    let (rejected, cold) = (posted("unknown").await, posted("cold").await);
    for method in ["GET", "HEAD", "DELETE", "PUT", "MADEUP"] {
        for (token, expected, status) in
            [(None, &anonymous, 401), (Some("unknown"), &rejected, 401), (Some("cold"), &cold, 503)]
        {
            let request = harness.request(method, "/mcp").header("origin", "http://localhost:1");
            let request = token
                .into_iter()
                .fold(request, |request, token| request.header("authorization", format!("Bearer {token}")));
            let answer = harness.send(request.body(Full::default()).unwrap()).await;
            assert_eq!((answer.status.as_u16(), expected.status.as_u16()), (status, status), "{method}");
            for header in ["www-authenticate", "retry-after", "cache-control", "allow"] {
                assert_eq!(answer.header(header), expected.header(header), "{method} {header}");
            }
            let body = if method == "HEAD" { &[][..] } else { &*expected.body };
            assert_eq!(&*answer.body, body, "{method}");
        }
        // Host and origin come first.
        let foreign = harness.request(method, "/mcp").header("origin", "https://evil.example");
        let answer = harness.send(foreign.body(Full::default()).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.header("www-authenticate")), (403, ""), "{method}");
    }
    assert!(anonymous.header("www-authenticate").starts_with("Bearer scope="));
    assert!(rejected.header("www-authenticate").starts_with("Bearer error=\"invalid_token\""));
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_and_no_false_length() {
    let harness = Harness::new().await;
    for path in ["/mcp", "/health", "/nowhere"] {
        let read = harness
            .raw(format!("HEAD {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes())
            .await;
        let get = harness.get(path).await;
        assert!(read.starts_with(&format!("HTTP/1.1 {} ", get.status.as_u16())), "{read}");
        assert!(read.ends_with("\r\n\r\n") && read.matches("\r\n\r\n").count() == 1, "{read}");
        let length = format!("content-length: {}\r\n", get.body.len());
        assert!(read.contains(&length) || !read.contains("content-length"), "{read}");
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
async fn a_preflight_is_told_the_names_that_a_page_of_a_known_origin_asks_for() {
    let harness = Choices::new().set("http.allowed_origins", vec!["https://*.example.com"]).start().await;
    let usual = "Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Method, Mcp-Name, Mcp-Param-*, \
                 Mcp-Session-Id, Last-Event-ID";
    let asked = "authorization,traceparent,tracestate,baggage,x-team,a b,\"q\",*";
    let told = format!("{usual}, traceparent, tracestate, baggage, x-team");
    let preflight = |path: &str, origin: &str| {
        let request = harness
            .request("OPTIONS", path)
            .header("origin", origin.to_owned())
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", asked);
        harness.send(request.body(Full::default()).unwrap())
    };
    for origin in ["http://localhost:6274", "https://app.example.com", "https://mcp.example.com"] {
        let answer = preflight("/mcp", origin).await;
        assert_eq!(answer.header("access-control-allow-headers"), told, "{origin}");
    }
    let foreign = preflight("/mcp", "https://evil.example").await;
    assert_eq!((foreign.status.as_u16(), foreign.header("access-control-allow-headers")), (403, ""));
    for path in ["/health", "/.well-known/oauth-protected-resource"] {
        let foreign = preflight(path, "https://evil.example").await;
        assert_eq!(foreign.header("access-control-allow-headers"), usual, "{path}");
    }
}

#[tokio::test]
async fn wildcards_let_subdomains_in_and_nobody_else() {
    let harness = Choices::new()
        .set("http.allowed_origins", vec!["https://*.Example.com", "http://*.dev.test:8080"])
        .set("http.allowed_hosts", vec!["*.Example.net", "*.example.org:8443"])
        .start()
        .await;
    for (origin, may_call) in [
        ("https://app.example.com", true),
        ("https://a.b.EXAMPLE.com", true),
        ("http://a.dev.test:8080", true),
        ("https://example.com", false),
        ("https://evilexample.com", false),
        ("https://app.example.com.evil.com", false),
        ("https://evil.com/.example.com", false),
        ("https://app.example.com:444", false),
        ("http://app.example.com", false),
        ("http://a.dev.test", false),
        ("https://*.example.com.evil.com", false),
        ("null", false),
    ] {
        let request = harness.request("POST", "/mcp").header("origin", origin);
        let answer = harness.send(request.body(Full::default()).unwrap()).await;
        let expected = if may_call { (401, origin) } else { (403, "") };
        assert_eq!(
            (answer.status.as_u16(), answer.header("access-control-allow-origin")),
            expected,
            "{origin}"
        );
    }
    for (host, is_answered) in [
        ("a.example.net", true),
        ("A.B.example.NET:1", true),
        ("a.example.org:8443", true),
        ("example.net", false),
        ("evilexample.net", false),
        ("a.example.net.evil.com", false),
        (".example.net", false),
        ("a..example.net", false),
        ("a.example.org", false),
        ("a.example.org:1", false),
    ] {
        let mut request = harness.request("GET", "/mcp").body(Full::default()).unwrap();
        request.headers_mut().insert(HOST, host.parse().unwrap());
        let answer = harness.send(request).await;
        assert_eq!(answer.status.as_u16(), if is_answered { 401 } else { 403 }, "{host}");
    }
}

/// It is the operator's decision, and every call still needs a token.
#[tokio::test]
async fn any_origin_may_call_where_the_configuration_says_so_but_null_may_not() {
    let harness = Choices::new().set("http.allowed_origins", vec!["*"]).start().await;
    for origin in ["https://evil.example", "http://a:1", "vscode-webview://abc"] {
        let anonymous = harness.request("POST", "/mcp").header("origin", origin);
        let answer = harness.send(anonymous.body(Full::default()).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (401, origin));
        assert_eq!(answer.header("vary"), "Origin");
        assert_eq!(answer.header("access-control-allow-credentials"), "", "no cookie goes along");
    }
    for origin in ["null", "", "*", "https://a/", "https://user@a"] {
        let request = harness.request("POST", "/mcp").header("origin", origin);
        let answer = harness.send(request.body(Full::default()).unwrap()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("access-control-allow-origin")),
            (403, ""),
            "{origin}"
        );
    }
    let mut rebound = harness.request("POST", "/mcp").header("origin", "http://evil.example");
    rebound = rebound.header("authorization", format!("Bearer {ADMIN}"));
    let mut rebound = rebound.body(Full::default()).unwrap();
    rebound.headers_mut().insert(HOST, "evil.example".parse().unwrap());
    assert_eq!(harness.send(rebound).await.status, 403, "the host is checked all the same");
}

#[tokio::test]
async fn who_takes_nothing_but_a_stream_gets_the_answer_as_one() {
    let harness = Harness::new().await;
    let send = async |version: &str, accept: &str, method: &str, mut params: serde_json::Value| {
        if version == MODERN {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        let request = harness
            .request("POST", "/mcp")
            .header("authorization", format!("Bearer {USER}"))
            .header("content-type", "application/json")
            .header("accept", accept.to_owned())
            .header("mcp-protocol-version", version.to_owned())
            .header("mcp-method", method.to_owned());
        let name = params["name"].as_str().map(str::to_owned);
        let request = name.into_iter().fold(request, |request, name| request.header("mcp-name", name));
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        harness.send(request.body(Full::from(body.to_string())).unwrap()).await
    };
    for version in ["2025-11-25", MODERN] {
        for (method, params, status) in [
            ("tools/list", json!({}), 200),
            ("tools/call", json!({"name": "whoami"}), 200),
            // A JSON-RPC error in a 200.
            ("tools/call", json!({"name": "nothing"}), 200),
            // HTTP's own errors.
            ("tools/call", json!({"name": "greet"}), 403),
        ] {
            let whole = send(version, "application/json", method, params.clone()).await;
            let stream = send(version, "text/event-stream", method, params.clone()).await;
            assert_eq!(
                (whole.status.as_u16(), stream.status.as_u16()),
                (status, status),
                "{version} {params}"
            );
            if status == 200 {
                let event = format!("event: message\ndata: {}\n\n", String::from_utf8_lossy(&whole.body));
                assert_eq!(stream.body, event, "{version} {method}");
                assert_eq!(stream.header("content-type"), "text/event-stream");
                assert_eq!(stream.header("cache-control"), "no-store");
            } else {
                assert_eq!((stream.header("content-type"), &stream.body), ("application/json", &whole.body));
            }
        }
        let refused = send(version, "text/html", "tools/list", json!({})).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["error"]), (406, &json!("not_acceptable")));
    }
    let notification = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
    let mut request = harness.post(USER).body(Full::from(notification)).unwrap();
    request.headers_mut().insert("accept", "text/event-stream".parse().unwrap());
    let answer = harness.send(request).await;
    assert_eq!((answer.status.as_u16(), answer.body.len(), answer.header("content-type")), (202, 0, ""));
    let mut broken = harness.post(USER).body(Full::from("{")).unwrap();
    broken.headers_mut().insert("accept", "text/event-stream".parse().unwrap());
    let answer = harness.send(broken).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (400, "application/json"));
}

#[tokio::test]
async fn a_compressed_body_is_refused_before_it_is_read() {
    let harness = Harness::new().await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    for (coding, status) in [("identity", 200), ("IDENTITY", 200), ("gzip", 415), ("identity, br", 415)] {
        let request = harness.post(ADMIN).header("content-encoding", coding);
        let answer = harness.send(request.body(Full::from(ping.clone())).unwrap()).await;
        let accepts = if status == 415 { "identity" } else { "" };
        assert_eq!((answer.status.as_u16(), answer.header("accept-encoding")), (status, accepts), "{coding}");
        if status == 415 {
            assert_eq!(answer.json()["error"], "unsupported_content_encoding");
        }
    }
    // Not a byte of the body is there, and the client waits for the go-ahead.
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ADMIN}\r\ncontent-type: application/json\r\n\
         content-encoding: gzip\r\nexpect: 100-continue\r\ncontent-length: 40\r\n\r\n"
    );
    let read = harness.raw(head.as_bytes()).await;
    assert!(read.starts_with("HTTP/1.1 415 ") && read.contains("connection: close"), "{read}");
    // Whoever may not call learns nothing of it.
    let anonymous = harness.request("POST", "/mcp").header("content-encoding", "gzip");
    assert_eq!(harness.send(anonymous.body(Full::default()).unwrap()).await.status, 401);
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
async fn every_response_has_an_id_which_is_of_its_own_unless_a_good_one_was_sent() {
    let harness = Harness::new().await;
    let mut ids = std::collections::HashSet::new();
    for path in ["/health", "/mcp", "/nowhere"] {
        let request = harness
            .request("GET", path)
            .header("x-request-id", "not one word")
            .body(Full::default())
            .unwrap();
        let answer = harness.send(request).await;
        let id = answer.header("x-request-id").to_owned();
        assert!(!id.is_empty() && id != "not one word");
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
