//! What leaves this process and comes back sealed. `requestState`: the state of a call between two rounds. It travels through the client, encrypted, so that the client can
//! neither read nor change it, nor use it for another call, as another principal, or too late (2026-07-28,
//! basic/patterns/mrtr, "Server Requirements"). And responses on their way to the replica that waits for them.

use std::sync::{Once, OnceLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{Exhausted, Memory, Principal, UnixSeconds};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use syntax::strict_json::{self, Fault, Json, MAX_DEPTH, Members, Unparsed, Unread};

/// The maximum size of a state, in bytes of JSON: it has to fit into the client's next request, beside the responses.
pub(crate) const MAX_STATE_BYTES: usize = 64 * 1024;

/// The lifetime of a state, in seconds: a user may have to fill in a form meanwhile.
const LIFE: i64 = 3600;
/// An AES-256 key, in bytes.
pub const KEY_BYTES: usize = 32;

/// Keys for states: the first one seals, all of them open, so that keys can be rotated.
pub struct SealingKeys {
    configured: Vec<RandomizedNonceKey>,
    /// The key where none is configured, made on first use, since the first random number of a process takes long.
    own: OnceLock<Option<RandomizedNonceKey>>,
    /// Completed once a state was sealed without a configured key.
    warned: Once,
}

/// What is sealed belongs to this, and can be opened for nothing else.
#[derive(Serialize)]
pub(crate) struct Binding<'a> {
    pub(crate) subject: &'a str,
    pub(crate) client: &'a str,
    /// The protected resource.
    pub(crate) resource: &'a str,
    pub(crate) method: &'a str,
    /// The name of the tool, prompt or method, or the URI of the resource.
    pub(crate) target: &'a str,
}

impl<'a> Binding<'a> {
    pub(crate) fn new(principal: &'a Principal, method: &'a str, target: &'a str) -> Self {
        let (subject, client, resource) = (principal.subject(), principal.client(), principal.resource());
        Self { subject, client, resource, method, target }
    }

    /// Creates the binding of the response to a request for input that a principal got. It is none of a state's, since the
    /// resource of a principal is never empty.
    pub(crate) const fn of_response(subject: &'a str, client: &'a str, key: &'a str) -> Self {
        Self { subject, client, resource: "", method: "response", target: key }
    }

    fn bytes(&self) -> Vec<u8> {
        // Strings: rendering them can't fail, and no two bindings render alike.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// A digest of a call's arguments, independent of the order of their members and of their spelling in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct ArgumentsDigest(String);

impl ArgumentsDigest {
    pub(crate) fn of(arguments: &Value) -> Self {
        // An object's members are rendered in order; rendering a value made from JSON can't fail.
        let canonical = serde_json::to_vec(arguments).unwrap_or_default();
        Self(URL_SAFE_NO_PAD.encode(digest(&SHA256, &canonical)))
    }
}

/// The plaintext of a state.
#[derive(Serialize)]
struct Payload {
    /// The time of expiry, in seconds since 1970.
    exp: i64,
    arguments: ArgumentsDigest,
    state: Value,
}

/// An opened state.
pub(crate) struct Opened {
    pub(crate) arguments: ArgumentsDigest,
    pub(crate) state: Value,
    /// The memory of the state's tree.
    pub(crate) state_bytes: usize,
}

/// The members of an opened payload.
#[derive(Default)]
struct Sealed<'a> {
    exp: Option<&'a RawValue>,
    arguments: Option<Json<'a>>,
    state: Option<Unparsed<&'a str>>,
}

impl<'a> Members<'a> for Sealed<'a> {
    fn take(&mut self, name: &str, value: Unread<'_, 'a>) -> Result<(), Fault> {
        match name {
            "exp" => self.exp = Some(value.raw()?),
            "arguments" => self.arguments = Some(value.read()?),
            "state" => self.state = Some(value.unparsed()?),
            _ => value.skip()?,
        }
        Ok(())
    }
}

impl<'a> Sealed<'a> {
    /// Reads a payload that is not expired: the digest of the arguments, and the state.
    fn read(text: &'a [u8], now: UnixSeconds) -> Option<(ArgumentsDigest, Unparsed<&'a str>)> {
        let Self { exp, arguments, state } = strict_json::read::<Self>(text, MAX_DEPTH).ok()?.object()?;
        let exp: i64 = exp?.get().parse().ok()?;
        let arguments = ArgumentsDigest(arguments.as_ref().and_then(Json::text)?.to_owned());
        let state = state?;
        (now.0 < exp).then_some((arguments, state))
    }
}

impl SealingKeys {
    /// Creates them from keys of [`KEY_BYTES`] bytes each; `None` if there is none, or one of another length.
    #[must_use]
    pub fn new(keys: &[Vec<u8>]) -> Option<Self> {
        let keys: Result<Vec<_>, _> =
            keys.iter().map(|key| RandomizedNonceKey::new(&AES_256_GCM, key)).collect();
        let configured = keys.ok().filter(|keys| !keys.is_empty())?;
        Some(Self { configured, own: OnceLock::new(), warned: Once::new() })
    }

