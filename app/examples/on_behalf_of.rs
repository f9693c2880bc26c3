//! A server with one tool, `list_orders`, that calls another API on the caller's behalf: docs/on-behalf-of.md. Try it:
//! `cargo run --example orders_api`, and beside it `cargo run --example on_behalf_of -- dev`.

use std::process::ExitCode;

use fastmcp_auth0::{Context, Json, Server, Tool, ToolError, ToolHints};
use reqwest::header::AUTHORIZATION;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The section `[orders]`, and the API that tools may have tokens for.
const DEFAULTS: &str = r#"
[orders]
url = "http://127.0.0.1:4000/orders"

[downstream.apis.orders]
audience = "https://orders.example.com/"
scopes = ["orders:read"]
"#;

/// The section `[orders]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
pub struct OrdersConfig {
    /// The API's address.
    pub url: String,
}

/// Lists the caller's orders.
pub struct ListOrders(pub OrdersConfig);

/// What the API answers.
#[derive(Deserialize, Serialize, JsonSchema)]
pub struct Listed {
    /// The orders.
    orders: Vec<Order>,
    /// The client that the API was called by.
    client: String,
    /// Who acts for the caller, the present one first.
    actors: Vec<String>,
}

/// An order.
#[derive(Deserialize, Serialize, JsonSchema)]
pub struct Order {
    /// Its number.
    id: u64,
    /// What was ordered.
    item: String,
    /// Whose it is.
    of: String,
}

impl Tool for ListOrders {
    const NAME: &'static str = "list_orders";
    const TITLE: &'static str = "List orders";
    const DESCRIPTION: &'static str = "Lists your orders.";
    const SCOPES: &'static [&'static str] = &["tool:orders"];
    const HINTS: ToolHints = ToolHints::UNKNOWN.read_only();
    type Input = ();
    type Output = Json<Listed>;

    async fn call(&self, (): (), context: Context<'_>) -> Result<Json<Listed>, ToolError> {
        let token = context.downstream("orders", &["orders:read"]).await?;
        let request = reqwest::Client::new().get(&self.0.url).header(AUTHORIZATION, token.authorization());
        let failed = |error| ToolError::caused_by("the orders can't be read at the moment", error);
        let answer = request.send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
        let text = answer.bytes().await.map_err(failed)?;
        let orders = serde_json::from_slice(&text);
        Ok(Json(orders.map_err(|error| ToolError::caused_by("the orders can't be read", error))?))
    }
}

fn main() -> ExitCode {
    Server::builder()
        .identity(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
        .defaults(DEFAULTS)
        .section::<OrdersConfig>("orders")
        .describe_scope("tool:orders", "Read your orders")
        .setup(|setup| async {
            let orders = setup.section("orders")?;
            Ok(setup.tool(ListOrders(orders)))
        })
        .run()
}
