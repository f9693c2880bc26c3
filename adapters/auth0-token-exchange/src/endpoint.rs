//! The token endpoint: one bounded POST with `ureq`, on a thread of its own.

use std::sync::Arc;
use std::time::Duration;

use domain::{BearerToken, DownstreamApi, DownstreamToken, ScopeSet, UnixSeconds};
use tokio::sync::oneshot;
use ureq::Agent;
use ureq::http::header::ACCEPT;
use url::form_urlencoded::Serializer;

use crate::answer::{self, ACCESS_TOKEN, Answer, Failure};
use crate::options::{Credentials, Options};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// RFC 7523 section 2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const MAX_ANSWER_BYTES: u64 = 64 * 1024;
/// How much of what the authorization server says is logged, in characters.
const MAX_SAID: usize = 300;

/// What is asked for.
pub(crate) struct Ask {
    pub(crate) subject_token: BearerToken,
    pub(crate) api: DownstreamApi,
    pub(crate) scopes: ScopeSet,
    pub(crate) now: UnixSeconds,
}

pub(crate) struct TokenEndpoint {
    agent: Agent,
    options: Options,
}

impl TokenEndpoint {
    pub(crate) fn new(options: Options) -> Self {
        let config = http_agent::for_url(&options.token_endpoint).timeout_global(Some(options.timeout));
        Self { agent: config.build().new_agent(), options }
    }

    /// Exchanges a token.
    ///
    /// The thread is not one of the runtime's: those keep a process that stops alive until the exchange ends.
    pub(crate) async fn exchange_on_thread(self: Arc<Self>, ask: Ask) -> Result<DownstreamToken, Failure> {
        let (sender, receiver) = oneshot::channel();
        let api = ask.api.clone();
        let thread = std::thread::Builder::new().name("exchange-token".to_owned());
        let work = move || drop(sender.send(self.exchange(&ask)));
        thread
            .spawn(work)
            .map_err(|error| Failure::unavailable(&api, format!("no thread can be started: {error}")))?;
        receiver.await.unwrap_or_else(|_| Err(Failure::unavailable(&api, "the exchange panicked")))
    }

    fn exchange(&self, ask: &Ask) -> Result<DownstreamToken, Failure> {
        let form = self.form(ask)?;
        let unreachable = |error| Failure::unavailable(&ask.api, explain(error, self.options.timeout));
        let request =
            self.agent.post(self.options.token_endpoint.as_str()).header(ACCEPT, "application/json");
        let request = request.content_type("application/x-www-form-urlencoded");
        let mut response = request.send(form).map_err(unreachable)?;
        let body =
            response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec().map_err(unreachable)?;
        let answer = Answer { status: response.status(), headers: response.headers().clone(), body };
        answer::read(&answer, &ask.api, &ask.scopes, ask.now)
            .map_err(|failure| Failure { said: self.shown(&failure.said, ask), ..failure })
    }

    /// Returns the form of RFC 8693 section 2.1, as Auth0 documents it.
    fn form(&self, ask: &Ask) -> Result<String, Failure> {
        let Options { client_id, issuer, credentials, .. } = &self.options;
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", GRANT)
            .append_pair("client_id", client_id)
            .append_pair("subject_token", ask.subject_token.expose())
            .append_pair("subject_token_type", ACCESS_TOKEN)
            .append_pair("requested_token_type", ACCESS_TOKEN)
            .append_pair("audience", &ask.api.audience)
            .append_pair("scope", &ask.scopes.to_string());
        match credentials {
            Credentials::Secret(secret) => form.append_pair("client_secret", secret.expose()),
            Credentials::PrivateKey(key) => {
                let assertion = key.assertion(client_id, issuer, ask.now);
                let assertion =
                    assertion.map_err(|error| Failure::unavailable(&ask.api, error.to_string()))?;
                form.append_pair("client_assertion_type", ASSERTION_TYPE)
                    .append_pair("client_assertion", &assertion)
            }
        };
        Ok(form.finish())
    }

    /// Returns the beginning of what the authorization server said, on one line, without what must be in no log.
    fn shown(&self, said: &str, ask: &Ask) -> String {
        let mut said = said.replace(ask.subject_token.expose(), "(redacted)");
        if let Credentials::Secret(secret) = &self.options.credentials {
            said = said.replace(secret.expose(), "(redacted)");
        }
        said.chars().take(MAX_SAID).flat_map(char::escape_debug).collect()
    }
}

fn explain(error: ureq::Error, timeout: Duration) -> String {
    match error {
        ureq::Error::Timeout(_) => {
            format!("the token endpoint gave no answer within {} s", timeout.as_secs_f64())
        }
        ureq::Error::BodyExceedsLimit(limit) => {
            format!("the token endpoint's answer is longer than {limit} bytes")
        }
        ureq::Error::HostNotFound => "the token endpoint's name can't be resolved".to_owned(),
        other => format!("the token endpoint can't be reached: {other}"),
    }
}
