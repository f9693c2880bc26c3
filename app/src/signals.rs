//! Signals: the first SIGTERM or SIGINT stops the server in order, the second one at once; SIGHUP reloads the configuration.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::logging;

/// The signals that stop the process.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Catches the signals from now on.
    pub(crate) fn catch() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("signals can't be caught");
        Ok(Self { terminate: catch(SignalKind::terminate())?, interrupt: catch(SignalKind::interrupt())? })
    }

    /// Completes at the first signal; a second one ends the process with status 1.
    pub(crate) async fn first(mut self) {
        self.next().await;
        tracing::info!("stopping: finishing what is under way; a second signal stops at once");
        tokio::spawn(async move {
            self.next().await;
            logging::flush();
            std::process::exit(1);
        });
    }

    /// Runs work unless a signal comes first; `None` then.
    pub(crate) async fn unless_stopped<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            () = self.next() => None,
            result = work => Some(result),
        }
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The signal that reloads the configuration.
pub(crate) struct Hangups(Signal);

impl Hangups {
    /// Catches the signals from now on.
    pub(crate) fn catch() -> anyhow::Result<Self> {
        Ok(Self(signal(SignalKind::hangup()).context("signals can't be caught")?))
    }

    /// Completes at the next signal.
    pub(crate) async fn next(&mut self) -> Option<()> {
        self.0.recv().await
    }
}
