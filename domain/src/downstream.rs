//! On behalf of: tokens for other APIs, exchanged for a caller's own (RFC 8693). Which API and which scopes a tool may have is
//! decided here; the exchange is a port, and no tool sees the caller's token.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::principal::Principal;
use crate::scope::{Scope, ScopeSet};
use crate::time::UnixSeconds;
use crate::token::BearerToken;
use crate::tool_error::ToolError;

/// Another API that callers' tokens may be exchanged for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownstreamApi {
    /// Its name in the configuration, which users see in errors.
    pub name: String,
    /// Its identifier: the `aud` of its tokens.
    pub audience: String,
    /// The most that tools may ask for there; not empty.
    pub scopes: ScopeSet,
}

/// The port that exchanges a caller's token for one of another API.
#[async_trait]
pub trait TokenExchange: Send + Sync {
    /// Returns a token that is still good for a while, which may be one that the same caller has had before.
    ///
    /// # Errors
    /// [`DownstreamError`], as its variants say.
    async fn exchange(&self, request: ExchangeRequest<'_>) -> Result<DownstreamToken, DownstreamError>;
}

/// What a [`TokenExchange`] is asked for.
#[derive(Debug, Clone, Copy)]
pub struct ExchangeRequest<'a> {
    /// The caller's token. It was admitted by this request.
    pub subject_token: &'a BearerToken,
    /// When that expires.
    pub subject_expires_at: UnixSeconds,
    /// The API, of which there are as many as the configuration names.
    pub api: &'a DownstreamApi,
    /// The scopes, all of which the token must have; not empty.
    pub scopes: &'a ScopeSet,
    /// A token that the API refused: not that one again.
    pub refused: Option<&'a DownstreamToken>,
}

/// A token of another API, for a request to that API and nothing else. Its `Debug` leaves the token out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownstreamToken {
    token: BearerToken,
    expires_at: UnixSeconds,
    scopes: ScopeSet,
}

impl DownstreamToken {
    /// Creates a token with these scopes.
    #[must_use]
    pub fn new(token: BearerToken, expires_at: UnixSeconds, scopes: ScopeSet) -> Self {
        Self { token, expires_at, scopes }
    }

    /// Returns the token itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.token.expose()
    }

    /// Returns the value of the header field `Authorization` (RFC 6750 section 2.1).
    #[must_use]
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.token.expose())
    }

    /// Returns when it expires. It must not be kept until then: [`Context::downstream`](crate::Context::downstream) is asked
    /// for every request, and keeps it.
    #[must_use]
    pub const fn expires_at(&self) -> UnixSeconds {
        self.expires_at
    }

    /// Returns the scopes that were granted.
    #[must_use]
    pub const fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }
}

/// Why there is no token for another API. The message is for the user; by `?` it becomes the tool's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DownstreamError {
    /// The user must consent first.
    #[error("the user has not consented to the use of {api} yet: log in to this server again, and consent")]
    ConsentRequired {
        /// The API's name.
        api: String,
    },
    /// The user must prove a second factor first.
    #[error(
        "{api} asks for multi-factor authentication: log in to this server again, and complete it; who has no second \
         factor yet enrolls one first"
    )]
    MfaRequired {
        /// The API's name.
        api: String,
    },
    /// The caller's token counts no more at the authorization server.
    #[error("the login has ended, so that {api} can't be used: log in to this server again")]
    LoginRequired {
        /// The API's name.
        api: String,
    },
    /// The user may not use the API.
    #[error("the user may not use {api}: ask its administrator for access")]
    Denied {
        /// The API's name.
        api: String,
    },
    /// The user, or the client of this server, has not all of the scopes.
    #[error("the user lacks permissions at {api}: ask its administrator for {missing}")]
    ScopesMissing {
        /// The API's name.
        api: String,
        /// What was asked for, and not granted.
        missing: ScopeSet,
    },
    /// The authorization server takes no more exchanges at the moment.
    #[error("too many requests at the moment: try again in {} s", .retry_after.as_secs().max(1))]
    LimitReached {
        /// When to try again.
        retry_after: Duration,
    },
    /// The authorization server gave no answer that says anything of the request.
    #[error("{api} can't be used at the moment: try again later")]
    Unavailable {
        /// The API's name.
        api: String,
        /// Why, for the operator.
        cause: String,
    },
    /// The server's configuration, or the tenant's, does not allow what the tool asks for.
    #[error("this server is not set up for what the tool asks for: its operator finds the reason in the log")]
    Misconfigured {
        /// What is wrong, for the operator.
        cause: String,
    },
}

