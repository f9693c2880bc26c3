//! The admin listener: what it shows, whom it refuses, its bounds, and its end.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::{NotReady, Rejection, Untrusted};
use fakes::{Behaviour, RecordingTool, ScriptedVerifier};
use fastmcp_auth0::Server;
use http_body_util::Full;
use hyper::Request;
use hyper_transport::Drained;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::binary::{Dev, command, run, shell, text};
use crate::harness::{ADMIN, AUDIENCE, Answer, Choices, Harness, ISSUER, USER, read_to_end, send, soon};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";
/// How long a connection of the listener lasts.
const LIFETIME: Duration = Duration::from_secs(10);
/// How many connections it has at a time.
const CONNECTIONS: usize = 16;

fn administered() -> Choices {
    Choices::new().set("admin.bind", "127.0.0.1:0")
}

fn call(name: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": {}}})
}

fn page(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

fn address(harness: &Harness) -> SocketAddr {
    harness.admin.unwrap()
}

async fn connect(harness: &Harness) -> TcpStream {
    TcpStream::connect(address(harness)).await.unwrap()
}

/// Asks the listener, with these header fields.
async fn ask(harness: &Harness, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Answer {
    let request = Request::builder().method(method).uri(path);
    let request = if fields.iter().any(|(name, _)| *name == "host") {
        request
    } else {
        request.header("host", address(harness).to_string())
    };
    let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    send(connect(harness).await, request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()).await
}

pub(crate) async fn metrics(harness: &Harness) -> String {
    let answer = ask(harness, "GET", "/metrics", &[], "").await;
    assert_eq!(answer.status, 200);
    text(&answer.body)
}

fn sample<'t>(metrics: &'t str, series: &str) -> Option<&'t str> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
}

#[tokio::test]
async fn it_is_off_unless_it_is_configured_and_nothing_is_counted_then() {
    let harness = Harness::new().await;
    assert_eq!(harness.admin, None);
    assert!(harness.ports.metrics.is_none());
    assert_eq!(harness.get("/metrics").await.status, 404, "nor at the public port");
}

