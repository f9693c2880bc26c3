//! What requests are judged and answered by, rendered once: replaced as a whole, never changed.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, DefaultHasher, Hash as _, Hasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use domain::{Principal, Scope, Service};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use crate::listing::{List, Listing, ListingError, check_icons};
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
    pub(crate) modern: ModernMembers,
    views: Views,
}

/// What principals see of the lists, as hashes that are the same only where that is: of a list, and by a hash of the scopes, on
/// which nothing else of a principal has a bearing. Many subscriptions have few sets of scopes.
#[derive(Default)]
struct Views {
    known: Mutex<HashMap<(List, u64), u64>>,
    /// With keys of its own, so that no client finds scopes with another's hash.
    scopes: RandomState,
}

/// The members that the modern era adds to results (`Result` and `CacheableResult` in the schema of 2026-07-28), as JSON text.
pub(crate) struct ModernMembers {
    pub(crate) complete: String,
    /// Those of a result that may be kept for a while, and privately, since results depend on the token.
    pub(crate) cacheable: String,
    /// Those of the result of `server/discover`, with all that the server says of itself.
    pub(crate) introduction: String,
}

impl ModernMembers {
    fn new(meta: &RawValue, introduction: &RawValue, ttl_ms: u64) -> Self {
        let complete = |meta: &RawValue| format!(r#""resultType":"complete","_meta":{meta}"#);
        let cacheable = |meta| format!(r#"{},"ttlMs":{ttl_ms},"cacheScope":"private""#, complete(meta));
        Self { complete: complete(meta), cacheable: cacheable(meta), introduction: cacheable(introduction) }
    }
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
        let modern = ModernMembers::new(&meta, &introduction, settings.list_ttl_ms);
        Ok(Self { service, listing, settings, keys, meta, modern, views: Views::default() })
    }

    /// Returns a hash of what a principal sees of a list, to be compared with that of another snapshot.
    pub(crate) fn view(&self, list: List, principal: &Principal) -> u64 {
        let scopes: Vec<&Scope> = principal.scopes().iter().collect();
        let key = (list, self.views.scopes.hash_one(scopes));
        let known = || self.views.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = known().get(&key) {
            return *view;
        }
        // Without the lock, which all subscriptions of all threads take: at worst some of them do the same.
        let mut hasher = DefaultHasher::new();
        for (_, item) in self.listing.visible(list, &self.service, principal, None) {
            item.hash(&mut hasher);
        }
        let view = hasher.finish();
        known().insert(key, view);
        view
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