impl DownstreamError {
    fn misconfigured(cause: impl Into<String>) -> Self {
        Self::Misconfigured { cause: cause.into() }
    }

    /// Returns when to try again, where that is known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::LimitReached { retry_after } => Some(*retry_after),
            Self::ConsentRequired { .. }
            | Self::MfaRequired { .. }
            | Self::LoginRequired { .. }
            | Self::Denied { .. }
            | Self::ScopesMissing { .. }
            | Self::Unavailable { .. }
            | Self::Misconfigured { .. } => None,
        }
    }
}

/// Lets tools use `?`.
impl From<DownstreamError> for ToolError {
    fn from(error: DownstreamError) -> Self {
        let message = error.to_string();
        match error {
            DownstreamError::Unavailable { cause, .. } | DownstreamError::Misconfigured { cause } => {
                Self::caused_by(message, cause)
            }
            DownstreamError::ConsentRequired { .. }
            | DownstreamError::MfaRequired { .. }
            | DownstreamError::LoginRequired { .. }
            | DownstreamError::Denied { .. }
            | DownstreamError::ScopesMissing { .. }
            | DownstreamError::LimitReached { .. } => Self::new(message),
        }
    }
}

/// The APIs that tools may have tokens for, and who exchanges them.
#[derive(Clone)]
pub struct Downstream {
    apis: Vec<DownstreamApi>,
    exchange: Arc<dyn TokenExchange>,
}

impl Downstream {
    /// Creates the way to tokens for these APIs, and for no others.
    #[must_use]
    pub fn new(apis: Vec<DownstreamApi>, exchange: Arc<dyn TokenExchange>) -> Self {
        Self { apis, exchange }
    }

    /// Returns a token for an API, by its name or its audience, on behalf of this principal. Without scopes, all are asked for
    /// that the configuration allows.
    pub(crate) async fn token(
        &self,
        principal: &Principal,
        api: &str,
        scopes: &[&str],
        refused: Option<&DownstreamToken>,
    ) -> Result<DownstreamToken, DownstreamError> {
        let api = self.api(api)?;
        let scopes = allowed(api, scopes)?;
        // Only a service without these APIs authenticates without keeping it.
        let subject_token = principal.token().ok_or_else(|| {
            DownstreamError::misconfigured("the request has no token that could be exchanged")
        })?;
        let subject_expires_at = principal.expires_at();
        let request = ExchangeRequest { subject_token, subject_expires_at, api, scopes: &scopes, refused };
        self.exchange.exchange(request).await
    }

    fn api(&self, asked: &str) -> Result<&DownstreamApi, DownstreamError> {
        let found = self.apis.iter().find(|api| api.name == asked || api.audience == asked);
        found.ok_or_else(|| {
            let known: Vec<&str> = self.apis.iter().map(|api| api.name.as_str()).collect();
            let known = known.join(", ");
            DownstreamError::misconfigured(format!(
                "no API {asked:?} in [downstream.apis], which has {known}"
            ))
        })
    }
}

/// Returns the scopes to ask for, if the configuration allows all of them.
fn allowed(api: &DownstreamApi, asked: &[&str]) -> Result<ScopeSet, DownstreamError> {
    if asked.is_empty() {
        return Ok(api.scopes.clone());
    }
    let asked = ScopeSet::parse_all(asked.iter().copied())
        .map_err(|error| DownstreamError::misconfigured(error.to_string()))?;
    let beyond: Vec<&str> =
        asked.iter().filter(|scope| !api.scopes.contains(scope)).map(Scope::as_str).collect();
    if beyond.is_empty() {
        return Ok(asked);
    }
    let (name, beyond) = (&api.name, beyond.join(" "));
    Err(DownstreamError::misconfigured(format!("downstream.apis.{name}.scopes does not have {beyond}")))
}

