//! Rules beyond scopes: who meets their conditions is served, and who does not is told what to do.

use std::sync::Arc;
use std::time::Duration;

use domain::{
    CallToolResult, Claims, DynTool, ExtraClaims, Outcome, Prompt, PromptCall, PromptSpec, ReadCall,
    ReadResourceResult, Resource, ResourceSpec, ResourceSpecError, SpecError, ToolCall, ToolResult, ToolSpec,
    UnixSeconds, async_trait,
};
use fastmcp_auth0::Settings;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{AUDIENCE, Answer, Choices, Harness, ISSUER, NOW, URL};
use crate::{binary, streams};

/// A text that must be in no answer and no event.
const CANARY: &str = "canary-93c1";

/// Pays an amount.
struct Pay;

#[async_trait]
impl DynTool for Pay {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        let schema = json!({
            "type": "object",
            "properties": {"amount": {"type": "number"}, "to": {"type": "string"}},
            "required": ["amount"],
        });
        ToolSpec::with_schema("pay", "Pay", "Pays.", schema)?.requires(["payments:write"])
    }

    async fn run(&self, call: ToolCall<'_>) -> ToolResult {
        CallToolResult::of([format!("paid {}", call.raw_arguments()["amount"])])
    }
}

struct Account;

#[async_trait]
impl Resource for Account {
    fn spec(&self) -> Result<ResourceSpec, ResourceSpecError> {
        ResourceSpec::template("account://{id}", "account", "Account", "By id.")
    }

    async fn read(&self, _: ReadCall<'_>) -> ReadResourceResult {
        Ok(Outcome::Complete(Vec::new()))
    }
}

struct Draft;

#[async_trait]
impl Prompt for Draft {
    fn spec(&self) -> Result<PromptSpec, domain::InvalidScope> {
        Ok(PromptSpec::new("draft", "Draft", "A draft."))
    }

    async fn get(&self, _: PromptCall<'_>) -> domain::GetPromptResult {
        Ok(Outcome::Complete(Vec::new()))
    }
}

fn choices(rules: &str) -> Choices {
    let choices = Choices::new().tool(Arc::new(Pay)).resource(Arc::new(Account)).prompt(Arc::new(Draft));
    choices.text(rules)
}

async fn server(rules: &str) -> Harness {
    choices(rules).start().await
}

fn pay(amount: impl Into<Value>) -> Value {
    let params = json!({"name": "pay", "arguments": {"amount": amount.into(), "to": CANARY}});
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
}

/// Scripts a token that may pay.
fn payer(harness: &Harness, change: impl FnOnce(&mut Claims)) -> &'static str {
    harness.token("payer", |claims| {
        claims.scope = domain::ScopeSet::granted_by(["payments:write"]);
        change(claims);
    });
    "payer"
}

fn extra(claims: &mut Claims) -> &mut ExtraClaims {
    claims.extra.get_or_insert_default()
}

/// The status, and the reason code that the description begins with; `allowed` for a result.
#[track_caller]
fn verdict(answer: &Answer) -> String {
    if answer.status == 200 {
        assert!(answer.json()["result"].is_object(), "{:?}", answer.body);
        return "allowed".to_owned();
    }
    let body = answer.json();
    let description = body["error_description"].as_str().unwrap();
    assert!(!description.contains(CANARY));
    let code = description.split(':').next().unwrap();
    format!("{} {} {code}", answer.status.as_u16(), body["error"].as_str().unwrap())
}

