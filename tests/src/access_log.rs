//! What a client sends reaches the log only where the list in docs/deploy.md says so, and only so much of it.

use std::io::{BufRead as _, Read, Write};
use std::net::TcpStream;

use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::binary::{Dev, command, text};

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
    assert_eq!(send(&dev, &format!("{method} /ping?{MARK}"), "", ""), "HTTP/1.1 405 Method Not Allowed");
    assert_eq!(send(&dev, &format!("GET /ping?{MARK}"), "", MARK), "HTTP/1.1 200 OK");
    let absolute = format!("GET http://localhost/health?{MARK}");
    assert_eq!(send(&dev, &absolute, "", ""), "HTTP/1.1 200 OK");
    // Of two headers, and of no credentials, anything is logged but what could be a secret.
    let twice = format!("authorization: Bearer {MARK}\r\nauthorization: Basic {MARK}\r\n");
    assert_eq!(send(&dev, "POST /mcp", &twice, ""), "HTTP/1.1 400 Bad Request");
    assert_eq!(
        send(&dev, "POST /mcp", &format!("authorization: Basic {MARK}\r\n"), ""),
        "HTTP/1.1 401 Unauthorized"
    );

    let log = dev.stop();
    let lines = read(&log);
    let not_found = line(&lines, |line| line["status"] == 404);
    assert_eq!(not_found["path"], Value::from(format!("/{}", "p".repeat(255))), "256 characters");
    let refused = line(&lines, |line| line["status"] == 405);
    assert_eq!((&refused["method"], &refused["path"]), (&"M".repeat(16).into(), &"/ping".into()));
    line(&lines, |line| line["path"] == "/ping" && line["status"] == 200);
    line(&lines, |line| line["path"] == "/health");
    line(&lines, |line| line["reason"] == "bad_authorization");
    line(&lines, |line| line["reason"] == "no_token");
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
    let lines = read(&log);
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
    no_part_of_a_token(&log, &token);
    only_documented_fields(&lines);
}

