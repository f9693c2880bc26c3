//! Fetches the JWKS document: one bounded GET with `ureq`, on a thread of its own.
//!
//! Redirects are not followed: only the configured URL is trusted. Proxies and certificates are `http_agent`'s.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use ureq::Agent;
use ureq::http::header::ACCEPT;

use crate::jwks::{DocumentError, KeySet};
use crate::skipped::SkippedKeys;
use crate::{JwksUrl, Options};

/// Why a fetch failed, for an operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("the key server redirected ({0}), which is not followed")]
    Redirect(u16),
    #[error("the key server answered {0}")]
    Status(u16),
    #[error("the key server timed out after {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    #[error("the document is longer than {0} bytes")]
    TooLong(u64),
    #[error("the key server's name can't be resolved")]
    NoSuchHost,
    #[error("the key server can't be reached: {0}")]
    Transport(ureq::Error),
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error("no thread can be started for the fetch: {0}")]
    NoThread(std::io::Error),
    #[error("the fetch panicked")]
    Panicked,
}

/// Fetches one URL.
#[derive(Debug)]
pub(crate) struct Fetcher {
    agent: Agent,
    url: JwksUrl,
    max_bytes: u64,
}

impl Fetcher {
    pub(crate) fn new(options: &Options) -> Self {
        let url = options.jwks_url.clone();
        // Minutes pass between fetches, and the server would have closed an idle connection by then.
        let config = http_agent::for_url(url.as_url()).max_idle_connections(0);
        Self { agent: config.build().new_agent(), url, max_bytes: options.max_document_bytes }
    }

    /// Fetches and parses the document within the timeout.
    ///
    /// The thread is not one of the runtime's: those keep a process that stops alive until the fetch ends.
    pub(crate) async fn fetch_on_thread(
        self: Arc<Self>,
        timeout: Duration,
    ) -> Result<(KeySet, SkippedKeys), FetchError> {
        let (sender, receiver) = oneshot::channel();
        let thread = std::thread::Builder::new().name("fetch-keys".to_owned());
        // The receiver is gone once another fetch succeeded.
        let work = move || drop(sender.send(self.fetch(timeout)));
        thread.spawn(work).map_err(FetchError::NoThread)?;
        receiver.await.unwrap_or(Err(FetchError::Panicked))
    }

    fn fetch(&self, timeout: Duration) -> Result<(KeySet, SkippedKeys), FetchError> {
        Ok(KeySet::parse(&self.document(timeout)?)?)
    }

    fn document(&self, timeout: Duration) -> Result<Vec<u8>, FetchError> {
        let request = self.agent.get(self.url.as_url().as_str()).header(ACCEPT, "application/json");
        let request = request.config().timeout_global(Some(timeout)).build();
        let mut response = request.call().map_err(|error| explain(error, timeout))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(FetchError::Redirect(status.as_u16()));
        }
        if status != ureq::http::StatusCode::OK {
            return Err(FetchError::Status(status.as_u16()));
        }
        let body = response.body_mut().with_config().limit(self.max_bytes);
        body.read_to_vec().map_err(|error| explain(error, timeout))
    }
}

fn explain(error: ureq::Error, timeout: Duration) -> FetchError {
    match error {
        ureq::Error::Timeout(_) => FetchError::TimedOut(timeout),
        ureq::Error::BodyExceedsLimit(limit) => FetchError::TooLong(limit),
        ureq::Error::HostNotFound => FetchError::NoSuchHost,
        other => FetchError::Transport(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::testing::TestProvider;

    #[test]
    fn an_https_url_never_leads_to_plain_http() {
        // A port on which no server listens.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let plain = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        let call = |issuer: &str| {
            let options = Options::for_issuer(&TestProvider, &issuer.parse().unwrap()).unwrap();
            Fetcher::new(&options).agent.get(&plain).call().unwrap_err()
        };
        assert!(matches!(call("https://t.example/"), ureq::Error::RequireHttpsOnly(_)));
        assert!(!matches!(call(&plain), ureq::Error::RequireHttpsOnly(_)));
    }
}
