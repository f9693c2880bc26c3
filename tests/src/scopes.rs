//! What a broader scope permits, what a client that lacks scopes is told to ask for, and what a first login asks for.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{
    Completion, Context, GetPromptResult, Message, Outcome, Prompt, PromptCall, PromptSpec, ReadCall,
    ReadResourceResult, Resource, ResourceBody, ResourceContents, ResourceSpec, ResourceSpecError, Role,
    ScopeSet,
};
use fakes::{Behaviour, RecordingTool};
use fastmcp_auth0::{Settings, Sources};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{ADMIN, AUDIENCE, Answer, Choices, Harness, ISSUER, MODERN, URL, USER, soon};

const METADATA: &str = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp";
const READ: &[&str] = &["notes:read"];

/// At a URI or a template.
struct Note(&'static str);

#[async_trait]
impl Resource for Note {
    fn spec(&self) -> Result<ResourceSpec, ResourceSpecError> {
        let spec = if self.0.contains('{') {
            ResourceSpec::template(self.0, "notes", "Notes", "By id.")?
        } else {
            ResourceSpec::at(self.0, "note", "Note", "A note.")
        };
        spec.requires(READ.iter().copied())
    }

    async fn read(&self, call: ReadCall<'_>) -> ReadResourceResult {
        let body = ResourceBody::Text("a note".into());
        Ok(Outcome::Complete(vec![ResourceContents { uri: call.uri.to_owned(), mime_type: None, body }]))
    }

    async fn complete(&self, _: Context<'_>, _: &str, _: &str) -> Completion {
        Completion::default()
    }
}

struct Notes;

#[async_trait]
impl Prompt for Notes {
    fn spec(&self) -> Result<PromptSpec, domain::InvalidScope> {
        PromptSpec::new("notes", "Notes", "A prompt.").requires(READ.iter().copied())
    }

    async fn get(&self, _: PromptCall<'_>) -> GetPromptResult {
        Ok(Outcome::Complete(vec![Message { role: Role::User, content: "notes".to_owned().into() }]))
    }

    async fn complete(&self, _: Context<'_>, _: &str, _: &str) -> Completion {
        Completion::default()
    }
}

/// Everything that asks for `notes:read`, a tool that asks for another scope as well, and a hierarchy.
fn notes() -> Choices {
    Choices::new()
        .tool(Arc::new(RecordingTool::new("read_notes", READ, Behaviour::Answer)))
        .tool(Arc::new(RecordingTool::new("send_notes", &["notes:read", "mail:send"], Behaviour::Answer)))
        .resource(Arc::new(Note("note://one")))
        .resource(Arc::new(Note("note://by/{id}")))
        .prompt(Arc::new(Notes))
        .set("scopes.implies.notes:admin", vec!["notes:write"])
        .set("scopes.implies.notes:write", vec!["notes:read"])
}

fn grant(harness: &Harness, token: &str, scopes: &str) {
    harness.token(token, |claims| claims.scope = ScopeSet::granted_by(scopes.split_whitespace()));
}

async fn legacy(harness: &Harness, token: &str, method: &str, params: Value) -> Answer {
    harness.legacy(token, &json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})).await
}

/// What the first message of a subscription says that will be told.
async fn acknowledged(harness: &Harness, token: &str, uri: &str) -> String {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": {
        "notifications": {"resourceSubscriptions": [uri]},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    }});
    let body = body.to_string();
    let mut stream = harness.connect().await;
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nmcp-protocol-version: {MODERN}\r\n\
         mcp-method: subscriptions/listen\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut told = String::new();
    while !told.contains("subscriptionId") {
        let mut more = [0; 4096];
        let read = soon(stream.read(&mut more)).await.unwrap();
        assert_ne!(read, 0, "closed: {told}");
        told.push_str(&String::from_utf8_lossy(&more[..read]));
    }
    told
}

