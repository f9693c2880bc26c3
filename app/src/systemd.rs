//! systemd: the sockets that it passes on (`sd_listen_fds`), and what it is told (`sd_notify`). Without it nothing happens.

use std::sync::Arc;

use anyhow::Context;
use domain::Clock;
use hyper_transport::Listener;
use listenfd::ListenFd;
use sd_notify::NotifyState;

const NO_LISTENER: &str = "what systemd passed on is no stream socket of TCP or Unix (ListenStream=)";

/// Returns the sockets that were passed on, one at least.
pub(crate) fn listeners(mut passed: ListenFd) -> anyhow::Result<(Listener, Vec<Listener>)> {
    anyhow::ensure!(
        passed.len() > 0,
        "server.bind is \"systemd\", and systemd has passed on no socket (LISTEN_FDS): start the .socket unit"
    );
    let first = listener(&mut passed, 0)?;
    let others = (1..passed.len()).map(|index| listener(&mut passed, index));
    Ok((first, others.collect::<anyhow::Result<_>>()?))
}

fn listener(passed: &mut ListenFd, index: usize) -> anyhow::Result<Listener> {
    let taken = match passed.take_tcp_listener(index) {
        Ok(tcp) => tcp.map(Listener::passed_tcp),
        // It is of another kind, and was left there.
        Err(_) => passed.take_unix_listener(index).context(NO_LISTENER)?.map(Listener::passed_unix),
    };
    taken.context(NO_LISTENER)?.context("a socket that systemd passed on can't be used")
}

/// Tells systemd that the server listens. Its keys may not be there yet, which `/ready` tells: another start would not bring
/// them any sooner.
pub(crate) fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Tells systemd that the configuration is being read again; [`ready`] ends that.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "systemd can't be told of the reload"),
    }
}

/// Tells systemd that the server is stopping.
pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Tells systemd twice in each of its intervals that the runtime works, if it wants to know.
pub(crate) fn feed_watchdog(clock: Arc<dyn Clock>) {
    let Some(interval) = sd_notify::watchdog_enabled() else {
        return;
    };
    tokio::spawn(async move {
        loop {
            notify(&[NotifyState::Watchdog]);
            clock.sleep(interval / 2).await;
        }
    });
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd can't be told");
    }
}
