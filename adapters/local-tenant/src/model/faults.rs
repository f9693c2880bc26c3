//! What can be made to go wrong, so that a resource server's and a client's answer to it can be seen.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// A fault, as [`crate::LocalTenant::inject`] and the control endpoint `POST /local-tenant/fault` take it:
/// `{"fault": "keys", "answer": "status", "status": 500}`. Each holds until it is changed, or until [`Fault::Reset`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The next key signs from here on, a new next one is published; the old one stays published until it is revoked.
    /// Makes an RSA key, which can take a second in a debug build.
    RotateKeys,
    /// The keys that signed before the current one are no longer published.
    RevokePreviousKeys,
    /// How `/.well-known/jwks.json` answers.
    Keys(KeysAnswer),
    /// What access tokens are like.
    Tokens {
        /// Their form.
        form: TokenForm,
    },
    /// The tenant's clock is this many seconds ahead of the machine's; negative ones are behind. Tokens and codes follow it.
    Clock {
        /// In seconds.
        ahead_seconds: i64,
    },
    /// Whoever asks under `localhost` gets `http://localhost:PORT/` as the issuer, in documents and in tokens, with the
    /// same keys: a custom domain beside the canonical one.
    SecondIssuer {
        /// Whether it is so.
        on: bool,
    },
    /// All is well again. Keys stay as they are.
    Reset,
}

/// How the key set is answered for.
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
    /// Not at all, while the connection stays open.
    Hang,
    /// With the keys, but only after a while.
    Slow {
        /// In milliseconds.
        milliseconds: u64,
    },
    /// With what is no JSON.
    Garbage,
    /// With a set of no keys.
    Empty,
    /// With the keys, and two megabytes of something else.
    Huge,
}

/// What an access token is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenForm {
    /// A JWT that is good from now on.
    #[default]
    Jwt,
    /// A JWT that expired an hour ago.
    Expired,
    /// A reference token of 32 characters, as Auth0 issues it when a client asked for no API.
    Opaque,
    /// Five parts, as Auth0 issues it when the Resource Parameter Compatibility Profile is off.
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

    /// How the key set is to be answered for, once it is time. A change meanwhile counts at once: what hangs is released.
    pub(crate) async fn wait_for_keys_answer(&self) -> KeysAnswer {
        loop {
            let changed = self.changed.notified();
            let answer = self.active().keys;
            let in_time = async {
                match answer.delay() {
                    Some(delay) => tokio::time::sleep(delay).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = in_time => return answer,
                () = changed => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, ActiveFaults> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeysAnswer {
    /// How long the answer takes; `None` for ever.
    pub(crate) const fn delay(self) -> Option<Duration> {
        match self {
            Self::Hang => None,
            Self::Slow { milliseconds } => Some(Duration::from_millis(milliseconds)),
            _ => Some(Duration::ZERO),
        }
    }
}
