//! A running server, and what replaces what it serves: another configuration, or other tools of a provider.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::TokenVerifier;
use hyper_transport::ReloadHandle;

use crate::config::Settings;
use crate::signals::Hangups;
use crate::wiring::{self, Ports, http_settings, sealing_keys, snapshot};

/// What a running server was made of, to be compared with what a reload reads.
pub(crate) struct Live {
    handle: ReloadHandle,
    /// Where the server listens.
    port: u16,
    settings: Settings,
    ports: Ports,
}

impl Live {
    pub(crate) fn new(handle: ReloadHandle, port: u16, settings: Settings, ports: Ports) -> Self {
        Self { handle, port, settings, ports }
    }

    /// Serves what the providers have, for as long as it runs.
    pub(crate) async fn follow_providers(mut self) {
        loop {
            self.ports.offer.clone().changed().await;
            self.refresh();
        }
    }

    /// Serves what the providers have, and what `load` reads at every hangup: all of it, or none.
    pub(crate) async fn follow(
        mut self,
        mut hangups: Hangups,
        load: impl Fn(&Ports) -> anyhow::Result<Settings>,
    ) {
        loop {
            let offer = self.ports.offer.clone();
            tokio::select! {
                () = offer.changed() => self.refresh(),
                hangup = hangups.next() => match hangup {
                    Some(()) => self.reload(&load).await,
                    None => return self.follow_providers().await,
                },
            }
        }
    }

    /// Serves what the providers have now.
    fn refresh(&mut self) {
        if self.ports.offer.providers.is_empty() {
            return;
        }
        match self.replace(&self.settings, &self.ports) {
            Ok(()) => tracing::info!("a provider's tools changed"),
            Err(error) => tracing::error!("a provider's tools can't be offered, the old ones are: {error:#}"),
        }
    }

    async fn reload(&mut self, load: impl Fn(&Ports) -> anyhow::Result<Settings>) {
        let loaded = load(&self.ports);
        let applied = match loaded {
            Ok(new) => self.apply(new).await,
            Err(error) => Err(error),
        };
        match applied {
            Ok(changed) => tracing::info!(changed = changed.join(", "), "the configuration was read again"),
            Err(error) => {
                tracing::error!("the new configuration is refused, the old one serves on: {error:#}");
                // The providers were asked for their tools, and say nothing more of what they had then.
                self.refresh();
            }
        }
    }

    /// Applies other settings, and says which keys changed.
    async fn apply(&mut self, new: Settings) -> anyhow::Result<Vec<String>> {
        let changed = changed(&self.settings, &new);
        let fixed: Vec<&str> =
            changed.iter().map(String::as_str).filter(|key| restart_required(key)).collect();
        anyhow::ensure!(fixed.is_empty(), "it changes {}, which takes a restart", fixed.join(", "));
        let mut ports = self.ports.clone();
        if changed.iter().any(|key| is_about_signing_keys(key)) {
            ports.verifier = ready_verifier(&new, &ports).await?;
        }
        self.replace(&new, &ports)?;
        (self.settings, self.ports) = (new, ports);
        Ok(changed)
    }

    fn replace(&self, settings: &Settings, ports: &Ports) -> anyhow::Result<()> {
        // The one that a process made is kept: states that it sealed are on their way.
        let same = settings.state_keys == self.settings.state_keys;
        let keys = if same { self.handle.sealing_keys() } else { sealing_keys(settings) };
        self.handle.replace(&http_settings(settings, self.port), snapshot(settings, ports.clone(), keys)?);
        Ok(())
    }
}

/// A verifier that has fetched the new issuer's keys: with none, every request would be refused.
async fn ready_verifier(settings: &Settings, ports: &Ports) -> anyhow::Result<Arc<dyn TokenVerifier>> {
    let verifier = wiring::verifier(settings, Arc::clone(&ports.clock));
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

/// Whether a key takes a restart: what belongs to the socket, to the pools that exist, to the log, and to the set-up.
fn restart_required(key: &str) -> bool {
    const RELOADED_LIMITS: [&str; 2] = ["limits.tool_seconds", "limits.json_depth"];
    const RELOADED: [&str; 9] =
        ["server", "auth0", "tokens", "keys", "http", "mcp", "tools", "endpoints", "scopes"];
    let section = key.split('.').next().unwrap_or_default();
    match section {
        "server" => ["server.bind", "server.port"].contains(&key),
        "limits" => !RELOADED_LIMITS.contains(&key),
        _ => !RELOADED.contains(&section),
    }
}

/// Keys of which signing keys depend: where they come from, and how they are kept.
fn is_about_signing_keys(key: &str) -> bool {
    key == "auth0.domain" || key == "auth0.issuer" || key.starts_with("keys.")
}
