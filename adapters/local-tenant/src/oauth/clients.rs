//! The store of clients: those of the options and of the Management API, those that registered themselves, and those whose
//! `client_id` is the URL of their metadata.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use tokio::sync::Semaphore;

use crate::model::client::{ClientRecord, Trust};
use crate::model::directory::Settings;
use crate::model::options::{GrantType, ThirdPartySecurityMode};
use crate::model::redirect_uri::{self, ACCEPTED_REDIRECT_URIS};
use crate::oauth::client_metadata::{
    ClientMetadata, MetadataError, MetadataFetcher, check_sender, is_document_url,
};

/// The maximum number of defined clients, of registered ones, and of cached metadata documents. Of the latter two the least
/// recently used one is evicted.
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
    #[error(
        "no client has this id, and the tenant accepts no URL of client metadata unless it was registered \
         (client_id_metadata_document_supported is off)"
    )]
    DocumentsOff,
    #[error("too many clients' metadata are being fetched; try again")]
    Busy,
    #[error("the client's metadata can't be used: {0}")]
    Metadata(#[from] MetadataError),
    #[error("the client's metadata has the redirect URI {0:?}; {ACCEPTED_REDIRECT_URIS}")]
    RedirectUri(String),
}

impl ClientLookupError {
    /// Returns whether a metadata document was fetched, and something is wrong with it.
    pub(crate) const fn is_of_document(&self) -> bool {
        match self {
            Self::Metadata(error) => error.is_of_document(),
            Self::RedirectUri(_) => true,
            Self::Unknown | Self::DocumentsOff | Self::Busy => false,
        }
    }
}

/// The reason why a client can't be defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InsertError {
    #[error("a client has this id already")]
    Exists,
    #[error("the tenant has the maximum number of clients, {MAX_CLIENTS}")]
    Full,
}

/// All clients of a tenant.
pub(crate) struct Clients {
    store: Mutex<Store>,
    documents: Mutex<LruCache<String, (i64, Arc<ClientRecord>)>>,
    fetcher: Arc<MetadataFetcher>,
    fetches: Arc<Semaphore>,
}

/// The clients that the Management API lists.
struct Store {
    /// Those of the options and of the Management API, in the order of their creation.
    defined: Vec<Arc<ClientRecord>>,
    /// Those that registered themselves, which anybody can do.
    registered: LruCache<String, Arc<ClientRecord>>,
}

impl Clients {
    /// Returns the store with these clients.
    pub(crate) fn new(defined: impl Iterator<Item = ClientRecord>) -> Self {
        let defined = defined.map(Arc::new).collect();
        Self {
            store: Mutex::new(Store { defined, registered: LruCache::new(MAX_CLIENTS) }),
            documents: Mutex::new(LruCache::new(MAX_CLIENTS)),
            fetcher: Arc::new(MetadataFetcher::new()),
            fetches: Arc::new(Semaphore::new(MAX_FETCHES)),
        }
    }

