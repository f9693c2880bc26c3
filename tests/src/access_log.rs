//! What a client sends reaches the log only where the list in docs/deploy.md says so, and only so much of it.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::binary::Dev;

/// Stands in everything that must not be logged.
const MARK: &str = "s3cret";
/// Header fields that clients send, and that are nobody's business.
const FIELDS: &str = "x-api-key: s3cret-field\r\ncookie: session=s3cret-cookie\r\nreferer: http://localhost/s3cret-referer\r\nuser-agent: s3cret-agent\r\n";

/// Sends a request with these fields and a body, and returns the answer's status line.
fn send(dev: &Dev, request_line: &str, fields: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(dev.address()).unwrap();
    let length = body.len();
    let request = format!(
        "{request_line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{FIELDS}{fields}content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

fn call(method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": "s3cret-id", "method": method, "params": params}).to_string()
}

/// The log's line for the only request that `chosen` is true of.
#[track_caller]
fn line(lines: &[Value], chosen: impl Fn(&Value) -> bool) -> &Value {
    let mut found = lines.iter().filter(|line| line["message"] == "request" && chosen(line));
    let line = found.next().unwrap_or_else(|| panic!("no such line: {lines:#?}"));
    assert!(found.next().is_none(), "more than one line: {lines:#?}");
    line
}

#[test]
fn paths_and_methods_are_cut_and_queries_and_headers_are_not_logged() {
    let dev = Dev::start();
    let path = format!("/{}{MARK}-tail", "p".repeat(255));
    assert_eq!(send(&dev, &format!("GET {path}?q={MARK}"), "", ""), "HTTP/1.1 404 Not Found");
    let method = format!("{}{MARK}", "M".repeat(16));
    assert_eq!(send(&dev, &format!("{method} /mcp?{MARK}"), "", ""), "HTTP/1.1 405 Method Not Allowed");
    assert_eq!(send(&dev, &format!("GET /ping?{MARK}"), "", MARK), "HTTP/1.1 200 OK");
    let absolute = format!("GET http://localhost/health?{MARK}");
    assert_eq!(send(&dev, &absolute, "", ""), "HTTP/1.1 200 OK");
    let origin = format!("origin: https://{MARK}.example\r\n");
    assert_eq!(send(&dev, "POST /mcp", &origin, ""), "HTTP/1.1 403 Forbidden");

    let log = dev.stop();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let not_found = line(&lines, |line| line["status"] == 404);
    assert_eq!(not_found["path"], Value::from(format!("/{}", "p".repeat(255))), "256 characters");
    let refused = line(&lines, |line| line["status"] == 405);
    assert_eq!((&refused["method"], &refused["path"]), (&"M".repeat(16).into(), &"/mcp".into()));
    line(&lines, |line| line["path"] == "/ping");
    line(&lines, |line| line["path"] == "/health");
    line(&lines, |line| line["reason"] == "foreign_origin");
    assert!(!log.contains(MARK), "{log}");
}

#[test]
fn unknown_methods_tools_and_everything_in_a_body_are_not_logged() {
    let dev = Dev::start();
    let token = dev.token("admin");
    let post = |body: &str| {
        let fields = format!(
            "authorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\nmcp-protocol-version: 2025-11-25\r\n"
        );
        assert!(send(&dev, &format!("POST /mcp?{MARK}"), &fields, body).starts_with("HTTP/1.1 "));
    };
    post(&call("s3cret/method", &json!({})));
    post(&call("tools/call", &json!({"name": "s3cret-tool", "arguments": {}})));
    post(&call("tools/call", &json!({"name": "greet", "arguments": {"name": "s3cret-argument"}})));
    post(&call("tools/call", &json!({"name": "greet", "arguments": {"s3cret-member": 1}})));
    post(&call("prompts/get", &json!({"name": "s3cret-prompt"})));
    post(&call("resources/read", &json!({"uri": "file:///s3cret-resource"})));
    post(&call("logging/setLevel", &json!({"level": "s3cret-level"})));
    post("{\"jsonrpc\": \"s3cret\", nonsense");

    let log = dev.stop();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let requests: Vec<&Value> = lines.iter().filter(|line| line["message"] == "request").collect();
    let named: Vec<(&str, &str)> = requests
        .iter()
        .map(|line| (line["rpc"].as_str().unwrap_or("-"), line["tool"].as_str().unwrap_or("-")))
        .collect();
    assert_eq!(
        named,
        [
            ("-", "-"),
            ("tools/call", "-"),
            ("tools/call", "greet"),
            ("tools/call", "greet"),
            ("prompts/get", "-"),
            ("resources/read", "-"),
            ("logging/setLevel", "-"),
            ("-", "-"),
        ]
    );
    assert!(!log.contains(MARK), "{log}");
    let parts: Vec<&str> = token.split('.').collect();
    assert!(
        parts.len() == 3 && parts.iter().all(|part| !log.contains(part)),
        "a part of the token is in the log"
    );
    let allowed = [
        "timestamp",
        "level",
        "message",
        "id",
        "method",
        "path",
        "status",
        "ms",
        "sub",
        "client_id",
        "rpc",
        "tool",
        "reason",
    ];
    for field in requests.iter().flat_map(|line| line.as_object().unwrap().keys()) {
        assert!(allowed.contains(&field.as_str()), "{field} is not in the list of docs/deploy.md");
    }
}
