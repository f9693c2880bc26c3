//! `[upstreams]`: other MCP servers, and what of them is offered to whom.

mod connect;
mod rules;

use std::time::Duration;

use domain::DownstreamApi;
use syntax::loopback::is_loopback_host;
use upstream_mcp::Options;
use upstream_mcp::options::{CallerIdentity, Connect, Era, Limits as UpstreamLimits, Secret};

use super::context::Context;
use super::downstream::Downstream;
use super::limits::Limits;
use crate::config::key::{DAY, GIB, HOUR, Key, Reload, Text, Whole, Words, bytes, count, seconds};
use crate::config::reader::Reader;
use crate::config::shown;
use crate::config::suggestions::variable;

static PROTOCOL: Key<Words<Era>> = Key::new(
    "upstreams.NAME.protocol",
    Words(&[("auto", Era::Any), ("modern", Era::Modern), ("legacy", Era::Legacy)]),
    Reload::RestartRequired,
    "`modern`: MCP 2026-07-28 alone; `legacy`: the revisions before it alone, without a question for the other",
)
.or("`auto`");
static CALLER: Key<Words<Caller>> = Key::new(
    "upstreams.NAME.caller",
    Words(&[("none", Caller::None), ("jwt", Caller::Jwt), ("headers", Caller::Fields)]),
    Reload::RestartRequired,
    "what the upstream is told of the caller, never the caller's token; `jwt`: signed with HS256 and good for a minute",
)
.or("`none`");
static CALLER_SECRET: Key<Text> = Key::new(
    "upstreams.NAME.caller_secret",
    Text("32 bytes or more of visible ASCII"),
    Reload::RestartRequired,
    "the key that signs the JWT, or what is sent beside the fields, by which the upstream knows this server",
)
.secret();
static CALLER_SECRET_FILE: Key<Text> = Key::new(
    "upstreams.NAME.caller_secret_file",
    Text("path"),
    Reload::RestartRequired,
    "the same, from a file, without the white space at its ends",
);
static DOWNSTREAM: Key<Text> = Key::new(
    "upstreams.NAME.downstream",
    Text("name"),
    Reload::RestartRequired,
    "an API of `[downstream.apis]`: each caller's requests carry a token for it, exchanged for the caller's \
     ([on-behalf-of.md](on-behalf-of.md#upstreams)); for a `url`",
)
.or("none");
static START: Key<Whole> = Key::new(
    "upstreams.NAME.start_seconds",
    seconds(1, HOUR),
    Reload::RestartRequired,
    "for reaching it and having its lists; the start of this server waits for that",
)
.or("30");
static CALL: Key<Whole> = Key::new(
    "upstreams.NAME.call_seconds",
    seconds(1, DAY),
    Reload::RestartRequired,
    "for one request to it; beyond it the call fails. `limits.tool_seconds` counts as well",
)
.or("60");
static STOP: Key<Whole> = Key::new(
    "upstreams.NAME.stop_seconds",
    seconds(0, 300),
    Reload::RestartRequired,
    "for a child process to end when its input is closed, and again after SIGTERM; then it is killed",
)
.or("5");
static MESSAGE_BYTES: Key<Whole> = Key::new(
    "upstreams.NAME.message_bytes",
    bytes(1024, GIB),
    Reload::RestartRequired,
    "the longest message of the upstream's",
)
.or("8388608");
static CONCURRENT_CALLS: Key<Whole> = Key::new(
    "upstreams.NAME.concurrent_calls",
    count(1, 100_000),
    Reload::RestartRequired,
    "calls under way at a time; others wait",
)
.or("64");
static PARKED_CALLS: Key<Whole> = Key::new(
    "upstreams.NAME.parked_calls",
    count(0, 100_000),
    Reload::RestartRequired,
    "calls that wait for a client's answer to a question of the upstream's; beyond it a question fails its call",
)
.or("64");
static PARKED: Key<Whole> = Key::new(
    "upstreams.NAME.parked_seconds",
    seconds(1, DAY),
    Reload::RestartRequired,
    "how long such a call waits",
)
.or("300");

