//! Under which addresses the server is reached: several public endpoints, paths, and what `dev` serves.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::json;
use tokio::net::TcpStream;

use crate::binary::Dev;
use crate::harness::{ADMIN, AUDIENCE, Answer, Choices, Harness, good_claims};

const INTERNAL: &str = "http://mcp.internal:3001/mcp";

async fn two_endpoints() -> Harness {
    let harness = Choices::new()
        .set("endpoints.internal.url", "http://mcp.internal:3001")
        .set("endpoints.internal.audience", INTERNAL)
        .set("endpoints.team.url", "https://mcp.example.com/team")
        .start()
        .await;
    harness.verifier.script(
        "internal",
        Ok(domain::Claims { audience: vec![INTERNAL.into()], ..good_claims("tool:whoami") }),
    );
    let both = vec![AUDIENCE.into(), INTERNAL.into()];
    harness.verifier.script("both", Ok(domain::Claims { audience: both, ..good_claims("tool:whoami") }));
    harness
}

async fn get(harness: &Harness, host: &str, path: &str) -> Answer {
    harness.send(Request::get(path).header("host", host).body(Full::default()).unwrap()).await
}

async fn post(harness: &Harness, host: &str, path: &str, token: Option<&str>) -> Answer {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    let request = Request::post(path).header("host", host).header("content-type", "application/json");
    let request = token
        .into_iter()
        .fold(request, |request, token| request.header("authorization", format!("Bearer {token}")));
    harness.send(request.body(Full::from(Bytes::from(body))).unwrap()).await
}

fn metadata_of(challenge: &str) -> &str {
    challenge.split("resource_metadata=\"").nth(1).unwrap().split('"').next().unwrap()
}

#[tokio::test]
async fn the_answer_is_that_of_the_endpoint_that_was_asked() {
    let harness = two_endpoints().await;
    let known = "/.well-known/oauth-protected-resource";
    for (host, prefix, resource, metadata) in [
        ("mcp.example.com", "", AUDIENCE, "https://mcp.example.com/.well-known/oauth-protected-resource/mcp"),
        (
            "mcp.internal:3001",
            "",
            INTERNAL,
            "http://mcp.internal:3001/.well-known/oauth-protected-resource/mcp",
        ),
        (
            "mcp.example.com",
            "/team",
            AUDIENCE,
            "https://mcp.example.com/.well-known/oauth-protected-resource/team/mcp",
        ),
        // Who names no endpoint gets the server's own.
        ("127.0.0.1:3001", "", AUDIENCE, "https://mcp.example.com/.well-known/oauth-protected-resource/mcp"),
    ] {
        let answer = post(&harness, host, &format!("{prefix}/mcp"), None).await;
        assert_eq!(
            (answer.status.as_u16(), metadata_of(answer.header("www-authenticate"))),
            (401, metadata),
            "{host}"
        );
        for path in
            [format!("{known}{prefix}/mcp"), format!("{prefix}{known}"), format!("{known}{prefix}/mcp/")]
        {
            let document = get(&harness, host, &path).await;
            assert_eq!(document.json()["resource"], resource, "{host}{path}");
        }
    }
    let foreign = get(&harness, "mcp.internal.evil.com:3001", known).await;
    assert_eq!((foreign.status.as_u16(), &foreign.json()["error"]), (403, &"foreign_host".into()));
}

/// A `Host` only selects: no document and no challenge holds a text of the request's.
#[tokio::test]
async fn nothing_is_built_from_a_request_s_host() {
    let harness = two_endpoints().await;
    for host in ["MCP.Internal:3001", "mcp.internal:9999", "LOCALHOST:9999"] {
        let answer = post(&harness, host, "/mcp", None).await;
        let challenge = answer.header("www-authenticate");
        assert!(
            !challenge.contains("9999") && !challenge.contains("MCP.") && !challenge.contains("LOCAL"),
            "{challenge}"
        );
    }
}

#[tokio::test]
async fn a_token_is_good_for_the_endpoints_that_its_audience_names() {
    let harness = two_endpoints().await;
    for (token, host, status) in [
        (ADMIN, "mcp.example.com", 200),
        (ADMIN, "mcp.internal:3001", 401),
        ("internal", "mcp.internal:3001", 200),
        ("internal", "mcp.example.com", 401),
        // The host of neither: the server's own endpoint.
        ("internal", "127.0.0.1:3001", 401),
        ("both", "mcp.example.com", 200),
        ("both", "mcp.internal:3001", 200),
    ] {
        let answer = post(&harness, host, "/mcp", Some(token)).await;
        assert_eq!(answer.status.as_u16(), status, "{token} at {host}");
        if status == 401 {
            assert!(answer.header("www-authenticate").contains("wrong_audience"));
        }
    }
}

/// Behind a proxy that replaces the host, no path leads to an endpoint of another host, nor to its audience.
#[tokio::test]
async fn a_path_alone_chooses_no_endpoint_of_another_host() {
    let harness = Choices::new()
        .set("endpoints.else.url", "https://else.example.com/else")
        .set("endpoints.else.audience", INTERNAL)
        .set("endpoints.shadow.url", "https://shadow.example.com/mcp")
        .start()
        .await;
    harness.token("internal", |claims| claims.audience = vec![INTERNAL.into()]);
    assert_eq!(post(&harness, "else.example.com", "/else/mcp", Some("internal")).await.status.as_u16(), 200);
    assert_eq!(post(&harness, "127.0.0.1:3001", "/else/mcp", Some("internal")).await.status.as_u16(), 404);
    assert_eq!(post(&harness, "127.0.0.1:3001", "/mcp", Some("internal")).await.status.as_u16(), 401);
    assert_eq!(post(&harness, "127.0.0.1:3001", "/mcp", Some(ADMIN)).await.status.as_u16(), 200);
}