#[tokio::test]
async fn a_large_payment_takes_a_scope_and_a_small_one_does_not() {
    let rule = r#"
        [rules.large-payments]
        tools = ["pay"]
        arguments = '{"properties": {"amount": {"maximum": 1000}}}'
        unless_scopes = ["payments:large"]
    "#;
    let harness = server(rule).await;
    let token = payer(&harness, |_| {});
    assert_eq!(verdict(&harness.legacy(token, &pay(1000)).await), "allowed");
    let refused = harness.legacy(token, &pay(1000.01)).await;
    assert_eq!(verdict(&refused), "403 insufficient_scope arguments_not_permitted");
    assert_eq!(refused.json()["scope"], "payments:write payments:large");
    let challenge = refused.header("www-authenticate");
    assert!(
        challenge.starts_with(
            "Bearer error=\"insufficient_scope\", error_description=\"arguments_not_permitted: "
        )
    );
    assert!(challenge.contains(", scope=\"payments:write payments:large\", resource_metadata=\"https://"));
    // Other tools are not covered, and what is no number never reaches the rule.
    let other = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami"}});
    harness.token("other", |_| {});
    assert_eq!(verdict(&harness.legacy("other", &other).await), "allowed");
    assert_eq!(harness.legacy(token, &pay("5000")).await.json()["result"]["isError"], true);
    let token = payer(&harness, |claims| {
        claims.scope = domain::ScopeSet::granted_by(["payments:write", "payments:large"]);
    });
    assert_eq!(verdict(&harness.legacy(token, &pay(5000)).await), "allowed");
}

/// A rule on the tool `pay`.
fn on_pay(conditions: &str) -> String {
    format!("[rules.r]\ntools = [\"pay\"]\n{conditions}\n")
}

#[tokio::test]
async fn who_meets_the_conditions_may_and_who_does_not_is_told_no_more() {
    type Change = fn(&mut Claims);
    let of_organization: Change = |claims| claims.organization_id = Some("org_1".into());
    let plan: Change = |claims| extra(claims).custom.insert("https://a.example/plan", "\"pro\"");
    let third_party: Change = |claims| claims.client_id = Some("tpc_1".into());
    let by_url: Change = |claims| claims.client_id = Some("https://client.example/".into());
    for (conditions, change, reason, other) in [
        ("organizations = [\"org_1\"]", of_organization, "wrong_organization", None),
        ("[rules.r.claims]\n\"https://a.example/plan\" = [\"pro\"]", plan, "claim_not_permitted", None),
        ("clients = [\"tpc_1\"]", third_party, "client_not_permitted", None),
        ("third_party_clients = false", of_organization, "client_not_permitted", Some(third_party)),
        ("third_party_clients = false", plan, "client_not_permitted", Some(by_url)),
    ] {
        let harness = server(&on_pay(conditions)).await;
        let token = payer(&harness, change);
        assert_eq!(verdict(&harness.legacy(token, &pay(1)).await), "allowed", "{conditions}");
        let token = payer(&harness, other.unwrap_or(|_| {}));
        let refused = harness.legacy(token, &pay(1)).await;
        assert_eq!(verdict(&refused), format!("403 access_denied {reason}"), "{conditions}");
        assert_eq!(refused.header("www-authenticate"), "", "nothing would help");
        assert_eq!(refused.json().get("scope"), None);
        // Scopes come first: who lacks them learns of no rule.
        harness.token("unscoped", |_| {});
        let refused = harness.legacy("unscoped", &pay(1)).await.json();
        assert_eq!(refused["error"], "insufficient_scope");
        assert_eq!(refused["scope"], "tool:greet tool:whoami payments:write");
    }
}

