//! Requests to the Management API: authentication, limits, pages.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use ureq::http::{Request, Response};
use ureq::{Agent, Body};
use url::Url;

use crate::error::{ManagementError, message, shown};
use crate::secret::Secret;

/// For one request, from the connection to the last byte.
const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_ANSWER_BYTES: u64 = 16 * 1024 * 1024;
/// Auth0's documented maximum.
const PAGE_SIZE: usize = 50;
/// More pages than any tenant's plan fills.
const MAX_PAGES: usize = 10_000;
/// The maximum length of a list, all its pages together.
const MAX_LIST_BYTES: usize = 64 * 1024 * 1024;
const ENDLESS: &str = "the list has no end";
/// How often a request is sent again that the limit refused.
const MAX_WAITS: u32 = 10;
/// The longest wait for a limit.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// What a client proves itself with.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// An access token for the Management API.
    Token(Secret),
    /// The grant `client_credentials`.
    Client {
        /// The client's id.
        id: String,
        /// The client's secret.
        secret: Secret,
    },
}

/// Waits.
type Wait = Box<dyn Fn(Duration) + Send>;
/// Is told of a wait.
type Listener = Box<dyn Fn(Progress) + Send>;

/// What happens between requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The tenant's limit of requests makes the next one wait.
    Waiting(Duration),
}

/// A client of the Management API. `Debug` shows neither its token nor its secret.
pub struct Management {
    agent: Agent,
    /// The tenant's canonical URL, with its slash.
    tenant: Url,
    credentials: Credentials,
    token: Option<Secret>,
    wait: Wait,
    listener: Listener,
    /// How long the limit makes the next request wait.
    due: Duration,
}

/// A page's answer, of whichever member it is in.
#[derive(Deserialize)]
struct Cursor {
    next: Option<String>,
}

impl Management {
    /// Creates a client for the tenant at its canonical URL, such as `https://example.eu.auth0.com/`: tokens name it as their
    /// audience even where there is a custom domain. `wait` blocks for a time.
    #[must_use]
    pub fn new(tenant: Url, credentials: Credentials, wait: impl Fn(Duration) + Send + 'static) -> Self {
        Self {
            agent: agent(&tenant),
            tenant,
            credentials,
            token: None,
            wait: Box::new(wait),
            listener: Box::new(|_| ()),
            due: Duration::ZERO,
        }
    }

    /// Sets who is told of waits.
    #[must_use]
    pub fn on_progress(mut self, listener: impl Fn(Progress) + Send + 'static) -> Self {
        self.listener = Box::new(listener);
        self
    }

