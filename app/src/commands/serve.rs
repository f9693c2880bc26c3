//! `serve`: production.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use hyper_transport::Offer;

use super::{ServiceArguments, environment, listen, run_until_stopped, runtime};
use crate::config::{Problems, Settings, Sources, dot_env_here};
use crate::logging;
use crate::signals::{Hangups, StopSignals};
use crate::wiring::{Ports, audience_warning, http_settings, server, service, shipped_catalog};

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
    tracing::info!(%address, endpoint = http.endpoint(), issuer = http.issuer, audience = http.resource, "listening");
    for warning in settings.warnings.iter().chain(&audience_warning(&http)) {
        tracing::warn!("{warning}");
    }
    tokio::spawn(reload(hangups, server.offer(), settings, ports, arguments));
    Ok(run_until_stopped(server, signals).await)
}

/// Reads the configuration again at every hangup. A bad one is refused, and the old one serves on.
async fn reload(
    mut hangups: Hangups,
    offer: Offer,
    mut settings: Settings,
    ports: Ports,
    arguments: ServiceArguments,
) {
    while hangups.next().await.is_some() {
        let loaded = load(&arguments).and_then(|new| {
            offer.replace(Arc::new(service(&new, ports.clone())?))?;
            Ok(new)
        });
        match loaded {
            Ok(new) => {
                for key in unheeded(&settings, &new) {
                    tracing::warn!(key, "the configuration changed, but this key is read at the start only");
                }
                tracing::info!("the configuration was read again");
                settings = new;
            }
            Err(error) => {
                tracing::error!("the new configuration is refused, the old one serves on: {error:#}");
            }
        }
    }
}

/// Keys whose values differ, though nothing but a start heeds them.
fn unheeded<'a>(old: &Settings, new: &'a Settings) -> Vec<&'a str> {
    let is_heeded =
        |key: &str| key.starts_with("tools.") || key.starts_with("tokens.") || key == "limits.tool_seconds";
    let is_new =
        |key: &str, value: &str| !old.effective.iter().any(|old| old.key == key && old.value == value);
    let changed = new.effective.iter().filter(|new| is_new(&new.key, &new.value) && !is_heeded(&new.key));
    changed.map(|effective| effective.key.as_str()).collect()
}