    /// Returns the client with this id, for the authorization endpoint. If the id is a URL that is not registered, the
    /// client's metadata is fetched from there, unless it is cached, or the settings forbid it.
    pub(crate) async fn find(
        &self,
        id: &str,
        settings: &Settings,
        now: i64,
        from_browser: bool,
    ) -> Result<Arc<ClientRecord>, ClientLookupError> {
        if let Some(client) = self.stored(id, settings)? {
            return Ok(client);
        }
        if let Some((until, client)) = lock(&self.documents).get(id)
            && *until > now
        {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(self.fetch_document(id, from_browser).await?);
        lock(&self.documents)
            .put(id.to_owned(), (now.saturating_add(DOCUMENT_LIFETIME_SECONDS), Arc::clone(&client)));
        Ok(client)
    }

    /// Returns the client with this id without fetching anything: any web page may call the endpoints that use this, and
    /// could learn from their responses what listens on this machine. A client that logs in was found by [`Self::find`]
    /// before.
    pub(crate) fn lookup(
        &self,
        id: &str,
        settings: &Settings,
    ) -> Result<Arc<ClientRecord>, ClientLookupError> {
        if let Some(client) = self.stored(id, settings)? {
            return Ok(client);
        }
        let cached = lock(&self.documents).get(id).map(|(_, client)| Arc::clone(client));
        cached.ok_or(ClientLookupError::Unknown)
    }

    /// Returns all clients but those that are only known by the URL of their metadata: first those of the options and of the
    /// Management API, then the others by their ids.
    pub(crate) fn all(&self) -> Vec<Arc<ClientRecord>> {
        let store = lock(&self.store);
        let mut registered: Vec<_> = store.registered.iter().map(|(_, client)| Arc::clone(client)).collect();
        registered.sort_by(|one, other| one.id.cmp(&other.id));
        store.defined.iter().cloned().chain(registered).collect()
    }

    /// Returns one of [`Self::all`].
    pub(crate) fn get(&self, id: &str) -> Option<Arc<ClientRecord>> {
        lock(&self.store).present(id)
    }

    /// Adds a client that the Management API defines.
    ///
    /// # Errors
    /// [`InsertError`].
    pub(crate) fn insert(&self, client: ClientRecord) -> Result<Arc<ClientRecord>, InsertError> {
        let mut store = lock(&self.store);
        let has_its_document = |known: &Arc<ClientRecord>| {
            known.external_client_id.is_some() && known.external_client_id == client.external_client_id
        };
        if store.present(&client.id).is_some() || store.defined.iter().any(has_its_document) {
            return Err(InsertError::Exists);
        }
        if store.defined.len() >= MAX_CLIENTS.get() {
            return Err(InsertError::Full);
        }
        let client = Arc::new(client);
        store.defined.push(Arc::clone(&client));
        Ok(client)
    }

    /// Changes one of [`Self::all`], and returns it as it is afterwards; `None` if there is none with this id. Its id stays. If
    /// `change` fails, nothing changes.
    pub(crate) fn update<E>(
        &self,
        id: &str,
        change: impl FnOnce(&mut ClientRecord) -> Result<(), E>,
    ) -> Result<Option<Arc<ClientRecord>>, E> {
        let mut store = lock(&self.store);
        let Some(slot) = store.slot(id) else {
            return Ok(None);
        };
        let mut next = ClientRecord::clone(slot);
        change(&mut next)?;
        id.clone_into(&mut next.id);
        *slot = Arc::new(next);
        Ok(Some(Arc::clone(slot)))
    }

    /// Removes one of [`Self::all`], and returns it.
    pub(crate) fn remove(&self, id: &str) -> Option<Arc<ClientRecord>> {
        lock(&self.documents).pop(id);
        let mut store = lock(&self.store);
        let position = store.defined.iter().position(|client| client.id == id);
        match position {
            Some(position) => Some(store.defined.remove(position)),
            None => store.registered.pop(id),
        }
    }

    /// Adds a client that registered itself.
    pub(crate) fn register(&self, client: ClientRecord) -> Arc<ClientRecord> {
        let client = Arc::new(client);
        lock(&self.store).registered.put(client.id.clone(), Arc::clone(&client));
        client
    }

    /// Returns whether a client has this logout URL.
    pub(crate) fn is_logout_url(&self, url: &str) -> bool {
        self.all().iter().any(|client| client.logout_urls.iter().any(|allowed| allowed == url))
    }

    /// Fetches a client's metadata document, and returns the client that it describes, whose id is the document's URL. Nothing
    /// is cached or stored.
    pub(crate) async fn fetch_document(
        &self,
        url: &str,
        from_browser: bool,
    ) -> Result<ClientRecord, ClientLookupError> {
        check_sender(url, from_browser)?;
        let (fetcher, asked) = (Arc::clone(&self.fetcher), url.to_owned());
        let permit = Arc::clone(&self.fetches).try_acquire_owned().map_err(|_| ClientLookupError::Busy)?;
        let task = tokio::task::spawn_blocking(move || {
            // Held until the fetch has ended, even if the request is gone by then.
            let _permit = permit;
            fetcher.fetch(&asked)
        });
        let metadata = task.await.map_err(|_| ClientLookupError::Unknown)??;
        if let Some(bad) = metadata.redirect_uris.iter().find(|uri| !redirect_uri::is_acceptable(uri)) {
            return Err(ClientLookupError::RedirectUri(bad.chars().take(MAX_NAME_CHARS).collect()));
        }
        Ok(from_metadata(url, metadata))
    }

    /// Returns the client with this id if it is one of [`Self::all`], and nothing if its metadata document may tell it.
    fn stored(&self, id: &str, settings: &Settings) -> Result<Option<Arc<ClientRecord>>, ClientLookupError> {
        if let Some(client) = lock(&self.store).used(id) {
            return Ok(Some(client));
        }
        match (is_document_url(id), settings.client_id_metadata_document_supported) {
            (true, true) => Ok(None),
            (true, false) => Err(ClientLookupError::DocumentsOff),
            (false, _) => Err(ClientLookupError::Unknown),
        }
    }
}

impl Store {
    /// Returns the client with this id, which counts as used. One that was registered by its metadata document has another id,
    /// and logs in with the document's URL.
    fn used(&mut self, id: &str) -> Option<Arc<ClientRecord>> {
        let is_it =
            |client: &&Arc<ClientRecord>| client.id == id || client.external_client_id.as_deref() == Some(id);
        let defined = self.defined.iter().find(is_it).cloned();
        defined.or_else(|| self.registered.get(id).cloned())
    }

