use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use serde_json::{Value, json};

use super::document::MAX_SHOWN_CHARS;
use super::*;

/// What a test waits for when waiting is what it tests.
const SHORT: Duration = Duration::from_millis(300);

/// Serves one request on loopback; the thread ends with the answer.
fn serve(answer: impl FnOnce(&str, TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/client.json", listener.local_addr().unwrap());
    let own = url.clone();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        take_request(&stream);
        answer(&own, stream);
    });
    url
}

fn take_request(stream: &TcpStream) {
    let lines = BufReader::new(stream).lines().map(Result::unwrap);
    let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    assert_eq!(head[0], "GET /client.json HTTP/1.1");
}

fn write(mut stream: TcpStream, text: &str) {
    // A client that has read enough is gone.
    let _ = stream.write_all(text.as_bytes());
}

fn ok(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// Fetches from a server that answers so, as a function of its URL.
fn fetch(answer: impl FnOnce(&str) -> String + Send + 'static) -> Result<ClientMetadata, MetadataError> {
    let url = serve(move |url, stream| write(stream, &answer(url)));
    MetadataFetcher::new().fetch(&url)
}

fn minimal(url: &str) -> Value {
    json!({ "client_id": url, "redirect_uris": ["http://127.0.0.1/cb"] })
}

/// Fetches the minimal document with these members in it.
fn fetch_with(members: &Value) -> Result<ClientMetadata, MetadataError> {
    let members = members.clone();
    fetch(move |url| {
        let mut document = minimal(url);
        document.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        ok(&document.to_string())
    })
}

fn malformed(result: Result<ClientMetadata, MetadataError>) -> String {
    match result {
        Err(MetadataError::Malformed(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// Knows one answer to everything.
#[derive(Debug)]
struct Fixed(Vec<SocketAddr>);

impl Resolver for Fixed {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut answer = self.empty();
        self.0.iter().for_each(|address| answer.push(*address));
        Ok(answer)
    }
}

#[derive(Debug)]
struct Unknowing;

impl Resolver for Unknowing {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Err(ureq::Error::Io(std::io::Error::other("Name or service not known")))
    }
}

fn silent_listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn assert_unvisited(listener: &TcpListener) {
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_document_url_is_canonical_and_leads_to_a_document() {
    for good in [
        "https://app.example.com/client.json",
        "https://app.example.com:8443/oauth/client",
        "https://app.example.com/a/",
        "https://app.example.com/a?version=1",
        "https://app.example.com/.well-known/client",
        "https://app.example.com/...",
        "https://93.184.215.14/client.json",
        "https://localhost/client.json",
        "http://localhost:3000/client.json",
        "http://127.0.0.1/client.json",
        "http://127.8.9.10:1/client.json",
        "http://[::1]:3000/client.json",
    ] {
        assert!(is_document_url(good), "{good}");
    }
    for bad in [
        "",
        "client",
        "/client.json",
        "https://",
        "https://app.example.com",
        "https://app.example.com/",
        "https://app.example.com/?x",
        "https://app.example.com/a#x",
        "https://app.example.com/a#",
        "https://user@app.example.com/a",
        "https://user:pw@app.example.com/a",
        "https://:pw@app.example.com/a",
        "https://@app.example.com/a",
        "https://app.example.com/./a",
        "https://app.example.com/a/..",
        "https://app.example.com/a/../b",
        "https://app.example.com/a/%2e%2E/b",
        "https://app.example.com/a/%2e",
        "https://app.example.com:443/a",
        "https://App.example.com/a",
        "HTTPS://app.example.com/a",
        "https:app.example.com/a",
        "https://app.example.com\\a",
        "https://app.example.com/a b",
        "https://app.example.com/\na",
        " https://app.example.com/a",
        "https://0x7f.1/a",
        "https://b\u{fc}cher.example/a",
        "http://app.example.com/a",
        "http://localhost.evil.test/a",
        "http://localhost./a",
        "http://127.0.0.1.evil.test/a",
        "http://127.1/a",
        "http://0.0.0.0/a",
        "http://[::ffff:7f00:1]/a",
        "http://[::2]/a",
        "ftp://localhost/a",
        "file:///a",
        "data:application/json,{}",
    ] {
        assert!(!is_document_url(bad), "{bad}");
        assert_eq!(MetadataFetcher::new().fetch(bad), Err(MetadataError::NotADocumentUrl), "{bad}");
    }
}

#[test]
fn ipv4_that_is_not_everyones_is_not_public() {
    let public = "1.0.0.0 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 \
         128.0.0.0 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 \
         192.0.1.255 192.0.3.0 192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 \
         198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0 \
         223.255.255.255";
    let others = "0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 \
         127.255.255.255 169.254.0.0 169.254.169.254 169.254.255.255 172.16.0.0 172.31.255.255 \
         192.0.0.0 192.0.0.255 192.0.2.0 192.0.2.255 192.88.99.0 192.88.99.255 192.168.0.0 \
         192.168.255.255 198.18.0.0 198.19.255.255 198.51.100.0 198.51.100.255 203.0.113.0 \
         203.0.113.255 224.0.0.0 239.255.255.255 240.0.0.0 247.255.255.255 248.0.0.0 \
         255.255.255.255";
    for address in public.split(' ') {
        assert!(is_public(address.parse().unwrap()), "{address}");
    }
    for address in others.split(' ') {
        assert!(!is_public(address.parse().unwrap()), "{address}");
    }
}

#[test]
fn ipv6_that_is_not_everyones_is_not_public_in_whatever_clothes() {
    let public = "2000:: 2001:200:: 2001:4860:4860::8888 2001:db7:ffff::1 2001:db9:: 2003:: \
         2606:4700::1111 3ffe:ffff::1 3fff:1000:: ::ffff:8.8.8.8 64:ff9b::8.8.8.8";
    let others = ":: ::1 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:0.0.0.0 \
         ::ffff:169.254.169.254 ::ffff:0:8.8.8.8 ::fffe:8.8.8.8 64:ff9b::127.0.0.1 \
         64:ff9b::192.168.0.1 64:ff9b::1:808:808 64:ff9b:1::8.8.8.8 100::1 1fff:ffff::1 2001::1 \
         2001:0:808:808::1 2001:2::1 2001:10::1 2001:20::1 2001:1ff:ffff::1 2001:db8::1 \
         2001:db8:ffff::1 2002:7f00:1::1 2002:a00:1::1 2002:808:808::1 2002:ffff::1 3fff::1 \
         3fff:fff:ffff::1 4000:: 5f00::1 fc00::1 fdff::1 fe80::1 febf::1 fec0::1 ff02::1 \
         ff0e::1";
    for address in public.split(' ') {
        assert!(is_public(address.parse().unwrap()), "{address}");
    }
    for address in others.split(' ') {
        assert!(!is_public(address.parse().unwrap()), "{address}");
    }
}

#[test]
fn nothing_on_this_machine_is_asked_over_https() {
    let (listener, address) = silent_listener();
    let port = address.port();
    let fetcher = MetadataFetcher::new();
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:7f00:1]", "0.0.0.0"] {
        let url = format!("https://{host}:{port}/client.json");
        assert_eq!(fetcher.fetch(&url), Err(MetadataError::NotPublic), "{host}");
    }
    let rebound = MetadataFetcher::with(TIMEOUT, Fixed(vec![address]));
    assert_eq!(rebound.fetch("https://app.example.com/client.json"), Err(MetadataError::NotPublic));
    assert_unvisited(&listener);
}

#[test]
fn nothing_elsewhere_is_asked_over_http() {
    let elsewhere = ["93.184.215.14:80", "192.168.0.1:80", "[::ffff:127.0.0.1]:80"];
    for address in elsewhere.map(|address| address.parse().unwrap()) {
        let fetcher = MetadataFetcher::with(SHORT, Fixed(vec![address]));
        let answer = fetcher.fetch("http://localhost/client.json");
        assert_eq!(answer, Err(MetadataError::NotLoopback), "{address}");
    }
}

#[test]
fn of_several_addresses_only_the_allowed_ones_remain() {
    let all = ["127.0.0.1:1", "93.184.215.14:1", "10.0.0.1:1", "[::1]:1", "[2606:4700::1111]:1"];
    let resolver = CheckedResolver(Fixed(all.map(|address| address.parse().unwrap()).to_vec()));
    let resolve = |url: &'static str| {
        let config = Agent::config_builder().build();
        let found = resolver.resolve(&Uri::from_static(url), &config, NextTimeout::default()).unwrap();
        found.iter().map(SocketAddr::to_string).collect::<Vec<_>>()
    };
    assert_eq!(resolve("https://a.test/x"), ["93.184.215.14:1", "[2606:4700::1111]:1"]);
    assert_eq!(resolve("http://localhost/x"), ["127.0.0.1:1", "[::1]:1"]);
}

#[test]
fn every_fetch_connects_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/client.json", listener.local_addr().unwrap());
    let answer = ok(&minimal(&url).to_string());
    let server = thread::spawn(move || {
        // Kept open, for the client to use again if it would.
        [(), ()].map(|()| {
            let (mut stream, _) = listener.accept().unwrap();
            take_request(&stream);
            stream.write_all(answer.as_bytes()).unwrap();
            stream
        })
    });
    let fetcher = MetadataFetcher::new();
    assert!(fetcher.fetch(&url).is_ok());
    assert!(fetcher.fetch(&url).is_ok());
    drop(server.join().unwrap());
}

