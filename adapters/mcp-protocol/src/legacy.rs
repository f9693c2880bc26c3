//! The legacy era (2025-03-26, 2025-06-18, 2025-11-25): `initialize`, then requests; here without a session.

use domain::Principal;
use serde::Serialize;

use crate::call::{CallResult, call, refuse_cursor};
use crate::fields::{Field, METHOD, NAME, PROTOCOL_VERSION, RequestFields};
use crate::listing::ToolList;
use crate::message::{Request, text};
use crate::mirror;
use crate::reply::{Failure, Note, code};
use crate::version::{Capabilities, LEGACY, unsupported_version};
use crate::{Identity, McpServer, Refusal};

#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum LegacyResult<'a> {
    Initialize(Initialized<'a>),
    Empty {},
    List(ToolList<'a>),
    Call(CallResult),
}

/// `InitializeResult` in the schema.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Initialized<'a> {
    protocol_version: &'static str,
    capabilities: Capabilities,
    server_info: &'a Identity,
    #[serde(skip_serializing_if = "str::is_empty")]
    instructions: &'a str,
}

pub(crate) async fn answer<'a>(
    server: &'a McpServer,
    who: &Principal,
    fields: &dyn RequestFields,
    request: &Request<'_>,
    note: &mut Note,
) -> Result<crate::EraResult<'a>, Refusal> {
    let params = &request.params;
    // A client can't know the version before it has initialized.
    if request.method != "initialize" {
        check_version(fields)?;
    }
    check_mirrors_if_present(fields, request)?;
    let result = match request.method.as_ref() {
        "initialize" => LegacyResult::Initialize(initialize(server, request)?),
        "ping" => LegacyResult::Empty {},
        "tools/list" => {
            refuse_cursor(params)?;
            LegacyResult::List(server.listing.for_principal(&server.service, who))
        }
        "tools/call" => LegacyResult::Call(call(&server.service, who, params, note).await?),
        _ => return Err(Failure::inline(code::METHOD_NOT_FOUND, "method not found").into()),
    };
    Ok(crate::EraResult::Legacy(result))
}

fn initialize<'a>(server: &'a McpServer, request: &Request<'_>) -> Result<Initialized<'a>, Failure> {
    let requested = request.params.protocol_version.and_then(text);
    let requested = requested
        .ok_or_else(|| Failure::inline(code::INVALID_PARAMS, "params.protocolVersion is not a string"))?;
    // 2025-11-25, basic/lifecycle: an unknown version is answered with the newest that the server has.
    let version = LEGACY.into_iter().find(|served| *served == requested).unwrap_or(LEGACY[0]);
    Ok(Initialized {
        protocol_version: version,
        capabilities: Capabilities::default(),
        server_info: &server.settings.identity,
        instructions: &server.settings.identity.instructions,
    })
}

/// This era has no such headers. A client that sends them all the same must not tell a gateway one thing and us another.
fn check_mirrors_if_present(fields: &dyn RequestFields, request: &Request<'_>) -> Result<(), Failure> {
    if fields.field(METHOD) != Field::Absent {
        mirror::check_method(fields, request)?;
    }
    if fields.field(NAME) != Field::Absent {
        mirror::check_name(fields, request)?;
    }
    Ok(())
}

/// 2025-06-18, basic/transports: without the header the version is 2025-03-26; an unserved one is 400.
fn check_version(fields: &dyn RequestFields) -> Result<(), Failure> {
    match fields.field(PROTOCOL_VERSION) {
        Field::Absent => Ok(()),
        Field::Value(version) if LEGACY.contains(&version) => Ok(()),
        Field::Value(version) => Err(unsupported_version(version)),
        Field::Malformed => {
            Err(Failure::malformed(code::INVALID_REQUEST, "the MCP-Protocol-Version header is malformed"))
        }
    }
}
