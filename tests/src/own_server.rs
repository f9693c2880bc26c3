//! A server of somebody's own, built on the library: its configuration, its set-up, its tools, and tools that come and go.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastmcp_auth0::testing::TestServer;
use fastmcp_auth0::{
    CallToolResult, Change, Context, DynTool, ElicitResult, Icon, Json, Principal, Provider, Server,
    ServerBuilder, SpecError, Tool, ToolCall, ToolError, ToolList, ToolResult, ToolSpec, async_trait,
    tool_fn,
};
use futures_util::stream::BoxStream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::harness::soon;

#[derive(Debug, Clone, Deserialize)]
struct Orders {
    url: String,
    #[serde(default)]
    pool: u8,
}

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

#[derive(Serialize, JsonSchema)]
struct Where {
    url: String,
    pool: u8,
}

struct Connected(Orders);

impl Tool for Connected {
    const NAME: &'static str = "connected";
    const DESCRIPTION: &'static str = "Says where the orders are.";
    const SCOPES: &'static [&'static str] = &["orders:read"];
    type Input = Nothing;
    type Output = Json<Where>;

    async fn call(&self, _: Nothing, _: Context<'_>) -> Result<Json<Where>, ToolError> {
        Ok(Json(Where { url: self.0.url.clone(), pool: self.0.pool }))
    }
}