#[test]
fn a_name_that_is_not_found_is_told_apart() {
    let fetched = MetadataFetcher::with(SHORT, Unknowing).fetch("https://app.example.com/client.json");
    assert_eq!(fetched, Err(MetadataError::NoSuchHost));
}

#[test]
fn a_port_that_nobody_listens_on_is_unreachable() {
    let (listener, address) = silent_listener();
    drop(listener);
    let fetched = MetadataFetcher::new().fetch(&format!("http://{address}/client.json"));
    assert!(matches!(fetched, Err(MetadataError::Unreachable(_))), "{fetched:?}");
}

#[test]
fn a_good_document_is_understood() {
    let minimal = ClientMetadata {
        client_name: None,
        redirect_uris: vec!["http://127.0.0.1/cb".to_owned()],
        grant_types: vec!["authorization_code".to_owned()],
    };
    assert_eq!(fetch_with(&json!({})), Ok(minimal));
    let whole = json!({
        "client_name": "Inspector",
        "redirect_uris": ["https://app.example.com/cb", "app:/cb"],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "none",
        "response_types": ["code"],
        "logo_uri": null,
        "unheard_of": { "x": [1] },
    });
    let expected = ClientMetadata {
        client_name: Some("Inspector".to_owned()),
        redirect_uris: vec!["https://app.example.com/cb".to_owned(), "app:/cb".to_owned()],
        grant_types: vec!["authorization_code".to_owned(), "refresh_token".to_owned()],
    };
    assert_eq!(fetch_with(&whole), Ok(expected));
}

