//! What is shown of a tool besides its words: hints and icons.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{
    CallToolResult, DynTool, GetPromptResult, Icon, IconTheme, Outcome, Prompt, PromptCall, PromptSpec,
    ReadCall, ReadResourceResult, Resource, ResourceSpec, ResourceSpecError, SpecError, ToolCall, ToolResult,
    ToolSpec,
};
use fastmcp_auth0::wiring;
use fastmcp_auth0::{Settings, Sources};
use serde_json::{Value, json};

use crate::harness::{ADMIN, AUDIENCE, Choices, Harness, ISSUER};

struct Shown(&'static str);

#[async_trait]
impl DynTool for Shown {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        let icon = Icon::new(self.0).of_type("image/png").sized("48x48").on(IconTheme::Dark);
        let spec = ToolSpec::with_schema("shown", "Shown", "A tool.", json!({"type": "object"}))?;
        Ok(spec.additive().icon(icon))
    }

    async fn run(&self, _: ToolCall<'_>) -> ToolResult {
        CallToolResult::of(["done"])
    }
}

struct Item(&'static str, &'static str);

#[async_trait]
impl Resource for Item {
    fn spec(&self) -> Result<ResourceSpec, ResourceSpecError> {
        Ok(ResourceSpec::template(self.0, "item", "Item", "An item.")?.icon(Icon::new(self.1)))
    }

    async fn read(&self, _: ReadCall<'_>) -> ReadResourceResult {
        Ok(Outcome::Complete(Vec::new()))
    }
}

struct Start(&'static str);

#[async_trait]
impl Prompt for Start {
    fn spec(&self) -> Result<PromptSpec, domain::InvalidScope> {
        Ok(PromptSpec::new("start", "Start", "A start.").icon(Icon::new(self.0)))
    }

    async fn get(&self, _: PromptCall<'_>) -> GetPromptResult {
        Ok(Outcome::Complete(Vec::new()))
    }
}

const URL: &str = "https://mcp.example.com/icon.png";
const DATA: &str = "data:image/png;base64,AAAA";

async fn start() -> Harness {
    let choices = Choices::new().set("mcp.icons", vec![URL, DATA]).tool(Arc::new(Shown(URL)));
    choices.resource(Arc::new(Item("item://{id}", DATA))).prompt(Arc::new(Start(URL))).start().await
}

async fn legacy(harness: &Harness, method: &str, params: Value) -> Value {
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    harness.legacy(ADMIN, &message).await.json()["result"].clone()
}

#[tokio::test]
async fn hints_and_icons_are_listed_in_both_eras() {
    let harness = start().await;
    let icon = json!({"src": URL, "mimeType": "image/png", "sizes": ["48x48"], "theme": "dark"});
    let hints = json!({"title": "Shown", "readOnlyHint": false, "destructiveHint": false,
        "idempotentHint": false, "openWorldHint": true});
    for (method, member, icons) in [
        ("tools/list", "tools", json!([icon])),
        ("resources/templates/list", "resourceTemplates", json!([{"src": DATA}])),
        ("prompts/list", "prompts", json!([{"src": URL}])),
    ] {
        let modern = harness.modern(ADMIN, method, json!({})).await.json();
        for result in [legacy(&harness, method, json!({})).await, modern["result"].clone()] {
            let last = result[member].as_array().unwrap().last().unwrap().clone();
            assert_eq!(last["icons"], icons, "{method}");
            if method == "tools/list" {
                assert_eq!(last["annotations"], hints);
                assert!(result[member][0].get("icons").is_none(), "greet has none");
            }
        }
    }
}

#[tokio::test]
async fn the_servers_icons_stand_where_it_says_what_it_is_in_revisions_that_have_icons() {
    let harness = start().await;
    let icons = json!([{"src": URL}, {"src": DATA}]);
    for (version, expected) in
        [("2025-11-25", icons.clone()), ("2025-06-18", Value::Null), ("2024-11-05", Value::Null)]
    {
        let result = legacy(&harness, "initialize", json!({"protocolVersion": version})).await;
        assert_eq!(result["serverInfo"]["icons"], expected, "{version}");
    }
    for (method, expected) in [("server/discover", icons), ("tools/list", Value::Null)] {
        let result = harness.modern(ADMIN, method, json!({})).await.json()["result"].clone();
        let info = &result["_meta"]["io.modelcontextprotocol/serverInfo"];
        assert_eq!((&info["name"], &info["icons"]), (&json!("fastmcp-auth0"), &expected), "{method}");
    }
}

#[tokio::test]
async fn an_icon_that_clients_must_refuse_stops_the_start() {
    let sources =
        || Sources::defaults().set("test", "auth0.issuer", ISSUER).set("test", "auth0.audience", AUDIENCE);
    let catalog = wiring::shipped().catalog().unwrap();
    for bad in ["http://mcp.example.com/icon.png", "javascript:alert(1)"] {
        let refused = Settings::load(sources().set("test", "mcp.icons", vec![bad]), &catalog).unwrap_err();
        assert!(refused.to_string().contains("mcp.icons"), "{refused}");
    }
    let settings = Settings::load(sources(), &catalog).unwrap();
    let bad = "file:///icon.png";
    let with = [
        Choices::new().tool(Arc::new(Shown(bad))),
        Choices::new().resource(Arc::new(Item("item://{id}", bad))),
        Choices::new().prompt(Arc::new(Start(bad))),
    ];
    for (choices, of) in with.into_iter().zip(["shown", "item://{id}", "start"]) {
        let snapshot = wiring::snapshot(&settings, choices.ports(), wiring::sealing_keys(&settings));
        let text = format!("{:#}", snapshot.err().unwrap());
        assert!(text.contains(&format!("an icon of {of} is neither")), "{text}");
    }
}
