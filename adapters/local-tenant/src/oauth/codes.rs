//! Codes and refresh tokens in circulation: each good once, for a while, and remembered afterwards, so that one that comes
//! again takes back what it brought (OAuth 2.1 sections 4.1.3 and 4.3.1).

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::model::client::ClientRecord;
use crate::model::random::random_id;
use crate::oauth::authorization::Authorization;
use crate::oauth::error::OAuthError;

/// How long a code is good, in seconds.
const CODE_LIFE: i64 = 60;
/// Codes and refresh tokens that are remembered; the one that was not used for the longest time makes room.
const MOST_CODES: NonZeroUsize = NonZeroUsize::new(1000).unwrap();
const MOST_FAMILIES: NonZeroUsize = NonZeroUsize::new(1000).unwrap();

/// What a code stands for.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    pub(crate) authorization: Authorization,
    pub(crate) redirect_uri: String,
    pub(crate) challenge: String,
}

/// Codes and refresh tokens in circulation.
pub(crate) struct Grants(Mutex<Circulating>);

struct Circulating {
    codes: LruCache<String, CodeState>,
    families: LruCache<String, Family>,
}

enum CodeState {
    Fresh {
        code: Code,
        until: i64,
    },
    /// Redeemed, or refused. When it comes again, somebody has stolen it: what it brought is revoked.
    Used {
        family: Option<String>,
    },
}

/// All refresh tokens that descend from one login; only the newest is good. A token is `FAMILY.SECRET`.
struct Family {
    authorization: Authorization,
    secret: String,
    until: i64,
}

impl Grants {
    pub(crate) fn new() -> Self {
        let (codes, families) = (LruCache::new(MOST_CODES), LruCache::new(MOST_FAMILIES));
        Self(Mutex::new(Circulating { codes, families }))
    }

    pub(crate) fn issue_code(&self, code: Code, now: i64) -> Result<String, OAuthError> {
        let name = random()?;
        let fresh = CodeState::Fresh { code, until: now.saturating_add(CODE_LIFE) };
        self.lock().codes.put(name.clone(), fresh);
        Ok(name)
    }

    /// Takes the code out of circulation, whatever comes of it.
    pub(crate) fn take_code(&self, name: &str, now: i64) -> Result<Code, OAuthError> {
        let mut circulating = self.lock();
        let state = circulating.codes.get_mut(name);
        match state.map(|state| std::mem::replace(state, CodeState::Used { family: None })) {
            Some(CodeState::Fresh { code, until }) if now < until => Ok(code),
            Some(CodeState::Fresh { .. }) => Err(invalid_grant("the code has expired")),
            Some(CodeState::Used { family }) => {
                if let Some(family) = family {
                    circulating.families.pop(&family);
                }
                Err(invalid_grant("the code was used before; the refresh token that it brought is revoked"))
            }
            None => Err(invalid_grant("there is no such code")),
        }
    }

    /// Starts a family; its first token.
    pub(crate) fn begin_family(
        &self,
        authorization: Authorization,
        code: &str,
        until: i64,
    ) -> Result<String, OAuthError> {
        let (name, secret) = (random()?, random()?);
        let token = format!("{name}.{secret}");
        let mut circulating = self.lock();
        circulating.codes.put(code.to_owned(), CodeState::Used { family: Some(name.clone()) });
        circulating.families.put(name, Family { authorization, secret, until });
        Ok(token)
    }

    /// The next token of the family, and what it stands for. `scope_of` may refuse; then nothing has changed.
    pub(crate) fn rotate(
        &self,
        token: &str,
        client: &ClientRecord,
        now: i64,
        scope_of: impl FnOnce(&Authorization) -> Result<Vec<String>, OAuthError>,
    ) -> Result<(String, Authorization), OAuthError> {
        let next = random()?;
        let mut circulating = self.lock();
        let unknown = || invalid_grant("there is no such refresh token, or it is revoked");
        let (name, secret) = token.split_once('.').ok_or_else(unknown)?;
        let family = circulating.families.get_mut(name).ok_or_else(unknown)?;
        if family.authorization.client.id != client.id {
            return Err(invalid_grant("the refresh token was issued to another client"));
        }
        if family.secret != secret {
            circulating.families.pop(name);
            return Err(invalid_grant(
                "the refresh token was used before; it and its successors are revoked",
            ));
        }
        if now >= family.until {
            return Err(invalid_grant("the refresh token has expired"));
        }
        let scope = scope_of(&family.authorization)?;
        family.secret = next;
        Ok((format!("{name}.{}", family.secret), Authorization { scope, ..family.authorization.clone() }))
    }

    /// Ends the family of a refresh token that this client was given (RFC 7009); any other text means nothing.
    pub(crate) fn revoke(&self, token: &str, client: &ClientRecord) {
        let mut circulating = self.lock();
        let Some((name, _)) = token.split_once('.') else {
            return;
        };
        if circulating.families.peek(name).is_some_and(|family| family.authorization.client.id == client.id) {
            circulating.families.pop(name);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Circulating> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn invalid_grant(why: &str) -> OAuthError {
    OAuthError::new("invalid_grant", why)
}

fn random() -> Result<String, OAuthError> {
    random_id().ok_or_else(|| OAuthError::new("server_error", "the machine gives no randomness"))
}
