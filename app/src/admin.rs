//! The admin listener: what it shows of the running server, and when it begins and ends.

use std::net::SocketAddr;
use std::sync::Arc;

use admin_http::{AdminServer, Administered, Format, LevelError};
use anyhow::Context as _;
use domain::InUse;
use hyper_transport::{ServerStatus, Usage};
use prometheus_metrics::{Metrics, Sample};
use redis_shared::Redis;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use upstream_mcp::Upstream;

use crate::commit::COMMIT;
use crate::config::{LEVELS, Settings};
use crate::logging;
use crate::wiring::Ports;

/// The admin listener of a server, or none. Dropped, it ends at once.
pub struct Admin(Option<Running>);

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens where the settings say, if they do.
///
/// # Errors
/// When the port is taken, or is not to be had.
pub async fn listen(settings: &Settings) -> anyhow::Result<Option<TcpListener>> {
    let Some(bind) = settings.admin.bind else { return Ok(None) };
    let listener = TcpListener::bind(bind).await;
    listener
        .map(Some)
        .with_context(|| format!("can't listen on {bind} for the admin listener: set another admin.bind"))
}

impl Admin {
    /// Serves the socket, if there is one, until [`Admin::stop`]. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn start(listener: Option<TcpListener>, server: ServerStatus, ports: &Ports) -> anyhow::Result<Self> {
        let Some(listener) = listener else { return Ok(Self(None)) };
        let address = listener.local_addr().context("the admin listener's socket is gone")?;
        let clock = Arc::clone(&ports.clock);
        let nothing = || Metrics::new(env!("CARGO_PKG_VERSION"), COMMIT, clock.now());
        let metrics = ports.metrics.clone().unwrap_or_else(nothing);
        let (upstreams, redis) = (ports.offer.upstreams.clone(), ports.redis.clone());
        let shown = Shown { metrics, server, upstreams, redis };
        let admin = AdminServer::new(listener, clock, Arc::new(shown));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(admin.run(async {
            let _ = stopped.await;
        }));
        tracing::info!(%address, "the admin listener is listening");
        Ok(Self(Some(Running { address, stop, task })))
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.as_ref().map(|running| running.address)
    }

    /// Ends it, once what it has under way is done, for which it has a moment.
    pub async fn stop(self) {
        let Some(mut running) = self.0 else { return };
        let (unused, _) = oneshot::channel();
        drop(std::mem::replace(&mut running.stop, unused));
        let _ = (&mut running.task).await;
    }
}

/// What the listener shows.
struct Shown {
    metrics: Metrics,
    server: ServerStatus,
    upstreams: Vec<Upstream>,
    redis: Option<Redis>,
}

impl Administered for Shown {
    fn metrics(&self, format: Format) -> String {
        let format = match format {
            Format::OpenMetrics => prometheus_metrics::Format::OpenMetrics,
            Format::Text => prometheus_metrics::Format::Text,
        };
        self.metrics.render(self.sample(), format)
    }

    fn not_ready(&self) -> Option<String> {
        self.server.not_ready()
    }

    fn log_level(&self) -> Option<&'static str> {
        let level = logging::level()?.get();
        LEVELS.iter().find(|(_, known)| *known == level).map(|(name, _)| *name)
    }

    fn set_log_level(&self, level: &str) -> Result<(), LevelError> {
        let known = "error, warn, info, debug, trace";
        let found = LEVELS.iter().find(|(name, _)| *name == level);
        let (_, level) = found.ok_or(LevelError::Unknown { known })?;
        logging::level().ok_or(LevelError::NotOurs)?.set(*level);
        Ok(())
    }
}

impl Shown {
    fn sample(&self) -> Sample {
        let Usage { connections, requests, receiving, streams, questions, memory_bytes } =
            self.server.usage();
        let places: [(&'static str, InUse); 5] = [
            ("connections", connections),
            ("requests", requests),
            ("receiving", receiving),
            ("streams", streams),
            ("questions", questions),
        ];
        let upstream = |upstream: &Upstream| (upstream.name().to_owned(), upstream.is_connected());
        Sample {
            is_ready: self.server.not_ready().is_none(),
            keys_age: self.server.keys_age(),
            places: places.into(),
            memory_bytes: Some(memory_bytes),
            upstreams: self.upstreams.iter().map(upstream).collect(),
            redis_connected: self.redis.as_ref().map(Redis::is_connected),
        }
    }
}
