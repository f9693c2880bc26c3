//! The served protocol versions, and the server's capabilities in them.

use domain::{Address, Catalog, Service};
use serde_json::{Value, json};

use crate::era::Era;
use crate::fields::Field;
use crate::reply::{Failure, code};

/// The version of the modern era.
pub(crate) const MODERN: &str = "2026-07-28";
/// The versions of the legacy era, newest first. 2024-11-05 is served as 2025-03-26 is, over Streamable HTTP: its own
/// transport, with two endpoints, is not served.
pub(crate) const LEGACY: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
/// The versions that have JSON-RPC batches.
const WITH_BATCHES: [&str; 2] = ["2025-03-26", "2024-11-05"];

/// Returns every served version of both eras, newest first.
pub(crate) const fn supported() -> [&'static str; 5] {
    let [a, b, c, d] = LEGACY;
    [MODERN, a, b, c, d]
}

/// Returns whether a legacy version has icons. Versions are dates, so later ones compare greater.
pub(crate) fn has_icons(version: &str) -> bool {
    version >= "2025-11-25"
}

/// Checks the `MCP-Protocol-Version` header of a message that names its version nowhere else.
///
/// # Errors
/// -32022 for a version that is not served; -32600 for no version at all.
pub(crate) fn check_header(version: Field<'_>) -> Result<(), Failure> {
    match version {
        // 2025-06-18, basic/transports: without the header the version is 2025-03-26.
        Field::Absent => Ok(()),
        Field::Value(version) if supported().contains(&version) => Ok(()),
        Field::Value(version) => Err(unsupported_version(version)),
        Field::Malformed => Err(Failure::invalid_request("the MCP-Protocol-Version header is malformed")),
    }
}

/// Checks that a batch comes in a version that has batches: MCP removed them in 2025-06-18.
///
/// # Errors
/// As [`check_header`]; -32600 for a version without batches.
pub(crate) fn check_batch(version: Field<'_>) -> Result<(), Failure> {
    check_header(version)?;
    match version {
        Field::Value(version) if !WITH_BATCHES.contains(&version) => Err(Failure::invalid_request(
            "batches are not served in this protocol version: send each message alone",
        )),
        _ => Ok(()),
    }
}

/// Returns -32022 with the served versions. The requested one is repeated, cut.
pub(crate) fn unsupported_version(requested: &str) -> Failure {
    let requested: String = requested.chars().take(64).collect();
    Failure::malformed(code::UNSUPPORTED_PROTOCOL_VERSION, "unsupported protocol version")
        .with_data(json!({"supported": supported(), "requested": requested}))
}

/// What a method needs of the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    /// Present in every catalog.
    Always,
    Resources,
    Prompts,
    /// Resources or prompts: either has arguments that can be completed.
    Completions,
}

impl Feature {
    /// Returns whether a catalog has it.
    pub(crate) fn is_in(self, catalog: &Catalog) -> bool {
        let resources = || catalog.resources.specs().next().is_some();
        let prompts = || catalog.prompts.specs().next().is_some();
        match self {
            Self::Always => true,
            Self::Resources => resources(),
            Self::Prompts => prompts(),
            Self::Completions => resources() || prompts(),
        }
    }
}

/// Returns `ServerCapabilities` of the schema. Notifications of changes are in the modern era only:
/// without a session, the legacy one has no stream for them.
pub(crate) fn capabilities(service: &Service, era: Era) -> Value {
    let changes = era == Era::Modern;
    let catalog = &service.catalog;
    let mut capabilities = json!({"tools": {"listChanged": changes}, "logging": {}});
    if Feature::Resources.is_in(catalog) {
        capabilities["resources"] = json!({"listChanged": changes, "subscribe": true});
    }
    if Feature::Prompts.is_in(catalog) {
        capabilities["prompts"] = json!({"listChanged": changes});
    }
    let has_templates = catalog.resources.specs().any(|spec| matches!(spec.address, Address::Template(_)));
    if has_templates || catalog.prompts.specs().any(|spec| !spec.arguments.is_empty()) {
        capabilities["completions"] = json!({});
    }
    capabilities
}
