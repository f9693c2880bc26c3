//! The modern era (2026-07-28): no handshake, every request carries its version and capabilities.

use domain::Principal;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::call::{CallResult, call, refuse_cursor};
use crate::fields::{Field, PROTOCOL_VERSION, RequestFields};
use crate::listing::ToolList;
use crate::message::{Request, text};
use crate::mirror;
use crate::reply::{Failure, Note, Status, code};
use crate::version::{Capabilities, MODERN, supported, unsupported_version};
use crate::{EraResult, Identity, McpServer, Refusal};

/// The reserved members of a request's `_meta` (basic/index, "_meta").
#[derive(Default, Deserialize)]
struct Meta<'a> {
    #[serde(borrow, rename = "io.modelcontextprotocol/protocolVersion")]
    version: Option<&'a RawValue>,
    #[serde(borrow, rename = "io.modelcontextprotocol/clientCapabilities")]
    capabilities: Option<&'a RawValue>,
    #[serde(borrow, rename = "io.modelcontextprotocol/clientInfo")]
    client_info: Option<&'a RawValue>,
}

/// A result of this era: every one says its kind and who made it.
#[derive(Serialize)]
pub(crate) struct ModernResult<'a> {
    #[serde(rename = "resultType")]
    result_type: &'static str,
    #[serde(flatten)]
    result: Payload<'a>,
    #[serde(flatten)]
    caching: Option<Caching>,
    #[serde(rename = "_meta")]
    meta: ResultMeta<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Payload<'a> {
    Discover(Discovered<'a>),
    List(ToolList<'a>),
    Call(CallResult),
}

/// `DiscoverResult` in the schema.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Discovered<'a> {
    supported_versions: [&'static str; 4],
    capabilities: Capabilities,
    #[serde(skip_serializing_if = "str::is_empty")]
    instructions: &'a str,
}

/// `CacheableResult` in the schema. What the server says depends on the token, so nothing of it is public.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Caching {
    ttl_ms: u64,
    cache_scope: &'static str,
}

#[derive(Serialize)]
struct ResultMeta<'a> {
    #[serde(rename = "io.modelcontextprotocol/serverInfo")]
    server_info: &'a Identity,
}

/// Whether the `MCP-Protocol-Version` header is this era's. Versions are dates, so later ones compare greater.
pub(crate) fn declared_by(fields: &dyn RequestFields) -> bool {
    let is_date = |version: &str| version.len() == MODERN.len() && version.starts_with("20");
    matches!(fields.field(PROTOCOL_VERSION), Field::Value(version) if is_date(version) && version >= MODERN)
}

/// Whether a `_meta` has a member that only this era has.
pub(crate) fn declared_in(meta: &RawValue) -> bool {
    parse_meta(meta).is_some_and(|meta| {
        meta.version.is_some() || meta.capabilities.is_some() || meta.client_info.is_some()
    })
}

fn parse_meta(meta: &RawValue) -> Option<Meta<'_>> {
    serde_json::from_str(meta.get()).ok().filter(|_| meta.get().starts_with('{'))
}

pub(crate) async fn answer<'a>(
    server: &'a McpServer,
    who: &Principal,
    fields: &dyn RequestFields,
    request: &Request<'_>,
    note: &mut Note,
) -> Result<EraResult<'a>, Refusal> {
    check_request(fields, request)?;
    let params = &request.params;
    let result = match request.method.as_ref() {
        "server/discover" => Payload::Discover(Discovered {
            supported_versions: supported(),
            capabilities: Capabilities::default(),
            instructions: &server.settings.identity.instructions,
        }),
        "tools/list" => {
            refuse_cursor(params)?;
            Payload::List(server.listing.for_principal(&server.service, who))
        }
        "tools/call" => Payload::Call(call(&server.service, who, params, note).await?),
        _ => return Err(not_found().into()),
    };
    Ok(EraResult::Modern(complete(server, result)))
}

fn complete<'a>(server: &'a McpServer, result: Payload<'a>) -> ModernResult<'a> {
    let caching = match result {
        Payload::Discover(_) | Payload::List(_) => {
            Some(Caching { ttl_ms: server.settings.list_ttl_ms, cache_scope: "private" })
        }
        Payload::Call(_) => None,
    };
    let meta = ResultMeta { server_info: &server.settings.identity };
    ModernResult { result_type: "complete", result, caching, meta }
}

/// The order matters to clients: `_meta`, then headers against body, then the version.
fn check_request(fields: &dyn RequestFields, request: &Request<'_>) -> Result<(), Failure> {
    let version = check_meta(request)?;
    mirror::check(fields, PROTOCOL_VERSION, "MCP-Protocol-Version", Some(&version), false)?;
    mirror::check_method(fields, request)?;
    mirror::check_name(fields, request)?;
    if version == MODERN { Ok(()) } else { Err(unsupported_version(&version)) }
}

/// Returns the version that `_meta` names.
fn check_meta(request: &Request<'_>) -> Result<String, Failure> {
    let missing = |what: &str| {
        Failure::malformed(code::INVALID_PARAMS, format!("params._meta is missing or has no valid {what}"))
    };
    let meta = request.params.meta.and_then(parse_meta).ok_or_else(|| missing("object form"))?;
    let version =
        meta.version.and_then(text).ok_or_else(|| missing("io.modelcontextprotocol/protocolVersion"))?;
    let is_object = |raw: &RawValue| raw.get().starts_with('{');
    if !meta.capabilities.is_some_and(is_object) {
        return Err(missing("io.modelcontextprotocol/clientCapabilities"));
    }
    Ok(version.into_owned())
}

/// Clients of this era never answer: the server asks by results, not by requests.
pub(crate) fn refused_response() -> Failure {
    Failure::malformed(code::INVALID_REQUEST, "responses are not accepted in this protocol version")
}

fn not_found() -> Failure {
    Failure { status: Status::NotFound, ..Failure::inline(code::METHOD_NOT_FOUND, "method not found") }
}
