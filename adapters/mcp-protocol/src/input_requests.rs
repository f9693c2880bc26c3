//! Requests for input that a legacy client gets on a call's stream, and responds to with a POST of its own. An id is
//! unguessable, and only the subject and client that got the request can respond to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{Exhausted, Holder, InUse, Lease, Memory, Pool, Principal, Replicas};
use futures_channel::oneshot;
use serde::Serialize;
use serde_json::Value;
use syntax::strict_json::{self, Fault, MAX_DEPTH, Members, Unparsed, Unread};

use crate::content::{InputParamsWire, InputRequestWire};
use crate::seal::{Binding, SealingKeys};

/// The requests for input that wait for their responses.
pub(crate) struct PendingInputRequests {
    by_key: Mutex<HashMap<Key, Waiting>>,
    pool: Arc<Pool>,
    /// The way to other replicas, to which a client's response may go.
    replicas: OnceLock<Arc<dyn Replicas>>,
}

struct Waiting {
    subject: Box<str>,
    client: Box<str>,
    /// What opens a response that another replica got.
    keys: Arc<SealingKeys>,
    /// Where such a response is counted.
    memory: Memory,
    response: oneshot::Sender<InputResponse>,
}

/// What finds a request: a digest of its id, and of the subject and the client that it went to. Whoever is another finds nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key(String);

