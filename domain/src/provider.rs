//! The [`Provider`] port: a source of tools, resources and prompts that come and go while the server runs.

use std::sync::Arc;

use futures_util::stream::BoxStream;

use crate::announcer::Change;
use crate::prompt::Prompt;
use crate::resource::Resource;
use crate::token::NotReady;
use crate::tool::DynTool;

/// A source whose lists change, such as another server. Clients that listen are notified of every change that concerns them.
/// What can't be offered, for its spec or because its name is taken, is left out with a warning in the log.
pub trait Provider: Send + Sync {
    /// Returns the tools that are on offer now.
    fn tools(&self) -> Vec<Arc<dyn DynTool>> {
        Vec::new()
    }

    /// Returns the resources that are on offer now.
    fn resources(&self) -> Vec<Arc<dyn Resource>> {
        Vec::new()
    }

    /// Returns the prompts that are on offer now.
    fn prompts(&self) -> Vec<Arc<dyn Prompt>> {
        Vec::new()
    }

    /// Returns a stream with an item for every change after this call; several changes of a list may be one item. Each server
    /// that has the provider takes a stream of its own, before it asks for the lists.
    fn changes(&self) -> BoxStream<'static, Change>;

    /// Checks that calls can be served now; `/ready` asks.
    ///
    /// # Errors
    /// [`NotReady`] with the reason.
    fn ready(&self) -> Result<(), NotReady> {
        Ok(())
    }
}
