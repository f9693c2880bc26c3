//! The store of clients: those of the options, those that registered themselves, and those whose `client_id` is the URL of
//! their metadata.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use tokio::sync::Semaphore;

use crate::model::client::ClientRecord;
use crate::model::client::Trust;
use crate::model::options::{Client, GrantType, ThirdPartySecurityMode};
use crate::model::redirect_uri::{self, ACCEPTED_REDIRECT_URIS};
use crate::oauth::client_metadata::{
    ClientMetadata, MetadataError, MetadataFetcher, check_sender, is_document_url,
};

/// The maximum number of registered clients, and of cached metadata documents; the least recently used one is evicted.
const MAX_CLIENTS: NonZeroUsize = NonZeroUsize::new(1000).unwrap();
/// The maximum number of concurrent fetches: each takes a thread, for up to 5 seconds.
const MAX_FETCHES: usize = 8;
/// How much of a metadata document's `client_name` pages show.
const MAX_NAME_CHARS: usize = 200;
/// How long a metadata document is cached: for one login.
const DOCUMENT_LIFETIME_SECONDS: i64 = 60;

/// The reason why a client can't be found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClientLookupError {
    #[error(
        "no client has this id; registrations end when the tenant stops, so let the application register again"
    )]
    Unknown,
    #[error("too many clients' metadata are being fetched; try again")]
    Busy,
    #[error("the client's metadata can't be used: {0}")]
    Metadata(#[from] MetadataError),
    #[error("the client's metadata has the redirect URI {0:?}; {ACCEPTED_REDIRECT_URIS}")]
    RedirectUri(String),
}

/// All clients of a tenant.
pub(crate) struct Clients {
    configured: Vec<Arc<ClientRecord>>,
    registered: Mutex<LruCache<String, Arc<ClientRecord>>>,
    documents: Mutex<LruCache<String, (i64, Arc<ClientRecord>)>>,
    fetcher: Arc<MetadataFetcher>,
    fetches: Arc<Semaphore>,
}

impl Clients {
    pub(crate) fn new(configured: &[Client]) -> Self {
        Self {
            configured: configured.iter().map(|client| Arc::new(ClientRecord::from(client))).collect(),
            registered: Mutex::new(LruCache::new(MAX_CLIENTS)),
            documents: Mutex::new(LruCache::new(MAX_CLIENTS)),
            fetcher: Arc::new(MetadataFetcher::new()),
            fetches: Arc::new(Semaphore::new(MAX_FETCHES)),
        }
    }

    /// Returns the client with this id, for the authorization endpoint. If the id is a URL, the client's metadata is fetched
    /// from there, unless it is cached.
    pub(crate) async fn find(
        &self,
        id: &str,
        now: i64,
        from_browser: bool,
    ) -> Result<Arc<ClientRecord>, ClientLookupError> {
        if is_document_url(id) && !self.configured.iter().any(|client| client.id == id) {
            return self.fetch_metadata(id, now, from_browser).await;
        }
        self.lookup(id)
    }

    /// Returns the client with this id without fetching anything: any web page may call the endpoints that use this, and
    /// could learn from their responses what listens on this machine. A client that logs in was found by [`Self::find`]
    /// before.
    pub(crate) fn lookup(&self, id: &str) -> Result<Arc<ClientRecord>, ClientLookupError> {
        if let Some(client) = self.configured.iter().find(|client| client.id == id) {
            return Ok(Arc::clone(client));
        }
        if let Some((_, client)) = lock(&self.documents).get(id) {
            return Ok(Arc::clone(client));
        }
        lock(&self.registered).get(id).cloned().ok_or(ClientLookupError::Unknown)
    }

    /// Adds a client that registered itself.
    pub(crate) fn register(&self, client: ClientRecord) -> Arc<ClientRecord> {
        let client = Arc::new(client);
        lock(&self.registered).put(client.id.clone(), Arc::clone(&client));
        client
    }

    /// Returns whether a client of the options has this logout URL.
    pub(crate) fn is_logout_url(&self, url: &str) -> bool {
        self.configured.iter().any(|client| client.logout_urls.iter().any(|allowed| allowed == url))
    }

    async fn fetch_metadata(
        &self,
        id: &str,
        now: i64,
        from_browser: bool,
    ) -> Result<Arc<ClientRecord>, ClientLookupError> {
        if let Some((until, client)) = lock(&self.documents).get(id)
            && *until > now
        {
            return Ok(Arc::clone(client));
        }
        check_sender(id, from_browser)?;
        let (fetcher, url) = (Arc::clone(&self.fetcher), id.to_owned());
        let permit = Arc::clone(&self.fetches).try_acquire_owned().map_err(|_| ClientLookupError::Busy)?;
        let task = tokio::task::spawn_blocking(move || {
            // Held until the fetch has ended, even if the request is gone by then.
            let _permit = permit;
            fetcher.fetch(&url)
        });
        let metadata = task.await.map_err(|_| ClientLookupError::Unknown)??;
        if let Some(bad) = metadata.redirect_uris.iter().find(|uri| !redirect_uri::is_acceptable(uri)) {
            return Err(ClientLookupError::RedirectUri(bad.chars().take(MAX_NAME_CHARS).collect()));
        }
        let client = Arc::new(from_metadata(id, metadata));
        lock(&self.documents)
            .put(id.to_owned(), (now.saturating_add(DOCUMENT_LIFETIME_SECONDS), Arc::clone(&client)));
        Ok(client)
    }
}

fn from_metadata(id: &str, metadata: ClientMetadata) -> ClientRecord {
    let has = |name: &str| metadata.grant_types.iter().any(|grant| grant == name);
    let mut grant_types = vec![GrantType::AuthorizationCode];
    if has("refresh_token") {
        grant_types.push(GrantType::RefreshToken);
    }
    ClientRecord {
        id: id.to_owned(),
        name: metadata
            .client_name
            .map_or_else(|| id.to_owned(), |name| name.chars().take(MAX_NAME_CHARS).collect()),
        secret: None,
        redirect_uris: metadata.redirect_uris,
        logout_urls: Vec::new(),
        grant_types,
        permissions: Vec::new(),
        trust: Trust::ThirdParty(ThirdPartySecurityMode::Strict),
    }
}

/// No code panics while it holds one of these locks, so the value in a poisoned one is consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
