//! Which protocol versions are served, and what the server can do in any of them.

use domain::{Address, Service};
use serde_json::{Value, json};

use crate::Era;
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

/// `ServerCapabilities` in the schema. Changes can be listened to in the modern era only: the legacy one has no stream
/// without a session that could carry them.
pub(crate) fn capabilities(service: &Service, era: Era) -> Value {
    let changes = era == Era::Modern;
    let catalog = &service.catalog;
    let mut capabilities = json!({"tools": {"listChanged": changes}, "logging": {}});
    if catalog.resources.specs().next().is_some() {
        capabilities["resources"] = json!({"listChanged": changes, "subscribe": true});
    }
    if catalog.prompts.specs().next().is_some() {
        capabilities["prompts"] = json!({"listChanged": changes});
    }
    let has_templates = catalog.resources.specs().any(|spec| matches!(spec.address, Address::Template(_)));
    if has_templates || catalog.prompts.specs().any(|spec| !spec.arguments.is_empty()) {
        capabilities["completions"] = json!({});
    }
    capabilities
}
