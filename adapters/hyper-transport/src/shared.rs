//! What every request needs: the parts that last as long as the server, and the snapshot that a reload replaces.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use domain::{Clock, Service};
use mcp_protocol::McpServer;

use crate::access_log::RequestIds;
use crate::authority::Acquaintances;
use crate::capacity::Capacity;
use crate::challenge::Challenges;
use crate::documents::Documents;
use crate::settings::{HttpSettings, Limits};

/// The server's unchanging parts, whether it is ending, and the present snapshot.
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) mcp: Arc<McpServer>,
    clock: Arc<dyn Clock>,
    pub(crate) ids: RequestIds,
    pub(crate) capacity: Arc<Capacity>,
    snapshot: ArcSwap<Snapshot>,
    draining: AtomicBool,
}

/// Everything that a reload can change, rendered. It is loaded once for a request and handed down, so that the request is
/// judged by one configuration from its first to its last step.
pub(crate) struct Snapshot {
    pub(crate) mcp: Arc<mcp_protocol::Snapshot>,
    pub(crate) acquaintances: Acquaintances,
    pub(crate) challenges: Challenges,
    pub(crate) documents: Documents,
}

impl Snapshot {
    fn new(settings: &HttpSettings, mcp: mcp_protocol::Snapshot) -> Self {
        let scopes = mcp.service().all_scopes();
        Self {
            mcp: Arc::new(mcp),
            acquaintances: Acquaintances::new(settings),
            documents: Documents::render(settings, &scopes),
            challenges: Challenges::new(settings.metadata_url(), scopes),
        }
    }

    pub(crate) fn service(&self) -> &Service {
        self.mcp.service()
    }
}

impl Shared {
    pub(crate) fn new(
        settings: &HttpSettings,
        limits: Limits,
        mcp: Arc<McpServer>,
        snapshot: mcp_protocol::Snapshot,
    ) -> Self {
        let clock = Arc::clone(&snapshot.service().clock);
        Self {
            ids: RequestIds::new(),
            capacity: Arc::new(Capacity::new(&limits, Arc::clone(&clock))),
            snapshot: ArcSwap::from_pointee(Snapshot::new(settings, snapshot)),
            draining: AtomicBool::new(false),
            clock,
            limits,
            mcp,
        }
    }

    /// The present snapshot. A request asks for it once.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Serves by another snapshot from now on, and tells clients that listen what differs.
    pub(crate) fn replace(&self, settings: &HttpSettings, snapshot: mcp_protocol::Snapshot) {
        let now = Arc::new(Snapshot::new(settings, snapshot));
        self.snapshot.store(Arc::clone(&now));
        self.mcp.reloaded(&now.mcp);
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    pub(crate) fn owned_clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// From here on the server says that it is not ready.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.mcp.end_subscriptions();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