#[tokio::test]
async fn requests_calls_refusals_and_places_are_shown() {
    let fails = Arc::new(RecordingTool::new("fails", &[], Behaviour::Fail));
    let slow = Arc::new(RecordingTool::new("slow", &[], Behaviour::Wait));
    let harness = administered().tool(fails).tool(Arc::clone(&slow) as _).start().await;
    harness.legacy(ADMIN, &call("whoami")).await;
    harness.legacy(ADMIN, &call("fails")).await;
    harness.legacy("unknown", &call("whoami")).await;
    harness
        .legacy(
            USER,
            &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "greet"}}),
        )
        .await;
    harness.get("/health").await;
    let _waits = begin(&harness, &call("slow")).await;
    soon(slow.started()).await;
    let shown = metrics(&harness).await;
    for (series, value) in [
        (r#"fastmcp_auth0_http_requests_total{status_class="2xx",reason="none"}"#, "1"),
        (r#"fastmcp_auth0_http_requests_total{status_class="2xx",reason="tool_failed"}"#, "1"),
        (r#"fastmcp_auth0_http_requests_total{status_class="4xx",reason="bad_signature"}"#, "1"),
        (r#"fastmcp_auth0_http_requests_total{status_class="4xx",reason="insufficient_scope"}"#, "1"),
        (r#"fastmcp_auth0_http_request_duration_seconds_count{status_class="4xx"}"#, "2"),
        ("fastmcp_auth0_http_probes_total", "1"),
        ("fastmcp_auth0_http_active_requests", "1"),
        (r#"fastmcp_auth0_tool_calls_total{tool="whoami",outcome="ok"}"#, "1"),
        (r#"fastmcp_auth0_tool_calls_total{tool="fails",outcome="tool_failed"}"#, "1"),
        (r#"fastmcp_auth0_tool_duration_seconds_count{tool="fails"}"#, "1"),
        (r#"fastmcp_auth0_places_in_use{kind="requests"}"#, "1"),
        (r#"fastmcp_auth0_places_limit{kind="requests"}"#, "1024"),
        (r#"fastmcp_auth0_places_in_use{kind="connections"}"#, "1"),
        (r#"fastmcp_auth0_places_limit{kind="questions"}"#, "256"),
        (r#"fastmcp_auth0_places_in_use{kind="streams"}"#, "0"),
        (r#"fastmcp_auth0_places_in_use{kind="receiving"}"#, "0"),
        ("fastmcp_auth0_memory_limit_bytes", "67108864"),
        ("fastmcp_auth0_ready", "1"),
        ("process_start_time_seconds", "1795395877.985"),
        (r#"fastmcp_auth0_build_info{version="0.1.0",commit="unknown"}"#, "1"),
    ] {
        assert_eq!(sample(&shown, series), Some(value), "{series} in\n{shown}");
    }
    // The scripted verifier has no keys that age.
    assert!(!shown.contains("fastmcp_auth0_keys_age_seconds"));
}

/// Sends a request whose answer is not awaited.
async fn begin(harness: &Harness, message: &Value) -> TcpStream {
    let body = message.to_string();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ADMIN}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = harness.connect().await;
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_scraper_gets_the_format_that_it_asks_for() {
    let harness = administered().start().await;
    harness.legacy(ADMIN, &call("whoami")).await;
    let plain = ask(&harness, "GET", "/metrics", &[], "").await;
    assert_eq!(plain.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let plain = text(&plain.body);
    assert!(plain.contains("# TYPE fastmcp_auth0_tool_calls_total counter\n"), "{plain}");
    assert!(!plain.contains("# EOF"));
    let open = ask(&harness, "GET", "/metrics", &[("accept", OPEN_METRICS)], "").await;
    assert_eq!(open.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let open = text(&open.body);
    assert!(
        open.contains("# TYPE fastmcp_auth0_tool_calls counter\n") && open.ends_with("\n# EOF\n"),
        "{open}"
    );
    let samples = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| Some(line.split_once([' ', '{'])?.0.to_owned())).collect()
    };
    assert_eq!(samples(&plain), samples(&open));
}

#[tokio::test]
async fn nothing_that_a_client_sends_is_in_the_metrics() {
    const CANARY: &str = "canary";
    let harness = administered().start().await;
    for token in ["canary-token", ADMIN] {
        harness.token("canary-good", |claims| {
            claims.subject = "canary-subject".into();
            claims.client_id = Some("canary-client".into());
        });
        for token in [token, "canary-good"] {
            let request =
                harness.post(token).header("x-canary", CANARY).header("origin", "https://canary.example");
            harness.send(request.body(Full::from(call(CANARY).to_string())).unwrap()).await;
            let arguments = json!({"name": CANARY});
            let greet = json!({"jsonrpc": "2.0", "id": CANARY, "method": "tools/call", "params": {"name": "greet", "arguments": arguments}});
            harness.legacy(token, &greet).await;
            harness.legacy(token, &json!({"jsonrpc": "2.0", "id": 1, "method": "canary/method"})).await;
            harness.legacy(token, &call("canary.tool")).await;
        }
        harness.get("/canary?canary=canary").await;
        harness.raw(b"GET /mcp HTTP/1.1\r\nhost: canary.example\r\nconnection: close\r\n\r\n").await;
        harness.raw(b"CANARY /mcp HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    }
    for accept in ["*/*", OPEN_METRICS] {
        let fields = [("accept", accept), ("x-canary", CANARY)];
        let shown = text(&ask(&harness, "GET", "/metrics?canary", &fields, "").await.body);
        assert!(shown.contains(r#"reason="no_token""#) && shown.contains(r#"tool="greet""#), "{shown}");
        assert!(!shown.to_lowercase().contains(CANARY) && !shown.contains("auth0|"), "{shown}");
    }
}

/// Each metric of the output with its type and help.
fn described(metrics: &str) -> BTreeSet<(String, String, String)> {
    let help = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("# HELP {name} ")));
        line.unwrap().trim_end_matches('.').to_owned()
    };
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned(), help(name))).collect()
}

#[tokio::test]
async fn the_page_has_every_metric_and_no_other() {
    let harness = administered().start().await;
    harness.legacy(ADMIN, &call("whoami")).await;
    let text = page("docs/observe.md");
    let age = "`fastmcp_auth0_keys_age_seconds` | gauge |";
    assert!(text.contains(age), "the scripted verifier has no keys, but {age} is one");
    let rows: BTreeSet<String> = text
        .lines()
        .filter(|line| line.starts_with("| `fastmcp_auth0_") || line.starts_with("| `process_"))
        .filter(|line| !line.contains(age))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            format!("{} {} {}", cells[0].trim_matches('`'), cells[1], cells[3])
        })
        .collect();
    let shown = described(&metrics(&harness).await);
    let shown: BTreeSet<String> =
        shown.into_iter().map(|(name, kind, help)| format!("{name} {kind} {help}")).collect();
    assert_eq!(rows, shown);
}

#[test]
fn the_alert_of_refused_logins_knows_every_reason_to_refuse_a_token() {
    let alerts = page("deploy/alerts.yml");
    let expected = [
        Rejection::TokenType,
        Rejection::Issuer,
        Rejection::Audience,
        Rejection::Expired,
        Rejection::NotYetValid,
        Rejection::NoSubject,
        Rejection::NoClient,
        Rejection::SenderConstrained,
        Rejection::Untrusted(Untrusted::TooLarge),
        Rejection::Untrusted(Untrusted::Malformed),
        Rejection::Untrusted(Untrusted::Opaque),
        Rejection::Untrusted(Untrusted::Algorithm),
        Rejection::Untrusted(Untrusted::CriticalHeader),
        Rejection::Untrusted(Untrusted::UnknownKey),
        Rejection::Untrusted(Untrusted::Signature),
        Rejection::Untrusted(Untrusted::MissingClaim("sub")),
        Rejection::Untrusted(Untrusted::InvalidClaim("sub")),
    ];
    // A token that has just run out is how every login ends.
    let expected: BTreeSet<&str> =
        expected.iter().map(|rejection| rejection.code()).filter(|code| *code != "expired").collect();
    let list = alerts.split("reason=~\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(list.split('|').collect::<BTreeSet<_>>(), expected);
}

#[tokio::test]
async fn the_probes_say_what_those_of_the_public_port_say() {
    let mut harness = administered().set("limits.drain_delay_seconds", 5).start().await;
    let both = async |harness: &Harness, path: &str| {
        let (public, admin) = (harness.get(path).await, ask(harness, "GET", path, &[], "").await);
        assert_eq!((public.status, &public.body), (admin.status, &admin.body), "{path}");
        (admin.status.as_u16(), text(&admin.body))
    };
    assert_eq!(both(&harness, "/health").await.0, 200);
    assert_eq!(both(&harness, "/ready").await, (200, r#"{"status":"ready"}"#.to_owned()));
    harness.verifier.set_ready(Err(NotReady("no keys yet".into())));
    let (status, said) = both(&harness, "/ready").await;
    assert!(status == 503 && said.contains("no keys yet"), "{status} {said}");
    assert_eq!(sample(&metrics(&harness).await, "fastmcp_auth0_ready"), Some("0"));
    assert_eq!(both(&harness, "/health").await.0, 200, "it lives");
    harness.verifier.set_ready(Ok(()));
    harness.begin_stop();
    harness.sleeping_until(Duration::from_secs(5)).await;
    let (status, said) = both(&harness, "/ready").await;
    assert!(status == 503 && said.contains("draining"), "{status} {said}");
}

#[tokio::test]
async fn it_goes_on_through_the_drain_and_ends_after_it() {
    let slow = Arc::new(RecordingTool::new("slow", &[], Behaviour::Wait));
    let mut harness = administered().tool(Arc::clone(&slow) as _).start().await;
    let call = begin(&harness, &call("slow")).await;
    soon(slow.started()).await;
    harness.begin_stop();
    while TcpStream::connect(harness.address).await.is_ok() {}
    assert_eq!(sample(&metrics(&harness).await, "fastmcp_auth0_http_active_requests"), Some("1"));
    slow.release();
    read_to_end(call).await;
    assert_eq!(harness.stopped().await, Drained::Complete);
    assert!(TcpStream::connect(address(&harness)).await.is_err());
}

#[tokio::test]
async fn a_connection_that_says_nothing_keeps_its_end_for_a_moment_only() {
    let mut harness = administered().start().await;
    let mut silent = connect(&harness).await;
    harness.sleeping_until(LIFETIME).await;
    harness.begin_stop();
    harness.sleeping_until(Duration::from_secs(1)).await;
    harness.clock.advance(Duration::from_secs(1));
    assert_eq!(harness.stopped().await, Drained::Complete);
    assert_eq!(soon(silent.read(&mut [0; 1])).await.unwrap(), 0);
}

#[tokio::test]
async fn browsers_are_refused_wherever_they_ask() {
    let harness = administered().start().await;
    for field in [
        ("origin", "http://127.0.0.1"),
        ("origin", "null"),
        ("sec-fetch-site", "none"),
        ("sec-fetch-mode", "cors"),
    ] {
        for path in ["/metrics", "/health", "/ready", "/log-level", "/nothing"] {
            for method in ["GET", "PUT", "POST", "OPTIONS"] {
                let answer = ask(&harness, method, path, &[field], "debug").await;
                assert_eq!(answer.status, 403, "{method} {path} {field:?}");
                assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control")));
            }
        }
    }
    // A scraper may name the server as it likes; who changes something may not, since a page may have a name like any other.
    for (host, read, changed) in
        [("evil.example", 200, 403), ("evil.example:9464", 200, 403), ("localhost", 200, 404)]
    {
        assert_eq!(ask(&harness, "GET", "/metrics", &[("host", host)], "").await.status, read);
        assert_eq!(ask(&harness, "PUT", "/log-level", &[("host", host)], "debug").await.status, changed);
    }
}

#[tokio::test]
async fn other_methods_and_paths_are_told_what_there_is() {
    let harness = administered().start().await;
    for (method, path, status, allow) in [
        ("POST", "/metrics", 405, "GET, HEAD"),
        ("DELETE", "/log-level", 405, "GET, HEAD, PUT"),
        ("PUT", "/ready", 405, "GET, HEAD"),
        ("GET", "/", 404, ""),
        ("GET", "/mcp", 404, ""),
        ("HEAD", "/metrics", 200, ""),
    ] {
        let answer = ask(&harness, method, path, &[], "").await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (status, allow), "{method} {path}");
        assert_eq!(answer.body.is_empty(), method == "HEAD");
    }
    // This process has no log of ours.
    assert_eq!(ask(&harness, "GET", "/log-level", &[], "").await.status, 404);
    let wrong = ask(&harness, "PUT", "/log-level", &[], "loud").await;
    assert_eq!(
        (wrong.status.as_u16(), text(&wrong.body).contains("error, warn, info, debug, trace")),
        (400, true)
    );
}

#[tokio::test]
async fn slow_clients_are_few_and_end() {
    let harness = administered().start().await;
    let mut slow = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = connect(&harness).await;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n").await.unwrap();
        slow.push(stream);
    }
    soon(harness.clock.sleeping(CONNECTIONS)).await;
    let mut next = connect(&harness).await;
    next.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    // It has no place: nobody reads it until another one's time is up, while the public port answers.
    harness.clock.advance(LIFETIME.saturating_sub(Duration::from_millis(1)));
    for _ in 0..10 {
        assert_eq!(harness.get("/health").await.status, 200);
    }
    let unread = next.try_read(&mut [0; 1]);
    assert!(unread.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "{unread:?}");
    harness.clock.advance(Duration::from_millis(1));
    for mut stream in slow {
        assert_eq!(soon(stream.read(&mut [0; 1])).await.unwrap_or(0), 0);
    }
    assert!(read_to_end(next).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_body_or_a_head_that_is_too_large_is_refused_and_a_connection_has_one_request() {
    let harness = administered().start().await;
    assert_eq!(ask(&harness, "PUT", "/log-level", &[], &"x".repeat(64)).await.status, 400);
    assert_eq!(ask(&harness, "PUT", "/log-level", &[], &"x".repeat(65)).await.status, 413);
    let raw = async |bytes: Vec<u8>| {
        let mut stream = connect(&harness).await;
        // What is not read any longer is reset, which may end the writing early.
        let _ = stream.write_all(&bytes).await;
        read_to_end(stream).await
    };
    let chunked = format!(
        "PUT /log-level HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n41\r\n{}\r\n",
        "x".repeat(65)
    );
    assert!(raw(chunked.into_bytes()).await.starts_with("HTTP/1.1 413 "));
    let head = format!("GET /health HTTP/1.1\r\nhost: a\r\nx: {}", "x".repeat(32 * 1024));
    let refused = raw(head.into_bytes()).await;
    assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 431 "), "{refused}");
    let twice =
        raw(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\nGET /health HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()).await;
    assert_eq!(twice.matches("HTTP/1.1 200 ").count(), 1, "{twice}");
}

/// The address in the line that the listener logs.
fn logged_address(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> String {
    let line =
        lines.find_map(|line| line.ok().filter(|line| line.contains("the admin listener is listening")));
    serde_json::from_str::<Value>(&line.unwrap()).unwrap()["address"].as_str().unwrap().to_owned()
}

#[test]
fn the_log_level_changes_at_once_and_the_log_says_so_and_a_hangup_leaves_it() {
    let environment = [
        ("AUTH0_ISSUER", "http://127.0.0.1:1/"),
        ("AUTH0_AUDIENCE", "http://localhost/mcp"),
        ("PORT", "0"),
        ("FASTMCP__ADMIN__BIND", "127.0.0.1:0"),
    ];
    let mut serve = command(&["serve"], &environment).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(serve.stderr.take().unwrap()).lines();
    let listening = lines.find_map(|line| line.ok().filter(|line| line.contains("\"listening\""))).unwrap();
    let public = serde_json::from_str::<Value>(&listening).unwrap()["address"].as_str().unwrap().to_owned();
    let admin = logged_address(&mut lines);
    let level =
        |arguments: &str| text(&shell(&format!("curl -s {arguments} http://{admin}/log-level")).stdout);
    let probe = || assert!(shell(&format!("curl -s http://{public}/health")).status.success());
    assert_eq!(level(""), "info\n");
    // A probe's line is written at debug level, and every other request's at info.
    probe();
    assert_eq!(level("-X PUT -d debug"), "debug\n");
    probe();
    assert_eq!(level("-X PUT -d ' error '"), "error\n");
    let sent = Command::new("kill").args(["-HUP", &serve.id().to_string()]).status().unwrap();
    assert!(sent.success());
    shell(&format!("curl -s http://{public}/nothing"));
    assert_eq!(level("-X PUT -d info"), "info\n");
    assert_eq!(level(""), "info\n");
    shell(&format!("curl -s http://{public}/last"));
    let mut seen = Vec::new();
    for line in lines.by_ref().map_while(Result::ok) {
        let line: Value = serde_json::from_str(&line).unwrap();
        match (line["to"].as_str(), line["path"].as_str()) {
            (Some(to), _) => seen.push(format!(
                "{} {} {to}",
                line["level"].as_str().unwrap(),
                line["from"].as_str().unwrap()
            )),
            (_, Some(path)) => seen.push(path.to_owned()),
            _ => {}
        }
        if line["path"] == "/last" {
            break;
        }
    }
    assert_eq!(seen, ["WARN INFO DEBUG", "/health", "WARN DEBUG ERROR", "WARN ERROR INFO", "/last"]);
    assert!(Command::new("kill").args(["-TERM", &serve.id().to_string()]).status().unwrap().success());
    assert_eq!(serve.wait().unwrap().code(), Some(0), "it ends in order");
}

#[test]
fn a_taken_port_stops_the_start_and_says_which() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = taken.local_addr().unwrap().to_string();
    let serve = [("AUTH0_ISSUER", "http://127.0.0.1:1/"), ("AUTH0_AUDIENCE", "urn:api"), ("PORT", "0")];
    for (arguments, environment) in
        [(&["dev", "--port", "0", "--tenant-port", "0"][..], &[][..]), (&["serve"], &serve)]
    {
        let environment = [environment, &[("FASTMCP__ADMIN__BIND", &*bind)]].concat();
        let output = run(arguments, &environment);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(
            said.contains(&format!("can't listen on {bind} for the admin listener: set another admin.bind")),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_program_of_ones_own_has_the_listener_too_and_ends_it_with_the_server() {
    let build = async |bind: &str| {
        let builder = Server::builder().verifier(Arc::new(ScriptedVerifier::new()));
        let sources =
            builder.sources().set("test", "auth0.issuer", ISSUER).set("test", "auth0.audience", AUDIENCE);
        builder.build(sources.set("test", "admin.bind", bind)).await.unwrap()
    };
    let listen = || TcpListener::bind("127.0.0.1:0");
    let taken = listen().await.unwrap();
    let bind = taken.local_addr().unwrap().to_string();
    let refused =
        build(&bind).await.serve(listen().await.unwrap(), std::future::pending()).await.unwrap_err();
    assert!(
        format!("{refused:#}").contains(&format!("can't listen on {bind} for the admin listener")),
        "{refused:#}"
    );

    drop(taken);
    let server = build(&bind).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(listen().await.unwrap(), async { drop(stopped.await) }));
    let mut asked = loop {
        // It listens a moment after it was told to serve.
        if let Ok(stream) = TcpStream::connect(&bind).await {
            break stream;
        }
        tokio::task::yield_now().await;
    };
    asked.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(read_to_end(asked).await.starts_with("HTTP/1.1 200 "));
    drop(stop);
    assert_eq!(soon(serving).await.unwrap().unwrap(), Drained::Complete);
    assert!(TcpStream::connect(&bind).await.is_err());
}

#[test]
fn dev_has_the_listener_only_where_it_is_configured_and_on_loopback_alone() {
    let log = Dev::start().stop();
    assert!(!log.contains("admin listener"), "{log}");
    let mut dev = Dev::start_in(&[], &[("FASTMCP__ADMIN__BIND", "127.0.0.1:0")]);
    let address = logged_address(&mut BufReader::new(dev.take_log()).lines());
    // The keys come a moment after the listener.
    let shown = loop {
        let shown = text(&shell(&format!("curl -s http://{address}/metrics")).stdout);
        match sample(&shown, r#"fastmcp_auth0_key_fetches_total{result="success"}"#) {
            Some("0") => {}
            fetches => {
                assert_eq!(fetches, Some("1"), "{shown}");
                break shown;
            }
        }
    };
    assert!(sample(&shown, "fastmcp_auth0_keys_age_seconds").is_some(), "{shown}");
    let upstream = ["--", env!("CARGO_BIN_EXE_upstream-server")];
    let mut dev = Dev::start_in(&upstream, &[("FASTMCP__ADMIN__BIND", "127.0.0.1:0")]);
    let address = logged_address(&mut BufReader::new(dev.take_log()).lines());
    let shown = text(&shell(&format!("curl -s http://{address}/metrics")).stdout);
    let upstream = shown.lines().find(|line| line.starts_with("fastmcp_auth0_upstream_connected{")).unwrap();
    assert!(upstream.ends_with(" 1"), "{upstream}");
    let refused =
        run(&["dev", "--port", "0", "--tenant-port", "0"], &[("FASTMCP__ADMIN__BIND", "0.0.0.0:0")]);
    assert_eq!(refused.status.code(), Some(64));
    assert!(text(&refused.stderr).contains("loopback only"));
}

#[test]
fn an_address_that_is_none_is_refused_and_one_that_others_reach_warned_of() {
    let tenant = [("AUTH0_DOMAIN", "tenant.eu.auth0.com"), ("AUTH0_AUDIENCE", "http://localhost:3001/mcp")];
    let check = |bind: &str| run(&["check"], &[&tenant[..], &[("FASTMCP__ADMIN__BIND", bind)]].concat());
    for (bind, said) in [
        ("9464", "must be an IP address with a port"),
        ("localhost:9464", "must be an IP address with a port"),
        ("127.0.0.1", "must be an IP address with a port"),
        ("127.0.0.1:3001", "is where the server itself listens"),
    ] {
        let output = check(bind);
        let text = text(&output.stderr);
        assert!(
            output.status.code() == Some(64) && text.contains("admin.bind") && text.contains(said),
            "{bind}: {text}"
        );
    }
    for (bind, warned) in
        [("127.0.0.1:9464", false), ("[::1]:9464", false), ("0.0.0.0:9464", true), ("[::]:9464", true)]
    {
        let output = check(bind);
        assert_eq!(output.status.code(), Some(0), "{bind}");
        assert_eq!(
            text(&output.stderr).contains("without a token"),
            warned,
            "{bind}: {}",
            text(&output.stderr)
        );
    }
}
