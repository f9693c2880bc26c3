//! The options of an operator, with their defaults, and the URLs that keys may come from.

use std::time::Duration;

use syntax::loopback::is_loopback_host;
use url::Url;

use crate::IdentityProvider;

/// How keys are fetched and kept. [`Options::for_issuer`] has the defaults.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the issuer publishes its keys.
    pub jwks_url: JwksUrl,
    /// The time from a successful fetch to the next one; also the longest wait between fetches that fail. 10 minutes: a
    /// revoked key is accepted for that long.
    pub refresh_every: Duration,
    /// The time in which the budget of fetches refills by one, 5 seconds. The budget is three fetches: so many may start at
    /// once after a quiet time, whatever tokens arrive. Before the first keys there is no such limit.
    pub min_fetch_interval: Duration,
    /// How long keys are used after the last successful fetch while fetches fail. 24 hours.
    pub keep_through_outage: Duration,
    /// How long a request waits for keys that are being fetched, 3 seconds; under a second while the budget of fetches is
    /// used up.
    pub wait_for_keys: Duration,
    /// The maximum number of requests that wait for keys at a time. 64. Beyond it a request is answered at once.
    pub max_waiting: usize,
    /// The timeout of one fetch, from name resolution to the last byte. 5 seconds.
    pub fetch_timeout: Duration,
    /// The maximum length of the document. 1 MiB.
    pub max_document_bytes: u64,
    /// How long a `kid` that the issuer does not publish causes no further fetch. 60 seconds.
    pub unknown_kid_memory: Duration,
    /// How many tokens of up to 1 KiB are remembered as proved, until the key set changes; a longer one counts as several.
    /// 10 000: about 12 MiB. With 0, the signature is proved on every request.
    pub remembered_tokens: usize,
}

impl Options {
    /// Returns the defaults, with the URL at which the provider publishes the issuer's keys.
    ///
    /// # Errors
    /// [`OptionsError`] if that is no issuer, or keys may not come from there.
    pub fn for_issuer(provider: &impl IdentityProvider, issuer: &Url) -> Result<Self, OptionsError> {
        Ok(Self {
            jwks_url: JwksUrl::of_issuer(provider, issuer)?,
            refresh_every: Duration::from_mins(10),
            min_fetch_interval: Duration::from_secs(5),
            keep_through_outage: Duration::from_hours(24),
            wait_for_keys: Duration::from_secs(3),
            max_waiting: 64,
            fetch_timeout: Duration::from_secs(5),
            max_document_bytes: 1024 * 1024,
            unknown_kid_memory: Duration::from_mins(1),
            remembered_tokens: 10_000,
        })
    }
}

/// A URL that keys may come from: https, or http on this machine. An attacker who can change the document in transit can
/// sign tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwksUrl(Url);

/// Why keys may not come from a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Neither https nor http to a loopback host.
    #[error("keys must come over https (or http from localhost, 127.0.0.0/8 or [::1]), not from {0}")]
    Insecure(Url),
    /// The URL has a user name or password; the message does not repeat it.
    #[error("the URL that keys come from must not hold a user name or password")]
    Credentials,
    /// An issuer has neither (RFC 8414 section 2).
    #[error("an issuer has no query and no fragment: {0}")]
    NotAnIssuer(Url),
}

impl JwksUrl {
    /// Creates one from a URL that keeps the rule above.
    ///
    /// # Errors
    /// [`OptionsError`] if the rule is broken.
    pub fn new(url: Url) -> Result<Self, OptionsError> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(OptionsError::Credentials);
        }
        match url.scheme() {
            "https" => Ok(Self(url)),
            "http" if is_loopback(&url) => Ok(Self(url)),
            _ => Err(OptionsError::Insecure(url)),
        }
    }

    /// Returns where the issuer publishes its keys.
    ///
    /// # Errors
    /// [`OptionsError`] if the issuer is none, or breaks the rule itself, or keys may not come from there.
    pub fn of_issuer(provider: &impl IdentityProvider, issuer: &Url) -> Result<Self, OptionsError> {
        let Self(issuer) = Self::new(issuer.clone())?;
        if issuer.query().is_some() || issuer.fragment().is_some() {
            return Err(OptionsError::NotAnIssuer(issuer));
        }
        Self::new(provider.jwks_url(&issuer))
    }

    /// Returns the URL.
    #[must_use]
    pub fn as_url(&self) -> &Url {
        &self.0
    }
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(is_loopback_host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::testing::TestProvider;

    fn of_issuer(text: &str) -> Result<String, OptionsError> {
        JwksUrl::of_issuer(&TestProvider, &text.parse().unwrap()).map(|url| url.as_url().to_string())
    }

    #[test]
    fn the_provider_says_where_keys_are() {
        for (issuer, expected) in [
            ("https://t.example/", "https://t.example/keys"),
            ("http://localhost:3/", "http://localhost:3/keys"),
            ("http://127.9.9.9/", "http://127.9.9.9/keys"),
            ("http://[::1]:3/", "http://[::1]:3/keys"),
        ] {
            assert_eq!(of_issuer(issuer).as_deref(), Ok(expected), "{issuer}");
        }
    }

    #[test]
    fn a_provider_leads_to_no_url_that_keys_may_not_come_from() {
        let insecure = "https://insecure.example/";
        assert!(matches!(of_issuer(insecure), Err(OptionsError::Insecure(_))), "{insecure}");
    }

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        for insecure in [
            "http://t.auth0.com/",
            "http://localhost.example.com/",
            "http://126.0.0.1/",
            "http://[::2]/",
            "http://0.0.0.0/",
            "ftp://localhost/",
            "file:///keys",
        ] {
            assert!(matches!(of_issuer(insecure), Err(OptionsError::Insecure(_))), "{insecure}");
        }
        let secret = of_issuer("https://u:hunter2@t.auth0.com/").unwrap_err();
        assert_eq!(secret, OptionsError::Credentials);
        assert!(!secret.to_string().contains("hunter2"));
        for no_issuer in ["https://t/?a", "https://t/#a"] {
            assert!(matches!(of_issuer(no_issuer), Err(OptionsError::NotAnIssuer(_))), "{no_issuer}");
        }
    }
}
