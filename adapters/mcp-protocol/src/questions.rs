//! Questions that a legacy client was asked on a call's stream, and that it answers with a POST of its own. An id is
//! unguessable, and only the subject and client that were asked can answer it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Principal;
use futures_channel::oneshot;
use serde_json::{Value, json};

/// What is open.
#[derive(Clone, Default)]
pub(crate) struct OpenQuestions(Arc<Mutex<HashMap<String, Waiting>>>);

struct Waiting {
    subject: String,
    client: String,
    answer: oneshot::Sender<Value>,
}

/// One open question; it closes when this is dropped.
pub(crate) struct OpenQuestion {
    pub(crate) id: String,
    pub(crate) answer: oneshot::Receiver<Value>,
    questions: OpenQuestions,
}

impl OpenQuestions {
    /// Opens a question; `None` only if the machine gives no randomness.
    pub(crate) fn open(&self, who: &Principal) -> Option<OpenQuestion> {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).ok()?;
        let id = URL_SAFE_NO_PAD.encode(bytes);
        let (answer, received) = oneshot::channel();
        let waiting = Waiting { subject: who.subject().into(), client: who.client().into(), answer };
        self.lock().insert(id.clone(), waiting);
        Some(OpenQuestion { id, answer: received, questions: self.clone() })
    }

    /// Passes an answer on. One that nobody waits for, or that somebody else gives, changes nothing.
    pub(crate) fn answer(&self, who: &Principal, id: &str, answer: Value) {
        let mut open = self.lock();
        let is_theirs =
            |waiting: &Waiting| waiting.subject == who.subject() && waiting.client == who.client();
        if open.get(id).is_some_and(is_theirs)
            && let Some(waiting) = open.remove(id)
        {
            // Whoever waited may be gone.
            let _ = waiting.answer.send(answer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
