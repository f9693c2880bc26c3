//! `serve`: production.

use std::process::ExitCode;

use anyhow::Context;

use super::{ServiceArguments, listen, run_until_stopped, runtime};
use crate::config::{Problems, Sources};
use crate::live::Live;
use crate::logging;
use crate::server::{Server, ServerBuilder};
use crate::signals::{Hangups, StopSignals};
use crate::wiring::{self, Ports, audience_warnings, http_settings};

/// Reads the configuration before anything is opened, then serves.
pub(super) fn run(builder: ServerBuilder, arguments: ServiceArguments) -> anyhow::Result<ExitCode> {
    let sources = arguments.sources(&builder.profile);
    let settings = builder.first_settings(sources.clone()).map_err(|error| {
        let hint =
            format!("no tenant at hand? `{} dev` runs the server with a local one", builder.profile.name);
        match error.downcast::<Problems>() {
            Ok(problems) => problems.with_hint(hint).into(),
            Err(error) => error,
        }
    })?;
    logging::start(settings.log);
    runtime()?.block_on(serve(builder, sources, arguments))
}

async fn serve(
    builder: ServerBuilder,
    sources: Sources,
    arguments: ServiceArguments,
) -> anyhow::Result<ExitCode> {
    let signals = StopSignals::catch()?;
    let hangups = Hangups::catch()?;
    let profile = builder.profile.clone();
    let Server { settings, ports, shutdown } = builder.build(sources).await?;
    let listener = listen(settings.server.bind, settings.server.port)
        .await
        .context("set another port: PORT, or server.port")?;
    let address = listener.local_addr()?;
    let http = http_settings(&settings, address.port());
    let server = wiring::server(listener, &settings, ports.clone())?;
    tracing::info!(
        %address, endpoint = http.main.url(), issuer = http.issuer, audience = &*http.main.resource, "listening"
    );
    for endpoint in &http.others {
        tracing::info!(endpoint = endpoint.url(), audience = &*endpoint.resource, "also reached at");
    }
    for warning in settings.warnings.iter().cloned().chain(audience_warnings(&settings, &http)) {
        tracing::warn!("{warning}");
    }
    let live = Live::new(server.reload_handle(), address.port(), settings, ports);
    let load = move |ports: &Ports| profile.settings(&ports.offer, arguments.sources(&profile));
    tokio::spawn(live.follow(hangups, load));
    let code = run_until_stopped(server, signals).await;
    shutdown.run().await;
    Ok(code)
}