#[tokio::test]
async fn additional_audiences_are_good_everywhere() {
    let harness = Choices::new()
        .set("endpoints.internal.url", "http://mcp.internal:3001")
        .set("endpoints.internal.audience", INTERNAL)
        .set("auth0.additional_audiences", vec!["urn:old"])
        .start()
        .await;
    harness.token("old", |claims| claims.audience = vec!["urn:old".into()]);
    for host in ["mcp.example.com", "mcp.internal:3001"] {
        assert_eq!(post(&harness, host, "/mcp", Some("old")).await.status.as_u16(), 200, "{host}");
    }
}

#[tokio::test]
async fn a_path_works_whether_or_not_the_proxy_keeps_it() {
    let harness = Choices::new()
        .set("server.url", "https://example.com/team")
        .set("server.path", "/v1/tools")
        .start()
        .await;
    for path in ["/team/v1/tools", "/team/v1/tools/", "/v1/tools", "/v1/tools/"] {
        assert_eq!(post(&harness, "example.com", path, Some(ADMIN)).await.status.as_u16(), 200, "{path}");
    }
    let answer = post(&harness, "example.com", "/team/v1/tools", None).await;
    let metadata = metadata_of(answer.header("www-authenticate"));
    assert_eq!(metadata, "https://example.com/.well-known/oauth-protected-resource/team/v1/tools");
    for path in [
        "/.well-known/oauth-protected-resource/team/v1/tools",
        "/.well-known/oauth-protected-resource",
        "/team/.well-known/oauth-protected-resource",
    ] {
        assert_eq!(get(&harness, "example.com", path).await.status.as_u16(), 200, "{path}");
    }
    let elsewhere = post(&harness, "example.com", "/mcp", Some(ADMIN)).await;
    assert_eq!(elsewhere.status.as_u16(), 404);
    assert_eq!(
        elsewhere.json()["error_description"],
        "there is nothing at this path; the MCP endpoint is /team/v1/tools"
    );
}

#[tokio::test]
async fn a_slash_at_the_end_is_ignored() {
    let harness = Harness::new().await;
    assert_eq!(post(&harness, "mcp.example.com", "/mcp/", Some(ADMIN)).await.status.as_u16(), 200);
    assert_eq!(post(&harness, "mcp.example.com", "/mcp//", Some(ADMIN)).await.status.as_u16(), 404);
    let document = get(&harness, "mcp.example.com", "/.well-known/oauth-protected-resource/mcp/").await;
    assert_eq!(document.json()["resource"], AUDIENCE);
}

/// What a client does with the one address that it is given.
#[tokio::test]
async fn dev_is_reached_by_every_name_of_this_machine() {
    let dev = Dev::start();
    let port = dev.address().rsplit(':').next().unwrap().to_owned();
    for (host, address) in [("localhost", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("[::1]", "[::1]")] {
        let authority = format!("{host}:{port}");
        let endpoint = format!("http://{authority}/mcp");
        let send = async |request: hyper::http::request::Builder, body: String| {
            let stream = TcpStream::connect(format!("{address}:{port}")).await.unwrap();
            let request = request.header("host", &authority).header("content-type", "application/json");
            crate::harness::send(stream, request.body(Full::from(body)).unwrap()).await
        };
        let refused = send(Request::post("/mcp"), String::new()).await;
        assert_eq!(refused.status.as_u16(), 401, "{endpoint}");
        let metadata = metadata_of(refused.header("www-authenticate")).to_owned();
        let path = metadata.strip_prefix(&format!("http://{authority}")).unwrap();
        let document = send(Request::get(path), String::new()).await.json();
        assert_eq!(document["resource"], endpoint);
        let token = dev.token_for("admin", &endpoint);
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami"}});
        let request = Request::post("/mcp").header("authorization", format!("Bearer {token}"));
        assert_eq!(send(request, body.to_string()).await.status.as_u16(), 200, "{endpoint}");
    }
}

/// A container reaches its host by a name of its own: configured, it works as the loopback ones do.
#[tokio::test]
async fn dev_is_reached_by_a_configured_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dev.toml");
    std::fs::write(&file, "[endpoints.docker]\nurl = \"http://host.docker.internal:3001\"\n").unwrap();
    let dev = Dev::start_with(&["--config", file.to_str().unwrap()]);
    let endpoint = "http://host.docker.internal:3001/mcp";
    let token = dev.token_for("admin", endpoint);
    let stream = TcpStream::connect(dev.address()).await.unwrap();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami"}});
    let request = Request::post("/mcp")
        .header("host", "host.docker.internal:3001")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {token}"));
    let answer = crate::harness::send(stream, request.body(Full::from(body.to_string())).unwrap()).await;
    assert_eq!(answer.status.as_u16(), 200);
}
