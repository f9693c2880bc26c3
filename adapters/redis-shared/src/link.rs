//! One pair of connections to Redis, for commands and for what is published, until it is lost. Both are needed: losing one loses
//! both.

use std::future::Future;
use std::pin::pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::Clock;
use futures_util::future::{Either, select};
use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError};
use tokio::sync::Notify;

use crate::names::Names;

/// Why Redis can't be used. It has no text of the server's: that may repeat what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    #[error("it can't be reached, or closed the connection")]
    Unreachable,
    #[error("it does not answer in time")]
    Silent,
    #[error("it refuses the user or the password")]
    Unauthenticated,
    #[error("it is out of memory (OOM)")]
    OutOfMemory,
    #[error("it takes no writes: it is a replica, still loading, or can't save")]
    ReadOnly,
    #[error("the user may not do that there (NOPERM)")]
    Forbidden,
    #[error("it is a cluster, which is not supported")]
    Cluster,
    #[error("it answered with an error")]
    Failed,
}

impl Reason {
    pub(crate) fn of(error: &RedisError) -> Self {
        match (error.code(), error.kind()) {
            (Some("OOM"), _) => Self::OutOfMemory,
            (Some("READONLY" | "LOADING" | "MISCONF" | "MASTERDOWN" | "NOREPLICAS"), _) => Self::ReadOnly,
            (Some("NOPERM"), _) => Self::Forbidden,
            (Some("NOAUTH" | "WRONGPASS"), _) | (_, ErrorKind::AuthenticationFailed) => Self::Unauthenticated,
            (Some("MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN"), _) => Self::Cluster,
            (_, ErrorKind::Io) => Self::Unreachable,
            _ => Self::Failed,
        }
    }
}

/// A pair of connections that works.
pub(crate) struct Link {
    commands: MultiplexedConnection,
    /// How many commands were answered.
    answered: AtomicU64,
    reason: OnceLock<Reason>,
    lost: Notify,
}

impl Link {
    /// Connects, and makes sure that Redis takes writes. Returns the messages on the channels, too.
    pub(crate) async fn open(
        client: &Client,
        names: &Names,
        replica: &str,
    ) -> Result<(Self, PubSubStream), RedisError> {
        // Time is the clock's: whoever calls bounds all of this, and each command.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let mut commands = client.get_multiplexed_async_connection_with_config(&config).await?;
        redis::cmd("SET").arg(names.probe()).arg("").arg("PX").arg(1000).exec_async(&mut commands).await?;
        let (mut sink, messages) = client.get_async_pubsub().await?.split();
        sink.subscribe(names.changes()).await?;
        sink.subscribe(names.replica(replica)).await?;
        let answered = AtomicU64::new(0);
        Ok((Self { commands, answered, reason: OnceLock::new(), lost: Notify::new() }, messages))
    }

    /// Returns the connection for commands.
    pub(crate) fn commands(&self) -> MultiplexedConnection {
        self.commands.clone()
    }

    /// Takes note of an answer.
    pub(crate) fn was_answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many commands were answered: if none was for as long as one may take, Redis does not answer.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Says that the link can't be used any longer. The first reason counts.
    pub(crate) fn lose(&self, reason: Reason) {
        let _ = self.reason.set(reason);
        self.lost.notify_one();
    }

    /// Completes once it is lost.
    pub(crate) async fn lost(&self) -> Reason {
        self.lost.notified().await;
        self.reason.get().copied().unwrap_or(Reason::Failed)
    }
}

/// Returns what a future completes with; [`Reason::Silent`] if that takes longer.
pub(crate) async fn within<T>(
    clock: &dyn Clock,
    time: Duration,
    work: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, Reason> {
    match select(pin!(work), clock.sleep(time)).await {
        Either::Left((done, _)) => done.map_err(|error| Reason::of(&error)),
        Either::Right(_) => Err(Reason::Silent),
    }
}
