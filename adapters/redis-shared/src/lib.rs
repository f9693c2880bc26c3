//! What the replicas of a server share, through Redis: quotas ([`SharedQuotas`], the port [`domain::Throttle`]), changes that one
//! announces ([`domain::Announcer`]), and messages to the replica that waits for them (the port [`domain::Replicas`]).
//!
//! Nothing of it is kept for long, and nothing that a subject or a client can be known by is in Redis in the clear: the names of
//! quotas are keyed hashes, and messages are sealed by whoever sends them. What comes from Redis is not believed: it is
//! read strictly, and what is too long or makes no sense is dropped, once the library has read it.

mod changes;
mod connection;
mod link;
mod names;
mod quotas;
mod replicas;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use redis::{Client, ConnectionAddr, IntoConnectionInfo};

pub use connection::{Redis, StartError};
pub use quotas::{Judged, SharedQuotas, WhenAway};

/// Where Redis is, and how it is used.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it is, and who the server is there.
    pub address: Address,
    /// What the names of all keys and channels begin with.
    pub prefix: String,
    /// How long a command may take before Redis counts as away.
    pub timeout: Duration,
    /// The maximum size of a message from another replica, in bytes.
    pub message_bytes: usize,
}

/// Where Redis is. Its `Debug` has neither user nor password.
#[derive(Clone)]
pub struct Address(Client);

/// The text is no address of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAddress {
    /// It has another form.
    #[error(
        "must be redis://HOST:PORT, rediss://HOST:PORT for TLS, or unix:///PATH, with USER:PASSWORD@ before the host and /NUMBER of \
         the database after the port, or ?user=USER&pass=PASSWORD&db=NUMBER after the path"
    )]
    Form,
    /// It asks for TLS without a look at the certificate.
    #[error("must not have #insecure: what is at the other end has to prove who it is")]
    Insecure,
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// [`NotAnAddress`], without any of the text.
    pub fn parse(url: &str) -> Result<Self, NotAnAddress> {
        let info = url.into_connection_info().map_err(|_| NotAnAddress::Form)?;
        if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
            return Err(NotAnAddress::Insecure);
        }
        Client::open(info).map(Self).map_err(|_| NotAnAddress::Form)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.get_connection_info().addr().fmt(formatter)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Address({self})")
    }
}
