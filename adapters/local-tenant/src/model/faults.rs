//! Faults on demand, for tests of how resource servers and clients handle them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use crate::model::rate_limit::Rate;

/// Auth0's limits of an Enterprise production tenant.
const DEFAULT_RATE: Rate = Rate { burst: 50, per_second: 16 };

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
    /// Changes the responses to requests that exchange tokens, of clients that could.
    TokenExchange(ExchangeAnswer),
    /// Changes the responses of the Management API.
    Management(ManagementAnswer),
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

/// How the tenant responds to requests that exchange tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case", deny_unknown_fields)]
pub enum ExchangeAnswer {
    /// As it should.
    #[default]
    Good,
    /// With an error of OAuth's.
    Refuse {
        /// Which.
        error: ExchangeRefusal,
    },
    /// With 429.
    Limit {
        /// `Retry-After`, in seconds.
        retry_after_seconds: u32,
    },
    /// With this HTTP status.
    Status {
        /// From 400 to 599; 500 for any other.
        status: u16,
    },
    /// With nothing, while the connection stays open. When the fault ends, what was held is answered.
    Hang,
}

/// Why an exchange is refused, whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExchangeRefusal {
    /// The user has to consent (OpenID Connect Core section 3.1.2.6).
    ConsentRequired,
    /// The user has to prove a second factor (Auth0's).
    MfaRequired,
    /// The user has to log in (OpenID Connect Core section 3.1.2.6).
    LoginRequired,
    /// An Action denies it.
    AccessDenied,
}

impl ExchangeRefusal {
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::ConsentRequired => "consent_required",
            Self::MfaRequired => "mfa_required",
            Self::LoginRequired => "login_required",
            Self::AccessDenied => "access_denied",
        }
    }
}

/// How the Management API responds. Writes are counted from when the fault is injected: those that were carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case", deny_unknown_fields)]
pub enum ManagementAnswer {
    /// As it should, with 50 requests at once and 16 a second.
    #[default]
    Good,
    /// As it should, with another rate.
    Rate {
        /// Requests at once; with 0, all are refused.
        burst: u32,
        /// Requests a second in the long run.
        per_second: u32,
    },
    /// With this HTTP status, carrying out nothing.
    Status {
        /// From 400 to 599; 500 for any other.
        status: u16,
        /// The writes that are still carried out and answered before.
        #[serde(default)]
        after_writes: u64,
    },
    /// With nothing, while the connection stays open. The last of the writes is carried out, but not answered, and nothing
    /// after it is carried out. When the fault ends, what was held goes on.
    Hang {
        /// The writes that are still carried out.
        #[serde(default)]
        after_writes: u64,
    },
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
    /// How many writes of the Management API were carried out.
    management_writes: watch::Sender<u64>,
    /// How many requests to exchange a token came.
    exchanges: watch::Sender<u64>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ActiveFaults {
    pub(crate) keys: KeysAnswer,
    pub(crate) tokens: TokenForm,
    pub(crate) second_issuer: bool,
    pub(crate) management: ManagementFault,
    pub(crate) exchange: ExchangeAnswer,
}

/// A fault of the Management API, and the writes that were carried out before it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ManagementFault {
    answer: ManagementAnswer,
    writes_before: u64,
}

impl ManagementFault {
    pub(crate) const fn rate(self) -> Rate {
        match self.answer {
            ManagementAnswer::Rate { burst, per_second } => Rate { burst, per_second },
            ManagementAnswer::Good | ManagementAnswer::Status { .. } | ManagementAnswer::Hang { .. } => {
                DEFAULT_RATE
            }
        }
    }

    const fn hangs(self, writes: u64) -> bool {
        match self.answer {
            ManagementAnswer::Hang { after_writes } => self.is_after(after_writes, writes),
            ManagementAnswer::Good | ManagementAnswer::Rate { .. } | ManagementAnswer::Status { .. } => false,
        }
    }

    const fn status(self, writes: u64) -> Option<u16> {
        match self.answer {
            ManagementAnswer::Status { status, after_writes } if self.is_after(after_writes, writes) => {
                Some(status)
            }
            ManagementAnswer::Good
            | ManagementAnswer::Rate { .. }
            | ManagementAnswer::Status { .. }
            | ManagementAnswer::Hang { .. } => None,
        }
    }

    const fn is_after(self, after_writes: u64, writes: u64) -> bool {
        writes.saturating_sub(self.writes_before) >= after_writes
    }
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

    /// Counts a request to exchange a token, waits as long as its response has to be delayed, and returns how to respond.
    pub(crate) async fn wait_for_exchange_answer(&self) -> ExchangeAnswer {
        self.exchanges.send_modify(|exchanges| *exchanges += 1);
        loop {
            let changed = self.changed.notified();
            match self.active().exchange {
                ExchangeAnswer::Hang => changed.await,
                answer => return answer,
            }
        }
    }

    /// Returns how many requests to exchange a token came.
    pub(crate) fn exchanges(&self) -> u64 {
        *self.exchanges.borrow()
    }

    /// Waits until so many requests to exchange a token came.
    pub(crate) async fn wait_for_exchanges(&self, count: u64) {
        // The sender lives as long as `self`, so this is no error.
        let _ = self.exchanges.subscribe().wait_for(|exchanges| *exchanges >= count).await;
    }

    /// Puts a fault of the Management API into force; its writes are counted from now.
    pub(crate) fn begin_management(&self, answer: ManagementAnswer) {
        let writes_before = *self.management_writes.borrow();
        self.change(|active| active.management = ManagementFault { answer, writes_before });
    }

    /// Waits as long as requests of the Management API have to, and returns the status of the failure that is in force.
    pub(crate) async fn wait_for_management(&self) -> Option<u16> {
        self.wait_while_management_hangs().await;
        let writes = *self.management_writes.borrow();
        self.active().management.status(writes)
    }

    /// Waits as long as the Management API's responses are held back.
    pub(crate) async fn wait_while_management_hangs(&self) {
        loop {
            let changed = self.changed.notified();
            let writes = *self.management_writes.borrow();
            if !self.active().management.hangs(writes) {
                return;
            }
            changed.await;
        }
    }

    /// Counts a write of the Management API that was carried out.
    pub(crate) fn count_management_write(&self) {
        self.management_writes.send_modify(|writes| *writes += 1);
    }

    /// Waits until so many writes of the Management API were carried out.
    pub(crate) async fn wait_for_management_writes(&self, count: u64) {
        // The sender lives as long as `self`, so this is no error.
        let _ = self.management_writes.subscribe().wait_for(|writes| *writes >= count).await;
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
