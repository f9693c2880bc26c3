//! The official Rust SDK's client, which this project did not write, against the real wiring in both eras.

use rmcp::model::{CallToolRequestParams, ProtocolVersion};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientLifecycleMode, ClientServiceExt};
use serde_json::json;

use crate::harness::{ADMIN, Harness, USER};

fn transport(harness: &Harness, token: &str) -> StreamableHttpClientTransport<reqwest::Client> {
    let config = StreamableHttpClientTransportConfig::with_uri(format!("http://{}/mcp", harness.address));
    StreamableHttpClientTransport::with_client(reqwest::Client::new(), config.auth_header(token))
}

fn modern() -> ClientLifecycleMode {
    ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }
}

async fn lists_and_calls_everything(lifecycle: ClientLifecycleMode, version: &str) {
    let harness = Harness::new().await;
    let client = ().serve_with_lifecycle(transport(&harness, ADMIN), lifecycle).await.unwrap();
    assert_eq!(client.peer_info().unwrap().protocol_version.as_str(), version);

    let tools = client.list_all_tools().await.unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_ref()).collect();
    assert_eq!(names, ["greet", "whoami", "get_datetime"]);

    let greet = CallToolRequestParams::new("greet")
        .with_arguments(json!({"name": "Ada"}).as_object().unwrap().clone());
    let greeted = client.call_tool(greet).await.unwrap();
    assert_eq!(greeted.structured_content.unwrap()["greeting"], "Hello, Ada (auth0|abc123)!");
    let identity = client.call_tool(CallToolRequestParams::new("whoami")).await.unwrap();
    assert_eq!(identity.structured_content.unwrap()["user"]["client_id"], "client-1");
    let present = client.call_tool(CallToolRequestParams::new("get_datetime")).await.unwrap();
    assert_eq!(present.structured_content.unwrap()["datetime"], "2026-11-23T01:04:37.985Z");
    client.cancel().await.unwrap();
}

#[tokio::test]
async fn the_rust_sdk_lists_and_calls_every_tool_in_the_legacy_era() {
    lists_and_calls_everything(ClientLifecycleMode::Initialize, "2025-11-25").await;
}

#[tokio::test]
async fn the_rust_sdk_lists_and_calls_every_tool_in_the_modern_era() {
    lists_and_calls_everything(modern(), "2026-07-28").await;
}

#[tokio::test]
async fn the_rust_sdk_finds_the_modern_era_by_itself() {
    let lifecycle = ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        legacy_version: None,
    };
    lists_and_calls_everything(lifecycle, "2026-07-28").await;
}

#[tokio::test]
async fn the_rust_sdk_understands_the_challenges() {
    let harness = Harness::new().await;
    let refused = ().serve_with_lifecycle(transport(&harness, "bad"), ClientLifecycleMode::Initialize).await;
    let text = format!("{:?}", refused.err().unwrap());
    assert!(text.contains("bad_signature"), "{text}");
    for lifecycle in [ClientLifecycleMode::Initialize, modern()] {
        let client = ().serve_with_lifecycle(transport(&harness, USER), lifecycle).await.unwrap();
        assert_eq!(client.list_all_tools().await.unwrap().len(), 2);
        let denied = client.call_tool(CallToolRequestParams::new("greet")).await.unwrap_err();
        let text = format!("{denied:?}");
        assert!(text.contains("insufficient_scope") && text.contains("tool:greet"), "{text}");
        client.cancel().await.unwrap();
    }
}
