//! A cache of proofs: the claims of tokens whose signature was proved with a key of the present set.
//!
//! A proved signature stays valid while its key is published, so the claims may be kept; whether to accept them is decided
//! on every request, elsewhere. Only proved tokens get in, so nobody without a key can fill it; it is bounded, and it is
//! dropped with its key set. It contains fingerprints, never tokens.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use domain::{BearerToken, Claims};
use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

/// The bytes of a token that count as one unit of weight: usual tokens weigh one or two. The claims of a token take about
/// as much memory as the token, since custom claims are kept as text.
const UNIT: usize = 1024;

/// What identifies a token in this process, and says nothing of it: of two tokens, whoever made them, both have the same with a
/// probability of less than 2^-100.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint(u128);

/// Makes fingerprints: the MAC of a token under a key that nothing else has, and nobody outside.
///
/// The MAC is the tag of AES-GCM-SIV (RFC 8452) with the token as associated data and no plaintext. Of the AEADs it is the one
/// whose nonce may be used again: all that this discloses is which tokens are the same, which is what is wanted of it. On x86-64
/// it takes a third of the time of SHA-256, which was a twentieth of what a call costs. Unlike a digest it rests on the key:
/// whoever reads that and a fingerprint out of the process's memory can make a text that is taken for that token. They would find
/// the tokens of the requests under way there, too.
pub(crate) struct Fingerprints(LessSafeKey);

impl Fingerprints {
    /// Creates a random key; `None`, if the machine gives no randomness.
    pub(crate) fn with_random_key() -> Option<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).ok()?;
        Some(Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, &key).ok()?)))
    }

    /// Returns a token's fingerprint; `None`, if the library fails at it.
    pub(crate) fn of(&self, token: &BearerToken) -> Option<Fingerprint> {
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let token = Aad::from(token.expose_bytes());
        let tag = self.0.seal_in_place_separate_tag(nonce, token, &mut []).ok()?;
        Some(Fingerprint(u128::from_ne_bytes(tag.as_ref().try_into().ok()?)))
    }
}

impl std::hash::Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0.to_ne_bytes());
    }
}

/// Takes the first bytes of a fingerprint as the hash: they are as random as any hash.
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

impl Weighter<Fingerprint, Proof> for ByLength {
    fn weight(&self, _: &Fingerprint, proof: &Proof) -> u64 {
        proof.weight
    }
}

/// The proofs of one key set.
pub(crate) struct Proofs(Option<Cache<Fingerprint, Proof, ByLength, BuildHasherDefault<FirstBytes>>>);

impl Proofs {
    /// Creates a cache for so many tokens of up to 1 KiB; a longer one counts as several. With 0 it keeps nothing.
    pub(crate) fn with_capacity(tokens: usize) -> Self {
        let weight = u64::try_from(tokens).unwrap_or(u64::MAX);
        let cache = || {
            Cache::with(tokens, weight, ByLength, BuildHasherDefault::default(), DefaultLifecycle::default())
        };
        Self((tokens > 0).then(cache))
    }

    pub(crate) fn get(&self, fingerprint: &Fingerprint) -> Option<Arc<Claims>> {
        self.0.as_ref()?.get(fingerprint).map(|proof| proof.claims)
    }

    /// Keeps the claims of a token, whose signature must have been proved.
    pub(crate) fn insert(&self, fingerprint: Fingerprint, token: &BearerToken, claims: &Arc<Claims>) {
        if let Some(cache) = &self.0 {
            let weight = token.expose_bytes().len().div_ceil(UNIT) as u64;
            cache.insert(fingerprint, Proof { claims: Arc::clone(claims), weight });
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

    fn cache(proofs: &Proofs, fingerprints: &Fingerprints, token: &BearerToken) {
        proofs.insert(fingerprints.of(token).unwrap(), token, &claims(token.expose()));
    }

    fn is_cached(proofs: &Proofs, fingerprints: &Fingerprints, token: &BearerToken) -> bool {
        let claims = proofs.get(&fingerprints.of(token).unwrap());
        claims.is_some_and(|claims| claims.subject == token.expose())
    }

    #[test]
    fn a_token_is_found_by_all_of_its_bytes() {
        let (proofs, fingerprints) = (Proofs::with_capacity(100), Fingerprints::with_random_key().unwrap());
        let token = token("a", 900);
        cache(&proofs, &fingerprints, &token);
        assert!(is_cached(&proofs, &fingerprints, &token));
        let mut others: Vec<String> = (0..900)
            .map(|index| {
                let mut other = token.expose().to_owned();
                other.replace_range(index..=index, "y");
                other
            })
            .collect();
        others.push(format!("{}x", token.expose()));
        others.push(token.expose().strip_suffix('x').unwrap().to_owned());
        for other in others {
            assert!(!is_cached(&proofs, &fingerprints, &BearerToken::new(&other).unwrap()), "{other}");
        }
    }

    #[test]
    fn fingerprints_are_of_one_process_and_say_nothing_to_another() {
        let (one, other) =
            (Fingerprints::with_random_key().unwrap(), Fingerprints::with_random_key().unwrap());
        let token = token("a", 900);
        assert!(one.of(&token).unwrap() == one.of(&token).unwrap());
        assert!(one.of(&token).unwrap() != other.of(&token).unwrap());
    }

    #[test]
    fn long_tokens_count_as_several() {
        let fingerprints = Fingerprints::with_random_key().unwrap();
        for (length, max) in [(900, 64), (1025, 32), (16_000, 4)] {
            let proofs = Proofs::with_capacity(64);
            let tokens: Vec<_> = (0..200).map(|n| token(&n.to_string(), length)).collect();
            for token in &tokens {
                cache(&proofs, &fingerprints, token);
            }
            let kept = tokens.iter().filter(|token| is_cached(&proofs, &fingerprints, token)).count();
            assert!((1..=max).contains(&kept), "{kept} of {length} bytes");
        }
    }

    #[test]
    fn without_capacity_nothing_is_kept() {
        let (proofs, fingerprints) = (Proofs::with_capacity(0), Fingerprints::with_random_key().unwrap());
        cache(&proofs, &fingerprints, &token("a", 10));
        assert!(!is_cached(&proofs, &fingerprints, &token("a", 10)));
    }
}
