//! Request lines and headers that no honest client sends: targets, hosts, methods, floods of fields.

use super::{PING, answers, post, status, still_serves};
use crate::harness::{ADMIN, Choices, Harness, USER};

/// The answer to this head, which must end the connection or ask for its end.
async fn answer(harness: &Harness, head: &str) -> String {
    let read = harness.raw(head.as_bytes()).await;
    assert!(answers(&read) <= 1, "{}: {read}", &head[..head.len().min(400)]);
    read
}

#[tokio::test]
async fn a_target_is_a_path_or_names_this_server() {
    let harness = Harness::new().await;
    for (target, expected) in [
        ("/mcp", "200"),
        ("/mcp?x", "200"),
        ("/mcp?", "200"),
        ("/mcp?x=/../health", "200"),
        ("http://localhost/mcp", "200"),
        ("HTTP://LOCALHOST/mcp", "200"),
        ("http://localhost/mcp?x", "200"),
        ("http://evil.example/mcp", "400"),
        ("http://localhost:80/mcp", "400"),
        ("http://user@localhost/mcp", "400"),
        ("http://user:password@localhost/mcp", "400"),
        ("//localhost/mcp", "404"),
        ("//mcp", "404"),
        ("///mcp", "404"),
        ("/mcp/", "200"),
        ("/mcp//", "404"),
        ("/./mcp", "404"),
        ("/x/../mcp", "404"),
        ("/%6dcp", "404"),
        ("/%6Dcp", "404"),
        ("/mcp%00", "404"),
        ("/mcp%2f", "404"),
        ("/mcp;x=y", "404"),
        ("/MCP", "404"),
        ("http://localhost", "404"),
        ("*", "404"),
        ("localhost", "404"),
        ("localhost:3001", "400"),
        ("http:/mcp", "400"),
        ("http://", "400"),
        ("mcp", "400"),
        ("\\mcp", "400"),
        // A fragment never goes over the wire; who cuts it off sees the path alone.
        ("/mcp#fragment", "200"),
        ("/#/mcp", "404"),
        ("/mcp\t", "400"),
        ("/mcp x", "400"),
        ("", "400"),
    ] {
        let head = post(&format!("connection: close\r\ncontent-length: {}\r\n", PING.len()));
        let read = answer(&harness, &(head.replacen("/mcp", target, 1) + PING)).await;
        assert_eq!(status(&read), expected, "{target:?}: {read}");
    }
    still_serves(&harness).await;
}

#[tokio::test]
async fn an_absolute_target_and_the_host_agree() {
    let harness = Harness::new().await;
    for (target, host, expected) in [
        ("http://localhost/mcp", "localhost", "401"),
        ("http://evil.example/mcp", "evil.example", "403"),
        ("http://evil.example/mcp", "localhost", "400"),
        ("http://localhost/mcp", "evil.example", "400"),
        ("http://localhost/mcp", "", "400"),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        assert_eq!(status(&answer(&harness, &head).await), expected, "{target} {host}");
    }
}

#[tokio::test]
async fn a_request_names_one_good_host() {
    let harness = Harness::new().await;
    // Lines, then what the endpoint answers, and what a probe does, which is asked by any name.
    for (lines, endpoint, probe) in [
        ("host: localhost\r\n", "401", "200"),
        ("host: LOCALHOST:3001\r\n", "401", "200"),
        ("host: [::1]\r\n", "401", "200"),
        ("host: [::1]:3001\r\n", "401", "200"),
        ("host: [0:0:0:0:0:0:0:1]\r\n", "401", "200"),
        ("host: evil.example\r\n", "403", "200"),
        ("host: localhost.\r\n", "403", "200"),
        ("host: localhost.evil.example\r\n", "403", "200"),
        ("host: 127.0.0.1.evil.example\r\n", "403", "200"),
        ("host: 127.1\r\n", "403", "200"),
        ("host: 2130706433\r\n", "403", "200"),
        ("host: [::ffff:127.0.0.1]\r\n", "403", "200"),
        ("host: 0.0.0.0\r\n", "403", "200"),
        ("", "400", "400"),
        ("host:\r\n", "400", "400"),
        ("host: localhost\r\nhost: localhost\r\n", "400", "400"),
        ("host: localhost\r\nHOST: evil.example\r\n", "400", "400"),
        ("host: localhost, evil.example\r\n", "400", "400"),
        ("host: user@localhost\r\n", "400", "400"),
        ("host: localhost@evil.example\r\n", "400", "400"),
        ("host: localhost:65536\r\n", "400", "400"),
        ("host: localhost:99999999999999999999\r\n", "400", "400"),
        ("host: localhost:-1\r\n", "400", "400"),
        ("host: localhost:+80\r\n", "400", "400"),
        ("host: localhost:80:80\r\n", "400", "400"),
        ("host: localhost/mcp\r\n", "400", "400"),
        ("host: http://localhost\r\n", "400", "400"),
        ("host: ::1\r\n", "400", "400"),
        ("host: [::1\r\n", "400", "400"),
        ("host: [::1]x\r\n", "400", "400"),
        ("host: local host\r\n", "400", "400"),
        ("host: \u{ff4c}ocalhost\r\n", "400", "400"),
    ] {
        for (path, expected) in [("/mcp", endpoint), ("/health", probe)] {
            let head = format!("GET {path} HTTP/1.1\r\n{lines}connection: close\r\n\r\n");
            assert_eq!(status(&answer(&harness, &head).await), expected, "{path} {lines:?}");
        }
    }
    still_serves(&harness).await;
}

