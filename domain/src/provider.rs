//! The [`ToolProvider`] port: a source of tools that come and go while the server runs.

use std::sync::Arc;

use futures_util::stream::BoxStream;

use crate::tool::DynTool;

/// A source of tools whose list changes, such as another server's. Clients that listen are notified of every change that
/// concerns them.
pub trait ToolProvider: Send + Sync {
    /// Returns the tools that are on offer now. A tool that can't be offered, for its spec or because its name is taken, is left
    /// out with a warning in the log.
    fn tools(&self) -> Vec<Arc<dyn DynTool>>;

    /// Returns a stream with an item for every change of the list after this call; several changes may be one item. Each server
    /// that has the provider takes a stream of its own, before it asks for the tools.
    fn changes(&self) -> BoxStream<'static, ()>;
}
