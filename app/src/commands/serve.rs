//! `serve`: production.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use domain::TokenVerifier;
use hyper_transport::ReloadHandle;

use super::{ServiceArguments, environment, listen, run_until_stopped, runtime};
use crate::config::{Problems, Settings, Sources, dot_env_here};
use crate::logging;
use crate::signals::{Hangups, StopSignals};
use crate::wiring::{
    Ports, audience_warnings, http_settings, sealing_keys, server, shipped_catalog, snapshot, verifier,
};

/// Reads the configuration before anything is opened, then serves.
pub(super) fn run(arguments: &ServiceArguments) -> anyhow::Result<ExitCode> {
    let settings = load(arguments).map_err(|error| match error.downcast::<Problems>() {
        Ok(problems) => problems
            .with_hint("no tenant at hand? `fastmcp-auth0 dev` runs the server with a local one")
            .into(),
        Err(error) => error,
    })?;
    logging::start(settings.log);
    runtime()?.block_on(serve(settings, arguments.clone()))
}

/// The settings of `serve` and `check`.
pub(super) fn load(arguments: &ServiceArguments) -> anyhow::Result<Settings> {
    let sources = Sources::of_service(arguments.config.as_deref(), &dot_env_here(), &environment());
    Ok(Settings::load(sources, &shipped_catalog()?)?)
}

async fn serve(settings: Settings, arguments: ServiceArguments) -> anyhow::Result<ExitCode> {
    let signals = StopSignals::catch()?;
    let hangups = Hangups::catch()?;
    let listener =
        listen(settings.bind, settings.port).await.context("set another port: PORT, or server.port")?;
    let address = listener.local_addr()?;
    let http = http_settings(&settings, address.port());
    let ports = Ports::real(&settings);
    let server = server(listener, &settings, ports.clone())?;
    tracing::info!(
        %address, endpoint = http.main.url(), issuer = http.issuer, audience = &*http.main.resource, "listening"
    );
    for endpoint in &http.others {
        tracing::info!(endpoint = endpoint.url(), audience = &*endpoint.resource, "also reached at");
    }
    for warning in settings.warnings.iter().cloned().chain(audience_warnings(&settings, &http)) {
        tracing::warn!("{warning}");
    }
    let running = Running { handle: server.reload_handle(), port: address.port(), settings, ports };
    tokio::spawn(reload(hangups, running, arguments));
    Ok(run_until_stopped(server, signals).await)
}

/// What a running server was made of, to be compared with what a reload reads.
struct Running {
    handle: ReloadHandle,
    /// Where the server listens.
    port: u16,
    settings: Settings,
    ports: Ports,
}

/// Reads the configuration again at every hangup: all of it is applied, or none.
async fn reload(mut hangups: Hangups, mut running: Running, arguments: ServiceArguments) {
    while hangups.next().await.is_some() {
        match running.reload(&arguments).await {
            Ok(changed) => tracing::info!(changed = changed.join(", "), "the configuration was read again"),
            Err(error) => {
                tracing::error!("the new configuration is refused, the old one serves on: {error:#}");
            }
        }
    }
}

impl Running {
    /// Applies what the sources say now, and says which keys changed.
    async fn reload(&mut self, arguments: &ServiceArguments) -> anyhow::Result<Vec<String>> {
        let new = load(arguments)?;
        let changed = changed(&self.settings, &new);
        let fixed: Vec<&str> =
            changed.iter().map(String::as_str).filter(|key| is_read_at_start(key)).collect();
        anyhow::ensure!(fixed.is_empty(), "it changes {}, which takes a restart", fixed.join(", "));
        let mut ports = self.ports.clone();
        if changed.iter().any(|key| is_about_signing_keys(key)) {
            ports.verifier = ready_verifier(&new, &ports).await?;
        }
        // The one that a process made is kept: states that it sealed are on their way.
        let same = new.state_keys == self.settings.state_keys;
        let keys = if same { self.handle.sealing_keys() } else { sealing_keys(&new) };
        self.handle.replace(&http_settings(&new, self.port), snapshot(&new, ports.clone(), keys)?);
        (self.settings, self.ports) = (new, ports);
        Ok(changed)
    }
}

/// A verifier that has fetched the new issuer's keys: with none, every request would be refused.
async fn ready_verifier(settings: &Settings, ports: &Ports) -> anyhow::Result<Arc<dyn TokenVerifier>> {
    let verifier = verifier(settings, Arc::clone(&ports.clock));
    let mut status = verifier.status();
    let fetched = status.wait_for(|status| status.finished() > 0);
    tokio::select! {
        fetched = fetched => drop(fetched?),
        () = ports.clock.sleep(2 * settings.keys.fetch_timeout) => {}
    }
    verifier.ready().map_err(|reason| anyhow::anyhow!("the issuer's keys can't be had: {reason}"))?;
    Ok(Arc::new(verifier))
}

/// The keys whose values differ, and those that came or went.
fn changed(old: &Settings, new: &Settings) -> Vec<String> {
    let values = |settings: &Settings| -> BTreeMap<String, String> {
        settings.effective.iter().map(|value| (value.key.clone(), value.value.clone())).collect()
    };
    let (before, now) = (values(old), values(new));
    let keys: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let mut changed: Vec<String> =
        keys.into_iter().filter(|key| before.get(*key) != now.get(*key)).cloned().collect();
    // Their values are not shown, and so not compared above.
    if old.state_keys != new.state_keys && !changed.iter().any(|key| key == "mcp.state_keys") {
        changed.push("mcp.state_keys".to_owned());
    }
    changed
}

/// Keys that nothing but a start heeds.
fn is_read_at_start(key: &str) -> bool {
    let reloaded = ["limits.tool_seconds", "limits.json_depth"];
    let fixed = ["server.bind", "server.port", "limits.", "log."];
    fixed.iter().any(|fixed| key.starts_with(fixed)) && !reloaded.contains(&key)
}

/// Keys of which signing keys depend: where they come from, and how they are kept.
fn is_about_signing_keys(key: &str) -> bool {
    key == "auth0.domain" || key == "auth0.issuer" || key.starts_with("keys.")
}
