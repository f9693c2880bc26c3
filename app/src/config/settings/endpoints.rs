//! `[endpoints]`: further addresses under which clients reach the server.

use std::sync::Arc;

use url::Url;

use super::context::Context;
use super::server::Server;
use super::tls::TlsFiles;
use crate::config::key::{Key, Reload, Text};
use crate::config::reader::Reader;
use crate::config::{addresses, shown};

static URL: Key<Text> = Key::new(
    "endpoints.NAME.url",
    Text("URL"),
    Reload::Applied,
    "a further URL below which clients reach the server",
);
static AUDIENCE: Key<Text> = Key::new(
    "endpoints.NAME.audience",
    Text("text"),
    Reload::Applied,
    "the API identifier of that endpoint, if it is another one",
)
.or("`auth0.audience`");

pub(super) const KEYS: &[&Key] = &[&URL, &AUDIENCE];

/// A further address under which clients reach the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedEndpoint {
    /// Its name in the configuration.
    pub name: String,
    /// The URL below which clients reach the server.
    pub url: Url,
    /// The protected resource's identifier there, if it is another one.
    pub audience: Option<Arc<str>>,
}

/// Reads the table. Each endpoint has a URL of its own, so that a request can tell which it is for.
#[expect(clippy::ref_option, reason = "sections are handed on as they are")]
pub(super) fn read(
    read: &mut Reader,
    _: &Context<'_>,
    server: &Server,
    tls: &Option<TlsFiles>,
) -> Vec<NamedEndpoint> {
    // A slash at the end makes no other endpoint.
    let plain = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
    let mut taken = vec![plain(&server.base_url(server.port, tls.is_some()))];
    let mut endpoints: Vec<NamedEndpoint> = Vec::new();
    for name in read.tables(&["endpoints"]) {
        let (text, audience) = (read.text_of(&URL, &[&name]), read.text_of(&AUDIENCE, &[&name]));
        let key = shown::key(&URL.path(&[&name]));
        let Some(url) = addresses::base(read, &key, &text.unwrap_or_default(), &server.path) else {
            continue;
        };
        if taken.contains(&plain(&url)) {
            read.problem(&key, "is the URL of another endpoint, too: each needs its own");
        }
        let key = shown::key(&AUDIENCE.path(&[&name]));
        if audience.as_deref().is_some_and(str::is_empty) {
            read.problem(&key, "must not be empty; without it, it is auth0.audience");
        }
        addresses::refuse_placeholder(read, &key, audience.as_deref().unwrap_or_default());
        taken.push(plain(&url));
        endpoints.push(NamedEndpoint { name, url, audience: audience.map(Into::into) });
    }
    endpoints
}
