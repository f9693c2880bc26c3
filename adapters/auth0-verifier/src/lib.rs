//! The `TokenVerifier` port by an Auth0 tenant's keys: RS256 and nothing else, whatever a token says of itself.
//!
//! A token whose signature was proved before is known by its digest (`proofs`). Any other is judged in this order, cheapest
//! first, and no claim is read before its signature is proved:
//!
//! 1. the parts and the header (`jws`): strict base64url, strict JSON, RS256, no `crit`, a `kid`;
//! 2. the key (`keys`): a snapshot of the issuer's keys, which a background task fetches (`fetch`), parses
//!    (`jwks`) and keeps fresh (`schedule`);
//! 3. the signature, with that key;
//! 4. the claims (`claims`): their JSON types only. Whether to accept them is the domain's to say.
//!
//! Nothing here logs any part of a token, and what is kept of one is its digest and its claims. Of a refused token, `unverified`
//! reads what whoever logs the refusal may show.

mod claims;
mod fetch;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod jwks;
mod jws;
mod keys;
mod options;
mod proofs;
mod schedule;
mod unverified;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use domain::{BearerToken, Claims, Clock, NotReady, TokenVerifier, UnverifiedClaims, VerifyError};
use tokio::sync::watch;
use tokio::task::AbortHandle;

pub use keys::Status;
pub use options::{JwksUrl, Options, OptionsError};

use jws::Jws;
use keys::KeyStore;
use proofs::TokenDigest;

/// Verifies tokens with the keys that an issuer publishes. Its background task ends when it is dropped.
pub struct Auth0Verifier {
    keys: Arc<KeyStore>,
    task: AbortHandle,
}

impl Auth0Verifier {
    /// Begins to fetch keys in the background and returns at once. Until they are there, `ready` says so, and tokens
    /// wait for them.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(options: &Options, clock: Arc<dyn Clock>) -> Self {
        let keys = Arc::new(KeyStore::new(options, clock));
        let task = tokio::spawn(Arc::clone(&keys).keep_fresh()).abort_handle();
        Self { keys, task }
    }

    /// How fetching goes, now and at every change.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.keys.status()
    }
}

impl Drop for Auth0Verifier {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[async_trait]
impl TokenVerifier for Auth0Verifier {
    async fn verify(&self, token: &BearerToken) -> Result<Arc<Claims>, VerifyError> {
        let digest = TokenDigest::of(token);
        if let Some(claims) = self.keys.remembered(&digest) {
            return Ok(claims);
        }
        let jws = Jws::split(token.expose())?;
        let header = jws.header()?;
        let known = self.keys.key(&header.kid).await?;
        let proved = jws.prove(&known.key)?;
        let claims = Arc::new(claims::read(&proved, header.token_type)?);
        known.proofs.insert(digest, token, &claims);
        Ok(claims)
    }

    fn unverified_claims(&self, token: &BearerToken) -> UnverifiedClaims {
        unverified::read(token)
    }

    fn ready(&self) -> Result<(), NotReady> {
        self.keys.ready()
    }
}