#[test]
fn a_good_document_is_found_by_localhost_too() {
    let (sender, named) = channel();
    let url = serve(move |_, stream| {
        let named: String = named.recv().unwrap();
        write(stream, &ok(&minimal(&named).to_string()));
    });
    let named = url.replace("127.0.0.1", "localhost");
    sender.send(named.clone()).unwrap();
    assert!(MetadataFetcher::new().fetch(&named).is_ok());
}

/// A variable of this process would be every test's, so another process has it.
#[test]
fn the_environments_proxy_is_not_asked() {
    let (listener, address) = silent_listener();
    let tests = module_path!().split_once("::").unwrap().1;
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("{tests}::a_good_document_is_understood")]);
    for name in ["ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "http_proxy", "https_proxy"] {
        command.env(name, format!("http://{address}"));
    }
    let output = command.env_remove("NO_PROXY").env_remove("no_proxy").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert_unvisited(&listener);
}

#[test]
fn a_redirect_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let target = serve(|url, stream| write(stream, &ok(&minimal(url).to_string())));
        let fetched =
            fetch(move |_| format!("HTTP/1.1 {status} X\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(fetched, Err(MetadataError::Redirect(status)));
    }
}

#[test]
fn only_200_is_an_answer() {
    for status in [201, 203, 206, 400, 404, 500] {
        let fetched =
            fetch(move |url| ok(&minimal(url).to_string()).replacen("200 OK", &format!("{status} X"), 1));
        assert_eq!(fetched, Err(MetadataError::Status(status)));
    }
}

