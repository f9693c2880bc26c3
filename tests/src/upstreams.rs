//! Other MCP servers behind this one: what is offered of them to whom, what passes through unchanged, and what ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::{Provider, ScopeSet};
use fakes::ManualClock;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use upstream_mcp::options::{CallerIdentity, Child, Connect, Era, Limits, Options, Secret};
use upstream_mcp::rules::{Pattern, Rules, ToolRule};
use upstream_mcp::{ReportedDecision, Upstream};

use crate::harness::{Answer, Choices, Harness, NOW, soon};
use crate::streams::Stream;

const ALL: &str = "all-token";
const READER: &str = "reader-token";
const OTHER: &str = "other-token";

pub fn scopes(text: &str) -> ScopeSet {
    ScopeSet::parse_all(text.split_whitespace()).unwrap()
}

fn rules() -> Rules {
    Rules {
        read: Some(scopes("up:read")),
        write: Some(scopes("up:write")),
        destructive: Some(scopes("up:destroy")),
        resources: Some(scopes("up:read")),
        prompts: Some(scopes("up:read")),
        ..Rules::default()
    }
}

pub fn options(arguments: &[&str]) -> Options {
    let child = Child {
        program: env!("CARGO_BIN_EXE_upstream-server").into(),
        arguments: arguments.iter().map(Into::into).collect(),
        environment: [("NAMED".into(), "value".into())].into(),
        folder: None,
    };
    Options {
        name: "up".into(),
        connect: Connect::Child(child),
        era: Era::Any,
        prefix: String::new(),
        rules: rules(),
        caller: CallerIdentity::None,
        downstream: None,
        limits: Limits::default(),
    }
}

/// A server with this upstream, and the upstream with its clock.
struct Gateway {
    harness: Harness,
    upstream: Upstream,
    clock: Arc<ManualClock>,
}

impl Gateway {
    async fn start(options: Options) -> Self {
        let clock = Arc::new(ManualClock::at(NOW));
        let upstream = Upstream::start(options, Arc::clone(&clock) as _);
        soon(upstream.first_lists()).await.unwrap();
        let harness = Choices::new().provider(Arc::new(upstream.clone())).start().await;
        for (token, subject, held) in [
            (ALL, "auth0|all", "up:read up:write up:destroy"),
            (READER, "auth0|reader", "up:read"),
            (OTHER, "auth0|other", "up:read"),
        ] {
            harness.token(token, |claims| {
                claims.subject = subject.into();
                claims.scope = scopes(held);
            });
        }
        Self { harness, upstream, clock }
    }

    async fn legacy(&self, token: &str, method: &str, params: Value) -> Answer {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.harness.legacy(token, &message).await
    }

    async fn call(&self, token: &str, tool: &str, arguments: Value) -> Value {
        self.legacy(token, "tools/call", json!({"name": tool, "arguments": arguments})).await.json()
    }

