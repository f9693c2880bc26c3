//! From a service to what clients get of it, and what is refused on the way.

use std::sync::Arc;

use domain::Service;

use crate::listing::ListingError;
use crate::methods;
use crate::seal::SealingKeys;
use crate::settings::McpSettings;
use crate::snapshot::ProtocolSnapshot;

/// Why a service can't be published; for the developer who wrote it.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Something in the catalog can't be listed.
    #[error(transparent)]
    Listing(#[from] ListingError),
    /// A method of the catalog has a name of MCP's.
    #[error(
        "the method {0} is in a namespace of MCP's or of JSON-RPC's; name it in one of your own, such as com.example"
    )]
    ReservedMethod(String),
}

impl ProtocolSnapshot {
    /// Creates the snapshot of a service, and renders what does not change between requests.
    ///
    /// # Errors
    /// [`PublishError`] when something in the catalog can't be shown to clients, or has a name of MCP's.
    pub fn new(
        service: Arc<Service>,
        settings: McpSettings,
        keys: Arc<SealingKeys>,
    ) -> Result<Self, PublishError> {
        if let Some(spec) = service.catalog.methods.specs().find(|spec| methods::is_reserved(spec.name())) {
            return Err(PublishError::ReservedMethod(spec.name().to_owned()));
        }
        Ok(Self::render(service, settings, keys)?)
    }
}
