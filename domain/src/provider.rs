//! The [`ToolProvider`] port: a source of tools that come and go while the server runs.

use std::sync::Arc;

use async_trait::async_trait;

use crate::tool::DynTool;

/// A source of tools whose list changes, such as another server's. Clients that listen are told of every change that concerns
/// them.
#[async_trait]
pub trait ToolProvider: Send + Sync {
    /// Returns the tools that are on offer now. One that can't be offered, for its spec or because its name is taken, is left
    /// out, and the log says so.
    fn tools(&self) -> Vec<Arc<dyn DynTool>>;

    /// Completes when the list is no longer what [`ToolProvider::tools`] returned last; at once if it changed before. Dropped
    /// and called again at will.
    async fn changed(&self);
}
