//! The [`Replicas`] port: how a message reaches the one replica of a server that waits for it.

use std::time::Duration;

use async_trait::async_trait;

/// The name of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaId(pub String);

/// What replicas share can't be reached at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server can't reach what its replicas share")]
pub struct Unreachable;

/// What is called with the key and the content of a message from another replica. It must not block.
pub type MessageReceiver = Box<dyn Fn(&str, &[u8]) + Send + Sync>;

/// The port to the other replicas of this server. A key is a text of base64url, 64 bytes at most, by which a message finds the
/// replica that waits for it. Whoever carries messages may read, drop, change and repeat them: what is confidential has to be
/// sealed.
#[async_trait]
pub trait Replicas: Send + Sync {
    /// Says that this replica waits for a message by this key, for so long at most.
    async fn wait_for(&self, key: &str, at_most: Duration);

    /// Says that it does not any longer. It must not block.
    fn forget(&self, key: &str);

    /// Returns which other replica waits for a message by this key.
    ///
    /// # Errors
    /// [`Unreachable`].
    async fn find(&self, key: &str) -> Result<Option<ReplicaId>, Unreachable>;

    /// Sends a message to a replica.
    ///
    /// # Errors
    /// [`Unreachable`], also when that replica is.
    async fn send(&self, to: &ReplicaId, key: &str, message: &[u8]) -> Result<(), Unreachable>;

    /// Has messages to this replica passed on from now on. To be called once.
    fn on_message(&self, receiver: MessageReceiver);
}