#[test]
fn only_json_is_read() {
    let fetch_as = |header: &'static str| {
        fetch(move |url| {
            ok(&minimal(url).to_string()).replacen("Content-Type: application/json\r\n", header, 1)
        })
    };
    for good in [
        "Content-Type: application/json; charset=utf-8\r\n",
        "content-type: Application/JSON ;x=y\r\n",
        "Content-Type: application/client-metadata+json\r\n",
    ] {
        assert!(fetch_as(good).is_ok(), "{good}");
    }
    for (bad, repeated) in [
        ("", ""),
        ("Content-Type: text/html\r\n", "text/html"),
        ("Content-Type: text/json\r\n", "text/json"),
        ("Content-Type: application/jsonp\r\n", "application/jsonp"),
        ("Content-Type: application/+json\r\n", "application/+json"),
        ("Content-Type: text/plain; application/json\r\n", "text/plain; application/json"),
    ] {
        assert_eq!(fetch_as(bad), Err(MetadataError::ContentType(repeated.to_owned())));
    }
}

/// A good document of this many bytes.
fn padded(url: &str, bytes: usize) -> String {
    format!("{:<bytes$}", minimal(url).to_string())
}

#[test]
fn a_document_is_as_long_as_the_limit_and_no_longer() {
    let limit = usize::try_from(MAX_BYTES).unwrap();
    assert_eq!(limit, 5120);
    let undeclared = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{body}");
    let chunked = |body: &str| {
        let length = body.len();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked";
        format!("{head}\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n")
    };
    for answer in [ok, undeclared, chunked] {
        assert!(fetch(move |url| answer(&padded(url, limit))).is_ok());
        let fetched = fetch(move |url| answer(&padded(url, limit + 1)));
        assert_eq!(fetched, Err(MetadataError::TooLong));
        let fetched = fetch(move |url| answer(&padded(url, 8 * limit)));
        assert_eq!(fetched, Err(MetadataError::TooLong));
    }
}

/// Asks a server that is still busy when the time is up.
fn assert_timeout(busy: fn(TcpStream, &Receiver<()>)) {
    let (alive, end) = channel();
    let url = serve(move |_, stream| busy(stream, &end));
    let fetched = MetadataFetcher::with(SHORT, DefaultResolver::default()).fetch(&url);
    assert_eq!(fetched, Err(MetadataError::TimedOut(SHORT)));
    drop(alive);
}

#[test]
fn a_server_that_hangs_is_left() {
    assert_timeout(|stream, end| {
        end.recv().unwrap_err();
        drop(stream);
    });
    assert_timeout(|mut stream, end| {
        stream.write_all(ok("{\"client_id\"").replace("Length: ", "Length: 1").as_bytes()).unwrap();
        end.recv().unwrap_err();
    });
}

#[test]
fn a_server_that_trickles_is_left_all_the_same() {
    assert_timeout(|mut stream, end| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        while end.recv_timeout(SHORT / 10) == Err(RecvTimeoutError::Timeout) {
            let _ = stream.write_all(b" ");
        }
    });
}

