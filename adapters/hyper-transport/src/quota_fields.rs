//! `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10): what a quota allows, and what is left of it.

use std::time::Duration;

use domain::Allowance;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Adds the fields of a quota, if there is one.
pub(crate) fn add(allowance: Option<Allowance>, headers: &mut HeaderMap) {
    let Some(Allowance { policy, quota, window, remaining, reset }) = allowance else { return };
    let fields = [
        (RATELIMIT_POLICY, format!("\"{policy}\";q={quota};w={window}")),
        (RATELIMIT, format!("\"{policy}\";r={remaining};t={reset}")),
    ];
    for (name, value) in fields {
        // The names of policies are ours.
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}

/// Returns a time in whole seconds, never too short.
pub(crate) fn seconds_rounded_up(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
