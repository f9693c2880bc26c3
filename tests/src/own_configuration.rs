//! The configuration of a server of somebody's own: what it may declare, what is never shown, and rules for tools that are not
//! there.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastmcp_auth0::testing::TestServer;
use fastmcp_auth0::{Principal, Server, ServerBuilder, Settings, Sources, ToolList, tool_fn};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

#[derive(Debug, Clone, Default, Deserialize)]
struct Own {
    #[serde(rename = "accounts", default)]
    _accounts: Vec<BTreeMap<String, String>>,
}

fn with_doc() -> ServerBuilder {
    Server::builder()
        .tool(tool_fn("doc", "A tool.", |_: Nothing, _: Principal| async { Ok("doc") }).scopes(&["doc:read"]))
}

async fn refusal(builder: ServerBuilder, toml: &str) -> String {
    let server = TestServer::start_with(builder, |sources| sources.text("my.toml", toml)).await;
    server.err().map(|error| format!("{error:#}")).unwrap_or_default()
}

/// Returns what is warned of.
async fn warnings(builder: ServerBuilder, toml: &str) -> Vec<String> {
    let sources = builder.sources().set("test", "auth0.issuer", "https://tenant.example.auth0.com/");
    let sources = sources.set("test", "auth0.audience", "https://mcp.example.com/mcp");
    builder.build(sources.text("my.toml", toml)).await.unwrap().settings().warnings.clone()
}

#[tokio::test]
async fn a_section_of_our_own_name_or_declared_twice_or_a_stray_secret_stops_the_start() {
    let expected = "can't be declared as a section: the table is the server's own";
    for ours in ["tools", "limits", "tenant"] {
        let error = refusal(with_doc().section::<Own>(ours), "[tools.doc]\nscopes = [\"admin\"]\n").await;
        assert!(error.contains(&format!("{ours}: {expected}")), "{error}");
    }
    let error = refusal(with_doc().section::<Own>("own").section::<Own>("own"), "").await;
    assert!(error.contains("own: is declared as a section twice"), "{error}");
    let error = refusal(with_doc().secret("own.accounts"), "").await;
    assert!(error.contains("own.accounts: is declared secret, but is in no declared section"), "{error}");
    let error = refusal(with_doc().section::<Own>("own").secret("own.acounts"), "").await;
    assert!(
        error.contains("own.acounts: is declared secret, but its section's type has no such key"),
        "{error}"
    );
}

#[test]
fn a_key_without_a_value_is_a_problem_and_never_zero() {
    let catalog = fastmcp_auth0::wiring::shipped().catalog().unwrap();
    let problems = Settings::load(Sources::default(), &catalog).unwrap_err().to_string();
    for key in ["limits.body_bytes", "server.port", "mcp.state_keys", "log.level"] {
        assert!(problems.contains(&format!("{key}: is not set, and has no default here")), "{problems}");
    }
    let sources = Sources::defaults().set("test", "auth0.issuer", "https://tenant.example.auth0.com/");
    let sources = sources.set("test", "auth0.audience", "urn:api").text("my.toml", "[limits.requests]\n");
    let problems = Settings::load(sources, &catalog).unwrap_err();
    assert_eq!(problems.problems.len(), 1, "{problems}");
    assert_eq!(problems.problems[0].key, "limits.requests");
}

fn with_provider() -> ServerBuilder {
    let first = tool_fn("first", "A tool.", |_: Nothing, _: Principal| async { Ok("first") });
    with_doc().provider(ToolList::new(vec![Arc::new(first.scopes(&["first:read"]))]))
}

#[tokio::test]
async fn a_rule_for_a_tool_that_is_not_there_is_warned_of_and_a_misspelled_one_refused() {
    let error = refusal(with_provider(), "[tools.dco]\nscopes = [\"admin\"]\n").await;
    assert!(error.contains("tools.dco (my.toml:2:1): there is no such tool; did you mean doc?"), "{error}");

    let toml = "[tools.later]\nscopes = [\"later:read\"]\n[tools.first]\nenabled = false\n\
                [scopes]\nlogin = [\"doc:read\", \"doc:raed\"]\n[scopes.implies]\na = [\"b\"]\n";
    assert_eq!(
        warnings(with_provider(), toml).await,
        [
            "tools.later (my.toml:2:1): there is no such tool now, and the rule waits for one; the tools are doc, first",
            "scopes.implies.a (my.toml:8:1): no tool, resource or prompt asks for the scope \"b\"; the scopes are \
             doc:read, first:read",
            "scopes.login (my.toml:6:1): no tool, resource or prompt asks for the scope \"doc:raed\"; did you mean \
             doc:read?",
        ]
    );
    let good = "[tools.doc]\nscopes = [\"admin\"]\n[tools.first]\nenabled = false\n";
    assert_eq!(warnings(with_provider(), good).await, [""; 0]);
}

#[tokio::test]
async fn a_rule_may_name_what_the_set_up_will_add_and_is_not_warned_of() {
    let late = || tool_fn("late", "A tool.", |_: Nothing, _: Principal| async { Ok("late") });
    let builder = with_provider().setup(move |setup| async move { Ok(setup.tool(late())) });
    assert_eq!(warnings(builder, "[tools.late]\nscopes = [\"doc:read\"]\n").await, [""; 0]);
}