pub(super) const KEYS: &[&Key] = &[
    &connect::COMMAND,
    &connect::ENV,
    &connect::ENV_FILES,
    &connect::INHERIT_ENV,
    &connect::CWD,
    &connect::URL,
    &connect::HEADERS,
    &connect::HEADER_FILES,
    &connect::ALLOW_HTTP,
    &PROTOCOL,
    &rules::PREFIX,
    &rules::READ,
    &rules::WRITE,
    &rules::DESTRUCTIVE,
    &rules::RESOURCES,
    &rules::PROMPTS,
    &rules::TOOL_SCOPES,
    &rules::TOOL_HIDDEN,
    &rules::TOOL_NAME,
    &rules::TOOL_TITLE,
    &rules::TOOL_DESCRIPTION,
    &rules::TOOL_TIMEOUT,
    &CALLER,
    &CALLER_SECRET,
    &CALLER_SECRET_FILE,
    &DOWNSTREAM,
    &START,
    &CALL,
    &STOP,
    &MESSAGE_BYTES,
    &CONCURRENT_CALLS,
    &PARKED_CALLS,
    &PARKED,
];

/// The maximum length of an upstream's name.
const MAX_NAME: usize = 32;

/// What an upstream is told of the caller.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    None,
    Jwt,
    Fields,
}

/// Reads the tables. An upstream with a fault is left out, and the fault is noted.
#[expect(clippy::ref_option, reason = "sections are handed on as they are")]
pub(super) fn read(
    read: &mut Reader,
    context: &Context<'_>,
    limits: &Limits,
    downstream: &Option<Downstream>,
) -> Vec<Options> {
    let apis = downstream.as_ref().map_or(&[][..], |downstream| &downstream.apis);
    let names = read.tables(&["upstreams"]);
    let upstreams: Vec<Options> =
        names.iter().filter_map(|name| upstream(read, context, limits, apis, name)).collect();
    if upstreams.iter().filter(|upstream| upstream.prefix.is_empty()).count() > 1 {
        let message =
            "several have no prefix: one of them could give a tool the name of another's, and take its place";
        read.warn("upstreams", message.to_owned());
    }
    upstreams
}

/// Reads the whole table, whatever is wrong with a part of it.
fn upstream(
    read: &mut Reader,
    context: &Context<'_>,
    limits: &Limits,
    apis: &[DownstreamApi],
    name: &str,
) -> Option<Options> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_plain) {
        let message = format!("must be a name of letters, digits, `_` and `-`, at most {MAX_NAME} of them");
        read.reject_table(&["upstreams".to_owned(), name.to_owned()], message);
        return None;
    }
    let connect = connect::read(read, context, name);
    let era = read.choice_of(&PROTOCOL, &[name]).unwrap_or_default();
    let prefix = rules::prefix(read, name);
    let rules = rules::read(read, name, &prefix, limits);
    let caller = caller(read, name);
    let downstream = downstream_api(read, name, connect.as_ref(), apis);
    let limits = self::limits(read, name, limits.tool_deadline);
    Some(Options { name: name.to_owned(), connect: connect?, era, prefix, rules, caller, downstream, limits })
}

/// Reads for which API callers' requests carry a token.
fn downstream_api(
    read: &mut Reader,
    name: &str,
    connect: Option<&Connect>,
    apis: &[DownstreamApi],
) -> Option<String> {
    let api = read.text_of(&DOWNSTREAM, &[name])?;
    let key = shown::key(&DOWNSTREAM.path(&[name]));
    if matches!(connect, Some(Connect::Child(_))) {
        read.problem(&key, "is for an upstream with a `url`: a program has no header fields");
    }
    if let Some(Connect::Http(http)) = connect
        && http.url.scheme() == "http"
        && !http.url.host_str().is_some_and(is_loopback_host)
    {
        read.problem(&key, "takes an https `url`, whatever `allow_http` says: callers' tokens would be in the clear (RFC 6750 section 5.3)");
    }
    if !apis.iter().any(|known| known.name == api) {
        let api = shown::text(&api);
        read.problem(&key, format!("{api} is none of [downstream.apis], or one with a fault"));
    }
    Some(api)
}

fn caller(read: &mut Reader, name: &str) -> CallerIdentity {
    let (given, secret) = caller_secret(read, name);
    let caller = read.choice_of(&CALLER, &[name]);
    let (key, secret_key) = (shown::key(&CALLER.path(&[name])), shown::key(&given.path(&[name])));
    let secret = match (caller.unwrap_or(Caller::None), secret) {
        (Caller::None, None) => return CallerIdentity::None,
        (Caller::None, Some(_)) => {
            read.problem(
                &secret_key,
                format!("is of no use as long as {key} is \"none\": make that \"jwt\" or \"headers\""),
            );
            return CallerIdentity::None;
        }
        (_, None) => {
            let variable = variable(&secret_key);
            read.problem(
                &key,
                format!("needs {secret_key}, by which the upstream knows this server, or {variable} in the environment"),
            );
            return CallerIdentity::None;
        }
        (_, Some(secret)) => Secret::new(secret.trim()),
    };
    let Some(secret) = secret else {
        let message = format!(
            "must be {} bytes or more of visible ASCII: openssl rand -base64 {}",
            Secret::MIN_BYTES,
            Secret::MIN_BYTES
        );
        read.problem(&secret_key, message);
        return CallerIdentity::None;
    };
    match caller {
        Some(Caller::Jwt) => CallerIdentity::Jwt(secret),
        Some(Caller::Fields) => CallerIdentity::Fields(secret),
        Some(Caller::None) | None => CallerIdentity::None,
    }
}

