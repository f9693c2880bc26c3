//! [`ToolList`]: a list of tools that a program replaces, as the plainest [`Provider`].

use std::sync::Arc;

use domain::{Change, DynTool, Provider};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;

/// A list of tools that a program sets. Clones share it: one goes to the builder, another sets.
#[derive(Clone)]
pub struct ToolList(watch::Sender<Vec<Arc<dyn DynTool>>>);

impl ToolList {
    /// Creates a list of these tools.
    #[must_use]
    pub fn new(tools: Vec<Arc<dyn DynTool>>) -> Self {
        Self(watch::Sender::new(tools))
    }

    /// Replaces the tools.
    pub fn set(&self, tools: Vec<Arc<dyn DynTool>>) {
        self.0.send_replace(tools);
    }
}

impl Provider for ToolList {
    fn tools(&self) -> Vec<Arc<dyn DynTool>> {
        self.0.borrow().clone()
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        let next = |mut list: watch::Receiver<_>| async move {
            list.changed().await.ok().map(|()| (Change::Tools, list))
        };
        stream::unfold(self.0.subscribe(), next).boxed()
    }
}
