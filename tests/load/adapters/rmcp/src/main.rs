//! An MCP server on rmcp and axum, protected by bearer tokens as rmcp's examples do it: a middleware, here with jsonwebtoken.
//!
//! `rmcp-adapter PORT ISSUER AUDIENCE json|default`: `json` has no sessions and answers with JSON, `default` is what rmcp does by itself.
//! `rmcp-adapter versions` tells what it is made of.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::tool::Extension;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, Json, ServerHandler, tool, tool_handler, tool_router};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const SCOPE: &str = "tool:greet";

/// What of a token the tool reads.
#[derive(Clone, Deserialize)]
struct Claims {
    sub: String,
    scope: String,
}

#[derive(Deserialize, JsonSchema)]
struct Arguments {
    /// The name to greet; without it, "there".
    name: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Greeting {
    greeting: String,
    sub: String,
}

#[derive(Clone)]
struct Greeter {
    tool_router: ToolRouter<Self>,
}

#[tool_router]
impl Greeter {
    fn new() -> Self {
        Self { tool_router: Self::tool_router() }
    }

    #[tool(description = "Greets the authenticated user, by name if one is given.")]
    async fn greet(
        &self,
        Parameters(Arguments { name }): Parameters<Arguments>,
        Extension(parts): Extension<Parts>,
    ) -> Result<Json<Greeting>, ErrorData> {
        let claims = parts.extensions.get::<Claims>();
        let sub = claims.ok_or_else(|| ErrorData::internal_error("no claims", None))?.sub.clone();
        let name = name.unwrap_or_else(|| "there".into());
        Ok(Json(Greeting { greeting: format!("Hello, {name} ({sub})!"), sub }))
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Greeter {}

/// The issuer's keys, as they were at the start.
struct Verifier {
    keys: HashMap<String, DecodingKey>,
    validation: Validation,
}

impl Verifier {
    async fn fetch(issuer: &str, audience: &str) -> anyhow::Result<Self> {
        let address = format!("{issuer}.well-known/jwks.json");
        let set: JwkSet = reqwest::get(address).await?.error_for_status()?.json().await?;
        let mut keys = HashMap::new();
        for key in &set.keys {
            let id = key.common.key_id.clone().context("a key has no id")?;
            keys.insert(id, DecodingKey::from_jwk(key)?);
        }
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        Ok(Self { keys, validation })
    }

    fn verify(&self, request: &Request) -> Option<Claims> {
        let token = request.headers().get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
        let key = self.keys.get(&decode_header(token).ok()?.kid?)?;
        Some(decode::<Claims>(token, key, &self.validation).ok()?.claims)
    }
}

async fn protect(
    State(verifier): State<Arc<Verifier>>,
    mut request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    let claims = verifier.verify(&request).ok_or(StatusCode::UNAUTHORIZED)?;
    if !claims.scope.split(' ').any(|scope| scope == SCOPE) {
        return Err(StatusCode::FORBIDDEN);
    }
    request.extensions_mut().insert(claims);
    Ok(next.run(request).await)
}

/// A dependency with the version that is locked.
fn version(name: &str) -> String {
    let named = format!("\nname = \"{name}\"\n");
    let package = include_str!("../Cargo.lock").split("\n\n").find(|package| package.contains(&named));
    let version = package.and_then(|package| package.split('"').nth(3)).unwrap_or("?");
    format!("{name} {version}")
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["versions"] {
        println!("{}", ["rmcp", "axum", "jsonwebtoken"].map(version).join(", "));
        return Ok(());
    }
    let [port, issuer, audience, mode] = arguments.as_slice() else {
        anyhow::bail!("usage: rmcp-adapter PORT ISSUER AUDIENCE json|default");
    };
    let verifier = Arc::new(Verifier::fetch(issuer, audience).await?);
    let mut config = StreamableHttpServerConfig::default();
    if mode == "json" {
        config = config.with_legacy_session_mode(false).with_json_response(true);
    }
    let greeter = Greeter::new();
    let service = StreamableHttpService::new(
        move || Ok(greeter.clone()),
        LocalSessionManager::default().into(),
        config,
    );
    let app = Router::new().nest_service("/mcp", service).layer(from_fn_with_state(verifier, protect));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port.parse()?)).await?;
    axum::serve(listener, app).await?;
    Ok(())
}
