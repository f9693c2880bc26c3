//! Audit events: one for each decision, with what decided it, and nothing that a client sends.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use domain::{
    Auditor, Decision, Outcome, Prompt, PromptCall, PromptSpec, ReadCall, ReadResourceResult, Recording,
    Resource, ResourceSpec, ResourceSpecError, Untrusted, VerifyError, async_trait,
};
use fakes::{Behaviour, RecordingTool};
use fastmcp_auth0::Settings;
use futures_util::future;
use http_body_util::Full;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::binary::{command, run, text};
use crate::harness::{ADMIN, AUDIENCE, Choices, Harness, ISSUER, NOBODY, USER, soon};

/// A text that must be in no event.
const CANARY: &str = "canary-7f3a";

struct Note;

#[async_trait]
impl Resource for Note {
    fn spec(&self) -> Result<ResourceSpec, ResourceSpecError> {
        ResourceSpec::template("notes://{id}", "note", "Note", "By id.")?.requires(["tool:greet"])
    }

    async fn read(&self, _: ReadCall<'_>) -> ReadResourceResult {
        Ok(Outcome::Complete(Vec::new()))
    }
}

struct Draft;

#[async_trait]
impl Prompt for Draft {
    fn spec(&self) -> Result<PromptSpec, domain::InvalidScope> {
        PromptSpec::new("draft", "Draft", "A draft.").requires(["tool:greet"])
    }

    async fn get(&self, _: PromptCall<'_>) -> domain::GetPromptResult {
        Ok(Outcome::Complete(Vec::new()))
    }
}

/// A server that writes its events to a file before it answers, so that they are there with the answer.
struct Audited {
    harness: Harness,
    folder: TempDir,
}

