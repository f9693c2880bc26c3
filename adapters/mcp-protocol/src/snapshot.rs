//! What requests are judged and answered by, rendered once: replaced as a whole, never changed.

use std::sync::Arc;

use domain::Service;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use crate::listing::{Listing, ListingError, check_icons};
use crate::seal::SealingKeys;
use crate::settings::McpSettings;

/// A service with its settings, and what of it was rendered once. A request is judged by one snapshot from its first to
/// its last step.
pub struct ProtocolSnapshot {
    service: Arc<Service>,
    pub(crate) listing: Listing,
    pub(crate) settings: McpSettings,
    keys: Arc<SealingKeys>,
    /// The `_meta` of every modern result.
    pub(crate) meta: Box<RawValue>,
    /// The `_meta` of the result of `server/discover`.
    pub(crate) introduction: Box<RawValue>,
}

impl ProtocolSnapshot {
    /// Renders once whatever does not change between requests.
    pub(crate) fn render(
        service: Arc<Service>,
        settings: McpSettings,
        keys: Arc<SealingKeys>,
    ) -> Result<Self, ListingError> {
        let listing = Listing::render(&service)?;
        check_icons("the server", &settings.identity.icons)?;
        let meta = |with_icons| {
            let identity = settings.identity.introduction(with_icons);
            to_raw_value(&json!({"io.modelcontextprotocol/serverInfo": identity}))
        };
        let (meta, introduction) = (meta(false)?, meta(true)?);
        Ok(Self { service, listing, settings, keys, meta, introduction })
    }

    /// Returns the service that it was made of.
    #[must_use]
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Returns the keys that seal the state of calls (`requestState`).
    #[must_use]
    pub fn sealing_keys(&self) -> &Arc<SealingKeys> {
        &self.keys
    }
}
