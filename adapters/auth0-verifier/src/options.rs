//! What an operator may set, with the defaults, and which URLs keys may come from.

use std::time::Duration;

use syntax::loopback::is_loopback_host;
use url::Url;

/// How keys are fetched and kept. [`Options::for_issuer`] has the defaults.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the issuer publishes its keys.
    pub jwks_url: JwksUrl,
    /// From a successful fetch to the next one; also the longest wait between fetches that fail. 10 minutes: Auth0
    /// advises 5 to 10, and a revoked key is accepted for that long.
    pub refresh_every: Duration,
    /// The time in which the budget of fetches refills by one, 5 seconds. The budget holds three: so many may start at once
    /// after a quiet time, whatever arrives. Before the first keys there is no such limit.
    pub min_fetch_interval: Duration,
    /// How long keys are used after the last successful fetch while fetches fail. 24 hours.
    pub keep_through_outage: Duration,
    /// How long a request waits for keys that are being fetched, 3 seconds; under a second while the budget of fetches is
    /// used up.
    pub wait_for_keys: Duration,
    /// The maximum number of requests that wait for keys at a time. 64. Beyond it a request is answered at once.
    pub max_waiting: usize,
    /// The longest that one fetch takes, from name resolution to the last byte. 5 seconds.
    pub fetch_timeout: Duration,
    /// The longest document that is read. 1 MiB.
    pub max_document_bytes: u64,
    /// How long a `kid` that nobody published causes no further fetch. 60 seconds.
    pub unknown_kid_memory: Duration,
    /// How many tokens of up to 1 KiB are remembered as proved, until the key set changes; a longer one takes the room of
    /// several. 10 000: about 12 MiB. With 0, every request's signature is proved anew.
    pub remembered_tokens: usize,
}

impl Options {
    /// The defaults, with the issuer's `.well-known/jwks.json`.
    ///
    /// # Errors
    /// [`OptionsError`] if keys may not come from there.
    pub fn for_issuer(issuer: &Url) -> Result<Self, OptionsError> {
        Ok(Self {
            jwks_url: JwksUrl::of_issuer(issuer)?,
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

/// A URL that keys may come from: https, or http on this machine. Whoever can change the document on its way can sign
/// tokens.
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
    /// Checks the rule above.
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

    /// The issuer's `.well-known/jwks.json`.
    ///
    /// # Errors
    /// [`OptionsError`] if that is no URL that keys may come from.
    pub fn of_issuer(issuer: &Url) -> Result<Self, OptionsError> {
        let mut url = Self::new(issuer.clone())?.0;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(OptionsError::NotAnIssuer(url));
        }
        let path = format!("{}/.well-known/jwks.json", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(Self(url))
    }

    /// The URL.
    #[must_use]
    pub fn as_url(&self) -> &Url {
        &self.0
    }

    /// Whether the host is this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(is_loopback_host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_issuer(text: &str) -> Result<String, OptionsError> {
        JwksUrl::of_issuer(&text.parse().unwrap()).map(|url| url.as_url().to_string())
    }

    #[test]
    fn an_issuers_keys_are_at_its_well_known_place() {
        for (issuer, expected) in [
            ("https://t.auth0.com/", "https://t.auth0.com/.well-known/jwks.json"),
            ("https://t.auth0.com", "https://t.auth0.com/.well-known/jwks.json"),
            ("https://h/a/b", "https://h/a/b/.well-known/jwks.json"),
            ("https://h/a/", "https://h/a/.well-known/jwks.json"),
            ("http://localhost:3/", "http://localhost:3/.well-known/jwks.json"),
            ("http://127.9.9.9/", "http://127.9.9.9/.well-known/jwks.json"),
            ("http://[::1]:3/", "http://[::1]:3/.well-known/jwks.json"),
        ] {
            assert_eq!(of_issuer(issuer).as_deref(), Ok(expected), "{issuer}");
        }
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