fn named(name: &'static str, scopes: &'static [&'static str]) -> Arc<dyn DynTool> {
    Arc::new(tool_fn(name, "A tool.", move |_: Nothing, _: Principal| async move { Ok(name) }).scopes(scopes))
}

fn orders() -> ServerBuilder {
    Server::builder()
        .identity("orders-server", "1.2.3")
        .defaults("[orders]\nurl = \"sqlite://orders.db\"\npool = 5\n")
        .section::<Orders>("orders")
        .secret("orders.url")
        .setup(|cx| async move {
            let orders = cx.section::<Orders>("orders")?;
            Ok(cx.tool(Connected(orders)))
        })
}

#[tokio::test]
async fn a_tool_of_the_set_up_has_the_servers_own_configuration_and_its_scopes() {
    let server =
        TestServer::start_with(orders(), |sources| sources.set("test", "orders.pool", 7_i64)).await.unwrap();
    let answer = server.call(&server.token("orders:read"), "connected", json!({})).await.unwrap();
    assert_eq!(answer.structured_content(), json!({"url": "sqlite://orders.db", "pool": 7}));
    let refused = server.call(&server.token("other"), "connected", json!({})).await.unwrap();
    assert_eq!((refused.status, refused.json().unwrap()["scope"].clone()), (403, json!("orders:read")));
    assert_eq!(server.tools(&server.token("other")).await.unwrap(), [""; 0]);

    let initialize = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let answer = server.request(&server.token(""), "initialize", initialize).await.unwrap().json().unwrap();
    let info = &answer["result"]["serverInfo"];
    assert_eq!(info, &json!({"name": "orders-server", "title": "orders-server", "version": "1.2.3"}));
}

#[tokio::test]
async fn faults_of_the_servers_own_sections_stop_the_start_with_key_and_source() {
    let refused = |key: &'static str, value: &'static str| async move {
        let server = TestServer::start_with(orders(), |sources| sources.set("my.toml", key, value)).await;
        server.err().unwrap().to_string()
    };
    for (key, value, expected) in [
        ("orders.colour", "red", "orders.colour (my.toml): there is no such key"),
        ("orders.pool", "many", "orders.pool (my.toml): must be u8"),
        ("ordres.url", "x", "ordres.url (my.toml): there is no such key"),
    ] {
        let error = refused(key, value).await;
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_set_up_that_fails_stops_the_start_and_a_rule_may_name_its_tools() {
    let failing = orders().setup(|_| async { anyhow::bail!("the database is away") });
    let error = TestServer::start(failing).await.err().unwrap();
    assert_eq!(format!("{error:#}"), "the set-up failed: the database is away");

    let undeclared = Server::builder().setup(|cx| async move { cx.section::<Orders>("orders").map(|_| cx) });
    let error = format!("{:#}", TestServer::start(undeclared).await.err().unwrap());
    assert!(error.contains("the section [orders] is not declared"), "{error}");

    let other_scopes =
        |sources: fastmcp_auth0::Sources| sources.text("my.toml", "[tools.connected]\nscopes = [\"o:r\"]\n");
    let server = TestServer::start_with(orders(), other_scopes).await.unwrap();
    assert_eq!(server.tools(&server.token("o:r")).await.unwrap(), ["connected"]);
    let misspelled =
        |sources: fastmcp_auth0::Sources| sources.text("my.toml", "[tools.conected]\nenabled = false\n");
    let error = TestServer::start_with(orders(), misspelled).await.err().unwrap().to_string();
    assert!(error.contains("there is no such tool; the tools are connected"), "{error}");
}

#[tokio::test]
async fn what_was_registered_last_is_shut_down_first_and_after_the_last_answer() {
    let done = Arc::new(Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let done = Arc::clone(&done);
        move || async move { done.lock().unwrap().push(what) }
    };
    let (pool, cache) = (note("pool"), note("cache"));
    let builder = Server::builder()
        .setup(|cx| async move { Ok(cx.on_shutdown(pool)) })
        .setup(|cx| async move { Ok(cx.on_shutdown(cache)) });
    let server = TestServer::start(builder).await.unwrap();
    assert_eq!(*done.lock().unwrap(), [""; 0]);
    soon(server.stop()).await.unwrap();
    assert_eq!(*done.lock().unwrap(), ["cache", "pool"]);
}

#[tokio::test]
async fn a_providers_tools_come_and_go_and_listeners_are_told() {
    let list = ToolList::new(vec![named("first", &["a"])]);
    let server = TestServer::start(Server::builder().tool(Fixed).provider(list.clone())).await.unwrap();
    let token = server.token("a");
    assert_eq!(server.tools(&token).await.unwrap(), ["fixed", "first"]);

    let mut listening =
        crate::streams::listen_at(server.address, &token, json!({"toolsListChanged": true})).await;
    list.set(vec![named("second", &["a"]), named("fixed", &[]), named("third", &["b"])]);
    listening.until("notifications/tools/list_changed").await;
    assert_eq!(server.tools(&token).await.unwrap(), ["fixed", "second"], "a taken name is left out");
    assert_eq!(server.call(&token, "second", json!({})).await.unwrap().text(), "second");
    let gone = server.call(&token, "first", json!({})).await.unwrap().json().unwrap();
    assert_eq!(gone["error"]["code"], -32602);
    assert_eq!(server.call(&token, "third", json!({})).await.unwrap().status, 403);
}

/// Panics when it is first asked, and has its list after that.
struct Shaky(AtomicUsize, ToolList);

impl Provider for Shaky {
    fn tools(&self) -> Vec<Arc<dyn DynTool>> {
        assert_ne!(self.0.fetch_add(1, Ordering::Relaxed), 0, "as scripted");
        self.1.tools()
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        self.1.changes()
    }
}

struct Undeliverable;

#[async_trait]
impl DynTool for Undeliverable {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        let spec = ToolSpec::with_schema("undeliverable", "U", "U.", json!({"type": "object"}))?;
        Ok(spec.icon(Icon::new("http://plain.example/icon.png")))
    }

    async fn run(&self, _: ToolCall<'_>) -> ToolResult {
        CallToolResult::of(["never"])
    }
}

#[tokio::test]
async fn a_provider_that_panics_or_has_a_bad_tool_takes_nothing_else_with_it() {
    let list = ToolList::new(vec![named("first", &[])]);
    let builder = Server::builder().tool(Fixed).provider(Shaky(AtomicUsize::new(0), list.clone()));
    let server = TestServer::start(builder).await.unwrap();
    let token = server.token("");
    let mut listening =
        crate::streams::listen_at(server.address, &token, json!({"toolsListChanged": true})).await;
    list.set(vec![Arc::new(Undeliverable), named("second", &[])]);
    listening.until("notifications/tools/list_changed").await;
    assert_eq!(server.tools(&token).await.unwrap(), ["fixed", "second"]);
}

#[tokio::test]
async fn what_was_set_up_is_shut_down_when_the_start_fails_after_it() {
    let done = Arc::new(AtomicUsize::new(0));
    let with_hook = || {
        let done = Arc::clone(&done);
        Server::builder().setup(|cx| async move {
            Ok(cx.on_shutdown(move || async move {
                done.fetch_add(1, Ordering::Relaxed);
            }))
        })
    };
    let failing = with_hook().setup(|_| async { anyhow::bail!("no database") });
    assert!(TestServer::start(failing).await.is_err());
    assert_eq!(done.load(Ordering::Relaxed), 1, "a later step failed");
    let misspelled =
        |sources: fastmcp_auth0::Sources| sources.text("my.toml", "[tools.none]\nenabled = false\n");
    assert!(TestServer::start_with(with_hook(), misspelled).await.is_err());
    assert_eq!(done.load(Ordering::Relaxed), 2, "the configuration does not fit");
}

struct Fixed;

impl Tool for Fixed {
    const NAME: &'static str = "fixed";
    const DESCRIPTION: &'static str = "Is always there.";
    type Input = Nothing;
    type Output = &'static str;

    async fn call(&self, _: Nothing, _: Context<'_>) -> Result<&'static str, ToolError> {
        Ok("fixed")
    }
}

/// Asks twice, by `?`.
struct Booking(AtomicUsize);

impl Tool for Booking {
    const NAME: &'static str = "book";
    const DESCRIPTION: &'static str = "Books a table.";
    type Input = Nothing;
    type Output = String;

    async fn call(&self, _: Nothing, context: Context<'_>) -> Result<String, ToolError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let schema = |field: &str| json!({"type": "object", "properties": {field: {"type": "string"}}});
        let answer = |name: &str| match context.elicit(name, &format!("{name}?"), schema(name))? {
            ElicitResult::Accept(form) => Ok(form.get(name).and_then(Value::as_str).unwrap_or("").to_owned()),
            ElicitResult::Decline | ElicitResult::Cancel => Err(ToolError::new("not booked")),
        };
        let (day, time) = (answer("day")?, answer("time")?);
        Ok(format!("booked for {day} at {time}"))
    }
}

#[tokio::test]
async fn a_tool_asks_one_thing_after_the_other_in_the_modern_era() {
    let booking = Arc::new(Booking(AtomicUsize::new(0)));
    let harness = crate::harness::Choices::new().tool(Arc::clone(&booking) as _).start().await;
    let call = |extra: Value| {
        let mut params = json!({"name": "book", "arguments": {}});
        params.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        harness.modern(crate::harness::ADMIN, "tools/call", params)
    };
    let accept = |name: &str, text: &str| json!({name: {"action": "accept", "content": {name: text}}});
    let first = call(json!({})).await.json();
    assert_eq!(first["result"]["inputRequests"]["day"]["method"], "elicitation/create", "{first}");
    let state = &first["result"]["requestState"];
    let second = call(json!({"inputResponses": accept("day", "Friday"), "requestState": state})).await.json();
    assert_eq!(second["result"]["inputRequests"]["time"]["params"]["message"], "time?", "{second}");
    let state = &second["result"]["requestState"];
    let third = call(json!({"inputResponses": accept("time", "eight"), "requestState": state})).await.json();
    assert_eq!(third["result"]["content"][0]["text"], "booked for Friday at eight", "{third}");
    let declined = json!({"inputResponses": {"day": {"action": "decline"}}, "requestState": first["result"]["requestState"]});
    let declined = call(declined).await.json();
    assert_eq!(
        (&declined["result"]["isError"], &declined["result"]["content"][0]["text"]),
        (&json!(true), &json!("not booked"))
    );
    assert_eq!(booking.0.load(Ordering::Relaxed), 4, "each round begins anew");
}

#[tokio::test]
async fn the_test_server_moves_time_and_scripts_tokens() {
    let server = TestServer::start(Server::builder().tool(Fixed)).await.unwrap();
    let uma = server.token_with("", |claims| claims.subject = "auth0|uma".into());
    assert_eq!(server.call(&uma, "fixed", json!({})).await.unwrap().text(), "fixed");
    server.clock.advance(Duration::from_hours(2));
    let expired = server.call(&uma, "fixed", json!({})).await.unwrap();
    assert_eq!(expired.status, 401);
    assert!(expired.headers["www-authenticate"].to_str().unwrap().contains("expired"));
    assert_eq!(
        server.call(&server.token(""), "fixed", json!({})).await.unwrap().status,
        200,
        "a new one is good"
    );
    assert_eq!(server.call("unknown", "fixed", json!({})).await.unwrap().status, 401);
}
