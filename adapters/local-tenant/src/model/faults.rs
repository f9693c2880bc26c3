//! Faults on demand, for tests of how resource servers and clients handle them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// A fault, as [`crate::LocalTenant::inject`] and the control endpoint `POST /local-tenant/fault` take it:
/// `{"fault": "keys", "answer": "status", "status": 500}`. Each stays in force until it is changed, or until [`Fault::Reset`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The next key becomes the current one, and a new next key is published. The old one stays published until it is revoked.
    /// Makes an RSA key, which can take a second in a debug build.
    RotateKeys,
    /// The keys before the current one are no longer published.
    RevokePreviousKeys,
    /// Changes the response of `/.well-known/jwks.json`.
    Keys(KeysAnswer),
    /// Changes the form of access tokens.
    Tokens {
        /// Their form.
        form: TokenForm,
    },
    /// Sets how many seconds the tenant's clock is ahead of the machine's. Negative values set it back. Tokens, codes and the
    /// `Date` of responses follow it.
    Clock {
        /// In seconds.
        ahead_seconds: i64,
    },
    /// Requests to `localhost` get `http://localhost:PORT/` as the issuer, in documents and in tokens, with the same keys, like
    /// a custom domain beside the canonical one.
    SecondIssuer {
        /// Whether the fault is in force.
        on: bool,
    },
    /// Ends all faults. The keys stay as they are.
    Reset,
}

/// How the tenant responds to requests for its key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum KeysAnswer {
    /// With the keys.
    #[default]
    Good,
    /// With this HTTP status, such as 500 or 429.
    Status {
        /// From 400 to 599; 500 for any other.
        status: u16,
    },
    /// With nothing, while the connection stays open.
    Hang,
    /// With the keys, after a delay.
    Slow {
        /// In milliseconds.
        milliseconds: u64,
    },
    /// With a body that is not JSON.
    Garbage,
    /// With an empty key set.
    Empty,
    /// With the keys and two megabytes of padding.
    Huge,
}

/// The form of an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenForm {
    /// A valid JWT.
    #[default]
    Jwt,
    /// A JWT that expired an hour ago.
    Expired,
    /// A reference token of 32 characters, as Auth0 issues it when a client requested no API.
    Opaque,
    /// A JWE of five parts, as Auth0 issues it when the Resource Parameter Compatibility Profile is off.
    Encrypted,
}

/// The faults in force.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    active: Mutex<ActiveFaults>,
    changed: Notify,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ActiveFaults {
    pub(crate) keys: KeysAnswer,
    pub(crate) tokens: TokenForm,
    pub(crate) second_issuer: bool,
}

impl Faults {
    pub(crate) fn active(&self) -> ActiveFaults {
        *self.lock()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut ActiveFaults)) {
        change(&mut self.lock());
        self.changed.notify_waiters();
    }

    /// Waits as long as the response to a request for the key set has to be delayed, and returns how to respond. A change of
    /// the faults takes effect at once, also for requests that wait here.
    pub(crate) async fn wait_for_keys_answer(&self) -> KeysAnswer {
        loop {
            let changed = self.changed.notified();
            let answer = self.active().keys;
            let delay = async {
                match answer.delay() {
                    Some(delay) => tokio::time::sleep(delay).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = delay => return answer,
                () = changed => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, ActiveFaults> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeysAnswer {
    /// Returns how long the response is delayed; `None` means forever.
    pub(crate) const fn delay(self) -> Option<Duration> {
        match self {
            Self::Hang => None,
            Self::Slow { milliseconds } => Some(Duration::from_millis(milliseconds)),
            _ => Some(Duration::ZERO),
        }
    }
}