#[tokio::test]
async fn an_old_or_weak_login_is_challenged_for_another_one() {
    let rule = on_pay("max_age_seconds = 600\nacr = [\"urn:mfa\", \"urn:phr\"]");
    let harness = server(&rule).await;
    let at = |ago: i64| Some(UnixSeconds(NOW.0 / 1000 - ago));
    let token = payer(&harness, |claims| {
        let extra = extra(claims);
        (extra.authenticated_at, extra.authentication_context) = (at(600), Some("urn:phr".into()));
    });
    assert_eq!(verdict(&harness.legacy(token, &pay(1)).await), "allowed");
    for (seconds, class, reason) in [
        (Some(601), Some("urn:mfa"), "login_too_old"),
        (None, Some("urn:mfa"), "login_too_old"),
        (Some(1), Some("urn:pwd"), "login_too_weak"),
        (Some(1), None, "login_too_weak"),
    ] {
        let token = payer(&harness, |claims| {
            claims.scope = domain::ScopeSet::granted_by(["tool:whoami", "payments:write"]);
            let extra = extra(claims);
            extra.authenticated_at = seconds.and_then(at);
            extra.authentication_context = class.map(Into::into);
        });
        let refused = harness.legacy(token, &pay(1)).await;
        assert_eq!(verdict(&refused), format!("401 insufficient_user_authentication {reason}"));
        let challenge = refused.header("www-authenticate");
        let rest = challenge.split_once("\", max_age=").unwrap().1;
        assert_eq!(
            rest,
            format!(
                "\"600\", acr_values=\"urn:mfa urn:phr\", scope=\"tool:whoami payments:write\", \
                 resource_metadata=\"{URL}/.well-known/oauth-protected-resource/mcp\""
            )
        );
        assert!(
            challenge.starts_with("Bearer error=\"insufficient_user_authentication\", error_description=")
        );
    }
    // Time passes, and so does what was recent.
    let token = payer(&harness, |claims| {
        let extra = extra(claims);
        (extra.authenticated_at, extra.authentication_context) = (at(599), Some("urn:mfa".into()));
    });
    assert_eq!(verdict(&harness.legacy(token, &pay(1)).await), "allowed");
    harness.clock.advance(Duration::from_secs(2));
    assert_eq!(harness.legacy(token, &pay(1)).await.status, 401);
    assert_eq!(harness.modern(token, "tools/call", pay(1)["params"].clone()).await.status, 401);
}

#[tokio::test]
async fn the_claims_about_the_login_can_be_custom_ones() {
    let rule = "[rules]\nauth_time_claim = \"https://a.example/at\"\nacr_claim = \"https://a.example/acr\"\n"
        .to_owned()
        + &on_pay("max_age_seconds = 600\nacr = [\"urn:mfa\"]");
    let harness = server(&rule).await;
    let now = NOW.0 / 1000;
    let token = payer(&harness, |claims| {
        let custom = &mut extra(claims).custom;
        custom.insert("https://a.example/at", &now.to_string());
        custom.insert("https://a.example/acr", "\"urn:mfa\"");
    });
    assert_eq!(verdict(&harness.legacy(token, &pay(1)).await), "allowed");
    let token = payer(&harness, |claims| {
        let extra = extra(claims);
        extra.authenticated_at = Some(UnixSeconds(now));
        extra.authentication_context = Some("urn:mfa".into());
    });
    assert_eq!(harness.legacy(token, &pay(1)).await.status, 401, "the registered ones do not count");
}

#[tokio::test]
async fn resources_prompts_and_their_completions_are_judged_and_lists_are_not() {
    let rule =
        "[rules.r]\nresources = [\"account://{id}\"]\nprompts = [\"dr*\"]\norganizations = [\"org_1\"]";
    let harness = server(rule).await;
    let rpc =
        |method: &str, params: Value| json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let argument = json!({"name": "id", "value": ""});
    let of_prompt = json!({"ref": {"type": "ref/prompt", "name": "draft"}, "argument": argument});
    let of_template = json!({"ref": {"type": "ref/resource", "uri": "account://{id}"}, "argument": argument});
    for message in [
        rpc("resources/read", json!({"uri": format!("account://{CANARY}")})),
        rpc("prompts/get", json!({"name": "draft"})),
        rpc("completion/complete", of_prompt),
        rpc("completion/complete", of_template),
    ] {
        let token = payer(&harness, |claims| claims.organization_id = Some("org_1".into()));
        assert_eq!(verdict(&harness.legacy(token, &message).await), "allowed", "{message}");
        let token = payer(&harness, |_| {});
        let refused = verdict(&harness.legacy(token, &message).await);
        assert_eq!(refused, "403 access_denied wrong_organization", "{message}");
    }
    let token = payer(&harness, |_| {});
    let listed = harness.legacy(token, &rpc("prompts/list", json!({}))).await.json();
    assert_eq!(listed["result"]["prompts"][0]["name"], "draft");
    assert_eq!(verdict(&harness.legacy(token, &pay(1)).await), "allowed", "tools are not covered");
}

