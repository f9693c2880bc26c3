//! `[redis]`: where replicas share what they have to.

use std::time::Duration;

use redis_shared::{Address, Options};
use serde_json::json;
use syntax::loopback::is_loopback_host;
use url::Url;

use super::context::Context;
use super::limits::Limits;
use super::mcp::Mcp;
use crate::config::key::{Key, Reload, Text, Whole, whole};
use crate::config::reader::Reader;
use crate::config::shown;

static URL: Key<Text> = Key::new(
    "redis.url",
    Text("`redis://`, `rediss://` or `unix://` URL"),
    Reload::RestartRequired,
    "the Redis that all replicas share ([deploy.md](deploy.md#replicas)); user and password in it are never shown; empty: none",
);
static URL_FILE: Key<Text> =
    Key::new("redis.url_file", Text("path"), Reload::RestartRequired, "a file with that URL instead");
static PREFIX: Key<Text> = Key::new(
    "redis.prefix",
    Text("letters, digits, `.`, `_`, `-`, `:`; 64 at most"),
    Reload::RestartRequired,
    "what the names of all keys and channels begin with; the same for all replicas of a server, another for another server",
);
static TIMEOUT: Key<Whole> = Key::new(
    "redis.timeout_ms",
    whole("milliseconds", 1, 10_000),
    Reload::RestartRequired,
    "how long a command may take before Redis counts as away",
);

pub(super) const KEYS: &[&Key] = &[&URL, &URL_FILE, &PREFIX, &TIMEOUT];

/// The room in a message for what is beside a body.
const ENVELOPE_BYTES: usize = 1024;
/// The longest prefix.
const MAX_PREFIX_BYTES: usize = 64;

/// Reads the section; `None` where there is no Redis.
pub(super) fn read(read: &mut Reader, _: &Context<'_>, mcp: &Mcp, limits: &Limits) -> Option<Options> {
    let (url, file) = (url(read), read.text(&URL_FILE));
    let prefix = prefix(read);
    let timeout = Duration::from_millis(read.whole(&TIMEOUT));
    let (key, url) = match (url.is_empty(), file.is_empty()) {
        (true, true) => return None,
        (false, false) => {
            read.problem(URL_FILE.name, format!("can't be set together with {}: choose one", URL.name));
            return None;
        }
        (false, true) => (URL.name, url),
        (true, false) => (URL_FILE.name, read.secret_in_file(URL_FILE.name, &file)?),
    };
    let address = Address::parse(&url).map_err(|error| read.problem(key, error.to_string())).ok()?;
    if is_password_in_the_clear(&url) {
        let message = "has a password, which goes to another machine in the clear: use rediss://";
        read.warn(key, message.to_owned());
    }
    if mcp.state_keys.0.is_empty() {
        let message = "takes mcp.state_keys or mcp.state_keys_file, the same for all replicas: what is written to Redis is sealed and \
                       hashed with them";
        read.problem(key, message);
    }
    let message_bytes = limits.http.body_bytes + ENVELOPE_BYTES;
    Some(Options { address, prefix, timeout, message_bytes })
}

fn is_password_in_the_clear(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    url.scheme() == "redis" && url.password().is_some() && !url.host_str().is_some_and(is_loopback_host)
}

/// Reads the URL, of which neither user nor password is shown.
fn url(read: &mut Reader) -> String {
    let parse = |value: &config::Value, _| match &value.kind {
        config::ValueKind::String(text) => Some(text.trim().to_owned()),
        _ => None,
    };
    let show = |url: &String| {
        let shown = match Address::parse(url) {
            _ if url.is_empty() => shown::text(""),
            Ok(address) => shown::text(&address.to_string()),
            Err(_) => "[redacted]".to_owned(),
        };
        let json = if url.is_empty() { json!("") } else { json!({"redacted": 1}) };
        (shown, json)
    };
    read.partly_shown(&URL, &[], "a text", parse, show).unwrap_or_default()
}

fn prefix(read: &mut Reader) -> String {
    let prefix = read.text(&PREFIX);
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte);
    if !(1..=MAX_PREFIX_BYTES).contains(&prefix.len()) || !prefix.bytes().all(is_good) {
        let message = format!("must be {}, and not empty, not {}", PREFIX.values.0, shown::text(&prefix));
        read.problem(PREFIX.name, message);
    }
    prefix
}
