//! `[http]`: which web pages may call, and which hosts are answered to.

use hyper_transport::{AllowListError, AllowedHost, AllowedOrigin};

use super::context::Context;
use crate::config::key::{Key, Reload, Texts};
use crate::config::reader::Reader;
use crate::config::shown;

static ALLOWED_ORIGINS: Key<Texts> = Key::new(
    "http.allowed_origins",
    Texts("origins"),
    Reload::Applied,
    "web pages that may call, besides loopback and the server's own; `https://*.example.com` and `*`: see below",
);
static ALLOWED_HOSTS: Key<Texts> = Key::new(
    "http.allowed_hosts",
    Texts("`name` or `name:port`"),
    Reload::Applied,
    "hosts answered to, besides loopback and the server's own; `*.example.com`: see below",
);

pub(super) const KEYS: &[&Key] = &[&ALLOWED_ORIGINS, &ALLOWED_HOSTS];

/// Which web pages may call, and which hosts are answered to.
#[derive(Debug, Clone)]
pub struct Http {
    /// Web origins that may call, besides loopback ones and the server's own.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// Hosts that are answered to, besides loopback ones and the server's own.
    pub allowed_hosts: Vec<AllowedHost>,
}

pub(super) fn read(read: &mut Reader, _: &Context<'_>) -> Http {
    Http {
        allowed_origins: allowed_origins(read),
        allowed_hosts: allow_list(read, &ALLOWED_HOSTS, AllowedHost::parse),
    }
}

fn allowed_origins(read: &mut Reader) -> Vec<AllowedOrigin> {
    let origins = allow_list(read, &ALLOWED_ORIGINS, AllowedOrigin::parse);
    if origins.iter().any(AllowedOrigin::is_any) {
        read.warn(
            ALLOWED_ORIGINS.name,
            "has *: every web page may call the endpoint and read its answers. It still needs an access token of its own,              because browsers attach none by themselves; list the origins if you know them"
                .to_owned(),
        );
    }
    origins
}

/// Reads a list of hosts or origins; each entry that can't be parsed is a problem of its own.
fn allow_list<T>(
    read: &mut Reader,
    key: &Key<Texts>,
    parse: fn(&str) -> Result<T, AllowListError>,
) -> Vec<T> {
    let mut entries = Vec::new();
    for text in read.texts(key) {
        match parse(&text) {
            Ok(entry) => entries.push(entry),
            Err(error) => read.problem(key.name, format!("{} {error}", shown::text(&text))),
        }
    }
    entries
}