impl Audited {
    async fn start(choices: Choices) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("audit.jsonl").display().to_string();
        let choices =
            choices.set("audit.to", "file").set("audit.file", file).set("audit.on_failure", "refuse");
        Self { harness: choices.start().await, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    /// The events since the last call.
    fn take(&self) -> Vec<Value> {
        let events = events(&self.file());
        std::fs::write(self.file(), "").unwrap();
        events
    }

    /// What was decided since the last call, in a short form.
    fn verdicts(&self) -> Vec<String> {
        let word = |event: &Value, name: &str| event[name].as_str().unwrap_or("-").to_owned();
        let names = ["verdict", "method", "target", "sub", "reason"];
        self.take().iter().map(|event| names.map(|name| word(event, name)).join(" ")).collect()
    }
}

fn events(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(!text.contains(CANARY), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn call(name: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": {"name": CANARY}}})
}

#[tokio::test]
async fn an_event_has_who_asked_for_what_and_what_decided() {
    let audited = Audited::start(Choices::new()).await;
    let harness = &audited.harness;
    harness.token("in-organization", |claims| claims.organization_id = Some("org_1".into()));
    let allowed = harness.legacy("in-organization", &call("greet")).await;
    assert_eq!(allowed.status, 200);
    let mut event = audited.take().remove(0);
    let policy = event["policy"].take();
    assert_eq!(policy.as_str().unwrap().len(), 16, "{policy}");
    let principal = fakes::claims(ISSUER, AUDIENCE, domain::UnixSeconds(0), "");
    let client = principal.client_id.or(principal.authorized_party).unwrap();
    assert_eq!(
        event,
        json!({
            "time": "2026-11-23T01:04:37.985Z",
            "request_id": allowed.header("x-request-id"),
            "verdict": "allow",
            "sub": principal.subject,
            "client_id": client,
            "iss": ISSUER,
            "org_id": "org_1",
            "audience": AUDIENCE,
            "method": "tools/call",
            "target": "greet",
            "scopes_needed": ["tool:greet"],
            "scopes_held": ["tool:greet", "tool:whoami"],
            "policy": null,
        })
    );

    let denied = harness.legacy(USER, &call("greet")).await;
    assert_eq!(denied.status, 403);
    let event = audited.take().remove(0);
    assert_eq!((&event["verdict"], &event["reason"]), (&json!("deny"), &json!("insufficient_scope")));
    assert_eq!(event["scopes_needed"], json!(["tool:greet"]));
    assert_eq!(event["scopes_missing"], json!(["tool:greet"]));
    assert_eq!(event["scopes_held"], json!(["tool:whoami"]));
    assert_eq!(event["policy"], policy);
}

#[tokio::test]
async fn every_decision_is_one_event() {
    let choices = Choices::new().resource(Arc::new(Note)).prompt(Arc::new(Draft));
    let audited = Audited::start(choices.set("tools.get_datetime.enabled", false)).await;
    let harness = &audited.harness;
    let rpc =
        |method: &str, params: Value| json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let note = format!("notes://{CANARY}");
    let reference = |kind: &str, key: &str, value: &str| json!({"ref": {"type": kind, key: value}, "argument": {"name": "id", "value": CANARY}});
    for (token, message, expected) in [
        (ADMIN, call("greet"), "allow tools/call greet SUB -"),
        (USER, call("greet"), "deny tools/call greet SUB insufficient_scope"),
        (ADMIN, call("get_datetime"), "deny tools/call - SUB unknown_tool"),
        (ADMIN, call(CANARY), "deny tools/call - SUB unknown_tool"),
        (ADMIN, rpc("resources/read", json!({"uri": note})), "allow resources/read notes://{id} SUB -"),
        (
            USER,
            rpc("resources/read", json!({"uri": note})),
            "deny resources/read notes://{id} SUB insufficient_scope",
        ),
        (ADMIN, rpc("resources/read", json!({"uri": CANARY})), "deny resources/read - SUB unknown_resource"),
        (ADMIN, rpc("prompts/get", json!({"name": "draft"})), "allow prompts/get draft SUB -"),
        (USER, rpc("prompts/get", json!({"name": "draft"})), "deny prompts/get draft SUB insufficient_scope"),
        (ADMIN, rpc("prompts/get", json!({"name": CANARY})), "deny prompts/get - SUB unknown_prompt"),
        (
            ADMIN,
            rpc("completion/complete", reference("ref/prompt", "name", "draft")),
            "allow completion/complete draft SUB -",
        ),
        (
            USER,
            rpc("completion/complete", reference("ref/resource", "uri", "notes://{id}")),
            "deny completion/complete notes://{id} SUB insufficient_scope",
        ),
        (
            ADMIN,
            rpc("completion/complete", reference("ref/prompt", "name", CANARY)),
            "deny completion/complete - SUB unknown_prompt",
        ),
    ] {
        harness.legacy(token, &message).await;
        let subject = fakes::claims(ISSUER, AUDIENCE, domain::UnixSeconds(0), "").subject;
        assert_eq!(audited.verdicts(), [expected.replace("SUB", &subject)], "{message}");
    }
    // Lists are filtered, and what asks for nothing that has scopes is no decision.
    for method in ["tools/list", "resources/list", "prompts/list", "ping"] {
        harness.legacy(NOBODY, &rpc(method, json!({}))).await;
        assert_eq!(audited.verdicts(), [""; 0], "{method}");
    }
}

#[tokio::test]
async fn every_part_of_a_batch_is_a_decision() {
    let audited = Audited::start(Choices::new()).await;
    let batch = json!([call("whoami"), call("greet"), call(CANARY)]).to_string();
    let request = audited.harness.post(USER).header("mcp-protocol-version", "2025-03-26");
    audited.harness.send(request.body(batch.into()).unwrap()).await;
    let events = audited.take();
    let verdicts: Vec<_> = events.iter().map(|event| (&event["verdict"], &event["reason"])).collect();
    let (allow, deny) = (&json!("allow"), &json!("deny"));
    let expected =
        [(allow, &Value::Null), (deny, &json!("insufficient_scope")), (deny, &json!("unknown_tool"))];
    assert_eq!(verdicts, expected);
    assert!(events.iter().all(|event| event["request_id"] == events[0]["request_id"]));
}

#[tokio::test]
async fn who_asks_too_often_is_an_event_with_what_was_asked() {
    let audited = Audited::start(Choices::new().set("quota.subject", "1/hour")).await;
    let subject = fakes::claims(ISSUER, AUDIENCE, domain::UnixSeconds(0), "").subject;
    let harness = &audited.harness;
    assert_eq!(harness.legacy(ADMIN, &call("greet")).await.status, 200);
    audited.take();
    let made_up = json!({"jsonrpc": "2.0", "id": 1, "method": CANARY});
    for (message, asked) in [
        (call("greet"), "tools/call greet"),
        (call(CANARY), "tools/call -"),
        (json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}), "ping -"),
        (made_up, "- -"),
    ] {
        let refused = harness.legacy(ADMIN, &message).await;
        assert_eq!(refused.status, 429);
        assert_eq!(audited.verdicts(), [format!("deny {asked} {subject} rate_exceeded")]);
    }
}

#[tokio::test]
async fn who_is_not_authenticated_is_an_event_without_a_who() {
    let audited = Audited::start(Choices::new()).await;
    let harness = &audited.harness;
    harness.refuse("opaque", Untrusted::Opaque);
    harness.refuse("later", VerifyError::KeysUnavailable { retry_after: Duration::from_secs(1) });
    harness.token("expired", |claims| claims.expires_at = domain::UnixSeconds(0));
    harness.token("foreign", |claims| claims.audience = vec![CANARY.into()]);
    for (token, status, reason) in [
        (CANARY, 401, "bad_signature"),
        ("opaque", 401, "opaque_token"),
        ("expired", 401, "expired"),
        ("foreign", 401, "wrong_audience"),
        ("later", 503, "keys_unavailable"),
    ] {
        let refused = harness.legacy(token, &call("greet")).await;
        assert_eq!(refused.status, status);
        let mut event = audited.take().remove(0);
        event["policy"].take();
        let expected = json!({
            "time": "2026-11-23T01:04:37.985Z", "request_id": refused.header("x-request-id"), "verdict": "deny",
            "reason": reason, "audience": AUDIENCE, "policy": null,
        });
        assert_eq!(event, expected);
    }
    harness.get("/mcp").await;
    let twice = harness.post(ADMIN).header("authorization", "Bearer x");
    harness.send(twice.body(Full::default()).unwrap()).await;
    assert_eq!(audited.verdicts(), ["deny - - - no_token", "deny - - - bad_authorization"]);
}

#[tokio::test]
async fn a_subscription_is_a_decision() {
    let audited = Audited::start(Choices::new()).await;
    let params = json!({"notifications": {"toolsListChanged": true}});
    audited.harness.token("short", |_| {});
    let listening = audited.harness.modern("short", "subscriptions/listen", params);
    tokio::pin!(listening);
    // It ends with the server.
    let file = audited.file();
    let written = async {
        while std::fs::read_to_string(&file).unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = &mut listening => panic!("it ended"),
        () = soon(written) => {}
    }
    let events = events(&file);
    assert_eq!(events.len(), 1);
    assert_eq!(
        (&events[0]["verdict"], &events[0]["method"]),
        (&json!("allow"), &json!("subscriptions/listen"))
    );
}

#[tokio::test]
async fn what_cannot_be_accounted_for_is_refused_or_goes_on_by_choice() {
    for (on_failure, status, runs) in [("refuse", 503, 0), ("count", 200, 1)] {
        let tool = Arc::new(RecordingTool::new("tool", &[], Behaviour::Answer));
        let choices = Choices::new().tool(Arc::clone(&tool) as _).set("admin.bind", "127.0.0.1:0");
        let choices = choices.set("audit.to", "file").set("audit.file", "/dev/full");
        let harness = choices.set("audit.on_failure", on_failure).start().await;
        let mut message = call("tool");
        message["params"]["arguments"] = json!({});
        let answer = harness.legacy(ADMIN, &message).await;
        assert_eq!(answer.status, status, "{on_failure}");
        assert_eq!(tool.calls().len(), runs, "{on_failure}");
        if on_failure == "refuse" {
            assert_eq!((answer.header("retry-after"), answer.code()), ("1", 503));
        }
        // What is refused anyway stays so.
        assert_eq!(harness.legacy(USER, &call("greet")).await.status, 403, "{on_failure}");
        assert_eq!(harness.legacy("unknown", &call("greet")).await.status, 401, "{on_failure}");
        harness.ports.audit_log.as_ref().unwrap().flush();
        let metrics = harness.ports.metrics.as_ref().unwrap();
        let text = metrics.render(prometheus_metrics::Sample::default(), prometheus_metrics::Format::Text);
        assert!(text.contains("\nfastmcp_auth0_audit_events_lost_total 3\n"), "{text}");
    }
}

#[tokio::test]
async fn nothing_that_is_a_decision_is_done_without_its_event() {
    let choices = Choices::new().resource(Arc::new(Note)).prompt(Arc::new(Draft)).set("audit.to", "file");
    let harness = choices.set("audit.file", "/dev/full").set("audit.on_failure", "refuse").start().await;
    let reference = json!({"type": "ref/prompt", "name": "draft"});
    let argument = json!({"name": "id", "value": ""});
    for (method, params) in [
        ("tools/call", json!({"name": "greet", "arguments": {"name": "Ada"}})),
        ("resources/read", json!({"uri": "notes://1"})),
        ("prompts/get", json!({"name": "draft"})),
        ("completion/complete", json!({"ref": reference, "argument": argument})),
        ("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}})),
    ] {
        let refused = harness.modern(ADMIN, method, params).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (503, 503), "{method}");
        assert_eq!(refused.header("retry-after"), "1", "{method}");
    }
}

/// Never done, or off.
struct Stuck {
    is_on: bool,
}

impl Auditor for Stuck {
    fn is_on(&self) -> bool {
        self.is_on
    }