/// Every operation that asks for `notes:read`, each with whether the token was enough for it.
async fn permitted(harness: &Harness, token: &str) -> Vec<(String, bool)> {
    let mut outcomes = Vec::new();
    for (list, name) in [
        ("tools/list", "read_notes"),
        ("resources/list", "note://one"),
        ("resources/templates/list", "note://by/{id}"),
        ("prompts/list", "notes"),
    ] {
        let is_listed = |answer: Answer| {
            let text = String::from_utf8(answer.body.to_vec()).unwrap();
            text.contains(&format!("\"{name}\""))
        };
        outcomes.push((list.to_owned(), is_listed(legacy(harness, token, list, json!({})).await)));
        outcomes.push((format!("modern {list}"), is_listed(harness.modern(token, list, json!({})).await)));
    }
    let argument = json!({"name": "id", "value": ""});
    for (method, params) in [
        ("tools/call", json!({"name": "read_notes"})),
        ("resources/read", json!({"uri": "note://one"})),
        ("resources/read", json!({"uri": "note://by/7"})),
        ("prompts/get", json!({"name": "notes"})),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/prompt", "name": "notes"}, "argument": argument}),
        ),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/resource", "uri": "note://by/{id}"}, "argument": argument}),
        ),
    ] {
        let answers = [
            legacy(harness, token, method, params.clone()).await,
            harness.modern(token, method, params.clone()).await,
        ];
        for answer in answers {
            let denied = answer.header("www-authenticate").contains("insufficient_scope");
            assert_eq!((answer.status == 403, answer.status == 200), (denied, !denied), "{method} {params}");
            outcomes.push((format!("{method} {params}"), !denied));
        }
    }
    let subscribed = legacy(harness, token, "resources/subscribe", json!({"uri": "note://one"})).await;
    outcomes.push(("resources/subscribe".to_owned(), subscribed.json().get("result").is_some()));
    let listening = acknowledged(harness, token, "note://one").await;
    outcomes.push(("subscriptions/listen".to_owned(), listening.contains("note://one")));
    outcomes
}

#[tokio::test]
async fn a_broader_scope_permits_every_operation_that_the_narrower_one_permits_and_no_other_does() {
    let harness = notes().start().await;
    for (scopes, is_enough) in [
        ("notes:read", true),
        ("notes:write", true),
        ("notes:admin", true),
        ("", false),
        ("mail:send", false),
        ("notes:Admin notes notes: notes:administrator", false),
    ] {
        grant(&harness, "t", scopes);
        for (operation, was_permitted) in permitted(&harness, "t").await {
            assert_eq!(was_permitted, is_enough, "{operation} with {scopes:?}");
        }
    }
}

#[tokio::test]
async fn a_narrower_scope_does_not_permit_what_a_broader_one_does() {
    let harness = notes().set("tools.read_notes.scopes", vec!["notes:write"]).start().await;
    let call = json!({"name": "read_notes"});
    for (scopes, status) in [("notes:read", 403), ("notes:write", 200), ("notes:admin", 200)] {
        grant(&harness, "t", scopes);
        assert_eq!(legacy(&harness, "t", "tools/call", call.clone()).await.status, status, "{scopes}");
    }
}

#[tokio::test]
async fn whoami_tells_the_scopes_of_the_token_itself() {
    let harness = notes().start().await;
    grant(&harness, "t", "notes:admin tool:whoami");
    let answer = legacy(&harness, "t", "tools/call", json!({"name": "whoami"})).await.json();
    assert_eq!(answer["result"]["structuredContent"]["scopes"], json!(["notes:admin", "tool:whoami"]));
}

/// Settings with these scopes' table, for a reload of [`notes`].
fn settings(harness: &Harness, table: &str) -> Settings {
    let sources = Sources::defaults()
        .set("test", "auth0.issuer", ISSUER)
        .set("test", "auth0.audience", AUDIENCE)
        .set("test", "server.url", URL)
        .text("scopes.toml", table);
    Settings::load(sources, &harness.ports.offer.catalog().unwrap()).unwrap()
}

#[tokio::test]
async fn a_reload_changes_hierarchy_and_login_scopes_as_one() {
    let harness = notes().start().await;
    grant(&harness, "t", "notes:admin");
    let call = json!({"name": "read_notes"});
    assert_eq!(legacy(&harness, "t", "tools/call", call.clone()).await.status, 200);
    harness.reload(&settings(&harness, "[scopes]\nlogin = [\"tool:whoami\"]"));
    assert_eq!(legacy(&harness, "t", "tools/call", call.clone()).await.status, 403);
    assert_eq!(login(&harness).await.0, Some("tool:whoami".to_owned()));
    harness.reload(&settings(&harness, "[scopes.implies]\n\"notes:admin\" = [\"notes:read\"]"));
    assert_eq!(legacy(&harness, "t", "tools/call", call).await.status, 200);
}

// What a client that lacks scopes is told to ask for.

/// The scope of a 403, which the challenge and the body agree about.
#[track_caller]
fn asked_for(answer: &Answer) -> String {
    assert_eq!(answer.status, 403);
    let scope = answer.json()["scope"].as_str().unwrap().to_owned();
    let challenge = answer.header("www-authenticate");
    assert!(challenge.contains(&format!("\", scope=\"{scope}\", resource_metadata=")), "{challenge}");
    scope
}

