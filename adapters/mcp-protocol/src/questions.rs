//! Questions that a legacy client was asked on a call's stream, and that it answers with a POST of its own. An id is
//! unguessable, and only the subject and client that were asked can answer it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::strict_json::Unparsed;
use domain::{Exhausted, Holder, Lease, Memory, Pool, Principal};
use futures_channel::oneshot;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The open questions.
#[derive(Clone)]
pub(crate) struct OpenQuestions {
    open: Arc<Mutex<HashMap<String, Waiting>>>,
    pool: Arc<Pool>,
}

struct Waiting {
    subject: String,
    client: String,
    answer: oneshot::Sender<Given>,
}

/// One open question; it closes when this is dropped.
pub(crate) struct OpenQuestion {
    pub(crate) id: String,
    pub(crate) answer: oneshot::Receiver<Given>,
    questions: OpenQuestions,
    _lease: Lease,
}

/// An answer on its way to whoever waits for it: its text, and where its memory is counted.
pub(crate) struct Given {
    /// None for an error, or a result that there was no memory for.
    result: Option<Unparsed<Box<RawValue>>>,
    _memory: Memory,
}

impl Given {
    pub(crate) fn tree_bytes(&self) -> usize {
        self.result.as_ref().map_or(0, Unparsed::tree_bytes)
    }

    pub(crate) fn parse(&self) -> Value {
        self.result.as_ref().map_or(Value::Null, Unparsed::parse)
    }
}

/// Why a question can't be asked.
pub(crate) enum NotOpened {
    /// Too many are open.
    Exhausted(Exhausted),
    /// The machine gives no randomness.
    NoRandomness,
}

impl OpenQuestions {
    /// None are open yet; as many can be as the pool has units.
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Self { open: Arc::default(), pool }
    }

    /// Opens a question to this principal.
    pub(crate) fn open(&self, who: &Principal) -> Result<OpenQuestion, NotOpened> {
        let lease = self.pool.lease(Holder::of(who), 1).map_err(NotOpened::Exhausted)?;
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NotOpened::NoRandomness)?;
        let id = URL_SAFE_NO_PAD.encode(bytes);
        let (answer, received) = oneshot::channel();
        let waiting = Waiting { subject: who.subject().into(), client: who.client().into(), answer };
        self.lock().insert(id.clone(), waiting);
        Ok(OpenQuestion { id, answer: received, questions: self.clone(), _lease: lease })
    }

    /// Passes an answer on. One that nobody waits for, or that somebody else gives, changes nothing.
    pub(crate) fn answer(
        &self,
        who: &Principal,
        id: &str,
        result: Option<&Unparsed<&RawValue>>,
        mut memory: Memory,
    ) {
        let mut open = self.lock();
        let is_theirs =
            |waiting: &Waiting| waiting.subject == who.subject() && waiting.client == who.client();
        if open.get(id).is_some_and(is_theirs)
            && let Some(waiting) = open.remove(id)
        {
            let result = result.filter(|result| memory.add(result.text().len()).is_ok());
            let given = Given { result: result.map(Unparsed::to_owned), _memory: memory };
            // Whoever waited may be gone.
            let _ = waiting.answer.send(given);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenQuestion {
    fn drop(&mut self) {
        self.questions.lock().remove(&self.id);
    }
}

/// The request that asks it.
pub(crate) fn request(id: &str, question: Value) -> Vec<u8> {
    let mut request = question;
    request["jsonrpc"] = "2.0".into();
    request["id"] = json!(id);
    request.to_string().into_bytes()
}