/// The error of a server that exchanges no tokens.
pub(crate) fn off() -> DownstreamError {
    DownstreamError::misconfigured("no [downstream.apis] are configured, so that no token can be exchanged")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::FutureExt as _;

    use super::*;

    /// Grants everything, and remembers what it was asked for.
    #[derive(Default)]
    struct Granting(Mutex<Vec<String>>);

    #[async_trait]
    impl TokenExchange for Granting {
        async fn exchange(&self, request: ExchangeRequest<'_>) -> Result<DownstreamToken, DownstreamError> {
            let ExchangeRequest { subject_token, api, scopes, refused, .. } = request;
            let refused = refused.map(DownstreamToken::expose);
            let asked = format!("{} {} {scopes} {refused:?}", subject_token.expose(), api.audience);
            self.0.lock().unwrap().push(asked);
            let token = BearerToken::new("down").unwrap();
            Ok(DownstreamToken::new(token, UnixSeconds(0), scopes.clone()))
        }
    }

    fn api(name: &str, scopes: &[&str]) -> DownstreamApi {
        let scopes = ScopeSet::parse_all(scopes.iter().copied()).unwrap();
        DownstreamApi { name: name.to_owned(), audience: format!("https://{name}/"), scopes }
    }

    fn principal() -> Principal {
        crate::properties::principal().with_token(&BearerToken::new("caller").unwrap())
    }

    /// Asks for a token, and returns what the exchange was asked for, or the cause for the operator.
    fn ask(principal: &Principal, api: &str, scopes: &[&str]) -> Result<String, String> {
        let granting = Arc::new(Granting::default());
        let apis = vec![self::api("orders", &["read", "write"]), self::api("stock", &["read"])];
        let downstream = Downstream::new(apis, Arc::clone(&granting) as _);
        let token = downstream.token(principal, api, scopes, None).now_or_never().unwrap();
        let asked = granting.0.lock().unwrap().pop();
        match token {
            Ok(_) => Ok(asked.unwrap()),
            Err(DownstreamError::Misconfigured { cause }) => {
                assert_eq!(asked, None);
                Err(cause)
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn an_api_is_asked_for_by_its_name_or_audience_with_scopes_that_it_has() {
        let principal = principal();
        for (api, scopes, expected) in [
            ("orders", &["read"][..], "caller https://orders/ read None"),
            ("https://orders/", &["write", "read"], "caller https://orders/ write read None"),
            ("orders", &[], "caller https://orders/ read write None"),
            ("stock", &[], "caller https://stock/ read None"),
        ] {
            assert_eq!(ask(&principal, api, scopes).as_deref(), Ok(expected), "{api} {scopes:?}");
        }
    }

    #[test]
    fn what_is_not_configured_reaches_no_exchange() {
        let principal = principal();
        for (api, scopes, cause) in [
            ("stock", &["write"][..], "downstream.apis.stock.scopes does not have write"),
            ("stock", &["read", "write"], "downstream.apis.stock.scopes does not have write"),
            ("other", &["read"], r#"no API "other" in [downstream.apis], which has orders, stock"#),
            (
                "https://orders",
                &[],
                r#"no API "https://orders" in [downstream.apis], which has orders, stock"#,
            ),
        ] {
            assert_eq!(ask(&principal, api, scopes), Err(cause.to_owned()), "{api} {scopes:?}");
        }
        assert!(ask(&principal, "stock", &[""]).is_err());
        let without = principal.clone().without_token();
        assert_eq!(
            ask(&without, "stock", &[]),
            Err("the request has no token that could be exchanged".into())
        );
    }

    #[test]
    fn neither_token_is_in_a_debug_text() {
        let shown = format!("{:?}", principal());
        assert!(shown.contains("BearerToken(redacted)") && !shown.contains("caller"), "{shown}");
        let token = BearerToken::new("down").unwrap();
        let token = DownstreamToken::new(token, UnixSeconds(0), ScopeSet::EMPTY);
        let shown = format!("{token:?}");
        assert!(shown.contains("BearerToken(redacted)") && !shown.contains("down"), "{shown}");
    }

    #[test]
    fn a_tool_tells_the_user_what_to_do_and_the_operator_the_cause() {
        use std::error::Error as _;
        let error = ToolError::from(off());
        assert!(error.to_string().starts_with("this server is not set up"), "{error}");
        assert!(error.source().unwrap().to_string().contains("[downstream.apis]"));
        let limit = DownstreamError::LimitReached { retry_after: Duration::from_millis(100) };
        assert_eq!(limit.retry_after(), Some(Duration::from_millis(100)));
        assert_eq!(ToolError::from(limit).to_string(), "too many requests at the moment: try again in 1 s");
    }
}