    /// Reads one document.
    pub(crate) fn get<T: DeserializeOwned>(
        &mut self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, ManagementError> {
        let body = self.send("GET", path, query, None)?;
        self.parse(path, &body)
    }

    /// Reads a page, whose length is taken off what the list has left.
    fn page(
        &mut self,
        path: &[&str],
        query: &[(&str, &str)],
        left: &mut usize,
    ) -> Result<Vec<u8>, ManagementError> {
        let body = self.send("GET", path, query, None)?;
        *left = left.checked_sub(body.len()).ok_or_else(|| unusable(path, "the list is too long"))?;
        Ok(body)
    }

    /// Reads all pages of a list that counts them. A short page is not taken for the last one.
    pub(crate) fn pages<T: DeserializeOwned>(
        &mut self,
        path: &[&str],
        member: &'static str,
        query: &[(&str, &str)],
    ) -> Result<Vec<T>, ManagementError> {
        let (mut items, mut left) = (Vec::new(), MAX_LIST_BYTES);
        for page in 0..MAX_PAGES {
            let (page, size) = (page.to_string(), PAGE_SIZE.to_string());
            let mut query = query.to_vec();
            query.extend([("page", page.as_str()), ("per_page", size.as_str()), ("include_totals", "true")]);
            let body = self.page(path, &query, &mut left)?;
            let answer: Value = self.parse(path, &body)?;
            let total = answer.get("total").and_then(Value::as_u64);
            let total = total.ok_or_else(|| missing(path, "total"))?;
            let page: Vec<T> = self.member_of(path, answer, member)?;
            let is_last = page.is_empty();
            items.extend(page);
            if is_last || items.len() as u64 >= total {
                return Ok(items);
            }
        }
        Err(unusable(path, ENDLESS))
    }

    /// Reads all pages of a list that is read by a cursor.
    pub(crate) fn cursor<T: DeserializeOwned>(
        &mut self,
        path: &[&str],
        member: &'static str,
        query: &[(&str, &str)],
    ) -> Result<Vec<T>, ManagementError> {
        let (mut items, mut from, mut left) = (Vec::new(), None::<String>, MAX_LIST_BYTES);
        for _ in 0..MAX_PAGES {
            let size = PAGE_SIZE.to_string();
            let mut query = query.to_vec();
            query.push(("take", &size));
            query.extend(from.as_deref().map(|from| ("from", from)));
            let body = self.page(path, &query, &mut left)?;
            // A tenant that pages otherwise answers with the list alone.
            if body.trim_ascii_start().starts_with(b"[") {
                return self.parse(path, &body);
            }
            let Cursor { next } = self.parse(path, &body)?;
            items.extend(self.member_of::<Vec<T>>(path, self.parse(path, &body)?, member)?);
            let next = next.filter(|next| !next.is_empty());
            if next.is_none() {
                return Ok(items);
            }
            if next == from {
                break;
            }
            from = next;
        }
        Err(unusable(path, ENDLESS))
    }

    /// Writes, and returns nothing of the answer.
    pub(crate) fn write(
        &mut self,
        method: &'static str,
        path: &[&str],
        body: &Value,
    ) -> Result<(), ManagementError> {
        self.send(method, path, &[], Some(body)).map(drop)
    }

    /// Sends a request, again as long as the limit refuses it, and returns the body of a success.
    fn send(
        &mut self,
        method: &'static str,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Vec<u8>, ManagementError> {
        let token = self.token()?;
        let url = self.url(path, query);
        for _ in 0..MAX_WAITS {
            self.wait_for_limit();
            let request = Request::builder()
                .method(method)
                .uri(url.as_str())
                .header(AUTHORIZATION, format!("Bearer {}", token.expose()))
                .header(CONTENT_TYPE, "application/json");
            let (status, headers, answer) = self.call(request, body.map(Value::to_string))?;
            self.due = due(status, &headers);
            match status {
                200..300 => return Ok(answer),
                429 => {}
                _ => {
                    let answer = self.without_secrets(&String::from_utf8_lossy(&answer));
                    let path = shown_path(path);
                    return Err(ManagementError::of_answer(method, &path, status, answer.as_bytes()));
                }
            }
        }
        Err(ManagementError::TooManyRequests { method, path: shown_path(path) })
    }

    fn wait_for_limit(&mut self) {
        let due = std::mem::take(&mut self.due);
        if !due.is_zero() {
            (self.listener)(Progress::Waiting(due));
            (self.wait)(due);
        }
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.tenant.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v2"]).extend(path);
        }
        // Users' ids have it, and it is none of a path's characters (RFC 3986 section 3.3), which URLs of the web leave in place.
        let path = url.path().replace('|', "%7C");
        url.set_path(&path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// Returns the token, which the first request gets by the credentials.
    fn token(&mut self) -> Result<Secret, ManagementError> {
        if let Some(token) = &self.token {
            return Ok(token.clone());
        }
        let token = match self.credentials.clone() {
            Credentials::Token(token) => token,
            Credentials::Client { id, secret } => self.client_credentials(&id, &secret)?,
        };
        self.token = Some(token.clone());
        Ok(token)
    }

    fn client_credentials(&self, id: &str, secret: &Secret) -> Result<Secret, ManagementError> {
        #[derive(Deserialize)]
        struct TokenResponse {
            access_token: String,
        }
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", id)
            .append_pair("client_secret", secret.expose())
            .append_pair("audience", &format!("{}api/v2/", self.tenant))
            .finish();
        let mut url = self.tenant.clone();
        url.set_path("/oauth/token");
        let request = Request::builder()
            .method("POST")
            .uri(url.as_str())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let (status, _, body) = self.call(request, Some(form))?;
        if status != 200 {
            let body = self.without_secrets(&String::from_utf8_lossy(&body));
            return Err(ManagementError::NoToken(message(body.as_bytes())));
        }
        // Nothing of the answer is repeated: it has the token.
        let response: TokenResponse = syntax::strict_json::parse(&body).map_err(|_| {
            ManagementError::NoToken("the token endpoint's answer has no access_token".to_owned())
        })?;
        Ok(Secret::new(response.access_token))
    }

    fn call(
        &self,
        request: ureq::http::request::Builder,
        body: Option<String>,
    ) -> Result<(u16, HeaderMap, Vec<u8>), ManagementError> {
        let sent = match body {
            Some(body) => request.body(body).map(|request| self.agent.run(request)),
            None => request.body(()).map(|request| self.agent.run(request)),
        };
        let answer = sent.map_err(|error| self.unreachable(&error))?;
        let mut answer: Response<Body> = answer.map_err(|error| self.unreachable(&error))?;
        let body = answer.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
        let body = body.map_err(|error| self.unreachable(&error))?;
        Ok((answer.status().as_u16(), answer.headers().clone(), body))
    }

    fn parse<T: DeserializeOwned>(&self, path: &[&str], body: &[u8]) -> Result<T, ManagementError> {
        syntax::strict_json::parse(body)
            .map_err(|error| unusable(path, &self.without_secrets(&error.to_string())))
    }

    fn member_of<T: DeserializeOwned>(
        &self,
        path: &[&str],
        mut answer: Value,
        member: &str,
    ) -> Result<T, ManagementError> {
        let value = answer.get_mut(member).map(Value::take).ok_or_else(|| missing(path, member))?;
        serde_json::from_value(value)
            .map_err(|error| unusable(path, &self.without_secrets(&error.to_string())))
    }

    /// Returns a text without the token and the secret, which an answer may repeat.
    fn without_secrets(&self, text: &str) -> String {
        let of_client = match &self.credentials {
            Credentials::Token(token) => token,
            Credentials::Client { secret, .. } => secret,
        };
        let secrets = self.token.iter().chain([of_client]).map(Secret::expose);
        let secrets = secrets.filter(|secret| !secret.is_empty());
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "(redacted)"))
    }