/// Every line is one JSON object, whatever clients sent.
fn read(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

#[track_caller]
fn no_part_of_a_token(log: &str, token: &str) {
    let parts: Vec<&str> = token.split('.').collect();
    assert!(
        parts.len() == 3 && parts.iter().all(|part| !log.contains(part)),
        "a part of the token is in the log"
    );
}

#[track_caller]
fn only_documented_fields(lines: &[Value]) {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/deploy.md")).unwrap();
    let allowed = [
        "timestamp",
        "level",
        "message",
        "id",
        "peer",
        "method",
        "path",
        "status",
        "ms",
        "sub",
        "client_id",
        "rpc",
        "tool",
        "reason",
        "host",
        "origin",
        "held_scopes",
        "missing_scopes",
        "unverified_iss",
        "unverified_aud",
        "unverified_kid",
    ];
    let requests = lines.iter().filter(|line| line["message"] == "request");
    for field in requests.flat_map(|line| line.as_object().unwrap().keys()) {
        assert!(allowed.contains(&field.as_str()), "{field} is new: is it nobody's secret?");
    }
    for field in &allowed[3..] {
        assert!(page.contains(&format!("`{field}`")), "{field} is not in the list of docs/deploy.md");
    }
}

/// A token that nobody signed, with marks in everything that must not be logged.
fn unsigned(kid: &str, iss: &str, aud: &Value) -> String {
    let header = json!({"alg": "RS256", "typ": "at+jwt", "kid": kid, "x5t": "s3cret-thumbprint"});
    let claims = json!({
        "iss": iss, "aud": aud, "sub": "s3cret-sub", "client_id": "s3cret-client", "email": "s3cret@example.com",
        "scope": "s3cret-scope", "jti": "s3cret-jti", "exp": 4_000_000_000_u64, "https://a/s3cret": "s3cret-custom",
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(&header), part(&claims), URL_SAFE_NO_PAD.encode("s3cret-signature"))
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

#[test]
fn the_line_of_a_refusal_says_what_it_is_about() {
    let dev = Dev::start();
    let good = dev.token("user");
    let issuer = format!("http://127.0.0.1:{}/", dev.tenant_port());
    let json = "content-type: application/json\r\nmcp-protocol-version: 2025-11-25\r\n";
    let greet = call("tools/call", &json!({"name": "greet", "arguments": {}}));
    assert!(send(&dev, "POST /mcp", &(bearer(&good) + json), &greet).contains(" 403 "));

    let tampered = format!("{}AAAA", &good[..good.len() - 4]);
    let foreign = unsigned("other-key", "https://other.example/", &json!(["https://api.example", "urn:b"]));
    for token in [&tampered, &foreign] {
        assert!(send(&dev, "GET /mcp", &bearer(token), "").contains(" 401 "));
    }
    assert!(send(&dev, "POST /mcp", "origin: https://evil.example:8443\r\n", "").contains(" 403 "));
    assert!(send(&dev, "GET http://evil.example:80/mcp", "", "").contains(" 400 "));

    let log = dev.stop();
    let lines = read(&log);
    let denied = line(&lines, |line| line["status"] == 403 && line["rpc"] == "tools/call");
    assert_eq!(denied["missing_scopes"], json!(["tool:greet"]));
    assert_eq!(denied["held_scopes"][0], "tool:whoami");
    assert_eq!((&denied["reason"], &denied["tool"]), (&json!("insufficient_scope"), &json!("greet")));
    let peer = denied["peer"].as_str().unwrap();
    assert_eq!(peer.parse::<std::net::SocketAddr>().unwrap().ip().to_string(), "127.0.0.1");

    let refused = line(&lines, |line| line["reason"] == "bad_signature");
    assert_eq!(refused["unverified_iss"].as_str(), Some(&*issuer));
    assert!(refused["unverified_aud"][0].as_str().unwrap().ends_with("/mcp"), "{refused}");
    assert!(refused["unverified_kid"].is_string() && refused["sub"].is_null(), "{refused}");
    let refused = line(&lines, |line| line["reason"] == "unknown_key");
    assert_eq!(refused["unverified_iss"], "https://other.example/");
    assert_eq!(refused["unverified_aud"], json!(["https://api.example", "urn:b"]));
    assert_eq!(refused["unverified_kid"], "other-key");
    assert_eq!(
        line(&lines, |line| line["reason"] == "foreign_origin")["origin"],
        "https://evil.example:8443"
    );
    assert_eq!(line(&lines, |line| line["reason"] == "bad_host")["host"], "localhost, evil.example:80");
    let keys = lines.iter().find(|line| line["message"] == "the issuer's keys changed").unwrap();
    assert_eq!(keys["count"], keys["kids"].as_array().unwrap().len());

    assert!(!log.contains(MARK), "{log}");
    no_part_of_a_token(&log, &good);
    no_part_of_a_token(&log, &foreign);
    only_documented_fields(&lines);
}

/// In both forms: for programs, and for people.
#[test]
fn what_a_refused_client_sent_forges_no_line_and_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let human = folder.path().join("human.toml");
    std::fs::write(&human, "[log]\nformat = \"human\"\n").unwrap();
    let forged = "x\"}\r\n{\"level\":\"ERROR\",\"message\":\"forged\"}\u{1b}[31m\u{202e}\u{2028}\0";
    let endless = "y".repeat(3000);
    let tokens = [
        unsigned(forged, forged, &json!([forged, forged])),
        unsigned(&endless, &endless, &json!(vec!["z".repeat(80); 60])),
        unsigned("k", "i", &json!({"deep": ["s3cret"]})),
    ];
    let origins = ["https://user:s3cret@evil.example".to_owned(), format!("https://{}", "o".repeat(5000))];
    for arguments in [vec![], vec!["--config", human.to_str().unwrap()]] {
        let dev = Dev::start_with(&arguments);
        for token in &tokens {
            assert!(send(&dev, "POST /mcp", &bearer(token), "").contains(" 401 "));
        }
        for origin in &origins {
            assert!(send(&dev, "POST /mcp", &format!("origin: {origin}\r\n"), "").contains(" 403 "));
        }
        let log = dev.stop();
        let requests: Vec<&str> = log.lines().filter(|line| line.contains("request")).collect();
        let refused: Vec<&&str> = requests.iter().filter(|line| line.contains("/mcp")).collect();
        assert_eq!(refused.len(), tokens.len() + origins.len(), "{log}");
        assert!(
            log.lines().all(|line| !line.starts_with('{') || !line.contains("\"level\":\"ERROR\"")),
            "{log}"
        );
        for bad in ['\u{1b}', '\r', '\0', '\u{202e}', '\u{2028}'] {
            assert!(!log.contains(bad), "{bad:?}: {log}");
        }
        assert!(!log.contains(MARK), "{log}");
        assert!(refused.iter().all(|line| line.len() < 2500), "{log}");
        assert!(log.contains("forged"), "it is shown, harmless: {log}");
        for token in &tokens {
            no_part_of_a_token(&log, token);
        }
        if arguments.is_empty() {
            let lines = read(&log);
            let cut =
                line(&lines, |line| line["unverified_kid"].as_str().is_some_and(|kid| kid.starts_with('y')));
            assert_eq!(cut["unverified_kid"], format!("{}...", "y".repeat(128)));
            assert_eq!(cut["unverified_aud"][0], format!("{}...", "z".repeat(64)));
            assert_eq!(cut["unverified_aud"].as_array().unwrap().len(), 8);
            line(&lines, |line| line["origin"] == "evil.example");
            only_documented_fields(&lines);
        }
    }
}

/// They come every few seconds, from every replica.
#[test]
fn probes_are_quiet_unless_something_changes() {
    let environment = [
        ("AUTH0_ISSUER", "http://127.0.0.1:1/"),
        ("AUTH0_AUDIENCE", "urn:a"),
        ("PORT", "0"),
        ("RUST_BACKTRACE", "0"),
    ];
    let mut serve = command(&["serve"], &environment).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = std::io::BufReader::new(serve.stderr.take().unwrap()).lines().map_while(Result::ok);
    let listening = log.find(|line| line.contains("listening")).unwrap();
    let listening: Value = serde_json::from_str(&listening).unwrap();
    let probe = |request: &str| {
        let mut stream = TcpStream::connect(listening["address"].as_str().unwrap()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        text(&answer).split(' ').nth(1).unwrap().to_owned()
    };
    for _ in 0..3 {
        for (path, expected) in [("/health", "200"), ("/ping", "200"), ("/ready", "503")] {
            let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
            assert_eq!(probe(&request), expected, "{path}");
        }
    }
    assert_eq!(probe("GET /health HTTP/1.1\r\nconnection: close\r\n\r\n"), "400");
    assert!(
        std::process::Command::new("kill")
            .args(["-TERM", &serve.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    let lines = read(&log.collect::<Vec<_>>().join("\n"));
    serve.wait().unwrap();
    let requests: Vec<&Value> = lines.iter().filter(|line| line["message"] == "request").collect();
    assert_eq!(requests.len(), 1, "{lines:?}");
    assert_eq!((&requests[0]["status"], &requests[0]["reason"]), (&400.into(), &"bad_host".into()));
    let changes: Vec<&Value> = lines.iter().filter(|line| line["message"] == "not ready").collect();
    assert_eq!(changes.len(), 1, "{lines:?}");
    assert!(changes[0]["reason"].as_str().unwrap().starts_with("no keys yet"), "{changes:?}");
    // It was found by a request, which it names.
    assert!(changes[0]["span"]["id"].is_string(), "{changes:?}");
}
