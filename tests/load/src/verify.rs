//! What one RS256 verification by `jsonwebtoken` costs, with its key and the token at hand. For each it makes the backend's key of the
//! numbers, which this server does once.

use std::time::Duration;

use anyhow::Context as _;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey};
use rustix::time::{ClockId, clock_gettime};

/// The first key of a JWK Set.
///
/// # Errors
/// Something else than a JWK Set, or one without a key.
pub(crate) fn key(keys: &[u8]) -> anyhow::Result<DecodingKey> {
    let keys: JwkSet = serde_json::from_slice(keys)?;
    Ok(DecodingKey::from_jwk(keys.keys.first().context("the tenant has no keys")?)?)
}

/// Time on a core for all of the tokens.
///
/// # Errors
/// A token that the key did not sign.
pub(crate) fn cost(key: &DecodingKey, tokens: &[String]) -> anyhow::Result<Duration> {
    let started = on_core()?;
    for token in tokens {
        let (signed, signature) = token.rsplit_once('.').context("a token has no signature")?;
        let good = jsonwebtoken::crypto::verify(signature, signed.as_bytes(), key, Algorithm::RS256)?;
        anyhow::ensure!(good, "a token was not signed by the tenant's first key");
    }
    Ok(on_core()?.saturating_sub(started))
}

/// Time on a core of this thread so far.
fn on_core() -> anyhow::Result<Duration> {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Ok(Duration::new(time.tv_sec.try_into()?, time.tv_nsec.try_into()?))
}
