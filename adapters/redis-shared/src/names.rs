//! The names of keys and channels.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The names below one prefix.
#[derive(Debug)]
pub(crate) struct Names {
    prefix: String,
}

/// The length of a hash in a name, in bytes: two holders never have the same by chance.
const HASH_BYTES: usize = 16;

impl Names {
    pub(crate) fn new(prefix: String) -> Self {
        Self { prefix }
    }

    /// The key of what a holder has used of a quota.
    pub(crate) fn quota(&self, policy: &str, holder: &str) -> String {
        format!("{}:quota:{policy}:{holder}", self.prefix)
    }

    /// The key of which replica waits for a message.
    pub(crate) fn waiting(&self, key: &str) -> String {
        format!("{}:waiting:{key}", self.prefix)
    }

    /// The channel of changes.
    pub(crate) fn changes(&self) -> String {
        format!("{}:changes", self.prefix)
    }

    /// The channel of one replica.
    pub(crate) fn replica(&self, id: &str) -> String {
        format!("{}:replica:{id}", self.prefix)
    }

    /// The key that is written to find out whether Redis takes writes.
    pub(crate) fn probe(&self) -> String {
        format!("{}:probe", self.prefix)
    }
}

/// Hashes the holders of quotas, so that no name tells who it is, nor can be tried out without the key.
pub(crate) struct HolderHash(hmac::Key);

impl HolderHash {
    pub(crate) fn new(secret: &[u8]) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        // A key of its own, since others are derived from the same secret.
        let own = hmac::sign(&secret, b"fastmcp-auth0: holders of quotas in Redis");
        Self(hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()))
    }

    pub(crate) fn of(&self, policy: &str, holder: [&[u8]; 2]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        // With their lengths, so that no two holders make the same bytes.
        for part in [policy.as_bytes(), holder[0], holder[1]] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        URL_SAFE_NO_PAD.encode(&context.sign().as_ref()[..HASH_BYTES])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_a_keyed_hash_of_all_its_parts() {
        let hash = HolderHash::new(&[1; 32]);
        let ada = hash.of("tool", [b"ada", b"greet"]);
        assert_eq!(ada, hash.of("tool", [b"ada", b"greet"]), "the same in every replica");
        assert_eq!(ada.len(), 22);
        for other in [
            hash.of("tool", [b"adag", b"reet"]),
            hash.of("subject", [b"ada", b"greet"]),
            hash.of("tool", [b"bob", b"greet"]),
            HolderHash::new(&[2; 32]).of("tool", [b"ada", b"greet"]),
        ] {
            assert_ne!(ada, other);
        }
    }
}
