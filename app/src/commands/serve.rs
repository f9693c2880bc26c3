//! `serve`: production.

use std::process::ExitCode;

use anyhow::Context;

use super::{ServiceArguments, early_warnings, listen, run_until_stopped, runtime};
use crate::admin::{self, Admin};
use crate::config::{Problems, Sources};
use crate::live::{Changes, Live};
use crate::logging;
use crate::server::{Profile, Server, ServerBuilder};
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
    let said = early_warnings(&settings);
    runtime()?.block_on(serve(builder, sources, &said, arguments))
}

async fn serve(
    builder: ServerBuilder,
    sources: Sources,
    said: &[String],
    arguments: ServiceArguments,
) -> anyhow::Result<ExitCode> {
    let mut signals = StopSignals::catch()?;
    let hangups = Hangups::catch()?;
    let (profile, shutdown) = (builder.profile.clone(), builder.shutdown.clone());
    let outcome = match signals.unless_stopped(builder.build(sources)).await {
        Some(Ok(server)) => serve_until_stopped(server, profile, said, signals, hangups, arguments).await,
        Some(Err(error)) => Err(error),
        None => {
            tracing::info!("stopped during the set-up");
            Ok(ExitCode::SUCCESS)
        }
    };
    shutdown.run().await;
    outcome
}

async fn serve_until_stopped(
    server: Server,
    profile: Profile,
    said: &[String],
    signals: StopSignals,
    hangups: Hangups,
    arguments: ServiceArguments,
) -> anyhow::Result<ExitCode> {
    let Server { settings, ports, has_own_verifier, mut rule_warnings, .. } = server;
    let listener = listen(settings.server.bind, settings.server.port)
        .await
        .context("set another port: PORT, or server.port")?;
    let admin = admin::listen(&settings).await?;
    let address = listener.local_addr()?;
    let http = http_settings(&settings, address.port());
    let changes = Changes::of(&ports);
    let server = wiring::server(listener, &settings, ports.clone())?;
    tracing::info!(
        %address, endpoint = http.main.url(), issuer = http.issuer, audience = &*http.main.resource, "listening"
    );
    for endpoint in &http.others {
        tracing::info!(endpoint = endpoint.url(), audience = &*endpoint.resource, "also reached at");
    }
    let rest = settings.warnings.iter().filter(|warning| !said.contains(warning)).cloned();
    for warning in rest.chain(audience_warnings(&settings, &http)) {
        tracing::warn!("{warning}");
    }
    let admin = Admin::start(admin, server.status(), &ports)?;
    rule_warnings.log(&settings);
    let port = address.port();
    let mut live = Live::new(server.reload_handle(), port, settings, ports, changes, rule_warnings);
    live.keeps_verifier = has_own_verifier;
    let load = move |ports: &Ports| profile.settings(&ports.offer, arguments.sources(&profile));
    tokio::spawn(live.follow(hangups, load));
    Ok(run_until_stopped(server, admin, signals).await)
}
