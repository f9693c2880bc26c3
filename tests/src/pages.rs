//! The documentation against the code.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use domain::{Rejection, Untrusted};
use serde_json::json;

use crate::harness::{ADMIN, Choices};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn page(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

/// The program of docs/add-a-tool.md.
#[path = "../../app/examples/add.rs"]
#[expect(dead_code, reason = "its main is for the command line")]
mod add;

/// The test of docs/testing-with-the-local-tenant.md.
mod testing_with_the_local_tenant {
    include!(concat!(env!("OUT_DIR"), "/local_tenant_page.rs"));
}

#[tokio::test]
async fn every_fault_that_the_page_lists_is_taken() {
    let tenant = local_tenant::LocalTenant::start(
        local_tenant::Options::default().with_api_identifier("http://localhost:3001/mcp"),
    );
    let tenant = tenant.await.unwrap();
    let page = page("docs/testing-with-the-local-tenant.md");
    let faults: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `{\"fault\"").and_then(|_| line.split('`').nth(1)))
        .collect();
    assert_eq!(faults.len(), 21);
    for fault in faults {
        let fault: serde_json::Value = serde_json::from_str(fault).unwrap();
        assert_eq!(crate::oauth::inject(&tenant, &fault).await, 204, "{fault}");
    }
}

#[tokio::test]
async fn the_tool_of_add_a_tool_works_with_its_scope() {
    let harness = Choices::new().tool(Arc::new(add::Add)).start().await;
    harness.token("adder", |claims| claims.scope = domain::ScopeSet::granted_by(["tool:add"]));
    let call = |a: i64, b: i64| json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "add", "arguments": {"a": a, "b": b}}});
    assert_eq!(harness.legacy(ADMIN, &call(1, 2)).await.status, 403);
    let answer = harness.legacy("adder", &call(40, 2)).await.json();
    assert_eq!(answer["result"]["isError"], false, "{answer}");
    assert!(answer["result"]["structuredContent"].to_string().contains("42"), "{answer}");
    let overflow = harness.legacy("adder", &call(i64::MAX, 1)).await.json();
    assert_eq!(overflow["result"]["isError"], true, "{overflow}");
    let wrong = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "add", "arguments": {"a": "1"}}});
    assert_eq!(harness.legacy("adder", &wrong).await.json()["result"]["isError"], true);
}

#[test]
fn the_code_of_add_a_tool_is_the_example() {
    let (text, example) = (page("docs/add-a-tool.md"), page("app/examples/add.rs"));
    assert!(
        text.contains(&format!("```rust\n{example}```\n")),
        "docs/add-a-tool.md is not app/examples/add.rs"
    );
}

#[test]
fn every_reason_code_has_a_heading_in_troubleshooting() {
    let rejections = [
        Rejection::Untrusted(Untrusted::TooLarge),
        Rejection::Untrusted(Untrusted::Malformed),
        Rejection::Untrusted(Untrusted::Opaque),
        Rejection::Untrusted(Untrusted::Algorithm),
        Rejection::Untrusted(Untrusted::CriticalHeader),
        Rejection::Untrusted(Untrusted::UnknownKey),
        Rejection::Untrusted(Untrusted::Signature),
        Rejection::Untrusted(Untrusted::MissingClaim("exp")),
        Rejection::Untrusted(Untrusted::InvalidClaim("exp")),
        Rejection::TokenType,
        Rejection::Issuer,
        Rejection::Audience,
        Rejection::Expired,
        Rejection::NotYetValid,
        Rejection::NoSubject,
        Rejection::NoClient,
    ];
    let others = [
        "no_token",
        "bad_authorization",
        "keys_unavailable",
        "audit_unavailable",
        "rate_exceeded",
        "quota_unavailable",
        "replica_unreachable",
        "insufficient_scope",
        "foreign_host",
        "foreign_origin",
        "unsupported_media_type",
        "unsupported_content_encoding",
        "not_acceptable",
    ];
    let rules = domain::Unmet::ALL.map(domain::Unmet::code);
    let codes = rejections.iter().map(|rejection| rejection.code()).chain(others).chain(rules);
    let codes: BTreeSet<&str> = codes.collect();
    let text = page("docs/troubleshooting.md");
    let headings: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("### `").and_then(|rest| rest.strip_suffix('`')))
        .collect();
    let missing: Vec<_> = codes.difference(&headings).collect();
    assert!(missing.is_empty(), "no heading for {missing:?}");
}

#[test]
fn what_online_checks_can_find_is_told() {
    let text = page("docs/deploy.md");
    for fault in online_checks::Fault::ALL {
        assert!(text.contains(&format!("`{}`", fault.id())), "docs/deploy.md lacks {}", fault.id());
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut pages =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"].map(str::to_owned).to_vec();
    let docs = std::fs::read_dir(Path::new(ROOT).join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.extend(docs.map(|path| format!("docs/{}", path.file_name().unwrap().to_str().unwrap())));
    for name in &pages {
        let text = page(name);
        let folder = Path::new(ROOT).join(name).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap()) {
            let local = !link.is_empty() && !link.contains("://");
            assert!(!local || folder.join(link).exists(), "{name} links to {link}, which is not there");
        }
    }
}

#[test]
fn the_tables_of_the_configuration_are_those_of_its_keys() {
    let text = page("docs/configuration.md");
    let made = fastmcp_auth0::config::with_tables(&text);
    assert_eq!(made.as_deref(), Some(&*text), "`cargo run --example config_tables` writes them anew");
}

#[test]
fn the_table_of_keys_has_every_key_with_its_default() {
    let text = page("docs/configuration.md");
    let defaults: toml::Table = toml::from_str(fastmcp_auth0::config::DEFAULTS).unwrap();
    let tables = defaults.iter().map(|(name, table)| (name.clone(), table));
    let mut tables: Vec<(String, &toml::Value)> = tables.filter(|(name, _)| name != "tools").collect();
    while let Some((section, values)) = tables.pop() {
        for (key, value) in values.as_table().unwrap() {
            let default = match value {
                toml::Value::Table(_) => {
                    tables.push((format!("{section}.{key}"), value));
                    continue;
                }
                toml::Value::String(text) if text.is_empty() => "empty".to_owned(),
                toml::Value::String(text) => format!("`{text}`"),
                toml::Value::Array(items) if items.is_empty() => "none".to_owned(),
                other => other.to_string(),
            };
            let row = format!("| `{section}.{key}` | {default} |");
            assert!(text.contains(&row), "docs/configuration.md lacks {row}");
        }
    }
}
