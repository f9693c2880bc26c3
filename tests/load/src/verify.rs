//! What one RS256 verification costs by itself: the library, with the key and the token at hand.

use anyhow::Context as _;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey};

use crate::client::now;

/// The mean over all tokens, in microseconds, once a round.
///
/// # Errors
/// A token that the key did not sign.
pub(crate) fn costs(keys: &[u8], tokens: &[String], rounds: usize) -> anyhow::Result<Vec<f64>> {
    let keys: JwkSet = serde_json::from_slice(keys)?;
    let key = DecodingKey::from_jwk(keys.keys.first().context("the tenant has no keys")?)?;
    let once = || {
        let started = now();
        for token in tokens {
            let (signed, signature) = token.rsplit_once('.').context("a token has no signature")?;
            let good = jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &key, Algorithm::RS256)?;
            anyhow::ensure!(good, "a token was not signed by the tenant's first key");
        }
        Ok(started.elapsed().as_secs_f64() * 1e6 / tokens.len() as f64)
    };
    (0..rounds).map(|_| once()).collect()
}
