//! The [`TokenExchange`] port by Auth0's On-Behalf-Of Token Exchange (RFC 8693).
//!
//! A token is kept for the caller's token, the API and the scopes that it was asked for, until shortly before it expires, and no
//! longer than the caller's; a refusal stands for 30 s. However many ask for it at a time, it is exchanged once. Neither token is in a log or an error.

mod answer;
mod assertion;
mod endpoint;
mod options;
mod store;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::{
    BearerToken, Clock, DownstreamApi, DownstreamError, DownstreamToken, ExchangeRequest, ScopeSet,
    TokenExchange, UnixSeconds,
};
use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use tokio::sync::Semaphore;

use crate::answer::Failure;
pub use crate::assertion::{Algorithm, KeyError, SigningKey};
use crate::endpoint::{Ask, TokenEndpoint};
pub use crate::options::{ClientSecret, Credentials, Options};
use crate::store::{Flight, Found, Key, Store};

/// How long before its expiry a token is not used any more, so that it is still good when the API sees it.
const MARGIN_SECONDS: i64 = 30;
/// How long a refusal stands for the same token, API and scopes.
const REFUSED_SECONDS: i64 = 30;
/// The maximum number of exchanges at a time; each takes a thread. Others wait.
const MAX_THREADS: usize = 16;
/// When to try again where there is no room for another exchange.
const SOON: Duration = Duration::from_secs(1);

/// Exchanges callers' tokens at an Auth0 tenant. Must be used within a tokio runtime.
pub struct Auth0TokenExchange(Arc<Shared>);

struct Shared {
    endpoint: Arc<TokenEndpoint>,
    clock: Arc<dyn Clock>,
    store: Store,
    threads: Semaphore,
    timeout: Duration,
    /// Until when, by uptime, the tenant takes no exchanges.
    limited_until: Mutex<Option<Duration>>,
}

/// What a request asks for, for a task of its own.
struct Wanted {
    subject_token: BearerToken,
    subject_expires_at: UnixSeconds,
    api: DownstreamApi,
    scopes: ScopeSet,
}

impl Auth0TokenExchange {
    /// Creates an exchange that keeps nothing yet.
    #[must_use]
    pub fn new(options: Options, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared {
            clock,
            store: Store::with_capacity(options.kept_tokens),
            threads: Semaphore::new(MAX_THREADS),
            timeout: options.timeout,
            limited_until: Mutex::default(),
            endpoint: Arc::new(TokenEndpoint::new(options)),
        }))
    }
}

#[async_trait]
impl TokenExchange for Auth0TokenExchange {
    async fn exchange(&self, request: ExchangeRequest<'_>) -> Result<DownstreamToken, DownstreamError> {
        let shared = &self.0;
        let key = Key::of(&request);
        let now = shared.clock.now().seconds();
        let begin = || shared.begin(key, &request);
        match shared.store.find_or_begin(key, request.refused, now, begin)? {
            Found::Ended(outcome) => outcome,
            Found::Flight(flight) => flight.await,
            Found::Full => Err(DownstreamError::LimitReached { retry_after: SOON }),
        }
    }
}

impl Shared {
    /// Begins an exchange, which goes on if nobody waits for it any more: it counts at the tenant all the same.
    fn begin(self: &Arc<Self>, key: Key, request: &ExchangeRequest<'_>) -> Result<Flight, DownstreamError> {
        if let Some(retry_after) = self.limited_for() {
            return Err(DownstreamError::LimitReached { retry_after });
        }
        let wanted = Wanted {
            subject_token: request.subject_token.clone(),
            subject_expires_at: request.subject_expires_at,
            api: request.api.clone(),
            scopes: request.scopes.clone(),
        };
        let api = wanted.api.name.clone();
        let shared = Arc::clone(self);
        let task = tokio::spawn(async move { shared.fly(key, wanted).await });
        let ended = task.map(|outcome| {
            // It does not panic; the runtime may end.
            outcome.unwrap_or_else(|_| {
                Err(DownstreamError::Unavailable { api, cause: "the server stops".to_owned() })
            })
        });
        Ok(ended.boxed().shared())
    }

