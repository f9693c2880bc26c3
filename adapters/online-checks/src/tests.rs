//! Every condition alone, by a tenant and an endpoint on loopback of which one answer is changed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use url::Url;

use crate::{Check, Endpoint, Fault, Outcome, Subject, run};

const DISCOVERY: &str = "/.well-known/openid-configuration";
const OTHER_DISCOVERY: &str = "/.well-known/oauth-authorization-server";
const KEYS: &str = "/.well-known/jwks.json";
const MCP: &str = "/mcp";
const METADATA: &str = "/.well-known/oauth-protected-resource/mcp";
const ROOT: &str = "/.well-known/oauth-protected-resource";
/// 1994-11-06T08:49:37Z, which every answer's `Date` is.
const NOW: i64 = 784_111_777;
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// An answer: status, head fields, body.
#[derive(Clone)]
struct Answer(u16, Vec<(&'static str, String)>, String);

impl Answer {
    fn json(document: &Value) -> Self {
        Self(
            200,
            vec![("content-type", "application/json".into()), ("date", DATE.into())],
            document.to_string(),
        )
    }

    fn status(status: u16) -> Self {
        Self(status, vec![("date", DATE.into())], String::new())
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.1.push((name, value.to_owned()));
        self
    }
}

/// The tenant and the endpoint: answers by path, and the requests that came.
struct World {
    address: SocketAddr,
    answers: Arc<Mutex<BTreeMap<String, Answer>>>,
    requests: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl World {
    /// All is well.
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answers = Arc::new(Mutex::new(BTreeMap::new()));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (served, noted) = (Arc::clone(&answers), Arc::clone(&requests));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let request = read(&stream);
                let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                if path.is_empty() {
                    return;
                }
                noted.lock().unwrap().push(request);
                let answer = served.lock().unwrap().get(&path).cloned().unwrap_or(Answer::status(404));
                write(stream, &answer);
            }
        });
        let world = Self { address, answers, requests, thread: Some(thread) };
        world.set(DISCOVERY, Answer::json(&world.discovery()));
        let key = json!({"kty": "RSA", "kid": "k", "n": "A".repeat(342), "e": "AQAB"});
        world.set(KEYS, Answer::json(&json!({ "keys": [key] })));
        world.set(MCP, Answer::status(401).with("www-authenticate", &world.challenge()));
        world.set(METADATA, Answer::json(&world.metadata()));
        world
    }

    fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn discovery(&self) -> Value {
        json!({
            "issuer": self.at("/"),
            "jwks_uri": self.at(KEYS),
            "code_challenge_methods_supported": ["plain", "S256"],
            "registration_endpoint": self.at("/register"),
            "client_id_metadata_document_supported": true,
            "authorization_response_iss_parameter_supported": true,
        })
    }

    fn challenge(&self) -> String {
        format!("Bearer scope=\"a b\", resource_metadata=\"{}\"", self.at(METADATA))
    }

    fn metadata(&self) -> Value {
        json!({"resource": self.at(MCP), "authorization_servers": [self.at("/")], "scopes_supported": ["a", "b"]})
    }

    fn set(&self, path: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    fn without(&self, path: &str) {
        self.answers.lock().unwrap().remove(path);
    }

    /// Changes a member of a document; `null` leaves it out.
    fn change(&self, path: &str, member: &str, value: Value) {
        let mut document = if path == METADATA { self.metadata() } else { self.discovery() };
        if value.is_null() {
            document.as_object_mut().unwrap().remove(member);
        } else {
            document[member] = value;
        }
        self.set(path, Answer::json(&document));
    }

    fn subject(&self) -> Subject {
        let Value::Object(metadata) = self.metadata() else { unreachable!() };
        Subject {
            issuer: self.at("/"),
            additional_issuers: Vec::new(),
            jwks_url: Url::parse(&self.at(KEYS)).unwrap(),
            leeway_seconds: 60,
            endpoints: vec![Endpoint {
                url: Url::parse(&self.at(MCP)).unwrap(),
                metadata_url: Url::parse(&self.at(METADATA)).unwrap(),
                audience: self.at(MCP),
                is_covered: true,
                metadata,
                challenge: self.challenge(),
            }],
        }
    }

    fn check(&self) -> Vec<Check> {
        run(&self.subject(), &|| NOW)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A connection without a request ends the thread.
        drop(TcpStream::connect(self.address));
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Reads a request: its head, and its body.
fn read(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or_default() == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        request.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    request + &String::from_utf8(body).unwrap()
}

fn write(mut stream: TcpStream, Answer(status, fields, body): &Answer) {
    let mut answer =
        format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in fields {
        answer.extend([name, ": ", value, "\r\n"]);
    }
    answer.extend(["\r\n", body]);
    // Whoever has read enough closes.
    let _ = stream.write_all(answer.as_bytes());
}

/// The checks that found something, and what.
fn found(checks: &[Check]) -> Vec<(&'static str, Fault)> {
    checks.iter().filter_map(|check| Some((check.name, check.finding()?.fault))).collect()
}

fn seen(checks: &[Check], name: &str) -> String {
    match &checks.iter().find(|check| check.name == name).unwrap().outcome {
        Outcome::Fine { seen } => seen.clone(),
        Outcome::Finding(finding) => finding.seen.clone(),
        Outcome::NotJudged { why } => why.clone(),
    }
}

/// What is found after one change.
#[track_caller]
fn one(change: impl FnOnce(&World), name: &'static str, fault: Fault) -> Vec<Check> {
    let world = World::new();
    change(&world);
    let checks = world.check();
    assert_eq!(found(&checks), [(name, fault)]);
    checks
}

#[test]
fn nothing_is_found_where_all_is_well_and_no_token_is_sent() {
    let world = World::new();
    let checks = world.check();
    let names: Vec<&str> = checks.iter().map(|check| check.name).collect();
    assert_eq!(
        names,
        [
            "discovery",
            "issuer",
            "keys_url",
            "pkce",
            "registration",
            "response_issuer",
            "keys",
            "clock",
            "transport",
            "endpoint",
            "challenge",
            "challenge_scopes",
            "metadata",
            "metadata_resource",
            "metadata_issuer",
            "metadata_content",
            "metadata_of_host",
        ]
    );
    assert!(checks.iter().all(|check| matches!(check.outcome, Outcome::Fine { .. })), "{checks:?}");
    assert_eq!(seen(&checks, "keys"), "1 key for RS256");
    let requests = world.requests.lock().unwrap();
    let lines: Vec<&str> = requests.iter().map(|request| request.lines().next().unwrap()).collect();
    assert_eq!(
        lines,
        [
            &format!("GET {DISCOVERY} HTTP/1.1"),
            &format!("GET {KEYS} HTTP/1.1"),
            &format!("POST {MCP} HTTP/1.1"),
            &format!("GET {METADATA} HTTP/1.1"),
            &format!("GET {ROOT} HTTP/1.1"),
        ]
    );
    assert!(requests.iter().all(|request| !request.to_ascii_lowercase().contains("authorization:")));
    assert!(requests[2].ends_with("\"method\":\"ping\"}"), "{}", requests[2]);
}

#[test]
fn either_discovery_document_is_fine_and_without_both_the_first_is_told() {
    let world = World::new();
    world.without(DISCOVERY);
    world.set(OTHER_DISCOVERY, Answer::json(&world.discovery()));
    assert_eq!(found(&world.check()), []);
    world.set(DISCOVERY, Answer::status(500));
    world.without(OTHER_DISCOVERY);
    let checks = world.check();
    assert_eq!(found(&checks), [("discovery", Fault::DiscoveryMissing)]);
    assert!(seen(&checks, "discovery").starts_with("the answer is 500"));
    let not_judged = checks.iter().filter(|check| matches!(check.outcome, Outcome::NotJudged { .. })).count();
    assert_eq!(not_judged, 5);
    for body in ["<html>", "[]", "{\"issuer\": 1, \"issuer\": 2}"] {
        world.set(DISCOVERY, Answer(200, Vec::new(), body.to_owned()));
        assert_eq!(found(&world.check()), [("discovery", Fault::DiscoveryUnreadable)], "{body}");
    }
}

#[test]
fn a_tenants_redirect_is_not_followed() {
    let redirect = |world: &World| Answer::status(302).with("location", &world.at("/elsewhere"));
    one(|world| world.set(DISCOVERY, redirect(world)), "discovery", Fault::TenantRedirects);
    let world = World::new();
    world.set(KEYS, redirect(&world));
    let checks = world.check();
    assert_eq!(found(&checks), [("keys", Fault::TenantRedirects)]);
    assert_eq!(seen(&checks, "keys"), format!("the answer is 302, to {}", world.at("/elsewhere")));
    assert!(!world.requests.lock().unwrap().iter().any(|request| request.contains("/elsewhere")));
}

#[test]
fn the_issuer_is_compared_byte_for_byte() {
    for issuer in [json!(null), json!("https://login.example.com/"), json!(7)] {
        one(|world| world.change(DISCOVERY, "issuer", issuer), "issuer", Fault::IssuerDiffers);
    }
    let without_slash = |world: &World| {
        world.change(DISCOVERY, "issuer", json!(world.at("")));
    };
    one(without_slash, "issuer", Fault::IssuerDiffers);
}

#[test]
fn every_additional_issuer_is_asked_for_its_name() {
    let world = World::new();
    let with = |issuer: String| {
        let subject = Subject { additional_issuers: vec![issuer], ..world.subject() };
        found(&run(&subject, &|| NOW))
    };
    assert_eq!(with(world.at("/")), []);
    let expected = [("additional_issuer", Fault::AdditionalIssuerDiffers)];
    assert_eq!(with(world.at("")), expected);
    assert_eq!(with(world.at("/other/")), expected);
}

#[test]
fn what_the_discovery_document_announces_is_judged() {
    let all = [
        ("jwks_uri", json!("https://login.example.com/keys"), "keys_url", Fault::KeysUrlDiffers),
        ("jwks_uri", json!(null), "keys_url", Fault::KeysUrlDiffers),
        ("code_challenge_methods_supported", json!(["plain"]), "pkce", Fault::PkceMissing),
        ("code_challenge_methods_supported", json!(null), "pkce", Fault::PkceMissing),
        (
            "authorization_response_iss_parameter_supported",
            json!(null),
            "response_issuer",
            Fault::ResponseIssuerMissing,
        ),
    ];
    for (member, value, name, fault) in all {
        one(|world| world.change(DISCOVERY, member, value), name, fault);
    }
}

#[test]
fn one_way_to_a_client_id_is_enough() {
    let world = World::new();
    let mut document = world.discovery();
    let members = ["registration_endpoint", "client_id_metadata_document_supported"];
    for member in members {
        world.change(DISCOVERY, member, json!(null));
        assert_eq!(found(&world.check()), [], "{member}");
        document.as_object_mut().unwrap().remove(member);
    }
    world.set(DISCOVERY, Answer::json(&document));
    assert_eq!(found(&world.check()), [("registration", Fault::RegistrationMissing)]);
}

#[test]
fn keys_are_there_and_usable() {
    one(|world| world.set(KEYS, Answer::status(429)), "keys", Fault::KeysRefused);
    one(|world| world.set(KEYS, Answer(200, Vec::new(), "<html>".to_owned())), "keys", Fault::KeysUnreadable);
    one(|world| world.set(KEYS, Answer::json(&json!({}))), "keys", Fault::KeysUnreadable);
    one(
        |world| world.set(KEYS, Answer::json(&json!({"keys": [{"kty": "EC"}]}))),
        "keys",
        Fault::KeysUnusable,
    );
    let long = json!({"keys": [], "padding": "x".repeat(1024 * 1024)});
    one(|world| world.set(KEYS, Answer::json(&long)), "keys", Fault::TooLong);
}

#[test]
fn the_clock_is_compared_with_the_tenants() {
    let world = World::new();
    let at = |now: i64| found(&run(&world.subject(), &move || now));
    assert_eq!(at(NOW + 60), []);
    assert_eq!(at(NOW - 60), []);
    assert_eq!(at(NOW + 90), [("clock", Fault::ClockAhead)]);
    assert_eq!(at(NOW - 90), [("clock", Fault::ClockBehind)]);
    // What a cache kept is older by its age.
    world.set(DISCOVERY, Answer::json(&world.discovery()).with("age", "90"));
    assert_eq!(at(NOW + 90), []);
}

#[test]
fn without_a_date_the_clock_is_not_judged() {
    let world = World::new();
    for (path, document) in [(DISCOVERY, world.discovery()), (KEYS, json!({"keys": []}))] {
        world.set(path, Answer(200, vec![("date", "yesterday".into())], document.to_string()));
    }
    let checks = world.check();
    let clock = checks.iter().find(|check| check.name == "clock").unwrap();
    assert!(matches!(clock.outcome, Outcome::NotJudged { .. }), "{clock:?}");
}

#[test]
fn statuses_other_than_401_are_told_apart() {
    for (status, fault) in [
        (200, Fault::NotProtected),
        (202, Fault::NotProtected),
        (404, Fault::WrongPath),
        (405, Fault::WrongPath),
        (403, Fault::WrongHost),
        (421, Fault::WrongHost),
        (502, Fault::NoUpstream),
        (503, Fault::NoUpstream),
        (504, Fault::NoUpstream),
        (400, Fault::UnexpectedStatus),
        (500, Fault::UnexpectedStatus),
    ] {
        let checks = one(|world| world.set(MCP, Answer::status(status)), "endpoint", fault);
        assert_eq!(seen(&checks, "challenge"), "the answer is not 401", "{status}");
    }
    let slash = |world: &World| {
        world.set(MCP, Answer::status(308).with("location", "/mcp/"));
    };
    let checks = one(slash, "endpoint", Fault::EndpointRedirects);
    assert_eq!(seen(&checks, "endpoint"), "the answer is 308, to /mcp/");
}

#[test]
fn the_challenge_is_the_servers_own() {
    let challenge = |value: &'static str| {
        move |world: &World| {
            let value = value.replace("METADATA", &world.at(METADATA));
            world.set(MCP, Answer::status(401).with("www-authenticate", &value));
        }
    };
    one(|world| world.set(MCP, Answer::status(401)), "challenge", Fault::ChallengeMissing);
    one(challenge("Basic realm=\"proxy\""), "challenge", Fault::ChallengeOfOther);
    one(challenge("Bearer scope=\"a b\""), "challenge", Fault::ChallengeMetadata);
    one(
        challenge("Bearer scope=\"a b\", resource_metadata=\"http://127.0.0.1/m\""),
        "challenge",
        Fault::ChallengeMetadata,
    );
    one(challenge("Bearer resource_metadata=\"METADATA\""), "challenge_scopes", Fault::ChallengeScopes);
    one(
        challenge("Bearer scope=\"a\", resource_metadata=\"METADATA\""),
        "challenge_scopes",
        Fault::ChallengeScopes,
    );
    let world = World::new();
    let second = Answer::status(401).with("www-authenticate", "Basic realm=\"x\"");
    world.set(MCP, second.with("www-authenticate", &world.challenge()));
    assert_eq!(found(&world.check()), []);
}

#[test]
fn the_metadata_is_the_servers_own() {
    let html = || Answer(200, Vec::new(), "<html>".to_owned());
    one(|world| world.without(METADATA), "metadata", Fault::MetadataMissing);
    one(|world| world.set(METADATA, html()), "metadata", Fault::MetadataUnreadable);
    let redirect = || Answer::status(301).with("location", "/");
    one(|world| world.set(METADATA, redirect()), "metadata", Fault::MetadataMissing);
    for resource in [json!("https://other.example/mcp"), json!(null)] {
        one(
            |world| world.change(METADATA, "resource", resource),
            "metadata_resource",
            Fault::MetadataResource,
        );
    }
    for servers in [json!(["https://other.example/"]), json!(null), json!("x")] {
        let change = |world: &World| world.change(METADATA, "authorization_servers", servers);
        one(change, "metadata_issuer", Fault::MetadataIssuer);
    }
    for scopes in [json!(["a"]), json!(null)] {
        let change = |world: &World| world.change(METADATA, "scopes_supported", scopes);
        one(change, "metadata_content", Fault::MetadataDiffers);
    }
    one(
        |world| world.change(METADATA, "resource_name", json!("x")),
        "metadata_content",
        Fault::MetadataDiffers,
    );
    one(|world| world.set(ROOT, html()), "metadata_of_host", Fault::RootUnreadable);
    one(|world| world.set(ROOT, redirect()), "metadata_of_host", Fault::RootUnreadable);
}

#[test]
fn a_resource_that_does_not_cover_the_endpoint_is_told() {
    let world = World::new();
    let mut subject = world.subject();
    subject.endpoints[0].is_covered = false;
    let checks = run(&subject, &|| NOW);
    assert_eq!(found(&checks), [("metadata_resource", Fault::ResourceNotCovering)]);
}

#[test]
fn an_endpoint_that_is_not_there_is_asked_once() {
    let world = World::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut subject = world.subject();
    subject.endpoints[0].url.set_port(Some(free.local_addr().unwrap().port())).unwrap();
    drop(free);
    let checks = run(&subject, &|| NOW);
    assert_eq!(found(&checks), [("endpoint", Fault::ConnectionRefused)]);
    let finding = checks.iter().find_map(Check::finding).unwrap();
    assert_eq!(finding.symptom, "clients can't connect");
    assert!(!world.requests.lock().unwrap().iter().any(|request| request.contains(METADATA)));
}

#[test]
fn a_tenant_that_is_not_there_is_told_by_each_of_its_addresses() {
    let world = World::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = format!("http://{}/", free.local_addr().unwrap());
    drop(free);
    let mut subject = Subject { issuer: gone.clone(), ..world.subject() };
    subject.jwks_url = Url::parse(&gone).unwrap();
    subject.endpoints.clear();
    let checks = run(&subject, &|| NOW);
    assert_eq!(found(&checks), [("discovery", Fault::ConnectionRefused), ("keys", Fault::ConnectionRefused)]);
    let finding = checks.iter().find_map(Check::finding).unwrap();
    assert!(finding.symptom.contains("keys_unavailable"), "{finding:?}");
}

#[test]
fn what_comes_back_is_shown_cut_and_escaped() {
    let body = format!("\u{1b}[2J{}", "x".repeat(500));
    let change = |world: &World| world.set(MCP, Answer(500, Vec::new(), body));
    let checks = one(change, "endpoint", Fault::UnexpectedStatus);
    let expected = format!("the answer is 500: \"\\u{{1b}}[2J{}...\"", "x".repeat(196));
    assert_eq!(seen(&checks, "endpoint"), expected);
}

#[test]
fn a_finding_says_everything_to_programs() {
    let checks = one(|world| world.set(MCP, Answer::status(401)), "challenge", Fault::ChallengeMissing);
    let check = checks.iter().find(|check| check.is_problem()).unwrap();
    let document = serde_json::to_value(check).unwrap();
    let Value::Object(members) = &document else { panic!("{document}") };
    assert_eq!(
        members.keys().collect::<Vec<_>>(),
        ["id", "mend", "name", "outcome", "seen", "severity", "symptom", "target"]
    );
    assert_eq!(
        (&document["outcome"], &document["severity"], &document["id"]),
        (&json!("finding"), &json!("problem"), &json!("challenge_missing"))
    );
}
