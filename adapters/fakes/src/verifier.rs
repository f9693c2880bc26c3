//! [`ScriptedVerifier`]: tokens that mean what the test says.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use domain::{BearerToken, Claims, NotReady, ScopeSet, TokenVerifier, UnixSeconds, Untrusted, VerifyError};
use tokio::sync::watch;

/// Answers each token as scripted, and every other one with [`Untrusted::Signature`].
#[derive(Debug, Default)]
pub struct ScriptedVerifier {
    answers: RwLock<HashMap<String, Result<Arc<Claims>, VerifyError>>>,
    not_ready: RwLock<Option<NotReady>>,
    held: watch::Sender<HashSet<String>>,
    waiting: watch::Sender<usize>,
}

impl ScriptedVerifier {
    /// A verifier that knows no token.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Scripts the answer for `token`, replacing an earlier one.
    pub fn script(&self, token: &str, answer: Result<Claims, VerifyError>) {
        let mut answers = self.answers.write().unwrap_or_else(PoisonError::into_inner);
        answers.insert(token.to_owned(), answer.map(Arc::new));
    }

    /// Lets a token wait from now on, as for keys that are being fetched, until [`ScriptedVerifier::release`].
    pub fn hold(&self, token: &str) {
        self.held.send_modify(|held| {
            held.insert(token.to_owned());
        });
    }

    /// Answers the tokens that wait, and those that come later.
    pub fn release(&self) {
        self.held.send_modify(HashSet::clear);
    }

    /// Completes once at least `count` tokens have begun to wait in all.
    pub async fn waiting(&self, count: usize) {
        // The senders live as long as `self`, so waiting can't fail.
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting >= count).await;
    }

    /// Makes the verifier ready, or not ready for the given reason.
    pub fn set_ready(&self, ready: Result<(), NotReady>) {
        *self.not_ready.write().unwrap_or_else(PoisonError::into_inner) = ready.err();
    }
}

#[async_trait]
impl TokenVerifier for ScriptedVerifier {
    async fn verify(&self, token: &BearerToken) -> Result<Arc<Claims>, VerifyError> {
        let mut held = self.held.subscribe();
        if held.borrow().contains(token.expose()) {
            self.waiting.send_modify(|waiting| *waiting += 1);
            let _ = held.wait_for(|held| !held.contains(token.expose())).await;
        }
        let answers = self.answers.read().unwrap_or_else(PoisonError::into_inner);
        answers.get(token.expose()).cloned().unwrap_or(Err(VerifyError::Untrusted(Untrusted::Signature)))
    }

    fn ready(&self) -> Result<(), NotReady> {
        match &*self.not_ready.read().unwrap_or_else(PoisonError::into_inner) {
            Some(reason) => Err(reason.clone()),
            None => Ok(()),
        }
    }
}

/// Claims that a policy for `issuer` and `audience` accepts until `expires_at`, with these scopes.
#[must_use]
pub fn claims(issuer: &str, audience: &str, expires_at: UnixSeconds, scopes: &str) -> Claims {
    Claims {
        token_type: Some("at+jwt".into()),
        issuer: issuer.into(),
        audience: vec![audience.into()],
        subject: "auth0|abc123".into(),
        expires_at,
        not_before: None,
        issued_at: None,
        client_id: Some("client-1".into()),
        authorized_party: None,
        scope: ScopeSet::granted_by(scopes.split(' ')),
        permissions: ScopeSet::EMPTY,
        name: None,
        email: None,
        organization_id: None,
        token_id: None,
        sender_constrained: false,
        extra: None,
    }
}