    async fn fly(&self, key: Key, wanted: Wanted) -> Result<DownstreamToken, DownstreamError> {
        let until_caller = wanted.subject_expires_at;
        let exchanged = self.exchange_now(wanted).await;
        let now = self.clock.now().seconds();
        let until = match &exchanged {
            Ok(token) => Some(token.expires_at().0.saturating_sub(MARGIN_SECONDS)),
            Err(error) => is_final(error).then(|| now.0.saturating_add(REFUSED_SECONDS)),
        };
        let until = until.map(|until| UnixSeconds(until).min(until_caller)).filter(|until| *until > now);
        self.store.land(key, until.map(|until| (&exchanged, until)));
        exchanged
    }

    async fn exchange_now(&self, wanted: Wanted) -> Result<DownstreamToken, DownstreamError> {
        let (api, scopes) = (wanted.api.clone(), wanted.scopes.clone());
        let turn = std::pin::pin!(self.threads.acquire());
        let Either::Left((Ok(_turn), _)) = select(turn, self.clock.sleep(self.timeout)).await else {
            return Err(DownstreamError::LimitReached { retry_after: SOON });
        };
        let now = self.clock.now().seconds();
        let ask = Ask { subject_token: wanted.subject_token, api: wanted.api, scopes: wanted.scopes, now };
        let exchanged = Arc::clone(&self.endpoint).exchange_on_thread(ask).await;
        exchanged.map_err(|failure| self.failed(failure, &api, &scopes))
    }

    /// Logs a failure, once for all who wait for the exchange, and returns what they are told.
    fn failed(&self, failure: Failure, api: &DownstreamApi, scopes: &ScopeSet) -> DownstreamError {
        let Failure { error, said } = failure;
        let (audience, scope) = (api.audience.as_str(), scopes.to_string());
        match &error {
            DownstreamError::Misconfigured { .. } => {
                tracing::error!(
                    audience,
                    scope,
                    said,
                    "a token exchange failed: this server, or the tenant, is not set up for it"
                );
            }
            DownstreamError::Unavailable { .. } => {
                tracing::warn!(
                    audience,
                    scope,
                    said,
                    "a token exchange failed: the tenant gave no answer to it"
                );
            }
            DownstreamError::LimitReached { retry_after } => {
                self.limit(*retry_after);
                let seconds = retry_after.as_secs();
                tracing::warn!(
                    audience,
                    scope,
                    said,
                    seconds,
                    "a token exchange failed: the tenant's limit is reached"
                );
            }
            DownstreamError::ConsentRequired { .. }
            | DownstreamError::MfaRequired { .. }
            | DownstreamError::LoginRequired { .. }
            | DownstreamError::Denied { .. }
            | DownstreamError::ScopesMissing { .. } => {
                tracing::info!(audience, scope, said, "a token exchange was refused");
            }
        }
        error
    }

    /// Asks the tenant nothing for this long: its limit is for all callers together.
    fn limit(&self, retry_after: Duration) {
        let until = self.clock.uptime().saturating_add(retry_after);
        let mut limited_until = self.limited_until.lock().unwrap_or_else(PoisonError::into_inner);
        // One of several answers may name a shorter time.
        *limited_until = Some(limited_until.map_or(until, |before| before.max(until)));
    }

    fn limited_for(&self) -> Option<Duration> {
        let until = (*self.limited_until.lock().unwrap_or_else(PoisonError::into_inner))?;
        until.checked_sub(self.clock.uptime()).filter(|left| !left.is_zero())
    }
}

/// Returns whether another exchange of the same token would end in the same way: what mends it takes another login, or an
/// administrator. It is not asked for again for a while, so that no caller uses the tenant's limit up by it.
const fn is_final(error: &DownstreamError) -> bool {
    match error {
        DownstreamError::ConsentRequired { .. }
        | DownstreamError::MfaRequired { .. }
        | DownstreamError::LoginRequired { .. }
        | DownstreamError::Denied { .. }
        | DownstreamError::ScopesMissing { .. }
        | DownstreamError::Misconfigured { .. } => true,
        DownstreamError::LimitReached { .. } | DownstreamError::Unavailable { .. } => false,
    }
}