    async fn stream(&self, token: &str, tool: &str) -> Stream {
        let params = json!({"name": tool, "arguments": {}, "_meta": {"progressToken": "mine"}});
        let body = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": params});
        // Without `_meta` of the modern era it is a legacy call.
        let body = body.to_string();
        Stream::open_legacy(&self.harness, token, &body).await
    }
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

fn both() -> [Options; 2] {
    [options(&[]), options(&["modern"])]
}

#[tokio::test]
async fn tools_have_the_scopes_of_their_rules_and_what_no_rule_covers_is_not_offered() {
    for options in both() {
        let mut options = options;
        options.prefix = "up_".into();
        options.rules.destructive = None;
        options.rules.write = None;
        options.rules.tools = vec![
            (Pattern::new("wipe"), ToolRule { scopes: Some(scopes("up:destroy")), ..ToolRule::default() }),
            (Pattern::new("environment"), ToolRule { hidden: Some(true), ..ToolRule::default() }),
            (Pattern::new("meta"), ToolRule { name: Some("said".into()), ..ToolRule::default() }),
        ];
        let gateway = Gateway::start(options).await;
        let list = gateway.legacy(ALL, "tools/list", json!({})).await.json();
        let names: Vec<&str> = list["result"]["tools"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|tool| tool["name"].as_str())
            .collect();
        assert!(
            names.contains(&"up_echo") && names.contains(&"up_wipe") && names.contains(&"up_said"),
            "{names:?}"
        );
        for absent in
            ["up_write", "up_environment", "up_meta", "up_bad name", "up_schemaless", "up_deep", "echo"]
        {
            assert!(!names.contains(&absent), "{absent}");
            let refused = gateway.call(ALL, absent, json!({})).await;
            assert_eq!(refused["error"]["code"], -32602, "{absent}: {refused}");
        }
        let refused = gateway.legacy(READER, "tools/call", json!({"name": "up_wipe"})).await;
        assert_eq!(refused.status, 403);
        let challenge = refused.header("www-authenticate");
        assert!(
            challenge.contains(r#"error="insufficient_scope""#) && challenge.contains("up:destroy"),
            "{challenge}"
        );

        let report = gateway.upstream.report();
        let decision = |name: &str| {
            report
                .tools
                .iter()
                .find(|tool| tool.upstream_name == name)
                .map(|tool| tool.decision.clone())
                .unwrap()
        };
        assert_eq!(decision("wipe"), ReportedDecision::Offered);
        assert_eq!(decision("write"), ReportedDecision::Uncovered);
        assert_eq!(decision("environment"), ReportedDecision::Hidden);
        assert!(matches!(decision("bad name"), ReportedDecision::Unusable(_)));
        assert!(
            matches!(decision("deep"), ReportedDecision::Unusable(reason) if reason.contains("too deeply"))
        );
        assert_eq!(report.server.as_deref(), Some("upstream-server 1.2.3"));
    }
}

#[tokio::test]
async fn definitions_and_results_pass_as_they_were_written() {
    for options in both() {
        let gateway = Gateway::start(options).await;
        let list = gateway.legacy(READER, "tools/list", json!({})).await;
        let listed = String::from_utf8(list.body.to_vec()).unwrap();
        for kept in [
            r#""annotations":{"readOnlyHint":true,"x-weight":1.10}"#,
            r#""x-unknown":{"b":1,"a":[1e2]}"#,
            r#""_meta":{"example.com/one":1}"#,
        ] {
            assert!(listed.contains(kept), "{kept}: {listed}");
        }
        let call = json!({"name": "echo", "arguments": {"text": "hi"}});
        let kept = [
            r#""content":[{"type":"text","text":"hi","annotations":{"priority":0.9,"x-future":true}},{"type":"image","data":"AAECAw==","mimeType":"image/png"},{"type":"x-future","value":1.10}]"#,
            r#""structuredContent":{"z":1,"a":123456789012345678901234567890}"#,
            r#""x-unknown":[1.0]"#,
            r#""example.com/two":2"#,
        ];
        let legacy = gateway.legacy(READER, "tools/call", call.clone()).await;
        let modern = gateway.harness.modern(READER, "tools/call", call).await;
        for (answer, has_type) in [(legacy, false), (modern, true)] {
            let body = String::from_utf8(answer.body.to_vec()).unwrap();
            for kept in kept {
                assert!(body.contains(kept), "{kept}: {body}");
            }
            assert_eq!(body.contains(r#""resultType":"complete""#), has_type, "{body}");
        }
    }
}

#[tokio::test]
async fn resources_templates_prompts_and_completion_pass() {
    for options in both() {
        let gateway = Gateway::start(options).await;
        let resources = gateway.legacy(READER, "resources/list", json!({})).await;
        assert!(String::from_utf8_lossy(&resources.body).contains(r#""x-unknown":1.10"#));
        for (uri, is_there) in [
            ("demo://one", true),
            ("demo://items/7", true),
            ("demo://files/a/b", true),
            ("demo://items/missing", false),
            ("other://one", false),
        ] {
            let answer = gateway.harness.modern(READER, "resources/read", json!({"uri": uri})).await.json();
            assert_eq!(answer["result"]["contents"][0]["text"] == format!("at {uri}"), is_there, "{answer}");
            if is_there {
                assert_eq!(answer["result"]["cacheScope"], "private", "it is one caller's");
                assert_eq!(answer["result"]["ttlMs"], 7);
            }
        }
        let legacy = gateway.legacy(READER, "resources/read", json!({"uri": "demo://one"})).await.json();
        let members: Vec<&String> = legacy["result"].as_object().unwrap().keys().collect();
        assert_eq!(members, ["contents"], "the others are of another era");
        let prompt = json!({"name": "poem", "arguments": {"about": "rust"}});
        let prompt = gateway.legacy(READER, "prompts/get", prompt).await.json();
        assert_eq!(prompt["result"]["messages"][0]["content"]["text"], "rust");
        assert_eq!(prompt["result"]["messages"][0]["x"], 1);
        let complete = json!({"ref": {"type": "ref/prompt", "name": "poem"}, "argument": {"name": "about", "value": "a"}});
        let complete = gateway.legacy(READER, "completion/complete", complete).await.json();
        assert_eq!(complete["result"]["completion"]["values"], json!(["a!"]));
        let context = json!({"arguments": {"by": "-ada", "number": 1}});
        let complete = json!({
            "ref": {"type": "ref/prompt", "name": "poem"}, "argument": {"name": "about", "value": "a"}, "context": context,
        });
        let complete = gateway.legacy(READER, "completion/complete", complete).await.json();
        assert_eq!(complete["result"]["completion"]["values"], json!(["a-ada"]));
        let nobody =
            gateway.legacy(crate::harness::NOBODY, "resources/read", json!({"uri": "demo://one"})).await;
        assert_eq!(nobody.status, 403);
    }
}

#[tokio::test]
async fn resources_and_prompts_that_no_rule_covers_are_not_offered() {
    let mut uncovered = options(&[]);
    (uncovered.rules.resources, uncovered.rules.prompts) = (None, None);
    let gateway = Gateway::start(uncovered).await;
    for (method, params) in [
        ("resources/read", json!({"uri": "demo://one"})),
        ("resources/read", json!({"uri": "demo://items/7"})),
        ("prompts/get", json!({"name": "poem", "arguments": {"about": "rust"}})),
    ] {
        let answer = gateway.legacy(ALL, method, params).await.json();
        assert!(answer["error"].is_object(), "{answer}");
    }
}

#[tokio::test]
async fn a_child_has_the_environment_that_is_named_and_the_caller_only_where_it_is_told() {
    let gateway = Gateway::start(options(&[])).await;
    assert_eq!(text(&gateway.call(READER, "environment", json!({})).await), "NAMED=value");
    let meta: Value = serde_json::from_str(text(&gateway.call(READER, "meta", json!({})).await)).unwrap();
    assert_eq!(meta.as_object().unwrap().keys().collect::<Vec<_>>(), ["progressToken"]);

    let secret = "0123456789abcdef0123456789abcdef";
    let mut told = options(&[]);
    told.caller = CallerIdentity::Jwt(Secret::new(secret).unwrap());
    let gateway = Gateway::start(told).await;
    let meta: Value = serde_json::from_str(text(&gateway.call(READER, "meta", json!({})).await)).unwrap();
    let jwt = meta["fastmcp-auth0/caller"]["jwt"].as_str().unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
    validation.set_audience(&["up"]);
    validation.validate_exp = false;
    let key = jsonwebtoken::DecodingKey::from_secret(secret.as_bytes());
    let claims = jsonwebtoken::decode::<Value>(jwt, &key, &validation).unwrap().claims;
    let expected = json!({
        "iss": crate::harness::AUDIENCE, "aud": "up", "sub": "auth0|reader", "scope": "up:read",
        "client_id": claims["client_id"], "iat": NOW.0 / 1000, "exp": NOW.0 / 1000 + 60,
    });
    assert_eq!(claims, expected);
    assert!(!meta.to_string().contains(READER), "the caller's own token stays here");

    let mut told = options(&[]);
    told.caller = CallerIdentity::Fields(Secret::new(secret).unwrap());
    let gateway = Gateway::start(told).await;
    let meta: Value = serde_json::from_str(text(&gateway.call(READER, "meta", json!({})).await)).unwrap();
    let caller = &meta["fastmcp-auth0/caller"];
    assert_eq!((&caller["secret"], &caller["subject"]), (&json!(secret), &json!("auth0|reader")));
}

#[tokio::test]
async fn progress_and_log_messages_reach_the_call_that_they_belong_to() {
    for options in both() {
        let gateway = Gateway::start(options).await;
        let mut stream = gateway.stream(READER, "progress").await;
        for step in [1.0, 2.0] {
            let message = stream.message(usize::from(step > 1.0)).await;
            assert_eq!(message["params"]["progressToken"], "mine", "{message}");
            assert_eq!(message["params"]["progress"], step, "{message}");
        }
        assert_eq!(text(&stream.message(2).await), "done");
        let mut stream = gateway.stream(READER, "log").await;
        let message = stream.message(0).await;
        assert_eq!(
            message["params"],
            json!({"level": "error", "logger": "l", "data": {"x": 1}}),
            "{message}"
        );
        assert_eq!(text(&stream.message(1).await), "logged");
    }
}

#[tokio::test]
async fn what_is_sent_while_two_calls_are_under_way_goes_to_neither_unless_it_says_whose_it_is() {
    let gateway = Gateway::start(options(&[])).await;
    let mut waiting = gateway.stream(READER, "wait").await;
    // It is the only one under way, so its message is its own.
    assert_eq!(waiting.message(0).await["params"]["data"], "waiting");
    // One JSON document is an answer without messages.
    let answer = gateway.call(OTHER, "log", json!({})).await;
    assert_eq!(text(&answer), "logged", "the log message is nobody's for certain");
    let refused = gateway.call(OTHER, "ask", json!({})).await;
    assert!(text(&refused).contains("belongs to no call, or to several"), "{refused}");
    assert_eq!(text(&gateway.call(OTHER, "foreign", json!({})).await), "done");
}

#[tokio::test]
async fn input_that_a_legacy_upstream_requests_reaches_clients_of_both_eras() {
    let gateway = Gateway::start(options(&[])).await;
    let mut stream = gateway.stream(READER, "ask").await;
    let asked = stream.message(0).await;
    assert_eq!(asked["method"], "elicitation/create", "{asked}");
    stream.until(r#""x-unknown":1.10"#).await;
    let response = json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "accept", "content": {"name": "Ann"}}});
    assert_eq!(gateway.harness.legacy(READER, &response).await.status, 202);
    let done: Value = serde_json::from_str(text(&stream.message(1).await)).unwrap();
    assert_eq!(done, json!({"action": "accept", "content": {"name": "Ann"}}));

    let call = json!({"name": "ask", "arguments": {}});
    let required = gateway.harness.modern(READER, "tools/call", call.clone()).await.json();
    assert_eq!(required["result"]["resultType"], "input_required", "{required}");
    let (name, request) = required["result"]["inputRequests"].as_object().unwrap().iter().next().unwrap();
    assert_eq!(request["params"]["message"], "Who?");
    let mut again = call.clone();
    again["requestState"] = required["result"]["requestState"].clone();
    again["inputResponses"] = json!({name: {"action": "decline"}});
    let stolen = gateway.harness.modern(OTHER, "tools/call", again.clone()).await.json();
    assert_eq!(stolen["error"]["code"], -32602, "the state is its caller's: {stolen}");
    let done = gateway.harness.modern(READER, "tools/call", again.clone()).await.json();
    assert_eq!(text(&done), r#"{"action":"decline"}"#);
    let twice = gateway.harness.modern(READER, "tools/call", again).await.json();
    assert_eq!(twice["result"]["isError"], true, "{twice}");
    assert!(text(&twice).contains("no longer there"), "{twice}");

    // Without the capability it is refused, and the tool says so itself.
    let sample =
        gateway.harness.modern(READER, "tools/call", json!({"name": "sample", "arguments": {}})).await.json();
    assert!(text(&sample).contains("can't answer this"), "{sample}");
}

#[tokio::test]
async fn input_that_a_modern_upstream_requests_reaches_clients_of_both_eras() {
    let gateway = Gateway::start(options(&["modern"])).await;
    let call = json!({"name": "ask", "arguments": {}});
    let required = gateway.harness.modern(READER, "tools/call", call.clone()).await.json();
    assert_eq!(required["result"]["inputRequests"]["who"]["params"]["message"], "Who?", "{required}");
    let mut again = call;
    again["requestState"] = required["result"]["requestState"].clone();
    assert!(!again["requestState"].as_str().unwrap().contains("state-1"), "it is sealed");
    again["inputResponses"] = json!({"who": {"action": "cancel"}});
    let done = gateway.harness.modern(READER, "tools/call", again).await.json();
    assert_eq!(text(&done), r#"{"response":{"action":"cancel"},"state":"state-1"}"#);

    let mut stream = gateway.stream(READER, "ask").await;
    let asked = stream.message(0).await;
    let response = json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "decline"}});
    assert_eq!(gateway.harness.legacy(READER, &response).await.status, 202);
    assert_eq!(text(&stream.message(1).await), r#"{"response":{"action":"decline"},"state":"state-1"}"#);
}

#[tokio::test]
async fn a_call_that_waits_for_input_ends_when_its_time_is_up_and_no_subject_has_all_places() {
    let mut few = options(&[]);
    few.limits.parked_calls = 4;
    let gateway = Gateway::start(few).await;
    let call = json!({"name": "ask", "arguments": {}});
    let required = gateway.harness.modern(READER, "tools/call", call.clone()).await.json();
    let second = gateway.harness.modern(READER, "tools/call", call.clone()).await.json();
    // Two are under way now: whose the second request is can't be told. So it is refused, either way.
    assert!(text(&second).contains("several") || text(&second).contains("can't answer"), "{second}");
    soon(gateway.clock.sleeping_until(Duration::from_mins(5))).await;
    gateway.clock.advance(Duration::from_mins(5));
    let (name, _) = required["result"]["inputRequests"].as_object().unwrap().iter().next().unwrap();
    let mut again = call;
    again["requestState"] = required["result"]["requestState"].clone();
    again["inputResponses"] = json!({name: {"action": "decline"}});
    let gone = gateway.harness.modern(READER, "tools/call", again).await.json();
    assert!(text(&gone).contains("no longer there"), "{gone}");
}

#[tokio::test]
async fn errors_of_the_protocol_pass_and_what_is_no_result_is_one() {
    let gateway = Gateway::start(options(&[])).await;
    let refused = gateway.call(READER, "refuse", json!({})).await;
    let expected = json!({"code": -32042, "message": "go there first", "data": {"elicitations": [{"url": "https://example.com"}]}});
    assert_eq!(refused["error"], expected);
    for result in [json!("text"), json!(7), json!([1]), json!(null), json!({}), json!({"content": "text"})] {
        let answer = gateway.call(READER, "malformed", json!({"result": result})).await;
        let is_error = answer["result"]["isError"] == true || answer["error"].is_object();
        assert!(is_error, "{result}: {answer}");
    }
    assert_eq!(text(&gateway.call(READER, "garbage", json!({})).await), "done");
    assert_eq!(text(&gateway.call(READER, "echo", json!({"text": "still there"})).await), "still there");
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_an_error_and_the_connection_goes_on() {
    let mut small = options(&[]);
    small.limits.message_bytes = 100_000;
    let gateway = Gateway::start(small).await;
    let answer = gateway.call(READER, "big", json!({"bytes": 1000})).await;
    assert_eq!(text(&answer).len(), 1000);
    let answer = soon(gateway.call(READER, "big", json!({"bytes": 1_000_000}))).await;
    assert!(answer["result"]["isError"] == true || answer["error"].is_object(), "{answer}");
    assert_eq!(text(&gateway.call(READER, "echo", json!({"text": "on"})).await), "on");
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_its_call_and_no_other() {
    let gateway = Gateway::start(options(&[])).await;
    let mut waiting = gateway.stream(READER, "wait").await;
    waiting.message(0).await;
    drop(waiting);
    loop {
        let cancelled = text(&gateway.call(READER, "cancelled", json!({})).await).to_owned();
        if cancelled != "[]" {
            assert_eq!(cancelled.matches(',').count(), 0, "one call: {cancelled}");
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_call_that_takes_too_long_ends_with_an_error_and_is_cancelled() {
    let mut quick = options(&[]);
    quick.limits.call = Duration::from_secs(7);
    let gateway = Gateway::start(quick).await;
    let mut call = gateway.stream(READER, "wait").await;
    call.message(0).await;
    soon(gateway.clock.sleeping_until(Duration::from_secs(7))).await;
    gateway.clock.advance(Duration::from_secs(7));
    let answer = call.message(1).await;
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert!(text(&answer).contains("did not answer within 7 s"), "{answer}");
}

#[tokio::test]
async fn a_child_that_dies_fails_the_calls_under_way_and_is_started_again() {
    let gateway = Gateway::start(options(&[])).await;
    let mut waiting = gateway.stream(READER, "wait").await;
    waiting.message(0).await;
    let crashed = gateway.call(READER, "crash", json!({})).await;
    assert_eq!(crashed["result"]["isError"], true, "{crashed}");
    assert!(text(&crashed).contains("may have had effect"), "{crashed}");
    let lost = waiting.message(1).await;
    assert!(text(&lost).contains("gave no answer"), "{lost}");

    soon(gateway.clock.sleeping_until(Duration::from_millis(500))).await;
    assert!(gateway.upstream.report().problem.unwrap().contains("exit status: 3"));
    assert_eq!(gateway.upstream.ready().unwrap_err().0, "the upstream up is not there");
    assert_eq!(gateway.harness.get("/ready").await.status, 503);
    let away = gateway.call(READER, "echo", json!({"text": "there?"})).await;
    assert!(text(&away).contains("not available at the moment"), "{away}");
    let mut changes = gateway.upstream.changes();
    gateway.clock.advance(Duration::from_millis(500));
    soon(changes.next()).await;
    assert_eq!(gateway.upstream.ready(), Ok(()));
    assert_eq!(text(&gateway.call(READER, "echo", json!({"text": "again"})).await), "again");
}

#[tokio::test]
async fn lists_that_change_are_read_again_and_updates_are_announced_to_those_who_watch() {
    for options in both() {
        let gateway = Gateway::start(options).await;
        let mut changes = gateway.upstream.changes();
        assert_eq!(text(&gateway.call(READER, "grow", json!({})).await), "grown");
        assert_eq!(soon(changes.next()).await, Some(domain::Change::Tools));
        let names: Vec<String> = gateway.upstream.report().tools.into_iter().map(|tool| tool.name).collect();
        assert!(names.contains(&"grown".to_owned()), "{names:?}");
        soon(gateway.clock.sleeping_until(Duration::from_secs(1))).await;
        gateway.clock.advance(Duration::from_secs(1));
        gateway.call(READER, "touch", json!({})).await;
        assert_eq!(soon(changes.next()).await, Some(domain::Change::Resource("demo://one".into())));
    }
}

#[tokio::test]
async fn an_upstream_that_can_not_be_started_says_why_and_stopping_ends_it() {
    let mut missing = options(&[]);
    missing.connect = Connect::Child(Child {
        program: "/nowhere/server".into(),
        arguments: vec!["secret-argument".into()],
        environment: BTreeMap::default(),
        folder: None,
    });
    let clock = Arc::new(ManualClock::at(NOW));
    let upstream = Upstream::start(missing, clock as _);
    let error = soon(upstream.first_lists()).await.unwrap_err().to_string();
    assert!(error.starts_with("the upstream up: ") && error.contains("/nowhere/server"), "{error}");
    assert!(!error.contains("secret-argument"), "{error}");
    soon(upstream.stop()).await;
}

#[tokio::test]
async fn an_upstream_whose_lists_do_not_come_is_given_up_and_started_again() {
    let clock = Arc::new(ManualClock::at(NOW));
    let asked = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = asked.local_addr().unwrap().to_string();
    let upstream = Upstream::start(options(&["listless", &address]), Arc::clone(&clock) as _);
    let first = tokio::spawn({
        let upstream = upstream.clone();
        async move { upstream.first_lists().await }
    });
    // It is asked for its tools.
    soon(asked.accept()).await.unwrap();
    soon(clock.sleeping_until(Duration::from_secs(30))).await;
    clock.advance(Duration::from_secs(30));
    let error = soon(first).await.unwrap().unwrap_err().to_string();
    assert_eq!(error, "the upstream up: its lists can't be read: no answer within 30 s");
    soon(clock.sleeping_until(Duration::from_millis(500))).await;
    soon(upstream.stop()).await;
}

#[tokio::test]
async fn an_upstream_that_never_answers_is_stopped_at_once() {
    let clock = Arc::new(ManualClock::at(NOW));
    let upstream = Upstream::start(options(&["mute"]), Arc::clone(&clock) as _);
    soon(clock.sleeping_until(Duration::from_secs(30))).await;
    soon(upstream.stop()).await;
}

#[tokio::test]
async fn a_call_that_could_not_be_cancelled_keeps_its_place_and_an_upstream_that_reads_nothing_is_replaced() {
    let mut one = options(&[]);
    one.limits.calls = 1;
    // Less than an upstream has for saying that it is there.
    let call = Duration::from_secs(3);
    one.limits.call = call;
    let gateway = Gateway::start(one).await;
    assert_eq!(text(&gateway.call(READER, "deaf", json!({})).await), "deaf");
    // More than a pipe holds.
    let large = json!({"name": "echo", "arguments": {"text": "x".repeat(300_000)}});
    for expected in ["did not answer within 3 s", "is busy"] {
        let (answer, ()) = tokio::join!(gateway.legacy(READER, "tools/call", large.clone()), async {
            soon(gateway.clock.sleeping_until(call)).await;
            gateway.clock.advance(call);
        });
        let answer = answer.json();
        assert!(text(&answer).contains(expected), "{answer}");
    }
    let mut changes = gateway.upstream.changes();
    // For an answer, for an end by itself, and before a new start.
    for millis in [2000, 5000, 500] {
        soon(gateway.clock.sleeping_until(Duration::from_millis(millis))).await;
        gateway.clock.advance(Duration::from_millis(millis));
    }
    soon(changes.next()).await;
    assert_eq!(text(&gateway.call(READER, "echo", json!({"text": "again"})).await), "again");
}

#[tokio::test]
async fn what_an_upstream_sends_for_an_abandoned_call_goes_to_no_other_caller() {
    let gateway = Gateway::start(options(&[])).await;
    let mut abandoned = gateway.stream(OTHER, "wait").await;
    abandoned.message(0).await;
    drop(abandoned);
    while text(&gateway.call(READER, "cancelled", json!({})).await) == "[]" {
        tokio::task::yield_now().await;
    }
    assert_eq!(text(&gateway.call(READER, "log", json!({})).await), "logged", "as one document");
    let refused = gateway.call(READER, "ask", json!({})).await;
    assert!(text(&refused).contains("belongs to no call, or to several"), "{refused}");
    // The one whose call it was can't be told another's.
    let required = gateway.harness.modern(OTHER, "tools/call", json!({"name": "ask", "arguments": {}})).await;
    assert_eq!(required.json()["result"]["resultType"], "input_required");

    let gateway = Gateway::start(options(&[])).await;
    let mut abandoned = gateway.stream(OTHER, "wait").await;
    abandoned.message(0).await;
    drop(abandoned);
    while text(&gateway.call(READER, "cancelled", json!({})).await) == "[]" {
        tokio::task::yield_now().await;
    }
    gateway.clock.advance(Limits::default().call);
    let required =
        gateway.harness.modern(READER, "tools/call", json!({"name": "ask", "arguments": {}})).await;
    assert_eq!(required.json()["result"]["resultType"], "input_required");
}

#[tokio::test]
async fn calls_that_wait_for_input_take_no_place_from_others() {
    let mut one = options(&[]);
    one.limits.calls = 1;
    let gateway = Gateway::start(one).await;
    let call = json!({"name": "ask", "arguments": {}});
    let required = gateway.harness.modern(READER, "tools/call", call).await.json();
    assert_eq!(required["result"]["resultType"], "input_required", "{required}");
    let answer = soon(gateway.call(OTHER, "echo", json!({"text": "hi"}))).await;
    assert_eq!(text(&answer), "hi");
}

#[tokio::test]
async fn a_resource_that_can_not_be_subscribed_to_costs_the_others_nothing() {
    let gateway = Gateway::start(options(&[])).await;
    let mut watches = Vec::new();
    for uri in ["demo://items/missing", "demo://one"] {
        let resources = gateway.upstream.resources();
        // Whichever is asked, it is the upstream's.
        watches.push(resources[0].watch(uri));
    }
    let both_were_asked = async {
        while text(&gateway.call(READER, "touch", json!({})).await) != r#"["demo://one"]"# {
            tokio::task::yield_now().await;
        }
    };
    soon(both_were_asked).await;
}