    /// Creates one key for this process: states end with it, and other replicas can't open them.
    #[must_use]
    pub const fn of_this_process() -> Self {
        Self { configured: Vec::new(), own: OnceLock::new(), warned: Once::new() }
    }

    /// Returns the keys; empty only if none is configured and the machine has no randomness.
    fn all(&self) -> &[RandomizedNonceKey] {
        if self.configured.is_empty() {
            self.own.get_or_init(random_key).as_slice()
        } else {
            &self.configured
        }
    }

    /// Seals a state; `None` only if the machine has no randomness.
    pub(crate) fn seal(
        &self,
        state: Value,
        arguments: ArgumentsDigest,
        binding: &Binding<'_>,
        now: UnixSeconds,
    ) -> Option<String> {
        if self.configured.is_empty() {
            self.warn_once();
        }
        let payload = Payload { exp: now.0.saturating_add(LIFE), arguments, state };
        let sealed = self.encrypted(serde_json::to_vec(&payload).ok()?, binding)?;
        Some(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Encrypts a text; `None` only if the machine has no randomness.
    pub(crate) fn encrypted(&self, mut text: Vec<u8>, binding: &Binding<'_>) -> Option<Vec<u8>> {
        let nonce =
            self.all().first()?.seal_in_place_append_tag(Aad::from(binding.bytes()), &mut text).ok()?;
        Some([nonce.as_ref().as_slice(), &text].concat())
    }

    /// Warns on the first use, not at the start: most servers have no tool that requests input, and need no keys.
    fn warn_once(&self) {
        self.warned.call_once(|| {
            tracing::warn!(
                "a tool asks for input, and mcp.state_keys is not set: what the tool wants remembered meanwhile ends with \
                 this process, and other replicas can't continue the call"
            );
        });
    }

    /// Opens a state, whose tree is counted in `memory` before it is made; `None` if it is not authentic, belongs to another
    /// call, or has expired.
    pub(crate) fn open(
        &self,
        sealed: &str,
        binding: &Binding<'_>,
        now: UnixSeconds,
        memory: &mut Memory,
    ) -> Result<Option<Opened>, Exhausted> {
        // The bytes, and a copy of them that is decrypted.
        let texts = 2 * sealed.len();
        memory.add(texts)?;
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok();
        let opened = sealed.and_then(|sealed| self.decrypted(&sealed, binding)).map(|payload| {
            let Some((arguments, state)) = Sealed::read(&payload, now) else {
                return Ok(None);
            };
            let state_bytes = state.tree_bytes();
            memory.add(state_bytes)?;
            Ok(Some(Opened { arguments, state: state.parse(), state_bytes }))
        });
        memory.remove(texts);
        opened.unwrap_or(Ok(None))
    }

    /// Decrypts what was encrypted with one of the keys for this binding.
    pub(crate) fn decrypted(&self, sealed: &[u8], binding: &Binding<'_>) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        let binding = binding.bytes();
        self.all().iter().find_map(|key| {
            let (nonce, mut opened) = (Nonce::try_assume_unique_for_key(nonce).ok()?, sealed.to_vec());
            let length = key.open_in_place(nonce, Aad::from(&binding), &mut opened).ok()?.len();
            opened.truncate(length);
            Some(opened)
        })
    }
}

fn random_key() -> Option<RandomizedNonceKey> {
    let mut key = [0; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut key).ok()?;
    RandomizedNonceKey::new(&AES_256_GCM, &key).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::{Holder, Pool, Shares};
    use serde_json::json;

    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_000_000);

    fn binding<'a>(subject: &'a str, target: &'a str) -> Binding<'a> {
        Binding { subject, client: "c", resource: "r", method: "tools/call", target }
    }

    fn memory() -> Memory {
        memory_of(1 << 20)
    }

    fn memory_of(bytes: usize) -> Memory {
        let pool = Pool::new(bytes, Shares { subject_percent: 100, client_percent: 100 });
        Memory::of_request(&Arc::new(pool), Holder::NOBODY)
    }

    #[test]
    fn the_tree_of_a_state_is_counted_before_it_is_made() {
        let keys = SealingKeys::of_this_process();
        let state = json!(vec![json!({"a": {}}); 1000]);
        let sealed = keys.seal_plain(&state, &binding("ada", "t"), NOW).unwrap();
        let open = |bytes| {
            let mut memory = memory_of(bytes);
            keys.open(&sealed, &binding("ada", "t"), NOW, &mut memory).map(Option::unwrap)
        };
        assert_eq!(open(2 * sealed.len() + 100_000).err(), Some(Exhausted::Pool));
        let opened = open(1 << 20).unwrap_or_else(|_| panic!("not opened"));
        assert_eq!((opened.state_bytes >= 700_000, opened.state), (true, state));
    }

    fn digest_of(arguments: impl std::borrow::Borrow<Value>) -> ArgumentsDigest {
        ArgumentsDigest::of(arguments.borrow())
    }

    impl SealingKeys {
        fn seal_plain(&self, state: &Value, binding: &Binding<'_>, now: UnixSeconds) -> Option<String> {
            self.seal(state.clone(), digest_of(json!({})), binding, now)
        }

        fn opened(&self, sealed: &str, binding: &Binding<'_>, now: UnixSeconds) -> Option<Value> {
            self.open(sealed, binding, now, &mut memory()).unwrap().map(|opened| opened.state)
        }
    }

    #[test]
    fn a_state_remembers_the_arguments_it_was_sealed_for_in_any_order() {
        let keys = SealingKeys::of_this_process();
        let digest = digest_of(json!({"amount": 5, "to": {"a": 1, "b": 2}}));
        let sealed = keys.seal(json!(1), digest.clone(), &binding("ada", "t"), NOW).unwrap();
        let opened = keys.open(&sealed, &binding("ada", "t"), NOW, &mut memory()).unwrap().unwrap().arguments;
        assert_eq!(opened, digest);
        let reordered: Value = serde_json::from_str(r#"{"to": {"b": 2, "a": 1}, "amount": 5}"#).unwrap();
        assert_eq!(opened, digest_of(reordered));
        assert_ne!(opened, digest_of(json!({"amount": 5000, "to": {"a": 1, "b": 2}})));
    }

    #[test]
    fn a_state_opens_where_it_belongs_and_nowhere_else() {
        let keys = SealingKeys::of_this_process();
        let state = json!({"step": 1});
        let sealed = keys.seal_plain(&state, &binding("ada", "t"), NOW).unwrap();
        assert_eq!(keys.opened(&sealed, &binding("ada", "t"), NOW), Some(state.clone()));
        assert_eq!(keys.opened(&sealed, &binding("bob", "t"), NOW), None);
        assert_eq!(keys.opened(&sealed, &binding("ada", "u"), NOW), None);
        let elsewhere = Binding { resource: "s", ..binding("ada", "t") };
        assert_eq!(keys.opened(&sealed, &elsewhere, NOW), None);
        assert_eq!(keys.opened(&sealed, &binding("ada", "t"), UnixSeconds(NOW.0 + LIFE)), None);
        assert_eq!(SealingKeys::of_this_process().opened(&sealed, &binding("ada", "t"), NOW), None);
        let mut changed = sealed.clone().into_bytes();
        changed[20] = if changed[20] == b'A' { b'B' } else { b'A' };
        assert_eq!(keys.opened(&String::from_utf8(changed).unwrap(), &binding("ada", "t"), NOW), None);
        for nonsense in ["", "AAAA", "é", &sealed[..10]] {
            assert_eq!(keys.opened(nonsense, &binding("ada", "t"), NOW), None);
        }
        assert_ne!(
            sealed,
            keys.seal_plain(&state, &binding("ada", "t"), NOW).unwrap(),
            "never the same twice"
        );
    }

    #[test]
    fn an_old_key_opens_and_the_first_seals() {
        let (old, new) = (vec![1; KEY_BYTES], vec![2; KEY_BYTES]);
        let sealed = SealingKeys::new(std::slice::from_ref(&old))
            .unwrap()
            .seal_plain(&json!(1), &binding("a", "t"), NOW)
            .unwrap();
        let both = SealingKeys::new(&[new.clone(), old]).unwrap();
        assert_eq!(both.opened(&sealed, &binding("a", "t"), NOW), Some(json!(1)));
        let sealed = both.seal_plain(&json!(2), &binding("a", "t"), NOW).unwrap();
        assert_eq!(
            SealingKeys::new(&[new]).unwrap().opened(&sealed, &binding("a", "t"), NOW),
            Some(json!(2))
        );
        assert!(SealingKeys::new(&[vec![0; 31]]).is_none() && SealingKeys::new(&[]).is_none());
    }

    #[test]
    fn only_the_first_state_sealed_without_configured_keys_is_warned_of() {
        let configured = SealingKeys::new(&[vec![1; KEY_BYTES]]).unwrap();
        let own = SealingKeys::of_this_process();
        configured.seal_plain(&json!(1), &binding("a", "t"), NOW).unwrap();
        assert_eq!(own.opened("AAAA", &binding("a", "t"), NOW), None);
        assert!(!configured.warned.is_completed() && !own.warned.is_completed());
        own.seal_plain(&json!(1), &binding("a", "t"), NOW).unwrap();
        assert!(own.warned.is_completed());
    }

    proptest::proptest! {
        #[test]
        fn a_state_with_any_bit_turned_is_no_state(place in 0_usize..10_000, bit in 0_u32..8, text in ".{0,20}") {
            let keys = SealingKeys::of_this_process();
            let sealed = keys.seal_plain(&json!(text), &binding("ada", "t"), NOW).unwrap();
            let mut bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
            let index = place % bytes.len();
            bytes[index] ^= 1 << bit;
            let turned = URL_SAFE_NO_PAD.encode(bytes);
            proptest::prop_assert_eq!(keys.opened(&turned, &binding("ada", "t"), NOW), None);
        }
    }
}
