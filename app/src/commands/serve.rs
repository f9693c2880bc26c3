//! `serve`: production.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use hyper_transport::Listener;
use listenfd::ListenFd;

use super::{ServiceArguments, early_warnings, listen, run_until_stopped, runtime};
use crate::admin::{self, Admin};
use crate::config::settings::{self, server::Bind};
use crate::config::{Problems, Sources};
use crate::live::{Changes, Live};
use crate::logging;
use crate::server::{Profile, Server, ServerBuilder};
use crate::signals::{Hangups, StopSignals};
use crate::systemd;
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
    logging::start(settings.log)?;
    let said = early_warnings(&settings);
    // Their numbers leave the environment, which must be done before there are other threads.
    let passed = (settings.server.bind == Bind::Systemd).then(ListenFd::from_env);
    runtime()?.block_on(serve(builder, sources, &said, arguments, passed))
}

async fn serve(
    builder: ServerBuilder,
    sources: Sources,
    said: &[String],
    arguments: ServiceArguments,
    passed: Option<ListenFd>,
) -> anyhow::Result<ExitCode> {
    let mut signals = StopSignals::catch()?;
    let hangups = Hangups::catch()?;
    let (profile, shutdown) = (builder.profile.clone(), builder.shutdown.clone());
    let outcome = match signals.unless_stopped(builder.build(sources)).await {
        Some(Ok(server)) => match open(&server.settings.server, passed).await {
            Ok(listeners) => {
                serve_until_stopped(server, listeners, profile, said, (signals, hangups), arguments).await
            }
            Err(error) => Err(error),
        },
        Some(Err(error)) => Err(error),
        None => {
            tracing::info!("stopped during the set-up");
            Ok(ExitCode::SUCCESS)
        }
    };
    shutdown.run().await;
    outcome
}

/// Opens the listening sockets, one at least; `passed` has those that systemd passed on.
async fn open(
    server: &settings::server::Server,
    passed: Option<ListenFd>,
) -> anyhow::Result<(Listener, Vec<Listener>)> {
    match &server.bind {
        Bind::Address(address) => {
            let listener = listen(*address, server.port).await;
            Ok((listener.context("set another port: PORT, or server.port")?.into(), Vec::new()))
        }
        Bind::Unix(path) => {
            let listener = Listener::unix(path, server.socket_mode);
            Ok((listener.with_context(|| format!("can't listen on {}", server.bind))?, Vec::new()))
        }
        Bind::Systemd => systemd::listeners(passed.unwrap_or_else(ListenFd::empty)),
    }
}

async fn serve_until_stopped(
    server: Server,
    (listener, others): (Listener, Vec<Listener>),
    profile: Profile,
    said: &[String],
    (signals, hangups): (StopSignals, Hangups),
    arguments: ServiceArguments,
) -> anyhow::Result<ExitCode> {
    let Server { settings, ports, has_own_verifier, mut rule_warnings, .. } = server;
    let admin = admin::listen(&settings).await?;
    let address = listener.address();
    let port = listener.tcp_address().map_or(settings.server.port, |address| address.port());
    let http = http_settings(&settings, port);
    ports.tried().await;
    let changes = Changes::of(&ports);
    let mut server = wiring::server(listener, &settings, ports.clone())?;
    for listener in others {
        tracing::info!(address = listener.address(), "also listening");
        server = server.also_on(listener);
    }
    tracing::info!(
        address,
        endpoint = http.main.url(),
        issuer = http.issuer,
        audience = &*http.main.resource,
        "listening"
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
    systemd::feed_watchdog(Arc::clone(&ports.clock));
    let mut live = Live::new(server.reload_handle(), port, settings, ports, changes, rule_warnings);
    live.keeps_verifier = has_own_verifier;
    let load = move |ports: &Ports| profile.settings(&ports.offer, arguments.sources(&profile));
    tokio::spawn(live.follow(hangups, load));
    systemd::ready(&format!("listening on {address}"));
    Ok(run_until_stopped(server, admin, signals).await)
}
