//! The store of authorization codes and refresh tokens. Each is valid once and for a limited time. Used ones are remembered,
//! so that replaying one revokes the refresh tokens that it led to (OAuth 2.1 sections 4.1.3 and 4.3.1).

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::model::client::ClientRecord;
use crate::model::random::random_id;
use crate::oauth::authorization::Authorization;
use crate::oauth::error::OAuthError;

const CODE_LIFETIME_SECONDS: i64 = 60;
/// The maximum number of remembered codes; the least recently used one is evicted.
const MAX_CODES: NonZeroUsize = NonZeroUsize::new(1000).unwrap();
/// The maximum number of refresh token families; the least recently used one is evicted.
const MAX_FAMILIES: NonZeroUsize = NonZeroUsize::new(1000).unwrap();

/// What an authorization code was issued for.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    pub(crate) authorization: Authorization,
    pub(crate) redirect_uri: String,
    pub(crate) challenge: String,
}

/// The codes and refresh tokens that were issued.
pub(crate) struct GrantStore(Mutex<State>);

struct State {
    codes: LruCache<String, CodeState>,
    families: LruCache<String, Family>,
}

enum CodeState {
    Fresh {
        code: Code,
        until: i64,
    },
    /// Presented once, successfully or not. When it is presented again, it was stolen: its refresh tokens are revoked.
    Used {
        family: Option<String>,
    },
}

/// The refresh tokens of one login, of which only the newest is valid. A token is `FAMILY.SECRET`.
struct Family {
    authorization: Authorization,
    secret: String,
    until: i64,
}

impl GrantStore {
    pub(crate) fn new() -> Self {
        let (codes, families) = (LruCache::new(MAX_CODES), LruCache::new(MAX_FAMILIES));
        Self(Mutex::new(State { codes, families }))
    }

    /// Returns a new code.
    pub(crate) fn issue_code(&self, code: Code, now: i64) -> Result<String, OAuthError> {
        let name = random()?;
        let fresh = CodeState::Fresh { code, until: now.saturating_add(CODE_LIFETIME_SECONDS) };
        self.lock().codes.put(name.clone(), fresh);
        Ok(name)
    }

    /// Returns what the code was issued for, and marks the code as used.
    ///
    /// # Errors
    /// `invalid_grant` if the code is unknown, expired or used; a used one's refresh tokens are revoked.
    pub(crate) fn take_code(&self, name: &str, now: i64) -> Result<Code, OAuthError> {
        let mut state = self.lock();
        let code = state.codes.get_mut(name);
        match code.map(|code| std::mem::replace(code, CodeState::Used { family: None })) {
            Some(CodeState::Fresh { code, until }) if now < until => Ok(code),
            Some(CodeState::Fresh { .. }) => Err(OAuthError::invalid_grant("the code has expired")),
            Some(CodeState::Used { family }) => {
                if let Some(family) = family {
                    state.families.pop(&family);
                }
                Err(OAuthError::invalid_grant("the code was used before; its refresh token is revoked"))
            }
            None => Err(OAuthError::invalid_grant("there is no such code")),
        }
    }

    /// Starts a family of refresh tokens and returns its first one.
    pub(crate) fn begin_family(
        &self,
        authorization: Authorization,
        code: &str,
        until: i64,
    ) -> Result<String, OAuthError> {
        let (name, secret) = (random()?, random()?);
        let token = format!("{name}.{secret}");
        let mut state = self.lock();
        state.codes.put(code.to_owned(), CodeState::Used { family: Some(name.clone()) });
        state.families.put(name, Family { authorization, secret, until });
        Ok(token)
    }

    /// Returns the successor of a refresh token, and the authorization with the scopes that `scope_of` chooses.
    ///
    /// # Errors
    /// `invalid_grant` if the token is not valid for this client. A token that was used before revokes its family. If
    /// `scope_of` fails, the token stays valid.
    pub(crate) fn rotate(
        &self,
        token: &str,
        client: &ClientRecord,
        now: i64,
        scope_of: impl FnOnce(&Authorization) -> Result<Vec<String>, OAuthError>,
    ) -> Result<(String, Authorization), OAuthError> {
        let next = random()?;
        let mut state = self.lock();
        let unknown = || OAuthError::invalid_grant("there is no such refresh token, or it is revoked");
        let (name, secret) = token.split_once('.').ok_or_else(unknown)?;
        let family = state.families.get_mut(name).ok_or_else(unknown)?;
        if family.authorization.client.id != client.id {
            return Err(OAuthError::invalid_grant("the refresh token was issued to another client"));
        }
        if family.secret != secret {
            state.families.pop(name);
            return Err(OAuthError::invalid_grant(
                "the refresh token was used before; it and its successors are revoked",
            ));
        }
        if now >= family.until {
            return Err(OAuthError::invalid_grant("the refresh token has expired"));
        }
        let scope = scope_of(&family.authorization)?;
        family.secret = next;
        Ok((format!("{name}.{}", family.secret), Authorization { scope, ..family.authorization.clone() }))
    }

    /// Revokes the family of a refresh token of this client (RFC 7009). Any other text is ignored.
    pub(crate) fn revoke(&self, token: &str, client: &ClientRecord) {
        let mut state = self.lock();
        let Some((name, _)) = token.split_once('.') else {
            return;
        };
        if state.families.peek(name).is_some_and(|family| family.authorization.client.id == client.id) {
            state.families.pop(name);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn random() -> Result<String, OAuthError> {
    random_id().ok_or_else(OAuthError::no_randomness)
}