/// HTTP/1.0 knows no `Host`; simple load balancers still probe with it.
#[tokio::test]
async fn http_1_0_may_probe_without_a_host() {
    let harness = Harness::new().await;
    for (path, lines, expected) in [
        ("/health", "", "200"),
        ("/health", "host: a\r\nhost: b\r\n", "400"),
        ("/mcp", "", "400"),
        ("/mcp", "host: localhost\r\n", "401"),
    ] {
        let read = answer(&harness, &format!("GET {path} HTTP/1.0\r\n{lines}\r\n")).await;
        assert_eq!(status(&read), expected, "{path} {lines:?}: {read}");
    }
}

#[tokio::test]
async fn floods_of_fields_are_431() {
    let harness = Choices::new().set("limits.header_bytes", 8192).start().await;
    let line = |bytes: usize| format!("x: {}\r\n", "y".repeat(bytes));
    for (name, fields, expected) in [
        ("97 small fields", "x: y\r\n".repeat(97), "401"),
        ("101 fields", "x: y\r\n".repeat(98), "431"),
        ("a thousand fields", "x: y\r\n".repeat(1000), "431"),
        ("fields beyond the limit together", line(100).repeat(80), "431"),
        ("a field beyond the limit", line(8200), "431"),
        ("a field of a megabyte", line(1 << 20), "431"),
        ("a name of a megabyte", format!("{}: y\r\n", "x".repeat(1 << 20)), "431"),
    ] {
        let three = "host: localhost\r\nconnection: close\r\na: b\r\n";
        let read = answer(&harness, &format!("GET /mcp HTTP/1.1\r\n{three}{fields}\r\n")).await;
        assert_eq!(status(&read), expected, "{name}");
    }
    still_serves(&harness).await;
}

/// hyper looks at its buffer's limit before it reads, not after: what it then holds is measured here once more.
#[tokio::test]
async fn a_head_that_ends_beyond_the_limit_in_a_second_read_is_431() {
    use tokio::io::AsyncWriteExt;
    let harness = Choices::new().set("limits.header_bytes", 8192).start().await;
    let mut stream = harness.connect().await;
    let head = format!("GET /mcp HTTP/1.1\r\nhost: localhost\r\nx: {}", "y".repeat(8000));
    stream.write_all(head.as_bytes()).await.unwrap();
    // Served meanwhile, so the first half has been read.
    still_serves(&harness).await;
    stream.write_all(format!("{}\r\n\r\n", "y".repeat(7000)).as_bytes()).await.unwrap();
    let read = crate::harness::read_to_end(stream).await;
    assert_eq!(status(&read), "431", "{read}");
}

