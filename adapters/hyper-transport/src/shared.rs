//! What every request needs, made once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::Clock;
use mcp_protocol::McpServer;

use crate::access_log::RequestIds;
use crate::authority::Acquaintances;
use crate::challenge::Challenges;
use crate::documents::Documents;
use crate::settings::HttpSettings;

/// The server's unchanging parts, and whether it is ending.
pub(crate) struct Shared {
    pub(crate) settings: HttpSettings,
    pub(crate) mcp: McpServer,
    pub(crate) acquaintances: Acquaintances,
    pub(crate) challenges: Challenges,
    pub(crate) documents: Documents,
    pub(crate) ids: RequestIds,
    draining: AtomicBool,
}

impl Shared {
    pub(crate) fn new(settings: HttpSettings, mcp: McpServer) -> Self {
        let scopes = mcp.service().all_scopes();
        Self {
            acquaintances: Acquaintances::new(&settings),
            challenges: Challenges::new(settings.metadata_url(), scopes.clone()),
            documents: Documents::render(&settings, &scopes),
            ids: RequestIds::new(),
            draining: AtomicBool::new(false),
            settings,
            mcp,
        }
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.mcp.service().clock.as_ref()
    }

    pub(crate) fn owned_clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.mcp.service().clock)
    }

    /// From here on the server says that it is not ready.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
