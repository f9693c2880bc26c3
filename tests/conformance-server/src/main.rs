//! The official conformance suite's fixture, behind authentication like everything else. Prints its endpoint and a token as
//! one line of JSON, and serves until it is told to stop.
//!
//! `conformance-server PUBLIC_PORT REPLICAS` serves as many replicas, which share no memory, for a proxy at the port; their
//! own ports are in the line, too. Variables of the environment are settings of theirs, as they are of the binary.

use std::io::Write as _;
use std::sync::Arc;

use anyhow::Context as _;
use auth0_verifier::Auth0Verifier;
use domain::Clock;
use fastmcp_auth0::{Drained, Settings, Sources, wiring};
use local_tenant::{LocalTenant, Options, TokenRequest};
use serde_json::json;
use system_clock::SystemClock;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (public, replicas) = match arguments.as_slice() {
        [port, replicas, ..] => (Some(port.parse::<u16>()?), replicas.parse()?),
        _ => (None, 1),
    };
    let mut listeners = Vec::new();
    for _ in 0..replicas {
        listeners.push(TcpListener::bind("127.0.0.1:0").await?);
    }
    let ports = listeners.iter().map(|listener| Ok(listener.local_addr()?.port()));
    let ports = ports.collect::<anyhow::Result<Vec<u16>>>()?;
    let port = public.or(ports.first().copied()).context("there is no replica")?;
    let endpoint = format!("http://localhost:{port}/mcp");
    let tenant = LocalTenant::start(Options::default().with_api_identifier(&endpoint)).await?;
    let (end, ended) = watch::channel(());
    let mut serving = Vec::new();
    for listener in listeners {
        let sources = Sources::defaults()
            .environment(&variables())
            .set("fixture", "auth0.issuer", tenant.issuer())
            .set("fixture", "auth0.audience", endpoint.as_str())
            .set("fixture", "server.url", endpoint.trim_end_matches("/mcp"));
        serving.push(tokio::spawn(serve(listener, sources, ended.clone()).await?));
    }
    let request = TokenRequest { user: "admin".into(), scope: None, audience: None };
    let token = tenant.issue_token(&request)?.access_token;
    let mut out = std::io::stdout();
    writeln!(out, "{}", json!({"endpoint": endpoint, "token": token, "ports": ports}))?;
    out.flush()?;
    terminated.recv().await;
    drop(end);
    for replica in serving {
        replica.await?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a program, whose configuration they are")]
fn variables() -> Vec<(String, String)> {
    std::env::vars().filter(|(name, _)| name.starts_with("FASTMCP__")).collect()
}

/// Returns a server that has its keys, and serves until `ended` is.
async fn serve(
    listener: TcpListener,
    sources: Sources,
    mut ended: watch::Receiver<()>,
) -> anyhow::Result<impl Future<Output = Drained>> {
    let settings = Settings::load(sources, &wiring::shipped().catalog()?)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let verifier = Arc::new(Auth0Verifier::start(&settings.keys, Arc::clone(&clock)));
    let mut keys = verifier.status();
    let ports = conformance_server::configured(&settings, verifier, clock)?;
    ports.tried().await;
    let server = wiring::server(listener, &settings, ports)?;
    keys.wait_for(|status| status.succeeded > 0).await.context("the keys never came")?;
    Ok(server.run(async move {
        let _ = ended.changed().await;
    }))
}
