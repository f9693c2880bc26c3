//! Who may ask for tokens: clients of the options, clients that registered themselves, and clients that are known by the
//! URL of their metadata.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use tokio::sync::Semaphore;

use crate::model::client::ClientRecord;
use crate::model::client::Trust;
use crate::model::options::{Client, GrantType, ThirdPartySecurityMode};
use crate::model::redirect_uri::{self, WHAT_IS_ACCEPTABLE};
use crate::oauth::client_metadata::{
    ClientMetadata, MetadataError, MetadataFetcher, check_sender, is_document_url,
};

/// How many clients that registered themselves are remembered, and how many metadata documents: the one that was not
/// used for the longest time makes room.
const MOST_CLIENTS: NonZeroUsize = NonZeroUsize::new(1000).unwrap();
/// How many documents are fetched at a time: each fetch takes a thread, for up to 5 seconds.
const MOST_FETCHES: usize = 8;
/// What pages show of a name in a metadata document, in characters.
const LONGEST_NAME: usize = 200;
/// How long a metadata document is not fetched again, in seconds: for one login.
const DOCUMENT_LIFE: i64 = 60;

/// Why there is no such client.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoClient {
    #[error(
        "no client has this id; registrations end when the tenant stops, so let the application register again"
    )]
    Unknown,
    #[error("too many clients' metadata are being fetched; try again")]
    Busy,
    #[error("the client's metadata can't be used: {0}")]
    Document(#[from] MetadataError),
    #[error("the client's metadata has the redirect URI {0:?}; {WHAT_IS_ACCEPTABLE}")]
    RedirectUri(String),
}

/// All of them.
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
            registered: Mutex::new(LruCache::new(MOST_CLIENTS)),
            documents: Mutex::new(LruCache::new(MOST_CLIENTS)),
            fetcher: Arc::new(MetadataFetcher::new()),
            fetches: Arc::new(Semaphore::new(MOST_FETCHES)),
        }
    }

    /// The client of that id, for the authorization endpoint; its metadata is fetched if the id is a URL.
    pub(crate) async fn find(
        &self,
        id: &str,
        now: i64,
        from_browser: bool,
    ) -> Result<Arc<ClientRecord>, NoClient> {
        if is_document_url(id) && !self.configured.iter().any(|client| client.id == id) {
            return self.by_document(id, now, from_browser).await;
        }
        self.known(id)
    }

    /// The client of that id, as far as it is known. Nothing is fetched: any web page may call the endpoints that ask, and
    /// would learn from the answer what listens on this machine. Whoever logs in has passed [`Self::find`] before.
    pub(crate) fn known(&self, id: &str) -> Result<Arc<ClientRecord>, NoClient> {
        if let Some(client) = self.configured.iter().find(|client| client.id == id) {
            return Ok(Arc::clone(client));
        }
        if let Some((_, client)) = lock(&self.documents).get(id) {
            return Ok(Arc::clone(client));
        }
        lock(&self.registered).get(id).cloned().ok_or(NoClient::Unknown)
    }

    pub(crate) fn register(&self, client: ClientRecord) -> Arc<ClientRecord> {
        let client = Arc::new(client);
        lock(&self.registered).put(client.id.clone(), Arc::clone(&client));
        client
    }

    /// Whether some client of the options may be returned to after a logout.
    pub(crate) fn may_return_to(&self, url: &str) -> bool {
        self.configured.iter().any(|client| client.logout_urls.iter().any(|allowed| allowed == url))
    }

    async fn by_document(
        &self,
        id: &str,
        now: i64,
        from_browser: bool,
    ) -> Result<Arc<ClientRecord>, NoClient> {
        if let Some((until, client)) = lock(&self.documents).get(id)
            && *until > now
        {
            return Ok(Arc::clone(client));
        }
        check_sender(id, from_browser)?;
        let (fetcher, url) = (Arc::clone(&self.fetcher), id.to_owned());
        let place = Arc::clone(&self.fetches).try_acquire_owned().map_err(|_| NoClient::Busy)?;
        let answer = tokio::task::spawn_blocking(move || {
            // Kept until the fetch has ended, though nobody may wait for it any more.
            let _place = place;
            fetcher.fetch(&url)
        });
        let answer = answer.await;
        let metadata = answer.map_err(|_| NoClient::Unknown)??;
        if let Some(bad) = metadata.redirect_uris.iter().find(|uri| !redirect_uri::is_acceptable(uri)) {
            return Err(NoClient::RedirectUri(bad.chars().take(LONGEST_NAME).collect()));
        }
        let client = Arc::new(described(id, metadata));
        lock(&self.documents).put(id.to_owned(), (now.saturating_add(DOCUMENT_LIFE), Arc::clone(&client)));
        Ok(client)
    }
}

fn described(id: &str, metadata: ClientMetadata) -> ClientRecord {
    let has = |name: &str| metadata.grant_types.iter().any(|grant| grant == name);
    let mut grant_types = vec![GrantType::AuthorizationCode];
    if has("refresh_token") {
        grant_types.push(GrantType::RefreshToken);
    }
    ClientRecord {
        id: id.to_owned(),
        name: metadata
            .client_name
            .map_or_else(|| id.to_owned(), |name| name.chars().take(LONGEST_NAME).collect()),
        secret: None,
        redirect_uris: metadata.redirect_uris,
        logout_urls: Vec::new(),
        grant_types,
        permissions: Vec::new(),
        trust: Trust::ThirdParty(ThirdPartySecurityMode::Strict),
    }
}

/// No code panics between two changes under these locks, so a poisoned one holds whole values.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