    fn record(&self, _: &Decision<'_>) -> Recording {
        assert!(self.is_on, "it is off");
        Recording::Waits(Box::pin(future::pending()))
    }
}

#[tokio::test]
async fn nobody_waits_for_an_event_longer_than_5_s_and_one_that_is_off_is_not_asked() {
    let with = |is_on| Choices::new().ports_with(move |ports| ports.auditor = Arc::new(Stuck { is_on }));
    let harness = with(true).start().await;
    let message = call("whoami");
    let waiting = harness.legacy(ADMIN, &message);
    let advance = async {
        harness.sleeping_until(Duration::from_secs(5)).await;
        harness.clock.advance(Duration::from_secs(5));
    };
    let (refused, ()) = future::join(waiting, advance).await;
    assert_eq!(refused.status, 503);

    let harness = with(false).set("quota.subject", "2/hour").start().await;
    assert_eq!(harness.legacy(ADMIN, &message).await.status, 200);
    assert_eq!(harness.legacy(USER, &call("greet")).await.status, 403);
    assert_eq!(harness.legacy(USER, &message).await.status, 429);
    assert_eq!(harness.legacy("unknown", &message).await.status, 401);
}

#[tokio::test]
async fn the_policys_version_is_that_of_the_rules() {
    let version = |choices: Choices| {
        let (ports, settings): (_, Settings) = choices.ports_and_settings().unwrap();
        fastmcp_auth0::wiring::service(&settings, ports).unwrap().policy_version.to_string()
    };
    let first = version(Choices::new());
    assert_eq!(version(Choices::new()), first);
    assert_eq!(version(Choices::new().set("limits.tool_seconds", 7)), first);
    let mut seen = vec![first];
    for choices in [
        Choices::new().set("tools.greet.scopes", vec!["tool:hello"]),
        Choices::new().set("tools.greet.scopes", vec!["tool:hello", "tool:more"]),
        Choices::new().set("tools.greet.enabled", false),
        Choices::new().set("tokens.authority", "both"),
        Choices::new().set("tokens.leeway_seconds", 31),
        Choices::new().set("auth0.audience", "https://other.example.com"),
        Choices::new().set("auth0.additional_audiences", vec!["https://other.example.com"]),
        Choices::new().set("scopes.implies.admin", vec!["tool:greet"]),
        Choices::new().resource(Arc::new(Note)),
        Choices::new().prompt(Arc::new(Draft)),
    ] {
        let version = version(choices);
        assert!(!seen.contains(&version), "{version} of {}", seen.len());
        seen.push(version);
    }
    let one = Choices::new().set("tools.greet.scopes", vec!["tool:more", "tool:hello"]);
    assert_eq!(version(one), seen[2], "the order is no rule");
}

#[tokio::test]
async fn a_request_id_that_is_well_formed_is_kept() {
    let audited = Audited::start(Choices::new()).await;
    let harness = &audited.harness;
    let ask = async |ids: &[&str]| {
        let request = harness.post(ADMIN).header("mcp-protocol-version", "2025-11-25");
        let request = ids.iter().fold(request, |request, id| request.header("x-request-id", *id));
        let answer = harness.send(request.body(call("whoami").to_string().into()).unwrap()).await;
        let id = answer.header("x-request-id").to_owned();
        assert_eq!(audited.take()[0]["request_id"], id);
        id
    };
    assert_eq!(ask(&["0af7-1.B_c"]).await, "0af7-1.B_c");
    let long = "x".repeat(65);
    for bad in [&["a b"][..], &["a\"b"], &[&long], &["a", "a"], &[""]] {
        let id = ask(bad).await;
        assert!(!bad.contains(&id.as_str()) && id.len() > 8, "{bad:?}: {id}");
    }
}

#[test]
fn a_hangup_opens_the_file_anew_and_the_end_writes_what_is_left() {
    let folder = TempDir::new().unwrap();
    let (file, rotated) = (folder.path().join("audit.jsonl"), folder.path().join("audit.1"));
    let environment = [
        ("AUTH0_ISSUER", "http://127.0.0.1:9/"),
        ("AUTH0_AUDIENCE", AUDIENCE),
        ("PORT", "0"),
        ("FASTMCP__AUDIT__TO", "file"),
        ("FASTMCP__AUDIT__FILE", file.to_str().unwrap()),
        ("FASTMCP__LOG__FORMAT", "json"),
    ];
    let mut serve = command(&["serve"], &environment).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(serve.stderr.take().unwrap()).lines();
    let mut line_with = |wanted: &str| {
        let line = lines.find(|line| line.as_ref().unwrap().contains(wanted)).unwrap().unwrap();
        serde_json::from_str::<Value>(&line).unwrap()
    };
    let address = line_with("listening")["address"].as_str().unwrap().to_owned();
    let port = address.rsplit(':').next().unwrap().to_owned();
    let refused = || crate::binary::shell(&format!("curl -s http://127.0.0.1:{port}/mcp"));
    refused();
    std::fs::rename(&file, &rotated).unwrap();
    let signal = |name: &str| {
        let sent = std::process::Command::new("kill").args([name, &serve.id().to_string()]).status();
        assert!(sent.unwrap().success());
    };
    signal("-HUP");
    line_with("was read again");
    refused();
    signal("-TERM");
    assert_eq!(serve.wait().unwrap().code(), Some(0));
    for file in [&file, &rotated] {
        let events = events(file);
        assert_eq!(events.len(), 1, "{}", file.display());
        assert_eq!(events[0]["reason"], "no_token");
    }
}

#[test]
fn a_file_that_cannot_be_opened_stops_the_start_and_check_shows_the_section() {
    let environment = [
        ("AUTH0_ISSUER", "http://127.0.0.1:9/"),
        ("AUTH0_AUDIENCE", AUDIENCE),
        ("PORT", "0"),
        ("FASTMCP__AUDIT__TO", "file"),
        ("FASTMCP__AUDIT__FILE", "/no/such/folder/audit.jsonl"),
    ];
    let output = run(&["serve"], &environment);
    assert!(!output.status.success());
    let said = text(&output.stderr);
    assert!(said.contains("/no/such/folder/audit.jsonl"), "{said}");
    let shown = text(&run(&["check"], &environment).stdout);
    assert!(shown.contains("audit.file = \"/no/such/folder/audit.jsonl\""), "{shown}");
    assert!(shown.contains("audit.on_failure = \"count\"") && shown.contains("\npolicy version "), "{shown}");
    let said = text(&run(&["check"], &environment[..4]).stderr);
    assert!(said.contains("audit.file") && said.contains("name the file"), "{said}");
}
