//! `[keys]`: how the issuer's signing keys are fetched and kept.

use jwks_verifier::{JwksUrl, Options};

use super::auth0::{self, Auth0};
use super::context::Context;
use crate::config::addresses;
use crate::config::key::{DAY, Key, MIB, Reload, Whole, bytes, count, seconds, whole};
use crate::config::reader::Reader;

static REFRESH: Key<Whole> = Key::new(
    "keys.refresh_seconds",
    seconds(10, DAY),
    Reload::FetchesKeys,
    "from one fetch of the keys to the next",
);
static MIN_FETCH_INTERVAL: Key<Whole> = Key::new(
    "keys.min_fetch_interval_seconds",
    seconds(1, 3600),
    Reload::FetchesKeys,
    "the budget of fetches: three at once, then one in this time",
);
static KEEP_THROUGH_OUTAGE: Key<Whole> = Key::new(
    "keys.keep_through_outage_seconds",
    seconds(60, 7 * DAY),
    Reload::FetchesKeys,
    "how long the last keys serve while fetches fail",
);
static WAIT: Key<Whole> =
    Key::new("keys.wait_seconds", seconds(1, 60), Reload::FetchesKeys, "how long a request waits for keys");
static MAX_WAITING: Key<Whole> = Key::new(
    "keys.max_waiting",
    count(1, 10_000),
    Reload::FetchesKeys,
    "requests that wait for keys at a time; beyond it 401, or 503 if the tenant can't be reached",
);
static UNKNOWN_KID_MEMORY: Key<Whole> = Key::new(
    "keys.unknown_kid_memory_seconds",
    seconds(1, 3600),
    Reload::FetchesKeys,
    "how long an unpublished key causes no further fetch",
);
static REMEMBERED_TOKENS: Key<Whole> = Key::new(
    "keys.remembered_tokens",
    whole("tokens of up to 1 KiB", 0, 1_000_000),
    Reload::FetchesKeys,
    "how many are remembered as proved until the tenant's keys change; a longer one takes the room of several",
);
static FETCH_TIMEOUT: Key<Whole> =
    Key::new("keys.fetch_timeout_seconds", seconds(1, 60), Reload::FetchesKeys, "for one fetch");
static MAX_DOCUMENT_BYTES: Key<Whole> = Key::new(
    "keys.max_document_bytes",
    bytes(1024, 16 * MIB),
    Reload::FetchesKeys,
    "the longest key document that is read",
);

pub(super) const KEYS: &[&Key] = &[
    &REFRESH,
    &MIN_FETCH_INTERVAL,
    &KEEP_THROUGH_OUTAGE,
    &WAIT,
    &MAX_WAITING,
    &UNKNOWN_KID_MEMORY,
    &REMEMBERED_TOKENS,
    &FETCH_TIMEOUT,
    &MAX_DOCUMENT_BYTES,
];

pub(super) fn read(read: &mut Reader, context: &Context<'_>, auth0: &Auth0) -> Options {
    Options {
        refresh_every: read.seconds(&REFRESH),
        min_fetch_interval: read.seconds(&MIN_FETCH_INTERVAL),
        keep_through_outage: read.seconds(&KEEP_THROUGH_OUTAGE),
        wait_for_keys: read.seconds(&WAIT),
        max_waiting: read.whole(&MAX_WAITING),
        unknown_kid_memory: read.seconds(&UNKNOWN_KID_MEMORY),
        fetch_timeout: read.seconds(&FETCH_TIMEOUT),
        remembered_tokens: read.whole(&REMEMBERED_TOKENS),
        max_document_bytes: read.whole(&MAX_DOCUMENT_BYTES),
        jwks_url: jwks_url(read, context, auth0),
    }
}

fn jwks_url(read: &mut Reader, context: &Context<'_>, auth0: &Auth0) -> JwksUrl {
    JwksUrl::of_issuer(&context.provider, &auth0.issuer_url).unwrap_or_else(|error| {
        read.problem(auth0::ISSUER.name, error.to_string());
        placeholder()
    })
}

/// Keeps the reading going; with the problem noted, it is never used.
#[expect(clippy::expect_used, reason = "keys may come from this machine")]
fn placeholder() -> JwksUrl {
    JwksUrl::new(addresses::localhost()).expect("a URL of this machine")
}
