//! Which protocol versions are served, and what the server can do in any of them.

use serde::Serialize;
use serde_json::json;

use crate::reply::{Failure, code};

/// The version of the modern era.
pub(crate) const MODERN: &str = "2026-07-28";
/// The versions of the legacy era, newest first.
pub(crate) const LEGACY: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

/// Every served version, newest first. A client of either era finds one of its own.
pub(crate) const fn supported() -> [&'static str; 4] {
    let [a, b, c] = LEGACY;
    [MODERN, a, b, c]
}

/// -32022, with what is served. A version is repeated only as far as a version goes.
pub(crate) fn unsupported_version(requested: &str) -> Failure {
    let requested: String = requested.chars().take(64).collect();
    Failure::malformed(code::UNSUPPORTED_PROTOCOL_VERSION, "unsupported protocol version")
        .with_data(json!({"supported": supported(), "requested": requested}))
}

/// `ServerCapabilities` in the schema: tools, and nothing about their changes.
#[derive(Default, Serialize)]
pub(crate) struct Capabilities {
    tools: Empty,
}

#[derive(Default, Serialize)]
struct Empty {}
