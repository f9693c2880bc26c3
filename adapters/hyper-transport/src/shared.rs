//! The state that all requests share: parts that last as long as the server, and the snapshot that a reload replaces.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use domain::{Clock, Service};
use mcp_protocol::{McpServer, ProtocolSnapshot};

use crate::access_log::RequestIds;
use crate::client_address::TrustedProxies;
use crate::host_policy::HostPolicy;
use crate::limiter::Limiter;
use crate::public::Endpoints;
use crate::settings::{HttpSettings, Limits};
use crate::tls::TlsIdentity;

/// The server's unchanging parts, whether it is ending, and the present snapshot.
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) mcp: Arc<McpServer>,
    clock: Arc<dyn Clock>,
    pub(crate) ids: RequestIds,
    pub(crate) limiter: Arc<Limiter>,
    snapshot: ArcSwap<Snapshot>,
    /// What the server proves its name with, where it serves TLS.
    tls: ArcSwapOption<TlsIdentity>,
    draining: AtomicBool,
    readiness: Readiness,
}

/// Everything that a reload can change, rendered: the service and its lists (the protocol's part), hosts, challenges and
/// documents (the transport's). It is loaded once for a request and handed down, so that the request is judged by one
/// configuration from its first to its last step.
pub(crate) struct Snapshot {
    pub(crate) protocol: Arc<ProtocolSnapshot>,
    pub(crate) host_policy: HostPolicy,
    pub(crate) endpoints: Endpoints,
    pub(crate) trusted_proxies: TrustedProxies,
}

impl Snapshot {
    fn new(settings: &HttpSettings, protocol: ProtocolSnapshot) -> Self {
        let scopes = protocol.service().scopes.login_scopes().clone();
        Self {
            protocol: Arc::new(protocol),
            host_policy: HostPolicy::new(settings),
            endpoints: Endpoints::new(settings, &scopes),
            trusted_proxies: settings.trusted_proxies.clone(),
        }
    }

    pub(crate) fn service(&self) -> &Service {
        self.protocol.service()
    }
}

impl Shared {
    pub(crate) fn new(
        settings: &HttpSettings,
        limits: Limits,
        mcp: Arc<McpServer>,
        snapshot: ProtocolSnapshot,
    ) -> Self {
        let clock = Arc::clone(&snapshot.service().clock);
        Self {
            ids: RequestIds::new(),
            limiter: Arc::new(Limiter::new(&limits, Arc::clone(&clock))),
            snapshot: ArcSwap::from_pointee(Snapshot::new(settings, snapshot)),
            tls: ArcSwapOption::empty(),
            draining: AtomicBool::new(false),
            readiness: Readiness::default(),
            clock,
            limits,
            mcp,
        }
    }

    /// Returns the present snapshot. [`router::respond`](crate::router::respond) loads it, once a request; everything else is handed it.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Serves by another snapshot from now on, and notifies subscribers of what differs.
    pub(crate) fn replace(&self, settings: &HttpSettings, snapshot: ProtocolSnapshot) {
        let snapshot = Arc::new(Snapshot::new(settings, snapshot));
        self.snapshot.store(Arc::clone(&snapshot));
        self.mcp.reloaded(&snapshot.protocol);
    }

    /// Returns what new connections prove the server's name with; `None` without TLS.
    pub(crate) fn tls(&self) -> Option<Arc<TlsIdentity>> {
        self.tls.load_full()
    }

    pub(crate) fn set_tls(&self, identity: TlsIdentity) {
        self.tls.store(Some(Arc::new(identity)));
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    pub(crate) fn owned_clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Begins the drain: from here on the server says that it is not ready, and every answer ends its HTTP/1.1 connection, so
    /// that clients and proxies go elsewhere.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Returns why the server is not ready, by this snapshot. A change of it is logged.
    pub(crate) fn not_ready(&self, snapshot: &Snapshot) -> Option<String> {
        let reason = if self.is_draining() {
            Some("draining".to_owned())
        } else {
            snapshot.service().ready().err().map(|reason| reason.0)
        };
        self.note_readiness(reason.as_deref());
        reason
    }

    /// Logs a change of what `/ready` reports.
    fn note_readiness(&self, reason: Option<&str>) {
        if !self.readiness.changes_to(reason.is_none()) {
            return;
        }
        match reason {
            None => tracing::info!("ready"),
            Some(reason) => tracing::warn!(reason, "not ready"),
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// The last report of `/ready`; before the first one, readiness.
#[derive(Default)]
struct Readiness {
    is_lost: AtomicBool,
}

impl Readiness {
    fn changes_to(&self, is_ready: bool) -> bool {
        self.is_lost.swap(!is_ready, Ordering::Relaxed) == is_ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_of_readiness_are_logged() {
        let readiness = Readiness::default();
        let asked = [true, true, false, false, false, true, true, false];
        let changes = asked.map(|is_ready| readiness.changes_to(is_ready));
        assert_eq!(changes, [false, false, true, false, false, true, false, true]);
    }
}
