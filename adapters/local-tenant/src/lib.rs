//! An Auth0-shaped issuer for development and tests.
//!
//! [`LocalTenant::start`] serves, on 127.0.0.1 and nowhere else, what a resource server needs of its tenant: discovery
//! documents, signing keys, and access tokens in Auth0's dialects, by Auth0's rules for roles. Users, roles and the API
//! come from [`Options`]. Nothing persists: a tenant that starts again has new keys, and earlier tokens end with it.
//!
//! It knows nothing of the server that it issues for, not even its identifier: that is
//! [`Options::with_api_identifier`]'s.
//!
//! - `options`: what it can be told, and what is wrong with that
//! - `keys`: the signing keys and their rotation
//! - `tokens`: who gets which token
//! - `documents`: the published metadata
//! - `server`, `http`, `problem`, `control`: the thread, the routes, the refusals, the `token` command's endpoint
//! - `client`: the other side of that endpoint
//! - `time`: the one reader of the system's clock

pub mod client;
mod control;
mod documents;
mod http;
mod keys;
mod options;
mod problem;
mod server;
mod time;
mod tokens;

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use crate::keys::{KeyRing, SigningKey};
pub use crate::options::{Api, ApiScope, Dialect, Options, Role, User};
use crate::server::Server;
use crate::tokens::Issuer;
pub use crate::tokens::{IssuedToken, TokenError, TokenRequest};

/// A running tenant. It stops when dropped: no connection is accepted from then on.
#[derive(Debug)]
pub struct LocalTenant {
    issuer: Arc<Issuer>,
    /// Held for its drop.
    _server: Server,
}

/// Why a tenant did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The options contradict themselves; every problem, not the first.
    #[error("the tenant's options are wrong: {}", .0.join("; "))]
    Options(Vec<String>),
    /// [`Options::with_api_identifier`] was not called.
    #[error("the tenant's API has no identifier; give it one with `Options::with_api_identifier`")]
    NoApiIdentifier,
    /// The port is taken, or may not be used.
    #[error("can't listen on 127.0.0.1:{port}: {source}")]
    Listen {
        /// The port asked for.
        port: u16,
        /// What the operating system says.
        source: io::Error,
    },
    /// No signing key could be made.
    #[error("can't make a signing key")]
    Keys,
    /// The thread that serves could not start.
    #[error("can't start the tenant's thread: {0}")]
    Thread(io::Error),
}

impl LocalTenant {
    /// Starts a tenant on 127.0.0.1; port 0 picks a free one. It serves from a thread of its own, so it outlives the
    /// runtime that started it.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(options: Options, port: u16) -> Result<Self, StartError> {
        options.validate().map_err(StartError::Options)?;
        let audience = options.api.identifier.clone().ok_or(StartError::NoApiIdentifier)?;
        let listen = |source| StartError::Listen { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let port = listener.local_addr().map_err(listen)?.port();
        let issuer = Arc::new(Issuer::new(options, audience, port, fresh_keys().await?));
        let server = Server::start(listener, Arc::clone(&issuer)).await.map_err(StartError::Thread)?;
        tracing::debug!(issuer = issuer.url(), "the local tenant listens");
        Ok(Self { issuer, _server: server })
    }

    /// The issuer identifier, `http://127.0.0.1:PORT/`, with Auth0's trailing slash.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.issuer.url()
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.issuer.port()
    }

    /// Everyone who can log in, in the order of the options.
    #[must_use]
    pub fn users(&self) -> &[User] {
        self.issuer.users()
    }

    /// What the user's roles assign in the API, in the API's order; nothing for an unknown user.
    #[must_use]
    pub fn scopes_of(&self, user_key: &str) -> Vec<String> {
        self.issuer.scopes_of(user_key)
    }

    /// Issues an access token, as the control endpoint does.
    ///
    /// # Errors
    /// [`TokenError`] says what exists instead of what was asked for.
    pub fn issue_token(&self, request: &TokenRequest) -> Result<IssuedToken, TokenError> {
        self.issuer.issue(request)
    }

    /// The next key signs from here on, a new next one is published, and the old one stays published until
    /// [`LocalTenant::revoke_previous_keys`]. Makes an RSA key on the calling thread, which can take a second in a
    /// debug build.
    pub fn rotate_keys(&self) {
        self.issuer.keys().rotate();
    }

    /// Stops publishing the keys that signed before the current one.
    pub fn revoke_previous_keys(&self) {
        self.issuer.keys().revoke_previous();
    }
}

/// Two keys at once: making one is most of a start.
async fn fresh_keys() -> Result<KeyRing, StartError> {
    let (current, next) = tokio::join!(
        tokio::task::spawn_blocking(SigningKey::generate),
        tokio::task::spawn_blocking(SigningKey::generate)
    );
    let made = |key: Result<Option<SigningKey>, _>| key.ok().flatten().ok_or(StartError::Keys);
    Ok(KeyRing::new(made(current)?, made(next)?))
}
