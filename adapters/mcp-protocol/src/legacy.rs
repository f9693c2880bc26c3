//! The legacy era (2024-11-05, 2025-03-26, 2025-06-18, 2025-11-25): `initialize`, then requests; here without a session.

use serde_json::json;

use crate::era::Era;
use crate::exchange::Exchange;
use crate::fields::{Field, METHOD, NAME, RequestFields};
use crate::message::Request;
use crate::mirror::{self, MirroredParam};
use crate::params::{bad_params, level, required_text, text};
use crate::reply::{Failure, Refusal, RenderedResult, code, rendered};
use crate::version::{LEGACY, capabilities, has_icons};

/// Handles `initialize`. The result is `InitializeResult` in the schema.
pub(crate) fn initialize(exchange: &mut Exchange<'_, '_>) -> Result<RenderedResult, Refusal> {
    let more = exchange.request.params.more();
    let requested = text(more.and_then(|more| more.protocol_version.as_ref()))
        .ok_or_else(|| bad_params("params.protocolVersion is not a string"))?;
    // 2025-11-25, basic/lifecycle: an unknown version is answered with the newest that the server has.
    let version = LEGACY.into_iter().find(|served| *served == requested).unwrap_or(LEGACY[0]);
    let snapshot = exchange.served.snapshot;
    let identity = &snapshot.settings.identity;
    let mut result = json!({
        "protocolVersion": version,
        "capabilities": capabilities(snapshot.service(), Era::Legacy),
        "serverInfo": identity.introduction(has_icons(version)),
    });
    if !identity.instructions.is_empty() {
        result["instructions"] = identity.instructions.as_str().into();
    }
    Ok(rendered(&result))
}

/// Handles `ping`.
pub(crate) fn ping() -> RenderedResult {
    rendered(&json!({}))
}

/// Handles `logging/setLevel`: without a session nothing can be kept of it.
pub(crate) fn set_level(exchange: &mut Exchange<'_, '_>) -> Result<RenderedResult, Refusal> {
    let more = exchange.request.params.more();
    let name = required_text("level", more.and_then(|more| more.level.as_ref()))?;
    let known = level(&name).ok_or_else(|| bad_params("params.level is no log level"))?;
    tracing::debug!(?known, "a client without a session set a log level");
    Ok(rendered(&json!({})))
}

/// Handles `resources/subscribe` and `resources/unsubscribe`: without a session there is no stream that could notify.
pub(crate) fn subscribe(exchange: &mut Exchange<'_, '_>) -> Result<RenderedResult, Refusal> {
    let uri = required_text("uri", exchange.request.params.uri.as_ref())?;
    if exchange.served.snapshot.service().may_read(exchange.principal, &uri) {
        return Ok(rendered(&json!({})));
    }
    let failure = Failure::inline(code::RESOURCE_NOT_FOUND, "resource not found");
    let uri: String = uri.chars().take(2048).collect();
    Err(failure.with_data(json!({"uri": uri})).into())
}

/// Checks the headers that mirror the body. This era has none, but where a client sends them, a gateway may act by them.
pub(crate) fn check_mirrors_if_present(
    fields: &dyn RequestFields,
    request: &Request<'_>,
    mcp_name: Option<MirroredParam>,
) -> Result<(), Failure> {
    let (method, name) = (fields.field(METHOD), fields.field(NAME));
    if method != Field::Absent {
        mirror::check_method(method, &request.method)?;
    }
    if name != Field::Absent {
        mirror::check_name(name, &request.params, mcp_name)?;
    }
    Ok(())
}
