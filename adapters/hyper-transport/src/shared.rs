//! What every request needs, made once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use domain::{Clock, ScopeSet, Service};
use mcp_protocol::{ListingError, McpServer};

use crate::access_log::RequestIds;
use crate::authority::Acquaintances;
use crate::capacity::Capacity;
use crate::challenge::Challenges;
use crate::documents::Documents;
use crate::settings::HttpSettings;

/// The server's unchanging parts, and whether it is ending.
pub(crate) struct Shared {
    pub(crate) settings: HttpSettings,
    pub(crate) mcp: Arc<McpServer>,
    clock: Arc<dyn Clock>,
    pub(crate) acquaintances: Acquaintances,
    published: ArcSwap<Published>,
    pub(crate) ids: RequestIds,
    pub(crate) capacity: Capacity,
    draining: AtomicBool,
}

/// What depends on the scopes of what is on offer.
pub(crate) struct Published {
    pub(crate) challenges: Challenges,
    pub(crate) documents: Documents,
}

impl Published {
    fn render(settings: &HttpSettings, scopes: &ScopeSet) -> Self {
        Self {
            challenges: Challenges::new(settings.metadata_url(), scopes.clone()),
            documents: Documents::render(settings, scopes),
        }
    }
}

impl Shared {
    pub(crate) fn new(settings: HttpSettings, mcp: Arc<McpServer>) -> Self {
        let service = mcp.service();
        let scopes = service.all_scopes();
        Self {
            acquaintances: Acquaintances::new(&settings),
            published: ArcSwap::from_pointee(Published::render(&settings, &scopes)),
            ids: RequestIds::new(),
            capacity: Capacity::new(&settings.limits, Arc::clone(&service.clock)),
            draining: AtomicBool::new(false),
            clock: Arc::clone(&service.clock),
            settings,
            mcp,
        }
    }

    /// What is told of the tools' scopes.
    pub(crate) fn published(&self) -> Arc<Published> {
        self.published.load_full()
    }

    /// Offers something else from now on.
    ///
    /// # Errors
    /// [`ListingError`]; then nothing changes.
    pub(crate) fn replace(&self, service: Arc<Service>) -> Result<(), ListingError> {
        let scopes = service.all_scopes();
        self.mcp.replace(service)?;
        self.published.store(Arc::new(Published::render(&self.settings, &scopes)));
        Ok(())
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
