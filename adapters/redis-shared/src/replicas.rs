//! The port [`Replicas`]: a key in Redis says which replica waits for a message, and that replica has a channel of its own.

use std::sync::PoisonError;
use std::time::Duration;

use async_trait::async_trait;
use domain::{MessageReceiver, ReplicaId, Replicas, Unreachable};

use crate::connection::{Outgoing, Redis};

/// The longest key, and the longest id, in bytes; both are made by replicas.
const MAX_NAME_BYTES: usize = 64;

/// Splits a replica's message into its key and the rest.
pub(crate) fn split(payload: &[u8]) -> Option<(&str, &[u8])> {
    let end = payload.iter().take(MAX_NAME_BYTES + 1).position(|byte| *byte == b' ')?;
    let key = std::str::from_utf8(&payload[..end]).ok().filter(|key| is_name(key))?;
    Some((key, &payload[end + 1..]))
}

/// Whether a text can be a key or an id, which are base64url.
fn is_name(text: &str) -> bool {
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(is_base64url)
}

#[async_trait]
impl Replicas for Redis {
    async fn wait_for(&self, key: &str, at_most: Duration) {
        let shared = &self.shared;
        let until = shared.clock.uptime().saturating_add(at_most);
        shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), until);
        // Without it the message still counts where it is waited for.
        let _ = shared.ask::<()>(&shared.place(key, at_most)).await;
    }

    fn forget(&self, key: &str) {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.shared.send_later(Outgoing::Forget(key.to_owned()));
    }

    async fn find(&self, key: &str) -> Result<Option<ReplicaId>, Unreachable> {
        let shared = &self.shared;
        let found: Option<Vec<u8>> = shared.ask(redis::cmd("GET").arg(shared.names.waiting(key))).await?;
        let id = found.and_then(|id| String::from_utf8(id).ok());
        Ok(id.filter(|id| is_name(id) && *id != shared.replica).map(ReplicaId))
    }

    async fn send(&self, to: &ReplicaId, key: &str, message: &[u8]) -> Result<(), Unreachable> {
        let shared = &self.shared;
        let payload = [key.as_bytes(), b" ", message].concat();
        let mut command = redis::cmd("PUBLISH");
        command.arg(shared.names.replica(&to.0)).arg(payload);
        match shared.ask::<u64>(&command).await? {
            // It has just lost its connection, or has ended.
            0 => Err(Unreachable),
            _ => Ok(()),
        }
    }

    fn on_message(&self, receiver: MessageReceiver) {
        let _ = self.shared.receiver.set(receiver);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_key_and_the_rest() {
        assert_eq!(split(b"a-_9 x y\xff"), Some(("a-_9", &b"x y\xff"[..])));
        assert_eq!(split(b"key "), Some(("key", &b""[..])));
        let long = format!("{} x", "k".repeat(MAX_NAME_BYTES + 1));
        for bad in [&b""[..], b" ", b"key", b" x", b"k\xff x", b"k:y x", long.as_bytes()] {
            assert_eq!(split(bad), None, "{bad:?}");
        }
    }
}