#[tokio::test]
async fn a_long_line_is_refused() {
    let harness = Harness::new().await;
    for (name, line, expected) in [
        ("a path of a megabyte", format!("GET /{} HTTP/1.1", "x".repeat(1 << 20)), "431"),
        ("a query of a megabyte", format!("GET /mcp?{} HTTP/1.1", "x".repeat(1 << 20)), "431"),
        ("a path beyond the limit", format!("GET /{} HTTP/1.1", "x".repeat(33_000)), "431"),
        ("a method of a megabyte", format!("{} /mcp HTTP/1.1", "M".repeat(1 << 20)), "431"),
        ("a method beyond the limit", format!("{} /mcp HTTP/1.1", "M".repeat(33_000)), "431"),
        ("a long method", format!("{} /mcp HTTP/1.1", "M".repeat(1000)), "401"),
        ("a version of a megabyte", format!("GET /mcp HTTP/{}", "1".repeat(1 << 20)), "400"),
    ] {
        let head = format!("{line}\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let read = answer(&harness, &head).await;
        assert_eq!(status(&read), expected, "{name}: {read}");
    }
    still_serves(&harness).await;
}

#[tokio::test]
async fn lines_that_are_no_request_are_400() {
    let harness = Harness::new().await;
    for line in [
        "GET /mcp",
        "GET /mcp HTTP/2.0",
        "GET /mcp HTTP/1.2",
        "GET /mcp HTTP/0.9",
        "GET /mcp HTTP/1.1 x",
        "GET /mcp http/1.1",
        "GET  /mcp HTTP/1.1",
        "GET\t/mcp HTTP/1.1",
        " GET /mcp HTTP/1.1",
        "G(T /mcp HTTP/1.1",
        "G\0T /mcp HTTP/1.1",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}",
        "SSH-2.0-client",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}",
    ] {
        let read = answer(&harness, &format!("{line}\r\nhost: localhost\r\nconnection: close\r\n\r\n")).await;
        assert_eq!(status(&read), "400", "{line:?}: {read}");
    }
    still_serves(&harness).await;
}

#[tokio::test]
async fn other_methods_do_nothing_and_switch_nothing() {
    let harness = Harness::new().await;
    for (line, expected) in [
        ("TRACE /mcp", "405"),
        ("CONNECT /mcp", "405"),
        ("CONNECT localhost", "404"),
        ("CONNECT localhost:443", "400"),
        ("CONNECT evil.example:443", "400"),
        ("PRI /mcp", "405"),
        ("post /mcp", "405"),
        ("PROPFIND /mcp", "405"),
        ("OPTIONS *", "404"),
    ] {
        // What comes after a CONNECT is no tunnel's content.
        let head = format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ADMIN}\r\nx-secret: 1\r\nconnection: close\r\n\r\n"
        );
        let read = answer(&harness, &head).await;
        assert_eq!(status(&read), expected, "{line}: {read}");
        assert!(!read.contains("x-secret") && !read.contains(ADMIN), "nothing is echoed: {read}");
    }
    still_serves(&harness).await;
}

/// A field that decides something is there once; one that may be a list may be several.
#[tokio::test]
async fn doubled_fields_never_leave_a_choice() {
    let harness = Harness::new().await;
    let (bearer, other) = (format!("authorization: Bearer {ADMIN}"), format!("authorization: Bearer {USER}"));
    let modern = "mcp-protocol-version: 2026-07-28";
    for (fields, expected) in [
        (bearer.clone(), "400"),
        (other, "400"),
        ("Authorization: Basic x".to_owned(), "400"),
        ("content-type: application/json".to_owned(), "415"),
        ("content-type: text/plain".to_owned(), "415"),
        ("accept: application/json\r\naccept: text/event-stream".to_owned(), "200"),
        ("accept: text/html\r\naccept: text/plain".to_owned(), "406"),
        ("origin: http://localhost:1".to_owned(), "200"),
        ("origin: http://localhost:1\r\norigin: http://localhost:1".to_owned(), "403"),
        ("origin: http://localhost:1\r\norigin: http://evil.example".to_owned(), "403"),
        ("mcp-method: ping\r\nmcp-method: ping".to_owned(), "400"),
        ("mcp-method: ping\r\nmcp-method: tools/list".to_owned(), "400"),
        (format!("{modern}\r\n{modern}"), "400"),
        (format!("mcp-protocol-version: 2025-11-25\r\n{modern}"), "400"),
        ("mcp-session-id: a\r\nmcp-session-id: b".to_owned(), "200"),
    ] {
        let head = post(&format!("connection: close\r\ncontent-length: {}\r\n{fields}\r\n", PING.len()));
        let read = answer(&harness, &(head + PING)).await;
        assert_eq!(status(&read), expected, "{fields:?}: {read}");
    }
    still_serves(&harness).await;
}