/// Reads the secret from whichever of the two keys is used, and says which that is.
fn caller_secret(read: &mut Reader, name: &str) -> (&'static Key<Text>, Option<String>) {
    let is_in_file = read.is_set(&CALLER_SECRET_FILE, &[name]);
    let (in_place, in_file) =
        (read.secret_of(&CALLER_SECRET, &[name]), read.secret_file_of(&CALLER_SECRET_FILE, &[name]));
    if is_in_file && in_place.is_some() {
        let other = shown::key(&CALLER_SECRET.path(&[name]));
        let key = shown::key(&CALLER_SECRET_FILE.path(&[name]));
        read.problem(&key, format!("can't be set together with {other}: choose one"));
    }
    if is_in_file { (&CALLER_SECRET_FILE, in_file) } else { (&CALLER_SECRET, in_place) }
}

fn limits(read: &mut Reader, name: &str, tool_deadline: Duration) -> UpstreamLimits {
    let defaults = UpstreamLimits::default();
    let call = read.seconds_of(&CALL, &[name]);
    warn_of_deadline(read, &shown::key(&CALL.path(&[name])), call, tool_deadline);
    UpstreamLimits {
        start: read.seconds_of(&START, &[name]).unwrap_or(defaults.start),
        call: within(call.unwrap_or(defaults.call), tool_deadline),
        stop: read.seconds_of(&STOP, &[name]).unwrap_or(defaults.stop),
        message_bytes: read.whole_of(&MESSAGE_BYTES, &[name]).unwrap_or(defaults.message_bytes),
        calls: read.whole_of(&CONCURRENT_CALLS, &[name]).unwrap_or(defaults.calls),
        parked_calls: read.whole_of(&PARKED_CALLS, &[name]).unwrap_or(defaults.parked_calls),
        parked: read.seconds_of(&PARKED, &[name]).unwrap_or(defaults.parked),
        ..defaults
    }
}

/// Notes a warning of a time for a call that another limit ends before.
fn warn_of_deadline(read: &mut Reader, key: &str, time: Option<Duration>, deadline: Duration) {
    if time.is_some_and(|time| time > deadline) {
        let deadline = deadline.as_secs();
        let message = format!(
            "is more than limits.tool_seconds, which ends every call after {deadline} s: raise that, too"
        );
        read.warn(key, message);
    }
}

/// Returns the time for a call, ended shortly before the service ends it: only then is it noticed that an upstream does not
/// answer, and the upstream looked at.
fn within(time: Duration, deadline: Duration) -> Duration {
    time.min(deadline.saturating_sub(Duration::from_millis(500)).max(deadline / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_ends_before_the_service_would_end_it() {
        let seconds = Duration::from_secs;
        assert_eq!(within(seconds(60), seconds(60)), Duration::from_millis(59_500));
        assert_eq!(within(seconds(90), seconds(1)), Duration::from_millis(500));
        assert_eq!(within(seconds(30), seconds(60)), seconds(30));
    }

    /// config/default.toml has none of these keys, as they have a name in them.
    #[test]
    fn the_documented_defaults_are_the_adapters() {
        let defaults = UpstreamLimits::default();
        for (key, default) in [
            (&START, defaults.start.as_secs()),
            (&CALL, defaults.call.as_secs()),
            (&STOP, defaults.stop.as_secs()),
            (&MESSAGE_BYTES, defaults.message_bytes as u64),
            (&CONCURRENT_CALLS, defaults.calls as u64),
            (&PARKED_CALLS, defaults.parked_calls as u64),
            (&PARKED, defaults.parked.as_secs()),
        ] {
            assert_eq!(key.fallback, default.to_string(), "{}", key.name);
            assert!((key.values.min..=key.values.max).contains(&default), "{}", key.name);
        }
        assert_eq!(PROTOCOL.fallback, "`auto`");
        assert_eq!(Era::default(), Era::Any);
    }
}
