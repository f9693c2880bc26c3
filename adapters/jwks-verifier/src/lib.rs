//! The `TokenVerifier` port by the keys that an issuer publishes (JWKS): RS256 and nothing else, whatever a token's header
//! says. What differs between identity providers is behind [`IdentityProvider`].
//!
//! A token whose signature was proved before is found by its fingerprint (`proofs`). Any other is judged in this order, cheapest
//! first, and no claim is read before its signature is proved:
//!
//! 1. the parts and the header (`jws`): strict base64url, strict JSON, RS256, no `crit`, a `kid`;
//! 2. the key (`keys`): a snapshot of the issuer's keys, which a background task fetches (`fetch`), parses
//!    (`jwks`, `jwk`) and keeps fresh (`schedule`);
//! 3. the signature, with that key;
//! 4. the claims, by the identity provider: their JSON types only. Whether to accept them is for the domain to decide.
//!    [`claims`] reads those that are registered; a provider adds its own.
//!
//! `inspect` makes the same checks for people, each for itself.
//!
//! Nothing here logs any part of a token, and what is kept of one is its fingerprint and its claims. Of a refused token,
//! `unverified` reads what the log line of the refusal may show.

pub mod claims;
mod fetch;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod inspect;
mod jwk;
mod jwks;
mod jws;
mod keys;
mod options;
mod proofs;
mod provider;
mod schedule;
mod skipped;
mod unverified;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{BearerToken, Claims, Clock, NotReady, TokenVerifier, UnverifiedClaims, VerifyError};
use tokio::sync::watch;
use tokio::task::AbortHandle;

pub use inspect::{Inspection, SignatureCheck, inspect_offline};
pub use keys::Status;
pub use options::{JwksUrl, Options, OptionsError};
pub use provider::{Hints, IdentityProvider};

use jws::{Jws, KnownHeader};
use keys::KeyStore;
use proofs::Fingerprint;

/// Verifies the tokens of a provider `P` with the keys that its issuer publishes. Its background task ends when it is
/// dropped.
pub struct JwksVerifier<P> {
    provider: P,
    keys: Arc<KeyStore>,
    headers: KnownHeader,
    task: AbortHandle,
}

impl<P: IdentityProvider> JwksVerifier<P> {
    /// Begins to fetch keys in the background and returns at once. Until they are there, `ready` says so, and tokens
    /// wait for them.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(options: &Options, clock: Arc<dyn Clock>) -> Self
    where
        P: Default,
    {
        Self::for_provider(P::default(), options, clock)
    }

    /// Starts as [`JwksVerifier::start`] does, for a provider that has no default or is chosen at run time.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn for_provider(provider: P, options: &Options, clock: Arc<dyn Clock>) -> Self {
        let keys = Arc::new(KeyStore::new(options, clock));
        let task = tokio::spawn(Arc::clone(&keys).keep_fresh()).abort_handle();
        Self { provider, keys, headers: KnownHeader::default(), task }
    }

    /// Says what each check makes of a token, where [`TokenVerifier::verify`] ends at the first that fails. Nothing is
    /// remembered of it.
    pub async fn inspect(&self, token: &BearerToken) -> Inspection {
        inspect::inspect(&self.provider, token, Some(&self.keys)).await
    }

    /// Verifies a token that is not remembered, and remembers it.
    async fn prove(
        &self,
        token: &BearerToken,
        fingerprint: Option<Fingerprint>,
    ) -> Result<Arc<Claims>, VerifyError> {
        let jws = Jws::split(token.expose())?;
        let header = self.headers.of(&jws)?;
        let resolved = self.keys.resolve(&header.kid).await?;
        let proved = jws.prove(&*resolved.key)?;
        self.headers.keep(&proved, &header);
        let claims = Arc::new(self.provider.claims(&proved.payload()?, header.token_type.clone())?);
        if let Some(fingerprint) = fingerprint {
            resolved.proofs.insert(fingerprint, token, &claims);
        }
        Ok(claims)
    }
}

impl<P> JwksVerifier<P> {
    /// Returns how fetching goes, now and at every change.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.keys.status()
    }
}

impl<P> Drop for JwksVerifier<P> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[async_trait]
impl<P: IdentityProvider> TokenVerifier for JwksVerifier<P> {
    async fn verify(&self, token: &BearerToken) -> Result<Arc<Claims>, VerifyError> {
        let fingerprint = self.keys.fingerprint(token);
        let proved = fingerprint.as_ref().and_then(|fingerprint| self.keys.proved_claims(fingerprint));
        if let Some(claims) = proved {
            return Ok(claims);
        }
        // In a box of its own: rare, and no room for it in the future of every request.
        Box::pin(self.prove(token, fingerprint)).await
    }

    fn unverified_claims(&self, token: &BearerToken) -> UnverifiedClaims {
        unverified::read(token)
    }

    fn ready(&self) -> Result<(), NotReady> {
        self.keys.ready()
    }

    fn keys_age(&self) -> Option<Duration> {
        self.keys.age()
    }
}
