//! A cache of proofs: the claims of tokens whose signature was proved with a key of the present set.
//!
//! A proved signature stays valid while its key is published, so the claims may be kept; whether to accept them is decided
//! on every request, elsewhere. Only proved tokens get in, so nobody without a key can fill it; it is bounded, and it is
//! dropped with its key set. It contains digests, never tokens.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use domain::{BearerToken, Claims};
use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

/// The bytes of a token that count as one unit of weight: usual tokens weigh one or two. The claims of a token take about
/// as much memory as the token, since custom claims are kept as text.
const UNIT: usize = 1024;

/// A token's SHA-256: nobody can make two tokens that have the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenDigest([u8; SHA256_OUTPUT_LEN]);

impl TokenDigest {
    pub(crate) fn of(token: &BearerToken) -> Self {
        let digest = digest(&SHA256, token.expose_bytes());
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }
}

impl std::hash::Hash for TokenDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

/// Takes eight bytes of a digest as the hash: they are as random as any hash.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.first_chunk().map_or(0, |first| u64::from_ne_bytes(*first));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Clone)]
struct Proof {
    claims: Arc<Claims>,
    weight: u64,
}

#[derive(Clone)]
struct ByLength;

impl Weighter<TokenDigest, Proof> for ByLength {
    fn weight(&self, _: &TokenDigest, proof: &Proof) -> u64 {
        proof.weight
    }
}

/// The proofs of one key set.
pub(crate) struct Proofs(Option<Cache<TokenDigest, Proof, ByLength, BuildHasherDefault<FirstBytes>>>);

impl Proofs {
    /// Creates a cache for so many tokens of up to 1 KiB; a longer one counts as several. With 0 it keeps nothing.
    pub(crate) fn with_capacity(tokens: usize) -> Self {
        let weight = u64::try_from(tokens).unwrap_or(u64::MAX);
        let cache = || {
            Cache::with(tokens, weight, ByLength, BuildHasherDefault::default(), DefaultLifecycle::default())
        };
        Self((tokens > 0).then(cache))
    }

    pub(crate) fn get(&self, digest: &TokenDigest) -> Option<Arc<Claims>> {
        self.0.as_ref()?.get(digest).map(|proof| proof.claims)
    }

    /// Keeps the claims of a token, whose signature must have been proved.
    pub(crate) fn insert(&self, digest: TokenDigest, token: &BearerToken, claims: &Arc<Claims>) {
        if let Some(cache) = &self.0 {
            let weight = token.expose_bytes().len().div_ceil(UNIT) as u64;
            cache.insert(digest, Proof { claims: Arc::clone(claims), weight });
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{ScopeSet, UnixSeconds};

    use super::*;

    fn claims(subject: &str) -> Arc<Claims> {
        Arc::new(Claims {
            token_type: None,
            issuer: String::new(),
            audience: Vec::new(),
            subject: subject.to_owned(),
            expires_at: UnixSeconds(0),
            not_before: None,
            issued_at: None,
            client_id: None,
            authorized_party: None,
            scope: ScopeSet::EMPTY,
            permissions: ScopeSet::EMPTY,
            name: None,
            email: None,
            organization_id: None,
            token_id: None,
            sender_constrained: false,
            extra: None,
        })
    }

    fn token(name: &str, length: usize) -> BearerToken {
        BearerToken::new(format!("{name:x<length$}")).unwrap()
    }

    fn cache(proofs: &Proofs, token: &BearerToken) {
        proofs.insert(TokenDigest::of(token), token, &claims(token.expose()));
    }

    fn is_cached(proofs: &Proofs, token: &BearerToken) -> bool {
        let claims = proofs.get(&TokenDigest::of(token));
        claims.is_some_and(|claims| claims.subject == token.expose())
    }

    #[test]
    fn a_token_is_found_by_all_of_its_bytes() {
        let proofs = Proofs::with_capacity(100);
        let token = token("a", 900);
        cache(&proofs, &token);
        assert!(is_cached(&proofs, &token));
        for index in [0, 450, 899] {
            let mut other = token.expose().to_owned();
            other.replace_range(index..=index, "y");
            assert!(!is_cached(&proofs, &BearerToken::new(&other).unwrap()), "{index}");
        }
    }

    #[test]
    fn long_tokens_count_as_several() {
        for (length, max) in [(900, 64), (1025, 32), (16_000, 4)] {
            let proofs = Proofs::with_capacity(64);
            let tokens: Vec<_> = (0..200).map(|n| token(&n.to_string(), length)).collect();
            for token in &tokens {
                cache(&proofs, token);
            }
            let kept = tokens.iter().filter(|token| is_cached(&proofs, token)).count();
            assert!((1..=max).contains(&kept), "{kept} of {length} bytes");
        }
    }

    #[test]
    fn without_capacity_nothing_is_kept() {
        let proofs = Proofs::with_capacity(0);
        cache(&proofs, &token("a", 10));
        assert!(!is_cached(&proofs, &token("a", 10)));
    }
}
