//! `serve`: production.

use std::process::ExitCode;

use anyhow::Context;

use super::{ServiceArguments, environment, listen, run_until_stopped, runtime};
use crate::config::{Problems, Settings, Sources, dot_env_here};
use crate::logging;
use crate::signals::StopSignals;
use crate::wiring::{Ports, audience_warning, http_settings, server, shipped_catalog};

/// Reads the configuration before anything is opened, then serves.
pub(super) fn run(arguments: &ServiceArguments) -> anyhow::Result<ExitCode> {
    let settings = load(arguments).map_err(|error| match error.downcast::<Problems>() {
        Ok(problems) => problems
            .with_hint("no tenant at hand? `fastmcp-auth0 dev` runs the server with a local one")
            .into(),
        Err(error) => error,
    })?;
    logging::start(settings.log);
    runtime()?.block_on(serve(settings))
}

/// The settings of `serve` and `check`.
pub(super) fn load(arguments: &ServiceArguments) -> anyhow::Result<Settings> {
    let sources = Sources::of_service(arguments.config.as_deref(), &dot_env_here(), &environment());
    Ok(Settings::load(sources, &shipped_catalog()?)?)
}

async fn serve(settings: Settings) -> anyhow::Result<ExitCode> {
    let signals = StopSignals::catch()?;
    let listener =
        listen(settings.bind, settings.port).await.context("set another port: PORT, or server.port")?;
    let address = listener.local_addr()?;
    let http = http_settings(&settings, address.port());
    let server = server(listener, &settings, Ports::real(&settings))?;
    tracing::info!(%address, endpoint = http.endpoint(), issuer = http.issuer, audience = http.resource, "listening");
    if let Some(warning) = audience_warning(&http) {
        tracing::warn!("{warning}");
    }
    Ok(run_until_stopped(server, signals).await)
}
