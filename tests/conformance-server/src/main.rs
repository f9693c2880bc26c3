//! The official conformance suite's fixture, behind authentication like everything else. Prints its endpoint and a token as
//! one line of JSON, and serves until it is told to stop.

use std::io::Write as _;
use std::sync::Arc;

use anyhow::Context as _;
use auth0_verifier::Auth0Verifier;
use domain::Clock;
use fastmcp_auth0::{Settings, Sources, wiring};
use local_tenant::{LocalTenant, Options, TokenRequest};
use serde_json::json;
use system_clock::SystemClock;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://localhost:{}/mcp", listener.local_addr()?.port());
    let tenant = LocalTenant::start(Options::default().with_api_identifier(&endpoint)).await?;
    let sources = Sources::defaults().set("fixture", "auth0.issuer", tenant.issuer()).set(
        "fixture",
        "auth0.audience",
        endpoint.as_str(),
    );
    let settings = Settings::load(sources, &wiring::shipped().catalog()?)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let verifier = Arc::new(Auth0Verifier::start(&settings.keys, Arc::clone(&clock)));
    let mut keys = verifier.status();
    let ports = conformance_server::ports(verifier, clock);
    let server = wiring::server(listener, &settings, ports)?;
    let serving = tokio::spawn(server.run(async move {
        terminated.recv().await;
    }));
    keys.wait_for(|status| status.succeeded > 0).await.context("the keys never came")?;
    let request = TokenRequest { user: "admin".into(), scope: None, audience: None };
    let token = tenant.issue_token(&request)?.access_token;
    let mut out = std::io::stdout();
    writeln!(out, "{}", json!({"endpoint": endpoint, "token": token}))?;
    out.flush()?;
    serving.await?;
    Ok(())
}