#[test]
fn a_document_is_one_json_object() {
    let fetch_body = |body: &'static str| fetch(move |_| ok(body));
    for body in ["", "null", "<html>", "[\"http://127.0.0.1/x\", []]", "\u{feff}{}"] {
        assert_eq!(fetch_body(body), Err(MetadataError::NotAnObject), "{body}");
    }
    for body in ["{", "{} {}", "{'client_id': 1}"] {
        malformed(fetch_body(body));
    }
    let as_array = fetch(|url| ok(&json!([url, ["http://127.0.0.1/cb"]]).to_string()));
    assert_eq!(as_array, Err(MetadataError::NotAnObject));
    let twice = |url: &str| ok(&minimal(url).to_string().replacen('{', "{\"client_id\":\"x\",", 1));
    assert!(malformed(fetch(twice)).contains("two members of one name"));
    let broken = fetch(|url| ok(&minimal(url).to_string()).replacen("HTTP/1.1", "HTTP/9", 1));
    assert!(matches!(broken, Err(MetadataError::Unreachable(_))), "{broken:?}");
}

#[test]
fn a_document_speaks_for_its_own_url() {
    let wrong = |url: &str| Err(MetadataError::WrongClientId(url.to_owned()));
    assert_eq!(fetch_with(&json!({ "client_id": "https://a.test/x" })), wrong("https://a.test/x"));
    for (from, to) in [("http:", "HTTP:"), ("client.json", "client.json#"), ("/client", "/./client")] {
        let fetched = fetch(move |url| ok(&minimal(url).to_string().replacen(from, to, 1)));
        assert!(matches!(fetched, Err(MetadataError::WrongClientId(_))), "{to} {fetched:?}");
    }
    let long = "x".repeat(1000);
    assert_eq!(fetch_with(&json!({ "client_id": long })), wrong(&"x".repeat(MAX_SHOWN_CHARS)));
    let missing = malformed(fetch(|_| ok("{\"redirect_uris\":[\"http://127.0.0.1/cb\"]}")));
    assert!(missing.contains("missing field `client_id`"), "{missing}");
}

#[test]
fn members_have_their_types() {
    assert_eq!(fetch_with(&json!({ "redirect_uris": [] })), Err(MetadataError::NoRedirectUris));
    let missing = malformed(fetch(|url| ok(&json!({ "client_id": url }).to_string())));
    assert!(missing.contains("missing field `redirect_uris`"), "{missing}");
    for members in [
        json!({ "client_id": 1 }),
        json!({ "redirect_uris": "http://127.0.0.1/cb" }),
        json!({ "redirect_uris": [1] }),
        json!({ "redirect_uris": null }),
        json!({ "client_name": 1 }),
        json!({ "client_name": null }),
        json!({ "grant_types": "authorization_code" }),
        json!({ "grant_types": null }),
        json!({ "token_endpoint_auth_method": null }),
    ] {
        malformed(fetch_with(&members));
    }
}

#[test]
fn a_public_document_shares_no_secret() {
    for members in [
        json!({ "client_secret": "s3cret" }),
        json!({ "client_secret": null }),
        json!({ "client_secret_expires_at": 0 }),
        json!({ "client_secret_expires_at": null }),
        json!({ "token_endpoint_auth_method": "client_secret_basic" }),
        json!({ "token_endpoint_auth_method": "client_secret_post" }),
        json!({ "token_endpoint_auth_method": "client_secret_jwt" }),
    ] {
        let fetched = fetch_with(&members);
        assert!(matches!(fetched, Err(MetadataError::SharedSecret(_))), "{members} {fetched:?}");
    }
    for method in ["private_key_jwt", "tls_client_auth", "None", ""] {
        let fetched = fetch_with(&json!({ "token_endpoint_auth_method": method }));
        assert_eq!(fetched, Err(MetadataError::UnservedMethod(method.to_owned())));
    }
}