impl Key {
    pub(crate) fn of(id: &str, principal: &Principal) -> Self {
        // Strings: rendering them can't fail, and no two lists render alike.
        let all = serde_json::to_vec(&[id, principal.subject(), principal.client()]).unwrap_or_default();
        Self(URL_SAFE_NO_PAD.encode(digest(&SHA256, &all)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// One request that waits for its response, until this is dropped.
pub(crate) struct PendingInputRequest {
    pub(crate) id: String,
    pub(crate) response: oneshot::Receiver<InputResponse>,
    key: Key,
    all: Arc<PendingInputRequests>,
    _lease: Lease,
}

/// A response on its way to its job: its text, and where its memory is counted.
pub(crate) struct InputResponse {
    /// `None` if the client answered with an error.
    result: Result<Option<Unparsed<Box<str>>>, Exhausted>,
    _memory: Memory,
}

impl InputResponse {
    /// Returns the response's tree, and adds what it takes to `bytes` and `memory`; null if the client answered with an error.
    pub(crate) fn into_tree(self, memory: &mut Memory, bytes: &mut usize) -> Result<Value, Exhausted> {
        let Some(result) = self.result? else {
            return Ok(Value::Null);
        };
        memory.add(result.tree_bytes())?;
        *bytes += result.tree_bytes();
        Ok(result.parse())
    }
}

/// Why there can be no further request for input.
pub(crate) enum NotOpened {
    /// Too many are pending.
    Exhausted(Exhausted),
    /// The machine has no randomness.
    NoRandomness,
}

impl PendingInputRequests {
    /// Creates an empty collection, for as many requests as the pool has units.
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Self { by_key: Mutex::default(), pool, replicas: OnceLock::new() }
    }

    /// Has responses accepted that other replicas got, and brought to them.
    pub(crate) fn set_replicas(&self, replicas: Arc<dyn Replicas>) {
        let _ = self.replicas.set(replicas);
    }

    /// Returns the way to other replicas, if there is one.
    pub(crate) fn replicas(&self) -> Option<&dyn Replicas> {
        self.replicas.get().map(|replicas| &**replicas)
    }

    /// Returns how many are open, beside how many can be.
    pub(crate) fn usage(&self) -> InUse {
        self.pool.usage()
    }

    /// Registers a request to this principal that waits for this long at most. `memory` is for a response that comes by another
    /// replica.
    pub(crate) async fn open(
        self: &Arc<Self>,
        principal: &Principal,
        keys: &Arc<SealingKeys>,
        memory: Memory,
        at_most: Duration,
    ) -> Result<PendingInputRequest, NotOpened> {
        let lease = self.pool.lease(Holder::of(principal), 1).map_err(NotOpened::Exhausted)?;
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NotOpened::NoRandomness)?;
        let id = URL_SAFE_NO_PAD.encode(bytes);
        let (response, received) = oneshot::channel();
        let (subject, client) = (principal.subject().into(), principal.client().into());
        let key = Key::of(&id, principal);
        let waiting = Waiting { subject, client, keys: Arc::clone(keys), memory, response };
        self.lock().insert(key.clone(), waiting);
        let opened =
            PendingInputRequest { id, response: received, key, all: Arc::clone(self), _lease: lease };
        if let Some(replicas) = self.replicas() {
            // Before the client knows the id: its response must not be faster.
            replicas.wait_for(opened.key.as_str(), at_most).await;
        }
        Ok(opened)
    }

    /// Passes a response on. `result` is `None` for an error, which is a response, too.
    ///
    /// # Errors
    /// The memory, if nothing waits here by this key.
    pub(crate) fn respond(
        &self,
        key: &Key,
        result: Option<&Unparsed<&str>>,
        mut memory: Memory,
    ) -> Result<(), Memory> {
        let Some(waiting) = self.lock().remove(key) else { return Err(memory) };
        let counted = memory.add(result.map_or(0, |result| result.text().len()));
        let result = counted.map(|()| result.map(Unparsed::to_owned));
        waiting.pass_on(result, memory);
        Ok(())
    }

    /// Takes a response that another replica got and sealed. One that can't be opened changes nothing: whoever carries messages
    /// may have made it. `keys` are the present ones, if there are newer ones than the request knows.
    pub(crate) fn receive(&self, key: &str, sealed: &[u8], keys: Option<&SealingKeys>) {
        let key = Key(key.to_owned());
        let mut pending = self.lock();
        let Some(waiting) = pending.get_mut(&key) else { return };
        // Opened, and as the response's text.
        let bytes = 2 * sealed.len();
        let result = waiting.memory.add(bytes).map(|()| {
            let binding = Binding::of_response(&waiting.subject, &waiting.client, &key.0);
            let opened = keys.unwrap_or(&waiting.keys).decrypted(sealed, &binding);
            opened.and_then(|opened| OpenedResponse::read(&opened))
        });
        let result = match result {
            Ok(None) => return waiting.memory.remove(bytes),
            Ok(Some(OpenedResponse(result))) => Ok(result),
            Err(exhausted) => Err(exhausted),
        };
        if let Some(mut waiting) = pending.remove(&key) {
            let memory = waiting.memory.part();
            let memory = std::mem::replace(&mut waiting.memory, memory);
            waiting.pass_on(result, memory);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Waiting>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn pass_on(self, result: Result<Option<Unparsed<Box<str>>>, Exhausted>, memory: Memory) {
        // The job may be gone.
        let _ = self.response.send(InputResponse { result, _memory: memory });
    }
}

impl Drop for PendingInputRequest {
    fn drop(&mut self) {
        self.all.lock().remove(&self.key);
        if let Some(replicas) = self.all.replicas() {
            replicas.forget(self.key.as_str());
        }
    }
}

/// A response as one replica seals it for another: without `result`, an error.
#[derive(Default)]
struct SealedResponse<'a> {
    result: Option<Unparsed<&'a str>>,
}

impl<'a> Members<'a> for SealedResponse<'a> {
    fn take(&mut self, name: &str, value: Unread<'_, 'a>) -> Result<(), Fault> {
        match name {
            "result" => self.result = Some(value.unparsed()?),
            _ => value.skip()?,
        }
        Ok(())
    }
}

/// A response that another replica sealed: `None`, if the client answered with an error.
struct OpenedResponse(Option<Unparsed<Box<str>>>);

impl OpenedResponse {
    /// Reads what was decrypted; `None` if it is no response.
    fn read(text: &[u8]) -> Option<Self> {
        let sealed = strict_json::read::<SealedResponse<'_>>(text, MAX_DEPTH).ok()?.object()?;
        Some(Self(sealed.result.as_ref().map(Unparsed::to_owned)))
    }
}

/// Seals a response for the replica that waits for it; `None` only if the machine has no randomness.
pub(crate) fn sealed_response(
    key: &Key,
    principal: &Principal,
    result: Option<&Unparsed<&str>>,
    keys: &SealingKeys,
) -> Option<Vec<u8>> {
    let text = match result {
        Some(result) => [br#"{"result":"#, result.text().as_bytes(), b"}"].concat(),
        None => b"{}".to_vec(),
    };
    keys.encrypted(text, &Binding::of_response(principal.subject(), principal.client(), &key.0))
}

/// Returns a request for input as a JSON-RPC request.
pub(crate) fn json_rpc_request(id: &str, request: InputRequestWire) -> Vec<u8> {
    let InputRequestWire { method, params } = request;
    let request = JsonRpcRequest { jsonrpc: "2.0", id, method, params };
    // None of its values can fail to be JSON.
    serde_json::to_vec(&request).unwrap_or_default()
}

/// `JSONRPCRequest` in the schema.
#[derive(Serialize)]
struct JsonRpcRequest<'a> {
    jsonrpc: &'static str,
    id: &'a str,
    method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<InputParamsWire>,
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use domain::{Claims, ScopeAuthority, ScopeSet, Shares, TokenPolicy, UnixSeconds};

    use super::*;

    fn principal(subject: &str, client: &str) -> Principal {
        let claims = Claims {
            token_type: Some("JWT".into()),
            issuer: "i".into(),
            audience: vec!["a".into()],
            subject: subject.into(),
            expires_at: UnixSeconds(1),
            not_before: None,
            issued_at: None,
            client_id: Some(client.into()),
            authorized_party: None,
            scope: ScopeSet::EMPTY,
            permissions: ScopeSet::EMPTY,
            name: None,
            email: None,
            organization_id: None,
            token_id: None,
            sender_constrained: false,
            extra: None,
        };
        let policy = TokenPolicy {
            issuers: vec!["i".into()],
            resources: vec!["a".into()],
            additional_audiences: Vec::new(),
            leeway: std::time::Duration::ZERO,
            authority: ScopeAuthority::Scope,
            hierarchy: Arc::default(),
            token_types: &["JWT"],
        };
        policy.admit(&Arc::new(claims), &"a".into(), UnixSeconds(0)).unwrap()
    }

    struct Setting {
        pool: Arc<Pool>,
        requests: Arc<PendingInputRequests>,
        keys: Arc<SealingKeys>,
    }

    impl Setting {
        fn new() -> Self {
            Self::of_bytes(10)
        }

        fn of_bytes(bytes: usize) -> Self {
            let pool = Arc::new(Pool::new(bytes, Shares { subject_percent: 100, client_percent: 100 }));
            let requests = Arc::new(PendingInputRequests::new(Arc::clone(&pool)));
            Self { pool, requests, keys: Arc::new(SealingKeys::new(&[vec![1; 32]]).unwrap()) }
        }

        fn memory(&self) -> Memory {
            Memory::of_request(&self.pool, Holder::NOBODY)
        }

        fn open(&self, principal: &Principal) -> PendingInputRequest {
            let opened = self.requests.open(principal, &self.keys, self.memory(), Duration::from_secs(9));
            let Some(Ok(opened)) = opened.now_or_never() else { panic!("not opened") };
            opened
        }

        fn respond(&self, principal: &Principal, id: &str) {
            drop(self.requests.respond(&Key::of(id, principal), None, self.memory()));
        }
    }

    impl PendingInputRequest {
        fn has_response(&mut self) -> bool {
            self.response.try_recv().is_ok_and(|response| response.is_some())
        }
    }

    #[test]
    fn a_request_is_pending_until_its_addressee_responds_or_it_is_dropped() {
        let setting = Setting::new();
        let (requests, pool) = (&setting.requests, &setting.pool);
        let ada = principal("ada", "c");
        let mut request = setting.open(&ada);
        for (subject, client) in [("bob", "c"), ("ada", "d"), ("ada\",\"c", "x")] {
            setting.respond(&principal(subject, client), &request.id);
            assert_eq!(requests.lock().len(), 1, "nobody else's response changes anything");
        }
        setting.respond(&ada, "another");
        assert!(!request.has_response());
        setting.respond(&ada, &request.id);
        assert!(request.has_response());

        let dropped = setting.open(&ada);
        assert_eq!((requests.lock().len(), pool.in_use()), (1, 2));
        drop(dropped);
        drop(request);
        assert_eq!((requests.lock().len(), pool.in_use()), (0, 0), "what nothing waits for is forgotten");
    }

    fn sealed_by(principal: &Principal, id: &str, keys: &SealingKeys) -> Vec<u8> {
        sealed_response(&Key::of(id, principal), principal, None, keys).unwrap()
    }

    #[test]
    fn a_response_by_another_replica_counts_if_it_is_sealed_for_this_request() {
        let setting = Setting::new();
        let ada = principal("ada", "c");
        let (mut request, mut other) = (setting.open(&ada), setting.open(&ada));
        let good = sealed_by(&ada, &request.id, &setting.keys);
        let mut turned = good.clone();
        turned[20] ^= 1;
        let state = {
            let binding = Binding::new(&ada, "response", request.key.as_str());
            setting.keys.encrypted(b"{}".to_vec(), &binding).unwrap()
        };
        let no_json = {
            let binding = Binding::of_response("ada", "c", request.key.as_str());
            setting.keys.encrypted(b"{} ?".to_vec(), &binding).unwrap()
        };
        let foreign = SealingKeys::new(&[vec![2; 32]]).unwrap();
        for bad in [
            sealed_by(&principal("bob", "c"), &request.id, &setting.keys),
            sealed_by(&principal("ada", "d"), &request.id, &setting.keys),
            sealed_by(&ada, &other.id, &setting.keys),
            sealed_by(&ada, &request.id, &foreign),
            turned,
            state,
            no_json,
            Vec::new(),
            b"{}".to_vec(),
        ] {
            setting.requests.receive(request.key.as_str(), &bad, None);
            assert!(!request.has_response(), "{bad:?}");
        }
        setting.requests.receive("unknown", &good, None);
        let key = request.key.clone();
        setting.requests.receive(key.as_str(), &good, None);
        assert!(request.has_response());
        setting.requests.receive(key.as_str(), &good, None);
        assert_eq!(setting.requests.lock().len(), 1, "a replay finds nothing, and the other one waits");
        let newer = SealingKeys::new(&[vec![3; 32], vec![1; 32]]).unwrap();
        let by_newer = sealed_by(&ada, &other.id, &newer);
        let key = other.key.clone();
        setting.requests.receive(key.as_str(), &by_newer, None);
        assert!(!other.has_response());
        setting.requests.receive(key.as_str(), &by_newer, Some(&newer));
        assert!(other.has_response());
    }

    #[test]
    fn a_response_by_another_replica_is_counted_before_it_is_opened() {
        let setting = Setting::of_bytes(50);
        let ada = principal("ada", "c");
        let memory = setting.memory().part();
        let opened = setting.requests.open(&ada, &setting.keys, memory, Duration::from_secs(9));
        let Some(Ok(mut request)) = opened.now_or_never() else { panic!("not opened") };
        let sealed = sealed_by(&ada, &request.id, &setting.keys);
        assert!(2 * sealed.len() > 49, "{}", sealed.len());
        setting.requests.receive(request.key.as_str(), &sealed, None);
        let response = request.response.try_recv().unwrap().unwrap();
        assert_eq!(response.into_tree(&mut setting.memory(), &mut 0), Err(Exhausted::Pool));
    }
}
