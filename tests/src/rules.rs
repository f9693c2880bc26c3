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
    assert!(challenge.starts_with("Bearer error=\"insufficient_scope\", error_description=\"arguments_not_permitted: "));
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
