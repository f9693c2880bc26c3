//! The modern era (2026-07-28): no handshake, every request carries its version and capabilities.

use serde_json::json;
use syntax::strict_json::Json;

use crate::era::Era;
use crate::exchange::Exchange;
use crate::fields::{Field, METHOD, NAME, PROTOCOL_VERSION, RequestFields};
use crate::message::Request;
use crate::mirror::{self, MirroredParam};
use crate::params::{Params, text};
use crate::reply::{Failure, RenderedResult, code};
use crate::version::{MODERN, capabilities, supported, unsupported_version};

/// Returns whether the `MCP-Protocol-Version` header is this era's.
pub(crate) fn declared_by(version: Field<'_>) -> bool {
    version == Field::Value(MODERN)
}

/// Returns whether a request's `_meta` has a member that only this era has.
pub(crate) fn declared_in(params: &Params<'_>) -> bool {
    params.meta.as_ref().is_some_and(|meta| {
        meta.version.is_some() || meta.capabilities.is_some() || meta.client_info.is_some()
    })
}

/// Handles `server/discover`.
pub(crate) fn discover(exchange: &Exchange<'_, '_>) -> RenderedResult {
    let snapshot = exchange.served.snapshot;
    let identity = &snapshot.settings.identity;
    let mut result = json!({
        "supportedVersions": supported(),
        "capabilities": capabilities(snapshot.service(), Era::Modern),
    });
    if !identity.instructions.is_empty() {
        result["instructions"] = identity.instructions.as_str().into();
    }
    exchange.renderer().discovery(&result)
}

/// Checks what this era demands of every request. The order matters to clients: `_meta`, then headers against body, then the
/// version.
pub(crate) fn check_request(
    fields: &dyn RequestFields,
    request: &Request<'_>,
    mcp_name: Option<MirroredParam>,
) -> Result<(), Failure> {
    let version = check_meta(request)?;
    mirror::check(fields.field(PROTOCOL_VERSION), "MCP-Protocol-Version", Some(version), false)?;
    mirror::check_method(fields.field(METHOD), &request.method)?;
    mirror::check_name(fields.field(NAME), &request.params, mcp_name)?;
    if version == MODERN { Ok(()) } else { Err(unsupported_version(version)) }
}

/// Checks the `_meta`, and returns the version that it names.
fn check_meta<'r>(request: &'r Request<'_>) -> Result<&'r str, Failure> {
    let missing = |what: &str| {
        Failure::malformed(code::INVALID_PARAMS, format!("params._meta is missing or has no valid {what}"))
    };
    let meta = request.params.meta.as_ref().ok_or_else(|| missing("object form"))?;
    let version =
        text(meta.version.as_ref()).ok_or_else(|| missing("io.modelcontextprotocol/protocolVersion"))?;
    match meta.capabilities {
        Some(Json::Object(_)) => Ok(version),
        _ => Err(missing("io.modelcontextprotocol/clientCapabilities")),
    }
}

/// Returns the refusal of a JSON-RPC response: in this era the server asks by results, not by requests.
pub(crate) fn refused_response() -> Failure {
    Failure::malformed(code::INVALID_REQUEST, "responses are not accepted in this protocol version")
}
