//! [`ToolList`]: the plainest source of tools that come and go.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use domain::{DynTool, ToolProvider};
use tokio::sync::watch;

/// A list of tools that a program sets as it likes. Clones share it: one goes to the builder, another sets.
#[derive(Clone)]
pub struct ToolList(Arc<Shared>);

struct Shared {
    tools: RwLock<Vec<Arc<dyn DynTool>>>,
    version: watch::Sender<u64>,
    /// The version that was returned last.
    returned: AtomicU64,
}

impl ToolList {
    /// Creates a list of these tools.
    #[must_use]
    pub fn new(tools: Vec<Arc<dyn DynTool>>) -> Self {
        let (version, _) = watch::channel(0);
        Self(Arc::new(Shared { tools: RwLock::new(tools), version, returned: AtomicU64::new(0) }))
    }

    /// Replaces the tools.
    pub fn set(&self, tools: Vec<Arc<dyn DynTool>>) {
        *self.0.tools.write().unwrap_or_else(PoisonError::into_inner) = tools;
        self.0.version.send_modify(|version| *version += 1);
    }
}

#[async_trait]
impl ToolProvider for ToolList {
    fn tools(&self) -> Vec<Arc<dyn DynTool>> {
        // The version first: tools that are newer than it cause another look, and none is missed.
        self.0.returned.store(*self.0.version.borrow(), Ordering::Release);
        self.0.tools.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn changed(&self) {
        let mut version = self.0.version.subscribe();
        // The sender lives as long as `self`, so waiting can't fail.
        let _ = version.wait_for(|version| *version != self.0.returned.load(Ordering::Acquire)).await;
    }
}
