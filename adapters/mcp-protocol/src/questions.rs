//! Questions that a legacy client was asked on a call's stream, and that it answers with a POST of its own. An id is
//! unguessable, and only the subject and client that were asked can answer it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{Exhausted, Holder, Lease, Memory, Pool, Principal};
use futures_channel::oneshot;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use syntax::strict_json::Unparsed;

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
            token_types: &["JWT"],
            issuers: vec!["i".into()],
            resources: vec!["a".into()],
            additional_audiences: Vec::new(),
            leeway: std::time::Duration::ZERO,
            authority: ScopeAuthority::Scope,
            hierarchy: Arc::default(),
        };
        policy.admit(&Arc::new(claims), &"a".into(), UnixSeconds(0)).unwrap()
    }

    #[test]
    fn a_question_is_open_until_it_is_answered_by_whom_it_was_asked_or_dropped() {
        let pool = Arc::new(Pool::new(10, Shares { subject_percent: 100, client_percent: 100 }));
        let questions = OpenQuestions::new(Arc::clone(&pool));
        let ada = principal("ada", "c");
        let memory = || Memory::of_request(&pool, Holder::of(&ada));
        let Ok(mut question) = questions.open(&ada) else { panic!("not opened") };
        for (who, id) in
            [("bob", "c"), ("ada", "d")].map(|(sub, client)| (principal(sub, client), question.id.clone()))
        {
            questions.answer(&who, &id, None, memory());
            assert_eq!(questions.lock().len(), 1, "nobody else's answer changes anything");
        }
        questions.answer(&ada, "another", None, memory());
        assert!(question.answer.try_recv().is_ok_and(|answer| answer.is_none()));
        questions.answer(&ada, &question.id, None, memory());
        assert!(question.answer.try_recv().is_ok_and(|answer| answer.is_some()));

        let Ok(dropped) = questions.open(&ada) else { panic!("not opened") };
        assert_eq!((questions.lock().len(), pool.in_use()), (1, 2));
        drop(dropped);
        drop(question);
        assert_eq!((questions.lock().len(), pool.in_use()), (0, 0), "what nobody waits for is forgotten");
    }
}