#[tokio::test]
async fn legacy_clients_are_told_to_keep_what_they_have_and_modern_ones_what_the_operation_needs() {
    let harness = notes().set("scopes.login", vec!["tool:whoami"]).start().await;
    let call = json!({"name": "send_notes"});
    for (scopes, in_legacy) in [
        ("", "notes:read mail:send"),
        ("tool:whoami", "tool:whoami notes:read mail:send"),
        ("tool:whoami tool:greet notes:read", "tool:whoami tool:greet notes:read mail:send"),
        ("notes:read tool:greet", "notes:read tool:greet mail:send"),
        // A broader scope is kept, and the narrower one is not asked for besides.
        ("notes:admin", "notes:admin mail:send"),
        ("mail:send", "mail:send notes:read"),
        // What this server does not know is the client's own text as much as the tenant's.
        ("openid offline_access evil:scope tool:greet", "tool:greet notes:read mail:send"),
        ("TOOL:GREET tool:greet2 tool", "notes:read mail:send"),
    ] {
        grant(&harness, "t", scopes);
        let denied = legacy(&harness, "t", "tools/call", call.clone()).await;
        assert_eq!(asked_for(&denied), in_legacy, "{scopes:?}");
        let denied = harness.modern("t", "tools/call", call.clone()).await;
        assert_eq!(asked_for(&denied), "notes:read mail:send", "{scopes:?}");
    }
}

#[tokio::test]
async fn whatever_the_operation_legacy_clients_keep_what_they_have() {
    let harness = notes().start().await;
    let argument = json!({"name": "id", "value": ""});
    for (method, params) in [
        ("tools/call", json!({"name": "read_notes"})),
        ("resources/read", json!({"uri": "note://one"})),
        ("prompts/get", json!({"name": "notes"})),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/prompt", "name": "notes"}, "argument": argument}),
        ),
    ] {
        let denied = legacy(&harness, USER, method, params.clone()).await;
        assert_eq!(asked_for(&denied), "tool:whoami notes:read", "{method}");
        let denied = harness.modern(USER, method, params).await;
        assert_eq!(asked_for(&denied), "notes:read", "{method}");
    }
}

/// A client of the older revisions that asks for exactly what each challenge names ends with one token for everything.
#[tokio::test]
async fn a_client_that_asks_for_exactly_what_it_is_told_to_never_loses_a_scope() {
    let harness = notes().start().await;
    let mut scopes = "openid tool:whoami".to_owned();
    for tool in ["greet", "read_notes", "send_notes"] {
        grant(&harness, "t", &scopes);
        scopes = asked_for(&legacy(&harness, "t", "tools/call", json!({"name": tool})).await);
    }
    assert_eq!(scopes, "tool:whoami tool:greet notes:read mail:send");
    grant(&harness, "t", &scopes);
    for tool in ["whoami", "greet", "read_notes", "send_notes"] {
        assert_eq!(legacy(&harness, "t", "tools/call", json!({"name": tool})).await.status, 200, "{tool}");
    }
}

// What a first login asks for.

/// The challenge's scope, and what both metadata documents say is supported.
async fn login(harness: &Harness) -> (Option<String>, Option<Value>) {
    let refused = harness.send(harness.request("POST", "/mcp").body(Full::default()).unwrap()).await;
    assert_eq!(refused.status, 401);
    let challenge = refused.header("www-authenticate");
    let scope = challenge.strip_prefix("Bearer scope=\"").map(|rest| rest.split('"').next().unwrap());
    let end = format!("resource_metadata=\"{METADATA}\"");
    match scope {
        Some(scope) => assert_eq!(challenge, format!("Bearer scope=\"{scope}\", {end}")),
        None => assert_eq!(challenge, format!("Bearer {end}")),
    }
    let resource = harness.get("/.well-known/oauth-protected-resource/mcp").await.json();
    let server = harness.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(resource.get("scopes_supported"), server.get("scopes_supported"));
    (scope.map(str::to_owned), resource.get("scopes_supported").cloned())
}

#[tokio::test]
async fn a_first_login_asks_for_every_scope_that_something_asks_for_or_for_those_that_are_listed() {
    let every = "tool:greet tool:whoami notes:read mail:send";
    let harness = notes().start().await;
    let supported = json!(every.split(' ').collect::<Vec<_>>());
    assert_eq!(login(&harness).await, (Some(every.to_owned()), Some(supported)), "no broader one");
    for (listed, scope) in [
        (vec!["tool:whoami"], "tool:whoami"),
        (vec!["mail:send", "tool:whoami", "mail:send"], "mail:send tool:whoami"),
        (vec!["notes:admin"], "notes:admin"),
    ] {
        let harness = notes().set("scopes.login", listed).start().await;
        let supported = json!(scope.split(' ').collect::<Vec<_>>());
        assert_eq!(login(&harness).await, (Some(scope.to_owned()), Some(supported)));
        let expired = harness.send(harness.post("junk").body(Full::default()).unwrap()).await;
        assert!(expired.header("www-authenticate").contains(&format!("scope=\"{scope}\"")));
        assert_eq!(legacy(&harness, ADMIN, "tools/call", json!({"name": "greet"})).await.status, 200);
    }
    let none: Vec<String> = Vec::new();
    let harness = notes().set("scopes.login", none).start().await;
    assert_eq!(login(&harness).await, (None, None), "or else clients would ask for all");
}