    fn present(&self, id: &str) -> Option<Arc<ClientRecord>> {
        let defined = self.defined.iter().find(|client| client.id == id);
        defined.or_else(|| self.registered.peek(id)).cloned()
    }

    fn slot(&mut self, id: &str) -> Option<&mut Arc<ClientRecord>> {
        let defined = self.defined.iter_mut().find(|client| client.id == id);
        defined.or_else(|| self.registered.peek_mut(id))
    }
}

fn from_metadata(id: &str, metadata: ClientMetadata) -> ClientRecord {
    let has = |name: &str| metadata.grant_types.iter().any(|grant| grant == name);
    let mut grant_types = vec![GrantType::AuthorizationCode];
    if has("refresh_token") {
        grant_types.push(GrantType::RefreshToken);
    }
    let name = metadata
        .client_name
        .map_or_else(|| id.to_owned(), |name| name.chars().take(MAX_NAME_CHARS).collect());
    ClientRecord {
        external_client_id: Some(id.to_owned()),
        redirect_uris: metadata.redirect_uris,
        grant_types,
        ..ClientRecord::new(id, &name, Trust::ThirdParty(ThirdPartySecurityMode::Strict))
    }
}

/// No code panics while it holds one of these locks, so the value in a poisoned one is consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(id: &str) -> ClientRecord {
        ClientRecord::new(id, id, Trust::FirstParty)
    }

    fn ids(clients: &Clients) -> Vec<String> {
        clients.all().iter().map(|client| client.id.clone()).collect()
    }

    #[test]
    fn every_client_can_be_changed_and_removed() {
        let clients = Clients::new([client("configured")].into_iter());
        clients.insert(client("defined")).unwrap();
        for id in ["z", "y"] {
            clients.register(client(id));
        }
        assert_eq!(ids(&clients), ["configured", "defined", "y", "z"]);
        for id in ids(&clients) {
            let renamed = clients.update(&id, |client| {
                (client.name, client.id) = ("renamed".into(), "another id".into());
                Ok::<_, ()>(())
            });
            assert_eq!(renamed.unwrap().unwrap().id, id, "an id stays");
            let failed = clients.update(&id, |client| {
                client.name = "half done".into();
                Err("no")
            });
            assert_eq!(failed, Err("no"));
            assert_eq!(clients.get(&id).unwrap().name, "renamed");
            assert_eq!(clients.lookup(&id, &Settings::default()).unwrap().name, "renamed");
            assert_eq!(clients.remove(&id).unwrap().name, "renamed");
            assert_eq!((clients.get(&id), clients.remove(&id)), (None, None));
            assert_eq!(clients.lookup(&id, &Settings::default()), Err(ClientLookupError::Unknown));
        }
        assert_eq!(clients.update("gone", |_| Ok::<_, ()>(())), Ok(None));
        assert!(clients.all().is_empty());
    }

    #[test]
    fn an_id_is_one_clients_and_their_number_is_bounded() {
        let clients = Clients::new([client("configured")].into_iter());
        clients.register(client("registered"));
        for id in ["configured", "registered"] {
            assert_eq!(clients.insert(client(id)), Err(InsertError::Exists));
        }
        for number in 1..MAX_CLIENTS.get() {
            clients.insert(client(&number.to_string())).unwrap();
        }
        assert_eq!(clients.insert(client("one more")), Err(InsertError::Full));
        // Those that register themselves push out each other only.
        for number in 0..MAX_CLIENTS.get() {
            clients.register(client(&format!("tpc_{number}")));
        }
        assert_eq!((clients.all().len(), clients.get("registered")), (2 * MAX_CLIENTS.get(), None));
        assert!(clients.get("configured").is_some());
    }

    #[test]
    fn a_logout_url_is_any_clients() {
        let clients = Clients::new([client("configured")].into_iter());
        assert!(!clients.is_logout_url("https://x.test/"));
        let changed = clients.update("configured", |client| {
            client.logout_urls.push("https://x.test/".into());
            Ok::<_, ()>(())
        });
        assert!(changed.is_ok() && clients.is_logout_url("https://x.test/"));
    }
}
