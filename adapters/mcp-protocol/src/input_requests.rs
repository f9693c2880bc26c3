//! Requests for input that a legacy client gets on a call's stream, and responds to with a POST of its own. An id is
//! unguessable, and only the subject and client that got the request can respond to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{Exhausted, Holder, InUse, Lease, Memory, Pool, Principal};
use futures_channel::oneshot;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use syntax::strict_json::Unparsed;

use crate::content::{InputParamsWire, InputRequestWire};

/// The requests for input that wait for their responses.
pub(crate) struct PendingInputRequests {
    by_id: Mutex<HashMap<String, Waiting>>,
    pool: Arc<Pool>,
}

struct Waiting {
    subject: String,
    client: String,
    response: oneshot::Sender<InputResponse>,
}

/// One request that waits for its response, until this is dropped.
pub(crate) struct PendingInputRequest {
    pub(crate) id: String,
    pub(crate) response: oneshot::Receiver<InputResponse>,
    all: Arc<PendingInputRequests>,
    _lease: Lease,
}

/// A response on its way to its job: its text, and where its memory is counted.
pub(crate) struct InputResponse {
    /// `None` if the client answered with an error.
    result: Result<Option<Unparsed<Box<RawValue>>>, Exhausted>,
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
        Self { by_id: Mutex::default(), pool }
    }

    /// Returns how many are open, beside how many can be.
    pub(crate) fn usage(&self) -> InUse {
        self.pool.usage()
    }

    /// Registers a request to this principal.
    pub(crate) fn open(self: &Arc<Self>, principal: &Principal) -> Result<PendingInputRequest, NotOpened> {
        let lease = self.pool.lease(Holder::of(principal), 1).map_err(NotOpened::Exhausted)?;
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NotOpened::NoRandomness)?;
        let id = URL_SAFE_NO_PAD.encode(bytes);
        let (response, received) = oneshot::channel();
        let waiting =
            Waiting { subject: principal.subject().into(), client: principal.client().into(), response };
        self.lock().insert(id.clone(), waiting);
        Ok(PendingInputRequest { id, response: received, all: Arc::clone(self), _lease: lease })
    }

    /// Passes a response on. One that nothing waits for, or that somebody else sends, changes nothing. `result` is `None` for
    /// an error, which is a response, too.
    pub(crate) fn respond(
        &self,
        principal: &Principal,
        id: Option<&str>,
        result: Option<&Unparsed<&RawValue>>,
        mut memory: Memory,
    ) {
        let Some(id) = id else {
            return;
        };
        let mut pending = self.lock();
        let is_theirs = |waiting: &Waiting| {
            waiting.subject == principal.subject() && waiting.client == principal.client()
        };
        if pending.get(id).is_some_and(is_theirs)
            && let Some(waiting) = pending.remove(id)
        {
            let counted = memory.add(result.map_or(0, |result| result.text().len()));
            let result = counted.map(|()| result.map(Unparsed::to_owned));
            let response = InputResponse { result, _memory: memory };
            // The job may be gone.
            let _ = waiting.response.send(response);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PendingInputRequest {
    fn drop(&mut self) {
        self.all.lock().remove(&self.id);
    }
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

    #[test]
    fn a_request_is_pending_until_its_addressee_responds_or_it_is_dropped() {
        let pool = Arc::new(Pool::new(10, Shares { subject_percent: 100, client_percent: 100 }));
        let requests = Arc::new(PendingInputRequests::new(Arc::clone(&pool)));
        let ada = principal("ada", "c");
        let memory = || Memory::of_request(&pool, Holder::of(&ada));
        let Ok(mut request) = requests.open(&ada) else { panic!("not opened") };
        for (sender, id) in
            [("bob", "c"), ("ada", "d")].map(|(sub, client)| (principal(sub, client), request.id.clone()))
        {
            requests.respond(&sender, Some(&id), None, memory());
            assert_eq!(requests.lock().len(), 1, "nobody else's response changes anything");
        }
        requests.respond(&ada, Some("another"), None, memory());
        assert!(request.response.try_recv().is_ok_and(|response| response.is_none()));
        requests.respond(&ada, Some(&request.id), None, memory());
        assert!(request.response.try_recv().is_ok_and(|response| response.is_some()));

        let Ok(dropped) = requests.open(&ada) else { panic!("not opened") };
        assert_eq!((requests.lock().len(), pool.in_use()), (1, 2));
        drop(dropped);
        drop(request);
        assert_eq!((requests.lock().len(), pool.in_use()), (0, 0), "what nothing waits for is forgotten");
    }
}