/// The results and errors of a batch, in short.
async fn batch(harness: &Harness, token: &str, parts: &[Value]) -> (Answer, Vec<String>) {
    let request = harness.post(token).header("mcp-protocol-version", "2025-03-26");
    let answer = harness.send(request.body(json!(parts).to_string().into()).unwrap()).await;
    let short = |part: &Value| match part["error"]["code"].as_i64() {
        Some(code) => format!("{code} {}", part["error"]["data"]),
        None => "allowed".to_owned(),
    };
    let parts = answer.json().as_array().map(|parts| parts.iter().map(short).collect());
    (answer, parts.unwrap_or_default())
}

#[tokio::test]
async fn in_a_batch_each_part_says_what_it_takes_and_a_batch_of_nothing_else_by_http() {
    let rules = "[rules.large]\ntools = [\"pay\"]\narguments = '{\"properties\": {\"amount\": {\"maximum\": 1000}}}'\nunless_scopes = [\"large\"]\n\
                 [rules.recent]\ntools = [\"whoami\"]\nmax_age_seconds = 9\nacr = [\"urn:mfa\"]\n\
                 [rules.members]\ntools = [\"get_datetime\"]\norganizations = [\"org_1\"]\n";
    let harness = server(rules).await;
    let token = payer(&harness, |claims| {
        claims.scope = domain::ScopeSet::granted_by(["payments:write", "tool:whoami"]);
    });
    let call = |name: &str| json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": name, "arguments": {}}});
    let (answer, parts) =
        batch(&harness, token, &[pay(1), pay(1001), call("whoami"), call("get_datetime")]).await;
    assert_eq!(answer.status, 200);
    let scope = "payments:write tool:whoami";
    assert_eq!(
        parts,
        [
            "allowed".to_owned(),
            "403 {\"error\":\"insufficient_scope\",\"scope\":\"payments:write tool:whoami large\"}"
                .to_owned(),
            format!(
                "401 {{\"acr_values\":\"urn:mfa\",\"error\":\"insufficient_user_authentication\",\"max_age\":9,\"scope\":\"{scope}\"}}"
            ),
            "403 {\"error\":\"access_denied\"}".to_owned(),
        ]
    );
    let (answer, _) = batch(&harness, token, &[pay(1001)]).await;
    assert_eq!(verdict(&answer), "403 insufficient_scope arguments_not_permitted");
    let (answer, _) = batch(&harness, token, &[pay(1001), call("whoami")]).await;
    assert_eq!(verdict(&answer), "401 insufficient_user_authentication login_too_old");
    let (answer, _) = batch(&harness, token, &[call("get_datetime"), call("whoami")]).await;
    assert_eq!(verdict(&answer), "403 access_denied wrong_organization");
}

#[tokio::test]
async fn a_login_that_gets_too_old_while_a_client_answers_is_told_on_the_stream() {
    let rule = "[rules.r]\ntools = [\"asker\"]\nmax_age_seconds = 5";
    let harness = streams::everything().text(rule).start().await;
    harness.token("recent", |claims| {
        extra(claims).authenticated_at = Some(UnixSeconds(NOW.0 / 1000));
    });
    let call = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "asker"}});
    let mut stream = streams::Stream::open_legacy(&harness, "recent", &call.to_string()).await;
    let question = stream.message(0).await;
    harness.clock.advance(Duration::from_secs(6));
    harness.token("recent", |claims| {
        extra(claims).authenticated_at = Some(UnixSeconds(NOW.0 / 1000 + 6));
    });
    let response = json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept", "content": {"name": "Ada"}}});
    assert_eq!(harness.legacy("recent", &response).await.status, 202);
    let end = stream.message(1).await;
    assert_eq!((&end["id"], &end["error"]["code"]), (&json!(7), &json!(401)), "{end}");
    assert_eq!(end["error"]["data"]["error"], "insufficient_user_authentication");
}

/// The events of an audit file.
fn events(folder: &TempDir) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
    assert!(!text.contains(CANARY), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn audited(rules: &str) -> (Choices, TempDir) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("audit.jsonl").display().to_string();
    let choices = choices(rules).set("audit.to", "file").set("audit.file", file);
    (choices.set("audit.on_failure", "refuse"), folder)
}

