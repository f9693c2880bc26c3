//! An Auth0-shaped issuer for development and tests.
//!
//! [`LocalTenant::start`] serves, on 127.0.0.1 only, what a client and a resource server need of their tenant: discovery,
//! registration, login and consent, tokens in Auth0's dialects by Auth0's rules for roles, and keys. Users, roles, clients
//! and the API come from [`Options`]. Nothing persists: a tenant that starts again has new keys, so earlier tokens are no
//! longer valid. [`LocalTenant::inject`] injects faults.
//!
//! It does not know the server that it issues tokens for; [`Options::with_api_identifier`] sets the API's identifier.
//!
//! The rooms, from the inside out; each knows those before it, and none after it:
//!
//! - `model`: what a tenant consists of: options, clients, redirect URIs, keys, clock, faults
//! - `pages`: the HTML that people see; it knows nothing of the others
//! - `oauth`: what the endpoints decide: authorization, tokens, registration, client metadata, userinfo
//! - `http`: bodies that come in, responses and errors that go out
//! - `control`: the endpoints that no client of a real tenant has: a token without a login, faults on demand
//! - `management`: the part of the Management API that sets a tenant up
//! - `server`: the thread, the connections, the routes

mod control;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod http;
mod management;
mod model;
mod oauth;
mod pages;
mod server;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

pub use crate::control::client;
pub use crate::model::faults::{
    ExchangeAnswer, ExchangeRefusal, Fault, KeysAnswer, ManagementAnswer, TokenForm,
};
use crate::model::keys::{KeyRing, SigningKey};
pub use crate::model::options::{
    Api, ApiScope, Client, Dialect, GrantType, Options, PublicKey, Role, Secret, ThirdPartySecurityMode, User,
};
use crate::oauth::issuer::Issuer;
use crate::oauth::tenant::Tenant;
pub use crate::oauth::token::{IssuedToken, TokenError, TokenRequest};
use crate::server::Server;

/// A running tenant. It stops when it is dropped.
pub struct LocalTenant {
    tenant: Arc<Tenant>,
    url: String,
    /// Dropped with the tenant, which stops the thread.
    _server: Server,
}

/// The reason why a tenant did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The options contradict each other; lists every problem.
    #[error("the tenant's options are wrong: {}", .0.join("; "))]
    Options(Vec<String>),
    /// Neither [`Options::with_api_identifier`] nor [`Options::with_fresh_state`] was called.
    #[error("the tenant's API has no identifier; give it one with `Options::with_api_identifier`")]
    NoApiIdentifier,
    /// The port is taken, or may not be used.
    #[error("can't listen on 127.0.0.1:{port}: {cause}")]
    Listen {
        /// The requested port.
        port: u16,
        /// The operating system's error.
        cause: io::Error,
    },
    /// No signing key could be made.
    #[error("can't make a signing key")]
    Keys,
    /// The thread that serves could not start.
    #[error("can't start the tenant's thread: {0}")]
    Thread(io::Error),
}

impl LocalTenant {
    /// Starts a tenant on 127.0.0.1, on a free port unless [`Options::with_port`] set one. It serves on a thread of its own,
    /// so it outlives the runtime that started it.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(options: Options) -> Result<Self, StartError> {
        options.validate().map_err(StartError::Options)?;
        if options.api.identifier.is_none() && !options.fresh {
            return Err(StartError::NoApiIdentifier);
        }
        let port = options.port;
        let listen = |cause| StartError::Listen { port, cause };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let port = listener.local_addr().map_err(listen)?.port();
        let issuer = Issuer::new(options, port, fresh_keys().await?);
        let tenant = Arc::new(Tenant::new(issuer).ok_or(StartError::Keys)?);
        let server = Server::start(listener, Arc::clone(&tenant)).await.map_err(StartError::Thread)?;
        let url = tenant.issuer.url();
        tracing::debug!(issuer = url, "the local tenant listens");
        Ok(Self { tenant, url, _server: server })
    }

    /// Returns the issuer identifier, `http://127.0.0.1:PORT/`, with Auth0's trailing slash.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.url
    }

    /// Returns the port that the tenant listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.tenant.issuer.port()
    }

    /// Returns everyone who can log in, in the order of the options.
    #[must_use]
    pub fn users(&self) -> &[User] {
        &self.tenant.options().users
    }

    /// Returns the scopes of the API that the user's roles assign, in the API's order; none for an unknown user.
    #[must_use]
    pub fn scopes_of(&self, user_key: &str) -> Vec<String> {
        self.tenant.scopes_of(user_key)
    }

    /// Issues an access token, as the control endpoint does.
    ///
    /// # Errors
    /// [`TokenError`], which lists what exists.
    pub fn issue_token(&self, request: &TokenRequest) -> Result<IssuedToken, TokenError> {
        self.issue_token_to(control::token::CLI_CLIENT_ID, request)
    }

    /// Issues an access token to another client than that of the control endpoint.
    ///
    /// # Errors
    /// [`TokenError`], which lists what exists.
    pub fn issue_token_to(&self, client_id: &str, request: &TokenRequest) -> Result<IssuedToken, TokenError> {
        control::token::issue(&self.tenant, request, self.url.clone(), client_id)
    }

    /// Returns the id and the secret of the client that may do everything at the tenant's Management API, by the grant
    /// `client_credentials`.
    #[must_use]
    pub fn management_client(&self) -> (&str, &Secret) {
        let client = self.tenant.management_client();
        (&client.id, &client.secret)
    }

    /// Waits until the Management API has carried out so many writes, counted from the start.
    pub async fn management_writes(&self, count: u64) {
        self.tenant.issuer.faults().wait_for_management_writes(count).await;
    }

    /// Returns how many requests to exchange a token came, counted from the start.
    #[must_use]
    pub fn token_exchanges(&self) -> u64 {
        self.tenant.issuer.faults().exchanges()
    }

    /// Waits until so many requests to exchange a token came, counted from the start.
    pub async fn token_exchanges_reach(&self, count: u64) {
        self.tenant.issuer.faults().wait_for_exchanges(count).await;
    }

    /// Injects a fault, or ends one. [`Fault::RotateKeys`] makes an RSA key on the calling thread.
    pub fn inject(&self, fault: &Fault) {
        control::faults::inject(&self.tenant, fault);
    }
}

impl fmt::Debug for LocalTenant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LocalTenant").field("issuer", &self.url).finish_non_exhaustive()
    }
}

/// Makes two keys in parallel, because that is most of the time of a start.
async fn fresh_keys() -> Result<KeyRing, StartError> {
    let (current, next) = tokio::join!(
        tokio::task::spawn_blocking(SigningKey::generate),
        tokio::task::spawn_blocking(SigningKey::generate)
    );
    let made = |key: Result<Option<SigningKey>, _>| key.ok().flatten().ok_or(StartError::Keys);
    Ok(KeyRing::new(made(current)?, made(next)?))
}