    fn unreachable(&self, cause: &impl fmt::Display) -> ManagementError {
        let host = self.tenant.host_str().unwrap_or_default().to_owned();
        ManagementError::Unreachable { host, cause: shown(&cause.to_string()) }
    }
}

impl fmt::Debug for Management {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Management").field("tenant", &self.tenant.as_str()).finish_non_exhaustive()
    }
}

/// Redirects are not followed: the token is for this host alone. It goes over http to no other machine.
fn agent(tenant: &Url) -> Agent {
    let config = http_agent::for_url(tenant);
    config.allow_non_standard_methods(true).timeout_global(Some(TIMEOUT)).build().new_agent()
}

/// Returns how long the next request has to wait, by an answer's status and header fields.
fn due(status: u16, headers: &HeaderMap) -> Duration {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let is_used_up = number("x-ratelimit-remaining") == Some(0);
    if status != 429 && !is_used_up {
        return Duration::ZERO;
    }
    let until_reset = || number("x-ratelimit-reset")?.checked_sub(answered_at(headers)?);
    let seconds = number(RETRY_AFTER.as_str()).or_else(until_reset).unwrap_or(1);
    Duration::from_secs(seconds.max(1).unsigned_abs()).min(MAX_WAIT)
}

/// Returns the tenant's own time, by which it says when the limit is reset.
fn answered_at(headers: &HeaderMap) -> Option<i64> {
    let date = headers.get(DATE)?.to_str().ok()?;
    let date = jiff::fmt::rfc2822::parse(date).ok()?;
    Some(date.timestamp().as_second())
}

fn missing(path: &[&str], member: &str) -> ManagementError {
    unusable(path, &format!("the member {member} is missing"))
}

/// Returns the error of an answer to a GET that can't be used.
fn unusable(path: &[&str], cause: &str) -> ManagementError {
    ManagementError::Answer { method: "GET", path: shown_path(path), cause: shown(cause) }
}

fn shown_path(path: &[&str]) -> String {
    shown(&path.join("/"))
}

#[cfg(test)]
mod tests;
