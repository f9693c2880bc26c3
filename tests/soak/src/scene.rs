//! What is right at the moment: the tokens in circulation, and what the server must make of them.

use std::sync::{Arc, PoisonError, RwLock};

/// Tokens by what is to become of them.
#[derive(Clone, Default)]
pub(crate) struct Tokens {
    /// With every scope.
    pub(crate) admin: Vec<String>,
    /// Of a user who may not greet.
    pub(crate) user: Vec<String>,
    /// Of the admin, who consented to less.
    pub(crate) poor: Vec<String>,
    pub(crate) expired: Vec<String>,
    pub(crate) foreign: Vec<String>,
    /// Signed with the newest key, which the server may not have fetched yet.
    pub(crate) fresh: Vec<String>,
    /// Signed with a key that is no longer published.
    pub(crate) revoked: Vec<String>,
}

/// Whether something is so; around a change, either is right.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certainty {
    Yes,
    No,
    Either,
}

/// The state of the world, as far as an answer depends on it.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) tokens: Tokens,
    /// Whether the admin may greet.
    pub(crate) greet: Certainty,
    /// Whether the issuer answers: `Either` is "not for certain", and a 503 is then right for an unknown key.
    pub(crate) issuer: Certainty,
    /// Whether the server must know the newest key.
    pub(crate) fresh: Certainty,
    /// Whether the server still takes what a revoked key signed.
    pub(crate) revoked: Certainty,
}

/// The present scene, shared by whoever changes it and whoever is measured by it.
pub(crate) struct Stage(RwLock<Arc<Scene>>);

impl Stage {
    pub(crate) fn new(tokens: Tokens) -> Self {
        let (yes, no) = (Certainty::Yes, Certainty::No);
        Self(RwLock::new(Arc::new(Scene { tokens, greet: yes, issuer: yes, fresh: yes, revoked: no })))
    }

    pub(crate) fn now(&self) -> Arc<Scene> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Scene)) {
        let mut scene = self.0.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut scene));
    }
}