#[tokio::test]
async fn audit_events_and_metrics_name_the_rules_also_those_in_shadow_mode() {
    let rules = "[rules.members]\ntools = [\"pay\"]\norganizations = [\"org_1\"]\nshadow = true\n\
                 [rules.large]\ntools = [\"pay\"]\narguments = '{\"properties\": {\"amount\": {\"maximum\": 1000}}}'\n";
    let (choices, folder) = audited(rules);
    let harness = choices.set("admin.bind", "127.0.0.1:0").start().await;
    let token = payer(&harness, |_| {});
    assert_eq!(verdict(&harness.legacy(token, &pay(1)).await), "allowed", "a shadow refuses nobody");
    assert_eq!(
        verdict(&harness.legacy(token, &pay(1001)).await),
        "403 access_denied arguments_not_permitted"
    );
    let token = payer(&harness, |claims| claims.organization_id = Some("org_1".into()));
    assert_eq!(verdict(&harness.legacy(token, &pay(1)).await), "allowed");
    let shown = |event: &Value| {
        ["verdict", "reason", "rules", "would_refuse"].map(|name| event[name].to_string()).join(" ")
    };
    assert_eq!(
        events(&folder).iter().map(shown).collect::<Vec<_>>(),
        [
            r#""allow" null null ["members"]"#,
            r#""deny" "arguments_not_permitted" ["large"] ["members"]"#,
            r#""allow" null null null"#,
        ]
    );
    let metrics = crate::admin::metrics(&harness).await;
    for line in [
        r#"fastmcp_auth0_rule_refusals_total{rule="large",mode="enforced"} 1"#,
        r#"fastmcp_auth0_rule_refusals_total{rule="members",mode="shadow"} 2"#,
    ] {
        assert!(metrics.lines().any(|had| had == line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn arguments_that_do_not_fit_the_tool_are_its_error_and_no_rule_of_theirs() {
    let (choices, folder) =
        audited(&on_pay("arguments = '{\"properties\": {\"amount\": {\"maximum\": 1}}}'"));
    let harness = choices.start().await;
    let token = payer(&harness, |_| {});
    let answer = harness.legacy(token, &pay("many")).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["result"]["isError"]), (200, &json!(true)));
    // The call was permitted, as before: what the tool can't read it never gets.
    assert_eq!(events(&folder)[0]["verdict"], "allow");
}

fn load(rules: &str, harness: &Harness) -> Result<Settings, String> {
    let sources = fastmcp_auth0::Sources::defaults()
        .set("test", "auth0.issuer", ISSUER)
        .set("test", "auth0.audience", AUDIENCE)
        .set("test", "server.url", URL)
        .text("rules.toml", rules);
    Settings::load(sources, &harness.ports.offer.catalog().unwrap()).map_err(|problems| problems.to_string())
}

#[tokio::test]
async fn a_reload_changes_rules_and_the_version_of_the_policy() {
    let (choices, folder) = audited("");
    let harness = choices.start().await;
    let token = payer(&harness, |_| {});
    assert_eq!(verdict(&harness.legacy(token, &pay(1)).await), "allowed");
    harness.reload(&load(&on_pay("organizations = [\"org_1\"]"), &harness).unwrap());
    assert_eq!(harness.legacy(token, &pay(1)).await.status, 403);
    harness.reload(&load(&on_pay("organizations = [\"org_1\"]\nshadow = true"), &harness).unwrap());
    assert_eq!(harness.legacy(token, &pay(1)).await.status, 200);
    harness.reload(&load("", &harness).unwrap());
    assert_eq!(harness.legacy(token, &pay(1)).await.status, 200);
    let versions: Vec<Value> = events(&folder).iter().map(|event| event["policy"].clone()).collect();
    assert_eq!(versions[0], versions[3]);
    assert!(versions[0] != versions[1] && versions[1] != versions[2] && versions[0] != versions[2]);
}

#[tokio::test]
async fn what_is_no_rule_stops_the_start() {
    let harness = server("").await;
    for (rules, expected) in [
        ("[rules.r]\norganizations = [\"o\"]", "covers nothing: name tools"),
        ("[rules.r]\ntools = [\"pay\"]", "has no condition: set"),
        ("[rules.r]\ntools = [\"pay\"]\nthird_party_clients = true", "has no condition: set"),
        ("[rules.r]\ntools = [\"pays\"]\norganizations = [\"o\"]", "there is no such tool"),
        ("[rules.r]\ntools = [\"pays*\"]\norganizations = [\"o\"]", "nothing on offer fits"),
        ("[rules.r]\nresources = [\"x://y\"]\norganizations = [\"o\"]", "nothing on offer fits"),
        ("[rules.r]\nprompts = [\"x\"]\norganizations = [\"o\"]", "nothing on offer fits"),
        ("[rules.r]\nmethods = [\"x\"]\norganizations = [\"o\"]", "nothing on offer fits"),
        ("[rules.r]\ntools = [\"pay\"]\norganizations = []", "is an empty list"),
        ("[rules.r]\ntools = []\norganizations = [\"o\"]", "is an empty list"),
        ("[rules.r]\ntools = [\"pay\"]\norganizations = [\"o\"]\nunless_scopes = []", "is an empty list"),
        ("[rules.r]\ntools = [\"pay\"]\nacr = [\"a b\"]", "can't be in a challenge"),
        ("[rules.r]\ntools = [\"pay\"]\nmax_age_seconds = 0", "a whole number from 1"),
        ("[rules.r]\ntools = [\"pay\"]\narguments = 'no'", "must be a JSON Schema"),
        ("[rules.r]\ntools = [\"pay\"]\narguments = '[]'", "must be a JSON Schema"),
        ("[rules.r]\ntools = [\"pay\"]\narguments = '{}'", "is an empty schema"),
        ("[rules.r]\ntools = [\"pay\"]\narguments = '{\"maximum\": 1000}'", "refuses no arguments"),
        (
            "[rules.r]\ntools = [\"pay\"]\narguments = '{\"properties\": {\"to\": {\"pattern\": \"(?=a)b\"}}}'",
            "not a usable JSON Schema",
        ),
        ("[rules.r]\ntools = [\"pay\"]\narguments = '{\"type\": 5}'", "not a usable JSON Schema"),
        (
            "[rules.r]\ntools = [\"pay\"]\narguments = '{\"$ref\": \"https://a.example/\"}'",
            "not a usable JSON Schema",
        ),
        ("[rules.r]\nprompts = [\"draft\"]\narguments = '{\"maxProperties\": 1}'", "is of tools alone"),
        (
            "[rules.r]\ntools = [\"pay\"]\n[rules.r.claims]\nplan = [\"pro\"]",
            "must be named by an https or http URL",
        ),
        ("[rules.\"a b\"]\ntools = [\"pay\"]\norganizations = [\"o\"]", "must be a name of letters"),
        ("[rules]\nauth_time_claim = \"when\"", "must be \"auth_time\", or the https or http URL"),
        ("[rules]\nacr_claim = \"how\"", "must be \"acr\", or the https or http URL"),
        ("[rules.r]\ntools = [\"pay\"]\norganisations = [\"o\"]", "did you mean rules.r.organizations?"),
    ] {
        let problems = load(rules, &harness).map(drop).unwrap_err();
        assert!(problems.contains(expected), "{rules}: {problems}");
    }
    let settings = load(&on_pay("max_age_seconds = 600"), &harness).unwrap();
    assert!(
        settings.warnings.iter().any(|warning| warning.contains("rules.auth_time_claim")),
        "{:?}",
        settings.warnings
    );
    let many: String = (0..101)
        .map(|number| on_pay("acr = [\"a\"]").replace("rules.r", &format!("rules.r{number}")))
        .collect();
    assert!(load(&many, &harness).map(drop).unwrap_err().contains("100 are the most"));
}

#[tokio::test]
async fn a_scope_that_exempts_is_known_and_no_first_login_asks_for_it() {
    let rule = on_pay("organizations = [\"org_1\"]\nunless_scopes = [\"payments:any\"]");
    let harness = server(&format!("[scopes.implies]\n\"payments:all\" = [\"payments:any\"]\n{rule}")).await;
    let refused = harness.legacy("junk", &pay(1)).await;
    assert!(!refused.header("www-authenticate").contains("payments:any"));
    for scope in ["payments:any", "payments:all"] {
        let token = payer(&harness, |claims| {
            claims.scope = domain::ScopeSet::granted_by(["payments:write", scope]);
        });
        assert_eq!(verdict(&harness.legacy(token, &pay(1)).await), "allowed", "{scope}");
    }
}

const CONFIGURATION: &str = r#"
[auth0]
issuer = "https://tenant.example.auth0.com/"
audience = "https://mcp.example.com/mcp"
[server]
url = "https://mcp.example.com"
[rules]
auth_time_claim = "https://a.example/at"
[rules.long-names]
tools = ["greet"]
arguments = '{"properties": {"name": {"maxLength": 5}}}'
unless_scopes = ["greet:anyone"]
[rules.members]
tools = ["whoami"]
organizations = ["org_1"]
[rules.recent]
tools = ["get_datetime"]
max_age_seconds = 600
[rules.watched]
tools = ["*"]
third_party_clients = false
shadow = true
"#;

fn written(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn a_table_of_cases_is_decided_as_requests_are() {
    let folder = TempDir::new().unwrap();
    let config = written(&folder, "config.toml", CONFIGURATION);
    let cases = r#"
        [[case]]
        name = "a short name"
        tool = "greet"
        scopes = ["tool:greet"]
        arguments = { name = "Ada" }
        expect = "allow"
        [[case]]
        name = "a long name"
        tool = "greet"
        scopes = ["tool:greet"]
        arguments = { name = "Adamantine" }
        expect = "deny"
        reason = "arguments_not_permitted"
        rules = ["long-names"]
        [[case]]
        name = "a long name, exempt, by a third party"
        tool = "greet"
        scopes = ["tool:greet", "greet:anyone"]
        client_id = "tpc_1"
        arguments = { name = "Adamantine" }
        expect = "allow"
        would_refuse = ["watched"]
        [[case]]
        name = "no scope"
        tool = "whoami"
        expect = "deny"
        reason = "insufficient_scope"
        [[case]]
        name = "a member"
        tool = "whoami"
        scopes = ["tool:whoami"]
        organization = "org_1"
        expect = "allow"
        [[case]]
        name = "a recent login"
        tool = "get_datetime"
        login_seconds_ago = 60
        expect = "allow"
        [[case]]
        name = "an old one"
        tool = "get_datetime"
        login_seconds_ago = 601
        expect = "deny"
        reason = "login_too_old"
    "#;
    let good = written(&folder, "good.toml", cases);
    let run = |arguments: &[&str]| {
        let output = binary::run(arguments, &[]);
        (output.status.code().unwrap(), binary::text(&output.stdout), binary::text(&output.stderr))
    };
    let (status, shown, error) = run(&["policy", "test", &good, "--config", &config]);
    assert_eq!((status, shown.trim()), (0, "7 of 7 cases are decided as expected"), "{error}");
    let wrong = cases
        .replace("\"deny\"\n        reason = \"arguments", "\"allow\"\n        reason = \"arguments")
        .replace("rules = [\"long-names\"]", "")
        .replace("[\"watched\"]", "[]")
        .replace("insufficient_scope", "wrong_organization");
    let wrong = written(&folder, "wrong.toml", &wrong);
    let (status, shown, _) = run(&["policy", "test", &wrong, "--config", &config]);
    assert_eq!(
        (status, shown.lines().collect::<Vec<_>>()),
        (
            1,
            vec![
                "FAIL  a long name: the verdict is deny (arguments_not_permitted), and should be allow",
                "FAIL  a long name, exempt, by a third party: the list of rules that would refuse is [watched], and should be []",
                "FAIL  no scope: the reason is insufficient_scope, and should be wrong_organization",
                "4 of 7 cases are decided as expected",
            ]
        )
    );
    let (status, shown, _) = run(&["policy", "test", &wrong, "--config", &config, "--json"]);
    let report: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (status, &report["failed"], &report["cases"][1]["rules"]),
        (1, &json!(3), &json!(["long-names"]))
    );
    for (case, expected) in [
        ("tool = \"greet\"\nscopes = [\"tool:greet\"]", "depends on the arguments, by the rule long-names"),
        (
            "tool = \"greet\"\nscopes = [\"tool:greet\"]\narguments = { name = 5 }",
            "the tool's schema refuses the arguments",
        ),
        ("tool = \"nothing\"", "there is nothing of that name on offer"),
        ("scopes = []", "must have one of tool"),
        ("tool = \"whoami\"\nclaims = { plan = 1 }", "is not named by an https or http URL"),
    ] {
        let text = format!("[[case]]\nname = \"n\"\nexpect = \"allow\"\n{case}\n");
        let file = written(&folder, "one.toml", &text);
        let (status, shown, _) = run(&["policy", "test", &file, "--config", &config]);
        assert!(status == 1 && shown.contains(expected), "{case}: {shown}");
    }
    let unknown =
        written(&folder, "unknown.toml", "[[case]]\nname = \"n\"\nexpect = \"allow\"\ntools = []\n");
    let (status, _, error) = run(&["policy", "test", &unknown, "--config", &config]);
    assert!(status == 1 && error.contains("unknown field `tools`"), "{error}");
}

#[tokio::test]
async fn an_audit_file_is_judged_by_another_policy() {
    let (choices, folder) = audited("[rules.old]\ntools = [\"whoami\"]\nclients = [\"tpc_9\"]\n");
    let harness = choices.start().await;
    let call = |name: &str| json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": {"name": CANARY}}});
    harness.token("member", |claims| claims.organization_id = Some("org_1".into()));
    harness.token("guest", |claims| claims.client_id = Some("tpc_9".into()));
    for (token, tool) in [
        ("member", "whoami"), // denied by `old`, allowed by the new one
        ("guest", "whoami"),  // allowed, denied by the new one
        ("guest", "whoami"),
        ("member", "greet"),        // depends on the arguments
        ("member", "get_datetime"), // depends on the login
        ("member", "nothing"),
        ("unknown", "greet"),
    ] {
        harness.legacy(token, &call(tool)).await;
    }
    let file = folder.path().join("audit.jsonl");
    let config = written(&folder, "config.toml", CONFIGURATION);
    let arguments = ["policy", "diff", file.to_str().unwrap(), "--config", &config];
    let output = binary::run(&arguments, &[]);
    let shown = binary::text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}{}", binary::text(&output.stderr));
    for line in [
        "would be denied now: 2",
        "       2  tools/call whoami: wrong_organization by the rule members",
        "would be allowed now: 1",
        "       1  tools/call whoami: was client_not_permitted",
        "       1  long-names",
        "       1  recent",
        "       2  watched",
    ] {
        assert!(shown.lines().any(|had| had == line), "{line} in {shown}");
    }
    assert!(shown.contains("3 of 5 decisions change; 2 events are about something else; policy "), "{shown}");
    let output = binary::run(&[&arguments[..], &["--json"]].concat(), &[]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["changes"][0]["examples"].as_array().unwrap().len(), 2);
    assert_eq!(report["undecided"], json!({"long-names": 1, "recent": 1}));

    // The same policy changes nothing; what is no event is named by its number.
    let same = CONFIGURATION.split("[rules]").next().unwrap();
    let same = format!("{same}[rules.old]\ntools = [\"whoami\"]\nclients = [\"tpc_9\"]\n");
    let config = written(&folder, "same.toml", &same);
    let arguments = ["policy", "diff", file.to_str().unwrap(), "--config", &config];
    let output = binary::run(&arguments, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", binary::text(&output.stdout));
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        format!(
            "no event\n{text}{{\"verdict\":\"allow\",\"method\":\"m\",\"target\":\"t\"}}\n{}\n",
            "x".repeat(600_000)
        ),
    )
    .unwrap();
    let output = binary::run(&arguments, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        binary::text(&output.stdout).contains("no audit events: 3 lines (1, 9, 10)"),
        "{}",
        binary::text(&output.stdout)
    );
    let output = binary::run(&["policy", "diff", "/nothing/there", "--config", &config], &[]);
    assert_eq!(output.status.code(), Some(2));
}
